import { createRequire } from 'node:module';
import type { Limiter, LimiterOptions } from 'passport-sms-otp';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type FakeClient, fakeClient, PHONE, PIN } from '../support/host.js';
import { ALICE, BOB, createSite, type SiteOptions, type StrategyName } from '../support/two-factors.js';

const { RateLimiterMemory } = createRequire(import.meta.url)('rate-limiter-flexible');

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['Date'], now: new Date('2026-03-01T12:00:00Z') });
});
afterEach(() => {
  vi.useRealTimers();
});

const later = (seconds: number): void => {
  vi.setSystemTime(Date.now() + seconds * 1000);
};

/** A client whose PINs differ: the n-th PIN that was made is 10000n. */
function manyPins(): FakeClient {
  const client = fakeClient();
  client.onVerify = async (pinId, pin) =>
    `PIN-ID-${Number(pin) - 100_000}` === pinId
      ? { verified: true, pinId, msisdn: '' }
      : { verified: false, pinId, reason: 'wrong_pin' };
  return client;
}
const pinOf = (send: number) => String(100_000 + send);

/** All strategies count in one place, as on Redis: only the keys keep them apart. */
function sharedLimiters(): SiteOptions {
  const limiters = new Map<string, Limiter>();
  const limiter = (options: LimiterOptions) => {
    const found = limiters.get(options.keyPrefix) ?? (new RateLimiterMemory(options) as Limiter);
    limiters.set(options.keyPrefix, found);
    return found;
  };
  const shared = { limiter, secret: 'a secret of thirty-two characters' };
  const names: StrategyName[] = [
    'sms-otp',
    'second-factor',
    'third-factor',
    'enrolment',
    'step-up',
    'new-number',
  ];
  return { strategies: Object.fromEntries(names.map((name) => [name, shared])) };
}

describe('strategies side by side', () => {
  it('know nothing of each other\u2019s challenges, in one session', async () => {
    const client = manyPins();
    const site = createSite(client);
    const browser = site.browser();
    await browser.password();
    await browser.post('/sms-otp/issue', { phone: PHONE });
    const session = (await site.sessions()).get(browser.sessionId() ?? '');
    expect(Object.keys(session?.smsOtp?.challenges ?? {}).sort()).toEqual(['second-factor', 'sms-otp']);

    expect((await browser.post('/second-factor/pin', { pin: pinOf(2) })).body.outcome.code).toBe('pin_wrong');
    expect((await browser.post('/sms-otp/pin', { pin: pinOf(1) })).body.outcome.code).toBe('pin_wrong');
    for (const name of ['third-factor', 'step-up', 'new-number', 'enrolment']) {
      expect((await browser.post(`/${name}/pin`, { pin: pinOf(1) })).body.outcome.code).toBe('no_challenge');
      expect((await browser.get(`/challenge/${name}`)).body).toBeNull();
    }
    expect((await browser.get('/challenge/second-factor')).body).toMatchObject({
      to: '\u2022\u2022\u2022 67',
    });
    expect((await browser.get('/challenge/sms-otp')).body).toMatchObject({
      to: '+385 \u2022\u2022\u2022 67',
    });
    expect((await browser.post('/second-factor/pin', { pin: pinOf(1) })).body.user.id).toBe(ALICE.id);
  });

  it('end all open challenges with the login', async () => {
    const client = manyPins();
    const site = createSite(client);
    const browser = site.browser();
    await browser.password();
    await browser.post('/sms-otp/issue', { phone: BOB.phoneNumber });
    await browser.post('/second-factor/pin?keep', { pin: pinOf(1) });
    expect((await browser.post('/sms-otp/pin', { pin: pinOf(2) })).body.outcome.code).toBe('no_challenge');
    expect(await site.signedIn()).toEqual([ALICE.id]);
  });

  it.each([
    ['in memory', () => ({})],
    ['in one store', sharedLimiters],
  ])('leave each other\u2019s budgets of one number alone (%s)', async (_where, options) => {
    const client = manyPins();
    const site = createSite(client, options());
    // A stranger at the public login form: all sends of the hour, and wrong PINs until the number is shut.
    const stranger = site.browser();
    for (let send = 0; send < 5; send += 1) {
      await stranger.post('/sms-otp/issue', { phone: PHONE });
      for (let guess = 0; guess < 3; guess += 1) await stranger.post('/sms-otp/pin', { pin: '999999' });
      await stranger.post('/sms-otp/pin', { pin: '999998' });
      await stranger.post('/sms-otp/pin', { pin: '999997' });
      later(31);
    }
    const shut = await stranger.post('/sms-otp/issue', { phone: PHONE });
    expect(shut.body.outcome.code).toBe('too_many_requests');

    const browser = site.browser();
    const sends = client.sends.length;
    expect((await browser.password()).body.outcome.code).toBe('pin_sent');
    expect((await browser.post('/second-factor/pin', { pin: pinOf(sends + 1) })).body.user.id).toBe(ALICE.id);
    // And a step-up right after it: no cooldown from the other strategy.
    expect((await browser.post('/step-up/issue')).body.outcome.code).toBe('pin_sent');
    expect((await browser.post('/step-up/pin', { pin: pinOf(sends + 2) })).body.user.id).toBe(ALICE.id);
  });

  it('count a shared number for each of its users apart', async () => {
    const client = manyPins();
    const site = createSite(client, sharedLimiters());
    const bob = site.users.get(BOB.id);
    if (bob) bob.phoneNumber = PHONE;
    const [first, second] = [site.browser(), site.browser()];
    const codes: string[] = [];
    for (let send = 0; send < 6; send += 1) {
      const { body } = await first.password(ALICE);
      codes.push(body.outcome.budget ?? body.outcome.code);
      later(31);
    }
    expect(codes.at(-1)).toBe('sendsPerNumber');
    expect((await second.password(BOB)).body.outcome.code).toBe('pin_sent');
  });

  it('count a number that many accounts name for all of them together, too', async () => {
    const client = manyPins();
    const site = createSite(client, sharedLimiters());
    const accounts = Array.from({ length: 40 }, (_, index) => ({
      ...ALICE,
      id: `made-${index}`,
      username: `made-${index}`,
    }));
    for (const account of accounts) site.users.set(account.id, account);
    const answers = await Promise.all(accounts.map((account) => site.browser().password(account)));
    expect(client.sends).toHaveLength(15);
    const refusals = answers.filter(({ status }) => status === 429);
    expect(refusals.map(({ body }) => body.outcome.budget)).toEqual(new Array(25).fill('sendsPerNumber'));
  });
});

