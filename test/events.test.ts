import type { SmsOtpEvent } from 'passport-sms-otp';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { expectNoUnhandledRejection } from './support/calm.js';
import { createHost, fakeClient, type HostOptions, OTHER_PHONE, PHONE, PIN } from './support/host.js';
import { SECRET } from './support/limiters.js';

expectNoUnhandledRejection();

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['Date'], now: new Date('2026-03-02T10:00:00Z') });
});

afterEach(() => {
  vi.useRealTimers();
});

function visit(options: HostOptions = {}) {
  const client = fakeClient();
  const host = createHost(client, options);
  const browser = host.browser();
  /** The events since the last look. */
  const news = () => host.events.splice(0);
  return { client, host, browser, news };
}

const failure = (fields: object) => Object.assign(new Error('the service failed'), fields);
const later = (seconds: number) => vi.setSystemTime(Date.now() + seconds * 1000);

/** What every event about a number says. */
const ABOUT = {
  at: expect.any(Number),
  strategy: 'sms-otp',
  channel: 'sms',
  recipient: '+385 \u2022\u2022\u2022 67',
  recipientHash: expect.stringMatching(/^[\w-]{16,}$/u),
  country: 'HR',
};
const TOOK = { durationMs: expect.any(Number) };

describe('the events of a login', () => {
  it('tell of each step', async () => {
    const { browser, news } = visit();
    await browser.issue();
    expect(news()).toEqual([{ type: 'pin.sent', ...ABOUT, ...TOOK, at: Date.now() }]);
    await browser.issue();
    expect(news()).toEqual([]);
    await browser.check('000000');
    expect(news()).toEqual([
      { type: 'pin.rejected', ...ABOUT, ...TOOK, attemptsRemaining: 4, code: 'pin_wrong' },
    ]);
    await browser.check('1');
    expect(news()).toEqual([]);
    later(30);
    await browser.resend();
    expect(news()).toEqual([{ type: 'pin.resent', ...ABOUT, ...TOOK, at: Date.now() }]);
    await browser.check();
    expect(news()).toEqual([{ type: 'pin.verified', ...ABOUT, ...TOOK }]);
  });

  it('tell that the attempts are used up', async () => {
    const { browser, news } = visit({ strategy: { attempts: 1 } });
    await browser.issue();
    news();
    await browser.check('000000');
    expect(news()).toEqual([{ type: 'challenge.exhausted', ...ABOUT, ...TOOK, code: 'attempts_exhausted' }]);
  });

  it('tell of a PIN that was right and a login that failed all the same', async () => {
    for (const [verify, code] of [
      [async () => false, 'user_refused'],
      [() => Promise.reject(Object.assign(new Error('down'), { code: 'ERR_DATABASE' })), 'ERR_DATABASE'],
      [() => Promise.reject(undefined), 'ERR_SMS_OTP_HOST'],
    ] as const) {
      const { browser, news } = visit({ verify });
      await browser.issue();
      news();
      await browser.check();
      expect(news()).toEqual([
        { type: 'pin.verified', ...ABOUT, ...TOOK },
        { type: 'login.refused', ...ABOUT, code },
      ]);
    }
  });

  it('tell of a budget that refuses, and which', async () => {
    const { browser, host, news } = visit();
    await host.browser().issue();
    news();
    await browser.issue();
    expect(news()).toEqual([
      {
        type: 'budget.refused',
        ...ABOUT,
        budget: 'sendsPerNumber',
        retryAfterSeconds: 30,
        code: 'too_many_requests',
      },
    ]);
  });

  it('tell of a PIN that was not sent, and why', async () => {
    const { browser, client, host, news } = visit({
      strategy: {
        budgets: { sendsPerNumber: null },
        beforeSend: async () => allowed,
      },
    });
    let allowed = false;
    const reasons = async () => {
      await host.browser().issue();
      return news();
    };
    expect(await reasons()).toEqual([
      { type: 'pin.not_sent', reason: 'refused_by_host', ...ABOUT, code: 'not_now' },
    ]);
    allowed = true;
    client.onSend = async () => ({ pinId: 'PIN-ID-1', sent: false });
    expect(await reasons()).toEqual([
      { type: 'pin.not_sent', reason: 'undeliverable', ...ABOUT, ...TOOK, code: 'undeliverable' },
    ]);
    client.onSend = () => Promise.reject(failure({ status: 429 }));
    expect(await reasons()).toEqual([
      { type: 'pin.not_sent', reason: 'service_limit', ...ABOUT, ...TOOK, code: 'too_many_requests' },
    ]);
    client.onSend = () => Promise.reject(failure({ code: 'ERR_INFOBIP_TIMEOUT', sent: 'unknown' }));
    expect(await reasons()).toEqual([
      { type: 'pin.not_sent', reason: 'error', ...ABOUT, ...TOOK, code: 'ERR_INFOBIP_TIMEOUT' },
    ]);
    client.onSend = () => Promise.reject(undefined);
    expect(await reasons()).toEqual([
      { type: 'pin.not_sent', reason: 'error', ...ABOUT, ...TOOK, code: 'ERR_SMS_OTP_SERVICE' },
    ]);
    // Nobody knows whether it was sent: the operator is told of it like of any other failure.
    client.onSend = async () => ({}) as never;
    expect(await reasons()).toEqual([
      { type: 'pin.not_sent', reason: 'error', ...ABOUT, ...TOOK, code: 'ERR_SMS_OTP_SERVICE' },
    ]);
    expect(browser).toBeDefined();
  });

  it('tell of a check that the service could not judge', async () => {
    const { browser, client, news } = visit();
    await browser.issue();
    news();
    client.onVerify = () => Promise.reject(failure({ code: 'ERR_INFOBIP_UNAVAILABLE', status: 503 }));
    await browser.check();
    expect(news()).toEqual([{ type: 'pin.rejected', ...ABOUT, ...TOOK, code: 'ERR_INFOBIP_UNAVAILABLE' }]);
    client.onVerify = async () => ({ verified: 'true' }) as never;
    await browser.check();
    expect(news()).toEqual([{ type: 'pin.rejected', ...ABOUT, ...TOOK, code: 'ERR_SMS_OTP_SERVICE' }]);
    client.onVerify = async (pinId) => ({ verified: false, pinId, reason: 'expired' });
    await browser.check();
    expect(news()).toEqual([expect.objectContaining({ type: 'pin.rejected', code: 'pin_expired' })]);
  });

  it('tell of a request that was not even looked at', async () => {
    const { browser, news } = visit();
    await browser.post('/login', { phone: PHONE }, { 'Sec-Fetch-Site': 'cross-site' });
    expect(news()).toEqual([
      { type: 'request.refused', at: Date.now(), strategy: 'sms-otp', code: 'cross_site' },
    ]);
  });
});

