/**
 * Races, each with a count of how many requests overlapped, and each run twice: as it is, and with the one guard taken
 * out that stands against it. A race that also goes well without the guard would prove nothing.
 */

import type { RequestHandler } from 'express';
import type * as Package from 'passport-sms-otp';
import type { Challenge, ChallengeStore } from 'passport-sms-otp';
import { describe, expect, it } from 'vitest';
import { type Barrier, barrier } from '../support/barrier.js';
import { createGate } from '../support/gate.js';
import {
  type Browser,
  createHost,
  type FakeClient,
  fakeClient,
  type Host,
  type HostOptions,
  PHONE,
  PIN,
  serve,
} from '../support/host.js';
import { SECRET, sharedCounters } from '../support/limiters.js';
import { type Patch, withoutGuard } from '../support/mutant.js';
import { mapStore } from '../support/stores.js';

const MANY = 30;

/** Takes a PIN once for all processes. */
const CLAIM: Patch = {
  file: 'check.ts',
  from: 'if (!(await counters.claim(challenge.id))) {',
  to: 'if (!(await counters.claim(challenge.id).then(() => true))) {',
};
/** Knows which sessions the login of another request has ended. */
const ENDED: Patch = {
  file: 'ended.ts',
  from: '?? Number.NEGATIVE_INFINITY) < KEPT_MS',
  to: '?? Number.NEGATIVE_INFINITY) < 0',
};
/** Looks whether the challenge is over before anything is counted. */
const LOOK: Patch = {
  file: 'budgets.ts',
  from: 'attemptsUsed(challenge.id),\n      usedUp(',
  to: 'Promise.resolve(0),\n      usedUp(',
};
/** Counts an attempt before the service is asked. */
const ATTEMPTS: Patch = {
  file: 'budgets.ts',
  from: 'if (used > settings.attempts) {',
  to: 'if (used < 0) {',
};
/** Lets one of many sends at once through. */
const BUDGETS: Patch = { file: 'budgets.ts', from: '        refused = true;\n', to: '' };
/** Reads the failures of the number, over all sessions, before a new PIN is sent. */
const FAILURES: Patch = {
  file: 'budgets.ts',
  from: '...(fresh ? failureAsks(payer) : []),',
  to: '',
};
/** Writes a challenge only when an earlier write of it is done. */
const TURN: Patch = {
  file: 'turns.ts',
  from: 'before ? after(before, longestMs).then(act) : act()',
  to: 'act()',
};
/** Gives nothing back that a cooldown has refused. */
const GIVE_BACK: Patch = {
  file: 'budgets.ts',
  from: 'if (!gauge.isCooldown) await',
  to: 'if (!gauge.isCooldown || refused) await',
};

interface Run {
  /** How many requests were inside at the same time. */
  overlapped: number;
  /** What must be 1, or must not be more than so many. */
  count: number;
}

type Race = (options: HostOptions) => Promise<Run>;

/** Lets a route go on only when all requests of the race stand before it. */
function gated(path: string, gate: Barrier): Pick<HostOptions, 'routes'> {
  return {
    routes: (app) => {
      app.post(path, async (_req, _res, next) => {
        await gate.pass();
        next();
      });
    },
  };
}

function describeRace(
  title: string,
  race: Race,
  { guards, allowed, overlapping = MANY }: { guards: Patch[]; allowed: number; overlapping?: number },
): void {
  describe(title, () => {
    it(`lets ${allowed} through, with ${overlapping} requests at once`, async () => {
      expect(await race({})).toEqual({ overlapped: overlapping, count: allowed });
    });

    it('lets more through with its guard taken out', async () => {
      const { SmsOtpStrategy } = await withoutGuard(...guards);
      const { overlapped, count } = await race({ Strategy: SmsOtpStrategy });
      expect(overlapped).toBe(overlapping);
      expect(count).toBeGreaterThan(allowed);
    });
  });
}

const all = <T>(act: (index: number) => PromiseLike<T>, many = MANY): Promise<T[]> =>
  Promise.all(Array.from({ length: many }, (_, index) => act(index)));

const isIn = ({ status }: { status: number }) => status === 200;

