import { describe, expect, it } from 'vitest';
import { inTurn } from '../lib/turns.js';
import { createGate } from './support/gate.js';
import { heapMegabytes } from './support/heap.js';

const soon = () => new Promise((resolve) => setTimeout(resolve, 10));

describe('work with one key', () => {
  it('begins at once, and when what was begun before is done', async () => {
    const gate = createGate();
    const said: string[] = [];
    const arrived = gate.shut();
    const first = inTurn('a', 1000, async () => {
      said.push('first begins');
      await gate.pass();
      said.push('first ends');
      return 1;
    });
    await arrived;
    const others = ['second', 'third'].map((name) =>
      inTurn('a', 1000, async () => {
        said.push(`${name} begins`);
        await soon();
        said.push(`${name} ends`);
        return name;
      }),
    );
    await inTurn('b', 1000, async () => said.push('another key'));
    await soon();
    expect(said).toEqual(['first begins', 'another key']);
    gate.open();
    expect(await Promise.all([first, ...others])).toEqual([1, 'second', 'third']);
    expect(said.slice(2)).toEqual([
      'first ends',
      'second begins',
      'second ends',
      'third begins',
      'third ends',
    ]);
  });

  it('begins when what was begun before has failed', async () => {
    const failed = inTurn('a', 1000, async () => {
      await soon();
      throw new Error('down');
    });
    const next = inTurn('a', 1000, async () => 'done');
    await expect(failed).rejects.toThrow('down');
    expect(await next).toBe('done');
  });

  it('does not wait for ever', async () => {
    void inTurn('silent', 1000, () => new Promise(() => {}));
    expect(await inTurn('silent', 20, async () => 'done')).toBe('done');
  });

  it('waits, too, where an earlier one has ended in the meantime', async () => {
    const gate = createGate();
    const first = inTurn('a', 1000, soon);
    const arrived = gate.shut();
    const second = inTurn('a', 1000, () => gate.pass());
    await first;
    await arrived;
    let hasBegun = false;
    const third = inTurn('a', 1000, async () => {
      hasBegun = true;
    });
    await soon();
    expect(hasBegun).toBe(false);
    gate.open();
    await Promise.all([second, third]);
    expect(hasBegun).toBe(true);
  });

  it('leaves nothing behind', async () => {
    const before = heapMegabytes();
    for (let key = 0; key < 50_000; key += 1) await inTurn(`key ${key}`, 1000, async () => undefined);
    // A promise and its key for each would be nine.
    expect(heapMegabytes() - before).toBeLessThan(3);
  });
});
