/** Places for open challenges and sessions, whole and broken. */

import { randomUUID } from 'node:crypto';
import type { RequestHandler } from 'express';
import session from 'express-session';
import type { Challenge, ChallengeStore, RequestLike } from 'passport-sms-otp';

export interface MapStore extends ChallengeStore {
  /** Gives each browser the cookie by which its challenges are found. */
  middleware: RequestHandler;
  /** What is kept, as JSON, by `cookie name`. */
  kept: Map<string, string>;
}

/** A store as a host would write it over any database: found by a cookie that only one browser holds. */
export function mapStore(): MapStore {
  const kept = new Map<string, string>();
  const found = new WeakMap<object, string>();
  const key = (req: RequestLike, name: string) => `${found.get(req)} ${name}`;
  return {
    kept,
    middleware(req, res, next) {
      const sent = /(?:^|; )browser=([0-9a-f-]{36})/u.exec(req.headers.cookie ?? '')?.[1];
      const id = sent ?? randomUUID();
      if (sent === undefined) res.append('Set-Cookie', `browser=${id}; Path=/; HttpOnly; SameSite=Lax`);
      found.set(req, id);
      next();
    },
    async get(req, name) {
      const json = kept.get(key(req, name));
      return json === undefined ? undefined : (JSON.parse(json) as Challenge);
    },
    async set(req, name, challenge) {
      kept.set(key(req, name), JSON.stringify(challenge));
    },
    async remove(req, name) {
      kept.delete(key(req, name));
    },
  };
}

type Step = 'get' | 'set' | 'destroy' | 'touch';

/** A session store that does as told at each step: works, fails, or never answers. */
export class FragileStore extends session.MemoryStore {
  /** How many sessions were written. */
  writes = 0;
  private broken = new Map<Step, { how: 'fails' | 'is silent'; after: number }>();
  private unanswered: (() => void)[] = [];

  /** From the call number `after` (counted from now, 0 is the next one) on. */
  break(step: Step, how: 'fails' | 'is silent', after = 0): void {
    this.broken.set(step, { how, after });
  }

  heal(): void {
    this.broken.clear();
  }

  /** Does what it was silent about, and answers. */
  catchUp(): void {
    for (const work of this.unanswered.splice(0)) work();
  }

  override get(...args: Parameters<session.MemoryStore['get']>): void {
    this.step('get', args[1], () => super.get(...args));
  }

  override set(...args: Parameters<session.MemoryStore['set']>): void {
    this.writes += 1;
    this.step('set', args[2], () => super.set(...args));
  }

  override destroy(...args: Parameters<session.MemoryStore['destroy']>): void {
    this.step('destroy', args[1], () => super.destroy(...args));
  }

  override touch(...args: Parameters<session.MemoryStore['touch']>): void {
    this.step('touch', args[2], () => super.touch(...args));
  }

  private step(step: Step, callback: ((error: unknown) => void) | undefined, work: () => void): void {
    const fault = this.broken.get(step);
    if (fault && fault.after > 0) fault.after -= 1;
    else if (fault) {
      if (fault.how === 'fails') setImmediate(() => callback?.(new Error('the session store is down')));
      else this.unanswered.push(work);
      return;
    }
    work();
  }
}
