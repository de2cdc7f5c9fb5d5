/** What undoes the take-over of an uplink. Pure. */
import { type LinkState, restoreSteps } from '../host/undo/capture.js';
import { identityOf, type UndoStep } from '../host/undo/undo-step.js';
import type { CapturedUplink } from './captured.js';
import type { DeviceChange } from './driver.js';
import { earlySysctls, lateSysctls, type Sysctl } from './link-sysctls.js';

/** What undoes the take-over of one uplink, oldest first: undone from the end, its tap goes before it comes back. */
export function stepsOf(
  uplink: CapturedUplink,
  vpp_netns: string,
  changes: readonly DeviceChange[] = [],
): UndoStep[] {
  const { link, sysctls } = uplink;
  const identity = identityOf(link);
  const sysctl = ({ path, value }: Sysctl) =>
    ({ kind: 'link_sysctl', link: identity, path: path.replace(`/${link.name}/`, '/*/'), value }) as const;
  return [
    ...lateSysctls(sysctls).map((each) => ({ ...sysctl(each), late: true }) as const),
    ...restoreSteps(stateOf(uplink)),
    ...earlySysctls(sysctls).map(sysctl),
    ...changes.flatMap((change) => undoOf(change, uplink)),
    {
      kind: 'link_to_netns',
      link: identity,
      from: vpp_netns,
      ...(link.altnames.length > 0 && { altnames: link.altnames }),
    },
    // The host tap, which has the name of the uplink.
    {
      kind: 'delete_link',
      name: link.name,
      link_kind: 'tun',
      ...(link.kind === 'tun' && { while: { link: identity, in: vpp_netns } }),
    },
  ];
}

/** The steps with the addresses, routes and neighbours of this uplink replaced by those that it has now; all of them, if none is there. */
export function withState(steps: readonly UndoStep[], uplink: CapturedUplink, vpp_netns: string): UndoStep[] {
  const { name } = uplink.link;
  const isIts = (step: UndoStep): boolean => {
    switch (step.kind) {
      case 'add_address':
      case 'set_neighbour':
      case 'connected_routes':
        return step.link.name === name;
      case 'set_nexthop':
        return step.of === name;
      case 'add_route':
        return (step.of ?? name) === name;
      default:
        return false;
    }
  };
  const at = steps.findIndex(isIts);
  if (at === -1) return [...steps, ...stepsOf(uplink, vpp_netns)];
  const rest = steps.slice(at).filter((step) => !isIts(step));
  return [...steps.slice(0, at), ...restoreSteps(stateOf(uplink)).filter(isIts), ...rest];
}

function stateOf({ others, ...state }: CapturedUplink): LinkState {
  return { ...state, others: new Map(others) };
}

/**
 * Kernel drivers that do not reset their device when they get it. A vmxnet3 that VPP has left active ignores that it is activated: the link was up, and carried
 * nothing (seen with QEMU's).
 */
const keep_their_state: readonly string[] = ['vmxnet3'];

/** Beside what `restoreSteps` restores anyway. */
function undoOf(change: DeviceChange, { link, channels, pci }: CapturedUplink): UndoStep[] {
  switch (change.do) {
    case 'xdp':
      return [{ kind: 'set_link', link: identityOf(link), xdp: false }];
    case 'channels':
      return channelsOf(link, channels);
    case 'join_nothing':
      return change.of.map(({ link, by }) => ({ kind: 'ethtool_features', link, on: by }) as const);
    case 'no_iommu':
      return [{ kind: 'vfio_noiommu', on: false }];
    case 'make_vf':
      return [{ kind: 'sriov_vfs', pci: change.of, count: 0, autoprobe: pci?.vf_autoprobe ?? true }];
    case 'bind':
      if (change.from === undefined || pci === undefined) return [];
      return [
        ...channelsOf(link, channels),
        madeAnew(link),
        {
          kind: 'bind_driver',
          pci: change.pci,
          driver: change.from,
          ...(pci.override !== undefined && { override: pci.override }),
        },
        ...(keep_their_state.includes(change.from)
          ? [{ kind: 'wake_link', link: identityOf(link) } as const]
          : []),
      ];
    default:
      return [];
  }
}

/** What a device that its driver makes anew has not by itself. */
function madeAnew(link: CapturedUplink['link']): UndoStep {
  const { mac, permanent_mac, txqlen, group, alias } = link;
  return {
    kind: 'set_link',
    link: identityOf(link),
    ...(mac !== undefined && mac !== permanent_mac && { mac }),
    txqlen,
    ...(group !== undefined && { group }),
    ...(alias !== undefined && { alias }),
  };
}

function channelsOf(link: CapturedUplink['link'], channels: CapturedUplink['channels']): UndoStep[] {
  if (channels === undefined) return [];
  const { rx, tx, combined } = channels;
  return [{ kind: 'ethtool_channels', link: identityOf(link), channels: { rx, tx, combined } }];
}
