/** The policies actor, with its settings. */
import type { ActorRef } from '../actor-system.js';
import { policies_settings_default, policiesActor } from '../actors/policies.js';
import type { FelixActorMessage } from '../messages/felix.js';
import type { UplinkMessage } from '../messages/uplink.js';
import type { VppConnectionMessage } from '../messages/vpp.js';
import type { Wiring } from './wiring.js';

export function policiesOf(
  { parts, sync, policed }: Pick<Wiring, 'parts' | 'sync' | 'policed'>,
  vpp: ActorRef<VppConnectionMessage>,
  uplink: ActorRef<UplinkMessage>,
  felix: ActorRef<FelixActorMessage>,
) {
  return policiesActor(
    { vpp, uplink, felix, interfaces: policed, report: (ask) => sync.set('policies', ask) },
    { ...policies_settings_default, does_ike: parts.config.gates.ipsec },
  );
}
