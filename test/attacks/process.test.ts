/** What would take the process down: everything that the host's functions may do behind our back. */

import type { SmsOtpEvent } from 'passport-sms-otp';
import { expect, it, vi } from 'vitest';
import { expectNoUnhandledRejection } from '../support/calm.js';
import { createHost, fakeClient, type LooseOptions, PIN, serve } from '../support/host.js';
import { SECRET, sharedCounters } from '../support/limiters.js';

expectNoUnhandledRejection();

const down = (what: string) => Promise.reject(new Error(`${what} is down`));

it('an audit log that fails later does not end the process', async () => {
  const seen: SmsOtpEvent[] = [];
  // Written as many hosts write it: TypeScript takes an async function where nothing is to be returned.
  const onEvent = async (event: SmsOtpEvent) => {
    seen.push(event);
    await down('the audit log');
  };
  const browser = createHost(fakeClient(), { strategy: { onEvent } }).browser();
  expect((await browser.issue()).status).toBe(202);
  expect((await browser.check('000000')).status).toBe(401);
  expect((await browser.check()).status).toBe(200);
  expect(seen.map(({ type }) => type)).toEqual(['pin.sent', 'pin.rejected', 'pin.verified']);
});

it.each<[string, LooseOptions, number]>([
  ['onEvent', { onEvent: () => down('a promise where nothing is wanted') as never }, 202],
  ['messages', { messages: () => down('a promise where a text is wanted') as never }, 202],
  ['messageId', { messageId: () => down('a promise where an id is wanted') as never }, 500],
  ['clientKey', { clientKey: () => down('a promise where a key is wanted') as never }, 500],
  ['recipient', { recipient: () => down('the resolver') }, 500],
  ['subject', { subject: () => down('the resolver') }, 500],
  ['beforeSend', { beforeSend: () => down('the fraud score') }, 500],
  ['canReceivePin', { canReceivePin: () => down('the look-up') }, 500],
  ['knownBrowser', { knownBrowser: () => down('the look-up') }, 500],
  ['placeholders', { placeholders: () => down('the text') }, 500],
])('an async %s that rejects ends in an answer and not the process', async (_option, strategy, status) => {
  const client = fakeClient();
  const host = createHost(client, { strategy });
  expect((await host.browser().issue()).status).toBe(status);
  expect(client.sends).toHaveLength(status === 202 ? 1 : 0);
});

it('a verify that calls back, then rejects, long after its answer, ends in the first of them', async () => {
  const rejected = vi.fn();
  const host = createHost(fakeClient(), {
    verify: async (_proof, done) => {
      done(null, false, 'not you');
      await new Promise((resolve) => setTimeout(resolve, 10));
      rejected();
      throw new Error('too late');
    },
  });
  const browser = host.browser();
  await browser.issue();
  const { status, body } = await browser.check(PIN);
  expect(status).toBe(401);
  expect(body.outcome).toMatchObject({ code: 'user_refused', message: 'not you' });
  await vi.waitFor(() => expect(rejected).toHaveBeenCalled());
});

it.each<[string, unknown]>([
  ['nothing', undefined],
  ['null', null],
  ['a text', 'down'],
  ["Passport's word for the next route", 'route'],
  ["Express's word for the next router", 'router'],
  ['an object without a prototype', Object.create(null)],
])('a client that throws %s ends in an error of ours, and nobody passes', async (_what, thrown) => {
  const client = fakeClient();
  client.onSend = () => Promise.reject(thrown);
  const host = createHost(client);
  const { status, body } = await host.browser().issue();
  expect(status).toBe(503);
  expect(body.error.code).toBe('ERR_SMS_OTP_SERVICE');
  expect(host.errors).toEqual([expect.any(Error)]);
});

it('a limiter that answers nonsense, or throws at once, grants nothing', async () => {
  for (const consume of [
    () => {
      throw new Error('not even a promise');
    },
    async () => undefined,
    async () => ({}),
    () => down('the store'),
    () => Promise.reject('down'),
    () => Promise.reject({ msBeforeNext: 'soon' }),
  ]) {
    const client = fakeClient();
    const other = async () => null;
    const limiter = () => ({ consume, reward: other, get: other, delete: async () => true }) as never;
    const host = createHost(client, { strategy: { limiter, secret: 's'.repeat(32) } });
    const { status } = await host.browser().issue();
    expect(status, String(consume)).toBeGreaterThanOrEqual(500);
    expect(client.sends).toHaveLength(0);
  }
});

it('a dead challenge makes no counter grow, whoever types into it', async () => {
  const counters = sharedCounters();
  let address = 0;
  const client = fakeClient();
  const host = createHost(client, {
    strategy: { limiter: counters.limiter, secret: SECRET, clientKey: () => `client ${address++}` },
  });
  const browser = host.browser(await serve(host));
  await browser.issue();
  const cookie = browser.agent.jar.getCookies({
    path: '/',
    domain: '127.0.0.1',
    secure: false,
    script: false,
  });
  const race = Array.from({ length: 5 }, () => browser.check('000000'));
  await Promise.all(race);
  const before = counters.calls.get('budget consume');
  for (let index = 0; index < 50; index += 1) {
    await host.browser().post('/login/pin', { pin: '000000' }, { Cookie: cookie.toValueString() });
  }
  expect(counters.calls.get('budget consume')).toBe(before);
  expect(client.checks).toHaveLength(5);
});
