import { closeSync, fstatSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join, normalize } from 'node:path';
import {
  type Address,
  type Channels,
  type EventGroup,
  isSameNamespace,
  type Link,
  type NamespaceId,
  type Neighbour,
  NetlinkError,
  type NetworkChange,
  type NetworkEvent,
  type NetworkNamespace,
  type NewChannels,
  type NexthopObject,
  type Route,
  type Rule,
  type Watch,
} from '../../linux/network.js';
import { errorCode } from '../files.js';
import {
  interfaceControl,
  MSG_DONTWAIT,
  onReadable,
  SOCK_DGRAM,
  SOL_SOCKET,
  socket,
  socketOption64,
} from '../libc.js';
import { enterNamespace, openNamespace } from '../netns.js';
import {
  addAdvertisedRoute,
  advertisedRoutes,
  isAdvertisedNow,
  mayBeAdvertised,
} from './advertised-route.js';
import { featuresOn, setFeatures } from './device-features.js';
import type { LinkRemoval } from './link-removal.js';
import type { Message, MessageWriter } from './netlink-message.js';
import { openRtnetlinkSocket, RtnetlinkSocket, receiveDatagram } from './rtnetlink.js';
import {
  AF_INET,
  AF_INET6,
  GROUP,
  IFLA,
  NTF_PROXY,
  RTA,
  RTEXT_FILTER_SKIP_STATS,
  RTM,
} from './rtnetlink-constants.js';
import {
  decodeAddress,
  decodeLink,
  decodeNeighbour,
  decodeNexthop,
  decodeRoute,
  decodeRule,
} from './rtnetlink-decode.js';
import { encodeDumpHeader } from './rtnetlink-encode.js';
import { eventsOf, isCloned } from './rtnetlink-events.js';

const SIOCETHTOOL = 0x8946;
const ETHTOOL_GTXCSUM = 0x16;
const ETHTOOL_STXCSUM = 0x17;
const ETHTOOL_GGSO = 0x23;
const ETHTOOL_GCHANNELS = 0x3c;
const ETHTOOL_SCHANNELS = 0x3d;
const INTERFACE_NAME_BYTES_MAX = 15;
const BOTH_FAMILIES = [AF_INET, AF_INET6];

/** linux/asm-generic/socket.h; kernel 5.14. */
const SO_NETNS_COOKIE = 71;

/** `fd`: of the namespace. */
export function namespaceIdOf(fd: number): NamespaceId {
  const { dev, ino } = fstatSync(fd, { bigint: true });
  const cookie = enterNamespace(fd, cookieHere);
  return cookie === undefined ? `${dev}:${ino}` : `${dev}:${ino}:${cookie}`;
}

function cookieHere(): bigint | undefined {
  const fd = socket(AF_INET, SOCK_DGRAM, 0);
  try {
    return socketOption64(fd, SOL_SOCKET, SO_NETNS_COOKIE);
  } catch (error) {
    if (errorCode(error) === 'ENOPROTOOPT') return undefined;
    throw error;
  } finally {
    closeSync(fd);
  }
}

/** A namespace of the running kernel. */
export class LinuxNamespace implements NetworkNamespace {
  readonly #rtnetlink: RtnetlinkSocket;
  /** Undefined for the process's own namespace, which needs no entering. */
  readonly #fd: number | undefined;

  constructor(path: string | undefined, id?: NamespaceId) {
    this.#fd = path === undefined ? undefined : openNamespace(path);
    try {
      if (this.#fd !== undefined && id !== undefined && !isSameNamespace(namespaceIdOf(this.#fd), id))
        throw new Error(`another network namespace stands at ${path} now`);
      this.#rtnetlink = this.#inside(() => new RtnetlinkSocket());
    } catch (error) {
      if (this.#fd !== undefined) closeSync(this.#fd);
      throw error;
    }
  }

  links(): Link[] {
    return this.#rtnetlink.dump(
      { operation: 'dump', object: 'links' },
      RTM.GETLINK,
      (writer) => {
        encodeDumpHeader(writer, RTM.GETLINK, 0, 0);
        writer.attributeU32(IFLA.EXT_MASK, RTEXT_FILTER_SKIP_STATS);
      },
      ({ payload }) => decodeLink(payload),
    );
  }

  link(name_or_index: string | number): Link | undefined {
    try {
      return this.#rtnetlink.get(
        { operation: 'get_link', object: String(name_or_index) },
        RTM.GETLINK,
        (writer) => encodeLinkQuery(writer, name_or_index),
        ({ payload }) => decodeLink(payload),
      );
    } catch (error) {
      if (errorCode(error) === 'ENODEV') return undefined;
      throw error;
    }
  }

