import request from 'supertest';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { expectNoUnhandledRejection } from './support/calm.js';
import { createHost, fakeClient, type HostOptions, PHONE, PIN, serve } from './support/host.js';

expectNoUnhandledRejection();

type Headers = Record<string, string>;

/** A post with exactly these headers to a site at `Host: site.example`, unless they say another. */
async function posted(headers: Headers, options: HostOptions = {}): Promise<'passes' | 'cross_site'> {
  const client = fakeClient();
  const host = createHost(client, options);
  const { status, body } = await request(host.app)
    .post('/login')
    .set({ Host: 'site.example', ...headers })
    .type('form')
    .send({ phone: PHONE });
  expect(client.sends).toHaveLength(status === 202 ? 1 : 0);
  if (status === 202) return 'passes';
  expect([status, body.outcome.code]).toEqual([403, 'cross_site']);
  return body.outcome.code;
}

const trusting = (...trustedOrigins: string[]): HostOptions => ({ strategy: { trustedOrigins } });

describe('a post with Sec-Fetch-Site', () => {
  const rows: [headers: Headers, passes: boolean, options?: HostOptions][] = [
    [{ 'Sec-Fetch-Site': 'same-origin' }, true],
    [{ 'Sec-Fetch-Site': 'none' }, true],
    [{ 'Sec-Fetch-Site': 'same-origin', Origin: 'http://site.example' }, true],
    // What the browser says of itself decides, whatever a proxy made of the Host.
    [{ 'Sec-Fetch-Site': 'same-origin', Origin: 'https://public.example' }, true],
    [{ 'Sec-Fetch-Site': 'same-origin', Origin: 'null' }, true],
    [{ 'Sec-Fetch-Site': 'same-site' }, false],
    [{ 'Sec-Fetch-Site': 'cross-site' }, false],
    [{ 'Sec-Fetch-Site': 'Same-Origin' }, false],
    [{ 'Sec-Fetch-Site': '' }, false],
    [{ 'Sec-Fetch-Site': 'same-origin, cross-site' }, false],
    [{ 'Sec-Fetch-Site': 'something new' }, false],
    [{ 'Sec-Fetch-Site': 'same-site', Origin: 'http://site.example' }, false],
    [{ 'Sec-Fetch-Site': 'cross-site', Origin: 'http://site.example' }, false],
    [{ 'Sec-Fetch-Site': 'cross-site', Origin: 'null' }, false],
    [{ 'Sec-Fetch-Site': 'cross-site' }, false, trusting('https://app.example')],
    [{ 'Sec-Fetch-Site': 'cross-site', Origin: 'null' }, false, trusting('https://app.example')],
    [
      { 'Sec-Fetch-Site': 'cross-site', Origin: 'https://app.example' },
      true,
      trusting('https://app.example'),
    ],
    [{ 'Sec-Fetch-Site': 'same-site', Origin: 'https://app.example' }, true, trusting('https://app.example')],
    [
      { 'Sec-Fetch-Site': 'cross-site', Origin: 'https://app.example:443' },
      true,
      trusting('https://APP.example'),
    ],
    [
      { 'Sec-Fetch-Site': 'cross-site', Origin: 'http://app.example' },
      false,
      trusting('https://app.example'),
    ],
    [
      { 'Sec-Fetch-Site': 'cross-site', Origin: 'https://app.example:8443' },
      false,
      trusting('https://app.example'),
    ],
    [
      { 'Sec-Fetch-Site': 'cross-site', Origin: 'https://app.example.evil.example' },
      false,
      trusting('https://app.example'),
    ],
    [
      { 'Sec-Fetch-Site': 'cross-site', Origin: 'https://app.example@evil.example' },
      false,
      trusting('https://app.example'),
    ],
    [
      { 'Sec-Fetch-Site': 'cross-site', Origin: 'https://app.example, https://evil.example' },
      false,
      trusting('https://app.example'),
    ],
  ];
  it.each(
    rows.map(([headers, passes, options]) => ({
      headers,
      passes,
      options,
      trusted: options?.strategy?.trustedOrigins,
    })),
  )('$headers, trusted $trusted: passes $passes', async ({ headers, passes, options }) => {
    expect(await posted(headers, options)).toBe(passes ? 'passes' : 'cross_site');
  });
});

