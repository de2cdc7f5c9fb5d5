import { describeChange } from '../src/host/netlink/rtnetlink-encode.js';
import {
  type Address,
  type Channels,
  type EventGroup,
  type HostNetwork,
  type Link,
  type NamespaceId,
  type Neighbour,
  NetlinkError,
  type NetworkChange,
  type NetworkEvent,
  type NetworkNamespace,
  type NewChannels,
  type NewLink,
  type NexthopObject,
  OWN_NAMESPACE_PATH,
  type Route,
  type Rule,
  type Watch,
} from '../src/linux/network.js';
import { type FakeLink, FakeNamespaceState, Refusal, refused, toLink } from './fake-namespace.js';

/** A change that was made, with the namespace that it was made in (OWN_NAMESPACE_PATH for the host's own). */
export interface Mutation {
  readonly namespace: string;
  readonly change: NetworkChange;
}

const NAMED_DIRECTORY = '/var/run/netns';

/** The network of a machine in memory, with the rules of Linux as far as they matter here, and faults at will. */
export class FakeHostNetwork implements HostNetwork {
  readonly mutations: Mutation[] = [];
  /** What was asked of `removeTun`, in that order. */
  readonly removals: { readonly path: string; readonly link: number; readonly urgent: boolean }[] = [];
  /** The kernel removes nothing before this resolves. */
  removable: Promise<void> = Promise.resolve();
  readonly #namespaces = new Map<string, FakeNamespaceState>();
  readonly #watches = new Set<{ state: FakeNamespaceState; tell: (event: NetworkEvent) => void }>();
  #faults: { remaining: number; code: string }[] = [];
  #away = false;

  constructor() {
    this.#namespaces.set(OWN_NAMESPACE_PATH, new FakeNamespaceState(OWN_NAMESPACE_PATH));
    this.#stateOf(undefined).setUp(this.#stateOf(undefined).require(1), true);
  }

  /** Answers the index. */
  addPhysical(link: {
    name: string;
    mac: string;
    queues?: number;
    channels?: Channels;
    features?: readonly string[];
    port_id?: string;
  }): number {
    const { queues = 1, ...rest } = link;
    return this.#stateOf(undefined).insert({ ...rest, permanent_mac: link.mac, mtu: 1500, queues }).index;
  }

