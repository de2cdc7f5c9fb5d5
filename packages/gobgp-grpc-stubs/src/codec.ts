import { IncompatibleError, MalformedError } from './errors.js';
import { Lazy } from './lazy.js';
import {
  BadValue,
  copy,
  type Decode,
  describe,
  type Encode,
  type KindCodec,
  no_bytes,
  scalars,
  sizedBytes,
} from './scalars.js';
import {
  type Enumeration,
  type Field,
  type Kind,
  type Message,
  numberIn,
  type Union,
  type Unknown,
} from './schema.js';
import { has, type Version } from './version.js';
import { Reader, Writer, wire_bytes, wire_varint } from './wire.js';

/** The schema put to work for one version of GoBGP: each message becomes a pair of functions once, when it is first used. */

type Value = Record<string, unknown>;
interface FieldDecoder {
  readonly name: string;
  readonly wire_type: number;
  readonly decode: Decode;
  readonly many: boolean;
  /** Elements stay where they are. */
  readonly lazy?: (bytes: Buffer, places: number[]) => Lazy<unknown>;
}

interface MessageCodec {
  readonly encode: Encode;
  /** Reads up to the reader's end. */
  readonly decode: (reader: Reader) => Value;
}

const any_prefix = 'type.googleapis.com/';
const no_elements: readonly unknown[] = Object.freeze([]);
const no_lazy_elements = new Lazy<unknown>([], () => undefined);

/** Encodes and decodes the messages of one version. */
export class Codec {
  readonly #version: Version;
  readonly #messages = new Map<Message, MessageCodec>();

  constructor(version: Version) {
    this.#version = version;
  }

  /**
   * A message, encoded, and the secrets in it.
   * Throws MalformedError for a value that its field cannot hold, IncompatibleError for a field that this version lacks.
   */
  encode(message: Message, value: unknown): { bytes: Buffer; secrets: readonly string[] } {
    const writer = new Writer();
    this.#message(message).encode(writer, value);
    return { bytes: writer.finish(), secrets: writer.secrets };
  }

  /** Throws MalformedError for bytes that are not this message. */
  decode(message: Message, bytes: Buffer): unknown {
    return this.#read(message, new Reader(bytes));
  }

