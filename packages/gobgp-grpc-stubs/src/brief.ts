import type { Path } from './api/path.js';
import { MalformedError } from './errors.js';
import { Lazy } from './lazy.js';
import type { Dialect } from './version.js';
import { Reader, wire_bytes, wire_varint } from './wire.js';

/**
 * Where a path leads and whose it is, read out of the bytes of an event without the rest of it being decoded: GoBGP tells a table of a hundred thousand a
 * message at a time, with twenty fields of each path. The schema says what the bytes mean; a test holds the two together.
 */

export class BriefPath {
  constructor(
    /** `address/length`, as GoBGP spells it. Undefined: it is no route of unicast. */
    readonly prefix: string | undefined,
    /** That of the first attribute that may have one, `next_hop` or `mp_reach`. Empty: it says nothing of it. */
    readonly next_hop: string,
    /** Who announced it; empty for a path of our own. */
    readonly neighbor_ip: string,
    readonly identifier: number,
    readonly is_withdraw: boolean,
    /** All that it says, where it is no route of unicast. */
    readonly whole?: Path,
  ) {}
}

/** Of WatchEventResponse and TableEvent. */
const field_peer = 2;
const field_table = 3;
const field_paths = 2;
/** Of Path. */
const field_nlri = 1;
const field_pattrs = 2;
const field_is_withdraw = 5;
const field_family = 9;
const field_neighbor_ip = 15;
const field_identifier = 18;
/** Of Family. */
const field_safi = 2;
const safi_unicast = 1;
/** Of IPAddressPrefix. */
const field_prefix_len = 1;
const field_prefix = 2;
/** Of NextHopAttribute and MpReachNLRIAttribute. */
const field_next_hop = 1;
const field_next_hops = 2;
/** Of an Any. */
const field_type_url = 1;
const field_value = 2;

/** Which member of a union this is: its name in 3.x, its number in 4.x. */
interface Member {
  readonly name: string;
  readonly number: number;
}

const prefix_member: Member = { name: 'apipb.IPAddressPrefix', number: 1 };
const next_hop_member: Member = { name: 'apipb.NextHopAttribute', number: 4 };
const mp_reach_member: Member = { name: 'apipb.MpReachNLRIAttribute', number: 12 };
const nlri_members = [prefix_member];
const next_hop_members = [next_hop_member, mp_reach_member];

const slash = 0x2f;
const zero = 0x30;
/** The longest text of an address, and of a length of three digits behind its slash. */
const prefix_text_max = 45 + 4;

/** What is read of one path, until it is whole. */
const found = { address: 0, address_end: 0, length: 0, next_hop: '' };

export class BriefReader {
  readonly #dialect: Dialect;
  readonly #decode: (bytes: Buffer) => Path;
  readonly #texts = new Texts();
  readonly #prefix_text = Buffer.alloc(prefix_text_max);

  /** `decode`: the whole of a Path, of those that are read so. Throws MalformedError. */
  constructor(dialect: Dialect, decode: (bytes: Buffer) => Path) {
    this.#dialect = dialect;
    this.#decode = decode;
  }

  /**
   * The path that an answer of WatchEvent has, or all of them, to be read when they are asked for. Undefined: it has none, or one that is no path but a
   * peer's word, or cannot be read, and is to be decoded as a whole. Throws MalformedError for one path that is malformed.
   */
  read(bytes: Buffer): BriefPath | Lazy<BriefPath> | undefined {
    const reader = new Reader(bytes);
    let first = -1;
    let first_end = 0;
    let places: number[] | undefined;
    try {
      while (reader.at < reader.end) {
        const key = reader.varint();
        if (key >>> 3 === field_peer) return undefined;
        if (key !== ((field_table << 3) | wire_bytes)) {
          reader.skip(key & 7);
          continue;
        }
        const table_end = reader.limit();
        while (reader.at < table_end) {
          const key_within = reader.varint();
          if (key_within !== ((field_paths << 3) | wire_bytes)) {
            reader.skip(key_within & 7);
            continue;
          }
          const end = reader.limit();
          if (end > table_end) return undefined;
          if (first < 0) {
            first = reader.at;
            first_end = end;
          } else {
            places ??= [first, first_end];
            places.push(reader.at, end);
          }
          reader.at = end;
        }
      }
    } catch (error) {
      if (error instanceof MalformedError) return undefined;
      throw error;
    }
    if (first < 0) return undefined;
    if (places !== undefined)
      return new Lazy(places, (start, end) => this.#path(new Reader(bytes, start, end)) ?? no_path);
    reader.at = first;
    reader.end = first_end;
    return this.#path(reader);
  }

  /** Undefined: it has no NLRI. */
  #path(reader: Reader): BriefPath | undefined {
    try {
      return this.#fields(reader);
    } catch (cause) {
      if (!(cause instanceof MalformedError)) throw cause;
      throw new MalformedError(`Path from gobgpd: ${cause.message}`, { cause });
    }
  }

