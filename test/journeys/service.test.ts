/** The strategy over the real client and the simulated service: what reaches the visitor, the phone and the bill. */

import { Infobip2faClient } from 'passport-sms-otp/infobip';
import { type Fault, type Simulator, startSimulator } from 'passport-sms-otp/simulator';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type Browser, createHost, type Host, type HostOptions, PHONE } from '../support/host.js';
import { freePort } from '../support/ports.js';

let simulator: Simulator;
let client: Infobip2faClient;
const started = Date.UTC(2026, 0, 1, 12);

beforeEach(async () => {
  vi.useFakeTimers({ toFake: ['Date'], now: started });
  // A port that no other server of the tests gets once this one is closed.
  simulator = await startSimulator({ port: await freePort() });
  client = new Infobip2faClient({ baseUrl: simulator.url, apiKey: simulator.apiKey, timeoutMs: 500 });
});

afterEach(async () => {
  vi.useRealTimers();
  await client.close();
  await simulator.close();
});

function host(options: HostOptions = {}): Host {
  const { applicationId, messageId } = simulator;
  return createHost(client, { ...options, strategy: { applicationId, messageId, ...options.strategy } });
}

function later(seconds: number): void {
  vi.setSystemTime(Date.now() + seconds * 1000);
}

const pinOf = (to = PHONE) => simulator.lastMessageTo(to)?.pin ?? 'no message';
const wrong = (pin: string) => (pin.startsWith('1') ? `2${pin.slice(1)}` : `1${pin.slice(1)}`);
const signedIn = async (browser: Browser) => (await browser.get('/me')).body.user !== null;
const code = (answer: { body: { outcome?: { code?: string } } }) => answer.body.outcome?.code;

describe('a login over the simulated service', () => {
  it('takes the PIN from the phone, creates the user once and finds it the next time', async () => {
    const site = host();
    for (const login of [1, 2]) {
      const browser = site.browser();
      expect(code(await browser.issue())).toBe('pin_sent');
      const answer = await browser.check(pinOf());
      expect(answer.body.user, `login ${login}`).toEqual({ id: 'u1', phoneNumber: PHONE });
      expect(await signedIn(browser)).toBe(true);
      later(31);
    }
    expect(simulator.messages).toHaveLength(2);
  });

  it('refuses the right PIN after five wrong ones, and the fifth says so', async () => {
    const browser = host().browser();
    await browser.issue();
    for (const left of [4, 3, 2, 1]) {
      const answer = await browser.check(wrong(pinOf()));
      expect(answer.body.outcome).toMatchObject({ code: 'pin_wrong', attemptsRemaining: left });
    }
    expect(code(await browser.check(wrong(pinOf())))).toBe('attempts_exhausted');
    expect(code(await browser.check(pinOf()))).toBe('no_challenge');
    expect(await signedIn(browser)).toBe(false);
  });

  it('sends the same PIN again, and a new one when little of its time is left', async () => {
    const browser = host().browser();
    await browser.issue();
    const first = pinOf();
    later(31);
    expect((await browser.resend()).status).toBe(202);
    expect(simulator.messages.map(({ pin }) => pin)).toEqual([first, first]);
    later(460);
    expect((await browser.resend()).status).toBe(202);
    expect(simulator.messages).toHaveLength(3);
    expect((await browser.check(pinOf())).status).toBe(200);
  });

  it('lets an expired PIN be replaced by a resend', async () => {
    const browser = host().browser();
    await browser.issue();
    const old = pinOf();
    later(601);
    expect(code(await browser.check(old))).toBe('pin_expired');
    expect((await browser.resend()).status).toBe(202);
    expect((await browser.check(pinOf())).status).toBe(200);
  });

  it('follows the service to another PIN id after a resend', async () => {
    simulator.behave({ resendPinId: 'alias' });
    const browser = host().browser();
    await browser.issue();
    later(31);
    await browser.resend();
    expect((await browser.check(pinOf())).status).toBe(200);
  });

  it('makes a new PIN when the service has forgotten the old one', async () => {
    const browser = host().browser();
    await browser.issue();
    simulator.reset();
    later(31);
    expect((await browser.resend()).status).toBe(202);
    expect(simulator.messages).toHaveLength(1);
    expect((await browser.check(pinOf())).status).toBe(200);
  });
});

const failures: [name: string, fault: Fault, sends: number, remaining: number][] = [
  // A send that surely did not happen gives its points back, all but the cooldown.
  ['answers 401', { status: 401 }, 0, 5],
  ['answers 403', { status: 403 }, 0, 5],
  ['answers 500', { status: 500 }, 0, 4],
  ['answers 503', { status: 503 }, 0, 4],
  ['answers something that is no JSON', { body: '<html>proxy</html>' }, 0, 4],
  ['answers a 200 of another shape', { body: { ok: true } }, 0, 4],
  ['cuts the connection before the send', { cut: 'before' }, 0, 4],
  ['cuts the connection after the send', { cut: 'after' }, 1, 4],
  ['does not answer in time', { delayMs: 1500 }, 1, 4],
];

