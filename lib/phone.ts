/** Phone numbers: reading what people type, judging it, masking it. The only file that knows them. */

import { isSupportedCountry, parsePhoneNumberFromString } from 'libphonenumber-js/max';

/** What kind of line a number belongs to, in libphonenumber's words. */
export type NumberType =
  | 'MOBILE'
  | 'FIXED_LINE'
  | 'FIXED_LINE_OR_MOBILE'
  | 'VOIP'
  | 'PREMIUM_RATE'
  | 'SHARED_COST'
  | 'TOLL_FREE'
  | 'PAGER'
  | 'VOICEMAIL'
  | 'UAN'
  | 'PERSONAL_NUMBER';

/** Every {@link NumberType}. */
export const NUMBER_TYPES: readonly NumberType[] = [
  'MOBILE',
  'FIXED_LINE',
  'FIXED_LINE_OR_MOBILE',
  'VOIP',
  'PREMIUM_RATE',
  'SHARED_COST',
  'TOLL_FREE',
  'PAGER',
  'VOICEMAIL',
  'UAN',
  'PERSONAL_NUMBER',
];

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
  const parsed = parsePhoneNumberFromString(compact.replace('\uff0b', '+'), {
    ...(defaultCountry === undefined ? {} : { defaultCountry }),
    extract: false,
  });
  if (parsed === undefined || parsed.ext !== undefined || !parsed.isPossible()) return 'invalid';
  const isTest = isTestNumber(parsed.number);
  // Numbers kept for fiction are in no range that tells the countries of one calling code apart; its main one is first.
  const country = parsed.country ?? (isTest ? parsed.getPossibleCountries()[0] : undefined);
  if (country === undefined) return 'invalid';
  return {
    phoneNumber: parsed.number,
    country,
    type: parsed.getType(),
    masked: `+${parsed.countryCallingCode} ${maskedEnd(parsed.number)}`,
    ...(isTest && { test: true }),
  };
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

/** Whether `code` is a country whose numbers are known. */
export function isCountryCode(code: string): code is CountryCode {
  return isSupportedCountry(code);
}

/** ISO 3166-1 alpha-2 codes of the countries and territories whose numbers are known. */
// biome-ignore format: one country a line is a long way to read
export type CountryCode =
  | 'AC' | 'AD' | 'AE' | 'AF' | 'AG' | 'AI' | 'AL' | 'AM' | 'AO' | 'AR' | 'AS' | 'AT' | 'AU' | 'AW'
  | 'AX' | 'AZ' | 'BA' | 'BB' | 'BD' | 'BE' | 'BF' | 'BG' | 'BH' | 'BI' | 'BJ' | 'BL' | 'BM' | 'BN'
  | 'BO' | 'BQ' | 'BR' | 'BS' | 'BT' | 'BW' | 'BY' | 'BZ' | 'CA' | 'CC' | 'CD' | 'CF' | 'CG' | 'CH'
  | 'CI' | 'CK' | 'CL' | 'CM' | 'CN' | 'CO' | 'CR' | 'CU' | 'CV' | 'CW' | 'CX' | 'CY' | 'CZ' | 'DE'
  | 'DJ' | 'DK' | 'DM' | 'DO' | 'DZ' | 'EC' | 'EE' | 'EG' | 'EH' | 'ER' | 'ES' | 'ET' | 'FI' | 'FJ'
  | 'FK' | 'FM' | 'FO' | 'FR' | 'GA' | 'GB' | 'GD' | 'GE' | 'GF' | 'GG' | 'GH' | 'GI' | 'GL' | 'GM'
  | 'GN' | 'GP' | 'GQ' | 'GR' | 'GT' | 'GU' | 'GW' | 'GY' | 'HK' | 'HN' | 'HR' | 'HT' | 'HU' | 'ID'
  | 'IE' | 'IL' | 'IM' | 'IN' | 'IO' | 'IQ' | 'IR' | 'IS' | 'IT' | 'JE' | 'JM' | 'JO' | 'JP' | 'KE'
  | 'KG' | 'KH' | 'KI' | 'KM' | 'KN' | 'KP' | 'KR' | 'KW' | 'KY' | 'KZ' | 'LA' | 'LB' | 'LC' | 'LI'
  | 'LK' | 'LR' | 'LS' | 'LT' | 'LU' | 'LV' | 'LY' | 'MA' | 'MC' | 'MD' | 'ME' | 'MF' | 'MG' | 'MH'
  | 'MK' | 'ML' | 'MM' | 'MN' | 'MO' | 'MP' | 'MQ' | 'MR' | 'MS' | 'MT' | 'MU' | 'MV' | 'MW' | 'MX'
  | 'MY' | 'MZ' | 'NA' | 'NC' | 'NE' | 'NF' | 'NG' | 'NI' | 'NL' | 'NO' | 'NP' | 'NR' | 'NU' | 'NZ'
  | 'OM' | 'PA' | 'PE' | 'PF' | 'PG' | 'PH' | 'PK' | 'PL' | 'PM' | 'PR' | 'PS' | 'PT' | 'PW' | 'PY'
  | 'QA' | 'RE' | 'RO' | 'RS' | 'RU' | 'RW' | 'SA' | 'SB' | 'SC' | 'SD' | 'SE' | 'SG' | 'SH' | 'SI'
  | 'SJ' | 'SK' | 'SL' | 'SM' | 'SN' | 'SO' | 'SR' | 'SS' | 'ST' | 'SV' | 'SX' | 'SY' | 'SZ' | 'TA'
  | 'TC' | 'TD' | 'TG' | 'TH' | 'TJ' | 'TK' | 'TL' | 'TM' | 'TN' | 'TO' | 'TR' | 'TT' | 'TV' | 'TW'
  | 'TZ' | 'UA' | 'UG' | 'US' | 'UY' | 'UZ' | 'VA' | 'VC' | 'VE' | 'VG' | 'VI' | 'VN' | 'VU' | 'WF'
  | 'WS' | 'XK' | 'YE' | 'YT' | 'ZA' | 'ZM' | 'ZW';
