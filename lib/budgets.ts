/**
 * Budgets, attempts and the single-use claim: counters that are exact under parallel requests, over
 * rate-limiter-flexible. A point is taken before the service is asked and given back when the request did not go on.
 */

import { createHmac, createSecretKey } from 'node:crypto';
import { type Credit, LONGEST_CHAIN_MS } from './challenge.js';
import { fromStore } from './errors.js';

/** `points` per `duration` seconds. */
export interface Limit {
  points: number;
  duration: number;
}

/** When a country's numbers get no more PINs: `sends` or more in `duration` seconds, of which fewer than `minimumRatio` were typed in. */
export interface CompletionLimit {
  sends: number;
  duration: number;
  minimumRatio: number;
}

/** The budgets; an empty list or null switches one off. */
export interface Budgets {
  /** Issues and resends for one recipient, all channels. A limit of 1 point is the cooldown. */
  sendsPerNumber: readonly Limit[] | null;
  /** Voice calls to one recipient, on top of `sendsPerNumber`. */
  callsPerNumber: readonly Limit[] | null;
  /** Sends asked for by one client (an IPv4 address, an IPv6 /64); a completed login gives one back. */
  uncompletedPerClient: readonly Limit[] | null;
  /** All sends of the strategy. */
  sendsOverall: readonly Limit[] | null;
  /** Per country: stops what looks like toll fraud. */
  countryCompletion: CompletionLimit | null;
  /** Wrong PINs for one recipient, over all challenges: at the limit no new PIN is sent. */
  failuresPerNumber: readonly Limit[] | null;
  /** Wrong PINs of one client. */
  failedChecksPerClient: readonly Limit[] | null;
}

/** The name of a budget. */
export type BudgetName = keyof Budgets;

const HOUR = 3600;
const DAY = 86_400;

/** The budgets of a strategy whose host says nothing else. */
export const DEFAULT_BUDGETS: Budgets = {
  sendsPerNumber: [
    { points: 1, duration: 30 },
    { points: 5, duration: HOUR },
    { points: 10, duration: DAY },
  ],
  callsPerNumber: [{ points: 3, duration: DAY }],
  uncompletedPerClient: [{ points: 60, duration: HOUR }],
  sendsOverall: [
    { points: 1000, duration: HOUR },
    { points: 5000, duration: DAY },
  ],
  countryCompletion: { sends: 100, duration: HOUR, minimumRatio: 0.4 },
  failuresPerNumber: [
    { points: 10, duration: 900 },
    { points: 30, duration: DAY },
  ],
  failedChecksPerClient: [{ points: 60, duration: HOUR }],
};

/** `uncompletedPerClient` for an IPv6 /64, which one household or server has to itself. */
export const DEFAULT_UNCOMPLETED_IPV6: readonly Limit[] = [{ points: 20, duration: HOUR }];

/** A further limit of `failuresPerNumber` where a subject is known: NIST SP 800-63B allows 100 in a row per account. */
export const DEFAULT_SUBJECT_FAILURES: Limit = { points: 100, duration: 24 * DAY };

/** Beyond this Node's timers overflow, and a limiter in memory forgets at once. */
export const LONGEST_DURATION = 2_147_483;

/** What a limiter answers, or rejects with when it refuses. */
export interface LimiterResult {
  consumedPoints: number;
  remainingPoints: number;
  msBeforeNext: number;
}

/** The part of rate-limiter-flexible's interface that is used. It rejects with a result when refused, with an `Error` when down. */
export interface Limiter {
  consume(key: string, points?: number): Promise<LimiterResult>;
  reward(key: string, points?: number): Promise<LimiterResult>;
  get(key: string): Promise<LimiterResult | null>;
  delete(key: string): Promise<boolean>;
}

/** What the option `limiter` is called with, once for each counter: pass it on to a limiter of rate-limiter-flexible. */
export interface LimiterOptions {
  keyPrefix: string;
  points: number;
  /** Seconds. */
  duration: number;
  purpose: 'budget' | 'attempts' | 'claim';
}

/**
 * A limiter in this process's memory: what a strategy without the option `limiter` counts with. Its code is loaded when
 * it first counts: it is half of what loading this package would cost, and a host with a store never needs it.
 */
