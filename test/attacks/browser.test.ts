/** What another site, another tab, a planted cookie or a crooked link can make a visitor's browser do. */

import express, { type RequestHandler } from 'express';
import helmet from 'helmet';
import { requireSmsOtp } from 'passport-sms-otp';
import { describe, expect, it } from 'vitest';
import {
  type Browser,
  createHost,
  fakeClient,
  type Host,
  OTHER_PHONE,
  PHONE,
  PIN,
  serve,
} from '../support/host.js';

const cookieOf = (browser: Browser) =>
  browser.agent.jar
    .getCookies({ path: '/', domain: '127.0.0.1', secure: false, script: false })
    .toValueString();

/** A post as the bytes of a browser would have it, with whatever cookie and headers. */
async function post(
  address: string,
  path: string,
  fields: Record<string, string>,
  headers: Record<string, string> = {},
): Promise<{ status: number; code: string | undefined; cookies: string[] }> {
  const answer = await fetch(`${address}${path}`, {
    method: 'POST',
    body: new URLSearchParams(fields),
    headers,
    redirect: 'manual',
  });
  const body = (await answer.json().catch(() => ({}))) as { outcome?: { code: string } };
  return { status: answer.status, code: body.outcome?.code, cookies: answer.headers.getSetCookie() };
}

describe('login CSRF', () => {
  const elsewhere: [string, Record<string, string>][] = [
    ['another site', { 'Sec-Fetch-Site': 'cross-site', Origin: 'https://evil.example' }],
    ['a sister site', { 'Sec-Fetch-Site': 'same-site', Origin: 'https://blog.site.example' }],
    ['a sandboxed frame', { 'Sec-Fetch-Site': 'cross-site', Origin: 'null' }],
    ['another site, in an old browser', { Origin: 'https://evil.example' }],
    ['a sandboxed frame, in an old browser', { Origin: 'null' }],
    ['a site whose name begins like ours', { Origin: 'http://127.0.0.1.evil.example' }],
    ['another port of our host, in an old browser', { Origin: 'http://127.0.0.1:1' }],
  ];

  it.each(elsewhere)(
    '%s cannot finish its own challenge in the browser of a victim',
    async (_from, headers) => {
      const client = fakeClient();
      const host = createHost(client);
      const address = await serve(host);
      // The attacker has a PIN of their own number, and plants the cookie that goes with it.
      const attacker = host.browser(address);
      await attacker.issue(OTHER_PHONE);
      const forced = await post(
        address,
        '/login/pin',
        { pin: PIN },
        { ...headers, Cookie: cookieOf(attacker) },
      );
      expect(forced).toMatchObject({ status: 403, code: 'cross_site', cookies: [] });
      expect(client.checks).toEqual([]);
    },
  );

  it.each(elsewhere)(
    '%s cannot make a victim ask for PINs, or spend the budget of their address',
    async (_from, headers) => {
      const client = fakeClient();
      const host = createHost(client, {
        strategy: { budgets: { uncompletedPerClient: [{ points: 1, duration: 3600 }] } },
      });
      const address = await serve(host);
      const victim = host.browser(address);
      expect((await post(address, '/login', { phone: OTHER_PHONE }, headers)).code).toBe('cross_site');
      expect((await post(address, '/login/resend', {}, headers)).code).toBe('cross_site');
      expect(client.sends).toEqual([]);
      expect((await victim.issue(PHONE)).status).toBe(202);
    },
  );

  // A browser sends no `SameSite=Lax` cookie with such a form, but takes the one that the answer brings.
  it.each(elsewhere)(
    '%s cannot put a new session in the place of the one that the browser has',
    async (_from, headers) => {
      const told = { challengeRedirect: '/login/pin', failureRedirect: '/login', failureMessage: true };
      const host = createHost(fakeClient(), {
        routes(app, { passport }) {
          for (const phase of ['issue', 'resend', 'check']) {
            app.post(`/told/${phase}`, passport.authenticate('sms-otp', { phase, ...told } as object));
          }
        },
      });
      const address = await serve(host);
      for (const phase of ['issue', 'resend', 'check']) {
        const { status, cookies } = await post(
          address,
          `/told/${phase}`,
          { phone: PHONE, pin: PIN },
          headers,
        );
        expect([phase, status, cookies]).toEqual([phase, 302, []]);
      }
      // Those of our own pages tell what is wrong, and to whom.
      const ours = await post(address, '/told/issue', {}, { 'Sec-Fetch-Site': 'same-origin' });
      expect([ours.status, ours.cookies.length]).toEqual([302, 1]);
      // And who came with a session is told so, too.
      const Cookie = ours.cookies[0]?.split(';')[0] ?? '';
      await post(address, '/told/issue', {}, { ...headers, Cookie });
      const [kept] = Object.values(Object(host.store).sessions ?? {});
      expect(JSON.parse(String(kept)).messages).toHaveLength(2);
    },
  );

  it('an attacker who knows the PIN cannot use it in a browser of their own', async () => {
    const host = createHost(fakeClient());
    const address = await serve(host);
    await host.browser(address).issue(PHONE);
    for (const fields of [{ pin: PIN }, { pin: PIN, phone: PHONE }, { pin: PIN, pinId: 'PIN-ID-1' }]) {
      expect(await post(address, '/login/pin', fields)).toMatchObject({ status: 401, code: 'no_challenge' });
    }
  });
});

