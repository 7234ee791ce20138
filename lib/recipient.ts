/** Who gets the PIN: the number that was typed, or the recipient that the host knows, judged by the same rules. */

import type { Challenge } from './challenge.js';
import { fromHost, fromOption, SmsOtpError, settled } from './errors.js';
import type { CountryCode } from './numbering.js';
import type { SendContext, Settings } from './options.js';
import type { Channel } from './otp-client.js';
import { maskedEmail, maskedEnd, type PhoneNumber, readPhoneNumber } from './phone.js';
import { bodyField, isSessionUser, type RequestLike } from './request.js';

/** A recipient that may get a PIN, by at least one channel. A challenge is one, too. */
export interface Target {
  phoneNumber?: string;
  email?: string;
  subject?: string;
  country?: CountryCode;
  maskedPhone?: string;
  maskedEmail?: string;
  channels: Channel[];
  /** The number is a test number of the host's. */
  test?: true;
}

/** Why there is no recipient. */
export type NoTarget =
  | { code: 'phone_missing' | 'phone_invalid' | 'recipient_missing'; details: Record<never, never> }
  | { code: 'phone_not_allowed'; details: { country: CountryCode } };

/** What one strategy knows of recipients. */
export interface Recipients {
  /** Whether the recipient is typed by a visitor of whom nothing is known yet. */
  isTypedByStranger: boolean;
  resolve(req: RequestLike): Promise<Target | NoTarget>;
  /** Whether the one who may go on with this challenge is still the one it was opened for. */
  isStillTheirs(req: RequestLike, challenge: Challenge): Promise<boolean>;
  /** The channels of a challenge that the options still serve: it may be of before a restart with fewer countries. */
  channelsNow(challenge: Challenge): Channel[];
  /** The channels of a first PIN. */
  firstChannels(target: Target): Channel[];
}

/** Whether `resolve` found somebody. */
export function isTarget(found: Target | NoTarget): found is Target {
  return 'channels' in found;
}

/** The address of a channel: the number, or the e-mail address. */
export function addressOf(
  target: { phoneNumber?: string; email?: string },
  channel: Channel,
): string | undefined {
  return channel === 'email' ? target.email : target.phoneNumber;
}

/** Whether a PIN by this channel is a test number's: nothing is sent, and its PIN is a fixed one. */
export function isTest({ test }: { test?: true }, channel: Channel): boolean {
  return test === true && channel !== 'email';
}

/** What the host's callbacks are told about a send. */
export function sendContext(req: RequestLike, target: Target, channel: Channel): SendContext {
  const { phoneNumber, email, subject, country } = target;
  return {
    req,
    channel,
    ...(channel !== 'email' && phoneNumber !== undefined && { phoneNumber }),
    ...(channel !== 'email' && country !== undefined && { country }),
    ...(channel === 'email' && email !== undefined && { email }),
    ...(subject !== undefined && { subject }),
    ...(isTest(target, channel) && { test: true }),
  };
}

const NOBODY: NoTarget = { code: 'recipient_missing', details: {} };

