/**
 * What application namespaces are called in VPP. One that VPP has made half of, because its socket could not be made, is of no use for ever: told
 * again it answers 0 and has no socket, and VPP dies when it is removed. So no name is tried twice, and the tries are bounded: each costs VPP its tables.
 */
import type { InterfaceTag } from '../objects/interfaces.js';
import { UnknownHandle } from './unknown-handle.js';

/** The field has 64 bytes with its terminator: room for a dash and a number. A tag has a hash in its beginning, of all that it was made of. */
const stem_length = 55;
const failures_max = 8;

const stemOf = (tag: InterfaceTag): string => tag.slice(0, stem_length);

/** `number`: of the try. */
export function appNamespaceId(tag: InterfaceTag, number: number): string {
  return `${stemOf(tag)}-${number}`;
}

/** The number in such a name. */
export function appNamespaceNumber(id: string): number | undefined {
  const number = /-(\d{1,4})$/.exec(id)?.[1];
  return number === undefined ? undefined : Number(number);
}

export class AppNamespaceTries {
  /** By what a name begins with, the last number that VPP has failed at; without those that it never has. */
  readonly #failed = new Map<string, number>();

  /** VPP shows half of one by this name. */
  failed(id: string): void {
    const number = appNamespaceNumber(id);
    if (number === undefined) return;
    const stem = id.slice(0, -`-${number}`.length);
    this.#failed.set(stem, Math.max(this.#failed.get(stem) ?? 0, number));
  }

  /** Counts as failed until it is said to be `made`. Throws UnknownHandle when VPP has failed too often. */
  next(tag: InterfaceTag): number {
    const failed = this.#failed.get(stemOf(tag)) ?? 0;
    if (failed >= failures_max)
      throw new UnknownHandle(
        `VPP has failed ${failed} times at a socket for ${tag}, and keeps a part of each: it is not tried again before VPP begins anew; see which process of the pod has @vpp/session`,
      );
    this.#failed.set(stemOf(tag), failed + 1);
    return failed + 1;
  }

  /** VPP has made the one with this number. */
  made(tag: InterfaceTag, number: number): void {
    if (number > 1) this.#failed.set(stemOf(tag), number - 1);
    else this.#failed.delete(stemOf(tag));
  }
}
