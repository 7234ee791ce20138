/**
 * The rules of Infobip's 2FA service for PINs: sends, resends, checks and their limits. No HTTP, no clock and no
 * randomness of its own. Bodies come in as parsed JSON of any shape and are judged here.
 */

import {
  type Application,
  Applications,
  type JsonObject,
  type PinType,
  type Template,
} from './applications.js';
import type { Behaviour } from './behaviour.js';
import { limited, notFound, ServiceError } from './errors.js';
import { Fields } from './fields.js';
import { Windows } from './limits.js';
import { Newest } from './newest.js';
import { freshId, type Random, randomText, randomUuid } from './random.js';
import { countParts, fillEmailTemplate, fillTemplate, missingPlaceholders } from './text.js';

export type Channel = 'sms' | 'voice' | 'email';

/** A message as it reaches the phone or the mailbox. */
export interface Message {
  /** Counts up from 1. */
  id: number;
  /** Digits of the phone number, or the e-mail address. */
  to: string;
  channel: Channel;
  text: string;
  pin: string;
  pinId: string;
  /** The sender as shown. */
  from: string;
  /** When it was sent, in milliseconds of the simulator's clock. */
  at: number;
  /** Whether the same PIN had been sent before. */
  resend: boolean;
  /** SMS only: the messages billed, and the alphabet that decided it. */
  parts?: number;
  encoding?: 'GSM-7' | 'Unicode';
  /** Voice only: the language in which the text is spoken. */
  language?: string;
}

const alphabets: Readonly<Record<PinType, string>> = {
  NUMERIC: '0123456789',
  ALPHA: 'ABCDEFGHIJKLMNOPQRSTUVWXYZ',
  HEX: '0123456789ABCDEF',
  ALPHANUMERIC: '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ',
};

interface Pin {
  applicationId: string;
  messageId: string;
  to: string;
  value: string;
  from: string | undefined;
  /** Whether the first send asked for a number lookup; a resend has no such parameter. */
  lookup: boolean;
  expiresAt: number;
  /** Shared by the PINs of a number where its attempts count over all of them. */
  attempts: { used: number };
  /** Values for placeholders, where a resend remembers them. */
  placeholders?: Record<string, string>;
  /** A later send took its place: nobody can check or resend it any more. */
  replaced?: true;
  sentAt?: number;
  verifiedAt?: number;
}

export interface ServiceOptions {
  now: () => number;
  random: Random;
  behaviour: () => Behaviour;
  deliver: (message: Omit<Message, 'id'>) => void;
  /** PINs kept; over that the oldest is forgotten. Expired ones are kept too, for `TTL_EXPIRED`. */
  maxPins: number;
  /** Texts of the mails behind `emailTemplateId`, with `{$pin}`; other ids get a plain one. */
  emailTemplates: Readonly<Record<string, string>>;
}

/** What a send is asked beside its body. */
export interface SendOptions {
  /** Query parameter of SMS sends; default true. */
  ncNeeded?: boolean | undefined;
  /** Stands in for the result of the lookup, whether or not one was asked for. */
  ncStatus?: string | undefined;
}

export class TwoFactorService {
  readonly applications: Applications;
  private readonly pins: Newest<Pin>;
  private readonly applicationSends: Windows;
  private readonly sends: Windows;
  private readonly checks: Windows;
  private readonly numberAttempts: Newest<{ used: number }>;
  private readonly options: ServiceOptions;

  constructor(options: ServiceOptions) {
    this.options = options;
    this.applications = new Applications(options);
    this.pins = new Newest(options.maxPins);
    this.applicationSends = new Windows(options.maxPins);
    this.sends = new Windows(options.maxPins);
    this.checks = new Windows(options.maxPins);
    this.numberAttempts = new Newest(options.maxPins);
  }

  /** How much is held: for those who watch the memory. */
  get held(): { pins: number; windows: number } {
    return { pins: this.pins.size, windows: this.sends.size + this.checks.size };
  }

  /** Forgets PINs and counts; with `setUp` also applications and templates. */
  clear({ setUp = false }: { setUp?: boolean } = {}): void {
    this.pins.clear();
    this.applicationSends.clear();
    this.sends.clear();
    this.checks.clear();
    this.numberAttempts.clear();
    if (setUp) this.applications.clear();
  }

