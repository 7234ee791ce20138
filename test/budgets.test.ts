import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import session from 'express-session';
import { DEFAULT_BUDGETS } from 'passport-sms-otp';
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { barrier } from './support/barrier.js';
import { expectNoUnhandledRejection } from './support/calm.js';
import {
  type Browser,
  createHost,
  type FakeClient,
  fakeClient,
  type Host,
  type HostOptions,
  type LooseOptions,
  OTHER_PHONE,
  PHONE,
  PIN,
  serve,
} from './support/host.js';
import { SECRET, sharedCounters } from './support/limiters.js';

expectNoUnhandledRejection();

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['Date'], now: new Date('2026-03-02T10:00:00Z') });
});

afterEach(() => {
  vi.useRealTimers();
});

const pass = (milliseconds: number) => vi.setSystemTime(Date.now() + milliseconds);

/** Different numbers, all of Croatian mobiles. */
const number = (index: number) => `+38591${String(1_000_000 + index)}`;

interface Site {
  client: FakeClient;
  host: Host;
  url: string;
  /** Asks for a PIN from a browser of its own; what came of it, in a word. */
  ask: (phone?: string, options?: { ip?: string; browser?: Browser }) => Promise<string>;
}

async function site(strategy: LooseOptions = {}, options: HostOptions = {}): Promise<Site> {
  const client = fakeClient();
  const host = createHost(client, { trustProxy: true, ...options, strategy });
  const url = await serve(host);
  return {
    client,
    host,
    url,
    async ask(phone = PHONE, { ip = '198.51.100.1', browser = host.browser(url) } = {}) {
      const { body } = await browser.post('/login', { phone }, { 'X-Forwarded-For': ip });
      return word(body);
    },
  };
}

function word(body: {
  outcome?: { code: string; budget?: string; retryAfterSeconds?: number; alreadySent?: boolean };
  user?: object;
  error?: { code: string };
}): string {
  if (body.user) return 'logged in';
  if (body.error) return `error ${body.error.code}`;
  const { code, budget, retryAfterSeconds, alreadySent } = body.outcome ?? { code: 'nothing' };
  if (code === 'pin_sent') return alreadySent ? 'already sent' : 'sent';
  return budget === undefined ? code : `${budget} for ${retryAfterSeconds} s`;
}

const wrongPins = async (browser: Browser, times: number) => {
  const words: string[] = [];
  for (let index = 0; index < times; index += 1) words.push(word((await browser.check('000000')).body));
  return words;
};

const checked = async (browser: Browser, ip = '198.51.100.1') =>
  word((await browser.post('/login/pin', { pin: PIN }, { 'X-Forwarded-For': ip })).body);

describe('the budgets', () => {
  it('are what the documentation says', () => {
    expect(DEFAULT_BUDGETS).toEqual({
      sendsPerNumber: [
        { points: 1, duration: 30 },
        { points: 5, duration: 3600 },
        { points: 10, duration: 86_400 },
      ],
      callsPerNumber: [{ points: 3, duration: 86_400 }],
      uncompletedPerClient: [{ points: 60, duration: 3600 }],
      sendsOverall: [
        { points: 1000, duration: 3600 },
        { points: 5000, duration: 86_400 },
      ],
      countryCompletion: { sends: 100, duration: 3600, minimumRatio: 0.4 },
      failuresPerNumber: [
        { points: 10, duration: 900 },
        { points: 30, duration: 86_400 },
      ],
      failedChecksPerClient: [{ points: 60, duration: 3600 }],
    });
  });

  const off = (nothing: null | []): LooseOptions => ({
    attempts: 10,
    budgets: {
      sendsPerNumber: nothing,
      uncompletedPerClient: nothing,
      sendsOverall: nothing,
      countryCompletion: null,
      failuresPerNumber: nothing,
      failedChecksPerClient: nothing,
    },
  });

  it('are each switched off by null', async () => {
    const { ask, client, host, url } = await site(off(null));
    for (let index = 0; index < 61; index += 1) expect(await ask()).toBe('sent');
    expect(client.sends).toHaveLength(61);
    const browser = host.browser(url);
    await browser.issue();
    expect(await wrongPins(browser, 9)).toEqual(new Array(9).fill('pin_wrong'));
    await wrongPins(browser, 1);
    expect(await ask()).toBe('sent');
  });

  it('are each switched off by an empty list', async () => {
    const { ask } = await site(off([]));
    for (let index = 0; index < 6; index += 1) expect(await ask()).toBe('sent');
  });
});

