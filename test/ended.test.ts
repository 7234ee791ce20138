/** What is known of sessions that were destroyed in this process. */

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { endedSessions } from '../lib/ended.js';
import { heapMegabytes } from './support/heap.js';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['performance'] });
});
afterEach(() => {
  vi.useRealTimers();
});

const requestOf = (sessionStore?: unknown) => ({ headers: {}, sessionStore });

it('is what the store was told to destroy since it was first asked for, whoever told it', () => {
  const destroy = vi.fn((_id: string, callback: (error?: unknown) => void) => callback());
  const store = { destroy };
  store.destroy('before', () => {});
  const ended = endedSessions(requestOf(store));
  expect(endedSessions(requestOf(store))).toBe(ended);
  const done = vi.fn();
  store.destroy('after', done);
  expect(['before', 'after', 'other'].map((id) => ended.has(id))).toEqual([false, true, false]);
  expect(done).toHaveBeenCalledOnce();
  expect(destroy.mock.contexts).toEqual([store, store]);
  // What a store cannot do it still cannot.
  expect(Object.keys(store)).toEqual(['destroy']);
  expect(destroy.mock.lastCall).toEqual(['after', expect.any(Function)]);
});

it('is the ids alone, and not the headers that they were cut from', () => {
  const store = { destroy: (_id: string): void => undefined };
  const ended = endedSessions(requestOf(store));
  const before = heapMegabytes();
  for (let visitor = 0; visitor < 2000; visitor += 1) {
    const header = Buffer.alloc(15_000, `${visitor} `).toString();
    store.destroy(header.slice(100, 132));
  }
  expect(heapMegabytes() - before).toBeLessThan(10);
  expect(ended.times('')).toBe(0);
});

it('is not what the store could not destroy', () => {
  const error = new Error('the store is down');
  const store = {
    destroy(_id: string, callback?: (...given: unknown[]) => void) {
      callback?.(error, 'more');
      return 'answer';
    },
  };
  const ended = endedSessions(requestOf(store));
  const done = vi.fn();
  expect(store.destroy('id', done)).toBe('answer');
  expect(done.mock.calls).toEqual([[error, 'more']]);
  expect(ended.has('id')).toBe(false);
  store.destroy('id');
  expect(ended.has('id')).toBe(true);
});

it('is not what a store threw at', () => {
  const error = new Error('the store is down');
  const store = {
    destroy(_id: string) {
      throw error;
    },
  };
  const ended = endedSessions(requestOf(store));
  expect(() => store.destroy('id')).toThrow(error);
  expect(ended.has('id')).toBe(false);
});

it('stays what it is when it cannot be destroyed once more', () => {
  let error: Error | undefined;
  const store = { destroy: (_id: string, callback: (error?: Error) => void) => callback(error) };
  const ended = endedSessions(requestOf(store));
  store.destroy('id', () => {});
  vi.advanceTimersByTime(60_000);
  error = new Error('ENOENT');
  store.destroy('id', () => {});
  expect(ended.has('id')).toBe(true);
  vi.advanceTimersByTime(59_999);
  expect(ended.has('id')).toBe(true);
  vi.advanceTimersByTime(1);
  expect(ended.has('id')).toBe(false);
});

it('stays so where the caller of the store threw, and not the store', () => {
  const store = { destroy: (_id: string, callback: () => void) => callback() };
  const ended = endedSessions(requestOf(store));
  const thrown = new Error('the host failed');
  expect(() =>
    store.destroy('id', () => {
      throw thrown;
    }),
  ).toThrow(thrown);
  expect(ended.has('id')).toBe(true);
});

