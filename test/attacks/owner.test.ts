/** Locking an owner out: what a stranger who knows a number can do to the one whose number it is. */

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createHost, fakeClient, type Host, type LooseOptions, PHONE, PIN, serve } from '../support/host.js';

const NOON = Date.UTC(2026, 0, 1, 12);
const MINUTE = 60_000;

function later(ms: number): void {
  vi.setSystemTime(Date.now() + ms);
}

/** A site that knows its owner's browser by a cookie; strangers have another address for each request. */
function site(strategy: LooseOptions = {}): { host: Host; client: ReturnType<typeof fakeClient> } {
  const client = fakeClient();
  let stranger = 0;
  const host = createHost(client, {
    strategy: {
      clientKey: ({ headers }) => String(headers['x-address'] ?? `stranger ${stranger++}`),
      knownBrowser: ({ headers }, { phoneNumber }) => headers['x-known'] === phoneNumber,
      ...strategy,
    },
  });
  return { host, client };
}

const OWNER = { 'X-Known': PHONE };
const issue = (host: Host, headers: Record<string, string> = {}) => {
  const browser = host.browser();
  return { browser, answer: browser.post('/login', { phone: PHONE }, headers) };
};

/** As a stranger: two PINs, and five wrong ones for each. */
async function guessTenTimes(host: Host): Promise<void> {
  for (let round = 0; round < 2; round += 1) {
    const { browser, answer } = issue(host);
    await answer;
    for (let attempt = 0; attempt < 5; attempt += 1) await browser.check('000000');
    later(31_000);
  }
}

describe('a stranger who knows the number', () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['Date'], now: NOON });
  });

  afterEach(() => {
    vi.useRealTimers();
  });

  it('cannot disturb a PIN that its owner has got already, however many wrong ones are typed elsewhere', async () => {
    const { host } = site();
    const owner = issue(host);
    expect((await owner.answer).status).toBe(202);
    for (let round = 0; round < 4; round += 1) {
      later(31_000);
      const { browser, answer } = issue(host);
      await answer;
      for (let attempt = 0; attempt < 5; attempt += 1) await browser.check('000000');
    }
    expect((await issue(host).answer).body.outcome.code).toBe('too_many_requests');
    expect((await owner.browser.check(PIN)).status).toBe(200);
  });

  it('can keep an unknown browser from getting a new one, and a known one gets it all the same', async () => {
    const { host } = site();
    for (let visit = 0; visit < 12; visit += 1) {
      await issue(host).answer;
      later(31_000);
    }
    expect((await issue(host).answer).body.outcome).toMatchObject({
      code: 'too_many_requests',
      budget: 'sendsPerNumber',
    });
    const owner = issue(host, OWNER);
    expect((await owner.answer).status).toBe(202);
    expect((await owner.browser.check(PIN)).status).toBe(200);
  });

  it('who typed too many wrong PINs has not used up those of a known browser', async () => {
    const { host } = site();
    await guessTenTimes(host);
    expect((await issue(host).answer).body.outcome.budget).toBe('failuresPerNumber');
    const owner = issue(host, OWNER);
    expect((await owner.answer).status).toBe(202);
    expect((await owner.browser.check(PIN)).status).toBe(200);
  });

  it('who typed too many wrong PINs is forgotten once the owner has logged in where the host knows the browser', async () => {
    const { host } = site();
    await guessTenTimes(host);
    expect((await issue(host).answer).body.outcome.budget).toBe('failuresPerNumber');
    const owner = issue(host, OWNER);
    await owner.answer;
    await owner.browser.check(PIN);
    expect((await issue(host).answer).status).toBe(202);
  });

  it('is over after the window: the owner gets a PIN from any browser again', async () => {
    const { host } = site();
    for (let visit = 0; visit < 12; visit += 1) {
      await issue(host).answer;
      later(31_000);
    }
    later(61 * MINUTE);
    expect((await issue(host).answer).status).toBe(202);
  });

  it('at the same address uses up what strangers have there, not what a known browser has', async () => {
    const { host } = site({
      budgets: { uncompletedPerClient: [{ points: 5, duration: 3600 }], sendsPerNumber: null },
    });
    const here = { 'X-Address': '198.51.100.7' };
    for (let visit = 0; visit < 8; visit += 1) {
      await host.browser().post('/login', { phone: `+38591765000${visit}` }, here);
    }
    expect((await issue(host, here).answer).body.outcome.budget).toBe('uncompletedPerClient');
    expect((await issue(host, { ...here, ...OWNER }).answer).status).toBe(202);
  });

  it('who closed the whole country has not closed it for a known browser', async () => {
    const { host } = site({
      budgets: { countryCompletion: { sends: 10, duration: 3600, minimumRatio: 0.4 } },
    });
    for (let visit = 0; visit < 12; visit += 1) {
      await host.browser().post('/login', { phone: `+3859176500${10 + visit}` });
    }
    expect((await issue(host).answer).body.outcome.budget).toBe('countryCompletion');
    expect((await issue(host, OWNER).answer).status).toBe(202);
  });

  it('gains nothing by a cookie of another number', async () => {
    const { host, client } = site();
    for (let visit = 0; visit < 12; visit += 1) {
      await issue(host, { 'X-Known': '+385919999999' }).answer;
      later(31_000);
    }
    expect(client.sends).toHaveLength(5);
  });
});

describe('a stranger who hammers the check of the same number', () => {
  async function hammer(strategy: LooseOptions): Promise<number[]> {
    const { host } = site({ ...strategy, budgets: { sendsPerNumber: null, failedChecksPerClient: null } });
    const address = await serve(host);
    const stranger = host.browser(address);
    await stranger.issue();
    const owner = host.browser(address);
    await owner.issue();
    let stop = false;
    const hammers = Array.from({ length: 8 }, async () => {
      while (!stop) await stranger.check('000000');
    });
    await new Promise((resolve) => setTimeout(resolve, 200));
    const answers: number[] = [];
    // People try again; three times is what they have the patience for.
    while (answers.length < 3 && answers.at(-1) !== 200) answers.push((await owner.check(PIN)).status);
    stop = true;
    await Promise.all(hammers);
    return answers;
  }

  it('does not keep its owner from typing the PIN', async () => {
    expect((await hammer({})).at(-1)).toBe(200);
  });

  // Where members are hidden, checks take turns, real or not: but each challenge has turns of its own.
  it('does not keep its owner from typing the PIN on a site that hides its members', async () => {
    expect((await hammer({ canReceivePin: () => true })).at(-1)).toBe(200);
  });
});