  sendPin(channel: Channel, body: unknown, { ncNeeded = true, ncStatus }: SendOptions = {}): JsonObject {
    const { now, random, behaviour } = this.options;
    const fields = Fields.of(body);
    const applicationId = fields.requiredString('applicationId');
    const messageId = fields.requiredString('messageId');
    const to = this.readRecipient(fields, channel);
    const from = fields.string('from');
    const extras = readExtras(fields, channel);
    fields.check();

    const application = this.applications.find(applicationId);
    if (!application) throw this.unknownOnSend();
    if (!application.enabled) {
      throw new ServiceError(behaviour().disabledApplication, { text: 'The application is disabled.' });
    }
    const template = application.templates.get(messageId);
    if (!template) throw this.unknownOnSend();
    this.fitChannel(template, channel);
    this.checkPlaceholders(template, extras.placeholders);
    this.countSend(application, to);

    const pinId = freshId(random, this.pins);
    const pin: Pin = {
      applicationId,
      messageId,
      to,
      value: makePin(random, template, behaviour()),
      from,
      lookup: channel === 'sms' && ncNeeded,
      expiresAt: now() + application.limits.timeToLiveMs,
      attempts: this.attemptsOf(applicationId, to),
    };
    this.pins.set(pinId, pin);
    const answer = this.deliver(pinId, pin, template, channel, extras, ncStatus);
    if (behaviour().secondSend === 'replaces' && pin.sentAt !== undefined) this.replaceOthers(pin);
    return answer;
  }

  resendPin(channel: Channel, pinId: string, body: unknown, { ncStatus }: SendOptions = {}): JsonObject {
    const { now, random, behaviour } = this.options;
    const { resendExpired, resendSettled, resendCounts, resendPinId, ...renews } = behaviour();
    const fields = body === undefined ? new Fields({}) : Fields.of(body);
    const extras = readExtras(fields, channel);
    fields.check();

    const pin = this.needPin(pinId);
    const application = this.applications.need(pin.applicationId);
    const template = this.applications.needTemplate(application, pin.messageId);
    if (now() >= pin.expiresAt && resendExpired === '404') throw notFound(behaviour());
    const settled = pin.verifiedAt !== undefined || attemptsLeft(pin, application) === 0;
    if (settled && resendSettled === '404') throw notFound(behaviour());
    this.fitChannel(template, channel);
    this.checkPlaceholders(template, { ...pin.placeholders, ...extras.placeholders });
    if (resendCounts) this.countSend(application, pin.to);

    if (renews.resendRenewsTimeToLive) pin.expiresAt = now() + application.limits.timeToLiveMs;
    if (renews.resendRestoresAttempts) pin.attempts.used = 0;
    const answered = resendPinId === 'same' ? pinId : freshId(random, this.pins);
    if (resendPinId === 'new') this.pins.delete(pinId);
    if (answered !== pinId) this.pins.set(answered, pin);
    return this.deliver(answered, pin, template, channel, extras, ncStatus);
  }

  verifyPin(pinId: string, body: unknown): JsonObject {
    const { now, behaviour } = this.options;
    const { repeatVerification, expiredAttempts, lastAttemptError, ...rules } = behaviour();
    const fields = Fields.of(body);
    const typed = fields.requiredString('pin');
    fields.check();

    const pin = this.needPin(pinId);
    const application = this.applications.need(pin.applicationId);
    const refused = (pinError: string, attemptsRemaining: number | undefined) => ({
      pinId,
      msisdn: pin.to,
      verified: false,
      attemptsRemaining,
      pinError,
    });
    const at = now();

    const key = `${pin.applicationId} ${pin.to}`;
    const waitMs = this.checks.waitMs(key, application.limits.check, at, rules.window === 'sliding');
    if (waitMs > 0) {
      if (rules.limitedCheckUsesAttempt) pin.attempts.used += 1;
      throw limited(behaviour().limitStatus, behaviour(), waitMs);
    }
    this.checks.count(key, application.limits.check, at, rules.window === 'sliding');

    const left = pin.verifiedAt === undefined ? attemptsLeft(pin, application) : 0;
    if (at >= pin.expiresAt) {
      return refused('TTL_EXPIRED', { remaining: left, zero: 0, absent: undefined }[expiredAttempts]);
    }
    const matches = rules.caseSensitive
      ? typed === pin.value
      : typed.toUpperCase() === pin.value.toUpperCase();
    if (pin.verifiedAt !== undefined) {
      const repeats =
        application.configuration.allowMultiplePinVerifications || repeatVerification === 'accept';
      if (!repeats && repeatVerification === '404') throw notFound(behaviour());
      if (!repeats || !matches) return refused('NO_MORE_PIN_ATTEMPTS', 0);
    } else if (left === 0) {
      return refused('NO_MORE_PIN_ATTEMPTS', 0);
    } else if (!matches) {
      pin.attempts.used += 1;
      return refused(left > 1 ? 'WRONG_PIN' : lastAttemptError, left - 1);
    }
    pin.verifiedAt ??= at;
    if (rules.attemptsCount === 'number') this.numberAttempts.delete(key);
    // A success uses up the attempts: the service answers 0 here whatever was configured.
    return { pinId, msisdn: pin.to, verified: true, attemptsRemaining: 0 };
  }

