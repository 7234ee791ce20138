import { diagnose2fa, Infobip2faClient, type SiteExpectations } from 'passport-sms-otp/infobip';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { freePort } from '../support/ports.js';
import { failureOf, type Reply, type Service, startService } from '../support/service.js';

const CONFIGURATION = {
  pinAttempts: 5,
  allowMultiplePinVerifications: false,
  pinTimeToLive: '10m',
  verifyPinLimit: '5/1s',
  sendPinPerApplicationLimit: '10000/1d',
  sendPinPerPhoneNumberLimit: '10/1d',
};
const APPLICATION = { applicationId: 'APP', name: 'Shop', enabled: true, configuration: CONFIGURATION };
const SMS = {
  messageId: 'SMS',
  messageText: '{{pin}} is your code.\n\n@shop.example #{{pin}}',
  pinType: 'NUMERIC',
  pinLength: 6,
  senderId: 'Shop',
};
const VOICE = { messageId: 'VOICE', messageText: 'Your code is {{pin}}.', pinType: 'NUMERIC', pinLength: 6 };
const EMAIL = { messageId: 'EMAIL', emailTemplateId: 7, pinType: 'NUMERIC', pinLength: 6 };
const IDS = { applicationId: 'APP', messageId: 'SMS' };

let service: Service;
let client: Infobip2faClient;
/** The answer to each path below the application. */
let replies: Record<string, Reply>;
let resendByEmail: Reply;
let asked: string[];

beforeEach(async () => {
  replies = {
    '': { body: APPLICATION },
    '/messages/SMS': { body: SMS },
    '/messages/VOICE': { body: VOICE },
    '/messages/EMAIL': { body: EMAIL },
    '/verifications?msisdn=10000000000': { body: { verifications: [] } },
  };
  resendByEmail = { status: 404 };
  asked = [];
  service = await startService(({ path }) => {
    asked.push(path);
    if (path.endsWith('/resend/email')) return resendByEmail;
    return replies[path.replace('/2fa/2/applications/APP', '')] ?? { status: 404 };
  });
  client = new Infobip2faClient({ baseUrl: service.url, apiKey: 'some-key' });
});

afterEach(async () => {
  await client.close();
  await service.close();
});

async function codes(
  site?: SiteExpectations,
  ids: Parameters<typeof diagnose2fa>[1] = IDS,
): Promise<string[]> {
  const findings = await diagnose2fa(client, ids, site);
  for (const { code, severity, message, mend } of findings) {
    expect(code).toMatch(/^[a-z]+(_[a-z]+)*$/);
    expect(['error', 'warning', 'info']).toContain(severity);
    expect(message, code).toMatch(/\.$/);
    expect(mend, code).toMatch(/\.$/);
  }
  return findings.map(({ code, severity }) => `${severity} ${code}`);
}

