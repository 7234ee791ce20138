import cookieSession from 'cookie-session';
import type { RequestHandler } from 'express';
import { type Challenge, type ChallengeStore, openChallenge } from 'passport-sms-otp';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { expectNoUnhandledRejection } from './support/calm.js';
import { createGate } from './support/gate.js';
import {
  createHost,
  fakeClient,
  type HostOptions,
  type LooseOptions,
  OTHER_PHONE,
  PHONE,
  PIN,
  serve,
} from './support/host.js';
import { describeJourneys } from './support/journeys.js';
import { SECRET, sharedCounters } from './support/limiters.js';
import { FragileStore, type MapStore, mapStore } from './support/stores.js';

expectNoUnhandledRejection();

afterEach(() => {
  vi.useRealTimers();
});

describeJourneys('a login with challenges in a store of the host', {
  options() {
    const store = mapStore();
    return {
      before: [store.middleware],
      strategy: { challenges: store },
      routes: (app) => app.set('challenge store', store),
    };
  },
  async kept(host) {
    const store: MapStore = host.app.get('challenge store');
    return [...store.kept].length > 0 ? [...store.kept] : undefined;
  },
});

describe('the attempts that a page shows', () => {
  it('are our own count, also where the service has not judged one', async () => {
    const { client, browser } = visit({ strategy: { attempts: 2 } });
    await browser.issue();
    const answer = client.onVerify;
    client.onVerify = () => Promise.reject(new Error('the service is down'));
    expect((await browser.check()).status).toBe(503);
    expect((await browser.get('/challenge')).body).toMatchObject({ attemptsRemaining: 1 });
    client.onVerify = answer;
    expect((await browser.check('000000')).body.outcome.code).toBe('attempts_exhausted');
  });

  it('are none where the last one was not judged: there is no open challenge, and a new PIN may be asked for', async () => {
    const { client, browser } = visit({ strategy: { attempts: 1, budgets: { sendsPerNumber: null } } });
    await browser.issue();
    client.onVerify = () => Promise.reject(new Error('the service is down'));
    expect((await browser.check()).status).toBe(503);
    expect((await browser.get('/challenge')).body).toBeNull();
    expect((await browser.check()).body.outcome.code).toBe('attempts_exhausted');
    expect((await browser.issue()).body.outcome).toMatchObject({ code: 'pin_sent', alreadySent: false });
    expect((await browser.get('/challenge')).body).toMatchObject({ attemptsRemaining: 1 });
  });

  it('never grow again when a slow check is answered last', async () => {
    const { client, browser } = visit();
    await browser.issue();
    const answer = client.onVerify;
    let goOn = (): void => {};
    client.onVerify = async (...asked) => {
      client.onVerify = answer;
      await new Promise<void>((resolve) => {
        goOn = resolve;
      });
      return answer(...asked);
    };
    const slow = browser.check('000000').then(({ body }) => body);
    await expect.poll(() => client.checks.length).toBe(1);
    await browser.check('000001');
    await browser.check('000002');
    goOn();
    expect((await slow).outcome).toMatchObject({ code: 'pin_wrong', attemptsRemaining: 4 });
    expect((await browser.get('/challenge')).body).toMatchObject({ attemptsRemaining: 2 });
  });
});

