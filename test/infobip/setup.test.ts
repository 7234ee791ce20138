import { Infobip2faClient, type SetUpPlan, setUp2fa } from 'passport-sms-otp/infobip';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { failureOf, type Service, startService } from '../support/service.js';

type Fields = Record<string, unknown>;

let service: Service;
let client: Infobip2faClient;
/** What the account holds. */
let applications: Fields[];
let templates: Fields[];

/** As little of Infobip's account as setting it up takes: it keeps what it is given. */
beforeEach(async () => {
  applications = [{ applicationId: 'A0', name: 'Somebody else\u2019s', enabled: true, configuration: {} }];
  templates = [];
  service = await startService(({ method, path, body }) => {
    const given: Fields = body === '' ? {} : JSON.parse(body);
    const [, , , , applicationId, ...rest] = path.replace('/email/', '/').split('/');
    if (applicationId === undefined) {
      if (method === 'POST') {
        applications.push({ applicationId: `A${applications.length}`, ...given });
      }
      return {
        status: method === 'POST' ? 201 : 200,
        body: method === 'POST' ? applications.at(-1) : applications,
      };
    }
    if (rest.length === 0) {
      return {
        body: Object.assign(applications.find((one) => one.applicationId === applicationId) ?? {}, given),
      };
    }
    const own = templates.filter((one) => one.applicationId === applicationId);
    if (method === 'GET') {
      return { body: own };
    }
    const found = own.find((one) => one.messageId === rest[1]) ?? {
      messageId: `M${templates.length}`,
      applicationId,
    };
    templates = [...templates.filter((one) => one !== found), Object.assign(found, given)];
    return { body: found };
  });
  client = new Infobip2faClient({ baseUrl: service.url, apiKey: 'some-key' });
});

afterEach(async () => {
  await client.close();
  await service.close();
});

const changes = (): string[] =>
  service.seen.filter(({ method }) => method !== 'GET').map(({ method, path }) => `${method} ${path}`);

const PLAN = {
  applicationName: 'Shop',
  sms: { text: '{{pin}} is your code for Shop.\n\n@shop.example #{{pin}}', senderId: 'Shop' },
  voice: { text: 'Your code is {{pin}}.', language: 'hr', speechRate: 0.8, repeatDTMF: '1#' },
  email: { emailTemplateId: 1234, from: 'Shop <shop@shop.example>' },
} as const satisfies SetUpPlan;

