/** What is known of sessions that were destroyed in this process. */

import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { endedSessions } from '../lib/ended.js';

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
  expect(destroy.mock.lastCall).toEqual(['after', expect.any(Function)]);
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
