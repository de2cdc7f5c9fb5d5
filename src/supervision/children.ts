import type { Timer } from '../clock.js';
import { backoffDelay } from './backoff.js';
import { Cell, type Supervisor } from './cell.js';
import { ActorDown, IntensityExceeded, NameTaken } from './errors.js';
import { admitRestart, inWindow } from './intensity.js';
import type { Life } from './life.js';
import { describeReason } from './reason.js';
import { defaultSupervision, type Runtime } from './runtime.js';
import { comesBack, planRestart } from './strategies.js';
import type { ActorRef, ChildSpec, StopReason, Supervision } from './types.js';

/** Crashed temporary children that stay in the tree for people to see. */
const FAILED_KEPT = 16;

/** What a control character in a name would do to logs and to the tree. */
const CONTROL = /\p{Cc}/u;

/** One restart under way: of some children, in start order. */
class Job {
  cancelled = false;
  done: Promise<void> = Promise.resolve();
  #timer: Timer | undefined;
  #resume: (() => void) | undefined;

  constructor(readonly cells: readonly Cell[]) {}

  pause(runtime: Runtime, ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#resume = resolve;
      this.#timer = runtime.clock.after(ms, resolve);
    });
  }

  cancel(): void {
    this.cancelled = true;
    this.#timer?.cancel();
    this.#resume?.();
  }
}

/**
 * The children of one life of an actor, in start order, and their supervision. Restarts of different children go on at
 * the same time under one_for_one; under the other strategies restarts that overlap become one.
 */
export class Children implements Supervisor {
  readonly path: string;
  /** In start order; also those that are stopping, and the last few that failed for good. */
  readonly cells = new Map<string, Cell>();
  readonly supervision: Supervision;
  readonly #life: Life;
  readonly #runtime: Runtime;
  readonly #jobs = new Set<Job>();
  #restarts: readonly number[] = [];
  #closed = false;

  constructor(life: Life, runtime: Runtime) {
    this.#life = life;
    this.#runtime = runtime;
    this.path = life.path;
    this.supervision = life.cell.spec.supervision ?? defaultSupervision;
  }

