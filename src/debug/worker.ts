/** Entry of the debug worker: serves HTTP from shared memory, asks the main thread for the rest. */
import { readdirSync } from 'node:fs';
import type { Server } from 'node:http';
import { parentPort, workerData } from 'node:worker_threads';
import { systemClock } from '../clock.js';

import { SegmentFile } from '../stats/segment-file.js';
import { StatsReader } from '../stats/stats-reader.js';
import { type Address, Listener } from './listener.js';
import { openFiles } from './open-files.js';
import {
  answer_within_ms,
  type FromWorker,
  machineTime_ns,
  type Outcome,
  type Question,
  type SectionName,
  type Sections,
  section_names,
  type ToWorker,
  type WorkerSetup,
  type Written,
} from './protocol.js';
import type { Source, Surface } from './routes.js';
import { debugServer } from './server.js';
import { ServiceHealth } from './service-health.js';
import { TextReader } from './shared-text.js';

/** Questions without an answer; more are refused. */
const QUESTIONS_MAX = 64;
/** The main thread has a deadline of its own; this one is for when it is not there to keep it. */
const GRACE_MS = 100;

const setup = workerData as WorkerSetup;
const port = parentPort!;
const say = (message: FromWorker): void => port.postMessage(message);

/** Sections parsed at most once for each time that they are written. */
class SectionCache {
  readonly #reader: TextReader;
  #sequence = 0;
  #parsed: Written<unknown> | undefined;

  constructor(memory: SharedArrayBuffer) {
    this.#reader = new TextReader(memory);
  }

  get(): Written<unknown> | undefined {
    const { sequence, text } = this.#reader.read();
    if (sequence !== this.#sequence) {
      this.#sequence = sequence;
      this.#parsed = JSON.parse(text) as Written<unknown>;
    }
    return this.#parsed;
  }
}

/** Questions to the main thread. */
class Questions {
  readonly #open = new Map<number, (outcome: Outcome) => void>();
  #last = 0;

  ask(question: Question): Promise<Outcome> {
    if (this.#open.size >= QUESTIONS_MAX) {
      const reason = `${QUESTIONS_MAX} questions wait for the main thread`;
      return Promise.resolve({ ok: false, reason, timeout: false });
    }
    this.#last += 1;
    const id = this.#last;
    return new Promise((resolve) => {
      const ms = answer_within_ms[question.type] + GRACE_MS;
      const limit = systemClock.after(ms, () => {
        this.#open.delete(id);
        resolve({ ok: false, reason: `the main thread did not answer within ${ms} ms`, timeout: true });
      });
      this.#open.set(id, (outcome) => {
        limit.cancel();
        resolve(outcome);
      });
      say({ type: 'question', id, question });
    });
  }

  settle(id: number, outcome: Outcome): void {
    this.#open.get(id)?.(outcome);
    this.#open.delete(id);
  }
}

const heartbeat = new BigInt64Array(setup.memory.heartbeat);
const caches = Object.fromEntries(
  section_names.map((name) => [name, new SectionCache(setup.memory.sections[name])]),
) as Record<SectionName, SectionCache>;
const questions = new Questions();

const source: Source = {
  section: <K extends SectionName>(name: K) => caches[name].get() as Written<Sections[K]> | undefined,
  silent_ms: () => Number(machineTime_ns() - Atomics.load(heartbeat, 0)) / 1e6,
  ask: (question) => questions.ask(question),
  stats: new StatsReader({ open: (pid) => SegmentFile.open(pid), clock: systemClock }),
  openFiles,
  config: setup.config,
  facts: setup.facts,
  process: () => ({
    rss_bytes: process.memoryUsage.rss(),
    open_files: readdirSync('/proc/self/fd').length,
    cpu_s: Object.values(process.cpuUsage()).reduce((sum, us) => sum + us / 1e6, 0),
  }),
  wall_ms: () => systemClock.wall_ms(),
};

function listenAt(server: Server, address: Address): Listener {
  return new Listener(server, address, systemClock, (level, fields, text) =>
    say({ type: 'log', level, fields, text }),
  );
}

const listener = (surface: Surface, address: Address): Listener =>
  listenAt(debugServer(surface, source), address);

const { health, debug_port, socket, metrics } = setup;
const listeners = [
  listener('debug', { kind: 'unix', path: socket }),
  ...(debug_port === 0 ? [] : [listener('debug', { kind: 'tcp', port: debug_port, host: '127.0.0.1' })]),
  listener('health', {
    kind: 'tcp',
    port: health.port,
    ...(health.address !== undefined && { host: health.address }),
  }),
];

const services = new ServiceHealth({
  clock: systemClock,
  machine_ms: () => Number(machineTime_ns()) / 1e6,
  silent_ms: () => source.silent_ms(),
  report: (faults) => say({ type: 'health_faults', faults }),
});

let closed = false;
port.on('message', (message: ToWorker) => {
  if (message.type === 'services') return services.set(message.health);
  if (message.type === 'outcome') return questions.settle(message.id, message.outcome);
  closed = true;
  for (const each of listeners) each.close();
  services.close();
  port.close();
});

for (const each of listeners) void each.start();

if (metrics !== undefined) {
  const { metricsEndpoint } = await import('../metrics/endpoint.js');
  const each = listenAt(metricsEndpoint(metrics, source, systemClock), { kind: 'tcp', ...metrics.listen });
  if (!closed) {
    listeners.push(each);
    void each.start();
  }
}
