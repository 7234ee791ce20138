/** Sessions that have ended in this process a moment ago: a request that has read one before must not write it back. */

import { property, type RequestLike } from './request.js';

/** Longer than any request that is still under way. */
const KEPT_MS = 300_000;

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
  // Two sets that take turns, so that nothing is kept for long and nothing has to be looked for.
  let recent = new Set<unknown>();
  let older = new Set<unknown>();
  let since = performance.now();
  const ended = { has: (id: unknown) => recent.has(id) || older.has(id) };
  const { destroy } = store;
  if (typeof destroy === 'function') {
    Reflect.set(store, 'destroy', function (this: unknown, ...args: unknown[]): unknown {
      if (performance.now() - since > KEPT_MS) {
        older = recent;
        recent = new Set();
        since = performance.now();
      }
      recent.add(args[0]);
      return Reflect.apply(destroy, this, args);
    });
    watched.set(store, ended);
  }
  return ended;
}
