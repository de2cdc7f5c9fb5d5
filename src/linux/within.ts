import type { NetworkNamespace } from './network.js';

/** Closes it at the end. */
export function within<T>(namespace: NetworkNamespace, run: (namespace: NetworkNamespace) => T): T {
  try {
    return run(namespace);
  } finally {
    namespace.close();
  }
}