export function memoryLimiter(options: LimiterOptions): Limiter {
  let made: Limiter | undefined;
  const ready = async (): Promise<Limiter> => {
    const { default: RateLimiterMemory } = await import('rate-limiter-flexible/lib/RateLimiterMemory.js');
    // Asked in parallel, only the first makes one: two would count apart.
    made ??= new RateLimiterMemory(options);
    return made;
  };
  // Not async: once the limiter is there, its own promise is the answer.
  const ask = <T>(question: (limiter: Limiter) => Promise<T>): Promise<T> =>
    made ? question(made) : ready().then(question);
  // Keys that a reward may have left without a point, each with its last one. They are forgotten: whoever names ever
  // new numbers and gets every point back would fill the memory otherwise.
  const rewarded = new Map<string, symbol>();
  const consume = (limiter: Limiter, key: string, points?: number) => {
    rewarded.delete(key);
    return limiter.consume(key, points);
  };
  async function reward(limiter: Limiter, key: string, points?: number): Promise<LimiterResult> {
    const mine = Symbol(key);
    rewarded.set(key, mine);
    const result = await limiter.reward(key, points);
    // It has been counted at once: what others have asked for in the meantime came later.
    if (rewarded.get(key) === mine) {
      rewarded.delete(key);
      if (result.consumedPoints === 0) await limiter.delete(key);
    }
    return result;
  }
  return {
    consume: (key, points) => ask((limiter) => consume(limiter, key, points)),
    reward: (key, points) => ask((limiter) => reward(limiter, key, points)),
    get: (key) => ask((limiter) => limiter.get(key)),
    delete: (key) => ask((limiter) => limiter.delete(key)),
  };
}

/** What `createCounters` needs of the parsed options. */
export interface CounterSettings {
  name: string;
  budgets: Budgets;
  uncompletedIpv6: readonly Limit[] | null;
  subjectFailures: Limit | null;
  limiter: (options: LimiterOptions) => Limiter;
  secret: string;
  storeTimeoutMs: number;
  pinTtlSeconds: number;
  attempts: number;
  /** Where users are known: as how many of them one number may count. It is counted by user, and for all together, too. */
  usersPerNumber: number | undefined;
  /** Whether nobody may learn who can get a PIN. Checks are then kept apart as the service keeps them: 3 s for one challenge, and four a second for a number. */
  hasDecoys: boolean;
  onNear: (budget: BudgetName, percent: 80 | 100) => void;
}

/** Whose budgets a request counts against. */
export interface Payer {
  recipient: string;
  subject: string | undefined;
  country: string | undefined;
  /** Undefined: the address is the proxy's, and budgets per client are skipped. */
  client: { family: 4 | 6; key: string } | undefined;
  /** A browser that the host knows to be the recipient's is counted apart. */
  known: boolean;
  /** A test number costs nothing: no budget of the strategy or of a country. */
  test: boolean;
}

interface Gauge {
  budget: BudgetName;
  limit: Limit;
  limiter: Limiter;
  isCooldown: boolean;
}

/** A point that a request took. */
interface Taken {
  gauge: Gauge;
  key: string;
  /** The end of the window it was counted in: a point must not be given back to the next one. */
  until: number;
  /** Whether the limit was exceeded by it. */
  refused: boolean;
}

/** The points that one request took. */
export type Ticket = readonly Taken[];

/** A budget said no. */
export interface Refusal {
  granted: false;
  budget: BudgetName;
  retryAfterSeconds: number;
  isCooldown: boolean;
  /** There once in a while when a country is stopped: what was sent there in the last `duration`, and typed in. */
  stopped?: { sends: number; completed: number };
}

/** All budgets said yes. */
export interface SendGrant {
  granted: true;
  ticket: Ticket;
  cooldownUntil: number;
  resendAt: number;
  credit: Credit | undefined;
}

/** What counting a check says. */
export type CheckGrant =
  | { granted: true; ticket: Ticket; attemptsUsed: number }
  | { granted: 'exhausted' }
  | { granted: 'used' }
  | Refusal;

