import { createServer } from 'node:net';
import { inspect } from 'node:util';
import { Infobip2faClient, InfobipError, type InfobipErrorCode } from 'passport-sms-otp/infobip';
import { Agent, MockAgent } from 'undici';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { recordUndici } from '../support/diagnostics.js';
import { freePort } from '../support/ports.js';
import { failureOf, type Reply, type Seen, type Service, startService } from '../support/service.js';

const SMS = { channel: 'sms', applicationId: 'APP', messageId: 'MSG', to: '+385911234567' } as const;

let service: Service;
let client: Infobip2faClient;

beforeEach(async () => {
  service = await startService();
  client = new Infobip2faClient({ baseUrl: service.url, apiKey: 'some-key' });
});

afterEach(async () => {
  vi.useRealTimers();
  await client.close();
  await service.close();
});

async function sendFailure(reply: Reply): Promise<InfobipError> {
  service.answer(reply);
  const error = await failureOf(client.sendPin(SMS));
  expect(error).toBeInstanceOf(InfobipError);
  return error instanceof InfobipError ? error : new InfobipError('', { code: 'ERR_INFOBIP_TIMEOUT' });
}

const legacy = (messageId: string, text: string, validationErrors?: object) => ({
  requestError: { serviceException: { messageId, text, validationErrors } },
});
const newer = (errorCode: string, description: string, violations: object[] = []) => ({
  errorCode,
  description,
  action: 'See the documentation.',
  violations,
  resources: [],
});

const statuses: [number, InfobipErrorCode, false | 'unknown'][] = [
  [400, 'ERR_INFOBIP_BAD_REQUEST', false],
  [401, 'ERR_INFOBIP_UNAUTHORIZED', false],
  [403, 'ERR_INFOBIP_FORBIDDEN', false],
  [404, 'ERR_INFOBIP_NOT_FOUND', false],
  [405, 'ERR_INFOBIP_BAD_REQUEST', 'unknown'],
  [408, 'ERR_INFOBIP_BAD_REQUEST', 'unknown'],
  [409, 'ERR_INFOBIP_BAD_REQUEST', 'unknown'],
  [422, 'ERR_INFOBIP_BAD_REQUEST', 'unknown'],
  [429, 'ERR_INFOBIP_RATE_LIMITED', false],
  [500, 'ERR_INFOBIP_UNAVAILABLE', 'unknown'],
  [502, 'ERR_INFOBIP_UNAVAILABLE', 'unknown'],
  [503, 'ERR_INFOBIP_UNAVAILABLE', 'unknown'],
  [504, 'ERR_INFOBIP_UNAVAILABLE', 'unknown'],
  [204, 'ERR_INFOBIP_UNEXPECTED_RESPONSE', 'unknown'],
  [302, 'ERR_INFOBIP_UNEXPECTED_RESPONSE', 'unknown'],
];

