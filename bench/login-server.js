/** A site in a process of its own, for bench/login.js: Express, express-session and one way to log in by PIN. */

import express from 'express';
import session from 'express-session';
import { parsePhoneNumberFromString } from 'libphonenumber-js/max';
import passport from 'passport';
import { SmsOtpStrategy } from 'passport-sms-otp';
import PassportStrategy from 'passport-strategy';
import { RateLimiterMemory } from 'rate-limiter-flexible';

let pins = 0;
// The PIN service answers at once: only the site's own work is measured.
const client = {
  async sendPin() {
    pins += 1;
    return { pinId: `PIN-${pins}`, sent: true };
  },
  async resendPin(pinId) {
    return { pinId, sent: true };
  },
  async verifyPin(pinId) {
    return { verified: true, pinId, msisdn: '' };
  },
};

/** What a careful afternoon writes: the same two steps, with none of the guards. */
class ByHand extends PassportStrategy {
  name = 'sms-otp';

  authenticate(req, { phase, challengeRedirect }) {
    const act = phase === 'issue' ? this.issue(req, challengeRedirect) : this.check(req);
    act.catch((error) => this.error(error));
  }

  async issue(req, challengeRedirect) {
    const { phone } = req.body;
    if (!/^\+\d{8,15}$/.test(phone)) return this.fail({ message: 'invalid' }, 400);
    const { pinId } = await client.sendPin({ to: phone });
    req.session.otp = { pinId, phone };
    req.session.save((error) => (error ? this.error(error) : this.redirect(challengeRedirect, 303)));
  }

  async check(req) {
    const { otp } = req.session;
    if (!otp) return this.fail({ message: 'none' }, 401);
    const { verified } = await client.verifyPin(otp.pinId, req.body.pin);
    if (!verified) return this.fail({ message: 'wrong' }, 401);
    delete req.session.otp;
    this.success({ phoneNumber: otp.phone }, {});
  }
}

const limiter = (keyPrefix, points, duration) => new RateLimiterMemory({ keyPrefix, points, duration });

/** The same with the guards that tutorials name: a real number, four limits on sends, attempts, a new session id. */
class ByTutorial extends ByHand {
  cooldown = limiter('cooldown', 1, 30);
  perNumber = limiter('number', 5, 3600);
  perClient = limiter('client', 1e9, 3600);
  overall = limiter('overall', 1e9, 3600);
  attempts = limiter('attempts', 5, 600);

  async issue(req, challengeRedirect) {
    const phone = parsePhoneNumberFromString(String(req.body.phone));
    if (!phone?.isValid() || phone.getType() === 'PREMIUM_RATE')
      return this.fail({ message: 'invalid' }, 400);
    try {
      await this.cooldown.consume(phone.number);
      await Promise.all([
        this.perNumber.consume(phone.number),
        this.perClient.consume(req.ip),
        this.overall.consume('all'),
      ]);
    } catch {
      return this.fail({ message: 'too many' }, 429);
    }
    return super.issue(req, challengeRedirect);
  }

  async check(req) {
    if (!req.session.otp) return this.fail({ message: 'none' }, 401);
    try {
      await this.attempts.consume(req.session.otp.pinId);
    } catch {
      return this.fail({ message: 'too many' }, 429);
    }
    return super.check(req);
  }
}

const strategies = {
  ours: () =>
    new SmsOtpStrategy(
      {
        client,
        applicationId: 'APP',
        messageId: 'MSG',
        countries: 'all',
        // The load comes from one address and never stops: what it may do is not the question here.
        budgets: {
          uncompletedPerClient: [{ points: 1e9, duration: 3600 }],
          sendsOverall: [{ points: 1e9, duration: 3600 }],
        },
      },
      async ({ phoneNumber }) => ({ phoneNumber }),
    ),
  'by hand': () => new ByHand(),
  'by tutorial': () => new ByTutorial(),
};

passport.use(strategies[process.argv[2]]());
passport.serializeUser((user, done) => done(null, user));
passport.deserializeUser((user, done) => done(null, user));

const app = express();
app.use(session({ secret: 'bench', resave: false, saveUninitialized: false }));
app.use(express.urlencoded({ extended: false }), passport.session());
app.post('/login', passport.authenticate('sms-otp', { phase: 'issue', challengeRedirect: '/login/pin' }));
app.post('/login/pin', passport.authenticate('sms-otp', { phase: 'check', successRedirect: '/' }));
const server = app.listen(0, '127.0.0.1', () => process.send({ port: server.address().port }));

let before = process.cpuUsage();
process.on('SIGINT', () => process.exit());
process.on('message', (message) => {
  if (message === 'start') before = process.cpuUsage();
  const { user, system } = process.cpuUsage(before);
  process.send({ cpuMicroseconds: user + system });
});
