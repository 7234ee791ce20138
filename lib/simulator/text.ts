/** The text of a message: its placeholders, and the parts in which operators carry and bill it. */

// GSM 03.38: the default alphabet and, behind an escape, the characters that take two places.
const gsmBasic = new Set(
  '@\u00a3$\u00a5\u00e8\u00e9\u00f9\u00ec\u00f2\u00c7\n\u00d8\u00f8\r\u00c5\u00e5\u0394_\u03a6\u0393\u039b\u03a9' +
    '\u03a0\u03a8\u03a3\u0398\u039e\u00c6\u00e6\u00df\u00c9 !"#\u00a4%&\'()*+,-./0123456789:;<=>?' +
    '\u00a1ABCDEFGHIJKLMNOPQRSTUVWXYZ\u00c4\u00d6\u00d1\u00dc\u00a7' +
    '\u00bfabcdefghijklmnopqrstuvwxyz\u00e4\u00f6\u00f1\u00fc\u00e0',
);
const gsmExtended = new Set('\f^{}\\[~]|\u20ac');

export interface SmsParts {
  encoding: 'GSM-7' | 'Unicode';
  /** How many messages the operator bills. */
  parts: number;
}

/** 160 places in one part or 153 in each of several; 70 and 67 once a character is outside GSM-7. */
export function countParts(text: string): SmsParts {
  const characters = [...text];
  if (characters.every((character) => gsmBasic.has(character) || gsmExtended.has(character))) {
    const widths = characters.map((character) => (gsmExtended.has(character) ? 2 : 1));
    return { encoding: 'GSM-7', parts: fill(widths, 160, 153) };
  }
  const widths = characters.map((character) => character.length);
  return { encoding: 'Unicode', parts: fill(widths, 70, 67) };
}

/** A character of two places is never torn apart: it moves to the next part as a whole. */
function fill(widths: readonly number[], single: number, multiple: number): number {
  const total = widths.reduce((sum, width) => sum + width, 0);
  if (total <= single) return 1;
  let parts = 1;
  let used = 0;
  for (const width of widths) {
    if (used + width > multiple) {
      parts += 1;
      used = 0;
    }
    used += width;
  }
  return parts;
}

const doubleBraces = /\{\{([^{}]+)\}\}/g;
const emailBraces = /\{\$([^{}]+)\}/g;

/** Fills every `{{name}}` in one pass, so that a value is never taken for a placeholder. */
export function fillTemplate(text: string, values: Readonly<Record<string, string>>): string {
  return replaceKnown(text, doubleBraces, values);
}

/** The same for e-mail templates, where placeholders are written `{$name}`. */
export function fillEmailTemplate(text: string, values: Readonly<Record<string, string>>): string {
  return replaceKnown(text, emailBraces, values);
}

/** The names of the placeholders of an SMS or voice text that `values` lacks. */
export function missingPlaceholders(text: string, values: Readonly<Record<string, string>>): string[] {
  const names = [...text.matchAll(doubleBraces)].map((match) => match[1] ?? '');
  return [...new Set(names)].filter((name) => !Object.hasOwn(values, name));
}

function replaceKnown(text: string, pattern: RegExp, values: Readonly<Record<string, string>>): string {
  return text.replace(pattern, (whole, name: string) =>
    Object.hasOwn(values, name) ? (values[name] ?? whole) : whole,
  );
}
