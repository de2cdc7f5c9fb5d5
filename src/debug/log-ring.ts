/** The last lines of the log, for who cannot reach the container's: bounded by lines and by length. */
export const log_lines_default = 200;
export const log_lines_max = 2000;
const characters_max = 1024 * 1024;
const line_max = 4096;

/** A piece of a text keeps all of it in memory. */
const copyOf = (text: string): string => Buffer.from(text).toString();

export class LogRing {
  readonly #lines: string[] = [];
  #characters = 0;

  add(line: string): void {
    const kept = line.length <= line_max ? line : copyOf(`${line.slice(0, line_max - 2)}…\n`);
    this.#lines.push(kept);
    this.#characters += kept.length;
    while (this.#lines.length > log_lines_max || this.#characters > characters_max)
      this.#characters -= this.#lines.shift()!.length;
  }

  /** Oldest first. */
  last(lines: number): readonly string[] {
    return lines === 0 ? [] : this.#lines.slice(-lines);
  }
}
