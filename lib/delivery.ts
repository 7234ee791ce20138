/** Sending a PIN, and sending it again: from the budgets to the challenge that is kept. */

import type { Action, Turn } from './action.js';
import type { Payer, SendGrant } from './budgets.js';
import { type Challenge, maskedRecipient, newChallengeId } from './challenge.js';
import { alreadyAnswered, codeOf, fromOption } from './errors.js';
import type { Channel, SentPin } from './otp-client.js';
import {
  fromService,
  isRefused,
  isServiceLimit,
  isSurelyUndone,
  isUnknownPin,
  nonsense,
  type Parts,
  serviceError,
} from './parts.js';
import { addressOf, isTest, sendContext, type Target } from './recipient.js';
import { isAnswered, signedInAs } from './request.js';

/** A visitor asked for a PIN as if for the first time: one of a moment ago will do. */
export interface FirstAsk {
  /** What the same visitor's request that is still under way will find. */
  earlier: Promise<Challenge | undefined> | undefined;
}

/** The two ways to send. */
export interface Delivery {
  /** Makes a new PIN and puts its challenge in place of an open one. */
  send(turn: Turn, target: Target | Challenge, channel: Channel, first?: FirstAsk): Promise<Action>;
  /** Sends the PIN of an open challenge again, or a new one where the old would be of no use. */
  again(turn: Turn, challenge: Challenge, channel: Channel, isIssue: boolean): Promise<Action>;
  /** The answer for a PIN that is on its way since an earlier request. */
  alreadyOnItsWay(turn: Turn, challenge: Challenge): Promise<Action>;
  /** The challenge of this session that a PIN for this recipient and channel would repeat. */
  openFor(turn: Turn, target: Target, channel: Channel): Promise<Challenge | undefined>;
  /** The challenge of this session and of whoever is signed in now, with attempts left and not used. */
  usable(turn: Turn): Promise<Challenge | undefined>;
}

// A resend needs this much of the PIN's life to be left: one that expires while it is typed is no help.
const LEAST_LEFT_MS = 120_000;