/** The counters of one strategy. Every method rejects with an `SmsOtpError` when the store is down. */
export interface Counters {
  /** HMAC of a recipient or a client, for keys and events. */
  hash(value: string): string;
  /** Takes a point from every budget of a send, or none. `fresh`: a new challenge, not a resend. */
  takeSend(payer: Payer, request: { voice: boolean; fresh: boolean }): Promise<SendGrant | Refusal>;
  /** Counts a send that the service could not deliver, beside the points that are given back. */
  countUnreached(payer: Payer): Promise<void>;
  /** Counts an attempt before the service is asked. */
  takeCheck(payer: Payer, challenge: { id: string; attemptsUsed: number }): Promise<CheckGrant>;
  /** With `hasDecoys`, waits until a challenge and its number may be checked again; false when others were faster. */
  turnToCheck(challengeId: string, recipient: string): Promise<boolean>;
  /** Gives points back, to windows that still hold them. */
  giveBack(ticket: Ticket, options?: { keepCooldown?: boolean }): Promise<void>;
  /** Gives one attempt back. */
  giveAttemptBack(challengeId: string): Promise<void>;
  /** How many attempts were counted; Infinity once the challenge was claimed. */
  attemptsUsed(challengeId: string): Promise<number>;
  /** True for exactly one caller per challenge. */
  claim(challengeId: string): Promise<boolean>;
  /** Notes that a call is about to read the PIN of a challenge out: two sessions may hold that challenge. */
  noteCall(challengeId: string): Promise<void>;
  wasCalled(challengeId: string): Promise<boolean>;
  /** A PIN was right: failures are forgotten, the client gets its point back, the country its completion. */
  complete(payer: Payer, ticket: Ticket, challenge: { credit?: Credit; sentAt: number }): Promise<void>;
}

