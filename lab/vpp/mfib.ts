/** VPP's multicast forwarding tables, as far as ip_mroute_add_del and the dumps show them. */
import type { fib_path } from 'vpp-binapi-ts/fib_types';
import type { mfib_path } from 'vpp-binapi-ts/mfib_types';
import { hasRpfId, none, specialPath } from './fib.js';
import { type Family, hostLength, unspecified } from './prefix.js';

/** Bits of a path's itf_flags: VPP takes packets from the interface, VPP sends them there. */
export const itf_flags = { accept: 2, forward: 4 } as const;

interface Group {
  readonly grp_address: string;
  readonly grp_address_length: number;
  readonly src_address: string;
}

export interface MulticastEntry {
  readonly group: Group;
  /** Of VPP itself: delivered to the host stack. */
  readonly local: boolean;
  /** VPP's own entry for everything else: nothing is shown of it but its prefix. */
  readonly is_default: boolean;
  api: { flags: number; rpf_id: number; paths: readonly mfib_path[] } | undefined;
}

export class MfibTable {
  readonly entries = new Map<string, MulticastEntry>();
  /** Interfaces whose IP of this family is on: VPP accepts its own groups from them. */
  readonly accepting = new Map<number, number>();
  /** How often the API has added it: VPP counts, so that a table added twice has to be deleted twice. */
  holds = 1;
  bound_interfaces = 0;

  constructor(
    readonly family: Family,
    readonly table_id: number,
  ) {
    this.#add({ grp_address: unspecified(family), grp_address_length: 0 }, false);
    for (const group of own_groups[family]) this.#add(group, true);
  }

  #add(group: Omit<Group, 'src_address'>, local: boolean): void {
    const whole = { ...group, src_address: unspecified(this.family) };
    this.entries.set(keyOf(whole), { group: whole, local, is_default: !local, api: undefined });
  }

  accept(sw_if_index: number, by: 1 | -1): void {
    const count = (this.accepting.get(sw_if_index) ?? 0) + by;
    if (count > 0) this.accepting.set(sw_if_index, count);
    else this.accepting.delete(sw_if_index);
  }

  /** Adds to the paths that are there. */
  addPaths(group: Group, flags: number, rpf_id: number, paths: readonly mfib_path[]): void {
    const entry = this.#entry(group);
    const kept = entry.api?.paths ?? [];
    const others = kept.filter((path) => !paths.some((added) => isSame(path, added)));
    entry.api = { flags, rpf_id, paths: [...others, ...paths] };
  }

  /** Without paths VPP only sets the flags; an entry that has neither goes. */
  setFlags(group: Group, flags: number, rpf_id: number): void {
    const entry = this.entries.get(keyOf(group));
    const paths = entry?.api?.paths ?? [];
    if (flags === 0 && paths.length === 0) {
      if (entry) this.#withdraw(entry);
      return;
    }
    this.#entry(group).api = { flags, rpf_id, paths };
  }

  /** An entry with flags stays, empty. */
  removePaths(group: Group, paths: readonly mfib_path[]): void {
    const entry = this.entries.get(keyOf(group));
    if (entry?.api === undefined) return;
    const kept = entry.api.paths.filter((path) => !paths.some((removed) => isSame(path, removed)));
    if (kept.length === 0 && entry.api.flags === 0) this.#withdraw(entry);
    else entry.api = { ...entry.api, paths: kept };
  }

  /** The paths of the best source: VPP's own entry hides what the API wrote. */
  shown(entry: MulticastEntry): readonly mfib_path[] {
    if (entry.is_default) return [];
    if (!entry.local) return (entry.api?.paths ?? []).map(showPath);
    const accepted = [...this.accepting.keys()].map((sw_if_index) => ({
      itf_flags: itf_flags.accept,
      path: specialPath(this.family, 'FIB_API_PATH_TYPE_NORMAL', { sw_if_index }),
    }));
    return [{ itf_flags: 0, path: specialPath(this.family, 'FIB_API_PATH_TYPE_LOCAL') }, ...accepted];
  }

  #entry(group: Group): MulticastEntry {
    const key = keyOf(group);
    const known = this.entries.get(key);
    if (known !== undefined) return known;
    const entry = { group, local: false, is_default: false, api: undefined };
    this.entries.set(key, entry);
    return entry;
  }

  #withdraw(entry: MulticastEntry): void {
    entry.api = undefined;
    if (!entry.local && !entry.is_default) this.entries.delete(keyOf(entry.group));
  }
}

const own_groups: Record<Family, readonly Omit<Group, 'src_address'>[]> = {
  4: ['224.0.0.1', '224.0.0.2'].map((grp_address) => ({ grp_address, grp_address_length: hostLength(4) })),
  6: [
    ...['ff02::1', 'ff02::2', 'ff02::16'].map((grp_address) => ({
      grp_address,
      grp_address_length: hostLength(6),
    })),
    { grp_address: 'ff02::1:ff00:0', grp_address_length: 104 },
  ],
};

function keyOf(group: Group): string {
  return `${group.src_address},${group.grp_address}/${group.grp_address_length}`;
}

/** VPP shows the flags of a path only when it does not forward to it, and no RPF id. */
function showPath({ itf_flags: flags, path }: mfib_path): mfib_path {
  return { itf_flags: flags & itf_flags.forward ? 0 : flags, path: { ...path, rpf_id: 0 } };
}

/** A path with an RPF id continues in a multicast table, one without in a unicast table: they are different paths. */
function isSame(a: mfib_path, b: mfib_path): boolean {
  return target(a.path) === target(b.path);
}

function target(path: fib_path): string {
  const { sw_if_index, table_id, nh, type } = path;
  const goes_on = sw_if_index === none ? `${table_id},${hasRpfId(path)}` : '';
  return `${type},${sw_if_index},${goes_on},${nh.address}`;
}
