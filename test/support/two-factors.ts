/** A site with passwords that asks for a PIN as well: real Express, express-session, passport-local and our strategies. */

import express, { type Express } from 'express';
import session from 'express-session';
import passport from 'passport';
import { Strategy as LocalStrategy } from 'passport-local';
import {
  type OtpClient,
  openChallenge,
  type Proof,
  type Recipient,
  type SmsOtpEvent,
  SmsOtpStrategy,
  type SmsOtpStrategyOptions,
  type Verify,
} from 'passport-sms-otp';
import request from 'supertest';
import { OTHER_PHONE, PHONE } from './host.js';

/** A row of the host's user table. */
export interface Account {
  id: string;
  username: string;
  password: string;
  phoneNumber?: string | undefined;
  email?: string | undefined;
}

export const ALICE = {
  id: 'alice-id',
  username: 'alice',
  password: 'wonderland',
  phoneNumber: PHONE,
  email: 'alice@example.com',
};
export const BOB = {
  id: 'bob-id',
  username: 'bob',
  password: 'builder',
  phoneNumber: OTHER_PHONE,
  email: 'bob@example.com',
};

/** The strategies of the site, by their names. */
export type StrategyName =
  | 'sms-otp'
  | 'second-factor'
  | 'third-factor'
  | 'enrolment'
  | 'step-up'
  | 'new-number';

type Overrides = Record<string, unknown> & { verify?: Verify };

export interface SiteOptions {
  /** More options for single strategies, laid over the ones below; `verify` replaces the callback. */
  strategies?: Partial<Record<StrategyName, Overrides>>;
  /** More routes, in front of the ones below. */
  routes?: (app: Express, site: { passport: passport.Authenticator; users: Map<string, Account> }) => void;
}

export interface Site {
  passport: passport.Authenticator;
  app: Express;
  users: Map<string, Account>;
  events: SmsOtpEvent[];
  proofs: Proof[];
  errors: unknown[];
  store: session.MemoryStore;
  browser(): Visitor;
  /** Every session that the store holds, by its id. */
  sessions(): Promise<Map<string, StoredSession>>;
  /** The serialized users of all sessions in the store: empty when nobody is signed in anywhere. */
  signedIn(): Promise<unknown[]>;
}

/** A session as the store has it. */
export interface StoredSession {
  passport?: { user?: unknown };
  smsOtp?: { challenges?: Record<string, unknown>; marks?: Record<string, unknown> };
  [key: string]: unknown;
}

/** One browser: it keeps cookies and posts as a page of this site does. */
export interface Visitor {
  agent: ReturnType<typeof request.agent>;
  get(path: string): request.Test;
  post(path: string, form?: object, headers?: Record<string, string>): request.Test;
  /** The first factor, at `route` ('/password' asks for the PIN next). */
  password(who?: { username: string; password: string }, route?: string): request.Test;
  /** The cookies that it would send, by name. */
  cookies(): Map<string, string>;
  /** The id of its session. */
  sessionId(): string | undefined;
}

const account = (req: { user?: Express.User | undefined }): Account | undefined => {
  const user: unknown = req.user;
  return typeof user === 'object' && user !== null && 'id' in user ? (user as Account) : undefined;
};

const recipientOf = (req: { user?: Express.User | undefined }): Recipient | null => {
  const user = account(req);
  return user ? { phoneNumber: user.phoneNumber, email: user.email, subject: user.id } : null;
};

/**
 * Routes, each answering JSON `{ outcome }` with the outcome's status, or `{ user, info }` after a login:
 *
 * - `POST /password` the password with `session: false`, then the PIN of 'second-factor'
 * - `POST /password/careless` the same where the host forgot `session: false`
 * - `POST /password/only` the password, no PIN; with `?keep` and `keepSessionInfo`
 * - `POST /<strategy>/issue`, `/resend`, `/pin`; with `?keep` the login has `keepSessionInfo`
 * - `POST /three/pin` the check of 'second-factor' without a login, then the PIN of 'third-factor'
 * - `POST /logout`, with `?keep` and `keepSessionInfo`
 * - `GET /me` who is signed in, `GET /challenge/<strategy>` what a page may show
 */
