import { mkdtemp, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'libsql';
import { memoryTrustedBrowsers, type SqliteDatabase, sqliteTrustedBrowsers } from 'passport-sms-otp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { trustedBrowserStoreContract } from './support/trusted-browser-store-contract.js';

trustedBrowserStoreContract('the memory', () => ({ store: memoryTrustedBrowsers() }));

let folder = '';
const open: Database.Database[] = [];
let count = 0;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'trusted-browsers-'));
});
afterAll(async () => {
  for (const database of open) database.close();
  await rm(folder, { recursive: true, force: true });
});

trustedBrowserStoreContract('SQLite, through libsql', () => {
  count += 1;
  const file = join(folder, `${count}.db`);
  const connect = () => {
    const database = new Database(file);
    open.push(database);
    return sqliteTrustedBrowsers(database);
  };
  return { store: connect(), again: connect };
});

// Node has SQLite of its own from version 22.5 on; on older ones there is nothing to run against.
const builtIn = nodeSqlite();
if (builtIn)
  trustedBrowserStoreContract('SQLite, through node:sqlite', () => ({
    store: sqliteTrustedBrowsers(builtIn()),
  }));

function nodeSqlite(): (() => SqliteDatabase) | undefined {
  try {
    const { DatabaseSync } = createRequire(import.meta.url)('node:sqlite');
    return () => new DatabaseSync(':memory:');
  } catch {
    return undefined;
  }
}

describe('the memory', () => {
  it('forgets what is expired when something new comes in', () => {
    const store = memoryTrustedBrowsers();
    const base = { subject: 'alice', current: 'x', previous: null, label: '', usedAt: 0 };
    store.add({ ...base, id: 'a', createdAt: 0, expiresAt: 1000 });
    store.add({ ...base, id: 'b', createdAt: 500, expiresAt: 1500 });
    store.add({ ...base, id: 'c', createdAt: 1000, expiresAt: 2000 });
    expect([store.get('a'), store.get('b'), store.get('c')]).toMatchObject([
      undefined,
      { id: 'b' },
      { id: 'c' },
    ]);
  });
});

describe('SQLite', () => {
  it('forgets what is expired when something new comes in', () => {
    const store = sqliteTrustedBrowsers(new Database(':memory:'));
    const base = { subject: 'alice', current: 'x', previous: null, label: '', usedAt: 0 };
    store.add({ ...base, id: 'a', createdAt: 0, expiresAt: 1000 });
    store.add({ ...base, id: 'c', createdAt: 1000, expiresAt: 2000 });
    expect([store.get('a'), store.get('c')]).toMatchObject([undefined, { id: 'c' }]);
  });
});
