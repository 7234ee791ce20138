/** The counters alone, over a limiter that shows what it holds. */

import { createHmac } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  type BudgetName,
  type CounterSettings,
  createCounters,
  DEFAULT_BUDGETS,
  DEFAULT_SUBJECT_FAILURES,
  DEFAULT_UNCOMPLETED_IPV6,
  type Limiter,
  type LimiterOptions,
  type LimiterResult,
  memoryLimiter,
  type Payer,
  type SendGrant,
} from '../../lib/budgets.js';

// The first minute of a clock hour: windows of countries start with the hour.
const START = Date.UTC(2026, 0, 1, 12);
const HOUR = 3600;
const SECRET = 'a secret of the tests, long enough';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['Date'], now: START });
});
afterEach(() => {
  vi.useRealTimers();
});
const later = (seconds: number) => vi.setSystemTime(Date.now() + seconds * 1000);

type Method = keyof Limiter;

/** A store in memory: counts exactly, tells what it holds, and does once what a test wants done in between. */
function createStore() {
  const made: LimiterOptions[] = [];
  const cells = new Map<string, { points: number; until: number }>();
  const calls: string[] = [];
  const before = new Map<string, () => unknown>();

  function limiter(options: LimiterOptions): Limiter {
    made.push(options);
    const label = options.keyPrefix.replace('sms-otp:test:', '');
    const place = (key: string) => `${label} ${key}`;
    const live = (key: string) => {
      const cell = cells.get(place(key));
      return cell && cell.until > Date.now() ? cell : undefined;
    };
    const add = (key: string, points: number) => {
      const cell = live(key) ?? { points: 0, until: Date.now() + options.duration * 1000 };
      cell.points += points;
      cells.set(place(key), cell);
      return answer(cell);
    };
    const answer = (cell: { points: number; until: number }): LimiterResult => ({
      consumedPoints: cell.points,
      remainingPoints: Math.max(0, options.points - cell.points),
      msBeforeNext: cell.until - Date.now(),
    });
    /** What a test has put in front of this call takes its place when it returns something. */
    const called = async <T>(method: Method, act: () => T): Promise<T> => {
      const call = `${method} ${label}`;
      calls.push(call);
      const first = before.get(call);
      before.delete(call);
      const instead = await first?.();
      return instead === undefined ? act() : (instead as T);
    };
    return {
      consume: (key, points = 1) =>
        called('consume', () => {
          const result = add(key, points);
          if (result.consumedPoints > options.points) throw result;
          return result;
        }),
      reward: (key, points = 1) => called('reward', () => add(key, -points)),
      get: (key) =>
        called('get', () => {
          const cell = live(key);
          return cell ? answer(cell) : null;
        }),
      delete: (key) => called('delete', () => cells.delete(place(key))),
    };
  }

  return {
    made,
    calls,
    limiter,
    /** Runs in front of the next such call, and takes its place where it returns something or throws. */
    next(method: Method, label: string, act: () => unknown) {
      before.set(`${method} ${label}`, act);
    },
    /** The points that are counted under a label, over all its keys. */
    count(label: string): number {
      const found = [...cells].filter(
        ([place, { until }]) => place.startsWith(`${label} `) && until > Date.now(),
      );
      return found.reduce((sum, [, { points }]) => sum + points, 0);
    },
    keys: (label: string) =>
      [...cells.keys()].flatMap((place) =>
        place.startsWith(`${label} `) ? [place.slice(label.length + 1)] : [],
      ),
    empty: () => cells.clear(),
  };
}

const OFF = {
  sendsPerNumber: null,
  callsPerNumber: null,
  uncompletedPerClient: null,
  sendsOverall: null,
  countryCompletion: null,
  failuresPerNumber: null,
  failedChecksPerClient: null,
};

function setUp(changes: Partial<CounterSettings> = {}) {
  const store = createStore();
  const near: [BudgetName, number][] = [];
  const counters = createCounters({
    name: 'test',
    budgets: DEFAULT_BUDGETS,
    uncompletedIpv6: DEFAULT_UNCOMPLETED_IPV6,
    subjectFailures: DEFAULT_SUBJECT_FAILURES,
    limiter: store.limiter,
    secret: SECRET,
    storeTimeoutMs: 1000,
    pinTtlSeconds: 600,
    attempts: 5,
    usersPerNumber: undefined,
    hasDecoys: false,
    onNear: (budget, percent) => near.push([budget, percent]),
    ...changes,
  });
  return { store, counters, near };
}

const only = (budgets: Partial<CounterSettings['budgets']>): Partial<CounterSettings> => ({
  budgets: { ...OFF, ...budgets },
  uncompletedIpv6: null,
});

function payer(changes: Partial<Payer> = {}): Payer {
  return {
    recipient: '+385911234567',
    subject: undefined,
    country: 'HR',
    client: { family: 4, key: '192.0.2.1' },
    known: false,
    test: false,
    ...changes,
  };
}

const FRESH = { voice: false, fresh: true };
const AGAIN = { voice: false, fresh: false };
const hash = (value: string) => createHmac('sha256', SECRET).update(value).digest('base64url').slice(0, 22);
const PHONE = '+385911234567';
const NUMBER = hash('[null,"+385911234567"]');
const CLIENT = hash('192.0.2.1');

async function granted(
  asked: ReturnType<ReturnType<typeof setUp>['counters']['takeSend']>,
): Promise<SendGrant> {
  const grant = await asked;
  if (!grant.granted) throw new Error(`refused by ${grant.budget}`);
  return grant;
}

const refused = (budget: BudgetName, retryAfterSeconds: number, isCooldown = false) => ({
  granted: false,
  budget,
  retryAfterSeconds,
  isCooldown,
});

