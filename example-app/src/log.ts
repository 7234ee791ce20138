import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { type DestinationStream, type Logger, pino } from 'pino';
import { pinoHttp } from 'pino-http';

/** JSON lines on the standard output; no line holds a phone number or a PIN. */
export function createLog(destination?: DestinationStream): Logger {
  const options = { base: null, serializers: { err: describeError } };
  return destination ? pino(options, destination) : pino(options);
}

/** One line for each request that failed. The fine ones are logged at `debug`. */
export function logRequests(log: Logger) {
  return pinoHttp({
    logger: log,
    genReqId: () => randomUUID(),
    quietReqLogger: true,
    // Instead of the whole request, whose headers hold the session and whose body a number: a few words of it.
    wrapSerializers: false,
    serializers: { req: () => undefined, err: describeError },
    customLogLevel: (_req, res, error) => levelOf(res, error),
    customSuccessObject: summaryOf,
    customErrorObject: (req, res, error) => ({ ...summaryOf(req, res), err: error }),
    customSuccessMessage: () => 'request',
    customErrorMessage: (_req, _res, error) => withoutNumbers(allMessages(error)),
  });
}

/** What an operator needs to know of an error, its causes included. */
function describeError(error: unknown): Record<string, unknown> {
  if (!(error instanceof Error)) return { message: withoutNumbers(String(error)) };
  const { name, message, stack, cause } = error;
  return {
    type: name,
    message: withoutNumbers(message),
    ...pick(error, ['code', 'status', 'requestId', 'serviceMessageId', 'retryAfterSeconds', 'sent']),
    stack: withoutNumbers(stack ?? ''),
    ...(cause === undefined ? {} : { cause: describeError(cause) }),
  };
}

/** What went wrong, and why it did, in one line. */
function allMessages(error: Error): string {
  return error.cause instanceof Error ? `${error.message}: ${allMessages(error.cause)}` : error.message;
}

/** Hides whatever is long enough to be a PIN or a phone number; ports and positions in a file are not. */
function withoutNumbers(text: string): string {
  return text.replace(/\d{6,}/g, '[digits]');
}

function pick(source: object, names: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(Object.entries(source).filter(([name]) => names.includes(name)));
}

function summaryOf(req: IncomingMessage, res: ServerResponse) {
  return { method: req.method, path: pathOf(req), status: res.statusCode };
}

/** The path as it was asked for: a query is no business of the log, and anybody can put a number into a path. */
function pathOf(req: IncomingMessage): string {
  const url = 'originalUrl' in req && typeof req.originalUrl === 'string' ? req.originalUrl : (req.url ?? '');
  return withoutNumbers(url.split('?', 1)[0] ?? '');
}

function levelOf(res: ServerResponse, error: Error | undefined) {
  if (error || res.statusCode >= 500) return 'error';
  return res.statusCode >= 400 ? 'info' : 'debug';
}
