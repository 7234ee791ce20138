import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import Libsql from 'libsql';
import { reasonOf, StartupError } from './startup-error.js';

export type Database = Libsql.Database;

const fileName = 'site.sqlite';
const sweepEveryMs = 10 * 60 * 1000;

/**
 * Opens the one file that holds everything the site remembers: users, sessions (an open challenge is part of its
 * session) and the counters of the limits. What was answered has been written: a crash loses none of it.
 *
 * @throws StartupError when the folder or the file cannot be used.
 */
export function openDatabase(folder: string): Database {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const database = new Libsql(join(folder, fileName), { timeout: 3000 });
    // Each commit is in the log, and on the disk, before the visitor gets an answer.
    database.pragma('journal_mode = WAL');
    database.pragma('synchronous = FULL');
    database.exec(`
      CREATE TABLE IF NOT EXISTS users (
        id TEXT PRIMARY KEY,
        phone_number TEXT NOT NULL UNIQUE,
        created_at INTEGER NOT NULL
      ) STRICT;
      CREATE TABLE IF NOT EXISTS sessions (
        id TEXT PRIMARY KEY,
        data TEXT NOT NULL,
        expires_at INTEGER NOT NULL
      ) STRICT;
      CREATE INDEX IF NOT EXISTS sessions_expires_at ON sessions (expires_at);
      CREATE TABLE IF NOT EXISTS limits (
        key TEXT PRIMARY KEY,
        points INTEGER NOT NULL DEFAULT 0,
        expire INTEGER
      ) STRICT;
      CREATE INDEX IF NOT EXISTS limits_expire ON limits (expire);
    `);
    return database;
  } catch (error) {
    throw new StartupError(
      `The data folder ${folder} cannot be used (${reasonOf(error)}): give the site the right to write there, or set DATA_DIR to another folder.`,
    );
  }
}

/** Whether the file can be read. */
export function answers(database: Database): boolean {
  try {
    database.prepare('SELECT id FROM sessions LIMIT 1').get();
    return true;
  } catch {
    return false;
  }
}

/** Deletes sessions and counters whose time is over. */
export function sweep(database: Database, now = Date.now()): void {
  database.prepare('DELETE FROM sessions WHERE expires_at <= ?').run(now);
  database.prepare('DELETE FROM limits WHERE expire <= ?').run(now);
}

/** Sweeps now and every ten minutes. The timer keeps no process alive; the answer ends it. */
export function sweepRegularly(database: Database, onError: (error: unknown) => void): () => void {
  const attempt = () => {
    try {
      sweep(database);
    } catch (error) {
      onError(error);
    }
  };
  attempt();
  const timer = setInterval(attempt, sweepEveryMs).unref();
  return () => clearInterval(timer);
}
