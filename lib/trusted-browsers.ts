/** Trusted browsers: a user who proved the second factor in a browser, and asked for it, skips it there for a while. */

import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { fromStore, SmsOtpError, settled } from './errors.js';
import type { Awaitable } from './options.js';
import type { Channel } from './otp-client.js';
import { header, property, type RequestLike, signedInAs } from './request.js';
import { requireSmsOtp } from './second-factor.js';
import { ownEntry } from './session.js';

/** What a store keeps of one browser. Plain data; times are milliseconds since 1970. No cookie can be made from it. */
export interface TrustedBrowserRecord {
  /** 128 random bits, the same as long as the record lives. */
  id: string;
  /** The host's user id. */
  subject: string;
  /** SHA-256 of the value in the cookie that counts. */
  current: string;
  /** SHA-256 of the value that the last use replaced; null before the first use. */
  previous: string | null;
  /** What the browser called itself when it was remembered. Comes from the visitor: escape it on a page. */
  label: string;
  createdAt: number;
  /** When `current` was set: at first, and at each use. */
  usedAt: number;
  expiresAt: number;
}

/**
 * Where the records are kept. What a call resolved is there for the next call of any process. Records whose
 * `expiresAt` is over may be forgotten at any time.
 */
export interface TrustedBrowserStore {
  add(record: TrustedBrowserRecord): Awaitable<void>;
  get(id: string): Awaitable<TrustedBrowserRecord | undefined>;
  /**
   * Only while `current` is still `from`: sets `previous` to `from`, `current` to `to`, `usedAt` to `at`, in one atomic
   * step. Of many calls with one `from` exactly one resolves to true.
   */
  rotate(id: string, from: string, to: string, at: number): Awaitable<boolean>;
  /** All records of a user, in any order. */
  list(subject: string): Awaitable<TrustedBrowserRecord[]>;
  /** Removes the record if it is this user's. True where there was one. */
  remove(subject: string, id: string): Awaitable<boolean>;
  removeAll(subject: string): Awaitable<void>;
}

/** Why a cookie that a browser brought did not count. */
export type TrustedBrowserRefusal =
  /** Somebody is signed in: a trusted browser shortens a login, and no step-up. */
  | 'signed_in'
  /** Not made by us, or with another `secret`, or for another user. */
  | 'forged'
  /** Revoked, or forgotten by the store. */
  | 'unknown'
  | 'expired'
  /** A copy from before a use: two browsers have the cookie, and one of them may be a thief's. The record is gone. */
  | 'copied';

/** For audit, and for a message to the user (`copied`). */
export type TrustedBrowserEvent = { at: number; subject: string } & (
  | { type: 'browser.remembered' | 'browser.trusted'; id: string; label: string }
  | { type: 'browser.refused'; reason: TrustedBrowserRefusal }
);

/** Options of {@link trustedBrowsers}. */
export interface TrustedBrowsersOptions {
  store: TrustedBrowserStore;
  /** Signs the cookies; 32 characters or more, the same in all processes. A new one forgets all browsers. */
  secret: string;
  /** For how many days after the PIN a browser is trusted, 1 to 90; using it does not make it longer. @default 30 */
  days?: number;
  /** The strategy whose proof lets a browser be remembered. @default 'sms-otp' */
  name?: string;
  /** The ways of proof that do. @default SMS and voice */
  channels?: readonly Channel[];
  /**
   * Whether the cookie is for https only, and is called `__Host-...`.
   * @default as the request came, which behind a proxy takes the framework's `trust proxy`
   */
  secure?: boolean;
  /** A store that has not answered after so many milliseconds is down. @default 3000 */
  storeTimeoutMs?: number;
  /** What it throws is ignored. */
  onEvent?: (event: TrustedBrowserEvent) => unknown;
}

/** A response, as far as cookies go. */
export interface CookieResponse {
  getHeader(name: string): unknown;
  setHeader(name: string, value: readonly string[]): unknown;
}

/** A browser as its user may see it. */
export interface TrustedBrowser {
  id: string;
  /** What the browser called itself. Comes from the visitor: escape it on a page. */
  label: string;
  createdAt: Date;
  usedAt: Date;
  expiresAt: Date;
  /** Whether it is the one that sent the request. */
  isThisOne: boolean;
}