  /** By what its bus knows a physical device. */
  sitsOn(mac: string, parent_device: string): void {
    for (const state of this.#namespaces.values())
      for (const link of state.links.values())
        if (link.kind === undefined && link.permanent_mac === mac) Object.assign(link, { parent_device });
  }

  /** The driver of a physical device lets go of it, in whichever namespace it is. */
  unplug(mac: string): void {
    for (const state of this.#namespaces.values()) {
      const link = [...state.links.values()].find(
        (each) => each.kind === undefined && each.permanent_mac === mac,
      );
      if (link === undefined) continue;
      this.#tell(state, { event: 'link_removed', link: toLink(link) });
      state.remove(link);
    }
  }

  /** A link that somebody else makes, e.g. the tap of VPP (kind `tun`). Answers the index. */
  addVirtual(link: { name: string; mac: string; kind: string }, path?: string): number {
    return this.#stateOf(path).insert({ ...link, mtu: 1500, queues: 1 }).index;
  }

  /** As VPP does with a tap that it makes, and with one that it finds. */
  takeUp(name: string, mtu: number, path: string): void {
    const state = this.#stateOf(path);
    const link = state.named(name)!;
    link.mtu = mtu;
    this.#setUp(state, link, true);
  }

  /** A namespace of a process, at its /proc path. */
  addNamespace(path: string): string {
    if (!this.#namespaces.has(path)) this.#namespaces.set(path, new FakeNamespaceState(path));
    return path;
  }

  /** Its last user is gone: virtual links are destroyed, physical ones fall back to the host's own namespace. */
  destroyNamespace(path: string): void {
    const state = this.#namespaces.get(path);
    if (!state) return;
    this.#namespaces.delete(path);
    const own = this.#stateOf(undefined);
    for (const link of [...state.links.values()]) {
      state.remove(link);
      if (link.kind !== undefined) this.#destroyPeer(link);
      else if (link.name !== 'lo') {
        const moved = own.insert(link);
        if ([...own.links.values()].some((l) => l !== moved && l.name === moved.name))
          moved.name = `dev${moved.index}`;
      }
    }
  }

  /** The n-th change from now (1 is the next) fails and is not made. */
  failChange(n: number, code = 'EIO'): void {
    this.#faults.push({ remaining: n, code });
  }

  /** The code of each change that is refused however often it is tried. */
  refuses: (change: NetworkChange) => string | undefined = () => undefined;

  /** What an observer of the namespace sees, in an order that does not depend on how it came to be; without indices. */
  snapshot(path?: string): object {
    const state = this.#stateOf(path);
    const name = (index: number | undefined) =>
      index === undefined ? undefined : state.links.get(index)?.name;
    const sorted = (values: readonly object[]) => values.map(canonicalText).sort();
    return {
      links: sorted([...state.links.values()].map(({ index: _, peer: __, ...link }) => link)),
      addresses: sorted(state.addresses.map((address) => ({ ...address, link: name(address.link) }))),
      routes: sorted(
        state.routes.map((route) => ({
          ...route,
          next_hops: route.next_hops.map((hop) => ({ ...hop, oif: name(hop.oif) })),
        })),
      ),
      neighbours: sorted(state.neighbours.map((n) => ({ ...n, link: name(n.link) }))),
      sysctls: sorted([...state.sysctls]),
    };
  }

  open(path?: string, id?: NamespaceId): NetworkNamespace {
    const state = this.#stateOf(path);
    if (id !== undefined && state.id !== id)
      throw new Error(`another network namespace stands at ${path} now`);
    return new FakeNamespace(this, state);
  }

  identify(path: string): NamespaceId | undefined {
    return this.#namespaces.get(path)?.id;
  }

  /** As if it had been this one all the time. */
  renumber(path: string, id: NamespaceId): void {
    this.#stateOf(path).id = id;
  }

  /** Leads to a namespace that is there, as /proc/<pid>/ns/net does when the process is another one. */
  lead(path: string, to: string = OWN_NAMESPACE_PATH): void {
    this.#namespaces.set(path, this.#stateOf(to));
  }

  inNamespace<T>(path: string, run: () => T): T {
    this.#stateOf(path);
    if (this.#away)
      throw new Error('already in another network namespace: leave it before entering the next');
    this.#away = true;
    try {
      return run();
    } finally {
      this.#away = false;
    }
  }

  /** As a change, so that faults and mutations are those of `delete_link`. */
  async removeTun(path: string, index: number, id: NamespaceId, urgent = false): Promise<void> {
    this.removals.push({ path, link: index, urgent });
    await this.removable;
    const state = this.#namespaces.get(path);
    const link = state?.links.get(index);
    if (state?.id !== id || link?.kind !== 'tun') return;
    const failure = this.change(state, { do: 'delete_link', link: link.index });
    if (failure) throw failure;
  }

  exists(path: string): boolean {
    return this.#namespaces.has(path);
  }

  createNamed(name: string): string {
    return this.addNamespace(`${NAMED_DIRECTORY}/${name}`);
  }

  removeNamed(name: string): void {
    this.destroyNamespace(`${NAMED_DIRECTORY}/${name}`);
  }

  #stateOf(path: string | undefined): FakeNamespaceState {
    const state = this.#namespaces.get(path ?? OWN_NAMESPACE_PATH);
    if (!state) throw Object.assign(new Error(`ENOENT: no such file, open '${path}'`), { code: 'ENOENT' });
    return state;
  }

  /** For FakeNamespace: one change, with its record and its events. */
  change(state: FakeNamespaceState, change: NetworkChange): NetlinkError | undefined {
    // A question changes nothing.
    const is_change = change.do !== 'probe_neighbour';
    const fault = is_change ? (this.#nextFault() ?? this.refuses(change)) : undefined;
    if (fault) return new NetlinkError(fault, change.do, describeChange(change), 'injected');
    try {
      this.#perform(state, change);
    } catch (error) {
      return refused(change.do, describeChange(change), error);
    }
    if (is_change) this.mutations.push({ namespace: state.path, change });
    return undefined;
  }

  #nextFault(): string | undefined {
    for (const fault of this.#faults) fault.remaining--;
    const due = this.#faults.find((fault) => fault.remaining <= 0);
    this.#faults = this.#faults.filter((fault) => fault.remaining > 0);
    return due?.code;
  }

  #perform(state: FakeNamespaceState, change: NetworkChange): void {
    switch (change.do) {
      case 'set_link':
        return this.#setLink(state, change);
      case 'move_link':
        return this.#moveLink(state, change);
      case 'set_vf':
        state.require(change.link);
        return;
      case 'add_link':
        return this.#addLink(state, change.link);
      case 'delete_link': {
        const link = state.require(change.link);
        if (link.kind === undefined) throw new Refusal('EOPNOTSUPP');
        this.#tell(state, { event: 'link_removed', link: toLink(link) });
        state.remove(link);
        return this.#destroyPeer(link);
      }
      case 'add_address':
      case 'replace_address':
        state.addAddress(change.address, change.do === 'add_address' ? 'add' : 'replace');
        return this.#tellAddress(state, 'address', change.address.prefix);
      case 'delete_address':
        this.#tellAddress(state, 'address_removed', change.address.prefix);
        return state.deleteAddress(change.address);
      case 'add_route':
        return state.addRoute(change.route, 'add');
      case 'append_route':
        return state.addRoute(change.route, 'append');
      case 'prepend_route':
        return state.addRoute(change.route, 'prepend');
      case 'replace_route':
        return state.addRoute(change.route, 'replace');
      case 'delete_route':
        return state.deleteRoute(change.route);
      case 'add_altname': {
        const link = state.require(change.link);
        if (state.named(change.altname)) throw new Refusal('EEXIST');
        link.altnames = [...(link.altnames ?? []), change.altname];
        return;
      }
      case 'delete_altname': {
        const link = state.require(change.link);
        if (!link.altnames?.includes(change.altname)) throw new Refusal('ENOENT');
        link.altnames = link.altnames.filter((altname) => altname !== change.altname);
        return;
      }
      case 'set_nexthop':
        throw new Refusal('EOPNOTSUPP');
      case 'set_neighbour': {
        state.require(change.neighbour.link);
        state.neighbours = state.neighbours.filter((n) => !sameNeighbour(n, change.neighbour));
        state.neighbours.push({ state: 0x80, flags: 0, ...change.neighbour });
        return;
      }
      case 'probe_neighbour': {
        const found = state.neighbours.find((n) => sameNeighbour(n, change.neighbour));
        if (found === undefined) throw new Refusal('ENOENT');
        state.neighbours = state.neighbours.map((n) => (n === found ? { ...n, state: 0x10 } : n));
        return;
      }
      case 'delete_neighbour': {
        const left = state.neighbours.filter((n) => !sameNeighbour(n, change.neighbour));
        if (left.length === state.neighbours.length) throw new Refusal('ENOENT');
        state.neighbours = left;
        return;
      }
      case 'add_rule': {
        const rule: Rule = { action: 1, table: 254, ...change.rule };
        if (state.rules.some((present) => JSON.stringify(present) === JSON.stringify(rule)))
          throw new Refusal('EEXIST');
        state.rules.push(rule);
        return;
      }
      case 'delete_rule': {
        const { family, priority } = change.rule;
        const found = state.rules.find((rule) => rule.family === family && rule.priority === priority);
        if (!found) throw new Refusal('ENOENT');
        state.rules = state.rules.filter((rule) => rule !== found);
      }
    }
  }

  #setLink(state: FakeNamespaceState, change: Extract<NetworkChange, { do: 'set_link' }>): void {
    const link = state.require(change.link);
    const { up, name, master, mtu, mac, promisc, addrgen_mode } = change;
    if (name !== undefined && name !== link.name && state.named(name)) throw new Refusal('EEXIST');
    if (mtu !== undefined && (mtu < 68 || mtu > 65535) && link.name !== 'lo') throw new Refusal('EINVAL');
    if (name !== undefined) link.name = name;
    if (mtu !== undefined) link.mtu = mtu;
    if (mac !== undefined) link.mac = mac;
    if (promisc !== undefined) link.promisc = promisc;
    if (addrgen_mode !== undefined) link.addrgen_mode = addrgen_mode;
    for (const key of ['txqlen', 'group', 'alias'] as const)
      if (change[key] !== undefined) Object.assign(link, { [key]: change[key] });
    if (master === 0) delete link.master;
    else if (master !== undefined) link.master = state.require(master).index;
    if (up !== undefined) this.#setUp(state, link, up);
    this.#tell(state, { event: 'link', link: toLink(link) });
  }

  #setUp(state: FakeNamespaceState, link: FakeLink, up: boolean): void {
    state.setUp(link, up);
    const { peer } = link;
    const peer_state = peer && this.#holderOf(peer);
    if (!peer_state) return;
    peer_state.settle(peer);
    this.#tell(peer_state, { event: 'link', link: toLink(peer) });
  }

