import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';

/**
 * A port on loopback that was free a moment ago, from below those that systems give to connections and to servers
 * that listen on port 0: nobody else is given it before the server that it is for has started.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(20_000, 32_768);
    if (!(await isTaken(port))) return port;
  }
}

/** Whether a port of this machine cannot be listened on. */
export async function isTaken(port: number): Promise<boolean> {
  const server = createServer();
  return new Promise((resolve) => {
    server.once('error', () => resolve(true));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(false)));
  });
}