/** What {@link trustedBrowsers} returns. Every method rejects with an `SmsOtpError` when the store is down. */
export interface TrustedBrowsers {
  /**
   * Whether this browser may skip the second factor of this user: ask it after the password, before the PIN is issued.
   * A yes gives the browser a new cookie. Always false while somebody is signed in, so that it never stands in for a
   * step-up (and never helps where the password came without `session: false`).
   *
   * @param subject the user id, as `recipient` gives it
   */
  isTrusted(req: RequestLike, res: CookieResponse, subject: string): Promise<boolean>;
  /**
   * Trusts this browser from now on: call it when the user has asked for it, after the login by PIN, in the same
   * request or a few minutes later. A user has 20 at the most: the one that was used longest ago makes room.
   *
   * @param details.label what the list of browsers shows; default: the header `User-Agent`
   * @returns false where the proof does not count: by e-mail, or older than ten minutes
   * @throws SmsOtpError when the session has no proof of this user at all
   */
  remember(
    req: RequestLike,
    res: CookieResponse,
    subject: string,
    details?: { label?: string },
  ): Promise<boolean>;
  /** The user's trusted browsers, the last used first. */
  list(req: RequestLike, subject: string): Promise<TrustedBrowser[]>;
  /** Ends the trust in one browser. False where it is not one of this user's. */
  revoke(subject: string, id: string): Promise<boolean>;
  /** Ends the trust in all: after a new password, a new number, a lost phone. */
  revokeAll(subject: string): Promise<void>;
}

const DAY_MS = 86_400_000;
/** Two tabs may send the same cookie at once: so long the value from before the last use counts too. */
const GRACE_MS = 30_000;
/** So old may a proof be when its browser is remembered: the question may stand on a page of its own. */
const PROOF_SECONDS = 600;
const LONGEST_LABEL = 200;
/** One proof must not fill the store: beyond so many of one user the one that was used longest ago makes room. */
const MOST_OF_ONE_USER = 20;
const COOKIE_VALUE = /^([\w-]{22})\.([\w-]{22})\.([\w-]{43})$/;

/**
 * Lets users skip the second factor in browsers where they proved it and asked to be remembered.
 *
 * The cookie holds a random value that is replaced at each use; the server keeps its hash, bound to the user. A copy
 * from before a use ends the trust for both holders. It says nothing about who is signed in and leaves no mark:
 * {@link requireSmsOtp} asks for a PIN all the same.
 *
 * @throws TypeError for an option that is missing, misspelt or wrong
 */
