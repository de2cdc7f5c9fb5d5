/** memif sockets and interfaces, and which ports lead to one. */
import {
  type memif_create_v2 as Create,
  memif_create_v2,
  memif_delete,
  memif_dump,
  memif_socket_filename_add_del_v2,
} from 'vpp-binapi-ts/memif';
import { pbl_client_del, pbl_client_update, type pbl_port_range } from 'vpp-binapi-ts/pbl';
import {
  ask,
  bind,
  cnat_feature,
  interfaces,
  no_table,
  no_tap,
  none,
  own,
  path,
  proto6,
  route,
  routes,
  type Sequence,
  snat_addresses,
  source,
  table,
  tun,
  unnumbered,
  up,
} from './steps.js';

/** None of a namespace: the sockets are in that of VPP. */
const name = (which: string): string => `abstract:contract/${which}`;
const socket = (socket_id: number, socket_filename: string) =>
  ask(memif_socket_filename_add_del_v2, { is_add: true, socket_id, socket_filename });
const no_socket = (socket_id: number) =>
  ask(memif_socket_filename_add_del_v2, { is_add: false, socket_id, socket_filename: '' });
const memif = (socket_id: number, more: Partial<Create> = {}) =>
  ask(memif_create_v2, {
    role: 'MEMIF_ROLE_API_MASTER',
    mode: 'MEMIF_MODE_API_IP',
    rx_queues: 1,
    tx_queues: 1,
    id: 0,
    socket_id,
    ring_size: 1024,
    buffer_size: 2048,
    no_zero_copy: false,
    use_dma: false,
    hw_addr: '00:00:00:00:00:00',
    secret: '',
    ...more,
  });
const no_memif = (sw_if_index: number) => ask(memif_delete, { sw_if_index });
const memifs = () => ask(memif_dump, {});
const tcp = (start: number, end: number): pbl_port_range => ({ start, end, iproto: 'IP_API_PROTO_TCP' });
const split = (addr: string, table_id: number, sw_if_index: number) =>
  ask(pbl_client_update, {
    client: {
      id: none,
      addr,
      paths: path({ sw_if_index, rpf_id: 0, ...(addr.includes(':') && proto6) }),
      flags: 0,
      table_id,
      port_ranges: [tcp(80, 90)],
    },
  });
const no_split = (id: number) => ask(pbl_client_del, { id });

const pod = 16_777_216;

const pod_with_memif = [
  snat_addresses('10.0.0.2', 'fd00::2'),
  source('pods', 0x70),
  table(pod, false, 'pod-ip4'),
  table(pod, true, 'pod-ip6'),
  tun({ tag: 'pod' }),
  bind(1, false, pod),
  bind(1, true, pod),
  socket(1_048_577, name('pod')),
  memif(1_048_577),
  bind(2, false, pod),
  bind(2, true, pod),
  cnat_feature(1),
  cnat_feature(2),
  unnumbered(2, 1),
  up(1),
  up(2),
];

export const sequences: readonly Sequence[] = [
  {
    name: 'memif: sockets and the interfaces on them',
    steps: [
      socket(0, name('a')),
      socket(7, name('a')),
      socket(7, name('a')),
      socket(7, name('b')),
      socket(8, ''),
      no_socket(9),
      memif(9),
      memif(7),
      memif(7),
      memif(7, { id: 1, role: 'MEMIF_ROLE_API_SLAVE' }),
      memif(7, { id: 2, ring_size: 1000 }),
      memif(7, { id: 3, mode: 'MEMIF_MODE_API_ETHERNET', hw_addr: '02:ca:11:c0:fe:01' }),
      memifs(),
      interfaces(),
      up(1),
      memifs(),
      no_socket(7),
      no_memif(1),
      no_memif(1),
      no_socket(7),
      no_memif(2),
      no_socket(7),
      no_socket(7),
      memifs(),
    ],
  },
  {
    name: 'memif: ports of an address lead to it, and hide its route',
    devices: true,
    steps: [
      ...pod_with_memif,
      route(pod, '10.1.0.5/32', [path({ sw_if_index: 1, nh: '10.1.0.5', rpf_id: 0 })], false, own(0)),
      route(pod, 'fd10::5/128', [path({ sw_if_index: 1, nh: 'fd10::5', rpf_id: 0 })], false, own(0)),
      routes(pod, false, own(0)),
      split('10.1.0.5', pod, 2),
      split('fd10::5', pod, 2),
      routes(pod, false, own(0)),
      routes(pod, true, own(0)),
      no_split(2),
      no_split(0),
      no_split(0),
      routes(pod, false, own(0)),
      routes(pod, true, own(0)),
      no_memif(2),
      no_socket(1_048_577),
      no_tap(1),
      no_table(pod, false),
      no_table(pod, true),
    ],
  },
  {
    name: 'pbl: a client in a table that does not exist',
    devices: true,
    dies: true,
    steps: [...pod_with_memif, split('10.1.0.5', 77, 2)],
  },
];
