/** The command line in this process, with streams of its own. */
import { Readable } from 'node:stream';
import { type Handlers, type Invocation, runCli, type Streams } from '../../src/cli/cli.js';

export interface Ran {
  readonly code: number;
  readonly stdout: string;
  /** As it was written. */
  readonly bytes: Buffer;
  readonly stderr: string;
  /** Handlers of main.ts that were called. */
  readonly calls: readonly (readonly [string, Invocation])[];
}

export async function run(argv: readonly string[], env: NodeJS.ProcessEnv = {}, input = ''): Promise<Ran> {
  const calls: [string, Invocation][] = [];
  const chunks: Buffer[] = [];
  let stderr = '';
  const handler = (name: string) => async (invocation: Invocation) => {
    calls.push([name, invocation]);
    return 7;
  };
  const handlers: Handlers = {
    run: handler('run'),
    check: handler('check'),
    restore: handler('restore'),
    demo: handler('demo'),
  };
  const streams = {
    stdin: Readable.from([input]),
    stdout: {
      on: () => undefined,
      write: (chunk: string | Buffer, written?: () => void) => {
        chunks.push(Buffer.from(chunk));
        written?.();
        return true;
      },
    },
    stderr: {
      write: (chunk: string) => {
        stderr += chunk;
        return true;
      },
    },
  } as unknown as Streams;
  const code = await runCli(argv, env, handlers, streams);
  const bytes = Buffer.concat(chunks);
  return { code, stdout: bytes.toString(), bytes, stderr, calls };
}
