/**
 * A map of the newest entries: once it is full, each new one takes the place of the oldest. (A plain Map would do, but
 * to find its oldest key it walks over all that were deleted before.)
 */
export class Newest<Value extends object> {
  private readonly entries = new Map<string, Value>();
  private readonly slots: { key: string; value: Value }[] = [];
  private readonly capacity: number;
  private next = 0;

  constructor(capacity: number) {
    this.capacity = capacity;
  }

  get size(): number {
    return this.entries.size;
  }

  get(key: string): Value | undefined {
    return this.entries.get(key);
  }

  has(key: string): boolean {
    return this.entries.has(key);
  }

  /** A key that is set again counts as new. */
  set(key: string, value: Value): void {
    const oldest = this.slots[this.next];
    if (oldest && this.entries.get(oldest.key) === oldest.value) this.entries.delete(oldest.key);
    this.slots[this.next] = { key, value };
    this.next = (this.next + 1) % this.capacity;
    this.entries.set(key, value);
  }

  delete(key: string): void {
    this.entries.delete(key);
  }

  clear(): void {
    this.entries.clear();
    this.slots.length = 0;
    this.next = 0;
  }

  [Symbol.iterator](): IterableIterator<[string, Value]> {
    return this.entries[Symbol.iterator]();
  }
}
