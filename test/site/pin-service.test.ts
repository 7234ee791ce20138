import { Infobip2faClient } from 'passport-sms-otp/infobip';
import { type Simulator, startSimulator } from 'passport-sms-otp/simulator';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createLog } from '../../example-app/src/log.js';
import { connectPinService } from '../../example-app/src/pin-service.js';
import { readSettings } from '../../example-app/src/settings.js';
import { StartupError } from '../../example-app/src/startup-error.js';

const phone = '+385911234567';

let service: Simulator;
let operator: Infobip2faClient;
let logged: Record<string, unknown>[];

beforeEach(async () => {
  logged = [];
  service = await startSimulator();
  operator = new Infobip2faClient({ baseUrl: service.url, apiKey: service.apiKey });
});

afterEach(async () => {
  await operator.close();
  await service.close();
});

function connect(variables: NodeJS.ProcessEnv = {}) {
  const settings = readSettings({
    INFOBIP_BASE_URL: service.url,
    INFOBIP_API_KEY: service.apiKey,
    ...variables,
  });
  return connectPinService(settings, createLog({ write: (line) => logged.push(JSON.parse(line)) }));
}

async function sentenceFor(variables: NodeJS.ProcessEnv): Promise<string> {
  const error: unknown = await connect(variables).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof StartupError)) throw new Error('no sentence', { cause: error });
  return error.message;
}

describe('with a service', () => {
  it('an application and a template are made once, and found the next time', async () => {
    const before = await operator.listApplications();
    const first = await connect();
    const applications = await operator.listApplications();
    const second = await connect();

    expect(applications).toHaveLength(before.length + 1);
    expect(await operator.listApplications()).toEqual(applications);
    expect(await operator.listMessageTemplates(first.applicationId)).toEqual([
      expect.objectContaining({ messageId: first.messageId, pinLength: 6, pinType: 'NUMERIC' }),
    ]);
    const { applicationId, messageId } = first;
    expect(second).toMatchObject({ applicationId, messageId, phone: undefined });
    expect(logged.filter((line) => 'applicationId' in line)).toEqual([
      expect.objectContaining({ applicationId, messageId, created: ['application', 'sms'] }),
      expect.objectContaining({ applicationId, messageId, created: [] }),
    ]);
    await first.close();
    await second.close();
  });

  it('what strangers may ask for in a day leaves room for a browser that the site knows', async () => {
    const { client, applicationId, messageId, close } = await connect();
    const send = () => client.sendPin({ channel: 'sms', applicationId, messageId, to: phone });
    for (let sent = 0; sent < 20; sent += 1) await expect(send()).resolves.toMatchObject({ sent: true });
    await close();
  });

  it('the application and the template that are named are used, and what is odd about them is logged', async () => {
    const { applicationId } = service;
    const { messageId } = await operator.createMessageTemplate(applicationId, {
      messageText: 'Your code: {{pin}}',
      pinLength: 6,
      pinType: 'NUMERIC',
    });
    await operator.updateApplication(applicationId, {
      name: 'named',
      configuration: { allowMultiplePinVerifications: true },
    });
    const connected = await connect({ INFOBIP_APPLICATION_ID: applicationId, INFOBIP_MESSAGE_ID: messageId });
    expect(connected).toMatchObject({ applicationId, messageId });
    expect(logged).toContainEqual(
      expect.objectContaining({ level: 40, finding: 'repeat_verification_allowed', msg: expect.any(String) }),
    );
    await connected.close();
  });

  it('a template is found or made in the application that is named alone', async () => {
    const { applicationId } = service;
    const first = await connect({ INFOBIP_APPLICATION_ID: applicationId });
    const second = await connect({ INFOBIP_APPLICATION_ID: applicationId });
    expect(first.applicationId).toBe(applicationId);
    expect(first.messageId).not.toBe(service.messageId);
    expect(second.messageId).toBe(first.messageId);
    expect(await operator.listMessageTemplates(applicationId)).toHaveLength(2);
    await first.close();
    await second.close();
  });

  it.each([
    ['https://login.skerry.example:8443', '@login.skerry.example #'],
    ['http://login.skerry.example', undefined],
    ['', undefined],
  ])('behind %j the message ends with %j and the PIN', async (PUBLIC_URL, lastLine) => {
    const { client, applicationId, messageId, close } = await connect({ PUBLIC_URL });
    await client.sendPin({ channel: 'sms', applicationId, messageId, to: phone });
    const message = service.lastMessageTo(phone);
    const last = message?.text.split('\n').at(-1);
    if (lastLine === undefined) expect(last).not.toMatch(/^@/);
    else expect(last).toBe(lastLine + message?.pin);
    await close();
  });
});

