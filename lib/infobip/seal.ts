/**
 * undici tells whoever listens on its diagnostics channels of each request, with its headers and its body. So it is
 * given stand-ins for credentials and bodies, and what they stand for is put in on the way to the socket.
 */

/** The requests of one transport that are under way. */
export interface Seals {
  seal(headers: Record<string, string>, body: string | undefined): Sealed;
  /** From now on what undici writes to this socket goes out in full. */
  openAt(socket: Socket): void;
}

interface Socket {
  write(written: unknown, encoding?: unknown, done?: unknown): boolean;
}

/** What undici is given of one request. */
export interface Sealed {
  readonly headers: Record<string, string>;
  readonly body: Buffer | null;
  /** The service has answered: by now the stand-ins must have been replaced. */
  answered(): void;
  /** The request is over. */
  forget(): void;
}

const STAND_IN = 'authorization: sealed ';

export function createSeals(): Seals {
  // By the line in the head of the request, and by the body: as undici writes them.
  const lines = new Map<string, string>();
  const bodies = new Map<unknown, Buffer>();
  let count = 0;
  let isReplacing = true;

  function seal(headers: Record<string, string>, body: string | undefined): Sealed {
    const { authorization } = headers;
    const real = body === undefined ? null : Buffer.from(body);
    if (!isReplacing) {
      return { headers, body: real, answered() {}, forget() {} };
    }
    count += 1;
    const line = `${STAND_IN}${count}`;
    if (authorization !== undefined) {
      lines.set(line, `authorization: ${authorization}`);
    }
    const standIn = real && Buffer.from('*'.repeat(real.length));
    if (real !== null) {
      bodies.set(standIn, real);
    }
    return {
      headers: authorization === undefined ? headers : { ...headers, authorization: `sealed ${count}` },
      body: standIn,
      answered() {
        if (isReplacing && (lines.has(line) || bodies.has(standIn))) {
          // Another version of undici writes in another way. The service has refused a stand-in, and logins matter more.
          isReplacing = false;
          process.emitWarning(
            'This version of undici does not let Infobip2faClient hide credentials and PINs from diagnostics channels.',
            { code: 'SMS_OTP_UNSEALED' },
          );
        }
      },
      forget() {
        lines.delete(line);
        bodies.delete(standIn);
      },
    };
  }

  /** `written`, with what a stand-in in it stands for. */
  function open(written: unknown): unknown {
    if (typeof written !== 'string') {
      const real = bodies.get(written);
      bodies.delete(written);
      return real ?? written;
    }
    const start = written.indexOf(STAND_IN);
    if (start < 0) {
      return written;
    }
    const end = written.indexOf('\r\n', start);
    const line = written.slice(start, end);
    const real = lines.get(line);
    lines.delete(line);
    return real === undefined ? written : written.slice(0, start) + real + written.slice(end);
  }

  return {
    seal,
    openAt(socket) {
      const { write } = socket;
      socket.write = (written, encoding, done) => write.call(socket, open(written), encoding, done);
    },
  };
}
