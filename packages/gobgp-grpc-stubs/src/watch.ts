import { setImmediate } from 'node:timers/promises';
import { Attribute, MpReachNlri } from './api/attribute.js';
import type { Family } from './api/family.js';
import type { Global } from './api/global.js';
import { Path } from './api/path.js';
import type { Peer } from './api/peer.js';
import type { WatchEventRequest, WatchEventResponse } from './api/watch.js';
import type { Only } from './codec.js';
import { MalformedError } from './errors.js';
import type { Input, Message, Output, Union } from './schema.js';
import { has, type Version } from './version.js';

/** What `watch` follows; at least one of them. */
export interface WatchOptions {
  /** Sessions: all as they are now, then each change. */
  readonly peers?: boolean;
  /** Best paths: all as they are now, then each change. */
  readonly best?: boolean;
  /**
   * Of a path no more is read than where it leads and whose it is: `nlri`, `family`, `neighbor_ip`, `identifier`, `is_withdraw`, and of its attributes
   * `next_hop`, the next hops of `mp_reach`, and `tunnel_encap`, which is what an SR policy says. All else is as if it had not come. For tables of a hundred thousand.
   */
  readonly brief?: boolean;
  /** What a peer has told to the end, after its session came up. Needs 3.24. */
  readonly end_of_rib?: boolean;
  /** At most so many paths in an event (512), but for what was told in one message after the beginning. Other work has its turn between two of them. */
  readonly paths_max?: number;
}

export type WatchEvent =
  /** `conf` has who it is, `state` what became of it. `initial`: as it is when the watch begins. */
  | { readonly type: 'peer'; readonly peer: Peer; readonly initial: boolean }
  /** Every peer that was there has been told. */
  | { readonly type: 'peers_complete' }
  /**
   * Best paths that are there (`initial`), each for itself, or have changed. `whole`: paths of one NLRI that stand one after the other are all that it
   * has; one with `is_withdraw`: it has none. Otherwise a path replaces the one of its NLRI that has its `neighbor_ip` and `identifier`, and
   * one with `is_withdraw` takes it away. An NLRI has several where BGP was started with `use_multiple_paths`.
   */
  | {
      readonly type: 'paths';
      readonly paths: readonly Path[];
      readonly initial: boolean;
      readonly whole: boolean;
    }
  /** Every best path that was there has been told: what was not among them is gone. */
  | { readonly type: 'paths_complete' }
  | { readonly type: 'end_of_rib'; readonly neighbor_ip: string; readonly family: Family };

const batch_size = 1000;

export const brief_paths: Only = new Map<Message | Union, ReadonlySet<string>>([
  [Path, new Set(['nlri', 'family', 'neighbor_ip', 'identifier', 'is_withdraw', 'pattrs'])],
  [Attribute, new Set(['next_hop', 'mp_reach', 'tunnel_encap'])],
  [MpReachNlri, new Set(['next_hops'])],
]);

/** Whether this path is no path, but a peer's word that it has told all of a family. */
export const isEndOfRib = ({ nlri }: Path): boolean => nlri.type === 'unknown' && nlri.tag === '';

export function watchRequest(options: WatchOptions, version: Version): Input<typeof WatchEventRequest> {
  const { peers = false, best = false, end_of_rib = false } = options;
  if (!peers && !best && !end_of_rib)
    throw new MalformedError('watch: nothing to watch: peers, best or end_of_rib');
  const filters = [
    ...(best ? [{ type: 'best', init: true } as const] : []),
    ...(end_of_rib ? [{ type: 'eor', init: true } as const] : []),
  ];
  return {
    ...(peers ? { peer: {} } : {}),
    ...(filters.length > 0 ? { table: { filters } } : {}),
    ...(batches(version) ? { batch_size } : {}),
  };
}

const batches = (version: Version): boolean => has(version, '3.27');

/** Where there may be several best paths, it tells what has become of one, and not all that there are by now. */
const differs = (version: Version): boolean => has(version, '4.7');

/**
 * The events in what WatchEvent says.
 *
 * No message says where the paths of the beginning end, but their number does. Without batches they are the first message,
 * however many they are. With batches a message has one path more than `batch_size`, and the last of them fewer: none, at least.
 */
export async function* watchEvents(
  responses: AsyncIterable<readonly Output<typeof WatchEventResponse>[]>,
  options: WatchOptions,
  version: Version,
  { use_multiple_paths }: Pick<Global, 'use_multiple_paths'>,
): AsyncGenerator<WatchEvent, void, undefined> {
  const { paths_max = 512 } = options;
  const whole = !(use_multiple_paths && differs(version));
  const full = batches(version) ? batch_size + 1 : Number.POSITIVE_INFINITY;
  let peers_initial = true;
  let paths_initial = options.best === true;
  for await (const come of responses) {
    // Without batches a message has one path: those that have come together are told together.
    let together: Path[] = [];
    const told = function* (): Generator<WatchEvent> {
      if (together.length > 0) yield { type: 'paths', paths: together, initial: false, whole };
      together = [];
    };
    for (const { peer: event, table } of come) {
      if (table?.paths.length === 1 && !paths_initial) {
        const only = table.paths.slice()[0]!;
        if (!isEndOfRib(only)) {
          // What is told of one NLRI by two messages is two events.
          if (together.length === paths_max || isOfSame(together.at(-1), only)) yield* told();
          together.push(only);
          continue;
        }
      }
      yield* told();
      if (event?.type === 'end_of_init') {
        peers_initial = false;
        yield { type: 'peers_complete' };
      } else if (event?.peer !== undefined) {
        yield { type: 'peer', peer: event.peer, initial: peers_initial };
      }
      if (table === undefined) continue;
      // What belongs together is of one NLRI, and not more than there are peers.
      const length = paths_initial ? paths_max : table.paths.length;
      for (let start = 0; start < table.paths.length; start += length) {
        if (start > 0) await setImmediate();
        const paths = table.paths.slice(start, start + length);
        const [only] = paths;
        if (only !== undefined && table.paths.length === 1 && isEndOfRib(only))
          yield { type: 'end_of_rib', neighbor_ip: only.neighbor_ip, family: only.family };
        else yield { type: 'paths', paths, initial: paths_initial, whole };
      }
      if (paths_initial && table.paths.length < full) {
        paths_initial = false;
        yield { type: 'paths_complete' };
      }
    }
    yield* told();
  }
}

function isOfSame(before: Path | undefined, { nlri }: Path): boolean {
  if (before?.nlri.type === 'sr_policy' && nlri.type === 'sr_policy') {
    const { endpoint, color, distinguisher } = before.nlri;
    const is_same = color === nlri.color && distinguisher === nlri.distinguisher;
    return is_same && Buffer.compare(endpoint, nlri.endpoint) === 0;
  }
  return (
    before?.nlri.type === 'prefix' &&
    nlri.type === 'prefix' &&
    before.nlri.prefix === nlri.prefix &&
    before.nlri.prefix_len === nlri.prefix_len
  );
}
