import express, { type ErrorRequestHandler } from 'express';
import session from 'express-session';
import passport from 'passport';
// @ts-expect-error: it has no types under this name.
import untyped from 'passport-old';
import { SmsOtpStrategy } from 'passport-sms-otp';
import request from 'supertest';
import { expect, it } from 'vitest';
import { fakeClient, PHONE, PIN } from '../support/host.js';

const oldPassport: typeof passport = untyped;
const versions = { 'older than 0.6': oldPassport, 'of today': passport };

// Before 0.6 a login kept the id of the session: somebody who planted it in a browser was signed in with its owner.
it.each([
  ['older than 0.6', true],
  ['older than 0.6', false],
  ['of today', true],
] as const)('a Passport that is %s, initialized or not (%j)', async (version, isInitialized) => {
  const client = fakeClient();
  const own = new versions[version].Passport();
  own.serializeUser((user, done) => done(null, Reflect.get(user, 'id')));
  own.deserializeUser((id: string, done) => done(null, { id }));
  own.use(
    new SmsOtpStrategy({ client, applicationId: 'APP', messageId: 'MSG', countries: ['HR'] }, async () => ({
      id: 'u1',
    })),
  );
  const errors: Error[] = [];
  const app = express();
  app.use(session({ secret: 'a secret for tests only', resave: false, saveUninitialized: true }));
  app.use(express.urlencoded({ extended: false }));
  if (isInitialized) app.use(own.initialize());
  app.use(own.session());
  const phase = (phase: string) =>
    own.authenticate('sms-otp', { phase, challengeRedirect: '/pin' } as object);
  app.post('/login', phase('issue'));
  app.post('/pin', phase('check'), (_req, res) => res.end());
  app.get('/me', (req, res) => res.json({ user: req.user ?? null }));
  app.use(((error, _req, res, _next) => {
    errors.push(error);
    res.status(error.status).end();
  }) satisfies ErrorRequestHandler);

  const planted = String((await request(app).get('/me')).headers['set-cookie']).split(';')[0] ?? '';
  const post = (path: string, form: object) =>
    request(app)
      .post(path)
      .set('Cookie', planted)
      .set('Sec-Fetch-Site', 'same-origin')
      .type('form')
      .send(form);
  const issued = await post('/login', { phone: PHONE });
  const checked = await post('/pin', { pin: PIN });
  const { body } = await request(app).get('/me').set('Cookie', planted);
  expect(body.user).toBeNull();
  if (version === 'of today') {
    expect([issued.status, checked.status, errors]).toEqual([303, 200, []]);
  } else {
    expect([issued.status, checked.status]).toEqual([500, 500]);
    expect(errors[0]?.message).toContain('older than 0.6');
    expect(client.sends).toEqual([]);
  }
});