describe('openChallenge', () => {
  it('tells the page what it may show, and nothing else', async () => {
    vi.useFakeTimers({ toFake: ['Date'], now: new Date('2026-03-02T10:00:00Z') });
    const { browser } = visit();
    await browser.issue();
    const { body } = await browser.get('/challenge');
    expect(body).toEqual({
      to: '+385 \u2022\u2022\u2022 67',
      channel: 'sms',
      channels: ['sms'],
      expiresAt: '2026-03-02T10:10:00.000Z',
      resendAt: '2026-03-02T10:00:30.000Z',
      attemptsRemaining: 5,
    });
    expect(JSON.stringify(body)).not.toMatch(/PIN-ID|38591|1234567/u);
  });

  it('gives times as dates', async () => {
    const opened: unknown[] = [];
    const { browser } = visit({
      routes: (app) =>
        app.get('/page', async (req, res) => {
          opened.push(await openChallenge(req));
          res.end();
        }),
    });
    await browser.issue();
    await browser.get('/page');
    expect(opened).toEqual([
      expect.objectContaining({ expiresAt: expect.any(Date), resendAt: expect.any(Date) }),
    ]);
  });

  it('knows nothing without a session, before an issue, of another strategy and after the end', async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    expect(await openChallenge({ headers: {} })).toBeNull();
    expect(await openChallenge({ headers: {}, session: null })).toBeNull();
    const { browser } = visit({
      routes: (app) =>
        app.get('/other', async (req, res) => void res.json(await openChallenge(req, { name: 'other' }))),
    });
    expect((await browser.get('/challenge')).body).toBeNull();
    await browser.issue();
    expect((await browser.get('/other')).body).toBeNull();
    vi.setSystemTime(Date.now() + 600_000 - 1);
    expect((await browser.get('/challenge')).body).not.toBeNull();
    vi.setSystemTime(Date.now() + 1);
    expect((await browser.get('/challenge')).body).toBeNull();
  });

  it('follows the time to live that the host chose', async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    const { browser, client } = visit({ strategy: { pinTtlSeconds: 60 } });
    await browser.issue();
    vi.setSystemTime(Date.now() + 60_000);
    expect((await browser.get('/challenge')).body).toBeNull();
    expect((await browser.check()).body.outcome.code).toBe('pin_expired');
    expect(client.checks).toEqual([]);
  });

  it('knows nothing for whoever was not signed in the same way when the PIN was asked for', async () => {
    const { browser, client, host } = visit({ routes: signInRoute });
    host.users.set('ana', { id: 'ana', phoneNumber: OTHER_PHONE });
    await browser.issue();
    await browser.get('/sign-in-keeping?as=ana');
    expect((await browser.get('/challenge')).body).toBeNull();
    expect((await browser.check()).body.outcome.code).toBe('no_challenge');
    expect((await browser.resend()).body.outcome.code).toBe('no_challenge');
    expect([client.checks, client.resends]).toEqual([[], []]);
  });

  it('knows the challenge of a user who was signed in already', async () => {
    const { browser, host } = visit({ routes: signInRoute });
    host.users.set('ana', { id: 'ana', phoneNumber: OTHER_PHONE });
    host.users.set('eva', { id: 'eva', phoneNumber: OTHER_PHONE });
    await browser.get('/sign-in-keeping?as=ana');
    await browser.issue();
    expect((await browser.get('/challenge')).body).toMatchObject({ attemptsRemaining: 5 });
    await browser.get('/sign-in-keeping?as=eva');
    expect((await browser.get('/challenge')).body).toBeNull();
    expect((await browser.check()).body.outcome.code).toBe('no_challenge');
    await browser.get('/sign-in-keeping?as=ana');
    expect((await browser.check()).status).toBe(200);
  });
});

// Signs somebody in and keeps the session's content, as a careless host might.
const signInRoute: NonNullable<HostOptions['routes']> = (app) => {
  app.get('/sign-in-keeping', (req, res, next) => {
    req.logIn(
      { id: req.query.as } as Express.User,
      { session: true, keepSessionInfo: true },
      (error: unknown) => (error ? next(error) : res.end()),
    );
  });
};

function visit(options: HostOptions = {}) {
  const client = fakeClient();
  const host = createHost(client, options);
  return { client, host, browser: host.browser() };
}

describe('the PIN id', () => {
  it('is in the challenge store and nowhere else, like the number', async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    const store = mapStore();
    const counters = sharedCounters();
    const { client, host, browser } = visit({
      before: [store.middleware],
      strategy: { challenges: store, limiter: counters.limiter, secret: SECRET },
    });
    const answers = [await browser.issue(), await browser.check('000000')];
    vi.setSystemTime(Date.now() + 31_000);
    answers.push(await browser.resend(), await browser.get('/challenge'), await browser.get('/me'));
    expect([...store.kept.values()].join()).toContain('PIN-ID-1');
    answers.push(await browser.check(), await browser.get('/me'));
    expect(client.checks).toHaveLength(2);
    const seen = answers.map(({ headers, text }) => JSON.stringify([headers, text])).join('\n');
    const kept = JSON.stringify([
      host.events,
      [...counters.keys],
      Object.values(Reflect.get(host.store, 'sessions')),
    ]);
    for (const secret of ['PIN-ID', PIN, SECRET]) {
      expect(seen).not.toContain(secret);
      expect(kept).not.toContain(secret);
    }
    // The account's own number is on its own page; before the login it is nowhere.
    expect(
      answers
        .slice(0, 5)
        .map(({ text }) => text)
        .join(),
    ).not.toContain('911234567');
  });

  it('is not in a cookie or an address where the session keeps it', async () => {
    const { browser } = visit({ phases: { issue: { challengeRedirect: '/login/pin' } } });
    const { headers } = await browser.issue();
    expect(JSON.stringify(headers)).not.toMatch(/PIN-ID|38591/u);
    expect(headers.location).toBe('/login/pin');
  });
});

