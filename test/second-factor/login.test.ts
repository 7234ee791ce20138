/** What is hooked into Passport's login and sign-out, with every step in the test's hand. */

import type { RequestLike } from 'passport-sms-otp';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { belongsTo, markAtLogin, signOut } from '../../lib/marks.js';

type Callback = (error?: unknown) => void;

const PROVEN = { at: 1, channel: 'sms' } as const;
const USER = { id: 'u1' };
const TIMEOUTS = { storeTimeoutMs: 40, verifyTimeoutMs: 100 };

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

/** A request whose login goes the steps of Passport's, each answered when the test says so. */
function begin(after: object = {}, before: object = {}, stored: unknown = 'u1') {
  const steps: Record<string, Callback> = {};
  const wait =
    (name: string) =>
    (callback: Callback): void => {
      steps[name] = callback;
    };
  const manager = {
    _serializeUser: (_user: object, _req: object, callback: Callback) => wait('serialize')(callback),
  };
  const made: Record<string, unknown> = { save: wait('save'), ...after };
  const req = {
    headers: {},
    user: USER,
    session: { regenerate: wait('regenerate'), ...before } as unknown,
    sessionID: 'ID',
    _sessionManager: manager,
    logIn(_user: object, _options: object, done: Callback) {
      const session = req.session as { regenerate(callback: Callback): void };
      session.regenerate((error) => {
        if (error) return done(error);
        req._sessionManager._serializeUser(USER, req, () => {
          Object.assign(req.session as object, { passport: { user: stored } });
          (req.session as { save(callback: Callback): void }).save(done);
        });
      });
    },
  };
  markAtLogin(req as unknown as RequestLike, 'sms-otp', USER, PROVEN, TIMEOUTS);
  const done = vi.fn();
  return {
    req,
    made,
    manager,
    done,
    logIn: () => req.logIn(USER, {}, done),
    /** Answers the step that is waited for. */
    answer(name: 'regenerate' | 'serialize' | 'save', error?: unknown) {
      if (name === 'regenerate' && !error && req.session) req.session = made;
      const step = steps[name];
      if (step === undefined) throw new Error(`nobody waits for ${name}`);
      step(error);
    },
  };
}

