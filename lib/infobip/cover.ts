/** What undici needs of an answer's head besides its status: how long the answer is, and whether the connection stays. */
const FRAMING = /^(?:content-length|transfer-encoding|connection|keep-alive):/i;

/** undici takes no more than this for all headers together. */
const LONGEST_LINE = 16_384;

const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;

/**
 * One answer on its way from the socket to undici, which gets asterisks for the values of the headers and for the body
 * (RFC 9112, sections 4 to 7). What was there is kept.
 */
export class CoveredAnswer {
  /** Whether there is somebody to cover it from, settled when the answer begins. */
  isCovered: boolean | undefined;
  /** Of the answer, and not of an informational one before it. Names in lower case. */
  headers: Record<string, string> = {};
  readonly body: Buffer[] = [];
  /** Bytes of the body so far. */
  size = 0;
  #part: 'status' | 'headers' | 'body' | 'chunk size' | 'chunk end' | 'trailers' | 'end' = 'status';
  #status = '';
  /** What has come of a line. */
  #line = '';
  /** Bytes of the body or chunk that are still to come. */
  #left = 0;
  #isChunked = false;

  /** Covers the bytes where they are. */
  cover(data: Buffer): void {
    let at = 0;
    while (at < data.length && this.#part !== 'end') {
      at = this.#part === 'body' ? this.#coverBody(data, at) : this.#coverLine(data, at);
    }
  }

  #coverBody(data: Buffer, at: number): number {
    const part = data.subarray(at, at + this.#left);
    this.body.push(Buffer.from(part));
    part.fill('*');
    this.size += part.length;
    this.#left -= part.length;
    if (this.#left === 0) {
      this.#part = this.#isChunked ? 'chunk end' : 'end';
    }
    return at + part.length;
  }

  #coverLine(data: Buffer, at: number): number {
    const feed = data.indexOf(LINE_FEED, at);
    const end = feed < 0 ? data.length : feed;
    const before = this.#line.length;
    // The extension of a chunk may be without end, and nothing of it is needed.
    if (before < LONGEST_LINE) this.#line += data.toString('latin1', at, end);
    const shown = this.#shownOf(this.#line, feed >= 0);
    const last = data[end - 1] === CARRIAGE_RETURN ? end - 1 : end;
    const hidden = data.subarray(Math.min(last, at + Math.max(0, shown - before)), last);
    // One in the middle is for undici to refuse.
    if (!hidden.includes(CARRIAGE_RETURN)) hidden.fill('*');
    if (feed < 0) {
      return end;
    }
    const line = this.#line.replace(/\r$/, '');
    this.#line = '';
    this.#take(line);
    return feed + 1;
  }

  /** How much of a line undici gets to see. */
  #shownOf(line: string, isWhole: boolean): number {
    if (this.#part === 'status') {
      return 'HTTP/1.'.startsWith(line.slice(0, 7)) ? 'HTTP/1.1 200 '.length : 0;
    }
    if (this.#part === 'chunk size' || this.#part === 'chunk end' || FRAMING.test(line)) {
      return line.length;
    }
    const colon = line.indexOf(':');
    return colon < 0 && isWhole ? 0 : colon < 0 ? line.length : colon + 1;
  }

  #take(line: string): void {
    if (this.#part === 'status') {
      this.#status = line.slice(9, 12);
      this.headers = {};
      this.#part = line === '' ? 'status' : 'headers';
    } else if (this.#part === 'headers') {
      const [name = '', ...value] = line.split(':');
      this.headers[name.toLowerCase()] = value.join(':').trim();
      this.#part = line === '' ? this.#afterHead() : 'headers';
    } else if (this.#part === 'chunk size') {
      this.#left = Number.parseInt(line, 16);
      this.#part = this.#left > 0 ? 'body' : 'trailers';
    } else if (this.#part === 'chunk end') {
      this.#part = 'chunk size';
    } else if (line === '') {
      this.#part = 'end';
    }
  }

  #afterHead(): 'status' | 'body' | 'chunk size' | 'end' {
    if (this.#status.startsWith('1')) {
      return 'status';
    }
    if (this.#status === '204' || this.#status === '304') {
      return 'end';
    }
    const { 'content-length': length, 'transfer-encoding': encoding } = this.headers;
    this.#isChunked = encoding !== undefined && /(?:^|[,\s])chunked$/i.test(encoding);
    if (this.#isChunked) {
      return 'chunk size';
    }
    // Without a length, or with one that undici will refuse, it goes on until the connection ends.
    this.#left = length !== undefined && /^\d+$/.test(length) ? Number(length) : Number.POSITIVE_INFINITY;
    return this.#left > 0 ? 'body' : 'end';
  }
}
