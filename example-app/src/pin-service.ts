import { originBoundText } from 'passport-sms-otp';
import { diagnose2fa, Infobip2faClient, InfobipError, setUp2fa } from 'passport-sms-otp/infobip';
import { type Simulator, startSimulator } from 'passport-sms-otp/simulator';
import type { Logger } from 'pino';
import type { PinService } from './login.js';
import type { InfobipSettings, Settings } from './settings.js';
import { reasonOf, StartupError } from './startup-error.js';

export interface ConnectedPinService extends PinService {
  /** The address of the page with the messages, where it is a simulator that sends them. */
  phone: string | undefined;
  close(): Promise<void>;
}

/**
 * Connects to Infobip as the settings say, or to a simulator in this process, and sees that the application and
 * the message template are there.
 *
 * @throws StartupError when the service cannot be used as it is.
 */
export async function connectPinService(settings: Settings, log: Logger): Promise<ConnectedPinService> {
  if (settings.infobip) {
    const client = clientFor(settings.infobip);
    log.info('Asking Infobip for the application and the message template');
    const close = () => client.close();
    try {
      const ids = await setUp(client, settings.infobip, messageText(settings.publicUrl), log);
      return { client, ...ids, phone: undefined, close };
    } catch (error) {
      await close();
      throw error;
    }
  }

  const simulator = await simulate(settings.simulatorPort);
  const client = new Infobip2faClient({ baseUrl: simulator.url, apiKey: simulator.apiKey });
  const ids = await setUp(client, {}, messageText(settings.publicUrl), log);
  return {
    client,
    ...ids,
    phone: simulator.url,
    close: async () => {
      await client.close();
      await simulator.close();
    },
  };
}

async function simulate(port: number): Promise<Simulator> {
  try {
    return await startSimulator({ port });
  } catch (error) {
    throw new StartupError(
      `SIMULATOR_PORT ${port} cannot be used (${reasonOf(error)}): end what runs there, or set SIMULATOR_PORT to another number.`,
    );
  }
}

function clientFor({ baseUrl, apiKey }: InfobipSettings): Infobip2faClient {
  try {
    return Infobip2faClient.fromEnv({ INFOBIP_BASE_URL: baseUrl, INFOBIP_API_KEY: apiKey });
  } catch (error) {
    // The client's sentence names the variable.
    throw error instanceof TypeError ? new StartupError(error.message) : error;
  }
}

/**
 * The text of the message. Behind an https address it ends with the line that lets browsers offer the PIN on this
 * site and on no other, where the address is a domain: browsers know no such line for others.
 */
function messageText(publicUrl: URL | undefined): string {
  const text = '{{pin}} is your Skerry PIN. It is good for 10 minutes. We will never ask you for it.';
  const isDomain = publicUrl !== undefined && /\.[a-z][^.]*$/.test(publicUrl.hostname);
  return publicUrl?.protocol === 'https:' && isDomain
    ? originBoundText({ text, host: publicUrl.hostname, maxParts: 2 })
    : text;
}

// Infobip counts together what the site's budgets keep apart: ten PINs a day that strangers ask for must leave room for
// those of browsers that we know.
const LIMITS = { sendPinPerPhoneNumberLimit: '30/1d' };

type Ids = Pick<PinService, 'applicationId' | 'messageId'>;

/** The steps of Infobip's tutorial, each done only where it has not been done: an application, a template. */
async function setUp(
  client: Infobip2faClient,
  { applicationId, messageId }: Partial<InfobipSettings>,
  text: string,
  log: Logger,
): Promise<Ids> {
  try {
    const ids =
      applicationId === undefined
        ? await setUp2fa(client, { applicationName: 'Skerry', configuration: LIMITS, sms: { text } })
        : { applicationId, messageId: messageId ?? (await templateIn(client, applicationId, text)) };
    if (messageId !== undefined) await inspect(client, ids, log);
    log.info(ids, 'PINs are made by this application and sent with this template');
    return ids;
  } catch (error) {
    if (!(error instanceof InfobipError)) throw error;
    // Nothing found, and nothing was named: what answers there is not the service.
    const isElsewhere = error.code === 'ERR_INFOBIP_NOT_FOUND' && applicationId === undefined;
    const setting = isElsewhere ? 'INFOBIP_BASE_URL' : settingBehind(error.code);
    throw new StartupError(`${setting} cannot be used: ${error.message}`);
  }
}

/** Finds our template in an application that somebody else made, or makes it there. */
async function templateIn(
  client: Infobip2faClient,
  applicationId: string,
  messageText: string,
): Promise<string> {
  const templates = await client.listMessageTemplates(applicationId);
  const template =
    templates.find((candidate) => candidate.messageText === messageText) ??
    (await client.createMessageTemplate(applicationId, { messageText, pinType: 'NUMERIC', pinLength: 6 }));
  return template.messageId;
}

/** Looks at what somebody else has set up, and does not start with what cannot work or is not safe. */
async function inspect(client: Infobip2faClient, ids: Ids, log: Logger): Promise<void> {
  for (const { code, severity, message, mend } of await diagnose2fa(client, ids)) {
    if (severity === 'error')
      throw new StartupError(`${settingBehind(code)} cannot be used: ${message} ${mend}`);
    if (severity === 'warning') log.warn({ finding: code }, `${message} ${mend}`);
  }
}

/** Which setting to look at for an error of the client or a finding of `diagnose2fa`. */
function settingBehind(code: string): string {
  if (/unauthorized|forbidden|key|scope/i.test(code)) return 'INFOBIP_API_KEY';
  if (/template|pin_/.test(code)) return 'INFOBIP_MESSAGE_ID';
  if (/application|not_found/i.test(code)) return 'INFOBIP_APPLICATION_ID';
  return 'INFOBIP_BASE_URL';
}