describe('a write', () => {
  /** A store whose writes are answered when they are told to be. */
  function slowStore(onSecondDestroy?: () => void) {
    let destroys = 0;
    const kept = new Set<string>();
    const answers: (() => void)[] = [];
    const store = {
      set(id: string, _session: object, callback?: (error?: unknown) => void) {
        answers.push(() => {
          kept.add(id);
          callback?.();
        });
        return 'answer';
      },
      clear(callback: () => void) {
        kept.clear();
        callback();
      },
      destroy(id: string, callback?: (error?: unknown) => void) {
        destroys += 1;
        if (destroys > 1) onSecondDestroy?.();
        kept.delete(id);
        callback?.();
      },
    };
    endedSessions(requestOf(store));
    return { kept, store, answer: () => answers.shift()?.() };
  }

  it('that was under way when its session ended is undone before it is answered', () => {
    const { kept, store, answer } = slowStore();
    const done = vi.fn(() => expect(kept.has('id')).toBe(false));
    expect(store.set('id', {}, done)).toBe('answer');
    store.set('other', {}, () => {});
    store.destroy('id');
    answer();
    answer();
    expect(done).toHaveBeenCalledOnce();
    expect([...kept]).toEqual(['other']);
  });

  it('that begins after its session ended is undone where the store cannot be asked', () => {
    const { kept, store, answer } = slowStore();
    store.destroy('id');
    const done = vi.fn();
    store.set('id', {}, done);
    answer();
    expect([done.mock.calls.length, [...kept]]).toEqual([1, []]);
  });

  it('that begins after its session ended is none, and answered', () => {
    const set = vi.fn((_id: string, _session: object, answer: () => void) => answer());
    const store = { get() {}, set, destroy: (_id: string, answer?: () => void) => answer?.() };
    endedSessions(requestOf(store));
    store.destroy('id');
    const done = vi.fn();
    store.set('id', {}, done);
    expect([set.mock.calls.length, done.mock.calls]).toEqual([0, [[]]]);
    store.set('other', {}, done);
    vi.advanceTimersByTime(120_001);
    store.set('id', {}, done);
    expect([set.mock.calls.length, done.mock.calls.length]).toEqual([2, 3]);
  });

  it('that begins after its session ended, and that nobody waits for, is undone', () => {
    const kept = new Set<string>();
    const store = {
      get() {},
      set: (id: string, _session: object, answer?: () => void) => {
        kept.add(id);
        answer?.();
      },
      destroy: (id: string, answer?: () => void) => {
        kept.delete(id);
        answer?.();
      },
    };
    endedSessions(requestOf(store));
    store.destroy('id');
    store.set('id', {});
    expect([...kept]).toEqual([]);
  });

  it('is made, and read, while the store has not said that its session is gone, and after it has failed', () => {
    const answers: ((error?: Error) => void)[] = [];
    const set = vi.fn((_id: string, _session: object, answer: () => void) => answer());
    const store = {
      get: (_id: string, answer: (error: null, session: object) => void) => answer(null, {}),
      set,
      destroy: (_id: string, answer: (error?: Error) => void) => void answers.push(answer),
    };
    endedSessions(requestOf(store));
    const isRead = () => {
      const read = vi.fn();
      store.get('id', read);
      return read.mock.lastCall?.length === 2;
    };
    store.destroy('id', () => {});
    store.destroy('id', () => {});
    store.set('id', {}, () => {});
    expect([isRead(), set.mock.calls.length]).toEqual([true, 1]);
    // The second fails: the first may still do it.
    answers[1]?.(new Error('down'));
    expect(isRead()).toBe(true);
    answers[0]?.();
    expect(isRead()).toBe(false);
    store.destroy('id', () => {});
    expect(isRead()).toBe(false);
  });

  it('to a session that has ended is read by nobody until it is undone', () => {
    let undo: () => void = () => undefined;
    let error: Error | null = null;
    const kept = new Set(['other']);
    const store = {
      get(id: string, answer?: (error: unknown, session?: object) => void) {
        answer?.(error, kept.has(id) && !error ? { id } : undefined);
        return 'answer';
      },
      set: (id: string, _session: object, answer: () => void) => {
        store.destroy('id', () => {});
        kept.add(id);
        answer();
      },
      destroy: (id: string, answer: () => void) => {
        undo = () => void kept.delete(id);
        answer();
      },
    };
    endedSessions(requestOf(store));
    store.set('id', {}, () => {});
    expect([...kept]).toEqual(['other', 'id']);
    const read = vi.fn();
    for (const id of ['id', 'other']) expect(store.get(id, read)).toBe('answer');
    expect(read.mock.calls).toEqual([[], [null, { id: 'other' }]]);
    expect(store.get('id')).toBe('answer');
    error = new Error('down');
    store.get('id', read);
    expect(read.mock.lastCall).toEqual([error, undefined]);
    undo();
    expect([...kept]).toEqual(['other']);
  });

  it('is answered once it is undone, and once only, however often the store says so', () => {
    const undone: (() => void)[] = [];
    const store = {
      set: (_id: string, _session: object, done: () => void) => done(),
      destroy: (_id: string, done?: () => void) => void (done && undone.push(done)),
    };
    endedSessions(requestOf(store));
    store.destroy('id');
    const done = vi.fn();
    store.set('id', {}, done);
    expect(done).not.toHaveBeenCalled();
    undone[0]?.();
    undone[0]?.();
    expect(done).toHaveBeenCalledOnce();
  });

  it('that nobody waits for reaches the store as it is', () => {
    const set = vi.fn((_id: string, _session: object) => undefined);
    const store = { set, destroy() {} };
    endedSessions(requestOf(store));
    const session = {};
    store.set('id', session);
    expect(set.mock.lastCall?.[1]).toBe(session);
  });

  it('is answered also where it cannot be undone', () => {
    const { store, answer } = slowStore(() => {
      throw new Error('down');
    });
    const done = vi.fn();
    store.set('id', {}, done);
    store.destroy('id');
    answer();
    expect(done).toHaveBeenCalledOnce();
  });

  it('that was under way when all sessions ended is undone', () => {
    const { kept, store, answer } = slowStore();
    const done = vi.fn();
    store.set('id', {}, done);
    const cleared = vi.fn();
    store.clear(cleared);
    expect(cleared).toHaveBeenCalledOnce();
    answer();
    expect([done.mock.calls.length, [...kept]]).toEqual([1, []]);
    store.set('id', {}, done);
    answer();
    expect([done.mock.calls.length, [...kept]]).toEqual([2, ['id']]);
  });

  it.each<[string, () => unknown]>([
    ['says nothing', () => undefined],
    ['breaks its promise', () => Promise.reject(new Error('down'))],
  ])('is answered after three seconds at the latest where what would undo it %s', async (_what, undo) => {
    vi.useFakeTimers();
    const answers: (() => void)[] = [];
    let destroys = 0;
    const store = {
      set: (_id: string, done: () => void) => answers.push(done),
      destroy: (_id: string, _done?: () => void) => {
        destroys += 1;
        return destroys > 1 ? undo() : undefined;
      },
    };
    endedSessions(requestOf(store));
    const done = vi.fn();
    store.set('id', done);
    store.destroy('id');
    answers[0]?.();
    await vi.advanceTimersByTimeAsync(3000);
    expect(done).toHaveBeenCalledOnce();
    expect(vi.getTimerCount()).toBe(0);
  });

  it('of a session with the id of one that ended two minutes ago stays', () => {
    const { kept, store, answer } = slowStore();
    store.destroy('id');
    vi.advanceTimersByTime(120_001);
    store.set('id', {}, () => {});
    answer();
    expect([...kept]).toEqual(['id']);
  });

  it('that fails, or has nobody to answer, does so as before', () => {
    const { kept, store, answer } = slowStore();
    store.set('id', {});
    store.destroy('id');
    answer();
    // Nobody waits for it, so nobody knows when it is done.
    expect([...kept]).toEqual(['id']);
    const failing = {
      set(_id: string, callback: (error: Error) => void) {
        callback(new Error('down'));
      },
      destroy() {},
    };
    endedSessions(requestOf(failing));
    const done = vi.fn();
    failing.set('id', done);
    expect(done).toHaveBeenCalledExactlyOnceWith(new Error('down'));
  });
});

