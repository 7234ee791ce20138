/** The operations of the 2FA API, the token endpoint and the session endpoint: addresses, scopes, and what they run. */

import type { Behaviour } from './behaviour.js';
import type { Credentials, Scope } from './credentials.js';
import { ServiceError } from './errors.js';
import type { Named } from './faults.js';
import type { Channel, TwoFactorService } from './service.js';

/** One request, taken apart. */
export interface Call {
  service: TwoFactorService;
  credentials: Credentials;
  /** The variable segments of the path, in its order. */
  params: readonly string[];
  query: URLSearchParams;
  /** Parsed JSON; undefined when the request has no body. */
  body: unknown;
  /** The body as it came, for forms. */
  text: string;
  authorization: string | undefined;
  address: string;
  /** What a fault wants the number lookup to say. */
  ncStatus: string | undefined;
}

export interface Operation extends Named {
  method: string;
  path: RegExp;
  /** Any one of them is enough; none: the operation asks for credentials of its own. */
  scopes: readonly Scope[];
  takes: 'json' | 'form' | 'nothing';
  status: (behaviour: Behaviour) => number;
  /** Published limit on the requests of one account. */
  requestLimit: string | undefined;
  run: (call: Call) => object;
}

const manage: readonly Scope[] = ['2fa:manage'];
const pin: readonly Scope[] = ['2fa:manage', '2fa:pin:send'];
/** As the document has it, unlike all its siblings. */
const emailResend: readonly Scope[] = ['2fa:pin:manage', '2fa:pin:send'];

type Extras = Partial<Pick<Operation, 'takes' | 'status' | 'requestLimit' | 'looksUp' | 'onlyByName'>>;

/** `line` is method and path; `names` are the operationId and the short names, apart by spaces. */
function operation(
  line: string,
  names: string,
  scopes: readonly Scope[],
  run: Operation['run'],
  extras: Extras = {},
): Operation {
  const [method = '', path = ''] = line.split(' ');
  return {
    method,
    path: new RegExp(`^${path.replace(/\{\w+\}/g, '([^/]+)')}$`),
    names: names.split(' '),
    scopes,
    takes: method === 'GET' || method === 'DELETE' ? 'nothing' : 'json',
    status: () => 200,
    requestLimit: undefined,
    looksUp: false,
    onlyByName: false,
    run,
    ...extras,
  };
}

const send = (channel: Channel, { service, query, body, ncStatus }: Call) =>
  service.sendPin(channel, body, {
    ncNeeded: channel === 'sms' ? flag(query, 'ncNeeded') : undefined,
    ncStatus,
  });

const resend = (channel: Channel, { service, params: [pinId = ''], body, ncStatus }: Call) =>
  service.resendPin(channel, pinId, body, { ncStatus });

const apps = '/2fa/2/applications';

