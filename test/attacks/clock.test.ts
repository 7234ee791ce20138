/**
 * The clock of the machine jumps, forwards and back, in the middle of a login (a laptop that wakes up, a server whose time
 * is put right): guesses, sends and PINs are counted all the same.
 */

import fc from 'fast-check';
import { type Limiter, type LimiterOptions, requireSmsOtp } from 'passport-sms-otp';
import { RateLimiterMemory } from 'rate-limiter-flexible';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { expectNoUnhandledRejection } from '../support/calm.js';
import { createHost, fakeClient, type LooseOptions, PHONE, PIN, serve } from '../support/host.js';
import { SECRET } from '../support/limiters.js';

expectNoUnhandledRejection();

const START = Date.parse('2026-11-26T12:00:00Z');
const SECOND = 1000;
const HOUR = 3600 * SECOND;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['Date'], now: START });
});

afterEach(() => {
  vi.useRealTimers();
});

/** From the start, in milliseconds. */
const jumpTo = (at: number) => vi.setSystemTime(START + at);

const jumps = fc.constantFrom(
  ...[SECOND, 31 * SECOND, 31 * SECOND, 31 * SECOND, 31 * SECOND, 5 * 60 * SECOND, HOUR],
  ...[-SECOND, -31 * SECOND, -5 * 60 * SECOND, -HOUR, 2 * HOUR, -2 * HOUR, 25 * HOUR],
);
const acts = fc.constantFrom('jump', 'jump', 'issue', 'issue', 'resend', 'wrong', 'wrong', 'wrong');
const walks = fc.array(fc.tuple(acts, jumps), { minLength: 30, maxLength: 80 });

/** A site where only the number itself limits anything, and which counts what it asks of the service. */
async function site(strategy: LooseOptions = {}) {
  const client = fakeClient();
  const host = createHost(client, {
    strategy: {
      ...strategy,
      budgets: {
        uncompletedPerClient: null,
        failuresPerNumber: null,
        failedChecksPerClient: null,
        sendsOverall: null,
        countryCompletion: null,
        ...strategy.budgets,
      },
    },
    routes: (app) =>
      app.get('/secret', requireSmsOtp({ maxAgeSeconds: 600 }) as never, (_req, res) => res.end()),
  });
  return { client, host, at: await serve(host) };
}

it('lets nobody guess or send more than in the time that the clock has shown', async () => {
  let guesses = 0;
  let most = 0;
  await fc.assert(
    fc.asyncProperty(walks, async (walk) => {
      jumpTo(0);
      const { client, host, at } = await site();
      const browser = host.browser(at);
      const seen = [0];
      for (const [act, jump] of walk) {
        if (act === 'jump') {
          seen.push((seen.at(-1) ?? 0) + jump);
          jumpTo(seen.at(-1) ?? 0);
        } else {
          const { status } = await {
            issue: () => browser.issue(),
            resend: () => browser.resend(),
            wrong: () => browser.check('000000'),
          }[act]();
          expect([202, 400, 401, 410, 429]).toContain(status);
        }
      }
      const perPin = new Map<string, number>();
      for (const { pinId } of client.checks) perPin.set(pinId, (perPin.get(pinId) ?? 0) + 1);
      guesses += client.checks.length;
      expect(Math.max(0, ...perPin.values())).toBeLessThanOrEqual(5);
      const span = Math.max(...seen) - Math.min(...seen);
      const sends = client.sends.length + client.resends.length;
      most = Math.max(most, sends);
      expect(sends).toBeLessThanOrEqual(5 * (Math.floor(span / HOUR) + 1));
      expect(sends).toBeLessThanOrEqual(10 * (Math.floor(span / (24 * HOUR)) + 1));
      expect(host.errors).toEqual([]);
    }),
    { numRuns: 60, seed: 4, endOnFailure: true },
  );
  // The walks went where there is something to see.
  expect(guesses).toBeGreaterThan(150);
  expect(most).toBeGreaterThan(5);
}, 60_000);

/** A store that takes nothing away: as somebody has it who kept a copy. */
function unforgetting() {
  const kept = new Map<string, unknown>();
  return {
    get: async (_req: unknown, name: string) => kept.get(name),
    set: async (_req: unknown, name: string, challenge: unknown) => {
      kept.set(name, challenge);
    },
    remove: async () => {},
  };
}

