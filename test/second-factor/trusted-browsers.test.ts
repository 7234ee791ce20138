import type { RequestHandler } from 'express';
import {
  memoryTrustedBrowsers,
  requireSmsOtp,
  type TrustedBrowserEvent,
  type TrustedBrowserRecord,
  type TrustedBrowserStore,
  type TrustedBrowsersOptions,
  trustedBrowsers,
} from 'passport-sms-otp';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { barrier } from '../support/barrier.js';
import { heapMegabytes } from '../support/heap.js';
import { type FakeClient, fakeClient, PIN } from '../support/host.js';
import { ALICE, BOB, createSite, loggedIn, type Site, type Visitor } from '../support/two-factors.js';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['Date'], now: new Date('2026-03-01T12:00:00Z') });
});
afterEach(() => {
  vi.useRealTimers();
});

const later = (seconds: number): void => {
  vi.setSystemTime(Date.now() + seconds * 1000);
};
const DAY = 86_400;
const SECRET = 'a secret of thirty-two characters';

interface TrustingSite extends Site {
  client: FakeClient;
  records: TrustedBrowserStore;
  trustEvents: TrustedBrowserEvent[];
}

const idOf = (req: { user?: Express.User | undefined }): string => String(Reflect.get(req.user ?? {}, 'id'));

/**
 * `POST /login` the password, then straight in or the PIN; `POST /login/pin` with `remember`; `/browsers` to list and
 * revoke; `/pay` behind a step-up.
 */
function createTrustingSite(options: Partial<TrustedBrowsersOptions> = {}): TrustingSite {
  const client = fakeClient();
  const records = options.store ?? memoryTrustedBrowsers();
  const trustEvents: TrustedBrowserEvent[] = [];
  const browsers = trustedBrowsers({
    store: records,
    secret: SECRET,
    name: 'second-factor',
    onEvent: (event) => trustEvents.push(event),
    ...options,
  });
  const rememberIfAsked: RequestHandler = async (req, res) => {
    const remembered = req.body.remember ? await browsers.remember(req, res, idOf(req)) : null;
    res.json({ user: req.user, remembered });
  };
  const site = createSite(client, {
    strategies: { 'second-factor': { channels: ['sms', 'email'] } },
    routes: (app, { passport, users }) => {
      app.set('trust proxy', 'loopback');
      app.get('/browsers', async (req, res) => {
        res.json(await browsers.list(req, idOf(req)));
      });
      app.post('/browsers/revoke', async (req, res) => {
        res.json({ revoked: await browsers.revoke(idOf(req), req.body.id) });
      });
      app.post('/browsers/revoke-all', async (req, res) => {
        await browsers.revokeAll(idOf(req));
        res.json({});
      });
      app.post('/remember', rememberIfAsked);
      app.post('/pay', requireSmsOtp({ name: 'second-factor' }), (_req, res) => {
        res.json({ paid: true });
      });
      // Asked by somebody who is signed in: what a host must not take for a step-up.
      app.post('/is-trusted', async (req, res) => {
        res.json({ trusted: await browsers.isTrusted(req, res, idOf(req)) });
      });
      const orStraightIn: RequestHandler = async (req, res, next) => {
        if (!(await browsers.isTrusted(req, res, idOf(req)))) return next();
        req.logIn(loggedIn(users.get(idOf(req)) ?? ALICE), (error: unknown) => {
          if (error) return next(error);
          res.json({ user: req.user, straight: true });
        });
      };
      const issue: RequestHandler = (req, res, next) =>
        passport.authenticate(
          'second-factor',
          { phase: 'issue' },
          (error: unknown, _user: unknown, info: unknown) =>
            error ? next(error) : res.status(202).json({ outcome: info }),
        )(req, res, next);
      app.post('/login', passport.authenticate('local', { session: false }), orStraightIn, issue);
      app.post('/login/careless', passport.authenticate('local'), orStraightIn, issue);
      app.post('/login/pin', passport.authenticate('second-factor', { phase: 'check' }), rememberIfAsked);
    },
  });
  return Object.assign(site, { client, records, trustEvents });
}

/** Logs in by password and PIN, and asks to be remembered. */
async function enrol(browser: Visitor, who = ALICE): Promise<void> {
  await browser.password(who, '/login');
  const { body } = await browser.post('/login/pin', { pin: PIN, remember: 'on' });
  expect(body).toMatchObject({ user: { id: who.id }, remembered: true });
  await browser.post('/logout');
}

