/** Who may get a PIN, asked of the rules themselves. */

import { describe, expect, it } from 'vitest';
import type { Challenge } from '../lib/challenge.js';
import { fromHost } from '../lib/errors.js';
import { parseOptions, type SmsOtpStrategyOptions } from '../lib/options.js';
import { addressOf, createRecipients, isTarget, isTest, sendContext, type Target } from '../lib/recipient.js';
import type { RequestLike } from '../lib/request.js';
import { fakeClient } from './support/host.js';

const MOBILE = '+385911234567';
const LANDLINE = '+38512345678';
const PREMIUM = '+38560012345';
const BERLIN_MOBILE = '+4915112345678';
const FICTIONAL = '+12025550123';
const BULLETS = '\u2022\u2022\u2022';

const NOBODY = { code: 'recipient_missing', details: {} };
const notAllowed = (country: string) => ({ code: 'phone_not_allowed', details: { country } });

const session = { passport: { user: 'u1' } };
const signedIn = { session, user: { id: 'u1' } };

function rules(changes: object = {}, isTestNumber?: (phoneNumber: string) => unknown) {
  const client = { ...fakeClient(), ...(isTestNumber && { isTestNumber }) };
  const options: object = { client, applicationId: 'APP', messageId: 'MSG', countries: ['HR'], ...changes };
  return createRecipients(parseOptions(options as SmsOtpStrategyOptions));
}

const request = (more: object = {}): RequestLike => ({ headers: {}, ...more });
const typing = (phone: unknown, more: object = {}) => request({ body: { phone }, ...more });

/** What comes of a recipient that the host knows. */
const known = (recipient: unknown, changes: object = {}) =>
  rules({ countries: undefined, recipient: () => recipient, ...changes }).resolve(request(signedIn));

const ALL = { channels: ['sms', 'voice', 'email'] };

describe('a number that a stranger types', () => {
  it('is the target of the channels that serve its type', async () => {
    expect(await rules().resolve(typing(MOBILE))).toStrictEqual({
      phoneNumber: MOBILE,
      country: 'HR',
      maskedPhone: `+385 ${BULLETS} 67`,
      channels: ['sms'],
    });
    const both = rules({ channels: ['sms', 'voice'] });
    expect(await both.resolve(typing(MOBILE))).toMatchObject({ channels: ['sms', 'voice'] });
    const calls = rules({ channels: ['voice'] });
    expect(await calls.resolve(typing(LANDLINE))).toMatchObject({ channels: ['voice'] });
  });

  it.each([
    ['nothing', undefined, { code: 'phone_missing', details: {} }],
    ['no number', 'hello', { code: 'phone_invalid', details: {} }],
    ['a list', [MOBILE], { code: 'phone_invalid', details: {} }],
    ['a number elsewhere', BERLIN_MOBILE, notAllowed('DE')],
    ['a landline that reads no messages', LANDLINE, notAllowed('HR')],
    ['a number that costs money', PREMIUM, notAllowed('HR')],
    ['a number in no known range', '+385200000000', notAllowed('HR')],
  ])('is none for %s', async (_what, phone, answer) => {
    expect(await rules().resolve(typing(phone))).toStrictEqual(answer);
  });

  it('is refused where only a call would reach it and calls come second', async () => {
    expect(await rules({ channels: ['sms', 'voice'] }).resolve(typing(LANDLINE))).toStrictEqual(
      notAllowed('HR'),
    );
  });

  it('may be of any country where all are served', async () => {
    const all = rules({ countries: 'all' });
    expect(await all.resolve(typing(BERLIN_MOBILE))).toMatchObject({ country: 'DE' });
    expect(await all.resolve(typing(PREMIUM))).toStrictEqual(notAllowed('HR'));
  });

  it('is read from the field that the host names', async () => {
    const named = rules({ phoneField: 'tel' });
    expect(await named.resolve(request({ body: { tel: MOBILE } }))).toMatchObject({ phoneNumber: MOBILE });
    expect(await named.resolve(typing(MOBILE))).toMatchObject({ code: 'phone_missing' });
  });
});

