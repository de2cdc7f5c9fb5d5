/** What others are told of all pods together: the node's readiness, who waits for them with the uplinks, who has translations beside theirs. */
import type { ActorContext } from '../actor-system.js';
import type { Timer } from '../clock.js';
import type { CniMessage } from '../messages/cni.js';
import type { NodePrepared } from '../messages/node.js';
import type { PodKey } from '../pod/spec.js';
import type { CniDeps } from './cni-deps.js';
import type { Settling } from './settling.js';

export interface PodsNow {
  /** There is a VPP that can be programmed. */
  readonly has_vpp: boolean;
  /** Some of the Go implementation's are still to be written down. */
  readonly is_importing: boolean;
  readonly is_sweeping: boolean;
  /** Interfaces in living namespaces that no record names. */
  readonly left_alone: number;
  /** What VPP holds has been read. */
  readonly is_surveyed: boolean;
  /** Not answered yet. */
  readonly adds: number;
}

export class PodsReport {
  /** Uplink waits for the pods of a VPP that has no uplinks yet. */
  prepared: NodePrepared | undefined;
  /** VPP has all its pods, as far as they can be there. */
  #in_place = false;

  /** Of pods that have not come to rest. */
  #late: Timer | undefined;

  constructor(
    private readonly ctx: Pick<ActorContext<CniMessage>, 'after' | 'log'>,
    private readonly deps: Pick<
      CniDeps,
      'uplink' | 'translations' | 'policed' | 'addresses' | 'report' | 'settings'
    >,
    private readonly settling: Settling,
  ) {}

  /** What was known of VPP is void. */
  forget(): void {
    this.#late?.cancel();
    this.#in_place = false;
  }

  /** What the VPP of this generation holds is known, and will be told to each pod. Has SettledLate told. */
  begin(generation: number, pods: Iterable<PodKey>): void {
    this.settling.begin(pods);
    this.#late?.cancel();
    this.#late = this.ctx.after(this.deps.settings.settle_ms, { type: 'SettledLate', generation });
  }

  /** `nameOf`: of a pod's actor. */
  late(nameOf: (key: PodKey) => string | undefined): void {
    for (const key of this.settling.giveUp())
      this.ctx.log.warn(
        { pod: nameOf(key), key },
        'pods(settle) not dealt with in time: the node does not wait for it',
      );
  }

  tell(now: PodsNow): void {
    const { settled, reason } = this.settling.state(now.is_sweeping);
    this.#tellInPlace(now);
    const alone = now.left_alone;
    const more =
      alone > 0 ? `; ${alone} interfaces in living namespaces have no record, and are left alone` : '';
    this.deps.report({ settled, reason: `${reason}${more}` });
    this.lookForUnpoliced(now);
  }

  /** Each pod of a record has said so when it began. What has none, and is left alone, is judged by what an earlier life has told VPP. */
  lookForUnpoliced({ is_surveyed, is_importing, is_sweeping, left_alone, adds }: PodsNow): void {
    if (!is_surveyed || is_importing || is_sweeping || left_alone > 0 || adds > 0) return;
    if (!this.settling.state(false).settled) return;
    this.deps.policed.complete('cni');
    this.deps.addresses?.complete();
  }

  /** What is left of others need not have gone. */
  #tellInPlace({ has_vpp, is_importing }: PodsNow): void {
    // Those that are still to be imported have pods, too.
    if (this.#in_place || !has_vpp || is_importing || !this.settling.isAtRest) return;
    this.#in_place = true;
    const { deps, prepared } = this;
    deps.translations.areWhole('pods');
    if (prepared !== undefined) deps.uplink.tell({ type: 'InPlace', of: 'pods', round: prepared.round });
  }
}
