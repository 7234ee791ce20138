#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { CommandError, type ExitStatus, nearest, printJson, usageError } from './command.js';

interface Command {
  summary: string;
  run: (args: readonly string[]) => Promise<ExitStatus>;
}

/** Each command is loaded only when it is called. */
const commands: ReadonlyMap<string, Command> = new Map([
  [
    'simulate',
    {
      summary: "run a stand-in for Infobip's 2FA service, with a phone in the browser",
      run: async (args) => (await import('./simulate.js')).simulate(args),
    },
  ],
  [
    'setup',
    {
      summary: 'find or make the application and the templates, and print or write their settings',
      run: async (args) => (await import('./setup.js')).setup(args),
    },
  ],
  [
    'doctor',
    {
      summary: 'name what is wrong with address, key, application and templates',
      run: async (args) => (await import('./doctor.js')).doctor(args),
    },
  ],
  ['send', { summary: 'send a PIN', run: async (args) => (await import('./pins.js')).send(args) }],
  [
    'resend',
    { summary: 'send the same PIN again', run: async (args) => (await import('./pins.js')).resend(args) },
  ],
  [
    'verify',
    { summary: 'ask whether a PIN is right', run: async (args) => (await import('./pins.js')).verify(args) },
  ],
  [
    'status',
    {
      summary: 'tell what became of the PINs of a number',
      run: async (args) => (await import('./pins.js')).status(args),
    },
  ],
]);

function help(): string {
  const width = Math.max(...[...commands.keys()].map((name) => name.length));
  const lines = [...commands].map(([name, { summary }]) => `  ${name.padEnd(width)}   ${summary}`);
  return `Usage: passport-sms-otp COMMAND [options]

${lines.join('\n')}

"passport-sms-otp COMMAND --help" tells more about one command.

Exit status: 0 done, 1 the answer is no, 2 wrong use, 3 the service or this machine failed.
`;
}

function version(): string {
  const manifest: unknown = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
  const isManifest = typeof manifest === 'object' && manifest !== null && 'version' in manifest;
  return isManifest ? String(manifest.version) : 'unknown';
}

async function main([name, ...args]: readonly string[]): Promise<ExitStatus> {
  if (name === '--help' || name === '-h' || name === 'help') {
    process.stdout.write(help());
    return 0;
  }
  if (name === '--version') {
    process.stdout.write(`${version()}\n`);
    return 0;
  }
  const known = [...commands.keys()].join(', ');
  if (name === undefined) throw usageError(`No command was given. Give one of: ${known}.`);
  const command = commands.get(name);
  if (!command) {
    const near = nearest(name, [...commands.keys()]);
    const advice = near === undefined ? `Give one of: ${known}.` : `Did you mean "${near}"?`;
    throw usageError(`There is no command "${name}". ${advice}`);
  }
  return await command.run(args);
}

// Whoever reads our output may have had enough of it: `passport-sms-otp status ... | head -1`.
process.stdout.on('error', (error) =>
  process.exit('code' in error && error.code === 'EPIPE' ? undefined : 3),
);

const args = process.argv.slice(2);
try {
  process.exitCode = await main(args);
} catch (error) {
  if (error instanceof CommandError && error.json && args.includes('--json')) printJson(error.json);
  process.stderr.write(`${error instanceof Error ? error.message : error}\n`);
  process.exitCode = error instanceof CommandError ? error.exitStatus : 3;
}
