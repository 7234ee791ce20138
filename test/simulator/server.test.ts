import { connect } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Credentials } from '../../lib/simulator/credentials.js';
import {
  type Fault,
  type Simulator,
  type SimulatorOptions,
  startSimulator,
} from '../../lib/simulator/index.js';
import { createRandom } from '../../lib/simulator/random.js';
import { type BareRequest, type BareResponse, send } from '../support/bare-http.js';
import { operationOf, operations, responseErrors } from '../support/openapi.js';

const phone = '41793026727';

let simulator: Simulator;
const started: Simulator[] = [];

async function start(options: SimulatorOptions = {}): Promise<Simulator> {
  simulator = await startSimulator({ seed: 'server', ...options });
  started.push(simulator);
  return simulator;
}

beforeEach(async () => {
  await start();
});

afterEach(async () => {
  await Promise.all(started.splice(0).map((each) => each.close()));
});

interface ApiOptions {
  authorization?: string | undefined;
  headers?: BareRequest['headers'];
  /** What a documented answer may lack here although every example shows it. */
  optional?: string[];
  /** False where a fault or a switch makes the answer one that no document has. */
  conforms?: boolean;
}

/** A request to the API. Whatever the answer is, it has to fit the service's own document. */
async function api(
  method: string,
  path: string,
  body?: unknown,
  options: ApiOptions = {},
): Promise<BareResponse> {
  const { authorization = `App ${simulator.apiKey}`, headers, optional = [], conforms = true } = options;
  const auth = authorization === '' ? {} : { Authorization: authorization };
  const response = await send(simulator.url, { method, path, body, headers: { ...auth, ...headers } });
  const [address = ''] = path.split('?');
  if (conforms && operationOf(method, address)) {
    expect(response.headers['content-type']).toBe('application/json; charset=UTF-8');
    expect(responseErrors(method, address, response.status, response.json, optional)).toEqual([]);
  }
  return response;
}

const sms = (more: object = {}, options?: ApiOptions) =>
  api(
    'POST',
    '/2fa/2/pin',
    { applicationId: simulator.applicationId, messageId: simulator.messageId, to: phone, ...more },
    options,
  );

const verify = (pinId: string, pin: unknown, options?: ApiOptions) =>
  api('POST', `/2fa/2/pin/${pinId}/verify`, { pin }, options);

/** Sends an SMS and tells what arrived. */
async function sent(more: object = {}): Promise<{ pinId: string; pin: string }> {
  const response = await sms(more);
  expect(response.status).toBe(200);
  const { pinId, pin } = simulator.messages.at(-1) ?? { pinId: '', pin: '' };
  expect(response.json).toMatchObject({ pinId });
  return { pinId, pin };
}

const control = (path: string, body?: unknown) =>
  send(simulator.url, { method: body === undefined ? 'GET' : 'POST', path: `/_simulator/${path}`, body });

const legacy = (messageId: string, text: string) => ({
  requestError: { serviceException: { messageId, text } },
});

const configure = (configuration: object) =>
  api('PUT', `/2fa/2/applications/${simulator.applicationId}`, { name: 'Test', configuration });

