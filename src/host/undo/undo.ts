import { statSync, writeFileSync } from 'node:fs';
import type { Clock } from '../../clock.js';
import type { Family } from '../../ip/text.js';
import type {
  HostNetwork,
  NetworkChange,
  NetworkNamespace,
  NewRoute,
  NextHop,
  Route,
} from '../../linux/network.js';
import type { RunCommand } from '../command.js';
import { bindDriver } from '../devices/pci-driver.js';
import { HOST_ROOTS, type HostRoots } from '../devices/sysfs.js';
import { errorCode, readIfExists, removeIfExists, writeAtomic } from '../files.js';
import { LinkFinder } from './link-finder.js';
import { describeStep, type UndoStep } from './undo-step.js';

/** What undoing needs of the world. */
export interface UndoTools {
  readonly host: HostNetwork;
  readonly clock: Clock;
  readonly run: RunCommand;
  readonly roots?: HostRoots;
}

/** `already`: it was so before. A failed step says why, in words for the operator. */
export type StepResult =
  | { readonly step: UndoStep; readonly outcome: 'done' | 'already' }
  | { readonly step: UndoStep; readonly outcome: 'failed'; readonly reason: string };

export interface UndoReport {
  /** In the order in which the steps were taken: the newest first. */
  readonly results: readonly StepResult[];
  /** The failed ones, oldest first, as the journal wants them for the next attempt. */
  readonly remaining: readonly UndoStep[];
}

/** A physical device comes back from a dying namespace, or from another driver, some time after the cause. */
const LINK_WAIT_MS = 10_000;
const DEFAULT_METRIC_IPV6 = 1024;
const IFA_F_TENTATIVE = 0x40;
/** Without duplicate detection the kernel's worker is done with an address in well under a millisecond. */
const SETTLE_TRIES = 100;
const RTPROT_KERNEL = 2;

/**
 * Takes the steps (oldest first, as the journal has them) from the end, routes over several links last. Never throws, and no failure stops the steps
 * behind it. Bounded: waits at most `link_wait_ms` in all for physical links, and for each command its own limit.
 */
export async function undo(
  steps: readonly UndoStep[],
  tools: UndoTools,
  link_wait_ms = LINK_WAIT_MS,
): Promise<UndoReport> {
  const results: StepResult[] = [];
  const failed = new Set<UndoStep>();
  const session = new UndoSession(tools, link_wait_ms);
  try {
    for (const step of inOrder(steps)) {
      try {
        results.push({ step, outcome: (await session.take(step)) ? 'done' : 'already' });
      } catch (error) {
        const reason = `${describeStep(step)}: ${error instanceof Error ? error.message : error}`;
        results.push({ step, outcome: 'failed', reason });
        failed.add(step);
      }
    }
    await session.settle();
  } finally {
    session.close();
  }
  return { results, remaining: steps.filter((step) => failed.has(step)) };
}

/** Newest first; routes over several links come when all their links are back. */
function inOrder(steps: readonly UndoStep[]): UndoStep[] {
  const newest_first = [...steps].reverse();
  return [
    ...newest_first.filter((step) => !spansLinks(step)),
    ...newest_first.filter((step) => spansLinks(step)),
  ];
}

function spansLinks(step: UndoStep): boolean {
  return step.kind === 'add_route' && new Set(step.route.next_hops.map(({ link }) => link?.name)).size > 1;
}

/** One replay: the own namespace stays open, and a link that did not come is not waited for twice. */
class UndoSession {
  readonly #tools: UndoTools;
  readonly #link_wait_ms: number;
  #namespace: NetworkNamespace | undefined;
  #finder: LinkFinder | undefined;
  /** Links by index whose duplicate detection is off, and what it was. */
  readonly #undetected = new Map<number, { readonly path: string; readonly value: string }>();

  constructor(tools: UndoTools, link_wait_ms: number) {
    this.#tools = tools;
    this.#link_wait_ms = link_wait_ms;
  }

