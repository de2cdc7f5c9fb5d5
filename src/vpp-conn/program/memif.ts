/** Memifs of pods, and what leads to them. */
import { memif_create_v2, memif_delete, memif_socket_filename_add_del_v2 } from 'vpp-binapi-ts/memif';
import { pbl_client_del, pbl_client_update } from 'vpp-binapi-ts/pbl';
import { familyOf } from '../../ip/text.js';
import { memifSocket } from '../../objects/memif.js';
import type { ObjectOf } from '../../objects/object.js';
import { call } from '../call.js';
import type { Handles } from '../handles.js';
import { no_interface, pathTo } from '../paths.js';
import { type Programs, protocols, tag } from './common.js';

/** What a program has that says nothing else: it decides. */
const ring_size = 1024;
const buffer_size = 2048;
const no_mac = '00:00:00:00:00:00';
/** An id that VPP does not know: the socket has gone. */
const no_such_socket = -73;

export const memif: Programs<'memif' | 'pbl_client'> = {
  memif: {
    add: (o, at) => {
      const socket_id = at.memif_sockets.next(o.tag);
      return [
        socket(socket_id, memifSocket(o)),
        call(
          memif_create_v2,
          {
            role: 'MEMIF_ROLE_API_MASTER',
            mode: o.mode === 'ip' ? 'MEMIF_MODE_API_IP' : 'MEMIF_MODE_API_ETHERNET',
            rx_queues: 1,
            tx_queues: 1,
            id: 0,
            socket_id,
            ring_size,
            buffer_size,
            no_zero_copy: false,
            use_dma: false,
            hw_addr: o.mac ?? no_mac,
            secret: '',
          },
          { made: (reply) => reply.sw_if_index },
        ),
      ];
    },
    follow: (o, at) => {
      at.memif_sockets.made(o.tag);
      return [tag(o.tag, at)];
    },
    // The socket is in use as long as there is an interface on it.
    remove: (o, at) => [
      call(memif_delete, { sw_if_index: at.interface(o.tag) }),
      call(
        memif_socket_filename_add_del_v2,
        { is_add: false, socket_id: at.memif_sockets.of(o.tag), socket_filename: '' },
        { tolerated: [no_such_socket] },
      ),
    ],
  },
  pbl_client: {
    add: (o, at) => [call(pbl_client_update, { client: client(o, at) }, { made: (reply) => reply.id })],
    remove: (o, at) => [call(pbl_client_del, { id: at.of(o) })],
  },
};

function socket(socket_id: number, socket_filename: string) {
  return call(memif_socket_filename_add_del_v2, { is_add: true, socket_id, socket_filename });
}

/** VPP takes one path, of the address's family, or it sends what is IPv6 as IPv4. */
function client(o: ObjectOf<'pbl_client'>, at: Handles) {
  const sw_if_index = at.interface(o.interface);
  return {
    id: no_interface,
    addr: o.address,
    paths: pathTo(familyOf(o.address), { sw_if_index, ...(o.next_hop && { next_hop: o.next_hop }) }),
    flags: 0,
    table_id: o.table_id ?? 0,
    port_ranges: o.ports.map(({ protocol, first, last }) => ({
      start: first,
      end: last,
      iproto: protocols[protocol],
    })),
  };
}
