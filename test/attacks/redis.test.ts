/** Counters and sessions in a real Redis that dies, freezes, wakes up and forgets. */

import { RedisStore } from 'connect-redis';
import type { LimiterOptions } from 'passport-sms-otp';
import { RateLimiterRedis } from 'rate-limiter-flexible';
import { createClient } from 'redis';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { barrier } from '../support/barrier.js';
import { expectNoUnhandledRejection } from '../support/calm.js';
import {
  createHost,
  type FakeClient,
  fakeClient,
  type Host,
  type LooseOptions,
  OTHER_PHONE,
  PIN,
  serve,
} from '../support/host.js';
import { hasRedis, type RedisServer, startRedis } from '../support/redis.js';
import { requireOrSkip } from '../support/services.js';

const STORE_TIMEOUT_MS = 400;
// On a busy machine an answer may be late; a request that hangs would be later than this.
const SOON_MS = STORE_TIMEOUT_MS + 2_000;

expectNoUnhandledRejection();

describe.skipIf(requireOrSkip('redis-server', hasRedis()))('with counters in Redis', () => {
  let server: RedisServer;
  let redis: ReturnType<typeof createClient>;
  let client: FakeClient;
  let number = 0;

  beforeAll(async () => {
    server = await startRedis();
  });

  afterAll(async () => {
    await server.stop();
  });

  beforeEach(async () => {
    client = fakeClient();
    redis = createClient({ url: server.url, socket: { reconnectStrategy: 50 } });
    // Without a listener, a lost connection would end the process.
    redis.on('error', () => undefined);
    await redis.connect();
    await redis.flushAll();
  });

  afterEach(async () => {
    server.thaw();
    redis.destroy();
    await server.start();
  });

  const counted: LooseOptions = {
    limiter: (options: LimiterOptions) =>
      new RateLimiterRedis({ storeClient: redis, useRedisPackage: true, ...options }),
    secret: 'the same in every process of this site',
    storeTimeoutMs: STORE_TIMEOUT_MS,
  };

  function site(strategy: LooseOptions = {}): Host {
    return createHost(client, { strategy: { ...counted, ...strategy } });
  }

  const nextNumber = () => `+38591${3_000_000 + number++}`;

  async function timed<T>(act: () => PromiseLike<T>): Promise<{ answer: T; ms: number }> {
    const started = performance.now();
    const answer = await act();
    return { answer, ms: performance.now() - started };
  }

  /** Waits until the client is connected and Redis answers it. */
  async function connected(): Promise<void> {
    await expect.poll(() => redis.isReady, { timeout: 5_000 }).toBe(true);
    await redis.ping();
  }

  it('logs in, counts across processes, and lets exactly one of them use a PIN', async () => {
    const processes = [site(), site(), site()];
    const [first] = processes;
    const store = first?.store;
    if (first === undefined || store === undefined) throw new Error('no site');
    const others = processes
      .slice(1)
      .map(() => createHost(client, { strategy: counted, session: { store } }));
    const addresses = await Promise.all([first, ...others].map((host) => serve(host)));
    const together = barrier(4);
    client.onVerify = async (pinId) => {
      await together.pass();
      return { verified: true, pinId, msisdn: '385' };
    };
    const visitor = first.browser(addresses[0]);
    await visitor.issue(nextNumber());
    const cookie = visitor.agent.jar.getCookies({
      path: '/',
      domain: '127.0.0.1',
      secure: false,
      script: false,
    });
    const answers = await Promise.all(
      Array.from({ length: 4 }, (_, index) =>
        fetch(`${addresses[index % 3]}/login/pin`, {
          method: 'POST',
          headers: { 'Content-Type': 'application/x-www-form-urlencoded', Cookie: cookie.toValueString() },
          body: `pin=${PIN}`,
        }),
      ),
    );
    expect(together.most).toBe(4);
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 401, 401, 401]);
  });

  it.each([
    ['down', () => server.stop()],
    ['frozen', async () => server.freeze()],
  ])(
    'sends nothing and logs nobody in while Redis is %s, says so in time, and recovers',
    async (_how, hurt) => {
      const host = site();
      const waiting = host.browser();
      await waiting.issue(nextNumber());
      const resending = host.browser();
      await resending.issue(nextNumber());
      await hurt();

      const refused = await Promise.all([
        timed(() => host.browser().issue(nextNumber())),
        timed(() => resending.resend()),
        timed(() => waiting.check(PIN)),
      ]);
      for (const { answer, ms } of refused) {
        expect(answer.status).toBe(503);
        expect(answer.body.error.code).toBe('ERR_SMS_OTP_STORE');
        expect(ms).toBeLessThan(SOON_MS);
      }
      expect(client.sends).toHaveLength(2);
      expect(client.resends).toHaveLength(0);
      expect(client.checks).toHaveLength(0);

      server.thaw();
      await server.start();
      await connected();
      // No restart, and nobody is lost: the PIN of before the outage still works.
      expect((await waiting.check(PIN)).status).toBe(200);
      expect((await host.browser().issue(nextNumber())).status).toBe(202);
    },
  );

  it('takes no tries from those who tried while Redis was frozen', async () => {
    const host = site({ attempts: 3 });
    const visitor = host.browser();
    await visitor.issue(nextNumber());
    server.freeze();
    for (let retry = 0; retry < 4; retry += 1) {
      expect((await visitor.check(PIN)).status).toBe(503);
    }
    server.thaw();
    await connected();
    expect((await visitor.check(PIN)).status).toBe(200);
  });

  it('that freezes in the middle of a check does not log in, and the next PIN does', async () => {
    const host = site();
    const visitor = host.browser();
    const phone = nextNumber();
    await visitor.issue(phone);
    const answer = client.onVerify;
    client.onVerify = async (...asked) => {
      server.freeze();
      return answer(...asked);
    };
    const { answer: refused, ms } = await timed(() => visitor.check(PIN));
    expect(refused.status).toBe(503);
    expect(ms).toBeLessThan(SOON_MS);
    expect((await visitor.get('/me')).body.user).toBeNull();

    client.onVerify = answer;
    server.thaw();
    await connected();
    // The claim may have been written after all, and then this PIN is used up: never twice, at the worst not at all.
    const again = await visitor.check(PIN);
    expect([200, 401]).toContain(again.status);
    await redis.flushAll();
    await visitor.issue(phone);
    expect((await visitor.check(PIN)).status).toBe(200);
  });

  it('that wakes up in the middle of a check finishes it', async () => {
    const host = site();
    const visitor = host.browser();
    await visitor.issue(nextNumber());
    const answer = client.onVerify;
    client.onVerify = async (...asked) => {
      server.freeze();
      setTimeout(() => server.thaw(), STORE_TIMEOUT_MS / 4);
      return answer(...asked);
    };
    expect((await visitor.check(PIN)).status).toBe(200);
  });

  it('that is slow but in time loses nobody', async () => {
    const slow = (options: LimiterOptions) => {
      const limiter = new RateLimiterRedis({ storeClient: redis, useRedisPackage: true, ...options });
      const consume = limiter.consume.bind(limiter);
      limiter.consume = async (...args) => {
        await new Promise((resolve) => setTimeout(resolve, 50));
        return consume(...args);
      };
      return limiter;
    };
    const host = site({ limiter: slow });
    const visitor = host.browser();
    expect((await visitor.issue(OTHER_PHONE)).status).toBe(202);
    expect((await visitor.check('000000')).body.outcome.attemptsRemaining).toBe(4);
    expect((await visitor.check(PIN)).status).toBe(200);
  });

  it('that forgot everything (a failover) keeps the attempts that the challenge knows of', async () => {
    const host = site();
    const visitor = host.browser();
    await visitor.issue(nextNumber());
    for (const left of [4, 3, 2]) {
      expect((await visitor.check('000000')).body.outcome.attemptsRemaining).toBe(left);
    }
    await redis.flushAll();
    expect((await visitor.check('000000')).body.outcome.attemptsRemaining).toBe(1);
    expect((await visitor.check('000000')).body.outcome.code).toBe('attempts_exhausted');
    expect(client.checks).toHaveLength(5);
  });

  it.each([
    ['for the rest of the window', {}],
    ['for a second', { inMemoryBlockDuration: 1 }],
  ])(
    'whose limiter refuses out of its own memory %s lets no more through than without',
    async (_how, more) => {
      const limiter = (options: LimiterOptions) =>
        new RateLimiterRedis({
          storeClient: redis,
          useRedisPackage: true,
          inMemoryBlockOnConsumed: options.points,
          ...more,
          ...options,
        });
      client.onVerify = async (pinId) => ({ verified: false, pinId, reason: 'wrong_pin' });
      const host = site({ limiter });
      const address = await serve(host);
      const visitor = host.browser(address);
      const phone = nextNumber();
      await visitor.issue(phone);
      await Promise.all(Array.from({ length: 40 }, (_, index) => visitor.check(String(100_000 + index))));
      expect(client.checks).toHaveLength(5);

      // What one process refuses must not become a free point for another one.
      const budgets = { sendsPerNumber: [{ points: 3, duration: 3600 }] };
      const two = { limiter, budgets, name: 'two' };
      const sites = [site(two), site(two), site(two)];
      const target = nextNumber();
      const before = client.sends.length;
      for (let round = 0; round < 12; round += 1) await sites[round % 3]?.browser().issue(target);
      expect(client.sends.length - before).toBe(3);
    },
  );
});

