/** Hears of changes of the host's taps: a thousand routes that go at once are one change, until it is looked at. */
import type { Watch } from '../linux/network.js';

export class TapWatches {
  #watches: Watch[] = [];
  /** Of which it was said, and nobody has looked yet. */
  readonly #told = new Set<string>();

  /** `watchLink` calls back when the link of that name, its addresses or its routes change. */
  constructor(
    private readonly watchLink: (name: string, changed: () => void) => Watch,
    private readonly changed: (name: string) => void,
  ) {}

  /** False: they are watched already. */
  begin(names: readonly string[]): boolean {
    if (this.#watches.length > 0) return false;
    this.#watches = names.map((name) => this.watchLink(name, () => this.#hear(name)));
    return true;
  }

  /** What changes from now on is another change. */
  looked(name: string): void {
    this.#told.delete(name);
  }

  end(): void {
    this.#told.clear();
    for (const watch of this.#watches.splice(0)) watch.close();
  }

  #hear(name: string): void {
    if (this.#told.has(name)) return;
    this.#told.add(name);
    this.changed(name);
  }
}