/** 'straight in' or the outcome's code. */
async function login(browser: Visitor, who = ALICE, headers: Record<string, string> = {}): Promise<string> {
  const { username, password } = who;
  const { body } = await browser.post('/login', { username, password }, headers);
  return body.straight ? 'straight in' : body.outcome.code;
}

/** The trust cookies of a browser, as [name, value]. */
const trustCookies = (browser: Visitor): [string, string][] =>
  [...browser.cookies()].filter(([name]) => name.includes('trusted-browser'));

/** A header that holds the trust cookies as they are now: a copy. */
const copyOf = (browser: Visitor): Record<string, string> => ({
  Cookie: trustCookies(browser)
    .map(([name, value]) => `${name}=${value}`)
    .join('; '),
});

describe('a trusted browser', () => {
  it('skips the PIN where it was proved and the user asked for it, and nowhere else', async () => {
    const site = createTrustingSite();
    const [browser, other] = [site.browser(), site.browser()];
    await enrol(browser);
    later(3600);
    expect(await login(browser)).toBe('straight in');
    expect((await browser.get('/me')).body).toMatchObject({ authenticated: true, user: { id: ALICE.id } });
    expect(site.client.sends).toHaveLength(1);
    expect(await login(other)).toBe('pin_sent');
    expect((await other.get('/me')).body.authenticated).toBe(false);
  });

  it('is not made where the user did not ask, and still takes the password', async () => {
    const site = createTrustingSite();
    const browser = site.browser();
    await browser.password(ALICE, '/login');
    await browser.post('/login/pin', { pin: PIN });
    expect(trustCookies(browser)).toEqual([]);
    await browser.post('/logout');
    later(31);
    expect(await login(browser)).toBe('pin_sent');
    await browser.post('/login/pin', { pin: PIN });
    const remembered = await browser.post('/remember', { remember: 'on' });
    expect(remembered.body.remembered).toBe(true);
    await browser.post('/logout');
    expect((await browser.password({ ...ALICE, password: 'wrong' }, '/login')).status).toBe(401);
    expect(await login(browser)).toBe('straight in');
  });

  it('is trusted for the strategy that proved it, and for no other of the same store and secret', async () => {
    const store = memoryTrustedBrowsers();
    const other = trustedBrowsers({ store, secret: SECRET, name: 'another-factor' });
    const site = createTrustingSite({ store });
    const browser = site.browser();
    await enrol(browser);
    const { Cookie: cookie = '' } = copyOf(browser);
    const req = { headers: { cookie }, protocol: 'http', session: {} };
    const res = { getHeader: () => undefined, setHeader: () => undefined };
    expect(await other.isTrusted(req, res, ALICE.id)).toBe(false);
    expect(await login(browser)).toBe('straight in');
  });

  it('leaves no mark: what takes a fresh PIN takes it also in a trusted browser', async () => {
    const site = createTrustingSite();
    const browser = site.browser();
    await enrol(browser);
    await login(browser);
    expect((await site.sessions()).get(browser.sessionId() ?? '')?.smsOtp).toBeUndefined();
    expect((await browser.post('/pay')).status).toBe(403);
    const sends = site.client.sends.length;
    expect((await browser.post('/step-up/issue')).body.outcome.code).toBe('pin_sent');
    expect(site.client.sends).toHaveLength(sends + 1);
  });

  it('is never trusted for somebody who is signed in, be it by a password without `session: false`', async () => {
    const site = createTrustingSite();
    const browser = site.browser();
    await enrol(browser);
    await login(browser);
    expect((await browser.post('/is-trusted')).body).toEqual({ trusted: false });
    expect(site.trustEvents.at(-1)).toMatchObject({ type: 'browser.refused', reason: 'signed_in' });
    await browser.post('/logout');
    later(31);
    expect((await browser.password(ALICE, '/login/careless')).body.outcome.code).toBe('pin_sent');
    expect(await site.signedIn()).toEqual([]);
    // Nor is the cookie lost by the question.
    expect(await login(browser)).toBe('straight in');
  });

  it('is trusted until the last second of its days, however often it was used', async () => {
    const site = createTrustingSite({ days: 7 });
    const browser = site.browser();
    await enrol(browser);
    for (let day = 1; day < 7; day += 1) {
      later(DAY);
      expect(await login(browser)).toBe('straight in');
      await browser.post('/logout');
    }
    later(DAY - 1);
    expect(await login(browser)).toBe('straight in');
    await browser.post('/logout');
    later(1);
    const copy = copyOf(browser);
    expect(await login(browser, ALICE, copy)).toBe('pin_sent');
    expect(site.trustEvents.at(-1)).toMatchObject({ type: 'browser.refused', reason: 'expired' });
    expect(await site.records.list(ALICE.id)).toEqual([]);
  });

  it('is trusted for 30 days where the host says nothing', async () => {
    const site = createTrustingSite();
    const [first, second] = [site.browser(), site.browser()];
    await enrol(first);
    later(31);
    await enrol(second);
    later(30 * DAY - 31 - 1);
    expect(await login(first)).toBe('straight in');
    later(31);
    expect(await login(first, ALICE, copyOf(first))).toBe('pin_sent');
    expect(await login(second)).toBe('straight in');
  });

  it('serves each of two users who share it, and neither for the other', async () => {
    const site = createTrustingSite();
    const browser = site.browser();
    await enrol(browser, ALICE);
    expect(await login(browser, BOB)).toBe('pin_sent');
    later(31);
    await enrol(browser, BOB);
    expect(trustCookies(browser)).toHaveLength(2);
    expect(await login(browser, ALICE)).toBe('straight in');
    await browser.post('/logout');
    expect(await login(browser, BOB)).toBe('straight in');
  });

  it('is asked for a PIN with the cookie of another user, also under the name of one\u2019s own', async () => {
    const site = createTrustingSite();
    const [alices, bobs] = [site.browser(), site.browser()];
    await enrol(alices, ALICE);
    await enrol(bobs, BOB);
    const [, stolen] = trustCookies(alices)[0] ?? [];
    const [own] = trustCookies(bobs)[0] ?? [];
    later(31);
    expect(await login(site.browser(), BOB, copyOf(alices))).toBe('pin_sent');
    later(31);
    const renamed = { Cookie: `${own}=${stolen}` };
    expect(await login(site.browser(), BOB, renamed)).toBe('pin_sent');
    expect(site.trustEvents.at(-1)).toMatchObject({ type: 'browser.refused', reason: 'forged' });
    // And it has not cost Alice her browser.
    expect(await login(alices)).toBe('straight in');
  });
});

