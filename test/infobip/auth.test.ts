import { Infobip2faClient } from 'passport-sms-otp/infobip';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { expectNoUnhandledRejection } from '../support/calm.js';
import { failureOf, type Seen, type Service, startService } from '../support/service.js';

const SMS = { channel: 'sms', applicationId: 'APP', messageId: 'MSG', to: '385911234567' } as const;
const SENT = { pinId: 'PIN', smsStatus: 'MESSAGE_SENT' };

expectNoUnhandledRejection();

let service: Service;
const clients: Infobip2faClient[] = [];

type Credentials = ConstructorParameters<typeof Infobip2faClient>[0] extends infer Options
  ? Options extends { baseUrl: string }
    ? Omit<Options, 'baseUrl'>
    : never
  : never;

function clientWith(credentials: Credentials): Infobip2faClient {
  const client = new Infobip2faClient({ baseUrl: service.url, ...credentials });
  clients.push(client);
  return client;
}

beforeEach(async () => {
  service = await startService({ body: SENT });
});

afterEach(async () => {
  vi.useRealTimers();
  await Promise.all(clients.splice(0).map((client) => client.close()));
  await service.close();
});

it.each([
  ['an API key', { apiKey: 'some-key' }, 'App some-key'],
  ['Basic', { username: 'Aladdin', password: 'openSesame' }, 'Basic QWxhZGRpbjpvcGVuU2VzYW1l'],
  ['Basic beyond ASCII', { username: 'Ana', password: '\u0161\u20ac:' }, 'Basic QW5hOsWh4oKsOg=='],
  ['a session token', { sessionToken: '2f9b4d31-2d0d' }, 'IBSSO 2f9b4d31-2d0d'],
])('%s is told in the Authorization header', async (_way, credentials, header) => {
  await clientWith(credentials).sendPin(SMS);
  expect(service.seen.map(({ headers }) => headers.authorization)).toEqual([header]);
});

it.each([{ apiKey: 'some-key' }, { username: 'Ana', password: 'x' }, { sessionToken: 'x' }])(
  'what cannot be renewed is not tried again after a 401',
  async (credentials) => {
    service.answer({ status: 401 });
    expect(await failureOf(clientWith(credentials).sendPin(SMS))).toMatchObject({
      code: 'ERR_INFOBIP_UNAUTHORIZED',
      sent: false,
    });
    expect(service.seen).toHaveLength(1);
  },
);

