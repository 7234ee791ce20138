/** A session store that stops answering in the middle of a request: the visitor is told so, and does not wait for it. */

import { afterEach, expect, it } from 'vitest';
import { expectNoUnhandledRejection, noteUncaught } from '../support/calm.js';
import { createHost, fakeClient, PIN } from '../support/host.js';
import { FragileStore } from '../support/stores.js';

expectNoUnhandledRejection();

let store: FragileStore;

afterEach(() => {
  // What express-session has asked at the end of a request is answered, so that nothing is left waiting.
  store.catchUp();
});

it.each([
  ['issue', 'get', 1, 'before the PIN is paid for'],
  ['issue', 'get', 2, 'before the PIN is paid for'],
  ['issue', 'set', 0, 'before the PIN is paid for'],
  ['issue', 'get', 3, 'once the PIN is on its way'],
  ['issue', 'set', 1, 'once the PIN is on its way'],
  ['resend', 'get', 1, 'before the PIN is paid for'],
  ['resend', 'get', 2, 'before the PIN is paid for'],
  ['resend', 'set', 0, 'before the PIN is paid for'],
  ['resend', 'get', 3, 'once the PIN is on its way'],
  ['resend', 'set', 1, 'once the PIN is on its way'],
  ['wrong', 'get', 1, 'at the start'],
  ['wrong', 'get', 2, 'as it is read again'],
  ['wrong', 'get', 3, 'as it is looked for'],
  ['wrong', 'set', 0, 'as it is written'],
  ['right', 'get', 1, 'at the start'],
  ['right', 'get', 2, 'as it is looked for'],
  ['right', 'destroy', 0, 'as it is made anew'],
  ['right', 'set', 0, 'as the new one is written'],
] as const)('%s: %s number %i is silent, %s', async (what, step, after, when) => {
  store = new FragileStore();
  const client = fakeClient();
  const host = createHost(client, {
    session: { store },
    strategy: { storeTimeoutMs: 60, budgets: { sendsPerNumber: null } },
  });
  const browser = host.browser();
  // The session is there before, as after any first page that keeps something.
  await browser.issue();
  const sends = client.sends.length + client.resends.length;
  store.break(step, 'is silent', after);
  // A store that has gone silent stays so: express-session would touch the session at the end of the request.
  store.break('touch', 'is silent');
  const asked = {
    issue: () => browser.issue('+385911112222'),
    resend: () => browser.resend(),
    wrong: () => browser.check('000000'),
    right: () => browser.check(PIN),
  }[what]();
  const { status, body } = await asked.timeout(5000);
  expect({ status, code: body.error?.code }).toEqual({ status: 503, code: 'ERR_SMS_OTP_STORE' });
  const paid = when === 'once the PIN is on its way' ? 1 : 0;
  expect(client.sends.length + client.resends.length - sends).toBe(paid);

  store.heal();
  store.catchUp();
  expect((await browser.get('/me')).body.user).toBeNull();
});

it.each([
  ['as it is saved', 'set'],
  ['as it is made anew', 'destroy'],
] as const)(
  'between two factors: a session that is signed out and answered for late, %s, ends nothing but its request',
  async (_when, step) => {
    store = new FragileStore();
    const client = fakeClient();
    const host = createHost(client, {
      session: { store },
      strategy: {
        storeTimeoutMs: 60,
        recipient: () => ({ phoneNumber: '+385911234567', subject: 'u1' }),
        budgets: { sendsPerNumber: null },
      },
    });
    const uncaught = noteUncaught();
    const browser = host.browser();
    // One that the browser comes with: a new one, with nobody in it, is not signed out.
    await browser.issue();
    store.break(step, 'is silent');
    store.break('touch', 'is silent');
    const { status, body } = await browser.issue().timeout(5000);
    expect({ status, code: body.error?.code }).toEqual({ status: 503, code: 'ERR_SMS_OTP_STORE' });
    store.heal();
    store.catchUp();
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(uncaught).toEqual([]);
    expect(client.sends).toHaveLength(1);
    expect((await browser.issue()).status).toBe(202);
  },
);
