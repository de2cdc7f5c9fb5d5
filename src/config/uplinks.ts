import type { InterfacesDocument, UplinkDocument } from './documents.js';
import { fillIn, type InterfaceSpec, interface_spec_default, ringFaults } from './interface-spec.js';
import { nearest } from './nearest.js';
import { BadValue, type Fault } from './problem.js';
import { boolean } from './values.js';

export const drivers = [
  'af_packet',
  'af_xdp',
  'virtio',
  'dpdk',
  'rdma',
  'vmxnet3',
  'iavf',
  'ige',
  'none',
] as const;
export type Driver = (typeof drivers)[number];

/** One Linux device that VPP takes over. */
export interface UplinkSpec extends InterfaceSpec {
  readonly interface_name: string;
  /** Place in the list, from 0. The VPP side of the host tap has it as last byte of its MAC. */
  readonly index: number;
  /** Absent: found out from the device. */
  readonly driver?: Driver;
  /** Kernel PCI driver that the device is bound to before VPP starts, e.g. `vfio-pci`. */
  readonly new_driver?: string;
  readonly is_main: boolean;
  /** Empty: the default network. */
  readonly physical_network: string;
  /** Absent: that of the device. */
  readonly mtu?: number;
  /** Families that must have an address that is not link-local before VPP starts. Empty: any one address will do. */
  readonly families: readonly (4 | 6)[];
  readonly af_packet_v3: boolean;
  readonly af_packet_qdisc_bypass: boolean;
}

/** Those that nothing is bound for. */
const keeps_kernel_driver: readonly Driver[] = ['af_packet', 'af_xdp', 'rdma', 'none'];

/** IFNAMSIZ less the closing NUL. */
const interface_name_max = 15;
/** One byte of the tap's MAC. */
const uplinks_max = 256;

/** Bytes of one frame, and blocks of one receive ring of TPACKET_V3: VPP's af_packet plugin, not configurable. */
export const af_packet_frame_bytes = 65536;
export const af_packet_v3_rx_blocks = 160;
/** Frames per block that VPP takes by itself for TPACKET_V3; each more costs 10 MiB of pinned memory per queue. */
const af_packet_v3_frames_max = 32;

/** Pinned kernel memory of the packet rings of an af_packet uplink. */
export function afPacketRingBytes(
  uplink: Pick<UplinkSpec, 'af_packet_v3' | 'rx_queues' | 'tx_queues' | 'rx_ring_size' | 'tx_ring_size'>,
): number {
  const rx_blocks = uplink.af_packet_v3 ? af_packet_v3_rx_blocks : 1;
  const frames = uplink.rx_queues * uplink.rx_ring_size * rx_blocks + uplink.tx_queues * uplink.tx_ring_size;
  return frames * af_packet_frame_bytes;
}

type Warn = (text: string) => void;

/** VPP's own driver of that name is gone: what drove these devices is one of its `dev` framework. */
const former_names: Readonly<Record<string, Driver>> = { avf: 'iavf' };

function driverOf(name: string, path: string, faults: Fault[], warn: Warn): Driver | undefined {
  const asked = name.trim().toLowerCase();
  const lower = former_names[asked] ?? asked;
  if (lower !== asked) warn(`${path}vppDriver ${asked} is now ${lower}`);
  const driver = drivers.find((each) => each === lower);
  if (lower !== '' && !driver) {
    const [meant] = nearest(lower, drivers);
    const hint = meant ? `; did you mean ${meant}?` : '';
    faults.push({
      path: `${path}vppDriver`,
      cause: `${JSON.stringify(name)} is not a driver${hint}`,
      step: `use one of ${drivers.join(', ')}, or leave it empty to have it found out`,
    });
  }
  return driver;
}

function familiesOf(text: string, path: string, faults: Fault[]): (4 | 6)[] {
  const words = text.split(',').map((word) => word.trim().toLowerCase());
  const families = words.flatMap((word): (4 | 6)[] => (word === 'ipv4' ? [4] : word === 'ipv6' ? [6] : []));
  if (text.trim() === '') return [];
  if (families.length === words.length) return [...new Set(families)].sort();
  faults.push({
    path: `${path}ipFamilies`,
    cause: `${JSON.stringify(text)} is not a list of address families`,
    step: 'use IPv4, IPv6 or IPv4,IPv6',
  });
  return [];
}

const annotation_names = {
  AfPacketUseV3: 'af_packet_v3',
  AfPacketQdiscBypass: 'af_packet_qdisc_bypass',
} as const;

function annotationsOf(document: UplinkDocument, path: string, faults: Fault[], warn: Warn) {
  const options = { af_packet_v3: false, af_packet_qdisc_bypass: false };
  for (const [key, value] of Object.entries(document.annotations)) {
    const here = `${path}annotations.${key}`;
    const known = Object.entries(annotation_names).find(([name]) => name === key);
    if (!known) {
      warn(`unknown key ${here} is ignored`);
      continue;
    }
    try {
      options[known[1]] = boolean(value, warn);
    } catch (error) {
      if (!(error instanceof BadValue)) throw error;
      faults.push(...error.faults.map((fault) => ({ ...fault, path: here })));
    }
  }
  return options;
}

