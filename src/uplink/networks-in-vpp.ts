/**
 * Which networks VPP has tables of: those that are told, and those that are told no more as long as something of pods or routes is in them. VPP
 * takes a table away whatever is in it.
 */
import type { Clock } from '../clock.js';
import { type NodeNetwork, networkOf, networksUsed } from '../desired/networks.js';
import type { VppObject } from '../objects/object.js';

/** Who is in a network that goes is told of it first, and tunnels stay for a while. */
const first_look_ms = 12_000;
const look_ms = 30_000;

export class NetworksInVpp {
  /** Those that pods may be in; undefined: not known, what an earlier life has left stays. */
  told: readonly NodeNetwork[] | undefined;
  /** Of those that VPP has, or is about to have. Sorted. */
  vnis: readonly number[] = [];
  #look_at_ms: number | undefined;

  constructor(private readonly clock: Clock) {}

  /** What a VPP has that nobody has told anything yet. */
  found(objects: readonly VppObject[]): void {
    this.vnis = sorted([...objects.flatMap((object) => networkOf(object) ?? []), ...this.#told()]);
  }

  /** Networks whose tables are to go once nobody is in them. */
  get leaving(): readonly number[] {
    if (this.told === undefined) return [];
    const told = new Set(this.#told());
    return this.vnis.filter((vni) => !told.has(vni));
  }

  /** Until it is to be looked whether somebody is in them; undefined: it is not. */
  get looks_in_ms(): number | undefined {
    if (this.leaving.length === 0) {
      this.#look_at_ms = undefined;
      return undefined;
    }
    const now_ms = this.clock.now_ms();
    this.#look_at_ms ??= now_ms + first_look_ms;
    return Math.max(0, this.#look_at_ms - now_ms);
  }

  /** The VNIs that VPP is to have tables of. `read`: asks what pods and connectivity have, which takes VPP a while. */
  async next(read: () => Promise<readonly VppObject[]>): Promise<readonly number[]> {
    const { leaving } = this;
    if (this.looks_in_ms !== 0) return sorted([...this.vnis, ...this.#told()]);
    this.#look_at_ms = this.clock.now_ms() + look_ms;
    const used = new Set((await read()).flatMap(networksUsed));
    // Told again meanwhile.
    const free = new Set(leaving.filter((vni) => !used.has(vni) && !this.#told().includes(vni)));
    return sorted([...this.vnis.filter((vni) => !free.has(vni)), ...this.#told()]);
  }

  #told(): readonly number[] {
    return this.told?.map(({ vni }) => vni) ?? [];
  }
}

const sorted = (vnis: Iterable<number>): readonly number[] => [...new Set(vnis)].sort((a, b) => a - b);
