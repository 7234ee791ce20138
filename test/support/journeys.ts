/** What every login must do, wherever the open challenge is kept. */

import type { Express } from 'express';
import { SmsOtpStrategy, type SmsOtpStrategyOptions } from 'passport-sms-otp';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { type Barrier, barrier } from './barrier.js';
import {
  type Browser,
  createHost,
  type FakeClient,
  fakeClient,
  type Host,
  type HostOptions,
  OTHER_PHONE,
  PHONE,
  PIN,
  serve,
} from './host.js';

export interface Place {
  /** The options that put the challenges there; called once for each host. */
  options: () => HostOptions;
  /** What is kept for this browser. */
  kept: (host: Host, browser: Browser) => Promise<unknown>;
}

const MINUTE = 60_000;

/** Runs the journeys as a suite called `title`. */
export function describeJourneys(title: string, place: Place): void {
  const start = (client: FakeClient, more: HostOptions = {}): Host => {
    const own = place.options();
    return createHost(client, {
      ...own,
      ...more,
      strategy: { ...own.strategy, ...more.strategy },
      routes(app, host) {
        // A page before the login: it gives the browser its cookies.
        app.get('/start', (req, res) => {
          if (req.session) Reflect.set(req.session, 'visited', true);
          res.end();
        });
        own.routes?.(app, host);
        more.routes?.(app, host);
      },
    });
  };
  const gated = (path: string, gate: Barrier) => ({
    routes: (app: Express) => {
      app.post(path, async (_req, _res, next) => {
        await gate.pass();
        next();
      });
    },
  });

  describe(title, () => {
    afterEach(() => {
      vi.useRealTimers();
    });

    it('makes a user at the first login and finds it at the next', async () => {
      const client = fakeClient();
      const host = start(client);
      const first = host.browser();
      await first.issue();
      expect((await first.check()).body.user).toEqual({ id: 'u1', phoneNumber: PHONE });
      vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + MINUTE });
      const second = host.browser();
      await second.issue();
      expect((await second.check()).body.user.id).toBe('u1');
      expect(host.users.size).toBe(1);
      expect(host.actions.every((taken) => taken.length === 1)).toBe(true);
    });

    it('leaves nothing of the challenge behind a login', async () => {
      const host = start(fakeClient());
      const browser = host.browser();
      await browser.issue();
      expect(JSON.stringify(await place.kept(host, browser))).toContain('PIN-ID-1');
      await browser.check();
      expect(JSON.stringify((await place.kept(host, browser)) ?? null)).not.toMatch(/PIN-ID|challenge/u);
      expect((await browser.get('/challenge')).body).toBeNull();
    });

    it('refuses the right PIN after five wrong ones, and asks the service no more', async () => {
      const client = fakeClient();
      const host = start(client);
      const browser = host.browser();
      await browser.issue();
      for (const attemptsRemaining of [4, 3, 2, 1]) {
        const { body, status } = await browser.check('000000');
        expect(status).toBe(401);
        expect(body.outcome).toMatchObject({ code: 'pin_wrong', attemptsRemaining });
        expect((await browser.get('/challenge')).body).toMatchObject({ attemptsRemaining });
      }
      const fifth = await browser.check('000000');
      expect(fifth.status).toBe(401);
      expect(fifth.body.outcome.code).toBe('attempts_exhausted');
      expect((await browser.get('/challenge')).body).toBeNull();
      const right = await browser.check();
      expect(right.status).toBe(401);
      expect(right.body.outcome.code).toBe('no_challenge');
      expect(client.checks).toHaveLength(5);
      expect((await browser.get('/me')).body.user).toBeNull();
    });

    it('does not take a PIN twice, although the service would', async () => {
      const client = fakeClient();
      const host = start(client);
      const browser = host.browser();
      await browser.issue();
      await browser.check();
      const again = await browser.check();
      expect(again.status).toBe(401);
      expect(again.body.outcome.code).toBe('no_challenge');
      expect(client.checks).toHaveLength(1);
    });

    it('signs in exactly one of 50 overlapping requests with the right PIN', async () => {
      const client = fakeClient();
      const arrived = barrier(50);
      const asking = barrier(10);
      const answer = client.onVerify;
      client.onVerify = async (...asked) => {
        await asking.pass();
        return answer(...asked);
      };
      const host = start(client, { strategy: { attempts: 10 }, ...gated('/login/pin', arrived) });
      const browser = host.browser(await serve(host));
      await browser.issue();
      const answers = await Promise.all(Array.from({ length: 50 }, () => browser.check()));

      expect(arrived.most).toBe(50);
      expect(asking.most).toBe(10);
      expect(client.checks).toHaveLength(10);
      expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
      const codes = answers.flatMap(({ body }) => body.outcome?.code ?? []);
      expect(codes).toHaveLength(49);
      for (const code of codes) expect(['no_challenge', 'attempts_exhausted']).toContain(code);
      expect(host.proofs).toHaveLength(1);
      expect(host.errors).toEqual([]);
      expect((await browser.get('/me')).body.user).toEqual({ id: 'u1', phoneNumber: PHONE });
    });

    it('lets no more than the allowed attempts through at once', async () => {
      const client = fakeClient();
      const arrived = barrier(50);
      const asking = barrier(5);
      const answer = client.onVerify;
      client.onVerify = async (...asked) => {
        await asking.pass();
        return answer(...asked);
      };
      const host = start(client, gated('/login/pin', arrived));
      const browser = host.browser(await serve(host));
      await browser.issue();
      const answers = await Promise.all(
        Array.from({ length: 50 }, (_, index) => browser.check(String(index).padStart(6, '9'))),
      );
      expect(asking.most).toBe(5);
      expect(client.checks).toHaveLength(5);
      expect(answers.every(({ status }) => status === 401)).toBe(true);
      expect((await browser.check()).body.outcome.code).toMatch(/^(?:attempts_exhausted|no_challenge)$/u);
      expect(client.checks).toHaveLength(5);
    });

    it("refuses the PIN of one browser's challenge in another browser", async () => {
      const client = fakeClient();
      const host = start(client);
      const [owner, thief] = [host.browser(), host.browser()];
      await thief.get('/start');
      await owner.issue();
      const stolen = await thief.check();
      expect(stolen.status).toBe(401);
      expect(stolen.body.outcome.code).toBe('no_challenge');
      expect(client.checks).toEqual([]);
      expect((await owner.check()).status).toBe(200);
    });

    it('refuses the PIN of one strategy at another', async () => {
      const client = fakeClient();
      const own = place.options();
      const host = start(client, {
        ...own,
        routes(app, { passport }) {
          passport.use(
            new SmsOtpStrategy(
              {
                client,
                applicationId: 'APP',
                messageId: 'MSG',
                countries: ['HR'],
                name: 'other',
                ...own.strategy,
              } as SmsOtpStrategyOptions,
              async () => ({ id: 'nobody' }),
            ),
          );
          app.post('/other/pin', (req, res, next) =>
            passport.authenticate(
              'other',
              { phase: 'check' } as object,
              (error: unknown, user: unknown, info: unknown) =>
                error ? next(error) : res.status(user ? 200 : 401).json({ outcome: info }),
            )(req, res, next),
          );
        },
      });
      const browser = host.browser();
      await browser.issue();
      const elsewhere = await browser.post('/other/pin', { pin: PIN });
      expect(elsewhere.status).toBe(401);
      expect(elsewhere.body.outcome.code).toBe('no_challenge');
      expect(client.checks).toEqual([]);
      expect((await browser.check()).status).toBe(200);
    });

    it('ignores another number that is posted beside the PIN', async () => {
      const client = fakeClient();
      const host = start(client);
      const browser = host.browser();
      await browser.issue();
      const { body } = await browser.post('/login/pin', {
        pin: PIN,
        phone: OTHER_PHONE,
        subject: 'root',
        pinId: 'X',
      });
      expect(body.user.phoneNumber).toBe(PHONE);
      expect(host.proofs).toEqual([{ phoneNumber: PHONE, channel: 'sms', req: expect.anything() }]);
      expect(client.checks).toEqual([{ pinId: 'PIN-ID-1', pin: PIN }]);
    });

    it('answers a double click with one SMS and the PIN page twice', async () => {
      const client = fakeClient();
      const arrived = barrier(2);
      const host = start(client, gated('/login', arrived));
      const browser = host.browser(await serve(host));
      await browser.get('/start');
      const answers = await Promise.all([browser.issue(), browser.issue()]);
      expect(arrived.most).toBe(2);
      expect(answers.map(({ status }) => status)).toEqual([202, 202]);
      expect(answers.map(({ body }) => body.outcome.alreadySent).sort()).toEqual([false, true]);
      expect(client.sends).toHaveLength(1);
      expect((await browser.check()).status).toBe(200);
    });

    it('answers going back and submitting again with the PIN page and no second SMS', async () => {
      const client = fakeClient();
      const host = start(client);
      const browser = host.browser();
      const first = await browser.issue();
      const second = await browser.issue('+385 91/123-4567');
      expect(second.status).toBe(202);
      expect(second.body.outcome).toEqual({ ...first.body.outcome, alreadySent: true });
      expect(client.sends).toHaveLength(1);
      expect(client.resends).toHaveLength(0);
    });

    it('replaces the open challenge when another number asks', async () => {
      const client = fakeClient();
      const host = start(client);
      const browser = host.browser();
      await browser.issue();
      await browser.issue(OTHER_PHONE);
      const { body } = await browser.check();
      expect(body.user.phoneNumber).toBe(OTHER_PHONE);
      expect(client.checks).toEqual([{ pinId: 'PIN-ID-2', pin: PIN }]);
    });

    it('sends the same PIN again: expiry and attempts stay, the PIN id of the answer counts', async () => {
      vi.useFakeTimers({ toFake: ['Date'] });
      const client = fakeClient();
      client.onResend = async () => ({ pinId: 'PIN-ID-NEW', sent: true });
      const host = start(client);
      const browser = host.browser();
      const issued = await browser.issue();
      await browser.check('000000');
      vi.setSystemTime(Date.now() + 30_000);
      const resent = await browser.resend();
      expect(resent.status).toBe(202);
      expect(resent.body.outcome).toMatchObject({
        code: 'pin_sent',
        alreadySent: false,
        expiresAt: issued.body.outcome.expiresAt,
      });
      expect(client.resends).toEqual([{ pinId: 'PIN-ID-1', request: { channel: 'sms' } }]);
      expect(client.sends).toHaveLength(1);
      const wrong = await browser.check('000000');
      expect(wrong.body.outcome).toMatchObject({ code: 'pin_wrong', attemptsRemaining: 3 });
      expect((await browser.check()).status).toBe(200);
      expect(client.checks.map(({ pinId }) => pinId)).toEqual(['PIN-ID-1', 'PIN-ID-NEW', 'PIN-ID-NEW']);
    });

    it('takes a PIN until its last millisecond and not after', async () => {
      vi.useFakeTimers({ toFake: ['Date'] });
      const client = fakeClient();
      const host = start(client);
      const [early, late] = [host.browser(), host.browser()];
      await early.issue();
      await late.issue(OTHER_PHONE);
      vi.setSystemTime(Date.now() + 600_000 - 1);
      expect((await early.check()).status).toBe(200);
      vi.setSystemTime(Date.now() + 1);
      const { status, body } = await late.check();
      expect(status).toBe(401);
      expect(body.outcome.code).toBe('pin_expired');
      expect(client.checks).toHaveLength(1);
      expect((await late.get('/challenge')).body).toBeNull();
    });

    it('sends a new PIN when one is asked for after the old expired', async () => {
      vi.useFakeTimers({ toFake: ['Date'] });
      const client = fakeClient();
      const host = start(client);
      const browser = host.browser();
      await browser.issue();
      vi.setSystemTime(Date.now() + 10 * MINUTE);
      expect((await browser.check()).body.outcome.code).toBe('pin_expired');
      const { status, body } = await browser.resend();
      expect(status).toBe(202);
      expect(body.outcome.expiresAt).toBe(new Date(Date.now() + 10 * MINUTE).toISOString());
      expect(client.resends).toEqual([]);
      expect(client.sends).toHaveLength(2);
      expect((await browser.check()).status).toBe(200);
      expect(client.checks).toEqual([{ pinId: 'PIN-ID-2', pin: PIN }]);
    });
  });
}
