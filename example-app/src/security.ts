import { randomBytes } from 'node:crypto';
import express, { type RequestHandler } from 'express';
import session, { type Store } from 'express-session';
import helmet from 'helmet';
import { HttpProblem } from './problems.js';

const dayMs = 24 * 60 * 60 * 1000;

/** Visitors who have not logged in: long enough to find the phone, short enough to leave no rows behind. */
const visitMs = dayMs;
/** From the last visit on. A login costs a message, so it is kept for a while. */
export const loginMs = 30 * dayMs;

/** Security headers. There is no script in a page, and one `<style>` that a nonce lets pass. */
export function securityHeaders({ https }: { https: boolean }): RequestHandler[] {
  const makeNonce: RequestHandler = (_req, res, next) => {
    res.locals.nonce = randomBytes(16).toString('base64url');
    next();
  };
  const headers = helmet({
    contentSecurityPolicy: {
      useDefaults: false,
      directives: {
        defaultSrc: ["'none'"],
        scriptSrc: ["'self'"],
        styleSrc: [
          "'self'",
          (_req, res) => `'nonce-${'locals' in res ? (res as express.Response).locals.nonce : ''}'`,
        ],
        imgSrc: ["'self'"],
        formAction: ["'self'"],
        frameAncestors: ["'none'"],
        baseUri: ["'none'"],
        // No `upgrade-insecure-requests`: over plain http, on a phone in the same network, no form could be posted.
      },
    },
    // With helmet's `no-referrer` browsers send `Origin: null` with our own forms, and the strategy refuses them.
    referrerPolicy: { policy: 'same-origin' },
    strictTransportSecurity: https ? { maxAge: 180 * 24 * 60 * 60 } : false,
    frameguard: { action: 'deny' },
  });
  return [makeNonce, headers];
}

/** The session and its cookie, which scripts, other sites and (over https) subdomains cannot read or set. */
export function sessions({ secret, store, https }: { secret: string; store: Store; https: boolean }) {
  return session({
    name: https ? '__Host-skerry' : 'skerry',
    secret,
    store,
    resave: false,
    saveUninitialized: false,
    rolling: true,
    cookie: { path: '/', httpOnly: true, sameSite: 'lax', secure: https, maxAge: visitMs },
  });
}

const parseForm = express.urlencoded({ extended: false, limit: '8kb', parameterLimit: 20 });

/** Reads a form of a few short fields. Anything else that is posted is refused before it is read. */
export const readForm: RequestHandler = (req, res, next) => {
  // `is` says null where there is no body, and false where it is something else.
  if (req.method === 'POST' && req.is('application/x-www-form-urlencoded') === false) {
    next(new HttpProblem(415));
    return;
  }
  parseForm(req, res, next);
};
