/** The last line of a message that tells the phone for which site its PIN is: browsers fill it in there, and nowhere else. */

/** What {@link originBoundText} is given. */
export interface OriginBoundMessage {
  /** The text that people read, with `{{pin}}` in it. */
  text: string;
  /** The host name of the site as it is in the browser's address bar, such as `login.example.com`. */
  host: string;
  /** The length of the template's PIN, for counting. @default 6 */
  pinLength?: number;
  /**
   * How many SMS the message may be billed as. One holds 160 characters of the GSM alphabet or, with a single other
   * character in it, 70. @default 1
   */
  maxParts?: number;
}

const OWNER = 'originBoundText';

/**
 * The text of a message template with the line that binds its PIN to a site: `@host #{{pin}}`, the last one, with
 * nothing behind it (https://wicg.github.io/sms-one-time-codes). Browsers offer the PIN only on pages of that host's
 * site, over https.
 *
 * @returns the text for `createMessageTemplate` or `setUp2fa`
 * @throws TypeError for a host that no browser would take, a text without `{{pin}}` (phones that do not know the line
 * leave people to read it), a text that has such a line already, and a message of more than `maxParts` SMS
 */
export function originBoundText({ text, host, pinLength = 6, maxParts = 1 }: OriginBoundMessage): string {
  const body = readText(text);
  const message = `${body}\n\n@${readHost(host)} #{{pin}}`;
  if (!isWhole(pinLength) || !isWhole(maxParts))
    stop('`pinLength` and `maxParts` must be whole numbers from 1.');
  const { parts, other } = countParts(filledIn(message, pinLength));
  if (parts > maxParts) {
    const cause =
      other === undefined ? '' : ` "${other}" is not in the alphabet of SMS, which leaves room for 70.`;
    stop(`the message is billed as ${parts} SMS.${cause} Shorten the text, or raise \`maxParts\`.`);
  }
  return message;
}

function stop(problem: string): never {
  throw new TypeError(`${OWNER}: ${problem}`);
}

function isWhole(value: unknown): boolean {
  return Number.isSafeInteger(value) && Number(value) >= 1;
}

function readText(text: unknown): string {
  if (typeof text !== 'string') stop('`text` must be a string.');
  const body = text.replace(/\r\n?/gu, '\n').trim();
  if (/[\p{Cc}\u2028\u2029]/u.test(body.replaceAll('\n', ''))) stop('`text` holds a control character.');
  if (!body.includes('{{pin}}')) {
    stop('`text` has no {{pin}}: where no browser reads the last line, people must be able to.');
  }
  // Whatever comes last wins, and people would not know which.
  if (/^@\S+[^\S\n]+#/mu.test(body) || /(?:^|\n)@[^\n]*$/u.test(body)) {
    stop('`text` has a line that begins with "@" already. Leave it out: it is added here.');
  }
  return body;
}

function readHost(host: unknown): string {
  if (typeof host !== 'string' || host.trim() === '')
    stop('`host` must be a host name, such as login.example.com.');
  const shown = JSON.stringify(host);
  if (/[/\\?#@:\s]/u.test(host)) {
    stop(`\`host\` is ${shown}. Write the host name only, without scheme, port or path.`);
  }
  const name = URL.canParse(`https://${host}`) ? new URL(`https://${host}`).hostname : '';
  if (
    !/^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?$/u.test(name) ||
    name.length > 253
  ) {
    stop(`\`host\` is ${shown}, which is no domain. Browsers take neither an IP address nor a local name.`);
  }
  return name;
}

// Only what is certain is counted: what other placeholders will hold is not known here.
function filledIn(message: string, pinLength: number): string {
  return message.replaceAll('{{pin}}', '0'.repeat(pinLength)).replace(/\{\{[^{}\n]*\}\}/gu, '');
}

// 3GPP TS 23.038: the basic alphabet, and the characters that take two places.
const GSM_BASIC = new Set(
  '@\u00a3$\u00a5\u00e8\u00e9\u00f9\u00ec\u00f2\u00c7\n\u00d8\u00f8\r\u00c5\u00e5\u0394_\u03a6\u0393\u039b\u03a9\u03a0\u03a8\u03a3\u0398\u039e' +
    '\u00c6\u00e6\u00df\u00c9 !"#\u00a4%&\'()*+,-./0123456789:;<=>?\u00a1ABCDEFGHIJKLMNOPQRSTUVWXYZ\u00c4\u00d6\u00d1\u00dc\u00a7\u00bf' +
    'abcdefghijklmnopqrstuvwxyz\u00e4\u00f6\u00f1\u00fc\u00e0',
);
const GSM_EXTENDED = new Set('\f^{}\\[~]|\u20ac');

function countParts(message: string): { parts: number; other: string | undefined } {
  const characters = [...message];
  const other = characters.find((character) => !GSM_BASIC.has(character) && !GSM_EXTENDED.has(character));
  if (other !== undefined) return { parts: message.length <= 70 ? 1 : Math.ceil(message.length / 67), other };
  const places = characters.reduce((sum, character) => sum + (GSM_EXTENDED.has(character) ? 2 : 1), 0);
  return { parts: places <= 160 ? 1 : Math.ceil(places / 153), other };
}
