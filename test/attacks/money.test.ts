/** SMS that should not be sent, and ways to make a site stop sending those that should. */

import session from 'express-session';
import { withTestNumbers } from 'passport-sms-otp';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  createHost,
  type FakeClient,
  fakeClient,
  type Host,
  type LooseOptions,
  PHONE,
  PIN,
} from '../support/host.js';
import { SECRET } from '../support/limiters.js';

const NOON = Date.UTC(2026, 0, 1, 12);
const MINUTE = 60_000;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['Date'], now: NOON });
});

afterEach(() => {
  vi.useRealTimers();
});

function later(ms: number): void {
  vi.setSystemTime(Date.now() + ms);
}

/** The n-th number of a Croatian mobile network. */
const numberOf = (index: number) => `+38591${String(2_000_000 + index)}`;

/** Every request comes from an address of its own: an attacker with a network of them. */
function fromEverywhere(strategy: LooseOptions = {}): { client: FakeClient; host: Host } {
  let client = 0;
  const service = fakeClient();
  const clientKey = () => `client ${client++}`;
  return { client: service, host: createHost(service, { strategy: { clientKey, ...strategy } }) };
}

describe('a country', () => {
  async function closes(host: Host, attempts = 130): Promise<boolean> {
    for (let index = 0; index < attempts; index += 1) await host.browser().issue(numberOf(index));
    return (await host.browser().issue(PHONE)).body.outcome?.budget === 'countryCompletion';
  }

  it('is closed by PINs that nobody types in', async () => {
    const { client, host } = fromEverywhere();
    expect(await closes(host)).toBe(true);
    expect(client.sends).toHaveLength(100);
  });

  it('is not closed by sends that the host refused', async () => {
    const { client, host } = fromEverywhere({ beforeSend: ({ phoneNumber }) => phoneNumber === PHONE });
    expect(await closes(host)).toBe(false);
    expect(client.sends).toHaveLength(1);
  });

  it.each<[string, (client: FakeClient) => void]>([
    [
      'refused for its own limit',
      (client) => {
        client.onSend = () => Promise.reject(Object.assign(new Error('slow down'), { status: 429 }));
      },
    ],
    [
      'never got',
      (client) => {
        client.onSend = () => Promise.reject(Object.assign(new Error('no connection'), { sent: false }));
      },
    ],
    [
      'could not deliver',
      (client) => {
        client.onSend = async () => ({ pinId: 'PIN-ID', sent: false });
      },
    ],
  ])('is not closed by sends that the service %s', async (_what, breakService) => {
    const { client, host } = fromEverywhere();
    breakService(client);
    expect(await closes(host)).toBe(false);
  });

  it('is open again after an outage of the service, for everybody who waited', async () => {
    const { client, host } = fromEverywhere();
    const answer = client.onSend;
    client.onSend = () => Promise.reject(Object.assign(new Error('no connection'), { sent: false }));
    for (let index = 0; index < 150; index += 1) await host.browser().issue(numberOf(index));
    client.onSend = answer;
    later(MINUTE);
    for (let index = 0; index < 150; index += 1) {
      expect((await host.browser().issue(numberOf(index))).status, `visitor ${index}`).toBe(202);
      // They are honest, and type what they get: most of them.
      if (index === 90) break;
    }
  });
});

describe('a challenge of before a restart', () => {
  const all: LooseOptions = { countries: ['HR', 'SI'], channels: ['sms', 'voice'] };
  it.each<[string, LooseOptions, string | undefined, number, string | undefined]>([
    ['as before', all, 'voice', 202, undefined],
    ['without its country', { ...all, countries: ['SI'] }, undefined, 401, 'no_challenge'],
    ['without its country, by voice', { ...all, countries: ['SI'] }, 'voice', 401, 'no_challenge'],
    ['without calls', { ...all, channels: ['sms'] }, 'voice', 400, 'channel_not_allowed'],
    ['without calls, by SMS', { ...all, channels: ['sms'] }, 'sms', 202, undefined],
    [
      'without its kind of number',
      { ...all, blockedNumberTypes: ['MOBILE'] },
      undefined,
      401,
      'no_challenge',
    ],
  ])('is sent again by the options of after it (%s)', async (_what, after, channel, status, code) => {
    const client = fakeClient();
    const store = new session.MemoryStore();
    const budgets = { sendsPerNumber: null };
    const start = (strategy: LooseOptions) =>
      createHost(client, { session: { store }, strategy: { ...strategy, budgets } });
    const issued = await start(all).browser().issue();
    const Cookie = String(issued.get('Set-Cookie')?.[0]?.split(';')[0]);
    const answer = await start(after)
      .browser()
      .post('/login/resend', channel === undefined ? {} : { channel }, { Cookie });
    expect([answer.status, code && answer.body.outcome.code]).toEqual([status, code]);
    expect(client.resends).toHaveLength(status === 202 ? 1 : 0);
    expect(client.sends).toHaveLength(1);
  });
});