describe('a challenge', () => {
  it('keeps its random id through resends, and is plain data', async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    const store = mapStore();
    const { browser } = visit({ before: [store.middleware], strategy: { challenges: store } });
    const kept = () => JSON.parse([...store.kept.values()][0] ?? 'null') as Challenge;
    await browser.issue();
    const { id, sentAt } = kept();
    expect(Buffer.from(id, 'base64url')).toHaveLength(16);
    expect(sentAt).toBe(Date.now());
    vi.setSystemTime(Date.now() + 31_000);
    await browser.resend();
    expect(kept()).toMatchObject({ id, sentAt, attemptsUsed: 0 });
    await browser.issue(OTHER_PHONE);
    expect(kept().id).not.toBe(id);
  });
});

describe('without a session that can keep a challenge', () => {
  const NEEDS_SESSION =
    'SmsOtpStrategy keeps its challenges in the session, on the server. Did you forget to use express-session, or do ' +
    'you use a session that lives in a cookie? Use express-session with a store, or give the option `challenges`.';
  const inACookie = cookieSession({ name: 'session', keys: ['a key for tests only'] }) as RequestHandler;
  const fake = (session: object | null): RequestHandler => {
    return (req, _res, next) => {
      Reflect.set(req, 'session', session);
      next();
    };
  };

  const places: [string, RequestHandler[]][] = [
    ['no session at all', []],
    ['cookie-session', [inACookie]],
    ['a session that is null', [fake(null)]],
    ['a session that is a plain object', [fake({})]],
    ['a session without regenerate', [fake({ save: (done: () => void) => done() })]],
    [
      'a session without a store',
      [fake({ save: (done: () => void) => done(), regenerate: (done: () => void) => done() })],
    ],
  ];

  it.each(places)(
    '(%s) every phase is an error that names express-session, and costs nothing',
    async (_what, before) => {
      const counters = sharedCounters();
      const { client, host, browser } = visit({
        session: false,
        before,
        strategy: { limiter: counters.limiter, secret: SECRET },
      });
      for (const path of ['/login', '/login/resend', '/login/pin']) {
        const { status, body } = await browser.post(path, { phone: PHONE, pin: PIN });
        expect([path, status, body.error]).toEqual([
          path,
          500,
          { code: 'ERR_SMS_OTP_SESSION', message: NEEDS_SESSION },
        ]);
      }
      expect(host.actions).toEqual([['error'], ['error'], ['error']]);
      expect([client.sends, client.resends, client.checks]).toEqual([[], [], []]);
      expect([...counters.keys]).toEqual([]);
      expect((await browser.get('/challenge')).body).toBeNull();
    },
  );

  it.each(places.slice(0, 2))(
    '(%s) a store of the host will do, as far as Passport itself can log in',
    async (_what, before) => {
      const store = mapStore();
      const { client, browser } = visit({
        session: false,
        before: [store.middleware, ...before],
        strategy: { challenges: store },
        routes: (app, { passport }) => {
          app.post(
            '/check',
            passport.authenticate('sms-otp', { phase: 'check', session: false } as object),
            (req, res) => {
              res.json({ user: req.user });
            },
          );
        },
      });
      expect((await browser.issue()).status).toBe(202);
      const { status, body } = await browser.post('/check', { pin: PIN });
      expect([status, body.user.phoneNumber]).toEqual([200, PHONE]);
      expect(client.checks).toHaveLength(1);
      expect((await browser.post('/check', { pin: PIN })).status).toBe(401);
    },
  );
});

