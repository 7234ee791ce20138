import { Infobip2faClient, InfobipError, setUp2fa } from 'passport-sms-otp/infobip';
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

/** The PINs that the strategy expects, unless it is told otherwise. */
const pinShape = { pinType: 'NUMERIC', pinLength: 6 } as const;

/**
 * Connects to Infobip as the settings say, or to a simulator in this process, and sees that the application and
 * the message template are there.
 *
 * @throws StartupError when the service cannot be used as it is.
 */
export async function connectPinService(settings: Settings, log: Logger): Promise<ConnectedPinService> {
  if (settings.infobip) {
    const client = clientFor(settings.infobip);
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
 * site and on no other (https://wicg.github.io/sms-one-time-codes/).
 */
export function messageText(publicUrl: URL | undefined): string {
  const text = '{{pin}} is your Skerry PIN. It is good for 10 minutes. We will never ask you for it.';
  return publicUrl?.protocol === 'https:' ? `${text}\n\n@${publicUrl.hostname} #{{pin}}` : text;
}

type Ids = Pick<PinService, 'applicationId' | 'messageId'>;

/** The steps of Infobip's tutorial, each done only where it has not been done: an application, a template. */
async function setUp(
  client: Infobip2faClient,
  given: { applicationId?: string | undefined; messageId?: string | undefined },
  text: string,
  log: Logger,
): Promise<Ids> {
  try {
    const ids =
      given.applicationId === undefined
        ? await setUp2fa(client, { applicationName: 'Skerry', sms: { text } })
        : await useApplication(client, given.applicationId, given.messageId, text);
    const { applicationId, messageId } = ids;
    log.info({ applicationId, messageId }, 'PINs are made by this application and sent with this template');
    return { applicationId, messageId };
  } catch (error) {
    throw error instanceof InfobipError ? new StartupError(sentenceFor(error, given)) : error;
  }
}

async function useApplication(
  client: Infobip2faClient,
  applicationId: string,
  messageId: string | undefined,
  text: string,
): Promise<Ids> {
  if (messageId === undefined) {
    const templates = await client.listMessageTemplates(applicationId);
    const template =
      templates.find(({ messageText }) => messageText === text) ??
      (await client.createMessageTemplate(applicationId, { messageText: text, ...pinShape }));
    return { applicationId, messageId: template.messageId };
  }

  const { pinLength, pinType } = await client.getMessageTemplate(applicationId, messageId);
  if (pinLength !== pinShape.pinLength || pinType !== pinShape.pinType) {
    throw new StartupError(
      `INFOBIP_MESSAGE_ID names a template whose PINs are ${pinType} of length ${pinLength}, and this site reads ` +
        `${pinShape.pinType} of length ${pinShape.pinLength}: name another template, or none to have one made.`,
    );
  }
  return { applicationId, messageId };
}

/** What is wrong with the settings, judged by what the service said to them. */
function sentenceFor(error: InfobipError, given: { applicationId?: string | undefined }): string {
  const said = error.message.replace(/\.$/, '');
  switch (error.code) {
    case 'ERR_INFOBIP_UNAUTHORIZED':
      return 'INFOBIP_API_KEY is refused by the service: copy a valid key of the account that INFOBIP_BASE_URL belongs to.';
    case 'ERR_INFOBIP_FORBIDDEN':
      return 'INFOBIP_API_KEY is not allowed to look after applications and templates: give it the scope 2fa:manage.';
    case 'ERR_INFOBIP_NOT_FOUND':
    case 'ERR_INFOBIP_BAD_REQUEST':
      return given.applicationId === undefined
        ? `INFOBIP_BASE_URL leads to something that is not Infobip's 2FA service (${said}): copy the address from your account.`
        : `INFOBIP_APPLICATION_ID or INFOBIP_MESSAGE_ID is not known to the service (${said}): correct the ids, or set none to have them made.`;
    case 'ERR_INFOBIP_UNREACHABLE':
    case 'ERR_INFOBIP_TIMEOUT':
    case 'ERR_INFOBIP_UNEXPECTED_RESPONSE':
      return `INFOBIP_BASE_URL does not answer as Infobip does (${said}): copy the address from your account, and check the network.`;
    default:
      return `Infobip's 2FA service cannot be used now (${said}): try again in a minute.`;
  }
}
