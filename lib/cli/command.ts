/** What every command shares: flags, the ways to fail, and the exit status that goes with each. */

import { type ParseArgsConfig, parseArgs } from 'node:util';

/** 0: done; 1: the answer is no; 2: the command was called wrongly; 3: the service, or this machine, failed. */
export type ExitStatus = 0 | 1 | 2 | 3;

/** Ends a command with one line on standard error. */
export class CommandError extends Error {
  readonly exitStatus: ExitStatus;
  /** For `--json`: printed on standard output. */
  readonly json: object | undefined;

  constructor(exitStatus: ExitStatus, message: string, json?: object) {
    super(message);
    this.name = 'CommandError';
    this.exitStatus = exitStatus;
    this.json = json;
  }
}

export function usageError(message: string): CommandError {
  return new CommandError(2, message);
}

type Options = NonNullable<ParseArgsConfig['options']>;

type Config<T extends Options> = { args: string[]; options: T; allowPositionals: true; strict: true };

/**
 * Reads a command's flags, and its arguments, whose names are given. With `--help` arguments may be missing. What is
 * refused is never repeated but for the names of flags: it may be a key or a PIN.
 */
export function readFlags<const T extends Options>(
  command: string,
  args: readonly string[],
  options: T,
  names: readonly string[] = [],
): ReturnType<typeof parseArgs<Config<T>>> {
  const { tokens } = parseArgs({
    args: [...args],
    options,
    allowPositionals: true,
    strict: false,
    tokens: true,
  });
  const refuse = (what: string) => usageError(`${what} See "passport-sms-otp ${command} --help".`);
  for (const token of tokens) {
    if (token.kind !== 'option') continue;
    const { name, rawName, value, inlineValue } = token;
    const option = Object.hasOwn(options, name) ? options[name] : undefined;
    if (option === undefined) {
      const near = nearest(name, Object.keys(options));
      const advice = near === undefined ? '' : ` Did you mean --${near}?`;
      throw refuse(`${command} has no flag ${rawName}.${advice}`);
    }
    if (option.type === 'boolean') {
      if (value !== undefined) throw refuse(`${rawName} takes no value.`);
    } else if (value === undefined || (!inlineValue && value.length > 1 && value.startsWith('-'))) {
      throw refuse(`${rawName} needs a value.`);
    }
  }
  const given = tokens.filter(({ kind }) => kind === 'positional').length;
  const isHelp = tokens.some((token) => token.kind === 'option' && token.name === 'help');
  if (given > names.length || (given < names.length && !isHelp)) {
    const wanted = names.length === 0 ? 'no arguments' : names.join(' and ');
    throw refuse(`${command} takes ${wanted}${given > names.length ? ', and got more' : ''}.`);
  }
  return parseArgs({ args: [...args], options, allowPositionals: true, strict: true });
}

/** The known name that was probably meant. */
export function nearest(name: string, known: readonly string[]): string | undefined {
  const ranked = known
    .map((each) => ({ each, far: each.startsWith(name) && name.length > 2 ? 0 : distance(each, name) }))
    .sort((a, b) => a.far - b.far);
  const [best] = ranked;
  return best !== undefined && best.far <= Math.min(2, name.length / 2) ? best.each : undefined;
}

/** How many letters must be added, dropped or changed to make one word of the other. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (const [i, letter] of [...a].entries()) {
    const next = [i + 1];
    for (let j = 0; j < b.length; j += 1) {
      const change = (row[j] ?? 0) + (letter === b[j] ? 0 : 1);
      next.push(Math.min(change, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}

/** A whole number within bounds, given as the flag `--name`. */
export function wholeNumber(name: string, text: string, min: number, max: number): number {
  if (/^\d{1,10}$/.test(text) && Number(text) >= min && Number(text) <= max) return Number(text);
  throw usageError(`--${name} is no whole number from ${min} to ${max}.`);
}

/** One of a few words, in any case, given as the flag `--name`. */
export function oneOf<const T extends string>(name: string, text: string, words: readonly T[]): T {
  const found = words.find((word) => word.toLowerCase() === text.toLowerCase());
  if (found === undefined) throw usageError(`--${name} is none of ${words.join(', ')}.`);
  return found;
}

// What a terminal would obey. Colours of ours (and a service's, which do no harm) stay.
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
const OBEYED = /\u001b(?!\[\d+m)|[\u0000-\u0009\u000b-\u001a\u001c-\u001f\u007f-\u009f]/g;

/** For people and pipes: an id or a status of the service reaches them as text, whatever is in it. */
export function print(text: string): void {
  process.stdout.write(text.replace(OBEYED, '\ufffd'));
}

export function printJson(value: object): void {
  print(`${JSON.stringify(value)}\n`);
}

export function showHelp(text: string): ExitStatus {
  print(text);
  return 0;
}
