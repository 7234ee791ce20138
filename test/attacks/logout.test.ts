/** A sign-out while a request of the same session is still under way: whoever signed out stays out. */

import { RedisStore } from 'connect-redis';
import type { RequestHandler } from 'express';
import { MemoryStore } from 'express-session';
import { requireSmsOtp } from 'passport-sms-otp';
import { createClient } from 'redis';
import request from 'supertest';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { expectNoUnhandledRejection } from '../support/calm.js';
import { createGate } from '../support/gate.js';
import {
  createHost,
  type FakeClient,
  fakeClient,
  type Host,
  OTHER_PHONE,
  PHONE,
  PIN,
  serve,
} from '../support/host.js';
import { hasRedis, type RedisServer, startRedis } from '../support/redis.js';
import { requireOrSkip } from '../support/services.js';

expectNoUnhandledRejection();

/** A step-up site with a password, and a service (and a host) that answers when it is told to. */
async function site(session: object = {}, spell = (cookie: string) => cookie) {
  const client = fakeClient();
  const gates = { logout: createGate(), login: createGate() };
  let arrived: () => void = () => undefined;
  let answer: () => void = () => undefined;
  let isSlow = false;
  let isVerifySlow = false;
  let isLoginSlow = false;
  const held = async () => {
    if (!isSlow) return;
    isSlow = false;
    arrived();
    await new Promise<void>((resolve) => {
      answer = resolve;
    });
  };
  const slow: FakeClient = {
    ...client,
    sendPin: (...args) => held().then(() => client.sendPin(...args)),
    resendPin: (...args) => held().then(() => client.resendPin(...args)),
    verifyPin: (...args) =>
      (isVerifySlow || isLoginSlow ? Promise.resolve() : held()).then(() => client.verifyPin(...args)),
  };
  let isHostSlow = false;
  let refusesUsers = false;
  const told = { failureRedirect: '/login', failureMessage: true, challengeRedirect: '/login/pin' };
  const host: Host = createHost(slow, {
    session,
    before: [readCookies],
    strategy: {
      signedIn: true,
      recipient: ({ user }) => (user ? { phoneNumber: PHONE, subject: 'u1' } : null),
      budgets: { sendsPerNumber: null },
      beforeSend: async () => {
        if (isHostSlow) await held();
        return true;
      },
    },
    verify: async ({ subject }) => {
      if (isVerifySlow) await held();
      return (!refusesUsers && host.users.get(subject ?? '')) || false;
    },
    routes(app, { passport }) {
      app.post('/password', (req, res, next) => {
        const user = host.users.get('u1') as Express.User;
        req.logIn(user, (error: unknown) => (error ? next(error) : res.end()));
      });
      app.post('/switch', (req, res, next) => {
        Object.assign(Reflect.get(req.session, 'passport'), { user: 'u2' });
        req.session.save((error) => (error ? next(error) : res.end()));
      });
      app.post('/logout', (req, res, next) => {
        req.logOut((error: unknown) => (error ? next(error) : res.end()));
      });
      app.post('/slow', async (req, res) => {
        await held();
        Reflect.set(req.session, 'note', 'written long after it was read');
        res.end();
      });
      app.post('/logout/slow', async (req, res, next) => {
        await gates.logout.pass();
        req.logOut((error: unknown) => (error ? next(error) : res.end()));
      });
      app.post(
        '/login/pin/slow',
        passport.authenticate('sms-otp', { phase: 'check' } as object),
        async (_req, res) => {
          // The user's trusted browsers are revoked, say.
          await gates.login.pass();
          res.end();
        },
      );
      app.post('/later', (req, res, next) => {
        const finish = async (error: unknown, user?: Express.User | false) => {
          if (error || !user) return next(error ?? new Error('refused'));
          // An audit log, say.
          if (isLoginSlow) await held();
          req.logIn(user, (failed: unknown) => (failed ? next(failed) : res.end()));
        };
        passport.authenticate('sms-otp', { phase: 'check' } as object, finish)(req, res, next);
      });
      app.get('/secret', requireSmsOtp() as never, (_req, res) => res.end());
      for (const [path, options] of Object.entries({
        '/authorized': { assignProperty: 'account' },
        '/without-session': { session: false },
        '/told': { failureRedirect: '/login', failureMessage: true },
        '/told/issue': { phase: 'issue', ...told },
      })) {
        app.post(
          path,
          passport.authenticate('sms-otp', { phase: 'check', ...(options as object) }),
          (_req, res) => {
            res.end();
          },
        );
      }
    },
  });
  host.users.set('u1', { id: 'u1', phoneNumber: PHONE });
  host.users.set('u2', { id: 'u2', phoneNumber: OTHER_PHONE });
  const at = await serve(host);
  const { headers } = await request(at).post('/password');
  const plain = String(headers['set-cookie']).split(';')[0] ?? '';
  const cookie = spell(plain);
  /** Anybody who has this cookie. */
  const post = (path: string, form: object = {}) =>
    request(at).post(path).set('Cookie', cookie).set('Sec-Fetch-Site', 'same-origin').type('form').send(form);
  const get = (path: string) => request(at).get(path).set('Cookie', cookie);
  return {
    at,
    client,
    host,
    post,
    get,
    gates,
    refuseUsers: () => {
      refusesUsers = true;
    },
    held: holding,
    /** Sends a request, and signs the session out (or switches it) while that waits for the service or the host. */
    overtaken: (
      path: string,
      form: object,
      by: 'service' | 'host' | 'verify' = 'service',
      other: '/logout' | '/switch' = '/logout',
    ) =>
      holding(path, form, by, async () => {
        expect((await post(other)).status).toBe(200);
        expect((await get('/me')).body.user?.id).toBe(other === '/switch' ? 'u2' : undefined);
      }),
  };

  async function holding(
    path: string,
    form: object,
    by: 'service' | 'host' | 'verify' | 'login',
    meanwhile: () => Promise<unknown>,
  ) {
    isSlow = true;
    isHostSlow = by === 'host';
    isVerifySlow = by === 'verify';
    isLoginSlow = by === 'login';
    const waiting = new Promise<void>((resolve) => {
      arrived = resolve;
    });
    const late = post(path, form).then((response) => response);
    await waiting;
    await meanwhile();
    answer();
    return late;
  }
}