describe('the limiters', () => {
  const budget = (label: string, points: number, duration: number) => ({
    keyPrefix: `sms-otp:test:${label}:${duration}`,
    points,
    duration,
    purpose: 'budget',
  });

  it('are one for each limit, each with a prefix of its own', () => {
    const { store } = setUp({ usersPerNumber: 1, hasDecoys: true });
    expect(store.made).toEqual([
      budget('sendsPerNumber', 1, 30),
      budget('sendsPerNumber', 5, HOUR),
      budget('sendsPerNumber', 10, 24 * HOUR),
      budget('callsPerNumber', 3, 24 * HOUR),
      budget('sendsPerNumberInAll', 5, HOUR),
      budget('sendsPerNumberInAll', 10, 24 * HOUR),
      budget('uncompletedPerClient', 60, HOUR),
      budget('uncompletedPerClient6', 20, HOUR),
      budget('sendsOverall', 1000, HOUR),
      budget('sendsOverall', 5000, 24 * HOUR),
      budget('unreachedPerClient', 600, HOUR),
      budget('unreachedPerClient6', 200, HOUR),
      budget('unreachedOverall', 10_000, HOUR),
      budget('unreachedOverall', 50_000, 24 * HOUR),
      budget('failuresPerNumber', 10, 900),
      budget('failuresPerNumber', 30, 24 * HOUR),
      budget('failuresPerSubject', 100, 24 * 24 * HOUR),
      budget('failedChecksPerClient', 60, HOUR),
      budget('countrySends', Number.MAX_SAFE_INTEGER, 2 * HOUR),
      budget('countryCompletions', Number.MAX_SAFE_INTEGER, 2 * HOUR),
      { keyPrefix: 'sms-otp:test:attempts', points: 5, duration: 660, purpose: 'attempts' },
      { keyPrefix: 'sms-otp:test:claim', points: 1, duration: 4260, purpose: 'claim' },
      { keyPrefix: 'sms-otp:test:checkTurn', points: 1, duration: 3, purpose: 'budget' },
      { keyPrefix: 'sms-otp:test:checkTurnOfNumber', points: 4, duration: 1, purpose: 'budget' },
    ]);
  });

  it('are none but those of a challenge where every budget is off', () => {
    const { store } = setUp({ ...only({}), subjectFailures: null, usersPerNumber: 1 });
    expect(store.made.map(({ purpose }) => purpose)).toEqual(['attempts', 'claim']);
  });

  it('of a country never last longer than a timer can', () => {
    const countryCompletion = { sends: 1, duration: 2_000_000, minimumRatio: 0 };
    const { store } = setUp(only({ countryCompletion }));
    expect(
      store.made.filter(({ keyPrefix }) => keyPrefix.includes('country')).map((one) => one.duration),
    ).toEqual([2_147_483, 2_147_483]);
  });

  it('get keys that tell nothing, by number with its user, by client, and by number alone for calls', async () => {
    const { store, counters } = setUp({ usersPerNumber: 1 });
    expect(counters.hash('+385911234567')).toBe(hash('+385911234567'));
    await counters.takeSend(payer(), { voice: true, fresh: true });
    expect(store.keys('sendsPerNumber:30')).toEqual([NUMBER]);
    expect(store.keys('sendsPerNumberInAll:3600')).toEqual([hash('["+385911234567"]')]);
    expect(store.keys('callsPerNumber:86400')).toEqual([hash('+385911234567')]);
    expect(store.keys('uncompletedPerClient:3600')).toEqual([CLIENT]);
    expect(store.keys('sendsOverall:3600')).toEqual(['all']);
    store.empty();
    await counters.takeSend(payer({ subject: 'u1', known: true }), { voice: true, fresh: true });
    expect(store.keys('sendsPerNumber:30')).toEqual([`known:${hash('["u1","+385911234567"]')}`]);
    expect(store.keys('sendsPerNumberInAll:3600')).toEqual([`known:${hash('["+385911234567"]')}`]);
    expect(store.keys('callsPerNumber:86400')).toEqual([`known:${hash('+385911234567')}`]);
    expect(store.keys('uncompletedPerClient:3600')).toEqual([`known:${CLIENT}`]);
    expect(store.keys('countrySends:7200')).toEqual([`known:HR:${START / (HOUR * 1000)}`]);
  });
});