it.each([
  [true, true, 202],
  [true, false, 401],
  [false, true, 401],
])(
  'a challenge of a number that was a test number (%s) and is one now (%s) is sent again: %i',
  async (was, is, status) => {
    const store = new session.MemoryStore();
    const services: FakeClient[] = [];
    const start = (isTest: boolean) => {
      const service = fakeClient();
      services.push(service);
      const until = new Date(NOON + 24 * 60 * MINUTE);
      const numbers = [{ phoneNumber: PHONE, pin: PIN, until }];
      const options = { secret: SECRET, allowReal: true };
      const client = isTest ? withTestNumbers(service, numbers, options) : service;
      return createHost(client, { session: { store }, strategy: { budgets: { sendsPerNumber: null } } });
    };
    const issued = await start(was).browser().issue();
    expect(issued.status).toBe(202);
    const Cookie = String(issued.get('Set-Cookie')?.[0]?.split(';')[0]);
    const again = await start(is).browser().post('/login/resend', {}, { Cookie });
    expect(again.status).toBe(status);
    const messages = services.map(({ sends, resends }) => sends.length + resends.length);
    expect(messages).toEqual([was ? 0 : 1, 0]);
  },
);

describe('a number', () => {
  it('gets no more PINs from many accounts that name it than from one', async () => {
    const { client, host } = fromEverywhere({
      subject: ({ body }) => String(Reflect.get(Object(body), 'account')),
    });
    for (let account = 0; account < 40; account += 1) {
      await host.browser().post('/login', { phone: PHONE, account });
      later(31_000);
    }
    expect(client.sends.length).toBeLessThanOrEqual(5);
  });

  it('gets no more PINs from many browsers and addresses than from one', async () => {
    const { client, host } = fromEverywhere();
    for (let visit = 0; visit < 100; visit += 1) {
      await host.browser().issue();
      later(31_000);
    }
    expect(client.sends.length).toBe(5);
  });

  it('is one number, however it is written', async () => {
    const { client, host } = fromEverywhere();
    const spellings = [
      '+385911234567',
      '00385911234567',
      '0911234567',
      '091 123 4567',
      '(091) 123-4567',
      '+385 (0)91 123 4567',
      '\uff0b\uff13\uff18\uff15911234567',
      '\u0660\u0669\u0661\u0661\u0662\u0663\u0664\u0665\u0666\u0667',
      '\u202a+385911234567\u202c',
    ];
    const codes: string[] = [];
    for (const spelling of spellings) {
      codes.push((await host.browser().issue(spelling)).body.outcome.code);
    }
    expect(codes).toEqual(['pin_sent', ...spellings.slice(1).map(() => 'too_many_requests')]);
    expect(client.sends.map(({ to }) => to)).toEqual([PHONE]);
  });

  it.each([
    ['of a premium service', '+385601234567'],
    ['that is free to call', '+3858001234'],
    ['of a landline', '+38514567890'],
    ['of a satellite', '+881612345678'],
    ['of a network without a country', '+883510001234567'],
    ['of a country that is not served', '+447911123456'],
    ['of an island that shares its code with a country', '+18765551234'],
    ['that is too short', '+38591123'],
    ['that is in no range of its country', '+385411234567'],
    ['with an extension', '+385911234567;ext=5'],
    ['with a second number behind it', '+385911234567,+385919876543'],
    ['as an address of a phone', 'tel:+385911234567'],
  ])('%s gets none', async (_what, phone) => {
    const { client, host } = fromEverywhere();
    const { status } = await host.browser().issue(phone);
    expect([400, 403]).toContain(status);
    expect(client.sends).toEqual([]);
  });
});

