/** What loading the packed package costs. The figures through a first issue are those of `npm run bench -- loading`. */

import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { pack, readManifest, root, unpack } from '../support/tarball.js';

const MOST_MS = 15;
// What a bare process costs on the machine that the limit is for. A slow or busy one is slow at that, too.
const BARE_MS = 40;
const ROUNDS = 9;
// The work that loading is, not the time that it took: the machine is busy with other suites.
const REPORT = `const { user, system } = process.cpuUsage(); console.log((user + system) / 1000);`;

let unpacked: string;
let folder: string;

beforeAll(async () => {
  unpacked = await unpack(await pack());
  folder = await mkdtemp(join(tmpdir(), 'passport-sms-otp-light-'));
  const modules = join(unpacked, 'node_modules');
  await mkdir(join(modules, 'libphonenumber-js'), { recursive: true });
  for (const name of Object.keys((await readManifest()).dependencies)) {
    if (name === 'libphonenumber-js') continue;
    await symlink(join(root, 'node_modules', name), join(modules, name), 'junction');
  }
  // The phone library is not what is measured here: another takes its place, which does nothing.
  await writeFile(
    join(modules, 'libphonenumber-js/package.json'),
    '{ "type": "module", "exports": { "./*": "./stub.js" } }',
  );
  await writeFile(
    join(modules, 'libphonenumber-js/stub.js'),
    'export const isSupportedCountry = () => true; export const parsePhoneNumberFromString = () => {};',
  );
  await writeFile(join(folder, 'bare.mjs'), REPORT);
  const entry = pathToFileURL(join(unpacked, 'dist/index.js'));
  await writeFile(join(folder, 'root.mjs'), `import '${entry}'; ${REPORT}`);
}, 180_000);

afterAll(async () => {
  await rm(unpacked, { recursive: true, force: true });
  await rm(folder, { recursive: true, force: true });
});

it(`loads the root entry, less libphonenumber-js, within ${MOST_MS} ms over an empty module`, async () => {
  // The least of all, so that only work that is always there counts.
  let bare = Number.POSITIVE_INFINITY;
  let whole = Number.POSITIVE_INFINITY;
  for (let round = 0; round < ROUNDS; round += 1) {
    bare = Math.min(bare, await cpuOf('bare.mjs'));
    whole = Math.min(whole, await cpuOf('root.mjs'));
  }
  const own = ((whole - bare) * BARE_MS) / bare;
  console.log(
    `CPU ms: bare ${bare}, with the root entry ${whole}; its own ${own.toFixed(1)} at a bare ${BARE_MS}.`,
  );
  expect(own).toBeLessThan(MOST_MS);
}, 120_000);

async function cpuOf(file: string): Promise<number> {
  const { stdout } = await promisify(execFile)(process.execPath, [join(folder, file)]);
  return Number(stdout);
}