describe('a send', () => {
  it('is granted with what it took, when the next may be asked for, and what a login gives back', async () => {
    const { counters } = setUp();
    const { ticket, ...grant } = await granted(counters.takeSend(payer(), FRESH));
    expect(grant).toEqual({
      granted: true,
      cooldownUntil: START + 30_000,
      resendAt: START + 30_000,
      credit: { key: CLIENT, family: 4, until: [START + HOUR * 1000] },
    });
    expect(ticket.map(({ gauge, key, until }) => [gauge.budget, key, until - START])).toEqual([
      ['sendsPerNumber', NUMBER, 30_000],
      ['sendsPerNumber', NUMBER, HOUR * 1000],
      ['sendsPerNumber', NUMBER, 24 * HOUR * 1000],
      ['uncompletedPerClient', CLIENT, HOUR * 1000],
      ['sendsOverall', 'all', HOUR * 1000],
      ['sendsOverall', 'all', 24 * HOUR * 1000],
      ['countryCompletion', `HR:${START / (HOUR * 1000)}`, 2 * HOUR * 1000],
    ]);
  });

  it('in the cooldown is refused, and costs nobody anything', async () => {
    const { store, counters } = setUp();
    await counters.takeSend(payer(), FRESH);
    later(10);
    expect(await counters.takeSend(payer(), FRESH)).toEqual(refused('sendsPerNumber', 20, true));
    for (const { keyPrefix, purpose } of store.made) {
      const label = keyPrefix.replace('sms-otp:test:', '');
      // What the cooldown has refused ends with it.
      expect(store.count(label), label).toBeLessThanOrEqual(label === 'sendsPerNumber:30' ? 2 : 1);
      if (purpose !== 'budget') expect(store.count(label)).toBe(0);
    }
  });

  it('that uses a limit up says when its window is over, and the next is refused until then', async () => {
    const { store, counters } = setUp();
    for (let turn = 0; turn < 4; turn += 1) {
      expect(await granted(counters.takeSend(payer(), FRESH))).toMatchObject({
        resendAt: Date.now() + 30_000,
      });
      later(30);
    }
    const last = await granted(counters.takeSend(payer(), FRESH));
    expect(last).toMatchObject({ cooldownUntil: Date.now() + 30_000, resendAt: START + HOUR * 1000 });
    later(30);
    expect(await counters.takeSend(payer(), FRESH)).toEqual(refused('sendsPerNumber', HOUR - 150));
    expect(store.count('sendsPerNumber:30')).toBe(0);
    expect(store.count('sendsPerNumber:3600')).toBe(5);
    expect(store.count('uncompletedPerClient:3600')).toBe(5);
  });

  it('by voice counts as a call, too', async () => {
    const { store, counters } = setUp(only({ callsPerNumber: [{ points: 2, duration: 60 }] }));
    await counters.takeSend(payer(), FRESH);
    expect(store.count('callsPerNumber:60')).toBe(0);
    const call = () =>
      counters.takeSend(payer({ subject: `u${Math.random()}` }), { voice: true, fresh: true });
    expect(await Promise.all([call(), call(), call()])).toEqual([
      expect.objectContaining({ granted: true }),
      expect.objectContaining({ granted: true }),
      refused('callsPerNumber', 60),
    ]);
  });

  it('to a number that users type counts for all of them together, but for the cooldown', async () => {
    const { store, counters } = setUp({ usersPerNumber: 1 });
    const ask = (subject: string) => counters.takeSend(payer({ subject }), FRESH);
    for (const user of ['u1', 'u2', 'u3', 'u4', 'u5']) await granted(ask(user));
    expect(await ask('u6')).toEqual(refused('sendsPerNumber', HOUR));
    expect(store.count('sendsPerNumberInAll:3600')).toBe(5);
    expect(await setUp().counters.takeSend(payer({ subject: 'u1' }), FRESH)).toMatchObject({ granted: true });
  });

  it('to a number that users have in their accounts counts for all of them together, as for so many', async () => {
    const { counters } = setUp({ usersPerNumber: 3 });
    const ask = (subject: string) => counters.takeSend(payer({ subject }), FRESH);
    for (let user = 1; user <= 15; user += 1) await granted(ask(`u${user}`));
    expect(await ask('u16')).toEqual(refused('sendsPerNumber', HOUR));
  });

  it.each([1, 3])(
    'to a number of %i users at the most has no more where each limit is of one point',
    async (users) => {
      const hourly = [
        { points: 1, duration: 60 },
        { points: 1, duration: 3600 },
      ];
      const { counters } = setUp({ ...only({ sendsPerNumber: hourly }), usersPerNumber: users });
      const ask = (subject: string) => counters.takeSend(payer({ subject }), FRESH);
      for (let user = 1; user <= users; user += 1) await granted(ask(`u${user}`));
      expect(await ask('another')).toMatchObject({ granted: false, retryAfterSeconds: HOUR });
      later(60);
      expect(await ask('another')).toMatchObject({ granted: false, retryAfterSeconds: HOUR - 60 });
      later(HOUR - 60);
      await granted(ask('another'));
    },
  );

  it('of a client without an address has no credit and counts for no client', async () => {
    const { store, counters } = setUp();
    expect(await granted(counters.takeSend(payer({ client: undefined }), FRESH))).toMatchObject({
      credit: undefined,
    });
    expect(store.calls.filter((call) => call.includes('Client'))).toEqual([]);
  });

  it('of an IPv6 network counts by its own limit', async () => {
    const { store, counters } = setUp();
    const client = { family: 6, key: '2001:db8:0:0' } as const;
    expect(await granted(counters.takeSend(payer({ client }), FRESH))).toMatchObject({
      credit: { family: 6, key: hash('2001:db8:0:0') },
    });
    expect([store.count('uncompletedPerClient6:3600'), store.count('uncompletedPerClient:3600')]).toEqual([
      1, 0,
    ]);
  });

  it('where clients are not counted has no credit', async () => {
    const { counters } = setUp(only({ sendsOverall: [{ points: 9, duration: 60 }] }));
    expect(await granted(counters.takeSend(payer(), FRESH))).toMatchObject({ credit: undefined });
  });

  it('of a test number counts for the number and the client, and for nobody else', async () => {
    const { store, counters } = setUp();
    await granted(counters.takeSend(payer({ test: true }), FRESH));
    expect(store.count('sendsPerNumber:3600')).toBe(1);
    expect(store.count('uncompletedPerClient:3600')).toBe(1);
    expect(store.calls.filter((call) => /Overall|country/.test(call))).toEqual([]);
  });

  it('is refused without a trace where the client or everybody has used up theirs', async () => {
    const limit = [{ points: 1, duration: 60 }];
    for (const name of ['uncompletedPerClient', 'sendsOverall'] as const) {
      const { store, counters } = setUp(
        only({ [name]: limit, sendsPerNumber: [{ points: 5, duration: 60 }] }),
      );
      await counters.takeSend(payer(), FRESH);
      const before = store.calls.length;
      expect(await counters.takeSend(payer({ recipient: '+385919876543' }), FRESH)).toEqual(
        refused(name, 60),
      );
      expect(store.calls.slice(before).filter((call) => !call.startsWith('get'))).toEqual([]);
    }
  });

  it('names the budget that lasts longest where several refuse, and calls it no cooldown then', async () => {
    const { counters } = setUp(
      only({
        uncompletedPerClient: [{ points: 1, duration: 60 }],
        sendsOverall: [{ points: 1, duration: 90 }],
      }),
    );
    await counters.takeSend(payer(), FRESH);
    later(59.5);
    expect(await counters.takeSend(payer(), FRESH)).toEqual(refused('sendsOverall', 31));
    later(0.4);
    expect(await counters.takeSend(payer(), FRESH)).toEqual(refused('sendsOverall', 31));
    later(30.09);
    expect(await counters.takeSend(payer(), FRESH)).toEqual(refused('sendsOverall', 1));
  });

  it('gives back what it took where others were faster with the last point of all', async () => {
    const { store, counters } = setUp(
      only({ sendsPerNumber: [{ points: 5, duration: 60 }], sendsOverall: [{ points: 1, duration: 60 }] }),
    );
    store.next('consume', 'sendsOverall:60', () =>
      counters.takeSend(payer({ recipient: '+1' }), FRESH).then(() => undefined),
    );
    expect(await counters.takeSend(payer(), FRESH)).toEqual(refused('sendsOverall', 60));
    expect([store.count('sendsPerNumber:60'), store.count('sendsOverall:60')]).toEqual([1, 1]);
  });

  it('gives back what it took where the store fails on the way, and says that it did', async () => {
    const { store, counters } = setUp(
      only({ sendsPerNumber: [{ points: 5, duration: 60 }], sendsOverall: [{ points: 5, duration: 60 }] }),
    );
    const broken = new Error('the store is down');
    const failing = { code: 'ERR_SMS_OTP_STORE', cause: broken };
    store.next('consume', 'sendsOverall:60', () => Promise.reject(broken));
    await expect(counters.takeSend(payer(), FRESH)).rejects.toMatchObject(failing);
    expect([store.count('sendsPerNumber:60'), store.count('sendsOverall:60')]).toEqual([0, 0]);
    // Also where giving back fails, with another error.
    store.next('consume', 'sendsOverall:60', () => Promise.reject(broken));
    store.next('reward', 'sendsPerNumber:60', () => Promise.reject(new Error('still down')));
    await expect(counters.takeSend(payer(), FRESH)).rejects.toMatchObject(failing);
  });

  it('fails where a refusal cannot be taken back', async () => {
    const { store, counters } = setUp(only({ sendsPerNumber: [{ points: 2, duration: 60 }] }));
    await counters.takeSend(payer(), FRESH);
    await counters.takeSend(payer(), FRESH);
    const broken = new Error('the store is down');
    store.next('reward', 'sendsPerNumber:60', () => Promise.reject(broken));
    await expect(counters.takeSend(payer(), FRESH)).rejects.toMatchObject({ cause: broken });
  });

  it('tells when four fifths of all sends are used up, and when all are', async () => {
    const { counters, near } = setUp(only({ sendsOverall: [{ points: 9, duration: 60 }] }));
    const seen: number[] = [];
    for (let turn = 1; turn <= 10; turn += 1) {
      await counters.takeSend(payer(), FRESH);
      seen.push(near.length);
    }
    expect(seen).toEqual([0, 0, 0, 0, 0, 0, 0, 1, 2, 2]);
    expect(near).toEqual([
      ['sendsOverall', 80],
      ['sendsOverall', 100],
    ]);
  });

  it('is refused after too many wrong PINs for the number, but a PIN that is open may be sent again', async () => {
    const { counters } = setUp(only({ failuresPerNumber: [{ points: 2, duration: 60 }] }));
    for (const id of ['a', 'b']) await counters.takeCheck(payer(), { id, attemptsUsed: 0 });
    expect(await counters.takeSend(payer(), FRESH)).toEqual(refused('failuresPerNumber', 60));
    expect(await counters.takeSend(payer(), AGAIN)).toMatchObject({ granted: true });
    expect(await counters.takeSend(payer({ recipient: '+385919876543' }), FRESH)).toMatchObject({
      granted: true,
    });
    later(60);
    expect(await counters.takeSend(payer(), FRESH)).toMatchObject({ granted: true });
  });
});

