/**
 * FIB sources: how VPP itself tells whose a route is. One for each owner, by a name that a fresh process finds again. Where two owners
 * have a route to one prefix, VPP forwards by the one with the lower priority, and by the other when that goes.
 */
import type { Client } from 'vpp-binapi-ts';
import { fib_source_add, fib_source_dump } from 'vpp-binapi-ts/fib';
import type { RouteSource } from '../objects/routing.js';
import type { Handles } from './handles.js';

/**
 * FIB_SOURCE_API of VPP's fib_source.h, which every VPP has. It is the node's: of the routes of the API and of the CLI alone VPP makes
 * attached ones (seen: with a source of one's own VPP refuses the ARP requests of a gateway that has a /32), and only the node has such.
 */
const api_source_id = 8;

/**
 * A pod's address is its own whatever else is known of it; what the host was configured with (VPP gives its API 0x80) goes before what
 * services refuse, and that before what is learned from the network: a prefix of services that other nodes announce leads to none of them.
 */
const sources: Readonly<
  Record<Exclude<RouteSource, 'node'>, { readonly name: string; readonly priority: number }>
> = {
  pods: { name: 'calico-pods', priority: 0x70 },
  services: { name: 'calico-services', priority: 0x84 },
  connectivity: { name: 'calico-connectivity', priority: 0x88 },
};

export const route_sources: readonly RouteSource[] = ['pods', 'node', 'services', 'connectivity'];

/** By owner, whose routes VPP forwards by in place of its own to the same prefix. */
export const before_own: Readonly<Record<'services' | 'connectivity', readonly RouteSource[]>> = {
  services: ['pods', 'node'],
  connectivity: ['pods', 'node', 'services'],
};

/** Sources that this VPP has by our names, with other priorities, for people: VPP changes none, and lets none go. */
export async function oddFibSources(vpp: Pick<Client, 'dump'>): Promise<readonly string[]> {
  const there = await vpp.dump(fib_source_dump, {});
  return Object.values(sources).flatMap(({ name, priority }) => {
    const known = there.find(({ src }) => src.name === name);
    if (known === undefined || known.src.priority === priority) return [];
    return `FIB source ${name}: ours has priority ${priority}, VPP's ${known.src.priority}: until VPP is restarted its routes come before, or behind, those of others in another order`;
  });
}

interface OwnSource {
  readonly source: RouteSource;
  readonly name: string;
  readonly priority: number;
}

/** Learns our sources in this VPP, without changing it; answers those that it lacks. Rejects with the connection. */
export async function findFibSources(
  vpp: Pick<Client, 'dump'>,
  handles: Handles,
): Promise<readonly OwnSource[]> {
  const there = await vpp.dump(fib_source_dump, {});
  handles.setFibSource('node', api_source_id);
  return Object.entries(sources).flatMap(([own, { name, priority }]) => {
    const source = own as RouteSource;
    // VPP does not mind a name twice: the one that was made first has the routes.
    const known = there.find(({ src }) => src.name === name);
    if (known === undefined) return [{ source, name, priority }];
    handles.setFibSource(source, known.src.id);
    return [];
  });
}

/**
 * Finds our sources in this VPP, and makes those that it lacks: it has room for some two hundred. Answers whether an earlier session
 * of ours, of whatever process, was there before. Rejects with the connection.
 */
export async function openFibSources(
  vpp: Pick<Client, 'dump' | 'request'>,
  handles: Handles,
): Promise<'never' | 'before'> {
  const lacking = await findFibSources(vpp, handles);
  await Promise.all(
    lacking.map(async ({ source, name, priority }) => {
      const { id } = await vpp.request(fib_source_add, { src: { priority, id: 0, name } });
      // 0 says that none is left, and means VPP's own one: routes of this owner are then refused for want of a source.
      if (id !== 0) handles.setFibSource(source, id);
    }),
  );
  return lacking.length === Object.keys(sources).length ? 'never' : 'before';
}
