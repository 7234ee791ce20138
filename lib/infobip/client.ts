import { setTimeout as sleep } from 'node:timers/promises';
import type { OtpClient, PinVerification, ResendPinRequest, SendPinRequest, SentPin } from '../otp-client.js';
import { type Authorizer, authorizerFor } from './auth.js';
import { errorOf, type InfobipError, misuse, parseJson } from './errors.js';
import { codeOf, type Outcome, openTransport, type Transport } from './http.js';
import {
  assertOptions,
  type ClientSettings,
  type Infobip2faClientOptions,
  optionsFromEnv,
  withScheme,
} from './options.js';
import {
  type Application,
  type ApplicationRequest,
  type CreateEmailMessageTemplateRequest,
  type CreateMessageTemplateRequest,
  type EmailMessageTemplate,
  type Guard,
  isApplication,
  isEmailMessageTemplate,
  isListOf,
  isMessageTemplate,
  isSendPinAnswer,
  isString,
  isVerificationsAnswer,
  isVerifyPinAnswer,
  type MessageTemplate,
  type SendPinAnswer,
  type UpdateEmailMessageTemplateRequest,
  type UpdateMessageTemplateRequest,
  type VerifyPinAnswer,
} from './shapes.js';

/** The last argument of every operation. */
export interface CallOptions {
  /**
   * Ends the waiting: the call rejects with the signal's reason. A message or a check that was on its way may
   * have gone through all the same.
   */
  signal?: AbortSignal;
}

/** `SendPinRequest`, and what else Infobip lets one say. */
export interface InfobipSendPinRequest extends SendPinRequest {
  /** Takes the place of the template's sender. */
  from?: string;
  /** E-mail: values for the placeholders of the opt-out page. */
  landingPagePlaceholders?: Record<string, string>;
  /** SMS and voice: delivery reports by way of Infobip's subscriptions. Infobip's default: false. */
  trackDelivery?: boolean;
  /** SMS: look the number up before sending, which is charged. Infobip's default: true. */
  ncNeeded?: boolean;
}

/** `ResendPinRequest`, and what else Infobip lets one say. */
export interface InfobipResendPinRequest extends ResendPinRequest {
  /** E-mail: values for the placeholders of the opt-out page. */
  landingPagePlaceholders?: Record<string, string>;
  /** SMS and voice. Infobip's default: false. */
  trackDelivery?: boolean;
}

/** Infobip's own answer, and whether the message was sent. `pinId` is empty only where nothing was sent. */
export type InfobipSentPin = SentPin & SendPinAnswer;

/** Infobip's own answer, judged. */
export type InfobipPinVerification = PinVerification & VerifyPinAnswer;

export interface VerificationStatusQuery {
  /** A phone number, with or without its `+`, or an e-mail address. */
  msisdn: string;
  /** Only those verified, or only those not. */
  verified?: boolean;
  /** Only those sent, or only those not. */
  sent?: boolean;
}

/** One PIN of a number. `verifiedAt` may be set where `verified` is false. */
export interface Verification {
  msisdn?: string;
  verified?: boolean;
  verifiedAt?: Date;
  sentAt?: Date;
}

interface Operation<T> {
  name: string;
  method: 'GET' | 'POST' | 'PUT';
  path: string;
  body?: object;
  isAnswer: Guard<T>;
  /** Of this request alone, besides the credentials. */
  secrets?: readonly string[];
  /** Sends a message or judges a PIN: errors say whether it may have happened. */
  isSend?: boolean;
}

const VERSION = '0.1.0';
const CLASS = 'Infobip2faClient';
const READ_ATTEMPTS = 3;
const LONGEST_WAIT_SECONDS = 60;
const NOT_REACHABLE = ['NC_DESTINATION_NOT_REACHABLE', 'NC_NOT_REACHABLE'];

/**
 * Infobip's 2FA service, all 18 operations. Refusals and failures are thrown as `InfobipError`; a wrong PIN is a
 * result. Sends and checks are repeated only where they surely did not leave; reads are tried three times.
 */
