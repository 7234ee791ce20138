/** Marks: the notes in a session that its user has proved a PIN, and how Passport is brought to write and drop them. */

import { endedSessions } from './ended.js';
import { alreadyAnswered, asError, endedDuringLogin, fromStore, SmsOtpError } from './errors.js';
import type { Channel } from './otp-client.js';
import {
  attachSession,
  detachSession,
  emptySession,
  isAnswered,
  isDetached,
  isObject,
  localPath,
  property,
  type RequestLike,
  sessionIdOf,
  signedInAs,
  userProperty,
} from './request.js';
import { dropNotes, ownEntry, type SavableSession, saveSession, setNote, settle } from './session.js';

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
 * @param timeouts in milliseconds: a session store that has not answered Passport by then is down, and so is a serializer
 */
export function markAtLogin(
  req: RequestLike,
  name: string,
  user: unknown,
  proven: Proven,
  timeouts: Timeouts,
): void {
  const logIn = property(req, 'logIn');
  if (typeof logIn !== 'function') return;
  // From now on: the host may do something else before it logs in.
  const isEnded = watchEnd(req);
  const markedLogIn = function (this: unknown, ...args: unknown[]): unknown {
    const [who, options] = args;
    const done = args.at(-1);
    if (who === user && property(options, 'session') !== false && typeof done === 'function') {
      limitSerializer(req, timeouts.verifyTimeoutMs, done as Callback);
      writeOnRegenerate({ req, name, proven, timeoutMs: timeouts.storeTimeoutMs, isEnded });
    }
    return Reflect.apply(logIn, this, args);
  };
  Reflect.set(req, 'logIn', markedLogIn);
  Reflect.set(req, 'login', markedLogIn);
}

interface Timeouts {
  storeTimeoutMs: number;
  verifyTimeoutMs: number;
}

interface Login {
  req: RequestLike;
  name: string;
  proven: Proven;
  timeoutMs: number;
  /** Whether somebody else has ended the session that the login takes the place of, with whoever was signed in to it. */
  isEnded: () => boolean;
}

// Passport ends the old session once. Whoever signs out of it meanwhile ends it, too, and cannot know of the new one.
function watchEnd(req: RequestLike): () => boolean {
  if (signedInAs(req) === undefined) return () => false;
  const ended = endedSessions(req);
  const id = sessionIdOf(req);
  const before = ended.times(id);
  return () => {
    // Nor can whoever signs out once the login is done and not answered yet.
    ended.replace(id, sessionIdOf(req));
    return ended.times(id) > before + 1;
  };
}

// Passport waits for the host's serializer for ever, and throws in its answer where the host has answered or ended the
// session meanwhile: that would end the process. What comes too late goes nowhere, nor is it written anywhere.
function limitSerializer(req: RequestLike, ms: number, done: Callback): void {
  const manager = property(req, '_sessionManager');
  const serialize = property(manager, '_serializeUser');
  if (!isObject(manager) || typeof serialize !== 'function') return;
  const limited = (...args: unknown[]): unknown => {
    // For this login alone.
    Reflect.set(req, '_sessionManager', manager);
    const answer = args.at(-1);
    const id = sessionIdOf(req);
    let isLate = false;
    const fail = (error: Error): void => {
      isLate = true;
      detachSession(req);
      Reflect.set(req, userProperty(req), null);
      done(error);
    };
    const late = `Passport's serializer has not answered after ${ms} ms`;
    const timer = setTimeout(() => fail(new SmsOtpError('ERR_SMS_OTP_HOST', late)), ms);
    const answered = (...given: unknown[]): void => {
      clearTimeout(timer);
      if (isLate) return;
      if (isAnswered(req)) fail(alreadyAnswered('the login was done'));
      else if (!isObject(req.session) || sessionIdOf(req) !== id) fail(endedDuringLogin());
      else if (typeof answer === 'function') Reflect.apply(answer, undefined, given);
    };
    return Reflect.apply(serialize, manager, [...args.slice(0, -1), answered]);
  };
  const own = Object.create(manager, { _serializeUser: { value: limited } });
  Reflect.set(req, '_sessionManager', own);
}

