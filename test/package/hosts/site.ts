// An Express site as its author would write it, with a user type of its own.

import express, { type ErrorRequestHandler, type RequestHandler } from 'express';
import session from 'express-session';
import passport from 'passport';
import { openChallenge, requireSmsOtp, type SmsOtpInfo, SmsOtpStrategy, Strategy } from 'passport-sms-otp';
import { Infobip2faClient, InfobipError, setUp2fa } from 'passport-sms-otp/infobip';
import { type Simulator, startSimulator } from 'passport-sms-otp/simulator';

declare global {
  namespace Express {
    interface User {
      id: string;
      phoneNumber: string;
    }
  }
}

declare const users: {
  get(id: string): Promise<Express.User | undefined>;
  findOrCreate(found: { phoneNumber: string }): Promise<Express.User>;
  setPhoneNumber(id: string, phoneNumber: string): Promise<Express.User>;
};

const client = new Infobip2faClient({ baseUrl: 'example.api.infobip.com', apiKey: 'key' });
const application = { client, applicationId: 'A', messageId: 'M' };

passport.use(
  new SmsOtpStrategy({ ...application, countries: ['HR', 'SI'] }, async ({ phoneNumber }) =>
    users.findOrCreate({ phoneNumber }),
  ),
);

// The second factor: the host's user reaches the resolver, and verify gives one back.
passport.use(
  'second-factor',
  new Strategy<express.Request>(
    {
      ...application,
      name: 'second-factor',
      recipient: ({ user }) => (user ? { phoneNumber: user.phoneNumber, subject: user.id } : null),
      messages: (code, _details, { path }) => (code === 'pin_wrong' ? `Wrong at ${path}` : undefined),
      onEvent: ({ type, at }) => console.log(type, new Date(at)),
    },
    async ({ subject, phoneNumber, req }) => {
      const user = await users.get(subject);
      return user?.phoneNumber === phoneNumber && req.path !== '' ? user : false;
    },
  ),
);

// Enrolment: who it is and the number are both known, and no annotation is needed to say so.
passport.use(
  new SmsOtpStrategy(
    {
      ...application,
      name: 'new-number',
      countries: ['HR'],
      signedIn: true,
      subject: ({ user }) => user?.id ?? null,
    },
    ({ subject, phoneNumber }) => users.setPhoneNumber(subject, phoneNumber),
  ),
);

// Without naming a type of request, the user is the host's all the same.
passport.use(
  'step-up',
  new SmsOtpStrategy(
    {
      ...application,
      name: 'step-up',
      signedIn: true,
      recipient: ({ user }) => (user ? { phoneNumber: user.phoneNumber, subject: user.id } : null),
    },
    async ({ subject, req }) => (req.user?.id === subject ? (req.user ?? false) : false),
  ),
);

// @ts-expect-error a user that is not the host's
passport.use(new Strategy({ ...application, countries: 'all' }, () => ({ email: 'a@example.com' })));

// The callback style.
passport.use(
  new Strategy({ ...application, countries: 'all' }, ({ phoneNumber }, done) => {
    users.findOrCreate({ phoneNumber }).then((user) => done(null, user), done);
  }),
);

const app = express();
app.use(session({ secret: 'secret', resave: false, saveUninitialized: false }));
app.use(passport.session());

app.post(
  '/login',
  passport.authenticate('sms-otp', {
    phase: 'issue',
    challengeRedirect: '/login/pin',
    failureRedirect: '/login',
  }),
);
app.post('/login/json', (req, res, next) => {
  const answer = (error: unknown, user?: Express.User | false | null, info?: SmsOtpInfo) => {
    if (error) return next(error);
    if (user) return req.logIn(user, next);
    res.json(info?.code === 'pin_sent' ? { expiresAt: info.expiresAt } : { code: info?.code });
  };
  passport.authenticate('sms-otp', { phase: 'check' }, answer)(req, res, next);
});
app.get('/login/pin', async (req, res) => {
  const open = await openChallenge(req);
  if (open === null) return res.redirect('/login');
  return res.send(`${open.to} until ${open.expiresAt.toISOString()}, ${open.attemptsRemaining} left`);
});
const payout: RequestHandler = (req, res) => {
  res.send(req.user?.phoneNumber);
};
app.post('/payout', requireSmsOtp({ maxAgeSeconds: 300, channels: ['sms'], redirectTo: '/confirm' }), payout);

const onError: ErrorRequestHandler = (error: unknown, _req, res, _next) => {
  res.status(error instanceof InfobipError && error.code === 'ERR_INFOBIP_TIMEOUT' ? 503 : 500).end();
};
app.use(onError);

export async function inTests(): Promise<string | undefined> {
  const simulator: Simulator = await startSimulator({ port: 0 });
  await setUp2fa(client, { applicationName: 'Site', sms: { text: 'Your PIN is {{pin}}' } });
  return simulator.lastMessageTo('+385911234567')?.pin;
}