it('is each of a list, and of a list that could not be destroyed none', async () => {
  let answer: unknown;
  const store = { destroy: (_ids: unknown) => answer };
  const ended = endedSessions(requestOf(store));
  store.destroy(['a', 'b']);
  expect(['a', 'b', 'c'].map((id) => ended.has(id))).toEqual([true, true, false]);
  answer = Promise.reject(new Error('the store is down'));
  store.destroy(['b', 'c']);
  await vi.waitFor(() => expect(ended.has('c')).toBe(false));
  expect(['a', 'b'].map((id) => ended.has(id))).toEqual([true, true]);
});

it('is counted: how often it was ended lately', () => {
  const store = { destroy: (_id: string) => undefined };
  const ended = endedSessions(requestOf(store));
  expect(ended.times('id')).toBe(0);
  store.destroy('id');
  store.destroy('id');
  store.destroy('other');
  expect([ended.times('id'), ended.times('other')]).toEqual([2, 1]);
  vi.advanceTimersByTime(120_001);
  expect(ended.times('id')).toBe(0);
  store.destroy('id');
  expect(ended.times('id')).toBe(1);
});

describe('a session that a login has replaced', () => {
  /** A store that answers at once in one of the ways in which stores do. */
  function storeThat(destroys: (id: string) => unknown) {
    const gone: string[] = [];
    const store = {
      destroy(id: string, callback?: (error?: unknown) => void): unknown {
        const error = destroys(id);
        if (!error) gone.push(id);
        if (callback) callback(error);
        else if (error) return Promise.reject(error);
        return callback ? undefined : Promise.resolve();
      },
    };
    const ended = endedSessions(requestOf(store));
    store.destroy('old', () => {});
    ended.replace('old', 'new');
    store.destroy('unknown', () => {});
    expect(ended.has('new')).toBe(false);
    return { store, ended, gone };
  }

  it.each(['callback', 'promise'])('is ended with the new one, and that with its own (%s)', async (way) => {
    const { store, ended, gone } = storeThat(() => undefined);
    store.destroy('new', () => {});
    ended.replace('new', 'newest');
    gone.length = 0;
    if (way === 'promise') await store.destroy('old');
    else await new Promise<void>((resolve) => void store.destroy('old', () => resolve()));
    expect(gone).toEqual(['old', 'new', 'newest']);
    expect(ended.has('newest')).toBe(true);
  });

  it('is so where nobody waits for it, and the store says nothing', () => {
    const gone: string[] = [];
    const store = { destroy: (id: string, _callback?: () => void): void => void gone.push(id) };
    const ended = endedSessions(requestOf(store));
    store.destroy('old');
    ended.replace('old', 'new');
    store.destroy('old');
    expect(gone).toEqual(['old', 'old', 'new']);
  });

  it('is so where the store says that the old one is gone, and not where it fails', () => {
    for (const [error, ends] of [
      [Object.assign(new Error('no file'), { code: 'ENOENT' }), true],
      [new Error('the store is down'), false],
    ] as const) {
      let isSecond = false;
      const { store, ended, gone } = storeThat((id) => isSecond && id === 'old' && error);
      isSecond = true;
      const told = vi.fn();
      store.destroy('old', told);
      expect(told.mock.calls).toEqual([[error]]);
      expect([ended.has('new'), gone.includes('new')]).toEqual([ends, ends]);
      expect(ended.times('old')).toBe(ends ? 2 : 1);
    }
  });

  it('is ended alone once two minutes have passed, or where it has not ended before', () => {
    const { store, ended, gone } = storeThat(() => undefined);
    vi.advanceTimersByTime(120_001);
    ended.replace('never ended', 'another');
    for (const id of ['old', 'never ended']) store.destroy(id, () => {});
    expect(gone).toEqual(['old', 'unknown', 'old', 'never ended']);
  });

  it('is ended once where an id points at itself', () => {
    const { store, ended, gone } = storeThat(() => undefined);
    ended.replace('old', 'old');
    store.destroy('old', () => {});
    expect(gone).toEqual(['old', 'unknown', 'old', 'old']);
  });
});

