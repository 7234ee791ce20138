import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createGate } from '../support/gate.js';
import { fakeClient, OTHER_PHONE, PHONE, PIN } from '../support/host.js';
import { ALICE, BOB, createSite, type SiteOptions } from '../support/two-factors.js';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['Date'], now: new Date('2026-03-01T12:00:00Z') });
});
afterEach(() => {
  vi.useRealTimers();
});

const later = (seconds: number): void => {
  vi.setSystemTime(Date.now() + seconds * 1000);
};

const asSecondFactor = (overrides: Record<string, unknown>): SiteOptions => ({
  strategies: { 'second-factor': overrides },
});

const ALL = asSecondFactor({
  channels: ['sms', 'voice', 'email'],
  messageId: { sms: 'TEXT', voice: 'TEXT', email: 'LETTER' },
});

describe('a call instead of a message', () => {
  it('cannot be asked for at first, and the answer says what can', async () => {
    const client = fakeClient();
    const browser = createSite(client, ALL).browser();
    const refused = await browser.post('/password', { ...ALICE, channel: 'voice' });
    expect(refused.status).toBe(400);
    expect(refused.body.outcome).toMatchObject({ code: 'channel_not_allowed', channels: ['sms', 'email'] });
    expect(client.sends).toEqual([]);
  });

  it('reads out the PIN of the message, after which both are one proof of the number', async () => {
    const client = fakeClient();
    const site = createSite(client, ALL);
    const browser = site.browser();
    const issued = await browser.password();
    expect(issued.body.outcome).toMatchObject({ channel: 'sms', channels: ['sms', 'voice', 'email'] });
    later(31);
    const called = await browser.post('/second-factor/resend', { channel: 'voice' });
    expect(called.body.outcome).toMatchObject({
      code: 'pin_sent',
      channel: 'voice',
      to: '\u2022\u2022\u2022 67',
      expiresAt: issued.body.outcome.expiresAt,
    });
    expect(client.sends).toHaveLength(1);
    expect(client.resends).toEqual([{ pinId: 'PIN-ID-1', request: { channel: 'voice' } }]);
    await browser.post('/second-factor/pin', { pin: PIN });
    const [proof] = site.proofs;
    expect(proof).toMatchObject({ channel: 'voice', phoneNumber: PHONE, subject: ALICE.id });
    expect(proof).not.toHaveProperty('email');
  });

  it.each([
    ['has been made', async () => ({ pinId: 'PIN-ID-1', sent: true })],
    ['may have been made', () => Promise.reject(new Error('no answer in time'))],
  ])(
    'makes the PIN one by voice for as long as it is good, also by SMS once more: it %s',
    async (_what, onCall) => {
      const client = fakeClient();
      const site = createSite(client, ALL);
      const browser = site.browser();
      await browser.password();
      later(31);
      const { onResend } = client;
      client.onResend = onCall;
      await browser.post('/second-factor/resend', { channel: 'voice' });
      client.onResend = onResend;
      later(31);
      const again = await browser.post('/second-factor/resend', { channel: 'sms' });
      expect(again.body.outcome).toMatchObject({ code: 'pin_sent', channel: 'sms' });
      await browser.post('/second-factor/pin', { pin: PIN });
      // A new PIN is one by SMS.
      const other = site.browser();
      later(31);
      await other.password();
      await other.post('/second-factor/pin', { pin: PIN });
      expect(site.proofs.map(({ channel }) => channel)).toEqual(['voice', 'sms']);
    },
  );

  it('stays one by voice where a slow SMS of before is answered after it', async () => {
    const client = fakeClient();
    const site = createSite(
      client,
      asSecondFactor({ channels: ['sms', 'voice'], budgets: { sendsPerNumber: null } }),
    );
    const browser = site.browser();
    await browser.password();
    const gate = createGate();
    client.onResend = async (pinId, request) => {
      if (request?.channel === 'sms') await gate.pass();
      return { pinId, sent: true };
    };
    const waiting = gate.shut();
    const slow = browser.post('/second-factor/resend', { channel: 'sms' }).then((answer) => answer);
    await waiting;
    await browser.post('/second-factor/resend', { channel: 'voice' });
    gate.open();
    await slow;
    await browser.post('/second-factor/pin', { pin: PIN });
    expect(site.proofs).toMatchObject([{ channel: 'voice' }]);
  });

  it('makes the PIN one by voice in both sessions that a double click leaves', async () => {
    const client = fakeClient();
    const { onSend } = client;
    client.onSend = async (sent) => {
      await new Promise((resolve) => setTimeout(resolve, 100));
      return onSend(sent);
    };
    const site = createSite(client, {
      ...asSecondFactor({ channels: ['sms', 'voice'], budgets: { sendsPerNumber: null } }),
      routes: (app) => {
        app.get('/basket', (req, res) => {
          Reflect.set(req.session, 'basket', 'three apples');
          res.end();
        });
      },
    });
    const first = site.browser();
    await first.get('/basket');
    const cookie = { Cookie: `connect.sid=${first.cookies().get('connect.sid')}` };
    const clicks = await Promise.all(
      [1, 2].map(async () => (await site.browser().post('/password', ALICE, cookie)).headers['set-cookie']),
    );
    const [calls, types] = clicks.map((set) => ({ Cookie: String(set).split(';')[0] ?? '' }));
    expect([client.sends.length, calls?.Cookie === types?.Cookie]).toEqual([1, false]);
    await site.browser().post('/second-factor/resend', { channel: 'voice' }, calls);
    await site.browser().post('/second-factor/pin', { pin: PIN }, types);
    expect(site.proofs).toMatchObject([{ channel: 'voice' }]);
  });

  it('has a budget of its own: three calls a day, after which a message still goes', async () => {
    const client = fakeClient();
    const site = createSite(client, ALL);
    const codes: string[] = [];
    for (let day = 0; day < 4; day += 1) {
      // A login for each call: ten sends of a day would be used up otherwise.
      const browser = site.browser();
      await browser.password();
      later(31);
      const called = await browser.post('/second-factor/resend', { channel: 'voice' });
      codes.push(called.body.outcome.budget ?? called.body.outcome.code);
      later(3600);
    }
    expect(codes).toEqual(['pin_sent', 'pin_sent', 'pin_sent', 'callsPerNumber']);
    const browser = site.browser();
    await browser.password();
    later(31);
    expect((await browser.post('/second-factor/resend', { channel: 'sms' })).body.outcome.code).toBe(
      'pin_sent',
    );
  });

  it('is the first way where it is the only one', async () => {
    const client = fakeClient();
    const browser = createSite(client, asSecondFactor({ channels: ['voice'] })).browser();
    expect((await browser.password()).body.outcome).toMatchObject({ code: 'pin_sent', channel: 'voice' });
    expect(client.sends).toMatchObject([{ channel: 'voice', to: PHONE }]);
  });

  it('goes to a landline that can get no message', async () => {
    const client = fakeClient();
    const site = createSite(client, asSecondFactor({ channels: ['sms', 'voice'] }));
    const alice = site.users.get(ALICE.id);
    if (alice) alice.phoneNumber = '+38514567890';
    const refused = await site.browser().password();
    expect(refused.body.outcome.code).toBe('recipient_missing');
    const calls = createSite(client, asSecondFactor({ channels: ['voice'] }));
    const her = calls.users.get(ALICE.id);
    if (her) her.phoneNumber = '+38514567890';
    expect((await calls.browser().password()).body.outcome.code).toBe('pin_sent');
  });
});

