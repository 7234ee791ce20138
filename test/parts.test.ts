/** What the phases of a strategy share, asked directly. */

import { afterEach, describe, expect, it, vi } from 'vitest';
import type { Challenge } from '../lib/challenge.js';
import { SmsOtpError } from '../lib/errors.js';
import type { SmsOtpEvent } from '../lib/events.js';
import { parseOptions, type SmsOtpStrategyOptions } from '../lib/options.js';
import {
  createParts,
  fromService,
  isRefused,
  isServiceLimit,
  isSurelyUndone,
  isUnknownPin,
  nonsense,
  type Parts,
  retryAfter,
  serviceError,
} from '../lib/parts.js';
import type { Target } from '../lib/recipient.js';
import type { RequestLike } from '../lib/request.js';
import { fakeClient } from './support/host.js';

const PHONE = '+385911234567';
const BULLETS = '\u2022\u2022\u2022';

const target: Target = {
  phoneNumber: PHONE,
  email: 'ana@example.com',
  country: 'HR',
  subject: 'u1',
  maskedPhone: `${BULLETS} 67`,
  maskedEmail: `a${BULLETS}@example.com`,
  channels: ['sms'],
};

const request = (more: object = {}): RequestLike => ({ headers: {}, ip: '192.0.2.1', ...more });

function partsOf(changes: object = {}): Parts & { events: SmsOtpEvent[] } {
  const events: SmsOtpEvent[] = [];
  const options: object = {
    client: fakeClient(),
    applicationId: 'APP',
    messageId: 'MSG',
    countries: ['HR'],
    onEvent: (event: SmsOtpEvent) => events.push(event),
    ...changes,
  };
  return { ...createParts(parseOptions(options as SmsOtpStrategyOptions)), events };
}

afterEach(() => {
  vi.restoreAllMocks();
});

describe('an event', () => {
  it('says when it was, and of which strategy', () => {
    const { emit, events } = partsOf({ name: 'second' });
    const before = Date.now();
    emit({ type: 'configuration.warned', message: 'hello' });
    expect(events).toEqual([
      { type: 'configuration.warned', message: 'hello', strategy: 'second', at: expect.any(Number) },
    ]);
    expect(events[0]?.at).toBeGreaterThanOrEqual(before);
  });

  it('names the recipient by the address of its channel, masked and hashed', () => {
    const { fieldsOf, counters } = partsOf();
    const phone = {
      recipient: `${BULLETS} 67`,
      recipientHash: counters.hash(PHONE),
      country: 'HR',
      subject: 'u1',
    };
    expect(fieldsOf(target, 'sms')).toStrictEqual({ channel: 'sms', ...phone });
    expect(fieldsOf({ ...target, test: true }, 'voice')).toStrictEqual({
      channel: 'voice',
      ...phone,
      test: true,
    });
    expect(fieldsOf({ ...target, test: true }, 'email')).toStrictEqual({
      channel: 'email',
      recipient: `a${BULLETS}@example.com`,
      recipientHash: counters.hash('ana@example.com'),
      subject: 'u1',
    });
    const { country: _country, subject: _subject, ...bare } = target;
    expect(Object.keys(fieldsOf(bare, 'sms'))).toEqual(['channel', 'recipient', 'recipientHash']);
    expect(fieldsOf({ channels: [] }, 'sms')).toStrictEqual({});
  });

  it('costs nothing where nobody listens', () => {
    const { fieldsOf, emit } = partsOf({ onEvent: undefined });
    expect(fieldsOf(target, 'sms')).toStrictEqual({});
    expect(() => emit({ type: 'configuration.warned', message: 'hello' })).not.toThrow();
  });

  it.each([
    () => {
      throw new Error('audit log');
    },
    () => Promise.reject(new Error('audit log')),
  ])('that its listener fails on decides nothing', async (onEvent) => {
    const { emit } = partsOf({ onEvent });
    expect(() => emit({ type: 'configuration.warned', message: 'hello' })).not.toThrow();
    await new Promise((resolve) => setImmediate(resolve));
  });
});

