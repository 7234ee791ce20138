// Runs the whole test suite on every supported Node, or on the ones named: npm run test:nodes -- 22 24
// With --quick it leaves out what tells one Node from another least: what compilers say of hosts, and pages in a browser.
//
// The binaries are npm packages, installed into a cache folder that goes first in PATH. They are no dependencies: the
// package `node` in node_modules/.bin would take the place of the real one in every script.

import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const root = fileURLToPath(new URL('..', import.meta.url));
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { quick: { type: 'boolean', default: false } },
});
const versions = positionals.length > 0 ? positionals : ['20', '22', '24', '26'];
const leftOut = values.quick ? ['test/package/types.test.ts', 'test/site/browser.test.ts'] : [];
const results = [];

for (const version of versions) {
  const env = { ...process.env, PATH: `${binFolder(version)}${delimiter}${process.env.PATH}` };
  const exact = execFileSync('node', ['--version'], { env, encoding: 'utf8' }).trim();
  if (!exact.startsWith(`v${version}.`))
    throw new Error(`Node ${version} was asked for, and ${exact} answers.`);
  console.log(`\n== Node ${exact}`);
  const report = join(root, `.cache/test-results-${version}.json`);
  const { status } = spawnSync(
    'npm',
    [
      ...['test', '--', '--reporter=default', '--reporter=json', `--outputFile.json=${report}`],
      ...leftOut.map((file) => `--exclude=${file}`),
    ],
    { cwd: root, env, stdio: 'inherit' },
  );
  const summary = spawnSync('node', ['.ci/summary.js', String(status), report], {
    cwd: root,
    env,
    encoding: 'utf8',
  });
  results.push({ exact, ok: summary.status === 0, line: summary.stdout.trim().split('\n').at(-1) });
}

console.log();
for (const { exact, ok, line } of results)
  console.log(`Node ${exact}: ${line}${ok ? '' : '  <- look above'}`);
process.exitCode = results.every(({ ok }) => ok) ? 0 : 1;

function binFolder(version) {
  const folder = join(root, '.cache/nodes', version);
  const name = `node-${process.platform === 'win32' ? 'win' : process.platform}-${process.arch}`;
  const bin = join(folder, 'node_modules', name, 'bin');
  if (existsSync(join(bin, 'node'))) return bin;
  mkdirSync(folder, { recursive: true });
  // A package.json of its own, or npm would install into the project above.
  writeFileSync(join(folder, 'package.json'), '{ "private": true }');
  execFileSync('npm', ['install', '--no-save', '--no-audit', '--no-fund', `${name}@${version}`], {
    cwd: folder,
    stdio: 'inherit',
  });
  return bin;
}
