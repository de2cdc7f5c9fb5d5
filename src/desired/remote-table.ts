/** The prefixes that somebody has told of and the next hops that lead to them, by what they hold; which of them are to be planned. Kept in place. Pure. */
import { AddressIndex } from '../ip/address-index.js';
import { type Bits, bitsOf } from '../ip/bits.js';
import { PrefixIndex } from '../ip/prefix-index.js';
import { canonicalPrefix } from '../ip/spelling.js';
import { firstOf } from './node-index.js';
import { Entry, Hop } from './remote-entry.js';
import { SharedLists } from './shared-lists.js';
import { Touched } from './touched.js';

export class RemoteTable {
  readonly #entries = new Map<string, Entry>();
  readonly #within = new PrefixIndex<Entry>();
  readonly #hops = new Map<string, Hop>();
  readonly #ends = new AddressIndex<Hop>();
  readonly #hop_lists = new SharedLists<Hop>();
  /** To be planned. */
  readonly touched = new Touched<Entry>();

  // --- prefixes

  get prefix_count(): number {
    return this.#entries.size;
  }

  entries(): Iterable<Entry> {
    return this.#entries.values();
  }

  /** `prefix`: canonical. */
  get(prefix: string): Entry | undefined {
    return this.#entries.get(prefix);
  }

  /** Likewise; it is made where it is not known. */
  entry(prefix: string): Entry {
    const known = this.#entries.get(prefix);
    if (known !== undefined) return known;
    const entry = new Entry(prefix, bitsOf(prefix));
    this.#entries.set(prefix, entry);
    this.#within.add(entry);
    for (const hop of this.#ends.within(entry)) hop.holders.add(entry);
    return entry;
  }

  forget(entry: Entry): void {
    this.#entries.delete(entry.prefix);
    this.#within.delete(entry);
    for (const hop of this.#ends.within(entry)) hop.holders.delete(entry);
  }

  /** Those that lie in this prefix. */
  within(bits: Bits): Iterable<Entry> {
    return this.#within.within(bits);
  }

  /** Those that have this address in their prefix. */
  *holders(of: Bits & { readonly address: string }): Iterable<Entry> {
    for (const length of this.#ends.lengths(of)) {
      const holder = this.#entries.get(canonicalPrefix(`${of.address}/${length}`)!);
      if (holder !== undefined) yield holder;
    }
  }

  touchAll(): void {
    for (const entry of this.#entries.values()) this.touched.add(entry);
  }

  // --- next hops

  get hop_count(): number {
    return this.#hops.size;
  }

  hops(): Iterable<Hop> {
    return this.#hops.values();
  }

  /** `address`: canonical. */
  hop(address: string): Hop | undefined {
    return this.#hops.get(address);
  }

  /** Next hops that lie in this prefix. */
  hopsIn(prefix: Bits): ReadonlySet<Hop> {
    return this.#ends.within(prefix);
  }

  /** The first of these, by its text. */
  firstHopIn(prefix: Bits): string | undefined {
    return firstOf(this.#ends, prefix);
  }

  /** They are made where they are not known. `addresses`: canonical, each once, sorted. */
  hopsAt(addresses: readonly string[]): readonly Hop[] {
    const [only] = addresses;
    if (only !== undefined && addresses.length === 1) return this.#hopAt(only).alone;
    return this.#hop_lists.of(addresses.map((address) => this.#hopAt(address)));
  }

  #hopAt(address: string): Hop {
    const known = this.#hops.get(address);
    if (known !== undefined) return known;
    const hop = new Hop(address);
    this.#hops.set(address, hop);
    this.#ends.add(hop);
    for (const holder of this.holders(hop)) hop.holders.add(holder);
    this.#touchDrops(hop.holders);
    return hop;
  }

  /** It leads to that prefix no more. */
  part(entry: Entry, hop: Hop): void {
    hop.entries.delete(entry);
    this.forgetHop(hop);
  }

  /** If nothing is by it any more. */
  forgetHop(hop: Hop): void {
    if (hop.entries.size > 0 || hop.tunnels.size > 0 || hop.route !== undefined) return;
    this.#hops.delete(hop.address);
    this.#ends.delete(hop);
    this.#touchDrops(hop.holders);
  }

  /** What leads by these addresses is to be planned. */
  touchBy(next_hops: Iterable<string>): void {
    for (const address of next_hops)
      for (const entry of this.#hops.get(address)?.entries ?? []) this.touched.add(entry);
  }

  /** A drop would cut off what is a next hop. */
  #touchDrops(holders: Iterable<Entry>): void {
    for (const entry of holders) if (entry.is_dropped) this.touched.add(entry);
  }
}
