/** Two clicks on one form, told by what each of them is given to wait for. */

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Action } from '../lib/action.js';
import type { Challenge } from '../lib/challenge.js';
import { createClicks } from '../lib/clicks.js';
import { endedSessions } from '../lib/ended.js';
import { SessionEnded } from '../lib/errors.js';
import type { RequestLike } from '../lib/request.js';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

const challenge = { id: 'CHALLENGE' } as Challenge;
const sent: Action = { type: 'redirect', url: '/pin', challenge };
const refused: Action = { type: 'fail', status: 400, info: {} as never };

function request(more: object = {}): RequestLike {
  return { method: 'POST', headers: {}, ip: '127.0.0.1', sessionID: 'new', ...more } as RequestLike;
}

/** Clicks once, and says what it found where it was told to wait. */
async function click(
  clicks: ReturnType<typeof createClicks>,
  { ids = ['S'], recipient = ['+385911234567'], action = sent }: Partial<Parameters> = {},
): Promise<unknown> {
  let told: unknown = 'was not asked';
  await clicks.join(ids, recipient, async (earlier) => {
    told = await earlier;
    return action;
  });
  return told;
}
interface Parameters {
  ids: string[];
  recipient: string[];
  action: Action;
}

describe('a second click', () => {
  it.each([false, true])(
    'waits for what the first finds while that is under way',
    async (isBetweenFactors) => {
      const clicks = createClicks(isBetweenFactors);
      let end = (_action: Action): void => {};
      const answer = new Promise<Action>((resolve) => {
        end = resolve;
      });
      const acts: unknown[] = [];
      const first = clicks.join(['S', 'T'], ['+385911234567', undefined], (earlier) => {
        acts.push(earlier);
        return answer;
      });
      const others = [['T'], ['X', 'S'], ['S']].map((ids) =>
        clicks.join(ids, ['+385911234567', undefined], async (earlier) => {
          acts.push(earlier);
          expect(await earlier).toBe(challenge);
          return refused;
        }),
      );
      expect(acts[0]).toBeUndefined();
      // The third waits for the first, and not for the second.
      expect(new Set(acts.slice(1)).size).toBe(1);
      expect(await click(clicks, { ids: ['X'] })).toBeUndefined();
      expect(await click(clicks, { ids: ['S'], recipient: ['+385919876543'] })).toBeUndefined();
      end(sent);
      expect(await first).toBe(sent);
      expect(await Promise.all(others)).toEqual([refused, refused, refused]);
    },
  );

  it('finds the challenge of the first for ten seconds, where its password takes its time', async () => {
    const clicks = createClicks(true);
    expect(await click(clicks)).toBeUndefined();
    await vi.advanceTimersByTimeAsync(9999);
    expect(await click(clicks, { action: refused })).toBe(challenge);
    await vi.advanceTimersByTimeAsync(1);
    expect(await click(clicks)).toBeUndefined();
  });

  it('finds it in the session where there is no password', async () => {
    const clicks = createClicks(false);
    await click(clicks);
    expect(await click(clicks)).toBeUndefined();
  });

  it('finds nothing of a first that has sent nothing, or that failed', async () => {
    const clicks = createClicks(true);
    await click(clicks, { action: refused });
    expect(await click(clicks, { ids: ['S'], action: refused })).toBeUndefined();
    const failure = new Error('the store is down');
    await expect(clicks.join(['S'], ['+385911234567'], () => Promise.reject(failure))).rejects.toBe(failure);
    expect(await click(clicks)).toBeUndefined();
    expect(await click(clicks)).toBe(challenge);
  });
});

describe('the sessions of a click', () => {
  const cookie = 'sid=s%3Aold.signature; consent=s%3Ayes.signature';
  const withStore = (more: object): RequestLike => {
    const sessionStore = { destroy: (_id: string): void => undefined };
    const req = request({ sessionStore, headers: { cookie }, ...more });
    endedSessions(req);
    sessionStore.destroy('old');
    return req;
  };

  it.each<[what: string, isBetweenFactors: boolean, more: object, ids: string[]]>([
    ['none', true, { sessionID: undefined }, []],
    ['its own where it keeps its session', true, { sessionID: 'old' }, ['old']],
    ['also the one it came with, which has just ended, between two factors', true, {}, ['new', 'old']],
    ['not the one it came with, elsewhere', false, {}, ['new']],
  ])('are %s', (_what, isBetweenFactors, more, ids) => {
    expect(createClicks(isBetweenFactors).idsOf(withStore(more))).toEqual(ids);
  });
});

describe('a session that has ended', () => {
  const ended = () => Promise.reject(new SessionEnded());
  const withStore = (sessionID: string | undefined): RequestLike =>
    request({
      sessionID,
      session: { of: 'old' },
      sessionStore: {
        generate: (made: object) => Object.assign(made, { sessionID: 'another', session: {} }),
      },
    });

  it('is made anew where a first click has ended it, for ten seconds', async () => {
    const clicks = createClicks(true);
    clicks.willSignOut('old');
    await vi.advanceTimersByTimeAsync(9999);
    const req = withStore('old');
    await clicks.orAnew(req, ended());
    expect([Reflect.get(req, 'sessionID'), req.session]).toEqual(['another', {}]);
    await vi.advanceTimersByTimeAsync(1);
    await expect(clicks.orAnew(withStore('old'), ended())).rejects.toBeInstanceOf(SessionEnded);
  });

  it.each([['somebody else’s'], [undefined]])('is an end where nobody’s click did it: %s', async (id) => {
    const clicks = createClicks(true);
    clicks.willSignOut('old');
    clicks.willSignOut(undefined);
    const req = withStore(id);
    await expect(clicks.orAnew(req, ended())).rejects.toBeInstanceOf(SessionEnded);
    expect([Reflect.get(req, 'sessionID'), req.session]).toEqual([id, { of: 'old' }]);
  });

  it('is no cover for another failure, nor needed for a session that lives', async () => {
    const clicks = createClicks(true);
    clicks.willSignOut('old');
    const failure = new Error('the store is down');
    await expect(clicks.orAnew(withStore('old'), Promise.reject(failure))).rejects.toBe(failure);
    const req = withStore('old');
    await clicks.orAnew(req, Promise.resolve());
    expect(Reflect.get(req, 'sessionID')).toBe('old');
  });
});
