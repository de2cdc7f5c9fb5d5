/** A VPP that refuses every order of operations that hurts a real one, or that a real one gets wrong without a word. */

import { default_table, punt_table } from '../../src/desired/tables.js';
import { type Family, familyOf } from '../../src/ip/text.js';
import type { InterfaceTag } from '../../src/objects/interfaces.js';
import type { VppObject } from '../../src/objects/object.js';
import {
  diesWithInterface,
  interfaceMade,
  interfacesUsed,
  isDangling,
  keyOf,
} from '../../src/objects/object.js';
import type { Operation } from '../../src/reconcile/operation.js';

/** By what VPP tells a tunnel from others. */
function endsOf(object: VppObject): string | undefined {
  if (object.kind === 'ipip_tunnel') return `ipip ${object.src} ${object.dst}`;
  if (object.kind !== 'vxlan_tunnel') return undefined;
  return `vxlan ${object.src} ${object.dst} ${object.vni} ${object.port}`;
}

export class StrictVpp {
  readonly #objects: Map<string, VppObject>;
  /** Interfaces that have some cnat bit, which outlives them. */
  readonly #bits = new Map<InterfaceTag, Set<string>>();

  constructor(objects: Iterable<VppObject> = []) {
    this.#objects = new Map([...objects].map((object) => [keyOf(object), object]));
    for (const object of this.#objects.values()) this.#note('add', object);
  }

  get objects(): VppObject[] {
    return [...this.#objects.values()];
  }

  run(operations: readonly Operation[]): void {
    for (const { action, object } of operations) {
      if (action === 'add') this.#add(object);
      else this.#remove(object);
    }
  }

  #has(test: (object: VppObject) => boolean): VppObject | undefined {
    return this.objects.find(test);
  }

  #interface(tag: InterfaceTag): boolean {
    return this.#has((object) => interfaceMade(object) === tag) !== undefined;
  }

