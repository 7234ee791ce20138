import { OUTCOMES, type OutcomeCode, type OutcomeDetails } from 'passport-sms-otp';
import type request from 'supertest';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { expectNoUnhandledRejection } from './support/calm.js';
import {
  type Browser,
  createHost,
  type FakeClient,
  fakeClient,
  type Host,
  type HostOptions,
  PHONE,
} from './support/host.js';

expectNoUnhandledRejection();

afterEach(() => {
  vi.useRealTimers();
});

interface Visit {
  client: FakeClient;
  host: Host;
  browser: Browser;
}

function visit(options: HostOptions = {}): Visit {
  const client = fakeClient();
  const host = createHost(client, options);
  return { client, host, browser: host.browser() };
}

interface Row {
  options?: HostOptions;
  reach: (visit: Visit) => PromiseLike<request.Response>;
  status: number;
  action: 'redirect' | 'fail';
  /** All of `info` beside code and message. */
  extra: Record<string, unknown>;
  message: string;
}

const ISO = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/u);

// One row for each outcome: the compiler asks for a new one.
const ROWS: Record<OutcomeCode, Row> = {
  pin_sent: {
    reach: ({ browser }) => browser.issue(),
    status: 202,
    action: 'fail',
    extra: {
      to: '+385 \u2022\u2022\u2022 67',
      channel: 'sms',
      channels: ['sms'],
      expiresAt: ISO,
      resendAt: ISO,
      alreadySent: false,
    },
    message: 'We sent a PIN to +385 \u2022\u2022\u2022 67.',
  },
  phone_missing: {
    reach: ({ browser }) => browser.issue(''),
    status: 400,
    action: 'fail',
    extra: {},
    message: 'Enter your phone number.',
  },
  phone_invalid: {
    reach: ({ browser }) => browser.issue('12'),
    status: 400,
    action: 'fail',
    extra: {},
    message: 'This is not a phone number. Enter it with its country code, for example +385 91 123 4567.',
  },
  phone_not_allowed: {
    reach: ({ browser }) => browser.issue('+38641123456'),
    status: 403,
    action: 'fail',
    extra: { country: 'SI' },
    message: 'We do not send PINs to numbers of this country or kind.',
  },
  recipient_missing: {
    options: { strategy: { recipient: async () => null } },
    reach: ({ browser }) => browser.issue(),
    status: 403,
    action: 'fail',
    extra: {},
    message: 'There is no number to which a PIN could be sent.',
  },
  channel_not_allowed: {
    reach: ({ browser }) => browser.post('/login', { phone: PHONE, channel: 'email' }),
    status: 400,
    action: 'fail',
    extra: { channels: ['sms'] },
    message: 'The PIN cannot be sent this way.',
  },
  not_now: {
    options: { strategy: { beforeSend: async () => false } },
    reach: ({ browser }) => browser.issue(),
    status: 403,
    action: 'fail',
    extra: {},
    message: 'We cannot send a PIN to this number at the moment.',
  },
  undeliverable: {
    reach: ({ client, browser }) => {
      client.onSend = async () => ({ pinId: 'PIN-ID-1', sent: false });
      return browser.issue();
    },
    status: 422,
    action: 'fail',
    extra: { channels: [] },
    message: 'The PIN could not be sent. Check the number, or try another one.',
  },
  pin_missing: {
    reach: async ({ browser }) => {
      await browser.issue();
      return browser.check('');
    },
    status: 400,
    action: 'fail',
    extra: {},
    message: 'Enter the PIN.',
  },
  pin_malformed: {
    reach: async ({ browser }) => {
      await browser.issue();
      return browser.check('12345');
    },
    status: 400,
    action: 'fail',
    extra: {},
    message: 'This is not a PIN. Enter it as it stands in the message.',
  },
  pin_wrong: {
    reach: async ({ browser }) => {
      await browser.issue();
      return browser.check('000000');
    },
    status: 401,
    action: 'fail',
    extra: { attemptsRemaining: 4 },
    message: 'Wrong PIN. You can try 4 more times.',
  },
  pin_expired: {
    reach: async ({ client, browser }) => {
      client.onVerify = async (pinId) => ({ verified: false, pinId, reason: 'expired' });
      await browser.issue();
      return browser.check();
    },
    status: 401,
    action: 'fail',
    extra: {},
    message: 'This PIN is no longer valid. Ask for a new one.',
  },
  attempts_exhausted: {
    options: { strategy: { attempts: 1 } },
    reach: async ({ browser }) => {
      await browser.issue();
      return browser.check('000000');
    },
    status: 401,
    action: 'fail',
    extra: {},
    message: 'Too many wrong PINs. Start again with a new one.',
  },
  no_challenge: {
    reach: ({ browser }) => browser.check(),
    status: 401,
    action: 'fail',
    extra: {},
    message: 'There is no PIN to check. Start again.',
  },
  too_many_requests: {
    reach: async ({ host, browser }) => {
      vi.useFakeTimers({ toFake: ['Date'] });
      await host.browser().issue();
      return browser.issue();
    },
    status: 429,
    action: 'fail',
    extra: { retryAfterSeconds: 30, budget: 'sendsPerNumber' },
    message: 'Too many requests. Try again in 30 seconds.',
  },
  cross_site: {
    reach: ({ browser }) => browser.post('/login', { phone: PHONE }, { 'Sec-Fetch-Site': 'cross-site' }),
    status: 403,
    action: 'fail',
    extra: {},
    message: 'This form was sent from another site.',
  },
  method_not_allowed: {
    options: {
      routes: (app, { passport }) => {
        app.all('/any', (req, res, next) =>
          passport.authenticate(
            'sms-otp',
            { phase: 'issue' } as object,
            (error: unknown, _user: unknown, info: unknown, status: number) =>
              error ? next(error) : res.status(status).json({ outcome: info }),
          )(req, res, next),
        );
      },
    },
    reach: ({ browser }) => browser.get('/any'),
    status: 405,
    action: 'fail',
    extra: {},
    message: 'This address takes POST requests only.',
  },
  user_refused: {
    options: { verify: async () => false },
    reach: async ({ browser }) => {
      await browser.issue();
      return browser.check();
    },
    status: 401,
    action: 'fail',
    extra: {},
    message: 'You cannot log in with this number.',
  },
};

