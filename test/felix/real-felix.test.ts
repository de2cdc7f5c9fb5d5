/**
 * A real Felix before the socket: FELIX_BIN names calico-felix, ETCD_BIN etcd. Both run in a network namespace of the test's; Felix starts the driver that is built here.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { canUseNetns, NetnsLab } from '../../lab/netns.js';
import { type ActorRef, createActorSystem } from '../../src/actor-system.js';
import { type FelixReport, felixActor } from '../../src/actors/felix.js';
import { systemClock } from '../../src/clock.js';
import type { WorkloadEndpoint } from '../../src/felix/messages.js';
import { isStatusFileName } from '../../src/felix/status-file.js';
import { StatusFiles } from '../../src/host/status-files.js';
import type { FelixActorMessage, FelixStream } from '../../src/messages/felix.js';
import { listenFelix } from '../../src/node/felix.js';
import { KeptLog, supervision } from '../kit/actor-kit.js';
import { modelOf } from './stream.js';

const { FELIX_BIN, ETCD_BIN } = process.env;
const missing =
  FELIX_BIN === undefined
    ? 'FELIX_BIN is not set'
    : ETCD_BIN === undefined
      ? 'ETCD_BIN is not set'
      : canUseNetns();

t.setTimeout(200_000);

const build_script = fileURLToPath(new URL('../../../native/build.sh', import.meta.url));
const etcd_url = 'http://127.0.0.1:2379';

/** Runs inside: the namespace has its own loopback. */
const put_program = `
const [url, items] = process.argv.slice(1);
const base64 = (text) => Buffer.from(text).toString('base64');
for (const [key, value] of Object.entries(JSON.parse(items)))
  await fetch(url + '/v3/kv/put', { method: 'POST', body: JSON.stringify({ key: base64(key), value: base64(JSON.stringify(value)) }) });
`;
const keys_program = `
const [url, prefix] = process.argv.slice(1);
const base64 = (text) => Buffer.from(text).toString('base64');
const answer = await fetch(url + '/v3/kv/range', { method: 'POST', body: JSON.stringify({ key: base64(prefix), range_end: base64(prefix + '~') }) });
const { kvs = [] } = await answer.json();
console.log(JSON.stringify(Object.fromEntries(kvs.map(({ key, value }) => [Buffer.from(key, 'base64').toString(), Buffer.from(value, 'base64').toString()]))));
`;

const resources = '/calico/resources/v3/projectcalico.org';

function resource(kind: string, name: string, spec: object, more: object = {}) {
  const metadata = {
    name,
    uid: `00000000-0000-0000-0000-${name.length.toString().padStart(12, '0')}`,
    ...more,
  };
  return { kind, apiVersion: 'projectcalico.org/v3', metadata, spec };
}

function cluster(port: number) {
  return {
    [`${resources}/clusterinformations/default`]: resource('ClusterInformation', 'default', {
      datastoreReady: true,
      clusterGUID: 'a-guid',
      calicoVersion: 'v3.32.1',
    }),
    [`${resources}/tiers/default`]: resource('Tier', 'default', { order: 1_000_000, defaultAction: 'Deny' }),
    [`${resources}/profiles/kns.shop`]: resource('Profile', 'kns.shop', {
      ingress: [{ action: 'Allow' }],
      egress: [{ action: 'Allow' }],
    }),
    [`${resources}/globalnetworkpolicies/default.web`]: resource('GlobalNetworkPolicy', 'default.web', {
      tier: 'default',
      selector: "app == 'web'",
      types: ['Ingress'],
      ingress: [
        {
          action: 'Allow',
          protocol: 'TCP',
          source: { selector: "app == 'web'" },
          destination: { ports: [port] },
        },
      ],
    }),
    [`${resources}/workloadendpoints/shop/node1-k8s-web--0-eth0`]: resource(
      'WorkloadEndpoint',
      'node1-k8s-web--0-eth0',
      {
        orchestrator: 'k8s',
        node: 'node1',
        pod: 'web-0',
        endpoint: 'eth0',
        interfaceName: 'cali1',
        ipNetworks: ['10.65.0.2/32'],
        profiles: ['kns.shop'],
      },
      {
        namespace: 'shop',
        labels: {
          app: 'web',
          'projectcalico.org/namespace': 'shop',
          'projectcalico.org/orchestrator': 'k8s',
        },
      },
    ),
  };
}

