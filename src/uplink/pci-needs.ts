/** What a device needs that VPP drives past the kernel, and what is done to it. Pure. */
import { nearest } from '../config/nearest.js';
import { type Holder, user_space_drivers as known_binders } from '../host/devices/pci-driver.js';
import type { MachineFacts, PciFacts } from '../host/devices/pci-facts.js';
import type { DeviceChange, DeviceFacts } from './driver.js';
import type { Obstacle } from './obstacles.js';

/** What the kernel has for it where the configuration names nothing. */
const usual = 'vfio-pci';

/** The kernel driver by which VPP gets at the device. */
export const binderOf = ({ spec }: Pick<DeviceFacts, 'spec'>): string => spec.new_driver ?? usual;

/** The device goes from its kernel driver to the one that hands it to VPP. */
export function bindChanges(facts: DeviceFacts): DeviceChange[] {
  const { pci } = facts;
  if (pci === undefined) return [];
  const driver = binderOf(facts);
  return [
    ...noIommu(pci, driver),
    { do: 'bind', pci: pci.address, driver, ...(pci.driver !== undefined && { from: pci.driver }) },
  ];
}

export function noIommu({ iommu_group, unsafe_no_iommu }: PciFacts, driver: string): DeviceChange[] {
  const needs_it = driver === usual && iommu_group === undefined && unsafe_no_iommu === false;
  return needs_it ? [{ do: 'no_iommu' }] : [];
}

/** What goes with the kernel driver of the device, and that nobody gives back: its state is recorded nowhere. */
function carriesMore({ pci, link }: DeviceFacts): Obstacle[] {
  const others = (pci?.links ?? []).filter((name) => name !== link.name);
  const vfs = pci?.vfs ?? [];
  return [
    ...(vfs.length === 0
      ? []
      : [
          {
            what: `has virtual functions (${vfs.join(', ')})`,
            why: 'they go with its kernel driver, and with them the network of whoever has one',
            step: 'remove them (echo 0 > sriov_numvfs), name one of them as interfaceName, or use af_packet',
          },
        ]),
    ...(others.length === 0
      ? []
      : [
          {
            what: `is one PCI device with ${others.join(', ')}`,
            why: 'VPP gets it as a whole, and Linux loses those as well',
            step: 'use af_packet',
          },
        ]),
  ];
}

/** Kernel drivers of devices that may share the isolation of one that a program has. */
const harmless: readonly string[] = ['vfio-pci', 'pci-stub', 'pcieport'];

/**
 * `driver`: of VPP, for the words. `allowed`: kernel drivers of the devices that it is for; none: any. `given`: what is bound; the group of a function that is
 * yet to be made nobody knows.
 */
export function pciObstacles(
  driver: string,
  facts: DeviceFacts,
  machine: MachineFacts,
  allowed: readonly string[] = [],
  given: 'the device' | 'a function of it' = 'the device',
): Obstacle[] {
  const { pci } = facts;
  if (pci === undefined) return [onNoBus(driver)];
  const binder = binderOf(facts);
  return [
    ...wrongDriver(driver, pci, allowed),
    ...farDomain(pci),
    // Of a card whose function iavf gets the kernel keeps its driver.
    ...(driver === 'iavf' ? [] : carriesMore(facts)),
    ...binderObstacles(binder, machine),
    ...(binder === usual ? isolation(pci, machine) : []),
    ...(binder === usual && given === 'the device' ? sharedGroup(pci) : []),
    ...lockObstacles(binder, machine),
    ...leaningOn(facts, machine),
  ];
}

/** As behind Intel's VMD. */
function farDomain({ address }: PciFacts): Obstacle[] {
  const [domain = ''] = address.split(':');
  if (domain.length <= 4) return [];
  return [
    { what: `is in PCI domain ${domain}`, why: "VPP's PCI domains have 16 bits", step: 'use af_packet' },
  ];
}

export const onNoBus = (driver: string): Obstacle => ({
  what: 'is on no PCI bus',
  why: `${driver} drives PCI devices`,
  step: 'use af_packet',
});

