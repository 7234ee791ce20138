/** The lock file, which is the same on everybody's machine. */

import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { root } from '../support/tarball.js';

interface Locked {
  resolved?: string;
  dependencies?: Record<string, string>;
  optionalDependencies?: Record<string, string>;
}

const lock: { packages: Record<string, Locked> } = JSON.parse(
  await readFile(join(root, 'package-lock.json'), 'utf8'),
);

describe('package-lock.json', () => {
  it('names no address to fetch a package from', () => {
    expect(Object.keys(lock.packages).length).toBeGreaterThan(100);
    expect(Object.entries(lock.packages).filter(([, { resolved }]) => resolved !== undefined)).toEqual([]);
    expect(JSON.stringify(lock)).not.toMatch(/registry|\.tgz/u);
  });

  it('stays so, whoever installs: the committed .npmrc says it, and nothing else', async () => {
    expect(await readFile(join(root, '.npmrc'), 'utf8')).toBe('omit-lockfile-registry-resolved=true\n');
    const { stdout } = await promisify(execFile)('git', ['ls-files', '.npmrc'], { cwd: root });
    expect(stdout).toBe('.npmrc\n');
  });

  it('holds the package of every platform, not only of the one it was written on', () => {
    const missing = Object.entries(lock.packages).flatMap(([path, { dependencies, optionalDependencies }]) =>
      Object.keys({ ...dependencies, ...optionalDependencies })
        .filter((name) => !isLocked(path, name))
        .map((name) => `${name}, wanted by ${path}`),
    );
    expect(missing).toEqual([]);
  });
});

// Looks where Node would: in the package's own folder, then in each one above.
function isLocked(path: string, name: string): boolean {
  if (`${path === '' ? '' : `${path}/`}node_modules/${name}` in lock.packages) return true;
  if (path === '') return false;
  const above = path.lastIndexOf('/node_modules/');
  return isLocked(above === -1 ? '' : path.slice(0, above), name);
}
