/** A host site as users write it: real Express, express-session and Passport around the strategy. */

import type { AddressInfo } from 'node:net';
import express, { type Express, type RequestHandler, type Response } from 'express';
import session, { type SessionOptions } from 'express-session';
import passport from 'passport';
import {
  type OtpClient,
  openChallenge,
  type PinVerification,
  type Proof,
  type ResendPinRequest,
  type SendPinRequest,
  type SentPin,
  type SmsOtpEvent,
  SmsOtpStrategy,
  type SmsOtpStrategyOptions,
  type Verify,
} from 'passport-sms-otp';
import request from 'supertest';
import { onTestFinished } from 'vitest';

/** A number that may get a PIN under `countries: ['HR']`. */
export const PHONE = '+385911234567';
export const OTHER_PHONE = '+385919876543';
export const PIN = '042137';

export interface User {
  id: string;
  phoneNumber: string;
}

/** A PIN service in memory that remembers what it was asked. Every answer can be replaced. */
export interface FakeClient extends OtpClient {
  sends: SendPinRequest[];
  resends: { pinId: string; request: ResendPinRequest | undefined }[];
  checks: { pinId: string; pin: string }[];
  onSend: (request: SendPinRequest) => Promise<SentPin>;
  onResend: (pinId: string, request: ResendPinRequest | undefined) => Promise<SentPin>;
  onVerify: (pinId: string, pin: string) => Promise<PinVerification>;
}

export function fakeClient(): FakeClient {
  const client: FakeClient = {
    sends: [],
    resends: [],
    checks: [],
    onSend: async () => ({ pinId: `PIN-ID-${client.sends.length}`, sent: true }),
    onResend: async (pinId) => ({ pinId, sent: true }),
    onVerify: async (pinId, pin) =>
      pin === PIN
        ? { verified: true, pinId, msisdn: '385911234567' }
        : { verified: false, pinId, reason: 'wrong_pin' },
    async sendPin(request) {
      client.sends.push(request);
      return client.onSend(request);
    },
    async resendPin(pinId, request) {
      client.resends.push({ pinId, request });
      return client.onResend(pinId, request);
    },
    async verifyPin(pinId, pin) {
      client.checks.push({ pinId, pin });
      return client.onVerify(pinId, pin);
    },
  };
  return client;
}

type KeysOf<Union> = Union extends unknown ? keyof Union : never;
type MemberOf<Union, Key> = Union extends unknown ? (Key extends keyof Union ? Union[Key] : never) : never;

/** Any options of the strategy, together or not: what goes with what is for the constructor to judge. */
export type LooseOptions = {
  [Key in KeysOf<SmsOtpStrategyOptions>]?: MemberOf<SmsOtpStrategyOptions, Key> | undefined;
};

export interface HostOptions {
  /** Another build of the strategy. */
  Strategy?: typeof SmsOtpStrategy;
  client?: OtpClient;
  strategy?: LooseOptions;
  verify?: Verify;
  session?: Partial<SessionOptions> | false;
  /** Merged into each route's options. */
  authenticate?: Record<string, unknown>;
  /** Options of one phase only. */
  phases?: Partial<Record<'issue' | 'resend' | 'check', Record<string, unknown>>>;
  /** More routes, before the ones below. */
  routes?: (app: Express, host: { passport: passport.Authenticator; events: SmsOtpEvent[] }) => void;
  trustProxy?: unknown;
  /** Default: forms (extended) and JSON. */
  parsers?: RequestHandler[];
  /** Before everything else, for instance a cookie of its own for a challenge store. */
  before?: RequestHandler[];
}

export interface Host {
  app: Express;
  passport: passport.Authenticator;
  store: session.Store;
  events: SmsOtpEvent[];
  errors: unknown[];
  users: Map<string, User>;
  strategy: SmsOtpStrategy;
  proofs: Proof[];
  /** The Passport actions of each request, in order: exactly one for each. */
  actions: string[][];
  /** One browser: keeps cookies, posts as a page of this site would. `at`: the address of a server that listens already. */
  browser(at?: string): Browser;
  /** The session's content as the store has it. */
  stored(browser: Browser): Promise<Record<string, unknown> | undefined>;
}

export interface Browser {
  agent: ReturnType<typeof request.agent>;
  post(path: string, form?: object | string, headers?: Record<string, string>): request.Test;
  get(path: string): request.Test;
  issue(phone?: string): request.Test;
  resend(form?: object): request.Test;
  check(pin?: string): request.Test;
}

/** A host with a time limit of its own: middleware that keeps the newest response, and what answers it early. */
export function earlyAnswer(): { before: RequestHandler[]; answer: () => void } {
  let response: Response | undefined;
  const keep: RequestHandler = (_req, res, next) => {
    response = res;
    next();
  };
  return { before: [keep], answer: () => void response?.status(503).end() };
}

/**
 * Routes: POST /login, /login/resend and /login/pin answer with JSON `{ outcome: info }` and the outcome's status through
 * Passport's own path (`failWithError` is not used: the issue phases forbid it), GET /me tells who is signed in, and
 * GET /challenge what a page may show.
 */
