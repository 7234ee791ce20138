import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, normalize } from 'node:path/posix';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { describe, expect, it, onTestFinished } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));
const read = (path: string) => readFileSync(`${root}${path}`, 'utf8');

const sources = readdirSync(`${root}lib`, { recursive: true, encoding: 'utf8' })
  .map((path) => path.replaceAll('\\', '/'))
  .filter((path) => path.endsWith('.ts'))
  .sort();
const modules = sources.filter((path) => !path.endsWith('.d.ts'));

interface Import {
  /** A path under lib/, or the name of a package. */
  from: string;
  isOurs: boolean;
  /** Gone after the compiler: it names types only. */
  isType: boolean;
}

/** Every import and re-export of a file, those of types too, static and dynamic. */
function importsOf(path: string): Import[] {
  const known = imports.get(path) ?? readImports(path);
  imports.set(path, known);
  return known;
}

const imports = new Map<string, Import[]>();

function readImports(path: string): Import[] {
  const file = ts.createSourceFile(path, read(`lib/${path}`), ts.ScriptTarget.Latest, true);
  const found: Import[] = [];
  const note = (specifier: ts.Node, isType: boolean) => {
    if (!ts.isStringLiteralLike(specifier)) throw new Error(`lib/${path} imports what cannot be read`);
    const isOurs = specifier.text.startsWith('.');
    const from = isOurs
      ? normalize(join(dirname(path), specifier.text)).replace(/\.js$/u, '.ts')
      : specifier.text;
    found.push({ from, isOurs, isType });
  };
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node)) note(node.moduleSpecifier, isTypeImport(node.importClause));
    if (ts.isExportDeclaration(node) && node.moduleSpecifier) {
      const named =
        node.exportClause && ts.isNamedExports(node.exportClause) ? node.exportClause.elements : [];
      note(
        node.moduleSpecifier,
        node.isTypeOnly || (named.length > 0 && named.every((name) => name.isTypeOnly)),
      );
    }
    if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
      const [specifier] = node.arguments;
      if (specifier) note(specifier, false);
    }
    if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) note(node.argument.literal, true);
    ts.forEachChild(node, visit);
  };
  visit(file);
  return found;
}

function isTypeImport(clause: ts.ImportClause | undefined): boolean {
  if (clause === undefined) return false;
  if (clause.isTypeOnly) return true;
  const named = clause.namedBindings;
  return (
    clause.name === undefined &&
    named !== undefined &&
    ts.isNamedImports(named) &&
    named.elements.length > 0 &&
    named.elements.every((name) => name.isTypeOnly)
  );
}

// The house, from the ground up: a file may import only what stands before it. A new file gets its place here.
const HOUSE = [
  // Leaves. What they say of channels, they say in the words of the interface to the service.
  'otp-client.ts',
  'numbering.ts',
  'phone.ts',
  'fictional.ts',
  'errors.ts',
  'request.ts',
  'ended.ts',
  'outcome.ts',
  'events.ts',
  'decoy.ts',
  // The parts of the strategy.
  'session.ts',
  'turns.ts',
  'challenge.ts',
  'challenges.ts',
  'budgets.ts',
  'marks.ts',
  'second-factor.ts',
  'options.ts',
  'test-numbers.ts',
  'trusted-browsers.ts',
  'trusted-browser-stores.ts',
  'verify.ts',
  'recipient.ts',
  'action.ts',
  'parts.ts',
  'delivery.ts',
  'clicks.ts',
  'check.ts',
  'strategy.ts',
  'origin-bound.ts',
  'index.ts',
];

const LEAVES: Record<string, string[]> = {
  'otp-client.ts': [],
  'numbering.ts': [],
  'phone.ts': ['numbering.ts'],
  'fictional.ts': [],
  'errors.ts': [],
  'request.ts': [],
  'outcome.ts': ['otp-client.ts'],
  'events.ts': ['otp-client.ts'],
  'decoy.ts': ['errors.ts'],
};

