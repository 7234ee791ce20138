import { beforeEach, describe, expect, it } from 'vitest';
import { type Behaviour, readBehaviour } from '../../lib/simulator/behaviour.js';
import { ServiceError } from '../../lib/simulator/errors.js';
import { parseDuration, parseRate, Windows } from '../../lib/simulator/limits.js';
import { createRandom, randomText, randomUuid } from '../../lib/simulator/random.js';
import { type Channel, type Message, TwoFactorService } from '../../lib/simulator/service.js';
import { countParts, fillEmailTemplate, fillTemplate } from '../../lib/simulator/text.js';

const phone = '41793026727';
const ids = { applicationId: 'APP', messageId: 'SMS' };
const minute = 60_000;

let now: number;
let behaviour: Behaviour;
let sent: Omit<Message, 'id'>[];
let service: TwoFactorService;

beforeEach(() => {
  now = Date.UTC(2026, 0, 1);
  behaviour = readBehaviour({});
  sent = [];
  service = new TwoFactorService({
    now: () => now,
    random: createRandom('service'),
    behaviour: () => behaviour,
    deliver: (message) => sent.push(message),
    maxPins: 1000,
    emailTemplates: { 7: 'Dear {$name}, {$pin} it is.' },
  });
  configure({});
});

/** Sets the application up anew, with limits wide enough to stay out of the way unless a test narrows them. */
function configure(configuration: object, template: object = {}, more: object = {}): void {
  const wide = { verifyPinLimit: '1000/1s', sendPinPerPhoneNumberLimit: '1000/1d', pinAttempts: 3 };
  service.applications.addSetUp(
    ids,
    { name: 'Test', configuration: { ...wide, ...configuration }, ...more },
    { messageText: 'PIN {{pin}}', pinType: 'NUMERIC', pinLength: 6, ...template },
  );
}

function behave(changes: Partial<Behaviour>): void {
  behaviour = readBehaviour(changes, behaviour);
}

function send(to = phone, more: object = {}, channel: Channel = 'sms'): Record<string, unknown> {
  return service.sendPin(channel, { ...ids, to, ...more });
}

function resend(pinId: unknown, body?: unknown, channel: Channel = 'sms'): Record<string, unknown> {
  return service.resendPin(channel, String(pinId), body);
}

function check(pinId: unknown, pin: unknown): Record<string, unknown> {
  return service.verifyPin(String(pinId), { pin });
}

function lastPin(): string {
  return sent.at(-1)?.pin ?? '';
}

/** A PIN that is not the one sent, of the same shape. */
function wrongPin(): string {
  return lastPin().replace(/./g, (digit) => String((Number(digit) + 1) % 10));
}

/** The refusal that `act` meets. */
function refusal(
  act: () => unknown,
): Pick<ServiceError, 'status' | 'messageId' | 'violations' | 'retryAfter' | 'message'> {
  try {
    act();
  } catch (error) {
    if (error instanceof ServiceError) return error;
    throw error;
  }
  throw new Error('nothing was refused');
}

describe('durations and rates', () => {
  it.each([
    ['15m', 900_000],
    ['m', 60_000],
    ['900ms', 900],
    ['2h', 7_200_000],
    ['d', 86_400_000],
    ['1s', 1000],
  ])('reads the duration %s', (text, expected) => {
    expect(parseDuration(text)).toBe(expected);
  });

  it.each(['', '15', '15 m', '15M', '-1m', '1.5h', 'm15', '1w'])('knows that "%s" is no duration', (text) => {
    expect(parseDuration(text)).toBeUndefined();
  });

  it.each([
    ['1/3s', 1, 3000],
    ['30/10s', 30, 10_000],
    ['5/h', 5, 3_600_000],
    ['500/900ms', 500, 900],
    ['10000/1d', 10_000, 86_400_000],
  ])('reads the rate %s', (text, points, lengthMs) => {
    expect(parseRate(text)).toEqual({ points, lengthMs });
  });

  it.each(['', '5', '/h', '5/', '5/1', '5 / 1h', '-5/1h', '5/1h ', '5/1H'])(
    'knows that "%s" is no rate',
    (text) => {
      expect(parseRate(text)).toBeUndefined();
    },
  );
});

describe('what the documents leave open of durations and rates', () => {
  const strict = { limitSyntax: 'strict', zeroInLimits: 'accept' } as const;

  it('is zero', () => {
    expect(parseDuration('0m')).toBe(0);
    expect(parseRate('0/1h')).toEqual({ points: 0, lengthMs: 3_600_000 });
    expect(parseRate('5/0h')).toEqual({ points: 5, lengthMs: 0 });
    const refuse = { ...strict, zeroInLimits: 'refuse' } as const;
    expect(parseDuration('0m', refuse)).toBeUndefined();
    expect(parseRate('0/1h', refuse)).toBeUndefined();
    expect(parseRate('5/0h', refuse)).toBeUndefined();
    expect(parseRate('5/h', refuse)).toEqual({ points: 5, lengthMs: 3_600_000 });
  });

  it('is white space and upper case', () => {
    const lenient = { ...strict, limitSyntax: 'lenient' } as const;
    expect(parseDuration(' 15 M ', lenient)).toBe(900_000);
    expect(parseRate('5 / 1H', lenient)).toEqual({ points: 5, lengthMs: 3_600_000 });
    expect(parseRate('5 / 1W', lenient)).toBeUndefined();
  });

  it('is what an application takes and does', () => {
    const configuration = {
      pinTimeToLive: '15 M',
      sendPinPerPhoneNumberLimit: '1/0s',
      verifyPinLimit: '0/3s',
    };
    expect(refusal(() => configure(configuration)).violations).toEqual({
      'configuration.pinTimeToLive': expect.anything(),
    });
    behave({ limitSyntax: 'lenient' });
    configure(configuration);
    send();
    const { pinId } = send();
    behave({ retryAfter: 'window' });
    expect(refusal(() => check(pinId, lastPin()))).toMatchObject({ status: 429, retryAfter: 3 });
    now += 3000;
    expect(refusal(() => check(pinId, lastPin())).status).toBe(429);
    configure({ pinTimeToLive: '0s' });
    expect(check(send().pinId, lastPin())).toMatchObject({ verified: false, pinError: 'TTL_EXPIRED' });
    behave({ zeroInLimits: 'refuse' });
    expect(refusal(() => configure({ pinTimeToLive: '0s', verifyPinLimit: '0/3s' })).violations).toEqual({
      'configuration.pinTimeToLive': expect.anything(),
      'configuration.verifyPinLimit': expect.anything(),
    });
  });
});

describe('windows', () => {
  const rate = { points: 2, lengthMs: 1000 };

  it('allow as many as the rate says and open again when their length is over', () => {
    const windows = new Windows(10);
    windows.count('a', rate, 0, false);
    windows.count('a', rate, 900, false);
    expect(windows.waitMs('a', rate, 999, false)).toBe(1);
    expect(windows.waitMs('b', rate, 999, false)).toBe(0);
    expect(windows.waitMs('a', rate, 1000, false)).toBe(0);
    windows.count('a', rate, 1000, false);
    expect(windows.waitMs('a', rate, 1000, false)).toBe(0);
    windows.count('a', rate, 1000, false);
    expect(windows.waitMs('a', rate, 1000, false)).toBe(1000);
  });

  it('look back from now when they slide', () => {
    const windows = new Windows(10);
    for (const at of [0, 900]) windows.count('a', rate, at, true);
    expect(windows.waitMs('a', rate, 999, true)).toBe(1);
    windows.count('a', rate, 1000, true);
    expect(windows.waitMs('a', rate, 1100, true)).toBe(800);
    expect(windows.waitMs('a', rate, 1900, true)).toBe(0);
  });

  it('forget the oldest when there are too many, counting from when each began', () => {
    const windows = new Windows(3);
    for (const [at, key] of ['a', 'b', 'c', 'd'].entries()) windows.count(key, rate, at, false);
    expect(windows.size).toBe(3);
    for (const key of ['b', 'c', 'd']) windows.count(key, rate, 10, false);
    expect(['a', 'b', 'c', 'd'].map((key) => windows.waitMs(key, rate, 500, false) > 0)).toEqual([
      false,
      true,
      true,
      true,
    ]);
  });

  it('count as new when they begin again', () => {
    const windows = new Windows(3);
    for (const key of ['a', 'b']) windows.count(key, rate, 0, false);
    for (let count = 0; count < 2; count++) windows.count('b', rate, 2000, false);
    for (const key of ['c', 'd']) windows.count(key, rate, 2000, false);
    expect(windows.size).toBe(3);
    expect(windows.waitMs('b', rate, 2000, false)).toBe(1000);
  });
});