describe('the operations of the document', () => {
  it('are all there, each with an answer that has every field of the examples', async () => {
    const { applicationId } = simulator;
    const configuration = { pinAttempts: 5, verifyPinLimit: '9/1s', sendPinPerPhoneNumberLimit: '20/d' };
    const application = { name: 'Conformance', enabled: true, configuration };
    const text = {
      messageText: 'Hello {{firstName}} your pin is {{pin}}',
      pinType: 'ALPHANUMERIC',
      pinLength: 4,
      language: 'en',
      voiceName: 'Joanna',
      senderId: 'Harbour',
      repeatDTMF: '1#',
      speechRate: 1,
      regional: { indiaDlt: { principalEntityId: '1', contentTemplateId: '2', teleMarketerId: '3' } },
    };
    const mail = {
      emailTemplateId: 1234,
      from: 'a@example.com',
      landingPageId: '1_2',
      pinLength: 4,
      pinType: 'HEX',
    };
    const at = `/2fa/2/applications/${applicationId}`;
    const seen: string[] = [];
    const call = async (method: string, path: string, body?: unknown) => {
      const response = await api(method, path, body);
      const operation = operationOf(method, path.split('?')[0] ?? '');
      seen.push(operation?.operationId ?? path);
      expect([path, response.status]).toEqual([
        path,
        operation?.operationId === 'create-2fa-application' ? 201 : 200,
      ]);
      return JSON.parse(response.text);
    };

    await call('POST', '/2fa/2/applications', application);
    await call('GET', '/2fa/2/applications');
    await call('GET', at);
    await call('PUT', at, application);
    const { messageId } = await call('POST', `${at}/messages`, text);
    await call('PUT', `${at}/messages/${messageId}`, { senderId: 'Other' });
    await call('GET', `${at}/messages/${messageId}`);
    const { messageId: mailId } = await call('POST', `${at}/email/messages`, mail);
    await call('PUT', `${at}/email/messages/${mailId}`, mail);
    await call('GET', `${at}/messages`);
    const body = { applicationId, messageId, to: phone, placeholders: { firstName: 'Ana' } };
    const { pinId } = await call('POST', '/2fa/2/pin', body);
    await call('POST', `/2fa/2/pin/${pinId}/resend`, {});
    await call('POST', `/2fa/2/pin/${pinId}/resend/voice`, { trackDelivery: true });
    await call('POST', '/2fa/2/pin/voice', body);
    const byMail = await call('POST', '/2fa/2/pin/email', {
      applicationId,
      messageId: mailId,
      to: 'ana@example.com',
    });
    await call('POST', `/2fa/2/pin/${byMail.pinId}/resend/email`, {
      landingPagePlaceholders: { name: 'Ana' },
    });
    await call('POST', `/2fa/2/pin/${pinId}/verify`, {
      pin: simulator.messages.find((each) => each.pinId === pinId)?.pin,
    });
    await call('GET', `${at}/verifications?msisdn=${phone}&verified=true&sent=true`);

    expect(new Set(seen)).toEqual(new Set(operations.map(({ operationId }) => operationId)));
    expect(seen).toHaveLength(18);
  });

  it('refuse other methods and addresses', async () => {
    const wrong = await api('DELETE', '/2fa/2/applications');
    expect(wrong).toMatchObject({ status: 405, headers: { allow: 'GET, POST' } });
    for (const path of ['/2fa/2/none', '/2fa/1/pin', '/2fa/2/pin/', '//', '/2fa/2/pin/a/b/verify']) {
      expect(await api('GET', path)).toMatchObject({
        status: 404,
        json: legacy('NOT_FOUND', `Requested URL not found: ${path}`),
      });
    }
  });

  it('carry a request id of digits', async () => {
    const ids = await Promise.all([api('GET', '/2fa/2/applications'), api('GET', '/nowhere')]);
    for (const { headers } of ids) expect(headers['x-request-id']).toMatch(/^\d+$/);
    expect(ids[0]?.headers['x-request-id']).not.toBe(ids[1]?.headers['x-request-id']);
  });

  it('take JSON only, of at most a megabyte', async () => {
    const path = '/2fa/2/pin';
    expect(await api('POST', path, '{"to":')).toMatchObject({
      status: 400,
      json: legacy('BAD_REQUEST', 'The body is not valid JSON.'),
    });
    expect((await api('POST', path, '[]')).status).toBe(400);
    expect((await api('POST', path)).status).toBe(400);
    for (const type of ['text/plain', 'application/xml', 'application/x-www-form-urlencoded']) {
      expect((await api('POST', path, '{}', { headers: { 'Content-Type': type } })).status).toBe(415);
    }
    const charset = { 'Content-Type': 'Application/JSON; charset=UTF-8' };
    expect((await sms({}, { headers: charset })).status).toBe(200);
    const large = await api('POST', path, JSON.stringify({ to: 'x'.repeat(1 << 20) }));
    expect(large).toMatchObject({ status: 413, headers: { connection: 'close' } });
    expect(simulator.messages).toHaveLength(1);
  });

  it('resend without any body', async () => {
    const { pinId } = await sent();
    expect((await api('POST', `/2fa/2/pin/${pinId}/resend`)).status).toBe(200);
    expect((await api('POST', `/2fa/2/pin/${pinId}/resend/voice`, '{}')).status).toBe(200);
  });

  it('read flags of the query strictly', async () => {
    const body = { applicationId: simulator.applicationId, messageId: simulator.messageId, to: phone };
    const without = await api('POST', '/2fa/2/pin?ncNeeded=false', body, { optional: ['ncStatus'] });
    expect(without.json).toEqual({ pinId: expect.any(String), to: phone, smsStatus: 'MESSAGE_SENT' });
    expect((await api('POST', '/2fa/2/pin?ncNeeded=true', body)).json).toHaveProperty('ncStatus');
    expect((await api('POST', '/2fa/2/pin?ncNeeded=no', body)).json).toEqual(
      legacy('BAD_REQUEST', 'The parameter ncNeeded must be true or false.'),
    );
    const at = `/2fa/2/applications/${simulator.applicationId}/verifications`;
    expect((await api('GET', `${at}?msisdn=${phone}&verified=1`)).status).toBe(400);
    expect((await api('GET', at)).status).toBe(400);
  });

  it('decode the ids in a path', async () => {
    expect((await api('GET', '/2fa/2/applications/%ZZ')).status).toBe(404);
    const encoded = [...simulator.applicationId]
      .map((each) => `%${each.charCodeAt(0).toString(16)}`)
      .join('');
    expect((await api('GET', `/2fa/2/applications/${encoded}`)).json).toMatchObject({
      applicationId: simulator.applicationId,
    });
  });
});

