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
  expect(destroy.mock.lastCall).toEqual(['after', done]);
});

it('is forgotten after five minutes, and before ten', () => {
  const store = { destroy: (_id: string) => 'answer' };
  const ended = endedSessions(requestOf(store));
  expect(store.destroy('first')).toBe('answer');
  vi.advanceTimersByTime(300_001);
  store.destroy('second');
  expect([ended.has('first'), ended.has('second')]).toEqual([true, true]);
  vi.advanceTimersByTime(300_001);
  store.destroy('third');
  expect([ended.has('first'), ended.has('second'), ended.has('third')]).toEqual([false, true, true]);
});

it('is nothing where there is no store, or one that destroys nothing or cannot be changed', () => {
  const frozen = Object.freeze({ destroy() {} });
  for (const store of [undefined, null, 'memory', {}, { destroy: true }, frozen]) {
    const ended = endedSessions(requestOf(store));
    if (store === frozen) frozen.destroy();
    expect(ended.has(undefined)).toBe(false);
    expect(ended.has('id')).toBe(false);
  }
});
