import type { Clock } from '../clock.js';

/** A named predicate that must hold for new pods to be scheduled on this node. */
export interface Condition {
  readonly name: string;
  readonly ok: boolean;
  /** Milliseconds since 1970 at which `ok` last changed, or the condition was first heard of. */
  readonly since_ms: number;
  /** For a person. Empty when there is nothing to say. */
  readonly reason: string;
}

/** What actors see of the board: each reports on the condition that is its own. */
export interface Board {
  /** Idempotent. A new reason alone does not move `since_ms`. */
  set(name: string, ok: boolean, reason: string): void;
  /** Forgets a condition that does not apply to this node any more. */
  clear(name: string): void;
}

export interface ConditionBoard extends Board {
  /** In the order in which they were first heard of. */
  list(): readonly Condition[];
}

/**
 * Keeps the readiness conditions. Those in `expected` do not hold until somebody has reported on them: a part that has
 * not started yet must not look ready. `changed` is called after a condition began or ceased to hold.
 */
export function conditionBoard(
  clock: Pick<Clock, 'wall_ms'>,
  expected: readonly string[] = [],
  changed: () => void = () => {},
): ConditionBoard {
  const since_ms = clock.wall_ms();
  const conditions = new Map<string, Condition>(
    expected.map((name) => [name, { name, ok: false, since_ms, reason: 'nothing reported yet' }]),
  );
  return {
    set(name, ok, reason) {
      const before = conditions.get(name);
      const same = before?.ok === ok;
      conditions.set(name, { name, ok, since_ms: same ? before.since_ms : clock.wall_ms(), reason });
      if (!same) changed();
    },
    clear(name) {
      if (conditions.delete(name)) changed();
    },
    list: () => [...conditions.values()],
  };
}