describe('texts', () => {
  it.each([
    ['a'.repeat(160), 'GSM-7', 1],
    ['a'.repeat(161), 'GSM-7', 2],
    ['a'.repeat(306), 'GSM-7', 2],
    ['a'.repeat(307), 'GSM-7', 3],
    ['\u20ac'.repeat(80), 'GSM-7', 1],
    ['\u20ac'.repeat(81), 'GSM-7', 2],
    // 152 places and a sign of two: the sign moves to the second part, which an even split would not need.
    [`${'a'.repeat(152)}\u20ac${'a'.repeat(152)}`, 'GSM-7', 3],
    ['@#\u00e4\u00f1\u0394', 'GSM-7', 1],
    ['\u010d'.repeat(70), 'Unicode', 1],
    ['\u010d'.repeat(71), 'Unicode', 2],
    [`${'a'.repeat(159)}\u010d`, 'Unicode', 3],
    ['\u{1f642}'.repeat(35), 'Unicode', 1],
    ['\u{1f642}'.repeat(36), 'Unicode', 2],
    // 67 is odd: each part holds 33 faces and a gap.
    ['\u{1f642}'.repeat(67), 'Unicode', 3],
    ['', 'GSM-7', 1],
  ])('are counted in the parts that an operator bills (%#)', (text, encoding, parts) => {
    expect(countParts(text)).toEqual({ encoding, parts });
  });

  it('get every placeholder filled, in one pass and from own values only', () => {
    const values = { pin: '0042', name: '{{pin}}' };
    expect(fillTemplate('{{name}}: {{pin}} and {{pin}}, {{toString}} {{other}}', values)).toBe(
      '{{pin}}: 0042 and 0042, {{toString}} {{other}}',
    );
    expect(fillEmailTemplate('{$pin} {$pin} {{pin}}', values)).toBe('0042 0042 {{pin}}');
  });
});

describe('randomness', () => {
  it('is the same for the same seed and another for another', () => {
    const draw = (seed: string) => randomText(createRandom(seed), '0123456789', 40);
    expect(draw('a')).toBe(draw('a'));
    expect(draw('a')).not.toBe(draw('b'));
  });

  it('favours no character of an alphabet that does not divide the values of a byte', () => {
    const alphabet = Array.from({ length: 200 }, (_, index) => String.fromCharCode(0x100 + index)).join('');
    const text = randomText(createRandom('fair'), alphabet, 100_000);
    // The 56 that a plain remainder would give twice as often.
    const first = [...text].filter((character) => alphabet.indexOf(character) < 56).length;
    expect(first / text.length).toBeCloseTo(56 / 200, 2);
  });

  it('makes UUIDs of version 4', () => {
    expect(randomUuid(createRandom(1))).toMatch(
      /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
    );
  });
});

describe('a PIN', () => {
  it.each([
    ['NUMERIC', 1, /^\d$/],
    ['NUMERIC', 8, /^\d{8}$/],
    ['ALPHA', 5, /^[A-Z]{5}$/],
    ['HEX', 8, /^[0-9A-F]{8}$/],
    ['ALPHANUMERIC', 4, /^[0-9A-Z]{4}$/],
  ])('has the type %s and the length %i of its template', (pinType, pinLength, shape) => {
    configure({}, { pinType, pinLength });
    for (let round = 0; round < 20; round++) {
      send();
      expect(lastPin()).toMatch(shape);
    }
    expect(new Set(sent.map(({ pin }) => pin)).size).toBeGreaterThan(5);
  });

  it.each([
    ['NUMERIC', 'any', /^\d{6}$/],
    ['NUMERIC', 'zero', /^0\d{5}$/],
    ['HEX', 'zero', /^0[0-9A-F]{5}$/],
    ['ALPHA', 'zero', /^A[A-Z]{5}$/],
  ] as const)('of type %s begins as asked for: %s', (pinType, pinStart, shape) => {
    configure({}, { pinType, pinLength: 6 });
    behave({ pinStart });
    for (let round = 0; round < 20; round++) {
      send();
      expect(lastPin()).toMatch(shape);
    }
    const starts = new Set(sent.map(({ pin }) => pin[0]));
    expect(starts.size === 1).toBe(pinStart === 'zero');
    expect(new Set(sent.map(({ pin }) => pin)).size).toBeGreaterThan(15);
  });

  it('is four digits where a template says nothing of the length', () => {
    service.applications.addSetUp(ids, { name: 'Test' }, { messageText: '{{pin}}', pinType: 'NUMERIC' });
    send();
    expect(lastPin()).toMatch(/^\d{4}$/);
  });

  it('keeps its leading zeros, and is wrong without them', () => {
    configure({ pinAttempts: 100 });
    let answer = send();
    while (!lastPin().startsWith('0')) answer = send();
    expect(check(answer.pinId, String(Number(lastPin())))).toMatchObject({
      verified: false,
      pinError: 'WRONG_PIN',
    });
    expect(check(answer.pinId, lastPin())).toMatchObject({ verified: true });
    expect(refusal(() => check(answer.pinId, Number(lastPin()))).violations).toEqual({
      pin: ['must be a string'],
    });
  });

  it('is judged right, with no attempts remaining whatever was configured', () => {
    const { pinId } = send();
    expect(check(pinId, lastPin())).toEqual({ pinId, msisdn: phone, verified: true, attemptsRemaining: 0 });
  });

  it('is exhausted by wrong tries, the last of which is still judged as wrong', () => {
    const { pinId } = send();
    const wrong = wrongPin();
    expect(check(pinId, wrong)).toEqual({
      pinId,
      msisdn: phone,
      verified: false,
      attemptsRemaining: 2,
      pinError: 'WRONG_PIN',
    });
    expect(check(pinId, wrong)).toMatchObject({ attemptsRemaining: 1, pinError: 'WRONG_PIN' });
    expect(check(pinId, wrong)).toMatchObject({ attemptsRemaining: 0, pinError: 'WRONG_PIN' });
    expect(check(pinId, lastPin())).toEqual({
      pinId,
      msisdn: phone,
      verified: false,
      attemptsRemaining: 0,
      pinError: 'NO_MORE_PIN_ATTEMPTS',
    });
  });

  it('lives until its time to live is over', () => {
    configure({ pinTimeToLive: '10m' });
    const { pinId } = send();
    const other = send();
    now += 10 * minute - 1;
    expect(check(other.pinId, lastPin())).toMatchObject({ verified: true });
    now += 1;
    const pin = sent[0]?.pin;
    expect(check(pinId, pin)).toEqual({
      pinId,
      msisdn: phone,
      verified: false,
      attemptsRemaining: 3,
      pinError: 'TTL_EXPIRED',
    });
    expect(check(other.pinId, lastPin())).toMatchObject({
      verified: false,
      pinError: 'TTL_EXPIRED',
      attemptsRemaining: 0,
    });
  });

  it('is good as often as it is asked for where the application allows it', () => {
    configure({ allowMultiplePinVerifications: true });
    const { pinId } = send();
    for (let round = 0; round < 5; round++) expect(check(pinId, lastPin())).toMatchObject({ verified: true });
    expect(check(pinId, wrongPin())).toMatchObject({ verified: false, pinError: 'NO_MORE_PIN_ATTEMPTS' });
  });

  it('belongs to its own id: the PIN of another send is wrong', () => {
    const first = send();
    const second = send();
    const [one, two] = sent.map(({ pin }) => pin);
    expect(one).not.toBe(two);
    expect(check(first.pinId, two)).toMatchObject({ verified: false });
    expect(check(first.pinId, one)).toMatchObject({ verified: true });
    expect(check(second.pinId, two)).toMatchObject({ verified: true });
  });

  it('is forgotten, the oldest first, when more are kept than there is room for', () => {
    const first = send('41790000000');
    for (let count = 1; count <= 1000; count++) send(`4179${1_000_000 + count}`);
    expect(service.held.pins).toBe(1000);
    expect(refusal(() => check(first.pinId, '123456')).status).toBe(404);
    expect(check(send().pinId, lastPin())).toMatchObject({ verified: true });
  });
});

