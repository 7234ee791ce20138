/** SmsOtpStrategy: one request becomes one phase (issue, resend, check), and ends in exactly one Passport action. */

import PassportStrategy from 'passport-strategy';
import {
  type CheckGrant,
  type Counters,
  createCounters,
  type Payer,
  type Refusal,
  type SendGrant,
  type Ticket,
} from './budgets.js';
import {
  type Challenge,
  maskedRecipient,
  newChallengeId,
  readChallenge,
  requireServerSession,
  saveSession,
  sessionChallenges,
  setNote,
  settle,
} from './challenge.js';
import { createPace, type Operation, type Pace } from './decoy.js';
import { asError, codeOf, fromStore, SmsOtpError } from './errors.js';
import type { EventFields, SmsOtpEvent } from './events.js';
import {
  type Awaitable,
  parseOptions,
  type SendContext,
  type Settings,
  type SmsOtpStrategyOptions,
} from './options.js';
import type { Channel, PinVerification, SentPin } from './otp-client.js';
import { OUTCOMES, type OutcomeCode, type OutcomeDetails } from './outcome.js';
import {
  type CountryCode,
  maskedEmail,
  maskedEnd,
  type PhoneNumber,
  plainDigits,
  readPhoneNumber,
} from './phone.js';
import {
  bodyField,
  clientAddress,
  isPost,
  isSameSite,
  property,
  type RequestLike,
  signedInAs,
} from './request.js';
import { markAtLogin, markNow, signOut } from './second-factor.js';

/** What the last PIN proved, and nothing else: the number when it went by SMS or voice, the address when by e-mail. */
export interface Proof<Req extends RequestLike = RequestLike> {
  phoneNumber?: string;
  email?: string;
  /** The host's user id, where `recipient` or `subject` named one at the issue. */
  subject?: string;
  channel: Channel;
  req: Req;
}

/** A user, or a reason why there is none: false, null and undefined all refuse. */
export type Verified = Express.User | false | null | undefined;

/** Passport's callback: an error, or a user (or false) and what the host wants to tell beside. */
export type VerifyDone = (error?: unknown, user?: Verified, info?: unknown) => void;

/**
 * Finds or creates the user for a proof. It may call `done` or return (a promise of) the user; the first to settle
 * counts.
 */
export type Verify<Req extends RequestLike = RequestLike> = (
  proof: Proof<Req>,
  done: VerifyDone,
  // biome-ignore lint/suspicious/noConfusingVoidType: a function that calls `done` returns nothing
) => Awaitable<Verified | void>;

/** Which of the three things a request asks for. */
export type Phase = 'issue' | 'resend' | 'check';

/** The strategy's own options of `passport.authenticate(name, options)`, beside Passport's. */
export interface SmsOtpAuthenticateOptions {
  /** Default: 'check' when the form has the PIN field, else 'issue'. */
  phase?: Phase;
  /** Where issue and resend send the browser (303) once a PIN is on its way. Without it they fail with status 202. */
  challengeRedirect?: string;
  /** The channel, when the form does not say. */
  channel?: Channel;
}

// Passport's five verbs, less `pass`: a route that the strategy guards must not run because somebody asked for a PIN.
type Action =
  | { type: 'success'; user: unknown; info: object }
  | { type: 'fail'; info: object; status: number; challenge?: Challenge }
  | { type: 'redirect'; url: string; challenge?: Challenge }
  | { type: 'error'; error: Error };

interface Actions {
  success(user: unknown, info: object): void;
  fail(info: object, status: number): void;
  redirect(url: string, status: number): void;
  error(error: Error): void;
}

// The base class is declared here and not by its types: a host's strict build must not depend on them.
const Base: new () => object = PassportStrategy;

/**
 * Logs people in with a one-time PIN.
 *
 * @typeParam Req the host's request, where more than {@link RequestLike} is wanted in the callbacks
 */
export class SmsOtpStrategy<Req extends RequestLike = RequestLike> extends Base {
  /** The name under which Passport knows it. */
  readonly name: string;
  /** @internal Passport runs the strategy through Object.create, where private members (#) would throw. */
  readonly _machine: Machine;

  /**
   * @param options see {@link SmsOtpStrategyOptions}
   * @param verify finds or creates the user whose phone was proved
   * @throws TypeError for an option that is missing, misspelt or contradicts another
   */
  constructor(options: SmsOtpStrategyOptions<Req>, verify: Verify<Req>) {
    super();
    const settings = parseOptions(options);
    if (typeof verify !== 'function') {
      throw new TypeError(
        'SmsOtpStrategy: the verify callback is missing. Give a function that finds or creates the user: async ({ phoneNumber }) => user.',
      );
    }
    this.name = settings.name;
    this._machine = createMachine(settings, verify as Verify<RequestLike>);
  }

  /** Called by Passport. */
  authenticate(req: RequestLike, options?: SmsOtpAuthenticateOptions): void {
    // Taken now: with `passport.authenticate(instance)` the next request overwrites them on the shared object.
    const actions = Object.fromEntries(
      ['success', 'fail', 'redirect', 'error'].map((verb) => [verb, property(this, verb)]),
    ) as unknown as Actions;
    void run(this._machine, req, options ?? {}, actions);
  }
}

async function run(
  machine: Machine,
  req: RequestLike,
  options: SmsOtpAuthenticateOptions,
  actions: Actions,
): Promise<void> {
  let action: Action;
  try {
    action = await machine.decide(req, options);
  } catch (thrown) {
    action = {
      type: 'error',
      error: asError(thrown, 'A function of the host failed with something that is no Error'),
    };
  }
  try {
    perform(action, actions);
  } catch (thrown) {
    endWithError(req, actions, asError(thrown, 'A Passport action failed with something that is no Error'));
  }
}

