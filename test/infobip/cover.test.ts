import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import fc from 'fast-check';
import { Infobip2faClient } from 'passport-sms-otp/infobip';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { recordUndici } from '../support/diagnostics.js';
import { failureOf } from '../support/service.js';

const SECRET = 'S3CR3T';
/** What the service writes next, piece by piece. */
let pieces: Buffer[];
let ends: boolean;
/** Between two pieces. */
let pause: (() => Promise<void>) | undefined;
let url: string;
const sockets = new Set<Socket>();

const server = createServer((socket) => {
  sockets.add(socket);
  socket.setNoDelay(true);
  socket.on('error', () => {});
  socket.on('close', () => sockets.delete(socket));
  socket.on('data', async (data) => {
    // The only request without a body is a read, and the end of its head is the end of it.
    if (!data.toString().endsWith('\r\n\r\n')) return;
    const isLast = ends;
    for (const piece of pieces) {
      socket.write(piece);
      await (pause ? pause() : new Promise((resolve) => setImmediate(resolve)));
    }
    if (isLast) socket.end();
  });
});

beforeAll(async () => {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

afterAll(() => {
  server.close();
  for (const socket of sockets) socket.destroy();
});

/** Cuts bytes at places given as parts of the whole. */
function cutAt(bytes: Buffer, places: readonly number[]): Buffer[] {
  const at = [...new Set(places.map((place) => Math.floor(place * bytes.length)))].sort((a, b) => a - b);
  return [0, ...at].map((start, index) => bytes.subarray(start, at[index] ?? bytes.length));
}

/** A body, in chunks of the given sizes as far as they go. */
function inChunks(body: Buffer, sizes: readonly number[], trailer: string): Buffer {
  const parts: Buffer[] = [];
  let at = 0;
  for (const size of [...sizes, body.length]) {
    const part = body.subarray(at, at + size);
    if (part.length > 0)
      parts.push(Buffer.from(`${part.length.toString(16)};x=y\r\n`), part, Buffer.from('\r\n'));
    at += part.length;
  }
  return Buffer.concat([...parts, Buffer.from(`0\r\n${trailer}\r\n`)]);
}

const answers = fc.record({
  note: fc.string({ unit: 'grapheme', maxLength: 300 }),
  framing: fc.constantFrom('length', 'chunks', 'end', 'chunks and end'),
  chunkSizes: fc.array(fc.integer({ min: 1, max: 80 }), { maxLength: 8 }),
  trailer: fc.constantFrom('', `x-checksum: ${SECRET}\r\n`),
  informational: fc.integer({ min: 0, max: 2 }),
  headers: fc.subarray([
    `x-echo: ${SECRET}`,
    'Keep-Alive: timeout=5',
    `set-cookie: a=${SECRET}; secure`,
    'x-empty:',
    `x-colons: a:${SECRET}:b`,
    'Content-Type: application/json',
  ]),
  cuts: fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 12 }),
});

