import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { unmount } from '../src/host/libc.js';
import { LinuxHost } from '../src/host/netlink/linux-host.js';
import type { NetworkNamespace } from '../src/linux/network.js';
import { patience } from './patience.js';
import { missing } from './programs.js';

/**
 * Network namespaces for the demo and for tests with a real kernel. All are made below a directory of their own and
 * are gone after `close()`, which a test calls in its teardown; nothing here touches the machine's own links.
 */

/** Why namespaces cannot be used here, as the reason to skip a test; undefined when they can. */
export function canUseNetns(): string | undefined {
  if (process.platform !== 'linux') return 'needs Linux';
  if (process.getuid?.() !== 0) return 'needs root for network namespaces';
  if (!existsSync('/proc/thread-self/ns/net')) return 'needs /proc with namespaces';
  const program = missing('ip', 'nsenter');
  if (program !== undefined) return program;
  const lab = tryLab();
  return typeof lab === 'string' ? lab : undefined;
}

function tryLab(): string | undefined {
  let lab: NetnsLab | undefined;
  try {
    lab = new NetnsLab();
    lab.namespace('probe');
    return undefined;
  } catch (error) {
    return `cannot make network namespaces: ${error instanceof Error ? error.message : error}`;
  } finally {
    lab?.close();
  }
}

export interface VethEnd {
  /** A name given to `namespace()`. */
  readonly namespace: string;
  readonly name: string;
  readonly mac?: string;
  /** `ip/len`, added in order. */
  readonly addresses?: readonly string[];
}

export class NetnsLab {
  readonly directory = mkdtempSync(join(tmpdir(), `cvn-${process.pid}-`));
  readonly host = new LinuxHost(this.directory);
  readonly #names = new Set<string>();
  readonly #open: NetworkNamespace[] = [];

  /** Path of the namespace with this name, made at its first use, with `lo` up and all else as the kernel makes it. */
  namespace(name: string): string {
    const path = this.host.createNamed(name);
    if (this.#names.has(name)) return path;
    this.#names.add(name);
    const namespace = this.host.open(path);
    namespace.apply({ do: 'set_link', link: 1, up: true });
    namespace.close();
    return path;
  }

  /** Opened for the life of the lab. */
  open(name: string): NetworkNamespace {
    const namespace = this.host.open(this.namespace(name));
    this.#open.push(namespace);
    return namespace;
  }

  /** A pair of veth, both ends up, with their addresses, which are of use. */
  veth(a: VethEnd, b: VethEnd, queues = 1): void {
    const peer = { name: b.name, netns: this.namespace(b.namespace), ...(b.mac ? { mac: b.mac } : {}) };
    const near = this.host.open(this.namespace(a.namespace));
    const far = this.host.open(this.namespace(b.namespace));
    try {
      near.apply({
        do: 'add_link',
        link: { name: a.name, kind: 'veth', queues, peer, ...(a.mac ? { mac: a.mac } : {}) },
      });
      const ends = [[near, a] as const, [far, b] as const];
      for (const [namespace, end] of ends) raise(namespace, end);
      for (const [namespace, end] of ends) addAddresses(namespace, end);
    } finally {
      near.close();
      far.close();
    }
  }

  /** Runs a program inside and answers what it writes; throws with its stderr when it fails. */
  run(name: string, ...argv: string[]): string {
    return execFileSync('nsenter', [`--net=${this.namespace(name)}`, '--', ...argv], {
      encoding: 'utf8',
      timeout: 30_000 * patience,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  }

  /** As `run`, answering whether it succeeded. */
  succeeds(name: string, ...argv: string[]): boolean {
    const options = { timeout: 30_000 * patience };
    return spawnSync('nsenter', [`--net=${this.namespace(name)}`, '--', ...argv], options).status === 0;
  }

  /** Removes everything; may be called twice. */
  close(): void {
    for (const namespace of this.#open.splice(0)) namespace.close();
    for (const name of this.#names) this.host.removeNamed(name);
    this.#names.clear();
    try {
      unmount(this.directory);
    } catch {
      // It becomes a mount point only with the first namespace.
    }
    rmSync(this.directory, { recursive: true, force: true });
  }
}

const nodad = 0x02;
const tentative = 0x40;
const addrgen_none = 1;
const table_local = 255;
/** The kernel's worker sees a new carrier within a second. */
const settle_tries = 3000;

function raise(namespace: NetworkNamespace, { name }: VethEnd): void {
  namespace.apply({ do: 'set_link', link: namespace.link(name)!.index, up: true });
}

/** Addresses as they are on a host that has been up for a while: detection of duplicates, which takes seconds, lies behind them. */
function addAddresses(namespace: NetworkNamespace, { name, addresses = [] }: VethEnd): void {
  const link = namespace.link(name)!;
  const isReady = (): boolean => {
    const { addrgen_mode } = namespace.link(link.index)!;
    const is_off = addrgen_mode === undefined || addrgen_mode === addrgen_none;
    return is_off || namespace.addresses(link.index).some(({ family }) => family === 6);
  };
  until(isReady, `${name} has no link-local address`);
  for (const prefix of addresses) {
    const family = prefix.includes(':') ? 6 : 4;
    namespace.apply({ do: 'add_address', address: { link: link.index, family, prefix } });
  }
  const unverified = namespace.addresses(link.index).filter(({ flags }) => flags & tentative);
  // The kernel lists the newest first.
  for (const address of unverified.reverse()) {
    namespace.apply({ do: 'delete_address', address });
    namespace.apply({ do: 'add_address', address: { ...address, flags: nodad } });
  }
  const isVerified = () => namespace.addresses(link.index).every(({ flags }) => !(flags & tentative));
  until(isVerified, `addresses of ${name} are tentative`);
  untilRouted(namespace, link.index);
  for (const address of unverified) {
    namespace.apply({ do: 'replace_address', address: { ...address, flags: 0 } });
  }
}

/** Each address that is verified has its local route: the kernel adds that of IPv6 a moment later. Throws after some seconds. */
export function untilRouted(namespace: NetworkNamespace, link: number): void {
  const isRouted = () => {
    const own = new Set(
      namespace.routes({ table: table_local, link }).map(({ prefix }) => prefix.split('/')[0]),
    );
    return namespace
      .addresses(link)
      .every(
        ({ family, prefix, flags }) => family === 4 || flags & tentative || own.has(prefix.split('/')[0]),
      );
  };
  until(isRouted, `addresses of ${namespace.link(link)?.name} have no local routes`);
}

function until(holds: () => boolean, otherwise: string): void {
  const waiting = new Int32Array(new SharedArrayBuffer(4));
  for (let tries = 0; !holds(); tries++) {
    if (tries === settle_tries) throw new Error(otherwise);
    Atomics.wait(waiting, 0, 0, 1);
  }
}
