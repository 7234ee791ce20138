import { OUTCOMES } from 'passport-sms-otp';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { expectNoUnhandledRejection } from '../support/calm.js';
import { createHost, type FakeClient, fakeClient, OTHER_PHONE, PHONE, PIN } from '../support/host.js';

expectNoUnhandledRejection();

afterEach(() => {
  vi.useRealTimers();
});

/** An error as a client of the service throws it. */
function failure(fields: Record<string, unknown>): Error {
  return Object.assign(new Error('the service failed'), fields);
}

function visit() {
  const client = fakeClient();
  const host = createHost(client);
  return { client, host, browser: host.browser() };
}

type Judged = [status: number, code: string];

const ERRORS: [title: string, fields: Record<string, unknown>, code: string][] = [
  ['is down', { code: 'ERR_INFOBIP_UNREACHABLE', sent: false }, 'ERR_INFOBIP_UNREACHABLE'],
  ['is slow', { code: 'ERR_INFOBIP_TIMEOUT', sent: 'unknown' }, 'ERR_INFOBIP_TIMEOUT'],
  ['cuts the connection', { code: 'ECONNRESET', sent: 'unknown' }, 'ERR_SMS_OTP_SERVICE'],
  [
    'refuses our key',
    { code: 'ERR_INFOBIP_UNAUTHORIZED', status: 401, sent: false },
    'ERR_INFOBIP_UNAUTHORIZED',
  ],
  ['forbids it', { code: 'ERR_INFOBIP_FORBIDDEN', status: 403, sent: false }, 'ERR_INFOBIP_FORBIDDEN'],
  [
    'calls it a bad request',
    { code: 'ERR_INFOBIP_BAD_REQUEST', status: 400, sent: false },
    'ERR_INFOBIP_BAD_REQUEST',
  ],
  [
    'fails with 500',
    { code: 'ERR_INFOBIP_UNAVAILABLE', status: 500, sent: 'unknown' },
    'ERR_INFOBIP_UNAVAILABLE',
  ],
  [
    'answers what its client cannot read',
    { code: 'ERR_INFOBIP_UNEXPECTED_RESPONSE', status: 200, sent: 'unknown' },
    'ERR_INFOBIP_UNEXPECTED_RESPONSE',
  ],
  ['has a client that says nothing about its error', {}, 'ERR_SMS_OTP_SERVICE'],
];

const NO_ERRORS: [string, unknown][] = [
  ['undefined', undefined],
  ['null', null],
  ["'route'", 'route'],
  ['a number', 7],
];

const NONSENSE_SENT: [string, unknown][] = [
  ['nothing', undefined],
  ['null', null],
  ['a text', 'PIN-ID-1'],
  ['an empty object', {}],
  ['no word on whether it was sent', { pinId: 'PIN-ID-1' }],
  ['"true" for sent', { pinId: 'PIN-ID-1', sent: 'true' }],
  ['1 for sent', { pinId: 'PIN-ID-1', sent: 1 }],
];

const NO_PIN_ID: [string, unknown][] = [
  ['no PIN id', { sent: true }],
  ['an empty PIN id', { pinId: '', sent: true }],
  ['a number for a PIN id', { pinId: 7, sent: true }],
  ['an object for a PIN id', { pinId: {}, sent: true }],
];

