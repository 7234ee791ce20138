import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type FakeClient, fakeClient, OTHER_PHONE, PHONE, PIN } from '../support/host.js';
import type { Visitor } from '../support/visitor.js';
import { startTestSite, type TestSite } from './site.js';

const COOKIE = 'skerry-known';
const DAY = 86_400_000;

let client: FakeClient;
let site: TestSite;

beforeEach(async () => {
  vi.useFakeTimers({ toFake: ['Date'] });
  client = fakeClient();
  site = await startTestSite(client);
});

afterEach(async () => {
  vi.useRealTimers();
  await site.close();
});

function pass(ms: number): void {
  vi.setSystemTime(Date.now() + ms);
}

async function logIn(who: Visitor, phone = PHONE): Promise<void> {
  expect((await who.askForPin(phone)).location).toBe('/login/pin');
  expect((await who.typePin(PIN)).location).toBe('/account');
}

/** The cookie that a login with the number leaves behind. */
async function cookieOf(phone = PHONE): Promise<string> {
  const home = site.visitor();
  await logIn(home, phone);
  return home.cookies.get(COOKIE) ?? '';
}

/** A browser that has nothing of the site but this cookie. */
function browserWith(cookie: string): Visitor {
  const browser = site.visitor();
  browser.cookies.set(COOKIE, cookie);
  return browser;
}

/** A stranger uses up what the number may get in an hour. */
async function useUpTheNumber(): Promise<void> {
  for (let turn = 0; turn < 6; turn += 1) {
    pass(31_000);
    await site.visitor().askForPin(PHONE);
  }
}

describe('a browser in which the number was proved', () => {
  it.each<[attack: string, act: () => Promise<unknown>]>([
    ['has asked for the number a moment ago', () => site.visitor().askForPin(PHONE)],
    ['has used up the number', useUpTheNumber],
    [
      'has typed wrong PINs for the number until it gets no more',
      async () => {
        for (let challenge = 0; challenge < 2; challenge += 1) {
          pass(31_000);
          const stranger = site.visitor();
          await stranger.askForPin(PHONE);
          for (let wrong = 0; wrong < 5; wrong += 1) await stranger.typePin('000000');
        }
        pass(31_000);
      },
    ],
    [
      'at the same address has used it up, and closed the country, too',
      async () => {
        for (let index = 0; index < 60; index += 1) {
          await site.visitor().askForPin(`+38591${2_000_000 + index}`);
        }
      },
    ],
  ])('is not stopped when a stranger %s, and others are', async (_attack, act) => {
    const cookie = await cookieOf();
    pass(31_000);
    await act();
    expect((await site.visitor().askForPin(PHONE)).status).toBe(429);
    await logIn(browserWith(cookie));
  });

  it('keeps its cookie at the logout, for half a year, out of reach of scripts and other sites', async () => {
    const home = site.visitor();
    await home.askForPin(PHONE);
    const { headers } = await home.typePin(PIN);
    expect(headers.getSetCookie()).toContainEqual(
      expect.stringMatching(
        /^skerry-known=[^;]+; Max-Age=15552000; Path=\/; Expires=[^;]+; HttpOnly; SameSite=Lax$/,
      ),
    );
    expect(home.cookies.get(COOKIE)).not.toContain(PHONE.slice(-7));
    const cookie = home.cookies.get(COOKIE);
    await home.get('/account');
    await home.post('/logout', {});
    expect(home.cookies.get(COOKIE)).toBe(cookie);
    expect((await home.get('/account')).location).toBe('/login');
  });

  it('over https has its cookie bound to the host', async () => {
    const secure = await startTestSite(client, { publicUrl: new URL('https://skerry.example') });
    const home = secure.visitor();
    await logIn(home);
    expect(home.cookies.has(`__Host-${COOKIE}`)).toBe(true);
    await secure.close();
  });
});

describe('is no better than any other: a browser whose cookie', () => {
  const changed = (part: number, change: (old: string) => string) => (cookie: string) =>
    cookie
      .split('.')
      .map((old, index) => (index === part ? change(old) : old))
      .join('.');

  it.each<[what: string, (cookie: string) => string | Promise<string>]>([
    ['is missing', () => ''],
    ['is garbage', () => '%E0%A4%A.__proto__.%'],
    ['has no signature', changed(2, () => '')],
    [
      'has another signature of the right length',
      changed(2, (old) => (old[0] === 'A' ? 'B' : 'A') + old.slice(1)),
    ],
    ['claims to last longer', changed(1, (until) => String(Number(until) + 1))],
    ['names nobody', changed(0, () => 'nobody')],
    ['was made for another number', () => cookieOf(OTHER_PHONE)],
    [
      'names its own user with the signature of another',
      async (cookie) => changed(2, () => '')(cookie) + (await cookieOf(OTHER_PHONE)).split('.')[2],
    ],
    [
      'was made before the number went to somebody else',
      (cookie) => {
        site.database.prepare('UPDATE users SET phone_number = ?').run('+385917777777');
        return cookie;
      },
    ],
    [
      'is older than half a year',
      (cookie) => {
        pass(180 * DAY);
        return cookie;
      },
    ],
  ])('%s', async (_what, change) => {
    const cookie = await change(await cookieOf());
    await useUpTheNumber();
    expect((await browserWith(cookie).askForPin(PHONE)).status).toBe(429);
  });

  it('was signed by another site', async () => {
    const cookie = await cookieOf();
    const other = await startTestSite(client, { sessionSecret: 'the secret of another site, long enough' });
    // Its user has the same id and the same number.
    const user = site.database.prepare('SELECT id, phone_number, created_at FROM users').get();
    other.database
      .prepare('INSERT INTO users (id, phone_number, created_at) VALUES (:id, :phone_number, :created_at)')
      .run(user);
    for (const visitor of [other.visitor(), other.visitor()]) await visitor.askForPin(PHONE);
    const browser = other.visitor();
    browser.cookies.set(COOKIE, cookie);
    expect((await browser.askForPin(PHONE)).status).toBe(429);
    await other.close();
  });
});
