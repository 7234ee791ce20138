import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { Infobip2faClient, InfobipError } from 'passport-sms-otp/infobip';
import { Agent } from 'undici';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { OtpClient } from '../../lib/otp-client.js';
import { operationOf, operations, requestErrors } from '../support/openapi.js';
import { freePort } from '../support/ports.js';
import { failureOf, type Service, startService } from '../support/service.js';

const PIN_ID = '9C817C6F8AF3D48F9FE553282AFA2B67';
const SENT = { pinId: PIN_ID, to: '385911234567', smsStatus: 'MESSAGE_SENT' };
const SMS = { channel: 'sms', applicationId: 'APP', messageId: 'MSG', to: '+385 91-123 4567' } as const;

let service: Service;
let client: Infobip2faClient;

beforeEach(async () => {
  service = await startService();
  client = new Infobip2faClient({ baseUrl: service.url, apiKey: 'some-key' });
});

afterEach(async () => {
  await client.close();
  await service.close();
});

const application = {
  applicationId: 'APP',
  name: 'Shop',
  enabled: true,
  configuration: { pinAttempts: 5, verifyPinLimit: '1/3s' },
};
const template = {
  messageId: 'MSG',
  applicationId: 'APP',
  messageText: '{{pin}}',
  pinType: 'NUMERIC',
  pinLength: 6,
};
const emailTemplate = { messageId: 'MAIL', applicationId: 'APP', emailTemplateId: 1234, pinLength: 6 };
const sentByEmail = {
  pinId: PIN_ID,
  to: 'a@b.example',
  emailStatus: { name: 'PENDING_ACCEPTED', description: 'x' },
};

interface Row {
  /** Infobip's name of the operation. */
  operation: string;
  call: (client: Infobip2faClient) => Promise<unknown>;
  path: string;
  body?: unknown;
  answer: unknown;
  result?: unknown;
}

