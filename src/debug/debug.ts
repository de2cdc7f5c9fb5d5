import { PerformanceObserver } from 'node:perf_hooks';
import { Worker } from 'node:worker_threads';
import type { Clock, Timer } from '../clock.js';
import { type Config, describeConfig } from '../config.js';
import type { Log } from '../log.js';
import type { PoliciesQuestion } from '../messages/policies.js';
import type { ServicesQuestion } from '../messages/services.js';
import type { ServicesHealth } from '../services/health.js';
import { AskDeadline } from '../supervision/errors.js';
import { build } from './build.js';
import {
  answer_within_ms,
  type FromWorker,
  type MetricsSetup,
  type NodeFacts,
  type Outcome,
  type Question,
  type SharedMemory,
  section_bytes,
  section_names,
  type ToWorker,
  type WorkerSetup,
} from './protocol.js';
import { publicJson, secretsIn, withoutSecrets } from './public-json.js';
import { type Observed, Publisher } from './publisher.js';
import { sharedTextMemory } from './shared-text.js';

const workerEntry = new URL('./worker.js', import.meta.url);

/** Sign of life of the main loop. */
const BEAT_MS = 250;
/** Of what has happened, a snapshot for the case that the main loop gets stuck is no older than this. */
const SNAPSHOT_EVERY_BEATS = 4;
/** Gauges move without a message; all is written anew so often. */
const WHOLE_SNAPSHOT_EVERY_BEATS = 40;
/** A snapshot of hundreds of actors that do something takes some milliseconds. */
const PUBLISH_GAP_MS = 100;
const MINUTE_BEATS = 60_000 / BEAT_MS;

const RESTART_FIRST_MS = 1000;
const RESTART_MAX_MS = 60_000;
/** A worker that has lived so long starts again without delay. */
const SETTLED_MS = 60_000;
const CLOSE_WITHIN_MS = 2000;

/** Questions of the worker that are being answered. */
const QUESTIONS_MAX = 64;
const ANSWER_BYTES_MAX = 2 * 1024 * 1024;
const WORKER_HEAP_MB_MAX = 96;

export interface DebugOptions extends Omit<Observed, 'failed'> {
  readonly config: Config;
  /** Sentences of `loadConfig`. */
  readonly warnings?: readonly string[];
  /** State of the connection to VPP: requests in flight, counts and latencies. */
  readonly vppApi: () => Promise<unknown>;
  /** What services are to have, and what VPP has of it. */
  readonly services: (question: ServicesQuestion) => Promise<unknown>;
  /** Why an object is programmed as it is; rejects with an error named NotHere where there is none. */
  readonly why?: (object: string) => Promise<unknown>;
  /** The last lines of the log, oldest first. */
  readonly logLines?: (lines: number) => readonly string[];
  /** What each interface is to be judged by, and what VPP has of it; rejects where nobody enforces policies. */
  readonly policies: (question: PoliciesQuestion) => Promise<unknown>;
  /** What metrics are made of and the tree does not show; absent: nothing. */
  readonly figures?: () => Promise<unknown>;
  /** Which translations of VPP are which service's, as far as that has changed since this version; absent: nobody knows. */
  readonly serviceNames?: (version: number) => unknown;
  /** An actor's own view of itself; rejects after 500 ms. */
  readonly describe: (path: string) => Promise<unknown>;
  /** Why the root supervisor has given up; undefined while it has not. /livez fails from then on. */
  readonly failed?: () => string | undefined;
  /** Where load balancers cannot ask by now, by service. */
  readonly healthFaults?: (faults: ReadonlyMap<string, string>) => void;
  readonly clock: Clock;
  readonly log: Log;
}

export interface Debug {
  /** What load balancers are answered from now on; survives the death of the worker. */
  serveHealth(health: ServicesHealth): void;
  /** Stops listening and removes the socket; resolves within two seconds. Does nothing the second time. */
  close(): Promise<void>;
  /**
   * Writes everything down now, so that it can be seen should the loop get stuck. Cheap to call often: soon after the last
   * time only readiness is written at once, and the rest with the next beat.
   */
  publish(): void;
}

/**
 * Serves the debug and health endpoints from a thread of their own, so that they answer while an actor or the whole main
 * loop is stuck. Never throws, and never ends the process: a worker that dies is started again.
 *
 * Call it before any network namespace is entered: the worker stays in the one that it was born in.
 */
export function startDebug(options: DebugOptions, entry: URL = workerEntry): Debug {
  return new DebugServer(options, entry);
}

