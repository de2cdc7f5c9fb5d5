/** Why a node has no host stack for pods although `vclEnabled` is set. Pure. */
import type { Config } from '../config.js';
import { sessionLack } from './startup-warnings.js';

export interface Obstacle {
  readonly why: string;
  readonly step: string;
}

export function vclObstacle({ vpp }: Pick<Config, 'vpp'>): Obstacle | undefined {
  const lack = vpp.config_template === undefined ? undefined : sessionLack(vpp.config_template);
  return lack === undefined
    ? undefined
    : { why: 'VPP is started without its host stack', step: `in CALICOVPP_CONFIG_TEMPLATE: ${lack}` };
}
