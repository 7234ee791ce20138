import { Infobip2faClient } from 'passport-sms-otp/infobip';
import { type Simulator, startSimulator } from 'passport-sms-otp/simulator';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { type FakeClient, fakeClient, OTHER_PHONE, PHONE, PIN } from '../support/host.js';
import { alertsOn, attribute, type Page, type Visitor } from '../support/visitor.js';
import { startTestSite, type TestSite } from './site.js';

const minute = 60_000;

let client: FakeClient;
let site: TestSite;
let visitor: Visitor;

beforeEach(async () => {
  vi.useFakeTimers({ toFake: ['Date'] });
  client = fakeClient();
  site = await startTestSite(client);
  visitor = site.visitor();
});

afterEach(async () => {
  vi.useRealTimers();
  await site.close();
});

function pass(ms: number): void {
  vi.setSystemTime(Date.now() + ms);
}

async function logIn(who: Visitor, phone = PHONE): Promise<void> {
  expect((await who.askForPin(phone)).location).toBe('/login/pin');
  expect((await who.typePin(PIN)).status).toBe(303);
}

async function userId(who: Visitor): Promise<string | undefined> {
  const { html } = await who.get('/account');
  return attribute(html, /data-user-id/, 'data-user-id');
}

function rows(table: 'users' | 'sessions'): number {
  return site.database.prepare(`SELECT * FROM ${table}`).all().length;
}