  #moveLink(state: FakeNamespaceState, change: Extract<NetworkChange, { do: 'move_link' }>): void {
    const link = state.require(change.link);
    const target = this.#namespaces.get(change.netns);
    if (!target) throw new Refusal('ENOENT');
    if (target === state) return;
    const name = change.name ?? link.name;
    if ([name, ...(link.altnames ?? [])].some((each) => target.named(each))) throw new Refusal('EEXIST');
    this.#tell(state, { event: 'link_removed', link: toLink(link) });
    state.remove(link);
    delete link.master;
    link.name = name;
    target.insert(link);
    this.#tell(target, { event: 'link', link: toLink(link) });
  }

  #addLink(state: FakeNamespaceState, wanted: NewLink): void {
    if (state.named(wanted.name)) throw new Refusal('EEXIST');
    const link = newLink(wanted, wanted.kind === 'veth' ? (wanted.queues ?? 1) : 1);
    if ('link' in wanted) link.lower = state.require(wanted.link).index;
    if (wanted.kind === 'veth') {
      const home = wanted.peer.netns === undefined ? state : this.#namespaces.get(wanted.peer.netns);
      if (!home) throw new Refusal('ENOENT');
      if (home.named(wanted.peer.name) || (home === state && wanted.peer.name === wanted.name))
        throw new Refusal('EEXIST');
      const peer = home.insert(newLink({ ...wanted.peer, kind: 'veth' }, wanted.queues ?? 1));
      const near = state.insert(link);
      near.peer = peer;
      peer.peer = near;
      this.#tell(home, { event: 'link', link: toLink(peer) });
    } else state.insert(link);
    const made = state.named(wanted.name)!;
    if (wanted.up) this.#setUp(state, made, true);
    this.#tell(state, { event: 'link', link: toLink(made) });
  }

  #destroyPeer({ peer }: FakeLink): void {
    const state = peer && this.#holderOf(peer);
    if (!state) return;
    this.#tell(state, { event: 'link_removed', link: toLink(peer) });
    state.remove(peer);
  }

  #holderOf(link: FakeLink): FakeNamespaceState | undefined {
    return [...this.#namespaces.values()].find((state) => state.links.get(link.index) === link);
  }

  watch(
    state: FakeNamespaceState,
    groups: readonly EventGroup[],
    on_event: (event: NetworkEvent) => void,
  ): Watch {
    const wanted = new Set(groups.flatMap((group): string[] => [group, `${group}_removed`]));
    const entry = {
      state,
      tell: (event: NetworkEvent) => {
        if (wanted.has(event.event)) queueMicrotask(() => this.#watches.has(entry) && on_event(event));
      },
    };
    this.#watches.add(entry);
    return { close: () => this.#watches.delete(entry) };
  }

  #tell(state: FakeNamespaceState, event: NetworkEvent): void {
    for (const watch of this.#watches) if (watch.state === state) watch.tell(event);
  }

  #tellAddress(state: FakeNamespaceState, event: 'address' | 'address_removed', prefix: string): void {
    const address = state.addresses.find((present) => present.prefix === prefix);
    if (address) this.#tell(state, { event, address });
  }
}

