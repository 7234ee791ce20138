/** What the phases of one strategy share: its counters, its challenges, its recipients and its voice. */

import { isIPv6 } from 'node:net';
import { createOutcome, type Outcome, type Turn } from './action.js';
import { type Counters, createCounters, type Payer, type Refusal } from './budgets.js';
import { type Challenge, maskedRecipient } from './challenge.js';
import { type Challenges, createChallenges } from './challenges.js';
import { createPace, type Operation, type Pace } from './decoy.js';
import { codeOf, fromOption, SmsOtpError, settled, withDeadline } from './errors.js';
import type { EventBody, EventFields, SmsOtpEvent } from './events.js';
import type { Settings } from './options.js';
import type { Channel } from './otp-client.js';
import { addressOf, createRecipients, isTest, type Recipients, type Target } from './recipient.js';
import { clientAddress, isObject, property, type RequestLike } from './request.js';

/** The parts of one strategy. */
export interface Parts {
  settings: Settings;
  counters: Counters;
  challenges: Challenges;
  recipients: Recipients;
  pace: Pace;
  outcome: Outcome;
  emit(event: EventBody): void;
  /** What an event says about a recipient. */
  fieldsOf(target: Target, channel: Channel): Partial<EventFields>;
  /** Whose budgets a request for this recipient counts against. */
  payerOf(req: RequestLike, target: Target | Challenge, channel: Channel): Promise<Payer>;
  /** A budget of ours refuses. */
  tooMany(turn: Turn, refusal: Refusal, fields: Partial<EventFields>): ReturnType<Outcome>;
  /** The service's own limit refuses. */
  serviceLimit(turn: Turn, thrown: unknown): ReturnType<Outcome>;
  /** Says once that visitors are not told of sends that the service refuses. */
  warnOfRefusals(thrown: unknown): void;
  /** Says once that a form was not read, where there is none. */
  warnOfNoBody(req: RequestLike): void;
  misconfigured(problem: string): SmsOtpError;
}

// A family, or a small office. A number that is typed as one's own is one user's.
const SHARED_BY = 3;

/** Puts the parts of a strategy together. */
export function createParts(settings: Settings): Parts {
  const { name, onEvent, budgets } = settings;
  const counters = createCounters({
    ...settings,
    usersPerNumber: settings.recipient ? SHARED_BY : settings.subject && 1,
    hasDecoys: settings.canReceivePin !== undefined,
    onNear: (budget, percent) => emit({ type: 'budget.near', budget, percent }),
  });
  const outcome = createOutcome(settings.messages, emit);
  const countsClients = Boolean(
    budgets.uncompletedPerClient?.length || budgets.failedChecksPerClient?.length,
  );
  const warned = new Set<string>();

  return {
    settings,
    counters,
    challenges: createChallenges(settings.challenges, name, settings.storeTimeoutMs, settings.kind),
    recipients: createRecipients(settings),
    pace: createPace(
      settings.canReceivePin !== undefined,
      (thrown) => !isServiceLimit(thrown) && !isUnknownPin(thrown) && !isRefused(thrown),
      // A resend of a PIN that the service has forgotten becomes a send, and a check beyond its limit waits for its turn.
      (operation, thrown) =>
        (operation === 'check' && isServiceLimit(thrown)) || (operation === 'resend' && isUnknownPin(thrown)),
    ),
    outcome,
    emit,
    fieldsOf,
    payerOf,
    tooMany,
    serviceLimit,
    warnOfRefusals,
    warnOfNoBody,
    misconfigured,
  };

  function emit(event: EventBody): void {
    if (onEvent === undefined) return;
    try {
      // The union of events without two fields, and the two fields: TypeScript cannot add that up.
      settled(onEvent({ at: Date.now(), strategy: name, ...event } as SmsOtpEvent));
    } catch {
      // An audit log that fails must not decide over a login.
    }
  }

  function fieldsOf(target: Target, channel: Channel): Partial<EventFields> {
    const recipient = addressOf(target, channel);
    if (onEvent === undefined || recipient === undefined) return {};
    return {
      channel,
      recipient: maskedRecipient({ ...target, channel }),
      recipientHash: counters.hash(recipient),
      ...(target.country !== undefined && channel !== 'email' && { country: target.country }),
      ...(target.subject !== undefined && { subject: target.subject }),
      ...(isTest(target, channel) && { test: true }),
    };
  }

  async function payerOf(req: RequestLike, target: Target | Challenge, channel: Channel): Promise<Payer> {
    return {
      recipient: addressOf(target, channel) ?? '',
      subject: target.subject,
      country: channel === 'email' ? undefined : target.country,
      client: countsClients ? clientOf(req) : undefined,
      // Asked once for a challenge: a login is counted where its PIN was.
      known: 'id' in target ? target.known === true : await isKnown(req, target),
      test: isTest(target, channel),
    };
  }

  async function isKnown(req: RequestLike, { phoneNumber, email, subject }: Target): Promise<boolean> {
    const { knownBrowser } = settings;
    if (knownBrowser === undefined) return false;
    const recipient = {
      ...(phoneNumber !== undefined && { phoneNumber }),
      ...(email !== undefined && { email }),
      ...(subject !== undefined && { subject }),
    };
    return (
      (await fromOption('knownBrowser', settings.verifyTimeoutMs, () => knownBrowser(req, recipient))) ===
      true
    );
  }

  function clientOf(req: RequestLike): Payer['client'] {
    if (settings.clientKey) {
      const key = settled(settings.clientKey(req));
      if (typeof key !== 'string' || key === '')
        throw misconfigured('`clientKey` gave no client for a request');
      const address = isIPv6(key) && clientAddress({ ip: key, headers: {} });
      return isObject(address) ? address : { family: 4, key };
    }
    const address = clientAddress(req);
    if (address === undefined) {
      if (property(property(req, 'socket'), 'destroyed') === true) {
        throw new SmsOtpError(
          'ERR_SMS_OTP_HOST',
          'The visitor has hung up: there is no address to count for',
        );
      }
      throw misconfigured('a request has no address (`req.ip`) to count for: give the option `clientKey`');
    }
    if (address !== 'proxy') return address;
    warnOnce(
      'SMS_OTP_TRUST_PROXY',
      'requests come through a proxy that is not trusted, so every visitor has its address and budgets per client ' +
        "are skipped. Set Express's `trust proxy`.",
    );
    return undefined;
  }

  function warnOfRefusals(thrown: unknown): void {
    warnOnce(
      'SMS_OTP_SEND_REFUSED',
      `the PIN service refused a send (${codeOf(thrown) ?? 'status 400'}). Visitors are not told, since that would ` +
        'tell who can receive a PIN. `npx passport-sms-otp doctor` looks for the reason.',
    );
  }

  function warnOfNoBody(req: RequestLike): void {
    if (req.body !== undefined) return;
    warnOnce(
      'SMS_OTP_NO_BODY',
      'a request came without a body. If it was a form: does `express.urlencoded({ extended: false })` run before the ' +
        'route? Fields are read from `req.body`.',
    );
  }

  function warnOnce(code: string, problem: string): void {
    if (warned.has(code)) return;
    warned.add(code);
    const message = `SmsOtpStrategy '${name}': ${problem}`;
    process.emitWarning(message, { code });
    emit({ type: 'configuration.warned', message });
  }

  function tooMany(turn: Turn, refusal: Refusal, fields: Partial<EventFields>) {
    const { budget, retryAfterSeconds, stopped } = refusal;
    emit({ type: 'budget.refused', ...fields, budget, retryAfterSeconds, code: 'too_many_requests' });
    if (stopped !== undefined && fields.country !== undefined) {
      emit({ type: 'country.stopped', ...fields, country: fields.country, ...stopped });
    }
    return outcome(turn, 'too_many_requests', { retryAfterSeconds, budget });
  }

  function serviceLimit(turn: Turn, thrown: unknown) {
    const retryAfterSeconds = retryAfter(thrown) ?? DEFAULT_RETRY_SECONDS;
    return outcome(turn, 'too_many_requests', { retryAfterSeconds, budget: 'service' });
  }

  function misconfigured(problem: string): SmsOtpError {
    return new SmsOtpError('ERR_SMS_OTP_CONFIGURATION', `SmsOtpStrategy '${name}': ${problem}.`);
  }
}

