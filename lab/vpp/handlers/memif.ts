import {
  memif_create_v2,
  memif_delete,
  memif_dump,
  memif_socket_filename_add_del_v2,
  memif_socket_filename_dump,
} from 'vpp-binapi-ts/memif';
import { pbl_client_del, pbl_client_update } from 'vpp-binapi-ts/pbl';
import { none } from '../fib.js';
import { type Handler, on, onDump, onPlain } from '../handler.js';
import { Death, refuse, retval } from '../outcome.js';
import { removeInterface } from './interface.js';

const no_mac = '00:00:00:00:00:00';

export const memifs: readonly Handler[] = [
  on(memif_socket_filename_add_del_v2, { socket_id: 0 }, (vpp, { is_add, socket_id, socket_filename }) => {
    if (socket_id === 0) refuse(retval.INVALID_ARGUMENT);
    if (is_add)
      return {
        socket_id: vpp.memifs.addSocket(socket_id === none ? undefined : socket_id, socket_filename),
      };
    vpp.memifs.removeSocket(socket_id);
    return { socket_id };
  }),
  on(memif_create_v2, { sw_if_index: 0 }, (vpp, { role, mode, id, socket_id, ring_size, hw_addr }) => {
    if ((ring_size & (ring_size - 1)) !== 0) refuse(retval.INVALID_ARGUMENT);
    if (mode !== 'MEMIF_MODE_API_IP' && mode !== 'MEMIF_MODE_API_ETHERNET')
      throw new Death(`a memif with mode ${mode}`);
    const is_master = role === 'MEMIF_ROLE_API_MASTER';
    const mac = hw_addr === no_mac ? vpp.interfaces.randomMac() : hw_addr;
    const one = vpp.memifs.add({ id, socket_id, is_master, is_ip: mode === 'MEMIF_MODE_API_IP' }, mac);
    return { sw_if_index: one.sw_if_index };
  }),
  onPlain(memif_delete, (vpp, { sw_if_index }) => removeInterface(vpp, vpp.memifs.delete(sw_if_index))),
  onDump(memif_socket_filename_dump, (vpp) => vpp.memifs.sockets.values()),
  onDump(memif_dump, (vpp) =>
    [...vpp.memifs.devices.values()].map(({ sw_if_index, id, socket_id, is_master, is_ip }) => {
      const { mac, name, admin_up } = vpp.interfaces.get(sw_if_index);
      return {
        sw_if_index,
        hw_addr: is_ip ? no_mac : mac,
        id,
        role: is_master ? 'MEMIF_ROLE_API_MASTER' : 'MEMIF_ROLE_API_SLAVE',
        mode: is_ip ? 'MEMIF_MODE_API_IP' : 'MEMIF_MODE_API_ETHERNET',
        zero_copy: false,
        socket_id,
        ring_size: 1,
        buffer_size: 0,
        flags: admin_up ? 1 : 0,
        if_name: name,
      };
    }),
  ),
  on(pbl_client_update, { id: none }, (vpp, { client: { addr, table_id, port_ranges, paths } }) => ({
    id: vpp.pbl.add(table_id, addr, port_ranges, paths),
  })),
  onPlain(pbl_client_del, (vpp, { id }) => vpp.pbl.remove(id)),
];