describe('session fixation', () => {
  it('a session id that was planted before the login is worth nothing after it', async () => {
    const host = createHost(fakeClient(), {
      routes: (app) =>
        app.get('/visit', (req, res) => {
          Reflect.set(req.session, 'cart', 1);
          res.end();
        }),
    });
    const address = await serve(host);
    const attacker = host.browser(address);
    await attacker.get('/visit');
    const planted = cookieOf(attacker);
    expect((await post(address, '/login', { phone: PHONE }, { Cookie: planted })).status).toBe(202);
    const login = await post(address, '/login/pin', { pin: PIN }, { Cookie: planted });
    expect(login.status).toBe(200);
    expect(login.cookies).toHaveLength(1);
    expect(login.cookies[0]).not.toContain(planted);
    // The attacker still has the old one.
    expect((await attacker.get('/me')).body.user).toBeNull();
    expect((await attacker.get('/challenge')).body).toBeNull();
    expect((await attacker.check(PIN)).body.outcome.code).toBe('no_challenge');
  });

  it('an id that no server gave out is not taken over', async () => {
    const host = createHost(fakeClient(), { session: { genid: () => `from the server ${Math.random()}` } });
    const address = await serve(host);
    for (const forged of [
      'connect.sid=chosen',
      'connect.sid=s%3Achosen.signature',
      'connect.sid=j%3A%7B%7D',
    ]) {
      const { cookies } = await post(address, '/login', { phone: PHONE }, { Cookie: forged });
      for (const cookie of cookies) expect(cookie).not.toContain('chosen');
    }
  });

  it('of two cookies of one name (a planted one beside the real one) the wrong one brings no login', async () => {
    const host = createHost(fakeClient());
    const address = await serve(host);
    const victim = host.browser(address);
    await victim.issue(PHONE);
    const attacker = host.browser(address);
    await attacker.issue(OTHER_PHONE);
    for (const cookies of [
      [cookieOf(attacker), cookieOf(victim)],
      [cookieOf(victim), cookieOf(attacker)],
    ]) {
      const { status } = await post(address, '/login/pin', { pin: '000000' }, { Cookie: cookies.join('; ') });
      expect(status).toBe(401);
    }
    // One wrong try for each at the most, and the right PIN logs the victim in as nobody else.
    expect((await victim.check(PIN)).body.user.phoneNumber).toBe(PHONE);
  });
});

