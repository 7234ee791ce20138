import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Cookie, type SessionData } from 'express-session';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type Database, openDatabase, sweep, sweepRegularly } from '../../example-app/src/database.js';
import { limitersIn } from '../../example-app/src/limiters.js';
import { deriveSecret, keptSessionSecret } from '../../example-app/src/secrets.js';
import { SqliteSessionStore } from '../../example-app/src/session-store.js';
import { StartupError } from '../../example-app/src/startup-error.js';
import { usersIn } from '../../example-app/src/users.js';

let folder: string;
let database: Database;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'site-'));
  database = openDatabase(folder);
});

afterEach(() => {
  vi.useRealTimers();
  database.close();
  rmSync(folder, { recursive: true });
});

/** Closes the file and opens it again, as a restart does. */
function reopen(): Database {
  database.close();
  database = openDatabase(folder);
  return database;
}

function countIn(table: 'sessions' | 'limits'): number {
  return database.prepare(`SELECT * FROM ${table}`).all().length;
}

describe('the database', () => {
  it('waits for the disk at each commit, and keeps a log that survives a crash', () => {
    expect(database.pragma('journal_mode', { simple: true })).toMatchObject({ journal_mode: 'wal' });
    expect(database.pragma('synchronous', { simple: true })).toMatchObject({ synchronous: 2 });
  });

  it('is for the eyes of its owner alone', () => {
    const made = join(folder, 'inner');
    openDatabase(made).close();
    expect(statSync(made).mode & 0o777).toBe(0o700);
  });

  it.each<[string, () => string]>([
    [
      'a folder that cannot be made',
      () => {
        writeFileSync(join(folder, 'file'), '');
        return join(folder, 'file', 'data');
      },
    ],
    [
      'a file that is no database',
      () => {
        const other = mkdtempSync(join(folder, 'other-'));
        writeFileSync(join(other, 'site.sqlite'), 'not a database '.repeat(100));
        return other;
      },
    ],
  ])('names %s and what to do', (_what, make) => {
    const place = make();
    expect(() => openDatabase(place)).toThrow(StartupError);
    expect(() => openDatabase(place)).toThrow(
      new RegExp(
        `^The data folder ${place} cannot be used \\(.+\\): give the site the right .* or set DATA_DIR`,
      ),
    );
  });
});

describe('users', () => {
  it('are made by a number that was never seen, and found by it ever after', () => {
    const first = usersIn(database).findOrCreate('+385911234567');
    const other = usersIn(database).findOrCreate('+385911234568');
    const users = usersIn(reopen());

    expect(first).toEqual({ id: expect.any(String), phoneNumber: '+385911234567' });
    expect(users.findOrCreate('+385911234567')).toEqual(first);
    expect(users.find(first.id)).toEqual(first);
    expect(other.id).not.toBe(first.id);
    expect(users.find('nobody')).toBeUndefined();
  });
});

describe('the session secret', () => {
  it('is made once, and readable by its owner alone', () => {
    const secret = keptSessionSecret(folder);
    expect(secret).toMatch(/^[0-9a-f]{64}$/);
    expect(keptSessionSecret(folder)).toBe(secret);
    expect(statSync(join(folder, 'session-secret')).mode & 0o777).toBe(0o600);
  });

  it('is one for all processes that start together, and leaves nothing else in the folder', async () => {
    const secrets = new URL('../../example-app/dist/secrets.js', import.meta.url).href;
    // Each starts once all are there, and makes one after the other.
    const script = `
      import { mkdirSync } from 'node:fs';
      import { keptSessionSecret } from ${JSON.stringify(secrets)};
      const [at] = process.argv.slice(-1);
      while (Date.now() < Number(at));
      for (let index = 0; index < 100; index += 1) {
        mkdirSync('secret-' + index, { recursive: true });
        console.log(keptSessionSecret('secret-' + index));
      }`;
    const started = String(Date.now() + 1500);
    const run = promisify(execFile);
    const made = await Promise.all(
      Array.from({ length: 4 }, () =>
        run(process.execPath, ['--input-type=module', '-e', script, started], { cwd: folder }),
      ),
    );
    expect(new Set(made.map(({ stdout }) => stdout)).size).toBe(1);
    expect(readdirSync(join(folder, 'secret-0'))).toEqual(['session-secret']);
  });

  it('is refused with a sentence when the file holds something else', () => {
    writeFileSync(join(folder, 'session-secret'), 'x');
    expect(() => keptSessionSecret(folder)).toThrow(/session-secret holds no session secret: delete it/);
  });

  it('is refused with a sentence when the file cannot be read', () => {
    expect(() => keptSessionSecret(join(folder, 'missing'))).toThrow(
      /cannot be read or written \(ENOENT\): mend/,
    );
  });

  it('gives another secret for each purpose, the same after a restart', () => {
    const derived = deriveSecret('s'.repeat(32), 'one');
    expect(derived).toHaveLength(64);
    expect(deriveSecret('s'.repeat(32), 'one')).toBe(derived);
    expect(deriveSecret('s'.repeat(32), 'two')).not.toBe(derived);
    expect(deriveSecret('t'.repeat(32), 'one')).not.toBe(derived);
  });
});

