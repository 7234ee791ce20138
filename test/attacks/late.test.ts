/**
 * What another request of the same session does while one of ours waits, for the service, the host or the store: a
 * sign-out stands, a login in another tab keeps its cookie, and what was written stays written.
 */

import type { ErrorRequestHandler, RequestHandler } from 'express';
import session, { type SessionOptions } from 'express-session';
import { requireSmsOtp, SmsOtpStrategy, type Verify } from 'passport-sms-otp';
import request from 'supertest';
import { describe, expect, it } from 'vitest';
import { expectNoUnhandledRejection } from '../support/calm.js';
import { createGate } from '../support/gate.js';
import { createHost, fakeClient, type LooseOptions, PHONE, PIN, serve } from '../support/host.js';
import { SECRET, sharedCounters } from '../support/limiters.js';

expectNoUnhandledRejection();

/** Express: what went wrong, told on the next page. */
const flash: ErrorRequestHandler = (_error, req, res, _next) => {
  Object.assign(req.session, { messages: ['Something went wrong'] });
  res.redirect(303, '/');
};

const ROLLING = { rolling: true, cookie: { maxAge: 60_000 } };

interface SiteOptions {
  session?: Partial<SessionOptions>;
  strategy?: LooseOptions;
  before?: RequestHandler[];
  issue?: object;
  check?: object;
  /** Answers errors. */
  onError?: ErrorRequestHandler;
  verify?: Verify;
}

/** A site with passwords, and a step up by phone. */
async function site({
  session: settings,
  strategy,
  issue,
  check,
  onError,
  verify,
  before = [],
}: SiteOptions = {}) {
  const client = fakeClient();
  const gate = createGate();
  let isDown = false;
  const atGate =
    <Args extends unknown[], Answer>(ask: (...args: Args) => Promise<Answer>) =>
    async (...args: Args): Promise<Answer> => {
      await gate.pass();
      if (isDown) throw new Error('the service is down');
      return ask(...args);
    };
  const slow = {
    ...client,
    sendPin: atGate(client.sendPin.bind(client)),
    verifyPin: atGate(client.verifyPin.bind(client)),
  };
  const host = createHost(slow, {
    ...(settings && { session: settings }),
    strategy: {
      signedIn: true,
      recipient: ({ user }) => (user ? { phoneNumber: PHONE, subject: 'u1' } : null),
      budgets: { sendsPerNumber: null },
      ...strategy,
    },
    verify: verify ?? (async ({ subject }) => host.users.get(subject ?? '') ?? false),
    routes(app, { passport }) {
      app.use(...before, (_req, _res, next) => next());
      app.post('/password', (req, res, next) => {
        const id = String(req.body.id ?? 'u1');
        req.logIn(host.users.get(id) as Express.User, (error: unknown) => (error ? next(error) : res.end()));
      });
      app.post('/logout', (req, res, next) => {
        req.logOut((error: unknown) => (error ? next(error) : res.end()));
      });
      app.post('/forget-user', (req, res) => {
        Object.assign(Reflect.get(req.session, 'passport'), { user: undefined });
        res.end();
      });
      app.post('/note', (req, res) => {
        Object.assign(req.session, { note: req.body.note });
        res.end();
      });
      app.get('/secret', requireSmsOtp({ redirectTo: '/confirm' }) as never, (_req, res) => res.end());
      const phase = (phase: string, options: object = {}) =>
        passport.authenticate('sms-otp', { phase, ...options } as object);
      app.post('/issue', phase('issue', issue));
      app.post('/pin', phase('check', check), async (_req, res) => {
        await gate.pass();
        res.end();
      });
      if (onError) app.use(onError);
    },
  });
  for (const id of ['u1', 'u2']) host.users.set(id, { id, phoneNumber: PHONE });
  const at = await serve(host);
  const first = await request(at).post('/password').type('form').send({});
  const cookie = String(first.headers['set-cookie']).split(';')[0] ?? '';
  const post = (path: string, form: object = {}) =>
    request(at).post(path).set('Cookie', cookie).set('Sec-Fetch-Site', 'same-origin').type('form').send(form);
  const get = (path: string) => request(at).get(path).set('Cookie', cookie).set('Accept', 'text/html');
  return {
    at,
    client,
    host,
    gate,
    post,
    get,
    fail: () => {
      isDown = true;
    },
    /** Sends a request, does something else while it waits at the gate, and then lets it go on. */
    async overtaken(late: () => PromiseLike<request.Response>, meanwhile: () => PromiseLike<unknown>) {
      const waiting = gate.shut();
      const answer = Promise.resolve(late());
      await waiting;
      await meanwhile();
      gate.open();
      return answer;
    },
  };
}

