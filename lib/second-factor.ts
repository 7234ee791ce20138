/** Marks: the notes in a session that its user has proved a PIN, and the guard that asks for them. */

import { fromStore, SmsOtpError } from './errors.js';
import type { Channel } from './otp-client.js';
import {
  detachSession,
  dropSession,
  header,
  isAnswered,
  isSessionUser,
  property,
  type RequestLike,
  signedInAs,
} from './request.js';
import {
  canEnd,
  dropNotes,
  ownEntry,
  requireLiving,
  type SavableSession,
  saveSession,
  setNote,
  settle,
} from './session.js';

/** A proof: when, by which way, and whose. */
export interface Mark {
  /** Milliseconds since 1970. */
  at: number;
  channel: Channel;
  subject?: string;
  /** What Passport's serializer stored for the user who logged in. */
  user: unknown;
}

/** A mark before it is known what the serializer stores. */
export type Proven = Omit<Mark, 'user'>;

/**
 * Writes the mark if, in this request, Passport logs in exactly `user`: into the session that it makes for the login,
 * before it saves it. A login of somebody else, or without a session, leaves none. No challenge survives a login.
 *
 * @param timeoutMs a session store that has not answered Passport by then is down
 */
export function markAtLogin(
  req: RequestLike,
  name: string,
  user: unknown,
  proven: Proven,
  timeoutMs: number,
): void {
  const logIn = property(req, 'logIn');
  if (typeof logIn !== 'function') return;
  const markedLogIn = function (this: unknown, ...args: unknown[]): unknown {
    const [who, options] = args;
    if (who === user && property(options, 'session') !== false) {
      writeOnRegenerate({ req, name, proven, timeoutMs });
    }
    return Reflect.apply(logIn, this, args);
  };
  Reflect.set(req, 'logIn', markedLogIn);
  Reflect.set(req, 'login', markedLogIn);
}

interface Login {
  req: RequestLike;
  name: string;
  proven: Proven;
  timeoutMs: number;
}

// Passport regenerates the session, lets the serializer run, merges the old session over the new one
// (keepSessionInfo) and saves. The mark goes in at the save: nothing comes after it, and no second write is needed.
function writeOnRegenerate(login: Login): void {
  const { req } = login;
  const before = req.session;
  if (typeof before !== 'object' || before === null) return;
  const kept: Kept = {
    marks: ownEntry(ownEntry(before, 'smsOtp'), 'marks'),
    returnTo: localPath(ownEntry(before, 'returnTo')),
  };
  wrapOnce(before, 'regenerate', {}, (callback) =>
    inTime(login, (error) => {
      if (!error) writeOnSave(login, kept);
      callback(error);
    }),
  );
}

// What goes over into the session of the login: the way back, and the same user's other marks.
interface Kept {
  marks: unknown;
  returnTo: string | undefined;
}

function writeOnSave(login: Login, { marks, returnTo }: Kept): void {
  const { req, name, proven } = login;
  const { session } = req;
  if (typeof session !== 'object' || session === null) return;
  // Before Passport has written its user, it is the host who saves: its serializer, or a limit of its own.
  const occasion = { isDue: () => signedInAs(req) !== undefined, isTooLate: () => isAnswered(req) };
  wrapOnce(session, 'save', occasion, (callback) => {
    dropNotes(session, 'challenges');
    dropNotes(session, 'marks');
    for (const [other, mark] of Object.entries(typeof marks === 'object' && marks !== null ? marks : {})) {
      if (belongsTo(mark, signedInAs(req))) setNote(session, 'marks', other, mark);
    }
    writeMark(req, session, name, proven);
    if (returnTo !== undefined && !Object.hasOwn(session, 'returnTo')) {
      Reflect.set(session, 'returnTo', returnTo);
    }
    return inTime(login, callback);
  });
}

type Callback = (error?: unknown) => void;

const TOO_LATE = 'The request had been answered before the login was done';

/** A guard has no options for these: the strategy's defaults. */
const GUARD_STORE_TIMEOUT_MS = 3000;
const GUARD_HOST_TIMEOUT_MS = 30_000;

/** Which call of a method is meant, and whether it is answered without being made. */
interface Occasion {
  isDue?: () => boolean;
  isTooLate?: () => boolean;
}

