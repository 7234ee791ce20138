/** What every store of trusted browsers must do. */

import type { TrustedBrowserRecord, TrustedBrowserStore } from 'passport-sms-otp';
import { describe, expect, it } from 'vitest';

const record = (id: string, more: Partial<TrustedBrowserRecord> = {}): TrustedBrowserRecord => ({
  id,
  subject: 'alice',
  current: `${id}-0`,
  previous: null,
  label: "Robert'); DROP TABLE trusted_browsers; -- \u{1f4f1}",
  createdAt: 1_772_366_400_123,
  usedAt: 1_772_366_400_123,
  expiresAt: 1_774_958_400_123,
  ...more,
});

const byId = (records: TrustedBrowserRecord[]) => [...records].sort((a, b) => a.id.localeCompare(b.id));

/** @param create an empty store; `again` opens the same one once more, where it outlives a process */
export function trustedBrowserStoreContract(
  name: string,
  create: () => { store: TrustedBrowserStore; again?: () => TrustedBrowserStore },
): void {
  describe(`${name} as a store of trusted browsers`, () => {
    it('gives back what was put in, and nothing for an id that it does not know', async () => {
      const { store } = create();
      await store.add(record('a'));
      await store.add(record('b', { previous: 'b-before' }));
      expect(await store.get('a')).toEqual(record('a'));
      expect(await store.get('b')).toEqual(record('b', { previous: 'b-before' }));
      expect(await store.get('c')).toBeUndefined();
      expect(await store.get('__proto__')).toBeUndefined();
    });

    it('gives back copies: who changes one changes nothing in the store', async () => {
      const { store } = create();
      const added = record('a');
      await store.add(added);
      added.current = 'changed';
      const got = await store.get('a');
      if (got) got.subject = 'mallory';
      for (const listed of await store.list('alice')) listed.current = 'changed';
      expect(await store.get('a')).toEqual(record('a'));
    });

    it('rotates once for each value: the new one counts, the old one is the previous', async () => {
      const { store } = create();
      await store.add(record('a'));
      expect(await store.rotate('a', 'a-0', 'a-1', 1_772_366_500_000)).toBe(true);
      expect(await store.get('a')).toEqual(
        record('a', { current: 'a-1', previous: 'a-0', usedAt: 1_772_366_500_000 }),
      );
      expect(await store.rotate('a', 'a-0', 'a-2', 1_772_366_600_000)).toBe(false);
      expect(await store.rotate('unknown', 'a-1', 'a-2', 1_772_366_600_000)).toBe(false);
      expect(await store.get('a')).toEqual(
        record('a', { current: 'a-1', previous: 'a-0', usedAt: 1_772_366_500_000 }),
      );
    });

    it('lets exactly one of many who come with the same value rotate it', async () => {
      const { store } = create();
      await store.add(record('a'));
      const answers = await Promise.all(
        Array.from({ length: 10 }, async (_, index) => store.rotate('a', 'a-0', `a-${index + 1}`, 1)),
      );
      expect(answers.filter(Boolean)).toHaveLength(1);
      expect((await store.get('a'))?.current).toBe(`a-${answers.indexOf(true) + 1}`);
    });

    it('lists the records of one user', async () => {
      const { store } = create();
      await store.add(record('a'));
      await store.add(record('b', { subject: 'bob' }));
      await store.add(record('c'));
      expect(byId(await store.list('alice'))).toEqual([record('a'), record('c')]);
      expect(await store.list('nobody')).toEqual([]);
    });

    it('removes one record, for its own user only', async () => {
      const { store } = create();
      await store.add(record('a'));
      await store.add(record('b'));
      expect(await store.remove('bob', 'a')).toBe(false);
      expect(await store.remove('alice', 'unknown')).toBe(false);
      expect(await store.remove('alice', 'a')).toBe(true);
      expect(await store.remove('alice', 'a')).toBe(false);
      expect(byId(await store.list('alice'))).toEqual([record('b')]);
      expect(await store.get('a')).toBeUndefined();
      expect(await store.rotate('a', 'a-0', 'a-1', 1)).toBe(false);
    });

    it('removes all records of one user', async () => {
      const { store } = create();
      await store.add(record('a'));
      await store.add(record('b', { subject: 'bob' }));
      await store.add(record('c'));
      await store.removeAll('alice');
      expect(await store.list('alice')).toEqual([]);
      expect(await store.list('bob')).toEqual([record('b', { subject: 'bob' })]);
    });

    it('keeps a record to its last millisecond, whatever it forgets of older ones', async () => {
      const { store } = create();
      await store.add(record('a', { expiresAt: 2000 }));
      await store.add(record('b', { createdAt: 1999, expiresAt: 5000 }));
      expect(await store.get('a')).toBeDefined();
      await store.add(record('c', { createdAt: 2000, expiresAt: 6000 }));
      expect((await store.list('alice')).map(({ id }) => id)).toEqual(expect.arrayContaining(['b', 'c']));
    });

    it('is there for the next who opens it, where it outlives a process', async () => {
      const { store, again } = create();
      await store.add(record('a'));
      await store.rotate('a', 'a-0', 'a-1', 7);
      const next = again?.() ?? store;
      expect(await next.get('a')).toEqual(record('a', { current: 'a-1', previous: 'a-0', usedAt: 7 }));
      expect(await next.rotate('a', 'a-0', 'a-2', 8)).toBe(false);
    });
  });
}
