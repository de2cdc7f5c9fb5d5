import { execFile } from 'node:child_process';

export interface CommandResult {
  /** Exit status; 127 when the program could not be started, 124 when it was killed at the deadline or by a signal. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program without a shell. `input`: what it reads; absent, nothing. Never rejects. */
export type RunCommand = (
  argv: readonly string[],
  options: { readonly timeout_ms: number; readonly input?: string },
) => Promise<CommandResult>;

const OUTPUT_BYTES_MAX = 1024 * 1024;

export const runCommand: RunCommand = ([program = '', ...argv], { timeout_ms, input }) =>
  new Promise((resolve) => {
    if (program === '') return resolve({ code: 127, stdout: '', stderr: 'no program is named' });
    const options = { timeout: timeout_ms, killSignal: 'SIGKILL', maxBuffer: OUTPUT_BYTES_MAX } as const;
    const child = execFile(program, argv, options, (error, stdout, stderr) => {
      if (!error) return resolve({ code: 0, stdout, stderr });
      if (typeof error.code === 'number') return resolve({ code: error.code, stdout, stderr });
      if (error.killed || error.signal)
        return resolve({ code: 124, stdout, stderr: stderr || error.message });
      resolve({ code: 127, stdout, stderr: stderr || error.message });
    });
    // One that ends without having read all says why itself.
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(input);
  });
