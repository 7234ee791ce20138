/** What every command shares: flags, the ways to fail, and the exit status that goes with each. */

import { type ParseArgsConfig, parseArgs } from 'node:util';

/** 0: done; 1: the answer is no; 2: the command was called wrongly; 3: the service, or this machine, failed. */
export type ExitStatus = 0 | 1 | 2 | 3;

/** Ends a command with one sentence on standard error. */
export class CommandError extends Error {
  readonly exitStatus: ExitStatus;

  constructor(exitStatus: ExitStatus, message: string) {
    super(message);
    this.name = 'CommandError';
    this.exitStatus = exitStatus;
  }
}

export function usageError(message: string): CommandError {
  return new CommandError(2, message);
}

type Options = NonNullable<ParseArgsConfig['options']>;

type Config<T extends Options> = { args: string[]; options: T; allowPositionals: false; strict: true };

/** `parseArgs` in strict mode, its errors cut to their first sentence. */
export function readFlags<const T extends Options>(
  command: string,
  args: readonly string[],
  options: T,
): ReturnType<typeof parseArgs<Config<T>>>['values'] {
  const config: Config<T> = { args: [...args], options, allowPositionals: false, strict: true };
  try {
    return parseArgs(config).values;
  } catch (error) {
    const [sentence = ''] = (error instanceof Error ? error.message : String(error)).split(/\.(?:\s|$)|\n/);
    throw usageError(`${sentence}. See "passport-sms-otp ${command} --help".`);
  }
}
