/**
 * What VPP holds for a pod whose programs may use VPP's host stack. Pure.
 *
 *   default table: pod/32 → pod table
 *   pod table:     pod/32 is the loopback's own: to the host stack, and what nothing there listens on is punted
 *   punt table:    pod/32 → tun
 *   pod table:     0/0 → pods table                     packets of the pod, by the tun or out of the host stack
 *
 * The loopback is up, or its addresses would lead nowhere, and bound to the pod's table in both families: a program of a pod without IPv6 would
 * otherwise listen at the node's own addresses. What the host stack sends comes in by no interface: it is not judged, translated or checked.
 */
import { createHash } from 'node:crypto';
import type { Family } from '../ip/text.js';
import type { VppObject } from '../objects/object.js';
import { podLoopbackTag } from '../pod/names.js';
import { addressesOf, type PodSpec } from '../pod/spec.js';
import { hostPrefix } from './tables.js';

const both: readonly Family[] = [4, 6];

/** Of both families, whatever addresses the pod has. */
export function vclObjects(spec: PodSpec, pod_table: number): VppObject[] {
  const tag = podLoopbackTag(spec);
  return [
    { kind: 'loopback', tag, mac: loopbackMac(tag) },
    ...both.map(
      (family): VppObject => ({ kind: 'interface_table', interface: tag, family, table_id: pod_table }),
    ),
    ...(spec.addresses.ip6.length > 0
      ? [{ kind: 'interface_flag', interface: tag, flag: 'ip6_enabled' } as const]
      : []),
    { kind: 'interface_flag', interface: tag, flag: 'admin_up' },
    ...addressesOf(spec).map(
      (address): VppObject => ({ kind: 'interface_address', interface: tag, prefix: hostPrefix(address) }),
    ),
    { kind: 'app_namespace', interface: tag, netns: spec.netns },
  ];
}

/** One of its own, by which it is told before it has its tag. Locally administered. */
function loopbackMac(tag: string): string {
  const hash = createHash('sha256').update(tag).digest('hex');
  return `02:fe:${hash.slice(0, 8).replace(/(..)(?=.)/g, '$1:')}`;
}
