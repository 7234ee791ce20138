import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { request } from 'node:http';
import { createServer } from 'node:net';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it } from 'vitest';
import { send } from '../support/bare-http.js';

const program = fileURLToPath(new URL('../../dist/cli/index.js', import.meta.url));
const running: ChildProcessByStdio<null, Readable, Readable>[] = [];

afterEach(() => {
  for (const child of running.splice(0)) child.kill('SIGKILL');
});

function run(...args: string[]) {
  const child = spawn(process.execPath, [program, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  running.push(child);
  const output = { stdout: '', stderr: '' };
  child.stdout.on('data', (chunk) => {
    output.stdout += chunk;
  });
  child.stderr.on('data', (chunk) => {
    output.stderr += chunk;
  });
  return {
    child,
    output,
    /** Resolves with what was printed once it holds `text`. */
    async printed(text: string): Promise<string> {
      while (!output.stdout.includes(text)) {
        if (child.exitCode !== null) throw new Error(`ended with ${output.stderr}`);
        await Promise.race([once(child.stdout, 'data'), once(child, 'close')]);
      }
      return output.stdout;
    },
    async ended(): Promise<{ status: number | null; stdout: string; stderr: string }> {
      if (child.exitCode === null && child.signalCode === null) await once(child, 'close');
      return { status: child.exitCode, ...output };
    },
  };
}

describe('passport-sms-otp simulate', () => {
  it('prints its address, that of the phone, and lines for an .env that work', async () => {
    const text = await run('simulate', '--port', '0').printed('Ctrl+C ends it.');
    const settings = new Map(
      [...text.matchAll(/^(INFOBIP_\w+)=(.+)$/gm)].map(([, name, value]) => [name, value]),
    );
    expect([...settings.keys()]).toEqual([
      'INFOBIP_BASE_URL',
      'INFOBIP_API_KEY',
      'INFOBIP_APPLICATION_ID',
      'INFOBIP_MESSAGE_ID',
    ]);
    const url = settings.get('INFOBIP_BASE_URL') ?? '';
    expect(text).toContain(`The phone is at ${url}/\n`);
    const path = `/2fa/2/applications/${settings.get('INFOBIP_APPLICATION_ID')}/messages/${settings.get('INFOBIP_MESSAGE_ID')}`;
    const headers = { Authorization: `App ${settings.get('INFOBIP_API_KEY')}` };
    expect(await send(url, { method: 'GET', path, headers })).toMatchObject({
      status: 200,
      json: { pinLength: 6 },
    });
    expect((await send(url, { method: 'GET', path: '/' })).text).toContain('<h1>Messages</h1>');
  });

  it('takes the API key that it is given, and prints JSON for machines', async () => {
    const text = await run('simulate', '--port=0', '--api-key', 'my-key', '--json').printed('}\n');
    const { url, phone, apiKey, applicationId, messageId } = JSON.parse(text);
    expect({ phone, apiKey }).toEqual({ phone: `${url}/`, apiKey: 'my-key' });
    expect([applicationId, messageId]).toEqual([expect.any(String), expect.any(String)]);
    const list = (key: string) =>
      send(url, { method: 'GET', path: '/2fa/2/applications', headers: { Authorization: `App ${key}` } });
    expect((await list('my-key')).status).toBe(200);
    expect((await list('other')).status).toBe(401);
  });

  it.each(['SIGINT', 'SIGTERM'] as const)('ends at once on %s, also with the phone open', async (signal) => {
    const simulator = run('simulate', '--port', '0', '--json');
    const { url } = JSON.parse(await simulator.printed('}\n'));
    const stream = request(`${url}/_simulator/stream`, { agent: false });
    stream.on('error', () => {});
    stream.end();
    const [incoming] = await once(stream, 'response');
    incoming.on('error', () => {});
    const cut = new Promise((resolve) => incoming.on('close', resolve));
    incoming.resume();
    simulator.child.kill(signal);
    expect(await simulator.ended()).toMatchObject({ status: 0, stderr: '' });
    await cut;
  });

  it('says in one sentence that its port is taken', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    const port = typeof address === 'object' ? String(address?.port) : '';
    const { status, stdout, stderr } = await run('simulate', '--port', port).ended();
    server.close();
    expect({ status, stdout }).toEqual({ status: 3, stdout: '' });
    expect(stderr).toBe(
      `Port ${port} on 127.0.0.1 is taken. Give another with --port, or 0 for any free one.\n`,
    );
  });

  it.each([
    [
      ['simulate', '--prot', '4010'],
      'simulate has no flag --prot. Did you mean --port? See "passport-sms-otp simulate --help".\n',
    ],
    [['simulate', '--port'], '--port needs a value. See "passport-sms-otp simulate --help".\n'],
    [['simulate', '--port', '65536'], '--port is no whole number from 0 to 65535.\n'],
    [['simulate', '--port', 'http'], '--port is no whole number from 0 to 65535.\n'],
    [['simulate', '--host='], /^--host is empty\. .*\n$/],
    [['simulate', '--api-key', ''], /^--api-key is empty or has a space in it\. .*\n$/],
    [['simulate', '--api-key', 'App x'], /^--api-key is empty or has a space in it\. .*\n$/],
    [['simulate', '4010'], /^simulate takes no arguments, and got more\. .*\n$/],
    [['simluate'], 'There is no command "simluate". Did you mean "simulate"?\n'],
    [['fly'], /^There is no command "fly"\. Give one of: .*\bsimulate\b.*\n$/],
    [[], /^No command was given\. Give one of: .*\bsimulate\b.*\n$/],
  ])('refuses %j with one sentence and the status for wrong use', async (args, sentence) => {
    const { status, stdout, stderr } = await run(...args).ended();
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
    if (typeof sentence === 'string') expect(stderr).toBe(sentence);
    else expect(stderr).toMatch(sentence);
  });

  it('says that it cannot listen on an address that is not of this machine', async () => {
    const { status, stderr } = await run('simulate', '--port', '0', '--host', '192.0.2.1').ended();
    expect({ status, stderr }).toEqual({
      status: 3,
      stderr: '192.0.2.1 is no address of this machine. Give another with --host.\n',
    });
  });

  it('tells how it is used', async () => {
    const all = await run('--help').ended();
    expect(all).toMatchObject({ status: 0, stderr: '', stdout: expect.stringContaining('  simulate ') });
    const one = await run('simulate', '--help').ended();
    expect(one).toMatchObject({ status: 0, stderr: '' });
    for (const flag of ['--port', '--host', '--api-key', '--json']) expect(one.stdout).toContain(flag);
    expect(await run('--version').ended()).toMatchObject({
      status: 0,
      stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/),
    });
  });
});
