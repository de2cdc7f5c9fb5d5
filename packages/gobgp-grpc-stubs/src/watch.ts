import { setImmediate } from 'node:timers/promises';
import type { Family } from './api/family.js';
import type { Global } from './api/global.js';
import type { Path } from './api/path.js';
import type { Peer } from './api/peer.js';
import type { WatchEventRequest, WatchEventResponse } from './api/watch.js';
import { BriefPath } from './brief.js';
import { MalformedError } from './errors.js';
import { Lazy } from './lazy.js';
import type { Input, Output } from './schema.js';
import { has, type Version } from './version.js';

/** What `watch` follows; at least one of them. */
export interface WatchOptions {
  /** Sessions: all as they are now, then each change. */
  readonly peers?: boolean;
  /** Best paths: all as they are now, then each change. */
  readonly best?: boolean;
  /** Of a path no more is read than where it leads and whose it is: events have `BriefPath`s. For tables of a hundred thousand routes. */
  readonly brief?: boolean;
  /** What a peer has told to the end, after its session came up. Needs 3.24. */
  readonly end_of_rib?: boolean;
  /** At most so many paths in an event (512), but for what was told in one message after the beginning. Other work has its turn between two of them. */
  readonly paths_max?: number;
}

export type WatchEvent<P = Path> =
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
      readonly paths: readonly P[];
      readonly initial: boolean;
      readonly whole: boolean;
    }
  /** Every best path that was there has been told: what was not among them is gone. */
  | { readonly type: 'paths_complete' }
  | { readonly type: 'end_of_rib'; readonly neighbor_ip: string; readonly family: Family };

const batch_size = 1000;

/** Whether this path is no path, but a peer's word that it has told all of a family. */
export const isEndOfRib = ({ nlri }: Path): boolean => nlri.type === 'unknown' && nlri.tag === '';

/** What WatchEvent answers: paths as they are read in brief, or all of it. */
export type WatchAnswer = BriefPath | Lazy<BriefPath> | Output<typeof WatchEventResponse>;

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
export async function* watchEvents<P extends Path | BriefPath = Path>(
  answers: AsyncIterable<readonly WatchAnswer[]>,
  options: WatchOptions,
  version: Version,
  { use_multiple_paths }: Pick<Global, 'use_multiple_paths'>,
): AsyncGenerator<WatchEvent<P>, void, undefined> {
  const { paths_max = 512 } = options;
  const whole = !(use_multiple_paths && differs(version));
  const full = batches(version) ? batch_size + 1 : Number.POSITIVE_INFINITY;
  let peers_initial = true;
  let paths_initial = options.best === true;
  for await (const come of answers) {
    // Without batches a message has one path: those that have come together are told together.
    let together: P[] = [];
    const told = function* (): Generator<WatchEvent<P>> {
      if (together.length > 0) yield { type: 'paths', paths: together, initial: false, whole };
      together = [];
    };
    for (const answer of come) {
      const only = paths_initial ? undefined : (onlyPathOf(answer) as P | undefined);
      if (only !== undefined) {
        // What is told of one NLRI by two messages is two events.
        if (together.length === paths_max || isOfSame(together.at(-1), only)) yield* told();
        together.push(only);
        continue;
      }
      yield* told();
      const event = isResponse(answer) ? answer.peer : undefined;
      if (event?.type === 'end_of_init') {
        peers_initial = false;
        yield { type: 'peers_complete' };
      } else if (event?.peer !== undefined) {
        yield { type: 'peer', peer: event.peer, initial: peers_initial };
      }
      const all = isResponse(answer) ? answer.table?.paths : answer;
      if (all === undefined) continue;
      // What belongs together is of one NLRI, and not more than there are peers.
      const count = all instanceof BriefPath ? 1 : all.length;
      const length = paths_initial ? paths_max : count;
      for (let start = 0; start < count; start += length) {
        if (start > 0) await setImmediate();
        const paths = all instanceof BriefPath ? [all] : all.slice(start, start + length);
        const end = count === 1 ? endOfRibIn(paths) : undefined;
        yield end ?? {
          type: 'paths',
          paths: paths as unknown as readonly P[],
          initial: paths_initial,
          whole,
        };
      }
      if (paths_initial && count < full) {
        paths_initial = false;
        yield { type: 'paths_complete' };
      }
    }
    yield* told();
  }
}

function isResponse(answer: WatchAnswer): answer is Output<typeof WatchEventResponse> {
  return !(answer instanceof BriefPath || answer instanceof Lazy);
}

/** That of an answer which has no other one. */
function onlyPathOf(answer: WatchAnswer): Path | BriefPath | undefined {
  if (answer instanceof BriefPath) return answer;
  if (!isResponse(answer) || answer.table?.paths.length !== 1) return undefined;
  const [only] = answer.table.paths.slice();
  return isEndOfRib(only!) ? undefined : only;
}

/** Of those read in brief none is such a word. */
function endOfRibIn([path]: readonly (Path | BriefPath)[]) {
  if (path === undefined || path instanceof BriefPath || !isEndOfRib(path)) return undefined;
  return { type: 'end_of_rib', neighbor_ip: path.neighbor_ip, family: path.family } as const;
}

function isOfSame(before: Path | BriefPath | undefined, path: Path | BriefPath): boolean {
  if (before === undefined) return false;
  if (path instanceof BriefPath || before instanceof BriefPath) {
    const [one, other] = [before as BriefPath, path as BriefPath];
    if (one.prefix !== undefined || other.prefix !== undefined) return one.prefix === other.prefix;
    return one.whole !== undefined && other.whole !== undefined && isOfSame(one.whole, other.whole);
  }
  const { nlri } = path;
  if (before.nlri.type === 'sr_policy' && nlri.type === 'sr_policy') {
    const { endpoint, color, distinguisher } = before.nlri;
    const is_same = color === nlri.color && distinguisher === nlri.distinguisher;
    return is_same && Buffer.compare(endpoint, nlri.endpoint) === 0;
  }
  return (
    before.nlri.type === 'prefix' &&
    nlri.type === 'prefix' &&
    before.nlri.prefix === nlri.prefix &&
    before.nlri.prefix_len === nlri.prefix_len
  );
}
