import { existsSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { Writable } from 'node:stream';
import { type SetUpPart, type SetUpPlan, setUp2fa } from '../infobip/index.js';
import {
  type ExitStatus,
  oneOf,
  print,
  printJson,
  readFlags,
  showHelp,
  usageError,
  wholeNumber,
} from './command.js';
import {
  CREDENTIALS,
  connectionFlags,
  connectionHelp,
  readSettings,
  type Settings,
  withClient,
} from './connection.js';
import { checkWritable, envLines, writeEnvFile } from './env-file.js';

const help = `Usage: passport-sms-otp setup [options]

Finds or makes the application and its templates, brings back what has drifted, and prints the lines for an .env file.
Doing it again changes nothing. On a terminal it asks for the address and the key when they are not given.

  --name NAME           the application; passport-sms-otp when left out
  --text TEXT           the SMS, with {{pin}} in it; a plain English one when left out
  --domain HOST         end the SMS with a line by which browsers fill the PIN in on this site
  --sender SENDER       who the SMS comes from
  --no-sms              no template for SMS
  --voice-text TEXT     what a voice call says, with {{pin}} in it
  --language CODE       the language of the call, such as en
  --email-template-id N an e-mail made in Infobip's web interface
  --email-from ADDRESS  who the e-mail comes from
  --pin-length N        6 when left out
  --pin-type TYPE       NUMERIC (when left out), ALPHA, HEX or ALPHANUMERIC
  --pin-ttl SECONDS     600 when left out
  --attempts N          5 or more when left out
  --sends-per-number L  how many PINs Infobip sends to one number, such as 30/1d; 10/1d when left out. A site that knows
                        browsers, or that has several strategies, sends more than one budget allows

  --write [FILE]        write the lines into the file instead (.env when left out), with the credentials, for its
                        owner alone (0600); what is not given otherwise is read from it
  --force               let --write replace values that the file has
${connectionHelp}`;

const PIN_TYPES = ['NUMERIC', 'ALPHA', 'HEX', 'ALPHANUMERIC'] as const;

/** What the strategy takes: 20 bits or more. */
const LEAST_LENGTHS = { NUMERIC: 6, ALPHA: 5, HEX: 5, ALPHANUMERIC: 4 } as const;

const LANGUAGES = [
  ...(['en', 'es', 'ca', 'da', 'nl', 'fr', 'de', 'it', 'ja', 'ko', 'no', 'pl', 'ru', 'sv', 'fi'] as const),
  ...(['hr', 'sl', 'ro', 'pt_pt', 'pt_br', 'zh_cn', 'zh_tw'] as const),
];

const planFlags = {
  name: { type: 'string' },
  text: { type: 'string' },
  domain: { type: 'string' },
  sender: { type: 'string' },
  'no-sms': { type: 'boolean', default: false },
  'voice-text': { type: 'string' },
  language: { type: 'string' },
  'email-template-id': { type: 'string' },
  'email-from': { type: 'string' },
  'pin-length': { type: 'string' },
  'pin-type': { type: 'string' },
  'pin-ttl': { type: 'string' },
  attempts: { type: 'string' },
  'sends-per-number': { type: 'string' },
} as const;

type PlanFlags = { 'no-sms': boolean } & { [Flag in Exclude<keyof typeof planFlags, 'no-sms'>]?: string };

const CHANNELS = ['sms', 'voice', 'email'] as const;

/** Makes what the site needs in the account, and says or writes its settings. */
export async function setup(args: readonly string[]): Promise<ExitStatus> {
  const { values: flags } = readFlags('setup', withWrittenFile(args), {
    ...planFlags,
    write: { type: 'string' },
    force: { type: 'boolean', default: false },
    ...connectionFlags,
  });
  if (flags.help) return showHelp(help);
  const { write: file, force, json } = flags;
  const env = flags.env ?? (file !== undefined && existsSync(file) ? file : undefined);
  if (file === undefined && force) throw usageError('--force is for --write.');
  const plan = readPlan(flags);
  if (file !== undefined) await checkWritable(file);
  const settings = await askForMissing(readSettings({ ...flags, ...(env !== undefined && { env }) }));
  return await withClient(settings, async (client) => {
    const { applicationId, messageIds, created, updated } = await setUp2fa(client, plan);
    const { sms, voice, email } = messageIds;
    const lines: Settings = {
      INFOBIP_BASE_URL: settings.INFOBIP_BASE_URL ?? '',
      INFOBIP_APPLICATION_ID: applicationId,
      ...(sms !== undefined && { INFOBIP_MESSAGE_ID: sms }),
      ...(voice !== undefined && { INFOBIP_VOICE_MESSAGE_ID: voice }),
      ...(email !== undefined && { INFOBIP_EMAIL_MESSAGE_ID: email }),
    };
    const names = CREDENTIALS.filter((name) => settings[name] !== undefined);
    const credentials = Object.fromEntries(names.map((name) => [name, settings[name] ?? '']));
    const write = async () =>
      file === undefined ? undefined : await writeEnvFile(file, { ...lines, ...credentials }, force);
    if (json) {
      const written = await write();
      const where = written === undefined ? {} : { file, written };
      printJson({ applicationId, messageIds, created, updated, settings: lines, ...where });
      return 0;
    }
    const stateOf = (part: SetUpPart) =>
      created.includes(part) ? 'made' : updated.includes(part) ? 'brought back to the plan' : 'as planned';
    print(`Application ${applicationId}: ${stateOf('application')}.\n`);
    for (const channel of CHANNELS) {
      const id = messageIds[channel];
      if (id !== undefined) print(`Template ${id} (${channel}): ${stateOf(channel)}.\n`);
    }
    const written = await write();
    if (written === undefined) {
      print(`\nFor an .env file, beside ${names.join(' and ')}:\n\n${envLines(lines)}`);
    } else {
      print(written.length === 0 ? `${file} has it all.\n` : `Written to ${file}: ${written.join(', ')}.\n`);
    }
    return 0;
  });
}

/** `--write` may stand without a value, which `parseArgs` does not know. */
function withWrittenFile(args: readonly string[]): string[] {
  return args.map((arg, index) => {
    const isAlone = arg === '--write' && (args[index + 1] ?? '-').startsWith('-');
    return isAlone ? '--write=.env' : arg;
  });
}

function readPlan(flags: PlanFlags): SetUpPlan {
  const { name, domain, sender, language, 'sends-per-number': limit } = flags;
  if (limit !== undefined && !/^[1-9]\d{0,4}\/\d{0,3}[smhd]$/.test(limit)) {
    throw usageError('--sends-per-number is no limit, such as 30/1d.');
  }
  const ttl = wholeNumber('pin-ttl', flags['pin-ttl'] ?? '600', 60, 600);
  const configuration = {
    ...(flags['pin-ttl'] !== undefined && { pinTimeToLive: ttl % 60 === 0 ? `${ttl / 60}m` : `${ttl}s` }),
    ...(flags.attempts !== undefined && { pinAttempts: wholeNumber('attempts', flags.attempts, 1, 10) }),
    ...(limit !== undefined && { sendPinPerPhoneNumberLimit: limit }),
  };
  const type = flags['pin-type'] === undefined ? undefined : oneOf('pin-type', flags['pin-type'], PIN_TYPES);
  const pin = {
    ...(flags['pin-length'] !== undefined && {
      length: wholeNumber('pin-length', flags['pin-length'], LEAST_LENGTHS[type ?? 'NUMERIC'], 8),
    }),
    ...(type !== undefined && { type }),
  };
  const voiceText = flags['voice-text'];
  const emailId = flags['email-template-id'];
  if (language !== undefined && voiceText === undefined) throw usageError('--language is for --voice-text.');
  const from = flags['email-from'];
  if (from !== undefined && emailId === undefined)
    throw usageError('--email-from is for --email-template-id.');
  const isSms = !flags['no-sms'];
  if (!isSms && (flags.text ?? domain ?? sender) !== undefined) {
    throw usageError('--no-sms was given together with flags for the SMS.');
  }
  if (!isSms && (voiceText ?? emailId) === undefined) throw usageError('--no-sms leaves nothing to set up.');
  if (domain !== undefined && !/^[a-z0-9-]+(\.[a-z0-9-]+)*$/i.test(domain)) {
    throw usageError('--domain is no host name, such as shop.example.');
  }
  const text = withPin('text', flags.text ?? ourText(ttl));
  return {
    ...(name !== undefined && { applicationName: name }),
    configuration,
    pin,
    ...(isSms && {
      sms: {
        text: domain === undefined ? text : `${text}\n\n@${domain} #{{pin}}`,
        ...(sender !== undefined && { senderId: sender }),
      },
    }),
    ...(voiceText !== undefined && {
      voice: {
        text: withPin('voice-text', voiceText),
        ...(language !== undefined && { language: oneOf('language', language, LANGUAGES) }),
      },
    }),
    ...(emailId !== undefined && {
      email: {
        emailTemplateId: wholeNumber('email-template-id', emailId, 1, 2 ** 31 - 1),
        ...(from !== undefined && { from }),
      },
    }),
  };
}

/** The text of `setUp2fa`, with the time that was asked for. */
function ourText(ttlSeconds: number): string {
  const minutes = Math.floor(ttlSeconds / 60);
  return `{{pin}} is your login code. It is good for ${minutes} minute${minutes === 1 ? '' : 's'}.`;
}

function withPin(name: string, text: string): string {
  if (text.includes('{{pin}}')) return text;
  throw usageError(`--${name} has no {{pin}} in it.`);
}

/** Asks a person at a terminal for the address and the key, the key without showing it. */
async function askForMissing(settings: Settings): Promise<Settings> {
  const isKnown = CREDENTIALS.some((name) => settings[name] !== undefined);
  const isTerminal = process.stdin.isTTY === true && process.stderr.isTTY === true;
  if (!isTerminal || (settings.INFOBIP_BASE_URL !== undefined && isKnown)) return settings;
  const asked = { ...settings };
  asked.INFOBIP_BASE_URL ??= await ask('Address of your Infobip account (https://xxxxx.api.infobip.com): ');
  if (!isKnown) asked.INFOBIP_API_KEY = await ask('API key (it is not shown): ', { isSecret: true });
  return asked;
}

async function ask(question: string, { isSecret = false } = {}): Promise<string> {
  const silence = new Writable({ write: (_chunk, _encoding, done) => done() });
  const lines = createInterface({
    input: process.stdin,
    output: isSecret ? silence : process.stderr,
    terminal: true,
    prompt: '',
  });
  // Only now: what is typed from here on is not echoed by the terminal.
  process.stderr.write(question);
  try {
    return await new Promise<string>((resolve, reject) => {
      lines.once('line', (line) => resolve(line.trim()));
      lines.once('SIGINT', () => lines.close());
      lines.once('close', () => reject(usageError('Nothing was set up.')));
    });
  } finally {
    lines.close();
    if (isSecret) process.stderr.write('\n');
  }
}
