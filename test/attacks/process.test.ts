/** What would take the process down: everything that the host's functions may do behind our back. */

import { createHash } from 'node:crypto';
import express, { type ErrorRequestHandler, type Request } from 'express';
import session from 'express-session';
import { requireSmsOtp, type SmsOtpEvent } from 'passport-sms-otp';
import { describe, expect, it, vi } from 'vitest';
import { expectNoUnhandledRejection, noteUncaught } from '../support/calm.js';
import { createGate } from '../support/gate.js';
import {
  createHost,
  earlyAnswer,
  fakeClient,
  type LooseOptions,
  OTHER_PHONE,
  PHONE,
  PIN,
  serve,
} from '../support/host.js';
import { SECRET, sharedCounters } from '../support/limiters.js';

expectNoUnhandledRejection();

const down = (what: string) => Promise.reject(new Error(`${what} is down`));

it('an audit log that fails later does not end the process', async () => {
  const seen: SmsOtpEvent[] = [];
  // Written as many hosts write it: TypeScript takes an async function where nothing is to be returned.
  const onEvent = async (event: SmsOtpEvent) => {
    seen.push(event);
    await down('the audit log');
  };
  const browser = createHost(fakeClient(), { strategy: { onEvent } }).browser();
  expect((await browser.issue()).status).toBe(202);
  expect((await browser.check('000000')).status).toBe(401);
  expect((await browser.check()).status).toBe(200);
  expect(seen.map(({ type }) => type)).toEqual(['pin.sent', 'pin.rejected', 'pin.verified']);
});

it.each<[string, LooseOptions, number]>([
  ['onEvent', { onEvent: () => down('a promise where nothing is wanted') as never }, 202],
  ['messages', { messages: () => down('a promise where a text is wanted') as never }, 202],
  ['messageId', { messageId: () => down('a promise where an id is wanted') as never }, 500],
  ['clientKey', { clientKey: () => down('a promise where a key is wanted') as never }, 500],
  ['recipient', { recipient: () => down('the resolver') }, 500],
  ['subject', { subject: () => down('the resolver') }, 500],
  ['beforeSend', { beforeSend: () => down('the fraud score') }, 500],
  ['canReceivePin', { canReceivePin: () => down('the look-up') }, 500],
  ['knownBrowser', { knownBrowser: () => down('the look-up') }, 500],
  ['placeholders', { placeholders: () => down('the text') }, 500],
])('an async %s that rejects ends in an answer and not the process', async (_option, strategy, status) => {
  const client = fakeClient();
  const host = createHost(client, { strategy });
  expect((await host.browser().issue()).status).toBe(status);
  expect(client.sends).toHaveLength(status === 202 ? 1 : 0);
});

it('a verify that calls back, then rejects, long after its answer, ends in the first of them', async () => {
  const rejected = vi.fn();
  const host = createHost(fakeClient(), {
    verify: async (_proof, done) => {
      done(null, false, 'not you');
      await new Promise((resolve) => setTimeout(resolve, 10));
      rejected();
      throw new Error('too late');
    },
  });
  const browser = host.browser();
  await browser.issue();
  const { status, body } = await browser.check(PIN);
  expect(status).toBe(401);
  expect(body.outcome).toMatchObject({ code: 'user_refused', message: 'not you' });
  await vi.waitFor(() => expect(rejected).toHaveBeenCalled());
});

it.each<[string, unknown]>([
  ['nothing', undefined],
  ['null', null],
  ['a text', 'down'],
  ["Passport's word for the next route", 'route'],
  ["Express's word for the next router", 'router'],
  ['an object without a prototype', Object.create(null)],
])('a client that throws %s ends in an error of ours, and nobody passes', async (_what, thrown) => {
  const client = fakeClient();
  client.onSend = () => Promise.reject(thrown);
  const host = createHost(client);
  const { status, body } = await host.browser().issue();
  expect(status).toBe(503);
  expect(body.error.code).toBe('ERR_SMS_OTP_SERVICE');
  expect(host.errors).toEqual([expect.any(Error)]);
});

