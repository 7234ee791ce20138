import { defineConfig } from 'vitest/config';
import { groups } from './scripts/mutation-groups.js';
import base from './vitest.config.js';

const { tests = ['test/*.test.ts'] } = groups[process.env.MUTATION_GROUP ?? ''] ?? {};

/** The suites of one group, with nothing built: what they judge are the sources. */
export default defineConfig({
  ...base,
  test: { ...base.test, include: tests, globalSetup: [], isolate: false },
});
