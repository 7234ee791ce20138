/** How long the PIN service takes, remembered, so that an answer without the service takes as long as one with it. */

/** What is asked of the service. */
export type Operation = 'send' | 'resend' | 'check';

/** Recent durations, and a wait that is drawn from them. */
export interface Pace {
  record(operation: Operation, milliseconds: number): void;
  /** Waits as long as one of the recent calls took. */
  wait(operation: Operation): Promise<void>;
}

const REMEMBERED = 64;
// Before any real call is known: what a call over the Internet to a service that hands a message on usually takes.
const USUAL_MS: Record<Operation, readonly [least: number, most: number]> = {
  send: [400, 1500],
  resend: [400, 1500],
  check: [150, 600],
};

/** A memory of the last 64 durations of each operation. */
export function createPace(): Pace {
  const recent: Record<Operation, number[]> = { send: [], resend: [], check: [] };
  return {
    record(operation, milliseconds) {
      recent[operation].push(milliseconds);
      if (recent[operation].length > REMEMBERED) recent[operation].shift();
    },
    wait(operation) {
      const known = recent[operation];
      const [least, most] = USUAL_MS[operation];
      const drawn = known[Math.floor(Math.random() * known.length)] ?? least + Math.random() * (most - least);
      return new Promise((resolve) => setTimeout(resolve, drawn));
    },
  };
}
