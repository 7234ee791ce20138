// What TypeScript has to refuse, each line for its own reason.

import {
  type Limiter,
  type LimiterOptions,
  type OtpClient,
  requireSmsOtp,
  type SmsOtpAuthenticateOptions,
  type SmsOtpInfo,
  SmsOtpStrategy,
  type Verify,
} from 'passport-sms-otp';

declare const client: OtpClient;
declare const verify: Verify;
declare const limiter: (options: LimiterOptions) => Limiter;
declare const info: SmsOtpInfo;
const secret = '32 characters that nobody guesses';
const recipient = () => ({ phoneNumber: '+385911234567', subject: 'u1' });
const subject = () => 'u1';
const common = { client, applicationId: 'A', messageId: 'M' };

// The same with nothing wrong.
new SmsOtpStrategy({ ...common, countries: ['HR'] }, verify);
new SmsOtpStrategy({ ...common, recipient, signedIn: true }, verify);
new SmsOtpStrategy({ ...common, countries: 'all', subject, signedIn: true }, verify);
new SmsOtpStrategy({ ...common, countries: ['HR'], limiter, secret }, verify);
new SmsOtpStrategy({ ...common, countries: ['HR'], channels: ['sms', 'voice'] }, verify);

// @ts-expect-error neither `countries` nor `recipient`
new SmsOtpStrategy({ ...common }, verify);
// @ts-expect-error `recipient` with `subject`
new SmsOtpStrategy({ ...common, recipient, subject }, verify);
// @ts-expect-error `recipient` with `subject`, also beside `countries`
new SmsOtpStrategy({ ...common, countries: 'all', recipient, subject }, verify);
// @ts-expect-error `subject` without `countries`: the number is typed
new SmsOtpStrategy({ ...common, subject }, verify);
// @ts-expect-error `signedIn` without `recipient` or `subject`
new SmsOtpStrategy({ ...common, countries: ['HR'], signedIn: true }, verify);
// @ts-expect-error `limiter` without `secret`
new SmsOtpStrategy({ ...common, countries: ['HR'], limiter }, verify);
// @ts-expect-error a channel that does not exist
new SmsOtpStrategy({ ...common, countries: ['HR'], channels: ['fax'] }, verify);
// @ts-expect-error a country that does not exist
new SmsOtpStrategy({ ...common, countries: ['UK'] }, verify);
// @ts-expect-error a misspelt option
new SmsOtpStrategy({ ...common, countries: ['HR'], defaultCountrie: 'HR' }, verify);
// @ts-expect-error credentials instead of a built client
new SmsOtpStrategy({ ...common, client: { apiKey: 'key' }, countries: ['HR'] }, verify);
// @ts-expect-error a template for a channel that does not exist
new SmsOtpStrategy({ ...common, messageId: { fax: 'M' }, countries: ['HR'] }, verify);
// @ts-expect-error a budget that does not exist
new SmsOtpStrategy({ ...common, countries: ['HR'], budgets: { sendsPerDay: null } }, verify);
// @ts-expect-error a recipient that names no subject
new SmsOtpStrategy({ ...common, recipient: () => ({ phoneNumber: '+385911234567' }) }, verify);
// @ts-expect-error no verify callback
new SmsOtpStrategy({ ...common, countries: ['HR'] });

new SmsOtpStrategy({ ...common, countries: ['HR'] }, ({ phoneNumber }) => phoneNumber.length > 0 && false);
new SmsOtpStrategy({ ...common, recipient }, ({ subject }) => subject.length > 0 && false);
// @ts-expect-error a number that was perhaps not proved: the PIN may have gone by e-mail
new SmsOtpStrategy({ ...common, recipient }, ({ phoneNumber }) => phoneNumber.length > 0 && false);
// @ts-expect-error a subject that nobody named
new SmsOtpStrategy({ ...common, countries: ['HR'] }, ({ subject }) => subject.length > 0 && false);

// @ts-expect-error a phase that does not exist
export const phase: SmsOtpAuthenticateOptions = { phase: 'verify' };
// @ts-expect-error a channel that does not exist
export const channel: SmsOtpAuthenticateOptions = { channel: 'fax' };
// @ts-expect-error a channel that does not exist
requireSmsOtp({ channels: ['fax'] });
// @ts-expect-error an outcome code that does not exist
export const isExpired = info.code === 'expired';
// @ts-expect-error only `pin_wrong` says how many attempts are left
export const remaining = info.attemptsRemaining;
