/** Who computes the checksums of what the host sends by its taps: see `pods/software-checksums.ts`. */
import type { HostNetwork } from '../linux/network.js';
import { within } from '../linux/within.js';
import type { Log } from '../log.js';

export class TapChecksums {
  /** They were taken from the taps, of which a new VPP makes others. Undefined: an earlier life may have. */
  #taken: boolean | undefined;
  #told = '';

  /** `names`: of the taps, which are those of the uplinks. */
  constructor(
    private readonly host: HostNetwork,
    private readonly names: readonly string[],
    private readonly log: Pick<Log, 'warn'>,
  ) {}

  /**
   * To be called with each VPP. They are given back where they were taken, once in each life also where it does not know that: the taps are ours, and
   * VPP makes them with checksums. From then on they are the host's matter.
   */
  set(in_software: boolean): void {
    if (!in_software && this.#taken === false) return;
    if (in_software) this.#taken = true;
    try {
      within(this.host.open(), (namespace) => {
        for (const name of this.names)
          if (namespace.link(name)?.kind === tap_kind) namespace.setChecksums(name, !in_software);
      });
      this.#taken = in_software;
      this.#told = '';
    } catch (error) {
      const { message } = error as Error;
      if (message !== this.#told)
        this.log.warn(
          { err: error },
          in_software
            ? `uplink(checksums) ${message}: TCP and UDP of the host do not reach pods of other nodes by WireGuard`
            : `uplink(checksums) ${message}: the host goes on computing the checksums of what it sends by its taps`,
        );
      this.#told = message;
    }
  }
}

/** Linux's name of the devices of /dev/net/tun. */
const tap_kind = 'tun';