describe('the way back after the login', () => {
  const guard = requireSmsOtp({ redirectTo: '/login' }) as unknown as RequestHandler;

  // As JSON in ASCII, so that it fits into a header.
  const asked = (url: string) => ({
    Accept: 'text/html',
    'X-Url': JSON.stringify(url).replace(
      /[^ -~]/gu,
      (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
    ),
  });

  function site(): Host {
    return createHost(fakeClient(), {
      routes(app, { passport }) {
        // A proxy or a router may hand on what Node's own parser would not.
        app.get('/secret', (req, res, next) => {
          req.originalUrl = JSON.parse(String(req.headers['x-url']));
          guard(req, res, next);
        });
        app.post(
          '/done',
          passport.authenticate('sms-otp', { phase: 'check', successReturnToOrRedirect: '/home' }),
        );
      },
    });
  }

  it.each([
    '//evil.example',
    '/\\evil.example',
    '\\\\evil.example',
    '/\t/evil.example',
    '/\n/evil.example',
    '\t//evil.example',
    '/\r\nSet-Cookie: a=b',
    'https:evil.example',
    'https://evil.example',
    'http:/evil.example',
    'javascript:alert(1)',
    'data:text/html,x',
    '//evil.example/%2f..',
    '///evil.example',
    '/\u0000/evil.example',
    '',
    ' /account',
    '.evil.example',
    '@evil.example',
  ])('is not %j', async (url) => {
    const host = site();
    const browser = host.browser(await serve(host));
    const refused = await browser.get('/secret').set(asked(url));
    expect(refused.status).toBe(303);
    expect(refused.headers.location).toBe('/login');
    await browser.issue();
    expect((await browser.post('/done', { pin: PIN })).headers.location).toBe('/home');
  });

  it.each(['/secret', '/secret?next=//evil.example', '/a/../b', '/%2F%2Fevil.example', '/\u010d'])(
    'may be %j, which stays on this site',
    async (url) => {
      const host = site();
      const address = await serve(host);
      const browser = host.browser(address);
      await browser.get('/secret').set(asked(url));
      await browser.issue();
      const { location } = (await browser.post('/done', { pin: PIN })).headers;
      expect(location).not.toBe('/home');
      expect(new URL(String(location), address).origin).toBe(address);
    },
  );

  it('is not taken from the form, the address or a header', async () => {
    const host = site();
    const browser = host.browser(await serve(host));
    await browser.issue();
    const { headers } = await browser.post(
      '/done?returnTo=//evil.example&next=//evil.example',
      { pin: PIN, returnTo: '//evil.example', redirect: '//evil.example', successRedirect: '//evil.example' },
      { Referer: 'https://evil.example/' },
    );
    expect(headers.location).toBe('/home');
  });
});

describe('messages in other languages', () => {
  it.each([
    '\u0160ifra je istekla \u2639',
    'one\r\nSet-Cookie: admin=1',
    'nul\u0000',
    '\ud800',
    '\u0085\u2028',
  ])('%j becomes no header, whichever way Passport ends the request', async (text) => {
    const host = createHost(fakeClient(), {
      strategy: { messages: () => text },
      routes(app, { passport }) {
        const check = (options: object): RequestHandler =>
          passport.authenticate('sms-otp', { phase: 'check', ...options });
        app.post('/bare', check({}));
        app.post('/redirect', check({ failureRedirect: '/login', failureMessage: true }));
        app.post('/error', check({ failWithError: true }));
      },
    });
    const browser = host.browser(await serve(host));
    for (const [path, status] of [
      ['/bare', 401],
      ['/redirect', 302],
      ['/error', 401],
      ['/login/pin', 401],
    ] as const) {
      const answer = await browser.post(path, { pin: '000000' });
      expect(answer.status).toBe(status);
      expect(answer.headers['www-authenticate']).toBeUndefined();
      expect(answer.get('Set-Cookie')?.join() ?? '').not.toContain('admin');
    }
  });
});

describe('crooked parameters', () => {
  const pollutions = [
    '__proto__[phone]=%2B385911234567&__proto__[pin]=042137',
    'constructor[prototype][phone]=%2B385911234567',
    'phone[__proto__]=%2B385911234567',
    '__proto__.phone=%2B385911234567',
  ];

  it.each(pollutions)('%s pollutes no prototype and names no number', async (form) => {
    const client = fakeClient();
    const host = createHost(client);
    const { body } = await host.browser().post('/login', form);
    expect(body.outcome.code).toMatch(/^phone_/u);
    expect(client.sends).toEqual([]);
    for (const name of ['phone', 'pin']) expect(Reflect.get({}, name)).toBeUndefined();
  });

  it('JSON with a __proto__ of its own names no number and no PIN', async () => {
    const client = fakeClient();
    const host = createHost(client);
    const browser = host.browser();
    const send = (path: string, text: string) =>
      browser.agent.post(path).set('Content-Type', 'application/json').send(text);
    await send('/login', '{"__proto__":{"phone":"+385911234567"}}');
    expect(client.sends).toEqual([]);
    await browser.issue();
    await send('/login/pin', '{"__proto__":{"pin":"042137"}}');
    await send('/login/pin', '{"constructor":{"prototype":{"pin":"042137"}}}');
    expect(client.checks).toEqual([]);
    expect(Reflect.get({}, 'pin')).toBeUndefined();
  });

  it('a prototype that something else has polluted supplies neither number nor PIN nor phase', async () => {
    const client = fakeClient();
    const host = createHost(client);
    const browser = host.browser();
    const polluted = { phone: OTHER_PHONE, pin: PIN, channel: 'voice' };
    for (const [name, value] of Object.entries(polluted)) {
      Object.defineProperty(Object.prototype, name, { value, configurable: true, enumerable: false });
    }
    try {
      expect((await browser.post('/login', {})).body.outcome.code).toBe('phone_missing');
      expect((await browser.post('/login/pin', {})).body.outcome.code).toBe('no_challenge');
    } finally {
      for (const name of Object.keys(polluted)) Reflect.deleteProperty(Object.prototype, name);
    }
    expect(client.sends).toEqual([]);
  });

  it.each([
    'phone=%2B385911234567&phone=%2B385919876543',
    'phone[]=%2B385911234567',
    'phone[0]=%2B385911234567&phone[1]=%2B385919876543',
    'phone[length]=13',
  ])('%s is no number', async (form) => {
    const client = fakeClient();
    const { status } = await createHost(client).browser().post('/login', form);
    expect(status).toBe(400);
    expect(client.sends).toEqual([]);
  });

  it.each([
    'pin=042137&pin=042137',
    'pin[]=042137',
    'pin[$ne]=000000',
    'pin[toString]=042137',
    'pin[length]=6',
  ])('%s is no PIN, and costs no attempt', async (form) => {
    const client = fakeClient();
    const browser = createHost(client).browser();
    await browser.issue();
    expect((await browser.post('/login/pin', form)).status).toBe(400);
    expect(client.checks).toEqual([]);
    expect((await browser.get('/challenge')).body.attemptsRemaining).toBe(5);
  });
});

describe('the method', () => {
  it('is the one on the wire, whatever a method-override middleware makes of it', async () => {
    const client = fakeClient();
    // As the package method-override does it.
    const override: RequestHandler = (req, _res, next) => {
      Reflect.set(req, 'originalMethod', req.method);
      const wanted = req.headers['x-http-method-override'] ?? req.query._method;
      if (typeof wanted === 'string') req.method = wanted;
      next();
    };
    const host = createHost(client, { before: [override] });
    const address = await serve(host);
    for (const init of [
      { method: 'GET', headers: { 'X-HTTP-Method-Override': 'POST' } },
      {
        method: 'PUT',
        headers: { 'X-HTTP-Method-Override': 'POST' },
        body: new URLSearchParams({ phone: PHONE }),
      },
    ]) {
      expect((await fetch(`${address}/login`, init)).status).toBe(405);
    }
    expect((await fetch(`${address}/login?_method=POST&phone=%2B385911234567`)).status).toBe(405);
    expect(client.sends).toEqual([]);
  });

  it('an image, a link or a prefetch sends no PIN, where the host mounts the strategy for every method', async () => {
    const client = fakeClient();
    const host = createHost(client, {
      routes: (app, { passport }) => app.all('/any', passport.authenticate('sms-otp', {})),
    });
    const address = await serve(host);
    for (const method of ['GET', 'HEAD', 'OPTIONS', 'DELETE']) {
      const answer = await fetch(`${address}/any?phone=%2B385911234567&pin=042137`, { method });
      expect(answer.status).toBe(405);
      expect(answer.headers.get('allow')).toBe('POST');
    }
    expect(client.sends).toEqual([]);
  });
});

describe('behind helmet', () => {
  const form = (address: string): Record<string, string> => ({
    'Sec-Fetch-Site': 'same-origin',
    Origin: address,
  });

  it('its defaults let the forms of our own pages through in a browser of today', async () => {
    const host = createHost(fakeClient(), { before: [helmet()] });
    const address = await serve(host);
    // With `no-referrer` the origin of our own form is withheld; where it came from is still said.
    const headers = { ...form(address), Origin: 'null' };
    const { status, cookies } = await post(address, '/login', { phone: PHONE }, headers);
    expect(status).toBe(202);
    const cookie = String(cookies[0]?.split(';')[0]);
    expect((await post(address, '/login/pin', { pin: PIN }, { ...headers, Cookie: cookie })).status).toBe(
      200,
    );
  });

  it('`referrerPolicy: same-origin` lets them through on plain http and in an old one, too', async () => {
    const host = createHost(fakeClient(), {
      before: [helmet({ referrerPolicy: { policy: 'same-origin' } })],
    });
    const address = await serve(host);
    expect((await post(address, '/login', { phone: PHONE }, { Origin: address })).status).toBe(202);
  });

  it('keeps the strategy\u2019s own answers free of what it did not ask for', async () => {
    const app = express();
    app.disable('x-powered-by');
    const host = createHost(fakeClient(), { before: [helmet()] });
    const { headers } = await host.browser().post('/login', { phone: 'no number' });
    expect(headers['content-security-policy']).toContain("default-src 'self'");
    expect(headers['x-content-type-options']).toBe('nosniff');
  });
});