describe('sendsPerNumber', () => {
  it('allows one SMS in 30 seconds', async () => {
    const { ask, client } = await site();
    expect(await ask()).toBe('sent');
    expect(await ask()).toBe('sendsPerNumber for 30 s');
    pass(30 * SECOND - 1);
    expect(await ask()).toBe('sendsPerNumber for 1 s');
    pass(1);
    expect(await ask()).toBe('sent');
    expect(client.sends).toHaveLength(2);
  });

  it('allows five in an hour and ten in a day', async () => {
    const { ask, client } = await site();
    for (let index = 0; index < 5; index += 1) {
      expect(await ask()).toBe('sent');
      pass(MINUTE);
    }
    expect(await ask()).toBe(`sendsPerNumber for ${55 * 60} s`);
    pass(55 * MINUTE - 1);
    expect(await ask()).toBe('sendsPerNumber for 1 s');
    pass(1);
    for (let index = 0; index < 5; index += 1) {
      expect(await ask()).toBe('sent');
      pass(MINUTE);
    }
    pass(2 * HOUR);
    expect(await ask()).toBe(`sendsPerNumber for ${86_400 - 3600 - 300 - 7200} s`);
    pass(DAY - HOUR - 5 * MINUTE - 2 * HOUR - 1);
    expect(await ask()).toBe('sendsPerNumber for 1 s');
    pass(1);
    expect(await ask()).toBe('sent');
    expect(client.sends).toHaveLength(11);
  });

  it('counts resends like issues, and tells the page when the next one is possible', async () => {
    const { client, host, url } = await site();
    const browser = host.browser(url);
    const first = Date.now();
    const { body } = await browser.issue();
    expect(body.outcome.resendAt).toBe(new Date(first + 30 * SECOND).toISOString());
    expect(word((await browser.resend()).body)).toBe('sendsPerNumber for 30 s');
    for (let index = 0; index < 3; index += 1) {
      pass(30 * SECOND);
      expect(word((await browser.resend()).body)).toBe('sent');
    }
    pass(30 * SECOND);
    const last = await browser.resend();
    expect(word(last.body)).toBe('sent');
    // All five of the hour are used: the page must not offer what would be refused.
    expect(last.body.outcome.resendAt).toBe(new Date(first + HOUR).toISOString());
    expect((await browser.get('/challenge')).body.resendAt).toBe(new Date(first + HOUR).toISOString());
    pass(30 * SECOND);
    expect(word((await browser.resend()).body)).toBe(`sendsPerNumber for ${3600 - 150} s`);
    expect([client.sends.length, client.resends.length]).toEqual([1, 4]);
  });

  it('is one for each number', async () => {
    const { ask } = await site();
    expect(await ask(PHONE)).toBe('sent');
    expect(await ask(OTHER_PHONE)).toBe('sent');
    expect(await ask('091 123 4567')).toBe('sendsPerNumber for 30 s');
  });

  it('has four sends left this hour after 200 refused ones, and sendsOverall has lost one point', async () => {
    const { ask, client } = await site({ budgets: { sendsOverall: [{ points: 6, duration: 3600 }] } });
    expect(await ask()).toBe('sent');
    const refused = await Promise.all(Array.from({ length: 200 }, () => ask()));
    expect(new Set(refused)).toEqual(new Set(['sendsPerNumber for 30 s']));
    for (let index = 0; index < 4; index += 1) {
      pass(MINUTE);
      expect(await ask()).toBe('sent');
      for (let again = 0; again < 5; again += 1) expect(await ask()).toBe('sendsPerNumber for 30 s');
    }
    pass(MINUTE);
    expect(await ask()).toBe(`sendsPerNumber for ${55 * 60} s`);
    expect(await ask(OTHER_PHONE)).toBe('sent');
    expect(await ask(number(1))).toMatch(/^sendsOverall/u);
    expect(client.sends).toHaveLength(6);
  });

  it('lets one of 200 requests at once through, and counts one', async () => {
    const all = barrier(200);
    const { ask, client } = await site(
      {
        budgets: {
          sendsOverall: [{ points: 2, duration: 3600 }],
          uncompletedPerClient: [{ points: 2, duration: 3600 }],
        },
      },
      {
        routes: (app) => {
          app.post('/login', async (_req, _res, next) => {
            await all.pass();
            next();
          });
        },
      },
    );
    const words = await Promise.all(Array.from({ length: 200 }, () => ask()));
    expect(all.most).toBe(200);
    expect(words.filter((came) => came === 'sent')).toHaveLength(1);
    expect(words.filter((came) => came.startsWith('sendsPerNumber'))).toHaveLength(199);
    expect(client.sends).toHaveLength(1);
    expect(await ask(OTHER_PHONE)).toBe('sent');
  });
});

describe('callsPerNumber', () => {
  it('allows three calls a day, on top of what the number may get', async () => {
    const { client, host, url } = await site({
      channels: ['sms', 'voice'],
      budgets: { sendsPerNumber: [{ points: 1, duration: 30 }] },
    });
    const browser = host.browser(url);
    await browser.issue();
    const call = async () => {
      pass(31 * SECOND);
      return word((await browser.resend({ channel: 'voice' })).body);
    };
    expect([await call(), await call(), await call()]).toEqual(['sent', 'sent', 'sent']);
    expect(await call()).toBe(`callsPerNumber for ${86_400 - 93} s`);
    expect(client.resends.map(({ request }) => request)).toEqual(new Array(3).fill({ channel: 'voice' }));
    // The refused call has not used up the number's SMS.
    expect(word((await browser.resend({ channel: 'sms' })).body)).toBe('sent');
  });
});