describe('a send at which the service', () => {
  it.each(failures)('%s', async (_name, fault, sends, remaining) => {
    simulator.addFault({ operation: 'sendPin', ...fault });
    const site = host({ strategy: { budgets: { sendsPerNumber: [{ points: 5, duration: 3600 }] } } });
    const browser = site.browser();
    const answer = await browser.issue();
    expect(answer.status).toBe(503);
    expect(answer.body.error.message).toBe('The PIN service failed to send a PIN');
    expect(site.errors).toHaveLength(1);
    expect(simulator.messages).toHaveLength(sends);
    expect((await browser.get('/challenge')).body).toBeNull();
    expect(site.events.map(({ type }) => type)).toEqual(['pin.not_sent']);
    let left = 0;
    while ((await site.browser().issue()).status === 202) left += 1;
    expect(left).toBe(remaining);
  });

  it('says that nobody can be reached there', async () => {
    simulator.addFault({ operation: 'sendPin', ncStatus: 'NC_DESTINATION_NOT_REACHABLE' });
    const browser = host().browser();
    const answer = await browser.issue();
    expect([answer.status, code(answer)]).toEqual([422, 'undeliverable']);
    expect(simulator.messages).toHaveLength(0);
  });

  it.each([
    ['with Retry-After', { 'Retry-After': '7' }, 7],
    ['without Retry-After', {}, 60],
  ])('is over its limit, %s', async (_name, headers, seconds) => {
    simulator.addFault({ operation: 'sendPin', status: 429, headers });
    const answer = await host().browser().issue();
    expect([answer.status, answer.headers['retry-after']]).toEqual([429, String(seconds)]);
    expect(answer.body.outcome).toMatchObject({ budget: 'service', retryAfterSeconds: seconds });
  });
});

// What was surely not judged gives the attempt back. Where the judgement got lost, the service counts its PIN as used.
const checkFailures: [name: string, fault: Fault, status: number, attemptsLeft: number | 'used'][] = [
  ['answers 401', { status: 401 }, 503, 5],
  ['answers 500', { status: 500 }, 503, 4],
  ['answers something that is no JSON', { body: 'OK' }, 503, 4],
  ['answers verified: "true"', { body: { verified: 'true' } }, 503, 4],
  ['answers for another PIN id', { body: { pinId: 'ANOTHER', verified: true, msisdn: '1' } }, 503, 4],
  ['cuts the connection', { cut: 'after' }, 503, 'used'],
  ['does not answer in time', { delayMs: 1500 }, 503, 'used'],
  ['is over its limit for long', { status: 429, headers: { 'Retry-After': '30' } }, 429, 5],
];

describe('a check at which the service', () => {
  it.each(checkFailures)('%s', async (_name, fault, status, attemptsLeft) => {
    const site = host();
    const browser = site.browser();
    await browser.issue();
    simulator.addFault({ operation: 'verifyPin', ...fault });
    const answer = await browser.check(pinOf());
    expect(answer.status).toBe(status);
    expect(await signedIn(browser)).toBe(false);
    expect(simulator.messages).toHaveLength(1);
    const next = await browser.check(wrong(pinOf()));
    expect(next.body.outcome).toMatchObject(
      attemptsLeft === 'used'
        ? { code: 'attempts_exhausted' }
        : { code: 'pin_wrong', attemptsRemaining: attemptsLeft - 1 },
    );
  });

  it('has forgotten the PIN: it has expired, and a resend brings a new one', async () => {
    const browser = host().browser();
    await browser.issue();
    simulator.addFault({ operation: 'verifyPin', status: 404 });
    expect(code(await browser.check(pinOf()))).toBe('pin_expired');
    later(31);
    expect((await browser.resend()).status).toBe(202);
    expect(simulator.messages).toHaveLength(2);
  });

  it('is over its limit for a second: the check waits and goes through', async () => {
    const browser = host().browser();
    await browser.issue();
    simulator.addFault({ operation: 'verifyPin', status: 429, headers: { 'Retry-After': '1' } });
    expect((await browser.check(pinOf())).status).toBe(200);
  });
});

describe('a service that is down', () => {
  it('stops a send with an error that names the cause, and gives the points back', async () => {
    const site = host({
      strategy: {
        budgets: {
          sendsPerNumber: [
            { points: 1, duration: 3600 },
            { points: 1, duration: 7200 },
          ],
        },
      },
    });
    await simulator.close();
    const answer = await site.browser().issue();
    expect(answer.body.error.code).toBe('ERR_INFOBIP_UNREACHABLE');
    expect(site.errors[0]).toMatchObject({ status: 503, cause: { sent: false } });
  });
});