export class Infobip2faClient implements OtpClient {
  readonly #authorizer: Authorizer;
  readonly #transport: Transport;
  readonly #userAgent: string;

  /** Reads `INFOBIP_BASE_URL` and `INFOBIP_API_KEY` (or another way's variables). Empty counts as unset. */
  static fromEnv(
    env: Readonly<Record<string, string | undefined>> = process.env,
    settings: ClientSettings = {},
  ): Infobip2faClient {
    return new Infobip2faClient(optionsFromEnv(env, settings, `${CLASS}.fromEnv`));
  }

  constructor(options: Infobip2faClientOptions) {
    assertOptions(options, CLASS);
    const { timeoutMs = 15_000, userAgent = `passport-sms-otp/${VERSION} (node)`, dispatcher } = options;
    const url = new URL(withScheme(options.baseUrl));
    this.#userAgent = userAgent;
    this.#transport = openTransport({
      origin: url.origin,
      pathPrefix: url.pathname.replace(/\/+$/, ''),
      timeoutMs,
      ...(dispatcher === undefined ? {} : { dispatcher }),
    });
    this.#authorizer = authorizerFor(options, this.#transport, userAgent);
  }

  /** Makes a PIN and sends it. For SMS and voice, `to` may carry a `+`, spaces and hyphens. */
  async sendPin(request: InfobipSendPinRequest, options: CallOptions = {}): Promise<InfobipSentPin> {
    const { channel, applicationId, messageId, from, placeholders, trackDelivery, ncNeeded } = request;
    const to = recipientOf(text(request.to, 'to'), channel === 'email');
    const common = {
      applicationId: text(applicationId, 'applicationId'),
      messageId: text(messageId, 'messageId'),
      to,
      from,
      placeholders,
    };
    const query = channel === 'sms' && ncNeeded !== undefined ? `?ncNeeded=${ncNeeded}` : '';
    const answer = await this.#call(
      {
        name: 'sendPin',
        method: 'POST',
        path: `/2fa/2/pin${pathOf(channel)}${query}`,
        body:
          channel === 'email'
            ? { ...common, landingPagePlaceholders: request.landingPagePlaceholders }
            : { ...common, trackDelivery },
        isAnswer: isUsableSend,
        secrets: [request.to, to],
        isSend: true,
      },
      options,
    );
    return judgeSend(answer);
  }

  /** Sends the same PIN again, by the same way or another. Keep the `pinId` of the answer. */
  async resendPin(
    pinId: string,
    request: InfobipResendPinRequest = {},
    options: CallOptions = {},
  ): Promise<InfobipSentPin> {
    const { channel = 'sms', placeholders, trackDelivery, landingPagePlaceholders } = request;
    const answer = await this.#call(
      {
        name: 'resendPin',
        method: 'POST',
        path: `/2fa/2/pin/${pinIdInPath(pinId)}/resend${pathOf(channel)}`,
        body:
          channel === 'email' ? { placeholders, landingPagePlaceholders } : { placeholders, trackDelivery },
        isAnswer: isUsableSend,
        secrets: [pinId],
        isSend: true,
      },
      options,
    );
    return judgeSend(answer);
  }

  /** Asks whether `pin` is the PIN of `pinId`. `verified` is true for nothing but Infobip's own `true`. */
  async verifyPin(pinId: string, pin: string, options: CallOptions = {}): Promise<InfobipPinVerification> {
    const answer = await this.#call(
      {
        name: 'verifyPin',
        method: 'POST',
        path: `/2fa/2/pin/${pinIdInPath(pinId)}/verify`,
        body: { pin: text(pin, 'pin') },
        // The answer to another question logs nobody in.
        isAnswer: (value): value is VerifyPinAnswer => isVerifyPinAnswer(value) && value.pinId === pinId,
        secrets: [pin, pinId],
        isSend: true,
      },
      options,
    );
    return answer.verified
      ? { ...answer, verified: true, msisdn: answer.msisdn ?? '' }
      : { ...answer, verified: false, reason: reasonOf(answer.pinError) };
  }

  /** What became of the PINs of a number or an e-mail address. */
  async getVerificationStatus(
    applicationId: string,
    query: VerificationStatusQuery,
    options: CallOptions = {},
  ): Promise<{ verifications: Verification[] }> {
    const msisdn = recipientOf(text(query.msisdn, 'msisdn'), query.msisdn.includes('@'));
    const search = new URLSearchParams({ msisdn });
    if (query.verified !== undefined) {
      search.set('verified', String(query.verified));
    }
    if (query.sent !== undefined) {
      search.set('sent', String(query.sent));
    }
    const answer = await this.#call(
      {
        name: 'getVerificationStatus',
        method: 'GET',
        path: `${applicationPath(applicationId)}/verifications?${search}`,
        isAnswer: isVerificationsAnswer,
        secrets: [query.msisdn, msisdn],
      },
      options,
    );
    return {
      ...answer,
      verifications: answer.verifications.map(({ verifiedAt, sentAt, ...rest }) => ({
        ...rest,
        ...(verifiedAt === undefined ? {} : { verifiedAt: dateOf(verifiedAt) }),
        ...(sentAt === undefined ? {} : { sentAt: dateOf(sentAt) }),
      })),
    };
  }

  async listApplications(options: CallOptions = {}): Promise<Application[]> {
    return await this.#call(
      {
        name: 'listApplications',
        method: 'GET',
        path: '/2fa/2/applications',
        isAnswer: isListOf(isApplication),
      },
      options,
    );
  }

  /** Not idempotent: a second one of the same name is another application. */
  async createApplication(request: ApplicationRequest, options: CallOptions = {}): Promise<Application> {
    return await this.#call(
      {
        name: 'createApplication',
        method: 'POST',
        path: '/2fa/2/applications',
        body: request,
        isAnswer: isApplication,
      },
      options,
    );
  }

  async getApplication(applicationId: string, options: CallOptions = {}): Promise<Application> {
    return await this.#call(
      {
        name: 'getApplication',
        method: 'GET',
        path: applicationPath(applicationId),
        isAnswer: isApplication,
      },
      options,
    );
  }

  /** Infobip does not say whether what is left out keeps its value: give the whole application. */
  async updateApplication(
    applicationId: string,
    request: ApplicationRequest,
    options: CallOptions = {},
  ): Promise<Application> {
    return await this.#call(
      {
        name: 'updateApplication',
        method: 'PUT',
        path: applicationPath(applicationId),
        body: request,
        isAnswer: isApplication,
      },
      options,
    );
  }

  /** The templates of all channels. */
  async listMessageTemplates(applicationId: string, options: CallOptions = {}): Promise<MessageTemplate[]> {
    return await this.#call(
      {
        name: 'listMessageTemplates',
        method: 'GET',
        path: `${applicationPath(applicationId)}/messages`,
        isAnswer: isListOf(isMessageTemplate),
      },
      options,
    );
  }

  /** A template for SMS and voice. Not idempotent. */
  async createMessageTemplate(
    applicationId: string,
    request: CreateMessageTemplateRequest,
    options: CallOptions = {},
  ): Promise<MessageTemplate> {
    return await this.#call(
      {
        name: 'createMessageTemplate',
        method: 'POST',
        path: `${applicationPath(applicationId)}/messages`,
        body: request,
        isAnswer: isMessageTemplate,
      },
      options,
    );
  }

  /** A template of any channel. */
  async getMessageTemplate(
    applicationId: string,
    messageId: string,
    options: CallOptions = {},
  ): Promise<MessageTemplate> {
    return await this.#call(
      {
        name: 'getMessageTemplate',
        method: 'GET',
        path: `${applicationPath(applicationId)}/messages/${inPath(messageId, 'messageId')}`,
        isAnswer: isMessageTemplate,
      },
      options,
    );
  }

  async updateMessageTemplate(
    applicationId: string,
    messageId: string,
    request: UpdateMessageTemplateRequest,
    options: CallOptions = {},
  ): Promise<MessageTemplate> {
    return await this.#call(
      {
        name: 'updateMessageTemplate',
        method: 'PUT',
        path: `${applicationPath(applicationId)}/messages/${inPath(messageId, 'messageId')}`,
        body: request,
        isAnswer: isMessageTemplate,
      },
      options,
    );
  }

  /** Not idempotent. */
  async createEmailMessageTemplate(
    applicationId: string,
    request: CreateEmailMessageTemplateRequest,
    options: CallOptions = {},
  ): Promise<EmailMessageTemplate> {
    return await this.#call(
      {
        name: 'createEmailMessageTemplate',
        method: 'POST',
        path: `${applicationPath(applicationId)}/email/messages`,
        body: request,
        isAnswer: isEmailMessageTemplate,
      },
      options,
    );
  }

  async updateEmailMessageTemplate(
    applicationId: string,
    messageId: string,
    request: UpdateEmailMessageTemplateRequest,
    options: CallOptions = {},
  ): Promise<EmailMessageTemplate> {
    return await this.#call(
      {
        name: 'updateEmailMessageTemplate',
        method: 'PUT',
        path: `${applicationPath(applicationId)}/email/messages/${inPath(messageId, 'messageId')}`,
        body: request,
        isAnswer: isEmailMessageTemplate,
      },
      options,
    );
  }

  /** Waits for what is under way and closes our connections. A given dispatcher stays open. */
  async close(): Promise<void> {
    await this.#transport.close();
  }

  async #call<T>(operation: Operation<T>, { signal }: CallOptions): Promise<T> {
    const { name, method, path, isAnswer, secrets = [], isSend = false } = operation;
    const body = operation.body === undefined ? undefined : JSON.stringify(operation.body);
    let renewed = false;
    for (let attempt = 1; ; attempt += 1) {
      const made = this.#authorizer.header();
      const authorization = isString(made) ? made : await unlessAborted(made, signal);
      const outcome = await this.#transport.exchange(
        {
          method,
          path,
          headers:
            body === undefined
              ? { authorization, accept: 'application/json', 'user-agent': this.#userAgent }
              : {
                  authorization,
                  accept: 'application/json',
                  'content-type': 'application/json',
                  'user-agent': this.#userAgent,
                },
          ...(body === undefined ? {} : { body }),
        },
        signal,
      );
      if ('body' in outcome && (outcome.status === 200 || outcome.status === 201)) {
        const answer = parseJson(outcome.body);
        if (isAnswer(answer)) {
          return answer;
        }
      }
      if (outcome.status === 401 && !renewed && this.#authorizer.refused(authorization)) {
        renewed = true;
        continue;
      }
      const error = errorOf(outcome, {
        operation: name,
        secrets: [
          ...secrets,
          ...this.#authorizer.secrets,
          authorization.slice(authorization.indexOf(' ') + 1),
        ],
        ...(isSend ? { sent: 'unknown' } : {}),
      });
      const waitMs = waitBeforeRepeat(method, outcome, error, attempt);
      if (waitMs === undefined) {
        throw error;
      }
      await pause(waitMs, signal);
    }
  }
}

