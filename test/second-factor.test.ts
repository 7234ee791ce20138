import type { Express, NextFunction, Request, RequestHandler, Response } from 'express';
import { requireSmsOtp, SmsOtpRequiredError, SmsOtpStrategy } from 'passport-sms-otp';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { expectNoUnhandledRejection } from './support/calm.js';
import {
  type Browser,
  createHost,
  fakeClient,
  type Host,
  type HostOptions,
  PHONE,
  PIN,
} from './support/host.js';
import { FragileStore } from './support/stores.js';

expectNoUnhandledRejection();

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['Date'], now: new Date('2026-03-02T10:00:00Z') });
});

afterEach(() => {
  vi.useRealTimers();
});

const MARK = { at: new Date('2026-03-02T10:00:00Z').getTime(), channel: 'sms', user: 'u1' };

const USERS = [
  { id: 'u1', phoneNumber: PHONE },
  { id: 'eva', phoneNumber: '+385911112222' },
];

interface Routes {
  /** What the host does with the user whom verify returned. */
  callback?: (user: Express.User, req: Request, res: Response, next: NextFunction) => void;
}

/** A site with one check route for each way of logging in, and a guarded page. */
function site({ callback }: Routes = {}, options: HostOptions = {}): Host {
  const host = createHost(fakeClient(), {
    ...options,
    routes(app: Express, { passport }) {
      const check = (given: object): RequestHandler =>
        passport.authenticate('sms-otp', { phase: 'check', ...given } as object);
      const done: RequestHandler = (req, res) =>
        void res.json({ user: req.user ?? null, account: Reflect.get(req, 'account') ?? null });
      app.post('/default', check({}), done);
      app.post('/redirected', check({ successRedirect: '/account' }));
      app.post('/keeping', check({ keepSessionInfo: true }), done);
      app.post('/without-session', check({ session: false }), done);
      app.post('/assigned', check({ assignProperty: 'account' }), done);
      app.post('/authorized', passport.authorize('sms-otp', { phase: 'check' } as object), done);
      app.post('/custom', (req, res, next) =>
        passport.authenticate(
          'sms-otp',
          { phase: 'check' } as object,
          (error: unknown, user: Express.User) => (error ? next(error) : callback?.(user, req, res, next)),
        )(req, res, next),
      );
      app.post('/password', (req, res, next) =>
        req.logIn(
          { id: req.body.as } as Express.User,
          { session: true, keepSessionInfo: 'keep' in req.query },
          (error: unknown) => (error ? next(error) : res.end()),
        ),
      );
      app.get('/note', (req, res) => {
        Object.assign(req.session, { returnTo: '/orders?page=2', basket: ['a book'] });
        res.end();
      });
      app.get('/account', requireSmsOtp(), (_req, res) => void res.json({ account: true }));
      options.routes?.(app, { passport, events: [] });
    },
  });
  for (const user of USERS) host.users.set(user.id, user);
  return host;
}

async function prove(host: Host, path: string, browser = host.browser()): Promise<Browser> {
  await browser.issue();
  await browser.post(path, { pin: PIN });
  return browser;
}

const notes = async (host: Host, browser: Browser) => (await host.stored(browser))?.smsOtp;
const opensAccount = async (browser: Browser) => (await browser.get('/account')).status === 200;