// The service gave no time, and its windows are a day at the most: a minute is a polite first guess.
const DEFAULT_RETRY_SECONDS = 60;

/** Whether the service's own limit refused: it surely did nothing. */
export function isServiceLimit(thrown: unknown): boolean {
  return codeOf(thrown) === 'ERR_INFOBIP_RATE_LIMITED' || property(thrown, 'status') === 429;
}

// Longer than a client of the service takes with any time limit of its own.
const LONGEST_CALL_MS = 300_000;

/** The answer of the client, which may be anybody's: one that is silent must not hold the request for ever. */
export function fromService<T>(answer: Promise<T>): Promise<T> {
  return withDeadline(answer, LONGEST_CALL_MS, () => new Error(`no answer after ${LONGEST_CALL_MS} ms`));
}

/** Whether the service does not know the PIN id (any more). */
export function isUnknownPin(thrown: unknown): boolean {
  return codeOf(thrown) === 'ERR_INFOBIP_NOT_FOUND' || property(thrown, 'status') === 404;
}

/** Whether the service refused what this one request asked for, as it would again: no outage. */
export function isRefused(thrown: unknown): boolean {
  return codeOf(thrown) === 'ERR_INFOBIP_BAD_REQUEST' || property(thrown, 'status') === 400;
}

/** Whether the request surely did nothing at the service. */
export function isSurelyUndone(thrown: unknown): boolean {
  return isServiceLimit(thrown) || property(thrown, 'sent') === false;
}

/** The wait that an error asks for, in whole seconds. */
export function retryAfter(thrown: unknown): number | undefined {
  const seconds = property(thrown, 'retryAfterSeconds');
  return typeof seconds === 'number' && seconds >= 0 ? Math.max(1, Math.ceil(seconds)) : undefined;
}

/** The request's error for what the service did wrong. */
export function serviceError(operation: Operation, cause: unknown): SmsOtpError {
  if (cause instanceof SmsOtpError) return cause;
  return new SmsOtpError('ERR_SMS_OTP_SERVICE', `The PIN service failed to ${operation} a PIN`, { cause });
}

/** The request's error for an answer of the service that cannot be believed. */
export function nonsense(operation: Operation): SmsOtpError {
  return new SmsOtpError(
    'ERR_SMS_OTP_SERVICE',
    `The PIN service answered nonsense when asked to ${operation} a PIN`,
  );
}
