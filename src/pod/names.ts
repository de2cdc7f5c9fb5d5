/**
 * The names by which a pod's tables and interfaces are known in VPP. They are derived from the network namespace and the
 * interface name alone, and are those of the Go implementation: a fresh process finds again what an earlier one made.
 */
import { createHash } from 'node:crypto';
import { basename } from 'node:path';
import type { Family } from '../ip/text.js';
import type { PodSpec } from './spec.js';

type PodInterface = Pick<PodSpec, 'netns' | 'interface_name'>;

/** `pod`: the table that the pod's packets are looked up in. `rpf`: the sources that it may use. `stack`: that of VPP's host stack for the pod. */
export type PodTableRole = 'pod' | 'rpf' | 'stack';
/** The VPP driver, as it stands in the hash of an interface tag. A tap hashes as `tun` too. */
type Driver = 'tun' | 'memif';

/** VPP's table names and tags are strings of 64 bytes with their terminator. */
const name_length_max = 63;

/** Of the names asked for last: each is needed again and again, and SHA-512 costs more than all else of a comparison. */
const hashes = new Map<string, string>();
const hashes_max = 8192;

/** Eight characters that stand for any text: the first of base64 of SHA-512. */
export function hash8(text: string): string {
  let hash = hashes.get(text);
  if (hash === undefined) {
    if (hashes.size >= hashes_max) hashes.clear();
    hash = createHash('sha512').update(text).digest('base64').slice(0, 8);
    hashes.set(text, hash);
  }
  return hash;
}

const table_suffixes: Readonly<Record<PodTableRole, string>> = { pod: '', rpf: 'RPF', stack: 'VCL' };

export function podTableName(pod: PodInterface, family: Family, role: PodTableRole = 'pod'): string {
  const suffix = table_suffixes[role];
  const hash = hash8(`${family}${pod.netns}${pod.interface_name}${suffix}`);
  return `${hash}-${family}-${pod.interface_name}${suffix}-${basename(pod.netns)}`.slice(0, name_length_max);
}

export function podInterfaceTag(pod: PodInterface, driver: Driver = 'tun'): string {
  const hash = hash8(`${driver}${pod.netns}${pod.interface_name}`);
  return `${hash}-${pod.interface_name}-${basename(pod.netns)}`.slice(0, name_length_max);
}

/** How the tags of loopbacks of pods begin: those of their devices have eight characters of a hash before the first dash. */
const loopback_tag = 'vcl-';

/** `stack`: has the pod's addresses for VPP's host stack. `out`: what that sends comes in by it. `in`: what is for the pod leaves by it. */
export type LoopbackRole = 'stack' | 'out' | 'in';

export function podLoopbackTag(pod: PodInterface, role: LoopbackRole = 'stack'): string {
  const hash = hash8(`vcl${pod.netns}${pod.interface_name}`);
  const of_role = role === 'stack' ? '' : `${role}-`;
  const tag = `${loopback_tag}${of_role}${hash}-${pod.interface_name}-${basename(pod.netns)}`;
  return tag.slice(0, name_length_max);
}

/** Of all that a pod may have. */
export function podLoopbackTags(pod: PodInterface): readonly string[] {
  return (['stack', 'out', 'in'] as const).map((role) => podLoopbackTag(pod, role));
}

/** Whether it is that of a pod's loopback: nobody else gives such a tag. */
export function isPodLoopbackTag(tag: string): boolean {
  return tag.startsWith(loopback_tag);
}

/** Of each interface by which packets come to the pod, or from it; that of its tun or tap comes first. */
export function podInterfaceTags(spec: PodInterface & Pick<PodSpec, 'memif' | 'vcl'>): readonly string[] {
  return [
    podInterfaceTag(spec),
    ...(spec.memif === undefined ? [] : [podInterfaceTag(spec, 'memif')]),
    ...(spec.vcl ? [podLoopbackTag(spec, 'out'), podLoopbackTag(spec, 'in')] : []),
  ];
}

/** Of a path or name that is to be part of a socket's: VPP's reader stops at any other character. */
export function isSocketName(text: string): boolean {
  return /^[A-Za-z0-9_/.-]+$/.test(text);
}

/**
 * Whether a table of this name is a pod's, of this or an earlier life of the product: for the sweep of tables that belong
 * to no pod any more. The node's own tables (`calico-pods-ip4`, `physical-net-...`) do not match.
 */
export function isPodTableName(name: string, family: Family): boolean {
  return name.length <= name_length_max && new RegExp(`^[A-Za-z0-9+/]{8}-${family}-[!-~]+-`).test(name);
}

/**
 * Whether a tun, tap or memif with this tag is a pod's. The namespace and device name that VPP reports for it settle the
 * question: the tag has to be the one that follows from them, so that no tag of another origin is ever taken for a pod's.
 */
export function isPodInterfaceTag(
  tag: string,
  netns: string,
  interface_name: string,
  driver: Driver = 'tun',
): boolean {
  return tag === podInterfaceTag({ netns, interface_name }, driver);
}
