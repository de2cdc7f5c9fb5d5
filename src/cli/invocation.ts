/** What a command is given, and where it writes to. */

export interface Invocation {
  readonly env: NodeJS.ProcessEnv;
  /** By the names of commands.ts, e.g. `min-mailbox`. */
  readonly options: Readonly<Record<string, string | boolean | undefined>>;
  readonly operands: readonly string[];
}

/** The terminal or pipes that the command talks to; those of the process unless given. */
export interface Streams {
  readonly stdin: NodeJS.ReadStream;
  readonly stdout: NodeJS.WriteStream;
  readonly stderr: Pick<NodeJS.WriteStream, 'write'>;
}

export const exit_codes = { done: 0, failed: 1, usage: 2, unreachable: 3 } as const;

export const text = (value: string | boolean | undefined): string | undefined =>
  typeof value === 'string' ? value : undefined;
