/** The quick start, cut out of README.md as its readers would copy it. */

import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { type Simulator, startSimulator } from 'passport-sms-otp/simulator';
import request from 'supertest';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freePort } from './support/ports.js';

const root = new URL('..', import.meta.url);
// Inside the repository, so that the package is found by its own name.
const folder = new URL('.cache/readme/', root);
const readme = await readFile(new URL('README.md', root), 'utf8');
const quickStart = /^## Quick start$[\s\S]*?^```js\n([\s\S]*?)^```$/m.exec(readme)?.[1] ?? '';

let simulator: Simulator;
let site: ChildProcess;
let url: string;

beforeAll(async () => {
  await mkdir(folder, { recursive: true });
  await writeFile(new URL('app.mjs', folder), quickStart);
  simulator = await startSimulator();
  const port = await freePort();
  url = `http://127.0.0.1:${port}`;
  site = spawn(process.execPath, [fileURLToPath(new URL('app.mjs', folder))], {
    env: {
      ...process.env,
      PORT: String(port),
      INFOBIP_BASE_URL: simulator.url,
      INFOBIP_API_KEY: simulator.apiKey,
      INFOBIP_APPLICATION_ID: simulator.applicationId,
      INFOBIP_MESSAGE_ID: simulator.messageId,
    },
    stdio: 'inherit',
  });
  await answering(url);
});

afterAll(async () => {
  site?.kill();
  await simulator?.close();
});

async function answering(address: string): Promise<void> {
  for (let tries = 0; tries < 200; tries += 1) {
    if (
      await fetch(address).then(
        () => true,
        () => false,
      )
    )
      return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error('the quick start does not answer');
}

describe('the quick start of README.md', () => {
  it('logs somebody in who types a number and the PIN from the phone', async () => {
    const browser = request.agent(url);
    const post = (path: string, form: object) =>
      browser.post(path).set('Sec-Fetch-Site', 'same-origin').type('form').send(form);
    const issued = await post('/login', { phone: '091 234 5678' });
    expect([issued.status, issued.headers.location]).toEqual([302, '/login']);
    expect((await browser.get('/login')).text).toContain('with its country code');
    const sent = await post('/login', { phone: '+385 91 234 5678' });
    expect([sent.status, sent.headers.location]).toEqual([303, '/login/pin']);
    expect((await browser.get('/login/pin')).text).toContain('+385 \u2022\u2022\u2022 78');
    const pin = simulator.lastMessageTo('+385912345678')?.pin;
    const checked = await post('/login/pin', { pin });
    expect([checked.status, checked.headers.location]).toEqual([302, '/']);
    expect((await browser.get('/')).text).toBe('{"phoneNumber":"+385912345678"}');
  });

  it('type-checks as strict TypeScript, once what JavaScript cannot say is said', async () => {
    const annotations: [string, string][] = [
      ['(req, label, field) =>', '(req: express.Request, label: string, field: string) =>'],
      ['deserializeUser((user, done)', 'deserializeUser((user: Express.User, done)'],
      ['PORT = 3000 } = process.env', "PORT = '3000' } = process.env"],
      [
        'applicationId, messageId, countries',
        "applicationId: applicationId ?? '', messageId: messageId ?? '', countries",
      ],
    ];
    let typed = quickStart;
    for (const [said, meant] of annotations) {
      expect(typed).toContain(said);
      typed = typed.replace(said, meant);
    }
    typed += "declare module 'express-session' { interface SessionData { messages?: string[] } }\n";
    await writeFile(new URL('app.ts', folder), typed);
    await writeFile(
      new URL('tsconfig.json', folder),
      JSON.stringify({
        compilerOptions: {
          strict: true,
          noEmit: true,
          module: 'nodenext',
          target: 'es2023',
          types: ['node'],
          skipLibCheck: true,
        },
        files: ['app.ts'],
      }),
    );
    const tsc = fileURLToPath(new URL('node_modules/typescript/bin/tsc', root));
    const compiled = await promisify(execFile)(process.execPath, [tsc, '-p', fileURLToPath(folder)]).catch(
      (failed: { stdout: string }) => failed,
    );
    expect(compiled.stdout).toBe('');
  }, 60_000);

  it('is short', () => {
    expect(quickStart.trim().split('\n').length).toBeLessThanOrEqual(32);
  });
});
