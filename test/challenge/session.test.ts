/** Challenges in a session, whatever session it is: kept, read with suspicion, and taken away without a trace. */

import { type Challenge, openChallenge } from 'passport-sms-otp';
import { describe, expect, it, vi } from 'vitest';
import { maskedRecipient, sessionChallenges } from '../../lib/challenge.js';
import { createChallenges } from '../../lib/challenges.js';
import { SessionEnded, SmsOtpError } from '../../lib/errors.js';
import { dropNotes, ownEntry, requireServerSession, setNote, settle } from '../../lib/session.js';

const CHALLENGE: Challenge = {
  kind: 'typed',
  id: 'ID',
  pinId: 'PIN-ID',
  channel: 'sms',
  phoneNumber: '+385911234567',
  maskedPhone: '+385 \u2022\u2022\u2022 67',
  channels: ['sms'],
  expiresAt: Date.now() + 600_000,
  cooldownUntil: Date.now() + 30_000,
  resendAt: Date.now() + 30_000,
  attempts: 5,
  attemptsUsed: 2,
  begunAt: Date.now(),
  sentAt: Date.now(),
};

type Callback = (error?: unknown) => void;

/** A session of express-session's kind. */
function createSession(more: object = {}) {
  const saved: string[] = [];
  const session = {
    save: (done: Callback) => {
      saved.push(JSON.stringify(session));
      done();
    },
    regenerate: (done: Callback) => done(),
    ...more,
  };
  return { session, saved, req: { headers: {}, session, sessionStore: {} } };
}

const stored = (session: object) => JSON.parse(JSON.stringify(session));

describe('a note in a session', () => {
  it('stands under its kind and name, beside others', () => {
    const session = { basket: 1 };
    setNote(session, 'marks', 'sms-otp', 'a mark');
    setNote(session, 'challenges', 'sms-otp', 'a challenge');
    setNote(session, 'challenges', 'other', 'another');
    expect(session).toEqual({
      basket: 1,
      smsOtp: { marks: { 'sms-otp': 'a mark' }, challenges: { 'sms-otp': 'a challenge', other: 'another' } },
    });
  });

  it('is replaced by a new one, and can be changed and taken away like any other property', () => {
    const session: Record<string, unknown> = {};
    setNote(session, 'marks', 'sms-otp', 1);
    setNote(session, 'marks', 'sms-otp', 2);
    const marks = Object(ownEntry(session.smsOtp, 'marks'));
    marks['sms-otp'] = 3;
    expect(session).toEqual({ smsOtp: { marks: { 'sms-otp': 3 } } });
    expect(Reflect.deleteProperty(marks, 'sms-otp')).toBe(true);
  });

  it('that is taken away leaves no empty holder behind', () => {
    const session = {};
    setNote(session, 'marks', 'sms-otp', 1);
    setNote(session, 'challenges', 'sms-otp', 1);
    setNote(session, 'challenges', 'sms-otp', undefined);
    expect(session).toEqual({ smsOtp: { marks: { 'sms-otp': 1 } } });
    setNote(session, 'marks', 'sms-otp', undefined);
    expect(Object.keys(session)).toEqual([]);
  });

  it.each(['__proto__', 'constructor', 'toString'])('may be called %s', (name) => {
    const session = {};
    setNote(session, 'marks', name, { evil: true });
    expect(Object.keys(Object(ownEntry(ownEntry(session, 'smsOtp'), 'marks')))).toEqual([name]);
    expect(Reflect.get({}, 'evil')).toBeUndefined();
  });

  it.each([null, 7, 'text', true])('takes the place of %j, which no holder can be', (nonsense) => {
    const session = { smsOtp: nonsense };
    setNote(session, 'marks', 'sms-otp', 1);
    expect(session).toEqual({ smsOtp: { marks: { 'sms-otp': 1 } } });
    const inside = { smsOtp: { marks: nonsense } };
    setNote(inside, 'marks', 'sms-otp', 1);
    expect(inside).toEqual({ smsOtp: { marks: { 'sms-otp': 1 } } });
  });

  it('goes with all of its kind, and no other', () => {
    const session = { smsOtp: { marks: { a: 1, b: 2 }, challenges: { a: 1 } } };
    dropNotes(session, 'marks');
    expect(session).toEqual({ smsOtp: { challenges: { a: 1 } } });
    for (const nonsense of [undefined, null, 'text', 7]) {
      const other = { smsOtp: nonsense };
      dropNotes(other, 'marks');
      expect(other).toEqual({ smsOtp: nonsense });
    }
  });

  it('is read only where it is the session’s own', () => {
    expect(ownEntry({ a: 1 }, 'a')).toBe(1);
    for (const holder of [Object.create({ a: 1 }), null, undefined, 'text', () => 1]) {
      expect(ownEntry(holder, 'a')).toBeUndefined();
    }
    expect(ownEntry('text', 'length')).toBeUndefined();
  });
});