// The next call of a session's method gets another callback. Not enumerable, so that neither the merge of
// keepSessionInfo nor a session's own hashing sees it.
function wrapOnce(
  session: object,
  method: string,
  { isDue = () => true, isTooLate = () => false }: Occasion,
  wrap: (callback: Callback) => Callback,
): void {
  const original = property(session, method);
  if (typeof original !== 'function') return;
  // express-session has put a method of its own there that must come back.
  const own = Object.getOwnPropertyDescriptor(session, method);
  const value = (callback: Callback = () => undefined, ...rest: unknown[]): unknown => {
    if (!isDue()) return Reflect.apply(original, session, [callback, ...rest]);
    if (own) Object.defineProperty(session, method, own);
    else Reflect.deleteProperty(session, method);
    const answer = wrap(callback);
    let hasAnswer = false;
    const answered: Callback = (error) => {
      hasAnswer = true;
      answer(error);
    };
    if (isTooLate()) return answered();
    try {
      return Reflect.apply(original, session, [answered]);
    } catch (thrown) {
      // A store that throws where it should answer would end the process: Passport calls this in another callback.
      if (hasAnswer) throw thrown;
      return answered(thrown);
    }
  };
  Object.defineProperty(session, method, { value, configurable: true, enumerable: false, writable: true });
}

// Passport waits for a store for ever. When it is late, the session is taken off the request: no cookie of a login
// that was answered with an error may get out.
function inTime({ req, timeoutMs }: Login, callback: Callback): Callback {
  const timer = setTimeout(() => {
    dropSession(req);
    end(new SmsOtpError('ERR_SMS_OTP_STORE', `The session store has not answered after ${timeoutMs} ms`));
  }, timeoutMs);
  let isOver = false;
  const end: Callback = (error) => {
    if (isOver) return;
    isOver = true;
    clearTimeout(timer);
    // Passport would redirect a request that the host has answered meanwhile, and what that throws would end the process.
    const failure = error || (isAnswered(req) ? new SmsOtpError('ERR_SMS_OTP_HOST', TOO_LATE) : undefined);
    // Nor may a login get out that was answered with an error, by the save at the end of the request.
    if (failure) detachSession(req);
    callback(failure);
  };
  return end;
}

function writeMark(req: RequestLike, session: object, name: string, proven: Proven): void {
  const user = signedInAs(req);
  if (user !== undefined)
    setNote(session, 'marks', name, { ...proven, user: JSON.parse(user) } satisfies Mark);
}

/** Writes the mark into the session as it is, for a user who is signed in and stays so, and saves it. */
export async function markNow(
  req: RequestLike,
  session: SavableSession,
  name: string,
  proven: Proven,
): Promise<void> {
  await saveSession(req, session, () => writeMark(req, session, name, proven));
}

function belongsTo(mark: unknown, user: string | undefined): boolean {
  return user !== undefined && JSON.stringify(ownEntry(mark, 'user')) === user;
}

/**
 * Signs the session out, keeps the host's data and gives it a new id: between two factors nobody is signed in. The
 * marks of whoever was signed in go too.
 *
 * @param timeoutMs a session store that has not answered by then is down
 */
export async function signOut(req: RequestLike, timeoutMs: number): Promise<void> {
  const { session } = req;
  // Challenges may be kept elsewhere, and nobody is signed in where there is no session.
  if (typeof session !== 'object' || session === null) return;
  dropNotes(session, 'marks');
  const logOut = property(req, 'logOut');
  if (typeof logOut !== 'function') return;
  // Once the session is gone from the request, taken off by the host or because the store was late, Passport must not go
  // on: what it throws in the store's callback would end the process.
  const unlessGone = (callback: Callback) => (error?: unknown) => {
    if (req.session) callback(error);
  };
  wrapOnce(session, 'save', {}, unlessGone);
  wrapOnce(session, 'regenerate', {}, unlessGone);
  const done = settle((callback) => Reflect.apply(logOut, req, [{ keepSessionInfo: true }, callback]));
  await fromStore(done, timeoutMs);
}

/** Options of {@link requireSmsOtp}. */
export interface RequireSmsOtpOptions {
  /** The strategy whose proof counts. Default: 'sms-otp'. */
  name?: string;
  /** How old the proof may be, in seconds. Default: as old as the login. */
  maxAgeSeconds?: number;
  /** The ways of proof that count. Default: SMS and voice; e-mail proves an address and not a phone. */
  channels?: readonly Channel[];
  /** Where a page (GET that accepts HTML) sends the visitor to prove a PIN; the way back is `session.returnTo`. */
  redirectTo?: string;
}

/** The error for everything that cannot be redirected. */
export class SmsOtpRequiredError extends Error {
  readonly status = 403;
  readonly code = 'sms_otp_required';
  /** The name of the strategy whose proof is missing. */
  override readonly name: string;
  readonly maxAgeSeconds: number | undefined;

  constructor(name: string, maxAgeSeconds: number | undefined) {
    super('This needs a PIN that was proved a short while ago');
    this.name = name;
    this.maxAgeSeconds = maxAgeSeconds;
  }
}

/** The response, as far as the guard needs it. */
export interface ResponseLike {
  redirect(status: number, url: string): unknown;
}

/** A middleware in Connect's form. */
export type Guard = (req: RequestLike, res: ResponseLike, next: (error?: unknown) => void) => void;