export function createHost(client: OtpClient, options: HostOptions = {}): Host {
  const users = new Map<string, User>();
  const events: SmsOtpEvent[] = [];
  const errors: unknown[] = [];
  const proofs: Proof[] = [];
  const own = new passport.Passport();
  own.serializeUser((user, done) => done(null, Reflect.get(user, 'id')));
  own.deserializeUser((id: string, done) => done(null, users.get(id) ?? false));
  const verify: Verify =
    options.verify ??
    (async (proof) => {
      proofs.push(proof);
      const phoneNumber = proof.phoneNumber ?? '';
      const found = [...users.values()].find((user) => user.phoneNumber === phoneNumber);
      if (found) return found;
      const user = { id: `u${users.size + 1}`, phoneNumber };
      users.set(user.id, user);
      return user;
    });
  const strategy = new (options.Strategy ?? SmsOtpStrategy)(
    {
      client,
      applicationId: 'APP',
      messageId: 'MSG',
      ...(options.strategy?.recipient ? {} : { countries: ['HR'] }),
      onEvent: (event: SmsOtpEvent) => events.push(event),
      ...options.strategy,
    } as SmsOtpStrategyOptions,
    verify,
  );
  const actions = recordActions(strategy);
  own.use(strategy);

  const app = express();
  if (options.trustProxy !== undefined) app.set('trust proxy', options.trustProxy);
  for (const middleware of options.before ?? []) app.use(middleware);
  const store = (options.session !== false && options.session?.store) || new session.MemoryStore();
  if (options.session !== false) {
    app.use(
      session({
        secret: 'a secret for tests only',
        resave: false,
        saveUninitialized: false,
        ...options.session,
        store,
      }),
    );
  }
  app.use(...(options.parsers ?? [express.urlencoded({ extended: true }), express.json()]));
  app.use(own.initialize());
  if (options.session !== false) app.use(own.session());
  options.routes?.(app, { passport: own, events });

  const route = (phase: 'issue' | 'resend' | 'check'): express.RequestHandler => {
    const callback = (req: express.Request, res: express.Response, next: express.NextFunction) =>
      own.authenticate(
        strategy.name,
        { phase, ...options.authenticate, ...options.phases?.[phase] } as object,
        (error: unknown, user: unknown, info: unknown, status: number | number[] | undefined) => {
          if (error) return next(error);
          if (!user) return res.status(Number(status ?? 401)).json({ outcome: info });
          req.logIn(user as Express.User, (failed: unknown) => {
            if (failed) return next(failed);
            res.json({ user, info });
          });
        },
      )(req, res, next);
    return callback;
  };
  app.post('/login', route('issue'));
  app.post('/login/resend', route('resend'));
  app.post('/login/pin', route('check'));
  app.get('/me', (req, res) => {
    res.json({ user: req.user ?? null, session: req.session ?? null, id: req.sessionID ?? null });
  });
  app.get('/challenge', async (req, res) => {
    res.json(await openChallenge(req, { name: strategy.name }));
  });
  app.use(((error, _req, res, _next) => {
    errors.push(error);
    res.status(error.status ?? 500).json({ error: { code: error.code, message: error.message } });
  }) satisfies express.ErrorRequestHandler);

  const browser = (at?: string): Browser => {
    const agent = request.agent(at ?? app);
    const post = (path: string, form: object | string = {}, headers: Record<string, string> = {}) =>
      agent.post(path).set('Sec-Fetch-Site', 'same-origin').set(headers).type('form').send(form);
    return {
      agent,
      post,
      get: (path) => agent.get(path),
      issue: (phone = PHONE) => post('/login', { phone }),
      resend: (form = {}) => post('/login/resend', form),
      check: (pin = PIN) => post('/login/pin', { pin }),
    };
  };
  const stored = async (visitor: Browser) => {
    const { body } = await visitor.get('/me');
    return new Promise<Record<string, unknown> | undefined>((resolve, reject) => {
      store.get(body.id, (error, found) =>
        error ? reject(error) : resolve(found ? { ...found } : undefined),
      );
    });
  };
  return { app, passport: own, store, events, errors, users, strategy, proofs, actions, browser, stored };
}

const VERBS = ['success', 'fail', 'redirect', 'pass', 'error'] as const;

/** Notes which of Passport's verbs each request ends in; a request with none or with two is a fault. */
function recordActions(strategy: SmsOtpStrategy): string[][] {
  const actions: string[][] = [];
  const authenticate = strategy.authenticate;
  strategy.authenticate = function (this: SmsOtpStrategy, ...args) {
    const taken: string[] = [];
    actions.push(taken);
    for (const verb of VERBS) {
      const original: unknown = Reflect.get(this, verb);
      if (typeof original !== 'function') throw new TypeError(`Passport gave no ${verb}`);
      Reflect.set(this, verb, (...given: unknown[]) => {
        taken.push(verb);
        return Reflect.apply(original, this, given);
      });
    }
    return authenticate.apply(this, args);
  };
  return actions;
}

/** Runs the host's site on one port until the test is over, and gives its address. */
export async function serve({ app }: Host): Promise<string> {
  const server = await listen(app);
  onTestFinished(() => server.close());
  return server.url;
}

/** Runs an app on a port of its own. */
export async function listen(app: Express): Promise<{ url: string; close(): Promise<void> }> {
  const server = app.listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}