describe('uncompletedPerClient', () => {
  const budgets = { countryCompletion: null };

  it('allows 60 sends an hour to an IPv4 address', async () => {
    const { ask, client } = await site({ budgets });
    for (let index = 0; index < 60; index += 1) expect(await ask(number(index))).toBe('sent');
    expect(await ask(number(60))).toBe('uncompletedPerClient for 3600 s');
    expect(await ask(number(60), { ip: '198.51.100.2' })).toBe('sent');
    pass(HOUR - 1);
    expect(await ask(number(61))).toBe('uncompletedPerClient for 1 s');
    pass(1);
    expect(await ask(number(61))).toBe('sent');
    expect(client.sends).toHaveLength(62);
  });

  it('allows 20 an hour to an IPv6 network, whichever of its addresses is used', async () => {
    const { ask } = await site({ budgets });
    for (let index = 0; index < 20; index += 1) {
      expect(await ask(number(index), { ip: `2001:db8:1:2:${index.toString(16)}::1` })).toBe('sent');
    }
    expect(await ask(number(20), { ip: '2001:db8:1:2:ffff:ffff:ffff:ffff' })).toBe(
      'uncompletedPerClient for 3600 s',
    );
    expect(await ask(number(20), { ip: '2001:db8:1:3::1' })).toBe('sent');
  });

  it('lets exactly 60 of 200 at once through, and takes 60 points of sendsOverall', async () => {
    const { ask, client } = await site({
      budgets: { ...budgets, sendsOverall: [{ points: 61, duration: 3600 }] },
    });
    const words = await Promise.all(Array.from({ length: 200 }, (_, index) => ask(number(index))));
    expect(words.filter((came) => came === 'sent')).toHaveLength(60);
    expect(words.filter((came) => came.startsWith('uncompletedPerClient'))).toHaveLength(140);
    expect(client.sends).toHaveLength(60);
    // The refused numbers were given back what they had taken, the cooldown too.
    const refused = words.findIndex((came) => came.startsWith('uncompletedPerClient'));
    expect(await ask(number(refused), { ip: '198.51.100.2' })).toBe('sent');
    expect(await ask(number(1000), { ip: '198.51.100.3' })).toMatch(/^sendsOverall/u);
  });

  it('gets one point back for a completed login, and no second one', async () => {
    const { ask, host, url } = await site({
      budgets: { ...budgets, uncompletedPerClient: [{ points: 3, duration: 3600 }] },
    });
    const browser = host.browser(url);
    expect(await ask(number(0), { browser })).toBe('sent');
    expect(await ask(number(1))).toBe('sent');
    expect(await ask(number(2))).toBe('sent');
    expect(await ask(number(3))).toBe('uncompletedPerClient for 3600 s');
    expect(await checked(browser)).toBe('logged in');
    expect(await checked(browser)).toBe('no_challenge');
    expect(await ask(number(3))).toBe('sent');
    expect(await ask(number(4))).toBe('uncompletedPerClient for 3600 s');
  });

  it('is never more than full: a login does not give a point to a window that did not lose it', async () => {
    const { ask, host, url } = await site({
      budgets: { ...budgets, uncompletedPerClient: [{ points: 2, duration: 300 }] },
    });
    const [early, late] = [host.browser(url), host.browser(url)];
    expect(await ask(number(0), { browser: early })).toBe('sent');
    pass(299 * SECOND);
    expect(await ask(number(1), { browser: late })).toBe('sent');
    pass(2 * SECOND);
    expect(await ask(number(2))).toBe('sent');
    expect(await checked(early)).toBe('logged in');
    expect(await checked(late)).toBe('logged in');
    expect(await ask(number(3))).toBe('sent');
    expect(await ask(number(4))).toMatch(/^uncompletedPerClient/u);
  });

  it('is not touched by a login after its window has ended', async () => {
    const { ask, host, url } = await site({
      budgets: { ...budgets, uncompletedPerClient: [{ points: 2, duration: 300 }] },
    });
    const browser = host.browser(url);
    expect(await ask(number(0), { browser })).toBe('sent');
    pass(301 * SECOND);
    expect(await checked(browser)).toBe('logged in');
    expect([await ask(number(1)), await ask(number(2))]).toEqual(['sent', 'sent']);
    expect(await ask(number(3))).toMatch(/^uncompletedPerClient/u);
  });
});

describe('sendsOverall', () => {
  const strategy = { budgets: { sendsOverall: [{ points: 10, duration: 3600 }], countryCompletion: null } };

  it('stops all sends of the strategy, and tells the operator at 80 and at 100 percent', async () => {
    const { ask, client, host } = await site(strategy);
    const near = () => host.events.flatMap((event) => (event.type === 'budget.near' ? [event.percent] : []));
    const send = (index: number) => ask(number(index), { ip: `198.51.100.${index}` });
    for (let index = 1; index <= 7; index += 1) expect(await send(index)).toBe('sent');
    expect(near()).toEqual([]);
    expect(await send(8)).toBe('sent');
    expect(near()).toEqual([80]);
    expect([await send(9), near()]).toEqual(['sent', [80]]);
    expect([await send(10), near()]).toEqual(['sent', [80, 100]]);
    for (let index = 11; index < 20; index += 1) expect(await send(index)).toBe('sendsOverall for 3600 s');
    expect(near()).toEqual([80, 100]);
    expect(host.events.filter(({ type }) => type === 'budget.near')[0]).toMatchObject({
      budget: 'sendsOverall',
      strategy: 'sms-otp',
    });
    expect(client.sends).toHaveLength(10);
    pass(HOUR);
    expect(await send(11)).toBe('sent');
  });

  it('lets exactly ten of 50 at once through', async () => {
    const { ask, client } = await site(strategy);
    const words = await Promise.all(
      Array.from({ length: 50 }, (_, index) => ask(number(index), { ip: `198.51.100.${index}` })),
    );
    expect(words.filter((came) => came === 'sent')).toHaveLength(10);
    expect(client.sends).toHaveLength(10);
  });

  it('costs a number and a client nothing when it refuses', async () => {
    const { ask } = await site({
      budgets: {
        sendsOverall: [{ points: 1, duration: 10 }],
        sendsPerNumber: [
          { points: 1, duration: 30 },
          { points: 2, duration: 3600 },
        ],
        uncompletedPerClient: [{ points: 2, duration: 3600 }],
      },
    });
    expect(await ask(OTHER_PHONE, { ip: '198.51.100.9' })).toBe('sent');
    for (let index = 0; index < 5; index += 1) expect(await ask()).toBe('sendsOverall for 10 s');
    pass(10 * SECOND);
    expect(await ask()).toBe('sent');
    pass(30 * SECOND);
    expect(await ask()).toBe('sent');
    pass(30 * SECOND);
    expect(await ask()).toMatch(/^(?:sendsPerNumber|uncompletedPerClient) for 35\d\d s$/u);
  });
});

