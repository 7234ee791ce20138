/**
 * Somebody who has Alice's password, an account of their own and a phone of their own, and does everything at once and in
 * any order, while Alice comes and goes: they never get in as Alice.
 */

import { requireSmsOtp } from 'passport-sms-otp';
import { expect, it } from 'vitest';
import { expectNoUnhandledRejection } from '../support/calm.js';
import { fakeClient } from '../support/host.js';
import { ALICE, BOB, createSite, type Visitor } from '../support/two-factors.js';

expectNoUnhandledRejection();

/** The same numbers for the same seed (mulberry32). */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

const NAMES = ['sms-otp', 'second-factor', 'step-up', 'new-number'];

it.each([1, 2, 3])(
  'a storm with the password, another account and another phone (seed %i)',
  async (seed) => {
    const random = randomOf(seed);
    const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
    const client = fakeClient();
    const sent = new Map<string, { to: string; pin: string }>();
    const pause = () => new Promise((resolve) => setTimeout(resolve, random() * 8));
    client.onSend = async ({ to }) => {
      await pause();
      const pinId = `PIN-ID-${sent.size}`;
      sent.set(pinId, { to, pin: String(100_000 + Math.floor(random() * 899_999)) });
      return { pinId, sent: true };
    };
    client.onVerify = async (pinId, pin) => {
      await pause();
      return sent.get(pinId)?.pin === pin
        ? { verified: true, pinId, msisdn: '' }
        : { verified: false, pinId, reason: 'wrong_pin' };
    };
    const off = {
      sendsPerNumber: null,
      uncompletedPerClient: null,
      sendsOverall: null,
      countryCompletion: null,
      failuresPerNumber: null,
      failedChecksPerClient: null,
    };
    const strategies = Object.fromEntries(NAMES.map((name) => [name, { budgets: off }]));
    const site = createSite(client, { strategies });
    const pinsTo = (phone: string | undefined) =>
      [...sent.values()].filter(({ to }) => to === phone).map(({ pin }) => pin);

    /** One request, in the browser of somebody who knows these accounts and reads this phone. */
    function act(browser: Visitor, accounts: readonly (typeof ALICE)[], phone: string) {
      const known = pinsTo(phone);
      const pin = known.length > 0 && random() < 0.8 ? pick(known.slice(random() < 0.7 ? -1 : -4)) : '000000';
      const name = random() < 0.4 ? 'second-factor' : pick(NAMES);
      return pick([
        () => browser.password(pick(accounts), pick(['/password', '/password/careless'])),
        () => browser.post(`/${name}/issue`, { phone }),
        () => browser.post(`/${name}/resend`),
        () => browser.post(`/${name}/pin`, { pin }),
        () => browser.post(`/${name}/pin`, { pin }),
        () => browser.post(`/${name}/pin?keep`, { pin }),
      ])();
    }

    const mallory = [site.browser(), site.browser()];
    const alice = site.browser();
    let logins = 0;
    for (let round = 0; round < 120; round += 1) {
      const browser = pick(mallory);
      const statuses = await Promise.all([
        ...Array.from({ length: 4 }, () => act(browser, [ALICE, BOB], BOB.phoneNumber)),
        act(alice, [ALICE], ALICE.phoneNumber),
      ]);
      logins += statuses.filter(({ status }) => status === 200).length;
      for (const { status } of statuses) expect([200, 202, 400, 401, 403, 429]).toContain(status);
      for (const theirs of mallory) {
        const { body } = await theirs.get('/me');
        expect(body.user?.id, `round ${round}`).not.toBe(ALICE.id);
      }
      expect(site.users.get(ALICE.id)?.phoneNumber).toBe(ALICE.phoneNumber);
    }
    // Not because nobody got in at all.
    expect(logins).toBeGreaterThan(0);
    expect(site.errors).toEqual([]);
  },
  60_000,
);

it.each([4, 5])(
  'a sign-out in the middle of everything else holds, for every cookie that was ever seen (seed %i)',
  async (seed) => {
    const random = randomOf(seed);
    const pause = (longestMs: number) => new Promise((resolve) => setTimeout(resolve, random() * longestMs));
    const client = fakeClient();
    client.onSend = async () => pause(6).then(() => ({ pinId: 'PIN-ID', sent: true }));
    client.onVerify = async (pinId) => pause(6).then(() => ({ verified: false, pinId, reason: 'wrong_pin' }));
    const budgets = { sendsPerNumber: null, uncompletedPerClient: null, failuresPerNumber: null };
    const site = createSite(client, {
      strategies: { 'step-up': { budgets }, 'new-number': { budgets } },
      routes: (app) => {
        // A page of the host that writes to the session, late.
        app.post('/note', async (req, res) => {
          await pause(10);
          if (req.session) Object.assign(req.session, { note: random() });
          res.end();
        });
        app.get('/secret', requireSmsOtp({ name: 'step-up' }), (_req, res) => void res.end());
      },
    });
    // A store over a network.
    for (const method of ['get', 'set', 'destroy'] as const) {
      const original = site.store[method].bind(site.store) as (...args: unknown[]) => void;
      Reflect.set(site.store, method, (...args: unknown[]) => void pause(4).then(() => original(...args)));
    }
    let overtaken = 0;
    for (let round = 0; round < 40; round += 1) {
      const browser = site.browser();
      await browser.password(ALICE, '/password/only');
      const Cookie = `connect.sid=${browser.cookies().get('connect.sid')}`;
      const seen = new Set([Cookie]);
      let isOut = false;
      const later = async (path: string, form: object = {}) => {
        await pause(25);
        const isBefore = !isOut;
        const { headers } = await site.browser().post(path, form, { Cookie });
        if (isBefore && isOut) overtaken += 1;
        for (const line of [headers['set-cookie'] ?? []].flat()) seen.add(String(line).split(';')[0] ?? '');
      };
      await Promise.all([
        later('/step-up/issue'),
        later('/step-up/resend'),
        later('/step-up/pin', { pin: '000000' }),
        later('/step-up/pin', { pin: '111111' }),
        later('/new-number/issue', { phone: BOB.phoneNumber }),
        later('/note'),
        site.browser().get('/secret').set('Cookie', Cookie),
        later('/logout').then(() => {
          isOut = true;
        }),
      ]);
      for (const cookie of seen) {
        const { body } = await site.browser().get('/me').set('Cookie', cookie);
        expect(body.user, `round ${round}`).toBeNull();
      }
    }
    expect(await site.signedIn()).toEqual([]);
    expect(overtaken).toBeGreaterThan(20);
  },
  60_000,
);
