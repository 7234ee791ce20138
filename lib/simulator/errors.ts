/** What the service refuses, and the two envelopes in which Infobip's platform says so. */

import type { Behaviour } from './behaviour.js';

export type Envelope = 'legacy' | 'new';

/** Messages per field, as in the legacy envelope's `validationErrors`. */
export type Violations = Record<string, string[]>;

export interface ServiceErrorDetails {
  messageId?: string;
  text?: string;
  violations?: Violations;
  /** Seconds for a `Retry-After` header. */
  retryAfter?: number;
}

/** A refusal: the HTTP status and what the envelope tells. */
export class ServiceError extends Error {
  readonly status: number;
  readonly messageId: string;
  readonly violations: Violations | undefined;
  readonly retryAfter: number | undefined;

  constructor(status: number, details: ServiceErrorDetails = {}) {
    const usual = wording(status);
    super(details.text ?? usual.text);
    this.name = 'ServiceError';
    this.status = status;
    this.messageId = details.messageId ?? usual.messageId;
    this.violations = details.violations;
    this.retryAfter = details.retryAfter;
  }
}

/** The 404 of an id that is not there. */
export function notFound({ notFoundMessageId }: Behaviour, text?: string): ServiceError {
  return new ServiceError(404, { messageId: notFoundMessageId, ...(text !== undefined && { text }) });
}

/** The refusal of a limit that is used up and frees again in `waitMs`. */
export function limited(
  status: number,
  { limitMessageId: messageId, retryAfter }: Behaviour,
  waitMs: number,
): ServiceError {
  const seconds = retryAfter === 'window' ? Math.ceil(waitMs / 1000) : retryAfter;
  const text = 'Too many requests';
  return new ServiceError(status, { messageId, text, ...(seconds !== null && { retryAfter: seconds }) });
}

/** The 403 of credentials that lack a scope. */
export function forbidden({ forbiddenMessageId: messageId }: Behaviour): ServiceError {
  return new ServiceError(403, {
    messageId,
    ...(messageId === 'UNAUTHORIZED' && { text: 'Unauthorized access' }),
  });
}

interface Wording {
  messageId: string;
  text: string;
  description: string;
  action: string;
}

const somethingWrong: Wording = {
  messageId: 'GENERAL_ERROR',
  text: 'Something went wrong. Please contact support.',
  description: 'Something went wrong.',
  action: 'Contact support.',
};

const badRequest: Wording = {
  messageId: 'BAD_REQUEST',
  text: 'Bad request',
  description: 'Request cannot be processed.',
  action: 'Check the syntax, violations and adjust the request.',
};

const wordings: Readonly<Record<number, Wording>> = {
  401: {
    messageId: 'UNAUTHORIZED',
    text: 'Unauthorized',
    description: 'The request lacks valid authentication credentials for the requested resource.',
    action: 'Check the authentication credentials and adjust the request.',
  },
  403: {
    messageId: 'FORBIDDEN',
    text: 'Forbidden',
    description: 'Insufficient permissions to access the requested resource.',
    action: 'Check the permissions and scopes of the credentials.',
  },
  404: {
    messageId: 'NOT_FOUND',
    text: 'Not found',
    description: 'Requested resource not found.',
    action: 'Check the path and the identifiers in it.',
  },
  429: {
    messageId: 'TOO_MANY_REQUESTS',
    text: 'Too many requests',
    description: 'Too many requests sent.',
    action: "Check the endpoint's rate limit and retry later.",
  },
};

function wording(status: number): Wording {
  return wordings[status] ?? (status >= 500 ? somethingWrong : badRequest);
}

/** The body of a refusal in the envelope asked for; `detailed`: with what was wrong in which field. */
export function errorBody(error: ServiceError, envelope: Envelope, detailed = true): object {
  const found = detailed ? error.violations : undefined;
  if (envelope === 'new') {
    const { description, action } = wording(error.status);
    const violations = Object.entries(found ?? {}).flatMap(([property, messages]) =>
      messages.map((violation) => ({ property, violation })),
    );
    return { errorCode: `E${error.status}`, description, action, violations, resources: [] };
  }
  const { messageId, message: text } = error;
  return {
    requestError: { serviceException: { messageId, text, ...(found && { validationErrors: found }) } },
  };
}