type Site = Awaited<ReturnType<typeof site>>;

async function expectNobody({ get }: Site): Promise<void> {
  expect((await get('/me')).body.user).toBeNull();
}

/** From now on the host's serializer waits. */
function serializeBy({ host }: Site, wait: () => Promise<void>): void {
  const serializers: unknown[] = Reflect.get(host.passport, '_serializers');
  serializers.unshift((user: object, done: (error: null, id: unknown) => void) => {
    void wait().then(() => done(null, Reflect.get(user, 'id')));
  });
}

describe('whoever signed out meanwhile stays out', () => {
  const slowResolver = (): [SiteOptions, { pass: () => Promise<void> }] => {
    const at = { pass: async () => {} };
    const recipient: LooseOptions['recipient'] = async ({ user }) => {
      await at.pass();
      return user ? { phoneNumber: PHONE, subject: 'u1' } : null;
    };
    return [{ strategy: { recipient, budgets: {} } }, at];
  };

  it.each<[string, SiteOptions]>([
    ['a message of the error handler', { onError: flash }],
    ['a cookie that is sent anew', { session: ROLLING }],
    ['a session that is always saved', { session: { resave: true } }],
    [
      'a count of visits',
      {
        before: [
          (req, _res, next) => {
            Object.assign(req.session, { visits: Number(Reflect.get(req.session, 'visits') ?? 0) + 1 });
            next();
          },
        ],
      },
    ],
  ])('when the service fails, with %s', async (_what, options) => {
    for (const path of ['/issue', '/pin']) {
      const it = await site(options);
      if (path === '/pin') await it.post('/issue');
      const { headers } = await it.overtaken(
        () => it.post(path, { pin: '000000' }),
        async () => {
          it.fail();
          await it.post('/logout');
        },
      );
      expect(headers['set-cookie'], path).toBeUndefined();
      await expectNobody(it);
    }
  });

  it.each<[string, SiteOptions]>([
    [
      'a failure with a message',
      { issue: { failureMessage: true, challengeRedirect: '/pin', failureRedirect: '/' } },
    ],
    ['an answer of status 202', { session: ROLLING }],
    ['a redirect', { issue: { challengeRedirect: '/pin' }, session: ROLLING }],
  ])('when a PIN is on its way already, with %s', async (_what, more) => {
    const [options, at] = slowResolver();
    const it = await site({ ...options, ...more });
    await it.post('/issue');
    at.pass = it.gate.pass;
    const { headers } = await it.overtaken(
      () => it.post('/issue'),
      () => it.post('/logout'),
    );
    expect(it.client.sends).toHaveLength(1);
    expect(headers['set-cookie']).toBeUndefined();
    await expectNobody(it);
  });

  it.each([
    ['an answer of the store is from before', 'get'],
    ['a write reaches the store afterwards', 'set'],
  ] as const)('when %s', async (_what, operation) => {
    for (const path of ['/issue', '/pin']) {
      const store = new session.MemoryStore();
      const it = await site({ session: { store } });
      await it.post('/issue');
      const original = store[operation].bind(store) as (...args: unknown[]) => void;
      let count = 0;
      // As with connections that answer in order, or with many of them: the last of these is the one that writes.
      const late = (...args: unknown[]): void => {
        count += 1;
        if (operation === 'set') void it.gate.pass().then(() => original(...args));
        else {
          const answer = args.pop() as (...found: unknown[]) => void;
          original(...args, (...found: unknown[]) => void it.gate.pass().then(() => answer(...found)));
        }
      };
      for (let nth = 1; nth <= 12; nth += 1) {
        const cookie = String(
          (await request(it.at).post('/password').type('form').send({})).headers['set-cookie'],
        );
        const ask = (method: 'get' | 'post', to: string, form: object = {}) =>
          request(it.at)
            [method](to)
            .set('Cookie', cookie.split(';')[0] ?? '')
            .type('form')
            .send(form);
        await ask('post', '/issue');
        count = 0;
        let waiting: Promise<void> | undefined;
        store[operation] = ((...args: unknown[]) => {
          if (count + 1 === nth) waiting = it.gate.shut();
          late(...args);
        }) as never;
        const answer = Promise.resolve(ask('post', path, { pin: '000000' }));
        const isHeld = await Promise.race([
          answer.then(() => false),
          new Promise<boolean>((resolve) => {
            const look = setInterval(() => {
              if (!waiting) return;
              clearInterval(look);
              void waiting.then(() => resolve(true));
            }, 1);
            void answer.finally(() => clearInterval(look));
          }),
        ]);
        store[operation] = original as never;
        if (!isHeld) break;
        expect((await ask('post', '/logout')).status).toBe(200);
        it.gate.open();
        await answer;
        expect((await ask('get', '/me')).body.user, `${path} ${operation} ${nth}`).toBeNull();
      }
      expect(count).toBeGreaterThan(0);
    }
  });

  it('when Passport has saved the session without its user and not yet destroyed it', async () => {
    for (const path of ['/issue', '/pin']) {
      const it = await site({ issue: { failureMessage: true }, check: { failureMessage: true } });
      if (path === '/pin') await it.post('/issue');
      await it.overtaken(
        () => it.post(path, { pin: '000000' }),
        () => it.post('/forget-user'),
      );
      await expectNobody(it);
    }
  });

  it('when the counters are silent, with a message of the error handler', async () => {
    const counters = sharedCounters();
    const { limiter } = counters;
    for (const path of ['/issue', '/pin']) {
      const it = await site({ onError: flash, strategy: { limiter, secret: SECRET, storeTimeoutMs: 150 } });
      await it.post('/issue');
      counters.silence();
      const late = Promise.resolve(it.post(path, { pin: '000000' }));
      await new Promise((resolve) => setTimeout(resolve, 50));
      await it.post('/logout');
      expect((await late).headers['set-cookie'], path).toBeUndefined();
      await expectNobody(it);
      counters.heal();
    }
  });

  it('when express-session writes a message at the end of a request, and its store is slow', async () => {
    let isSlow = false;
    let writes = 0;
    class SlowStore extends session.MemoryStore {
      override set(...args: Parameters<session.MemoryStore['set']>): void {
        if (isSlow) writes += 1;
        setTimeout(() => super.set(...args), isSlow ? 40 : 0);
      }
    }
    const store = new SlowStore();
    const it = await site({
      session: { store },
      check: { failureMessage: true, failureRedirect: '/' },
    });
    await it.post('/issue');
    const { id } = (await it.get('/me')).body;
    isSlow = true;
    const late = Promise.resolve(it.post('/pin', { pin: '000000' }));
    // The first is ours, with the count of attempts.
    await expect.poll(() => writes, { interval: 1 }).toBe(2);
    await new Promise((resolve) => store.destroy(id, resolve));
    await late;
    await expectNobody(it);
  });

  it('when a page that the guard refuses was slow to get there', async () => {
    const gate = createGate();
    const it = await site({
      session: { cookie: { maxAge: 60_000 } },
      before: [
        (req, _res, next) => {
          void (req.path === '/secret' ? gate.pass() : Promise.resolve()).then(() => next());
        },
      ],
    });
    const waiting = gate.shut();
    const late = Promise.resolve(it.get('/secret'));
    await waiting;
    await it.post('/logout');
    gate.open();
    const { status, headers } = await late;
    expect([status, headers.location, headers['set-cookie']]).toEqual([303, '/confirm', undefined]);
    await expectNobody(it);
  });

  it.each<[string, () => Promise<never>]>([
    ['rejects', () => Promise.reject(new Error('the database is down'))],
    ['never answers', () => new Promise(() => {})],
  ])('when verify %s', async (_what, end) => {
    const it: Site = await site({
      strategy: { verifyTimeoutMs: 100 },
      verify: async () => {
        await it.post('/logout');
        return end();
      },
    });
    await it.post('/issue');
    expect((await it.post('/pin', { pin: PIN })).status).toBe(500);
    await expectNobody(it);
  });

  it.each([
    ['the connection is lost', 'ECONNRESET'],
    ['a stream breaks', 'ERR_STREAM_PREMATURE_CLOSE'],
  ])('when verify fails, and so does the next look at the session: %s', async (_what, code) => {
    let isDown = false;
    class Failing extends session.MemoryStore {
      override get(...[id, callback]: Parameters<session.MemoryStore['get']>): void {
        if (isDown) setImmediate(() => callback(Object.assign(new Error('down'), { code })));
        else super.get(id, callback);
      }
    }
    for (const fails of ['verify', 'the store']) {
      const it: Site = await site({
        session: { store: new Failing() },
        onError: (error, req, res, next) => {
          isDown = false;
          return flash(error, req, res, next);
        },
        verify: async () => {
          await it.post('/logout');
          isDown = true;
          if (fails === 'verify') throw new Error('the database is down');
          return false;
        },
      });
      await it.post('/issue');
      expect((await it.post('/pin', { pin: PIN })).status).toBe(303);
      await expectNobody(it);
    }
  });

  it.each<[string, object]>([
    ['authorized', { assignProperty: 'account' }],
    ['authenticated without a session', { session: false }],
  ])('when the handler of a request that was %s is slow', async (_what, check) => {
    const it = await site({
      check,
      strategy: { recipient: undefined, subject: () => 'u1', countries: ['HR'] },
    });
    await it.post('/issue', { phone: PHONE });
    // The service first, the handler afterwards.
    const { status } = await it.overtaken(
      () => it.post('/pin', { pin: PIN }),
      async () => {
        const handler = it.gate.shut();
        it.gate.open();
        await handler;
        await it.post('/logout');
      },
    );
    expect(status).toBe(200);
    await expectNobody(it);
  });

  it('when the guard has waited for the serializer, and would write the way back', async () => {
    const it = await site();
    serializeBy(it, () => it.gate.pass());
    const { status, headers } = await it.overtaken(
      () => it.get('/secret'),
      () => it.post('/logout'),
    );
    expect([status, headers.location]).toEqual([303, '/confirm']);
    await expectNobody(it);
    // Who is still there gets a way back.
    const other = await site();
    serializeBy(other, () => new Promise((resolve) => setTimeout(resolve, 5)));
    expect((await other.get('/secret')).status).toBe(303);
    expect((await other.get('/me')).body.session.returnTo).toBe('/secret');
  });
});

