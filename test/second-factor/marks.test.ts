import type { Express, RequestHandler } from 'express';
import { type RequireSmsOtpOptions, requireSmsOtp } from 'passport-sms-otp';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { fakeClient, OTHER_PHONE, PHONE, PIN } from '../support/host.js';
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

const paid: RequestHandler = (_req, res) => {
  res.json({ paid: true });
};

/** `GET` and `POST /pay`, guarded. */
function guarded(options: RequireSmsOtpOptions, more: (app: Express) => void = () => {}) {
  return {
    routes: (app: Express) => {
      app.get('/pay', requireSmsOtp(options), paid);
      app.post('/pay', requireSmsOtp(options), paid);
      app.get('/pay/twice', requireSmsOtp(options), paid);
      more(app);
    },
  };
}

/** The marks of this browser's session, as the store has them. */
async function marksOf(site: Site, browser: Visitor): Promise<Record<string, unknown> | undefined> {
  return (await site.sessions()).get(browser.sessionId() ?? '')?.smsOtp?.marks;
}

async function login(browser: Visitor, who = ALICE): Promise<void> {
  await browser.password(who);
  const { body } = await browser.post('/second-factor/pin', { pin: PIN });
  expect(body.user.id).toBe(who.id);
}

async function stepUp(browser: Visitor, query = ''): Promise<void> {
  const issued = await browser.post('/step-up/issue');
  expect(issued.body.outcome.code).toBe('pin_sent');
  const checked = await browser.post(`/step-up/pin${query}`, { pin: PIN });
  expect(checked.status).toBe(200);
}

describe('the mark of a login', () => {
  it('says when, by which way and whose, under the name of its strategy', async () => {
    const site = createSite(fakeClient());
    const browser = site.browser();
    await login(browser);
    expect(await marksOf(site, browser)).toEqual({
      'second-factor': { at: Date.now(), channel: 'sms', subject: ALICE.id, user: ALICE.id },
    });
  });

  it('is not written by a password alone, nor by a PIN that was checked without a login', async () => {
    const site = createSite(fakeClient());
    const browser = site.browser();
    await browser.password(ALICE, '/password/only');
    expect(await marksOf(site, browser)).toBeUndefined();
    await browser.password();
    await browser.post('/three/pin', { pin: PIN });
    await browser.post('/third-factor/pin', { pin: PIN });
    expect(Object.keys((await marksOf(site, browser)) ?? {})).toEqual(['third-factor']);
  });
});