describe('a check', () => {
  const challenge = { id: 'C', attemptsUsed: 0 };

  it('counts an attempt, a failure of the number and a check of the client', async () => {
    const { store, counters } = setUp();
    expect(await counters.takeCheck(payer(), challenge)).toMatchObject({ granted: true, attemptsUsed: 1 });
    const grant = await counters.takeCheck(payer(), challenge);
    expect(grant).toMatchObject({ granted: true, attemptsUsed: 2 });
    expect(grant.granted === true && grant.ticket.map(({ gauge, key }) => [gauge.budget, key])).toEqual([
      ['failedChecksPerClient', CLIENT],
      ['failuresPerNumber', NUMBER],
      ['failuresPerNumber', NUMBER],
    ]);
    expect(await counters.attemptsUsed('C')).toBe(2);
    expect(await counters.attemptsUsed('D')).toBe(0);
    expect(store.count('failuresPerSubject:2073600')).toBe(0);
  });

  it('of a known user counts as a failure of that user for longer', async () => {
    const { store, counters } = setUp();
    await counters.takeCheck(payer({ subject: 'u1' }), challenge);
    expect(store.keys('failuresPerSubject:2073600')).toEqual([hash('["u1"]')]);
    // Of whatever address.
    await counters.takeCheck(payer({ subject: 'u1', recipient: 'u1@example.com' }), challenge);
    expect(store.keys('failuresPerSubject:2073600')).toEqual([hash('["u1"]')]);
    expect(store.count('failuresPerSubject:2073600')).toBe(2);
    await counters.complete(payer({ subject: 'u1' }), [], { sentAt: START });
    expect(store.keys('failuresPerSubject:2073600')).toEqual([]);
    const without = setUp({ subjectFailures: null });
    await without.counters.takeCheck(payer({ subject: 'u1' }), challenge);
    expect(without.store.count('failuresPerNumber:900')).toBe(1);
  });

  it('of a client without an address counts for no client', async () => {
    const { store, counters } = setUp();
    await counters.takeCheck(payer({ client: undefined }), challenge);
    expect(store.calls.filter((call) => call.includes('Client'))).toEqual([]);
  });

  it('beyond the last attempt is exhausted and counts nothing', async () => {
    const { store, counters } = setUp();
    for (let turn = 0; turn < 5; turn += 1) {
      expect(await counters.takeCheck(payer(), challenge)).toMatchObject({ granted: true });
    }
    const before = store.calls.length;
    expect(await counters.takeCheck(payer(), challenge)).toEqual({ granted: 'exhausted' });
    expect(store.calls.slice(before).filter((call) => !call.startsWith('get'))).toEqual([]);
  });

  it('that finds out only while it counts that others were faster gives back what it took', async () => {
    const { store, counters } = setUp({ attempts: 1 });
    await counters.takeCheck(payer(), challenge);
    store.next('get', 'attempts', () => ({ consumedPoints: 0, remainingPoints: 1, msBeforeNext: 1000 }));
    expect(await counters.takeCheck(payer(), challenge)).toEqual({ granted: 'exhausted' });
    expect(store.count('failuresPerNumber:900')).toBe(1);
    expect(store.count('failedChecksPerClient:3600')).toBe(1);
  });

  it('of a PIN that was claimed says so', async () => {
    const { counters } = setUp();
    await counters.claim('C');
    expect(await counters.takeCheck(payer(), challenge)).toEqual({ granted: 'used' });
  });

  it('of a client that has failed too often is refused without a trace', async () => {
    const { store, counters } = setUp(only({ failedChecksPerClient: [{ points: 1, duration: 60 }] }));
    await counters.takeCheck(payer(), challenge);
    const before = store.calls.length;
    expect(await counters.takeCheck(payer(), challenge)).toEqual(refused('failedChecksPerClient', 60));
    expect(store.calls.slice(before).filter((call) => !call.startsWith('get'))).toEqual([]);
  });

  it('of a client that others used up in the meantime costs neither attempt nor failure', async () => {
    const { store, counters } = setUp(
      only({
        failedChecksPerClient: [{ points: 1, duration: 60 }],
        failuresPerNumber: [{ points: 9, duration: 60 }],
      }),
    );
    await counters.takeCheck(payer(), { id: 'OTHER', attemptsUsed: 0 });
    store.next('get', 'failedChecksPerClient:60', () => ({
      consumedPoints: 0,
      remainingPoints: 1,
      msBeforeNext: 9,
    }));
    expect(await counters.takeCheck(payer(), challenge)).toEqual(refused('failedChecksPerClient', 60));
    expect(await counters.attemptsUsed('C')).toBe(0);
    expect([store.count('failedChecksPerClient:60'), store.count('failuresPerNumber:60')]).toEqual([1, 1]);
  });

  it('of a number with too many failures is judged all the same', async () => {
    const { counters } = setUp(only({ failuresPerNumber: [{ points: 1, duration: 60 }] }));
    expect(await counters.takeCheck(payer(), challenge)).toMatchObject({ granted: true });
    expect(await counters.takeCheck(payer(), challenge)).toMatchObject({ granted: true, attemptsUsed: 2 });
  });

  it('whose counter is lost after the look goes on from the count in the challenge, too', async () => {
    const { store, counters } = setUp();
    await counters.takeCheck(payer(), challenge);
    await counters.takeCheck(payer(), challenge);
    const later = { ...challenge, attemptsUsed: 2 };
    expect(await counters.takeCheck(payer(), later)).toMatchObject({ granted: true, attemptsUsed: 3 });
    store.next('consume', 'attempts', () => store.empty());
    expect(await counters.takeCheck(payer(), later)).toMatchObject({ granted: true, attemptsUsed: 3 });
    expect(await counters.attemptsUsed('C')).toBe(3);
  });

  it('whose counter was lost goes on from the count in the challenge', async () => {
    const { store, counters } = setUp();
    expect(await counters.takeCheck(payer(), { id: 'C', attemptsUsed: 3 })).toMatchObject({
      attemptsUsed: 4,
    });
    expect(store.count('attempts')).toBe(4);
    expect(await counters.takeCheck(payer(), { id: 'C', attemptsUsed: 3 })).toMatchObject({
      attemptsUsed: 5,
    });
    expect(await counters.takeCheck(payer(), { id: 'D', attemptsUsed: 5 })).toEqual({ granted: 'exhausted' });
    expect(await counters.takeCheck(payer(), { id: 'E', attemptsUsed: 1 })).toMatchObject({
      attemptsUsed: 2,
    });
  });

  it.each([1, 2, 3, 4])(
    'whose counter was lost after %i lets no more pass than are left, of many at once',
    async (used) => {
      const { store, counters } = setUp();
      const many = Array.from({ length: 40 }, () =>
        counters.takeCheck(payer(), { id: 'C', attemptsUsed: used }),
      );
      const passed = (await Promise.all(many)).filter(({ granted }) => granted === true);
      expect(passed.length).toBeGreaterThan(0);
      expect(passed.length).toBeLessThanOrEqual(5 - used);
      expect(store.count('attempts')).toBeGreaterThanOrEqual(5);
    },
  );

  it('is over its attempts where a limiter refuses, whatever count it gives', async () => {
    for (const consumedPoints of [0, 1, 5]) {
      const { store, counters } = setUp();
      store.next('consume', 'attempts', () =>
        Promise.reject({ consumedPoints, remainingPoints: 0, msBeforeNext: 1 }),
      );
      expect(await counters.takeCheck(payer(), challenge)).toEqual({ granted: 'exhausted' });
    }
  });

  it('fails where the store fails, once nothing is left running', async () => {
    const { store, counters } = setUp();
    const broken = new Error('the store is down');
    store.next('consume', 'attempts', () => Promise.reject(broken));
    await expect(counters.takeCheck(payer(), challenge)).rejects.toMatchObject({ cause: broken });
    expect(store.count('failuresPerNumber:86400')).toBe(1);
  });

  it('can get its attempt back, and no more than it has used', async () => {
    const { store, counters } = setUp();
    await counters.giveAttemptBack('C');
    expect(store.count('attempts')).toBe(0);
    await counters.takeCheck(payer(), challenge);
    await counters.giveAttemptBack('C');
    await counters.giveAttemptBack('C');
    expect(store.count('attempts')).toBe(0);
    expect(await counters.attemptsUsed('C')).toBe(0);
  });
});

