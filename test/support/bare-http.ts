import { type IncomingHttpHeaders, type OutgoingHttpHeaders, request } from 'node:http';

/** A request over bare node:http, so that no client of ours stands between a test and the server. */
export interface BareRequest {
  method: string;
  path: string;
  headers?: OutgoingHttpHeaders;
  /** Sent as it is when it is a string, otherwise as JSON. */
  body?: unknown;
}

export interface BareResponse {
  status: number;
  headers: IncomingHttpHeaders;
  text: string;
  /** The body when it is JSON. */
  json: unknown;
}

export function send(base: string, { method, path, headers = {}, body }: BareRequest): Promise<BareResponse> {
  const text = body === undefined || typeof body === 'string' ? body : JSON.stringify(body);
  const type = text === undefined ? {} : { 'Content-Type': 'application/json' };
  return new Promise((resolve, reject) => {
    const outgoing = request(`${base}${path}`, { method, agent: false, headers: { ...type, ...headers } });
    outgoing.on('error', reject);
    outgoing.on('response', (incoming) => {
      const chunks: Buffer[] = [];
      incoming.on('error', reject);
      incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
      incoming.on('end', () => {
        const received = Buffer.concat(chunks).toString();
        const { statusCode = 0, headers: answered } = incoming;
        resolve({ status: statusCode, headers: answered, text: received, json: parsed(received) });
      });
    });
    outgoing.end(text);
  });
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
