/** Faults that the stand-in can be told to have: a closed union, settable at any time. */

/** When a fault strikes: at the `nth` (from 1, default 1) message from now on, counting only those of this name if there is one. */
export interface Trigger {
  readonly nth?: number;
  readonly message?: string;
  /** Counts only those whose fields, as JSON, hold this text. */
  readonly holding?: string;
}

export type Fault =
  /** Closes the connection instead of answering. */
  | { readonly fault: 'close'; readonly at: Trigger }
  /** Answers nothing any more, on any connection; the process lives. */
  | { readonly fault: 'hang'; readonly at: Trigger }
  /** The process is gone. */
  | { readonly fault: 'die'; readonly at: Trigger }
  /** Does not do what is asked, and answers with this retval: `times` times, for ever when absent. */
  | { readonly fault: 'refuse'; readonly message: string; readonly retval: number; readonly times?: number }
  /** Handles the message, and all behind it, later. */
  | { readonly fault: 'delay'; readonly at: Trigger; readonly ms: number }
  /** Does what is asked and does not answer. */
  | { readonly fault: 'drop_reply'; readonly at: Trigger }
  /** Sends bytes that are no frame instead of the answer. */
  | { readonly fault: 'garbage'; readonly at: Trigger }
  /** Sends half of the answer's frame, and closes. */
  | { readonly fault: 'truncate'; readonly at: Trigger };

/** What strikes at one message. */
export type Strike =
  | { readonly fault: 'close' | 'hang' | 'die' | 'drop_reply' | 'garbage' | 'truncate' }
  | { readonly fault: 'refuse'; readonly retval: number }
  | { readonly fault: 'delay'; readonly ms: number };

interface Armed {
  readonly fault: Fault;
  left: number;
}

export class Faults {
  readonly #armed = new Set<Armed>();

  set(fault: Fault): void {
    const left = fault.fault === 'refuse' ? (fault.times ?? Number.POSITIVE_INFINITY) : (fault.at.nth ?? 1);
    this.#armed.add({ fault, left });
  }

  clear(): void {
    this.#armed.clear();
  }

  /** A message of this name has come, with these fields as JSON: what strikes it, if anything. */
  next(message: string, fields: () => string): Strike | undefined {
    let strike: Strike | undefined;
    for (const armed of this.#armed) {
      const { fault } = armed;
      const name = fault.fault === 'refuse' ? fault.message : fault.at.message;
      if (name !== undefined && name !== message) continue;
      const holding = fault.fault === 'refuse' ? undefined : fault.at.holding;
      if (holding !== undefined && !fields().includes(holding)) continue;
      armed.left -= 1;
      if (armed.left <= 0) this.#armed.delete(armed);
      if (fault.fault === 'refuse') strike ??= { fault: 'refuse', retval: fault.retval };
      else if (armed.left <= 0) {
        strike ??= fault.fault === 'delay' ? { fault: 'delay', ms: fault.ms } : { fault: fault.fault };
      }
    }
    return strike;
  }
}
