/**
 * The routes that gobgpd has chosen, and which of their changes connectivity is to be told. A prefix has as many paths as are equally good.
 *
 * What a peer has told goes on to hold while that peer is waited for: when gobgpd died, when its session is made anew, when this process begins
 * beside a gobgpd that runs. Until the peer has told all again, or the time it has for that is over, nothing that came from it is
 * withdrawn; beside a path that is there it holds for a moment alone. A path that was not there before is news that those know nothing of: it takes
 * their place. Pure.
 */
import type { BriefPath, WatchEvent } from 'gobgp-grpc-stubs';
import { SharedLists } from '../desired/shared-lists.js';
import { isMeantFor, isSrPolicyKey, srPolicyKey } from '../desired/sr-policy.js';
import { canonicalPrefix } from '../ip/spelling.js';
import { type Known, KnownPaths } from './known-paths.js';
import { isPrefix, nextHopOf } from './local-paths.js';
import { networkKeyOf } from './network-paths.js';
import { srPolicyNameOf, srPolicyTexts } from './sr-paths.js';

export interface RemoteRoute {
  /** Or the key of an SR policy. */
  readonly prefix: string;
  /** At least one, each once, sorted; of an SR policy what it says, as text. */
  readonly next_hops: readonly string[];
}

/**
 * Paths kept. A router that leaks the internet's table is not to fill this process, nor VPP. The first path to a prefix goes before the second to
 * another one: what is told more than once, by reflectors or ToRs, costs no prefix its route.
 */
export const paths_max = 300_000;

/** Next hops of a route. VPP has up to 1024 buckets for so many, of 8 bytes, and an anycast address may be told by a thousand nodes. */
export const next_hops_max = 64;

type Told = Pick<Extract<WatchEvent<BriefPath>, { type: 'paths' }>, 'paths' | 'initial' | 'whole'>;

/** How long a peer is waited for. */
interface Waiting {
  readonly until_ms: number;
  /** A path of it that is out of sight was seen beside one that is there. */
  is_beside: boolean;
  /** Until when such ones hold: counted from the next look at the time. */
  beside_until_ms: number | undefined;
  /** That is over. */
  yields: boolean;
}

const none: readonly Known[] = [];

/**
 * A path that is out of sight holds for so long beside one that is there, from when this was first there: a session takes up to ten seconds to come
 * up. Flows that go to a router which is gone are lost, and the other one could have them.
 */
export const beside_ms = 15_000;

export class RemoteTable {
  /** By prefix; none is empty. Lists that are alike are one. */
  readonly #known = new Map<string, readonly Known[]>();
  readonly #paths = new KnownPaths();
  readonly #lists = new SharedLists<Known>();
  #count = 0;
  /** Prefixes with more than one path: who had one taken away last is the last of them. */
  readonly #plural = new Set<string>();
  /** Prefixes of which gobgpd has more paths than are kept. */
  readonly #cut = new Set<string>();
  /** One of these has lost what was kept: gobgpd may have another path to it. */
  #bereft = false;
  /** Prefixes of which something is to be told. */
  readonly #dirty = new Set<string>();
  /** SR policies likewise. */
  readonly #dirty_policies = new Set<string>();
  /** Peers that are waited for. */
  readonly #awaited = new Map<string, Waiting>();
  #gateways: ReadonlyMap<string, string> = new Map();
  /** Of this node. */
  #identifier: string | undefined;
  readonly #max: number;
  #refused = 0;
  #beginning = 0;
  #complete = false;
  /** Paths that lead nowhere that can be told. */
  unusable = 0;

  constructor(max = paths_max) {
    this.#max = max;
  }

  /** Paths that there was no room for since gobgpd began to tell its table. */
  get refused(): number {
    return this.#refused;
  }