  verifications(
    applicationId: string,
    query: { msisdn: string; verified?: boolean | undefined; sent?: boolean | undefined },
  ): JsonObject {
    this.applications.need(applicationId);
    const msisdn = normalizeRecipient(query.msisdn);
    // The document has no validation errors here: it lists no 400 for this operation.
    if (msisdn === '') throw new ServiceError(400, { text: 'The parameter msisdn must not be blank.' });
    const unit = this.options.behaviour().times === 's' ? 1000 : 1;
    const inUnit = (at: number | undefined) => (at === undefined ? undefined : Math.floor(at / unit));
    const found = new Set<Pin>();
    for (const [, pin] of this.pins) {
      if (pin.applicationId !== applicationId || pin.to !== msisdn) continue;
      if (query.verified !== undefined && query.verified !== (pin.verifiedAt !== undefined)) continue;
      if (query.sent !== undefined && query.sent !== (pin.sentAt !== undefined)) continue;
      found.add(pin);
    }
    return {
      verifications: [...found].map((pin) => ({
        msisdn: pin.to,
        verified: pin.verifiedAt !== undefined,
        verifiedAt: inUnit(pin.verifiedAt),
        sentAt: inUnit(pin.sentAt),
      })),
    };
  }

  private unknownOnSend(): ServiceError {
    const text = 'Application or message with given ID cannot be found.';
    const behaviour = this.options.behaviour();
    return behaviour.unknownId === 404 ? notFound(behaviour, text) : new ServiceError(400, { text });
  }

  private readRecipient(fields: Fields, channel: Channel): string {
    const to = fields.requiredString('to', { max: 320 });
    if (to.trim() === '') return to;
    if (channel === 'email') {
      if (!/^[^\s@]+@[^\s@]+$/.test(to)) fields.refuse('to', 'must be an e-mail address');
      return to;
    }
    const plus = this.options.behaviour().plusInTo === 'accept' ? /^\+?[1-9]\d{4,14}$/ : /^[1-9]\d{4,14}$/;
    if (!plus.test(to)) fields.refuse('to', 'must be a phone number in international format, digits only');
    return normalizeRecipient(to);
  }

  private fitChannel(template: Template, channel: Channel): void {
    if ((template.channel === 'email') !== (channel === 'email')) {
      throw new ServiceError(400, { text: `The message template does not fit the channel ${channel}.` });
    }
    const isMute = channel === 'voice' && template.channel === 'text' && template.voiceName === undefined;
    if (isMute && this.options.behaviour().standardVoice === 'absent') {
      throw new ServiceError(400, { text: `There is no standard voice for "${template.language ?? 'en'}".` });
    }
  }

  private checkPlaceholders(template: Template, placeholders: Record<string, string>): void {
    if (this.options.behaviour().missingPlaceholder === 'keep' || template.channel !== 'text') return;
    const missing = missingPlaceholders(template.messageText, { ...placeholders, pin: '' });
    if (missing.length === 0) return;
    const violations = Object.fromEntries(
      missing.map((name) => [`placeholders.${name}`, ['must not be null']]),
    );
    throw new ServiceError(400, { violations });
  }

  /** Asks both limits before it counts in either: a send that the number's limit refuses costs the application nothing. */
  private countSend({ applicationId, limits }: Application, to: string): void {
    const at = this.options.now();
    const sliding = this.options.behaviour().window === 'sliding';
    const number = `${applicationId} ${to}`;
    const waitMs =
      this.applicationSends.waitMs(applicationId, limits.application, at, sliding) ||
      this.sends.waitMs(number, limits.number, at, sliding);
    if (waitMs > 0) throw limited(this.options.behaviour().limitStatus, this.options.behaviour(), waitMs);
    this.applicationSends.count(applicationId, limits.application, at, sliding);
    this.sends.count(number, limits.number, at, sliding);
  }

  /** The PIN, or the 404 that it is not there. */
  private needPin(pinId: string): Pin {
    const pin = this.pins.get(pinId);
    if (!pin || pin.replaced) throw notFound(this.options.behaviour());
    return pin;
  }

