/** VPP's stats segment and the metrics of a node, on a real VPP: against what VPP says on its command line, and over its death. */
import { execFile, execFileSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import t from 'tap';
import { connect, unixTransport } from 'vpp-binapi-ts';
import { cli_inband } from 'vpp-binapi-ts/vlib';
import { service, slice } from '../../lab/k8s/service-objects.js';
import { LabCluster } from '../../lab/lab-cluster.js';
import { canUseNetns } from '../../lab/netns.js';
import { missing } from '../../lab/programs.js';
import { findRealVpp, startRealVpp } from '../../lab/real-vpp.js';
import { startNode } from '../../lab/running-node.js';
import { Topology } from '../../lab/topology.js';
import { Traffic } from '../../lab/traffic.js';
import { systemClock } from '../../src/clock.js';
import { interfacesOf } from '../../src/metrics/from-segment.js';
import type { SegmentView } from '../../src/stats/segment.js';
import { SegmentFile } from '../../src/stats/segment-file.js';
import { StatsReader } from '../../src/stats/stats-reader.js';
import { needs } from '../kit/needs.js';
import { type Parsed, parse } from '../metrics/text-format.js';

const found = findRealVpp();
const reason = found.usable ? (canUseNetns() ?? missing('curl')) : found.why;
const real = needs(reason);

const packets = 100;
const generator = `packet-generator new { name x limit ${packets} size 64-64 interface pg0 node ethernet-input data { IP4: 1.2.3 -> 4.5.6 UDP: 192.0.2.1 -> 192.0.2.2 UDP: 1 -> 2 incrementing 10 } }`;

t.test('the segment says what the command line says', real(), async (t) => {
  if (!found.usable) return;
  const vpp = await startRealVpp(found);
  t.teardown(() => vpp.stop());
  const client = await connect({
    transport: unixTransport(vpp.api_socket),
    name: 'metrics',
    deadline_ms: 10_000,
  });
  t.teardown(() => client.close());
  const cli = async (cmd: string): Promise<string> => (await client.request(cli_inband, { cmd })).reply;
  const reader = new StatsReader({ open: (pid) => SegmentFile.open(pid), clock: systemClock });
  t.teardown(() => reader.close());
  const read = async <T>(pick: (view: SegmentView) => T): Promise<T> => {
    const reading = await reader.read(vpp.pid, pick);
    if (!reading.ok) throw new Error(reading.reason);
    t.strictSame(reading.faults, { count: 0, first: [] });
    return reading.value;
  };
  const named = (view: SegmentView): string[] => [...interfacesOf(view)].map(([, name]) => name);

  t.strictSame(await read(named), ['local0']);
  for (let i = 0; i < 3; i += 1) await cli('create loopback interface');
  await cli('create packet-generator interface pg0');
  await cli('set interface state pg0 up');
  t.strictSame(await read(named), ['local0', 'loop0', 'loop1', 'loop2', 'pg0']);
  await cli(generator);
  await cli('packet-generator enable');
  for (let tries = 0; !(await cli('show interface pg0')).includes(`${packets}`) && tries < 50; tries += 1)
    await sleep(100);
  const counters = await read((view) => {
    const index = [...interfacesOf(view)].find(([, name]) => name === 'pg0')![0];
    const rx = view.value('/if/rx');
    const drops = view.value('/if/drops');
    return {
      rx: rx?.kind === 'combined' ? rx.threads[0]?.packets[index] : undefined,
      drops: drops?.kind === 'simple' ? drops.threads[0]?.[index] : undefined,
      errors: [...view.names.keys()].flatMap((name) => {
        if (!name.startsWith('/err/')) return [];
        const value = view.value(name);
        const count = value?.kind === 'simple' ? (value.threads[0]?.[0] ?? 0) : 0;
        return count > 0 ? [[name, count]] : [];
      }),
    };
  });
  const shown = await cli('show interface pg0');
  const onCommandLine = (what: string): number =>
    Number(new RegExp(`\\b${what}\\s+(\\d+)`).exec(shown)?.[1] ?? 0);
  t.equal(counters.rx, packets);
  t.equal(counters.rx, onCommandLine('rx packets'));
  t.equal(counters.drops, onCommandLine('drops'));
  const errors = await cli('show errors');
  t.ok(counters.errors.length > 0);
  for (const [path, count] of counters.errors) {
    const [, node = ''] = /^\/err\/([^/]+)\//.exec(String(path)) ?? [];
    t.match(errors, new RegExp(`\\b${count}\\s+${node}\\b`), `${path} ${count}`);
  }
  await cli('delete loopback interface intfc loop1');
  t.strictSame(await read(named), ['local0', 'loop0', 'loop2', 'pg0', 'pg-1'], 'what is deleted is a hole');
  t.ok(await read((view) => view.names.has('/cnat/sessions/total')), 'cnat has its gauge');
  t.ok(await read((view) => [...view.names.keys()].some((name) => name.startsWith('/buffer-pools/'))));
  process.kill(vpp.pid, 'SIGKILL');
  await vpp.exited;
  t.match(await reader.read(vpp.pid, named), { ok: false, is_dead: true });
});

const run = promisify(execFile);

/** As Prometheus asks; what is wrong with the answer is in its `faults`. */
async function scraped(
  inside: (argv: readonly string[]) => [string, string[]],
  format: 'text' | 'openmetrics',
): Promise<Parsed & { body: string; took_ms: number }> {
  const accept = format === 'text' ? [] : ['-H', 'Accept: application/openmetrics-text'];
  const [command, argv] = inside([
    'curl',
    '-sS',
    '--max-time',
    '5',
    ...accept,
    'http://127.0.0.1:8888/metrics',
  ]);
  const began = performance.now();
  const { stdout } = await run(command, argv, { maxBuffer: 2 ** 24 });
  return { ...parse(stdout, format), body: stdout, took_ms: Math.round(performance.now() - began) };
}

function of({ series }: Parsed, name: string, labels: Record<string, string> = {}): number | undefined {
  return series.find(
    (each) =>
      each.name === name && Object.entries(labels).every(([label, text]) => each.labels[label] === text),
  )?.value;
}

const secret = 'a-secret-that-nobody-may-see';

t.test('a node is scraped before, during and after the death of its VPP', real(), async (t) => {
  if (!found.usable) return;
  const topology = new Topology();
  t.teardown(() => topology.close());
  const traffic = new Traffic(topology);
  t.teardown(() => traffic.close());
  const node = await startNode(topology, {
    vpp: found,
    environment: {
      CALICOVPP_FEATURE_GATES: '{"prometheusEnabled": "true"}',
      CALICOVPP_IPSEC_IKEV2_PSK: secret,
    },
  });
  t.teardown(() => node.close());
  const [p1, p2] = topology.pods as [(typeof topology.pods)[0], (typeof topology.pods)[0]];
  await node.add(p1);
  await node.add(p2);
  await traffic.ping('p1', p2.ip4);

  const scrape = async (legacy = false) => {
    const answer = await scraped(
      (argv) => topology.inside(topology.name, argv),
      legacy ? 'text' : 'openmetrics',
    );
    t.strictSame(answer.faults, []);
    return answer;
  };

  const before = await scrape();
  t.comment(
    `${before.series.length} series in ${of(before, 'calicovpp_scrape_seconds')} s, of it VPP's segment ${of(before, 'calicovpp_vpp_stats_read_seconds')} s; ${before.took_ms} ms with curl`,
  );
  t.equal(of(before, 'calicovpp_vpp_up'), 1);
  t.equal(of(before, 'calicovpp_pods'), 2);
  t.ok(of(before, 'calicovpp_interface_rx_packets_total', { kind: 'pod', pod: p1.name })! >= 3);
  t.ok(of(before, 'calicovpp_interface_rx_packets_total', { kind: 'uplink' })! > 0);
  t.ok(of(before, 'calicovpp_vpp_buffers', { state: 'available' })! > 1000);
  t.ok(of(before, 'calicovpp_vpp_heap_bytes', { heap: 'main heap', kind: 'total' })! > 1e6);
  t.ok(of(before, 'calicovpp_vpp_api_requests_total', { msg: 'ip_route_add_del_v2', result: 'ok' })! > 0);
  t.equal(of(before, 'calicovpp_cni_requests_total', { op: 'add', result: 'ok' }), 2);
  t.equal(of(before, 'calicovpp_cnat_sessions_max'), 1_048_576);
  for (const source of ['tree', 'figures', 'stats'])
    t.equal(of(before, 'calicovpp_scrape_stale', { source }), 0, source);
  const boot_s = of(before, 'calicovpp_vpp_boot_time_seconds')!;
  t.ok(Math.abs(boot_s - Date.now() / 1000) < 600, `VPP says that it started at ${boot_s}`);

  const old = await scrape(true);
  t.ok(
    of(old, 'cni_projectcalico_vpp_rx_packets', {
      podName: p1.name,
      podInterfaceName: 'eth0',
      worker: '0',
    })! >= 3,
  );
  if (missing('promtool') === undefined) {
    const kept = old.body.replace(/^(# \w+ )?cni_projectcalico.*\n/gm, '');
    const lint = execFileSync('promtool', ['check', 'metrics'], { input: kept, encoding: 'utf8' });
    t.equal(lint, '', 'promtool has nothing to say');
  } else t.comment(missing('promtool'));

  // Another VPP may be there within a quarter of a second, and the scrape too late.
  let deaths = 0;
  let during: Awaited<ReturnType<typeof scrape>>;
  let pid: number;
  do {
    await node.untilReady();
    // The answer before is kept for a second.
    await sleep(1100);
    pid = node.vppPid()!;
    process.kill(pid, 'SIGKILL');
    deaths += 1;
    await node.untilStatus(({ ready }) => !ready, 'is ready');
    during = await scrape();
  } while (of(during, 'calicovpp_vpp_up') !== 0 && deaths < 4);
  t.equal(of(during, 'calicovpp_vpp_up'), 0);
  t.ok(during.took_ms < 4000, `${during.took_ms} ms`);
  t.equal(of(during, 'calicovpp_interfaces'), undefined);
  t.ok(of(during, 'process_resident_memory_bytes')! > 1e6);
  await node.untilOtherVpp(pid);
  await node.untilReady();
  await sleep(1100);
  const after = await scrape();
  t.equal(of(after, 'calicovpp_vpp_up'), 1);
  t.equal(of(after, 'calicovpp_vpp_restarts_total', { cause: 'SIGKILL' }), deaths);
  t.ok(of(after, 'calicovpp_vpp_boot_time_seconds')! >= boot_s);
  t.equal(of(after, 'calicovpp_pods'), 2);

  await node.del(p2);
  await sleep(1100);
  const fewer = await scrape();
  t.notOk(
    fewer.series.some(({ labels }) => labels.pod === p2.name),
    'who is gone has no series',
  );

  const { body } = await scrape(true);
  const debug = [
    'tree',
    'actor/root/vpp/vpp-connection',
    'actor/root/cni/state',
    'vpp/api',
    'sync',
    'events',
    'config',
    'runtime',
  ];
  for (const text of [
    body,
    ...(await Promise.all(debug.map((path) => node.debug(`/debug/${path}`)))),
    JSON.stringify(await node.status()),
  ]) {
    t.ok(text.length > 100);
    t.notOk(text.includes(secret));
  }
});

t.test('new connections of services are counted by service', real(), async (t) => {
  if (!found.usable) return;
  const port = 5001;
  const cluster = await LabCluster.start({
    vpp: found,
    subnets: [0],
    pods: 2,
    environment: {
      SERVICE_PREFIX: '10.96.0.0/16,fd96::/108',
      CALICOVPP_FEATURE_GATES: '{"prometheusEnabled": true}',
    },
  });
  t.teardown(() => cluster.close());
  const { server, traffic, nodes } = cluster;
  const [node] = cluster.running as [(typeof cluster.running)[0]];
  const [client, back] = node.topology.pods as [
    (typeof node.topology.pods)[0],
    (typeof node.topology.pods)[0],
  ];
  await traffic.serve(back.name, port);
  const put = async (name: string, cluster_ips: readonly string[], more: object = {}): Promise<void> => {
    const asked = { name, cluster_ips, port, ...more };
    const end = { node: node.topology.name };
    await server.put(
      service(asked),
      slice(asked, 'ip4', [{ address: back.ip4, ...end }]),
      slice(asked, 'ip6', [{ address: back.ip6, ...end }]),
    );
  };
  const web = { ip4: '10.96.0.20', ip6: 'fd96::a:20' };
  const dns = '10.96.0.21';
  await put('web', Object.values(web), { node_port: 30080 });
  await put('dns', [dns], { protocol: 'UDP' });

  /** A second after the last answer, which is kept for so long. */
  const counted = async (name: string): Promise<number | undefined> => {
    await sleep(1100);
    const answer = await scraped((argv) => nodes.inside(node.topology.name, argv), 'openmetrics');
    t.strictSame(answer.faults, []);
    return of(answer, 'calicovpp_service_new_connections_total', { namespace: 'default', service: name });
  };
  const until = async (name: string, expected: number | undefined): Promise<number | undefined> => {
    for (let tries = 0; tries < 10; tries += 1) if ((await counted(name)) === expected) return expected;
    return counted(name);
  };
  const connect = async (address: string, times: number): Promise<void> => {
    for (let n = 0; n < times; n += 1) {
      const { receipt, error } = await traffic.connect(client.name, address, port);
      t.equal(
        receipt?.at.includes(address.includes(':') ? back.ip6 : back.ip4),
        true,
        error ?? 'by its back end',
      );
    }
  };

  t.equal(await until('web', 0), 0, 'from 0 on');
  t.equal(await until('dns', 0), 0);
  await connect(web.ip4, 3);
  await connect(web.ip6, 2);
  t.equal(await counted('web'), 5, 'by all addresses together');
  const { answered } = await traffic.ask(client.name, dns, port, { count: 10, source_port: 4000 });
  t.equal(answered, 10);
  t.equal(await counted('dns'), 1, 'a flow of ten datagrams is one');
  t.equal(await counted('web'), 5);

  await put('web', [web.ip4], { node_port: 30080 });
  await put('new', ['10.96.0.22']);
  t.equal(await until('new', 0), 0, 'an id that is used again is not the one before');
  t.equal(await counted('web'), 5, 'an address that goes takes nothing along');
  await connect(web.ip4, 1);
  await connect('10.96.0.22', 4);
  t.equal(await counted('web'), 6);
  t.equal(await counted('new'), 4);

  await node.kill('SIGKILL');
  await node.restart();
  await node.untilReady();
  t.equal(await until('web', 0), 0, 'another process begins at 0, VPP whatever it has counted');
  await connect(web.ip4, 2);
  t.equal(await counted('web'), 2);

  const pid = node.vppPid()!;
  process.kill(pid, 'SIGKILL');
  await node.untilOtherVpp(pid);
  await node.untilReady(60_000);
  const at_first = (await counted('web')) ?? 0;
  await connect(web.ip4, 3);
  t.equal(await until('web', at_first + 3), at_first + 3, 'of another VPP');

  await server.remove(service({ name: 'web', cluster_ips: [web.ip4], port }));
  t.equal(await until('web', undefined), undefined, 'who is gone has no series');
});