describe('a session', () => {
  it.each<[what: string, req: object]>([
    ['nothing', {}],
    ['null', { session: null, sessionStore: {} }],
    ['one that cannot be saved', { session: { regenerate() {} }, sessionStore: {} }],
    ['one that cannot be renewed', { session: { save() {} }, sessionStore: {} }],
    ['one in a cookie, without a store', { session: { save() {}, regenerate() {} } }],
  ])('that is %s can keep no secret', (_what, req) => {
    expect(() => requireServerSession({ headers: {}, ...req })).toThrow(
      /^SmsOtpStrategy keeps its challenges in the session, on the server\. Did you forget to use express-session/,
    );
  });

  it('may answer with a callback or a promise', async () => {
    await settle((done) => done());
    await settle((done) => done(null));
    await settle(() => Promise.resolve('done'));
    await expect(settle((done) => done(new Error('by callback')))).rejects.toThrow('by callback');
    await expect(settle(() => Promise.reject(new Error('by promise')))).rejects.toThrow('by promise');
  });
});

describe('a challenge in the session', () => {
  it('is saved before it counts as kept, and before it counts as gone', async () => {
    const { session, saved, req } = createSession();
    await sessionChallenges.set(req, 'sms-otp', CHALLENGE);
    expect(JSON.parse(saved[0] ?? '')).toEqual({ smsOtp: { challenges: { 'sms-otp': CHALLENGE } } });
    expect(await sessionChallenges.get(req, 'sms-otp')).toEqual(CHALLENGE);
    await sessionChallenges.remove(req, 'sms-otp');
    expect(saved).toHaveLength(2);
    expect(saved[1]).toBe('{}');
    expect(stored(session)).toEqual({});
  });

  const one = Object.entries(CHALLENGE);
  const required = [
    'id',
    'kind',
    'pinId',
    'channel',
    'channels',
    'begunAt',
    'sentAt',
    'expiresAt',
    'cooldownUntil',
    'resendAt',
    'attempts',
    'attemptsUsed',
  ];

  it.each(required)('is none without %s, nor with nonsense there', async (name) => {
    for (const nonsense of [undefined, null, {}, Number.NaN, name === 'id' ? 7 : Number.POSITIVE_INFINITY]) {
      const entries = one.map(([key, value]) => [key, key === name ? nonsense : value]);
      const { req } = createSession({ smsOtp: { challenges: { 'sms-otp': Object.fromEntries(entries) } } });
      const challenges = createChallenges(sessionChallenges, 'sms-otp', 1000);
      expect(await challenges.get(req)).toBeUndefined();
      expect(await openChallenge(req)).toBeNull();
    }
  });

  it.each(['phoneNumber', 'email', 'subject', 'country', 'maskedPhone', 'maskedEmail', 'signedInAs'])(
    'is none with nonsense for %s',
    async (name) => {
      for (const nonsense of [null, 7, {}, ['+385911234567']]) {
        const smsOtp = { challenges: { 'sms-otp': { ...CHALLENGE, [name]: nonsense } } };
        const { req } = createSession({ smsOtp });
        expect(await createChallenges(sessionChallenges, 'sms-otp', 1000).get(req)).toBeUndefined();
      }
    },
  );

  it('is one without what not every recipient has', async () => {
    const least = Object.fromEntries(one.filter(([key]) => required.includes(key)));
    const { req } = createSession({ smsOtp: { challenges: { 'sms-otp': least } } });
    expect(await createChallenges(sessionChallenges, 'sms-otp', 1000).get(req)).toEqual(least);
    expect(await openChallenge(req)).toMatchObject({ to: '', attemptsRemaining: 3 });
  });

  it('is shown with the recipient of its channel, masked', () => {
    const both = { maskedPhone: 'a number', maskedEmail: 'an address' };
    expect(maskedRecipient({ channel: 'email', ...both })).toBe('an address');
    expect(maskedRecipient({ channel: 'sms', ...both })).toBe('a number');
    expect(maskedRecipient({ channel: 'voice', ...both })).toBe('a number');
    expect(maskedRecipient({ channel: 'email', maskedPhone: 'a number' })).toBe('');
  });
});

