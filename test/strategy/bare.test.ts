/** The strategy without Passport and Express around it: with less of everything than they bring. */

import {
  type Challenge,
  type SmsOtpEvent,
  SmsOtpStrategy,
  type SmsOtpStrategyOptions,
} from 'passport-sms-otp';
import { describe, expect, it, vi } from 'vitest';
import { expectNoUnhandledRejection } from '../support/calm.js';
import { createHost, fakeClient, type LooseOptions, OTHER_PHONE, PHONE } from '../support/host.js';

expectNoUnhandledRejection();

type End = [verb: string, ...args: unknown[]];

/** Runs one request through a strategy, as Passport does: on an object of its own. */
function run(strategy: SmsOtpStrategy, req: object, options: object = {}): Promise<End> {
  return new Promise((resolve) => {
    const verbs = ['success', 'fail', 'redirect', 'error'].map((verb) => [
      verb,
      (...args: unknown[]) => resolve([verb, ...args]),
    ]);
    const mounted = Object.assign(Object.create(strategy), Object.fromEntries(verbs));
    mounted.authenticate({ method: 'POST', headers: {}, ip: '192.0.2.1', ...req }, options);
  });
}

function strategyWith(options: LooseOptions = {}, client = fakeClient()): SmsOtpStrategy {
  const all: object = { client, applicationId: 'APP', messageId: 'MSG', countries: ['HR'], ...options };
  return new SmsOtpStrategy(all as SmsOtpStrategyOptions, async () => false);
}

/** Challenges by a cookie of the host's own, so that no session is needed. */
function cookieStore() {
  const kept = new Map<unknown, Challenge>();
  return {
    kept,
    async get({ headers }: { headers: Record<string, unknown> }) {
      return kept.get(headers.visitor);
    },
    async set({ headers }: { headers: Record<string, unknown> }, _name: string, challenge: Challenge) {
      kept.set(headers.visitor, challenge);
    },
    async remove({ headers }: { headers: Record<string, unknown> }) {
      kept.delete(headers.visitor);
    },
  };
}

describe('visitors without a session of the framework', () => {
  it('who ask for one number at the same time do not get one another’s challenge', async () => {
    const store = cookieStore();
    const client = fakeClient();
    const strategy = strategyWith({ challenges: store, name: 'by-cookie' }, client);
    const ask = (visitor: string) => run(strategy, { headers: { visitor }, body: { phone: PHONE } });
    const ends = await Promise.all([ask('one'), ask('two'), ask('three')]);
    expect(client.sends).toHaveLength(1);
    expect(ends.map(([, info]) => Reflect.get(Object(info), 'code')).sort()).toEqual([
      'pin_sent',
      'too_many_requests',
      'too_many_requests',
    ]);
    expect(store.kept.size).toBe(1);
  });
});

describe('a session that was ended while the request was under way', () => {
  it('is taken off a request whose framework makes no new one', async () => {
    const session = { passport: { user: 'u1' }, save: (done: () => void) => done(), regenerate() {} };
    const sessionStore = { get: (_id: string, done: (error: null, found: null) => void) => done(null, null) };
    const strategy = strategyWith();
    const headers = { cookie: 'connect.sid=s%3AS1.signature' };
    const req = { session, sessionStore, sessionID: 'S1', headers, body: { phone: PHONE } };
    let seen: unknown;
    const end = new Promise<End>((resolve) => {
      const fail = (...args: unknown[]) => resolve(['fail', ...args]);
      const mounted = Object.assign(Object.create(strategy), { fail, error: fail, redirect: fail });
      seen = { method: 'POST', ip: '192.0.2.1', ...req };
      mounted.authenticate(seen, { phase: 'issue' });
    });
    expect(await end).toMatchObject(['fail', { code: 'no_challenge' }, 401]);
    expect(seen).toHaveProperty('session', null);
  });
});

