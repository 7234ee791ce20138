/** What the options come to: the settings that the rest of the strategy reads. */

import { afterEach, describe, expect, it, vi } from 'vitest';
import { DEFAULT_BUDGETS, memoryLimiter } from '../../lib/budgets.js';
import { sessionChallenges } from '../../lib/challenge.js';
import { parseOptions, type Settings, type SmsOtpStrategyOptions } from '../../lib/options.js';
import { fakeClient } from '../support/host.js';

const client = fakeClient();

function settings(changes: object = {}): Settings {
  const options: object = { client, applicationId: 'APP', messageId: 'MSG', countries: ['HR'], ...changes };
  return parseOptions(options as SmsOtpStrategyOptions);
}

const blockedForAll = [
  'PREMIUM_RATE',
  'SHARED_COST',
  'TOLL_FREE',
  'PAGER',
  'VOICEMAIL',
  'UAN',
  'PERSONAL_NUMBER',
] as const;

const context = { req: { headers: {} }, channel: 'sms', recipient: {} } as never;

afterEach(() => {
  vi.unstubAllEnvs();
  vi.restoreAllMocks();
});

describe('the kind of a strategy’s challenges', () => {
  it.each<[object, string]>([
    [{}, 'typed'],
    [{ subject: () => 'u1' }, 'new'],
    [{ subject: () => 'u1', signedIn: true }, 'new+'],
    [{ recipient: () => null }, 'known'],
    [{ recipient: () => null, signedIn: true }, 'known+'],
  ])('of %j is %s', (changes, kind) => {
    expect(settings(changes).kind).toBe(kind);
  });
});

describe('an option that is left out', () => {
  it('has the default of the documents', () => {
    const { messageId, secret, ...others } = settings();
    expect(messageId(context)).toBe('MSG');
    expect(secret).toMatch(/^[\w-]{43}$/);
    expect(others).toStrictEqual({
      client,
      applicationId: 'APP',
      name: 'sms-otp',
      countries: new Set(['HR']),
      defaultCountry: 'HR',
      blockedNumberTypes: {
        sms: new Set([...blockedForAll, 'FIXED_LINE']),
        voice: new Set(blockedForAll),
      },
      recipient: undefined,
      subject: undefined,
      signedIn: false,
      kind: 'typed',
      channels: ['sms'],
      phoneField: 'phone',
      pinField: 'pin',
      channelField: 'channel',
      placeholders: undefined,
      pinShape: /^[0-9]{6}$/,
      pinTtlSeconds: 600,
      attempts: 5,
      budgets: DEFAULT_BUDGETS,
      uncompletedIpv6: [{ points: 20, duration: 3600 }],
      subjectFailures: { points: 100, duration: 24 * 86_400 },
      limiter: memoryLimiter,
      challenges: sessionChallenges,
      storeTimeoutMs: 3000,
      verifyTimeoutMs: 30_000,
      beforeSend: undefined,
      canReceivePin: undefined,
      knownBrowser: undefined,
      trustedOrigins: new Set(),
      clientKey: undefined,
      messages: undefined,
      onEvent: undefined,
    });
  });

  it('has another secret in each strategy', () => {
    expect(settings().secret).not.toBe(settings().secret);
  });

  it.each([
    [['HR'], 'HR'],
    [['HR', 'SI'], undefined],
    ['all', undefined],
  ])('of countries %j makes %s the country of a number without one', (countries, defaultCountry) => {
    expect(settings({ countries }).defaultCountry).toBe(defaultCountry);
  });

  it('of countries is all of them where the host knows the recipient', () => {
    const known = settings({ countries: undefined, recipient: async () => null });
    expect(known).toMatchObject({ countries: 'all', defaultCountry: undefined });
  });
});