  #isUp(tag: InterfaceTag): boolean {
    return this.#objects.has(`interface_flag:${tag}/admin_up`);
  }

  /** Without addresses of the family: VPP binds no other interface. */
  #bare({ interface: tag, family }: { readonly interface: InterfaceTag; readonly family: Family }): boolean {
    return !this.#has(
      (o) => o.kind === 'interface_address' && o.interface === tag && familyOf(o.prefix) === family,
    );
  }

  #table(family: Family, table_id: number): boolean {
    return (
      table_id === default_table ||
      this.#has((o) => o.kind === 'table' && o.family === family && o.table_id === table_id) !== undefined
    );
  }

  #add(object: VppObject): void {
    const key = keyOf(object);
    const old = this.#objects.get(key);
    const must = (holds: boolean, rule: string): void => {
      if (!holds) throw new Error(`add ${key}: ${rule}`);
    };
    if (object.kind === 'unnumbered') must(!this.#isUp(object.interface), 'up before it takes part in IP');
    if (old !== undefined) must(!isDangling(old), 'is a path to an interface that is gone: a permanent drop');
    must(interfaceMade(object) === undefined || old === undefined, 'the interface is there already');
    const ends = endsOf(object);
    if (ends !== undefined)
      must(!this.#has((o) => endsOf(o) === ends), `there is a tunnel with these ends already: ${ends}`);
    if (object.kind === 'wireguard_peer') {
      must(old === undefined, 'the key is a peer already');
      const other = this.#has(
        (o) => o.kind === 'wireguard_peer' && o.allowed.some((prefix) => object.allowed.includes(prefix)),
      );
      must(other === undefined, `takes the packets of ${other && keyOf(other)} for good`);
      must(this.#isUp(object.interface), 'begins no handshake on an interface that is down');
    }
    if (object.kind === 'pbl_client') {
      must(old === undefined, 'VPP takes no notice of it');
      const bound = this.#objects.get(`interface_table:${object.interface}/${familyOf(object.address)}`);
      must(
        bound?.kind === 'interface_table' && bound.table_id === object.table_id,
        'VPP dies of a table that is not there',
      );
    }
    for (const tag of interfacesUsed(object)) must(this.#interface(tag), `there is no interface ${tag}`);
    if (object.kind === 'table') must(old === undefined, 'the table would be shared');
    if (object.kind === 'interface_table') {
      must(this.#table(object.family, object.table_id), 'no such table');
      must(this.#bare(object) || isSame(old, object), 'an interface with an address is not bound');
    }
    if (object.kind === 'route') {
      const family = familyOf(object.prefix);
      // The node's is there before any pod.
      const is_nodes = object.kind === 'route' && object.source === 'pods' && object.table_id === punt_table;
      must(is_nodes || this.#table(family, object.table_id), 'no such table');
      for (const path of object.paths)
        if (path.via === 'lookup' && path.table_id > 2)
          must(this.#table(family, path.table_id), 'no table to look up');
    }
    if (object.kind === 'urpf') must(this.#table(object.family, object.table_id), 'no such table');
    if (object.kind === 'srv6_local_sid')
      must(
        this.#table(object.behavior === 'end_dt4' ? 4 : 6, object.table_id),
        'no table for what is unwrapped',
      );
    if (object.kind === 'srv6_policy') must(old === undefined, 'there is a policy with this binding SID');
    if (object.kind === 'srv6_steering') {
      const { prefix, table_id, bsid } = object;
      must(this.#table(familyOf(prefix), table_id), 'VPP dies: there is no such table');
      must(this.#objects.has(`srv6_policy:${bsid}`), 'there is no such policy');
      const beside = this.#has((o) => o.kind === 'route' && o.table_id === table_id && o.prefix === prefix);
      must(beside === undefined, 'beside a route VPP drops a part of it');
    }
    if (object.kind === 'interface_flag' && object.flag === 'admin_up') {
      const { interface: tag } = object;
      // What ends in VPP's host stack, and begins there, passes another one as well.
      const is_stack = /^vcl-(?!out-|in-)/.test(tag);
      const has_cnat = ['cnat_feature', 'cnat_in', 'cnat_out'].some((flag) =>
        this.#objects.has(`interface_flag:${tag}/${flag}`),
      );
      must(is_stack || has_cnat, 'up without cnat: packets pass without policy');
    }
    this.#objects.set(key, object);
    this.#note('add', object);
  }

  #remove(object: VppObject): void {
    const key = keyOf(object);
    const must = (holds: boolean, rule: string): void => {
      if (!holds) throw new Error(`remove ${key}: ${rule}`);
    };
    const tag = interfaceMade(object);
    if (tag !== undefined) {
      const holder = this.#has(
        (o) => o !== object && interfacesUsed(o).includes(tag) && !diesWithInterface(o) && !isHarmless(o),
      );
      must(holder === undefined, `still in use by ${holder && keyOf(holder)}`);
      const left = [...(this.#bits.get(tag) ?? [])];
      must(left.length === 0, `the next interface would inherit ${left}`);
      for (const [other_key, other] of this.#objects) {
        if (interfacesUsed(other).includes(tag)) this.#objects.delete(other_key);
      }
    }
    if (object.kind === 'srv6_policy') {
      const { bsid } = object;
      must(
        !this.#has((o) => o.kind === 'srv6_steering' && o.bsid === bsid),
        'what is steered into it is dropped',
      );
    }
    if (object.kind === 'srv6_steering') {
      const { prefix, table_id } = object;
      const leads = this.#has(
        (o) =>
          o.kind === 'route' &&
          o.prefix === prefix &&
          o.paths.some((path) => path.via === 'lookup' && path.table_id === table_id),
      );
      must(leads === undefined, 'a route leads here still');
    }
    if (object.kind === 'table') {
      const { table_id: id } = object;
      must(
        !this.#has((o) => (o.kind === 'srv6_steering' || o.kind === 'srv6_local_sid') && o.table_id === id),
        'SRv6 does not keep it, and VPP dies of what is left',
      );
      const { family, table_id } = object;
      const route = this.#has(
        (o) =>
          (o.kind === 'route' && o.table_id === table_id && familyOf(o.prefix) === family) ||
          (o.kind === 'mroute' && o.table_id === table_id && familyOf(o.group) === family),
      );
      must(route === undefined, `still has ${route && keyOf(route)}`);
      must(
        !this.#has((o) => o.kind === 'urpf' && o.family === family && o.table_id === table_id),
        'uRPF looks at it',
      );
    }
    if (object.kind === 'interface_table')
      must(this.#bare(object), 'an interface with an address is not bound');
    this.#objects.delete(key);
    this.#note('remove', object);
  }

  #note(action: Operation['action'], object: VppObject): void {
    if (object.kind !== 'interface_flag' || !object.flag.startsWith('snat_')) return;
    const bits = this.#bits.get(object.interface) ?? new Set();
    this.#bits.set(object.interface, bits);
    if (action === 'add') bits.add(object.flag);
    else bits.delete(object.flag);
  }
}

function isSame(a: VppObject | undefined, b: VppObject): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

/** Promiscuity is a property of the device alone, and ends with it. */
function isHarmless(object: VppObject): boolean {
  return object.kind === 'interface_flag' && object.flag === 'promisc';
}
