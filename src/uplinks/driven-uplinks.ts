/** How the uplinks that VPP has are driven: shown to whoever asks, and told once for each take-over. */
import type { ActorContext } from '../actor-system.js';
import type { VppUp } from '../messages/vpp.js';
import { type EffectiveUplink, effectiveUplink, nothing_told, type Polled } from '../uplink/effective.js';
import type { VppPort } from '../uplink/node-in-vpp.js';
import type { Taken } from '../uplink/taken.js';
import type { UplinkSettings } from '../uplink/uplink-settings.js';

export class DrivenUplinks {
  #polled: Polled = nothing_told;

  constructor(
    private readonly ctx: Pick<ActorContext<never>, 'event' | 'log'>,
    private readonly vpp: Pick<VppPort, 'read'>,
    private readonly settings: Pick<UplinkSettings, 'asked_gso' | 'inputs'>,
  ) {}

  of(taken: Taken | undefined): readonly EffectiveUplink[] {
    const gso = { asked: this.settings.asked_gso, on: this.settings.inputs.gso };
    return (taken?.uplinks ?? []).map((each, at) =>
      effectiveUplink(taken!.captured[at]!, each, gso, this.#polled),
    );
  }

  /** VPP has them anew. `isOver`: whether this VPP is another one's business by now. */
  taken(taken: Taken, up: VppUp, isOver: () => boolean): void {
    const { workers, numa } = up;
    this.#polled = { objects: [], workers, numa };
    this.#tell(taken);
    void this.#readPolled(taken, up, isOver);
  }

  /** In short, of gauges. */
  gauges(taken: Taken | undefined): { readonly drivers: string; readonly slower: string } {
    const driven = this.of(taken);
    return {
      drivers: driven.map(({ name, driver }) => `${name} ${driver}`).join(' '),
      slower: driven
        .flatMap(({ name, slower }) => slower.map((why) => `${name}: ${why}`))
        .join('; ')
        .slice(0, 400),
    };
  }

  #tell(taken: Taken): void {
    const { ctx } = this;
    for (const { name, driver, passed_over = {}, slower } of this.of(taken)) {
      ctx.event('uplink', `${name} is driven by ${driver}`);
      const against = Object.entries(passed_over).map(([other, why]) => `${other}: ${why}`);
      if (against.length > 0)
        ctx.log.info({ name, driver }, `uplink(driver) ${name}: ${driver}; not ${against.join('; not ')}`);
      for (const why of slower) ctx.log.warn({ name, driver }, `uplink(driver) ${name}: ${why}`);
    }
  }

  /**
   * Which worker of VPP has which queue: VPP chooses it. And how many queues there are, where it is not VPP's driver that says so. For a person alone:
   * without it nothing is lost.
   */
  async #readPolled(taken: Taken, { workers, numa }: VppUp, isOver: () => boolean): Promise<void> {
    const told = this.of(taken);
    if (workers === 0 && told.every(({ rx_queues }) => rx_queues !== undefined)) return;
    try {
      const { objects } = await this.vpp.read(['node']);
      if (isOver()) return;
      this.#polled = {
        objects: objects.filter(({ kind }) => kind === 'rx_placement' || kind === 'interface_rx_mode'),
        workers,
        numa,
      };
    } catch (error) {
      this.ctx.log.warn({ err: error as Error }, 'uplink(driver) it is not known how VPP polls the uplinks');
      return;
    }
    for (const [at, { name, driver, slower }] of this.of(taken).entries())
      for (const why of slower.filter((each) => !told[at]?.slower.includes(each)))
        this.ctx.log.warn({ name, driver }, `uplink(driver) ${name}: ${why}`);
  }
}