describe('the challenges of a strategy', () => {
  it('in the session are forgotten without a save of their own', async () => {
    const { saved, req, session } = createSession();
    const challenges = createChallenges(sessionChallenges, 'sms-otp', 1000);
    await challenges.set(req, CHALLENGE);
    await challenges.forget(req, CHALLENGE.id);
    expect(saved).toHaveLength(1);
    expect(stored(session)).toEqual({});
  });

  it('stay as they were in a session that is of this request alone, or that cannot be read again', async () => {
    const challenges = createChallenges(sessionChallenges, 'sms-otp', 1000);
    const get = vi.fn();
    for (const sessionStore of [{}, { get: 'nothing' }, { get }]) {
      const { req, session } = createSession({ note: 'mine' });
      await challenges.refresh(Object.assign(req, { sessionStore }));
      expect(session).toMatchObject({ note: 'mine' });
    }
    expect(get).not.toHaveBeenCalled();
  });

  it('in the session are changed and taken away where they are still the same, and never brought back', async () => {
    const { req, session } = createSession();
    const challenges = createChallenges(sessionChallenges, 'sms-otp', 1000);
    const change = vi.fn((now: Challenge) => ({ ...now, attemptsUsed: now.attemptsUsed + 1 }));
    expect(await challenges.update(req, CHALLENGE.id, change)).toBe(false);
    expect(stored(session)).toEqual({});
    await challenges.set(req, { ...CHALLENGE, id: 'another' });
    expect(await challenges.update(req, CHALLENGE.id, change)).toBe(false);
    expect(change).not.toHaveBeenCalled();
    expect(await challenges.get(req)).toMatchObject({ id: 'another', attemptsUsed: 2 });
    expect(await challenges.update(req, 'another', change)).toBe(true);
    expect(await challenges.get(req)).toMatchObject({ id: 'another', attemptsUsed: 3 });
    expect(await challenges.update(req, 'another', () => undefined)).toBe(true);
    expect(stored(session)).toEqual({});
  });

  it('elsewhere, too, are not brought back', async () => {
    const set = vi.fn();
    const store = { get: async () => undefined, set, remove: set };
    const challenges = createChallenges(store, 'elsewhere', 1000);
    const { req } = createSession();
    expect(await challenges.update(req, CHALLENGE.id, (now) => now)).toBe(false);
    expect(set).not.toHaveBeenCalled();
  });

  it('elsewhere leave the session alone', async () => {
    const kept: unknown[] = [];
    const store = {
      get: async () => CHALLENGE,
      set: async (...args: unknown[]) => void kept.push(['set', ...args]),
      remove: async (...args: unknown[]) => void kept.push(['remove', ...args]),
    };
    const challenges = createChallenges(store, 'elsewhere', 1000);
    const { req, saved } = createSession();
    const sessionStore = { get: vi.fn() };
    Object.assign(req, { sessionStore, sessionID: 'ID', headers: { cookie: 'sid=ID' } });
    await challenges.begin({ headers: {} });
    await challenges.ensureWritable({ headers: {} });
    await challenges.refresh(req);
    await challenges.set(req, CHALLENGE);
    await challenges.forget(req, CHALLENGE.id);
    expect(await challenges.update(req, CHALLENGE.id, () => undefined)).toBe(true);
    expect(await challenges.update(req, 'another', () => undefined)).toBe(false);
    expect(await challenges.get(req)).toEqual(CHALLENGE);
    expect(kept).toEqual([
      ['set', req, 'elsewhere', CHALLENGE],
      ['remove', req, 'elsewhere'],
      ['remove', req, 'elsewhere'],
    ]);
    expect(saved).toEqual([]);
    expect(sessionStore.get).not.toHaveBeenCalled();
  });

  it('are those of one kind of strategy, where a kind is given', async () => {
    const { req } = createSession();
    await createChallenges(sessionChallenges, 'sms-otp', 1000).set(req, CHALLENGE);
    const kinds = ['typed', 'second', undefined].map((kind) =>
      createChallenges(sessionChallenges, 'sms-otp', 1000, kind as never).get(req),
    );
    expect(await Promise.all(kinds)).toEqual([CHALLENGE, undefined, CHALLENGE]);
  });

  it('elsewhere may be read without a promise, and are down when they say nothing in time', async () => {
    const now = { get: () => CHALLENGE, set() {}, remove() {} } as never;
    const { req } = createSession();
    expect(await createChallenges(now, 'elsewhere', 1000).get(req)).toEqual(CHALLENGE);
    const silent = { get: () => new Promise(() => {}), set() {}, remove() {} } as never;
    await expect(createChallenges(silent, 'elsewhere', 20).get(req)).rejects.toMatchObject({
      code: 'ERR_SMS_OTP_STORE',
    });
  });
});

