import type { Express } from 'express';
import type { RequestLike } from 'passport-sms-otp';
import { describe, expect, it } from 'vitest';
import { createGate } from '../support/gate.js';
import { fakeClient, PHONE, PIN } from '../support/host.js';
import { ALICE, BOB, createSite } from '../support/two-factors.js';

// Both ways in which hosts write the password's route: with `session: false`, and without.
const ROUTES = ['/password', '/password/careless'];

// A page that makes a session.
const withBasket = (app: Express) => {
  app.get('/basket', (req, res) => {
    Reflect.set(req.session, 'basket', 'three apples');
    res.end();
  });
};

describe.each(ROUTES)('between the password and the PIN (%s)', (route) => {
  it('sends the PIN to the number of the user whose password it was, and asks the form for nothing', async () => {
    const client = fakeClient();
    const browser = createSite(client).browser();
    const issued = await browser.post(route, { ...ALICE, phone: BOB.phoneNumber, subject: BOB.id });
    expect(issued.status).toBe(202);
    expect(client.sends.map(({ to }) => to)).toEqual([PHONE]);
  });

  it('signs nobody in: on no route, and in no session of the store, also while the PIN is being sent', async () => {
    const client = fakeClient();
    const site = createSite(client);
    const browser = site.browser();
    const duringSend: unknown[] = [];
    client.onSend = async () => {
      duringSend.push(await site.signedIn());
      return { pinId: 'PIN-ID', sent: true };
    };
    await browser.password(ALICE, route);
    expect(duringSend).toEqual([[]]);
    expect(await site.signedIn()).toEqual([]);
    expect((await browser.get('/me')).body).toEqual({ authenticated: false, user: null });
  });

  it('makes no session for whoever has no password', async () => {
    const site = createSite(fakeClient());
    const browser = site.browser();
    expect((await browser.password({ ...ALICE, password: 'a guess' }, route)).status).toBe(401);
    const refused = await browser.post('/second-factor/issue');
    expect(refused.body.outcome.code).toBe('recipient_missing');
    expect(refused.headers['set-cookie']).toBeUndefined();
    expect((await site.sessions()).size).toBe(0);
  });

  it('signs nobody in after a wrong PIN, and the right user after the right one', async () => {
    const site = createSite(fakeClient());
    const browser = site.browser();
    await browser.password(ALICE, route);
    const wrong = await browser.post('/second-factor/pin', { pin: '999999' });
    expect(wrong.body.outcome.code).toBe('pin_wrong');
    expect(await site.signedIn()).toEqual([]);
    const right = await browser.post('/second-factor/pin', { pin: PIN });
    expect(right.body.user.id).toBe(ALICE.id);
    expect((await browser.get('/me')).body).toMatchObject({ authenticated: true, user: { id: ALICE.id } });
    expect(await site.signedIn()).toEqual([ALICE.id]);
  });

  it('keeps the session where nobody is signed in: after a wrong PIN, and after a refusal', async () => {
    const site = createSite(fakeClient());
    const browser = site.browser();
    await browser.password(ALICE, route);
    const between = browser.sessionId();
    await browser.post('/second-factor/pin', { pin: '999999' });
    await browser.post('/second-factor/pin', { pin: PIN }, { 'Sec-Fetch-Site': 'cross-site' });
    expect(browser.sessionId()).toBe(between);
    expect([...(await site.sessions()).keys()]).toEqual([between]);
  });

  it('changes the session id at each step and leaves no older session behind', async () => {
    const site = createSite(fakeClient(), {
      routes: withBasket,
    });
    const browser = site.browser();
    await browser.get('/basket');
    const before = browser.sessionId();
    await browser.password(ALICE, route);
    const between = browser.sessionId();
    await browser.post('/second-factor/pin', { pin: PIN });
    const after = browser.sessionId();
    expect(new Set([before, between, after]).size).toBe(3);
    expect([...(await site.sessions()).keys()]).toEqual([after]);
  });

  it('signs out whoever was signed in before, also when that person gets no PIN', async () => {
    const client = fakeClient();
    const site = createSite(client);
    const browser = site.browser();
    await browser.password(BOB, '/password/only');
    expect(await site.signedIn()).toEqual([BOB.id]);
    client.onSend = async () => {
      throw new Error('the service is down');
    };
    expect((await browser.password(ALICE, route)).status).toBe(503);
    expect(await site.signedIn()).toEqual([]);
    expect((await browser.get('/me')).body.authenticated).toBe(false);
  });

  it('is not confused by a second password in another tab', async () => {
    const client = fakeClient();
    const site = createSite(client);
    const browser = site.browser();
    client.onVerify = async (pinId, pin) =>
      pin === (pinId === 'PIN-ID-1' ? '111111' : '222222')
        ? { verified: true, pinId, msisdn: '' }
        : { verified: false, pinId, reason: 'wrong_pin' };
    await browser.password(ALICE, route);
    await browser.password(BOB, route);
    expect((await browser.post('/second-factor/pin', { pin: '111111' })).body.outcome.code).toBe('pin_wrong');
    const login = await browser.post('/second-factor/pin', { pin: '222222' });
    expect(login.body.user.id).toBe(BOB.id);
    expect(site.proofs.map(({ subject }) => subject)).toEqual([BOB.id]);
    expect(await site.signedIn()).toEqual([BOB.id]);
  });

  it('keeps two users who share a number two users', async () => {
    const client = fakeClient();
    const site = createSite(client);
    const bob = site.users.get(BOB.id);
    if (bob) bob.phoneNumber = PHONE;
    const [first, second] = [site.browser(), site.browser()];
    await first.password(ALICE, route);
    expect((await second.password(BOB, route)).body.outcome.code).toBe('pin_sent');
    expect(client.sends.map(({ to }) => to)).toEqual([PHONE, PHONE]);
    expect((await second.post('/second-factor/pin', { pin: PIN })).body.user.id).toBe(BOB.id);
    expect((await first.post('/second-factor/pin', { pin: PIN })).body.user.id).toBe(ALICE.id);
  });
});

