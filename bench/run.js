/** Runs the benchmarks, or the ones named: `npm run bench -- login`. Build first: they measure `dist`. */

import { readdir } from 'node:fs/promises';

const all = ['login', 'client', 'decoys', 'loading'];
const named = process.argv.slice(2);
const unknown = named.find((name) => !all.includes(name));
if (unknown !== undefined) {
  console.error(`There is no benchmark '${unknown}'. There are: ${all.join(', ')}.`);
  process.exit(2);
}
await readdir(new URL('../dist', import.meta.url)).catch(() => {
  console.error('Nothing is built yet: run npm run build.');
  process.exit(2);
});
for (const name of named.length > 0 ? named : all) {
  const { default: bench } = await import(`./${name}.js`);
  console.log(`# ${name}`);
  await bench();
}
