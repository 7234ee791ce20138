/** The site of the benchmark of decoys: even numbers can receive a PIN, odd ones cannot. */

import express from 'express';
import session from 'express-session';
import passport from 'passport';
import { SmsOtpStrategy } from '../dist/index.js';
import { Infobip2faClient } from '../dist/infobip/index.js';

const [baseUrl] = process.argv.slice(2);
const client = new Infobip2faClient({ baseUrl, apiKey: 'key' });
const canReceivePin = ({ phoneNumber }) => Number(phoneNumber.at(-1)) % 2 === 0;
const OFF = null;

function strategy(name) {
  const options = {
    name,
    client,
    applicationId: 'A',
    messageId: 'M',
    countries: ['HR'],
    canReceivePin,
    budgets: {
      sendsPerNumber: OFF,
      uncompletedPerClient: OFF,
      sendsOverall: OFF,
      countryCompletion: OFF,
      failuresPerNumber: OFF,
      failedChecksPerClient: OFF,
    },
  };
  return new SmsOtpStrategy(options, () => false);
}

const app = express();
app.use(session({ secret: 'bench', resave: false, saveUninitialized: false }), express.urlencoded());
app.use(passport.initialize());
const answer = (req, res, next, instance, phase) =>
  passport.authenticate(instance, { phase }, (error, _user, info, status) => {
    if (error) next(error);
    else res.status(status).json({ code: info.code });
  })(req, res, next);

const site = strategy('site');
for (const phase of ['issue', 'resend', 'check']) {
  app.post(`/${phase}`, (req, res, next) => answer(req, res, next, site, phase));
}
// As if the process had just been started: nothing is known of the service yet.
let fresh = 0;
app.post('/first', (req, res, next) => {
  fresh += 1;
  answer(req, res, next, strategy(`fresh${fresh}`), 'issue');
});

const server = app.listen(0, '127.0.0.1', () => process.send({ port: server.address().port }));
process.on('disconnect', () => process.exit());
