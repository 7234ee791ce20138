import type { AddressInfo } from 'node:net';
import { type Behaviour, readBehaviour } from './behaviour.js';
import { type ApiKey, allScopes, Credentials, type Scope } from './credentials.js';
import { type Fault, Faults } from './faults.js';
import { Inbox } from './inbox.js';
import { Windows } from './limits.js';
import { operations } from './operations.js';
import { createRandom, type Random } from './random.js';
import { createSimulatorServer } from './server.js';
import { type Message, TwoFactorService } from './service.js';

export type { Behaviour } from './behaviour.js';
export type { ApiKey, Scope } from './credentials.js';
export type { Envelope } from './errors.js';
export type { Fault } from './faults.js';
export type { Channel, Message } from './service.js';

export interface SimulatorOptions {
  /** Port to listen on; default 0, any free one. */
  port?: number;
  /** Address to listen on; default `127.0.0.1`. On another one the phone and control addresses still answer only to a loopback `Host`. */
  host?: string;
  /** The API key that may do everything; default: always the same one, so that an `.env` keeps working. */
  apiKey?: string;
  /** Further keys, with fewer scopes or an end. */
  keys?: readonly ApiKey[];
  /** Name of the account's user, for Basic, sessions and as OAuth's client id; default `simulator`. */
  username?: string;
  /** Password of the account's user, also OAuth's client secret; default `simulator-password`. */
  password?: string;
  /** What the user may do, however it comes (Basic, session, OAuth); default: all. */
  userScopes?: readonly Scope[];
  /** Time in milliseconds; default `Date.now`. */
  now?: () => number;
  /** Makes ids and PINs the same in each run; without it they are random. */
  seed?: string | number;
  /** Answers to what Infobip's documents leave open. */
  behaviour?: Partial<Behaviour>;
  /** Texts of the mails by `emailTemplateId`, with the placeholder `{$pin}`. */
  emailTemplates?: Readonly<Record<string, string>>;
  /** Messages kept, the newest; default 10000. */
  maxMessages?: number;
  /** PINs kept, the newest; default 100000. */
  maxPins?: number;
}

export interface Simulator {
  /** Base URL for a client, also the address of the phone page. */
  readonly url: string;
  readonly apiKey: string;
  readonly username: string;
  readonly password: string;
  /** An application with the configuration that a login site should have. */
  readonly applicationId: string;
  /** Its template for SMS and voice. */
  readonly messageId: string;
  /** What was sent, oldest first. Always the same array. */
  readonly messages: readonly Message[];
  /** The newest message to a phone number (with or without `+`) or an e-mail address. */
  lastMessageTo(to: string): Message | undefined;
  /** Moves the simulator's clock forward. */
  advance(ms: number): void;
  /** Queues a failure. Throws a TypeError when it is none that could happen. */
  addFault(fault: Fault): void;
  /** Changes answers to what the documents leave open. Throws a TypeError for an unknown one. */
  behave(changes: Partial<Behaviour>): void;
  /**
   * Forgets messages, PINs, counts, faults, changes of behaviour and of the clock. Applications and templates stay, as
   * they do in an account, and so do tokens; with `setUp: true` they too are as at the start.
   */
  reset(options?: { setUp?: boolean }): void;
  /** Ends at once, open streams and connections included. */
  close(): Promise<void>;
}

const defaultApiKey = '00000000000000000000000051b0f1a7-00000000-0000-4000-8000-000000000001';
const ids = {
  applicationId: '51B0F1A7000000000000000000000A01',
  messageId: '51B0F1A7000000000000000000000B01',
};

const application = {
  name: 'passport-sms-otp',
  configuration: {
    pinAttempts: 5,
    allowMultiplePinVerifications: false,
    pinTimeToLive: '10m',
    verifyPinLimit: '5/1s',
    sendPinPerApplicationLimit: '10000/1d',
    sendPinPerPhoneNumberLimit: '10/1d',
  },
};
const template = {
  messageText: 'Your PIN is {{pin}}.',
  pinType: 'NUMERIC',
  pinLength: 6,
};

/**
 * Starts a local stand-in of Infobip's 2FA service. It checks requests as strictly as the service would, sends its
 * messages to a page and to `messages`, and fails on request.
 *
 * @throws the system's error when it cannot listen (`EADDRINUSE`, `EACCES`), TypeError for an option that makes no sense
 */
export async function startSimulator(options: SimulatorOptions = {}): Promise<Simulator> {
  const { port = 0, host = '127.0.0.1', apiKey = defaultApiKey, now = Date.now, maxPins = 100_000 } = options;
  const { username = 'simulator', password = 'simulator-password', userScopes = allScopes } = options;
  if (!/^[\x21-\x7e]+$/.test(apiKey)) {
    throw new TypeError(
      'Simulator: apiKey is empty or has a space in it. Give the key alone, without the word App.',
    );
  }
  let offsetMs = 0;
  let random: Random = createRandom(options.seed);
  let behaviour = readBehaviour(options.behaviour ?? {});
  const clock = () => now() + offsetMs;
  const bytes: Random = (size) => random(size);

  const inbox = new Inbox(options.maxMessages ?? 10_000);
  const faults = new Faults(operations);
  const accountRequests = new Windows(operations.length);
  const service = new TwoFactorService({
    now: clock,
    random: bytes,
    behaviour: () => behaviour,
    deliver: (message) => inbox.deliver(message),
    maxPins,
    emailTemplates: options.emailTemplates ?? {},
  });
  const credentials = new Credentials({
    keys: [{ key: apiKey }, ...(options.keys ?? [])],
    username,
    password,
    userScopes,
    now: clock,
    random: bytes,
    tokenSeconds: () => behaviour.tokenSeconds,
    wrongClientStatus: () => behaviour.wrongClientStatus,
  });
  service.applications.addSetUp(ids, application, template);

  function reset({ setUp = false }: { setUp?: boolean } = {}): void {
    offsetMs = 0;
    random = createRandom(options.seed);
    behaviour = readBehaviour(options.behaviour ?? {});
    faults.clear();
    accountRequests.clear();
    service.clear({ setUp });
    inbox.clear();
    if (!setUp) return;
    credentials.clear();
    service.applications.addSetUp(ids, application, template);
  }

  function advance(ms: number): number {
    offsetMs += ms;
    return clock();
  }

  function behave(changes: object): void {
    behaviour = readBehaviour(changes, behaviour);
  }

  const { server, close } = createSimulatorServer({
    service,
    credentials,
    faults,
    accountRequests,
    controls: { inbox, faults, behaviour: () => behaviour, behave, advance, reset },
    now: clock,
    behaviour: () => behaviour,
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      resolve();
    });
  });

  return {
    url: addressOf(server.address(), host),
    apiKey,
    username,
    password,
    ...ids,
    messages: inbox.messages,
    lastMessageTo: (to) => inbox.lastTo(to),
    advance(ms) {
      if (!(ms >= 0))
        throw new TypeError('Simulator: the clock only moves forward. Give milliseconds, 0 or more.');
      advance(ms);
    },
    addFault: (fault) => faults.add(fault),
    behave,
    reset,
    close,
  };
}

/** Where a client on this machine reaches the server, also when it listens on every address. */
function addressOf(address: AddressInfo | string | null, host: string): string {
  const port = typeof address === 'object' && address ? address.port : 0;
  const reached = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
  return `http://${reached.includes(':') ? `[${reached}]` : reached}:${port}`;
}
