import type { IncomingMessage } from 'node:http';
import { ServiceError } from './errors.js';

const maxBytes = 1 << 20;

/** The body as text. Over a megabyte it is refused with 413, and what still comes is not kept. */
export function readText(request: IncomingMessage): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let length = 0;
    request.on('data', (chunk: Buffer) => {
      length += chunk.length;
      if (length > maxBytes)
        reject(new ServiceError(413, { text: `The body is larger than ${maxBytes} bytes.` }));
      else chunks.push(chunk);
    });
    request.on('end', () => resolve(Buffer.concat(chunks).toString()));
    request.on('error', reject);
  });
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
