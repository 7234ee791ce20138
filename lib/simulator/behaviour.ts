/**
 * The switches for what Infobip's documents leave open. A site that passes its tests under either answer has nothing
 * to fear from the real one. The first value of each list is the default.
 */

const switches = {
  /** Whether `pinAttempts` counts wrong checks for each PIN, or for a number over all its PINs until one is verified. */
  attemptsCount: ['pin', 'number'],
  /** Whether `pinAttempts` must be at least 1. */
  pinAttemptsLimited: [true, false],
  /** The second check of a verified PIN where the application does not allow several: refused with `NO_MORE_PIN_ATTEMPTS`, unknown, or verified again all the same. */
  repeatVerification: ['refuse', '404', 'accept'],
  /** The `pinError` of the wrong PIN that uses the last attempt. */
  lastAttemptError: ['WRONG_PIN', 'NO_MORE_PIN_ATTEMPTS'],
  /** `attemptsRemaining` beside `TTL_EXPIRED`. */
  expiredAttempts: ['remaining', 'zero', 'absent'],
  /** Whether a check that the rate limit refused uses an attempt. */
  limitedCheckUsesAttempt: [false, true],
  /** Whether letter PINs must be typed in the case in which they were sent. */
  caseSensitive: [true, false],
  /** How a PIN begins: as chance has it, or with a zero (letters: with an A), which a number would lose. */
  pinStart: ['any', 'zero'],
  /** The case of the letters in a PIN. */
  pinCase: ['upper', 'lower'],
  /** Whether a resend counts against the limits of sends. */
  resendCounts: [true, false],
  /** The PIN id that a resend answers with: the same; a further one for the same PIN; or one that replaces it. */
  resendPinId: ['same', 'alias', 'new'],
  /** Whether a resend starts the time to live anew. */
  resendRenewsTimeToLive: [false, true],
  /** Whether a resend gives the attempts back. */
  resendRestoresAttempts: [false, true],
  /** A resend of a PIN whose time is over. */
  resendExpired: ['404', 'send'],
  /** A resend of a PIN that is verified or out of attempts. */
  resendSettled: ['send', '404'],
  /** The values for placeholders of a resend that brings none: none, or those that came last. */
  resendPlaceholders: ['forgotten', 'remembered'],
  /** What a second send to the same number makes of the first PIN: both are good, or the first is unknown from then on. */
  secondSend: ['keeps', 'replaces'],
  /** The status for an application or template id that a send does not find. */
  unknownId: [404, 400],
  /** The `messageId` of what is not found. */
  notFoundMessageId: ['NOT_FOUND', 'RESOURCE_NOT_FOUND'],
  /** The status of a send over a disabled application. */
  disabledApplication: [400, 403, 404],
  /** The `messageId` of a missing scope. */
  forbiddenMessageId: ['FORBIDDEN', 'UNAUTHORIZED'],
  /** The error envelope: the one the 2FA document declares, the platform's newer one, or the newer one for 429 only. */
  envelope: ['legacy', 'new', 'new-for-429'],
  /** Whether a 400 says which fields were wrong. */
  validationErrors: [true, false],
  /** The status when a limit of the application is used up. */
  limitStatus: [429, 403, 400],
  /** The `messageId` when a limit is used up. */
  limitMessageId: ['TOO_MANY_REQUESTS', 'THROTTLE_EXCEPTION'],
  /** A fixed window begins with its first request; a sliding one looks back from each. */
  window: ['fixed', 'sliding'],
  /** Whether the published limits on the set-up requests of an account (20 new applications in 10 minutes ...) hold. */
  requestLimits: [false, true],
  /** Whether `to` may begin with a plus sign. */
  plusInTo: ['accept', 'refuse'],
  /** Whether a send without a number lookup answers an `ncStatus`. */
  ncStatusWithoutLookup: ['absent', 'present'],
  /** A placeholder of the template that the send gives no value for: left as it is in the text, or refused. */
  missingPlaceholder: ['keep', '400'],
  /** Whether languages have a standard voice; where they have none, a call is refused whose template has no `voiceName`. */
  standardVoice: ['present', 'absent'],
  /** Whether durations and limits may hold spaces and units in upper case. */
  limitSyntax: ['strict', 'lenient'],
  /** Whether the numbers in durations and limits may be zero: a time that is over at once, a limit that lets nothing through. */
  zeroInLimits: ['accept', 'refuse'],
  /** Whether `pinLength` must lie between 1 and 8. */
  pinLengthLimited: [true, false],
  /** What an update makes of configuration values that it leaves out. */
  updateConfiguration: ['keep', 'reset'],
  /** Whether limits are read back in full: `5/h` as `5/1h`. */
  limitsNormalised: [false, true],
  /** The status of a created application. */
  createStatus: [201, 200],
  /** Whether reading templates shows their `pinPlaceholder`, as creating them does. */
  pinPlaceholderInReads: [false, true],
  /** The unit of `verifiedAt` and `sentAt`: the document says milliseconds, its examples show seconds. */
  times: ['ms', 's'],
  /** The status when client id and secret are wrong at the token endpoint. */
  wrongClientStatus: [400, 401],
  /** Whether answers carry fields that no document knows. */
  unknownFields: [false, true],
} as const;