describe('limits', () => {
  it('count sends per phone number in a window of their own', () => {
    configure({ sendPinPerPhoneNumberLimit: '3/1d' });
    for (let count = 0; count < 3; count++) send();
    expect(refusal(() => send())).toMatchObject({
      status: 429,
      messageId: 'TOO_MANY_REQUESTS',
      message: 'Too many requests',
    });
    expect(send('41790000000')).toMatchObject({ smsStatus: 'MESSAGE_SENT' });
    now += 24 * 60 * minute - 1;
    expect(refusal(() => send()).status).toBe(429);
    now += 1;
    expect(send()).toMatchObject({ smsStatus: 'MESSAGE_SENT' });
  });

  it('count sends per application, and a refused send costs neither', () => {
    configure({ sendPinPerApplicationLimit: '3/1h', sendPinPerPhoneNumberLimit: '1/1h' });
    send('41790000001');
    for (let count = 0; count < 5; count++) expect(refusal(() => send('41790000001')).status).toBe(429);
    send('41790000002');
    send('41790000003');
    expect(refusal(() => send('41790000004')).status).toBe(429);
    expect(sent).toHaveLength(3);
  });

  it('count checks per phone number, over all its PINs, and a refused check costs no attempt', () => {
    configure({ verifyPinLimit: '1/3s' });
    const first = send();
    const second = send();
    const stranger = send('41790000000');
    expect(check(first.pinId, 'x')).toMatchObject({ attemptsRemaining: 2 });
    expect(refusal(() => check(second.pinId, 'x')).status).toBe(429);
    expect(refusal(() => check(first.pinId, 'x')).status).toBe(429);
    expect(check(stranger.pinId, 'x')).toMatchObject({ attemptsRemaining: 2 });
    now += 3000;
    expect(check(first.pinId, 'x')).toMatchObject({ attemptsRemaining: 1 });
  });

  it.each([
    ['h', '1h', 3_600_000],
    ['900ms', '900ms', 900],
  ])('understand a length of %s', (length, full, lengthMs) => {
    configure({ sendPinPerPhoneNumberLimit: `2/${length}`, pinTimeToLive: length });
    send();
    send();
    expect(refusal(() => send()).status).toBe(429);
    now += lengthMs;
    send();
    behave({ limitsNormalised: true });
    expect(service.applications.get(ids.applicationId)).toMatchObject({
      configuration: { sendPinPerPhoneNumberLimit: `2/${full}`, pinTimeToLive: full },
    });
  });

  it('follow a changed configuration at once', () => {
    configure({ sendPinPerPhoneNumberLimit: '1/1d' });
    send();
    expect(refusal(() => send()).status).toBe(429);
    service.applications.update(ids.applicationId, {
      name: 'Test',
      configuration: { sendPinPerPhoneNumberLimit: '2/1d' },
    });
    send();
    expect(refusal(() => send()).status).toBe(429);
  });
});