/** The rules of one strategy. */
export function createRecipients(settings: Settings): Recipients {
  const { recipient, subject, signedIn, client, verifyTimeoutMs } = settings;
  return { isTypedByStranger: !recipient && !subject, resolve, isStillTheirs, firstChannels, channelsNow };

  async function resolve(req: RequestLike): Promise<Target | NoTarget> {
    if (signedIn && !(await isSignedIn(req))) return NOBODY;
    if (recipient) return known(await fromOption('recipient', verifyTimeoutMs, () => recipient(req)));
    if (!subject) return typed(req, undefined);
    const user = await fromOption('subject', verifyTimeoutMs, () => subject(req));
    return user === null || user === undefined ? NOBODY : typed(req, requireSubject(user, 'subject'));
  }

  function typed(req: RequestLike, user: string | undefined): Target | NoTarget {
    const number = readNumber(bodyField(req, settings.phoneField));
    if (number === 'missing') return { code: 'phone_missing', details: {} };
    if (number === 'invalid') return { code: 'phone_invalid', details: {} };
    const target: Target = {
      phoneNumber: number.phoneNumber,
      country: number.country,
      maskedPhone: user === undefined ? number.masked : maskedEnd(number.phoneNumber),
      ...(user !== undefined && { subject: user }),
      ...(number.test && { test: true }),
      channels: settings.channels.filter((channel) => isTypeServed(number, channel)),
    };
    const isServed = isCountryServed(number) && firstChannels(target).length > 0;
    return isServed ? target : { code: 'phone_not_allowed', details: { country: number.country } };
  }

  function known(found: unknown): Target | NoTarget {
    if (found === null || found === undefined) return NOBODY;
    const {
      phoneNumber,
      email,
      subject: user,
    }: Record<string, unknown> = typeof found === 'object' ? { ...found } : {};
    const number = readNumber(phoneNumber);
    const phone = typeof number === 'object' && isCountryServed(number) ? number : undefined;
    const address = readEmail(email);
    const target: Target = {
      subject: requireSubject(user, 'recipient'),
      ...(phone && { phoneNumber: phone.phoneNumber, country: phone.country }),
      ...(phone && { maskedPhone: maskedEnd(phone.phoneNumber) }),
      ...(phone?.test && { test: true }),
      ...(address !== undefined && { email: address, maskedEmail: maskedEmail(address) }),
      channels: servedChannels(phone, address !== undefined),
    };
    return firstChannels(target).length > 0 ? target : NOBODY;
  }

  // Only the host's own list makes a test number; nothing that a request says does.
  function readNumber(given: unknown) {
    return readPhoneNumber(
      given,
      settings.defaultCountry,
      (found) => settled(client.isTestNumber?.(found)) === true,
    );
  }

  function isCountryServed(number: PhoneNumber): boolean {
    return number.test || settings.countries === 'all' || settings.countries.has(number.country);
  }

  function isTypeServed(number: PhoneNumber, channel: Channel): boolean {
    if (channel === 'email') return false;
    if (number.test) return true;
    if (number.type === undefined) return false;
    return !settings.blockedNumberTypes[channel].has(number.type);
  }

  function servedChannels(phone: PhoneNumber | undefined, hasEmail: boolean): Channel[] {
    return settings.channels.filter((channel) =>
      channel === 'email' ? hasEmail : phone !== undefined && isTypeServed(phone, channel),
    );
  }

  // A call lands in voicemail, so it is for those whom a message did not reach, unless there is nothing else.
  function firstChannels({ channels }: Target): Channel[] {
    return settings.channels.length === 1 ? channels : channels.filter((channel) => channel !== 'voice');
  }

  function channelsNow({ phoneNumber, channels, test }: Target): Channel[] {
    const number = readNumber(phoneNumber);
    // Of a test number that is none any more the client that knew it sends nothing; another one might.
    const isOther = (phone: PhoneNumber) => (test ? !client.isTestNumber : phone.test);
    const phone =
      typeof number === 'object' && isCountryServed(number) && !isOther(number) ? number : undefined;
    const served = servedChannels(phone, true);
    return channels.filter((channel) => served.includes(channel));
  }

  // With `signedIn` the host says at each step who may go on; another answer than at the issue ends the challenge.
  async function isStillTheirs(req: RequestLike, challenge: Challenge): Promise<boolean> {
    if (!signedIn) return true;
    if (!(await isSignedIn(req))) return false;
    if (subject)
      return (await fromOption('subject', verifyTimeoutMs, () => subject(req))) === challenge.subject;
    const now = await resolve(req);
    return (
      isTarget(now) &&
      now.subject === challenge.subject &&
      now.phoneNumber === challenge.phoneNumber &&
      now.email === challenge.email
    );
  }

  function isSignedIn(req: RequestLike): Promise<boolean> {
    const call = () => new Promise<boolean>((resolve) => isSessionUser(req, resolve));
    return fromHost("Passport's serializer", verifyTimeoutMs, call);
  }

  function requireSubject(user: unknown, option: string): string {
    if (typeof user === 'string' && user !== '') return user;
    const problem = `\`${option}\` must give the subject as a string that is not empty, such as String(user.id)`;
    throw new SmsOtpError('ERR_SMS_OTP_CONFIGURATION', `SmsOtpStrategy '${settings.name}': ${problem}.`);
  }
}

function readEmail(email: unknown): string | undefined {
  const isAddress =
    typeof email === 'string' && email.length <= 254 && /^[^\s@\p{Cc}]+@[^\s@\p{Cc}<>"'&]+$/u.test(email);
  return isAddress ? email : undefined;
}
