/**
 * A journey with everything in it that must stay inside, marked so that it can be found again: PINs, PIN ids, the API
 * key, the full number, session ids, the cookie's secret and the strategy's. Afterwards everything that left is searched.
 */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import express from 'express';
import session from 'express-session';
import Database from 'libsql';
import { Passport } from 'passport';
import { openChallenge, type SmsOtpEvent, SmsOtpStrategy, type Verify } from 'passport-sms-otp';
import { Infobip2faClient } from 'passport-sms-otp/infobip';
import { type Simulator, startSimulator } from 'passport-sms-otp/simulator';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { listen } from '../support/host.js';
import { sharedCounters } from '../support/limiters.js';
import { endAll, startNode } from '../support/process.js';
import { Visitor } from '../support/visitor.js';

const API_KEY = 'canary0a9b8c7d6e5f4a3b2c1d0e9f8a7b6c5d-canary-key';
const COOKIE_SECRET = 'canary cookie secret, long enough to be one';
const STRATEGY_SECRET = 'canary strategy secret, long enough to be one';
const PHONE = '+385917654321';
const STRANGER = '+385918765432';

interface Canary {
  what: string;
  value: string;
}

/** Where a canary is found; whole digits only, so that a PIN is not found within a time of day. */
function leaks(places: Record<string, string>, canaries: readonly Canary[]): string[] {
  return canaries.flatMap(({ what, value }) => {
    const isIn = (text: string) =>
      /^\d+$/u.test(value)
        ? new RegExp(`(?<!\\d)${value}(?!\\d)`, 'u').test(text)
        : text.toLowerCase().includes(value.toLowerCase());
    return Object.entries(places).flatMap(([place, text]) => (isIn(text) ? [`${what} in ${place}`] : []));
  });
}

/** A number in every form in which it could get out. */
const forms = (what: string, phone: string): Canary[] =>
  [phone, phone.slice(1), `0${phone.slice(4)}`, phone.slice(4), encodeURIComponent(phone)].map((value) => ({
    what,
    value,
  }));

const FIXED: Canary[] = [
  { what: 'the API key', value: API_KEY },
  { what: "the cookie's secret", value: COOKIE_SECRET },
  { what: "the strategy's secret", value: STRATEGY_SECRET },
  ...forms('the number', PHONE),
  ...forms('the number of a stranger', STRANGER),
];

/** What the service handed out, and what was typed. */
function pinsOf(simulator: Simulator, typed: readonly string[]): Canary[] {
  return [
    ...simulator.messages.flatMap(({ pin, pinId }) => [
      { what: 'a PIN', value: pin },
      { what: 'a PIN id', value: pinId },
    ]),
    ...typed.map((value) => ({ what: 'a PIN that was typed', value })),
  ];
}

/** Session ids, as the cookie carries them and as the store knows them. */
function sessionsOf(cookies: Iterable<string>): Canary[] {
  return [...cookies].flatMap((cookie) => {
    const [id = '', signature = ''] = decodeURIComponent(cookie).replace(/^s:/u, '').split('.');
    return [id, signature, cookie].map((value) => ({ what: 'a session id', value }));
  });
}

it('the search finds what it searches for', () => {
  const canaries = [...FIXED, { what: 'a PIN', value: '042137' }, ...sessionsOf(['s%3Aabc.def%2Bg'])];
  for (const canary of canaries) {
    expect(leaks({ here: `... ${canary.value}, ...` }, [canary])).toEqual([`${canary.what} in here`]);
  }
  expect(leaks({ here: '1042137 and 0421370' }, canaries)).toEqual([]);
});

