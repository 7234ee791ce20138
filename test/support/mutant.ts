/** The package with one guard taken out: what a test says of the guard must not be true of it. */

import { createHash } from 'node:crypto';
import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type * as Package from 'passport-sms-otp';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** One place in a built file: the text that is there, once, and what takes its place. */
export interface Patch {
  file: string;
  from: string | RegExp;
  to: string;
}

/**
 * Copies what was built, applies the patches and loads the copy.
 *
 * @throws where a patch finds its place not exactly once: the guard has moved, and the test must be looked at
 */
export async function withoutGuard(...patches: readonly Patch[]): Promise<typeof Package> {
  const id = createHash('sha256')
    .update(String(process.pid))
    .update(JSON.stringify(patches.map(String)));
  for (const { file, from, to } of patches) id.update(`${file}\n${from}\n${to}`);
  // Inside the repository, so that the copy finds its dependencies.
  const folder = join(root, '.cache', 'mutants', id.digest('hex').slice(0, 16));
  rmSync(folder, { recursive: true, force: true });
  cpSync(join(root, 'dist'), folder, { recursive: true });
  for (const { file, from, to } of patches) {
    const path = join(folder, file);
    const text = readFileSync(path, 'utf8');
    const found = typeof from === 'string' ? text.split(from).length - 1 : [...text.matchAll(from)].length;
    if (found !== 1) throw new Error(`${file} has ${found} places like ${from}: has the guard moved?`);
    writeFileSync(
      path,
      text.replace(from, () => to),
    );
  }
  return (await import(pathToFileURL(join(folder, 'index.js')).href)) as typeof Package;
}