const rows = Object.entries(ROWS) as [OutcomeCode, Row][];

describe('an outcome', () => {
  it.each(rows)('%s has its status, its action and an info object', async (code, row) => {
    const here = visit(row.options);
    const { status, body } = await row.reach(here);
    expect(status).toBe(row.status);
    expect(body.outcome).toEqual({ code, message: row.message, ...row.extra });
    expect(here.host.actions.at(-1)).toEqual([row.action]);
    expect(OUTCOMES[code].status).toBe(row.status);
  });

  it("has a text of its own in the visitor's language, in any script", async () => {
    const asked: unknown[] = [];
    const messages = (code: OutcomeCode, details: OutcomeDetails[OutcomeCode]) => {
      asked.push([code, details]);
      return code === 'pin_wrong' ? '\u0160ifra nije to\u010dna \u260e' : undefined;
    };
    const { browser } = visit({ strategy: { messages } });
    await browser.issue();
    const { status, body } = await browser.check('000000');
    expect([status, body.outcome.message]).toEqual([401, '\u0160ifra nije to\u010dna \u260e']);
    expect((await browser.check('1')).body.outcome.message).toBe(ROWS.pin_malformed.message);
    expect(asked).toEqual([
      [
        'pin_sent',
        expect.objectContaining({ to: '+385 \u2022\u2022\u2022 67', expiresAt: expect.any(Date) }),
      ],
      ['pin_wrong', { attemptsRemaining: 4 }],
      ['pin_malformed', {}],
    ]);
  });

  it('has the English text where the host has none or its texts fail', async () => {
    for (const broken of [
      () => '',
      () => undefined,
      () => 7 as unknown as string,
      () => {
        throw new Error('no such language');
      },
      () => Promise.reject(new Error('no such language')) as unknown as string,
    ]) {
      const { browser, client } = visit({ strategy: { messages: broken } });
      const { status, body } = await browser.issue();
      expect([status, body.outcome.message]).toEqual([202, ROWS.pin_sent.message]);
      expect(client.sends).toHaveLength(1);
      expect((await browser.check()).status).toBe(200);
    }
  });

  it('counts waiting times in the unit that people use', () => {
    const message = (retryAfterSeconds: number) =>
      OUTCOMES.too_many_requests.message({ retryAfterSeconds, budget: '' });
    expect(message(1)).toBe('Too many requests. Try again in 1 second.');
    expect(message(119)).toBe('Too many requests. Try again in 119 seconds.');
    expect(message(120)).toBe('Too many requests. Try again in 2 minutes.');
    expect(message(7199)).toBe('Too many requests. Try again in 120 minutes.');
    expect(message(7200)).toBe('Too many requests. Try again in 2 hours.');
    expect(OUTCOMES.pin_wrong.message({ attemptsRemaining: 1 })).toBe('Wrong PIN. You can try once more.');
  });
});
