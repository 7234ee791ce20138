import { type AnswerHeaders, codeOf, type Failure, type Outcome } from './http.js';
import { isRecord, isString } from './shapes.js';

/** What went wrong, one code for each thing that a caller may want to do about it. */
export type InfobipErrorCode =
  /** No connection, or it broke before an answer came. */
  | 'ERR_INFOBIP_UNREACHABLE'
  | 'ERR_INFOBIP_TIMEOUT'
  /** 400, and every other 4xx without a code of its own. */
  | 'ERR_INFOBIP_BAD_REQUEST'
  | 'ERR_INFOBIP_UNAUTHORIZED'
  | 'ERR_INFOBIP_FORBIDDEN'
  | 'ERR_INFOBIP_NOT_FOUND'
  | 'ERR_INFOBIP_RATE_LIMITED'
  /** 5xx. */
  | 'ERR_INFOBIP_UNAVAILABLE'
  /** Not the service's language: no JSON, another shape, a redirect, cut off or without end. */
  | 'ERR_INFOBIP_UNEXPECTED_RESPONSE';

/** One complaint of the service about a request. */
export interface InfobipViolation {
  property: string;
  violation: string;
}

export interface InfobipErrorDetails {
  code: InfobipErrorCode;
  /** The HTTP status, where there was an answer. */
  status?: number | undefined;
  /** The service's `X-Request-Id`, for its support. */
  requestId?: string | undefined;
  /** The service's `Retry-After`, in seconds. */
  retryAfterSeconds?: number | undefined;
  /** The service's own code, for instance `BAD_REQUEST` or `E400`. */
  serviceMessageId?: string | undefined;
  violations?: readonly InfobipViolation[] | undefined;
  cause?: Error | undefined;
  /**
   * For sends and checks. False: surely nothing was sent (or judged). `'unknown'`: it may have been. Also false
   * when no access token was to be had, whatever the operation.
   */
  sent?: false | 'unknown' | undefined;
}

/**
 * The service refused, failed or was not there. What is not known is not set. No key, token, password, PIN, PIN
 * id or recipient stands in any of it, also when the service repeated one in its answer.
 */
export class InfobipError extends Error {
  static {
    InfobipError.prototype.name = 'InfobipError';
  }
  declare readonly code: InfobipErrorCode;
  declare readonly status?: number;
  declare readonly requestId?: string;
  declare readonly retryAfterSeconds?: number;
  declare readonly serviceMessageId?: string;
  declare readonly violations?: readonly InfobipViolation[];
  declare readonly cause?: Error;
  declare readonly sent?: false | 'unknown';

  constructor(message: string, { cause, ...details }: InfobipErrorDetails) {
    super(message, cause === undefined ? undefined : { cause });
    const set = Object.entries(details).filter(([, value]) => value !== undefined);
    Object.assign(this, Object.fromEntries(set));
  }
}

/** What is told of the failed request. */
export interface FailedCall {
  /** The method of the client. */
  operation: string;
  /** Never to be shown, wherever the service repeats them. */
  secrets: readonly string[];
  /** What to say of `sent` where the outcome itself does not make it certain. */
  sent?: false | 'unknown';
  /** Asks for nothing but access: a 400 then means that the credentials were refused (RFC 6749, section 5.2). */
  isLogin?: boolean;
}

const CODES: Readonly<Record<number, InfobipErrorCode>> = {
  401: 'ERR_INFOBIP_UNAUTHORIZED',
  403: 'ERR_INFOBIP_FORBIDDEN',
  404: 'ERR_INFOBIP_NOT_FOUND',
  429: 'ERR_INFOBIP_RATE_LIMITED',
};

