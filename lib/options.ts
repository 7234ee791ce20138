/** The options of the strategy: what they mean, and how they are read once into finished values. */

import { randomBytes } from 'node:crypto';
import {
  type Budgets,
  DEFAULT_BUDGETS,
  DEFAULT_SUBJECT_FAILURES,
  DEFAULT_UNCOMPLETED_IPV6,
  type Limit,
  type Limiter,
  type LimiterOptions,
  LONGEST_DURATION,
  memoryLimiter,
} from './budgets.js';
import { type ChallengeKind, type ChallengeStore, registerStore, sessionChallenges } from './challenge.js';
import { settled } from './errors.js';
import type { SmsOtpEvent } from './events.js';
import { type CountryCode, isCountryCode, type NumberType } from './numbering.js';
import type { Channel, OtpClient } from './otp-client.js';
import type { OutcomeCode, OutcomeDetails } from './outcome.js';
import { originOf, property, type RequestLike } from './request.js';

/** A value, or a promise of it. */
export type Awaitable<T> = T | PromiseLike<T>;

/** Where a PIN may go, as the host knows it. */
export interface Recipient {
  /** A phone number, best in E.164. */
  phoneNumber?: string | null | undefined;
  email?: string | null | undefined;
  /** The host's user id, a non-empty string. */
  subject: string;
}

/** What is about to be sent. */
export interface SendContext<Req extends RequestLike = RequestLike> {
  req: Req;
  channel: Channel;
  phoneNumber?: string;
  email?: string;
  subject?: string;
  country?: CountryCode;
  /** The number is a test number: nothing will be sent, so no score needs to be asked for. */
  test?: true;
}

/** The message template: one for all channels, one for each, or chosen at each send. */
export type MessageId<Req extends RequestLike = RequestLike> =
  | string
  | { readonly [C in Channel]?: string }
  | ((context: SendContext<Req>) => string);

/** The alphabet of a PIN, in Infobip's words. */
export type PinType = 'NUMERIC' | 'ALPHA' | 'HEX' | 'ALPHANUMERIC';