describe('an answer of another status than 200 and 201', () => {
  const bodies: [string, unknown, object][] = [
    ['Infobip\u2019s envelope', legacy('SOME_ID', 'Some text'), { serviceMessageId: 'SOME_ID' }],
    ['Infobip\u2019s newer envelope', newer('E999', 'Some text'), { serviceMessageId: 'E999' }],
    ['HTML', '<html>Bad gateway</html>', {}],
    ['nothing', '', {}],
    ['half of an envelope', '{"requestError":{"service', {}],
    ['another shape', { error: ['x'], requestError: 'x', violations: 'x', errorCode: 7 }, {}],
    ['a number', 7, {}],
  ];

  it.each(statuses)('of %i is %s, sent: %s, whatever its body', async (status, code, sent) => {
    for (const [what, body, told] of bodies) {
      const error = await sendFailure({ status, body: status === 204 ? '' : body });
      const expected = { code, status, sent, ...(status === 204 ? {} : told) };
      expect({ ...error }, what).toEqual(expected);
      expect(error.cause, what).toBeUndefined();
      expect(error.message, what).toMatch(/^sendPin failed: the service answered \d{3}/);
    }
    expect(service.seen).toHaveLength(bodies.length);
  });

  it('has no `sent` where nothing is sent', async () => {
    service.answer({ status: 400 });
    const calls = [() => client.createApplication({ name: 'x' }), () => client.getApplication('x')];
    for (const call of calls) {
      expect({ ...Object(await failureOf(call())) }).toEqual({
        code: 'ERR_INFOBIP_BAD_REQUEST',
        status: 400,
      });
    }
  });

  it('tells the violations of either envelope', async () => {
    const violations = [
      { property: 'to', violation: 'must not be null' },
      { property: 'to', violation: 'must be a number' },
      { property: 'from', violation: 'too long' },
    ];
    const first = await sendFailure({
      status: 400,
      body: legacy('BAD_REQUEST', 'Bad request', {
        to: ['must not be null', 'must be a number'],
        from: 'too long',
      }),
    });
    expect(first.violations).toEqual(violations);
    expect(first.serviceMessageId).toBe('BAD_REQUEST');
    expect(first.message).toBe(
      'sendPin failed: the service answered 400 (BAD_REQUEST: Bad request). See violations and correct the request.',
    );
    const second = await sendFailure({
      status: 400,
      body: newer('E400', 'Request cannot be processed.', violations),
    });
    expect(second.violations).toEqual(violations);
    const none = await sendFailure({ status: 400, body: newer('E400', 'x', [{ nonsense: 1 }]) });
    expect(none).not.toHaveProperty('violations');
  });

  it('keeps what it tells in one line of bounded length', async () => {
    const long = `one\r\ntwo\u0007 ${'x'.repeat(10_000)}`;
    const violations = Array.from({ length: 1000 }, () => ({ property: long, violation: long }));
    const error = await sendFailure({
      status: 400,
      body: newer(long, long, violations),
      headers: { 'x-request-id': 'y'.repeat(5000) },
    });
    expect(error.message.length).toBeLessThan(1000);
    expect(inspect({ ...error, message: error.message })).not.toMatch(/two\\u0007|one\\r/);
    expect(JSON.stringify(error).length).toBeLessThan(50_000);
  });

  it('tells the id of the request', async () => {
    expect(await sendFailure({ status: 500, headers: { 'x-request-id': '123' } })).toMatchObject({
      requestId: '123',
    });
  });

  it.each([
    ['7', 7],
    ['0', 0],
    ['86400', 86_400],
    ['Fri, 12 Dec 2014 06:06:36 GMT', 30],
    ['Fri, 12 Dec 2014 06:00:00 GMT', 0],
    ['soon', undefined],
    ['-5', undefined],
    ['1.5', undefined],
    ['', undefined],
  ])('reads Retry-After %j as %s seconds', async (value, seconds) => {
    vi.useFakeTimers({ toFake: ['Date'], now: new Date('2014-12-12T06:06:06Z') });
    const error = await sendFailure({ status: 429, headers: { 'retry-after': value } });
    expect({ ...error }).toEqual({
      code: 'ERR_INFOBIP_RATE_LIMITED',
      status: 429,
      sent: false,
      ...(seconds === undefined ? {} : { retryAfterSeconds: seconds }),
    });
  });
});

