/** A limiter's store that several processes share, that can be looked into, and that breaks on demand. */

import type { Limiter, LimiterOptions } from 'passport-sms-otp';
import { RateLimiterMemory } from 'rate-limiter-flexible';

type Method = keyof Limiter;
type Purpose = LimiterOptions['purpose'];

export interface SharedCounters {
  /** The option `limiter`. Strategies that are given the same one count together. */
  limiter: (options: LimiterOptions) => Limiter;
  /** What the option was called with. */
  made: LimiterOptions[];
  /** Every key that was ever counted, with its prefix. */
  keys: Set<string>;
  /** How often each method was called for each purpose. */
  calls: Map<`${Purpose} ${Method}`, number>;
  /** From now on this method fails, or never answers, for limiters of this purpose. */
  break(purpose: Purpose, method: Method, how: 'fails' | 'is silent'): void;
  /** From now on no method ever answers. */
  silence(): void;
  heal(): void;
}

export function sharedCounters(): SharedCounters {
  const made: LimiterOptions[] = [];
  const keys = new Set<string>();
  const stores = new Map<string, RateLimiterMemory>();
  const faults = new Map<string, 'fails' | 'is silent'>();
  const calls: SharedCounters['calls'] = new Map();

  function limiter(options: LimiterOptions): Limiter {
    made.push({ ...options });
    const store = stores.get(options.keyPrefix) ?? new RateLimiterMemory(options);
    stores.set(options.keyPrefix, store);
    const run = <T>(method: Method, key: string, work: () => Promise<T>): Promise<T> => {
      const called = `${options.purpose} ${method}` as const;
      calls.set(called, (calls.get(called) ?? 0) + 1);
      keys.add(`${options.keyPrefix}:${key}`);
      const fault = faults.get(called);
      if (fault === 'fails') return Promise.reject(new Error('connection to the counters lost'));
      return fault === 'is silent' ? new Promise(() => undefined) : work();
    };
    return {
      consume: (key, points) => run('consume', key, () => store.consume(key, points)),
      reward: (key, points) => run('reward', key, () => store.reward(key, points)),
      get: (key) => run('get', key, () => store.get(key)),
      delete: (key) => run('delete', key, () => store.delete(key)),
    };
  }

  return {
    limiter,
    made,
    keys,
    calls,
    break: (purpose, method, how) => faults.set(`${purpose} ${method}`, how),
    silence: () => {
      for (const purpose of ['budget', 'attempts', 'claim']) {
        for (const method of ['consume', 'reward', 'get', 'delete'])
          faults.set(`${purpose} ${method}`, 'is silent');
      }
    },
    heal: () => faults.clear(),
  };
}

export const SECRET = 'a secret of the tests, 32 characters or more';