// Passport regenerates the session, lets the serializer run, merges the old session over the new one
// (keepSessionInfo) and saves. The mark goes in at the save: nothing comes after it, and no second write is needed.
function writeOnRegenerate(login: Login): void {
  const { req } = login;
  const before = req.session;
  if (!isObject(before)) return;
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
  if (!isObject(session)) return;
  // Before Passport has written its user, it is the host who saves: its serializer, or a limit of its own.
  const isDue = (): boolean => {
    try {
      return signedInAs(req) !== undefined;
    } catch (thrown) {
      // Nor could the end of the request write it.
      detachSession(req);
      throw thrown;
    }
  };
  const occasion = { isDue, isTooLate: () => isAnswered(req) };
  wrapOnce(session, 'save', occasion, (callback) => {
    dropNotes(session, 'challenges');
    dropNotes(session, 'marks');
    for (const [other, mark] of Object.entries(isObject(marks) ? marks : {})) {
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
    const restore = (): void => {
      if (own) Object.defineProperty(session, method, own);
      else Reflect.deleteProperty(session, method);
    };
    let answer: Callback | undefined;
    try {
      answer = isDue() ? wrap(callback) : undefined;
    } catch (thrown) {
      // A serializer may store what JSON does not know.
      restore();
      return callback(asError(thrown, 'The session cannot be written'));
    }
    if (answer === undefined) return Reflect.apply(original, session, [callback, ...rest]);
    restore();
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
      // Whatever it was, it is no success.
      return answered(asError(thrown, 'The session store failed with something that is no Error'));
    }
  };
  Object.defineProperty(session, method, { value, configurable: true, enumerable: false, writable: true });
}

// Passport waits for a store for ever. When it is late, the session is taken off the request: no cookie of a login
// that was answered with an error may get out.
function inTime({ req, timeoutMs, isEnded }: Login, callback: Callback): Callback {
  const timer = setTimeout(() => {
    emptySession(req);
    end(new SmsOtpError('ERR_SMS_OTP_STORE', `The session store has not answered after ${timeoutMs} ms`));
  }, timeoutMs);
  let isOver = false;
  const end: Callback = (error) => {
    if (isOver) return;
    isOver = true;
    clearTimeout(timer);
    // Passport would redirect a request that the host has answered meanwhile, and what that throws would end the process.
    const answered = isAnswered(req) && alreadyAnswered('the login was done');
    const failure = error || answered || (isEnded() && endedDuringLogin());
    // Nor may a login get out that was answered with an error, by the save at the end of the request.
    if (failure) detachSession(req);
    callback(failure || undefined);
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

/** Whether a mark is that of a user, spelled as JSON; nobody has one. */
export function belongsTo(mark: unknown, user: string | undefined): boolean {
  return user !== undefined && JSON.stringify(ownEntry(mark, 'user')) === user;
}

/**
 * Signs the session out, keeps the host's data and gives it a new id: between two factors nobody is signed in. The
 * marks of whoever was signed in go too.
 *
 * @param timeoutMs a session store that has not answered by then is down
 * @param newId the id that the session gets back once nobody is signed in to it any more, where it was taken off the request
 */
export async function signOut(req: RequestLike, timeoutMs: number, newId?: string): Promise<void> {
  const { session } = req;
  // Challenges may be kept elsewhere, and nobody is signed in where there is no session.
  if (!isObject(session)) return;
  dropNotes(session, 'marks');
  const logOut = property(req, 'logOut');
  if (typeof logOut !== 'function') return;
  // Once the session is gone from the request, taken off by the host or because the store was late, Passport must not go
  // on: what it throws in the store's callback would end the process.
  wrapOnce(session, 'save', {}, (callback) => (error) => {
    if (req.session === session) callback(error);
  });
  wrapOnce(session, 'regenerate', {}, (callback) => {
    if (newId !== undefined && isDetached(req)) attachSession(req, newId);
    return (error) => {
      if (req.session) callback(error);
    };
  });
  const done = settle((callback) => Reflect.apply(logOut, req, [{ keepSessionInfo: true }, callback]));
  await fromStore(done, timeoutMs);
}
