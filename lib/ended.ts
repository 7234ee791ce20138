/** Sessions that have ended in this process a moment ago: a request that has read one before must not write it back. */

import { isStoreFailure } from './errors.js';
import { attachSession, property, type RequestLike } from './request.js';

/** Longer than most requests are under way. */
const KEPT_MS = 120_000;

/** A session that was read longer ago is written only where the store still has it: another process may have ended it. */
const ASKED_AFTER_MS = 1000;

/** Nobody waits longer for a write to be undone. */
const LONGEST_UNDO_MS = 3000;

interface EndedSessions {
  has(id: unknown): boolean;
  /** How often it was ended lately: whoever ends one can see whether somebody else has done so, too. */
  times(id: unknown): number;
  /** A login has put another session in its place. Whoever ends it still, by the old cookie, ends the new one. */
  replace(id: unknown, newId: unknown): void;
}

interface Ended {
  /** By `performance.now()`. */
  at: number;
  times: number;
  /** The store has said so: until then a logout must find who is signed in. */
  isGone: boolean;
  newId?: unknown;
}

/** Called with the store's answer, and with what passes it on. */
type End = (error: unknown, answer: () => void) => void;

const watched = new WeakMap<object, EndedSessions>();

/**
 * The sessions that the request's store has destroyed lately. A store cannot tell: what it answered before the end may
 * arrive after it. So from the first call on its `destroy` is wrapped, as express-session wraps its `generate`; and its
 * `set`, whoever calls it: what is written to a session that has ended is undone. `createSession` says when it was read.
 */
