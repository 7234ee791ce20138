/**
 * Two clicks on one form are two requests at once, and the visitor means one PIN: the second waits for the challenge of
 * the first. Between two factors the first also gives the session another id, which the second does not know.
 */

import type { Action } from './action.js';
import type { Challenge } from './challenge.js';
import { endedSessions } from './ended.js';
import { SessionEnded } from './errors.js';
import { cookieSessionIds, isNewSession, type RequestLike, renewSession, sessionIdOf } from './request.js';

/** The issues of this process whose second click may still come. */
export interface Clicks {
  /** The ids of the sessions that a request came with, before anything changes them: two clicks have the same. */
  idsOf(req: RequestLike): string[];
  /** Acts, and tells it what an earlier click that has one of these ids and the same recipient finds. */
  join(ids: readonly string[], recipient: readonly unknown[], act: Act): Promise<Action>;
  /** Remembers that an issue gives this session another id. */
  willSignOut(sessionId: unknown): void;
  /** Waits for the session, and makes one of nobody's where a first click has ended it: the second needs nothing of it. */
  orAnew(req: RequestLike, living: Promise<void>): Promise<void>;
}

type Earlier = Promise<Challenge | undefined> | undefined;
type Act = (earlier: Earlier) => Promise<Action>;

// Between two clicks, and until the password of the second is checked.
const CLICK_MS = 10_000;

/** For one strategy. */
export function createClicks(isBetweenFactors: boolean): Clicks {
  const underWay = new Map<string, Earlier>();
  const signedOut = new Set<string>();
  return { idsOf, join, willSignOut, orAnew };

  function idsOf(req: RequestLike): string[] {
    const id = sessionIdOf(req);
    if (typeof id !== 'string') return [];
    if (!isBetweenFactors || !isNewSession(req)) return [id];
    // The first click, or the password that signed in, has replaced the one that the browser knows. Nobody has checked the
    // cookies for us, and any may look like one of a session: those of sessions that have just ended are left.
    return [id, ...cookieSessionIds(req).filter(endedSessions(req).has)];
  }

  async function join(ids: readonly string[], recipient: readonly unknown[], act: Act): Promise<Action> {
    const keys = ids.map((id) => JSON.stringify([id, ...recipient]));
    const earlier = keys.map((key) => underWay.get(key)).find(Boolean);
    const acting = act(earlier);
    if (earlier) return acting;
    const forget = (): void => {
      for (const key of keys) underWay.delete(key);
    };
    const found = acting.then(
      (action) => {
        const challenge = 'challenge' in action ? action.challenge : undefined;
        // The second click's password may take its time, and its session knows nothing of what the first has found.
        if (challenge && isBetweenFactors) setTimeout(forget, CLICK_MS).unref();
        else forget();
        return challenge;
      },
      () => void forget(),
    );
    for (const key of keys) underWay.set(key, found);
    return acting;
  }

  function willSignOut(sessionId: unknown): void {
    if (sessionId === undefined) return;
    // As JSON: what was cut from a header would keep all of it.
    const id = JSON.stringify(sessionId);
    signedOut.add(id);
    setTimeout(() => signedOut.delete(id), CLICK_MS).unref();
  }

  async function orAnew(req: RequestLike, living: Promise<void>): Promise<void> {
    try {
      await living;
    } catch (thrown) {
      const id = JSON.stringify(sessionIdOf(req));
      if (!(thrown instanceof SessionEnded && signedOut.has(id))) throw thrown;
      renewSession(req);
    }
  }
}
