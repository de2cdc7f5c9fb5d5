/** A pod's memif: shared memory between VPP and a program in the pod, and which ports of the pod's addresses lead to it. */
import { canonicalAddress } from '../ip/spelling.js';
import { isPodInterfaceTag } from '../pod/names.js';
import type { PortRange } from '../pod/spec.js';
import { dangling_prefix, type InterfaceTag } from './interfaces.js';
import { always, type Kinds, remove } from './kind.js';
import type { Ownership } from './owner.js';

/** VPP listens, the program connects: how many queues there are, and how long their rings, is for the program to say. */
export interface Memif {
  readonly kind: 'memif';
  readonly tag: InterfaceTag;
  /** Path of the network namespace that the socket is in. */
  readonly netns: string;
  /** That of the pod's device beside it: part of the socket's name, or all of it. */
  readonly interface_name: string;
  /** The socket has the name of the interface. */
  readonly alone?: true;
  /** `ip`: packets without Ethernet. */
  readonly mode: 'ip' | 'ethernet';
  /** Of VPP's side, for `ethernet`. */
  readonly mac?: string;
}

/** Packets to these ports of an address leave by the memif, all others as the table says (VPP's plugin `pbl`). There is one for an address. */
export interface PblClient {
  readonly kind: 'pbl_client';
  readonly address: string;
  /** The table that has the address's route; undefined: as VPP shows it, which does not tell. */
  readonly table_id?: number;
  readonly interface: InterfaceTag;
  /** Neighbours are asked for by it; absent: there is no Ethernet. */
  readonly next_hop?: string;
  /** Sorted, without overlap. */
  readonly ports: readonly PortRange[];
}

export type MemifObject = Memif | PblClient;

type Place = Pick<Memif, 'netns' | 'interface_name' | 'alone'>;

/** In VPP's spelling of an abstract socket in a namespace, by the names that the Go implementation gives them. At most 107 bytes. */
export function memifSocket({ netns, interface_name, alone }: Place): string {
  return `abstract:${alone ? '' : beside}${interface_name},netns_name=${netns}`;
}

const beside = 'vpp/memif-';

/** Where a socket is that VPP has by this name; undefined: it is none of a pod's. */
export function memifSocketPlace(name: string): Place | undefined {
  const [, prefix, interface_name, netns] =
    /^abstract:(vpp\/memif-)?([^,/]+),netns_name=(\/[^,]+)$/.exec(name) ?? [];
  if (netns === undefined || interface_name === undefined) return undefined;
  return { netns, interface_name, ...(prefix === undefined && { alone: true }) };
}

/** Without a tag, by its socket alone, it was not completed: what it is nobody wants. */
function ownerOfMemif({ tag, netns, interface_name }: Memif): Ownership {
  if (tag.startsWith(dangling_prefix)) return 'pods';
  return isPodInterfaceTag(tag, netns, interface_name, 'memif') ? 'pods' : 'foreign';
}

const rank = ({ protocol, first }: PortRange): number => (protocol === 'tcp' ? 0 : 1 << 16) + first;

/** As VPP keeps them: in order, and what touches is one. */
export function joinedPorts(ports: readonly PortRange[]): readonly PortRange[] {
  const joined: PortRange[] = [];
  for (const range of [...ports].sort((one, other) => rank(one) - rank(other))) {
    const before = joined.at(-1);
    if (before?.protocol === range.protocol && range.first <= before.last + 1) {
      joined[joined.length - 1] = { ...before, last: Math.max(before.last, range.last) };
    } else joined.push(range);
  }
  return joined;
}

const portsText = (ports: readonly PortRange[]): string =>
  ports.map(({ protocol, first, last }) => `${protocol} ${first}-${last}`).join(',');

export const memif_kinds: Kinds<MemifObject> = {
  memif: {
    key: (o) => o.tag,
    is: (o) => o.tag,
    owner: { by: 'name', of: ownerOfMemif },
    same: (wanted, there) =>
      wanted.netns === there.netns &&
      wanted.interface_name === there.interface_name &&
      wanted.alone === there.alone &&
      wanted.mode === there.mode &&
      (wanted.mode === 'ip' || wanted.mac === there.mac),
    add: 22,
    remove: remove.interface,
    change: 'remove_first',
  },
  // Behind the route that it parts from. It goes first of all: VPP takes no notice of a change, and does not find the next memif that has the index of
  // one which went before it. VPP shows its ports, and where they lead while a program is connected.
  pbl_client: {
    key: (o) => o.address,
    canonical: (o) => {
      const address = canonicalAddress(o.address) ?? o.address;
      const ports = joinedPorts(o.ports);
      const is_same = address === o.address && portsText(ports) === portsText(o.ports);
      return is_same ? o : { ...o, address, ports };
    },
    on: (o) => [o.interface],
    owner: { by: 'kind', owner: 'pods' },
    same: (wanted, there) =>
      wanted.interface === there.interface && portsText(wanted.ports) === portsText(there.ports),
    add: 71,
    remove: remove.through - 1,
    change: 'remove_first',
    in_part: { hides: always, part: (o) => o },
  },
};