  addresses(link?: number): Address[] {
    const all = this.#dumpFamilies('addresses', RTM.GETADDR, link, ({ payload }) => decodeAddress(payload));
    return link === undefined ? all : all.filter((address) => address.link === link);
  }

  routes({ table, link }: { table?: number; link?: number } = {}): Route[] {
    const routes = this.#dumpFamilies(
      'routes',
      RTM.GETROUTE,
      undefined,
      ({ payload }) => decodeRoute(payload),
      (writer) => {
        if (table !== undefined) writer.attributeU32(RTA.TABLE, table);
        if (link !== undefined) writer.attributeU32(RTA.OIF, link);
      },
    );
    return this.#advertised(this.#resolved(routes)).filter((route) => wantedRoute(route, table, link));
  }

  /** Netlink does not tell whether a route is the kernel's own. */
  #advertised(routes: Route[]): Route[] {
    if (!routes.some(mayBeAdvertised)) return routes;
    const text = this.#inside(() => readFileSync('/proc/thread-self/net/ipv6_route', 'utf8'));
    const known = advertisedRoutes(text);
    return routes.map((route) => (isAdvertisedNow(route, known) ? { ...route, advertised: true } : route));
  }

  /** Where `nexthop_compat_mode` is 0 the kernel names the object alone, and not what it leads to. */
  #resolved(routes: Route[]): Route[] {
    const isUnresolved = ({ nexthop_id, next_hops }: Route): boolean =>
      nexthop_id !== undefined && next_hops.length === 0;
    if (!routes.some(isUnresolved)) return routes;
    const objects = new Map(this.nexthops().map((object) => [object.id, object]));
    return routes.map((route) => {
      if (!isUnresolved(route)) return route;
      const object = objects.get(route.nexthop_id ?? 0);
      const members = object?.group ?? [{ id: object?.id ?? 0, weight: 1 }];
      const next_hops = members.flatMap(({ id, weight }) => {
        const hop = objects.get(id)?.hop;
        return hop === undefined ? [] : [weight === 1 ? hop : { ...hop, weight }];
      });
      return { ...route, next_hops };
    });
  }

  rules(): Rule[] {
    return this.#dumpFamilies('rules', RTM.GETRULE, undefined, ({ payload }) => decodeRule(payload));
  }

  nexthops(): NexthopObject[] {
    return this.#dumpOf(
      'nexthops',
      RTM.GETNEXTHOP,
      ({ payload }) => decodeNexthop(payload),
      (writer) => encodeDumpHeader(writer, RTM.GETNEXTHOP, 0, 0),
    );
  }

  neighbours(link?: number): Neighbour[] {
    const decode = ({ payload }: Message): Neighbour | undefined => decodeNeighbour(payload);
    const proxies = BOTH_FAMILIES.flatMap((family) =>
      this.#dumpOf('neighbours', RTM.GETNEIGH, decode, (writer) =>
        encodeDumpHeader(writer, RTM.GETNEIGH, family, 0, NTF_PROXY),
      ),
    );
    const all = [...this.#dumpFamilies('neighbours', RTM.GETNEIGH, undefined, decode), ...proxies];
    return link === undefined ? all : all.filter((neighbour) => neighbour.link === link);
  }

  #dumpFamilies<T>(
    object: string,
    type: number,
    link: number | undefined,
    decode: (message: Message) => T | undefined,
    filter?: (writer: MessageWriter) => void,
  ): T[] {
    return BOTH_FAMILIES.flatMap((family) =>
      this.#dumpOf(object, type, decode, (writer) => {
        encodeDumpHeader(writer, type, family, link ?? 0);
        filter?.(writer);
      }),
    );
  }

  #dumpOf<T>(
    object: string,
    type: number,
    decode: (message: Message) => T | undefined,
    request: (writer: MessageWriter) => void,
  ): T[] {
    try {
      return this.#rtnetlink.dump({ operation: 'dump', object }, type, request, decode);
    } catch (error) {
      // No such table or link, or a kernel without IPv6 or nexthop objects: nothing is there to be listed.
      if (['ENOENT', 'ENODEV', 'EAFNOSUPPORT', 'EOPNOTSUPP'].includes(errorCode(error) ?? '')) return [];
      throw error;
    }
  }

  apply(change: NetworkChange): void {
    const [failure] = this.batch([change]);
    if (failure) throw failure;
  }

  batch(changes: readonly NetworkChange[]): (NetlinkError | undefined)[] {
    const at = changes.findIndex(isByIoctl);
    if (at === -1) return this.#byNetlink(changes);
    const change = changes[at]!;
    return [
      ...this.#byNetlink(changes.slice(0, at)),
      this.#addAdvertised(change),
      ...this.batch(changes.slice(at + 1)),
    ];
  }

  #addAdvertised(change: NetworkChange): NetlinkError | undefined {
    if (!isByIoctl(change)) return undefined;
    const { route } = change;
    const fd = this.#inside(() => socket(AF_INET6, SOCK_DGRAM, 0));
    try {
      addAdvertisedRoute(fd, route);
      return undefined;
    } catch (error) {
      return new NetlinkError(errorCode(error) ?? 'EINVAL', change.do, route.prefix);
    } finally {
      closeSync(fd);
    }
  }

  #byNetlink(changes: readonly NetworkChange[]): (NetlinkError | undefined)[] {
    if (changes.length === 0) return [];
    const opened = new Map<string, number>();
    const descriptor = (path: string): number => {
      const fd = opened.get(path) ?? openNamespace(path);
      opened.set(path, fd);
      return fd;
    };
    try {
      return this.#rtnetlink.batch(changes, descriptor);
    } finally {
      for (const fd of opened.values()) closeSync(fd);
    }
  }

  channels(link_name: string): Channels | undefined {
    const bytes = channelsRequest(ETHTOOL_GCHANNELS);
    try {
      this.#ethtool('get_channels', link_name, bytes);
    } catch (error) {
      if (errorCode(error) === 'EOPNOTSUPP') return undefined;
      throw error;
    }
    const [, max_rx = 0, max_tx = 0, , max_combined = 0, rx = 0, tx = 0, , combined = 0] = new Uint32Array(
      bytes.buffer,
      bytes.byteOffset,
      9,
    );
    return { rx, tx, combined, max_rx, max_tx, max_combined };
  }

  setChannels(link_name: string, { rx, tx, combined }: NewChannels): void {
    const bytes = channelsRequest(ETHTOOL_GCHANNELS);
    this.#ethtool('get_channels', link_name, bytes);
    bytes.writeUInt32LE(ETHTOOL_SCHANNELS, 0);
    if (rx !== undefined) bytes.writeUInt32LE(rx, 20);
    if (tx !== undefined) bytes.writeUInt32LE(tx, 24);
    if (combined !== undefined) bytes.writeUInt32LE(combined, 32);
    this.#ethtool('set_channels', link_name, bytes);
  }

  offloads(link_name: string): boolean {
    return [ETHTOOL_GTXCSUM, ETHTOOL_GGSO].some((command) => {
      // `struct ethtool_value`: cmd, data; u32 each.
      const value = Buffer.alloc(8);
      value.writeUInt32LE(command);
      this.#ethtool('get_offload', link_name, value);
      return value.readUInt32LE(4) !== 0;
    });
  }

  featuresOn(link_name: string): readonly string[] {
    try {
      return featuresOn((argument) => this.#ethtool('get_features', link_name, argument));
    } catch (error) {
      if (errorCode(error) === 'EOPNOTSUPP') return [];
      throw error;
    }
  }

  setFeatures(link_name: string, names: readonly string[], on: boolean): void {
    setFeatures((argument) => this.#ethtool('set_features', link_name, argument), names, on);
  }

  setChecksums(link_name: string, by_device: boolean): void {
    const value = Buffer.alloc(8);
    value.writeUInt32LE(ETHTOOL_STXCSUM);
    value.writeUInt32LE(by_device ? 1 : 0, 4);
    this.#ethtool('set_checksums', link_name, value);
  }

  #ethtool(operation: string, link_name: string, argument: Uint8Array): void {
    const fd = this.#inside(() => socket(AF_INET, SOCK_DGRAM, 0));
    try {
      interfaceControl(fd, SIOCETHTOOL, link_name, argument);
    } catch (error) {
      throw new NetlinkError(errorCode(error) ?? 'EIO', operation, link_name);
    } finally {
      closeSync(fd);
    }
  }

  readSysctl(path: string): string | undefined {
    const file = sysctlFile(path);
    return this.#inside(() => {
      try {
        return readFileSync(file, 'utf8').trimEnd();
      } catch (error) {
        // EIO: a secret that nobody has set.
        if (['ENOENT', 'EIO'].includes(errorCode(error) ?? '')) return undefined;
        throw error;
      }
    });
  }

  readSysctls(directory: string): ReadonlyMap<string, string> {
    const folder = sysctlFile(directory);
    return this.#inside(() => new Map(namesIn(folder).flatMap((name) => writableSysctl(folder, name))));
  }

  writeSysctl(path: string, value: string): void {
    const file = sysctlFile(path);
    this.#inside(() => writeFileSync(file, `${value}\n`, { flag: 'r+' }));
  }

  watch(groups: readonly EventGroup[], on_event: (event: NetworkEvent) => void): Watch {
    const mask = groups.reduce((bits, group) => bits | GROUP_BITS[group], 0);
    const fd = this.#inside(() => openRtnetlinkSocket(mask));
    let open = true;
    const poll = onReadable(fd, () => {
      for (const event of readEvents(fd)) if (open) on_event(event);
    });
    return {
      close() {
        if (!open) return;
        open = false;
        poll.close();
        closeSync(fd);
      },
    };
  }

  /** Removes a link beside the main loop. Nothing else may be asked of this namespace, nor it be closed, before the answer. */
  removeLinkAside(link: number): LinkRemoval {
    let watch: Watch | undefined;
    const seen = new Promise<void>((resolve) => {
      watch = this.watch(['link'], (event) => {
        if (event.event === 'link_removed' && event.link.index === link) resolve();
      });
    });
    const outcome = this.#rtnetlink.applyAside({ do: 'delete_link', link });
    const done = outcome.then((failure) => {
      watch?.close();
      if (failure) throw failure;
    });
    return { detached: Promise.race([seen, done]), answered: outcome.then(() => {}) };
  }

  close(): void {
    this.#rtnetlink.close();
    if (this.#fd !== undefined) closeSync(this.#fd);
  }

  #inside<T>(run: () => T): T {
    return this.#fd === undefined ? run() : enterNamespace(this.#fd, run);
  }
}

