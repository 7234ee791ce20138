import { execFile, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const program = fileURLToPath(new URL('../../dist/cli/index.js', import.meta.url));

export interface Ended {
  status: number | null;
  stdout: string;
  stderr: string;
}

interface Surroundings {
  /** INFOBIP_* and whatever else the command shall see; nothing of this process but the path. */
  env?: Record<string, string>;
  cwd?: string;
  input?: string;
}

/** Everything that any command of this test file has printed. */
export const printed: string[] = [];

/** Runs the built command to its end, with pipes for a terminal. */
export function runCommand(
  args: readonly string[],
  { env = {}, cwd, input = '' }: Surroundings = {},
): Promise<Ended> {
  return new Promise((resolve) => {
    const child = execFile(
      process.execPath,
      [program, ...args],
      { env: { PATH: process.env.PATH, ...env }, cwd },
      (_error, stdout, stderr) => {
        printed.push(stdout, stderr);
        resolve({ status: child.exitCode, stdout, stderr });
      },
    );
    child.stdin?.on('error', () => {});
    child.stdin?.end(input);
  });
}

/**
 * Runs the built command on a terminal of its own, types each answer once its question shows, and resolves with all
 * that the terminal showed. `script` comes with every Debian.
 */
export function runOnTerminal(
  args: readonly string[],
  { env = {}, cwd }: Surroundings = {},
  answers: readonly (readonly [question: string, answer: string])[] = [],
): Promise<{ status: number | null; shown: string }> {
  const line = [process.execPath, program, ...args].map((word) => `'${word}'`).join(' ');
  return new Promise((resolve, reject) => {
    const child = spawn('script', ['--quiet', '--return', '--command', line, '/dev/null'], {
      env: { PATH: process.env.PATH, TERM: 'xterm-256color', SHELL: '/bin/sh', ...env },
      cwd,
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const left = [...answers];
    let shown = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      shown += text;
      const [next] = left;
      if (next !== undefined && shown.includes(next[0])) {
        left.shift();
        child.stdin.write(next[1]);
      }
    });
    child.on('error', reject);
    child.on('close', (status) => {
      printed.push(shown);
      resolve({ status, shown });
    });
  });
}
