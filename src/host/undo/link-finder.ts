import type { Clock } from '../../clock.js';
import {
  type HostNetwork,
  type Link,
  type NetworkNamespace,
  OWN_NAMESPACE_PATH,
} from '../../linux/network.js';
import { errorCode } from '../files.js';
import type { LinkIdentity } from './undo-step.js';

const POLL_MS = 100;

export interface FoundLink {
  readonly link: Link;
  /** It had to be brought back, or renamed. */
  readonly changed: boolean;
}

/**
 * Finds a link by what it is, and sees to it that it is in the own namespace under its name; where another link has that name, under
 * one that the kernel would choose. Physical devices are waited for: they come back by themselves from a namespace that dies and
 * from another driver. A link is looked for once, and asked for by its index from then on, so that steps cost what they do.
 */
export class LinkFinder {
  readonly #host: HostNetwork;
  readonly #own: NetworkNamespace;
  readonly #clock: Clock;
  readonly #wait_ms: number;
  readonly #all: readonly LinkIdentity[];
  readonly #pciOf: (link: Link) => string | undefined;
  #deadline_ms: number | undefined;
  readonly #known = new Map<string, number>();
  readonly #missing = new Set<string>();

  /** `wait_ms` is for all links together. `all`: those that are to get their names. `pciOf`: the PCI device that a link here is of. */
  constructor(
    host: HostNetwork,
    own: NetworkNamespace,
    clock: Clock,
    wait_ms: number,
    all: readonly LinkIdentity[] = [],
    pciOf: (link: Link) => string | undefined = () => undefined,
  ) {
    this.#pciOf = pciOf;
    this.#host = host;
    this.#own = own;
    this.#clock = clock;
    this.#wait_ms = wait_ms;
    this.#all = all;
  }

  /** `from`: another namespace to look in. Throws when the link is not found. */
  async find(identity: LinkIdentity, from?: string): Promise<FoundLink> {
    const key = JSON.stringify(identity);
    const known = this.#known.get(key);
    const link = known === undefined ? undefined : this.#own.link(known);
    if (link && from === undefined) return { link, changed: false };
    const found = this.#missing.has(key) ? undefined : await this.#look(identity, from);
    if (!found) {
      if (from === undefined) this.#missing.add(key);
      throw new Error(`${identity.kind} link ${identity.name} is not there`);
    }
    this.#known.set(key, found.link.index);
    return found;
  }

  /** As `find`, for steps by the thousand: of a link that was found already the kernel is asked nothing. */
  async indexOf(identity: LinkIdentity): Promise<number> {
    return this.#known.get(JSON.stringify(identity)) ?? (await this.find(identity)).link.index;
  }

  /** Is the link in the namespace at `path`? */
  isIn(path: string, identity: LinkIdentity): boolean {
    return this.#inside(path, (namespace) => bestOf(namespace.links(), identity)) !== undefined;
  }

  async #look(identity: LinkIdentity, from: string | undefined): Promise<FoundLink | undefined> {
    for (;;) {
      const found = this.#lookOnce(identity, from);
      if (found || identity.kind !== 'physical' || this.#timeIsUp()) return found;
      await this.#clock.sleep(POLL_MS);
    }
  }