function perform(action: Action, { success, fail, redirect, error }: Actions): void {
  if (action.type === 'success') success(action.user, action.info);
  else if (action.type === 'fail') fail(action.info, action.status);
  else if (action.type === 'redirect') redirect(action.url, 303);
  else error(action.error);
}

// The host's own callback threw. If it throws once more, the request is ended here: it must not hang, and an
// unhandled rejection would end the process.
function endWithError(req: RequestLike, { error }: Actions, thrown: Error): void {
  try {
    error(thrown);
  } catch (again) {
    process.emitWarning(asError(again, 'The error action failed with something that is no Error'));
    const res = property(req, 'res');
    const end = property(res, 'end');
    if (typeof end === 'function' && property(res, 'headersSent') !== true) {
      Reflect.set(Object(res), 'statusCode', 500);
      Reflect.apply(end, res, []);
    }
  }
}

interface Machine {
  decide(req: RequestLike, options: SmsOtpAuthenticateOptions): Promise<Action>;
}

/** A recipient that was judged: at least one channel can reach it. */
interface Target {
  phoneNumber?: string;
  email?: string;
  subject?: string;
  country?: CountryCode;
  maskedPhone?: string;
  maskedEmail?: string;
  channels: Channel[];
}

// A resend needs this much of the PIN's life to be left: a PIN that expires while it is typed is no help.
const LEAST_LEFT_MS = 120_000;
// The service allows so many checks of a number per few seconds: a fast second try waits instead of failing.
const LONGEST_PAUSE_SECONDS = 3;

