/** Budgets per client, and the ways to look like another one. */

import { describe, expect, it, vi } from 'vitest';
import { createHost, fakeClient, type HostOptions, serve } from '../support/host.js';

const LIMIT = 3;

/** How many of ten sends get through, when each request claims another origin. */
async function sendsOf(
  headers: (index: number) => Record<string, string>,
  options: HostOptions = {},
): Promise<number> {
  const client = fakeClient();
  const host = createHost(client, {
    ...options,
    strategy: { budgets: { uncompletedPerClient: [{ points: LIMIT, duration: 3600 }] } },
  });
  for (let index = 0; index < 10; index += 1) {
    await host.browser().post('/login', { phone: `+38591200000${index}` }, headers(index));
  }
  return client.sends.length;
}

/** As if the requests came from elsewhere than this machine. */
function from(address: string): HostOptions {
  return {
    before: [
      (req, _res, next) => {
        Object.defineProperty(req.socket, 'remoteAddress', { value: address, configurable: true });
        next();
      },
    ],
  };
}

describe('a forged forwarding header', () => {
  it.each(['X-Forwarded-For', 'Forwarded', 'X-Real-IP', 'CF-Connecting-IP', 'True-Client-IP', 'X-Client-IP'])(
    '%s buys nothing where no proxy is trusted',
    async (name) => {
      const forge = (index: number) => ({ [name]: `203.0.113.${index}` });
      expect(await sendsOf(forge, from('198.51.100.7'))).toBe(LIMIT);
    },
  );

  it('buys nothing behind one trusted proxy, which adds the true address at the end', async () => {
    const forge = (index: number) => ({ 'X-Forwarded-For': `203.0.113.${index}, 198.51.100.7` });
    expect(await sendsOf(forge, { ...from('10.0.0.2'), trustProxy: 1 })).toBe(LIMIT);
  });

  it('with private addresses in it buys nothing, either', async () => {
    const forge = (index: number) => ({ 'X-Forwarded-For': `10.9.9.${index}, 127.0.0.1, 198.51.100.7` });
    expect(await sendsOf(forge, { ...from('10.0.0.2'), trustProxy: 'loopback, uniquelocal' })).toBe(LIMIT);
  });
});

describe('a client', () => {
  it('in a private network behind a trusted proxy is counted like any other', async () => {
    const own = () => ({ 'X-Forwarded-For': '10.1.2.3' });
    expect(await sendsOf(own, { ...from('10.0.0.2'), trustProxy: 1 })).toBe(LIMIT);
  });

  it('in a private network that hangs up before it is counted is counted all the same', async () => {
    const client = fakeClient();
    const host = createHost(client, {
      trustProxy: 1,
      routes: (app) => {
        app.post('/login', (req, _res, next) => {
          req.socket.once('close', () => next()).destroy();
          // As Node has it where nobody has asked for it before.
          Object.defineProperty(req.socket, 'remoteAddress', { value: undefined, configurable: true });
        });
      },
      strategy: { budgets: { uncompletedPerClient: [{ points: LIMIT, duration: 3600 }] } },
    });
    const browser = host.browser(await serve(host));
    for (let index = 0; index < 10; index += 1) {
      const body = { phone: `+38591200000${index}` };
      await expect(browser.post('/login', body, { 'X-Forwarded-For': '10.1.2.3' })).rejects.toThrow();
    }
    await vi.waitFor(() => expect(host.actions).toHaveLength(10));
    expect(client.sends).toHaveLength(LIMIT);
  });

  it('with a whole IPv6 network is one client, in every spelling of its addresses', async () => {
    const spellings = [
      '2001:db8:0:1::1',
      '2001:0db8:0000:0001:0000:0000:0000:0002',
      '2001:DB8:0:1:ffff:ffff:ffff:ffff',
      '2001:db8::1:a:b:c:d',
      '2001:db8:0:1::192.0.2.1',
    ];
    const roam = (index: number) => ({ 'X-Forwarded-For': spellings[index % spellings.length] ?? '' });
    expect(await sendsOf(roam, { ...from('10.0.0.2'), trustProxy: 1 })).toBe(LIMIT);
  });

  it('is the same one by IPv4 and by IPv4 in IPv6', async () => {
    const spell = (index: number) => ({
      'X-Forwarded-For': index % 2 ? '::ffff:198.51.100.7' : '198.51.100.7',
    });
    expect(await sendsOf(spell, { ...from('10.0.0.2'), trustProxy: 1 })).toBe(LIMIT);
  });

  it.each(['unknown', '_hidden', '[::1', '1.2.3', '::ffff:1.2.3', '1.2.3.4:80', 'x'.repeat(2000)])(
    'whose proxy says %s of it is counted all the same',
    async (garbage) => {
      const spell = () => ({ 'X-Forwarded-For': garbage });
      expect(await sendsOf(spell, { ...from('10.0.0.2'), trustProxy: 1 })).toBe(LIMIT);
    },
  );
});
