/**
 * Mutation testing, one group of files after the other: `npm run test:mutation`, or `npm run test:mutation -- phone
 * budgets`. What was found out is kept in reports/mutation, so a run that was stopped goes on where it was.
 */

import { readFileSync } from 'node:fs';
import { Stryker } from '@stryker-mutator/core';
import { groups } from './mutation-groups.js';

/** A killed mutant is one that a test has seen: by failing, or by never ending. */
const KILLED = new Set(['Killed', 'Timeout']);
const COUNTED = new Set([...KILLED, 'Survived', 'NoCoverage']);

const [, , ...wanted] = process.argv;
const names = wanted.length > 0 ? wanted : Object.keys(groups);
const unknown = names.find((name) => !Object.hasOwn(groups, name));
if (unknown !== undefined) {
  console.error(`There is no group ${unknown}. Groups: ${Object.keys(groups).join(', ')}.`);
  process.exit(2);
}

for (const name of names) {
  // Read by the configuration of Vitest, which runs in processes of Stryker's own.
  process.env.MUTATION_GROUP = name;
  const report = `reports/mutation/${name}.json`;
  await new Stryker({
    packageManager: 'npm',
    testRunner: 'vitest',
    plugins: ['@stryker-mutator/vitest-runner'],
    vitest: { configFile: 'vitest.mutation.config.ts', related: false },
    mutate: groups[name].mutate,
    ignorePatterns: ['reports', 'docs/images', 'bench'],
    incremental: true,
    incrementalFile: `reports/mutation/incremental-${name}.json`,
    reporters: ['progress', 'clear-text', 'json'],
    clearTextReporter: {
      allowColor: false,
      reportTests: false,
      reportMutants: false,
      reportScoreTable: false,
    },
    jsonReporter: { fileName: report },
    concurrency: Number(process.env.MUTATION_CONCURRENCY ?? 1),
    timeoutMS: 20_000,
    allowConsoleColors: false,
    tempDirName: `.stryker-tmp/${name}`,
  }).runMutationTest();
  tell(report);
}

function tell(report) {
  const { files } = JSON.parse(readFileSync(report, 'utf8'));
  for (const [file, { mutants }] of Object.entries(files)) {
    const counted = mutants.filter(({ status }) => COUNTED.has(status));
    const killed = counted.filter(({ status }) => KILLED.has(status));
    const score = counted.length === 0 ? 100 : (100 * killed.length) / counted.length;
    console.log(`${file}: ${score.toFixed(1)} % of ${counted.length} mutants killed`);
    for (const { status, location, mutatorName, replacement } of counted) {
      if (KILLED.has(status)) continue;
      const { line, column } = location.start;
      console.log(`  ${file}:${line}:${column} ${status} ${mutatorName}: ${JSON.stringify(replacement)}`);
    }
  }
}
