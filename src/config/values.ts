import { isIP } from 'node:net';
import { BadValue } from './problem.js';

/** Parsers of single values in the syntax that the Go implementation accepts. Each throws BadValue. */
export interface Parse<T> {
  (text: string, warn: (text: string) => void): T;
  /** What the manual calls what it takes. */
  readonly type?: string;
}

/** Names it for the manual. */
export function typed<T>(type: string, parse: Parse<T>): Parse<T> {
  return Object.assign((value: string, warn: (text: string) => void) => parse(value, warn), { type });
}

const quoted = (text: string): string => JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);

export const text: Parse<string> = typed('text', (value) => value);

export const absolute_path: Parse<string> = typed('path', (value) => {
  if (!value.startsWith('/'))
    throw new BadValue({ cause: `${quoted(value)} is not an absolute path`, step: 'start it with /' });
  return value.length > 1 ? value.replace(/\/+$/, '') : value;
});

const booleans: ReadonlyMap<string, boolean> = new Map([
  ...['1', 't', 'T', 'TRUE', 'true', 'True'].map((word) => [word, true] as const),
  ...['0', 'f', 'F', 'FALSE', 'false', 'False'].map((word) => [word, false] as const),
]);

export const boolean: Parse<boolean> = typed('boolean', (value) => {
  const parsed = booleans.get(value);
  if (parsed === undefined)
    throw new BadValue({ cause: `${quoted(value)} is neither true nor false`, step: 'use true or false' });
  return parsed;
});

export function whole_number(min: number, max: number): Parse<number> {
  return typed(`${min} to ${max}`, (value) => {
    const parsed = /^\d+$/.test(value) ? Number(value) : Number.NaN;
    if (!(parsed >= min && parsed <= max)) {
      throw new BadValue({
        cause: `${quoted(value)} is not a whole number from ${min} to ${max}`,
        step: `use a whole number from ${min} to ${max}`,
      });
    }
    return parsed;
  });
}

/** Maps the words, in any letter case, to values. */
export function one_of<T extends string | number>(words: Readonly<Record<string, T>>): Parse<T> {
  const type = [...new Set(Object.values(words))].map((word) => `\`${word}\``).join(' ');
  return typed(type, (value) => {
    const parsed = new Map(Object.entries(words)).get(value.trim().toLowerCase());
    if (parsed === undefined) {
      throw new BadValue({
        cause: `${quoted(value)} is not one of the words it takes`,
        step: `use one of ${Object.keys(words).join(', ')}`,
      });
    }
    return parsed;
  });
}

const unit_ms: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3, // U+00B5
  μs: 1e-3, // U+03BC
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

/** Go's duration syntax, e.g. `1m30s`, to milliseconds. Not negative. */
export const duration_ms: Parse<number> = typed('duration', (value) => {
  const bad = (): never => {
    throw new BadValue({
      cause: `${quoted(value)} is not a duration`,
      step: 'use a number with a unit, e.g. 500ms, 10s or 1m30s',
    });
  };
  if (value === '0') return 0;
  let total_ms = 0;
  let at = 0;
  for (const part of value.matchAll(/(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)/gy)) {
    total_ms += Number(part[1]) * unit_ms[part[2]!]!;
    at = part.index + part[0].length;
  }
  // setTimeout takes no more than 2^31 - 1 ms (25 days).
  if (at === 0 || at !== value.length || total_ms >= 2 ** 31) bad();
  return total_ms;
});

/** An address with its prefix length, e.g. `10.96.0.0/12`. Host bits are kept. */
export const prefix: Parse<string> = typed('prefix', (value) => {
  const [address = '', length = '', ...rest] = value.trim().split('/');
  const bits = address.includes('%') ? 0 : { 4: 32, 6: 128 }[isIP(address)];
  if (!bits || rest.length > 0 || !/^(0|[1-9]\d{0,2})$/.test(length) || Number(length) > bits) {
    throw new BadValue({
      cause: `${quoted(value)} is not an address with a prefix length`,
      step: 'write it like 10.96.0.0/12 or fd00::/64',
    });
  }
  return `${address.toLowerCase()}/${length}`;
});

/** An IPv4 or IPv6 address without a zone. */
export const ip_address: Parse<string> = typed('address', (value) => {
  const trimmed = value.trim();
  if (trimmed.includes('%') || isIP(trimmed) === 0) {
    throw new BadValue({
      cause: `${quoted(value)} is not an IP address`,
      step: 'write it like 192.168.0.1 or fd00::1',
    });
  }
  return trimmed.toLowerCase();
});

/** A name below the directory of named network namespaces, as "ip netns" takes it. */
export const netns_name: Parse<string> = typed('text', (value) => {
  if (!/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$/.test(value)) {
    throw new BadValue({
      cause: `${quoted(value)} is no name for a network namespace`,
      step: 'use letters, digits, "_", "." and "-", at most 64',
    });
  }
  return value;
});

/** Comma separated; blanks around and empty places between are ignored. All faults are reported, not only the first. */
export function list<T>(item: Parse<T>): Parse<readonly T[]> {
  return typed(item.type === undefined ? 'values' : `${item.type}es`, (value, warn) => {
    const faults = [];
    const parsed: T[] = [];
    for (const piece of value.split(',').filter((each) => each.trim() !== '')) {
      try {
        parsed.push(item(piece.trim(), warn));
      } catch (error) {
        if (!(error instanceof BadValue)) throw error;
        faults.push(...error.faults);
      }
    }
    if (faults.length > 0) throw new BadValue(...faults);
    return parsed;
  });
}

/** Where a server listens, in Go's `host:port` syntax. Without host: on every address. */
export interface ListenAddress {
  readonly host?: string;
  readonly port: number;
}

export const listen_address: Parse<ListenAddress> = typed('host:port', (value) => {
  const match = /^(?:\[([^\]]*)\]|([^:]*)):(\d{1,5})$/.exec(value.trim());
  const port = Number(match?.[3] ?? Number.NaN);
  if (!(port <= 65535))
    throw new BadValue({
      cause: `${quoted(value)} is not host:port`,
      step: 'write it like :8888 or [::1]:8888',
    });
  const host = match?.[1] || match?.[2];
  return host ? { host, port } : { port };
});
