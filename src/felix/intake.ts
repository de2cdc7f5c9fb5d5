/** What Felix's streams say, taken in one after the other, and piece by piece. Pure. */
import type { FelixMessage } from './messages.js';
import { FelixModel, type Problem } from './model.js';
import { Problems } from './problems.js';

/** What was told of a stream at once. */
export interface Told {
  readonly stream: number;
  readonly messages: readonly FelixMessage[];
}

/** Members of sets, and messages, that are taken in before others may have their turn: about a millisecond each. */
const members_piece = 1024;
const messages_piece = 128;

export class FelixIntake {
  readonly model = new FelixModel();
  readonly #taken: (stream: number) => void;
  readonly #isNew: (problem: Problem) => void;
  readonly #problems = new Problems();
  #stream: number | undefined;
  /** What is not taken in yet, and how far it is. */
  #told: Told | undefined;
  #next = 0;
  /** The stream begins, or ends, when what was told before is taken in. */
  #turn: { readonly stream: number; readonly begins: boolean } | undefined;

  /** `taken`: all that was told of this stream. `isNew`: nobody was told of this problem yet. */
  constructor(taken: (stream: number) => void, isNew: (problem: Problem) => void) {
    this.#taken = taken;
    this.#isNew = isNew;
  }

  /** That which is taken in, or was last. */
  get stream(): number | undefined {
    return this.#stream;
  }

  /** For people. */
  get problems(): Readonly<Record<string, string>> {
    return this.#problems.named();
  }

  begins(stream: number): void {
    this.#turn = { stream, begins: true };
  }

  /** One at a time: the next is told when this one is taken. */
  tells(told: Told): void {
    this.#told = told;
    this.#next = 0;
  }

  ends(stream: number): void {
    if (stream === this.#stream || this.#turn?.stream === stream) this.#turn = { stream, begins: false };
  }

  /** Takes in a piece of what was said. True: nothing of it is left. */
  work(): boolean {
    const { model } = this;
    const told = this.#told;
    if (model.busy) {
      this.#note(model.work(members_piece));
      if (model.busy) return false;
    }
    if (told !== undefined && told.stream === this.#stream) {
      for (let count = 0; this.#next < told.messages.length; count += 1) {
        if (count === messages_piece) return false;
        this.#note(model.apply(told.messages[this.#next]!));
        this.#next += 1;
        if (model.busy) return false;
      }
      this.#taken(told.stream);
      this.#told = undefined;
    }
    if (this.#turn === undefined) {
      // Of a stream that is over.
      this.#told = undefined;
      return true;
    }
    const { stream, begins } = this.#turn;
    this.#turn = undefined;
    if (begins) {
      this.#stream = stream;
      this.#problems.begin();
      model.connected();
      return false;
    }
    model.disconnected();
    return true;
  }

  #note(problem: Problem | undefined): void {
    if (problem !== undefined && this.#problems.note(problem)) this.#isNew(problem);
  }
}
