// The reader of libphonenumber-js with its metadata handed to it as JSON.
import { createRequire } from 'node:module';
import { isSupportedCountry, parsePhoneNumberFromString } from 'libphonenumber-js/core';

const metadata = createRequire(import.meta.url)('libphonenumber-js/max/metadata');

export const isCountryCode = (code) => isSupportedCountry(code, metadata);

export function findNumber(digits, defaultCountry) {
  const options = { ...(defaultCountry && { defaultCountry }), extract: false };
  const parsed = parsePhoneNumberFromString(digits, options, metadata);
  if (!parsed?.isPossible()) return undefined;
  return {
    phoneNumber: parsed.number,
    callingCode: parsed.countryCallingCode,
    country: parsed.country,
    likelyCountry: parsed.country,
    type: parsed.getType(),
  };
}
