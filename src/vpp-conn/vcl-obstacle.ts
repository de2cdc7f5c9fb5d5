/** Why a node has no host stack for pods although `vclEnabled` is set. Pure. */
import type { Config } from '../config.js';
import { sessionLack } from './startup-config.js';

export interface Obstacle {
  readonly why: string;
  readonly step: string;
}

/**
 * VPP 26.10's npol never judges what its host stack sends or gets for itself, and the first of its flows that is denied somewhere, by whomever, ends
 * all new ones of the node until VPP is replaced (seen, docs/vpp-notes.md). So nothing may be denied on the node.
 */
export function vclObstacle({
  felix,
  pods,
  vpp,
}: Pick<Config, 'felix' | 'pods' | 'vpp'>): Obstacle | undefined {
  const mixed =
    'policies are not held for what goes by the host stack of this VPP, and one flow that they deny ends all new ones of it on the node';
  if (felix)
    return {
      why: `policies are enforced on this node, and ${mixed}`,
      step: 'set CALICOVPP_FELIX to off on nodes that are for such pods alone',
    };
  if (pods.default_verdict === 'deny')
    return {
      why: `flows of pods are denied by default on this node, and ${mixed}`,
      step: 'set CALICOVPP_POD_DEFAULT_VERDICT to allow on nodes that are for such pods alone',
    };
  const lack = vpp.config_template === undefined ? undefined : sessionLack(vpp.config_template);
  return lack === undefined
    ? undefined
    : { why: 'VPP is started without its host stack', step: `in CALICOVPP_CONFIG_TEMPLATE: ${lack}` };
}
