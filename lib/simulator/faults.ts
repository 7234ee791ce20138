/** Failures on request: what a test wants to go wrong, waiting in a queue until a matching request comes. */

import { validateHeaderName, validateHeaderValue } from 'node:http';
import type { Envelope } from './errors.js';
import { isObject } from './fields.js';

/** Something that shall go wrong. Every member is optional, but one of them must say what happens. */
export interface Fault {
  /**
   * An operationId of the API (`send-2fa-pin-code-over-sms`) or a short name: those of the client's methods (`sendPin`
   * and `resendPin` mean all channels, `sendPinOverSms`, `resendPinOverVoice` ... one), `getToken`, `createSession`,
   * `deleteSession`. Default: every operation of the 2FA API, but not the last three.
   */
  operation?: string;
  /** How many requests it meets before it heals; default 1. */
  times?: number;
  /** Answered instead of what the operation would answer, which then does not take place. */
  status?: number;
  /** The envelope of the error body; default: the simulator's own. Alone, the status is 500. */
  envelope?: Envelope;
  /** Laid over the answer's headers. */
  headers?: Record<string, string>;
  /** The body: a string goes out as it is (as text), anything else as JSON. Alone, the status is 200. */
  body?: unknown;
  /** Milliseconds before the answer. What the operation does is done before the wait. */
  delayMs?: number;
  /** The connection is destroyed: `before` the operation takes effect, `after` it (the message is out), or in the middle of the answer's `body`. */
  cut?: 'before' | 'after' | 'body';
  /** The result of the number lookup in the answer to an SMS. */
  ncStatus?: string;
  /** True: the operation takes effect although the answer is this fault's. */
  performs?: boolean;
}

const maxQueued = 10_000;

/** What the queue needs to know of an operation. */
export interface Named {
  readonly names: readonly string[];
  /** Whether it answers an `ncStatus`. */
  readonly looksUp: boolean;
  /** Met only by faults that name it. */
  readonly onlyByName: boolean;
}

export class Faults {
  private readonly operations: readonly Named[];
  private queue: { fault: Fault; left: number }[] = [];

  constructor(operations: readonly Named[]) {
    this.operations = operations;
  }

  /** How many have not healed yet. */
  get waiting(): number {
    return this.queue.length;
  }

  clear(): void {
    this.queue = [];
  }

  /** @throws TypeError with a sentence when the fault is none that could happen. */
  add(fault: unknown): void {
    const checked = readFault(fault);
    const met = this.operations.filter((operation) => meets(checked, operation));
    if (met.length === 0) {
      const wanted = checked.ncStatus === undefined ? '' : ' with an ncStatus (only sends over SMS have one)';
      throw new TypeError(
        `Simulator: a fault names the operation "${checked.operation}"${wanted}, which is not known. ` +
          `Give one of ${this.names().join(', ')}.`,
      );
    }
    if (this.queue.length >= maxQueued)
      throw new TypeError(`Simulator: ${maxQueued} faults are waiting already.`);
    this.queue.push({ fault: checked, left: checked.times ?? 1 });
  }

  private names(): string[] {
    return [...new Set(this.operations.flatMap((operation) => operation.names))];
  }

  /** The first waiting fault for this operation; it has then happened once. */
  take(operation: Named): Fault | undefined {
    const entry = this.queue.find(({ fault }) => meets(fault, operation));
    if (!entry) return undefined;
    entry.left -= 1;
    if (entry.left <= 0) this.queue.splice(this.queue.indexOf(entry), 1);
    return entry.fault;
  }
}

function meets(fault: Fault, operation: Named): boolean {
  if (fault.ncStatus !== undefined && !operation.looksUp) return false;
  if (fault.operation === undefined) return !operation.onlyByName;
  return operation.names.includes(fault.operation);
}

const checks: Readonly<Record<keyof Fault, { is: (value: unknown) => boolean; expected: string }>> = {
  operation: { is: isText, expected: 'a non-empty string' },
  times: { is: (value) => isWhole(value, 1, 1_000_000), expected: 'a whole number from 1 to 1000000' },
  status: { is: (value) => isWhole(value, 200, 599), expected: 'a whole number from 200 to 599' },
  envelope: { is: (value) => value === 'legacy' || value === 'new', expected: '"legacy" or "new"' },
  headers: { is: isHeaders, expected: 'an object of header names and string values' },
  body: { is: () => true, expected: 'anything' },
  delayMs: { is: (value) => isWhole(value, 0, 600_000), expected: 'whole milliseconds from 0 to 600000' },
  cut: {
    is: (value) => ['before', 'after', 'body'].includes(String(value)),
    expected: '"before", "after" or "body"',
  },
  ncStatus: { is: isText, expected: 'a non-empty string' },
  performs: { is: (value) => typeof value === 'boolean', expected: 'true or false' },
};

function readFault(fault: unknown): Fault {
  if (!isObject(fault))
    throw new TypeError('Simulator: a fault is not an object. Give { operation, status, ... }.');
  checkFault(fault);
  const { operation: _operation, times: _times, performs: _performs, ...effects } = fault;
  if (Object.values(effects).every((effect) => effect === undefined)) {
    throw new TypeError(
      'Simulator: a fault says nothing that could go wrong. Give status, envelope, headers, body, delayMs, cut or ncStatus.',
    );
  }
  return { ...fault };
}

function checkFault(fault: object): asserts fault is Fault {
  const known = new Map<string, { is: (value: unknown) => boolean; expected: string }>(
    Object.entries(checks),
  );
  for (const [name, value] of Object.entries(fault)) {
    const check = known.get(name);
    if (!check) {
      throw new TypeError(
        `Simulator: a fault has no "${name}". It may have ${[...known.keys()].join(', ')}.`,
      );
    }
    if (value === undefined || check.is(value)) continue;
    throw new TypeError(
      `Simulator: the ${name} of a fault is ${JSON.stringify(value)}. Give ${check.expected}.`,
    );
  }
}

function isText(value: unknown): boolean {
  return typeof value === 'string' && value !== '';
}

function isWhole(value: unknown, min: number, max: number): boolean {
  return typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max;
}

function isHeaders(value: unknown): boolean {
  if (!isObject(value)) return false;
  try {
    for (const [name, text] of Object.entries(value)) {
      validateHeaderName(name);
      if (typeof text !== 'string') return false;
      validateHeaderValue(name, text);
    }
    return true;
  } catch {
    return false;
  }
}
