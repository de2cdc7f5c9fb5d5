/** How each kind of step is taken. */
import { statSync, writeFileSync } from 'node:fs';
import type {
  HostNetwork,
  Link,
  Neighbour,
  NetworkChange,
  NetworkNamespace,
  NewAddress,
  NewRoute,
  NextHop,
  NexthopObject,
} from '../../linux/network.js';
import { isSameNexthop, type PlacedRoute, placing, surplusConnected } from '../../linux/routes.js';
import type { RunCommand } from '../command.js';
import { bindDriver, type PciTools, setUnsafeNoIommu, setVirtualFunctions } from '../devices/pci-driver.js';
import { hasCarried, pciAddressOf } from '../devices/sysfs.js';
import { errorCode, readIfExists, removeIfExists, writeAtomic } from '../files.js';
import { isHostRoot } from '../host-root.js';
import { LinkFinder } from './link-finder.js';
import { Rivals } from './rivals.js';
import type { LinkIdentity, UndoNextHop, UndoRoute, UndoStep } from './undo-step.js';

/** What undoing needs of the world. */
export interface UndoTools extends PciTools {
  readonly host: HostNetwork;
  readonly run: RunCommand;
}

/** A network card finds its carrier again in 2 to 4 s after it was set up; until then no IPv6 address is of use. */
const SETTLE_MS = 3000;
const SETTLE_POLL_MS = 2;
const QUESTION_TIMEOUT_MS = 5000;
const NUD_PERMANENT = 0x80;
const NTF_PROXY = 0x08;
const IFA_F_NODAD = 0x02;
const IFA_F_DADFAILED = 0x08;
const IFA_F_TENTATIVE = 0x40;

export class CommandTimedOut extends Error {}

/** One replay: the own namespace stays open, and a link that did not come is not waited for twice. */
export class UndoSession {
  readonly #tools: UndoTools;
  readonly #link_wait_ms: number;
  readonly #named: readonly LinkIdentity[];
  #namespace: NetworkNamespace | undefined;
  #finder: LinkFinder | undefined;
  /** Addresses that were added without detection of duplicates, as they shall be when they are of use. */
  readonly #verified: { readonly step: UndoStep; readonly address: NewAddress }[] = [];
  #rivals: Rivals | undefined;
  #stopping: Promise<boolean> | undefined;
  /** Of each link, by address, as they were when they were first asked for. */
  readonly #neighbours = new Map<number, ReadonlyMap<string, Neighbour>>();

  /** `steps`: all that will be taken. */
  constructor(tools: UndoTools, link_wait_ms: number, steps: readonly UndoStep[] = []) {
    this.#tools = tools;
    this.#link_wait_ms = link_wait_ms;
    this.#named = steps.flatMap((step) => (step.kind === 'link_to_netns' ? [step.link] : []));
  }