/** A client that judges only when `many` have asked: so that they all are past every look. */
function together(many: number): { client: FakeClient; gate: Barrier } {
  const client = fakeClient();
  const gate = barrier(many);
  const judge = client.onVerify;
  client.onVerify = async (...asked) => {
    await gate.pass();
    return judge(...asked);
  };
  return { client, gate };
}

describeRace(
  'the right PIN, many times in one session',
  async (options) => {
    const { client, gate } = together(10);
    const host = createHost(client, { ...options, strategy: { attempts: 10 } });
    const browser = host.browser(await serve(host));
    await browser.issue();
    const answers = await all(() => browser.check(), 10);
    return { overlapped: gate.most, count: answers.filter(isIn).length };
  },
  { guards: [CLAIM, ENDED], allowed: 1, overlapping: 10 },
);

describeRace(
  'the right PIN in two sessions that share one challenge',
  async (options) => {
    const { client, gate } = together(2);
    // Two clicks before a second factor leave two sessions with one challenge.
    let kept: Challenge | undefined;
    const shared: ChallengeStore = {
      get: async () => kept,
      set: async (_req, _name, challenge) => {
        kept = challenge;
      },
      remove: async () => {
        kept = undefined;
      },
    };
    const host = createHost(client, { ...options, strategy: { challenges: shared } });
    const address = await serve(host);
    await host.browser(address).issue();
    const answers = await all(() => host.browser(address).check(), 2);
    return { overlapped: gate.most, count: answers.filter(isIn).length };
  },
  { guards: [CLAIM], allowed: 1, overlapping: 2 },
);

describeRace(
  'wrong PINs, many at once in one session',
  async (options) => {
    const client = fakeClient();
    const gate = barrier(MANY);
    const host = createHost(client, { ...options, ...gated('/login/pin', gate) });
    const browser = host.browser(await serve(host));
    await browser.issue();
    await all((index) => browser.check(String(100_000 + index)));
    return { overlapped: gate.most, count: client.checks.length };
  },
  { guards: [ATTEMPTS, LOOK], allowed: 5 },
);

describeRace(
  'a first PIN, asked for many times in one session',
  async (options) => {
    const client = fakeClient();
    const gate = barrier(MANY);
    const host = createHost(client, { ...options, ...gated('/login', gate) });
    const browser = host.browser(await serve(host));
    await all(() => browser.issue());
    return { overlapped: gate.most, count: client.sends.length };
  },
  { guards: [BUDGETS], allowed: 1 },
);

describeRace(
  'a PIN for one number, asked for in many sessions',
  async (options) => {
    const client = fakeClient();
    const gate = barrier(MANY);
    const host = createHost(client, { ...options, ...gated('/login', gate) });
    const address = await serve(host);
    await all(() => host.browser(address).issue());
    return { overlapped: gate.most, count: client.sends.length };
  },
  { guards: [BUDGETS], allowed: 1 },
);

describeRace(
  'a resend, asked for many times in one session',
  async (options) => {
    const client = fakeClient();
    const gate = barrier(MANY);
    const budgets = {
      sendsPerNumber: [
        { points: 1, duration: 1 },
        { points: 5, duration: 3600 },
      ],
    };
    const host = createHost(client, { ...options, ...gated('/login/resend', gate), strategy: { budgets } });
    const browser = host.browser(await serve(host));
    await browser.issue();
    await new Promise((resolve) => setTimeout(resolve, 1_100));
    await all(() => browser.resend());
    return { overlapped: gate.most, count: client.resends.length };
  },
  { guards: [BUDGETS], allowed: 1 },
);

/** A store that answers late: what one request saves lands after what another one has removed. */
function lateStore(): ReturnType<typeof mapStore> & { late: boolean } {
  const store = mapStore();
  const { set } = store;
  return Object.assign(store, {
    late: false,
    async set(...args: Parameters<ChallengeStore['set']>) {
      if (this.late) await new Promise((resolve) => setTimeout(resolve, 600));
      await set(...args);
    },
  });
}

