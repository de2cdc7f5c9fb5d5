/**
 * One text for all that read the same: what is decoded comes with texts of its own, and a hundred thousand paths, or endpoints, name the same few
 * routers and nodes. Of more than `max` nothing is shared with what came before.
 */
export class SharedTexts {
  readonly #max: number;
  readonly #known = new Map<string, string>();

  constructor(max = 10_000) {
    this.#max = max;
  }

  of(text: string): string {
    const known = this.#known.get(text);
    if (known !== undefined) return known;
    if (this.#known.size >= this.#max) this.#known.clear();
    this.#known.set(text, text);
    return text;
  }
}