const rows: Row[] = [
  {
    operation: 'send-2fa-pin-code-over-sms',
    call: (c) =>
      c.sendPin({
        ...SMS,
        from: 'Shop',
        placeholders: { name: 'Ana' },
        trackDelivery: true,
        ncNeeded: false,
      }),
    path: '/2fa/2/pin?ncNeeded=false',
    body: {
      applicationId: 'APP',
      messageId: 'MSG',
      to: '385911234567',
      from: 'Shop',
      placeholders: { name: 'Ana' },
      trackDelivery: true,
    },
    answer: { ...SENT, ncStatus: 'NC_DESTINATION_REACHABLE', externalMessageId: '32ddd1a1' },
    result: { ...SENT, ncStatus: 'NC_DESTINATION_REACHABLE', externalMessageId: '32ddd1a1', sent: true },
  },
  {
    operation: 'send-2fa-pin-code-over-voice',
    call: (c) => c.sendPin({ ...SMS, channel: 'voice', ncNeeded: true }),
    path: '/2fa/2/pin/voice',
    body: { applicationId: 'APP', messageId: 'MSG', to: '385911234567' },
    answer: { pinId: PIN_ID, to: '385911234567', callStatus: 'PENDING_ACCEPTED' },
    result: { pinId: PIN_ID, to: '385911234567', callStatus: 'PENDING_ACCEPTED', sent: true },
  },
  {
    operation: 'send-2fa-pin-code-over-email',
    call: (c) =>
      c.sendPin({
        channel: 'email',
        applicationId: 'APP',
        messageId: 'MAIL',
        to: 'ana-maria+x@b.example',
        from: 'Shop <shop@b.example>',
        placeholders: { name: 'Ana' },
        landingPagePlaceholders: { page: '1' },
        trackDelivery: true,
      }),
    path: '/2fa/2/pin/email',
    body: {
      applicationId: 'APP',
      messageId: 'MAIL',
      to: 'ana-maria+x@b.example',
      from: 'Shop <shop@b.example>',
      placeholders: { name: 'Ana' },
      landingPagePlaceholders: { page: '1' },
    },
    answer: sentByEmail,
    result: { ...sentByEmail, sent: true },
  },
  {
    operation: 'resend-2fa-pin-code-over-sms',
    call: (c) => c.resendPin(PIN_ID),
    path: `/2fa/2/pin/${PIN_ID}/resend`,
    body: {},
    answer: SENT,
    result: { ...SENT, sent: true },
  },
  {
    operation: 'resend-2fa-pin-code-over-voice',
    call: (c) =>
      c.resendPin(PIN_ID, { channel: 'voice', placeholders: { name: 'Ana' }, trackDelivery: false }),
    path: `/2fa/2/pin/${PIN_ID}/resend/voice`,
    body: { placeholders: { name: 'Ana' }, trackDelivery: false },
    answer: { pinId: 'ANOTHER', callStatus: 'PENDING_ACCEPTED' },
    result: { pinId: 'ANOTHER', callStatus: 'PENDING_ACCEPTED', sent: true },
  },
  {
    operation: 'resend-2fa-pin-code-over-email',
    call: (c) => c.resendPin(PIN_ID, { channel: 'email', landingPagePlaceholders: { page: '1' } }),
    path: `/2fa/2/pin/${PIN_ID}/resend/email`,
    body: { landingPagePlaceholders: { page: '1' } },
    answer: sentByEmail,
    result: { ...sentByEmail, sent: true },
  },
  {
    operation: 'verify-2fa-phone-number',
    call: (c) => c.verifyPin(PIN_ID, '0123'),
    path: `/2fa/2/pin/${PIN_ID}/verify`,
    body: { pin: '0123' },
    answer: { pinId: PIN_ID, msisdn: '385911234567', verified: true, attemptsRemaining: 0 },
    result: { pinId: PIN_ID, msisdn: '385911234567', verified: true, attemptsRemaining: 0 },
  },
  {
    operation: 'get-2fa-verification-status',
    call: (c) => c.getVerificationStatus('APP', { msisdn: '+385 91 123-4567', verified: true, sent: false }),
    path: '/2fa/2/applications/APP/verifications?msisdn=385911234567&verified=true&sent=false',
    answer: {
      verifications: [
        { msisdn: '385911234567', verified: true, verifiedAt: 1418364366, sentAt: 1418364246 },
        { msisdn: '385911234567', verified: false, sentAt: 1418364246123 },
      ],
    },
    result: {
      verifications: [
        {
          msisdn: '385911234567',
          verified: true,
          verifiedAt: new Date('2014-12-12T06:06:06Z'),
          sentAt: new Date('2014-12-12T06:04:06Z'),
        },
        { msisdn: '385911234567', verified: false, sentAt: new Date('2014-12-12T06:04:06.123Z') },
      ],
    },
  },
  {
    operation: 'get-2fa-applications',
    call: (c) => c.listApplications(),
    path: '/2fa/2/applications',
    answer: [application, { applicationId: 'OTHER', name: 'Bare' }],
  },
  {
    operation: 'create-2fa-application',
    call: (c) =>
      c.createApplication({ name: 'Shop', enabled: true, configuration: { pinTimeToLive: '10m' } }),
    path: '/2fa/2/applications',
    body: { name: 'Shop', enabled: true, configuration: { pinTimeToLive: '10m' } },
    answer: application,
  },
  {
    operation: 'get-2fa-application',
    call: (c) => c.getApplication('A/../P'),
    path: '/2fa/2/applications/A%2F..%2FP',
    answer: application,
  },
  {
    operation: 'update-2fa-application',
    call: (c) => c.updateApplication('APP', { name: 'Shop' }),
    path: '/2fa/2/applications/APP',
    body: { name: 'Shop' },
    answer: application,
  },
  {
    operation: 'get-2fa-message-templates',
    call: (c) => c.listMessageTemplates('APP'),
    path: '/2fa/2/applications/APP/messages',
    answer: [template, emailTemplate],
  },
  {
    operation: 'create-2fa-message-template',
    call: (c) =>
      c.createMessageTemplate('APP', {
        messageText: '{{pin}}',
        pinType: 'NUMERIC',
        pinLength: 6,
        language: 'hr',
        senderId: 'Shop',
        repeatDTMF: '1#',
        speechRate: 0.5,
        voiceName: 'Joanna',
        regional: { indiaDlt: { principalEntityId: '1', contentTemplateId: '2', teleMarketerId: '3' } },
      }),
    path: '/2fa/2/applications/APP/messages',
    body: {
      messageText: '{{pin}}',
      pinType: 'NUMERIC',
      pinLength: 6,
      language: 'hr',
      senderId: 'Shop',
      repeatDTMF: '1#',
      speechRate: 0.5,
      voiceName: 'Joanna',
      regional: { indiaDlt: { principalEntityId: '1', contentTemplateId: '2', teleMarketerId: '3' } },
    },
    answer: template,
  },
  {
    operation: 'get-2fa-message-template',
    call: (c) => c.getMessageTemplate('APP', 'MSG'),
    path: '/2fa/2/applications/APP/messages/MSG',
    answer: template,
  },
  {
    operation: 'update-2fa-message-template',
    call: (c) => c.updateMessageTemplate('APP', 'MSG', { senderId: 'Shop' }),
    path: '/2fa/2/applications/APP/messages/MSG',
    body: { senderId: 'Shop' },
    answer: template,
  },
  {
    operation: 'create-2fa-email-message-template',
    call: (c) =>
      c.createEmailMessageTemplate('APP', {
        emailTemplateId: 1234,
        from: 'a@b.example',
        landingPageId: '1_2',
      }),
    path: '/2fa/2/applications/APP/email/messages',
    body: { emailTemplateId: 1234, from: 'a@b.example', landingPageId: '1_2' },
    answer: emailTemplate,
  },
  {
    operation: 'update-2fa-email-message-template',
    call: (c) => c.updateEmailMessageTemplate('APP', 'MAIL', { pinLength: 6, pinType: 'HEX' }),
    path: '/2fa/2/applications/APP/email/messages/MAIL',
    body: { pinLength: 6, pinType: 'HEX' },
    answer: emailTemplate,
  },
];

