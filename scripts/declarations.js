// Cuts a folder of declarations down to what its entries lead to: a type that only the inside of the package mentions
// is no user's business, and its declaration would only be weight.

import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { relative, resolve } from 'node:path';
import { decode, encode } from '@jridgewell/sourcemap-codec';
import ts from 'typescript';

/**
 * @param {string} folder the declarations, with their maps
 * @param {string[]} entries paths of the declarations that users import
 * @param {(declaration: string) => boolean} hasSource whether the map of a declaration leads to something
 */
export function cutDeclarations(folder, entries, hasSource) {
  const program = ts.createProgram(entries, {
    module: ts.ModuleKind.NodeNext,
    target: ts.ScriptTarget.ES2023,
    types: ['node'],
    skipLibCheck: true,
  });
  const checker = program.getTypeChecker();
  const isOurs = ({ fileName }) => !relative(folder, fileName).startsWith('..');
  const sourceFiles = program.getSourceFiles().filter(isOurs);
  const needed = new Set();

  for (const entry of entries) {
    const module = checker.getSymbolAtLocation(program.getSourceFile(entry));
    for (const exported of checker.getExportsOfModule(module)) need(exported);
  }
  // What merges into the host's own declarations, and what is passed on, counts wherever it stands.
  for (const { statements } of sourceFiles)
    statements
      .filter((statement) => ts.isModuleDeclaration(statement) || ts.isExportDeclaration(statement))
      .forEach(keep);

  const kept = new Set();
  for (const sourceFile of sourceFiles) {
    // `export {}` alone only says that the file is a module.
    const isMark = ({ exportClause, moduleSpecifier }) =>
      !moduleSpecifier && exportClause?.elements?.length === 0;
    if (!sourceFile.statements.some((statement) => needed.has(statement) && !isMark(statement))) continue;
    const path = relative('.', sourceFile.fileName);
    const hasMap = hasSource(path);
    writeFileSync(path, cut(sourceFile, hasMap));
    kept.add(resolve(path));
    if (!hasMap) continue;
    kept.add(`${resolve(path)}.map`);
    thin(`${path}.map`, sourceFile);
  }
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    const path = resolve(entry.parentPath, entry.name);
    if (entry.isFile() && !kept.has(path)) rmSync(path);
  }

  /** Leaves in a map what an editor looks up: where each name is declared. */
  function thin(path, sourceFile) {
    const names = new Set();
    const visit = (node) => {
      const name = node.name && ts.isIdentifier(node.name) ? node.name : undefined;
      if (name) {
        const { line, character } = sourceFile.getLineAndCharacterOfPosition(name.getStart());
        names.add(`${line}:${character}`);
      }
      ts.forEachChild(node, visit);
    };
    sourceFile.statements.filter((statement) => needed.has(statement)).forEach(visit);
    const map = JSON.parse(readFileSync(path, 'utf8'));
    const mappings = decode(map.mappings).map((segments, line) =>
      segments.filter(([character]) => names.has(`${line}:${character}`)),
    );
    writeFileSync(path, JSON.stringify({ ...map, mappings: encode(mappings) }));
  }

  function need(symbol) {
    const target = symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;
    for (const declaration of target.declarations ?? []) {
      const statement = ts.findAncestor(declaration, ({ parent }) => parent && ts.isSourceFile(parent));
      if (statement && isOurs(statement.parent)) keep(statement);
    }
  }

  function keep(statement) {
    if (needed.has(statement)) return;
    needed.add(statement);
    const visit = (node) => {
      const symbol = ts.isIdentifier(node) && checker.getSymbolAtLocation(node);
      if (symbol) need(symbol);
      ts.forEachChild(node, visit);
    };
    visit(statement);
  }

  function cut(sourceFile, hasMap) {
    const used = new Set();
    const collect = (node) => {
      if (ts.isIdentifier(node)) used.add(node.text);
      ts.forEachChild(node, collect);
    };
    sourceFile.statements.filter((statement) => needed.has(statement)).forEach(collect);

    // The map counts lines: what is cut leaves its lines behind.
    const lines = (whole) => (hasMap ? whole.replace(/[^\n]/gu, '') : '');
    // A comment of the file stands before the first statement, apart from the statement's own.
    let text = sourceFile.text.slice(0, sourceFile.statements[0].getStart(sourceFile, true));
    for (const statement of sourceFile.statements) {
      const start =
        statement === sourceFile.statements[0]
          ? statement.getStart(sourceFile, true)
          : statement.getFullStart();
      const whole = sourceFile.text.slice(start, statement.getEnd());
      if (needed.has(statement)) text += whole;
      else if (ts.isImportDeclaration(statement)) text += importOf(statement, whole, used, lines);
      else text += lines(whole);
    }
    text += '\n';
    return hasMap ? `${text}//# sourceMappingURL=${sourceFile.fileName.split('/').at(-1)}.map\n` : text;
  }
}

function importOf(statement, whole, used, lines) {
  const bindings = statement.importClause?.namedBindings;
  if (bindings === undefined || !ts.isNamedImports(bindings)) return whole;
  const specifiers = bindings.elements.filter(({ name }) => used.has(name.text));
  if (specifiers.length === 0) return lines(whole);
  const before = whole.slice(0, whole.indexOf('{'));
  const after = whole.slice(whole.lastIndexOf('}'));
  const names = specifiers.map((specifier) => specifier.getText()).join(', ');
  return `${before}{ ${names} ${lines(whole.slice(before.length, -after.length))}${after}`;
}
