import { describe, expect, it } from 'vitest';
import { expectNoUnhandledRejection } from './support/calm.js';
import { createHost, fakeClient, PHONE, PIN } from './support/host.js';
import { describeJourneys } from './support/journeys.js';

expectNoUnhandledRejection();

describe('a login', () => {
  it('sends a PIN, checks it, and signs in the user whom verify returns', async () => {
    const client = fakeClient();
    const host = createHost(client);
    const browser = host.browser();

    const issued = await browser.issue();
    expect(issued.status).toBe(202);
    expect(issued.body.outcome).toMatchObject({
      code: 'pin_sent',
      to: '+385 \u2022\u2022\u2022 67',
      channel: 'sms',
      alreadySent: false,
    });
    expect(client.sends).toEqual([{ channel: 'sms', applicationId: 'APP', messageId: 'MSG', to: PHONE }]);

    const checked = await browser.check();
    expect(checked.body).toEqual({ user: { id: 'u1', phoneNumber: PHONE }, info: { channel: 'sms' } });
    expect(client.checks).toEqual([{ pinId: 'PIN-ID-1', pin: PIN }]);
    const me = await browser.get('/me');
    expect(me.body.user).toEqual({ id: 'u1', phoneNumber: PHONE });
    expect(me.body.session.smsOtp).toEqual({
      marks: { 'sms-otp': { at: expect.any(Number), channel: 'sms', user: 'u1' } },
    });
  });
});

describeJourneys('a login with challenges in the session', {
  options: () => ({}),
  kept: async (host, browser) => (await host.stored(browser))?.smsOtp,
});