describeRace(
  'a used challenge that a late save has brought back',
  async (options) => {
    const store = lateStore();
    const { client, gate } = together(2);
    const judge = client.onVerify;
    // The wrong one is judged first and saved last.
    client.onVerify = async (pinId, pin) => {
      const judgement = await judge(pinId, pin);
      if (pin === PIN) await new Promise((resolve) => setTimeout(resolve, 350));
      return judgement;
    };
    const host = createHost(client, {
      ...options,
      before: [store.middleware],
      // What is waited for is written before the next; what comes later than that is not.
      strategy: { challenges: store, storeTimeoutMs: 250 },
    });
    const address = await serve(host);
    const browser = host.browser(address);
    await browser.issue();
    store.late = true;
    const [right] = await Promise.all([browser.check(), browser.check('000000')]);
    await new Promise((resolve) => setTimeout(resolve, 400));
    const [key = ''] = store.kept.keys();
    // Without the cookie of the login: for whoever is signed in the challenge is not theirs anyway.
    const cookie = `browser=${key.split(' ')[0]}`;
    const again = await host.browser(address).post('/login/pin', { pin: PIN }, { Cookie: cookie });
    return { overlapped: gate.most, count: [right, again].filter(isIn).length };
  },
  { guards: [CLAIM, LOOK], allowed: 1, overlapping: 2 },
);

describeRace(
  'attempts that a late save has set back',
  async (options) => {
    const store = lateStore();
    const { client, gate } = together(2);
    const host = createHost(client, {
      ...options,
      before: [store.middleware],
      strategy: { challenges: store },
    });
    const browser = host.browser(await serve(host));
    await browser.issue();
    const old = [...store.kept];
    for (let round = 0; round < 6; round += 1) {
      await Promise.all([browser.check('000000'), browser.check('111111')]);
      // The last writer wins, and it had read the challenge before anybody tried.
      for (const [key, challenge] of old) store.kept.set(key, challenge);
    }
    return { overlapped: gate.most, count: client.checks.length };
  },
  { guards: [ATTEMPTS, LOOK], allowed: 5, overlapping: 2 },
);

describeRace(
  'wrong PINs at once, before counters in memory are forgotten',
  async (options) => {
    const store = mapStore();
    const { set } = store;
    let delay = 0;
    // What is begun first lands last.
    store.set = async (...args) => {
      const mine = delay;
      delay = Math.max(0, delay - 100);
      await new Promise((resolve) => setTimeout(resolve, mine));
      await set(...args);
    };
    const client = fakeClient();
    let [now, most] = [0, 0];
    const counted: RequestHandler = (_req, res, next) => {
      now += 1;
      most = Math.max(most, now);
      res.once('close', () => {
        now -= 1;
      });
      next();
    };
    const start = () =>
      createHost(client, {
        ...options,
        before: [store.middleware, counted],
        strategy: { challenges: store },
      });
    const first = start();
    const browser = first.browser(await serve(first));
    await browser.issue();
    delay = 300;
    await all(async (index) => {
      await new Promise((resolve) => setTimeout(resolve, 30 * index));
      await browser.check(String(100_000 + index));
    }, 4);
    const [key = ''] = store.kept.keys();
    const restarted = start();
    const again = restarted.browser(await serve(restarted));
    for (let index = 0; index < 4; index += 1) {
      await again.post('/login/pin', { pin: '000000' }, { Cookie: `browser=${key.split(' ')[0]}` });
    }
    return { overlapped: most, count: client.checks.length };
  },
  { guards: [TURN], allowed: 5, overlapping: 4 },
);

describeRace(
  'wrong PINs of one number in many sessions',
  async (options) => {
    const client = fakeClient();
    const gate = barrier(3);
    const host = createHost(client, {
      ...options,
      ...gated('/login/pin', gate),
      strategy: { budgets: { sendsPerNumber: null, failuresPerNumber: [{ points: 9, duration: 900 }] } },
    });
    const address = await serve(host);
    const browsers: Browser[] = [];
    for (let session = 0; session < 3; session += 1) {
      const browser = host.browser(address);
      await browser.issue();
      browsers.push(browser);
    }
    for (let round = 0; round < 3; round += 1) {
      await Promise.all(browsers.map((browser) => browser.check('000000')));
    }
    // Nine were wrong, over three sessions: no session gets another PIN for this number.
    await all(() => host.browser(address).issue(), 3);
    return { overlapped: gate.most, count: client.sends.length };
  },
  { guards: [FAILURES], allowed: 3, overlapping: 3 },
);