/** Section by section what a stand-in has to get right, each over bare HTTP. */
describe('the cases of the service', () => {
  const cases: [string, () => Promise<void>][] = [
    [
      'a wrong PIN is a 200 that counts down, and after the last attempt the right one is refused too',
      async () => {
        await configure({ pinAttempts: 2 });
        const { pinId, pin } = await sent();
        const wrong = pin === '000000' ? '111111' : '000000';
        expect((await verify(pinId, wrong)).json).toMatchObject({
          verified: false,
          attemptsRemaining: 1,
          pinError: 'WRONG_PIN',
        });
        expect((await verify(pinId, wrong)).json).toMatchObject({
          verified: false,
          attemptsRemaining: 0,
          pinError: 'WRONG_PIN',
        });
        expect(await verify(pinId, pin)).toMatchObject({
          status: 200,
          json: {
            pinId,
            msisdn: phone,
            verified: false,
            attemptsRemaining: 0,
            pinError: 'NO_MORE_PIN_ATTEMPTS',
          },
        });
      },
    ],
    [
      'an expired PIN is a 200',
      async () => {
        const { pinId, pin } = await sent();
        simulator.advance(600_000);
        expect(await verify(pinId, pin)).toMatchObject({
          status: 200,
          json: { verified: false, pinError: 'TTL_EXPIRED' },
        });
      },
    ],
    [
      'a second check of a right PIN is good where that is allowed, and refused where not',
      async () => {
        const { pinId, pin } = await sent();
        expect((await verify(pinId, pin)).json).toEqual({
          pinId,
          msisdn: phone,
          verified: true,
          attemptsRemaining: 0,
        });
        expect((await verify(pinId, pin)).json).toMatchObject({
          verified: false,
          pinError: 'NO_MORE_PIN_ATTEMPTS',
        });
        await configure({ allowMultiplePinVerifications: true });
        expect((await verify(pinId, pin)).json).toMatchObject({ verified: true, attemptsRemaining: 0 });
      },
    ],
    [
      'an unknown PIN id is a 404',
      async () => {
        expect(await verify('NONE', '123456')).toMatchObject({
          status: 404,
          json: legacy('NOT_FOUND', 'Not found'),
        });
        expect((await api('POST', '/2fa/2/pin/NONE/resend', {})).status).toBe(404);
      },
    ],
    [
      'two checks within three seconds are one too many under the documented limit',
      async () => {
        await configure({ verifyPinLimit: '1/3s' });
        const { pinId, pin } = await sent();
        await verify(pinId, 'x');
        const limited = await verify(pinId, pin);
        expect(limited).toMatchObject({
          status: 429,
          json: legacy('TOO_MANY_REQUESTS', 'Too many requests'),
        });
        expect(limited.headers).not.toHaveProperty('retry-after');
        simulator.advance(3000);
        expect((await verify(pinId, pin)).json).toMatchObject({ verified: true });
      },
    ],
    [
      'a fourth send in a day is one too many for an application with the documented defaults',
      async () => {
        const created = JSON.parse((await api('POST', '/2fa/2/applications', { name: 'Plain' })).text);
        const at = `/2fa/2/applications/${created.applicationId}/messages`;
        const template = JSON.parse(
          (
            await api(
              'POST',
              at,
              { messageText: '{{pin}}', pinType: 'NUMERIC' },
              {
                optional: ['language', 'voiceName', 'senderId', 'repeatDTMF', 'speechRate'],
              },
            )
          ).text,
        );
        const ids = { applicationId: created.applicationId, messageId: template.messageId };
        for (const expected of [200, 200, 200, 429]) expect((await sms(ids)).status).toBe(expected);
        expect((await sms({ ...ids, to: '41790000000' })).status).toBe(200);
        simulator.advance(86_400_000);
        expect((await sms(ids)).status).toBe(200);
      },
    ],
    [
      'the limit of the application counts over all numbers',
      async () => {
        await configure({ sendPinPerApplicationLimit: '2/1h' });
        for (const expected of [200, 200, 429])
          expect((await sms({ to: `4179000000${expected}` })).status).toBe(expected);
      },
    ],
    [
      'a number that cannot be reached is a 200 with a PIN id and no message',
      async () => {
        simulator.addFault({ ncStatus: 'NC_DESTINATION_NOT_REACHABLE' });
        expect(await sms()).toMatchObject({
          status: 200,
          json: {
            pinId: expect.any(String),
            to: phone,
            ncStatus: 'NC_DESTINATION_NOT_REACHABLE',
            smsStatus: 'MESSAGE_NOT_SENT',
          },
        });
        expect(simulator.lastMessageTo(phone)).toBeUndefined();
        simulator.addFault({ ncStatus: 'NC_NOT_CONFIGURED' });
        expect((await sms()).json).toMatchObject({
          ncStatus: 'NC_NOT_CONFIGURED',
          smsStatus: 'MESSAGE_SENT',
        });
        expect((await sms()).json).toMatchObject({ ncStatus: 'NC_DESTINATION_REACHABLE' });
      },
    ],
    [
      'missing fields are named in the validation errors of a 400',
      async () => {
        expect(await api('POST', '/2fa/2/pin', {})).toMatchObject({
          status: 400,
          json: {
            requestError: {
              serviceException: {
                messageId: 'BAD_REQUEST',
                text: 'Bad request',
                validationErrors: {
                  applicationId: ['must not be blank'],
                  messageId: ['must not be blank'],
                  to: ['must not be blank'],
                },
              },
            },
          },
        });
        simulator.behave({ validationErrors: false });
        expect((await api('POST', '/2fa/2/pin', {})).json).toEqual(legacy('BAD_REQUEST', 'Bad request'));
      },
    ],
    [
      'leading zeros, one and eight places and all four types work from template to check',
      async () => {
        await configure({ sendPinPerPhoneNumberLimit: '1000/1d', verifyPinLimit: '1000/1s' });
        for (const pinType of ['NUMERIC', 'ALPHA', 'HEX', 'ALPHANUMERIC']) {
          for (const pinLength of [1, 8]) {
            const at = `/2fa/2/applications/${simulator.applicationId}/messages/${simulator.messageId}`;
            await api(
              'PUT',
              at,
              { pinType, pinLength, messageText: '{{pin}} @example.com #{{pin}}' },
              {
                optional: ['senderId', 'language', 'voiceName', 'repeatDTMF', 'speechRate'],
              },
            );
            const { pinId, pin } = await sent();
            expect(pin).toHaveLength(pinLength);
            expect(simulator.lastMessageTo(phone)?.text).toBe(`${pin} @example.com #${pin}`);
            expect((await verify(pinId, pin)).json).toMatchObject({ verified: true });
          }
        }
        const at = `/2fa/2/applications/${simulator.applicationId}/messages/${simulator.messageId}`;
        const optional = ['senderId', 'language', 'voiceName', 'repeatDTMF', 'speechRate'];
        await api('PUT', at, { pinType: 'NUMERIC', pinLength: 6 }, { optional });
        let last = await sent();
        while (!last.pin.startsWith('0')) last = await sent();
        expect((await verify(last.pinId, last.pin.slice(1))).json).toMatchObject({ verified: false });
        expect((await verify(last.pinId, last.pin)).json).toMatchObject({ verified: true });
      },
    ],
    [
      'times are milliseconds, or seconds on request',
      async () => {
        const { pinId, pin } = await sent();
        await verify(pinId, pin);
        const at = `/2fa/2/applications/${simulator.applicationId}/verifications?msisdn=${phone}`;
        const { verifications } = JSON.parse((await api('GET', at)).text);
        expect(verifications[0].verifiedAt).toBeGreaterThan(1e12);
        simulator.behave({ times: 's' });
        expect(JSON.parse((await api('GET', at)).text).verifications[0].sentAt).toBeLessThan(1e11);
      },
    ],
    [
      'an answer may carry fields that no document knows',
      async () => {
        simulator.behave({ unknownFields: true });
        expect((await sms({}, { conforms: false })).json).toHaveProperty('unknownField');
        const { json } = await api('GET', '/2fa/2/applications', undefined, { conforms: false });
        expect(json).toEqual([expect.objectContaining({ unknownField: expect.any(String) })]);
      },
    ],
  ];
  it.each(cases)('%s', async (_title, run) => run());
});

