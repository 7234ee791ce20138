import { buildConnector, type Dispatcher, Pool } from 'undici';
import { createSeals, type Sealed } from './seal.js';

export type { Dispatcher } from 'undici';

/** The headers of an answer. */
export type AnswerHeaders = Readonly<Record<string, string | string[] | undefined>>;

export interface HttpRequest {
  method: 'GET' | 'POST' | 'PUT';
  /** From the root of the base URL, with its query. */
  path: string;
  headers: Record<string, string>;
  body?: string;
}

/** A whole answer of whatever status. */
export interface Answer {
  status: number;
  headers: AnswerHeaders;
  body: string;
}

/** No whole answer. `status` and `headers` are there when the answer broke off after them. */
export interface Failure {
  failure: 'timeout' | 'connection' | 'not_http' | 'too_large';
  /** False when nothing of the request can have reached the service. */
  left: boolean;
  status?: number;
  headers?: AnswerHeaders;
  cause?: unknown;
}

export type Outcome = Answer | Failure;

/** One address of the service and the connections to it. */
export interface Transport {
  /** Sends one request once. Rejects only with the reason of `signal`; all else is an outcome. */
  exchange(request: HttpRequest, signal?: AbortSignal): Promise<Outcome>;
  close(): Promise<void>;
}

export interface TransportOptions {
  origin: string;
  /** In front of each path, without a slash at its end. */
  pathPrefix: string;
  /** Until the answer begins, and then for the rest of it. */
  timeoutMs: number;
  /** Takes the place of our own connections; closing it stays with whoever made it. */
  dispatcher?: Dispatcher;
}

/** A list of a thousand templates is a few hundred kilobytes; beyond this it is no answer of the service. */
const LARGEST_BODY_BYTES = 4 * 1024 * 1024;
/** Each takes a hundred bytes besides its own: an answer in chunks of one byte must not fill the memory. */
const MOST_CHUNKS = 10_000;

const TIMEOUT_CODES = new Set([
  'UND_ERR_CONNECT_TIMEOUT',
  'UND_ERR_HEADERS_TIMEOUT',
  'UND_ERR_BODY_TIMEOUT',
  'ETIMEDOUT',
]);

/** Opens the connections to one address. They are made as they are needed and kept alive between requests. */
export function openTransport({ origin, pathPrefix, timeoutMs, dispatcher }: TransportOptions): Transport {
  // Another's dispatcher writes to sockets that we never see: it gets each request as it is.
  const seals = dispatcher === undefined ? createSeals() : undefined;
  const connect = buildConnector({ timeout: Math.min(timeoutMs, 10_000) });
  const connections: Dispatcher =
    dispatcher ??
    new Pool(origin, {
      // A cap would queue logins behind a slow service; whoever sends bounds the load by budgets.
      connections: null,
      pipelining: 1,
      // Kept short of what servers commonly allow, so that a request seldom meets a closing connection.
      keepAliveTimeout: 4_000,
      keepAliveMaxTimeout: 600_000,
      connect(options, callback) {
        connect(options, (...result) => {
          const [, socket] = result;
          // Undefined, against its types, when there is no connection.
          if (socket) {
            seals?.openAt(socket);
          }
          callback(...result);
        });
      },
    });

  let closing: Promise<void> | undefined;

  return {
    exchange({ method, path, headers, body }, signal) {
      return new Promise((resolve, reject) => {
        if (signal?.aborted) {
          reject(signal.reason);
          return;
        }
        const sealed = seals?.seal(headers, body);
        const listener = new AnswerListener(timeoutMs, signal, sealed, resolve, reject);
        try {
          connections.dispatch(
            {
              origin,
              path: pathPrefix + path,
              method,
              headers: sealed?.headers ?? headers,
              body: sealed?.body ?? body ?? null,
              // Undici looks at its own twice a second: ours is to the millisecond.
              headersTimeout: 0,
              bodyTimeout: 0,
            },
            listener,
          );
        } catch (error) {
          listener.onResponseError(undefined, error);
        }
      });
    },
    async close() {
      if (dispatcher === undefined) {
        closing ??= connections.close();
        await closing;
      }
    },
  };
}

