import type { ShownNode } from '../../src/debug/tree-filter.js';

/** 2030-01-01T00:00:00Z, the origin of the turned clock. */
export const NOW_MS = Date.UTC(2030, 0, 1);
const HOUR_MS = 3_600_000;

/** A node of the tree as a healthy, idle actor shows it. */
export function sampleNode(path: string, more: Partial<ShownNode> = {}): ShownNode {
  return {
    path,
    name: path.slice(path.lastIndexOf('/') + 1),
    id: 'a1',
    restart: 'permanent',
    incarnation: 1,
    state: 'running',
    detail: undefined,
    since: NOW_MS - 74 * HOUR_MS,
    startedAt: NOW_MS - 74 * HOUR_MS,
    initMs: 1,
    supervision: undefined,
    restarts: { total: 0, inWindow: 0, lastReason: undefined, lastAt: undefined },
    mailbox: { depth: 0, highWater: 0, capacity: 64, oldestMs: 0, dropped: 0, byType: {}, urgent: [] },
    processed: { total: 0, byType: {}, expired: 0 },
    errors: 0,
    handlerMs: { p50: 0, p99: 0, max: 0 },
    currentHandler: undefined,
    asks: [],
    watches: [],
    gauges: {},
    lastError: undefined,
    children: [],
    ...more,
  };
}

const supervision = (strategy: 'one_for_one' | 'one_for_all', used = 0) => ({
  strategy,
  intensity: { restarts_max: 3, window_ms: 60_000 },
  backoff: { first_ms: 100, max_ms: 10_000, jitter: 0.2 },
  used,
});

/** A node with one actor that backs off and one that is stuck in a handler. */
export const sampleTree: ShownNode = sampleNode('node', {
  supervision: supervision('one_for_all'),
  children: [
    sampleNode('node/vpp', {
      supervision: supervision('one_for_one', 1),
      children: [
        sampleNode('node/vpp/vpp-process', { gauges: { pid: 412, lives: 2, last_exit: 'SIGSEGV' } }),
        sampleNode('node/vpp/vpp-connection', {
          gauges: { generation: 2, in_flight: 3, version: '26.10', quarantined: '' },
        }),
      ],
    }),
    sampleNode('node/policies', {
      state: 'backoff',
      detail: 'starts again at 2030-01-01T00:00:02.000Z',
      since: NOW_MS - 1800,
      restarts: { total: 4, inWindow: 1, lastReason: 'ECONNRESET', lastAt: NOW_MS - 1800 },
      errors: 4,
      lastError: {
        message: 'read \u001b[31mECONNRESET',
        code: 'ECONNRESET',
        count: 4,
        firstAt: NOW_MS - 60_000,
        lastAt: NOW_MS - 1800,
      },
    }),
    sampleNode('node/cni', {
      supervision: supervision('one_for_one'),
      children: [
        sampleNode('node/cni/pod/a', {
          name: 'pod/a',
          mailbox: {
            depth: 3,
            highWater: 5,
            capacity: 64,
            oldestMs: 3200,
            dropped: 2,
            byType: { Delete: 3 },
            urgent: [],
          },
          currentHandler: { type: 'Add', ms: 4100 },
          asks: [{ target: 'node/vpp/vpp-connection', type: 'Transact', ageMs: 4000 }],
        }),
      ],
    }),
  ],
});