describe('InfobipError', () => {
  it('has its name, and its cause only when there is one', async () => {
    const bare = new InfobipError('gone', {
      code: 'ERR_INFOBIP_TIMEOUT',
      status: undefined,
      cause: undefined,
    });
    expect(String(bare)).toBe('InfobipError: gone');
    expect(Object.getOwnPropertyNames(bare).sort()).toEqual(['code', 'message', 'stack']);
    expect(bare).toBeInstanceOf(Error);

    const port = await freePort();
    const lost = new Infobip2faClient({ baseUrl: `http://127.0.0.1:${port}`, apiKey: 'some-key' });
    const error = await failureOf(lost.verifyPin('PIN', '123456'));
    expect({ ...Object(error) }).toEqual({ code: 'ERR_INFOBIP_UNREACHABLE', sent: false });
    expect(Object(error).message).toBe(
      'verifyPin failed: no connection (ECONNREFUSED). Check baseUrl and the network.',
    );
    expect(Object(error).cause).toMatchObject({ name: 'Error', code: 'ECONNREFUSED' });
    await lost.close();
  });

  it('says what failed where several addresses did', async () => {
    const several = new AggregateError([new Error('one'), new Error('two')], '');
    const failing = new Agent().compose(() => (_options, handler) => {
      handler.onResponseError?.(Object(null), Object.assign(several, { code: 'ECONNREFUSED' }));
      return true;
    });
    const lost = new Infobip2faClient({ baseUrl: service.url, apiKey: 'some-key', dispatcher: failing });
    expect(await failureOf(lost.sendPin(SMS))).toMatchObject({
      message: 'sendPin failed: no connection (ECONNREFUSED). Check baseUrl and the network.',
      cause: { message: 'ECONNREFUSED', code: 'ECONNREFUSED' },
    });
    await failing.close();
  });

  it('shows in its stack who asked', async () => {
    async function askForTheShop(): Promise<unknown> {
      return await client.sendPin(SMS);
    }
    service.answer({ status: 500 });
    const error = await failureOf(askForTheShop());
    expect(Object(error).stack).toContain('askForTheShop');
  });
});

