/** What /debug/sync has of BGP. Bounded: it is made with every snapshot, and what is wrong is to be seen with a thousand peers too. Pure. */
import { type ActualPeer, prefixes_max } from './peer-state.js';
import type { WantedPeer } from './peers.js';

const peers_max = 200;
const objects_max = 50;
const lines_max = 8;
const line_length_max = 200;

export interface PeerReport {
  readonly address: string;
  readonly as_number: number;
  readonly state: string;
  readonly received: number;
  /** The object by which it is. */
  readonly by?: string;
}

/** Those without a session first. Wanted ones that gobgpd does not have are among them. */
export function peersReport(
  wanted: ReadonlyMap<string, WantedPeer>,
  actual: ReadonlyMap<string, ActualPeer>,
): { readonly peers: readonly PeerReport[]; readonly peers_unshown?: number } {
  const all: PeerReport[] = [...wanted.values()].map(({ address, as_number, by, pending }) => {
    const has = actual.get(address);
    const state = has?.session ?? (pending === true ? 'waits for its password' : 'not made');
    return { address, as_number, state, received: has?.received ?? 0, by };
  });
  for (const [address, { as_number, session, received }] of actual)
    if (!wanted.has(address)) all.push({ address, as_number, state: session, received });
  const is_up = ({ state }: PeerReport): number => (state === 'established' ? 1 : 0);
  const shown = all.sort((a, b) => is_up(a) - is_up(b)).slice(0, peers_max);
  return { peers: shown, ...(all.length > shown.length && { peers_unshown: all.length - shown.length }) };
}

/** By object, what is wrong with it: the first lines of the first objects. */
export function objectsReport(lines: Iterable<readonly [string, string]>): {
  readonly objects: Readonly<Record<string, readonly string[]>>;
  readonly objects_unshown?: number;
} {
  const all = new Map<string, string[]>();
  const unshown = new Set<string>();
  for (const [object, line] of lines) {
    const known = all.get(object);
    if (known === undefined && all.size === objects_max) unshown.add(object);
    else if (known === undefined) all.set(object, [line.slice(0, line_length_max)]);
    else if (known.length < lines_max) known.push(line.slice(0, line_length_max));
  }
  const objects = Object.fromEntries(
    [...all].map(([object, known]) => [object.slice(0, line_length_max), known]),
  );
  return { objects, ...(unshown.size > 0 && { objects_unshown: unshown.size }) };
}

export function waitsForNode(name: string, wait_ms: number): readonly [object: string, line: string] {
  return [
    `Node ${name}`,
    `is not there, and its AS and labels are not known: BGP waits for it ${wait_ms / 1000} s, then begins without`,
  ];
}

export function limitedText(address: string, pause_ms: number): string {
  return `${address}: has told more than ${prefixes_max} prefixes and has no session for ${Math.round(pause_ms / 60_000)} min: have it tell less`;
}

export const ip4_alone: readonly [object: string, line: string] = [
  'BGPConfiguration default',
  'spec.bindMode: the IPv6 addresses cannot be listened on: peers open no session to them; tried again',
];