describe('a post without Sec-Fetch-Site', () => {
  const proxied = (trustProxy: unknown): HostOptions => ({ trustProxy });
  const rows: [headers: Headers, passes: boolean, options?: HostOptions][] = [
    // No browser.
    [{}, true],
    [{ Origin: 'http://site.example' }, true],
    [{ Origin: 'HTTP://SITE.example' }, true],
    [{ Host: 'SITE.Example', Origin: 'http://site.example' }, true],
    [{ Host: 'site.example:80', Origin: 'http://site.example' }, true],
    [{ Host: 'site.example', Origin: 'http://site.example:80' }, true],
    [{ Host: 'site.example:3000', Origin: 'http://site.example:3000' }, true],
    [{ Host: '[::1]:3000', Origin: 'http://[::1]:3000' }, true],
    // A proxy that ends TLS and is not trusted yet makes an https site look like http.
    [{ Origin: 'https://site.example' }, true],
    [{ Host: 'site.example:8443', Origin: 'https://site.example:8443' }, true],
    [{ Host: 'site.example:8443', Origin: 'https://site.example' }, false],
    [{ Host: 'site.example:3000', Origin: 'http://site.example' }, false],
    [{ Host: 'site.example', Origin: 'http://site.example:3000' }, false],
    [{ Origin: 'http://other.site.example' }, false],
    [{ Origin: 'http://site.example.evil.example' }, false],
    [{ Origin: 'http://evil.example/http://site.example' }, false],
    [{ Origin: 'http://site.example@evil.example' }, false],
    [{ Origin: 'http://site.example, http://evil.example' }, false],
    [{ Origin: 'ftp://site.example' }, false],
    [{ Origin: 'chrome-extension://site.example' }, false],
    [{ Origin: 'site.example' }, false],
    [{ Origin: 'null' }, false],
    [{ Origin: '' }, false],
    [{ Origin: 'null' }, false, trusting('https://app.example')],
    [{ Origin: 'https://app.example' }, true, trusting('https://app.example')],
    [{ Origin: 'https://app.example:8443' }, false, trusting('https://app.example')],
    [{ Origin: 'http://app.example' }, false, trusting('https://app.example')],
    // What a client says of proxies counts only where the site says that there is one.
    [{ Origin: 'http://evil.example', 'X-Forwarded-Host': 'evil.example' }, false],
    [{ Origin: 'http://evil.example', 'X-Forwarded-Host': 'evil.example' }, false, proxied(false)],
    [{ Origin: 'http://evil.example', 'X-Forwarded-Host': 'evil.example' }, false, proxied('192.0.2.1')],
    [{ Origin: 'http://site.example', 'X-Forwarded-Host': 'evil.example' }, true],
    [{ Origin: 'http://site.example', 'X-Forwarded-Proto': 'https' }, true],
    ...[true, 1, 'loopback', () => true].flatMap((trustProxy): [Headers, boolean, HostOptions][] => [
      [
        {
          Origin: 'https://public.example',
          'X-Forwarded-Host': 'public.example',
          'X-Forwarded-Proto': 'https',
        },
        true,
        proxied(trustProxy),
      ],
      [{ Origin: 'https://public.example', 'X-Forwarded-Host': 'public.example' }, true, proxied(trustProxy)],
      [{ Origin: 'http://site.example', 'X-Forwarded-Host': 'public.example' }, false, proxied(trustProxy)],
      [{ Origin: 'https://site.example', 'X-Forwarded-Proto': 'https' }, true, proxied(trustProxy)],
      // Where the request is https for certain, a page of plain http is foreign.
      [{ Origin: 'http://site.example', 'X-Forwarded-Proto': 'https' }, false, proxied(trustProxy)],
    ]),
    [
      {
        Origin: 'https://public.example:8443',
        'X-Forwarded-Host': 'public.example:8443',
        'X-Forwarded-Proto': 'https',
      },
      true,
      proxied(true),
    ],
    [
      {
        Origin: 'https://public.example',
        'X-Forwarded-Host': 'public.example:8443',
        'X-Forwarded-Proto': 'https',
      },
      false,
      proxied(true),
    ],
    [
      {
        Origin: 'https://public.example',
        'X-Forwarded-Host': 'public.example, cdn.example',
        'X-Forwarded-Proto': 'https',
      },
      true,
      proxied(true),
    ],
  ];
  it.each(
    rows.map(([headers, passes, options]) => ({
      headers,
      passes,
      options,
      trustProxy: String(options?.trustProxy),
      trusted: options?.strategy?.trustedOrigins,
    })),
  )(
    '$headers, trust proxy $trustProxy, trusted $trusted: passes $passes',
    async ({ headers, passes, options }) => {
      expect(await posted(headers, options)).toBe(passes ? 'passes' : 'cross_site');
    },
  );
});

