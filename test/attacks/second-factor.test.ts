/** Ways around a second factor that its host did not think of. */

import cookieSession from 'cookie-session';
import express, { type RequestHandler } from 'express';
import { type RequestLike, requireSmsOtp } from 'passport-sms-otp';
import { describe, expect, it } from 'vitest';
import { createGate } from '../support/gate.js';
import {
  type Browser,
  createHost,
  earlyAnswer,
  fakeClient,
  type Host,
  OTHER_PHONE,
  PHONE,
  serve,
} from '../support/host.js';
import { mapStore } from '../support/stores.js';

const guard = requireSmsOtp() as unknown as RequestHandler;
const VICTIM = { id: 'victim', phoneNumber: OTHER_PHONE };

/** A strategy that trusts whoever asks: the password was right. */
class Password {
  readonly name = 'password';
  declare success: (user: object) => void;
  authenticate(): void {
    this.success(VICTIM);
  }
}

/** A site with a password beside the PIN, in the ways that hosts wire it. */
function site(): Host {
  const client = fakeClient();
  return createHost(client, {
    routes(app, { passport }) {
      const password = (options: object): RequestHandler => passport.authenticate('password', options);
      passport.use(new Password());
      app.get('/api', password({ session: false }), guard, (req, res) => {
        res.json({ as: req.user });
      });
      app.post('/logout', (req, res, next) => {
        req.logOut({ keepSessionInfo: true }, (error: unknown) => (error ? next(error) : res.end()));
      });
      app.post('/password', password({ keepSessionInfo: true }), (_req, res) => res.end());
      app.get('/secret', guard, (req, res) => {
        res.json({ as: req.user });
      });
    },
  });
}

async function logIn(host: Host, phone = PHONE): Promise<Browser> {
  const browser = host.browser();
  await browser.issue(phone);
  expect((await browser.check()).status).toBe(200);
  return browser;
}

it('a proof in one\u2019s own session does not vouch for somebody whose password came with the request', async () => {
  const host = site();
  const attacker = await logIn(host);
  expect((await attacker.get('/secret')).status).toBe(200);
  expect((await attacker.get('/api')).status).toBe(403);
});

/** A session that lives in a cookie, with what Passport asks of one since 0.6. */
const inACookie: RequestHandler[] = [
  cookieSession({ name: 'session', keys: ['a key for tests only'] }) as RequestHandler,
  (req, _res, next) => {
    const call = (done: () => void) => done();
    Object.assign(req.session, { regenerate: call, save: call });
    next();
  },
];

/** The second factor behind a password whose host forgot `session: false`. */
function careless(where: 'on the server' | 'in a cookie'): Host {
  const challenges = mapStore();
  const elsewhere = where === 'in a cookie' && {
    session: false as const,
    before: [...inACookie, challenges.middleware],
  };
  const host = createHost(fakeClient(), {
    ...elsewhere,
    strategy: {
      ...(elsewhere && { challenges }),
      recipient: ({ user }) => {
        const { id: subject, phoneNumber } = { ...VICTIM, ...user };
        return user ? { subject, phoneNumber } : null;
      },
    },
    routes(app, { passport }) {
      passport.use(new Password());
      if (elsewhere) app.use(passport.session());
      const password: RequestHandler = passport.authenticate('password');
      const pin = (options: object): RequestHandler => passport.authenticate('sms-otp', options);
      app.post('/password', password, pin({ phase: 'issue' }));
      app.post('/no-phase', password, pin({}));
      app.use('/any-method', express.json(), password, pin({ phase: 'issue' }));
    },
  });
  host.users.set(VICTIM.id, VICTIM);
  return host;
}

const attempts: [string, (browser: Browser) => PromiseLike<unknown>][] = [
  ['a PIN', (browser) => browser.post('/password')],
  [
    'a refusal as cross-site',
    (browser) =>
      browser.post('/password', {}, { 'Sec-Fetch-Site': 'cross-site', Origin: 'https://evil.example' }),
  ],
  ['a check that was slipped in', (browser) => browser.post('/no-phase', { pin: '1' })],
  ['a check of a whole PIN', (browser) => browser.post('/no-phase', { pin: '042137' })],
  ['a refused method', (browser) => browser.agent.put('/any-method').send({})],
  ['a refused look', (browser) => browser.agent.get('/any-method')],
];

