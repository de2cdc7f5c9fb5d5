/**
 * Who is known behind the uplinks, for the next VPP to know from its first packet. The packet for which a neighbour has to be asked is lost behind
 * cnat's look-up: its flow has a session by then, and what gives that its source NAT and its way back is run for no later packet.
 */
import { type Clock, orAborted, type Timer } from '../clock.js';
import type { KnownNeighbour } from '../objects/routing.js';
import type { CapturedUplink } from './captured.js';
import type { VppPort } from './node-in-vpp.js';
import { gatewaysOf } from './uplink-of.js';

/** VPP asks who has been silent for 30 s whether he is there, unless it is configured otherwise. */
const look_ms = 10_000;
/** One that was met longer ago may be another by now. */
const read_max_ms = 60_000;
/** Of one uplink. VPP is told them while the host is without its network: some 20 ms. */
export const introduced_max = 1024;
/** What is answered later is not waited for. */
const introduce_ms = 200;

/** `answers`: it has just done so. */
export interface HeardNeighbour extends KnownNeighbour {
  readonly answers: boolean;
}

export class KnownNeighbours {
  /** As VPP said last. No longer read than kept: of a VPP that is dead by now nobody can ask. */
  readonly #read = new Map<
    string,
    { readonly at_ms: number; readonly neighbours: readonly KnownNeighbour[] }
  >();
  #timer: Timer | undefined;

  constructor(
    private readonly vpp: Pick<VppPort, 'neighbours' | 'introduce'>,
    private readonly clock: Clock,
    private readonly warn: (text: string) => void,
  ) {}

  /** VPP has these uplinks, and is asked from now on. Idempotent. */
  begin(uplinks: readonly string[]): void {
    this.#timer ??= this.clock.after(look_ms, () => {
      this.#timer = undefined;
      this.begin(uplinks);
      // A VPP that does not answer is somebody else's matter.
      for (const uplink of uplinks)
        this.vpp.neighbours(uplink).then(
          (neighbours) =>
            this.#read.set(uplink, {
              at_ms: this.clock.now_ms(),
              neighbours: neighbours.slice(0, introduced_max),
            }),
          () => undefined,
        );
    });
  }

  end(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  /**
   * Whom a new VPP is told of on this uplink. `heard`: who has answered Linux there, at some time, which since the uplink is Linux's is later than VPP
   * was asked. Gateways are left out: that they answer VPP has to be seen.
   */
  of(uplink: CapturedUplink, heard: readonly HeardNeighbour[]): KnownNeighbour[] {
    const read = this.#read.get(uplink.link.name);
    const is_fresh = read !== undefined && this.clock.now_ms() - read.at_ms <= read_max_ms;
    const by_linux = new Map(heard.map(({ address, mac }) => [address, mac]));
    const known = new Map(
      heard.filter(({ answers }) => answers).map(({ address, mac }) => [address, { address, mac }]),
    );
    for (const { address, mac } of is_fresh ? read.neighbours : [])
      known.set(address, { address, mac: by_linux.get(address) ?? mac });
    for (const gateway of gatewaysOf(uplink)) known.delete(gateway);
    return [...known.values()].slice(0, introduced_max);
  }

  /** VPP has those of these uplinks, which are down: what is down asks nobody. It may do without: the host has no network meanwhile. */
  async introduce(met: ReadonlyMap<string, readonly KnownNeighbour[]>, signal: AbortSignal): Promise<void> {
    const told = Promise.all([...met].map(([uplink, neighbours]) => this.vpp.introduce(uplink, neighbours)));
    const late = new AbortController();
    const timer = this.clock.after(introduce_ms, () => late.abort(new Error('no answer yet')));
    try {
      await orAborted(told, AbortSignal.any([signal, late.signal]));
    } catch (error) {
      signal.throwIfAborted();
      this.warn(`VPP is not told of all neighbours: ${(error as Error).message}`);
    } finally {
      timer.cancel();
    }
  }
}