  /** Some were refused, and there is room again, or need of them: only a table that is told from its beginning has them. */
  get is_worth_telling_again(): boolean {
    return (this.#bereft && this.settled) || (this.#refused > 0 && this.#count < 0.9 * this.#max);
  }

  /** Prefixes of routes that hold. */
  *prefixes(): Iterable<string> {
    for (const key of this.#known.keys()) if (isPrefix(key)) yield key;
  }

  /** Routes that hold now. */
  get size(): number {
    return this.#known.size;
  }

  /** Their paths. */
  get paths_count(): number {
    return this.#count;
  }

  get waiting(): number {
    return this.#awaited.size;
  }

  get unsent(): number {
    return this.#dirty.size + this.#dirty_policies.size;
  }

  isAwaited(neighbour: string): boolean {
    return this.#awaited.has(neighbour);
  }

  /** The table was told from its beginning, and nobody is waited for. */
  get settled(): boolean {
    return this.#complete && this.#awaited.size === 0;
  }

  /** gobgpd begins to tell its table. */
  begin(): void {
    this.#beginning += 1;
    this.#refused = 0;
    this.#cut.clear();
    this.#bereft = false;
    this.#complete = false;
  }

  /** gobgpd has told its table: what was not in it is gone. */
  complete(): void {
    this.#complete = true;
    for (const [prefix, paths] of this.#known)
      if (paths.some(({ seen, gone }) => seen !== this.#beginning && !gone))
        this.#keep(prefix, paths, ({ seen }) => seen === this.#beginning);
  }

  /** gobgpd is gone: what was told holds as long as its peers are waited for, those of which nobody knows anything until `until_ms`. */
  lost(until_ms: number): void {
    this.#complete = false;
    for (const [prefix, paths] of this.#known) {
      for (const { neighbour } of paths) this.await(neighbour, until_ms);
      this.#known.set(prefix, this.#shared(paths.map((known) => this.#paths.gone(known))));
    }
  }

  /** Withdrawals of this peer's routes are kept back. One that is waited for already gets no more time: gobgpd may die again and again. */
  await(neighbour: string, until_ms: number): void {
    if (this.#awaited.has(neighbour)) return;
    const waiting = { until_ms, is_beside: false, beside_until_ms: undefined, yields: false };
    this.#awaited.set(neighbour, waiting);
  }

  /** All that have told a route. */
  neighbours(): ReadonlySet<string> {
    const all = new Set<string>();
    for (const paths of this.#known.values()) for (const { neighbour } of paths) all.add(neighbour);
    return all;
  }

  /** These have told all again, or are no peers any more. */
  release(...neighbours: readonly string[]): void {
    const released = new Set(neighbours.filter((each) => this.#awaited.delete(each)));
    if (released.size > 0) this.#drop(({ neighbour }) => released.has(neighbour));
  }

  /** Of those that are out of sight. */
  #drop(isOver: (known: Known) => boolean): void {
    for (const [prefix, paths] of this.#known)
      if (paths.some((known) => known.gone && isOver(known)))
        this.#put(
          prefix,
          paths,
          paths.filter((known) => !known.gone || !isOver(known)),
        );
  }

  /** Releases those whose time is over, and gives them. */
  expire(now_ms: number): readonly string[] {
    const over: string[] = [];
    let yields = false;
    for (const [neighbour, waiting] of this.#awaited) {
      if (waiting.until_ms <= now_ms) over.push(neighbour);
      if (!waiting.is_beside || waiting.yields) continue;
      waiting.beside_until_ms ??= now_ms + beside_ms;
      if (waiting.beside_until_ms > now_ms) continue;
      waiting.yields = true;
      yields = true;
    }
    this.release(...over);
    if (yields) for (const [prefix, paths] of this.#known) this.#sight(prefix, paths);
    return over;
  }

  /** What is out of sight has come to be beside what is there, or is so for too long. */
  #sight(prefix: string, paths: readonly Known[]): void {
    if (paths.length > 1) this.#put(prefix, paths, paths);
  }

  /** Less those that have been out of sight, beside one that is there, for too long. */
  #inTime(paths: readonly Known[]): readonly Known[] {
    if (paths.length < 2 || !paths.some(({ gone }) => gone) || paths.every(({ gone }) => gone)) return paths;
    return paths.filter(({ gone, neighbour }) => {
      const waiting = gone ? this.#awaited.get(neighbour) : undefined;
      if (waiting === undefined) return true;
      waiting.is_beside = true;
      return !waiting.yields;
    });
  }

  /** Routes to gateways, which come before what is learned. */
  gateways(gateways: ReadonlyMap<string, string>): void {
    const before = this.#gateways;
    this.#gateways = gateways;
    for (const prefix of new Set([...before.keys(), ...gateways.keys()]))
      if (before.get(prefix) !== gateways.get(prefix)) this.#touch(prefix);
  }

  /** The BGP identifier of this node: SR policies may be meant for some nodes alone. Until it is known those are not told. */
  identify(identifier: string): void {
    if (this.#identifier === identifier) return;
    this.#identifier = identifier;
    for (const key of this.#known.keys()) if (isSrPolicyKey(key)) this.#touch(key);
  }

  /** What gobgpd's watch tells, in its order. */
  take({ paths, initial, whole }: Told): void {
    let prefix: string | undefined;
    let set: Known[] = [];
    const takeSet = (): void => {
      if (prefix !== undefined) this.#takeSet(prefix, set);
      set = [];
    };
    for (const path of paths) {
      const its_prefix = keyOf(path);
      if (its_prefix === undefined) continue;
      const known = this.#knownOf(path);
      if (initial || !whole) this.#takeOne(its_prefix, path, known);
      else {
        if (its_prefix !== prefix) takeSet();
        prefix = its_prefix;
        if (known !== undefined) set.push(known);
      }
    }
    takeSet();
  }

  /** Undefined: it is withdrawn, or leads nowhere, or is of this node: where an own path is the best there is no other to follow. */
  #knownOf(path: BriefPath): Known | undefined {
    const { neighbor_ip: neighbour, identifier, is_withdraw } = path;
    if (is_withdraw || neighbour === '') return undefined;
    const policy = path.whole && srPolicyTexts(path.whole)?.[1];
    const known =
      policy === undefined
        ? this.#paths.of(neighbour, identifier, nextHop(path), this.#beginning)
        : this.#paths.saying(neighbour, identifier, policy, this.#beginning);
    if (known === undefined) this.unusable += 1;
    return known;
  }

  /** A path comes, takes the place of the one that the same peer has told before, or goes. */
  #takeOne(prefix: string, of: Pick<BriefPath, 'neighbor_ip' | 'identifier'>, told: Known | undefined): void {
    const before = this.#known.get(prefix) ?? none;
    const old = before.find(
      ({ neighbour, identifier }) => neighbour === of.neighbor_ip && identifier === of.identifier,
    );
    if (told === undefined) {
      if (old !== undefined && !old.gone) this.#keep(prefix, before, (known) => known !== old);
    } else if (old !== undefined && isAlike(old, told)) {
      const now = before.map((known) => (known === old ? told : known));
      this.#known.set(prefix, this.#shared(now));
      this.#sight(prefix, now);
    } else {
      const others = before.filter((known) => known !== old && !known.gone && known.seen === this.#beginning);
      this.#put(prefix, before, [...others, told]);
    }
  }

  /** These, and no others, are the best paths to it. A gobgpd before 4.7 tells all of them as often as one comes or goes. */
  #takeSet(prefix: string, told: readonly Known[]): void {
    const before = this.#known.get(prefix) ?? none;
    if (this.#cut.size > 0) this.#cut.delete(prefix);
    const [only] = told;
    // Most have one path, and nobody is waited for.
    if (told.length <= 1 && before.length <= 1) {
      if (only !== undefined && before[0] !== undefined && isAlike(before[0], only)) {
        if (before[0] !== only) this.#known.set(prefix, only.alone);
        return;
      }
      if (this.#awaited.size === 0) return this.#put(prefix, before, only?.alone ?? none);
    }
    const now = new ByPeer(told);
    const left = before.filter((known) => !now.has(known));
    const is_news = told.length + left.length > before.length;
    const kept = is_news
      ? none
      : left.flatMap((known) => (this.#awaited.has(known.neighbour) ? this.#paths.gone(known) : []));
    this.#put(prefix, before, [...told, ...kept]);
  }

  /** Those that fail `holds` are gone, or only out of sight, as long as their peer is waited for. */
  #keep(prefix: string, paths: readonly Known[], holds: (known: Known) => boolean): void {
    const kept = paths.flatMap((known) => {
      if (holds(known)) return known;
      return this.#awaited.has(known.neighbour) ? this.#paths.gone(known) : [];
    });
    this.#put(prefix, paths, kept);
  }

  #shared(paths: readonly Known[]): readonly Known[] {
    return paths.length === 1 ? paths[0]!.alone : this.#lists.of(paths.slice());
  }

  #put(prefix: string, before: readonly Known[], paths: readonly Known[]): void {
    const taken = this.#fitting(prefix, before, this.#inTime(paths));
    this.#count += taken.length - before.length;
    if (taken.length > 1) this.#plural.add(prefix);
    else if (before.length > 1) this.#plural.delete(prefix);
    if (taken.length > 0) this.#known.set(prefix, this.#shared(taken));
    else {
      this.#known.delete(prefix);
      if (before.length > 0 && this.#cut.delete(prefix)) this.#bereft = true;
    }
    if (!leadAlike(before, taken)) this.#touch(prefix);
  }

  /** What of them there is room for. What is there changes all the same, and a prefix without a path gets one. */
  #fitting(prefix: string, before: readonly Known[], paths: readonly Known[]): readonly Known[] {
    const room = this.#max - this.#count;
    if (paths.length <= before.length + room) return paths;
    if (before.length === 0 && room <= 0) this.#makeRoom();
    const taken = paths.slice(0, before.length + Math.max(0, this.#max - this.#count));
    this.#refused += paths.length - taken.length;
    if (taken.length > 0) this.#cut.add(prefix);
    return taken;
  }

  /** A prefix with several paths loses one, which leads where another one leads if there is such; these prefixes take turns. */
  #makeRoom(): void {
    for (const prefix of this.#plural) {
      const paths = this.#known.get(prefix)!;
      const dropped = leastOf(paths);
      this.#plural.delete(prefix);
      this.#put(
        prefix,
        paths,
        paths.filter((_, at) => at !== dropped),
      );
      this.#refused += 1;
      this.#cut.add(prefix);
      return;
    }
  }

  /** At most so many changes, which count as told. Policies first: a prefix that goes by one is not to go by another way until it is known. */
  changes(max: number): Map<string, RemoteRoute | undefined> {
    const changes = new Map<string, RemoteRoute | undefined>();
    for (const dirty of [this.#dirty_policies, this.#dirty])
      for (const prefix of dirty) {
        if (changes.size === max) return changes;
        changes.set(prefix, this.#route(prefix));
        dirty.delete(prefix);
      }
    return changes;
  }

  /** These were not taken in after all. */
  giveBack(changes: ReadonlyMap<string, unknown>): void {
    for (const prefix of changes.keys()) this.#touch(prefix);
  }

  #touch(prefix: string): void {
    (isSrPolicyKey(prefix) ? this.#dirty_policies : this.#dirty).add(prefix);
  }

  #route(prefix: string): RemoteRoute | undefined {
    const gateway = this.#gateways.get(prefix);
    if (gateway !== undefined) return { prefix, next_hops: [gateway] };
    const paths = this.#known.get(prefix);
    if (paths === undefined) return undefined;
    const next_hops = nextHopsOf(paths);
    if (!isSrPolicyKey(prefix)) return { prefix, next_hops: firstOf(next_hops) };
    const meant = next_hops.filter((text) => isMeantFor(text, this.#identifier));
    return meant.length === 0 ? undefined : { prefix, next_hops: firstOf(meant) };
  }
}

/** The prefix of a route, or the key of an SR policy. */
function keyOf({ prefix, whole }: BriefPath): string | undefined {
  if (prefix !== undefined) return canonicalPrefix(prefix);
  const name = whole && srPolicyNameOf(whole);
  return (name && srPolicyKey(name)) ?? (whole && networkKeyOf(whole));
}

/** The place of the one that would be missed least. */
function leastOf(paths: readonly Known[]): number {
  const hops = new Set<string>();
  for (const [at, { next_hop }] of paths.entries()) {
    if (hops.has(next_hop)) return at;
    hops.add(next_hop);
  }
  return paths.length - 1;
}

/** Paths of one prefix, which a thousand peers may tell. */
class ByPeer {
  readonly #all = new Map<string, Known[]>();

  constructor(paths: readonly Known[]) {
    for (const known of paths) {
      const of_peer = this.#all.get(known.neighbour);
      if (of_peer === undefined) this.#all.set(known.neighbour, [known]);
      else of_peer.push(known);
    }
  }

  has(known: Known): boolean {
    return this.#all.get(known.neighbour)?.some((each) => isAlike(each, known)) === true;
  }
}

const isAlike = (one: Known, other: Known): boolean =>
  one.next_hop === other.next_hop && one.neighbour === other.neighbour && one.identifier === other.identifier;

/** Each once, sorted: what is told depends on no order. */
function nextHopsOf(paths: readonly Known[]): readonly string[] {
  const [only] = paths;
  if (only !== undefined && paths.length === 1) return only.hops;
  return [...new Set(paths.map(({ next_hop }) => next_hop))].sort();
}

const firstOf = (hops: readonly string[]): readonly string[] =>
  hops.length > next_hops_max ? hops.slice(0, next_hops_max) : hops;

function leadAlike(before: readonly Known[], after: readonly Known[]): boolean {
  if (before === after) return true;
  if (before.length === 0 || after.length === 0) return before.length === after.length;
  if (before.length === 1 && after.length === 1) return before[0]!.next_hop === after[0]!.next_hop;
  return nextHopsOf(before).join() === nextHopsOf(after).join();
}

/** Of a path that is told as a whole it stands among its attributes. */
const nextHop = ({ next_hop, whole }: BriefPath): string =>
  next_hop !== '' || whole === undefined ? next_hop : (nextHopOf(whole) ?? '');
