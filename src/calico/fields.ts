/**
 * Reads objects of the Kubernetes API, whose shape is anybody's guess: a field that is not as it should be is noted with its place
 * and treated as absent. Nothing here throws, and nothing is kept of what was not asked for.
 */
import { canonicalAddress, canonicalPrefix } from '../ip/spelling.js';

/** Faults of one object that are told; an object with more has had its say. */
const faults_max = 16;
/** Entries of one list that are read. */
export const entries_max = 4096;
/** Keys are anybody's text, too. */
const place_length_max = 200;
/** Characters of a value that a fault quotes. */
const quoted_max = 60;

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** What is wrong with one object. */
export class Faults {
  readonly #places: string[] = [];
  readonly #list: string[] = [];

  add(place: string, cause: string): void {
    this.#places.push(place);
    if (this.#list.length < faults_max) this.#list.push(`${place.slice(0, place_length_max)}: ${cause}`);
  }

  get list(): readonly string[] {
    return this.#list;
  }

  /** Whether one lies in this field or below it. */
  concern(field: string): boolean {
    return this.#places.some(
      (place) => place.startsWith(field) && /^([.[]|$)/.test(place.slice(field.length)),
    );
  }
}

const shown = (value: unknown): string => {
  const text = JSON.stringify(value) ?? 'nothing';
  return text.length > quoted_max ? `${text.slice(0, quoted_max)}…` : text;
};

/** One JSON object while it is read. */
export class Fields {
  readonly #value: Readonly<Record<string, unknown>>;
  readonly #place: string;
  readonly #faults: Faults;
  readonly #read = new Set<string>();

  /** What is no JSON object reads as an empty one; it is a fault unless it is absent. */
  constructor(value: unknown, place: string, faults: Faults) {
    this.#place = place;
    this.#faults = faults;
    if (isRecord(value)) this.#value = value;
    else {
      this.#value = {};
      if (value !== undefined && value !== null) faults.add(place, `${shown(value)} is not an object`);
    }
  }

  /** A field as it came. Null and an empty text are how Go writes what is absent. */
  raw(name: string): unknown {
    this.#read.add(name);
    const value = this.#value[name];
    return value === null || value === '' ? undefined : value;
  }

  fault(name: string, cause: string): undefined {
    this.#faults.add(this.#placeOf(name), cause);
    return undefined;
  }

  /** The field if `parse` makes something of it. `expected` says what it should have been. */
  read<T>(name: string, expected: string, parse: (value: unknown) => T | undefined): T | undefined {
    const value = this.raw(name);
    if (value === undefined) return undefined;
    return parse(value) ?? this.fault(name, `${shown(value)} is not ${expected}`);
  }

  text(name: string): string | undefined {
    return this.read(name, 'a text', (value) => (typeof value === 'string' ? value : undefined));
  }

  flag(name: string): boolean | undefined {
    return this.read(name, 'true or false', (value) => (typeof value === 'boolean' ? value : undefined));
  }

  whole(name: string, min: number, max: number): number | undefined {
    return this.read(name, `a whole number from ${min} to ${max}`, (value) =>
      Number.isInteger(value) && (value as number) >= min && (value as number) <= max
        ? (value as number)
        : undefined,
    );
  }

  /** One of the words, in any letter case as Calico compares some of them; the spelling of `words` is given back. */
  word<W extends string>(name: string, words: readonly W[]): W | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    const found = words.find((word) => word.toLowerCase() === text.toLowerCase());
    return found ?? this.fault(name, `${shown(text)} is not one of ${words.join(', ')}`);
  }

  /** A prefix in canonical spelling; a bare address has its full length. */
  prefix(name: string): string | undefined {
    return this.#spelled(name, 'a prefix such as 10.0.0.0/16', canonicalPrefix);
  }

  address(name: string): string | undefined {
    return this.#spelled(name, 'an IP address', canonicalAddress);
  }

  /** A duration in Go's syntax, as the API server writes it: `2m0s`, in milliseconds. */
  duration_ms(name: string, max_ms: number): number | undefined {
    return this.read(name, `a duration up to ${max_ms / 1000} s, such as 90s`, (value) => {
      const ms = typeof value === 'string' ? goDuration_ms(value) : undefined;
      return ms !== undefined && ms <= max_ms ? ms : undefined;
    });
  }

  /** An object inside this one; its own places are told with this one's. */
  object(name: string): Fields {
    return new Fields(this.raw(name), this.#placeOf(name), this.#faults);
  }

  /** The entries of a list, those left out for which `parse` gives nothing (it notes why itself). */
  list<T>(name: string, parse: (entry: Fields) => T | undefined): readonly T[] {
    const place = this.#placeOf(name);
    const list = this.#entries(name).flatMap((value, index) => {
      const here = `${place}[${index}]`;
      return listed(parse(new Fields(value, here, this.#faults)));
    });
    return kept(list);
  }

  /** The entries of a list of plain values. */
  plain<T>(name: string, expected: string, parse: (value: unknown) => T | undefined): readonly T[] {
    const list = this.#entries(name).flatMap((value, index) => {
      const parsed = parse(value);
      if (parsed === undefined) this.fault(`${name}[${index}]`, `${shown(value)} is not ${expected}`);
      return listed(parsed);
    });
    return kept(list);
  }

  /** Texts by name, as labels are. */
  texts(name: string): Readonly<Record<string, string>> {
    const value = this.read(name, 'an object of texts', (each) => (isRecord(each) ? each : undefined)) ?? {};
    return Object.fromEntries(
      Object.entries(value)
        .slice(0, entries_max)
        .filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
    );
  }

  /** Fields with a value that nobody has asked for, by name: what this program does not know. */
  unread(): readonly string[] {
    return Object.keys(this.#value)
      .filter((name) => !this.#read.has(name) && (this.#value[name] ?? undefined) !== undefined)
      .slice(0, faults_max)
      .map((name) => this.#placeOf(name).slice(0, place_length_max));
  }

  #entries(name: string): readonly unknown[] {
    const value = this.read(name, 'a list', (each) =>
      Array.isArray(each) ? (each as unknown[]) : undefined,
    );
    if (value === undefined || value.length <= entries_max) return value ?? [];
    this.fault(name, `has ${value.length} entries: only the first ${entries_max} are read`);
    return value.slice(0, entries_max);
  }

  #spelled(name: string, expected: string, canonical: (text: string) => string | undefined) {
    return this.read(name, expected, (value) =>
      typeof value === 'string' ? canonical(value.trim()) : undefined,
    );
  }

  #placeOf(name: string): string {
    return [this.#place, name].filter((part) => part !== '').join('.');
  }
}

/** For flatMap, which would take a value that is a list itself apart. */
const listed = <T>(value: T | undefined): readonly T[] => (value === undefined ? [] : [value]);

const no_entries: readonly never[] = [];

/**
 * A list as it is kept, of twenty thousand objects: V8 leaves room for sixteen more behind one that has grown (184 bytes with one entry, 56 of the
 * copy), and most have none or one.
 */
const kept = <T>(list: readonly T[]): readonly T[] => (list.length === 0 ? no_entries : list.slice());

const unit_ms: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

function goDuration_ms(text: string): number | undefined {
  if (text === '0') return 0;
  if (!/^(\d+(\.\d+)?(ms|s|m|h))+$/.test(text)) return undefined;
  let total_ms = 0;
  for (const [, number, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g))
    total_ms += Number(number) * unit_ms[unit!]!;
  return total_ms;
}
