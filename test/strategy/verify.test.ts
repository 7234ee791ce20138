import type { Verify, VerifyDone } from 'passport-sms-otp';
import { describe, expect, it } from 'vitest';
import { expectNoUnhandledRejection } from '../support/calm.js';
import {
  createHost,
  fakeClient,
  type Host,
  type HostOptions,
  OTHER_PHONE,
  PHONE,
  PIN,
} from '../support/host.js';

expectNoUnhandledRejection();

const ANA = { id: 'ana', phoneNumber: PHONE };
const EVA = { id: 'eva', phoneNumber: OTHER_PHONE };
const later = <T>(value: T) => new Promise<T>((resolve) => setTimeout(resolve, 5, value));

function hostWith(verify: Verify, options: HostOptions = {}): Host {
  const host = createHost(fakeClient(), {
    ...options,
    verify,
    routes(app, { passport }) {
      // Passport's own way, so that what verify throws goes where it goes in production: to next.
      app.post('/plain', passport.authenticate('sms-otp', { phase: 'check' } as object), (_req, res) => {
        res.json({ reached: true });
      });
      app.post('/plain', (_req, res) => {
        res.json({ reached: 'the next route' });
      });
    },
  });
  for (const user of [ANA, EVA]) host.users.set(user.id, user);
  return host;
}

async function login(host: Host) {
  const browser = host.browser();
  await browser.issue();
  const answer = await browser.check();
  const me = await browser.get('/me');
  return { browser, answer, signedIn: me.body.session.passport?.user ?? null };
}

