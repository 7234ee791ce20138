/** The request as the strategy sees it, whatever framework it came through. */

import { isIP } from 'node:net';

declare global {
  namespace Express {
    // The host's own user type, by declaration merging, as Passport's users know it.
    interface User {}
  }
}

/** The part of a request that the strategy reads. Express, Connect, Fastify and Koa requests have it. */
export interface RequestLike {
  method?: string | undefined;
  headers: { readonly [name: string]: string | readonly string[] | undefined };
  body?: unknown;
  session?: unknown;
  user?: Express.User | undefined;
  /** The client's address, as under the framework's `trust proxy`. */
  ip?: string | undefined;
  /** 'http' or 'https', as under the framework's `trust proxy`. */
  protocol?: string | undefined;
}

/** A property of `object`, whatever that is; undefined where there is none. */
export function property(object: unknown, name: string): unknown {
  return (typeof object === 'object' || typeof object === 'function') && object !== null
    ? Reflect.get(object, name)
    : undefined;
}

/** Whether it can hold properties of its own, and is no function. */
export function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}

/** A field of the form that was posted: an own property of the body, nothing inherited. */
export function bodyField(req: RequestLike, name: string): unknown {
  const body = req.body;
  return isObject(body) && Object.hasOwn(body, name) ? Reflect.get(body, name) : undefined;
}

/** Whether the request is a POST, also before a method-override middleware got to it. */
export function isPost(req: RequestLike): boolean {
  const original = property(req, 'originalMethod');
  return req.method === 'POST' && (original === undefined || original === 'POST');
}

/**
 * Whether the request came from a page of our own site. Fetch metadata decides where the browser sends it; the
 * Origin header is the fallback; a request with neither was sent by no browser (OWASP, Cross-Site Request Forgery
 * Prevention).
 */
export function isSameSite(req: RequestLike, trustedOrigins: ReadonlySet<string>): boolean {
  const origin = header(req, 'origin');
  const fetchSite = header(req, 'sec-fetch-site');
  const trusted = () => trustedOrigins.has(originOf(origin) ?? '');
  if (fetchSite !== undefined && fetchSite !== 'none') return fetchSite === 'same-origin' || trusted();
  if (origin === undefined) return true;
  const theirs = originOf(origin);
  if (theirs === undefined) return false;
  const host = hostOf(req);
  if (host === undefined) return trusted();
  const protocol =
    req.protocol ?? (property(property(req, 'socket'), 'encrypted') === true ? 'https' : 'http');
  // A proxy that ends TLS and is not trusted yet makes an https site look like http.
  return theirs === originOf(`${protocol}://${host}`) || theirs === originOf(`https://${host}`) || trusted();
}

// A host name has 253 letters at the most; to read 15 kB of one takes milliseconds.
const LONGEST_ORIGIN = 300;

/** The origin of a URL in canonical form (lower case, no default port), or undefined where there is none. */
export function originOf(url: string | undefined): string | undefined {
  if (url === undefined || url.length > LONGEST_ORIGIN || !URL.canParse(url)) return undefined;
  const { origin } = new URL(url);
  return origin === 'null' ? undefined : origin;
}

/** A header as one string; repeated ones are joined, so that no rule is met by one of several. */
export function header(req: RequestLike, name: string): string | undefined {
  const value = req.headers[name];
  return typeof value === 'string' || value === undefined ? value : value.join(', ');
}

/**
 * Who is signed in by the session: what Passport's serializer stored there, as JSON; undefined for nobody. A user
 * that only this request knows (a password checked with `session: false`) is not signed in.
 */
export function signedInAs(req: RequestLike): string | undefined {
  return storedUser(req, req.session);
}

/** The same of a session that was read from its store. */
export function storedUser(req: RequestLike, session: unknown): string | undefined {
  const key = property(property(req, '_sessionManager'), '_key');
  const stored = property(property(session, typeof key === 'string' ? key : 'passport'), 'user');
  return stored === undefined || stored === null ? undefined : JSON.stringify(stored);
}

/** Whether the response has begun: nothing can be said to the visitor any more. */
export function isAnswered(req: RequestLike): boolean {
  return property(property(req, 'res'), 'headersSent') === true;
}

// Requests whose session was taken off or left without its id, with that id.
const detached = new WeakMap<object, unknown>();
const hiding = new WeakSet<object>();

/** The id of the request's session; undefined where it has none, or has lost it. */
export function sessionIdOf(req: RequestLike): unknown {
  const id = property(req, 'sessionID');
  return detached.has(req) && detached.get(req) === id ? undefined : id;
}

/**
 * Leaves the session on the request, for whoever reads it there or writes to it, and takes its id: without one
 * express-session neither saves nor destroys anything at the end, nor sends a cookie. The host sees it all the same: its
 * access log may want a text.
 */