describe('an option that is given', () => {
  const store = { get() {}, set() {}, remove() {} };
  it.each<[changes: object, expected?: object]>([
    [{ secret: 's'.repeat(32) }],
    [{ name: 'second-factor' }],
    [{ phoneField: 'mobile', pinField: 'code', channelField: 'how' }],
    [{ pinTtlSeconds: 60 }],
    [{ pinTtlSeconds: 600 }],
    [{ attempts: 1 }],
    [{ attempts: 10 }],
    [{ storeTimeoutMs: 1 }],
    [{ storeTimeoutMs: 300_000 }],
    [{ verifyTimeoutMs: 1 }],
    [{ verifyTimeoutMs: 300_000 }],
    [{ challenges: store, name: 'elsewhere' }],
    [{ countries: ['HR', 'SI'], defaultCountry: 'SI' }, { defaultCountry: 'SI' }],
    [
      { countries: 'all', defaultCountry: 'SI' },
      { countries: 'all', defaultCountry: 'SI' },
    ],
    [
      { blockedNumberTypes: ['VOIP'] },
      { blockedNumberTypes: { sms: new Set(['VOIP']), voice: new Set(['VOIP']) } },
    ],
    [{ blockedNumberTypes: [] }, { blockedNumberTypes: { sms: new Set(), voice: new Set() } }],
    [{ channels: ['voice', 'sms'] }],
    [{ signedIn: true, subject: async () => 'u1' }],
    [{ signedIn: false }],
    [
      { trustedOrigins: ['https://App.example/', 'http://app.example:8080'] },
      { trustedOrigins: new Set(['https://app.example', 'http://app.example:8080']) },
    ],
  ])('is taken: %j', (changes, expected = changes) => {
    expect(settings(changes)).toMatchObject(expected);
  });

  it.each([
    'placeholders',
    'beforeSend',
    'canReceivePin',
    'knownBrowser',
    'clientKey',
    'messages',
    'onEvent',
  ])('is taken, where it is a function: %s', (option) => {
    const given = () => undefined;
    expect(settings({ [option]: given })).toHaveProperty(option, given);
  });

  it.each<[what: string, changes: object, sentence: string]>([
    ['no client', { client: null }, 'it lacks sendPin, resendPin, verifyPin.'],
    ['no store', { challenges: null }, 'it lacks get, set, remove.'],
    ['no text', { applicationId: undefined }, '`applicationId` is missing.'],
    ['null for an object', { messageId: null }, '`messageId` is missing.'],
    ['blanks for an id', { messageId: '  ' }, '`messageId` is missing.'],
    ['no id for a channel', { messageId: { sms: '' } }, "has no id for the channel 'sms'."],
    ['a number for an id', { messageId: { sms: 7 } }, "has no id for the channel 'sms'."],
    ['no text for a secret', { secret: 7 }, '`secret` must be a string of 32'],
    ['no text in a list of countries', { countries: [7] }, 'holds 7, which is no country code'],
    ['no text for a country', { defaultCountry: 7 }, '`defaultCountry` is 7, which is no country code'],
    ['null for the shape of a PIN', { pin: null }, '`pin` must be an object'],
    ['no text for a type of PIN', { pin: { type: 7 } }, 'has the type 7'],
    ['a name of every object for a type of PIN', { pin: { type: 'toString' } }, 'has the type "toString"'],
    ['null for the budgets', { budgets: null }, '`budgets` must be an object.'],
    [
      'an origin of another scheme that has one',
      { trustedOrigins: ['ftp://app.example'] },
      'which is no origin',
    ],
    ['a null origin', { trustedOrigins: [null] }, 'holds null, which is no origin'],
    ['fields of one name', { phoneField: 'pin' }, '`pinField` must be another field'],
    ['the PIN in the field of the channel', { pinField: 'channel' }, '`pinField` must be another field'],
    ['the number in the field of the channel', { phoneField: 'channel' }, '`pinField` must be another field'],
  ])('is refused, where it is %s', (_what, changes, sentence) => {
    expect(() => settings(changes)).toThrow(TypeError);
    expect(() => settings(changes)).toThrow(sentence);
  });
});

describe('the id of the template', () => {
  it('is that of the channel', () => {
    const { messageId } = settings({ channels: ['sms', 'voice'], messageId: { sms: 'S', voice: 'V' } });
    expect(messageId({ req: { headers: {} }, channel: 'voice', recipient: {} } as never)).toBe('V');
    expect(messageId(context)).toBe('S');
  });

  it('is what a function says for a send', () => {
    const asked: unknown[] = [];
    const { messageId } = settings({
      messageId: (sent: unknown) => {
        asked.push(sent);
        return 'CHOSEN';
      },
    });
    expect(messageId(context)).toBe('CHOSEN');
    expect(asked).toEqual([context]);
  });

  it.each(['', 7, null, undefined, Promise.resolve('MSG')])('cannot be %s out of a function', (returned) => {
    const { messageId } = settings({ messageId: () => returned });
    expect(() => messageId(context)).toThrow('the option `messageId` returned no id for a send.');
  });
});

