import { CREDENTIAL_OPTIONS, type Credentials, checkCredentials } from './auth.js';
import { misuse } from './errors.js';
import type { Dispatcher } from './http.js';
import { isRecord, isString } from './shapes.js';

/** What may be said of a client besides its address and its credentials. */
export interface ClientSettings {
  /** Milliseconds to wait for the answer to begin, and then for the rest of it. Default: 15000. */
  timeoutMs?: number;
  /** Default: `passport-sms-otp/<version> (node)`. */
  userAgent?: string;
  /**
   * An undici dispatcher instead of connections of our own: a proxy, a mock. Whoever made it closes it, and sees
   * to it that it does not send twice. Its requests show the key and the PIN on undici's diagnostics channels, where
   * ours do not.
   */
  dispatcher?: Dispatcher;
}

/** The options of `Infobip2faClient`: an address and one way to authenticate. */
export type Infobip2faClientOptions = ClientSettings &
  Credentials & {
    /**
     * The address of your account, for instance `https://xxxxx.api.infobip.com`, with or without its scheme.
     * Plain http is for loopback only, and meant there when no scheme is given.
     */
    baseUrl: string;
  };

const SETTINGS = ['baseUrl', 'timeoutMs', 'userAgent', 'dispatcher'];

/** Reads address and credentials from the environment: `baseUrl` from `INFOBIP_BASE_URL`, and so on. */
export function optionsFromEnv(
  env: Readonly<Record<string, string | undefined>>,
  settings: ClientSettings,
  subject: string,
): Infobip2faClientOptions {
  const options: Record<string, unknown> = { ...settings };
  for (const option of ['baseUrl', ...CREDENTIAL_OPTIONS.flat()]) {
    const value = env[envName(option)]?.trim();
    if (value !== undefined && value !== '') {
      options[option] = value;
    }
  }
  assertOptions(options, subject, envName);
  return options;
}

function envName(option: string): string {
  return `INFOBIP_${option.replace(/[A-Z]/g, '_$&').toUpperCase()}`;
}

/** An address without a scheme means https, and plain http on this machine, where nothing else is to be had. */
export function withScheme(baseUrl: string): string {
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(baseUrl)) return baseUrl;
  const secure = `https://${baseUrl}`;
  return URL.canParse(secure) && isLoopback(new URL(secure).hostname) ? `http://${baseUrl}` : secure;
}

/** Throws a TypeError that names `subject`, the option, what was wrong and what to do; never a value. */
export function assertOptions(
  options: object,
  subject: string,
  label = (option: string): string => `option "${option}"`,
): asserts options is Infobip2faClientOptions {
  if (!isRecord(options)) {
    throw misuse(subject, 'the options must be an object, for instance { baseUrl, apiKey }.');
  }
  const given: Readonly<Record<string, unknown>> = options;
  refuseUnknown(
    given,
    [...SETTINGS, ...CREDENTIAL_OPTIONS.flat()],
    subject,
    (option) => `option "${option}"`,
  );
  checkBaseUrl(given.baseUrl, label('baseUrl'), subject);
  checkCredentials(given, label, subject);
  const { timeoutMs = 1, userAgent = 'none', dispatcher } = given;
  if (!Number.isInteger(timeoutMs) || Number(timeoutMs) < 1 || Number(timeoutMs) > 2 ** 31 - 1) {
    throw misuse(subject, `option "timeoutMs" must be a whole number of milliseconds, for instance 15000.`);
  }
  if (!isString(userAgent) || !/^[ -~]+$/.test(userAgent)) {
    throw misuse(subject, 'option "userAgent" must be a line of ASCII text, for instance "my-shop/1.0".');
  }
  if (dispatcher !== undefined && !hasDispatch(dispatcher)) {
    throw misuse(subject, 'option "dispatcher" must be a dispatcher of undici, for instance new Agent().');
  }
}

function hasDispatch(value: unknown): boolean {
  return (
    typeof value === 'object' && value !== null && 'dispatch' in value && typeof value.dispatch === 'function'
  );
}

/** Never repeats the value: people paste credentials into addresses. */
function checkBaseUrl(value: unknown, label: string, subject: string): void {
  const example = 'Give the address of your account, for instance https://xxxxx.api.infobip.com.';
  if (!isString(value) || value === '' || !URL.canParse(withScheme(value))) {
    throw misuse(subject, `${label} is missing or not an address. ${example}`);
  }
  const url = new URL(withScheme(value));
  if (url.username !== '' || url.password !== '') {
    throw misuse(subject, `${label} has credentials in it. Give them as options of their own.`);
  }
  if (url.search !== '' || url.hash !== '' || /^\/2fa(\/|$)/.test(url.pathname)) {
    throw misuse(subject, `${label} has more than an address in it. ${example}`);
  }
  if (url.protocol === 'http:' ? !isLoopback(url.hostname) : url.protocol !== 'https:') {
    throw misuse(subject, `${label} must be https; plain http is for loopback only. ${example}`);
  }
}

/** URL has brought every way of writing an IPv4 address into four numbers. */
function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127(\.\d{1,3}){3}$/.test(hostname);
}

/** Throws a TypeError for a key that is none of the known ones, and names the one that was probably meant. */
export function refuseUnknown(
  given: object,
  known: readonly string[],
  subject: string,
  label: (key: string) => string,
): void {
  for (const key of Object.keys(given)) {
    if (!known.includes(key)) {
      const near = known.find((name) => distance(name.toLowerCase(), key.toLowerCase()) <= 2);
      const advice = near === undefined ? `Known are ${known.join(', ')}.` : `Did you mean "${near}"?`;
      throw misuse(subject, `${label(key)} is not known. ${advice}`);
    }
  }
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
