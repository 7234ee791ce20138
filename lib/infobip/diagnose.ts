import { randomUUID } from 'node:crypto';
import type { Infobip2faClient } from './client.js';
import { InfobipError } from './errors.js';
import { type Limit, type PinShape, parseLimit } from './setup.js';
import { type Application, isString, type MessageTemplate } from './shapes.js';

/** What `diagnose2fa` looks at. */
export interface DiagnosedIds {
  applicationId: string;
  /** As in the options of the strategy; a string is the SMS template's. */
  messageId: string | { sms?: string; voice?: string; email?: string };
}

interface Budget {
  points: number;
  /** Seconds. */
  duration: number;
}

/** What the site expects. The defaults are the strategy's. */
export interface SiteExpectations {
  pin?: PinShape;
  /** Default: 600. */
  pinTtlSeconds?: number;
  /** Default: 5. */
  attempts?: number;
  /** Default: 5 in an hour and 10 in a day. */
  sendsPerNumber?: readonly Budget[];
  /** Default: 1,000 in an hour and 5,000 in a day. */
  sendsOverall?: readonly Budget[];
  /** The host name that the last line of the SMS should carry. Default: any. */
  domain?: string;
}

export type Severity = 'error' | 'warning' | 'info';

/** One thing that is not as the site expects. */
export interface Finding {
  /** Stable. */
  code: FindingCode;
  /** `error`: logins fail or are not safe. `warning`: some will, one day. `info`: good to know. */
  severity: Severity;
  /** What was found. */
  message: string;
  /** What to do about it. */
  mend: string;
}

/** All findings: how bad they are, and what mends them. */
const FINDINGS = {
  service_unreachable: ['error', 'Compare baseUrl with the address shown in your Infobip account.'],
  service_failed: ['error', 'Try again in a few minutes.'],
  key_refused: ['error', 'Use credentials that are whole and valid, with the address of the same account.'],
  scope_missing: ['error', 'Give the key the scope 2fa:pin:send, and 2fa:manage for set-up and diagnosis.'],
  scope_manage_missing: [
    'warning',
    'Diagnose with a key that has the scope 2fa:manage. The site can keep this one.',
  ],
  application_not_found: ['error', 'Take the id from the list of applications, or let setUp2fa make one.'],
  application_disabled: ['error', 'Enable the application.'],
  limit_unreadable: ['warning', 'Write it like 10m or 10/1d.'],
  pin_lives_longer: ['warning', "Set pinTimeToLive to the site's time."],
  pin_lives_shorter: ['warning', "Set pinTimeToLive to the site's time."],
  repeat_verification_allowed: ['warning', 'Set allowMultiplePinVerifications to false.'],
  fewer_attempts: ['warning', "Set pinAttempts to the site's attempts or more."],
  check_limit_low: ['warning', 'Set verifyPinLimit to 5/1s.'],
  send_limit_low: ['warning', "Set sendPinPerPhoneNumberLimit to the site's budget, for instance 10/1d."],
  application_limit_low: ['warning', "Raise sendPinPerApplicationLimit or lower the site's budget."],
  template_not_found: [
    'error',
    "Take the id from the list of the application's templates, or let setUp2fa make one.",
  ],
  template_of_other_channel: [
    'error',
    'Use an e-mail template for e-mail and the other kind for SMS and voice.',
  ],
  pin_placeholder_missing: ['error', 'Put {{pin}} into the text.'],
  pin_too_short: ['error', "Set pinLength to the site's length: 6 or more for digits."],
  pin_length_differs: ['error', 'Give template and site the same length.'],
  pin_length_unknown: ['warning', 'Set pinLength in the template.'],
  pin_type_differs: ['error', 'Give template and site the same type.'],
  // A warning where the site said what the line should carry.
  origin_line_missing: [
    'info',
    'End the text with a line "@your.site #{{pin}}": browsers then fill the PIN in.',
  ],
  origin_line_malformed: [
    'warning',
    'Make "@your.site #{{pin}}" the last line, with nothing before the @ and one space.',
  ],
  origin_line_of_other_domain: ['warning', "Put the site's own host name after the @."],
  sender_too_long: ['warning', 'Choose a sender of at most 11 letters and digits.'],
  trial_account: [
    'warning',
    'Verify each recipient in the account, or upgrade it and register a sender of your own.',
  ],
  email_resend_scope: [
    'warning',
    'Give the key the scope 2fa:pin:send or 2fa:pin:manage besides 2fa:manage.',
  ],
} as const satisfies Record<string, readonly [Severity, string]>;

