// The reader of libphonenumber-js.
import { isSupportedCountry, parsePhoneNumberFromString } from 'libphonenumber-js/max';

export const isCountryCode = isSupportedCountry;

export function findNumber(digits, defaultCountry) {
  const parsed = parsePhoneNumberFromString(digits, {
    ...(defaultCountry && { defaultCountry }),
    extract: false,
  });
  if (!parsed?.isPossible()) return undefined;
  return {
    phoneNumber: parsed.number,
    callingCode: parsed.countryCallingCode,
    country: parsed.country,
    likelyCountry: parsed.country,
    type: parsed.getType(),
  };
}
