/** Holds one request back while a test does something else. */

export interface Gate {
  /** Waits here if the gate is shut. The first to come is the only one held: it opens for those after it. */
  pass(): Promise<void>;
  /** Shuts the gate. Resolves when somebody waits. */
  shut(): Promise<void>;
  /** Lets whoever waits go on. */
  open(): void;
}

export function createGate(): Gate {
  let isShut = false;
  let arrived: () => void = () => undefined;
  let open: () => void = () => undefined;
  return {
    async pass() {
      if (!isShut) return;
      isShut = false;
      arrived();
      await new Promise<void>((resolve) => {
        open = resolve;
      });
    },
    shut() {
      isShut = true;
      return new Promise((resolve) => {
        arrived = resolve;
      });
    },
    open: () => open(),
  };
}
