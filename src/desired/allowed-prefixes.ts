/** Many prefixes by few: those that VPP has room for. Pure. */
import { type Bits, bitsOf, firstBits, holds } from '../ip/bits.js';
import { canonicalPrefix } from '../ip/spelling.js';

export interface Allowed {
  /** Canonical, sorted; `max` at most. */
  readonly prefixes: readonly string[];
  /** Of these, as many hold addresses that are in none of the given ones. */
  readonly wider: number;
}

interface Net extends Bits {
  readonly prefix: string;
  readonly is_wider: boolean;
}

/**
 * The same addresses by as few prefixes as there can be. Where these are more than `max` the longest are made shorter, a bit at a time, and hold what is
 * beside them, too; `kept_out`: none may come to hold one of these. Undefined: so they do not become few enough.
 */
export function allowedPrefixes(
  texts: Iterable<string>,
  max: number,
  kept_out: readonly Bits[] = [],
): Allowed | undefined {
  let nets = joined([...new Set(texts)].map((prefix) => ({ prefix, ...bitsOf(prefix), is_wider: false })));
  // Each round has one bit less: of IPv6 there are 128.
  for (let host_bits = 0; nets.length > max; host_bits += 1) {
    if (host_bits === host_bits_max) return undefined;
    nets = joined(nets.map((net) => (hostBits(net) === host_bits ? widened(net, kept_out) : net)));
  }
  return {
    prefixes: nets.map(({ prefix }) => prefix).sort(),
    wider: nets.filter(({ is_wider }) => is_wider).length,
  };
}

const host_bits_max = 128;
const hostBits = ({ bytes, length }: Bits): number => 8 * bytes.length - length;

function widened(net: Net, kept_out: readonly Bits[]): Net {
  if (net.length <= 1) return net;
  const wider = around(net, net.length - 1, true);
  return kept_out.some((address) => holds(wider, address)) ? net : wider;
}

/** Sorted by address, the shorter first; none is within another, nor two halves of one. */
function joined(nets: readonly Net[]): Net[] {
  const left: Net[] = [];
  for (const net of [...nets].sort(byAddress)) {
    const last = left.at(-1);
    if (last !== undefined && holds(last, net)) continue;
    left.push(net);
    for (let whole = wholeOf(left); whole !== undefined; whole = wholeOf(left)) left.splice(-2, 2, whole);
  }
  return left;
}

function byAddress(one: Net, other: Net): number {
  if (one.bytes.length !== other.bytes.length) return one.bytes.length - other.bytes.length;
  if (one.bytes !== other.bytes) return one.bytes < other.bytes ? -1 : 1;
  return one.length - other.length;
}

/** What the last two are the halves of. */
function wholeOf(nets: readonly Net[]): Net | undefined {
  const [low, high] = nets.slice(-2);
  if (low === undefined || high === undefined || low.length !== high.length || low.length === 0)
    return undefined;
  if (low.bytes.length !== high.bytes.length) return undefined;
  const length = low.length - 1;
  // Most are not: only where they are is the prefix made.
  if (firstBits(low.bytes, length) !== firstBits(high.bytes, length)) return undefined;
  return around(low, length, low.is_wider || high.is_wider);
}

function around({ prefix }: Net, length: number, is_wider: boolean): Net {
  const wider = canonicalPrefix(`${prefix.slice(0, prefix.indexOf('/'))}/${length}`)!;
  return { prefix: wider, ...bitsOf(wider), is_wider };
}
