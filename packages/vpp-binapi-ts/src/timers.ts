/** The time that a client lives by. Tests turn it by hand. */
export interface Timers {
  /** Monotonic. */
  now_ms(): number;
  after(ms: number, run: () => void): { cancel(): void };
}

/** Node's own time. A deadline alone does not keep the process alive: the socket does. */
export const systemTimers: Timers = {
  now_ms: () => performance.now(),
  after(ms, run) {
    const timer = setTimeout(run, ms).unref();
    return { cancel: () => clearTimeout(timer) };
  },
};