describe('a login', () => {
  it('leads from the number over the PIN to the account', async () => {
    await visitor.get('/login');
    expect(await visitor.post('/login', { phone: '+385 91 123-4567' })).toMatchObject({
      status: 303,
      location: '/login/pin',
    });

    const pinPage = await visitor.get('/login/pin');
    expect(pinPage.status).toBe(200);
    expect(pinPage.html).toContain('+385 \u2022\u2022\u2022 67');
    expect(pinPage.html).not.toContain('1234567');
    expect(pinPage.html.match(/<input(?! type="hidden")/g)).toHaveLength(1);
    expect(attribute(pinPage.html, /name="pin"/, 'autocomplete')).toBe('one-time-code');
    expect(attribute(pinPage.html, /name="pin"/, 'inputmode')).toBe('numeric');

    expect(await visitor.post('/login/pin', { pin: `${PIN.slice(0, 3)} ${PIN.slice(3)}` })).toMatchObject({
      status: 303,
      location: '/account',
    });
    const account = await visitor.get('/account');
    expect(account.status).toBe(200);
    expect(account.html).toContain(`>${PHONE}<`);
    const id = attribute(account.html, /data-user-id/, 'data-user-id');
    expect(account.html).toContain(`data-user-id="${id}">${id}<`);
  });

  it('makes a user of a number that was never seen, and finds that user the next time', async () => {
    await logIn(visitor);
    const id = await userId(visitor);
    pass(minute);
    const later = site.visitor();
    await logIn(later);
    const other = site.visitor();
    await logIn(other, OTHER_PHONE);

    expect(id).toMatch(/^[0-9a-f-]{36}$/);
    expect(await userId(later)).toBe(id);
    expect(await userId(other)).not.toBe(id);
    expect(rows('users')).toBe(2);
  });

  it('leads back to the page that asked for it, and only once', async () => {
    expect(await visitor.get('/account?from=mail')).toMatchObject({ status: 303, location: '/login' });
    await visitor.askForPin(PHONE);
    expect((await visitor.typePin(PIN)).location).toBe('/account?from=mail');

    await visitor.get('/');
    await visitor.post('/logout', {});
    pass(minute);
    await visitor.askForPin(PHONE);
    expect((await visitor.typePin(PIN)).location).toBe('/account');
  });

  it.each(['//evil.example/account', '/\\evil.example/account', '/account\t//evil.example'])(
    'never leads to %j',
    async (path) => {
      await visitor.request(`/${path.slice(1)}`, {});
      await visitor.askForPin(PHONE);
      expect((await visitor.typePin(PIN)).location).toMatch(/^\/account/);
    },
  );

  it('gives the visitor another session, and the forms another token', async () => {
    await visitor.askForPin(PHONE);
    const before = visitor.clone();
    await visitor.typePin(PIN);
    await visitor.get('/account');

    expect(visitor.cookies.get('skerry')).not.toBe(before.cookies.get('skerry'));
    expect(visitor.csrfToken).not.toBe(before.csrfToken);
    expect((await before.get('/account')).location).toBe('/login');
    expect((await visitor.post('/logout', { _csrf: before.csrfToken })).status).toBe(403);
    expect(await userId(visitor)).toBeDefined();
  });

  it('is kept for thirty days from the last visit on', async () => {
    await logIn(visitor);
    await visitor.get('/account');
    pass(29 * 24 * 60 * minute);
    const page = await visitor.get('/account');
    expect(page.status).toBe(200);
    const expires = /Expires=([^;]+)/.exec(page.headers.get('set-cookie') ?? '')?.[1];
    expect(Date.parse(expires ?? '') - Date.now()).toBeGreaterThan(29 * 24 * 60 * minute);
    pass(29 * 24 * 60 * minute);
    expect((await visitor.get('/account')).status).toBe(200);
    pass(30 * 24 * 60 * minute);
    expect((await visitor.get('/account')).status).toBe(303);
  });

  it('ends with the logout, also for a copy of the cookie', async () => {
    await logIn(visitor);
    await visitor.get('/account');
    const copy = visitor.clone();
    expect(await visitor.post('/logout', {})).toMatchObject({ status: 303, location: '/' });
    expect((await visitor.get('/account')).location).toBe('/login');
    expect((await copy.get('/account')).location).toBe('/login');
  });

  it('is not asked of somebody who is logged in', async () => {
    await logIn(visitor);
    expect((await visitor.get('/login')).location).toBe('/account');
    expect((await visitor.get('/login/pin')).location).toBe('/account');
    await visitor.get('/account');
    expect((await visitor.post('/login', { phone: OTHER_PHONE })).location).toBe('/account');
    expect(client.sends).toHaveLength(1);
  });

  it('happens once, however many send the right PIN at once', async () => {
    await visitor.askForPin(PHONE);
    await visitor.get('/login/pin');
    let inside = 0;
    let overlapped = 0;
    client.onVerify = async (pinId) => {
      overlapped = Math.max(overlapped, ++inside);
      await new Promise((resolve) => setTimeout(resolve, 50));
      inside--;
      return { verified: true, pinId, msisdn: PHONE.slice(1) };
    };
    const answers = await Promise.all(
      Array.from({ length: 50 }, () => visitor.clone().post('/login/pin', { pin: PIN })),
    );
    expect(overlapped).toBeGreaterThan(1);
    expect(answers.filter(({ location }) => location === '/account')).toHaveLength(1);
    expect(answers.filter(({ status }) => status >= 500)).toHaveLength(0);
  });

  it('is refused to another browser that knows the PIN', async () => {
    await visitor.askForPin(PHONE);
    const other = site.visitor();
    await other.get('/login');
    expect((await other.get('/login/pin')).location).toBe('/login');
    await other.get('/login');
    expect((await other.post('/login/pin', { pin: PIN })).status).toBe(401);
    expect(client.checks).toHaveLength(0);
  });

  it('is for the number that the PIN went to, whatever else is posted', async () => {
    await visitor.askForPin(PHONE);
    await visitor.get('/login/pin');
    await visitor.post('/login/pin', { pin: PIN, phone: OTHER_PHONE });
    expect((await visitor.get('/account')).html).toContain(PHONE);
  });

  it('sends one message for a double click, and both clicks see the page for the PIN', async () => {
    await visitor.get('/login');
    client.onSend = async () => {
      await new Promise((resolve) => setTimeout(resolve, 100));
      return { pinId: 'PIN-ID', sent: true };
    };
    const answers = await Promise.all([1, 2].map(() => visitor.clone().post('/login', { phone: PHONE })));
    expect(answers.map(({ location }) => location)).toEqual(['/login/pin', '/login/pin']);

    await visitor.get('/login');
    expect((await visitor.post('/login', { phone: PHONE })).location).toBe('/login/pin');
    expect(client.sends).toHaveLength(1);
  });
});

