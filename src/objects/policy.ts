/** What npol enforces. */
import type { InterfaceTag } from './interfaces.js';
import { always, type Kinds, remove } from './kind.js';

/** What npol says of a flow, in either direction, while no policy of Felix is configured on the interface. */
export interface DefaultVerdict {
  readonly kind: 'default_verdict';
  readonly interface: InterfaceTag;
  readonly verdict: 'allow' | 'deny';
}

export type PolicyObject = DefaultVerdict;

export const policy_kinds: Kinds<PolicyObject> = {
  // Before the interface is up: a verdict holds for the life of a flow, so none may be made before this one.
  default_verdict: {
    key: (o) => o.interface,
    on: (o) => [o.interface],
    owner: { by: 'interface', of: (o) => o.interface },
    same: (wanted, there) => wanted.verdict === there.verdict,
    add: 45,
    remove: remove.bound,
    change: 'overwrite',
    dies_with_interface: true,
    recorded: always,
  },
};
