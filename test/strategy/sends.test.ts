import session from 'express-session';
import type { SendContext } from 'passport-sms-otp';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { expectNoUnhandledRejection } from '../support/calm.js';
import { createGate } from '../support/gate.js';
import { createHost, fakeClient, type HostOptions, OTHER_PHONE, PHONE, PIN, serve } from '../support/host.js';
import { SECRET, sharedCounters } from '../support/limiters.js';

expectNoUnhandledRejection();

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['Date'], now: new Date('2026-03-02T10:00:00Z') });
});

afterEach(() => {
  vi.useRealTimers();
});

const later = (seconds: number) => vi.setSystemTime(Date.now() + seconds * 1000);

function visit(options: HostOptions = {}) {
  const client = fakeClient();
  const host = createHost(client, options);
  return { client, host, browser: host.browser() };
}

// A page that makes a session.
const withStart: HostOptions['routes'] = (app) => {
  app.get('/start', (req, res) => {
    Reflect.set(req.session, 'visited', true);
    res.end();
  });
};

describe('an issue', () => {
  it('for the number of the open challenge is a resend once the cooldown is over', async () => {
    const { client, browser } = visit();
    const first = await browser.issue();
    later(29.999);
    expect((await browser.issue()).body.outcome.alreadySent).toBe(true);
    expect(client.resends).toEqual([]);
    later(0.001);
    const again = await browser.issue();
    expect(again.body.outcome).toMatchObject({
      alreadySent: false,
      expiresAt: first.body.outcome.expiresAt,
      resendAt: new Date(Date.now() + 30_000).toISOString(),
    });
    expect(client.resends).toEqual([{ pinId: 'PIN-ID-1', request: { channel: 'sms' } }]);
    expect(client.sends).toHaveLength(1);
  });

  it('does not bring back a challenge that has ended since, however many asked for it', async () => {
    const { client, browser } = visit({ strategy: { attempts: 1 } });
    await browser.issue();
    expect((await browser.issue()).body.outcome.alreadySent).toBe(true);
    expect((await browser.check('000000')).body.outcome.code).toBe('attempts_exhausted');
    expect((await browser.issue()).body.outcome).toMatchObject({ code: 'too_many_requests' });
    expect((await browser.get('/challenge')).body).toBeNull();
    expect(client.sends).toHaveLength(1);
  });

  it('for the number of the open challenge shows its page when another browser has taken the cooldown', async () => {
    const { client, browser, host } = visit();
    await browser.issue();
    later(31);
    expect((await host.browser().issue()).status).toBe(202);
    expect((await browser.issue()).body.outcome).toMatchObject({ code: 'pin_sent', alreadySent: true });
    expect([client.sends.length, client.resends.length]).toEqual([2, 0]);
    expect((await browser.check()).status).toBe(200);
    expect(client.checks[0]?.pinId).toBe('PIN-ID-1');
  });

  it('for a number of another country or spelling is for the same number', async () => {
    const { client, browser } = visit({ strategy: { countries: ['HR', 'SI'], defaultCountry: 'HR' } });
    await browser.issue('091 123 4567');
    expect((await browser.issue(PHONE)).body.outcome.alreadySent).toBe(true);
    await browser.issue('+386 41 123 456');
    expect(client.sends.map(({ to }) => to)).toEqual([PHONE, '+38641123456']);
  });

  it('sends a new PIN when the open challenge has no attempts left or was used', async () => {
    const { client, browser } = visit({ strategy: { attempts: 1 } });
    await browser.issue();
    await browser.check('000000');
    later(31);
    expect((await browser.issue()).body.outcome.alreadySent).toBe(false);
    expect([client.sends.length, client.resends.length]).toEqual([2, 0]);
    await browser.check();
    later(31);
    await browser.issue();
    expect([client.sends.length, client.resends.length]).toEqual([3, 0]);
  });

  it('in cooldown without a challenge reads the session once more: the first click was at another process', async () => {
    const counters = sharedCounters();
    const store = new session.MemoryStore();
    const strategy = { limiter: counters.limiter, secret: SECRET };
    const gate = createGate();
    const one = visit({
      session: { store },
      strategy,
      routes: withStart,
    });
    const two = visit({
      session: { store },
      strategy,
      routes: (app) => {
        app.post('/login', async (_req, _res, next) => {
          // The session has been read by now, and has no challenge yet.
          await gate.pass();
          next();
        });
      },
    });
    const first = one.host.browser(await serve(one.host));
    const { headers } = await first.get('/start');
    const second = two.host.browser(await serve(two.host));
    second.agent.set('Cookie', String(headers['set-cookie']).split(';')[0] ?? '');
    const arrived = gate.shut();
    const waiting = second.issue().then((answer) => answer);
    await arrived;
    expect((await first.issue()).body.outcome.alreadySent).toBe(false);
    gate.open();
    const { status, body } = await waiting;
    expect([status, body.outcome.alreadySent]).toEqual([202, true]);
    expect([one.client.sends.length, two.client.sends.length]).toEqual([1, 0]);
  });

  it.each([
    ['of five clicks at once sends one SMS and shows the PIN page five times', {}],
    [
      'of five clicks at once sends one SMS where no limit is a cooldown, either',
      { sendsPerNumber: [{ points: 10, duration: 3600 }] },
    ],
  ])('%s', async (_what, budgets) => {
    const { client, host } = visit({
      strategy: { budgets },
      routes: withStart,
    });
    const browser = host.browser(await serve(host));
    await browser.get('/start');
    let release: () => void = () => undefined;
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const { onSend } = client;
    client.onSend = async (asked) => {
      await held;
      return onSend(asked);
    };
    const clicks = Array.from({ length: 5 }, () => browser.issue().then((answer) => answer));
    while (host.actions.length < 5) await new Promise((resolve) => setTimeout(resolve, 5));
    release();
    const answers = await Promise.all(clicks);
    expect(answers.map(({ status }) => status)).toEqual(new Array(5).fill(202));
    expect(answers.filter(({ body }) => body.outcome.alreadySent === false)).toHaveLength(1);
    expect(client.sends).toHaveLength(1);
    expect((await browser.check()).status).toBe(200);
  });

  it('of two clicks at once sends one SMS also where the one before them has failed', async () => {
    const { client, host } = visit({
      strategy: { budgets: { sendsPerNumber: null } },
      routes: withStart,
    });
    const browser = host.browser(await serve(host));
    await browser.get('/start');
    const { onSend } = client;
    client.onSend = () => Promise.reject(new Error('the service is down'));
    expect((await browser.issue()).status).toBe(503);
    const gate = createGate();
    client.onSend = async (asked) => {
      await gate.pass();
      return onSend(asked);
    };
    const isSending = gate.shut();
    const clicks = [browser.issue().then((answer) => answer)];
    await isSending;
    clicks.push(browser.issue().then((answer) => answer));
    while (host.actions.length < 3) await new Promise((resolve) => setTimeout(resolve, 5));
    gate.open();
    expect((await Promise.all(clicks)).map(({ body }) => body.outcome.alreadySent)).toEqual([false, true]);
    expect(client.sends).toHaveLength(2);
  });

  it('asks for the template and its placeholders of this very send', async () => {
    const contexts: Partial<SendContext>[] = [];
    const { client, browser } = visit({
      strategy: {
        messageId: (context) => {
          contexts.push(context);
          return `MSG-${context.country}`;
        },
        placeholders: async ({ req }) => ({ city: String(Reflect.get(Object(req.body), 'city')) }),
      },
    });
    await browser.post('/login', { phone: PHONE, city: 'Split' });
    expect(client.sends).toEqual([
      {
        channel: 'sms',
        applicationId: 'APP',
        messageId: 'MSG-HR',
        to: PHONE,
        placeholders: { city: 'Split' },
      },
    ]);
    expect(contexts).toEqual([{ req: expect.anything(), channel: 'sms', phoneNumber: PHONE, country: 'HR' }]);
    later(31);
    await browser.post('/login/resend', { city: 'Zadar' });
    expect(client.resends).toEqual([
      { pinId: 'PIN-ID-1', request: { channel: 'sms', placeholders: { city: 'Zadar' } } },
    ]);
  });
});

