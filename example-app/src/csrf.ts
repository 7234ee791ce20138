import { csrfSync } from 'csrf-sync';

/**
 * The token in every form. It lives in the session, and Passport makes a new session at the login: so does the
 * token.
 */
export const { csrfSynchronisedProtection: requireCsrfToken, generateToken: csrfToken } = csrfSync({
  size: 32,
  getTokenFromRequest: (req) => {
    const token: unknown = req.body?._csrf;
    return typeof token === 'string' ? token : undefined;
  },
});
