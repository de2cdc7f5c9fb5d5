/**
 * Why a request cannot be carried out, from the point of view of its author. Thrown while one request is read and
 * turned into its answer at the edge; never leaves this directory.
 */
export class InvalidRequest extends Error {
  override readonly name = 'InvalidRequest';
  /** @param problem the fault and the step to take, e.g. `is not a prefix: write address/length` */
  constructor(field: string, value: unknown, problem: string) {
    super(`${field} ${shown(value)} ${problem}`);
  }
}

const shown_characters_max = 120;

/** A value of the request as an error or a warning shows it: quoted, and cut when it is long. */
export function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? 'undefined';
  return text.length <= shown_characters_max ? text : `${text.slice(0, shown_characters_max)}...`;
}
