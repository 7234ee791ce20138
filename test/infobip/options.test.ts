import { Infobip2faClient, type Infobip2faClientOptions } from 'passport-sms-otp/infobip';
import { describe, expect, it } from 'vitest';
import { startService } from '../support/service.js';

const KEY = { apiKey: 'some-key' };
const HERE = { baseUrl: 'https://xxxxx.api.infobip.com' };
const EXAMPLE = 'Give the address of your account, for instance https://xxxxx.api.infobip.com.';
const WAYS =
  'Give exactly one of these: option "apiKey", or option "username" with option "password", or option ' +
  '"sessionToken", or option "clientId" with option "clientSecret".';

function sentenceFor(options: unknown): string {
  try {
    Reflect.construct(Infobip2faClient, [options]);
  } catch (error) {
    expect(error).toBeInstanceOf(TypeError);
    return error instanceof Error ? error.message : '';
  }
  return 'fine';
}

const refused: [object, string][] = [
  [{ ...KEY }, `option "baseUrl" is missing or not an address. ${EXAMPLE}`],
  [{ ...KEY, baseUrl: 7 }, `option "baseUrl" is missing or not an address. ${EXAMPLE}`],
  [{ ...KEY, baseUrl: '' }, `option "baseUrl" is missing or not an address. ${EXAMPLE}`],
  [{ ...KEY, baseUrl: 'two words' }, `option "baseUrl" is missing or not an address. ${EXAMPLE}`],
  [{ ...KEY, baseUrl: 'https://' }, `option "baseUrl" is missing or not an address. ${EXAMPLE}`],
  [
    { ...KEY, baseUrl: 'http://api.infobip.com' },
    `option "baseUrl" must be https; plain http is for loopback only. ${EXAMPLE}`,
  ],
  [
    { ...KEY, baseUrl: 'http://127.evil.test' },
    `option "baseUrl" must be https; plain http is for loopback only. ${EXAMPLE}`,
  ],
  [
    { ...KEY, baseUrl: 'http://localhost.evil.test' },
    `option "baseUrl" must be https; plain http is for loopback only. ${EXAMPLE}`,
  ],
  [
    { ...KEY, baseUrl: 'http://10.0.0.1' },
    `option "baseUrl" must be https; plain http is for loopback only. ${EXAMPLE}`,
  ],
  [
    { ...KEY, baseUrl: 'ftp://127.0.0.1' },
    `option "baseUrl" must be https; plain http is for loopback only. ${EXAMPLE}`,
  ],
  [
    { ...KEY, baseUrl: 'https://a:b@c.test' },
    'option "baseUrl" has credentials in it. Give them as options of their own.',
  ],
  [
    { ...KEY, baseUrl: 'a@c.test' },
    'option "baseUrl" has credentials in it. Give them as options of their own.',
  ],
  [
    { ...KEY, baseUrl: 'https://c.test/2fa/2' },
    `option "baseUrl" has more than an address in it. ${EXAMPLE}`,
  ],
  [{ ...KEY, baseUrl: 'https://c.test?x=1' }, `option "baseUrl" has more than an address in it. ${EXAMPLE}`],
  [{ ...KEY, baseUrl: 'https://c.test#x' }, `option "baseUrl" has more than an address in it. ${EXAMPLE}`],
  [{ ...HERE }, `no credentials were given. ${WAYS}`],
  [{ ...HERE, apiKey: undefined }, `no credentials were given. ${WAYS}`],
  [{ ...HERE, ...KEY, sessionToken: 'x' }, `more than one way to authenticate was given. ${WAYS}`],
  [{ ...HERE, ...KEY, password: 'x' }, `more than one way to authenticate was given. ${WAYS}`],
  [
    { ...HERE, username: 'x' },
    'option "password" must be a non-empty string. Copy it from your Infobip account.',
  ],
  [
    { ...HERE, clientSecret: 'x' },
    'option "clientId" must be a non-empty string. Copy it from your Infobip account.',
  ],
  [
    { ...HERE, apiKey: ' ' },
    'option "apiKey" must be a non-empty string. Copy it from your Infobip account.',
  ],
  [{ ...HERE, apiKey: 7 }, 'option "apiKey" must be a non-empty string. Copy it from your Infobip account.'],
  [
    { ...HERE, apiKey: 'App abc' },
    'option "apiKey" starts with "App ". Give what follows it: the client adds the word.',
  ],
  [
    { ...HERE, apiKey: 'APP abc' },
    'option "apiKey" starts with "APP ". Give what follows it: the client adds the word.',
  ],
  [
    { ...HERE, sessionToken: 'IBSSO abc' },
    'option "sessionToken" starts with "IBSSO ". Give what follows it: the client adds the word.',
  ],
  [
    { ...HERE, apiKey: 'abc\n' },
    'option "apiKey" has white space or a stray character in it. Copy it once more.',
  ],
  [
    { ...HERE, sessionToken: 'abc\u2011d' },
    'option "sessionToken" has white space or a stray character in it. Copy it once more.',
  ],
  [
    { ...HERE, username: 'a:b', password: 'x' },
    'option "username" has a colon in it, which Basic cannot carry. Use an API key.',
  ],
  [{ ...HERE, apikey: 'x' }, 'option "apikey" is not known. Did you mean "apiKey"?'],
  [{ ...HERE, ...KEY, timeout: 1 }, 'option "timeout" is not known. Did you mean "timeoutMs"?'],
  [{ ...KEY, baseURL: 'x' }, 'option "baseURL" is not known. Did you mean "baseUrl"?'],
  [
    { ...HERE, ...KEY, retries: 1 },
    'option "retries" is not known. Known are baseUrl, timeoutMs, userAgent, dispatcher, apiKey, username, password, sessionToken, clientId, clientSecret.',
  ],
  ...[0, -1, 1.5, Number.NaN, Infinity, 2 ** 31, '100'].map((timeoutMs): [object, string] => [
    { ...HERE, ...KEY, timeoutMs },
    'option "timeoutMs" must be a whole number of milliseconds, for instance 15000.',
  ]),
  ...['', 'a\nb', '\u0161', 7].map((userAgent): [object, string] => [
    { ...HERE, ...KEY, userAgent },
    'option "userAgent" must be a line of ASCII text, for instance "my-shop/1.0".',
  ]),
  ...[null, {}, 'agent', () => {}].map((dispatcher): [object, string] => [
    { ...HERE, ...KEY, dispatcher },
    'option "dispatcher" must be a dispatcher of undici, for instance new Agent().',
  ]),
];

