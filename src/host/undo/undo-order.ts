/** In which order the steps of an undo are taken. Pure. */
import type { UndoStep } from './undo-step.js';

/**
 * When a step's turn is. Links come before their addresses, and the addresses of all before the routes of any: a route may name the address
 * of another link. What the host does without for a moment (files, services, which take their time) waits for its network.
 */
const turns: Readonly<Record<UndoStep['kind'], number>> = {
  delete_link: 0,
  // A virtual function that VPP had goes before its device is looked for.
  sriov_vfs: 1,
  bind_driver: 1,
  vfio_noiommu: 3,
  link_to_netns: 2,
  // Before the link is set up, and before it gets its addresses.
  wake_link: 3,
  link_sysctl: 3,
  write_kernel_file: 3,
  ethtool_channels: 3,
  ethtool_features: 3,
  set_link: 3,
  add_address: 4,
  set_nexthop: 5,
  add_route: 7,
  set_neighbour: 9,
  // The kernel makes a connected route anew when an address loses a flag.
  connected_routes: 11,
  addrgen_mode: 11,
  write_file: 12,
  run_command: 12,
};

/** The kernel takes an IPv6 route with a source address only when that address is of use. */
const settled = 10;

function turnOf(step: UndoStep): number {
  if (step.kind === 'link_sysctl' && step.late) return settled + 1;
  if (step.kind === 'set_nexthop' && step.nexthop.group) return turns.set_nexthop + 1;
  if (step.kind !== 'add_route') return turns[step.kind];
  if (step.route.family === 6 && step.route.prefsrc !== undefined) return settled;
  return turns.add_route + (spansLinks(step) ? 1 : 0);
}

/** The steps before and after the addresses have settled. Of one turn the newest come first. */
export function inOrder(steps: readonly UndoStep[]): [readonly UndoStep[], readonly UndoStep[]] {
  const ordered = [...steps].reverse().sort((a, b) => turnOf(a) - turnOf(b));
  const at = ordered.findIndex((step) => turnOf(step) >= settled);
  return at < 0 ? [ordered, []] : [ordered.slice(0, at), ordered.slice(at)];
}

function spansLinks(step: Extract<UndoStep, { kind: 'add_route' }>): boolean {
  return new Set(step.route.next_hops.map(({ link }) => link?.name)).size > 1;
}
