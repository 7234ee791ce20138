/** The declarations of the packed package in hosts of every kind that has to compile without a word. */

import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { filesIn, installed, pack, putInto, readManifest, root, run, unpack } from '../support/tarball.js';

// The newest patch of each, under its own name: their commands would take each other's place.
const COMPILERS = {
  'typescript-5.4': 'npm:typescript@5.4.5',
  'typescript-5.9': 'npm:typescript@5.9.3',
  'typescript-6.0': 'npm:typescript@6.0.3',
  'typescript-7.0': 'npm:typescript@7.0.2',
};
type Compiler = keyof typeof COMPILERS;
const compilerNames = Object.keys(COMPILERS) as Compiler[];

const PASSPORT_TYPES = {
  '@types/express-session': '1.19.0',
  '@types/node': '20.19.43',
  '@types/passport': '1.0.17',
};
const HOSTS = {
  'Express 5': {
    types: { '@types/express': '5.0.6', ...PASSPORT_TYPES },
    sources: ['site', 'misuse', 'outcomes'],
  },
  'Express 4': {
    types: { '@types/express': '4.17.25', ...PASSPORT_TYPES },
    sources: ['site', 'misuse', 'outcomes'],
  },
  'no type package': { types: {}, sources: ['bare', 'misuse', 'outcomes'] },
};
type Host = keyof typeof HOSTS;
const hostNames = Object.keys(HOSTS) as Host[];

const SETTINGS = {
  nodenext: { module: 'nodenext', moduleResolution: 'nodenext' },
  bundler: { module: 'preserve', moduleResolution: 'bundler' },
};
type Resolution = keyof typeof SETTINGS;

let unpacked: string;
let compilers: string;
const folders = new Map<Host, string>();

beforeAll(async () => {
  unpacked = await unpack(await pack());
  const { dependencies } = await readManifest();
  compilers = await installed('compilers', COMPILERS);
  for (const name of hostNames) {
    const folder = await installed(name.toLowerCase().replaceAll(' ', '-'), {
      ...dependencies,
      ...HOSTS[name].types,
    });
    await putInto(folder, unpacked);
    await rm(join(folder, 'src'), { recursive: true, force: true });
    for (const source of HOSTS[name].sources) {
      await cp(join(root, 'test/package/hosts', `${source}.ts`), join(folder, 'src', `${source}.ts`));
    }
    folders.set(name, folder);
  }
}, 400_000);

afterAll(() => rm(unpacked, { recursive: true, force: true }));

function folderOf(host: Host): string {
  const folder = folders.get(host);
  if (folder === undefined) throw new Error(`There is no folder for ${host}`);
  return folder;
}

async function writeConfig(host: Host, resolution: Resolution): Promise<string> {
  const config = {
    compilerOptions: {
      ...SETTINGS[resolution],
      target: 'es2022',
      lib: ['es2023'],
      types: host === 'no type package' ? [] : ['node'],
      strict: true,
      exactOptionalPropertyTypes: true,
      noUncheckedIndexedAccess: true,
      noImplicitOverride: true,
      noPropertyAccessFromIndexSignature: true,
      isolatedModules: true,
      verbatimModuleSyntax: true,
      skipLibCheck: false,
      noEmit: true,
    },
    include: ['src'],
  };
  const path = join(folderOf(host), `tsconfig.${resolution}.json`);
  await writeFile(path, JSON.stringify(config, null, 2));
  return path;
}

/** Compiles, unless the same declarations and sources have compiled before. What fails is compiled each time. */
async function compile(host: Host, compiler: Compiler, resolution: Resolution): Promise<void> {
  const config = await writeConfig(host, resolution);
  const hash = createHash('sha256').update(COMPILERS[compiler] + JSON.stringify(HOSTS[host].types));
  hash.update(await readFile(config)).update(await readFile(join(unpacked, 'package.json')));
  const declarations = (await filesIn(unpacked)).filter((file) => file.endsWith('.d.ts'));
  for (const file of declarations) hash.update(await readFile(join(unpacked, file)));
  for (const source of HOSTS[host].sources)
    hash.update(await readFile(join(folderOf(host), 'src', `${source}.ts`)));
  const compiled = join(root, '.cache/package/compiled', hash.digest('hex').slice(0, 16));
  if (await readFile(compiled).catch(() => undefined)) return;
  await run(
    process.execPath,
    [join(compilers, 'node_modules', compiler, 'bin/tsc'), '-p', config],
    folderOf(host),
  );
  await mkdir(join(root, '.cache/package/compiled'), { recursive: true });
  await writeFile(compiled, `${host}, ${compiler}, ${resolution}`);
}

