/** Test numbers: a few numbers with a fixed PIN and an end date, around any client. Nothing is ever sent for them. */

import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { settled } from './errors.js';
import { isFictional } from './fictional.js';
import { checkKnown, type PinType, parsePin } from './options.js';
import type { OtpClient, PinVerification, ResendPinRequest, SendPinRequest, SentPin } from './otp-client.js';
import { readPhoneNumber } from './phone.js';

/** One test number. Its PIN opens whatever your verify callback lets it open: keep both out of public code. */
export interface TestNumber {
  /** E.164 with its `+`. */
  phoneNumber: string;
  /** The PIN that is always right; a random one, of your template's shape. */
  pin: string;
  /** From this moment on the number is like any other; a date, milliseconds since 1970, or ISO 8601. At most 90 days ahead. */
  until: Date | number | string;
}

/** Options of {@link withTestNumbers}. */
export interface TestNumbersOptions {
  /** Also numbers that may belong to somebody: whoever knows the PIN then logs in as them. @default false */
  allowReal?: boolean;
  /** The shape of the template's PINs, as the strategy has it. @default 6, NUMERIC */
  pin?: { length?: number; type?: PinType };
  /**
   * Signs the PIN ids, 32 characters or more. With several processes it must be the same in all, or a PIN asked for in
   * one has expired in the others. @default random per process
   */
  secret?: string;
  /** Called at each use. What it throws is ignored. The strategy tells its own `onEvent` of each use, too. */
  onEvent?: (event: TestNumberEvent) => unknown;
}

/** A test number was used. */
export interface TestNumberEvent {
  type: 'test_number.used';
  /** Milliseconds since 1970. */
  at: number;
  operation: 'send' | 'resend' | 'check';
  /** The number, masked. */
  recipient: string;
}

const OWNER = 'withTestNumbers';
const MOST_NUMBERS = 10;
const LONGEST_DAYS = 90;
const DAY_MS = 86_400_000;
// As long as a PIN may live at the strategy at most.
const PIN_TTL_MS = 600_000;
const SHORTEST_SECRET = 32;
const OPTIONS: Record<keyof TestNumbersOptions, true> = {
  allowReal: true,
  pin: true,
  secret: true,
  onEvent: true,
};
const ENTRIES: Record<keyof TestNumber, true> = { phoneNumber: true, pin: true, until: true };

interface Entry {
  phoneNumber: string;
  masked: string;
  pin: string;
  until: number;
}

/**
 * A client that answers for a few test numbers itself and leaves all others to `client`: for the people who review an
 * app in a store, and for staging.
 *
 * Take numbers that are kept for fiction, such as `+447700900123` or `+12025550123`; no number of a visitor ever
 * becomes a test number. The strategy serves them whatever its `countries` say, counts their attempts, failures and
 * sends per number and client like any other's, and tells the verify callback by `proof.test`.
 *
 * @param client the client for all other numbers
 * @param numbers at most ten
 * @throws TypeError for a number, PIN, date or option that is not as described
 */
export function withTestNumbers(
  client: OtpClient,
  numbers: readonly TestNumber[],
  options: TestNumbersOptions = {},
): OtpClient {
  if (typeof client?.sendPin !== 'function')
    stop('the first argument must be a client, such as an Infobip2faClient.');
  if (client.isTestNumber !== undefined) stop('the client has test numbers already. Give one list of them.');
  for (const key of Object.keys(options)) checkKnown(key, Object.keys(OPTIONS), '', OWNER);
  const { onEvent } = options;
  const secret = readSecret(options.secret);
  const entries = readNumbers(numbers, options);
  const mac = (text: string) => createHmac('sha256', secret).update(text);

  const isLive = (entry: Entry) => Date.now() < entry.until;
  const liveEntry = (phoneNumber: string) => {
    const entry = entries.get(phoneNumber);
    return entry && isLive(entry) ? entry : undefined;
  };

  // The id says nothing of the number and yet belongs to it alone: it is signed together with the number.
  function newPinId({ phoneNumber }: Entry): string {
    const body = randomBytes(16).toString('hex') + Date.now().toString(16).padStart(12, '0');
    return `test_${body}_${mac(`${body} ${phoneNumber}`).digest('hex')}`;
  }

  /** The number that a PIN id was made for; null for an id of the service's. */
  function entryOf(pinId: string): Entry | 'over' | null {
    const [, body, signature] = PIN_ID.exec(pinId) ?? [];
    if (body === undefined || signature === undefined) return null;
    const found = [...entries.values()].find((entry) =>
      isSame(mac(`${body} ${entry.phoneNumber}`).digest(), Buffer.from(signature, 'hex')),
    );
    const age = Date.now() - Number.parseInt(body.slice(32), 16);
    return found && isLive(found) && age >= 0 && age < PIN_TTL_MS ? found : 'over';
  }

  function tell(operation: TestNumberEvent['operation'], { masked }: Entry): void {
    try {
      settled(onEvent?.({ type: 'test_number.used', at: Date.now(), operation, recipient: masked }));
    } catch {
      // An audit log that fails must not decide over a login.
    }
  }

  return {
    async sendPin(request: SendPinRequest): Promise<SentPin> {
      const entry = request.channel === 'email' ? undefined : liveEntry(request.to);
      if (entry) {
        tell('send', entry);
        return { pinId: newPinId(entry), sent: true, test: true };
      }
      // Its time ran out since the strategy asked: it was judged and counted as one that costs nothing.
      return request.test ? { pinId: '', sent: false } : client.sendPin(request);
    },
    async resendPin(pinId: string, request?: ResendPinRequest): Promise<SentPin> {
      const entry = entryOf(pinId);
      if (entry === null) return client.resendPin(pinId, request);
      if (entry === 'over') return { pinId, sent: false };
      tell('resend', entry);
      return { pinId, sent: true, test: true };
    },
    async verifyPin(pinId: string, pin: string): Promise<PinVerification> {
      const entry = entryOf(pinId);
      if (entry === null) return client.verifyPin(pinId, pin);
      if (entry === 'over') return { verified: false, pinId, reason: 'expired' };
      tell('check', entry);
      return isSame(mac(pin).digest(), mac(entry.pin).digest())
        ? { verified: true, pinId, msisdn: entry.phoneNumber.slice(1) }
        : { verified: false, pinId, reason: 'wrong_pin' };
    },
    isTestNumber: (phoneNumber) => liveEntry(phoneNumber) !== undefined,
  };
}