interface CommonOptions<Req extends RequestLike> {
  /** The service that makes, sends and judges PINs: an `Infobip2faClient`, or any object with its three methods. */
  client: OtpClient;
  /** Infobip's id of the 2FA application. */
  applicationId: string;
  /** Infobip's id of the message template, or one for each channel, or a function. */
  messageId: MessageId<Req>;
  /**
   * The strategy's name. Two strategies with two names know nothing of each other's challenges, budgets and marks.
   * @default 'sms-otp'
   */
  name?: string;
  /** The country of a number typed without country code. @default the only entry of `countries` */
  defaultCountry?: CountryCode;
  /**
   * Kinds of number that get no PIN. A number without country or of no known kind never does.
   * @default PREMIUM_RATE, SHARED_COST, TOLL_FREE, PAGER, VOICEMAIL, UAN, PERSONAL_NUMBER, and FIXED_LINE for SMS
   */
  blockedNumberTypes?: readonly NumberType[];
  /**
   * The ways a PIN may go. 'voice' can be asked for at a resend only, unless it is the only one; 'email' needs
   * `recipient`.
   * @default ['sms']
   */
  channels?: readonly Channel[];
  /** The form field of the number. @default 'phone' */
  phoneField?: string;
  /** The form field of the PIN. @default 'pin' */
  pinField?: string;
  /** The form field of the channel. @default 'channel' */
  channelField?: string;
  /** Values for the template's own placeholders; asked again at a resend. */
  placeholders?: (context: SendContext<Req>) => Awaitable<Record<string, string>>;
  /** The shape of the template's PINs. Under 20 bits or over 8 characters is refused. @default 6, NUMERIC */
  pin?: { length?: number; type?: PinType };
  /** How long a PIN can be typed in, in seconds, 60 to 600 (NIST SP 800-63B: at most 10 minutes). @default 600 */
  pinTtlSeconds?: number;
  /** Wrong PINs per challenge, 1 to 10. @default 5 */
  attempts?: number;
  /** Overrides of single budgets; an empty list or null switches one off. @default `DEFAULT_BUDGETS` */
  budgets?: Partial<Budgets>;
  /** Where open challenges are kept. @default the session */
  challenges?: ChallengeStore;
  /** A store that has not answered after so many milliseconds is down. @default 3000 */
  storeTimeoutMs?: number;
  /** A verify callback, or another function of yours, that has not answered after so many milliseconds has failed. @default 30000 */
  verifyTimeoutMs?: number;
  /** False: `not_now`, nothing is sent and nothing counted. The place for SIM-swap and fraud scores. */
  beforeSend?: (context: SendContext<Req>) => Awaitable<boolean>;
  /**
   * False: the answer is as if a PIN had been sent, and none is. For sites without sign-up whose visitors type numbers.
   * Asked at each send and resend.
   * So that neither bytes nor time tell who can receive a PIN, the first 16 calls of each kind after a start are held
   * back to the time of a slow one (2 s for the very first), checks of one challenge are kept 3 s apart and of one
   * number a quarter of one, whatever the service has against a PIN reads `pin_wrong`, and against a send `pin_sent`
   * (you have `pin.not_sent`). Your own functions must take as long for both, and the service's `verifyPinLimit` must
   * be no lower than four a second, as `setup` makes it.
   */
  canReceivePin?: (context: SendContext<Req>) => Awaitable<boolean>;
  /** True: a browser known to be this recipient's (a signed cookie), counted apart from strangers. */
  knownBrowser?: (
    req: Req,
    recipient: { phoneNumber?: string; email?: string; subject?: string },
  ) => Awaitable<boolean>;
  /** Further origins (`https://app.example`) whose forms may post here. @default none */
  trustedOrigins?: readonly string[];
  /** What budgets per client are counted for; an IPv6 address is cut to /64. @default `req.ip` */
  clientKey?: (req: Req) => string | undefined;
  /** Texts in the visitor's language; undefined takes the English one. */
  messages?: <Code extends OutcomeCode>(
    code: Code,
    details: OutcomeDetails[Code],
    req: Req,
  ) => string | undefined;
  /** For audit and metrics. What it throws is ignored. */
  onEvent?: (event: SmsOtpEvent) => unknown;
}

interface TypedByStranger {
  /** The countries whose numbers may be typed, or 'all'. */
  countries: readonly CountryCode[] | 'all';
  recipient?: never;
  subject?: never;
  signedIn?: false;
}

interface TypedByUser<Req extends RequestLike> {
  /** The countries whose numbers may be typed, or 'all'. */
  countries: readonly CountryCode[] | 'all';
  /** The visitor types a number for a user who is known already: enrolment, a new number. Null: nobody. */
  subject: (req: Req) => Awaitable<string | null>;
  recipient?: never;
  /** The user is signed in and stays so. @default false */
  signedIn?: boolean;
}

interface KnownRecipient<Req extends RequestLike> {
  /** @default 'all' */
  countries?: readonly CountryCode[] | 'all';
  /** The server knows where the PIN goes: the second factor, step-up. Null: nowhere. */
  recipient: (req: Req) => Awaitable<Recipient | null>;
  subject?: never;
  /** The user is signed in and stays so. @default false */
  signedIn?: boolean;
}

/** Where the counters are: in this process's memory, or in a store of many. */
type LimiterChoice =
  | {
      limiter?: never;
      /** Keys the hashes of recipients in limiter keys and events; 32 characters or more. @default random per process */
      secret?: string;
    }
  | {
      /** Makes a limiter of rate-limiter-flexible, for instance `(o) => new RateLimiterRedis({ storeClient, ...o })`. */
      limiter: (options: LimiterOptions) => Limiter;
      secret: string;
    };

/** Options of a login by phone: the visitor types a number, and nothing else is known. */
export type LoginOptions<Req extends RequestLike> = CommonOptions<Req> & TypedByStranger & LimiterChoice;

