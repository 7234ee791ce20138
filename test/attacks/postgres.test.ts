/** One journey with the counters in a real PostgreSQL. */

import type { LimiterOptions } from 'passport-sms-otp';
import pg from 'pg';
import { RateLimiterPostgres } from 'rate-limiter-flexible';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { barrier } from '../support/barrier.js';
import { expectNoUnhandledRejection } from '../support/calm.js';
import { createHost, fakeClient, type LooseOptions, PIN, serve } from '../support/host.js';
import { type PostgresServer, postgresFolder, startPostgres } from '../support/postgres.js';
import { requireOrSkip } from '../support/services.js';

const programs = postgresFolder();
const MANY = 20;

expectNoUnhandledRejection();

describe.skipIf(requireOrSkip('PostgreSQL', programs))('with counters in PostgreSQL', () => {
  let server: PostgresServer;
  let pool: pg.Pool;
  let number = 0;

  beforeAll(async () => {
    server = await startPostgres(programs ?? '');
    pool = new pg.Pool({ connectionString: server.url, connectionTimeoutMillis: 1_000 });
    // Without a listener, a lost connection would end the process.
    pool.on('error', () => undefined);
    await pool.query(
      'CREATE TABLE limits (key VARCHAR(255) PRIMARY KEY, points INTEGER NOT NULL DEFAULT 0, expire BIGINT)',
    );
  });

  afterAll(async () => {
    await pool.end();
    await server.remove();
  });

  const counted: LooseOptions = {
    // One table for all, made beforehand: by itself each limiter would make one of its own, with its prefix for a name.
    limiter: (options: LimiterOptions) =>
      new RateLimiterPostgres({ storeClient: pool, tableName: 'limits', tableCreated: true, ...options }),
    secret: 'the same in every process of this site',
    storeTimeoutMs: 1_500,
  };

  const nextNumber = () => `+38591${4_000_000 + number++}`;

  it('logs in once for one PIN, with twenty requests at once', async () => {
    const client = fakeClient();
    const gate = barrier(10);
    const judge = client.onVerify;
    client.onVerify = async (...asked) => {
      await gate.pass();
      return judge(...asked);
    };
    const host = createHost(client, { strategy: { ...counted, attempts: 10 } });
    const visitor = host.browser(await serve(host));
    expect((await visitor.issue(nextNumber())).status).toBe(202);
    const answers = await Promise.all(Array.from({ length: MANY }, () => visitor.check()));
    expect(gate.most).toBe(10);
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    expect(host.errors).toEqual([]);
  });

  it('sends one message to a number that many ask for at once, over all processes', async () => {
    const client = fakeClient();
    const hosts = [1, 2, 3].map(() => createHost(client, { strategy: counted }));
    const addresses = await Promise.all(hosts.map(serve));
    const phone = nextNumber();
    await Promise.all(
      Array.from({ length: MANY }, (_, index) =>
        hosts[index % 3]?.browser(addresses[index % 3]).issue(phone),
      ),
    );
    expect(client.sends).toHaveLength(1);
  });

  it('counts attempts, gives back what a completed login owes nobody, and forgets failures', async () => {
    const client = fakeClient();
    const host = createHost(client, { strategy: counted });
    const visitor = host.browser();
    await visitor.issue(nextNumber());
    for (const left of [4, 3, 2, 1]) {
      expect((await visitor.check('000000')).body.outcome.attemptsRemaining).toBe(left);
    }
    expect((await visitor.check(PIN)).status).toBe(200);
    const { rows } = await pool.query(
      "SELECT key, points FROM limits WHERE points < 0 OR key LIKE '%38591%'",
    );
    expect(rows).toEqual([]);
  });

  it('sends nothing and logs nobody in while it is gone, and goes on when it is back', async () => {
    const client = fakeClient();
    const host = createHost(client, { strategy: counted });
    const waiting = host.browser();
    await waiting.issue(nextNumber());
    await server.stop();
    const refused = await Promise.all([host.browser().issue(nextNumber()), waiting.check(PIN)]);
    for (const { status, body } of refused) {
      expect(status).toBe(503);
      expect(body.error.code).toBe('ERR_SMS_OTP_STORE');
    }
    expect(client.sends).toHaveLength(1);
    expect(client.checks).toEqual([]);
    await server.start();
    const isBack = () =>
      pool.query('SELECT 1').then(
        () => true,
        () => false,
      );
    await expect.poll(isBack, { timeout: 15_000 }).toBe(true);
    expect((await waiting.check(PIN)).status).toBe(200);
  });

  it('whose table is missing is a store that is down', async () => {
    const client = fakeClient();
    const nowhere: LooseOptions = {
      ...counted,
      limiter: (options: LimiterOptions) =>
        new RateLimiterPostgres({ storeClient: pool, tableName: 'nowhere', tableCreated: true, ...options }),
    };
    const host = createHost(client, { strategy: nowhere });
    expect((await host.browser().issue(nextNumber())).status).toBe(503);
    expect(client.sends).toEqual([]);
  });
});
