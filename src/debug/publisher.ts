import { getHeapStatistics } from 'node:v8';
import type { Clock } from '../clock.js';
import { Histogram } from '../supervision/histogram.js';
import type { ActorDetails, Counters, Event, TreeNode } from '../supervision/types.js';
import { build } from './build.js';
import type { Condition } from './conditions.js';
import {
  type ErrorsSection,
  type EventsSection,
  type HealthSection,
  machineTime_ns,
  type RuntimeSection,
  type SectionName,
  type SharedMemory,
  section_bytes,
  section_names,
  type TreeSection,
  type Written,
} from './protocol.js';
import { publicJson } from './public-json.js';
import { TextWriter } from './shared-text.js';
import { limitDepth } from './tree-filter.js';

/** What is looked at. Everything here is called on the main thread and must be quick. */
export interface Observed {
  readonly system: {
    tree(): TreeNode;
    /** See ActorSystem. */
    treeMoved(): TreeNode;
    node(path: string): ActorDetails | undefined;
    events(): Event[];
    counters(): Counters;
  };
  readonly conditions: () => readonly Condition[];
  readonly sync: () => unknown;
  /** Why the root supervisor has given up; undefined while it has not. */
  readonly failed: () => string | undefined;
}

/** A tree that does not fit is shown down to these levels, the first that does. */
const DEPTHS = [4, 3, 2, 1, 0];
/** Actors whose error logs are shown. */
const ERROR_LOGS_MAX = 50;

function* shallowTrees(tree: TreeNode, counters: Counters): Generator<TreeSection> {
  for (const depth of DEPTHS) yield { counters, tree: limitDepth(tree, depth) };
}

/** Half as many each time: the newest are what matters. */
function* eventsRenditions(events: readonly Event[]): Generator<EventsSection> {
  for (let kept = events.length; kept > 0; kept = Math.floor(kept / 2)) {
    yield { events: events.slice(-kept), omitted: events.length - kept };
  }
  yield { events: [], omitted: events.length };
}

function faulty(node: TreeNode, found: TreeNode[] = []): TreeNode[] {
  if (node.errors > 0) found.push(node);
  for (const child of node.children) faulty(child, found);
  return found;
}

function* errorsRenditions({ system }: Observed, nodes: readonly TreeNode[]): Generator<ErrorsSection> {
  for (let kept = Math.min(nodes.length, ERROR_LOGS_MAX); kept > 0; kept = Math.floor(kept / 2)) {
    yield Object.fromEntries(
      nodes.slice(0, kept).map(({ path }) => [path, system.node(path)?.errorLog ?? []]),
    );
  }
  yield {};
}

/** In full, or with a word in place of each report that takes more than its share of the room. */
function* syncRenditions({ sync }: Observed): Generator<unknown> {
  const value = sync() ?? null;
  yield value;
  const parts = Object.entries(value as object);
  const share = section_bytes.sync / parts.length / 2;
  const fits = (part: unknown): boolean => JSON.stringify(part).length <= share;
  yield Object.fromEntries(
    parts.map(([name, part]) => [name, fits(part) ? part : { error: 'too large to be shown' }]),
  );
}

/** Times of the main loop, measured with as little as possible: the lateness of the timer that is there anyway. */
class LoopDelay {
  #current = new Histogram();
  #previous = new Histogram();
  readonly total = new Histogram();

  record(ms: number): void {
    this.#current.record(Math.max(0, ms));
    this.total.record(Math.max(0, ms));
  }

  turn(): void {
    this.#previous = this.#current;
    this.#current = new Histogram();
  }

  report(): RuntimeSection['loop_delay_ms'] {
    const of = (histogram: Histogram) => [
      histogram.quantile_ms(0.5),
      histogram.quantile_ms(0.99),
      histogram.max_ms,
    ];
    const [p50, p99, max] = of(this.#current).map((ms, i) => Math.max(ms, of(this.#previous)[i]!));
    return { p50: p50!, p99: p99!, max: max! };
  }
}

/** Writes what the main thread knows into the memory that the debug worker reads. */
export class Publisher {
  readonly loopDelay = new LoopDelay();
  readonly gc = { count: 0, total_ms: 0, max_ms: 0 };
  readonly #heartbeat: BigInt64Array;
  readonly #writers: Readonly<Record<SectionName, TextWriter>>;
  readonly #observed: Observed;
  readonly #secrets: ReadonlySet<string>;
  readonly #clock: Clock;
  readonly #born_ms: number;
  readonly #texts = new WeakMap<TreeNode, string>();
  #last_event: Event | undefined;
  /** How many errors each actor had when they were written last. */
  #error_counts = '';
  #started = false;