/** Sets up the counters of one strategy, one limiter for each. */
export function createCounters(settings: CounterSettings): Counters {
  const { budgets, storeTimeoutMs } = settings;
  const inMemory = settings.limiter === memoryLimiter;
  // A limiter in memory answers at once; a deadline would only cost a timer.
  const asked = <T>(answer: Promise<T>): Promise<T> =>
    inMemory ? answer : fromStore(answer, storeTimeoutMs);
  const doneWithinMs = inMemory ? CLOCK_SLACK_MS : CLOCK_SLACK_MS + storeTimeoutMs;

  const limiterOf = (options: LimiterOptions): Limiter => {
    const limiter = settings.limiter(options);
    const name = String(Object(limiter).constructor?.name);
    if (name.includes('NonAtomic')) {
      throw new TypeError(
        `SmsOtpStrategy: a ${name} would let a PIN be used twice. Give an atomic \`limiter\`.`,
      );
    }
    return inMemory ? limiter : inPromises(limiter);
  };
  const prefix = (what: string) => `sms-otp:${settings.name}:${what}`;
  const gauge = (budget: BudgetName, limit: Limit, label: string = budget): Gauge => ({
    budget,
    limit,
    limiter: limiterOf({
      keyPrefix: prefix(`${label}:${limit.duration}`),
      points: limit.points,
      duration: limit.duration,
      purpose: 'budget',
    }),
    isCooldown: budget === 'sendsPerNumber' && limit.points === 1,
  });
  const gauges = (budget: Exclude<BudgetName, 'countryCompletion'>): Gauge[] =>
    (budgets[budget] ?? []).map((limit) => gauge(budget, limit));

  const perNumber = gauges('sendsPerNumber');
  const calls = gauges('callsPerNumber');
  // Many users together may not send a number what one may not: what they type, or have in their accounts, may be a
  // stranger's. Each has a cooldown of their own, where there is another limit.
  const { usersPerNumber: users } = settings;
  const forNumber = budgets.sendsPerNumber ?? [];
  const longer = forNumber.filter(({ points }) => points > 1);
  const perNumberInAll = users
    ? (longer.length > 0 ? longer : forNumber).map(({ points, duration }) =>
        gauge('sendsPerNumber', { points: points * users, duration }, 'sendsPerNumberInAll'),
      )
    : [];
  const perClient = {
    4: gauges('uncompletedPerClient'),
    6: (settings.uncompletedIpv6 ?? []).map((limit) =>
      gauge('uncompletedPerClient', limit, 'uncompletedPerClient6'),
    ),
  };
  const overall = gauges('sendsOverall');
  // A number that the service looked up and could not reach gets its points back, so that nobody waits for nothing.
  // But the look-up was paid for, and says whether a phone is on: there are limits to that, too.
  const unreached = (gauges: readonly Gauge[], label: string) =>
    gauges.map(({ budget, limit: { points, duration } }) =>
      gauge(budget, { points: LOOKUPS_PER_SEND * points, duration }, label),
    );
  const unreachedPerClient = {
    4: unreached(perClient[4], 'unreachedPerClient'),
    6: unreached(perClient[6], 'unreachedPerClient6'),
  };
  const unreachedOverall = unreached(overall, 'unreachedOverall');
  const failures = gauges('failuresPerNumber');
  const subjectFailures = settings.subjectFailures && [
    gauge('failuresPerNumber', settings.subjectFailures, 'failuresPerSubject'),
  ];
  const checksPerClient = gauges('failedChecksPerClient');
  const country = budgets.countryCompletion && countryWatch(budgets.countryCompletion);
  const lifetime = settings.pinTtlSeconds + 60;
  const attempts = limiterOf({
    keyPrefix: prefix('attempts'),
    points: settings.attempts,
    duration: lifetime,
    purpose: 'attempts',
  });
  const claims = limiterOf({
    keyPrefix: prefix('claim'),
    points: 1,
    // A copy of the challenge in another session could be sent again for so long.
    duration: lifetime + LONGEST_CHAIN_MS / 1000,
    purpose: 'claim',
  });

  const secret = createSecretKey(settings.secret, 'utf8');
  function hash(value: string): string {
    return createHmac('sha256', secret).update(value).digest('base64url').slice(0, 22);
  }

  const spacing = (what: string, points: number, duration: number) =>
    limiterOf({ keyPrefix: prefix(what), points, duration, purpose: 'budget' });
  // By challenge first: a stranger's many checks of the same number must not take its owner's turn.
  const turns = settings.hasDecoys && {
    challenge: spacing('checkTurn', 1, SECONDS_BETWEEN_CHECKS),
    number: spacing('checkTurnOfNumber', CHECKS_PER_SECOND, 1),
  };
  async function turnToCheck(challengeId: string, recipient: string): Promise<boolean> {
    if (!turns) return true;
    return (
      (await turnOf(turns.challenge, challengeId, 1, SECONDS_BETWEEN_CHECKS, 1)) &&
      (await turnOf(turns.number, hash(recipient), CHECKS_PER_SECOND, 1, MOST_WAITS))
    );
  }

  // Waits for the next window, so many times at the longest.
  async function turnOf(
    limiter: Limiter,
    key: string,
    points: number,
    seconds: number,
    waits: number,
  ): Promise<boolean> {
    for (let left = waits; ; left -= 1) {
      const { consumedPoints, msBeforeNext } = await asked(counted(limiter.consume(key, 1)));
      if (consumedPoints <= points) return true;
      if (left === 0) return false;
      // By a clock that was put back, the window would end far too late.
      const wait = Math.min(msBeforeNext, seconds * 1000) + CLOCK_SLACK_MS / 5;
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
  }

  const apart = (payer: Payer, key: string) => (payer.known ? `known:${key}` : key);
  // A request asks several times for the same keys, and each is a hash.
  const keys = new WeakMap<Payer, { number: string; client: string; subject: string }>();
  function keysOf(payer: Payer): { number: string; client: string; subject: string } {
    const known = keys.get(payer);
    if (known) return known;
    const made = {
      number: apart(payer, hash(JSON.stringify([payer.subject ?? null, payer.recipient]))),
      client: payer.client ? apart(payer, hash(payer.client.key)) : '',
      subject:
        payer.subject !== undefined && subjectFailures
          ? apart(payer, hash(JSON.stringify([payer.subject])))
          : '',
    };
    keys.set(payer, made);
    return made;
  }
  const pair =
    (key: string) =>
    (gauge: Gauge): [Gauge, string] => [gauge, key];
  // What a user may get wrong is counted over all addresses of that user.
  const failureAsks = (payer: Payer): [Gauge, string][] => [
    ...failures.map(pair(keysOf(payer).number)),
    ...(payer.subject !== undefined && subjectFailures
      ? subjectFailures.map(pair(keysOf(payer).subject))
      : []),
  ];

  // One point from one key. A refused ask is counted by the limiter too, so it is in the ticket as well.
  async function take(gauge: Gauge, key: string): Promise<{ taken: Taken; result: LimiterResult }> {
    let refused = false;
    const result = await asked(
      gauge.limiter.consume(key, 1).then(requireResult, (rejection: unknown) => {
        refused = true;
        return requireResult(rejection);
      }),
    );
    return { taken: { gauge, key, until: Date.now() + result.msBeforeNext, refused }, result };
  }

  // Together, and all or nothing: when one refuses or fails, what the others took is given back.
  async function takeAll(
    asks: readonly [Gauge, string][],
    ticket: Taken[],
  ): Promise<LimiterResult[] | Refusal> {
    const answers = await Promise.allSettled(asks.map(([gauge, key]) => take(gauge, key)));
    const granted = answers.flatMap((answer) => (answer.status === 'fulfilled' ? [answer.value] : []));
    ticket.push(...granted.filter(isCounted).map(({ taken }) => taken));
    const failed = answers.find((answer) => answer.status === 'rejected');
    const refused = granted.filter(({ taken }) => taken.refused);
    if (failed === undefined && refused.length === 0) return granted.map(({ result }) => result);
    await giveBack(ticket).catch((error: unknown) => {
      if (failed === undefined) throw error;
    });
    if (failed !== undefined) throw failed.reason;
    return refusal(refused.map(({ taken, result }) => ({ gauge: taken.gauge, result })));
  }

  async function read(gauge: Gauge, key: string): Promise<LimiterResult | undefined> {
    const result = await asked(gauge.limiter.get(key));
    return result && result.msBeforeNext > 0 ? result : undefined;
  }

  // A look before anything is taken: what is used up already refuses without leaving a trace of the request.
  async function usedUp(asks: readonly [Gauge, string][]): Promise<Refusal | undefined> {
    const results = await Promise.all(
      asks.map(async ([gauge, key]) => ({ gauge, result: await read(gauge, key) })),
    );
    const full = results.flatMap(({ gauge, result }) =>
      result && result.consumedPoints >= gauge.limit.points ? [{ gauge, result }] : [],
    );
    return full.length > 0 ? refusal(full) : undefined;
  }

  async function takeSend(payer: Payer, { voice, fresh }: { voice: boolean; fresh: boolean }) {
    const { number, client } = keysOf(payer);
    const clients = payer.client ? perClient[payer.client.family] : [];
    const wide = payer.test ? [] : overall;
    const countryKey = payer.test || !payer.country ? undefined : apart(payer, payer.country);
    const refused = await usedUp([
      ...(fresh ? failureAsks(payer) : []),
      ...clients.map(pair(client)),
      ...wide.map(pair('all')),
      ...unreachedGauges(payer),
    ]);
    if (refused) return refused;
    const watched = fresh && country && countryKey ? await country.look(countryKey) : undefined;
    if (watched?.refusal) return watched.refusal;

    const ticket: Taken[] = [];
    // The cooldown alone first: of many requests at once exactly one goes on to the other limits of the number.
    const cooldowns = perNumber.filter((gauge) => gauge.isCooldown);
    const first = await takeAll(cooldowns.map(pair(number)), ticket);
    if (!Array.isArray(first)) return first;
    const others = perNumber.filter((gauge) => !gauge.isCooldown);
    const second = await takeAll(
      [
        ...others.map(pair(number)),
        ...perNumberInAll.map(pair(apart(payer, hash(JSON.stringify([payer.recipient]))))),
        ...(voice ? calls.map(pair(apart(payer, hash(payer.recipient)))) : []),
        ...clients.map(pair(client)),
      ],
      ticket,
    );
    if (!Array.isArray(second)) return second;
    const third = await takeAll(wide.map(pair('all')), ticket);
    if (!Array.isArray(third)) return third;
    const stopped = await watched?.take(ticket);
    if (stopped) return stopped;

    wide.forEach((gauge, index) => {
      const used = third[index]?.consumedPoints;
      if (used === gauge.limit.points) settings.onNear('sendsOverall', 100);
      else if (used === Math.ceil(gauge.limit.points * 0.8)) settings.onNear('sendsOverall', 80);
    });
    const now = Date.now();
    const waits = (results: LimiterResult[]) =>
      results.map((result) => (result.remainingPoints > 0 ? 0 : result.msBeforeNext));
    const cooldownUntil = now + Math.max(0, ...first.map((result) => result.msBeforeNext));
    const clientPoints = ticket.filter(({ gauge }) => gauge.budget === 'uncompletedPerClient');
    return {
      granted: true,
      ticket,
      cooldownUntil,
      resendAt: Math.max(cooldownUntil, now + Math.max(0, ...waits(second.slice(0, others.length)))),
      credit:
        payer.client && clientPoints.length > 0
          ? { key: client, family: payer.client.family, until: clientPoints.map(({ until }) => until) }
          : undefined,
    } as const;
  }

  function unreachedGauges(payer: Payer): [Gauge, string][] {
    if (payer.test) return [];
    const clients = payer.client ? unreachedPerClient[payer.client.family] : [];
    return [...clients.map(pair(keysOf(payer).client)), ...unreachedOverall.map(pair('all'))];
  }

  async function countUnreached(payer: Payer): Promise<void> {
    await Promise.all(unreachedGauges(payer).map(([gauge, key]) => take(gauge, key)));
  }

  async function takeCheck(
    payer: Payer,
    challenge: { id: string; attemptsUsed: number },
  ): Promise<CheckGrant> {
    const ticket: Taken[] = [];
    const { client } = keysOf(payer);
    // A look first: a store that is down must not count later what was refused now, and a challenge that is over takes
    // no more points.
    const [before, full] = await Promise.all([
      attemptsUsed(challenge.id),
      usedUp((payer.client ? checksPerClient : []).map((gauge) => [gauge, client])),
    ]);
    if (before === Number.POSITIVE_INFINITY) return { granted: 'used' };
    if (before >= settings.attempts) return { granted: 'exhausted' };
    if (full) return full;
    const [used, checks, failed] = await allOrFirstError([
      countAttempt(challenge, before),
      Promise.all((payer.client ? checksPerClient : []).map((gauge) => take(gauge, client))),
      // At check the failures are only counted: an open challenge is not disturbed by what strangers did.
      Promise.all(failureAsks(payer).map(([gauge, key]) => take(gauge, key))),
    ]);
    ticket.push(...[...checks, ...failed].filter(isCounted).map(({ taken }) => taken));
    if (used > settings.attempts) {
      await giveBack(ticket);
      return { granted: 'exhausted' };
    }
    const refused = checks.filter(({ taken }) => taken.refused);
    if (refused.length > 0) {
      await Promise.all([giveBack(ticket), giveAttemptBack(challenge.id)]);
      return refusal(refused.map(({ taken, result }) => ({ gauge: taken.gauge, result })));
    }
    return { granted: true, ticket, attemptsUsed: used };
  }

  // The counter may have been lost (a restart of a process that counts in memory) while the session was not: the count
  // in the challenge is the least it can be. The first to come all add it: of many at once none may come below it.
  async function countAttempt(
    challenge: { id: string; attemptsUsed: number },
    before: number,
  ): Promise<number> {
    const count = (points: number) =>
      asked(
        attempts.consume(challenge.id, points).then(
          (result) => requireResult(result).consumedPoints,
          // Whatever a refusal says it has counted (one out of a limiter's own memory says 0): it is over the limit.
          (rejection: unknown) => {
            if (!isResult(rejection)) throw rejection;
            return Math.max(rejection.consumedPoints, settings.attempts + 1);
          },
        ),
      );
    const used = await count(before === 0 ? challenge.attemptsUsed + 1 : 1);
    // It was lost since the look. One that another check has given back meanwhile is not lost.
    return used > 1 || challenge.attemptsUsed === 0 ? used : count(challenge.attemptsUsed);
  }

  async function giveBack(ticket: Ticket, { keepCooldown = false } = {}): Promise<void> {
    await Promise.all(
      ticket.map(async ({ gauge, key, until, refused }) => {
        if (!gauge.isCooldown) await giveOneBack(gauge.limiter, key, until);
        // What a cooldown has refused ends with it: given back late, it would open the next one, or that of somebody else.
        else if (!keepCooldown && !refused) await release(gauge.limiter, key, until);
      }),
    );
  }

  // `reward` on a key that is gone would create a point out of nothing, so the key must still hold ours.
  async function giveOneBack(limiter: Limiter, key: string, until: number): Promise<void> {
    if (!(await isOpen(limiter, key, until))) return;
    const after = await asked(limiter.reward(key, 1));
    // The key ran out between the look and the reward, and the point would be one too many.
    if (after.consumedPoints < 0 || isLater(after, until)) await asked(counted(limiter.consume(key, 1)));
  }

  // The cooldown that only this request has got. Its window goes with it: what is left of it would be all that the next
  // message has.
  async function release(limiter: Limiter, key: string, until: number): Promise<void> {
    if (await isOpen(limiter, key, until)) await asked(limiter.delete(key));
  }

  // A window that ends in a moment does so by itself: it must not be over before what follows this look has been done,
  // which a store that stands still may do late.
  async function isOpen(limiter: Limiter, key: string, until: number): Promise<boolean> {
    const askedAt = Date.now();
    if (askedAt + doneWithinMs >= until) return false;
    const result = await asked(limiter.get(key));
    if (result === null || result.consumedPoints <= 0) return false;
    return Date.now() + doneWithinMs < askedAt + result.msBeforeNext && !isLater(result, until);
  }

  async function giveAttemptBack(challengeId: string): Promise<void> {
    const result = await asked(attempts.get(challengeId));
    if (result !== null && result.consumedPoints > 0) await asked(attempts.reward(challengeId, 1));
  }

  async function attemptsUsed(challengeId: string): Promise<number> {
    const [used, claimed] = await Promise.all([
      asked(attempts.get(challengeId)),
      asked(claims.get(challengeId)),
    ]);
    return claimed !== null && claimed.consumedPoints > 0
      ? Number.POSITIVE_INFINITY
      : (used?.consumedPoints ?? 0);
  }

  async function claim(challengeId: string): Promise<boolean> {
    return asked(
      claims.consume(challengeId, 1).then(
        (result) => requireResult(result).consumedPoints === 1,
        (rejection: unknown) => {
          if (!isResult(rejection)) throw rejection;
          return false;
        },
      ),
    );
  }

  const callOf = (challengeId: string) => `${challengeId}:voice`;
  async function noteCall(challengeId: string): Promise<void> {
    await asked(counted(claims.consume(callOf(challengeId), 1)));
  }
  async function wasCalled(challengeId: string): Promise<boolean> {
    return (await asked(claims.get(callOf(challengeId)))) !== null;
  }

  // The owner is here: what was tried in browsers that the host does not know is over, too. Not where nobody may learn
  // who can get a PIN: a stranger would see at a full counter that somebody has logged in.
  function failuresSettledBy(payer: Payer): [Gauge, string][] {
    if (!payer.known) return settings.hasDecoys ? [] : failureAsks(payer);
    const strangers = { ...payer, known: false, client: undefined };
    return [...failureAsks(payer), ...(settings.hasDecoys ? [] : failureAsks(strangers))];
  }

  async function complete(
    payer: Payer,
    ticket: Ticket,
    challenge: { credit?: Credit; sentAt: number },
  ): Promise<void> {
    const { credit } = challenge;
    await Promise.all([
      giveBack(ticket.filter(({ gauge }) => gauge.budget === 'failedChecksPerClient')),
      ...failuresSettledBy(payer).map(([gauge, key]) => asked(gauge.limiter.delete(key))),
      ...(credit
        ? perClient[credit.family].map((gauge, index) =>
            giveOneBack(gauge.limiter, credit.key, credit.until[index] ?? 0),
          )
        : []),
      country && payer.country && !payer.test
        ? country.complete(apart(payer, payer.country), challenge.sentAt)
        : undefined,
    ]);
  }

  // Sends and completions in windows that start on the clock, so that both are judged over the same time; the
  // window before fades out, so that a new one does not start with sends that nobody had the time to complete.
  function countryWatch({ sends: most, duration, minimumRatio }: CompletionLimit) {
    const forBoth = { points: Number.MAX_SAFE_INTEGER, duration: Math.min(2 * duration, LONGEST_DURATION) };
    const counter = (what: string) => gauge('countryCompletion', forBoth, what);
    const sent = counter('countrySends');
    const completed = counter('countryCompletions');
    const windowMs = duration * 1000;
    const key = (code: string, at: number) => `${code}:${Math.floor(at / windowMs)}`;
    // When the operator was last told of a country; there are no more than countries.
    const told = new Map<string, number>();

    const used = async (gauge: Gauge, code: string, at: number) =>
      (await read(gauge, key(code, at)))?.consumedPoints ?? 0;

    /** A look at a country at one moment, for one request. */
    async function look(code: string) {
      const now = Date.now();
      const weight = 1 - (now % windowMs) / windowMs;
      const [current, before] = await Promise.all([used(sent, code, now), used(sent, code, now - windowMs)]);

      async function judge(sentNow: number): Promise<Refusal | undefined> {
        const sends = sentNow + weight * before;
        if (sends < most) return undefined;
        const [typed, typedBefore] = await Promise.all([
          used(completed, code, now),
          used(completed, code, now - windowMs),
        ]);
        const completions = typed + weight * typedBefore;
        if (completions >= minimumRatio * sends) return undefined;
        // Free again when enough of the window before has faded, or with the next window.
        const until = sentNow < most && before > 0 ? 1 - (most - sentNow) / before : 1;
        const isNews = now - (told.get(code) ?? Number.NEGATIVE_INFINITY) >= windowMs;
        if (isNews) told.set(code, now);
        return {
          granted: false,
          budget: 'countryCompletion',
          isCooldown: false,
          retryAfterSeconds: Math.max(1, Math.ceil((until * windowMs - (now % windowMs)) / 1000)),
          ...(isNews && { stopped: { sends: Math.round(sends), completed: Math.round(completions) } }),
        };
      }

      return {
        refusal: await judge(current),
        /** Counts a send first and then judges those before it: of many at once no more pass than may. */
        async take(ticket: Taken[]): Promise<Refusal | undefined> {
          let refused: Refusal | undefined;
          try {
            const { taken, result } = await take(sent, key(code, now));
            ticket.push(taken);
            refused = await judge(result.consumedPoints - 1);
          } catch (thrown) {
            await giveBack(ticket).catch(() => undefined);
            throw thrown;
          }
          if (refused) await giveBack(ticket);
          return refused;
        },
      };
    }

    async function complete(code: string, sentAt: number): Promise<void> {
      await take(completed, key(code, sentAt));
    }

    return { look, complete };
  }

  return {
    hash,
    takeSend,
    countUnreached,
    takeCheck,
    turnToCheck,
    giveBack,
    giveAttemptBack,
    attemptsUsed,
    claim,
    noteCall,
    wasCalled,
    complete,
  };
}

// A limiter may refuse out of its own memory and count nothing: then there is nothing to give back.
function isCounted({ taken, result }: { taken: Taken; result: LimiterResult }): boolean {
  return !taken.refused || result.consumedPoints > taken.gauge.limit.points;
}

// The window that is open now ends later than that of the point: that one is over.
function isLater({ msBeforeNext }: LimiterResult, until: number): boolean {
  return Date.now() + msBeforeNext > until + CLOCK_SLACK_MS;
}

// Clocks and stores round differently; windows are at least a second long.
const CLOCK_SLACK_MS = 500;

// A look-up costs about a tenth of a message.
const LOOKUPS_PER_SEND = 10;

// Infobip's own limit on checks of one number, where an application does not set another (verifyPinLimit 1/3s).
const SECONDS_BETWEEN_CHECKS = 3;
// One less than an application allows that is set up as setUp2fa does it (verifyPinLimit 5/1s).
const CHECKS_PER_SECOND = 4;
// A number has ten PINs a day at the most: that is as many as can be checked at once.
const MOST_WAITS = 3;

function refusal(refused: readonly { gauge: Gauge; result: LimiterResult }[]): Refusal {
  const [first, ...others] = [...refused].sort((a, b) => b.result.msBeforeNext - a.result.msBeforeNext);
  if (first === undefined) throw new RangeError('A refusal needs a budget that refused');
  return {
    granted: false,
    budget: first.gauge.budget,
    retryAfterSeconds: Math.max(1, Math.ceil(first.result.msBeforeNext / 1000)),
    isCooldown: first.gauge.isCooldown && others.every(({ gauge }) => gauge.isCooldown),
  };
}

// What the host's limiter throws at once rejects, too: beside others that are asked at the same time, nobody would wait
// for their answers any more, and one that fails would end the process.
function inPromises(limiter: Limiter): Limiter {
  return {
    consume: async (key, points) => limiter.consume(key, points),
    reward: async (key, points) => limiter.reward(key, points),
    get: async (key) => {
      const result = await limiter.get(key);
      return result === null ? null : requireResult(result);
    },
    delete: async (key) => limiter.delete(key),
  };
}

// Some asks only count: going over the limit is no refusal there.
function counted(answer: Promise<LimiterResult>): Promise<LimiterResult> {
  return answer.then(requireResult, requireResult);
}

// An answer that cannot be one grants nothing, and neither does an error.
function requireResult(answer: unknown): LimiterResult {
  if (isResult(answer)) return answer;
  throw answer instanceof Error ? answer : new TypeError('A limiter answered nonsense', { cause: answer });
}

// The limiter rejects with a result when the budget refuses, and with an Error when its store is down.
function isResult(rejection: unknown): rejection is LimiterResult {
  return (
    !(rejection instanceof Error) &&
    typeof rejection === 'object' &&
    rejection !== null &&
    'msBeforeNext' in rejection &&
    Number.isFinite(rejection.msBeforeNext) &&
    'consumedPoints' in rejection &&
    Number.isFinite(rejection.consumedPoints)
  );
}

// Like Promise.all, but nothing is left running when one has failed.
async function allOrFirstError<T extends readonly unknown[]>(
  promises: readonly [...{ [K in keyof T]: Promise<T[K]> }],
): Promise<T> {
  await Promise.allSettled(promises);
  return (await Promise.all(promises)) as unknown as T;
}