  get #own(): NetworkNamespace {
    this.#namespace ??= this.#tools.host.open();
    return this.#namespace;
  }

  get #links(): LinkFinder {
    this.#finder ??= new LinkFinder(this.#tools.host, this.#own, this.#tools.clock, this.#link_wait_ms);
    return this.#finder;
  }

  close(): void {
    this.#namespace?.close();
  }

  /**
   * The address was ours a moment ago: detection would only keep it unusable for a second or two. Turned off for the link
   * and not for the address, whose flags have to be what they were.
   */
  #skipDuplicateDetection(index: number, name: string): void {
    if (this.#undetected.has(index)) return;
    const path = `net/ipv6/conf/${name}/accept_dad`;
    const value = this.#own.readSysctl(path);
    if (value === undefined || value.trim() === '0') return;
    this.#own.writeSysctl(path, '0');
    this.#undetected.set(index, { path, value: value.trim() });
  }

  /** The kernel looks at the switch when it gets to the address, a little later: only then is it turned back. */
  async settle(): Promise<void> {
    for (const [index, { path, value }] of this.#undetected) {
      const tentative = () => this.#own.addresses(index).some(({ flags }) => flags & IFA_F_TENTATIVE);
      try {
        for (let tries = 0; tries < SETTLE_TRIES && tentative(); tries++) await this.#tools.clock.sleep(1);
        this.#own.writeSysctl(path, value);
      } catch {
        // The link is gone, and its switch with it.
      }
    }
    this.#undetected.clear();
  }

  /** True: something was changed. False: it was so already. Throws when it cannot be done. */
  async take(step: UndoStep): Promise<boolean> {
    switch (step.kind) {
      case 'link_to_netns':
        return (await this.#links.find(step.link, step.from)).changed;
      case 'set_link':
        return this.#setLink(step);
      case 'add_address': {
        const { index, name } = (await this.#links.find(step.link)).link;
        const { address } = step;
        if (address.family === 6) this.#skipDuplicateDetection(index, name);
        return this.#applyUnlessThere({ do: 'add_address', address: { ...address, link: index } });
      }
      case 'add_route':
        return this.#addRoute(step);
      case 'set_neighbour':
        return this.#setNeighbour(step);
      case 'delete_link': {
        const link = this.#own.link(step.name);
        if (link?.kind !== step.link_kind) return false;
        this.#own.apply({ do: 'delete_link', link: link.index });
        return true;
      }
      case 'ethtool_channels':
        return this.#setChannels(step);
      case 'bind_driver':
        return bindDriver(step.pci, step.driver, this.#tools.roots ?? HOST_ROOTS);
      case 'write_kernel_file':
        return writeKernelFile(step.path, step.value);
      case 'write_file':
        return writeFile(step.path, step.content, step.mode);
      case 'run_command':
        return this.#runCommand(step);
    }
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

  async #addRoute(step: Extract<UndoStep, { kind: 'add_route' }>): Promise<boolean> {
    const next_hops: NextHop[] = [];
    for (const { link, ...hop } of step.route.next_hops)
      next_hops.push(link ? { ...hop, oif: (await this.#links.find(link)).link.index } : hop);
    const route: NewRoute = { ...step.route, next_hops };
    if (route.family === 4) {
      // Appending refuses only the very same IPv4 route, and keeps one with the same prefix that came meanwhile.
      // The kernel's own have come with their addresses.
      const made_by_kernel = route.protocol === RTPROT_KERNEL;
      return this.#applyUnlessThere({ do: made_by_kernel ? 'add_route' : 'append_route', route });
    }
    if (this.#applyUnlessThere({ do: 'add_route', route })) return true;
    const rivals = this.#own.routes({ table: route.table ?? 254 }).filter((other) => samePlace(other, route));
    const ours = rivals.find((rival) => within(rival.next_hops, next_hops));
    if (ours?.next_hops.length === next_hops.length) return false;
    // Each next hop of an IPv6 multipath route goes with its link; those of other links have stayed.
    if (ours) this.#own.apply({ do: 'replace_route', route });
    // Routes without gateway, such as fe80::/64, stand beside each other for each link.
    else if (next_hops.every((hop) => hop.gateway === undefined))
      this.#own.apply({ do: 'append_route', route });
    else throw new Error('another route to this prefix with the same metric is there');
    return true;
  }

  async #setNeighbour(step: Extract<UndoStep, { kind: 'set_neighbour' }>): Promise<boolean> {
    const { family, address, mac } = step;
    const { index } = (await this.#links.find(step.link)).link;
    const present = this.#own.neighbours(index).find((neighbour) => neighbour.address === address);
    if (present?.mac === mac && present.state & 0x80) return false;
    this.#own.apply({ do: 'set_neighbour', neighbour: { link: index, family, address, mac } });
    return true;
  }

  async #setChannels(step: Extract<UndoStep, { kind: 'ethtool_channels' }>): Promise<boolean> {
    const { name } = (await this.#links.find(step.link)).link;
    const { rx, tx, combined } = step.channels;
    const present = this.#own.channels(name);
    if (present?.rx === rx && present.tx === tx && present.combined === combined) return false;
    this.#own.setChannels(name, { rx, tx, combined });
    return true;
  }

  async #runCommand({ argv, timeout_ms }: Extract<UndoStep, { kind: 'run_command' }>): Promise<boolean> {
    const { code, stderr } = await this.#tools.run(argv, { timeout_ms });
    if (code !== 0) throw new Error(`exit status ${code}: ${stderr.trim().slice(0, 300)}`);
    return true;
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

function samePlace(a: Route, b: NewRoute): boolean {
  return a.family === b.family && a.prefix === b.prefix && a.metric === metricOf(b.family, b.metric);
}

function metricOf(family: Family, metric: number | undefined): number {
  return metric || (family === 6 ? DEFAULT_METRIC_IPV6 : 0);
}

/** Is each of `present` one of `wanted`? */
function within(present: readonly NextHop[], wanted: readonly NextHop[]): boolean {
  const key = ({ oif, gateway }: NextHop) => `${oif} ${gateway}`;
  const keys = new Set(wanted.map(key));
  return present.every((hop) => keys.has(key(hop)));
}

function writeKernelFile(path: string, value: string): boolean {
  const present = readIfExists(path)?.trim();
  if (present === undefined) throw new Error('there is no such file');
  if (present === value.trim()) return false;
  writeFileSync(path, value, { flag: 'r+' });
  return true;
}

function writeFile(path: string, content: string | null, mode: number): boolean {
  if (content === null) return removeIfExists(path);
  if (readIfExists(path) === content && (statSync(path).mode & 0o7777) === mode) return false;
  writeAtomic(path, content, mode);
  return true;
}