  #read(message: Message, reader: Reader): Value {
    try {
      return this.#message(message).decode(reader);
    } catch (cause) {
      if (cause instanceof MalformedError)
        throw new MalformedError(`${message.name} from gobgpd: ${cause.message}`, { cause });
      throw cause;
    }
  }

  #message(message: Message): MessageCodec {
    const known = this.#messages.get(message);
    if (known !== undefined) return known;
    const made = this.#makeMessage(message);
    this.#messages.set(message, made);
    return made;
  }

  #makeMessage(message: Message): MessageCodec {
    const template: Value = {};
    const decoders: FieldDecoder[] = [];
    const names: string[] = [];
    const encoders: ((writer: Writer, value: Value) => void)[] = [];
    /** Fields whose zero is an object: made anew for each message that lacks it. */
    const made: [string, () => unknown][] = [];
    for (const [name, field] of Object.entries(message.fields)) {
      const codec = this.#kind(field.kind);
      names.push(name);
      encoders.push(this.#fieldEncoder(message, name, field, codec));
      if (field.count === 'derived') continue;
      if (field.count === 'many') template[name] = no_elements;
      else if (field.count === 'lazy') template[name] = no_lazy_elements;
      else if (isComposite(field.kind)) {
        template[name] = undefined;
        if (field.count === 'required') made.push([name, codec.zero]);
      } else template[name] = codec.zero();
      if (field.inline === true && this.#version.major === 4)
        this.#inlineDecoders(name, field.kind, decoders);
      const number = numberIn(field.number, this.#version.major);
      if (number !== undefined) decoders[number] = this.#fieldDecoder(name, field, codec);
    }
    return {
      encode: (writer, value) => {
        if (typeof value !== 'object' || value === null)
          throw new BadValue(`${describe(value)} is not a ${message.name}`);
        let i = 0;
        try {
          for (; i < encoders.length; i++) encoders[i]!(writer, value as Value);
        } catch (cause) {
          if (!(cause instanceof BadValue)) throw cause;
          throw new MalformedError(`${message.name}.${names[i]}: ${cause.message}`);
        }
        const wrong = message.check?.(value);
        if (wrong !== undefined) throw new MalformedError(`${message.name}: ${wrong}`);
      },
      decode: (reader) => {
        const value = readFields(reader, { ...template }, decoders);
        for (const [name, zero] of made) value[name] ??= zero();
        return value;
      },
    };
  }

  #fieldDecoder(name: string, field: Field, codec: KindCodec): FieldDecoder {
    const base = { name, wire_type: codec.wire_type, decode: codec.decode };
    if (field.count !== 'lazy') return { ...base, many: field.count === 'many' };
    const lazy = (bytes: Buffer, places: number[]) =>
      new Lazy<unknown>(places, (start, end) =>
        this.#read(field.kind as Message, new Reader(bytes, start, end)),
      );
    return { ...base, many: true, lazy };
  }

  #inlineDecoders(name: string, kind: Kind, decoders: FieldDecoder[]): void {
    const union = kind as Union;
    for (const [type, [number, , member]] of Object.entries(union.members)) {
      const decode = this.#memberDecoder(type, String(number), member);
      decoders[number] = {
        name,
        wire_type: wire_bytes,
        many: false,
        decode: (reader) => reader.within(decode),
      };
    }
  }

  #fieldEncoder(
    message: Message,
    name: string,
    field: Field,
    codec: KindCodec,
  ): (writer: Writer, value: Value) => void {
    const { major } = this.#version;
    const number = numberIn(field.number, major);
    const path = `${message.name}.${name}`;
    const lacking =
      number === undefined && field.inline !== true
        ? `GoBGP ${major}.x has no such field`
        : field.since !== undefined && !has(this.#version, field.since)
          ? `needs GoBGP ${field.since}, this is ${this.#version.minor === undefined ? `a ${major}.x whose version is not known: tell it to connect` : `${major}.${this.#version.minor}`}`
          : undefined;
    if (lacking !== undefined)
      return (_writer, value) => {
        const given = value[name];
        if (given === undefined || (!isList(field) && codec.isZero(given))) return;
        if (isList(field) && [...(given as Iterable<unknown>)].length === 0) return;
        throw new IncompatibleError(`${path}: ${lacking}`);
      };
    if (field.inline === true && major === 4) {
      const union = this.#unionBody(field.kind as Union);
      return (writer, value) => {
        if (isNothing(value[name])) throw new BadValue('is empty');
        union(writer, value[name]);
      };
    }
    const tag = (number! << 3) | codec.wire_type;
    if (isList(field))
      return (writer, value) => {
        const given = value[name];
        if (given === undefined) return;
        if (!Array.isArray(given) && !(given instanceof Lazy))
          throw new BadValue(`${describe(given)} is not a list`);
        if (codec.wire_type === wire_varint)
          writer.unlessEmpty((number! << 3) | wire_bytes, () => {
            for (const element of given) codec.encode(writer, element);
          });
        else
          for (const element of given) {
            writer.varint(tag);
            codec.encode(writer, element);
          }
      };
    const needed =
      field.count === 'required' && (field.kind.tag === 'union' || empty_is_none.has(field.kind.tag));
    const { derive } = field;
    return (writer, value) => {
      const given = derive === undefined ? (value[name] ?? field.assumed) : derive(value as never);
      if (given === undefined) {
        if (field.count === 'optional') return;
        throw new BadValue('is missing');
      }
      if (codec.isZero(given)) {
        if (needed) throw new BadValue('is empty');
        return;
      }
      writer.varint(tag);
      codec.encode(writer, given);
    };
  }

  #kind(kind: Kind): KindCodec {
    if (kind.tag === 'message') return this.#nestedMessage(kind as Message);
    if (kind.tag === 'union') return this.#union(kind as Union);
    if (kind.tag === 'enum') return this.#enum(kind as Enumeration<string>);
    return kind.lengths === undefined ? scalars[kind.tag] : sizedBytes(kind.lengths);
  }

  #nestedMessage(message: Message): KindCodec {
    const { encode, decode } = this.#message(message);
    return {
      wire_type: wire_bytes,
      isZero: () => false,
      encode: (writer, value) => writer.nested(() => encode(writer, value)),
      decode: (reader) => reader.within(decode),
      zero: () => decode(new Reader(Buffer.alloc(0))),
    };
  }

  #enum({ numbers, shifted }: Enumeration<string>): KindCodec {
    const offset = shifted && this.#version.major === 4 ? 1 : 0;
    const byName = new Map(Object.entries(numbers).map(([name, number]) => [name, number + offset]));
    if (shifted) byName.set('unspecified', 0);
    const names: string[] = [];
    for (const [name, number] of byName) if (names[number] === undefined) names[number] = name;
    const numberOf = (value: unknown): number => {
      const number =
        typeof value === 'string'
          ? (byName.get(value) ?? Number(/^unknown_(\d+)$/.exec(value)?.[1]))
          : Number.NaN;
      if (Number.isInteger(number) && number < 2 ** 31) return number;
      throw new BadValue(`${describe(value)} is none of ${[...byName.keys()].join(', ')}`);
    };
    const nameOf = (number: number): string => names[number] ?? `unknown_${number}`;
    return {
      wire_type: wire_varint,
      isZero: (value) => numberOf(value) === 0,
      encode: (writer, value) => writer.varint(numberOf(value)),
      decode: (reader) => nameOf(reader.varint()),
      zero: () => nameOf(0),
    };
  }

  #union(union: Union): KindCodec {
    const nothing: Unknown = Object.freeze({ type: 'unknown', tag: '', bytes: no_bytes });
    const body = this.#unionBody(union);
    const decode = this.#version.major === 3 ? this.#anyDecoder(union) : this.#oneofDecoder(union, nothing);
    return {
      wire_type: wire_bytes,
      isZero: (value) => isNothing(value),
      encode: (writer, value) => writer.nested(() => body(writer, value)),
      decode: (reader) => reader.within(decode),
      zero: () => nothing,
    };
  }

  /** Writes an Any (3.x), or the one field of a oneof (4.x). */
  #unionBody(union: Union): Encode {
    const { major } = this.#version;
    const writeMember = (writer: Writer, v4: number, v3: string, write: () => void) => {
      if (major === 3) {
        writer.varint((1 << 3) | wire_bytes);
        writer.text(any_prefix + v3);
        writer.unlessEmpty((2 << 3) | wire_bytes, write);
      } else {
        writer.varint((v4 << 3) | wire_bytes);
        writer.nested(write);
      }
    };
    const members = new Map(
      Object.entries(union.members).map(([type, [v4, v3, member]]) => {
        const { encode } = this.#message(member);
        return [
          type,
          (writer: Writer, value: unknown) =>
            writeMember(writer, v4, `apipb.${v3}`, () => encode(writer, value)),
        ] as const;
      }),
    );
    return (writer, value) => {
      if (isNothing(value)) throw new BadValue(`an empty ${union.name}`);
      const type = typeof value === 'object' && value !== null ? (value as Value).type : undefined;
      if (type === 'unknown') {
        const { tag, bytes } = value as Unknown;
        const number = Number(tag);
        if (
          major === 3
            ? !/^[a-z]\w*(\.\w+)+$/i.test(tag)
            : !(Number.isInteger(number) && number > 0 && number < 2 ** 28)
        )
          throw new BadValue(
            `an unknown ${union.name} with tag ${describe(tag)} is not one of GoBGP ${major}.x`,
          );
        writeMember(writer, number, tag, () => writer.bytes(bytes));
        return;
      }
      const write = typeof type === 'string' ? members.get(type) : undefined;
      if (write === undefined)
        throw new BadValue(
          `${describe(type)} is no type of ${union.name}: ${[...members.keys()].join(', ')}`,
        );
      write(writer, value);
    };
  }

  #anyDecoder(union: Union): (reader: Reader) => unknown {
    const members = new Map(
      Object.entries(union.members).map(([type, [, v3, member]]) => {
        const tag = `apipb.${v3}`;
        return [tag, this.#memberDecoder(type, tag, member)] as const;
      }),
    );
    const tags = new Words([...members.keys()].map((tag) => any_prefix + tag));
    return (reader) => {
      let tag = '';
      let start = reader.at;
      let end = reader.at;
      while (reader.at < reader.end) {
        const key = reader.varint();
        if ((key & 7) !== wire_bytes || key >>> 3 > 2) {
          reader.skip(key & 7);
          continue;
        }
        const limit = reader.limit();
        if (key >>> 3 === 1) {
          const url = tags.read(reader.bytes, reader.at, limit);
          tag = url.slice(url.lastIndexOf('/') + 1);
        } else {
          start = reader.at;
          end = limit;
        }
        reader.at = limit;
      }
      const decode = members.get(tag);
      if (decode === undefined) return { type: 'unknown', tag, bytes: copy(reader.bytes, start, end) };
      const behind = reader.at;
      const outer = reader.end;
      reader.at = start;
      reader.end = end;
      const value = decode(reader);
      reader.at = behind;
      reader.end = outer;
      return value;
    };
  }

  #oneofDecoder(union: Union, nothing: Unknown): (reader: Reader) => unknown {
    const members: ((reader: Reader) => unknown)[] = [];
    for (const [type, [number, , member]] of Object.entries(union.members))
      members[number] = this.#memberDecoder(type, String(number), member);
    return (reader) => {
      let value: unknown = nothing;
      while (reader.at < reader.end) {
        const key = reader.varint();
        const number = key >>> 3;
        if ((key & 7) !== wire_bytes) {
          reader.skip(key & 7);
          continue;
        }
        const decode = members[number];
        if (decode !== undefined) value = reader.within(decode);
        else {
          const limit = reader.limit();
          value = { type: 'unknown', tag: String(number), bytes: copy(reader.bytes, reader.at, limit) };
          reader.at = limit;
        }
      }
      return value;
    };
  }

  /** A member that cannot be read is unknown: the others of its list are none the worse for it. */
  #memberDecoder(type: string, tag: string, member: Message): (reader: Reader) => unknown {
    const { decode } = this.#message(member);
    return (reader) => {
      const { at: start, end } = reader;
      try {
        return { type, ...decode(reader) };
      } catch (error) {
        if (!(error instanceof MalformedError)) throw error;
        reader.at = end;
        reader.end = end;
        return { type: 'unknown', tag, bytes: copy(reader.bytes, start, end) } satisfies Unknown;
      }
    };
  }
}

