/** The package as it is packed, and folders outside the repository that use it. */

import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cp, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

export const root = fileURLToPath(new URL('../..', import.meta.url));

/** Runs a program to its end; its output is in the error too. */
export async function run(command: string, args: string[], cwd: string): Promise<string> {
  try {
    const { stdout } = await promisify(execFile)(command, args, { cwd, maxBuffer: 1e8 });
    return stdout;
  } catch (error) {
    const { stdout = '', stderr = '' }: { stdout?: string; stderr?: string } = Object(error);
    throw new Error(`${command} ${args.join(' ')} failed in ${cwd}\n${stdout}${stderr}`);
  }
}

/** Packs once for the same sources. */
export async function pack(): Promise<string> {
  return (await run(process.execPath, ['scripts/pack.js'], root)).trim();
}

export interface Manifest {
  dependencies: Record<string, string>;
  exports: Record<string, { types?: string; default?: string }>;
  files: string[];
}

export async function readManifest(): Promise<Manifest> {
  return JSON.parse(await readFile(join(root, 'package.json'), 'utf8'));
}

/** A folder of its own with the tarball unpacked in it. */
export async function unpack(tarball: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'passport-sms-otp-'));
  await run('tar', ['-xzf', tarball, '--strip-components=1'], folder);
  return folder;
}

/** Every file under a folder, by its relative path with forward slashes. */
export async function filesIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) =>
      join(entry.parentPath, entry.name)
        .slice(folder.length + 1)
        .replaceAll('\\', '/'),
    )
    .sort();
}

/**
 * A folder outside the repository, where nothing of ours is found by chance, with these packages installed. Installed
 * once for the same packages and kept for the next run.
 */
export async function installed(name: string, dependencies: Record<string, string>): Promise<string> {
  const manifest = JSON.stringify({ name, private: true, type: 'module', dependencies }, null, 2);
  const key = createHash('sha256').update(manifest).digest('hex').slice(0, 12);
  const folder = join(tmpdir(), 'passport-sms-otp-hosts', `${name}-${key}`);
  const isThere = await readFile(join(folder, 'package.json')).catch(() => undefined);
  if (isThere) return folder;
  await mkdir(join(tmpdir(), 'passport-sms-otp-hosts'), { recursive: true });
  const fresh = await mkdtemp(join(tmpdir(), 'passport-sms-otp-hosts', `${name}-new-`));
  await writeFile(join(fresh, 'package.json'), manifest);
  await run('npm', ['install', '--no-audit', '--no-fund', '--prefer-offline', '--no-package-lock'], fresh);
  // Whole or not at all, so that an installation that was stopped is not taken for a finished one.
  await rename(fresh, folder).catch(() => rm(fresh, { recursive: true, force: true }));
  return folder;
}

/** Puts an unpacked package where `folder` imports it from. */
export async function putInto(folder: string, unpacked: string): Promise<void> {
  const place = join(folder, 'node_modules/passport-sms-otp');
  await rm(place, { recursive: true, force: true });
  await cp(unpacked, place, { recursive: true });
}
