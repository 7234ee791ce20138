/** Waves of numbers that nobody answers, and an evening of people: what the default budgets let through. */

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { fakeClient, PIN } from './support/host.js';
import { createCrowd } from './support/in-process.js';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
// Not on the hour: the windows that sends are counted in start there.
const START = Date.UTC(2026, 0, 1, 18, 40);

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['Date'], now: START });
});
afterEach(() => {
  vi.useRealTimers();
});

const croatian = (index: number) => `+38591${String(1_000_000 + index)}`;
const slovenian = (index: number) => `+38641${String(100_000 + index)}`;

/** Numbers between 0 and 1 that are the same in each run. */
function sequence(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

const NUMBERS = 10_000;
const ADDRESSES = 2_000;

/** Lets each of the numbers ask once, evenly over `lasting` ms, each address for five of them. */
async function wave(lasting: number, atOnce: number, numbers = NUMBERS) {
  const client = fakeClient();
  const crowd = createCrowd(client, {});
  const sentAt: number[] = [];
  client.onSend = async () => {
    sentAt.push(Date.now());
    return { pinId: `P${sentAt.length}`, sent: true };
  };
  const ends = new Map<string, number>();
  for (let index = 0; index < numbers; index += atOnce) {
    vi.setSystemTime(START + (index / numbers) * lasting);
    const asks = Array.from({ length: atOnce }, (_, n) =>
      crowd.visitor(`address ${(index + n) % ADDRESSES}`).issue(croatian(index + n)),
    );
    for (const end of await Promise.all(asks)) ends.set(end, (ends.get(end) ?? 0) + 1);
  }
  return { crowd, client, sentAt, ends };
}

const most = (times: number[], span: number) => {
  let first = 0;
  let best = 0;
  for (const [index, time] of times.entries()) {
    while (time - (times[first] ?? 0) >= span) first += 1;
    best = Math.max(best, index - first + 1);
  }
  return best;
};

describe('a wave of 10,000 numbers of one country from 2,000 addresses, with the default budgets', () => {
  it('within twenty minutes costs 100 SMS, and the operator is told once', async () => {
    const { crowd, sentAt, ends } = await wave(19 * MINUTE, 1);
    expect(sentAt).toHaveLength(100);
    expect(Object.fromEntries(ends)).toEqual({ pin_sent: 100, countryCompletion: 9_900 });
    const told = crowd.events.filter(({ type }) => type === 'country.stopped');
    expect(told).toMatchObject([{ country: 'HR', sends: 100, completed: 0 }]);
    expect(crowd.events.filter(({ type }) => type === 'budget.refused')).toHaveLength(9_900);
  });

  it('all at once costs no more', async () => {
    const { sentAt, ends } = await wave(MINUTE, 1_000);
    expect(sentAt).toHaveLength(100);
    expect(ends.get('countryCompletion')).toBe(9_900);
  });

  it('over a day costs 100 an hour in the long run, and never more than twice that in any hour', async () => {
    const { crowd, sentAt } = await wave(24 * HOUR, 1);
    expect(sentAt.length).toBeLessThanOrEqual(25 * 100);
    expect(most(sentAt, HOUR)).toBeLessThanOrEqual(200);
    expect(crowd.events.filter(({ type }) => type === 'country.stopped').length).toBeLessThanOrEqual(24);
  });

  it('leaves other countries as they were, and takes no point of theirs', async () => {
    const { crowd, client } = await wave(10 * MINUTE, 100, 1_000);
    const sent = client.sends.length;
    for (let index = 0; index < 60; index += 1) {
      const visitor = crowd.visitor(`slovenian ${index}`);
      expect(await visitor.issue(slovenian(index))).toBe('pin_sent');
      expect(await visitor.check(PIN)).toBe('logged in');
    }
    expect(client.sends.length - sent).toBe(60);
  });

  it('cannot be made dearer by asking again: five SMS to each of a hundred numbers', async () => {
    const client = fakeClient();
    const crowd = createCrowd(client, {});
    const visitors = Array.from({ length: 300 }, (_, index) => crowd.visitor(`address ${index}`));
    for (const [index, visitor] of visitors.entries()) await visitor.issue(croatian(index));
    for (let turn = 1; turn <= 8; turn += 1) {
      vi.setSystemTime(START + turn * 31_000);
      for (const visitor of visitors) await visitor.resend();
    }
    expect(client.sends).toHaveLength(100);
    expect(client.resends).toHaveLength(400);
  });

  it('does not make it up by typing in a few: with under four in ten completed it stays stopped', async () => {
    const client = fakeClient();
    const crowd = createCrowd(client, {});
    for (let index = 0; index < 100; index += 1) {
      const visitor = crowd.visitor(`address ${index}`);
      await visitor.issue(croatian(index));
      if (index % 10 < 3) expect(await visitor.check(PIN)).toBe('logged in');
    }
    expect(await crowd.visitor('another').issue(croatian(5_000))).toBe('countryCompletion');
  });
});

describe('an honest evening: 3,000 logins in an hour, 85 % completed, typing for 20 s', () => {
  // The hour's budget of the whole strategy is for smaller sites; this one has set its own.
  const options = { budgets: { sendsOverall: [{ points: 5_000, duration: 3_600 }] } };

  it.each([
    ['evenly', (index: number) => (index * HOUR) / 3_000],
    ['as they happen to come', sorted(3_000, sequence(7))],
  ])('never stops, when they come %s', async (_how, at) => {
    const client = fakeClient();
    const crowd = createCrowd(client, options);
    const random = sequence(11);
    const steps: { at: number; act: () => Promise<string>; end: string }[] = [];
    for (let index = 0; index < 3_000; index += 1) {
      const visitor = crowd.visitor(`home ${index % 2_500}`);
      const begins = START + at(index);
      steps.push({ at: begins, act: () => visitor.issue(croatian(index)), end: 'pin_sent' });
      if (random() < 0.85) {
        steps.push({ at: begins + 20_000, act: () => visitor.check(PIN), end: 'logged in' });
      }
    }
    let completed = 0;
    for (const step of steps.sort((a, b) => a.at - b.at)) {
      vi.setSystemTime(step.at);
      expect(await step.act()).toBe(step.end);
      if (step.end === 'logged in') completed += 1;
    }
    expect(client.sends).toHaveLength(3_000);
    expect(completed / 3_000).toBeGreaterThan(0.83);
    expect(crowd.events.map(({ type }) => type)).not.toContain('country.stopped');
  });
});

function sorted(count: number, random: () => number): (index: number) => number {
  const times = Array.from({ length: count }, () => random() * HOUR).sort((a, b) => a - b);
  return (index) => times[index] ?? 0;
}
