/** The addresses of nodes, by their bits. Pure. */
import { AddressIndex } from '../ip/address-index.js';
import { type Bits, bitsOf } from '../ip/bits.js';

export interface NodeAddress extends Bits {
  readonly address: string;
}

/** The first of these in this prefix, by its text. */
export function firstOf<A extends NodeAddress>(index: AddressIndex<A>, within: Bits): string | undefined {
  let first: string | undefined;
  for (const { address } of index.within(within)) if (first === undefined || address < first) first = address;
  return first;
}

export class NodeIndex {
  readonly #nodes = new Map<string, NodeAddress>();
  readonly #index = new AddressIndex<NodeAddress>();

  /** A node has this canonical address, or none has. Undefined: that was known. */
  set(address: string, there: boolean): NodeAddress | undefined {
    if (this.#nodes.has(address) === there) return undefined;
    const node = this.#nodes.get(address) ?? { address, ...bitsOf(address) };
    if (there) {
      this.#nodes.set(address, node);
      this.#index.add(node);
    } else {
      this.#nodes.delete(address);
      this.#index.delete(node);
    }
    return node;
  }

  /** The first in this prefix, by its text. */
  firstIn(prefix: Bits): string | undefined {
    return firstOf(this.#index, prefix);
  }

  all(): readonly NodeAddress[] {
    return [...this.#nodes.values()];
  }
}
