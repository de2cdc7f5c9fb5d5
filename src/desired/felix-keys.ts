/** What Felix says of the nodes' keys of WireGuard, beside what their Nodes say: whichever is there. Pure. */
import type { CalicoNode } from '../calico/kinds/node.js';
import type { KeysTold, NodeKeys } from '../felix/peer-keys.js';

const fields = [
  { of_felix: 'key', of_node: 'wireguard_key' },
  { of_felix: 'key6', of_node: 'wireguard_key6' },
] as const;

export class FelixKeys {
  readonly #said = new Map<string, NodeKeys>();

  /** Answers the names of nodes that may have another key by now. What an earlier Felix said holds until a new one has told everything. */
  take({ whole, changed }: KeysTold): Iterable<string> {
    const touched = new Set(changed.keys());
    if (whole) {
      for (const name of this.#said.keys()) touched.add(name);
      this.#said.clear();
    }
    for (const [name, keys] of changed) {
      if (keys.key === undefined && keys.key6 === undefined) this.#said.delete(name);
      else this.#said.set(name, keys);
    }
    return touched;
  }

  /**
   * A key that a Node had, and has no more, counts as gone until Felix says it anew: Felix reads the same Node, and may be late, or not there
   * any more.
   */
  nodeChanged(before: CalicoNode | undefined, now: CalicoNode | undefined): void {
    const said = before && this.#said.get(before.name);
    if (before === undefined || said === undefined) return;
    const left: { key?: string; key6?: string } = { ...said };
    for (const { of_felix, of_node } of fields)
      if (before[of_node] !== undefined && now?.[of_node] === undefined) delete left[of_felix];
    this.#said.set(before.name, left);
  }

  /** The Node's own word goes first. */
  completed(node: CalicoNode): CalicoNode {
    const said = this.#said.get(node.name);
    if (said === undefined) return node;
    const completed: { -readonly [F in keyof CalicoNode]: CalicoNode[F] } = { ...node };
    for (const { of_felix, of_node } of fields) {
      const key = said[of_felix];
      if (key !== undefined) completed[of_node] ??= key;
    }
    return completed;
  }
}