describe('a stranger who knows the password', () => {
  it('cannot use up the budgets of a browser that the host knows to be the user\u2019s', async () => {
    const client = manyPins();
    const site = createSite(client, {
      strategies: {
        'second-factor': {
          knownBrowser: (req: { headers: Record<string, unknown> }, recipient: { subject?: string }) =>
            req.headers['x-known'] === recipient.subject,
        },
      },
    });
    const stranger = site.browser();
    for (let send = 0; send < 5; send += 1) {
      await stranger.password();
      for (let guess = 0; guess < 4; guess += 1) await stranger.post('/second-factor/pin', { pin: '999999' });
      later(31);
    }
    expect((await stranger.password()).body.outcome.code).toBe('too_many_requests');
    const owner = site.browser();
    const issued = await owner.post('/password', ALICE, { 'X-Known': ALICE.id });
    expect(issued.body.outcome.code).toBe('pin_sent');
    const login = await owner.post('/second-factor/pin', { pin: pinOf(client.sends.length) });
    expect(login.body.user.id).toBe(ALICE.id);
  });

  it('gets five tries at a PIN, and after ten wrong ones no more PINs for a while', async () => {
    const client = manyPins();
    const site = createSite(client);
    const stranger = site.browser();
    const outcomes: string[] = [];
    for (let send = 0; send < 3; send += 1) {
      const issued = await stranger.password();
      outcomes.push(issued.body.outcome.budget ?? issued.body.outcome.code);
      for (let guess = 0; guess < 6; guess += 1) {
        const { body } = await stranger.post('/second-factor/pin', { pin: '999999' });
        outcomes.push(body.outcome.code);
      }
      later(31);
    }
    const round = ['pin_sent', ...Array(4).fill('pin_wrong'), 'attempts_exhausted', 'no_challenge'];
    expect(outcomes).toEqual([...round, ...round, 'failuresPerNumber', ...Array(6).fill('no_challenge')]);
    expect(client.checks).toHaveLength(10);
  });

  it('is not disturbed into a login by many right PINs at once: exactly one of them gets in', async () => {
    const client = fakeClient();
    let waiting = 0;
    let release = () => {};
    const all = new Promise<void>((resolve) => {
      release = resolve;
    });
    client.onVerify = async (pinId) => {
      waiting += 1;
      // All of them are at the service before the first answer: it says yes to each.
      if (waiting === 4) release();
      await all;
      return { verified: true, pinId, msisdn: '' };
    };
    const site = createSite(client);
    const browser = site.browser();
    await browser.password();
    const answers = await Promise.all(
      Array.from({ length: 4 }, () => browser.post('/second-factor/pin', { pin: PIN })),
    );
    expect(answers.map(({ body }) => body.user?.id ?? body.outcome.code).sort()).toEqual(
      [ALICE.id, 'no_challenge', 'no_challenge', 'no_challenge'].sort(),
    );
    expect(await site.signedIn()).toEqual([ALICE.id]);
    expect(site.proofs).toHaveLength(1);
  });
});
