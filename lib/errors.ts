/** What the system did wrong, and the deadlines that turn a silent dependency into an error. */

import { isNativeError } from 'node:util/types';

/** Why a request ended in an error; the cause's own code takes this one's place where it has one. */
export type SmsOtpErrorCode =
  /** The PIN service failed, did not answer, or answered nonsense. */
  | 'ERR_SMS_OTP_SERVICE'
  /** The store of challenges or counters failed or did not answer in time. */
  | 'ERR_SMS_OTP_STORE'
  /** There is no session, one that cannot hold a challenge, or one that was ended during a login. */
  | 'ERR_SMS_OTP_SESSION'
  /** A route or an option asks for something that cannot be. */
  | 'ERR_SMS_OTP_CONFIGURATION'
  /** A function of the host failed with something that is no Error, or did not answer. */
  | 'ERR_SMS_OTP_HOST';

/**
 * An error of the system. `status` is what the visitor should get (never the status that the PIN service answered
 * to us), `cause` is what went wrong.
 */
export class SmsOtpError extends Error {
  override readonly name = 'SmsOtpError';
  readonly code: string;
  readonly status: 500 | 503;

  constructor(code: SmsOtpErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    const causeCode = codeOf(options?.cause);
    this.code = causeCode?.startsWith('ERR_') ? causeCode : code;
    this.status = code === 'ERR_SMS_OTP_SERVICE' || code === 'ERR_SMS_OTP_STORE' ? 503 : 500;
  }
}

/**
 * The session that the browser came with was ended (a sign-out in another tab), or is somebody else's by now, while a
 * request was under way.
 */
export class SessionEnded extends Error {
  constructor() {
    super('The session was ended while the request was under way');
  }
}

/** For a login with the right PIN during which the session was ended: the host gets it, by Passport. */
export function endedDuringLogin(): SmsOtpError {
  return new SmsOtpError('ERR_SMS_OTP_SESSION', 'The session was ended during the login');
}

/** For a request that the host has answered meanwhile, by a time limit of its own. */
export function alreadyAnswered(before: string): SmsOtpError {
  return new SmsOtpError('ERR_SMS_OTP_HOST', `The request had been answered before ${before}`);
}

/** The `code` of an error, where it is a string. */
export function codeOf(error: unknown): string | undefined {
  try {
    const code: unknown =
      typeof error === 'object' && error !== null ? Reflect.get(error, 'code') : undefined;
    return typeof code === 'string' ? code : undefined;
  } catch {
    // Whatever was thrown will not even be looked at: it has no code.
    return undefined;
  }
}

/**
 * An Error for whatever was thrown. Passport hands it to `next`, where `undefined` and `'route'` would mean "go on":
 * only a real Error stops a request for certain.
 */
export function asError(thrown: unknown, message: string): Error {
  try {
    if (thrown instanceof Error || isNativeError(thrown)) return thrown;
  } catch {
    // A proxy that was revoked is no error.
  }
  return new SmsOtpError('ERR_SMS_OTP_HOST', message, { cause: thrown });
}

/**
 * What a function of the host returned that must answer at once. One that was made async by mistake has returned a
 * promise, which is no answer; that it may reject later must not end the process.
 */
export function settled(returned: unknown): unknown {
  if (typeof Reflect.get(Object(returned), 'then') === 'function') {
    Promise.resolve(returned).catch(() => undefined);
  }
  return returned;
}

/** The answer, or what `late` gives once `ms` milliseconds have passed without one. */
export function withDeadline<T>(answer: T | PromiseLike<T>, ms: number, late: () => Error): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const timer = setTimeout(() => reject(late()), ms);
    // What is no promise is an answer, too.
    Promise.resolve(answer)
      .finally(() => clearTimeout(timer))
      .then(resolve, reject);
  });
}

/**
 * The answer of a function of the host's, or an error when it fails or has not answered after `ms` milliseconds.
 *
 * @param what the function, at the start of a sentence
 */
export function fromHost<T>(what: string, ms: number, call: () => T | PromiseLike<T>): Promise<T> {
  // What throws at once rejects, too.
  const answer = (async () => call())();
  const late = () => new SmsOtpError('ERR_SMS_OTP_HOST', `${what} has not answered after ${ms} ms`);
  return withDeadline(answer, ms, late).catch((thrown: unknown) => {
    throw asError(thrown, `${what} failed with something that is no Error`);
  });
}

/** The answer of a function that the host gave as an option. */
export function fromOption<T>(option: string, ms: number, call: () => T | PromiseLike<T>): Promise<T> {
  return fromHost(`The option \`${option}\``, ms, call);
}

/**
 * The answer of a store, or an error when it fails or has not answered after `ms` milliseconds.
 *
 * @param onLate called before the error when it has not answered
 */
export function fromStore<T>(answer: T | PromiseLike<T>, ms: number, onLate?: () => unknown): Promise<T> {
  const late = () => {
    onLate?.();
    return new Error(`no answer after ${ms} ms`);
  };
  return withDeadline(answer, ms, late).catch((cause: unknown) => {
    const message = 'The store of challenges and counters is down';
    if (isEnd(cause)) throw cause;
    const error = new SmsOtpError('ERR_SMS_OTP_STORE', message, { cause });
    storeErrors.add(error);
    throw error;
  });
}

// Known by themselves, since their code may be the cause's.
const storeErrors = new WeakSet<object>();

/** Whether a session store answers that it failed, and not that it has no such session (as express-session knows it of files). */
export function isStoreFailure(error: unknown): boolean {
  return Boolean(error) && codeOf(error) !== 'ENOENT';
}

/** Whether a store has failed or was silent. */
export function isStoreError(thrown: unknown): boolean {
  return storeErrors.has(Object(thrown));
}

function isEnd(thrown: unknown): boolean {
  try {
    return thrown instanceof SessionEnded;
  } catch {
    // Whatever was thrown will not even be looked at.
    return false;
  }
}
