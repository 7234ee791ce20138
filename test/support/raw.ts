/** Requests as bytes on a socket: whatever an attacker can write, and no client in between that would mend it. */

import { connect } from 'node:net';

export interface RawAnswer {
  /** 0 where the server closed the connection without a word. */
  status: number;
  headers: Map<string, string[]>;
  body: string;
  /** All that came, as bytes read one by one. */
  text: string;
}

/** Writes `bytes`, reads until the server closes, and gives up loudly after `deadlineMs`. */
export function exchange(
  port: number,
  bytes: Buffer,
  { deadlineMs = 10_000, patienceMs = 5_000 } = {},
): Promise<RawAnswer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    const socket = connect({ port, host: '127.0.0.1' });
    // Where the server waits for more than was sent, the end of the input says that there is no more.
    const patience = setTimeout(() => socket.end(), patienceMs);
    const deadline = setTimeout(() => {
      socket.destroy();
      reject(new Error(`No end after ${deadlineMs} ms to ${JSON.stringify(bytes.toString('latin1'))}`));
    }, deadlineMs);
    const settle = () => {
      clearTimeout(patience);
      clearTimeout(deadline);
      resolve(read(Buffer.concat(chunks).toString('latin1')));
    };
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    socket.once('close', settle);
    // A reset is an end, too: the server closed while bytes were under way.
    socket.on('error', () => undefined);
    socket.write(bytes);
  });
}

function read(text: string): RawAnswer {
  const [head = '', ...rest] = text.split('\r\n\r\n');
  const [first = '', ...lines] = head.split('\r\n');
  const headers = new Map<string, string[]>();
  for (const line of lines) {
    const at = line.indexOf(':');
    const name = line.slice(0, at).toLowerCase();
    headers.set(name, [...(headers.get(name) ?? []), line.slice(at + 1).trim()]);
  }
  const status = Number(/^HTTP\/1\.1 (\d{3})/u.exec(first)?.[1] ?? 0);
  return { status, headers, body: rest.join('\r\n\r\n'), text };
}
