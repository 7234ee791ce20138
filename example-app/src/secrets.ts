import { hkdfSync, randomBytes } from 'node:crypto';
import { existsSync, linkSync, readFileSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { reasonOf, StartupError } from './startup-error.js';

/**
 * The secret that signs session cookies when `SESSION_SECRET` names none: made once, then read from the file
 * `session-secret` beside the data, so that a restart signs nobody out.
 */
export function keptSessionSecret(dataFolder: string): string {
  const file = join(dataFolder, 'session-secret');
  const secret = makeOrRead(file);
  if (/^[0-9a-f]{64}$/.test(secret)) return secret;
  throw new StartupError(
    `The file ${file} holds no session secret: delete it (everybody will have to log in again), or set SESSION_SECRET.`,
  );
}

/** A secret for one purpose, derived from the session secret: nothing else has to be kept, and it lasts as long. */
export function deriveSecret(sessionSecret: string, purpose: string): string {
  return Buffer.from(hkdfSync('sha256', sessionSecret, '', purpose, 32)).toString('hex');
}

function makeOrRead(file: string): string {
  try {
    if (!existsSync(file)) make(file);
  } catch (error) {
    if (reasonOf(error) !== 'EEXIST') throw unusable(file, error);
  }
  try {
    return readFileSync(file, 'utf8').trim();
  } catch (error) {
    throw unusable(file, error);
  }
}

// It gets its name once it is whole, unless it is there by then: of two processes that start together one makes it, and
// the other reads all of it.
function make(file: string): void {
  const unnamed = `${file}.${randomBytes(8).toString('hex')}`;
  writeFileSync(unnamed, `${randomBytes(32).toString('hex')}\n`, { mode: 0o600 });
  try {
    linkSync(unnamed, file);
  } finally {
    unlinkSync(unnamed);
  }
}

function unusable(file: string, error: unknown): StartupError {
  return new StartupError(
    `The session secret in ${file} cannot be read or written (${reasonOf(error)}): mend the file's rights, or set SESSION_SECRET.`,
  );
}
