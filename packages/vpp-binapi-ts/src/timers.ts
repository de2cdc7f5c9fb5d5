/** The time that a client lives by. Tests turn it by hand. */
export interface Timers {
  /** Monotonic. */
  now_ms(): number;
  after(ms: number, run: () => void): { cancel(): void };
  /**
   * Runs once, behind the next poll phase of the event loop: when every socket that has something to read by now was read. In a turn
   * of Node's loop timers run before that, so that after a stall a deadline fires while its answer lies unread in the socket.
   */
  afterPoll(run: () => void): void;
}

/** Node's own time. A deadline alone does not keep the process alive: the socket does. */
export const systemTimers: Timers = {
  now_ms: () => performance.now(),
  after(ms, run) {
    const timer = setTimeout(run, ms).unref();
    return { cancel: () => clearTimeout(timer) };
  },
  afterPoll(run) {
    setImmediate(run);
  },
};