describe('e-mail instead of a message', () => {
  it('sends a new PIN with the e-mail template, and proves the address and not the number', async () => {
    const client = fakeClient();
    const site = createSite(client, ALL);
    const browser = site.browser();
    await browser.password();
    later(31);
    const mailed = await browser.post('/second-factor/resend', { channel: 'email' });
    expect(mailed.body.outcome).toMatchObject({
      code: 'pin_sent',
      channel: 'email',
      to: 'a\u2022\u2022\u2022@example.com',
    });
    expect(client.sends.map(({ channel, messageId, to }) => [channel, messageId, to])).toEqual([
      ['sms', 'TEXT', PHONE],
      ['email', 'LETTER', ALICE.email],
    ]);
    expect(client.resends).toEqual([]);
    await browser.post('/second-factor/pin', { pin: PIN });
    expect(client.checks).toEqual([{ pinId: 'PIN-ID-2', pin: PIN }]);
    const [proof] = site.proofs;
    expect(proof).toMatchObject({ channel: 'email', email: ALICE.email, subject: ALICE.id });
    expect(proof).not.toHaveProperty('phoneNumber');
  });

  it('never yields the number that an earlier message went to', async () => {
    const client = fakeClient();
    // The number is Alice's, the address is not: whoever reads that mailbox must not become the number's owner.
    const recipient = { phoneNumber: PHONE, email: 'mallory@evil.example', subject: ALICE.id };
    const site = createSite(
      client,
      asSecondFactor({ recipient: () => recipient, channels: ['sms', 'email'] }),
    );
    const browser = site.browser();
    await browser.password();
    later(31);
    await browser.post('/second-factor/resend', { channel: 'email' });
    const login = await browser.post('/second-factor/pin', { pin: PIN });
    expect(login.body.outcome.code).toBe('user_refused');
    const [proof] = site.proofs;
    expect({ ...proof, req: undefined }).toEqual({
      channel: 'email',
      email: 'mallory@evil.example',
      subject: ALICE.id,
      req: undefined,
    });
    expect(await site.signedIn()).toEqual([]);
  });

  it('makes the PIN of the message worthless, and back again', async () => {
    const client = fakeClient();
    client.onVerify = async (pinId, pin) =>
      pin === `11111${pinId.at(-1)}`
        ? { verified: true, pinId, msisdn: '' }
        : { verified: false, pinId, reason: 'wrong_pin' };
    const site = createSite(client, ALL);
    const browser = site.browser();
    await browser.password();
    later(31);
    await browser.post('/second-factor/resend', { channel: 'email' });
    expect((await browser.post('/second-factor/pin', { pin: '111111' })).body.outcome.code).toBe('pin_wrong');
    later(31);
    await browser.post('/second-factor/resend', { channel: 'sms' });
    expect((await browser.post('/second-factor/pin', { pin: '111112' })).body.outcome.code).toBe('pin_wrong');
    await browser.post('/second-factor/pin', { pin: '111113' });
    expect(site.proofs).toMatchObject([{ channel: 'sms', phoneNumber: PHONE }]);
    expect(site.proofs[0]).not.toHaveProperty('email');
  });

  it('is not possible for a user without an address, and the page does not offer it', async () => {
    const client = fakeClient();
    const site = createSite(client, ALL);
    const alice = site.users.get(ALICE.id);
    if (alice) alice.email = undefined;
    const browser = site.browser();
    await browser.password();
    expect((await browser.get('/challenge/second-factor')).body.channels).toEqual(['sms', 'voice']);
    later(31);
    const refused = await browser.post('/second-factor/resend', { channel: 'email' });
    expect(refused.body.outcome).toMatchObject({ code: 'channel_not_allowed', channels: ['sms', 'voice'] });
    expect(client.sends).toHaveLength(1);
  });

  it('goes to the address of the issue, not to one that was put in since', async () => {
    const client = fakeClient();
    const site = createSite(client, ALL);
    const browser = site.browser();
    await browser.password();
    const alice = site.users.get(ALICE.id);
    if (alice) alice.email = 'mallory@evil.example';
    later(31);
    await browser.post('/second-factor/resend', { channel: 'email', email: 'mallory@evil.example' });
    expect(client.sends.at(-1)?.to).toBe(ALICE.email);
  });

  it('is refused where the host did not turn it on', async () => {
    const client = fakeClient();
    const browser = createSite(client).browser();
    await browser.password();
    later(31);
    for (const channel of ['email', 'voice', 'whatsapp', '__proto__']) {
      const refused = await browser.post('/second-factor/resend', { channel });
      expect(refused.body.outcome).toMatchObject({ code: 'channel_not_allowed', channels: ['sms'] });
    }
    expect([client.sends.length, client.resends.length]).toEqual([1, 0]);
  });
});

