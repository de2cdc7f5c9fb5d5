/**
 * A process of its own, whose memory nothing else is in: reflects what the API server at argv[2] has, and prints what that took. Run
 * with --expose-gc, and the young generation that the product has.
 */
import { bgp_peer_kind } from '../../src/calico/kinds/bgp-peer.js';
import { block_affinity_kind } from '../../src/calico/kinds/block-affinity.js';
import { ipam_block_kind } from '../../src/calico/kinds/ipam-block.js';
import type { Kind } from '../../src/calico/kinds/kind.js';
import { node_kind } from '../../src/calico/kinds/node.js';
import { systemClock } from '../../src/clock.js';
import { ApiClient } from '../../src/k8s/api-client.js';
import { Discovery } from '../../src/k8s/discovery.js';
import { Reflector } from '../../src/k8s/reflector.js';
import type { Log } from '../../src/log.js';

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
const server = new URL(process.argv[2]!);

const client = new ApiClient({ server, options: async () => ({}) }, clock);
const discovery = new Discovery(client);
let objects = 0;
let peak_bytes = 0;
/** What a receiver keeps. */
const held = new Map<string, unknown>();

function reflect<T>(kind: Kind<T>): Promise<Reflector<T>> {
  return new Promise((resolve) => {
    const reflector = new Reflector<T>({
      kind,
      client,
      discovery,
      clock,
      log: silent,
      random: Math.random,
      deliver({ changed, synced }) {
        peak_bytes = Math.max(peak_bytes, process.memoryUsage.rss());
        for (const [key, value] of changed) held.set(`${kind.name} ${key}`, value);
        if (kind.name === 'BGPPeer' ? changed.has('last') : synced) resolve(reflector);
      },
    });
    reflector.start();
  });
}

/** V8's young generation grows with the first garbage, and stays: every process has it, whatever makes the garbage. */
function growYoungGeneration(): void {
  for (let round = 0; round < 20; round += 1) Array.from({ length: 200_000 }, (_, n) => ({ n }));
}

growYoungGeneration();
collect();
const base_heap_bytes = process.memoryUsage().heapUsed;
const base_bytes = process.memoryUsage.rss();
// A watch of the peers goes through all that a server can do wrong meanwhile.
const kinds = [node_kind, ipam_block_kind, block_affinity_kind, bgp_peer_kind] as readonly Kind<unknown>[];
const reflectors = await Promise.all(kinds.map(reflect));
for (const reflector of reflectors) objects += reflector.status().objects;
collect();
const report: MemoryReport = {
  objects,
  base_bytes,
  heap_bytes: process.memoryUsage().heapUsed - base_heap_bytes,
  peak_bytes,
};
await Promise.all(reflectors.map((reflector) => reflector.stop()));
console.log(JSON.stringify(report));