describe('a test number', () => {
  const isTestNumber = (phoneNumber: string) => phoneNumber === FICTIONAL;

  it('is served in every country, by every phone channel and whatever its type', async () => {
    const some = rules({ channels: ['sms', 'voice'] }, isTestNumber);
    expect(await some.resolve(typing(FICTIONAL))).toStrictEqual({
      phoneNumber: FICTIONAL,
      country: 'US',
      maskedPhone: `+1 ${BULLETS} 23`,
      test: true,
      channels: ['sms', 'voice'],
    });
    expect(await some.resolve(typing('+12025550124'))).toHaveProperty('code');
    const blocked = rules({}, (phoneNumber) => phoneNumber === PREMIUM);
    expect(await blocked.resolve(typing(PREMIUM))).toMatchObject({ test: true, channels: ['sms'] });
  });

  it('is one only if the client says so and nothing else', async () => {
    expect(await rules({}, () => 'yes').resolve(typing(MOBILE))).not.toHaveProperty('test');
    expect(await rules({}, () => 1).resolve(typing(FICTIONAL))).toHaveProperty('code');
  });

  it('of a user the host knows is a test by phone, and not by mail', async () => {
    const recipient = () => ({ phoneNumber: FICTIONAL, email: 'ana@example.com', subject: 'u1' });
    const target = await rules({ ...ALL, countries: undefined, recipient }, isTestNumber).resolve(
      request(signedIn),
    );
    expect(target).toStrictEqual({
      subject: 'u1',
      phoneNumber: FICTIONAL,
      country: 'US',
      maskedPhone: `${BULLETS} 23`,
      test: true,
      email: 'ana@example.com',
      maskedEmail: `a${BULLETS}@example.com`,
      channels: ['sms', 'voice', 'email'],
    });
    expect(isTest(target as Target, 'sms')).toBe(true);
    expect(isTest(target as Target, 'voice')).toBe(true);
    expect(isTest(target as Target, 'email')).toBe(false);
    expect(isTest({}, 'sms')).toBe(false);
  });
});

describe('a number that a user adds', () => {
  const adding = (user: unknown, changes: object = {}) => rules({ subject: () => user, ...changes });

  it('belongs to the subject, and shows no country', async () => {
    expect(await adding('u1').resolve(typing(MOBILE))).toStrictEqual({
      phoneNumber: MOBILE,
      country: 'HR',
      maskedPhone: `${BULLETS} 67`,
      subject: 'u1',
      channels: ['sms'],
    });
    expect(await adding('u1').resolve(typing('x'))).toMatchObject({ code: 'phone_invalid' });
  });

  it.each([null, undefined])('is nobody’s when the subject is %s', async (user) => {
    expect(await adding(user).resolve(typing(MOBILE))).toStrictEqual(NOBODY);
  });

  it.each(['', 5, true, {}])('asks for a subject that is a text, which %j is not', async (user) => {
    await expect(adding(user).resolve(typing(MOBILE))).rejects.toThrow(
      "SmsOtpStrategy 'sms-otp': `subject` must give the subject as a string that is not empty, such as String(user.id).",
    );
  });

  it('waits for the subject', async () => {
    const later = rules({ subject: async () => 'u2' });
    expect(await later.resolve(typing(MOBILE))).toMatchObject({ subject: 'u2' });
  });
});