function createMachine(settings: Settings, verify: Verify<RequestLike>): Machine {
  const { client, name } = settings;
  const pace: Pace = createPace();
  const counters: Counters = createCounters({
    ...settings,
    onNear: (budget, percent) => emit({ type: 'budget.near', budget, percent }),
  });
  // Issues of this process that are under way, by session and recipient: a double click waits for the first.
  const underWay = new Map<string, Promise<Challenge | undefined>>();
  let warnedOfProxy = false;

  return { decide };

  async function decide(req: RequestLike, options: SmsOtpAuthenticateOptions): Promise<Action> {
    if (!isPost(req)) {
      setHeader(req, 'Allow', 'POST');
      return refused(req, options, 'method_not_allowed');
    }
    if (!isSameSite(req, settings.trustedOrigins)) return refused(req, options, 'cross_site');
    const phase = phaseOf(req, options);
    if (settings.challenges === sessionChallenges || settings.signedIn) requireServerSession(req);
    if (phase === 'check') return check(req, options);
    requireWayBack(options);
    return phase === 'issue' ? issue(req, options) : resend(req, options);
  }

  function phaseOf(req: RequestLike, { phase }: SmsOtpAuthenticateOptions): Phase {
    if (phase === undefined) return bodyField(req, settings.pinField) === undefined ? 'issue' : 'check';
    if (phase === 'issue' || phase === 'resend' || phase === 'check') return phase;
    throw misconfigured(`the phase is ${JSON.stringify(phase)}. It must be 'issue', 'resend' or 'check'`);
  }

  function requireWayBack(options: SmsOtpAuthenticateOptions): void {
    if (options.challengeRedirect !== undefined) return;
    for (const option of ['failureRedirect', 'failWithError']) {
      if (property(options, option)) {
        throw misconfigured(
          `\`${option}\` without \`challengeRedirect\` would treat a PIN that was sent as a failure. Give \`challengeRedirect\``,
        );
      }
    }
  }

  function misconfigured(problem: string): SmsOtpError {
    return new SmsOtpError('ERR_SMS_OTP_CONFIGURATION', `SmsOtpStrategy '${name}': ${problem}.`);
  }

  // ---- issue ----

  async function issue(req: RequestLike, options: SmsOtpAuthenticateOptions): Promise<Action> {
    // Before the sign-out gives the session another id: two clicks come with the same one.
    const session = property(req, 'sessionID');
    const target = await resolveTarget(req);
    if ('code' in target) return outcome(req, options, target.code, target.details);
    const channel = channelAtIssue(req, options, target);
    if (channel === undefined) {
      return outcome(req, options, 'channel_not_allowed', { channels: firstChannels(target) });
    }
    const open = await openFor(req, target, channel);
    if (open === undefined) {
      return oneByOne(session, target, (earlier) => send(req, options, target, channel, { earlier }));
    }
    if (Date.now() < open.cooldownUntil) return sentOutcome(req, options, open, true);
    return again(req, options, open, channel, true);
  }

  // The open challenge of this session, if this issue is for the same recipient, channel and subject.
  async function openFor(req: RequestLike, target: Target, channel: Channel): Promise<Challenge | undefined> {
    const challenge = await usable(req);
    const same =
      challenge !== undefined &&
      challenge.channel === channel &&
      addressOf(challenge, channel) === addressOf(target, channel) &&
      challenge.subject === target.subject &&
      Date.now() < challenge.expiresAt;
    return same ? challenge : undefined;
  }

  // A challenge of this session and of whoever is signed in now that has attempts left and was not used.
  async function usable(req: RequestLike): Promise<Challenge | undefined> {
    const challenge = await stored(req);
    if (challenge === undefined || challenge.signedInAs !== signedInAs(req)) return undefined;
    const used = Math.max(challenge.attemptsUsed, await counters.attemptsUsed(challenge.id));
    return used < challenge.attempts ? challenge : undefined;
  }

  // A double click: the second request is told of the first one of the same session, and waits for it where it must.
  async function oneByOne(
    session: unknown,
    target: Target,
    act: (earlier: Promise<Challenge | undefined> | undefined) => Promise<Action>,
  ): Promise<Action> {
    if (typeof session !== 'string') return act(undefined);
    const key = JSON.stringify([session, target.subject, target.phoneNumber, target.email]);
    const earlier = underWay.get(key);
    const acting = act(earlier);
    if (earlier) return acting;
    const found = acting.then(
      (action) => ('challenge' in action ? action.challenge : undefined),
      () => undefined,
    );
    underWay.set(key, found);
    return acting.finally(() => underWay.delete(key));
  }

  type Unresolved = { [Code in OutcomeCode]: { code: Code; details: OutcomeDetails[Code] } }[OutcomeCode];

  async function resolveTarget(req: RequestLike): Promise<Target | Unresolved> {
    if (settings.recipient === undefined && settings.subject === undefined)
      return typedTarget(req, undefined);
    const known = resolveKnown(req);
    if (!settings.signedIn) {
      // Whatever the resolver says: where the host forgot `session: false`, the password alone has signed somebody in.
      await known.catch(() => undefined);
      await fromStore(signOut(req), settings.storeTimeoutMs);
    }
    return known;
  }

  async function resolveKnown(req: RequestLike): Promise<Target | Unresolved> {
    if (settings.signedIn && (!req.user || signedInAs(req) === undefined)) return noRecipient();
    if (settings.subject) {
      const subject = await fromHost(settings.subject(req), 'subject');
      if (subject === null || subject === undefined) return noRecipient();
      return typedTarget(req, requireSubject(subject, 'subject'));
    }
    const recipient = await fromHost(settings.recipient?.(req) ?? null, 'recipient');
    if (recipient === null || recipient === undefined) return noRecipient();
    if (typeof recipient !== 'object')
      throw misconfigured('`recipient` must return { phoneNumber, email, subject } or null');
    const subject = requireSubject(recipient.subject, 'recipient');
    const number = readPhoneNumber(recipient.phoneNumber, settings.defaultCountry);
    const phone = typeof number === 'object' && isCountryServed(number) ? number : undefined;
    const email = readEmail(recipient.email);
    const target: Target = {
      subject,
      ...(phone && {
        phoneNumber: phone.phoneNumber,
        country: phone.country,
        maskedPhone: maskedEnd(phone.phoneNumber),
      }),
      ...(email && { email, maskedEmail: maskedEmail(email) }),
      channels: settings.channels.filter((channel) =>
        channel === 'email' ? email : phone && isTypeServed(phone, channel),
      ),
    };
    return firstChannels(target).length > 0 ? target : noRecipient();
  }

  function noRecipient(): Unresolved {
    return { code: 'recipient_missing', details: {} };
  }

  function requireSubject(subject: unknown, option: string): string {
    if (typeof subject === 'string' && subject !== '') return subject;
    throw misconfigured(`\`${option}\` must give the subject as a string that is not empty: String(user.id)`);
  }

  function typedTarget(req: RequestLike, subject: string | undefined): Target | Unresolved {
    const number = readPhoneNumber(bodyField(req, settings.phoneField), settings.defaultCountry);
    if (number === 'missing') return { code: 'phone_missing', details: {} };
    if (number === 'invalid') return { code: 'phone_invalid', details: {} };
    const target: Target = {
      phoneNumber: number.phoneNumber,
      country: number.country,
      maskedPhone: subject === undefined ? number.masked : maskedEnd(number.phoneNumber),
      ...(subject !== undefined && { subject }),
      channels: settings.channels.filter((channel) => isTypeServed(number, channel)),
    };
    if (!isCountryServed(number) || firstChannels(target).length === 0) {
      return { code: 'phone_not_allowed', details: { country: number.country } };
    }
    return target;
  }

  function isCountryServed(number: PhoneNumber): boolean {
    return settings.countries === 'all' || settings.countries.has(number.country);
  }

  function isTypeServed(number: PhoneNumber, channel: Channel): boolean {
    if (number.type === undefined || channel === 'email') return false;
    return !settings.blockedNumberTypes[channel].has(number.type);
  }

  // Voice lands in voicemail, so it is for those whom a message did not reach, unless there is nothing else.
  function firstChannels({ channels }: Target): Channel[] {
    return settings.channels.length === 1 ? channels : channels.filter((channel) => channel !== 'voice');
  }

  function channelAtIssue(
    req: RequestLike,
    options: SmsOtpAuthenticateOptions,
    target: Target,
  ): Channel | undefined {
    const possible = firstChannels(target);
    const asked = askedChannel(req, options);
    return asked === undefined ? possible[0] : possible.find((channel) => channel === asked);
  }

  function askedChannel(req: RequestLike, options: SmsOtpAuthenticateOptions): unknown {
    const field = bodyField(req, settings.channelField);
    return field === undefined || field === '' ? options.channel : field;
  }

  // ---- send and resend ----

  /**
   * Makes a new PIN and puts its challenge in place of an open one. `issue` is there when the visitor asked for a PIN
   * as if for the first time: then a PIN of a moment ago will do.
   */
  async function send(
    req: RequestLike,
    options: SmsOtpAuthenticateOptions,
    target: Target,
    channel: Channel,
    issue?: { earlier: Promise<Challenge | undefined> | undefined },
  ): Promise<Action> {
    const payer = await payerOf(req, target, channel);
    const grant = await counters.takeSend(payer, { voice: channel === 'voice', fresh: true });
    if (!grant.granted) {
      const found =
        grant.isCooldown && issue ? await foundAfterAll(req, target, channel, issue.earlier) : undefined;
      if (found) return sentOutcome(req, options, found, true);
      return tooMany(req, options, grant, fieldsOf(target, channel));
    }
    const sentAt = Date.now();
    const sent = await deliver(req, options, { target, channel, grant, operation: 'send' });
    if ('type' in sent) return sent;
    const known = signedInAs(req);
    const challenge: Challenge = {
      id: newChallengeId(),
      pinId: sent.pinId,
      channel,
      ...recipientOf(target),
      channels: target.channels,
      expiresAt: sentAt + settings.pinTtlSeconds * 1000,
      cooldownUntil: grant.cooldownUntil,
      resendAt: grant.resendAt,
      attempts: settings.attempts,
      attemptsUsed: 0,
      sentAt,
      ...(known !== undefined && { signedInAs: known }),
      ...(grant.credit && { credit: grant.credit }),
      ...(sent.decoy && { decoy: true }),
      ...(payer.known && { known: true }),
    };
    return keep(req, options, challenge);
  }

  /** Sends the PIN of an open challenge again, or a new one where the old would be of no use. */
  async function again(
    req: RequestLike,
    options: SmsOtpAuthenticateOptions,
    challenge: Challenge,
    channel: Channel,
    isIssue: boolean,
  ): Promise<Action> {
    const otherAddress = (challenge.channel === 'email') !== (channel === 'email');
    const now = Date.now();
    if (otherAddress || challenge.expiresAt - now < LEAST_LEFT_MS)
      return send(req, options, challenge, channel);

    const payer = await payerOf(req, challenge, channel);
    const grant = await counters.takeSend(payer, { voice: channel === 'voice', fresh: false });
    if (!grant.granted) {
      // Another browser asked for a PIN of the same number a moment ago; this one's PIN is as good as before.
      if (isIssue && grant.isCooldown) return sentOutcome(req, options, challenge, true);
      return tooMany(req, options, grant, fieldsOf(challenge, channel));
    }
    const sent = await deliver(req, options, {
      target: challenge,
      channel,
      grant,
      operation: 'resend',
      challenge,
    });
    if ('type' in sent) return sent;
    const { cooldownUntil, resendAt } = grant;
    return keep(req, options, { ...challenge, pinId: sent.pinId, channel, cooldownUntil, resendAt });
  }

  async function resend(req: RequestLike, options: SmsOtpAuthenticateOptions): Promise<Action> {
    const challenge = await usable(req);
    if (challenge === undefined || !(await isStillTheirs(req, challenge)))
      return outcome(req, options, 'no_challenge', {});
    const asked = askedChannel(req, options) ?? challenge.channel;
    const channel = challenge.channels.find((possible) => possible === asked);
    if (channel === undefined)
      return outcome(req, options, 'channel_not_allowed', { channels: challenge.channels });
    return again(req, options, challenge, channel, false);
  }

  interface Delivery {
    target: Target | Challenge;
    channel: Channel;
    grant: SendGrant;
    operation: 'send' | 'resend';
    challenge?: Challenge;
  }

  /** Asks the service to send; the action instead of a PIN id where nothing was sent. */
  async function deliver(
    req: RequestLike,
    options: SmsOtpAuthenticateOptions,
    delivery: Delivery,
  ): Promise<{ pinId: string; decoy: boolean } | Action> {
    const { target, channel, grant, operation, challenge } = delivery;
    const fields = fieldsOf(target, channel);
    const context = sendContext(req, target, channel);
    let decoy = challenge?.decoy === true;
    let placeholders: Record<string, string> | undefined;
    let messageId: string;
    try {
      if (settings.beforeSend && (await fromHost(settings.beforeSend(context), 'beforeSend')) !== true) {
        await counters.giveBack(grant.ticket);
        emit({ type: 'pin.not_sent', reason: 'refused_by_host', ...fields, code: 'not_now' });
        return outcome(req, options, 'not_now', {});
      }
      if (operation === 'send' && settings.canReceivePin) {
        decoy = (await fromHost(settings.canReceivePin(context), 'canReceivePin')) !== true;
      }
      placeholders =
        settings.placeholders && (await fromHost(settings.placeholders(context), 'placeholders'));
      messageId = settings.messageId(context);
      // A session that cannot be written must be found out before a message is paid for.
      if (settings.challenges === sessionChallenges)
        await fromStore(saveSession(requireServerSession(req)), settings.storeTimeoutMs);
    } catch (error) {
      await counters.giveBack(grant.ticket).catch(() => undefined);
      throw error;
    }
    if (decoy) {
      await pace.wait(operation);
      emit({ type: 'pin.not_sent', reason: 'cannot_receive', ...fields });
      return { pinId: '', decoy };
    }

    const started = performance.now();
    let sent: SentPin;
    try {
      sent = await ask(operation, { target, channel, messageId, placeholders, challenge });
    } catch (thrown) {
      return failedToSend(req, options, delivery, thrown, performance.now() - started);
    }
    const durationMs = performance.now() - started;
    pace.record(operation, durationMs);
    if (sent.sent === true && typeof sent.pinId === 'string' && sent.pinId !== '') {
      emit({ type: operation === 'send' ? 'pin.sent' : 'pin.resent', ...fields, durationMs });
      return { pinId: sent.pinId, decoy: false };
    }
    if (sent.sent !== false) throw nonsense('send');
    emit({ type: 'pin.not_sent', reason: 'undeliverable', ...fields, durationMs, code: 'undeliverable' });
    if (settings.canReceivePin) return insteadOfPin(challenge);
    await counters.giveBack(grant.ticket, { keepCooldown: true });
    const channels = target.channels.filter((other) => other !== channel);
    return outcome(req, options, 'undeliverable', { channels });
  }

  // Where nobody may learn who can get a PIN, one that was not sent looks like one that was.
  function insteadOfPin(challenge: Challenge | undefined): { pinId: string; decoy: boolean } {
    return { pinId: challenge?.pinId ?? '', decoy: challenge === undefined };
  }

  function nonsense(operation: Operation): SmsOtpError {
    return new SmsOtpError('ERR_SMS_OTP_SERVICE', `The PIN service answered a ${operation} with nonsense`);
  }

  async function ask(
    operation: 'send' | 'resend',
    what: {
      target: Target | Challenge;
      channel: Channel;
      messageId: string;
      placeholders: Record<string, string> | undefined;
      challenge: Challenge | undefined;
    },
  ): Promise<SentPin> {
    const { target, channel, messageId, challenge } = what;
    const placeholders = what.placeholders && { placeholders: what.placeholders };
    if (operation === 'resend' && challenge) {
      const sent = await client.resendPin(challenge.pinId, { channel, ...placeholders });
      // "Keep the id of the answer": an answer without one leaves the old id in force.
      return { ...sent, pinId: sent.pinId || challenge.pinId };
    }
    const to = addressOf(target, channel);
    if (to === undefined)
      throw new SmsOtpError('ERR_SMS_OTP_CONFIGURATION', `No address for the channel '${channel}'`);
    return client.sendPin({ channel, applicationId: settings.applicationId, messageId, to, ...placeholders });
  }

  async function failedToSend(
    req: RequestLike,
    options: SmsOtpAuthenticateOptions,
    { target, channel, grant, operation, challenge }: Delivery,
    thrown: unknown,
    durationMs: number,
  ): Promise<{ pinId: string; decoy: boolean } | Action> {
    if (challenge && isUnknownPin(thrown)) {
      // The service has forgotten the PIN and surely sent nothing: a new one takes its place.
      await counters.giveBack(grant.ticket);
      return send(req, options, challenge, channel);
    }
    const fields = fieldsOf(target, channel);
    const limited = isServiceLimit(thrown);
    const code = limited ? 'too_many_requests' : (codeOf(thrown) ?? 'ERR_SMS_OTP_SERVICE');
    emit({ type: 'pin.not_sent', reason: limited ? 'service_limit' : 'error', ...fields, durationMs, code });
    if (limited && settings.canReceivePin) return insteadOfPin(challenge);
    const surelyNotSent = limited || property(thrown, 'sent') === false;
    if (surelyNotSent) await counters.giveBack(grant.ticket, { keepCooldown: true });
    if (limited) return serviceLimit(req, options, thrown);
    throw serviceError(operation === 'send' ? 'send the PIN' : 'send the PIN again', thrown);
  }

  // The session is read once more: the first of two clicks may have been answered in the meantime. Where each click
  // got a session of its own (the sign-out before a second factor), the second takes the first one's challenge over.
  async function foundAfterAll(
    req: RequestLike,
    target: Target,
    channel: Channel,
    earlier: Promise<Challenge | undefined> | undefined,
  ): Promise<Challenge | undefined> {
    const theirs = await earlier;
    if (settings.challenges === sessionChallenges) await reload(req);
    const found = await openFor(req, target, channel);
    if (found || theirs === undefined || theirs.channel !== channel) return found;
    await replace(req, theirs);
    return theirs;
  }

  // A session that was never saved cannot be read again, and then there is no challenge in it either.
  async function reload({ session }: RequestLike): Promise<void> {
    const method = property(session, 'reload');
    if (typeof method !== 'function') return;
    const reloaded = settle((callback) => Reflect.apply(method, session, [callback]));
    await fromStore(reloaded, settings.storeTimeoutMs).catch(() => undefined);
  }

  async function keep(
    req: RequestLike,
    options: SmsOtpAuthenticateOptions,
    challenge: Challenge,
  ): Promise<Action> {
    await replace(req, challenge);
    return sentOutcome(req, options, challenge, false);
  }

  async function sentOutcome(
    req: RequestLike,
    options: SmsOtpAuthenticateOptions,
    challenge: Challenge,
    isRepeat: boolean,
  ): Promise<Action> {
    if (options.challengeRedirect !== undefined) {
      return { type: 'redirect', url: options.challengeRedirect, challenge };
    }
    const action = outcome(req, options, 'pin_sent', {
      to: maskedRecipient(challenge),
      channel: challenge.channel,
      channels: challenge.channels,
      expiresAt: new Date(challenge.expiresAt),
      resendAt: new Date(challenge.resendAt),
      alreadySent: isRepeat,
    });
    return { ...action, challenge };
  }

  // ---- check ----

  async function check(req: RequestLike, options: SmsOtpAuthenticateOptions): Promise<Action> {
    const challenge = await stored(req);
    if (
      challenge === undefined ||
      challenge.signedInAs !== signedInAs(req) ||
      !(await isStillTheirs(req, challenge))
    ) {
      return outcome(req, options, 'no_challenge', {});
    }
    if (Date.now() >= challenge.expiresAt) return outcome(req, options, 'pin_expired', {});
    const typed = bodyField(req, settings.pinField);
    if (typed === undefined || typed === null) return outcome(req, options, 'pin_missing', {});
    const pin = readPin(typed);
    if (pin === '') return outcome(req, options, 'pin_missing', {});
    if (pin === undefined) return outcome(req, options, 'pin_malformed', {});

    const payer = await payerOf(req, challenge, challenge.channel);
    const grant: CheckGrant = await counters.takeCheck(payer, challenge);
    // Another request of this session may be about to log in: the session is left alone.
    if (grant.granted === 'exhausted') return outcome(req, options, 'attempts_exhausted', {});
    if (!grant.granted) return tooMany(req, options, grant, fieldsOf(challenge));
    return judge(req, options, {
      challenge,
      payer,
      pin,
      ticket: grant.ticket,
      attemptsUsed: grant.attemptsUsed,
    });
  }

  interface Try {
    challenge: Challenge;
    payer: Payer;
    pin: string;
    ticket: Ticket;
    attemptsUsed: number;
  }

  async function judge(req: RequestLike, options: SmsOtpAuthenticateOptions, attempt: Try): Promise<Action> {
    const { challenge, payer, ticket } = attempt;
    const started = performance.now();
    const fields = () => ({ ...fieldsOf(challenge), durationMs: performance.now() - started });
    let judgement: PinVerification;
    try {
      judgement = await askService(challenge, attempt.pin);
    } catch (thrown) {
      if (isUnknownPin(thrown)) return expired(req, options, attempt);
      const limited = isServiceLimit(thrown);
      if (limited || property(thrown, 'sent') === false) await takeBack(attempt);
      emit({
        type: 'pin.rejected',
        ...fields(),
        code: limited ? 'too_many_requests' : (codeOf(thrown) ?? 'ERR_SMS_OTP_SERVICE'),
      });
      if (limited) return serviceLimit(req, options, thrown);
      throw serviceError('check the PIN', thrown);
    }
    if (judgement.verified !== true) return rejected(req, options, attempt, judgement, fields());

    // The service would say yes twice: the claim is what makes a PIN work once.
    if (!(await counters.claim(challenge.id))) {
      await takeBack(attempt);
      return outcome(req, options, 'no_challenge', {});
    }
    emit({ type: 'pin.verified', ...fields() });
    // From here on only verify, the removal and Passport can stop the login; the counters catch up as they can.
    await counters.complete(payer, ticket, challenge).catch(() => undefined);
    await removeUsed(req);
    return logIn(req, options, challenge);
  }

  /** The service's judgement, narrowed: nothing but `verified === true` for the PIN id that was asked is a yes. */
  async function askService(challenge: Challenge, pin: string): Promise<PinVerification> {
    if (challenge.decoy) {
      await pace.wait('check');
      return { verified: false, pinId: '', reason: 'wrong_pin' };
    }
    const judgement = await withPause(() => timed('check', () => client.verifyPin(challenge.pinId, pin)));
    const pinId: unknown = property(judgement, 'pinId');
    const verified: unknown = property(judgement, 'verified');
    if (typeof verified !== 'boolean' || (pinId !== undefined && pinId !== challenge.pinId)) {
      throw nonsense('check');
    }
    return judgement;
  }

  async function withPause(request: () => Promise<PinVerification>): Promise<PinVerification> {
    try {
      return await request();
    } catch (thrown) {
      const seconds = retryAfter(thrown) ?? LONGEST_PAUSE_SECONDS;
      if (!isServiceLimit(thrown) || seconds > LONGEST_PAUSE_SECONDS) throw thrown;
      await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
      return request();
    }
  }

  async function timed<T>(operation: Operation, request: () => Promise<T>): Promise<T> {
    const started = performance.now();
    const answer = await request();
    pace.record(operation, performance.now() - started);
    return answer;
  }

  async function rejected(
    req: RequestLike,
    options: SmsOtpAuthenticateOptions,
    attempt: Try,
    judgement: Exclude<PinVerification, { verified: true }>,
    fields: Partial<EventFields>,
  ): Promise<Action> {
    const { challenge, attemptsUsed } = attempt;
    if (judgement.reason === 'expired') return expired(req, options, attempt);
    const attemptsRemaining = Math.max(0, challenge.attempts - attemptsUsed);
    // If a parallel request has used the challenge, its session may be gone, and a save would bring it back.
    const isUsed = (await counters.attemptsUsed(challenge.id)) === Number.POSITIVE_INFINITY;
    if (judgement.reason === 'no_more_attempts' || attemptsRemaining === 0) {
      emit({ type: 'challenge.exhausted', ...fields, code: 'attempts_exhausted' });
      if (!isUsed) await fromStore(settings.challenges.remove(req, name), settings.storeTimeoutMs);
      return outcome(req, options, 'attempts_exhausted', {});
    }
    emit({ type: 'pin.rejected', ...fields, attemptsRemaining, code: 'pin_wrong' });
    if (!isUsed) await replace(req, { ...challenge, attemptsUsed });
    return outcome(req, options, 'pin_wrong', { attemptsRemaining });
  }

  // The challenge stays, past its time: a resend still knows where a new PIN goes.
  async function expired(
    req: RequestLike,
    options: SmsOtpAuthenticateOptions,
    attempt: Try,
  ): Promise<Action> {
    const { challenge } = attempt;
    await takeBack(attempt);
    emit({ type: 'pin.rejected', ...fieldsOf(challenge), code: 'pin_expired' });
    await replace(req, { ...challenge, expiresAt: Math.min(challenge.expiresAt, Date.now()) });
    return outcome(req, options, 'pin_expired', {});
  }

  // What was not judged costs nothing.
  async function takeBack({ challenge, ticket }: Try): Promise<void> {
    await Promise.all([counters.giveBack(ticket), counters.giveAttemptBack(challenge.id)]);
  }

  // In the session it is only taken out: the login saves it, and express-session saves it at the end of any request.
  async function removeUsed(req: RequestLike): Promise<void> {
    if (settings.challenges === sessionChallenges)
      setNote(requireServerSession(req), 'challenges', name, undefined);
    else await fromStore(settings.challenges.remove(req, name), settings.storeTimeoutMs);
  }

  async function logIn(
    req: RequestLike,
    options: SmsOtpAuthenticateOptions,
    challenge: Challenge,
  ): Promise<Action> {
    const { channel, subject } = challenge;
    const proof: Proof = {
      ...(channel === 'email'
        ? { email: challenge.email ?? '' }
        : { phoneNumber: challenge.phoneNumber ?? '' }),
      ...(subject !== undefined && { subject }),
      channel,
      req,
    };
    const { user, info } = await callVerify(proof).catch((thrown: unknown) => {
      emit({ type: 'login.refused', ...fieldsOf(challenge), code: codeOf(thrown) ?? 'ERR_SMS_OTP_HOST' });
      throw thrown;
    });
    if (!user) {
      emit({ type: 'login.refused', ...fieldsOf(challenge), code: 'user_refused' });
      const refusal = outcome(req, options, 'user_refused', {});
      return { ...refusal, info: { ...refusal.info, ...hostInfo(info), code: 'user_refused' } };
    }
    const proven = { at: Date.now(), channel, ...(subject !== undefined && { subject }) };
    if (property(options, 'assignProperty') === undefined) {
      markAtLogin(req, name, user, proven);
    } else if (settings.signedIn && settings.recipient) {
      await fromStore(markNow(req, requireServerSession(req), name, proven), settings.storeTimeoutMs);
    }
    return { type: 'success', user, info: { ...hostInfo(info), channel } };
  }

  function callVerify(proof: Proof): Promise<{ user: unknown; info: unknown }> {
    return new Promise((resolve, reject) => {
      const failed = (thrown: unknown) =>
        reject(asError(thrown, 'verify failed with something that is no Error'));
      const timer = setTimeout(
        () =>
          failed(
            new SmsOtpError(
              'ERR_SMS_OTP_HOST',
              `verify has not answered after ${settings.verifyTimeoutMs} ms`,
            ),
          ),
        settings.verifyTimeoutMs,
      );
      const settled = (answer: { user: unknown; info: unknown }) => {
        clearTimeout(timer);
        resolve(answer);
      };
      const done: VerifyDone = (error, user, info) => {
        if (error === undefined || error === null) return settled({ user, info });
        clearTimeout(timer);
        failed(error);
      };
      (async () => verify(proof, done))().then(
        // A function that takes `done` and returns nothing has not answered yet.
        (user) => (user === undefined && verify.length >= 2 ? undefined : settled({ user, info: undefined })),
        (thrown: unknown) => {
          clearTimeout(timer);
          failed(thrown);
        },
      );
    });
  }

  // With `signedIn` the resolver says at each step who may go on; another answer than at the issue ends the challenge.
  async function isStillTheirs(req: RequestLike, challenge: Challenge): Promise<boolean> {
    if (!settings.signedIn) return true;
    if (!req.user || signedInAs(req) === undefined) return false;
    if (settings.subject) return (await fromHost(settings.subject(req), 'subject')) === challenge.subject;
    const target = await resolveKnown(req);
    return (
      !('code' in target) &&
      target.subject === challenge.subject &&
      target.phoneNumber === challenge.phoneNumber &&
      target.email === challenge.email
    );
  }

  function readPin(typed: unknown): string | undefined {
    if (typeof typed !== 'string' || typed.length > LONGEST_PIN_INPUT) return undefined;
    const pin = plainDigits(typed).replace(/[\p{Zs}\p{Pd}]/gu, '');
    return pin === '' || settings.pinShape.test(pin) ? pin : undefined;
  }

  // ---- what all phases share ----

  async function stored(req: RequestLike): Promise<Challenge | undefined> {
    return readChallenge(await fromStore(settings.challenges.get(req, name), settings.storeTimeoutMs));
  }

  async function replace(req: RequestLike, challenge: Challenge): Promise<void> {
    await fromStore(settings.challenges.set(req, name, challenge), settings.storeTimeoutMs);
  }

  async function payerOf(req: RequestLike, target: Target | Challenge, channel: Channel): Promise<Payer> {
    const recipient = addressOf(target, channel) ?? '';
    return {
      recipient,
      subject: target.subject,
      country: channel === 'email' ? undefined : target.country,
      client: clientOf(req),
      // Once for a challenge: a login is counted where its PIN was.
      known: 'id' in target ? target.known === true : (await isKnown(req, target)) === true,
    };
  }

  async function isKnown(
    req: RequestLike,
    { phoneNumber, email, subject }: Target | Challenge,
  ): Promise<boolean> {
    if (!settings.knownBrowser) return false;
    const recipient = {
      ...(phoneNumber !== undefined && { phoneNumber }),
      ...(email !== undefined && { email }),
      ...(subject !== undefined && { subject }),
    };
    return fromHost(settings.knownBrowser(req, recipient), 'knownBrowser');
  }

  function clientOf(req: RequestLike): Payer['client'] {
    const { uncompletedPerClient, failedChecksPerClient } = settings.budgets;
    if (!uncompletedPerClient?.length && !failedChecksPerClient?.length) return undefined;
    if (settings.clientKey) {
      const key = settings.clientKey(req);
      if (typeof key !== 'string' || key === '')
        throw misconfigured('`clientKey` gave no client for a request');
      return { family: 4, key };
    }
    const address = clientAddress(req);
    if (address === undefined) {
      throw misconfigured(
        'the request has no address (`req.ip`) to count for. Give the option `clientKey`, or switch the budgets per client off',
      );
    }
    if (address !== 'proxy') return address;
    if (!warnedOfProxy) {
      warnedOfProxy = true;
      const message = `SmsOtpStrategy '${name}': requests come through a proxy that Express does not trust, so budgets per client are skipped. Set 'trust proxy'.`;
      process.emitWarning(message, { code: 'SMS_OTP_TRUST_PROXY' });
      emit({ type: 'configuration.warned', message });
    }
    return undefined;
  }

  async function fromHost<T>(answer: Awaitable<T>, option: string): Promise<T> {
    try {
      return await answer;
    } catch (thrown) {
      throw asError(thrown, `\`${option}\` failed with something that is no Error`);
    }
  }

  function fieldsOf(
    target: Target | Challenge,
    channel: Channel = 'channel' in target ? target.channel : 'sms',
  ): Partial<EventFields> {
    const recipient = addressOf(target, channel);
    const masked = maskedRecipient({ ...target, channel });
    if (settings.onEvent === undefined || recipient === undefined) return {};
    return {
      channel,
      recipient: masked,
      recipientHash: counters.hash(recipient),
      ...(target.country !== undefined && channel !== 'email' && { country: target.country }),
      ...(target.subject !== undefined && { subject: target.subject }),
    };
  }

  type EventBody<Event> = Event extends SmsOtpEvent ? Omit<Event, 'at' | 'strategy'> : never;

  function emit(event: EventBody<SmsOtpEvent>): void {
    if (settings.onEvent === undefined) return;
    try {
      settings.onEvent({ at: Date.now(), strategy: name, ...event } as SmsOtpEvent);
    } catch {
      // An audit log that fails must not decide over a login.
    }
  }

  function tooMany(
    req: RequestLike,
    options: SmsOtpAuthenticateOptions,
    { budget, retryAfterSeconds }: Refusal,
    fields: Partial<EventFields>,
  ): Action {
    emit({ type: 'budget.refused', ...fields, budget, retryAfterSeconds, code: 'too_many_requests' });
    if (budget === 'countryCompletion' && fields.country)
      emit({ type: 'country.stopped', ...fields, country: fields.country });
    return outcome(req, options, 'too_many_requests', { retryAfterSeconds, budget });
  }

  function serviceLimit(req: RequestLike, options: SmsOtpAuthenticateOptions, thrown: unknown): Action {
    const retryAfterSeconds = retryAfter(thrown) ?? DEFAULT_RETRY_SECONDS;
    return outcome(req, options, 'too_many_requests', { retryAfterSeconds, budget: 'service' });
  }

  function refused(
    req: RequestLike,
    options: SmsOtpAuthenticateOptions,
    code: 'cross_site' | 'method_not_allowed',
  ): Action {
    emit({ type: 'request.refused', code });
    return outcome(req, options, code, {});
  }

  function outcome<Code extends OutcomeCode>(
    req: RequestLike,
    options: SmsOtpAuthenticateOptions,
    code: Code,
    details: OutcomeDetails[Code],
  ): Extract<Action, { type: 'fail' }> {
    const { status, message } = OUTCOMES[code];
    if (code === 'too_many_requests' && !property(options, 'failureRedirect')) {
      setHeader(req, 'Retry-After', String(property(details, 'retryAfterSeconds')));
    }
    return {
      type: 'fail',
      status,
      info: { ...details, code, message: ownText(req, code, details) ?? message(details) },
    };
  }

  function ownText<Code extends OutcomeCode>(
    req: RequestLike,
    code: Code,
    details: OutcomeDetails[Code],
  ): string | undefined {
    try {
      const text: unknown = settings.messages?.(code, details as never, req);
      return typeof text === 'string' && text !== '' ? text : undefined;
    } catch (thrown) {
      // A PIN may be on its way: a text that cannot be made must not take the page away.
      emit({
        type: 'configuration.warned',
        message: `messages failed for ${code}: ${asError(thrown, 'no Error').name}`,
      });
      return undefined;
    }
  }
}