describe('a site as the README has it', () => {
  let simulator: Simulator;
  let client: Infobip2faClient;
  const events: SmsOtpEvent[] = [];
  const errors: unknown[] = [];
  const pages: string[] = [];
  const cookies = new Set<string>();
  const output: string[] = [];
  const store = new session.MemoryStore();
  const counters = sharedCounters();
  let isDown = false;

  beforeEach(async () => {
    simulator = await startSimulator({ apiKey: API_KEY });
    client = new Infobip2faClient({ baseUrl: simulator.url, apiKey: API_KEY, timeoutMs: 300 });
    for (const stream of [process.stdout, process.stderr]) {
      const write = stream.write.bind(stream);
      vi.spyOn(stream, 'write').mockImplementation((...args: Parameters<typeof write>) => {
        output.push(String(args[0]));
        return write(...args);
      });
    }
  });

  afterEach(async () => {
    vi.restoreAllMocks();
    await client.close();
    await simulator.close();
  });

  function site(): express.Express {
    const passport = new Passport();
    const { applicationId, messageId } = simulator;
    const options = {
      client,
      applicationId,
      messageId,
      countries: ['HR'] as const,
      limiter: counters.limiter,
      secret: STRATEGY_SECRET,
      attempts: 10,
      budgets: { sendsPerNumber: null, failuresPerNumber: null },
      onEvent: (event: SmsOtpEvent) => events.push(event),
    };
    const verify: Verify = async ({ phoneNumber }) => {
      if (isDown) throw new Error('the database of users is down');
      return { phoneNumber } as unknown as Express.User;
    };
    passport.use(new SmsOtpStrategy(options, verify));
    const canReceivePin = () => false;
    passport.use(new SmsOtpStrategy({ ...options, name: 'members', canReceivePin }, verify));
    passport.serializeUser((_user, done) => done(null, 'user 1'));
    passport.deserializeUser((id, done) => done(null, { id } as unknown as Express.User));
    const app = express();
    app.use(
      session({ secret: COOKIE_SECRET, resave: false, saveUninitialized: false, store }),
      express.urlencoded({ extended: false }),
      passport.session(),
    );
    const page: express.RequestHandler = async (req, res) => {
      const open = await openChallenge(req);
      res.send(
        `${JSON.stringify(open)} ${req.session && JSON.stringify(Reflect.get(req.session, 'messages'))}`,
      );
    };
    const toPin = { challengeRedirect: '/login/pin', failureMessage: true };
    app.get('/login', page).get('/login/pin', page);
    app.get('/', (req, res) => {
      res.send(req.isAuthenticated() ? 'in' : 'out');
    });
    app.post(
      '/login',
      passport.authenticate('sms-otp', { phase: 'issue', failureRedirect: '/login', ...toPin }),
    );
    app.post(
      '/login/resend',
      passport.authenticate('sms-otp', { phase: 'resend', failureRedirect: '/login/pin', ...toPin }),
    );
    app.post(
      '/login/pin',
      passport.authenticate('sms-otp', {
        phase: 'check',
        successRedirect: '/',
        failureRedirect: '/login/pin',
        ...toPin,
      }),
    );
    app.post('/json/login', passport.authenticate('sms-otp', { phase: 'issue' }));
    app.post('/members', passport.authenticate('members', { phase: 'issue' }));
    app.post('/members/pin', passport.authenticate('members', { phase: 'check' }));
    app.use(((error, _req, res, _next) => {
      errors.push(error);
      // As careless as a host can be: the visitor is shown what was thrown.
      res.status(Number(error.status ?? 500)).send(`${error.message} ${JSON.stringify(error)}`);
    }) satisfies express.ErrorRequestHandler);
    return app;
  }

  it('lets nothing out, whatever happens on the way', { timeout: 60_000 }, async () => {
    const server = await listen(site());
    const visitor = new Visitor(server.url);
    const typed: string[] = [];
    const note = async (path: string, fields?: Record<string, string>) => {
      if (fields?.pin) typed.push(fields.pin);
      const answer = fields ? await visitor.post(path, fields) : await visitor.get(path);
      const headers = [...answer.headers].filter(([name]) => name !== 'set-cookie');
      pages.push(JSON.stringify([path, answer.status, headers, answer.html]));
      for (const value of visitor.cookies.values()) cookies.add(value);
      return answer;
    };
    const echo = (fault: object) => simulator.addFault({ times: 1, ...fault });
    const pin = () => simulator.lastMessageTo(PHONE)?.pin ?? '';
    const wrong = () => String((Number(pin()) + 1) % 1_000_000).padStart(6, '0');

    await note('/login', { phone: '+385 91 765 4321 5' });
    await note('/login', { phone: PHONE });
    await note('/login/pin');
    await note('/login/pin', { pin: wrong() });
    await note('/login/pin', { pin: '1234567' });
    await note('/login/resend', {});
    await note('/json/login', { phone: PHONE });
    // A service that repeats what it knows of the request, in its errors and in nonsense.
    const repeated = `App ${API_KEY} ${PHONE} ${PHONE.slice(1)} ${pin()} ${simulator.messages[0]?.pinId}`;
    const envelope = { requestError: { serviceException: { messageId: 'BAD_REQUEST', text: repeated } } };
    for (const operation of ['verifyPin', 'resendPin'] as const) {
      const act = () =>
        operation === 'verifyPin' ? note('/login/pin', { pin: pin() }) : note('/login/resend', {});
      for (const fault of [
        { status: 400, body: envelope, headers: { 'X-Request-Id': `for ${API_KEY}` } },
        { status: 500, body: envelope },
        { status: 401, body: envelope },
        { status: 429, body: envelope, headers: { 'Retry-After': '60' } },
        { status: 200, body: repeated },
        { status: 200, body: { pinId: 'another', verified: true, smsStatus: repeated } },
        { status: 302, headers: { Location: `https://elsewhere.example/${pin()}` }, body: {} },
        { cut: 'before' as const },
        { delayMs: 500 },
      ]) {
        echo({ operation, ...fault });
        await act();
      }
    }
    // Enough of failures: a new challenge, and the service fails to send at first.
    visitor.cookies.clear();
    const told = { errorCode: 'E400', description: `App ${API_KEY} ${PHONE}`, violations: [], resources: [] };
    echo({ operation: 'sendPin', status: 400, body: told });
    await note('/login', { phone: PHONE });
    echo({ operation: 'sendPin', ncStatus: 'NC_DESTINATION_NOT_REACHABLE' });
    await note('/login', { phone: PHONE });
    await note('/members', { phone: STRANGER });
    await note('/members/pin', { pin: '135790' });
    counters.break('attempts', 'consume', 'fails');
    await note('/login/pin', { pin: '135791' });
    counters.heal();
    await note('/login', { phone: PHONE });
    const sessions = Object.values(
      await new Promise<object>((resolve, reject) =>
        store.all((error, all) => (error ? reject(error) : resolve(all ?? {}))),
      ),
    );
    isDown = true;
    await note('/login/pin', { pin: pin() });
    isDown = false;
    await note('/login', { phone: PHONE });
    expect((await note('/login/pin', { pin: pin() })).location).toBe('/');
    expect((await note('/')).html).toBe('in');
    await server.close();

    const canaries = [...FIXED, ...pinsOf(simulator, typed), ...sessionsOf(cookies)];
    expect(new Set(canaries.map(({ what }) => what)).size).toBe(9);
    expect(events.length).toBeGreaterThan(20);
    expect(errors.length).toBeGreaterThanOrEqual(8);
    expect(counters.keys.size).toBeGreaterThan(10);
    const places = {
      'the events': JSON.stringify(events),
      'the errors': inspect(errors, { depth: 12, showHidden: true, maxStringLength: null }),
      'the errors as JSON': JSON.stringify(errors),
      'the pages, their addresses and headers': pages.join('\n'),
      "the limiter's keys": [...counters.keys].join('\n'),
      'the output': output.join(''),
    };
    expect(leaks(places, canaries)).toEqual([]);

    // The session holds PIN id and number in the challenge, and a PIN nowhere.
    const rest = sessions.map((kept) => ({ ...kept, smsOtp: { ...kept.smsOtp, challenges: undefined } }));
    const inChallenges = sessions.map((kept) => JSON.stringify(kept.smsOtp?.challenges ?? null)).join('\n');
    const found = leaks(
      { 'a challenge': inChallenges, 'the rest of a session': JSON.stringify(rest) },
      canaries,
    );
    expect(new Set(found)).toEqual(
      new Set([
        'a PIN id in a challenge',
        'the number in a challenge',
        'the number of a stranger in a challenge',
      ]),
    );
  });
});

