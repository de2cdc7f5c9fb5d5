/** The policies actor, with its settings. */
import type { ActorRef } from '../actor-system.js';
import { policiesActor } from '../actors/policies.js';
import type { FelixActorMessage } from '../messages/felix.js';
import type { UplinkMessage } from '../messages/uplink.js';
import type { VppConnectionMessage } from '../messages/vpp.js';
import type { Wiring } from './wiring.js';

export function policiesOf(
  { sync, policed }: Pick<Wiring, 'sync' | 'policed'>,
  vpp: ActorRef<VppConnectionMessage>,
  uplink: ActorRef<UplinkMessage>,
  felix: ActorRef<FelixActorMessage>,
) {
  return policiesActor({
    vpp,
    uplink,
    felix,
    interfaces: policed,
    report: (ask) => sync.set('policies', ask),
  });
}
