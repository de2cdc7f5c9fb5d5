/** Pods' memifs and what leads to them, back from VPP. */
import { memif_dump, memif_socket_filename_dump } from 'vpp-binapi-ts/memif';
import { cli_inband } from 'vpp-binapi-ts/vlib';
import type { InterfaceTag } from '../../objects/interfaces.js';
import { type Memif, memifSocketPlace, type PblClient } from '../../objects/memif.js';
import type { PortRange } from '../../pod/spec.js';
import type { Handles } from '../handles.js';
import { danglingTag, no_interface } from '../paths.js';
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
  for (const socket_id of names.keys()) handles.knowsMemifSocket(socket_id);
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

/** With VPP's numbers of them. `tagOf`: of an interface by VPP's name of it. */
export async function observePblClients(
  reader: Reader,
  tagOf: (name: string) => InterfaceTag | undefined,
): Promise<readonly (readonly [PblClient, number])[]> {
  // The dump has neither ports nor paths, and its answers carry nobody's context.
  const shown = await reader.ask(cli_inband, { cmd: 'show pbl client' });
  return pblClientsIn(shown?.reply ?? '').map(({ id, address, ports, by }) => {
    const tag = (by === undefined ? undefined : tagOf(by)) ?? danglingTag(no_interface);
    return [{ kind: 'pbl_client', address, interface: tag, ports }, id];
  });
}

interface ShownClient {
  readonly id: number;
  readonly address: string;
  readonly ports: readonly PortRange[];
  /** VPP's name of the interface that these ports lead to; undefined: they are dropped. */
  readonly by?: string;
}

/**
 * Clients in the text of `show pbl client`. What forwards is a copy of a client, with a number out of the same pool, and shows what that has.
 *
 *     [0] pbl-client: 10.44.0.1 clone:1
 *     [1] pbl-client: 10.44.0.1
 *       TCP ports: 4444-20000
 *       UDP ports: 53
 *       matched dpo
 *         …ipv4 via 10.44.0.1 memif1048577/0: mtu:9216…
 *       default dpo
 *         …
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
  const copies = new Set([...blocks.values()].flatMap(({ head }) => (head[3] === undefined ? [] : Number(head[3]))));
  return [...blocks].flatMap(([id, { head, lines: own }]): ShownClient[] => {
    if (copies.has(id)) return [];
    const shown = head[3] === undefined ? own : (blocks.get(Number(head[3]))?.lines ?? []);
    const matched = shown.findIndex((line) => line.trim() === 'matched dpo');
    const otherwise = shown.findIndex((line) => line.trim() === 'default dpo');
    const way = matched < 0 ? [] : shown.slice(matched, otherwise < 0 ? undefined : otherwise);
    const by = /\b(memif\d+\/\d+)\b/.exec(way.join('\n'))?.[1];
    const ports = [...portsIn(shown, 'tcp'), ...portsIn(shown, 'udp')];
    return [{ id, address: head[2]!, ports, ...(by !== undefined && { by }) }];
  });
}

function portsIn(lines: readonly string[], protocol: PortRange['protocol']): PortRange[] {
  const start = `${protocol.toUpperCase()} ports:`;
  const line = lines.find((each) => each.trim().startsWith(start));
  return [...(line ?? '').slice((line ?? '').indexOf(':') + 1).matchAll(/(\d+)(?:-(\d+))?/g)].map(
    ([, first, last]) => ({ protocol, first: Number(first), last: Number(last ?? first) }),
  );
}