it('whoever is still there keeps the session when the service fails, with what the error handler writes', async () => {
  for (const path of ['/issue', '/pin']) {
    const it = await site({ onError: flash });
    await it.post('/note', { note: 'mine' });
    if (path === '/pin') await it.post('/issue');
    it.fail();
    expect((await it.post(path, { pin: '000000' })).status).toBe(303);
    const { user, session: kept } = (await it.get('/me')).body;
    expect(user).toMatchObject({ id: 'u1' });
    expect([kept.note, kept.messages]).toEqual(['mine', ['Something went wrong']]);
  }
});

it.each<[string, SiteOptions]>([
  ['the send fails, and the cookie is sent anew', { session: ROLLING }],
  ['the send fails, and the cookie has an end', { session: { cookie: { maxAge: 60_000 } } }],
])('a login in another tab keeps its cookie when %s', async (_what, options) => {
  const it = await site(options);
  const { headers } = await it.overtaken(
    () => it.post('/issue'),
    async () => {
      it.fail();
      const { headers } = await it.post('/password', { id: 'u2' });
      expect(headers['set-cookie']).toHaveLength(1);
    },
  );
  expect(headers['set-cookie']).toBeUndefined();
});

it.each([{ session: false }, { assignProperty: 'account' }])(
  'a login in another tab keeps its cookie when a right PIN comes late (%j)',
  async (check) => {
    const gate = createGate();
    const host = createHost(fakeClient(), {
      session: ROLLING,
      phases: { check },
      verify: async () => {
        await gate.pass();
        return { id: 'u1' };
      },
    });
    const browser = host.browser(await serve(host));
    await browser.issue();
    const { id } = (await browser.get('/me')).body;
    const waiting = gate.shut();
    const late = Promise.resolve(browser.check());
    await waiting;
    // As the login in the other tab does it.
    await new Promise((resolve) => host.store.destroy(id, resolve));
    gate.open();
    const { status, headers } = await late;
    expect([status, headers['set-cookie']]).toEqual([401, undefined]);
  },
);

