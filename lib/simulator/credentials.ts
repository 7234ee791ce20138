/** Who may call the service: API keys, Basic, sessions (IBSSO) and OAuth access tokens, and what each may do. */

import { timingSafeEqual } from 'node:crypto';
import { ServiceError } from './errors.js';
import { Fields } from './fields.js';
import { Newest } from './newest.js';
import { type Random, randomUuid } from './random.js';

/** `2fa:manage` allows everything but the e-mail resend, which the document puts under the other two. */
export type Scope = '2fa:manage' | '2fa:pin:send' | '2fa:pin:manage' | '2fa:sdk';

export const allScopes: readonly Scope[] = ['2fa:manage', '2fa:pin:send', '2fa:pin:manage', '2fa:sdk'];

/** An API key beside the first one, which may do everything. */
export interface ApiKey {
  key: string;
  /** Default: all. */
  scopes?: readonly Scope[];
  /** Milliseconds of the simulator's clock; default: never. */
  expiresAt?: number;
}

export interface CredentialsOptions {
  keys: readonly ApiKey[];
  username: string;
  password: string;
  /** What the user may do, by name and password, in a session and with an access token. */
  userScopes: readonly Scope[];
  now: () => number;
  random: Random;
  tokenSeconds: () => number;
  wrongClientStatus: () => number;
}

const sessionMs = 60 * 60_000;
const maxTokens = 10_000;

interface Session {
  token: string;
  expiresAt: number;
  /** The address it is bound to; undefined when it was opened as `unsafe`. */
  address: string | undefined;
}

export class Credentials {
  private readonly options: CredentialsOptions;
  private readonly tokens = new Newest<{ expiresAt: number }>(maxTokens);
  private session: Session | undefined;

  constructor(options: CredentialsOptions) {
    this.options = options;
  }

  clear(): void {
    this.tokens.clear();
    this.session = undefined;
  }

  /** The scopes of an `Authorization` header. The scheme's word counts in its exact case, as at Infobip. */
  scopesOf(authorization: string | undefined, address: string): readonly Scope[] {
    const [, scheme, value = ''] = /^(App|Basic|IBSSO|Bearer) (.+)$/.exec(authorization ?? '') ?? [];
    const { keys, userScopes, now } = this.options;
    if (scheme === 'App') {
      const found = keys.find(({ key }) => same(key, value));
      if (found && now() < (found.expiresAt ?? Number.POSITIVE_INFINITY)) return found.scopes ?? allScopes;
    }
    if (scheme === 'Basic' && this.isUser(...splitBasic(value))) return userScopes;
    if (scheme === 'IBSSO' && this.isSession(value, address)) return userScopes;
    if (scheme === 'Bearer' && now() < (this.tokens.get(value)?.expiresAt ?? 0)) return userScopes;
    throw new ServiceError(401);
  }

  private isUser(username: string, password: string): boolean {
    const rightName = same(this.options.username, username);
    return same(this.options.password, password) && rightName;
  }

  private isSession(token: string, address: string): boolean {
    const { session } = this;
    if (!session || this.options.now() >= session.expiresAt || !same(session.token, token)) return false;
    return session.address === undefined || session.address === address;
  }

  /** OAuth 2.0, client credentials: client id and secret are the user's name and password. */
  issueToken(form: URLSearchParams): object {
    const { now, random, tokenSeconds, wrongClientStatus } = this.options;
    // The document's own list of grant types carries a stray space.
    const grantType = form.get('grant_type')?.trim();
    const username = form.get('client_id') ?? '';
    if (username === '' || !form.get('client_secret') || !grantType)
      throw new TokenError(400, 'invalid_request');
    if (grantType !== 'client_credentials') throw new TokenError(400, 'unsupported_grant_type');
    if (!this.isUser(username, form.get('client_secret') ?? '')) {
      throw new TokenError(wrongClientStatus(), 'invalid_client');
    }
    const token = randomUuid(random);
    this.tokens.set(token, { expiresAt: now() + tokenSeconds() * 1000 });
    return { access_token: token, expires_in: tokenSeconds(), token_type: 'Bearer' };
  }

  /** One session at a time: the open one has to be ended before another can begin. */
  openSession(body: unknown, address: string): object {
    const { now, random } = this.options;
    const fields = Fields.of(body);
    const username = fields.requiredString('username');
    const password = fields.requiredString('password');
    const unsafe = fields.boolean('unsafe') ?? false;
    fields.check();
    if (!this.isUser(username, password)) throw new ServiceError(401);
    if (this.session && now() < this.session.expiresAt) {
      throw new ServiceError(400, { text: 'A session is open already. End it before you open another.' });
    }
    const token = randomUuid(random);
    this.session = { token, expiresAt: now() + sessionMs, address: unsafe ? undefined : address };
    return { token };
  }

  endSession(authorization: string | undefined, address: string): object {
    const [, token = ''] = /^IBSSO (.+)$/.exec(authorization ?? '') ?? [];
    if (!this.isSession(token, address)) throw new ServiceError(401);
    this.session = undefined;
    return {};
  }
}

/** A refusal of the token endpoint, whose body carries OAuth's `error` beside the envelope. */
export class TokenError extends ServiceError {
  readonly error: string;

  constructor(status: number, error: string) {
    super(status);
    this.error = error;
  }
}

function splitBasic(value: string): [string, string] {
  const text = Buffer.from(value, 'base64').toString();
  const colon = text.indexOf(':');
  return colon < 0 ? [text, ''] : [text.slice(0, colon), text.slice(colon + 1)];
}

function same(expected: string, given: string): boolean {
  const left = Buffer.from(expected);
  const right = Buffer.from(given);
  return left.length === right.length && timingSafeEqual(left, right);
}