describe('a recipient that the host knows', () => {
  it('has a channel for each address', async () => {
    const both = { phoneNumber: MOBILE, email: 'ana@example.com', subject: 'u1' };
    expect(await known(both, ALL)).toStrictEqual({
      subject: 'u1',
      phoneNumber: MOBILE,
      country: 'HR',
      maskedPhone: `${BULLETS} 67`,
      email: 'ana@example.com',
      maskedEmail: `a${BULLETS}@example.com`,
      channels: ['sms', 'voice', 'email'],
    });
    expect(await known({ phoneNumber: MOBILE, subject: 'u1' }, ALL)).toMatchObject({
      channels: ['sms', 'voice'],
    });
    expect(
      await known({ phoneNumber: LANDLINE, email: 'ana@example.com', subject: 'u1' }, ALL),
    ).toMatchObject({
      channels: ['voice', 'email'],
    });
    const mail = await known({ email: 'ana@example.com', subject: 'u1' }, ALL);
    expect(mail).toStrictEqual({
      subject: 'u1',
      email: 'ana@example.com',
      maskedEmail: `a${BULLETS}@example.com`,
      channels: ['email'],
    });
  });

  it('has only the phone where the site sends no mail', async () => {
    const both = { phoneNumber: MOBILE, email: 'ana@example.com', subject: 'u1' };
    expect(await known(both, { channels: ['sms'] })).toMatchObject({ channels: ['sms'] });
  });

  it.each([
    ['null', null],
    ['undefined', undefined],
    ['no address', { subject: 'u1' }],
    ['a number that is none', { phoneNumber: 'hello', subject: 'u1' }],
    ['a landline that reads no messages', { phoneNumber: LANDLINE, subject: 'u1' }],
    ['a number in no known range', { phoneNumber: '+385200000000', subject: 'u1' }],
  ])('is nobody for %s', async (_what, found) => {
    expect(await known(found)).toStrictEqual(NOBODY);
  });

  it('may be of any country, or of those that the host names', async () => {
    const abroad = { phoneNumber: BERLIN_MOBILE, subject: 'u1' };
    expect(await known(abroad)).toMatchObject({ country: 'DE' });
    expect(await known(abroad, { countries: ['HR'] })).toStrictEqual(NOBODY);
  });

  it.each([undefined, null, '', 5])('needs a subject, which %j is not', async (subject) => {
    await expect(known({ phoneNumber: MOBILE, subject })).rejects.toMatchObject({
      code: 'ERR_SMS_OTP_CONFIGURATION',
      message: expect.stringMatching(
        /^SmsOtpStrategy 'sms-otp': `recipient` must give the subject as a string/,
      ),
    });
  });

  it.each([MOBILE, 5, true])('is an object, which %j is not', async (found) => {
    await expect(known(found)).rejects.toMatchObject({ code: 'ERR_SMS_OTP_CONFIGURATION' });
  });

  it.each([
    'ana',
    '@example.com',
    'ana@',
    'ana@ex ample.com',
    'a na@example.com',
    'ana@example.com\r\nBcc: eva@example.com',
    'ana@@example.com',
    ' ana@example.com',
    'ana@example.com ',
    'a\u0000@example.com',
    'a@\u007fexample.com',
    'ana@<img/src=x>',
    'ana@example.com&x',
    `${'a'.repeat(243)}@example.com`,
    '',
    ['ana@example.com'],
    5,
  ])('gets no mail at %j', async (email) => {
    expect(await known({ email, subject: 'u1' }, ALL)).toStrictEqual(NOBODY);
  });

  it('gets mail at an address as long as addresses get', async () => {
    const email = `${'a'.repeat(242)}@example.com`;
    expect(await known({ email, subject: 'u1' }, ALL)).toMatchObject({ email });
  });
});

describe('the channels of a first PIN', () => {
  const target = (channels: Target['channels']) => ({ channels });

  it('leave calls for a resend, unless there is nothing else', () => {
    expect(rules({ channels: ['sms', 'voice'] }).firstChannels(target(['sms', 'voice']))).toEqual(['sms']);
    expect(rules({ channels: ['sms', 'voice'] }).firstChannels(target(['voice']))).toEqual([]);
    expect(rules({ channels: ['voice'] }).firstChannels(target(['voice']))).toEqual(['voice']);
  });

  it('are typed by strangers only where the host knows nobody', () => {
    expect(rules().isTypedByStranger).toBe(true);
    expect(rules({ subject: () => 'u1' }).isTypedByStranger).toBe(false);
    expect(rules({ countries: undefined, recipient: () => null }).isTypedByStranger).toBe(false);
  });
});

describe('with signedIn', () => {
  const recipient = () => ({ phoneNumber: MOBILE, subject: 'u1' });
  const mine: object = { phoneNumber: MOBILE, subject: 'u1' };
  const isTheirs = (changes: object, req: object, challenge: object) =>
    rules({ countries: undefined, ...ALL, ...changes }).isStillTheirs(request(req), challenge as Challenge);

  it('nobody gets a PIN who is not signed in', async () => {
    const strict = rules({ countries: undefined, recipient, signedIn: true });
    expect(await strict.resolve(request({ session }))).toStrictEqual(NOBODY);
    expect(await strict.resolve(request({ user: { id: 'u1' } }))).toStrictEqual(NOBODY);
    expect(await strict.resolve(request(signedIn))).toMatchObject({ phoneNumber: MOBILE });
    const loose = rules({ countries: undefined, recipient });
    expect(await loose.resolve(request())).toMatchObject({ phoneNumber: MOBILE });
  });

  it('a challenge stays theirs as long as the host gives the same answer', async () => {
    const on = { recipient, signedIn: true };
    expect(await isTheirs(on, signedIn, mine)).toBe(true);
    expect(await isTheirs(on, { session }, mine)).toBe(false);
    expect(await isTheirs(on, signedIn, { ...mine, subject: 'u2' })).toBe(false);
    expect(await isTheirs(on, signedIn, { ...mine, phoneNumber: BERLIN_MOBILE })).toBe(false);
    expect(await isTheirs(on, signedIn, { ...mine, email: 'ana@example.com' })).toBe(false);
    expect(await isTheirs({ ...on, recipient: () => null }, signedIn, mine)).toBe(false);
    expect(await isTheirs({ ...on, recipient: () => null }, signedIn, {})).toBe(false);
    // Without it the host is asked once, at the issue.
    expect(await isTheirs({ recipient: () => null }, {}, mine)).toBe(true);
  });

  it('a number that is added stays with the subject, and is not read again', async () => {
    const on = { ...ALL, channels: ['sms'], countries: ['HR'], signedIn: true };
    expect(await isTheirs({ ...on, subject: async () => 'u1' }, signedIn, mine)).toBe(true);
    expect(await isTheirs({ ...on, subject: () => 'u2' }, signedIn, mine)).toBe(false);
    expect(await isTheirs({ ...on, subject: () => null }, signedIn, mine)).toBe(false);
    expect(await isTheirs({ ...on, subject: () => 'u1' }, {}, mine)).toBe(false);
  });
});