const ADVICE: Readonly<Record<InfobipErrorCode, string>> = {
  ERR_INFOBIP_UNREACHABLE: 'Check baseUrl and the network.',
  ERR_INFOBIP_TIMEOUT: 'Check the network, or give it longer with timeoutMs.',
  ERR_INFOBIP_BAD_REQUEST: 'See violations and correct the request.',
  ERR_INFOBIP_UNAUTHORIZED: 'Check that the credentials are whole, have not expired and belong to baseUrl.',
  ERR_INFOBIP_FORBIDDEN:
    'Give the key the scope it lacks: 2fa:manage to set up, 2fa:pin:send to send and check. Only the latter covers ' +
    'a resend by e-mail.',
  ERR_INFOBIP_NOT_FOUND: 'Check the ids of the application, the template and the PIN.',
  ERR_INFOBIP_RATE_LIMITED: 'Wait before asking again, or raise the limits of the application.',
  ERR_INFOBIP_UNAVAILABLE: 'Try again later.',
  ERR_INFOBIP_UNEXPECTED_RESPONSE: 'Check that baseUrl is an Infobip address and what stands in between.',
};

/** Makes the error for an outcome that is not the answer hoped for. */
export function errorOf(
  outcome: Outcome,
  { operation, secrets, sent, isLogin = false }: FailedCall,
): InfobipError {
  const hide = hider(secrets);
  const { status, headers = {} } = outcome;
  const told = 'body' in outcome ? readEnvelope(outcome.body, hide) : {};
  const requestId = headers['x-request-id'];
  const code = isLogin && status === 400 ? 'ERR_INFOBIP_UNAUTHORIZED' : codeFor(outcome);
  const cause =
    'cause' in outcome && outcome.cause !== undefined ? safeCause(outcome.cause, hide) : undefined;
  const sentence = sentenceFor(outcome, told, codeOf(cause));
  return new InfobipError(`${operation} failed: ${sentence} ${ADVICE[code]}`, {
    code,
    status,
    // An id and nothing else: whatever stands in between may write a sentence there, and recipients into it.
    requestId: isString(requestId) && /^[\w.:-]{1,128}$/.test(requestId) ? hide(requestId) : undefined,
    retryAfterSeconds: readRetryAfter(headers),
    serviceMessageId: told.serviceMessageId,
    violations: told.violations,
    cause,
    sent: sent === 'unknown' && isSurelyNotSent(outcome) ? false : sent,
  });
}

function codeFor(outcome: Outcome): InfobipErrorCode {
  const { status } = outcome;
  if (status !== undefined && status >= 400) {
    return CODES[status] ?? (status < 500 ? 'ERR_INFOBIP_BAD_REQUEST' : 'ERR_INFOBIP_UNAVAILABLE');
  }
  if ('failure' in outcome && outcome.failure === 'timeout') {
    return 'ERR_INFOBIP_TIMEOUT';
  }
  const isSilent = 'failure' in outcome && outcome.failure === 'connection' && status === undefined;
  return isSilent ? 'ERR_INFOBIP_UNREACHABLE' : 'ERR_INFOBIP_UNEXPECTED_RESPONSE';
}

/** Certain is only what never left, and what the service refuses before it does anything. */
function isSurelyNotSent(outcome: Outcome): boolean {
  return outcome.status === undefined
    ? 'left' in outcome && !outcome.left
    : [400, 401, 403, 404, 429].includes(outcome.status);
}

function sentenceFor(outcome: Outcome, told: Told, why: string | undefined): string {
  const { status } = outcome;
  if ('failure' in outcome && (status === undefined || status < 400)) {
    return `${whatFailed(outcome)}${why === undefined ? '' : ` (${why})`}.`;
  }
  const words = [told.serviceMessageId, told.text].filter(isString);
  const said = words.length === 0 ? '' : ` (${words.join(': ')})`;
  return `the service answered ${status}${said}${(status ?? 0) < 400 ? ', not what was asked for' : ''}.`;
}

function whatFailed({ failure, left, status }: Failure): string {
  if (failure === 'too_large' || failure === 'not_http') {
    return failure === 'too_large' ? 'the answer has no end' : 'the answer is not HTTP';
  }
  if (failure === 'timeout') {
    return left ? 'no whole answer in time' : 'no connection in time';
  }
  return left ? `the connection broke ${status === undefined ? 'before' : 'in'} the answer` : 'no connection';
}

interface Told {
  serviceMessageId?: string | undefined;
  text?: string | undefined;
  violations?: InfobipViolation[] | undefined;
}

