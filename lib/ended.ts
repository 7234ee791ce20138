/** Sessions that have ended in this process a moment ago: a request that has read one before must not write it back. */

import { property, type RequestLike } from './request.js';

/** Longer than any request that is still under way. */
const KEPT_MS = 120_000;

interface EndedSessions {
  has(id: unknown): boolean;
}

const watched = new WeakMap<object, EndedSessions>();

/**
 * The sessions that the request's store has destroyed lately. A store cannot tell: what it answered before the end may
 * arrive after it. So from the first call on its `destroy` is wrapped, as express-session wraps its `generate`.
 */
export function endedSessions(req: RequestLike): EndedSessions {
  const store = Object(property(req, 'sessionStore'));
  const known = watched.get(store);
  if (known) return known;
  const ends = new Map<unknown, number>();
  const ended = {
    has: (id: unknown) => performance.now() - (ends.get(id) ?? Number.NEGATIVE_INFINITY) < KEPT_MS,
  };
  const { destroy } = store;
  if (typeof destroy === 'function') {
    Reflect.set(store, 'destroy', function (this: unknown, id: unknown, ...rest: unknown[]): unknown {
      // In the order in which they came: those that are too old are the first.
      for (const old of ends.keys()) {
        if (ended.has(old)) break;
        ends.delete(old);
      }
      ends.delete(id);
      ends.set(id, performance.now());
      const [callback, ...more] = rest;
      const answer = (error?: unknown, ...others: unknown[]): unknown => {
        // It may be there still, and its user cannot know: it is left to whoever reads it.
        if (error) ends.delete(id);
        return Reflect.apply(Object(callback), undefined, [error, ...others]);
      };
      try {
        return Reflect.apply(destroy, this, [
          id,
          typeof callback === 'function' ? answer : callback,
          ...more,
        ]);
      } catch (thrown) {
        ends.delete(id);
        throw thrown;
      }
    });
    watched.set(store, ended);
  }
  return ended;
}
