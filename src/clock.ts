/** A timer that has been set. Cancelling one that has fired or was cancelled does nothing. */
export interface Timer {
  cancel(): void;
}

/**
 * Time as the whole product sees it. Everything that waits takes a Clock, so that tests turn one by hand
 * (lab/turned-clock.ts) instead of sleeping.
 */
export interface Clock {
  /** Monotonic time in milliseconds with fractions, from an arbitrary origin: for durations and deadlines. */
  now_ms(): number;
  /** Milliseconds since 1970: for what a person or another process reads. It may jump. */
  wall_ms(): number;
  /** Runs once, `ms` from now (0 to 2^31-1; RangeError otherwise), never before. */
  after(ms: number, run: () => void): Timer;
  /** Runs once, behind the next poll phase of the event loop: when what lay in the sockets was read. Timers run before that. */
  afterPoll(run: () => void): void;
  /** Resolves `ms` from now; rejects with the signal's reason, at once, when that is aborted. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** Longest time Node's timers hold; a longer one would fire at once. */
const TIMER_MS_MAX = 2 ** 31 - 1;

/** Refuses what a timer cannot hold: a wrong unit must not become a timer that fires at once. */
export function checkTimer(ms: number): void {
  if (!(ms >= 0 && ms <= TIMER_MS_MAX))
    throw new RangeError(`a timer takes 0 to ${TIMER_MS_MAX} ms, not ${ms}`);
}

/** Builds `sleep` on top of `after`: the same for every clock. */
export function sleepOn(clock: Pick<Clock, 'after'>, ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason);
      return;
    }
    const onAbort = (): void => {
      timer.cancel();
      reject(signal?.reason);
    };
    const timer = clock.after(ms, () => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    });
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}

/** Settles as the promise does, or rejects with the signal's reason as soon as it is aborted. */
export function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason);
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}

/**
 * The machine's clock. A timer keeps the process alive until it fires or is cancelled: a process must not end
 * silently in the middle of a back-off because no socket happened to be open.
 */
export const systemClock: Clock = {
  now_ms: () => performance.now(),
  wall_ms: () => Date.now(),
  after(ms, run) {
    checkTimer(ms);
    // Node's timers count from an older look at the clock, and fire up to a millisecond early: whoever compares with `now_ms` would find nothing due.
    const due_ms = performance.now() + ms;
    const fire = (): void => {
      const left_ms = due_ms - performance.now();
      if (left_ms > 0) handle = setTimeout(fire, left_ms);
      else run();
    };
    let handle = setTimeout(fire, ms);
    return { cancel: () => clearTimeout(handle) };
  },
  afterPoll(run) {
    setImmediate(run);
  },
  sleep: (ms, signal) => sleepOn(systemClock, ms, signal),
};
