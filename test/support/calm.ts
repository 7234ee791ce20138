/** A test passes only when nothing was rejected behind its back: in production that would end the process. */

import { afterAll, afterEach, beforeAll, expect, onTestFinished } from 'vitest';

/** To be called once at the top of a test file. */
export function expectNoUnhandledRejection(): void {
  const rejections: unknown[] = [];
  const note = (reason: unknown) => rejections.push(reason);
  beforeAll(() => {
    process.on('unhandledRejection', note);
  });
  afterEach(async () => {
    // Node tells of a rejection after the microtasks of the turn in which nobody handled it.
    await new Promise((resolve) => setImmediate(resolve));
    expect(rejections.splice(0)).toEqual([]);
  });
  afterAll(() => {
    process.off('unhandledRejection', note);
  });
}

/** What would end the process from here to the end of the test, which must hold it against nothing. */
export function noteUncaught(): unknown[] {
  const thrown: unknown[] = [];
  const note = (error: unknown) => thrown.push(error);
  for (const event of ['uncaughtException', 'unhandledRejection']) {
    process.on(event, note);
    onTestFinished(() => void process.off(event, note));
  }
  return thrown;
}
