// Judges the tarball as its users' tools will: publint (every suggestion counts) and attw.
//
// Accepted findings: none of publint. Of attw, what its profile `esm-only` leaves out:
// - node10: TypeScript's resolution for Node before 12 knows no `exports`; nobody can run the package there.
// - node16 from CommonJS (cjs-resolves-to-esm): the package is an ES module for both, and every supported Node loads it
//   by require(), which test/package holds to.

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { publint } from 'publint';
import { formatMessage } from 'publint/utils';
import { pack } from './pack.js';

const tarball = await pack();
const { buffer } = new Uint8Array(readFileSync(tarball));
const { messages, pkg } = await publint({ pack: { tarball: buffer }, strict: true });
for (const message of messages) console.error(`publint: ${formatMessage(message, pkg)}`);
if (messages.length > 0) process.exit(1);
console.log('publint: nothing to say');

execFileSync(
  process.execPath,
  ['node_modules/@arethetypeswrong/cli/dist/index.js', tarball, '--profile', 'esm-only'],
  {
    stdio: 'inherit',
  },
);
