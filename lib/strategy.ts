/** SmsOtpStrategy: one request becomes one phase (issue, resend, check), and ends in exactly one Passport action. */

import PassportStrategy from 'passport-strategy';
import { type Action, type Phase, type SmsOtpAuthenticateOptions, setHeader, type Turn } from './action.js';
import { LONGEST_CHAIN_MS } from './challenge.js';
import { createCheck } from './check.js';
import { createClicks } from './clicks.js';
import { createDelivery } from './delivery.js';
import { endedSessions } from './ended.js';
import { alreadyAnswered, asError, isStoreError, SessionEnded } from './errors.js';
import { signOut } from './marks.js';
import {
  type LoginOptions,
  misspelt,
  type NewNumberOptions,
  parseOptions,
  type SecondFactorOptions,
  type Settings,
  type SmsOtpStrategyOptions,
} from './options.js';
import type { Channel } from './otp-client.js';
import { createParts } from './parts.js';
import { isTarget, type NoTarget, type Target } from './recipient.js';
import {
  bodyField,
  detachSession,
  emptySession,
  hasOldPassport,
  isAnswered,
  isDetached,
  isNewSession,
  isObject,
  isPost,
  isSameSite,
  property,
  type RequestLike,
  sessionIdOf,
  signedInAs,
} from './request.js';
import { trimMessages } from './session.js';
import type { Verify } from './verify.js';

interface Actions {
  success(user: unknown, info: object): void;
  fail(info: object, status: number): void;
  redirect(url: string, status: number): void;
  error(error: Error): void;
}

// The base class is declared here and not by its types: a host's strict build must not depend on them.
const Base: new () => object = PassportStrategy;

/**
 * Logs people in with a one-time PIN.
 *
 * @typeParam Req the host's request, where more than {@link RequestLike} is wanted in the callbacks
 */
export class SmsOtpStrategy<Req extends RequestLike = RequestLike> extends Base {
  /** The name under which Passport knows it. */
  readonly name: string;
  /** @internal Passport runs the strategy through Object.create, where private members (#) would throw. */
  readonly _decide: (turn: Turn) => Promise<Action>;

  /**
   * @param options see {@link SmsOtpStrategyOptions}
   * @param verify finds or creates the user whose phone was proved
   * @throws TypeError for an option that is missing, misspelt or contradicts another
   */
  constructor(options: LoginOptions<Req>, verify: Verify<Req, 'phoneNumber'>);
  constructor(options: NewNumberOptions<Req>, verify: Verify<Req, 'phoneNumber' | 'subject'>);
  constructor(options: SecondFactorOptions<Req>, verify: Verify<Req, 'subject'>);
  constructor(options: SmsOtpStrategyOptions<Req>, verify: Verify<Req>);
  constructor(options: SmsOtpStrategyOptions<Req>, verify: Verify<Req, 'phoneNumber' | 'subject'>) {
    super();
    const settings = parseOptions(options);
    if (typeof verify !== 'function') {
      throw new TypeError(
        'SmsOtpStrategy: the verify callback is missing. Give a function that finds or creates the user, such as ' +
          'async ({ phoneNumber }) => users.findOrCreate({ phoneNumber }).',
      );
    }
    this.name = settings.name;
    // The host chose its request type; what comes is what its framework makes.
    this._decide = createPhases(settings, verify as Verify<RequestLike>);
  }

  /** Called by Passport. Returns nothing: the end is one of Passport's actions. */
  authenticate(req: RequestLike, options?: SmsOtpAuthenticateOptions): void {
    // Taken now: of `passport.authenticate(instance)` the next request overwrites them.
    const { success, fail, redirect, error } = this as unknown as Actions;
    void run(this._decide, { req, options: options ?? {} }, { success, fail, redirect, error });
  }
}

async function run(decide: (turn: Turn) => Promise<Action>, turn: Turn, actions: Actions): Promise<void> {
  const action = await decide(turn).catch((thrown: unknown): Action => {
    return {
      type: 'error',
      error: asError(thrown, 'A function of the host failed with something that is no Error'),
    };
  });
  try {
    perform(action, actions);
  } catch (thrown) {
    endWithError(
      turn.req,
      actions,
      asError(thrown, 'A Passport action failed with something that is no Error'),
    );
  }
}

function perform(action: Action, { success, fail, redirect, error }: Actions): void {
  if (action.type === 'success') success(action.user, action.info);
  else if (action.type === 'fail') fail(action.info, action.status);
  else if (action.type === 'redirect') redirect(action.url, 303);
  else error(action.error);
}

