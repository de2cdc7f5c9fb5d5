/** What a VPP holds, read beside the node that programs it, with the node's own functions: nothing in it is changed. */
import type { Client } from 'vpp-binapi-ts';
import { owners } from '../src/objects/owner.js';
import type { Scope, Snapshot } from '../src/reconcile/snapshot.js';
import { findFibSources } from '../src/vpp-conn/fib-sources.js';
import { Handles } from '../src/vpp-conn/handles.js';
import { observe } from '../src/vpp-conn/observe/observe.js';
import { Registry } from '../src/vpp-conn/registry.js';
import { memoryFile } from './memory-file.js';

export const everything: readonly Scope[] = [...owners, 'nobody'];

/** A registry as its file says, that is never written to. */
export function registryOf(text: string | undefined, vpp: string): Registry {
  return new Registry(memoryFile(text), vpp);
}

/** All that a node may have put there; without `registry`, what VPP itself shows. Rejects while the node has not made its FIB sources. */
export async function lookAt(
  vpp: Client,
  registry: Registry = registryOf(undefined, ''),
  scopes: readonly Scope[] = everything,
): Promise<Snapshot> {
  const handles = new Handles();
  const lacking = await findFibSources(vpp, handles);
  if (lacking.length > 0) throw new Error(`VPP has no FIB source ${lacking[0]!.name}`);
  return observe(vpp, scopes, handles, registry);
}