describe('a session that the browser came with', () => {
  /** A request with the session's id in its cookie, and a store that answers as told. */
  function known(get?: (id: unknown, answer: (error: unknown, session?: unknown) => void) => void) {
    const { session, saved, req } = createSession();
    const headers = { cookie: 'sid=s%3Aan-id.signature' };
    return { saved, req: { ...req, session, headers, sessionID: 'an-id', sessionStore: get ? { get } : {} } };
  }
  const challenges = createChallenges(sessionChallenges, 'sms-otp', 1000);

  it('is renewed before it is written, as express-session does it', async () => {
    const { req, saved } = known((_id, answer) => answer(null, {}));
    Object.assign(req.session, {
      touch(this: object) {
        Object.assign(this, { until: 'later' });
      },
    });
    await challenges.ensureWritable(req);
    expect(JSON.parse(saved[0] ?? '')).toEqual({ until: 'later' });
  });

  it('that has ended by the time it is saved is an error, and no success', async () => {
    const { req } = known((_id, answer) => answer(null, {}));
    const sessionStore = { ...req.sessionStore, destroy: (_id: string) => undefined };
    const asked = { ...req, sessionStore };
    await challenges.begin(asked);
    Object.assign(req.session, {
      save(done: Callback) {
        sessionStore.destroy('an-id');
        done();
      },
    });
    await expect(challenges.ensureWritable(asked)).rejects.toBeInstanceOf(SessionEnded);
  });

  it('keeps what the host writes to it while it is being saved', async () => {
    const store: { kept: object } = { kept: { changed: 1, deleted: 1 } };
    const { req } = known((_id, answer) => answer(null, store.kept));
    Object.assign(req.session, store.kept, {
      save(this: object, done: Callback) {
        store.kept = JSON.parse(JSON.stringify(this));
        Object.assign(this, { changed: 2, added: 1 });
        Reflect.deleteProperty(this, 'deleted');
        done();
      },
    });
    await challenges.begin(req);
    await challenges.ensureWritable(req);
    await challenges.refresh(req);
    expect(req.session).toMatchObject({ changed: 2, added: 1 });
    expect(req.session).not.toHaveProperty('deleted');
  });

  it('does not get a used challenge back, but the one that is open by now', async () => {
    let stored: object = { smsOtp: { challenges: { 'sms-otp': CHALLENGE } } };
    const { req } = known((_id, answer) => answer(null, JSON.parse(JSON.stringify(stored))));
    await challenges.begin(req);
    await challenges.forget(req, CHALLENGE.id);
    expect(await challenges.get(req)).toBeUndefined();
    await challenges.catchUp(req);
    expect(await challenges.get(req)).toBeUndefined();
    const next = { ...CHALLENGE, id: 'next' };
    stored = { smsOtp: { challenges: { 'sms-otp': next } } };
    await challenges.catchUp(req);
    expect(await challenges.get(req)).toEqual(next);
    await challenges.forget(req, CHALLENGE.id);
    expect(await challenges.get(req)).toEqual(next);
  });

  it('ends in an error where its store answers with a promise, and breaks it', async () => {
    const { req } = known(() => Promise.reject(new Error('down')) as never);
    await expect(challenges.begin(req)).rejects.toMatchObject({ code: 'ERR_SMS_OTP_STORE' });
  });

  it('is written while its store has it', async () => {
    const asked: unknown[] = [];
    const { req, saved } = known((id, answer) => {
      asked.push(id);
      answer(null, {});
    });
    await challenges.set(req, CHALLENGE);
    expect(asked).toEqual(['an-id']);
    expect(saved).toHaveLength(1);
  });

  it.each([
    ['has it no more', null, undefined],
    ['has it no more, in files', Object.assign(new Error('no such file'), { code: 'ENOENT' }), undefined],
  ])('is not written, nor made one without a challenge, when its store %s', async (_what, error, found) => {
    for (const act of [
      (req: object) => challenges.set(req as never, CHALLENGE),
      (req: object) => challenges.update(req as never, CHALLENGE.id, () => undefined),
      (req: object) => challenges.forget(req as never, CHALLENGE.id),
      (req: object) => challenges.ensureWritable(req as never),
    ]) {
      const { req, saved } = known((_id, answer) => answer(error, found));
      await expect(act(req)).rejects.toThrow('The session was ended while the request was under way');
      await expect(act(req)).rejects.toBeInstanceOf(SessionEnded);
      expect(saved).toEqual([]);
    }
  });

  it('is read again in its place: with what another request has put there, and without what it took away', async () => {
    let stored: object = { cookie: { path: '/' }, note: 'mine', gone: true };
    const { req } = known((_id, answer) => answer(null, stored));
    const { session } = req;
    const cookie = { path: '/' };
    Object.assign(session, { cookie, note: 'mine', gone: true });
    await challenges.begin(req);
    stored = {
      cookie: { path: '/elsewhere' },
      note: 'theirs',
      smsOtp: { challenges: { 'sms-otp': CHALLENGE } },
      ...JSON.parse('{"__proto__":{"admin":true}}'),
    };
    await challenges.refresh(req);
    expect(req.session).toBe(session);
    expect(session).toMatchObject({ note: 'theirs', save: expect.any(Function) });
    expect(Reflect.get(session, 'cookie')).toBe(cookie);
    // What came is the session's own like any other property.
    Object.assign(session, { note: 'changed' });
    expect(session).not.toHaveProperty('gone');
    expect(Reflect.get(session, 'admin')).toBeUndefined();
    expect(await challenges.get(req)).toEqual(CHALLENGE);
  });

  it.each([
    ['has ended', null, undefined, SessionEnded],
    ['has a store that is down', new Error('down'), undefined, SmsOtpError],
  ])('is not taken for what it was when it %s', async (_what, error, found, thrown) => {
    const { req } = known((_id, answer) => answer(error, found));
    await expect(challenges.refresh(req)).rejects.toBeInstanceOf(thrown);
    await expect(challenges.begin(req)).rejects.toBeInstanceOf(thrown);
  });

  it('keeps what the host has changed in this request, and takes the rest from the others', async () => {
    const since = '2026-01-01T00:00:00.000Z';
    let stored: object = { a: 1, b: { c: ['2'] }, since, left: true, right: true };
    const { req, saved } = known((_id, answer) => answer(null, stored));
    const own = new Date(since);
    // The host makes an object of what was stored, has added one thing and taken one away.
    Object.assign(req.session, {
      a: 1,
      b: { c: ['2'] },
      since: own,
      right: true,
      added: 'mine',
      toString: 'x',
    });
    await challenges.begin(req);
    stored = { a: 2, since, left: true, theirs: 'new', smsOtp: { challenges: { 'sms-otp': CHALLENGE } } };
    await challenges.refresh(req);
    expect(req.session).toMatchObject({ a: 2, added: 'mine', theirs: 'new', toString: 'x' });
    expect(Reflect.get(req.session, 'since')).toBe(own);
    for (const key of ['b', 'left', 'right']) expect(req.session, key).not.toHaveProperty(key);
    expect(await challenges.get(req)).toEqual(CHALLENGE);
    // Once more, with what was the host's own still its own.
    stored = { a: 3, since, theirs: 'new' };
    await challenges.ensureWritable(req);
    expect(JSON.parse(saved[0] ?? '')).toEqual({ a: 3, since, theirs: 'new', added: 'mine', toString: 'x' });
  });

  it('stays what it is where its store gives the very object, or one with keys of the session itself', async () => {
    const { req } = known((_id, answer) => answer(null, req.session));
    Object.assign(req.session, { note: 'mine' });
    await challenges.begin(req);
    await challenges.set(req, CHALLENGE);
    expect(req.session).toMatchObject({ note: 'mine' });
    let stored: object = {};
    const other = known((_id, answer) => answer(null, stored));
    const session = Object.assign(Object.create({ id: 'own' }), other.req.session);
    Object.defineProperty(session, 'id', { value: 'own', enumerable: false });
    const reload = () => undefined;
    Object.assign(session, { reload });
    Object.assign(other.req, { session });
    await challenges.begin(other.req);
    stored = { id: 'theirs', reload: 'theirs', note: 'theirs' };
    await challenges.refresh(other.req);
    const found = ['id', 'reload', 'note'].map((key) => Reflect.get(session, key));
    expect(found).toEqual(['own', reload, 'theirs']);
  });

  it('is not read as that of somebody else', async () => {
    const { req } = known((_id, answer) => answer(null, { passport: { user: 'u2' } }));
    Object.assign(req.session, { passport: { user: 'u1' } });
    await expect(challenges.refresh(req)).rejects.toBeInstanceOf(SessionEnded);
    expect(req.session).toMatchObject({ passport: { user: 'u1' } });
  });

  it('is not written once it was taken off the request, however late its store answers', async () => {
    let answer: (error: unknown, session?: unknown) => void = () => undefined;
    const { req, saved } = known((_id, callback) => {
      answer = callback;
    });
    const impatient = createChallenges(sessionChallenges, 'sms-otp', 20);
    for (const act of [() => impatient.ensureWritable(req), () => impatient.set(req, CHALLENGE)]) {
      Object.assign(req, {
        session: Object.assign(createSession().session, req.session),
        sessionID: 'an-id',
      });
      await expect(act()).rejects.toMatchObject({ code: 'ERR_SMS_OTP_STORE' });
      expect(req).toMatchObject({ session: null, sessionID: undefined });
      answer(null, {});
      await new Promise((resolve) => setImmediate(resolve));
      expect(saved).toEqual([]);
    }
  });

  it.each([
    ['u1', 1],
    [undefined, 0],
  ])('is saved without a used challenge where somebody is signed in (%j)', async (user, times) => {
    const { req, saved } = known((_id, answer) => answer(null, { passport: { user } }));
    Object.assign(req.session, { passport: { user } });
    setNote(req.session, 'challenges', 'sms-otp', CHALLENGE);
    await challenges.forget(req, CHALLENGE.id);
    expect(await challenges.get(req)).toBeUndefined();
    expect(saved).toHaveLength(times);
    expect(saved.join()).not.toContain(CHALLENGE.id);
  });

  it.each([
    ['still the same user', 'u1', 'u1', true],
    ['somebody else', 'u1', 'u2', false],
    ['nobody any more', 'u1', undefined, false],
    ['somebody, who had not signed in when it was read', undefined, 'u2', true],
  ])('is written or not when by now it is the session of %s', async (_who, mine, stored, isWritten) => {
    const { req, saved } = known((_id, answer) => answer(null, { passport: { user: stored } }));
    Object.assign(req.session, { passport: { user: mine } });
    const act = challenges.set(req, CHALLENGE);
    if (isWritten) await act;
    else await expect(act).rejects.toBeInstanceOf(SessionEnded);
    expect(saved).toHaveLength(isWritten ? 1 : 0);
  });

  it('is not written when its store cannot tell', async () => {
    const down = Object.assign(new Error('down'), { code: 'ECONNREFUSED' });
    const { req, saved } = known((_id, answer) => answer(down));
    await expect(challenges.set(req, CHALLENGE)).rejects.toMatchObject({
      code: 'ERR_SMS_OTP_STORE',
      cause: down,
    });
    expect(saved).toEqual([]);
  });

  it('is written where there is no way to ask', async () => {
    const { req, saved } = known();
    await challenges.set(req, CHALLENGE);
    expect(saved).toHaveLength(1);
  });
});