describe('each operation', () => {
  it('has a row in the table below', () => {
    const all = operations.map(({ operationId }) => operationId);
    expect(rows.map(({ operation }) => operation).sort()).toEqual(all.sort());
  });

  it.each(rows)(
    '$operation asks as Infobip documents it',
    async ({ operation, call, path, body, answer, result }) => {
      service.answer({ body: answer });
      await expect(call(client)).resolves.toEqual(result ?? answer);

      const [seen] = service.seen;
      expect(service.seen).toHaveLength(1);
      expect(seen?.path).toBe(path);
      expect(seen?.headers).toMatchObject({
        authorization: 'App some-key',
        accept: 'application/json',
        'user-agent': expect.stringMatching(/^passport-sms-otp\/\d/),
      });
      const [method, asked] = [seen?.method ?? '', seen?.path ?? ''];
      const documented = operationOf(method, asked);
      expect(documented?.operationId).toBe(operation);
      if (body === undefined) {
        expect(seen?.body).toBe('');
        expect(seen?.headers['content-type']).toBeUndefined();
        expect(documented?.requestBody).toBeUndefined();
        return;
      }
      expect(JSON.parse(seen?.body ?? '')).toEqual(body);
      expect(seen?.headers['content-type']).toBe('application/json');
      expect(requestErrors(method, asked, body)).toEqual([]);
      expect(requestErrors(method, asked, { ...Object(body), misspelt: 1 })).not.toEqual([]);
    },
  );

  it.each(rows)('$operation takes 201 for 200, and lets unknown fields through', async ({ call, answer }) => {
    const known = (Array.isArray(answer) ? answer[0] : answer) ?? {};
    const more = { ...Object(known), invented: { by: 'Infobip' } };
    service.answer({ status: 201, body: Array.isArray(answer) ? [more] : more });
    const result: unknown = await call(client);
    expect(Array.isArray(result) ? result[0] : result).toMatchObject({ invented: { by: 'Infobip' } });
  });

  const rowsWithFields = rows.filter(({ operation }) => operation !== 'get-2fa-verification-status');
  it.each(rowsWithFields)('$operation reads null as unset', async ({ call, answer }) => {
    const known = Array.isArray(answer) ? answer[0] : answer;
    const withNull = { ...Object(known), from: null, senderId: null, externalMessageId: null, enabled: null };
    service.answer({ body: Array.isArray(answer) ? [withNull] : withNull });
    const result: unknown = await call(client);
    expect(Object.values(Object(Array.isArray(result) ? result[0] : result))).not.toContain(null);
  });

  const nonsense: [string, unknown][] = [
    ['nothing', ''],
    ['HTML', '<html>'],
    ['half of the JSON', '{"pinId":"AB'],
    ['a number', 1],
    ['null', null],
    ['another shape', { nonsense: 1 }],
    ['a list of nonsense', [{ nonsense: 1 }]],
    [
      'wrong types',
      { pinId: 1, messageId: 1, applicationId: 1, name: 1, verifications: 1, verified: 'true' },
    ],
  ];
  it.each(rows)(
    '$operation calls a 200 of another shape an unexpected response',
    async ({ operation, call }) => {
      for (const [what, body] of nonsense) {
        service.answer({ body, headers: { 'x-request-id': '17' } });
        const error = await failureOf(call(client));
        expect(error, what).toBeInstanceOf(InfobipError);
        expect(error, what).toMatchObject({
          code: 'ERR_INFOBIP_UNEXPECTED_RESPONSE',
          status: 200,
          requestId: '17',
          ...(/pin-code|verify/.test(operation) ? { sent: 'unknown' } : {}),
        });
      }
      expect(service.seen).toHaveLength(nonsense.length);
    },
  );

  it.each(rows)('$operation can be called off by the signal of the caller', async ({ call, operation }) => {
    const aborted = { signal: AbortSignal.abort(new Error('gone')) };
    const withSignal = new Proxy(client, {
      get: (target, name) => {
        const method: unknown = Reflect.get(target, name);
        return (...parameters: unknown[]) => {
          const missing = operation === 'resend-2fa-pin-code-over-sms' ? [undefined] : [];
          return Reflect.apply(Object(method), target, [...parameters, ...missing, aborted]);
        };
      },
    });
    await expect(call(withSignal)).rejects.toThrow('gone');
    expect(service.seen).toHaveLength(0);
  });
});

