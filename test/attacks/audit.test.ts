/** Audit logs that fail later, where nobody waits for them: a rejection that nobody handles ends a process. */

import { memoryTrustedBrowsers, trustedBrowsers, withTestNumbers } from 'passport-sms-otp';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { createHost, fakeClient } from '../support/host.js';

const down = (what: string) => Promise.reject(new Error(`${what} is down`));
const unhandled: unknown[] = [];
const note = (reason: unknown) => unhandled.push(reason);

beforeEach(() => {
  unhandled.length = 0;
  process.on('unhandledRejection', note);
});

afterEach(() => {
  process.off('unhandledRejection', note);
});

async function rejections(): Promise<unknown[]> {
  // Node tells of a rejection after the microtasks of the turn in which nobody handled it.
  await new Promise((resolve) => setImmediate(resolve));
  return unhandled;
}

it('an audit log of test numbers that fails later does not end the process', async () => {
  const until = Date.now() + 86_400_000;
  const number = { phoneNumber: '+447700900123', pin: '246813', until };
  const client = withTestNumbers(fakeClient(), [number], { onEvent: () => down('the audit log') });
  const browser = createHost(client).browser();
  expect((await browser.issue(number.phoneNumber)).status).toBe(202);
  expect((await browser.check(number.pin)).status).toBe(200);
  expect(await rejections()).toEqual([]);
});

it('an audit log of trusted browsers that fails later does not end the process', async () => {
  const trust = trustedBrowsers({
    store: memoryTrustedBrowsers(),
    secret: 's'.repeat(32),
    onEvent: () => down('the audit log'),
  });
  const id = 'user 1';
  const mark = { at: Date.now(), channel: 'sms', subject: id, user: id };
  const session = { passport: { user: id }, smsOtp: { marks: { 'sms-otp': mark } } };
  const req = { headers: {}, session, user: { id } as unknown as Express.User };
  const res = { getHeader: () => undefined, setHeader: () => undefined };
  expect(await trust.remember(req, res, id)).toBe(true);
  expect(await rejections()).toEqual([]);
});