it.each<[string, object]>([
  ['a login', {}],
  ['a login that keeps the session', { keepSessionInfo: true }],
  ['no session', { session: false }],
  ['an account that is authorized', { assignProperty: 'account' }],
])(
  'what another request has written to the session meanwhile stays after a right PIN, with %s',
  async (what, check) => {
    const it = await site({ check });
    await it.post('/note', { note: 'sudo' });
    await it.post('/issue');
    const waiting = it.gate.shut();
    const late = Promise.resolve(it.post('/pin', { pin: PIN }));
    await waiting;
    await it.post('/note', { note: 'no more' });
    it.gate.open();
    const { status, headers } = await late;
    expect(status).toBe(200);
    const cookie = headers['set-cookie'] ? String(headers['set-cookie']).split(';')[0] : undefined;
    const me = await (cookie ? request(it.at).get('/me').set('Cookie', cookie) : it.get('/me'));
    expect(me.body.user).toMatchObject({ id: 'u1' });
    expect(me.body.session.note).toBe(what === 'a login' ? undefined : 'no more');
  },
);

it('a proof is not written for whom verify has signed in instead of its user', async () => {
  const it: Site = await site({
    check: { assignProperty: 'account' },
    verify: async ({ req }) => {
      const logIn = Reflect.get(req, 'logIn') as (user: unknown, done: (error?: unknown) => void) => void;
      await new Promise((resolve) => logIn.call(req, it.host.users.get('u2'), resolve));
      return it.host.users.get('u1') ?? false;
    },
  });
  await it.post('/issue');
  const { headers } = await it.post('/pin', { pin: PIN });
  const ask = (path: string) =>
    request(it.at)
      .get(path)
      .set('Cookie', String(headers['set-cookie']).split(';')[0] ?? '');
  expect((await ask('/me')).body.user).toMatchObject({ id: 'u2' });
  expect((await ask('/secret')).status).toBe(303);
});