describe('a send', () => {
  it('answers what the service answers on each channel', () => {
    const pinId = expect.stringMatching(/^[0-9A-F]{32}$/);
    const { messageId } = emailTemplate();
    expect(send()).toEqual({
      pinId,
      to: phone,
      ncStatus: 'NC_DESTINATION_REACHABLE',
      smsStatus: 'MESSAGE_SENT',
    });
    expect(send(phone, {}, 'voice')).toEqual({ pinId, to: phone, callStatus: 'PENDING_ACCEPTED' });
    expect(send('ana@example.com', { messageId }, 'email')).toEqual({
      pinId,
      to: 'ana@example.com',
      emailStatus: { name: 'PENDING_ACCEPTED', description: 'Message accepted, pending for delivery.' },
    });
  });

  it('reaches the phone with text, sender, time and parts', () => {
    configure({}, { messageText: '{{pin}} for {{name}}\n\n@example.com #{{pin}}', senderId: 'Harbour' });
    const { pinId } = send(`+${phone}`, { placeholders: { name: 'Ana' } });
    const pin = lastPin();
    expect(sent).toEqual([
      {
        to: phone,
        channel: 'sms',
        text: `${pin} for Ana\n\n@example.com #${pin}`,
        pin,
        pinId,
        from: 'Harbour',
        at: now,
        resend: false,
        parts: 1,
        encoding: 'GSM-7',
      },
    ]);
    send(phone, { from: 'Other' });
    expect(sent.at(-1)).toMatchObject({ from: 'Other', text: expect.stringContaining('{{name}}') });
  });

  it('speaks in the language of the template, and mails the text behind the template id', () => {
    configure({}, { language: 'pt_br' });
    send(phone, {}, 'voice');
    expect(sent.at(-1)).toMatchObject({ channel: 'voice', language: 'pt_br', text: `PIN ${lastPin()}` });
    const { messageId } = emailTemplate();
    send('ana@example.com', { messageId, placeholders: { name: 'Ana' } }, 'email');
    expect(sent.at(-1)).toMatchObject({
      from: 'no-reply@example.com',
      text: `Dear Ana, ${lastPin()} it is.`,
    });
    expect(sent.at(-1)).not.toHaveProperty('parts');
  });

  it('carries an id of its own for tracking when asked', () => {
    expect(send(phone, { trackDelivery: true }).externalMessageId).toMatch(/^[0-9a-f-]{36}$/);
    expect(resend(send().pinId, { trackDelivery: true }).externalMessageId).toMatch(/^[0-9a-f-]{36}$/);
    expect(send(phone, { trackDelivery: false })).not.toHaveProperty('externalMessageId');
  });

  it.each(['NC_DESTINATION_NOT_REACHABLE', 'NC_NOT_REACHABLE'])(
    'to a number that is %s gives a PIN id and no message',
    (ncStatus) => {
      behave({ ncStatus });
      const answer = send();
      expect(answer).toEqual({
        pinId: expect.any(String),
        to: phone,
        ncStatus,
        smsStatus: 'MESSAGE_NOT_SENT',
      });
      expect(sent).toHaveLength(0);
      expect(check(answer.pinId, '000000')).toMatchObject({ verified: false });
      expect(service.verifications(ids.applicationId, { msisdn: phone, sent: true })).toEqual({
        verifications: [],
      });
    },
  );

  it.each(['NC_DESTINATION_UNKNOWN', 'NC_NOT_CONFIGURED'])('goes out all the same on %s', (ncStatus) => {
    behave({ ncStatus });
    expect(send()).toMatchObject({ ncStatus, smsStatus: 'MESSAGE_SENT' });
    expect(sent).toHaveLength(1);
  });

  it('without a lookup is not stopped by one, and says nothing of it', () => {
    behave({ ncStatus: 'NC_DESTINATION_NOT_REACHABLE' });
    const answer = service.sendPin('sms', { ...ids, to: phone }, { ncNeeded: false });
    expect(JSON.parse(JSON.stringify(answer))).toEqual({
      pinId: expect.any(String),
      to: phone,
      smsStatus: 'MESSAGE_SENT',
    });
    behave({ ncStatus: 'NC_DESTINATION_REACHABLE', ncStatusWithoutLookup: 'present' });
    expect(service.sendPin('sms', { ...ids, to: phone }, { ncNeeded: false })).toMatchObject({
      ncStatus: 'NC_DESTINATION_REACHABLE',
    });
    behave({ ncStatus: 'NC_DESTINATION_NOT_REACHABLE' });
    expect(service.sendPin('sms', { ...ids, to: phone }, { ncNeeded: false })).toMatchObject({
      ncStatus: 'NC_DESTINATION_NOT_REACHABLE',
      smsStatus: 'MESSAGE_SENT',
    });
    expect(sent).toHaveLength(3);
  });

  it('names every field that is missing or wrong', () => {
    expect(refusal(() => service.sendPin('sms', {}))).toMatchObject({
      status: 400,
      messageId: 'BAD_REQUEST',
      violations: {
        applicationId: ['must not be blank'],
        messageId: ['must not be blank'],
        to: ['must not be blank'],
      },
    });
    const wrong = {
      applicationId: 1,
      messageId: ids.messageId,
      to: '+1 (555)',
      from: {},
      trackDelivery: 'yes',
    };
    expect(Object.keys(refusal(() => service.sendPin('sms', wrong)).violations ?? {})).toEqual([
      'applicationId',
      'to',
      'from',
      'trackDelivery',
    ]);
  });

  it('says one thing of a number that is blank or too long', () => {
    expect(refusal(() => send('  ')).violations).toEqual({ to: ['must not be blank'] });
    const { messageId } = emailTemplate();
    const address = (length: number) => `${'a'.repeat(length - 12)}@example.com`;
    expect(send(address(320), { messageId }, 'email')).toHaveProperty('emailStatus');
    expect(refusal(() => send(address(321), { messageId }, 'email')).violations).toHaveProperty('to');
  });

  it('looks up the numbers of messages, not those of calls', () => {
    behave({ ncStatus: 'NC_DESTINATION_NOT_REACHABLE', ncStatusWithoutLookup: 'present' });
    expect(send()).toMatchObject({ smsStatus: 'MESSAGE_NOT_SENT' });
    expect(send(phone, {}, 'voice')).toMatchObject({ callStatus: 'PENDING_ACCEPTED' });
    expect(sent.map(({ channel }) => channel)).toEqual(['voice']);
    behave({ ncStatus: 'NC_DESTINATION_REACHABLE' });
    const { pinId } = send();
    behave({ ncStatus: 'NC_DESTINATION_NOT_REACHABLE' });
    expect(resend(pinId, undefined, 'voice')).toMatchObject({ callStatus: 'PENDING_ACCEPTED' });
    expect(sent.map(({ channel }) => channel)).toEqual(['voice', 'sms', 'voice']);
  });

  it('has the sender of the service where neither it nor the template names one', () => {
    send();
    expect(sent[0]?.from).toBe('ServiceSMS');
  });

  it.each([null, [], 'text', 5, true, undefined])('refuses the body %j', (body) => {
    expect(refusal(() => service.sendPin('sms', body))).toMatchObject({
      status: 400,
      messageId: 'BAD_REQUEST',
    });
  });

  it.each([{ pin: '1' }, { 'a{b': '1' }, { name: 5 }, { name: null }, ['x'], 'x'])(
    'refuses the placeholders %j',
    (placeholders) => {
      expect(refusal(() => send(phone, { placeholders })).status).toBe(400);
      expect(sent).toHaveLength(0);
    },
  );

  it('takes placeholders by any other name, even one that objects have already', () => {
    configure({}, { messageText: '{{pin}} {{constructor}} {{__proto__}}' });
    const placeholders: unknown = JSON.parse('{"constructor":"a","__proto__":"b"}');
    send(phone, { placeholders });
    expect(sent.at(-1)?.text).toBe(`${lastPin()} a b`);
  });

  it('ignores fields that it does not know, and takes null for a field that was left out', () => {
    expect(send(phone, { colour: 'red', from: null, placeholders: null })).toMatchObject({
      smsStatus: 'MESSAGE_SENT',
    });
  });

  it('needs an application that is enabled', () => {
    configure({}, {}, { enabled: false });
    expect(refusal(() => send())).toMatchObject({ status: 400, message: 'The application is disabled.' });
    expect(refusal(() => send(phone, { messageId: 'NONE' })).status).toBe(400);
    behave({ disabledApplication: 403 });
    expect(refusal(() => send()).status).toBe(403);
    service.applications.update(ids.applicationId, { name: 'Test', enabled: true });
    expect(send()).toMatchObject({ smsStatus: 'MESSAGE_SENT' });
  });

  it.each([{ applicationId: 'NONE' }, { messageId: 'NONE' }])('cannot find %j', (unknown) => {
    const text = 'Application or message with given ID cannot be found.';
    expect(refusal(() => send(phone, unknown))).toMatchObject({
      status: 404,
      messageId: 'NOT_FOUND',
      message: text,
    });
    behave({ notFoundMessageId: 'RESOURCE_NOT_FOUND' });
    expect(refusal(() => send(phone, unknown)).messageId).toBe('RESOURCE_NOT_FOUND');
    behave({ unknownId: 400 });
    expect(refusal(() => send(phone, unknown))).toMatchObject({
      status: 400,
      messageId: 'BAD_REQUEST',
      message: text,
    });
  });

  it('needs a template that fits the channel', () => {
    const { messageId } = emailTemplate();
    expect(refusal(() => send(phone, { messageId }))).toMatchObject({
      status: 400,
      message: 'The message template does not fit the channel sms.',
    });
    expect(refusal(() => send('ana@example.com', {}, 'email')).status).toBe(400);
    expect(refusal(() => send('ana@example.com')).violations).toHaveProperty('to');
    expect(refusal(() => send(phone, { messageId }, 'email')).violations).toHaveProperty('to');
  });

  it.each([
    '41 79 302 67 27',
    `x${phone}`,
    `${phone}x`,
    '041793026727',
    '+041793026727',
    '4179',
    '4'.repeat(16),
  ])('does not go to the number "%s"', (to) => {
    const sentence = 'must be a phone number in international format, digits only';
    for (const plusInTo of ['accept', 'refuse'] as const) {
      behave({ plusInTo });
      expect(refusal(() => send(to)).violations).toEqual({ to: [sentence] });
    }
  });

  it.each([
    'ana',
    '@example.com',
    'ana@',
    'ana b@example.com',
    'ana@example.com b',
    'a@b@c',
    'ana@exa mple.com',
  ])('does not go to the address "%s"', (to) => {
    const { messageId } = emailTemplate();
    expect(refusal(() => send(to, { messageId }, 'email')).violations).toEqual({
      to: ['must be an e-mail address'],
    });
  });

  it('takes a number with a plus sign, unless told to be strict', () => {
    expect(send(`+${phone}`)).toMatchObject({ to: phone });
    behave({ plusInTo: 'refuse' });
    expect(refusal(() => send(`+${phone}`)).violations).toHaveProperty('to');
    expect(send(phone)).toMatchObject({ to: phone });
  });

  it('refuses a call in a language without a standard voice, unless the template names a voice', () => {
    configure({}, { language: 'hr' });
    const { pinId } = send();
    behave({ standardVoice: 'absent' });
    for (const call of [() => send(phone, {}, 'voice'), () => resend(pinId, {}, 'voice')]) {
      expect(refusal(call)).toMatchObject({
        status: 400,
        message: 'There is no standard voice for "hr".',
      });
    }
    expect(sent).toHaveLength(1);
    expect(send()).toMatchObject({ smsStatus: 'MESSAGE_SENT' });
    configure({}, { language: 'hr', voiceName: 'Vesna' });
    expect(send(phone, {}, 'voice')).toMatchObject({ callStatus: 'PENDING_ACCEPTED' });
  });

  it('refuses a text with an unfilled placeholder when told to', () => {
    configure({}, { messageText: '{{pin}} {{name}}' });
    const { messageId } = emailTemplate();
    behave({ missingPlaceholder: '400' });
    expect(send('ana@example.com', { messageId }, 'email')).toHaveProperty('emailStatus');
    expect(refusal(() => send()).violations).toEqual({ 'placeholders.name': ['must not be null'] });
    expect(send(phone, { placeholders: { name: 'Ana' } })).toMatchObject({ smsStatus: 'MESSAGE_SENT' });
  });
});

