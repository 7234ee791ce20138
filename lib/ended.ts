/** Sessions that have ended in this process a moment ago: a request that has read one before must not write it back. */

import { property, type RequestLike } from './request.js';

/** Longer than any request that is still under way. */
const KEPT_MS = 120_000;

interface EndedSessions {
  has(id: unknown): boolean;
}

type Method = (...args: unknown[]) => unknown;

/** Called with the store's answer, and with what passes it on. */
type End = (error: unknown, answer: () => void) => void;

const watched = new WeakMap<object, EndedSessions>();

/**
 * The sessions that the request's store has destroyed lately. A store cannot tell: what it answered before the end may
 * arrive after it. So from the first call on its `destroy` is wrapped, as express-session wraps its `generate`; and its
 * `set`, whoever calls it: one that was under way at the end is undone.
 */
export function endedSessions(req: RequestLike): EndedSessions {
  const store = Object(property(req, 'sessionStore'));
  const known = watched.get(store);
  if (known) return known;
  const ends = new Map<unknown, number>();
  const ended = {
    has: (id: unknown) => performance.now() - (ends.get(id) ?? Number.NEGATIVE_INFINITY) < KEPT_MS,
  };
  const { destroy, set } = store;
  if (typeof destroy !== 'function') return ended;
  wrap(store, 'destroy', destroy, (id) => {
    // In the order in which they came: those that are too old are the first.
    for (const old of ends.keys()) {
      if (ended.has(old)) break;
      ends.delete(old);
    }
    const before = ends.get(id);
    ends.delete(id);
    ends.set(id, performance.now());
    return (error, answer) => {
      // It may be there still, and its user cannot know: it is left to whoever reads it.
      if (error && before === undefined) ends.delete(id);
      else if (error) ends.set(id, Number(before));
      answer();
    };
  });
  if (typeof set === 'function') wrap(store, 'set', set, undoing);
  watched.set(store, ended);
  return ended;

  // A write that was under way at the end: whoever was signed in would be so again.
  function undoing(id: unknown): End {
    const before = ends.get(id);
    return (_error, answer) => {
      const end = ends.get(id);
      if (end === undefined || end === before) return answer();
      try {
        Reflect.apply(destroy, store, [id, answer]);
      } catch {
        // Thrown in the answer of the store, it would end the process.
        answer();
      }
    };
  }
}

/** Calls `begin` before a method of the store, with the session's id, and what that returns before the caller's callback. */
function wrap(store: object, name: string, method: Method, begin: (id: unknown) => End): void {
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
      return Reflect.apply(method, this, args);
    } catch (thrown) {
      // What it has answered may have thrown, too.
      if (!hasAnswer) end(true, () => undefined);
      throw thrown;
    }
  });
}