/** Milliseconds until the request may be made once more; undefined when it must not be. */
function waitBeforeRepeat(
  method: string,
  outcome: Outcome,
  { code, retryAfterSeconds }: InfobipError,
  attempt: number,
): number | undefined {
  // Half of it by chance, so that processes which failed together do not come back together.
  const backoffMs = 200 * 2 ** (attempt - 1) * (0.5 + Math.random() / 2);
  if (method !== 'GET') {
    const mayConnect = 'left' in outcome && !outcome.left && code === 'ERR_INFOBIP_UNREACHABLE';
    const isClosed = 'cause' in outcome && codeOf(outcome.cause)?.startsWith('UND_ERR_') === true;
    return mayConnect && !isClosed && attempt === 1 ? backoffMs : undefined;
  }
  const mayPass =
    code === 'ERR_INFOBIP_UNREACHABLE' ||
    code === 'ERR_INFOBIP_TIMEOUT' ||
    code === 'ERR_INFOBIP_RATE_LIMITED' ||
    code === 'ERR_INFOBIP_UNAVAILABLE';
  if (!mayPass || attempt >= READ_ATTEMPTS) {
    return undefined;
  }
  return retryAfterSeconds === undefined
    ? backoffMs
    : Math.min(retryAfterSeconds, LONGEST_WAIT_SECONDS) * 1000;
}

