import { DEFAULT_BUDGETS } from 'passport-sms-otp';
import { describe, expect, it } from 'vitest';
import {
  checked,
  DAY,
  HOUR,
  MINUTE,
  number,
  pass,
  SECOND,
  type Site,
  site,
  stopTheClock,
  word,
  wrongPins,
} from './support/asking.js';
import { barrier } from './support/barrier.js';
import { expectNoUnhandledRejection } from './support/calm.js';
import {
  type Browser,
  createHost,
  fakeClient,
  type LooseOptions,
  OTHER_PHONE,
  PHONE,
  PIN,
  serve,
} from './support/host.js';

expectNoUnhandledRejection();
stopTheClock();

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