describe('the guard', () => {
  const options = { name: 'step-up', maxAgeSeconds: 300 };

  it('passes with a proof as old as allowed, and refuses one a second older', async () => {
    const site = createSite(fakeClient(), guarded(options));
    const browser = site.browser();
    await login(browser);
    later(31);
    await stepUp(browser);
    later(300);
    expect((await browser.post('/pay')).body).toEqual({ paid: true });
    later(1);
    expect((await browser.post('/pay')).status).toBe(403);
  });

  it('refuses a proof from the future', async () => {
    const site = createSite(fakeClient(), guarded(options));
    const browser = site.browser();
    await login(browser);
    later(31);
    await stepUp(browser);
    later(-1);
    expect((await browser.post('/pay')).status).toBe(403);
  });

  it('refuses a proof under another name', async () => {
    const site = createSite(fakeClient(), guarded(options));
    const browser = site.browser();
    await login(browser);
    expect((await browser.post('/pay')).status).toBe(403);
  });

  it('refuses a proof by e-mail, and takes one by call', async () => {
    const site = createSite(fakeClient(), {
      ...guarded({ name: 'step-up' }),
      strategies: { 'step-up': { channels: ['sms', 'voice', 'email'] } },
    });
    const browser = site.browser();
    await login(browser);
    later(31);
    await browser.post('/step-up/issue', { channel: 'email' });
    await browser.post('/step-up/pin', { pin: PIN });
    expect(await marksOf(site, browser)).toMatchObject({ 'step-up': { channel: 'email' } });
    expect((await browser.post('/pay')).status).toBe(403);
    later(31);
    await browser.post('/step-up/issue');
    later(31);
    await browser.post('/step-up/resend', { channel: 'voice' });
    await browser.post('/step-up/pin', { pin: PIN });
    expect((await browser.post('/pay')).body).toEqual({ paid: true });
  });

  it('takes a proof by e-mail where the host says so', async () => {
    const site = createSite(fakeClient(), guarded({ name: 'third-factor', channels: ['email'] }));
    const browser = site.browser();
    await browser.password();
    await browser.post('/three/pin', { pin: PIN });
    await browser.post('/third-factor/pin', { pin: PIN });
    expect((await browser.post('/pay')).body).toEqual({ paid: true });
  });

  it('refuses visitors who are not signed in, whatever their session holds', async () => {
    const site = createSite(
      fakeClient(),
      guarded({ name: 'second-factor' }, (app) =>
        app.get('/plant', (req, res) => {
          const user = { at: Date.now(), channel: 'sms', user: ALICE.id };
          Reflect.set(req.session, 'smsOtp', { marks: { 'second-factor': user } });
          res.end();
        }),
      ),
    );
    const browser = site.browser();
    await browser.get('/plant');
    expect((await browser.post('/pay')).status).toBe(403);
  });

  it('has no mark after a PIN of `authenticate` with `session: false`', async () => {
    const site = createSite(fakeClient(), guarded({ name: 'second-factor' }));
    const browser = site.browser();
    await browser.password();
    await browser.post('/three/pin', { pin: PIN });
    await browser.password(ALICE, '/password/only?keep');
    expect((await browser.post('/pay')).status).toBe(403);
  });

  describe('answers', () => {
    const page = { Accept: 'text/html,application/xhtml+xml,*/*;q=0.8' };

    it('a page by the way to the PIN, and remembers the way back', async () => {
      const site = createSite(fakeClient(), guarded({ ...options, redirectTo: '/confirm' }));
      const browser = site.browser();
      await login(browser);
      const sent = await browser.get('/pay/twice?amount=12&to=%2Fx').set(page);
      expect([sent.status, sent.headers.location]).toEqual([303, '/confirm']);
      const session = (await site.sessions()).get(browser.sessionId() ?? '');
      expect(session?.returnTo).toBe('/pay/twice?amount=12&to=%2Fx');
    });

    it.each([
      ['JSON', () => ({ Accept: 'application/json' })],
      ['anything', () => ({ Accept: '*/*;q=0.1, application/json' })],
    ])('a GET that asks for %s by an error that says what is missing', async (_what, accept) => {
      const site = createSite(fakeClient(), guarded({ ...options, redirectTo: '/confirm' }));
      const browser = site.browser();
      await login(browser);
      const refused = await browser.get('/pay').set(accept());
      expect(refused.status).toBe(403);
      expect(site.errors).toMatchObject([
        { status: 403, code: 'sms_otp_required', name: 'step-up', maxAgeSeconds: 300 },
      ]);
    });

    it('a POST by the same error, and leaves no way back to it', async () => {
      const site = createSite(fakeClient(), guarded({ ...options, redirectTo: '/confirm' }));
      const browser = site.browser();
      await login(browser);
      const refused = await browser.post('/pay', {}, page);
      expect([refused.status, refused.body.error.code]).toEqual([403, 'sms_otp_required']);
      expect((await site.sessions()).get(browser.sessionId() ?? '')?.returnTo).toBeUndefined();
    });

    it('a page by the error too where no `redirectTo` is given', async () => {
      const site = createSite(fakeClient(), guarded(options));
      const browser = site.browser();
      await login(browser);
      expect((await browser.get('/pay').set(page)).status).toBe(403);
    });

    it.each(['//evil.example/', '/\\evil.example/', '/\\/evil.example/'])(
      'a page at an address that is no path of this site without a way back: %s',
      async (path) => {
        const site = createSite(fakeClient(), {
          routes: (app) => {
            // The guard in front of everything but the site's own routes, so that odd paths reach it.
            const guard = requireSmsOtp({ ...options, redirectTo: '/confirm' });
            app.use((req, res, next) =>
              /evil/u.test(req.url) ? guard(req, res, next as (error?: unknown) => void) : next(),
            );
          },
        });
        const browser = site.browser();
        await login(browser);
        const sent = await rawGet(site, browser, path);
        expect(sent).toEqual({ status: 303, location: '/confirm' });
        expect((await site.sessions()).get(browser.sessionId() ?? '')?.returnTo).toBeUndefined();
      },
    );
  });
});