describe('countryCompletion', () => {
  const strategy: LooseOptions = {
    countries: ['HR', 'SI'],
    budgets: {
      countryCompletion: { sends: 10, duration: 3600, minimumRatio: 0.4 },
      uncompletedPerClient: null,
      failedChecksPerClient: null,
    },
  };

  async function used(completions: number, sends = 10): Promise<Site> {
    const here = await site(strategy);
    for (let index = 0; index < sends; index += 1) {
      const browser = here.host.browser(here.url);
      expect(await here.ask(number(index), { browser })).toBe('sent');
      if (index < completions) expect(await checked(browser)).toBe('logged in');
    }
    return here;
  }

  it('stops a country whose PINs are not typed in, and no other', async () => {
    const { ask, client, host } = await used(3);
    expect(await ask(number(99))).toMatch(/^countryCompletion for \d+ s$/u);
    expect(host.events.filter(({ type }) => type === 'country.stopped')).toEqual([
      expect.objectContaining({ country: 'HR' }),
    ]);
    expect(client.sends).toHaveLength(10);
    expect(await ask('+38641123456')).toBe('sent');
  });

  it('lets a country go on while four in ten are typed in, or while too few were sent to tell', async () => {
    const enough = await used(4);
    expect(await enough.ask(number(99))).toBe('sent');
    const few = await used(0, 9);
    expect(await few.ask(number(99))).toBe('sent');
    expect(await few.ask(number(98))).toMatch(/^countryCompletion/u);
  });

  it('goes on when late visitors type their PINs in after all', async () => {
    const here = await used(3, 9);
    const browser = here.host.browser(here.url);
    expect(await here.ask(number(50), { browser })).toBe('sent');
    expect(await here.ask(number(99))).toMatch(/^countryCompletion/u);
    expect(await checked(browser)).toBe('logged in');
    expect(await here.ask(number(99))).toBe('sent');
  });

  it('is over with its time', async () => {
    const { ask } = await used(0);
    expect(await ask(number(99))).toMatch(/^countryCompletion/u);
    pass(2 * HOUR);
    expect(await ask(number(99))).toBe('sent');
  });

  it('does not stop a resend for a PIN that is open', async () => {
    const here = await used(0, 9);
    const browser = here.host.browser(here.url);
    expect(await here.ask(number(50), { browser })).toBe('sent');
    pass(31 * SECOND);
    expect(await here.ask(number(99))).toMatch(/^countryCompletion/u);
    expect(word((await browser.resend()).body)).toBe('sent');
  });

  it('does not count what was not sent', async () => {
    let allowed = false;
    const client = fakeClient();
    const host = createHost(client, {
      trustProxy: true,
      strategy: { ...strategy, beforeSend: async () => allowed },
    });
    const url = await serve(host);
    const ask = async (index: number) => word((await host.browser(url).issue(number(index))).body);
    for (let index = 0; index < 20; index += 1) expect(await ask(index)).toBe('not_now');
    allowed = true;
    const { onSend } = client;
    client.onSend = () => Promise.reject(Object.assign(new Error(), { status: 429, retryAfterSeconds: 1 }));
    for (let index = 20; index < 40; index += 1) expect(await ask(index)).toBe('service for 1 s');
    client.onSend = () => Promise.reject(Object.assign(new Error(), { sent: false }));
    for (let index = 40; index < 60; index += 1) expect(await ask(index)).toBe('error ERR_SMS_OTP_SERVICE');
    client.onSend = async () => ({ pinId: 'PIN', sent: false });
    for (let index = 60; index < 80; index += 1) expect(await ask(index)).toBe('undeliverable');
    client.onSend = onSend;
    expect(await ask(80)).toBe('sent');
  });
});