describe('a resend', () => {
  it('sends the same PIN under the same id, renewing neither time nor attempts', () => {
    configure({ pinTimeToLive: '10m' });
    const { pinId } = send();
    check(pinId, wrongPin());
    now += 9 * minute;
    expect(resend(pinId)).toEqual({
      pinId,
      to: phone,
      ncStatus: 'NC_DESTINATION_REACHABLE',
      smsStatus: 'MESSAGE_SENT',
    });
    expect(sent[1]).toMatchObject({ pin: sent[0]?.pin, pinId, resend: true });
    expect(check(pinId, wrongPin())).toMatchObject({ attemptsRemaining: 1 });
    now += minute;
    expect(check(pinId, lastPin())).toMatchObject({ pinError: 'TTL_EXPIRED' });
  });

  it.each([undefined, {}, null, { placeholders: { name: 'Ana' } }])('takes the body %j', (body) => {
    configure({}, { messageText: '{{pin}} {{name}}' });
    const { pinId } = send(phone, { placeholders: { name: 'Bob' } });
    if (body === null) expect(refusal(() => resend(pinId, body)).status).toBe(400);
    else resend(pinId, body);
    const name = body === undefined || body === null || !('placeholders' in body) ? '{{name}}' : 'Ana';
    if (body !== null) expect(sent[1]?.text).toBe(`${lastPin()} ${name}`);
  });

  it('keeps the sender and goes by another phone channel, but not by mail', () => {
    const { pinId } = send(phone, { from: 'Other' });
    expect(resend(pinId, {}, 'voice')).toEqual({ pinId, to: phone, callStatus: 'PENDING_ACCEPTED' });
    expect(sent[1]).toMatchObject({ channel: 'voice', from: 'Other', pin: sent[0]?.pin });
    expect(refusal(() => resend(pinId, {}, 'email')).status).toBe(400);
  });

  it('by mail goes to the address of the first mail', () => {
    const { messageId } = emailTemplate();
    const { pinId } = send('ana@example.com', { messageId }, 'email');
    expect(resend(pinId, { landingPagePlaceholders: { name: 'Ana' } }, 'email')).toMatchObject({
      pinId,
      to: 'ana@example.com',
    });
    expect(refusal(() => resend(pinId)).status).toBe(400);
    expect(refusal(() => resend(pinId, { landingPagePlaceholders: 'x' }, 'email')).violations).toHaveProperty(
      'landingPagePlaceholders',
    );
    // A field of the phone channels only: whatever it is, it is not looked at.
    expect(resend(pinId, { trackDelivery: 'yes' }, 'email')).not.toHaveProperty('externalMessageId');
    expect(sent).toHaveLength(3);
  });

  it('is not known for a PIN that is unknown or expired, and goes out for one that is settled', () => {
    configure({ pinTimeToLive: '10m' });
    expect(refusal(() => resend('NONE'))).toMatchObject({ status: 404, messageId: 'NOT_FOUND' });
    const { pinId } = send();
    check(pinId, lastPin());
    expect(resend(pinId)).toMatchObject({ smsStatus: 'MESSAGE_SENT' });
    now += 10 * minute;
    expect(refusal(() => resend(pinId)).status).toBe(404);
  });

  it('after a send that could not reach the phone is the first message', () => {
    behave({ ncStatus: 'NC_DESTINATION_NOT_REACHABLE' });
    const { pinId } = send();
    behave({ ncStatus: 'NC_DESTINATION_REACHABLE' });
    resend(pinId);
    expect(sent).toEqual([expect.objectContaining({ pinId, resend: false })]);
  });

  it('counts against the limits of sends, unless told not to', () => {
    configure({ sendPinPerPhoneNumberLimit: '2/1d' });
    const { pinId } = send();
    resend(pinId);
    expect(refusal(() => resend(pinId)).status).toBe(429);
    behave({ resendCounts: false });
    for (let count = 0; count < 5; count++) resend(pinId);
    expect(sent).toHaveLength(7);
  });

  it('may answer with a further id, or with one that replaces the first', () => {
    const { pinId } = send();
    behave({ resendPinId: 'alias' });
    const alias = resend(pinId).pinId;
    expect(alias).not.toBe(pinId);
    expect(sent[1]?.pinId).toBe(alias);
    expect(check(alias, wrongPin())).toMatchObject({ pinId: alias, attemptsRemaining: 2 });
    expect(check(pinId, wrongPin())).toMatchObject({ pinId, attemptsRemaining: 1 });
    behave({ resendPinId: 'new' });
    const replaced = resend(alias).pinId;
    expect(refusal(() => check(alias, lastPin())).status).toBe(404);
    expect(check(replaced, lastPin())).toMatchObject({ verified: true });
    expect(service.verifications(ids.applicationId, { msisdn: phone })).toMatchObject({
      verifications: [{ verified: true }],
    });
  });

  it('may renew the time to live and the attempts', () => {
    configure({ pinTimeToLive: '10m' });
    behave({ resendRenewsTimeToLive: true, resendRestoresAttempts: true });
    const { pinId } = send();
    check(pinId, wrongPin());
    now += 9 * minute;
    resend(pinId);
    now += 9 * minute;
    expect(check(pinId, wrongPin())).toMatchObject({ attemptsRemaining: 2 });
    expect(check(pinId, lastPin())).toMatchObject({ verified: true });
  });

  it('may treat expired and settled PINs the other way round', () => {
    configure({ pinTimeToLive: '10m' });
    behave({ resendExpired: 'send', resendSettled: '404' });
    const settled = send();
    check(settled.pinId, lastPin());
    expect(refusal(() => resend(settled.pinId)).status).toBe(404);
    const exhausted = send();
    for (let tries = 0; tries < 3; tries++) check(exhausted.pinId, wrongPin());
    expect(refusal(() => resend(exhausted.pinId)).status).toBe(404);
    const expired = send();
    now += 10 * minute;
    expect(resend(expired.pinId)).toMatchObject({ smsStatus: 'MESSAGE_SENT' });
  });
});