describe('Infobip2faClient refuses', () => {
  it.each(refused)('%j with a sentence', (options, sentence) => {
    expect(sentenceFor(options)).toBe(`Infobip2faClient: ${sentence}`);
  });

  it.each([undefined, null, 'https://xxxxx.api.infobip.com'])('%j for options', (options) => {
    expect(sentenceFor(options)).toMatch(/^Infobip2faClient: the options must be an object/);
  });

  it('two ways to authenticate in the types too', () => {
    const take = (_options: Infobip2faClientOptions): void => {};
    take({ ...HERE, ...KEY });
    take({ ...HERE, username: 'a', password: 'b', timeoutMs: 1, userAgent: 'x' });
    // @ts-expect-error no credentials
    take({ ...HERE });
    // @ts-expect-error half of a way
    take({ ...HERE, clientId: 'x' });
    // @ts-expect-error two ways
    take({ ...HERE, ...KEY, sessionToken: 'x' });
    // @ts-expect-error misspelt
    take({ ...HERE, ...KEY, timeOutMs: 1 });
    expect(take).toBeTypeOf('function');
  });
});

describe('Infobip2faClient takes', () => {
  it.each([
    'https://xxxxx.api.infobip.com',
    'https://xxxxx.api.infobip.com/',
    'xxxxx.api.infobip.com',
    'XXXXX.API.INFOBIP.COM/',
    'HTTPS://xxxxx.api.infobip.com:8443',
    'gateway.example/infobip/',
    'http://localhost:4010',
    'http://127.0.0.1:4010/',
    'http://127.8.9.10',
    'http://127.1',
    'http://[::1]:4010',
  ])('%s for an address', (baseUrl) => {
    expect(sentenceFor({ baseUrl, ...KEY })).toBe('fine');
  });

  it('an address on this machine without its scheme, and speaks plain http there', async () => {
    const service = await startService({ body: [] });
    for (const baseUrl of [`127.0.0.1:${service.port}`, `localhost:${service.port}/`]) {
      const client = new Infobip2faClient({ baseUrl, ...KEY });
      expect(await client.listApplications()).toEqual([]);
      await client.close();
    }
    await service.close();
  });

  it('options that are frozen, and does not change them', () => {
    expect(sentenceFor(Object.freeze({ ...HERE, ...KEY, timeoutMs: undefined }))).toBe('fine');
  });

  it('a path in front of Infobip\u2019s own, and a name for itself', async () => {
    const service = await startService({ body: [] });
    const client = new Infobip2faClient({ baseUrl: `${service.url}/gateway/`, ...KEY, userAgent: 'shop/1' });
    await client.listApplications();
    expect(service.seen[0]).toMatchObject({
      path: '/gateway/2fa/2/applications',
      headers: { 'user-agent': 'shop/1' },
    });
    await client.close();
    await service.close();
  });
});

