/** Settings in an env file, as Node's `--env-file` and dotenv read them. */

import { randomUUID } from 'node:crypto';
import { access, constants, readFile, realpath, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { parseEnv } from 'node:util';
import { CommandError } from './command.js';
import { codeOf, type Settings } from './connection.js';

/** Fails early, before anything is made in the account, when the file cannot be written. */
export async function checkWritable(file: string): Promise<void> {
  try {
    await readExisting(file);
    await access(dirname(await realTarget(file)), constants.W_OK);
  } catch (error) {
    throw notWritable(file, error);
  }
}

/**
 * Puts settings into the file and leaves the rest of it as it is. A setting that has another value there is replaced
 * only with `force`; without it nothing is written. The file is its owner's alone (0600) from the first byte on, and
 * never half written. Resolves with the names that are new or changed.
 */
export async function writeEnvFile(file: string, settings: Settings, force: boolean): Promise<string[]> {
  let text: string;
  try {
    text = await readExisting(file);
  } catch (error) {
    throw notWritable(file, error);
  }
  const has = parseEnv(text);
  const changed = Object.entries(settings).filter(([name, value]) => has[name] !== value);
  const kept = changed.map(([name]) => name).filter((name) => has[name]);
  if (kept.length > 0 && !force) {
    const sentence = `${file} has another ${kept.join(' and ')}. Nothing was written; --force replaces it.`;
    throw new CommandError(1, sentence, {
      error: { code: 'EXISTING_VALUE', names: kept, message: sentence },
    });
  }
  let written = text === '' || text.endsWith('\n') ? text : `${text}\n`;
  for (const [name, value] of changed) {
    const line = `${name}=${quoted(name, value)}`;
    const existing = new RegExp(`^[ \\t]*(?:export[ \\t]+)?${name}[ \\t]*=.*$`, 'gm');
    written = existing.test(written) ? written.replace(existing, () => line) : `${written}${line}\n`;
  }
  const check = parseEnv(written);
  const lost = changed.map(([name]) => name).filter((name) => check[name] !== settings[name]);
  if (lost.length > 0) {
    throw new CommandError(3, `${file} cannot be brought to hold ${lost.join(' and ')}. Edit it by hand.`);
  }
  const target = await realTarget(file);
  const draft = `${target}.${randomUUID()}`;
  try {
    await writeFile(draft, written, { mode: 0o600, flag: 'wx' });
    await rename(draft, target);
  } catch (error) {
    await rm(draft, { force: true });
    throw notWritable(file, error);
  }
  return changed.map(([name]) => name);
}

/** The lines for an env file. */
export function envLines(settings: Settings): string {
  return Object.entries(settings)
    .map(([name, value]) => `${name}=${quoted(name, value)}\n`)
    .join('');
}

function quoted(name: string, value: string): string {
  if (/^[\w.:/@+=-]*$/.test(value)) return value;
  const quote = ["'", '"', '`'].find((each) => !value.includes(each));
  if (quote === undefined || /[\r\n]/.test(value) || (quote === '"' && value.includes('\\'))) {
    throw new CommandError(3, `${name} has characters that an env file cannot hold.`);
  }
  return `${quote}${value}${quote}`;
}

async function readExisting(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error;
    // The file may be missing, its folder may not.
    await stat(dirname(file));
    return '';
  }
}

/** A link stays a link: what it points to is replaced. */
async function realTarget(file: string): Promise<string> {
  try {
    return await realpath(file);
  } catch {
    return file;
  }
}

function notWritable(file: string, error: unknown): CommandError {
  if (error instanceof CommandError) return error;
  return new CommandError(3, `${file} cannot be written (${codeOf(error)}).`);
}
