/** What strangers can do to the owner of a number: nothing, where the owner's browser is known. */

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type FakeClient, fakeClient, OTHER_PHONE, PHONE, PIN } from './support/host.js';
import { type Crowd, createCrowd } from './support/in-process.js';

const START = Date.UTC(2026, 0, 1, 12);

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['Date'], now: START });
});
afterEach(() => {
  vi.useRealTimers();
});
const later = (seconds: number) => vi.setSystemTime(Date.now() + seconds * 1000);

const HOME = 'home';

function site(): { client: FakeClient; crowd: Crowd } {
  const client = fakeClient();
  const crowd = createCrowd(client, {
    // Stands for a signed cookie that holds the number it was made for.
    knownBrowser: (
      { headers }: { headers: Record<string, unknown> },
      { phoneNumber }: { phoneNumber?: string },
    ) => headers.known !== undefined && headers.known === phoneNumber,
    channels: ['sms', 'voice'],
  });
  return { client, crowd };
}

/** Each uses something up, and says which budget a stranger is then refused by. */
const attacks: [name: string, budget: string, attack: (crowd: Crowd) => Promise<void>][] = [
  [
    'asks for a PIN for the number a moment before',
    'sendsPerNumber',
    async (crowd) => {
      await crowd.visitor('stranger').issue(PHONE);
    },
  ],
  [
    'asks for the number until the hour and the day are used up',
    'sendsPerNumber',
    async (crowd) => {
      for (let turn = 0; turn < 12; turn += 1) {
        await crowd.visitor(`stranger ${turn}`).issue(PHONE);
        later(turn === 5 ? 3_600 : 31);
      }
    },
  ],
  [
    'types wrong PINs for the number until it gets no more',
    'failuresPerNumber',
    async (crowd) => {
      for (let challenge = 0; challenge < 2; challenge += 1) {
        const stranger = crowd.visitor(`stranger ${challenge}`);
        await stranger.issue(PHONE);
        for (let wrong = 0; wrong < 5; wrong += 1) await stranger.check('000000');
        later(31);
      }
    },
  ],
  [
    'asks for sixty other numbers from the same address',
    'uncompletedPerClient',
    async (crowd) => {
      for (let index = 0; index < 60; index += 1) {
        await crowd.visitor(HOME).issue(`+38591${2_000_000 + index}`);
      }
    },
  ],
  [
    'asks for a hundred numbers of the same country and types nothing in',
    'countryCompletion',
    async (crowd) => {
      for (let index = 0; index < 100; index += 1) {
        await crowd.visitor(`stranger ${index}`).issue(`+38598${1_000_000 + index}`);
      }
    },
  ],
];

describe.each(attacks)('while a stranger %s', (_name, budget, attack) => {
  it('anybody else is refused', async () => {
    const { crowd } = site();
    await attack(crowd);
    expect(await crowd.visitor(HOME).issue(PHONE)).toBe(budget);
  });

  it("the number's owner logs in, with a PIN, a second one and a mistake", async () => {
    const { crowd } = site();
    await attack(crowd);
    const owner = crowd.visitor(HOME, PHONE);
    expect(await owner.issue(PHONE)).toBe('pin_sent');
    expect(await owner.check('000000')).toBe('pin_wrong');
    later(31);
    expect(await owner.resend()).toBe('pin_sent');
    expect(await owner.check(PIN)).toBe('logged in');
  });
});

describe('while a stranger types wrong PINs from the same address', () => {
  async function attacked() {
    const { crowd } = site();
    for (let challenge = 0; challenge < 12; challenge += 1) {
      const stranger = crowd.visitor(HOME);
      await stranger.issue(`+3859830${10_000 + challenge}`);
      for (let wrong = 0; wrong < 5; wrong += 1) await stranger.check('000000');
    }
    return crowd;
  }

  it('anybody else is refused at the check', async () => {
    const other = (await attacked()).visitor(HOME);
    expect(await other.issue(PHONE)).toBe('pin_sent');
    expect(await other.check(PIN)).toBe('failedChecksPerClient');
  });

  it("the number's owner logs in", async () => {
    const owner = (await attacked()).visitor(HOME, PHONE);
    expect(await owner.issue(PHONE)).toBe('pin_sent');
    expect(await owner.check(PIN)).toBe('logged in');
  });
});

