/** Whether a pod's network namespace is still the one that the pod was connected in, and since when it is not. */
export class NamespaceWatch {
  /** Of the namespace when it was first seen. */
  #id: number | bigint | undefined;
  #missing_since_ms: number | undefined;

  /** A pod is connected in the namespace with this id. */
  settle(id: number | bigint | undefined): void {
    this.#id = id;
    this.#missing_since_ms = undefined;
  }

  /** Another namespace stands at the path now: the pod's own has gone. */
  isReplacedBy(id: number | bigint | undefined): boolean {
    return id !== undefined && this.#id !== undefined && this.#id !== id;
  }

  /** For how long it has been missing, given what is at the path now (undefined: nothing); undefined while it is there. */
  look(id: number | bigint | undefined, now_ms: number): number | undefined {
    if (id !== undefined && !this.isReplacedBy(id)) {
      this.settle(id);
      return undefined;
    }
    this.#missing_since_ms ??= now_ms;
    return now_ms - this.#missing_since_ms;
  }
}
