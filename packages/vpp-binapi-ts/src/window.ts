import type { Call } from './call.js';

/** The lower half of a context is the index of its slot. */
const slot_bits = 16;
export const window_max = 1 << slot_bits;
const slot_mask = window_max - 1;

/**
 * The requests that VPP is to answer, each in a slot. The index of the slot is part of the context that VPP returns with the answer,
 * so that an answer is matched by one array access.
 *
 * It also knows in which order they were sent. VPP answers a connection in order: a request that was sent before one that is
 * answered already, and has no answer itself, is not answered any more.
 */
export class Window {
  readonly #slots: (Call | undefined)[];
  readonly #free: number[];
  /** By slot: when it was sent, and as which one. Arrays of numbers, because a fraction in an object is an allocation of its own. */
  readonly #sent_ms: Float64Array;
  readonly #order: Float64Array;
  #sends = 0;
  /** The last of those sent that VPP has answered, if only with details. */
  #answered = 0;
  /** The first sent of those whose deadline is over, or that were given up, and that nothing sent later has overtaken yet. */
  #overdue = Number.POSITIVE_INFINITY;
  /** Contexts of those that VPP does not answer any more, should it do so after all. Bounded by the size of the window. */
  readonly #forsaken = new Set<number>();

  constructor(size: number) {
    this.#slots = new Array<Call | undefined>(size).fill(undefined);
    this.#free = Array.from({ length: size }, (_, slot) => size - 1 - slot);
    this.#sent_ms = new Float64Array(size);
    this.#order = new Float64Array(size);
  }

  /** Slots that no call has. */
  get free(): number {
    return this.#free.length;
  }

  /** Gives the call that is sent next its context. It takes no slot before `send`. */
  admit(call: Call): void {
    const slot = this.#free.at(-1)!;
    call.context = ((((this.#sends + 1) & slot_mask) << slot_bits) | slot) >>> 0;
  }

  /** The call is encoded: for the first time, or once more from a cursor. */
  send(call: Call, now_ms: number): void {
    const slot = call.context & slot_mask;
    if (this.#slots[slot] === undefined) {
      this.#free.pop();
      this.#slots[slot] = call;
    }
    this.#sends += 1;
    this.#order[slot] = this.#sends;
    this.#sent_ms[slot] = now_ms;
  }

  /** The call that an answer belongs to. */
  answered(context: number): Call | undefined {
    const slot = context & slot_mask;
    const call = this.#slots[slot];
    if (call === undefined || call.context !== context) return undefined;
    const order = this.#order[slot]!;
    if (order > this.#answered) this.#answered = order;
    return call;
  }

  /** Whether this is the context of a call that was released because VPP answers it no more. */
  hasForsaken(context: number): boolean {
    return this.#forsaken.has(context);
  }

  sentMs(call: Call): number {
    return this.#sent_ms[call.context & slot_mask]!;
  }

  release(call: Call): void {
    const slot = call.context & slot_mask;
    this.#slots[slot] = undefined;
    this.#free.push(slot);
  }

  /** Whether `judge` would find something new since it was called last, before the time that it told. */
  get overtaken(): boolean {
    return this.#answered > this.#overdue;
  }

  /**
   * Tells `expire` of every call whose deadline has passed (the rules are those of `RequestOptions.deadline_ms`), and releases what VPP
   * answers no more. Returns when to look again.
   */
  judge(now_ms: number, heard_ms: number, expire: (call: Call) => void): number {
    let next_ms = Number.POSITIVE_INFINITY;
    this.#overdue = Number.POSITIVE_INFINITY;
    for (let slot = 0; slot < this.#slots.length; slot++) {
      const call = this.#slots[slot];
      if (call === undefined) continue;
      const order = this.#order[slot]!;
      const sent_ms = this.#sent_ms[slot]!;
      const overtaken = order < this.#answered;
      const over_ms = sent_ms + call.deadline_ms;
      if (!call.given_up) {
        const silent_ms = Math.max(sent_ms, heard_ms) + call.deadline_ms;
        if (now_ms >= silent_ms || (overtaken && now_ms >= over_ms)) expire(call);
        else next_ms = Math.min(next_ms, now_ms >= over_ms ? silent_ms : over_ms);
      }
      if (call.given_up && overtaken) this.#forsake(call);
      else if (call.given_up || now_ms >= over_ms) this.#overdue = Math.min(this.#overdue, order);
    }
    return next_ms;
  }

  #forsake(call: Call): void {
    this.release(call);
    if (this.#forsaken.size >= this.#slots.length) {
      const [oldest] = this.#forsaken;
      this.#forsaken.delete(oldest!);
    }
    this.#forsaken.add(call.context);
  }

  /** Every call, in no order. */
  *calls(): Iterable<Call> {
    for (const call of this.#slots) if (call !== undefined) yield call;
  }
}
