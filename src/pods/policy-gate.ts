/** An interface that is closed until its policies come denies flows for as long as they go on: pods come when VPP has them. */
import type { ActorContext } from '../actor-system.js';
import type { Timer } from '../clock.js';
import type { CniMessage } from '../messages/cni.js';
import type { PolicedInterfaces } from '../policies/policed-interfaces.js';

/**
 * For so long a VPP is not given pods' interfaces before it has their policies. Of one that is closed a pod has no more than of none, but an
 * ADD that has come meanwhile is to be answered within 4750 ms.
 */
export const policies_ms = 4000;

export class PolicyGate {
  /** VPP is given policies before pods. */
  closed = false;
  private late: Timer | undefined;

  constructor(
    private readonly ctx: ActorContext<CniMessage>,
    private readonly policed: PolicedInterfaces,
  ) {}

  /** Before the pods of this VPP, if it has not its policies yet; `Policed` is told when it has, or when it has taken too long. */
  close(generation: number): void {
    const { ctx } = this;
    this.late?.cancel();
    this.closed = this.policed.whenSettled(generation, () =>
      ctx.tellSelf({ type: 'Policed', generation, late: false }),
    );
    if (this.closed) this.late = ctx.after(policies_ms, { type: 'Policed', generation, late: true });
  }

  /** True: it was closed until now. `current`: the VPP that the node has; of another one nothing counts. */
  open({ generation, late }: Extract<CniMessage, { type: 'Policed' }>, current: number | undefined): boolean {
    if (!this.closed || generation !== current) return false;
    this.closed = false;
    if (late) {
      const text = `VPP has not been given all policies within ${policies_ms} ms: pods are closed until it is`;
      this.ctx.event('policies', text);
      this.ctx.log.warn({ generation }, `pods(policies) ${text}`);
    }
    return true;
  }
}
