import { requireSmsOtp } from 'passport-sms-otp';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { fakeClient, OTHER_PHONE, PHONE, PIN } from '../support/host.js';
import { ALICE, BOB, createSite } from '../support/two-factors.js';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['Date'], now: new Date('2026-03-01T12:00:00Z') });
});
afterEach(() => {
  vi.useRealTimers();
});

const later = (seconds: number): void => {
  vi.setSystemTime(Date.now() + seconds * 1000);
};
const NEW = '+385981112222';

describe('enrolment: a known user types a number', () => {
  it('proves it before the first login, behind a password with `session: false`', async () => {
    const client = fakeClient();
    const site = createSite(client);
    const alice = site.users.get(ALICE.id);
    if (alice) alice.phoneNumber = undefined;
    const browser = site.browser();
    const issued = await browser.post('/password/enrol', { ...ALICE, phone: '098 111 2222' });
    expect(issued.body.outcome).toMatchObject({ code: 'pin_sent', to: '\u2022\u2022\u2022 22' });
    expect(client.sends.map(({ to }) => to)).toEqual([NEW]);
    expect(alice?.phoneNumber).toBeUndefined();
    expect(await site.signedIn()).toEqual([]);
    const login = await browser.post('/enrolment/pin', { pin: PIN });
    expect(login.body.user).toMatchObject({ id: ALICE.id, phoneNumber: NEW });
    expect(site.proofs).toMatchObject([{ subject: ALICE.id, phoneNumber: NEW, channel: 'sms' }]);
  });

  it.each([
    ['nothing', '', 'phone_missing', 400],
    ['no number', 'call me', 'phone_invalid', 400],
    ['a number of a country that is not served', '+38631234567', 'phone_not_allowed', 403],
    ['a premium rate number', '+385601234567', 'phone_not_allowed', 403],
  ])('judges the number like any that is typed: %s', async (_what, phone, code, status) => {
    const client = fakeClient();
    const site = createSite(client);
    const refused = await site.browser().post('/password/enrol', { ...ALICE, phone });
    expect([refused.status, refused.body.outcome.code]).toEqual([status, code]);
    expect(client.sends).toEqual([]);
    expect(await site.signedIn()).toEqual([]);
  });

  it.each([
    ['null', () => null, 403, 'recipient_missing'],
    ['an empty text', () => '', 500, 'ERR_SMS_OTP_CONFIGURATION'],
    ['a number', () => 7, 500, 'ERR_SMS_OTP_CONFIGURATION'],
    [
      'an error',
      () => {
        throw new Error('the database is down');
      },
      500,
      undefined,
    ],
  ])('is for nobody where the host\u2019s `subject` gives %s', async (_what, subject, status, code) => {
    const client = fakeClient();
    const site = createSite(client, { strategies: { enrolment: { subject } } });
    const refused = await site.browser().post('/password/enrol', { ...ALICE, phone: NEW });
    expect([refused.status, refused.body.outcome?.code ?? refused.body.error.code]).toEqual([status, code]);
    expect(client.sends).toEqual([]);
    expect(await site.signedIn()).toEqual([]);
  });
});