  constructor(memory: SharedMemory, observed: Observed, secrets: ReadonlySet<string>, clock: Clock) {
    this.#heartbeat = new BigInt64Array(memory.heartbeat);
    this.#writers = Object.fromEntries(
      section_names.map((name) => [name, new TextWriter(memory.sections[name])]),
    ) as Record<SectionName, TextWriter>;
    this.#observed = observed;
    this.#secrets = secrets;
    this.#clock = clock;
    this.#born_ms = clock.now_ms();
  }

  beat(): void {
    Atomics.store(this.#heartbeat, 0, machineTime_ns());
  }

  /** Writes sections anew, each as fully as it fits. What the observed parts throw becomes the content. */
  publish(names: readonly SectionName[] = section_names): void {
    this.#publishAll(names, false);
  }

  /** Writes what has changed: an actor that has done nothing since is shown as it was shown last. */
  publishMoved(): void {
    this.#publishAll(section_names, true);
  }

  #publishAll(names: readonly SectionName[], moved: boolean): void {
    let tree: TreeNode | undefined;
    const seen = (): TreeNode => {
      tree ??= moved ? this.#observed.system.treeMoved() : this.#observed.system.tree();
      return tree;
    };
    for (const name of names) {
      try {
        this.#publish(name, seen, moved);
      } catch (error) {
        this.#write(name, { error: (error as Error).message });
      }
    }
  }

  #publish(name: SectionName, tree: () => TreeNode, moved: boolean): void {
    switch (name) {
      case 'health':
        return this.#writeFullest(name, [this.#health()]);
      case 'tree':
        return this.#publishTree(tree());
      case 'events':
        return this.#publishEvents(this.#observed.system.events(), moved);
      case 'errors':
        return this.#publishErrors(faulty(tree()), moved);
      case 'sync':
        return this.#writeFullest(name, syncRenditions(this.#observed));
      case 'runtime':
        return this.#writeFullest(name, [this.#runtime()]);
    }
  }

  #publishTree(tree: TreeNode): void {
    const counters = this.#observed.system.counters();
    const value = `{"counters":${publicJson(counters, this.#secrets)},"tree":${this.#textOf(tree)}}`;
    if (this.#writers.tree.write(`{"taken_at":${this.#clock.wall_ms()},"value":${value}}`)) return;
    this.#writeFullest('tree', shallowTrees(tree, counters));
  }

  /** JSON of the node. That of an actor without children is kept for as long as it is shown by the same object. */
  #textOf(node: TreeNode): string {
    const known = this.#texts.get(node);
    if (known !== undefined) return known;
    const { children, ...own } = node;
    const inner = children.map((child) => this.#textOf(child)).join(',');
    const text = `${publicJson(own, this.#secrets).slice(0, -1)},"children":[${inner}]}`;
    if (children.length === 0) this.#texts.set(node, text);
    return text;
  }

  #publishEvents(events: readonly Event[], moved: boolean): void {
    const last = events.at(-1);
    if (moved && last === this.#last_event) return;
    this.#last_event = last;
    this.#writeFullest('events', eventsRenditions(events));
  }

  #publishErrors(nodes: readonly TreeNode[], moved: boolean): void {
    const counts = nodes.map(({ path, errors }) => `${errors} ${path}`).join('\n');
    if (moved && counts === this.#error_counts) return;
    this.#error_counts = counts;
    this.#writeFullest('errors', errorsRenditions(this.#observed, nodes));
  }

  /** The first of these that fits. */
  #writeFullest(name: SectionName, values: Iterable<unknown>): void {
    for (const value of values) {
      if (this.#write(name, { value })) return;
    }
    this.#write(name, { error: 'too large to be shown' });
  }

  #write(name: SectionName, content: { readonly value: unknown } | { readonly error: string }): boolean {
    const written: Written<unknown> = { taken_at: this.#clock.wall_ms(), ...content };
    return this.#writers[name].write(publicJson(written, this.#secrets));
  }

  #health(): HealthSection {
    const conditions = this.#observed.conditions();
    this.#started ||= conditions.every(({ ok }) => ok);
    const failed = this.#observed.failed();
    return { conditions, started: this.#started, ...(failed !== undefined && { failed }) };
  }

  #runtime(): RuntimeSection {
    const heap = getHeapStatistics();
    const handles: Record<string, number> = {};
    for (const type of process.getActiveResourcesInfo()) handles[type] = (handles[type] ?? 0) + 1;
    return {
      ...build,
      pid: process.pid,
      uptime_ms: this.#clock.now_ms() - this.#born_ms,
      loop_delay_ms: this.loopDelay.report(),
      loop_delay_seconds: this.loopDelay.total.report(),
      gc: { ...this.gc },
      heap: {
        used_bytes: heap.used_heap_size,
        total_bytes: heap.total_heap_size,
        limit_bytes: heap.heap_size_limit,
      },
      external_bytes: heap.external_memory,
      handles,
    };
  }
}
