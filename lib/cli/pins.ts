/** The commands for one PIN: send, resend, verify, status. */

import type { Infobip2faClient, InfobipSentPin } from '../infobip/index.js';
import { type ExitStatus, oneOf, print, printJson, readFlags, showHelp, usageError } from './command.js';
import {
  connectionFlags,
  connectionHelp,
  readId,
  readRecipient,
  readSettings,
  type Settings,
  withClient,
} from './connection.js';

const CHANNELS = ['sms', 'voice', 'email'] as const;
type Channel = (typeof CHANNELS)[number];

const BY = { sms: 'by SMS', voice: 'by voice call', email: 'by e-mail' } as const;

const sendHelp = `Usage: passport-sms-otp send TO [options]

Has the service make a PIN and send it. TO is a phone number in international form, or an e-mail address.

  --channel CHANNEL     sms, voice or email; sms when left out, email for an e-mail address
  --from SENDER         the sender, instead of the template's
  --placeholder NAME=VALUE
                        a value for the template's own placeholder; may be repeated
  --no-lookup           send without looking the number up first, which costs (sms)
  --application-id ID   INFOBIP_APPLICATION_ID
  --message-id ID       the template; INFOBIP_VOICE_MESSAGE_ID or INFOBIP_EMAIL_MESSAGE_ID for these channels
                        where it is set, else (but for email) INFOBIP_MESSAGE_ID
${connectionHelp}`;

export async function send(args: readonly string[]): Promise<ExitStatus> {
  const { values: flags, positionals } = readFlags(
    'send',
    args,
    {
      channel: { type: 'string' },
      from: { type: 'string' },
      placeholder: { type: 'string', multiple: true, default: [] },
      'no-lookup': { type: 'boolean', default: false },
      'application-id': { type: 'string' },
      'message-id': { type: 'string' },
      ...connectionFlags,
    },
    ['TO'],
  );
  if (flags.help) return showHelp(sendHelp);
  const [given = ''] = positionals;
  const channel = readChannel(flags.channel) ?? (given.includes('@') ? 'email' : 'sms');
  const placeholders = readPlaceholders(flags.placeholder);
  if (flags['no-lookup'] && channel !== 'sms') throw usageError('--no-lookup is for sms.');
  const settings = readSettings(flags);
  const to = readRecipient(given, channel === 'email');
  const template = flags['message-id'] ?? templateOf(channel, settings);
  if (channel === 'email' && template === undefined) {
    throw usageError(
      'No template for e-mail was given. Give --message-id or INFOBIP_EMAIL_MESSAGE_ID; "setup --email-template-id" makes one.',
    );
  }
  const request = {
    channel,
    to,
    applicationId: readId(settings, 'application-id', flags['application-id']),
    messageId: readId(settings, 'message-id', template),
    ...(flags.from !== undefined && { from: flags.from }),
    ...(placeholders !== undefined && { placeholders }),
    ...(flags['no-lookup'] && { ncNeeded: false }),
  };
  return await withClient(settings, async (client) => {
    return tellSent(await client.sendPin(request), channel, flags.json);
  });
}

const resendHelp = `Usage: passport-sms-otp resend PINID [options]

Has the service send the same PIN again, to the same recipient.

  --channel CHANNEL     sms, voice or email; sms when left out
  --placeholder NAME=VALUE
                        as for the send; may be repeated
${connectionHelp}`;

export async function resend(args: readonly string[]): Promise<ExitStatus> {
  const { values: flags, positionals } = readFlags(
    'resend',
    args,
    {
      channel: { type: 'string' },
      placeholder: { type: 'string', multiple: true, default: [] },
      ...connectionFlags,
    },
    ['PINID'],
  );
  if (flags.help) return showHelp(resendHelp);
  const [pinId = ''] = positionals;
  const channel = readChannel(flags.channel) ?? 'sms';
  const placeholders = readPlaceholders(flags.placeholder);
  const request = { channel, ...(placeholders !== undefined && { placeholders }) };
  return await withClient(
    readSettings(flags),
    async (client) => tellSent(await client.resendPin(pinId, request), channel, flags.json),
    UNKNOWN_PIN,
  );
}

const UNKNOWN_PIN = 'The service does not know this PIN id, or no longer.';

const verifyHelp = `Usage: passport-sms-otp verify PINID PIN [options]

Asks the service whether PIN is the one that was sent under PINID. Each question counts as an attempt.
${connectionHelp}`;