describe('three factors in a row', () => {
  it('sign in after the last one only, and each asks the person of the one before', async () => {
    const client = fakeClient();
    const site = createSite(client);
    const browser = site.browser();
    const steps: unknown[] = [];
    const note = async () => steps.push([await site.signedIn(), browser.sessionId()]);
    await browser.password();
    await note();
    const mailed = await browser.post('/three/pin', { pin: PIN });
    expect(mailed.body.outcome).toMatchObject({ code: 'pin_sent', channel: 'email' });
    await note();
    expect((await browser.get('/me')).body.authenticated).toBe(false);
    expect(client.sends.map(({ to }) => to)).toEqual([PHONE, ALICE.email]);
    const login = await browser.post('/third-factor/pin', { pin: PIN });
    expect(login.body.user.id).toBe(ALICE.id);
    await note();
    expect(steps).toMatchObject([
      [[], expect.any(String)],
      [[], expect.any(String)],
      [[ALICE.id], expect.any(String)],
    ]);
    expect(new Set(steps.map((step) => (step as unknown[])[1])).size).toBe(3);
  });

  it('take no step out of turn', async () => {
    const client = fakeClient();
    const site = createSite(client);
    const browser = site.browser();
    await browser.password();
    expect((await browser.post('/third-factor/issue', ALICE)).body.outcome.code).toBe('recipient_missing');
    expect((await browser.post('/third-factor/pin', { pin: PIN })).body.outcome.code).toBe('no_challenge');
    expect((await browser.post('/three/pin', { pin: '999999' })).status).toBe(401);
    expect((await browser.post('/third-factor/pin', { pin: PIN })).body.outcome.code).toBe('no_challenge');
    expect(client.sends).toHaveLength(1);
    expect(await site.signedIn()).toEqual([]);
  });

  it('stay with one person when the second PIN is another one\u2019s', async () => {
    const site = createSite(fakeClient());
    const [first, second] = [site.browser(), site.browser()];
    await first.password(ALICE);
    await second.password(BOB);
    await first.post('/three/pin', { pin: PIN });
    await second.post('/three/pin', { pin: PIN });
    await second.post('/third-factor/pin', { pin: PIN });
    expect(site.proofs.map(({ subject, channel }) => [subject, channel])).toEqual([
      [ALICE.id, 'sms'],
      [BOB.id, 'sms'],
      [BOB.id, 'email'],
    ]);
    expect(await site.signedIn()).toEqual([BOB.id]);
  });
});

describe('a recipient that the server knows', () => {
  it('is judged like a typed number: its country must be served', async () => {
    const client = fakeClient();
    const site = createSite(client, asSecondFactor({ countries: ['HR'] }));
    const alice = site.users.get(ALICE.id);
    if (alice) alice.phoneNumber = '+38631234567';
    expect((await site.browser().password()).body.outcome.code).toBe('recipient_missing');
    if (alice) alice.phoneNumber = OTHER_PHONE;
    expect((await site.browser().password()).body.outcome.code).toBe('pin_sent');
    expect(client.sends.map(({ to }) => to)).toEqual([OTHER_PHONE]);
  });

  it('may stand in the national form where the country is known', async () => {
    const client = fakeClient();
    const site = createSite(client, asSecondFactor({ countries: ['HR'] }));
    const alice = site.users.get(ALICE.id);
    if (alice) alice.phoneNumber = '091 123 4567';
    await site.browser().password();
    expect(client.sends.map(({ to }) => to)).toEqual([PHONE]);
  });
});