describe('verify', () => {
  const ways: [string, Verify][] = [
    ['returns a user', () => ANA],
    ['returns a promise of a user', () => later(ANA)],
    ['is async', async () => ANA],
    ['calls done', (_proof, done) => done(null, ANA)],
    ['calls done later', (_proof, done) => void setTimeout(done, 5, undefined, ANA)],
    [
      'is async, declares done, and calls it after it has resolved',
      async (_proof, done) => void setTimeout(done, 5, null, ANA),
    ],
    [
      'is a wrapper that declares nothing, calls done and resolves undefined, as in Nest',
      async (...params: [unknown, VerifyDone]) => {
        const user = await later(ANA);
        params[params.length - 1] === params[1] && params[1](null, user);
      },
    ],
    [
      'calls done first and returns somebody else',
      (_proof, done) => {
        done(null, ANA);
        return EVA;
      },
    ],
    [
      'returns first and calls done with somebody else',
      (_proof, done) => {
        setTimeout(done, 5, null, EVA);
        return ANA;
      },
    ],
    [
      'calls done twice',
      (_proof, done) => {
        done(null, ANA);
        done(null, EVA);
      },
    ],
    [
      'calls done and fails afterwards',
      (_proof, done) => {
        done(null, ANA);
        return Promise.reject(new Error('late'));
      },
    ],
    [
      'resolves and calls done with an error afterwards',
      async (_proof, done) => {
        setTimeout(done, 5, new Error('late'));
        return ANA;
      },
    ],
  ];
  it.each(ways)('logs in the user when it %s', async (_way, verify) => {
    const { answer, signedIn } = await login(hostWith(verify));
    expect([answer.status, answer.body.user]).toEqual([200, ANA]);
    expect(signedIn).toBe('ana');
    await later(undefined);
  });

  it('gets what the challenge knows and nothing of what was posted', async () => {
    const proofs: object[] = [];
    const host = hostWith(async (proof) => {
      proofs.push(proof);
      return ANA;
    });
    const browser = host.browser();
    await browser.issue();
    await browser.post('/login/pin?phone=%2B385911112223', {
      pin: PIN,
      phone: '+385911112223',
      email: 'a@b.example',
    });
    expect(proofs.map(({ req: _req, ...proof }: { req?: unknown }) => proof)).toEqual([
      { phoneNumber: PHONE, channel: 'sms' },
    ]);
    expect(Object.keys(proofs[0] ?? {}).sort()).toEqual(['channel', 'phoneNumber', 'req']);
  });

  const refusals: [string, Verify][] = [
    ['false', async () => false],
    ['null', async () => null],
    ['undefined', async () => undefined],
    ['done(null, false)', (_proof, done) => done(null, false)],
    ['done()', (_proof, done) => done()],
  ];
  it.each(refusals)('refuses with user_refused when the answer is %s', async (_answer, verify) => {
    const host = hostWith(verify);
    const { answer, signedIn, browser } = await login(host);
    expect([answer.status, answer.body.outcome]).toEqual([
      401,
      { code: 'user_refused', message: 'You cannot log in with this number.' },
    ]);
    expect(signedIn).toBeNull();
    expect((await browser.check()).body.outcome.code).toBe('no_challenge');
    expect(host.events.map(({ type }) => type)).toContain('login.refused');
  });

  it("keeps the host's info beside the outcome, but not its code", async () => {
    const host = hostWith((_proof, done) =>
      done(null, false, { message: 'Your account is closed.', since: 2020, code: 'pin_sent' }),
    );
    expect((await login(host)).answer.body.outcome).toEqual({
      code: 'user_refused',
      message: 'Your account is closed.',
      since: 2020,
    });
  });

  it("takes a text for the outcome's message", async () => {
    const host = hostWith((_proof, done) => done(null, false, 'Your account is closed.'));
    expect((await login(host)).answer.body.outcome).toEqual({
      code: 'user_refused',
      message: 'Your account is closed.',
    });
  });

  it.each<[string, unknown]>([
    ['null', null],
    ['a number', 7],
    ['an object whose message is no text', { message: { html: '<b>' }, since: 2020 }],
  ])('has the message of the outcome where the info is %s', async (_what, info) => {
    const host = hostWith((_proof, done) => done(null, false, info));
    const { outcome } = (await login(host)).answer.body;
    expect(outcome).toMatchObject({ code: 'user_refused', message: 'You cannot log in with this number.' });
  });

  const thrown: [string, unknown][] = [
    ['an Error', new Error('the database is down')],
    ['undefined', undefined],
    ['null', null],
    ["'route'", 'route'],
    ["'router'", 'router'],
    ['a string', 'no'],
    ['an object', { status: 200 }],
    ['false', false],
    ['0', 0],
  ];
  describe.each(thrown)('that fails with %s', (_what, reason) => {
    const failures: [string, Verify][] = [
      ['rejects', () => Promise.reject(reason)],
      [
        'rejects later',
        async (_proof, _done) => {
          await later(undefined);
          throw reason;
        },
      ],
      [
        'throws',
        () => {
          throw reason;
        },
      ],
    ];
    it.each(failures)('is an error that reaches next when it %s', async (_how, verify) => {
      const host = hostWith(verify);
      const browser = host.browser();
      await browser.issue();
      const { status, body } = await browser.post('/plain', { pin: PIN });
      expect(status).toBe(500);
      expect(body).not.toHaveProperty('reached');
      expect(host.errors).toHaveLength(1);
      expect(host.errors[0]).toBeInstanceOf(Error);
      if (reason instanceof Error) expect(host.errors[0]).toBe(reason);
      else expect(host.errors[0]).toMatchObject({ code: 'ERR_SMS_OTP_HOST', cause: reason });
      expect(host.actions.at(-1)).toEqual(['error']);
      expect((await browser.get('/me')).body.session.passport).toBeUndefined();
      expect((await browser.check()).body.outcome.code).toBe('no_challenge');
    });
  });

  it.each(thrown.filter(([, reason]) => Boolean(reason)))(
    'is an error that reaches next when it calls done with %s',
    async (_what, reason) => {
      const host = hostWith((_proof, done) => done(reason, ANA));
      const browser = host.browser();
      await browser.issue();
      const { status, body } = await browser.post('/plain', { pin: PIN });
      expect(status).toBe(500);
      expect(body).not.toHaveProperty('reached');
      expect(host.errors[0]).toBeInstanceOf(Error);
      if (!(reason instanceof Error)) expect(body.error.message).toMatch(/^The verify callback failed/u);
      expect((await browser.get('/me')).body.session.passport).toBeUndefined();
    },
  );

  it('is an error when it does not answer in time, and what it says afterwards changes nothing', async () => {
    let answerLate: VerifyDone = () => undefined;
    const host = hostWith(
      (_proof, done) => {
        answerLate = done;
      },
      { strategy: { verifyTimeoutMs: 40 } },
    );
    const { answer, browser } = await login(host);
    expect(answer.status).toBe(500);
    expect(answer.body.error).toEqual({
      code: 'ERR_SMS_OTP_HOST',
      message: expect.stringMatching(/verify .*40 ms/u),
    });
    answerLate(null, ANA);
    answerLate(new Error('late'));
    await later(undefined);
    expect((await browser.get('/me')).body.session.passport).toBeUndefined();
    expect((await browser.check()).body.outcome.code).toBe('no_challenge');
    expect(host.actions.map((taken) => taken.length)).toEqual([1, 1, 1]);
  });

  it('is an error when its promise never settles', async () => {
    const host = hostWith(() => new Promise(() => undefined), { strategy: { verifyTimeoutMs: 40 } });
    expect((await login(host)).answer.body.error.code).toBe('ERR_SMS_OTP_HOST');
  });

  it('is asked once for each PIN that was right, and never for a wrong one', async () => {
    const host = createHost(fakeClient());
    const browser = host.browser();
    await browser.issue();
    await browser.check('000000');
    await browser.check('1234');
    await browser.check('');
    expect(host.proofs).toEqual([]);
    await browser.check();
    await browser.check();
    expect(host.proofs).toHaveLength(1);
  });
});
