/** HTTP before the rules: finds the operation, lets faults happen, checks credentials, and writes the envelopes. */

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import type { Behaviour } from './behaviour.js';
import { mediaType, parseJson, readText } from './body.js';
import { type Controls, isControl, runControl } from './control.js';
import { type Credentials, TokenError } from './credentials.js';
import { type Envelope, errorBody, forbidden, limited, ServiceError } from './errors.js';
import type { Fault, Faults } from './faults.js';
import { isObject } from './fields.js';
import { parseRate, type Windows } from './limits.js';
import { type Operation, operations } from './operations.js';
import type { TwoFactorService } from './service.js';

export interface ServerParts {
  service: TwoFactorService;
  credentials: Credentials;
  faults: Faults;
  controls: Controls;
  /** Requests of the account, counted where the published limits on them hold. */
  accountRequests: Windows;
  now: () => number;
  behaviour: () => Behaviour;
}

interface Answer {
  status: number;
  /** Written in this order; a later one takes the place of an earlier one of the same name. */
  headers: readonly (readonly [string, string])[];
  body: string;
}

const json = ['Content-Type', 'application/json; charset=UTF-8'] as const;

/** The server, not listening yet, and a `close` that ends it at once, open streams and waiting answers included. */
export function createSimulatorServer(parts: ServerParts): { server: Server; close: () => Promise<void> } {
  const api = new Api(parts);
  const server = createServer((request, response) => {
    const answered = isControl(request)
      ? runControl(parts.controls, request, response)
      : api.answer(request, response);
    // What is left to fail is the connection itself.
    answered.catch(() => response.destroy());
  });
  return {
    server,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

class Api {
  private readonly parts: ServerParts;
  private requests = 0;

  constructor(parts: ServerParts) {
    this.parts = parts;
  }

  async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.requests += 1;
    response.setHeader('X-Request-Id', String(1_000_000_000 + this.requests));
    response.setHeader('Server', 'SMS API');
    const [path = '', search = ''] = splitOnce(request.url ?? '/', '?');
    try {
      const operation = findOperation(path, request, response);
      const text = await readText(request);
      await this.answerOperation(operation, { request, response, path, search, text });
    } catch (error) {
      reply(response, this.refusal(error));
    }
  }

  private async answerOperation(operation: Operation, exchange: Exchange): Promise<void> {
    const { response } = exchange;
    const fault = this.parts.faults.take(operation);
    const replaced =
      fault?.status !== undefined || fault?.envelope !== undefined || fault?.body !== undefined;
    const performs = fault?.performs ?? (fault?.cut !== 'before' && !replaced);
    const performed = performs ? this.perform(operation, exchange, fault) : undefined;
    if (fault?.delayMs) await delay(fault.delayMs, undefined, { ref: false });
    if (fault?.cut === 'before' || fault?.cut === 'after') {
      response.destroy();
      return;
    }
    const answer = replaced || !performed ? this.faultAnswer(fault ?? {}, operation) : performed;
    const headers = [...answer.headers, ...Object.entries(fault?.headers ?? {})];
    if (fault?.cut === 'body') replyHalf(response, { ...answer, headers });
    else reply(response, { ...answer, headers });
  }

  private perform(operation: Operation, { request, path, search, text }: Exchange, fault?: Fault): Answer {
    const { service, credentials, behaviour } = this.parts;
    try {
      const { authorization } = request.headers;
      const address = request.socket.remoteAddress ?? '';
      this.authorize(operation, authorization, address);
      const body = readBody(operation, request, text);
      const [, ...segments] = operation.path.exec(path) ?? [];
      const params = segments.map(decodeSegment);
      const query = new URLSearchParams(search);
      const ncStatus = fault?.ncStatus;
      const call = { service, credentials, params, query, body, text, authorization, address, ncStatus };
      const result = operation.run(call);
      const shown = behaviour().unknownFields ? withUnknownFields(result) : result;
      return { status: operation.status(behaviour()), headers: [json], body: JSON.stringify(shown) };
    } catch (error) {
      return this.refusal(error);
    }
  }

  private authorize(operation: Operation, authorization: string | undefined, address: string): void {
    if (operation.scopes.length === 0) return;
    const { credentials, accountRequests, behaviour, now } = this.parts;
    const scopes = credentials.scopesOf(authorization, address);
    if (!operation.scopes.some((scope) => scopes.includes(scope))) {
      throw forbidden(behaviour());
    }
    const rate = behaviour().requestLimits && parseRate(operation.requestLimit ?? '');
    if (!rate) return;
    const [id = ''] = operation.names;
    const waitMs = accountRequests.waitMs(id, rate, now(), false);
    if (waitMs > 0) throw limited(429, behaviour(), waitMs);
    accountRequests.count(id, rate, now(), false);
  }

  private faultAnswer({ status, envelope, body }: Fault, { takes }: Operation): Answer {
    if (body !== undefined) {
      const isText = typeof body === 'string';
      const headers = [isText ? (['Content-Type', 'text/plain; charset=UTF-8'] as const) : json];
      return { status: status ?? 200, headers, body: isText ? body : JSON.stringify(body) };
    }
    if (status !== undefined && status < 400) return { status, headers: [], body: '' };
    const code = status ?? 500;
    // Forms go to the token endpoint, whose errors are OAuth's as well.
    const refused =
      takes === 'form' ? new TokenError(code, 'temporarily_unavailable') : new ServiceError(code);
    return this.refusal(refused, envelope);
  }

  private refusal(error: unknown, envelope?: Envelope): Answer {
    const { behaviour } = this.parts;
    const refused =
      error instanceof ServiceError
        ? error
        : new ServiceError(500, { text: `The simulator failed: ${error}` });
    const { status, retryAfter } = refused;
    const usual =
      behaviour().envelope === 'new-for-429' ? (status === 429 ? 'new' : 'legacy') : behaviour().envelope;
    const body = {
      ...(refused instanceof TokenError && { error: refused.error }),
      ...errorBody(refused, envelope ?? (usual === 'new' ? 'new' : 'legacy'), behaviour().validationErrors),
    };
    const wait = retryAfter === undefined ? [] : [['Retry-After', String(retryAfter)] as const];
    // The rest of a body that was too large is not waited for.
    const ending = status === 413 ? [['Connection', 'close'] as const] : [];
    return { status, headers: [json, ...wait, ...ending], body: JSON.stringify(body) };
  }
}

interface Exchange {
  request: IncomingMessage;
  response: ServerResponse;
  path: string;
  search: string;
  text: string;
}

function findOperation(path: string, request: IncomingMessage, response: ServerResponse): Operation {
  const found = operations.find(
    (operation) => operation.method === request.method && operation.path.test(path),
  );
  if (found) return found;
  const onPath = operations.filter((operation) => operation.path.test(path));
  if (onPath.length === 0) throw new ServiceError(404, { text: `Requested URL not found: ${path}` });
  response.setHeader('Allow', onPath.map(({ method }) => method).join(', '));
  throw new ServiceError(405, { messageId: 'METHOD_NOT_ALLOWED', text: 'Method not allowed' });
}

function readBody(operation: Operation, request: IncomingMessage, text: string): unknown {
  if (operation.takes === 'nothing' || text === '') return undefined;
  const expected = operation.takes === 'form' ? 'application/x-www-form-urlencoded' : 'application/json';
  if (mediaType(request) !== expected) {
    throw new ServiceError(415, {
      messageId: 'UNSUPPORTED_MEDIA_TYPE',
      text: `Send the body as ${expected}.`,
    });
  }
  return operation.takes === 'form' ? undefined : parseJson(text);
}

function splitOnce(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
}

function decodeSegment(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}

function withUnknownFields(result: object): object {
  const extra = { unknownField: 'No document knows this field.' };
  return Array.isArray(result)
    ? result.map((each) => (isObject(each) ? { ...each, ...extra } : each))
    : { ...result, ...extra };
}

function reply(response: ServerResponse, { status, headers, body }: Answer): void {
  for (const [name, value] of headers) response.setHeader(name, value);
  response.statusCode = status;
  response.end(body);
}

function replyHalf(response: ServerResponse, { status, headers, body }: Answer): void {
  const bytes = Buffer.from(body);
  response.setHeader('Content-Length', bytes.length);
  for (const [name, value] of headers) response.setHeader(name, value);
  response.writeHead(status).flushHeaders();
  response.write(bytes.subarray(0, Math.floor(bytes.length / 2)), () => response.destroy());
}
