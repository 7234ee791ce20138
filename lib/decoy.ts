/**
 * How the PIN service's calls went of late, so that an answer without the service looks like one with it: as long as
 * a recent one, and failed where they fail.
 */

import { asError } from './errors.js';

/** What is asked of the service. */
export type Operation = 'send' | 'resend' | 'check';

/** The service's recent ways. `way` is the channel: one may be slow, or out of order, while another is not. */
export interface Pace {
  /**
   * Asks the service and remembers how that went. While too little is known for a decoy to look like it, the answer is
   * held back until a decoy's would come; and so is, at any time, one that the visitor will not be told of.
   */
  real<T>(operation: Operation, request: () => Promise<T>, way?: string): Promise<T>;
  /** Asks for a test number: that is no measure of the service, and takes a decoy's time where there are decoys. */
  test<T>(operation: Operation, request: () => Promise<T>, way?: string): Promise<T>;
  /** Takes as long as a recent call took, and rejects with what the last one failed with, if it did just now. */
  decoy(operation: Operation, way?: string): Promise<void>;
}

const REMEMBERED = 64;
// With so many calls of its kind known, a drawn time says nothing; before, real answers are held back, too.
const LEARNED = 16;
// Before anything is known: longer than such a call over the Internet usually takes.
const FIRST_MS: Record<Operation, number> = { send: 2000, resend: 2000, check: 1000 };
// How long a failure is taken for an outage that goes on.
const OUTAGE_MS = 60_000;

interface Failure {
  error: Error;
  tookMs: number;
  at: number;
}

/**
 * A memory of the last 64 calls of each operation by each channel.
 *
 * @param hasDecoys false where every answer comes from the service: nothing is remembered or held back
 * @param isOutage whether an error says something about the service, and not about one number or PIN
 * @param isAskedAgain whether an error is followed by another call, so that both together take the time of one
 */
export function createPace(
  hasDecoys: boolean,
  isOutage: (thrown: unknown) => boolean,
  isAskedAgain: (operation: Operation, thrown: unknown) => boolean = () => false,
): Pace {
  const recent = new Map<string, number[]>();
  const failures = new Map<string, Failure>();

  function recentOf(operation: Operation, way: string): number[] {
    const key = operation + way;
    const known = recent.get(key) ?? [];
    recent.set(key, known);
    return known;
  }

  async function real<T>(operation: Operation, request: () => Promise<T>, way = ''): Promise<T> {
    const started = performance.now();
    // Decided first: this call must not know more than a decoy that came at the same moment.
    const known = recentOf(operation, way);
    const isLearned = known.length >= LEARNED;
    const decoyMs = isLearned ? drawn(known) : unlearned(operation, way);
    let heldMs = isLearned ? 0 : decoyMs;
    try {
      const answer = await request();
      failures.delete(operation + way);
      if (Reflect.get(Object(answer), 'sent') === false) {
        heldMs = decoyMs;
      } else {
        known.push(performance.now() - started);
        if (known.length > REMEMBERED) known.shift();
      }
      return answer;
    } catch (thrown) {
      const error = asError(thrown, 'The PIN service failed with something that is no Error');
      const tookMs = performance.now() - started;
      if (isOutage(thrown)) failures.set(operation + way, { error, tookMs, at: Date.now() });
      else if (!isAskedAgain(operation, thrown)) heldMs = decoyMs;
      throw thrown;
    } finally {
      if (isLearned) await untilAbout(started + heldMs);
      else await until(started + heldMs);
    }
  }

  async function decoy(operation: Operation, way = ''): Promise<void> {
    const started = performance.now();
    const failure = failures.get(operation + way);
    const known = recentOf(operation, way);
    if (failure !== undefined && Date.now() - failure.at < OUTAGE_MS) {
      const tookMs = failure.tookMs * (0.95 + Math.random() / 10);
      await until(started + Math.max(tookMs, known.length < LEARNED ? unlearned(operation, way) : 0));
      throw failure.error;
    }
    if (known.length < LEARNED) await until(started + unlearned(operation, way));
    else await untilAbout(started + drawn(known));
  }

  // Longer than any call so far: real ones are held back as long, so the two cannot be told apart. Of a kind that was
  // never asked for, no more is known than that others took their time.
  function unlearned(operation: Operation, way: string): number {
    const own = recentOf(operation, way);
    const longest =
      own.length > 0 ? Math.max(...own) : Math.max(FIRST_MS[operation], ...[...recent.values()].flat());
    return longest * (1 + Math.random() / 4);
  }

  if (!hasDecoys) {
    const straight = <T>(_operation: Operation, request: () => Promise<T>) => request();
    return { real: straight, test: straight, decoy };
  }
  async function test<T>(operation: Operation, request: () => Promise<T>, way = ''): Promise<T> {
    await decoy(operation, way).catch(() => undefined);
    return request();
  }
  return { real, test, decoy };
}

// One of the times, the newer the sooner (the service has better and worse hours), moved at most half way to its neighbour:
// no two draws are the same, as no two calls are. But none is drawn often: whoever makes a real call right before would
// know its time again.
function drawn(known: readonly number[]): number {
  const age = Math.floor(known.length * Math.random() ** 1.5);
  const time = known[known.length - 1 - age] ?? 0;
  const sorted = [...known].sort((a, b) => a - b);
  const place = sorted.indexOf(time);
  const neighbour = sorted[place + (Math.random() < 0.5 ? -1 : 1)] ?? time;
  return time + ((neighbour - time) * Math.random()) / 2;
}

// Timers know whole milliseconds only: the rest is waited for turn by turn.
async function until(due: number): Promise<void> {
  const left = due - performance.now();
  if (left > 2) await new Promise((resolve) => setTimeout(resolve, left - 2));
  while (performance.now() < due) await new Promise((resolve) => setImmediate(resolve));
}

// A busy process comes late to its timers, and as late to the service's answers. The times of those hold that already,
// so what the last waits were late by is taken off again. A long stop of the process is no habit.
let usuallyLate = 0;
const LONGEST_LATE_MS = 50;

async function untilAbout(due: number): Promise<void> {
  const aim = due - usuallyLate;
  const isAhead = performance.now() < aim;
  await until(aim);
  if (isAhead) usuallyLate += (Math.min(LONGEST_LATE_MS, performance.now() - aim) - usuallyLate) / 16;
}
