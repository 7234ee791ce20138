/** How a request ends: one of Passport's actions, with the info that the outcome table makes. */

import type { Challenge } from './challenge.js';
import { asError, settled } from './errors.js';
import type { EventBody } from './events.js';
import type { Channel } from './otp-client.js';
import { OUTCOMES, type OutcomeCode, type OutcomeDetails } from './outcome.js';
import { isAnswered, property, type RequestLike } from './request.js';

/** Which of the three things a request asks for. */
export type Phase = 'issue' | 'resend' | 'check';

/** The strategy's own options of `passport.authenticate(name, options)`, beside Passport's. */
export interface SmsOtpAuthenticateOptions {
  /** Default: 'check' when the form has the PIN field, else 'issue'. */
  phase?: Phase;
  /** Where issue and resend send the browser (303) once a PIN is on its way. Without it they fail with status 202. */
  challengeRedirect?: string;
  /** The channel, when the form does not say. */
  channel?: Channel;
}

// So that `passport.authenticate('sms-otp', { phase: 'issue' })` compiles where the host has Passport's types.
// biome-ignore lint/suspicious/noTsIgnore: an error is expected only where the host lacks Passport's types
/** @ts-ignore Without them there is nothing to add to, and that is no error of the host's. */
declare module 'passport' {
  interface AuthenticateOptions extends SmsOtpAuthenticateOptions {}
}

/** One request on its way through the strategy. */
export interface Turn {
  req: RequestLike;
  options: SmsOtpAuthenticateOptions;
}

/**
 * Passport's verbs, less `pass`: a route that the strategy guards must not run because somebody asked for a PIN. A PIN
 * that is on its way brings its challenge along.
 */
export type Action =
  | { type: 'success'; user: unknown; info: object }
  | Failure
  | { type: 'redirect'; url: string; challenge: Challenge }
  | { type: 'error'; error: Error };

/** An outcome. */
export interface Failure {
  type: 'fail';
  info: object;
  status: number;
  challenge?: Challenge;
}

/** Makes the outcomes, in the visitor's language where the host has one. */
export type Outcome = <Code extends OutcomeCode>(
  turn: Turn,
  code: Code,
  details: OutcomeDetails[Code],
) => Failure;

/** The outcomes of one strategy. */
export function createOutcome(
  messages: ((code: OutcomeCode, details: never, req: RequestLike) => string | undefined) | undefined,
  emit: (event: EventBody) => void,
): Outcome {
  return function outcome(turn, code, details) {
    const { status, message } = OUTCOMES[code];
    const retryAfter = property(details, 'retryAfterSeconds');
    // A redirect is followed at once, whatever the header says.
    if (retryAfter !== undefined && !property(turn.options, 'failureRedirect')) {
      setHeader(turn.req, 'Retry-After', String(retryAfter));
    }
    return {
      type: 'fail',
      status,
      info: { ...details, code, message: ownText(turn.req, code, details) ?? message(details) },
    };
  };

  function ownText(req: RequestLike, code: OutcomeCode, details: object): string | undefined {
    try {
      const text = settled(messages?.(code, details as never, req));
      return typeof text === 'string' && text !== '' ? text : undefined;
    } catch (thrown) {
      // A PIN may be on its way: a text that cannot be made must not take the page away.
      const { name } = asError(thrown, 'messages failed');
      emit({ type: 'configuration.warned', message: `The option \`messages\` failed for ${code}: ${name}` });
      return undefined;
    }
  }
}

/** Sets a header where the framework gives the request its response, as Express does. */
export function setHeader(req: RequestLike, header: string, value: string): void {
  const res = property(req, 'res');
  const set = property(res, 'setHeader');
  if (typeof set === 'function' && !isAnswered(req)) Reflect.apply(set, res, [header, value]);
}
