/** Where trusted browsers are kept: in memory, or in SQLite. */

import { property } from './request.js';
import type { TrustedBrowserRecord, TrustedBrowserStore } from './trusted-browsers.js';

/** A store in this process's memory: a restart forgets all browsers, which costs each of them one PIN. */
export function memoryTrustedBrowsers(): TrustedBrowserStore {
  const records = new Map<string, TrustedBrowserRecord>();
  const of = (subject: string) => [...records.values()].filter((record) => record.subject === subject);
  return {
    add(record) {
      for (const { id, expiresAt } of records.values()) {
        // In the order of their making, and all live equally long: the first that is alive ends the search.
        if (expiresAt > record.createdAt) break;
        records.delete(id);
      }
      records.set(record.id, { ...record });
    },
    get(id) {
      const record = records.get(id);
      return record && { ...record };
    },
    rotate(id, from, to, at) {
      const record = records.get(id);
      if (record?.current !== from) return false;
      records.set(id, { ...record, previous: from, current: to, usedAt: at });
      return true;
    },
    list: (subject) => of(subject).map((record) => ({ ...record })),
    remove: (subject, id) => records.get(id)?.subject === subject && records.delete(id),
    removeAll(subject) {
      for (const { id } of of(subject)) records.delete(id);
    },
  };
}

/** A connection to SQLite, as better-sqlite3, libsql and `node:sqlite` make it. */
export interface SqliteDatabase {
  exec(sql: string): unknown;
  prepare(sql: string): SqliteStatement;
}

/** A prepared statement. */
export interface SqliteStatement {
  run(...values: (string | number | null)[]): { changes: number | bigint };
  get(...values: (string | number | null)[]): unknown;
  all(...values: (string | number | null)[]): unknown[];
}

/**
 * A store in SQLite: the table `trusted_browsers` is made where there is none. For many processes of one machine; set
 * `busy_timeout` on the connection, as for any database that several write to.
 *
 * @param database an open connection of better-sqlite3, libsql or `node:sqlite`
 */
export function sqliteTrustedBrowsers(database: SqliteDatabase): TrustedBrowserStore {
  database.exec(`
    CREATE TABLE IF NOT EXISTS trusted_browsers (
      id TEXT PRIMARY KEY,
      subject TEXT NOT NULL,
      current_hash TEXT NOT NULL,
      previous_hash TEXT,
      label TEXT NOT NULL,
      created_at INTEGER NOT NULL,
      used_at INTEGER NOT NULL,
      expires_at INTEGER NOT NULL
    );
    CREATE INDEX IF NOT EXISTS trusted_browsers_by_subject ON trusted_browsers (subject);
    CREATE INDEX IF NOT EXISTS trusted_browsers_by_end ON trusted_browsers (expires_at);
  `);
  const clean = database.prepare('DELETE FROM trusted_browsers WHERE expires_at <= ?');
  const insert = database.prepare(
    `INSERT INTO trusted_browsers (id, subject, current_hash, previous_hash, label, created_at, used_at, expires_at)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
  );
  const byId = database.prepare('SELECT * FROM trusted_browsers WHERE id = ?');
  const bySubject = database.prepare('SELECT * FROM trusted_browsers WHERE subject = ?');
  // One statement: the row changes for exactly one of two who come with the same value.
  const exchange = database.prepare(
    'UPDATE trusted_browsers SET previous_hash = current_hash, current_hash = ?, used_at = ? WHERE id = ? AND current_hash = ?',
  );
  const remove = database.prepare('DELETE FROM trusted_browsers WHERE subject = ? AND id = ?');
  const removeAll = database.prepare('DELETE FROM trusted_browsers WHERE subject = ?');
  return {
    add(record) {
      const { id, subject, current, previous, label, createdAt, usedAt, expiresAt } = record;
      clean.run(createdAt);
      insert.run(id, subject, current, previous, label, createdAt, usedAt, expiresAt);
    },
    get(id) {
      const row = byId.get(id);
      return row === undefined || row === null ? undefined : recordOf(row);
    },
    rotate: (id, from, to, at) => Number(exchange.run(to, at, id, from).changes) === 1,
    list: (subject) => bySubject.all(subject).map(recordOf),
    remove: (subject, id) => Number(remove.run(subject, id).changes) === 1,
    removeAll(subject) {
      removeAll.run(subject);
    },
  };
}

function recordOf(row: unknown): TrustedBrowserRecord {
  const text = (column: string) => String(property(row, column));
  // Connections that are set to read integers as BigInt give those.
  const time = (column: string) => Number(property(row, column));
  const previous = property(row, 'previous_hash');
  return {
    id: text('id'),
    subject: text('subject'),
    current: text('current_hash'),
    previous: previous === null ? null : String(previous),
    label: text('label'),
    createdAt: time('created_at'),
    usedAt: time('used_at'),
    expiresAt: time('expires_at'),
  };
}
