/** A PostgreSQL server of one's own in a folder that is thrown away. */

import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { chownSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { freePort } from './ports.js';

export interface PostgresServer {
  /** A connection string. */
  url: string;
  stop(): Promise<void>;
  start(): Promise<void>;
  remove(): Promise<void>;
}

/** The folder of PostgreSQL's programs, where they are on this machine. */
export function postgresFolder(): string | undefined {
  const { status, stdout } = spawnSync('pg_config', ['--bindir'], { encoding: 'utf8' });
  const folder = status === 0 ? stdout.trim() : '';
  return existsSync(join(folder, 'initdb')) ? folder : undefined;
}

/** PostgreSQL refuses to run as root: there it runs as the user that its package has made. */
function owner(): { uid: number; gid: number } | Record<never, never> {
  if (process.getuid?.() !== 0) return {};
  const id = (flag: string) => Number(execFileSync('id', [flag, 'postgres'], { encoding: 'utf8' }));
  return { uid: id('-u'), gid: id('-g') };
}

export async function startPostgres(programs: string): Promise<PostgresServer> {
  const user = owner();
  const folder = mkdtempSync(join(tmpdir(), 'postgres-'));
  if ('uid' in user) chownSync(folder, user.uid, user.gid);
  const data = join(folder, 'data');
  const initdb = ['-D', data, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--no-sync'];
  execFileSync(join(programs, 'initdb'), initdb, { ...user, stdio: 'pipe', cwd: folder });
  const port = await freePort();
  const url = `postgres://postgres@127.0.0.1:${port}/postgres`;
  let child: ChildProcess | undefined;

  async function start(): Promise<void> {
    if (child !== undefined) return;
    const options = ['-D', data, '-h', '127.0.0.1', '-p', String(port), '-k', folder, '-F'];
    child = spawn(join(programs, 'postgres'), options, { ...user, stdio: 'ignore', cwd: folder });
    const deadline = Date.now() + 30_000;
    while (!(await answers(url))) {
      if (Date.now() > deadline) throw new Error('PostgreSQL does not answer');
      await new Promise((resolve) => setTimeout(resolve, 30));
    }
  }

  async function stop(): Promise<void> {
    const running = child;
    child = undefined;
    if (running === undefined) return;
    const ended = new Promise((resolve) => running.once('close', resolve));
    // "Immediate" in its own words: the connections are cut.
    running.kill('SIGQUIT');
    await ended;
  }

  await start();
  return {
    url,
    stop,
    start,
    async remove() {
      await stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Whether a query is answered: a server that starts takes connections before that, and refuses them with 57P03. */
async function answers(connectionString: string): Promise<boolean> {
  const client = new pg.Client({ connectionString, connectionTimeoutMillis: 1_000 });
  // Without a listener, a connection that is cut would end the process.
  client.on('error', () => undefined);
  try {
    await client.connect();
    await client.query('SELECT 1');
    return true;
  } catch {
    return false;
  } finally {
    await client.end().catch(() => undefined);
  }
}
