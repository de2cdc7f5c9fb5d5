/**
 * Removal of network devices beside the main loop. The kernel takes a device out of use within a millisecond, under the lock
 * that all changes of networks wait for, VPP's too (RTNL); the request lasts some 20 ms more, in which it waits, without
 * that lock, for those who may still read what the device was (RCU). So one device after the other is taken out of use,
 * and several requests wait at the same time, each on a thread of libuv's pool.
 */
import type { Clock, Timer } from '../../clock.js';
import { NetlinkError } from '../../linux/network.js';

const asked_threads = Number.parseInt(process.env.UV_THREADPOOL_SIZE ?? '', 10) || 4;
/** Threads of libuv's pool, as libuv reads it: from the environment that this process was started with. */
export const pool_threads = Math.min(Math.max(asked_threads, 1), 1024);
/** From asking. Whoever asked goes on without, while what the kernel has been asked for takes its course. */
export const removal_ms_max = 3000;

/** What the kernel has been asked to remove. */
export interface LinkRemoval {
  /** Out of use: nobody finds or holds it any more, and its name is free. Rejects with the NetlinkError when it is refused. */
  readonly detached: Promise<void>;
  /** The request is over, and its thread free. Never rejects. */
  readonly answered: Promise<void>;
}

interface Job {
  readonly id: string;
  readonly begin: () => LinkRemoval | undefined;
  readonly done: Promise<void>;
  readonly settle: (failure?: unknown) => void;
  readonly timer: Timer;
  urgent: boolean;
}

export class LinkRemovals {
  readonly #clock: Pick<Clock, 'after'>;
  readonly #under_way_max: number;
  /** Those that somebody waits for. */
  readonly #jobs = new Map<string, Job>();
  /** Of these, those that have not begun, in the order of their asking. */
  readonly #waiting = new Set<Job>();
  #under_way = 0;
  #detaching = false;

  /** `under_way_max`: requests that the kernel has not answered yet; more than there are threads only wait for each other. */
  constructor(clock: Pick<Clock, 'after'>, under_way_max: number = pool_threads) {
    this.#clock = clock;
    this.#under_way_max = under_way_max;
  }

  /**
   * `begin` asks the kernel; it answers undefined when there is nothing to remove. `id`: what is removed; asked for again
   * before it is gone, it is the same removal. `urgent`: before all that are not. Rejects with NetlinkError: as the kernel
   * refused it, or ETIMEDOUT after `removal_ms_max`.
   */
  remove(id: string, urgent: boolean, begin: () => LinkRemoval | undefined): Promise<void> {
    const job = this.#jobs.get(id) ?? this.#ask(id, begin);
    job.urgent ||= urgent;
    this.#pump();
    return job.done;
  }

  #ask(id: string, begin: () => LinkRemoval | undefined): Job {
    const { promise: done, resolve, reject } = withResolvers();
    const settle = (failure?: unknown): void => {
      job.timer.cancel();
      this.#waiting.delete(job);
      if (this.#jobs.get(id) === job) this.#jobs.delete(id);
      if (failure === undefined) resolve();
      else reject(failure);
    };
    const timer = this.#clock.after(removal_ms_max, () =>
      settle(new NetlinkError('ETIMEDOUT', 'delete_link', id)),
    );
    const job: Job = { id, begin, done, settle, timer, urgent: false };
    this.#jobs.set(id, job);
    this.#waiting.add(job);
    return job;
  }

  #pump(): void {
    while (!this.#detaching && this.#under_way < this.#under_way_max) {
      const waiting = [...this.#waiting];
      const job = waiting.find(({ urgent }) => urgent) ?? waiting[0];
      if (job === undefined) return;
      this.#waiting.delete(job);
      this.#begin(job);
    }
  }

  #begin(job: Job): void {
    let removal: LinkRemoval | undefined;
    try {
      removal = job.begin();
    } catch (error) {
      return job.settle(error);
    }
    if (removal === undefined) return job.settle();
    this.#detaching = true;
    this.#under_way += 1;
    const detached = (failure?: unknown): void => {
      this.#detaching = false;
      job.settle(failure);
      this.#pump();
    };
    removal.detached.then(() => detached(), detached);
    void removal.answered.then(() => {
      this.#under_way -= 1;
      this.#pump();
    });
  }
}

function withResolvers() {
  let resolve!: () => void;
  let reject!: (reason: unknown) => void;
  const promise = new Promise<void>((ok, failed) => {
    resolve = ok;
    reject = failed;
  });
  return { promise, resolve, reject };
}
