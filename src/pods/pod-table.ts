/** The pods of this node as the CNI actor knows them, and what follows from all of them together. */
import type { ActorRef } from '../actor-system.js';
import {
  assignSlots,
  buffersMissing,
  type Conflict,
  conflictOf,
  heldSlot,
  lowestFreeSlot,
} from '../desired/admission.js';
import { desiredPod } from '../desired/pod.js';
import { default_table, hostPrefix, podTables } from '../desired/tables.js';
import type { PodMessage, PodNode } from '../messages/pod.js';
import { keyOf, type VppObject } from '../objects/object.js';
import { podInterfaceTag } from '../pod/names.js';
import { addressesOf, type PodKey, type PodSpec, podName } from '../pod/spec.js';
import type { Snapshot } from '../reconcile/snapshot.js';
import { assignPods, type Holdings, type PodIdentity, podIdentity } from './holdings.js';

export class PodEntry {
  #missing_since_ms: number | undefined;
  /** Requests handed to the pod and not answered yet. */
  calls = 0;
  /** Keys of the translations that were its host ports, also under earlier addresses of the node. */
  readonly #host_ports = new Set<string>();

  constructor(
    public spec: PodSpec,
    public slot: number,
    readonly ref: ActorRef<PodMessage>,
    public deleting: boolean,
  ) {}

  /** For how long its namespace has been missing; undefined while it is there. */
  missingFor(there: boolean, now_ms: number): number | undefined {
    if (there) this.#missing_since_ms = undefined;
    else this.#missing_since_ms ??= now_ms;
    return this.#missing_since_ms === undefined ? undefined : now_ms - this.#missing_since_ms;
  }

  /** How it is recognised in a snapshot; remembers its host ports. */
  identity(node: PodNode): PodIdentity {
    const desired = desiredPod(this.spec, { ...node, tables: podTables(this.slot) });
    const identity = podIdentity(this.spec, desired);
    for (const key of identity.host_ports) this.#host_ports.add(key);
    return { ...identity, host_ports: [...this.#host_ports] };
  }
}

export class PodTable extends Map<PodKey, PodEntry> {
  conflictOf(spec: PodSpec): Conflict<PodSpec> | undefined {
    return conflictOf(
      spec,
      [...this.values()].map((pod) => pod.spec),
    );
  }

  buffersMissing(spec: PodSpec, total: number): number {
    return buffersMissing(
      spec,
      [...this.values()].map((pod) => pod.spec),
      total,
    );
  }

  freeSlot(taken: readonly number[]): number {
    return lowestFreeSlot(new Set([...taken, ...[...this.values()].map(({ slot }) => slot)]));
  }

  holdings(snapshot: Snapshot, node: PodNode): Holdings {
    return assignPods(
      snapshot.objects.filter((object) => !snapshot.unsure.has(keyOf(object))),
      [...this.values()].map((pod) => pod.identity(node)),
    );
  }

  assignSlots({ pods }: Holdings, taken: readonly number[]): void {
    const claims = [...this].map(([key, { spec, slot }]) => {
      const held = heldSlot(pods.get(podInterfaceTag(spec)) ?? []);
      return { key, wished: slot, ...(held !== undefined && { held }) };
    });
    for (const [key, slot] of assignSlots(claims, taken)) this.get(key)!.slot = slot;
  }

  describe() {
    return [...this].map(([key, { spec, slot, deleting }]) => ({
      pod: podName(spec.workload, spec.interface_name),
      key,
      addresses: addressesOf(spec),
      slot,
      deleting,
    }));
  }

  /** True for the route to an address that a pod has now, whoever made it. */
  claims(object: VppObject): boolean {
    if (object.kind !== 'route' || object.table_id !== default_table) return false;
    for (const { spec } of this.values()) {
      if (addressesOf(spec).some((address) => hostPrefix(address) === object.prefix)) return true;
    }
    return false;
  }
}
