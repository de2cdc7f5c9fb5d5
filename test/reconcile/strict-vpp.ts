/** A VPP that refuses every order of operations that hurts a real one, or that a real one gets wrong without a word. */

import { default_table } from '../../src/desired/tables.js';
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
      must(this.#table(family, object.table_id), 'no such table');
      for (const path of object.paths)
        if (path.via === 'lookup' && path.table_id > 2)
          must(this.#table(family, path.table_id), 'no table to look up');
    }
    if (object.kind === 'urpf') must(this.#table(object.family, object.table_id), 'no such table');
    if (object.kind === 'interface_flag' && object.flag === 'admin_up') {
      must(
        this.#objects.has(`interface_flag:${object.interface}/cnat_feature`),
        'up without cnat: packets pass without policy',
      );
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
    if (object.kind === 'table') {
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
