/** The site of docs/second-factor.md, put together from the page as its readers would, and used as theirs would. */

import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Infobip2faClient } from 'passport-sms-otp/infobip';
import { type Simulator, startSimulator } from 'passport-sms-otp/simulator';
import request from 'supertest';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freePort } from '../support/ports.js';

const root = new URL('../..', import.meta.url);
// Inside the repository, so that the package is found by its own name.
const folder = new URL('.cache/second-factor/', root);
const guide = await readFile(new URL('docs/second-factor.md', root), 'utf8');

/** The page's code, by the word behind the fence. */
const code = new Map(
  [...guide.matchAll(/^```js ([\w-]+)\n([\s\S]*?)^```$/gm)].map(([, name = '', text = '']) => [name, text]),
);

function fence(name: string): string {
  const text = code.get(name);
  if (text === undefined) throw new Error(`the guide has no code called ${name}`);
  return text;
}

/** "In the place of": the code without the statement that starts so. */
function without(text: string, start: string): string {
  const lines = text.split('\n');
  const first = lines.findIndex((line) => line.startsWith(start));
  if (first < 0) throw new Error(`the guide has no statement ${start}`);
  const length = lines.slice(first).findIndex((line) => line.endsWith(');')) + 1;
  return lines.toSpliced(first, length).join('\n');
}

const passwordRoute = "app.post('/login',";
// As Passport's own tutorial has it: the session's user is what was there at the login, and not all of it.
const thin = fence('before').replace(
  'done(null, user ?? false)).catch(done);',
  'done(null, user ? { id: user.id, username: user.username } : false)).catch(done);',
);
const sites = {
  before: fence('before'),
  after: [
    without(fence('before'), passwordRoute),
    ...['strategy', 'login', 'pin', 'phone', 'step-up', 'new-number', 'passwordless'].map(fence),
  ].join('\n'),
  everything: [
    without(thin, passwordRoute),
    without(fence('strategy'), "passport.use(new SmsOtpStrategy({ ...infobip, name: 'second-factor'"),
    fence('channels'),
    without(fence('login'), passwordRoute),
    without(fence('pin'), "app.post('/login/pin',"),
    ...['phone', 'step-up'].map(fence),
    without(fence('new-number'), "app.post('/phone/pin',"),
    ...['passwordless', 'trusted'].map(fence),
  ].join('\n'),
};

const declarations = `
declare global {
  namespace Express {
    interface User { id: string; username: string; phoneNumber?: string; email?: string; hasPassword?: boolean }
  }
}
declare module 'express-session' { interface SessionData { messages?: string[] } }
type Found = Promise<Express.User | undefined>;
export const users: {
  find(id: string): Found;
  check(username: string, password: string): Found;
  findByPhoneNumber(phoneNumber: string): Found;
  setPhoneNumber(id: string, phoneNumber: string): Found;
};
`;
// The site's clock, to be moved from here.
const clock = `
const Real = Date;
let offset = 0;
globalThis.Date = class extends Real {
  constructor(...args) { args.length === 0 ? super(Real.now() + offset) : super(...args); }
  static now() { return Real.now() + offset; }
};
process.on('message', (ms) => { offset += ms; process.send('moved'); });
process.channel?.unref();
`;

const file = (name: string) => fileURLToPath(new URL(name, folder));

let simulator: Simulator;
let emailMessageId: string;
beforeAll(async () => {
  await mkdir(folder, { recursive: true });
  await Promise.all([
    writeFile(file('users.mjs'), fence('users')),
    writeFile(file('users.d.mts'), declarations),
    writeFile(file('clock.js'), clock),
    ...Object.entries(sites).map(([name, text]) => writeFile(file(`${name}.mjs`), text)),
  ]);
  simulator = await startSimulator({ emailTemplates: { '1': 'Your PIN is {$pin}' } });
  const client = new Infobip2faClient({ baseUrl: simulator.url, apiKey: simulator.apiKey });
  const template = await client.createEmailMessageTemplate(simulator.applicationId, {
    emailTemplateId: 1,
    from: 'Harbour <login@harbour.example>',
    pinLength: 6,
    pinType: 'NUMERIC',
  });
  emailMessageId = template.messageId;
  await client.close();
});
afterAll(() => simulator?.close());

interface RunningSite {
  visitor(): Visitor;
  later(seconds: number): Promise<void>;
  stop(): void;
}

interface Visitor {
  get(path: string): request.Test;
  post(path: string, form?: object): request.Test;
  /** Who the start page greets, or where it sends the visitor. */
  whoAmI(): Promise<string>;
}

