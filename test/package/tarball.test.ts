/** What `npm pack` makes, used as its users will. */

import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { filesIn, pack, readManifest, root, run, unpack } from '../support/tarball.js';

let tarball: string;
let unpacked: string;

beforeAll(async () => {
  tarball = await pack();
  unpacked = await unpack(tarball);
}, 180_000);

afterAll(() => rm(unpacked, { recursive: true, force: true }));

const DECLARATIONS = [
  'action',
  'budgets',
  'challenge',
  'errors',
  'events',
  'index',
  'numbering',
  'options',
  'origin-bound',
  'otp-client',
  'outcome',
  'request',
  'second-factor',
  'strategy',
  'test-numbers',
  'trusted-browser-stores',
  'trusted-browsers',
  'verify',
  'infobip/auth',
  'infobip/client',
  'infobip/diagnose',
  'infobip/errors',
  'infobip/http',
  'infobip/index',
  'infobip/options',
  'infobip/setup',
  'infobip/shapes',
  'simulator/behaviour',
  'simulator/credentials',
  'simulator/errors',
  'simulator/faults',
  'simulator/index',
  'simulator/service',
];
const SOURCES = ['challenge', 'second-factor', 'strategy', 'infobip/client'];
const SCRIPTS = [
  'index',
  'infobip/index',
  'simulator/index',
  'cli/index',
  'shared/command',
  'shared/connection',
  'shared/doctor',
  'shared/infobip',
  'shared/pins',
  'shared/setup',
  'shared/simulate',
  'shared/simulator',
];

describe('the tarball', () => {
  it('holds these files and no others', async () => {
    expect(await filesIn(unpacked)).toEqual(
      [
        'LICENSE',
        'README.md',
        'package.json',
        ...SCRIPTS.map((name) => `dist/${name}.js`),
        ...DECLARATIONS.map((name) => `dist/${name}.d.ts`),
        ...SOURCES.flatMap((name) => [`dist/${name}.d.ts.map`, `lib/${name}.ts`]),
      ].sort(),
    );
  });

  it('is no larger than 120 kB', async () => {
    const { size } = await stat(tarball);
    console.log(`The tarball has ${size} bytes.`);
    expect(size).toBeLessThanOrEqual(120_000);
  });

  it('leads every declaration map to a source that is in it', async () => {
    const maps = (await filesIn(unpacked)).filter((file) => file.endsWith('.map'));
    expect(maps.length).toBe(SOURCES.length);
    for (const map of maps) {
      const { sources }: { sources: string[] } = JSON.parse(await readFile(join(unpacked, map), 'utf8'));
      for (const source of sources) expect(existsSync(join(unpacked, dirname(map), source)), map).toBe(true);
    }
    const mapped = (await filesIn(unpacked)).filter((file) => file.endsWith('.d.ts'));
    for (const file of mapped) {
      const named = /sourceMappingURL=(\S+)/u.exec(await readFile(join(unpacked, file), 'utf8'))?.[1];
      if (named !== undefined) expect(existsSync(join(unpacked, dirname(file), named)), file).toBe(true);
    }
  });
});

