/** The test that docs/testing.md shows, run as its readers would run it: a file of its own, beside a site of their own. */

import { execFile } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';

const root = new URL('../..', import.meta.url);
// Inside the repository, so that the package is found by its own name.
const folder = new URL('.cache/testing/', root);
const guide = await readFile(new URL('docs/testing.md', root), 'utf8');
const [, shown = ''] = /^```js\n([\s\S]*?)^```$/m.exec(guide) ?? [];

const site = `
import express from 'express';
import session from 'express-session';
import passport from 'passport';
import { SmsOtpStrategy } from 'passport-sms-otp';
import { Infobip2faClient } from 'passport-sms-otp/infobip';

export function createApp({ baseUrl, apiKey, applicationId, messageId }) {
  const own = new passport.Passport();
  const client = new Infobip2faClient({ baseUrl, apiKey });
  own.use(new SmsOtpStrategy({ client, applicationId, messageId, countries: ['HR'] }, async ({ phoneNumber }) => ({ phoneNumber })));
  own.serializeUser((user, done) => done(null, user));
  const app = express();
  app.use(session({ secret: 'test', resave: false, saveUninitialized: false }), express.urlencoded({ extended: false }));
  app.post('/login', own.authenticate('sms-otp', { phase: 'issue', challengeRedirect: '/login/pin' }));
  app.post('/login/pin', own.authenticate('sms-otp', { phase: 'check', successRedirect: '/' }));
  return app;
}
`;

describe('the test in docs/testing.md', () => {
  it('has fewer than 25 lines', () => {
    expect(shown).toContain('startSimulator');
    expect(shown.trim().split('\n').length).toBeLessThan(25);
  });

  it('passes on a site, and fails on one that takes any PIN for wrong', async () => {
    await mkdir(folder, { recursive: true });
    await writeFile(new URL('login.test.js', folder), shown);
    await writeFile(new URL('vitest.config.js', folder), 'export default {};');
    await writeFile(new URL('app.mjs', folder), site);
    expect(await run()).toMatchObject({ failed: 0, passed: 1 });
    await writeFile(new URL('app.mjs', folder), site.replace("'/login/pin', own", "'/elsewhere', own"));
    expect(await run()).toMatchObject({ failed: 1, passed: 0 });
  }, 120_000);
});

async function run(): Promise<{ passed: number; failed: number }> {
  const vitest = fileURLToPath(new URL('node_modules/vitest/vitest.mjs', root));
  const args = [vitest, 'run', '--root', fileURLToPath(folder), '--reporter=json'];
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: fileURLToPath(folder) }).catch(
    (failed: { stdout: string }) => failed,
  );
  const { numPassedTests, numFailedTests } = JSON.parse(stdout.slice(stdout.indexOf('{')));
  return { passed: numPassedTests, failed: numFailedTests };
}