it('is none of which a browser gets the id again', () => {
  const store = {
    destroy() {},
    generate(req: object) {
      Object.assign(req, { sessionID: 'of the device', session: {} });
    },
  };
  const ended = endedSessions(requestOf(store));
  Reflect.apply(store.destroy, store, ['of the device']);
  expect(ended.has('of the device')).toBe(true);
  const req = {};
  store.generate(req);
  expect(req).toEqual({ sessionID: 'of the device', session: {} });
  expect(ended.has('of the device')).toBe(false);
});

it('is forgotten after two minutes, also where nothing else ends', () => {
  const store = { destroy: (_id: string) => 'answer' };
  const ended = endedSessions(requestOf(store));
  store.destroy('first');
  vi.advanceTimersByTime(60_000);
  store.destroy('second');
  vi.advanceTimersByTime(59_999);
  expect([ended.has('first'), ended.has('second')]).toEqual([true, true]);
  vi.advanceTimersByTime(1);
  expect([ended.has('first'), ended.has('second')]).toEqual([false, true]);
  store.destroy('second');
  vi.advanceTimersByTime(119_999);
  expect(ended.has('second')).toBe(true);
});

it('is nothing where there is no store, or one that destroys nothing or cannot be changed', () => {
  const frozen = Object.freeze({ destroy() {} });
  for (const store of [undefined, null, 'memory', {}, { destroy: true }, frozen]) {
    const before = Reflect.get(Object(store), 'destroy');
    const ended = endedSessions(requestOf(store));
    if (store === frozen) frozen.destroy();
    expect(ended.has(undefined)).toBe(false);
    expect(ended.has('id')).toBe(false);
    expect(Reflect.get(Object(store), 'destroy')).toBe(before);
  }
});

