/** What npol decides of flows. */
import { npol_configure_policies, type npol_policy_default } from 'vpp-binapi-ts/npol';
import type { ObjectOf } from '../../objects/object.js';
import { type Call, call } from '../call.js';
import type { Handles } from '../handles.js';
import type { Programs } from './common.js';

export const policy: Programs<'default_verdict'> = {
  default_verdict: {
    add: (o, at) => [configure(o, at, o.verdict === 'deny' ? 'NPOL_DEFAULT_DENY' : 'NPOL_DEFAULT_ALLOW')],
    remove: (o, at) => [configure(o, at, 'NPOL_DEFAULT_ALLOW')],
  },
};

/** Without policies the defaults decide. */
function configure(o: ObjectOf<'default_verdict'>, at: Handles, verdict: npol_policy_default): Call {
  return call(npol_configure_policies, {
    sw_if_index: at.interface(o.interface),
    num_rx_policies: 0,
    num_tx_policies: 0,
    invert_rx_tx: 0,
    policy_default_rx: verdict,
    policy_default_tx: verdict,
    profile_default_rx: verdict,
    profile_default_tx: verdict,
    policy_ids: [],
  });
}
