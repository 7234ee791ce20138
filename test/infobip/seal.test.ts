import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { Infobip2faClient } from 'passport-sms-otp/infobip';
import { Agent } from 'undici';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { recordUndici } from '../support/diagnostics.js';
import { failureOf, type Service, startService } from '../support/service.js';

const KEY = 'f0e1d2c3b4a5-KEY-4711';
const PASSWORD = 'p\u00e4ss "w\u00f6rd" & more';
const TOKEN = 'TOKEN-eyJhbGciOiJ9';
const PIN = '90817263';
const BASIC = Buffer.from(`shop-user:${PASSWORD}`).toString('base64');
const SECRETS = [KEY, PASSWORD, TOKEN, PIN, BASIC].flatMap((secret) => [
  secret,
  JSON.stringify(secret).slice(1, -1),
  new URLSearchParams({ x: secret }).toString().slice(2),
]);
const SMS = { channel: 'sms', applicationId: 'APP', messageId: 'MSG', to: '+385911234567' } as const;

let service: Service;
let told: { channel: string; text: string }[];
let stop = () => {};
let listeners: [string, (message: unknown) => void][];

function listen(channel: string, listener: (message: unknown) => void): void {
  subscribe(`undici:${channel}`, listener);
  listeners.push([`undici:${channel}`, listener]);
}

beforeEach(async () => {
  service = await startService(({ path, body }) => {
    if (path.startsWith('/auth/'))
      return { body: { access_token: TOKEN, expires_in: 3600, token_type: 'bearer' } };
    if (path.endsWith('/verify')) return { body: { pinId: 'PIN', verified: true, msisdn: '385911234567' } };
    if (path.endsWith('/applications')) return { body: { applicationId: 'APP', ...JSON.parse(body) } };
    return { body: { pinId: 'PIN', smsStatus: 'MESSAGE_SENT' } };
  });
  told = [];
  listeners = [];
});

afterEach(async () => {
  for (const [channel, listener] of listeners) unsubscribe(channel, listener);
  stop();
  vi.restoreAllMocks();
  await service.close();
});

function listenToAll(): void {
  ({ told, stop } = recordUndici());
}