describe('the example site', () => {
  let folder: string;
  let simulator: Simulator;

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'site-'));
    simulator = await startSimulator({ apiKey: API_KEY });
  });

  afterEach(async () => {
    await endAll();
    await simulator.close();
    rmSync(folder, { recursive: true, force: true });
  });

  it('writes nothing of it to its output, its pages and its database, but the number to its owner', async () => {
    const site = startNode(['example-app/start.js'], {
      PORT: '0',
      DATA_DIR: folder,
      SESSION_SECRET: COOKIE_SECRET,
      INFOBIP_BASE_URL: simulator.url,
      INFOBIP_API_KEY: API_KEY,
      INFOBIP_APPLICATION_ID: simulator.applicationId,
      INFOBIP_MESSAGE_ID: simulator.messageId,
    });
    const visitor = new Visitor((await site.says(/The site: +(\S+)/u))[1] ?? '');
    const seen: string[] = [];
    const cookies = new Set<string>();
    const known = new Set<string>();
    const typed: string[] = [];
    const note = async (answered: Promise<{ status: number; headers: Headers; html: string }>) => {
      const { status, headers, html } = await answered;
      seen.push(JSON.stringify([status, [...headers].filter(([name]) => name !== 'set-cookie'), html]));
      for (const [name, value] of visitor.cookies) {
        // That of a known browser names the user, as the session does; what is secret of it is the signature.
        if (name === 'skerry-known') known.add(value.split('.').at(-1) ?? '');
        else cookies.add(value);
      }
      return status;
    };
    const type = (pin: string) => {
      typed.push(pin);
      return note(visitor.typePin(pin));
    };
    const pin = () => simulator.lastMessageTo(PHONE)?.pin ?? '';

    await note(visitor.askForPin(PHONE));
    await note(visitor.get('/login/pin'));
    const wrongPin = pin() === '246802' ? '246803' : '246802';
    // The page shows what was typed for a second try: that is the visitor's own.
    await visitor.typePin(wrongPin);
    simulator.addFault({ operation: 'verifyPin', status: 500, times: 1 });
    expect(await type(pin())).toBe(503);
    simulator.addFault({
      operation: 'verifyPin',
      status: 400,
      times: 1,
      body: { requestError: { serviceException: { messageId: 'X', text: `${API_KEY} ${PHONE} ${pin()}` } } },
    });
    expect(await type(pin())).toBeGreaterThanOrEqual(500);
    const database = new Database(join(folder, 'site.sqlite'));
    const tables = () =>
      ['users', 'sessions', 'limits'].map((table) => database.prepare(`SELECT * FROM ${table}`).all());
    const [, open] = tables();
    expect(await type(pin())).toBe(303);
    const [users, after, limits] = tables();
    database.close();
    await site.end('SIGTERM');

    expect(known.size).toBe(1);
    const canaries = [
      ...FIXED,
      ...pinsOf(simulator, [wrongPin, ...typed]),
      ...sessionsOf(cookies),
      ...[...known].map((value) => ({ what: 'the signature of a known browser', value })),
    ];
    const places = {
      'the output': site.output(),
      'the pages and their headers': seen.join('\n'),
      'the limits': JSON.stringify(limits),
      'the sessions after the login': JSON.stringify(after).replaceAll(/"(?:id|sid)":"[^"]*"/gu, ''),
    };
    expect(site.output()).toContain('pin.verified');
    expect(leaks(places, canaries)).toEqual([]);
    const kept = leaks(
      { 'the open session': JSON.stringify(open), 'the users': JSON.stringify(users) },
      canaries,
    );
    expect(new Set(kept.filter((leak) => !leak.startsWith('a session id')))).toEqual(
      new Set(['a PIN id in the open session', 'the number in the open session', 'the number in the users']),
    );
  });
});
