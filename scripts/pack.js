// node scripts/pack.js prints the path of the tarball.
//
// Packs the package as `npm pack` does, away from the work tree: other suites run what is in dist/ meanwhile. Packs once
// for the same sources.

import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
} from 'node:fs';
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
  'scripts/declarations.js',
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
  if (!statSync(join(root, input)).isDirectory()) return [input];
  return readdirSync(join(root, input), { recursive: true })
    .map((name) => join(input, name))
    .filter((path) => statSync(join(root, path)).isFile())
    .sort();
}

if (process.argv[1] === fileURLToPath(import.meta.url)) console.log(await pack());