describe('a session store', () => {
  const broken = (how: 'fails' | 'is silent') => {
    const store = new FragileStore();
    const here = visit({ session: { store }, strategy: { storeTimeoutMs: 300 } });
    return { ...here, store, how };
  };

  it.each(['fails', 'is silent'] as const)('that %s at the first write: no SMS, an error', async (how) => {
    const { client, browser, store } = broken(how);
    store.break('set', how);
    const { status, body } = await browser.issue();
    expect([status, body.error.code]).toEqual([503, 'ERR_SMS_OTP_STORE']);
    expect(client.sends).toEqual([]);
    store.heal();
    // And nothing was counted: the visitor can try again at once.
    expect((await browser.issue()).status).toBe(202);
    expect((await browser.check()).status).toBe(200);
  });

  it.each(['fails', 'is silent'] as const)(
    'that %s when the challenge is written: an error, and no PIN page for a PIN that cannot be checked',
    async (how) => {
      const { client, host, browser, store } = broken(how);
      store.break('set', how, 1);
      const { status, body } = await browser.issue();
      expect([status, body.error.code]).toEqual([503, 'ERR_SMS_OTP_STORE']);
      expect(host.actions).toEqual([['error']]);
      expect(client.sends).toHaveLength(1);
    },
  );

  it.each(['fails', 'is silent'] as const)(
    'that %s at a resend: no SMS, an error, and the first PIN works',
    async (how) => {
      vi.useFakeTimers({ toFake: ['Date'] });
      const { client, browser, store } = broken(how);
      await browser.issue();
      vi.setSystemTime(Date.now() + 31_000);
      store.break('set', how);
      expect((await browser.resend()).body.error.code).toBe('ERR_SMS_OTP_STORE');
      expect(client.resends).toEqual([]);
      store.heal();
      expect((await browser.check()).status).toBe(200);
    },
  );

  it.each(['fails', 'is silent'] as const)(
    'that %s at a wrong PIN: an error, and the attempt is counted',
    async (how) => {
      const { browser, store } = broken(how);
      await browser.issue();
      store.break('set', how);
      const { status, body } = await browser.check('000000');
      expect([status, body.error.code]).toEqual([503, 'ERR_SMS_OTP_STORE']);
      store.heal();
      expect((await browser.check('000000')).body.outcome.attemptsRemaining).toBe(3);
    },
  );

  it.each([
    ['fails', 'destroys the old session', 'destroy'],
    ['fails', 'writes the new session', 'set'],
    ['is silent', 'destroys the old session', 'destroy'],
    ['is silent', 'writes the new session', 'set'],
  ] as const)(
    'that %s when the login %s: an error, nobody is logged in, and the PIN is used up',
    async (how, _when, step) => {
      const { client, host, browser, store } = broken(how);
      await browser.issue();
      store.break(step, how);
      const { status, headers } = await browser.check().timeout(5000);
      expect(status).toBe(how === 'fails' ? 500 : 503);
      // No cookie of a session that may after all have been written gets out.
      if (how === 'is silent') expect(headers).not.toHaveProperty('set-cookie');
      store.heal();
      expect((await browser.get('/me')).body.user).toBeNull();
      expect((await browser.check()).body.outcome.code).toMatch(/^(?:no_challenge|attempts_exhausted)$/u);
      expect(client.checks.length).toBeLessThanOrEqual(2);
      expect(host.proofs).toHaveLength(1);
    },
  );

  it('that fails at the read after a refused cooldown: the refusal stands', async () => {
    const { client, browser, store, host } = broken('fails');
    await host.browser().issue();
    await browser.get('/me');
    store.break('get', 'fails', 1);
    expect((await browser.issue()).status).toBe(429);
    expect(client.sends).toHaveLength(1);
  });
});

/** Whatever is asked of it, it throws. */
function unreadable(): object {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
}