/** Options for a number that a known user types. */
export type NewNumberOptions<Req extends RequestLike> = CommonOptions<Req> & TypedByUser<Req> & LimiterChoice;

/** Options of a second factor, or a step-up: the host knows where the PIN goes. */
export type SecondFactorOptions<Req extends RequestLike> = CommonOptions<Req> &
  KnownRecipient<Req> &
  LimiterChoice;

/** The options of {@link SmsOtpStrategy}. */
export type SmsOtpStrategyOptions<Req extends RequestLike = RequestLike> =
  | LoginOptions<Req>
  | NewNumberOptions<Req>
  | SecondFactorOptions<Req>;

/** The finished values that a request reads. */
export interface Settings {
  client: OtpClient;
  applicationId: string;
  messageId: (context: SendContext) => string;
  name: string;
  countries: ReadonlySet<string> | 'all';
  defaultCountry: CountryCode | undefined;
  blockedNumberTypes: { sms: ReadonlySet<NumberType>; voice: ReadonlySet<NumberType> };
  recipient: ((req: RequestLike) => Awaitable<Recipient | null>) | undefined;
  subject: ((req: RequestLike) => Awaitable<string | null>) | undefined;
  signedIn: boolean;
  kind: ChallengeKind;
  channels: readonly Channel[];
  phoneField: string;
  pinField: string;
  channelField: string;
  placeholders: ((context: SendContext) => Awaitable<Record<string, string>>) | undefined;
  pinShape: RegExp;
  pinTtlSeconds: number;
  attempts: number;
  budgets: Budgets;
  uncompletedIpv6: readonly Limit[] | null;
  subjectFailures: Limit | null;
  limiter: (options: LimiterOptions) => Limiter;
  secret: string;
  challenges: ChallengeStore;
  storeTimeoutMs: number;
  verifyTimeoutMs: number;
  beforeSend: ((context: SendContext) => Awaitable<boolean>) | undefined;
  canReceivePin: ((context: SendContext) => Awaitable<boolean>) | undefined;
  knownBrowser:
    | ((
        req: RequestLike,
        recipient: { phoneNumber?: string; email?: string; subject?: string },
      ) => Awaitable<boolean>)
    | undefined;
  trustedOrigins: ReadonlySet<string>;
  clientKey: ((req: RequestLike) => string | undefined) | undefined;
  messages: ((code: OutcomeCode, details: never, req: RequestLike) => string | undefined) | undefined;
  onEvent: ((event: SmsOtpEvent) => unknown) | undefined;
}

// One entry for each option: the compiler asks for a new one here, and a misspelt one is found by it.
const KNOWN_OPTIONS: Record<
  keyof (CommonOptions<RequestLike> & TypedByUser<RequestLike> & LimiterChoice),
  true
> = {
  client: true,
  applicationId: true,
  messageId: true,
  name: true,
  countries: true,
  defaultCountry: true,
  blockedNumberTypes: true,
  recipient: true,
  subject: true,
  signedIn: true,
  channels: true,
  phoneField: true,
  pinField: true,
  channelField: true,
  placeholders: true,
  pin: true,
  pinTtlSeconds: true,
  attempts: true,
  budgets: true,
  limiter: true,
  secret: true,
  challenges: true,
  storeTimeoutMs: true,
  verifyTimeoutMs: true,
  beforeSend: true,
  canReceivePin: true,
  knownBrowser: true,
  trustedOrigins: true,
  clientKey: true,
  messages: true,
  onEvent: true,
};

const CHANNELS: readonly Channel[] = ['sms', 'voice', 'email'];

const NEVER_PINNED: readonly NumberType[] = [
  'PREMIUM_RATE',
  'SHARED_COST',
  'TOLL_FREE',
  'PAGER',
  'VOICEMAIL',
  'UAN',
  'PERSONAL_NUMBER',
];

const NUMBER_TYPES: readonly NumberType[] = [
  'MOBILE',
  'FIXED_LINE',
  'FIXED_LINE_OR_MOBILE',
  'VOIP',
  ...NEVER_PINNED,
];