describe('the cookie of a trusted browser', () => {
  it('is new after each use, and only its hash is on the server', async () => {
    const site = createTrustingSite();
    const browser = site.browser();
    await enrol(browser);
    const values = [trustCookies(browser)[0]?.[1]];
    for (let use = 0; use < 3; use += 1) {
      await login(browser);
      await browser.post('/logout');
      values.push(trustCookies(browser)[0]?.[1]);
    }
    expect(new Set(values).size).toBe(4);
    const [record] = await site.records.list(ALICE.id);
    const parts = String(values.at(-1)).split('.');
    expect(parts).toHaveLength(3);
    expect(record?.id).toBe(parts[0]);
    for (const part of parts.slice(1)) expect(JSON.stringify(record)).not.toContain(part);
  });

  it('is for this site only: HttpOnly, SameSite, and as long as the trust lasts', async () => {
    const site = createTrustingSite({ days: 2 });
    const browser = site.browser();
    await browser.password(ALICE, '/login');
    const { headers } = await browser.post('/login/pin', { pin: PIN, remember: 'on' });
    const cookie = [headers['set-cookie']].flat().find((one) => one?.includes('trusted-browser'));
    expect(cookie).toMatch(
      /^trusted-browser-[\w-]{11}=[\w-]{22}\.[\w-]{22}\.[\w-]{43}; Path=\/; Max-Age=172800; HttpOnly; SameSite=Lax$/u,
    );
    later(DAY / 2);
    await browser.post('/logout');
    const used = await browser.password(ALICE, '/login');
    expect(String(used.headers['set-cookie'])).toContain(`Max-Age=${1.5 * DAY};`);
    // express-session's own cookie goes along with it.
    expect(String(used.headers['set-cookie'])).toContain('connect.sid=');
  });

  it.each([
    ['behind a trusted proxy that ends TLS', {}, { 'X-Forwarded-Proto': 'https' }],
    ['where the host says so', { secure: true }, {}],
  ])(
    'is Secure and __Host- under https, and no other cookie is read there: %s',
    async (_what, options, headers) => {
      const site = createTrustingSite(options);
      const browser = site.browser();
      await browser.post('/login', ALICE, headers);
      const checked = await browser.post('/login/pin', { pin: PIN, remember: 'on' }, headers);
      const cookie = [checked.headers['set-cookie']].flat().find((one) => one?.includes('trusted-browser'));
      expect(cookie).toMatch(/^__Host-trusted-browser-[\w-]{11}=\S+; Path=\/; .*; Secure$/u);
      expect(cookie).not.toMatch(/domain/iu);
      const [pair = ''] = String(cookie).split(';');
      later(31);
      const fresh = () => site.browser();
      // The same without the prefix: something that a neighbour on plain http could have planted.
      const planted = { ...headers, Cookie: pair.replace('__Host-', '') };
      expect(await login(fresh(), ALICE, planted)).toBe('pin_sent');
      expect(await login(fresh(), ALICE, { ...headers, Cookie: pair })).toBe('straight in');
    },
  );

  it.each([
    ['nothing', () => ''],
    ['no cookie of ours', () => 'yes'],
    [
      'another value',
      ([id, value, tag]: string[]) => `${id}.${value?.replace(/^./u, (c) => (c === 'A' ? 'B' : 'A'))}.${tag}`,
    ],
    ['another id', ([, value, tag]: string[]) => `${'A'.repeat(22)}.${value}.${tag}`],
    ['another tag', ([id, value]: string[]) => `${id}.${value}.${'A'.repeat(43)}`],
    ['no tag', ([id, value]: string[]) => `${id}.${value}.`],
    ['more behind it', (parts: string[]) => `${parts.join('.')}.x`],
  ])('counts for nothing when made up, and costs the true one nothing: %s', async (_what, forge) => {
    const site = createTrustingSite();
    const browser = site.browser();
    await enrol(browser);
    later(31);
    const [name, value = ''] = trustCookies(browser)[0] ?? [];
    const get = vi.spyOn(site.records, 'get');
    const forged = { Cookie: `${name}=${forge(value.split('.'))}` };
    expect(await login(site.browser(), ALICE, forged)).toBe('pin_sent');
    expect(get).not.toHaveBeenCalled();
    expect(site.trustEvents.at(-1)).toMatchObject({ reason: 'forged' });
    expect(await login(browser)).toBe('straight in');
  });

  it('counts for nothing under another secret', async () => {
    const records = memoryTrustedBrowsers();
    const browser = createTrustingSite({ store: records }).browser();
    await enrol(browser);
    later(31);
    const [, value] = trustCookies(browser)[0] ?? [];
    const next = createTrustingSite({ store: records, secret: 'another secret, also thirty-two long' });
    const visitor = next.browser();
    await enrol(visitor);
    later(31);
    const [name] = trustCookies(visitor)[0] ?? [];
    expect(await login(next.browser(), ALICE, { Cookie: `${name}=${value}` })).toBe('pin_sent');
  });

  it('cannot be had by writing to the table of records: the tag is missing', async () => {
    const site = createTrustingSite();
    const browser = site.browser();
    await enrol(browser, BOB);
    const [record] = await site.records.list(BOB.id);
    if (record === undefined) throw new Error('nothing was remembered');
    // Bob makes his own record Alice's.
    await site.records.remove(BOB.id, record.id);
    await site.records.add({ ...record, subject: ALICE.id });
    const [, value] = trustCookies(browser)[0] ?? [];
    later(31);
    const alices = site.browser();
    await enrol(alices);
    const [name] = trustCookies(alices)[0] ?? [];
    later(31);
    expect(await login(site.browser(), ALICE, { Cookie: `${name}=${value}` })).toBe('pin_sent');
  });

  it('counts no longer when its record has become another user\u2019s', async () => {
    const site = createTrustingSite();
    const browser = site.browser();
    await enrol(browser);
    const [record] = await site.records.list(ALICE.id);
    if (record === undefined) throw new Error('nothing was remembered');
    await site.records.remove(ALICE.id, record.id);
    await site.records.add({ ...record, subject: BOB.id });
    later(31);
    expect(await login(browser)).toBe('pin_sent');
    expect(await site.records.list(BOB.id)).toEqual([{ ...record, subject: BOB.id }]);
  });
});

