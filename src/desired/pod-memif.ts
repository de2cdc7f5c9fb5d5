/**
 * What VPP holds for a pod's memif. Pure.
 *
 *   default table: pod/32 → pod table
 *   pod table:     pod/32 → tun, and for some ports → memif
 *   pod table:     0/0 → pods table                     packets of the pod, by either
 *
 * One that is the pod's way into a network beside the default one is alone: that network's table leads to it, and what the device is sent nobody answers.
 *
 * A packet is judged by policies where it leaves VPP, so that both have them. uRPF finds no way back
 * to either in the default table, and none to the memif in the pod's: both look up a table of sources.
 */
import { type Family, familyOf } from '../ip/text.js';
import type { InterfaceTag } from '../objects/interfaces.js';
import type { VppObject } from '../objects/object.js';
import { podInterfaceTag } from '../pod/names.js';
import { addressesOf, familiesOf, type PodMemif, type PodSpec } from '../pod/spec.js';
import { vclRoutesTo } from './pod-vcl.js';
import { hostPrefix, type PodTableIds } from './tables.js';

/** The address of VPP's side: no table has one twice. */
export const memif_gateway: Readonly<Record<Family, string>> = { 4: '169.254.1.2', 6: 'fdca:11c0::2' };

/**
 * Where packets to the pod are looked up, whichever of its interfaces they leave by. `main_table`: where its addresses are; undefined: nothing is to
 * lead there.
 */
export function routesTo(
  spec: PodSpec,
  tag: InterfaceTag,
  tables: PodTableIds,
  main_table: number | undefined,
): VppObject[] {
  if (spec.vcl) return vclRoutesTo(spec, tag, tables, main_table);
  const is_alone = spec.memif?.alone === true;
  const is_direct = is_alone || spec.memif === undefined;
  const by = is_alone ? podInterfaceTag(spec, 'memif') : tag;
  return addressesOf(spec).flatMap((address): VppObject[] => {
    const table_id = is_direct ? main_table : tables.pod;
    if (table_id === undefined) return [];
    const by_device: VppObject = {
      kind: 'route',
      source: 'pods',
      table_id,
      prefix: hostPrefix(address),
      paths: [{ via: 'interface', interface: by, next_hop: address }],
    };
    if (is_direct || main_table === undefined) return [by_device];
    return [
      by_device,
      {
        kind: 'route',
        source: 'pods',
        table_id: main_table,
        prefix: hostPrefix(address),
        paths: [{ via: 'lookup', table_id: tables.pod }],
      },
    ];
  });
}

/** Beside what is set on each of a pod's interfaces. `mac`, `pod_mac`: of VPP's side and the pod's, where they speak Ethernet. */
export function memifObjects(
  spec: PodSpec & { readonly memif: PodMemif },
  pod_table: number,
  { mac, pod_mac }: { readonly mac: string; readonly pod_mac: string },
): VppObject[] {
  const { memif, netns, interface_name } = spec;
  const tag = podInterfaceTag(spec, 'memif');
  const place = {
    kind: 'memif',
    tag,
    netns,
    interface_name,
    ...(memif.alone && { alone: memif.alone }),
  } as const;
  return [
    memif.is_l3 ? { ...place, mode: 'ip' } : { ...place, mode: 'ethernet', mac },
    ...familiesOf(spec).flatMap((family): VppObject[] => [
      { kind: 'interface_table', interface: tag, family, table_id: pod_table },
      { kind: 'interface_address', interface: tag, prefix: hostPrefix(memif_gateway[family]) },
    ]),
    // What comes from Linux may be larger than a packet.
    { kind: 'interface_flag', interface: tag, flag: 'gso_feature' },
    ...addressesOf(spec).flatMap((address): VppObject[] => [
      ...(memif.is_l3 ? [] : [{ kind: 'neighbour', interface: tag, address, mac: pod_mac } as const]),
      ...(memif.ports.length === 0
        ? []
        : [
            {
              kind: 'pbl_client',
              address,
              table_id: pod_table,
              interface: tag,
              ports: memif.ports,
              ...(!memif.is_l3 && { next_hop: address }),
            } as const,
          ]),
    ]),
  ];
}

/** Families of the pod in which its sources are in a table of their own, whatever else it may use. */
export function hasSourceTable(spec: PodSpec, family: Family): boolean {
  return (
    spec.memif !== undefined ||
    spec.vcl !== undefined ||
    spec.allowed_source_prefixes.some((prefix) => familyOf(prefix) === family)
  );
}