describe('sendPin', () => {
  it('is what the strategy asks for', () => {
    const asked: OtpClient = client;
    expect(asked).toBe(client);
  });

  it.each([
    [{ smsStatus: 'MESSAGE_SENT' }, true],
    [{ smsStatus: 'MESSAGE_NOT_SENT' }, false],
    [{ smsStatus: 'MESSAGE_SENT', ncStatus: 'NC_DESTINATION_UNKNOWN' }, true],
    [{ smsStatus: 'MESSAGE_SENT', ncStatus: 'NC_NOT_CONFIGURED' }, true],
    [{ smsStatus: 'MESSAGE_NOT_SENT', ncStatus: 'NC_DESTINATION_NOT_REACHABLE' }, false],
    [{ ncStatus: 'NC_DESTINATION_NOT_REACHABLE' }, false],
    [{ ncStatus: 'NC_NOT_REACHABLE' }, false],
    [{ ncStatus: 'NC_NOT_REACHABLE', smsStatus: 'MESSAGE_SENT' }, true],
    [{ ncStatus: 'NC_INVENTED_LATER' }, true],
    [{ smsStatus: 'INVENTED_LATER' }, true],
    [{ callStatus: 'PENDING_ACCEPTED' }, true],
    [{ callStatus: 'REJECTED_NETWORK' }, false],
    [{ callStatus: 'BAD_REQUEST' }, false],
    [{ callStatus: 'SIGNALS_BLOCKED' }, false],
    [{ callStatus: 'INVENTED_LATER' }, true],
    [{ emailStatus: { name: 'PENDING_ACCEPTED' } }, true],
    [{ emailStatus: { name: 'REJECTED_NOT_ENOUGH_CREDITS' } }, false],
    [{}, true],
  ])('reads %j as sent: %s', async (fields, sent) => {
    service.answer({ body: { pinId: PIN_ID, ...fields } });
    await expect(client.sendPin(SMS)).resolves.toEqual({ pinId: PIN_ID, ...fields, sent });
    await expect(client.resendPin(PIN_ID)).resolves.toEqual({ pinId: PIN_ID, ...fields, sent });
  });

  it('needs no PIN id where nothing was sent', async () => {
    service.answer({ body: { smsStatus: 'MESSAGE_NOT_SENT' } });
    await expect(client.sendPin(SMS)).resolves.toEqual({
      pinId: '',
      smsStatus: 'MESSAGE_NOT_SENT',
      sent: false,
    });
  });

  it.each([{}, { pinId: '' }, { pinId: '../x' }, { pinId: 'a'.repeat(129) }, { pinId: 7 }])(
    'refuses %j as the answer to a send',
    async (fields) => {
      service.answer({ body: { smsStatus: 'MESSAGE_SENT', ...fields } });
      expect(await failureOf(client.sendPin(SMS))).toMatchObject({
        code: 'ERR_INFOBIP_UNEXPECTED_RESPONSE',
        sent: 'unknown',
      });
    },
  );

  it('sends nothing for a request that cannot be right, and does not repeat what it was given', async () => {
    const wrong: [object, string][] = [
      [{ ...SMS, channel: 'fax-machine' }, 'channel must be "sms", "voice" or "email"'],
      [{ ...SMS, to: '' }, 'to must be a non-empty string'],
      [{ ...SMS, to: 38591 }, 'to must be a non-empty string'],
      [{ ...SMS, applicationId: undefined }, 'applicationId must be a non-empty string'],
      [{ ...SMS, messageId: '' }, 'messageId must be a non-empty string'],
    ];
    for (const [request, sentence] of wrong) {
      const error = await failureOf(Reflect.apply(client.sendPin, client, [request]));
      expect(error).toBeInstanceOf(TypeError);
      expect(String(error)).toContain(`Infobip2faClient: ${sentence}`);
      expect(String(error)).not.toContain('fax-machine');
    }
    expect(service.seen).toHaveLength(0);
  });
});

