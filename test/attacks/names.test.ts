/** Two strategies that were given one name by mistake: `passport.use('second', strategy)` leaves the strategy's own. */

import express from 'express';
import session from 'express-session';
import passport from 'passport';
import { SmsOtpStrategy, type SmsOtpStrategyOptions } from 'passport-sms-otp';
import request from 'supertest';
import { expect, it } from 'vitest';
import { fakeClient, OTHER_PHONE, PHONE, PIN } from '../support/host.js';

const ADMIN = { id: 'admin', phoneNumber: PHONE };

const kinds: Record<string, object> = {
  login: { countries: ['HR'] },
  second: { recipient: () => ({ phoneNumber: PHONE, subject: ADMIN.id }) },
  number: { countries: ['HR'], subject: () => ADMIN.id },
};

/** A site whose strategies have names of Passport's, and one name of their own. Each verify lets everybody in as admin. */
function site() {
  const own = new passport.Passport();
  own.serializeUser((user, done) => done(null, user));
  own.deserializeUser((user: Express.User, done) => done(null, user));
  const app = express();
  app.use(session({ secret: 'a secret for tests only', resave: false, saveUninitialized: false }));
  app.use(express.urlencoded({ extended: false }), own.session());
  for (const [kind, options] of Object.entries(kinds)) {
    const all: object = { client: fakeClient(), applicationId: 'APP', messageId: 'MSG', ...options };
    own.use(kind, new SmsOtpStrategy(all as SmsOtpStrategyOptions, async () => ADMIN));
    for (const [path, phase] of Object.entries({ '': 'issue', '/resend': 'resend', '/pin': 'check' })) {
      app.post(`/${kind}${path}`, own.authenticate(kind, { phase } as object), (_req, res) => void res.end());
    }
  }
  return request.agent(app);
}

const pairs = Object.keys(kinds).flatMap((sent) => Object.keys(kinds).map((typed) => [sent, typed]));

it.each(pairs)(
  'a PIN that was sent by the strategy %s opens %s only where they are one',
  async (sent, typed) => {
    const browser = site();
    const post = (path: string, form: object) => browser.post(path).type('form').send(form);
    expect((await post(`/${sent}`, { phone: OTHER_PHONE })).status).toBe(202);
    if (sent !== typed) expect((await post(`/${typed}/resend`, {})).status).toBe(401);
    const { status } = await post(`/${typed}/pin`, { pin: PIN });
    expect(status).toBe(sent === typed ? 200 : 401);
  },
);