describe('whose budgets a request counts against', () => {
  it('are those of recipient, subject, country and client', async () => {
    const { payerOf } = partsOf();
    const payer = {
      subject: 'u1',
      client: { family: 4, key: '192.0.2.1' },
      known: false,
      test: false,
    };
    const phone = { ...payer, recipient: PHONE, country: 'HR' };
    expect(await payerOf(request(), target, 'sms')).toStrictEqual(phone);
    expect(await payerOf(request(), { ...target, test: true }, 'voice')).toStrictEqual({
      ...phone,
      test: true,
    });
    expect(await payerOf(request(), target, 'email')).toStrictEqual({
      ...payer,
      recipient: 'ana@example.com',
      country: undefined,
    });
    expect(await payerOf(request(), { channels: [] }, 'sms')).toMatchObject({ recipient: '' });
  });

  it('has no client where no budget counts them', async () => {
    const none = partsOf({ budgets: { uncompletedPerClient: [], failedChecksPerClient: null } });
    expect(await none.payerOf(request({ ip: undefined }), target, 'sms')).toMatchObject({
      client: undefined,
    });
    for (const budgets of [{ uncompletedPerClient: null }, { failedChecksPerClient: [] }]) {
      const one = partsOf({ budgets });
      expect(await one.payerOf(request(), target, 'sms')).toMatchObject({ client: { family: 4 } });
    }
  });

  it('has the client that the host names', async () => {
    const { payerOf } = partsOf({ clientKey: ({ ip }: RequestLike) => `client ${ip}` });
    expect(await payerOf(request(), target, 'sms')).toMatchObject({
      client: { family: 4, key: 'client 192.0.2.1' },
    });
  });

  it.each<[unknown, () => unknown]>([
    ['', () => ''],
    [5, () => 5],
    ['nothing', () => undefined],
    ['later', async () => 'later'],
    ['never', () => Promise.reject(new Error('later'))],
  ])('stops the request where the host names the client %s', async (_key, clientKey) => {
    const { payerOf } = partsOf({ clientKey });
    await expect(payerOf(request(), target, 'sms')).rejects.toMatchObject({
      code: 'ERR_SMS_OTP_CONFIGURATION',
      message: "SmsOtpStrategy 'sms-otp': `clientKey` gave no client for a request.",
    });
  });

  it('stops a request that has no address', async () => {
    await expect(partsOf().payerOf(request({ ip: undefined }), target, 'sms')).rejects.toThrow(
      "SmsOtpStrategy 'sms-otp': a request has no address (`req.ip`) to count for: give the option `clientKey`.",
    );
  });

  it('stops a request whose visitor has hung up before there was an address', async () => {
    const gone = request({ ip: undefined, socket: { destroyed: true } });
    await expect(partsOf().payerOf(gone, target, 'sms')).rejects.toMatchObject({
      code: 'ERR_SMS_OTP_HOST',
      message: 'The visitor has hung up: there is no address to count for',
    });
  });

  it('warns once of a proxy that is not trusted, and counts no client', async () => {
    const warn = vi.spyOn(process, 'emitWarning').mockReturnValue();
    const { payerOf, events } = partsOf();
    const proxied = request({ ip: '10.0.0.1', headers: { 'x-forwarded-for': '203.0.113.5' } });
    expect(await payerOf(proxied, target, 'sms')).toMatchObject({ client: undefined });
    expect(await payerOf(proxied, target, 'sms')).toMatchObject({ client: undefined });
    const message = expect.stringMatching(/^SmsOtpStrategy 'sms-otp': .+ Set Express's `trust proxy`\.$/);
    expect(warn.mock.calls).toEqual([[message, { code: 'SMS_OTP_TRUST_PROXY' }]]);
    expect(events).toEqual([expect.objectContaining({ type: 'configuration.warned', message })]);
  });

  it('warns once of a form that nobody has read', () => {
    const warn = vi.spyOn(process, 'emitWarning').mockReturnValue();
    const { warnOfNoBody, events } = partsOf();
    warnOfNoBody(request({ body: {} }));
    expect(warn).not.toHaveBeenCalled();
    warnOfNoBody(request());
    warnOfNoBody(request());
    expect(warn.mock.calls).toEqual([
      [expect.stringContaining('express.urlencoded'), { code: 'SMS_OTP_NO_BODY' }],
    ]);
    expect(events).toMatchObject([{ type: 'configuration.warned' }]);
  });

  it('are a known browser’s own only where the host says true', async () => {
    const asked: unknown[] = [];
    const saying = (answer: unknown) =>
      partsOf({
        knownBrowser(_req: unknown, recipient: unknown) {
          asked.push(recipient);
          return answer;
        },
      });
    for (const [answer, known] of [
      [true, true],
      [Promise.resolve(true), true],
      ['yes', false],
      [1, false],
      [undefined, false],
    ]) {
      expect(await saying(answer).payerOf(request(), target, 'sms')).toMatchObject({ known });
    }
    expect(asked[0]).toStrictEqual({ phoneNumber: PHONE, email: 'ana@example.com', subject: 'u1' });
    await saying(true).payerOf(request(), { channels: [] }, 'sms');
    expect(asked.at(-1)).toStrictEqual({});
  });

  it('are those of the challenge where there is one, and the host is not asked again', async () => {
    const knownBrowser = vi.fn(() => true);
    const { payerOf } = partsOf({ knownBrowser });
    const challenge = { ...target, id: 'C', channel: 'sms' } as Challenge;
    expect(await payerOf(request(), challenge, 'sms')).toMatchObject({ known: false });
    expect(await payerOf(request(), { ...challenge, known: true }, 'sms')).toMatchObject({ known: true });
    expect(knownBrowser).not.toHaveBeenCalled();
  });

  it('stop the request where the host cannot tell', async () => {
    const { payerOf } = partsOf({ knownBrowser: () => Promise.reject('no') });
    await expect(payerOf(request(), target, 'sms')).rejects.toThrow('`knownBrowser`');
  });
});

describe('a refusal', () => {
  const turn = { req: request(), options: {} };
  const fields = { channel: 'sms', country: 'HR' } as const;

  it('of a budget names the budget and the wait', () => {
    const { tooMany, events } = partsOf();
    const refusal = {
      granted: false,
      budget: 'sendsPerNumber',
      retryAfterSeconds: 30,
      isCooldown: false,
    } as const;
    expect(tooMany(turn, { ...refusal }, fields)).toMatchObject({
      type: 'fail',
      status: 429,
      info: { code: 'too_many_requests', retryAfterSeconds: 30, budget: 'sendsPerNumber' },
    });
    expect(events).toEqual([
      expect.objectContaining({
        type: 'budget.refused',
        ...fields,
        budget: 'sendsPerNumber',
        retryAfterSeconds: 30,
        code: 'too_many_requests',
      }),
    ]);
  });

  it('of a country that was stopped is told apart', () => {
    const { tooMany, events } = partsOf();
    const stopped = { sends: 100, completed: 3 };
    const refusal = {
      granted: false,
      budget: 'countryCompletion',
      retryAfterSeconds: 30,
      isCooldown: false,
      stopped,
    } as const;
    tooMany(turn, { ...refusal }, fields);
    expect(events.map(({ type }) => type)).toEqual(['budget.refused', 'country.stopped']);
    expect(events[1]).toMatchObject({ ...fields, ...stopped });
    tooMany(turn, { ...refusal }, { channel: 'email' });
    expect(events.slice(2).map(({ type }) => type)).toEqual(['budget.refused']);
  });

  it('of the service names the service, and waits as long as it says or a minute', () => {
    const { serviceLimit } = partsOf();
    expect(serviceLimit(turn, { retryAfterSeconds: 7.2 })).toMatchObject({
      status: 429,
      info: { code: 'too_many_requests', retryAfterSeconds: 8, budget: 'service' },
    });
    expect(serviceLimit(turn, new Error('no wait'))).toMatchObject({ info: { retryAfterSeconds: 60 } });
  });
});

it('a refusal that visitors are not told of is told to the operator, once', () => {
  const warn = vi.spyOn(process, 'emitWarning').mockReturnValue();
  const { warnOfRefusals, events } = partsOf({ name: 'hidden' });
  warnOfRefusals({ status: 400 });
  warnOfRefusals({ code: 'ERR_OTHER' });
  const message =
    "SmsOtpStrategy 'hidden': the PIN service refused a send (status 400). Visitors are not told, since that would " +
    'tell who can receive a PIN. `npx passport-sms-otp doctor` looks for the reason.';
  expect(warn.mock.calls).toEqual([[message, { code: 'SMS_OTP_SEND_REFUSED' }]]);
  expect(events).toEqual([expect.objectContaining({ type: 'configuration.warned', message })]);
  partsOf().warnOfRefusals({ code: 'ERR_INFOBIP_BAD_REQUEST' });
  expect(warn.mock.lastCall?.[0]).toContain('(ERR_INFOBIP_BAD_REQUEST)');
});

it('a number that users type is counted without the user, too', async () => {
  for (const [subject, typed] of [
    [() => 'u1', ['granted', 'granted', false]],
    [undefined, ['granted', 'granted', 'granted']],
  ] as const) {
    const { counters, payerOf } = partsOf({
      budgets: { sendsPerNumber: [{ points: 2, duration: 3600 }] },
      ...(subject ? { subject } : { recipient: () => null, countries: undefined }),
    });
    const grants: unknown[] = [];
    for (const user of ['u1', 'u2', 'u3']) {
      const payer = await payerOf(request(), { ...target, subject: user }, 'sms');
      grants.push((await counters.takeSend(payer, { voice: false, fresh: true })).granted && 'granted');
    }
    expect(grants).toEqual(typed);
  }
});

it('the parts of a strategy keep their counters near their limits known', async () => {
  const { counters, payerOf, events } = partsOf({
    budgets: { sendsOverall: [{ points: 1, duration: 3600 }] },
  });
  await counters.takeSend(await payerOf(request(), target, 'sms'), { voice: false, fresh: true });
  expect(events).toContainEqual(
    expect.objectContaining({ type: 'budget.near', budget: 'sendsOverall', percent: 100 }),
  );
});

it('the pace of a strategy with decoys takes limits and forgotten PINs for no outage', async () => {
  const { pace } = partsOf({ canReceivePin: () => true });
  const fail = (error: unknown) => pace.real('check', () => Promise.reject(error)).catch(() => undefined);
  vi.spyOn(Math, 'random').mockReturnValue(0);
  const quick = async () => 'answer';
  for (const operation of ['check', 'send'] as const) await pace.real(operation, quick);
  await fail({ status: 429 });
  await fail({ status: 404 });
  await fail({ status: 400 });
  await expect(pace.decoy('check')).resolves.toBeUndefined();
  const down = new Error('down');
  await fail(down);
  await expect(pace.decoy('check')).rejects.toBe(down);
}, 20_000);

describe('what an error of the client means', () => {
  it.each([
    [{ code: 'ERR_INFOBIP_RATE_LIMITED' }, ['limit', 'undone']],
    [{ status: 429 }, ['limit', 'undone']],
    [{ code: 'ERR_INFOBIP_NOT_FOUND' }, ['unknown']],
    [{ status: 404 }, ['unknown']],
    [{ code: 'ERR_INFOBIP_BAD_REQUEST' }, ['refused']],
    [{ status: 400 }, ['refused']],
    [{ sent: false }, ['undone']],
    [{ sent: 'no' }, []],
    [{ code: 'ERR_OTHER', status: 500 }, []],
    [undefined, []],
  ])('%j', (thrown, meanings) => {
    const judges = {
      limit: isServiceLimit,
      unknown: isUnknownPin,
      refused: isRefused,
      undone: isSurelyUndone,
    };
    expect(Object.entries(judges).flatMap(([name, is]) => (is(thrown) ? [name] : []))).toEqual(meanings);
  });

  it.each([
    [{ retryAfterSeconds: 0 }, 1],
    [{ retryAfterSeconds: 1 }, 1],
    [{ retryAfterSeconds: 1.1 }, 2],
    [{ retryAfterSeconds: 90 }, 90],
    [{ retryAfterSeconds: -1 }, undefined],
    [{ retryAfterSeconds: '5' }, undefined],
    [{}, undefined],
    [undefined, undefined],
  ])('%j asks to wait %s seconds', (thrown, seconds) => {
    expect(retryAfter(thrown)).toBe(seconds);
  });

  it('is kept as the cause of the request’s own error', () => {
    const cause = new Error('socket');
    const error = serviceError('resend', cause);
    expect(error).toMatchObject({
      code: 'ERR_SMS_OTP_SERVICE',
      status: 503,
      message: 'The PIN service failed to resend a PIN',
    });
    expect(error.cause).toBe(cause);
    const own = new SmsOtpError('ERR_SMS_OTP_HOST', 'mine');
    expect(serviceError('send', own)).toBe(own);
    expect(nonsense('check')).toMatchObject({
      code: 'ERR_SMS_OTP_SERVICE',
      message: 'The PIN service answered nonsense when asked to check a PIN',
    });
  });
});

it('a client of the service that never answers ends in an error after five minutes', async () => {
  vi.useFakeTimers();
  const answer = fromService(new Promise<never>(() => {}));
  const ended = expect(answer).rejects.toThrow('no answer after 300000 ms');
  await vi.advanceTimersByTimeAsync(300_000);
  await ended;
  await expect(fromService(Promise.resolve('sent'))).resolves.toBe('sent');
  expect(vi.getTimerCount()).toBe(0);
  vi.useRealTimers();
});