describe.skipIf(requireOrSkip('redis-server', hasRedis()))('with sessions in Redis, too', () => {
  let server: RedisServer;
  let redis: ReturnType<typeof createClient>;

  beforeAll(async () => {
    server = await startRedis();
    redis = createClient({ url: server.url, socket: { reconnectStrategy: 50 } });
    redis.on('error', () => undefined);
    await redis.connect();
  });

  afterAll(async () => {
    server.thaw();
    redis.destroy();
    await server.stop();
  });

  afterEach(() => {
    server.thaw();
  });

  it('a session store that freezes once the PIN was right does not keep the visitor waiting', async () => {
    const client = fakeClient();
    const host = createHost(client, {
      strategy: { storeTimeoutMs: STORE_TIMEOUT_MS },
      session: { store: new RedisStore({ client: redis }) },
    });
    const visitor = host.browser();
    await visitor.issue();
    const answer = client.onVerify;
    client.onVerify = async (...asked) => {
      server.freeze();
      return answer(...asked);
    };
    const started = performance.now();
    const { status } = await visitor.check(PIN).timeout(SOON_MS * 2);
    expect(status).toBe(503);
    expect(performance.now() - started).toBeLessThan(SOON_MS);

    server.thaw();
    client.onVerify = answer;
    expect((await visitor.get('/me')).body.user).toBeNull();
    await visitor.issue(OTHER_PHONE);
    expect((await visitor.check(PIN)).status).toBe(200);
    expect((await visitor.get('/me')).body.user).toMatchObject({ phoneNumber: OTHER_PHONE });
  });

  it('keeps PIN id and number in the challenge alone, and nothing of them after the login', async () => {
    const client = fakeClient();
    const host = createHost(client, { session: { store: new RedisStore({ client: redis }) } });
    await redis.flushAll();
    const visitor = host.browser();
    await visitor.issue(OTHER_PHONE);
    const sessions = async () =>
      Promise.all((await redis.keys('*')).map(async (key) => JSON.parse((await redis.get(key)) ?? '{}')));
    const [open, ...more] = await sessions();
    expect(more).toEqual([]);
    const { smsOtp, ...rest } = open;
    expect(JSON.stringify(smsOtp.challenges)).toContain('PIN-ID-1');
    expect(JSON.stringify({ ...rest, marks: smsOtp.marks })).not.toMatch(/PIN-ID-1|9876543/u);

    await visitor.check(PIN);
    expect(JSON.stringify(await sessions())).not.toMatch(/PIN-ID-1|9876543|042137/u);
  });
});