describe('a copy of the cookie', () => {
  it('from before the last use counts for 30 seconds more: two tabs', async () => {
    const site = createTrustingSite();
    const browser = site.browser();
    await enrol(browser);
    const before = copyOf(browser);
    expect(await login(browser)).toBe('straight in');
    later(30);
    const tab = site.browser();
    expect(await login(tab, ALICE, before)).toBe('straight in');
    // The tab got no cookie of its own: the one that the other answer brought is the one that counts.
    expect(trustCookies(tab)).toEqual([]);
    await browser.post('/logout');
    expect(await login(browser)).toBe('straight in');
  });

  it('lets both of two tabs in at once, and rotates once', async () => {
    const records = memoryTrustedBrowsers();
    let reading = 0;
    let release = () => {};
    const both = new Promise<void>((resolve) => {
      release = resolve;
    });
    let isRace = false;
    const store: TrustedBrowserStore = {
      ...records,
      async get(id) {
        const record = records.get(id);
        if (isRace && reading < 2) {
          reading += 1;
          if (reading === 2) release();
          // Both have read the same record before either rotates it.
          await both;
        }
        return record;
      },
    };
    const site = createTrustingSite({ store });
    const browser = site.browser();
    await enrol(browser);
    const copy = copyOf(browser);
    isRace = true;
    const tabs = [site.browser(), site.browser()];
    expect(await Promise.all(tabs.map((tab) => login(tab, ALICE, copy)))).toEqual([
      'straight in',
      'straight in',
    ]);
    expect(reading).toBe(2);
    expect(tabs.map((tab) => trustCookies(tab).length).sort()).toEqual([0, 1]);
  });

  it('is not exchanged by a store that answers with something else than true', async () => {
    const records = memoryTrustedBrowsers();
    // What a driver says of a statement that has found no row to change.
    const rotate = () => ({ changes: 0 }) as never;
    const site = createTrustingSite({ store: { ...records, rotate } });
    const browser = site.browser();
    await enrol(browser);
    later(31);
    expect(await login(site.browser(), ALICE, copyOf(browser))).toBe('pin_sent');
  });

  it('from before the last use ends the trust after 30 seconds, for the thief and for the owner', async () => {
    const site = createTrustingSite();
    const browser = site.browser();
    await enrol(browser);
    const stolen = copyOf(browser);
    await login(browser);
    await browser.post('/logout');
    later(31);
    expect(await login(site.browser(), ALICE, stolen)).toBe('pin_sent');
    expect(site.trustEvents.at(-1)).toEqual({
      type: 'browser.refused',
      reason: 'copied',
      subject: ALICE.id,
      at: Date.now(),
    });
    expect(await site.records.list(ALICE.id)).toEqual([]);
    expect(await login(browser)).not.toBe('straight in');
  });

  it('that a thief used first ends the trust when the owner comes back with the old one', async () => {
    const site = createTrustingSite();
    const browser = site.browser();
    await enrol(browser);
    const thief = site.browser();
    expect(await login(thief, ALICE, copyOf(browser))).toBe('straight in');
    const thiefs = copyOf(thief);
    later(60);
    expect(await login(browser)).toBe('pin_sent');
    later(31);
    expect(await login(site.browser(), ALICE, thiefs)).toBe('pin_sent');
  });

  it('from before the last two uses ends the trust at once', async () => {
    const site = createTrustingSite();
    const browser = site.browser();
    await enrol(browser);
    later(31);
    const old = copyOf(browser);
    await login(browser);
    await browser.post('/logout');
    await login(browser);
    expect(await login(site.browser(), ALICE, old)).toBe('pin_sent');
    expect(await site.records.list(ALICE.id)).toEqual([]);
  });

  it('costs only the browser that it was taken from', async () => {
    const site = createTrustingSite();
    const [browser, other] = [site.browser(), site.browser()];
    await enrol(browser);
    later(31);
    await enrol(other);
    const stolen = copyOf(browser);
    await login(browser);
    later(31);
    expect(await login(site.browser(), ALICE, stolen)).toBe('pin_sent');
    expect(await login(other)).toBe('straight in');
  });
});

