import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

export default defineConfig({
  resolve: {
    // The tests read the sources; only the suites that start a process use what was built.
    alias: [
      { find: /^passport-sms-otp$/, replacement: here('./lib/index.ts') },
      { find: /^passport-sms-otp\/infobip$/, replacement: here('./lib/infobip/index.ts') },
      { find: /^passport-sms-otp\/simulator$/, replacement: here('./lib/simulator/index.ts') },
    ],
  },
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/support/build.ts'],
    // Half of the time tests wait for a clock or another process: two cores have room for two at once.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    testTimeout: 20_000,
    hookTimeout: 60_000,
    // Real browsers and processes on a shared machine: two more tries, and a broken guard fails those as well.
    retry: process.env.CI ? 2 : 0,
  },
});
