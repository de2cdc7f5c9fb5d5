import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { unmount } from '../src/host/libc.js';
import { LinuxHost } from '../src/host/netlink/linux-host.js';
import type { NetworkNamespace } from '../src/linux/network.js';
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

  /** Path of the namespace with this name, made at its first use, with `lo` up and no duplicate address detection. */
  namespace(name: string): string {
    const path = this.host.createNamed(name);
    if (this.#names.has(name)) return path;
    this.#names.add(name);
    const namespace = this.host.open(path);
    for (const scope of ['all', 'default']) namespace.writeSysctl(`net/ipv6/conf/${scope}/accept_dad`, '0');
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

  /** A pair of veth, both ends up, with their addresses. */
  veth(a: VethEnd, b: VethEnd, queues = 1): void {
    const peer = { name: b.name, netns: this.namespace(b.namespace), ...(b.mac ? { mac: b.mac } : {}) };
    const near = this.host.open(this.namespace(a.namespace));
    const far = this.host.open(this.namespace(b.namespace));
    try {
      near.apply({
        do: 'add_link',
        link: { name: a.name, kind: 'veth', queues, peer, ...(a.mac ? { mac: a.mac } : {}) },
      });
      for (const [namespace, end] of [[near, a] as const, [far, b] as const]) raise(namespace, end);
    } finally {
      near.close();
      far.close();
    }
  }

  /** Runs a program inside and answers what it writes; throws with its stderr when it fails. */
  run(name: string, ...argv: string[]): string {
    return execFileSync('nsenter', [`--net=${this.namespace(name)}`, '--', ...argv], {
      encoding: 'utf8',
      timeout: 30_000,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  }

  /** As `run`, answering whether it succeeded. */
  succeeds(name: string, ...argv: string[]): boolean {
    const options = { timeout: 30_000 };
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

function raise(namespace: NetworkNamespace, end: VethEnd): void {
  const link = namespace.link(end.name)!.index;
  namespace.apply({ do: 'set_link', link, up: true });
  for (const prefix of end.addresses ?? []) {
    const family = prefix.includes(':') ? 6 : 4;
    namespace.apply({ do: 'add_address', address: { link, family, prefix } });
  }
}
