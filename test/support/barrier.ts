/** Makes requests overlap for certain, and counts how many did. */

export interface Barrier {
  /** Waits until as many callers are here as the barrier was made for. */
  pass(): Promise<void>;
  /** The most callers that were inside at the same time. */
  readonly most: number;
}

/**
 * A gate that opens when `count` callers stand before it, or after `fallbackMs` when fewer come (so that a test that
 * waits for too many fails on its count and does not hang).
 */
export function barrier(count: number, fallbackMs = 8000): Barrier {
  let waiting = 0;
  let most = 0;
  let open: () => void = () => undefined;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  let timer: NodeJS.Timeout | undefined;
  return {
    async pass() {
      timer ??= setTimeout(open, fallbackMs);
      waiting += 1;
      most = Math.max(most, waiting);
      if (waiting >= count) open();
      await opened;
      clearTimeout(timer);
      waiting -= 1;
    },
    get most() {
      return most;
    },
  };
}
