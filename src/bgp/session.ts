/** One connection to one gobgpd: what it has, as far as it is known, and how it is brought to what it is to have. */
import { type Gobgp, GobgpError, has, RefusedError } from 'gobgp-grpc-stubs';
import type { LogLevel } from '../log.js';
import {
  applySteps,
  policies_failed,
  readPaths,
  readPeers,
  readPolicies,
  type StepFailure,
} from './apply.js';
import { type BgpState, type BgpStep, type DiffOptions, diffBgp, stateAfter } from './diff.js';
import { poolsNotExported } from './export-rules.js';
import type { GobgpdRun } from './launcher.js';
import { compareGlobal, startListening } from './listening.js';
import type { LocalPath } from './local-paths.js';
import type { BgpPlan, WantedGlobal } from './plan.js';
import type { BgpSettings } from './settings.js';

export interface CarryOutOptions {
  /** A peer's routes are kept until it has told all again. */
  readonly isAwaited: (address: string) => boolean;
  /** See ApplyOptions. */
  readonly hold: (addresses: readonly string[]) => void;
}

export class BgpSession {
  readonly run: GobgpdRun;
  readonly gobgp: Gobgp;
  readonly #abort = new AbortController();
  /** Another gobgpd was there before it: peers that were its are told that this end restarts, and forwards on. */
  readonly #restarting: boolean;
  /** Own paths that gobgpd has; undefined: not read yet. */
  #paths: Map<string, LocalPath> | undefined;
  /** What else it has; undefined: to be read, for a round did not go as it should, or long ago. */
  #state: BgpState | undefined;
  #read_ms = 0;
  /** See ApplyOptions. */
  readonly #noted = new Map<string, ReadonlySet<string>>();
  #log_level: LogLevel | 'panic' | undefined;
  #started: boolean;
  #converged = false;
  #listens: 'all' | 'ip4_alone' = 'all';
  /** Its table was told from the beginning. */
  complete: boolean;

  /** `as_number`: 0 where BGP has not been started yet. */
  constructor(run: GobgpdRun, gobgp: Gobgp, as_number: number) {
    const is_new = as_number === 0;
    this.run = run;
    this.gobgp = gobgp;
    this.#restarting = run.succeeds && is_new;
    this.#started = !is_new;
    this.complete = is_new;
    if (is_new) this.#paths = new Map();
  }

  /** Aborted by `end`. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** BGP has been started. */
  get started(): boolean {
    return this.#started;
  }

  /** It has been brought to what is wanted once; peers that were there before are waited for since. */
  get converged(): boolean {
    return this.#converged;
  }

  get listens(): 'all' | 'ip4_alone' {
    return this.#listens;
  }

  get paths_count(): number {
    return this.#paths?.size ?? 0;
  }

  end(): void {
    this.#abort.abort(new Error('the session is over'));
    this.gobgp.close();
  }

  /** Own paths that gobgpd has: read once, and kept from then on. */
  async ownPaths(): Promise<ReadonlyMap<string, LocalPath>> {
    this.#paths ??= await readPaths(this.gobgp, this.signal);
    return this.#paths;
  }

  /** Starts BGP where it is not. `other`: it runs otherwise than wanted, which cannot be changed. A RefusedError: it cannot be started now. */
  async start(global: WantedGlobal): Promise<'all' | 'ip4_alone' | 'other' | RefusedError> {
    const { gobgp, signal } = this;
    if (this.#started) {
      const { global: actual } = await gobgp.getBgp({}, { signal });
      const compared = compareGlobal(global, actual);
      if (compared === 'other') return compared;
      this.#listens = compared === 'same' ? 'all' : compared;
      return this.#listens;
    }
    try {
      this.#listens = await startListening(gobgp, global, signal);
    } catch (error) {
      if (error instanceof RefusedError) return error;
      throw error;
    }
    this.#started = true;
    return this.#listens;
  }

  /** The steps from what gobgpd has to the plan. It is asked what it has where that is not known. */
  async difference(
    plan: BgpPlan,
    { now_ms, ...options }: Pick<DiffOptions, 'may_withdraw' | 'learned'> & { readonly now_ms: number },
  ): Promise<readonly BgpStep[]> {
    const { version } = this.gobgp;
    const paths = await this.ownPaths();
    return diffBgp(plan, await this.#known(now_ms), paths, {
      ...options,
      updates: has(version, '3.15'),
      withdraws: has(version, '4.6'),
      owed: this.#noted.size > 0,
    });
  }

  async #known(now_ms: number): Promise<BgpState> {
    if (this.#state !== undefined) return this.#state;
    this.#read_ms = now_ms;
    const peers = await readPeers(this.gobgp, this.signal);
    const state = { peers, ...(await readPolicies(this.gobgp, this.signal)) };
    for (const [to, prefixes] of state.owed) if (!this.#noted.has(to)) this.#noted.set(to, prefixes);
    this.#state = state;
    return state;
  }

  /** Prefixes of pools that a gobgpd which runs keeps from peers. */
  async poolsNotExported(now_ms: number): Promise<readonly string[]> {
    return poolsNotExported((await this.#known(now_ms)).rules ?? []);
  }

  /** Carries out what `difference` has said, and knows what gobgpd has by then; where something fails it is asked again. */
  async carryOut(
    plan: BgpPlan,
    steps: readonly BgpStep[],
    { isAwaited, hold }: CarryOutOptions,
  ): Promise<readonly StepFailure[]> {
    const before = this.#state;
    this.#state = undefined;
    this.#paths ??= new Map();
    const failures = await applySteps(this.gobgp, steps, {
      signal: this.signal,
      restarting: (address) => this.#restarting && isAwaited(address),
      paths: this.#paths,
      noted: this.#noted,
      hold,
    });
    if (failures.length === 0 && before !== undefined) this.#state = stateAfter(plan, before);
    // Without its policies nobody is peered with: what has not come by then is not what is not there.
    if (!failures.some(({ of }) => of === policies_failed)) this.#converged = true;
    return failures;
  }

  /** What gobgpd has is to be read again: it was not for so long. */
  forget(now_ms: number, reread_ms: number): boolean {
    if (this.#state === undefined || now_ms - this.#read_ms < reread_ms) return false;
    this.#state = undefined;
    return true;
  }

  /** An accessory: what comes of it concerns nothing else. */
  async setLogLevel(
    severity: BgpSettings['log_severity'],
    otherwise: LogLevel,
  ): Promise<readonly StepFailure[]> {
    const level = severity === undefined ? otherwise : log_levels[severity];
    // 4.x has no more than these.
    const told = this.gobgp.dialect === 4 && (level === 'fatal' || level === 'panic') ? 'error' : level;
    if (this.#log_level === told) return [];
    try {
      await this.gobgp.setLogLevel({ level: told }, { signal: this.signal });
      this.#log_level = told;
      return [];
    } catch (error) {
      if (!(error instanceof GobgpError)) throw error;
      return [{ of: 'spec.logSeverityScreen', reason: `cannot be told to gobgpd: ${error.message}` }];
    }
  }
}

const log_levels = {
  Debug: 'debug',
  Info: 'info',
  Warning: 'warn',
  Error: 'error',
  Fatal: 'fatal',
  None: 'panic',
} as const;