const REASONS = {
  wrong_pin: 'this is not the PIN',
  expired: "the PIN's time is over",
  no_more_attempts: 'this PIN is used up: it was verified already, or tried too often',
  unknown: 'the service did not say why',
} as const;

export async function verify(args: readonly string[]): Promise<ExitStatus> {
  const { values: flags, positionals } = readFlags('verify', args, connectionFlags, ['PINID', 'PIN']);
  if (flags.help) return showHelp(verifyHelp);
  const [pinId = '', pin = ''] = positionals;
  const ask = async (client: Infobip2faClient): Promise<ExitStatus> => {
    const answer = await client.verifyPin(pinId, pin.trim());
    if (flags.json) {
      printJson(answer);
    } else if (answer.verified) {
      print(`Verified${answer.msisdn === '' ? '' : `: ${answer.msisdn}`}.\n`);
    } else {
      const { reason, attemptsRemaining: left } = answer;
      const counts = left !== undefined && reason !== 'no_more_attempts';
      const attempts = counts ? ` ${left} ${left === 1 ? 'attempt' : 'attempts'} left.` : '';
      print(`Not verified: ${REASONS[reason]}.${attempts}\n`);
    }
    return answer.verified ? 0 : 1;
  };
  return await withClient(readSettings(flags), ask, UNKNOWN_PIN);
}

const statusHelp = `Usage: passport-sms-otp status TO [options]

Tells what became of the PINs that were sent to a phone number or an e-mail address.

  --application-id ID   INFOBIP_APPLICATION_ID
${connectionHelp}`;

export async function status(args: readonly string[]): Promise<ExitStatus> {
  const { values: flags, positionals } = readFlags(
    'status',
    args,
    { 'application-id': { type: 'string' }, ...connectionFlags },
    ['TO'],
  );
  if (flags.help) return showHelp(statusHelp);
  const [given = ''] = positionals;
  const settings = readSettings(flags);
  const msisdn = readRecipient(given);
  const applicationId = readId(settings, 'application-id', flags['application-id']);
  return await withClient(settings, async (client) => {
    const answer = await client.getVerificationStatus(applicationId, { msisdn });
    if (flags.json) {
      printJson(answer);
    } else if (answer.verifications.length === 0) {
      print(`The service knows of no PIN to ${msisdn}.\n`);
    }
    for (const { sentAt, verified, verifiedAt } of flags.json ? [] : answer.verifications) {
      const at = verified && verifiedAt ? ` ${timeOf(verifiedAt)}` : '';
      print(`sent ${sentAt ? timeOf(sentAt) : 'never'}   ${verified ? `verified${at}` : 'not verified'}\n`);
    }
    return answer.verifications.length > 0 ? 0 : 1;
  });
}

/** `2026-01-31 13:05:09Z` */
function timeOf(date: Date): string {
  return Number.isNaN(date.getTime())
    ? 'at an unreadable time'
    : date.toISOString().replace('T', ' ').replace(/\.\d+/, '');
}

function tellSent(answer: InfobipSentPin, channel: Channel, json: boolean): ExitStatus {
  const { pinId, sent, to, smsStatus, ncStatus, callStatus, emailStatus } = answer;
  const said = [smsStatus, ncStatus, callStatus, emailStatus?.name].filter((word) => word !== undefined);
  const statuses = said.length === 0 ? '' : ` (${said.join(', ')})`;
  if (json) {
    printJson(answer);
  } else if (sent) {
    print(`Sent${to === undefined ? '' : ` to ${to}`} ${BY[channel]}${statuses}.\nPIN id: ${pinId}\n`);
  } else {
    print(`Not sent${to === undefined ? '' : ` to ${to}`}${statuses}.\n`);
  }
  return sent ? 0 : 1;
}

function templateOf(channel: Channel, settings: Settings): string | undefined {
  return settings[`INFOBIP_${channel.toUpperCase()}_MESSAGE_ID`];
}

function readChannel(text: string | undefined): Channel | undefined {
  return text === undefined ? undefined : oneOf('channel', text, CHANNELS);
}

function readPlaceholders(given: readonly string[]): Record<string, string> | undefined {
  const pairs = given.map((text) => {
    const [, name = '', value = ''] = /^([^=]+)=(.*)$/s.exec(text) ?? [];
    if (name === '') throw usageError('--placeholder needs a name and a value, such as name=Ana.');
    return [name, value];
  });
  return pairs.length === 0 ? undefined : Object.fromEntries(pairs);
}
