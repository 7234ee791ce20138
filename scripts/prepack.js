// Builds dist/ from nothing, as it is packed: what a deleted source has left behind must not ship.
//
// The JavaScript is bundled, one file per entry and one per shared part, because a file costs more to find than to
// read, and small, because the TypeScript is there to be read; functions and classes keep their names for stack traces.
// The declarations are cut down to what the entries lead to, with a map to each source that ships.

import { execFileSync } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { rolldown } from 'rolldown';
import { cutDeclarations } from './declarations.js';

const { bin, exports, files } = JSON.parse(readFileSync('package.json', 'utf8'));
const entries = Object.values(exports).filter(({ types }) => types !== undefined);

rmSync('dist', { recursive: true, force: true });
execFileSync(process.execPath, ['node_modules/typescript/bin/tsc', '-p', '.', '--emitDeclarationOnly'], {
  stdio: 'inherit',
});
cutDeclarations(
  'dist',
  entries.map(({ types }) => types),
  (declaration) => files.includes(declaration.replace(/^dist(.*)\.d\.ts$/u, 'lib$1.ts')),
);

const names = [...entries.map((entry) => entry.default), ...Object.values(bin)].map(
  (path) => /dist\/(.*)\.js$/u.exec(path)[1],
);
const bundle = await rolldown({
  input: Object.fromEntries(names.map((name) => [name, `lib/${name}.ts`])),
  platform: 'node',
  external: /^[^./]/u,
});
await bundle.write({
  dir: 'dist',
  format: 'esm',
  entryFileNames: '[name].js',
  chunkFileNames: 'shared/[name].js',
  comments: false,
  minify: { compress: true, mangle: { keepNames: { function: true, class: true } } },
});
await bundle.close();
