import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Simulator, startSimulator } from 'passport-sms-otp/simulator';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { printed, runCommand } from '../support/command-line.js';
import { freePort } from '../support/ports.js';
import { startService } from '../support/service.js';

const SECRET = 'a-key-that-nobody-may-see';
const TO = '+385911234567';

let simulator: Simulator;
let folder: string;
let env: Record<string, string>;

beforeAll(async () => {
  simulator = await startSimulator({ apiKey: SECRET, password: 'hidden-password' });
  folder = mkdtempSync(join(tmpdir(), 'passport-sms-otp-'));
});
beforeEach(() => {
  simulator.reset({ setUp: true });
  const { url, applicationId, messageId } = simulator;
  env = {
    INFOBIP_BASE_URL: url,
    INFOBIP_API_KEY: SECRET,
    INFOBIP_APPLICATION_ID: applicationId,
    INFOBIP_MESSAGE_ID: messageId,
  };
});
afterAll(async () => {
  await simulator.close();
  rmSync(folder, { recursive: true });
});

/** What is said of the last message, besides where it went: its PIN is part of no output. */
function lastPin(): { pin: string; pinId: string } {
  const { pin = '', pinId = '' } = simulator.messages.at(-1) ?? {};
  return { pin, pinId };
}

const wrongPin = (pin: string): string => (pin === '000000' ? '000001' : '000000');