describe('the mark of a proved PIN', () => {
  const marked = { marks: { 'sms-otp': MARK } };

  it.each(['/default', '/redirected'])(
    'is in the session of the login that Passport makes (%s)',
    async (path) => {
      const host = site();
      const browser = await prove(host, path);
      expect(await notes(host, browser)).toEqual(marked);
      expect(await opensAccount(browser)).toBe(true);
    },
  );

  it('is in the session when a custom callback logs the user in', async () => {
    const host = site({
      callback: (user, req, res, next) =>
        req.logIn(user, (error: unknown) => (error ? next(error) : res.end())),
    });
    const browser = await prove(host, '/custom');
    expect(await notes(host, browser)).toEqual(marked);
    expect(await opensAccount(browser)).toBe(true);
  });

  it('is in the session when a custom callback logs the user in later, by the other name and as a promise', async () => {
    const host = site({
      callback: (user, req, res, next) => {
        setTimeout(
          () => req.login(user, { session: true }, (error: unknown) => (error ? next(error) : res.end())),
          5,
        );
      },
    });
    const browser = await prove(host, '/custom');
    expect(await notes(host, browser)).toEqual(marked);
  });

  it('is saved before Passport goes on', async () => {
    const seen: unknown[] = [];
    const store = new FragileStore();
    const host = site(
      {
        callback: (user, req, res) =>
          req.logIn(user, () =>
            store.get(req.sessionID, (_error, session) => {
              seen.push(session && Reflect.get(session, 'smsOtp'));
              res.end();
            }),
          ),
      },
      { session: { store } },
    );
    await prove(host, '/custom');
    expect(seen).toEqual([marked]);
  });

  it('is there with keepSessionInfo, and no challenge is; what the host kept stays', async () => {
    const host = site();
    const browser = host.browser();
    await browser.get('/note');
    await prove(host, '/keeping', browser);
    const session = await host.stored(browser);
    expect(session?.smsOtp).toEqual(marked);
    expect(session).toMatchObject({ returnTo: '/orders?page=2', basket: ['a book'] });
    expect(JSON.stringify(session)).not.toMatch(/PIN-ID|challenges/u);
    expect((await browser.check()).body.outcome.code).toBe('no_challenge');
    expect(await opensAccount(browser)).toBe(true);
  });

  it('is there with keepSessionInfo without the challenges of other strategies, and without a hostile way back', async () => {
    const host = site(
      {},
      {
        routes: (app) =>
          app.get('/others', (req, res) => {
            const { challenges } = Reflect.get(req.session, 'smsOtp');
            Object.assign(challenges, { other: { id: 'OTHER' } });
            Object.assign(req.session, { returnTo: '//evil.example' });
            res.end();
          }),
      },
    );
    const browser = host.browser();
    await browser.issue();
    await browser.get('/others');
    expect(JSON.stringify(await host.stored(browser))).toContain('OTHER');
    await browser.post('/keeping', { pin: PIN });
    const session = await host.stored(browser);
    expect(session?.smsOtp).toEqual(marked);
    // What the host keeps is the host's: it is neither taken away nor made a way back of ours.
    expect(session?.returnTo).toBe('//evil.example');

    const fresh = host.browser();
    await fresh.issue('+385911112222');
    await fresh.get('/others');
    await fresh.post('/default', { pin: PIN });
    expect(await host.stored(fresh)).not.toHaveProperty('returnTo');
  });

  it('comes with the way back, also where the session is not kept', async () => {
    const host = site();
    const browser = host.browser();
    await browser.get('/note');
    await prove(host, '/default', browser);
    const session = await host.stored(browser);
    expect(session).toMatchObject({ returnTo: '/orders?page=2' });
    expect(session).not.toHaveProperty('basket');
  });

  it('is not there when the callback refuses', async () => {
    const host = site({ callback: (_user, _req, res) => void res.status(403).end() });
    const browser = await prove(host, '/custom');
    expect(await notes(host, browser)).toBeUndefined();
    expect((await browser.get('/me')).body.user).toBeNull();
    expect(await opensAccount(browser)).toBe(false);
    expect((await browser.check()).body.outcome.code).toBe('no_challenge');
  });

  it.each([
    ['with the session kept', { session: true, keepSessionInfo: true }],
    ['with a new session', { session: true }],
  ])('is not there when the callback logs somebody else in, %s', async (_how, options) => {
    const host = site({
      callback: (_user, req, res, next) =>
        req.logIn({ id: 'eva' } as Express.User, options, (error: unknown) =>
          error ? next(error) : res.end(),
        ),
    });
    const browser = await prove(host, '/custom');
    expect((await browser.get('/me')).body.user.id).toBe('eva');
    expect((await notes(host, browser)) ?? {}).not.toHaveProperty('marks');
    expect(await opensAccount(browser)).toBe(false);
  });

  it.each(['/without-session', '/assigned', '/authorized'])(
    'is not there without a login of its own (%s)',
    async (path) => {
      const host = site();
      const browser = host.browser();
      await browser.issue();
      const { status, body } = await browser.post(path, { pin: PIN });
      expect(status).toBe(200);
      expect(body.user ?? body.account).toEqual({ id: 'u1', phoneNumber: PHONE });
      expect(await notes(host, browser)).toBeUndefined();
      expect(await opensAccount(browser)).toBe(false);
      expect((await browser.post(path, { pin: PIN })).status).toBe(401);
    },
  );

  it.each(['/authorized', '/assigned'])(
    'of somebody who is signed in is not written by %s either',
    async (path) => {
      const host = site();
      const browser = host.browser();
      await browser.post('/password', { as: 'eva' });
      await prove(host, path, browser);
      expect((await browser.get('/me')).body.user.id).toBe('eva');
      expect((await notes(host, browser)) ?? {}).not.toHaveProperty('marks');
      expect(await opensAccount(browser)).toBe(false);
    },
  );

  it('is not written by the next login of the same user, by password alone', async () => {
    const host = site();
    const browser = await prove(host, '/default');
    await browser.post('/password', { as: 'u1' });
    expect((await browser.get('/me')).body.user.id).toBe('u1');
    expect(await notes(host, browser)).toBeUndefined();
    expect(await opensAccount(browser)).toBe(false);
  });

  it.each(['', '?keep'])('is of no use to the next user of the browser (%s)', async (query) => {
    const host = site();
    const browser = await prove(host, '/default');
    await browser.post(`/password${query}`, { as: 'eva' });
    expect((await browser.get('/me')).body.user.id).toBe('eva');
    expect(await opensAccount(browser)).toBe(false);
  });

  it('is what the serializer stores, whatever that is', async () => {
    const host = createHost(fakeClient(), {
      routes(app, { passport }) {
        Reflect.set(passport, '_serializers', []);
        passport.serializeUser((user, done) => done(null, { key: Reflect.get(user, 'id'), v: 2 } as never));
        Reflect.set(passport, '_deserializers', []);
        passport.deserializeUser((stored, done) =>
          done(null, { id: Reflect.get(Object(stored), 'key') } as never),
        );
        app.get('/account', requireSmsOtp(), (_req, res) => void res.end());
      },
    });
    const browser = host.browser();
    await browser.issue();
    await browser.check();
    const session = await host.stored(browser);
    expect(session?.smsOtp).toEqual({ marks: { 'sms-otp': { ...MARK, user: { key: 'u1', v: 2 } } } });
    expect(await opensAccount(browser)).toBe(true);
  });

  it('costs the login no write beyond those of Passport and express-session', async () => {
    const store = new FragileStore();
    const host = site(
      {
        callback: (user, req, res) => {
          req.logIn(user, () => {
            store.writes = 0;
            Object.assign(req.session, { welcome: true });
            req.session.save(() => res.end());
          });
        },
      },
      { session: { store } },
    );
    const browser = await prove(host, '/custom');
    // The host's own, and the one that express-session makes at the end of every request with a new session.
    expect(store.writes).toBe(2);
    expect(await host.stored(browser)).toMatchObject({ welcome: true, smsOtp: marked });

    const plain = site({}, { session: { store } });
    const other = plain.browser();
    await other.issue();
    store.writes = 0;
    await other.post('/default', { pin: PIN });
    expect(store.writes).toBe(2);
  });

  it('is not there when the PIN was checked without a session and somebody else is logged in behind it', async () => {
    const host = site(
      {},
      {
        routes: (app, { passport }) => {
          app.post(
            '/switched',
            passport.authenticate('sms-otp', { phase: 'check', session: false } as object),
            (req, res, next) =>
              req.logIn({ id: 'eva' } as Express.User, (error: unknown) => (error ? next(error) : res.end())),
          );
        },
      },
    );
    const browser = await prove(host, '/switched');
    expect((await browser.get('/me')).body.user.id).toBe('eva');
    expect((await notes(host, browser)) ?? {}).not.toHaveProperty('marks');
    expect(await opensAccount(browser)).toBe(false);
  });

  it.each([
    ['the same user', 'u1', { 'sms-otp': MARK, again: MARK }],
    ['nobody else', 'eva', { again: { ...MARK, user: 'eva' } }],
  ])('goes over to the next login of %s, under the name of each strategy', async (_who, id, marks) => {
    const client = fakeClient();
    const host = createHost(client, {
      routes(app, { passport }) {
        passport.use(
          new SmsOtpStrategy(
            { client, applicationId: 'APP', messageId: 'MSG', countries: ['HR'], name: 'again' },
            async () => ({ id }),
          ),
        );
        for (const phase of ['issue', 'check']) {
          app.post(
            `/again/${phase}`,
            passport.authenticate('again', { phase, keepSessionInfo: true } as object),
            (_req, res) => void res.end(),
          );
        }
      },
    });
    const browser = host.browser();
    await browser.issue();
    await browser.check();
    await browser.post('/again/issue', { phone: PHONE });
    await browser.post('/again/check', { pin: PIN });
    expect(await notes(host, browser)).toEqual({ marks });
  });

  it('is not there when the session cannot be written, and nobody is logged in', async () => {
    const store = new FragileStore();
    const host = site({}, { session: { store } });
    const browser = host.browser();
    await browser.issue();
    store.break('set', 'fails');
    expect((await browser.post('/default', { pin: PIN })).status).toBe(500);
    store.heal();
    expect((await browser.get('/me')).body.user).toBeNull();
    expect(await opensAccount(browser)).toBe(false);
  });

  it.each([
    ['before the session is made anew', 'destroy'],
    ['as the new session is saved', 'set'],
  ] as const)('is answered once by a store that was late %s', async (_when, step) => {
    const store = new FragileStore();
    const answers: unknown[] = [];
    const host = site(
      {
        callback: (user, req, res) =>
          req.logIn(user, (error: unknown) => {
            answers.push(error);
            // The session of a login that failed is gone from the request: nothing of it may get out.
            if (answers.length === 1) res.status(503).json({ session: Object.keys(req.session) });
          }),
      },
      { session: { store }, strategy: { storeTimeoutMs: 300 } },
    );
    const browser = host.browser();
    await browser.issue();
    store.break(step, 'is silent');
    const { status, body, headers } = await browser.post('/custom', { pin: PIN });
    expect({ status, body }).toEqual({ status: 503, body: { session: ['cookie'] } });
    expect(headers).not.toHaveProperty('set-cookie');
    store.catchUp();
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(answers).toHaveLength(1);
    expect(answers[0]).toMatchObject({
      code: 'ERR_SMS_OTP_STORE',
      message: 'The session store has not answered after 300 ms',
    });
    store.heal();
    expect(await opensAccount(browser)).toBe(false);
  });
});

