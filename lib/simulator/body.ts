import type { IncomingMessage } from 'node:http';
import { ServiceError } from './errors.js';

const maxBytes = 1 << 20;

/** The body as text. Over a megabyte it is read no further and refused with 413. */
export async function readText(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request) {
    const bytes = Buffer.from(chunk);
    length += bytes.length;
    if (length > maxBytes)
      throw new ServiceError(413, { text: `The body is larger than ${maxBytes} bytes.` });
    chunks.push(bytes);
  }
  return Buffer.concat(chunks).toString();
}

/** The media type of the request without its parameters, in lower case. */
export function mediaType(request: IncomingMessage): string {
  const [type = ''] = (request.headers['content-type'] ?? '').split(';');
  return type.trim().toLowerCase();
}

/** Parsed JSON, or a 400 that says it is none. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new ServiceError(400, { text: 'The body is not valid JSON.' });
  }
}
