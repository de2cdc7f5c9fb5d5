/** The part of the check that looks at one uplink, and at the addresses of all of them. */

import { nearest } from '../config/nearest.js';
import type { Config, Driver, UplinkSpec } from '../config.js';
import { kernelAtLeast } from '../host/devices/sysfs.js';
import { appliesToTap } from '../host/services/network-managers.js';
import { type LinkState, madeForAddress } from '../host/undo/capture.js';
import { isGroup, isLinkLocal } from '../ip/prefix.js';
import { addressBits, parseAddress, parsePrefix } from '../ip/text.js';
import type { Link, Route } from '../linux/network.js';
import { RouteIndex } from '../linux/routes.js';
import { type Choice, candidates, chooseDriver, lacksOf } from '../uplink/choice.js';
import type { DeviceFacts } from '../uplink/driver.js';
import { largeSegments, uplink_drivers } from '../uplink/drivers.js';
import { type Obstacle, obstaclesOf } from '../uplink/obstacles.js';
import { collisionsOf } from '../uplink/one-device.js';
import { heldByOthers } from '../uplink/pci-needs.js';
import type { CheckFacts } from './check-facts.js';
import { error, type Finding, ok, warning } from './finding.js';

export interface UplinkView {
  readonly uplink: UplinkSpec;
  readonly link: Link;
  readonly state: LinkState;
  readonly leftovers: readonly Route[];
  readonly facts: CheckFacts;
  readonly config: Config;
}

type UplinkCheck = (view: UplinkView) => readonly Finding[];

const arphrd_ethernet = 1;
const af_xdp_mtu_max = 3072;
/** Kinds that sit on a device which stays behind. */
const on_top: readonly string[] = ['vlan', 'macvlan', 'ipvlan'];

/** What `run` refuses as well, by the same rules. */
function obstacleFindings({ link, uplink, state, facts }: UplinkView): Finding[] {
  return obstaclesOf(state, facts.links, uplink).map(({ what, why, step }) =>
    error(link.name, what, why, step),
  );
}

function kindFindings({ link, facts }: UplinkView): Finding[] {
  const { name, kind } = link;
  if (kind === undefined || !on_top.includes(kind)) return [];
  const lower = facts.links.find(({ index }) => index === link.link)?.name;
  return [
    warning(
      name,
      `is a ${kind} on ${lower ?? 'another device'}`,
      'the device below stays with Linux, whose path every packet takes',
      'expect less speed; a device of its own is better',
    ),
  ];
}

/** Queueing disciplines that the kernel gives a device by itself, and gives it again. */
const usual_qdiscs: readonly string[] = [
  'noqueue',
  'noop',
  'mq',
  'pfifo_fast',
  'fq_codel',
  'fq',
  'sfq',
  'cake',
];
const answered_for = 0x08;
const temporary = 0x01;
/** IFA_F_STABLE_PRIVACY, linux/if_addr.h. */
const stable_privacy = 0x800;

/** IPv6 routes that stand before equal ones of other devices, and will stand behind them. Those by gateways are one route with several next hops. */
function lastOfEquals({ link, routes }: LinkState, all: readonly Route[]): Route[] {
  const index = new RouteIndex(all);
  const isOwn = ({ next_hops }: Route): boolean => next_hops.some(({ oif }) => oif === link.index);
  return routes.filter((route) => {
    if (route.family !== 6 || madeForAddress(route) || isLate(route)) return false;
    const equals = index.at(route);
    const at = equals.findIndex(isOwn);
    return equals.slice(at + 1).some((other) => !isOwn(other));
  });
}

/** Every link has these, and none is another's. */
const isLate = ({ prefix }: Route): boolean => isLinkLocal(prefix) || isGroup(prefix);

