import type { Express, NextFunction, Request, Response } from 'express';
import type passport from 'passport';
import { SmsOtpStrategy, Strategy } from 'passport-sms-otp';
import { describe, expect, it, vi } from 'vitest';
import { barrier } from '../support/barrier.js';
import { expectNoUnhandledRejection } from '../support/calm.js';
import { createHost, fakeClient, OTHER_PHONE, PHONE, PIN, serve } from '../support/host.js';

expectNoUnhandledRejection();

/** A site that hands everything to Passport, as most do: no custom callback. */
function plainHost(options: {
  client?: ReturnType<typeof fakeClient>;
  issue?: object;
  resend?: object;
  check?: object;
  any?: object;
}) {
  const client = options.client ?? fakeClient();
  const reached: string[] = [];
  const host = createHost(client, {
    routes(app, { passport: own }) {
      const guarded = (path: string, given: object) => {
        app.post(path, own.authenticate('sms-otp', given), (_req, res) => {
          reached.push(path);
          res.json({ reached: path });
        });
      };
      guarded('/issue', { phase: 'issue', ...options.issue });
      guarded('/resend', { phase: 'resend', ...options.resend });
      guarded('/check', { phase: 'check', ...options.check });
      guarded('/any', { ...options.any });
    },
  });
  return { client, host, reached };
}

const TWO_WAYS = { challengeRedirect: '/login/pin', failureRedirect: '/login' };

