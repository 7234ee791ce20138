import { errorOf, misuse, parseJson } from './errors.js';
import type { Transport } from './http.js';
import { isNumber, isShape, isString } from './shapes.js';

interface CredentialOptions {
  /** The recommended way. The key alone, without the word `App`. */
  apiKey: string;
  /** Basic, with `password`. */
  username: string;
  password: string;
  /** The token of an IBSSO session. */
  sessionToken: string;
  /** OAuth 2, with `clientSecret`: an access token is fetched with them, kept, and renewed in time. */
  clientId: string;
  clientSecret: string;
}

type Only<Option extends keyof CredentialOptions> = Pick<CredentialOptions, Option> & {
  [Other in Exclude<keyof CredentialOptions, Option>]?: undefined;
};

/** One of the four ways to prove who is asking. */
export type Credentials =
  | Only<'apiKey'>
  | Only<'username' | 'password'>
  | Only<'sessionToken'>
  | Only<'clientId' | 'clientSecret'>;

/** The ways, each with the options it consists of. */
export const CREDENTIAL_OPTIONS = [
  ['apiKey'],
  ['username', 'password'],
  ['sessionToken'],
  ['clientId', 'clientSecret'],
] as const;

/** Gives the Authorization header of each request. */
export interface Authorizer {
  /** Never to be shown, besides the header itself. */
  readonly secrets: readonly string[];
  header(): string | Promise<string>;
  /** The service refused this header. True when another one may do better. */
  refused(header: string): boolean;
}

/** What may stand in a header. */
const VISIBLE_ASCII = /^[!-~]+$/;

/**
 * Sees to it that `options` hold exactly one way, whole and well-formed, or throws a TypeError that never shows a
 * value. `label` gives the name that the caller knows an option by.
 */
export function checkCredentials(
  options: Readonly<Record<string, unknown>>,
  label: (option: string) => string,
  subject: string,
): void {
  const given = CREDENTIAL_OPTIONS.filter((way) => way.some((option) => options[option] !== undefined));
  const [way] = given;
  if (way === undefined || given.length > 1) {
    const what = way === undefined ? 'no credentials were' : 'more than one way to authenticate was';
    const ways = CREDENTIAL_OPTIONS.map((names) => names.map(label).join(' with ')).join(', or ');
    throw misuse(subject, `${what} given. Give exactly one of these: ${ways}.`);
  }
  for (const option of way) {
    const value = options[option];
    if (!isString(value) || value.trim() === '') {
      throw misuse(
        subject,
        `${label(option)} must be a non-empty string. Copy it from your Infobip account.`,
      );
    }
    const scheme = /^(App|Basic|Bearer|IBSSO)\s/i.exec(value)?.[1];
    if (scheme !== undefined) {
      throw misuse(
        subject,
        `${label(option)} starts with "${scheme} ". Give what follows it: the client adds the word.`,
      );
    }
    if (way.length === 1 && !VISIBLE_ASCII.test(value)) {
      throw misuse(
        subject,
        `${label(option)} has white space or a stray character in it. Copy it once more.`,
      );
    }
    if (option === 'username' && value.includes(':')) {
      throw misuse(subject, `${label(option)} has a colon in it, which Basic cannot carry. Use an API key.`);
    }
  }
}

/** Builds the authorizer for credentials that `checkCredentials` has passed. */
export function authorizerFor(credentials: Credentials, transport: Transport, userAgent: string): Authorizer {
  if (credentials.apiKey !== undefined) {
    return fixedHeader('App', credentials.apiKey);
  }
  if (credentials.sessionToken !== undefined) {
    return fixedHeader('IBSSO', credentials.sessionToken);
  }
  if (credentials.username !== undefined) {
    const { username, password } = credentials;
    return fixedHeader('Basic', Buffer.from(`${username}:${password}`).toString('base64'), password);
  }
  return oauthHeader(credentials.clientId, credentials.clientSecret, transport, userAgent);
}

function fixedHeader(scheme: string, credential: string, ...secrets: string[]): Authorizer {
  const header = `${scheme} ${credential}`;
  return { secrets: [...secrets, credential], header: () => header, refused: () => false };
}

const isTokenAnswer = isShape<{ access_token: string; expires_in: number }>(['access_token', 'expires_in'], {
  access_token: isString,
  expires_in: isNumber,
});

/** Renewed at this part of its life, while it is still good. */
const RENEW_AFTER = 0.9;

function oauthHeader(
  clientId: string,
  clientSecret: string,
  transport: Transport,
  userAgent: string,
): Authorizer {
  let current: { header: string; renewAt: number; expiresAt: number } | undefined;
  let renewal: Promise<string> | undefined;

  async function fetchToken(): Promise<string> {
    const before = Date.now();
    const outcome = await transport.exchange({
      method: 'POST',
      path: '/auth/1/oauth2/token',
      headers: {
        accept: 'application/json',
        'content-type': 'application/x-www-form-urlencoded',
        'user-agent': userAgent,
      },
      body: new URLSearchParams({
        client_id: clientId,
        client_secret: clientSecret,
        grant_type: 'client_credentials',
      }).toString(),
    });
    const answer = 'body' in outcome && outcome.status === 200 ? parseJson(outcome.body) : undefined;
    if (isTokenAnswer(answer) && VISIBLE_ASCII.test(answer.access_token) && answer.expires_in > 0) {
      const life = answer.expires_in * 1000;
      const header = `Bearer ${answer.access_token}`;
      current = { header, renewAt: before + life * RENEW_AFTER, expiresAt: before + life };
      return header;
    }
    // Without a token the caller's own request never left, whatever became of this one.
    throw errorOf(outcome, {
      operation: 'the request for an access token',
      secrets: [clientSecret],
      sent: false,
      isLogin: true,
    });
  }

  return {
    secrets: [clientSecret],
    header() {
      if (current !== undefined && Date.now() < current.renewAt) {
        return current.header;
      }
      renewal ??= fetchToken()
        .catch((error: unknown) => {
          if (current !== undefined && Date.now() < current.expiresAt) {
            return current.header;
          }
          throw error;
        })
        .finally(() => {
          renewal = undefined;
        });
      return renewal;
    },
    refused(header) {
      if (current?.header === header) {
        current = undefined;
      }
      return true;
    },
  };
}