describe('what undici tells on its diagnostics channels', () => {
  it.each([
    ['an API key', { apiKey: KEY }, `App ${KEY}`],
    ['Basic', { username: 'shop-user', password: PASSWORD }, `Basic ${BASIC}`],
    ['a session token', { sessionToken: TOKEN }, `IBSSO ${TOKEN}`],
    ['OAuth 2', { clientId: 'shop-user', clientSecret: PASSWORD }, `Bearer ${TOKEN}`],
  ])(
    'shows no credential and no PIN with %s, and the service gets both',
    async (_way, credentials, header) => {
      listenToAll();
      const client = new Infobip2faClient({ baseUrl: service.url, ...credentials });
      await client.sendPin(SMS);
      await client.verifyPin('PIN', PIN);
      await client.createApplication({ name: 'Caf\u00e9' });
      await client.close();

      const asked = service.seen.filter(({ path }) => path.startsWith('/2fa/'));
      expect(asked.map(({ headers }) => headers.authorization)).toEqual([header, header, header]);
      expect(asked.map(({ body }) => JSON.parse(body))).toMatchObject([
        { to: '385911234567' },
        { pin: PIN },
        { name: 'Caf\u00e9' },
      ]);
      const login = service.seen.find(({ path }) => path.startsWith('/auth/'));
      if (login) expect(new URLSearchParams(login.body).get('client_secret')).toBe(PASSWORD);

      const once = ['create', 'bodyChunkSent', 'bodySent', 'headers', 'bodyChunkReceived', 'trailers'];
      for (const channel of [...once.map((name) => `request:${name}`), 'client:sendHeaders']) {
        expect(told.filter((event) => event.channel === channel).length, channel).toBe(service.seen.length);
      }
      for (const { channel, text } of told) {
        for (const secret of SECRETS) expect(text.includes(secret), `${channel} shows ${secret}`).toBe(false);
      }
    },
  );

  it('shows of an answer its status and its length, and nothing that it says', async () => {
    const events: {
      request: object;
      response?: { statusCode: number; headers: Buffer[] };
      chunk?: Buffer;
    }[] = [];
    for (const name of ['headers', 'bodyChunkReceived', 'trailers']) {
      listen(`request:${name}`, (message) => events.push(message as (typeof events)[number]));
    }
    const client = new Infobip2faClient({ baseUrl: service.url, apiKey: KEY });
    service.answer({ status: 429, headers: { 'x-request-id': 'id-1', 'retry-after': '7' }, body: 'No.' });
    expect(await failureOf(client.verifyPin('PIN', PIN))).toMatchObject({
      status: 429,
      requestId: 'id-1',
      retryAfterSeconds: 7,
    });
    await client.close();
    expect(events.map(({ chunk }) => chunk?.toString())).toEqual([undefined, '***', undefined]);
    const { statusCode, headers = [] } = events[0]?.response ?? {};
    const shown = headers.map(String);
    expect(statusCode).toBe(429);
    expect(shown[shown.indexOf('Connection') + 1]).toBe('keep-alive');
    expect(shown[shown.indexOf('x-request-id') + 1]).toBe('*****');
    expect(shown.join()).not.toMatch(/id-1|application|,7,/);
  });

  it('shows neither when there is no connection', async () => {
    listenToAll();
    const client = new Infobip2faClient({ baseUrl: 'http://127.0.0.1:1', apiKey: KEY });
    await failureOf(client.verifyPin('PIN', PIN));
    await client.close();
    expect(told.map(({ channel }) => channel)).toContain('request:error');
    for (const { text } of told) for (const secret of SECRETS) expect(text).not.toContain(secret);
  });

  it('is of the right request where many are under way', async () => {
    listenToAll();
    service.answer(async ({ path }) => {
      await new Promise((resolve) => setTimeout(resolve, 20));
      return { body: { pinId: path.split('/')[4], verified: true, msisdn: '385911234567' } };
    });
    const clients = [KEY, 'another-key'].map(
      (apiKey) => new Infobip2faClient({ baseUrl: service.url, apiKey }),
    );
    const asks = Array.from({ length: 60 }, (_, index) => index);
    await Promise.all(asks.map((index) => clients[index % 2]?.verifyPin(`PIN-${index}`, `9081${index}`)));
    await Promise.all(clients.map((client) => client.close()));
    const seen = service.seen.map(({ path, body, headers }) => [path, body, headers.authorization]);
    expect(seen.sort()).toEqual(
      asks
        .map((index) => [
          `/2fa/2/pin/PIN-${index}/verify`,
          `{"pin":"9081${index}"}`,
          index % 2 === 0 ? `App ${KEY}` : 'App another-key',
        ])
        .sort(),
    );
    expect(told.some(({ text }) => /9081\d/.test(text))).toBe(false);
  });
});