type RouteChange = Extract<NetworkChange, { readonly route: object }>;

function isByIoctl(change: NetworkChange): change is RouteChange {
  return 'route' in change && change.do !== 'delete_route' && change.route.advertised === true;
}

function encodeLinkQuery(writer: MessageWriter, name_or_index: string | number): void {
  writer
    .u32(0)
    .u32(typeof name_or_index === 'number' ? name_or_index : 0)
    .u32(0)
    .u32(0);
  if (typeof name_or_index === 'string') {
    const long = Buffer.byteLength(name_or_index) > INTERFACE_NAME_BYTES_MAX;
    writer.attributeText(long ? IFLA.ALT_IFNAME : IFLA.IFNAME, name_or_index);
  }
  writer.attributeU32(IFLA.EXT_MASK, RTEXT_FILTER_SKIP_STATS);
}

function wantedRoute(route: Route, table: number | undefined, link: number | undefined): boolean {
  if (isCloned(route)) return false;
  if (table !== undefined && route.table !== table) return false;
  return link === undefined || route.next_hops.some((hop) => hop.oif === link);
}

/** `struct ethtool_channels`: cmd, max rx, tx, other, combined, then the present four; u32 each. */
function channelsRequest(command: number): Buffer {
  const bytes = Buffer.from(new ArrayBuffer(36));
  bytes.writeUInt32LE(command);
  return bytes;
}

