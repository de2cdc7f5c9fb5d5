/**
 * Which gateways answer: Linux before the take-over, and VPP after it. One that answered the one and not the other shows that VPP does not reach
 * the network.
 */

import type { Clock } from '../clock.js';
import type { UplinkSpec } from '../config.js';
import { isLinkLocal } from '../ip/prefix.js';
import type { CapturedUplink } from './captured.js';
import { driverFor } from './drivers.js';
import type { VppPort } from './node-in-vpp.js';
import { TakeOverFailed, UplinkError } from './uplink-error.js';
import type { UplinkHost } from './uplink-host.js';
import { gatewaysOf } from './uplink-of.js';
import { lostWays } from './ways.js';

const poll_ms = 50;
/**
 * For a client of DHCP to get its lease again: it has been started anew when the host got its uplink back. One that has been answered otherwise, with
 * another address, has it by then; one that has not been answered gets it through VPP as well.
 */
const lease_wait_ms = 2000;
const waits_for_services = 'services of the host changing the uplink';
/**
 * A card that gets another driver trains its link anew, which takes 2 to 4 s by copper, and VPP sends nothing before it knows that it is there: its dpdk plugin looks
 * now and then.
 */
const carrier_ms = 8000;
/** A switch that has lost the link's carrier passes nothing for half a minute (IEEE 802.1D), and a card takes some seconds itself. */
const silence_ms_max = 60_000;

export interface GatewayDeps {
  readonly host: Pick<UplinkHost, 'capture' | 'probe'>;
  readonly vpp: Pick<VppPort, 'neighbours'>;
  readonly nudge: (gateway: string) => void;
  readonly clock: Clock;
  readonly waitsFor: (what: string | undefined) => void;
  readonly warn: (text: string) => void;
}

export interface GatewaySettings {
  readonly specs: readonly UplinkSpec[];
  readonly verify_ms: number;
  readonly survey_ms: number;
  readonly services_ms: number;
}

export class Gateways {
  /**
   * Gateways that answered Linux and not VPP, by uplink, since the last take-over that went well, and when that was seen last. Not on the disk: no
   * failed take-over ends the process, and whoever begins it anew wants another attempt.
   */
  private readonly unheard = new Map<
    string,
    { readonly gateways: ReadonlySet<string>; readonly at_ms: number }
  >();

  /** What was read last has leases that the device may lack. */
  is_lending = false;

  constructor(
    private readonly deps: GatewayDeps,
    private readonly settings: GatewaySettings,
  ) {}

  /** All is well: silence of before says nothing more. */
  forget(): void {
    this.unheard.clear();
  }

  /**
   * Reads the devices, and waits a little for their gateways to answer, so that it is known which ones do; and, for as long as services of the host need,
   * for ways out that it had `before`: without them it is in the middle of a change. What it lacks is not waited for as long where it is but a lease:
   * it is taken over with that, of `leases`. Rejects with UplinkError where a device is not fit.
   */
  async survey(
    before: readonly CapturedUplink[],
    leases: readonly CapturedUplink[],
    signal: AbortSignal,
  ): Promise<CapturedUplink[]> {
    const { host, clock, nudge, waitsFor } = this.deps;
    const { survey_ms, services_ms } = this.settings;
    const began_ms = clock.now_ms();
    for (;;) {
      const waited_ms = clock.now_ms() - began_ms;
      const lending = waited_ms >= lease_wait_ms ? leases : undefined;
      const captured = this.captureUnless(waited_ms >= services_ms, lending);
      const is_whole = captured !== undefined && lostWays(before, captured).length === 0;
      waitsFor(is_whole ? 'gateways answering Linux' : waits_for_services);
      if (captured !== undefined) {
        const silent = captured.flatMap((uplink) =>
          gatewaysOf(uplink).filter((gateway) => !uplink.answering_gateways.includes(gateway)),
        );
        if (silent.length === 0 && is_whole) return captured;
        host.probe(captured);
        if (waited_ms >= (is_whole ? survey_ms : services_ms)) {
          this.mustHaveAnswered(captured);
          return captured;
        }
        for (const gateway of silent) nudge(gateway);
      }
      await clock.sleep(poll_ms, signal);
    }
  }