const LONGEST_PIN_INPUT = 64;
// The service gave no time, and its windows are a day at the most: a minute is a polite first guess.
const DEFAULT_RETRY_SECONDS = 60;

function addressOf(target: { phoneNumber?: string; email?: string }, channel: Channel): string | undefined {
  return channel === 'email' ? target.email : target.phoneNumber;
}

function recipientOf({
  phoneNumber,
  email,
  subject,
  country,
  maskedPhone,
  maskedEmail: masked,
}: Target): Partial<Challenge> {
  return {
    ...(phoneNumber !== undefined && { phoneNumber }),
    ...(email !== undefined && { email }),
    ...(subject !== undefined && { subject }),
    ...(country !== undefined && { country }),
    ...(maskedPhone !== undefined && { maskedPhone }),
    ...(masked !== undefined && { maskedEmail: masked }),
  };
}

function sendContext(req: RequestLike, target: Target | Challenge, channel: Channel): SendContext {
  const { phoneNumber, email, subject, country } = target;
  return {
    req,
    channel,
    ...(channel !== 'email' && phoneNumber !== undefined && { phoneNumber }),
    ...(channel === 'email' && email !== undefined && { email }),
    ...(subject !== undefined && { subject }),
    ...(channel !== 'email' && country !== undefined && { country }),
  };
}

