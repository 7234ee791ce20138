/** The tables of docs/privacy.md, held against what a site really stores. */

import { mkdir, readFile, writeFile } from 'node:fs/promises';
import type { SmsOtpEvent } from 'passport-sms-otp';
import { beforeAll, describe, expect, it, vi } from 'vitest';
import { createHost, fakeClient, type LooseOptions, PHONE, PIN } from '../support/host.js';
import { SECRET, sharedCounters } from '../support/limiters.js';

const root = new URL('../..', import.meta.url);
const folder = new URL('.cache/privacy/', root);
const page = await readFile(new URL('docs/privacy.md', root), 'utf8');

/** The rows of the table under a heading line, cell by cell. */
function table(header: string): string[][] {
  const lines = page.slice(page.indexOf(header)).split('\n');
  const end = lines.findIndex((line) => !line.startsWith('|'));
  return lines.slice(2, end).map((line) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
}
const words = (cell = '') => [...cell.matchAll(/`(\w+)`/g)].map(([, word]) => word);

/** Every way of using a strategy, so that everything that can be stored is. */
const uses: [name: string, options: LooseOptions][] = [
  ['typed', { countries: ['HR'], knownBrowser: () => true, channels: ['sms', 'voice'] }],
  ['stranger', { countries: ['HR'], canReceivePin: () => false }],
  ['enrolment', { countries: ['HR'], subject: () => 'u1', channels: ['sms'] }],
  [
    'second',
    {
      recipient: () => ({ phoneNumber: PHONE, email: 'ana@example.com', subject: 'u1' }),
      channels: ['sms', 'voice', 'email'],
      messageId: { sms: 'S', voice: 'V', email: 'E' },
    },
  ],
];

async function use(options: LooseOptions) {
  vi.useFakeTimers({ toFake: ['Date'], now: Date.UTC(2026, 0, 1) });
  try {
    const counters = sharedCounters();
    const client = Object.assign(fakeClient(), { isTestNumber: () => true });
    const host = createHost(client, {
      strategy: { limiter: counters.limiter, secret: SECRET, ...options },
    });
    const browser = host.browser();
    await browser.issue();
    vi.setSystemTime(Date.now() + 31_000);
    await browser.resend({ channel: options.channels?.includes('voice') ? 'voice' : 'sms' });
    await browser.check('000000');
    const session = await host.stored(browser);
    vi.setSystemTime(Date.now() + 31_000);
    await browser.check(PIN);
    return { host, counters, session, after: await host.stored(browser) };
  } finally {
    vi.useRealTimers();
  }
}

type Used = Awaited<ReturnType<typeof use>>;
const used = new Map<string, Used>();
beforeAll(async () => {
  for (const [name, options] of uses) used.set(name, await use(options));
});

describe('docs/privacy.md', () => {
  it('lists every field of an open challenge, and none that there is not', async () => {
    const seen = new Set<string>();
    for (const { session } of used.values()) {
      const { smsOtp } = session as { smsOtp: { challenges: Record<string, object> } };
      for (const challenge of Object.values(smsOtp.challenges)) {
        for (const field of Object.keys(challenge)) seen.add(field);
      }
    }
    const listed = table('| field | what |').flatMap(([fields]) => words(fields));
    // A session that was signed in at the issue is not among the uses above.
    expect([...seen, 'signedInAs'].sort()).toEqual(listed.sort());
  });

  it('lists every counter with the seconds that it lives', async () => {
    const made = new Map<string, Set<number>>();
    for (const { counters } of used.values()) {
      for (const { keyPrefix, duration } of counters.made) {
        const name = keyPrefix.split(':')[2] ?? '';
        made.set(name, (made.get(name) ?? new Set()).add(duration));
      }
    }
    const rows = table('| counter | counted for |');
    const listed = rows.flatMap(([names, , seconds = '']) =>
      words(names).map((name) => [
        name,
        seconds
          .match(/\b\d+\b(?! days)/g)
          ?.map(Number)
          .sort(),
      ]),
    );
    expect(Object.fromEntries(listed)).toEqual(
      Object.fromEntries([...made].map(([name, seconds]) => [name, [...seconds].sort()])),
    );
  });

  it('is right that no key of a counter holds a number, an address or a user', async () => {
    for (const { counters } of used.values()) {
      const keys = [...counters.keys].join('\n');
      // The user is a word of its own: random ids have such letters in them, too.
      expect(keys).not.toMatch(/385911234567|ana@|127\.0\.0\.1|(?<![\w-])u1(?![\w-])/);
      expect(keys).toMatch(/^sms-otp:sms-otp:sendsPerNumber:30:(?:known:)?[\w-]{22}$/m);
    }
  });

  it('is right that a login leaves the mark, and the number nowhere in the session', async () => {
    for (const name of ['typed', 'enrolment', 'second']) {
      const { after } = used.get(name) as Used;
      const { smsOtp } = after as { smsOtp: Record<string, Record<string, object>> };
      expect(Object.keys(smsOtp)).toEqual(['marks']);
      const fields = Object.keys(smsOtp.marks?.['sms-otp'] ?? {}).filter((field) => field !== 'subject');
      expect(fields).toEqual(['at', 'channel', 'user']);
      expect(JSON.stringify(after)).not.toContain('5911234567');
    }
  });

  it('is right about the hashes by which events and keys of a number are found', async () => {
    const [, recipe = ''] = /^```js hashes\n([\s\S]*?)^```$/m.exec(page) ?? [];
    await mkdir(folder, { recursive: true });
    await writeFile(new URL('hashes.js', folder), recipe);
    const { inEvents, inLimiterKeys } = await import(new URL('hashes.js', folder).href);
    const { host, counters } = used.get('second') as Used;
    const events = host.events.filter((event: SmsOtpEvent) => event.recipientHash !== undefined);
    expect(events.length).toBeGreaterThan(2);
    for (const event of events) expect(event.recipientHash).toBe(inEvents(SECRET, PHONE));
    const key = `sms-otp:sms-otp:sendsPerNumber:30:${inLimiterKeys(SECRET, PHONE, 'u1')}`;
    expect([...counters.keys]).toContain(key);
    const alone = (used.get('stranger') as Used).counters.keys;
    expect([...alone]).toContain(`sms-otp:sms-otp:sendsPerNumber:30:${inLimiterKeys(SECRET, PHONE)}`);
  });
});