/** JSON that does not depend on the order in which fields were set. */
function canonicalText(value: unknown): string {
  return JSON.stringify(value, (_, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}

let next_mac = 1;

function newLink(
  link: { name: string; kind: string; mac?: string; mtu?: number },
  queues: number,
): Omit<FakeLink, 'index' | 'up' | 'promisc' | 'addrgen_mode'> {
  const mac = link.mac ?? `02:fa:ce:00:00:${(next_mac++ % 256).toString(16).padStart(2, '0')}`;
  return { name: link.name, kind: link.kind, mac, mtu: link.mtu ?? 1500, queues };
}

function sameNeighbour(a: Neighbour, b: Pick<Neighbour, 'link' | 'address'>): boolean {
  return a.link === b.link && a.address === b.address;
}

class FakeNamespace implements NetworkNamespace {
  readonly #host: FakeHostNetwork;
  readonly #state: FakeNamespaceState;

  constructor(host: FakeHostNetwork, state: FakeNamespaceState) {
    this.#host = host;
    this.#state = state;
  }

  links(): Link[] {
    return [...this.#state.links.values()].map(toLink);
  }

  link(name_or_index: string | number): Link | undefined {
    const { links } = this.#state;
    const found =
      typeof name_or_index === 'number' ? links.get(name_or_index) : this.#state.named(name_or_index);
    return found && toLink(found);
  }

  addresses(link?: number): Address[] {
    return this.#state.addresses.filter((address) => link === undefined || address.link === link);
  }

  routes({ table, link }: { table?: number; link?: number } = {}): Route[] {
    return this.#state.routes.filter(
      (route) =>
        (table === undefined || route.table === table) &&
        (link === undefined || route.next_hops.some((hop) => hop.oif === link)),
    );
  }

  rules(): Rule[] {
    return [...this.#state.rules];
  }

  nexthops(): NexthopObject[] {
    return [];
  }

  neighbours(link?: number): Neighbour[] {
    return this.#state.neighbours.filter((neighbour) => link === undefined || neighbour.link === link);
  }

  apply(change: NetworkChange): void {
    const failure = this.#host.change(this.#state, change);
    if (failure) throw failure;
  }

  batch(changes: readonly NetworkChange[]): (NetlinkError | undefined)[] {
    return changes.map((change) => this.#host.change(this.#state, change));
  }

  channels(link_name: string): Channels | undefined {
    return this.#state.named(link_name)?.channels;
  }

  offloads(link_name: string): boolean {
    const link = this.#state.named(link_name);
    return link === undefined || !this.#state.software_checksums.has(link.index);
  }

  featuresOn(link_name: string): readonly string[] {
    return [...(this.#state.named(link_name)?.features ?? [])];
  }

  setFeatures(link_name: string, names: readonly string[], on: boolean): void {
    const link = this.#state.named(link_name);
    if (link === undefined) throw new NetlinkError('ENODEV', 'set_features', link_name);
    const rest = (link.features ?? []).filter((name) => !names.includes(name));
    link.features = on ? [...rest, ...names] : rest;
  }

  setChecksums(link_name: string, by_device: boolean): void {
    const link = this.#state.named(link_name);
    if (link === undefined) throw new NetlinkError('ENODEV', 'set_checksums', link_name);
    if (by_device) this.#state.software_checksums.delete(link.index);
    else this.#state.software_checksums.add(link.index);
  }

  setChannels(link_name: string, channels: NewChannels): void {
    const link = this.#state.named(link_name);
    if (!link?.channels) throw new NetlinkError('EOPNOTSUPP', 'set_channels', link_name);
    if ((channels.combined ?? 0) > link.channels.max_combined)
      throw new NetlinkError('EINVAL', 'set_channels', link_name);
    link.channels = { ...link.channels, ...channels };
  }

  readSysctl(path: string): string | undefined {
    return this.#state.sysctls.get(path);
  }

  readSysctls(directory: string): ReadonlyMap<string, string> {
    const inside = [...this.#state.sysctls].flatMap(([path, value]): [string, string][] => {
      const name = path.startsWith(`${directory}/`) ? path.slice(directory.length + 1) : '/';
      return name.includes('/') ? [] : [[name, value]];
    });
    return new Map(inside);
  }

  writeSysctl(path: string, value: string): void {
    this.#state.sysctls.set(path, value);
  }

  watch(groups: readonly EventGroup[], on_event: (event: NetworkEvent) => void): Watch {
    return this.#host.watch(this.#state, groups, on_event);
  }

  close(): void {
    // Nothing is held.
  }
}
