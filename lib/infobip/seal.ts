/**
 * undici tells whoever listens on its diagnostics channels of each request, with its headers and its body. So it is
 * given stand-ins for credentials and bodies, and what they stand for is put in on the way to the socket.
 */

/** What undici is given of one request. */
export interface Sealed {
  headers: Record<string, string>;
  body: Buffer | null;
  /** The service has answered: by now the stand-ins must have been replaced. */
  answered(): void;
  /** The request is over. */
  forget(): void;
}

/** The requests of one transport that are under way. */
export interface Seals {
  seal(headers: Record<string, string>, body: string | undefined): Sealed;
  /** From now on what undici writes to this socket goes out in full. */
  openAt(socket: { write(...written: unknown[]): boolean }): void;
}

interface Request {
  authorization: string | undefined;
  body: Buffer | null;
  isOpen: boolean;
}

const STAND_IN = /\r\nauthorization: sealed (\d+)\r\n/;

export function createSeals(): Seals {
  const byNumber = new Map<string, Request>();
  const byBody = new WeakMap<object, Request>();
  let count = 0;
  let isReplacing = true;

  function seal(headers: Record<string, string>, body: string | undefined): Sealed {
    const { authorization } = headers;
    const request: Request = {
      authorization,
      body: body === undefined ? null : Buffer.from(body),
      isOpen: false,
    };
    if (!isReplacing) {
      return { headers, body: request.body, answered() {}, forget() {} };
    }
    count += 1;
    const number = String(count);
    byNumber.set(number, request);
    const standIn = request.body && Buffer.alloc(request.body.length, '*');
    if (standIn !== null) {
      byBody.set(standIn, request);
    }
    return {
      headers: authorization === undefined ? headers : { ...headers, authorization: `sealed ${number}` },
      body: standIn,
      answered() {
        if (isReplacing && !request.isOpen) {
          // Another version of undici writes in another way. The service has refused a stand-in, and logins matter more.
          isReplacing = false;
          process.emitWarning(
            'This version of undici does not let Infobip2faClient hide credentials and PINs from diagnostics channels.',
            { code: 'SMS_OTP_UNSEALED' },
          );
        }
      },
      forget: () => byNumber.delete(number),
    };
  }

  /** `written`, with what stand-ins in it stand for. */
  function open(written: unknown): unknown {
    if (typeof written === 'string') {
      return written.replace(STAND_IN, (line, number: string) => {
        const request = byNumber.get(number);
        if (request === undefined) {
          return line;
        }
        request.isOpen = true;
        return `\r\nauthorization: ${request.authorization}\r\n`;
      });
    }
    const request = typeof written === 'object' && written !== null ? byBody.get(written) : undefined;
    if (request === undefined) {
      return written;
    }
    request.isOpen = true;
    return request.body;
  }

  return {
    seal,
    openAt(socket) {
      const { write } = socket;
      socket.write = (written, ...others) => Reflect.apply(write, socket, [open(written), ...others]);
    },
  };
}
