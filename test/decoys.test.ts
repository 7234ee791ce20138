/** A number that can receive a PIN and one that cannot, side by side over HTTP: byte by byte the same. */

import { type ClientRequest, request } from 'node:http';
import type { PinVerification, SendContext } from 'passport-sms-otp';
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { createPace } from '../lib/decoy.js';
import { createHost, type FakeClient, fakeClient, type Host, listen, PIN } from './support/host.js';

const START = Date.UTC(2026, 0, 1, 12);

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['Date'], now: START });
});
afterEach(() => {
  vi.useRealTimers();
});
const later = (seconds: number) => vi.setSystemTime(Date.now() + seconds * 1000);

interface Site {
  url: string;
  client: FakeClient;
  host: Host;
}

const KNOWN = /^\+38591[0-4]/;
/** Numbers whose accounts have been closed. */
const closed = new Set<string>();

// One site for all tests: its first call is held back for two seconds, as on every start.
let site: Site;

beforeAll(async () => {
  const client = fakeClient();
  const host = createHost(client, {
    strategy: {
      canReceivePin: ({ phoneNumber = '' }: SendContext) =>
        KNOWN.test(phoneNumber) && !closed.has(phoneNumber),
      channels: ['sms', 'voice'],
      // Each visitor has an address of its own.
      clientKey: ({ headers }: { headers: Record<string, unknown> }) => String(headers['x-client']),
      budgets: { sendsOverall: null, countryCompletion: null },
    },
    routes: (app, { passport }) => {
      const to = { challengeRedirect: '/login/pin', failureRedirect: '/login', failureMessage: true };
      for (const phase of ['issue', 'resend', 'check']) {
        app.post(`/page/${phase}`, passport.authenticate('sms-otp', { phase, ...to } as object));
      }
      app.get('/messages', (req, res) => {
        const { messages = [] } = req.session as { messages?: string[] };
        res.json(messages.splice(0));
      });
    },
  });
  const server = await listen(host.app);
  site = { url: server.url, client, host };
  return () => server.close();
});

interface Answer {
  status: string;
  headers: string[];
  body: string;
}

/** One browser over bare node:http, so that every header is seen as it was sent. */
class Visitor {
  cookie = '';
  readonly phone: string;
  private readonly client: string;

  constructor(phone: string, client = phone) {
    this.phone = phone;
    this.client = client;
  }

  ask(method: string, path: string, form: Record<string, string> = {}): Promise<Answer> {
    const body = new URLSearchParams(form).toString();
    const headers = {
      'Sec-Fetch-Site': 'same-origin',
      'X-Client': this.client,
      ...(this.cookie && { Cookie: this.cookie }),
      ...(method === 'POST' && {
        'Content-Type': 'application/x-www-form-urlencoded',
        'Content-Length': Buffer.byteLength(body),
      }),
    };
    return new Promise((resolve, reject) => {
      const sent: ClientRequest = request(`${site.url}${path}`, { method, headers, agent: false });
      sent.on('error', reject);
      sent.on('response', (incoming) => {
        const chunks: Buffer[] = [];
        incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
        incoming.on('end', () => {
          const setCookie = incoming.headers['set-cookie']?.[0];
          if (setCookie) this.cookie = setCookie.split(';')[0] ?? '';
          resolve({
            status: `${incoming.httpVersion} ${incoming.statusCode} ${incoming.statusMessage}`,
            headers: normal(incoming.rawHeaders),
            body: Buffer.concat(chunks).toString('latin1'),
          });
        });
      });
      sent.end(method === 'POST' ? body : undefined);
    });
  }

  issue = () => this.ask('POST', '/login', { phone: this.phone });
  resend = (form = {}) => this.ask('POST', '/login/resend', form);
  check = (pin = '000000') => this.ask('POST', '/login/pin', { pin });
  page = () => this.ask('GET', '/challenge');
}

// In order and in the case they were sent in; the session's own id and the clock are everybody's own.
function normal(raw: string[]): string[] {
  const lines: string[] = [];
  for (let index = 0; index < raw.length; index += 2) {
    const name = raw[index] ?? '';
    const value = raw[index + 1] ?? '';
    if (name === 'Set-Cookie') lines.push(`${name}: ${value.replace(/=[^;]+/, '=SESSION')}`);
    else lines.push(name === 'Date' ? name : `${name}: ${value}`);
  }
  return lines;
}