/** A GET whose path goes out as it is: clients normalise odd ones. */
async function rawGet(site: Site, browser: Visitor, path: string) {
  const { request } = await import('node:http');
  const { listen } = await import('../support/host.js');
  const server = await listen(site.app);
  const { port } = new URL(server.url);
  const headers = {
    cookie: `connect.sid=${browser.cookies().get('connect.sid')}`,
    accept: 'text/html',
  };
  try {
    return await new Promise((resolve, reject) => {
      request({ host: '127.0.0.1', port, path, headers }, (response) => {
        response.resume();
        resolve({ status: response.statusCode, location: response.headers.location });
      })
        .on('error', reject)
        .end();
    });
  } finally {
    await server.close();
  }
}

describe('a step-up, there and back', () => {
  it('sends the visitor to the PIN and, once it is proved, back to the page, still signed in', async () => {
    const client = fakeClient();
    const site = createSite(client, {
      ...guarded({ name: 'step-up', maxAgeSeconds: 300, redirectTo: '/confirm' }),
    });
    const own = site.passport;
    site.app.post(
      '/confirm',
      own.authenticate('step-up', {
        phase: 'issue',
        challengeRedirect: '/confirm/pin',
        failureRedirect: '/confirm',
      }),
    );
    site.app.post(
      '/confirm/pin',
      own.authenticate('step-up', {
        phase: 'check',
        successReturnToOrRedirect: '/',
        failureRedirect: '/confirm/pin',
      }),
    );
    const browser = site.browser();
    await login(browser);
    later(31);
    const before = browser.sessionId();
    expect((await browser.get('/pay').set('Accept', 'text/html')).headers.location).toBe('/confirm');
    const asked = await browser.post('/confirm');
    expect([asked.status, asked.headers.location]).toEqual([303, '/confirm/pin']);
    expect((await browser.get('/me')).body.user.id).toBe(ALICE.id);
    const wrong = await browser.post('/confirm/pin', { pin: '999999' });
    expect(wrong.headers.location).toBe('/confirm/pin');
    const proved = await browser.post('/confirm/pin', { pin: PIN });
    expect([proved.status, proved.headers.location]).toEqual([302, '/pay']);
    expect((await browser.get('/pay')).body).toEqual({ paid: true });
    // A new session id at re-authentication, and nothing left under the old one.
    expect(browser.sessionId()).not.toBe(before);
    expect((await site.sessions()).has(before ?? '')).toBe(false);
    expect(await site.signedIn()).toEqual([ALICE.id]);
  });

  it('needs somebody who is signed in, at every phase', async () => {
    const client = fakeClient();
    const site = createSite(client);
    const browser = site.browser();
    for (const phase of ['issue', 'resend', 'pin']) {
      const refused = await browser.post(`/step-up/${phase}`, { pin: PIN, ...ALICE, phone: PHONE });
      expect([403, 401]).toContain(refused.status);
      expect(['recipient_missing', 'no_challenge']).toContain(refused.body.outcome.code);
    }
    expect([client.sends, client.checks]).toEqual([[], []]);
  });

  it('is not for somebody whom only this request knows: a password with `session: false`', async () => {
    const client = fakeClient();
    const site = createSite(client, {
      routes: (app, { passport }) =>
        app.post('/password/step-up', passport.authenticate('local', { session: false }), (req, res, next) =>
          passport.authenticate(
            'step-up',
            { phase: 'issue' },
            (error: unknown, _user: unknown, info: unknown) => (error ? next(error) : res.json({ info })),
          )(req, res, next),
        ),
    });
    const answered = await site.browser().password(ALICE, '/password/step-up');
    expect(answered.body.info.code).toBe('recipient_missing');
    expect(client.sends).toEqual([]);
  });

  it('ends its challenge when the user\u2019s number changes before the resend or the check', async () => {
    const client = fakeClient();
    const site = createSite(client);
    const browser = site.browser();
    await login(browser);
    later(31);
    await browser.post('/step-up/issue');
    const alice = site.users.get(ALICE.id);
    if (alice) alice.phoneNumber = OTHER_PHONE;
    later(31);
    expect((await browser.post('/step-up/resend')).body.outcome.code).toBe('no_challenge');
    expect((await browser.post('/step-up/pin', { pin: PIN })).body.outcome.code).toBe('no_challenge');
    expect(client.resends).toEqual([]);
    expect(client.checks).toHaveLength(1);
    expect(Object.keys((await marksOf(site, browser)) ?? {})).toEqual(['second-factor']);
  });

  it('is over for a user who was deleted, before anything is sent or checked', async () => {
    const client = fakeClient();
    const site = createSite(client);
    const browser = site.browser();
    await login(browser);
    later(31);
    await browser.post('/step-up/issue');
    site.users.delete(ALICE.id);
    expect((await browser.post('/step-up/pin', { pin: PIN })).body.outcome.code).toBe('no_challenge');
    expect((await browser.post('/step-up/issue')).body.outcome.code).toBe('recipient_missing');
    expect([client.sends.length, client.checks.length]).toEqual([2, 1]);
  });

  it('is an error when its resolver fails at the check, and the PIN is not used up', async () => {
    let broken = false;
    const site = createSite(fakeClient(), {
      strategies: {
        'step-up': {
          recipient: () => {
            if (broken) throw new Error('the database is down');
            return { phoneNumber: PHONE, subject: ALICE.id };
          },
        },
      },
    });
    const browser = site.browser();
    await login(browser);
    later(31);
    await browser.post('/step-up/issue');
    broken = true;
    expect((await browser.post('/step-up/pin', { pin: PIN })).status).toBe(500);
    expect(Object.keys((await marksOf(site, browser)) ?? {})).toEqual(['second-factor']);
    broken = false;
    expect((await browser.post('/step-up/pin', { pin: PIN })).status).toBe(200);
  });

  it('keeps the mark of the login, which is the same person\u2019s', async () => {
    const site = createSite(fakeClient());
    const browser = site.browser();
    await login(browser);
    later(31);
    await stepUp(browser);
    expect(Object.keys((await marksOf(site, browser)) ?? {}).sort()).toEqual(['second-factor', 'step-up']);
  });

  it('marks a session also through `authorize`, in place', async () => {
    const site = createSite(fakeClient(), guarded({ name: 'step-up', maxAgeSeconds: 300 }));
    site.app.post('/authorize', site.passport.authorize('step-up', { phase: 'check' }), paid);
    const browser = site.browser();
    await login(browser);
    later(31);
    await browser.post('/step-up/issue');
    expect((await browser.post('/authorize', { pin: PIN })).body).toEqual({ paid: true });
    expect((await browser.post('/pay')).body).toEqual({ paid: true });
  });
});

