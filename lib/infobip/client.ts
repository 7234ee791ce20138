import { setTimeout as sleep } from 'node:timers/promises';
import type { OtpClient, PinVerification, ResendPinRequest, SendPinRequest, SentPin } from '../otp-client.js';
import { type Authorizer, authorizerFor } from './auth.js';
import { errorOf, type InfobipError, misuse, parseJson } from './errors.js';
import { codeOf, type HttpRequest, type Outcome, openTransport, type Transport } from './http.js';
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
  type VerificationAnswer,
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

/** One request of an operation: method, path, and the body before it is made JSON. */
type Call = readonly [method: 'GET' | 'POST' | 'PUT', path: string, body?: object];

interface CallTraits {
  /** Not to be shown in an error, besides the credentials. */
  secrets?: readonly string[];
  /** Sends a message or judges a PIN: errors say whether that may have happened. */
  isSend?: boolean;
}

const VERSION = '0.1.0';
const CLASS = 'Infobip2faClient';
const READ_ATTEMPTS = 3;
const LONGEST_WAIT_MS = 60_000;
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
  async sendPin(request: InfobipSendPinRequest, options?: CallOptions): Promise<InfobipSentPin> {
    const { channel, from, placeholders, landingPagePlaceholders, trackDelivery, ncNeeded } = request;
    const applicationId = text(request.applicationId, 'applicationId');
    const messageId = text(request.messageId, 'messageId');
    const to = recipientOf(text(request.to, 'to'), channel === 'email');
    const query = channel === 'sms' && ncNeeded !== undefined ? `?ncNeeded=${ncNeeded}` : '';
    const body =
      channel === 'email'
        ? { applicationId, messageId, to, from, placeholders, landingPagePlaceholders }
        : { applicationId, messageId, to, from, placeholders, trackDelivery };
    const path = `/2fa/2/pin${pathOf(channel)}${query}`;
    const traits = { secrets: [request.to, to], isSend: true };
    return judgeSend(await this.#call('sendPin', ['POST', path, body], isUsableSend, options, traits));
  }

  /** Sends the same PIN again, by the same way or another. Keep the `pinId` of the answer. */
  async resendPin(
    pinId: string,
    request: InfobipResendPinRequest = {},
    options?: CallOptions,
  ): Promise<InfobipSentPin> {
    const { channel = 'sms', placeholders, trackDelivery, landingPagePlaceholders } = request;
    const body =
      channel === 'email' ? { placeholders, landingPagePlaceholders } : { placeholders, trackDelivery };
    const path = `${pinPath(pinId)}/resend${pathOf(channel)}`;
    const traits = { secrets: [pinId], isSend: true };
    return judgeSend(await this.#call('resendPin', ['POST', path, body], isUsableSend, options, traits));
  }

  /** Asks whether `pin` is the PIN of `pinId`. `verified` is true for nothing but Infobip's own `true`. */
  async verifyPin(pinId: string, pin: string, options?: CallOptions): Promise<InfobipPinVerification> {
    const body = { pin: text(pin, 'pin') };
    // The answer to another question logs nobody in.
    const isAnswer = (value: unknown): value is VerifyPinAnswer =>
      isVerifyPinAnswer(value) && value.pinId === pinId;
    const traits = { secrets: [pin, pinId], isSend: true };
    const call: Call = ['POST', `${pinPath(pinId)}/verify`, body];
    const answer = await this.#call('verifyPin', call, isAnswer, options, traits);
    return answer.verified
      ? { ...answer, verified: true, msisdn: answer.msisdn ?? '' }
      : { ...answer, verified: false, reason: reasonOf(answer.pinError) };
  }

  /** What became of the PINs of a number or an e-mail address. */
  async getVerificationStatus(
    applicationId: string,
    query: VerificationStatusQuery,
    options?: CallOptions,
  ): Promise<{ verifications: Verification[] }> {
    const msisdn = recipientOf(text(query.msisdn, 'msisdn'), query.msisdn.includes('@'));
    const search = new URLSearchParams({ msisdn });
    for (const filter of ['verified', 'sent'] as const) {
      if (query[filter] !== undefined) {
        search.set(filter, String(query[filter]));
      }
    }
    const call: Call = ['GET', `${applicationPath(applicationId)}/verifications?${search}`];
    const traits = { secrets: [query.msisdn, msisdn] };
    const answer = await this.#call('getVerificationStatus', call, isVerificationsAnswer, options, traits);
    return { ...answer, verifications: answer.verifications.map(withDates) };
  }

  async listApplications(options?: CallOptions): Promise<Application[]> {
    return await this.#call('listApplications', ['GET', APPLICATIONS], isListOf(isApplication), options);
  }

  /** Not idempotent: a second one of the same name is another application. */
  async createApplication(request: ApplicationRequest, options?: CallOptions): Promise<Application> {
    return await this.#call('createApplication', ['POST', APPLICATIONS, request], isApplication, options);
  }

  async getApplication(applicationId: string, options?: CallOptions): Promise<Application> {
    return await this.#call(
      'getApplication',
      ['GET', applicationPath(applicationId)],
      isApplication,
      options,
    );
  }

  /** Infobip does not say whether what is left out keeps its value: give the whole application. */
  async updateApplication(
    applicationId: string,
    request: ApplicationRequest,
    options?: CallOptions,
  ): Promise<Application> {
    const call: Call = ['PUT', applicationPath(applicationId), request];
    return await this.#call('updateApplication', call, isApplication, options);
  }

  /** The templates of all channels. */
  async listMessageTemplates(applicationId: string, options?: CallOptions): Promise<MessageTemplate[]> {
    const call: Call = ['GET', templatesPath(applicationId)];
    return await this.#call('listMessageTemplates', call, isListOf(isMessageTemplate), options);
  }

  /** Makes a template for SMS and voice. Not idempotent. */
  async createMessageTemplate(
    applicationId: string,
    request: CreateMessageTemplateRequest,
    options?: CallOptions,
  ): Promise<MessageTemplate> {
    const call: Call = ['POST', templatesPath(applicationId), request];
    return await this.#call('createMessageTemplate', call, isMessageTemplate, options);
  }

  /** A template of any channel. */
  async getMessageTemplate(
    applicationId: string,
    messageId: string,
    options?: CallOptions,
  ): Promise<MessageTemplate> {
    const call: Call = ['GET', templatePath(applicationId, messageId)];
    return await this.#call('getMessageTemplate', call, isMessageTemplate, options);
  }

  /** Changes a template for SMS and voice. */
  async updateMessageTemplate(
    applicationId: string,
    messageId: string,
    request: UpdateMessageTemplateRequest,
    options?: CallOptions,
  ): Promise<MessageTemplate> {
    const call: Call = ['PUT', templatePath(applicationId, messageId), request];
    return await this.#call('updateMessageTemplate', call, isMessageTemplate, options);
  }

  /** Makes a template for e-mail. Not idempotent. */
  async createEmailMessageTemplate(
    applicationId: string,
    request: CreateEmailMessageTemplateRequest,
    options?: CallOptions,
  ): Promise<EmailMessageTemplate> {
    const call: Call = ['POST', templatesPath(applicationId, '/email'), request];
    return await this.#call('createEmailMessageTemplate', call, isEmailMessageTemplate, options);
  }

  /** Changes a template for e-mail. */
  async updateEmailMessageTemplate(
    applicationId: string,
    messageId: string,
    request: UpdateEmailMessageTemplateRequest,
    options?: CallOptions,
  ): Promise<EmailMessageTemplate> {
    const call: Call = ['PUT', templatePath(applicationId, messageId, '/email'), request];
    return await this.#call('updateEmailMessageTemplate', call, isEmailMessageTemplate, options);
  }

  /** Waits for what is under way and closes our connections. A given dispatcher stays open. */
  async close(): Promise<void> {
    await this.#transport.close();
  }

  async #call<T>(
    operation: string,
    [method, path, content]: Call,
    isAnswer: Guard<T>,
    { signal }: CallOptions = {},
    { secrets = [], isSend = false }: CallTraits = {},
  ): Promise<T> {
    const request: HttpRequest = {
      method,
      path,
      headers: { accept: 'application/json', 'user-agent': this.#userAgent },
    };
    if (content !== undefined) {
      request.body = JSON.stringify(content);
      request.headers['content-type'] = 'application/json';
    }
    let isRenewed = false;
    for (let attempt = 1; ; attempt += 1) {
      // First: a token that nobody waits for and that cannot be had would end the process.
      signal?.throwIfAborted();
      const header = this.#authorizer.header();
      const authorization = isString(header) ? header : await unlessAborted(header, signal);
      request.headers.authorization = authorization;
      const outcome = await this.#transport.exchange(request, signal);
      if ('body' in outcome && (outcome.status === 200 || outcome.status === 201)) {
        const answer = parseJson(outcome.body);
        if (isAnswer(answer)) {
          return answer;
        }
      }
      if (outcome.status === 401 && !isRenewed && this.#authorizer.refused(authorization)) {
        isRenewed = true;
        continue;
      }
      const error = errorOf(outcome, {
        operation,
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
  return Math.min((retryAfterSeconds ?? 0) * 1000 + backoffMs, LONGEST_WAIT_MS);
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
  // Infobip's names for a final no begin so, whatever else it may add to these sets; two say it in their own way.
  const isRefused = [callStatus, emailStatus?.name].some((status) =>
    /^(REJECTED|UNDELIVERABLE)_|^(BAD_REQUEST|SIGNALS_BLOCKED)$/.test(status ?? ''),
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

function withDates({ verifiedAt, sentAt, ...rest }: VerificationAnswer): Verification {
  return {
    ...rest,
    ...(verifiedAt === undefined ? {} : { verifiedAt: dateOf(verifiedAt) }),
    ...(sentAt === undefined ? {} : { sentAt: dateOf(sentAt) }),
  };
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

const APPLICATIONS = '/2fa/2/applications';

function applicationPath(applicationId: string): string {
  return `${APPLICATIONS}/${inPath(applicationId, 'applicationId')}`;
}

function templatesPath(applicationId: string, kind: '' | '/email' = ''): string {
  return `${applicationPath(applicationId)}${kind}/messages`;
}

function templatePath(applicationId: string, messageId: string, kind: '' | '/email' = ''): string {
  return `${templatesPath(applicationId, kind)}/${inPath(messageId, 'messageId')}`;
}

/** Part of a path cannot be empty, nor one of the names that stand for other folders. */
function inPath(id: string, name: string): string {
  if (/^\.{1,2}$/.test(text(id, name))) {
    throw misuse(CLASS, `${name} is no id. Give it as Infobip returned it.`);
  }
  return encodeURIComponent(id);
}

function pinPath(pinId: string): string {
  if (!isPinId(pinId)) {
    throw misuse(CLASS, 'pinId is no PIN id. Give the pinId of the last send or resend, as it came.');
  }
  return `/2fa/2/pin/${encodeURIComponent(pinId)}`;
}

function text(value: string, name: string): string {
  if (!isString(value) || value === '') {
    throw misuse(CLASS, `${name} must be a non-empty string.`);
  }
  return value;
}
