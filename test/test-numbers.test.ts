import { type OtpClient, type TestNumber, type TestNumberEvent, withTestNumbers } from 'passport-sms-otp';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createHost, fakeClient, type HostOptions, PHONE, PIN } from './support/host.js';
import { SECRET, sharedCounters } from './support/limiters.js';

const DRAMA = '+447700900123';
const FIXED = '731946';
const START = Date.UTC(2026, 0, 1, 12);
const DAY = 86_400_000;
const number: TestNumber = { phoneNumber: DRAMA, pin: FIXED, until: new Date(START + 30 * DAY) };

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['Date'], now: START });
});
afterEach(() => {
  vi.useRealTimers();
});

const later = (seconds: number) => vi.setSystemTime(Date.now() + seconds * 1000);
const code = (answer: { body: { outcome?: { code?: string } } }) => answer.body.outcome?.code;

function site(options: HostOptions = {}, entry: TestNumber = number) {
  const service = fakeClient();
  const host = createHost(withTestNumbers(service, [entry], { allowReal: true }), options);
  return { service, host, browser: host.browser() };
}

describe('a test number at the login', () => {
  it('logs in with its fixed PIN, and neither the number nor the PIN reaches the service', async () => {
    const { service, host, browser } = site();
    const issued = await browser.issue('+44 7700 900123');
    expect(issued.body.outcome).toMatchObject({ code: 'pin_sent', to: '+44 \u2022\u2022\u2022 23' });
    expect((await browser.check('000000')).body.outcome).toMatchObject({
      code: 'pin_wrong',
      attemptsRemaining: 4,
    });
    later(31);
    expect(code(await browser.resend())).toBe('pin_sent');
    expect((await browser.check(FIXED)).body.user).toMatchObject({ phoneNumber: DRAMA });
    expect(service).toMatchObject({ sends: [], resends: [], checks: [] });
    expect(host.proofs).toEqual([{ phoneNumber: DRAMA, channel: 'sms', test: true, req: expect.anything() }]);
  });

  it('tells the audit log of each use in place of a message that was sent, and what was proved', async () => {
    const { host, browser } = site();
    await browser.issue(DRAMA);
    later(31);
    await browser.resend();
    await browser.check('000000');
    await browser.check(FIXED);
    expect(host.events.map(({ type }) => type)).toEqual([
      'test_number.used',
      'test_number.used',
      'test_number.used',
      'pin.rejected',
      'test_number.used',
      'pin.verified',
    ]);
    const used = host.events.filter(({ type }) => type === 'test_number.used');
    expect(used).toMatchObject(['send', 'resend', 'check', 'check'].map((operation) => ({ operation })));
    for (const event of host.events) {
      expect(event).toMatchObject({ test: true, country: 'GB', recipient: '+44 \u2022\u2022\u2022 23' });
      expect(event.recipientHash).toMatch(/^[\w-]{22}$/);
    }
    expect(JSON.stringify(host.events)).not.toMatch(/7700900123|731946|test_[0-9a-f]/);
  });

  it('is served from whatever country and range it seems to be, typed or known', async () => {
    const numbers = ['+447700900123', '+12025550123', '+353209112345', '+33639981234'];
    for (const phoneNumber of numbers) {
      const typed = site({ strategy: { countries: ['HR'] } }, { ...number, phoneNumber });
      expect(code(await typed.browser.issue(phoneNumber)), phoneNumber).toBe('pin_sent');
      const recipient = () => ({ phoneNumber, subject: 'u1' });
      const known = site({ strategy: { countries: ['HR'], recipient } }, { ...number, phoneNumber });
      expect(code(await known.browser.issue()), phoneNumber).toBe('pin_sent');
      await known.browser.check(FIXED);
      expect(known.host.proofs).toMatchObject([{ phoneNumber, subject: 'u1', test: true }]);
    }
  });

  it('leaves every other number as it was: served, judged, sent and counted', async () => {
    const { service, host, browser } = site();
    expect(code(await browser.issue('+447700900124'))).toBe('phone_invalid');
    expect(code(await browser.issue('+447400123456'))).toBe('phone_not_allowed');
    await browser.issue(PHONE);
    await browser.check(PIN);
    expect(service.sends).toEqual([{ channel: 'sms', applicationId: 'APP', messageId: 'MSG', to: PHONE }]);
    expect(host.proofs).toHaveLength(1);
    expect(host.proofs[0]).not.toHaveProperty('test');
    expect(JSON.stringify(host.events)).not.toContain('test');
  });

  it('counts attempts like any other, and a claim: the fixed PIN opens one challenge once', async () => {
    const { browser, host } = site();
    await browser.issue(DRAMA);
    for (let wrong = 0; wrong < 4; wrong += 1) await browser.check('000000');
    expect(code(await browser.check('000000'))).toBe('attempts_exhausted');
    expect(code(await browser.check(FIXED))).toBe('no_challenge');
    later(31);
    await browser.issue(DRAMA);
    const answers = await Promise.all(Array.from({ length: 4 }, () => browser.check(FIXED)));
    expect(answers.filter(({ body }) => body.user)).toHaveLength(1);
    expect(host.proofs).toHaveLength(1);
  });

  it('gets no PIN any more after ten wrong ones in a quarter of an hour, over all challenges', async () => {
    const { host } = site();
    for (const challenge of [1, 2]) {
      const browser = host.browser();
      expect(code(await browser.issue(DRAMA)), `challenge ${challenge}`).toBe('pin_sent');
      for (let wrong = 0; wrong < 5; wrong += 1) await browser.check('000000');
      later(31);
    }
    const refused = await host.browser().issue(DRAMA);
    expect(refused.body.outcome).toMatchObject({ code: 'too_many_requests', budget: 'failuresPerNumber' });
  });

  it('costs no budget of the strategy or of a country, and is not stopped by one that is used up', async () => {
    const counters = sharedCounters();
    const { host, service } = site({
      strategy: {
        limiter: counters.limiter,
        secret: SECRET,
        countries: ['HR', 'GB'],
        budgets: {
          sendsOverall: [{ points: 1, duration: 3600 }],
          countryCompletion: { sends: 1, duration: 3600, minimumRatio: 1 },
        },
      },
    });
    const first = host.browser();
    await first.issue(DRAMA);
    await first.check(FIXED);
    expect([...counters.keys].filter((key) => /:(?:sendsOverall|country)/.test(key))).toEqual([]);
    expect(code(await host.browser().issue(PHONE))).toBe('pin_sent');
    expect((await host.browser().issue('+447400123456')).body.outcome).toMatchObject({
      budget: 'sendsOverall',
    });
    later(31);
    expect(code(await host.browser().issue(DRAMA))).toBe('pin_sent');
    expect(service.sends).toHaveLength(1);
  });

  it('is counted per number and per client like any other', async () => {
    const { host } = site({
      strategy: { budgets: { uncompletedPerClient: [{ points: 2, duration: 3600 }] } },
    });
    await host.browser().issue(DRAMA);
    expect((await host.browser().issue(DRAMA)).body.outcome).toMatchObject({ budget: 'sendsPerNumber' });
    later(31);
    await host.browser().issue(DRAMA);
    later(31);
    expect((await host.browser().issue(DRAMA)).body.outcome).toMatchObject({
      budget: 'uncompletedPerClient',
    });
  });

  it('cannot be made by a visitor, whatever the form says beside the number', async () => {
    const { service, host, browser } = site();
    const forms = [
      { phone: PHONE, test: 'true' },
      { phone: PHONE, test: true, isTestNumber: true },
      { phone: [DRAMA, PHONE] },
      { phone: { phoneNumber: DRAMA, test: true } },
      { phone: `${DRAMA};ext=1` },
    ];
    for (const form of forms) await browser.post('/login', form);
    expect(service.sends.every(({ to, test }) => to === PHONE && test === undefined)).toBe(true);
    await browser.post('/login/pin', { pin: FIXED, phone: DRAMA, test: 'true' });
    expect(host.proofs).toEqual([]);
    expect(JSON.stringify(host.events)).not.toContain('test_number');
  });

  it('tells the hooks about it, which need no score for it', async () => {
    const seen: unknown[] = [];
    const beforeSend = ({ phoneNumber, test }: { phoneNumber?: string; test?: true }) => {
      seen.push([phoneNumber, test]);
      return true;
    };
    const { host } = site({ strategy: { beforeSend } });
    await host.browser().issue(DRAMA);
    await host.browser().issue(PHONE);
    expect(seen).toEqual([
      [DRAMA, true],
      [PHONE, undefined],
    ]);
  });

  it('is an address like any other where the PIN goes by e-mail instead', async () => {
    const recipient = () => ({ phoneNumber: DRAMA, email: 'ana@example.com', subject: 'u1' });
    const { service, host, browser } = site({
      strategy: { recipient, channels: ['sms', 'email'], messageId: { sms: 'S', email: 'E' } },
    });
    await browser.issue();
    later(31);
    expect(code(await browser.resend({ channel: 'email' }))).toBe('pin_sent');
    expect(service.sends).toEqual([
      { channel: 'email', applicationId: 'APP', messageId: 'E', to: 'ana@example.com' },
    ]);
    expect(code(await browser.check(FIXED))).toBe('pin_wrong');
    await browser.check(PIN);
    expect(host.proofs).toEqual([
      { email: 'ana@example.com', subject: 'u1', channel: 'email', req: expect.anything() },
    ]);
    later(31);
    const again = host.browser();
    await again.issue();
    later(31);
    await again.resend({ channel: 'email' });
    later(31);
    await again.resend({ channel: 'sms' });
    await again.check(FIXED);
    expect(host.proofs[1]).toMatchObject({ phoneNumber: DRAMA, test: true });
    expect(service.sends).toHaveLength(2);
  });
});