/** Reads both of Infobip's error envelopes; anything else tells nothing. */
function readEnvelope(body: string, hide: (text: string) => string): Told {
  const json = parseJson(body);
  if (!isRecord(json)) {
    return {};
  }
  // A service's sentence may name the recipient, whom a check or a resend does not know, and the PIN, which a resend
  // does not: no number of four digits or more gets through.
  const tell = (text: string) => cut(hide(text).replace(/\+?\d{4,}/g, '[hidden]'));
  const clean = (value: unknown) => (isString(value) && value !== '' ? tell(value) : undefined);
  const exception = isRecord(json.requestError) ? json.requestError.serviceException : undefined;
  if (isRecord(exception)) {
    const errors = isRecord(exception.validationErrors) ? Object.entries(exception.validationErrors) : [];
    const violations = errors.flatMap(([property, messages]) =>
      (Array.isArray(messages) ? messages : [messages]).map((violation) => ({ property, violation })),
    );
    return {
      serviceMessageId: clean(exception.messageId),
      text: clean(exception.text),
      violations: cleanViolations(violations, clean),
    };
  }
  return {
    serviceMessageId: clean(json.errorCode),
    text: clean(json.description),
    violations: cleanViolations(Array.isArray(json.violations) ? json.violations : [], clean),
  };
}

function cleanViolations(
  violations: readonly unknown[],
  clean: (value: unknown) => string | undefined,
): InfobipViolation[] | undefined {
  const cleaned = violations.slice(0, 50).flatMap((item) => {
    const violation = isRecord(item) ? clean(item.violation) : undefined;
    return isRecord(item) && violation !== undefined
      ? [{ property: clean(item.property) ?? '', violation }]
      : [];
  });
  return cleaned.length === 0 ? undefined : cleaned;
}

/** Parses JSON, or gives undefined: the message of JSON.parse quotes the text, secrets included. */
export function parseJson(text: string): unknown {
  try {
    // Infobip leaves unset fields out; where another hand writes null, it means the same.
    return text.includes('null') ? JSON.parse(text, (_key, value) => value ?? undefined) : JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Seconds, or an HTTP date. */
function readRetryAfter(headers: AnswerHeaders): number | undefined {
  const value = headers['retry-after'];
  if (!isString(value) || !/^\d{1,9}$|GMT$/.test(value)) {
    return undefined;
  }
  const seconds = value.endsWith('GMT') ? (Date.parse(value) - Date.now()) / 1000 : Number(value);
  return Number.isNaN(seconds) ? undefined : Math.max(0, Math.ceil(seconds));
}

/** A copy of the cause without what libraries hang on theirs: headers, bodies, raw bytes of the answer. */
function safeCause(cause: unknown, hide: (text: string) => string, depth = 0): Error {
  const given = cause instanceof Error ? cause : new Error(String(cause));
  const inner = given.cause !== undefined && depth < 3 ? safeCause(given.cause, hide, depth + 1) : undefined;
  const code = codeOf(given);
  // Of several addresses that all failed, Node gives one error without a message.
  const message = given.message === '' ? (code ?? '') : given.message;
  const copy = new Error(cut(hide(message)), inner === undefined ? undefined : { cause: inner });
  copy.name = hide(given.name);
  copy.stack = hide(given.stack ?? '');
  return code === undefined ? copy : Object.assign(copy, { code: hide(code) });
}

/** Replaces secrets in a text, in any case and also where they were escaped for a URL or in JSON. */
function hider(secrets: readonly string[]): (text: string) => string {
  const forms = secrets
    .filter((secret) => secret !== '')
    .flatMap((secret) => [secret, encodeURIComponent(secret), JSON.stringify(secret).slice(1, -1)])
    .sort((a, b) => b.length - a.length)
    .map((secret) => secret.replace(/[^0-9A-Za-z]/g, '\\$&'));
  const pattern = new RegExp([...new Set(forms)].join('|'), 'gi');
  return (text) => (forms.length === 0 ? text : text.replace(pattern, '[hidden]'));
}

/** One line of bounded length, for logs. */
function cut(text: string): string {
  const line = text.replace(/[\s\p{Cc}]+/gu, ' ').trim();
  return line.length > 300 ? `${line.slice(0, 300)}...` : line;
}

/** A mistake of the programmer, in one voice: who, which option, what was wrong, what to do. */
export function misuse(subject: string, what: string): TypeError {
  return new TypeError(`${subject}: ${what}`);
}
