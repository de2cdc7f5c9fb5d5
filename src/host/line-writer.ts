import { writeSync } from 'node:fs';
import { isWritable } from './libc.js';

/** A pipe that can be written to takes so many bytes without waiting (PIPE_BUF). */
const chunk_bytes = 4096;
/** How long a reader that has kept up so far is waited for. */
const patience_ms = 20;

/** The descriptor as the writer needs it, so that tests need none. */
export interface Output {
  /** Is there room for 4096 bytes, within `ms`? */
  isWritable(ms: number): boolean;
  /** The number of bytes that were taken. Throws what the system answers. */
  write(bytes: Uint8Array): number;
}

/**
 * Takes one line with its end, writes it at once and answers whether it is on its way. It never throws, and waits for a reader
 * that does not read for 20 ms once: a full disk, a pipe that nobody reads or a closed one costs lines, never the process.
 * A line of which a part has been taken is finished before the next one.
 */
export function lineWriter(output: Output): (line: string) => boolean {
  let rest: Uint8Array = new Uint8Array();
  let stuck = false;

  /** True when all of `rest` has been taken. */
  function flush(): boolean {
    while (rest.length > 0) {
      try {
        stuck = !output.isWritable(stuck ? 0 : patience_ms);
        if (stuck) return false;
        rest = rest.subarray(output.write(rest.subarray(0, chunk_bytes)));
      } catch {
        // Where it should be told is where it cannot be: the lines that are lost are counted, and told later.
        stuck = true;
        return false;
      }
    }
    return true;
  }

  return (line) => {
    if (!flush()) return false;
    const whole = Buffer.from(line);
    rest = whole;
    if (flush() || rest.length < whole.length) return true;
    rest = new Uint8Array();
    return false;
  };
}

/** Standard output as it is: nothing is set on the descriptor, which others may share. */
export const standard_output: Output = {
  isWritable: (ms) => isWritable(1, ms),
  write: (bytes) => writeSync(1, bytes),
};