describe('verifyPin', () => {
  it.each([
    ['WRONG_PIN', 'wrong_pin'],
    ['TTL_EXPIRED', 'expired'],
    ['NO_MORE_PIN_ATTEMPTS', 'no_more_attempts'],
    ['PIN_NOT_VALID', 'unknown'],
    [undefined, 'unknown'],
  ])('reads the pinError %s as %s', async (pinError, reason) => {
    service.answer({ body: { pinId: PIN_ID, verified: false, attemptsRemaining: 2, pinError } });
    await expect(client.verifyPin(PIN_ID, '123456')).resolves.toEqual({
      pinId: PIN_ID,
      verified: false,
      attemptsRemaining: 2,
      ...(pinError === undefined ? {} : { pinError }),
      reason,
    });
  });

  it('does without the msisdn, which decides nothing', async () => {
    service.answer({ body: { pinId: PIN_ID, verified: true } });
    await expect(client.verifyPin(PIN_ID, '123456')).resolves.toEqual({
      pinId: PIN_ID,
      verified: true,
      msisdn: '',
    });
  });

  it.each([
    ['"true"', { pinId: PIN_ID, verified: 'true' }],
    ['1', { pinId: PIN_ID, verified: 1 }],
    ['nothing', { pinId: PIN_ID }],
    ['true for another PIN', { pinId: 'ANOTHER', verified: true }],
    ['true for no PIN', { verified: true }],
    ['a list', [{ pinId: PIN_ID, verified: true }]],
  ])('does not take %s for a proof', async (_what, body) => {
    service.answer({ body });
    expect(await failureOf(client.verifyPin(PIN_ID, '123456'))).toMatchObject({
      code: 'ERR_INFOBIP_UNEXPECTED_RESPONSE',
      sent: 'unknown',
    });
  });

  it.each(['', '../applications', 'a b', 'a/b', '%2e', 'a'.repeat(129), 'PIN\n'])(
    'asks nothing for the PIN id %j, and does not repeat it',
    async (pinId) => {
      for (const call of [() => client.verifyPin(pinId, '123456'), () => client.resendPin(pinId)]) {
        const error = await failureOf(call());
        expect(error).toBeInstanceOf(TypeError);
        expect(String(error)).toBe(
          'TypeError: Infobip2faClient: pinId is no PIN id. Give the pinId of the last send or resend, as it came.',
        );
      }
      expect(service.seen).toHaveLength(0);
    },
  );

  it('asks nothing for a PIN that is no string', async () => {
    for (const pin of [123456, true, ['1'], undefined, '']) {
      const error = await failureOf(Reflect.apply(client.verifyPin, client, [PIN_ID, pin]));
      expect(error).toEqual(new TypeError('Infobip2faClient: pin must be a non-empty string.'));
    }
    expect(service.seen).toHaveLength(0);
  });
});

describe('an id in a path', () => {
  it.each(['', '.', '..', undefined])('cannot be %j', async (id) => {
    for (const method of [client.getApplication, client.listMessageTemplates]) {
      expect(await failureOf(Reflect.apply(method, client, [id]))).toBeInstanceOf(TypeError);
    }
    expect(await failureOf(Reflect.apply(client.getMessageTemplate, client, ['APP', id]))).toBeInstanceOf(
      TypeError,
    );
    expect(service.seen).toHaveLength(0);
  });
});