describe('the session between the password and the PIN', () => {
  it('keeps what the host had in the session until the PIN, and drops the challenge with the login', async () => {
    const site = createSite(fakeClient(), {
      routes: withBasket,
    });
    const browser = site.browser();
    await browser.get('/basket');
    await browser.password(ALICE, '/password');
    const between = (await site.sessions()).get(browser.sessionId() ?? '');
    expect(between?.basket).toBe('three apples');
    expect(Object.keys(between?.smsOtp?.challenges ?? {})).toEqual(['second-factor']);
    await browser.post('/second-factor/pin?keep', { pin: PIN });
    const after = (await site.sessions()).get(browser.sessionId() ?? '');
    expect(after?.basket).toBe('three apples');
    expect(after?.smsOtp?.challenges).toBeUndefined();
  });

  it('answers a second submit with the first one\u2019s PIN', async () => {
    const client = fakeClient();
    const browser = createSite(client).browser();
    await browser.password();
    const again = await browser.password();
    expect(again.body.outcome).toMatchObject({ code: 'pin_sent', alreadySent: true });
    expect(client.sends).toHaveLength(1);
    expect((await browser.post('/second-factor/pin', { pin: PIN })).body.user.id).toBe(ALICE.id);
  });

  it('answers both of two clicks at once with one PIN, and either answer\u2019s cookie can use it', async () => {
    const client = fakeClient();
    let arrived = 0;
    let bothArrived = () => {};
    const overlap = new Promise<void>((resolve) => {
      bothArrived = resolve;
    });
    const site = createSite(client, {
      routes: (app) => {
        app.post('/password', (_req, _res, next) => {
          arrived += 1;
          if (arrived === 2) bothArrived();
          next();
        });
      },
    });
    client.onSend = async () => {
      await overlap;
      return { pinId: 'PIN-ID', sent: true };
    };
    const browser = site.browser();
    await browser.password(BOB, '/password/only');
    const cookie = `connect.sid=${browser.cookies().get('connect.sid')}`;
    const click = () => site.browser().post('/password', ALICE, { Cookie: cookie });
    const answers = await Promise.all([click(), click()]);
    expect(answers.map(({ body }) => body.outcome.code)).toEqual(['pin_sent', 'pin_sent']);
    expect(client.sends).toHaveLength(1);
    const codes = [];
    for (const { headers } of answers) {
      const [own = ''] = String(headers['set-cookie']).split(';');
      const check = await site.browser().post('/second-factor/pin', { pin: PIN }, { Cookie: own });
      codes.push(check.body.user?.id ?? check.body.outcome.code);
    }
    // Either cookie works, and the PIN works once.
    expect(codes).toEqual([ALICE.id, 'no_challenge']);
  });
});

