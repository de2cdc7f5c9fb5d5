/**
 * The files by which the CNI plugin hears that a pod's policies are in force (`policy_setup_timeout_seconds`): one per endpoint, whose being there is
 * all that is asked of it. Felix writes none where the dataplane is another's. Names and content are Calico's. Pure.
 */
import type { WorkloadEndpoint } from './messages.js';

/** e.g. `k8s default%2Fweb-0 eth0`. */
export function statusFileName({ orchestrator, workload, endpoint }: WorkloadEndpoint['id']): string {
  return [orchestrator, workload, endpoint].map(escapePathSegment).join(' ');
}

export function statusFileText({ name, nets }: WorkloadEndpoint): string {
  return JSON.stringify({
    ifaceName: name,
    ipv4Nets: nets.filter((net) => !net.includes(':')),
    ipv6Nets: nets.filter((net) => net.includes(':')),
  });
}

/** Three parts, escaped: no other file of the directory is ours to remove. */
export function isStatusFileName(name: string): boolean {
  return /^[^ /]+ [^ /]+ [^ /]+$/.test(name);
}

/** Go's `url.PathEscape`: what JavaScript's escapes beside it, and what it leaves alone. */
function escapePathSegment(text: string): string {
  return encodeURIComponent(text)
    .replace(/%(24|26|2B|3D|3A|40)/g, (escaped) => decodeURIComponent(escaped))
    .replace(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);
}