/** What the take-over does not keep, although it takes place. */
function lossFindings({ link, uplink, state, leftovers, facts }: UplinkView): Finding[] {
  const { name, qdisc } = link;
  const findings: Finding[] = [];
  if (qdisc !== undefined && !usual_qdiscs.includes(qdisc)) {
    findings.push(
      warning(
        name,
        `has the queueing discipline ${qdisc}`,
        'VPP sends past it, and Linux forgets it and its filters when the device goes to VPP',
        'have what made it make it again when VPP has ended, or do without',
      ),
    );
  }
  if (facts.filtered.has(uplink.interface_name)) {
    findings.push(
      warning(
        name,
        'has filters of tc (clsact or ingress)',
        'VPP sends past them, and Linux forgets them when the device goes to VPP',
        'have what made them make them again when VPP has ended, or do without',
      ),
    );
  }
  if (link.xdp) {
    findings.push(
      warning(
        name,
        'has an XDP program',
        'it is not known whose it is, and nobody gives it back',
        'have what attached it attach it again when VPP has ended, or do without',
      ),
    );
  }
  const proxies = state.neighbours.filter(({ family, flags }) => family === 6 && flags & answered_for);
  if (proxies.length > 0) {
    findings.push(
      warning(
        name,
        `answers for ${proxies.length} IPv6 neighbour(s), e.g. ${proxies[0]!.address}`,
        'VPP answers solicitations only for addresses that a device has',
        'have the router send them by a route to this node',
      ),
    );
  }
  if (state.addresses.some(({ family, flags }) => family === 6 && flags & temporary)) {
    findings.push(
      warning(
        name,
        'has temporary addresses',
        'they are kept, and renewed by nobody while VPP has the device',
        'nothing, or turn them off (use_tempaddr)',
      ),
    );
  }
  if (state.addresses.some(({ family, flags }) => family === 6 && flags & stable_privacy)) {
    findings.push(
      warning(
        name,
        'has addresses made of a secret (stable-privacy)',
        'they are kept, and Linux gives no program that flag: they are as if an administrator had set them',
        'nothing; the link makes its own ones again when it goes down and up',
      ),
    );
  }
  const shared = lastOfEquals(state, facts.routes);
  if (shared.length > 0) {
    findings.push(
      warning(
        name,
        `has ${shared.length} IPv6 route(s) before equal ones of other devices, e.g. ${shared[0]!.prefix}`,
        'Linux takes the first, and puts what comes back behind the others: packets then leave by those',
        'give them different metrics',
      ),
    );
  }
  if (leftovers.length > 0) {
    findings.push(
      warning(
        name,
        `has ${leftovers.length} route(s) of the Go implementation, e.g. ${leftovers[0]!.prefix}`,
        "they send the cluster's traffic to the gateway; they are left out, and do not come back",
        'nothing, or remove them',
      ),
    );
  }
  return findings;
}

function mtuFindings({ link, uplink }: UplinkView): Finding[] {
  const { name, mtu } = link;
  const wanted = uplink.mtu ?? mtu;
  const findings: Finding[] = [];
  if (wanted > mtu) {
    findings.push(
      warning(
        name,
        `has an MTU of ${mtu}, ${wanted} is asked for`,
        'VPP would send packets that the device drops',
        `raise that of the device, or set mtu to ${mtu}`,
      ),
    );
  }
  if (uplink.driver === 'af_xdp' && wanted > af_xdp_mtu_max) {
    findings.push(
      warning(
        name,
        `has an MTU of ${wanted}`,
        `af_xdp takes ${af_xdp_mtu_max} at most: the node network gets that`,
        `set it to ${af_xdp_mtu_max} on all nodes, or use another driver`,
      ),
    );
  }
  return findings;
}

/** The device as the take-over sees it. */
export function deviceFacts({ uplink: spec, link, facts, config }: UplinkView): DeviceFacts {
  const { interface_name } = spec;
  const [pci, channels, offloads] = [facts.pci, facts.channels, facts.offloads].map((of) =>
    of.get(interface_name),
  ) as [DeviceFacts['pci'], DeviceFacts['channels'], DeviceFacts['offloads']];
  return {
    spec,
    link,
    gso: largeSegments(config.gates.gso, config.uplinks),
    ...(pci !== undefined && { pci }),
    ...(channels !== undefined && { channels }),
    ...(offloads !== undefined && { offloads }),
  };
}

/** Where another program has what VPP is to get with this driver. */
function heldObstacles(view: UplinkView, driver: Driver): readonly Obstacle[] {
  const device = deviceFacts(view);
  const leaves = uplink_drivers[driver]
    .prepare(device)
    .some((change) => change.do === 'bind' && change.pci === device.pci?.address);
  return leaves ? heldByOthers(device, view.facts.holders.get(view.uplink.interface_name) ?? []) : [];
}

