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
 * Finds a link by what it is rather than by its index, and sees to it that it is in the own namespace under its name.
 * Physical devices are waited for: they come back by themselves from a namespace that dies and from another driver.
 */
export class LinkFinder {
  readonly #host: HostNetwork;
  readonly #own: NetworkNamespace;
  readonly #clock: Clock;
  readonly #wait_ms: number;
  #deadline_ms: number | undefined;

  /** `wait_ms` is for all links together. */
  constructor(host: HostNetwork, own: NetworkNamespace, clock: Clock, wait_ms: number) {
    this.#host = host;
    this.#own = own;
    this.#clock = clock;
    this.#wait_ms = wait_ms;
  }

  /** `from`: another namespace to look in. Throws when the link is not found, or its name is taken by another. */
  async find(identity: LinkIdentity, from?: string): Promise<FoundLink> {
    for (;;) {
      const found = this.#lookOnce(identity, from);
      if (found) return found;
      if (identity.kind !== 'physical' || this.#timeIsUp())
        throw new Error(`${identity.kind} link ${identity.name} is not there`);
      await this.#clock.sleep(POLL_MS);
    }
  }

  #lookOnce(identity: LinkIdentity, from: string | undefined): FoundLink | undefined {
    const here = this.#own.links();
    const exact = exactly(here, identity);
    if (exact) return this.#named(exact, identity);
    const brought = from === undefined ? undefined : this.#bringBack(identity, from);
    if (brought) return { link: brought, changed: true };
    const similar = here.find((link) => isAlike(link, identity));
    return similar && { link: similar, changed: false };
  }

  #bringBack(identity: LinkIdentity, from: string): Link | undefined {
    if (!this.#host.exists(from)) return undefined;
    const namespace = this.#host.open(from);
    try {
      const links = namespace.links();
      const link = exactly(links, identity) ?? links.find((other) => isAlike(other, identity));
      if (!link) return undefined;
      const { name } = identity;
      namespace.apply({ do: 'move_link', link: link.index, netns: OWN_NAMESPACE_PATH, name });
      return this.#own.link(name);
    } finally {
      namespace.close();
    }
  }

  /** On a clash of names the kernel calls a returning device `dev<index>`. */
  #named(link: Link, identity: LinkIdentity): FoundLink {
    if (link.name === identity.name) return { link, changed: false };
    const { index } = link;
    const { name } = identity;
    try {
      this.#own.apply({ do: 'set_link', link: index, name });
    } catch (error) {
      if (errorCode(error) !== 'EBUSY') throw error;
      // Older kernels rename only what is down; the steps that follow set it up again.
      this.#own.apply({ do: 'set_link', link: index, up: false });
      this.#own.apply({ do: 'set_link', link: index, name });
    }
    return { link: this.#own.link(index) ?? { ...link, name }, changed: true };
  }

  #timeIsUp(): boolean {
    const now_ms = this.#clock.now_ms();
    this.#deadline_ms ??= now_ms + this.#wait_ms;
    return now_ms >= this.#deadline_ms;
  }
}

/** Ports of a bond share its MAC: then the name decides, and without it nothing does. */
function exactly(links: readonly Link[], identity: LinkIdentity): Link | undefined {
  const same = links.filter((link) => isSame(link, identity));
  return same.find((link) => link.name === identity.name) ?? (same.length === 1 ? same[0] : undefined);
}

function isSame(link: Link, identity: LinkIdentity): boolean {
  if (!sameKind(link, identity)) return false;
  if (identity.mac === undefined) return link.name === identity.name;
  return link.mac === identity.mac || link.permanent_mac === identity.mac;
}

/** A virtual link whose MAC was changed. A physical one of this name with another MAC is another device. */
function isAlike(link: Link, identity: LinkIdentity): boolean {
  return sameKind(link, identity) && identity.kind !== 'physical' && link.name === identity.name;
}

function sameKind(link: Link, identity: LinkIdentity): boolean {
  return (link.kind ?? 'physical') === identity.kind;
}