const ENDED = { status: 401, code: 'no_challenge' };
const told = ({ status, body }: request.Response) => ({ status, code: body.outcome?.code });

/** The same cookie as those read it that decode it: each character by its number. */
const encoded = (cookie: string) =>
  cookie.replace(/(?<==).*/u, (value) =>
    [...decodeURIComponent(value)].map((letter) => `%${letter.charCodeAt(0).toString(16)}`).join(''),
  );

/** As a host's own parser reads cookies, and cookie-parser does: a value that begins with `j:` is JSON. */
const readCookies: RequestHandler = (req, _res, next) => {
  const [, value] = /^connect\.sid=(.*)$/u.exec(req.headers.cookie ?? '') ?? [];
  const text = value === undefined ? '' : decodeURIComponent(value);
  Object.assign(req, { cookies: text.startsWith('j:') ? { 'connect.sid': JSON.parse(text.slice(2)) } : {} });
  next();
};

const asJson = (cookie: string) =>
  cookie.replace(/(?<==).*/u, (value) => {
    const escaped = [...decodeURIComponent(value)].map(
      (letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, '0')}`,
    );
    return encodeURIComponent(`j:"${escaped.join('')}"`);
  });

const spellings = { 'as it is': undefined, encoded, 'as JSON': asJson };

async function expectSignedOut(session: object, spelling: keyof typeof spellings) {
  for (const [path, form, by] of [
    ['/login', {}, 'service'],
    ['/login', {}, 'host'],
    ['/login/resend', {}, 'service'],
    ['/login/pin', { pin: '000000' }, 'service'],
    ['/login/pin', { pin: PIN }, 'service'],
    ['/login/pin', { pin: PIN }, 'verify'],
  ] as const) {
    const { client, post, get, overtaken } = await site(session, spellings[spelling]);
    if (path !== '/login') expect((await post('/login')).status).toBe(202);
    const sends = client.sends.length;
    expect(told(await overtaken(path, form, by)), `${path} ${by}`).toEqual(ENDED);
    expect((await get('/me')).body.user, path).toBeNull();
    expect((await get('/secret')).status).toBe(403);
    // Before the service is asked there is still time to save the message.
    if (by === 'host') expect(client.sends).toHaveLength(sends);
  }
}

it.each([
  [{}, 'as it is'],
  [{ resave: true, saveUninitialized: true }, 'as it is'],
  [{}, 'encoded'],
  [{}, 'as JSON'],
] as const)(
  'is not undone by an issue, resend or check of that session (express-session with %j, its cookie %s)',
  (session, spelling) => expectSignedOut(session, spelling),
);

it.each([{}, { rolling: true }, { resave: true, saveUninitialized: true }])(
  'is not undone by a page of the host that writes late (express-session with %j)',
  async (session) => {
    const { post, get, overtaken } = await site(session);
    // From the first request of ours on.
    await post('/login');
    expect((await overtaken('/slow', {})).status).toBe(200);
    expect((await get('/me')).body.user).toBeNull();
  },
);

it.each([{}, { resave: true, saveUninitialized: true }])(
  'is not undone by a page of the host that writes an hour later (express-session with %j)',
  async (session) => {
    vi.useFakeTimers({ toFake: ['performance'] });
    onTestFinished(() => void vi.useRealTimers());
    const { post, get, held } = await site(session);
    await post('/login');
    const meanwhile = async () => {
      expect((await post('/logout')).status).toBe(200);
      vi.advanceTimersByTime(3_600_000);
    };
    expect((await held('/slow', {}, 'service', meanwhile)).status).toBe(200);
    expect((await get('/me')).body.user).toBeNull();
  },
);

it('is no hindrance to a login that takes an hour, nor is a store that was cleared meanwhile', async () => {
  for (const clears of [false, true]) {
    vi.useFakeTimers({ toFake: ['performance'] });
    onTestFinished(() => void vi.useRealTimers());
    const store = new MemoryStore();
    const host = createHost(fakeClient(), {
      session: { store },
      verify: async () => {
        vi.advanceTimersByTime(3_600_000);
        if (clears) await new Promise((resolve) => store.clear(resolve));
        return { id: 'u1', phoneNumber: PHONE };
      },
    });
    host.users.set('u1', { id: 'u1', phoneNumber: PHONE });
    const browser = host.browser(await serve(host));
    await browser.issue();
    const { status } = await browser.check();
    expect([status, (await browser.get('/me')).body.user?.id], `clears: ${clears}`).toEqual([200, 'u1']);
  }
});

it('leaves the page of the host that writes an hour later its word, where nobody has signed out', async () => {
  vi.useFakeTimers({ toFake: ['performance'] });
  onTestFinished(() => void vi.useRealTimers());
  const store = new MemoryStore();
  const { post, held } = await site({ store });
  await post('/login');
  await held('/slow', {}, 'service', async () => vi.advanceTimersByTime(3_600_000));
  const sessions = await new Promise<unknown>((resolve) => store.all((_error, all) => resolve(all)));
  expect(JSON.stringify(sessions)).toContain('written long after it was read');
});

it('is not undone for whoever reads the session while a late write is being undone', async () => {
  const gates = { set: createGate(), destroy: createGate() };
  const store = new MemoryStore();
  const { set, destroy } = store;
  store.set = (...args) => void gates.set.pass().then(() => set.apply(store, args));
  store.destroy = (...args) => void gates.destroy.pass().then(() => destroy.apply(store, args));
  const { post, get } = await site({ store });
  // From the first request of ours on.
  await post('/login');
  const isWriting = gates.set.shut();
  const write = post('/slow').then((response) => response);
  await isWriting;
  expect((await post('/logout')).status).toBe(200);
  const isUndoing = gates.destroy.shut();
  gates.set.open();
  await isUndoing;
  expect((await get('/me')).body.user).toBeNull();
  gates.destroy.open();
  expect((await write).status).toBe(200);
  expect((await get('/me')).body.user).toBeNull();
});

it('is not undone by the right PIN, where that login was ending the session at the same time', async () => {
  const gate = createGate();
  const store = new MemoryStore();
  const destroy = store.destroy.bind(store);
  store.destroy = (id, callback) => void gate.pass().then(() => destroy(id, callback));
  const { post, get, host } = await site({ store });
  await post('/login');
  const isEnding = gate.shut();
  const check = post('/login/pin', { pin: PIN }).then((answer) => answer);
  await isEnding;
  expect((await get('/me')).body.user.id).toBe('u1');
  expect((await post('/logout')).status).toBe(200);
  gate.open();
  const { status, headers } = await check;
  expect([status, headers['set-cookie']]).toEqual([500, undefined]);
  expect(host.errors).toMatchObject([{ code: 'ERR_SMS_OTP_SESSION', status: 500 }]);
  expect((await get('/me')).body.user).toBeNull();
});

it('is not undone by the right PIN, where the host does something else before it logs in', async () => {
  const { post, get, held, host } = await site();
  await post('/login');
  const meanwhile = async () => {
    expect((await post('/logout')).status).toBe(200);
  };
  const { status, headers } = await held('/later', { pin: PIN }, 'login', meanwhile);
  expect([status, headers['set-cookie']]).toEqual([500, undefined]);
  expect(host.errors).toMatchObject([{ code: 'ERR_SMS_OTP_SESSION', status: 500 }]);
  expect((await get('/secret')).status).toBe(403);
});

it('is not undone by the right PIN, where the host does something else once it has logged in', async () => {
  for (const isEarly of [true, false]) {
    const { post, host, gates, at } = await site();
    await post('/login');
    const isSigningOut = gates.logout.shut();
    const logout = post('/logout/slow').then((response) => response);
    await isSigningOut;
    const isLoggedIn = gates.login.shut();
    const check = post('/login/pin/slow', { pin: PIN }).then((response) => response);
    await isLoggedIn;
    if (!isEarly) gates.login.open();
    const early = isEarly ? undefined : await check;
    gates.logout.open();
    expect((await logout).status).toBe(200);
    gates.login.open();
    const { status, headers } = early ?? (await check);
    const cookies = [String(headers['set-cookie']).split(';')[0] ?? ''];
    expect([status, host.errors]).toEqual([200, []]);
    const { body } = await request(at).get('/me').set('Cookie', cookies);
    expect(body.user, `early: ${isEarly}`).toBeNull();
  }
});

it('nor is a login by the second of two clicks on its PIN, which finds no session any more', async () => {
  const { post, host } = await site();
  await post('/login');
  const first = await post('/login/pin', { pin: PIN });
  expect([first.status, first.headers['set-cookie']?.length]).toEqual([200, 1]);
  const second = await post('/told', { pin: PIN });
  expect([second.status, second.headers['set-cookie']]).toEqual([302, undefined]);
  expect(host.errors).toEqual([]);
});

it('is not undone with a proof that the session had before', async () => {
  const { post, get, overtaken } = await site();
  await post('/login');
  const first = await post('/authorized', { pin: PIN });
  expect(first.status).toBe(200);
  expect((await get('/secret')).status).toBe(200);
  await post('/login');
  await overtaken('/login/pin', { pin: '000000' });
  expect((await get('/secret')).status).toBe(403);
});

it.each<[string, FakeClient['onSend']]>([
  ['a number out of reach', async () => ({ pinId: 'PIN-ID', sent: false })],
  ['a limit of the service', () => Promise.reject(Object.assign(new Error('busy'), { status: 429 }))],
])('is not undone by the message of a refusal: %s', async (_what, onSend) => {
  const { client, get, overtaken } = await site();
  client.onSend = onSend;
  expect((await overtaken('/told/issue', {})).status).toBe(302);
  expect((await get('/me')).body).toMatchObject({ user: null });
  expect((await get('/secret')).status).toBe(403);
});

it.each([
  ['/login/pin', {}],
  ['/told', {}],
  ['/told', { rolling: true, cookie: { maxAge: 60_000 } }],
])(
  'nor is a login in another tab, by the cookie of a late refusal (%s, express-session with %j)',
  async (path, session) => {
    const { post, held } = await site(session);
    await post('/login');
    const late = await held(path, { pin: '000000' }, 'service', async () => {
      const { status, headers } = await post('/login/pin', { pin: PIN });
      expect([status, headers['set-cookie']?.length]).toEqual([200, 1]);
    });
    expect([302, 401]).toContain(late.status);
    expect(late.headers['set-cookie']).toBeUndefined();
  },
);

it('is not undone where it is no logout, but another user takes the session over', async () => {
  for (const [path, form, code] of [
    ['/login', {}, 'no_challenge'],
    ['/login/pin', { pin: '000000' }, 'no_challenge'],
    ['/login/pin', { pin: PIN }, 'no_challenge'],
  ] as const) {
    const { post, get, overtaken } = await site();
    if (path !== '/login') await post('/login');
    expect(told(await overtaken(path, form, 'service', '/switch')), path).toEqual({ status: 401, code });
    expect((await get('/me')).body.user, path).toMatchObject({ id: 'u2' });
    expect((await get('/secret')).status).toBe(403);
  }
});

it('is not undone by the message of a refused user', async () => {
  const { post, get, overtaken, refuseUsers } = await site();
  await post('/login');
  refuseUsers();
  expect((await overtaken('/told', { pin: PIN }, 'verify')).status).toBe(302);
  expect((await get('/me')).body).toMatchObject({ user: null });
});

it.each(['/authorized', '/without-session', '/told'])('is not undone by a right PIN at %s', async (path) => {
  const { post, get, overtaken, host } = await site();
  await post('/login');
  const late = await overtaken(path, { pin: PIN });
  expect(late.status).toBe(path === '/told' ? 302 : 401);
  expect(host.errors).toEqual([]);
  expect((await get('/me')).body.user).toBeNull();
  expect((await get('/secret')).status).toBe(403);
  expect(host.events.at(-1)).toMatchObject({ type: 'login.refused', code: 'no_challenge' });
});

describe.skipIf(requireOrSkip('redis-server', hasRedis()))('with sessions in connect-redis', () => {
  let server: RedisServer;
  let redis: ReturnType<typeof createClient>;

  beforeAll(async () => {
    server = await startRedis();
    redis = createClient({ url: server.url });
    redis.on('error', () => undefined);
    await redis.connect();
  });

  afterAll(async () => {
    redis.destroy();
    await server.stop();
  });

  it('is not undone by an issue, resend or check of that session, either', () =>
    expectSignedOut({ store: new RedisStore({ client: redis }) }, 'as it is'));

  it('is not undone by a storm of checks that wait for the service', async () => {
    for (let round = 0; round < 25; round += 1) {
      const { client, post, get } = await site({ store: new RedisStore({ client: redis }) });
      await post('/login');
      const storm = 4;
      let waiting = 0;
      let allWait: () => void = () => undefined;
      let answer: () => void = () => undefined;
      const arrived = new Promise<void>((resolve) => {
        allWait = resolve;
      });
      const answered = new Promise<void>((resolve) => {
        answer = resolve;
      });
      const verify = client.onVerify;
      client.onVerify = async (...asked) => {
        waiting += 1;
        if (waiting === storm) allWait();
        await answered;
        return verify(...asked);
      };
      const late = Promise.all(
        Array.from({ length: storm }, (_, index) =>
          post('/login/pin', { pin: index === 0 && round % 2 ? PIN : '000000' }).then((response) => response),
        ),
      );
      await arrived;
      expect((await post('/logout')).status).toBe(200);
      answer();
      for (const { status, headers } of await late) {
        expect([status, headers['set-cookie']]).toEqual([401, undefined]);
      }
      expect((await get('/me')).body.user).toBeNull();
      expect((await get('/secret')).status).toBe(403);
    }
    const keys = await redis.keys('sess:*');
    const sessions = await Promise.all(keys.map((key) => redis.get(key)));
    expect(sessions.filter((session) => session?.includes('u1'))).toEqual([]);
  });
});