const LOOKING = 'ended while the host looked for the recipient';

describe.each(ROUTES)('the second of two clicks (%s)', (route) => {
  it.each(['was read before the first ended it', LOOKING, 'is gone'])(
    'gets the PIN of the first: its session %s',
    async (when) => {
      const client = fakeClient();
      const gate = createGate();
      const site = createSite(client, {
        routes: (app) => {
          withBasket(app);
          // By now express-session has read the session.
          if (when !== LOOKING) app.post(route, (_req, _res, next) => void gate.pass().then(() => next()));
        },
        strategies: {
          'second-factor': {
            recipient: async ({ user }: RequestLike) => {
              const { id: subject, phoneNumber } = user as unknown as typeof ALICE;
              if (when === LOOKING) await gate.pass();
              return { phoneNumber, subject };
            },
          },
        },
      });
      const browser = site.browser();
      await browser.get('/basket');
      // What ends a session is seen from the first request on.
      await site.browser().post('/second-factor/pin', { pin: PIN });
      const before = { Cookie: `connect.sid=${browser.cookies().get('connect.sid')}` };
      const click = (who: object) =>
        site
          .browser()
          .post(route, who, before)
          .then((answer) => answer);
      const isHeld = gate.shut();
      const held = click(ALICE);
      await isHeld;
      const first = await click(ALICE);
      gate.open();
      const second = when === 'is gone' ? await click(ALICE) : await held;
      await held;
      expect([first, second].map(({ status }) => status)).toEqual([202, 202]);
      expect([first, second].map(({ body }) => body.outcome.alreadySent)).toEqual([false, true]);
      expect(client.sends).toHaveLength(1);
      const [cookie = ''] = String(second.headers['set-cookie']).split(';');
      const check = await site.browser().post('/second-factor/pin', { pin: PIN }, { Cookie: cookie });
      expect(check.body.user.id).toBe(ALICE.id);
      // Used, it is nobody's any more; and what somebody else asks for in the same browser is a PIN of their own.
      expect((await click(ALICE)).body.outcome).toMatchObject({ code: 'too_many_requests' });
      expect((await click(BOB)).body.outcome).toMatchObject({ code: 'pin_sent', alreadySent: false });
    },
  );
});

