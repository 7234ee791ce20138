/** What a visitor can make the process hold or do, without a PIN and without an account. */

import { request as ask } from 'node:http';
import { MemoryStore, type SessionData } from 'express-session';
import { RateLimiterMemory } from 'rate-limiter-flexible';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { expectNoUnhandledRejection } from '../support/calm.js';
import { heapMegabytes } from '../support/heap.js';
import { createHost, fakeClient, type LooseOptions, serve } from '../support/host.js';

expectNoUnhandledRejection();

describe('ever new numbers whose points are all given back', () => {
  const refused: [string, LooseOptions, error: object | undefined][] = [
    ['the host says no', { beforeSend: async () => false }, undefined],
    ['the service is over its limit', {}, { status: 429, sent: false }],
    ['the service cannot be reached', {}, { code: 'ERR_INFOBIP_UNREACHABLE', sent: false }],
  ];
  it.each(refused)('leave no empty counters behind where %s', async (_why, strategy, error) => {
    const counted = vi.spyOn(RateLimiterMemory.prototype, 'consume');
    onTestFinished(() => counted.mockRestore());
    const client = fakeClient();
    if (error) client.onSend = () => Promise.reject(Object.assign(new Error('not sent'), error));
    const host = createHost(client, { strategy });
    const browser = host.browser(await serve(host));
    for (let number = 0; number < 100; number += 1) {
      const { status } = await browser.issue(`+38591${2_000_000 + number}`);
      expect(status).toBeGreaterThanOrEqual(400);
    }
    const limiters = new Set(counted.mock.contexts as RateLimiterMemory[]);
    expect(limiters.size).toBeGreaterThan(4);
    const records = [...limiters].flatMap((limiter) => limiter.dump().storage);
    // A refusal by the service keeps the cooldown of its number, for half a minute.
    expect(records).toHaveLength(error ? 100 : 0);
    expect(records.filter(({ value }) => value < 1)).toEqual([]);
  });
});

/** Keeps what it is given: no copy, and no property whose name would be one. */
class MapStore extends MemoryStore {
  private readonly kept = new Map<string, string>();
  override get = (id: string, done: (error: unknown, session?: SessionData | null) => void): void => {
    const json = this.kept.get(id);
    setImmediate(done, null, json === undefined ? null : JSON.parse(json));
  };
  override set = (id: string, data: SessionData, done?: (error?: unknown) => void): void => {
    this.kept.set(id, JSON.stringify(data));
    if (done) setImmediate(done);
  };
  override destroy = (id: string, done?: (error?: unknown) => void): void => {
    this.kept.delete(id);
    if (done) setImmediate(done);
  };
}

/** One request with a cookie header as it stands. */
function post(url: string, cookie: string, body = ''): Promise<string> {
  return new Promise((resolve, reject) => {
    const headers = { cookie, 'content-type': 'application/x-www-form-urlencoded' };
    const sent = ask(url, { method: 'POST', headers }, (answer) => {
      answer.resume().once('end', () => resolve(String(answer.headers['set-cookie'] ?? '')));
    });
    sent.once('error', reject).end(body);
  });
}

describe('fifteen kilobytes of cookies', () => {
  it('are not kept with the id of each session that ends', async () => {
    const host = createHost(fakeClient(), {
      session: { store: new MapStore() },
      authenticate: { failureMessage: true },
      routes: (app) => {
        app.post('/message', (req, res) => {
          Object.assign(req.session, { messages: ['No number was given.'] });
          res.end();
        });
        app.post('/logout', (req, res, next) => {
          req.logout((error: unknown) => (error ? next(error) : res.end()));
        });
      },
    });
    const url = await serve(host);
    await host.browser(url).issue();
    const padding = `; a=${'x'.repeat(15_000)}`;
    const before = heapMegabytes();
    for (let visitor = 0; visitor < 800; visitor += 1) {
      const [cookie = ''] = (await post(`${url}/message`, '')).split(';');
      await post(`${url}/logout`, decodeURIComponent(cookie) + padding);
    }
    // The headers were twelve.
    expect(heapMegabytes() - before).toBeLessThan(6);
  });

  it('cost no error for each that cannot be decoded', async () => {
    const decode = vi.spyOn(globalThis, 'decodeURIComponent');
    onTestFinished(() => decode.mockRestore());
    const host = createHost(fakeClient());
    const url = await serve(host);
    for (const path of ['/login', '/login/resend', '/login/pin']) {
      await post(url + path, '%;'.repeat(7500), 'phone=%2B385911234567&pin=1234');
    }
    expect(host.actions).toHaveLength(3);
    expect(decode.mock.results.filter(({ type }) => type === 'throw').length).toBeLessThan(10);
  });
});