const PIN_ID = /^test_([0-9a-f]{44})_([0-9a-f]{64})$/;

function isSame(a: Buffer, b: Buffer): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}

function stop(problem: string): never {
  throw new TypeError(`${OWNER}: ${problem}`);
}

function readSecret(secret: unknown): string | Buffer {
  if (secret === undefined) return randomBytes(32);
  if (typeof secret !== 'string' || secret.length < SHORTEST_SECRET) {
    stop(`the option \`secret\` must be a string of ${SHORTEST_SECRET} characters or more.`);
  }
  return secret;
}

function readNumbers(
  numbers: readonly TestNumber[],
  { allowReal = false, pin }: TestNumbersOptions,
): Map<string, Entry> {
  if (!Array.isArray(numbers)) stop('the second argument must be a list of { phoneNumber, pin, until }.');
  if (numbers.length > MOST_NUMBERS) stop(`${numbers.length} numbers are too many: ${MOST_NUMBERS} at most.`);
  const shape = parsePin(pin, OWNER);
  const entries = new Map<string, Entry>();
  for (const [index, number] of numbers.entries()) {
    const entry = readEntry(number, `number ${index + 1}`, shape, allowReal === true);
    if (entries.has(entry.phoneNumber)) stop(`${entry.masked} is in the list twice.`);
    entries.set(entry.phoneNumber, entry);
  }
  return entries;
}

function readEntry(given: unknown, which: string, shape: RegExp, allowReal: boolean): Entry {
  if (typeof given !== 'object' || given === null) stop(`${which} is no object { phoneNumber, pin, until }.`);
  const entry: Record<string, unknown> = { ...given };
  for (const key of Object.keys(entry)) checkKnown(key, Object.keys(ENTRIES), `${which}.`, OWNER);
  const { phoneNumber, pin, until } = entry;
  const read = readPhoneNumber(phoneNumber, undefined, () => true);
  if (typeof read === 'string' || read.phoneNumber !== phoneNumber) {
    stop(`${which} has no phone number in E.164, such as '+447700900123'.`);
  }
  if (!allowReal && !isFictional(phoneNumber)) {
    stop(
      `${which}, ${read.masked}, is not among the numbers kept for fiction and may belong to somebody. ` +
        "Take one such as '+447700900123', or set `allowReal`.",
    );
  }
  // The PIN itself is in no message: what is thrown here ends up in a log.
  if (typeof pin !== 'string' || !shape.test(pin)) {
    stop(`${which} has a PIN that is not of the template's shape; the option \`pin\` says which that is.`);
  }
  const end = readDate(until);
  if (end === undefined) stop(`${which} has no end date: \`until\` must be a date.`);
  if (end > Date.now() + LONGEST_DAYS * DAY_MS) {
    stop(
      `${which} ends more than ${LONGEST_DAYS} days from now. Take an earlier \`until\`, and renew it then.`,
    );
  }
  return { phoneNumber, masked: read.masked, pin, until: end };
}

function readDate(value: unknown): number | undefined {
  const isDate = value instanceof Date || typeof value === 'number' || typeof value === 'string';
  const time = isDate ? new Date(value).getTime() : Number.NaN;
  return Number.isFinite(time) ? time : undefined;
}
