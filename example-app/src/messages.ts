import type { OutcomeCode, OutcomeDetails } from 'passport-sms-otp';

const countryNames = new Intl.DisplayNames('en', { type: 'region' });

/** ISO 3166 codes of the countries that are served. */
type Countries = readonly string[] | 'all';

type Sentences = { [Code in OutcomeCode]: (details: OutcomeDetails[Code]) => string };

/** What the visitor reads, one sentence or two for each outcome: what happened, and what to do. */
const sentencesFor = (countries: Countries): Sentences => ({
  pin_sent: ({ to }) => `We sent a PIN to ${to}.`,
  phone_missing: () => 'Type your phone number first.',
  phone_invalid: () =>
    'This does not look like a phone number. Check the digits, and start with + and the country code.',
  phone_not_allowed: ({ country }) =>
    country === undefined || countries === 'all' || countries.includes(country)
      ? 'We cannot send a PIN to this kind of number. Please use a mobile number.'
      : `We do not serve ${countryName(country)} yet. Please use a mobile number from ${listOf(countries)}.`,
  recipient_missing: () => 'We know no phone number to send a PIN to.',
  channel_not_allowed: () => 'We cannot send the PIN in this way. Please have it sent as a message.',
  not_now: () => 'We cannot send a PIN to this number at the moment. Please try again later.',
  undeliverable: () => 'The message could not be delivered. Check the number, or try another one.',
  pin_missing: () => 'Type the PIN from the message first.',
  pin_malformed: () => 'The PIN has 6 digits. Type it as it stands in the message.',
  pin_wrong: ({ attemptsRemaining }) =>
    `This is not the PIN from our latest message. ${countOf(attemptsRemaining, 'attempt')} left.`,
  pin_expired: () => 'This PIN is too old. Have a new one sent.',
  attempts_exhausted: () =>
    'That was the last attempt, and this PIN works no more. Type your number to get a new one.',
  no_challenge: () => 'There is no PIN to check any more. Type your number to get a new one.',
  too_many_requests: ({ retryAfterSeconds }) =>
    `That was too often. Please wait ${duration(retryAfterSeconds)}, then try again.`,
  cross_site: () => 'This form came from another site. Please use the one on this page.',
  method_not_allowed: () => 'Please use the form on this page.',
  user_refused: () => 'You cannot log in with this number.',
});

/** The strategy's `messages` option: its outcomes carry these texts. */
export function messagesFor(countries: Countries) {
  const sentences = sentencesFor(countries);
  return <Code extends OutcomeCode>(code: Code, details: OutcomeDetails[Code]): string =>
    sentences[code](details);
}

/** A time to wait or to go, rounded up: "28 seconds", "5 minutes", "2 hours". */
export function duration(seconds: number): string {
  if (seconds < 90) return countOf(Math.ceil(seconds), 'second');
  if (seconds < 90 * 60) return countOf(Math.ceil(seconds / 60), 'minute');
  return countOf(Math.ceil(seconds / 3600), 'hour');
}

export function countOf(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

/** What to tell a visitor about the numbers that are served. */
export function phoneHint(countries: Countries): string {
  if (countries === 'all' || countries.length > 5) {
    return 'With its country code, for instance +385\u00a091\u00a0234\u00a05678.';
  }
  const howTyped = countries.length === 1 ? 'with or without' : 'with';
  return `A mobile number from ${listOf(countries)}, ${howTyped} its country code.`;
}

function listOf(countries: readonly string[]): string {
  if (countries.length > 5) return 'a country that we serve';
  return new Intl.ListFormat('en', { type: 'disjunction' }).format(countries.map(countryName));
}

function countryName(code: string): string {
  return countryNames.of(code) ?? code;
}
