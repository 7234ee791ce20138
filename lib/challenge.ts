/** The open challenge, where it is kept, and what a page may know of it. */

import { randomBytes } from 'node:crypto';
import { fromStore } from './errors.js';
import type { CountryCode } from './numbering.js';
import type { Channel } from './otp-client.js';
import { type RequestLike, signedInAs } from './request.js';
import { ownEntry, saveSession, sessionOf, setNote } from './session.js';

/** A resend after the PIN has expired makes a new one: for so long. What came before (a password) was proved then. */
export const LONGEST_CHAIN_MS = 3_600_000;

/** A PIN that was sent and not yet settled. Plain data that survives JSON; times are milliseconds since 1970. */
export interface Challenge {
  /** 128 random bits, the same through all resends. Counters are keyed by it. */
  id: string;
  /**
   * What it is good for. Two strategies that were given one name by mistake share a place in the session: a number that
   * was typed by a stranger must not pass for a second factor.
   */
  kind: ChallengeKind;
  /** The service's handle of the PIN; empty for a decoy. */
  pinId: string;
  /** Where the last PIN went. */
  channel: Channel;
  /** All that was known of the recipient when the challenge was opened: another channel may be asked for later. */
  phoneNumber?: string;
  email?: string;
  subject?: string;
  country?: CountryCode;
  /** The number, masked. */
  maskedPhone?: string;
  maskedEmail?: string;
  /** The ways in which this recipient can get a PIN. */
  channels: Channel[];
  expiresAt: number;
  /** Until then an issue for the same recipient sends nothing. */
  cooldownUntil: number;
  /** The earliest time of another send that the budgets allow. */
  resendAt: number;
  attempts: number;
  attemptsUsed: number;
  /** When the visitor first asked: a challenge that takes an expired one's place keeps it. */
  begunAt: number;
  /** When the PIN was made. */
  sentAt: number;
  /** Who was signed in when it was opened: what Passport's serializer stored, as JSON; missing for nobody. */
  signedInAs?: string;
  /** What the login gives back to the client's budget when it is completed. */
  credit?: Credit;
  /** Nothing was sent: the host said that this recipient cannot receive a PIN. */
  decoy?: true;
  /** Counted apart from strangers. */
  known?: true;
  /** A call has read it out, or may have: whoever hears calls knows it, whatever else has brought it. */
  called?: true;
  /** The number is a test number: by SMS and voice nothing is sent to it. */
  test?: true;
}

/** Who the PIN is for: a stranger who typed a number, a user who typed one, or a recipient of the host's; `+` who is signed in. */
export type ChallengeKind = `${'typed' | 'new' | 'known'}${'' | '+'}`;

/** A counted point that can be given back: the key, and for each limit of the budget the end of its window. */
export interface Credit {
  key: string;
  family: 4 | 6;
  until: number[];
}

/**
 * Where open challenges are kept: on the server, found by something that only this browser holds (never by number,
 * user or form field). What `set` resolved is there for the next `get` of any process. It need not be atomic. It is
 * written when the PIN is on its way: one that can be read and not written costs a message for each try.
 */
export interface ChallengeStore {
  get(req: RequestLike, name: string): Promise<Challenge | undefined>;
  set(req: RequestLike, name: string, challenge: Challenge): Promise<void>;
  remove(req: RequestLike, name: string): Promise<void>;
}

/** A new random id of 128 bits. */
export function newChallengeId(): string {
  return randomBytes(16).toString('base64url');
}

/** The challenge in the session, for {@link sessionChallenges}, which any may have written. */
export function inSession(req: RequestLike, name: string): Challenge | undefined {
  return readChallenge(ownEntry(ownEntry(ownEntry(req.session, 'smsOtp'), 'challenges'), name));
}

/** The default store: `req.session.smsOtp.challenges`, saved before `set` and `remove` resolve. */
export const sessionChallenges: ChallengeStore = {
  async get(req, name) {
    return inSession(req, name);
  },
  async set(req, name, challenge) {
    const session = sessionOf(req);
    await saveSession(req, session, () => setNote(session, 'challenges', name, challenge));
  },
  async remove(req, name) {
    const session = sessionOf(req);
    await saveSession(req, session, () => setNote(session, 'challenges', name, undefined));
  },
};

/** A challenge out of a store, or undefined when what is there cannot be one. */
export function readChallenge(stored: unknown): Challenge | undefined {
  return isChallenge(stored) ? stored : undefined;
}

function isChallenge(stored: unknown): stored is Challenge {
  const texts = ['id', 'kind', 'pinId', 'channel'];
  const whoTexts = ['phoneNumber', 'email', 'subject', 'country', 'maskedPhone', 'maskedEmail', 'signedInAs'];
  const numbers = ['begunAt', 'sentAt', 'expiresAt', 'cooldownUntil', 'resendAt', 'attempts', 'attemptsUsed'];
  return (
    texts.every((name) => typeof ownEntry(stored, name) === 'string') &&
    numbers.every((name) => Number.isFinite(ownEntry(stored, name))) &&
    whoTexts.every((name) => ['string', 'undefined'].includes(typeof ownEntry(stored, name))) &&
    Array.isArray(ownEntry(stored, 'channels'))
  );
}

/** The open challenge as a page may show it. */
export interface OpenChallenge {
  /** The recipient, masked. */
  to: string;
  channel: Channel;
  /** The ways in which a PIN can be asked for now. */
  channels: Channel[];
  expiresAt: Date;
  /** The earliest time at which a resend can be asked for. */
  resendAt: Date;
  attemptsRemaining: number;
}

// A custom store is known to its strategy only, and the page has no strategy at hand.
const customStores = new Map<string, readonly [ChallengeStore, timeoutMs: number]>();

/** Lets {@link openChallenge} find the challenges of a strategy, wherever it keeps them. The last one of a name counts. */
export function registerStore(name: string, store: ChallengeStore, timeoutMs: number): void {
  if (store === sessionChallenges) customStores.delete(name);
  else customStores.set(name, [store, timeoutMs]);
}

/**
 * The challenge that is open in this browser's session, for the page with the PIN field.
 *
 * @param req the request of the page
 * @param options.name the strategy's name; default 'sms-otp'
 * @returns null when there is none, or its time or its attempts are over: send the visitor back to the start
 */
export async function openChallenge(
  req: RequestLike,
  options: { name?: string } = {},
): Promise<OpenChallenge | null> {
  const name = options.name ?? 'sms-otp';
  // The session answers at once; the deadline is for stores elsewhere.
  const custom = customStores.get(name);
  const elsewhere = () => custom && fromStore(custom[0].get(req, name), custom[1]);
  for (const find of [() => inSession(req, name), elsewhere]) {
    const challenge = readChallenge(await find());
    if (challenge === undefined || Date.now() >= challenge.expiresAt) continue;
    if (challenge.attemptsUsed >= challenge.attempts) continue;
    if (challenge.signedInAs !== signedInAs(req)) continue;
    return {
      to: maskedRecipient(challenge),
      channel: challenge.channel,
      channels: [...challenge.channels],
      expiresAt: new Date(challenge.expiresAt),
      resendAt: new Date(challenge.resendAt),
      attemptsRemaining: challenge.attempts - challenge.attemptsUsed,
    };
  }
  return null;
}

/** The recipient of the last PIN, masked. */
export function maskedRecipient(
  challenge: Pick<Challenge, 'channel' | 'maskedPhone' | 'maskedEmail'>,
): string {
  return (challenge.channel === 'email' ? challenge.maskedEmail : challenge.maskedPhone) ?? '';
}