it('gives nobody new attempts, also where the store still holds the challenge of before', async () => {
  const kept = new Map<string, unknown>();
  const { client, host, at } = await site({
    challenges: {
      get: async (_req: unknown, name: string) => kept.get(name),
      // The first one, as somebody has it who kept a copy.
      set: async (_req: unknown, name: string, challenge: unknown) => {
        if (!kept.has(name)) kept.set(name, structuredClone(challenge));
      },
      remove: async () => {},
    },
  } as LooseOptions);
  const browser = host.browser(at);
  expect((await browser.issue()).status).toBe(202);
  for (const place of [0, SECOND, -HOUR, 2 * HOUR, -25 * HOUR, 0, 25 * HOUR, 60 * SECOND, -HOUR, 0]) {
    jumpTo(place);
    await browser.check('000000');
    await browser.check('000000');
  }
  expect(client.checks).toHaveLength(5);
  jumpTo(0);
  expect((await browser.check(PIN)).body.outcome.code).toBe('attempts_exhausted');
});

it('makes no PIN work twice, also where the store still holds the challenge of before', async () => {
  const { client, host, at } = await site({
    challenges: unforgetting(),
  } as LooseOptions);
  const first = host.browser(at);
  await first.issue();
  expect((await first.check()).status).toBe(200);
  for (const place of [0, -HOUR, 2 * HOUR, 60 * SECOND, 25 * HOUR, -25 * HOUR, 0]) {
    jumpTo(place);
    const again = await host.browser(at).check();
    expect([again.status, again.body.outcome.code]).toEqual([
      401,
      expect.stringMatching(/^(?:no_challenge|pin_expired)$/),
    ]);
  }
  expect(client.checks.length).toBeLessThanOrEqual(5);
});

it('sends no message for a challenge that was used, to whoever kept a copy, in all of its hour', async () => {
  const { client, host, at } = await site({
    challenges: unforgetting(),
    secret: SECRET,
    limiter: (options: LimiterOptions): Limiter => {
      const memory = new RateLimiterMemory(options);
      return {
        consume: (key, points) => memory.consume(key, points),
        reward: (key, points) => memory.reward(key, points),
        delete: (key) => memory.delete(key),
        // By the clock that moves here, as a store elsewhere does it.
        get: async (key) => {
          const found = await memory.get(key);
          return found && found.msBeforeNext > 0 ? found : null;
        },
      };
    },
  } as LooseOptions);
  const owner = host.browser(at);
  expect((await owner.issue()).status).toBe(202);
  expect((await owner.check()).status).toBe(200);
  for (const minutes of [1, 11, 12, 30, 59, 60, 71]) {
    jumpTo(minutes * 60 * SECOND);
    const { status, body } = await host.browser(at).resend();
    expect([status, body.outcome.code], `after ${minutes} minutes`).toEqual([401, 'no_challenge']);
  }
  expect([client.sends.length, client.resends.length]).toEqual([1, 0]);
});

it('takes no proof from the future, and none that a jump has made old', async () => {
  const { host, at } = await site();
  const browser = host.browser(at);
  await browser.issue();
  expect((await browser.check()).status).toBe(200);
  for (const [place, status] of [
    [0, 200],
    [-SECOND, 403],
    [599 * SECOND, 200],
    [601 * SECOND, 403],
    [-25 * HOUR, 403],
    [SECOND, 200],
  ] as const) {
    jumpTo(place);
    expect((await browser.get('/secret')).status, String(place)).toBe(status);
  }
});

it('keeps nobody from logging in once the time is right again', async () => {
  for (const place of [HOUR, -HOUR, 25 * HOUR]) {
    jumpTo(0);
    const { host, at } = await site();
    const browser = host.browser(at);
    await browser.issue(PHONE);
    jumpTo(place);
    await browser.check('000000');
    await browser.resend();
    jumpTo(45 * SECOND);
    expect((await browser.check()).status, String(place)).toBe(200);
  }
});

it('lets nobody wait for a turn that is an hour away, where checks are spaced', async () => {
  const { client, host, at } = await site({ canReceivePin: () => true });
  const browser = host.browser(at);
  await browser.issue();
  await browser.check('000000');
  jumpTo(-HOUR);
  const started = performance.now();
  await browser.check('000000');
  expect(performance.now() - started).toBeLessThan(12_000);
  expect(client.checks.length).toBeLessThanOrEqual(2);
}, 20_000);
