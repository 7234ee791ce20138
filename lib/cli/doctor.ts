import { diagnose2fa, type Finding, type Severity, type SiteExpectations } from '../infobip/index.js';
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
  connectionFlags,
  connectionHelp,
  inOurWords,
  readId,
  readSettings,
  withClient,
} from './connection.js';

const help = `Usage: passport-sms-otp doctor [options]

Compares address, credentials, application and templates with what the site expects. Sends nothing, changes nothing.
Ends with 1 when something is wrong or may go wrong.

  --application-id ID   INFOBIP_APPLICATION_ID
  --message-id ID       the template for SMS; INFOBIP_MESSAGE_ID
  --voice-message-id ID, --email-message-id ID
                        further templates; INFOBIP_VOICE_MESSAGE_ID, INFOBIP_EMAIL_MESSAGE_ID

What the site expects, as in the options of the strategy:

  --pin-length N        6 when left out
  --pin-type TYPE       NUMERIC (when left out), ALPHA, HEX or ALPHANUMERIC
  --pin-ttl SECONDS     600 when left out
  --attempts N          5 when left out
  --sends-per-number LIMITS
                        5/1h,10/1d when left out
  --sends-overall LIMITS
                        1000/1h,5000/1d when left out
  --domain HOST         the host name that the last line of the SMS should carry
${connectionHelp}`;

/** Names what is wrong with a set-up, and what mends it. */
export async function doctor(args: readonly string[]): Promise<ExitStatus> {
  const { values: flags } = readFlags('doctor', args, {
    'application-id': { type: 'string' },
    'message-id': { type: 'string' },
    'voice-message-id': { type: 'string' },
    'email-message-id': { type: 'string' },
    'pin-length': { type: 'string', default: '6' },
    'pin-type': { type: 'string', default: 'NUMERIC' },
    'pin-ttl': { type: 'string', default: '600' },
    attempts: { type: 'string', default: '5' },
    'sends-per-number': { type: 'string' },
    'sends-overall': { type: 'string' },
    domain: { type: 'string' },
    ...connectionFlags,
  });
  if (flags.help) return showHelp(help);
  const perNumber = flags['sends-per-number'];
  const overall = flags['sends-overall'];
  const site: SiteExpectations = {
    pin: {
      length: wholeNumber('pin-length', flags['pin-length'], 1, 8),
      type: oneOf('pin-type', flags['pin-type'], ['NUMERIC', 'ALPHA', 'HEX', 'ALPHANUMERIC']),
    },
    pinTtlSeconds: wholeNumber('pin-ttl', flags['pin-ttl'], 60, 600),
    attempts: wholeNumber('attempts', flags.attempts, 1, 10),
    ...(perNumber !== undefined && { sendsPerNumber: readLimits('sends-per-number', perNumber) }),
    ...(overall !== undefined && { sendsOverall: readLimits('sends-overall', overall) }),
    ...(flags.domain !== undefined && { domain: flags.domain }),
  };
  const settings = readSettings(flags);
  const voice = flags['voice-message-id'] ?? settings.INFOBIP_VOICE_MESSAGE_ID;
  const email = flags['email-message-id'] ?? settings.INFOBIP_EMAIL_MESSAGE_ID;
  const sms = flags['message-id'] ?? settings.INFOBIP_MESSAGE_ID;
  const isWithoutSms = sms === undefined && (voice ?? email) !== undefined;
  const ids = {
    applicationId: readId(settings, 'application-id', flags['application-id']),
    messageId: {
      ...(!isWithoutSms && { sms: readId(settings, 'message-id', flags['message-id']) }),
      ...(voice !== undefined && { voice }),
      ...(email !== undefined && { email }),
    },
  };
  return await withClient(settings, async (client) => {
    const findings = await diagnose2fa(client, ids, site);
    const isWell = findings.every(({ severity }) => severity === 'info');
    if (flags.json) printJson({ ok: isWell, findings });
    else print(report(findings));
    return isWell ? 0 : 1;
  });
}

const SECONDS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 };

/** `5/1h,10/1d`: so many in so long. */
function readLimits(name: string, text: string): { points: number; duration: number }[] {
  return text.split(',').map((limit) => {
    const [, points, length = '1', unit = ''] = /^\s*(\d+)\/(\d+)?([smhd])\s*$/.exec(limit) ?? [];
    if (points === undefined) throw usageError(`--${name} is no list of limits, such as 5/1h,10/1d.`);
    return { points: Number(points), duration: Number(length) * (SECONDS[unit] ?? 1) };
  });
}

/** Select Graphic Rendition: red, yellow, cyan. */
const COLOURS: Readonly<Record<Severity, number>> = { error: 31, warning: 33, info: 36 };

function report(findings: readonly Finding[]): string {
  const isColoured = hasColours();
  const paint = (text: string, code: number) => (isColoured ? `\u001b[${code}m${text}\u001b[0m` : text);
  if (findings.length === 0) {
    return `${paint('All is well.', 32)} Address, credentials, application and templates are as the site expects.\n`;
  }
  const told = findings.map(({ code, severity, message, mend }) => {
    return `${paint(severity.padEnd(7), COLOURS[severity])}  ${code}\n         ${inOurWords(message)}\n         ${inOurWords(mend)}\n`;
  });
  const counts = (['error', 'warning', 'info'] as const).flatMap((severity) => {
    const { length } = findings.filter((each) => each.severity === severity);
    const noun = severity === 'info' ? 'note' : severity;
    return length === 0 ? [] : [`${length} ${noun}${length === 1 ? '' : 's'}`];
  });
  return `${told.join('\n')}\n${counts.join(', ')}.\n`;
}

/** On a terminal that can, unless NO_COLOR is set to anything (no-color.org). */
function hasColours(): boolean {
  return process.stdout.isTTY === true && !process.env.NO_COLOR && process.env.TERM !== 'dumb';
}
