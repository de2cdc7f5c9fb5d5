/** Drivers of VPP's own framework for devices (`dev`). */
import type { PciFacts } from '../host/devices/pci-facts.js';
import { askedMtu, type DeviceChange, type DeviceFacts, type UplinkDriver } from './driver.js';
import type { Obstacle } from './obstacles.js';
import { bindChanges, binderOf, mtuAtMost, needsHugepages, noIommu, pciObstacles } from './pci-needs.js';

const intel = '8086';
/** PCI ids of VPP's sources: `iavf_dev_types`, `ige_dev_types`. */
const iavf_ids: readonly string[] = ['1889', '154c', '37cd'];
const ige_ids: readonly string[] = ['1539', '15f2', '15f3', '0d9f', '125b', '125c', '125d'];
/** Kernel drivers of cards whose virtual functions are of these. */
const iavf_parents: readonly string[] = ['i40e', 'ice'];
/** What VPP takes, in powers of two, which the configuration has checked. Of iavf the card may grant fewer queues: VPP refuses more. */
const limits = {
  iavf: { ring_min: 32, ring_max: 4096, queues_max: 16 },
  ige: { ring_min: 512, ring_max: 32_768, queues_max: 4 },
} as const;

/**
 * Is the device itself a virtual function? Then VPP gets it; else it gets one that is made of the device. A virtual machine that was given one does not see of
 * which card it is.
 */
const isVirtual = (pci: PciFacts | undefined): boolean =>
  pci !== undefined && (pci.physical_function !== undefined || isOfIavf(pci));

const isOfIavf = ({ vendor, device }: PciFacts): boolean => vendor === intel && iavf_ids.includes(device);

/**
 * Queues that the card grants this virtual function: Linux' iavf tells them as channels. Undefined where nobody knows before VPP asks the card: of a function
 * that is yet to be made, and where Linux has none of the device. sysfs tells nothing of it: `sriov_vf_msix_count` is only written, and `msi_irqs` has what Linux
 * took, which is no more than it has CPUs.
 */
const granted = ({ pci, channels }: DeviceFacts): number | undefined =>
  pci?.driver === 'iavf' ? channels?.max_combined || undefined : undefined;

function port(driver: 'iavf' | 'ige', facts: DeviceFacts, pci: string, tag: string) {
  const { spec } = facts;
  const { ring_min, ring_max, queues_max: most } = limits[driver];
  const queues_max = Math.min(most, granted(facts) ?? most);
  const ringOf = (asked: number): number => Math.max(ring_min, Math.min(ring_max, asked));
  return {
    kind: 'dev_port',
    tag,
    pci,
    driver,
    rx_queues: Math.min(queues_max, spec.rx_queues),
    tx_queues: Math.min(queues_max, spec.tx_queues),
    rx_queue_size: ringOf(spec.rx_ring_size),
    tx_queue_size: ringOf(spec.tx_ring_size),
  } as const;
}

/** The MAC of a virtual function: a local one like that of its device, since no two ports of a card's switch may have the same. */
export function macOfVf(mac: string): string {
  const [first = '00', ...rest] = mac.split(':');
  const byte = Number.parseInt(first, 16);
  const local = (byte & locally_administered) === 0 ? byte | locally_administered : byte ^ 0x04;
  return [local.toString(16).padStart(2, '0'), ...rest].join(':');
}

const locally_administered = 0x02;

/** What VPP gets: the device, or the virtual function that is made of it. */
const given = ({ pci }: DeviceFacts): string =>
  (isVirtual(pci) ? pci?.address : (pci?.vfs[0] ?? pci?.first_vf)) ?? '';

/**
 * Virtual functions of Intel's larger cards. Where the uplink is the card itself, one is made of it, and the card's own device lies in VPP's
 * namespace: its virtual functions have no link without it.
 */
export const iavf: UplinkDriver = {
  name: 'iavf',
  default_rx_mode: 'polling',
  // A virtual function is Linux's no more; its card is, and stays out of the host's way.
  moves: ({ pci }) => !isVirtual(pci),
  spoils_vpp: true,
  large_segments: true,
  mtu: askedMtu,
  prepare: (facts) => {
    const { pci, link } = facts;
    if (pci === undefined || isVirtual(pci)) return bindChanges(facts);
    const vf = given(facts);
    const changes: DeviceChange[] = [
      ...noIommu(pci, binderOf(facts)),
      { do: 'make_vf', of: pci.address, vf, mac: macOfVf(link.mac ?? '00:00:00:00:00:00') },
      { do: 'bind', pci: vf, driver: binderOf(facts) },
    ];
    return changes;
  },
  // VPP's ige takes frames of any length that the card can; its iavf none of more than 1514 bytes unless it is told to.
  device: (facts, tag) => ({ ...port('iavf', facts, given(facts), tag), mtu: askedMtu(facts) }),
  lacks: (facts, machine) => [
    ...vfObstacles(facts),
    ...(isVirtual(facts.pci)
      ? pciObstacles('iavf', facts, machine)
      : pciObstacles('iavf', facts, machine, iavf_parents, 'a function of it')),
    ...needsHugepages('iavf', machine),
    ...mtuAtMost(9702, 'iavf', askedMtu(facts)),
  ],
};

function vfObstacles({ pci }: DeviceFacts): Obstacle[] {
  if (pci === undefined) return [];
  if (isVirtual(pci)) {
    if (isOfIavf(pci)) return [];
    return [
      {
        what: `is the virtual function ${pci.vendor}:${pci.device}`,
        why: `VPP's iavf drives ${iavf_ids.map((id) => `${intel}:${id}`).join(', ')}`,
        step: 'use af_packet',
      },
    ];
  }
  if (pci.vfs.length > 0) {
    return [
      {
        what: `has virtual functions already (${pci.vfs.join(', ')})`,
        why: 'they may be those of somebody else',
        step: 'name one of them as interfaceName, or remove them (echo 0 > sriov_numvfs)',
      },
    ];
  }
  if (pci.vfs_max > 0 && pci.first_vf !== undefined) return [];
  return [
    {
      what: 'makes no virtual function',
      why: 'VPP drives one of those, and never the card itself',
      step: 'turn SR-IOV on in the firmware of card and machine, or use af_packet',
    },
  ];
}

/** Intel's I211, I225 and I226. */
export const ige: UplinkDriver = {
  name: 'ige',
  default_rx_mode: 'polling',
  moves: () => false,
  spoils_vpp: true,
  // It cuts nothing.
  large_segments: false,
  mtu: askedMtu,
  prepare: bindChanges,
  device: (facts, tag) => port('ige', facts, facts.pci?.address ?? '', tag),
  lacks: (facts, machine) => {
    const { pci } = facts;
    const is_known = pci === undefined || (pci.vendor === intel && ige_ids.includes(pci.device));
    return [
      ...(is_known
        ? []
        : [
            {
              what: `is a device ${pci.vendor}:${pci.device}`,
              why: `VPP's ige drives ${ige_ids.map((id) => `${intel}:${id}`).join(', ')}`,
              step: 'use af_packet',
            },
          ]),
      ...pciObstacles('ige', facts, machine),
      ...needsHugepages('ige', machine),
      ...mtuAtMost(9700, 'ige', askedMtu(facts)),
    ];
  },
};
