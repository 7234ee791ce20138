import { type NextFunction, type Request, type RequestHandler, type Response, Router } from 'express';
import { openChallenge, type SmsOtpInfo } from 'passport-sms-otp';
import type { KnownBrowsers } from './known-browsers.js';
import type { Login } from './login.js';
import { countOf, duration, phoneHint } from './messages.js';
import { onlyMethod } from './problems.js';
import { loginMs } from './security.js';
import { show } from './views.js';

declare module 'express-session' {
  interface SessionData {
    /** The page that sent the visitor to the login. */
    returnTo?: string;
    /** Said once, on the next page. */
    notice?: string;
  }
}

type Phase = 'issue' | 'resend' | 'check';
type OpenChallenge = NonNullable<Awaited<ReturnType<typeof openChallenge>>>;

/** An outcome that keeps the visitor where they are. */
interface Mishap {
  status: number;
  phase: Phase;
  info: SmsOtpInfo;
}

export interface RouteOptions {
  passport: Login;
  knownBrowsers: KnownBrowsers;
  countries: readonly string[] | 'all';
}

export function routes({ passport, knownBrowsers, countries }: RouteOptions): Router {
  const router = Router();

  router
    .route('/')
    .get((req, res) => show(req, res, 200, 'home'))
    .all(onlyMethod('GET'));

  router
    .route('/account')
    .get(signedInOnly, (req, res) => show(req, res, 200, 'account'))
    .all(onlyMethod('GET'));

  router
    .route('/login')
    .get(visitorsOnly, (req, res) => showLogin(req, res))
    .post(visitorsOnly, step('issue'))
    .all(onlyMethod('POST'));

  router
    .route('/login/pin')
    .get(visitorsOnly, async (req, res) => {
      const challenge = await openChallenge(req);
      if (challenge === null) return res.redirect(303, '/login');
      showPin(req, res, challenge);
    })
    .post(visitorsOnly, step('check'))
    .all(onlyMethod('POST'));

  router.route('/login/resend').post(visitorsOnly, step('resend')).all(onlyMethod('POST'));

  router
    .route('/logout')
    .post((req, res, next) => {
      req.logout((error) => (error ? next(error) : res.redirect(303, '/')));
    })
    .all(onlyMethod('POST'));

  return router;

  /** One step of the login: the strategy decides, and its outcome becomes a page or the way to the next one. */
  function step(phase: Phase): RequestHandler {
    return (req, res, next) => {
      const settle = async (user: Express.User | false, info: SmsOtpInfo, status = 401) => {
        if (user) return enter(req, res, next, user);
        if (info.code !== 'pin_sent') return showMishap(req, res, { status, phase, info });
        if (phase === 'resend') req.session.notice = 'The PIN is on its way again.';
        res.redirect(303, '/login/pin');
      };
      passport.authenticate(
        'sms-otp',
        { phase },
        (error: unknown, user: Express.User | false, info: SmsOtpInfo, status?: number) => {
          if (error) return next(error);
          settle(user, info, status).catch(next);
        },
      )(req, res, next);
    };
  }

  /** Makes the visitor the user, and leads them to where they wanted to go. */
  function enter(req: Request, res: Response, next: NextFunction, user: Express.User): void {
    // Read before the login: Passport makes a new session.
    const { returnTo = '/account' } = req.session;
    req.logIn(user, (error) => {
      if (error) return next(error);
      delete req.session.returnTo;
      req.session.cookie.maxAge = loginMs;
      knownBrowsers.remember(res, user);
      res.redirect(303, returnTo);
    });
  }

  /** The page of the field that the outcome is about, with the outcome's status. */
  async function showMishap(req: Request, res: Response, mishap: Mishap): Promise<void> {
    const challenge = await openChallenge(req);
    // A PIN whose time is over is open no more, and can still be asked for again.
    const hasPinPage = challenge !== null || mishap.info.code === 'pin_expired';
    if (mishap.phase !== 'issue' && hasPinPage) showPin(req, res, challenge, mishap);
    else showLogin(req, res, mishap, challenge !== null);
  }

  function showLogin(req: Request, res: Response, mishap?: Mishap, pinIsOpen = false): void {
    show(req, res, mishap?.status ?? 200, 'login', {
      phone: typed(req, 'phone'),
      hint: phoneHint(countries),
      problem: mishap?.info.message,
      pinIsOpen,
    });
  }
}

function showPin(req: Request, res: Response, challenge: OpenChallenge | null, mishap?: Mishap): void {
  const { notice } = req.session;
  delete req.session.notice;
  const waitSeconds = challenge ? Math.max(secondsUntil(challenge.resendAt), 0) : 0;
  show(req, res, mishap?.status ?? 200, 'pin', {
    open: challenge && {
      to: challenge.to,
      validFor: duration(wholeMinutes(secondsUntil(challenge.expiresAt))),
      attemptsLeft: countOf(challenge.attemptsRemaining, 'attempt'),
    },
    pin: typed(req, 'pin'),
    notice,
    problem: mishap?.info.message,
    problemAt: mishap && (mishap.phase === 'resend' ? 'resend' : 'pin'),
    waitSeconds,
    wait: duration(waitSeconds),
  });
}

function signedInOnly(req: Request, res: Response, next: NextFunction): void {
  if (req.isAuthenticated()) {
    next();
    return;
  }
  if (isLocalPath(req.originalUrl)) req.session.returnTo = req.originalUrl;
  res.redirect(303, '/login');
}

function visitorsOnly(req: Request, res: Response, next: NextFunction): void {
  if (req.isAuthenticated()) {
    res.redirect(303, '/account');
    return;
  }
  next();
}

/** A path of this site: browsers read `//host` and `/\host` as another one, and drop control characters first. */
function isLocalPath(path: string): boolean {
  return /^\/(?![/\\])\P{Cc}*$/u.test(path);
}

/** What the visitor typed into a field, to be shown again. */
function typed(req: Request, field: string): string {
  const value: unknown = req.body?.[field];
  return typeof value === 'string' ? value.slice(0, 40) : '';
}

function secondsUntil(date: Date): number {
  return Math.ceil((date.getTime() - Date.now()) / 1000);
}

/** What is promised is rounded down; seconds, for the last two minutes, stay as they are. */
function wholeMinutes(seconds: number): number {
  return seconds < 120 ? seconds : seconds - (seconds % 60);
}
