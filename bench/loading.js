/**
 * What loading costs: the root entry, a strategy built with it and a first issue, over a bare Node, with the reader of the
 * phone metadata that we use and with others in its place. One process each time, in turns, so that a busy moment hits all alike.
 *
 * The others are no dependencies: they are installed into .cache/loading once.
 */

import { execFile } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { rolldown } from 'rolldown';

const run = promisify(execFile);
const folder = fileURLToPath(new URL('../.cache/loading', import.meta.url));
const root = fileURLToPath(new URL('..', import.meta.url));
const OTHERS = ['awesome-phonenumber@7.8.0', 'google-libphonenumber@3.2.47'];
const ROUNDS = 25;

const readers = {
  'no reader of numbers': 'none',
  'libphonenumber-js/max': 'max',
  'libphonenumber-js/core and JSON': 'core',
  'awesome-phonenumber': 'awesome',
  'google-libphonenumber': 'google',
};

// A first issue without a server: the work is the same, and nothing else is loaded.
const ISSUE = `
  const { SmsOtpStrategy } = await import('./index.js');
  const client = {
    sendPin: async () => ({ pinId: 'PIN-ID', sent: true }),
    resendPin: async (pinId) => ({ pinId, sent: true }),
    verifyPin: async (pinId) => ({ verified: true, pinId, msisdn: '' }),
  };
  const strategy = new SmsOtpStrategy(
    { client, applicationId: 'A', messageId: 'M', countries: ['HR'] },
    () => ({}),
  );
  const session = { cookie: {}, regenerate() {}, save: (done) => done() };
  const req = { method: 'POST', headers: {}, session, sessionID: 'S', ip: '192.0.2.1', body: { phone: '091 234 5678' } };
  req.sessionStore = { get() {}, set() {}, destroy() {} };
  const info = await new Promise((fail, error) => Object.assign(Object.create(strategy), { fail, error }).authenticate(req, { phase: 'issue' }));
  if (info.code !== 'pin_sent') throw new Error(JSON.stringify(info));
`;
const REPORT = `
  const { user, system } = process.cpuUsage();
  console.log(JSON.stringify({ cpu: (user + system) / 1000, memory: process.memoryUsage().rss / 1e6 }));
`;

export default async function bench() {
  await mkdir(folder, { recursive: true });
  await writeFile(`${folder}/package.json`, '{ "private": true, "type": "module" }');
  await run('npm', ['install', '--no-save', '--no-audit', '--no-fund', '--prefer-offline', ...OTHERS], {
    cwd: folder,
  });

  const cases = new Map([['bare Node', await write('bare', '')]]);
  for (const [name, reader] of Object.entries(readers)) {
    const place = reader ?? 'ours';
    await bundle(reader, `${folder}/${place}`);
    if (reader !== 'none') cases.set(name, await write(place, ISSUE));
    else cases.set(name, await write(place, `await import('./index.js');`));
  }

  const figures = new Map([...cases.keys()].map((name) => [name, { wall: [], cpu: [], memory: [] }]));
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const [name, file] of cases) {
      const begun = performance.now();
      const { stdout } = await run(process.execPath, [file]);
      const { wall, cpu, memory } = figures.get(name);
      wall.push(performance.now() - begun);
      const report = JSON.parse(stdout);
      cpu.push(report.cpu);
      memory.push(report.memory);
    }
  }

  const bare = figures.get('bare Node');
  console.log(
    `Medians of ${ROUNDS} processes each, in turns. CPU and wall in ms, memory (RSS) in MB, over bare Node.`,
  );
  console.log('| reader | CPU | wall | memory |\n| --- | --- | --- | --- |');
  for (const [name, figure] of figures) {
    const over = ['cpu', 'wall', 'memory'].map((what) => {
      const value =
        name === 'bare Node'
          ? median(figure[what])
          : median(figure[what].map((one, i) => one - bare[what][i]));
      return value.toFixed(1);
    });
    console.log(`| ${name} | ${over.join(' | ')} |`);
  }
}

async function write(place, script) {
  await mkdir(`${folder}/${place}`, { recursive: true });
  await writeFile(`${folder}/${place}/run.js`, script + REPORT);
  return `${folder}/${place}/run.js`;
}

/** The root entry as it is packed, with `reader` in the place of ours. */
async function bundle(reader, dir) {
  const built = await rolldown({
    input: `${root}/lib/index.ts`,
    platform: 'node',
    external: /^[^./]/u,
    plugins: [
      {
        name: 'another reader',
        resolveId: (specifier) =>
          reader !== undefined && specifier === './numbering.js'
            ? `${root}/bench/numbering/${reader}.js`
            : undefined,
      },
    ],
  });
  await built.write({ dir, format: 'esm', minify: true });
  await built.close();
}

function median(values) {
  return values.toSorted((a, b) => a - b)[values.length >> 1];
}