describe('the session store', () => {
  function sessionOf(content: object, maxAge: number | null = 60_000): SessionData {
    const cookie = new Cookie();
    cookie.maxAge = maxAge ?? undefined;
    return JSON.parse(JSON.stringify({ cookie, ...content }));
  }

  function storeOf(db: Database) {
    const store = new SqliteSessionStore(db);
    const promised = <Result>(call: (done: (error: unknown, result?: Result) => void) => void) =>
      new Promise<Result | undefined>((resolve, reject) => {
        call((error, result) => (error ? reject(error) : resolve(result)));
      });
    return {
      get: (id: string) => promised<SessionData | null>((done) => store.get(id, done)),
      set: (id: string, session: SessionData) => promised((done) => store.set(id, session, done)),
      touch: (id: string, session: SessionData) => promised((done) => store.touch(id, session, done)),
      destroy: (id: string) => promised((done) => store.destroy(id, done)),
    };
  }

  it('gives back what was put in, also after a restart, and the last word counts', async () => {
    const store = storeOf(database);
    await store.set('a', sessionOf({ passport: { user: '1' } }));
    await store.set('a', sessionOf({ passport: { user: '2' } }));
    expect(await storeOf(reopen()).get('a')).toMatchObject({ passport: { user: '2' } });
    expect(await storeOf(database).get('b')).toBeNull();
  });

  it('forgets a session that was destroyed, and a late touch does not bring it back', async () => {
    const store = storeOf(database);
    await store.set('a', sessionOf({}));
    await store.destroy('a');
    await store.touch('a', sessionOf({}));
    expect(await store.get('a')).toBeNull();
    expect(countIn('sessions')).toBe(0);
  });

  it('hides a session whose time is over, and a visit moves that time', async () => {
    vi.useFakeTimers({ toFake: ['Date'], now: 1_000_000 });
    const store = storeOf(database);
    await store.set('a', sessionOf({}));
    await store.set('b', sessionOf({}));
    vi.setSystemTime(1_000_000 + 59_999);
    expect(await store.get('a')).not.toBeNull();
    await store.touch('b', sessionOf({}));
    vi.setSystemTime(1_000_000 + 60_000);
    expect(await store.get('a')).toBeNull();
    expect(await store.get('b')).not.toBeNull();
  });

  it('keeps a session without an end for a day', async () => {
    vi.useFakeTimers({ toFake: ['Date'], now: 0 });
    const store = storeOf(database);
    await store.set('a', sessionOf({}, null));
    vi.setSystemTime(86_399_999);
    expect(await store.get('a')).not.toBeNull();
    vi.setSystemTime(86_400_000);
    expect(await store.get('a')).toBeNull();
  });

  it('tells when it cannot answer', async () => {
    const store = storeOf(database);
    database.close();
    await expect(store.get('a')).rejects.toThrow(/not open/);
    await expect(store.set('a', sessionOf({}))).rejects.toThrow(/not open/);
    database = openDatabase(folder);
  });
});

describe('the limiters', () => {
  const options = { keyPrefix: 'test', points: 3, duration: 60, purpose: 'budget' } as const;

  it('let exactly as many pass as there are points, however many ask at once', async () => {
    const limiter = limitersIn(database)(options);
    const answers = await Promise.allSettled(Array.from({ length: 50 }, () => limiter.consume('key')));
    expect(answers.filter(({ status }) => status === 'fulfilled')).toHaveLength(3);
    expect(answers[49]).toMatchObject({ reason: { remainingPoints: 0, msBeforeNext: expect.any(Number) } });
  });

  it('go on counting after a restart', async () => {
    for (let i = 0; i < 3; i++) await limitersIn(database)(options).consume('key');
    await expect(limitersIn(reopen())(options).consume('key')).rejects.toMatchObject({ consumedPoints: 4 });
    await expect(limitersIn(database)(options).consume('other')).resolves.toMatchObject({
      consumedPoints: 1,
    });
  });

  it('give points back, forget a key, and start anew when the time is over', async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    const limiter = limitersIn(database)(options);
    await limiter.consume('key', 3);
    await limiter.reward('key', 1);
    await expect(limiter.get('key')).resolves.toMatchObject({ consumedPoints: 2 });
    await limiter.delete('key');
    await expect(limiter.get('key')).resolves.toBeNull();

    await limiter.consume('key', 3);
    vi.setSystemTime(Date.now() + 60_001);
    await expect(limiter.consume('key', 3)).resolves.toMatchObject({ consumedPoints: 3 });
  });

  it('fail with an error, and not with a refusal, when the store is down', async () => {
    const limiter = limitersIn(database)(options);
    database.close();
    await expect(limiter.consume('key')).rejects.toBeInstanceOf(Error);
    database = openDatabase(folder);
  });
});

describe('the sweep', () => {
  it('deletes what has expired and nothing else', async () => {
    vi.useFakeTimers({ toFake: ['Date'], now: 1_000_000 });
    const store = new SqliteSessionStore(database);
    const session = (maxAge: number) => {
      const cookie = new Cookie();
      cookie.maxAge = maxAge;
      return { cookie };
    };
    store.set('short', session(1_000));
    store.set('long', session(60_000));
    const limiter = (duration: number) =>
      limitersIn(database)({ keyPrefix: `d${duration}`, points: 1, duration, purpose: 'claim' });
    await limiter(1).consume('key');
    await limiter(60).consume('key');

    sweep(database, 1_000_999);
    expect([countIn('sessions'), countIn('limits')]).toEqual([2, 2]);
    sweep(database, 1_001_000);
    expect([countIn('sessions'), countIn('limits')]).toEqual([1, 1]);
    expect(await limiter(60).get('key')).toMatchObject({ consumedPoints: 1 });
  });

  it('runs at the start, and tells when it could not', () => {
    const errors: unknown[] = [];
    database.prepare('INSERT INTO sessions VALUES (?, ?, ?)').run('old', '{}', 1);
    sweepRegularly(database, (error) => errors.push(error))();
    expect(countIn('sessions')).toBe(0);
    database.close();
    sweepRegularly(database, (error) => errors.push(error))();
    expect(errors).toHaveLength(1);
    database = openDatabase(folder);
  });
});