describe('credentials', () => {
  const list = (authorization: string) => api('GET', '/2fa/2/applications', undefined, { authorization });

  it('are asked for in exactly the documented form', async () => {
    const { apiKey } = simulator;
    expect((await list(`App ${apiKey}`)).status).toBe(200);
    const wrong = [
      '',
      `APP ${apiKey}`,
      `app ${apiKey}`,
      apiKey,
      `App ${apiKey}x`,
      `App  ${apiKey}`,
      `Bearer ${apiKey}`,
      'App ',
      'Basic x',
    ];
    for (const each of wrong)
      expect(await list(each)).toMatchObject({ status: 401, json: legacy('UNAUTHORIZED', 'Unauthorized') });
  });

  it('come before anything that is wrong with the body', async () => {
    expect((await api('POST', '/2fa/2/pin', '{', { authorization: 'App wrong' })).status).toBe(401);
  });

  it('do only what their scopes allow', async () => {
    const keys = [
      { key: 'pins', scopes: ['2fa:pin:send'] as const },
      { key: 'setup', scopes: ['2fa:manage'] as const },
      { key: 'none', scopes: [] },
      { key: 'old', expiresAt: Date.now() + 60_000 },
    ];
    await start({ keys });
    const { pinId } = await sent();
    const status = async (key: string, method: string, path: string, body?: unknown) =>
      (await api(method, path, body, { authorization: `App ${key}` })).status;
    const set = '/2fa/2/applications';
    const resend = `/2fa/2/pin/${pinId}/resend`;
    expect(await status('pins', 'GET', set)).toBe(403);
    expect(await status('pins', 'POST', resend)).toBe(200);
    expect(await status('pins', 'POST', `${resend}/email`)).toBe(400);
    expect(await status('pins', 'POST', `/2fa/2/pin/${pinId}/verify`, { pin: 'x' })).toBe(200);
    expect(await status('pins', 'GET', `${set}/${simulator.applicationId}/verifications?msisdn=1`)).toBe(200);
    expect(await status('setup', 'GET', set)).toBe(200);
    expect(await status('setup', 'POST', resend)).toBe(200);
    // The one operation that the document does not put under 2fa:manage.
    expect(await status('setup', 'POST', `${resend}/email`)).toBe(403);
    expect(await status('none', 'POST', resend)).toBe(403);
    expect(await status('old', 'GET', set)).toBe(200);
    simulator.advance(60_000);
    expect(await status('old', 'GET', set)).toBe(401);

    expect((await api('GET', set, undefined, { authorization: 'App pins' })).json).toEqual(
      legacy('FORBIDDEN', 'Forbidden'),
    );
    simulator.behave({ forbiddenMessageId: 'UNAUTHORIZED' });
    expect((await api('GET', set, undefined, { authorization: 'App pins' })).json).toEqual(
      legacy('UNAUTHORIZED', 'Unauthorized access'),
    );
  });

  it('may be name and password', async () => {
    const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`;
    expect((await list(basic(`${simulator.username}:${simulator.password}`))).status).toBe(200);
    expect((await list(basic(`${simulator.username}:wrong`))).status).toBe(401);
    expect((await list(basic(`wrong:${simulator.password}`))).status).toBe(401);
    await start({ username: 'a', password: 'b:c' });
    expect((await list(basic('a:b:c'))).status).toBe(200);
  });

  const token = (form: Record<string, string>, type = 'application/x-www-form-urlencoded') =>
    send(simulator.url, {
      method: 'POST',
      path: '/auth/1/oauth2/token',
      headers: { 'Content-Type': type },
      body: new URLSearchParams(form).toString(),
    });
  const client = () => ({
    client_id: simulator.username,
    client_secret: simulator.password,
    grant_type: 'client_credentials',
  });

  it('may be an OAuth token, for as long as it lives', async () => {
    const now = Date.now();
    await start({ now: () => now, behaviour: { tokenSeconds: 600 } });
    const { status, json, text } = await token(client());
    expect(status).toBe(200);
    expect(json).toEqual({ access_token: expect.any(String), expires_in: 600, token_type: 'Bearer' });
    const authorization = `Bearer ${JSON.parse(text).access_token}`;
    simulator.advance(599_999);
    expect((await list(authorization)).status).toBe(200);
    simulator.advance(1);
    expect((await list(authorization)).status).toBe(401);
  });

  it('get no token for what is wrong', async () => {
    const error = (status: number, name: string) => ({
      status,
      json: { error: name, requestError: { serviceException: { messageId: expect.any(String) } } },
    });
    expect(await token({ ...client(), client_secret: 'wrong' })).toMatchObject(error(400, 'invalid_client'));
    expect(await token({ ...client(), client_secret: '' })).toMatchObject(error(400, 'invalid_request'));
    expect(await token({ ...client(), grant_type: 'password' })).toMatchObject(
      error(400, 'unsupported_grant_type'),
    );
    expect((await token(client(), 'application/json')).status).toBe(415);
    simulator.behave({ wrongClientStatus: 401 });
    expect((await token({ ...client(), client_id: 'wrong' })).status).toBe(401);
  });

  it('get no token from an endpoint that is told to fail, in its own words', async () => {
    simulator.addFault({ operation: 'getToken', status: 429, headers: { 'Retry-After': '2' } });
    expect(await token(client())).toMatchObject({
      status: 429,
      headers: { 'retry-after': '2' },
      json: { error: 'temporarily_unavailable', ...legacy('TOO_MANY_REQUESTS', 'Too many requests') },
    });
    expect((await token(client())).status).toBe(200);
  });

  it('let the user do what its scopes allow, in whichever way it comes', async () => {
    await start({ userScopes: ['2fa:pin:send'] });
    const { username, password } = simulator;
    const user = `${username}:${password}`;
    const session = await send(simulator.url, {
      method: 'POST',
      path: '/auth/1/session',
      body: { username, password },
    });
    const ways = [
      `Basic ${Buffer.from(user).toString('base64')}`,
      `IBSSO ${JSON.parse(session.text).token}`,
      `Bearer ${JSON.parse((await token(client())).text).access_token}`,
    ];
    for (const authorization of ways) {
      expect((await list(authorization)).status).toBe(403);
      expect((await sms({}, { authorization })).status).toBe(200);
    }
  });

  it('may be a session, one at a time, until it is ended or an hour is over', async () => {
    const open = (body: object) => send(simulator.url, { method: 'POST', path: '/auth/1/session', body });
    const user = () => ({ username: simulator.username, password: simulator.password });
    expect((await open({ ...user(), password: 'wrong' })).status).toBe(401);
    expect((await open({ username: 'x' })).status).toBe(400);
    const first = await open(user());
    const authorization = `IBSSO ${JSON.parse(first.text).token}`;
    expect((await list(authorization)).status).toBe(200);
    expect((await open(user())).status).toBe(400);
    const end = () => api('DELETE', '/auth/1/session', undefined, { authorization });
    expect((await end()).status).toBe(200);
    expect((await list(authorization)).status).toBe(401);
    expect((await end()).status).toBe(401);
    const second = await open({ ...user(), unsafe: true });
    simulator.advance(3_600_000);
    expect((await list(`IBSSO ${JSON.parse(second.text).token}`)).status).toBe(401);
    expect((await open(user())).status).toBe(200);
  });

  it('may be a session from the address that opened it, or from any when that was asked for', () => {
    const credentials = new Credentials({
      keys: [],
      username: 'u',
      password: 'p',
      userScopes: ['2fa:manage'],
      now: () => 0,
      random: createRandom(1),
      tokenSeconds: () => 1,
      wrongClientStatus: () => 401,
    });
    for (const unsafe of [false, true]) {
      credentials.clear();
      const opened = credentials.openSession({ username: 'u', password: 'p', unsafe }, '192.0.2.1');
      const authorization = `IBSSO ${'token' in opened ? opened.token : ''}`;
      expect(credentials.scopesOf(authorization, '192.0.2.1')).toContain('2fa:manage');
      if (unsafe) expect(credentials.scopesOf(authorization, '192.0.2.2')).toContain('2fa:manage');
      else expect(() => credentials.scopesOf(authorization, '192.0.2.2')).toThrow('Unauthorized');
    }
  });
});

describe('envelopes', () => {
  const e404 = {
    errorCode: 'E404',
    description: expect.any(String),
    action: expect.any(String),
    violations: [],
    resources: [],
  };

  it("are the platform's newer ones on request", async () => {
    simulator.behave({ envelope: 'new' });
    expect((await verify('NONE', '1', { conforms: false })).json).toEqual(e404);
    const { json } = await api('POST', '/2fa/2/pin', { applicationId: 5 }, { conforms: false });
    expect(json).toMatchObject({
      errorCode: 'E400',
      violations: expect.arrayContaining([{ property: 'applicationId', violation: 'must be a string' }]),
    });
  });

  it('may be newer for a used-up limit alone', async () => {
    simulator.behave({ envelope: 'new-for-429', retryAfter: 12 });
    await configure({ sendPinPerPhoneNumberLimit: '1/1d' });
    await sms();
    const limited = await sms({}, { conforms: false });
    expect(limited).toMatchObject({
      status: 429,
      headers: { 'retry-after': '12' },
      json: { errorCode: 'E429' },
    });
    expect((await verify('NONE', '1')).json).toEqual(legacy('NOT_FOUND', 'Not found'));
  });
});

describe('published limits on set-up requests', () => {
  it('hold when asked for', async () => {
    for (let count = 0; count < 25; count++)
      expect((await api('POST', '/2fa/2/applications', { name: 'x' })).status).toBe(201);
    simulator.behave({ requestLimits: true });
    for (let count = 0; count < 20; count++) await api('POST', '/2fa/2/applications', { name: 'x' });
    expect((await api('POST', '/2fa/2/applications', { name: 'x' })).status).toBe(429);
    expect((await api('GET', '/2fa/2/applications')).status).toBe(200);
    simulator.advance(600_000);
    expect((await api('POST', '/2fa/2/applications', { name: 'x' })).status).toBe(201);
  });

  it('tell of themselves as other limits do, and are forgotten at a reset', async () => {
    const behaviour = {
      requestLimits: true,
      retryAfter: 'window',
      limitMessageId: 'THROTTLE_EXCEPTION',
    } as const;
    await start({ behaviour });
    const list = () => api('GET', '/2fa/2/applications');
    simulator.advance(86_400_000);
    for (let count = 0; count < 50; count++) await list();
    expect(await list()).toMatchObject({
      status: 429,
      headers: { 'retry-after': expect.stringMatching(/^(600|59\d)$/) },
      json: legacy('THROTTLE_EXCEPTION', 'Too many requests'),
    });
    simulator.reset();
    expect((await list()).status).toBe(200);
  });
});

describe('faults', () => {
  it('queue, meet the operation they name, and heal', async () => {
    simulator.addFault({ operation: 'verifyPin', status: 500 });
    simulator.addFault({ operation: 'send-2fa-pin-code-over-sms', status: 503, times: 2 });
    simulator.addFault({ operation: 'sendPin', status: 429, headers: { 'Retry-After': '3' } });
    expect((await sms()).json).toEqual(
      legacy('GENERAL_ERROR', 'Something went wrong. Please contact support.'),
    );
    expect((await sms()).status).toBe(503);
    expect(await sms()).toMatchObject({ status: 429, headers: { 'retry-after': '3' } });
    const { pinId, pin } = await sent();
    expect(simulator.messages).toHaveLength(1);
    expect((await verify(pinId, pin)).status).toBe(500);
    expect((await verify(pinId, pin)).json).toMatchObject({ verified: true });
  });

  it('meet every operation of the 2FA API, but the token only by name, when they name none', async () => {
    simulator.addFault({ status: 500 });
    const form = {
      client_id: simulator.username,
      client_secret: simulator.password,
      grant_type: 'client_credentials',
    };
    const token = () =>
      send(simulator.url, {
        method: 'POST',
        path: '/auth/1/oauth2/token',
        headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
        body: new URLSearchParams(form).toString(),
      });
    expect((await token()).status).toBe(200);
    expect((await api('GET', '/2fa/2/applications')).status).toBe(500);
    simulator.addFault({ operation: 'getToken', status: 401 });
    expect((await token()).status).toBe(401);
  });

  it.each<[string, Fault, object]>([
    [
      'either envelope on any status',
      { status: 429, envelope: 'new' },
      { status: 429, json: { errorCode: 'E429' } },
    ],
    ['an envelope alone, as a 500', { envelope: 'new' }, { status: 500, json: { errorCode: 'E500' } }],
    [
      'a 503 in a page of a proxy',
      { status: 503, body: '<html>', headers: { 'content-type': 'text/html' } },
      { status: 503, text: '<html>', headers: { 'content-type': 'text/html' } },
    ],
    [
      'a body that is not JSON under a 200',
      { body: 'OK' },
      { status: 200, text: 'OK', headers: { 'content-type': 'text/plain; charset=UTF-8' } },
    ],
    ['JSON of the wrong shape', { body: ['x', 1, null] }, { status: 200, json: ['x', 1, null] }],
    ['a body of null', { body: null }, { status: 200, text: 'null' }],
    ['an empty body', { body: '' }, { status: 200, text: '' }],
    ['a status without a body', { status: 204 }, { status: 204, text: '' }],
  ])('can be %s, and then nothing is sent', async (_title, fault, expected) => {
    simulator.addFault({ operation: 'sendPin', ...fault });
    expect(await sms({}, { conforms: false })).toMatchObject(expected);
    expect(simulator.messages).toHaveLength(0);
    expect((await sms()).status).toBe(200);
  });

  it('can send the message and answer an error all the same', async () => {
    simulator.addFault({ status: 500, performs: true });
    expect((await sms()).status).toBe(500);
    expect(simulator.messages).toHaveLength(1);
  });

  it('can lay headers over a good answer', async () => {
    simulator.addFault({ headers: { 'X-Request-Id': 'mine', 'X-More': 'yes' } });
    expect(await sms()).toMatchObject({ status: 200, headers: { 'x-request-id': 'mine', 'x-more': 'yes' } });
    expect(simulator.messages).toHaveLength(1);
  });

  it('can cut the connection before the message, after it, or in the middle of the answer', async () => {
    simulator.addFault({ operation: 'sendPin', cut: 'before' });
    await expect(sms()).rejects.toThrow('socket hang up');
    expect(simulator.messages).toHaveLength(0);
    simulator.addFault({ operation: 'sendPin', cut: 'after' });
    await expect(sms()).rejects.toThrow('socket hang up');
    expect(simulator.messages).toHaveLength(1);
    simulator.addFault({ operation: 'sendPin', cut: 'body' });
    await expect(sms()).rejects.toThrow('aborted');
    expect(simulator.messages).toHaveLength(2);
    simulator.addFault({ operation: 'sendPin', cut: 'body', status: 500 });
    await expect(sms()).rejects.toThrow('aborted');
    expect(simulator.messages).toHaveLength(2);
  });

  it('can answer late what is done at once', async () => {
    simulator.addFault({ operation: 'sendPin', delayMs: 300 });
    const before = performance.now();
    const late = sms();
    while (simulator.messages.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    expect((await late).status).toBe(200);
    expect(performance.now() - before).toBeGreaterThan(290);
  });

  it.each<[unknown, RegExp]>([
    [undefined, /a fault is not an object/],
    [[], /a fault is not an object/],
    [{}, /says nothing that could go wrong/],
    [{ operation: 'sendPin', times: 2 }, /says nothing that could go wrong/],
    [{ status: 199 }, /the status of a fault is 199\. Give a whole number from 200 to 599/],
    [{ status: '500' }, /the status of a fault is "500"/],
    [{ status: 500, times: 0 }, /the times of a fault is 0/],
    [{ status: 500, envelope: 'old' }, /Give "legacy" or "new"/],
    [{ delayMs: -1 }, /whole milliseconds/],
    [{ cut: 'between' }, /"before", "after" or "body"/],
    [{ headers: { 'a b': 'x' } }, /an object of header names and string values/],
    [{ headers: { a: 5 } }, /an object of header names and string values/],
    [{ headers: { a: 'x\r\ny: z' } }, /an object of header names and string values/],
    [{ operation: 'sendPn', status: 500 }, /names the operation "sendPn".*not known\. Give one of .*sendPin/],
    [{ operation: 'verifyPin', ncStatus: 'x' }, /only sends over SMS/],
    [{ stauts: 500 }, /has no "stauts"\. It may have operation, times, status/],
  ])('that make no sense are refused with a sentence: %j', async (fault, sentence) => {
    expect(() => simulator.addFault(JSON.parse(JSON.stringify(fault ?? null)))).toThrow(sentence);
    if (fault === undefined || Array.isArray(fault)) return;
    const refused = await control('faults', fault);
    expect(refused.status).toBe(400);
    expect(refused.json).toEqual({ error: expect.stringMatching(sentence) });
    expect((await sms()).status).toBe(200);
  });
});

describe('the control addresses', () => {
  it('tell the messages, to everybody or to one', async () => {
    await sent();
    await sent({ to: '385911234567' });
    const all = await control('messages');
    expect(all.json).toEqual(JSON.parse(JSON.stringify(simulator.messages)));
    expect(all.json).toMatchObject([
      {
        to: phone,
        channel: 'sms',
        text: expect.any(String),
        pin: expect.any(String),
        pinId: expect.any(String),
        from: 'ServiceSMS',
        at: expect.any(Number),
      },
      { to: '385911234567' },
    ]);
    for (const to of ['385911234567', '%2B385911234567', '+385911234567']) {
      expect((await control(`messages?to=${to}`)).json).toEqual([
        expect.objectContaining({ to: '385911234567' }),
      ]);
    }
    expect((await control('messages?to=1')).json).toEqual([]);
    expect(simulator.lastMessageTo('+385 91 123-4567')).toBe(simulator.messages[1]);
  });

  it('move the clock, set faults and behaviour, and reset', async () => {
    const before = JSON.parse((await control('advance', { ms: 0 })).text).now;
    expect(JSON.parse((await control('advance', { ms: 60_000 })).text).now).toBeGreaterThanOrEqual(
      before + 60_000,
    );
    for (const ms of [-1, '5', null, undefined, 1e300])
      expect((await control('advance', { ms })).status).toBe(400);

    expect((await control('faults', { status: 500, times: 3 })).json).toEqual({ waiting: 1 });
    expect((await control('behaviour', { times: 's' })).json).toMatchObject({
      times: 's',
      resendCounts: true,
    });
    expect((await control('behaviour')).json).toMatchObject({ times: 's' });
    expect((await control('behaviour', { times: 'h' })).status).toBe(400);
    await api('GET', '/2fa/2/applications');

    const created = JSON.parse(
      (await api('POST', '/2fa/2/applications', { name: 'x' }, { conforms: false })).text,
    );
    expect(created.requestError).toBeDefined();
    expect((await control('reset', {})).json).toEqual({});
    expect((await control('behaviour')).json).toMatchObject({ times: 'ms' });
    expect((await api('GET', '/2fa/2/applications')).status).toBe(200);
  });

  it('reset all traffic, and the set-up only when asked', async () => {
    const messages = simulator.messages;
    const { pinId } = await sent();
    await configure({ pinAttempts: 2 });
    await api('POST', '/2fa/2/applications', { name: 'Mine' });
    simulator.reset();
    expect(messages).toEqual([]);
    expect((await verify(pinId, '1')).status).toBe(404);
    expect((await api('GET', '/2fa/2/applications')).json).toMatchObject([
      { configuration: { pinAttempts: 2 } },
      { name: 'Mine' },
    ]);
    await control('reset', { setUp: true });
    expect((await api('GET', '/2fa/2/applications')).json).toMatchObject([
      { configuration: { pinAttempts: 5 } },
    ]);
    await sent();
    expect(messages).toHaveLength(1);
  });

  it('answer under a loopback Host only, whatever the port', async () => {
    await sent();
    const paths = [
      '/',
      '/_simulator/messages',
      '/_simulator/stream',
      '/_simulator/phone.js',
      '/_simulator/nothing',
    ];
    for (const Host of [
      'evil.example',
      '127.0.0.1.evil.example',
      'localhost.evil.example',
      '128.0.0.1',
      '1127.0.0.1',
      '127.0.0.1.2',
      'localhost:x',
      '[::2]:1',
    ]) {
      for (const path of paths) {
        const { status, text } = await send(simulator.url, { method: 'GET', path, headers: { Host } });
        expect([Host, path, status]).toEqual([Host, path, 403]);
        expect(text).not.toContain(simulator.messages[0]?.pin);
      }
      const reset = await send(simulator.url, {
        method: 'POST',
        path: '/_simulator/reset',
        headers: { Host },
        body: {},
      });
      expect(reset.status).toBe(403);
    }
    expect(simulator.messages).toHaveLength(1);
    for (const Host of ['localhost', 'LOCALHOST:80', '127.0.0.1:1', '127.0.0.2:80', '[::1]:65535']) {
      expect((await send(simulator.url, { method: 'GET', path: '/', headers: { Host } })).status).toBe(200);
    }
  });

  it('answer the API, and only that, under any Host', async () => {
    const Host = 'infobip.internal';
    expect((await api('GET', '/2fa/2/applications', undefined, { headers: { Host } })).status).toBe(200);
    const raw = await new Promise<string>((resolve, reject) => {
      const socket = connect(Number(new URL(simulator.url).port), '127.0.0.1', () =>
        socket.write('GET / HTTP/1.0\r\n\r\n'),
      );
      let text = '';
      socket.on('data', (chunk) => {
        text += chunk;
      });
      socket.on('end', () => resolve(text));
      socket.on('error', reject);
    });
    expect(raw).toContain('403 Forbidden');
  });

  it('take posts of JSON only, as no foreign page can send them, and know no CORS', async () => {
    await sent();
    for (const type of [
      'application/x-www-form-urlencoded',
      'text/plain',
      'multipart/form-data; boundary=x',
      '',
    ]) {
      const headers = type === '' ? {} : { 'Content-Type': type };
      const response = await send(simulator.url, { method: 'POST', path: '/_simulator/reset', headers });
      expect(response.status).toBe(415);
    }
    expect(simulator.messages).toHaveLength(1);
    const preflight = { Origin: 'http://evil.example', 'Access-Control-Request-Method': 'POST' };
    const options = await send(simulator.url, {
      method: 'OPTIONS',
      path: '/_simulator/reset',
      headers: preflight,
    });
    expect(options.status).toBe(405);
    for (const path of ['/', '/_simulator/messages']) {
      const { headers } = await send(simulator.url, {
        method: 'GET',
        path,
        headers: { Origin: 'http://evil.example' },
      });
      expect(Object.keys(headers).filter((name) => name.startsWith('access-control'))).toEqual([]);
    }
  });

  it('refuse what they do not know', async () => {
    expect((await control('nothing')).status).toBe(404);
    expect((await control('nothing', {})).status).toBe(404);
    expect((await control('advance')).status).toBe(405);
    expect((await control('messages', {})).status).toBe(405);
    expect((await control('reset', '[]')).status).toBe(400);
    expect((await control('reset', '{')).status).toBe(400);
    expect((await control('faults', JSON.stringify({ body: 'x'.repeat(1 << 20) }))).status).toBe(413);
  });
});

describe('startSimulator', () => {
  it('has an application and a template of a login site, the same at each start', async () => {
    const { apiKey, applicationId, messageId } = simulator;
    const other = await start({ seed: 'another' });
    expect(other).toMatchObject({ apiKey, applicationId, messageId });
    expect((await api('GET', `/2fa/2/applications/${applicationId}`)).json).toEqual({
      applicationId,
      name: expect.any(String),
      configuration: {
        pinAttempts: 5,
        allowMultiplePinVerifications: false,
        pinTimeToLive: '10m',
        verifyPinLimit: '5/1s',
        sendPinPerApplicationLimit: '10000/1d',
        sendPinPerPhoneNumberLimit: '10/1d',
      },
      enabled: true,
    });
    expect((await api('GET', `/2fa/2/applications/${applicationId}/messages`)).json).toMatchObject([
      { messageId, pinType: 'NUMERIC', pinLength: 6, messageText: expect.stringContaining('{{pin}}') },
    ]);
  });

  it('does the same again with the same seed and time, and something else without', async () => {
    const run = async (options: SimulatorOptions) => {
      await start(options);
      await sent();
      await api('POST', '/2fa/2/applications', { name: 'x' });
      return [
        await api('GET', '/2fa/2/applications').then(({ text }) => text),
        JSON.stringify(simulator.messages),
      ];
    };
    const fixed = { seed: 7, now: () => 1_767_225_600_000 };
    expect(await run(fixed)).toEqual(await run(fixed));
    expect(await run(fixed)).not.toEqual(await run({ ...fixed, seed: 8 }));
    const [first, second] = [await startSimulator(), await startSimulator()];
    started.push(first, second);
    for (const each of [first, second]) {
      const body = { applicationId: each.applicationId, messageId: each.messageId, to: phone };
      await send(each.url, {
        method: 'POST',
        path: '/2fa/2/pin',
        headers: { Authorization: `App ${each.apiKey}` },
        body,
      });
    }
    expect(first.messages[0]?.pinId).not.toBe(second.messages[0]?.pinId);
  });

  it('takes its time from now, plus what was advanced', async () => {
    let now = 5000;
    await start({ now: () => now });
    await sent();
    simulator.advance(500);
    now = 6000;
    await sent();
    expect(simulator.messages.map(({ at }) => at)).toEqual([5000, 6500]);
    simulator.reset();
    await sent();
    expect(simulator.messages[0]?.at).toBe(6000);
    expect(() => simulator.advance(-1)).toThrow(/only moves forward/);
    expect(() => simulator.advance(Number.NaN)).toThrow(/only moves forward/);
  });

  it('keeps the newest messages only', async () => {
    await start({ maxMessages: 3 });
    for (let count = 0; count < 5; count++) await sent();
    expect(simulator.messages.map(({ id }) => id)).toEqual([3, 4, 5]);
  });

  it('refuses a key that could not be sent, and behaviour that it does not know', async () => {
    await expect(startSimulator({ apiKey: '' })).rejects.toThrow('Give the key alone, without the word App.');
    await expect(startSimulator({ apiKey: 'App x' })).rejects.toThrow(TypeError);
    const behaviour = JSON.parse('{"retryafter":1}');
    await expect(startSimulator({ behaviour })).rejects.toThrow(/"retryafter" is not known/);
  });

  it('says when a port is taken', async () => {
    const port = Number(new URL(simulator.url).port);
    await expect(startSimulator({ port })).rejects.toMatchObject({ code: 'EADDRINUSE' });
  });

  it('names an address that a client on this machine reaches', async () => {
    const all = await start({ host: '0.0.0.0' });
    expect(all.url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
    expect((await api('GET', '/2fa/2/applications')).status).toBe(200);
    expect((await start({ host: 'localhost' })).url).toMatch(/^http:\/\/localhost:\d+$/);
    expect((await api('GET', '/2fa/2/applications')).status).toBe(200);
  });

  it('closes at once, with answers and connections still open', async () => {
    simulator.addFault({ operation: 'sendPin', delayMs: 600_000 });
    const late = sms().catch((error: Error) => error.message);
    while (simulator.messages.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    const idle = connect(Number(new URL(simulator.url).port), '127.0.0.1');
    await new Promise((resolve) => idle.once('connect', resolve));
    await simulator.close();
    expect(await late).toBe('socket hang up');
    await simulator.close();
    idle.destroy();
  });
});
