/** What is wrong with objects, by object: `BGPPeer tor`. For people: each line has the field, the cause and the step to take. */

/** Lines kept of one object. */
const lines_max = 16;
/** Objects kept. */
const objects_max = 1000;

export class Troubles {
  readonly #lines = new Map<string, string[]>();

  add(object: string, line: string): void {
    const lines = this.#lines.get(object);
    if (lines === undefined) {
      if (this.#lines.size < objects_max) this.#lines.set(object, [line]);
    } else if (lines.length < lines_max && !lines.includes(line)) lines.push(line);
  }

  get list(): ReadonlyMap<string, readonly string[]> {
    return this.#lines;
  }
}
