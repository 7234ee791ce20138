import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { SmsOtpStrategy, type SmsOtpStrategyOptions, type Verify } from 'passport-sms-otp';
import { Infobip2faClient } from 'passport-sms-otp/infobip';
import { describe, expect, it } from 'vitest';
import { misspelt } from '../lib/options.js';
import { expectNoUnhandledRejection } from './support/calm.js';
import { createHost, fakeClient, PHONE } from './support/host.js';

expectNoUnhandledRejection();

const run = promisify(execFile);
const root = fileURLToPath(new URL('..', import.meta.url));

const verify: Verify = async () => false;
const limiter = () => {
  throw new Error('nothing is counted here');
};
const WORKING = { client: fakeClient(), applicationId: 'APP', messageId: 'MSG', countries: ['HR'] };

/** What the constructor throws for the working options with these changes. */
function thrown(changes: object, others: unknown[] = [verify]): unknown {
  const options: object = { ...WORKING, ...changes };
  try {
    new SmsOtpStrategy(options as SmsOtpStrategyOptions, others[0] as Verify);
    return 'nothing';
  } catch (error) {
    return error;
  }
}

const KNOWN =
  'client, applicationId, messageId, name, countries, defaultCountry, blockedNumberTypes, recipient, subject, ' +
  'signedIn, channels, phoneField, pinField, channelField, placeholders, pin, pinTtlSeconds, attempts, budgets, ' +
  'limiter, secret, challenges, storeTimeoutMs, verifyTimeoutMs, beforeSend, canReceivePin, knownBrowser, ' +
  'trustedOrigins, clientKey, messages, onEvent';

type Case = [changes: Record<string, unknown>, sentence: string];

const MISSING: Case[] = [
  [
    { client: undefined },
    "the option `client` is missing. Give an Infobip2faClient of 'passport-sms-otp/infobip'.",
  ],
  [
    { applicationId: undefined },
    'the option `applicationId` is missing. It is the id of your 2FA application at Infobip.',
  ],
  [
    { messageId: undefined },
    'the option `messageId` is missing. It is the id of your message template at Infobip, one for each channel, or a function.',
  ],
  [
    { countries: undefined },
    "the option `countries` is missing. Name the countries whose numbers may log in, such as ['HR', 'SI'], or 'all'.",
  ],
  [
    { countries: undefined, subject: async () => 'u1' },
    "the option `countries` is missing. Name the countries whose numbers may log in, such as ['HR', 'SI'], or 'all'.",
  ],
  [
    { limiter },
    'the option `secret` is missing. With `limiter` it must be the same in every process: 32 random characters or more, from your configuration.',
  ],
];

const MISSPELT: Case[] = [
  [{ cuntries: ['HR'] }, 'there is no option `cuntries`. Did you mean `countries`?'],
  [{ Countries: ['HR'] }, 'there is no option `Countries`. Did you mean `countries`?'],
  [{ phonefield: 'mobile' }, 'there is no option `phonefield`. Did you mean `phoneField`?'],
  [{ applicationID: 'APP' }, 'there is no option `applicationID`. Did you mean `applicationId`?'],
  [{ pinTtl: 300 }, `there is no option \`pinTtl\`. Known: ${KNOWN}.`],
  [{ passReqToCallback: true }, `there is no option \`passReqToCallback\`. Known: ${KNOWN}.`],
  [{ apiKey: 'KEY' }, `there is no option \`apiKey\`. Known: ${KNOWN}.`],
  [{ pin: { lenght: 6 } }, 'there is no option `pin.lenght`. Did you mean `pin.length`?'],
  [
    { budgets: { sendPerNumber: [] } },
    'there is no option `budgets.sendPerNumber`. Did you mean `budgets.sendsPerNumber`?',
  ],
  [
    { budgets: { sendsPerNumber: [{ point: 1, duration: 30 }] } },
    'there is no option `budgets.sendsPerNumber.point`. Did you mean `budgets.sendsPerNumber.points`?',
  ],
  [
    { budgets: { countryCompletion: { sends: 1, duration: 1, minimumRate: 1 } } },
    'there is no option `budgets.countryCompletion.minimumRate`. Did you mean `budgets.countryCompletion.minimumRatio`?',
  ],
  [{ messageId: { smss: 'MSG' } }, 'there is no option `messageId.smss`. Did you mean `messageId.sms`?'],
  [
    { countries: ['hr'] },
    'the option `countries` holds "hr", which is no country code of ISO 3166-1 alpha-2. Did you mean \'HR\'?',
  ],
  [
    { countries: ['Croatia'] },
    'the option `countries` holds "Croatia", which is no country code of ISO 3166-1 alpha-2.',
  ],
  [
    { countries: ['UK'] },
    'the option `countries` holds "UK", which is no country code of ISO 3166-1 alpha-2. Did you mean \'GB\'?',
  ],
  ...(
    [
      ['USA', 'US'],
      ['el', 'GR'],
      ['EN', 'GB'],
    ] as const
  ).map(
    ([said, meant]): Case => [
      { countries: [said] },
      `the option \`countries\` holds "${said}", which is no country code of ISO 3166-1 alpha-2. Did you mean '${meant}'?`,
    ],
  ),
  [{ channels: ['SMS'] }, 'the option `channels` holds "SMS", which is none of sms, voice, email.'],
  [
    { blockedNumberTypes: ['PREMIUM'] },
    'the option `blockedNumberTypes` holds "PREMIUM", which is none of MOBILE, FIXED_LINE, FIXED_LINE_OR_MOBILE, VOIP, PREMIUM_RATE, SHARED_COST, TOLL_FREE, PAGER, VOICEMAIL, UAN, PERSONAL_NUMBER.',
  ],
  [
    { pin: { type: 'DIGITS' } },
    'the option `pin` has the type "DIGITS", which is none of NUMERIC, ALPHA, HEX, ALPHANUMERIC.',
  ],
];