describe('sending the PIN again', () => {
  it('is possible when the wait is over, and the page counts the seconds', async () => {
    await visitor.askForPin(PHONE);
    const page = await visitor.get('/login/pin');
    expect(page.html).toContain('sent again in <span class="seconds">30</span> s.');
    const nonce = /style-src [^;]*'nonce-([^']+)'/.exec(
      page.headers.get('content-security-policy') ?? '',
    )?.[1];
    expect(page.html).toContain(`<style nonce="${nonce}">:root { --wait: 30 }</style>`);

    pass(12_000);
    const early = await visitor.post('/login/resend', {});
    expect(early.status).toBe(429);
    expect(early.headers.get('retry-after')).toBe('18');
    expect(alertsOn(early.html)).toEqual([
      { text: 'That was too often. Please wait 18 seconds, then try again.', field: 'resend' },
    ]);
    expect(early.html).toContain('<span class="seconds">18</span>');

    pass(18_000);
    expect((await visitor.get('/login/pin')).html).not.toContain('class="seconds"');
    expect((await visitor.post('/login/resend', {})).location).toBe('/login/pin');
    const again = await visitor.get('/login/pin');
    expect(again.html).toContain('role="status">The PIN is on its way again.</p>');
    expect((await visitor.get('/login/pin')).html).not.toContain('role="status"');
    expect(client.resends).toHaveLength(1);
  });
});

