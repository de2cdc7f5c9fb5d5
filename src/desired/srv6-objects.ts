/**
 * What VPP has for SRv6 whatever nodes there are: tables, this node's own SIDs, and the interface by which packets come in that were sent to these. Pure.
 *
 *   sent to a SID ──▶ unwrapped ──▶ table `received` ──▶ loopback ──▶ comes in by it: services, policies ──▶ default table
 *
 * Without that interface nothing would look at what was unwrapped: an answer to a service would not be translated back (docs/vpp-notes.md).
 */

import type { Family } from '../ip/text.js';
import { srv6_tag } from '../objects/interfaces.js';
import { keyOf, type VppObject } from '../objects/object.js';
import type { Outlook } from './remote-route.js';
import type { Sink } from './sink.js';
import { allOf, srv6_received_table, srv6_table, table } from './tables.js';

const families: readonly Family[] = [4, 6];
const mac = '02:ca:11:c0:5e:06';
/** Nobody has them: what is sent to them comes back. */
const neighbours: Readonly<Record<Family, string>> = { 4: '169.254.0.6', 6: 'fe80::ca:11ff:fec0:5e07' };

/** None where SRv6 is not done. */
export function srv6Objects({ own, settings }: Outlook): readonly VppObject[] {
  const { srv6, policed } = settings;
  if (srv6 === undefined || own.node.ip6 === undefined) return [];
  const on = { interface: srv6_tag };
  return [
    ...families.flatMap((family) => [
      table(family, srv6_table, `srv6-steered-ip${family}`, false),
      table(family, srv6_received_table, `srv6-received-ip${family}`, false),
    ]),
    { kind: 'loopback', tag: srv6_tag, mac },
    { kind: 'unnumbered', ...on, of: own.main_uplink },
    { kind: 'interface_flag', ...on, flag: 'cnat_feature' },
    ...(policed ? [{ kind: 'default_verdict', ...on, verdict: 'allow' } as const] : []),
    { kind: 'interface_flag', ...on, flag: 'admin_up' },
    ...families.flatMap((family): VppObject[] => {
      const next_hop = neighbours[family];
      return [
        { kind: 'neighbour', ...on, address: next_hop, mac },
        ...allOf(family).map(
          (prefix): VppObject => ({
            kind: 'route',
            source: 'connectivity',
            table_id: srv6_received_table,
            prefix,
            paths: [{ via: 'interface', ...on, next_hop }],
          }),
        ),
      ];
    }),
    ...srv6.own.sids.map(
      ({ sid, behavior }): VppObject => ({
        kind: 'srv6_local_sid',
        sid,
        behavior,
        table_id: srv6_received_table,
      }),
    ),
  ];
}

/** The same, kept in place. Once there, all but a SID stays: others may send to it, and VPP's SIDs do not keep their tables. */
export class OwnSegments {
  readonly #wanted = new Map<string, VppObject>();
  #planned: Outlook | undefined;

  plan(outlook: Outlook, sink: Sink): void {
    if (outlook === this.#planned) return;
    this.#planned = outlook;
    const now = new Map(srv6Objects(outlook).map((object) => [keyOf(object), object]));
    for (const [key, object] of now) {
      this.#wanted.set(key, object);
      sink.want(object);
    }
    for (const [key, object] of this.#wanted)
      if (object.kind === 'srv6_local_sid' && !now.has(key)) {
        this.#wanted.delete(key);
        sink.unwant(object);
      }
  }
}
