/** The guard alone, with requests as other frameworks make them: less of everything than Express has. */

import { type RequestLike, requireSmsOtp, SmsOtpRequiredError } from 'passport-sms-otp';
import { describe, expect, it, vi } from 'vitest';

const USER = 'user 1';

interface Session {
  passport?: unknown;
  smsOtp?: unknown;
  returnTo?: unknown;
}

function session(mark: object = {}): Session {
  const proven = { at: Date.now(), channel: 'sms', user: USER, ...mark };
  return { passport: { user: USER }, smsOtp: { marks: { 'sms-otp': proven } } };
}

/** What the guard does with a request: passes it on, or refuses by an error or the way to the PIN. */
function guarded(
  request: object,
  options: Parameters<typeof requireSmsOtp>[0] = {},
): { outcome: string; error?: unknown } {
  const user = { id: USER } as unknown as Express.User;
  const req: RequestLike = { method: 'GET', headers: {}, user, ...request };
  const ends: { outcome: string; error?: unknown }[] = [];
  const res = {
    redirect: (status: number, url: string) => ends.push({ outcome: `${status} ${url}` }),
  };
  requireSmsOtp(options)(req, res, (error?: unknown) => {
    ends.push(error === undefined ? { outcome: 'passes' } : { outcome: 'refuses', error });
  });
  const [end, ...more] = ends;
  if (end === undefined || more.length > 0) throw new Error(`The guard ended ${ends.length} times`);
  return end;
}

const page = { headers: { accept: 'text/html,*/*' } };
const toPin = { redirectTo: '/pin' };

describe('a mark', () => {
  it('lets the request of its user pass', () => {
    expect(guarded({ session: session() })).toEqual({ outcome: 'passes' });
  });

  it.each<[string, object]>([
    ['of a time that is a text', { at: String(Date.now()) }],
    ['without a time', { at: undefined }],
    ['from the future', { at: Date.now() + 60_000 }],
    ['of a time that is no number', { at: Number.NaN }],
    ['of a way that nobody knows', { channel: 'pigeon' }],
    ['of another user', { user: 'user 2' }],
    ['without a user', { user: undefined }],
  ])('%s lets nobody pass', (_what, mark) => {
    expect(guarded({ session: session(mark) }).outcome).toBe('refuses');
  });

  it.each<[string, unknown]>([
    ['no session', undefined],
    ['a session that is nothing', null],
    ['a session in which nobody is signed in', { ...session(), passport: undefined }],
    [
      'a session in which nobody is signed in, and a mark of nobody',
      { ...session({ user: undefined }), passport: {} },
    ],
    ['a session without notes', { ...session(), smsOtp: undefined }],
    ['a session whose notes are none', { ...session(), smsOtp: { marks: 'sms-otp' } }],
  ])('is not there in %s', (_what, kept) => {
    expect(guarded({ session: kept }).outcome).toBe('refuses');
  });

  it('is of no use without a user', () => {
    expect(guarded({ session: session(), user: undefined }).outcome).toBe('refuses');
  });

  it('is believed where the host has compared the user itself, and where Passport\u2019s serializer agrees', () => {
    const serializer = (stored: unknown, error: unknown = null) => ({
      _sessionManager: {
        _key: 'passport',
        _serializeUser: (_user: unknown, _req: unknown, done: (error: unknown, stored: unknown) => void) =>
          done(error, stored),
      },
    });
    expect(guarded({ session: session(), ...serializer(USER) }).outcome).toBe('passes');
    expect(guarded({ session: session(), ...serializer('user 2') }).outcome).toBe('refuses');
    expect(guarded({ session: session(), ...serializer(USER, new Error('no')) }).outcome).toBe('refuses');
  });
});

describe('a visitor who has not proved a PIN', () => {
  it('of a page is sent to it, and the way back is kept', () => {
    const kept = session({ channel: 'email' });
    const asked = { ...page, session: kept, url: '/pay?amount=7' };
    expect(guarded(asked, toPin).outcome).toBe('303 /pin');
    expect(kept.returnTo).toBe('/pay?amount=7');
  });

  it('comes back to where the router was asked, not to where it has come to', () => {
    const kept = session({ channel: 'email' });
    guarded({ ...page, session: kept, url: '/', originalUrl: '/shop/pay' }, toPin);
    expect(kept.returnTo).toBe('/shop/pay');
  });

  it.each([undefined, null, 'a text'])('is sent to it without a session, too: %s', (kept) => {
    expect(guarded({ ...page, session: kept, url: '/pay' }, toPin).outcome).toBe('303 /pin');
  });

  it('has no way back to an address of elsewhere, not even an empty one', () => {
    for (const url of ['http://evil.example/', '//evil.example', undefined, 7]) {
      const kept = session({ channel: 'email' });
      expect(guarded({ ...page, session: kept, url }, toPin).outcome).toBe('303 /pin');
      expect(Object.hasOwn(kept, 'returnTo')).toBe(false);
    }
  });

  it.each<[string, object]>([
    ['a request for JSON', { headers: { accept: 'application/json' } }],
    ['a request that says nothing of what it takes', { headers: {} }],
    ['a POST', { ...page, method: 'POST' }],
    ['a HEAD', { ...page, method: 'HEAD' }],
    ['a request whose framework says that it takes JSON', { ...page, accepts: () => 'json' }],
    ['a request whose framework says that it takes neither', { ...page, accepts: () => false }],
  ])('of %s is refused by an error', (_what, request) => {
    const { outcome, error } = guarded(
      { session: session({ channel: 'email' }), url: '/pay', ...request },
      toPin,
    );
    expect(outcome).toBe('refuses');
    expect(error).toBeInstanceOf(SmsOtpRequiredError);
    expect(error).toMatchObject({
      message: 'This needs a PIN that was proved a short while ago',
      name: 'sms-otp',
      status: 403,
      code: 'sms_otp_required',
    });
  });

  it('is asked what it takes in the words of its framework: a page before JSON', () => {
    const asked: unknown[] = [];
    const accepts = (types: unknown) => {
      asked.push(types);
      return 'html';
    };
    const request = { session: session({ channel: 'email' }), url: '/pay', accepts };
    expect(guarded(request, toPin).outcome).toBe('303 /pin');
    expect(asked).toEqual([['html', 'json']]);
  });
});

