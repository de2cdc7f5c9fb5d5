/** What the node's own object is to say, on its way there, and why it is not there yet. */

/** See Cluster.publishNodeAddresses. */
export type Publish<T> = (wanted: T, signal: AbortSignal, failing: (cause: string) => void) => Promise<void>;

/** What to do about it, whatever is refused. */
export const publication_step =
  'see that the ServiceAccount may get nodes and patch nodes/status (deploy/kubernetes/rbac.yaml)';

interface UnderWay<T> {
  readonly wanted: T;
  readonly stop: AbortController;
  cause?: string;
  given_up?: true;
}

/** One at a time: the next one ends the one before. */
export class Publication<T> {
  #now: UnderWay<T> | undefined;

  constructor(private readonly publish: Publish<T>) {}

  /** `done`: it is there. Not called when it was replaced or stopped meanwhile. */
  begin(wanted: T, done: () => void = () => undefined): void {
    this.stop();
    const now: UnderWay<T> = { wanted, stop: new AbortController() };
    this.#now = now;
    const failing = (cause: string): void => {
      now.cause = cause;
    };
    this.publish(wanted, now.stop.signal, failing).then(
      () => {
        if (this.#now !== now) return;
        this.#now = undefined;
        done();
      },
      (error: Error) => {
        failing(error.message);
        now.given_up = true;
      },
    );
  }

  stop(): void {
    this.#now?.stop.abort();
  }

  /** Nothing is on its way any more. */
  forget(): void {
    this.stop();
    this.#now = undefined;
  }

  /** What is not there yet, and why, as far as it is known. `given_up`: it is not tried again as it is. */
  get pending(): Omit<UnderWay<T>, 'stop'> | undefined {
    return this.#now;
  }
}