  #fields(reader: Reader): BriefPath | undefined {
    const { bytes, at: start } = reader;
    let has_nlri = false;
    let is_prefix = false;
    let is_unicast = false;
    let is_withdraw = false;
    let neighbor_ip = '';
    let identifier = 0;
    let has_next_hop = false;
    found.next_hop = '';
    while (reader.at < reader.end) {
      const key = reader.varint();
      switch (key) {
        case (field_nlri << 3) | wire_bytes: {
          const end = reader.limit();
          has_nlri = end > reader.at;
          is_prefix = this.#member(reader, end, nlri_members) === prefix_member;
          reader.at = end;
          break;
        }
        case (field_pattrs << 3) | wire_bytes: {
          const end = reader.limit();
          if (!has_next_hop) has_next_hop = this.#member(reader, end, next_hop_members) !== undefined;
          reader.at = end;
          break;
        }
        case (field_is_withdraw << 3) | wire_varint:
          is_withdraw = reader.varint() !== 0;
          break;
        case (field_family << 3) | wire_bytes:
          is_unicast = reader.within(safiOf) === safi_unicast;
          break;
        case (field_neighbor_ip << 3) | wire_bytes: {
          const end = reader.limit();
          neighbor_ip = this.#address(bytes, reader.at, end);
          reader.at = end;
          break;
        }
        case (field_identifier << 3) | wire_varint:
          identifier = reader.varint();
          break;
        default:
          reader.skip(key & 7);
      }
    }
    if (!has_nlri) return undefined;
    if (is_prefix && is_unicast)
      return new BriefPath(this.#prefix(bytes), found.next_hop, neighbor_ip, identifier, is_withdraw);
    const whole = this.#decode(bytes.subarray(start, reader.end));
    return new BriefPath(undefined, found.next_hop, neighbor_ip, identifier, is_withdraw, whole);
  }

  /** Reads what it says, if the union that ends at `end` is one of these; undefined: it is another one, or cannot be read. */
  #member(reader: Reader, end: number, members: readonly Member[]): Member | undefined {
    const outer = reader.end;
    reader.end = end;
    const member = this.#dialect === 3 ? anyOf(reader, members) : oneofOf(reader, members);
    let is_read = member !== undefined;
    if (member !== undefined)
      try {
        if (member === prefix_member) readPrefix(reader);
        else this.#nextHop(reader, member);
      } catch (error) {
        if (!(error instanceof MalformedError)) throw error;
        is_read = false;
      }
    reader.end = outer;
    return is_read ? member : undefined;
  }

  #nextHop(reader: Reader, member: Member): void {
    const is_list = member === mp_reach_member;
    const wanted = ((is_list ? field_next_hops : field_next_hop) << 3) | wire_bytes;
    let next_hop: string | undefined;
    while (reader.at < reader.end) {
      const key = reader.varint();
      if (key !== wanted) {
        reader.skip(key & 7);
        continue;
      }
      const end = reader.limit();
      // Of a list the first, of what is told again the last.
      if (!is_list || next_hop === undefined) next_hop = this.#address(reader.bytes, reader.at, end);
      reader.at = end;
    }
    found.next_hop = next_hop ?? '';
  }

  #address(bytes: Buffer, start: number, end: number): string {
    const text = this.#texts.read(bytes, start, end);
    return text === '<nil>' || text === 'invalid IP' ? '' : text;
  }

  /** In one piece: a text that is put together is made again by whoever looks something up by it. */
  #prefix(bytes: Buffer): string | undefined {
    const { address, address_end, length } = found;
    const text = this.#prefix_text;
    if (address === address_end) return undefined;
    const written =
      address_end - address <= prefix_text_max - 4 ? copyAscii(bytes, address, address_end, text) : -1;
    if (written < 0 || length > 999) return `${bytes.toString('utf8', address, address_end)}/${length}`;
    let to = written;
    text[to++] = slash;
    if (length >= 100) text[to++] = zero + Math.floor(length / 100);
    if (length >= 10) text[to++] = zero + (Math.floor(length / 10) % 10);
    text[to++] = zero + (length % 10);
    return text.toString('latin1', 0, to);
  }
}

