/** BGP is started in a gobgpd; where the IPv6 addresses could not be had they are looked for again. */
import { RefusedError } from 'gobgp-grpc-stubs';
import type { Clock } from '../clock.js';
import type { Log } from '../log.js';
import type { BgpPace } from './pace.js';
import type { WantedGlobal } from './plan.js';
import type { BgpSession } from './session.js';

export interface StartingOptions extends Pick<BgpPace, 'look6_first_ms' | 'look6_max_ms'> {
  readonly clock: Clock;
  readonly log: Log;
  /** Whether a gobgpd that began anew could listen on the IPv6 addresses as well. */
  readonly canListenOn6: (global: WantedGlobal) => Promise<boolean>;
}

export interface StartOutcome {
  /** BGP runs as it is wanted. */
  readonly runs: boolean;
  /** Why it does not; empty: nothing is wrong. Absent: nothing is known of it. */
  readonly trouble?: string;
  /** Another gobgpd is to begin anew, and why. */
  readonly renew?: string;
}

export class Starting {
  readonly #options: StartingOptions;
  /** Of the last attempt: told once. */
  #refusal = '';
  /** When IPv6 is looked for again. */
  #look6: { readonly at_ms: number; readonly wait_ms: number } | undefined;

  constructor(options: StartingOptions) {
    this.#options = options;
  }

  async start(session: BgpSession, global: WantedGlobal): Promise<StartOutcome> {
    const { log, look6_first_ms } = this.#options;
    const runs = await session.start(global);
    if (runs === 'other')
      return {
        runs: false,
        renew: 'AS, router id, listening addresses or the use of multiple paths have changed',
      };
    if (runs instanceof RefusedError) {
      // The address is not there yet, or another program has the port.
      const trouble = `BGP cannot be started on port ${global.listen_port}: ${runs.details}`;
      if (trouble !== this.#refusal) log.warn({}, `bgp(start) ${trouble}`);
      this.#refusal = trouble;
      // It keeps those of the addresses that it had by then, and could not have them again.
      return { runs: false, trouble, ...(global.listen_addresses.length > 1 && { renew: trouble }) };
    }
    this.#refusal = '';
    if (runs === 'all') this.#look6 = undefined;
    else if (this.#look6 === undefined) {
      log.warn({}, 'bgp(start) listens on IPv4 alone');
      this.#lookIn(look6_first_ms);
    }
    return { runs: true, trouble: '' };
  }

  /** The IPv6 addresses may have come, or their port be free, since BGP was started without: a gobgpd that begins anew has them. */
  async mayHave6({ listens }: BgpSession, global: WantedGlobal): Promise<boolean> {
    const { clock, look6_max_ms, canListenOn6 } = this.#options;
    if (listens !== 'ip4_alone' || this.#look6 === undefined || clock.now_ms() < this.#look6.at_ms)
      return false;
    this.#lookIn(Math.min(this.#look6.wait_ms * 2, look6_max_ms));
    return await canListenOn6(global);
  }

  #lookIn(wait_ms: number): void {
    this.#look6 = { at_ms: this.#options.clock.now_ms() + wait_ms, wait_ms };
  }
}