function readFields(reader: Reader, value: Value, decoders: readonly FieldDecoder[]): Value {
  let lazies: Map<FieldDecoder, number[]> | undefined;
  while (reader.at < reader.end) {
    const key = reader.varint();
    const field = decoders[key >>> 3];
    const wire_type = key & 7;
    if (field === undefined) reader.skip(wire_type);
    else if (field.lazy !== undefined && wire_type === wire_bytes) {
      const limit = reader.limit();
      lazies ??= new Map();
      const places = lazies.get(field);
      if (places === undefined) lazies.set(field, [reader.at, limit]);
      else places.push(reader.at, limit);
      reader.at = limit;
    } else if (field.many && wire_type === field.wire_type) {
      const element = field.decode(reader);
      const list = value[field.name] as unknown[];
      if (list.length === 0) value[field.name] = [element];
      else list.push(element);
    } else if (field.many && wire_type === wire_bytes) {
      // Numbers packed into one field.
      const outer = reader.end;
      reader.end = reader.limit();
      const list = [...(value[field.name] as unknown[])];
      while (reader.at < reader.end) list.push(field.decode(reader));
      reader.end = outer;
      value[field.name] = list;
    } else if (wire_type === field.wire_type) value[field.name] = field.decode(reader);
    else reader.skip(wire_type);
  }
  if (lazies !== undefined)
    for (const [field, places] of lazies) value[field.name] = field.lazy!(reader.bytes, places);
  return value;
}

/** Words that come again and again: none of them is made anew. */
class Words {
  readonly #by_length = new Map<number, string[]>();

  constructor(words: readonly string[]) {
    for (const word of words) {
      const others = this.#by_length.get(word.length);
      if (others === undefined) this.#by_length.set(word.length, [word]);
      else others.push(word);
    }
  }

  read(bytes: Buffer, start: number, end: number): string {
    const length = end - start;
    search: for (const word of this.#by_length.get(length) ?? []) {
      // What differs stands at the end.
      for (let at = length - 1; at >= 0; at -= 1)
        if (word.charCodeAt(at) !== bytes[start + at]) continue search;
      return word;
    }
    return bytes.toString('latin1', start, end);
  }
}

/** Text that has to be something where it has to be given. */
const empty_is_none: ReadonlySet<string> = new Set(['address', 'ipv4', 'prefix', 'mac']);
const isComposite = (kind: Kind): boolean => kind.tag === 'message' || kind.tag === 'union';
const isList = (field: Field): boolean => field.count === 'many' || field.count === 'lazy';
const isNothing = (value: unknown): boolean =>
  typeof value === 'object' &&
  value !== null &&
  (value as Unknown).type === 'unknown' &&
  (value as Unknown).tag === '';
