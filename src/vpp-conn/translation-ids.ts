/**
 * VPP's ids of translations, the other way round: whose counter is whose. Of one VPP, as far as it has answered in any session; it gives a freed id to
 * the next translation, with a counter of 0.
 */
/** They are places in a pool of VPP's, the lowest free one is given first: one beyond this is none. */
const ids_max = 2 ** 20;

export class TranslationIds {
  /** `tcp/10.96.0.1/443`, by id. */
  readonly #vips: (string | undefined)[] = [];

  set(id: number, vip: string): void {
    if (id >= ids_max) return;
    // An array without holes is gone through in a fraction of the time.
    while (this.#vips.length < id) this.#vips.push(undefined);
    this.#vips[id] = vip;
  }

  /** The id is not this one's any more; it may be another's by now. */
  delete(id: number, vip: string): void {
    if (this.#vips[id] === vip) this.#vips[id] = undefined;
  }

  /** By id. Changes with what is told here. */
  get vips(): readonly (string | undefined)[] {
    return this.#vips;
  }
}
