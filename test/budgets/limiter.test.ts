import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import session from 'express-session';
import { RateLimiterEtcdNonAtomic, RateLimiterRedisNonAtomic } from 'rate-limiter-flexible';
import { describe, expect, it, onTestFinished } from 'vitest';
import { checked, pass, SECOND, site, stopTheClock, word, wrongPins } from '../support/asking.js';
import { barrier } from '../support/barrier.js';
import { expectNoUnhandledRejection } from '../support/calm.js';
import { createGate } from '../support/gate.js';
import {
  type Browser,
  createHost,
  type FakeClient,
  fakeClient,
  OTHER_PHONE,
  PHONE,
  PIN,
  serve,
} from '../support/host.js';
import { SECRET, sharedCounters } from '../support/limiters.js';
import { mapStore } from '../support/stores.js';

expectNoUnhandledRejection();
stopTheClock();

/** A resend that the service does not answer until the returned function is called, which gives its outcome. */
async function heldResend(client: FakeClient, browser: Browser): Promise<() => Promise<string>> {
  const gate = createGate();
  client.onResend = async (pinId) => {
    await gate.pass();
    return { pinId, sent: true };
  };
  const waiting = gate.shut();
  const resend = browser.resend().then((answer) => answer);
  await waiting;
  return async () => {
    gate.open();
    return word((await resend).body);
  };
}

