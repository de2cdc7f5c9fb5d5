/**
 * Paths as they are remembered. Those that are alike are one: of a hundred thousand prefixes most are told by the same few peers, with the same few
 * next hops, and what is remembered of a path does not say to which prefix it leads. Nothing of it changes: what becomes of it is another one. Pure.
 */
import { canonicalAddress } from '../ip/spelling.js';

/** A peer tells one path to a prefix, or several where it numbers them (`identifier`). */
export interface Known {
  readonly neighbour: string;
  readonly identifier: number;
  readonly next_hop: string;
  /** The beginning of a watch since which it has been told. */
  readonly seen: number;
  /** gobgpd has it no more; it holds while its peer is waited for. */
  readonly gone: boolean;
  /** This one alone. */
  readonly alone: readonly Known[];
  /** Its next hop alone. */
  readonly hops: readonly string[];
}

/** Of one next hop, as many are found again. */
const of_hop_max = 16;
/** Next hops that are found again. */
const hops_max = 10_000;

export class KnownPaths {
  /** By next hop, as it was told: the last ones. Of others nothing is shared with what came before. */
  readonly #by_hop = new Map<string, Known[]>();
  /** The last one, and the next hop that was told of it. */
  #last: Known | undefined;
  #last_told = '';

  /** It has been told since this beginning. Undefined: its next hop is no address. */
  of(neighbour: string, identifier: number, told: string, seen: number): Known | undefined {
    const last = this.#last;
    if (last !== undefined && this.#last_told === told && isIt(last, neighbour, identifier, seen, false))
      return last;
    const next_hop = canonicalAddress(told);
    if (next_hop === undefined) return undefined;
    this.#last = this.#find(neighbour, identifier, next_hop, seen, false);
    this.#last_told = told;
    return this.#last;
  }

  /** Of an SR policy: what it says stands where a route has its next hop. */
  saying(neighbour: string, identifier: number, says: string, seen: number): Known {
    return this.#find(neighbour, identifier, says, seen, false);
  }

  /** It, out of gobgpd's sight. */
  gone(known: Known): Known {
    if (known.gone) return known;
    const { neighbour, identifier, next_hop, seen } = known;
    return this.#find(neighbour, identifier, next_hop, seen, true);
  }

  #find(neighbour: string, identifier: number, next_hop: string, seen: number, gone: boolean): Known {
    const all = this.#by_hop.get(next_hop);
    const known = all?.find((each) => isIt(each, neighbour, identifier, seen, gone));
    if (known !== undefined) return known;
    const alone: Known[] = [];
    const made: Known = {
      neighbour,
      identifier,
      next_hop,
      seen,
      gone,
      alone,
      hops: all?.[0]?.hops ?? [next_hop],
    };
    alone.push(made);
    if (all !== undefined) {
      if (all.length === of_hop_max) all.shift();
      all.push(made);
    } else {
      if (this.#by_hop.size === hops_max) this.#by_hop.clear();
      this.#by_hop.set(next_hop, [made]);
    }
    return made;
  }
}

function isIt(known: Known, neighbour: string, identifier: number, seen: number, gone: boolean): boolean {
  return (
    known.neighbour === neighbour &&
    known.identifier === identifier &&
    known.seen === seen &&
    known.gone === gone
  );
}
