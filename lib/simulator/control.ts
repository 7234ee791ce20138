/**
 * The addresses beside the API, for people and tests: the phone page, its stream, the messages, the clock, the faults.
 * They ask for no key, so they answer only where no foreign web page can get: under a loopback `Host` (a name that an
 * attacker lets point to 127.0.0.1 is refused), without CORS, and posts only as JSON (which no form can send).
 */

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Behaviour } from './behaviour.js';
import { mediaType, parseJson, readText } from './body.js';
import { ServiceError } from './errors.js';
import type { Faults } from './faults.js';
import { isObject } from './fields.js';
import type { Inbox } from './inbox.js';
import { css, html, icon, js } from './page.js';

export interface Controls {
  inbox: Inbox;
  faults: Faults;
  behaviour: () => Behaviour;
  /** Lays changes over the behaviour; throws a TypeError with a sentence when one is not known. */
  behave: (changes: object) => void;
  /** Moves the clock and returns its time in milliseconds. */
  advance: (ms: number) => number;
  reset: (options: { setUp?: boolean }) => void;
}

const longestAdvanceMs = 100 * 366 * 86_400_000;

const headers = {
  'Cache-Control': 'no-store',
  'Content-Security-Policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
  'X-Frame-Options': 'DENY',
};

const assets: ReadonlyMap<string, readonly [type: string, text: string]> = new Map([
  ['/', ['text/html; charset=utf-8', html]],
  ['/_simulator/phone.css', ['text/css; charset=utf-8', css]],
  ['/_simulator/phone.js', ['text/javascript; charset=utf-8', js]],
  ['/_simulator/icon.svg', ['image/svg+xml', icon]],
]);

type Post = (controls: Controls, body: Record<string, unknown>) => object;

const posts: ReadonlyMap<string, Post> = new Map<string, Post>([
  [
    '/_simulator/advance',
    ({ advance }, { ms }) => {
      if (typeof ms === 'number' && ms >= 0 && ms <= longestAdvanceMs) return { now: advance(ms) };
      throw new TypeError('Simulator: the clock moves by { "ms": a number of milliseconds, 0 or more }.');
    },
  ],
  [
    '/_simulator/faults',
    ({ faults }, body) => {
      faults.add(body);
      return { waiting: faults.waiting };
    },
  ],
  [
    '/_simulator/behaviour',
    ({ behave, behaviour }, body) => {
      behave(body);
      return behaviour();
    },
  ],
  [
    '/_simulator/reset',
    ({ reset }, { setUp }) => {
      reset({ setUp: setUp === true });
      return {};
    },
  ],
]);

export function isControl({ url = '/' }: IncomingMessage): boolean {
  return url === '/' || url.startsWith('/?') || url.startsWith('/_simulator/');
}

export async function runControl(
  controls: Controls,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
  try {
    if (!isLoopback(request.headers.host)) {
      throw new ServiceError(403, {
        text: 'Open this address as localhost, 127.0.0.1 or [::1], on the machine itself.',
      });
    }
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://localhost');
    if (request.method === 'POST') await answerPost(controls, request, response, pathname);
    else answerGet(controls, request, response, pathname, searchParams);
  } catch (error) {
    const status = error instanceof ServiceError ? error.status : error instanceof TypeError ? 400 : 500;
    if (status === 413) response.setHeader('Connection', 'close');
    sendJson(response, status, { error: error instanceof Error ? error.message : String(error) });
  }
}

/** Any port will do: behind a forwarded port it is not ours. */
function isLoopback(host: string | undefined): boolean {
  return host !== undefined && /^(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d{1,5})?$/i.test(host);
}

async function answerPost(
  controls: Controls,
  request: IncomingMessage,
  response: ServerResponse,
  path: string,
): Promise<void> {
  const post = posts.get(path);
  if (!post) throw unknownAddress(request, path);
  if (mediaType(request) !== 'application/json') {
    throw new ServiceError(415, { text: 'Post JSON, with the header Content-Type: application/json.' });
  }
  const text = await readText(request);
  const body = text === '' ? {} : parseJson(text);
  if (!isObject(body)) throw new ServiceError(400, { text: 'The body must be a JSON object.' });
  sendJson(response, 200, post(controls, body));
}

function answerGet(
  { inbox, behaviour }: Controls,
  request: IncomingMessage,
  response: ServerResponse,
  path: string,
  query: URLSearchParams,
): void {
  if (request.method !== 'GET') throw unknownAddress(request, path);
  const asset = assets.get(path);
  if (asset) {
    response.setHeader('Content-Type', asset[0]);
    response.end(asset[1]);
    return;
  }
  if (path === '/_simulator/messages') {
    const to = query.get('to');
    sendJson(response, 200, to === null ? inbox.messages : inbox.to(to));
    return;
  }
  if (path === '/_simulator/behaviour') {
    sendJson(response, 200, behaviour());
    return;
  }
  if (path !== '/_simulator/stream') throw unknownAddress(request, path);
  response.setHeader('Content-Type', 'text/event-stream; charset=utf-8');
  inbox.stream(response, {
    lastEventId: asText(request.headers['last-event-id']),
    last: Number(/^\d{1,6}$/.exec(query.get('last') ?? '0') ?? 0),
  });
}

function unknownAddress({ method }: IncomingMessage, path: string): ServiceError {
  const known =
    assets.has(path) || posts.has(path) || ['messages', 'stream'].includes(path.replace('/_simulator/', ''));
  if (!known) return new ServiceError(404, { text: `The simulator has no address ${path}.` });
  return new ServiceError(405, { text: `The address ${path} does not answer ${method}.` });
}

function asText(header: string | string[] | undefined): string | undefined {
  return typeof header === 'string' && header !== '' ? header : undefined;
}

function sendJson(response: ServerResponse, status: number, body: object): void {
  response.setHeader('Content-Type', 'application/json; charset=utf-8');
  response.statusCode = status;
  response.end(JSON.stringify(body));
}