export const operations: readonly Operation[] = [
  operation(
    'POST /2fa/2/pin',
    'send-2fa-pin-code-over-sms sendPin sendPinOverSms',
    pin,
    (call) => send('sms', call),
    { looksUp: true },
  ),
  operation(
    'POST /2fa/2/pin/{pinId}/verify',
    'verify-2fa-phone-number verifyPin',
    pin,
    ({ service, params: [pinId = ''], body }) => service.verifyPin(pinId, body),
  ),
  operation('POST /2fa/2/pin/voice', 'send-2fa-pin-code-over-voice sendPin sendPinOverVoice', pin, (call) =>
    send('voice', call),
  ),
  operation('POST /2fa/2/pin/email', 'send-2fa-pin-code-over-email sendPin sendPinOverEmail', pin, (call) =>
    send('email', call),
  ),
  operation(
    'POST /2fa/2/pin/{pinId}/resend',
    'resend-2fa-pin-code-over-sms resendPin resendPinOverSms',
    pin,
    (call) => resend('sms', call),
    { looksUp: true },
  ),
  operation(
    'POST /2fa/2/pin/{pinId}/resend/voice',
    'resend-2fa-pin-code-over-voice resendPin resendPinOverVoice',
    pin,
    (call) => resend('voice', call),
  ),
  operation(
    'POST /2fa/2/pin/{pinId}/resend/email',
    'resend-2fa-pin-code-over-email resendPin resendPinOverEmail',
    emailResend,
    (call) => resend('email', call),
  ),
  operation(
    `GET ${apps}/{appId}/verifications`,
    'get-2fa-verification-status getVerificationStatus',
    pin,
    ({ service, params: [appId = ''], query }) =>
      service.verifications(appId, {
        msisdn: query.get('msisdn') ?? '',
        verified: flag(query, 'verified'),
        sent: flag(query, 'sent'),
      }),
  ),
  operation(
    `GET ${apps}`,
    'get-2fa-applications listApplications',
    manage,
    ({ service }) => service.applications.list(),
    { requestLimit: '50/10m' },
  ),
  operation(
    `POST ${apps}`,
    'create-2fa-application createApplication',
    manage,
    ({ service, body }) => service.applications.create(body),
    { requestLimit: '20/10m', status: ({ createStatus }) => createStatus },
  ),
  operation(
    `GET ${apps}/{appId}`,
    'get-2fa-application getApplication',
    manage,
    ({ service, params: [appId = ''] }) => service.applications.get(appId),
    { requestLimit: '100/10m' },
  ),
  operation(
    `PUT ${apps}/{appId}`,
    'update-2fa-application updateApplication',
    manage,
    ({ service, params: [appId = ''], body }) => service.applications.update(appId, body),
    { requestLimit: '40/10m' },
  ),
  operation(
    `GET ${apps}/{appId}/messages`,
    'get-2fa-message-templates listMessageTemplates',
    manage,
    ({ service, params: [appId = ''] }) => service.applications.listTemplates(appId),
  ),
  operation(
    `POST ${apps}/{appId}/messages`,
    'create-2fa-message-template createMessageTemplate',
    manage,
    ({ service, params: [appId = ''], body }) => service.applications.createTextTemplate(appId, body),
  ),
  operation(
    `GET ${apps}/{appId}/messages/{msgId}`,
    'get-2fa-message-template getMessageTemplate',
    manage,
    ({ service, params: [appId = '', msgId = ''] }) => service.applications.getTemplate(appId, msgId),
  ),
  operation(
    `PUT ${apps}/{appId}/messages/{msgId}`,
    'update-2fa-message-template updateMessageTemplate',
    manage,
    ({ service, params: [appId = '', msgId = ''], body }) =>
      service.applications.updateTextTemplate(appId, msgId, body),
  ),
  operation(
    `POST ${apps}/{appId}/email/messages`,
    'create-2fa-email-message-template createEmailMessageTemplate',
    manage,
    ({ service, params: [appId = ''], body }) => service.applications.createEmailTemplate(appId, body),
    { requestLimit: '20/10m' },
  ),
  operation(
    `PUT ${apps}/{appId}/email/messages/{msgId}`,
    'update-2fa-email-message-template updateEmailMessageTemplate',
    manage,
    ({ service, params: [appId = '', msgId = ''], body }) =>
      service.applications.updateEmailTemplate(appId, msgId, body),
    { requestLimit: '40/10m' },
  ),
  operation(
    'POST /auth/1/oauth2/token',
    'getToken',
    [],
    ({ credentials, text }) => credentials.issueToken(new URLSearchParams(text)),
    { takes: 'form', onlyByName: true },
  ),
  operation(
    'POST /auth/1/session',
    'createSession',
    [],
    ({ credentials, body, address }) => credentials.openSession(body, address),
    { onlyByName: true },
  ),
  operation(
    'DELETE /auth/1/session',
    'deleteSession',
    [],
    ({ credentials, authorization, address }) => credentials.endSession(authorization, address),
    { onlyByName: true },
  ),
];

function flag(query: URLSearchParams, name: string): boolean | undefined {
  const value = query.get(name);
  if (value === null) return undefined;
  if (value === 'true' || value === 'false') return value === 'true';
  throw new ServiceError(400, { text: `The parameter ${name} must be true or false.` });
}
