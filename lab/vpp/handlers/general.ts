import { feature_enable_disable, feature_is_enabled } from 'vpp-binapi-ts/feature';
import { feature_gso_enable_disable } from 'vpp-binapi-ts/gso';
import { ip_ttl_fixup_configure } from 'vpp-binapi-ts/ip_ttl_fixup';
import { control_ping, memclnt_keepalive, sockclnt_delete } from 'vpp-binapi-ts/memclnt';
import { cli_inband, show_threads } from 'vpp-binapi-ts/vlib';
import { show_version, show_vpe_system_time } from 'vpp-binapi-ts/vpe';
import { bundles } from '../features.js';
import { type Handler, on, onPlain, onRaw } from '../handler.js';
import { retval } from '../outcome.js';
import { detachByName } from './pci-device.js';

/** The version says what it is: a program that reads it shows it to its user. */
export const version = '26.10-rc0~stand-in';

const commands: Readonly<Record<string, string>> = {
  'api trace status': 'RX trace: used 17 of 8192 items, is enabled, has not wrapped\n',
  'show version': `vpp v${version}: answers like VPP, no packets pass\n`,
};

export const general: readonly Handler[] = [
  on(control_ping, { client_index: 0, vpe_pid: 0 }, ({ facts }, _fields, { client_index }) => ({
    client_index,
    vpe_pid: facts.pid,
  })),
  onPlain(memclnt_keepalive, () => {}),
  onRaw(sockclnt_delete, () => ({ response: 0 })),
  on(show_version, { program: '', version: '', build_date: '', build_directory: '' }, () => ({
    program: 'vpe',
    version,
    build_date: '',
    build_directory: '',
  })),
  on(show_vpe_system_time, { vpe_system_time: 0 }, ({ facts }) => ({
    vpe_system_time: facts.clock.wall_ms() / 1000,
  })),
  on(show_threads, { thread_data: [] }, ({ facts: { pid }, numa }) => ({
    thread_data: numa.map((node, id) => ({
      id,
      name: id === 0 ? 'vpp_main' : `vpp_wk_${id - 1}`,
      type: id === 0 ? '' : 'workers',
      pid: pid + id,
      cpu_id: id,
      core: id,
      cpu_socket: node >>> 0,
    })),
  })),
  onRaw(cli_inband, (vpp, { cmd }) => {
    const is_done = vpp.cnat.command(cmd.trim());
    if (is_done !== undefined)
      return { retval: is_done ? 0 : retval.UNSPECIFIED, reply: is_done ? '' : 'no snat policy' };
    const [, device_id] = /^\s*device detach (\S+)\s*$/.exec(cmd) ?? [];
    if (device_id !== undefined)
      return detachByName(vpp, device_id)
        ? { retval: 0, reply: '' }
        : {
            retval: retval.UNSPECIFIED,
            reply: `device detach: unable to detach '${device_id}': unknown device\n`,
          };
    if (cmd.trim() === 'show app ns') return { retval: 0, reply: vpp.app_namespaces.show() };
    if (cmd.trim() === 'show clock' && vpp.own_clock !== undefined) {
      // Without the 0 before the point.
      const seconds = vpp.own_clock().toFixed(6).replace(/^0/, '');
      return { retval: 0, reply: `Time now ${seconds}, Thu, 1 Jan 1970 00:00:00 GMT\n` };
    }
    if (cmd.trim() === 'show pbl client') return { retval: 0, reply: vpp.pbl.show() };
    const reply = commands[cmd.trim()] ?? (/^api trace o(n|ff)\b/.test(cmd) ? '' : undefined);
    return reply === undefined
      ? { retval: retval.UNSPECIFIED, reply: `unknown input \`${cmd}'\n` }
      : { retval: 0, reply };
  }),
  on(feature_is_enabled, { is_enabled: false }, (vpp, { arc_name, feature_name, sw_if_index }) => ({
    is_enabled: vpp.features.answer(vpp.interfaces.get(sw_if_index).sw_if_index, arc_name, feature_name),
  })),
  on(feature_enable_disable, {}, (vpp, { sw_if_index, enable, arc_name, feature_name }) => {
    const { sw_if_index: index } = vpp.interfaces.get(sw_if_index);
    if (!vpp.features.isKnown(arc_name, feature_name)) return { retval: retval.INVALID_VALUE };
    vpp.features.set(index, [`${arc_name}/${feature_name}`], enable);
    return {};
  }),
  onPlain(feature_gso_enable_disable, (vpp, { sw_if_index, enable_disable }) => {
    vpp.features.set(vpp.interfaces.get(sw_if_index).sw_if_index, bundles.gso, enable_disable);
  }),
  onPlain(ip_ttl_fixup_configure, (vpp, { src_sw_if_index, dst_sw_if_index, enable }) => {
    const pair = `${src_sw_if_index}/${dst_sw_if_index}`;
    if (enable) vpp.ttl_fixups.add(pair);
    else vpp.ttl_fixups.delete(pair);
  }),
];