describe('a challenge store of the host', () => {
  type Method = keyof ChallengeStore;

  function fragile(more: LooseOptions = {}) {
    const store = mapStore();
    let fault: { method: Method; answer: () => Promise<never> } | undefined;
    const run = <T>(method: Method, work: () => Promise<T>): Promise<T> =>
      fault?.method === method ? fault.answer() : work();
    const challenges: ChallengeStore = {
      get: (req, name) => run('get', () => store.get(req, name)),
      set: (req, name, challenge) => run('set', () => store.set(req, name, challenge)),
      remove: (req, name) => run('remove', () => store.remove(req, name)),
    };
    const here = visit({
      before: [store.middleware],
      strategy: { challenges, storeTimeoutMs: 300, ...more },
    });
    const breakAt = (method: Method, answer: () => Promise<never>) => {
      fault = { method, answer };
    };
    const heal = () => {
      fault = undefined;
    };
    return { ...here, breakAt, heal };
  }

  const faults: [string, () => Promise<never>][] = [
    ['fails', () => Promise.reject(new Error('the database is down'))],
    ['fails with nothing', () => Promise.reject(undefined)],
    ['never answers', () => new Promise(() => undefined)],
    [
      'throws',
      () => {
        throw new Error('the database is not there');
      },
    ],
    ['fails with what cannot be looked at', () => Promise.reject(unreadable())],
  ];

  it.each(faults)('that %s: an error at every step, and nobody is logged in', async (_how, answer) => {
    const { client, host, browser, breakAt, heal } = fragile();
    breakAt('get', answer);
    expect((await browser.issue()).body.error).toBeDefined();
    expect((await browser.resend()).body.error).toBeDefined();
    expect((await browser.check()).body.error).toBeDefined();
    expect([client.sends, client.checks]).toEqual([[], []]);
    breakAt('set', answer);
    expect((await browser.issue()).body.error).toBeDefined();
    heal();
    await browser.issue(OTHER_PHONE);
    breakAt('set', answer);
    expect((await browser.check('000000')).body.error).toBeDefined();
    breakAt('remove', answer);
    expect((await browser.check()).body.error).toBeDefined();
    heal();
    expect((await browser.get('/me')).body.user).toBeNull();
    expect(host.proofs).toEqual([]);
    expect((await browser.check()).body.outcome?.code).not.toBe('pin_sent');
    expect((await browser.get('/me')).body.user).toBeNull();
    expect(host.actions.every((taken) => taken.length === 1)).toBe(true);
    for (const error of host.errors) expect(error).toBeInstanceOf(Error);
  });

  it.each(faults.slice(0, 2))('that %s is down: the error says so', async (_how, answer) => {
    const { browser, breakAt } = fragile();
    breakAt('get', answer);
    const { status, body } = await browser.check();
    expect([status, body.error]).toEqual([
      503,
      { code: 'ERR_SMS_OTP_STORE', message: 'The store of challenges and counters is down' },
    ]);
  });

  it('that never answers does not hang the page that asks for the open challenge', async () => {
    const { host, browser, breakAt } = fragile({ name: 'slow' });
    await browser.issue();
    breakAt('get', () => new Promise(() => undefined));
    const answer = await browser.get('/challenge').timeout(5000);
    expect([answer.status, host.errors]).toEqual([
      503,
      [expect.objectContaining({ code: 'ERR_SMS_OTP_STORE' })],
    ]);
  });

  it('is the only one asked for the page: that of an earlier strategy of the same name is not', async () => {
    const before = fragile({ name: 'renewed' });
    before.breakAt('get', () => Promise.reject(new Error('the database of the earlier strategy is closed')));
    const { browser } = fragile({ name: 'renewed' });
    await browser.issue();
    const { status, body } = await browser.get('/challenge');
    expect([status, body]).toEqual([200, expect.objectContaining({ attemptsRemaining: 5 })]);
  });

  it('is not asked for the page of a later strategy of that name that keeps challenges in the session', async () => {
    const before = fragile({ name: 'moved' });
    before.breakAt('get', () => Promise.reject(new Error('the database of the earlier strategy is closed')));
    const { browser } = visit({ strategy: { name: 'moved' } });
    expect((await browser.get('/challenge')).body).toBeNull();
    await browser.issue();
    expect((await browser.get('/challenge')).body).toMatchObject({ attemptsRemaining: 5 });
  });

  it('needs no session where the host knows the recipient, either', async () => {
    const store = mapStore();
    const { client, browser, host } = visit({
      session: false,
      before: [store.middleware],
      authenticate: { session: false },
      strategy: { challenges: store, recipient: () => ({ phoneNumber: PHONE, subject: 'u1' }) },
    });
    expect((await browser.issue()).body.outcome).toMatchObject({ code: 'pin_sent' });
    expect(client.sends).toHaveLength(1);
    await browser.check();
    expect(host.proofs).toMatchObject([{ phoneNumber: PHONE, subject: 'u1' }]);
  });

  it('lets verify do nothing for a session that was signed out while the service judged the PIN', async () => {
    const store = mapStore();
    const { client, browser, host } = visit({
      before: [store.middleware],
      strategy: { challenges: store, signedIn: true, subject: ({ user }) => (user ? 'u1' : null) },
      routes(app) {
        app.post('/password', (req, res, next) => {
          req.logIn(host.users.get('u1') as Express.User, (error) => (error ? next(error) : res.end()));
        });
        app.post('/logout', (req, res, next) => req.logOut((error) => (error ? next(error) : res.end())));
      },
    });
    host.users.set('u1', { id: 'u1', phoneNumber: OTHER_PHONE });
    await browser.post('/password');
    expect((await browser.issue()).status).toBe(202);
    const answer = client.onVerify;
    const cookie = browser.agent.jar
      .getCookies({ path: '/', domain: '127.0.0.1', secure: false, script: false })
      .toValueString();
    client.onVerify = async (...asked) => {
      await host.browser().post('/logout', {}, { Cookie: cookie });
      return answer(...asked);
    };
    expect((await browser.check()).body.outcome.code).toBe('no_challenge');
    expect(host.proofs).toEqual([]);
  });

  it('may answer with anything that is no challenge: there is none', async () => {
    for (const nonsense of [null, 7, 'text', [], {}, { id: 'x' }, { id: 1, pinId: 2, channel: 3 }]) {
      const { browser, client } = visit({
        strategy: {
          challenges: {
            get: async () => nonsense as never,
            set: async () => undefined,
            remove: async () => undefined,
          },
        },
      });
      expect((await browser.check()).body.outcome.code).toBe('no_challenge');
      expect(client.checks).toEqual([]);
    }
  });
});