describe('each outcome has its sentence beside the field it is about', () => {
  interface Case {
    status: number;
    alert: string | RegExp;
    field: 'phone' | 'pin' | 'resend';
    /** What is in the field when the page comes back. */
    kept?: string;
    /** Where the next keystroke goes. */
    focus?: string;
  }

  function expectOutcome(page: Page, { status, alert, field, kept, focus = field }: Case): void {
    expect(page.status).toBe(status);
    const alerts = alertsOn(page.html);
    expect(alerts).toEqual([
      { text: typeof alert === 'string' ? alert : expect.stringMatching(alert), field },
    ]);
    if (kept !== undefined) expect(attribute(page.html, new RegExp(`name="${field}"`), 'value')).toBe(kept);
    expect(page.html.match(/autofocus/g)).toHaveLength(1);
    expect(attribute(page.html, /\bautofocus\b/, 'id')).toBe(focus);
  }

  it('no number', async () => {
    expectOutcome(await visitor.askForPin('  '), {
      status: 400,
      alert: 'Type your phone number first.',
      field: 'phone',
    });
  });

  it.each(['hello', '+385 91', '+385911234567 ext. 12', '<script>', '\u0000'])(
    'no number of a phone: %j',
    async (phone) => {
      const page = await visitor.askForPin(phone);
      expect(page.status).toBe(400);
      expect(alertsOn(page.html)[0]).toMatchObject({ field: 'phone' });
      expect(page.html).not.toContain('<script>"');
      expect(client.sends).toHaveLength(0);
    },
  );

  it('a number of a country that is not served, and of a kind that is not', async () => {
    const croatian = await startTestSite(client, { countries: ['HR', 'SI'] });
    const page = await croatian.visitor().askForPin('+49 1512 3456789');
    expectOutcome(page, {
      status: 403,
      alert: 'We do not serve Germany yet. Please use a mobile number from Croatia or Slovenia.',
      field: 'phone',
      kept: '+49 1512 3456789',
    });
    expect(page.html).toContain('A mobile number from Croatia or Slovenia, with its country code.');
    expectOutcome(await croatian.visitor().askForPin('+385 1 4819 123'), {
      status: 403,
      alert: 'We cannot send a PIN to this kind of number. Please use a mobile number.',
      field: 'phone',
    });
    await croatian.close();
  });

  it('where one country is served, a number needs no country code', async () => {
    const croatian = await startTestSite(client, { countries: ['HR'] });
    const local = croatian.visitor();
    expect((await local.get('/login')).html).toContain('from Croatia, with or without its country code.');
    expect((await local.askForPin('091 123 4567')).location).toBe('/login/pin');
    await croatian.close();
  });

  it.each(['+881612345678', '+385 60 123 456'])('a satellite or premium number: %s', async (phone) => {
    const page = await visitor.askForPin(phone);
    expect([400, 403]).toContain(page.status);
    expect(alertsOn(page.html)[0]).toMatchObject({ field: 'phone' });
    expect(client.sends).toHaveLength(0);
  });

  it('a number that cannot be reached', async () => {
    client.onSend = async () => ({ pinId: '', sent: false });
    expectOutcome(await visitor.askForPin(PHONE), {
      status: 422,
      alert: /^The message could not be delivered\./,
      field: 'phone',
      kept: PHONE,
    });
  });

  it('a number that was asked for a moment ago by somebody else', async () => {
    await visitor.askForPin(PHONE);
    expectOutcome(await site.visitor().askForPin(PHONE), {
      status: 429,
      alert: 'That was too often. Please wait 30 seconds, then try again.',
      field: 'phone',
      kept: PHONE,
    });
  });

  it('a visitor who has a PIN already is shown the way back to it', async () => {
    await visitor.askForPin(PHONE);
    const page = await visitor.askForPin('nonsense');
    expect(page.html).toContain('<a href="/login/pin">');
  });

  it('no PIN', async () => {
    await visitor.askForPin(PHONE);
    expectOutcome(await visitor.typePin(''), {
      status: 400,
      alert: 'Type the PIN from the message first.',
      field: 'pin',
    });
  });

  it.each(['12345', '1234567', 'abcdef', '12345x'])('no PIN of ours: %s', async (pin) => {
    await visitor.askForPin(PHONE);
    expectOutcome(await visitor.typePin(pin), {
      status: 400,
      alert: 'The PIN has 6 digits. Type it as it stands in the message.',
      field: 'pin',
      kept: pin,
    });
    expect(client.checks).toHaveLength(0);
  });

  it('a wrong PIN, with the attempts that are left, until none is', async () => {
    await visitor.askForPin(PHONE);
    for (const left of ['4 attempts', '3 attempts', '2 attempts', '1 attempt']) {
      const page = await visitor.typePin('000000');
      expectOutcome(page, {
        status: 401,
        alert: new RegExp(`${left} left\\.$`),
        field: 'pin',
        kept: '000000',
      });
    }
    expectOutcome(await visitor.typePin('000000'), {
      status: 401,
      alert: /^That was the last attempt/,
      field: 'phone',
    });
    expectOutcome(await visitor.post('/login/pin', { pin: PIN }), {
      status: 401,
      alert: /^There is no PIN to check/,
      field: 'phone',
    });
    expect((await visitor.get('/account')).status).toBe(303);
  });

  it('a PIN whose time is over, and the way to a new one', async () => {
    await visitor.askForPin(PHONE);
    await visitor.get('/login/pin');
    pass(10 * minute);
    expectOutcome(await visitor.post('/login/pin', { pin: PIN }), {
      status: 401,
      alert: 'This PIN is too old. Have a new one sent.',
      field: 'pin',
      kept: PIN,
      focus: 'resend',
    });
    expect((await visitor.post('/login/resend', {})).location).toBe('/login/pin');
    expect((await visitor.typePin(PIN)).location).toBe('/account');
    expect(client.sends).toHaveLength(2);
  });

  it('a form of another site, although its token is right', async () => {
    await visitor.get('/login');
    const page = await visitor.post('/login', { phone: PHONE }, { 'sec-fetch-site': 'cross-site' });
    expectOutcome(page, {
      status: 403,
      alert: /^This form came from another site/,
      field: 'phone',
      kept: PHONE,
    });
    expect(client.sends).toHaveLength(0);
  });

  it('an old browser that says only where the form came from', async () => {
    await visitor.get('/login');
    const post = (origin: string) =>
      visitor.request('/login', {
        method: 'POST',
        headers: { origin },
        body: new URLSearchParams({ _csrf: visitor.csrfToken, phone: PHONE }),
      });
    expect((await post('http://evil.example')).status).toBe(403);
    expect((await post('null')).status).toBe(403);
    expect(client.sends).toHaveLength(0);
    expect((await post(site.url)).location).toBe('/login/pin');
  });
});

