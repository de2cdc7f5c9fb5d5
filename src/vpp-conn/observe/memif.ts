/** Pods' memifs and what leads to them, back from VPP. */
import { memif_dump, memif_socket_filename_dump } from 'vpp-binapi-ts/memif';
import { cli_inband } from 'vpp-binapi-ts/vlib';
import { familyOf } from '../../ip/text.js';
import type { InterfaceTag } from '../../objects/interfaces.js';
import { type Memif, memifSocketPlace, type PblClient } from '../../objects/memif.js';
import type { Route } from '../../objects/routing.js';
import type { PortRange } from '../../pod/spec.js';
import type { Handles } from '../handles.js';
import { danglingTag, no_interface } from '../paths.js';
import type { Registry } from '../registry.js';
import type { Reader } from './reader.js';

/** A memif without its tag, and what is known of its socket. */
export interface ObservedMemif {
  readonly socket_id: number;
  readonly memif: Omit<Memif, 'tag'>;
}

/** Those whose socket is named as a pod's, by sw_if_index. */
export async function observeMemifs(
  reader: Reader,
  handles: Handles,
): Promise<ReadonlyMap<number, ObservedMemif>> {
  const [sockets, memifs] = await Promise.all([
    reader.dump(memif_socket_filename_dump, {}),
    reader.dump(memif_dump, {}),
  ]);
  const names = new Map(sockets.map(({ socket_id, socket_filename }) => [socket_id, socket_filename]));
  for (const socket_id of names.keys()) handles.memif_sockets.knows(socket_id);
  return new Map(
    memifs.flatMap(({ sw_if_index, socket_id, role, mode, hw_addr }): [number, ObservedMemif][] => {
      const place = memifSocketPlace(names.get(socket_id) ?? '');
      if (place === undefined || role !== 'MEMIF_ROLE_API_MASTER') return [];
      const memif: Omit<Memif, 'tag'> =
        mode === 'MEMIF_MODE_API_IP'
          ? { kind: 'memif', ...place, mode: 'ip' }
          : { kind: 'memif', ...place, mode: 'ethernet', mac: hw_addr };
      return [[sw_if_index, { socket_id, memif }]];
    }),
  );
}

export interface ObservedPbl {
  /** With VPP's numbers of them. */
  readonly clients: readonly (readonly [PblClient, number])[];
  /** Those that they part from: no dump shows a route to which a client has been put. */
  readonly routes: readonly Route[];
}

/**
 * Without a program at the memif VPP shows no way to it, and a client's table never: the registry has both. `tagOf`: of an interface by VPP's name
 * of it.
 */
export async function observePbl(
  reader: Reader,
  registry: Pick<Registry, 'partOf'>,
  tagOf: (name: string) => InterfaceTag | undefined,
): Promise<ObservedPbl> {
  // The dump has neither ports nor paths, and its answers carry nobody's context.
  const text = (await reader.ask(cli_inband, { cmd: 'show pbl client' }))?.reply ?? '';
  const clients: (readonly [PblClient, number])[] = [];
  const routes: Route[] = [];
  for (const { id, address, ports, by, otherwise } of pblClientsIn(text)) {
    const shown: PblClient = { kind: 'pbl_client', address, interface: danglingTag(no_interface), ports };
    const known = registry.partOf(shown)?.object;
    const told = known?.kind === 'pbl_client' ? { ...known, ports } : shown;
    const tag = by === undefined ? told.interface : (tagOf(by) ?? shown.interface);
    clients.push([{ ...told, interface: tag }, id]);
    const device = otherwise === undefined ? undefined : tagOf(otherwise);
    if (told.table_id === undefined || device === undefined) continue;
    routes.push({
      kind: 'route',
      source: 'pods',
      table_id: told.table_id,
      prefix: `${address}/${familyOf(address) === 4 ? 32 : 128}`,
      paths: [{ via: 'interface', interface: device, next_hop: address }],
    });
  }
  return { clients, routes };
}

interface ShownClient {
  readonly id: number;
  readonly address: string;
  readonly ports: readonly PortRange[];
  /** VPP's name of the interface that these ports lead to; undefined: they are dropped. */
  readonly by?: string;
  /** Of that which all others lead to. */
  readonly otherwise?: string;
}

/**
 * Clients in the text of `show pbl client`. What forwards is a copy of a client, with a number out of the same pool, and shows what that has.
 *
 *     [0] pbl-client: 10.44.0.1 clone:1
 *     [1] pbl-client: 10.44.0.1
 *       TCP ports: 4444-20000
 *       UDP ports: 53
 *       matched dpo
 *         [@2]: ipv4 via 0.0.0.0 memif1048577/0: mtu:9216 next:8 flags:[features ]
 *       default dpo
 *         [@2]: ipv4 via 0.0.0.0 tun1: mtu:9216 next:7 flags:[features ]
 */
export function pblClientsIn(text: string): readonly ShownClient[] {
  const blocks = new Map<number, { readonly head: RegExpExecArray; readonly lines: string[] }>();
  let lines: string[] = [];
  for (const line of text.split('\n')) {
    const head = /^\[(\d+)\] pbl-client: (\S+)(?: exclusive)?(?: clone:(\d+))?\s*$/.exec(line);
    if (head === null) {
      lines.push(line);
      continue;
    }
    lines = [];
    blocks.set(Number(head[1]), { head, lines });
  }
  const copies = new Set(
    [...blocks.values()].flatMap(({ head }) => (head[3] === undefined ? [] : Number(head[3]))),
  );
  return [...blocks].flatMap(([id, { head, lines: own }]): ShownClient[] => {
    if (copies.has(id)) return [];
    const shown = head[3] === undefined ? own : (blocks.get(Number(head[3]))?.lines ?? []);
    const matched = shown.findIndex((line) => line.trim() === 'matched dpo');
    const otherwise = shown.findIndex((line) => line.trim() === 'default dpo');
    return [
      {
        id,
        address: head[2]!,
        ports: [...portsIn(shown, 'tcp'), ...portsIn(shown, 'udp')],
        ...(matched >= 0 && wayOf('by', shown.slice(matched, otherwise < 0 ? undefined : otherwise))),
        ...(otherwise >= 0 && wayOf('otherwise', shown.slice(otherwise))),
      },
    ];
  });
}

/** `ipv4 via 0.0.0.0 memif1048577/0: mtu:9216 next:8` */
function wayOf<As extends string>(as: As, lines: readonly string[]): { [_ in As]?: string } {
  const name = /(\S+): mtu:\d/.exec(lines.join('\n'))?.[1];
  return name === undefined ? {} : ({ [as]: name } as { [_ in As]?: string });
}

function portsIn(lines: readonly string[], protocol: PortRange['protocol']): PortRange[] {
  const start = `${protocol.toUpperCase()} ports:`;
  const line = lines.find((each) => each.trim().startsWith(start));
  return [...(line ?? '').slice((line ?? '').indexOf(':') + 1).matchAll(/(\d+)(?:-(\d+))?/g)].map(
    ([, first, last]) => ({ protocol, first: Number(first), last: Number(last ?? first) }),
  );
}
