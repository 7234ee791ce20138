// A sentence for every outcome: the compiler knows when one is missing.

import type { SmsOtpInfo } from 'passport-sms-otp';

export function sentence(info: SmsOtpInfo): string {
  switch (info.code) {
    case 'pin_sent':
      return `A PIN went to ${info.to} by ${info.channel}; it works until ${info.expiresAt.toISOString()}.`;
    case 'pin_wrong':
      return `Wrong; ${info.attemptsRemaining.toFixed()} attempts left.`;
    case 'too_many_requests':
      return `Wait for ${info.retryAfterSeconds.toFixed()} s (${info.budget}).`;
    case 'phone_not_allowed':
      return `Not from ${info.country ?? 'there'}.`;
    case 'channel_not_allowed':
    case 'undeliverable':
      return `Try ${info.channels.join(' or ')}.`;
    case 'phone_missing':
    case 'phone_invalid':
    case 'recipient_missing':
    case 'not_now':
    case 'pin_missing':
    case 'pin_malformed':
    case 'pin_expired':
    case 'attempts_exhausted':
    case 'no_challenge':
    case 'cross_site':
    case 'method_not_allowed':
    case 'user_refused':
      return info.message;
    default:
      return impossible(info);
  }
}

export function forgetful(info: SmsOtpInfo): string {
  if (info.code !== 'no_challenge') return info.message;
  // @ts-expect-error one outcome is left
  return impossible(info);
}

function impossible(info: never): never {
  throw new Error(String(info));
}