export function endedSessions(req: RequestLike): EndedSessions {
  const store = Object(property(req, 'sessionStore'));
  const known = watched.get(store);
  if (known) return known;
  const ends = new Map<unknown, Ended>();
  const ended = {
    has: (id: unknown) => performance.now() - (ends.get(id)?.at ?? Number.NEGATIVE_INFINITY) < KEPT_MS,
    times: (id: unknown) => (ended.has(id) ? (ends.get(id)?.times ?? 0) : 0),
    replace(id: unknown, newId: unknown) {
      const end = ends.get(id);
      if (end) ends.set(id, { ...end, newId: copyOf(newId) });
    },
  };
  const isGone = (id: unknown): boolean => ended.has(id) && ends.get(id)?.isGone === true;
  const { destroy, set, clear, generate, get, createSession } = store;
  if (typeof destroy !== 'function') return ended;
  let clears = 0;
  wrap(store, 'destroy', destroy, (given) => {
    // In the order in which they came: those that are too old are the first.
    for (const old of ends.keys()) {
      if (ended.has(old)) break;
      ends.delete(old);
    }
    // Some stores take a list.
    const before = [given].flat().map((id) => [copyOf(id), ends.get(id)] as const);
    const newIds: unknown[] = [];
    for (const [id, earlier] of before) {
      const end = { at: performance.now(), times: ended.times(id) + 1, isGone: isGone(id) };
      ends.delete(id);
      ends.set(id, end);
      const newId = earlier?.newId;
      if (newId === undefined || newIds.includes(newId)) continue;
      newIds.push(newId);
      before.push([newId, ends.get(newId)]);
    }
    return (error, answer) => {
      // It may be there still, and its user cannot know: it is left to whoever reads it.
      const isThere = isStoreFailure(error);
      for (const [id, earlier] of before) {
        const end = isThere ? earlier : ends.get(id);
        if (end === undefined) ends.delete(id);
        else ends.set(id, { ...end, isGone: end.isGone || !isThere });
      }
      endAll(isThere ? [] : newIds, answer);
    };
  });
  // A request may have read it before the end and write it long after.
  wrap(store, 'set', set, (id) => {
    const clearsBefore = clears;
    return (_error, answer) => {
      endAll(clears === clearsBefore && !ended.has(id) ? [] : [id], answer);
    };
  });
  wrap(store, 'clear', clear, () => {
    clears += 1;
    return (_error, answer) => answer();
  });
  const reads = new WeakMap<object, { at: number; clears: number }>();
  if (typeof createSession === 'function') {
    Reflect.set(store, 'createSession', (req: object, data: unknown): unknown => {
      const session: unknown = Reflect.apply(createSession, store, [req, data]);
      reads.set(Object(session), { at: performance.now(), clears });
      return session;
    });
  }
  if (typeof get === 'function') {
    // What is written to one that ends meanwhile is there for a moment.
    Reflect.set(store, 'get', (id: unknown, answer: unknown, ...rest: unknown[]): unknown => {
      const unlessEnded = (...given: unknown[]): unknown =>
        Reflect.apply(Object(answer), undefined, given[0] || !isGone(id) ? given : []);
      return Reflect.apply(get, store, [id, typeof answer === 'function' ? unlessEnded : answer, ...rest]);
    });
  }
  const setUnlessEnded = store.set;
  if (typeof setUnlessEnded === 'function' && typeof get === 'function') {
    Reflect.set(store, 'set', (...args: unknown[]): unknown => {
      const [id, session, answer] = args;
      if (isGone(id) && typeof answer === 'function') return Reflect.apply(answer, undefined, []);
      const read = reads.get(Object(session));
      const isKnown = !read || (performance.now() - read.at < ASKED_AFTER_MS && read.clears === clears);
      if (isKnown || typeof answer !== 'function') return Reflect.apply(setUnlessEnded, store, args);
      let hasAnswer = false;
      const once = (...given: unknown[]): void => {
        hasAnswer = true;
        Reflect.apply(answer, undefined, given);
      };
      return Reflect.apply(get, store, [
        id,
        (error: unknown, stored: unknown): void => {
          const isDown = isStoreFailure(error);
          try {
            if (stored && !isDown) Reflect.apply(setUnlessEnded, store, [id, session, once]);
            else once(...(isDown ? [error] : []));
          } catch (thrown) {
            if (hasAnswer) throw thrown;
            once(thrown);
          }
        },
      ]);
    });
  }
  if (typeof generate === 'function') {
    Reflect.set(store, 'generate', (made: RequestLike): void => {
      Reflect.apply(generate, store, [made]);
      // A `genid` of the host's may give a browser its id again.
      const id = property(made, 'sessionID');
      ends.delete(id);
      attachSession(made, id);
    });
  }
  watched.set(store, ended);
  return ended;

  // Whoever was signed in would be so again. The caller gets its answer, be the store thrown at, broken or silent.
  function endAll([id, ...others]: readonly unknown[], answer: () => void): void {
    if (id === undefined) {
      answer();
      return;
    }
    let timer: NodeJS.Timeout | undefined;
    const once = (): void => {
      if (timer === undefined) return;
      clearTimeout(timer);
      timer = undefined;
      endAll(others, answer);
    };
    timer = setTimeout(once, LONGEST_UNDO_MS);
    try {
      const returned: unknown = Reflect.apply(destroy, store, [id, once]);
      if (returned instanceof Promise) returned.catch(once);
    } catch {
      // Thrown in the answer of the store, it would end the process.
      once();
    }
  }
}

// Node may keep an id as a part of the header that it was cut from, and then that whole header, for as long as the id.
function copyOf(id: unknown): unknown {
  return typeof id === 'string' ? Buffer.from(id).toString() : id;
}

/** Calls `begin` before a method of the store, with the session's id, and what that returns before the caller's callback. */
function wrap(store: object, name: string, method: unknown, begin: (id: unknown) => End): void {
  if (typeof method !== 'function') return;
  Reflect.set(store, name, function (this: unknown, ...args: unknown[]): unknown {
    const end = begin(args[0]);
    const last = args.at(-1);
    let hasAnswer = false;
    if (typeof last === 'function') {
      args[args.length - 1] = (...given: unknown[]) => {
        hasAnswer = true;
        end(given[0], () => void Reflect.apply(last, undefined, given));
      };
    }
    try {
      const returned: unknown = Reflect.apply(method, this, args);
      // Without a callback a promise tells it, or nothing does.
      if (typeof last !== 'function') {
        const tell = (error?: unknown): void => end(error, () => undefined);
        if (returned instanceof Promise) returned.then(() => tell(), tell);
        else tell();
      }
      return returned;
    } catch (thrown) {
      // What it has answered may have thrown, too.
      if (!hasAnswer) end(true, () => undefined);
      throw thrown;
    }
  });
}