describe('what the documents leave open at a check', () => {
  it('is whether a verified PIN is good again where that is not allowed', () => {
    configure({ allowMultiplePinVerifications: false });
    const { pinId } = send();
    check(pinId, lastPin());
    expect(check(pinId, lastPin())).toMatchObject({
      verified: false,
      attemptsRemaining: 0,
      pinError: 'NO_MORE_PIN_ATTEMPTS',
    });
    behave({ repeatVerification: '404' });
    expect(refusal(() => check(pinId, lastPin()))).toMatchObject({ status: 404 });
    behave({ repeatVerification: 'accept' });
    expect(check(pinId, lastPin())).toMatchObject({ verified: true });
    expect(check(pinId, wrongPin())).toMatchObject({ verified: false });
  });

  it('is the error of the last attempt', () => {
    configure({ pinAttempts: 2 });
    behave({ lastAttemptError: 'NO_MORE_PIN_ATTEMPTS' });
    const { pinId } = send();
    expect(check(pinId, wrongPin())).toMatchObject({ attemptsRemaining: 1, pinError: 'WRONG_PIN' });
    expect(check(pinId, wrongPin())).toMatchObject({
      attemptsRemaining: 0,
      pinError: 'NO_MORE_PIN_ATTEMPTS',
    });
  });

  it('is what remains of the attempts of an expired PIN', () => {
    const { pinId } = send();
    check(pinId, wrongPin());
    now += 60 * minute;
    const remaining = () => JSON.parse(JSON.stringify(check(pinId, lastPin()))).attemptsRemaining;
    expect(remaining()).toBe(2);
    behave({ expiredAttempts: 'zero' });
    expect(remaining()).toBe(0);
    behave({ expiredAttempts: 'absent' });
    expect(remaining()).toBeUndefined();
  });

  it('is whether a check that came too soon uses an attempt', () => {
    configure({ verifyPinLimit: '1/3s' });
    behave({ limitedCheckUsesAttempt: true });
    const { pinId } = send();
    check(pinId, wrongPin());
    expect(refusal(() => check(pinId, wrongPin())).status).toBe(429);
    now += 3000;
    expect(check(pinId, wrongPin())).toMatchObject({ attemptsRemaining: 0 });
  });

  it('is the case of letters', () => {
    configure({}, { pinType: 'ALPHA', pinLength: 8 });
    const { pinId } = send();
    expect(check(pinId, lastPin().toLowerCase())).toMatchObject({ verified: false });
    behave({ caseSensitive: false });
    const last = lastPin().at(-1) === 'Z' ? 'y' : 'z';
    expect(check(pinId, lastPin().toLowerCase().slice(0, -1) + last)).toMatchObject({ verified: false });
    expect(check(pinId, lastPin().toLowerCase())).toMatchObject({ verified: true });
    behave({ pinCase: 'lower', caseSensitive: true });
    const lower = send();
    expect(lastPin()).toMatch(/^[a-z]{8}$/);
    expect(check(lower.pinId, lastPin().toUpperCase())).toMatchObject({ verified: false });
  });

  it('is whether a second send leaves the first PIN good', () => {
    behave({ secondSend: 'replaces' });
    const first = send();
    const stranger = send('41790000000');
    const other = { applicationId: 'OTHER', messageId: 'TEXT', to: phone };
    service.applications.addSetUp(other, { name: 'Other' }, { messageText: '{{pin}}', pinType: 'NUMERIC' });
    const elsewhere = service.sendPin('sms', other);
    const second = send();
    expect(refusal(() => check(first.pinId, sent[0]?.pin)).status).toBe(404);
    expect(check(stranger.pinId, sent[1]?.pin)).toMatchObject({ verified: true });
    expect(check(elsewhere.pinId, sent[2]?.pin)).toMatchObject({ verified: true });
    expect(check(second.pinId, sent[3]?.pin)).toMatchObject({ verified: true });
    expect(refusal(() => resend(first.pinId)).status).toBe(404);
  });

  it('leaves on record what a second send replaces, and replaces nothing when it was not sent', () => {
    behave({ secondSend: 'replaces' });
    check(send().pinId, lastPin());
    const second = send();
    behave({ ncStatus: 'NC_DESTINATION_NOT_REACHABLE' });
    expect(send()).toMatchObject({ smsStatus: 'MESSAGE_NOT_SENT' });
    expect(service.verifications(ids.applicationId, { msisdn: phone, sent: true })).toMatchObject({
      verifications: [{ verified: true }, { verified: false }],
    });
    expect(check(second.pinId, lastPin())).toMatchObject({ verified: true });
  });

  it('is whether attempts count for a PIN or for all of a number', () => {
    const first = send();
    check(first.pinId, 'x');
    expect(check(send().pinId, 'x')).toMatchObject({ attemptsRemaining: 2 });
    behave({ attemptsCount: 'number' });
    const second = send();
    expect(check(second.pinId, 'x')).toMatchObject({ attemptsRemaining: 2 });
    const third = send();
    const right = lastPin();
    expect(check(third.pinId, 'x')).toMatchObject({ attemptsRemaining: 1 });
    expect(check(send('41790000000').pinId, 'x')).toMatchObject({ attemptsRemaining: 2 });
    expect(check(second.pinId, 'x')).toMatchObject({ attemptsRemaining: 0 });
    expect(check(third.pinId, right)).toMatchObject({ verified: false, pinError: 'NO_MORE_PIN_ATTEMPTS' });
    service.clear();
    const fourth = send();
    check(fourth.pinId, 'x');
    expect(check(fourth.pinId, lastPin())).toMatchObject({ verified: true });
    expect(check(send().pinId, 'x')).toMatchObject({ attemptsRemaining: 2 });
  });

  it('is whether an application may allow no attempts', () => {
    expect(refusal(() => configure({ pinAttempts: 0 })).violations).toHaveProperty([
      'configuration.pinAttempts',
    ]);
    behave({ pinAttemptsLimited: false });
    configure({ pinAttempts: 0 });
    expect(check(send().pinId, lastPin())).toMatchObject({
      verified: false,
      pinError: 'NO_MORE_PIN_ATTEMPTS',
    });
  });

  it('is whether a resend remembers the values of placeholders', () => {
    configure({}, { messageText: '{{pin}} {{name}}' });
    const { pinId } = send(phone, { placeholders: { name: 'Ana' } });
    resend(pinId);
    expect(sent.at(-1)?.text).toBe(`${lastPin()} {{name}}`);
    behave({ resendPlaceholders: 'remembered', missingPlaceholder: '400' });
    expect(refusal(() => resend(pinId)).status).toBe(400);
    const another = send(phone, { placeholders: { name: 'Ana' } });
    resend(another.pinId);
    expect(sent.at(-1)?.text).toBe(`${lastPin()} Ana`);
    resend(another.pinId, { placeholders: { name: 'Iva' } });
    resend(another.pinId);
    expect(sent.at(-1)?.text).toBe(`${lastPin()} Iva`);
  });

  it('is the name of a mail’s status', () => {
    const { messageId } = service.applications.createEmailTemplate('APP', { emailTemplateId: 7 });
    behave({ emailStatus: 'REJECTED_DND' });
    expect(send('ana@example.com', { messageId }, 'email')).toMatchObject({
      emailStatus: { name: 'REJECTED_DND' },
    });
  });

  it('is how a used-up limit is told', () => {
    configure({ sendPinPerPhoneNumberLimit: '1/10s' });
    send();
    now += 4500;
    expect(refusal(() => send()).retryAfter).toBeUndefined();
    behave({ retryAfter: 7, limitMessageId: 'THROTTLE_EXCEPTION' });
    expect(refusal(() => send())).toMatchObject({
      status: 429,
      messageId: 'THROTTLE_EXCEPTION',
      retryAfter: 7,
    });
    behave({ retryAfter: 'window', limitStatus: 403 });
    expect(refusal(() => send())).toMatchObject({ status: 403, retryAfter: 6 });
  });

  it('is whether windows are fixed or slide', () => {
    configure({ sendPinPerPhoneNumberLimit: '2/10s' });
    behave({ window: 'sliding' });
    send();
    now += 9000;
    send();
    now += 1000;
    send();
    expect(refusal(() => send()).status).toBe(429);
    now += 9000;
    send();
    behave({ window: 'fixed' });
    now += 60_000;
    send();
    now += 9000;
    send();
    expect(refusal(() => send()).status).toBe(429);
    now += 1000;
    send();
    send();
  });

  it('is so for checks, too', () => {
    configure({ verifyPinLimit: '2/10s', pinAttempts: 100 });
    behave({ window: 'sliding' });
    const { pinId } = send();
    check(pinId, wrongPin());
    now += 9000;
    check(pinId, wrongPin());
    now += 1000;
    check(pinId, wrongPin());
    expect(refusal(() => check(pinId, lastPin())).status).toBe(429);
    behave({ window: 'fixed' });
    now += 60_000;
    check(pinId, wrongPin());
    now += 9000;
    check(pinId, wrongPin());
    expect(refusal(() => check(pinId, lastPin())).status).toBe(429);
    now += 1000;
    check(pinId, wrongPin());
    expect(check(pinId, lastPin())).toMatchObject({ verified: true });
  });
});