describe('answers that are covered on their way to undici', () => {
  it('come out whole, however they are framed and wherever they are cut', async () => {
    const warn = vi.spyOn(process, 'emitWarning').mockReturnValue();
    const client = new Infobip2faClient({ baseUrl: url, apiKey: 'some-key' });
    const { told, stop } = recordUndici();
    let count = 0;
    await fc.assert(
      fc.asyncProperty(answers, async (asked) => {
        const application = { applicationId: 'APP', name: `${SECRET} ${asked.note}` };
        const body = Buffer.from(JSON.stringify(application));
        const isChunked = asked.framing.startsWith('chunks');
        ends = asked.framing.endsWith('end');
        const framing = isChunked ? ['Transfer-Encoding: chunked'] : [`content-length: ${body.length}`];
        const head = [
          'HTTP/1.1 103 Early Hints\r\ncontent-length: 7\r\n\r\n'.repeat(asked.informational),
          [
            `HTTP/1.1 200 ${SECRET}`,
            ...asked.headers,
            ...(asked.framing === 'end' ? [] : framing),
            ...(ends ? ['Connection: close'] : []),
          ].join('\r\n'),
          '\r\n\r\n',
        ].join('');
        const content = isChunked ? inChunks(body, asked.chunkSizes, asked.trailer) : body;
        pieces = cutAt(Buffer.concat([Buffer.from(head), content]), asked.cuts);
        count += 1;
        expect(await client.getApplication('APP')).toEqual(application);
      }),
      { numRuns: 400 },
    );
    stop();
    await client.close();
    expect(count).toBeGreaterThanOrEqual(400);
    expect(told.filter(({ channel }) => channel === 'request:trailers').length).toBe(count);
    expect(told.filter(({ text }) => text.includes(SECRET))).toEqual([]);
    expect(warn).not.toHaveBeenCalled();
    warn.mockRestore();
  });

  it('come out whole when somebody begins or ceases to listen in the middle', async () => {
    const application = { applicationId: 'APP', name: 'x'.repeat(200) };
    const body = JSON.stringify(application);
    const answer = Buffer.from(`HTTP/1.1 200 OK\r\ncontent-length: ${body.length}\r\n\r\n${body}`);
    ends = false;
    const client = new Infobip2faClient({ baseUrl: url, apiKey: 'some-key' });
    for (const part of [0.05, 0.1, 0.3, 0.6]) {
      pieces = [...cutAt(answer, [part])];
      let recording = recordUndici();
      const changes = [() => recording.stop(), () => (recording = recordUndici())];
      for (const change of changes) {
        const asked = client.getApplication('APP');
        pause = async () => {
          await new Promise((resolve) => setTimeout(resolve, 10));
          change();
        };
        expect(await asked).toEqual(application);
      }
      recording.stop();
    }
    pause = undefined;
    await client.close();
  });

  it('are those of a service that writes without end no more than of any other', async () => {
    ends = false;
    const client = new Infobip2faClient({ baseUrl: url, apiKey: 'some-key', timeoutMs: 1_500 });
    const { stop } = recordUndici();
    // The extension of a chunk (RFC 9112, section 7.1.1) has no limit of its own.
    const head = 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5;x=';
    pieces = [Buffer.from(head), ...Array.from({ length: 400 }, () => Buffer.alloc(65_536, 'y'))];
    const before = process.memoryUsage().heapUsed;
    expect(await failureOf(client.getApplication('APP'))).toMatchObject({
      code: expect.stringMatching(/^ERR_INFOBIP_(?:TIMEOUT|UNEXPECTED_RESPONSE)$/),
    });
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(20_000_000);
    for (const answer of [
      'HTTP/1.1 200 OK\r\ntransfer-encoding: xchunked\r\nconnection: close\r\n\r\n{"applicationId":"APP","name":"Shop"}',
      'HTTP/1.1 200 OK\r\ncontent-length: 37\r\nx-echo: a\rb\r\n\r\n{"applicationId":"APP","name":"Shop"}',
    ]) {
      pieces = [Buffer.from(answer)];
      ends = true;
      const heard = await client.getApplication('APP').catch(({ code }) => code);
      stop();
      expect(await client.getApplication('APP').catch(({ code }) => code)).toEqual(heard);
    }
    await client.close();
  });

  it('that are nonsense fail in time, as where nobody listens, and those after them are covered', async () => {
    const warn = vi.spyOn(process, 'emitWarning').mockReturnValue();
    const client = new Infobip2faClient({ baseUrl: url, apiKey: 'some-key', timeoutMs: 1_000 });
    const body = `{"applicationId":"APP","name":"${SECRET}"}`;
    const right = Buffer.from(`HTTP/1.1 200 OK\r\ncontent-length: ${body.length}\r\n\r\n${body}`);
    for (const head of [
      ...['1.5', '0.5', '1e-1', '-1', '+41', 'NaN', '0x29', '41, 41'].map(
        (length) => `200 OK\r\ncontent-length: ${length}`,
      ),
      '204 No Content\r\ntransfer-encoding: chunked',
      '304 Not Modified\r\ntransfer-encoding: chunked',
      '304 Not Modified\r\ncontent-length: 41',
    ]) {
      const chunked = head.endsWith('chunked') ? inChunks(Buffer.from(body), [5], '') : Buffer.from(body);
      pieces = [Buffer.concat([Buffer.from(`HTTP/1.1 ${head}\r\n\r\n`), chunked])];
      ends = true;
      const unheard = await client.getApplication('APP').catch(({ code }) => code);
      const { told, stop } = recordUndici();
      expect(await client.getApplication('APP').catch(({ code }) => code), head).toEqual(unheard);
      pieces = [right];
      expect(await client.getApplication('APP')).toMatchObject({ name: SECRET });
      stop();
      // What undici refuses it shows in its error, as it came.
      const answers = told.filter(({ channel }) => !channel.endsWith('error'));
      expect(JSON.stringify(answers), head).not.toContain(SECRET);
    }
    await client.close();
    expect(warn).not.toHaveBeenCalled();
    warn.mockRestore();
  });

  it('in a million chunks of one byte fail before they fill the memory', async () => {
    ends = true;
    const client = new Infobip2faClient({ baseUrl: url, apiKey: 'some-key' });
    const head = 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n';
    pieces = [
      Buffer.from(head),
      ...Array.from({ length: 50 }, () => Buffer.from('1\r\na\r\n'.repeat(20_000))),
    ];
    expect(await failureOf(client.getApplication('APP'))).toMatchObject({
      code: 'ERR_INFOBIP_UNEXPECTED_RESPONSE',
      message: expect.stringContaining('no end'),
    });
    await client.close();
  });

  it('stay what they are where undici reads in another way, which is said once', async () => {
    const warn = vi.spyOn(process, 'emitWarning').mockReturnValue();
    ends = false;
    const body = '{"applicationId":"APP","name":"Shop"}';
    pieces = [Buffer.from(`HTTP/1.1 200 OK\r\ncontent-length: ${body.length}\r\n\r\n${body}`)];
    const client = new Infobip2faClient({ baseUrl: url, apiKey: 'some-key' });
    const uncover = (message: unknown): void => {
      Reflect.deleteProperty(Object(message).socket, 'read');
    };
    subscribe('undici:client:connected', uncover);
    expect(await client.getApplication('APP')).toMatchObject({ name: 'Shop' });
    expect(await client.getApplication('APP')).toMatchObject({ name: 'Shop' });
    unsubscribe('undici:client:connected', uncover);
    await client.close();
    expect(warn.mock.calls).toEqual([[expect.stringContaining('undici'), { code: 'SMS_OTP_UNSEALED' }]]);
    warn.mockRestore();
  });

  it('fail where nobody can say what they are, and the next is read as it comes', async () => {
    const warn = vi.spyOn(process, 'emitWarning').mockReturnValue();
    ends = false;
    const body = '{"applicationId":"APP","name":"Shop"}';
    pieces = [Buffer.from(`HTTP/1.1 200 OK\r\ncontent-length: ${body.length}\r\n\r\n${body}`)];
    const client = new Infobip2faClient({ baseUrl: url, apiKey: 'some-key' });
    // As if undici had seen a byte less than was covered.
    const shorten = (message: unknown): void => {
      const socket = Object(message).socket;
      const { read } = socket;
      socket.read = (size?: number) => {
        const data: Buffer | null = read.call(socket, size);
        return data === null
          ? null
          : Buffer.from(data.toString().replace('content-length: 37', 'content-length: 36'));
      };
    };
    subscribe('undici:client:connected', shorten);
    const { stop } = recordUndici();
    // The service may have written nonsense, twice even.
    for (const odd of [1, 2, 3]) {
      expect(warn, `${odd}`).not.toHaveBeenCalled();
      expect(await failureOf(client.getApplication('APP'))).toMatchObject({
        code: 'ERR_INFOBIP_UNEXPECTED_RESPONSE',
        status: 200,
      });
    }
    stop();
    unsubscribe('undici:client:connected', shorten);
    expect(await client.getApplication('APP')).toMatchObject({ name: 'Shop' });
    await client.close();
    expect(warn.mock.calls).toEqual([[expect.stringContaining('undici'), { code: 'SMS_OTP_UNSEALED' }]]);
    warn.mockRestore();
  });
});