describe('a login', () => {
  it('has its mark in the session that is saved, and leaves no timer', () => {
    const { logIn, answer, done, made, manager, req } = begin();
    logIn();
    answer('regenerate');
    answer('serialize');
    // Who serializes afterwards has all the time in the world again.
    expect(req._sessionManager).toBe(manager);
    expect(made).toMatchObject({ smsOtp: { marks: { 'sms-otp': { ...PROVEN, user: 'u1' } } } });
    answer('save');
    expect(done.mock.calls).toEqual([[undefined]]);
    expect(vi.getTimerCount()).toBe(0);
    expect(made).not.toHaveProperty('returnTo');
    expect([req.sessionID, req.user]).toEqual(['ID', USER]);
  });

  it('fails where the serializer stores what no session can hold', () => {
    const { logIn, answer, done, made, req } = begin({}, {}, 1n);
    logIn();
    answer('regenerate');
    answer('serialize');
    expect(done).toHaveBeenCalledExactlyOnceWith(expect.any(TypeError));
    // Nothing is saved at the end of the request, either.
    expect(req.sessionID).toBeUndefined();
    expect(made).not.toHaveProperty('smsOtp');
    expect(vi.getTimerCount()).toBe(0);
  });

  it('ends where the serializer is silent, and is not heard of again', () => {
    const { logIn, answer, done, req } = begin();
    logIn();
    answer('regenerate');
    vi.advanceTimersByTime(99);
    expect(done).not.toHaveBeenCalled();
    vi.advanceTimersByTime(1);
    expect(done).toHaveBeenCalledExactlyOnceWith(
      expect.objectContaining({ message: "Passport's serializer has not answered after 100 ms" }),
    );
    expect([req.sessionID, req.user]).toEqual([undefined, null]);
    answer('serialize');
    expect(() => answer('save')).toThrow('nobody waits');
    vi.advanceTimersByTime(1000);
    expect(done).toHaveBeenCalledOnce();
  });

  it('takes the time that its store takes for itself, and not the serializer’s', () => {
    const { logIn, answer, done, req } = begin();
    logIn();
    vi.advanceTimersByTime(39);
    answer('regenerate');
    vi.advanceTimersByTime(99);
    answer('serialize');
    vi.advanceTimersByTime(39);
    answer('save');
    expect(done.mock.calls).toEqual([[undefined]]);
    expect([req.sessionID, req.user]).toEqual(['ID', USER]);
  });

  it.each(['regenerate', 'save'] as const)('ends once where the store is late at %s', (step) => {
    const { logIn, answer, done, req } = begin();
    logIn();
    if (step === 'save') {
      answer('regenerate');
      answer('serialize');
    }
    vi.advanceTimersByTime(40);
    expect(done).toHaveBeenCalledExactlyOnceWith(expect.objectContaining({ code: 'ERR_SMS_OTP_STORE' }));
    expect([req.session, req.sessionID]).toEqual([null, undefined]);
    answer(step);
    expect(done).toHaveBeenCalledOnce();
    // Passport has nobody to serialize for.
    if (step === 'regenerate') expect(() => answer('serialize')).toThrow('nobody waits');
  });

  it('lets out what the host throws', () => {
    const { logIn, answer, done } = begin();
    done.mockImplementationOnce(() => {
      throw new Error('the page failed');
    });
    logIn();
    answer('regenerate');
    answer('serialize');
    expect(() => answer('save')).toThrow('the page failed');
    expect(done).toHaveBeenCalledOnce();
  });

  it('leaves the session’s methods as they were', () => {
    const save = vi.fn((callback: Callback) => callback());
    const { logIn, answer, made } = begin();
    Object.defineProperty(made, 'save', {
      value: save,
      enumerable: false,
      configurable: true,
      writable: true,
    });
    const before = Object.getOwnPropertyDescriptor(made, 'save');
    logIn();
    answer('regenerate');
    // Neither a merge of sessions nor a hash sees it, and the host may have its own.
    expect(Object.keys(made)).toEqual([]);
    expect(Object.getOwnPropertyDescriptor(made, 'save')).toMatchObject({ writable: true });
    answer('serialize');
    expect(Object.getOwnPropertyDescriptor(made, 'save')).toEqual(before);
    expect(save).toHaveBeenCalledOnce();
  });

  it('keeps the way back, unless the new session has one', () => {
    for (const [after, expected] of [
      [{}, '/basket'],
      [{ returnTo: '/other' }, '/other'],
    ] as const) {
      const { logIn, answer, made } = begin(after, { returnTo: '/basket' });
      logIn();
      answer('regenerate');
      answer('serialize');
      expect(made).toHaveProperty('returnTo', expected);
    }
  });

  it('where there is nothing to hook into is Passport’s own', () => {
    const bare = { headers: {} };
    markAtLogin(bare, 'sms-otp', USER, PROVEN, TIMEOUTS);
    expect(bare).toEqual({ headers: {} });
    for (const session of [undefined, null, 'text', {}]) {
      const logIn = vi.fn();
      const req = { headers: {}, session, logIn };
      markAtLogin(req, 'sms-otp', USER, PROVEN, TIMEOUTS);
      req.logIn(USER, {}, () => undefined);
      expect(logIn).toHaveBeenCalledOnce();
      expect(req.session).toEqual(session);
    }
    // Without a callback it is Passport who says so.
    const logIn = vi.fn();
    const req = { headers: {}, session: {}, logIn };
    markAtLogin(req, 'sms-otp', USER, PROVEN, TIMEOUTS);
    req.logIn(USER);
    expect(logIn.mock.calls).toEqual([[USER]]);
  });
});

describe('a sign-out', () => {
  it('is none where there is no session, or no Passport', async () => {
    const logOut = vi.fn();
    for (const session of [undefined, null, 'text']) {
      await signOut({ headers: {}, session, logOut } as RequestLike, 100);
    }
    expect(logOut).not.toHaveBeenCalled();
    await signOut({ headers: {}, session: {} }, 100);
  });

  it.each(['save', 'regenerate'])(
    'does not go on where the session is gone by the answer of its %s',
    async (method) => {
      const later = vi.fn();
      let answer: Callback = () => undefined;
      const session = {
        [method]: (callback: Callback) => {
          answer = callback;
        },
      };
      const req = {
        headers: {},
        session: session as unknown,
        logOut: () => Reflect.apply(Reflect.get(session, method), session, [later]),
      };
      const done = expect(signOut(req, 100)).rejects.toMatchObject({ code: 'ERR_SMS_OTP_STORE' });
      req.session = null;
      answer();
      expect(later).not.toHaveBeenCalled();
      await vi.advanceTimersByTimeAsync(100);
      await done;
    },
  );
});

it('a mark of nobody’s belongs to nobody', () => {
  expect(belongsTo({}, undefined)).toBe(false);
  expect(belongsTo({ user: 'u1' }, '"u1"')).toBe(true);
});