describe('what is held', () => {
  it('is counted, and forgotten when told to, with the set-up or without', () => {
    configure({
      sendPinPerPhoneNumberLimit: '1/1d',
      sendPinPerApplicationLimit: '2/1d',
      verifyPinLimit: '1/1d',
    });
    const { pinId } = send();
    send('41790000000');
    check(pinId, wrongPin());
    expect(service.held).toEqual({ pins: 2, windows: 3 });
    expect(refusal(() => send('41790000001')).status).toBe(429);
    expect(refusal(() => check(pinId, wrongPin())).status).toBe(429);
    service.clear();
    expect(service.held).toEqual({ pins: 0, windows: 0 });
    expect(refusal(() => check(pinId, lastPin())).status).toBe(404);
    check(send().pinId, wrongPin());
    send('41790000000');
    service.clear({ setUp: true });
    expect(refusal(() => send()).messageId).toBe('NOT_FOUND');
    expect(service.applications.list()).toEqual([]);
  });
});

describe('applications', () => {
  it('get the documented defaults for what they leave out', () => {
    expect(service.applications.create({ name: 'Mine' })).toEqual({
      applicationId: expect.stringMatching(/^[0-9A-F]{32}$/),
      name: 'Mine',
      configuration: {
        pinAttempts: 10,
        allowMultiplePinVerifications: true,
        pinTimeToLive: '15m',
        verifyPinLimit: '1/3s',
        sendPinPerApplicationLimit: '10000/1d',
        sendPinPerPhoneNumberLimit: '3/1d',
      },
      enabled: true,
    });
    expect(service.applications.list()).toHaveLength(2);
  });

  it('keep what an update leaves out, or take the default for it', () => {
    const update = { name: 'Renamed', configuration: { pinAttempts: 7 } };
    expect(service.applications.update(ids.applicationId, update)).toMatchObject({
      name: 'Renamed',
      configuration: { pinAttempts: 7, sendPinPerPhoneNumberLimit: '1000/1d' },
    });
    behave({ updateConfiguration: 'reset' });
    expect(service.applications.update(ids.applicationId, { name: 'Renamed' })).toMatchObject({
      configuration: { pinAttempts: 10, sendPinPerPhoneNumberLimit: '3/1d' },
    });
  });

  it.each([
    [{}, 'name'],
    [{ name: ' ' }, 'name'],
    [{ name: 5 }, 'name'],
    [{ name: 'x', enabled: 'yes' }, 'enabled'],
    [{ name: 'x', configuration: 'x' }, 'configuration'],
    [{ name: 'x', configuration: { pinAttempts: 0 } }, 'configuration.pinAttempts'],
    [{ name: 'x', configuration: { pinAttempts: 2.5 } }, 'configuration.pinAttempts'],
    [{ name: 'x', configuration: { pinAttempts: 2_147_483_648 } }, 'configuration.pinAttempts'],
    [
      { name: 'x', configuration: { allowMultiplePinVerifications: 1 } },
      'configuration.allowMultiplePinVerifications',
    ],
    [{ name: 'x', configuration: { pinTimeToLive: '15' } }, 'configuration.pinTimeToLive'],
    [{ name: 'x', configuration: { pinTimeToLive: '366d' } }, 'configuration.pinTimeToLive'],
    [{ name: 'x', configuration: { verifyPinLimit: '25/25h' } }, 'configuration.verifyPinLimit'],
    [
      { name: 'x', configuration: { sendPinPerApplicationLimit: '1d' } },
      'configuration.sendPinPerApplicationLimit',
    ],
    [
      { name: 'x', configuration: { sendPinPerPhoneNumberLimit: '3/366d' } },
      'configuration.sendPinPerPhoneNumberLimit',
    ],
  ])('refuse %j', (body, field) => {
    expect(Object.keys(refusal(() => service.applications.create(body)).violations ?? {})).toEqual([field]);
    expect(Object.keys(refusal(() => service.applications.update('APP', body)).violations ?? {})).toEqual([
      field,
    ]);
    expect(service.applications.list()).toHaveLength(1);
  });

  it('take limits up to a year, and checks up to a day', () => {
    const configuration = {
      pinTimeToLive: '365d',
      verifyPinLimit: '1/d',
      sendPinPerApplicationLimit: '1/365d',
    };
    expect(service.applications.create({ name: 'x', configuration })).toMatchObject({ configuration });
  });

  it('are not found under another id', () => {
    for (const act of [
      () => service.applications.get('NONE'),
      () => service.applications.update('NONE', { name: 'x' }),
      () => service.applications.listTemplates('NONE'),
      () => service.applications.createTextTemplate('NONE', {}),
      () => service.applications.createEmailTemplate('NONE', {}),
      () => service.applications.getTemplate('APP', 'NONE'),
      () => service.applications.updateTextTemplate('APP', 'NONE', {}),
      () => service.applications.updateEmailTemplate('APP', 'NONE', {}),
      () => service.verifications('NONE', { msisdn: phone }),
    ]) {
      expect(refusal(act)).toMatchObject({ status: 404, messageId: 'NOT_FOUND' });
    }
  });
});