describe('a post from another site', () => {
  it('reaches no phase, costs nothing and asks nobody', async () => {
    const client = fakeClient();
    const host = createHost(client);
    const browser = host.browser();
    await browser.issue();
    for (const headers of [
      { 'Sec-Fetch-Site': 'cross-site' },
      { 'Sec-Fetch-Site': 'same-site', Origin: 'https://evil.site.example' },
    ]) {
      for (const path of ['/login', '/login/resend', '/login/pin']) {
        const { status, body } = await browser.post(path, { phone: PHONE, pin: PIN }, headers);
        expect([path, status, body.outcome.code]).toEqual([path, 403, 'cross_site']);
      }
    }
    expect([client.sends.length, client.resends, client.checks]).toEqual([1, [], []]);
    expect((await browser.get('/challenge')).body.attemptsRemaining).toBe(5);
    expect(host.events.filter(({ type }) => type === 'request.refused')).toHaveLength(6);
    expect((await browser.check()).status).toBe(200);
  });
});

describe('a request that is no POST', () => {
  const everyMethod: HostOptions = {
    routes(app, { passport }) {
      for (const phase of ['issue', 'resend', 'check', undefined]) {
        app.all(`/any/${phase}`, (req, res, next) =>
          passport.authenticate(
            'sms-otp',
            { ...(phase && { phase }) } as object,
            (error: unknown, user: unknown, info: unknown, status: number) =>
              error ? next(error) : res.status(user ? 200 : status).json({ outcome: info }),
          )(req, res, next),
        );
      }
    },
  };

  it.each(['get', 'head', 'put', 'patch', 'delete', 'options'] as const)(
    '(%s) is refused in every phase',
    async (method) => {
      const client = fakeClient();
      const host = createHost(client, everyMethod);
      const browser = host.browser();
      await browser.issue();
      for (const phase of ['issue', 'resend', 'check', undefined]) {
        const asked = browser.agent[method](`/any/${phase}`).set('Sec-Fetch-Site', 'same-origin');
        // The answer to HEAD and its request have no body.
        if (method !== 'head') asked.type('form').send({ phone: PHONE, pin: PIN });
        const { status, headers, body } = await asked;
        expect([phase, status, headers.allow]).toEqual([phase, 405, 'POST']);
        if (method !== 'head') expect(body.outcome.code).toBe('method_not_allowed');
      }
      expect([client.sends.length, client.resends, client.checks]).toEqual([1, [], []]);
      expect((await browser.check()).status).toBe(200);
    },
  );

  it.each([
    ['GET', 'POST'],
    ['POST', 'PUT'],
  ])('stays one when a middleware overrides it (%s to %s)', async (originalMethod, method) => {
    const client = fakeClient();
    const host = createHost(client, {
      routes(app, given) {
        app.use((req, _res, next) => {
          Reflect.set(req, 'originalMethod', originalMethod);
          req.method = method;
          next();
        });
        everyMethod.routes?.(app, given);
      },
    });
    const { status } = await request(host.app)
      .post('/any/issue')
      .set('Sec-Fetch-Site', 'same-origin')
      .type('form')
      .send({ phone: PHONE });
    expect(status).toBe(405);
    expect(client.sends).toEqual([]);
  });
});

