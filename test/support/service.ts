import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** A request as it came in over the wire. */
export interface Seen {
  method: string;
  path: string;
  headers: IncomingHttpHeaders;
  body: string;
}

/** What to answer with: an object is sent as JSON, a string as it is. */
export interface Reply {
  status?: number;
  headers?: Record<string, string>;
  body?: unknown;
}

/** Answers by a value, or takes the response into its own hands and returns nothing. */
export type Answerer = (
  seen: Seen,
  response: ServerResponse,
) => Reply | Promise<Reply | undefined> | undefined;

export interface Service {
  url: string;
  port: number;
  /** All requests so far. */
  seen: Seen[];
  /** Connections accepted so far. */
  connections: () => number;
  /** From now on answers so. */
  answer: (answerer: Answerer | Reply) => void;
  close: () => Promise<void>;
}

/** A real HTTP server on a port of its own that answers as the test says. */
export async function startService(first: Answerer | Reply = {}): Promise<Service> {
  let answerer = first;
  let accepted = 0;
  const seen: Seen[] = [];
  const sockets = new Set<Socket>();
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    try {
      for await (const chunk of request) {
        chunks.push(Buffer.from(chunk));
      }
    } catch {
      return;
    }
    const body = Buffer.concat(chunks).toString();
    const { method = '', url = '', headers } = request;
    const one = { method, path: url, headers, body };
    seen.push(one);
    const reply = typeof answerer === 'function' ? await answerer(one, response) : answerer;
    if (reply !== undefined && !response.headersSent) {
      const content = typeof reply.body === 'string' ? reply.body : JSON.stringify(reply.body ?? {});
      response.writeHead(reply.status ?? 200, { 'content-type': 'application/json', ...reply.headers });
      response.end(content);
    }
  });
  server.on('connection', (socket) => {
    accepted += 1;
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    seen,
    connections: () => accepted,
    answer: (next) => {
      answerer = next;
    },
    close: async () => {
      for (const socket of sockets) {
        socket.destroy();
      }
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** What the promise was rejected with. */
export async function failureOf(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error('Expected a rejection');
}
