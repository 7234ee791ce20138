import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { fakeClient, OTHER_PHONE, PHONE, PIN } from '../support/host.js';
import { ALICE, BOB, createSite, type Site, type SiteOptions, type Visitor } from '../support/two-factors.js';

const ROUTES = ['/password', '/password/careless'];

async function expectNobody(site: Site, browser: Visitor): Promise<void> {
  expect(await site.signedIn()).toEqual([]);
  expect((await browser.get('/me')).body).toEqual({ authenticated: false, user: null });
}

const asSecondFactor = (overrides: Record<string, unknown>): SiteOptions => ({
  strategies: { 'second-factor': overrides },
});

describe.each(ROUTES)('a recipient that the host cannot tell (%s)', (route) => {
  it.each([
    ['no phone number', { subject: ALICE.id }],
    ['an empty phone number', { phoneNumber: '', subject: ALICE.id }],
    ['a phone number that is none', { phoneNumber: 'to be filled in', subject: ALICE.id }],
    ['a phone number without its country', { phoneNumber: '0911234567', subject: ALICE.id }],
    ['a premium rate number', { phoneNumber: '+385601234567', subject: ALICE.id }],
    ['an address where only phones are served', { email: ALICE.email, subject: ALICE.id }],
    ['nothing', null],
  ])('sends nothing and signs nobody in: %s', async (_what, recipient) => {
    const client = fakeClient();
    const site = createSite(client, asSecondFactor({ recipient: () => recipient }));
    const browser = site.browser();
    const refused = await browser.password(ALICE, route);
    expect(refused.status).toBe(403);
    expect(refused.body.outcome.code).toBe('recipient_missing');
    expect(client.sends).toEqual([]);
    await expectNobody(site, browser);
    expect((await browser.post('/second-factor/pin', { pin: PIN })).body.outcome.code).toBe('no_challenge');
  });

  it.each([
    ['no subject', { phoneNumber: PHONE }],
    ['an empty subject', { phoneNumber: PHONE, subject: '' }],
    ['a subject that is a number', { phoneNumber: PHONE, subject: 7 }],
    ['a subject that is null', { phoneNumber: PHONE, subject: null }],
    ['a subject that is an object', { phoneNumber: PHONE, subject: { id: 7 } }],
    ['a text instead of an object', PHONE],
  ])('is an error that says what to do, and signs nobody in: %s', async (_what, recipient) => {
    const client = fakeClient();
    const site = createSite(client, asSecondFactor({ recipient: () => recipient }));
    const browser = site.browser();
    const failed = await browser.password(ALICE, route);
    expect(failed.status).toBe(500);
    expect(failed.body.error).toEqual({
      code: 'ERR_SMS_OTP_CONFIGURATION',
      message: expect.stringMatching(/SmsOtpStrategy 'second-factor'.*`recipient`.*subject/u),
    });
    expect(client.sends).toEqual([]);
    await expectNobody(site, browser);
  });

  it.each([
    [
      'throws',
      () => {
        throw new Error('the database is down');
      },
    ],
    ['rejects', () => Promise.reject(new Error('the database is down'))],
  ])('hands the error on and signs nobody in when the resolver %s', async (_what, recipient) => {
    const client = fakeClient();
    const site = createSite(client, asSecondFactor({ recipient }));
    const browser = site.browser();
    const failed = await browser.password(ALICE, route);
    expect(failed.status).toBe(500);
    expect(failed.body.error.message).toBe('the database is down');
    expect(client.sends).toEqual([]);
    await expectNobody(site, browser);
  });

  it('signs nobody in while a slow resolver thinks, nor after it', async () => {
    const client = fakeClient();
    let answer = () => {};
    let asked = () => {};
    const isAsked = new Promise<void>((resolve) => {
      asked = resolve;
    });
    const site = createSite(
      client,
      asSecondFactor({
        recipient: () => {
          asked();
          return new Promise((resolve) => {
            answer = () => resolve({ phoneNumber: PHONE, subject: ALICE.id });
          });
        },
      }),
    );
    const browser = site.browser();
    const issuing = browser.password(ALICE, route).then((response) => response);
    await isAsked;
    expect((await browser.get('/me')).body.authenticated).toBe(false);
    expect(client.sends).toEqual([]);
    answer();
    expect((await issuing).body.outcome.code).toBe('pin_sent');
    await expectNobody(site, browser);
  });
});

