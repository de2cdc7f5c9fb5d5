/**
 * Whether the API server can be reached as everybody in the cluster reaches it: by the address of its own service, `default/kubernetes`. A node is
 * not ready before that: its pods would find nobody to ask.
 */
import type { Translation } from '../objects/cnat.js';

/** `namespace/name`. */
export const api_service = 'default/kubernetes';

export interface ProbeTarget {
  readonly address: string;
  readonly port: number;
}

/** Resolves when a connection of the host's stands, and rejects with what was in the way, at the latest after `within_ms`. */
export type ProbeTcp = (target: ProbeTarget, within_ms: number) => Promise<void>;

/** Where it is, IPv4 before IPv6; undefined: it has no translation. */
export function probeTarget(translations: Iterable<Translation>): ProbeTarget | undefined {
  const targets = [...translations].filter(({ protocol }) => protocol === 'tcp');
  const [target] = [...targets.filter(({ address }) => !address.includes(':')), ...targets];
  return target && { address: target.address, port: target.port };
}
