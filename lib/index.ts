/** passport-sms-otp: log people in with a one-time PIN sent to their phone. */

export type { Phase, SmsOtpAuthenticateOptions } from './action.js';
export type {
  BudgetName,
  Budgets,
  CompletionLimit,
  Limit,
  Limiter,
  LimiterOptions,
  LimiterResult,
} from './budgets.js';
export { DEFAULT_BUDGETS } from './budgets.js';
export type { Challenge, ChallengeStore, OpenChallenge } from './challenge.js';
export { openChallenge } from './challenge.js';
export type { SmsOtpErrorCode } from './errors.js';
export { SmsOtpError } from './errors.js';
export type { SmsOtpEvent } from './events.js';
export type { CountryCode, NumberType } from './numbering.js';
export type {
  Awaitable,
  MessageId,
  PinType,
  Recipient,
  SendContext,
  SmsOtpStrategyOptions,
} from './options.js';
export type { OriginBoundMessage } from './origin-bound.js';
export { originBoundText } from './origin-bound.js';
export type {
  Channel,
  OtpClient,
  PinVerification,
  ResendPinRequest,
  SendPinRequest,
  SentPin,
} from './otp-client.js';
export type { OutcomeCode, OutcomeDetails, SmsOtpInfo } from './outcome.js';
export { OUTCOMES } from './outcome.js';
export type { RequestLike } from './request.js';
export type { RequireSmsOtpOptions } from './second-factor.js';
export { requireSmsOtp, SmsOtpRequiredError } from './second-factor.js';
export { SmsOtpStrategy, SmsOtpStrategy as Strategy } from './strategy.js';
export type { TestNumber, TestNumberEvent, TestNumbersOptions } from './test-numbers.js';
export { withTestNumbers } from './test-numbers.js';
export type { SqliteDatabase, SqliteStatement } from './trusted-browser-stores.js';
export { memoryTrustedBrowsers, sqliteTrustedBrowsers } from './trusted-browser-stores.js';
export type {
  CookieResponse,
  TrustedBrowser,
  TrustedBrowserEvent,
  TrustedBrowserRecord,
  TrustedBrowserRefusal,
  TrustedBrowserStore,
  TrustedBrowsers,
  TrustedBrowsersOptions,
} from './trusted-browsers.js';
export { trustedBrowsers } from './trusted-browsers.js';
export type { Proof, Verified, Verify, VerifyDone } from './verify.js';