describe('a new number of a user who is signed in', () => {
  it('is the user\u2019s only once it is proved, and the user stays signed in all the time', async () => {
    const client = fakeClient();
    const site = createSite(client);
    const browser = site.browser();
    await browser.password(ALICE, '/password/only');
    const alice = site.users.get(ALICE.id);
    const issued = await browser.post('/new-number/issue', { phone: NEW });
    expect(issued.body.outcome).toMatchObject({ code: 'pin_sent', to: '\u2022\u2022\u2022 22' });
    expect((await browser.get('/me')).body.user.id).toBe(ALICE.id);
    expect(alice?.phoneNumber).toBe(PHONE);
    expect((await browser.post('/new-number/pin', { pin: '999999' })).body.outcome.code).toBe('pin_wrong');
    expect(alice?.phoneNumber).toBe(PHONE);
    expect((await browser.get('/me')).body.user.id).toBe(ALICE.id);
    await browser.post('/new-number/pin', { pin: PIN, phone: OTHER_PHONE });
    expect(alice?.phoneNumber).toBe(NEW);
    expect(await site.signedIn()).toEqual([ALICE.id]);
  });

  it('can be corrected: the PIN of the number typed first proves nothing any more', async () => {
    const client = fakeClient();
    client.onVerify = async (pinId) => ({ verified: true, pinId, msisdn: '' });
    const site = createSite(client);
    const browser = site.browser();
    await browser.password(ALICE, '/password/only');
    await browser.post('/new-number/issue', { phone: '+385981112223' });
    expect((await browser.post('/new-number/issue', { phone: NEW })).body.outcome.code).toBe('pin_sent');
    await browser.post('/new-number/pin', { pin: PIN });
    expect(client.checks).toEqual([{ pinId: 'PIN-ID-2', pin: PIN }]);
    expect(site.users.get(ALICE.id)?.phoneNumber).toBe(NEW);
  });

  it('cannot be put in for somebody else: not by a field, and not by signing in as somebody else in between', async () => {
    const client = fakeClient();
    const site = createSite(client);
    const browser = site.browser();
    await browser.password(BOB, '/password/only');
    await browser.post('/new-number/issue', { phone: NEW, subject: ALICE.id, id: ALICE.id });
    await browser.password(ALICE, '/password/only?keep');
    expect((await browser.post('/new-number/pin', { pin: PIN })).body.outcome.code).toBe('no_challenge');
    expect(site.users.get(ALICE.id)?.phoneNumber).toBe(PHONE);
    expect(site.users.get(BOB.id)?.phoneNumber).toBe(OTHER_PHONE);
    expect(client.checks).toEqual([]);
  });

  it('ends its challenge when the subject is another one at the check', async () => {
    let subject = ALICE.id;
    const client = fakeClient();
    const site = createSite(client, { strategies: { 'new-number': { subject: () => subject } } });
    const browser = site.browser();
    await browser.password(ALICE, '/password/only');
    await browser.post('/new-number/issue', { phone: NEW });
    subject = BOB.id;
    expect((await browser.post('/new-number/pin', { pin: PIN })).body.outcome.code).toBe('no_challenge');
    later(31);
    expect((await browser.post('/new-number/resend')).body.outcome.code).toBe('no_challenge');
    expect([client.checks, client.resends]).toEqual([[], []]);
  });

  it('needs somebody who is signed in', async () => {
    const client = fakeClient();
    const site = createSite(client);
    const refused = await site.browser().post('/new-number/issue', { phone: NEW, subject: ALICE.id });
    expect(refused.body.outcome.code).toBe('recipient_missing');
    expect(client.sends).toEqual([]);
  });

  it('is proved behind a fresh step-up with the old one, where the host asks for that', async () => {
    const site = createSite(fakeClient(), {
      routes: (app) => {
        const guard = requireSmsOtp({ name: 'step-up', maxAgeSeconds: 300 });
        app.post('/new-number/issue', guard);
        app.post('/new-number/pin', guard);
      },
    });
    const browser = site.browser();
    await browser.password();
    await browser.post('/second-factor/pin', { pin: PIN });
    expect((await browser.post('/new-number/issue', { phone: NEW })).status).toBe(403);
    await browser.post('/step-up/issue');
    await browser.post('/step-up/pin', { pin: PIN });
    expect((await browser.post('/new-number/issue', { phone: NEW })).body.outcome.code).toBe('pin_sent');
    later(301);
    expect((await browser.post('/new-number/pin', { pin: PIN })).status).toBe(403);
    later(-300);
    expect((await browser.post('/new-number/pin', { pin: PIN })).body.user.phoneNumber).toBe(NEW);
  });
});
