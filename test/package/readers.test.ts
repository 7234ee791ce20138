import { readdirSync } from 'node:fs';
import { expect, it } from 'vitest';
import * as ours from '../../lib/numbering.js';

const folder = new URL('../../bench/numbering/', import.meta.url);

it('the readers of numbers that loading is compared with have what ours has', async () => {
  // Those of other packages cannot be loaded here: the benchmark installs them.
  const loadable = ['core.js', 'max.js', 'none.js'];
  expect(readdirSync(folder)).toEqual(expect.arrayContaining(loadable));
  for (const file of loadable) {
    const reader: object = await import(new URL(file, folder).href);
    expect(Object.keys(reader).sort(), file).toEqual(Object.keys(ours).sort());
  }
});