it('a limiter that answers nonsense, or throws at once, grants nothing', async () => {
  for (const consume of [
    () => {
      throw new Error('not even a promise');
    },
    async () => undefined,
    async () => ({}),
    () => down('the store'),
    () => Promise.reject('down'),
    () => Promise.reject({ msBeforeNext: 'soon' }),
  ]) {
    const client = fakeClient();
    const other = async () => null;
    const limiter = () => ({ consume, reward: other, get: other, delete: async () => true }) as never;
    const host = createHost(client, { strategy: { limiter, secret: 's'.repeat(32) } });
    const { status } = await host.browser().issue();
    expect(status, String(consume)).toBeGreaterThanOrEqual(500);
    expect(client.sends).toHaveLength(0);
  }
});

it.each(['throws at once', 'throws from its timer', 'is missing'])(
  'a limiter of which one method fails while another %s does not end the process',
  async (how) => {
    const thrown = noteUncaught();
    const counters = sharedCounters();
    let isDown = false;
    const limiter: LooseOptions['limiter'] = (options) => {
      const real = counters.limiter(options);
      return {
        consume: (key, points) => {
          if (!isDown || how !== 'throws from its timer') return real.consume(key, points);
          // A promise of another kind, whose handlers nobody watches over.
          const then = (_resolve: unknown, reject: (error: Error) => void) =>
            void setTimeout(() => reject(new Error('closed')), 1);
          return { then } as never;
        },
        reward: (key, points) => real.reward(key, points),
        get: (key) => {
          if (isDown && options.purpose === 'claim') return fail();
          return isDown ? Promise.reject(new Error('closed')) : real.get(key);
        },
        delete: (key) => {
          if (isDown) return fail();
          return real.delete(key);
        },
        ...(how === 'is missing' && { delete: undefined as never }),
      };
    };
    const fail = (): never => {
      throw new Error('The client is closed');
    };
    const client = fakeClient();
    const verify = client.onVerify;
    const host = createHost(client, { strategy: { limiter, secret: SECRET } });
    for (const downFrom of ['the check', 'the answer']) {
      isDown = false;
      const visitor = host.browser(await serve(host));
      await visitor.issue(downFrom === 'the check' ? PHONE : OTHER_PHONE);
      isDown = downFrom === 'the check';
      client.onVerify = async (...asked) => {
        isDown = true;
        return verify(...asked);
      };
      expect([200, 500, 503], downFrom).toContain((await visitor.check()).status);
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(thrown).toEqual([]);
  },
);

it('a dead challenge makes no counter grow, whoever types into it', async () => {
  const counters = sharedCounters();
  let address = 0;
  const client = fakeClient();
  const host = createHost(client, {
    strategy: { limiter: counters.limiter, secret: SECRET, clientKey: () => `client ${address++}` },
  });
  const browser = host.browser(await serve(host));
  await browser.issue();
  const cookie = browser.agent.jar.getCookies({
    path: '/',
    domain: '127.0.0.1',
    secure: false,
    script: false,
  });
  const race = Array.from({ length: 5 }, () => browser.check('000000'));
  await Promise.all(race);
  const before = counters.calls.get('budget consume');
  for (let index = 0; index < 50; index += 1) {
    await host.browser().post('/login/pin', { pin: '000000' }, { Cookie: cookie.toValueString() });
  }
  expect(counters.calls.get('budget consume')).toBe(before);
  expect(client.checks).toHaveLength(5);
});

/** A store whose every answer but a request's first comes late. */
class LateStore extends session.MemoryStore {
  lateMs = 0;
  answer: 'right' | 'gone' | 'error' = 'right';
  #reads = 0;

  start(lateMs: number, answer: LateStore['answer']): void {
    Object.assign(this, { lateMs, answer });
    this.#reads = 0;
  }

  override get(id: string, callback: Parameters<session.MemoryStore['get']>[1]): void {
    this.#reads += 1;
    if (this.lateMs === 0 || this.#reads === 1) {
      super.get(id, callback);
      return;
    }
    setTimeout(() => {
      if (this.answer === 'right') super.get(id, callback);
      else callback(this.answer === 'error' ? new Error('the connection was lost') : null);
    }, this.lateMs);
  }
}

it.each(['right', 'gone', 'error'] as const)(
  'a session store whose answer comes after its time, and then is %s, ends in 503 and not the process',
  async (answer) => {
    const thrown = noteUncaught();
    const store = new LateStore();
    const client = fakeClient();
    const host = createHost(client, { session: { store }, strategy: { storeTimeoutMs: 40 } });
    const at = await serve(host);
    for (const act of ['issue', 'resend', 'check'] as const) {
      const visitor = host.browser(at);
      await visitor.issue(`+3859112345${['issue', 'resend', 'check'].indexOf(act)}7`);
      store.start(80, answer);
      const { status } = await (act === 'check' ? visitor.check('000000') : visitor[act]());
      expect([429, 503], act).toContain(status);
      await new Promise((resolve) => setTimeout(resolve, 100));
      store.start(0, 'right');
    }
    expect(thrown).toEqual([]);
  },
);

it('where all stores are silent, the visitor waits for one of them', async () => {
  const store = new LateStore();
  const counters = sharedCounters();
  const { limiter } = counters;
  const strategy = { limiter, secret: SECRET, storeTimeoutMs: 400 };
  const host = createHost(fakeClient(), { session: { store }, strategy });
  const visitor = host.browser(await serve(host));
  await visitor.issue();
  counters.silence();
  store.start(100_000, 'right');
  const started = performance.now();
  expect((await visitor.check('000000')).status).toBe(503);
  expect(performance.now() - started).toBeLessThan(750);
});

it.each([
  ['set', 'throws'],
  ['destroy', 'throws'],
  ['set', 'says so'],
  ['destroy', 'says so'],
] as const)(
  'a session store that throws where it should answer, or fails once (%s), logs nobody in, and the browser can go on',
  async (method, fails) => {
    const store = new session.MemoryStore();
    const original = Reflect.get(store, method);
    let isDown = false;
    Reflect.set(store, method, (...args: unknown[]) => {
      if (!isDown) return Reflect.apply(original, store, args);
      // Once: express-session writes for itself at the end of the request.
      isDown = false;
      const down = new Error('the store is down');
      if (fails === 'throws') throw down;
      (args.at(-1) as (error: Error) => void)(down);
    });
    const client = fakeClient();
    const host = createHost(client, { session: { store } });
    const visitor = host.browser(await serve(host));
    await visitor.issue();
    const verify = client.onVerify;
    client.onVerify = async (...asked) => {
      isDown = true;
      return verify(...asked);
    };
    expect((await visitor.check()).status).toBe(500);
    expect((await visitor.get('/me')).body.user).toBeNull();
    client.onVerify = verify;
    expect((await visitor.issue(OTHER_PHONE)).status).toBe(202);
    expect((await visitor.check()).status).toBe(200);
  },
);

it('a session store that can be read and not written logs nobody in, sends nothing and forgets no attempt', async () => {
  let isReadOnly = false;
  class ReadOnlyStore extends session.MemoryStore {
    override set(...[id, data, callback]: Parameters<session.MemoryStore['set']>): void {
      if (isReadOnly) setImmediate(() => callback?.(new Error('READONLY')));
      else super.set(id, data, callback);
    }
  }
  const client = fakeClient();
  const host = createHost(client, {
    session: { store: new ReadOnlyStore() },
    strategy: { attempts: 3, budgets: { sendsPerNumber: null } },
  });
  const visitor = host.browser(await serve(host));
  await visitor.issue();
  isReadOnly = true;
  for (const act of [visitor.check('000000'), visitor.resend(), visitor.issue(OTHER_PHONE)]) {
    expect((await act).status).toBe(503);
  }
  expect((await visitor.check()).status).toBe(500);
  expect((await visitor.get('/me')).body.user).toBeNull();
  expect([client.sends.length, client.resends.length]).toEqual([1, 0]);
  isReadOnly = false;
  // That PIN was right: it works once, whatever came of it.
  expect((await visitor.check()).body.outcome.code).toBe('no_challenge');
  await visitor.issue(OTHER_PHONE);
  isReadOnly = true;
  for (const left of [2, 1]) {
    expect((await visitor.check('000000')).status, `${left} left`).toBe(503);
  }
  isReadOnly = false;
  expect((await visitor.check('000000')).body.outcome.code).toBe('attempts_exhausted');
  expect(client.checks).toHaveLength(5);
});

it('a form that is kept in the session with a field called like a method of all objects is in nobody’s way', async () => {
  const client = fakeClient();
  const host = createHost(client, {
    parsers: [express.urlencoded({ extended: false }), express.json()],
    routes: (app) =>
      app.post('/draft', (req, res) => {
        Object.assign(req.session, { draft: req.body });
        res.end();
      }),
  });
  const visitor = host.browser(await serve(host));
  await visitor.post('/draft', 'title=Hello&toString=x&valueOf=x&hasOwnProperty=x&then=x');
  expect((await visitor.issue()).status).toBe(202);
  expect((await visitor.check('000000')).status).toBe(401);
  expect((await visitor.check()).status).toBe(200);
});

it.each([undefined, null, 0, '', false])(
  'a session store that throws %j instead of an error logs nobody in',
  async (thrown) => {
    for (const method of ['set', 'destroy'] as const) {
      const store = new session.MemoryStore();
      const original = Reflect.get(store, method);
      let isBroken = false;
      Reflect.set(store, method, (...args: unknown[]) => {
        if (!isBroken) return Reflect.apply(original, store, args);
        isBroken = false;
        throw thrown;
      });
      const client = fakeClient();
      const host = createHost(client, { session: { store } });
      const visitor = host.browser(await serve(host));
      await visitor.issue();
      const verify = client.onVerify;
      client.onVerify = async (...asked) => {
        isBroken = true;
        return verify(...asked);
      };
      expect((await visitor.check()).status, method).toBe(500);
      expect((await visitor.get('/me')).body.user, method).toBeNull();
    }
  },
);

it.each(['never', 'late'])(
  'a serializer that answers a login %s ends it, and nobody is signed in',
  async (answers) => {
    const thrown = noteUncaught();
    let users = 0;
    const store = new session.MemoryStore();
    const host = createHost(fakeClient(), { session: { store }, strategy: { verifyTimeoutMs: 50 } });
    const serializers: unknown[] = Reflect.get(host.passport, '_serializers');
    serializers.unshift((user: object, done: (error: null, id: unknown) => void) => {
      users += 1;
      if (answers === 'late') setTimeout(() => done(null, Reflect.get(user, 'id')), 100);
    });
    const visitor = host.browser(await serve(host));
    await visitor.issue();
    const { status, body, headers } = await visitor.check().timeout(5_000);
    expect([status, body.error.code]).toEqual([500, 'ERR_SMS_OTP_HOST']);
    expect(headers['set-cookie']).toBeUndefined();
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect((await visitor.get('/me')).body.user).toBeNull();
    const sessions = await new Promise<unknown>((resolve) => store.all((_error, all) => resolve(all)));
    expect(JSON.stringify(sessions)).not.toContain('passport');
    expect([users, host.errors.length, thrown]).toEqual([1, 1, []]);
  },
);

it.each(['callback', 'async'])(
  'a serializer (%s) that answers once the host has ended the session does not end the process',
  async (kind) => {
    const thrown = noteUncaught();
    for (const end of ['destroy', 'null', 'regenerate'] as const) {
      const host = createHost(fakeClient(), {
        strategy: { verifyTimeoutMs: 30 },
        routes: (app, { passport }) => {
          app.post('/pin', passport.authenticate('sms-otp', { phase: 'check' } as object));
          app.use(((_error, req, res, _next) => {
            const answer = () => setTimeout(() => res.status(500).end(), end === 'regenerate' ? 60 : 0);
            if (end === 'null') Reflect.set(req, 'session', null);
            if (end === 'null') answer();
            else req.session[end](answer);
          }) satisfies ErrorRequestHandler);
        },
      });
      const serializers: unknown[] = Reflect.get(host.passport, '_serializers');
      const slow = (user: object, done: (error: null, id: unknown) => void) =>
        void setTimeout(() => done(null, Reflect.get(user, 'id')), 60);
      serializers.unshift(
        kind === 'callback'
          ? slow
          : async (user: object, done: (error: null, id: unknown) => void) => {
              await new Promise((resolve) => setTimeout(resolve, 60));
              done(null, Reflect.get(user, 'id'));
            },
      );
      const visitor = host.browser(await serve(host));
      await visitor.issue();
      expect((await visitor.post('/pin', { pin: PIN })).status, end).toBe(500);
      await new Promise((resolve) => setTimeout(resolve, 60));
      expect((await visitor.get('/me')).body.user, end).toBeNull();
    }
    expect(thrown).toEqual([]);
  },
);

it.each<[string, (req: Request, answer: () => void) => void]>([
  ['destroy', (req, answer) => void req.session.destroy(answer)],
  ['regenerate', (req, answer) => void req.session.regenerate(answer)],
  ['logout', (req, answer) => req.logout(answer)],
  [
    'null',
    (req, answer) => {
      Reflect.set(req, 'session', null);
      answer();
    },
  ],
])(
  'a time limit of the host that ends the session (%s) during a login does not end the process',
  async (_how, end) => {
    const thrown = noteUncaught();
    for (const isAnswered of [true, false]) {
      let limit: () => void = () => undefined;
      const store = new session.MemoryStore();
      const host = createHost(fakeClient(), {
        session: { store },
        before: [
          (req, res, next) => {
            const answer = () => isAnswered && res.status(503).end();
            limit = () => end(req as Request, answer);
            next();
          },
        ],
        routes: (app, { passport }) => {
          const options: object = { phase: 'check', successRedirect: '/' };
          app.post('/pin', passport.authenticate('sms-otp', options));
        },
      });
      const serializers: unknown[] = Reflect.get(host.passport, '_serializers');
      serializers.unshift((_user: object, done: (error: null, id: unknown) => void) => {
        limit();
        setTimeout(() => done(null, 'u1'), 40);
      });
      const visitor = host.browser(await serve(host));
      await visitor.issue();
      expect((await visitor.post('/pin', { pin: PIN })).status).toBe(isAnswered ? 503 : 500);
      await expect.poll(() => host.errors.length).toBe(1);
      expect(host.errors[0]).toMatchObject({
        code: isAnswered ? 'ERR_SMS_OTP_HOST' : 'ERR_SMS_OTP_SESSION',
      });
      expect((await visitor.get('/me')).body.user).toBeNull();
      const sessions = await new Promise<unknown>((resolve) => store.all((_error, all) => resolve(all)));
      expect(JSON.stringify(sessions)).not.toContain('passport');
    }
    expect(thrown).toEqual([]);
  },
);

it('an access log that hashes the session id finds one on every request, and no lost session gets a cookie', async () => {
  const thrown = noteUncaught();
  const log: string[] = [];
  const host = createHost(fakeClient(), {
    authenticate: { failureMessage: true },
    before: [
      (req, res, next) => {
        res.on('finish', () => {
          log.push(createHash('sha256').update(req.sessionID).digest('hex'));
        });
        next();
      },
    ],
    routes: (app) => {
      app.post('/logout', (req, res, next) => {
        req.logout((error: unknown) => (error ? next(error) : res.end()));
      });
    },
  });
  const at = await serve(host);
  const visitor = host.browser(at);
  const issued = await visitor.issue();
  const Cookie = String(issued.get('Set-Cookie')?.[0]?.split(';')[0]);
  // Two clicks on the right PIN, and the old session's cookie a moment later.
  const again = () => host.browser(at).post('/login/pin', { pin: PIN }, { Cookie });
  const clicks = await Promise.all([again(), again()]);
  const late = await again();
  const losers = [...clicks.filter(({ status }) => status !== 200), late];
  expect(losers.map(({ status, headers }) => [status, headers['set-cookie']])).toEqual([
    [401, undefined],
    [401, undefined],
  ]);
  expect((await visitor.post('/logout')).status).toBe(200);
  expect(log).toHaveLength(5);
  expect(thrown).toEqual([]);
});

it('a genid that fails while a late session store is given up ends in an answer, and the process goes on', async () => {
  const thrown = noteUncaught();
  let reads = Number.NEGATIVE_INFINITY;
  class Late extends session.MemoryStore {
    override get(...[id, callback]: Parameters<session.MemoryStore['get']>): void {
      reads += 1;
      // Express-session has read it; our own look is never answered.
      if (reads !== 2) super.get(id, callback);
    }
  }
  const host = createHost(fakeClient(), {
    session: {
      store: new Late(),
      genid: () => {
        if (reads > 0) throw new Error('no more random numbers');
        return `${Math.random()}`;
      },
    },
    strategy: { storeTimeoutMs: 50 },
  });
  const browser = host.browser(await serve(host));
  await browser.issue();
  reads = 0;
  expect((await browser.post('/login/pin', { pin: PIN })).status).toBe(503);
  expect(thrown).toEqual([]);
});

it('a log that reads the session of a guarded page finds one, also where a sign-out has overtaken it', async () => {
  const store = new session.MemoryStore();
  const sessions: unknown[] = [];
  const host = createHost(fakeClient(), {
    session: { store },
    before: [
      (req, res, next) => {
        res.on('finish', () => sessions.push(req.session));
        next();
      },
    ],
    routes(app) {
      app.post('/password', (req, res, next) => {
        req.logIn({ id: 'u1' } as Express.User, (error: unknown) => (error ? next(error) : res.end()));
      });
      app.post('/logout', (req, res, next) => {
        req.logout((error: unknown) => (error ? next(error) : res.end()));
      });
      app.get('/secret', requireSmsOtp({ redirectTo: '/confirm' }) as never);
    },
  });
  host.users.set('u1', { id: 'u1', phoneNumber: '' });
  const visitor = host.browser(await serve(host));
  await visitor.post('/password');
  const gate = createGate();
  const get = store.get.bind(store);
  // The guard looks whether the session lives still.
  let reads = 0;
  store.get = (...args) => {
    reads += 1;
    if (reads === 2) void gate.pass().then(() => get(...args));
    else get(...args);
  };
  const isLooking = gate.shut();
  const guarded = visitor
    .get('/secret')
    .set('Accept', 'text/html')
    .then((answer) => answer);
  await isLooking;
  expect((await visitor.post('/logout')).status).toBe(200);
  gate.open();
  const { status, headers } = await guarded;
  expect([status, headers['set-cookie']]).toEqual([303, undefined]);
  expect(sessions).toHaveLength(3);
  for (const found of sessions) expect(found).toHaveProperty('cookie');
});

it('a host that answers while its own functions run sends no PIN, and costs no budget', async () => {
  const client = fakeClient();
  const { before, answer } = earlyAnswer();
  let isSlow = true;
  const host = createHost(client, {
    before,
    strategy: {
      beforeSend: async () => {
        if (isSlow) answer();
        isSlow = false;
        return true;
      },
    },
  });
  const visitor = host.browser(await serve(host));
  expect((await visitor.issue()).status).toBe(503);
  await expect.poll(() => host.errors.length).toBe(1);
  expect(client.sends).toEqual([]);
  expect((await visitor.issue()).status).toBe(202);
  expect((await visitor.check()).status).toBe(200);
});

it('a guard whose request the host has answered meanwhile leaves it at that', async () => {
  const thrown = noteUncaught();
  for (const guarded of ['/secret', '/first']) {
    const { before, answer } = earlyAnswer();
    const host = createHost(fakeClient(), {
      before,
      routes(app) {
        const guard = requireSmsOtp({ redirectTo: '/confirm' }) as never;
        app.post('/password', (req, res, next) => {
          req.logIn({ id: 'u1' } as Express.User, (error: unknown) => (error ? next(error) : res.end()));
        });
        app.get('/secret', guard);
        // A browser that is remembered is signed in on the way.
        app.get('/first', (req, _res, next) => req.logIn({ id: 'u1' } as Express.User, next), guard);
      },
    });
    host.users.set('u1', { id: 'u1', phoneNumber: '' });
    const visitor = host.browser(await serve(host));
    if (guarded === '/secret') await visitor.post('/password');
    let calls = 0;
    const serializers: unknown[] = Reflect.get(host.passport, '_serializers');
    serializers.unshift((user: object, done: (error: null, id: unknown) => void) => {
      calls += 1;
      if (calls === (guarded === '/secret' ? 1 : 2)) answer();
      setTimeout(() => done(null, Reflect.get(user, 'id')), 5);
    });
    expect((await visitor.get(guarded).set('Accept', 'text/html')).status, guarded).toBe(503);
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(host.errors, guarded).toEqual([]);
  }
  expect(thrown).toEqual([]);
});

it('a host that throws once somebody is logged in gets its error, also where the store answers at once', async () => {
  const sessions = new Map<string, string>();
  class PromptStore extends session.Store {
    override get(id: string, callback: (error: unknown, found?: session.SessionData) => void): void {
      const found = sessions.get(id);
      callback(null, found === undefined ? undefined : JSON.parse(found));
    }
    override set(id: string, data: session.SessionData, callback?: (error?: unknown) => void): void {
      sessions.set(id, JSON.stringify(data));
      callback?.();
    }
    override destroy(id: string, callback?: (error?: unknown) => void): void {
      sessions.delete(id);
      callback?.();
    }
  }
  const user = {
    id: 'u1',
    toJSON() {
      throw new Error('no page for this user');
    },
  };
  const host = createHost(fakeClient(), { session: { store: new PromptStore() }, verify: async () => user });
  const visitor = host.browser(await serve(host));
  await visitor.issue();
  const { status, body } = await visitor.check().timeout(5_000);
  expect([status, body.error.message]).toEqual([500, 'no page for this user']);
});

it('a request that the host has answered meanwhile ends, and the process goes on', async () => {
  for (const slow of ['the service', 'the serializer', 'the store']) {
    const thrown = noteUncaught();
    const client = fakeClient();
    const store = new session.MemoryStore();
    const { before, answer } = earlyAnswer();
    const host = createHost(client, {
      session: { store },
      before,
      routes: (app, { passport }) => {
        app.post(
          '/pin',
          passport.authenticate('sms-otp', { phase: 'check', successRedirect: '/' } as object),
        );
      },
    });
    const visitor = host.browser(await serve(host));
    await visitor.issue();
    const verify = client.onVerify;
    client.onVerify = async (...asked) => {
      if (slow === 'the service') answer();
      else if (slow === 'the serializer') {
        const serializers: unknown[] = Reflect.get(host.passport, '_serializers');
        serializers.unshift((_user: object, done: (error: unknown, id: unknown) => void) => {
          answer();
          setTimeout(() => done(null, 'u1'), 10);
        });
      } else {
        const set = store.set.bind(store);
        store.set = (...args) => {
          answer();
          set(...args);
        };
      }
      return verify(...asked);
    };
    expect((await visitor.post('/pin', { pin: PIN })).status, slow).toBe(503);
    await new Promise((resolve) => setTimeout(resolve, 30));
    // The answer that the host gave during the login had the cookie of the login.
    const { user } = (await visitor.get('/me')).body;
    expect(user === null, slow).toBe(slow !== 'the store');
    expect(thrown).toEqual([]);
    expect(host.errors.map(String)).toEqual([
      'SmsOtpError: The request had been answered before the login was done',
    ]);
  }
});

it.each<[string, LooseOptions]>([
  ['recipient', { recipient: () => new Promise(() => {}) }],
  ['subject', { subject: () => new Promise(() => {}) }],
  ['beforeSend', { beforeSend: () => new Promise(() => {}) }],
  ['canReceivePin', { canReceivePin: () => new Promise(() => {}) }],
  ['knownBrowser', { knownBrowser: () => new Promise(() => {}) }],
  ['placeholders', { placeholders: () => new Promise(() => {}) }],
])('%s that never answers ends in 500, and nothing is sent', async (option, strategy) => {
  const client = fakeClient();
  const host = createHost(client, { strategy: { verifyTimeoutMs: 50, ...strategy } });
  const { status, body } = await host.browser().issue();
  expect(status).toBe(500);
  expect(body.error).toEqual({
    code: 'ERR_SMS_OTP_HOST',
    message: `The option \`${option}\` has not answered after 50 ms`,
  });
  expect(client.sends).toEqual([]);
});

it('a serializer that saves the session itself, with or without a callback, ends in a login with its mark', async () => {
  for (const calls of ['without', 'with']) {
    const host = createHost(fakeClient(), {
      routes: (app) => app.get('/secret', requireSmsOtp() as never, (_req, res) => res.end()),
    });
    const serializers: unknown[] = Reflect.get(host.passport, '_serializers');
    serializers.unshift(
      (req: { session: session.Session }, user: object, done: (error: unknown, id: unknown) => void) => {
        const end = () => done(null, Reflect.get(user, 'id'));
        if (calls === 'with') req.session.save(end);
        else {
          req.session.save();
          end();
        }
      },
    );
    const visitor = host.browser(await serve(host));
    await visitor.issue();
    expect((await visitor.check()).status, calls).toBe(200);
    expect((await visitor.get('/secret')).status, calls).toBe(200);
  }
});

it('a store that gives the very object it was given keeps session and challenge', async () => {
  const sessions = new Map<string, session.SessionData>();
  class LiveStore extends session.Store {
    override get(id: string, callback: (error: unknown, found?: session.SessionData) => void): void {
      setImmediate(() => callback(null, sessions.get(id)));
    }
    override set(id: string, data: session.SessionData, callback?: () => void): void {
      sessions.set(id, data);
      setImmediate(() => callback?.());
    }
    override destroy(id: string, callback?: () => void): void {
      sessions.delete(id);
      setImmediate(() => callback?.());
    }
  }
  const host = createHost(fakeClient(), {
    session: { store: new LiveStore(), saveUninitialized: true },
    strategy: { budgets: { sendsPerNumber: null } },
  });
  const visitor = host.browser(await serve(host));
  await visitor.get('/me');
  expect((await visitor.issue()).status).toBe(202);
  expect((await visitor.check('000000')).status).toBe(401);
  expect((await visitor.resend()).status).toBe(202);
  expect((await visitor.check()).status).toBe(200);
});

describe('a host that takes the session off a request that waits', () => {
  /** A site whose session store takes its time, and which has a limit of its own for each request. */
  async function impatient(limitMs: number, path: string, strategy: LooseOptions = {}) {
    const store = new session.MemoryStore();
    for (const method of ['get', 'set', 'destroy'] as const) {
      const original = store[method].bind(store) as (...args: unknown[]) => void;
      store[method] = ((...args: unknown[]) => void setTimeout(() => original(...args), 40)) as never;
    }
    let isOn = false;
    const host = createHost(fakeClient(), {
      session: { store },
      strategy,
      before: [
        (req, res, next) => {
          if (isOn && req.path === path) {
            setTimeout(() => {
              Reflect.set(req, 'session', null);
              if (!res.headersSent) res.status(503).end();
            }, limitMs);
          }
          next();
        },
      ],
    });
    const visitor = host.browser(await serve(host));
    return {
      visitor,
      begin: () => {
        isOn = true;
      },
    };
  }

  it.each([10, 30, 50, 70, 90, 110, 130, 150, 170, 200, 250])(
    'ends neither it nor the process (%i ms)',
    async (ms) => {
      const thrown = noteUncaught();
      for (const path of ['/login', '/login/resend', '/login/pin']) {
        const between = { recipient: () => ({ phoneNumber: '+385911234567', subject: 'u1' }) };
        for (const strategy of path === '/login' ? [{}, between] : [{}]) {
          const { visitor, begin } = await impatient(ms, path, {
            budgets: { sendsPerNumber: null },
            ...strategy,
          });
          await visitor.issue();
          begin();
          const { status } = await visitor
            .post(path, { phone: '+385911234567', pin: '000000' })
            .timeout(5_000);
          expect([202, 401, 503], path).toContain(status);
        }
      }
      await new Promise((resolve) => setTimeout(resolve, 300));
      expect(thrown).toEqual([]);
    },
  );
});