type Switches = { -readonly [Name in keyof typeof switches]: (typeof switches)[Name][number] };

/** How the simulator behaves where the service's documents leave it open. */
export interface Behaviour extends Switches {
  /** The result of a number lookup: `NC_DESTINATION_REACHABLE`, `_UNKNOWN`, `_NOT_REACHABLE` (nothing is sent), `NC_NOT_CONFIGURED` ... */
  ncStatus: string;
  /** The status of a voice call in the answer to a send; default `PENDING_ACCEPTED`. */
  callStatus: string;
  /** The `name` of an e-mail's status in the answer to a send; default `PENDING_ACCEPTED`. */
  emailStatus: string;
  /** Seconds in the `Retry-After` of a used-up limit; `'window'`: what is left of it; `null` (default): no such header. */
  retryAfter: number | 'window' | null;
  /** How long an OAuth access token lives, in seconds; default 3600. */
  tokenSeconds: number;
}

const freeDefaults = {
  ncStatus: 'NC_DESTINATION_REACHABLE',
  callStatus: 'PENDING_ACCEPTED',
  emailStatus: 'PENDING_ACCEPTED',
  retryAfter: null,
  tokenSeconds: 3600,
};

const expectations: Readonly<Record<string, string>> = {
  ncStatus: 'a non-empty string',
  callStatus: 'a non-empty string',
  emailStatus: 'a non-empty string',
  retryAfter: 'whole seconds, "window" or null',
  tokenSeconds: 'whole seconds, at least 1',
};

const allowed: ReadonlyMap<string, readonly unknown[]> = new Map(Object.entries(switches));
const names = [...allowed.keys(), ...Object.keys(freeDefaults)];

/**
 * `changes` laid over `base`, which is the defaults when left out.
 *
 * @throws TypeError when a name or a value is not known, with a sentence that says which are.
 */
export function readBehaviour(changes: object, base?: Behaviour): Behaviour {
  const firsts = [...allowed].map(([name, values]) => [name, values[0]]);
  const set = Object.entries(changes).filter(([, value]) => value !== undefined);
  const settings = { ...Object.fromEntries(firsts), ...freeDefaults, ...base, ...Object.fromEntries(set) };
  checkBehaviour(settings);
  return settings;
}

function checkBehaviour(settings: object): asserts settings is Behaviour {
  for (const [name, value] of Object.entries(settings)) {
    if (!names.includes(name)) {
      throw new TypeError(`Simulator: the behaviour "${name}" is not known. Known are ${names.join(', ')}.`);
    }
    const values = allowed.get(name);
    if (values ? values.includes(value) : isFreeValue(name, value)) continue;
    const expected = values?.map((each) => JSON.stringify(each)).join(' or ') ?? expectations[name];
    throw new TypeError(`Simulator: the behaviour "${name}" is ${JSON.stringify(value)}. Give ${expected}.`);
  }
}

function isFreeValue(name: string, value: unknown): boolean {
  if (['ncStatus', 'callStatus', 'emailStatus'].includes(name))
    return typeof value === 'string' && value !== '';
  if (name === 'retryAfter' && (value === null || value === 'window')) return true;
  const least = name === 'tokenSeconds' ? 1 : 0;
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= least;
}
