import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { Agent, createServer, get, type IncomingMessage } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { freePort, isTaken } from '../support/ports.js';
import { endAll, type Started, start, startNode } from '../support/process.js';
import { attribute, Visitor } from '../support/visitor.js';

const phone = '+385911234567';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'site-'));
});

afterEach(async () => {
  await endAll();
  rmSync(folder, { recursive: true, force: true });
});

function startSite(variables: NodeJS.ProcessEnv = {}): Started {
  return startNode(['example-app/start.js'], {
    PORT: '0',
    SIMULATOR_PORT: '0',
    DATA_DIR: folder,
    ...variables,
  });
}

async function siteAddress(site: Started): Promise<string> {
  return (await site.says(/The site: +(\S+)/))[1] ?? '';
}

async function messagesAt(simulator: string): Promise<{ pin: string }[]> {
  return z
    .array(z.object({ pin: z.string() }))
    .parse(await (await fetch(`${simulator}/_simulator/messages`)).json());
}

/** Logs in and gives back the user's id. */
async function logIn(visitor: Visitor, simulator: string): Promise<string | undefined> {
  await visitor.askForPin(phone);
  const message = (await messagesAt(simulator)).at(-1);
  expect((await visitor.typePin(message?.pin ?? '')).location).toBe('/account');
  return userId(visitor);
}

async function userId(visitor: Visitor): Promise<string | undefined> {
  return attribute((await visitor.get('/account')).html, /data-user-id/, 'data-user-id');
}

describe('npm start', () => {
  it('is start.js, which every Node can read', () => {
    const { scripts } = JSON.parse(readFileSync('package.json', 'utf8'));
    expect(scripts.start).toBe('node example-app/start.js');
    const source = readFileSync('example-app/start.js', 'utf8').replaceAll(/\/\/.*/g, '');
    expect(source).not.toMatch(/\b(import|export|require|await|async|let)\b|\?\.|\?\?|,\s*[)\]}]/);
  });

  it('prints two addresses: type a number at the one, read the PIN at the other', async () => {
    const site = startSite();
    const visitor = new Visitor(await siteAddress(site));
    const [, simulator = ''] = await site.says(/The phone: +(\S+)/);
    expect((await fetch(simulator)).status).toBe(200);
    await logIn(visitor, simulator);
    expect((await visitor.get('/account')).html).toContain(phone);
  });

  it.each(['SIGINT', 'SIGTERM'] as const)('ends with %s at once, whoever is connected', async (signal) => {
    const [PORT, SIMULATOR_PORT] = [await freePort(), await freePort()];
    const site = startSite({ PORT: String(PORT), SIMULATOR_PORT: String(SIMULATOR_PORT) });
    const address = await siteAddress(site);
    const agent = new Agent({ keepAlive: true });
    const open = (url: string) =>
      new Promise<IncomingMessage>((resolve) =>
        get(url, { agent }, (answer) => resolve(answer.on('error', () => {}))),
      );
    const stream = await open(`http://127.0.0.1:${SIMULATOR_PORT}/_simulator/stream`);
    (await open(`${address}/healthz`)).resume();
    stream.resume();

    const unfinished = connect(PORT, '127.0.0.1');
    unfinished.on('error', () => {}).write('POST /login HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n');
    // Answered behind it, so that it has arrived.
    await fetch(`${address}/healthz`);

    const started = Date.now();
    expect(await site.end(signal)).toBe(0);
    expect(Date.now() - started).toBeLessThan(5000);
    expect(await isTaken(PORT)).toBe(false);
    expect(await isTaken(SIMULATOR_PORT)).toBe(false);
    expect(site.output()).not.toMatch(/error/i);
    agent.destroy();
  });

  it('ends with npm, although npm tells only the shell in between', async () => {
    const PORT = await freePort();
    const site = start('npm', ['start'], { PORT: String(PORT), SIMULATOR_PORT: '0', DATA_DIR: folder });
    await siteAddress(site);
    site.child.kill('SIGTERM');
    // The output is closed when the last process that could write to it has ended.
    await site.ended;
    expect(await isTaken(PORT)).toBe(false);
  });

  it('ends with a signal also while it is starting', async () => {
    // A service that never answers keeps the start waiting.
    const silent = createServer(() => {});
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    const asked = new Promise((resolve) => silent.once('request', resolve));
    const { port } = silent.address() as AddressInfo;
    const site = startSite({ INFOBIP_BASE_URL: `http://127.0.0.1:${port}`, INFOBIP_API_KEY: 'key' });
    await asked;
    expect(await site.end('SIGTERM')).toBe(0);
    silent.close();
    silent.closeAllConnections();
  });
});