describe('repeating', () => {
  const sends: [string, () => Promise<unknown>][] = [
    ['sendPin', () => client.sendPin(SMS)],
    ['resendPin', () => client.resendPin(PIN_ID)],
    ['verifyPin', () => client.verifyPin(PIN_ID, '123456')],
    ['createApplication', () => client.createApplication({ name: 'Shop' })],
    ['updateApplication', () => client.updateApplication('APP', { name: 'Shop' })],
  ];

  it.each(sends)('%s asks once, whatever the service answers', async (_name, call) => {
    for (const status of [400, 401, 403, 404, 408, 429, 500, 502, 503, 504]) {
      service.seen.length = 0;
      service.answer({ status, headers: { 'retry-after': '0' } });
      await failureOf(call());
      expect(service.seen, String(status)).toHaveLength(1);
    }
    service.seen.length = 0;
    service.answer((_seen, response) => void response.destroy());
    await failureOf(call());
    expect(service.seen).toHaveLength(1);
  });

  it('asks a second time, and no third, where nothing listened', async () => {
    const port = await freePort();
    let dispatched = 0;
    const counting = new Agent().compose((dispatch) => (options, handler) => {
      dispatched += 1;
      return dispatch(options, handler);
    });
    const options = { baseUrl: `http://127.0.0.1:${port}`, apiKey: 'some-key', dispatcher: counting };
    const error = await failureOf(new Infobip2faClient(options).sendPin(SMS));
    expect(error).toMatchObject({ code: 'ERR_INFOBIP_UNREACHABLE', sent: false });
    expect(dispatched).toBe(2);

    const server = createServer((_request, response) => response.end(JSON.stringify(SENT)));
    let calls = 0;
    const late = new Agent().compose((dispatch) => (request, handler) => {
      calls += 1;
      if (calls === 2) {
        server.listen(port, '127.0.0.1', () => dispatch(request, handler));
        return true;
      }
      return dispatch(request, handler);
    });
    const sent = await new Infobip2faClient({ ...options, dispatcher: late }).sendPin(SMS);
    expect(sent).toEqual({ ...SENT, sent: true });
    await Promise.all([counting.close(), late.close()]);
    await new Promise((resolve) => server.close(resolve));
  });

  const flaky = [{ status: 503 }, { status: 429, headers: { 'retry-after': '0' } }, { status: 500 }];
  it('tries a read three times', async () => {
    const replies = [...flaky];
    service.answer(() => replies.shift() ?? { body: application });
    const error = await failureOf(client.getApplication('APP'));
    expect(error).toMatchObject({ code: 'ERR_INFOBIP_UNAVAILABLE', status: 500 });
    expect(error).not.toHaveProperty('sent');
    expect(service.seen).toHaveLength(3);
    await expect(client.getApplication('APP')).resolves.toEqual(application);
  });

  it('tries a read again when the connection broke', async () => {
    let isFirst = true;
    service.answer((_seen, response) => {
      if (isFirst) {
        isFirst = false;
        response.destroy();
        return undefined;
      }
      return { body: [] };
    });
    await expect(client.listApplications()).resolves.toEqual([]);
    expect(service.seen).toHaveLength(2);
  });

  it('waits for as long as a read is told to', async () => {
    const replies = [{ status: 429, headers: { 'retry-after': '1' } }];
    service.answer(() => replies.shift() ?? { body: [] });
    const start = performance.now();
    await client.listApplications();
    expect(performance.now() - start).toBeGreaterThan(995);
  });

  it('does not try a read again that was refused', async () => {
    for (const status of [400, 401, 403, 404]) {
      service.seen.length = 0;
      service.answer({ status });
      await failureOf(client.listApplications());
      expect(service.seen, String(status)).toHaveLength(1);
    }
  });

  it('ends the waiting when the caller gives up', async () => {
    service.answer({ status: 503, headers: { 'retry-after': '60' } });
    const controller = new AbortController();
    const read = client.listApplications({ signal: controller.signal });
    await expect.poll(() => service.seen.length).toBe(1);
    setTimeout(() => controller.abort(new Error('gone')), 50);
    await expect(read).rejects.toThrow('gone');
  });
});

it('names its version as the package does', async () => {
  const { version }: { version: string } = JSON.parse(
    readFileSync(new URL('../../package.json', import.meta.url), 'utf8'),
  );
  service.answer({ body: [] });
  await client.listApplications();
  expect(service.seen[0]?.headers['user-agent']).toBe(`passport-sms-otp/${version} (node)`);
});