describe.each(['on the server', 'in a cookie'] as const)('with a session %s', (where) => {
  it.each(attempts)(
    'a password alone signs nobody in where the request for a PIN ends in %s',
    async (_end, act) => {
      const browser = careless(where).browser();
      await act(browser);
      expect((await browser.get('/me')).body.user).toBeNull();
    },
  );

  it('the password and the PIN together sign in', async () => {
    const browser = careless(where).browser();
    expect((await browser.post('/password')).status).toBe(202);
    expect((await browser.check()).status).toBe(200);
    expect((await browser.get('/me')).body.user).toMatchObject({ id: VICTIM.id });
  });
});

describe('while the host looks for the recipient', () => {
  async function slow() {
    const gate = createGate();
    const { before, answer } = earlyAnswer();
    const client = fakeClient();
    const host: Host = createHost(client, {
      before,
      strategy: {
        recipient: async () => {
          await gate.pass();
          return { subject: VICTIM.id, phoneNumber: PHONE };
        },
      },
      routes(app, { passport }) {
        passport.use(new Password());
        app.post('/note', (req, res) => {
          Object.assign(req.session, { note: 'hers' });
          res.end();
        });
        app.post(
          '/password',
          passport.authenticate('password'),
          passport.authenticate('sms-otp', { phase: 'issue' } as object),
        );
      },
    });
    host.users.set(VICTIM.id, VICTIM);
    const browser = host.browser(await serve(host));
    const waiting = gate.shut();
    return { client, gate, host, browser, waiting, answer };
  }

  it('a password alone signs nobody in, also where the host answers meanwhile', async () => {
    const { gate, browser, waiting, answer } = await slow();
    const late = Promise.resolve(browser.post('/password'));
    await waiting;
    answer();
    expect((await late).headers['set-cookie']).toBeUndefined();
    expect((await browser.get('/me')).body.user).toBeNull();
    gate.open();
  });

  it('a password alone signs nobody in where the host answers during the sign-out, be the store silent', async () => {
    for (const path of ['/password', '/cross-site']) {
      const { browser, answer, gate, host, waiting } = await slow();
      void waiting.then(() => gate.open());
      const { store } = host;
      const set = store.set.bind(store);
      let writes = 0;
      store.set = (...args) => {
        writes += 1;
        // The first is that of the login by password.
        if (writes === 1) set(...args);
        else answer();
      };
      const site = path === '/password' ? 'same-origin' : 'cross-site';
      const late = browser.post('/password', {}, { 'Sec-Fetch-Site': site, Origin: 'https://evil.example' });
      const { headers } = await late.timeout(5_000);
      expect([writes, headers['set-cookie']], path).toEqual([2, undefined]);
    }
  });

  it('a host that answers meanwhile keeps its session, and no PIN is sent that nobody could type', async () => {
    const { client, gate, browser, waiting, answer } = await slow();
    await browser.post('/note');
    const late = Promise.resolve(browser.issue());
    await waiting;
    answer();
    expect((await late).status).toBe(503);
    gate.open();
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(client.sends).toEqual([]);
    expect((await browser.get('/me')).body.session.note).toBe('hers');
    // It costs no budget either.
    expect((await browser.issue()).status).toBe(202);
  });

  it('a sign-out leaves nothing of the session behind, and no PIN is sent', async () => {
    const { client, gate, host, browser, waiting } = await slow();
    await browser.post('/note');
    const { id } = (await browser.get('/me')).body;
    const late = Promise.resolve(browser.issue());
    await waiting;
    await new Promise((resolve) => host.store.destroy(id, resolve));
    gate.open();
    const { status, headers } = await late;
    expect([status, headers['set-cookie'], client.sends]).toEqual([401, undefined, []]);
    expect((await browser.get('/me')).body.session.note).toBeUndefined();
  });
});

it('a guard that is asked for a request without a session refuses', async () => {
  const refused: unknown[] = [];
  for (const request of [
    {},
    { user: VICTIM },
    { user: VICTIM, session: null },
    { user: VICTIM, session: {} },
  ]) {
    const req: RequestLike = { headers: {}, ...request };
    const redirect = () => expect.unreachable();
    requireSmsOtp()(req, { redirect }, (error) => refused.push(error));
  }
  const needed = { status: 403, code: 'sms_otp_required' };
  expect(refused).toEqual(new Array(4).fill(expect.objectContaining(needed)));
});