  /**
   * The devices as they are by now: services of the host, or a script, may have had seconds since they were surveyed. Those that are in the middle of a
   * change have their time to give the host its ways out again. Rejects with UplinkError where a device is fit no more.
   */
  async afterServices(surveyed: readonly CapturedUplink[], signal: AbortSignal): Promise<CapturedUplink[]> {
    const { clock, waitsFor } = this.deps;
    const deadline = clock.now_ms() + this.settings.services_ms;
    const lends_at = clock.now_ms() + (this.is_lending ? 0 : lease_wait_ms);
    for (;;) {
      const is_late = clock.now_ms() >= deadline;
      const lending = clock.now_ms() >= lends_at ? surveyed : undefined;
      const now = this.captureUnless(is_late, lending);
      if (now !== undefined && (is_late || lostWays(surveyed, now).length === 0))
        return now.map((uplink, at) => withAnswering(uplink, surveyed[at]!.answering_gateways));
      waitsFor(waits_for_services);
      await clock.sleep(poll_ms, signal);
    }
  }

  /** Nothing where a device is not fit: until it is the last word. */
  private captureUnless(
    is_last: boolean,
    lending: readonly CapturedUplink[] | undefined,
  ): CapturedUplink[] | undefined {
    this.is_lending = lending !== undefined;
    try {
      return this.deps.host.capture(this.settings.specs, lending);
    } catch (error) {
      if (!is_last && error instanceof UplinkError) return undefined;
      throw error;
    }
  }

  /**
   * One of which it was seen that VPP does not reach it is asked for again: silence is no proof that VPP does. But it may have gone meanwhile:
   * one that stays silent while another on the same uplink answers is not there. That VPP has the uplink the other one shows.
   */
  private mustHaveAnswered(captured: readonly CapturedUplink[]): void {
    for (const uplink of captured) {
      const { link, answering_gateways } = uplink;
      const before = this.unheard.get(link.name);
      if (before === undefined) continue;
      const unheard = gatewaysOf(uplink).filter((gateway) => before.gateways.has(gateway));
      const silent = unanswered(unheard, new Set(answering_gateways));
      if (silent.length === 0) continue;
      if (answering_gateways.length > 0 && this.deps.clock.now_ms() - before.at_ms >= silence_ms_max) {
        this.deps.warn(
          `gateway ${silent.join(', ')} on ${link.name} answers nobody: not waited for any more`,
        );
        continue;
      }
      throw new UplinkError(
        `gateway ${silent.join(', ')} on ${link.name} has not answered VPP before, and does not answer Linux now: ` +
          'nothing is taken over until it does; see whether it is there',
      );
    }
  }

  /** Gateways that answered Linux must answer through VPP. `meanwhile`: done before they are asked, each time. */
  async verify(
    captured: readonly CapturedUplink[],
    signal: AbortSignal,
    meanwhile: () => void,
  ): Promise<void> {
    const { clock, nudge, vpp, waitsFor } = this.deps;
    const began_ms = clock.now_ms();
    for (const uplink of captured) {
      const { link, answering_gateways } = uplink;
      const deadline = began_ms + this.settings.verify_ms + (losesCarrier(uplink) ? carrier_ms : 0);
      waitsFor(`gateways of ${link.name} answering VPP`);
      for (;;) {
        const answered = (await vpp.neighbours(link.name)).map(({ address }) => address);
        const silent = unanswered(answering_gateways, new Set(answered));
        if (silent.length === 0) break;
        if (clock.now_ms() >= deadline) {
          this.unheard.set(link.name, { gateways: new Set(silent), at_ms: clock.now_ms() });
          throw new TakeOverFailed(
            `gateway ${silent.join(', ')} answered Linux on ${link.name} and does not answer VPP; ` +
              'check that the network accepts this driver and VLAN',
          );
        }
        meanwhile();
        for (const gateway of silent) nudge(gateway);
        await clock.sleep(poll_ms, signal);
      }
    }
  }
}

/** VPP gets it from its kernel driver, or starts it itself. */
function losesCarrier(uplink: CapturedUplink): boolean {
  const driver = driverFor(uplink);
  return driver.needs_new_vpp === true || !driver.moves(uplink);
}

/**
 * Gateways that have to answer and have not. Of those with link-local addresses only the one that VPP's best default route
 * uses can be made to answer: one is proof enough.
 */
function unanswered(expected: readonly string[], answered: ReadonlySet<string>): string[] {
  const silent = expected.filter((gateway) => !answered.has(gateway));
  const one_is_there = expected.some((gateway) => isLinkLocal(gateway) && answered.has(gateway));
  return silent.filter((gateway) => !(isLinkLocal(gateway) && one_is_there));
}

/** Those that have answered before count as well, as long as they are its gateways. */
function withAnswering(uplink: CapturedUplink, before: readonly string[]): CapturedUplink {
  const answered = new Set([...before, ...uplink.answering_gateways]);
  return { ...uplink, answering_gateways: gatewaysOf(uplink).filter((gateway) => answered.has(gateway)) };
}
