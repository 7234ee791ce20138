/** The tables of docs/security.md: every test that they name exists, and every line has one or says whose duty it is. */

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';

const tests = fileURLToPath(new URL('..', import.meta.url));
const page = readFileSync(join(tests, '../docs/security.md'), 'utf8');

/** The first word of `it.each(...)('title')`, `describe.skipIf(...)('title')` and the like. */
function calledName(callee: ts.Expression): string {
  if (ts.isCallExpression(callee) || ts.isPropertyAccessExpression(callee))
    return calledName(callee.expression);
  return ts.isIdentifier(callee) ? callee.text : '';
}

/** The titles in one test file, as they stand there: suites, tests, and what a helper named `describe...` is given. */
function titlesIn(path: string): Set<string> {
  const source = ts.createSourceFile(path, readFileSync(path, 'utf8'), ts.ScriptTarget.Latest, true);
  const titles = new Set<string>();
  const look = (node: ts.Node): void => {
    const [title] = ts.isCallExpression(node) ? node.arguments : [];
    if (
      ts.isCallExpression(node) &&
      title &&
      /^(?:it|test|describe\w*)$/u.test(calledName(node.expression))
    ) {
      if (ts.isStringLiteralLike(title)) titles.add(title.text);
      else if (ts.isTemplateExpression(title)) titles.add(title.getText(source).slice(1, -1));
    }
    ts.forEachChild(node, look);
  };
  look(source);
  return titles;
}

const suite = new Map(
  readdirSync(tests, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts'))
    .map((path) => [path.replace(/(?:\.test)?\.ts$/u, ''), titlesIn(join(tests, path))]),
);

/** The rows of all tables, without their heads; the last cell names tests. */
const rows = [...page.matchAll(/^\|(?! ---)(.+)\|\n/gmu)]
  .map(([line, cells = '']) => ({ line, cells: cells.split(' | ').map((cell) => cell.trim()) }))
  .filter(({ line }) => !page.includes(`${line}| ---`));

function testsIn(cell: string): { file: string; title: string }[] {
  return [...cell.matchAll(/`([\w/-]+): ([^`]+)`/gu)].map(([, file = '', title = '']) => ({ file, title }));
}

describe('docs/security.md', () => {
  it('has tables, whose lines are found', () => {
    expect(rows.length).toBeGreaterThan(80);
    expect(rows.flatMap(({ cells }) => testsIn(cells.at(-1) ?? '')).length).toBeGreaterThan(120);
  });

  it('names tests that exist, by file and title', () => {
    const missing = rows
      .flatMap(({ cells }) => testsIn(cells.at(-1) ?? ''))
      .filter(({ file, title }) => !suite.get(file)?.has(title));
    expect(missing).toEqual([]);
  });

  it('says of each line which test shows it, or whose duty it is', () => {
    const bare = rows.filter(({ cells }) => {
      const last = cells.at(-1) ?? '';
      return testsIn(last).length === 0 && !last.startsWith('yours: ');
    });
    expect(bare.map(({ line }) => line)).toEqual([]);
  });

  it('would notice a title that does not exist', () => {
    expect(suite.get('attacks/races')?.has('a race that nobody ran')).toBe(false);
    expect(testsIn('`attacks/races: a race that nobody ran`')).toHaveLength(1);
  });

  it('leads to places that exist', () => {
    const readme = readFileSync(join(tests, '../README.md'), 'utf8');
    const anchors = (text: string) =>
      new Set(
        [...text.matchAll(/^#+ (.+)$/gmu)].map(
          ([, heading = '']) =>
            `#${heading
              .toLowerCase()
              .replace(/[^\w\s-]/gu, '')
              .replace(/\s/gu, '-')}`,
        ),
      );
    const security = readFileSync(join(tests, '../SECURITY.md'), 'utf8');
    const linked = [
      ...[...page.matchAll(/\]\((#[^)]+)\)/gu)].map(([, anchor]) => ({ anchor, within: page })),
      ...[...page.matchAll(/\]\(\.\.\/README\.md(#[^)]+)\)/gu)].map(([, anchor]) => ({
        anchor,
        within: readme,
      })),
      ...[...security.matchAll(/\]\(docs\/security\.md(#[^)]+)\)/gu)].map(([, anchor]) => ({
        anchor,
        within: page,
      })),
    ];
    expect(linked.length).toBeGreaterThan(10);
    expect(linked.filter(({ anchor, within }) => !anchors(within).has(anchor ?? ''))).toEqual([]);
  });
});
