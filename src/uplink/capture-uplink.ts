/** What is read of an uplink before VPP gets it. */
import type { Driver, UplinkSpec } from '../config.js';
import { givenAway, type MachineFacts, pciFacts } from '../host/devices/pci-facts.js';
import { HOST_ROOTS, type HostRoots, pciAddressOf } from '../host/devices/sysfs.js';
import { captureLink } from '../host/undo/capture.js';
import { identityOf } from '../host/undo/undo-step.js';
import type { Address, Link, Neighbour, NetworkNamespace } from '../linux/network.js';
import type { CapturedUplink } from './captured.js';
import { chooseDriver, lacksOf } from './choice.js';
import type { Joins } from './driver.js';
import { driverFor } from './drivers.js';
import type { HeardNeighbour } from './known-neighbours.js';
import { withLease, withLeased } from './leases.js';
import { withoutLeftovers } from './leftovers.js';
import { linkSysctls } from './link-sysctls.js';
import { obstaclesOf } from './obstacles.js';
import { UplinkError } from './uplink-error.js';
import { gatewaysOf } from './uplink-of.js';

/** NUD_REACHABLE: the neighbour answers. */
const neighbour_answers = 0x02;
/** NUD_PERMANENT: somebody vouches for it. */
const neighbour_vouched = 0x80;
/** NUD_STALE, DELAY: it has answered, perhaps days ago. */
const neighbour_answered = 0x04 | 0x08;
/** NUD_PROBE: likewise, and is being asked. */
const neighbour_asked = 0x10;

/** Is it to be seen whether the neighbour is there still? */
export function isOld({ state }: Pick<Neighbour, 'state'>): boolean {
  return (state & neighbour_answered) !== 0;
}

/** What a driver is judged by beside the device. */
export interface Circumstances {
  readonly machine: MachineFacts;
  readonly gso: boolean;
  /** See `chooseDriver`. */
  readonly failed: ReadonlyMap<Driver, string>;
  readonly roots?: HostRoots;
}

/**
 * The device as it is, by any of its names, with leases of `before` that it lacks: see leases.ts. Throws UplinkError where it cannot be taken
 * over, or not by the driver that was asked for.
 */
export function captureUplink(
  namespace: NetworkNamespace,
  spec: UplinkSpec,
  { machine, gso, failed, roots = HOST_ROOTS }: Circumstances,
  before?: CapturedUplink,
): CapturedUplink {
  const state = captureLink(namespace, spec.interface_name);
  const links = namespace.links();
  if (state === undefined) {
    const known = links.map((link) => link.name);
    throw new UplinkError(
      `uplink ${spec.interface_name}: Linux has no such interface (it has ${known.join(', ')}${boundElsewhere(roots)}); correct interfaceName`,
    );
  }
  const { own: found, leftovers } = withoutLeftovers(state);
  const own = before === undefined ? found : withLease(before, found);
  const { link: plain, others, ...rest } = own;
  const address = pciAddressOf(plain, roots);
  const pci = address === undefined ? undefined : pciFacts(address, roots);
  const offloads = namespace.offloads(plain.name);
  const joins = joinsOf(namespace, plain);
  const facts = { ...own, spec, gso, offloads, joins, ...(pci !== undefined && { pci }) };
  const chosen = spec.driver === undefined ? chooseDriver(facts, machine, failed) : undefined;
  const lacks = spec.driver === undefined ? [] : lacksOf(spec.driver, facts, machine);
  const changes = driverFor({ spec, ...chosen }).prepare(facts);
  // Only where it comes back as another one: else what is told of a link suffices.
  const is_bound = changes.some((change) => change.do === 'bind' && change.pci === address);
  const link = { ...plain, ...(is_bound && address !== undefined && { pci: address }) };
  const [obstacle] = [...lacks, ...obstaclesOf(own, links, spec)];
  if (obstacle !== undefined) {
    const { what, why, step } = obstacle;
    throw new UplinkError(`uplink ${link.name} ${what}: ${why}; ${step}`);
  }
  const answering = new Set(
    namespace
      .neighbours(link.index)
      .filter(
        ({ mac, state }) => mac !== undefined && (state & (neighbour_answers | neighbour_vouched)) !== 0,
      )
      .map(({ address }) => address),
  );
  return withLeased<CapturedUplink>({
    spec,
    link,
    ...rest,
    ...(before?.leased && { leased: true }),
    others: [...others],
    sysctls: linkSysctls(namespace, link),
    leftovers,
    offloads,
    joins,
    ...(pci !== undefined && { pci }),
    ...chosen,
    answering_gateways: gatewaysOf(own).filter((gateway) => answering.has(gateway)),
    host_addresses: [],
  });
}

/** As the kernel calls what joins packets of a flow that were received: GRO, the same by the device, LRO. */
const joining: readonly string[] = ['rx-gro', 'rx-gro-hw', 'rx-lro'];
/** A VLAN on a VLAN on a device. */
const lower_max = 4;

/** Of a VLAN or macvlan its device below does it. */
function joinsOf(namespace: NetworkNamespace, link: Link): Joins[] {
  const joins: Joins[] = [];
  let at: Link | undefined = link;
  for (let depth = 0; at !== undefined && depth < lower_max; depth += 1) {
    const by = namespace.featuresOn(at.name).filter((name) => joining.includes(name));
    if (by.length > 0) joins.push({ link: identityOf(at), by });
    const below: number | undefined =
      at.kind === 'veth' || at.link_netnsid !== undefined ? undefined : at.link;
    at = below === undefined ? undefined : namespace.link(below);
  }
  return joins;
}

/** Network devices that a program was given: Linux has no interface of them, and no name. */
function boundElsewhere(roots: HostRoots): string {
  const given = givenAway(roots).map(({ address, driver }) => `${address} by ${driver}`);
  return given.length === 0
    ? ''
    : `; programs are given ${given.join(', ')}: bind the device to its own kernel driver to name it`;
}

/** Those of this link that have answered. */
export function heardOn(namespace: Pick<NetworkNamespace, 'neighbours'>, link: number): HeardNeighbour[] {
  return namespace
    .neighbours(link)
    .flatMap(({ address, mac, state }) =>
      mac !== undefined && (state & (neighbour_answers | neighbour_answered | neighbour_asked)) !== 0
        ? [{ address, mac, answers: (state & neighbour_answers) !== 0 }]
        : [],
    );
}

const arphrd_loopback = 772;

/** One that holds addresses, and leads nowhere. */
export function isHolder({ type, kind }: Pick<Link, 'type' | 'kind'>): boolean {
  return type === arphrd_loopback || kind === 'dummy';
}

/** Of a kube-proxy by IPVS: it has every address of every service, and stays when that is gone. */
const ipvs_device = 'kube-ipvs0';

/**
 * Of the loopback and of dummy devices, as load balancers and local name servers have them; not what an uplink has as well, nor addresses of
 * services where VPP `serves` them.
 */
export function hostAddresses(
  namespace: NetworkNamespace,
  captured: readonly CapturedUplink[],
  serves: boolean,
): string[] {
  const holders = new Set(
    namespace
      .links()
      .filter((link) => isHolder(link) && !(serves && link.name === ipvs_device))
      .map(({ index }) => index),
  );
  const own = new Set(captured.flatMap(({ addresses }) => addresses.map(addressText)));
  const all = namespace.addresses().filter(({ link, scope }) => holders.has(link) && scope === 0);
  return [...new Set(all.map(addressText))].filter((address) => !own.has(address)).sort();
}

function addressText({ prefix }: Address): string {
  return prefix.split('/')[0] ?? prefix;
}
