import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** A process of ours, and what it has said. */
export interface Started {
  child: ChildProcess;
  /** Standard output and error, as they came. */
  output(): string;
  /** The first match in the output, waited for. */
  says(pattern: RegExp): Promise<RegExpExecArray>;
  /** How it ended: its exit code, or the signal that ended it. */
  ended: Promise<number | NodeJS.Signals | null>;
  /** Sends the signal, and waits for the end. */
  end(signal: NodeJS.Signals): Promise<number | NodeJS.Signals | null>;
}

const running = new Set<ChildProcess>();

/** Starts a script of this package with Node. */
export function startNode(args: readonly string[], variables: NodeJS.ProcessEnv = {}): Started {
  return start(process.execPath, args, variables);
}

/** Starts a command in this package's folder, with the variables given and no others that it would read. */
export function start(command: string, args: readonly string[], variables: NodeJS.ProcessEnv = {}): Started {
  const child = spawn(command, args, {
    cwd: root,
    env: { PATH: process.env.PATH, HOME: process.env.HOME, ...variables },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  running.add(child);
  let output = '';
  const listeners = new Set<() => void>();
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
      for (const listener of listeners) listener();
    });
  }
  const ended = new Promise<number | NodeJS.Signals | null>((resolve) => {
    child.once('close', (code, signal) => {
      running.delete(child);
      resolve(code ?? signal);
    });
  });
  return {
    child,
    output: () => output,
    ended,
    says: (pattern) =>
      new Promise((resolve, reject) => {
        const look = () => {
          const match = pattern.exec(output);
          if (match === null) return;
          listeners.delete(look);
          resolve(match);
        };
        listeners.add(look);
        look();
        const tooSoon = (how: unknown) =>
          new Error(`ended with ${how} before it said ${pattern}:\n${output}`);
        ended.then((how) => reject(tooSoon(how)), reject);
      }),
    end(signal) {
      child.kill(signal);
      return ended;
    },
  };
}

/** Ends whatever a failed test has left behind. */
export async function endAll(): Promise<void> {
  await Promise.all(
    [...running].map(
      (child) =>
        new Promise((resolve) => {
          child.once('close', resolve);
          child.kill('SIGKILL');
        }),
    ),
  );
}