function nameFaults(name: string, path: string): Fault[] {
  const cause =
    name === ''
      ? 'it names no device'
      : name.length > interface_name_max || /[\s/:]/.test(name) || name === '.' || name === '..'
        ? `${JSON.stringify(name)} cannot be the name of a Linux device`
        : undefined;
  if (!cause) return [];
  return [
    {
      path: `${path}interfaceName`,
      cause,
      step: `use a name that "ip link" shows (at most ${interface_name_max} letters)`,
    },
  ];
}

function uplink(
  document: UplinkDocument,
  index: number,
  path: string,
  faults: Fault[],
  warn: Warn,
): UplinkSpec {
  const driver = driverOf(document.vppDriver, path, faults, warn);
  const options = annotationsOf(document, path, faults, warn);
  const spec = fillIn(document, interface_spec_default, (text) => warn(`${path}${text}`));
  faults.push(...nameFaults(document.interfaceName, path));
  faults.push(...ringFaults(spec, path, driver === 'af_xdp' || driver === 'rdma' ? 256 : 1));
  if (document.mtu !== 0 && document.mtu < 68) {
    faults.push({
      path: `${path}mtu`,
      cause: `${document.mtu} is less than IP needs`,
      step: 'use 68 or more, or 0 for that of the device',
    });
  }
  if (document.newDriver && driver !== undefined && keeps_kernel_driver.includes(driver))
    warn(`${path}newDriver has no effect: with ${driver} the device keeps its kernel driver`);
  if (options.af_packet_v3 && document.rxqsz !== undefined && document.rxqsz > af_packet_v3_frames_max) {
    const gib = (af_packet_frame_bytes * af_packet_v3_rx_blocks * document.rxqsz) / 2 ** 30;
    warn(
      `${path}rxqsz ${document.rxqsz} with AfPacketUseV3 would pin ${gib.toFixed(1)} GiB per queue: ${af_packet_v3_frames_max} is used`,
    );
  }
  return {
    ...spec,
    ...(options.af_packet_v3 && {
      rx_ring_size: Math.min(document.rxqsz || af_packet_v3_frames_max, af_packet_v3_frames_max),
    }),
    interface_name: document.interfaceName,
    index,
    ...(driver && { driver }),
    ...(document.newDriver && { new_driver: document.newDriver }),
    is_main: document.isMain,
    physical_network: document.physicalNetworkName,
    ...(document.mtu !== 0 && { mtu: document.mtu }),
    families: familiesOf(document.ipFamilies, path, faults),
    ...options,
  };
}

/** The three variables that described the only uplink before CALICOVPP_INTERFACES did. */
export interface DeprecatedUplink {
  readonly interface: string;
  readonly native_driver: string;
  readonly swap_driver: string;
}

/**
 * The uplinks in order: the one of the deprecated variables first, then those of the document.
 * Exactly one is main: the one that says so, else the first. `faults` and `warn` are told what is wrong.
 */
export function assembleUplinks(
  document: InterfacesDocument,
  deprecated: DeprecatedUplink,
  faults: Fault[],
  warn: Warn,
): readonly UplinkSpec[] {
  const old: UplinkDocument[] =
    deprecated.interface === ''
      ? []
      : [
          {
            interfaceName: deprecated.interface,
            vppDriver: deprecated.native_driver,
            newDriver: deprecated.swap_driver,
            isMain: false,
            physicalNetworkName: '',
            mtu: 0,
            ipFamilies: '',
            annotations: {},
          },
        ];
  const given = [...old, ...document.uplinkInterfaces];
  const at = (i: number): string =>
    i < old.length ? '(from CALICOVPP_INTERFACE) ' : `uplinkInterfaces[${i - old.length}].`;

  if (given.length === 0) {
    faults.push({
      path: 'uplinkInterfaces',
      cause: 'no uplink is named',
      step: 'name the device of the node network, e.g. {"uplinkInterfaces":[{"interfaceName":"eth0"}]}',
    });
  }
  if (given.length > uplinks_max) {
    faults.push({
      path: 'uplinkInterfaces',
      cause: `${given.length} uplinks are too many`,
      step: `name at most ${uplinks_max}`,
    });
    return [];
  }
  const uplinks = given.map((each, i) => uplink(each, i, at(i), faults, warn));

  const mains = uplinks.filter(({ is_main }) => is_main);
  if (mains.length > 1) {
    faults.push({
      path: 'uplinkInterfaces',
      cause: `${mains.map(({ interface_name }) => interface_name).join(' and ')} all have isMain`,
      step: 'leave isMain on one',
    });
  }
  const main_index = mains[0]?.index ?? 0;
  for (const { index, interface_name, driver } of uplinks) {
    const first = uplinks.findIndex((other) => other.interface_name === interface_name);
    if (first !== index && interface_name !== '') {
      faults.push({
        path: `${at(index)}interfaceName`,
        cause: `${interface_name} is named twice`,
        step:
          index >= old.length && first < old.length ? 'remove CALICOVPP_INTERFACE' : 'name each device once',
      });
    }
    if (index !== main_index && !driver && given[index]!.vppDriver === '') {
      faults.push({
        path: `${at(index)}vppDriver`,
        cause: `the driver of ${interface_name || 'the uplink'} is found out for the main uplink only`,
        step: `name it: ${drivers.join(', ')}`,
      });
    }
  }
  return uplinks.map((each) => ({ ...each, is_main: each.index === main_index }));
}
