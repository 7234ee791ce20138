import { Passport } from 'passport';
import { type CountryCode, type OtpClient, SmsOtpStrategy } from 'passport-sms-otp';
import type { Logger } from 'pino';
import type { Database } from './database.js';
import type { KnownBrowsers } from './known-browsers.js';
import { limitersIn } from './limiters.js';
import { messagesFor } from './messages.js';
import type { Users } from './users.js';

export interface PinService {
  client: OtpClient;
  applicationId: string;
  messageId: string;
}

export interface LoginOptions {
  service: PinService;
  countries: readonly CountryCode[] | 'all';
  /** Keys what the counters know of a number. */
  secret: string;
  publicUrl: URL | undefined;
  database: Database;
  users: Users;
  knownBrowsers: KnownBrowsers;
  log: Logger;
}

export type Login = ReturnType<typeof createLogin>;

/** Passport with the one strategy of this site: whoever can read the PIN is the user with that number. */
export function createLogin({
  service,
  countries,
  secret,
  publicUrl,
  database,
  users,
  knownBrowsers,
  log,
}: LoginOptions) {
  const passport = new Passport();

  passport.use(
    new SmsOtpStrategy(
      {
        client: service.client,
        applicationId: service.applicationId,
        messageId: service.messageId,
        countries,
        limiter: limitersIn(database),
        secret,
        knownBrowser: knownBrowsers.isKnown,
        trustedOrigins: publicUrl ? [publicUrl.origin] : [],
        messages: messagesFor(countries),
        onEvent: (event) => log.info({ event }, event.type),
      },
      async ({ phoneNumber }) => users.findOrCreate(phoneNumber),
    ),
  );

  passport.serializeUser((user, done) => done(null, user.id));
  passport.deserializeUser((id: string, done) => {
    try {
      done(null, users.find(id) ?? false);
    } catch (error) {
      done(error);
    }
  });

  return passport;
}
