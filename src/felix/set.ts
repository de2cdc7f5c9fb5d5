/** One set of Felix's: its members by protocol and port, packed, and what has changed since somebody took them in. */
import { AddressSet, type PackedPrefix } from './address-set.js';
import {
  type Member,
  memberTexts,
  type ProtocolPort,
  parseMember,
  type SetType,
  type SetUpdate,
} from './members.js';

/** Where the members of a set without ports are: no protocol is 0. */
export const no_port: ProtocolPort = 0;

/** As Felix's own limit for a set. */
export const members_max = 1_048_576;

/** Of members that cannot be read so many are remembered by name, so that their removal is known. */
const unreadable_max = 64;

/** What was not yet taken of the members with one protocol and port. No prefix is in both. */
export interface Change {
  readonly added: AddressSet;
  readonly removed: AddressSet;
}

export type Changes = ReadonlyMap<ProtocolPort, Change>;

/** A step of work: so many members were looked at. For who does it in pieces. */
export type Steps<T> = Generator<number, T>;

const piece = 1024;

export class FelixSet {
  readonly id: string;
  readonly type: SetType | undefined;
  readonly #parts = new Map<ProtocolPort, AddressSet>();
  #changes = new Map<ProtocolPort, Change>();
  #taken = false;
  #size = 0;
  readonly #unreadable = new Set<string>();
  /** Members that were neither stored nor remembered. */
  #lost = 0;

  private constructor(id: string, type: SetType | undefined) {
    this.id = id;
    this.type = type;
  }

  /** A set with the members of the update. Work in pieces: it may have a million of them. */
  static *of(update: SetUpdate): Steps<FelixSet> {
    const set = new FelixSet(update.id, update.type);
    yield* set.#read(update.bytes, 2, (text) => set.#put(text));
    return set;
  }

  get size(): number {
    return this.#size;
  }

  /** Of memory. */
  get bytes(): number {
    let bytes = 0;
    for (const part of this.#parts.values()) bytes += part.bytes;
    return bytes;
  }

  /** Why it is not known who is a member; undefined: it is. */
  get fault(): string | undefined {
    if (this.type === undefined) return 'a type of set that this release does not know';
    if (this.#lost > 0) return `${this.#lost} of its members could not be kept (it has ${this.#size})`;
    const [text] = this.#unreadable;
    return text === undefined ? undefined : `member '${text}' is not one of type ${this.type}`;
  }

  /** Protocols and ports that have members; `no_port` for a set of prefixes. */
  get ports(): Iterable<ProtocolPort> {
    return this.#parts.keys();
  }

  /** The members with this protocol and port; those of a set of prefixes with `no_port`. */
  members(port: ProtocolPort): AddressSet | undefined {
    return this.#parts.get(port);
  }

  /** Additions, then removals: Felix names no member in both. */
  *apply(delta: SetUpdate): Steps<void> {
    yield* this.#read(delta.bytes, 2, (text) => this.#put(text));
    yield* this.#read(delta.bytes, 3, (text) => this.#drop(text));
  }

  /** From now on changes are those against `before`, and what was not yet taken of that. */
  *follow(before: FelixSet): Steps<void> {
    this.#taken = before.#taken && before.type === this.type;
    if (!this.#taken) return;
    this.#changes = before.#changes;
    let count = 0;
    for (const [port, there] of before.#parts) {
      const wanted = this.#parts.get(port);
      for (const prefix of there) {
        if (wanted?.has(prefix) !== true) this.#record(port, prefix, 'removed');
        if (++count % piece === 0) yield piece;
      }
    }
    for (const [port, wanted] of this.#parts) {
      const there = before.#parts.get(port);
      for (const prefix of wanted) {
        if (there?.has(prefix) !== true) this.#record(port, prefix, 'added');
        if (++count % piece === 0) yield piece;
      }
    }
  }

  /** What has changed since the last time; undefined: it is the first time, and all members are new. */
  take(): Changes | undefined {
    const changes = this.#taken ? this.#changes : undefined;
    this.#taken = true;
    this.#changes = new Map();
    return changes;
  }

  *#read(bytes: Uint8Array, field: 2 | 3, each: (text: Uint8Array) => void): Steps<void> {
    let count = 0;
    for (const text of memberTexts(bytes, field)) {
      each(text);
      if (++count % piece === 0) yield piece;
    }
  }

  #put(text: Uint8Array): void {
    const member = this.#fitting(text);
    if (member === undefined) {
      if (this.#unreadable.size < unreadable_max) this.#unreadable.add(shown(text));
      else this.#lost += 1;
      return;
    }
    const port = member.port ?? no_port;
    if (this.#size >= members_max) {
      this.#lost += 1;
      return;
    }
    let part = this.#parts.get(port);
    if (part === undefined) {
      part = new AddressSet();
      this.#parts.set(port, part);
    }
    if (!part.add(member.prefix)) return;
    this.#size += 1;
    this.#record(port, member.prefix, 'added');
  }

  #drop(text: Uint8Array): void {
    const member = this.#fitting(text);
    if (member === undefined) {
      this.#unreadable.delete(shown(text));
      return;
    }
    const port = member.port ?? no_port;
    const part = this.#parts.get(port);
    if (part?.delete(member.prefix) !== true) return;
    if (part.size === 0) this.#parts.delete(port);
    this.#size -= 1;
    this.#record(port, member.prefix, 'removed');
  }

  /** The member, where it is one of a set of this type. */
  #fitting(text: Uint8Array): Member | undefined {
    const member = parseMember(text);
    return (member?.port !== undefined) === (this.type === 'address_and_port') ? member : undefined;
  }

  #record(port: ProtocolPort, prefix: PackedPrefix, what: keyof Change): void {
    if (!this.#taken) return;
    let change = this.#changes.get(port);
    if (change === undefined) {
      change = { added: new AddressSet(), removed: new AddressSet() };
      this.#changes.set(port, change);
    }
    const other = what === 'added' ? change.removed : change.added;
    if (!other.delete(prefix)) change[what].add(prefix);
    else if (change.added.size + change.removed.size === 0) this.#changes.delete(port);
  }
}

function shown(text: Uint8Array): string {
  return Buffer.from(text.subarray(0, 64)).toString('latin1');
}