export function wrongDriver(
  driver: string,
  { driver: present }: PciFacts,
  allowed: readonly string[],
): Obstacle[] {
  if (allowed.length === 0 || allowed.includes(present ?? '')) return [];
  return [
    {
      what: `has the kernel driver ${present ?? '(none)'}`,
      why: `${driver} is for devices of ${allowed.join(' or ')}`,
      step: 'leave vppDriver empty to have it found out, or use af_packet',
    },
  ];
}

function binderObstacles(binder: string, machine: MachineFacts): Obstacle[] {
  const { user_space_drivers, has_vfio_files, can_write_sys } = machine;
  if (!known_binders.includes(binder)) {
    const [meant] = nearest(binder, known_binders);
    return [
      {
        what: `cannot be bound to ${binder}`,
        why: `newDriver names no kernel driver that hands a device to a program${meant ? `: did you mean ${meant}?` : ''}`,
        step: `set newDriver to one of ${known_binders.join(', ')}, or leave it out`,
      },
    ];
  }
  if (!user_space_drivers.includes(binder)) {
    return [
      {
        what: `cannot be bound to ${binder}`,
        why: 'that kernel driver is not loaded',
        step: `run "modprobe ${binder.replaceAll('-', '_')}" on the host, and have it loaded at boot`,
      },
    ];
  }
  return [
    ...(can_write_sys
      ? []
      : [
          {
            what: `cannot be bound to ${binder}`,
            why: '/sys cannot be written here',
            step: 'run the container privileged, or mount /sys writable',
          },
        ]),
    ...(binder !== usual || has_vfio_files
      ? []
      : [
          {
            what: 'cannot be opened by VPP once it is bound to vfio-pci',
            why: '/dev/vfio is not here',
            step: "mount the host's /dev in the container",
          },
        ]),
  ];
}

function isolation({ iommu_group }: PciFacts, { unsafe_no_iommu }: MachineFacts): Obstacle[] {
  if (iommu_group !== undefined || unsafe_no_iommu !== undefined) return [];
  return [
    {
      what: 'is isolated by no IOMMU',
      why: 'the vfio of this kernel drives nothing else',
      step: 'turn the IOMMU on (intel_iommu=on or amd_iommu=on on the kernel command line), or set newDriver to uio_pci_generic',
    },
  ];
}

/** Others of the group that the kernel drives. */
export function sharedGroup({ iommu_group, group }: Pick<PciFacts, 'iommu_group' | 'group'>): Obstacle[] {
  const others = group.filter(({ driver }) => driver !== undefined && !harmless.includes(driver));
  if (others.length === 0) return [];
  const names = others.map(({ address, driver }) => `${address} (${driver})`).join(', ');
  return [
    {
      what: `shares IOMMU group ${iommu_group} with ${names}`,
      why: 'vfio gives nobody a device while the kernel drives another one of its group',
      step: 'put the card into another slot, bind those to vfio-pci as well, or use af_packet',
    },
  ];
}

function lockObstacles(binder: string, { lockdown, locked_memory_bytes }: MachineFacts): Obstacle[] {
  return [
    // vfio with an IOMMU is all that a locked kernel allows.
    ...(lockdown === undefined || binder === usual
      ? []
      : [
          {
            what: `cannot be driven by ${binder}`,
            why: `the kernel is locked down (${lockdown}), as secure boot has it`,
            step: 'use vfio-pci with an IOMMU, or af_packet',
          },
        ]),
    ...(locked_memory_bytes === undefined || binder !== usual ? [] : [lockedMemory(locked_memory_bytes)]),
  ];
}