describe('the service fails', () => {
  function failure(code: string, details: object = {}): Error {
    return Object.assign(new Error(`it failed with ${code}`), { code, ...details });
  }

  it.each([
    ['ERR_INFOBIP_UNREACHABLE', 503],
    ['ERR_INFOBIP_TIMEOUT', 503],
    ['ERR_INFOBIP_UNAVAILABLE', 503],
    ['ERR_INFOBIP_UNAUTHORIZED', 502],
    ['ERR_INFOBIP_FORBIDDEN', 502],
    ['ERR_INFOBIP_UNEXPECTED_RESPONSE', 502],
  ])('with %s: the visitor gets a page, the operator a line, nobody gets in', async (code, status) => {
    client.onSend = async () => Promise.reject(failure(code));
    const page = await visitor.askForPin(PHONE);
    expect(page.status).toBe(status);
    expect(alertsOn(page.html)[0]?.text).toMatch(/Wait a minute, then type your number again/);
    expect(page.html).toContain('<a class="button" href="/login">');
    expect(client.sends).toHaveLength(1);
    expect(site.logged.filter(({ level }) => level === 50)).toEqual([
      expect.objectContaining({
        method: 'POST',
        path: '/login',
        status,
        msg: expect.stringContaining(`: it failed with ${code}`),
        err: expect.objectContaining({
          code,
          cause: expect.objectContaining({ message: `it failed with ${code}` }),
        }),
      }),
    ]);

    client.onSend = async () => ({ pinId: 'PIN-ID', sent: true });
    pass(31_000);
    await visitor.askForPin(PHONE);
    client.onVerify = async () => Promise.reject(failure(code));
    const check = await visitor.typePin(PIN);
    expect(check.status).toBe(status);
    expect(alertsOn(check.html)[0]?.text).toMatch(/type it once more/);
    expect((await visitor.get('/account')).status).toBe(303);
    expect(client.sends).toHaveLength(2);

    client.onVerify = async (pinId) => ({ verified: true, pinId, msisdn: PHONE.slice(1) });
    expect((await visitor.typePin(PIN)).location).toBe('/account');
  });

  it('at a resend: the page says so, and the PIN that came is still good', async () => {
    await visitor.askForPin(PHONE);
    pass(31_000);
    await visitor.get('/login/pin');
    client.onResend = async () => Promise.reject(failure('ERR_INFOBIP_TIMEOUT', { sent: 'unknown' }));
    const page = await visitor.post('/login/resend', {});
    expect(page.status).toBe(503);
    expect(alertsOn(page.html)[0]?.text).toMatch(/have it sent again/);
    expect(client.resends).toHaveLength(1);
    expect((await visitor.typePin(PIN)).location).toBe('/account');
  });

  it('with a limit of its own: the visitor is told how long to wait', async () => {
    client.onSend = async () =>
      Promise.reject(
        failure('ERR_INFOBIP_RATE_LIMITED', { status: 429, retryAfterSeconds: 100, sent: false }),
      );
    const page = await visitor.askForPin(PHONE);
    expect(page.status).toBe(429);
    expect(alertsOn(page.html)[0]?.text).toContain('Please wait 2 minutes');
  });

  it('with nonsense for an answer', async () => {
    await visitor.askForPin(PHONE);
    client.onVerify = async (pinId) => JSON.parse(`{"pinId":"${pinId}","verified":"true"}`);
    expect((await visitor.typePin(PIN)).status).toBe(502);
    expect((await visitor.get('/account')).status).toBe(303);
  });
});