export type FindingCode = keyof typeof FINDINGS;

/** What holds where an application does not say. */
const INFOBIP_DEFAULTS = {
  pinAttempts: 10,
  allowMultiplePinVerifications: true,
  pinTimeToLive: '15m',
  verifyPinLimit: '1/3s',
  sendPinPerApplicationLimit: '10000/1d',
  sendPinPerPhoneNumberLimit: '3/1d',
};

/** The lengths from which on a PIN has 20 bits (NIST SP 800-63B), by its type. */
const SAFE_LENGTHS: Readonly<Record<string, number>> = { NUMERIC: 6, HEX: 5, ALPHA: 5, ALPHANUMERIC: 4 };

/** The senders that trial accounts share. */
const TRIAL_SENDERS = ['servicesms', 'infosms'];

const HOUR = 3600;
const DAY = 86_400;

type DiagnosedClient = Pick<
  Infobip2faClient,
  'getApplication' | 'getMessageTemplate' | 'getVerificationStatus' | 'resendPin'
>;

/**
 * Compares address, key, application and templates with what the site expects. Sends nothing and changes
 * nothing. What the service refuses is a finding too; none means that all is well.
 */
export async function diagnose2fa(
  client: DiagnosedClient,
  { applicationId, messageId }: DiagnosedIds,
  site: SiteExpectations = {},
): Promise<Finding[]> {
  const findings: Finding[] = [];
  try {
    findings.push(...ofApplication(await client.getApplication(applicationId), site));
    const ids = isString(messageId) ? { sms: messageId } : messageId;
    for (const channel of ['sms', 'voice', 'email'] as const) {
      const id = ids[channel];
      if (id !== undefined) {
        findings.push(...(await ofTemplateId(client, applicationId, id, channel, site)));
      }
    }
  } catch (error) {
    findings.push(
      isMissing(error)
        ? finding('application_not_found', 'The account has no application with this id.')
        : await ofError(client, applicationId, error),
    );
  }
  return findings;
}

function finding(code: FindingCode, message: string, weighs?: Severity): Finding {
  const [severity, mend] = FINDINGS[code];
  return { code, severity: weighs ?? severity, message, mend };
}

/** Documented is 404; an id that cannot be one may be called a bad request. */
function isMissing(error: unknown): boolean {
  if (!(error instanceof InfobipError)) {
    return false;
  }
  return (
    error.code === 'ERR_INFOBIP_NOT_FOUND' ||
    (error.code === 'ERR_INFOBIP_BAD_REQUEST' && error.status === 400)
  );
}

async function ofError(client: DiagnosedClient, applicationId: string, error: unknown): Promise<Finding> {
  if (!(error instanceof InfobipError)) {
    throw error;
  }
  switch (error.code) {
    case 'ERR_INFOBIP_UNREACHABLE':
    case 'ERR_INFOBIP_TIMEOUT':
    case 'ERR_INFOBIP_UNEXPECTED_RESPONSE':
      return finding('service_unreachable', error.message);
    case 'ERR_INFOBIP_UNAUTHORIZED':
      return finding('key_refused', error.message);
    case 'ERR_INFOBIP_FORBIDDEN':
      return await ofMissingScope(client, applicationId);
    default:
      return finding('service_failed', error.message);
  }
}

