// Packs the package as `npm pack` does, away from the work tree: other suites run what is in dist/ meanwhile. Packs once
// for the same sources.

import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const root = fileURLToPath(new URL('..', import.meta.url));
const cache = join(root, '.cache/package');

const INPUTS = [
  'package.json',
  'README.md',
  'CHANGELOG.md',
  'LICENSE',
  'lib',
  'scripts/prepack.js',
  'tsconfig.base.json',
  'tsconfig.json',
  'tsconfig.pack.json',
];

/** The path of the tarball. */
export async function pack() {
  const inputs = INPUTS.filter((input) => existsSync(join(root, input)));
  const hash = createHash('sha256');
  for (const file of inputs.flatMap(files)) hash.update(file).update(readFileSync(join(root, file)));
  const tarball = join(cache, `${hash.digest('hex').slice(0, 16)}.tgz`);
  if (existsSync(tarball)) return tarball;

  const stage = join(cache, `stage-${process.pid}`);
  mkdirSync(stage, { recursive: true });
  try {
    for (const input of inputs) cpSync(join(root, input), join(stage, input), { recursive: true });
    symlinkSync(join(root, 'node_modules'), join(stage, 'node_modules'), 'junction');
    const { stdout } = await promisify(execFile)('npm', ['pack', '--json'], { cwd: stage });
    // What the build prints comes first.
    const [{ filename }] = JSON.parse(stdout.slice(stdout.search(/^\[/mu)));
    renameSync(join(stage, filename), tarball);
  } finally {
    rmSync(stage, { recursive: true, force: true });
  }
  return tarball;
}

function files(input) {
  const entries = readdirSync(join(root, input, '..'), { withFileTypes: true });
  if (!entries.some((entry) => entry.isDirectory() && input.endsWith(entry.name))) return [input];
  return readdirSync(join(root, input), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length))
    .sort();
}
