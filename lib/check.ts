/** Checking a PIN: count first, then ask, then claim, then log in. */

import type { Action, Turn } from './action.js';
import type { Payer, Ticket } from './budgets.js';
import type { Challenge } from './challenge.js';
import type { Change } from './challenges.js';
import { endedSessions } from './ended.js';
import { codeOf } from './errors.js';
import type { EventFields } from './events.js';
import { markAtLogin, markNow } from './marks.js';
import type { PinVerification } from './otp-client.js';
import {
  fromService,
  isServiceLimit,
  isSurelyUndone,
  isUnknownPin,
  nonsense,
  type Parts,
  retryAfter,
  serviceError,
} from './parts.js';
import { plainDigits } from './phone.js';
import { isTest } from './recipient.js';
import { bodyField, cookieSessionIds, detachSession, isNewSession, property, signedInAs } from './request.js';
import { fromSession, requireServerSession } from './session.js';
import { callVerify, hostInfo, type Proof, type Verify } from './verify.js';

// The service allows so many checks of a number in a few seconds: a fast second try waits instead of failing.
const LONGEST_PAUSE_SECONDS = 3;
const LONGEST_INPUT = 64;
const OUT_OF_TURN = Object.assign(new Error('A check of this number came too soon after another'), {
  status: 429,
  retryAfterSeconds: LONGEST_PAUSE_SECONDS,
});