describe('a known browser', () => {
  it('is known for its own number only', async () => {
    const { crowd } = site();
    await crowd.visitor('stranger').issue(OTHER_PHONE);
    expect(await crowd.visitor(HOME, PHONE).issue(OTHER_PHONE)).toBe('sendsPerNumber');
  });

  it('has the same budgets, for itself: five SMS an hour and ten wrong PINs', async () => {
    const { client, crowd } = site();
    const ends: string[] = [];
    for (let turn = 0; turn < 7; turn += 1) {
      ends.push(await crowd.visitor(HOME, PHONE).issue(PHONE));
      later(31);
    }
    expect(ends).toEqual([...Array(5).fill('pin_sent'), 'sendsPerNumber', 'sendsPerNumber']);
    later(3_600);
    for (let challenge = 0; challenge < 2; challenge += 1) {
      const owner = crowd.visitor(HOME, PHONE);
      await owner.issue(PHONE);
      for (let wrong = 0; wrong < 5; wrong += 1) await owner.check('000000');
      later(31);
    }
    expect(await crowd.visitor(HOME, PHONE).issue(PHONE)).toBe('failuresPerNumber');
    expect(client.sends).toHaveLength(7);
  });

  it('uses up nothing of what others share with it', async () => {
    const { crowd } = site();
    for (let turn = 0; turn < 5; turn += 1) {
      await crowd.visitor(HOME, PHONE).issue(PHONE);
      later(31);
    }
    expect(await crowd.visitor('elsewhere').issue(PHONE)).toBe('pin_sent');
  });

  it('stays counted apart at the check when its cookie is gone by then', async () => {
    const { crowd } = site();
    const owner = crowd.visitor(HOME, PHONE);
    await owner.issue(PHONE);
    for (let challenge = 0; challenge < 12; challenge += 1) {
      const stranger = crowd.visitor(HOME);
      await stranger.issue(`+3859830${10_000 + challenge}`);
      for (let wrong = 0; wrong < 5; wrong += 1) await stranger.check('000000');
    }
    expect(await owner.check(PIN)).toBe('logged in');
  });

  it('is asked for its recipient, as the host knows it, before anything is sent', async () => {
    const seen: unknown[] = [];
    const client = fakeClient();
    const crowd = createCrowd(client, {
      recipient: () => ({ phoneNumber: PHONE, subject: 'u1' }),
      knownBrowser: (_req: unknown, recipient: unknown) => {
        seen.push([recipient, client.sends.length]);
        return false;
      },
    });
    await crowd.visitor(HOME).issue('');
    expect(seen).toEqual([[{ phoneNumber: PHONE, subject: 'u1' }, 0]]);
  });

  it('is a stranger unless the answer is true: nothing else makes it known', async () => {
    for (const answer of ['yes', 1, {}, Promise.resolve('true'), undefined]) {
      const crowd = createCrowd(fakeClient(), { knownBrowser: (() => answer) as unknown as () => boolean });
      await crowd.visitor('stranger').issue(PHONE);
      expect(await crowd.visitor(HOME).issue(PHONE)).toBe('sendsPerNumber');
    }
  });

  it('stops the request when the host cannot tell: no send in doubt', async () => {
    const client = fakeClient();
    const crowd = createCrowd(client, { knownBrowser: () => Promise.reject(new Error('cookie store down')) });
    await expect(crowd.visitor(HOME).issue(PHONE)).rejects.toThrow('cookie store down');
    expect(client.sends).toEqual([]);
  });
});