describe('a resend', () => {
  it('sends a new PIN, for a new challenge, when less than two minutes are left', async () => {
    for (const [seconds, sends] of [
      [480, 1],
      [480.001, 2],
    ] as const) {
      const { client, browser } = visit();
      const { body } = await browser.issue();
      await browser.check('000000');
      later(seconds);
      const resent = await browser.resend();
      expect(resent.status).toBe(202);
      expect([client.sends.length, client.resends.length]).toEqual([sends, 2 - sends]);
      expect(resent.body.outcome.expiresAt === body.outcome.expiresAt).toBe(sends === 1);
      // A new challenge has all its attempts, the old one those that were left.
      expect((await browser.get('/challenge')).body.attemptsRemaining).toBe(sends === 1 ? 4 : 5);
      expect((await browser.check()).status).toBe(200);
      expect(client.checks.at(-1)?.pinId).toBe(`PIN-ID-${sends}`);
    }
  });

  it('needs an open challenge: of this browser, with attempts left, not used', async () => {
    const { client, host, browser } = visit({ strategy: { attempts: 1 } });
    const refused = async (visitor = browser) => {
      later(31);
      const { status, body } = await visitor.resend();
      expect([status, body.outcome.code]).toEqual([401, 'no_challenge']);
    };
    await refused();
    await browser.issue();
    await refused(host.browser());
    await browser.check('000000');
    await refused();
    await browser.issue();
    await browser.check();
    await refused();
    expect([client.sends.length, client.resends.length]).toEqual([2, 0]);
  });

  it('ignores a number that is posted with it', async () => {
    const { client, browser } = visit();
    await browser.issue();
    later(480.001);
    await browser.resend({ phone: OTHER_PHONE, to: OTHER_PHONE, pinId: 'X' });
    expect(client.sends.map(({ to }) => to)).toEqual([PHONE, PHONE]);
  });

  it('of many at once sends one SMS', async () => {
    const { client, host } = visit();
    const browser = host.browser(await serve(host));
    await browser.issue();
    later(31);
    const answers = await Promise.all(Array.from({ length: 30 }, () => browser.resend()));
    expect(answers.filter(({ status }) => status === 202)).toHaveLength(1);
    expect(answers.filter(({ status }) => status === 429)).toHaveLength(29);
    expect([client.sends.length, client.resends.length]).toEqual([1, 1]);
    expect((await browser.check()).status).toBe(200);
  });

  it('is refused by beforeSend like an issue', async () => {
    let allowed = true;
    const { client, browser } = visit({ strategy: { beforeSend: async () => allowed } });
    await browser.issue();
    later(31);
    allowed = false;
    expect((await browser.resend()).body.outcome.code).toBe('not_now');
    expect(client.resends).toEqual([]);
    allowed = true;
    expect((await browser.resend()).status).toBe(202);
    expect((await browser.check()).body.user.phoneNumber).toBe(PHONE);
  });

  it('brings nobody more time than the PIN has, however often it is asked for', async () => {
    const { client, browser } = visit({ strategy: { budgets: { sendsPerNumber: null } } });
    const { body } = await browser.issue();
    for (let index = 0; index < 8; index += 1) {
      later(60);
      const resent = await browser.resend();
      expect(resent.body.outcome.expiresAt).toBe(body.outcome.expiresAt);
    }
    later(120);
    expect((await browser.check()).body.outcome.code).toBe('pin_expired');
    expect(client.sends).toHaveLength(1);
  });
});

