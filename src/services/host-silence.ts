/**
 * Keeps Linux of the node silent about flows that are VPP's (desired/host-silence.ts): the table is there as long as VPP has the uplinks, so that
 * it is there already when VPP dies, and for some seconds after that. A VPP that does not come back by then is not waited for: Linux answers again.
 */
import { isDeepStrictEqual } from 'node:util';
import type { Clock, Timer } from '../clock.js';
import { no_silence, type Served, silence_removal, silenceRules } from '../desired/host-silence.js';
import type { RunCommand } from '../host/command.js';
import type { UndoStep } from '../host/undo/undo-step.js';
import type { Log } from '../log.js';
import { findNft } from './host-services.js';

export interface HostSilenceDeps {
  /** What the end of the node undoes; not that of the uplinks, which is undone when VPP dies. */
  readonly journal: {
    pending(): UndoStep[];
    record(steps: readonly UndoStep[]): void;
    undone(steps: ReadonlySet<UndoStep>): void;
  };
  readonly host_root: string | undefined;
  readonly run: RunCommand;
  readonly clock: Clock;
  readonly log: Log;
}

export type Speaker = 'pods' | 'services';

/** For so long after the end of a VPP its flows are kept from Linux. */
export const silence_ms = 15_000;
const nft_ms = 10_000;
/** Changes come in bursts; and nft is at work a fifth of the time at most. */
const settle_ms = 50;
const pause_for_write = 4;
const retry_first_ms = 1000;
const retry_max_ms = 60_000;

/** Until both have said what they have, what an earlier life has left stays, and no longer than `silence_ms` without a VPP. */
export class HostSilence {
  readonly #deps: HostSilenceDeps;
  readonly #served = new Map<Speaker, () => Iterable<Served> | undefined>();
  #is_on = false;
  /** VPP is gone for too long. */
  #is_over = false;
  #over: Timer | undefined;
  /** What the kernel has; `null`: not known. */
  #there: string | undefined | null = null;
  #next: Timer | undefined;
  #retry_ms = retry_first_ms;
  #turn: Promise<void> | undefined;
  /** Something has changed since the last look at what is wanted. */
  #is_news = false;
  #fault: string | undefined;
  #is_closed = false;

  constructor(deps: HostSilenceDeps) {
    this.#deps = deps;
    this.#wait();
  }

  /**
   * What these have VPP serve by now; it is asked when the table is written. Undefined: a new life of theirs does not know yet, the table stays as it
   * is. Never throws.
   */
  set(by: Speaker, served: () => Iterable<Served> | undefined): void {
    this.#served.set(by, served);
    this.#changed();
  }

  /** Has VPP the uplinks? */
  serve(is_on: boolean): void {
    if (is_on === this.#is_on) return;
    this.#is_on = is_on;
    // A firewall of the host that was loaded anew may have taken the table along.
    if (is_on) this.#there = null;
    this.#is_over = false;
    this.#over?.cancel();
    if (!is_on) this.#wait();
    this.#changed();
  }

  /** Why the kernel has not what it should; it is tried again after 1 to 60 s. */
  get fault(): string | undefined {
    return this.#fault;
  }

  /** Nothing is changed any more; the table is the journal's. Resolves when what is under way has ended. */
  async close(): Promise<void> {
    this.#is_closed = true;
    this.#next?.cancel();
    this.#over?.cancel();
    await this.#turn;
  }

  #wait(): void {
    this.#over = this.#deps.clock.after(silence_ms, () => {
      this.#is_over = true;
      this.#changed();
    });
  }

  #changed(): void {
    this.#is_news = true;
    if (this.#turn === undefined) this.#next ??= this.#after(settle_ms);
  }

  #after(ms: number): Timer {
    return this.#deps.clock.after(ms, () => {
      this.#next = undefined;
      this.#turn = this.#write();
    });
  }

  /** `null`: not known. */
  #wanted(): string | undefined | null {
    if (this.#is_over) return undefined;
    // Without VPP Linux is not made silent about anything new: what is served there may be its own by now.
    if (!this.#is_on || this.#served.size < 2) return null;
    const all: Served[] = [];
    for (const served of this.#served.values()) {
      const now = served();
      if (now === undefined) return null;
      all.push(...now);
    }
    return silenceRules(all);
  }

  async #write(): Promise<void> {
    // Whoever has begun it knows of it before it ends.
    await undefined;
    const { clock, log } = this.#deps;
    this.#is_news = false;
    const began_ms = clock.now_ms();
    const wanted = this.#wanted();
    let pause_ms = settle_ms;
    try {
      if (wanted !== null && wanted !== this.#there) await this.#replace(wanted);
      if (this.#fault !== undefined) log.info({}, 'services(silence) Linux leaves flows to VPP again');
      this.#fault = undefined;
      this.#retry_ms = retry_first_ms;
      pause_ms = Math.max(settle_ms, pause_for_write * (clock.now_ms() - began_ms));
    } catch (error) {
      const { message } = error as Error;
      if (message !== this.#fault) log.warn({ again_ms: this.#retry_ms }, `services(silence) ${message}`);
      this.#fault = message;
      pause_ms = this.#retry_ms;
      this.#retry_ms = Math.min(2 * this.#retry_ms, retry_max_ms);
      this.#is_news = true;
    } finally {
      this.#turn = undefined;
    }
    if (this.#is_news && !this.#is_closed) this.#next ??= this.#after(pause_ms);
  }

  async #replace(wanted: string | undefined): Promise<void> {
    const { run, journal } = this.#deps;
    const nft = await findNft(this.#deps);
    if (nft === undefined) {
      if (wanted === undefined) return;
      throw new Error(
        'nft is neither in the image nor on the host: flows to node ports and host ports end when VPP is replaced; install nftables',
      );
    }
    const step: UndoStep = {
      kind: 'run_command',
      argv: [...nft, silence_removal],
      timeout_ms: nft_ms,
      after_boot: false,
    };
    const known = journal.pending().filter((other) => isDeepStrictEqual(other, step));
    if (wanted !== undefined && known.length === 0) journal.record([step]);
    this.#there = null;
    const { code, stderr } = await run([...nft, '-f', '-'], {
      timeout_ms: nft_ms,
      input: wanted ?? no_silence,
    });
    if (code !== 0) throw new Error(`nft ended with exit status ${code}: ${stderr.trim().slice(0, 300)}`);
    this.#there = wanted;
    if (wanted === undefined) journal.undone(new Set(known));
  }
}