describe('revoking', () => {
  it('ends the trust in one browser, of one\u2019s own only', async () => {
    const site = createTrustingSite();
    const [browser, other, bobs] = [site.browser(), site.browser(), site.browser()];
    await enrol(browser);
    later(31);
    await enrol(other);
    await enrol(bobs, BOB);
    await login(other);
    const list = (await other.get('/browsers')).body;
    expect(list).toHaveLength(2);
    const target = list.find(({ isThisOne }: { isThisOne: boolean }) => !isThisOne);
    await login(bobs, BOB);
    expect((await bobs.post('/browsers/revoke', { id: target.id })).body).toEqual({ revoked: false });
    for (const id of ['', 'unknown', undefined]) {
      expect((await other.post('/browsers/revoke', { id })).body).toEqual({ revoked: false });
    }
    const manyIds = await other.post('/browsers/revoke?', { 'id[]': target.id });
    expect(manyIds.body).toEqual({ revoked: false });
    expect((await other.post('/browsers/revoke', { id: target.id })).body).toEqual({ revoked: true });
    later(31);
    expect(await login(browser)).toBe('pin_sent');
    expect(site.trustEvents.at(-1)).toMatchObject({ reason: 'unknown' });
    await other.post('/logout');
    expect(await login(other)).toBe('straight in');
  });

  it('ends the trust in all browsers of a user at once, and of no other user', async () => {
    const site = createTrustingSite();
    const [browser, other, bobs] = [site.browser(), site.browser(), site.browser()];
    await enrol(browser);
    later(31);
    await enrol(other);
    await enrol(bobs, BOB);
    await login(browser);
    await browser.post('/browsers/revoke-all');
    later(31);
    expect(await login(other)).toBe('pin_sent');
    await browser.post('/logout');
    later(31);
    expect(await login(browser)).not.toBe('straight in');
    expect(await login(bobs, BOB)).toBe('straight in');
  });

  it('lists what the user may see, the last used first, without what is expired', async () => {
    const site = createTrustingSite({ days: 3 });
    const [browser, other] = [site.browser(), site.browser()];
    await browser.password(ALICE, '/login');
    await browser.post(
      '/login/pin',
      { pin: PIN, remember: 'on' },
      { 'User-Agent': `Firefox ${'x'.repeat(300)}` },
    );
    later(DAY);
    await other.password(ALICE, '/login');
    await other.post('/login/pin', { pin: PIN, remember: 'on' }, { 'User-Agent': 'Chrome <b>' });
    const created = Date.now();
    expect((await other.get('/browsers')).body).toMatchObject([
      {
        id: expect.any(String),
        label: 'Chrome <b>',
        createdAt: new Date(created).toISOString(),
        usedAt: new Date(created).toISOString(),
        expiresAt: new Date(created + 3 * DAY * 1000).toISOString(),
        isThisOne: true,
      },
      { label: `Firefox ${'x'.repeat(192)}`, isThisOne: false },
    ]);
    later(2 * DAY);
    expect((await other.get('/browsers')).body).toHaveLength(1);
    for (const listed of (await other.get('/browsers')).body) {
      expect(Object.keys(listed).sort()).toEqual(
        ['createdAt', 'expiresAt', 'id', 'isThisOne', 'label', 'usedAt'].sort(),
      );
    }
  });
});

