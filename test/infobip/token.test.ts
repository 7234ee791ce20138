import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer as createSecureServer } from 'node:https';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Infobip2faClient, type InfobipError } from 'passport-sms-otp/infobip';
import { generate } from 'selfsigned';
import { Agent } from 'undici';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { failureOf, type Service, startService } from '../support/service.js';

const OAUTH = { clientId: 'shop', clientSecret: 's3cret &=' };
const SMS = { channel: 'sms', applicationId: 'APP', messageId: 'MSG', to: '+385911234567' } as const;
const TOKEN = JSON.stringify({ access_token: 'token-1', expires_in: 3600, token_type: 'bearer' });
const SENT = { pinId: 'PIN', smsStatus: 'MESSAGE_SENT' };

let service: Service;

beforeEach(async () => {
  service = await startService(({ path }) => ({ body: path.includes('/auth/') ? TOKEN : SENT }));
});

afterEach(async () => {
  await service.close();
});

async function failureWith(baseUrl: string, timeoutMs = 2000): Promise<InfobipError> {
  const client = new Infobip2faClient({ baseUrl, ...OAUTH, timeoutMs });
  const error = await failureOf(client.sendPin(SMS));
  await client.close();
  expect(error).toMatchObject({ sent: false });
  return error as InfobipError;
}

/** A server below HTTP, told what to write when a whole request is there. */
async function startRaw(onRequest: (socket: Socket) => void): Promise<{ url: string; close(): void }> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.once('data', () => onRequest(socket));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const close = (): void => {
    server.close();
    for (const socket of sockets) socket.destroy();
  };
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, close };
}

describe('the request for an access token', () => {
  it('goes through the dispatcher of a host that gives one', async () => {
    const agent = new Agent();
    const paths: string[] = [];
    const dispatcher = agent.compose((dispatch) => (options, handler) => {
      paths.push(options.path);
      return dispatch(options, handler);
    });
    const client = new Infobip2faClient({ baseUrl: service.url, ...OAUTH, dispatcher });
    await client.sendPin(SMS);
    await agent.close();
    expect(paths).toEqual(['/auth/1/oauth2/token', '/2fa/2/pin']);
  });

  it('is read whole when its answer comes in pieces', async () => {
    service.answer(({ path }, response) => {
      if (!path.startsWith('/auth/')) return { body: SENT };
      response.writeEarlyHints({ link: '</style.css>; rel=preload' });
      response.write(TOKEN.slice(0, 20), () => setTimeout(() => response.end(TOKEN.slice(20)), 20));
      return undefined;
    });
    const client = new Infobip2faClient({ baseUrl: service.url, ...OAUTH });
    await client.sendPin(SMS);
    await client.close();
    expect(service.seen.at(-1)?.headers.authorization).toBe('Bearer token-1');
  });

  it.each([
    ['no HTTP', '220 mail.example ESMTP\r\n', 'ERR_INFOBIP_UNEXPECTED_RESPONSE'],
    ['broken off before it', '', 'ERR_INFOBIP_UNREACHABLE'],
    ['broken off in its head', 'HTTP/1.1 200 OK\r\n', 'ERR_INFOBIP_UNREACHABLE'],
    [
      'broken off in its body',
      `HTTP/1.1 200 OK\r\nContent-Length: ${TOKEN.length}\r\n\r\n${TOKEN.slice(0, -1)}`,
      'ERR_INFOBIP_UNEXPECTED_RESPONSE',
    ],
    [
      'a refusal that broke off',
      'HTTP/1.1 401 No\r\nContent-Length: 90\r\n\r\n{',
      'ERR_INFOBIP_UNAUTHORIZED',
    ],
    [
      'without end',
      `HTTP/1.1 200 OK\r\n\r\n${' '.repeat(4 * 1024 * 1024)}${TOKEN}`,
      'ERR_INFOBIP_UNEXPECTED_RESPONSE',
    ],
    [
      'another protocol',
      'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n',
      'ERR_INFOBIP_UNREACHABLE',
    ],
    [
      'a way elsewhere',
      'HTTP/1.1 307 There\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n',
      'ERR_INFOBIP_UNEXPECTED_RESPONSE',
    ],
  ])('fails when the answer is %s', async (_what, answer, code) => {
    const raw = await startRaw((socket) => socket.end(answer));
    expect(await failureWith(raw.url)).toMatchObject({ code });
    raw.close();
  });

  it.each([
    ['does not begin', ''],
    ['stops', `HTTP/1.1 200 OK\r\nContent-Length: ${TOKEN.length}\r\n\r\n${TOKEN.slice(0, -1)}`],
  ])('fails in time when the answer %s', async (_what, answer) => {
    const raw = await startRaw((socket) => socket.write(answer));
    expect(await failureWith(raw.url, 100)).toMatchObject({ code: 'ERR_INFOBIP_TIMEOUT' });
    raw.close();
  });

  it('fails when nobody listens, or the name has no address', async () => {
    for (const url of ['http://127.0.0.1:1', 'https://nobody.invalid']) {
      expect(await failureWith(url)).toMatchObject({ code: 'ERR_INFOBIP_UNREACHABLE' });
    }
  });
});