function readEmail(email: unknown): string | undefined {
  return typeof email === 'string' && email.length <= 254 && /^[^\s@\p{Cc}]+@[^\s@\p{Cc}]+$/u.test(email)
    ? email
    : undefined;
}

// What the host says beside its answer; a text counts as its message.
function hostInfo(info: unknown): object {
  if (typeof info === 'string') return { message: info };
  if (typeof info !== 'object' || info === null) return {};
  const { message, ...others }: { message?: unknown } = info;
  return typeof message === 'string' ? info : others;
}

function isServiceLimit(thrown: unknown): boolean {
  return codeOf(thrown) === 'ERR_INFOBIP_RATE_LIMITED' || property(thrown, 'status') === 429;
}

function isUnknownPin(thrown: unknown): boolean {
  return codeOf(thrown) === 'ERR_INFOBIP_NOT_FOUND' || property(thrown, 'status') === 404;
}

function retryAfter(thrown: unknown): number | undefined {
  const seconds = property(thrown, 'retryAfterSeconds');
  return typeof seconds === 'number' && seconds >= 0 ? Math.max(1, Math.ceil(seconds)) : undefined;
}

function serviceError(what: string, cause: unknown): SmsOtpError {
  if (cause instanceof SmsOtpError) return cause;
  return new SmsOtpError('ERR_SMS_OTP_SERVICE', `The PIN service could not ${what}`, { cause });
}

function setHeader(req: RequestLike, header: string, value: string): void {
  const res = property(req, 'res');
  const set = property(res, 'setHeader');
  if (typeof set === 'function' && property(res, 'headersSent') !== true)
    Reflect.apply(set, res, [header, value]);
}
