import type { Learner } from '../actors/cluster.js';

/** Keeps all objects of a kind, and is called with them once they are known, and with each change. */
export function learner<T>(kind: Learner['kind'], learn: (all: ReadonlyMap<string, T>) => void): Learner {
  const all = new Map<string, T>();
  return {
    kind,
    take({ changed, synced }) {
      for (const [key, value] of changed) {
        if (value === undefined) all.delete(key);
        else all.set(key, value as T);
      }
      if (synced) learn(all);
    },
  };
}
