/**
 * VPP's numbers of memif sockets. One that VPP could not listen at is of no use for ever, so each try has a number of its own; and it costs VPP
 * a file for as long as it runs (docs/vpp-notes.md), so the tries are bounded.
 */
import type { InterfaceTag } from '../objects/interfaces.js';
import { UnknownHandle } from './unknown-handle.js';

const failures_max = 8;
/** Of the memifs that VPP has failed at last so many are remembered: what pods have long gone with is not to be kept as long as VPP runs. */
const failed_max = 1024;
/** Below are those of others. */
const first = 1 << 20;

export class MemifSockets {
  /** The highest number that VPP has given, or was told. */
  #last = first;
  readonly #ids = new Map<InterfaceTag, number>();
  /** Tries that VPP has not made anything of, since the last that it has; the last of these come last. */
  readonly #failed = new Map<InterfaceTag, number>();

  /** VPP has a socket of this number. */
  knows(socket_id: number): void {
    this.#last = Math.max(this.#last, socket_id);
  }

  set(tag: InterfaceTag, socket_id: number): void {
    this.#ids.set(tag, socket_id);
  }

  /** A number that no socket has had. Counts as failed until it is said to be `made`. Throws UnknownHandle when VPP has failed too often. */
  next(tag: InterfaceTag): number {
    const failed = this.#failed.get(tag) ?? 0;
    if (failed >= failures_max)
      throw new UnknownHandle(
        `VPP has failed ${failed} times at a socket for ${tag}, and keeps a file of each: it is not tried again before VPP begins anew; see which process of the pod has the name, or delete the pod`,
      );
    this.#failed.delete(tag);
    this.#failed.set(tag, failed + 1);
    if (this.#failed.size > failed_max) this.#forget(this.#failed.keys().next().value!);
    this.#last += 1;
    this.#ids.set(tag, this.#last);
    return this.#last;
  }

  /** VPP listens at it. */
  made(tag: InterfaceTag): void {
    this.#failed.delete(tag);
  }

  /** VPP has this memif no more. Another one of that name may be under way: it has a number of its own. */
  gone(tag: InterfaceTag): void {
    if (!this.#failed.has(tag)) this.#forget(tag);
  }

  #forget(tag: InterfaceTag): void {
    this.#ids.delete(tag);
    this.#failed.delete(tag);
  }

  /** Memifs that it knows anything of. */
  get size(): number {
    return new Set([...this.#ids.keys(), ...this.#failed.keys()]).size;
  }

  of(tag: InterfaceTag): number {
    const socket_id = this.#ids.get(tag);
    if (socket_id === undefined) throw new UnknownHandle(`VPP's id of the socket of ${tag} is not known`);
    return socket_id;
  }
}
