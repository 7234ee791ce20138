/** The messages that were sent, newest last, and the stream that shows them as they arrive. */

import { randomBytes } from 'node:crypto';
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
  /** Tells the ids of this simulator from those of another one on the same port. */
  private readonly run = randomBytes(6).toString('hex');
  private count = 0;

  constructor(capacity: number) {
    this.capacity = capacity;
  }

  deliver(message: Omit<Message, 'id'>): void {
    this.count += 1;
    const delivered = { id: this.count, ...message };
    this.messages.push(delivered);
    if (this.messages.length > this.capacity) this.messages.shift();
    if (this.readers.size > 0) this.write(this.event(delivered));
  }

  to(recipient: string): Message[] {
    const wanted = normalizeRecipient(recipient);
    return this.messages.filter(({ to }) => to === wanted);
  }

  lastTo(recipient: string): Message | undefined {
    const wanted = normalizeRecipient(recipient);
    return this.messages.findLast(({ to }) => to === wanted);
  }

  clear(): void {
    this.messages.length = 0;
    this.write('event: reset\ndata: {}\n\n');
  }

  /**
   * Turns the response into a stream of server-sent events: each message as it arrives, and `reset` when all are gone.
   * A page that comes back (`Last-Event-ID`) gets what it missed, a new one the newest `last` first.
   */
  stream(
    response: ServerResponse,
    { lastEventId, last }: { lastEventId: string | undefined; last: number },
  ): void {
    const [run, seen] = (lastEventId ?? '').split('.');
    const returns = run === this.run;
    const missed = returns
      ? this.messages.filter(({ id }) => id > Number(seen))
      : this.messages.slice(Math.max(0, this.messages.length - last));
    // A page that saw another simulator on this port would count on from the messages of that one.
    const forget = lastEventId === undefined || returns ? '' : 'event: reset\ndata: {}\n\n';
    response.write(`retry: 1000\n\n${forget}${missed.map((message) => this.event(message)).join('')}`);
    this.readers.add(response);
    response.on('close', () => this.leave(response));
    this.heartbeat ??= setInterval(() => this.write(': still here\n\n'), heartbeatMs).unref();
  }

  private event(message: Message): string {
    return `id: ${this.run}.${message.id}\ndata: ${JSON.stringify(message)}\n\n`;
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
