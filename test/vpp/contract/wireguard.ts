/** WireGuard: its interface, with a key that it is given, and its peers. Nobody answers: how peers are is not compared. */
import {
  wireguard_interface_create,
  wireguard_interface_delete,
  wireguard_interface_dump,
  wireguard_peer_add_v2,
  wireguard_peer_remove,
  wireguard_peers_v2_dump,
} from 'vpp-binapi-ts/wireguard';
import {
  address,
  ask,
  interfaces,
  no_route,
  none,
  route,
  routes,
  type Sequence,
  tap,
  unnumbered,
  unnumbereds,
  up,
  via,
} from './steps.js';

const bytes = (of: number): Uint8Array => new Uint8Array(32).fill(of);
const create = (key: number, src_ip: string, port = 51_820) =>
  ask(wireguard_interface_create, {
    interface: {
      user_instance: none,
      sw_if_index: none,
      private_key: bytes(key),
      public_key: bytes(0),
      port,
      src_ip,
    },
    generate_key: false,
  });
const remove = (sw_if_index: number) => ask(wireguard_interface_delete, { sw_if_index });
const devices = (show_private_key = false) =>
  ask(wireguard_interface_dump, { show_private_key, sw_if_index: none });
const peer = (
  key: number,
  endpoint: string,
  allowed_ips: readonly string[],
  { sw_if_index = 2, keepalive_s = 0 } = {},
) =>
  ask(wireguard_peer_add_v2, {
    peer: {
      peer_index: none,
      public_key: bytes(key),
      port: 51_820,
      persistent_keepalive: keepalive_s,
      table_id: 0,
      endpoint,
      sw_if_index,
      flags: 0,
      preshared_key: bytes(0),
      preshared_key_set: false,
      allowed_ips: [...allowed_ips],
    },
  });
const no_peer = (peer_index: number) => ask(wireguard_peer_remove, { peer_index });
const peers = (peer_index = none) => ask(wireguard_peers_v2_dump, { peer_index });
const uplink = [tap(), address(1, '10.0.0.2/24'), address(1, 'fd00::2/64'), up(1)];

export const sequences: readonly Sequence[] = [
  {
    name: 'WireGuard: an interface with its key, peers of both families, and each key once',
    steps: [
      ...uplink,
      create(7, '10.0.0.2'),
      devices(),
      devices(true),
      unnumbered(2, 1),
      unnumbereds(),
      up(2),
      interfaces(),
      peer(3, '10.0.0.3', ['10.0.0.3/32', '10.1.3.0/26', 'fd00::3/128', 'fd10:3::/122']),
      peer(4, '10.0.0.4', ['10.0.0.4/32', '10.1.4.0/26'], { keepalive_s: 25 }),
      peer(3, '10.0.0.5', ['10.0.0.5/32']),
      peer(5, '10.0.0.5', []),
      peer(5, '10.0.0.5', ['10.0.0.5/32'], { sw_if_index: 9 }),
      peers(),
      peers(0),
      peers(1),
      route(0, '10.1.3.0/26', [via(2, '10.0.0.3')]),
      route(0, 'fd10:3::/122', [via(2, 'fd00::3')]),
      routes(0, false),
      routes(0, true),
      // Another one by the number of the first, and the number that follows.
      no_peer(0),
      no_peer(0),
      peer(3, '10.0.0.3', ['10.0.0.3/32', '10.1.3.0/26', '10.1.33.0/26']),
      peer(5, '10.0.0.5', ['10.0.0.5/32']),
      peers(),
      no_peer(9),
      no_route(0, '10.1.3.0/26'),
      no_route(0, 'fd10:3::/122'),
      remove(2),
      devices(),
      peers(),
      remove(2),
      interfaces(),
    ],
  },
  {
    name: 'WireGuard: over IPv6, two interfaces of one key, and a port that another one has',
    steps: [
      ...uplink,
      create(7, 'fd00::2'),
      create(7, '10.0.0.2'),
      create(8, '10.0.0.2', 51_821),
      devices(),
      peer(3, 'fd00::3', ['fd00::3/128', '10.1.3.0/26']),
      peer(3, 'fd00::3', ['fd00::4/128'], { sw_if_index: 3 }),
      peer(4, '10.0.0.4', ['10.0.0.4/32']),
      peers(),
      remove(2),
      remove(1),
      peers(),
      devices(),
    ],
  },
];
