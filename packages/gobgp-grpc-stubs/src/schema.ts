import type { Lazy } from './lazy.js';
import type { Dialect } from './version.js';

/**
 * The words in which `src/api` says what the messages are. One schema has both dialects: where they differ is told
 * by a number per dialect, by `shifted` of an enumeration, and by the members of a union.
 */

export type ScalarTag =
  | 'u8'
  | 'u16'
  | 'u32'
  | 'u64'
  | 'i32'
  | 'i64'
  | 'f32'
  | 'bool'
  | 'text'
  | 'secret'
  | 'address'
  | 'ipv4'
  | 'prefix'
  | 'mac'
  | 'bytes'
  | 'timestamp';

declare const input: unique symbol;
declare const output: unique symbol;

/** The two types of a kind: what may be sent, and what is decoded. */
interface Typed<In, Out> {
  readonly [input]?: In;
  readonly [output]?: Out;
}

export interface Scalar<T> extends Typed<T, T> {
  readonly tag: ScalarTag;
  /** Of bytes: how many there may be. */
  readonly lengths?: readonly number[];
}

export interface Enumeration<Name extends string> extends Typed<Name | UnknownName, Name | UnknownName> {
  readonly tag: 'enum';
  /** Number by name, as 3.x has it. */
  readonly numbers: Readonly<Record<string, number>>;
  /** 4.x has these numbers plus one, and 0 for `unspecified`. */
  readonly shifted: boolean;
}

export interface Message<In = unknown, Out = unknown> extends Typed<In, Out> {
  readonly tag: 'message';
  readonly name: string;
  readonly fields: Fields;
  /** What is wrong with a value whose fields are right one by one, before it is sent. */
  check?(value: In): string | undefined;
}

/** One of several messages: an Any that names it in 3.x, a oneof in 4.x. */
export interface Union<In = unknown, Out = unknown> extends Typed<In, Out> {
  readonly tag: 'union';
  readonly name: string;
  readonly members: Members;
}

export type Kind = Scalar<unknown> | Enumeration<string> | Message | Union;

/** A value without a name: its number. Sent as that number. */
export type UnknownName = `unknown_${number}`;

/** What this schema does not describe, or cannot read. Kept as it came, and sent back as it is to the same dialect. */
export interface Unknown {
  readonly type: 'unknown';
  /** 3.x: the message's name, e.g. `apipb.OpaqueNLRI`. 4.x: the number of the member of the oneof, e.g. `15`. Empty: nothing came. */
  readonly tag: string;
  /** The message, encoded. */
  readonly bytes: Uint8Array;
}

type InOf<K> = K extends Typed<infer In, unknown> ? In : never;
type OutOf<K> = K extends Typed<unknown, infer Out> ? Out : never;

/** What may be sent: fields that may be absent are optional. */
export type Input<K extends Kind> = InOf<K>;
/** What is decoded: every field is there; a message that did not come is undefined. */
export type Output<K extends Kind> = OutOf<K>;

export type FieldNumber = number | { readonly v3?: number; readonly v4?: number };
type Count = 'required' | 'optional' | 'many' | 'lazy' | 'derived';

export interface Field<K extends Kind = Kind, C extends Count = Count> {
  readonly number: FieldNumber;
  readonly kind: K;
  readonly count: C;
  /** The release that knows the field, e.g. `3.21`: an older one would ignore it without a word, so it is not sent there. */
  readonly since?: string;
  /** What is sent where nothing is given. */
  readonly assumed?: unknown;
  /** Follows from the rest of the message: sent, and no field of ours. */
  readonly derive?: (message: never) => unknown;
  /** The members of the union are the message's own fields in 4.x, without a wrapper. */
  readonly inline?: true;
}

export type Fields = Readonly<Record<string, Field>>;

/** A list to send: it is read more than once. */
export type List<T> = readonly T[] | Lazy<T>;

type Given<F extends Fields, N extends keyof F> = F[N]['count'] extends 'derived' ? never : N;

type InputOf<F extends Fields> = {
  readonly [N in keyof F as F[N]['count'] extends 'required' ? N : never]: InOf<F[N]['kind']>;
} & {
  readonly [N in keyof F as F[N]['count'] extends 'required' ? never : Given<F, N>]?:
    | (F[N]['count'] extends 'many' | 'lazy' ? List<InOf<F[N]['kind']>> : InOf<F[N]['kind']>)
    | undefined;
};

type OutputOf<F extends Fields> = {
  readonly [N in keyof F as Given<F, N>]: F[N]['count'] extends 'many'
    ? readonly OutOf<F[N]['kind']>[]
    : F[N]['count'] extends 'lazy'
      ? Lazy<OutOf<F[N]['kind']>>
      : F[N] extends Field<Message | Union, 'optional'>
        ? OutOf<F[N]['kind']> | undefined
        : OutOf<F[N]['kind']>;
};

