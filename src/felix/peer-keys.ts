/** WireGuard's public keys of nodes, as one connection of Felix's tells them: nothing of it counts before all is told. Pure. */
import type { FelixMessage } from './messages.js';

/** Of one node, by the family of what its pods send. Base64 of 32 bytes. */
export interface NodeKeys {
  readonly key?: string;
  readonly key6?: string;
}

export interface KeysTold {
  /** Nodes that are not named have none. */
  readonly whole: boolean;
  readonly changed: ReadonlyMap<string, NodeKeys>;
}

/** As many as there are Nodes at most. */
export const nodes_max = 20_000;

type KeyMessage = Extract<FelixMessage, { kind: 'wireguard_key' }>;

export class PeerKeys {
  readonly #keys = new Map<string, NodeKeys>();
  /** Since `told`; undefined: all of them. */
  #changed: Set<string> | undefined;
  #in_sync = false;

  /** False: not kept, there are too many. */
  take({ node, family, key }: KeyMessage): boolean {
    const before = this.#keys.get(node);
    if (before === undefined && this.#keys.size === nodes_max) return key === undefined;
    const now: { key?: string; key6?: string } = { ...before };
    const field = family === 4 ? 'key' : 'key6';
    if (key === undefined) delete now[field];
    else now[field] = key;
    if (now.key === undefined && now.key6 === undefined) this.#keys.delete(node);
    else this.#keys.set(node, now);
    this.#changed?.add(node);
    return true;
  }

  /** Felix has told everything. */
  inSync(): void {
    this.#in_sync = true;
  }

  /** What is to be told by now; undefined: nothing. */
  get due(): KeysTold | undefined {
    if (!this.#in_sync || this.#changed?.size === 0) return undefined;
    if (this.#changed === undefined) return { whole: true, changed: new Map(this.#keys) };
    return {
      whole: false,
      changed: new Map([...this.#changed].map((node) => [node, this.#keys.get(node) ?? {}])),
    };
  }

  /** What was due is told. */
  told(): void {
    this.#changed = new Set();
  }
}