async function run(name: keyof typeof sites): Promise<RunningSite> {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const site: ChildProcess = spawn(process.execPath, ['--import', `./clock.js`, `${name}.mjs`], {
    cwd: file('.'),
    env: {
      ...process.env,
      PORT: String(port),
      SESSION_SECRET: 'for tests only',
      TRUST_SECRET: 'for tests only, thirty-two or more',
      INFOBIP_BASE_URL: simulator.url,
      INFOBIP_API_KEY: simulator.apiKey,
      INFOBIP_APPLICATION_ID: simulator.applicationId,
      INFOBIP_MESSAGE_ID: simulator.messageId,
      INFOBIP_EMAIL_MESSAGE_ID: emailMessageId,
    },
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  await answering(url, site);
  return {
    visitor() {
      const agent = request.agent(url);
      const get = (path: string) => agent.get(path).set('Accept', 'text/html');
      return {
        get,
        post: (path, form = {}) =>
          agent
            .post(path)
            .set('Sec-Fetch-Site', 'same-origin')
            .set('Accept', 'text/html')
            .set('User-Agent', 'Firefox')
            .type('form')
            .send(form),
        async whoAmI() {
          const { text, headers } = await get('/');
          return /Hello (\w+)/.exec(text)?.[1] ?? headers.location ?? text;
        },
      };
    },
    async later(seconds) {
      const moved = new Promise((resolve) => site.once('message', resolve));
      site.send(seconds * 1000);
      await moved;
      simulator.advance(seconds * 1000);
    },
    stop: () => site.kill(),
  };
}

async function answering(address: string, site: ChildProcess): Promise<void> {
  for (let tries = 0; tries < 200 && site.exitCode === null; tries += 1) {
    const answered = await fetch(address).then(
      () => true,
      () => false,
    );
    if (answered) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error('the site does not answer');
}

/** Where an answer sends the browser. */
const to = ({ status, headers, text }: request.Response): string =>
  status === 302 || status === 303 ? String(headers.location) : `${status} ${text}`;

const pinOf = (recipient: string) => simulator.lastMessageTo(recipient)?.pin;
const wrongPin = (recipient: string) => (pinOf(recipient) === '000000' ? '111111' : '000000');

const ALICE = { username: 'alice', password: 'wonderland' };
const BOB = { username: 'bob', password: 'builder' };
const CAROL = { username: 'carol', password: 'christmas' };
const ALICES = '+385911234567';
const BOBS = '+385912222222';
const CAROLS = '+385913333333';

describe('the guide to the second factor', () => {
  it('is tried with a deserializer that gives less than the row, too', () => {
    expect(sites.everything).toContain('{ id: user.id, username: user.username } : false');
  });

  it('uses each piece of its code in one of the sites that are run here', () => {
    const fences = [...guide.matchAll(/^```(\w+)?(.*)$/gm)].filter(([, language]) => language);
    expect(fences.filter(([, language]) => language === 'js').length).toBe(code.size);
    for (const [name, text] of code) {
      const statement = text.trim().split('\n').at(-1) ?? '';
      const used = Object.values(sites).some((site) => site.includes(statement));
      expect(used, name).toBe(true);
    }
  });

  it('type-checks, and a misspelt option in it would not', async () => {
    const misspelt = sites.after.replace("challengeRedirect: '/login/pin'", "chalengeRedirect: '/login/pin'");
    expect(misspelt).not.toBe(sites.after);
    await writeFile(file('misspelt.mjs'), misspelt);
    const compilerOptions = {
      allowJs: true,
      checkJs: true,
      strict: false,
      noEmit: true,
      module: 'nodenext',
      target: 'es2023',
      types: ['node'],
      skipLibCheck: true,
    };
    const files = [...Object.keys(sites).map((name) => `${name}.mjs`), 'misspelt.mjs'];
    await writeFile(file('tsconfig.json'), JSON.stringify({ compilerOptions, files }));
    const tsc = fileURLToPath(new URL('node_modules/typescript/bin/tsc', root));
    const { stdout } = await promisify(execFile)(process.execPath, [tsc, '-p', file('.')], {
      cwd: file('.'),
    }).catch((failed: { stdout: string }) => failed);
    const complaints = stdout.split('\n').filter((line) => line.includes('error TS'));
    expect(complaints).toHaveLength(1);
    expect(complaints[0]).toMatch(/^misspelt\.mjs/);
    expect(stdout).toContain("'chalengeRedirect' does not exist");
  }, 120_000);
});

describe('the site before', () => {
  it('signs in by the password alone', async () => {
    const site = await run('before');
    try {
      const visitor = site.visitor();
      expect(to(await visitor.post('/login', ALICE))).toBe('/');
      expect(await visitor.whoAmI()).toBe('alice');
    } finally {
      site.stop();
    }
  });
});

describe.each(['after', 'everything'] as const)('the site with a second factor (%s)', (name) => {
  let site: RunningSite;
  beforeAll(async () => {
    site = await run(name);
  });
  afterAll(() => site?.stop());

  it('signs nobody in by the password, and the right user by the PIN', async () => {
    const visitor = site.visitor();
    expect(to(await visitor.post('/login', { ...ALICE, password: 'x' }))).toBe('/login');
    expect(to(await visitor.post('/login', ALICE))).toBe('/login/pin');
    expect(await visitor.whoAmI()).toBe('/login');
    expect((await visitor.get('/login/pin')).text).toContain('sent to \u2022\u2022\u2022 67');
    expect(to(await visitor.post('/login/pin', { pin: wrongPin(ALICES) }))).toBe('/login/pin');
    expect((await visitor.get('/login/pin')).text).toContain('Wrong PIN. You can try 4 more times');
    expect(await visitor.whoAmI()).toBe('/login');
    expect(to(await visitor.post('/login/resend', { channel: 'sms' }))).toBe('/login/pin');
    expect((await visitor.get('/login/pin')).text).toContain('Too many requests');
    await site.later(31);
    expect(to(await visitor.post('/login/resend', { channel: 'sms' }))).toBe('/login/pin');
    expect(to(await visitor.post('/login/pin', { pin: pinOf(ALICES) }))).toBe('/');
    expect(await visitor.whoAmI()).toBe('alice');
    await site.later(31);
  });

  it('does nothing for a form of another site, whoever it would sign in', async () => {
    const visitor = site.visitor();
    for (const who of [ALICE, CAROL]) {
      const answer = await visitor.post('/login', who).set('Sec-Fetch-Site', 'cross-site');
      expect([answer.status, answer.headers['set-cookie']]).toEqual([403, undefined]);
      expect(await visitor.whoAmI()).toBe('/login');
    }
  });

  it('signs in who has no number yet, asks for one, and for its PIN at the next login', async () => {
    const visitor = site.visitor();
    expect(to(await visitor.post('/login', CAROL))).toBe('/phone');
    expect((await visitor.get('/phone')).text).toContain('Your number');
    expect(to(await visitor.post('/phone', { phone: '+43660123456' }))).toBe('/phone');
    expect((await visitor.get('/phone')).text).toContain(
      'do not send PINs to numbers of this country or kind',
    );
    expect(to(await visitor.post('/phone', { phone: CAROLS }))).toBe('/phone/pin');
    expect((await visitor.get('/phone/pin')).text).toContain('\u2022\u2022\u2022 33');
    expect(to(await visitor.post('/phone/pin', { pin: wrongPin(CAROLS) }))).toBe('/phone/pin');
    expect(to(await visitor.post('/phone/pin', { pin: pinOf(CAROLS) }))).toBe('/');
    expect(await visitor.whoAmI()).toBe('carol');
    await site.later(31);
    const next = site.visitor();
    expect(to(await next.post('/login', CAROL))).toBe('/login/pin');
    expect(to(await next.post('/login/pin', { pin: pinOf(CAROLS) }))).toBe('/');
    expect(await next.whoAmI()).toBe('carol');
    // And nobody enrols another number over it without a PIN of this one.
    expect(to(await next.post('/phone', { phone: '+385915555555' }))).toMatch(/^403/);
    expect(to(await next.get('/phone'))).toBe('/confirm');
    await site.later(31);
  });

  it('asks for a fresh PIN before a transfer, and leads there and back', async () => {
    const visitor = site.visitor();
    expect(to(await visitor.get('/transfer'))).toBe('/login');
    await visitor.post('/login', BOB);
    await visitor.post('/login/pin', { pin: pinOf(BOBS) });
    expect(to(await visitor.get('/transfer'))).toBe('/confirm');
    expect(to(await visitor.post('/transfer'))).toMatch(/^403/);
    expect(to(await visitor.post('/confirm'))).toBe('/confirm/pin');
    expect((await visitor.get('/confirm/pin')).text).toContain('\u2022\u2022\u2022 22');
    expect(to(await visitor.post('/confirm/pin', { pin: pinOf(BOBS) }))).toBe('/transfer');
    expect((await visitor.post('/transfer')).text).toContain('Sent');
    await site.later(301);
    expect(to(await visitor.post('/transfer'))).toMatch(/^403/);
    expect(to(await visitor.get('/transfer'))).toBe('/confirm');
    expect(await visitor.whoAmI()).toBe('bob');
  });

  it('takes a new number once the old one and the new one are proved', async () => {
    const visitor = site.visitor();
    await visitor.post('/login', BOB);
    await visitor.post('/login/pin', { pin: pinOf(BOBS) });
    expect(to(await visitor.get('/phone'))).toBe('/confirm');
    await visitor.post('/confirm');
    expect(to(await visitor.post('/confirm/pin', { pin: pinOf(BOBS) }))).toBe('/phone');
    expect(to(await visitor.post('/phone', { phone: '091 666 6666' }))).toBe('/phone');
    expect(to(await visitor.post('/phone', { phone: '+385 91 666 6666' }))).toBe('/phone/pin');
    expect(to(await visitor.post('/phone/pin', { pin: pinOf('+385916666666') }))).toBe('/');
    expect(await visitor.whoAmI()).toBe('bob');
    await site.later(31);
    const next = site.visitor();
    await next.post('/login', BOB);
    expect((await next.get('/login/pin')).text).toContain('\u2022\u2022\u2022 66');
  });

  it('lets nobody in by phone alone whose second factor that phone is', async () => {
    const alice = site.visitor();
    expect(to(await alice.post('/phone-login', { phone: ALICES }))).toBe('/phone-login/pin');
    expect(to(await alice.post('/phone-login/pin', { pin: pinOf(ALICES) }))).toBe('/login');
    expect(await alice.whoAmI()).toBe('/login');
    const dave = site.visitor();
    await dave.post('/phone-login', { phone: '+385914444444' });
    expect(to(await dave.post('/phone-login/pin', { pin: pinOf('+385914444444') }))).toBe('/');
    expect(await dave.whoAmI()).toBe('dave');
  });
});

describe('the site with everything', () => {
  let site: RunningSite;
  beforeAll(async () => {
    simulator.advance(86_400_000);
    site = await run('everything');
  });
  afterAll(() => site?.stop());

  it('calls, or sends a mail, where the message does not arrive', async () => {
    const visitor = site.visitor();
    await visitor.post('/login', ALICE);
    const offered = (await visitor.get('/login/pin')).text;
    for (const channel of ['sms', 'voice', 'email']) expect(offered).toContain(`value="${channel}"`);
    const [message] = simulator.messages.slice(-1);
    await site.later(31);
    expect(to(await visitor.post('/login/resend', { channel: 'voice' }))).toBe('/login/pin');
    expect(simulator.lastMessageTo(ALICES)).toMatchObject({ channel: 'voice', pin: message?.pin });
    await site.later(31);
    expect(to(await visitor.post('/login/resend', { channel: 'email' }))).toBe('/login/pin');
    expect((await visitor.get('/login/pin')).text).toContain('a\u2022\u2022\u2022@example.com');
    expect(to(await visitor.post('/login/pin', { pin: pinOf('alice@example.com'), remember: 'on' }))).toBe(
      '/',
    );
    expect(await visitor.whoAmI()).toBe('alice');
    // A PIN by mail makes no trusted browser.
    expect((await visitor.get('/browsers')).body).toEqual([]);
    await site.later(31);
  });

  it('does not ask again in a browser that was remembered, until the user forgets it', async () => {
    const visitor = site.visitor();
    await visitor.post('/login', ALICE);
    await visitor.post('/login/pin', { pin: pinOf(ALICES), remember: 'on' });
    await site.later(31);
    // Not while somebody is signed in: the password signs out first.
    expect(to(await visitor.post('/login', ALICE))).toBe('/login/pin');
    expect(await visitor.whoAmI()).toBe('/login');
    expect(to(await visitor.post('/login', ALICE))).toBe('/');
    expect(await visitor.whoAmI()).toBe('alice');
    expect(to(await visitor.get('/transfer'))).toBe('/confirm');
    const [browser] = (await visitor.get('/browsers')).body;
    expect(browser).toMatchObject({ label: 'Firefox', isThisOne: true });
    expect(to(await visitor.post('/browsers/forget', { id: browser.id }))).toBe('/browsers');
    expect((await visitor.get('/browsers')).body).toEqual([]);
    const { headers } = await visitor.post('/login', ALICE);
    expect(headers.location).not.toBe('/');
    await site.later(31);
  });

  it('forgets all browsers with a new number', async () => {
    const [visitor, other] = [site.visitor(), site.visitor()];
    await other.post('/login', BOB);
    await other.post('/login/pin', { pin: pinOf(BOBS), remember: 'on' });
    await site.later(31);
    await visitor.post('/login', BOB);
    await visitor.post('/login/pin', { pin: pinOf(BOBS) });
    await visitor.post('/confirm');
    await visitor.post('/confirm/pin', { pin: pinOf(BOBS) });
    expect((await visitor.get('/browsers')).body).toHaveLength(1);
    await visitor.post('/phone', { phone: '+385917777777' });
    expect(to(await visitor.post('/phone/pin', { pin: pinOf('+385917777777') }))).toBe('/');
    expect((await visitor.get('/browsers')).body).toEqual([]);
  });
});
