/** The verify callback: the host's function that turns a proof into a user, and how its answer is waited for. */

import { fromHost } from './errors.js';
import type { Awaitable } from './options.js';
import type { Channel } from './otp-client.js';
import type { RequestLike } from './request.js';

/** What the last PIN proved, and nothing else: the number when it went by SMS or voice, the address when by e-mail. */
export interface Proof<Req extends RequestLike = RequestLike> {
  /** E.164 with its plus sign. */
  phoneNumber?: string;
  email?: string;
  /** The host's user id, where `recipient` or `subject` named one at the issue. */
  subject?: string;
  /** How the PIN came; `voice` where a call has read it out, whatever brought it besides. */
  channel: Channel;
  /** True for a test number, whose PIN is a fixed one that was sent to nobody: it should open no more than a demo account. */
  test?: true;
  req: Req;
}

/** A user, or the news that there is none: false, null and undefined all refuse. */
export type Verified = Express.User | false | null | undefined;

/** Passport's callback: an error, or a user (or false) and what the host wants to tell beside. */
export type VerifyDone = (error?: unknown, user?: Verified, info?: unknown) => void;

/**
 * Finds or creates the user for a proof. It may call `done` or return (a promise of) the user; the first to settle
 * counts. What it throws or rejects with is the request's error.
 *
 * @typeParam Known what the options make sure of: the number where visitors type it, the subject where the host knows it
 */
export type Verify<Req extends RequestLike = RequestLike, Known extends 'phoneNumber' | 'subject' = never> = (
  proof: Proof<Req> & Record<Known, string>,
  done: VerifyDone,
  // biome-ignore lint/suspicious/noConfusingVoidType: a function that calls `done` returns nothing
) => Awaitable<Verified | void>;

/** Calls the host and waits for the first answer, `timeoutMs` at the longest. */
export function callVerify(
  verify: Verify,
  proof: Proof,
  timeoutMs: number,
): Promise<{ user: unknown; info: unknown }> {
  const call = () =>
    new Promise<{ user: unknown; info: unknown }>((resolve, reject) => {
      const answer = (user: unknown, info?: unknown) => resolve({ user, info });
      const done: VerifyDone = (error, user, info) => {
        if (!error) answer(user, info);
        else reject(error);
      };
      const called = (async () => verify(proof, done))();
      called.then((user) => {
        // A function that takes `done` and returns nothing has not answered yet.
        if (user !== undefined || verify.length < 2) answer(user);
      }, reject);
    });
  return fromHost('The verify callback', timeoutMs, call);
}

/** What the host says beside its answer, as an object; a text counts as its message. */
export function hostInfo(info: unknown): object {
  if (typeof info === 'string') return { message: info };
  if (typeof info !== 'object' || info === null) return {};
  const { message, ...others }: { message?: unknown } = info;
  return typeof message === 'string' ? info : others;
}
