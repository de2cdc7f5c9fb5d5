/**
 * Routes to other nodes without BGP, from what Calico's IPAM has written down: whose each block is, and which of its addresses another node
 * uses. Kept in place, by prefix and by node; pure.
 */
import type { BlockAffinity } from '../calico/kinds/block-affinity.js';
import type { IpamBlock } from '../calico/kinds/ipam-block.js';
import type { CalicoNode } from '../calico/kinds/node.js';
import { familyOf } from '../ip/text.js';
import { addressOf } from './node-addresses.js';
import { hostPrefix } from './tables.js';

/** What is known of one prefix: a block, or an address of one. */
class Place {
  /** Affinities by name. */
  readonly affinities = new Map<string, BlockAffinity>();
  /** Blocks of this prefix by name: there is one, unless somebody has written another. */
  readonly blocks = new Map<string, IpamBlock>();
  /** Blocks of which it is an address that `node` has borrowed, by their names. */
  readonly borrowed = new Map<string, string>();
  /** The node that it leads to by now. */
  node: string | undefined;
  fault: readonly [object: string, text: string] | undefined;

  constructor(readonly prefix: string) {}

  get isNothing(): boolean {
    return this.affinities.size === 0 && this.blocks.size === 0 && this.borrowed.size === 0;
  }
}

export class IpamRoutes {
  readonly #own: string;
  readonly #nodes = new Map<string, CalicoNode>();
  readonly #affinities = new Map<string, BlockAffinity>();
  readonly #blocks = new Map<string, IpamBlock>();
  readonly #places = new Map<string, Place>();
  readonly #of_node = new Map<string, Set<Place>>();
  readonly #touched = new Set<Place>();
  readonly #faulty = new Set<Place>();

  constructor(node_name: string) {
    this.#own = node_name;
  }