describe('over TLS', () => {
  let folder: string;
  let secure: ReturnType<typeof createSecureServer>;
  let requests: string[];

  beforeEach(async () => {
    const altNames = [{ type: 7, ip: '127.0.0.1' }];
    const { cert, private: key } = generate([{ name: 'commonName', value: '127.0.0.1' }], {
      days: 2,
      keySize: 2048,
      algorithm: 'sha256',
      extensions: [
        { name: 'basicConstraints', cA: true },
        { name: 'subjectAltName', altNames },
      ],
    });
    folder = mkdtempSync(join(tmpdir(), 'sms-otp-tls-'));
    writeFileSync(join(folder, 'authority.pem'), cert);
    requests = [];
    secure = createSecureServer({ cert, key }, async (request, response) => {
      let body = '';
      for await (const chunk of request) body += chunk;
      requests.push(`${request.url} ${request.headers.authorization} ${body}`);
      response.end(request.url?.startsWith('/auth/') ? TOKEN : JSON.stringify(SENT));
    });
    secure.listen(0, '127.0.0.1');
    await once(secure, 'listening');
  });

  afterEach(() => {
    secure.closeAllConnections();
    secure.close();
    rmSync(folder, { recursive: true });
  });

  /** Sends one PIN in a process of its own, because Node reads its extra authorities when it starts. */
  async function send(env: Record<string, string>): Promise<unknown> {
    const program = `
      import { Infobip2faClient } from 'passport-sms-otp/infobip';
      const { baseUrl, credentials, sms } = JSON.parse(process.argv[1]);
      const client = new Infobip2faClient({ baseUrl, ...credentials });
      const outcome = await client.sendPin(sms).catch(({ code, sent, message }) => ({ code, sent, message }));
      console.log(JSON.stringify(outcome));
      await client.close();
    `;
    const { port } = secure.address() as AddressInfo;
    const asked = { baseUrl: `https://127.0.0.1:${port}`, credentials: OAUTH, sms: SMS };
    const { stdout } = await promisify(execFile)(
      process.execPath,
      ['--input-type=module', '--eval', program, JSON.stringify(asked)],
      { env: { PATH: process.env.PATH, ...env } },
    );
    return JSON.parse(stdout);
  }

  it('fetches a token and sends, where the certificate is trusted', async () => {
    const outcome = await send({ NODE_EXTRA_CA_CERTS: join(folder, 'authority.pem') });
    expect(outcome).toMatchObject({ sent: true, pinId: 'PIN' });
    expect(requests).toEqual([
      '/auth/1/oauth2/token undefined client_id=shop&client_secret=s3cret+%26%3D&grant_type=client_credentials',
      '/2fa/2/pin Bearer token-1 {"applicationId":"APP","messageId":"MSG","to":"385911234567"}',
    ]);
  });

  it('gives no secret to a server whose certificate is not trusted', async () => {
    expect(await send({})).toMatchObject({
      code: 'ERR_INFOBIP_UNREACHABLE',
      sent: false,
      message: expect.stringMatching(/access token failed: no connection \(.*SELF_SIGNED.*\)/),
    });
    expect(requests).toEqual([]);
  });
});