function allocate(): SharedMemory {
  return {
    heartbeat: new SharedArrayBuffer(BigInt64Array.BYTES_PER_ELEMENT),
    sections: Object.fromEntries(
      section_names.map((name) => [name, sharedTextMemory(section_bytes[name])]),
    ) as SharedMemory['sections'],
  };
}

function metricsSetup({ prometheus, paths }: Config): MetricsSetup {
  const { listen, legacy, prefix, per_worker } = prometheus;
  return {
    listen,
    startup_config: paths.startup_config,
    ...(legacy && { legacy_prefix: prefix }),
    per_worker,
  };
}

function factsOf(config: Config): NodeFacts {
  return {
    node_name: config.node_name,
    version: build.version,
    uplinks: config.uplinks.map(({ interface_name, driver }) => ({
      name: interface_name,
      driver: driver ?? 'automatic',
    })),
    pods_max: config.pods.count_max,
  };
}

class DebugServer implements Debug {
  readonly #options: DebugOptions;
  readonly #entry: URL;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #secrets: ReadonlySet<string>;
  readonly #setup: WorkerSetup;
  readonly #publisher: Publisher;
  readonly #collections: PerformanceObserver;
  #worker: Worker | undefined;
  #health: ServicesHealth | undefined;
  #born_ms = 0;
  #backoff_ms = RESTART_FIRST_MS;
  #questions = 0;
  #beats = 0;
  /** A snapshot was asked for and not made yet. */
  #due = false;
  #published_ms = Number.NEGATIVE_INFINITY;
  /** Sum of the counters at the last snapshot: as long as it stays, nothing has happened. */
  #seen = -1;
  #timer: Timer | undefined;
  #restart: Timer | undefined;
  #closing: Promise<void> | undefined;

