import type { Family } from '../../ip/text.js';
import type { Channels, Link, NewAddress, NewRoute, NextHop } from '../../linux/network.js';

/**
 * What brings the host's network back, as data. A step says how something shall be, not what to do about it:
 * taking it twice, or when nothing had been changed yet, is harmless.
 */

/** Names a link across namespaces, restarts and drivers, where its index may change. */
export interface LinkIdentity {
  readonly name: string;
  /** Absent only for devices without one. The host tap has the uplink's name and MAC: the kind tells them apart. */
  readonly mac?: string;
  readonly kind: 'physical' | (string & {});
}

export type UndoNextHop = Omit<NextHop, 'oif' | 'flags'> & { readonly link?: LinkIdentity };

export type UndoStep =
  /** The link is in our namespace and has its name. It is looked for here and in the namespace at `from`. */
  | { readonly kind: 'link_to_netns'; readonly link: LinkIdentity; readonly from: string }
  | {
      readonly kind: 'set_link';
      readonly link: LinkIdentity;
      readonly up?: boolean;
      readonly mtu?: number;
      readonly mac?: string;
      readonly promisc?: boolean;
      readonly addrgen_mode?: number;
      readonly xdp?: false;
    }
  | { readonly kind: 'add_address'; readonly link: LinkIdentity; readonly address: Omit<NewAddress, 'link'> }
  | {
      readonly kind: 'add_route';
      readonly route: Omit<NewRoute, 'next_hops'> & { readonly next_hops: readonly UndoNextHop[] };
    }
  | {
      readonly kind: 'set_neighbour';
      readonly link: LinkIdentity;
      readonly family: Family;
      readonly address: string;
      readonly mac: string;
    }
  /** No virtual link of this name and kind exists. Never for the kind of the uplink itself: its name is the same. */
  | { readonly kind: 'delete_link'; readonly name: string; readonly link_kind: string }
  | {
      readonly kind: 'ethtool_channels';
      readonly link: LinkIdentity;
      readonly channels: Pick<Channels, 'rx' | 'tx' | 'combined'>;
    }
  /** The PCI device is bound to this kernel driver. */
  | { readonly kind: 'bind_driver'; readonly pci: string; readonly driver: string }
  /** A file below /proc or /sys has this value (sysctl, module parameter). */
  | { readonly kind: 'write_kernel_file'; readonly path: string; readonly value: string }
  /** A file on disk has this content, or does not exist (`null`). */
  | {
      readonly kind: 'write_file';
      readonly path: string;
      readonly content: string | null;
      /** Permission bits. */
      readonly mode: number;
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

export function identityOf(link: Link): LinkIdentity {
  const kind = link.kind ?? 'physical';
  return link.mac === undefined ? { name: link.name, kind } : { name: link.name, mac: link.mac, kind };
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
    case 'set_neighbour':
      return `${step.kind} ${step.address} on ${step.link.name}`;
    case 'delete_link':
      return `${step.kind} ${step.link_kind} ${step.name}`;
    case 'ethtool_channels':
      return `${step.kind} ${step.link.name}`;
    case 'bind_driver':
      return `${step.kind} ${step.pci} to ${step.driver}`;
    case 'write_kernel_file':
    case 'write_file':
      return `${step.kind} ${step.path}`;
    case 'run_command':
      return `${step.kind} ${step.argv.join(' ')}`;
  }
}