const CONTRADICTORY: Case[] = [
  [
    { recipient: async () => null, subject: async () => null },
    'the option `subject` cannot go with `recipient`: the subject is in what `recipient` returns. Give one of the two.',
  ],
  [
    { signedIn: true },
    'the option `signedIn` needs `recipient` or `subject`, which say who the signed-in user is.',
  ],
  [
    { channels: ['sms', 'email'] },
    "the option `channels` holds 'email', which needs `recipient`: visitors type a number, not an address.",
  ],
  [{ defaultCountry: 'SI' }, 'the option `defaultCountry` is SI, which is not among `countries`.'],
  [
    { channels: ['sms', 'voice'], messageId: { sms: 'MSG' } },
    "the option `messageId` has no id for the channel 'voice'.",
  ],
];

const WRONG: Case[] = [
  [
    { client: {} },
    'the option `client` must be an object with the methods sendPin, resendPin, verifyPin; it lacks sendPin, resendPin, verifyPin.',
  ],
  [
    { client: { sendPin() {}, verifyPin: 7 } },
    'the option `client` must be an object with the methods sendPin, resendPin, verifyPin; it lacks resendPin, verifyPin.',
  ],
  [{ applicationId: ' ' }, 'the option `applicationId` must be a string that is not empty.'],
  [{ applicationId: 7 }, 'the option `applicationId` must be a string that is not empty.'],
  [
    { messageId: '' },
    'the option `messageId` is missing. It is the id of your message template at Infobip, one for each channel, or a function.',
  ],
  [{ name: '' }, 'the option `name` must be a string that is not empty.'],
  [{ name: '__proto__' }, "the option `name` cannot be '__proto__'."],
  [
    { countries: [] },
    "the option `countries` must be a list of two-letter country codes that is not empty, or 'all'.",
  ],
  [
    { countries: 'HR' },
    "the option `countries` must be a list of two-letter country codes that is not empty, or 'all'.",
  ],
  [
    { defaultCountry: 'hr' },
    'the option `defaultCountry` is "hr", which is no country code of ISO 3166-1 alpha-2.',
  ],
  [{ channels: [] }, "the option `channels` is empty. Name at least one of 'sms', 'voice' and 'email'."],
  [{ channels: 'sms' }, 'the option `channels` must be a list of sms, voice, email.'],
  [{ phoneField: '' }, 'the option `phoneField` must be a string that is not empty.'],
  [{ signedIn: 'yes' }, 'the option `signedIn` must be true or false.'],
  [{ pin: 6 }, 'the option `pin` must be an object { length, type }.'],
  ...(
    [
      [{ length: 5 }, 6, 'NUMERIC'],
      [{ length: 9 }, 6, 'NUMERIC'],
      [{ length: 6.5 }, 6, 'NUMERIC'],
      [{ length: '6' }, 6, 'NUMERIC'],
      [{ length: 4, type: 'ALPHA' }, 5, 'ALPHA'],
      [{ length: 4, type: 'HEX' }, 5, 'HEX'],
      [{ length: 3, type: 'ALPHANUMERIC' }, 4, 'ALPHANUMERIC'],
    ] as const
  ).map(
    ([pin, least, type]): Case => [
      { pin },
      `the option \`pin\` must have a length from ${least} to 8 for ${type}: a shorter PIN has under 20 random bits and can be guessed.`,
    ],
  ),
  ...([59, 601, 60.5, '300', Number.NaN, -1] as const).map(
    (pinTtlSeconds): Case => [
      { pinTtlSeconds },
      'the option `pinTtlSeconds` must be a whole number from 60 to 600.',
    ],
  ),
  ...([0, 11, 2.5, '5', Number.POSITIVE_INFINITY] as const).map(
    (attempts): Case => [{ attempts }, 'the option `attempts` must be a whole number from 1 to 10.'],
  ),
  [{ storeTimeoutMs: 0 }, 'the option `storeTimeoutMs` must be a whole number from 1 to 300000.'],
  [{ verifyTimeoutMs: 300_001 }, 'the option `verifyTimeoutMs` must be a whole number from 1 to 300000.'],
  [{ secret: 'short' }, 'the option `secret` must be a string of 32 characters or more.'],
  [{ secret: 'x'.repeat(31) }, 'the option `secret` must be a string of 32 characters or more.'],
  [
    { challenges: { get() {} } },
    'the option `challenges` must be an object with the methods get, set and remove; it lacks set, remove.',
  ],
  ...[
    'limiter',
    'placeholders',
    'beforeSend',
    'canReceivePin',
    'knownBrowser',
    'clientKey',
    'messages',
    'onEvent',
  ].map((option): Case => [{ [option]: {} }, `the option \`${option}\` must be a function.`]),
  [
    { trustedOrigins: 'https://app.example' },
    "the option `trustedOrigins` must be a list of origins such as 'https://app.example'.",
  ],
  ...[
    'app.example',
    'https://app.example/login',
    'https://app.example?x',
    'https://*.example',
    'https://user@app.example',
    'null',
    '*',
    'file:///etc',
    7,
  ].map(
    (origin): Case => [
      { trustedOrigins: ['https://good.example', origin] },
      `the option \`trustedOrigins\` holds ${JSON.stringify(origin)}, which is no origin. Write scheme, host and port only, such as 'https://app.example'.`,
    ],
  ),
  [{ budgets: 7 }, 'the option `budgets` must be an object.'],
  [
    { budgets: { sendsPerNumber: { points: 1, duration: 1 } } },
    'the option `budgets.sendsPerNumber` must be a list of { points, duration }, or null.',
  ],
  ...[0, -1, 1.5, '1', undefined].map(
    (points): Case => [
      { budgets: { sendsOverall: [{ points, duration: 1 }] } },
      'the option `budgets.sendsOverall` must have whole `points` of 1 or more.',
    ],
  ),
  ...[0, 1.5, '60', 2_147_484, Number.POSITIVE_INFINITY, undefined].map(
    (duration): Case => [
      { budgets: { uncompletedPerClient: [{ points: 1, duration }] } },
      'the option `budgets.uncompletedPerClient` must have a `duration` in whole seconds from 1 to 2147483.',
    ],
  ),
  [
    { budgets: { countryCompletion: { sends: 0, duration: 1, minimumRatio: 0.4 } } },
    'the option `budgets.countryCompletion` must have whole `sends` of 1 or more.',
  ],
  ...[5, [{ sends: 1, duration: 1, minimumRatio: 0.4 }]].map(
    (countryCompletion): Case => [
      { budgets: { countryCompletion } },
      'the option `budgets.countryCompletion` must be { sends, duration, minimumRatio }, or null.',
    ],
  ),
  [
    { budgets: { countryCompletion: { sends: 1, duration: 2_147_484, minimumRatio: 0.4 } } },
    'the option `budgets.countryCompletion` must have a `duration` in whole seconds from 1 to 2147483.',
  ],
  [
    { budgets: { countryCompletion: { sends: 1, duration: 1, minimumRatio: 40 } } },
    'the option `budgets.countryCompletion` must have a `minimumRatio` from 0 to 1.',
  ],
];