describe('diagnose2fa', () => {
  it('finds nothing where all is as the site expects, and only reads', async () => {
    expect(await codes({ domain: 'shop.example' })).toEqual([]);
    expect(service.seen.every(({ method }) => method === 'GET')).toBe(true);
  });

  const configurations: [object, string[], SiteExpectations?][] = [
    [{ pinTimeToLive: '15m' }, ['warning pin_lives_longer']],
    [{ pinTimeToLive: 'm' }, ['warning pin_lives_shorter']],
    [{ pinTimeToLive: '300s' }, [], { pinTtlSeconds: 300 }],
    [{ pinTimeToLive: 'soon' }, ['warning limit_unreadable']],
    [{ allowMultiplePinVerifications: true }, ['warning repeat_verification_allowed']],
    [{ pinAttempts: 4 }, ['warning fewer_attempts']],
    [{ pinAttempts: 4 }, [], { attempts: 3 }],
    [{ verifyPinLimit: '1/3s' }, ['warning check_limit_low']],
    [{ verifyPinLimit: '1/s' }, []],
    [{ verifyPinLimit: '' }, ['warning limit_unreadable']],
    [{ sendPinPerPhoneNumberLimit: '3/1d' }, ['warning send_limit_low']],
    [{ sendPinPerPhoneNumberLimit: '9/1d' }, ['warning send_limit_low']],
    [{ sendPinPerPhoneNumberLimit: '10/7d' }, []],
    [{ sendPinPerPhoneNumberLimit: '4/1h' }, ['warning send_limit_low']],
    [{ sendPinPerPhoneNumberLimit: '5/h' }, []],
    [{ sendPinPerPhoneNumberLimit: '3/1d' }, [], { sendsPerNumber: [{ points: 3, duration: 86_400 }] }],
    [{ sendPinPerApplicationLimit: '4000/1d' }, ['warning application_limit_low']],
    [{ sendPinPerApplicationLimit: '500/1h' }, ['warning application_limit_low']],
    [{ sendPinPerApplicationLimit: '4000/1d' }, [], { sendsOverall: [{ points: 9, duration: 60 }] }],
  ];
  it.each(configurations)('finds in the configuration %j: %j', async (configuration, findings, site) => {
    replies[''] = { body: { ...APPLICATION, configuration: { ...CONFIGURATION, ...configuration } } };
    expect(await codes(site)).toEqual(findings);
  });

  it('says which limit the site needs', async () => {
    replies[''] = {
      body: { ...APPLICATION, configuration: { ...CONFIGURATION, sendPinPerPhoneNumberLimit: '10/1d' } },
    };
    const mends = async (points: number, duration: number) =>
      (await diagnose2fa(client, IDS, { sendsPerNumber: [{ points, duration }] }))
        .filter(({ code }) => code === 'send_limit_low')
        .map(({ message, mend }) => [message, mend]);
    for (const [points, duration, needed] of [
      [50, 86_400, '50/1d'],
      [30, 7200, '30/2h'],
      [20, 900, '20/15m'],
      [11, 90, '11/90s'],
    ] as const) {
      expect(await mends(points, duration)).toEqual([
        [
          `sendPinPerPhoneNumberLimit is 10/1d, the site needs ${needed}.`,
          `Set sendPinPerPhoneNumberLimit to ${needed}, or lower the site's budget.`,
        ],
      ]);
    }
  });

  it('takes Infobip\u2019s defaults for what an application does not say', async () => {
    replies[''] = { body: { applicationId: 'APP', name: 'Shop' } };
    expect(await codes()).toEqual([
      'warning pin_lives_longer',
      'warning repeat_verification_allowed',
      'warning check_limit_low',
      'warning send_limit_low',
    ]);
  });

  it('finds that the application is disabled', async () => {
    replies[''] = { body: { ...APPLICATION, enabled: false } };
    expect(await codes()).toEqual(['error application_disabled']);
  });

  const templates: [object, string[], SiteExpectations?][] = [
    [{ pinLength: 5 }, ['error pin_too_short']],
    [{ pinLength: 8 }, ['error pin_length_differs']],
    [{ pinLength: 8 }, [], { pin: { length: 8 } }],
    [{ pinLength: undefined }, ['warning pin_length_unknown']],
    [{ pinType: 'HEX' }, ['error pin_type_differs']],
    [{ pinType: 'HEX', pinLength: 5 }, [], { pin: { type: 'HEX', length: 5 } }],
    [
      { pinType: 'ALPHANUMERIC', pinLength: 3 },
      ['error pin_too_short'],
      { pin: { type: 'ALPHANUMERIC', length: 3 } },
    ],
    [{ messageText: 'Hello' }, ['error pin_placeholder_missing', 'info origin_line_missing']],
    [{ messageText: '{{pin}}' }, ['info origin_line_missing']],
    [{ messageText: '{{pin}}' }, ['warning origin_line_missing'], { domain: 'shop.example' }],
    [{ messageText: '{{pin}}\n@shop.example #{{pin}}.' }, ['warning origin_line_malformed']],
    [{ messageText: '{{pin}}\n@shop.example #{{pin}}\nBye' }, ['warning origin_line_malformed']],
    [{ messageText: '{{pin}} @shop.example #{{pin}}' }, ['warning origin_line_malformed']],
    [{ messageText: '@shop.example  #{{pin}}' }, ['warning origin_line_malformed']],
    [{ messageText: 'x\r\n@shop.example #{{pin}}' }, []],
    [{}, ['warning origin_line_of_other_domain'], { domain: 'other.example' }],
    [{}, [], { domain: 'SHOP.example' }],
    [{ senderId: 'ServiceSMS' }, ['warning trial_account']],
    [{ senderId: 'InfoSMS' }, ['warning trial_account']],
    [{ senderId: 'A sender too long' }, ['warning sender_too_long']],
    [{ senderId: '+385911234567890' }, []],
    [{ senderId: undefined }, []],
    [{ emailTemplateId: 7 }, ['error template_of_other_channel']],
  ];
  it.each(templates)('finds in the SMS template %j: %j', async (template, findings, site) => {
    replies['/messages/SMS'] = { body: { ...SMS, ...template } };
    expect(await codes(site)).toEqual(findings);
  });

  it('asks for a resend by e-mail of a PIN that cannot be there, to see whether the key may', async () => {
    const email = { applicationId: 'APP', messageId: { email: 'EMAIL' } };
    expect(await codes({}, email)).toEqual([]);
    resendByEmail = { status: 400 };
    expect(await codes({}, email)).toEqual([]);
    resendByEmail = { status: 403 };
    expect(await codes({}, email)).toEqual(['warning email_resend_scope']);
    resendByEmail = { status: 418 };
    expect(await codes({}, email)).toEqual(['error service_failed']);
    const resends = asked.filter((path) => path.endsWith('/resend/email'));
    expect(new Set(resends).size).toBe(4);
    for (const path of resends) expect(path).toMatch(/^\/2fa\/2\/pin\/[0-9A-F]{32}\/resend\/email$/);
    expect(await codes({}, { applicationId: 'APP', messageId: { sms: 'SMS', voice: 'VOICE' } })).toEqual([]);
    expect(asked.filter((path) => path.endsWith('/resend/email'))).toHaveLength(4);
  });

  it('looks at the template of every channel that is named', async () => {
    const messageId = { sms: 'SMS', voice: 'VOICE', email: 'EMAIL' };
    expect(await codes({}, { applicationId: 'APP', messageId })).toEqual([]);
    replies['/messages/VOICE'] = { body: { ...VOICE, pinLength: 4 } };
    replies['/messages/EMAIL'] = { body: { ...EMAIL, pinType: 'HEX', emailTemplateId: undefined } };
    expect(await codes({}, { applicationId: 'APP', messageId: { voice: 'VOICE', email: 'EMAIL' } })).toEqual([
      'error pin_too_short',
      'error template_of_other_channel',
    ]);
  });

  it.each([
    [404, 'error application_not_found'],
    [400, 'error application_not_found'],
    [401, 'error key_refused'],
    [418, 'error service_failed'],
    [302, 'error service_unreachable'],
  ])('reads a %i to the application as: %s', async (status, finding) => {
    replies[''] = { status };
    expect(await codes()).toEqual([finding]);
  });

  it.each([400, 401])('finds that client id or secret are refused with a %i', async (status) => {
    service.answer({ status, body: { error: 'invalid_client' } });
    const stranger = new Infobip2faClient({ baseUrl: service.url, clientId: 'shop', clientSecret: 'wrong' });
    expect(await diagnose2fa(stranger, IDS)).toMatchObject([{ code: 'key_refused', severity: 'error' }]);
    await stranger.close();
  });

  it('finds that the service is down, that nothing listens, that something else does', async () => {
    replies[''] = { status: 503, headers: { 'retry-after': '0' } };
    expect(await codes()).toEqual(['error service_failed']);
    replies[''] = { body: '<html>' };
    expect(await codes()).toEqual(['error service_unreachable']);
    const lost = new Infobip2faClient({
      baseUrl: `http://127.0.0.1:${await freePort()}`,
      apiKey: 'some-key',
    });
    const findings = await diagnose2fa(lost, IDS);
    expect(findings).toMatchObject([{ code: 'service_unreachable', severity: 'error' }]);
    await lost.close();
  });

  it.each([
    [200, 'warning scope_manage_missing'],
    [404, 'warning scope_manage_missing'],
    [403, 'error scope_missing'],
    [401, 'error key_refused'],
  ])('asks whether a key without 2fa:manage may send at all: %i, %s', async (status, finding) => {
    replies[''] = { status: 403 };
    replies['/verifications?msisdn=10000000000'] = { status, body: { verifications: [] } };
    expect(await codes()).toEqual([finding]);
  });

  it('keeps what it found when it cannot go on', async () => {
    replies[''] = { body: { ...APPLICATION, enabled: false } };
    replies['/messages/SMS'] = { status: 401 };
    expect(await codes()).toEqual(['error application_disabled', 'error key_refused']);
    replies['/messages/SMS'] = { status: 404 };
    const messageId = { sms: 'SMS', voice: 'VOICE' };
    expect(await codes({}, { applicationId: 'APP', messageId })).toEqual([
      'error application_disabled',
      'error template_not_found',
    ]);
  });

  it('throws what is no word of the service', async () => {
    expect(await failureOf(diagnose2fa(client, { applicationId: '', messageId: 'SMS' }))).toBeInstanceOf(
      TypeError,
    );
  });
});