describe('message templates', () => {
  const full = {
    messageText: 'Hello {{firstName}}, {{pin}}',
    pinLength: 4,
    pinType: 'ALPHANUMERIC',
    language: 'en',
    voiceName: 'Joanna',
    senderId: 'Harbour',
    repeatDTMF: '1#',
    speechRate: 1,
    regional: { indiaDlt: { principalEntityId: '1', contentTemplateId: '2', teleMarketerId: '3' } },
  };

  it('come back as they were written, with their placeholder only when written', () => {
    const created = service.applications.createTextTemplate('APP', full);
    const messageId = expect.stringMatching(/^[0-9A-F]{32}$/);
    expect(created).toEqual({ messageId, applicationId: 'APP', pinPlaceholder: '{{pin}}', ...full });
    const { pinPlaceholder, ...read } = created;
    expect(service.applications.listTemplates('APP')[1]).toEqual(read);
    behave({ pinPlaceholderInReads: true });
    expect(service.applications.listTemplates('APP')[1]).toEqual({ pinPlaceholder, ...read });
  });

  it('leave out what was never set', () => {
    const shown: unknown = JSON.parse(JSON.stringify(service.applications.getTemplate('APP', 'SMS')));
    expect(shown).toEqual({
      messageId: 'SMS',
      applicationId: 'APP',
      messageText: 'PIN {{pin}}',
      pinLength: 6,
      pinType: 'NUMERIC',
    });
  });

  it('keep what an update leaves out', () => {
    expect(service.applications.updateTextTemplate('APP', 'SMS', { senderId: 'Harbour' })).toMatchObject({
      messageText: 'PIN {{pin}}',
      pinLength: 6,
      senderId: 'Harbour',
    });
    service.applications.updateTextTemplate('APP', 'SMS', { pinType: 'HEX', pinLength: 8 });
    send();
    expect(sent.at(-1)).toMatchObject({ from: 'Harbour', pin: expect.stringMatching(/^[0-9A-F]{8}$/) });
  });

  it.each([
    [{ pinType: 'NUMERIC' }, 'messageText'],
    [{ messageText: '{{pin}}' }, 'pinType'],
    [{ ...full, messageText: 'no placeholder' }, 'messageText'],
    [{ ...full, messageText: '{{PIN}}' }, 'messageText'],
    [{ ...full, pinType: 'numeric' }, 'pinType'],
    [{ ...full, pinLength: 0 }, 'pinLength'],
    [{ ...full, pinLength: 9 }, 'pinLength'],
    [{ ...full, pinLength: '4' }, 'pinLength'],
    [{ ...full, language: 'pt-BR' }, 'language'],
    [{ ...full, speechRate: 0.4 }, 'speechRate'],
    [{ ...full, speechRate: 2.1 }, 'speechRate'],
    [{ ...full, senderId: 5 }, 'senderId'],
    [{ ...full, regional: { indiaDlt: {} } }, 'regional.indiaDlt.principalEntityId'],
    [
      { ...full, regional: { indiaDlt: { principalEntityId: 'x'.repeat(31) } } },
      'regional.indiaDlt.principalEntityId',
    ],
    [
      { ...full, regional: { indiaDlt: { principalEntityId: 'x', teleMarketerId: 'x'.repeat(256) } } },
      'regional.indiaDlt.teleMarketerId',
    ],
  ])('refuse %j', (body, field) => {
    expect(
      Object.keys(refusal(() => service.applications.createTextTemplate('APP', body)).violations ?? {}),
    ).toEqual([field]);
    expect(service.applications.listTemplates('APP')).toHaveLength(1);
  });

  it.each(['', '  ', 'no placeholder'])('are not changed to the text %j', (messageText) => {
    const update = () => service.applications.updateTextTemplate('APP', 'SMS', { messageText, pinLength: 5 });
    expect(Object.keys(refusal(update).violations ?? {})).toEqual(['messageText']);
    expect(service.applications.getTemplate('APP', 'SMS')).toMatchObject({
      messageText: 'PIN {{pin}}',
      pinLength: 6,
    });
  });

  it('take what the document sets no bounds to', () => {
    const regional = { indiaDlt: { principalEntityId: '' } };
    expect(service.applications.createTextTemplate('APP', { ...full, regional })).toMatchObject({ regional });
    expect(service.applications.createEmailTemplate('APP', { emailTemplateId: -1 })).toMatchObject({
      emailTemplateId: -1,
    });
  });

  it('take longer PINs when told to', () => {
    behave({ pinLengthLimited: false });
    expect(service.applications.createTextTemplate('APP', { ...full, pinLength: 12 })).toMatchObject({
      pinLength: 12,
    });
  });

  it('for mail have defaults for the PIN and are read with the others', () => {
    const created = service.applications.createEmailTemplate('APP', { emailTemplateId: 1234 });
    expect(created).toMatchObject({
      applicationId: 'APP',
      pinLength: 4,
      pinType: 'NUMERIC',
      emailTemplateId: 1234,
    });
    expect(created).not.toHaveProperty('pinPlaceholder');
    expect(service.applications.listTemplates('APP')).toHaveLength(2);
    const changes = {
      from: 'Jane Smith <jane@example.com>',
      landingPageId: '1_2',
      pinLength: 8,
      pinType: 'HEX',
    };
    expect(service.applications.updateEmailTemplate('APP', String(created.messageId), changes)).toMatchObject(
      {
        emailTemplateId: 1234,
        ...changes,
      },
    );
  });

  it.each([
    [{}, 'emailTemplateId'],
    [{ emailTemplateId: '1234' }, 'emailTemplateId'],
    [{ emailTemplateId: 1, from: 'Jane' }, 'from'],
    [{ emailTemplateId: 1, pinLength: 9 }, 'pinLength'],
    [{ emailTemplateId: 1, landingPageId: 5 }, 'landingPageId'],
  ])('for mail refuse %j', (body, field) => {
    expect(
      Object.keys(refusal(() => service.applications.createEmailTemplate('APP', body)).violations ?? {}),
    ).toEqual([field]);
  });

  it('are updated only as what they are', () => {
    const { messageId } = emailTemplate();
    expect(refusal(() => service.applications.updateTextTemplate('APP', messageId, {})).status).toBe(404);
    expect(refusal(() => service.applications.updateEmailTemplate('APP', 'SMS', {})).status).toBe(404);
  });
});

describe('the verification status', () => {
  const status = (query: object = {}) => {
    const { verifications } = JSON.parse(
      JSON.stringify(service.verifications('APP', { msisdn: phone, ...query })),
    );
    return verifications;
  };

  it('tells one item per PIN of a number', () => {
    const first = send();
    now += 5000;
    check(first.pinId, lastPin());
    send();
    send('41790000000');
    expect(status()).toEqual([
      { msisdn: phone, verified: true, verifiedAt: now, sentAt: now - 5000 },
      { msisdn: phone, verified: false, sentAt: now },
    ]);
    expect(status({ msisdn: `+${phone}` })).toHaveLength(2);
    expect(status({ verified: true })).toEqual([expect.objectContaining({ verified: true })]);
    expect(status({ verified: false })).toEqual([expect.objectContaining({ verified: false })]);
    expect(status({ sent: false })).toEqual([]);
    expect(status({ verified: false, sent: true })).toHaveLength(1);
    expect(refusal(() => service.verifications('APP', { msisdn: '' }))).toMatchObject({
      status: 400,
      message: 'The parameter msisdn must not be blank.',
    });
  });

  it('tells of one application only', () => {
    const other = { applicationId: 'OTHER', messageId: 'TEXT' };
    service.applications.addSetUp(other, { name: 'Other' }, { messageText: '{{pin}}', pinType: 'NUMERIC' });
    service.sendPin('sms', { ...other, to: phone });
    expect(status()).toEqual([]);
    expect(service.verifications('OTHER', { msisdn: phone }).verifications).toHaveLength(1);
  });

  it('counts in seconds when told to', () => {
    behave({ times: 's' });
    check(send().pinId, lastPin());
    expect(status()).toEqual([{ msisdn: phone, verified: true, verifiedAt: now / 1000, sentAt: now / 1000 }]);
  });
});

describe('behaviour', () => {
  it('refuses names and values that it does not know, in a sentence that tells them', () => {
    expect(() => readBehaviour({ repeatVerifications: '404' })).toThrow(
      /"repeatVerifications" is not known\. Known are .*repeatVerification,/,
    );
    expect(() => readBehaviour({ resendPinId: 'other' })).toThrow(
      'Simulator: the behaviour "resendPinId" is "other". Give "same" or "alias" or "new".',
    );
    expect(() => readBehaviour({ retryAfter: -1 })).toThrow('Give whole seconds, "window" or null.');
    expect(() => readBehaviour({ tokenSeconds: 0 })).toThrow('Give whole seconds, at least 1.');
    expect(() => readBehaviour({ ncStatus: '' })).toThrow('Give a non-empty string.');
  });

  it('lays changes over what was there', () => {
    const first = readBehaviour({ times: 's' });
    expect(readBehaviour({ window: 'sliding' }, first)).toMatchObject({
      times: 's',
      window: 'sliding',
      resendCounts: true,
    });
  });
});

function emailTemplate(): { messageId: string } {
  return {
    messageId: String(service.applications.createEmailTemplate('APP', { emailTemplateId: 7 }).messageId),
  };
}
