import type { PoliciesQuestion } from '../messages/policies.js';
import type { ServicesQuestion } from '../messages/services.js';
import type { ServicesHealth } from '../services/health.js';
import type { DurationReport } from '../supervision/histogram.js';
import type { Counters, Event } from '../supervision/types.js';
import type { Condition } from './conditions.js';
import type { ShownNode } from './tree-filter.js';

/** What the main thread and the debug worker share and say to each other. */

export interface HealthSection {
  readonly conditions: readonly Condition[];
  /** All conditions have held at the same time at least once. */
  readonly started: boolean;
  /** Why the root supervisor has given up; absent while it has not. */
  readonly failed?: string;
}

export interface TreeSection {
  readonly tree: ShownNode;
  readonly counters: Counters;
}

export interface EventsSection {
  /** Oldest first. */
  readonly events: readonly Event[];
  /** Older events that had no room. */
  readonly omitted: number;
}

/** By path; only actors that have had errors. */
export type ErrorsSection = Readonly<
  Record<string, readonly { readonly at: number; readonly incarnation: number; readonly stack: string }[]>
>;

export interface RuntimeSection {
  readonly version: string;
  readonly node: string;
  readonly v8: string;
  readonly pid: number;
  readonly uptime_ms: number;
  /** Lateness of a timer of the main loop, over the last one to two minutes. */
  readonly loop_delay_ms: { readonly p50: number; readonly p99: number; readonly max: number };
  /** The same, since the process started. */
  readonly loop_delay_seconds: DurationReport;
  readonly gc: { readonly count: number; readonly total_ms: number; readonly max_ms: number };
  readonly heap: { readonly used_bytes: number; readonly total_bytes: number; readonly limit_bytes: number };
  readonly external_bytes: number;
  readonly handles: Readonly<Record<string, number>>;
}

export interface Sections {
  readonly health: HealthSection;
  readonly tree: TreeSection;
  readonly events: EventsSection;
  readonly errors: ErrorsSection;
  readonly sync: unknown;
  readonly runtime: RuntimeSection;
}
export type SectionName = keyof Sections;

/** A section with the time of its making, in milliseconds since 1970. */
export interface Stamped<T> {
  readonly taken_at: number;
  readonly value: T;
}

/** A section as it is written: it, or why it could not be made. */
export type Written<T> = Stamped<T> | { readonly taken_at: number; readonly error: string };

/** Room for each section, in bytes. The memory is only used as far as it has been written to. */
export const section_bytes: Readonly<Record<SectionName, number>> = {
  health: 64 * 1024,
  tree: 4 * 1024 * 1024,
  events: 512 * 1024,
  errors: 512 * 1024,
  sync: 256 * 1024,
  runtime: 64 * 1024,
};
export const section_names = Object.keys(section_bytes) as readonly SectionName[];

export interface SharedMemory {
  /** One 64-bit number: `machineTime_ns()` of the main loop's last sign of life. */
  readonly heartbeat: SharedArrayBuffer;
  readonly sections: Readonly<Record<SectionName, SharedArrayBuffer>>;
}

/** The clock of the machine, the same for all threads: `performance.now()` begins anew in each of them. */
export const machineTime_ns = (): bigint => process.hrtime.bigint();

/** What the worker is given when it starts. */
export interface WorkerSetup {
  readonly memory: SharedMemory;
  /** `describeConfig` and the origins, as text without secrets. */
  readonly config: string;
  readonly facts: NodeFacts;
  readonly socket: string;
  /** 0: none. */
  readonly debug_port: number;
  readonly health: { readonly port: number; readonly address?: string };
  /** Absent: metrics are not served. */
  readonly metrics?: MetricsSetup;
}

export interface MetricsSetup {
  readonly listen: { readonly port: number; readonly host?: string };
  /** The start-up file that VPP was started with last. */
  readonly startup_config: string;
  /** Of the names of the Go implementation; absent: these are not served. */
  readonly legacy_prefix?: string;
  readonly per_worker: boolean;
}

/** What does not change while the process runs. */
export interface NodeFacts {
  readonly node_name: string;
  readonly version: string;
  readonly uplinks: readonly { readonly name: string; readonly driver: string }[];
  readonly pods_max: number;
}

/** What only the main thread can answer. */
export type Question =
  /** Write these sections anew. Answered with `null`. */
  | { readonly type: 'refresh'; readonly sections: readonly SectionName[] }
  /** One actor in full; `null` when nobody lives at the path. */
  | { readonly type: 'node'; readonly path: string }
  | { readonly type: 'describe'; readonly path: string }
  | { readonly type: 'vppApi' }
  /** What metrics are made of and the sections do not have. */
  | { readonly type: 'figures' }
  /** `NamedTranslations`, of what has changed since this version; `null` where there is no VPP yet. */
  | { readonly type: 'serviceNames'; readonly version: number }
  | { readonly type: 'services'; readonly question: ServicesQuestion }
  /** What is programmed for an object, as `parseWanted` takes its name, and by which input. */
  | { readonly type: 'why'; readonly object: string }
  /** The last lines of the log. */
  | { readonly type: 'log'; readonly lines: number }
  | { readonly type: 'policies'; readonly question: PoliciesQuestion };

/** The answer as JSON text, or what went wrong. */
export type Outcome =
  | { readonly ok: true; readonly text: string }
  | { readonly ok: false; readonly reason: string; readonly timeout: boolean };

export type FromWorker =
  /** Where load balancers cannot ask, by service. */
  | { readonly type: 'health_faults'; readonly faults: ReadonlyMap<string, string> }
  | { readonly type: 'question'; readonly id: number; readonly question: Question }
  | { readonly type: 'log'; readonly level: 'info' | 'warn'; readonly fields: object; readonly text: string };

export type ToWorker =
  /** What load balancers are answered from now on. */
  | { readonly type: 'services'; readonly health: ServicesHealth }
  | { readonly type: 'outcome'; readonly id: number; readonly outcome: Outcome }
  | { readonly type: 'close' };

/** Time that the main thread has for a question. */
export const answer_within_ms: Readonly<Record<Question['type'], number>> = {
  refresh: 250,
  node: 250,
  // The budget of the actor is 500 ms; its own time-out should be what arrives here.
  describe: 600,
  vppApi: 2000,
  // Those who are asked have 200 ms.
  figures: 400,
  serviceNames: 400,
  services: 10_000,
  why: 10_000,
  log: 500,
  policies: 2000,
};
