// Builds dist/ from nothing, as it is packed: what a deleted source has left behind must not ship, and the JavaScript
// goes without comments and maps, because the TypeScript is in the package too.

import { execFileSync } from 'node:child_process';
import { rmSync } from 'node:fs';

const tsc = (...args) =>
  execFileSync(process.execPath, ['node_modules/typescript/bin/tsc', ...args], { stdio: 'inherit' });

rmSync('dist', { recursive: true, force: true });
tsc('-b', 'tsconfig.json');
tsc('-p', 'tsconfig.pack.json');