// The least length that gives 20 random bits (NIST SP 800-63B, OWASP ASVS 6.5.4), or as many as six digits.
const PIN_TYPES: Record<PinType, { characters: string; least: number }> = {
  NUMERIC: { characters: '0-9', least: 6 },
  ALPHA: { characters: 'A-Za-z', least: 5 },
  HEX: { characters: '0-9A-Fa-f', least: 5 },
  ALPHANUMERIC: { characters: '0-9A-Za-z', least: 4 },
};
const LONGEST_PIN = 8;
const SHORTEST_SECRET = 32;

/** Stops with a sentence that names the class, the option, what was wrong and what to do. */
function wrong(option: string, problem: string, owner = 'SmsOtpStrategy'): never {
  throw new TypeError(`${owner}: the option \`${option}\` ${problem}`);
}

/**
 * Reads the options into finished values; the caller's object is never changed.
 *
 * @throws TypeError for an option that is missing, misspelt, of the wrong kind or in contradiction to another
 */
export function parseOptions<Req extends RequestLike>(options: SmsOtpStrategyOptions<Req>): Settings {
  if (typeof options !== 'object' || options === null) {
    throw new TypeError('SmsOtpStrategy: the first argument must be an object of options.');
  }
  // Callers without TypeScript may have passed anything, so everything is looked at as unknown.
  const given: Record<string, unknown> = { ...options };
  for (const key of Object.keys(given)) checkKnown(key, Object.keys(KNOWN_OPTIONS), '');

  const channels = list(given, 'channels', CHANNELS) ?? ['sms'];
  if (channels.length === 0) wrong('channels', "is empty. Name at least one of 'sms', 'voice' and 'email'.");
  const recipient = fn<Settings['recipient']>(given, 'recipient');
  const subject = fn<Settings['subject']>(given, 'subject');
  const signedIn = flag(given, 'signedIn');
  if (recipient && subject) {
    wrong(
      'subject',
      'cannot go with `recipient`: the subject is in what `recipient` returns. Give one of the two.',
    );
  }
  if (signedIn && !recipient && !subject) {
    wrong('signedIn', 'needs `recipient` or `subject`, which say who the signed-in user is.');
  }
  if (channels.includes('email') && !recipient) {
    wrong('channels', "holds 'email', which needs `recipient`: visitors type a number, not an address.");
  }
  const countries = parseCountries(given.countries, recipient !== undefined);
  const limiter = fn<Settings['limiter']>(given, 'limiter');
  const name = text(given, 'name') ?? 'sms-otp';
  if (name === '__proto__') wrong('name', "cannot be '__proto__'.");
  const { budgets, uncompletedIpv6, subjectFailures } = parseBudgets(given.budgets);
  const challenges = given.challenges === undefined ? sessionChallenges : parseStore(given.challenges);
  const storeTimeoutMs = whole(given, 'storeTimeoutMs', 1, LONGEST_TIMEOUT_MS) ?? 3000;
  registerStore(name, challenges, storeTimeoutMs);
  checkProcess(limiter !== undefined);

  return {
    client: parseClient(given.client),
    applicationId:
      text(given, 'applicationId') ??
      wrong('applicationId', 'is missing. It is the id of your 2FA application at Infobip.'),
    messageId: parseMessageId(given.messageId, channels),
    name,
    countries,
    defaultCountry: parseDefaultCountry(given.defaultCountry, countries),
    blockedNumberTypes: parseBlockedTypes(given),
    recipient,
    subject,
    signedIn,
    kind: `${recipient ? 'known' : subject ? 'new' : 'typed'}${signedIn ? '+' : ''}`,
    channels,
    ...parseFields(given),
    placeholders: fn(given, 'placeholders'),
    pinShape: parsePin(given.pin),
    pinTtlSeconds: whole(given, 'pinTtlSeconds', 60, 600) ?? 600,
    attempts: whole(given, 'attempts', 1, 10) ?? 5,
    budgets,
    uncompletedIpv6,
    subjectFailures,
    limiter: limiter ?? memoryLimiter,
    secret: parseSecret(given.secret, limiter !== undefined),
    challenges,
    storeTimeoutMs,
    verifyTimeoutMs: whole(given, 'verifyTimeoutMs', 1, LONGEST_TIMEOUT_MS) ?? 30_000,
    beforeSend: fn(given, 'beforeSend'),
    canReceivePin: fn(given, 'canReceivePin'),
    knownBrowser: fn(given, 'knownBrowser'),
    trustedOrigins: parseOrigins(given.trustedOrigins),
    clientKey: fn(given, 'clientKey'),
    messages: fn(given, 'messages'),
    onEvent: fn(given, 'onEvent'),
  };
}

