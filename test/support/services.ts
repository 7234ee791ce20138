import { existsSync } from 'node:fs';

/** The Chromium that Debian packages, or the one that `CHROMIUM_PATH` names. */
export function chromiumPath(): string | undefined {
  const paths = [process.env.CHROMIUM_PATH, '/usr/bin/chromium', '/usr/bin/chromium-browser'];
  return paths.find((path) => path !== undefined && existsSync(path));
}

/**
 * Whether a suite that needs something of this machine is skipped, which it says aloud.
 *
 * @throws where `REQUIRE_SERVICES=1` says that everything has to be there
 */
export function requireOrSkip(name: string, found: unknown): boolean {
  if (found) return false;
  if (process.env.REQUIRE_SERVICES === '1') {
    throw new Error(
      `${name} is not on this machine, and REQUIRE_SERVICES=1 says that it has to be: install it.`,
    );
  }
  console.log(`Skipped: ${name} is not on this machine.`);
  return true;
}