describe('asking for a PIN', () => {
  it('redirects to challengeRedirect with 303, also for a PIN of a moment ago', async () => {
    const { client, host } = plainHost({ issue: TWO_WAYS });
    const browser = host.browser();
    for (const _ of ['first', 'again']) {
      const { status, headers } = await browser.post('/issue', { phone: PHONE });
      expect(status).toBe(303);
      expect(headers.location).toBe('/login/pin');
    }
    expect(client.sends).toHaveLength(1);
    expect(host.actions).toEqual([['redirect'], ['redirect']]);
  });

  it('redirects a resend in the same way', async () => {
    const { client, host } = plainHost({ issue: TWO_WAYS, resend: TWO_WAYS });
    const browser = host.browser();
    await browser.post('/issue', { phone: PHONE });
    const tooEarly = await browser.post('/resend');
    expect(tooEarly.status).toBe(302);
    expect(tooEarly.headers.location).toBe('/login');
    expect(client.resends).toHaveLength(0);
  });

  it('answers 202 without challengeRedirect', async () => {
    const { host } = plainHost({});
    const { status, text } = await host.browser().post('/issue', { phone: PHONE });
    expect([status, text]).toEqual([202, 'Accepted']);
    expect(host.actions).toEqual([['fail']]);
  });

  it('never runs the handler behind the guard, whatever comes of it', async () => {
    for (const options of [{}, { issue: TWO_WAYS, resend: TWO_WAYS, any: TWO_WAYS }]) {
      const { host, reached } = plainHost(options);
      const browser = host.browser();
      await browser.post('/issue', { phone: PHONE });
      await browser.post('/issue', { phone: PHONE });
      await browser.post('/issue', { phone: 'nonsense' });
      await browser.post('/resend');
      await browser.post('/any', { phone: PHONE });
      await browser.post('/any', { phone: OTHER_PHONE });
      await browser.post('/check', { pin: '000000' });
      await browser.post('/check', {});
      expect(reached).toEqual([]);
      await browser.post('/check', { pin: PIN });
      expect(reached).toEqual(['/check']);
      expect(host.actions.map((taken) => taken.length)).toEqual(new Array(9).fill(1));
    }
  });

  it.each([
    [{ challengeRedirekt: '/login/pin' }, 'challengeRedirect'],
    [{ phaze: 'check' }, 'phase'],
    [{ channels: ['voice'] }, 'channel'],
  ])(
    'reports an option of a route that was probably meant to be another, and sends nothing: %j',
    async (options, meant) => {
      const client = fakeClient();
      const { browser } = createHost(client, { authenticate: options });
      for (const asked of [browser().issue(), browser().issue()]) {
        const { status, body } = await asked;
        expect([status, body.error.code]).toEqual([500, 'ERR_SMS_OTP_CONFIGURATION']);
        expect(body.error.message).toContain(`Did you mean \`${meant}\`?`);
      }
      expect(client.sends).toEqual([]);
    },
  );

  it("leaves a route's other options to Passport and to the host", async () => {
    const { browser } = createHost(fakeClient(), {
      authenticate: { session: true, tenant: 'a', state: 'x', base: '/' },
    });
    expect((await browser().issue()).status).toBe(202);
  });

  it('says once that a form was not read', async () => {
    const { browser, events } = createHost(fakeClient(), { parsers: [(_req, _res, next) => next()] });
    const warn = vi.spyOn(process, 'emitWarning').mockReturnValue();
    expect((await browser().issue()).body.outcome.code).toBe('phone_missing');
    expect((await browser().issue()).body.outcome.code).toBe('phone_missing');
    expect(warn.mock.calls).toEqual([
      [
        expect.stringContaining('does `express.urlencoded({ extended: false })` run'),
        { code: 'SMS_OTP_NO_BODY' },
      ],
    ]);
    expect(events.map(({ type }) => type)).toEqual(['configuration.warned']);
    warn.mockRestore();
  });

  it('says nothing of an empty form where the number is not in it', async () => {
    const { browser, events } = createHost(fakeClient(), {
      parsers: [(_req, _res, next) => next()],
      strategy: { recipient: () => null },
    });
    const warn = vi.spyOn(process, 'emitWarning').mockReturnValue();
    expect((await browser().issue()).body.outcome.code).toBe('recipient_missing');
    expect(warn).not.toHaveBeenCalled();
    expect(events).toEqual([]);
    warn.mockRestore();
  });

  it('reports a failure route without challengeRedirect as a misconfiguration, and sends nothing', async () => {
    for (const option of ['failureRedirect', 'failWithError']) {
      const { client, host } = plainHost({
        issue: { [option]: '/login' },
        resend: { [option]: '/login' },
        any: { [option]: '/login' },
      });
      const browser = host.browser();
      for (const path of ['/issue', '/resend', '/any']) {
        const { status, body } = await browser.post(path, { phone: PHONE });
        expect(status).toBe(500);
        expect(body.error).toEqual({
          code: 'ERR_SMS_OTP_CONFIGURATION',
          message: expect.stringContaining(
            `SmsOtpStrategy 'sms-otp': \`${option}\` without \`challengeRedirect\``,
          ),
        });
      }
      expect(client.sends).toEqual([]);
    }
  });

  it('leaves a failure to the host: redirect, message in the session, no Retry-After on a redirect', async () => {
    const { host } = plainHost({ issue: { ...TWO_WAYS, failureMessage: true } });
    await host.browser().post('/issue', { phone: PHONE });
    const stranger = host.browser();
    const refused = await stranger.post('/issue', { phone: PHONE });
    expect(refused.status).toBe(302);
    expect(refused.headers.location).toBe('/login');
    expect(refused.headers).not.toHaveProperty('retry-after');
    expect((await stranger.get('/me')).body.session.messages).toEqual([
      expect.stringMatching(/^Too many requests\. Try again in (?:30|29) seconds\.$/u),
    ]);
  });

  it('says when to come back in Retry-After where the answer is not a redirect', async () => {
    const { host } = plainHost({});
    await host.browser().post('/issue', { phone: PHONE });
    const refused = await host.browser().post('/issue', { phone: PHONE });
    expect(refused.status).toBe(429);
    expect(refused.headers['retry-after']).toMatch(/^(?:30|29)$/u);
  });
});

