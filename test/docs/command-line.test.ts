/** The examples of docs/command-line.md, run in their order; ids and times differ each time. */

import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startSimulator } from 'passport-sms-otp/simulator';
import { expect, it } from 'vitest';
import { runCommand } from '../support/command-line.js';

const guide = await readFile(new URL('../../docs/command-line.md', import.meta.url), 'utf8');
const examples = [...guide.matchAll(/^```console\n\$ npx passport-sms-otp (.*)\n([\s\S]*?)^```$/gm)].map(
  ([, line = '', output = '']) => ({ args: line.split(' '), output }),
);

const leveled = (text: string): string =>
  text
    .replace(/\b[0-9A-F]{32}\b/g, '<id>')
    .replace(/\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ/g, '<time>')
    .replace(/127\.0\.0\.1:\d+/g, '127.0.0.1:4010');

it('the examples in docs/command-line.md print what they are said to print', {
  timeout: 60_000,
}, async () => {
  const simulator = await startSimulator();
  const cwd = await mkdtemp(join(tmpdir(), 'passport-sms-otp-'));
  try {
    const settings = { INFOBIP_BASE_URL: simulator.url, INFOBIP_API_KEY: simulator.apiKey };
    expect(examples.map(({ args: [command] }) => command)).toEqual([
      'simulate',
      'setup',
      'doctor',
      'send',
      'resend',
      'verify',
      'status',
    ]);
    // test/cli/simulate.test.ts runs the first.
    for (const { args, output } of examples.slice(1)) {
      const pinId = simulator.messages.at(-1)?.pinId ?? '';
      const given = args.map((word) => (/^[0-9A-F]{32}$/.test(word) ? pinId : word));
      const { stdout, stderr } = await runCommand(given, {
        env: given.includes('--env') ? {} : settings,
        cwd,
      });
      expect(leveled(stdout + stderr), args.join(' ')).toBe(leveled(output));
    }
  } finally {
    await simulator.close();
    await rm(cwd, { recursive: true });
  }
});