describe('failuresPerNumber', () => {
  it('stops new PINs after ten wrong ones in 15 minutes', async () => {
    const { ask, host, url } = await site();
    const first = host.browser(url);
    expect(await ask(PHONE, { browser: first })).toBe('sent');
    expect(await wrongPins(first, 5)).toEqual([...new Array(4).fill('pin_wrong'), 'attempts_exhausted']);
    pass(MINUTE);
    const second = host.browser(url);
    expect(await ask(PHONE, { browser: second })).toBe('sent');
    await wrongPins(second, 4);
    pass(MINUTE);
    // Nine are no reason to stop.
    const third = host.browser(url);
    expect(await ask(PHONE, { browser: third })).toBe('sent');
    await wrongPins(second, 1);
    pass(MINUTE);
    expect(await ask()).toBe(`failuresPerNumber for ${900 - 180} s`);
    expect(await ask(OTHER_PHONE)).toBe('sent');
    pass(12 * MINUTE - 1);
    expect(await ask()).toBe('failuresPerNumber for 1 s');
    pass(1);
    expect(await ask()).toBe('sent');
  });

  it('does not disturb an open challenge, and is reset by its success', async () => {
    const { ask, host, url } = await site();
    const [owner, stranger, other] = [host.browser(url), host.browser(url), host.browser(url)];
    expect(await ask(PHONE, { browser: stranger })).toBe('sent');
    pass(MINUTE);
    expect(await ask(PHONE, { browser: other })).toBe('sent');
    pass(MINUTE);
    expect(await ask(PHONE, { browser: owner })).toBe('sent');
    await wrongPins(stranger, 5);
    await wrongPins(other, 5);
    pass(MINUTE);
    expect(await ask()).toMatch(/^failuresPerNumber/u);
    expect(word((await owner.resend()).body)).toBe('sent');
    expect(await checked(owner)).toBe('logged in');
    pass(MINUTE);
    expect(await ask()).toBe('sent');
  });

  it('stops new PINs after thirty wrong ones in a day', async () => {
    const { ask, host, url } = await site({
      attempts: 10,
      budgets: { sendsPerNumber: [{ points: 1, duration: 30 }] },
    });
    for (let round = 0; round < 3; round += 1) {
      const browser = host.browser(url);
      expect(await ask(PHONE, { browser })).toBe('sent');
      await wrongPins(browser, 10);
      pass(15 * MINUTE);
    }
    expect(await ask()).toBe(`failuresPerNumber for ${86_400 - 2700} s`);
    pass(DAY - 45 * MINUTE);
    expect(await ask()).toBe('sent');
  });

  it('does not count a right PIN or one that is none', async () => {
    const { ask, host, url } = await site({
      budgets: { failuresPerNumber: [{ points: 1, duration: 900 }], sendsPerNumber: null },
    });
    const browser = host.browser(url);
    expect(await ask(PHONE, { browser })).toBe('sent');
    for (const pin of ['', '1', 'abcdef', '1234567']) await browser.check(pin);
    expect(await checked(browser)).toBe('logged in');
    expect(await ask()).toBe('sent');
  });
});

describe('failedChecksPerClient', () => {
  const budgets = {
    failedChecksPerClient: [{ points: 4, duration: 3600 }],
    failuresPerNumber: null,
  };

  it('stops a client that guesses, whichever numbers it guesses for, and asks the service no more', async () => {
    const { ask, client, host, url } = await site({ budgets });
    const guess = async (browser: Browser, ip: string, pin = '000000') =>
      word((await browser.post('/login/pin', { pin }, { 'X-Forwarded-For': ip })).body);
    const [first, second] = [host.browser(url), host.browser(url)];
    await ask(PHONE, { browser: first });
    await ask(OTHER_PHONE, { browser: second });
    const ip = '198.51.100.7';
    expect([await guess(first, ip), await guess(first, ip), await guess(second, ip)]).toEqual(
      new Array(3).fill('pin_wrong'),
    );
    expect(await guess(second, ip)).toBe('pin_wrong');
    expect(await guess(second, ip)).toBe('failedChecksPerClient for 3600 s');
    expect(await guess(second, ip, PIN)).toBe('failedChecksPerClient for 3600 s');
    expect(client.checks).toHaveLength(4);
    // The refusals have cost no attempt: from elsewhere the challenge is as open as before.
    const { body } = await second.get('/challenge');
    expect(body.attemptsRemaining).toBe(3);
    expect(await guess(second, '198.51.100.8')).toBe('pin_wrong');
    expect((await second.get('/challenge')).body.attemptsRemaining).toBe(2);
    expect(await guess(second, '198.51.100.8', PIN)).toBe('logged in');
  });

  it('is over with its hour', async () => {
    const { ask, host, url } = await site({
      budgets: { ...budgets, failedChecksPerClient: [{ points: 1, duration: 300 }] },
    });
    const browser = host.browser(url);
    await ask(PHONE, { browser });
    expect(await wrongPins(browser, 1)).toEqual(['pin_wrong']);
    pass(299_999);
    expect(await wrongPins(browser, 1)).toEqual(['failedChecksPerClient for 1 s']);
    pass(1);
    expect(await wrongPins(browser, 1)).toEqual(['pin_wrong']);
  });

  it('does not count right PINs', async () => {
    const { ask, host, url } = await site({
      budgets: { ...budgets, failedChecksPerClient: [{ points: 1, duration: 3600 }] },
    });
    for (let index = 0; index < 3; index += 1) {
      const browser = host.browser(url);
      expect(await ask(number(index), { browser })).toBe('sent');
      expect(await checked(browser)).toBe('logged in');
    }
  });

  it('is exact when the guesses come at once', async () => {
    const { ask, client, host, url } = await site({ attempts: 10, budgets });
    const browsers = await Promise.all(
      Array.from({ length: 10 }, async (_, index) => {
        const browser = host.browser(url);
        await ask(number(index), { browser });
        return browser;
      }),
    );
    const words = (await Promise.all(browsers.map((browser) => wrongPins(browser, 3)))).flat();
    expect(words.filter((came) => came === 'pin_wrong')).toHaveLength(4);
    expect(client.checks).toHaveLength(4);
  });
});

