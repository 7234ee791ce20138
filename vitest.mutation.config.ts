import { defineConfig } from 'vitest/config';
import { groups } from './scripts/mutation-groups.js';
import base from './vitest.config.js';

const { tests = ['test/*.test.ts'] } = groups[process.env.MUTATION_GROUP ?? ''] ?? {};

/**
 * The suites of one group, with nothing built: what they judge are the sources. Isolated, because a mutant in what a
 * module makes once, as it is loaded, would otherwise be judged by what the mutant before it left.
 */
export default defineConfig({
  ...base,
  test: { ...base.test, include: tests, globalSetup: [], isolate: true },
});
