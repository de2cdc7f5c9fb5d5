/** Prefixes and next hops that are none, by the text they came as: they are told of, so many, and lead nowhere. */
import { canonicalAddress } from '../ip/spelling.js';
import { type RouteFault, routeFaultText } from './remote-route.js';

const senseless_max = 1000;

export class Senseless {
  readonly #all = new Map<string, { readonly next_hop: string; readonly fault: RouteFault }>();

  get count(): number {
    return this.#all.size;
  }

  /** What was told last of this prefix counts. Its next hops, canonical, each once, sorted; `prefix`: canonical; undefined: it is none. */
  addressesOf(
    prefix_text: string,
    prefix: string | undefined,
    next_hop_texts: readonly string[],
  ): readonly string[] {
    if (this.#all.size > 0) this.#all.delete(prefix_text);
    const [only] = next_hop_texts;
    if (
      only !== undefined &&
      next_hop_texts.length === 1 &&
      prefix !== undefined &&
      canonicalAddress(only) === only
    )
      return next_hop_texts;
    const addresses = new Set<string>();
    for (const next_hop of next_hop_texts.length < 2 ? next_hop_texts : [...next_hop_texts].sort()) {
      const address = canonicalAddress(next_hop);
      if (address !== undefined) addresses.add(address);
      if (prefix !== undefined && address !== undefined) continue;
      const fault = prefix === undefined ? 'no_prefix' : 'no_next_hop';
      if (this.#all.size < senseless_max) this.#all.set(prefix_text, { next_hop, fault });
    }
    return addresses.size < 2 ? [...addresses] : [...addresses].sort();
  }

  *faults(): Iterable<readonly [object: string, text: string]> {
    for (const [prefix, { next_hop, fault }] of this.#all)
      yield [`route ${prefix.slice(0, 64)}`, routeFaultText(fault, next_hop.slice(0, 64))];
  }
}