/** As `run` chooses where no driver is named. */
function choiceOf(view: UplinkView): Choice {
  const { machine } = view.facts;
  const device = deviceFacts(view);
  const held = new Map(
    candidates
      .filter((driver) => lacksOf(driver, device, machine).length === 0)
      .flatMap((driver) => heldObstacles(view, driver).map((found) => [driver, inShort(found)] as const)),
  );
  return chooseDriver(device, machine, held);
}

const inShort = ({ what, why }: Obstacle): string => `the device ${what}: ${why}`;

/** What `run` refuses as well, by the same rules; where no driver is named, which one it would be. */
function driverFindings(view: UplinkView): Finding[] {
  const { link, uplink, facts } = view;
  const { name } = link;
  const device = deviceFacts(view);
  const choice = choiceOf(view);
  const driver = uplink.driver ?? choice.driver;
  const changes = uplink_drivers[driver].prepare(device);
  const lacks =
    uplink.driver === undefined
      ? []
      : [...lacksOf(uplink.driver, device, facts.machine), ...heldObstacles(view, uplink.driver)];
  const findings = lacks.map(({ what, why, step }) => error(name, what, why, step));
  if (uplink.driver === undefined) {
    const against = Object.entries(choice.passed_over).map(([other, why]) => `${other}: ${why}`);
    findings.push(
      ok(
        name,
        `would be driven by ${driver}${against.length === 0 ? '' : ` (not by ${against.join('; by ')})`}`,
      ),
    );
  }
  if (changes.some((change) => change.do === 'bind')) {
    findings.push(
      ok(
        name,
        'leaves its kernel driver: what ethtool has set (rings, offloads, coalescing) is afterwards as for a new device, but for its channels',
      ),
    );
  }
  if (lacks.length === 0 && changes.some((change) => change.do === 'no_iommu')) {
    findings.push(
      warning(
        name,
        'is isolated by no IOMMU',
        'vfio then drives it in its unsafe mode alone, which is turned on while VPP runs',
        'turn the IOMMU on (intel_iommu=on or amd_iommu=on), or accept it',
      ),
    );
  }
  return findings;
}

/** Of all uplinks together. */
export function collisionFindings(views: readonly UplinkView[]): Finding[] {
  const given = views.map((view) => {
    const device = deviceFacts(view);
    const driver = view.uplink.driver ?? choiceOf(view).driver;
    return {
      name: view.link.name,
      changes: uplink_drivers[driver].prepare(device),
      ...(device.pci !== undefined && { pci: device.pci }),
    };
  });
  return collisionsOf(given).map(({ uplinks, what, why, step }) =>
    error(uplinks.join(', '), what, why, step),
  );
}

function afXdpFindings({ link, uplink, facts }: UplinkView): Finding[] {
  if (uplink.driver !== 'af_xdp') return [];
  const { name } = link;
  const findings: Finding[] = [];
  if (facts.kernel && !kernelAtLeast(facts.kernel, 5, 4)) {
    findings.push(
      error(name, 'cannot use af_xdp', `the kernel is ${facts.kernel.text}, it needs 5.4`, 'use af_packet'),
    );
  }
  const channels = facts.channels.get(name);
  if (channels && uplink.rx_queues > channels.max_combined) {
    findings.push(
      error(
        name,
        `has ${channels.max_combined} channels, rx is ${uplink.rx_queues}`,
        'VPP refuses more queues than channels',
        `set rx to ${channels.max_combined} or less`,
      ),
    );
  }
  return findings;
}

const table_main = 254;
const table_local = 255;

function routeFindings({ link, facts }: UplinkView): Finding[] {
  const own = facts.routes.filter(({ next_hops }) => next_hops.some(({ oif }) => oif === link.index));
  const list = (routes: readonly Route[]): string =>
    `${routes.length} route(s), e.g. ${routes[0]!.prefix} in table ${routes[0]!.table}`;
  const kinds = [
    {
      routes: own.filter(({ table }) => table !== table_main && table !== table_local),
      what: 'are in another table than main',
      step: 'move them to the main table if pods or the node need them',
    },
    {
      routes: own.filter(({ table, next_hops }) => table === table_main && next_hops.length > 1),
      what: 'have several next hops',
      step: 'expect traffic through this uplink to take its own next hop alone',
    },
  ];
  return kinds.flatMap(({ routes, what, step }) =>
    routes.length === 0
      ? []
      : [warning(link.name, `${list(routes)}, ${what}`, 'VPP gets plain routes of the main table', step)],
  );
}

