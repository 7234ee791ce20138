/** The numbering plans of the world: the only file that knows libphonenumber. */

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

/** A number of a possible length. */
export interface PossibleNumber {
  /** E.164 with its plus sign. */
  phoneNumber: string;
  callingCode: string;
  /** Missing where the number is in no range that tells the countries of its calling code apart, or of no country. */
  country: CountryCode | undefined;
  /** The first country of the calling code that has numbers of this length. */
  likelyCountry: CountryCode | undefined;
  /** Missing where the number is in no known range. */
  type: NumberType | undefined;
}

/** Whether `code` is a country whose numbers are known. */
export function isCountryCode(code: string): code is CountryCode {
  return isSupportedCountry(code);
}

/**
 * The number that digits stand for, if it has a length that numbers of its kind have.
 *
 * @param digits 0 to 9, in front perhaps a `+`
 * @param defaultCountry the country of a number without `+`
 */
export function findNumber(
  digits: string,
  defaultCountry: CountryCode | undefined,
): PossibleNumber | undefined {
  const parsed = parsePhoneNumberFromString(digits, {
    ...(defaultCountry === undefined ? {} : { defaultCountry }),
    extract: false,
  });
  if (parsed === undefined || parsed.ext !== undefined || !parsed.isPossible()) return undefined;
  const { number, country, countryCallingCode } = parsed;
  return {
    phoneNumber: number,
    callingCode: countryCallingCode,
    country,
    get likelyCountry() {
      return country ?? parsed.getPossibleCountries()[0];
    },
    type: parsed.getType(),
  };
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
