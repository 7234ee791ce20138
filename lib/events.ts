/** What the strategy tells the host's audit log and metrics. No event carries a PIN, a PIN id, a key or a full number. */

import type { Channel } from './otp-client.js';

/** What every event carries, as far as it is known at that point. */
export interface EventFields {
  /** Milliseconds since 1970. */
  at: number;
  /** The strategy's name. */
  strategy: string;
  /** The recipient, masked. */
  recipient?: string;
  /** HMAC-SHA256 of the recipient, keyed by the option `secret`: the same number gives the same value. */
  recipientHash?: string;
  country?: string;
  channel?: Channel;
  subject?: string;
  /** True when the recipient is a test number. */
  test?: true;
  /** How long the PIN service took, in milliseconds. */
  durationMs?: number;
  /** The outcome's code, or the error's. */
  code?: string;
}

/** One event, told apart by `type`. */
export type SmsOtpEvent = EventFields &
  (
    | { type: 'pin.sent' }
    | { type: 'pin.resent' }
    /** `reason`: what stopped it. With `canReceivePin` the visitor was answered as if a PIN had been sent. */
    | {
        type: 'pin.not_sent';
        reason: 'refused_by_host' | 'cannot_receive' | 'undeliverable' | 'service_limit' | 'error';
      }
    /** Somebody asked for the PIN of a test number (nothing was sent), or typed one in. */
    | { type: 'test_number.used'; operation: 'send' | 'resend' | 'check' }
    | { type: 'pin.verified' }
    /** A PIN was typed in and did not open the challenge; `code` says why. */
    | { type: 'pin.rejected'; attemptsRemaining?: number }
    | { type: 'challenge.exhausted' }
    /** `percent` of the budget is used up: 80 or 100. */
    | { type: 'budget.near'; budget: string; percent: number }
    | { type: 'budget.refused'; budget: string; retryAfterSeconds: number }
    /**
     * A country's PINs are sent and not typed in: it gets no more for now. Told once by each process, and again for
     * each further `duration` of the budget that it lasts; `budget.refused` tells of every request.
     */
    | { type: 'country.stopped'; country: string; sends: number; completed: number }
    /** A request from another site, with another method, or for a country or a kind of number that gets no PINs. */
    | { type: 'request.refused' }
    /** The PIN was right and the login failed all the same: verify gave no user, or failed. */
    | { type: 'login.refused' }
    | { type: 'configuration.warned'; message: string }
  );

type Without<Event> = Event extends SmsOtpEvent ? Omit<Event, 'at' | 'strategy'> : never;

/** An event before the strategy has signed and dated it. */
export type EventBody = Without<SmsOtpEvent>;
