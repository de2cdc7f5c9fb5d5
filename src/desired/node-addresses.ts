/** The nodes by their addresses: who has which, and who has one that another has, too. */
import type { CalicoNode } from '../calico/kinds/node.js';
import type { Family } from '../ip/text.js';

/** The address by which a node is reached: Calico's, or else Kubernetes'. */
export function addressOf(node: CalicoNode, family: Family): string | undefined {
  return family === 4 ? (node.ip4?.address ?? node.status_ip4) : (node.ip6?.address ?? node.status_ip6);
}

const families: readonly Family[] = [4, 6];

export class NodeAddresses {
  readonly #nodes = new Map<string, readonly string[]>();
  readonly #names = new Map<string, Set<string>>();
  /** Addresses that several have. */
  readonly #shared = new Set<string>();

  /** Answers addresses that may be a node's no more, or are one's by now: ask `has`. */
  set(name: string, node: CalicoNode | undefined): Iterable<string> {
    const before = this.#nodes.get(name) ?? [];
    for (const address of before) {
      const names = this.#names.get(address);
      names?.delete(name);
      if (names?.size === 0) this.#names.delete(address);
      if ((names?.size ?? 0) < 2) this.#shared.delete(address);
    }
    if (node === undefined) {
      this.#nodes.delete(name);
      return before;
    }
    const addresses = families.flatMap((family) => addressOf(node, family) ?? []);
    this.#nodes.set(name, addresses);
    for (const address of addresses) {
      const names = this.#names.get(address) ?? new Set();
      this.#names.set(address, names.add(name));
      if (names.size > 1) this.#shared.add(address);
    }
    return [...before, ...addresses];
  }

  has(address: string): boolean {
    return this.#names.has(address);
  }

  /** The node that has this address; of several, the first by name. */
  nameOf(address: string): string | undefined {
    return [...(this.#names.get(address) ?? [])].sort()[0];
  }

  get shared_count(): number {
    return this.#shared.size;
  }

  /** By `Node name`. */
  *faults(): Iterable<readonly [object: string, text: string]> {
    for (const address of this.#shared) {
      const names = [...this.#names.get(address)!].sort();
      for (const name of names) {
        const others = names.filter((other) => other !== name);
        yield [
          `Node ${name}`,
          `has the address ${address} of Node ${others.join(', ')}, too: packets for any of them go to whoever answers; give each its own`,
        ];
      }
    }
  }
}