const LONGEST_TIMEOUT_MS = 300_000;

/** Stops at a name that is not known, and guesses the one that was meant. */
export function checkKnown(
  key: string,
  known: readonly string[],
  holder: string,
  owner = 'SmsOtpStrategy',
): void {
  if (known.includes(key)) return;
  const closest = closestTo(key, known);
  const hint =
    closest && closest.distance <= Math.max(2, key.length / 3)
      ? ` Did you mean \`${holder}${closest.name}\`?`
      : ` Known: ${known.join(', ')}.`;
  throw new TypeError(`${owner}: there is no option \`${holder}${key}\`.${hint}`);
}

/** The name that was probably meant, where it is not that name already. */
export function misspelt(key: string, known: readonly string[]): string | undefined {
  const closest = known.includes(key) ? undefined : closestTo(key, known);
  return closest && closest.distance <= Math.min(2, key.length / 3) ? closest.name : undefined;
}

function closestTo(key: string, known: readonly string[]): { name: string; distance: number } | undefined {
  return known
    .map((name) => ({ name, distance: editDistance(key.toLowerCase(), name.toLowerCase()) }))
    .sort((a, b) => a.distance - b.distance)[0];
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (const [i, left] of [...a].entries()) {
    const next = [i + 1];
    for (const [j, right] of [...b].entries()) {
      next.push(
        Math.min((next[j] ?? 0) + 1, (row[j + 1] ?? 0) + 1, (row[j] ?? 0) + (left === right ? 0 : 1)),
      );
    }
    row = next;
  }
  return row[b.length] ?? 0;
}

function text(given: Record<string, unknown>, option: string): string | undefined {
  const value = given[option];
  if (value === undefined) return undefined;
  if (typeof value !== 'string' || value.trim() === '') wrong(option, 'must be a string that is not empty.');
  return value;
}

function parseFields(
  given: Record<string, unknown>,
): Pick<Settings, 'phoneField' | 'pinField' | 'channelField'> {
  const phoneField = text(given, 'phoneField') ?? 'phone';
  const pinField = text(given, 'pinField') ?? 'pin';
  const channelField = text(given, 'channelField') ?? 'channel';
  if (new Set([phoneField, pinField, channelField]).size < 3) {
    wrong(
      'pinField',
      'must be another field than `phoneField` and `channelField`, and these two must differ.',
    );
  }
  return { phoneField, pinField, channelField };
}

function flag(given: Record<string, unknown>, option: string): boolean {
  const value = given[option];
  if (value !== undefined && typeof value !== 'boolean') wrong(option, 'must be true or false.');
  return value === true;
}

function fn<F>(given: Record<string, unknown>, option: string): F | undefined {
  const value = given[option];
  if (value === undefined) return undefined;
  if (typeof value !== 'function') wrong(option, 'must be a function.');
  return value as F;
}

function whole(
  given: Record<string, unknown>,
  option: string,
  least: number,
  most: number,
): number | undefined {
  const value = given[option];
  if (value === undefined) return undefined;
  if (typeof value !== 'number' || !Number.isInteger(value) || value < least || value > most) {
    wrong(option, `must be a whole number from ${least} to ${most}.`);
  }
  return value;
}