async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  try {
    await sleep(ms, undefined, signal === undefined ? {} : { signal });
  } catch (error) {
    throw signal?.aborted ? signal.reason : error;
  }
}

/** Waits for what others wait for too: an abort ends this waiting only. */
async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) {
    return await promise;
  }
  signal.throwIfAborted();
  let onAbort = (): void => {};
  const aborted = new Promise<never>((_resolve, reject) => {
    onAbort = () => reject(signal.reason);
    signal.addEventListener('abort', onAbort);
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

const PIN_ID = /^[0-9A-Za-z_-]{1,128}$/;

/** Without a usable PIN id a message that was sent is lost; one that was not sent needs none. */
function isUsableSend(value: unknown): value is SendPinAnswer {
  return isSendPinAnswer(value) && (isPinId(value.pinId) || (value.pinId === undefined && !isSent(value)));
}

function isPinId(value: unknown): value is string {
  return isString(value) && PIN_ID.test(value);
}

function isSent({ smsStatus, ncStatus = '', callStatus, emailStatus }: SendPinAnswer): boolean {
  if (smsStatus === 'MESSAGE_SENT') {
    return true;
  }
  // Infobip's names for a final no begin so, whatever else it may add to these sets.
  const isRefused = [callStatus, emailStatus?.name].some((status) =>
    /^(REJECTED|UNDELIVERABLE)_/.test(status ?? ''),
  );
  return smsStatus !== 'MESSAGE_NOT_SENT' && !NOT_REACHABLE.includes(ncStatus) && !isRefused;
}

function judgeSend(answer: SendPinAnswer): InfobipSentPin {
  return { ...answer, pinId: answer.pinId ?? '', sent: isSent(answer) };
}

function reasonOf(pinError: string | undefined): 'wrong_pin' | 'expired' | 'no_more_attempts' | 'unknown' {
  switch (pinError) {
    case 'WRONG_PIN':
      return 'wrong_pin';
    case 'TTL_EXPIRED':
      return 'expired';
    case 'NO_MORE_PIN_ATTEMPTS':
      return 'no_more_attempts';
    default:
      return 'unknown';
  }
}

/** Documented as milliseconds, shown as seconds: 1e11 is the year 5138 in one and 1973 in the other. */
function dateOf(time: number): Date {
  return new Date(time < 1e11 ? time * 1000 : time);
}

/** Infobip's numbers are digits only. */
function recipientOf(to: string, isEmail: boolean): string {
  return isEmail ? to : to.replace(/[+\s-]/g, '');
}

function pathOf(channel: string): string {
  switch (channel) {
    case 'sms':
      return '';
    case 'voice':
    case 'email':
      return `/${channel}`;
    default:
      throw misuse(CLASS, 'channel must be "sms", "voice" or "email".');
  }
}

function applicationPath(applicationId: string): string {
  return `/2fa/2/applications/${inPath(applicationId, 'applicationId')}`;
}

function inPath(id: string, name: string): string {
  if (/^\.{0,2}$/.test(text(id, name))) {
    throw misuse(CLASS, `${name} is no id. Give it as Infobip returned it.`);
  }
  return encodeURIComponent(id);
}

function pinIdInPath(pinId: string): string {
  if (!isPinId(pinId)) {
    throw misuse(CLASS, 'pinId is no PIN id. Give the pinId of the last send or resend, as it came.');
  }
  return encodeURIComponent(pinId);
}

function text(value: string, name: string): string {
  if (!isString(value) || value === '') {
    throw misuse(CLASS, `${name} must be a non-empty string.`);
  }
  return value;
}
