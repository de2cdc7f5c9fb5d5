/** What is set on each of a pod's interfaces in VPP, by which one ever it sends: its policies, source NAT, and the sources that are right. Pure. */
import { type Family, familyOf } from '../ip/text.js';
import type { InterfaceSwitch, InterfaceTag } from '../objects/interfaces.js';
import type { VppObject } from '../objects/object.js';
import { podTableName } from '../pod/names.js';
import { addressesOf, endpointOf, familiesOf, type PodSpec } from '../pod/spec.js';
import type { PodHome, PodInputs } from './pod.js';
import { hasSourceTable } from './pod-memif.js';
import { isNatted, type NatPools } from './source-nat.js';
import { hostPrefix, type PodTableIds, pods_table, table } from './tables.js';
import { tap_l3_mtu } from './uplink.js';

export function ip6Enabled(spec: PodSpec): readonly InterfaceSwitch[] {
  return familiesOf(spec).includes(6) ? ['ip6_enabled'] : [];
}

export function verdictOf(
  { workload }: PodSpec,
  tag: InterfaceTag,
  { default_verdict: verdict }: PodInputs,
): VppObject {
  return { kind: 'default_verdict', interface: tag, verdict, endpoint: endpointOf(workload) };
}

/** What is set on each of a pod's interfaces: it is judged, translated and checked alike by which one ever it sends. */
export function settings(
  spec: PodSpec,
  tag: InterfaceTag,
  { is_ethernet, cnat }: { readonly is_ethernet: boolean; readonly cnat: 'cnat_feature' | 'cnat_in' },
  inputs: PodInputs,
  home: PodHome | undefined,
): VppObject[] {
  const families = familiesOf(spec);
  const is_held = inputs.held || home === undefined;
  return [
    { kind: 'interface_mtu', interface: tag, mtu: tap_l3_mtu },
    ...flags(tag, [
      // In another network nobody knows the node's address.
      ...(spec.network_name === '' ? natFlags(spec, inputs.pools) : []),
      'snat_pod',
      cnat,
      ...ip6Enabled(spec),
      ...(is_ethernet ? (['promisc'] as const) : []),
      'admin_up',
    ]),
    verdictOf(spec, tag, inputs),
    ...(is_held ? holding(tag, families) : antiSpoofing(spec, tag, families, inputs.tables, home.main)),
    ...(spec.network_name === '' ? inputs.redirects : [])
      .filter((family) => families.includes(family))
      .map((family): VppObject => ({ kind: 'redirect_acl', interface: tag, family })),
    ...(inputs.drop_other_protocols === true
      ? families.map((family): VppObject => ({ kind: 'protocol_acl', interface: tag, family }))
      : []),
  ];
}

/** Of the families in which what the pod sends out of the pools gets the node's address. */
function natFlags(spec: PodSpec, pools: NatPools | undefined): InterfaceSwitch[] {
  if (pools === undefined) return [];
  const families = new Set(
    addressesOf(spec).flatMap((address) => (isNatted(address, pools) ? familyOf(address) : [])),
  );
  return [...families].map((family) => nat_flags[family]);
}

const nat_flags: Readonly<Record<Family, InterfaceSwitch>> = {
  4: 'snat_include_ip4',
  6: 'snat_include_ip6',
};

/** Whether it says that the pod of this interface leaves under the node's address. */
export function isNatFlag(object: VppObject): boolean {
  return object.kind === 'interface_flag' && Object.values(nat_flags).includes(object.flag);
}

export function flags(tag: InterfaceTag, names: readonly InterfaceSwitch[]): VppObject[] {
  return names.map((flag) => ({ kind: 'interface_flag', interface: tag, flag }));
}

/** No source is right: uRPF comes before cnat. */
function holding(tag: InterfaceTag, families: readonly Family[]): VppObject[] {
  return families.map((family) => ({
    kind: 'urpf',
    interface: tag,
    family,
    mode: 'strict',
    table_id: pods_table,
  }));
}

/**
 * A source is right if the table of its network leads back to this very interface. Sources beside the pod's addresses are in no
 * table that forwards, so a pod that may use some gets a table of its own, at a quarter of a megabyte.
 */
function antiSpoofing(
  spec: PodSpec,
  tag: InterfaceTag,
  families: readonly Family[],
  tables: PodTableIds,
  main_table: number,
): VppObject[] {
  return families.map((family): VppObject => {
    const of = { kind: 'urpf', interface: tag, family } as const;
    return hasSourceTable(spec, family)
      ? { ...of, mode: 'loose', table_id: tables.rpf }
      : { ...of, mode: 'strict', table_id: main_table };
  });
}

/** That a source is in it is enough: it is looked up by the pod's own interfaces alone. */
export function sourceTables(spec: PodSpec, tag: InterfaceTag, tables: PodTableIds): VppObject[] {
  return familiesOf(spec).flatMap((family): VppObject[] => {
    if (!hasSourceTable(spec, family)) return [];
    const allowed = spec.allowed_source_prefixes.filter((prefix) => familyOf(prefix) === family);
    const own = addressesOf(spec).filter((address) => familyOf(address) === family);
    const next_hop = own[0]!;
    return [
      table(family, tables.rpf, podTableName(spec, family, 'rpf'), false),
      ...[...new Set([...own.map(hostPrefix), ...allowed])].map(
        (prefix): VppObject => ({
          kind: 'route',
          source: 'pods',
          table_id: tables.rpf,
          prefix,
          paths: [{ via: 'interface', interface: tag, next_hop }],
        }),
      ),
    ];
  });
}