  private attemptsOf(applicationId: string, to: string): { used: number } {
    if (this.options.behaviour().attemptsCount === 'pin') return { used: 0 };
    const key = `${applicationId} ${to}`;
    const attempts = this.numberAttempts.get(key) ?? { used: 0 };
    this.numberAttempts.set(key, attempts);
    return attempts;
  }

  /** What was sent and verified of them stays on record. */
  private replaceOthers(newest: Pin): void {
    for (const [, pin] of this.pins) {
      const isOther = pin !== newest && pin.applicationId === newest.applicationId && pin.to === newest.to;
      if (isOther) pin.replaced = true;
    }
  }

  /** Hands the message over and makes the answer to a send or a resend. */
  private deliver(
    pinId: string,
    pin: Pin,
    template: Template,
    channel: Channel,
    { placeholders: given, trackDelivery }: Extras,
    forcedNcStatus: string | undefined,
  ): JsonObject {
    const { now, random, behaviour } = this.options;
    const settings = behaviour();
    const looksUp = channel === 'sms' && pin.lookup;
    const found = forcedNcStatus ?? (looksUp ? settings.ncStatus : undefined);
    const sent = found === undefined || !unreachable.has(found);
    const shown = channel === 'sms' && settings.ncStatusWithoutLookup === 'present';
    const ncStatus = found ?? (shown ? settings.ncStatus : undefined);
    const remembers = settings.resendPlaceholders === 'remembered';
    const placeholders = remembers ? { ...pin.placeholders, ...given } : given;
    if (remembers) pin.placeholders = placeholders;
    if (sent) {
      const text = this.render(template, { ...placeholders, pin: pin.value });
      this.options.deliver({
        to: pin.to,
        channel,
        text,
        pin: pin.value,
        pinId,
        from: pin.from ?? sender(template),
        at: now(),
        resend: pin.sentAt !== undefined,
        ...(channel === 'sms' && countParts(text)),
        ...(channel === 'voice' && { language: (template.channel === 'text' && template.language) || 'en' }),
      });
      pin.sentAt = now();
    }
    const tracking = trackDelivery ? { externalMessageId: randomUuid(random) } : {};
    if (channel === 'email') {
      const description = 'Message accepted, pending for delivery.';
      return { pinId, to: pin.to, emailStatus: { name: settings.emailStatus, description } };
    }
    if (channel === 'voice') return { pinId, to: pin.to, callStatus: settings.callStatus, ...tracking };
    return {
      pinId,
      to: pin.to,
      ncStatus,
      smsStatus: sent ? 'MESSAGE_SENT' : 'MESSAGE_NOT_SENT',
      ...tracking,
    };
  }

  private render(template: Template, values: Record<string, string>): string {
    if (template.channel === 'text') return fillTemplate(template.messageText, values);
    const text = this.options.emailTemplates[template.emailTemplateId] ?? 'Your PIN is {$pin}.';
    return fillEmailTemplate(text, values);
  }
}

/** The results of a lookup that keep an SMS from being sent; Infobip's texts use both names. */
const unreachable: ReadonlySet<string> = new Set(['NC_DESTINATION_NOT_REACHABLE', 'NC_NOT_REACHABLE']);

/** Digits of a phone number, also when it was written with plus sign, spaces or dashes; an e-mail address as it is. */
export function normalizeRecipient(to: string): string {
  return to.includes('@') ? to.trim() : to.replace(/\D/g, '');
}

function sender(template: Template): string {
  if (template.channel === 'email') return template.from ?? 'no-reply@example.com';
  return template.senderId ?? 'ServiceSMS';
}

function attemptsLeft(pin: Pin, { configuration }: Application): number {
  return Math.max(0, configuration.pinAttempts - pin.attempts.used);
}

function makePin(
  random: Random,
  { pinType, pinLength }: Template,
  { pinCase, pinStart }: Pick<Behaviour, 'pinCase' | 'pinStart'>,
): string {
  const alphabet = alphabets[pinType];
  const drawn = randomText(random, alphabet, pinLength);
  const value = pinStart === 'zero' ? `${alphabet[0]}${drawn.slice(1)}` : drawn;
  return pinCase === 'upper' ? value : value.toLowerCase();
}

interface Extras {
  placeholders: Record<string, string>;
  trackDelivery: boolean;
}

function readExtras(fields: Fields, channel: Channel): Extras {
  const placeholders = fields.placeholders('placeholders');
  if (channel !== 'email') return { placeholders, trackDelivery: fields.boolean('trackDelivery') ?? false };
  fields.placeholders('landingPagePlaceholders');
  return { placeholders, trackDelivery: false };
}