describe('passport-sms-otp send, resend, verify and status', { timeout: 60_000 }, () => {
  it('go the whole way, and echo no PIN', async () => {
    const none = await runCommand(['status', TO], { env });
    expect(none).toMatchObject({ status: 1, stdout: `The service knows of no PIN to ${TO}.\n` });
    const sent = await runCommand(['send', '+385 91-123 4567', '--no-lookup', '--from', 'Shop'], { env });
    const { pin, pinId } = lastPin();
    expect(sent).toEqual({
      status: 0,
      stdout: `Sent to 385911234567 by SMS (MESSAGE_SENT).\nPIN id: ${pinId}\n`,
      stderr: '',
    });
    expect(simulator.messages).toMatchObject([{ to: '385911234567', from: 'Shop' }]);
    const wrong = await runCommand(['verify', pinId, wrongPin(pin)], { env });
    expect(wrong).toEqual({
      status: 1,
      stdout: 'Not verified: this is not the PIN. 4 attempts left.\n',
      stderr: '',
    });
    const again = await runCommand(['resend', pinId, '--channel', 'voice'], { env });
    expect(again).toMatchObject({ status: 0, stdout: expect.stringContaining(' by voice call (') });
    expect(simulator.messages.at(-1)).toMatchObject({ channel: 'voice', pin });
    const right = await runCommand(['verify', pinId, pin], { env });
    expect(right).toEqual({ status: 0, stdout: 'Verified: 385911234567.\n', stderr: '' });
    const status = await runCommand(['status', TO], { env });
    const time = String.raw`\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ`;
    expect(status).toMatchObject({ status: 0, stderr: '' });
    expect(status.stdout).toMatch(new RegExp(`^sent ${time} {3}verified ${time}\\n`));
    expect(printed.join('\n')).not.toContain(pin);
  });

  it('print JSON for machines', async () => {
    const sent = await runCommand(['send', TO, '--json'], { env });
    const { pin, pinId } = lastPin();
    expect(JSON.parse(sent.stdout)).toMatchObject({
      pinId,
      sent: true,
      ncStatus: 'NC_DESTINATION_REACHABLE',
    });
    const wrong = await runCommand(['verify', pinId, wrongPin(pin), '--json'], { env });
    expect(JSON.parse(wrong.stdout)).toMatchObject({ verified: false, reason: 'wrong_pin' });
    const status = await runCommand(['status', TO, '--json'], { env });
    expect(JSON.parse(status.stdout)).toMatchObject({ verifications: [{ verified: false }] });
    const gone = await runCommand(['verify', 'NO-SUCH-PIN', pin, '--json'], { env });
    expect(gone).toMatchObject({
      status: 1,
      stderr: 'The service does not know this PIN id, or no longer.\n',
    });
    expect(JSON.parse(gone.stdout)).toMatchObject({ error: { code: 'ERR_INFOBIP_NOT_FOUND', status: 404 } });
  });

  it('send e-mails, fill in placeholders, and say when nothing was sent', async () => {
    const text = ['--text', 'Hi {{name}}, {{pin}} = {{sum}}'];
    const made = await runCommand(['setup', '--json', '--name', 'All', ...text, '--email-template-id', '7'], {
      env,
    });
    const { settings } = JSON.parse(made.stdout);
    const all = { ...env, ...settings };
    const values = ['--placeholder', 'name=Ana', '--placeholder', 'sum=1+1=2'];
    expect(await runCommand(['send', TO, ...values], { env: all })).toMatchObject({ status: 0 });
    expect(simulator.messages.at(-1)?.text).toMatch(/^Hi Ana, \d{6} = 1\+1=2$/);
    const mail = await runCommand(['send', 'ana@shop.example'], { env: all });
    expect(mail).toMatchObject({
      status: 0,
      stdout: expect.stringContaining('to ana@shop.example by e-mail'),
    });
    simulator.addFault({ operation: 'sendPin', ncStatus: 'NC_DESTINATION_NOT_REACHABLE' });
    const unsent = await runCommand(
      ['send', '+385911234568', '--placeholder=name=A', '--placeholder=sum=B'],
      {
        env: all,
      },
    );
    expect(unsent).toMatchObject({ status: 1, stderr: '' });
    expect(unsent.stdout).toMatch(/^Not sent to 385911234568 \(.*NC_DESTINATION_NOT_REACHABLE\)\.\n$/);
  });

  it('take their settings from flags, files, standard input and every way to authenticate', async () => {
    const { INFOBIP_API_KEY: _key, ...rest } = env;
    const keyFile = join(folder, 'key');
    writeFileSync(keyFile, `${SECRET}\n`);
    const envFile = join(folder, '.env');
    writeFileSync(envFile, `INFOBIP_API_KEY=${SECRET}\nINFOBIP_BASE_URL=https://elsewhere.example\n`);
    const { url, applicationId } = simulator;
    const ids = ['--base-url', url, '--application-id', applicationId];
    const user = { INFOBIP_USERNAME: 'simulator', INFOBIP_PASSWORD: 'hidden-password' };
    const oauth = { INFOBIP_CLIENT_ID: 'simulator', INFOBIP_CLIENT_SECRET: 'hidden-password' };
    const ended = await Promise.all([
      runCommand(['status', TO, ...ids, '--api-key-file', keyFile], { env: oauth }),
      runCommand(['status', TO, ...ids, '--api-key-file', '-'], { input: SECRET }),
      runCommand(['status', TO, '--env', envFile], { env: { ...rest, INFOBIP_API_KEY: ' ' } }),
      runCommand(['status', TO], { env: { ...rest, ...user } }),
      runCommand(['status', TO], { env: { ...rest, ...oauth } }),
    ]);
    const stdout = `The service knows of no PIN to ${TO}.\n`;
    expect(ended).toEqual(ended.map(() => ({ status: 1, stdout, stderr: '' })));
  });

  const address = 'https://xxxxx.api.infobip.com';
  const ofSend = 'See "passport-sms-otp send --help".';
  const mistakes: [string[], string, Record<string, string>?][] = [
    [['sned', TO], 'There is no command "sned". Did you mean "send"?'],
    [['send', TO, '--form', 'x'], `send has no flag --form. Did you mean --from? ${ofSend}`],
    [['send', TO, '--from'], `--from needs a value. ${ofSend}`],
    [['send', TO, '--from', '--json'], `--from needs a value. ${ofSend}`],
    [['send', TO, '--json=yes'], `--json takes no value. ${ofSend}`],
    [['send'], `send takes TO. ${ofSend}`],
    [
      ['verify', 'ID', '1234', '56'],
      'verify takes PINID and PIN, and got more. See "passport-sms-otp verify --help".',
    ],
    [['send', '0911234567'], `"0911234567" is no phone number in international form, such as ${TO}.`],
    [['send', 'ana@', '--channel', 'email'], '"ana@" is no e-mail address.'],
    [['send', TO, '--channel', 'pigeon'], '--channel is none of sms, voice, email.'],
    [['send', TO, '--placeholder', 'name'], '--placeholder needs a name and a value, such as name=Ana.'],
    [['send', TO, '--channel', 'voice', '--no-lookup'], '--no-lookup is for sms.'],
    [
      ['verify', 'no id', '123456'],
      'PINID is no PIN id. Give the PIN id of the last send or resend, as it came.',
    ],
    [
      ['status', TO, '--base-url', 'not an address'],
      `--base-url (or INFOBIP_BASE_URL, or --env FILE) is missing or not an address. Give the address of your account, for instance ${address}.`,
    ],
    [
      ['status', TO, '--base-url', 'http://api.infobip.com'],
      `--base-url (or INFOBIP_BASE_URL, or --env FILE) must be https; plain http is for loopback only. Give the address of your account, for instance ${address}.`,
    ],
    [
      ['status', TO],
      'No application-id was given. Give --application-id, INFOBIP_APPLICATION_ID, or --env with the file that holds it; "setup" makes one.',
      { INFOBIP_APPLICATION_ID: '' },
    ],
    [
      ['status', TO, '--api-key', 'x', '--api-key-file', 'y'],
      '--api-key and --api-key-file were both given. Give one of them.',
    ],
    [
      ['status', TO, '--api-key-file', '/no/such/file'],
      '--api-key-file: /no/such/file cannot be read (ENOENT).',
    ],
    [
      ['send', 'ana@shop.example'],
      'No template for e-mail was given. Give --message-id or INFOBIP_EMAIL_MESSAGE_ID; "setup --email-template-id" makes one.',
    ],
    [['setup', '--pin-length', '5'], '--pin-length is no whole number from 6 to 8.'],
    [['setup', '--pin-length', '4', '--pin-type', 'HEX'], '--pin-length is no whole number from 5 to 8.'],
    [['setup', '--sends-per-number', '30'], '--sends-per-number is no limit, such as 30/1d.'],
    [['setup', '--force'], '--force is for --write.'],
    [['setup', '--text', 'Hello'], '--text has no {{pin}} in it.'],
    [['doctor', '--pin-ttl', '10m'], '--pin-ttl is no whole number from 60 to 600.'],
    [['doctor', '--sends-per-number', '5'], '--sends-per-number is no list of limits, such as 5/1h,10/1d.'],
  ];

  it.concurrent.each(mistakes)('answer %j with one line, status 2 and no stack', async (args, line, more) => {
    const ended = await runCommand(args, { env: { ...env, ...more } });
    expect(ended).toEqual({ status: 2, stdout: '', stderr: `${line}\n` });
  });

  it('end with 3 and one line when the service refuses, fails, or is not there', async () => {
    simulator.addFault({ operation: 'sendPin', status: 503 });
    const failed = await runCommand(['send', TO], { env });
    expect(failed).toMatchObject({ status: 3, stdout: '' });
    expect(failed.stderr).toMatch(/^sendPin failed: the service answered 503 .* Try again later\.\n$/);
    const refused = await runCommand(['verify', 'ID', '123456', '--json', '--api-key', 'wrong-key'], { env });
    expect(refused).toMatchObject({ status: 3, stderr: expect.stringMatching(/^verifyPin failed: .*\n$/) });
    expect(JSON.parse(refused.stdout)).toMatchObject({
      error: { code: 'ERR_INFOBIP_UNAUTHORIZED', status: 401 },
    });
    expect(refused.stdout + refused.stderr).not.toMatch(/123456|wrong-key/);
    const wrong = await runCommand(['send', TO, '--placeholder', 'pin=1', '--json'], { env });
    const what = 'sendPin failed: the service answered 400 (BAD_REQUEST: Bad request).';
    const violation = 'must not hold the key pin or a key with braces';
    expect(wrong).toMatchObject({ status: 3, stderr: `${what} placeholders ${violation}.\n` });
    expect(JSON.parse(wrong.stdout).error).toMatchObject({
      violations: [{ property: 'placeholders', violation }],
    });
    const nobody = { ...env, INFOBIP_BASE_URL: `http://127.0.0.1:${await freePort()}` };
    const lost = await runCommand(['send', TO], { env: nobody });
    expect(lost).toMatchObject({ status: 3, stdout: '' });
    expect(lost.stderr).toMatch(
      /^sendPin failed: no connection \(ECONNREFUSED\)\. Check --base-url \(INFOBIP_BASE_URL\) .*\n$/,
    );
  });

  it('say of a PIN that was verified already that it is used up', async () => {
    const to = '+385911234577';
    const sent = await runCommand(['send', to, '--json'], { env });
    const { pinId } = JSON.parse(sent.stdout);
    const pin = simulator.lastMessageTo(to)?.pin ?? '';
    expect(await runCommand(['verify', pinId, pin], { env })).toMatchObject({ status: 0 });
    expect(await runCommand(['verify', pinId, pin], { env })).toEqual({
      status: 1,
      stdout: 'Not verified: this PIN is used up: it was verified already, or tried too often.\n',
      stderr: '',
    });
  });

  it('tell how they are used, and bear a reader that has had enough', async () => {
    const commands = ['setup', 'doctor', 'send', 'resend', 'verify', 'status'];
    const helps = await Promise.all(commands.map((command) => runCommand([command, '--help'])));
    for (const [index, { status, stdout, stderr }] of helps.entries()) {
      expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
      expect(stdout).toMatch(new RegExp(`^Usage: passport-sms-otp ${commands[index]} `));
      for (const flag of ['--base-url', '--api-key-file', '--json']) expect(stdout).toContain(flag);
      expect(stdout.split('\n').filter((line) => line.length > 120)).toEqual([]);
    }
    const piped = await new Promise((resolve) => {
      const line = `"${process.execPath}" dist/cli/index.js --help | true; echo "\${PIPESTATUS[0]}"`;
      execFile('bash', ['-c', line], (_error, stdout, stderr) => resolve({ stdout, stderr }));
    });
    expect(piped).toEqual({ stdout: '0\n', stderr: '' });
  });

  it('have shown key and password to nobody', () => {
    expect(printed).not.toEqual([]);
    expect(printed.join('\n')).not.toMatch(/a-key-that-nobody|hidden-password/);
  });
});

it('prints what the service says as text, whatever a terminal would do with it', async () => {
  const service = await startService({
    body: {
      pinId: 'PIN',
      smsStatus: 'MESSAGE_SENT\u001b[2J\rVerified',
      ncStatus: 'N\u001b]0;title\u0007\u009b2J',
    },
  });
  const { stdout, stderr } = await runCommand(['send', TO], {
    env: { ...env, INFOBIP_BASE_URL: service.url },
  });
  const json = await runCommand(['send', TO, '--json'], { env: { ...env, INFOBIP_BASE_URL: service.url } });
  await service.close();
  expect(stdout).toContain('MESSAGE_SENT\ufffd[2J\ufffdVerified');
  for (const text of [stdout, stderr, json.stdout]) {
    expect(text.replaceAll('\n', '')).not.toMatch(/\p{Cc}/u);
  }
  expect(JSON.parse(json.stdout)).toMatchObject({ smsStatus: 'MESSAGE_SENT\u001b[2J\rVerified' });
});
