/** Phone numbers: reading what people type, judging it, masking it. The only file that knows them. */

import { type CountryCode, findNumber, type NumberType } from './numbering.js';

/** A possible number. `type` is missing where the number is in no known range of its country. */
export interface PhoneNumber {
  /** E.164 with its plus sign. */
  phoneNumber: string;
  country: CountryCode;
  type: NumberType | undefined;
  masked: string;
  /** A test number of the host's: nothing will be sent to it. */
  test?: true;
}

/** What somebody typed into a field for a phone number. */
export type PhoneReading = PhoneNumber | 'missing' | 'invalid';

// E.164 allows 15 digits; people add an international prefix, spaces, brackets. Longer input is not looked at.
const LONGEST_INPUT = 64;
// Text marks that phones put around a number when it is copied from a contact.
const DIRECTION_MARKS = /[\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu;
const SEPARATORS = /[\p{Zs}\p{Pd}()./]/gu;

/**
 * Reads a number as people type it: spaces, hyphens, dots, slashes and brackets are dropped and digits of any
 * script are digits. Anything else, an extension and a number without a country (satellite, shared networks) is
 * 'invalid'.
 *
 * @param typed what the form field held
 * @param defaultCountry the country of a number without country code; without it only `+` numbers are read
 * @param isTestNumber whether an E.164 number is one of the host's test numbers, which may lie in no known range
 */
export function readPhoneNumber(
  typed: unknown,
  defaultCountry: CountryCode | undefined,
  isTestNumber: (phoneNumber: string) => boolean = () => false,
): PhoneReading {
  if (typed === undefined || typed === null) return 'missing';
  if (typeof typed !== 'string' || typed.length > LONGEST_INPUT) return 'invalid';
  const compact = plainDigits(typed).replace(DIRECTION_MARKS, '').replace(SEPARATORS, '');
  if (compact === '') return typed.trim() === '' ? 'missing' : 'invalid';
  if (!/^[+\uff0b]?[0-9]{4,20}$/.test(compact)) return 'invalid';
  const found = findNumber(compact.replace('\uff0b', '+'), defaultCountry);
  if (found === undefined) return 'invalid';
  const { phoneNumber, callingCode, type } = found;
  const isTest = isTestNumber(phoneNumber);
  // Numbers kept for fiction are in no range that tells the countries of one calling code apart; its main one is first.
  const country = found.country ?? (isTest ? found.likelyCountry : undefined);
  if (country === undefined) return 'invalid';
  const masked = `+${callingCode} ${maskedEnd(phoneNumber)}`;
  return { phoneNumber, country, type, masked, ...(isTest && { test: true }) };
}

/** The last two digits behind bullets, for a number whose country is nobody's business. */
export function maskedEnd(phoneNumber: string): string {
  return `\u2022\u2022\u2022 ${phoneNumber.slice(-2)}`;
}

/** An e-mail address down to its first letter and its domain. */
export function maskedEmail(email: string): string {
  const [first = ''] = email;
  return `${first}\u2022\u2022\u2022${email.slice(email.lastIndexOf('@'))}`;
}

/** Digits of any script (full width, Arabic-Indic, ...) as 0 to 9; everything else as it was. */
export function plainDigits(text: string): string {
  // What nearly everybody types has no other digits.
  if (!/[^ -~]/.test(text)) return text;
  return text.replace(/\p{Nd}/gu, (digit) => String(digitValue(digit.codePointAt(0) ?? 0)));
}

// Unicode encodes decimal digits in runs of ten that start at zero, so the distance to the run's start is the
// value. A few runs touch (mathematical digits), so the distance counts modulo ten.
function digitValue(codePoint: number): number {
  let start = codePoint;
  while (/\p{Nd}/u.test(String.fromCodePoint(start - 1))) start -= 1;
  return (codePoint - start) % 10;
}