export function trustedBrowsers(options: TrustedBrowsersOptions): TrustedBrowsers {
  const { store, secret, name, days, channels, secure, storeTimeoutMs, onEvent } = parse(options);
  const proofGuard = requireSmsOtp({ name, channels, maxAgeSeconds: PROOF_SECONDS });

  return { isTrusted, remember, list, revoke, revokeAll };

  async function isTrusted(req: RequestLike, res: CookieResponse, subject: string): Promise<boolean> {
    requireSubject(subject);
    const cookie = cookieOf(req, subject);
    if (cookie === undefined) return false;
    if (signedInAs(req) !== undefined) return refuse(subject, 'signed_in');
    const claim = open(cookie, subject);
    const judged = claim ? await judge(claim, subject) : 'forged';
    if (typeof judged === 'string') {
      setCookie(req, res, subject, '', 0);
      return refuse(subject, judged);
    }
    const { record, next } = judged;
    if (next !== undefined) setCookie(req, res, subject, seal(record.id, subject, next), record.expiresAt);
    emit({ type: 'browser.trusted', at: Date.now(), subject, id: record.id, label: record.label });
    return true;
  }

  /** Why a genuine cookie does not count, or the record and, where this use has replaced the value, the next one. */
  async function judge(
    { id, value }: Claim,
    subject: string,
  ): Promise<TrustedBrowserRefusal | { record: TrustedBrowserRecord; next?: string }> {
    const now = Date.now();
    const shown = digest(value);
    const record = await find(id, subject);
    if (record === undefined) return 'unknown';
    if (now >= record.expiresAt) {
      await ask(() => store.remove(subject, id));
      return 'expired';
    }
    const next = randomText();
    if (record.current === shown && (await ask(() => store.rotate(id, shown, digest(next), now))) === true) {
      return { record, next };
    }
    // Not the value that counts, or another tab was faster with it: then it is the previous one by now.
    const after = record.current === shown ? await find(id, subject) : record;
    if (after === undefined) return 'unknown';
    if (after.previous === shown && Math.abs(now - after.usedAt) <= GRACE_MS) return { record: after };
    await ask(() => store.remove(subject, id));
    return 'copied';
  }

  async function remember(
    req: RequestLike,
    res: CookieResponse,
    subject: string,
    { label = header(req, 'user-agent') ?? '' }: { label?: string } = {},
  ): Promise<boolean> {
    requireSubject(subject);
    if (!(await isProven(req, subject))) return false;
    const before = claimOf(req, subject);
    if (before) await ask(() => store.remove(subject, before.id));
    const now = Date.now();
    const value = randomText();
    const record: TrustedBrowserRecord = {
      id: randomText(),
      subject,
      current: digest(value),
      previous: null,
      // A copy: a part of a header would keep all of it in memory.
      label: Buffer.from(label.slice(0, LONGEST_LABEL)).toString(),
      createdAt: now,
      usedAt: now,
      expiresAt: now + days * DAY_MS,
    };
    // Looked at when it is there: of many at once each would find room before.
    await ask(() => store.add(record));
    const others = (await ask(() => store.list(subject))).filter(({ id }) => id !== record.id);
    const tooMany = others.sort((a, b) => b.usedAt - a.usedAt).slice(MOST_OF_ONE_USER - 1);
    for (const { id } of tooMany) await ask(() => store.remove(subject, id));
    setCookie(req, res, subject, seal(record.id, subject, value), record.expiresAt);
    emit({ type: 'browser.remembered', at: now, subject, id: record.id, label: record.label });
    return true;
  }

  // Without a mark the host calls at the wrong place, or a trusted browser would prolong its own trust for ever.
  async function isProven(req: RequestLike, subject: string): Promise<boolean> {
    const mark = ownEntry(ownEntry(ownEntry(req.session, 'smsOtp'), 'marks'), name);
    if (ownEntry(mark, 'subject') !== subject) {
      throw new SmsOtpError(
        'ERR_SMS_OTP_CONFIGURATION',
        `trustedBrowsers: this session has no PIN that this user proved under the name '${name}'. Call \`remember\` after the login by PIN, with the user id that \`recipient\` gives, and name the strategy by \`name\`.`,
      );
    }
    return new Promise((resolve) => {
      proofGuard(req, { redirect: () => resolve(false) }, (refusal) => resolve(refusal === undefined));
    });
  }

  async function list(req: RequestLike, subject: string): Promise<TrustedBrowser[]> {
    requireSubject(subject);
    const records = await ask(() => store.list(subject));
    const own = claimOf(req, subject)?.id;
    const now = Date.now();
    return records
      .filter((record) => record.subject === subject && now < record.expiresAt)
      .sort((a, b) => b.usedAt - a.usedAt)
      .map(({ id, label, createdAt, usedAt, expiresAt }) => ({
        id,
        label,
        createdAt: new Date(createdAt),
        usedAt: new Date(usedAt),
        expiresAt: new Date(expiresAt),
        isThisOne: id === own,
      }));
  }

  async function revoke(subject: string, id: string): Promise<boolean> {
    requireSubject(subject);
    // The id comes from a form.
    return typeof id === 'string' && (await ask(() => store.remove(subject, id)));
  }

  async function revokeAll(subject: string): Promise<void> {
    requireSubject(subject);
    await ask(() => store.removeAll(subject));
  }

  async function find(id: string, subject: string): Promise<TrustedBrowserRecord | undefined> {
    const record = await ask(() => store.get(id));
    return record?.subject === subject ? record : undefined;
  }

  // A store that answers at once fails at once too.
  async function ask<T>(question: () => Awaitable<T>): Promise<T> {
    return fromStore((async () => question())(), storeTimeoutMs);
  }

  function mac(...parts: string[]): Buffer {
    return createHmac('sha256', secret).update(JSON.stringify(parts)).digest();
  }

  // The tag binds the value to the strategy's name and to the user, and tells a copy of a cookie of ours from a text that somebody made up.
  function seal(id: string, subject: string, value: string): string {
    return `${id}.${value}.${mac('trusted-browser', name, id, subject, value).toString('base64url')}`;
  }

  function open(cookie: string, subject: string): Claim | undefined {
    const [, id = '', value = '', tag = ''] = COOKIE_VALUE.exec(cookie) ?? [];
    const given = Buffer.from(tag, 'base64url');
    const due = mac('trusted-browser', name, id, subject, value);
    return given.length === due.length && timingSafeEqual(given, due) ? { id, value } : undefined;
  }

  function claimOf(req: RequestLike, subject: string): Claim | undefined {
    const cookie = cookieOf(req, subject);
    return cookie === undefined ? undefined : open(cookie, subject);
  }

  // A cookie for each user: two who share a browser do not push each other out, and the name tells nothing of them.
  function cookieName(req: RequestLike, subject: string): string {
    const user = mac('trusted-browser-name', name, subject).toString('base64url').slice(0, 11);
    return `${isSecure(req) ? '__Host-' : ''}trusted-browser-${user}`;
  }

  function isSecure(req: RequestLike): boolean {
    return secure ?? (req.protocol === 'https' || property(property(req, 'socket'), 'encrypted') === true);
  }

  function cookieOf(req: RequestLike, subject: string): string | undefined {
    const start = `${cookieName(req, subject)}=`;
    const pairs = header(req, 'cookie')?.split(/;\s*/u) ?? [];
    return pairs.find((pair) => pair.startsWith(start))?.slice(start.length);
  }

  // Lax and not Strict: a first factor at another site (OpenID Connect) comes back by a link from there.
  function setCookie(
    req: RequestLike,
    res: CookieResponse,
    subject: string,
    value: string,
    expiresAt: number,
  ): void {
    const cookie = [
      `${cookieName(req, subject)}=${value}`,
      'Path=/',
      `Max-Age=${Math.max(0, Math.ceil((expiresAt - Date.now()) / 1000))}`,
      'HttpOnly',
      'SameSite=Lax',
      ...(isSecure(req) ? ['Secure'] : []),
    ].join('; ');
    const others = [res.getHeader('Set-Cookie') ?? []].flat().map(String);
    res.setHeader('Set-Cookie', [...others, cookie]);
  }

  function refuse(subject: string, reason: TrustedBrowserRefusal): false {
    emit({ type: 'browser.refused', at: Date.now(), subject, reason });
    return false;
  }

  function emit(event: TrustedBrowserEvent): void {
    try {
      settled(onEvent?.(event));
    } catch {
      // An audit log that fails must not decide over a login.
    }
  }
}