/** Somebody must renew a leased address on the tap that takes the place of the device. */
function leaseFindings({ link, facts, config }: UplinkView): Finding[] {
  const { name } = link;
  const seen = facts.host.uplinks.find((uplink) => uplink.name === name);
  // That nobody can be asked is told once.
  if (!seen?.has_lease || facts.host.unreachable) return [];
  const { active } = facts.host;
  const scripted = config.hooks.scripts.VPP_RUNNING !== '';
  if (active[0] === 'systemd-networkd' && seen.network_file !== undefined) {
    if (scripted && !appliesToTap(seen.network_file)) {
      return [
        warning(
          name,
          'has a leased address, and its .network file does not match a tap',
          'the script CALICOVPP_HOOK_VPP_RUNNING takes the place of the built-in repair: nobody would renew the lease',
          'have the script write a .network file that matches by Name',
        ),
      ];
    }
    return [ok(name, 'has a leased address that systemd-networkd renews on the tap')];
  }
  if (active[0] === 'NetworkManager') {
    if (seen.tap_connection !== undefined && !scripted)
      return [
        ok(name, 'has a leased address that NetworkManager renews on the tap, by a connection of ours'),
      ];
    const why = scripted
      ? 'the script CALICOVPP_HOOK_VPP_RUNNING takes the place of the built-in repair'
      : 'its connection is no keyfile and cannot be copied';
    return [
      warning(
        name,
        `has a leased address that NetworkManager does not renew on the tap: ${why}`,
        'while VPP runs the address stays after the lease has run out, and the server may give it to another host',
        scripted
          ? 'have the script activate a connection of type tun there, reserve the address at the DHCP server, or use a fixed one'
          : 'keep the connection as a keyfile (nmcli connection migrate), reserve the address at the DHCP server, or use a fixed one',
      ),
    ];
  }
  return [
    warning(
      name,
      'has a leased address, and no service is known to renew it on the tap',
      'when the lease runs out the node loses its network',
      'use a fixed address, or a DHCP client that follows the name of the device',
    ),
  ];
}

export const uplink_checks: readonly UplinkCheck[] = [
  obstacleFindings,
  kindFindings,
  lossFindings,
  mtuFindings,
  driverFindings,
  afXdpFindings,
  routeFindings,
  leaseFindings,
];

export function missingLink(uplink: UplinkSpec, facts: CheckFacts): Finding {
  const names = facts.links.filter(({ type }) => type === arphrd_ethernet).map(({ name }) => name);
  const near = nearest(uplink.interface_name, names, 3);
  const others = names.filter((name) => !near.includes(name)).slice(0, 10 - near.length);
  return error(
    uplink.interface_name,
    'there is no device of this name',
    'it is to become the uplink of VPP',
    `set interfaceName to one of: ${[...near, ...others].join(', ') || '(this host has no Ethernet device)'}`,
  );
}

interface Placed {
  readonly link: string;
  readonly prefix: string;
  readonly physical_network: string;
}

/** Do two prefixes share an address? */
export function overlap(a: string, b: string): boolean {
  const [first, second] = [parsePrefix(a), parsePrefix(b)];
  if (first.family !== second.family) return false;
  const shared_bits = Math.min(first.length, second.length);
  const bits = (text: string): bigint => BigInt(`0x${parseAddress(text).toString('hex')}`);
  const shift = BigInt(addressBits(first.family) - shared_bits);
  return bits(first.address) >> shift === bits(second.address) >> shift;
}

export function overlapFindings(placed: readonly Placed[]): Finding[] {
  return placed.flatMap((one, i) =>
    placed.slice(i + 1).flatMap((other): Finding[] => {
      if (one.physical_network !== other.physical_network || !overlap(one.prefix, other.prefix)) return [];
      const both = `${one.prefix} and ${other.prefix}`;
      if (one.link !== other.link) {
        return [
          error(
            `${one.link}, ${other.link}`,
            `${both} overlap`,
            'VPP refuses two uplinks in one subnet',
            'give one of them another subnet, or another physicalNetworkName',
          ),
        ];
      }
      if (parsePrefix(one.prefix).length === parsePrefix(other.prefix).length) return [];
      return [
        warning(
          one.link,
          `${both} overlap`,
          'VPP holds the wider one alone; the other is reached through the host tap',
          'nothing, if it is a virtual address (keepalived, kube-vip)',
        ),
      ];
    }),
  );
}