/** A key that may only send and check is enough to log people in, but cannot look at the set-up. */
async function ofMissingScope(client: DiagnosedClient, applicationId: string): Promise<Finding> {
  try {
    await client.getVerificationStatus(applicationId, { msisdn: '10000000000' });
  } catch (error) {
    if (error instanceof InfobipError && error.code === 'ERR_INFOBIP_FORBIDDEN') {
      return finding('scope_missing', 'The key may do nothing with 2FA.');
    }
    if (!isMissing(error)) {
      return await ofError(client, applicationId, error);
    }
  }
  return finding(
    'scope_manage_missing',
    'The key may send and check PINs but not read the set-up: nothing else could be looked at.',
  );
}

function* ofApplication({ enabled, configuration }: Application, site: SiteExpectations): Generator<Finding> {
  const has = { ...INFOBIP_DEFAULTS, ...configuration };
  const { pinTtlSeconds = 600, attempts = 5 } = site;
  const {
    sendsPerNumber = [
      { points: 5, duration: HOUR },
      { points: 10, duration: DAY },
    ],
    sendsOverall = [
      { points: 1000, duration: HOUR },
      { points: 5000, duration: DAY },
    ],
  } = site;
  if (enabled === false) {
    yield finding('application_disabled', 'The application is disabled: it sends no PIN.');
  }
  const ttlMs = parseLimit(has.pinTimeToLive)?.ms;
  if (ttlMs === undefined) {
    yield finding('limit_unreadable', `pinTimeToLive is "${has.pinTimeToLive}".`);
  } else if (ttlMs !== pinTtlSeconds * 1000) {
    yield finding(
      ttlMs > pinTtlSeconds * 1000 ? 'pin_lives_longer' : 'pin_lives_shorter',
      `A PIN lives for ${has.pinTimeToLive} at Infobip and for ${pinTtlSeconds} s at the site.`,
    );
  }
  if (has.allowMultiplePinVerifications) {
    yield finding('repeat_verification_allowed', 'A PIN that was verified may be verified again.');
  }
  if (has.pinAttempts < attempts) {
    yield finding('fewer_attempts', `Infobip allows ${has.pinAttempts} attempts, the site ${attempts}.`);
  }
  const limits = [
    ['verifyPinLimit', 'check_limit_low', [{ points: 5, duration: 5 }]],
    ['sendPinPerPhoneNumberLimit', 'send_limit_low', sendsPerNumber],
    ['sendPinPerApplicationLimit', 'application_limit_low', sendsOverall],
  ] as const;
  for (const [name, code, budgets] of limits) {
    const limit = parseLimit(has[name]);
    if (limit === undefined) {
      yield finding('limit_unreadable', `${name} is "${has[name]}".`);
      continue;
    }
    const tighter = budgets.find((budget) => isTighter(limit, budget));
    if (tighter !== undefined) {
      const needed = `${tighter.points}/${lengthOf(tighter.duration)}`;
      const found = finding(code, `${name} is ${has[name]}, the site needs ${needed}.`);
      yield code === 'check_limit_low'
        ? found
        : { ...found, mend: `Set ${name} to ${needed}, or lower the site's budget.` };
    }
  }
}

/** Seconds in Infobip's words: 86400 is `1d`. */
function lengthOf(seconds: number): string {
  const units = [
    ['d', DAY],
    ['h', HOUR],
    ['m', 60],
  ] as const;
  const [unit, length] = units.find(([, each]) => seconds % each === 0) ?? ['s', 1];
  return `${seconds / length}${unit}`;
}

/** Whether the limit refuses before the budget does. */
function isTighter({ count, ms }: Limit, { points, duration }: Budget): boolean {
  return count * Math.max(1, (duration * 1000) / ms) < points;
}

async function ofTemplateId(
  client: DiagnosedClient,
  applicationId: string,
  messageId: string,
  channel: 'sms' | 'voice' | 'email',
  site: SiteExpectations,
): Promise<Finding[]> {
  try {
    const template = await client.getMessageTemplate(applicationId, messageId);
    const findings = [...ofTemplate(template, channel, site)];
    const isEmail = channel === 'email' && template.emailTemplateId !== undefined;
    return isEmail ? [...findings, ...(await ofEmailResend(client))] : findings;
  } catch (error) {
    if (isMissing(error)) {
      return [
        finding('template_not_found', `The application has no template with the id given for ${channel}.`),
      ];
    }
    throw error;
  }
}

