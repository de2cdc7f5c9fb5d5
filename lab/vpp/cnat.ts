/** VPP's cnat as far as the API shows it: SNAT policy, interface bits, translations. Sessions need packets: there are none. */
import type { cnat_endpoint_tuple, cnat_translation } from 'vpp-binapi-ts/cnat';
import { bundles } from './features.js';
import { type FibTable, none } from './fib.js';
import type { Interface, Interfaces } from './interfaces.js';
import { Death, refuse, retval, Spin } from './outcome.js';
import { Pool } from './pool.js';
import { addressOf, type Family, families, isUnspecified, networkOf } from './prefix.js';

/** One way of judging: of the flows of some tables, or of all that have none. */
export interface SnatEntry {
  readonly index: number;
  ip4: string;
  ip6: string;
  sw_if_index: number;
  readonly fwd_fib_index: Record<Family, number>;
  readonly ret_fib_index: Record<Family, number>;
  policy: string;
  readonly excluded: Set<string>;
}

export interface SnatAddresses {
  readonly ip4: string;
  readonly ip6: string;
  readonly sw_if_index: number;
  readonly fwd_fib_index: number;
  readonly ret_fib_index: number;
  /** 4: the entry is for all that have none. */
  readonly flags: number;
}

const as_default = 4;

interface Translation {
  readonly id: number;
  readonly key: string;
  readonly shown: cnat_translation;
  /** By which it chooses; shown by no dump, and changed by no update. */
  readonly flow_hash_config: number;
  /** Back ends that VPP has lost track of: an update had two equal paths of which one was there already. */
  lost: readonly string[];
}

export class Cnat {
  #begun = false;
  /** Tables that had interfaces before the first cnat call: their VRFs never get sessions. */
  readonly #without_sessions = new Set<FibTable>();
  readonly entries = new Pool<SnatEntry>();
  #default: SnatEntry | undefined;
  readonly #by_fib: Readonly<Record<Family, Map<number, SnatEntry>>> = { 4: new Map(), 6: new Map() };
  /** `table/sw_if_index`. They outlive the interface. */
  readonly interface_bits = new Set<string>();
  readonly translations = new Pool<Translation>();
  /** Addresses of lost back ends whose translation is gone: the next change of a route there kills VPP. */
  readonly #poisoned = new Set<string>();

  constructor(readonly interfaces: Interfaces) {}

  /** Every call that makes cnat set itself up. */
  #begin(): void {
    if (this.#begun) return;
    this.#begun = true;
    for (const one of this.interfaces.all) {
      for (const family of families) {
        const table = one.tables[family];
        if (table.table_id !== 0) this.#without_sessions.add(table);
      }
    }
  }

  /** A VRF without sessions gives neither services nor policies. */
  hasSessions(table: FibTable): boolean {
    return this.#begun && !this.#without_sessions.has(table);
  }

