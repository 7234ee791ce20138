#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { CommandError, type ExitStatus, usageError } from './command.js';

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
]);

function help(): string {
  const width = Math.max(...[...commands.keys()].map((name) => name.length));
  const lines = [...commands].map(([name, { summary }]) => `  ${name.padEnd(width)}   ${summary}`);
  return `Usage: passport-sms-otp COMMAND [options]

${lines.join('\n')}

"passport-sms-otp COMMAND --help" tells more about one command.
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
  if (!command) throw usageError(`There is no command "${name}". Give one of: ${known}.`);
  return await command.run(args);
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : error}\n`);
  process.exitCode = error instanceof CommandError ? error.exitStatus : 3;
}