// The host's own callback threw. If it throws once more, the request is ended here: it must not hang, and an
// unhandled rejection would end the process.
function endWithError(req: RequestLike, { error }: Actions, thrown: Error): void {
  try {
    error(thrown);
  } catch (again) {
    // An error of another realm is none to Node, which would throw.
    const warning = asError(again, 'The error action failed with something that is no Error');
    process.emitWarning(warning instanceof Error ? warning : new Error('The error action failed'));
    const res = property(req, 'res');
    const end = property(res, 'end');
    if (!isObject(res) || typeof end !== 'function') return;
    if (!isAnswered(req)) Reflect.set(res, 'statusCode', 500);
    Reflect.apply(end, res, []);
  }
}

// Requests whose PIN is on its way. That is a failure to Passport, which then asks the next strategy of the route.
const served = new WeakSet<RequestLike>();

/** The phases of one strategy. What they throw is the request's error. */
function createPhases(settings: Settings, verify: Verify): (turn: Turn) => Promise<Action> {
  const parts = createParts(settings);
  const { challenges, recipients, outcome, emit, misconfigured } = parts;
  const delivery = createDelivery(parts);
  const check = createCheck(parts, verify);
  const knownRoutes = new WeakSet<object>();
  const isBetweenFactors = !settings.signedIn && !recipients.isTypedByStranger;
  const clicks = createClicks(isBetweenFactors);

  return isBetweenFactors ? decideBetweenFactors : decide;

  // Where the host forgot `session: false`, the password has just signed somebody in: however the request ends, that session
  // must not get out. (A PIN that is right signs in afterwards, by Passport.)
  async function decideBetweenFactors(turn: Turn): Promise<Action> {
    const { req } = turn;
    try {
      return await decide(turn);
    } finally {
      const id = takeNewId(req);
      // A session in a cookie does not tell who was signed in before: they are signed out, too.
      const isElsewhere = !Reflect.has(req, 'sessionID') && signedInAs(req) !== undefined;
      if (id !== undefined || isElsewhere) await signOutForSure(req, id);
    }
  }

  async function decide(turn: Turn): Promise<Action> {
    try {
      const action = await decidePhase(turn);
      // Passport may write a message into the session of a failure, which is then saved, or its cookie sent anew: not over
      // what others have written, nor over the session of a login that was faster.
      if (action.type === 'fail' && action.status !== 202) {
        await challenges.catchUp(turn.req);
        if (property(turn.options, 'failureMessage')) trimMessages(turn.req);
      }
      return action;
    } catch (thrown) {
      if (!(await isEnd(turn.req, thrown))) throw thrown;
      // Whoever signed out stays out. The request goes on with a session of nobody's.
      emptySession(turn.req);
      if (!(thrown instanceof SessionEnded)) throw thrown;
      return outcome(turn, 'no_challenge', {});
    }
  }

  async function isEnd(req: RequestLike, thrown: unknown): Promise<boolean> {
    if (thrown instanceof SessionEnded) return true;
    const id = sessionIdOf(req);
    try {
      // The store of sessions may be as silent, and the visitor would wait twice.
      if (!isStoreError(thrown)) {
        await challenges.catchUp(req);
        return false;
      }
    } catch (end) {
      if (end instanceof SessionEnded) return true;
    }
    // Nobody could be asked, so nothing is written to it.
    detachSession(req);
    return endedSessions(req).has(id);
  }

  async function decidePhase(turn: Turn): Promise<Action> {
    const { req, options } = turn;
    if (!isPost(req)) {
      setHeader(req, 'Allow', 'POST');
      return refuse(turn, 'method_not_allowed');
    }
    if (!isSameSite(req, settings.trustedOrigins)) {
      // The browser has kept its cookie to itself, and would take that of a new session, with a message, in its place.
      if (isNewSession(req) && signedInAs(req) === undefined) detachSession(req);
      return refuse(turn, 'cross_site');
    }
    checkRoute(turn);
    const phase = phaseOf(turn);
    const sessionIds = phase === 'issue' ? clicks.idsOf(req) : [];
    const begun = challenges.begin(req);
    await (isBetweenFactors && phase === 'issue' ? clicks.orAnew(req, begun) : begun);
    if (phase === 'check') return check(turn);
    if (served.has(req)) {
      throw misconfigured(
        'another strategy of this route has just sent a PIN; give each strategy a route of its own',
      );
    }
    for (const option of ['failureRedirect', 'failWithError']) {
      if (options.challengeRedirect === undefined && property(options, option)) {
        throw misconfigured(
          `\`${option}\` without \`challengeRedirect\` would treat a PIN that was sent as a failure; give both`,
        );
      }
    }
    const action = await (phase === 'issue' ? issue(turn, sessionIds) : resend(turn));
    if ('challenge' in action) served.add(req);
    return action;
  }

  function refuse(turn: Turn, code: 'cross_site' | 'method_not_allowed'): Action {
    emit({ type: 'request.refused', code });
    return outcome(turn, code, {});
  }

  // Passport passes a route's options on unread.
  function checkRoute({ req, options }: Turn): void {
    if (knownRoutes.has(options)) return;
    if (hasOldPassport(req)) {
      throw misconfigured(
        'this Passport is older than 0.6 and keeps the id of a session at a login, so whoever planted it gets in, too; upgrade it',
      );
    }
    for (const key of Object.keys(options)) {
      const meant = misspelt(key, ['phase', 'challengeRedirect', 'channel']);
      if (meant !== undefined) {
        throw misconfigured(`a route has the option \`${key}\`. Did you mean \`${meant}\`?`);
      }
    }
    knownRoutes.add(options);
  }

  function phaseOf({ req, options: { phase } }: Turn): Phase {
    if (phase === undefined) return bodyField(req, settings.pinField) === undefined ? 'issue' : 'check';
    if (phase === 'issue' || phase === 'resend' || phase === 'check') return phase;
    throw misconfigured(`the phase is ${JSON.stringify(phase)}; it must be 'issue', 'resend' or 'check'`);
  }

  async function issue(turn: Turn, sessionIds: readonly string[]): Promise<Action> {
    const target = await takeRecipient(turn.req);
    if (!isTarget(target)) {
      if (target.code === 'phone_not_allowed') {
        emit({ type: 'request.refused', code: target.code, country: target.details.country });
      }
      if (target.code === 'phone_missing') parts.warnOfNoBody(turn.req);
      return outcome(turn, target.code, target.details);
    }
    const channels = recipients.firstChannels(target);
    const asked = askedChannel(turn) ?? channels[0];
    const channel = channels.find((possible) => possible === asked);
    if (channel === undefined) return outcome(turn, 'channel_not_allowed', { channels });
    const open = await delivery.openFor(turn, target, channel);
    if (open === undefined) {
      const { subject, phoneNumber, email } = target;
      // From one address: whoever planted a cookie in this browser has another.
      return clicks.join(sessionIds, [turn.req.ip, subject, phoneNumber, email], (earlier) =>
        delivery.send(turn, target, channel, { earlier }),
      );
    }
    if (Date.now() < open.cooldownUntil) return delivery.alreadyOnItsWay(turn, open);
    return delivery.again(turn, open, channel, true);
  }

  // Signs out whoever the password alone has signed in, whatever the resolver says.
  async function takeRecipient(req: RequestLike): Promise<Target | NoTarget> {
    if (!isBetweenFactors) return recipients.resolve(req);
    const id = takeNewId(req);
    const resolved = recipients.resolve(req);
    await resolved.catch(() => undefined);
    // By a time limit of the host's: the cookie of another session would not get out.
    if (id === undefined && isAnswered(req)) throw alreadyAnswered('the PIN was sent');
    // Nobody to sign out, and an id that nobody else knows: a visitor with no password gets no session in the store.
    if (signedInAs(req) === undefined && isNewSession(req) && !isDetached(req)) return resolved;
    // It goes over into the new one, unless it has ended meanwhile.
    await clicks.orAnew(req, challenges.catchUp(req));
    clicks.willSignOut(sessionIdOf(req));
    await signOutForSure(req, id);
    return resolved;
  }

  // The id of a session that was made in this request, with somebody signed in. It is off the request until the sign-out is
  // done: whenever the host answers, it is not with that session's cookie.
  function takeNewId(req: RequestLike): string | undefined {
    const id = sessionIdOf(req);
    if (typeof id !== 'string' || signedInAs(req) === undefined || !isNewSession(req)) return undefined;
    detachSession(req);
    return id;
  }

  async function signOutForSure(req: RequestLike, newId: string | undefined): Promise<void> {
    try {
      await signOut(req, settings.storeTimeoutMs, newId);
    } catch (thrown) {
      // The store may still hold the session that the password has signed in: its cookie must not get out.
      emptySession(req);
      throw thrown;
    }
  }

  async function resend(turn: Turn): Promise<Action> {
    const challenge = await delivery.usable(turn);
    const isOver = challenge !== undefined && Date.now() - challenge.begunAt > LONGEST_CHAIN_MS;
    if (challenge === undefined || isOver || !(await recipients.isStillTheirs(turn.req, challenge))) {
      return outcome(turn, 'no_challenge', {});
    }
    const channels = recipients.channelsNow(challenge);
    if (channels.length === 0) return outcome(turn, 'no_challenge', {});
    const asked = askedChannel(turn) ?? challenge.channel;
    const channel = channels.find((possible) => possible === asked);
    if (channel === undefined) return outcome(turn, 'channel_not_allowed', { channels });
    return delivery.again(turn, challenge, channel, false);
  }

  function askedChannel({ req, options }: Turn): unknown {
    const field = bodyField(req, settings.channelField);
    const option: Channel | undefined = options.channel;
    return field === undefined || field === '' ? option : field;
  }
}