describe('a turn to check', () => {
  it('comes at once where checks are not spaced', async () => {
    const { store, counters } = setUp();
    expect([await counters.turnToCheck('C', PHONE), await counters.turnToCheck('C', PHONE)]).toEqual([
      true,
      true,
    ]);
    expect(store.calls).toEqual([]);
  });

  it('comes three seconds after the one before, for one of those who wait', async () => {
    vi.useFakeTimers({ now: START });
    const { counters } = setUp({ hasDecoys: true });
    expect(await counters.turnToCheck('C', PHONE)).toBe(true);
    expect(await counters.turnToCheck('D', PHONE)).toBe(true);
    const answers: boolean[] = [];
    const waiting = [1, 2].map(async () => answers.push(await counters.turnToCheck('C', PHONE)));
    await vi.advanceTimersByTimeAsync(3000);
    expect(answers).toEqual([]);
    await vi.advanceTimersByTimeAsync(100);
    await Promise.all(waiting);
    expect(answers).toEqual([true, false]);
  });

  it('comes four times a second for a number, whichever challenges, and for no more than four seconds', async () => {
    vi.useFakeTimers({ now: START });
    const { store, counters } = setUp({ hasDecoys: true });
    const answers: boolean[] = [];
    const waiting = Array.from({ length: 20 }, async (_, index) =>
      answers.push(await counters.turnToCheck(`C${index}`, PHONE)),
    );
    const counts: number[] = [];
    for (const ms of [999, 101, 1100, 1099]) {
      await vi.advanceTimersByTimeAsync(ms);
      counts.push(answers.length);
    }
    expect(counts).toEqual([4, 8, 12, 12]);
    await vi.advanceTimersByTimeAsync(1);
    await Promise.all(waiting);
    expect(answers).toEqual([...Array(16).fill(true), ...Array(4).fill(false)]);
    expect(await counters.turnToCheck('other', '+385919876543')).toBe(true);
    expect(store.keys('checkTurnOfNumber')).toEqual([hash(PHONE), hash('+385919876543')]);
  });
});

describe('a call', () => {
  it('is noted for its challenge, however often, and takes no claim', async () => {
    const { counters } = setUp();
    expect(await counters.wasCalled('C')).toBe(false);
    await counters.noteCall('C');
    await counters.noteCall('C');
    expect(await counters.wasCalled('C')).toBe(true);
    expect(await counters.wasCalled('D')).toBe(false);
    expect(await counters.claim('C')).toBe(true);
    await counters.claim('D');
    expect(await counters.wasCalled('D')).toBe(false);
  });
});

describe('a claim', () => {
  it('is for one of many, and the PIN is used from then on', async () => {
    const { counters } = setUp();
    const claims = await Promise.all(Array.from({ length: 9 }, () => counters.claim('C')));
    expect(claims.filter(Boolean)).toHaveLength(1);
    expect(await counters.attemptsUsed('C')).toBe(Number.POSITIVE_INFINITY);
    expect(await counters.claim('D')).toBe(true);
  });

  it('is nobody’s where the limiter grants it a second time', async () => {
    const { store, counters } = setUp();
    store.next('consume', 'claim', () => ({ consumedPoints: 2, remainingPoints: 0, msBeforeNext: 1 }));
    expect(await counters.claim('C')).toBe(false);
  });

  it('that was rewarded away again is none', async () => {
    const { store, counters } = setUp();
    store.next('get', 'claim', () => ({ consumedPoints: 0, remainingPoints: 1, msBeforeNext: 1 }));
    expect(await counters.attemptsUsed('C')).toBe(0);
  });
});