describe('what is no form of ours', () => {
  const json = { 'content-type': 'application/json' };

  it.each<[string, number, RequestInit]>([
    ['JSON', 415, { method: 'POST', headers: json, body: JSON.stringify({ phone: PHONE }) }],
    ['text', 415, { method: 'POST', headers: { 'content-type': 'text/plain' }, body: 'phone=1' }],
    ['nothing', 415, { method: 'POST' }],
    ['ten megabytes', 413, { method: 'POST', body: new URLSearchParams({ phone: '1'.repeat(10_000_000) }) }],
    ['ten megabytes of JSON', 415, { method: 'POST', headers: json, body: `"${'1'.repeat(10_000_000)}"` }],
    ['a form without a token', 403, { method: 'POST', body: new URLSearchParams({ phone: PHONE }) }],
    ['a form with two tokens', 403, { method: 'POST', body: new URLSearchParams('_csrf=a&_csrf=b') }],
    [
      'a form with a foreign charset',
      415,
      {
        method: 'POST',
        headers: { 'content-type': 'application/x-www-form-urlencoded; charset=utf-7' },
        body: 'a=b',
      },
    ],
  ])('%s gets a clear answer, and sends nothing', async (_what, status, init) => {
    await visitor.get('/login');
    const page = await visitor.request('/login', init);
    expect(page.status).toBe(status);
    expect(alertsOn(page.html)).toHaveLength(1);
    expect(client.sends).toHaveLength(0);
    expect((await visitor.get('/healthz')).status).toBe(200);
  });

  it.each([
    'phone[]=',
    'phone=%2B385911234567&phone=',
    '__proto__[phone]=',
    'constructor[prototype][phone]=',
  ])('a field such as %s is no number', async (field) => {
    await visitor.get('/login');
    const page = await visitor.request('/login', {
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      body: `_csrf=${visitor.csrfToken}&${field}${encodeURIComponent(PHONE)}`,
    });
    expect(page.status).toBe(400);
    expect(client.sends).toHaveLength(0);
  });

  it.each(['pin[]=042137', 'pin=042137&pin=042137', 'pin[a]=042137'])(
    'a field such as %s is no PIN',
    async (field) => {
      await visitor.askForPin(PHONE);
      await visitor.get('/login/pin');
      const page = await visitor.request('/login/pin', {
        method: 'POST',
        headers: { 'content-type': 'application/x-www-form-urlencoded' },
        body: `_csrf=${visitor.csrfToken}&${field}`,
      });
      expect(page.status).toBe(400);
      expect(client.checks).toHaveLength(0);
    },
  );

  it.each([
    ['/login/resend', 'POST'],
    ['/logout', 'POST'],
  ])('GET %s does nothing', async (path, allow) => {
    await logIn(visitor);
    const page = await visitor.get(path);
    expect(page.status).toBe(405);
    expect(page.headers.get('allow')).toBe(allow);
    expect(await userId(visitor)).toBeDefined();
    expect(client.resends).toHaveLength(0);
  });

  it('an address that leads nowhere has a page that says so', async () => {
    const page = await visitor.get('/nowhere');
    expect(page.status).toBe(404);
    expect(alertsOn(page.html)).toHaveLength(1);
  });
});

describe('the store fails', () => {
  it('with a page, a line for the operator, and no message sent', async () => {
    await visitor.get('/login');
    site.database.exec('DROP TABLE limits');
    const page = await visitor.post('/login', { phone: PHONE });
    expect(page.status).toBe(503);
    expect(alertsOn(page.html)).toHaveLength(1);
    expect(client.sends).toHaveLength(0);
    expect(site.logged.find(({ level }) => level === 50)).toMatchObject({
      err: { code: 'ERR_SMS_OTP_STORE' },
    });
  });

  it('also when it cannot read sessions', async () => {
    await logIn(visitor);
    site.database.exec('DROP TABLE sessions');
    const page = await visitor.get('/account');
    expect(page.status).toBe(500);
    expect(alertsOn(page.html)).toHaveLength(1);
    expect(page.html).not.toContain(PHONE);
  });

  it('also when it cannot write them: no PIN is open then', async () => {
    await visitor.get('/login');
    site.database.exec(
      "CREATE TRIGGER full BEFORE INSERT ON sessions BEGIN SELECT raise(ABORT, 'disk full'); END",
    );
    const page = await visitor.post('/login', { phone: PHONE });
    expect(page.status).toBe(503);
    expect((await visitor.get('/login/pin')).location).toBe('/login');
    expect(site.logged.filter(({ level }) => level === 50)).not.toHaveLength(0);
  });
});

