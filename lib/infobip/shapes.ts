/**
 * The shapes of Infobip's 2FA service (API version 3.210), and the guards that narrow its answers to them.
 * Names are Infobip's own. Sets that Infobip leaves open, or may widen, are open here too.
 */

/** What a PIN is made of. */
export type PinType = 'NUMERIC' | 'ALPHA' | 'HEX' | 'ALPHANUMERIC';

/** The language in which a text is spoken. It changes nothing in an SMS. */
export type Language =
  | 'en'
  | 'es'
  | 'ca'
  | 'da'
  | 'nl'
  | 'fr'
  | 'de'
  | 'it'
  | 'ja'
  | 'ko'
  | 'no'
  | 'pl'
  | 'ru'
  | 'sv'
  | 'fi'
  | 'hr'
  | 'sl'
  | 'ro'
  | 'pt_pt'
  | 'pt_br'
  | 'zh_cn'
  | 'zh_tw';

/** A known value, or one that the service has added since. */
export type Open<Known extends string> = Known | (string & {});

/**
 * The limits of an application. A duration is `{length}{unit}`, a limit `{count}/{length}{unit}`; the length may
 * be left out (1), the unit is one of `ms`, `s`, `m`, `h`, `d`: `15m`, `1/3s`, `5/h`.
 */
export interface ApplicationConfiguration {
  /** How many PINs may be tried. Infobip's default: 10. */
  pinAttempts?: number;
  /** Whether a PIN that was verified may be verified again. Infobip's default: true. */
  allowMultiplePinVerifications?: boolean;
  /** How long a PIN lives, at most a year. Infobip's default: `15m`. */
  pinTimeToLive?: string;
  /** How often one number may be verified, over at most a day. Infobip's default: `1/3s`. */
  verifyPinLimit?: string;
  /** How many PINs the application may send, over at most a year. Infobip's default: `10000/1d`. */
  sendPinPerApplicationLimit?: string;
  /** How many PINs one number may get, over at most a year. Infobip's default: `3/1d`. */
  sendPinPerPhoneNumberLimit?: string;
}

export interface ApplicationRequest {
  name: string;
  /** PINs are sent for enabled applications only. */
  enabled?: boolean;
  /** What is left out gets Infobip's default. */
  configuration?: ApplicationConfiguration;
}

export interface Application {
  applicationId: string;
  name: string;
  enabled?: boolean;
  configuration?: ApplicationConfiguration;
}

/** What India's registry (DLT) asks of a template: dropped messages show in delivery reports only. */
export interface IndiaDltOptions {
  /** At most 30 characters. */
  principalEntityId: string;
  /** At most 30 characters. */
  contentTemplateId?: string;
  /** At most 255 characters; for aggregators. */
  teleMarketerId?: string;
}

export interface RegionalOptions {
  indiaDlt?: IndiaDltOptions;
}

/** What may change in a template for SMS and voice. */
export interface UpdateMessageTemplateRequest {
  /** Holds `{{pin}}` at least once; other placeholders are `{{name}}`. */
  messageText?: string;
  pinType?: PinType;
  pinLength?: number;
  /** Voice. Infobip's default: `en`. */
  language?: Language;
  /** The sender shown, unless a send has its own `from`. */
  senderId?: string;
  /** Voice: the keys that repeat the message, for instance `1#`. */
  repeatDTMF?: string;
  /** Voice: 0.5 to 2. */
  speechRate?: number;
  /** Voice: for instance `Joanna`. Default: the standard voice of the language. */
  voiceName?: string;
  regional?: RegionalOptions;
}

/** A new template for SMS and voice. */
export interface CreateMessageTemplateRequest extends UpdateMessageTemplateRequest {
  messageText: string;
  pinType: PinType;
}

/** A template of any channel. `from`, `emailTemplateId` and `landingPageId` are those of e-mail. */
export interface MessageTemplate {
  messageId: string;
  applicationId?: string;
  pinPlaceholder?: string;
  messageText?: string;
  pinType?: Open<PinType>;
  pinLength?: number;
  language?: Open<Language>;
  senderId?: string;
  repeatDTMF?: string;
  speechRate?: number;
  voiceName?: string;
  regional?: RegionalOptions;
  from?: string;
  emailTemplateId?: number;
  landingPageId?: string;
}

/** What may change in a template for e-mail. */
export interface UpdateEmailMessageTemplateRequest {
  /** The id of an e-mail made in Infobip's web interface, whose PIN placeholder is `{$pin}`. */
  emailTemplateId?: number;
  /** `a@b.example` or `Name <a@b.example>`. */
  from?: string;
  /** The opt-out page, for instance `1_23456`. */
  landingPageId?: string;
  /** Infobip's default on create: 4. */
  pinLength?: number;
  /** Infobip's default on create: NUMERIC. */
  pinType?: PinType;
}

/** A new template for e-mail. */
export interface CreateEmailMessageTemplateRequest extends UpdateEmailMessageTemplateRequest {
  emailTemplateId: number;
}