describe('giving back', () => {
  const budgets = only({
    sendsPerNumber: [
      { points: 1, duration: 30 },
      { points: 5, duration: 3600 },
    ],
  });

  it('returns every point, or all but that of the cooldown', async () => {
    const { store, counters } = setUp(budgets);
    const { ticket } = await granted(counters.takeSend(payer(), FRESH));
    await counters.giveBack(ticket, { keepCooldown: true });
    expect([store.count('sendsPerNumber:30'), store.count('sendsPerNumber:3600')]).toEqual([1, 0]);
    await counters.giveBack(ticket);
    expect([store.count('sendsPerNumber:30'), store.count('sendsPerNumber:3600')]).toEqual([0, 0]);
  });

  it('asks the store for nothing where the window is over', async () => {
    const { store, counters } = setUp(budgets);
    const { ticket } = await granted(counters.takeSend(payer(), FRESH));
    later(30);
    const before = store.calls.length;
    await counters.giveBack(ticket);
    expect(store.calls.slice(before)).toEqual(['get sendsPerNumber:3600', 'reward sendsPerNumber:3600']);
    // Nor where it may be over before the store has answered.
    later(3600 - 30 - 1.5);
    await counters.giveBack(ticket);
    expect(store.calls.slice(before + 2)).toEqual([]);
  });

  it('takes the window of a cooldown away, unless it ends in a moment, is another one or was refused', async () => {
    const { store, counters } = setUp(budgets);
    const { ticket } = await granted(counters.takeSend(payer(), FRESH));
    expect(await counters.takeSend(payer(), FRESH)).toEqual(refused('sendsPerNumber', 30, true));
    // Whoever was refused has nothing to give back, also not late.
    expect(store.calls.filter((call) => /^(?:get|reward|delete) sendsPerNumber:30$/u.test(call))).toEqual([]);
    later(28.499);
    await counters.giveBack(ticket);
    expect(store.keys('sendsPerNumber:30')).toEqual([]);
    const { ticket: next } = await granted(counters.takeSend(payer(), FRESH));
    await counters.giveBack(ticket);
    expect(store.count('sendsPerNumber:30')).toBe(1);
    later(28.5);
    await counters.giveBack(next);
    expect(store.count('sendsPerNumber:30')).toBe(1);
  });

  it('asks nothing more of a store that has stood still until its window is nearly over', async () => {
    const { store, counters } = setUp(only({ sendsOverall: [{ points: 5, duration: 60 }] }));
    const { ticket } = await granted(counters.takeSend(payer(), FRESH));
    for (const [endsIn, rewards] of [
      [1501, 1],
      [1500, 0],
    ] as const) {
      vi.setSystemTime(START + 58_000);
      const before = store.calls.length;
      store.next('get', 'sendsOverall:60', () => {
        // Asked two seconds before the end, it answers at once, and the answer takes its time.
        const answer = { consumedPoints: 1, remainingPoints: 4, msBeforeNext: 2000 };
        later((2000 - endsIn) / 1000);
        return answer;
      });
      await counters.giveBack(ticket);
      expect(store.calls.slice(before).filter((call) => call.startsWith('reward'))).toHaveLength(rewards);
    }
  });

  it('makes no point in a window that begins between the look and the reward', async () => {
    const { store, counters } = setUp(only({ sendsOverall: [{ points: 5, duration: 60 }] }));
    const { ticket } = await granted(counters.takeSend(payer(), FRESH));
    later(50);
    store.next('reward', 'sendsOverall:60', () => {
      store.empty();
      return { consumedPoints: 0, remainingPoints: 5, msBeforeNext: 60_000 };
    });
    await counters.giveBack(ticket);
    expect(store.calls.at(-1)).toBe('consume sendsOverall:60');
  });

  it('does not take from a window that began later', async () => {
    const { store, counters } = setUp(budgets);
    const { ticket } = await granted(counters.takeSend(payer(), FRESH));
    later(5);
    store.empty();
    await granted(counters.takeSend(payer(), FRESH));
    await counters.giveBack(ticket);
    expect([store.count('sendsPerNumber:30'), store.count('sendsPerNumber:3600')]).toEqual([1, 1]);
  });

  it.each<[what: string, result: LimiterResult | undefined]>([
    ['is gone', undefined],
    ['holds nothing', { consumedPoints: 0, remainingPoints: 1, msBeforeNext: 60_000 }],
    ['has run out', { consumedPoints: 1, remainingPoints: 0, msBeforeNext: 0 }],
  ])('makes no point where the key %s', async (_what, result) => {
    const { store, counters } = setUp(only({ sendsOverall: [{ points: 5, duration: 60 }] }));
    const { ticket } = await granted(counters.takeSend(payer(), FRESH));
    if (result) store.next('get', 'sendsOverall:60', () => result);
    else store.empty();
    await counters.giveBack(ticket);
    expect(store.calls.filter((call) => call.startsWith('reward'))).toEqual([]);
  });

  it('makes no point where the key runs out between the look and the reward', async () => {
    const { store, counters } = setUp(only({ sendsOverall: [{ points: 5, duration: 60 }] }));
    const { ticket } = await granted(counters.takeSend(payer(), FRESH));
    store.next('reward', 'sendsOverall:60', () => store.empty());
    await counters.giveBack(ticket);
    expect(store.count('sendsOverall:60')).toBe(0);
    expect(store.calls.at(-1)).toBe('consume sendsOverall:60');
  });

  it('leaves out what a limiter has refused without counting it', async () => {
    const minute = [{ points: 5, duration: 60 }];
    const { store, counters } = setUp(only({ sendsPerNumber: minute, failedChecksPerClient: minute }));
    await counters.takeSend(payer(), FRESH);
    await counters.takeCheck(payer(), { id: 'C', attemptsUsed: 0 });
    for (const consumedPoints of [0, 5]) {
      const refusal = () => Promise.reject({ consumedPoints, remainingPoints: 0, msBeforeNext: 60_000 });
      store.next('consume', 'sendsPerNumber:60', refusal);
      expect(await counters.takeSend(payer(), FRESH)).toEqual(refused('sendsPerNumber', 60));
      store.next('consume', 'failedChecksPerClient:60', refusal);
      expect(await counters.takeCheck(payer(), { id: 'C', attemptsUsed: 0 })).toEqual(
        refused('failedChecksPerClient', 60),
      );
    }
    expect([store.count('sendsPerNumber:60'), store.count('failedChecksPerClient:60')]).toEqual([1, 1]);
  });
});

describe('a login', () => {
  it('forgets the failures, gives the client its points back, and completes what the country has sent', async () => {
    const { store, counters } = setUp();
    const { credit, ticket: sendTicket } = await granted(counters.takeSend(payer(), FRESH));
    const check = await counters.takeCheck(payer(), { id: 'C', attemptsUsed: 0 });
    if (check.granted !== true || !credit) throw new Error('refused');
    const sentAt = Date.now();
    await counters.complete(payer(), [...sendTicket, ...check.ticket], { credit, sentAt });
    expect(store.count('failuresPerNumber:900')).toBe(0);
    expect(store.calls).toContain('delete failuresPerNumber:900');
    expect(store.calls).not.toContain('delete failuresPerSubject:2073600');
    expect(store.count('failedChecksPerClient:3600')).toBe(0);
    expect(store.count('uncompletedPerClient:3600')).toBe(0);
    expect(store.count('sendsPerNumber:3600')).toBe(1);
    expect(store.keys('countryCompletions:7200')).toEqual([`HR:${START / (HOUR * 1000)}`]);
  });

  it('in a known browser forgets the failures of strangers, too, and elsewhere only its own', async () => {
    const { store, counters } = setUp();
    const known = payer({ known: true });
    const fail = async () => {
      await counters.takeCheck(payer(), { id: 'C', attemptsUsed: 0 });
      await counters.takeCheck(known, { id: 'D', attemptsUsed: 0 });
    };
    await fail();
    expect(store.keys('failuresPerNumber:900')).toEqual([NUMBER, `known:${NUMBER}`]);
    await counters.complete(known, [], { sentAt: START });
    expect(store.keys('failuresPerNumber:900')).toEqual([]);
    await fail();
    await counters.complete(payer(), [], { sentAt: START });
    expect(store.keys('failuresPerNumber:900')).toEqual([`known:${NUMBER}`]);
  });

  it('leaves the failures of strangers where nobody may learn that there was one', async () => {
    const { store, counters } = setUp({ hasDecoys: true });
    const known = payer({ known: true });
    await counters.takeCheck(payer(), { id: 'C', attemptsUsed: 0 });
    await counters.takeCheck(known, { id: 'D', attemptsUsed: 0 });
    await counters.complete(payer(), [], { sentAt: START });
    expect(store.keys('failuresPerNumber:900')).toEqual([NUMBER, `known:${NUMBER}`]);
    await counters.complete(known, [], { sentAt: START });
    expect(store.keys('failuresPerNumber:900')).toEqual([NUMBER]);
  });

  it('without a credit gives the client nothing', async () => {
    const { store, counters } = setUp();
    await granted(counters.takeSend(payer(), FRESH));
    await counters.complete(payer(), [], { sentAt: START });
    expect(store.count('uncompletedPerClient:3600')).toBe(1);
  });

  it('with a credit of fewer limits than there are now gives back those', async () => {
    const { store, counters } = setUp();
    await granted(counters.takeSend(payer(), FRESH));
    await counters.complete(payer(), [], { sentAt: START, credit: { key: CLIENT, family: 4, until: [] } });
    expect(store.count('uncompletedPerClient:3600')).toBe(1);
  });

  it.each<[string, Partial<Payer>, Partial<CounterSettings>]>([
    ['of a test number', { test: true }, {}],
    ['by e-mail', { country: undefined }, {}],
    ['where no country is watched', {}, only({})],
  ])('%s completes nothing for a country', async (_what, changes, settings) => {
    const { store, counters } = setUp(settings);
    await counters.complete(payer(changes), [], { sentAt: START });
    expect(store.calls.filter((call) => call.includes('country'))).toEqual([]);
  });

  it('counts for the window in which its PIN was sent', async () => {
    const { store, counters } = setUp();
    later(2 * HOUR);
    await counters.complete(payer(), [], { sentAt: START });
    expect(store.keys('countryCompletions:7200')).toEqual([`HR:${START / (HOUR * 1000)}`]);
  });
});

