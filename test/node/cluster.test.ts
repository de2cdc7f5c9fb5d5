import t from 'tap';
import type { SourceStatus } from '../../src/actors/cluster.js';
import type { FelixConfiguration } from '../../src/calico/kinds/felix-configuration.js';
import type { IpPool } from '../../src/calico/kinds/ip-pool.js';
import type { CalicoNode } from '../../src/calico/kinds/node.js';
import { systemClock } from '../../src/clock.js';
import { loadConfig } from '../../src/config.js';
import { SyncReports } from '../../src/debug/sync-reports.js';
import { clusterOf, clusterReport, podPrefixes, sourceSpoofing } from '../../src/node/cluster.js';
import { KeptLog } from '../kit/actor-kit.js';

t.test('what the FelixConfiguration says of this node comes before what it says of all', async (t) => {
  const said = (all: Record<string, 'Any' | 'Disabled' | undefined>) =>
    sourceSpoofing(
      'a',
      new Map(
        Object.entries(all).map(([name, spoofing]): [string, FelixConfiguration] => [
          name,
          { name, ...(spoofing && { workload_source_spoofing: spoofing }) },
        ]),
      ),
    );
  t.equal(said({}), undefined);
  t.equal(said({ default: 'Any' }), 'Any');
  t.equal(said({ default: 'Any', 'node.a': 'Disabled' }), 'Disabled');
  t.equal(said({ default: 'Any', 'node.a': undefined }), 'Any');
  t.equal(said({ 'node.b': 'Any' }), undefined);
});

t.test('prefixes of the pools, each once; encapsulated where any is', async (t) => {
  const pool = (prefix: string, more: Partial<IpPool> = {}): IpPool => ({
    name: prefix,
    prefix,
    ipip: 'Never',
    vxlan: 'Never',
    nat_outgoing: false,
    disabled: true,
    disable_bgp_export: false,
    allowed_uses: [],
    ...more,
  });
  t.strictSame(podPrefixes([], []), { prefixes: [], nat_outgoing: [], nodes: [], encapsulated: false });
  t.notOk('nodes' in podPrefixes([], undefined), 'not known yet');
  const flat = [pool('10.2.0.0/16'), pool('10.1.0.0/16'), pool('10.1.0.0/16')];
  const prefixes = ['10.1.0.0/16', '10.2.0.0/16'];
  const nodes: CalicoNode[] = [
    { name: 'b', labels: {}, ip4: { address: '10.9.0.2', prefix: '10.9.0.0/24' }, status_ip6: 'fd09::1' },
    { name: 'a', labels: {}, status_ip4: '10.9.0.1' },
  ];
  t.strictSame(podPrefixes(flat, nodes), {
    prefixes,
    nat_outgoing: [],
    nodes: ['10.9.0.1/32', '10.9.0.2/32', 'fd09::1/128'],
    encapsulated: false,
  });
  t.strictSame(podPrefixes([...flat, pool('10.3.0.0/16', { nat_outgoing: true })], []).nat_outgoing, [
    '10.3.0.0/16',
  ]);
  for (const more of [{ ipip: 'CrossSubnet' }, { vxlan: 'Always' }] as const)
    t.ok(podPrefixes([...flat, pool('10.3.0.0/16', more)], []).encapsulated);
});

t.test('what is shown of a cluster full of faults is bounded, and the rest is counted', async (t) => {
  const status = (kind: string, count: number, more: Partial<SourceStatus> = {}): SourceStatus => ({
    kind,
    synced: true,
    doing: 'watching',
    objects: count,
    lists: 1,
    watches: 1,
    faults: Object.fromEntries(
      Array.from({ length: count }, (_, n) => [`o${n}${'n'.repeat(1000)}`, Array(16).fill('f'.repeat(1000))]),
    ),
    faulty_unshown: 0,
    ...more,
  });
  const report = clusterReport([
    status('Node', 0, { synced: false, doing: 'waiting', trouble: 'refused' }),
    status('IPPool', 60),
    status('BGPPeer', 60, { faulty_unshown: 7 }),
    status('BGPFilter', 60),
    status('Secret', 0, { object: 'bgp' }),
  ]);
  t.ok(JSON.stringify(report).length < 128 * 1024);
  t.match(report, {
    Node: { synced: false, doing: 'waiting', trouble: 'refused', faults: undefined },
    IPPool: { objects: 60, faulty_unshown: undefined },
    BGPPeer: { faulty_unshown: 27 },
    BGPFilter: { faults: undefined, faulty_unshown: 60 },
    'Secret bgp': { synced: true },
  });
  const shown = (name: string) => Object.keys((report[name] as { faults: object }).faults).length;
  t.strictSame([shown('IPPool'), shown('BGPPeer')], [60, 40]);
});

t.test('reports by name; one that throws says so, and the others are there', async (t) => {
  const reports = new SyncReports();
  reports.set('bgp', () => 'first');
  reports.set('bgp', () => ({ peers: 1 }));
  reports.set('broken', () => {
    throw new Error('defect');
  });
  t.strictSame(reports.all(), { bgp: { peers: 1 }, broken: { error: 'defect' } });
});

t.test('what it takes to reach the API server may be missing: nothing is kept from starting', async (t) => {
  const config = (env: Record<string, string>) =>
    loadConfig({
      NODENAME: 'a',
      CALICOVPP_INTERFACES: '{"uplinkInterfaces": [{"interfaceName": "eth0", "vppDriver": "af_packet"}]}',
      ...env,
    }).config;
  const log = new KeptLog();
  t.equal(clusterOf(config({}), systemClock, log).api, undefined);
  // Said to the configuration alone, and not to this process.
  const cluster = clusterOf(config({ KUBERNETES_SERVICE_HOST: '10.96.0.1' }), systemClock, log);
  t.ok(cluster.api);
  t.strictSame(await cluster.nodeAnnotations(), {});
  t.match(log.lines, [{ level: 'warn', fields: { cause: /this is no pod of a cluster/ } }]);
});