/** The checking half of a strategy. */
export function createCheck(parts: Parts, verify: Verify): (turn: Turn) => Promise<Action> {
  const { settings, counters, challenges, recipients, pace, outcome, emit, fieldsOf } = parts;
  const { name } = settings;
  return check;

  async function check(turn: Turn): Promise<Action> {
    const { req } = turn;
    const challenge = await challenges.get(req);
    if (challenge === undefined) {
      // The first of two clicks is logging in: the cookie of a session that was made for the second must not take its place.
      if (isNewSession(req) && cookieSessionIds(req).some(endedSessions(req).has)) detachSession(req);
      return outcome(turn, 'no_challenge', {});
    }
    const isTheirs =
      challenge.signedInAs === signedInAs(req) && (await recipients.isStillTheirs(req, challenge));
    if (!isTheirs) return refuse(turn, challenge, 'no_challenge');
    if (Date.now() >= challenge.expiresAt) return refuse(turn, challenge, 'pin_expired');
    const pin = readPin(bodyField(req, settings.pinField));
    if (pin === 'missing') {
      parts.warnOfNoBody(req);
      return outcome(turn, 'pin_missing', {});
    }
    if (pin === 'malformed') return outcome(turn, 'pin_malformed', {});

    const payer = await parts.payerOf(req, challenge, challenge.channel);
    const grant = await counters.takeCheck(payer, challenge);
    // Another request of this session may be about to log in: the session is left alone.
    if (grant.granted === 'used') return refuse(turn, challenge, 'no_challenge');
    if (grant.granted === 'exhausted') return refuse(turn, challenge, 'attempts_exhausted');
    if (grant.granted === false) return parts.tooMany(turn, grant, fieldsOf(challenge, challenge.channel));
    const { ticket, attemptsUsed } = grant;
    return judge({ turn, challenge, payer, ticket, attemptsUsed }, pin.value);
  }

  // Without the service: the audit log tells of it all the same.
  function refuse(
    turn: Turn,
    challenge: Challenge,
    code: 'no_challenge' | 'pin_expired' | 'attempts_exhausted',
  ): Action {
    emit({ type: 'pin.rejected', ...fieldsOf(challenge, challenge.channel), code });
    return outcome(turn, code, {});
  }

  function readPin(typed: unknown): { value: string } | 'missing' | 'malformed' {
    if (typed === undefined || typed === null) return 'missing';
    if (typeof typed !== 'string' || typed.length > LONGEST_INPUT) return 'malformed';
    const value = plainDigits(typed).replace(/[\p{Zs}\p{Pd}]/gu, '');
    if (value === '') return 'missing';
    return settings.pinShape.test(value) ? { value } : 'malformed';
  }

  interface Attempt {
    turn: Turn;
    challenge: Challenge;
    payer: Payer;
    ticket: Ticket;
    attemptsUsed: number;
  }

  async function judge(attempt: Attempt, pin: string): Promise<Action> {
    const { turn, challenge, payer, ticket } = attempt;
    const started = performance.now();
    const fields = () => ({
      ...fieldsOf(challenge, challenge.channel),
      durationMs: performance.now() - started,
    });
    let judgement: PinVerification;
    try {
      judgement = await ask(attempt, pin);
    } catch (thrown) {
      return unjudged(attempt, thrown, fields());
    }
    if (judgement.verified !== true) return rejected(attempt, judgement.reason, fields());

    // The service would say yes twice: the claim is what makes a PIN work once.
    if (!(await counters.claim(challenge.id))) {
      await takeBack(attempt);
      return refuse(turn, challenge, 'no_challenge');
    }
    emit({ type: 'pin.verified', ...fields() });
    // From here on only verify, the removal and Passport can stop the login; the counters catch up as they can.
    await counters.complete(payer, ticket, challenge).catch(() => undefined);
    await challenges.forget(turn.req, challenge.id).catch(refuseLogin(challenge, 'no_challenge'));
    return logIn(turn, challenge);
  }

  /** For what stops a login after the PIN was right. */
  function refuseLogin(challenge: Challenge, usually: string): (thrown: unknown) => never {
    return (thrown) => {
      const code = codeOf(thrown) ?? usually;
      emit({ type: 'login.refused', ...fieldsOf(challenge, challenge.channel), code });
      throw thrown;
    };
  }

  // Narrowed: nothing but `verified === true` for the PIN id that was asked is a yes.
  async function ask({ challenge, payer }: Attempt, pin: string): Promise<PinVerification> {
    // The service's own limit on checks of one number would give a real one away: it is kept to beforehand.
    if (!(await counters.turnToCheck(challenge.id, payer.recipient))) throw OUT_OF_TURN;
    if (challenge.decoy) {
      await pace.decoy('check');
      return { verified: false, pinId: '', reason: 'wrong_pin' };
    }
    const isTested = isTest(challenge, challenge.channel);
    if (isTested) {
      emit({ type: 'test_number.used', operation: 'check', ...fieldsOf(challenge, challenge.channel) });
    }
    const asked = isTested ? pace.test : pace.real;
    const request = () =>
      asked('check', async () => fromService(settings.client.verifyPin(challenge.pinId, pin)));
    const judgement = await request().catch(async (thrown: unknown) => {
      const seconds = retryAfter(thrown) ?? LONGEST_PAUSE_SECONDS;
      if (!isServiceLimit(thrown) || seconds > LONGEST_PAUSE_SECONDS) throw thrown;
      await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
      return request();
    });
    const pinId: unknown = property(judgement, 'pinId');
    const isOurs = pinId === undefined || pinId === challenge.pinId;
    if (!isOurs || typeof property(judgement, 'verified') !== 'boolean') throw nonsense('check');
    return judgement;
  }

  async function unjudged(attempt: Attempt, thrown: unknown, fields: Partial<EventFields>): Promise<Action> {
    if (isUnknownPin(thrown)) return rejected(attempt, 'expired', fields);
    const isLimit = isServiceLimit(thrown);
    const code = isLimit ? 'too_many_requests' : (codeOf(thrown) ?? 'ERR_SMS_OTP_SERVICE');
    emit({ type: 'pin.rejected', ...fields, code });
    if (isSurelyUndone(thrown)) await takeBack(attempt);
    else await keep(attempt);
    if (isLimit) return parts.serviceLimit(attempt.turn, thrown);
    throw serviceError('check', thrown);
  }

  async function rejected(attempt: Attempt, reason: string, fields: Partial<EventFields>): Promise<Action> {
    // A service that forgets or gives up a PIN earlier than we do does so with real ones only.
    const isHidden = settings.canReceivePin !== undefined;
    if (reason === 'expired' && !isHidden) return expired(attempt, fields);
    const { turn, challenge, attemptsUsed } = attempt;
    const attemptsRemaining = Math.max(0, challenge.attempts - attemptsUsed);
    if ((reason === 'no_more_attempts' && !isHidden) || attemptsRemaining === 0) {
      emit({ type: 'challenge.exhausted', ...fields, code: 'attempts_exhausted' });
      await keep(attempt, () => undefined);
      return outcome(turn, 'attempts_exhausted', {});
    }
    const code = reason === 'expired' ? 'pin_expired' : 'pin_wrong';
    emit({ type: 'pin.rejected', ...fields, attemptsRemaining, code });
    await keep(attempt);
    return outcome(turn, 'pin_wrong', { attemptsRemaining });
  }

  // What was tried stays tried, also where the service did not say what it was worth. A parallel request may have used the
  // challenge up (its session may be gone, and a save would bring it back), sent its PIN again, or put another one in its
  // place. What others have tried meanwhile counts: of several that write at once, the last must not forget the rest.
  async function keep(
    { turn, challenge, attemptsUsed }: Attempt,
    change: Change = (now) => now,
  ): Promise<void> {
    const tried = await counters.attemptsUsed(challenge.id);
    if (tried === Number.POSITIVE_INFINITY) return;
    await challenges.update(turn.req, challenge.id, (kept) =>
      change({ ...kept, attemptsUsed: Math.max(kept.attemptsUsed, attemptsUsed, tried) }),
    );
  }

  // The challenge stays, past its time: a resend still knows where a new PIN goes.
  async function expired(attempt: Attempt, fields: Partial<EventFields>): Promise<Action> {
    await takeBack(attempt);
    emit({ type: 'pin.rejected', ...fields, code: 'pin_expired' });
    await keep({ ...attempt, attemptsUsed: 0 }, (now) => ({
      ...now,
      expiresAt: Math.min(now.expiresAt, Date.now()),
    }));
    return outcome(attempt.turn, 'pin_expired', {});
  }

  // What was not judged costs nothing.
  async function takeBack({ challenge, ticket }: Attempt): Promise<void> {
    await Promise.all([counters.giveBack(ticket), counters.giveAttemptBack(challenge.id)]);
  }

  async function logIn(turn: Turn, challenge: Challenge): Promise<Action> {
    const { subject, phoneNumber, email } = challenge;
    // The weaker of two: a PIN that both have carried may have come from a voicemail box.
    const isCalled =
      challenge.called ||
      (challenge.channel === 'sms' &&
        challenge.channels.includes('voice') &&
        (await counters.wasCalled(challenge.id).catch(() => true)));
    const channel = isCalled ? 'voice' : challenge.channel;
    const fields = fieldsOf(challenge, challenge.channel);
    const proof: Proof = {
      ...(channel !== 'email' && phoneNumber !== undefined && { phoneNumber }),
      ...(channel === 'email' && email !== undefined && { email }),
      ...(subject !== undefined && { subject }),
      channel,
      ...(isTest(challenge, channel) && { test: true }),
      req: turn.req,
    };
    const { user, info } = await callVerify(verify, proof, settings.verifyTimeoutMs).catch(
      refuseLogin(challenge, 'ERR_SMS_OTP_HOST'),
    );
    // The host may have taken its time: whoever signed out meanwhile stays out, and what others have written stays. Only
    // a session of nobody's that the login takes the place of ends in any case.
    const { req, options } = turn;
    const isAuthorize = property(options, 'assignProperty') !== undefined;
    const staysBehind = isAuthorize || property(options, 'session') === false || !user;
    if (staysBehind || property(options, 'keepSessionInfo') || signedInAs(req) !== undefined) {
      await challenges.catchUp(req).catch(refuseLogin(challenge, 'no_challenge'));
    }
    if (!user) {
      emit({ type: 'login.refused', ...fields, code: 'user_refused' });
      const refusal = outcome(turn, 'user_refused', {});
      return { ...refusal, info: { ...refusal.info, ...hostInfo(info), code: 'user_refused' } };
    }
    const proven = { at: Date.now(), channel, ...(subject !== undefined && { subject }) };
    if (!isAuthorize) {
      markAtLogin(req, name, user, proven, settings);
    } else if (settings.signedIn && settings.recipient && signedInAs(req) === challenge.signedInAs) {
      // passport.authorize: nobody is logged in, but the number was that of the user who is.
      const session = requireServerSession(req);
      await fromSession(req, markNow(req, session, name, proven), settings.storeTimeoutMs);
    }
    return { type: 'success', user, info: { ...hostInfo(info), channel } };
  }
}