describe('a check', () => {
  it('beside a resend that is under way does not fall back on the PIN id before it', async () => {
    const { client, host } = visit();
    const browser = host.browser(await serve(host));
    await browser.issue();
    later(31);
    client.onResend = async () => ({ pinId: 'PIN-ID-NEW', sent: true });
    const { onVerify } = client;
    const gate = createGate();
    client.onVerify = async (...asked) => {
      await gate.pass();
      return onVerify(...asked);
    };
    const arrived = gate.shut();
    const slow = browser.check('000000').then((answer) => answer);
    await arrived;
    expect((await browser.resend()).status).toBe(202);
    gate.open();
    expect((await slow).body.outcome).toMatchObject({ code: 'pin_wrong', attemptsRemaining: 4 });
    await browser.check();
    expect(client.checks.at(-1)).toEqual({ pinId: 'PIN-ID-NEW', pin: PIN });
  });

  it('for one number that ends after an issue for another does not bring the old challenge back', async () => {
    const { client, host } = visit();
    const browser = host.browser(await serve(host));
    await browser.issue();
    const { onVerify } = client;
    const gate = createGate();
    client.onVerify = async (...asked) => {
      await gate.pass();
      return onVerify(...asked);
    };
    const arrived = gate.shut();
    const slow = browser.check('000000').then((answer) => answer);
    await arrived;
    await browser.issue(OTHER_PHONE);
    gate.open();
    await slow;
    expect((await browser.check()).body.user?.phoneNumber).toBe(OTHER_PHONE);
  });
});