describe.each(ROUTES)(
  'a cookie that looks like a session’s and is the same in two browsers (%s)',
  (route) => {
    it.each(['yes', 'ended'])('hands nobody the challenge of somebody else: s:%s', async (id) => {
      const client = fakeClient();
      const routes = (app: Express) => withBasket(app.set('trust proxy', 1));
      const site = createSite(client, { routes });
      await site.browser().post('/second-factor/pin', { pin: PIN });
      let same = 'consent=s%3Ayes.signature';
      if (id === 'ended') {
        // One of the stranger's own, which has ended, planted in the visitor's browser.
        const stranger = site.browser();
        await stranger.get('/basket');
        same = `x=${stranger.cookies().get('connect.sid')}`;
        await stranger.post('/password', ALICE);
        client.sends.length = 0;
      }
      const [visitor, stranger] = ['192.0.2.1', id === 'yes' ? '192.0.2.1' : '192.0.2.2'].map(
        (address) => (who: object) =>
          site
            .browser()
            .post(route, who, { Cookie: same, 'X-Forwarded-For': address })
            .then((answer) => answer),
      );
      const first = await visitor?.(BOB);
      expect(first?.body.outcome).toMatchObject({ code: 'pin_sent', alreadySent: false });
      const second = await stranger?.(BOB);
      expect(second?.body.outcome).toMatchObject({ code: 'too_many_requests' });
      expect(client.sends).toHaveLength(1);
    });
  },
);

describe('what a stranger who has the password learns', () => {
  it('is the last two digits of the number, in the outcome, on the page and in the session cookie', async () => {
    const client = fakeClient();
    const site = createSite(client);
    const browser = site.browser();
    const issued = await browser.password();
    expect(issued.body.outcome.to).toBe('\u2022\u2022\u2022 67');
    const page = await browser.get('/challenge/second-factor');
    expect(page.body.to).toBe('\u2022\u2022\u2022 67');
    const seen = [issued, page].map(({ text, headers }) => text + JSON.stringify(headers)).join();
    for (const secret of ['385', '1234', ALICE.id, ALICE.email, 'PIN-ID-1'])
      expect(seen).not.toContain(secret);
  });

  it('is the last two digits also of a number that may not get a PIN', async () => {
    const site = createSite(fakeClient(), { strategies: { 'second-factor': { countries: ['SI'] } } });
    const refused = await site.browser().password();
    expect(refused.status).toBe(403);
    expect(refused.body.outcome).toEqual({ code: 'recipient_missing', message: expect.any(String) });
  });

  it('is told to the owner: the events name the user, and no number', async () => {
    const site = createSite(fakeClient());
    const browser = site.browser();
    await browser.password();
    await browser.post('/second-factor/pin', { pin: '999999' });
    expect(site.events).toMatchObject([
      { type: 'pin.sent', strategy: 'second-factor', subject: ALICE.id, recipient: '\u2022\u2022\u2022 67' },
      { type: 'pin.rejected', strategy: 'second-factor', subject: ALICE.id, attemptsRemaining: 4 },
    ]);
    expect(JSON.stringify(site.events)).not.toContain(PHONE.slice(1));
  });
});

describe.each(ROUTES)('a session store that fails between the password and the PIN (%s)', (route) => {
  it.each([
    ['written', ['set', 'destroy'] as const],
    ['deleted', ['destroy'] as const],
  ])('signs nobody in, also once it is back: nothing can be %s', async (_what, broken) => {
    const client = fakeClient();
    let isDown = false;
    const site = createSite(client, {
      routes: withBasket,
      strategies: {
        'second-factor': {
          recipient: () => {
            isDown = true;
            return { phoneNumber: PHONE, subject: ALICE.id };
          },
        },
      },
    });
    for (const method of broken) {
      const works = site.store[method].bind(site.store) as (...args: unknown[]) => void;
      site.store[method] = (...args: unknown[]) => {
        if (!isDown) return works(...args);
        const callback = args.at(-1);
        if (typeof callback === 'function') callback(new Error('the store is down'));
      };
    }
    const browser = site.browser();
    // The browser comes with a session of before: a new one, with nobody in it, is not signed out.
    await browser.get('/basket');
    const failed = await browser.password(ALICE, route);
    expect([500, 503]).toContain(failed.status);
    isDown = false;
    expect((await browser.get('/me')).body).toEqual({ authenticated: false, user: null });
    expect(client.sends).toEqual([]);
  });
});
