import {
  wireguard_interface_create,
  wireguard_interface_delete,
  wireguard_interface_dump,
  wireguard_peer_add_v2,
  wireguard_peer_flags,
  wireguard_peer_remove,
  wireguard_peers_v2_dump,
} from 'vpp-binapi-ts/wireguard';
import { none } from '../fib.js';
import { type Handler, on, onDump, onPlain } from '../handler.js';
import { removeInterface } from './interface.js';

const no_key = new Uint8Array(32);

export const wireguard: readonly Handler[] = [
  on(
    wireguard_interface_create,
    { sw_if_index: none },
    (vpp, { interface: { private_key, port, src_ip } }) => ({
      sw_if_index: vpp.wireguard.add({ private_key: Buffer.from(private_key), port, src_ip }).sw_if_index,
    }),
  ),
  onPlain(wireguard_interface_delete, (vpp, { sw_if_index }) => {
    removeInterface(vpp, vpp.wireguard.delete(sw_if_index));
  }),
  onDump(wireguard_interface_dump, (vpp, { sw_if_index, show_private_key }) =>
    [...vpp.wireguard.devices.values()]
      .filter((one) => sw_if_index === none || one.sw_if_index === sw_if_index)
      .map(({ instance, private_key, ...device }) => ({
        interface: {
          ...device,
          user_instance: instance,
          private_key: show_private_key ? private_key : no_key,
        },
      })),
  ),
  on(wireguard_peer_add_v2, { peer_index: none }, (vpp, { peer }) => ({
    peer_index: vpp.wireguard.addPeer({
      public_key: Buffer.from(peer.public_key),
      port: peer.port,
      persistent_keepalive: peer.persistent_keepalive,
      table_id: peer.table_id,
      endpoint: peer.endpoint,
      sw_if_index: peer.sw_if_index,
      allowed_ips: peer.allowed_ips,
    }).peer_index,
  })),
  onPlain(wireguard_peer_remove, (vpp, { peer_index }) => vpp.wireguard.removePeer(peer_index)),
  // Whoever is asked for has answered: no packets are here that could say otherwise.
  onDump(wireguard_peers_v2_dump, (vpp, { peer_index }) =>
    vpp.wireguard.peers
      .filter((peer) => peer_index === none || peer.peer_index === peer_index)
      .map((peer) => ({
        peer: {
          ...peer,
          preshared_key: no_key,
          preshared_key_set: false,
          flags: wireguard_peer_flags.WIREGUARD_PEER_ESTABLISHED,
        },
      })),
  ),
];