const titled = (cases: Case[]) =>
  cases.map(([changes, sentence]): [string, Case[0], string] => {
    const title = JSON.stringify(changes, (_key, value) =>
      typeof value === 'function'
        ? 'a function'
        : value === undefined
          ? 'undefined'
          : Number.isNaN(value)
            ? 'NaN'
            : value,
    );
    return [title, changes, sentence];
  });

describe('the constructor', () => {
  it('takes the options of the first page', () => {
    expect(thrown({})).toBe('nothing');
  });

  describe.each([
    ['missing', MISSING],
    ['misspelt', MISSPELT],
    ['contradictory', CONTRADICTORY],
    ['wrong', WRONG],
  ])('says what is %s and what to do', (_kind, cases) => {
    it.each(titled(cases))('%s', (_title, changes, sentence) => {
      const error = thrown(changes);
      expect(error).toBeInstanceOf(TypeError);
      expect(error).toHaveProperty('message', `SmsOtpStrategy: ${sentence}`);
    });
  });

  it('needs options and a verify callback', () => {
    for (const options of [undefined, null, 'APP', 7]) {
      expect(() => new SmsOtpStrategy(options as unknown as SmsOtpStrategyOptions, verify)).toThrow(
        new TypeError('SmsOtpStrategy: the first argument must be an object of options.'),
      );
    }
    for (const given of [undefined, null, {}, 'verify']) {
      const error = thrown({}, [given]);
      expect(error).toBeInstanceOf(TypeError);
      expect(error).toHaveProperty(
        'message',
        expect.stringMatching(/^SmsOtpStrategy: the verify callback is missing\. Give a function/u),
      );
    }
  });

  it('takes two fields of one name for a contradiction', () => {
    const error = thrown({ phoneField: 'code', pinField: 'code' });
    expect(error).toBeInstanceOf(TypeError);
    expect(error).toHaveProperty('message', expect.stringMatching(/^SmsOtpStrategy: .*`pinField`/u));
  });

  const FINE: [string, object][] = [
    [
      'every option left undefined but the required ones',
      Object.fromEntries(
        KNOWN.split(', ')
          .filter((name) => !(name in WORKING))
          .map((name) => [name, undefined]),
      ),
    ],
    ['all countries', { countries: 'all', defaultCountry: 'HR' }],
    ['a recipient and no countries', { countries: undefined, recipient: async () => null }],
    ['a recipient and countries', { recipient: async () => null }],
    ['a subject', { subject: async () => null, signedIn: true }],
    ['a template for each channel', { channels: ['sms', 'voice'], messageId: { sms: 'A', voice: 'B' } }],
    ['a function for the template', { messageId: () => 'MSG' }],
    ['the shortest PINs', { pin: { length: 4, type: 'ALPHANUMERIC' } }],
    ['the longest PINs', { pin: { length: 8, type: 'HEX' } }],
    [
      'limits at their edges',
      { pinTtlSeconds: 60, attempts: 10, storeTimeoutMs: 1, verifyTimeoutMs: 300_000 },
    ],
    ['budgets switched off', { budgets: { sendsPerNumber: null, sendsOverall: [], countryCompletion: [] } }],
    ['the longest budget', { budgets: { failuresPerNumber: [{ points: 1, duration: 2_147_483 }] } }],
    [
      'trusted origins',
      { trustedOrigins: ['https://app.example', 'http://localhost:3000', 'https://APP.example/'] },
    ],
    [
      'a client that is an instance of a class',
      { client: new Infobip2faClient({ baseUrl: 'http://127.0.0.1:9', apiKey: 'KEY' }) },
    ],
  ];
  it.each(FINE)('takes %s', (_title, changes) => {
    expect(thrown(changes)).toBe('nothing');
  });

  it("takes frozen options, leaves the caller's object as it was, and reads it once", async () => {
    const client = fakeClient();
    const budgets = Object.freeze({
      sendsPerNumber: Object.freeze([Object.freeze({ points: 1, duration: 60 })]),
    });
    const options = Object.freeze({
      countries: Object.freeze(['HR', 'SI'] as const),
      channels: Object.freeze(['sms'] as const),
      budgets,
      pin: Object.freeze({ length: 6 }),
      trustedOrigins: Object.freeze(['https://app.example']),
      blockedNumberTypes: Object.freeze(['PREMIUM_RATE'] as const),
      messageId: Object.freeze({ sms: 'MSG' }),
    });
    const before = JSON.stringify(options);
    const host = createHost(client, { strategy: options });
    expect((await host.browser().issue()).status).toBe(202);
    expect(JSON.stringify(options)).toBe(before);

    const changing = { countries: ['HR'] as ('HR' | 'SI')[], messageId: { sms: 'MSG' } };
    const later = createHost(client, { strategy: changing });
    changing.countries.push('SI');
    changing.countries[0] = 'SI';
    changing.messageId.sms = 'ANOTHER';
    expect((await later.browser().issue('+38641123456')).status).toBe(403);
    expect((await later.browser().issue(PHONE)).status).toBe(202);
    expect(client.sends.at(-1)?.messageId).toBe('MSG');
  });

  it('takes the name for Passport from the options', () => {
    const named = (name?: string) =>
      new SmsOtpStrategy({ ...WORKING, countries: 'all', ...(name && { name }) }, verify).name;
    expect([named(), named('sign-up')]).toEqual(['sms-otp', 'sign-up']);
  });
});

