/** Everything a stranger can write into a request, over real HTTP: nothing breaks, and the service hears none of it. */

import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { expectNoUnhandledRejection } from '../support/calm.js';
import { heapMegabytes } from '../support/heap.js';
import { createHost, type FakeClient, fakeClient, type Host, PIN } from '../support/host.js';
import { exchange, type RawAnswer } from '../support/raw.js';

/** `HOSTILE=100000 npx vitest run test/attacks/hostile.test.ts` for an evening. */
const INPUTS = Number(process.env.HOSTILE ?? 2000);
const BATCH = 40;

expectNoUnhandledRejection();

let client: FakeClient;
let host: Host;
let server: Server;
let port: number;
let reached = 0;
let decided = 0;

beforeAll(async () => {
  client = fakeClient();
  host = createHost(client, {
    strategy: { channels: ['sms', 'voice'] },
    routes(app) {
      // The strategy as users mount it, beside the custom callbacks of the other routes.
      app.post('/plain', (req, res, next) =>
        host.passport.authenticate('sms-otp', { failureRedirect: '/', challengeRedirect: '/pin' } as object)(
          req,
          res,
          next,
        ),
      );
    },
  });
  server = createServer(host.app);
  server.on('request', () => {
    reached += 1;
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  ({ port } = server.address() as AddressInfo);
});

afterAll(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  console.log(`${reached} hostile requests of ${INPUTS} reached the site, ${decided} of them the strategy.`);
});

/** Cookies of browsers in every state that a visitor can be in. */
async function cookies(): Promise<string[]> {
  const cookieOf = (answer: { get(name: string): string[] | undefined }) =>
    (answer.get('Set-Cookie') ?? []).map((cookie) => cookie.split(';')[0]).join('; ');
  const waiting = await host.browser().issue('+385911230001');
  const tried = host.browser();
  const triedCookie = cookieOf(await tried.issue('+385911230002'));
  await tried.check('000000');
  const inside = host.browser();
  await inside.issue('+385911230003');
  const insideCookie = cookieOf(await inside.check(PIN));
  return [cookieOf(waiting), triedCookie, insideCookie];
}

const anyText = fc.oneof(
  fc.string(),
  fc.string({ unit: 'binary' }),
  fc.string({ unit: 'grapheme', maxLength: 40 }),
  fc.constantFrom(
    '',
    ' ',
    '+',
    '+385911234567;ext=5',
    'tel:+385911234567',
    '+385911234567\r\nX-Evil: 1',
    '٠٤٢١٣٧',
    '042137\u0000',
    '0'.repeat(70_000),
    '__proto__',
    'constructor',
    '<script>alert(1)</script>',
    "' OR 1=1 --",
    '\u202e042137',
    'NaN',
    '1e6',
    '-00000',
  ),
);
const fields = fc.constantFrom(
  'phone',
  'pin',
  'channel',
  'phase',
  'pinId',
  'subject',
  'to',
  '__proto__',
  'constructor',
  'phone[]',
  'pin[]',
  'pin[$ne]',
  'pin[toString]',
  'pin[length]',
  'phone[__proto__][polluted]',
  'constructor[prototype][polluted]',
  'hasOwnProperty',
);
const form = fc
  .array(fc.tuple(fields, anyText), { maxLength: 8 })
  .map((pairs) => pairs.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join('&'));
const json = fc.oneof(
  fc.json(),
  fc
    .dictionary(
      fields,
      fc.oneof(anyText, fc.jsonValue(), fc.integer(), fc.constantFrom(true, null, [PIN], { length: 6 })),
    )
    .map((object) => JSON.stringify(object)),
  fc.constantFrom(
    '{"__proto__":{"polluted":true},"phone":"+385911234567x"}',
    '{"constructor":{"prototype":{"polluted":true}}}',
    `${'['.repeat(5000)}${']'.repeat(5000)}`,
    '{"pin":true}',
    '{"pin":["042137"]}',
    '{"pin":{"toString":"042137"}}',
    '{"phone":385911234567}',
    '{"pin":042137}',
    '[]',
    'null',
    '',
  ),
);
const bodies = fc.oneof(
  { weight: 4, arbitrary: fc.tuple(fc.constant('application/x-www-form-urlencoded'), form) },
  { weight: 4, arbitrary: fc.tuple(fc.constant('application/json'), json) },
  {
    weight: 1,
    arbitrary: fc.tuple(
      fc.constantFrom(
        'application/x-www-form-urlencoded; charset=utf-7',
        'application/json; charset=ucs-2',
        'text/plain',
        'multipart/form-data; boundary=x',
        'application/json;;;',
        '',
      ),
      fc.oneof(form, json, fc.string({ unit: 'binary' })),
    ),
  },
);
// Most requests should get past the parser of HTTP, so what it refuses is drawn less often.
const OFTEN = ['Origin', 'Sec-Fetch-Site', 'Cookie', 'Accept', 'X-Forwarded-For'];
/** Text that can stand in a header line without ending it. */
const headerText = fc.oneof(
  fc.string({ maxLength: 60 }),
  fc.constantFrom('null', 'same-origin', 'cross-site', 'http://127.0.0.1', '//', 'a, b', '\u00ff', '%00'),
);
const headers = fc.array(
  fc.tuple(
    fc.constantFrom(
      ...OFTEN,
      ...OFTEN,
      'Origin',
      'Sec-Fetch-Site',
      'Referer',
      'X-Forwarded-For',
      'X-Forwarded-Host',
      'X-Forwarded-Proto',
      'Forwarded',
      'X-Real-IP',
      'X-HTTP-Method-Override',
      'Cookie',
      'Accept',
      'Accept-Encoding',
      'Content-Encoding',
      'Expect',
      'Upgrade',
      'Transfer-Encoding',
      'Content-Length',
      'Authorization',
      'Range',
    ),
    headerText,
  ),
  { maxLength: 4 },
);

interface Hostile {
  method: string;
  path: string;
  state: number;
  type: string;
  body: string;
  headers: [string, string][];
}

const hostile: fc.Arbitrary<Hostile> = fc
  .record({
    method: fc.constantFrom(...new Array(20).fill('POST'), 'GET', 'PUT', 'PATCH', 'DELETE', 'QUERY', 'post'),
    path: fc.oneof(
      fc.constantFrom('/login', '/login/resend', '/login/pin', '/plain', '/challenge'),
      fc.constantFrom(
        '/login/pin?pin=042137',
        '/login?phone=%2B385911234567',
        '/login/../login/pin',
        'http://evil.example/login',
        '/login?__proto__[polluted]=1',
      ),
    ),
    state: fc.integer({ min: -2, max: 2 }),
    body: bodies,
    headers,
  })
  .map(({ body: [type, body], ...rest }) => ({ ...rest, type, body }));

function bytesOf(request: Hostile, jar: readonly string[]): Buffer {
  const body = Buffer.from(request.body);
  const cookie = request.state === -2 ? '' : (jar[request.state] ?? 'connect.sid=s%3Aforged.forged');
  const lines = [
    `${request.method} ${request.path} HTTP/1.1`,
    `Host: 127.0.0.1:${port}`,
    'Connection: close',
    ...(request.type ? [`Content-Type: ${request.type}`] : []),
    ...(cookie ? [`Cookie: ${cookie}`] : []),
    `Content-Length: ${body.length}`,
    ...request.headers.map(([name, value]) => `${name}: ${value}`),
  ];
  return Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'), body]);
}

/** What is owed to every request, whatever is in it. */
function judge(request: Hostile, { status, headers: answered, text }: RawAnswer): void {
  const label = JSON.stringify(request).slice(0, 500);
  expect(status, label).toBeGreaterThanOrEqual(200);
  expect(status, label).toBeLessThan(500);
  expect(answered.get('x-evil'), label).toBeUndefined();
  expect(text, label).not.toMatch(/PIN-ID|node_modules|\n {4}at /u);
}

it(`answers ${INPUTS} hostile requests, breaks at none, and asks the service for none of them`, {
  timeout: 60_000 + INPUTS * 20,
}, async () => {
  const jar = await cookies();
  const mayAsk = { sends: client.sends.length, checks: client.checks.length };
  let seen = 0;
  let early = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(hostile, { minLength: BATCH, maxLength: BATCH }), async (requests) => {
      const answers = await Promise.all(requests.map((request) => exchange(port, bytesOf(request, jar))));
      requests.forEach((request, index) => {
        const answer = answers[index];
        if (answer) judge(request, answer);
      });
      // What a generator made well-formed by chance may be asked; nothing else may.
      for (const { to } of client.sends.slice(mayAsk.sends)) expect(to).toMatch(/^\+3859\d{7,8}$/u);
      for (const { pin } of client.checks.slice(mayAsk.checks)) expect(pin).toMatch(/^\d{6}$/u);
      expect(Reflect.get({}, 'polluted')).toBeUndefined();
      expect(host.actions.filter((taken) => taken.length !== 1)).toEqual([]);
      decided += host.actions.length;
      // What the test itself has noted must not pass for a leak.
      for (const notes of [host.actions, host.events, host.errors, host.proofs]) notes.length = 0;
      seen += requests.length;
      if (early === 0 && seen >= INPUTS / 4) early = heapMegabytes();
    }),
    { numRuns: Math.ceil(INPUTS / BATCH), endOnFailure: true },
  );
  const late = heapMegabytes();
  console.log(`Heap: ${early.toFixed(1)} MB after a quarter of them, ${late.toFixed(1)} MB at the end.`);
  expect(late - early).toBeLessThan(12);
  expect(reached).toBeGreaterThan(INPUTS / 2);
  // Still there, and still of use: a visitor logs in.
  const visitor = host.browser();
  expect((await visitor.issue('+385911239999')).status).toBe(202);
  expect((await visitor.check(PIN)).status).toBe(200);
});