function list<T extends string>(
  given: Record<string, unknown>,
  option: string,
  allowed: readonly T[],
): T[] | undefined {
  const value = given[option];
  if (value === undefined) return undefined;
  if (!Array.isArray(value)) wrong(option, `must be a list of ${allowed.join(', ')}.`);
  return value.map((entry) => {
    const found = allowed.find((name) => name === entry);
    return found ?? wrong(option, `holds ${JSON.stringify(entry)}, which is none of ${allowed.join(', ')}.`);
  });
}

function parseClient(client: unknown): OtpClient {
  const methods = ['sendPin', 'resendPin', 'verifyPin'];
  const missing = methods.filter(
    (method) =>
      typeof client !== 'object' || client === null || typeof Reflect.get(client, method) !== 'function',
  );
  if (client === undefined)
    wrong('client', "is missing. Give an Infobip2faClient of 'passport-sms-otp/infobip'.");
  if (missing.length > 0)
    wrong(
      'client',
      `must be an object with the methods ${methods.join(', ')}; it lacks ${missing.join(', ')}.`,
    );
  return client as OtpClient;
}

function parseMessageId(messageId: unknown, channels: readonly Channel[]): Settings['messageId'] {
  if (typeof messageId === 'function') {
    return (context) => {
      const chosen = settled(messageId(context));
      return typeof chosen === 'string' && chosen !== ''
        ? chosen
        : wrong('messageId', 'returned no id for a send.');
    };
  }
  if (typeof messageId === 'string' && messageId.trim() !== '') return () => messageId;
  if (typeof messageId === 'object' && messageId !== null) {
    const ids = new Map<string, unknown>(Object.entries(messageId));
    for (const key of ids.keys()) checkKnown(key, CHANNELS, 'messageId.');
    for (const channel of channels) {
      const id = ids.get(channel);
      if (typeof id !== 'string' || id === '') wrong('messageId', `has no id for the channel '${channel}'.`);
    }
    return ({ channel }) => String(ids.get(channel));
  }
  return wrong(
    'messageId',
    'is missing. It is the id of your message template at Infobip, one for each channel, or a function.',
  );
}

const COMMON_MISTAKES: Readonly<Record<string, string>> = { UK: 'GB', EN: 'GB', EL: 'GR', USA: 'US' };

function parseCountries(countries: unknown, recipientKnown: boolean): ReadonlySet<string> | 'all' {
  if (countries === undefined) {
    if (recipientKnown) return 'all';
    return wrong(
      'countries',
      "is missing. Name the countries whose numbers may log in, such as ['HR', 'SI'], or 'all'.",
    );
  }
  if (countries === 'all') return 'all';
  if (!Array.isArray(countries) || countries.length === 0) {
    wrong('countries', "must be a list of two-letter country codes that is not empty, or 'all'.");
  }
  for (const code of countries) {
    if (typeof code !== 'string' || !isCountryCode(code)) {
      const meant =
        typeof code === 'string' ? (COMMON_MISTAKES[code.toUpperCase()] ?? code.toUpperCase()) : '';
      const hint = isCountryCode(meant) ? ` Did you mean '${meant}'?` : '';
      wrong(
        'countries',
        `holds ${JSON.stringify(code)}, which is no country code of ISO 3166-1 alpha-2.${hint}`,
      );
    }
  }
  return new Set<string>(countries);
}

function parseDefaultCountry(
  value: unknown,
  countries: ReadonlySet<string> | 'all',
): CountryCode | undefined {
  if (value === undefined) {
    const [only] = countries === 'all' || countries.size !== 1 ? [] : countries;
    return only !== undefined && isCountryCode(only) ? only : undefined;
  }
  if (typeof value !== 'string' || !isCountryCode(value)) {
    wrong('defaultCountry', `is ${JSON.stringify(value)}, which is no country code of ISO 3166-1 alpha-2.`);
  }
  if (countries !== 'all' && !countries.has(value))
    wrong('defaultCountry', `is ${value}, which is not among \`countries\`.`);
  return value;
}

