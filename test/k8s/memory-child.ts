/**
 * A process of its own, whose memory nothing else is in: reads what the API server at argv[2] has as the node does, by the cluster actor with two
 * subscribers that keep all of it, and prints what that took. Run with --expose-gc, and the young generation that the product has.
 */
import { type ChildSpec, createActorSystem } from '../../src/actor-system.js';
import { cluster } from '../../src/actors/cluster.js';
import { kinds, type ListedKind } from '../../src/calico/kinds/kinds.js';
import { systemClock } from '../../src/clock.js';
import { ApiClient } from '../../src/k8s/api-client.js';
import { Discovery } from '../../src/k8s/discovery.js';
import { Reflector } from '../../src/k8s/reflector.js';
import type { Log } from '../../src/log.js';
import type { ClusterChange, ClusterMessage } from '../../src/messages/cluster.js';
import { root_supervision } from '../../src/supervisor.js';

export interface MemoryReport {
  readonly objects: number;
  readonly base_bytes: number;
  /** Of JavaScript's heap: what is kept. */
  readonly heap_bytes: number;
  /** The most that was seen at any change. */
  readonly peak_bytes: number;
}

const silent: Log = { debug() {}, info() {}, warn() {}, error() {}, fatal() {}, child: () => silent };
const collect = (): void => (globalThis as unknown as { gc(): void }).gc();
const clock = systemClock;
const random = Math.random;
const server = new URL(process.argv[2]!);
const client = new ApiClient({ server, options: async () => ({}) }, clock);
const discovery = new Discovery(client);
const names = Object.keys(kinds) as ListedKind[];
let peak_bytes = 0;

/** An actor that keeps what it is told, until it has been told all. */
function keeper(name: string, done: (held: number) => void): ChildSpec<ClusterChange> {
  const held = new Map<string, unknown>();
  const whole = new Set<string>();
  return {
    name,
    restart: 'permanent',
    shutdown_ms: 1000,
    mailbox_max: 16,
    handler_ms_max: 10_000,
    start: (ctx) => {
      ref.tell({ type: 'Subscribe', subscriber: ctx.this_life, kinds: names });
      return {
        receive({ change, reply }) {
          peak_bytes = Math.max(peak_bytes, process.memoryUsage.rss());
          for (const [key, value] of change.changed) held.set(`${change.kind} ${key}`, value);
          reply.resolve();
          // A watch of the peers goes through all that a server can do wrong meanwhile.
          if (change.kind === 'BGPPeer' ? change.changed.has('last') : change.synced) whole.add(change.kind);
          if (whole.size === names.length) done(held.size);
        },
      };
    },
  };
}

/** V8's young generation grows with the first garbage, and stays: every process has it, whatever makes the garbage. */
function growYoungGeneration(): void {
  for (let round = 0; round < 20; round += 1) Array.from({ length: 200_000 }, (_, n) => ({ n }));
}

const system = createActorSystem({
  name: 'root',
  clock,
  log: silent,
  supervision: root_supervision,
  escalated: () => process.exit(1),
});
const ref = system.ref<ClusterMessage>('root/cluster');
growYoungGeneration();
collect();
const base_heap_bytes = process.memoryUsage().heapUsed;
const base_bytes = process.memoryUsage.rss();
await system.spawn(
  cluster({
    reflect: (kind, deliver) =>
      new Reflector({ kind, client, discovery, clock, log: silent, random, deliver }),
    namespace: 'x',
    learners: () => [],
    random,
    report: () => {},
  }),
);
const held = await Promise.all(
  ['a', 'b'].map((name) => new Promise<number>((resolve) => void system.spawn(keeper(name, resolve)))),
);
collect();
const report: MemoryReport = {
  objects: Math.min(...held),
  base_bytes,
  heap_bytes: process.memoryUsage().heapUsed - base_heap_bytes,
  peak_bytes,
};
await system.stop();
console.log(JSON.stringify(report));