describe('a start that cannot be says why, in a sentence', () => {
  it.each<[string, () => NodeJS.ProcessEnv | Promise<NodeJS.ProcessEnv>, RegExp]>([
    ['a port that is no number', () => ({ PORT: 'x' }), /^PORT must be a number/],
    [
      'a host that is not of this machine',
      () => ({ HOST: '192.0.2.1' }),
      /^HOST 192\.0\.2\.1 cannot be listened on \(EADDRNOTAVAIL\): set HOST/,
    ],
    [
      'a folder that cannot be written',
      () => {
        writeFileSync(join(folder, 'file'), '');
        return { DATA_DIR: join(folder, 'file') };
      },
      /^The data folder .*file cannot be used/,
    ],
    ['an unknown country', () => ({ SMS_COUNTRIES: 'HR,UK' }), /^SMS_COUNTRIES cannot be used\. .*"UK"/],
    [
      'an address where nobody answers',
      async () => ({ INFOBIP_BASE_URL: `http://127.0.0.1:${await freePort()}`, INFOBIP_API_KEY: 'canary' }),
      /^INFOBIP_BASE_URL cannot be used: .*ECONNREFUSED/,
    ],
  ])('%s', async (_what, variables, sentence) => {
    const site = startSite(await variables());
    expect(await site.ended).toBe(1);
    const sentences = site
      .output()
      .trim()
      .split('\n')
      .filter((line) => !line.startsWith('{'));
    expect(sentences).toEqual([expect.stringMatching(sentence)]);
    expect(site.output()).not.toContain('canary');
  });

  it('a taken port, whichever of the two', async () => {
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    const port = String((other.address() as AddressInfo).port);
    const [site, simulator] = [startSite({ PORT: port }), startSite({ SIMULATOR_PORT: port })];
    expect(await Promise.all([site.ended, simulator.ended])).toEqual([1, 1]);
    expect(site.output()).toContain(
      `PORT ${port} is taken: end what runs there, or set PORT to another number.`,
    );
    expect(simulator.output()).toMatch(
      `SIMULATOR_PORT ${port} cannot be used (EADDRINUSE): end what runs there`,
    );
    other.close();
  });
});

describe('a process that was killed and started again', () => {
  let service: Started;
  let simulator: string;
  let variables: NodeJS.ProcessEnv;

  beforeEach(async () => {
    service = startNode(['dist/cli/index.js', 'simulate', '--port', '0', '--json']);
    const [line] = await service.says(/^\{.*\}$/m);
    const { url, apiKey } = JSON.parse(line);
    simulator = url;
    variables = {
      PORT: String(await freePort()),
      INFOBIP_BASE_URL: simulator,
      INFOBIP_API_KEY: apiKey,
    };
  });

  it('lets the visitor finish the login, and knows the user the next time', async () => {
    const first = startSite(variables);
    const visitor = new Visitor(await siteAddress(first));
    expect((await visitor.askForPin(phone)).location).toBe('/login/pin');
    expect(await first.end('SIGKILL')).toBe('SIGKILL');

    const second = startSite(variables);
    await siteAddress(second);
    const [message] = await messagesAt(simulator);
    expect((await visitor.typePin(message?.pin ?? '')).location).toBe('/account');
    const id = await userId(visitor);
    expect(id).toBeDefined();
    await second.end('SIGKILL');

    const third = startSite(variables);
    await siteAddress(third);
    expect(await userId(visitor)).toBe(id);
    expect(await messagesAt(simulator)).toHaveLength(1);
    expect(statSync(join(folder, 'session-secret')).mode & 0o777).toBe(0o600);
  });

  it('still counts the attempts, and refuses the right PIN after five wrong ones', async () => {
    const first = startSite(variables);
    const visitor = new Visitor(await siteAddress(first));
    await visitor.askForPin(phone);
    const [message] = await messagesAt(simulator);
    const pin = message?.pin ?? '';
    const wrong = pin === '000000' ? '111111' : '000000';
    for (let i = 0; i < 3; i++) expect((await visitor.typePin(wrong)).status).toBe(401);
    await first.end('SIGKILL');

    const second = startSite(variables);
    await siteAddress(second);
    expect((await visitor.typePin(wrong)).html).toContain('1 attempt left');
    expect((await visitor.typePin(wrong)).html).toContain('last attempt');
    await second.end('SIGKILL');

    const third = startSite(variables);
    await siteAddress(third);
    await visitor.get('/login');
    expect((await visitor.post('/login/pin', { pin })).status).toBe(401);
    expect((await visitor.get('/account')).location).toBe('/login');
    // The wait before the next message to this number has outlived both as well.
    expect((await new Visitor(visitor.origin).askForPin(phone)).status).toBe(429);
  });
});