describe('a failure of the host that is no Error', () => {
  it('ends in one that says so', async () => {
    const strategy = strategyWith({ beforeSend: () => Promise.reject('no') });
    const session = { save: (done: () => void) => done(), regenerate() {} };
    const [verb, error] = await run(strategy, { session, sessionStore: {}, body: { phone: PHONE } });
    expect(verb).toBe('error');
    expect(error).toMatchObject({ name: 'SmsOtpError', code: 'ERR_SMS_OTP_HOST', cause: 'no' });
    expect(error).toHaveProperty('message', expect.stringMatching(/something that is no Error$/));
  });

  /** A request whose actions fail, as often as `times` says. */
  async function failing(times: number, thrown: unknown, req: object): Promise<unknown[]> {
    const warn = vi.spyOn(process, 'emitWarning').mockReturnValue();
    const told: unknown[] = [];
    let calls = 0;
    const action = (first: unknown) => {
      calls += 1;
      told.push(first);
      if (calls <= times) throw thrown;
    };
    const mounted = Object.assign(Object.create(strategyWith()), { fail: action, error: action });
    mounted.authenticate({ method: 'POST', headers: {}, ip: '192.0.2.1', body: {}, ...req }, {});
    await vi.waitFor(() => expect(calls).toBeGreaterThanOrEqual(Math.min(times + 1, 2)));
    await new Promise((resolve) => setImmediate(resolve));
    const warnings = warn.mock.calls.map(([warning]) => warning);
    warn.mockRestore();
    return [...told.slice(1), ...warnings];
  }
  const ready = { session: { save() {}, regenerate() {} }, sessionStore: {} };

  it('in a Passport action goes to the error action', async () => {
    expect(await failing(1, 'broken', ready)).toEqual([
      expect.objectContaining({
        message: 'A Passport action failed with something that is no Error',
        cause: 'broken',
      }),
    ]);
  });

  it('in the error action, too, is a warning, and the request is ended where there is an answer to end', async () => {
    const warning = expect.objectContaining({
      message: 'The error action failed with something that is no Error',
      cause: 'broken',
    });
    const answers = [
      { headersSent: false, statusCode: 200, ended: [] as unknown[] },
      { headersSent: true, statusCode: 200, ended: [] as unknown[] },
    ].map((res) => Object.assign(res, { end: (...args: unknown[]) => res.ended.push(args) }));
    for (const res of [undefined, null, 'nothing', {}, { end: 'nothing' }, ...answers]) {
      expect(await failing(2, 'broken', { ...ready, res })).toContainEqual(warning);
    }
    const noted = answers.map(({ statusCode, ended }) => ({ statusCode, ended }));
    expect(noted).toEqual([
      { statusCode: 500, ended: [[]] },
      { statusCode: 200, ended: [[]] },
    ]);
  });
});

describe('a request that is refused', () => {
  it('says which method there is', async () => {
    const host = createHost(fakeClient(), {
      routes: (app, { passport }) => app.get('/get', passport.authenticate('sms-otp')),
    });
    const { status, headers } = await host.browser().get('/get');
    expect([status, headers.allow]).toEqual([405, 'POST']);
  });

  it('is an event with its code, and with the country where that was the reason', async () => {
    const events: SmsOtpEvent[] = [];
    const host = createHost(fakeClient(), { strategy: { onEvent: (event) => events.push(event) } });
    const browser = host.browser();
    await browser.post('/login', { phone: PHONE }, { 'Sec-Fetch-Site': 'cross-site' });
    await browser.issue('+38640123456');
    await browser.issue('nonsense');
    expect(events.map(({ at: _at, strategy: _strategy, ...event }) => event)).toEqual([
      { type: 'request.refused', code: 'cross_site' },
      { type: 'request.refused', code: 'phone_not_allowed', country: 'SI' },
    ]);
  });

  it('for a channel names those that there are, at the issue and at a resend', async () => {
    const strategy: LooseOptions = { channels: ['sms', 'voice'], budgets: { sendsPerNumber: null } };
    const browser = createHost(fakeClient(), { strategy }).browser();
    const issued = await browser.post('/login', { phone: PHONE, channel: 'email' });
    expect(issued.body.outcome).toMatchObject({ code: 'channel_not_allowed', channels: ['sms'] });
    await browser.issue();
    const resent = await browser.resend({ channel: 'email' });
    expect(resent.body.outcome).toMatchObject({ code: 'channel_not_allowed', channels: ['sms', 'voice'] });
  });
});

describe('an empty field for the channel, or none', () => {
  it('leaves the choice to the route', async () => {
    const client = fakeClient();
    const strategy: LooseOptions = { channels: ['sms', 'voice'], budgets: { sendsPerNumber: null } };
    const host = createHost(client, { strategy, phases: { resend: { channel: 'voice' } } });
    const browser = host.browser();
    await browser.issue();
    for (const form of [{}, { channel: '' }]) {
      expect((await browser.resend(form)).body.outcome).toMatchObject({ channel: 'voice' });
      expect((await browser.resend({ channel: 'sms' })).body.outcome).toMatchObject({ channel: 'sms' });
    }
    expect(client.resends.map(({ request }) => request?.channel)).toEqual(['voice', 'sms', 'voice', 'sms']);
  });
});

describe('somebody who is signed in', () => {
  it('stays so while the public login sends a PIN to another number, until it is right', async () => {
    const host = createHost(fakeClient());
    const browser = host.browser();
    await browser.issue();
    const { user } = (await browser.check()).body;
    expect((await browser.issue(OTHER_PHONE)).status).toBe(202);
    expect((await browser.get('/me')).body.user).toEqual(user);
    expect((await browser.check()).body.user.phoneNumber).toBe(OTHER_PHONE);
  });
});