describe('OAuth 2 client credentials', () => {
  const oauth = { clientId: 'shop', clientSecret: 's3cret &=' };
  const HOUR = 3600;
  let tokens: number;

  const isTokenRequest = ({ path }: Seen): boolean => path === '/auth/1/oauth2/token';
  const tokenRequests = (): Seen[] => service.seen.filter(isTokenRequest);
  const sends = (): Seen[] => service.seen.filter((seen) => !isTokenRequest(seen));
  const nextToken = (): object => {
    tokens += 1;
    return { access_token: `token-${tokens}`, expires_in: HOUR, token_type: 'bearer' };
  };

  beforeEach(() => {
    tokens = 0;
    service.answer((seen) => ({ body: isTokenRequest(seen) ? nextToken() : SENT }));
  });

  function pass(seconds: number): void {
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + seconds * 1000 });
  }

  it('fetch a token once and use it for every request', async () => {
    const client = clientWith(oauth);
    await client.sendPin(SMS);
    await client.sendPin(SMS);
    const [request] = tokenRequests();
    expect(tokenRequests()).toHaveLength(1);
    expect(request).toMatchObject({
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded', accept: 'application/json' },
    });
    expect(request?.headers.authorization).toBeUndefined();
    expect(Object.fromEntries(new URLSearchParams(request?.body))).toEqual({
      client_id: 'shop',
      client_secret: 's3cret &=',
      grant_type: 'client_credentials',
    });
    expect(sends().map(({ headers }) => headers.authorization)).toEqual(['Bearer token-1', 'Bearer token-1']);
  });

  it('renew the token at nine tenths of its life', async () => {
    vi.useFakeTimers({ toFake: ['Date'], now: new Date('2026-01-01T00:00:00Z') });
    const client = clientWith(oauth);
    await client.sendPin(SMS);
    pass(HOUR * 0.9 - 1);
    await client.sendPin(SMS);
    expect(tokenRequests()).toHaveLength(1);
    pass(1);
    await client.sendPin(SMS);
    expect(tokenRequests()).toHaveLength(2);
    expect(sends().at(-1)?.headers.authorization).toBe('Bearer token-2');
  });

  it('make one token request for fifty requests at once, at first and on a token that ran out', async () => {
    vi.useFakeTimers({ toFake: ['Date'], now: new Date('2026-01-01T00:00:00Z') });
    const client = clientWith(oauth);
    const fifty = async () => await Promise.all(Array.from({ length: 50 }, () => client.sendPin(SMS)));
    await fifty();
    expect(tokenRequests()).toHaveLength(1);
    pass(HOUR * 2);
    await fifty();
    expect(tokenRequests()).toHaveLength(2);
    expect(sends().filter(({ headers }) => headers.authorization === 'Bearer token-2')).toHaveLength(50);
  });

  it('fail all who wait for a token that is refused, and nobody after them', async () => {
    const client = clientWith(oauth);
    service.answer({ status: 500, body: {} });
    const outcomes = await Promise.allSettled(Array.from({ length: 50 }, () => client.sendPin(SMS)));
    expect(outcomes.map(({ status }) => status)).toEqual(Array.from({ length: 50 }, () => 'rejected'));
    expect(tokenRequests()).toHaveLength(1);
    expect(sends()).toHaveLength(0);
    service.answer((seen) => ({ body: isTokenRequest(seen) ? nextToken() : SENT }));
    await expect(client.sendPin(SMS)).resolves.toMatchObject({ sent: true });
  });

  it('go on with a token that still lives while no new one is to be had', async () => {
    vi.useFakeTimers({ toFake: ['Date'], now: new Date('2026-01-01T00:00:00Z') });
    const client = clientWith(oauth);
    await client.sendPin(SMS);
    service.answer((seen) => (isTokenRequest(seen) ? { status: 503 } : { body: SENT }));
    pass(HOUR * 0.95);
    await expect(client.sendPin(SMS)).resolves.toMatchObject({ sent: true });
    pass(HOUR * 0.05);
    expect(await failureOf(client.sendPin(SMS))).toMatchObject({
      code: 'ERR_INFOBIP_UNAVAILABLE',
      sent: false,
    });
  });

  it('renew the token once after a 401 and ask again, also to send', async () => {
    const client = clientWith(oauth);
    await client.sendPin(SMS);
    service.answer((seen) => {
      if (isTokenRequest(seen)) {
        return { body: nextToken() };
      }
      return seen.headers.authorization === 'Bearer token-1' ? { status: 401 } : { body: SENT };
    });
    service.seen.length = 0;
    const outcomes = await Promise.all(Array.from({ length: 50 }, () => client.sendPin(SMS)));
    expect(outcomes).toHaveLength(50);
    expect(tokenRequests()).toHaveLength(1);

    service.seen.length = 0;
    service.answer((seen) => (isTokenRequest(seen) ? { body: nextToken() } : { status: 401 }));
    expect(await failureOf(client.sendPin(SMS))).toMatchObject({
      code: 'ERR_INFOBIP_UNAUTHORIZED',
      sent: false,
    });
    expect(sends()).toHaveLength(2);
    expect(tokenRequests()).toHaveLength(1);
  });

  it.each([
    ['refused', { status: 401, body: {} }, 'ERR_INFOBIP_UNAUTHORIZED'],
    ['called wrong', { status: 400, body: { error: 'invalid_client' } }, 'ERR_INFOBIP_UNAUTHORIZED'],
    ['asked to wait', { status: 429, headers: { 'retry-after': '9' } }, 'ERR_INFOBIP_RATE_LIMITED'],
    ['answered with nonsense', { body: '<html>' }, 'ERR_INFOBIP_UNEXPECTED_RESPONSE'],
    ['given no token', { body: { expires_in: 3600 } }, 'ERR_INFOBIP_UNEXPECTED_RESPONSE'],
    ['given no life', { body: { access_token: 'x' } }, 'ERR_INFOBIP_UNEXPECTED_RESPONSE'],
    ['given no time', { body: { access_token: 'x', expires_in: 0 } }, 'ERR_INFOBIP_UNEXPECTED_RESPONSE'],
    [
      'given two lines',
      { body: { access_token: 'x\r\nx: y', expires_in: 9 } },
      'ERR_INFOBIP_UNEXPECTED_RESPONSE',
    ],
  ])('are surely not sent when they are %s', async (_what, reply, code) => {
    service.answer(reply);
    const client = clientWith(oauth);
    for (const call of [client.sendPin(SMS), client.verifyPin('PIN', '123456')]) {
      const error = await failureOf(call);
      expect(error).toMatchObject({ code, sent: false });
      expect(Object(error).message).toMatch(/^the request for an access token failed: /);
    }
    expect(sends()).toHaveLength(0);
  });

  it('let one caller go without ending the wait of the others', async () => {
    const client = clientWith(oauth);
    let goOn = (): void => {};
    service.answer(async (seen) => {
      if (isTokenRequest(seen)) {
        await new Promise<void>((resolve) => {
          goOn = resolve;
        });
        return { body: nextToken() };
      }
      return { body: SENT };
    });
    const controller = new AbortController();
    const impatient = client.sendPin(SMS, { signal: controller.signal });
    const patient = client.sendPin(SMS);
    await expect.poll(() => service.seen.length).toBe(1);
    controller.abort(new Error('the visitor left'));
    await expect(impatient).rejects.toThrow('the visitor left');
    goOn();
    await expect(patient).resolves.toMatchObject({ sent: true });
    expect(tokenRequests()).toHaveLength(1);
    expect(sends()).toHaveLength(1);
  });

  it('asks for no token where the caller has gone before: nobody would hear that there is none', async () => {
    service.answer({ status: 503 });
    const client = clientWith(oauth);
    const gone = { signal: AbortSignal.abort(new Error('the visitor left')) };
    await expect(client.sendPin(SMS, gone)).rejects.toThrow('the visitor left');
    await client.close();
    expect(service.seen).toEqual([]);
  });
});
