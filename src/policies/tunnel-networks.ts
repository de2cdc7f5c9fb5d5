/** Which network beside the default one a tunnel is of: by the VNI in its tag, and by what is known of networks. */
import type { InterfaceTag } from '../objects/interfaces.js';
import { vniOfTag } from '../objects/tunnels.js';

export class TunnelNetworks {
  /** Names by VNI: of those that there are, and of those that have gone and have tunnels. */
  readonly #names = new Map<number, string>();
  #known: ReadonlySet<string> | undefined;

  /** These there are; undefined: that is not known. `tags`: of all tunnels. */
  take(
    networks: readonly { readonly vni: number; readonly name: string }[] | undefined,
    tags: Iterable<InterfaceTag>,
  ): void {
    this.#known = networks && new Set(networks.map(({ name }) => name));
    const vnis = new Set([...tags].map(vniOfTag));
    for (const vni of this.#names.keys()) if (!vnis.has(vni)) this.#names.delete(vni);
    for (const { vni, name } of networks ?? []) this.#names.set(vni, name);
  }

  /** Undefined: which networks there are is not known. */
  get known(): ReadonlySet<string> | undefined {
    return this.#known;
  }

  /** Undefined: of none that is known. */
  of(tag: InterfaceTag): string | undefined {
    return this.#names.get(vniOfTag(tag) ?? -1);
  }

  /** It may be of a network of which only an earlier life has known, when nobody asks for it. */
  isDoubtful(tag: InterfaceTag): boolean {
    return vniOfTag(tag) !== undefined && this.of(tag) === undefined;
  }
}