describe('when a PIN is sent', () => {
  it.each(ERRORS)(
    'and the service %s, it is an error, sent once, and there is no challenge',
    async (_how, fields, code) => {
      const { client, host, browser } = visit();
      const thrown = failure(fields);
      client.onSend = () => Promise.reject(thrown);
      const { status, body } = await browser.issue();
      expect([status, body.error.code]).toEqual([503, code]);
      expect(host.errors).toEqual([expect.objectContaining({ cause: thrown, status: 503 })]);
      expect(client.sends).toHaveLength(1);
      expect((await browser.get('/challenge')).body).toBeNull();
      expect((await browser.check()).body.outcome.code).toBe('no_challenge');
      expect(host.actions).toEqual([['error'], ['fail']]);
      expect(host.events.map(({ type }) => type)).toContain('pin.not_sent');
      // And nobody's second click sends another one.
      expect((await browser.issue()).status).toBe(429);
      expect(client.sends).toHaveLength(1);
    },
  );

  it.each(NO_ERRORS)('and the client throws %s, it is a real Error', async (_what, thrown) => {
    const { client, host, browser } = visit();
    client.onSend = () => Promise.reject(thrown);
    const { status, body } = await browser.issue();
    expect([status, body.error.code]).toEqual([503, 'ERR_SMS_OTP_SERVICE']);
    expect(host.errors[0]).toBeInstanceOf(Error);
    expect(client.sends).toHaveLength(1);
  });

  it.each([...NONSENSE_SENT, ...NO_PIN_ID])(
    'and the answer is %s, it is an error and there is no challenge',
    async (_what, answer) => {
      const { client, browser } = visit();
      client.onSend = async () => answer as never;
      const { status, body } = await browser.issue();
      expect([status, body.error.code]).toEqual([503, 'ERR_SMS_OTP_SERVICE']);
      expect(body.error.message).toMatch(/^The PIN service answered .*nonsense/u);
      expect((await browser.get('/challenge')).body).toBeNull();
      expect(client.sends).toHaveLength(1);
    },
  );

  it.each([
    ['with a time', { status: 429, code: 'ERR_INFOBIP_RATE_LIMITED', retryAfterSeconds: 7 }, 7],
    ['with a part of a second', { status: 429, retryAfterSeconds: 0.2 }, 1],
    ['without a time', { code: 'ERR_INFOBIP_RATE_LIMITED' }, 60],
    ['with a time that is none', { status: 429, retryAfterSeconds: Number.NaN }, 60],
    ['with a time before now', { status: 429, retryAfterSeconds: -5 }, 60],
  ])('and the service has its own limit, %s, the visitor is told to wait', async (_how, fields, seconds) => {
    const { client, browser } = visit();
    client.onSend = () => Promise.reject(failure(fields));
    const { status, body, headers } = await browser.issue();
    expect([status, body.outcome]).toEqual([
      429,
      {
        code: 'too_many_requests',
        message: OUTCOMES.too_many_requests.message({ retryAfterSeconds: seconds, budget: 'service' }),
        retryAfterSeconds: seconds,
        budget: 'service',
      },
    ]);
    expect(headers['retry-after']).toBe(String(seconds));
    expect(client.sends).toHaveLength(1);
    expect((await browser.get('/challenge')).body).toBeNull();
  });

  it('and the service says that it did not send, the visitor is told so and there is no challenge', async () => {
    const { client, browser } = visit();
    client.onSend = async () => ({ pinId: 'PIN-ID-1', sent: false });
    expect((await browser.issue()).body.outcome.code).toBe('undeliverable');
    expect((await browser.get('/challenge')).body).toBeNull();
    expect((await browser.check()).body.outcome.code).toBe('no_challenge');
    expect(client.checks).toEqual([]);
  });

  it('and that fails, the challenge that was open before stays open', async () => {
    const { client, browser } = visit();
    await browser.issue();
    client.onSend = () => Promise.reject(failure({ status: 500 }));
    expect((await browser.issue(OTHER_PHONE)).status).toBe(503);
    expect((await browser.check()).body.user.phoneNumber).toBe(PHONE);
  });
});

describe('when a PIN is sent again', () => {
  async function resendWith(onResend: FakeClient['onResend']) {
    vi.useFakeTimers({ toFake: ['Date'] });
    const here = visit();
    here.client.onResend = onResend;
    await here.browser.issue();
    vi.setSystemTime(Date.now() + 31_000);
    const answer = await here.browser.resend();
    return { ...here, answer };
  }

  it.each(ERRORS)(
    'and the service %s, it is an error and the first PIN still works',
    async (_how, fields, code) => {
      const { answer, client, browser } = await resendWith(() => Promise.reject(failure(fields)));
      expect([answer.status, answer.body.error.code]).toEqual([503, code]);
      expect([client.sends.length, client.resends.length]).toEqual([1, 1]);
      expect((await browser.check()).status).toBe(200);
    },
  );

  it.each(NONSENSE_SENT)(
    'and the answer is %s, it is an error and the first PIN still works',
    async (_what, sent) => {
      const { answer, client, browser } = await resendWith(async () => sent as never);
      expect([answer.status, answer.body.error?.code]).toEqual([503, 'ERR_SMS_OTP_SERVICE']);
      expect([client.sends.length, client.resends.length]).toEqual([1, 1]);
      expect((await browser.check()).status).toBe(200);
    },
  );

  it('and the service no longer knows the PIN, a new one takes its place', async () => {
    for (const fields of [{ code: 'ERR_INFOBIP_NOT_FOUND' }, { status: 404 }]) {
      const { answer, client, browser } = await resendWith(() => Promise.reject(failure(fields)));
      expect([answer.status, answer.body.outcome.alreadySent]).toEqual([202, false]);
      expect([client.sends.length, client.resends.length]).toEqual([2, 1]);
      expect((await browser.check()).status).toBe(200);
      expect(client.checks).toEqual([{ pinId: 'PIN-ID-2', pin: PIN }]);
    }
  });

  it('and the service has its own limit, the visitor is told to wait and the first PIN still works', async () => {
    const { answer, browser } = await resendWith(() =>
      Promise.reject(failure({ status: 429, retryAfterSeconds: 90 })),
    );
    expect([answer.status, answer.body.outcome.retryAfterSeconds]).toEqual([429, 90]);
    expect((await browser.check()).status).toBe(200);
  });

  it('and the service says that it did not send, the first PIN still works', async () => {
    const { answer, browser } = await resendWith(async (pinId) => ({ pinId, sent: false }));
    expect([answer.status, answer.body.outcome.code]).toEqual([422, 'undeliverable']);
    expect((await browser.check()).status).toBe(200);
  });
});

