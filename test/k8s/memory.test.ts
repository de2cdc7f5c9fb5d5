import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import t from 'tap';
import { startLab, until } from './k8s-lab.js';
import type { MemoryReport } from './memory-child.js';

// Two processes and 150 MB of JSON.
const nodes = 1000;
const blocks = 2000;
const affinities = 12_000;
const services = 2500;
const memory_mb_max = 60;
/** By the reflectors and two receivers. */
const kept_mb_max = 30;

const api = 'crd.projectcalico.org/v1';

t.test(
  `20000 objects, a line of 100 MB and a flood of events take no more than ${memory_mb_max} MB`,
  async (t) => {
    const { server, asked } = await startLab(t);
    // As large as the real ones; what is not kept of them is the same for all, or this process would need gigabytes.
    const images = Array.from({ length: 50 }, (_, n) => ({
      names: [`registry.example/image-${n}@sha256:${'0'.repeat(64)}`, `registry.example/image-${n}:v1`],
      sizeBytes: n,
    }));
    /** The addresses of a block, all in use on one node but, in one of a hundred blocks, the first. */
    const attributesOf = (node: string) =>
      Array.from({ length: 64 }, (_, n) => ({
        handle_id: `k8s-pod-network.${'a'.repeat(64)}`,
        secondary: {
          namespace: 'default',
          node,
          pod: `deployment-${n}-abcdef-12345`,
          timestamp: '2030-01-01',
        },
      }));
    const allocations = Array.from({ length: 64 }, (_, n) => n);
    const of_node = Array.from({ length: nodes }, (_, n) => attributesOf(`node-${n}`));
    for (let n = 0; n < nodes; n += 1)
      server.put({
        apiVersion: 'v1',
        kind: 'Node',
        metadata: {
          name: `node-${n}`,
          labels: Object.fromEntries(
            Array.from({ length: 15 }, (_, l) => [`example.io/label-${l}`, `value-${l}-${n % 50}`]),
          ),
          annotations: { 'projectcalico.org/IPv4Address': `10.${n >> 8}.${n & 255}.1/16` },
        },
        status: { images, addresses: [{ type: 'InternalIP', address: `10.${n >> 8}.${n & 255}.1` }] },
      });
    for (let n = 0; n < Math.max(blocks, affinities); n += 1) {
      const cidr = `10.${128 + (n >> 10)}.${(n >> 2) & 255}.${(n & 3) * 64}/26`;
      const node = `node-${n % nodes}`;
      const name = cidr.replace(/[./]/g, '-');
      if (n < blocks)
        server.put({
          apiVersion: api,
          kind: 'IPAMBlock',
          metadata: { name },
          spec: {
            cidr,
            affinity: `host:${node}`,
            allocations,
            attributes:
              n % 100 === 0 ? [of_node[0]![0], ...of_node[n % nodes]!.slice(1)] : of_node[n % nodes],
            deleted: false,
          },
        });
      if (n < affinities)
        server.put({
          apiVersion: api,
          kind: 'BlockAffinity',
          metadata: { name: `${node}-${name}` },
          spec: { cidr, node, state: 'confirmed', deleted: 'false' },
        });
    }
    for (let n = 0; n < services; n += 1) {
      const metadata = { name: `service-${n}`, namespace: `namespace-${n % 100}` };
      server.put({
        apiVersion: 'v1',
        kind: 'Service',
        metadata,
        spec: {
          type: 'ClusterIP',
          clusterIP: `10.96.${n >> 8}.${n & 255}`,
          clusterIPs: [`10.96.${n >> 8}.${n & 255}`],
          selector: { app: `app-${n}` },
          ports: ['http', 'metrics'].map((name, at) => ({ name, port: 80 + at, targetPort: 8080 + at })),
        },
      });
      server.put({
        apiVersion: 'discovery.k8s.io/v1',
        kind: 'EndpointSlice',
        metadata: { ...metadata, labels: { 'kubernetes.io/service-name': metadata.name } },
        addressType: 'IPv4',
        endpoints: Array.from({ length: 10 }, (_, e) => ({
          addresses: [`10.${128 + e}.${n >> 8}.${n & 255}`],
          nodeName: `node-${(n + e) % nodes}`,
          conditions: { ready: true, serving: true, terminating: false },
          targetRef: { kind: 'Pod', name: `app-${n}-abcdef-${e}`, namespace: metadata.namespace },
        })),
        ports: ['http', 'metrics'].map((name, at) => ({ name, port: 8080 + at, protocol: 'TCP' })),
      });
    }
    const peer = (name: string, more = {}) => ({
      apiVersion: api,
      kind: 'BGPPeer',
      metadata: { name },
      spec: { peerSelector: 'all()', ...more },
    });
    server.fault({
      verb: 'watch',
      plural: 'bgppeers',
      times: 1,
      does: { type: 'long-line', bytes: 100 * 2 ** 20 },
    });
    const flags = ['--expose-gc', '--max-semi-space-size=8'];
    const child = promisify(execFile)(process.execPath, [
      ...flags,
      fileURLToPath(new URL('memory-child.js', import.meta.url)),
      server.url,
    ]);
    await until('watch', () => asked('watch').some(({ path }) => path.endsWith('/bgppeers')));
    const text = 'x'.repeat(1000);
    for (let n = 0; n < 10_000; n += 1) server.put(peer(`p${n % 10}`, { text, node: `n${n}` }));
    server.put(peer('last'));
    const { stdout } = await child;
    const report = JSON.parse(stdout) as MemoryReport;
    const mb = (bytes: number): number => Math.round(bytes / 2 ** 20);
    t.equal(report.objects, nodes + blocks + affinities + 2 * services + 11);
    const grown_mb = mb(report.peak_bytes - report.base_bytes);
    t.ok(mb(report.heap_bytes) <= kept_mb_max, `${mb(report.heap_bytes)} MB are kept`);
    t.ok(grown_mb <= memory_mb_max, `${grown_mb} MB at most, ${mb(report.heap_bytes)} MB of it kept`);
    t.comment(report);
  },
);