describe('a service that treats its connections badly', () => {
  it('gets in each request its own key and PIN, and never a stand-in', async () => {
    const seen: [path: string, key: string, body: string][] = [];
    const yes = '{"pinId":"ID","verified":true,"msisdn":"1"}';
    const answerOf = (path: string) => {
      const body = yes.replace('ID', path.split('/')[4] ?? '');
      return `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
    };
    const manners: ((socket: Socket, answer: string) => unknown)[] = [
      (socket, answer) => socket.write(answer),
      (socket, answer) => socket.write(answer + answer),
      (socket, answer) => socket.end(answer),
      (socket) => socket.destroy(),
      (socket, answer) => socket.end(answer.slice(0, -5)),
      (socket, answer) => socket.write('HTTP/1.1 103 Early Hints\r\n\r\n'.repeat(20) + answer),
      (socket, answer) => setTimeout(() => socket.write(answer), 30),
      (socket) => socket.write('HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n'),
    ];
    let count = 0;
    const server = createServer((socket) => {
      let text = '';
      socket.on('error', () => {});
      socket.on('data', (data) => {
        text += data;
        for (;;) {
          const [whole, path = '', head = '', length = ''] =
            /^POST (\S+) HTTP\/1\.1\r\n([\s\S]*?content-length: (\d+)[\s\S]*?)\r\n\r\n/iu.exec(text) ?? [];
          if (whole === undefined || text.length < whole.length + Number(length)) return;
          const body = text.slice(whole.length, whole.length + Number(length));
          text = text.slice(whole.length + Number(length));
          seen.push([path, /^authorization: (.*)$/imu.exec(head)?.[1] ?? '', body]);
          count += 1;
          manners[(count * 5) % manners.length]?.(socket, answerOf(path));
        }
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const clients = [KEY, 'another-key'].map(
      (apiKey) => new Infobip2faClient({ baseUrl: `http://127.0.0.1:${port}`, apiKey, timeoutMs: 2000 }),
    );
    const ended: string[] = [];
    let next = 0;
    const visitor = async () => {
      while (next < 600) {
        const index = next++;
        const asked = clients[index % 2]?.verifyPin(`PIN-${index}`, `9081${index}`);
        const { pinId } = (await asked?.catch((error) => ({ pinId: error.code }))) ?? {};
        ended.push(pinId === `PIN-${index}` ? 'verified' : String(pinId));
      }
    };
    await Promise.all(Array.from({ length: 16 }, visitor));
    await Promise.all(clients.map((client) => client.close()));
    server.close();
    expect(ended).toHaveLength(600);
    expect(ended.filter((end) => end === 'verified').length).toBeGreaterThan(150);
    expect(ended.filter((end) => end.startsWith('PIN-'))).toEqual([]);
    expect(seen.length).toBeGreaterThan(400);
    for (const [path, key, body] of seen) {
      const index = Number(/PIN-(\d+)/u.exec(path)?.[1]);
      expect([key, body]).toEqual([`App ${index % 2 ? 'another-key' : KEY}`, `{"pin":"9081${index}"}`]);
    }
  }, 30_000);
});

describe('a client whose stand-ins are not replaced', () => {
  it('says so once, and sends what is real from then on', async () => {
    const warn = vi.spyOn(process, 'emitWarning').mockReturnValue();
    // As a version of undici would that writes to its sockets by another way.
    listen('client:connected', (message) => Reflect.deleteProperty(Object(message).socket, 'write'));
    service.answer(({ headers }) =>
      headers.authorization === `App ${KEY}`
        ? { body: { pinId: 'PIN', verified: true, msisdn: '385911234567' } }
        : { status: 401 },
    );
    const client = new Infobip2faClient({ baseUrl: service.url, apiKey: KEY });
    expect(await failureOf(client.verifyPin('PIN', PIN))).toMatchObject({ code: 'ERR_INFOBIP_UNAUTHORIZED' });
    expect(await client.verifyPin('PIN', PIN)).toMatchObject({ verified: true });
    expect(await client.verifyPin('PIN', PIN)).toMatchObject({ verified: true });
    await client.close();
    expect(warn.mock.calls).toEqual([[expect.stringContaining('undici'), { code: 'SMS_OTP_UNSEALED' }]]);
    expect(service.seen.map(({ body }) => body)).toEqual([
      '*'.repeat(18),
      `{"pin":"${PIN}"}`,
      `{"pin":"${PIN}"}`,
    ]);
  });

  it('is none with a dispatcher of the host, which gets what is real', async () => {
    const dispatcher = new Agent();
    const client = new Infobip2faClient({ baseUrl: service.url, apiKey: KEY, dispatcher });
    expect(await client.verifyPin('PIN', PIN)).toMatchObject({ verified: true });
    expect(service.seen[0]).toMatchObject({
      body: `{"pin":"${PIN}"}`,
      headers: { authorization: `App ${KEY}` },
    });
    await dispatcher.close();
  });
});