describe('installed in an empty folder', () => {
  let folder: string;
  const evaluate = (script: string, type: 'module' | 'commonjs' = 'module') =>
    run(process.execPath, [`--input-type=${type}`, '--eval', script], folder);

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'passport-sms-otp-empty-'));
    await run('npm', ['install', '--no-audit', '--no-fund', '--prefer-offline', tarball], folder);
  }, 120_000);

  afterAll(() => rm(folder, { recursive: true, force: true }));

  it('brings at most six packages, itself included', async () => {
    const { packages }: { packages: object } = JSON.parse(
      await readFile(join(folder, 'node_modules/.package-lock.json'), 'utf8'),
    );
    expect(Object.keys(packages).sort()).toEqual(
      ['libphonenumber-js', 'passport-sms-otp', 'passport-strategy', 'rate-limiter-flexible', 'undici'].map(
        (name) => `node_modules/${name}`,
      ),
    );
  });

  it('gives import and require the same things, at every entry', async () => {
    const { exports } = await readManifest();
    const entries = Object.keys(exports).filter((path) => exports[path]?.default);
    expect(entries).toEqual(['.', './infobip', './simulator']);
    const names = entries.map((path) => `passport-sms-otp${path.slice(1)}`);
    const out = await evaluate(`
      import { createRequire } from 'node:module';
      const require = createRequire(import.meta.url);
      for (const name of ${JSON.stringify(names)}) {
        const imported = await import(name);
        const required = require(name);
        for (const key of Object.keys(imported)) if (imported[key] !== required[key]) console.log(name, key, 'differ');
        console.log(Object.keys(imported).length > 0, Object.keys(required).length >= Object.keys(imported).length);
      }
    `);
    expect(out).toBe('true true\n'.repeat(entries.length));
  });

  it('can be required before anything is imported', async () => {
    const out = await evaluate(
      `const { SmsOtpStrategy, Strategy } = require('passport-sms-otp'); console.log(SmsOtpStrategy === Strategy, SmsOtpStrategy.name)`,
      'commonjs',
    );
    expect(out).toBe('true SmsOtpStrategy\n');
  });

  it.each([
    [
      'passport-sms-otp',
      'new SmsOtpStrategy({ client: {}, countries: ["HR"] }, () => false)',
      'SmsOtpStrategy: the option `client`',
    ],
    [
      'passport-sms-otp/infobip',
      'new Infobip2faClient({ baseUrl: "x.api.infobip.com" })',
      'no credentials were given',
    ],
  ])(
    'says of a mistake at the start what it is, and shows no page of code: %s',
    async (entry, mistake, sentence) => {
      const script = `const { SmsOtpStrategy, Infobip2faClient } = await import('${entry}'); ${mistake}`;
      const shown = await evaluate(script).catch((failure: Error) => failure.message);
      expect(shown).toContain(sentence);
      expect(shown.length).toBeLessThan(2500);
    },
  );

  it('runs its command', async () => {
    const { version }: { version: string } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'));
    expect(await run('npx', ['--no-install', 'passport-sms-otp', '--version'], folder)).toContain(version);
  });

  it('loads the root entry where undici is missing', async () => {
    const undici = join(folder, 'node_modules/undici');
    const away = join(folder, 'undici-away');
    await rename(undici, away);
    try {
      await expect(evaluate(`await import('passport-sms-otp/infobip')`)).rejects.toThrow('undici');
      expect(await evaluate(`console.log(typeof (await import('passport-sms-otp')).SmsOtpStrategy)`)).toBe(
        'function\n',
      );
    } finally {
      await rename(away, undici);
    }
  });

  it('logs somebody in through the quick start of the README', async () => {
    const readme = await readFile(join(root, 'README.md'), 'utf8');
    const quickStart = /^## Quick start$[\s\S]*?^```js\n([\s\S]*?)^```$/mu.exec(readme)?.[1] ?? '';
    await writeFile(join(folder, 'app.mjs'), quickStart);
    for (const name of ['express', 'express-session', 'passport']) {
      const link = join(folder, 'node_modules', name);
      // There already where this is a second try.
      await rm(link, { force: true });
      await symlink(join(root, 'node_modules', name), link, 'junction');
    }
    await writeFile(join(folder, 'journey.mjs'), JOURNEY);
    expect(await run(process.execPath, ['journey.mjs'], folder)).toContain('{"phoneNumber":"+385912345678"}');
  });
});

// The site and the phone in one process: what is looked at is the package, as it was packed.
const JOURNEY = `
import { createServer } from 'node:net';
import { startSimulator } from 'passport-sms-otp/simulator';

const simulator = await startSimulator();
// After the simulator, which would take the port that was just found to be free.
const port = await new Promise((resolve) => {
  const server = createServer().listen(0, '127.0.0.1', () => {
    const { port } = server.address();
    server.close(() => resolve(port));
  });
});
Object.assign(process.env, {
  PORT: String(port),
  INFOBIP_BASE_URL: simulator.url,
  INFOBIP_API_KEY: simulator.apiKey,
  INFOBIP_APPLICATION_ID: simulator.applicationId,
  INFOBIP_MESSAGE_ID: simulator.messageId,
});
await import('./app.mjs');
const site = 'http://127.0.0.1:' + port;
let cookie = '';
async function ask(path, form) {
  for (let tries = 0; ; tries += 1) {
    try {
      const response = await fetch(site + path, {
        redirect: 'manual',
        headers: { cookie, 'sec-fetch-site': 'same-origin' },
        ...(form && { method: 'POST', body: new URLSearchParams(form) }),
      });
      cookie = response.headers.get('set-cookie')?.split(';')[0] ?? cookie;
      return response.text();
    } catch (error) {
      if (tries > 100) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}
await ask('/login');
await ask('/login', { phone: '+385 91 234 5678' });
await ask('/login/pin', { pin: simulator.lastMessageTo('+385912345678').pin });
console.log(await ask('/'));
process.exit();
`;