describe('the address that a client is counted for', () => {
  const ONE = { uncompletedPerClient: [{ points: 1, duration: 3600 }] };

  /** Asks for PINs of different numbers from these addresses, one after the other. */
  async function asked(addresses: string[], options: HostOptions = {}): Promise<string[]> {
    const host = createHost(fakeClient(), { trustProxy: true, strategy: { budgets: ONE }, ...options });
    const url = await serve(host);
    const words: string[] = [];
    for (const [index, address] of addresses.entries()) {
      const headers = { 'X-Forwarded-For': address };
      const { body } = await host.browser(url).post('/login', { phone: `+38591123450${index}` }, headers);
      words.push(body.outcome?.budget ?? body.outcome?.code ?? body.error.code);
    }
    return words;
  }

  it.each([
    ['an IPv4 address', ['198.51.100.1', '198.51.100.1']],
    ['an IPv4 address inside IPv6', ['198.51.100.1', '::ffff:198.51.100.1']],
    ['an IPv4 address inside IPv6, in hexadecimal', ['::ffff:198.51.100.1', '::FFFF:c633:6401']],
    ['an IPv4 address inside IPv6, at length', ['198.51.100.1', '0:0:0:0:0:ffff:198.51.100.1']],
    ['an IPv6 address in two spellings', ['2001:db8::1', '2001:0DB8:0000:0000:0000:0000:0000:0001']],
    ['an IPv6 address with a dotted end', ['2001:db8::1.2.3.4', '2001:db8::102:304']],
    ['two addresses of a /64', ['2001:db8:1:2::1', '2001:db8:1:2:ffff:ffff:ffff:ffff']],
    ['an IPv6 address with a zone', ['fe80::1%eth0', 'fe80::2%eth1']],
    ['an address with a port, as some proxies write it', ['198.51.100.1:1234', '198.51.100.1:4321']],
    ['an IPv6 address with a port', ['[2001:db8::1]:1234', '[2001:db8::2]:4321']],
  ])('is one for %s', async (_what, addresses) => {
    expect(await asked(addresses)).toEqual(['pin_sent', 'uncompletedPerClient']);
  });

  it.each([
    ['two IPv4 addresses', ['198.51.100.1', '198.51.100.2']],
    ['two networks of IPv6', ['2001:db8:1:2::1', '2001:db8:1:3::1']],
    ['an IPv4 address and an IPv6 address that ends like it', ['198.51.100.1', '2001:db8::198.51.100.1']],
    ['two IPv4 addresses inside IPv6', ['::ffff:198.51.100.1', '::ffff:198.51.100.2']],
  ])('is another one for %s', async (_what, addresses) => {
    expect(await asked(addresses)).toEqual(['pin_sent', 'pin_sent']);
  });

  it('is the one behind a trusted proxy, in a private network or not', async () => {
    expect(await asked(['192.168.1.5', '192.168.1.5', '192.168.1.6'])).toEqual([
      'pin_sent',
      'uncompletedPerClient',
      'pin_sent',
    ]);
  });

  it('is the last one that was not named by the visitor', async () => {
    // One proxy is trusted: what stands before its own entry, the visitor may have written.
    expect(await asked(['9.9.9.9, 198.51.100.1', '8.8.8.8, 198.51.100.1'], { trustProxy: 1 })).toEqual([
      'pin_sent',
      'uncompletedPerClient',
    ]);
  });

  describe('is not that of a proxy', () => {
    const warnings: Error[] = [];
    const note = (warning: Error) => warnings.push(warning);
    beforeEach(() => {
      warnings.length = 0;
      process.on('warning', note);
    });
    afterEach(() => {
      process.off('warning', note);
    });

    it.each(['X-Forwarded-For', 'Forwarded', 'X-Real-IP'])(
      'that Express does not trust and that sends %s: clients are not counted, and one warning says why',
      async (header) => {
        const client = fakeClient();
        const host = createHost(client, { strategy: { budgets: ONE } });
        const url = await serve(host);
        for (const index of [0, 1, 2]) {
          const { status } = await host
            .browser(url)
            .post('/login', { phone: `+38591123450${index}` }, { [header]: '198.51.100.1' });
          expect(status).toBe(202);
        }
        await new Promise((resolve) => setImmediate(resolve));
        const message = expect.stringMatching(/^SmsOtpStrategy 'sms-otp': .*proxy.*trust proxy/u);
        expect(warnings).toEqual([expect.objectContaining({ code: 'SMS_OTP_TRUST_PROXY', message })]);
        expect(host.events.filter(({ type }) => type === 'configuration.warned')).toEqual([
          expect.objectContaining({ message }),
        ]);
        // Where the visitor comes straight, the address is the visitor's.
        const straight = async (phone: string) => (await host.browser(url).issue(phone)).body.outcome;
        expect((await straight('+385911234510')).code).toBe('pin_sent');
        expect((await straight('+385911234511')).budget).toBe('uncompletedPerClient');
        expect(warnings).toHaveLength(1);
      },
    );
  });

  it('must be there: an error names clientKey, and nothing is sent', async () => {
    const client = fakeClient();
    const withoutAddress: HostOptions = {
      before: [
        (req, _res, next) => {
          Object.defineProperty(req, 'ip', { value: undefined });
          next();
        },
      ],
    };
    const host = createHost(client, withoutAddress);
    const { status, body } = await host.browser().issue();
    expect([status, body.error.code]).toEqual([500, 'ERR_SMS_OTP_CONFIGURATION']);
    expect(body.error.message).toMatch(/^SmsOtpStrategy 'sms-otp': .*`clientKey`/u);
    expect(client.sends).toEqual([]);

    const uncounted = createHost(client, {
      ...withoutAddress,
      strategy: { budgets: { uncompletedPerClient: null, failedChecksPerClient: null } },
    });
    const browser = uncounted.browser();
    expect((await browser.issue()).status).toBe(202);
    expect((await browser.check()).status).toBe(200);
  });

  it('may be what the host says', async () => {
    const clientKey = (req: { headers: Readonly<Record<string, unknown>> }) =>
      String(req.headers['x-device']);
    const host = createHost(fakeClient(), { strategy: { budgets: ONE, clientKey } });
    const url = await serve(host);
    const from = async (device: string, phone: string) => {
      const { body } = await host.browser(url).post('/login', { phone }, { 'X-Device': device });
      return body.outcome.budget ?? body.outcome.code;
    };
    expect(await from('one', '+385911234501')).toBe('pin_sent');
    expect(await from('one', '+385911234502')).toBe('uncompletedPerClient');
    expect(await from('two', '+385911234502')).toBe('pin_sent');
    // An address is counted as `req.ip` would be: whoever has a network has all of its addresses.
    expect(await from('2001:db8:0:1::1', '+385911234503')).toBe('pin_sent');
    expect(await from('2001:DB8:0:1:ffff::2', '+385911234504')).toBe('uncompletedPerClient');
    expect(await from('2001:db8:0:2::1', '+385911234504')).toBe('pin_sent');
    expect(await from('::ffff:192.0.2.1', '+385911234505')).toBe('pin_sent');
    expect(await from('192.0.2.1', '+385911234506')).toBe('uncompletedPerClient');
  });

  it.each([
    ['nothing', () => undefined],
    ['an empty text', () => ''],
    ['a promise', () => Promise.reject(new Error('too late')) as unknown as string],
    ['no text', () => 7 as unknown as string],
    [
      'an error',
      () => {
        throw new Error('no device');
      },
    ],
  ])('is an error when the host says %s, and nothing is sent', async (_what, clientKey) => {
    const client = fakeClient();
    const host = createHost(client, { strategy: { clientKey } });
    const { status } = await host.browser().issue();
    expect([status, host.actions]).toEqual([500, [['error']]]);
    expect(client.sends).toEqual([]);
  });
});
