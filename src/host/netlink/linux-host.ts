import { closeSync, openSync, readFileSync, rmSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { type Clock, systemClock } from '../../clock.js';
import {
  type HostNetwork,
  isSameNamespace,
  type NamespaceId,
  type NetworkNamespace,
  OWN_NAMESPACE_PATH,
} from '../../linux/network.js';
import { errorCode, makeDirectory } from '../files.js';
import { MS_BIND, MS_PRIVATE, MS_REC, MS_SHARED, mount, unmount } from '../libc.js';
import { enterNewNamespace, inNamespace, openNamespace } from '../netns.js';
import { type LinkRemoval, LinkRemovals } from './link-removal.js';
import { LinuxNamespace, namespaceIdOf } from './namespace.js';

const NSFS_MAGIC = 0x6e73_6673;

/** Where `ip netns` keeps its names. */
export const NETNS_DIRECTORY = '/var/run/netns';

/** The network of the machine that this process runs on. */
export class LinuxHost implements HostNetwork {
  readonly #directory: string;
  readonly #shared: boolean;
  readonly #removals: LinkRemovals;

  /** `directory`: where named namespaces are. Not `shared`: only who has this process's view of the file system sees them, and they go with that. */
  constructor(
    directory = NETNS_DIRECTORY,
    { clock = systemClock, shared = true }: { readonly clock?: Clock; readonly shared?: boolean } = {},
  ) {
    this.#directory = directory;
    this.#shared = shared;
    this.#removals = new LinkRemovals(clock);
  }

  open(path?: string, id?: NamespaceId): NetworkNamespace {
    return new LinuxNamespace(path, id);
  }

  identify(path: string): NamespaceId | undefined {
    if (!this.exists(path)) return undefined;
    let fd: number;
    try {
      fd = openNamespace(path);
    } catch (error) {
      // It has gone meanwhile, or its process has.
      if (['ENOENT', 'ESRCH', 'EACCES'].includes(errorCode(error) ?? '')) return undefined;
      throw error;
    }
    try {
      return namespaceIdOf(fd);
    } catch (error) {
      // A namespace of another sort.
      if (errorCode(error) === 'EINVAL') return undefined;
      throw error;
    } finally {
      closeSync(fd);
    }
  }

  removeTun(path: string, link: number, id: NamespaceId, urgent = false): Promise<void> {
    const what = `link ${link} in ${path} (${id})`;
    return this.#removals.remove(what, urgent, () => this.#beginRemoval(path, link, id));
  }

  #beginRemoval(path: string, index: number, id: NamespaceId): LinkRemoval | undefined {
    const now = this.identify(path);
    if (now === undefined || !isSameNamespace(now, id)) return undefined;
    const namespace = new LinuxNamespace(path, id);
    let removal: LinkRemoval | undefined;
    try {
      const link = namespace.link(index);
      if (link?.kind === 'tun') removal = namespace.removeLinkAside(link.index);
      return removal;
    } finally {
      if (removal === undefined) namespace.close();
      else void removal.answered.then(() => namespace.close());
    }
  }

  inNamespace<T>(path: string, run: () => T): T {
    return inNamespace(path, run);
  }

  exists(path: string): boolean {
    try {
      return statfsSync(path).type === NSFS_MAGIC;
    } catch (error) {
      // ESRCH, EACCES: the process behind a /proc path is going, or gone.
      if (['ENOENT', 'ENOTDIR', 'ESRCH', 'EACCES'].includes(errorCode(error) ?? '')) return false;
      throw error;
    }
  }

  createNamed(name: string): string {
    const path = this.pathOf(name);
    if (this.exists(path)) return path;
    makeDirectory(this.#directory);
    propagateMounts(this.#directory, this.#shared ? MS_SHARED | MS_REC : MS_PRIVATE);
    closeSync(openSync(path, 'a', 0));
    try {
      enterNewNamespace(() => mount(OWN_NAMESPACE_PATH, path, MS_BIND));
    } catch (error) {
      rmSync(path, { force: true });
      throw error;
    }
    return path;
  }

  removeNamed(name: string): void {
    const path = this.pathOf(name);
    // A name may have been bound more than once; the bound is for a kernel that never says "not mounted".
    for (let layers = 0; layers < 8 && this.exists(path); layers++) unmount(path);
    rmSync(path, { force: true });
    // Made a mount point for this one alone.
    if (!this.#shared && isMountPoint(this.#directory)) unmount(this.#directory);
  }

  /** Of the namespace of this name, whether it is there or not. */
  pathOf(name: string): string {
    if (!/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$/.test(name))
      throw new RangeError(
        `'${name}' is no name for a namespace: letters, digits, '_', '.', '-', at most 64`,
      );
    return join(this.#directory, name);
  }
}

/**
 * A named namespace is a mount: whether it shows in the mount namespaces of others who use the directory is said of a mount point. The
 * first bind makes the directory one.
 */
function propagateMounts(directory: string, how: number): void {
  try {
    mount('', directory, how);
  } catch (error) {
    if (errorCode(error) !== 'EINVAL') throw error;
    mount(directory, directory, MS_BIND | MS_REC);
    mount('', directory, how);
  }
}

function isMountPoint(directory: string): boolean {
  return readFileSync('/proc/self/mountinfo', 'utf8').includes(` ${directory} `);
}