describe.each(compilerNames)('with %s', (compiler) => {
  it('compile strictly, declarations of dependencies included, under nodenext and bundler', async () => {
    await compile('Express 5', compiler, 'nodenext');
    await compile('Express 5', compiler, 'bundler');
  }, 120_000);
});

describe.each(['typescript-5.4', 'typescript-7.0'] as const)(
  'with the oldest and the newest, %s',
  (compiler) => {
    it.each(['Express 4', 'no type package'] as const)(
      'compile in a host with %s',
      async (host) => {
        await compile(host, compiler, 'nodenext');
      },
      120_000,
    );
  },
);

describe('an editor', () => {
  // The sources of what else there is are left out: the tarball has a limit, and their declarations say it all.
  it('goes from the classes and functions of a site to their TypeScript', async () => {
    const folder = folderOf('Express 5');
    const uses = [
      ['SmsOtpStrategy', 'passport-sms-otp', 'strategy'],
      ['openChallenge', 'passport-sms-otp', 'challenge'],
      ['requireSmsOtp', 'passport-sms-otp', 'second-factor'],
      ['Infobip2faClient', 'passport-sms-otp/infobip', 'infobip/client'],
    ] as const;
    await writeFile(
      join(folder, 'src/editor.ts'),
      uses.map(([name, entry]) => `import { ${name} } from '${entry}';\n`).join(''),
    );
    await writeFile(
      join(folder, 'tsconfig.json'),
      await readFile(await writeConfig('Express 5', 'nodenext')),
    );
    const editor = new Editor(join(compilers, 'node_modules/typescript-6.0/lib/tsserver.js'));
    try {
      const file = join(folder, 'src/editor.ts');
      editor.send('open', { file });
      for (const [index, [name, , module]] of uses.entries()) {
        const [found] = await editor.ask('definition', {
          file,
          line: index + 1,
          offset: 'import { x'.length,
        });
        expect(found?.file, name).toBe(join(folder, 'node_modules/passport-sms-otp/lib', `${module}.ts`));
        const line = (await readFile(found?.file ?? '', 'utf8')).split('\n')[(found?.start.line ?? 0) - 1];
        expect(line).toMatch(new RegExp(`^export (async function|function|class) ${name}\\b`, 'u'));
      }
    } finally {
      editor.close();
      await rm(join(folder, 'src/editor.ts'));
    }
  }, 120_000);
});

interface Definition {
  file: string;
  start: { line: number };
}

/** The language server that editors talk to. */
class Editor {
  #server: ChildProcess;
  #sent = 0;
  #waiting = new Map<number, (body: Definition[]) => void>();

  constructor(tsserver: string) {
    this.#server = spawn(process.execPath, [tsserver, '--disableAutomaticTypingAcquisition'], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    let text = '';
    this.#server.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
      const lines = text.split('\n');
      text = lines.pop() ?? '';
      for (const line of lines.filter((whole) => whole.startsWith('{'))) {
        const { request_seq: sequence, body }: { request_seq?: number; body?: Definition[] } =
          JSON.parse(line);
        if (sequence !== undefined) this.#waiting.get(sequence)?.(body ?? []);
      }
    });
  }

  send(command: string, args: object): number {
    this.#sent += 1;
    const message = { seq: this.#sent, type: 'request', command, arguments: args };
    this.#server.stdin?.write(`${JSON.stringify(message)}\n`);
    return this.#sent;
  }

  ask(command: string, args: object): Promise<Definition[]> {
    const sequence = this.send(command, args);
    return new Promise((resolve) => this.#waiting.set(sequence, resolve));
  }

  close(): void {
    this.#server.kill();
  }
}

describe('the hosts', () => {
  it('are the files that are compiled', async () => {
    const compiled = new Set(
      hostNames.flatMap((name) => HOSTS[name].sources.map((source) => `${source}.ts`)),
    );
    const there = await filesIn(join(root, 'test/package/hosts'));
    expect(there.map((file) => basename(file))).toEqual([...compiled].sort());
  });
});
