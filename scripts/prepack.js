// Builds dist/ from nothing, as it is packed: what a deleted source has left behind must not ship.
//
// The JavaScript is bundled, one file per entry and one per shared part, because a file costs more to find than to
// read, and small, because the TypeScript is there to be read. Classes keep their names, and the functions of the root
// entry theirs, for stack traces.
// The declarations are cut down to what the entries lead to, with a map to each source that ships.

import { execFileSync } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { rolldown } from 'rolldown';
import { parseAst } from 'rolldown/parseAst';
import { minifySync } from 'rolldown/utils';
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
// The phone page is text to the bundler: its script and style are made small here.
const phonePage = {
  name: 'phone-page',
  async transform(code, id) {
    if (!id.endsWith('lib/simulator/page.ts')) return;
    const page = await import(`data:text/javascript,${encodeURIComponent(code)}`);
    const packed = {
      ...page,
      html: page.html.replace(/\n +/gu, '\n'),
      css: page.css.replace(/\s*([{};,])\s+/gu, '$1'),
      js: minifySync('phone.js', page.js, { compress: true, mangle: true }).code,
    };
    return Object.entries(packed)
      .map(([name, text]) => `export const ${name} = ${JSON.stringify(text)};`)
      .join('\n');
  },
};

const small = {
  name: 'small',
  generateBundle(_options, bundle) {
    for (const chunk of Object.values(bundle)) {
      if (chunk.type !== 'chunk') continue;
      const isRoot = Object.keys(chunk.modules).some(
        (id) => !/[/\\]lib[/\\](?:simulator|cli|infobip)[/\\]/u.test(id),
      );
      const mangle = { toplevel: true, keepNames: { function: isRoot, class: true } };
      const { code } = minifySync(chunk.fileName, chunk.code, { module: true, compress: true, mangle });
      chunk.code = inLines(code);
    }
  },
};

// A line for each statement and each member: Node shows the line that threw, and it must not be the whole file.
function inLines(code) {
  const starts = [];
  const visit = (node) => {
    if (typeof node !== 'object' || node === null) return;
    if (Array.isArray(node)) {
      node.forEach(visit);
      return;
    }
    if (['Program', 'BlockStatement', 'ClassBody'].includes(node.type)) {
      starts.push(...node.body.map(({ start }) => start));
    }
    Object.values(node).forEach(visit);
  };
  visit(parseAst(code));
  let text = '';
  let from = 0;
  for (const start of starts.filter((start) => start > 0).sort((a, b) => a - b)) {
    text += code.slice(from, start) + (code[start - 1] === '\n' ? '' : '\n');
    from = start;
  }
  return text + code.slice(from);
}

const bundle = await rolldown({
  input: Object.fromEntries(names.map((name) => [name, `lib/${name}.ts`])),
  platform: 'node',
  external: /^[^./]/u,
  plugins: [phonePage, small],
});
await bundle.write({
  dir: 'dist',
  format: 'esm',
  entryFileNames: '[name].js',
  chunkFileNames: 'shared/[name].js',
  comments: false,
});
await bundle.close();