describe('remembering', () => {
  it('takes the place of what this browser had before', async () => {
    const site = createTrustingSite();
    const browser = site.browser();
    await enrol(browser);
    later(31);
    await login(browser);
    await browser.post('/step-up/issue');
    await browser.post('/step-up/pin', { pin: PIN });
    await browser.post('/logout');
    const [before] = await site.records.list(ALICE.id);
    const clean = site.browser();
    await clean.post('/login', ALICE);
    // The PIN is asked for where the cookie is missing, and the browser brings it along at the check.
    await clean.post('/login/pin', { pin: PIN });
    const again = await clean.post(
      '/remember',
      { remember: 'on' },
      {
        Cookie: `${copyOf(browser).Cookie}; connect.sid=${clean.cookies().get('connect.sid')}`,
      },
    );
    expect(again.body.remembered).toBe(true);
    const after = await site.records.list(ALICE.id);
    expect(after).toHaveLength(1);
    expect(after[0]?.id).not.toBe(before?.id);
  });

  it('makes room beyond twenty of one user: the one that was used longest ago is trusted no longer', async () => {
    const site = createTrustingSite();
    const [first, second, bob, last] = [site.browser(), site.browser(), site.browser(), site.browser()];
    await enrol(first);
    await enrol(bob, BOB);
    later(60);
    await enrol(second);
    later(60);
    await last.password(ALICE, '/login');
    await last.post('/login/pin', { pin: PIN });
    for (let index = 0; index < 19; index += 1) {
      // As a script would that sends no cookie of ours along.
      const session = `connect.sid=${last.cookies().get('connect.sid')}`;
      const { body } = await site.browser().post('/remember', { remember: 'on' }, { Cookie: session });
      expect(body.remembered).toBe(true);
    }
    expect(await site.records.list(ALICE.id)).toHaveLength(20);
    later(60);
    expect(await login(first)).toBe('pin_sent');
    expect(await login(second)).toBe('straight in');
    expect(await login(bob, BOB)).toBe('straight in');
  });

  it('makes room beyond twenty of one user, also when many are added at once', async () => {
    const records = memoryTrustedBrowsers();
    const gate = barrier(40);
    const store: TrustedBrowserStore = {
      ...records,
      async list(subject) {
        await gate.pass();
        return records.list(subject);
      },
    };
    const site = createTrustingSite({ store });
    const browser = site.browser();
    await browser.password(ALICE, '/login');
    await browser.post('/login/pin', { pin: PIN });
    const session = `connect.sid=${browser.cookies().get('connect.sid')}`;
    const remember = () => site.browser().post('/remember', { remember: 'on' }, { Cookie: session });
    const answers = await Promise.all(Array.from({ length: 40 }, remember));
    expect(answers.map(({ body }) => body.remembered)).toEqual(Array(40).fill(true));
    expect(gate.most).toBe(40);
    const left = (await records.list(ALICE.id)).length;
    expect(left).toBeGreaterThan(0);
    expect(left).toBeLessThanOrEqual(20);
  });

  it('keeps no more of a long User-Agent header in memory than it shows', async () => {
    const kept: TrustedBrowserRecord[] = [];
    const store = {
      ...memoryTrustedBrowsers(),
      add: (record: TrustedBrowserRecord) => void kept.push(record),
    };
    const site = createTrustingSite({ store });
    const browser = site.browser();
    await browser.password(ALICE, '/login');
    await browser.post('/login/pin', { pin: PIN });
    const Cookie = `connect.sid=${browser.cookies().get('connect.sid')}`;
    const before = heapMegabytes();
    for (let index = 0; index < 500; index += 1) {
      const headers = { Cookie, 'User-Agent': `Browser ${index} ${'x'.repeat(14_000)}` };
      await site.browser().post('/remember', { remember: 'on' }, headers);
    }
    expect(kept.at(-1)?.label).toMatch(/^Browser 499 x{80,}$/u);
    // The headers were seven.
    expect(heapMegabytes() - before).toBeLessThan(4);
  });

  it('is an error without a PIN: after a trusted browser\u2019s login, which would prolong itself for ever', async () => {
    const site = createTrustingSite();
    const browser = site.browser();
    await enrol(browser);
    await login(browser);
    const failed = await browser.post('/remember', { remember: 'on' });
    expect(failed.status).toBe(500);
    expect(failed.body.error).toEqual({
      code: 'ERR_SMS_OTP_CONFIGURATION',
      message: expect.stringMatching(/`remember` after the login by PIN.*`name`/u),
    });
    expect(await site.records.list(ALICE.id)).toHaveLength(1);
  });

  it('is an error without a PIN: after a password, under another name, and with no user', async () => {
    const site = createTrustingSite();
    const browser = site.browser();
    expect((await browser.post('/remember', { remember: 'on' })).status).toBe(500);
    await browser.password(ALICE, '/password/only');
    expect((await browser.post('/remember', { remember: 'on' })).status).toBe(500);
    await browser.post('/step-up/issue');
    await browser.post('/step-up/pin', { pin: PIN });
    expect((await browser.post('/remember', { remember: 'on' })).status).toBe(500);
    expect(trustCookies(browser)).toEqual([]);
    expect(await site.records.list(ALICE.id)).toEqual([]);
  });

  it('is refused after a proof by e-mail, and more than ten minutes after the PIN', async () => {
    const site = createTrustingSite();
    const browser = site.browser();
    await browser.post('/login', { ...ALICE, channel: 'email' });
    const mailed = await browser.post('/login/pin', { pin: PIN, remember: 'on' });
    expect(mailed.body).toMatchObject({ user: { id: ALICE.id }, remembered: false });
    await browser.post('/logout');
    later(31);
    await browser.password(ALICE, '/login');
    await browser.post('/login/pin', { pin: PIN });
    later(601);
    expect((await browser.post('/remember', { remember: 'on' })).body.remembered).toBe(false);
    expect(trustCookies(browser)).toEqual([]);
    later(-1);
    expect((await browser.post('/remember', { remember: 'on' })).body.remembered).toBe(true);
  });

  it('is refused where the mark is another user\u2019s', async () => {
    const site = createTrustingSite();
    const browser = site.browser();
    await browser.password(BOB, '/login');
    await browser.post('/login/pin', { pin: PIN });
    await browser.password(ALICE, '/password/only?keep');
    expect((await browser.post('/remember', { remember: 'on' })).status).toBe(500);
    expect(trustCookies(browser)).toEqual([]);
  });
});