export function detachSession(req: RequestLike): void {
  const id = sessionIdOf(req);
  if (id === undefined) return;
  const res = property(req, 'res');
  if (isObject(res) && ['writeHead', 'end'].every((method) => hideIn(res, method, req))) {
    detached.set(req, id);
    hiding.add(req);
  } else Reflect.set(req, 'sessionID', undefined);
}

/** Gives the session an id (back). */
export function attachSession(req: RequestLike, id: unknown): void {
  detached.delete(req);
  Reflect.set(req, 'sessionID', id);
}

// While the response is written, when express-session looks at it, a lost id is not there.
function hideIn(res: object, method: string, req: RequestLike): boolean {
  const original = property(res, method);
  if (typeof original !== 'function') return false;
  if (hiding.has(req)) return true;
  Reflect.set(res, method, function (this: unknown, ...args: unknown[]): unknown {
    const id = property(req, 'sessionID');
    if (sessionIdOf(req) !== undefined) return Reflect.apply(original, this, args);
    Reflect.set(req, 'sessionID', undefined);
    try {
      return Reflect.apply(original, this, args);
    } finally {
      if (property(req, 'sessionID') === undefined) Reflect.set(req, 'sessionID', id);
    }
  });
  return true;
}

/** Takes the session off the request and gives it a new one, of nobody's and with an id of its own. */
export function renewSession(req: RequestLike): void {
  const store = property(req, 'sessionStore');
  const generate = property(store, 'generate');
  Reflect.set(req, 'session', null);
  detachSession(req);
  if (typeof generate === 'function') Reflect.apply(generate, store, [req]);
}

/**
 * Takes the session off the request and leaves an empty one, for whoever reads there or writes a message: it is not saved,
 * nor is its cookie sent, in the place of one that the browser got meanwhile.
 */
export function emptySession(req: RequestLike): void {
  try {
    renewSession(req);
  } catch {
    // The host's `genid`, say: in a timer it would end the process, and an empty session is a courtesy.
  }
  detachSession(req);
}

/** Whether the session has lost its id: its cookie will not be sent. */
export function isDetached(req: RequestLike): boolean {
  return Reflect.has(req, 'sessionID') && sessionIdOf(req) === undefined;
}

/** Whether the session was made in this request: the browser did not come with its id. */
export function isNewSession(req: RequestLike): boolean {
  const id = sessionIdOf(req);
  if (typeof id !== 'string') return true;
  const cookies = header(req, 'cookie') ?? '';
  // What cookie-parser has read, which express-session takes too: there a value may be spelled as JSON.
  const parsed = ['cookies', 'signedCookies'].flatMap((name) => Object.values(Object(property(req, name))));
  return ![cookies, unescapedCookies(req, cookies), ...parsed].some(
    (cookie) => typeof cookie === 'string' && cookie.includes(id),
  );
}

/** What may be the ids of sessions in the first cookies that came, as express-session spells them; unchecked. */
export function cookieSessionIds(req: RequestLike): string[] {
  const cookies = header(req, 'cookie')?.split(';', 50) ?? [];
  return cookies.flatMap((cookie) => {
    const value = unescaped(cookie.slice(cookie.indexOf('=') + 1));
    return /^s:([^.]{1,200})\./u.exec(value)?.[1] ?? [];
  });
}

const read = new WeakMap<RequestLike, readonly [cookies: string, unescaped: string]>();

function unescapedCookies(req: RequestLike, cookies: string): string {
  const known = read.get(req);
  if (known?.[0] === cookies) return known[1];
  const now = unescaped(cookies);
  read.set(req, [cookies, now]);
  return now;
}

