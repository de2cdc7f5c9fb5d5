import {
  ikev2_initiate_sa_init,
  ikev2_profile_add_del,
  ikev2_profile_dump,
  ikev2_profile_set_auth,
  ikev2_profile_set_id,
  ikev2_profile_set_liveness,
  ikev2_profile_set_ts,
  ikev2_sa_dump,
  ikev2_set_esp_transforms,
  ikev2_set_ike_transforms,
  ikev2_set_responder,
  ikev2_set_tunnel_interface,
} from 'vpp-binapi-ts/ikev2';
import { type Handler, onDump, onPlain } from '../handler.js';
import { refuse, retval } from '../outcome.js';

const no_id = { type: 0, data_len: 0, data: '' };
const no_ts = {
  sa_index: 0,
  child_sa_index: 0,
  is_local: false,
  protocol_id: 0,
  start_port: 0,
  end_port: 0,
  start_addr: '0.0.0.0',
  end_addr: '0.0.0.0',
};

export const ikev2: readonly Handler[] = [
  onPlain(ikev2_profile_add_del, (vpp, { name, is_add }) => {
    if (is_add) vpp.ikev2.add(name);
    else vpp.ikev2.delete(name);
  }),
  onPlain(ikev2_set_tunnel_interface, (vpp, { name, sw_if_index }) => {
    vpp.interfaces.get(sw_if_index);
    vpp.ikev2.of(name).tun_itf = sw_if_index;
  }),
  onPlain(ikev2_profile_set_auth, (vpp, { name, auth_method: method, data }) => {
    vpp.ikev2.authenticate(name, { method, data: Buffer.from(data) });
  }),
  ...[ikev2_profile_set_id, ikev2_profile_set_ts, ikev2_set_ike_transforms, ikev2_set_esp_transforms].map(
    (message) => onPlain(message as typeof ikev2_profile_set_ts, (vpp, { name }) => void vpp.ikev2.of(name)),
  ),
  onPlain(ikev2_set_responder, (vpp, { name, responder }) => {
    vpp.ikev2.of(name).responder = responder;
  }),
  onPlain(ikev2_profile_set_liveness, (_, { period, max_retries }) => {
    if (period === 0 || max_retries === 0) refuse(retval.UNSPECIFIED);
  }),
  onPlain(ikev2_initiate_sa_init, (vpp, { name }) => vpp.ikev2.begin(name)),
  onDump(ikev2_profile_dump, (vpp) =>
    vpp.ikev2.profiles.map(({ name, tun_itf, responder, auth }) => ({
      profile: {
        name,
        tun_itf,
        responder,
        auth: { ...auth, hex: 0 },
        loc_id: no_id,
        rem_id: no_id,
        loc_ts: no_ts,
        rem_ts: no_ts,
        ike_ts: { crypto_alg: 0, crypto_key_size: 0, integ_alg: 0, prf_alg: 0, dh_group: 0 },
        esp_ts: { crypto_alg: 0, crypto_key_size: 0, integ_alg: 0 },
        lifetime: 0n,
        lifetime_maxdata: 0n,
        lifetime_jitter: 0,
        handover: 0,
        ipsec_over_udp_port: 0,
        udp_encap: false,
        natt_disabled: false,
      },
    })),
  ),
  // What is in them nobody asks here.
  onDump(ikev2_sa_dump, () => []),
];