describe('a country', () => {
  const countryCompletion = { sends: 10, duration: HOUR, minimumRatio: 0.4 };
  const watched = () => setUp(only({ countryCompletion }));
  const send = async (
    { counters }: ReturnType<typeof setUp>,
    times: number,
    changes: Partial<Payer> = {},
  ) => {
    for (let turn = 0; turn < times; turn += 1) await granted(counters.takeSend(payer(changes), FRESH));
  };
  const complete = async ({ counters }: ReturnType<typeof setUp>, times: number) => {
    for (let turn = 0; turn < times; turn += 1) await counters.complete(payer(), [], { sentAt: Date.now() });
  };
  const stop = (retryAfterSeconds: number, stopped?: object) => ({
    ...refused('countryCompletion', retryAfterSeconds),
    ...(stopped && { stopped }),
  });

  it('is stopped when too few of its PINs are typed in, until the window is over, and is news once', async () => {
    const site = watched();
    await send(site, 10);
    await complete(site, 3);
    later(600);
    expect(await site.counters.takeSend(payer(), FRESH)).toEqual(stop(3000, { sends: 10, completed: 3 }));
    expect(await site.counters.takeSend(payer(), FRESH)).toEqual(stop(3000));
    expect(site.store.count('countrySends:7200')).toBe(10);
    await send(site, 1, { country: 'SI' });
    await send(site, 1, { known: true });
    expect(await site.counters.takeSend(payer(), AGAIN)).toMatchObject({ granted: true });
    await complete(site, 1);
    await send(site, 1);
  });

  it('is not stopped by fewer sends, nor where enough are typed in', async () => {
    const site = watched();
    await send(site, 9);
    await complete(site, 4);
    await send(site, 1);
    await send(site, 1);
    expect(await site.counters.takeSend(payer(), FRESH)).toMatchObject({
      stopped: { sends: 11, completed: 4 },
    });
  });

  it('is judged by the window before, too, which fades', async () => {
    const site = watched();
    await send(site, 10);
    later(60);
    await complete(site, 4);
    await send(site, 0);
    for (let turn = 0; turn < 4; turn += 1) await complete(site, 4);
    await send(site, 10);
    // 20 sent and 20 typed in; from here on nothing is.
    later(HOUR - 60);
    await send(site, 10);
    later(HOUR);
    // The window before holds 10 sends, all of which count at its end and none a window later.
    expect(await site.counters.takeSend(payer(), FRESH)).toEqual(stop(1, { sends: 10, completed: 0 }));
    later(HOUR / 4);
    await send(site, 2);
    // 2 and three quarters of 10.
    await send(site, 1);
    later(0.5);
    expect(await site.counters.takeSend(payer(), FRESH)).toMatchObject({
      budget: 'countryCompletion',
      // 3 sends leave room for 7 of 10: at three tenths of the window.
      retryAfterSeconds: 180,
    });
    later(HOUR * 0.05 + 1);
    await send(site, 1);
  });

  it('is news again a window later', async () => {
    const site = watched();
    await send(site, 10);
    expect(await site.counters.takeSend(payer(), FRESH)).toHaveProperty('stopped');
    later(HOUR - 1);
    expect(await site.counters.takeSend(payer(), FRESH)).not.toHaveProperty('stopped');
    later(1);
    expect(await site.counters.takeSend(payer(), FRESH)).toEqual(stop(1, { sends: 10, completed: 0 }));
  });

  it('lets no more pass of many at once than one after the other', async () => {
    const site = watched();
    const asked = Array.from({ length: 15 }, () => site.counters.takeSend(payer(), FRESH));
    const answers = await Promise.all(asked);
    expect(answers.filter((answer) => answer.granted)).toHaveLength(10);
    expect(site.store.count('countrySends:7200')).toBe(10);
  });

  it('costs nothing where its counter fails', async () => {
    const site = setUp(only({ countryCompletion, sendsOverall: [{ points: 9, duration: 60 }] }));
    const broken = new Error('the store is down');
    site.store.next('consume', 'countrySends:7200', () => Promise.reject(broken));
    await expect(site.counters.takeSend(payer(), FRESH)).rejects.toMatchObject({ cause: broken });
    expect(site.store.count('sendsOverall:60')).toBe(0);
  });

  it('gives back once where giving back fails in part', async () => {
    const site = setUp(only({ countryCompletion, sendsOverall: [{ points: 9, duration: 60 }] }));
    await granted(site.counters.takeSend(payer(), FRESH));
    // Between the look and the count, others have filled it.
    site.store.next('consume', 'countrySends:7200', () => ({
      consumedPoints: 100,
      remainingPoints: 1,
      msBeforeNext: 7_200_000,
    }));
    const broken = new Error('the store is down');
    site.store.next('reward', 'countrySends:7200', () => Promise.reject(broken));
    await expect(site.counters.takeSend(payer(), FRESH)).rejects.toMatchObject({ cause: broken });
    expect(site.store.calls.filter((call) => call === 'reward sendsOverall:60')).toHaveLength(1);
    expect(site.store.count('sendsOverall:60')).toBe(1);
  });

  it('is asked about where there is one, and only for a new PIN', async () => {
    const site = watched();
    await send(site, 1, { country: undefined });
    await site.counters.takeSend(payer(), AGAIN);
    expect(site.store.calls).toEqual([]);
  });
});

