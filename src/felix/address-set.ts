/** Prefixes of both families, packed: 12 to 25 bytes of memory for one of IPv4, 30 to 60 for one of IPv6. */
import { formatAddress } from '../ip/text.js';

/** The words of an address, most significant first, behind them its length + 1: 2 numbers for IPv4, 5 for IPv6. */
type Words = Uint32Array;

/**
 * Open addressing with linear probing over one array. The last word of a slot is the length + 1, 0 where it is free. Three quarters are
 * filled at most; what is removed leaves no trace.
 */
class PackedTable {
  readonly words: 2 | 5;
  #slots: Uint32Array;
  #mask: number;
  size = 0;

  constructor(words: 2 | 5) {
    this.words = words;
    this.#slots = new Uint32Array(words * 4);
    this.#mask = 3;
  }

  get bytes(): number {
    return this.#slots.byteLength;
  }

  has(key: Words): boolean {
    return this.#slots[(this.#find(key) + 1) * this.words - 1] !== 0;
  }

  add(key: Words): boolean {
    if ((this.size + 1) * 4 > (this.#mask + 1) * 3) this.#resize((this.#mask + 1) * 2);
    const slot = this.#find(key);
    if (this.#slots[(slot + 1) * this.words - 1] !== 0) return false;
    this.#slots.set(key, slot * this.words);
    this.size += 1;
    return true;
  }

  delete(key: Words): boolean {
    let free = this.#find(key);
    if (this.#slots[(free + 1) * this.words - 1] === 0) return false;
    this.size -= 1;
    // What follows in the same run moves up, as long as it does not come to stand before the place where its search begins.
    for (let slot = (free + 1) & this.#mask; ; slot = (slot + 1) & this.#mask) {
      const at = slot * this.words;
      if (this.#slots[at + this.words - 1] === 0) break;
      const home = this.#home(this.#slots, at);
      if (((slot - home) & this.#mask) < ((slot - free) & this.#mask)) continue;
      this.#slots.copyWithin(free * this.words, at, at + this.words);
      free = slot;
    }
    this.#slots.fill(0, free * this.words, (free + 1) * this.words);
    if (this.#mask > 63 && this.size * 8 < this.#mask + 1) this.#resize((this.#mask + 1) / 4);
    return true;
  }

  /** Each member; the array is the table's own, and the same for all of them where it is copied. */
  *[Symbol.iterator](): Iterator<Words> {
    for (let at = 0; at < this.#slots.length; at += this.words)
      if (this.#slots[at + this.words - 1] !== 0) yield this.#slots.subarray(at, at + this.words);
  }

  #find(key: Words): number {
    const { words } = this;
    for (let slot = this.#home(key, 0); ; slot = (slot + 1) & this.#mask) {
      const at = slot * words;
      if (this.#slots[at + words - 1] === 0) return slot;
      let i = 0;
      while (i < words && this.#slots[at + i] === key[i]) i += 1;
      if (i === words) return slot;
    }
  }

  #home(from: Words, at: number): number {
    let hash = 0x811c9dc5;
    for (let i = 0; i < this.words; i += 1) {
      hash = Math.imul(hash ^ from[at + i]!, 0x9e3779b1);
      hash ^= hash >>> 15;
    }
    return hash & this.#mask;
  }

  /** Each slot is looked at once, and nothing is compared: all of them are different. No other turn of the event loop comes between. */
  #resize(capacity: number): void {
    const { words } = this;
    const old = this.#slots;
    const slots = new Uint32Array(words * capacity);
    this.#slots = slots;
    this.#mask = capacity - 1;
    for (let at = 0; at < old.length; at += words) {
      if (old[at + words - 1] === 0) continue;
      let slot = this.#home(old, at);
      while (slots[(slot + 1) * words - 1] !== 0) slot = (slot + 1) & this.#mask;
      for (let i = 0; i < words; i += 1) slots[slot * words + i] = old[at + i]!;
    }
  }
}

/** A prefix without bits behind its length: the only form in which a set has one. */
export interface PackedPrefix {
  readonly words: Words;
}

const v4_words = 2;

/** Of an address's bytes, 4 or 16 of them, and a length; bits behind it are cleared. */
export function packPrefix(bytes: ArrayLike<number>, length: number): PackedPrefix {
  const count = bytes.length / 4;
  const words = new Uint32Array(count + 1);
  for (let i = 0; i < count; i += 1) {
    const at = i * 4;
    const word = ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
    words[i] = word & maskOf(length - i * 32);
  }
  words[count] = length + 1;
  return { words };
}

function maskOf(bits: number): number {
  if (bits <= 0) return 0;
  return bits >= 32 ? 0xffffffff : (0xffffffff << (32 - bits)) >>> 0;
}

export function lengthOf({ words }: PackedPrefix): number {
  return words[words.length - 1]! - 1;
}

export function isV4({ words }: PackedPrefix): boolean {
  return words.length === v4_words;
}

/** The prefix of this length that holds it. */
function shortened({ words }: PackedPrefix, length: number): PackedPrefix {
  const short = new Uint32Array(words.length);
  for (let i = 0; i < words.length - 1; i += 1) short[i] = words[i]! & maskOf(length - i * 32);
  short[words.length - 1] = length + 1;
  return { words: short };
}

/** `10.0.0.0/8`. */
export function prefixText(prefix: PackedPrefix): string {
  return `${addressText(prefix)}/${lengthOf(prefix)}`;
}

export function addressText({ words }: PackedPrefix): string {
  const bytes = Buffer.alloc((words.length - 1) * 4);
  for (let i = 0; i < words.length - 1; i += 1) bytes.writeUInt32BE(words[i]!, i * 4);
  return formatAddress(bytes);
}

export class AddressSet {
  readonly #v4 = new PackedTable(2);
  readonly #v6 = new PackedTable(5);
  /** How many members have each length. */
  readonly #lengths_v4 = new Map<number, number>();
  readonly #lengths_v6 = new Map<number, number>();

  get size(): number {
    return this.#v4.size + this.#v6.size;
  }

  /** Of memory, without what an empty one takes. */
  get bytes(): number {
    return this.#v4.bytes + this.#v6.bytes;
  }

  has(prefix: PackedPrefix): boolean {
    return this.#table(prefix).has(prefix.words);
  }

  /** False: it was there. */
  add(prefix: PackedPrefix): boolean {
    if (!this.#table(prefix).add(prefix.words)) return false;
    this.#count(prefix, 1);
    return true;
  }

  /** False: it was not there. */
  delete(prefix: PackedPrefix): boolean {
    if (!this.#table(prefix).delete(prefix.words)) return false;
    this.#count(prefix, -1);
    return true;
  }

  /** Whether a member holds all of this prefix. One look-up for each length that members have. */
  covers(prefix: PackedPrefix): boolean {
    const table = this.#table(prefix);
    for (const length of this.#lengths(prefix).keys())
      if (length <= lengthOf(prefix) && table.has(shortened(prefix, length).words)) return true;
    return false;
  }

  /** In no order. The set must not change meanwhile, and a member is valid until the next. */
  *[Symbol.iterator](): Generator<PackedPrefix> {
    for (const words of this.#v4) yield { words };
    for (const words of this.#v6) yield { words };
  }

  #table(prefix: PackedPrefix): PackedTable {
    return isV4(prefix) ? this.#v4 : this.#v6;
  }

  #lengths(prefix: PackedPrefix): Map<number, number> {
    return isV4(prefix) ? this.#lengths_v4 : this.#lengths_v6;
  }

  #count(prefix: PackedPrefix, by: 1 | -1): void {
    const lengths = this.#lengths(prefix);
    const length = lengthOf(prefix);
    const count = (lengths.get(length) ?? 0) + by;
    if (count === 0) lengths.delete(length);
    else lengths.set(length, count);
  }
}