t.test('a real Felix', missing === undefined ? {} : { skip: missing }, async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'real-felix-'));
  const lab = new NetnsLab();
  const children: ChildProcess[] = [];
  t.teardown(() => {
    for (const child of children) child.kill('SIGKILL');
    lab.close();
    rmSync(directory, { recursive: true, force: true });
  });
  const netns = lab.namespace('felix');
  const inside = (program: string, argv: readonly string[], env: NodeJS.ProcessEnv = {}): ChildProcess => {
    const child = spawn('nsenter', [`--net=${netns}`, '--', program, ...argv], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH: process.env.PATH, ...env },
    });
    children.push(child);
    return child;
  };
  const script = (program: string, ...words: readonly string[]): string =>
    lab.run('felix', process.execPath, '--input-type=module', '-e', program, etcd_url, ...words);

  const etcd = inside(ETCD_BIN!, [
    ...['--data-dir', join(directory, 'etcd'), '--listen-client-urls', etcd_url],
    ...['--advertise-client-urls', etcd_url, '--listen-peer-urls', 'http://127.0.0.1:2380'],
  ]);
  etcd.stdout!.resume();
  etcd.stderr!.resume();
  for (let tries = 0; ; tries += 1) {
    try {
      script(put_program, JSON.stringify(cluster(80)));
      break;
    } catch (error) {
      if (tries === 60) throw error;
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  }

  const socket = join(directory, 'felix.sock');
  const proxy = join(directory, 'felix-api-proxy');
  t.equal(spawnSync('sh', [build_script, proxy]).status, 0, 'the driver is built');
  // Felix starts its driver without a word; the proxy knows the path of a cluster alone.
  const driver = join(directory, 'driver');
  writeFileSync(driver, `#!/bin/sh\nexec ${proxy} ${socket}\n`);
  chmodSync(driver, 0o755);

  const told: FelixStream[] = [];
  let heard = () => {};
  const system = createActorSystem({
    name: 'root',
    clock: systemClock,
    log: new KeptLog(),
    supervision: supervision({ intensity: { restarts_max: 0, window_ms: 1000 } }),
    escalated: (reason) => t.error(reason),
  });
  t.teardown(() => system.stop());
  let report: (() => FelixReport) | undefined;
  const felix: ActorRef<FelixActorMessage> = await system.spawn(
    felixActor(
      {
        listen: (accept, failed) => listenFelix(socket, accept, failed),
        install: async () => 'is not of interest',
        files: new StatusFiles(join(directory, 'status'), isStatusFileName),
        report: (made) => {
          report = made;
        },
      },
      { socket_path: socket },
    ),
  );
  await system.spawn<FelixStream>({
    name: 'policies',
    restart: 'permanent',
    shutdown_ms: 1000,
    mailbox_max: 64,
    handler_ms_max: 1000,
    start: (ctx) => {
      felix.tell({ type: 'SubscribeFelix', subscriber: ctx.this_life });
      return {
        receive: (message) => {
          told.push(message);
          if (message.type === 'FelixTold') felix.tell({ type: 'FelixTaken', stream: message.stream });
          heard();
        },
      };
    },
  });
  const until = async (what: string, is_so: () => boolean): Promise<void> => {
    const end = performance.now() + 90_000;
    while (!is_so()) {
      if (performance.now() > end) throw new Error(`never seen: ${what}; Felix: ${said.slice(-3000)}`);
      await Promise.race([
        new Promise<void>((resolve) => {
          heard = resolve;
        }),
        new Promise((resolve) => setTimeout(resolve, 500)),
      ]);
    }
  };
  const messages = (stream: number) =>
    told.flatMap((each) => (each.type === 'FelixTold' && each.stream === stream ? each.messages : []));
  const inSync = (stream: number) => messages(stream).some(({ kind }) => kind === 'in_sync');

  let said = '';
  const start = (): ChildProcess => {
    const child = inside(FELIX_BIN!, [], {
      FELIX_DATASTORETYPE: 'etcdv3',
      FELIX_ETCDENDPOINTS: etcd_url,
      FELIX_FELIXHOSTNAME: 'node1',
      FELIX_USEINTERNALDATAPLANEDRIVER: 'false',
      FELIX_DATAPLANEDRIVER: driver,
      FELIX_LOGSEVERITYSCREEN: 'info',
      FELIX_LOGSEVERITYFILE: 'none',
      FELIX_LOGFILEPATH: 'none',
      FELIX_HEALTHENABLED: 'false',
      FELIX_USAGEREPORTINGENABLED: 'false',
      FELIX_ENDPOINTREPORTINGENABLED: 'true',
      FELIX_REPORTINGINTERVALSECS: '3',
      FELIX_ENDPOINTSTATUSPATHPREFIX: directory,
    });
    for (const stream of [child.stdout!, child.stderr!])
      stream.on('data', (chunk) => {
        said += chunk;
      });
    return child;
  };

  const first = start();
  await until('InSync', () => inSync(1));
  const before = modelOf(messages(1)).live!;
  t.same([...before.workloads.keys()], ['k8s shop/web-0 eth0']);
  t.equal(before.policies.size, 1);
  t.same([...before.profiles.keys()], ['kns.shop']);
  t.same(report!().faults, []);
  t.comment(`Felix said ${JSON.stringify(report!().messages)}`);

  const endpoint = before.workloads.get('k8s shop/web-0 eth0') as WorkloadEndpoint;
  felix.tell({
    type: 'EndpointStatuses',
    whole: true,
    statuses: [{ kind: 'workload', endpoint, state: 'up' }],
  });
  let reported: Record<string, string> = {};
  await until('the status that Felix keeps', () => {
    reported = JSON.parse(script(keys_program, '/calico/felix'));
    return (
      Object.keys(reported).some((key) => key.includes('/workload/')) &&
      Object.keys(reported).some((key) => key.endsWith('/status'))
    );
  });
  const [, status] = Object.entries(reported).find(([key]) => key.includes('/workload/'))!;
  t.match(JSON.parse(status), { status: 'up' }, 'what became of the endpoint, in its datastore');
  t.comment(JSON.stringify(reported));

  script(put_program, JSON.stringify(cluster(81)));
  await until('the changed policy', () => messages(1).filter(({ kind }) => kind === 'policy').length > 1);
  t.equal(first.exitCode, null, 'Felix lives on with all that it was told');

  const ended = once(first, 'exit');
  first.kill('SIGKILL');
  await ended;
  await until('its end', () => told.some(({ type, stream }) => type === 'FelixEnded' && stream === 1));
  start();
  await until('InSync of the next one', () => inSync(2));
  const after = modelOf(messages(2)).live!;
  t.same([...after.workloads], [...before.workloads], 'the next Felix says the same');
  t.match([...after.policies.values()], [{ inbound: [{ dst: { ports: [{ first: 81, last: 81 }] } }] }]);
});