describe('fromEnv', () => {
  const message = (env: Record<string, string | undefined>): string => {
    try {
      Infobip2faClient.fromEnv(env);
    } catch (error) {
      return error instanceof TypeError ? error.message : '';
    }
    return 'fine';
  };
  const here = { INFOBIP_BASE_URL: 'xxxxx.api.infobip.com' };

  it.each([
    { INFOBIP_API_KEY: 'x' },
    { INFOBIP_API_KEY: ' x\n', INFOBIP_SESSION_TOKEN: '', INFOBIP_USERNAME: ' ' },
    { INFOBIP_USERNAME: 'x', INFOBIP_PASSWORD: 'y' },
    { INFOBIP_SESSION_TOKEN: 'x' },
    { INFOBIP_CLIENT_ID: 'x', INFOBIP_CLIENT_SECRET: 'y' },
  ])('takes %j', (env) => {
    expect(message({ ...here, ...env })).toBe('fine');
  });

  it.each([
    [{}, `INFOBIP_BASE_URL is missing or not an address. ${EXAMPLE}`],
    [
      { INFOBIP_BASE_URL: '', INFOBIP_API_KEY: 'x' },
      `INFOBIP_BASE_URL is missing or not an address. ${EXAMPLE}`,
    ],
    [
      { ...here, INFOBIP_API_KEY: '' },
      'no credentials were given. Give exactly one of these: INFOBIP_API_KEY, or INFOBIP_USERNAME with ' +
        'INFOBIP_PASSWORD, or INFOBIP_SESSION_TOKEN, or INFOBIP_CLIENT_ID with INFOBIP_CLIENT_SECRET.',
    ],
    [
      { ...here, INFOBIP_API_KEY: 'App x' },
      'INFOBIP_API_KEY starts with "App ". Give what follows it: the client adds the word.',
    ],
    [
      { ...here, INFOBIP_USERNAME: 'x' },
      'INFOBIP_PASSWORD must be a non-empty string. Copy it from your Infobip account.',
    ],
  ])('refuses %j with a sentence that names the variable', (env, sentence) => {
    expect(message(env)).toBe(`Infobip2faClient.fromEnv: ${sentence}`);
  });

  it('reads the environment of the process when given none, and takes settings beside it', async () => {
    const service = await startService({ body: [] });
    const before = { ...process.env };
    process.env.INFOBIP_BASE_URL = service.url;
    process.env.INFOBIP_API_KEY = 'from-env';
    try {
      const client = Infobip2faClient.fromEnv(undefined, { userAgent: 'shop/1' });
      await client.listApplications();
      await Infobip2faClient.fromEnv().close();
      await client.close();
    } finally {
      process.env = before;
    }
    expect(service.seen[0]?.headers).toMatchObject({ authorization: 'App from-env', 'user-agent': 'shop/1' });
    await service.close();
  });
});
