/** Nodes by the addresses that they have in either family: who reaches one by the one may reach it by the other. Pure. */
export interface NodeEnds {
  readonly ip4?: string;
  readonly ip6?: string;
}

export class NodesByEnds {
  readonly #nodes = new Map<string, NodeEnds>();
  /** Names by address. */
  readonly #names = new Map<string, Set<string>>();

  /** Answers what it has had, and the addresses of both, each once. */
  set(
    name: string,
    node: NodeEnds | undefined,
  ): { readonly before: NodeEnds | undefined; readonly changed: readonly string[] } {
    const before = this.#nodes.get(name);
    const changed = new Set<string>();
    for (const address of addressesIn(before)) {
      const names = this.#names.get(address);
      names?.delete(name);
      if (names?.size === 0) this.#names.delete(address);
      changed.add(address);
    }
    if (node === undefined) this.#nodes.delete(name);
    else this.#nodes.set(name, node);
    for (const address of addressesIn(node)) {
      this.#names.set(address, (this.#names.get(address) ?? new Set()).add(name));
      changed.add(address);
    }
    return { before, changed: [...changed] };
  }

  all(): Iterable<readonly [name: string, node: NodeEnds]> {
    return this.#nodes;
  }

  /** Who has this address: of several the first by name is meant. */
  nameOf(address: string): string | undefined {
    return [...(this.#names.get(address) ?? [])].sort()[0];
  }

  /** All that the node with this address has. */
  of(address: string): NodeEnds | undefined {
    return this.#nodes.get(this.nameOf(address) ?? '');
  }

  /** This one, and all others of nodes that have it. */
  addressesOf(address: string): readonly string[] {
    const addresses = new Set([address]);
    for (const name of this.#names.get(address) ?? [])
      for (const other of addressesIn(this.#nodes.get(name))) addresses.add(other);
    return [...addresses];
  }
}

const addressesIn = (node: NodeEnds | undefined): readonly string[] =>
  [node?.ip4, node?.ip6].flatMap((address) => address ?? []);