describe('a service that cannot be used gets a sentence', () => {
  const named = () => ({
    INFOBIP_APPLICATION_ID: service.applicationId,
    INFOBIP_MESSAGE_ID: service.messageId,
  });

  it.each<[string, () => NodeJS.ProcessEnv, RegExp]>([
    ['a wrong key', () => ({ INFOBIP_API_KEY: 'canary' }), /^INFOBIP_API_KEY cannot be used: .*401/],
    [
      'a wrong key beside ids',
      () => ({ ...named(), INFOBIP_API_KEY: 'canary' }),
      /^INFOBIP_API_KEY cannot be used: .*401/,
    ],
    [
      'an address of something else',
      () => ({ INFOBIP_BASE_URL: `${service.url}/elsewhere` }),
      /^INFOBIP_BASE_URL cannot be used: .*404/,
    ],
    [
      'an address that is not loopback and not https',
      () => ({ INFOBIP_BASE_URL: 'http://api.example.com', SMS_COUNTRIES: 'HR' }),
      /INFOBIP_BASE_URL must be https/,
    ],
    [
      'an application that is not there',
      () => ({ ...named(), INFOBIP_APPLICATION_ID: 'NOT-THERE' }),
      /^INFOBIP_APPLICATION_ID cannot be used: /,
    ],
    [
      'an application alone that is not there',
      () => ({ INFOBIP_APPLICATION_ID: 'NOT-THERE' }),
      /^INFOBIP_APPLICATION_ID cannot be used: /,
    ],
    [
      'a template that is not there',
      () => ({ ...named(), INFOBIP_MESSAGE_ID: 'NOT-THERE' }),
      /^INFOBIP_MESSAGE_ID cannot be used: /,
    ],
  ])('%s', async (_what, variables, sentence) => {
    const said = await sentenceFor(variables());
    expect(said).toMatch(sentence);
    expect(said).toMatch(/\.$/);
    expect(said).not.toContain('canary');
    expect(said).not.toContain(service.apiKey);
  });

  it.each([
    ['of four digits', { pinLength: 4, pinType: 'NUMERIC' }],
    ['of eight digits', { pinLength: 8, pinType: 'NUMERIC' }],
    ['of letters', { pinLength: 6, pinType: 'ALPHANUMERIC' }],
  ] as const)('a template with PINs %s', async (_what, shape) => {
    const template = await operator.createMessageTemplate(service.applicationId, {
      messageText: 'PIN {{pin}}',
      ...shape,
    });
    expect(await sentenceFor({ ...named(), INFOBIP_MESSAGE_ID: template.messageId })).toMatch(
      /^INFOBIP_MESSAGE_ID cannot be used: The sms template makes .*PINs/,
    );
  });
});

describe('without a service', () => {
  it('the site has its own, and shows where its messages arrive', async () => {
    const connected = await connect({ INFOBIP_BASE_URL: '', INFOBIP_API_KEY: '', SIMULATOR_PORT: '0' });
    const { client, applicationId, messageId } = connected;
    await client.sendPin({ channel: 'sms', applicationId, messageId, to: phone });
    const messages = await (await fetch(`${connected.phone}/_simulator/messages`)).json();
    expect(messages).toEqual([expect.objectContaining({ to: expect.stringContaining(phone.slice(1)) })]);
    await connected.close();
    await expect(fetch(`${connected.phone}/`)).rejects.toThrow();
  });
});
