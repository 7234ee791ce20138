/** The host's session: what we note in it, and how it is written without undoing what other requests have done to it. */

import { endedSessions } from './ended.js';
import { fromStore, isStoreFailure, SessionEnded, SmsOtpError } from './errors.js';
import {
  emptySession,
  isNewSession,
  isObject,
  property,
  type RequestLike,
  sessionIdOf,
  signedInAs,
  storedUser,
} from './request.js';

/** What the session says about proven PINs and open challenges, under the key `smsOtp`. */
export interface SessionNotes {
  challenges?: Record<string, unknown>;
  marks?: Record<string, unknown>;
}

type Callback = (error?: unknown) => void;

/** A session that can be saved and renewed, as express-session makes it. */
export interface SavableSession {
  save(callback: Callback): unknown;
  regenerate(callback: Callback): unknown;
  smsOtp?: SessionNotes;
}

const NEEDS_SESSION =
  'SmsOtpStrategy keeps its challenges in the session, on the server. Did you forget to use express-session, or do ' +
  'you use a session that lives in a cookie? Use express-session with a store, or give the option `challenges`.';

/** The session, once it is sure that it can keep a secret: an error otherwise. */
export function requireServerSession(req: RequestLike): SavableSession {
  const { session } = req;
  if (!isSavable(session) || typeof property(req, 'sessionStore') !== 'object') {
    throw new SmsOtpError('ERR_SMS_OTP_SESSION', NEEDS_SESSION);
  }
  return session;
}

function isSavable(session: unknown): session is SavableSession {
  return (
    typeof property(session, 'save') === 'function' && typeof property(session, 'regenerate') === 'function'
  );
}

/** An own object under an own key; nothing that comes from a prototype. */
export function ownEntry(holder: unknown, key: string): unknown {
  return isObject(holder) && Object.hasOwn(holder, key) ? Reflect.get(holder, key) : undefined;
}

/** Writes an own entry, whatever the key is called, and leaves no empty holder behind when a value is taken away. */
export function setNote(session: object, kind: 'challenges' | 'marks', name: string, value: unknown): void {
  const notes = asObject(ownEntry(session, 'smsOtp'));
  const entries = asObject(notes[kind]);
  // Defined and not assigned: `__proto__` is a name like any other.
  if (value === undefined) delete entries[name];
  else Object.defineProperty(entries, name, { value, configurable: true, enumerable: true, writable: true });
  if (Object.keys(entries).length > 0) notes[kind] = entries;
  else delete notes[kind];
  if (Object.keys(notes).length > 0) Reflect.set(session, 'smsOtp', notes);
  else Reflect.deleteProperty(session, 'smsOtp');
}

/** Takes all entries of one kind away. */
export function dropNotes(session: object, kind: 'challenges' | 'marks'): void {
  for (const name of Object.keys(asObject(ownEntry(ownEntry(session, 'smsOtp'), kind)))) {
    setNote(session, kind, name, undefined);
  }
}

function asObject(value: unknown): Record<string, unknown> {
  return typeof value === 'object' ? { ...value } : {};
}

// Passport adds one for each failure: a visitor who never looks at a page would fill the store with them.
const MOST_MESSAGES = 20;

/** Makes room for one more. */
export function trimMessages({ session }: RequestLike): void {
  const messages = ownEntry(session, 'messages');
  if (Array.isArray(messages)) messages.splice(0, messages.length - MOST_MESSAGES + 1);
}

/** Runs a session method that takes a callback (express-session) or returns a promise (others). */
export function settle(call: (callback: Callback) => unknown): Promise<void> {
  return new Promise((resolve, reject) => {
    const returned = call((error) => (error ? reject(error) : resolve()));
    if (returned instanceof Promise) returned.then(() => resolve(), reject);
  });
}

/**
 * Saves the session now, and knows whether that worked. What other requests have written to it stays, and one that was
 * ended in the meantime is not written: that would bring it back, with whoever was signed in.
 *
 * @param change what to write besides
 */
export async function saveSession(
  req: RequestLike,
  session: SavableSession,
  change?: () => void,
): Promise<void> {
  const id = sessionIdOf(req);
  await reread(req, session);
  // By then the request may have been answered, and its session taken off.
  if (sessionIdOf(req) !== id) throw new SessionEnded();
  change?.();
  await saveLiving(req, session);
}

/** Saves a session of which it is known that it lives. */
export async function saveLiving(req: RequestLike, session: SavableSession): Promise<void> {
  const id = sessionIdOf(req);
  // As express-session does before its own save: a save does not renew the time that a session has.
  const touch = property(session, 'touch');
  if (typeof touch === 'function') Reflect.apply(touch, session, []);
  // What somebody writes to it from here on is not in the store.
  const saved = contentOf(session);
  await settle((callback) => session.save(callback));
  bases.set(req, saved);
  // Ended while it was being saved: by now that is undone.
  if (endedSessions(req).has(id)) throw new SessionEnded();
}