describe('an event', () => {
  /** A login with everything that can go wrong on the way. */
  async function everything(options: HostOptions = {}): Promise<SmsOtpEvent[]> {
    const { client, host, browser } = visit({
      ...options,
      strategy: {
        secret: SECRET,
        budgets: { sendsOverall: [{ points: 5, duration: 3600 }] },
        messages: () => {
          throw new Error(`no text for ${PHONE} and ${PIN}`);
        },
        ...options.strategy,
      },
    });
    const { onSend, onResend, onVerify } = client;
    const telling = failure({
      message: `PIN ${PIN} of PIN-ID-1 to ${PHONE} with App API-KEY`,
      code: 'ERR_INFOBIP_UNAVAILABLE',
    });
    client.onSend = () => Promise.reject(telling);
    await browser.issue();
    client.onSend = onSend;
    await host.browser().issue();
    later(31);
    await browser.issue();
    await browser.check('123456');
    client.onVerify = () => Promise.reject(telling);
    await browser.check();
    client.onVerify = onVerify;
    later(31);
    client.onResend = () => Promise.reject(telling);
    await browser.resend();
    client.onResend = onResend;
    later(31);
    await browser.resend();
    await browser.post('/login/pin', { pin: PIN }, { 'Sec-Fetch-Site': 'cross-site' });
    await browser.check();
    await host.browser().issue(OTHER_PHONE);
    await host.browser().issue('+385911112222');
    await host.browser().issue('+385911112223');
    return host.events;
  }

  it('carries no PIN, PIN id, key, secret or full number', async () => {
    const events = await everything();
    const types = new Set(events.map(({ type }) => type));
    expect([...types].sort()).toEqual([
      'budget.near',
      'budget.refused',
      'configuration.warned',
      'pin.not_sent',
      'pin.rejected',
      'pin.resent',
      'pin.sent',
      'pin.verified',
      'request.refused',
    ]);
    const text = JSON.stringify(events);
    for (const secret of [
      PIN,
      '123456',
      'PIN-ID',
      'API-KEY',
      SECRET,
      PHONE,
      OTHER_PHONE,
      PHONE.slice(4),
      '911234567',
      '919876543',
    ]) {
      expect(text).not.toContain(secret);
    }
    for (const event of events) expect(JSON.parse(JSON.stringify(event))).toEqual(event);
  });

  it('names a number by a hash that stays the same for the secret, and for it only', async () => {
    const hashes = async (options: HostOptions['strategy'], phone = PHONE) => {
      const { browser, news } = visit({ strategy: { ...options } });
      await browser.issue(phone);
      return news()[0]?.recipientHash;
    };
    const [first, again] = [await hashes({ secret: SECRET }), await hashes({ secret: SECRET })];
    expect(first).toBeDefined();
    expect(again).toBe(first);
    expect(await hashes({ secret: SECRET }, OTHER_PHONE)).not.toBe(first);
    expect(await hashes({ secret: `${SECRET}, another one` })).not.toBe(first);
    // Without a secret it is random for each process, so that nobody can try all numbers against a log.
    expect(await hashes({})).not.toBe(await hashes({}));
  });

  it('does not matter when nobody listens, or when the listener fails', async () => {
    const listeners = [
      undefined,
      () => {
        throw new Error('the audit log is full');
      },
      () => Promise.reject(new Error('the audit log is full')),
      async () => {
        throw undefined;
      },
    ];
    for (const onEvent of listeners) {
      const { browser } = visit({ strategy: { onEvent } });
      expect((await browser.issue()).status).toBe(202);
      expect((await browser.check('000000')).status).toBe(401);
      expect((await browser.check()).status).toBe(200);
    }
  });

  it('belongs to the strategy that it names', async () => {
    const { browser, news } = visit({ strategy: { name: 'sign-up' } });
    await browser.issue();
    expect(news()).toEqual([expect.objectContaining({ type: 'pin.sent', strategy: 'sign-up' })]);
  });
});