let pairs = 0;
/** Two numbers with the same end, which is all that a page shows of them: the first can receive a PIN. */
function pair(): [Visitor, Visitor] {
  pairs += 1;
  const end = String(pairs).padStart(6, '0');
  return [new Visitor(`+385910${end}`), new Visitor(`+385919${end}`)];
}

/** Lets both take the same step at the same time, and holds their answers against each other. */
async function both([known, unknown]: [Visitor, Visitor], step: (visitor: Visitor) => Promise<Answer>) {
  const [real, decoy] = [await step(known), await step(unknown)];
  expect(decoy).toEqual(real);
  return real;
}

const code = ({ body }: Answer) => JSON.parse(body).outcome?.code;

describe('a number that cannot receive a PIN is answered like one that can', () => {
  it('from the issue over resends and wrong PINs to the end of its attempts', async () => {
    const visitors = pair();
    const step = async (ask: (visitor: Visitor) => Promise<Answer>) => code(await both(visitors, ask));
    expect(await step((visitor) => visitor.issue())).toBe('pin_sent');
    expect(await step((visitor) => visitor.issue())).toBe('pin_sent');
    await both(visitors, (visitor) => visitor.page());
    expect(await step((visitor) => visitor.resend())).toBe('too_many_requests');
    later(31);
    expect(await step((visitor) => visitor.resend())).toBe('pin_sent');
    later(31);
    expect(await step((visitor) => visitor.resend({ channel: 'voice' }))).toBe('pin_sent');
    expect(await step((visitor) => visitor.check('12ab56'))).toBe('pin_malformed');
    expect(await step((visitor) => visitor.check(''))).toBe('pin_missing');
    for (let wrong = 1; wrong <= 4; wrong += 1) {
      expect(await step((visitor) => visitor.check())).toBe('pin_wrong');
      await both(visitors, (visitor) => visitor.page());
      later(4);
    }
    expect(await step((visitor) => visitor.check())).toBe('attempts_exhausted');
    later(4);
    expect(await step((visitor) => visitor.check())).toBe('no_challenge');
    expect(await step((visitor) => visitor.resend())).toBe('no_challenge');
    await both(visitors, (visitor) => visitor.page());
    const { sends, resends, checks } = site.client;
    expect([sends.length, resends.length, checks.length]).toEqual([1, 2, 5]);
  });

  it('when its time is over, and with the new one that a resend then brings', async () => {
    const visitors = pair();
    await both(visitors, (visitor) => visitor.issue());
    later(601);
    expect(code(await both(visitors, (visitor) => visitor.check()))).toBe('pin_expired');
    await both(visitors, (visitor) => visitor.page());
    expect(code(await both(visitors, (visitor) => visitor.resend()))).toBe('pin_sent');
    expect(code(await both(visitors, (visitor) => visitor.check()))).toBe('pin_wrong');
  });

  it('when its account is closed after the issue: it gets nothing more, and its PIN is worth nothing after a resend', async () => {
    const visitors = pair();
    const [known] = visitors;
    await both(visitors, (visitor) => visitor.issue());
    closed.add(known.phone);
    later(31);
    const asked = site.client.resends.length + site.client.sends.length;
    expect(code(await both(visitors, (visitor) => visitor.resend()))).toBe('pin_sent');
    later(31);
    expect(code(await both(visitors, (visitor) => visitor.issue()))).toBe('pin_sent');
    expect(site.client.resends.length + site.client.sends.length).toBe(asked);
    expect(code(await both(visitors, (visitor) => visitor.check(PIN)))).toBe('pin_wrong');
  });

  it('at the limit of its sends, whoever asks', async () => {
    const [known, unknown] = pair();
    const codes: string[] = [];
    for (let turn = 1; turn <= 7; turn += 1) {
      const browsers: [Visitor, Visitor] = [
        new Visitor(known.phone, `limit ${turn}`),
        new Visitor(unknown.phone, `limit ${turn}`),
      ];
      codes.push(code(await both(browsers, (visitor) => visitor.issue())));
      later(31);
    }
    expect(codes).toEqual([...Array(5).fill('pin_sent'), 'too_many_requests', 'too_many_requests']);
  });

  it('at the limit of its failures', async () => {
    const [known, unknown] = pair();
    for (let challenge = 1; challenge <= 2; challenge += 1) {
      const browsers: [Visitor, Visitor] = [
        new Visitor(known.phone, `failures ${challenge}`),
        new Visitor(unknown.phone, `failures ${challenge}`),
      ];
      await both(browsers, (visitor) => visitor.issue());
      for (let wrong = 1; wrong <= 5; wrong += 1) {
        await both(browsers, (visitor) => visitor.check());
        later(4);
      }
      later(31);
    }
    const refused = await both([known, unknown], (visitor) => visitor.issue());
    expect(JSON.parse(refused.body).outcome).toMatchObject({ budget: 'failuresPerNumber' });
  });

  it('at the limit of its failures, also where its owner has logged in meanwhile', async () => {
    const [known, unknown] = pair();
    for (let challenge = 1; challenge <= 2; challenge += 1) {
      const browsers: [Visitor, Visitor] = [
        new Visitor(known.phone, `watched ${challenge}`),
        new Visitor(unknown.phone, `watched ${challenge}`),
      ];
      await both(browsers, (visitor) => visitor.issue());
      for (let wrong = 1; wrong <= 5; wrong += 1) {
        if (challenge === 2 && wrong === 5) {
          const owner = new Visitor(known.phone, 'the owner');
          later(31);
          await owner.issue();
          later(4);
          expect((await owner.check(PIN)).status).toContain('200');
        }
        await both(browsers, (visitor) => visitor.check());
        later(4);
      }
      later(31);
    }
    const refused = await both([known, unknown], (visitor) => visitor.issue());
    expect(JSON.parse(refused.body).outcome).toMatchObject({ budget: 'failuresPerNumber' });
  });

  it('by redirects, and in the sentences that the pages behind them show', async () => {
    const visitors = pair();
    const places: (string | undefined)[] = [];
    for (const [phase, form] of [
      ['issue', {}],
      ['resend', {}],
      ['check', { pin: '000000' }],
      ['check', { pin: '' }],
    ] as const) {
      const { headers } = await both(visitors, (visitor) =>
        visitor.ask('POST', `/page/${phase}`, { phone: visitor.phone, ...form }),
      );
      places.push(headers.find((header) => header.startsWith('Location')));
      const { body } = await both(visitors, (visitor) => visitor.ask('GET', '/messages'));
      expect(JSON.parse(body)).toHaveLength(phase === 'issue' ? 0 : 1);
    }
    expect(places).toEqual(['Location: /login/pin', ...Array(3).fill('Location: /login')]);
  });

  it('in a session that had a challenge before, which it replaces', async () => {
    const [known, unknown] = pair();
    for (const visitor of [known, unknown]) {
      const [before] = pair();
      await visitor.ask('POST', '/login', { phone: before.phone });
    }
    expect(code(await both([known, unknown], (visitor) => visitor.issue()))).toBe('pin_sent');
    const asked = site.client.checks.length;
    expect(code(await both([known, unknown], (visitor) => visitor.check()))).toBe('pin_wrong');
    expect(site.client.checks).toHaveLength(asked + 1);
  });

  it.each([
    ['did not send', { onSend: async () => ({ pinId: '', sent: false }) }],
    ['is over its own limit', { onSend: () => Promise.reject(limit()) }],
  ])('when the service %s to the one that can', async (_what, answers) => {
    const { client } = site;
    const before = client.onSend;
    Object.assign(client, answers);
    const visitors = pair();
    expect(code(await both(visitors, (visitor) => visitor.issue()))).toBe('pin_sent');
    client.onSend = before;
    const count = client.checks.length;
    expect(code(await both(visitors, (visitor) => visitor.check()))).toBe('pin_wrong');
    expect(client.checks).toHaveLength(count);
    later(31);
    expect(code(await both(visitors, (visitor) => visitor.resend()))).toBe('pin_sent');
  });

  const verdicts: [string, (pinId: string) => Promise<PinVerification>][] = [
    ['says that it has expired', async (pinId) => ({ verified: false, pinId, reason: 'expired' })],
    ['has no more attempts', async (pinId) => ({ verified: false, pinId, reason: 'no_more_attempts' })],
    ['says no and not why', async (pinId) => ({ verified: false, pinId, reason: 'unknown' })],
    ['has forgotten the PIN', () => Promise.reject(Object.assign(new Error('gone'), { status: 404 }))],
  ];
  it.each(verdicts)('when the service %s earlier than we do', async (_what, onVerify) => {
    const { client } = site;
    const before = client.onVerify;
    client.onVerify = onVerify;
    const visitors = pair();
    await both(visitors, (visitor) => visitor.issue());
    for (let wrong = 1; wrong <= 4; wrong += 1) {
      expect(code(await both(visitors, (visitor) => visitor.check()))).toBe('pin_wrong');
      later(4);
    }
    expect(code(await both(visitors, (visitor) => visitor.check()))).toBe('attempts_exhausted');
    client.onVerify = before;
  });

  it('when several PINs are typed at once: the checks of a number are kept three seconds apart', async () => {
    const visitors = pair();
    await both(visitors, (visitor) => visitor.issue());
    const burst = async (visitor: Visitor) => {
      const answers = await Promise.all(
        Array.from({ length: 4 }, async () => {
          const started = performance.now();
          const answer = await visitor.check();
          return JSON.stringify([code(answer), performance.now() - started > 2500]);
        }),
      );
      return answers.sort();
    };
    const [real, decoy] = await Promise.all(visitors.map(burst));
    expect(decoy).toEqual(real);
    expect(real).toEqual([
      '["pin_wrong",false]',
      '["pin_wrong",true]',
      '["too_many_requests",true]',
      '["too_many_requests",true]',
    ]);
  });

  it('when many of its PINs are typed at once in as many browsers: four a second', async () => {
    const [known, unknown] = pair();
    const browsers = [known, unknown].map(({ phone }) =>
      Array.from({ length: 5 }, (_, index) => new Visitor(phone, `${phone} ${index}`)),
    );
    for (let index = 0; index < 5; index += 1) {
      for (const mine of browsers) expect(code((await mine[index]?.issue()) as Answer)).toBe('pin_sent');
      later(31);
    }
    const burst = async (mine: Visitor[]) => {
      const waits = await Promise.all(
        mine.map(async (visitor) => {
          const started = performance.now();
          expect(code(await visitor.check())).toBe('pin_wrong');
          return performance.now() - started;
        }),
      );
      return waits.filter((wait) => wait > 700).length;
    };
    expect(await Promise.all(browsers.map(burst))).toEqual([1, 1]);
  });

  it('when the service has forgotten its PIN before its time: a new one has what was left of the old', async () => {
    const { client } = site;
    const visitors = pair();
    await both(visitors, (visitor) => visitor.issue());
    await both(visitors, (visitor) => visitor.check());
    later(200);
    const before = client.onResend;
    client.onResend = () => Promise.reject(Object.assign(new Error('gone'), { status: 404 }));
    const sends = client.sends.length;
    expect(code(await both(visitors, (visitor) => visitor.resend()))).toBe('pin_sent');
    client.onResend = before;
    expect(client.sends).toHaveLength(sends + 1);
    const page = JSON.parse((await both(visitors, (visitor) => visitor.page())).body);
    expect(page).toMatchObject({ attemptsRemaining: 4 });
    expect(Date.parse(page.expiresAt) - Date.now()).toBe(400_000);
    expect(code(await both(visitors, (visitor) => visitor.check()))).toBe('pin_wrong');
    expect(client.checks.at(-1)?.pinId).toBe(`PIN-ID-${sends + 1}`);
  });

  it('while the service is down, from the first request on that found it so', async () => {
    const { client, host } = site;
    const before = client.onSend;
    client.onSend = () => Promise.reject(Object.assign(new Error('down'), { code: 'ERR_DOWN', status: 503 }));
    expect((await both(pair(), (visitor) => visitor.issue())).status).toContain('503');
    later(59);
    expect((await pair()[1].issue()).status).toContain('503');
    client.onSend = before;
    later(2);
    expect(code(await both(pair(), (visitor) => visitor.issue()))).toBe('pin_sent');
    expect(host.errors).toHaveLength(3);
    host.errors.length = 0;
  });

  it('where the service refuses to send to it, which the operator is told of', async () => {
    const { client, host } = site;
    const warn = vi.spyOn(process, 'emitWarning').mockReturnValue();
    const before = client.onSend;
    for (const error of [{ status: 400 }, { code: 'ERR_INFOBIP_BAD_REQUEST' }]) {
      client.onSend = () => Promise.reject(Object.assign(new Error('bad number'), error));
      const visitors = pair();
      expect(code(await both(visitors, (visitor) => visitor.issue()))).toBe('pin_sent');
      expect(code(await both(visitors, (visitor) => visitor.check()))).toBe('pin_wrong');
    }
    client.onSend = before;
    expect(code(await both(pair(), (visitor) => visitor.issue()))).toBe('pin_sent');
    expect(warn.mock.calls).toEqual([
      [
        expect.stringMatching(/^SmsOtpStrategy 'sms-otp': the PIN service refused a send \(status 400\)\./),
        { code: 'SMS_OTP_SEND_REFUSED' },
      ],
    ]);
    expect(host.events.filter(({ type }) => type === 'configuration.warned')).toHaveLength(1);
    warn.mockRestore();
  });

  it('and the operator is told which was which', async () => {
    const { host } = site;
    host.events.length = 0;
    const visitors = pair();
    await both(visitors, (visitor) => visitor.issue());
    later(31);
    await both(visitors, (visitor) => visitor.resend());
    expect(host.events).toMatchObject([
      { type: 'pin.sent' },
      { type: 'pin.not_sent', reason: 'cannot_receive' },
      { type: 'pin.resent' },
      { type: 'pin.not_sent', reason: 'cannot_receive' },
    ]);
  });
});

