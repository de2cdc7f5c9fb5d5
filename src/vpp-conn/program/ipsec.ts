/**
 * IKEv2's profiles. What the initiator proposes is what the Go implementation does: AES-256-CBC, HMAC-SHA1-96 and MODP-2048 for IKE, AES-256-GCM for ESP.
 */
import {
  ikev2_initiate_sa_init,
  ikev2_profile_add_del,
  ikev2_profile_set_auth,
  ikev2_profile_set_id,
  ikev2_profile_set_liveness,
  ikev2_profile_set_ts,
  ikev2_set_esp_transforms,
  ikev2_set_ike_transforms,
  ikev2_set_responder,
  ikev2_set_tunnel_interface,
} from 'vpp-binapi-ts/ikev2';
import { bitsOf } from '../../ip/bits.js';
import { familyOf } from '../../ip/text.js';
import type { ObjectOf } from '../../objects/object.js';
import { unrecorded } from '../api-trace.js';
import { type Call, call } from '../call.js';
import { none, type Programs } from './common.js';

type Profile = ObjectOf<'ike_profile'>;

/** Of RFC 7296 and IANA's registry of IKEv2 parameters. */
const shared_key = 2;
const id_type = { 4: 1, 6: 5 } as const;
const aes_cbc = 12;
const aes_gcm_16 = 20;
const hmac_sha1_96 = 2;
const prf_hmac_sha2_256 = 5;
const modp_2048 = 14;
const no_integrity = 0;
const key_bits = 256;

/** Of all profiles. A peer that says nothing for about 9 s is dead: its tunnel goes down, and whoever begins does so again. */
const liveness = { period: 2, max_retries: 3 };

const last_port = 65_535;
const whole = {
  4: { start_addr: '0.0.0.0', end_addr: '255.255.255.255' },
  6: { start_addr: '::', end_addr: 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff' },
} as const;

/** VPP's for all that a profile refuses. */
const unspecified = -1;

export const ipsec: Programs<'ike_profile' | 'ike_initiation'> = {
  ike_profile: {
    add: (o, at) => [
      // First: VPP dies of what follows before it has had a profile. There already where it is changed in place; where it is not, all that follows is refused.
      call(ikev2_profile_add_del, { name: o.name, is_add: true }, { tolerated: [unspecified] }),
      call(ikev2_set_tunnel_interface, { name: o.name, sw_if_index: at.interface(o.interface) }),
      id(o, true),
      id(o, false),
      selector(o, true),
      selector(o, false),
      call(ikev2_profile_set_liveness, liveness),
      ...(o.begins_by === undefined ? none : proposals(o, at.interface(o.begins_by))),
      ...(o.psk === undefined ? none : unrecorded(auth(o.name, o.psk), at.api_trace)),
    ],
    // All that it refuses is to remove what it does not have.
    remove: (o) => [
      call(ikev2_profile_add_del, { name: o.name, is_add: false }, { tolerated: [unspecified] }),
    ],
  },
  ike_initiation: {
    add: (o, at) => {
      // Without its tunnel it has no profile, and VPP dies where it has had none at all.
      at.interface(o.interface);
      return [call(ikev2_initiate_sa_init, { name: o.name })];
    },
    remove: () => none,
  },
};

function id({ name, src, dst }: Profile, is_local: boolean): Call {
  const address = is_local ? src : dst;
  return call(ikev2_profile_set_id, {
    name,
    is_local,
    id_type: id_type[familyOf(address)],
    data: Buffer.from(bitsOf(address).bytes, 'latin1'),
  });
}

/** Neither end keeps what the tunnel carries to these: both want the same. */
function selector({ name, dst }: Profile, is_local: boolean): Call {
  const ts = {
    ...whole[familyOf(dst)],
    sa_index: 0,
    child_sa_index: 0,
    is_local,
    protocol_id: 0,
    start_port: 0,
    end_port: last_port,
  };
  return call(ikev2_profile_set_ts, { name, ts });
}

function proposals({ name, dst }: Profile, sw_if_index: number): readonly Call[] {
  const cipher = { crypto_key_size: key_bits };
  return [
    call(ikev2_set_responder, { name, responder: { sw_if_index, addr: dst } }),
    call(ikev2_set_ike_transforms, {
      name,
      tr: {
        ...cipher,
        crypto_alg: aes_cbc,
        integ_alg: hmac_sha1_96,
        prf_alg: prf_hmac_sha2_256,
        dh_group: modp_2048,
      },
    }),
    call(ikev2_set_esp_transforms, {
      name,
      tr: { ...cipher, crypto_alg: aes_gcm_16, integ_alg: no_integrity },
    }),
  ];
}

function auth(name: string, psk: NonNullable<Profile['psk']>): Call {
  return call(ikev2_profile_set_auth, {
    name,
    auth_method: shared_key,
    is_hex: false,
    data: new TextEncoder().encode(psk.reveal()),
  });
}
