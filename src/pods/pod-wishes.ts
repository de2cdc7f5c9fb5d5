/** What a pod is to have in VPP, as far as it may: a host port is that of the first one who asks for it. */
import { desiredPod, mtuOfNetwork, networkOfPod, podMtu } from '../desired/pod.js';
import { isNatFlag } from '../desired/pod-settings.js';
import { podTables } from '../desired/tables.js';
import type { PodNode } from '../messages/pod.js';
import { keyOf, type ObjectKey, type VppObject } from '../objects/object.js';
import { type PodKey, type PodSpec, podName } from '../pod/spec.js';
import type { TranslationOwner, TranslationOwners } from '../reconcile/translation-owners.js';

/** As whom a pod claims translations. */
export function translationOwner({ key, workload, interface_name }: PodSpec): TranslationOwner {
  const name = podName(workload, interface_name);
  return { by: 'pods', id: key, name, workload: `${workload.namespace}/${workload.pod}` };
}

/** What it depends on beside the spec. */
interface Place {
  readonly node: PodNode;
  readonly slot: number;
}

/** For a person. */
export function networkGone(network_name: string): string {
  return `the network ${network_name} is not there: create Network ${network_name}, see under /debug/sync what is said of it, set multinetEnabled in CALICOVPP_FEATURE_GATES where it is false, or correct network_name in the NetworkAttachmentDefinition`;
}

export class PodWishes {
  readonly #key: PodKey;
  readonly #translations: TranslationOwners;
  /** They are compared before a transaction and after it. */
  #last:
    | { readonly spec: PodSpec; readonly place: Place; readonly objects: readonly VppObject[] }
    | undefined;
  #lack = '';

  constructor(key: PodKey, translations: TranslationOwners) {
    this.#key = key;
    this.#translations = translations;
  }

  /** The same list for the same spec and place, unless something was lacking: that may be free by now. `there`: what VPP has. */
  of(spec: PodSpec, place: Place, there: () => Iterable<VppObject>): readonly VppObject[] {
    if (this.#last?.spec !== spec || this.#last.place !== place || this.#lack !== '') {
      const { node, slot } = place;
      const inputs = { ...node, mtu: podMtu(spec, mtuOfNetwork(spec, node)), tables: podTables(slot) };
      this.#lack = networkOfPod(spec, node.networks) === undefined ? networkGone(spec.network_name) : '';
      const objects = desiredPod(spec, inputs).filter((object) => this.#mayHave(spec, object));
      // While pools are not known, what was known of them before holds.
      if (node.pools === undefined) objects.push(...[...there()].filter(isNatFlag));
      this.#last = { spec, place, objects };
    }
    return this.#last.objects;
  }

  /** Why they are not all that the pod asks for; empty when they are. */
  get lack(): string {
    return this.#lack;
  }

  /** VPP holds them, and no others: what the pod has claimed beside them is free. */
  areThere(): void {
    const keys = new Set<ObjectKey>();
    for (const object of this.#last?.objects ?? [])
      if (object.kind === 'translation') keys.add(keyOf(object));
    this.#translations.release({ by: 'pods', id: this.#key }, keys);
  }

  /** VPP holds nothing of the pod. */
  areGone(): void {
    this.#last = undefined;
    this.#translations.release({ by: 'pods', id: this.#key });
  }

  /** A host port that is another interface's of the same pod is no lack: the ports are the pod's, and lead to the first. */
  #mayHave(spec: PodSpec, object: VppObject): boolean {
    if (object.kind !== 'translation') return true;
    const owner = translationOwner(spec);
    const holder = this.#translations.claim(owner, keyOf(object));
    if (holder === undefined) return true;
    const text = `host port ${object.protocol} ${object.address} ${object.port} is that of ${holder.name}`;
    if (holder.workload !== owner.workload) this.#lack = `${text}: delete that one, or use another port`;
    return false;
  }
}