/** The one operation for which 2fa:manage is not enough: asked of a PIN that cannot be there, it sends nothing. */
async function ofEmailResend(client: DiagnosedClient): Promise<Finding[]> {
  try {
    await client.resendPin(randomUUID().replaceAll('-', '').toUpperCase(), { channel: 'email' });
  } catch (error) {
    if (error instanceof InfobipError && error.code === 'ERR_INFOBIP_FORBIDDEN') {
      return [finding('email_resend_scope', 'The key may send PINs by e-mail but not send them again.')];
    }
    if (!isMissing(error)) throw error;
  }
  return [];
}

function* ofTemplate(
  template: MessageTemplate,
  channel: 'sms' | 'voice' | 'email',
  { pin, domain }: SiteExpectations,
): Generator<Finding> {
  const { messageText, pinLength, pinType, senderId = '' } = template;
  const { length = 6, type = 'NUMERIC' } = pin ?? {};
  const name = `The ${channel} template`;
  if ((template.emailTemplateId !== undefined) !== (channel === 'email')) {
    yield finding(
      'template_of_other_channel',
      `${name} is one for ${channel === 'email' ? 'SMS and voice' : 'e-mail'}.`,
    );
    return;
  }
  if (pinLength === undefined) {
    yield finding(
      'pin_length_unknown',
      `${name} does not say how long its PIN is, the site expects ${length}.`,
    );
  } else if (pinLength < (SAFE_LENGTHS[pinType ?? type] ?? 6)) {
    yield finding('pin_too_short', `${name} makes PINs of ${pinLength}, which are too easily guessed.`);
  } else if (pinLength !== length) {
    yield finding('pin_length_differs', `${name} makes PINs of ${pinLength}, the site expects ${length}.`);
  }
  if (pinType !== undefined && pinType !== type) {
    yield finding('pin_type_differs', `${name} makes ${pinType} PINs, the site expects ${type}.`);
  }
  if (channel === 'email') return;
  if (!messageText?.includes('{{pin}}')) {
    yield finding('pin_placeholder_missing', `${name} has no {{pin}} in its text: messages carry no PIN.`);
  }
  if (TRIAL_SENDERS.includes(senderId.toLowerCase())) {
    yield finding(
      'trial_account',
      `${name} has the sender that trial accounts share: only verified recipients get it.`,
    );
  } else if (senderId.length > 11 && !/^\+?\d+$/.test(senderId)) {
    yield finding(
      'sender_too_long',
      `${name} has a sender of ${senderId.length} characters; networks carry 11.`,
    );
  }
  if (channel === 'sms') {
    yield* ofOriginLine(messageText ?? '', domain);
  }
}

/** The last line by which browsers know whose the PIN is (WICG sms-one-time-codes). */
function* ofOriginLine(messageText: string, domain: string | undefined): Generator<Finding> {
  const lines = messageText.split(/\r\n|\r|\n/);
  const host = /^@([^\s@#]+) #\{\{pin\}\}(?:\s|$)/.exec(lines.at(-1) ?? '')?.[1];
  if (host === undefined) {
    const isTried = /@\S+\s*#\s*\{\{pin\}\}/.test(messageText);
    yield isTried
      ? finding(
          'origin_line_malformed',
          'The line that binds the PIN to the site is not the last, or misspelt.',
        )
      : finding(
          'origin_line_missing',
          'The SMS has no last line that binds the PIN to the site.',
          domain === undefined ? 'info' : 'warning',
        );
  } else if (domain !== undefined && host.toLowerCase() !== domain.toLowerCase()) {
    yield finding('origin_line_of_other_domain', `The SMS binds its PIN to ${host}, the site is ${domain}.`);
  }
}
