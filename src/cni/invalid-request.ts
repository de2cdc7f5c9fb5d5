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

/** Why a request could not be read, whatever was thrown over it: also what nobody has thought of is an answer. */
export function refusalOf(error: unknown): string {
  if (error instanceof InvalidRequest) return error.message;
  return `the request cannot be read (${error}): change what is unusual in it, and report this`;
}

/** A value of the request as an error or a warning shows it: quoted, and cut when it is long. */
export function shown(value: unknown): string {
  const text = JSON.stringify(typeof value === 'string' ? value.slice(0, shown_characters_max) : value) ?? '';
  return text.length <= shown_characters_max ? text : `${text.slice(0, shown_characters_max)}...`;
}
