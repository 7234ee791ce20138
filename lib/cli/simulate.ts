import { type Simulator, startSimulator } from '../simulator/index.js';
import { CommandError, type ExitStatus, readFlags, showHelp, usageError, wholeNumber } from './command.js';

const help = `Usage: passport-sms-otp simulate [options]

Runs a stand-in for Infobip's 2FA service on this machine, with a phone in the browser that shows what it sends.

  --port PORT      where to listen; 4010 when left out, 0 for any free port
  --host HOST      the address to listen on; 127.0.0.1 when left out
  --api-key KEY    the API key that it accepts; always the same one when left out
  --json           print one line of JSON instead of text
  --help           show this

The phone answers under localhost, 127.0.0.1 or [::1] only, so that no web page can read it. On another --host, whoever
reaches the port can: a client may say any name.
`;

/** Runs the simulator until the process is told to end (SIGINT, SIGTERM). */
export async function simulate(args: readonly string[]): Promise<ExitStatus> {
  const { values: flags } = readFlags('simulate', args, {
    port: { type: 'string', default: '4010' },
    host: { type: 'string', default: '127.0.0.1' },
    'api-key': { type: 'string' },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false },
  });
  if (flags.help) return showHelp(help);
  const apiKey = flags['api-key'];
  if (apiKey !== undefined && !/^[\x21-\x7e]+$/.test(apiKey)) {
    throw usageError('--api-key is empty or has a space in it. Give the key alone, without the word App.');
  }
  if (flags.host === '') throw usageError('--host is empty. Leave it out for this machine alone.');
  const ended = new Promise((resolve) => {
    process.once('SIGINT', resolve);
    process.once('SIGTERM', resolve);
  });
  const simulator = await start(wholeNumber('port', flags.port, 0, 65_535), flags.host, apiKey);
  process.stdout.write(flags.json ? asJson(simulator) : asText(simulator, flags.host));
  if (!/^(localhost|127\.|::1$)/.test(flags.host)) {
    process.stderr.write(
      `Whoever reaches this port from elsewhere can read all PINs: keep it to a network of your own.\n`,
    );
  }
  await ended;
  await simulator.close();
  return 0;
}

async function start(port: number, host: string, apiKey: string | undefined): Promise<Simulator> {
  try {
    return await startSimulator({ port, host, ...(apiKey !== undefined && { apiKey }) });
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    const sentences: Record<string, string> = {
      EADDRINUSE: `Port ${port} on ${host} is taken. Give another with --port, or 0 for any free one.`,
      EACCES: `Port ${port} may not be opened by this user. Give one of 1024 or more with --port.`,
      EADDRNOTAVAIL: `${host} is no address of this machine. Give another with --host.`,
      ENOTFOUND: `${host} is no address of this machine. Give another with --host.`,
    };
    const sentence =
      sentences[String(code)] ?? `The simulator cannot listen on ${host}:${port} (${code ?? error}).`;
    throw new CommandError(3, sentence);
  }
}

function asJson({ url, apiKey, applicationId, messageId }: Simulator): string {
  return `${JSON.stringify({ url, phone: `${url}/`, apiKey, applicationId, messageId })}\n`;
}

function asText({ url, apiKey, applicationId, messageId }: Simulator, host: string): string {
  const loopback = /^(localhost|127\.|::1$|0\.0\.0\.0$|::$)/.test(host);
  const phone = loopback
    ? `The phone is at ${url}/`
    : 'The phone shows only when --host is 127.0.0.1 or 0.0.0.0.';
  return `Infobip's 2FA service, simulated, is at ${url}
${phone}

For an .env file:

INFOBIP_BASE_URL=${url}
INFOBIP_API_KEY=${apiKey}
INFOBIP_APPLICATION_ID=${applicationId}
INFOBIP_MESSAGE_ID=${messageId}

Ctrl+C ends it.
`;
}