  constructor(options: DebugOptions, entry: URL) {
    const { config, clock } = options;
    this.#options = options;
    this.#entry = entry;
    this.#clock = clock;
    this.#log = options.log;
    this.#secrets = secretsIn(config);
    const memory = allocate();
    this.#setup = {
      memory,
      config: publicJson(
        { warnings: options.warnings ?? [], origins: config.origins, config: withoutOrigins(config) },
        this.#secrets,
      ),
      facts: factsOf(config),
      socket: config.paths.debug_socket,
      debug_port: config.debug.port,
      health: config.health,
      ...(config.gates.prometheus && { metrics: metricsSetup(config) }),
    };
    const observed: Observed = {
      system: options.system,
      conditions: options.conditions,
      sync: options.sync,
      failed: options.failed ?? (() => undefined),
    };
    this.#publisher = new Publisher(memory, observed, this.#secrets, clock);
    const { gc } = this.#publisher;
    this.#collections = new PerformanceObserver((list) => {
      for (const { duration } of list.getEntries()) {
        gc.count += 1;
        gc.total_ms += duration;
        gc.max_ms = Math.max(gc.max_ms, duration);
      }
    });
    this.#collections.observe({ entryTypes: ['gc'] });
    this.#publisher.beat();
    this.#snapshot(true);
    this.#start();
    this.#nextBeat();
  }

  serveHealth(health: ServicesHealth): void {
    this.#health = health;
    this.#worker?.postMessage({ type: 'services', health } satisfies ToWorker);
  }

  publish(): void {
    if (this.#closing !== undefined) return;
    if (this.#clock.now_ms() - this.#published_ms >= PUBLISH_GAP_MS) return this.#snapshot(false);
    this.#publisher.publish(['health']);
    this.#due = true;
  }

  #snapshot(whole: boolean): void {
    this.#due = false;
    this.#published_ms = this.#clock.now_ms();
    if (whole) this.#publisher.publish();
    else this.#publisher.publishMoved();
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#timer?.cancel();
    this.#restart?.cancel();
    this.#collections.disconnect();
    const worker = this.#worker;
    if (worker === undefined) return;
    await new Promise<void>((resolve) => {
      const limit = this.#clock.after(CLOSE_WITHIN_MS, resolve);
      worker.once('exit', () => {
        limit.cancel();
        resolve();
      });
      worker.postMessage({ type: 'close' } satisfies ToWorker);
    });
    await worker.terminate();
  }

  #nextBeat(): void {
    const due_ms = this.#clock.now_ms() + BEAT_MS;
    this.#timer = this.#clock.after(BEAT_MS, () => {
      this.#publisher.loopDelay.record(this.#clock.now_ms() - due_ms);
      this.#beat();
      this.#nextBeat();
    });
  }

  #beat(): void {
    this.#publisher.beat();
    this.#beats += 1;
    if (this.#beats % MINUTE_BEATS === 0) this.#publisher.loopDelay.turn();
    const { transitions, handled, told, crashes } = this.#options.system.counters();
    const seen = transitions + handled + told + crashes;
    const whole = this.#beats % WHOLE_SNAPSHOT_EVERY_BEATS === 0;
    const moved = seen !== this.#seen && this.#beats % SNAPSHOT_EVERY_BEATS === 0;
    if (!this.#due && !whole && !moved) return;
    this.#seen = seen;
    this.#snapshot(whole);
  }

  #start(): void {
    this.#born_ms = this.#clock.now_ms();
    try {
      const worker = new Worker(this.#entry, {
        name: 'debug',
        workerData: this.#setup,
        // The environment holds secrets that the worker has no use for.
        env: {},
        argv: [],
        resourceLimits: { maxOldGenerationSizeMb: WORKER_HEAP_MB_MAX },
      });
      this.#worker = worker;
      worker.on('message', (message: FromWorker) => this.#receive(worker, message));
      worker.on('error', (error) => this.#log.warn({ err: error }, 'debug(worker) crashed'));
      worker.on('exit', (code) => this.#exited(worker, code));
      if (this.#health !== undefined)
        worker.postMessage({ type: 'services', health: this.#health } satisfies ToWorker);
    } catch (error) {
      this.#startLater((error as Error).message);
    }
  }

  #exited(worker: Worker, code: number): void {
    if (this.#worker === worker) this.#worker = undefined;
    if (this.#closing !== undefined) return;
    this.#startLater(`exit code ${code}`);
  }

  #startLater(reason: string): void {
    if (this.#clock.now_ms() - this.#born_ms >= SETTLED_MS) this.#backoff_ms = RESTART_FIRST_MS;
    this.#log.warn({ reason, again_ms: this.#backoff_ms }, 'debug(worker) ended; it is started again');
    this.#restart = this.#clock.after(this.#backoff_ms, () => this.#start());
    this.#backoff_ms = Math.min(2 * this.#backoff_ms, RESTART_MAX_MS);
  }

  #receive(worker: Worker, message: FromWorker): void {
    switch (message.type) {
      case 'health_faults':
        return this.#options.healthFaults?.(message.faults);
      case 'log':
        return this.#log[message.level](message.fields, message.text);
      case 'question': {
        const { id, question } = message;
        void this.#answer(question).then((outcome) =>
          worker.postMessage({ type: 'outcome', id, outcome } satisfies ToWorker),
        );
        return;
      }
    }
  }

  async #answer(question: Question): Promise<Outcome> {
    if (this.#questions >= QUESTIONS_MAX) {
      return { ok: false, reason: `${QUESTIONS_MAX} questions are being answered`, timeout: false };
    }
    this.#questions += 1;
    try {
      const text = publicJson(await this.#within(question), this.#secrets);
      if (text.length <= ANSWER_BYTES_MAX) return { ok: true, text };
      return { ok: false, reason: `the answer has ${text.length} characters`, timeout: false };
    } catch (error) {
      return {
        ok: false,
        reason: withoutSecrets((error as Error).message, this.#secrets),
        timeout: error instanceof AskDeadline || error instanceof TooLate,
      };
    } finally {
      this.#questions -= 1;
    }
  }

  /** The answer, or TooLate: what was asked may never settle. */
  #within(question: Question): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const ms = answer_within_ms[question.type];
      const limit = this.#clock.after(ms, () => reject(new TooLate(`no answer within ${ms} ms`)));
      Promise.resolve(this.#ask(question))
        .then(resolve, reject)
        .finally(() => limit.cancel());
    });
  }

  async #ask(question: Question): Promise<unknown> {
    switch (question.type) {
      case 'refresh':
        this.#publisher.publish(question.sections);
        return null;
      case 'node':
        return this.#options.system.node(question.path) ?? null;
      case 'describe':
        return this.#options.describe(question.path);
      case 'vppApi':
        return this.#options.vppApi();
      case 'figures':
        return (await this.#options.figures?.()) ?? null;
      case 'serviceNames':
        return this.#options.serviceNames?.(question.version) ?? null;
      case 'services':
        return this.#options.services(question.question);
      case 'why':
        return (await this.#options.why?.(question.object)) ?? null;
      case 'log':
        return this.#options.logLines?.(question.lines) ?? [];
      case 'policies':
        return this.#options.policies(question.question);
    }
  }
}

class TooLate extends Error {}

function withoutOrigins(config: Config): Record<string, unknown> {
  const { origins: _, ...rest } = describeConfig(config);
  return rest;
}