function limit(): Error {
  return Object.assign(new Error('limit'), { status: 429, retryAfterSeconds: 60 });
}

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const took = async (act: () => Promise<unknown>) => {
  const started = performance.now();
  await act().catch(() => undefined);
  return performance.now() - started;
};

describe('the time of a decoy', () => {
  it('before anything is known is that of a slow call, and the first real ones are held back as long', async () => {
    const [send, check, real] = await Promise.all([
      took(() => createPace(true, () => true).decoy('send')),
      took(() => createPace(true, () => true).decoy('check')),
      took(() => createPace(true, () => true).real('send', () => sleep(5))),
    ]);
    expect(send).toBeGreaterThanOrEqual(1990);
    expect(check).toBeGreaterThanOrEqual(990);
    expect(real).toBeGreaterThanOrEqual(1990);
  });

  it('after that is never shorter than the longest call, until sixteen are known', async () => {
    const pace = createPace(true, () => true);
    const [first] = await Promise.all([took(() => pace.real('check', () => sleep(60)))]);
    expect(first).toBeGreaterThanOrEqual(990);
    const waits = await Promise.all(
      Array.from({ length: 15 }, () => took(() => pace.real('check', () => sleep(1)))),
    );
    expect(Math.min(...waits)).toBeGreaterThanOrEqual(58);
    expect(await took(() => pace.decoy('resend'))).toBeGreaterThanOrEqual(58);
    expect(await took(() => pace.real('check', () => sleep(1)))).toBeLessThan(50);
  });

  it('lies among recent calls, rather the newest, and is another each time', async () => {
    const pace = createPace(true, () => true);
    const calls = (ms: number, count: number) =>
      Promise.all(Array.from({ length: count }, (_, n) => pace.real('send', () => sleep(ms + 2 * n))));
    await calls(20, 16);
    await calls(20, 48);
    await calls(400, 16);
    const waits = await Promise.all(Array.from({ length: 200 }, () => took(() => pace.decoy('send'))));
    expect(new Set(waits.map((wait) => wait.toFixed(2))).size).toBeGreaterThan(100);
    const slow = waits.filter((wait) => wait > 250).length;
    // 16 of 64 calls, and in four of ten draws.
    expect(slow).toBeGreaterThan(52);
    expect(slow).toBeLessThan(115);
  });

  it('is seldom that of the last call, which a stranger may have made to compare', async () => {
    const pace = createPace(true, () => true);
    await Promise.all(Array.from({ length: 63 }, (_, n) => pace.real('send', () => sleep(5 + n / 4))));
    await pace.real('send', () => sleep(300));
    const waits = await Promise.all(Array.from({ length: 200 }, () => took(() => pace.decoy('send'))));
    // One in sixteen; a quarter of them would be fifty.
    expect(waits.filter((wait) => wait > 150).length).toBeLessThan(32);
  });

  it('is that of its own kind by its own channel: calls are slower than messages', async () => {
    const pace = createPace(true, () => true);
    const calls = (ms: number, way: string) =>
      Promise.all(Array.from({ length: 16 }, () => pace.real('resend', () => sleep(ms), way)));
    await calls(5, 'sms');
    const first = took(() => pace.decoy('resend', 'voice'));
    await calls(120, 'voice');
    expect(await first).toBeGreaterThanOrEqual(1990);
    expect(await took(() => pace.decoy('resend', 'voice'))).toBeGreaterThan(100);
    expect(await took(() => pace.decoy('resend', 'sms'))).toBeLessThan(60);
  });

  it('and its failure is that of the last call, unless that said something of one number only', async () => {
    vi.useFakeTimers({ toFake: ['Date'], now: START });
    const outage = new Error('down');
    const pace = createPace(true, (thrown) => thrown === outage);
    await pace.real('send', () => sleep(1));
    const fails = (error: unknown) => pace.real('send', () => Promise.reject(error)).catch(() => undefined);
    await fails(new Error('not this one'));
    await expect(pace.decoy('send')).resolves.toBeUndefined();
    await fails(outage);
    await expect(pace.decoy('send')).rejects.toBe(outage);
    await expect(pace.decoy('check')).resolves.toBeUndefined();
    await pace.real('send', () => sleep(1));
    await expect(pace.decoy('send')).resolves.toBeUndefined();
    await pace.real('send', () => Promise.reject(outage), 'voice').catch(() => undefined);
    await pace.real('send', () => sleep(1), 'sms');
    await expect(pace.decoy('send', 'voice')).rejects.toBe(outage);
    await expect(pace.decoy('send', 'sms')).resolves.toBeUndefined();
    await pace.real('send', () => sleep(1), 'voice');
    await expect(pace.decoy('send', 'voice')).resolves.toBeUndefined();
    await fails(outage);
    vi.setSystemTime(START + 60_000);
    await expect(pace.decoy('send')).resolves.toBeUndefined();
  });

  it('is that of what the visitor will not be told of, too, and nothing is learned from it', async () => {
    const limit = new Error('limit');
    const pace = createPace(
      true,
      (thrown) => !(thrown instanceof Error),
      (operation, thrown) => operation === 'resend' && thrown === limit,
    );
    for (const operation of ['send', 'resend', 'check'] as const) {
      await Promise.all(Array.from({ length: 16 }, () => pace.real(operation, () => sleep(100))));
    }
    const fails = (operation: 'send' | 'resend' | 'check', error: unknown) => () =>
      pace.real(operation, () => Promise.reject(error));
    for (let turn = 0; turn < 20; turn += 1) {
      expect(await took(fails('send', limit))).toBeGreaterThan(80);
      expect(await took(() => pace.real('send', async () => ({ sent: false })))).toBeGreaterThan(80);
    }
    expect(await took(fails('check', limit))).toBeGreaterThan(80);
    expect(await took(() => pace.decoy('send'))).toBeGreaterThan(80);
    // Another call follows, and takes its time.
    expect(await took(fails('resend', limit))).toBeLessThan(60);
    // What everybody is told of is not held back.
    expect(await took(fails('send', 'outage'))).toBeLessThan(60);
    expect(await took(() => pace.real('send', async () => ({ sent: true })))).toBeLessThan(60);
  });

  it('costs a site without decoys nothing: nothing is held back, not even the first call', async () => {
    const pace = createPace(false, () => true);
    expect(await pace.real('send', async () => 'sent')).toBe('sent');
    expect(await took(() => pace.real('send', async () => 'sent'))).toBeLessThan(500);
  });
});