describe('setUp2fa', () => {
  it('makes an application and an SMS template of our defaults when given no plan', async () => {
    await expect(setUp2fa(client)).resolves.toEqual({
      applicationId: 'A1',
      messageId: 'M0',
      messageIds: { sms: 'M0' },
      created: ['application', 'sms'],
      updated: [],
    });
    expect(applications[1]).toEqual({
      applicationId: 'A1',
      name: 'passport-sms-otp',
      enabled: true,
      configuration: {
        pinAttempts: 5,
        allowMultiplePinVerifications: false,
        pinTimeToLive: '10m',
        verifyPinLimit: '5/1s',
        sendPinPerPhoneNumberLimit: '10/1d',
      },
    });
    expect(templates).toEqual([
      {
        messageId: 'M0',
        applicationId: 'A1',
        messageText: '{{pin}} is your login code. It is good for 10 minutes.',
        pinType: 'NUMERIC',
        pinLength: 6,
      },
    ]);
  });

  it('makes the templates of every planned channel', async () => {
    await expect(setUp2fa(client, PLAN)).resolves.toEqual({
      applicationId: 'A1',
      messageId: 'M0',
      messageIds: { sms: 'M0', voice: 'M1', email: 'M2' },
      created: ['application', 'sms', 'voice', 'email'],
      updated: [],
    });
    const pin = { applicationId: 'A1', pinType: 'NUMERIC', pinLength: 6 };
    expect(templates).toEqual([
      { messageId: 'M0', ...pin, messageText: PLAN.sms.text, senderId: 'Shop' },
      {
        messageId: 'M1',
        ...pin,
        messageText: PLAN.voice.text,
        language: 'hr',
        speechRate: 0.8,
        repeatDTMF: '1#',
      },
      { messageId: 'M2', ...pin, emailTemplateId: 1234, from: 'Shop <shop@shop.example>' },
    ]);
  });

  it('changes nothing when it runs again', async () => {
    const first = await setUp2fa(client, PLAN);
    service.seen.length = 0;
    const before = structuredClone({ applications, templates });
    await expect(setUp2fa(client, PLAN)).resolves.toEqual({ ...first, created: [], updated: [] });
    expect(changes()).toEqual([]);
    expect({ applications, templates }).toEqual(before);
  });

  it('shares one template between SMS and voice of the same text', async () => {
    const text = 'Your code is {{pin}}.';
    const plan: SetUpPlan = {
      sms: { text, senderId: 'Shop' },
      voice: { text, senderId: 'Voice', language: 'sl' },
    };
    await expect(setUp2fa(client, plan)).resolves.toMatchObject({
      messageIds: { sms: 'M0', voice: 'M0' },
      created: ['application', 'sms', 'voice'],
    });
    expect(templates).toMatchObject([{ messageText: text, senderId: 'Shop', language: 'sl' }]);
    await expect(setUp2fa(client, plan)).resolves.toMatchObject({ created: [], updated: [] });
  });

  it('makes no SMS template for a plan of other channels', async () => {
    const { messageId, messageIds } = await setUp2fa(client, {
      email: { emailTemplateId: 7 },
      pin: { length: 8 },
    });
    expect(messageIds).toEqual({ email: messageId });
    expect(templates).toMatchObject([{ emailTemplateId: 7, pinLength: 8 }]);
  });

  it.each([
    ['pinTimeToLive', '600s'],
    ['pinTimeToLive', '600000ms'],
    ['verifyPinLimit', '5/s'],
    ['verifyPinLimit', '5/1000ms'],
    ['sendPinPerPhoneNumberLimit', '10/24h'],
    ['sendPinPerPhoneNumberLimit', '10/d'],
    ['sendPinPerApplicationLimit', '1/1h'],
    ['pinAttempts', 7],
  ])('leaves %s alone when it is %s', async (option, value) => {
    await setUp2fa(client);
    Object.assign(Object(applications[1]).configuration, { [option]: value });
    service.seen.length = 0;
    await expect(setUp2fa(client)).resolves.toMatchObject({ updated: [] });
    expect(changes()).toEqual([]);
  });

  it.each([
    ['pinTimeToLive', '15m'],
    ['pinTimeToLive', 'nonsense'],
    ['verifyPinLimit', '1/3s'],
    ['sendPinPerPhoneNumberLimit', '10/1h'],
    ['sendPinPerPhoneNumberLimit', '1d'],
    ['allowMultiplePinVerifications', true],
    ['allowMultiplePinVerifications', undefined],
    ['pinAttempts', 4],
    ['pinAttempts', undefined],
  ])('brings %s back when it has become %s', async (option, value) => {
    await setUp2fa(client);
    const wanted = structuredClone(applications[1]);
    Object.assign(Object(applications[1]).configuration, {
      [option]: value,
      sendPinPerApplicationLimit: '9/1m',
    });
    service.seen.length = 0;
    await expect(setUp2fa(client)).resolves.toMatchObject({ created: [], updated: ['application'] });
    expect(changes()).toEqual(['PUT /2fa/2/applications/A1']);
    expect(Object(applications[1]).configuration).toEqual({
      ...Object(wanted).configuration,
      sendPinPerApplicationLimit: '9/1m',
    });
    await expect(setUp2fa(client)).resolves.toMatchObject({ updated: [] });
  });

  it('takes the configuration of the plan over ours, to the number', async () => {
    const configuration = { pinAttempts: 3, pinTimeToLive: '5m', sendPinPerApplicationLimit: '100/h' };
    await setUp2fa(client, { configuration });
    expect(Object(applications[1]).configuration).toMatchObject({ ...configuration, verifyPinLimit: '5/1s' });
    Object(applications[1]).configuration.pinAttempts = 4;
    await expect(setUp2fa(client, { configuration })).resolves.toMatchObject({ updated: ['application'] });
    expect(Object(applications[1]).configuration.pinAttempts).toBe(3);
  });

  it('takes undefined in a plan for nothing', async () => {
    const configuration = { pinAttempts: undefined, pinTimeToLive: undefined };
    const plan = { configuration, sms: { text: '{{pin}}', senderId: undefined }, voice: undefined };
    for (const created of [['application', 'sms'], []]) {
      const done: unknown = await Reflect.apply(setUp2fa, undefined, [client, plan]);
      expect(done).toMatchObject({ created, updated: [] });
    }
    expect(applications[1]).toMatchObject({ configuration: { pinAttempts: 5, pinTimeToLive: '10m' } });
  });

  it('does not enable an application that somebody disabled', async () => {
    await setUp2fa(client);
    Object.assign(Object(applications[1]), { enabled: false });
    Object.assign(Object(applications[1]).configuration, { pinAttempts: 1 });
    await setUp2fa(client);
    expect(applications[1]).toMatchObject({ enabled: false, configuration: { pinAttempts: 5 } });
  });

  it.each([
    ['sms', 'M0', { pinLength: 4 }],
    ['sms', 'M0', { pinType: 'HEX' }],
    ['sms', 'M0', { senderId: 'InfoSMS' }],
    ['voice', 'M1', { language: 'en' }],
    ['voice', 'M1', { speechRate: undefined }],
    ['email', 'M2', { pinLength: undefined }],
    ['email', 'M2', { from: 'x@y.example' }],
  ])('brings the %s template back, not another', async (part, messageId, drift) => {
    const first = await setUp2fa(client, PLAN);
    const before = structuredClone(templates);
    Object.assign(templates.find((one) => one.messageId === messageId) ?? {}, drift);
    service.seen.length = 0;
    await expect(setUp2fa(client, PLAN)).resolves.toEqual({ ...first, created: [], updated: [part] });
    const kind = part === 'email' ? '/email' : '';
    expect(changes()).toEqual([`PUT /2fa/2/applications/A1${kind}/messages/${messageId}`]);
    expect(templates.toSorted((a, b) => String(a.messageId).localeCompare(String(b.messageId)))).toEqual(
      before,
    );
  });

  it('compares India\u2019s fields one by one', async () => {
    const plan = (principalEntityId: string): SetUpPlan => ({
      sms: { text: '{{pin}}', regional: { indiaDlt: { principalEntityId } } },
    });
    await setUp2fa(client, plan('1'));
    Object.assign(Object(templates[0]).regional.indiaDlt, { contentTemplateId: '7' });
    await expect(setUp2fa(client, plan('1'))).resolves.toMatchObject({ updated: [] });
    await expect(setUp2fa(client, plan('2'))).resolves.toMatchObject({ updated: ['sms'] });
  });

  it('makes another template for another text, and keeps the old one', async () => {
    await setUp2fa(client);
    const { messageId, created } = await setUp2fa(client, { sms: { text: 'PIN: {{pin}}' } });
    expect(created).toEqual(['sms']);
    expect(messageId).toBe('M1');
    expect(templates).toHaveLength(2);
  });

  it.each([
    [{ sms: { text: 'no placeholder' } }, 'sms.text must be a text with {{pin}} in it, for instance'],
    [{ voice: {} }, 'voice.text must be a text with {{pin}} in it, for instance'],
    [{ email: { emailTemplateId: '7' } }, 'email.emailTemplateId must be the number that Infobip shows'],
    [
      { configuration: { pinTimeToLive: '10 minutes' } },
      'configuration.pinTimeToLive is not readable. Write it like 10m.',
    ],
    [
      { configuration: { verifyPinLimit: '5s' } },
      'configuration.verifyPinLimit is not readable. Write it like 10/1d.',
    ],
    [{ configuration: { pinTimeToLive: '1/5s' } }, 'configuration.pinTimeToLive is not readable.'],
    [
      { configuration: { pinAttempt: 5 } },
      'configuration.pinAttempt is not known. Did you mean "pinAttempts"?',
    ],
    [{ SMS: { text: '{{pin}}' } }, 'SMS is not known. Did you mean "sms"?'],
  ])('refuses the plan %j before it asks anything', async (plan, sentence) => {
    const error = await failureOf(Reflect.apply(setUp2fa, undefined, [client, plan]));
    expect(error).toBeInstanceOf(TypeError);
    expect(String(error)).toContain(`setUp2fa: ${sentence}`);
    expect(service.seen).toEqual([]);
  });

  it('lets the service\u2019s refusals through', async () => {
    service.answer({ status: 403 });
    expect(await failureOf(setUp2fa(client))).toMatchObject({ code: 'ERR_INFOBIP_FORBIDDEN' });
  });
});
