/** The way from nothing to a checked PIN, as the README shows it with the client and docs/command-line.md with curl. */

import { spawn, spawnSync } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { type Simulator, startSimulator } from 'passport-sms-otp/simulator';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { requireOrSkip } from '../support/services.js';

const root = new URL('../..', import.meta.url);
// Inside the repository, so that the package is found by its own name.
const folder = new URL('.cache/journeys/', root);

async function fence(page: string, name: string): Promise<string> {
  const text = await readFile(new URL(page, root), 'utf8');
  return new RegExp(`^\`\`\`\\w+ ${name}\\n([\\s\\S]*?)^\`\`\`$`, 'm').exec(text)?.[1] ?? '';
}

let simulator: Simulator;
beforeAll(async () => {
  simulator = await startSimulator();
});
afterAll(() => simulator?.close());

/** Runs a program that sends a PIN and then waits for one to be typed. */
async function run(command: string, args: string[], pinOf: (sent: string) => string) {
  const before = simulator.messages.length;
  const child = spawn(command, args, {
    env: { PATH: process.env.PATH, INFOBIP_BASE_URL: simulator.url, INFOBIP_API_KEY: simulator.apiKey },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  let stdout = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  const ended = new Promise((resolve) => child.once('close', resolve));
  await expect.poll(() => simulator.messages.length, { timeout: 15_000 }).toBe(before + 1);
  child.stdin.end(`${pinOf(simulator.messages.at(-1)?.pin ?? '')}\n`);
  return { status: await ended, stdout };
}

const wrong = (pin: string) => pin.replace(/./g, (digit) => String((Number(digit) + 1) % 10));

describe('the journey', () => {
  it('with the client verifies the PIN that was sent, and no other', async () => {
    await mkdir(folder, { recursive: true });
    const program = fileURLToPath(new URL('pin.mjs', folder));
    const shown = await fence('README.md', 'client');
    expect(shown.trim().split('\n').length).toBeLessThanOrEqual(12);
    await writeFile(program, shown);
    const right = await run(process.execPath, [program], (pin) => pin);
    expect(right).toEqual({ status: 0, stdout: expect.stringMatching(/Verified\.\n$/) });
    const other = await run(process.execPath, [program], wrong);
    expect(other).toEqual({ status: 0, stdout: expect.stringMatching(/Wrong\.\n$/) });
  });

  const curl = spawnSync('curl', ['--version']).status === 0;
  it.skipIf(requireOrSkip('curl', curl))('with curl alone verifies the PIN that was sent', async () => {
    const shown = await fence('docs/command-line.md', 'curl');
    const { status, stdout } = await run('bash', ['-eu', '-c', shown], (pin) => pin);
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ msisdn: '385912345678', verified: true });
  });
});
