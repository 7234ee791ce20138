/** The messages that were sent, newest last, and the stream that shows them as they arrive. */

import type { ServerResponse } from 'node:http';
import { type Message, normalizeRecipient } from './service.js';

/** A page that does not read is let go rather than have its messages pile up here; it comes back by itself. */
const maxUnreadBytes = 1 << 20;
const heartbeatMs = 15_000;

export class Inbox {
  /** Oldest first. The same array for as long as the simulator lives. */
  readonly messages: Message[] = [];
  private readonly capacity: number;
  private readonly readers = new Set<ServerResponse>();
  private heartbeat: NodeJS.Timeout | undefined;
  private count = 0;

  constructor(capacity: number) {
    this.capacity = capacity;
  }

  deliver(message: Omit<Message, 'id'>): void {
    this.count += 1;
    const delivered = { id: this.count, ...message };
    this.messages.push(delivered);
    if (this.messages.length > this.capacity) this.messages.shift();
    if (this.readers.size > 0) this.write(asEvent(delivered));
  }

  to(recipient: string): Message[] {
    const wanted = normalizeRecipient(recipient);
    return this.messages.filter(({ to }) => to === wanted);
  }

  lastTo(recipient: string): Message | undefined {
    const wanted = normalizeRecipient(recipient);
    return this.messages.findLast(({ to }) => to === wanted);
  }

  /** Ids go on counting, so that a page which was away over a reset asks for the right rest. */
  clear(): void {
    this.messages.length = 0;
    this.write('event: reset\ndata: {}\n\n');
  }

  /**
   * Turns the response into a stream of server-sent events: first what came after the message `after`, or else the
   * newest `last`; then each message as it arrives, and `reset` when all are gone.
   */
  stream(response: ServerResponse, { after, last }: { after?: number | undefined; last: number }): void {
    const missed =
      after === undefined
        ? this.messages.slice(Math.max(0, this.messages.length - last))
        : this.messages.filter(({ id }) => id > after);
    response.write(`: open\n\n${missed.map(asEvent).join('')}`);
    this.readers.add(response);
    response.on('close', () => this.leave(response));
    this.heartbeat ??= setInterval(() => this.write(': still here\n\n'), heartbeatMs).unref();
  }

  private leave(response: ServerResponse): void {
    this.readers.delete(response);
    if (this.readers.size > 0) return;
    clearInterval(this.heartbeat);
    this.heartbeat = undefined;
  }

  private write(text: string): void {
    for (const reader of this.readers) {
      if (reader.writableLength > maxUnreadBytes) reader.destroy();
      else reader.write(text);
    }
  }
}

function asEvent(message: Message): string {
  return `id: ${message.id}\ndata: ${JSON.stringify(message)}\n\n`;
}