describe('a user who changes between the PIN and its check', () => {
  it('does not get in when deleted', async () => {
    const site = createSite(fakeClient());
    const browser = site.browser();
    await browser.password();
    site.users.delete(ALICE.id);
    const refused = await browser.post('/second-factor/pin', { pin: PIN });
    expect(refused.status).toBe(401);
    expect(refused.body.outcome.code).toBe('user_refused');
    await expectNobody(site, browser);
  });

  it('does not get in when the number changed: verify is told the number that was proved, not the new one', async () => {
    const site = createSite(fakeClient());
    const browser = site.browser();
    await browser.password();
    const alice = site.users.get(ALICE.id);
    if (alice) alice.phoneNumber = OTHER_PHONE;
    const refused = await browser.post('/second-factor/pin', { pin: PIN, phone: OTHER_PHONE });
    expect(refused.body.outcome.code).toBe('user_refused');
    expect(site.proofs).toMatchObject([{ subject: ALICE.id, phoneNumber: PHONE, channel: 'sms' }]);
    await expectNobody(site, browser);
  });

  it('does not get in when verify throws, and the PIN is used up', async () => {
    const site = createSite(
      fakeClient(),
      asSecondFactor({
        verify: async () => {
          throw new Error('the database is down');
        },
      }),
    );
    const browser = site.browser();
    await browser.password();
    expect((await browser.post('/second-factor/pin', { pin: PIN })).status).toBe(500);
    expect((await browser.post('/second-factor/pin', { pin: PIN })).body.outcome.code).toBe('no_challenge');
    await expectNobody(site, browser);
  });
});

describe('the routes of a second factor, without a password before them', () => {
  it('send nothing and check nothing', async () => {
    const client = fakeClient();
    const site = createSite(client);
    const browser = site.browser();
    const form = { pin: PIN, phone: PHONE, subject: ALICE.id, ...ALICE };
    expect((await browser.post('/second-factor/issue', form)).body.outcome.code).toBe('recipient_missing');
    expect((await browser.post('/second-factor/resend', form)).body.outcome.code).toBe('no_challenge');
    expect((await browser.post('/second-factor/pin', form)).body.outcome.code).toBe('no_challenge');
    expect([client.sends, client.resends, client.checks]).toEqual([[], [], []]);
    await expectNobody(site, browser);
  });

  it('take no challenge from another browser, with the PIN and everything else at hand', async () => {
    const site = createSite(fakeClient());
    await site.browser().password();
    const thief = site.browser();
    await thief.password(BOB);
    const login = await thief.post('/second-factor/pin', { pin: PIN, subject: ALICE.id, phone: PHONE });
    expect(login.body.user.id).toBe(BOB.id);
    expect(await site.signedIn()).toEqual([BOB.id]);
  });
});

describe('a password of long ago', () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['Date'], now: new Date('2026-03-01T12:00:00Z') });
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it.each(['sms', 'email'])(
    'gives no more PINs: an hour after it, "send again" is over (%s)',
    async (channel) => {
      const client = fakeClient();
      const site = createSite(client, asSecondFactor({ channels: ['sms', 'email'] }));
      const browser = site.browser();
      await browser.password();
      const codes: string[] = [];
      for (const minutes of [20, 40, 59, 61]) {
        vi.setSystemTime(new Date('2026-03-01T12:00:00Z').getTime() + minutes * 60_000);
        const { body } = await browser.post('/second-factor/resend', {
          channel: minutes === 40 ? channel : 'sms',
        });
        codes.push(body.outcome.code);
      }
      expect(codes).toEqual(['pin_sent', 'pin_sent', 'pin_sent', 'no_challenge']);
      // The last PIN was sent two minutes ago and is good for ten.
      expect((await browser.post('/second-factor/pin', { pin: PIN })).body.user.id).toBe(ALICE.id);
    },
  );
});