describe('the phase', () => {
  it('is check when the form has the PIN field, else issue', async () => {
    const { client, host } = plainHost({});
    const browser = host.browser();
    expect((await browser.post('/any', { phone: PHONE })).status).toBe(202);
    expect((await browser.post('/any', { phone: OTHER_PHONE, pin: '' })).status).toBe(400);
    expect(client.sends).toHaveLength(1);
    const { status, body } = await browser.post('/any', { phone: OTHER_PHONE, pin: PIN });
    expect([status, body]).toEqual([200, { reached: '/any' }]);
    expect((await browser.get('/me')).body.user.phoneNumber).toBe(PHONE);
  });

  it('is an error when it has another name', async () => {
    const { client, host } = plainHost({ any: { phase: 'verify' } });
    const { status, body } = await host.browser().post('/any', { phone: PHONE, pin: PIN });
    expect(status).toBe(500);
    expect(body.error.message).toMatch(
      /^SmsOtpStrategy 'sms-otp': the phase .*"verify".*'issue', 'resend' or 'check'/u,
    );
    expect(client.sends).toEqual([]);
    expect(host.actions).toEqual([['error']]);
  });
});

describe('a check', () => {
  it('is the only step that may have a failure route without challengeRedirect', async () => {
    const { host } = plainHost({ check: { failureRedirect: '/login/pin', failureMessage: true } });
    const browser = host.browser();
    await browser.post('/issue', { phone: PHONE });
    const wrong = await browser.post('/check', { pin: '000000' });
    expect([wrong.status, wrong.headers.location]).toEqual([302, '/login/pin']);
    expect((await browser.get('/me')).body.session.messages).toEqual([
      'Wrong PIN. You can try 4 more times.',
    ]);
  });

  it('leaves no more than the last twenty messages to a visitor who reads none', async () => {
    const { host } = plainHost({ check: { failureRedirect: '/login/pin', failureMessage: true } });
    const browser = host.browser();
    for (let index = 0; index < 19; index += 1) await browser.post('/check', { pin: '' });
    const messages = async () => (await browser.get('/me')).body.session.messages;
    expect(await messages()).toHaveLength(19);
    await browser.post('/check', { pin: '' });
    await browser.post('/check', { pin: '' });
    expect(await messages()).toHaveLength(20);
    await browser.post('/issue', { phone: PHONE });
    await browser.post('/check', { pin: '000000' });
    expect(await messages()).toHaveLength(20);
    expect((await messages()).at(-1)).toBe('Wrong PIN. You can try 4 more times.');
  });

  it('follows successRedirect and hands the channel to req.authInfo', async () => {
    const client = fakeClient();
    const infos: unknown[] = [];
    const host = createHost(client, {
      verify: (_proof, done) => done(null, { id: 'u1' }, { message: 'Hello', first: true }),
      routes(app, { passport: own }) {
        const remember = (req: Request, res: Response) => {
          infos.push(req.authInfo);
          res.end();
        };
        app.post('/info', own.authenticate('sms-otp', { phase: 'check' } as object), remember);
        app.post('/away', own.authenticate('sms-otp', { phase: 'check', successRedirect: '/me' } as object));
      },
    });
    const browser = host.browser();
    await browser.issue();
    await browser.post('/info', { pin: PIN });
    expect(infos).toEqual([{ message: 'Hello', first: true, channel: 'sms' }]);
    const other = host.browser();
    await other.issue(OTHER_PHONE);
    const { status, headers } = await other.post('/away', { pin: PIN });
    expect([status, headers.location]).toEqual([302, '/me']);
  });

  it('fails with an error where the host asks for one', async () => {
    const { host } = plainHost({ check: { failWithError: true } });
    const { status } = await host.browser().post('/check', { pin: PIN });
    expect(status).toBe(401);
    expect(host.errors).toEqual([expect.objectContaining({ name: 'AuthenticationError', status: 401 })]);
  });
});