describe('a point that was taken for nothing', () => {
  const hourly = {
    sendsPerNumber: [
      { points: 1, duration: 30 },
      { points: 2, duration: 3600 },
    ],
  };
  const error = (fields: object) => Object.assign(new Error('the service failed'), fields);

  const notSent: [string, FakeClient['onSend']][] = [
    ["the service's own limit", () => Promise.reject(error({ status: 429, retryAfterSeconds: 1 }))],
    ['an error that says it was not sent', () => Promise.reject(error({ sent: false }))],
    ['an answer that says it was not sent', async () => ({ pinId: 'PIN-ID', sent: false })],
  ];
  it.each(notSent)('is given back after %s, but the cooldown is kept', async (_why, onSend) => {
    const { ask, client } = await site({ budgets: hourly });
    const { onSend: honest } = client;
    client.onSend = onSend;
    for (let index = 0; index < 5; index += 1) {
      expect(await ask()).not.toMatch(/^(?:sent|sendsPerNumber)/u);
      expect(await ask()).toBe('sendsPerNumber for 30 s');
      pass(30 * SECOND);
    }
    client.onSend = honest;
    expect(await ask()).toBe('sent');
    pass(30 * SECOND);
    expect(await ask()).toBe('sent');
    pass(30 * SECOND);
    expect(await ask()).toMatch(/^sendsPerNumber for 3\d\d\d s$/u);
  });

  const maybeSent: [string, FakeClient['onSend']][] = [
    [
      'an error that does not know',
      () => Promise.reject(error({ sent: 'unknown', code: 'ERR_INFOBIP_TIMEOUT' })),
    ],
    ['an error that says nothing', () => Promise.reject(error({}))],
    ['a 500', () => Promise.reject(error({ status: 500 }))],
    ['nonsense', async () => ({}) as never],
  ];
  it.each(maybeSent)('is kept after %s', async (_why, onSend) => {
    const { ask, client } = await site({ budgets: hourly });
    client.onSend = onSend;
    expect(await ask()).toMatch(/^error/u);
    pass(30 * SECOND);
    expect(await ask()).toMatch(/^error/u);
    pass(30 * SECOND);
    expect(await ask()).toMatch(/^sendsPerNumber for 3\d\d\d s$/u);
    expect(client.sends).toHaveLength(2);
  });

  it('is given back with the cooldown when the host says no, or its function fails', async () => {
    const answers: (() => Promise<boolean>)[] = [
      async () => false,
      async () => undefined as unknown as boolean,
      () => Promise.reject(new Error('the score service is down')),
      () => {
        throw new Error('the score service is broken');
      },
    ];
    for (const answer of answers) {
      let beforeSend = answer;
      const { ask, client } = await site({
        beforeSend: (context) => {
          expect(context).toMatchObject({ channel: 'sms', phoneNumber: PHONE, country: 'HR' });
          return beforeSend();
        },
        budgets: {
          ...hourly,
          sendsOverall: [{ points: 2, duration: 3600 }],
          uncompletedPerClient: [{ points: 2, duration: 3600 }],
        },
      });
      for (let index = 0; index < 5; index += 1) expect(await ask()).not.toBe('sent');
      expect(client.sends).toEqual([]);
      beforeSend = async () => true;
      expect(await ask()).toBe('sent');
      pass(30 * SECOND);
      expect(await ask()).toBe('sent');
    }
  });

  it('is given back when a placeholder or the template cannot be found', async () => {
    for (const broken of [
      { placeholders: () => Promise.reject(new Error('no name')) },
      { messageId: () => '' },
    ]) {
      let works = false;
      const client = fakeClient();
      const host = createHost(client, {
        strategy: {
          placeholders: async (context) =>
            works ? { name: 'Ana' } : (broken.placeholders?.() ?? { name: String(context.channel) }),
          messageId: () => (works ? 'MSG' : (broken.messageId?.() ?? 'MSG')),
        },
      });
      expect((await host.browser().issue()).status).toBe(500);
      expect(client.sends).toEqual([]);
      works = true;
      expect((await host.browser().issue()).status).toBe(202);
      expect(client.sends[0]).toMatchObject({ messageId: 'MSG', placeholders: { name: 'Ana' } });
    }
  });

  it('is not created in a window that has rolled over in the meantime', async () => {
    const budgets = {
      sendsPerNumber: null,
      countryCompletion: null,
      uncompletedPerClient: [{ points: 2, duration: 10 }],
      sendsOverall: [{ points: 2, duration: 10 }],
    };
    for (const other of ['nobody', 'somebody']) {
      const { ask, client } = await site({ budgets });
      const { onSend } = client;
      client.onSend = async () => {
        client.onSend = onSend;
        pass(10 * SECOND);
        // The new window: another visitor has taken one of its two points before ours would be given back.
        if (other === 'somebody') expect(await ask(number(1))).toBe('sent');
        throw error({ sent: false });
      };
      expect(await ask(number(0))).toMatch(/^error/u);
      if (other === 'nobody') expect(await ask(number(1))).toBe('sent');
      expect(await ask(number(2))).toBe('sent');
      expect(await ask(number(3))).toMatch(/^(?:uncompletedPerClient|sendsOverall) for \d+ s$/u);
    }
  });

  it('is not created for checks either', async () => {
    const { ask, client, host, url } = await site({
      attempts: 10,
      budgets: { failedChecksPerClient: [{ points: 2, duration: 10 }], failuresPerNumber: null },
    });
    const browser = host.browser(url);
    await ask(PHONE, { browser });
    const { onVerify } = client;
    client.onVerify = async () => {
      client.onVerify = onVerify;
      pass(10 * SECOND);
      expect(await wrongPins(browser, 1)).toEqual(['pin_wrong']);
      throw error({ sent: false });
    };
    expect(await wrongPins(browser, 1)).toEqual(['error ERR_SMS_OTP_SERVICE']);
    expect(await wrongPins(browser, 2)).toEqual(['pin_wrong', 'failedChecksPerClient for 10 s']);
  });
});

