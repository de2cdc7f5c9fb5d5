/** What VPP's start-up file has of the devices of uplinks: where they are, and which of them VPP is to find when it starts. */
import type { UplinkSpec } from '../config.js';
import { pciFacts } from '../host/devices/pci-facts.js';
import { HOST_ROOTS, pciDeviceOfLink } from '../host/devices/sysfs.js';
import type { CapturedUplink } from '../uplink/captured.js';
import type { UplinkHost } from '../uplink/uplink-host.js';

type Host = Pick<UplinkHost, 'taken' | 'takeForNextVpp'>;

/** A record that cannot be read tells nothing: VPP is started all the same. */
function capturedBy(host: Host): readonly CapturedUplink[] {
  try {
    return host.taken()?.uplinks ?? [];
  } catch {
    return [];
  }
}

/**
 * PCI address of the device of that name; '' where it is on no such bus. Of one that VPP has, or that is to be given back, the name is that of a tap, or
 * nobody's: what was captured knows where it is.
 */
export function pciOf(host: Host, roots = HOST_ROOTS): (name: string) => string {
  return (name) =>
    capturedBy(host).find(({ link }) => link.name === name)?.pci?.address ??
    pciDeviceOfLink(name, roots)?.address ??
    '';
}

/**
 * Does the device of that name read and write what it is told past the IOMMU that it has? So does a virtio device without
 * VIRTIO_F_ACCESS_PLATFORM: DPDK, which goes by the IOMMU, would have it write elsewhere.
 */
export function pastIommuOf(host: Host, roots = HOST_ROOTS): (name: string) => boolean {
  return (name) => {
    const captured = capturedBy(host).find(({ link }) => link.name === name)?.pci;
    const address = pciDeviceOfLink(name, roots)?.address;
    const pci = captured ?? (address === undefined ? undefined : pciFacts(address, roots));
    return pci?.iommu_group !== undefined && pci.passes_iommu === false;
  };
}

/** The uplinks, and of those of DPDK which Linux has: they are not for this one start of VPP to find, or not of the VPP that runs. */
export function forStart(
  host: Host,
  specs: readonly UplinkSpec[],
  of: 'the next VPP' | 'the one that runs',
): readonly (UplinkSpec & { readonly with_linux?: true })[] {
  const given =
    of === 'the next VPP'
      ? host.takeForNextVpp()
      : new Set(capturedBy(host).map(({ spec }) => spec.interface_name));
  return specs.map((spec) =>
    spec.driver !== 'dpdk' || given.has(spec.interface_name) ? spec : { ...spec, with_linux: true },
  );
}