/** A cookie whose tag is ours. */
interface Claim {
  id: string;
  value: string;
}

function randomText(): string {
  return randomBytes(16).toString('base64url');
}

function digest(value: string): string {
  return createHash('sha256').update(value).digest('base64url');
}

function requireSubject(subject: unknown): asserts subject is string {
  if (typeof subject === 'string' && subject !== '') return;
  throw new TypeError('trustedBrowsers: the user id must be a string that is not empty: String(user.id).');
}

const STORE_METHODS = ['add', 'get', 'rotate', 'list', 'remove', 'removeAll'];
const KNOWN: Record<keyof TrustedBrowsersOptions, true> = {
  store: true,
  secret: true,
  days: true,
  name: true,
  channels: true,
  secure: true,
  storeTimeoutMs: true,
  onEvent: true,
};

function parse(options: TrustedBrowsersOptions) {
  const wrong = (option: string, problem: string): never => {
    throw new TypeError(`trustedBrowsers: the option \`${option}\` ${problem}`);
  };
  for (const key of Object.keys(options)) {
    if (!Object.hasOwn(KNOWN, key)) {
      throw new TypeError(
        `trustedBrowsers: there is no option \`${key}\`. Known: ${Object.keys(KNOWN).join(', ')}.`,
      );
    }
  }
  const { store, secret, secure, onEvent } = options;
  const { days = 30, name = 'sms-otp', channels = ['sms', 'voice'], storeTimeoutMs = 3000 } = options;
  const missing = STORE_METHODS.find((method) => typeof property(store, method) !== 'function');
  if (missing !== undefined) {
    wrong(
      'store',
      `needs the method ${missing}. Give memoryTrustedBrowsers(), or sqliteTrustedBrowsers(db).`,
    );
  }
  if (typeof secret !== 'string' || secret.length < 32) {
    wrong('secret', 'must be a text of 32 characters or more: it signs the cookies.');
  }
  if (!Number.isInteger(days) || days < 1 || days > 90) {
    wrong('days', 'must be a whole number from 1 to 90.');
  }
  if (secure !== undefined && typeof secure !== 'boolean') wrong('secure', 'must be true or false.');
  if (!Number.isInteger(storeTimeoutMs) || storeTimeoutMs < 1) {
    wrong('storeTimeoutMs', 'must be a whole number of milliseconds above 0.');
  }
  if (onEvent !== undefined && typeof onEvent !== 'function') wrong('onEvent', 'must be a function.');
  return { store, secret, days, name, channels, secure, storeTimeoutMs, onEvent };
}