describe('the session', () => {
  it('gets a new id at the login, and the old one is dead', async () => {
    const { host, browser } = visit();
    const { headers } = await browser.issue();
    const before = (await browser.get('/me')).body.id;
    await browser.check();
    const { body } = await browser.get('/me');
    expect(body.id).not.toBe(before);
    const thief = host.browser();
    thief.agent.set('Cookie', String(headers['set-cookie']).split(';')[0] ?? '');
    expect((await thief.get('/me')).body.user).toBeNull();
  });

  it('is not written back by a request that lost the race for a PIN', async () => {
    const store = new FragileStore();
    const { host, client } = visit({ session: { store, resave: false } });
    const url = await serve(host);
    const browser = host.browser(url);
    await browser.issue();
    const old = (await browser.get('/me')).body.id;
    const gate = createGate();
    const { onVerify } = client;
    client.onVerify = async (...asked) => {
      await gate.pass();
      return onVerify(...asked);
    };
    const arrived = gate.shut();
    const slowAnswer = browser.check().then((answer) => answer);
    await arrived;
    expect((await browser.check()).status).toBe(200);
    gate.open();
    expect((await slowAnswer).body.outcome.code).toBe('no_challenge');
    const found = await new Promise((resolve) =>
      store.get(old, (_error, content) => resolve(content ?? null)),
    );
    expect(found).toBeNull();
  });

  it('is not written back by a wrong PIN that was slower than the right one', async () => {
    const store = new FragileStore();
    const { host, client } = visit({ session: { store } });
    const url = await serve(host);
    const browser = host.browser(url);
    await browser.issue();
    const old = (await browser.get('/me')).body.id;
    const gate = createGate();
    const { onVerify } = client;
    client.onVerify = async (...asked) => {
      await gate.pass();
      return onVerify(...asked);
    };
    const arrived = gate.shut();
    const slowAnswer = browser.check('000000').then((answer) => answer);
    await arrived;
    expect((await browser.check()).status).toBe(200);
    gate.open();
    expect((await slowAnswer).status).toBe(401);
    const found = await new Promise((resolve) =>
      store.get(old, (_error, content) => resolve(content ?? null)),
    );
    expect(found).toBeNull();
  });
});
