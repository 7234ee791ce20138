import { subscribe, unsubscribe } from 'node:diagnostics_channel';

const UNDICI_CHANNELS = [
  'client:beforeConnect',
  'client:connected',
  'client:connectError',
  'client:sendHeaders',
  'request:create',
  'request:bodyChunkSent',
  'request:bodySent',
  'request:headers',
  'request:bodyChunkReceived',
  'request:trailers',
  'request:error',
] as const;

/** All text in a value, bytes included, as far as properties lead. */
function textIn(value: unknown): string {
  const parts: string[] = [];
  const seen = new Set<unknown>();
  const walk = (part: unknown): void => {
    if (typeof part === 'string') parts.push(part);
    if (typeof part !== 'object' || part === null || seen.has(part)) return;
    seen.add(part);
    if (ArrayBuffer.isView(part)) {
      parts.push(Buffer.from(part.buffer, part.byteOffset, part.byteLength).toString());
      return;
    }
    if (part instanceof Map || part instanceof Set) walk([...part]);
    for (const key of Reflect.ownKeys(part)) {
      const descriptor = Reflect.getOwnPropertyDescriptor(part, key);
      if (descriptor !== undefined && 'value' in descriptor) walk(descriptor.value);
    }
  };
  walk(value);
  return parts.join('\n');
}

/** Writes down all text in whatever undici tells from now on, as it tells it. */
export function recordUndici(): { told: { channel: string; text: string }[]; stop(): void } {
  const told: { channel: string; text: string }[] = [];
  const listeners = UNDICI_CHANNELS.map((channel) => {
    const listener = (message: unknown): void => {
      told.push({ channel, text: textIn(message) });
    };
    subscribe(`undici:${channel}`, listener);
    return () => unsubscribe(`undici:${channel}`, listener);
  });
  return {
    told,
    stop() {
      for (const unlisten of listeners) unlisten();
    },
  };
}
