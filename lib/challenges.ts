/** The open challenges of one strategy, in whatever store: read, written and taken away in time, and in turn. */

import {
  type Challenge,
  type ChallengeKind,
  type ChallengeStore,
  inSession,
  readChallenge,
  sessionChallenges,
} from './challenge.js';
import { endedSessions } from './ended.js';
import { fromStore } from './errors.js';
import { type RequestLike, signedInAs } from './request.js';
import {
  beginWith,
  dropChallenge,
  fromSession,
  requireLiving,
  requireServerSession,
  reread,
  saveLiving,
  saveSession,
  sessionOf,
  setNote,
} from './session.js';
import { inTurn } from './turns.js';

/** What becomes of a challenge as it is kept now; undefined takes it away. */
export type Change = (now: Challenge) => Challenge | undefined;

/** The challenges of one strategy: its store, with a deadline on each answer and the session's own ways known. */
export interface Challenges {
  /** Stops a request whose session could not keep a challenge, or has ended since it was read. */
  begin(req: RequestLike): Promise<void>;
  get(req: RequestLike): Promise<Challenge | undefined>;
  set(req: RequestLike, challenge: Challenge): Promise<void>;
  /** Changes one that is kept. False where it is gone: it must not come back. */
  update(req: RequestLike, id: string, change: Change): Promise<boolean>;
  /** Takes a used one away. A session of nobody's is saved by the login, or at the end of the request. */
  forget(req: RequestLike, id: string): Promise<void>;
  /** Makes sure that a session can be written, before a message is paid for. */
  ensureWritable(req: RequestLike): Promise<void>;
  /** Reads the session again, where challenges are kept in it. */
  refresh(req: RequestLike): Promise<void>;
  /** Before the session is written at the end of the request: reads it again, or makes sure that it lives. */
  catchUp(req: RequestLike): Promise<void>;
}

/** Binds a store to a strategy's name, to a kind of challenges (default: any), and to a deadline in milliseconds. */
export function createChallenges(
  store: ChallengeStore,
  name: string,
  timeoutMs: number,
  kind?: ChallengeKind,
): Challenges {
  const isSession = store === sessionChallenges;
  const challenges: Challenges = {
    async begin(req) {
      endedSessions(req);
      if (isSession) await inTime(req, beginWith(req, requireServerSession(req)));
    },
    async get(req) {
      // The session was read before the request came here: no deadline, and no timer for it.
      const stored = isSession ? store.get(req, name) : fromStore(store.get(req, name), timeoutMs);
      const challenge = readChallenge(await stored);
      return kind === undefined || challenge?.kind === kind ? challenge : undefined;
    },
    set: (req, challenge) => inTime(req, store.set(req, name, challenge)),
    update: (req, id, change) => inTurn(id, timeoutMs, () => inTime(req, updateNow(req, id, change))),
    forget: (req, id) => inTurn(id, timeoutMs, () => forgetNow(req, id)),
    async ensureWritable(req) {
      if (isSession) await inTime(req, saveSession(req, sessionOf(req)));
    },
    async refresh(req) {
      if (isSession) await inTime(req, reread(req, sessionOf(req)));
    },
    catchUp(req) {
      return isSession ? this.refresh(req) : fromSession(req, requireLiving(req), timeoutMs);
    },
  };
  return challenges;

  async function updateNow(req: RequestLike, id: string, change: Change): Promise<boolean> {
    if (isSession) {
      const session = sessionOf(req);
      let isKept = false;
      await saveSession(req, session, () => {
        const now = inSession(req, name);
        isKept = now?.id === id;
        if (now && isKept) setNote(session, 'challenges', name, change(now));
      });
      return isKept;
    }
    const now = readChallenge(await store.get(req, name));
    if (now?.id !== id) return false;
    const changed = change(now);
    await (changed ? store.set(req, name, changed) : store.remove(req, name));
    return true;
  }

  async function forgetNow(req: RequestLike, id: string): Promise<void> {
    if (!isSession) {
      if (signedInAs(req) !== undefined) await challenges.catchUp(req);
      return inTime(req, store.remove(req, name));
    }
    await challenges.refresh(req);
    const session = sessionOf(req);
    dropChallenge(req, session, name, id);
    // At the end of the request its user may have signed out.
    if (signedInAs(req) !== undefined) {
      await inTime(req, saveLiving(req, session));
    }
  }

  function inTime<T>(req: RequestLike, answer: Promise<T>): Promise<T> {
    return isSession ? fromSession(req, answer, timeoutMs) : fromStore(answer, timeoutMs);
  }
}