describe('a session that was read more than a second ago', () => {
  type Answer = (error?: unknown, stored?: unknown) => void;

  function site() {
    const kept = new Map<unknown, unknown>([['id', 'before']]);
    const store = {
      get: vi.fn((id: string, answer: Answer) => answer(null, kept.get(id))),
      set: vi.fn((id: string, session: { data: unknown }, answer?: Answer) => {
        kept.set(id, session.data);
        answer?.();
      }),
      destroy(id: string, answer: Answer) {
        kept.delete(id);
        answer();
      },
      createSession: (req: object, data: unknown) => ({ req, data }),
      clear: () => undefined,
    };
    const { get, set } = store;
    endedSessions(requestOf(store));
    const session = store.createSession({}, 'after');
    const write = () => {
      const answer = vi.fn();
      store.set('id', session, answer);
      return answer;
    };
    return { kept, store, session, write, get, set };
  }

  it('is written where the store still has it', () => {
    const { kept, write, session } = site();
    vi.advanceTimersByTime(600_000);
    expect(session).toMatchObject({ req: {}, data: 'after' });
    expect(write().mock.calls).toEqual([[]]);
    expect(kept.get('id')).toBe('after');
  });

  it.each([0, 119_999, 120_001, 3_600_000])('is not brought back %i ms after its end', (ms) => {
    const { kept, store, write } = site();
    vi.advanceTimersByTime(300_000);
    store.destroy('id', () => {});
    vi.advanceTimersByTime(ms);
    expect(write()).toHaveBeenCalledOnce();
    expect([...kept]).toEqual([]);
  });

  it('is asked for sooner, too, where the store was cleared since', () => {
    const { kept, store, write } = site();
    const later = store.createSession({}, 'later');
    kept.clear();
    store.clear();
    expect(write().mock.calls).toEqual([[]]);
    expect([...kept]).toEqual([]);
    kept.set('new', 0);
    store.set('new', store.createSession({}, 'new'), () => {});
    store.set('old', later, () => {});
    expect([...kept]).toEqual([['new', 'new']]);
  });

  it('is asked for in no other case', () => {
    const { kept, store, session, write, get } = site();
    vi.advanceTimersByTime(999);
    write();
    vi.advanceTimersByTime(1);
    // By whom it was read is not known, or nobody waits for an answer.
    store.set('other', { data: 1 }, () => {});
    store.set('id', { ...session, data: 2 });
    expect(get).not.toHaveBeenCalled();
    expect([...kept]).toEqual([
      ['id', 2],
      ['other', 1],
    ]);
  });

  it('is written by a store that cannot be asked', () => {
    const set = vi.fn();
    const store = { set, destroy: () => undefined, createSession: (req: object) => ({ req }) };
    endedSessions(requestOf(store));
    const session = store.createSession({});
    vi.advanceTimersByTime(1000);
    store.set('id', session, () => {});
    expect(set).toHaveBeenCalledOnce();
  });

  it('is answered once by a store that fails, or throws', () => {
    const down = new Error('down');
    const { store, write, get, set } = site();
    vi.advanceTimersByTime(1000);
    get.mockImplementationOnce((_id, answer) => answer(down));
    expect(write().mock.calls).toEqual([[down]]);
    get.mockImplementationOnce((_id, answer) => answer(Object.assign(new Error(), { code: 'ENOENT' })));
    expect(write().mock.calls).toEqual([[]]);
    expect(set).not.toHaveBeenCalled();
    set.mockImplementationOnce(() => {
      throw down;
    });
    expect(write().mock.calls).toEqual([[down]]);
    const thrower = vi.fn(() => {
      throw down;
    });
    const session = store.createSession({}, 'after');
    vi.advanceTimersByTime(1000);
    expect(() => store.set('id', session, thrower)).toThrow(down);
    expect(thrower).toHaveBeenCalledOnce();
    expect(set).toHaveBeenCalledTimes(2);
  });
});