describe('the shape of a PIN', () => {
  it.each([
    ['NUMERIC', 6, '012345', ['01234', '0123456', '01234a', '0x1234']],
    ['ALPHA', 5, 'abcDE', ['abcd', 'abcdef', 'abcd1']],
    ['HEX', 5, '09aFf', ['0123', '0123g']],
    ['ALPHANUMERIC', 4, 'aB3z', ['aB3', 'aB3_', 'aB3\u0161']],
  ] as const)('is %s of the length that the host says', async (type, length, good, bad) => {
    const client = fakeClient();
    const host = createHost(client, { strategy: { pin: { type, length } } });
    const browser = host.browser();
    await browser.issue();
    for (const pin of bad) {
      expect([pin, (await browser.check(pin)).body.outcome.code]).toEqual([pin, 'pin_malformed']);
    }
    expect(client.checks).toEqual([]);
    await browser.check(good);
    expect(client.checks).toEqual([{ pinId: 'PIN-ID-1', pin: good }]);
  });

  it.each([
    ['blanks', '042 137'],
    ['hyphens', '042-137'],
    ['blanks around it', ' 042137\u00a0'],
    ['full width digits', '\uff10\uff14\uff12\uff11\uff13\uff17'],
    ['Arabic-Indic digits', '\u0660\u0664\u0662\u0661\u0663\u0667'],
    ['Eastern Arabic-Indic digits', '\u06f0\u06f4\u06f2\u06f1\u06f3\u06f7'],
  ])('is read kindly: %s', async (_how, typed) => {
    const client = fakeClient();
    const browser = createHost(client).browser();
    await browser.issue();
    expect((await browser.check(typed)).status).toBe(200);
    expect(client.checks).toEqual([{ pinId: 'PIN-ID-1', pin: '042137' }]);
  });

  it('keeps the case of letters', async () => {
    const client = fakeClient();
    const browser = createHost(client, { strategy: { pin: { type: 'ALPHA', length: 6 } } }).browser();
    await browser.issue();
    await browser.check('aBc-DeF');
    expect(client.checks[0]?.pin).toBe('aBcDeF');
  });
});

