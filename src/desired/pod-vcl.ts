/**
 * What VPP holds for a pod whose programs may use VPP's host stack. Pure.
 *
 *   default table: pod/32 ──▶ loopback `in` ──▶ comes in by it ──▶ pod table: pod/32 → stack table
 *   stack table:   pod/32 is the loopback `stack`'s own: to the host stack, and what nothing there listens on is punted
 *   punt table:    pod/32 → tun
 *   stack table:   0/0 ──▶ loopback `out` ──▶ comes in by it, as what the pod sends comes in by the tun ──▶ pod table
 *
 * Out of the host stack a packet comes by no interface, in a buffer that says of its flow what the last user has left there: cnat and npol, which
 * judge what leaves by that, would take it for another's (docs/vpp-notes.md). By way of `out` it is looked up first. What it is sent goes by `in`, so that
 * policies of the pod and the way back of a service are in force for it; the tun, to which only what was punted comes, does not do it once more.
 *
 * The loopback `stack` is up, or its addresses would lead nowhere, and its table is its own in both families: a program of a pod without IPv6 would
 * otherwise listen at the node's own addresses.
 */
import { createHash } from 'node:crypto';
import type { Family } from '../ip/text.js';
import type { InterfaceTag } from '../objects/interfaces.js';
import type { VppObject } from '../objects/object.js';
import { podLoopbackTag, podTableName } from '../pod/names.js';
import { addressesOf, familiesOf, type PodSpec } from '../pod/spec.js';
import { allOf, hostPrefix, type PodTableIds, punt_table, table } from './tables.js';

const both: readonly Family[] = [4, 6];

/** Of the loopbacks in the pod's table, as VPP wants one of each that packets come in by; and next hops that nobody has: what is sent to them comes back. */
const own: Readonly<Record<'out' | 'in', Readonly<Record<Family, string>>>> = {
  out: { 4: '169.254.1.2', 6: 'fdca:11c0::2' },
  in: { 4: '169.254.1.3', 6: 'fdca:11c0::3' },
};
const beyond: typeof own = {
  out: { 4: '169.254.1.4', 6: 'fdca:11c0::4' },
  in: { 4: '169.254.1.5', 6: 'fdca:11c0::5' },
};

/** Where packets to the pod are looked up. `tag`: of its device; `main_table`: where its addresses are, undefined: nothing is to lead there. */
export function vclRoutesTo(
  spec: PodSpec,
  tag: InterfaceTag,
  { pod, stack }: PodTableIds,
  main_table: number | undefined,
): VppObject[] {
  const to_it = podLoopbackTag(spec, 'in');
  return familiesOf(spec).flatMap((family) =>
    spec.addresses[`ip${family}`].flatMap((address): VppObject[] => {
      const of = { kind: 'route', source: 'pods', prefix: hostPrefix(address) } as const;
      return [
        {
          ...of,
          table_id: punt_table,
          paths: [{ via: 'interface', interface: tag, next_hop: address }],
        },
        { ...of, table_id: pod, paths: [{ via: 'lookup', table_id: stack }] },
        ...(main_table === undefined
          ? []
          : [
              {
                ...of,
                table_id: main_table,
                paths: [{ via: 'interface', interface: to_it, next_hop: beyond.in[family] }],
              } as const,
            ]),
      ];
    }),
  );
}

/** Of both families, whatever addresses the pod has. */
export function stackObjects(spec: PodSpec, { stack }: PodTableIds): VppObject[] {
  const tag = podLoopbackTag(spec);
  const out = podLoopbackTag(spec, 'out');
  return [
    ...both.map((family) => table(family, stack, podTableName(spec, family, 'stack'), false)),
    loopback(tag),
    ...both.map(
      (family): VppObject => ({ kind: 'interface_table', interface: tag, family, table_id: stack }),
    ),
    ...(spec.addresses.ip6.length > 0
      ? [{ kind: 'interface_flag', interface: tag, flag: 'ip6_enabled' } as const]
      : []),
    { kind: 'interface_flag', interface: tag, flag: 'admin_up' },
    ...addressesOf(spec).map(
      (address): VppObject => ({ kind: 'interface_address', interface: tag, prefix: hostPrefix(address) }),
    ),
    ...familiesOf(spec).flatMap((family) =>
      allOf(family).map(
        (prefix): VppObject => ({
          kind: 'route',
          source: 'pods',
          table_id: stack,
          prefix,
          paths: [{ via: 'interface', interface: out, next_hop: beyond.out[family] }],
        }),
      ),
    ),
    { kind: 'app_namespace', interface: tag, netns: spec.netns },
  ];
}

/** Beside what is set on each interface by which the pod sends. */
export function outObjects(spec: PodSpec, { pod }: PodTableIds): VppObject[] {
  return turning(spec, 'out', pod);
}

/** Beside what is set on each interface by which the pod is sent something. */
export function inObjects(spec: PodSpec, { pod }: PodTableIds): VppObject[] {
  return turning(spec, 'in', pod);
}

/** What leaves by it to `beyond` comes in by it. */
function turning(spec: PodSpec, role: 'out' | 'in', table_id: number): VppObject[] {
  const tag = podLoopbackTag(spec, role);
  const mac = loopbackMac(tag);
  return [
    loopback(tag),
    ...familiesOf(spec).flatMap((family): VppObject[] => [
      { kind: 'interface_table', interface: tag, family, table_id },
      { kind: 'interface_address', interface: tag, prefix: hostPrefix(own[role][family]) },
      { kind: 'neighbour', interface: tag, address: beyond[role][family], mac },
    ]),
  ];
}

function loopback(tag: InterfaceTag): VppObject {
  return { kind: 'loopback', tag, mac: loopbackMac(tag) };
}

/** One of its own, by which it is told before it has its tag. Locally administered. */
function loopbackMac(tag: string): string {
  const hash = createHash('sha256').update(tag).digest('hex');
  return `02:fe:${hash.slice(0, 8).replace(/(..)(?=.)/g, '$1:')}`;
}