  /**
   * Before an interface is bound to a table. On a real VPP it is traffic in a VRF without sessions that does the harm: an
   * interface there that is up and has the feature counts as one with traffic.
   */
  checkBind(): void {
    for (const one of this.interfaces.all) {
      if (!one.admin_up || !this.interfaces.features.isOn(one.sw_if_index, bundles.cnat[0])) continue;
      if (families.some((family) => this.#without_sessions.has(one.tables[family]))) {
        throw new Spin(
          `an interface is bound to a table while ${one.name}, bound before the first cnat call, has traffic`,
        );
      }
    }
  }

  /** A route to this prefix is about to change. */
  checkRoute(prefix: string): void {
    if (this.#poisoned.size > 0 && this.#poisoned.has(addressOf(prefix))) {
      throw new Death(
        `a route to ${prefix} changes: a deleted translation had it twice as a path, and lost one in an update`,
      );
    }
  }

  setFeature({ sw_if_index }: Interface, on: boolean): void {
    this.#begin();
    this.interfaces.features.set(sw_if_index, bundles.cnat, on);
  }

  // SNAT.

  /** By which a flow of this family and table is judged. */
  entryOf(family: Family, fib_index: number): SnatEntry | undefined {
    return this.#by_fib[family].get(fib_index) ?? this.#default;
  }

  /** The one that requests without a table mean. */
  get entry(): SnatEntry | undefined {
    return this.entryOf(4, 0) ?? this.entryOf(6, 0);
  }

  /** Each family keeps what it had where it is not given; with nothing given at all the entry goes. As soon as one is for all, no other is made. */
  setAddresses(wanted: SnatAddresses): void {
    const { fwd_fib_index, ret_fib_index, sw_if_index } = wanted;
    const by_interface = sw_if_index !== none;
    const given = {
      4: by_interface || !isUnspecified(wanted.ip4),
      6: by_interface || !isUnspecified(wanted.ip6),
    };
    const known = this.entryOf(4, fwd_fib_index) ?? this.entryOf(6, fwd_fib_index);
    if (!given[4] && !given[6]) {
      if (known === undefined) refuse(retval.FEATURE_DISABLED);
      for (const family of families) this.#by_fib[family].delete(fwd_fib_index);
      this.entries.remove(known.index);
      if (this.#default === known) this.#default = undefined;
      return;
    }
    this.#begin();
    const entry = known ?? this.#newEntry(wanted.flags);
    if (given[4] && !isUnspecified(wanted.ip4)) entry.ip4 = wanted.ip4;
    if (given[6] && !isUnspecified(wanted.ip6)) entry.ip6 = wanted.ip6;
    // That of the IPv6 half.
    if (given[6]) entry.sw_if_index = sw_if_index;
    for (const family of families) {
      if (!given[family]) continue;
      this.#by_fib[family].set(fwd_fib_index, entry);
      entry.fwd_fib_index[family] = fwd_fib_index;
      entry.ret_fib_index[family] = ret_fib_index;
    }
  }

  #newEntry(flags: number): SnatEntry {
    const entry = this.entries.add((index) => ({
      index,
      ip4: '0.0.0.0',
      ip6: '::',
      sw_if_index: 0,
      fwd_fib_index: { 4: 0, 6: 0 },
      ret_fib_index: { 4: 0, 6: 0 },
      policy: 'CNAT_POLICY_NONE',
      excluded: new Set<string>(),
    }));
    if ((flags & as_default) !== 0) this.#default = entry;
    return entry;
  }

  checkPolicy(): SnatEntry {
    return this.entry ?? refuse(retval.FEATURE_DISABLED);
  }

  /** `set cnat snat-policy …`. Undefined: it is no such command. False: there is no entry that it could mean. */
  command(text: string): boolean | undefined {
    const [, words, fib] = /^set cnat snat-policy (.*) fib (\d+)$/.exec(text) ?? [];
    if (words === undefined) return undefined;
    const fib_index = Number(fib);
    if (words === 'k8s' || words === 'if-pfx') {
      const entries = families.map((family) => this.entryOf(family, fib_index));
      for (const entry of entries)
        if (entry !== undefined) entry.policy = words === 'k8s' ? 'CNAT_POLICY_K8S' : 'CNAT_POLICY_IF_PFX';
      return entries.some((entry) => entry !== undefined);
    }
    const [, del, prefix] = /^prefix (del )?(\S+)$/.exec(words) ?? [];
    if (prefix === undefined) return undefined;
    const entry = this.entryOf(prefix.includes(':') ? 6 : 4, fib_index);
    if (del === undefined) entry?.excluded.add(networkOf(prefix));
    else entry?.excluded.delete(networkOf(prefix));
    return entry !== undefined;
  }

  // Translations.

  update(wanted: cnat_translation): number {
    if (wanted.paths.length === 0) throw new Death('cnat_translation_update with no path');
    this.#begin();
    const { vip, ip_proto } = wanted;
    const key = `${ip_proto} ${vip.addr} ${vip.port} ${vip.sw_if_index}`;
    const known = [...this.translations].find((translation) => translation.key === key);
    const paths = wanted.paths.map(shownPath);
    if (known === undefined) {
      const added = this.translations.add((id) => ({
        id,
        key,
        flow_hash_config: wanted.flow_hash_config,
        shown: { ...wanted, id, is_real_ip: 0, flags: 0, flow_hash_config: 0, paths },
        lost: [],
      }));
      return added.id;
    }
    known.lost = [...known.lost, ...lostBy(known.shown.paths, paths)];
    const there = new Map<string, cnat_endpoint_tuple>();
    for (const path of known.shown.paths) if (!there.has(backendOf(path))) there.set(backendOf(path), path);
    const kept = paths.map((path) => there.get(backendOf(path)) ?? path);
    this.translations.replace(known.id, { ...known, shown: { ...known.shown, paths: kept } });
    return known.id;
  }

  /** All of them go with the sessions, in the order of their ids. */
  purge(): void {
    for (const { id } of [...this.translations]) this.delete(id);
  }

  delete(id: number): void {
    const known = this.translations.get(id) ?? refuse(retval.NO_SUCH_ENTRY);
    for (const address of known.lost) this.#poisoned.add(address);
    this.translations.remove(id);
  }
}

/** Set by VPP on a back end whose address it knows. */
const resolved_flag = 4;

/** With an interface, 0 included, the address is that of the interface, which here has none. */
function shownPath(path: cnat_endpoint_tuple): cnat_endpoint_tuple {
  const { dst_ep, flags } = path;
  if (dst_ep.sw_if_index === none) return { ...path, flags: flags | resolved_flag };
  const addr = dst_ep.if_af === 'ADDRESS_IP6' ? '::' : '0.0.0.0';
  return { ...path, dst_ep: { ...dst_ep, addr } };
}

/** What makes a back end the same. */
const backendOf = ({ dst_ep, src_ep }: cnat_endpoint_tuple): string =>
  `${dst_ep.addr} ${dst_ep.port} ${src_ep.addr} ${src_ep.port}`;

/** Of equal old back ends all are matched to the first equal new one, and only the last of them is kept. */
function lostBy(old: readonly cnat_endpoint_tuple[], wanted: readonly cnat_endpoint_tuple[]): string[] {
  const matched = new Set(wanted.map(backendOf));
  const last = new Map(old.map((path, index) => [backendOf(path), index]));
  return old
    .filter((path, index) => matched.has(backendOf(path)) && last.get(backendOf(path))! > index)
    .map(({ dst_ep }) => dst_ep.addr);
}
