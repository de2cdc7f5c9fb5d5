/** Signals, and a reader that is gone, while something of VPP is to be taken back. */
import { systemClock } from '../clock.js';
import { NodeRefused } from './usage.js';

const signals = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const;

export class Interruption {
  #asked = false;
  #wake = (): void => undefined;

  readonly ask = (): void => {
    this.#asked = true;
    this.#wake();
  };

  /** Throws NodeRefused when the user has had enough: before anything new is begun. */
  check(): void {
    if (this.#asked) throw new NodeRefused('interrupted before anything was noted');
  }

  /** Tells each second how it stands. Ends early when the user interrupts, or `done` resolves. */
  async wait(seconds: number, say: (left_s: number) => void, done?: Promise<void>): Promise<void> {
    let is_done = false;
    done?.then(() => {
      is_done = true;
      this.#wake();
    });
    for (let left = seconds; left > 0 && !this.#asked && !is_done; left -= 1) {
      say(Math.ceil(left));
      await new Promise<void>((resolve) => {
        const timer = systemClock.after(Math.min(1, left) * 1000, resolve);
        this.#wake = () => {
          timer.cancel();
          resolve();
        };
      });
    }
  }
}

/**
 * While `work` is under way no signal ends the process: it is asked to end, and to take back what it has begun. What is asked of VPP
 * meanwhile has its own deadlines.
 */
export async function interruptible<T>(work: (interruption: Interruption) => Promise<T>): Promise<T> {
  const interruption = new Interruption();
  for (const signal of signals) process.on(signal, interruption.ask);
  // Run in the pod by a kubectl that is gone: nobody reads what is written each second.
  process.stderr.on('error', interruption.ask);
  try {
    return await work(interruption);
  } finally {
    for (const signal of signals) process.off(signal, interruption.ask);
    process.stderr.off('error', interruption.ask);
  }
}