  setNode(name: string, node: CalicoNode | undefined): void {
    const before = this.#nodes.get(name);
    if (node === undefined) this.#nodes.delete(name);
    else this.#nodes.set(name, node);
    if (before !== undefined && node !== undefined && isSamePlace(before, node)) return;
    for (const place of this.#of_node.get(name) ?? []) this.#touched.add(place);
  }

  setAffinity(name: string, affinity: BlockAffinity | undefined): void {
    const before = this.#affinities.get(name);
    if (before !== undefined) this.#touch(before.prefix, ({ affinities }) => affinities.delete(name));
    if (affinity === undefined) this.#affinities.delete(name);
    else {
      this.#affinities.set(name, affinity);
      this.#touch(affinity.prefix, ({ affinities }) => affinities.set(name, affinity));
    }
  }

  setBlock(name: string, block: IpamBlock | undefined): void {
    const before = this.#blocks.get(name);
    if (before !== undefined) {
      this.#touch(before.prefix, ({ blocks }) => blocks.delete(name));
      for (const { address } of before.borrowed)
        this.#touch(hostPrefix(address), ({ borrowed }) => borrowed.delete(name));
    }
    if (block === undefined || block.deleted) {
      this.#blocks.delete(name);
      return;
    }
    this.#blocks.set(name, block);
    this.#touch(block.prefix, ({ blocks }) => blocks.set(name, block));
    for (const { address, node } of block.borrowed)
      this.#touch(hostPrefix(address), ({ borrowed }) => borrowed.set(name, node));
  }

  /** The next hops that have changed since this was asked last, by prefix; undefined: no route. */
  changes(): ReadonlyMap<string, string | undefined> {
    const changed = new Map<string, string | undefined>();
    for (const place of this.#touched) changed.set(place.prefix, this.#route(place));
    this.#touched.clear();
    return changed;
  }

  get faulty_count(): number {
    return this.#faulty.size;
  }

  /** By object, what is wrong and what to do. */
  *faults(): Iterable<readonly [object: string, text: string]> {
    for (const { fault } of this.#faulty) if (fault !== undefined) yield fault;
  }

  #touch(prefix: string, change: (place: Place) => void): void {
    const place = this.#places.get(prefix) ?? new Place(prefix);
    this.#places.set(prefix, place);
    change(place);
    this.#touched.add(place);
  }

  /** The next hop of a place, as it is by now. */
  #route(place: Place): string | undefined {
    const { prefix } = place;
    place.fault = undefined;
    const claim = place.isNothing ? undefined : this.#claim(place);
    this.#file(place, claim?.node);
    const next_hop = claim && claim.node !== this.#own ? this.#nextHop(place, claim) : undefined;
    if (place.fault === undefined) this.#faulty.delete(place);
    else this.#faulty.add(place);
    if (place.isNothing) this.#places.delete(prefix);
    return next_hop;
  }

  /**
   * Whose it is, and by which object. An address that is borrowed is the borrower's. A block is the node's whose affinity is confirmed, and
   * of several the one's that the block itself names; a block that nobody has an affinity for is that one's, too.
   */
  #claim(place: Place): { readonly node: string; readonly by: string } | undefined {
    const borrower = firstByName(place.borrowed);
    if (borrower !== undefined) return { node: borrower[1], by: `IPAMBlock ${borrower[0]}` };
    const named = firstByName([...place.blocks].filter(([, { node }]) => node !== undefined));
    if (place.affinities.size === 0) {
      return named && { node: named[1].node!, by: `IPAMBlock ${named[0]}` };
    }
    const confirmed = [...place.affinities]
      .filter(([, { confirmed, deleted, type }]) => confirmed && !deleted && type === 'host')
      .sort(([a], [b]) => (a < b ? -1 : 1));
    const chosen = confirmed.find(([, { node }]) => node === named?.[1].node) ?? confirmed[0];
    if (chosen === undefined) return undefined;
    const [name, { node }] = chosen;
    const other = confirmed.find((each) => each[1].node !== node);
    if (other !== undefined) {
      place.fault = [
        `BlockAffinity ${other[0]}`,
        `gives ${place.prefix} to Node ${other[1].node}, and BlockAffinity ${name} to Node ${node}, which holds: delete the one that is wrong`,
      ];
    }
    return { node, by: `BlockAffinity ${name}` };
  }

  /** An address of the prefix's family, or else of the other one, which some tunnels can do with. */
  #nextHop(
    place: Place,
    { node: name, by }: { readonly node: string; readonly by: string },
  ): string | undefined {
    const node = this.#nodes.get(name);
    if (node === undefined) {
      place.fault = [by, `is of Node ${name}, which is not there: delete it, if the node is gone for good`];
      return undefined;
    }
    const family = familyOf(place.prefix);
    const next_hop = addressOf(node, family) ?? addressOf(node, family === 4 ? 6 : 4);
    if (next_hop === undefined) {
      place.fault = [
        by,
        `is of Node ${name}, which has no address: see its annotations projectcalico.org/IPv${family}Address`,
      ];
    }
    return next_hop;
  }

  #file(place: Place, node: string | undefined): void {
    if (place.node === node) return;
    const { node: before } = place;
    if (before !== undefined) {
      const places = this.#of_node.get(before);
      places?.delete(place);
      if (places?.size === 0) this.#of_node.delete(before);
    }
    place.node = node;
    if (node === undefined) return;
    const places = this.#of_node.get(node);
    if (places === undefined) this.#of_node.set(node, new Set([place]));
    else places.add(place);
  }
}

/** So that all nodes agree, in whatever order they were told. */
function firstByName<T>(
  entries: Iterable<readonly [name: string, T]>,
): readonly [name: string, T] | undefined {
  let first: readonly [string, T] | undefined;
  for (const entry of entries) if (first === undefined || entry[0] < first[0]) first = entry;
  return first;
}

function isSamePlace(a: CalicoNode, b: CalicoNode): boolean {
  return addressOf(a, 4) === addressOf(b, 4) && addressOf(a, 6) === addressOf(b, 6);
}
