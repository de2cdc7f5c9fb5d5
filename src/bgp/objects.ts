/** What is known of the objects that BGP is made of. No I/O. */
import type { BgpConfiguration } from '../calico/kinds/bgp-configuration.js';
import type { KindName, Kinds, Objects } from '../calico/kinds/kinds.js';
import { type LocalPrefix, LocalPrefixes, localPrefixKinds } from '../desired/local-prefixes.js';
import { OwnNode } from '../desired/own-node.js';
import type { BgpInputs } from './plan.js';

export const bgp_kinds: readonly KindName[] = [
  ...localPrefixKinds({ services: true }),
  'BGPPeer',
  'BGPFilter',
  'Secret',
];

/** Without these nobody knows whom to peer with and what may be told. */
export const vital_kinds: readonly KindName[] = [
  ...(['Node', 'IPPool', 'BGPConfiguration', 'BGPPeer', 'BGPFilter'] as const),
  // Which blocks are this node's is a part of the policies.
  ...(['BlockAffinity', 'IPAMBlock'] as const),
];

/** Peers and policies are made of them; of the others local prefixes alone. */
const of_peers: ReadonlySet<KindName> = new Set([
  ...(['Node', 'IPPool', 'BGPConfiguration', 'BGPPeer', 'BGPFilter', 'Secret'] as const),
]);

/** Which addresses of services VPP serves by now: see ServicesProgrammed. */
interface Served {
  readonly changed: ReadonlyMap<string, boolean>;
  readonly whole: boolean;
  readonly known: boolean;
}

type Known<K extends KindName> = Map<string, Kinds[K]>;

export class BgpObjects {
  readonly #node_name: string;
  readonly #own = new OwnNode();
  readonly #nodes: Known<'Node'> = new Map();
  readonly #pools: Known<'IPPool'> = new Map();
  readonly #configurations: Known<'BGPConfiguration'> = new Map();
  readonly #peers: Known<'BGPPeer'> = new Map();
  readonly #filters: Known<'BGPFilter'> = new Map();
  readonly #secrets = new Map<string, Kinds['Secret'] | undefined>();
  readonly #synced = new Set<KindName>();
  /** Fields by BGPConfiguration. */
  readonly #unreadable = new Map<string, readonly string[]>();
  readonly #local: LocalPrefixes;
  /** It is known which addresses of services VPP serves. */
  #knows_served: boolean;

  /** `served_only`: an address of a service is announced while VPP serves it, as `setServed` tells. */
  constructor(node_name: string, { served_only = false }: { readonly served_only?: boolean } = {}) {
    this.#node_name = node_name;
    this.#knows_served = !served_only;
    this.#local = new LocalPrefixes({ node_name, services: true, served_only });
  }

  /** True: what is announced may be something else from now on. See ServicesProgrammed. */
  setServed({ changed, whole, known }: Served): boolean {
    this.#local.setServed(changed, whole);
    const is_first = known && !this.#knows_served;
    if (is_first) this.#knows_served = true;
    return this.#local.changes().size > 0 || is_first;
  }

  /** True: what gobgpd is to have may be something else from now on. */
  take(change: Objects): boolean {
    const is_first = change.synced && !this.#synced.has(change.kind);
    if (is_first) this.#synced.add(change.kind);
    switch (change.kind) {
      case 'Node':
        merge(this.#nodes, change.changed);
        if (change.changed.has(this.#node_name)) {
          this.#own.take(change.changed.get(this.#node_name));
          if (this.#own.node !== undefined) this.#nodes.set(this.#node_name, this.#own.node);
        }
        break;
      case 'IPPool':
        merge(this.#pools, change.changed);
        break;
      case 'BGPConfiguration':
        this.#configured(change.changed);
        break;
      case 'BGPPeer':
        merge(this.#peers, change.changed);
        break;
      case 'BGPFilter':
        merge(this.#filters, change.changed);
        break;
      case 'Secret':
        for (const [name, values] of change.changed) this.#secrets.set(name, values);
        break;
      default:
        break;
    }
    this.#local.take(change);
    const local_differs = this.#local.changes().size > 0;
    return is_first || local_differs || (of_peers.has(change.kind) && change.changed.size > 0);
  }

  /** Kinds without which nothing is done. */
  get missing(): readonly KindName[] {
    return vital_kinds.filter((kind) => !this.#synced.has(kind));
  }

  /** This node's own Node has been seen: its AS, labels and part in route reflection, which make all sessions, are known. */
  get knows_own_node(): boolean {
    return this.#own.node !== undefined;
  }

  /** Configurations of this node that nobody has been able to read yet: nothing is done without them either. */
  get unread(): readonly string[] {
    const own = ['default', `node.${this.#node_name}`];
    return own.filter((name) => this.#unreadable.has(name) && !this.#configurations.has(name));
  }

  /** All of what own paths are made of is known: one that is not here is not. */
  get knows_all_local(): boolean {
    return this.#local.synced && this.#knows_served;
  }

  /** Prefixes of pools that an earlier life has kept from peers. */
  recallPools(prefixes: Iterable<string>): void {
    this.#local.recallPools(prefixes);
    this.#local.changes();
  }

  get local(): ReadonlyMap<string, LocalPrefix> {
    return this.#local.all();
  }

  /** These alone are of interest from now on. */
  keepSecrets(names: readonly string[]): void {
    const wanted = new Set(names);
    for (const name of this.#secrets.keys()) if (!wanted.has(name)) this.#secrets.delete(name);
  }

  inputs(): Pick<
    BgpInputs,
    | 'node_name'
    | 'nodes'
    | 'configurations'
    | 'peers'
    | 'filters'
    | 'pools'
    | 'gone_pools'
    | 'secrets'
    | 'local'
  > {
    return {
      node_name: this.#node_name,
      nodes: this.#nodes,
      configurations: this.#configurations,
      peers: this.#peers,
      filters: this.#filters,
      pools: this.#pools,
      gone_pools: this.#local.gone_pools,
      secrets: this.#secrets,
      local: this.local,
    };
  }

  /** What of an object could not be taken as it is: object and line. */
  *troubles(): Generator<readonly [string, string]> {
    for (const [name, fields] of this.#unreadable)
      yield [
        `BGPConfiguration ${name}`,
        `${fields.join(', ')}: cannot be read; ${this.#configurations.has(name) ? 'what it said before holds' : 'nothing is done until it can be'}`,
      ];
    for (const line of this.#own.troubles()) yield [`Node ${this.#node_name}`, line];
  }

  /** One that says in part what cannot be read keeps what it said before; without that nothing is done until it can be read. */
  #configured(changed: ReadonlyMap<string, BgpConfiguration | undefined>): void {
    for (const [name, configuration] of changed) {
      const faults = configuration?.vital_faults;
      if (faults === undefined) {
        this.#unreadable.delete(name);
        merge(this.#configurations, new Map([[name, configuration]]));
      } else this.#unreadable.set(name, faults);
    }
  }
}

function merge<T>(known: Map<string, T>, changed: ReadonlyMap<string, T | undefined>): void {
  for (const [key, object] of changed) {
    if (object === undefined) known.delete(key);
    else known.set(key, object);
  }
}