describe('the strategy under Passport', () => {
  it('is exported by both names that Passport users expect', () => {
    expect(Strategy).toBe(SmsOtpStrategy);
  });

  it('returns nothing from authenticate', async () => {
    const client = fakeClient();
    const host = createHost(client);
    const returned: unknown[] = [];
    const { authenticate } = host.strategy;
    host.strategy.authenticate = function (this: SmsOtpStrategy, ...args) {
      returned.push(authenticate.apply(this, args));
    };
    await host.browser().issue();
    expect(returned).toEqual([undefined]);
  });

  const byInstance =
    (own: passport.Authenticator, strategy: SmsOtpStrategy, phase: string) =>
    (req: Request, res: Response, next: NextFunction) =>
      own.authenticate(
        strategy as unknown as passport.Strategy,
        { phase } as object,
        (error: unknown, user: unknown, info: unknown) =>
          error ? next(error) : res.json({ user: user || null, info }),
      )(req, res, next);

  it('does not mix two visitors when it is given as an instance and they come at the same time', async () => {
    const client = fakeClient();
    const numbers = Array.from({ length: 20 }, (_, index) => `+3859112345${String(index + 10)}`);
    const together = { send: barrier(numbers.length), check: barrier(numbers.length) };
    const { onSend, onVerify } = client;
    client.onSend = async (asked) => {
      const sent = await onSend(asked);
      await together.send.pass();
      return { ...sent, pinId: `PIN-OF-${asked.to}` };
    };
    client.onVerify = async (...asked) => {
      await together.check.pass();
      return onVerify(...asked);
    };
    let strategy: SmsOtpStrategy | undefined;
    const host = createHost(client, {
      routes(app: Express, { passport: own }) {
        const route = (phase: string) => (req: Request, res: Response, next: NextFunction) =>
          strategy ? byInstance(own, strategy, phase)(req, res, next) : next();
        app.post('/by-instance', route('issue'));
        app.post('/by-instance/pin', route('check'));
      },
    });
    strategy = host.strategy;
    const url = await serve(host);
    const visitors = numbers.map((phone) => ({ phone, browser: host.browser(url) }));
    const issued = await Promise.all(
      visitors.map(({ browser, phone }) => browser.post('/by-instance', { phone })),
    );
    expect(issued.map(({ body }) => body.info.to)).toEqual(
      numbers.map((phone) => `+385 \u2022\u2022\u2022 ${phone.slice(-2)}`),
    );
    const checked = await Promise.all(
      visitors.map(({ browser }) => browser.post('/by-instance/pin', { pin: PIN })),
    );
    expect(together.send.most).toBe(numbers.length);
    expect(together.check.most).toBe(numbers.length);
    expect(checked.map(({ body }) => body.user.phoneNumber)).toEqual(numbers);
    expect(client.checks.map(({ pinId }) => pinId).sort()).toEqual(numbers.map((phone) => `PIN-OF-${phone}`));
  });

  it("sends an error of the host's own callback to next, and the next request is served", async () => {
    const host = createHost(fakeClient(), {
      routes(app, { passport: own }) {
        app.post('/throws', (req, res, next) => {
          let calls = 0;
          own.authenticate('sms-otp', { phase: 'issue' } as object, (error: unknown) => {
            calls += 1;
            if (calls === 1) throw new Error('the callback of the host is broken');
            next(error);
          })(req, res, next);
        });
        app.post('/throws-twice', (req, res, next) => {
          own.authenticate('sms-otp', { phase: 'issue' } as object, () => {
            throw new Error('broken for good');
          })(req, res, next);
        });
      },
    });
    const warnings: Error[] = [];
    const note = (warning: Error) => warnings.push(warning);
    process.on('warning', note);
    const once = await host.browser().post('/throws', { phone: PHONE });
    expect([once.status, once.body.error.message]).toEqual([500, 'the callback of the host is broken']);
    const twice = await host.browser().post('/throws-twice', { phone: OTHER_PHONE });
    expect(twice.status).toBe(500);
    process.off('warning', note);
    expect(warnings.map(({ message }) => message)).toEqual(['broken for good']);
    expect((await host.browser().issue('+385911112223')).status).toBe(202);
  });
});
