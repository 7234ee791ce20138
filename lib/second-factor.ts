/** The guard that asks for a proof: a mark in the session, of its user, recent enough. */

import { fromStore, SmsOtpError } from './errors.js';
import { belongsTo } from './marks.js';
import type { Channel } from './otp-client.js';
import {
  emptySession,
  header,
  isObject,
  isSessionUser,
  localPath,
  property,
  type RequestLike,
  signedInAs,
} from './request.js';
import { beginWith, canEnd, ownEntry } from './session.js';

/** A guard has no options for these: the strategy's defaults. */
const GUARD_STORE_TIMEOUT_MS = 3000;
const GUARD_HOST_TIMEOUT_MS = 30_000;

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
      // A time limit of the host's may have answered it meanwhile.
      if (!isSent(res)) act();
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
      if (isSent(res)) return;
      if (path !== undefined && isObject(req.session)) {
        Reflect.set(req.session, 'returnTo', path);
      }
      res.redirect(303, redirectTo);
    };
    const { session } = req;
    if (!canEnd(req) || !isObject(session)) {
      try {
        redirect();
      } catch (thrown) {
        // In the answer of a serializer it would end the process.
        next(thrown);
      }
      return;
    }
    // Since the session was read its user may have signed out: then nothing is written to it. Or a PIN was sent.
    fromStore(beginWith(req, session), GUARD_STORE_TIMEOUT_MS)
      .catch(() => emptySession(req))
      .then(redirect)
      .catch(next);
  }
}

function isSent(res: ResponseLike): boolean {
  return property(res, 'headersSent') === true;
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
