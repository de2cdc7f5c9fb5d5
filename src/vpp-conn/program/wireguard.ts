/** WireGuard's interface and its peers. */
import {
  wireguard_interface_create,
  wireguard_interface_delete,
  wireguard_peer_add_v2,
  wireguard_peer_remove,
} from 'vpp-binapi-ts/wireguard';
import type { ObjectOf } from '../../objects/object.js';
import { unrecorded } from '../api-trace.js';
import { type Call, call } from '../call.js';
import type { Handles } from '../handles.js';
import { no_interface } from '../paths.js';
import { type Programs, tag } from './common.js';

const no_key = new Uint8Array(32);
const bytesOf = (base64: string): Uint8Array => Buffer.from(base64, 'base64');

export const wireguard: Programs<'wireguard_interface' | 'wireguard_peer'> = {
  wireguard_interface: {
    add: (o, at) => unrecorded(create(o), at.api_trace),
    follow: (o, at) => [tag(o.tag, at)],
    remove: (o, at) => [call(wireguard_interface_delete, { sw_if_index: at.interface(o.tag) })],
  },
  wireguard_peer: {
    add: (o, at) => [
      call(wireguard_peer_add_v2, { peer: peer(o, at) }, { made: (reply) => reply.peer_index }),
    ],
    remove: (o, at) => [call(wireguard_peer_remove, { peer_index: at.of(o) })],
  },
};

function create(o: ObjectOf<'wireguard_interface'>): Call {
  return call(
    wireguard_interface_create,
    {
      interface: {
        user_instance: no_interface,
        sw_if_index: no_interface,
        // A key that VPP made would be another one in its next life.
        private_key: o.private_key === undefined ? no_key : bytesOf(o.private_key.reveal()),
        public_key: no_key,
        port: o.port,
        src_ip: o.src,
      },
      generate_key: false,
    },
    { made: (reply) => reply.sw_if_index },
  );
}

function peer(o: ObjectOf<'wireguard_peer'>, at: Handles) {
  return {
    peer_index: 0,
    preshared_key: no_key,
    preshared_key_set: false,
    public_key: bytesOf(o.public_key),
    port: o.port,
    persistent_keepalive: o.keepalive_s,
    // Where the endpoint is looked up.
    table_id: 0,
    endpoint: o.endpoint,
    sw_if_index: at.interface(o.interface),
    flags: 0,
    allowed_ips: o.allowed,
  };
}