describe('a strategy that counts in memory', () => {
  it('is a TypeError in a worker of a cluster, where every worker would count for itself', async () => {
    const { stdout } = await run(process.execPath, [`${root}test/fixtures/cluster.js`]);
    expect(JSON.parse(stdout)).toEqual({
      inMemory:
        'TypeError: SmsOtpStrategy: the option `limiter` is missing. In a cluster every worker would count for itself: give one whose store they share.',
      withLimiter: 'made',
    });
  });

  const script = `
    import { SmsOtpStrategy } from ${JSON.stringify(`file://${root}dist/index.js`)};
    const client = { sendPin() {}, resendPin() {}, verifyPin() {} };
    const limiter = () => ({ consume() {}, reward() {}, get() {}, delete() {} });
    const shared = process.argv[1] === 'shared' ? { limiter, secret: 's'.repeat(32) } : {};
    for (const name of ['one', 'two']) {
      new SmsOtpStrategy({ client, applicationId: 'APP', messageId: 'MSG', countries: 'all', name, ...shared }, () => false);
    }
  `;
  const warnings = async (environment: string, kind: string) => {
    const { stderr } = await run(process.execPath, ['--input-type=module', '-e', script, kind], {
      env: { ...process.env, NODE_ENV: environment },
    });
    return stderr;
  };

  it('warns once in production, with a code', async () => {
    const stderr = await warnings('production', 'memory');
    expect(stderr.match(/SMS_OTP_MEMORY_LIMITER/gu)).toHaveLength(1);
    expect(stderr).toContain(
      'SmsOtpStrategy counts in the memory of this process: a restart forgets the counts. Give the option `limiter`.',
    );
  });

  it('does not warn elsewhere, nor with a limiter', async () => {
    expect(await warnings('development', 'memory')).toBe('');
    expect(await warnings('production', 'shared')).toBe('');
  });
});

describe('a name that is not known', () => {
  const known = ['phase', 'challengeRedirect', 'channel'];

  it.each([
    ['challengeRedirekt', 'challengeRedirect'],
    ['ChallengeRedirect', 'challengeRedirect'],
    ['chanel', 'channel'],
    ['phaze', 'phase'],
    // Two letters are too many for a short word, and three for any.
    ['fase', undefined],
    ['challngeRedirekts', undefined],
    ['base', undefined],
    ['session', undefined],
    ['channel', undefined],
  ])('%s was probably meant to be %s', (key, meant) => {
    expect(misspelt(key, known)).toBe(meant);
  });
});