describe('a look-up of a number that the service cannot reach', () => {
  function unreachable(strategy: LooseOptions = {}) {
    const client = fakeClient();
    client.onSend = async () => ({ pinId: 'PIN-ID', sent: false });
    const host = createHost(client, { strategy });
    const ask = async (index: number) => {
      const { code, budget } = (await host.browser().issue(numberOf(index))).body.outcome;
      return budget ?? code;
    };
    return { client, host, ask };
  }

  const few = (points: number) => [{ points, duration: 3600 }];

  it('is limited for one client, at ten times its sends, and costs nobody else anything', async () => {
    let from = 'a client';
    const { client, ask } = unreachable({ clientKey: () => from, budgets: { uncompletedPerClient: few(3) } });
    for (let index = 0; index < 30; index += 1) expect(await ask(index)).toBe('undeliverable');
    for (let index = 30; index < 35; index += 1) expect(await ask(index)).toBe('uncompletedPerClient');
    expect(client.sends).toHaveLength(30);
    from = 'another';
    expect(await ask(35)).toBe('undeliverable');
    from = 'a client';
    later(60 * MINUTE);
    expect(await ask(36)).toBe('undeliverable');
  });

  it('is counted for the network of an IPv6 address, too', async () => {
    const client = fakeClient();
    client.onSend = async () => ({ pinId: 'PIN-ID', sent: false });
    const host = createHost(client, { trustProxy: true });
    const codes: string[] = [];
    for (let index = 0; index < 202; index += 1) {
      const headers = { 'X-Forwarded-For': `2001:db8:1:2::${(index + 1).toString(16)}` };
      const { body } = await host.browser().post('/login', { phone: numberOf(index) }, headers);
      codes.push(body.outcome.budget ?? body.outcome.code);
    }
    expect(codes.slice(199)).toEqual(['undeliverable', 'uncompletedPerClient', 'uncompletedPerClient']);
  });

  it('is limited for all clients together', async () => {
    let client = 0;
    const { ask } = unreachable({ budgets: { sendsOverall: few(2) }, clientKey: () => `client ${client++}` });
    for (let index = 0; index < 20; index += 1) expect(await ask(index)).toBe('undeliverable');
    expect(await ask(20)).toBe('sendsOverall');
  });

  it('takes nothing from what can be sent', async () => {
    const { client, ask } = unreachable({ budgets: { sendsOverall: few(2) } });
    for (let index = 0; index < 19; index += 1) expect(await ask(index)).toBe('undeliverable');
    client.onSend = async () => ({ pinId: 'PIN-ID', sent: true });
    for (let index = 20; index < 22; index += 1) expect(await ask(index)).toBe('pin_sent');
    expect(await ask(22)).toBe('sendsOverall');
  });

  it('is not limited where the host counts no clients and no sends', async () => {
    const { ask } = unreachable({ budgets: { uncompletedPerClient: null, sendsOverall: null } });
    for (let index = 0; index < 620; index += 1) expect(await ask(index)).toBe('undeliverable');
  });

  it('of a test number is none', async () => {
    const { client, host } = unreachable({ budgets: { sendsOverall: [{ points: 1, duration: 3600 }] } });
    client.isTestNumber = () => true;
    for (let index = 0; index < 12; index += 1) {
      const { body } = await host.browser().issue(numberOf(index));
      expect(body.outcome.code).toBe('undeliverable');
    }
  });
});

describe('the bill', () => {
  it('of an attack from everywhere stays within the budgets of an hour and a day', async () => {
    const limits = [
      { points: 50, duration: 3600 },
      { points: 120, duration: 86_400 },
    ];
    const { client, host } = fromEverywhere({ budgets: { sendsOverall: limits, countryCompletion: null } });
    let index = 0;
    for (let hour = 0; hour < 4; hour += 1) {
      for (let request = 0; request < 70; request += 1) await host.browser().issue(numberOf(index++));
      later(61 * MINUTE);
    }
    expect(client.sends).toHaveLength(120);
  });

  it('is not run up by resends: they count like first sends', async () => {
    const { client, host } = fromEverywhere();
    const browser = host.browser();
    await browser.issue();
    for (let round = 0; round < 20; round += 1) {
      later(25_000);
      await browser.resend();
    }
    expect(client.sends.length + client.resends.length).toBe(5);
  });

  it('is not run up by parameters that name another phase, channel or number', async () => {
    const { client, host } = fromEverywhere({ channels: ['sms', 'voice'] });
    const browser = host.browser();
    await browser.issue();
    for (const form of [
      { phase: 'issue', phone: numberOf(1), pin: '000000' },
      { channel: 'voice', to: numberOf(2), pin: '000000' },
      { channel: ['sms', 'voice'], phoneNumber: numberOf(3), pin: '000000' },
    ]) {
      await browser.post('/login/pin', form);
    }
    expect(client.sends.map(({ to }) => to)).toEqual([PHONE]);
    expect(client.resends).toEqual([]);
  });
});