describe('an import', () => {
  it('of the strategy leads down, never up or round', () => {
    const ours = modules.filter((path) => !path.includes('/'));
    expect(ours).toEqual([...HOUSE].sort());
    const upwards = ours.flatMap((path) =>
      importsOf(path)
        .filter(
          ({ isOurs, from }) =>
            isOurs && !(HOUSE.indexOf(from) !== -1 && HOUSE.indexOf(from) < HOUSE.indexOf(path)),
        )
        .map(({ from }) => `${path} -> ${from}`),
    );
    expect(upwards).toEqual([]);
  });

  it.each(Object.entries(LEAVES))('of the leaf %s is of nothing but %j', (path, allowed) => {
    const ours = importsOf(path).filter(({ isOurs }) => isOurs);
    expect(ours.map(({ from }) => from).filter((from) => !allowed.includes(from))).toEqual([]);
    expect(ours.filter(({ from, isType }) => from === 'otp-client.ts' && !isType)).toEqual([]);
  });

  it('of the client of Infobip is of the interface to the service, for its types, and of its own folder', () => {
    for (const path of modules.filter((module) => module.startsWith('infobip/'))) {
      for (const { from, isOurs, isType } of importsOf(path)) {
        if (!isOurs || from.startsWith('infobip/')) continue;
        expect([path, from, isType]).toEqual([path, 'otp-client.ts', true]);
      }
    }
  });

  it('of the simulator stays in its folder: it is an independent witness', () => {
    for (const path of modules.filter((module) => module.startsWith('simulator/'))) {
      const outside = importsOf(path).filter(({ from, isOurs }) => isOurs && !from.startsWith('simulator/'));
      expect([path, outside]).toEqual([path, []]);
    }
  });

  it('of the command line is of the two entries it is for, and nothing imports the command line', () => {
    const entries = ['infobip/index.ts', 'simulator/index.ts'];
    for (const path of modules) {
      for (const { from, isOurs } of importsOf(path)) {
        if (!isOurs) continue;
        if (path.startsWith('cli/')) {
          expect([path, from, from.startsWith('cli/') || entries.includes(from)]).toEqual([path, from, true]);
        } else expect(`${path} -> ${from}`).not.toContain('-> cli/');
      }
    }
  });

  it('of the strategy is never of the client, the simulator or the command line', () => {
    for (const path of HOUSE) {
      const sideways = importsOf(path).filter(({ from, isOurs }) => isOurs && from.includes('/'));
      expect([path, sideways]).toEqual([path, []]);
    }
    expect(read('lib/strategy.ts')).not.toMatch(/apiKey|undici|infobip/iu);
  });

  it('of a package is where its place is', () => {
    const places: Record<string, string[]> = {};
    for (const path of modules) {
      for (const { from, isOurs } of importsOf(path)) {
        if (isOurs || from.startsWith('node:')) continue;
        const [first = '', second] = from.split('/');
        const name = first.startsWith('@') ? `${first}/${second}` : first;
        places[name] = [...new Set([...(places[name] ?? []), path])];
      }
    }
    expect(places).toEqual({
      'libphonenumber-js': ['numbering.ts'],
      'passport-strategy': ['strategy.ts'],
      'rate-limiter-flexible': ['budgets.ts'],
      undici: ['infobip/http.ts'],
    });
    const { dependencies } = JSON.parse(read('package.json'));
    expect(Object.keys(dependencies).sort()).toEqual(Object.keys(places).sort());
  });

  it('of a built-in module says so', () => {
    const bare = modules.flatMap((path) =>
      importsOf(path)
        .filter(
          ({ from, isOurs }) =>
            !isOurs && /^(?:fs|http|https|net|crypto|util|path|url|cluster|events|os)$/u.test(from),
        )
        .map(({ from }) => `${path} -> ${from}`),
    );
    expect(bare).toEqual([]);
  });
});

describe('a source file', () => {
  it.each(sources)('%s is plain ASCII, and no drawer for odds and ends', (path) => {
    const text = read(`lib/${path}`);
    const strange = [...text].findIndex((character) => (character.codePointAt(0) ?? 0) > 126);
    expect(strange === -1 ? '' : text.slice(Math.max(0, strange - 20), strange + 5)).toBe('');
    expect(path).not.toMatch(/(?:^|\/)(?:utils?|types|helpers?)\.ts$/u);
  });

  it.each(modules)('%s exports by name', (path) => {
    expect(read(`lib/${path}`)).not.toMatch(/^export default /mu);
  });

  it('of the class that Passport copies has no private members that a copy would lose', () => {
    expect(read('lib/strategy.ts')).not.toMatch(/\bthis\.#|^\s+#\w/mu);
  });

  it('of the root entry is a table of contents', () => {
    const file = ts.createSourceFile('index.ts', read('lib/index.ts'), ts.ScriptTarget.Latest, true);
    expect(
      file.statements.every((statement) => ts.isExportDeclaration(statement) && statement.exportClause),
    ).toBe(true);
  });
});

describe('loading', () => {
  /** The packages of which a process runs anything once it has imported an entry: its coverage names each script. */
  function loaded(entry: string): string[] {
    const folder = mkdtempSync(join(tmpdir(), 'loaded-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const script = `await import(${JSON.stringify(`file://${root}dist/${entry}`)});`;
    execFileSync(process.execPath, ['--input-type=module', '-e', script], {
      env: { ...process.env, NODE_V8_COVERAGE: folder },
    });
    const scripts = readdirSync(folder).flatMap((name): { url: string }[] => {
      return JSON.parse(readFileSync(join(folder, name), 'utf8')).result;
    });
    expect(scripts.map(({ url }) => url)).toContain(`file://${root}dist/${entry}`);
    const names = scripts.flatMap(({ url }) => /node_modules\/((?:@[^/]+\/)?[^/]+)\//u.exec(url)?.[1] ?? []);
    return [...new Set(names)];
  }

  it('the root entry loads no undici, which costs more than all the rest', () => {
    const root = loaded('index.js');
    expect(root).toContain('passport-strategy');
    expect(root).not.toContain('undici');
    // The measure works: it sees undici where undici is.
    expect(loaded('infobip/index.js')).toContain('undici');
  });

  it('the simulator loads no package at all', () => {
    expect(loaded('simulator/index.js')).toEqual([]);
  });
});

describe('the lock file', () => {
  it('holds no address of a registry, on whatever machine it was made', () => {
    const lock = JSON.parse(read('package-lock.json'));
    const packages: [string, Record<string, unknown>][] = Object.entries(lock.packages);
    expect(packages.length).toBeGreaterThan(100);
    expect(packages.filter(([, entry]) => 'resolved' in entry).map(([path]) => path)).toEqual([]);
    expect(read('.npmrc')).toContain('omit-lockfile-registry-resolved=true');
  });
});