  get #own(): NetworkNamespace {
    this.#namespace ??= this.#tools.host.open();
    return this.#namespace;
  }

  get #links(): LinkFinder {
    const { host, clock, roots } = this.#tools;
    const pciOf = (link: Link): string | undefined => pciAddressOf(link, roots);
    this.#finder ??= new LinkFinder(host, this.#own, clock, this.#link_wait_ms, this.#named, pciOf);
    return this.#finder;
  }

  /** Is an address gone that was there, or was added, a moment ago? Then somebody else is at it. */
  async lacksAddresses(steps: readonly UndoStep[]): Promise<boolean> {
    for (const step of steps) {
      if (step.kind !== 'add_address') continue;
      const link = await this.#links.indexOf(step.link).catch(() => undefined);
      if (link === undefined) continue;
      if (!this.#own.addresses(link).some(({ prefix }) => prefix === step.address.prefix)) return true;
    }
    return false;
  }

  close(): void {
    this.#namespace?.close();
  }

  /** True: something was changed. False: it was so already. Throws when it cannot be done. */
  async take(step: UndoStep): Promise<boolean> {
    switch (step.kind) {
      case 'link_to_netns':
        return this.#bringBack(step);
      case 'set_link':
        return this.#setLink(step);
      case 'add_address':
        return this.#addAddress(step);
      case 'set_nexthop':
        return this.#setNexthop(step);
      case 'add_route':
        return this.#addRoute(step);
      case 'addrgen_mode':
        return this.#setAddrgenMode(step);
      case 'connected_routes':
        return this.#pruneConnected(step);
      case 'set_neighbour':
        return this.#setNeighbour(step);
      case 'delete_link':
        return this.#deleteLink(step);
      case 'ethtool_channels':
        return this.#setChannels(step);
      case 'ethtool_features':
        return this.#setFeatures(step);
      case 'bind_driver':
        return bindDriver(step, this.#tools);
      case 'wake_link':
        return this.#wake(step);
      case 'sriov_vfs':
        return setVirtualFunctions(step, this.#tools);
      case 'vfio_noiommu':
        return setUnsafeNoIommu(step.on, this.#tools);
      case 'link_sysctl':
        return this.#setSysctl(step);
      case 'write_kernel_file':
        return writeKernelFile(step.path, step.value);
      case 'write_file':
        return writeFile(step);
      case 'run_command':
        return this.#runCommand(step);
    }
  }

  /** With another name it is of use all the same; that it has not its own ones is told, and tried again. */
  async #bringBack(step: Extract<UndoStep, { kind: 'link_to_netns' }>): Promise<boolean> {
    const { link: identity, from, altnames = [] } = step;
    const { link, changed } = await this.#links.find(identity, from);
    const lacking = altnames.filter((altname) => !link.altnames.includes(altname));
    const taken = lacking.filter(
      (altname) =>
        !this.#applyUnlessThere({ do: 'add_altname', link: link.index, altname }) &&
        !this.#own.link(link.index)?.altnames.includes(altname),
    );
    const until = (names: string) => `until ${names} is free and the host is restored again`;
    if (link.name !== identity.name)
      throw new Error(`another device has its name: it is called ${link.name} ${until(identity.name)}`);
    if (taken.length > 0) {
      const names = taken.join(', ');
      throw new Error(`another device has its alternative name: it is without ${until(names)}`);
    }
    return changed || lacking.length > 0;
  }

  #deleteLink({ name, link_kind, while: away }: Extract<UndoStep, { kind: 'delete_link' }>): boolean {
    const link = this.#own.link(name);
    if (link?.kind !== link_kind) return false;
    if (away && !this.#links.isIn(away.in, away.link)) return false;
    this.#own.apply({ do: 'delete_link', link: link.index });
    return true;
  }

  async #setLink(step: Extract<UndoStep, { kind: 'set_link' }>): Promise<boolean> {
    const { kind: _, link: identity, ...wanted } = step;
    const { link, changed } = await this.#links.find(identity);
    const changes = Object.entries(wanted)
      .filter(([key, value]) => (link[key as keyof typeof wanted] ?? false) !== value)
      // One request each: a link that will not take its old MTU must come up all the same. Up is last, for a MAC can be
      // set on some links only while they are down, and going up makes the link-local address by `addrgen_mode`.
      .sort(([a], [b]) => Number(a === 'up') - Number(b === 'up'))
      .map(([key, value]): NetworkChange => ({ do: 'set_link', link: link.index, [key]: value }));
    const failure = this.#own.batch(changes).find((outcome) => outcome !== undefined);
    if (failure) throw failure;
    return changed || changes.length > 0;
  }

  async #wake({ link: identity }: Extract<UndoStep, { kind: 'wake_link' }>): Promise<boolean> {
    const { link } = await this.#links.find(identity);
    if (hasCarried(link.name, this.#tools.roots)) return false;
    // One that is up already, as by an attempt before, would be put up by nobody else.
    for (const up of link.up ? [false, true] : [true, false])
      this.#own.apply({ do: 'set_link', link: link.index, up });
    return true;
  }

  /** Only when the link has its carrier, or will find none: with it comes the address that the mode asks for. */
  async #setAddrgenMode({
    link: identity,
    mode,
  }: Extract<UndoStep, { kind: 'addrgen_mode' }>): Promise<boolean> {
    const index = await this.#links.indexOf(identity);
    const { clock } = this.#tools;
    const deadline = clock.now_ms() + SETTLE_MS;
    const isComing = (): boolean => {
      const link = this.#own.link(index);
      return link?.up === true && !link.running;
    };
    while (isComing() && clock.now_ms() < deadline) await clock.sleep(SETTLE_POLL_MS);
    if (this.#own.link(index)?.addrgen_mode === mode) return false;
    this.#own.apply({ do: 'set_link', link: index, addrgen_mode: mode });
    return true;
  }

  /**
   * An IPv6 address that was in use a moment ago is added without detection of duplicates, which would keep it out of use for a
   * second or two, and loses that flag when it is of use. Whoever is killed in between finds it with the flag, and takes it off.
   */
  async #addAddress(step: Extract<UndoStep, { kind: 'add_address' }>): Promise<boolean> {
    const address: NewAddress = { ...step.address, link: await this.#links.indexOf(step.link) };
    if (!wasVerified(address)) return this.#applyUnlessThere({ do: 'add_address', address });
    const at_once: NewAddress = { ...address, flags: (address.flags ?? 0) | IFA_F_NODAD };
    if (!this.#applyUnlessThere({ do: 'add_address', address: at_once })) {
      const flags = this.#flagsOf(address);
      // The kernel made it, as it makes a link-local one, or somebody else has.
      if (flags & IFA_F_TENTATIVE && this.#own.link(address.link)?.running) {
        this.#own.apply({ do: 'delete_address', address });
        this.#own.apply({ do: 'add_address', address: at_once });
      } else if (!(flags & IFA_F_NODAD)) return false;
    }
    this.#verified.push({ step, address });
    return true;
  }

  #flagsOf({ link, prefix }: NewAddress): number {
    return this.#own.addresses(link).find((present) => present.prefix === prefix)?.flags ?? 0;
  }

  /**
   * Waits until the addresses are of use, and takes the flag off that made them so. On a link that finds no carrier meanwhile they are left
   * to the kernel. Answers the steps that failed by it.
   */
  async settle(): Promise<[UndoStep, unknown][]> {
    if (this.#verified.length === 0) return [];
    const { clock } = this.#tools;
    const deadline = clock.now_ms() + SETTLE_MS;
    const links = new Set(this.#verified.map(({ address }) => address.link));
    const isUnsettled = (link: number) =>
      this.#own.addresses(link).some(({ flags }) => flags & IFA_F_NODAD && flags & IFA_F_TENTATIVE);
    for (const link of links) {
      try {
        while (isUnsettled(link) && clock.now_ms() < deadline) await clock.sleep(SETTLE_POLL_MS);
      } catch {
        // What cannot be asked cannot be waited for; the change below tells why.
      }
    }
    const outcomes = this.#own.batch(
      this.#verified.map(({ address }): NetworkChange => ({ do: 'replace_address', address })),
    );
    return outcomes.flatMap((error, at): [UndoStep, unknown][] =>
      error === undefined ? [] : [[this.#verified[at]!.step, error]],
    );
  }

  async #setNexthop({ nexthop }: Extract<UndoStep, { kind: 'set_nexthop' }>): Promise<boolean> {
    const { hop, ...rest } = nexthop;
    const wanted: NexthopObject = hop === undefined ? rest : { ...rest, hop: await this.#hopOf(hop) };
    const present = this.#own.nexthops().find(({ id }) => id === wanted.id);
    if (present !== undefined && isSameNexthop(present, wanted)) return false;
    this.#own.apply({ do: 'set_nexthop', nexthop: wanted });
    return true;
  }

  async #hopOf({ link, ...hop }: UndoNextHop): Promise<NextHop> {
    return link ? { ...hop, oif: await this.#links.indexOf(link) } : hop;
  }

  async #routeOf({ next_hops, ...rest }: UndoRoute): Promise<PlacedRoute> {
    const hops: NextHop[] = [];
    for (const hop of next_hops) hops.push(await this.#hopOf(hop));
    return { ...rest, next_hops: hops };
  }

  async #addRoute(step: Extract<UndoStep, { kind: 'add_route' }>): Promise<boolean> {
    const placed = await this.#routeOf(step.route);
    const { first, advertised, ...route } = placed;
    if (advertised) {
      if (this.#isAdvertisedAlready(route)) return false;
      try {
        return this.#applyUnlessThere({ do: 'add_route', route: { ...route, advertised } });
      } catch {
        // The host is not to lack a way out because the kernel does not take this one for its own: any other is tried below.
      }
    }
    // Appending refuses only the very same IPv4 route, and keeps one with the same prefix that came meanwhile.
    if (route.family === 4 && !first) return this.#applyUnlessThere({ do: 'append_route', route });
    if (route.family === 6 && this.#applyUnlessThere({ do: 'add_route', route })) return true;
    this.#rivals ??= new Rivals(this.#own);
    const changes = placing(placed, this.#rivals.of(route));
    this.#rivals.changed(route);
    return changes.map((change) => this.#applyUnlessThere(change)).some((changed) => changed);
  }

  /** The router may have answered while the link came up. */
  #isAdvertisedAlready({ prefix, next_hops: [hop] = [] }: NewRoute): boolean {
    if (hop?.oif === undefined) return false;
    return this.#own
      .routes({ link: hop.oif })
      .some(
        (there) => there.advertised && there.prefix === prefix && there.next_hops[0]?.gateway === hop.gateway,
      );
  }

  async #pruneConnected(step: Extract<UndoStep, { kind: 'connected_routes' }>): Promise<boolean> {
    const link = await this.#links.indexOf(step.link);
    const wanted: NewRoute[] = [];
    for (const { first: _, ...route } of step.routes) wanted.push(await this.#routeOf(route));
    const { addresses = [] } = step;
    const present = this.#own.routes({ link });
    const surplus = surplusConnected(present, wanted, addresses, this.#own.addresses(link));
    for (const route of surplus) this.#own.apply({ do: 'delete_route', route });
    return surplus.length > 0;
  }

  async #setNeighbour(step: Extract<UndoStep, { kind: 'set_neighbour' }>): Promise<boolean> {
    const { kind: _, link: identity, ...rest } = step;
    const link = await this.#links.indexOf(identity);
    const wanted: Neighbour = { state: NUD_PERMANENT, flags: 0, ...rest, link };
    const present = this.#neighboursOf(link).get(neighbourKey(wanted));
    if (present && present.mac === wanted.mac && isSetAs(present, wanted)) return false;
    this.#own.apply({ do: 'set_neighbour', neighbour: wanted });
    return true;
  }

  #neighboursOf(link: number): ReadonlyMap<string, Neighbour> {
    const known = this.#neighbours.get(link);
    if (known) return known;
    const read = new Map(this.#own.neighbours(link).map((neighbour) => [neighbourKey(neighbour), neighbour]));
    this.#neighbours.set(link, read);
    return read;
  }

  async #setChannels(step: Extract<UndoStep, { kind: 'ethtool_channels' }>): Promise<boolean> {
    const { name } = (await this.#links.find(step.link)).link;
    const { rx, tx, combined } = step.channels;
    const present = this.#own.channels(name);
    if (present?.rx === rx && present.tx === tx && present.combined === combined) return false;
    this.#own.setChannels(name, { rx, tx, combined });
    return true;
  }

  async #setFeatures({ link, on }: Extract<UndoStep, { kind: 'ethtool_features' }>): Promise<boolean> {
    const { name } = (await this.#links.find(link)).link;
    const present = this.#own.featuresOn(name);
    const off = on.filter((feature) => !present.includes(feature));
    if (off.length > 0) this.#own.setFeatures(name, off, true);
    return off.length > 0;
  }

  async #setSysctl(step: Extract<UndoStep, { kind: 'link_sysctl' }>): Promise<boolean> {
    const { name } = (await this.#links.find(step.link)).link;
    const path = step.path.replace('*', name);
    if (this.#own.readSysctl(path)?.trim() === step.value.trim()) return false;
    this.#own.writeSysctl(path, step.value);
    return true;
  }

  /** A machine that goes down has no use for its services, and their manager answers nobody any more. */
  async #runCommand({ argv, timeout_ms }: Extract<UndoStep, { kind: 'run_command' }>): Promise<boolean> {
    this.#stopping ??= this.#isStopping(argv);
    if (await this.#stopping) return false;
    const { code, stderr } = await this.#tools.run(argv, { timeout_ms });
    if (code === 124) throw new CommandTimedOut(`it did not end within ${timeout_ms} ms`);
    if (code !== 0) throw new Error(`exit status ${code}: ${stderr.trim().slice(0, 300)}`);
    return true;
  }

  /** Asked where the command runs. Where there is no systemd it says nothing. */
  async #isStopping(argv: readonly string[]): Promise<boolean> {
    const prefix = argv[0] === 'chroot' ? argv.slice(0, 2) : [];
    const { stdout } = await this.#tools.run([...prefix, 'systemctl', 'is-system-running'], {
      timeout_ms: QUESTION_TIMEOUT_MS,
    });
    return stdout.trim() === 'stopping';
  }

  #applyUnlessThere(change: NetworkChange): boolean {
    try {
      this.#own.apply(change);
      return true;
    } catch (error) {
      if (errorCode(error) === 'EEXIST') return false;
      throw error;
    }
  }
}

/** Was it in use? What was not, for want of a carrier or because another has it, the kernel has to verify anew. */
function wasVerified({ family, flags = 0 }: NewAddress): boolean {
  return family === 6 && !(flags & (IFA_F_NODAD | IFA_F_TENTATIVE | IFA_F_DADFAILED));
}

/** One address may be a neighbour, and answered for. */
function neighbourKey({ flags, address }: Neighbour): string {
  return `${flags & NTF_PROXY} ${address}`;
}

function isSetAs(present: Neighbour, wanted: Neighbour): boolean {
  return (
    present.flags === wanted.flags && (present.state === wanted.state || (wanted.flags & NTF_PROXY) !== 0)
  );
}

function writeKernelFile(path: string, value: string): boolean {
  const present = readIfExists(path)?.trim();
  if (present === undefined) throw new Error('there is no such file');
  if (present === value.trim()) return false;
  writeFileSync(path, value, { flag: 'r+' });
  return true;
}

/** A file of a host whose file system is not mounted is not gone. */
function writeFile({ path, content, mode, root }: Extract<UndoStep, { kind: 'write_file' }>): boolean {
  if (root !== undefined && !isHostRoot(root))
    throw new Error(`the host's file system is not mounted at ${root}: mount it there, then restore again`);
  if (content === null) return removeIfExists(path);
  if (readIfExists(path) === content && (statSync(path).mode & 0o7777) === mode) return false;
  writeAtomic(path, content, mode);
  return true;
}