export interface EmailMessageTemplate {
  messageId: string;
  applicationId?: string;
  pinLength?: number;
  pinType?: Open<PinType>;
  from?: string;
  emailTemplateId?: number;
  landingPageId?: string;
}

export type NcStatus = Open<
  | 'NC_DESTINATION_UNKNOWN'
  | 'NC_DESTINATION_REACHABLE'
  | 'NC_DESTINATION_NOT_REACHABLE'
  | 'NC_NOT_REACHABLE'
  | 'NC_NOT_CONFIGURED'
>;

export interface EmailStatus {
  name?: Open<'PENDING_ACCEPTED'>;
  description?: string;
}

/** Infobip's answer to a send or a resend, before we judge it. */
export interface SendPinAnswer {
  pinId?: string;
  to?: string;
  /** What the number lookup found. SMS. */
  ncStatus?: NcStatus;
  /** Handed over, which is not delivered. SMS. */
  smsStatus?: Open<'MESSAGE_SENT' | 'MESSAGE_NOT_SENT'>;
  /** Voice. */
  callStatus?: Open<'PENDING_ACCEPTED'>;
  /** E-mail. */
  emailStatus?: EmailStatus;
  /** The id in delivery reports, with `trackDelivery`. */
  externalMessageId?: string;
}

/** Infobip's answer to a check, before we judge it. */
export interface VerifyPinAnswer {
  pinId: string;
  verified: boolean;
  msisdn?: string;
  attemptsRemaining?: number;
  pinError?: Open<'WRONG_PIN' | 'TTL_EXPIRED' | 'NO_MORE_PIN_ATTEMPTS'>;
}

/** One PIN of a number, as Infobip tells it: in seconds or in milliseconds, its documents disagree. */
export interface VerificationAnswer {
  msisdn?: string;
  verified?: boolean;
  verifiedAt?: number;
  sentAt?: number;
}

export type Guard<T> = (value: unknown) => value is T;

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export const isString = (value: unknown): value is string => typeof value === 'string';
export const isNumber = (value: unknown): value is number => typeof value === 'number';
const isBoolean = (value: unknown): value is boolean => typeof value === 'boolean';

export function isListOf<T>(isItem: Guard<T>): Guard<T[]> {
  return (value): value is T[] => Array.isArray(value) && value.every(isItem);
}

/** Known fields must have their type where present; unknown ones are let through. */
export function isShape<T extends object>(
  required: readonly (keyof T & string)[],
  fields: { readonly [Field in keyof T]-?: Guard<NonNullable<T[Field]>> },
): Guard<T> {
  const guards = Object.entries<Guard<unknown>>(fields);
  return (value): value is T =>
    isRecord(value) &&
    required.every((name) => value[name] !== undefined) &&
    guards.every(([name, isField]) => value[name] === undefined || isField(value[name]));
}

export const isApplication = isShape<Application>(['applicationId', 'name'], {
  applicationId: isString,
  name: isString,
  enabled: isBoolean,
  configuration: isShape<ApplicationConfiguration>([], {
    pinAttempts: isNumber,
    allowMultiplePinVerifications: isBoolean,
    pinTimeToLive: isString,
    verifyPinLimit: isString,
    sendPinPerApplicationLimit: isString,
    sendPinPerPhoneNumberLimit: isString,
  }),
});

export const isMessageTemplate = isShape<MessageTemplate>(['messageId'], {
  messageId: isString,
  applicationId: isString,
  pinPlaceholder: isString,
  messageText: isString,
  pinType: isString,
  pinLength: isNumber,
  language: isString,
  senderId: isString,
  repeatDTMF: isString,
  speechRate: isNumber,
  voiceName: isString,
  regional: isShape<RegionalOptions>([], {
    indiaDlt: isShape<IndiaDltOptions>(['principalEntityId'], {
      principalEntityId: isString,
      contentTemplateId: isString,
      teleMarketerId: isString,
    }),
  }),
  from: isString,
  emailTemplateId: isNumber,
  landingPageId: isString,
});

export const isEmailMessageTemplate = isShape<EmailMessageTemplate>(['messageId'], {
  messageId: isString,
  applicationId: isString,
  pinLength: isNumber,
  pinType: isString,
  from: isString,
  emailTemplateId: isNumber,
  landingPageId: isString,
});

export const isSendPinAnswer = isShape<SendPinAnswer>([], {
  pinId: isString,
  to: isString,
  ncStatus: isString,
  smsStatus: isString,
  callStatus: isString,
  emailStatus: isShape<EmailStatus>([], { name: isString, description: isString }),
  externalMessageId: isString,
});

export const isVerifyPinAnswer = isShape<VerifyPinAnswer>(['pinId', 'verified'], {
  pinId: isString,
  verified: isBoolean,
  msisdn: isString,
  attemptsRemaining: isNumber,
  pinError: isString,
});

export const isVerificationsAnswer = isShape<{ verifications: VerificationAnswer[] }>(['verifications'], {
  verifications: isListOf(
    isShape<VerificationAnswer>([], {
      msisdn: isString,
      verified: isBoolean,
      verifiedAt: isNumber,
      sentAt: isNumber,
    }),
  ),
});