describe('when a PIN is checked', () => {
  async function checkWith(onVerify: FakeClient['onVerify']) {
    const here = visit();
    const { onVerify: honest } = here.client;
    here.client.onVerify = onVerify;
    await here.browser.issue();
    const answer = await here.browser.check();
    const asked = here.client.checks.length;
    here.client.onVerify = honest;
    const me = await here.browser.get('/me');
    return { ...here, answer, asked, signedIn: me.body.user };
  }

  it.each([
    ['wrong_pin', [401, 'pin_wrong']],
    ['unknown', [401, 'pin_wrong']],
    ['no_more_attempts', [401, 'attempts_exhausted']],
    ['expired', [401, 'pin_expired']],
  ] as ['wrong_pin' | 'unknown' | 'no_more_attempts' | 'expired', Judged][])(
    'and the service says %s, nobody is logged in',
    async (reason, judged) => {
      const { answer, asked, signedIn, host } = await checkWith(async (pinId) => ({
        verified: false,
        pinId,
        reason,
        attemptsRemaining: 99,
        pinError: 'WRONG',
      }));
      expect([answer.status, answer.body.outcome.code]).toEqual(judged);
      if (judged[1] === 'pin_wrong') expect(answer.body.outcome.attemptsRemaining).toBe(4);
      expect([asked, signedIn, host.proofs]).toEqual([1, null, []]);
    },
  );

  it('and the service no longer knows the PIN, its time is over', async () => {
    for (const fields of [{ code: 'ERR_INFOBIP_NOT_FOUND' }, { status: 404 }]) {
      const { answer, asked, signedIn, client, browser } = await checkWith(() =>
        Promise.reject(failure(fields)),
      );
      expect([answer.status, answer.body.outcome.code]).toEqual([401, 'pin_expired']);
      expect([asked, signedIn]).toEqual([1, null]);
      // The way out: a new PIN, once the cooldown is over.
      vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 31_000 });
      expect((await browser.resend()).status).toBe(202);
      expect([client.sends.length, client.resends.length]).toEqual([2, 0]);
      expect((await browser.check()).status).toBe(200);
      vi.useRealTimers();
    }
  });

  it.each(ERRORS)(
    'and the service %s, it is an error, asked once, and nobody is logged in',
    async (_how, fields, code) => {
      const thrown = failure(fields);
      const { answer, asked, signedIn, host, browser } = await checkWith(() => Promise.reject(thrown));
      expect([answer.status, answer.body.error.code]).toEqual([503, code]);
      expect(host.errors).toEqual([expect.objectContaining({ cause: thrown, status: 503 })]);
      expect([asked, signedIn, host.proofs]).toEqual([1, null, []]);
      const { body } = await browser.check('000000');
      // What was surely not judged costs no attempt; anything else may have been and does.
      expect(body.outcome.attemptsRemaining).toBe(fields.sent === false ? 4 : 3);
      expect((await browser.check()).status).toBe(200);
    },
  );

  it.each(NO_ERRORS)('and the client throws %s, it is a real Error', async (_what, thrown) => {
    const { answer, signedIn, host } = await checkWith(() => Promise.reject(thrown));
    expect([answer.status, answer.body.error.code]).toEqual([503, 'ERR_SMS_OTP_SERVICE']);
    expect(host.errors[0]).toBeInstanceOf(Error);
    expect(signedIn).toBeNull();
  });

  it.each([
    ['nothing', undefined],
    ['null', null],
    ['true', true],
    ['a text', 'verified'],
    ['an empty object', {}],
    ['a list', [{ verified: true }]],
    ['"true" for verified', { verified: 'true', pinId: 'PIN-ID-1' }],
    ['1 for verified', { verified: 1, pinId: 'PIN-ID-1' }],
    ['an object for verified', { verified: {}, pinId: 'PIN-ID-1' }],
    ["another challenge's PIN id", { verified: true, pinId: 'PIN-ID-2', msisdn: '385911234567' }],
    ['an empty PIN id', { verified: true, pinId: '', msisdn: '385911234567' }],
    ['null for a PIN id', { verified: true, pinId: null, msisdn: '385911234567' }],
    ["no, with another challenge's PIN id", { verified: false, pinId: 'PIN-ID-2', reason: 'wrong_pin' }],
  ])('and the answer is %s, it is an error and nobody is logged in', async (_what, judgement) => {
    const { answer, asked, signedIn, host, browser } = await checkWith(async () => judgement as never);
    expect([answer.status, answer.body.error?.code]).toEqual([503, 'ERR_SMS_OTP_SERVICE']);
    expect(answer.body.error.message).toMatch(/^The PIN service answered .*nonsense/u);
    expect([asked, signedIn, host.proofs]).toEqual([1, null, []]);
    expect((await browser.check('000000')).body.outcome.attemptsRemaining).toBe(3);
  });

  it('takes the number from the challenge, whatever the service says it was', async () => {
    const { answer, host } = await checkWith(async (pinId) => ({
      verified: true,
      pinId,
      msisdn: '38599999999',
    }));
    expect(answer.status).toBe(200);
    expect(host.proofs[0]).toMatchObject({ phoneNumber: PHONE });
  });

  it('and the service has its own limit for a second, the check waits once and goes on', async () => {
    let calls = 0;
    const { answer, asked, browser } = await checkWith(async (pinId) => {
      calls += 1;
      if (calls === 1) throw failure({ status: 429, retryAfterSeconds: 1 });
      return { verified: false, pinId, reason: 'wrong_pin' };
    });
    expect([answer.status, answer.body.outcome]).toEqual([
      401,
      expect.objectContaining({ attemptsRemaining: 4 }),
    ]);
    expect(asked).toBe(2);
    expect((await browser.check()).status).toBe(200);
  });

  it('and the limit is still there after the pause, the visitor waits and keeps the attempt', async () => {
    const { answer, asked, signedIn, browser } = await checkWith(() =>
      Promise.reject(failure({ code: 'ERR_INFOBIP_RATE_LIMITED', retryAfterSeconds: 1 })),
    );
    expect([answer.status, answer.body.outcome]).toEqual([
      429,
      expect.objectContaining({ code: 'too_many_requests', budget: 'service', retryAfterSeconds: 1 }),
    ]);
    expect([asked, signedIn]).toEqual([2, null]);
    expect((await browser.check('000000')).body.outcome.attemptsRemaining).toBe(4);
  });

  it('and the limit says no when, the check waits 3 seconds once', async () => {
    const times: number[] = [];
    const { answer, asked } = await checkWith(() => {
      times.push(performance.now());
      return Promise.reject(failure({ status: 429 }));
    });
    expect([answer.status, answer.body.outcome.retryAfterSeconds]).toEqual([429, 60]);
    expect(asked).toBe(2);
    const [first = 0, second = 0] = times;
    expect(second - first).toBeGreaterThan(2900);
  });

  it('and the limit is for longer than a visitor waits, the check does not wait', async () => {
    const { answer, asked, browser } = await checkWith(() =>
      Promise.reject(failure({ status: 429, retryAfterSeconds: 4 })),
    );
    expect([answer.status, answer.headers['retry-after']]).toEqual([429, '4']);
    expect(asked).toBe(1);
    expect((await browser.check()).status).toBe(200);
  });

  it('and the limit gives an attempt back that came before another, none is lost and none is won', async () => {
    let refuse: (error: unknown) => void = () => undefined;
    let first = true;
    const { client, browser } = visit();
    await browser.issue();
    client.onVerify = (pinId) => {
      if (!first) return Promise.resolve({ verified: false, pinId, reason: 'wrong_pin' });
      first = false;
      return new Promise((_resolve, reject) => {
        refuse = reject;
      });
    };
    const limited = browser.check('000000').then(({ status }) => status);
    await vi.waitFor(() => expect(client.checks).toHaveLength(1));
    expect((await browser.check('000000')).body.outcome.attemptsRemaining).toBe(3);
    refuse(failure({ status: 429, retryAfterSeconds: 10 }));
    expect(await limited).toBe(429);
    const left: unknown[] = [];
    for (let index = 0; index < 4; index += 1) {
      const { outcome } = (await browser.check('000000')).body;
      left.push(outcome.attemptsRemaining ?? outcome.code);
    }
    expect(left).toEqual([3, 2, 1, 'attempts_exhausted']);
  });
});