describe('secrets', () => {
  const KEY = 'f0e1d2c3b4a5-KEY~"%/=4711';
  const PASSWORD = 'p\u00e4ss "w\u00f6rd" & more';
  const TOKEN = 'TOKEN-eyJhbGciOi.J9+/=';
  const PIN = '90817263';
  const PIN_ID = '9C817C6F8AF3D48F9FE553282AFA2B67';
  const TO = '385911234567';
  const BASIC = Buffer.from(`shop-user:${PASSWORD}`).toString('base64');
  const SECRETS = [KEY, PASSWORD, TOKEN, PIN, PIN_ID, TO, BASIC].flatMap((secret) => [
    secret,
    encodeURIComponent(secret),
    JSON.stringify(secret).slice(1, -1),
    new URLSearchParams({ x: secret }).toString().slice(2),
    secret.toUpperCase(),
  ]);

  /** All that an error shows to whoever looks. */
  function shownBy(error: unknown): string {
    const parts = [String(error), inspect(error, { depth: Infinity, showHidden: true, getters: true })];
    const seen = new Set<unknown>();
    const walk = (value: unknown): void => {
      if (typeof value === 'string') {
        parts.push(value);
      }
      if (typeof value !== 'object' || value === null || seen.has(value)) {
        return;
      }
      seen.add(value);
      parts.push(JSON.stringify(value) ?? '');
      for (const key of Reflect.ownKeys(value)) {
        parts.push(String(key));
        walk(Reflect.get(value, key));
      }
    };
    walk(error);
    return parts.join('\n');
  }

  let undici: ReturnType<typeof recordUndici>;

  beforeEach(() => {
    undici = recordUndici();
  });

  afterEach(() => {
    undici.stop();
    // The addresses of requests hold PIN ids and recipients.
    const secrets = SECRETS.filter((secret) => ![PIN_ID, TO].includes(secret.toUpperCase()));
    for (const { channel, text } of undici.told) {
      const shown = secrets.filter((secret) => text.includes(secret));
      expect(shown, `shown on ${channel}`).toEqual([]);
    }
  });

  function expectNoSecret(error: unknown, what: string): void {
    const shown = shownBy(error);
    for (const secret of SECRETS) {
      expect(shown.includes(secret), `${what} shows ${secret}`).toBe(false);
    }
  }

  const ways = {
    'an API key': { apiKey: KEY },
    Basic: { username: 'shop-user', password: PASSWORD },
    'a session token': { sessionToken: TOKEN },
    'OAuth 2': { clientId: 'shop-user', clientSecret: PASSWORD },
  };

  const calls: [string, (client: Infobip2faClient) => Promise<unknown>][] = [
    ['sendPin', (c) => c.sendPin({ ...SMS, to: `+${TO}` })],
    ['resendPin', (c) => c.resendPin(PIN_ID)],
    ['verifyPin', (c) => c.verifyPin(PIN_ID, PIN)],
    ['getVerificationStatus', (c) => c.getVerificationStatus('APP', { msisdn: TO })],
    ['createApplication', (c) => c.createApplication({ name: 'Shop' })],
  ];

  /** Everything that came in, in the ways in which services and proxies tend to repeat it. */
  function echoOf({ method, path, headers, body }: Seen): string {
    const authorization = headers.authorization ?? '';
    const credential = authorization.replace(/^\w+ /, '');
    const decoded = Buffer.from(credential, 'base64').toString();
    const form = [...new URLSearchParams(body).values()].join(' ');
    const short = [authorization, credential, encodeURIComponent(credential), JSON.stringify(credential)];
    return [
      ...short,
      decoded,
      decoded.split(':')[1],
      method,
      path,
      body,
      form,
      authorization.toUpperCase(),
    ].join(' ');
  }

  const replies: [string, (echo: string) => Reply][] = [
    ['Infobip\u2019s envelope', (echo) => ({ body: legacy(echo, echo, { [echo]: [echo] }) })],
    ['the newer envelope', (echo) => ({ body: newer(echo, echo, [{ property: echo, violation: echo }]) })],
    ['text', (echo) => ({ body: echo })],
    ['JSON with an end missing', (echo) => ({ body: `{"text":${JSON.stringify(echo)}` })],
    ['JSON in JSON', (echo) => ({ body: legacy('X', JSON.stringify(JSON.stringify({ echo }))) })],
    ['headers', (echo) => ({ headers: { 'x-request-id': echo, 'retry-after': echo, location: `/${echo}` } })],
    ['a wrong shape', (echo) => ({ body: { pinId: echo, verified: echo, [echo]: echo } })],
  ];

  let echoing: Service;
  beforeAll(async () => {
    echoing = await startService();
  });
  afterAll(async () => {
    await echoing.close();
  });

  describe.each(Object.entries(ways))('with %s', (_way, credentials) => {
    it.each(calls)('%s shows none, whatever the service repeats', async (name, call) => {
      const safe = (text: string): string => text.replaceAll(/[^\t\x20-\x7e]/g, '?');
      const asker = new Infobip2faClient({ baseUrl: echoing.url, ...credentials });
      // Reads wait and try again after 429 and 5xx.
      const isRead = name === 'getVerificationStatus';
      for (const status of isRead
        ? [200, 302, 400, 401, 403, 404]
        : [200, 302, 400, 401, 403, 404, 429, 500]) {
        for (const [what, reply] of replies) {
          echoing.answer((seen) => {
            if (seen.path.startsWith('/auth/') && what !== 'text') {
              return { body: { access_token: TOKEN, expires_in: 3600, token_type: 'bearer' } };
            }
            const made = reply(echoOf(seen));
            const headers = Object.entries(made.headers ?? {}).map(([header, value]) => [
              header,
              safe(value),
            ]);
            return { status, ...made, headers: Object.fromEntries(headers) };
          });
          const error = await failureOf(call(asker));
          expect(error, `${status} ${what}`).toBeInstanceOf(InfobipError);
          expectNoSecret(error, `${name} ${status} ${what}`);
        }
      }
      expectNoSecret(asker, 'the client');
      await asker.close();
      expect(undici.told.length).toBeGreaterThan(200);
    });
  });

  it('are not shown when the answer is broken HTTP that repeats them', async () => {
    const raw = createServer((socket) => {
      socket.on('error', () => {});
      socket.on('data', (data) => socket.end(`HTTP/1.1 200 OK\r\n${data}\r\n\r\n`));
    });
    await new Promise<void>((resolve) => raw.listen(0, '127.0.0.1', resolve));
    const address = raw.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    for (const [name, call] of calls) {
      const asker = new Infobip2faClient({ baseUrl: `http://127.0.0.1:${port}`, apiKey: KEY });
      const error = await failureOf(call(asker));
      expect(error).toMatchObject({ code: 'ERR_INFOBIP_UNEXPECTED_RESPONSE' });
      expectNoSecret(error, name);
      await asker.close();
    }
    raw.close();
  });

  it('are not shown when nothing answers, or too late, or half', async () => {
    const port = await freePort();
    const lost = new Infobip2faClient({ baseUrl: `http://127.0.0.1:${port}`, apiKey: KEY });
    const late = new Infobip2faClient({ baseUrl: echoing.url, apiKey: KEY, timeoutMs: 50 });
    for (const [name, call] of calls.slice(0, 3)) {
      expectNoSecret(await failureOf(call(lost)), name);
      echoing.answer((seen, response) => {
        response.writeHead(200, { 'content-length': '9000' });
        response.write(echoOf(seen), () => response.destroy());
        return undefined;
      });
      expectNoSecret(await failureOf(call(late)), name);
    }
    echoing.answer(() => undefined);
    expectNoSecret(await failureOf(late.verifyPin(PIN_ID, PIN)), 'verifyPin');
    await Promise.all([lost.close(), late.close()]);
  });

  it('are not shown when a dispatcher of somebody else fails with all it knows', async () => {
    const mock = new MockAgent();
    mock.disableNetConnect();
    mock
      .get('https://mocked.test')
      .intercept({ method: 'POST', path: /./, headers: { authorization: 'App another' } })
      .reply(200, {});
    const telling = new Agent().compose(() => (options, handler) => {
      const inner = Object.assign(new Error(JSON.stringify(options)), { options });
      const told = { options, code: inspect(options), name: inspect(options) };
      const outer = Object.assign(new Error(inspect(options), { cause: inner }), told);
      handler.onResponseError?.(Object(null), outer);
      return true;
    });
    for (const dispatcher of [mock, telling]) {
      const asker = new Infobip2faClient({ baseUrl: 'https://mocked.test', apiKey: KEY, dispatcher });
      for (const [name, call] of calls.slice(0, 3)) {
        const error = await failureOf(call(asker));
        expect(error).toMatchObject({ code: 'ERR_INFOBIP_UNREACHABLE' });
        expectNoSecret(error, name);
      }
    }
    await Promise.all([mock.close(), telling.close()]);
  });

  it('are not shown when an option or an argument is wrong', async () => {
    const options = [
      { baseUrl: `https://shop-user:${encodeURIComponent(PASSWORD)}@x.api.infobip.com`, apiKey: KEY },
      { baseUrl: 'http://x.api.infobip.com', apiKey: KEY },
      { baseUrl: KEY, apiKey: `App ${KEY}` },
      { baseUrl: 'x.api.infobip.com', apiKey: `${KEY} ${KEY}` },
      { baseUrl: 'x.api.infobip.com', apiKey: KEY, sessionToken: TOKEN },
      { baseUrl: 'x.api.infobip.com', username: `${KEY}:`, password: PASSWORD },
      { baseUrl: 'x.api.infobip.com', password: PASSWORD },
      { baseUrl: 'x.api.infobip.com', apiKey: KEY, timeoutMs: KEY },
    ];
    for (const wrong of options) {
      let error: unknown;
      try {
        Reflect.construct(Infobip2faClient, [wrong]);
      } catch (thrown) {
        error = thrown;
      }
      expect(error).toBeInstanceOf(TypeError);
      expectNoSecret(error, String(error));
    }
    expectNoSecret(await failureOf(client.verifyPin(`${PIN_ID}/`, PIN)), 'verifyPin');
    expectNoSecret(
      await failureOf(Reflect.apply(client.verifyPin, client, [PIN_ID, Number(PIN)])),
      'verifyPin',
    );
  });
});
