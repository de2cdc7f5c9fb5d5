/**
 * Where encryption is required: which routes of an earlier life, that may not have encrypted, lead in clear. They may not stay until all is told, as others
 * do. Pure.
 */
import { drop_paths } from '../desired/remote-route.js';
import { default_table } from '../desired/tables.js';
import type { InterfaceTag } from '../objects/interfaces.js';
import { keyOf, type ObjectKey } from '../objects/object.js';
import type { Path, Route } from '../objects/routing.js';

export class KeptInClear {
  readonly #routes = new Map<ObjectKey, Route>();
  readonly #encrypts: (tag: InterfaceTag) => boolean;

  /** `encrypts`: what goes by this interface is encrypted, as far as is known of VPP. */
  constructor(encrypts: (tag: InterfaceTag) => boolean) {
    this.#encrypts = encrypts;
  }

  /** An earlier life has left it. */
  keep(route: Route): void {
    if (route.table_id === default_table) this.#routes.set(keyOf(route), route);
  }

  /** Takes those out that are in clear and may not be, each as a drop. `covers`: what is sent to this prefix is to be encrypted. */
  take(covers: (prefix: string) => boolean): readonly Route[] {
    const clear = [...this.#routes.values()].filter(
      ({ paths, prefix }) => paths.some((path) => this.#isClear(path)) && covers(prefix),
    );
    this.#routes.clear();
    return clear.map((route) => ({ ...route, paths: drop_paths }));
  }

  #isClear(path: Path): boolean {
    if (path.via === 'interface') return !this.#encrypts(path.interface);
    return path.via === 'next_hop' || path.via === 'lookup';
  }
}
