import { type SessionData, Store } from 'express-session';
import { z } from 'zod';
import type { Database } from './database.js';

const sessionRow = z.object({ data: z.string() });

/** A session without a date to end at lives for a day. */
const defaultLifetimeMs = 24 * 60 * 60 * 1000;

/** express-session's sessions in the site's own file. An expired one is gone at once; `sweep` deletes its row. */
export class SqliteSessionStore extends Store {
  private readonly database: Database;

  constructor(database: Database) {
    super();
    this.database = database;
  }

  override get(id: string, done: (error: unknown, session?: SessionData | null) => void): void {
    answer(done, () => {
      const row = this.database
        .prepare('SELECT data FROM sessions WHERE id = ? AND expires_at > ?')
        .get(id, Date.now());
      return row === undefined ? null : JSON.parse(sessionRow.parse(row).data);
    });
  }

  override set(id: string, session: SessionData, done?: (error?: unknown) => void): void {
    answer(done, () => {
      this.database
        .prepare(
          `INSERT INTO sessions (id, data, expires_at) VALUES (?, ?, ?)
           ON CONFLICT (id) DO UPDATE SET data = excluded.data, expires_at = excluded.expires_at`,
        )
        .run(id, JSON.stringify(session), expiryOf(session));
    });
  }

  /** Moves the end of a session that was used; one that was destroyed meanwhile stays so. */
  override touch(id: string, session: SessionData, done?: (error?: unknown) => void): void {
    answer(done, () => {
      this.database.prepare('UPDATE sessions SET expires_at = ? WHERE id = ?').run(expiryOf(session), id);
    });
  }

  override destroy(id: string, done?: (error?: unknown) => void): void {
    answer(done, () => {
      this.database.prepare('DELETE FROM sessions WHERE id = ?').run(id);
    });
  }
}

function expiryOf(session: SessionData): number {
  const { expires } = session.cookie;
  return expires ? new Date(expires).getTime() : Date.now() + defaultLifetimeMs;
}

/** Calls back after the current turn, as express-session expects of a store, and exactly once. */
function answer<Result>(
  done: ((error: unknown, result?: Result) => void) | undefined,
  work: () => Result,
): void {
  let outcome: [error: unknown, result?: Result];
  try {
    outcome = [null, work()];
  } catch (error) {
    outcome = [error];
  }
  setImmediate(() => done?.(...outcome));
}
