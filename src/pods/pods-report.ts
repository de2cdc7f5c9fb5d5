/** What others are told of all pods together: the node's readiness, who waits for them with the uplinks, who has translations beside theirs. */
import type { NodePrepared } from '../messages/node.js';
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
}

export class PodsReport {
  /** Uplink waits for the pods of a VPP that has no uplinks yet. */
  prepared: NodePrepared | undefined;
  /** VPP has all its pods, as far as they can be there. */
  #in_place = false;

  constructor(
    private readonly deps: Pick<CniDeps, 'uplink' | 'translations' | 'report'>,
    private readonly settling: Settling,
  ) {}

  /** What was known of VPP is void. */
  forget(): void {
    this.#in_place = false;
  }

  tell(now: PodsNow): void {
    const { settled, reason } = this.settling.state(now.is_sweeping);
    this.#tellInPlace(now);
    const alone = now.left_alone;
    const more =
      alone > 0 ? `; ${alone} interfaces in living namespaces have no record, and are left alone` : '';
    this.deps.report({ settled, reason: `${reason}${more}` });
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
