/** The package with one guard taken out: what a test says of the guard must not be true of it. */

import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type * as Package from 'passport-sms-otp';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** One place in a source file: the text that is there, once, and what takes its place. */
export interface Patch {
  file: string;
  from: string;
  to: string;
}

/**
 * Copies the sources, applies the patches and loads the copy.
 *
 * @throws where a patch finds its place not exactly once: the guard has moved, and the test must be looked at
 */
export async function withoutGuard(...patches: readonly Patch[]): Promise<typeof Package> {
  // Inside the repository, so that the copy finds its dependencies.
  const folder = join(root, '.cache', 'mutants');
  mkdirSync(folder, { recursive: true });
  const copy = mkdtempSync(join(folder, 'copy-'));
  cpSync(join(root, 'lib'), copy, { recursive: true });
  try {
    for (const { file, from, to } of patches) {
      const path = join(copy, file);
      const text = readFileSync(path, 'utf8');
      const found = text.split(from).length - 1;
      if (found !== 1) throw new Error(`lib/${file} has ${found} places like ${from}: has the guard moved?`);
      writeFileSync(
        path,
        text.replace(from, () => to),
      );
    }
    return (await import(/* @vite-ignore */ join(copy, 'index.ts'))) as typeof Package;
  } finally {
    rmSync(copy, { recursive: true });
  }
}