describe('the limiter in memory', () => {
  const limiter = () => memoryLimiter({ keyPrefix: 'p', points: 5, duration: 60, purpose: 'budget' });

  it('keeps no key whose points have all come back', async () => {
    const memory = limiter();
    for (let point = 0; point < 3; point += 1) await memory.consume('key', 1);
    await memory.reward('key', 1);
    expect(await memory.get('key')).toMatchObject({ consumedPoints: 2 });
    await Promise.all([memory.reward('key', 1), memory.reward('key', 1)]);
    expect(await memory.get('key')).toBeNull();
  });

  it('keeps one that is counted again in the same moment, or that holds a point too few', async () => {
    const memory = limiter();
    await memory.consume('key', 1);
    await Promise.all([memory.reward('key', 1), memory.consume('key', 1)]);
    expect(await memory.get('key')).toMatchObject({ consumedPoints: 1 });
    await memory.reward('other', 1);
    expect(await memory.get('other')).toMatchObject({ consumedPoints: -1 });
  });

  it('is empty again after sends to ever new numbers that were all given back', async () => {
    const seen: [Limiter, string][] = [];
    const site = setUp({
      usersPerNumber: 3,
      limiter: (options) => {
        const memory = memoryLimiter(options);
        const noted = <A extends unknown[], T>(method: (key: string, ...rest: A) => T) => {
          return (key: string, ...rest: A): T => {
            seen.push([memory, key]);
            return method(key, ...rest);
          };
        };
        return { ...memory, consume: noted(memory.consume) };
      },
    });
    for (let index = 0; index < 50; index += 1) {
      const { ticket } = await granted(
        site.counters.takeSend(payer({ recipient: `+3859${index}` }), { voice: true, fresh: true }),
      );
      await site.counters.giveBack(ticket);
    }
    expect(seen.length).toBeGreaterThan(300);
    for (const [memory, key] of seen) expect(await memory.get(key)).toBeNull();
  });
});

describe('a limiter', () => {
  const nonsense: [string, unknown][] = [
    ['nothing', null],
    ['a text', 'OK'],
    ['an empty object', {}],
    ['a count alone', { consumedPoints: 1 }],
    ['a time alone', { msBeforeNext: 1 }],
    ['a count that is a text', { consumedPoints: '1', msBeforeNext: 1 }],
    ['a count that is none', { consumedPoints: Number.NaN, msBeforeNext: 1 }],
    ['a time without end', { consumedPoints: 1, msBeforeNext: Number.POSITIVE_INFINITY }],
  ];
  const down = { name: 'SmsOtpError', code: 'ERR_SMS_OTP_STORE', status: 503 };

  it.each(nonsense)('that answers %s grants nothing', async (_what, answer) => {
    const { store, counters } = setUp();
    const cause = expect.objectContaining({
      name: 'TypeError',
      message: 'A limiter answered nonsense',
      cause: answer,
    });
    store.next('consume', 'sendsPerNumber:30', () => answer);
    await expect(counters.takeSend(payer(), FRESH)).rejects.toMatchObject({ ...down, cause });
    store.next('consume', 'attempts', () => answer);
    await expect(counters.takeCheck(payer(), { id: 'C', attemptsUsed: 0 })).rejects.toMatchObject({
      ...down,
      cause,
    });
    store.next('consume', 'claim', () => answer);
    await expect(counters.claim('C')).rejects.toMatchObject({ ...down, cause });
    // Null is how a limiter says that it knows nothing.
    if (answer === null) return;
    store.next('get', 'claim', () => answer);
    await expect(counters.attemptsUsed('C')).rejects.toMatchObject({ ...down, cause });
  });

  it.each(nonsense)('that rejects with %s grants nothing and refuses nothing', async (_what, answer) => {
    const { store, counters } = setUp();
    for (const [label, act] of [
      ['sendsPerNumber:30', () => counters.takeSend(payer(), FRESH)],
      ['attempts', () => counters.takeCheck(payer(), { id: 'C', attemptsUsed: 0 })],
      ['claim', () => counters.claim('C')],
    ] as const) {
      store.next('consume', label, () => Promise.reject(answer));
      await expect(act()).rejects.toMatchObject(down);
    }
  });

  it('that rejects with an Error that looks like a refusal is down', async () => {
    const { store, counters } = setUp();
    const error = Object.assign(new Error('down'), { consumedPoints: 1, msBeforeNext: 1 });
    store.next('consume', 'claim', () => Promise.reject(error));
    await expect(counters.claim('C')).rejects.toMatchObject({ ...down, cause: error });
  });

  it('that does not answer in time is down', async () => {
    const { store, counters } = setUp({ storeTimeoutMs: 20 });
    store.next('consume', 'claim', () => new Promise(() => {}));
    await expect(counters.claim('C')).rejects.toMatchObject({
      ...down,
      cause: expect.objectContaining({ message: 'no answer after 20 ms' }),
    });
  });
});

describe('a number that could not be reached', () => {
  const limits = {
    uncompletedPerClient: [{ points: 2, duration: HOUR }],
    sendsOverall: [{ points: 3, duration: HOUR }],
  };

  it('is counted for the client and in all, under keys of its own', async () => {
    const { store, counters } = setUp(only(limits));
    await counters.countUnreached(payer());
    expect(store.keys('unreachedPerClient:3600')).toEqual([CLIENT]);
    expect(store.keys('unreachedOverall:3600')).toEqual(['all']);
    expect(store.keys('uncompletedPerClient:3600')).toEqual([]);
    expect(store.keys('sendsOverall:3600')).toEqual([]);
  });

  it('stops the client, and then all, for as long as that', async () => {
    const { counters } = setUp(only(limits));
    const count = async (times: number, who = payer()) => {
      for (let index = 0; index < times; index += 1) await counters.countUnreached(who);
    };
    await count(19);
    await granted(counters.takeSend(payer(), FRESH));
    later(60);
    await count(1);
    expect(await counters.takeSend(payer(), AGAIN)).toEqual(refused('uncompletedPerClient', HOUR - 60));
    const other = payer({ client: { family: 4, key: '192.0.2.2' } });
    await granted(counters.takeSend(other, FRESH));
    await count(10, payer({ client: undefined }));
    expect(await counters.takeSend(other, FRESH)).toEqual(refused('sendsOverall', HOUR - 60));
    later(HOUR - 60);
    await granted(counters.takeSend(payer({ client: { family: 4, key: '192.0.2.3' } }), FRESH));
  });

  it('is not counted for a test number, which nobody looks up', async () => {
    const { store, counters } = setUp(only(limits));
    await counters.countUnreached(payer({ test: true }));
    expect(store.keys('unreachedPerClient:3600')).toEqual([]);
    for (let count = 0; count < 30; count += 1) await counters.countUnreached(payer());
    await granted(counters.takeSend(payer({ test: true }), FRESH));
  });

  it('is told to nobody when its store is down', async () => {
    const { store, counters } = setUp(only(limits));
    store.next('consume', 'unreachedOverall:3600', () => Promise.reject(new Error('down')));
    await expect(counters.countUnreached(payer())).rejects.toMatchObject({ code: 'ERR_SMS_OTP_STORE' });
  });
});