describe('what the host’s functions are told of a send', () => {
  const req = request();
  const target: Target = {
    phoneNumber: MOBILE,
    email: 'ana@example.com',
    subject: 'u1',
    country: 'HR',
    channels: [],
  };

  it('is the address of the channel and no other', () => {
    const phone = { req, phoneNumber: MOBILE, country: 'HR', subject: 'u1' };
    expect(sendContext(req, target, 'sms')).toStrictEqual({ ...phone, channel: 'sms' });
    expect(sendContext(req, target, 'voice')).toStrictEqual({ ...phone, channel: 'voice' });
    expect(sendContext(req, target, 'email')).toStrictEqual({
      req,
      channel: 'email',
      email: 'ana@example.com',
      subject: 'u1',
    });
    expect(sendContext(req, { ...target, test: true }, 'sms')).toStrictEqual({
      ...phone,
      channel: 'sms',
      test: true,
    });
    expect(sendContext(req, { ...target, test: true }, 'email')).not.toHaveProperty('test');
    expect(sendContext(req, { channels: [] }, 'sms')).toStrictEqual({ req, channel: 'sms' });
    expect(sendContext(req, { channels: [] }, 'email')).toStrictEqual({ req, channel: 'email' });
    expect([addressOf(target, 'sms'), addressOf(target, 'voice'), addressOf(target, 'email')]).toEqual([
      MOBILE,
      MOBILE,
      'ana@example.com',
    ]);
  });
});

describe('a function of the host', () => {
  it('answers at once or later', async () => {
    expect(await fromHost('It', 1000, () => 5)).toBe(5);
    expect(await fromHost('It', 1000, async () => 6)).toBe(6);
  });

  it('fails with its own Error, or with one that names the option', async () => {
    const own = new TypeError('mine');
    await expect(
      fromHost('It', 1000, () => {
        throw own;
      }),
    ).rejects.toBe(own);
    await expect(fromHost('It', 1000, () => Promise.reject('no'))).rejects.toMatchObject({
      name: 'SmsOtpError',
      message: 'It failed with something that is no Error',
      cause: 'no',
    });
    const failing = rules({ countries: undefined, recipient: () => Promise.reject('no') });
    await expect(failing.resolve(request(signedIn))).rejects.toThrow('`recipient`');
    const other = rules({ subject: () => Promise.reject('no'), signedIn: true });
    await expect(other.resolve(typing(MOBILE, signedIn))).rejects.toThrow('`subject`');
    await expect(other.isStillTheirs(request(signedIn), {} as Challenge)).rejects.toThrow('`subject`');
  });

  it('fails when it never answers', async () => {
    const silent = () => new Promise<never>(() => {});
    await expect(fromHost('It', 20, silent)).rejects.toMatchObject({
      code: 'ERR_SMS_OTP_HOST',
      status: 500,
      message: 'It has not answered after 20 ms',
    });
    for (const options of [
      { countries: undefined, recipient: silent },
      { subject: silent, signedIn: true },
    ]) {
      const late = rules({ verifyTimeoutMs: 20, ...options });
      await expect(late.resolve(request(signedIn))).rejects.toThrow('has not answered after 20 ms');
    }
    const serializer = { _serializeUser: () => {} };
    const late = rules({ verifyTimeoutMs: 20, subject: () => 'u1', signedIn: true });
    await expect(
      late.resolve({ ...request(signedIn), _sessionManager: serializer } as never),
    ).rejects.toThrow("Passport's serializer has not answered after 20 ms");
  });
});

it('a target is told from the reason why there is none', () => {
  expect(isTarget({ channels: [] })).toBe(true);
  expect(isTarget({ code: 'phone_missing', details: {} })).toBe(false);
});
