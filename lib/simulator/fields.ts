/** Reads the fields of a JSON body one by one, keeps what is wrong with each, and narrows without casts. */

import { ServiceError, type Violations } from './errors.js';

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * One JSON object of a request. `null` counts as left out, a value of another type is a violation (nothing is
 * converted: a PIN sent as a number has lost its leading zeros), and unknown fields are ignored.
 */
export class Fields {
  private readonly source: Record<string, unknown>;
  private readonly prefix: string;
  private readonly violations: Violations;

  constructor(source: Record<string, unknown>, prefix = '', violations: Violations = {}) {
    this.source = source;
    this.prefix = prefix;
    this.violations = violations;
  }

  /** The fields of a body; a body that is no object is refused at once. */
  static of(body: unknown): Fields {
    if (!isObject(body)) throw new ServiceError(400, { text: 'The body must be a JSON object.' });
    return new Fields(body);
  }

  refuse(name: string, message: string): void {
    const field = this.prefix + name;
    const messages = this.violations[field] ?? [];
    if (!messages.includes(message)) this.violations[field] = [...messages, message];
  }

  /** Throws the 400 that names every violation found so far. */
  check(): void {
    if (Object.keys(this.violations).length > 0) throw new ServiceError(400, { violations: this.violations });
  }

  private value(name: string): unknown {
    return Object.hasOwn(this.source, name) ? (this.source[name] ?? undefined) : undefined;
  }

  string(name: string, { max = Number.POSITIVE_INFINITY }: { max?: number } = {}): string | undefined {
    const value = this.value(name);
    if (value === undefined) return undefined;
    if (typeof value !== 'string') this.refuse(name, 'must be a string');
    else if (value.length > max) this.refuse(name, `size must be between 0 and ${max}`);
    else return value;
    return undefined;
  }

  requiredString(name: string, limits: { max?: number } = {}): string {
    const missing = this.value(name) === undefined;
    const value = this.string(name, limits);
    if (missing || value?.trim() === '') this.refuse(name, 'must not be blank');
    return value ?? '';
  }

  /** A string that must be there, and may be empty. */
  neededString(name: string, limits: { max?: number } = {}): string {
    if (this.value(name) === undefined) this.refuse(name, 'must not be null');
    return this.string(name, limits) ?? '';
  }

  boolean(name: string): boolean | undefined {
    const value = this.value(name);
    if (value === undefined || typeof value === 'boolean') return value;
    this.refuse(name, 'must be a boolean');
    return undefined;
  }

  integer(name: string, { min, max }: { min: number; max: number }): number | undefined {
    const value = this.value(name);
    if (value === undefined) return undefined;
    if (typeof value !== 'number' || !Number.isInteger(value)) this.refuse(name, 'must be an integer');
    else if (value < min || value > max) this.refuse(name, `must be between ${min} and ${max}`);
    else return value;
    return undefined;
  }

  requiredInteger(name: string, limits: { min: number; max: number }): number {
    if (this.value(name) === undefined) this.refuse(name, 'must not be null');
    return this.integer(name, limits) ?? limits.min;
  }

  number(name: string, { min, max }: { min: number; max: number }): number | undefined {
    const value = this.value(name);
    if (value === undefined) return undefined;
    if (typeof value !== 'number') this.refuse(name, 'must be a number');
    else if (value < min || value > max) this.refuse(name, `must be between ${min} and ${max}`);
    else return value;
    return undefined;
  }

  oneOf<T extends string>(name: string, allowed: readonly T[]): T | undefined {
    const value = this.value(name);
    if (value === undefined) return undefined;
    const found = allowed.find((candidate) => candidate === value);
    if (found === undefined) this.refuse(name, `must be one of ${allowed.join(', ')}`);
    return found;
  }

  /** The fields of a nested object; undefined when it is left out. */
  object(name: string): Fields | undefined {
    const value = this.value(name);
    if (value === undefined) return undefined;
    if (isObject(value)) return new Fields(value, `${this.prefix}${name}.`, this.violations);
    this.refuse(name, 'must be an object');
    return undefined;
  }

  /** A map of strings whose keys may be neither `pin` nor written with braces. */
  placeholders(name: string): Record<string, string> {
    const value = this.value(name);
    if (value === undefined) return {};
    if (!isObject(value)) {
      this.refuse(name, 'must be an object');
      return {};
    }
    const entries: [string, string][] = [];
    for (const [key, text] of Object.entries(value)) {
      if (key === 'pin' || /[{}]/.test(key))
        this.refuse(name, 'must not hold the key pin or a key with braces');
      else if (typeof text !== 'string') this.refuse(`${name}.${key}`, 'must be a string');
      else entries.push([key, text]);
    }
    return Object.fromEntries(entries);
  }
}