describe('after its end date', () => {
  const until = new Date(START + 300_000);

  it('a number kept for fiction is refused again, and an ordinary one gets its SMS', async () => {
    const fiction = site({}, { ...number, until });
    const ordinary = site({}, { phoneNumber: PHONE, pin: FIXED, until });
    vi.setSystemTime(until);
    expect(code(await fiction.browser.issue(DRAMA))).toBe('phone_invalid');
    await ordinary.browser.issue(PHONE);
    expect(ordinary.service.sends).toHaveLength(1);
    expect(code(await ordinary.browser.check(FIXED))).toBe('pin_wrong');
    await ordinary.browser.check(PIN);
    expect(ordinary.host.proofs).toHaveLength(1);
    expect(ordinary.host.proofs[0]).not.toHaveProperty('test');
  });

  it('a challenge that is still open has expired, and a resend sends nothing to anybody', async () => {
    const { service, browser, host } = site({}, { phoneNumber: PHONE, pin: FIXED, until });
    await browser.issue(PHONE);
    vi.setSystemTime(until);
    expect(code(await browser.resend())).toBe('undeliverable');
    expect(code(await browser.check(FIXED))).toBe('pin_expired');
    later(31);
    expect(code(await browser.resend())).toBe('undeliverable');
    expect(service).toMatchObject({ sends: [], resends: [], checks: [] });
    expect(host.proofs).toEqual([]);
  });

  it('a send that the strategy still took for a test goes nowhere', async () => {
    const { service, browser } = site(
      {
        strategy: {
          beforeSend: () => {
            vi.setSystemTime(until);
            return true;
          },
        },
      },
      { phoneNumber: PHONE, pin: FIXED, until },
    );
    expect(code(await browser.issue(PHONE))).toBe('undeliverable');
    expect(service.sends).toEqual([]);
  });
});

