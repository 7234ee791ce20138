/** Durations, rates and the windows that count against them, in the syntax of the 2FA application configuration. */

import { Newest } from './newest.js';

/** So many requests in so long a time. */
export interface Rate {
  points: number;
  lengthMs: number;
}

const units: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** What the documents leave open about the syntax. */
export interface LimitSyntax {
  /** `strict`: nothing but digits and units; `lenient`: also spaces, and units in upper case. */
  limitSyntax: 'strict' | 'lenient';
  /** Whether a number may be zero. */
  zeroInLimits: 'accept' | 'refuse';
}

const STRICT: LimitSyntax = { limitSyntax: 'strict', zeroInLimits: 'accept' };

/** Milliseconds of a duration such as `15m`, `900ms` or `h` (one hour); undefined when it is none. */
export function parseDuration(text: string, syntax = STRICT): number | undefined {
  const [, length = '1', unit] = /^(\d+)?(ms|s|m|h|d)$/.exec(spelled(text, syntax)) ?? [];
  if (unit === undefined) return undefined;
  const lengthMs = Number(length) * (units[unit] ?? 0);
  return lengthMs === 0 && syntax.zeroInLimits === 'refuse' ? undefined : lengthMs;
}

/** A rate such as `1/3s`, `5/h` (five in one hour) or `500/900ms`; undefined when it is none. */
export function parseRate(text: string, syntax = STRICT): Rate | undefined {
  const [, points, duration = ''] = /^(\d+)\/(.+)$/.exec(spelled(text, syntax)) ?? [];
  const lengthMs = parseDuration(duration, syntax);
  if (points === undefined || lengthMs === undefined) return undefined;
  return Number(points) === 0 && syntax.zeroInLimits === 'refuse'
    ? undefined
    : { points: Number(points), lengthMs };
}

function spelled(text: string, { limitSyntax }: LimitSyntax): string {
  return limitSyntax === 'lenient' ? text.replace(/\s/g, '').toLowerCase() : text;
}

interface Window {
  startedAt: number;
  count: number;
  /** Kept only for sliding windows: when each counted request came. */
  hits: number[];
}

/**
 * Counts requests per key. A fixed window starts with its first request; a sliding one looks back from now. Holds at
 * most `capacity` keys: over that the oldest window is forgotten, so that memory stays bounded.
 */
export class Windows {
  private readonly windows: Newest<Window>;

  constructor(capacity: number) {
    this.windows = new Newest(capacity);
  }

  get size(): number {
    return this.windows.size;
  }

  clear(): void {
    this.windows.clear();
  }

  /** Milliseconds until one more request is allowed: 0 when it is allowed now. Counts nothing. */
  waitMs(key: string, rate: Rate, now: number, sliding: boolean): number {
    // No request is allowed, whenever it comes.
    if (rate.points === 0) return Math.max(1, rate.lengthMs);
    const window = this.windows.get(key);
    if (!window) return 0;
    if (sliding) {
      const oldest = window.hits.at(-rate.points);
      return oldest === undefined ? 0 : Math.max(0, oldest + rate.lengthMs - now);
    }
    return window.count < rate.points ? 0 : Math.max(0, window.startedAt + rate.lengthMs - now);
  }

  count(key: string, rate: Rate, now: number, sliding: boolean): void {
    const open = this.windows.get(key);
    if (!open || (!sliding && now >= open.startedAt + rate.lengthMs)) {
      this.windows.set(key, { startedAt: now, count: 1, hits: sliding ? [now] : [] });
      return;
    }
    open.count += 1;
    if (!sliding) return;
    open.hits.push(now);
    if (open.hits.length > rate.points) open.hits.shift();
  }
}