// As those who read cookies do it: a value may be spelled in many ways. But `decodeURIComponent` throws where one is wrong,
// and a header holds thousands of those, which would cost a tenth of a second.
function unescaped(text: string): string {
  if (!text.includes('%')) return text;
  const bytes = text.replace(/%([\da-f]{2})/giu, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  return Buffer.from(bytes, 'latin1').toString();
}

/**
 * Whether `req.user` is the user of the session, told to `answer` (at once, where the host's serializer is). A password
 * or a token that came with this very request makes a user of its own, and then what the session says is about
 * somebody else.
 */
export function isSessionUser(req: RequestLike, answer: (is: boolean) => void): void {
  const stored = signedInAs(req);
  const user = property(req, userProperty(req));
  if (!user || stored === undefined) {
    answer(false);
    return;
  }
  const manager = property(req, '_sessionManager');
  const serialize = property(manager, '_serializeUser');
  // Passport leaves its manager on each request that it looked at; without it, the host has set the user itself.
  if (typeof serialize !== 'function') answer(true);
  else
    Reflect.apply(serialize, manager, [
      user,
      req,
      (error: unknown, serialized?: unknown) => answer(!error && JSON.stringify(serialized) === stored),
    ]);
}

/** Where Passport puts the user on a request. */
export function userProperty(req: RequestLike): string {
  const named = property(req, '_userProperty');
  return typeof named === 'string' ? named : 'user';
}

/** Whether this Passport is older than 0.6, whose session managers take options. */
export function hasOldPassport(req: RequestLike): boolean {
  const manager =
    property(req, '_sessionManager') ?? property(property(property(req, '_passport'), 'instance'), '_sm');
  const logIn = property(manager, 'logIn');
  return typeof logIn === 'function' && logIn.length === 3;
}

// It is kept in the session, for whoever asks.
const LONGEST_PATH = 2000;

/** A path of this site and nothing that a browser would read as another one. */
export function localPath(url: unknown): string | undefined {
  if (typeof url !== 'string' || url.length > LONGEST_PATH) return undefined;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: browsers drop tabs and line ends out of URLs, so "/\t/evil" is another site
  return /^\/(?![/\\])[^\u0000-\u001f\u007f]*$/u.test(url) ? url : undefined;
}

function hostOf(req: RequestLike): string | undefined {
  const app = property(req, 'app');
  const settings = property(app, 'get');
  if (typeof settings === 'function') {
    // Express: `req.host` loses the port in version 4, so its own rule is followed.
    const trust: unknown = settings.call(app, 'trust proxy fn');
    const address = property(property(req, 'socket'), 'remoteAddress');
    const forwarded = header(req, 'x-forwarded-host')?.split(',')[0]?.trim();
    if (forwarded && typeof trust === 'function' && trust.call(app, address, 0) === true) return forwarded;
    if (trust !== undefined) return header(req, 'host');
  }
  const host = property(req, 'host');
  return typeof host === 'string' ? host : (header(req, 'host') ?? header(req, ':authority'));
}

/** What budgets per client are counted for. */
export type ClientAddress =
  | { family: 4 | 6; key: string }
  /** The address is the proxy's own: the host has not told its framework to trust it. */
  | 'proxy'
  | undefined;

const FORWARDING_HEADERS = ['x-forwarded-for', 'forwarded', 'x-real-ip'];

/** The client's address as a key: an IPv4 address, or the /64 network of an IPv6 address, in one spelling. */
export function clientAddress(req: RequestLike): ClientAddress {
  const { ip } = req;
  if (typeof ip !== 'string' || ip === '') return undefined;
  // Some proxies write the client's port into the header, and a zone may follow an IPv6 address.
  const address = ip
    .replace(/^\[(.*)\](?::\d+)?$/u, '$1')
    .replace(/^([\d.]+):\d+$/u, '$1')
    .replace(/%.*$/u, '');
  const groups = isIP(address) === 6 ? ipv6Groups(address) : undefined;
  const mapped = groups?.slice(0, 6).join(':') === '0:0:0:0:0:65535' ? groups.slice(6) : undefined;
  const v4 = mapped ? mapped.flatMap((group) => [group >> 8, group & 255]).join('.') : address;
  // An address that the framework took from such a header is the visitor's, in a private network or not.
  // (A socket has no address once its visitor has hung up, and then none is the peer's.)
  const socket = property(req, 'socket');
  const isPeer = !isObject(socket) || ip === property(socket, 'remoteAddress');
  const isForwarded = FORWARDING_HEADERS.some((name) => req.headers[name] !== undefined);
  if (isPeer && isForwarded && isPrivate(v4, mapped ? undefined : groups)) {
    return 'proxy';
  }
  if (groups === undefined || mapped !== undefined) return { family: 4, key: v4 };
  return {
    family: 6,
    key: groups
      .slice(0, 4)
      .map((group) => group.toString(16))
      .join(':'),
  };
}

function ipv6Groups(ip: string): number[] {
  // The URL parser writes every spelling (alias zeros, upper case, dotted end) in one way.
  const canonical = new URL(`http://[${ip}]`).hostname.slice(1, -1);
  const [head = '', tail] = canonical.split('::');
  const groups = (text: string) =>
    text === '' ? [] : text.split(':').map((group) => Number.parseInt(group, 16));
  const start = groups(head);
  const end = tail === undefined ? [] : groups(tail);
  return [...start, ...new Array<number>(8 - start.length - end.length).fill(0), ...end];
}

function isPrivate(v4: string, v6: number[] | undefined): boolean {
  if (v6 !== undefined) {
    const [first = 0] = v6;
    return (
      v6.slice(0, 7).every((group) => group === 0) ||
      (first & 0xfe00) === 0xfc00 ||
      (first & 0xffc0) === 0xfe80
    );
  }
  return /^(?:127\.|10\.|192\.168\.|169\.254\.|172\.(?:1[6-9]|2\d|3[01])\.)/u.test(v4);
}
