/** The settings of the commands that talk to the service: from flags, from the environment, or from an env file. */

import { readFileSync } from 'node:fs';
import { parseEnv } from 'node:util';
import { Infobip2faClient, InfobipError } from '../infobip/index.js';
import { CommandError, type ExitStatus, usageError } from './command.js';

/** The flags that all of these commands have. */
export const connectionFlags = {
  'base-url': { type: 'string' },
  'api-key': { type: 'string' },
  'api-key-file': { type: 'string' },
  env: { type: 'string' },
  json: { type: 'boolean', default: false },
  help: { type: 'boolean', short: 'h', default: false },
} as const;

export const connectionHelp = `
  --base-url URL        the address of your account; INFOBIP_BASE_URL
  --api-key-file FILE   where the API key is; - reads it from standard input
  --api-key KEY         the API key itself, which others on this machine may see; better INFOBIP_API_KEY
  --env FILE            read INFOBIP_* from a file as well, behind the environment
  --json                print JSON instead of text
  --help                show this

Instead of a key the environment may hold INFOBIP_USERNAME and INFOBIP_PASSWORD, INFOBIP_SESSION_TOKEN, or
INFOBIP_CLIENT_ID and INFOBIP_CLIENT_SECRET.
`;

export interface ConnectionFlags {
  'base-url'?: string;
  'api-key'?: string;
  'api-key-file'?: string;
  env?: string;
  json: boolean;
}

/** Settings by their names in the environment. Unset ones and empty ones are not there. */
export type Settings = Readonly<Record<string, string>>;

/** The variables that say who is asking. */
export const CREDENTIALS = [
  'INFOBIP_API_KEY',
  'INFOBIP_USERNAME',
  'INFOBIP_PASSWORD',
  'INFOBIP_SESSION_TOKEN',
  'INFOBIP_CLIENT_ID',
  'INFOBIP_CLIENT_SECRET',
];

/** A key given by a flag takes the place of whatever credentials the environment holds. */
export function readSettings(flags: ConnectionFlags): Settings {
  const fromFile = flags.env === undefined ? {} : parseEnv(readText(flags.env, '--env'));
  const settings = pickInfobip({ ...fromFile, ...pickInfobip(process.env) });
  if (flags['base-url'] !== undefined) settings.INFOBIP_BASE_URL = flags['base-url'];
  const key = readKey(flags);
  if (key !== undefined) {
    for (const name of CREDENTIALS) delete settings[name];
    settings.INFOBIP_API_KEY = key;
  }
  return settings;
}

function pickInfobip(variables: Readonly<Record<string, string | undefined>>): Record<string, string> {
  const picked: Record<string, string> = {};
  for (const [name, value = ''] of Object.entries(variables)) {
    if (name.startsWith('INFOBIP_') && value.trim() !== '') picked[name] = value.trim();
  }
  return picked;
}

function readKey(flags: ConnectionFlags): string | undefined {
  const { 'api-key': key, 'api-key-file': file } = flags;
  if (key !== undefined && file !== undefined) {
    throw usageError('--api-key and --api-key-file were both given. Give one of them.');
  }
  const name = file === undefined ? '--api-key' : '--api-key-file';
  const text = file === undefined ? key : readText(file, name);
  if (text?.trim() === '') throw usageError(`${name} is empty.`);
  return text?.trim();
}

function readText(file: string, flag: string): string {
  try {
    return readFileSync(file === '-' ? 0 : file, 'utf8');
  } catch (error) {
    throw usageError(`${flag}: ${file} cannot be read (${codeOf(error)}).`);
  }
}

/** The code of a system error, for a person to read. */
export function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : String(error);
}

/** An id, from its flag or its variable. */
export function readId(settings: Settings, flag: string, given: string | undefined): string {
  const variable = `INFOBIP_${flag.replaceAll('-', '_').toUpperCase()}`;
  const id = given?.trim() || settings[variable];
  if (id === undefined) {
    throw usageError(
      `No ${flag} was given. Give --${flag}, ${variable}, or --env with the file that holds it; "setup" makes one.`,
    );
  }
  return id;
}

/**
 * Runs `ask` with a client, and says in one line what the service refused or the client would not take. Where
 * `unknown` is given, something that the service does not know is no failure of it but a no, told in this sentence.
 */
export async function withClient(
  settings: Settings,
  ask: (client: Infobip2faClient) => Promise<ExitStatus>,
  unknown?: string,
): Promise<ExitStatus> {
  let client: Infobip2faClient | undefined;
  try {
    client = Infobip2faClient.fromEnv(settings);
    return await ask(client);
  } catch (error) {
    throw asCommandError(error, unknown);
  } finally {
    await client?.close();
  }
}

function asCommandError(error: unknown, unknown: string | undefined): unknown {
  if (error instanceof InfobipError) {
    const { code, status, violations } = error;
    const isNo = unknown !== undefined && code === 'ERR_INFOBIP_NOT_FOUND';
    const message = isNo ? unknown : inOurWords(withViolations(error));
    const told = {
      code,
      ...(status !== undefined && { status }),
      message,
      ...(violations !== undefined && { violations }),
    };
    return new CommandError(isNo ? 1 : 3, message, { error: told });
  }
  const [, mistake] = /^(?:Infobip2faClient(?:\.fromEnv)?|setUp2fa): (.*)/s.exec(messageOf(error)) ?? [];
  if (error instanceof TypeError && mistake !== undefined) {
    const told = inOurWords(mistake);
    return usageError(told.charAt(0).toUpperCase() + told.slice(1));
  }
  return error;
}

/** In one line: what the service has against which field. */
function withViolations({ message, violations }: InfobipError): string {
  const told = violations?.map(({ property, violation }) => `${property} ${violation}`).join('; ');
  return told === undefined
    ? message
    : message.replace('See violations and correct the request.', `${told}.`);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The client speaks of its methods and options; here they are commands and flags. */
export function inOurWords(sentence: string): string {
  return sentence
    .replace(/^pinId\b/, 'PINID')
    .replace(/\bpinId\b/, 'PIN id')
    .replace('INFOBIP_BASE_URL', '--base-url (or INFOBIP_BASE_URL, or --env FILE)')
    .replace('INFOBIP_API_KEY', '--api-key-file (or INFOBIP_API_KEY)')
    .replace(/\bbaseUrl\b/, '--base-url (INFOBIP_BASE_URL)')
    .replace('let setUp2fa make one', 'run "setup"');
}

/** A phone number in international form, as digits after a plus sign, or an e-mail address. */
export function readRecipient(text: string, isEmail = text.includes('@')): string {
  if (isEmail) {
    if (/^[^\s@]+@[^\s@]+$/.test(text)) return text;
    throw usageError(`"${text}" is no e-mail address.`);
  }
  const digits = text.replace(/[\s().-]/g, '');
  if (/^\+?[1-9]\d{5,14}$/.test(digits)) return `+${digits.replace('+', '')}`;
  throw usageError(`"${text}" is no phone number in international form, such as +385911234567.`);
}