function parseBlockedTypes(given: Record<string, unknown>): Settings['blockedNumberTypes'] {
  const chosen = list(given, 'blockedNumberTypes', NUMBER_TYPES);
  if (chosen) return { sms: new Set(chosen), voice: new Set(chosen) };
  return { sms: new Set([...NEVER_PINNED, 'FIXED_LINE']), voice: new Set(NEVER_PINNED) };
}

/**
 * The shape of a template's PINs, as a pattern that a whole PIN matches.
 *
 * @param owner whose option `pin` it is, for the message of what is thrown
 */
export function parsePin(pin: unknown, owner?: string): RegExp {
  if (pin !== undefined && (typeof pin !== 'object' || pin === null))
    wrong('pin', 'must be an object { length, type }.', owner);
  const given: Record<string, unknown> = { ...pin };
  for (const key of Object.keys(given)) checkKnown(key, ['length', 'type'], 'pin.', owner);
  const { length = 6, type = 'NUMERIC' } = given;
  if (typeof type !== 'string' || !isPinType(type))
    wrong(
      'pin',
      `has the type ${JSON.stringify(type)}, which is none of ${Object.keys(PIN_TYPES).join(', ')}.`,
      owner,
    );
  const { characters, least } = PIN_TYPES[type];
  if (typeof length !== 'number' || !Number.isInteger(length) || length < least || length > LONGEST_PIN) {
    wrong(
      'pin',
      `must have a length from ${least} to ${LONGEST_PIN} for ${type}: a shorter PIN has under 20 random bits and can be guessed.`,
      owner,
    );
  }
  return new RegExp(`^[${characters}]{${length}}$`);
}

function isPinType(type: string): type is PinType {
  return Object.hasOwn(PIN_TYPES, type);
}

function parseSecret(secret: unknown, withLimiter: boolean): string {
  if (secret === undefined) {
    if (withLimiter) {
      wrong(
        'secret',
        'is missing. With `limiter` it must be the same in every process: 32 random characters or more, from your configuration.',
      );
    }
    return randomBytes(32).toString('base64url');
  }
  if (typeof secret !== 'string' || secret.length < SHORTEST_SECRET)
    wrong('secret', `must be a string of ${SHORTEST_SECRET} characters or more.`);
  return secret;
}

function parseStore(store: unknown): ChallengeStore {
  const missing = ['get', 'set', 'remove'].filter(
    (method) =>
      typeof store !== 'object' || store === null || typeof Reflect.get(store, method) !== 'function',
  );
  if (missing.length > 0)
    wrong(
      'challenges',
      `must be an object with the methods get, set and remove; it lacks ${missing.join(', ')}.`,
    );
  return store as ChallengeStore;
}

function parseOrigins(origins: unknown): ReadonlySet<string> {
  if (origins === undefined) return new Set();
  if (!Array.isArray(origins))
    wrong('trustedOrigins', "must be a list of origins such as 'https://app.example'.");
  return new Set(
    origins.map((origin) => {
      const parsed = typeof origin === 'string' ? originOf(origin) : undefined;
      // A path or a wildcard would be dropped without a word, and something else trusted than was meant.
      const exact = typeof origin === 'string' && origin.replace(/\/$/u, '').toLowerCase() === parsed;
      return exact && parsed !== undefined && /^https?:\/\/[^*]+$/u.test(parsed)
        ? parsed
        : wrong(
            'trustedOrigins',
            `holds ${JSON.stringify(origin)}, which is no origin. Write scheme, host and port only, such as 'https://app.example'.`,
          );
    }),
  );
}