describe('a store that is down', () => {
  it.each(['rejects', 'throws', 'is silent'])('lets nobody in and sends nothing when it %s', async (how) => {
    const records = memoryTrustedBrowsers();
    let isDown = false;
    const store: TrustedBrowserStore = {
      ...records,
      get(id) {
        if (!isDown) return records.get(id);
        if (how === 'throws') throw new Error('database is locked');
        return how === 'rejects' ? Promise.reject(new Error('connection lost')) : new Promise(() => {});
      },
    };
    const site = createTrustingSite({ store, storeTimeoutMs: 50 });
    const browser = site.browser();
    await enrol(browser);
    isDown = true;
    later(31);
    const failed = await browser.password(ALICE, '/login');
    expect([failed.status, failed.body.error.code]).toEqual([503, 'ERR_SMS_OTP_STORE']);
    expect(await site.signedIn()).toEqual([]);
    expect(site.client.sends).toHaveLength(1);
    isDown = false;
    expect(await login(browser)).toBe('straight in');
  });
});

describe('the events of trusted browsers', () => {
  it('tell the audit log who was remembered and who came in that way, and hold no secret', async () => {
    const site = createTrustingSite();
    const browser = site.browser();
    await enrol(browser);
    await login(browser);
    const [record] = (await site.records.list(ALICE.id)) as [TrustedBrowserRecord];
    const common = { at: Date.now(), subject: ALICE.id, id: record.id, label: record.label };
    expect(site.trustEvents).toEqual([
      { type: 'browser.remembered', ...common },
      { type: 'browser.trusted', ...common },
    ]);
  });

  it('do not decide over a login when their listener throws', async () => {
    const site = createTrustingSite({
      onEvent: () => {
        throw new Error('the log is full');
      },
    });
    const browser = site.browser();
    await enrol(browser);
    expect(await login(browser)).toBe('straight in');
  });
});

