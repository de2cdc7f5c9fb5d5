/** VPP's cnat as far as the API shows it: SNAT policy, interface bits, translations. Sessions need packets: there are none. */
import type { cnat_endpoint_tuple, cnat_translation } from 'vpp-binapi-ts/cnat';
import { bundles } from './features.js';
import { type FibTable, none } from './fib.js';
import type { Interface, Interfaces } from './interfaces.js';
import { Death, refuse, retval, Spin } from './outcome.js';
import { Pool } from './pool.js';
import { addressOf, families, isUnspecified } from './prefix.js';

export interface SnatAddresses {
  readonly ip4: string;
  readonly ip6: string;
  readonly sw_if_index: number;
  readonly fwd_fib_index: number;
  readonly ret_fib_index: number;
}

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
  addresses: SnatAddresses | undefined;
  policy = 'CNAT_POLICY_NONE';
  readonly excluded = new Set<string>();
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

  /** Each family keeps what it had where it is not given; with nothing given at all the policy goes. */
  setAddresses(wanted: SnatAddresses): void {
    const by_interface = wanted.sw_if_index !== none;
    const has4 = by_interface || !isUnspecified(wanted.ip4);
    const has6 = by_interface || !isUnspecified(wanted.ip6);
    const known = this.addresses;
    if (!has4 && !has6) {
      if (known === undefined) refuse(retval.FEATURE_DISABLED);
      this.addresses = undefined;
      return;
    }
    this.#begin();
    this.addresses = {
      ...wanted,
      ip4: has4 ? wanted.ip4 : (known?.ip4 ?? wanted.ip4),
      ip6: has6 ? wanted.ip6 : (known?.ip6 ?? wanted.ip6),
      // That of the IPv6 half.
      sw_if_index: has6 ? wanted.sw_if_index : (known?.sw_if_index ?? 0),
    };
  }

  checkPolicy(): SnatAddresses {
    return this.addresses ?? refuse(retval.FEATURE_DISABLED);
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