/** How many, or -1 where something else is among them. */
function copyAscii(from: Buffer, start: number, end: number, to: Buffer): number {
  for (let at = start; at < end; at += 1) {
    const byte = from[at]!;
    if (byte > 0x7f) return -1;
    to[at - start] = byte;
  }
  return end - start;
}

/** Among others: it has no NLRI. */
const no_path = new BriefPath(undefined, '', '', 0, false);

/** An Any of 3.x: enters its value. */
function anyOf(reader: Reader, members: readonly Member[]): Member | undefined {
  let member: Member | undefined;
  let start = reader.at;
  let end = reader.at;
  while (reader.at < reader.end) {
    const key = reader.varint();
    if (key === ((field_type_url << 3) | wire_bytes)) {
      const limit = reader.limit();
      member = undefined;
      for (const each of members) if (isNamed(reader.bytes, reader.at, limit, each.name)) member = each;
      reader.at = limit;
    } else if (key === ((field_value << 3) | wire_bytes)) {
      end = reader.limit();
      start = reader.at;
      reader.at = end;
    } else reader.skip(key & 7);
  }
  reader.at = start;
  reader.end = end;
  return member;
}

/** Behind the last slash. What differs stands at the end. */
function isNamed(bytes: Buffer, start: number, end: number, name: string): boolean {
  const from = end - name.length;
  if (from < start || (from > start && bytes[from - 1] !== slash)) return false;
  for (let at = name.length - 1; at >= 0; at -= 1) if (name.charCodeAt(at) !== bytes[from + at]) return false;
  return true;
}

/** A oneof of 4.x, the last of its members: enters it. */
function oneofOf(reader: Reader, members: readonly Member[]): Member | undefined {
  let member: Member | undefined;
  let start = reader.at;
  let end = reader.at;
  while (reader.at < reader.end) {
    const key = reader.varint();
    if ((key & 7) !== wire_bytes) {
      reader.skip(key & 7);
      continue;
    }
    end = reader.limit();
    start = reader.at;
    reader.at = end;
    member = undefined;
    for (const each of members) if (each.number === key >>> 3) member = each;
  }
  reader.at = start;
  reader.end = end;
  return member;
}

function readPrefix(reader: Reader): void {
  found.address = 0;
  found.address_end = 0;
  found.length = 0;
  while (reader.at < reader.end) {
    const key = reader.varint();
    if (key === ((field_prefix_len << 3) | wire_varint)) found.length = reader.varint();
    else if (key === ((field_prefix << 3) | wire_bytes)) {
      found.address_end = reader.limit();
      found.address = reader.at;
      reader.at = found.address_end;
    } else reader.skip(key & 7);
  }
}

function safiOf(reader: Reader): number {
  let safi = 0;
  while (reader.at < reader.end) {
    const key = reader.varint();
    if (key === ((field_safi << 3) | wire_varint)) safi = reader.varint();
    else reader.skip(key & 7);
  }
  return safi;
}

/** A power of two. */
const texts_max = 256;

/** Texts that come again and again, as few as there are peers: none of them is made anew as long as no other one has its place. */
class Texts {
  readonly #places: string[] = new Array<string>(texts_max).fill('');

  read(bytes: Buffer, start: number, end: number): string {
    let hash = end - start;
    for (let at = start; at < end; at += 1) hash = (hash * 31 + bytes[at]!) | 0;
    const place = hash & (texts_max - 1);
    const known = this.#places[place]!;
    if (isText(bytes, start, end, known)) return known;
    const text = bytes.toString('utf8', start, end);
    this.#places[place] = text;
    return text;
  }
}

function isText(bytes: Buffer, start: number, end: number, text: string): boolean {
  if (text.length !== end - start) return false;
  for (let at = start; at < end; at += 1) if (bytes[at] !== text.charCodeAt(at - start)) return false;
  return true;
}
