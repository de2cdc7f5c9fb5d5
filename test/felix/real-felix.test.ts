/**
 * A real Felix before the socket: FELIX_BIN names calico-felix, ETCD_BIN etcd. Both run in a network namespace of the test's; Felix starts the driver that is built here.
 */
import { join } from 'node:path';
import t from 'tap';
import { canUseNetns } from '../../lab/netns.js';
import { findRealFelix, RealFelix, stored, storedCluster, storedPod } from '../../lab/real-felix.js';
import { type ActorRef, createActorSystem } from '../../src/actor-system.js';
import { type FelixReport, felixActor } from '../../src/actors/felix.js';
import { systemClock } from '../../src/clock.js';
import type { WorkloadEndpoint } from '../../src/felix/messages.js';
import { isStatusFileName } from '../../src/felix/status-file.js';
import { StatusFiles } from '../../src/host/status-files.js';
import type { FelixActorMessage, FelixStream } from '../../src/messages/felix.js';
import { listenFelix } from '../../src/node/felix.js';
import { KeptLog, supervision, takes_all } from '../kit/actor-kit.js';
import { modelOf } from './stream.js';

const found = findRealFelix();
const missing = found.usable ? canUseNetns() : found.why;

const cluster = (port: number) => ({
  ...storedCluster('shop'),
  ...storedPod('shop', 'web-0', { app: 'web' }, ['10.65.0.2/32'], 'cali1'),
  ...stored('GlobalNetworkPolicy', 'globalnetworkpolicies/default.web', {
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
});

t.test('a real Felix', missing === undefined ? {} : { skip: missing }, async (t) => {
  if (!found.usable) throw new Error(found.why);
  const real = new RealFelix(found);
  t.teardown(() => real.close());
  const { directory } = real;
  await real.startEtcd(cluster(80));
  const socket = join(directory, 'felix.sock');
  real.makeDriver(socket);

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
        connectivity: takes_all,
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
      if (performance.now() > end) throw new Error(`never seen: ${what}; Felix: ${real.said.slice(-3000)}`);
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

  const first = real.start();
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
    reported = real.get('/calico/felix');
    return (
      Object.keys(reported).some((key) => key.includes('/workload/')) &&
      Object.keys(reported).some((key) => key.endsWith('/status'))
    );
  });
  const [, status] = Object.entries(reported).find(([key]) => key.includes('/workload/'))!;
  t.match(JSON.parse(status), { status: 'up' }, 'what became of the endpoint, in its datastore');
  t.comment(JSON.stringify(reported));

  real.put(cluster(81));
  await until('the changed policy', () => messages(1).filter(({ kind }) => kind === 'policy').length > 1);
  t.equal(first.exitCode, null, 'Felix lives on with all that it was told');

  await real.kill(first);
  await until('its end', () => told.some(({ type, stream }) => type === 'FelixEnded' && stream === 1));
  real.put(cluster(82));
  real.start();
  await until('InSync of the next one', () => inSync(2));
  const after = modelOf(messages(2)).live!;
  t.same([...after.workloads], [...before.workloads], 'the next Felix says the same');
  t.match(
    [...after.policies.values()],
    [{ inbound: [{ dst: { ports: [{ first: 82, last: 82 }] } }] }],
    'a policy that was changed while no Felix was there',
  );
});
