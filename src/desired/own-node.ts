/**
 * This node's own Node. A kubelet that registers anew makes another object of the same name, without what Calico and operators had written to it: AS,
 * part in route reflection and labels stay what they were until the new one says something else, for they make all sessions. Pure.
 */
import type { CalicoNode } from '../calico/kinds/node.js';

type Kept = Pick<CalicoNode, 'as_number' | 'cluster_id' | 'labels'>;

const nothing: Kept = { labels: {} };

export class OwnNode {
  #node: CalicoNode | undefined;
  #is_away = false;
  #kept = nothing;

  /** As it counts: what was known last, where it is away. */
  get node(): CalicoNode | undefined {
    return this.#node;
  }

  take(told: CalicoNode | undefined): void {
    const before = this.#node;
    if (told === undefined || before === undefined) {
      this.#is_away = before !== undefined;
      this.#node = told ?? before;
      return;
    }
    // Nobody may have seen it go: a list that was read anew shows the new one alone. That has no addresses yet.
    const had_addresses = before.ip4 !== undefined || before.ip6 !== undefined;
    const is_new = this.#is_away || (had_addresses && told.ip4 === undefined && told.ip6 === undefined);
    this.#is_away = false;
    this.#kept = lacking(is_new ? before : this.#kept, told);
    const { as_number, cluster_id, labels } = this.#kept;
    this.#node = {
      ...told,
      ...(as_number !== undefined && { as_number }),
      ...(cluster_id !== undefined && { cluster_id }),
      labels: { ...labels, ...told.labels },
    };
  }

  /** What counts though the object does not say it. */
  troubles(): readonly string[] {
    if (this.#is_away) return ['the object is gone: what it said before holds'];
    const { as_number, cluster_id, labels } = this.#kept;
    const kept = [
      ...(as_number === undefined ? [] : [`AS ${as_number}`]),
      ...(cluster_id === undefined ? [] : [`route reflector cluster ${cluster_id}`]),
      ...Object.entries(labels).map(([key, value]) => `label ${key}=${value}`),
    ];
    return kept.map(
      (what) =>
        `the object was made anew without its ${what}, which still holds: write it again, or start this process again to be without`,
    );
  }
}

function lacking({ as_number, cluster_id, labels }: Kept, told: CalicoNode): Kept {
  return {
    ...(told.as_number === undefined && as_number !== undefined && { as_number }),
    ...(told.cluster_id === undefined && cluster_id !== undefined && { cluster_id }),
    labels: Object.fromEntries(Object.entries(labels).filter(([key]) => !(key in told.labels))),
  };
}
