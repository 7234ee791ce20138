/**
 * The outcomes: everything a request can end in that is the visitor's doing or news for the visitor. What the
 * system did wrong is an error instead.
 */

import type { Channel } from './otp-client.js';

/** A PIN is on its way, or was a moment ago. */
export interface PinSentDetails {
  /** The recipient, masked for the page: `+385 *** 67`, with bullets for the hidden digits. */
  to: string;
  channel: Channel;
  /** The channels that a resend may use now. */
  channels: readonly Channel[];
  /** When the PIN stops working. */
  expiresAt: Date;
  /** The earliest time at which another PIN can be asked for. */
  resendAt: Date;
  /** True when nothing was sent now, because the PIN of a moment ago is still fresh. */
  alreadySent: boolean;
}

/** A budget of ours, or the service's own limit, refuses for now. */
export interface TooManyRequestsDetails {
  /** Seconds, at least 1. */
  retryAfterSeconds: number;
  /** The name of the budget, or `service` for the limit of the PIN service itself. */
  budget: string;
}

type NoDetails = Record<never, never>;

/** What each outcome carries beside `code` and `message`. */
export interface OutcomeDetails {
  pin_sent: PinSentDetails;
  phone_missing: NoDetails;
  phone_invalid: NoDetails;
  /** `country` is the two-letter code of the number's country. */
  phone_not_allowed: { country?: string };
  recipient_missing: NoDetails;
  /** `channels` are the ones that can be asked for now. */
  channel_not_allowed: { channels: readonly Channel[] };
  not_now: NoDetails;
  /** `channels` are the other ways that may be tried. */
  undeliverable: { channels: readonly Channel[] };
  pin_missing: NoDetails;
  pin_malformed: NoDetails;
  pin_wrong: { attemptsRemaining: number };
  pin_expired: NoDetails;
  attempts_exhausted: NoDetails;
  no_challenge: NoDetails;
  too_many_requests: TooManyRequestsDetails;
  cross_site: NoDetails;
  method_not_allowed: NoDetails;
  /** And whatever the verify callback gave as its `info`. */
  user_refused: NoDetails;
}

/** The stable name of an outcome. */
export type OutcomeCode = keyof OutcomeDetails;

/** The `info` of a failed (or, at 202, a begun) authentication, told apart by `code`. */
export type SmsOtpInfo = {
  [Code in OutcomeCode]: { code: Code; message: string } & OutcomeDetails[Code];
}[OutcomeCode];

type Outcomes = {
  readonly [Code in OutcomeCode]: {
    readonly status: number;
    readonly message: (details: OutcomeDetails[Code]) => string;
  };
};

/** The one table of what an outcome means: the HTTP status that it fails with and its sentence in English. */
export const OUTCOMES: Outcomes = {
  pin_sent: { status: 202, message: ({ to }) => `We sent a PIN to ${to}.` },
  phone_missing: { status: 400, message: () => 'Enter your phone number.' },
  phone_invalid: {
    status: 400,
    message: () =>
      'This is not a phone number. Enter it with its country code, for example +385 91 123 4567.',
  },
  phone_not_allowed: {
    status: 403,
    message: () => 'We do not send PINs to numbers of this country or kind.',
  },
  recipient_missing: { status: 403, message: () => 'There is no number to which a PIN could be sent.' },
  channel_not_allowed: { status: 400, message: () => 'The PIN cannot be sent this way.' },
  not_now: { status: 403, message: () => 'We cannot send a PIN to this number at the moment.' },
  undeliverable: {
    status: 422,
    message: () => 'The PIN could not be sent. Check the number, or try another one.',
  },
  pin_missing: { status: 400, message: () => 'Enter the PIN.' },
  pin_malformed: { status: 400, message: () => 'This is not a PIN. Enter it as it stands in the message.' },
  pin_wrong: {
    status: 401,
    message: ({ attemptsRemaining }) =>
      `Wrong PIN. You can try ${attemptsRemaining === 1 ? 'once more' : `${attemptsRemaining} more times`}.`,
  },
  pin_expired: { status: 401, message: () => 'This PIN is no longer valid. Ask for a new one.' },
  attempts_exhausted: { status: 401, message: () => 'Too many wrong PINs. Start again with a new one.' },
  no_challenge: { status: 401, message: () => 'There is no PIN to check. Start again.' },
  too_many_requests: {
    status: 429,
    message: ({ retryAfterSeconds }) => `Too many requests. Try again in ${duration(retryAfterSeconds)}.`,
  },
  cross_site: { status: 403, message: () => 'This form was sent from another site.' },
  method_not_allowed: { status: 405, message: () => 'This address takes POST requests only.' },
  user_refused: { status: 401, message: () => 'You cannot log in with this number.' },
};

function duration(seconds: number): string {
  if (seconds < 120) return `${seconds} second${seconds === 1 ? '' : 's'}`;
  if (seconds < 7200) return `${Math.ceil(seconds / 60)} minutes`;
  return `${Math.ceil(seconds / 3600)} hours`;
}