describe('a resend that overlaps the login', () => {
  async function race(options: HostOptions): Promise<{ host: Host; browser: Browser; cookie: string }> {
    const client = fakeClient();
    const gate = createGate();
    client.onResend = async (pinId) => {
      await gate.pass();
      return { pinId, sent: true };
    };
    const budgets = { sendsPerNumber: [{ points: 5, duration: 3600 }] };
    const host = createHost(client, { ...options, strategy: { budgets } });
    const browser = host.browser(await serve(host));
    const issued = await browser.issue();
    const cookie = String(issued.get('Set-Cookie')?.[0]?.split(';')[0]);
    const arrived = gate.shut();
    const resending = browser.resend().then((answer) => answer);
    await arrived;
    expect((await browser.check()).status).toBe(200);
    gate.open();
    await resending;
    return { host, browser, cookie };
  }

  it('brings no login, no mark and no usable challenge back to the old session', async () => {
    const { host, cookie } = await race({});
    const address = await serve(host);
    const old = (path: string, init: RequestInit = {}) =>
      fetch(`${address}${path}`, { ...init, headers: { Cookie: cookie, 'Sec-Fetch-Site': 'same-origin' } });
    const me = (await (await old('/me')).json()) as {
      user: unknown;
      session: { smsOtp?: { marks?: unknown } };
    };
    expect(me.user).toBeNull();
    expect(me.session.smsOtp?.marks).toBeUndefined();
    const body = new URLSearchParams({ pin: PIN });
    const again = await old('/login/pin', { method: 'POST', body });
    expect(again.status).toBe(401);
    expect((await old('/login/resend', { method: 'POST', body })).status).toBe(401);
  });
});

it('the guards are there to be taken out', async () => {
  const nowhere = { file: 'check.ts', from: 'no such line', to: '' };
  await expect(withoutGuard(nowhere)).rejects.toThrow(/has 0 places/u);
  const { SmsOtpStrategy }: typeof Package = await withoutGuard(CLAIM);
  const host = createHost(fakeClient(), { Strategy: SmsOtpStrategy });
  expect((await host.browser().issue(PHONE)).status).toBe(202);
});

describe('a cooldown that some give back while others are refused, its store far away', () => {
  const late = () => new Promise((resolve) => setTimeout(resolve, Math.random() * 6));
  const slow =
    <A extends unknown[], T>(method: (...args: A) => Promise<T>) =>
    async (...args: A): Promise<T> => {
      await late();
      return method(...args).finally(late);
    };

  /** The most messages that one number got in its cooldown, over many numbers. */
  async function most(options: HostOptions): Promise<number> {
    const { limiter } = sharedCounters();
    const client = fakeClient();
    const host = createHost(client, {
      ...options,
      strategy: {
        limiter: (asked: Package.LimiterOptions) => {
          const { consume, reward, get, delete: forget } = limiter(asked);
          return { consume: slow(consume), reward: slow(reward), get: slow(get), delete: slow(forget) };
        },
        secret: SECRET,
        budgets: { uncompletedPerClient: null, countryCompletion: null },
        beforeSend: ({ req }) => Reflect.get(Object(req.body), 'captcha') === 'good',
      },
    });
    const address = await serve(host);
    const phones = Array.from({ length: 40 }, (_, index) => `+38591${6_000_000 + index}`);
    for (const phone of phones) {
      const answers = await all(async (index) => {
        await new Promise((resolve) => setTimeout(resolve, 2 * index));
        return host.browser(address).post('/login', { phone, captcha: index % 3 ? 'bad' : 'good' });
      });
      const codes = new Set(answers.map(({ body }) => body.outcome.code));
      expect(codes).toContain('too_many_requests');
    }
    return Math.max(...phones.map((phone) => client.sends.filter(({ to }) => to === phone).length));
  }

  it('lets one message through', async () => {
    expect(await most({})).toBe(1);
  });

  it('lets more through where whoever was refused gives back, too', async () => {
    const { SmsOtpStrategy } = await withoutGuard(GIVE_BACK);
    expect(await most({ Strategy: SmsOtpStrategy })).toBeGreaterThan(1);
  });
});