it('what the host has written in the same request stays, whatever the PIN', async () => {
  const it = await site({
    before: [
      (req, _res, next) => {
        if (req.path === '/pin')
          Object.assign(req.session, { tries: Number(Reflect.get(req.session, 'tries') ?? 0) + 1 });
        next();
      },
    ],
    check: { keepSessionInfo: true, session: false },
  });
  await it.post('/issue');
  for (const [pin, tries] of [
    ['000000', 1],
    ['nonsense', 2],
    ['000001', 3],
    [PIN, 4],
  ] as const) {
    await it.post('/pin', { pin });
    expect((await it.get('/me')).body.session.tries, pin).toBe(tries);
  }
});

it('what another request has written to the session meanwhile stays', async () => {
  const it = await site();
  await it.post('/note', { note: 'sudo' });
  for (const [path, pin] of [
    ['/issue', ''],
    ['/pin', '000000'],
  ] as const) {
    const { status } = await it.overtaken(
      () => it.post(path, { pin }),
      () => it.post('/note', { note: `changed during ${path}` }),
    );
    expect([202, 401]).toContain(status);
    const { session: kept } = (await it.get('/me')).body;
    expect(kept.note).toBe(`changed during ${path}`);
  }
});

it.each<[string, SiteOptions, () => Promise<false>]>([
  ['refuses the user', {}, async () => false],
  [
    'refuses the user, with a message',
    { check: { failureMessage: true, failureRedirect: '/' } },
    async () => false,
  ],
  ['fails', {}, () => Promise.reject(new Error('the database is down'))],
])(
  'what another request has written to a session of nobody’s stays where verify %s',
  async (_what, options, end) => {
    const gate = createGate();
    const host = createHost(fakeClient(), {
      phases: { check: options.check ? { ...options.check } : {} },
      routes: (app) =>
        app.post('/note', (req, res) => {
          Object.assign(req.session, req.body);
          for (const key of ['gone']) if (req.body.drop) Reflect.deleteProperty(req.session, key);
          res.end();
        }),
      verify: async () => {
        await gate.pass();
        return end();
      },
    });
    const browser = host.browser(await serve(host));
    await browser.post('/note', { cart: '1', gone: '1' });
    await browser.issue();
    const waiting = gate.shut();
    const late = Promise.resolve(browser.check());
    await waiting;
    await browser.post('/note', { cart: '2', added: '1', drop: '1' });
    gate.open();
    await late;
    const { session: kept } = (await browser.get('/me')).body;
    expect([kept.cart, kept.added, kept.gone]).toEqual(['2', '1', undefined]);
    // The PIN was right and is used up.
    expect((await browser.get('/challenge')).body).toBeNull();
  },
);

