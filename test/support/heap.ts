/** What this process holds in memory once all that can go has gone. */

import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

export function heapMegabytes(): number {
  setFlagsFromString('--expose-gc');
  const gc: unknown = runInNewContext('gc');
  if (typeof gc !== 'function') throw new Error('No garbage collector to call');
  gc();
  return process.memoryUsage().heapUsed / 1024 / 1024;
}
