// google-libphonenumber, in the place of our reader: Google's library, compiled with its metadata.
import google from 'google-libphonenumber';

const { PhoneNumberFormat, PhoneNumberType, PhoneNumberUtil } = google;
const util = PhoneNumberUtil.getInstance();
const names = Object.fromEntries(Object.entries(PhoneNumberType).map(([name, value]) => [value, name]));

export const isCountryCode = (code) => util.getCountryCodeForRegion(code) > 0;

export function findNumber(digits, defaultCountry) {
  let parsed;
  try {
    parsed = util.parse(digits, defaultCountry);
  } catch {
    return undefined;
  }
  if (!util.isPossibleNumber(parsed)) return undefined;
  const country = util.getRegionCodeForNumber(parsed) ?? undefined;
  const type = names[util.getNumberType(parsed)];
  return {
    phoneNumber: util.format(parsed, PhoneNumberFormat.E164),
    callingCode: String(parsed.getCountryCode()),
    country,
    likelyCountry: country,
    type: type === 'UNKNOWN' ? undefined : type,
  };
}