describe('every page', () => {
  it('is protected by its headers', async () => {
    for (const path of ['/', '/login', '/nowhere', '/site.css']) {
      const { headers } = await visitor.get(path);
      const policy = headers.get('content-security-policy') ?? '';
      expect(policy).toContain("default-src 'none'");
      expect(policy).toContain("script-src 'self';");
      expect(policy).not.toContain('unsafe');
      expect(policy).not.toContain('upgrade-insecure-requests');
      expect(policy).toContain("frame-ancestors 'none'");
      expect(headers.get('referrer-policy')).toBe('same-origin');
      expect(headers.get('x-content-type-options')).toBe('nosniff');
      expect(headers.get('strict-transport-security')).toBeNull();
      expect(headers.get('x-powered-by')).toBeNull();
    }
  });

  it('is not kept by a cache, and makes no session where there is no form', async () => {
    const page = await visitor.get('/');
    expect(page.headers.get('cache-control')).toBe('no-store');
    expect(page.headers.get('set-cookie')).toBeNull();
    expect(rows('sessions')).toBe(0);
  });

  it('has no script and no style of its own, and loads nothing from elsewhere', async () => {
    await visitor.askForPin(PHONE);
    for (const path of ['/', '/login', '/login/pin', '/nowhere']) {
      const { html } = await visitor.get(path);
      expect(html).not.toMatch(/<script(?! src="\/site\.js" defer><\/script>)/);
      expect(html).not.toMatch(/\sstyle=|\son[a-z]+=|https?:/);
    }
  });

  it('and its health has an address, which says when the file is gone', async () => {
    const healthy = await visitor.get('/healthz');
    expect([healthy.status, healthy.html]).toEqual([200, '{"status":"ok"}']);
    site.database.exec('DROP TABLE sessions');
    const ill = await visitor.get('/healthz');
    expect([ill.status, ill.html]).toEqual([503, '{"status":"down"}']);
  });
});

describe('cookies', () => {
  it('over plain http have a plain name, and no script or other site gets them', async () => {
    const cookie = (await visitor.get('/login')).headers.get('set-cookie');
    expect(cookie).toMatch(/^skerry=[^;]+; Path=\/; Expires=[^;]+; HttpOnly; SameSite=Lax$/);
  });

  it('over https are bound to the host, also behind a proxy that nobody told of', async () => {
    const secure = await startTestSite(client, { publicUrl: new URL('https://skerry.example') });
    const browser = secure.visitor();
    const page = await browser.get('/login');
    expect(page.headers.get('set-cookie')).toMatch(
      /^__Host-skerry=[^;]+; Path=\/; Expires=[^;]+; HttpOnly; Secure; SameSite=Lax$/,
    );
    expect(page.headers.get('strict-transport-security')).toMatch(/^max-age=15552000/);
    await logIn(browser);
    expect(await userId(browser)).toBeDefined();
    await secure.close();
  });
});

describe('with the simulator', () => {
  const apiKey = 'canary-key-2f6d1c';
  let simulator: Simulator;
  let infobip: Infobip2faClient;

  beforeAll(async () => {
    simulator = await startSimulator({ apiKey });
    infobip = new Infobip2faClient({ baseUrl: simulator.url, apiKey });
  });

  afterAll(async () => {
    await infobip.close();
    await simulator.close();
  });

  it('no phone number, PIN, PIN id or key is in a log, a URL, a header or the limiter', async () => {
    const { applicationId, messageId } = simulator;
    const real = await startTestSite(infobip, { applicationId, messageId });
    const browser = real.visitor();
    const pages: Page[] = [];
    const see = async (page: Promise<Page>) => {
      pages.push(await page);
    };
    const phone = '+385917654321';

    await see(browser.get(`/nowhere/${phone}?phone=${phone}`));
    await see(browser.askForPin(phone));
    const { pin, pinId } = simulator.lastMessageTo(phone) ?? {};
    if (pin === undefined || pinId === undefined) throw new Error('no message came');
    await see(browser.get('/login/pin'));
    await see(browser.typePin(pin === '000000' ? '111111' : '000000'));
    simulator.addFault({ operation: 'verifyPin', status: 500, body: { phone, pin } });
    await see(browser.typePin(pin));
    await see(browser.typePin(pin));
    expect(pages.at(-1)?.location).toBe('/account');

    const limits = JSON.stringify(real.database.prepare('SELECT key FROM limits').all());
    const headers = JSON.stringify(pages.map((page) => [...page.headers]));
    const log = JSON.stringify(real.logged);
    for (const [where, text] of Object.entries({ limits, headers, log })) {
      for (const secret of [phone, phone.slice(1), phone.slice(4), pin, pinId, apiKey]) {
        expect(text.includes(secret), `${secret} in ${where}`).toBe(false);
      }
    }
    const bodies = pages.map(({ html }) => html).join();
    expect(bodies).not.toContain(pinId);
    expect(bodies).not.toContain(apiKey);
    expect(log).toContain('pin.verified');
    expect(log).toContain('ERR_INFOBIP_UNAVAILABLE');
    expect(log).toContain('"path":"/nowhere/+[digits]"');
    await real.close();
  });
});