describe('the options of trustedBrowsers', () => {
  const good = () => ({ store: memoryTrustedBrowsers(), secret: SECRET });

  it.each([
    ['no store', { store: undefined }, /`store` needs the method add\. Give memoryTrustedBrowsers\(\)/u],
    ['half a store', { store: { add() {}, get() {} } }, /`store` needs the method rotate/u],
    ['no secret', { secret: undefined }, /`secret` must be a text of 32 characters or more/u],
    ['a short secret', { secret: 'x'.repeat(31) }, /`secret` must be/u],
    ['too many days', { days: 91 }, /`days` must be a whole number from 1 to 90/u],
    ['no day', { days: 0 }, /`days`/u],
    ['half a day', { days: 1.5 }, /`days`/u],
    ['a name that is none', { name: '' }, /`name`/u],
    ['a channel that is none', { channels: ['pigeon'] }, /`channels`/u],
    ['a flag that is none', { secure: 'yes' }, /`secure` must be true or false/u],
    ['a time that is none', { storeTimeoutMs: -1 }, /`storeTimeoutMs`/u],
    ['a listener that is none', { onEvent: true }, /`onEvent` must be a function/u],
    ['a misspelt option', { day: 7 }, /there is no option `day`\. Known: store, secret, days/u],
  ])('stop the start: %s', (_what, wrong, message) => {
    const options = { ...good(), ...wrong } as unknown as TrustedBrowsersOptions;
    expect(() => trustedBrowsers(options)).toThrow(TypeError);
    expect(() => trustedBrowsers(options)).toThrow(message);
  });

  it.each(['', 7, undefined])('do not help a host that gives no user id: %j', async (subject) => {
    const browsers = trustedBrowsers(good());
    const req = { headers: {} };
    const res = { getHeader: () => undefined, setHeader: () => undefined };
    const id = subject as unknown as string;
    for (const call of [
      browsers.isTrusted(req, res, id),
      browsers.remember(req, res, id),
      browsers.list(req, id),
      browsers.revoke(id, 'x'),
      browsers.revokeAll(id),
    ]) {
      await expect(call).rejects.toThrow(/user id must be a string that is not empty/u);
    }
  });
});
