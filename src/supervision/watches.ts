import { toError } from './errors.js';
import type { Life } from './life.js';
import type { Down } from './types.js';

export interface Watch {
  readonly path: string;
  readonly life: Life;
  /** Makes the watcher's message. */
  readonly on: (down: Down) => unknown;
}

/** Who is told when an actor goes down. A watch is by path: it outlives restarts of the watched, not of the watcher. */
export class Watches {
  readonly #byPath = new Map<string, Set<Watch>>();

  add(watch: Watch): void {
    let watches = this.#byPath.get(watch.path);
    if (watches === undefined) {
      watches = new Set();
      this.#byPath.set(watch.path, watches);
    }
    watches.add(watch);
    watch.life.watches.add(watch);
  }

  remove(watch: Watch): void {
    watch.life.watches.delete(watch);
    const watches = this.#byPath.get(watch.path);
    watches?.delete(watch);
    if (watches?.size === 0) this.#byPath.delete(watch.path);
  }

  /** Tells everybody who watches; when the actor is gone for good there is nothing left to watch. */
  tell(down: Down): void {
    const watches = this.#byPath.get(down.path);
    if (watches === undefined) return;
    for (const watch of [...watches]) {
      if (!down.restarting) this.remove(watch);
      tellWatcher(watch, down);
    }
  }
}

/** Posts past the bound of the mailbox: a death notice must not be lost, and the watcher bounds their number itself. */
export function tellWatcher(watch: Watch, down: Down): void {
  const { life } = watch;
  try {
    life.cell.offer(watch.on(down), life, true);
  } catch (error) {
    life.cell.crash(life, toError(error));
  }
}
