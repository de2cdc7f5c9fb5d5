/** Those that put entries into VPP's tables, and whose paths are used where several have one for the same prefix. */

/** VPP's number of a source: a byte. */
export type SourceId = number;

/** The sources of VPP's own that the stand-in uses itself. */
export const source = {
  special: 1,
  interface: 4,
  api: 8,
  adjacency: 15,
  default_route: 20,
  pbl: 24,
} as const;

export interface FibSource {
  readonly id: SourceId;
  readonly name: string;
  /** Lower goes before higher. */
  readonly priority: number;
  /** Within a priority: who came first goes first. */
  readonly slot: number;
}

/** What a VPP begins with, in the order of the numbers: its own, then those of its parts and plugins. */
const own: readonly (readonly [name: string, priority: number])[] = [
  ['invalid', 0xff],
  ['special', 0x00],
  ['classify', 0x01],
  ['proxy', 0x02],
  ['interface', 0x03],
  ['SR', 0x10],
  ['BIER', 0x20],
  ['6RD', 0x30],
  ['API', 0x80],
  ['CLI', 0x81],
  ['LISP', 0x90],
  ['MAP', 0xa0],
  ['DHCP', 0xb0],
  ['IPv6-proxy-nd', 0xc0],
  ['IPv6-nd', 0xc1],
  ['adjacency', 0xd0],
  ['mpls', 0xe0],
  ['attached_export', 0xf0],
  ['recursive-resolution', 0xfb],
  ['urpf-exempt', 0xfc],
  ['default-route', 0xfd],
  ['interpose', 0xfe],
  ['path-mtu', 0x10],
  ['cnat', 0x02],
  ['pbl', 0x01],
];

/** The highest number that is given away. */
const id_max = 254;

export class FibSources {
  readonly #all: FibSource[] = [];
  readonly #slots = new Map<number, number>();

  constructor() {
    for (const [name, priority] of own) this.add(name, priority);
  }

  get all(): readonly FibSource[] {
    return this.#all;
  }

  /** A name may be there before: this is another source then. Undefined: none is left. */
  add(name: string, priority: number): SourceId | undefined {
    const id = this.#all.length;
    if (id > id_max) return undefined;
    const slot = this.#slots.get(priority) ?? 0;
    this.#slots.set(priority, slot + 1);
    this.#all.push({ id, name, priority, slot });
    return id;
  }

  has(id: SourceId): boolean {
    return this.#all[id] !== undefined;
  }

  /** The one whose paths are used. */
  best(ids: Iterable<SourceId>): SourceId | undefined {
    let best: FibSource | undefined;
    for (const id of ids) {
      const other = this.#all[id]!;
      if (best === undefined || rank(other) < rank(best)) best = other;
    }
    return best?.id;
  }
}

function rank({ priority, slot }: FibSource): number {
  return 256 * priority + slot;
}