function parseBudgets(budgets: unknown): Pick<Settings, 'budgets' | 'uncompletedIpv6' | 'subjectFailures'> {
  if (budgets !== undefined && (typeof budgets !== 'object' || budgets === null))
    wrong('budgets', 'must be an object.');
  const given: Record<string, unknown> = { ...budgets };
  for (const key of Object.keys(given)) checkKnown(key, Object.keys(DEFAULT_BUDGETS), 'budgets.');
  const limits = (name: Exclude<keyof Budgets, 'countryCompletion'>) =>
    given[name] === undefined ? DEFAULT_BUDGETS[name] : parseLimits(name, given[name]);
  const uncompletedPerClient = limits('uncompletedPerClient');
  return {
    budgets: {
      sendsPerNumber: limits('sendsPerNumber'),
      callsPerNumber: limits('callsPerNumber'),
      uncompletedPerClient,
      sendsOverall: limits('sendsOverall'),
      countryCompletion:
        given.countryCompletion === undefined
          ? DEFAULT_BUDGETS.countryCompletion
          : parseCompletion(given.countryCompletion),
      failuresPerNumber: limits('failuresPerNumber'),
      failedChecksPerClient: limits('failedChecksPerClient'),
    },
    uncompletedIpv6:
      given.uncompletedPerClient === undefined ? DEFAULT_UNCOMPLETED_IPV6 : uncompletedPerClient,
    subjectFailures: given.failuresPerNumber === undefined ? DEFAULT_SUBJECT_FAILURES : null,
  };
}

function parseLimits(name: string, value: unknown): Limit[] {
  if (value === null) return [];
  if (!Array.isArray(value)) wrong(`budgets.${name}`, 'must be a list of { points, duration }, or null.');
  const limits = value.map((entry: unknown) => {
    const { points, duration, ...others }: Record<string, unknown> =
      typeof entry === 'object' ? { ...entry } : {};
    for (const key of Object.keys(others)) checkKnown(key, ['points', 'duration'], `budgets.${name}.`);
    if (!isWhole(points, Number.MAX_SAFE_INTEGER))
      wrong(`budgets.${name}`, 'must have whole `points` of 1 or more.');
    return { points, duration: seconds(`budgets.${name}`, duration) };
  });
  // They would share one key, and each request would count twice.
  if (new Set(limits.map(({ duration }) => duration)).size < limits.length) {
    wrong(`budgets.${name}`, 'has two limits of the same `duration`. Keep the stricter one.');
  }
  return limits;
}

function parseCompletion(value: unknown): Budgets['countryCompletion'] {
  if (value === null || (Array.isArray(value) && value.length === 0)) return null;
  if (typeof value !== 'object' || Array.isArray(value))
    wrong('budgets.countryCompletion', 'must be { sends, duration, minimumRatio }, or null.');
  const { sends, duration, minimumRatio, ...others }: Record<string, unknown> = { ...value };
  for (const key of Object.keys(others))
    checkKnown(key, ['sends', 'duration', 'minimumRatio'], 'budgets.countryCompletion.');
  if (!isWhole(sends, Number.MAX_SAFE_INTEGER))
    wrong('budgets.countryCompletion', 'must have whole `sends` of 1 or more.');
  if (typeof minimumRatio !== 'number' || !(minimumRatio >= 0 && minimumRatio <= 1)) {
    wrong('budgets.countryCompletion', 'must have a `minimumRatio` from 0 to 1.');
  }
  return { sends, duration: seconds('budgets.countryCompletion', duration), minimumRatio };
}

function seconds(option: string, duration: unknown): number {
  return isWhole(duration, LONGEST_DURATION)
    ? duration
    : wrong(option, `must have a \`duration\` in whole seconds from 1 to ${LONGEST_DURATION}.`);
}

function isWhole(value: unknown, most: number): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= most;
}

let warnedOfMemory = false;

function checkProcess(hasLimiter: boolean): void {
  if (hasLimiter) return;
  // Imported above, it would cost every start 3 ms.
  if (property(process.getBuiltinModule?.('node:cluster'), 'isWorker') === true) {
    wrong(
      'limiter',
      'is missing. In a cluster every worker would count for itself: give one whose store they share.',
    );
  }
  if (process.env.NODE_ENV === 'production' && !warnedOfMemory) {
    warnedOfMemory = true;
    process.emitWarning(
      'SmsOtpStrategy counts in the memory of this process: a restart forgets the counts. Give the option `limiter`.',
      { code: 'SMS_OTP_MEMORY_LIMITER' },
    );
  }
}