describe('an option of the guard', () => {
  it.each<[string, object, string]>([
    [
      'that it does not have',
      { maxAge: 5 },
      "there is no option 'maxAge'. Known options: name, maxAgeSeconds, channels, redirectTo.",
    ],
    ['name, when it is empty', { name: '' }, 'the option `name` must be the name of a strategy.'],
    ['name, when it is no text', { name: 7 }, 'the option `name` must be the name of a strategy.'],
    [
      'channels, when one of several is none',
      { channels: ['sms', 'fax'] },
      "the option `channels` must be a list of 'sms', 'voice' and 'email'.",
    ],
    [
      'channels, when it is a text',
      { channels: 'sms' },
      "the option `channels` must be a list of 'sms', 'voice' and 'email'.",
    ],
    [
      'channels, when it is empty',
      { channels: [] },
      "the option `channels` must be a list of 'sms', 'voice' and 'email'.",
    ],
    ['redirectTo, when it is no text', { redirectTo: 7 }, 'the option `redirectTo` must be an address.'],
    ['redirectTo, when it is empty', { redirectTo: '' }, 'the option `redirectTo` must be an address.'],
    [
      'maxAgeSeconds, when it is endless',
      { maxAgeSeconds: Number.POSITIVE_INFINITY },
      'the option `maxAgeSeconds` must be a number of seconds above 0.',
    ],
  ])('%s, stops the start', (_what, options, sentence) => {
    expect(() => requireSmsOtp(options)).toThrow(new TypeError(`requireSmsOtp: ${sentence}`));
  });

  it.each(['sms', 'voice', 'email'] as const)('takes the channel %s', (channel) => {
    expect(guarded({ session: session({ channel }) }, { channels: [channel] }).outcome).toBe('passes');
    const other = channel === 'sms' ? 'voice' : 'sms';
    expect(guarded({ session: session({ channel }) }, { channels: [other] }).outcome).toBe('refuses');
  });
});

/** The guard with a serializer that takes its time: what it says to `next`, and the way to answer it. */
function withSlowSerializer() {
  const next = vi.fn();
  let done: (error: null, user: string) => void = () => undefined;
  const _serializeUser = (_user: unknown, _req: unknown, callback: typeof done): void => {
    done = callback;
  };
  const user = { id: USER } as unknown as Express.User;
  const request = {
    method: 'GET',
    headers: {},
    user,
    session: session(),
    _sessionManager: { _serializeUser },
  };
  requireSmsOtp()(request, { redirect: vi.fn() }, next);
  return { next, answer: () => done(null, USER) };
}

it('a serializer that never answers ends in an error after its time', () => {
  vi.useFakeTimers();
  const { next } = withSlowSerializer();
  vi.advanceTimersByTime(29_999);
  expect(next).not.toHaveBeenCalled();
  vi.advanceTimersByTime(1);
  expect(next).toHaveBeenCalledExactlyOnceWith(
    expect.objectContaining({ code: 'ERR_SMS_OTP_HOST', status: 500 }),
  );
  vi.useRealTimers();
});

it('a serializer that answers after its time is not heard, and one in time is', () => {
  vi.useFakeTimers();
  for (const [ms, calls] of [
    [30_001, [[expect.objectContaining({ code: 'ERR_SMS_OTP_HOST' })]]],
    [29_000, [[]]],
  ] as const) {
    const { next, answer } = withSlowSerializer();
    vi.advanceTimersByTime(ms);
    answer();
    vi.advanceTimersByTime(60_000);
    expect(next.mock.calls).toEqual(calls);
  }
  vi.useRealTimers();
});

it('a request whose framework cannot redirect, or has no session, ends in an error or goes on', () => {
  const thrown = new Error('the answer has begun');
  const next = vi.fn();
  const request = { method: 'GET', ...page };
  const broken = {
    redirect() {
      throw thrown;
    },
  };
  requireSmsOtp(toPin)(request, broken, next);
  expect(next.mock.calls).toEqual([[thrown]]);
  // One whose session was taken off, though its store is there, is not asked about.
  const get = vi.fn();
  const gone = { ...page, session: null, sessionID: 'ID', sessionStore: { get } };
  expect(guarded({ ...gone, headers: { ...page.headers, cookie: 'sid=ID' } }, toPin).outcome).toBe(
    '303 /pin',
  );
  expect(get).not.toHaveBeenCalled();
});

it('a serializer that answers at once leaves no timer behind', () => {
  vi.useFakeTimers();
  for (const user of [{ id: USER }, undefined]) guarded({ session: session(), user });
  expect(vi.getTimerCount()).toBe(0);
  vi.useRealTimers();
});
