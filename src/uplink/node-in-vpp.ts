/** What a VPP holds of the node itself: read, cleared, programmed. */
import { networkOf } from '../desired/networks.js';
import type { NeverNatted, UplinkEntry } from '../desired/source-nat.js';
import { ipsec_table, pods_table } from '../desired/tables.js';
import type { ObjectKind, VppObject } from '../objects/object.js';
import { isDangling } from '../objects/object.js';
import { isHostTapTag } from '../objects/owner.js';
import type { KnownNeighbour } from '../objects/routing.js';
import type { Operation, Outcome } from '../reconcile/operation.js';
import { OwnerIndex } from '../reconcile/ownership.js';
import { removal } from '../reconcile/reconcile.js';
import type { Scope, Snapshot } from '../reconcile/snapshot.js';
import type { TransactionResult } from '../reconcile/transaction.js';

/** VPP as the take-over sees it. Both reject when the generation is over. */
export interface VppPort {
  transact(generation: number, operations: readonly Operation[]): Promise<TransactionResult>;
  /** What VPP holds of these owners now. */
  read(scopes: readonly Scope[]): Promise<Snapshot>;
  /** The neighbours that VPP has resolved on this uplink. */
  neighbours(uplink: string): Promise<readonly KnownNeighbour[]>;
  /** VPP has these on this uplink as if it had resolved them itself, as far as it takes them. */
  introduce(uplink: string, neighbours: readonly KnownNeighbour[]): Promise<void>;
  /** Has the routers behind this uplink say what they have to say. */
  solicit(uplink: string): Promise<void>;
}

/** Without them the node still works: a warning names what VPP refused. */
const dispensable: ReadonlySet<ObjectKind> = new Set([
  'interface_rx_mode',
  'rx_placement',
  'ttl_fixup',
  'route',
  'redirect_rule',
  'ra_config',
  'ra_prefix',
]);

/** What routers say is anybody's to make up: no node goes without VPP for it. A card may keep its functions from hearing all, and IPv4 works without. */
function isDispensable(object: VppObject): boolean {
  if (object.kind === 'interface_flag' && object.flag === 'promisc') return true;
  return dispensable.has(object.kind) || (object.kind === 'link_local' && isHostTapTag(object.interface));
}

/** `kept`: what stays in a VPP that is cleared. */
export type Kept = Snapshot & { readonly kept: readonly VppObject[] };

export class NodeInVpp {
  /**
   * What VPP holds of the node may not be what it was told: whoever works on it next reads it. An answer has shown that VPP has lost
   * what it had, or none has come, or something that the node cannot do without was refused.
   */
  is_in_doubt = false;
  /** VNIs of networks of which VPP has refused something since it was last read: their pods and tunnels would be in tables of others. */
  readonly lacking_networks = new Set<number>();

  /** `found`: tags of uplinks whose interfaces VPP's start-up files make, of whichever device: used, and never removed. */
  constructor(
    private readonly vpp: VppPort,
    private readonly warn: (text: string) => void,
    private readonly found: ReadonlySet<string> = new Set(),
  ) {}

  /**
   * What VPP holds of the node's, cleared of what refers to interfaces that are gone: before any interface is made, since a new one may
   * get the index that a route of an earlier one still names.
   */
  async read(generation: number): Promise<Snapshot> {
    const snapshot = await this.readNode(['node', 'nobody']);
    this.lacking_networks.clear();
    const dangling = snapshot.objects.filter(isDangling);
    if (dangling.length > 0) await this.vpp.transact(generation, removal(dangling));
    const owners = new OwnerIndex(snapshot.objects);
    const node = snapshot.objects.filter((object) => !isDangling(object) && owners.of(object) === 'node');
    return { ...snapshot, objects: node };
  }

  private async readNode(scopes: readonly Scope[]): Promise<Snapshot> {
    const snapshot = await this.vpp.read(scopes);
    if (this.found.size === 0) return snapshot;
    const asFound = (object: VppObject): VppObject =>
      'tag' in object && this.found.has(object.tag)
        ? { kind: 'existing_interface', tag: object.tag }
        : object;
    return { ...snapshot, objects: snapshot.objects.map(asFound) };
  }

  /**
   * A VPP that lives on without our uplinks (a failed take-over, a lost journal) may hold parts of them. `kept`: what stays, and is not
   * made again: VPP would have a second loopback, and a second redirect table, which the pods do not look up.
   */
  async clear(generation: number): Promise<Kept> {
    const snapshot = await this.read(generation);
    const left = snapshot.objects.filter(
      (object) => object.kind !== 'existing_interface' && !isGlobal(object),
    );
    if (left.length > 0) await this.vpp.transact(generation, removal(left));
    return { ...snapshot, kept: snapshot.objects.filter(isGlobal) };
  }

  /** What VPP refused and the node cannot do without, and, as a warning at once, what it can. */
  async program(generation: number, operations: readonly Operation[]): Promise<string[]> {
    if (operations.length === 0) return [];
    const was_in_doubt = this.is_in_doubt;
    this.is_in_doubt = true;
    const { outcomes, lost_state } = await this.vpp.transact(generation, operations);
    const refused = this.refusedOf(outcomes);
    this.is_in_doubt = was_in_doubt || lost_state === true || refused.length > 0;
    return refused;
  }

  private refusedOf(outcomes: readonly Outcome[]): string[] {
    return outcomes.flatMap(({ operation, error }) => {
      if (error === undefined) return [];
      const text = `VPP refused to ${operation.action} ${JSON.stringify(operation.object)}: ${error.message}`;
      if (operation.action === 'add') {
        const vni = networkOf(operation.object);
        if (vni !== undefined) this.lacking_networks.add(vni);
        else if (!isDispensable(operation.object)) return [text];
      }
      this.warn(text);
      return [];
    });
  }

  /** Takes out of a living VPP what a take-over may have left in it: what it had told, and what is found. */
  async abandon(generation: number, told: readonly VppObject[]): Promise<void> {
    const { objects: left } = await this.readNode(['node']);
    const objects = [...told, ...left];
    await this.vpp.transact(generation, removal(objects.filter((object) => !isGlobal(object))));
  }
}

/** The entry for uplinks that VPP has. */
export function entryIn(objects: readonly VppObject[]): UplinkEntry | undefined {
  return objects.find((object) => object.kind === 'snat_uplinks');
}

/** As an earlier life has told it. Undefined: it has not. */
export function excludedIn(objects: readonly VppObject[]): NeverNatted | undefined {
  const excluded = objects.filter((object) => object.kind === 'snat_exclude');
  if (excluded.length === 0) return undefined;
  const of = (which: 'uplinks' | undefined) =>
    excluded.filter((each) => each.of === which).map(({ prefix }) => prefix);
  return { pods: of(undefined), uplinks: of('uplinks') };
}

/** Objects that every VPP has, or that others than uplinks use: left in place when the uplinks go. */
export function isGlobal(object: VppObject): boolean {
  if (networkOf(object) !== undefined) return true;
  switch (object.kind) {
    case 'loopback':
    case 'snat_uplinks':
    case 'snat_addresses':
    case 'snat_policy':
    case 'snat_exclude':
    case 'neighbour_limits':
    case 'punt_l4':
    case 'punt_redirect':
    case 'punt_guard':
    case 'protocol_table':
    case 'redirect_table':
      return true;
    case 'table':
      return isGlobalTable(object.table_id);
    case 'route':
      return isGlobalTable(object.table_id) && !object.paths.some((path) => path.via === 'interface');
    default:
      return false;
  }
}

const isGlobalTable = (table_id: number): boolean => table_id <= pods_table || table_id === ipsec_table;