/**
 * The answer of a store of sessions. When it is late, the session is taken off the request: at the end express-session
 * would wait for that store for ever, and the visitor for an answer.
 */
export function fromSession<T>(req: RequestLike, answer: Promise<T>, ms: number): Promise<T> {
  return fromStore(answer, ms, () => emptySession(req));
}

/** Whether another request can end this one's session, and a store would know. One that is new is not there yet. */
export function canEnd(req: RequestLike): boolean {
  return typeof property(property(req, 'sessionStore'), 'get') === 'function' && !isNewSession(req);
}

/** Stops a request whose session has ended, or is somebody else's by now. */
export async function requireLiving(req: RequestLike): Promise<void> {
  await readLiving(req);
}

// What the store has, which is asked and not express-session's `reload`: that one throws away what the host has written in
// this request, and ends the process where the session was taken off it. Undefined where there is nobody to ask.
async function readLiving(req: RequestLike): Promise<object | undefined> {
  if (!canEnd(req)) return undefined;
  const store = Object(property(req, 'sessionStore'));
  const id = sessionIdOf(req);
  const ended = endedSessions(req);
  return new Promise((resolve, reject) => {
    const returned: unknown = Reflect.apply(store.get, store, [
      id,
      (error: unknown, stored: unknown) => {
        if (isStoreFailure(error)) reject(error);
        else if (!stored || ended.has(id) || isOther(signedInAs(req), storedUser(req, stored)))
          reject(new SessionEnded());
        else resolve(Object(stored));
      },
    ]);
    if (returned instanceof Promise) returned.catch(reject);
  });
}

// What was in the session when the request and its store last agreed: what differs from it now is this request's own.
const bases = new WeakMap<RequestLike, Map<string, string>>();

// Challenges that the request has used, by name: until its session is saved the store has them, and they must not come back.
const used = new WeakMap<RequestLike, Map<string, string>>();

/** Takes a used challenge out of the session, also when it is read again. */
export function dropChallenge(req: RequestLike, session: object, name: string, id: string): void {
  used.set(req, (used.get(req) ?? new Map()).set(name, id));
  dropUsed(req, session);
}

function dropUsed(req: RequestLike, session: object): void {
  const challenges = ownEntry(ownEntry(session, 'smsOtp'), 'challenges');
  for (const [name, id] of used.get(req) ?? []) {
    if (ownEntry(ownEntry(challenges, name), 'id') === id) setNote(session, 'challenges', name, undefined);
  }
}

/** What a session holds besides its cookie, as JSON. What JSON does not know (a method) is none of it. */
function contentOf(session: object): Map<string, string> {
  const content = new Map<string, string>();
  for (const [key, value] of Object.entries(session)) {
    const json = key === 'cookie' ? undefined : JSON.stringify(value);
    if (json !== undefined) content.set(key, json);
  }
  return content;
}

/** At the start of a request: notes what is its own in the session, and stops it where that has ended. */
export async function beginWith(req: RequestLike, session: object): Promise<void> {
  const stored = await readLiving(req);
  if (stored !== undefined) merge(req, session, stored, undefined);
}

/**
 * Reads the session again, in its place: whoever holds it has what other requests have written to it meanwhile, and what
 * this one has.
 */
export async function reread(req: RequestLike, session: SavableSession): Promise<void> {
  const stored = await readLiving(req);
  if (stored !== undefined) merge(req, session, stored, bases.get(req));
}

// Without a base, whatever differs from the store is this request's own.
function merge(
  req: RequestLike,
  session: object,
  stored: object,
  base: Map<string, string> | undefined,
): void {
  const theirs = contentOf(stored);
  const mine = contentOf(session);
  for (const key of new Set([...mine.keys(), ...theirs.keys()])) {
    // Ours is written right after it was read, so that no request has anything of its own in it.
    const isOwn = key !== 'smsOtp' && mine.get(key) !== (base ?? theirs).get(key);
    const isSame = mine.get(key) === theirs.get(key);
    if (isOwn || isSame || (!mine.has(key) && key in session)) continue;
    if (theirs.has(key)) {
      const value: unknown = Reflect.get(stored, key);
      Object.defineProperty(session, key, { value, writable: true, enumerable: true, configurable: true });
    } else Reflect.deleteProperty(session, key);
  }
  dropUsed(req, session);
  bases.set(req, theirs);
}

// A session of nobody's signs nobody in, wherever it is written: an account that is gone, for instance.
function isOther(mine: string | undefined, stored: string | undefined): boolean {
  return mine !== undefined && mine !== stored;
}

/** The session, which the host may have taken off the request since the request came in. */
export function sessionOf(req: RequestLike): SavableSession {
  if (!req.session) throw new SessionEnded();
  return requireServerSession(req);
}