export function createSite(client: OtpClient, options: SiteOptions = {}): Site {
  const users = new Map<string, Account>();
  for (const user of [ALICE, BOB]) users.set(user.id, { ...user });
  const events: SmsOtpEvent[] = [];
  const proofs: Proof[] = [];
  const errors: unknown[] = [];

  const own = new passport.Passport();
  own.serializeUser((user, done) => done(null, Reflect.get(user, 'id')));
  own.deserializeUser((id: string, done) => done(null, loggedIn(users.get(id)) ?? false));
  own.use(
    new LocalStrategy((username, password, done) => {
      const user = [...users.values()].find((one) => one.username === username && one.password === password);
      done(null, user ? loggedIn(user) : false);
    }),
  );

  const byPhone: Verify = async ({ subject, phoneNumber, email }) => {
    const user = users.get(subject ?? '');
    if (user === undefined) return false;
    const proven =
      (phoneNumber !== undefined && user.phoneNumber === phoneNumber) ||
      (email !== undefined && user.email === email);
    return proven ? loggedIn(user) : false;
  };
  const takeNumber: Verify = async ({ subject, phoneNumber }) => {
    const user = users.get(subject ?? '');
    if (user === undefined || phoneNumber === undefined) return false;
    user.phoneNumber = phoneNumber;
    return loggedIn(user);
  };
  const plans: Record<StrategyName, { options: Partial<SmsOtpStrategyOptions>; verify: Verify }> = {
    'sms-otp': {
      options: { countries: ['HR'] },
      verify: async ({ phoneNumber }) =>
        loggedIn([...users.values()].find((user) => user.phoneNumber === phoneNumber)) ?? false,
    },
    'second-factor': { options: { recipient: recipientOf }, verify: byPhone },
    'third-factor': { options: { recipient: recipientOf, channels: ['email'] }, verify: byPhone },
    enrolment: {
      options: { subject: (req) => account(req)?.id ?? null, countries: ['HR'] },
      verify: takeNumber,
    },
    'step-up': { options: { recipient: recipientOf, signedIn: true }, verify: byPhone },
    'new-number': {
      options: { subject: (req) => account(req)?.id ?? null, countries: ['HR'], signedIn: true },
      verify: takeNumber,
    },
  };
  for (const [name, plan] of Object.entries(plans)) {
    const { verify = plan.verify, ...overrides } = options.strategies?.[name as StrategyName] ?? {};
    own.use(
      new SmsOtpStrategy(
        {
          client,
          applicationId: 'APP',
          messageId: 'MSG',
          name,
          onEvent: (event: SmsOtpEvent) => events.push(event),
          ...plan.options,
          ...overrides,
        } as SmsOtpStrategyOptions,
        (proof, done) => {
          proofs.push(proof);
          return verify(proof, done) ?? undefined;
        },
      ),
    );
  }

  const store = new session.MemoryStore();
  const app = express();
  app.use(session({ secret: 'a secret for tests only', resave: false, saveUninitialized: false, store }));
  app.use(express.urlencoded({ extended: true }), express.json());
  app.use(own.initialize(), own.session());
  options.routes?.(app, { passport: own, users });

  /** Runs one phase and answers with what came of it; a proven user is logged in. */
  const answer =
    (name: string, phase: 'issue' | 'resend' | 'check'): express.RequestHandler =>
    (req, res, next) => {
      const finish = (
        error: unknown,
        user: unknown,
        info: unknown,
        status?: number | (number | undefined)[],
      ) => {
        if (error) return next(error);
        if (!user) return res.status(Number(status ?? 401)).json({ outcome: info });
        req.logIn(
          user as Express.User,
          { session: true, keepSessionInfo: 'keep' in req.query },
          (failed: unknown) => {
            if (failed) return next(failed);
            res.json({ user, info });
          },
        );
      };
      own.authenticate(name, { phase }, finish)(req, res, next);
    };

  const local = (more: passport.AuthenticateOptions) => own.authenticate('local', more);
  app.post('/password', local({ session: false }), answer('second-factor', 'issue'));
  app.post('/password/careless', local({}), answer('second-factor', 'issue'));
  app.post('/password/enrol', local({ session: false }), answer('enrolment', 'issue'));
  app.post('/password/only', (req, res, next) =>
    local({ keepSessionInfo: 'keep' in req.query })(req, res, (error?: unknown) => {
      if (error) return next(error);
      res.json({ user: req.user });
    }),
  );
  app.post(
    '/three/pin',
    own.authenticate('second-factor', { phase: 'check', session: false }),
    answer('third-factor', 'issue'),
  );
  for (const name of Object.keys(plans)) {
    app.post(`/${name}/issue`, answer(name, 'issue'));
    app.post(`/${name}/resend`, answer(name, 'resend'));
    app.post(`/${name}/pin`, answer(name, 'check'));
    app.get(`/challenge/${name}`, async (req, res) => {
      res.json(await openChallenge(req, { name }));
    });
  }
  app.post('/logout', (req, res, next) => {
    req.logOut({ keepSessionInfo: 'keep' in req.query }, (error: unknown) => {
      if (error) return next(error);
      res.json({});
    });
  });
  app.get('/me', (req, res) => {
    res.json({ authenticated: req.isAuthenticated(), user: req.user ?? null });
  });
  app.use(((error, _req, res, _next) => {
    errors.push(error);
    res.status(error.status ?? 500).json({ error: { code: error.code, message: error.message } });
  }) satisfies express.ErrorRequestHandler);

  const sessions = () =>
    new Promise<Map<string, StoredSession>>((resolve, reject) => {
      store.all((error, all) => {
        if (error) reject(error);
        else
          resolve(
            new Map(Object.entries((all ?? {}) as Record<string, unknown>) as [string, StoredSession][]),
          );
      });
    });
  const signedIn = async () =>
    [...(await sessions()).values()].flatMap(({ passport: stored }) =>
      stored?.user === undefined ? [] : [stored.user],
    );
  return {
    app,
    passport: own,
    users,
    events,
    proofs,
    errors,
    store,
    sessions,
    signedIn,
    browser: () => visitor(app),
  };
}

/** A browser of `app`, with an empty cookie jar. */
function visitor(app: Express): Visitor {
  const agent = request.agent(app);
  const cookies = () =>
    new Map(
      agent.jar
        .getCookies({ domain: '127.0.0.1', path: '/', secure: false, script: false })
        .map(({ name, value }): [string, string] => [name, value]),
    );
  const post = (path: string, form: object = {}, headers: Record<string, string> = {}) =>
    agent.post(path).set('Sec-Fetch-Site', 'same-origin').set(headers).type('form').send(form);
  return {
    agent,
    cookies,
    post,
    get: (path) => agent.get(path),
    password: ({ username, password } = ALICE, route = '/password') => post(route, { username, password }),
    sessionId: () => /^s:([^.]+)\./u.exec(decodeURIComponent(cookies().get('connect.sid') ?? ''))?.[1],
  };
}

/** An account as Passport's user: what a site's users look like is declared once for a whole program, elsewhere. */
export function loggedIn(user: Account): Express.User;
export function loggedIn(user: Account | undefined): Express.User | undefined;
export function loggedIn(user: Account | undefined): Express.User | undefined {
  return user as unknown as Express.User | undefined;
}
