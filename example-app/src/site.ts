import { fileURLToPath } from 'node:url';
import express, { type Express } from 'express';
import type { Logger } from 'pino';
import { requireCsrfToken } from './csrf.js';
import { answers, type Database } from './database.js';
import { createKnownBrowsers } from './known-browsers.js';
import { logRequests } from './log.js';
import { createLogin, type PinService } from './login.js';
import { notFound, showProblem } from './problems.js';
import { routes } from './routes.js';
import { deriveSecret } from './secrets.js';
import { readForm, securityHeaders, sessions } from './security.js';
import { SqliteSessionStore } from './session-store.js';
import type { Settings } from './settings.js';
import { usersIn } from './users.js';

export interface SiteOptions {
  settings: Pick<Settings, 'countries' | 'publicUrl' | 'trustProxy'>;
  /** Signs the session cookie. */
  sessionSecret: string;
  service: PinService;
  database: Database;
  log: Logger;
}

const publicFolder = fileURLToPath(new URL('../public', import.meta.url));

/** The whole site: what every request passes through, in order. */
export function createSite({ settings, sessionSecret, service, database, log }: SiteOptions): Express {
  const { countries, publicUrl, trustProxy } = settings;
  const https = publicUrl?.protocol === 'https:';
  const users = usersIn(database);
  const knownBrowsers = createKnownBrowsers({
    secret: deriveSecret(sessionSecret, 'known browsers'),
    https,
    users,
  });
  const passport = createLogin({
    service,
    countries,
    secret: deriveSecret(sessionSecret, 'sms-otp limiter keys'),
    publicUrl,
    database,
    users,
    knownBrowsers,
    log,
  });

  const site = express();
  site.set('trust proxy', trustProxy);
  if (https) site.use(believeHttps);
  site.use(logRequests(log));
  site.use(securityHeaders({ https }));
  site.use(express.static(publicFolder, { index: false, maxAge: '1h' }));
  site.get('/healthz', (_req, res) => {
    const healthy = answers(database);
    res
      .status(healthy ? 200 : 503)
      .set('Cache-Control', 'no-store')
      .json({ status: healthy ? 'ok' : 'down' });
  });
  site.use(readForm);
  site.use(sessions({ secret: sessionSecret, store: new SqliteSessionStore(database), https }));
  site.use(passport.session());
  site.use(requireCsrfToken);
  site.use(routes({ passport, knownBrowsers, countries }));
  site.use(notFound);
  site.use(showProblem);
  return site;
}

/**
 * The site itself speaks plain http; where its public address is https, the proxy in front of it does the rest, and
 * `Secure` cookies may go out whether or not it says so in a header that we trust.
 */
const believeHttps: express.RequestHandler = (req, _res, next) => {
  Object.defineProperty(req, 'protocol', { value: 'https' });
  next();
};