describe('a mark of one user never serves another', () => {
  const paySecond = guarded({ name: 'second-factor' });

  it('when an attacker proves a PIN of their own and then signs in as the victim, keeping the session', async () => {
    const site = createSite(fakeClient(), paySecond);
    const browser = site.browser();
    await login(browser, BOB);
    expect((await browser.post('/pay')).body).toEqual({ paid: true });
    await browser.password(ALICE, '/password/only?keep');
    expect((await browser.get('/me')).body.user.id).toBe(ALICE.id);
    expect(await marksOf(site, browser)).toMatchObject({ 'second-factor': { user: BOB.id } });
    expect((await browser.post('/pay')).status).toBe(403);
  });

  it('when the attacker logs out in between, keeping the session', async () => {
    const site = createSite(fakeClient(), paySecond);
    const browser = site.browser();
    await login(browser, BOB);
    await browser.post('/logout?keep');
    expect((await browser.post('/pay')).status).toBe(403);
    await browser.password(ALICE, '/password/only?keep');
    expect((await browser.post('/pay')).status).toBe(403);
  });

  it('when the attacker authorizes a phone of their own in the victim\u2019s session', async () => {
    const site = createSite(fakeClient(), guarded({ name: 'sms-otp' }));
    const own = site.passport;
    for (const name of ['sms-otp', 'new-number']) {
      site.app.post(`/authorize/${name}`, own.authorize(name, { phase: 'check' }), paid);
    }
    site.app.get('/pay/new-number', requireSmsOtp({ name: 'new-number' }), paid);
    const browser = site.browser();
    await browser.password(ALICE, '/password/only');
    await browser.post('/sms-otp/issue', { phone: BOB.phoneNumber });
    expect((await browser.post('/authorize/sms-otp', { pin: PIN })).body).toEqual({ paid: true });
    expect((await browser.get('/me')).body.user.id).toBe(ALICE.id);
    expect((await browser.post('/pay')).status).toBe(403);
    await browser.post('/new-number/issue', { phone: '+385981112222' });
    expect((await browser.post('/authorize/new-number', { pin: PIN })).body).toEqual({ paid: true });
    expect((await browser.get('/pay/new-number')).status).toBe(403);
    expect(await marksOf(site, browser)).toBeUndefined();
  });

  it('when a second factor is asked of somebody else in the same session', async () => {
    const site = createSite(fakeClient(), paySecond);
    const browser = site.browser();
    await login(browser, BOB);
    await browser.password(ALICE);
    expect(await marksOf(site, browser)).toBeUndefined();
    await browser.post('/second-factor/pin?keep', { pin: PIN });
    expect(await marksOf(site, browser)).toMatchObject({ 'second-factor': { user: ALICE.id } });
  });

  it('when verify returns one user and the host logs in another', async () => {
    const site = createSite(fakeClient(), {
      routes: (app, { passport, users }) => {
        app.post('/pay', requireSmsOtp({ name: 'sms-otp' }), paid);
        app.post('/impersonate', (req, res, next) =>
          passport.authenticate('sms-otp', { phase: 'check' }, (error: unknown) => {
            if (error) return next(error);
            req.logIn(loggedIn(users.get(ALICE.id) ?? ALICE), (failed: unknown) =>
              failed ? next(failed) : res.json({}),
            );
          })(req, res, next),
        );
      },
    });
    const browser = site.browser();
    await browser.post('/sms-otp/issue', { phone: BOB.phoneNumber });
    await browser.post('/impersonate', { pin: PIN });
    expect((await browser.get('/me')).body.user.id).toBe(ALICE.id);
    expect((await browser.post('/pay')).status).toBe(403);
  });
});