  /** What has another name, or another index, is it only where the namespace that it was moved to does not have it. */
  #lookOnce(identity: LinkIdentity, from: string | undefined): FoundLink | undefined {
    const here = this.#own.links();
    const exact = here.find((link) => isExactly(link, identity));
    if (exact) return { link: exact, changed: false };
    const brought = from === undefined ? undefined : this.#bringBack(identity, from);
    if (brought) return { link: brought, changed: true };
    const best = bestOf(here, identity) ?? this.#ofPci(here, identity);
    return best && this.#named(best, identity);
  }

  /** One that its driver has made anew, perhaps with a MAC that it has made up: so those of virtual functions do that nobody has given one. */
  #ofPci(links: readonly Link[], { pci, kind }: LinkIdentity): Link | undefined {
    if (pci === undefined || kind !== 'physical') return undefined;
    const its = links.filter((link) => link.kind === undefined && this.#pciOf(link) === pci);
    return its.length === 1 ? its[0] : undefined;
  }

  #bringBack(identity: LinkIdentity, from: string): Link | undefined {
    return this.#inside(from, (namespace) => {
      const link = bestOf(namespace.links(), identity);
      if (!link) return undefined;
      const move = (name: string) => {
        namespace.apply({ do: 'move_link', link: link.index, netns: OWN_NAMESPACE_PATH, name });
        return this.#own.link(name);
      };
      try {
        return move(identity.name);
      } catch (error) {
        if (errorCode(error) !== 'EEXIST') throw error;
        // Of the names that another device has by now the kernel lets none in, the alternative ones neither.
        const taken = this.#namesHere();
        for (const altname of link.altnames.filter((each) => taken.has(each)))
          namespace.apply({ do: 'delete_altname', link: link.index, altname });
        return move(taken.has(identity.name) ? freeName(link.index, taken) : identity.name);
      }
    });
  }

  #namesHere(): ReadonlySet<string> {
    return new Set(this.#own.links().flatMap(({ name, altnames }) => [name, ...altnames]));
  }

  #inside<T>(path: string, run: (namespace: NetworkNamespace) => T): T | undefined {
    if (!this.#host.exists(path)) return undefined;
    const namespace = this.#host.open(path);
    try {
      return run(namespace);
    } finally {
      namespace.close();
    }
  }

  #named(link: Link, identity: LinkIdentity): FoundLink {
    if (link.name === identity.name) return { link, changed: false };
    const { index } = link;
    const { name } = identity;
    try {
      this.#rename(index, name);
    } catch (error) {
      if (errorCode(error) !== 'EEXIST') throw error;
      // Another link has the name: this one is as good under its own.
      if (!this.#makesRoom(identity)) return { link, changed: false };
      this.#rename(index, name);
    }
    return { link: this.#own.link(index) ?? { ...link, name }, changed: true };
  }

  #rename(index: number, name: string): void {
    try {
      this.#own.apply({ do: 'set_link', link: index, name });
    } catch (error) {
      if (errorCode(error) !== 'EBUSY') throw error;
      // Older kernels rename only what is down; the steps that follow set it up again.
      this.#own.apply({ do: 'set_link', link: index, up: false });
      this.#own.apply({ do: 'set_link', link: index, name });
    }
  }

  /**
   * Of two devices that the kernel has named anew each may have the name of the other: the one that is to be called otherwise gets a name that nobody has,
   * until its own turn.
   */
  #makesRoom({ name }: LinkIdentity): boolean {
    const there = this.#own.link(name);
    const is_in_turn = this.#all.some(
      (other) =>
        there !== undefined && other.pci !== undefined && other.name !== there.name && mayBe(there, other),
    );
    if (there?.name !== name || !is_in_turn) return false;
    this.#rename(there.index, freeName(there.index, this.#namesHere()));
    return true;
  }

  #timeIsUp(): boolean {
    const now_ms = this.#clock.now_ms();
    this.#deadline_ms ??= now_ms + this.#wait_ms;
    return now_ms >= this.#deadline_ms;
  }
}

/** As the kernel calls a device that falls back to the host and whose name is taken there. */
function freeName(index: number, taken: ReadonlySet<string>): string {
  let number = index;
  while (taken.has(`dev${number}`)) number++;
  return `dev${number}`;
}

/** Nothing that is known of both speaks against it. */
function mayBe(link: Link, identity: LinkIdentity): boolean {
  if ((link.kind ?? 'physical') !== identity.kind) return false;
  if (differ(link.parent_device, identity.parent_device) && !isRenumbered(link, identity)) return false;
  if (differ(link.port_id, identity.port_id)) return false;
  // Ports of a bond share its MAC, and keep their own permanent one.
  if (link.permanent_mac !== undefined && identity.permanent_mac !== undefined) {
    return link.permanent_mac === identity.permanent_mac;
  }
  if (identity.mac === undefined) return link.name === identity.name;
  return link.mac === identity.mac || link.permanent_mac === identity.mac;
}

/** A virtio device whose PCI function has had another driver meanwhile is another one of its bus. */
function isRenumbered(
  { parent_device = '' }: Link,
  { pci, parent_device: before = '' }: LinkIdentity,
): boolean {
  return pci !== undefined && virtio_device.test(parent_device) && virtio_device.test(before);
}

const virtio_device = /^virtio\d+$/;

function differ(a: string | undefined, b: string | undefined): boolean {
  return a !== undefined && b !== undefined && a !== b;
}

function isExactly(link: Link, identity: LinkIdentity): boolean {
  const same_index = identity.index === undefined || link.index === identity.index;
  return link.name === identity.name && same_index && mayBe(link, identity);
}

/** The link among these, if one of them is it beyond doubt. */
function bestOf(links: readonly Link[], identity: LinkIdentity): Link | undefined {
  const candidates = links.filter((link) => mayBe(link, identity));
  const named = candidates.find((link) => link.name === identity.name);
  if (named) return named;
  const renamed = candidates.filter((link) => isRenamed(link, identity));
  if (renamed.length === 1) return renamed[0];
  // A virtual link whose MAC was changed. A physical one of this name with another MAC is another device.
  return links.find(
    (link) => identity.kind !== 'physical' && link.kind === identity.kind && link.name === identity.name,
  );
}

/** Two links may share kind and MAC, as VLANs of one device and a VF with its netvsc do: another name needs more than that. */
function isRenamed(link: Link, identity: LinkIdentity): boolean {
  const { kind, index, parent_device, pci } = identity;
  // The kernel has named it anew, and udev may not have come to it yet.
  if (pci !== undefined && kind === 'physical') return true;
  if (index === undefined || link.index === index) return kind === 'physical' || index !== undefined;
  if (kind !== 'physical') return false;
  return /^dev\d+$/.test(link.name) || (parent_device !== undefined && link.parent_device === parent_device);
}
