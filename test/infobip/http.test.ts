import { getEventListeners, once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { Infobip2faClient } from 'passport-sms-otp/infobip';
import { Agent, type Dispatcher, errors, getGlobalDispatcher, MockAgent, setGlobalDispatcher } from 'undici';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { failureOf, type Service, startService } from '../support/service.js';

const PIN_ID = 'PIN';
const PROVEN = { pinId: PIN_ID, msisdn: '385911234567', verified: true };

let service: Service;
const clients: Infobip2faClient[] = [];

function clientOf(
  options: { baseUrl?: string; timeoutMs?: number; dispatcher?: Dispatcher } = {},
): Infobip2faClient {
  const client = new Infobip2faClient({ baseUrl: service.url, apiKey: 'some-key', ...options });
  clients.push(client);
  return client;
}

beforeEach(async () => {
  service = await startService({ body: PROVEN });
});

afterEach(async () => {
  await service.close();
  await Promise.all(clients.splice(0).map((client) => client.close()));
});

/** A server below HTTP: what it writes is no answer that a real HTTP server would give. */
async function startRaw(
  onData: (socket: Socket, data: string) => void,
): Promise<{ server: Server; port: number }> {
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.on('data', (data) => onData(socket, data.toString()));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  return { server, port: typeof address === 'object' && address !== null ? address.port : 0 };
}

describe('connections', () => {
  it('are kept between requests', async () => {
    const client = clientOf();
    for (let i = 0; i < 20; i += 1) {
      await client.verifyPin(PIN_ID, '123456');
    }
    // Undici lets a connection rest for one turn of the event loop, so two take turns.
    expect(service.connections()).toBeLessThanOrEqual(2);
  });

  it('are as many as there are requests at once', async () => {
    const client = clientOf();
    const waiting: (() => void)[] = [];
    service.answer(async () => {
      await new Promise<void>((resolve) => {
        waiting.push(resolve);
        if (waiting.length === 80) {
          for (const go of waiting) {
            go();
          }
        }
      });
      return { body: PROVEN };
    });
    const all = await Promise.all(Array.from({ length: 80 }, () => client.verifyPin(PIN_ID, '123456')));
    expect(all).toHaveLength(80);
    expect(service.connections()).toBe(80);
  });

  it('are not those of the global dispatcher', async () => {
    const before = getGlobalDispatcher();
    const mock = new MockAgent();
    mock.disableNetConnect();
    setGlobalDispatcher(mock);
    try {
      await expect(clientOf().verifyPin(PIN_ID, '123456')).resolves.toMatchObject({ verified: true });
    } finally {
      setGlobalDispatcher(before);
    }
  });

  it('close when what is under way has ended, and take nothing more', async () => {
    const client = clientOf();
    let goOn = (): void => {};
    service.answer(async () => {
      await new Promise<void>((resolve) => {
        goOn = resolve;
      });
      return { body: PROVEN };
    });
    const check = client.verifyPin(PIN_ID, '123456');
    await expect.poll(() => service.seen.length).toBe(1);
    const closing = client.close();
    goOn();
    await expect(check).resolves.toMatchObject({ verified: true });
    await closing;
    await client.close();
    expect(await failureOf(client.verifyPin(PIN_ID, '123456'))).toMatchObject({
      code: 'ERR_INFOBIP_UNREACHABLE',
      sent: false,
    });
    expect(service.seen).toHaveLength(1);
  });

  it('go through a given dispatcher, which stays open', async () => {
    const agent = new Agent();
    const client = clientOf({ dispatcher: agent });
    await client.verifyPin(PIN_ID, '123456');
    await client.close();
    expect(agent.closed).toBe(false);
    await expect(clientOf({ dispatcher: agent }).verifyPin(PIN_ID, '123456')).resolves.toBeTruthy();
    expect(service.connections()).toBeLessThanOrEqual(2);
    await agent.close();
  });

  it('can be mocked', async () => {
    const mock = new MockAgent();
    mock.disableNetConnect();
    mock
      .get('https://mocked.test')
      .intercept({ method: 'POST', path: '/2fa/2/pin/PIN/verify', body: '{"pin":"123456"}' })
      .reply(200, PROVEN, { headers: { 'content-type': 'application/json' } });
    const client = clientOf({ baseUrl: 'mocked.test', dispatcher: mock });
    await expect(client.verifyPin(PIN_ID, '123456')).resolves.toEqual(PROVEN);
    mock.assertNoPendingInterceptors();
    await mock.close();
  });
});

describe('an outcome', () => {
  const check = async (options: { timeoutMs?: number; baseUrl?: string; dispatcher?: Dispatcher } = {}) =>
    await failureOf(clientOf(options).verifyPin(PIN_ID, '123456'));

  it('is a timeout when no answer begins', async () => {
    service.answer(() => undefined);
    const error = await check({ timeoutMs: 100 });
    expect(error).toMatchObject({ code: 'ERR_INFOBIP_TIMEOUT', sent: 'unknown' });
    expect(error).not.toHaveProperty('status');
    expect(service.seen).toHaveLength(1);
  });

  it.each([50, 400])(
    'is a timeout when the answer begins half as late again as the %i ms allow',
    async (timeoutMs) => {
      service.answer(async () => {
        await new Promise((resolve) => setTimeout(resolve, timeoutMs * 1.5));
        return { body: PROVEN };
      });
      expect(await check({ timeoutMs })).toMatchObject({ code: 'ERR_INFOBIP_TIMEOUT' });
    },
  );

  it('is the answer when both its beginning and its end come in time', async () => {
    service.answer(async (_seen, response) => {
      await new Promise((resolve) => setTimeout(resolve, 300));
      response.writeHead(200).write('{"pinId":"PIN",');
      await new Promise((resolve) => setTimeout(resolve, 300));
      response.end('"msisdn":"385911234567","verified":true}');
      return undefined;
    });
    const client = clientOf({ timeoutMs: 500 });
    await expect(client.verifyPin(PIN_ID, '123456')).resolves.toEqual(PROVEN);
  });

  it('is a timeout when the answer stops in the middle', async () => {
    service.answer((_seen, response) => void response.writeHead(200).write('{"pin'));
    expect(await check({ timeoutMs: 100 })).toMatchObject({
      code: 'ERR_INFOBIP_TIMEOUT',
      status: 200,
      sent: 'unknown',
    });
  });

  it('is a timeout when the answer drips on for ever', async () => {
    let drips = 0;
    service.answer((_seen, response) => {
      response.writeHead(200);
      const timer = setInterval(() => {
        drips += 1;
        response.write(' ');
      }, 20);
      response.on('close', () => clearInterval(timer));
      return undefined;
    });
    expect(await check({ timeoutMs: 200 })).toMatchObject({ code: 'ERR_INFOBIP_TIMEOUT', sent: 'unknown' });
    expect(drips).toBeGreaterThan(2);
  });

  it('is surely not sent when the connection was never made in time', async () => {
    const { server, port } = await startRaw(() => {});
    expect(await check({ baseUrl: `https://127.0.0.1:${port}`, timeoutMs: 100 })).toMatchObject({
      code: 'ERR_INFOBIP_TIMEOUT',
      sent: false,
    });
    server.close();
  });

  it('is surely not sent when the name has no address', async () => {
    const error = await check({ baseUrl: 'https://no-such-host.invalid' });
    expect(error).toMatchObject({ code: 'ERR_INFOBIP_UNREACHABLE', sent: false });
  });

  it('is unknown when the connection breaks before the answer', async () => {
    service.answer((_seen, response) => void response.destroy());
    const error = await check();
    expect(error).toMatchObject({ code: 'ERR_INFOBIP_UNREACHABLE', sent: 'unknown' });
    expect(error).not.toHaveProperty('status');
    expect(service.seen).toHaveLength(1);
  });

  it('is an unexpected response when the answer is cut off', async () => {
    service.answer((_seen, response) => {
      response.writeHead(200, { 'content-length': '500', 'x-request-id': '17' });
      response.write(JSON.stringify(PROVEN), () => response.destroy());
      return undefined;
    });
    expect(await check()).toMatchObject({
      code: 'ERR_INFOBIP_UNEXPECTED_RESPONSE',
      status: 200,
      requestId: '17',
      sent: 'unknown',
    });
  });

  it('goes by its status when a refusal is cut off', async () => {
    service.answer((_seen, response) => {
      response.writeHead(401, { 'content-length': '500' });
      response.write('{', () => response.destroy());
      return undefined;
    });
    expect(await check()).toMatchObject({ code: 'ERR_INFOBIP_UNAUTHORIZED', status: 401, sent: false });
  });

  it('is an unexpected response when the answer is far too large', async () => {
    service.answer({ body: { ...PROVEN, more: 'x'.repeat(5_000_000) } });
    expect(await check()).toMatchObject({ code: 'ERR_INFOBIP_UNEXPECTED_RESPONSE', sent: 'unknown' });
  });

  it('is an unexpected response when it leads elsewhere, and nobody follows', async () => {
    service.answer(({ path }) =>
      path === '/elsewhere' ? { body: PROVEN } : { status: 307, headers: { location: '/elsewhere' } },
    );
    expect(await check()).toMatchObject({
      code: 'ERR_INFOBIP_UNEXPECTED_RESPONSE',
      status: 307,
      sent: 'unknown',
    });
    expect(service.seen).toHaveLength(1);
  });

  it('is an unexpected response when the answer is no HTTP', async () => {
    const { server, port } = await startRaw((socket) => socket.end('220 mail.example ESMTP\r\n'));
    expect(await check({ baseUrl: `http://127.0.0.1:${port}` })).toMatchObject({
      code: 'ERR_INFOBIP_UNEXPECTED_RESPONSE',
      sent: 'unknown',
    });
    server.close();
  });

  it('is the answer that follows an informational one', async () => {
    service.answer((_seen, response) => {
      response.writeEarlyHints({ link: '</style.css>; rel=preload' });
      return { body: PROVEN };
    });
    await expect(clientOf().verifyPin(PIN_ID, '123456')).resolves.toEqual(PROVEN);
  });

  it('is no answer when only an informational one came', async () => {
    service.answer((_seen, response) => {
      response.writeEarlyHints({ link: '</style.css>; rel=preload' }, () => response.destroy());
      return undefined;
    });
    const error = await check();
    expect(error).toMatchObject({ code: 'ERR_INFOBIP_UNREACHABLE', sent: 'unknown' });
    expect(error).not.toHaveProperty('status');
  });

  it('is whole when it comes in pieces that split a letter', async () => {
    const body = Buffer.from(JSON.stringify({ ...PROVEN, note: '\u0161\u20ac' }));
    service.answer((_seen, response) => {
      response.writeHead(200);
      const half = body.indexOf(0x82);
      response.write(body.subarray(0, half), () => setTimeout(() => response.end(body.subarray(half)), 20));
      return undefined;
    });
    await expect(clientOf().verifyPin(PIN_ID, '123456')).resolves.toEqual({
      ...PROVEN,
      note: '\u0161\u20ac',
    });
  });

  it('is surely not sent when a dispatcher fails before a connection', async () => {
    const mock = new MockAgent();
    mock.disableNetConnect();
    mock
      .get('https://mocked.test')
      .intercept({ method: 'POST', path: '/2fa/2/pin/PIN/verify' })
      .replyWithError(new errors.ConnectTimeoutError());
    expect(await check({ baseUrl: 'mocked.test', dispatcher: mock })).toMatchObject({
      code: 'ERR_INFOBIP_TIMEOUT',
      sent: false,
    });
    expect(await check({ baseUrl: 'mocked.test', dispatcher: mock })).toMatchObject({
      code: 'ERR_INFOBIP_UNREACHABLE',
      sent: false,
    });
    await mock.close();
  });
});

describe('the signal of the caller', () => {
  it('ends a request that is under way, with its own reason', async () => {
    let isClosed = false;
    service.answer((_seen, response) => {
      response.on('close', () => {
        isClosed = true;
      });
      return undefined;
    });
    const controller = new AbortController();
    const check = clientOf().verifyPin(PIN_ID, '123456', { signal: controller.signal });
    await expect.poll(() => service.seen.length).toBe(1);
    const reason = new Error('the visitor left');
    controller.abort(reason);
    expect(await failureOf(check)).toBe(reason);
    await expect.poll(() => isClosed).toBe(true);
  });

  it('ends a request that waits for its connection, which then never leaves', async () => {
    const received: string[] = [];
    const { server, port } = await startRaw((_socket, data) => received.push(data));
    const controller = new AbortController();
    const client = clientOf({ baseUrl: `http://127.0.0.1:${port}` });
    const check = client.verifyPin(PIN_ID, '123456', { signal: controller.signal });
    await new Promise<void>((resolve) => queueMicrotask(resolve));
    controller.abort(new Error('the visitor left'));
    await expect(check).rejects.toThrow('the visitor left');
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(received).toEqual([]);
    server.close();
  });

  it('is let go when the answer is there', async () => {
    const { signal } = new AbortController();
    const client = clientOf();
    await client.verifyPin(PIN_ID, '123456', { signal });
    service.answer({ status: 500 });
    await failureOf(client.verifyPin(PIN_ID, '123456', { signal }));
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
  });
});