describe('a budget', () => {
  const strict = [{ points: 1, duration: 1 }];
  const names = [
    'sendsPerNumber',
    'callsPerNumber',
    'uncompletedPerClient',
    'sendsOverall',
    'failuresPerNumber',
    'failedChecksPerClient',
  ] as const;

  it.each(names)('that is given takes the place of its default and of no other: %s', (name) => {
    const { budgets } = settings({ budgets: { [name]: strict } });
    expect(budgets).toStrictEqual({ ...DEFAULT_BUDGETS, [name]: strict });
  });

  it.each(names)('is off where it is null or empty: %s', (name) => {
    for (const off of [null, []]) {
      expect(settings({ budgets: { [name]: off } }).budgets).toStrictEqual({
        ...DEFAULT_BUDGETS,
        [name]: [],
      });
    }
  });

  it('of a client that is given holds for both kinds of addresses', () => {
    expect(settings({ budgets: { uncompletedPerClient: strict } }).uncompletedIpv6).toStrictEqual(strict);
    expect(settings({ budgets: { sendsOverall: strict } }).uncompletedIpv6).toHaveLength(1);
  });

  it('of failures that is given is all that there is, also for a user', () => {
    expect(settings({ budgets: { failuresPerNumber: strict } }).subjectFailures).toBeNull();
    expect(settings({ budgets: { sendsOverall: strict } }).subjectFailures).toMatchObject({ points: 100 });
  });

  it.each([null, []])('of a country is off where it is %j', (countryCompletion) => {
    expect(settings({ budgets: { countryCompletion } }).budgets.countryCompletion).toBeNull();
  });

  it.each([0, 0.4, 1])('of a country has a ratio from 0 to 1: %f', (minimumRatio) => {
    const countryCompletion = { sends: 1, duration: 2_147_483, minimumRatio };
    expect(settings({ budgets: { countryCompletion } }).budgets.countryCompletion).toStrictEqual(
      countryCompletion,
    );
  });

  it.each<[what: string, budgets: object, sentence: string]>([
    ['a list of numbers', { sendsOverall: [5] }, '`budgets.sendsOverall` must have whole `points`'],
    ['a list of nothing', { sendsOverall: [null] }, '`budgets.sendsOverall` must have whole `points`'],
    [
      'two limits of one duration',
      { sendsOverall: [...strict, { points: 2, duration: 1 }] },
      '`budgets.sendsOverall` has two limits of the same `duration`. Keep the stricter one.',
    ],
    [
      'a number for a country',
      { countryCompletion: 5 },
      '`budgets.countryCompletion` must be { sends, duration, minimumRatio }, or null.',
    ],
    [
      'a ratio below 0',
      { countryCompletion: { sends: 1, duration: 1, minimumRatio: -0.1 } },
      'must have a `minimumRatio` from 0 to 1.',
    ],
    [
      'a ratio that is no number',
      { countryCompletion: { sends: 1, duration: 1, minimumRatio: '1' } },
      'must have a `minimumRatio` from 0 to 1.',
    ],
    [
      'a misspelt part of a limit',
      { sendsOverall: [{ points: 1, duration: 1, seconds: 1 }] },
      'there is no option `budgets.sendsOverall.seconds`.',
    ],
  ])('cannot be %s', (_what, budgets, sentence) => {
    expect(() => settings({ budgets })).toThrow(sentence);
  });

  it('may have limits of several durations', () => {
    const limits = [...strict, { points: 2, duration: 2 }];
    expect(settings({ budgets: { sendsOverall: limits } }).budgets.sendsOverall).toStrictEqual(limits);
  });
});

describe('a name that is not known', () => {
  it.each([
    ['name is far off', { nmae_of_it: 1 }, /\. Known: client, applicationId, /],
    ['a third of a long name is wrong', { trustdOrgins: 1 }, /\. Did you mean `trustedOrigins`\?$/],
    ['two letters of a short name are wrong', { pni: 1 }, /\. Did you mean `pin`\?$/],
    ['letters are missing at the end', { trustedOrig: 1 }, /\. Did you mean `trustedOrigins`\?$/],
    ['letters are too many', { channelss: 1 }, /\. Did you mean `channels`\?$/],
  ])('is told from what was meant when %s', (_what, changes, sentence) => {
    expect(() => settings(changes)).toThrow(sentence);
  });
});

describe('without a limiter', () => {
  it('a production process is warned once, and no other', () => {
    const warn = vi.spyOn(process, 'emitWarning').mockReturnValue();
    settings();
    vi.stubEnv('NODE_ENV', 'production');
    settings({ limiter: () => undefined, secret: 's'.repeat(32) });
    expect(warn).not.toHaveBeenCalled();
    settings();
    settings();
    expect(warn).toHaveBeenCalledExactlyOnceWith(
      'SmsOtpStrategy counts in the memory of this process: a restart forgets the counts. Give the option `limiter`.',
      { code: 'SMS_OTP_MEMORY_LIMITER' },
    );
  });

  it('a worker of a cluster is refused, and a process that is none is not', () => {
    const builtin = vi.spyOn(process, 'getBuiltinModule');
    builtin.mockImplementation((name: string) => ({ isWorker: name === 'node:cluster' }) as never);
    expect(() => settings()).toThrow(
      'the option `limiter` is missing. In a cluster every worker would count for itself: give one whose store they share.',
    );
    settings({ limiter: () => undefined, secret: 's'.repeat(32) });
    builtin.mockImplementation(() => ({ isWorker: false }) as never);
    settings();
  });
});