describe('the PIN id of a test number', () => {
  const sent = { channel: 'sms', applicationId: 'APP', messageId: 'MSG', to: DRAMA } as const;
  const both = [number, { phoneNumber: '+447700900456', pin: '111222', until: number.until }];

  it('is another each time, and says nothing of the number or the PIN', async () => {
    const client = withTestNumbers(fakeClient(), both);
    const ids = new Set<string>();
    for (let n = 0; n < 50; n += 1) ids.add((await client.sendPin(sent)).pinId);
    expect(ids.size).toBe(50);
    for (const id of ids) expect(id).toMatch(/^test_[0-9a-f]{44}_[0-9a-f]{64}$/);
    expect([...ids].join()).not.toContain('7700900123');
  });

  it('belongs to its number alone: the PIN of another test number does not fit', async () => {
    const client = withTestNumbers(fakeClient(), both);
    const { pinId } = await client.sendPin(sent);
    expect(await client.verifyPin(pinId, '111222')).toEqual({ verified: false, pinId, reason: 'wrong_pin' });
    expect(await client.verifyPin(pinId, FIXED)).toEqual({ verified: true, pinId, msisdn: '447700900123' });
  });

  it('is worth nothing when it is changed, made up, older than ten minutes, or signed by another secret', async () => {
    const service = fakeClient();
    const client = withTestNumbers(service, both, { secret: SECRET });
    const { pinId } = await client.sendPin(sent);
    const last = pinId.endsWith('0') ? '1' : '0';
    const other = await withTestNumbers(service, both).sendPin(sent);
    const expired = { verified: false, reason: 'expired' };
    expect(await client.verifyPin(pinId.slice(0, -1) + last, FIXED)).toMatchObject(expired);
    expect(await client.verifyPin(`test_${'0'.repeat(44)}_${'0'.repeat(64)}`, FIXED)).toMatchObject(expired);
    expect(await client.verifyPin(other.pinId, FIXED)).toMatchObject(expired);
    later(600);
    expect(await client.verifyPin(pinId, FIXED)).toMatchObject(expired);
    expect(await client.resendPin(pinId)).toEqual({ pinId, sent: false });
    expect(service).toMatchObject({ sends: [], resends: [], checks: [] });
  });

  it('is good in every process that has the same secret', async () => {
    const here = withTestNumbers(fakeClient(), both, { secret: SECRET });
    const there = withTestNumbers(fakeClient(), [...both].reverse(), { secret: SECRET });
    const { pinId } = await here.sendPin(sent);
    expect(await there.resendPin(pinId)).toEqual({ pinId, sent: true, test: true });
    expect(await there.verifyPin(pinId, FIXED)).toMatchObject({ verified: true });
  });
});

