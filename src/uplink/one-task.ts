/** Work beside a mailbox: one piece at a time, which can be cut short. */
export class OneTask {
  #task: { readonly abort: AbortController; readonly ended: Promise<void> } | undefined;

  /** `ended`: whenever a piece has come to its end, however. */
  constructor(private readonly ended: () => void) {}

  get isBusy(): boolean {
    return this.#task !== undefined;
  }

  /** `run` never rejects. Not while it is busy. */
  begin(run: (signal: AbortSignal) => Promise<void>): void {
    const abort = new AbortController();
    const task = {
      abort,
      ended: run(abort.signal).finally(() => {
        if (this.#task === task) this.#task = undefined;
        this.ended();
      }),
    };
    this.#task = task;
  }

  /** It ends at its next step: every wait of it is cut short. */
  async cancel(reason: string): Promise<void> {
    if (this.#task === undefined) return;
    this.#task.abort.abort(new Error(reason));
    await this.#task.ended;
  }
}