describe('a challenge of one user', () => {
  it.each(['', '?keep'])('is dead once somebody else has signed in (%s)', async (query) => {
    const client = fakeClient();
    const site = createSite(client);
    const browser = site.browser();
    await browser.password(ALICE);
    await browser.password(BOB, `/password/only${query}`);
    expect((await browser.post('/second-factor/pin', { pin: PIN })).body.outcome.code).toBe('no_challenge');
    later(31);
    expect((await browser.post('/second-factor/resend')).body.outcome.code).toBe('no_challenge');
    expect((await browser.get('/challenge/second-factor')).body).toBeNull();
    expect([client.checks, client.resends]).toEqual([[], []]);
    expect(await site.signedIn()).toEqual([BOB.id]);
  });

  it.each(['', '?keep'])('of a step-up is dead once somebody else has signed in (%s)', async (query) => {
    const client = fakeClient();
    const site = createSite(client);
    const browser = site.browser();
    await login(browser, BOB);
    later(31);
    await browser.post('/step-up/issue');
    await browser.password(ALICE, `/password/only${query}`);
    expect((await browser.post('/step-up/pin', { pin: PIN })).body.outcome.code).toBe('no_challenge');
    expect(client.checks).toHaveLength(1);
    expect(Object.keys((await marksOf(site, browser)) ?? {})).not.toContain('step-up');
  });

  it('is dead after a logout that keeps the session', async () => {
    const site = createSite(fakeClient());
    const browser = site.browser();
    await login(browser);
    later(31);
    await browser.post('/step-up/issue');
    await browser.post('/logout?keep');
    expect((await browser.post('/step-up/pin', { pin: PIN })).body.outcome.code).toBe('no_challenge');
  });
});
