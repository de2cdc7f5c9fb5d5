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

export const ikev2: readonly Handler[] = [
  onPlain(ikev2_profile_add_del, (vpp, { name, is_add }) => {
    if (is_add) vpp.ikev2.add(name);
    else vpp.ikev2.delete(name);
  }),
  onPlain(ikev2_set_tunnel_interface, (vpp, { name, sw_if_index }) => {
    vpp.interfaces.get(sw_if_index);
    vpp.ikev2.of(name).tun_itf = sw_if_index;
  }),
  onPlain(ikev2_profile_set_auth, (vpp, { name, auth_method: method, is_hex, data }) => {
    vpp.ikev2.authenticate(name, { method, hex: is_hex ? 1 : 0, data: Buffer.from(data) });
  }),
  onPlain(ikev2_profile_set_id, (vpp, { name, is_local, id_type, data }) =>
    vpp.ikev2.identify(name, is_local, id_type, data),
  ),
  onPlain(ikev2_profile_set_ts, (vpp, { name, ts }) => vpp.ikev2.select(name, ts)),
  onPlain(ikev2_set_ike_transforms, (vpp, { name, tr }) => vpp.ikev2.propose(name, tr)),
  onPlain(ikev2_set_esp_transforms, (vpp, { name, tr }) => {
    vpp.ikev2.of(name).esp_ts = tr;
  }),
  onPlain(ikev2_set_responder, (vpp, { name, responder }) => {
    vpp.ikev2.of(name).responder = responder;
  }),
  onPlain(ikev2_profile_set_liveness, (_, { period, max_retries }) => {
    if (period === 0 || max_retries === 0) refuse(retval.UNSPECIFIED);
  }),
  onPlain(ikev2_initiate_sa_init, (vpp, { name }) => vpp.ikev2.begin(name)),
  onDump(ikev2_profile_dump, (vpp) =>
    vpp.ikev2.profiles.map(({ is_up: _, ...profile }) => ({
      profile: {
        ...profile,
        lifetime: 0n,
        lifetime_maxdata: 0n,
        lifetime_jitter: 0,
        handover: 0,
        ipsec_over_udp_port: no_port,
        udp_encap: false,
        natt_disabled: false,
      },
    })),
  ),
  // What is in them nobody asks here.
  onDump(ikev2_sa_dump, () => []),
];

/** Nobody has asked for one. */
const no_port = 0xffff;
