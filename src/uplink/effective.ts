/** How an uplink is driven in fact, for a person, and where that is a slower way than was asked for, or than the device could have. Pure. */
import type { Driver } from '../config.js';
import type { Uplink } from '../desired/node-inputs.js';
import type { VppObject } from '../objects/object.js';
import type { NumaOfThreads } from '../vpp-conn/numa-of-threads.js';
import type { CapturedUplink } from './captured.js';
import { driverFor, uplink_drivers } from './drivers.js';
import { farFrom } from './numa.js';

export interface EffectiveUplink {
  readonly name: string;
  readonly driver: Driver;
  /** By driver: why one that the product would rather have was not taken. */
  readonly passed_over?: CapturedUplink['passed_over'];
  readonly pci?: string;
  /** That Linux had for it. */
  readonly kernel_driver?: string;
  readonly numa?: number;
  readonly mtu: number;
  readonly rx_mode: string;
  readonly rx_queues?: number;
  readonly tx_queues?: number;
  readonly rx_ring?: number;
  readonly tx_ring?: number;
  /** Segments larger than a packet go to the device as they are. */
  readonly gso: boolean;
  /** By receive queue: which thread of VPP polls it. Absent: VPP has one thread, or has not told it. */
  readonly threads?: readonly string[];
  readonly slower: readonly string[];
}

/** Kernel drivers of devices that a driver of VPP's is made for. */
const made_for: Readonly<Record<string, Driver>> = {
  'virtio-pci': 'virtio',
  vmxnet3: 'vmxnet3',
  mlx5_core: 'rdma',
};

/** What VPP has told of its receive queues: how many there are, how they are polled, and by which worker, where it has any. */
export interface Polled {
  readonly objects: readonly VppObject[];
  readonly workers: number;
  readonly numa: NumaOfThreads;
}

/** Before VPP has told anything. */
export const nothing_told: Polled = { objects: [], workers: 0, numa: [] };

/** `gso`: asked for by the configuration. */
export function effectiveUplink(
  captured: CapturedUplink,
  uplink: Uplink,
  gso: { readonly asked: boolean; readonly on: boolean },
  { objects, workers, numa }: Polled = nothing_told,
): EffectiveUplink {
  const { spec, pci, passed_over } = captured;
  const { name: driver } = driverFor(captured);
  const own = objects.filter((object) => 'interface' in object && object.interface === uplink.device.tag);
  const queues = own.filter((object) => object.kind === 'rx_placement');
  const modes = own.filter((object) => object.kind === 'interface_rx_mode');
  const numbers = {
    ...(queues.length > 0 && { rx_queues: queues.length }),
    ...numbersOf(uplink.device),
  };
  const threads =
    workers === 0 ? [] : queues.map(({ queue_id, worker_id }) => `queue ${queue_id}: worker ${worker_id}`);
  const slower = [
    ...passedOver(driver, captured),
    ...fewer('receive', spec.rx_queues, numbers.rx_queues),
    ...fewer('send', spec.tx_queues, numbers.tx_queues),
    ...(gso.asked && !gso.on
      ? [
          'segments larger than a packet are cut before VPP gets them: the driver of an uplink does not cut them',
        ]
      : []),
    ...(driver === 'af_packet' && captured.offloads === false
      ? ['the device takes no segments larger than a packet']
      : []),
    ...farFrom(pci?.numa, queues, numa),
  ];
  return {
    name: uplink.name,
    driver,
    ...(passed_over !== undefined && Object.keys(passed_over).length > 0 && { passed_over }),
    ...(pci !== undefined && { pci: pci.address }),
    ...(pci?.driver !== undefined && { kernel_driver: pci.driver }),
    ...(pci?.numa !== undefined && { numa: pci.numa }),
    mtu: uplink.mtu,
    rx_mode: modes[0]?.mode ?? uplink.rx_mode,
    ...numbers,
    gso: 'gso' in uplink.device ? uplink.device.gso : gso.on && uplink_drivers[driver].large_segments,
    ...(threads.length > 0 && { threads }),
    slower,
  };
}

function numbersOf(
  device: Uplink['device'],
): Pick<EffectiveUplink, 'rx_queues' | 'tx_queues' | 'rx_ring' | 'tx_ring'> {
  switch (device.kind) {
    case 'af_packet': {
      const { rx_queues, tx_queues, rx_frames_per_block: rx_ring, tx_frames_per_block: tx_ring } = device;
      return { rx_queues, tx_queues, rx_ring, tx_ring };
    }
    case 'af_xdp':
    case 'rdma':
      return { rx_queues: device.rx_queues, rx_ring: device.rx_queue_size, tx_ring: device.tx_queue_size };
    case 'vmxnet3':
    case 'dev_port': {
      const { rx_queues, tx_queues, rx_queue_size: rx_ring, tx_queue_size: tx_ring } = device;
      return { rx_queues, tx_queues, rx_ring, tx_ring };
    }
    // What the hypervisor gives, and what a start-up file says.
    case 'virtio':
    case 'existing_interface':
      return {};
  }
}

/** Only of the driver that is made for the device: that the others were passed over is no news. */
function passedOver(driver: Driver, { pci, passed_over }: CapturedUplink): string[] {
  const better = made_for[pci?.driver ?? ''];
  if (better === undefined || better === driver) return [];
  const why = passed_over?.[better];
  return why === undefined ? [] : [`${driver} in place of ${better}: ${why}`];
}

function fewer(way: string, asked: number, got: number | undefined): string[] {
  return got === undefined || got >= asked
    ? []
    : [`${got} ${way} queues in place of ${asked}: no more are to be had`];
}
