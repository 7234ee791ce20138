/**
 * What the strategy asks of a service that makes, sends and judges PINs. `Infobip2faClient` is one; any object
 * with these three methods will do.
 */

/** How a PIN travels. */
export type Channel = 'sms' | 'voice' | 'email';

/** One PIN to be made by the service and sent to `to`. */
export interface SendPinRequest {
  channel: Channel;
  /** Infobip's id of the 2FA application. */
  applicationId: string;
  /** Infobip's id of the message template. */
  messageId: string;
  /** A phone number in E.164 with its `+`, or an e-mail address for the channel `email`. */
  to: string;
  /** Values for the template's own placeholders, by name without braces. */
  placeholders?: Record<string, string>;
  /**
   * The caller took `to` for a test number, because {@link OtpClient.isTestNumber} said so: the message must not leave.
   * Never set for a client without that method.
   */
  test?: true;
}

/** What may change when the same PIN is sent once more. */
export interface ResendPinRequest {
  /** Default: the service's choice, SMS at Infobip. */
  channel?: Channel;
  /** The service does not remember them: they are given again at each resend. */
  placeholders?: Record<string, string>;
}

/** The service's answer to a send. A client may add fields of its own. */
export interface SentPin {
  /** The service's handle of the PIN. It belongs into the challenge store and nowhere else. */
  pinId: string;
  /** False when the service says that it sent nothing, for instance to a number that cannot be reached. */
  sent: boolean;
  /** True when it is a test number's: nothing left, and the PIN is a fixed one. */
  test?: boolean;
}

/** The service's judgement of a typed PIN. A wrong PIN is a result; only what the system did wrong is thrown. */
export type PinVerification =
  | { verified: true; pinId: string; msisdn: string }
  | {
      verified: false;
      pinId: string;
      reason: 'wrong_pin' | 'expired' | 'no_more_attempts' | 'unknown';
      /** The service's own count, for information: the strategy keeps its own. */
      attemptsRemaining?: number;
      /** The service's word for what was wrong, as it came. */
      pinError?: string;
    };

/**
 * A service of one-time PINs.
 *
 * An error that a method throws may carry `sent: false` (the message surely did not leave), `code` (a stable
 * string; `ERR_INFOBIP_NOT_FOUND` at a check means that the PIN id is not known any more), `status` (HTTP) and
 * `retryAfterSeconds`. A method that never answers holds its request for five minutes: give it a deadline.
 */
export interface OtpClient {
  /** Makes a new PIN and sends it. Must not try again by itself once the request may have left. */
  sendPin(request: SendPinRequest): Promise<SentPin>;
  /** Sends the same PIN again. The answer may carry another `pinId`, which then takes the old one's place. */
  resendPin(pinId: string, request?: ResendPinRequest): Promise<SentPin>;
  /** Asks whether `pin` is the PIN that was sent under `pinId`. */
  verifyPin(pinId: string, pin: string): Promise<PinVerification>;
  /**
   * Whether a phone number (E.164 with its `+`) is a test number at this moment: one that the operator named, with a
   * fixed PIN, for which nothing is sent. The strategy then serves it from whatever country it seems to be, counts it
   * against no budget of money, and tells the verify callback. `withTestNumbers` gives a client this method.
   */
  isTestNumber?(phoneNumber: string): boolean;
}