describe('requireSmsOtp', () => {
  /** One guarded page, and what became of the requests for it. */
  async function guarded(options: Parameters<typeof requireSmsOtp>[0]) {
    const host = site(
      {},
      {
        routes: (app) => {
          app.all('/guarded', requireSmsOtp(options), (_req, res) => void res.json({ passed: true }));
        },
      },
    );
    const browser = await prove(host, '/default');
    return { host, browser };
  }

  it('passes a proof of now, and of as long ago as the host allows', async () => {
    const { browser } = await guarded({ maxAgeSeconds: 300 });
    for (const seconds of [0, 299, 1]) {
      vi.setSystemTime(Date.now() + seconds * 1000);
      expect((await browser.get('/guarded')).body).toEqual({ passed: true });
    }
    vi.setSystemTime(Date.now() + 1);
    expect((await browser.get('/guarded')).status).toBe(403);
  });

  it('refuses a proof that is younger than now', async () => {
    const { browser } = await guarded({});
    vi.setSystemTime(Date.now() - 1);
    expect((await browser.get('/guarded')).status).toBe(403);
  });

  it('refuses with an error that says what is needed', async () => {
    const { host, browser } = await guarded({ name: 'other', maxAgeSeconds: 60 });
    const { status, body } = await browser.get('/guarded');
    expect([status, body.error.code]).toEqual([403, 'sms_otp_required']);
    const [error] = host.errors;
    expect(error).toBeInstanceOf(SmsOtpRequiredError);
    expect(error).toBeInstanceOf(Error);
    expect(error).toMatchObject({ status: 403, code: 'sms_otp_required', name: 'other', maxAgeSeconds: 60 });
  });

  it('refuses a visitor without a session, without a user, and with a user of this request only', async () => {
    const host = createHost(fakeClient(), {
      session: false,
      routes: (app) => {
        app.get('/guarded', requireSmsOtp(), (_req, res) => void res.end());
        app.get(
          '/guarded/as',
          (req, _res, next) => {
            req.user = { id: 'u1' } as Express.User;
            next();
          },
          requireSmsOtp(),
          (_req, res) => void res.end(),
        );
      },
    });
    expect((await host.browser().get('/guarded')).status).toBe(403);
    expect((await host.browser().get('/guarded/as')).status).toBe(403);
  });

  it('sends a page to the place where a PIN is proved, and keeps the way back', async () => {
    const host = site(
      {},
      {
        routes: (app) => {
          app.all('/guarded/*rest', requireSmsOtp({ redirectTo: '/login' }), (_req, res) => void res.end());
        },
      },
    );
    const browser = host.browser();
    const page = await browser.get('/guarded/orders?page=2').set('Accept', 'text/html');
    expect([page.status, page.headers.location]).toEqual([303, '/login']);
    expect((await browser.get('/me')).body.session.returnTo).toBe('/guarded/orders?page=2');
    for (const other of [
      browser.get('/guarded/data').set('Accept', 'application/json'),
      browser.post('/guarded/form'),
      browser.agent.delete('/guarded/thing').set('Accept', 'text/html'),
    ]) {
      expect((await other).status).toBe(403);
    }
    expect((await browser.get('/me')).body.session.returnTo).toBe('/guarded/orders?page=2');
  });

  it('takes no way back that leads to another site', async () => {
    let url = '';
    const host = site(
      {},
      {
        before: [
          (req, _res, next) => {
            if (req.path === '/strange') req.originalUrl = url;
            next();
          },
        ],
        routes: (app) => {
          app.get('/strange', requireSmsOtp({ redirectTo: '/login' }), (_req, res) => void res.end());
        },
      },
    );
    for (url of [
      '//evil.example',
      '/\\evil.example',
      '/\t/evil.example',
      'https://evil.example',
      '/a\r\nb',
      '',
      '/\u007f',
    ]) {
      const browser = host.browser();
      const { status } = await browser.get('/strange').set('Accept', 'text/html');
      expect([url, status]).toEqual([url, 303]);
      expect((await browser.get('/me')).body.session).not.toHaveProperty('returnTo');
    }
  });

  it('says what is wrong with its options', () => {
    const wrong: [object, RegExp][] = [
      [{ maxAge: 5 }, /^requireSmsOtp: .*`?'?maxAge\b.*maxAgeSeconds/u],
      [{ name: '' }, /^requireSmsOtp: .*`name`/u],
      [{ maxAgeSeconds: 0 }, /^requireSmsOtp: .*`maxAgeSeconds`/u],
      [{ maxAgeSeconds: Number.NaN }, /^requireSmsOtp: .*`maxAgeSeconds`/u],
      [{ maxAgeSeconds: '60' }, /^requireSmsOtp: .*`maxAgeSeconds`/u],
      [{ channels: [] }, /^requireSmsOtp: .*`channels`/u],
      [{ channels: ['SMS'] }, /^requireSmsOtp: .*`channels`/u],
      [{ channels: 'sms' }, /^requireSmsOtp: .*`channels`/u],
      [{ redirectTo: '' }, /^requireSmsOtp: .*`redirectTo`/u],
    ];
    for (const [options, sentence] of wrong) {
      expect(() => requireSmsOtp(options)).toThrow(TypeError);
      expect(() => requireSmsOtp(options)).toThrow(sentence);
    }
    expect(() => requireSmsOtp(Object.freeze({ channels: Object.freeze(['email'] as const) }))).not.toThrow();
  });
});
