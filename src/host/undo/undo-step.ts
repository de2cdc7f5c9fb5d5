import type { Family } from '../../ip/text.js';
import type {
  Channels,
  Link,
  Neighbour,
  NewAddress,
  NewRoute,
  NextHop,
  NexthopObject,
} from '../../linux/network.js';
import type { PlacedRoute, Prefixed } from '../../linux/routes.js';

/**
 * What brings the host's network back, as data. A step says how something shall be, not what to do about it:
 * taking it twice, or when nothing had been changed yet, is harmless.
 */

/**
 * Names a link across namespaces, restarts and drivers. Kind and MAC alone do not tell it from a port of the same bond, a VLAN
 * of the same device, or the tap that stands in for it: what else is known of both must agree.
 */
export interface LinkIdentity {
  readonly name: string;
  /** Absent only for devices without one. The host tap has the uplink's name and MAC: the kind tells them apart. */
  readonly mac?: string;
  readonly kind: 'physical' | (string & {});
  /** In the host's namespace. A link that comes back has it again, unless another one has got it meanwhile. */
  readonly index?: number;
  readonly permanent_mac?: string;
  /** See `Link.parent_device`. */
  readonly parent_device?: string;
  /** The PCI device whose kernel driver was changed: it comes back with another index, and as another device of its bus. */
  readonly pci?: string;
  /** See `Link.port_id`. */
  readonly port_id?: string;
}

export type UndoNextHop = Omit<NextHop, 'oif' | 'flags'> & { readonly link?: LinkIdentity };
export type UndoRoute = Omit<NewRoute, 'next_hops'> &
  Pick<PlacedRoute, 'first'> & { readonly next_hops: readonly UndoNextHop[] };

export type UndoStep =
  /** The link is in our namespace and has its name, and these beside it. It is looked for here and in the namespace at `from`. */
  | {
      readonly kind: 'link_to_netns';
      readonly link: LinkIdentity;
      readonly from: string;
      /** Absent: whatever it has. */
      readonly altnames?: readonly string[];
    }
  | {
      readonly kind: 'set_link';
      readonly link: LinkIdentity;
      readonly up?: boolean;
      readonly mtu?: number;
      readonly mac?: string;
      readonly promisc?: boolean;
      readonly addrgen_mode?: number;
      readonly xdp?: false;
      readonly txqlen?: number;
      readonly group?: number;
      readonly alias?: string;
    }
  /** Once the link runs, so that the kernel makes no link-local address by it as it comes up. See `Link.addrgen_mode`. */
  | { readonly kind: 'addrgen_mode'; readonly link: LinkIdentity; readonly mode: number }
  | { readonly kind: 'add_address'; readonly link: LinkIdentity; readonly address: Omit<NewAddress, 'link'> }
  | {
      readonly kind: 'set_nexthop';
      readonly nexthop: Omit<NexthopObject, 'hop'> & { readonly hop?: UndoNextHop };
      /** Name of the link with whose going it goes. */
      readonly of?: string;
    }
  /** `of`: as for nexthop objects. */
  | { readonly kind: 'add_route'; readonly route: UndoRoute; readonly of?: string }
  /** Of the routes that the kernel makes for these addresses of the link there are these, and no other. */
  | {
      readonly kind: 'connected_routes';
      readonly link: LinkIdentity;
      readonly routes: readonly UndoRoute[];
      /** Absent in journals of earlier releases: none. */
      readonly addresses?: readonly Prefixed[];
    }
  | ({
      readonly kind: 'set_neighbour';
      readonly link: LinkIdentity;
      readonly family: Family;
      readonly address: string;
      readonly mac?: string;
    } & Partial<Pick<Neighbour, 'state' | 'flags' | 'protocol'>>)
  /**
   * No virtual link of this name and kind exists. `while`: only as long as that link is in that namespace, for a tap that stands
   * in for a tap.
   */
  | {
      readonly kind: 'delete_link';
      readonly name: string;
      readonly link_kind: string;
      readonly while?: { readonly link: LinkIdentity; readonly in: string };
    }
  | {
      readonly kind: 'ethtool_channels';
      readonly link: LinkIdentity;
      readonly channels: Pick<Channels, 'rx' | 'tx' | 'combined'>;
    }
  /** The device does these by itself, as far as it can. Names as the kernel has them. */
  | { readonly kind: 'ethtool_features'; readonly link: LinkIdentity; readonly on: readonly string[] }
  /** The PCI device is bound to this kernel driver. `override`: the one that an administrator wants for it, see `PciFacts.override`. */
  | {
      readonly kind: 'bind_driver';
      readonly pci: string;
      readonly driver: string;
      readonly override?: string;
    }
  /**
   * The link has gone up and down once, and is as it was, unless it has carried something since it is there: a device that a program has left running
   * takes nothing of the kernel's, which believes it at rest, until the kernel has ended it.
   */
  | { readonly kind: 'wake_link'; readonly link: LinkIdentity }
  /** A PCI device has so many virtual functions, and the kernel takes new ones up by itself, or does not. */
  | { readonly kind: 'sriov_vfs'; readonly pci: string; readonly count: number; readonly autoprobe: boolean }
  /** vfio drives devices that no IOMMU isolates, or does not. */
  | { readonly kind: 'vfio_noiommu'; readonly on: boolean }
  /** A sysctl of the link, whatever it is called by now. `path` is below /proc/sys, with `*` for the name of the link. */
  | {
      readonly kind: 'link_sysctl';
      readonly link: LinkIdentity;
      readonly path: string;
      readonly value: string;
      /** Behind the addresses of the link. */
      readonly late?: true;
    }
  /** A file below /proc or /sys has this value (sysctl, module parameter). */
  | { readonly kind: 'write_kernel_file'; readonly path: string; readonly value: string }
  /** A file on disk has this content, or does not exist (`null`). */
  | {
      readonly kind: 'write_file';
      readonly path: string;
      readonly content: string | null;
      /** Permission bits. */
      readonly mode: number;
      /** Below this path is the host's file system, if it is mounted. Absent: `path` is on this one. */
      readonly root?: string;
    }
  | {
      readonly kind: 'run_command';
      readonly argv: readonly string[];
      readonly timeout_ms: number;
      /** Still of use when the machine has been restarted since: a service that reads a file which a step has mended. */
      readonly after_boot: boolean;
    };

