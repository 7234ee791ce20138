// awesome-phonenumber, in the place of our reader: Google's library, compiled with its metadata.
import { getCountryCodeForRegionCode, parsePhoneNumber } from 'awesome-phonenumber';

export const isCountryCode = (code) => getCountryCodeForRegionCode(code) > 0;

export function findNumber(digits, regionCode) {
  const parsed = parsePhoneNumber(digits, { regionCode });
  if (!parsed.possible) return undefined;
  return {
    phoneNumber: parsed.number.e164,
    callingCode: String(parsed.countryCode),
    country: parsed.regionCode,
    likelyCountry: parsed.regionCode,
    type: parsed.type === 'unknown' ? undefined : parsed.type.toUpperCase().replaceAll('-', '_'),
  };
}