describe('a failure that was counted for nothing', () => {
  it('does not take back one of a later window: a success has reset the count in the meantime', async () => {
    const { ask, client, host, url } = await site({
      budgets: { failuresPerNumber: [{ points: 1, duration: 900 }], sendsPerNumber: null },
    });
    const [slow, right, wrong] = [host.browser(url), host.browser(url), host.browser(url)];
    for (const browser of [slow, right, wrong]) expect(await ask(PHONE, { browser })).toBe('sent');
    const { onVerify } = client;
    client.onVerify = async () => {
      client.onVerify = onVerify;
      pass(10 * SECOND);
      expect(await checked(right)).toBe('logged in');
      expect(await wrongPins(wrong, 1)).toEqual(['pin_wrong']);
      throw Object.assign(new Error('not judged'), { sent: false });
    };
    expect(await checked(slow)).toMatch(/^error/u);
    expect(await ask()).toMatch(/^failuresPerNumber/u);
  });
});

describe('attempts', () => {
  it('survive a restart of a process that counts in memory: the challenge knows the least', async () => {
    const store = new session.MemoryStore();
    const client = fakeClient();
    let running: RequestListener = (_req, res) => res.end();
    const server = createServer((req, res) => running(req, res)).listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    onTestFinished(() => void server.close());
    const start = () => {
      const host = createHost(client, { session: { store } });
      running = host.app;
      return host;
    };
    const browser = start().browser(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    await browser.issue();
    expect(await wrongPins(browser, 2)).toEqual(['pin_wrong', 'pin_wrong']);
    start();
    expect((await browser.check('000000')).body.outcome).toMatchObject({ attemptsRemaining: 2 });
    start();
    expect((await browser.check('000000')).body.outcome).toMatchObject({ attemptsRemaining: 1 });
    start();
    expect(await wrongPins(browser, 1)).toEqual(['attempts_exhausted']);
    start();
    expect(word((await browser.check()).body)).toBe('no_challenge');
    expect(client.checks).toHaveLength(5);
  });

  it('are as many as the host says', async () => {
    for (const attempts of [1, 10]) {
      const { ask, host, url } = await site({ attempts });
      const browser = host.browser(url);
      await ask(PHONE, { browser });
      expect((await browser.get('/challenge')).body.attemptsRemaining).toBe(attempts);
      const words = await wrongPins(browser, attempts);
      expect(words).toEqual([...new Array(attempts - 1).fill('pin_wrong'), 'attempts_exhausted']);
      expect(await checked(browser)).toBe('no_challenge');
    }
  });

  it('of an old challenge do not help with a new one, nor the other way round', async () => {
    const { ask, client, host, url } = await site();
    const browser = host.browser(url);
    await ask(PHONE, { browser });
    await wrongPins(browser, 4);
    await ask(OTHER_PHONE, { browser });
    expect((await browser.check('000000')).body.outcome).toMatchObject({ attemptsRemaining: 4 });
    expect(client.checks).toHaveLength(5);
  });
});

describe('a limiter of the host', () => {
  const shared = () => {
    const counters = sharedCounters();
    const strategy = { limiter: counters.limiter, secret: SECRET, storeTimeoutMs: 60 };
    return { counters, strategy };
  };

  it('is made once for each counter, with a prefix of its own', async () => {
    const { counters, strategy } = shared();
    await site(strategy);
    const made = counters.made.map(({ points, duration, purpose }) => `${purpose} ${points}/${duration}`);
    for (const expected of [
      'budget 1/30',
      'budget 5/3600',
      'budget 10/86400',
      'budget 3/86400',
      'budget 60/3600',
      'budget 20/3600',
      'budget 1000/3600',
      'budget 5000/86400',
      'budget 10/900',
      'budget 30/86400',
      'attempts 5/660',
      'claim 1/660',
    ]) {
      expect(made).toContain(expected);
    }
    const prefixes = counters.made.map(({ keyPrefix }) => keyPrefix);
    expect(new Set(prefixes).size).toBe(prefixes.length);
    for (const options of counters.made) {
      expect(Object.keys(options).sort()).toEqual(['duration', 'keyPrefix', 'points', 'purpose']);
      expect(options.duration).toBeLessThanOrEqual(2_147_483);
    }
  });

  it('is not shared by strategies of two names', async () => {
    const { counters, strategy } = shared();
    const first = await site(strategy);
    const second = await site({ ...strategy, name: 'sign-up' });
    expect([await first.ask(), await second.ask()]).toEqual(['sent', 'sent']);
    expect(new Set(counters.made.map(({ keyPrefix }) => keyPrefix)).size).toBe(counters.made.length);
  });

  it('sees no number, address, PIN, PIN id or secret in a key', async () => {
    const { counters, strategy } = shared();
    const { ask, client, host, url } = await site({ ...strategy, channels: ['sms', 'voice'] });
    client.onSend = async () => ({ pinId: 'HANDLE-OF-THE-SERVICE', sent: true });
    const browser = host.browser(url);
    await ask(PHONE, { browser, ip: '198.51.100.77' });
    await wrongPins(browser, 2);
    pass(31 * SECOND);
    await browser.resend({ channel: 'voice' });
    await checked(browser, '2001:db8:77::1');
    expect(counters.keys.size).toBeGreaterThan(8);
    const keys = [...counters.keys].join('\n');
    for (const secret of [
      PHONE,
      PHONE.slice(1),
      '911234567',
      '198.51.100.77',
      '2001:db8:77',
      PIN,
      '000000',
      'HANDLE-OF-THE-SERVICE',
      SECRET,
    ]) {
      expect(keys).not.toContain(secret);
    }
  });

  it('counts for all processes together: budgets, attempts and the single use', async () => {
    const { strategy } = shared();
    const store = new session.MemoryStore();
    const one = await site(strategy, { session: { store } });
    const two = await site(strategy, { session: { store } });
    expect([await one.ask(), await two.ask()]).toEqual(['sent', 'sendsPerNumber for 30 s']);

    const browser = one.host.browser(one.url);
    const { headers } = await browser.issue(OTHER_PHONE);
    // The same browser at the other process.
    const elsewhere = two.host.browser(two.url);
    elsewhere.agent.set('Cookie', String(headers['set-cookie']).split(';')[0] ?? '');
    const both = barrier(4);
    for (const { client } of [one, two]) {
      client.onVerify = async (pinId) => {
        await both.pass();
        return { verified: true, pinId, msisdn: '' };
      };
    }
    const answers = await Promise.all(
      [browser, elsewhere, browser, elsewhere].map(async (from) => word((await from.check()).body)),
    );
    expect(both.most).toBe(4);
    expect(answers.filter((came) => came === 'logged in')).toHaveLength(1);
    expect(answers.filter((came) => came === 'no_challenge')).toHaveLength(3);
  });

  it.each(['fails', 'is silent'] as const)(
    'that %s: nothing is sent and nobody is logged in',
    async (how) => {
      const { counters, strategy } = shared();
      const { ask, client, host, url } = await site(strategy);
      for (const method of ['consume', 'get'] as const) {
        counters.break('budget', method, how);
        expect([method, await ask()]).toEqual([method, 'error ERR_SMS_OTP_STORE']);
        expect(client.sends).toEqual([]);
        counters.heal();
      }
      expect(host.errors[0]).toMatchObject({ status: 503, message: expect.stringContaining('store') });

      const browser = host.browser(url);
      expect(await ask(PHONE, { browser })).toBe('sent');
      counters.break('attempts', 'consume', how);
      expect(await checked(browser)).toBe('error ERR_SMS_OTP_STORE');
      counters.heal();
      counters.break('budget', 'consume', how);
      expect(await checked(browser)).toBe('error ERR_SMS_OTP_STORE');
      counters.heal();
      expect(client.checks).toEqual([]);
      counters.break('claim', 'consume', how);
      expect(await checked(browser)).toBe('error ERR_SMS_OTP_STORE');
      counters.heal();
      expect([client.checks.length, host.proofs]).toEqual([1, []]);
      expect((await browser.get('/me')).body.user).toBeNull();
      expect(await checked(browser)).toMatch(/^(?:logged in|no_challenge)$/u);
    },
  );

  it.each(['fails', 'is silent'] as const)(
    'that %s once the PIN is claimed does not stop the login',
    async (how) => {
      const { counters, strategy } = shared();
      const { ask, host, url } = await site(strategy);
      const browser = host.browser(url);
      expect(await ask(PHONE, { browser })).toBe('sent');
      for (const method of ['delete', 'reward'] as const) counters.break('budget', method, how);
      counters.break('attempts', 'reward', how);
      expect(await checked(browser)).toBe('logged in');
    },
  );

  it('that refuses with a result is a budget, whatever class the result has', async () => {
    const { ask, client } = await site({
      secret: SECRET,
      limiter: ({ purpose }) => ({
        consume: () =>
          purpose === 'budget'
            ? Promise.reject({ consumedPoints: 2, remainingPoints: 0, msBeforeNext: 4200 })
            : Promise.resolve({ consumedPoints: 1, remainingPoints: 4, msBeforeNext: 1000 }),
        get: async () => null,
        reward: async () => ({ consumedPoints: 1, remainingPoints: 0, msBeforeNext: 4200 }),
        delete: async () => true,
      }),
    });
    expect(await ask()).toBe('sendsPerNumber for 5 s');
    expect(client.sends).toEqual([]);
  });

  it.each([
    ['undefined', undefined],
    ['a text', 'down'],
    ['an object that is no result', { message: 'down' }],
  ])('that rejects with %s is down, and no budget', async (_what, reason) => {
    const { ask, client } = await site({
      secret: SECRET,
      limiter: () => ({
        consume: () => Promise.reject(reason),
        get: async () => null,
        reward: () => Promise.reject(reason),
        delete: () => Promise.reject(reason),
      }),
    });
    expect(await ask()).toBe('error ERR_SMS_OTP_STORE');
    expect(client.sends).toEqual([]);
  });
});
