/** Whatever the host's functions, its client and its stores return or throw: each request is answered, by one action. */

import type { Challenge, SmsOtpStrategyOptions } from 'passport-sms-otp';
import { RateLimiterMemory } from 'rate-limiter-flexible';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { expectNoUnhandledRejection } from '../support/calm.js';
import { createHost, fakeClient, type LooseOptions, PHONE, PIN } from '../support/host.js';
import { SECRET } from '../support/limiters.js';

expectNoUnhandledRejection();

beforeEach(() => {
  vi.spyOn(process, 'emitWarning').mockReturnValue();
});
afterEach(() => {
  vi.restoreAllMocks();
});

type Odd = (...args: unknown[]) => unknown;

function revoked(target: object): object {
  const { proxy, revoke } = Proxy.revocable(target, {});
  revoke();
  return proxy;
}

function throwing(thrown: unknown): Odd {
  return () => {
    throw thrown;
  };
}

const broken = () => {
  throw new Error('a getter that fails');
};

const oddities: Record<string, Odd> = {
  'throws nothing': throwing(undefined),
  'throws null': throwing(null),
  'throws a text': throwing('route'),
  'throws what cannot be looked at': throwing(revoked({})),
  'throws an Error without a stack': throwing(Object.create(Error.prototype)),
  'throws a frozen Error': throwing(Object.freeze(new Error('frozen'))),
  'throws an Error whose code fails': throwing(
    Object.defineProperty(new Error('x'), 'code', { get: broken }),
  ),
  'throws an Error whose status fails': throwing(
    Object.defineProperty(new Error('x'), 'status', { get: broken }),
  ),
  'rejects with nothing': () => Promise.reject(undefined),
  'rejects with a text': () => Promise.reject('route'),
  'rejects with what cannot be looked at': () => Promise.reject(revoked({})),
  'rejects later': () => new Promise((_resolve, reject) => setTimeout(reject, 20, 'late')),
  'returns nothing': () => undefined,
  'returns what cannot be looked at': () => revoked({}),
  'returns a function that cannot be looked at': () => revoked(() => undefined),
  'returns a symbol': () => Symbol('odd'),
  'returns a large number': () => 10n,
  'returns a promise that cannot be waited for': () => Object.defineProperty({}, 'then', { get: broken }),
};

function challengesWith(method: string, odd: Odd): LooseOptions {
  const kept = new Map<unknown, Challenge>();
  const store = {
    get: async (req: object) => kept.get(Reflect.get(req, 'sessionID')),
    set: async (req: object, _name: string, challenge: Challenge) => {
      kept.set(Reflect.get(req, 'sessionID'), challenge);
    },
    remove: async (req: object) => {
      kept.delete(Reflect.get(req, 'sessionID'));
    },
    [method]: odd,
  };
  return { challenges: store as never };
}

function limiterWith(method: string, odd: Odd): LooseOptions {
  const limiter: SmsOtpStrategyOptions['limiter'] = (options) => {
    const real = new RateLimiterMemory(options);
    const consume = (key: string, points?: number) => real.consume(key, points);
    const reward = (key: string, points?: number) => real.reward(key, points);
    const get = (key: string) => real.get(key);
    return { consume, reward, get, delete: (key: string) => real.delete(key), [method]: odd } as never;
  };
  return { limiter, secret: SECRET };
}

const options = [
  'beforeSend',
  'canReceivePin',
  'placeholders',
  'knownBrowser',
  'clientKey',
  'messages',
  'onEvent',
];
const places = [
  ...[...options, 'messageId', 'recipient', 'subject'].map((name) => `the option ${name}`),
  ...['sendPin', 'resendPin', 'verifyPin', 'isTestNumber'].map((name) => `the client's ${name}`),
  ...['get', 'set', 'remove'].map((name) => `the challenge store's ${name}`),
  ...['consume', 'get', 'reward', 'delete'].map((name) => `the limiter's ${name}`),
  'verify',
];

async function visit(
  place: string,
  odd: Odd,
): Promise<{ statuses: number[]; user: unknown; actions: string[][] }> {
  const name = place.split(' ').at(-1) ?? '';
  const client = fakeClient();
  if (place.startsWith('the client')) Object.assign(client, { [name]: odd });
  const strategy: LooseOptions = {
    budgets: { sendsPerNumber: null },
    storeTimeoutMs: 500,
    verifyTimeoutMs: 500,
    ...(place.startsWith('the option') && { [name]: odd }),
    ...(place.startsWith('the challenge') && challengesWith(name, odd)),
    ...(place.startsWith('the limiter') && limiterWith(name, odd)),
  };
  const host = createHost(client, { strategy, ...(place === 'verify' && { verify: odd as never }) });
  const browser = host.browser();
  await browser.get('/me');
  const statuses: number[] = [];
  for (const ask of [
    () => browser.issue(PHONE),
    () => browser.resend(),
    () => browser.check('000000'),
    () => browser.check(PIN),
  ]) {
    statuses.push((await ask().timeout(10_000)).status);
  }
  const { user } = (await browser.get('/me')).body;
  return { statuses, user, actions: host.actions };
}

it.each(places)(
  'answers each request when %s returns or throws whatever it likes',
  async (place) => {
    const visits = await Promise.all(
      Object.entries(oddities).map(async ([what, odd]) => ({ what, ...(await visit(place, odd)) })),
    );
    for (const { what, statuses, user, actions } of visits) {
      expect(statuses, what).toHaveLength(4);
      expect(actions, what).toHaveLength(4);
      for (const taken of actions) expect(taken, what).toHaveLength(1);
      // 404 would be the page behind a route that let the request through.
      for (const status of statuses)
        expect([200, 202, 400, 401, 403, 422, 429, 500, 503], what).toContain(status);
      if (['verify', "the client's verifyPin", "the client's sendPin"].includes(place))
        expect(user, what).toBeNull();
    }
  },
  60_000,
);
