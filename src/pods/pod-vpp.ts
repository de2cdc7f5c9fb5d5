/** What a pod knows of its VPP: where in it it is programmed, and what it holds for it. */
import { isDeepStrictEqual } from 'node:util';
import { type ActorContext, type ActorRef, codeOf } from '../actor-system.js';
import { default_table } from '../desired/tables.js';
import type { CniMessage } from '../messages/cni.js';
import type { PodMessage, PodNode } from '../messages/pod.js';
import type { VppObject } from '../objects/object.js';
import type { PodKey, PodSpec } from '../pod/spec.js';
import type { Transaction, TransactionResult } from '../reconcile/transaction.js';
import { PodObjects } from './pod-objects.js';

type Part = Extract<PodMessage, { type: 'Part' }>;
/** Where in VPP it is programmed, and with what. */
export type Place = Pick<Part, 'generation' | 'node' | 'slot' | 'no_room'>;

export class PodVpp {
  /** Undefined: there is no VPP to be programmed. */
  place: Place | undefined;
  /** What VPP holds for this pod; undefined: not known. */
  objects: PodObjects | undefined;
  /** Why there is no place. */
  unready = 'VPP is not ready yet';
  readonly #ctx: ActorContext<PodMessage>;
  readonly #key: PodKey;
  readonly #cni: ActorRef<CniMessage>;
  /** A Part of this generation, or of an earlier one, is void. */
  #lost = 0;
  #asked = false;
  /** When the pod last changed something in VPP. */
  #busy_ms = -1;

  constructor(ctx: ActorContext<PodMessage>, key: PodKey, cni: ActorRef<CniMessage>) {
    this.#ctx = ctx;
    this.#key = key;
    this.#cni = cni;
  }

  get generation(): number | undefined {
    return this.place?.generation;
  }

  /** Why the pod may not send, whatever VPP has of it; for a person. */
  get withheld(): string | undefined {
    return this.place?.node.held === true ? 'VPP is not given the uplinks of the node yet' : undefined;
  }

  /** What it holds although the pod ends; undefined: not known. */
  get left(): { readonly generation: number; readonly objects: readonly VppObject[] } | undefined {
    const { generation, objects } = this;
    return generation === undefined || objects === undefined
      ? undefined
      : { generation, objects: [...objects.all()] };
  }

  /** That VPP, or the connection to it, is no more. */
  lose(generation: number, reason: string): void {
    this.#lost = generation;
    this.place = undefined;
    this.objects = undefined;
    this.unready = `VPP is not ready: ${reason}`;
  }

  /** What VPP holds is not known any more, nor on its way. */
  ground(): void {
    this.objects = undefined;
    this.#asked = false;
  }

  /** Something has been changed, or may have been, just now: what was read before tells nothing. */
  changed(): void {
    this.#busy_ms = this.#ctx.clock.now_ms();
  }

  /**
   * Takes in what came of a transaction of the pod. Answers why it failed; undefined: it did not, or there is another VPP, or what was known
   * of this one is void.
   */
  settle({ generation, operations }: Transaction, outcome: TransactionResult | Error): string | undefined {
    this.changed();
    if (!(outcome instanceof Error)) {
      if (this.objects === undefined) return undefined;
      this.objects.settle(outcome);
      // What else VPP has lost is not among the outcomes.
      if (outcome.lost_state) this.objects = undefined;
      return outcome.error?.message;
    }
    switch (codeOf(outcome)) {
      case 'stale_generation':
        // That VPP, or the connection to it, is no more; a Part with what holds then is on its way.
        if (this.generation === generation) this.place = undefined;
        this.objects = undefined;
        return undefined;
      case 'abandoned':
      case 'overflow':
        this.objects?.giveBack(operations, outcome);
        return outcome.message;
      default:
        // It may have been carried out, in part or whole.
        this.objects = undefined;
        return outcome.message;
    }
  }

  /** There is room for an interface, whatever the last Part has said. */
  hasRoom(): void {
    if (this.place?.no_room === undefined) return;
    const { no_room: _, ...place } = this.place;
    this.place = place;
  }

  /** Has Part told. `again`: whether it has been asked for or not. */
  ask(again = false): void {
    if (this.#asked && !again) return;
    this.#asked = true;
    this.#cni.tell({ type: 'Observe', key: this.#key });
  }

  /** What has overtaken it says that this VPP, or the connection to it, is no more. */
  isVoid({ generation }: Part): boolean {
    return generation <= this.#lost;
  }

  /** What all pods are programmed with. True: it is another than before for a pod that is one of these, or is to be. */
  hears(node: PodNode, specs: readonly (PodSpec | undefined)[]): boolean {
    const { place } = this;
    if (place === undefined) return false;
    this.place = { ...place, node };
    const own = ({ networks, ...rest }: PodNode) => {
      const names = specs.flatMap((spec) => spec?.network_name || []);
      return [
        rest,
        names.map((name) => networks?.find((network) => network.name === name) ?? networks === undefined),
      ];
    };
    return !isDeepStrictEqual(own(place.node), own(node));
  }

  /** True: `objects` is what VPP held by then. */
  learn(part: Part): boolean {
    const { asked_ms, holdings } = part;
    if (this.objects !== undefined && this.#busy_ms >= asked_ms) return false;
    // What the reading passed over is still there if it was: this is the same VPP. Without that it tells nothing.
    const passed = holdings.whole ? [] : this.objects?.all();
    if (this.#busy_ms > asked_ms || passed === undefined) {
      this.ask(true);
      return false;
    }
    const unread = [...passed].filter(isAmongMany);
    this.place = part;
    this.objects = new PodObjects([...holdings.objects, ...unread], holdings.sw_if_index);
    this.#asked = false;
    return true;
  }
}

/** Why a pod gets nothing of VPP, which would make an interface that does not work; undefined: it may. */
export function whyNot(
  spec: PodSpec,
  { no_room, node }: Place,
  { has_tap }: Pick<PodObjects, 'has_tap'>,
): string | undefined {
  if (spec.network_name !== '' && node.networks === undefined)
    return `the network ${spec.network_name} is not known yet: the Kubernetes API has not told which there are`;
  return has_tap ? undefined : no_room;
}

/** Where other owners have objects by the thousand: only whole readings look there. */
function isAmongMany(object: VppObject): boolean {
  return object.kind === 'translation' || (object.kind === 'route' && object.table_id === default_table);
}