describe('withTestNumbers', () => {
  it('hands everything else to the client, as it came', async () => {
    const service = fakeClient();
    const client = withTestNumbers(service, [number]);
    const request = { channel: 'email', applicationId: 'A', messageId: 'M', to: DRAMA } as const;
    await client.sendPin(request);
    await client.resendPin('ID', { channel: 'voice' });
    await client.verifyPin('ID', FIXED);
    expect(service.sends[0]).toBe(request);
    expect(service.resends).toEqual([{ pinId: 'ID', request: { channel: 'voice' } }]);
    expect(service.checks).toEqual([{ pinId: 'ID', pin: FIXED }]);
  });

  it('calls onEvent at each use, masked, and is not stopped by what it throws', async () => {
    const events: TestNumberEvent[] = [];
    const onEvent = (event: TestNumberEvent) => {
      events.push(event);
      throw new Error('log full');
    };
    const client = withTestNumbers(fakeClient(), [number], { onEvent });
    const { pinId } = await client.sendPin({
      channel: 'sms',
      applicationId: 'A',
      messageId: 'M',
      to: DRAMA,
    });
    await client.resendPin(pinId);
    await client.verifyPin(pinId, '000000');
    const recipient = '+44 \u2022\u2022\u2022 23';
    expect(events).toEqual(
      ['send', 'resend', 'check'].map((operation) => ({
        type: 'test_number.used',
        at: START,
        operation,
        recipient,
      })),
    );
  });

  it('takes a PIN of the shape that the template has', () => {
    const shaped = (pin: string, options: object) => () =>
      withTestNumbers(fakeClient(), [{ ...number, pin }], options);
    expect(shaped('AB12', { pin: { length: 4, type: 'ALPHANUMERIC' } })).not.toThrow();
    expect(shaped('AB12', { pin: { length: 5, type: 'HEX' } })).toThrow(TypeError);
    expect(shaped('731946', { pin: { length: 8 } })).toThrow(TypeError);
  });

  it('takes an end date in any form up to 90 days ahead, and one that is past: a restart must not fail', () => {
    const ends = (until: unknown) => () =>
      withTestNumbers(fakeClient(), [{ ...number, until } as TestNumber]);
    for (const until of ['2026-02-01T00:00:00Z', START + 90 * DAY, new Date(START - DAY), '2026-01-31']) {
      expect(ends(until)).not.toThrow();
    }
    for (const until of [
      undefined,
      null,
      'soon',
      Number.NaN,
      Number.POSITIVE_INFINITY,
      START + 90 * DAY + 1,
      {},
    ]) {
      expect(ends(until), String(until)).toThrow(TypeError);
    }
  });

  const entries = (count: number) =>
    Array.from({ length: count }, (_, index) => ({ ...number, phoneNumber: `+44770090010${index}` }));

  it('takes ten numbers and no eleventh, not even by wrapping twice', () => {
    expect(() => withTestNumbers(fakeClient(), entries(10))).not.toThrow();
    const eleven = [...entries(10), { ...number, phoneNumber: '+447700900999' }];
    expect(() => withTestNumbers(fakeClient(), eleven)).toThrow('11 numbers are too many: 10 at most.');
    const wrapped = withTestNumbers(fakeClient(), entries(1));
    expect(() => withTestNumbers(wrapped, entries(2))).toThrow('the client has test numbers already');
  });

  const refused: [what: string, entry: object, options: object, message: RegExp][] = [
    [
      'a number that may be real',
      { phoneNumber: PHONE },
      {},
      /number 1, \+385 \S+ 67, is not among the numbers kept for fiction.*`allowReal`/,
    ],
    ['a number without its +', { phoneNumber: '447700900123' }, {}, /no phone number in E\.164/],
    ['a number as people type it', { phoneNumber: '+44 7700 900123' }, {}, /no phone number in E\.164/],
    ['something that is no number', { phoneNumber: '+1' }, { allowReal: true }, /no phone number in E\.164/],
    ['no number', { phoneNumber: undefined }, {}, /no phone number in E\.164/],
    ['a PIN that is too short', { pin: '1234' }, {}, /a PIN that is not of the template's shape/],
    ['a PIN that is a number', { pin: 731946 }, {}, /a PIN that is not of the template's shape/],
    ['no end date', { until: undefined }, {}, /number 1 has no end date/],
    ['a misspelt field', { untill: 1 }, {}, /no option `number 1\.untill`. Did you mean `number 1\.until`/],
    ['a misspelt option', {}, { allowreal: true }, /no option `allowreal`. Did you mean `allowReal`/],
    ['a short secret', {}, { secret: 'short' }, /`secret` must be a string of 32 characters/],
    ['a shape that can be guessed', {}, { pin: { length: 4 } }, /`pin` must have a length from 6 to 8/],
  ];

  it.each(refused)('refuses %s, in a sentence without the PIN', (_what, entry, options, message) => {
    const act = () => withTestNumbers(fakeClient(), [{ ...number, ...entry } as TestNumber], options);
    expect(act).toThrow(TypeError);
    expect(act).toThrow(message);
    expect(act).toThrow(/^withTestNumbers: (?!.*731946)/);
  });

  it('refuses a number that is in the list twice, and a client that is none', () => {
    expect(() => withTestNumbers(fakeClient(), [number, number])).toThrow('is in the list twice');
    expect(() => withTestNumbers(undefined as unknown as OtpClient, [number])).toThrow('must be a client');
  });

  const fiction = [
    '+12125550100',
    '+18005550199',
    '+14165550150',
    '+447700900000',
    '+447700900999',
    '+442079460999',
    '+441632960001',
    '+441614960000',
    '+353209100000',
    '+33639980000',
    '+33199001234',
    '+4915228817386',
    '+491713920099',
    '+4917604069000',
    '+493023125000',
    '+46701740605',
    '+46701740699',
    '+61491570006',
    '+61491579760',
    '+61255501234',
    '+61870101234',
  ];
  const almost = [
    '+12125550099',
    '+12125550200',
    '+447700899999',
    '+447700901000',
    '+442079461000',
    '+441634960001',
    '+353209200000',
    '+33639990000',
    '+4915228817387',
    '+491713920100',
    '+46701740604',
    '+46701740700',
    '+61491570007',
    '+61255511234',
    '+385911234567',
  ];

  it.each(fiction)('knows that %s is kept for fiction', (phoneNumber) => {
    const client = withTestNumbers(fakeClient(), [{ ...number, phoneNumber }]);
    expect(client.isTestNumber?.(phoneNumber)).toBe(true);
  });

  it.each(almost)('knows that %s is not', (phoneNumber) => {
    const act = (options: object) => () =>
      withTestNumbers(fakeClient(), [{ ...number, phoneNumber }], options);
    expect(act({})).toThrow('is not among the numbers kept for fiction');
    expect(act({ allowReal: true })).not.toThrow();
  });
});