/** By the name of the member: its number in the oneof of 4.x, its message in 3.x, and what it holds. */
export type Members = Readonly<Record<string, readonly [v4: number, v3: string, Message]>>;

type UnionOf<M extends Members, Side extends 'in' | 'out'> =
  | {
      [N in keyof M & string]: { readonly type: N } & (Side extends 'in' ? InOf<M[N][2]> : OutOf<M[N][2]>);
    }[keyof M & string]
  | Unknown;

const scalar = <T>(tag: ScalarTag): Scalar<T> => ({ tag });

export const u8 = scalar<number>('u8');
export const u16 = scalar<number>('u16');
export const u32 = scalar<number>('u32');
/** A number: counters and times, exact to 2^53. */
export const u64 = scalar<number>('u64');
export const i32 = scalar<number>('i32');
export const i64 = scalar<number>('i64');
export const f32 = scalar<number>('f32');
export const bool = scalar<boolean>('bool');
export const text = scalar<string>('text');
/** Text that no error repeats. */
export const secret = scalar<string>('secret');
/** An address as text; empty where there is none, for which 3.x says `<nil>` and 4.x `invalid IP`. Nothing else is sent. */
export const address = scalar<string>('address');
/** Likewise, of IPv4 alone: a router's or a cluster's id. */
export const ipv4 = scalar<string>('ipv4');
/** An address with a prefix length, as text. */
export const prefix = scalar<string>('prefix');
/** Six bytes in hexadecimal, between colons. */
export const mac = scalar<string>('mac');
/** Decode copies. */
export const bytes = scalar<Uint8Array>('bytes');
export const sized = (...lengths: readonly number[]): Scalar<Uint8Array> => ({ tag: 'bytes', lengths });
/** Milliseconds since the epoch; 0 where there is none. */
export const timestamp = scalar<number>('timestamp');

/** Names whose numbers are the same in both dialects. */
export const fixed = <const N extends Record<string, number>>(numbers: N): Enumeration<keyof N & string> => ({
  tag: 'enum',
  numbers,
  shifted: false,
});

/** Names that count from 0 in 3.x and from 1 in 4.x. */
export const shifted = <const N extends readonly string[]>(
  ...names: N
): Enumeration<N[number] | 'unspecified'> => ({
  tag: 'enum',
  numbers: Object.fromEntries(names.map((name, number) => [name, number])),
  shifted: true,
});

/** A field that has to be given. One that did not come is decoded as its zero. */
export const required = <K extends Kind>(number: FieldNumber, kind: K): Field<K, 'required'> => ({
  number,
  kind,
  count: 'required',
});

export const optional = <K extends Kind>(
  number: FieldNumber,
  kind: K,
  since?: string,
): Field<K, 'optional'> => ({ number, kind, count: 'optional', ...(since === undefined ? {} : { since }) });

/** An optional field that says `value` where nothing is given: the zero of 3.x, which 4.x takes for no answer. */
export const assumed = <K extends Kind>(
  number: FieldNumber,
  kind: K,
  value: InOf<K>,
): Field<K, 'optional'> => ({
  number,
  kind,
  count: 'optional',
  assumed: value,
});

export const derived = <K extends Kind>(
  number: FieldNumber,
  kind: K,
  derive: (message: never) => InOf<K>,
): Field<K, 'derived'> => ({ number, kind, count: 'derived', derive });

export const many = <K extends Kind>(number: FieldNumber, kind: K): Field<K, 'many'> => ({
  number,
  kind,
  count: 'many',
});

/** A list whose elements are decoded when they are iterated over. */
export const lazy = <K extends Message>(number: FieldNumber, kind: K): Field<K, 'lazy'> => ({
  number,
  kind,
  count: 'lazy',
});

/** A union in the one field of its message, whose wrapper 4.x leaves out. */
export const inline = <K extends Union>(v3: number, kind: K): Field<K, 'required'> => ({
  number: { v3 },
  kind,
  count: 'required',
  inline: true,
});

/** @param name for errors: GoBGP's name of the message. */
export const message = <const F extends Fields>(
  name: string,
  fields: F,
  check?: (value: InputOf<F>) => string | undefined,
): Message<InputOf<F>, OutputOf<F>> => ({
  tag: 'message',
  name,
  fields,
  ...(check === undefined ? {} : { check }),
});

export const union = <const M extends Members>(
  name: string,
  members: M,
): Union<UnionOf<M, 'in'>, UnionOf<M, 'out'>> => ({ tag: 'union', name, members });

/** The field's number in a dialect; undefined where the dialect lacks it. */
export function numberIn(number: FieldNumber, dialect: Dialect): number | undefined {
  if (typeof number === 'number') return number;
  return dialect === 3 ? number.v3 : number.v4;
}