/** The sending half of a strategy. */
export function createDelivery(parts: Parts): Delivery {
  const { settings, counters, challenges, pace, outcome, emit, fieldsOf } = parts;
  const { client } = settings;
  return { send, again, alreadyOnItsWay, openFor, usable };

  async function usable({ req }: Turn): Promise<Challenge | undefined> {
    const challenge = await challenges.get(req);
    if (challenge === undefined || challenge.signedInAs !== signedInAs(req)) return undefined;
    return (await hasAttempts(challenge)) ? challenge : undefined;
  }

  async function hasAttempts({ id, attempts, attemptsUsed }: Challenge): Promise<boolean> {
    return Math.max(attemptsUsed, await counters.attemptsUsed(id)) < attempts;
  }

  async function openFor(turn: Turn, target: Target, channel: Channel): Promise<Challenge | undefined> {
    const challenge = await usable(turn);
    const isSame =
      challenge !== undefined &&
      challenge.channel === channel &&
      addressOf(challenge, channel) === addressOf(target, channel) &&
      challenge.subject === target.subject &&
      Date.now() < challenge.expiresAt;
    return isSame ? challenge : undefined;
  }

  async function send(
    turn: Turn,
    target: Target | Challenge,
    channel: Channel,
    first?: FirstAsk,
  ): Promise<Action> {
    // Not left to the cooldown alone: a host may have taken it out of the limits.
    const theirs = first?.earlier && (await foundAfterAll(turn, target, channel, first));
    if (theirs) return alreadyOnItsWay(turn, theirs);
    const payer = await parts.payerOf(turn.req, target, channel);
    const grant = await counters.takeSend(payer, { voice: channel === 'voice', fresh: true });
    if (!grant.granted) {
      const found = grant.isCooldown && first ? await foundAfterAll(turn, target, channel, first) : undefined;
      return found ? alreadyOnItsWay(turn, found) : parts.tooMany(turn, grant, fieldsOf(target, channel));
    }
    const sentAt = Date.now();
    const sent = await deliver({ turn, target, channel, payer, grant });
    if ('type' in sent) return sent;
    const signedIn = signedInAs(turn.req);
    return keep(turn, {
      id: newChallengeId(),
      kind: settings.kind,
      pinId: sent.pinId,
      channel,
      ...recipientOf(target),
      expiresAt: sentAt + settings.pinTtlSeconds * 1000,
      cooldownUntil: grant.cooldownUntil,
      resendAt: grant.resendAt,
      attempts: settings.attempts,
      attemptsUsed: 0,
      begunAt: 'begunAt' in target ? target.begunAt : sentAt,
      sentAt,
      ...(signedIn !== undefined && { signedInAs: signedIn }),
      ...(grant.credit && { credit: grant.credit }),
      ...(sent.decoy && { decoy: true }),
      ...(payer.known && { known: true }),
      ...(channel === 'voice' && { called: true }),
      ...(sent.test && { test: true }),
    });
  }

  async function again(
    turn: Turn,
    challenge: Challenge,
    channel: Channel,
    isIssue: boolean,
  ): Promise<Action> {
    const isOtherAddress = (challenge.channel === 'email') !== (channel === 'email');
    const isTooLate = challenge.expiresAt - Date.now() < LEAST_LEFT_MS;
    if (isOtherAddress || isTooLate) return send(turn, challenge, channel);

    const payer = await parts.payerOf(turn.req, challenge, channel);
    const grant = await counters.takeSend(payer, { voice: channel === 'voice', fresh: false });
    if (!grant.granted) {
      // Another browser asked for a PIN of the same number a moment ago; this one's PIN is as good as before.
      if (isIssue && grant.isCooldown) return alreadyOnItsWay(turn, challenge);
      return parts.tooMany(turn, grant, fieldsOf(challenge, channel));
    }
    const sent = await deliver({ turn, target: challenge, channel, payer, grant, challenge });
    if ('type' in sent) return sent;
    const { cooldownUntil, resendAt } = grant;
    const news = {
      pinId: sent.pinId,
      channel,
      cooldownUntil,
      resendAt,
      ...(sent.decoy && { decoy: true as const }),
      ...(channel === 'voice' && { called: true as const }),
    };
    if (await challenges.update(turn.req, challenge.id, (kept) => ({ ...kept, ...news })))
      return onItsWay(turn, { ...challenge, ...news }, false);
    // It was used meanwhile, or another PIN has taken its place.
    const now = await challenges.get(turn.req);
    return now ? onItsWay(turn, now, true) : outcome(turn, 'no_challenge', {});
  }

  // The session is read once more: the first of two clicks may have been answered in the meantime. Where each click
  // got a session of its own (the sign-out before a second factor), the second takes the first one's challenge over.
  async function foundAfterAll(turn: Turn, target: Target, channel: Channel, { earlier }: FirstAsk) {
    const theirs = await earlier;
    await challenges.refresh(turn.req);
    const found = await openFor(turn, target, channel);
    if (found || theirs?.channel !== channel || !(await hasAttempts(theirs))) return found;
    await challenges.set(turn.req, theirs);
    return theirs;
  }

  async function keep(turn: Turn, challenge: Challenge): Promise<Action> {
    await challenges.set(turn.req, challenge);
    return onItsWay(turn, challenge, false);
  }

  // The request ends with the session's cookie, and with what the host has written to it.
  async function alreadyOnItsWay(turn: Turn, challenge: Challenge): Promise<Action> {
    await challenges.catchUp(turn.req);
    return onItsWay(turn, challenge, true);
  }

  function onItsWay(turn: Turn, challenge: Challenge, alreadySent: boolean): Action {
    const { challengeRedirect } = turn.options;
    if (challengeRedirect !== undefined) return { type: 'redirect', url: challengeRedirect, challenge };
    const { channel, channels } = challenge;
    const sent = outcome(turn, 'pin_sent', {
      to: maskedRecipient(challenge),
      channel,
      channels,
      expiresAt: new Date(challenge.expiresAt),
      resendAt: new Date(challenge.resendAt),
      alreadySent,
    });
    return { ...sent, challenge };
  }

  interface Send {
    turn: Turn;
    target: Target;
    channel: Channel;
    payer: Payer;
    grant: SendGrant;
    /** There for a resend: the challenge whose PIN it is. */
    challenge?: Challenge;
  }

  /** A PIN id that the service gave; empty for a decoy. */
  interface Delivered {
    pinId: string;
    decoy: boolean;
    test: boolean;
  }

  /** Asks the host, then the service; the request's action instead of a PIN id where nothing was sent. */
  async function deliver(delivery: Send): Promise<Delivered | Action> {
    const { turn, target, channel, payer, grant, challenge } = delivery;
    const operation = challenge ? 'resend' : 'send';
    const fields = fieldsOf(target, channel);
    const prepared = await prepare(delivery);
    if (prepared === 'not_now') {
      await counters.giveBack(grant.ticket);
      emit({ type: 'pin.not_sent', reason: 'refused_by_host', ...fields, code: 'not_now' });
      return outcome(turn, 'not_now', {});
    }
    if (prepared === 'decoy') {
      emit({ type: 'pin.not_sent', reason: 'cannot_receive', ...fields });
      return pace.decoy(operation, channel).then(
        () => ({ pinId: '', decoy: true, test: false }),
        (thrown: unknown) => notSent(delivery, thrown),
      );
    }

    const started = performance.now();
    let durationMs = 0;
    const timed = async () => {
      try {
        return await prepared();
      } finally {
        durationMs = performance.now() - started;
      }
    };
    let sent: SentPin;
    try {
      sent = await (isTest(target, channel) ? pace.test : pace.real)(operation, timed, channel);
    } catch (thrown) {
      return failed(delivery, thrown, durationMs);
    }
    const test = isTest(target, channel) || sent?.test === true;
    if (sent?.sent === true && typeof sent.pinId === 'string' && sent.pinId !== '') {
      if (test) emit({ type: 'test_number.used', operation, ...fields, test });
      else emit({ type: challenge ? 'pin.resent' : 'pin.sent', ...fields, durationMs });
      return { pinId: sent.pinId, decoy: false, test };
    }
    if (sent?.sent !== false) {
      emit({ type: 'pin.not_sent', reason: 'error', ...fields, durationMs, code: 'ERR_SMS_OTP_SERVICE' });
      throw nonsense(operation);
    }
    emit({ type: 'pin.not_sent', reason: 'undeliverable', ...fields, durationMs, code: 'undeliverable' });
    if (settings.canReceivePin) return asIfSent(challenge);
    await Promise.all([
      counters.countUnreached(payer),
      counters.giveBack(grant.ticket, { keepCooldown: true }),
    ]);
    return outcome(turn, 'undeliverable', { channels: target.channels.filter((other) => other !== channel) });
  }

  /** All that can stop a send before the service is asked; what it throws costs no budget. */
  async function prepare(delivery: Send): Promise<'not_now' | 'decoy' | (() => Promise<SentPin>)> {
    const { turn, target, channel, grant, challenge } = delivery;
    const { beforeSend, canReceivePin, placeholders, verifyTimeoutMs: ms } = settings;
    const context = sendContext(turn.req, target, channel);
    try {
      if (beforeSend && (await fromOption('beforeSend', ms, () => beforeSend(context))) !== true)
        return 'not_now';
      // Asked at a resend, too, and of a decoy: the account may be closed by now, and the look-up takes its time.
      const canReceive =
        canReceivePin === undefined ||
        (await fromOption('canReceivePin', ms, () => canReceivePin(context))) === true;
      const isDecoy = !canReceive || challenge?.decoy === true;
      const values = placeholders && (await fromOption('placeholders', ms, () => placeholders(context)));
      const request = toService(target, channel, settings.messageId(context), values, challenge);
      // Noted beforehand: the service may make a call and say nothing, or say it late.
      if (challenge && channel === 'voice') {
        await counters.noteCall(challenge.id);
        await challenges.update(turn.req, challenge.id, (kept) => ({ ...kept, called: true }));
      } else await challenges.ensureWritable(turn.req);
      // By a time limit of the host's: nobody would see where to type the PIN.
      if (isAnswered(turn.req)) throw alreadyAnswered('the PIN was sent');
      return isDecoy ? 'decoy' : request;
    } catch (thrown) {
      await counters.giveBack(grant.ticket).catch(() => undefined);
      throw thrown;
    }
  }

  function toService(
    target: Target,
    channel: Channel,
    messageId: string,
    values: Record<string, string> | undefined,
    challenge: Challenge | undefined,
  ): () => Promise<SentPin> {
    const placeholders = values && { placeholders: values };
    if (challenge) {
      return async () => {
        const sent = await fromService(client.resendPin(challenge.pinId, { channel, ...placeholders }));
        // The id of the answer counts; an answer without one leaves the old one in force.
        return { ...sent, pinId: sent?.pinId || challenge.pinId };
      };
    }
    const to = addressOf(target, channel);
    if (to === undefined) throw parts.misconfigured(`there is no address for the channel '${channel}'`);
    const { applicationId } = settings;
    const test = isTest(target, channel) && { test: true as const };
    return async () =>
      fromService(client.sendPin({ channel, applicationId, messageId, to, ...placeholders, ...test }));
  }

  async function failed(delivery: Send, thrown: unknown, durationMs: number): Promise<Delivered | Action> {
    const { turn, target, channel, payer, grant, challenge } = delivery;
    if (challenge && isUnknownPin(thrown)) {
      // The service has forgotten the PIN and surely sent nothing: a new one takes its place. Where nobody may learn
      // who can get a PIN, it has no more time and attempts than the old one: a decoy is never forgotten.
      if (settings.canReceivePin) return deliver({ turn, target, channel, payer, grant });
      await counters.giveBack(grant.ticket);
      return send(turn, challenge, channel);
    }
    const isLimit = isServiceLimit(thrown);
    const code = isLimit ? 'too_many_requests' : (codeOf(thrown) ?? 'ERR_SMS_OTP_SERVICE');
    const reason = isLimit ? 'service_limit' : 'error';
    emit({ type: 'pin.not_sent', reason, ...fieldsOf(target, channel), durationMs, code });
    return notSent(delivery, thrown);
  }

  /** The answer for a send that failed, or for a decoy of one. */
  async function notSent({ turn, grant, challenge }: Send, thrown: unknown): Promise<Delivered | Action> {
    const isLimit = isServiceLimit(thrown);
    if (settings.canReceivePin && (isLimit || isRefused(thrown))) {
      if (!isLimit) parts.warnOfRefusals(thrown);
      return asIfSent(challenge);
    }
    if (isSurelyUndone(thrown)) await counters.giveBack(grant.ticket, { keepCooldown: true });
    if (isLimit) return parts.serviceLimit(turn, thrown);
    throw serviceError(challenge ? 'resend' : 'send', thrown);
  }

  // Where nobody may learn who can get a PIN, one that was not sent looks like one that was.
  function asIfSent(challenge: Challenge | undefined): Delivered {
    return { pinId: challenge?.pinId ?? '', decoy: challenge === undefined, test: false };
  }
}

function recipientOf(target: Target): Target {
  const { phoneNumber, email, subject, country, maskedPhone, maskedEmail, channels, test } = target;
  return {
    ...(phoneNumber !== undefined && { phoneNumber }),
    ...(email !== undefined && { email }),
    ...(subject !== undefined && { subject }),
    ...(country !== undefined && { country }),
    ...(maskedPhone !== undefined && { maskedPhone }),
    ...(maskedEmail !== undefined && { maskedEmail }),
    ...(test && { test }),
    channels,
  };
}