/** Does what the step is about outlive a restart of the machine? Links, routes and kernel parameters do not. */
export function survivesBoot(step: UndoStep): boolean {
  return step.kind === 'write_file' || (step.kind === 'run_command' && step.after_boot);
}

/** Is it of files and services of the host, and not of its network? */
export function isOfServices({ kind }: UndoStep): boolean {
  return kind === 'write_file' || kind === 'run_command';
}

export function identityOf(link: Link): LinkIdentity {
  const { name, kind = 'physical', mac, index, permanent_mac, parent_device, pci, port_id } = link;
  return {
    name,
    kind,
    ...(mac !== undefined && { mac }),
    index,
    ...(permanent_mac !== undefined && { permanent_mac }),
    ...(parent_device !== undefined && { parent_device }),
    ...(pci !== undefined && { pci }),
    ...(port_id !== undefined && { port_id }),
  };
}

const step_kinds: Readonly<Record<UndoStep['kind'], true>> = {
  link_to_netns: true,
  set_link: true,
  addrgen_mode: true,
  add_address: true,
  set_nexthop: true,
  add_route: true,
  connected_routes: true,
  set_neighbour: true,
  delete_link: true,
  ethtool_channels: true,
  ethtool_features: true,
  bind_driver: true,
  wake_link: true,
  sriov_vfs: true,
  vfio_noiommu: true,
  link_sysctl: true,
  write_kernel_file: true,
  write_file: true,
  run_command: true,
};

/** Is it a step that this version can take? A later one may have written others. */
export function isKnownStep(value: unknown): value is UndoStep {
  const kind = (value as { kind?: unknown } | null | undefined)?.kind;
  return typeof kind === 'string' && Object.hasOwn(step_kinds, kind);
}

/** The step in words, for reports. */
export function describeStep(step: UndoStep): string {
  switch (step.kind) {
    case 'link_to_netns':
      return `${step.kind} ${step.link.name} from ${step.from}`;
    case 'set_link': {
      const { kind, link, ...to } = step;
      return `${kind} ${link.name} ${JSON.stringify(to)}`;
    }
    case 'add_address':
      return `${step.kind} ${step.address.prefix} on ${step.link.name}`;
    case 'add_route': {
      const hops = step.route.next_hops.map((hop) => `${hop.gateway ?? 'link'} on ${hop.link?.name ?? '?'}`);
      return `${step.kind} ${step.route.prefix} via ${hops.join(', ')}`;
    }
    case 'set_nexthop':
      return `${step.kind} ${step.nexthop.id}`;
    case 'addrgen_mode':
    case 'connected_routes':
      return `${step.kind} of ${step.link.name}`;
    case 'set_neighbour':
      return `${step.kind} ${step.address} on ${step.link.name}`;
    case 'delete_link':
      return `${step.kind} ${step.link_kind} ${step.name}`;
    case 'ethtool_channels':
    case 'ethtool_features':
    case 'wake_link':
      return `${step.kind} ${step.link.name}`;
    case 'bind_driver':
      return `${step.kind} ${step.pci} to ${step.driver}`;
    case 'sriov_vfs':
      return `${step.kind} of ${step.pci} = ${step.count}`;
    case 'vfio_noiommu':
      return `${step.kind} ${step.on ? 'on' : 'off'}`;
    case 'link_sysctl':
      return `${step.kind} ${step.path.replace('*', step.link.name)} = ${step.value}`;
    case 'write_kernel_file':
    case 'write_file':
      return `${step.kind} ${step.path}`;
    case 'run_command':
      return `${step.kind} ${step.argv.join(' ')}`;
  }
}