describe('attempts', () => {
  it('survive a restart of a process that counts in memory: the challenge knows the least', async () => {
    const store = new session.MemoryStore();
    const client = fakeClient();
    let running: RequestListener = (_req, res) => res.end();
    const server = createServer((req, res) => running(req, res)).listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    onTestFinished(() => void server.close());
    const start = () => {
      const host = createHost(client, { session: { store } });
      running = host.app;
      return host;
    };
    const browser = start().browser(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    await browser.issue();
    expect(await wrongPins(browser, 2)).toEqual(['pin_wrong', 'pin_wrong']);
    start();
    expect((await browser.check('000000')).body.outcome).toMatchObject({ attemptsRemaining: 2 });
    start();
    expect((await browser.check('000000')).body.outcome).toMatchObject({ attemptsRemaining: 1 });
    start();
    expect(await wrongPins(browser, 1)).toEqual(['attempts_exhausted']);
    start();
    expect(word((await browser.check()).body)).toBe('no_challenge');
    expect(client.checks).toHaveLength(5);
  });

  it('survive it also where many were typed at once, of which the last to be written was the first to be counted', async () => {
    const store = new session.MemoryStore();
    const client = fakeClient();
    const browser = createHost(client, { session: { store } }).browser();
    await browser.issue();
    const waiting: (() => void)[] = [];
    client.onVerify = async (pinId) => {
      await new Promise<void>((resolve) => {
        waiting.push(resolve);
        // The first to be counted is the last to be answered.
        const answers = waiting.toReversed();
        if (answers.length === 4) setImmediate(() => answers.map((answer) => answer()));
      });
      return { verified: false, pinId, reason: 'wrong_pin' };
    };
    await Promise.all(Array.from({ length: 4 }, () => browser.check('000000').then((answer) => answer)));
    expect(waiting).toHaveLength(4);
    expect((await browser.get('/challenge')).body.attemptsRemaining).toBe(1);
  });

  it.each(['session', 'own'])(
    'survive it also where a resend waited for the service while they were typed (%s)',
    async (where) => {
      const own = mapStore();
      const client = fakeClient();
      const host = createHost(client, {
        ...(where === 'own' && { before: [own.middleware] }),
        strategy: {
          ...(where === 'own' && { challenges: own }),
          budgets: { sendsPerNumber: null },
        },
      });
      const browser = host.browser(await serve(host));
      await browser.issue();
      const answered = await heldResend(client, browser);
      expect(await wrongPins(browser, 3)).toEqual(['pin_wrong', 'pin_wrong', 'pin_wrong']);
      expect(await answered()).toBe('sent');
      expect((await browser.get('/challenge')).body.attemptsRemaining).toBe(2);
    },
  );

  it('that are over stay over where a resend waited for the service meanwhile', async () => {
    const client = fakeClient();
    const host = createHost(client, { strategy: { budgets: { sendsPerNumber: null } } });
    const browser = host.browser(await serve(host));
    await browser.issue();
    const answered = await heldResend(client, browser);
    await wrongPins(browser, 5);
    expect(await answered()).toBe('no_challenge');
    expect((await browser.get('/challenge')).body).toBeNull();
  });

  it('are as many as the host says', async () => {
    for (const attempts of [1, 10]) {
      const { ask, host, url } = await site({ attempts });
      const browser = host.browser(url);
      await ask(PHONE, { browser });
      expect((await browser.get('/challenge')).body.attemptsRemaining).toBe(attempts);
      const words = await wrongPins(browser, attempts);
      expect(words).toEqual([...new Array(attempts - 1).fill('pin_wrong'), 'attempts_exhausted']);
      expect(await checked(browser)).toBe('no_challenge');
    }
  });

  it('of an old challenge do not help with a new one, nor the other way round', async () => {
    const { ask, client, host, url } = await site();
    const browser = host.browser(url);
    await ask(PHONE, { browser });
    await wrongPins(browser, 4);
    await ask(OTHER_PHONE, { browser });
    expect((await browser.check('000000')).body.outcome).toMatchObject({ attemptsRemaining: 4 });
    expect(client.checks).toHaveLength(5);
  });
});

describe('a limiter of the host', () => {
  const shared = () => {
    const counters = sharedCounters();
    const strategy = { limiter: counters.limiter, secret: SECRET, storeTimeoutMs: 300 };
    return { counters, strategy };
  };

  it('is made once for each counter, with a prefix of its own', async () => {
    const { counters, strategy } = shared();
    await site(strategy);
    const made = counters.made.map(({ points, duration, purpose }) => `${purpose} ${points}/${duration}`);
    for (const expected of [
      'budget 1/30',
      'budget 5/3600',
      'budget 10/86400',
      'budget 3/86400',
      'budget 60/3600',
      'budget 20/3600',
      'budget 1000/3600',
      'budget 5000/86400',
      'budget 10/900',
      'budget 30/86400',
      'attempts 5/660',
      'claim 1/4260',
    ]) {
      expect(made).toContain(expected);
    }
    const prefixes = counters.made.map(({ keyPrefix }) => keyPrefix);
    expect(new Set(prefixes).size).toBe(prefixes.length);
    for (const options of counters.made) {
      expect(Object.keys(options).sort()).toEqual(['duration', 'keyPrefix', 'points', 'purpose']);
      expect(options.duration).toBeLessThanOrEqual(2_147_483);
    }
  });

  it.each([RateLimiterRedisNonAtomic, RateLimiterEtcdNonAtomic])(
    'is none of a class that does not count in one step (%o)',
    async (Limiter) => {
      const limiter = (options: { points: number; duration: number }) =>
        new Limiter({ ...options, storeClient: {} });
      await expect(site({ secret: SECRET, limiter })).rejects.toThrow(
        new TypeError(
          `SmsOtpStrategy: a ${Limiter.name} would let a PIN be used twice. Give an atomic \`limiter\`.`,
        ),
      );
    },
  );

  it('is one of no class, too', async () => {
    const limiter = () =>
      Object.assign(Object.create(null), {
        consume: async () => ({ consumedPoints: 1, remainingPoints: 4, msBeforeNext: 1000 }),
        get: async () => null,
      });
    const { ask } = await site({ secret: SECRET, limiter });
    expect(await ask()).toBe('sent');
  });

  it('is not shared by strategies of two names', async () => {
    const { counters, strategy } = shared();
    const first = await site(strategy);
    const second = await site({ ...strategy, name: 'sign-up' });
    expect([await first.ask(), await second.ask()]).toEqual(['sent', 'sent']);
    expect(new Set(counters.made.map(({ keyPrefix }) => keyPrefix)).size).toBe(counters.made.length);
  });

  it('sees no number, address, PIN, PIN id or secret in a key', async () => {
    const { counters, strategy } = shared();
    const { ask, client, host, url } = await site({ ...strategy, channels: ['sms', 'voice'] });
    client.onSend = async () => ({ pinId: 'HANDLE-OF-THE-SERVICE', sent: true });
    const browser = host.browser(url);
    await ask(PHONE, { browser, ip: '198.51.100.77' });
    await wrongPins(browser, 2);
    pass(31 * SECOND);
    await browser.resend({ channel: 'voice' });
    await checked(browser, '2001:db8:77::1');
    expect(counters.keys.size).toBeGreaterThan(8);
    const keys = [...counters.keys].join('\n');
    for (const secret of [
      PHONE,
      PHONE.slice(1),
      '911234567',
      '198.51.100.77',
      '2001:db8:77',
      PIN,
      '000000',
      'HANDLE-OF-THE-SERVICE',
      SECRET,
    ]) {
      expect(keys).not.toContain(secret);
    }
  });

  it('counts for all processes together: budgets, attempts and the single use', async () => {
    const { strategy } = shared();
    const store = new session.MemoryStore();
    const one = await site(strategy, { session: { store } });
    const two = await site(strategy, { session: { store } });
    expect([await one.ask(), await two.ask()]).toEqual(['sent', 'sendsPerNumber for 30 s']);

    const browser = one.host.browser(one.url);
    const { headers } = await browser.issue(OTHER_PHONE);
    // The same browser at the other process.
    const elsewhere = two.host.browser(two.url);
    elsewhere.agent.set('Cookie', String(headers['set-cookie']).split(';')[0] ?? '');
    const both = barrier(4);
    for (const { client } of [one, two]) {
      client.onVerify = async (pinId) => {
        await both.pass();
        return { verified: true, pinId, msisdn: '' };
      };
    }
    const answers = await Promise.all(
      [browser, elsewhere, browser, elsewhere].map(async (from) => word((await from.check()).body)),
    );
    expect(both.most).toBe(4);
    expect(answers.filter((came) => came === 'logged in')).toHaveLength(1);
    expect(answers.filter((came) => came === 'no_challenge')).toHaveLength(3);
  });

  it.each(['fails', 'is silent'] as const)(
    'that %s: nothing is sent and nobody is logged in',
    async (how) => {
      const { counters, strategy } = shared();
      const { ask, client, host, url } = await site(strategy);
      for (const method of ['consume', 'get'] as const) {
        counters.break('budget', method, how);
        expect([method, await ask()]).toEqual([method, 'error ERR_SMS_OTP_STORE']);
        expect(client.sends).toEqual([]);
        counters.heal();
      }
      expect(host.errors[0]).toMatchObject({ status: 503, message: expect.stringContaining('store') });

      const browser = host.browser(url);
      expect(await ask(PHONE, { browser })).toBe('sent');
      counters.break('attempts', 'consume', how);
      expect(await checked(browser)).toBe('error ERR_SMS_OTP_STORE');
      counters.heal();
      counters.break('budget', 'consume', how);
      expect(await checked(browser)).toBe('error ERR_SMS_OTP_STORE');
      counters.heal();
      expect(client.checks).toEqual([]);
      counters.break('claim', 'consume', how);
      expect(await checked(browser)).toBe('error ERR_SMS_OTP_STORE');
      counters.heal();
      expect([client.checks.length, host.proofs]).toEqual([1, []]);
      expect((await browser.get('/me')).body.user).toBeNull();
      expect(await checked(browser)).toMatch(/^(?:logged in|no_challenge)$/u);
    },
  );

  it.each(['fails', 'is silent'] as const)(
    'that %s once the PIN is claimed does not stop the login',
    async (how) => {
      const { counters, strategy } = shared();
      const { ask, host, url } = await site(strategy);
      const browser = host.browser(url);
      expect(await ask(PHONE, { browser })).toBe('sent');
      for (const method of ['delete', 'reward'] as const) counters.break('budget', method, how);
      counters.break('attempts', 'reward', how);
      expect(await checked(browser)).toBe('logged in');
    },
  );

  it('that refuses with a result is a budget, whatever class the result has', async () => {
    const { ask, client } = await site({
      secret: SECRET,
      limiter: ({ purpose }) => ({
        consume: () =>
          purpose === 'budget'
            ? Promise.reject({ consumedPoints: 2, remainingPoints: 0, msBeforeNext: 4200 })
            : Promise.resolve({ consumedPoints: 1, remainingPoints: 4, msBeforeNext: 1000 }),
        get: async () => null,
        reward: async () => ({ consumedPoints: 1, remainingPoints: 0, msBeforeNext: 4200 }),
        delete: async () => true,
      }),
    });
    expect(await ask()).toBe('sendsPerNumber for 5 s');
    expect(client.sends).toEqual([]);
  });

  it.each([
    ['undefined', undefined],
    ['a text', 'down'],
    ['an object that is no result', { message: 'down' }],
  ])('that rejects with %s is down, and no budget', async (_what, reason) => {
    const { ask, client } = await site({
      secret: SECRET,
      limiter: () => ({
        consume: () => Promise.reject(reason),
        get: async () => null,
        reward: () => Promise.reject(reason),
        delete: () => Promise.reject(reason),
      }),
    });
    expect(await ask()).toBe('error ERR_SMS_OTP_STORE');
    expect(client.sends).toEqual([]);
  });
});