/**
 * Lets a request pass only when somebody is signed in and has proved a PIN in this session, recently enough.
 *
 * @throws TypeError for an option that is misspelt or wrong
 */
export function requireSmsOtp(options: RequireSmsOtpOptions = {}): Guard {
  const { name = 'sms-otp', maxAgeSeconds, channels = ['sms', 'voice'], redirectTo } = options;
  checkGuardOptions(options);
  return function requireSmsOtpGuard(req, res, next) {
    let isDecided = false;
    const decide = (act: () => void): void => {
      if (isDecided) return;
      isDecided = true;
      clearTimeout(timer);
      act();
    };
    let timer: NodeJS.Timeout | undefined;
    isSessionUser(req, (isTheirs) => {
      const passes = isTheirs && isProven(req, name, channels, maxAgeSeconds);
      decide(() => (passes ? next() : refuse(req, res, next)));
    });
    if (isDecided) return;
    const late = new SmsOtpError('ERR_SMS_OTP_HOST', "Passport's serializer has not answered");
    timer = setTimeout(() => decide(() => next(late)), GUARD_HOST_TIMEOUT_MS);
  };

  function refuse(req: RequestLike, res: ResponseLike, next: (error?: unknown) => void): void {
    if (redirectTo === undefined || !isPageView(req)) {
      next(new SmsOtpRequiredError(name, maxAgeSeconds));
      return;
    }
    const path = localPath(property(req, 'originalUrl') ?? property(req, 'url'));
    const redirect = (): void => {
      if (path !== undefined && typeof req.session === 'object' && req.session !== null) {
        Reflect.set(req.session, 'returnTo', path);
      }
      res.redirect(303, redirectTo);
    };
    if (!canEnd(req)) {
      redirect();
      return;
    }
    // Since the session was read its user may have signed out: then nothing is written to it.
    fromStore(requireLiving(req), GUARD_STORE_TIMEOUT_MS)
      .catch(() => dropSession(req))
      .then(redirect)
      .catch(next);
  }
}

function checkGuardOptions(options: RequireSmsOtpOptions): void {
  const known = ['name', 'maxAgeSeconds', 'channels', 'redirectTo'];
  for (const key of Object.keys(options)) {
    if (!known.includes(key)) {
      throw new TypeError(`requireSmsOtp: there is no option '${key}'. Known options: ${known.join(', ')}.`);
    }
  }
  const { name, maxAgeSeconds, channels, redirectTo } = options;
  if (name !== undefined && (typeof name !== 'string' || name === '')) {
    throw new TypeError('requireSmsOtp: the option `name` must be the name of a strategy.');
  }
  if (maxAgeSeconds !== undefined && !(Number.isFinite(maxAgeSeconds) && maxAgeSeconds > 0)) {
    throw new TypeError('requireSmsOtp: the option `maxAgeSeconds` must be a number of seconds above 0.');
  }
  if (channels !== undefined) {
    const valid = Array.isArray(channels) && channels.length > 0;
    if (!valid || !channels.every((channel) => ['sms', 'voice', 'email'].includes(channel))) {
      throw new TypeError(
        "requireSmsOtp: the option `channels` must be a list of 'sms', 'voice' and 'email'.",
      );
    }
  }
  if (redirectTo !== undefined && (typeof redirectTo !== 'string' || redirectTo === '')) {
    throw new TypeError('requireSmsOtp: the option `redirectTo` must be an address.');
  }
}

function isProven(
  req: RequestLike,
  name: string,
  channels: readonly Channel[],
  maxAgeSeconds = Number.POSITIVE_INFINITY,
): boolean {
  const mark = ownEntry(ownEntry(ownEntry(req.session, 'smsOtp'), 'marks'), name);
  const at = ownEntry(mark, 'at');
  const channel = ownEntry(mark, 'channel');
  if (typeof at !== 'number' || !belongsTo(mark, signedInAs(req))) return false;
  const age = Date.now() - at;
  return channels.some((allowed) => allowed === channel) && age >= 0 && age <= maxAgeSeconds * 1000;
}

function isPageView(req: RequestLike): boolean {
  if (req.method !== 'GET') return false;
  const accepts = property(req, 'accepts');
  if (typeof accepts === 'function') return Reflect.apply(accepts, req, [['html', 'json']]) === 'html';
  return header(req, 'accept')?.includes('text/html') === true;
}

// A path of this site and nothing that a browser would read as another one.
function localPath(url: unknown): string | undefined {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: browsers drop tabs and line ends out of URLs, so "/\t/evil" is another site
  const isLocal = typeof url === 'string' && /^\/(?![/\\])[^\u0000-\u001f\u007f]*$/u.test(url);
  return isLocal ? url : undefined;
}
