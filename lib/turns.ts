/** Work of this process that must not overlap, such as reading something and writing it back. */

import { withDeadline } from './errors.js';

// The last of each key that is still under way.
const underWay = new Map<string, Promise<unknown>>();

/**
 * Acts after whatever was begun before with the same key, however that ended.
 *
 * @param longestMs so many milliseconds are waited: what hangs must not hold up the rest for ever
 */
export async function inTurn<T>(key: string, longestMs: number, act: () => Promise<T>): Promise<T> {
  const before = underWay.get(key);
  const acting = before ? after(before, longestMs).then(act) : act();
  underWay.set(key, acting);
  try {
    return await acting;
  } finally {
    if (underWay.get(key) === acting) underWay.delete(key);
  }
}

async function after(before: Promise<unknown>, longestMs: number): Promise<void> {
  await withDeadline(before, longestMs, () => new Error('late')).catch(() => undefined);
}
