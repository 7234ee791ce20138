import { channel } from 'node:diagnostics_channel';
import { CoveredAnswer } from './cover.js';
import type { AnswerHeaders } from './http.js';

/**
 * undici tells whoever listens on its diagnostics channels of each request and answer, with headers and bodies. So it
 * is given stand-ins, for credentials and bodies on the way to the socket and for what is answered on the way back.
 */

/** The requests of one transport that are under way. */
export interface Seals {
  seal(headers: Record<string, string>, body: string | undefined): Sealed;
  /** From now on what undici writes to this socket goes out in full, and what it reads from it is covered. */
  openAt(socket: Socket): void;
}

interface Socket {
  write(written: unknown, encoding?: unknown, done?: unknown): boolean;
  read(size?: number): unknown;
}

/** What undici is given of one request. */
export interface Sealed {
  readonly headers: Record<string, string>;
  readonly body: Buffer | null;
  /** The service has answered, by now the stand-ins must have been replaced: the headers behind those that undici read. */
  answered(read: AnswerHeaders): AnswerHeaders;
  /** The body behind the one that undici read, or undefined when nobody can say what it is. */
  open(read: readonly Buffer[], size: number): readonly Buffer[] | undefined;
  /** The request is over. */
  forget(): void;
}

/** Where undici tells of an answer, or of what was none. */
const TELLS_OF_ANSWERS = ['headers', 'bodyChunkReceived', 'trailers', 'error'].map((name) =>
  channel(`undici:request:${name}`),
);

/** To cover an answer costs a fifth of the call: nobody pays for it where nobody listens. */
function isAnswerTold(): boolean {
  return TELLS_OF_ANSWERS.some(({ hasSubscribers }) => hasSubscribers);
}

/** So many in a row are undici's way and not the service's. */
const MOST_ODD_ANSWERS = 3;

const STAND_IN = 'authorization: sealed ';

export function createSeals(): Seals {
  // By the line in the head of the request, and by the body: as undici writes them.
  const lines = new Map<string, { real: string; answer: CoveredAnswer }>();
  const bodies = new Map<unknown, { real: Buffer; answer: CoveredAnswer }>();
  let count = 0;
  let isReplacing = true;
  let oddAnswers = 0;

  /** Another version of undici writes or reads in another way, and logins matter more. */
  function stop(): void {
    isReplacing = false;
    process.emitWarning(
      'This version of undici does not let Infobip2faClient hide credentials and PINs from diagnostics channels.',
      { code: 'SMS_OTP_UNSEALED' },
    );
  }

  function seal(headers: Record<string, string>, body: string | undefined): Sealed {
    const { authorization } = headers;
    const real = body === undefined ? null : Buffer.from(body);
    if (!isReplacing) {
      return { headers, body: real, answered: (read) => read, open: (read) => read, forget() {} };
    }
    const answer = new CoveredAnswer();
    count += 1;
    const line = `${STAND_IN}${count}`;
    if (authorization !== undefined) {
      lines.set(line, { real: `authorization: ${authorization}`, answer });
    }
    const standIn = real && Buffer.from('*'.repeat(real.length));
    if (real !== null) {
      bodies.set(standIn, { real, answer });
    }
    return {
      headers: authorization === undefined ? headers : { ...headers, authorization: `sealed ${count}` },
      body: standIn,
      answered(read) {
        // With a stand-in left the service has refused it.
        if (isReplacing && (lines.has(line) || bodies.has(standIn) || answer.isCovered === undefined)) {
          stop();
        }
        return answer.isCovered ? answer.headers : read;
      },
      open(read, size) {
        if (!answer.isCovered) {
          return read;
        }
        if (answer.size === size) {
          oddAnswers = 0;
          return answer.body;
        }
        // A single one may be the service's own nonsense.
        oddAnswers += 1;
        if (oddAnswers === MOST_ODD_ANSWERS) {
          stop();
        }
        return undefined;
      },
      forget() {
        lines.delete(line);
        bodies.delete(standIn);
      },
    };
  }

  return {
    seal,
    openAt(socket) {
      const { write, read } = socket;
      let answer: CoveredAnswer | undefined;

      /** `written`, with what a stand-in in it stands for. */
      function open(written: unknown): unknown {
        if (typeof written !== 'string') {
          const body = bodies.get(written);
          bodies.delete(written);
          answer = body?.answer ?? answer;
          return body?.real ?? written;
        }
        const start = written.indexOf(STAND_IN);
        if (start < 0) {
          return written;
        }
        const end = written.indexOf('\r\n', start);
        const line = written.slice(start, end);
        const sealed = lines.get(line);
        lines.delete(line);
        answer = sealed?.answer ?? answer;
        return sealed === undefined ? written : written.slice(0, start) + sealed.real + written.slice(end);
      }

      socket.write = (written, encoding, done) => write.call(socket, open(written), encoding, done);
      socket.read = (size) => {
        const data = read.call(socket, size);
        if (answer !== undefined && Buffer.isBuffer(data)) {
          answer.isCovered ??= isAnswerTold();
          if (answer.isCovered) {
            answer.cover(data);
          }
        }
        return data;
      };
    },
  };
}
