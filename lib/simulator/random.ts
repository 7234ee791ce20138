import { createHash, randomBytes } from 'node:crypto';

/** A source of random bytes. */
export type Random = (size: number) => Uint8Array;

/** Without a seed the system's own source; with one, the same bytes at each start. */
export function createRandom(seed: string | number | undefined): Random {
  let counter = 0;
  const seededBlock = () => createHash('sha512').update(`${seed}:${counter++}`).digest();
  // Asking the system for a few bytes costs as much as asking for many.
  const nextBlock = seed === undefined ? () => randomBytes(4096) : seededBlock;
  let pool: Uint8Array = new Uint8Array();
  return function takeBytes(size) {
    while (pool.length < size) pool = Buffer.concat([pool, nextBlock()]);
    const bytes = pool.subarray(0, size);
    pool = pool.subarray(size);
    return bytes;
  };
}

/** An id that is not taken yet, with the look of Infobip's: 32 upper-case hexadecimal characters. */
export function freshId(random: Random, taken: { has(id: string): boolean }): string {
  while (true) {
    const id = Buffer.from(random(16)).toString('hex').toUpperCase();
    if (!taken.has(id)) return id;
  }
}

/** A version 4 UUID. */
export function randomUuid(random: Random): string {
  const hex = Buffer.from(random(16)).toString('hex');
  const variant = '89ab'[Number.parseInt(hex.charAt(16), 16) % 4];
  const parts = [
    hex.slice(0, 8),
    hex.slice(8, 12),
    `4${hex.slice(13, 16)}`,
    `${variant}${hex.slice(17, 20)}`,
    hex.slice(20),
  ];
  return parts.join('-');
}

/** `length` characters of `alphabet`, each as likely as any other (bytes that would favour some are thrown away). */
export function randomText(random: Random, alphabet: string, length: number): string {
  const fair = 256 - (256 % alphabet.length);
  let text = '';
  while (text.length < length) {
    for (const byte of random(length - text.length)) {
      if (byte < fair) text += alphabet.charAt(byte % alphabet.length);
    }
  }
  return text;
}