/** Gathers one answer. Written against undici's dispatch interface: no stream and no AbortSignal per call. */
class AnswerListener implements Dispatcher.DispatchHandler {
  readonly #timer: NodeJS.Timeout;
  readonly #signal: AbortSignal | undefined;
  readonly #sealed: Sealed | undefined;
  readonly #resolve: (outcome: Outcome) => void;
  readonly #reject: (reason: unknown) => void;
  readonly #chunks: Buffer[] = [];
  #controller: Dispatcher.DispatchController | undefined;
  #status: number | undefined;
  #headers: AnswerHeaders = {};
  #size = 0;
  #settled = false;

  constructor(
    timeoutMs: number,
    signal: AbortSignal | undefined,
    sealed: Sealed | undefined,
    resolve: (outcome: Outcome) => void,
    reject: (reason: unknown) => void,
  ) {
    this.#timer = setTimeout(() => this.#fail('timeout'), timeoutMs);
    this.#signal = signal;
    this.#sealed = sealed;
    this.#resolve = resolve;
    this.#reject = reject;
    signal?.addEventListener('abort', this.#onAbort, { once: true });
  }

  /** Called on a live connection just before the first byte is written: without it, nothing has left. */
  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#settled) {
      controller.abort(new Error('No longer wanted'));
    }
  }

  onResponseStart(_controller: unknown, status: number, headers: AnswerHeaders): void {
    if (status >= 200) {
      this.#status = status;
      this.#headers = this.#sealed?.answered(headers) ?? headers;
      this.#timer.refresh();
    }
  }

  onResponseData(_controller: unknown, chunk: Buffer): void {
    this.#size += chunk.length;
    if (this.#size > LARGEST_BODY_BYTES || this.#chunks.length === MOST_CHUNKS) {
      this.#fail('too_large');
    } else {
      this.#chunks.push(chunk);
    }
  }

  onResponseEnd(): void {
    if (this.#settle()) {
      const status = this.#status ?? 0;
      const body = this.#sealed === undefined ? this.#chunks : this.#sealed.open(this.#chunks, this.#size);
      if (body === undefined) {
        this.#resolve({ failure: 'not_http', left: true, status, headers: this.#headers });
        return;
      }
      const [first] = body;
      const whole = body.length === 1 && first !== undefined ? first : Buffer.concat(body);
      this.#resolve({ status, headers: this.#headers, body: whole.toString() });
    }
  }

  onResponseError(_controller: unknown, cause: unknown): void {
    const code = codeOf(cause) ?? '';
    const name = cause instanceof Error ? cause.name : '';
    const isNonsense = name === 'HTTPParserError' || code === 'UND_ERR_HEADERS_OVERFLOW';
    this.#fail(TIMEOUT_CODES.has(code) ? 'timeout' : isNonsense ? 'not_http' : 'connection', cause);
  }

  readonly #onAbort = (): void => {
    if (this.#settle()) {
      this.#reject(this.#signal?.reason);
      this.#controller?.abort(new Error('No longer wanted'));
    }
  };

  #fail(failure: Failure['failure'], cause?: unknown): void {
    if (this.#settle()) {
      const head = this.#status === undefined ? {} : { status: this.#status, headers: this.#headers };
      this.#resolve({ failure, left: this.#controller !== undefined, ...head, cause });
      this.#controller?.abort(new Error('No longer wanted'));
    }
  }

  #settle(): boolean {
    if (this.#settled) {
      return false;
    }
    this.#settled = true;
    clearTimeout(this.#timer);
    this.#sealed?.forget();
    this.#signal?.removeEventListener('abort', this.#onAbort);
    return true;
  }
}

/** The `code` of an error of Node or undici. */
export function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}