  /** Restarts that count against the intensity now. */
  get used(): number {
    return inWindow(this.#restarts, this.#runtime.clock.now_ms(), this.supervision.intensity.window_ms)
      .length;
  }

  spawn<C>(spec: ChildSpec<C>): Promise<ActorRef<C>> {
    const spawned = this.#spawn(spec);
    // A failure is told here, so that a caller who does not wait for it need not be brought down by it.
    spawned.catch((error: unknown) => {
      if (error instanceof ActorDown) return;
      this.#runtime.log.warn({ actor: this.path, child: spec.name, err: error }, 'actor(spawn) failed');
    });
    return spawned;
  }

  async #spawn<C>(spec: ChildSpec<C>): Promise<ActorRef<C>> {
    if (spec.name === '' || CONTROL.test(spec.name)) {
      throw new TypeError(
        `a child of ${this.path} needs a name without control characters: ${JSON.stringify(spec.name)}`,
      );
    }
    const path = `${this.path}/${spec.name}`;
    // What is being restarted together is one: a new member waits until it stands.
    while (this.supervision.strategy !== 'one_for_one' && this.#jobs.size > 0 && !this.#closed) {
      await Promise.all([...this.#jobs].map((job) => job.done));
    }
    const namesake = this.#runtime.cells.get(path);
    if (namesake?.leaving) await namesake.retire({ kind: 'shutdown' }, false);
    if (this.#closed) throw new ActorDown(this.path, `it is stopping and does not start ${path}`);
    if (this.#runtime.cells.has(path)) throw new NameTaken(path);
    const known = this.#life.cell.formerChildren.get(spec.name);
    const cell = new Cell(spec as ChildSpec<never>, path, this, this.#runtime, known);
    this.cells.delete(spec.name);
    this.cells.set(spec.name, cell);
    void cell.start();
    await cell.whenUp();
    return cell.ref as ActorRef<C>;
  }

  /** Stops one child for good. */
  async stop(name: string): Promise<void> {
    const cell = this.cells.get(name);
    if (cell !== undefined) await this.#bury(cell, { kind: 'shutdown' });
  }

  async #bury(cell: Cell, reason: StopReason): Promise<void> {
    const retired = cell.retire(reason, false);
    for (const job of this.#jobs) if (job.cells.every((member) => member.leaving)) job.cancel();
    await retired;
    if (this.cells.get(cell.spec.name) !== cell) return;
    if (reason.kind !== 'crash' || !cell.everUp) this.cells.delete(cell.spec.name);
    const failed = [...this.cells.values()].filter((child) => child.gone);
    if (failed.length > FAILED_KEPT) this.cells.delete(failed[0]!.spec.name);
  }

  down(cell: Cell, reason: StopReason): void {
    if (this.#closed) {
      void cell.end(reason, false);
      return;
    }
    const end = reason.kind === 'exit' ? 'normal' : 'abnormal';
    // A first start that fails is the answer to `spawn`, not a crash to be repaired.
    if (!cell.everUp || cell.leaving || !comesBack(cell.spec.restart, end)) {
      void this.#bury(cell, reason);
      return;
    }
    if (reason.kind === 'restart') {
      this.#restart(cell, reason, 0);
      return;
    }
    const { intensity, backoff } = this.supervision;
    const now_ms = this.#runtime.clock.now_ms();
    const verdict = admitRestart(this.#restarts, now_ms, intensity);
    this.#restarts = verdict.times;
    if (verdict.exceeded) {
      this.#giveUp(cell, reason);
      return;
    }
    cell.restartTimes = [...inWindow(cell.restartTimes, now_ms, intensity.window_ms), now_ms];
    this.#restart(cell, reason, backoffDelay(cell.restartTimes.length, backoff, this.#runtime.random));
  }

  #giveUp(cell: Cell, reason: StopReason): void {
    const { cell: owner } = this.#life;
    const cause = reason.kind === 'crash' ? reason.error : undefined;
    const error = new IntensityExceeded(this.path, cell.path, this.supervision.intensity, { cause });
    void cell.end(reason, owner.spec.restart !== 'temporary');
    owner.crash(this.#life, error);
  }

  /** Ends the group, the one that went down first of all, waits, and starts it again in order. */
  #restart(cause: Cell, reason: StopReason, delay_ms: number): void {
    const present = [...this.cells.values()].filter((cell) => !cell.leaving);
    const slots = present.map(({ spec }) => spec);
    const names = new Set(planRestart(this.supervision.strategy, slots, cause.spec.name, 'abnormal').start);
    for (const job of this.#jobs) {
      if (job.cancelled || !job.cells.some((cell) => names.has(cell.spec.name))) continue;
      job.cancel();
      for (const cell of job.cells) if (!cell.running && !cell.leaving) names.add(cell.spec.name);
    }
    const job = new Job(present.filter((cell) => names.has(cell.spec.name)));
    cause.restarts.lastReason = describeReason(reason);
    this.#jobs.add(job);
    if (reason.kind !== 'restart') void cause.end(reason, true);
    job.done = this.#run(job, cause, reason, delay_ms).finally(() => this.#jobs.delete(job));
  }

  async #run(job: Job, cause: Cell, reason: StopReason, delay_ms: number): Promise<void> {
    const sibling: StopReason = { kind: 'sibling', path: cause.path };
    for (const cell of job.cells.toReversed()) {
      if (!cell.leaving) await cell.end(cell === cause ? reason : sibling, true);
    }
    if (delay_ms > 0 && !job.cancelled) {
      if (!cause.leaving) cause.backOff(delay_ms);
      await job.pause(this.#runtime, delay_ms);
    }
    for (const cell of job.cells) {
      if (job.cancelled) return;
      if (cell.leaving) continue;
      cell.restarts.total += 1;
      cell.restarts.lastAt = this.#runtime.clock.wall_ms();
      if (cell !== cause) cell.restarts.lastReason = describeReason(sibling);
      await cell.start();
    }
  }

  /** From now on nothing is started here any more. */
  close(): void {
    this.#closed = true;
    for (const job of this.#jobs) job.cancel();
    // A parent that waits for a child in its start or in a message must come to its end first.
    const stopping = new ActorDown(this.path, 'it is stopping, and its children with it');
    for (const cell of this.cells.values()) cell.disappoint(stopping);
  }

  /** Stops all children in reverse start order. `restarting`: their parent returns, and is likely to spawn them again. */
  async stopAll(restarting: boolean): Promise<void> {
    const cells = [...this.cells.values()];
    const reason: StopReason = restarting ? { kind: 'parent', path: this.path } : { kind: 'shutdown' };
    for (const cell of cells.toReversed()) {
      if (!cell.gone) await cell.retire(reason, restarting);
    }
    if (restarting) {
      this.#life.cell.formerChildren = new Map(cells.map((cell) => [cell.spec.name, cell.incarnation]));
    }
  }
}