/** A moment without network is no harm to a node, but to one that cannot read its own programs then; and nobody gives netconsole back. */
export function leaningOn(
  { link }: Pick<DeviceFacts, 'link'>,
  { leans_on_network, net_consoles }: MachineFacts,
): Obstacle[] {
  return [
    ...leans_on_network.map((what) => ({
      what: `may carry ${what}`,
      why: 'Linux has no such device while VPP drives it, and what the machine needs to give it back may lie there',
      step: 'use af_packet, or a device that carries no disk',
    })),
    ...(net_consoles.includes(link.name)
      ? [
          {
            what: "carries the kernel's console (netconsole)",
            why: 'the kernel ends that for good when the device leaves Linux, and says nothing more by it if that goes wrong',
            step: 'have netconsole on another device, or turn it off',
          },
        ]
      : []),
  ];
}

/** A program that has the group of the device open, by another device of it: vfio gives a group to one program alone. */
export function heldByOthers(
  { pci, spec }: Pick<DeviceFacts, 'pci' | 'spec'>,
  holders: readonly Holder[],
): Obstacle[] {
  const [holder] = holders;
  if (holder === undefined || pci?.iommu_group === undefined || binderOf({ spec }) !== usual) return [];
  return [
    {
      what: `is of IOMMU group ${pci.iommu_group}, which ${holder.name} (process ${holder.pid}) has open`,
      why: 'vfio gives a group to one program alone, and VPP would be refused the device',
      step: 'end that program, put the card into another slot, or use af_packet',
    },
  ];
}

/** Of cards that VPP drives beside the kernel. */
export function needsVerbs({ driver }: Pick<PciFacts, 'driver'>, machine: MachineFacts): Obstacle[] {
  const { has_verbs, locked_memory_bytes } = machine;
  const of_card = driver === 'mlx4_core' ? 'mlx4_ib' : 'mlx5_ib';
  return [
    ...(has_verbs
      ? []
      : [
          {
            what: 'has no verbs device',
            why: 'VPP reaches the card by it',
            step: `run "modprobe -a ib_uverbs ${of_card}" on the host, and mount its /dev in the container`,
          },
        ]),
    ...(locked_memory_bytes === undefined ? [] : [lockedMemory(locked_memory_bytes)]),
  ];
}

const lockedMemory = (bytes: number): Obstacle => ({
  what: 'cannot reach the memory of VPP',
  why: `VPP may lock ${Math.round(bytes / 1024)} KiB, and its buffers need all of them locked`,
  step: 'give the container CAP_IPC_LOCK, or an unlimited limit of locked memory',
});

export function needsHugepages(
  driver: string,
  { hugepage_bytes, small_buffers = false }: MachineFacts,
): Obstacle[] {
  if (hugepage_bytes > 0 && small_buffers) {
    return [
      {
        what: `has VPP's buffers on pages of 4 KiB, and ${driver} needs them on hugepages`,
        why: 'there are too few hugepages for all buffers, or CALICOVPP_CONFIG_TEMPLATE says page-size 4K: VPP would die of the first queue',
        step: 'raise vm.nr_hugepages on the host (and hugepages-2Mi in the limits of the pod), or use af_packet',
      },
    ];
  }
  if (hugepage_bytes > 0) return [];
  return [
    {
      what: `has no hugepages for ${driver}`,
      why: 'the device reaches its rings and buffers by pages that stay where they are',
      step: 'set vm.nr_hugepages on the host (and hugepages-2Mi in the limits of the pod), or use af_packet',
    },
  ];
}

/** VPP cuts what is larger than a packet itself where the device cannot, and dies of it. */
export function needsSegmentation(driver: string, { gso, offloads = true }: DeviceFacts): Obstacle[] {
  if (!gso || offloads) return [];
  return [
    {
      what: `does not cut segments itself, which ${driver} would have it do`,
      why: 'gsoEnabled is on',
      step: 'set gsoEnabled to false in CALICOVPP_DEBUG, or use af_packet',
    },
  ];
}

export function mtuAtMost(limit: number, driver: string, mtu: number): Obstacle[] {
  if (mtu <= limit) return [];
  return [
    {
      what: `has an MTU of ${mtu}`,
      why: `${driver} takes ${limit} at most`,
      step: `set it to ${limit} on all nodes of the network, or use af_packet`,
    },
  ];
}
