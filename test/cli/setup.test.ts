import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseEnv } from 'node:util';
import { type Simulator, startSimulator } from 'passport-sms-otp/simulator';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { send } from '../support/bare-http.js';
import { printed, runCommand, runOnTerminal } from '../support/command-line.js';

const SECRET = 'a-key-that-nobody-may-see';

let simulator: Simulator;
let folder: string;
let env: Record<string, string>;

beforeAll(async () => {
  simulator = await startSimulator({ apiKey: SECRET, password: 'pass word #1' });
  folder = mkdtempSync(join(tmpdir(), 'passport-sms-otp-'));
});
beforeEach(() => {
  simulator.reset({ setUp: true });
  env = { INFOBIP_BASE_URL: simulator.url, INFOBIP_API_KEY: SECRET };
});
afterAll(async () => {
  await simulator.close();
  rmSync(folder, { recursive: true });
});

async function account(path = ''): Promise<unknown> {
  const headers = { Authorization: `App ${SECRET}` };
  return (await send(simulator.url, { method: 'GET', path: `/2fa/2/applications${path}`, headers })).json;
}

describe('passport-sms-otp setup', { timeout: 60_000 }, () => {
  it('makes application and template, prints lines for an .env, and changes nothing the second time', async () => {
    const args = ['setup', '--name', 'Shop', '--domain', 'shop.example', '--sender', 'Shop'];
    const first = await runCommand(args, { env });
    expect(first).toMatchObject({ status: 0, stderr: '' });
    const [, applicationId, messageId] =
      /^Application (\w+): made\.\nTemplate (\w+) \(sms\): made\.\n\n/.exec(first.stdout) ?? [];
    expect(first.stdout.split('\n\n').slice(1)).toEqual([
      'For an .env file, beside INFOBIP_API_KEY:',
      `INFOBIP_BASE_URL=${simulator.url}\nINFOBIP_APPLICATION_ID=${applicationId}\nINFOBIP_MESSAGE_ID=${messageId}\n`,
    ]);
    const made = await account();
    expect(made).toMatchObject([{}, { applicationId, name: 'Shop', configuration: { pinAttempts: 5 } }]);
    expect(await account(`/${applicationId}/messages`)).toMatchObject([
      {
        messageId,
        senderId: 'Shop',
        pinLength: 6,
        messageText: '{{pin}} is your login code. It is good for 10 minutes.\n\n@shop.example #{{pin}}',
      },
    ]);
    const second = await runCommand([...args, '--json'], { env });
    expect(JSON.parse(second.stdout)).toEqual({
      applicationId,
      messageIds: { sms: messageId },
      created: [],
      updated: [],
      settings: {
        INFOBIP_BASE_URL: simulator.url,
        INFOBIP_APPLICATION_ID: applicationId,
        INFOBIP_MESSAGE_ID: messageId,
      },
    });
    expect(await account()).toEqual(made);
  });

  it('sets up calls and e-mails, with PINs as the site wants them', async () => {
    const pin = ['--pin-length', '8', '--pin-type', 'hex', '--pin-ttl', '300', '--attempts', '3'];
    const limit = ['--sends-per-number', '30/1d'];
    const voice = ['--voice-text', 'Your code is {{pin}}.', '--language', 'hr'];
    const email = ['--email-template-id', '7', '--email-from', 'shop@shop.example'];
    const args = ['setup', '--json', '--name', 'All', ...pin, ...limit, ...voice, ...email];
    const { stdout } = await runCommand(args, { env });
    const { applicationId, messageIds, settings } = JSON.parse(stdout);
    expect(settings).toMatchObject({
      INFOBIP_VOICE_MESSAGE_ID: messageIds.voice,
      INFOBIP_EMAIL_MESSAGE_ID: messageIds.email,
    });
    expect(await account(`/${applicationId}`)).toMatchObject({
      configuration: { pinAttempts: 3, pinTimeToLive: '5m', sendPinPerPhoneNumberLimit: '30/1d' },
    });
    const shape = { pinLength: 8, pinType: 'HEX' };
    expect(await account(`/${applicationId}/messages`)).toMatchObject([
      { ...shape, messageText: '{{pin}} is your login code. It is good for 5 minutes.' },
      { ...shape, messageText: 'Your code is {{pin}}.', language: 'hr' },
      { ...shape, emailTemplateId: 7, from: 'shop@shop.example' },
    ]);
  });

  it('writes the file for its owner alone, keeps what is in it, and replaces a value only with --force', async () => {
    const file = join(folder, 'deep.env');
    const link = join(folder, 'link.env');
    writeFileSync(file, '# mine\nPORT=3000\nexport INFOBIP_APPLICATION_ID=\nNOTE=no newline');
    chmodSync(file, 0o644);
    symlinkSync(file, link);
    const first = await runCommand(['setup', '--write', link], { env });
    expect(first).toMatchObject({ status: 0, stderr: '' });
    expect(first.stdout).toMatch(/\nWritten to .*link\.env: INFOBIP_BASE_URL, .*, INFOBIP_API_KEY\.\n$/);
    const text = readFileSync(file, 'utf8');
    expect(text).toMatch(
      /^# mine\nPORT=3000\nINFOBIP_APPLICATION_ID=\w+\nNOTE=no newline\nINFOBIP_BASE_URL=/,
    );
    expect(parseEnv(text)).toMatchObject({ ...env, PORT: '3000', NOTE: 'no newline' });
    expect(statSync(file).mode & 0o777).toBe(0o600);

    // What the file says need not be said again; nothing changes.
    const again = await runCommand(['setup', `--write=${file}`], {});
    expect(again).toMatchObject({ status: 0, stdout: expect.stringContaining('has it all.') });
    expect(readFileSync(file, 'utf8')).toBe(text);

    const other = ['setup', '--name', 'Other', '--write', file];
    const refused = await runCommand([...other, '--json'], {});
    expect(refused.status).toBe(1);
    expect(refused.stderr).toMatch(
      /^.*deep\.env has another INFOBIP_APPLICATION_ID and INFOBIP_MESSAGE_ID\. Nothing was written; .*\n$/,
    );
    expect(JSON.parse(refused.stdout)).toMatchObject({ error: { code: 'EXISTING_VALUE' } });
    expect(readFileSync(file, 'utf8')).toBe(text);
    expect(await runCommand([...other, '--force'], {})).toMatchObject({ status: 0, stderr: '' });
    expect(readFileSync(file, 'utf8')).not.toBe(text);
    expect(parseEnv(readFileSync(file, 'utf8'))).toMatchObject({ ...env, PORT: '3000' });
  });

  it('writes .env where no file is named, with whatever credentials it was given', async () => {
    const cwd = mkdtempSync(join(folder, 'site-'));
    const credentials = { INFOBIP_USERNAME: 'simulator', INFOBIP_PASSWORD: 'pass word #1' };
    const args = ['setup', '--base-url', simulator.url, '--write'];
    expect(await runCommand(args, { env: credentials, cwd })).toMatchObject({ status: 0, stderr: '' });
    expect(parseEnv(readFileSync(join(cwd, '.env'), 'utf8'))).toEqual({
      ...credentials,
      INFOBIP_BASE_URL: simulator.url,
      INFOBIP_APPLICATION_ID: simulator.applicationId,
      INFOBIP_MESSAGE_ID: expect.any(String),
    });
  });

  it('says in one line that a file cannot be written, before it makes anything', async () => {
    mkdirSync(join(folder, 'a-folder'), { recursive: true });
    for (const [file, code] of [
      ['no-such-folder/.env', 'ENOENT'],
      ['a-folder', 'EISDIR'],
    ] as const) {
      const where = join(folder, file);
      const args = ['setup', '--name', 'New', '--base-url', simulator.url, '--write', where];
      const { status, stdout, stderr } = await runCommand(args, { env });
      expect({ status, stdout, stderr }).toEqual({
        status: 3,
        stdout: '',
        stderr: `${where} cannot be written (${code}).\n`,
      });
    }
    expect(await account()).toHaveLength(1);
  });

  it('asks a person for what is missing, hides the key, and asks nothing that was given', async () => {
    const { shown, status } = await runOnTerminal(['setup', '--json'], {}, [
      ['Address of your Infobip account', `${simulator.url}\r`],
      ['API key', `${SECRET}\r`],
    ]);
    expect(status).toBe(0);
    expect(shown).toContain(`"applicationId":"${simulator.applicationId}"`);
    expect(shown).not.toContain(SECRET);
    const given = await runOnTerminal(['setup', '--json'], { env });
    expect(given.shown).toMatch(/^\{"applicationId"/);
    const ended = await runOnTerminal(['setup'], {}, [['Address', '\u0003']]);
    expect(ended).toMatchObject({ status: 2, shown: expect.stringContaining('Nothing was set up.') });
  });

  it('has shown the key to nobody', () => {
    expect(printed).not.toEqual([]);
    expect(printed.join('\n')).not.toContain(SECRET);
    expect(printed.join('\n')).not.toContain('pass word');
  });
});
