import { describe, expect, it } from 'vitest';
import { checked, number, pass, SECOND, site, stopTheClock, wrongPins } from '../support/asking.js';
import { expectNoUnhandledRejection } from '../support/calm.js';
import { createHost, type FakeClient, fakeClient, PHONE } from '../support/host.js';

expectNoUnhandledRejection();
stopTheClock();

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

  it('leaves no rest of a cooldown, which would be all that the next message has', async () => {
    let answer = false;
    const { ask, client } = await site({ beforeSend: async () => answer, budgets: hourly });
    expect(await ask()).toMatch(/^not_now/u);
    answer = true;
    pass(29.7 * SECOND);
    expect(await ask()).toBe('sent');
    pass(0.4 * SECOND);
    expect(await ask()).toBe('sendsPerNumber for 30 s');
    pass(29.5 * SECOND);
    expect(await ask()).toBe('sendsPerNumber for 1 s');
    pass(0.1 * SECOND);
    expect(await ask()).toBe('sent');
    // Nor where a longer limit has refused what began it.
    pass(30 * SECOND);
    expect(await ask()).toMatch(/^sendsPerNumber for 3\d\d\d s$/u);
    pass(3500 * SECOND);
    expect(await ask()).toBe('sendsPerNumber for 40 s');
    pass(40.1 * SECOND);
    expect(await ask()).toBe('sent');
    pass(0.4 * SECOND);
    expect(await ask()).toBe('sendsPerNumber for 30 s');
    expect(client.sends.length + client.resends.length).toBe(3);
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
