/** Whose routes hold while they are not told, and for how long: a peer comes back when its session is made anew, or gobgpd is. */
import type { Clock } from '../clock.js';
import type { BgpStep } from './diff.js';
import type { BgpPace } from './pace.js';
import type { BgpPlan } from './plan.js';
import type { RemoteTable } from './remote-table.js';
import type { SeenPeers } from './seen-peers.js';
import { restart_ms_default } from './settings.js';

export interface GracefulRestartOptions extends Pick<BgpPace, 'wait_min_ms'> {
  readonly table: RemoteTable;
  readonly peers: SeenPeers;
  readonly clock: Clock;
}

type PlannedPeers = BgpPlan['peers'];

export class GracefulRestart {
  readonly #options: GracefulRestartOptions;
  /** As they were planned last. */
  #planned: PlannedPeers = new Map();

  constructor(options: GracefulRestartOptions) {
    this.#options = options;
  }

  /** gobgpd is gone. Each peer has its own time, for what is left the usual one. */
  lost(): void {
    const { table, peers, clock } = this.#options;
    peers.forget();
    for (const address of this.#planned.keys()) this.await(address);
    table.lost(clock.now_ms() + restart_ms_default);
  }

  await(address: string): void {
    const { table, clock, wait_min_ms } = this.#options;
    const restart_ms = (this.#planned.get(address)?.restart_s ?? 0) * 1000;
    table.await(address, clock.now_ms() + Math.max(restart_ms, wait_min_ms));
  }

  /** Before peers are touched. `anew`: gobgpd was not brought to what is wanted yet, and nobody knows what its peers have told. */
  begin(planned: PlannedPeers, steps: readonly BgpStep[], anew: boolean): void {
    const { table, peers } = this.#options;
    this.#planned = planned;
    if (anew) for (const address of planned.keys()) this.await(address);
    for (const step of steps)
      if (step.type === 'delete_peer') {
        if (step.comes_back) this.#awaitAnother(step.address);
        else table.release(step.address);
      } else if (step.type === 'update_peer' && step.ends_session) this.#awaitAnother(step.peer.address);
    peers.keep(planned);
    // One whose peer is no more comes not back.
    table.release(...[...table.neighbours()].filter((address) => !planned.has(address)));
  }

  #awaitAnother(address: string): void {
    this.await(address);
    this.#options.peers.ending(address, this.#options.clock.wall_ms());
  }
}