function sysctlFile(path: string): string {
  const file = normalize(join('/proc/sys', path));
  if (!file.startsWith('/proc/sys/')) throw new RangeError(`'${path}' is not below /proc/sys`);
  return file;
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder).sort();
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return [];
    throw error;
  }
}

const WRITABLE_BY_OWNER = 0o200;

function writableSysctl(folder: string, name: string): [string, string][] {
  const file = join(folder, name);
  try {
    return statSync(file).mode & WRITABLE_BY_OWNER ? [[name, readFileSync(file, 'utf8').trimEnd()]] : [];
  } catch {
    // One that has no value (a secret that nobody has set), or a link that has gone meanwhile.
    return [];
  }
}

const GROUP_BITS: Readonly<Record<EventGroup, number>> = {
  link: GROUP.LINK,
  address: GROUP.IPV4_IFADDR | GROUP.IPV6_IFADDR,
  route: GROUP.IPV4_ROUTE | GROUP.IPV6_ROUTE,
  neighbour: GROUP.NEIGH,
};

/** At most this many datagrams in one turn of the event loop; the poll calls again for the rest. */
const EVENT_DATAGRAMS_MAX = 64;

function readEvents(fd: number): NetworkEvent[] {
  const events: NetworkEvent[] = [];
  for (let i = 0; i < EVENT_DATAGRAMS_MAX; i++) {
    try {
      events.push(...eventsOf(receiveDatagram(fd, MSG_DONTWAIT)));
    } catch (error) {
      const code = errorCode(error);
      if (code === 'ENOBUFS') events.push({ event: 'overrun' });
      else if (code === 'EAGAIN') break;
      else throw error;
    }
  }
  return events;
}