it.each([
  ['a PIN is on its way already', 202, { phoneNumber: PHONE, subject: 'u1' }],
  ['there is no recipient', 403, null],
])(
  'what others have written stays, and a used PIN is used, when a late request ends because %s',
  async (_what, status, found) => {
    const atLoad = createGate();
    const atLook = createGate();
    let recipient: { phoneNumber: string; subject: string } | null = { phoneNumber: PHONE, subject: 'u1' };
    const it = await site({
      check: { assignProperty: 'account' },
      before: [
        (req, _res, next) =>
          void (req.path === '/issue' ? atLoad.pass() : Promise.resolve()).then(() => next()),
      ],
      strategy: {
        recipient: async ({ user }) => {
          const now = user ? recipient : null;
          await atLook.pass();
          return now;
        },
      },
    });
    await it.post('/issue');
    const loaded = atLoad.shut();
    recipient = found;
    const late = Promise.resolve(it.post('/issue'));
    await loaded;
    // So the session differs from what express-session has read, and is written at the end.
    recipient = { phoneNumber: PHONE, subject: 'u1' };
    await it.post('/pin', { pin: '000000' });
    recipient = found;
    const looks = atLook.shut();
    atLoad.open();
    await looks;
    recipient = { phoneNumber: PHONE, subject: 'u1' };
    await it.post('/note', { note: 'theirs' });
    expect((await it.post('/pin', { pin: PIN })).status).toBe(200);
    atLook.open();
    expect((await late).status).toBe(status === 202 ? 202 : 403);
    expect((await it.get('/secret')).status).toBe(200);
    const { session: kept } = (await it.get('/me')).body;
    expect(kept.note).toBe('theirs');
    if (status === 403) expect(kept.smsOtp.challenges).toBeUndefined();
  },
);

it('a PIN that was sent while the guard was asked is right all the same', async () => {
  const host = createHost(fakeClient(), {
    strategy: { signedIn: true, recipient: () => ({ phoneNumber: PHONE, subject: 'u1' }) },
    verify: async () => ({ id: 'u1' }),
    routes(app) {
      app.post('/password', (req, res, next) => {
        req.logIn({ id: 'u1' } as Express.User, (error: unknown) => (error ? next(error) : res.end()));
      });
      app.get(
        '/secret',
        (_req, _res, next) => void gate.pass().then(() => next()),
        requireSmsOtp({ redirectTo: '/confirm' }) as never,
      );
    },
  });
  const gate = createGate();
  host.users.set('u1', { id: 'u1', phoneNumber: PHONE });
  const browser = host.browser(await serve(host));
  await browser.post('/password');
  const waiting = gate.shut();
  const late = Promise.resolve(browser.get('/secret').set('Accept', 'text/html'));
  await waiting;
  expect((await browser.issue()).status).toBe(202);
  gate.open();
  expect((await late).status).toBe(303);
  expect((await browser.get('/me')).body.session.returnTo).toBe('/secret');
  expect((await browser.check()).status).toBe(200);
});

describe('two strategies', () => {
  async function both(client = fakeClient(), slowClient = client) {
    const host = createHost(client, {
      routes(app, { passport }) {
        const shared = { applicationId: 'APP', messageId: 'MSG', countries: ['HR'] as ['HR'] };
        passport.use(
          new SmsOtpStrategy({ client: slowClient, name: 'two', ...shared }, async () => ({ id: 'two' })),
        );
        app.get('/begin', (req, res) => {
          Object.assign(req.session, { begun: true });
          res.end();
        });
        app.post('/two', passport.authenticate('two', { phase: 'issue' } as object));
        app.post('/both', passport.authenticate(['sms-otp', 'two'], { phase: 'issue' } as object));
      },
    });
    const browser = host.browser(await serve(host));
    await browser.get('/begin');
    return { host, browser };
  }

  it('whose PINs are sent at the same time in one session keep both challenges', async () => {
    const client = fakeClient();
    const gate = createGate();
    const { browser } = await both(client, {
      ...client,
      async sendPin(asked) {
        await gate.pass();
        return client.sendPin(asked);
      },
    });
    const waiting = gate.shut();
    const late = Promise.resolve(browser.post('/two', { phone: PHONE }));
    await waiting;
    expect((await browser.issue()).status).toBe(202);
    gate.open();
    expect((await late).status).toBe(202);
    expect((await browser.check()).status).toBe(200);
  });

  it('of one route send one PIN, and the host is told', async () => {
    const client = fakeClient();
    const { host, browser } = await both(client);
    expect((await browser.post('/both', { phone: PHONE })).status).toBe(500);
    expect(client.sends).toHaveLength(1);
    expect(String(host.errors[0])).toContain('a route of its own');
    // Where the first one has not sent, the second may.
    expect((await browser.post('/both', { phone: 'nonsense' })).status).toBe(400);
  });
});
