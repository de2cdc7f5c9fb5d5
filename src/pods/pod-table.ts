/** The pods of this node as the CNI actor knows them, and what follows from all of them together. */
import type { ActorRef } from '../actor-system.js';
import {
  assignSlots,
  type BufferPool,
  buffersMissing,
  type Conflict,
  conflictOf,
  heldSlot,
  starved,
} from '../desired/admission.js';
import { hostPorts } from '../desired/pod.js';
import { default_table, hostPrefix } from '../desired/tables.js';
import type { PodMessage, PodNode } from '../messages/pod.js';
import type { Translation } from '../objects/cnat.js';
import { keyOf, type ObjectKey, type VppObject } from '../objects/object.js';
import { podInterfaceTag } from '../pod/names.js';
import { addressesOf, buffersNeeded, type PodKey, type PodSpec, podName } from '../pod/spec.js';
import type { Snapshot } from '../reconcile/snapshot.js';
import type { TranslationOwners } from '../reconcile/translation-owners.js';
import { assignPods, type Holdings, type PodIdentity, podIdentity } from './holdings.js';
import { translationOwner } from './pod-wishes.js';

type Held = Pick<Snapshot, 'objects'> & Partial<Pick<Snapshot, 'unsure'>>;

export class PodEntry {
  /** What a request makes of it that is not answered yet. */
  coming: PodSpec | undefined;
  #missing_since_ms: number | undefined;
  /** Requests handed to the pod and not answered yet. */
  calls = 0;
  /** What it was told last that this VPP holds for it, as long as it has no record that answers for that. */
  told: readonly VppObject[] = [];

  /** `spec`: what its record says that it is; before it has one, what is asked for. */
  constructor(
    public spec: PodSpec,
    public slot: number,
    readonly ref: ActorRef<PodMessage>,
    public deleting: boolean,
    /** Of its actor. */
    readonly name: string,
  ) {}

  /** What it is, and may be in a moment: it may end as either. */
  get specs(): readonly PodSpec[] {
    return this.coming === undefined ? [this.spec] : [this.spec, this.coming];
  }

  /** That which takes most of VPP's buffers. */
  get largest(): PodSpec {
    const { spec, coming = spec } = this;
    return buffersNeeded(coming) > buffersNeeded(spec) ? coming : spec;
  }

  /** For how long its namespace has been missing; undefined while it is there. */
  missingFor(there: boolean, now_ms: number): number | undefined {
    if (there) this.#missing_since_ms = undefined;
    else this.#missing_since_ms ??= now_ms;
    return this.#missing_since_ms === undefined ? undefined : now_ms - this.#missing_since_ms;
  }
}

export class PodTable extends Map<PodKey, PodEntry> {
  /**
   * A name for the actor of a pod that comes: that of the pod, as people know it. Of two that have one, as a sandbox and the one that takes its
   * place, the later is told by its namespace; a pod without a name by its key.
   */
  nameFor({ key, netns, workload, interface_name }: PodSpec): string {
    const clean = (name: string): string => name.replace(/\p{Cc}+/gu, '?');
    if (workload.pod === '') return clean(key);
    const name = clean(podName(workload, interface_name).slice('pod '.length));
    const is_taken = [...this.values()].some((entry) => entry.name === name);
    return is_taken ? `${name} (${clean(netns)})` : name;
  }

  conflictOf(spec: PodSpec): Conflict<PodSpec> | undefined {
    return conflictOf(spec, this.#specs());
  }

  *#specs(): Iterable<PodSpec> {
    for (const { spec, coming } of this.values()) {
      yield spec;
      if (coming !== undefined) yield coming;
    }
  }

  /** `deleting`: those on their way out count too. */
  buffersMissing(spec: PodSpec, pool: BufferPool, deleting: boolean): number {
    const others = [...this.values()].filter((pod) => deleting || !pod.deleting);
    return buffersMissing(
      spec,
      others.map(({ largest }) => largest),
      pool,
    );
  }

  /** Pods that VPP holds no interface of and has no buffers for. */
  starved({ pods }: Holdings, pool: BufferPool): ReadonlyMap<PodKey, number> {
    const isMade = ({ spec }: PodEntry): boolean =>
      (pods.get(podInterfaceTag(spec)) ?? []).some(({ kind }) => kind === 'tap');
    const entries = [...this.values()];
    const specs = (some: readonly PodEntry[]): PodSpec[] => some.map(({ largest }) => largest);
    return starved(
      specs(entries.filter(isMade)),
      specs(entries.filter((pod) => !isMade(pod) && !pod.deleting)),
      pool,
    );
  }

  slots(): number[] {
    return [...this.values()].map(({ slot }) => slot);
  }

  /** Whose what VPP holds is; see `Snapshot.unsure`. */
  holdings({ objects, unsure }: Held, translations: TranslationOwners): Holdings {
    return assignPods(
      unsure === undefined ? objects : objects.filter((object) => !unsure.has(keyOf(object))),
      [...this.values()].map(identity),
      translations,
    );
  }

  /**
   * Host ports that VPP holds for the pod that wants them are that pod's, before anybody else claims them, and whoever else has not spoken
   * yet: a pod's own record is enough to know it by.
   */
  claimHostPorts({ objects, unsure }: Held, { node }: PodNode, translations: TranslationOwners): void {
    const there = new Map<ObjectKey, Translation>();
    for (const object of objects) {
      if (object.kind === 'translation' && !unsure?.has(keyOf(object))) there.set(keyOf(object), object);
    }
    if (there.size === 0) return;
    for (const { spec, specs } of this.values()) {
      for (const port of specs.flatMap((each) => hostPorts(each, { node }))) {
        const held = there.get(keyOf(port));
        if (held !== undefined && leadsTo(held, port)) {
          translations.claim(translationOwner(spec), keyOf(port));
        }
      }
    }
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
    for (const { specs } of this.values()) {
      if (specs.flatMap(addressesOf).some((address) => hostPrefix(address) === object.prefix)) return true;
    }
    return false;
  }
}

function identity({ spec, specs }: PodEntry): PodIdentity {
  return { ...podIdentity(spec), addresses: specs.flatMap((each) => podIdentity(each).addresses) };
}

/** Whether all that `held` leads to is among what `port` is to lead to. */
function leadsTo(held: Translation, port: Translation): boolean {
  const addresses = new Set(port.backends.map(({ address }) => address));
  return held.backends.every(({ address }) => addresses.has(address));
}
