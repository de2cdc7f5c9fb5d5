/**
 * The image as a kubelet would run it: by CRI, with the manifest's security context, volumes and environment, on a host that is namespaces. IMAGE
 * names an archive in OCI's layout.
 */
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { V1ConfigMap, V1DaemonSet } from '@kubernetes/client-node';
import t, { type Test } from 'tap';
import { whyNoContainerd } from '../../lab/deploy/containerd.js';
import { Cri, criConfigs, whyNoCri } from '../../lab/deploy/cri.js';
import { canUseNetns } from '../../lab/netns.js';
import { vhostNet } from '../../lab/real-vpp.js';
import { Topology } from '../../lab/topology.js';
import { ipState, ipStateIs } from '../../lab/traffic.js';
import { needs } from '../kit/needs.js';
import { loadAll } from './kubernetes-schema.js';

const { IMAGE: image = '' } = process.env;
const whyNoTaps = (): string | undefined => {
  const vhost = vhostNet();
  return 'why' in vhost ? `needs /dev/vhost-net: ${vhost.why}` : undefined;
};
const why =
  image === ''
    ? 'needs IMAGE, an archive of the image in OCI’s layout'
    : (whyNoContainerd() ?? whyNoCri() ?? canUseNetns() ?? whyNoTaps());
const run = needs(why);

const ready_ms = 240_000;
const reference = 'test.invalid/calico-vpp-node:1';
const shim = '/opt/vhost-shim.so';

function manifest() {
  const path = fileURLToPath(new URL('../../../deploy/kubernetes/calico-vpp-node.yaml', import.meta.url));
  const all = loadAll(readFileSync(path, 'utf8')) as (V1DaemonSet | V1ConfigMap)[];
  const set = all.find(({ kind }) => kind === 'DaemonSet') as V1DaemonSet;
  const map = all.find(({ kind }) => kind === 'ConfigMap') as V1ConfigMap;
  return { pod: set.spec!.template.spec!, data: map.data! };
}

/** Namespaces of network, processes and mounts, and a first process in them. */
async function host(t: Test) {
  const directory = mkdtempSync(join(tmpdir(), 'cri-'));
  const topology = new Topology({ pods: 1 });
  const first = spawn(
    'nsenter',
    [
      `--net=${topology.lab.namespace('node')}`,
      ...['--', 'unshare', '--pid', '--fork', '--kill-child', '--mount-proc', 'sh', '-c'],
      'echo up; while :; do sleep 1; done',
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  await createInterface({ input: first.stdout })[Symbol.asyncIterator]().next();
  const pid = Number(
    readFileSync(`/proc/${first.pid}/task/${first.pid}/children`, 'utf8').trim().split(' ')[0],
  );
  let cri: Cri | undefined;
  t.teardown(async () => {
    try {
      cri?.crictl('rmp', '--all', '--force');
    } catch {
      // It ends with its namespace.
    }
    await cri?.close();
    first.kill('SIGKILL');
    await sleep(1000);
    topology.close();
    rmSync(directory, { recursive: true, force: true });
  });
  cri = await Cri.start(directory, pid);
  return { directory, topology, cri };
}

t.test('a pod by CRI: ready, asked, ended', run(), async (t) => {
  const { pod, data } = manifest();
  const { directory, topology, cri } = await host(t);
  const before = ipState(topology, 'node');
  cri.importPause();
  cri.import(image, reference);
  const there = (path: string): string => {
    if (path === '/var/run/netns') return topology.lab.directory;
    const at = join(directory, 'host', path);
    mkdirSync(at, { recursive: true });
    return at;
  };
  const vhost = vhostNet();
  if ('why' in vhost) throw new Error(vhost.why);
  const configs = criConfigs(pod, {
    image: reference,
    environment: {
      ...data,
      NODENAME: 'node',
      CALICOVPP_MAX_PODS: '16',
      ...(vhost.shim && { CALICOVPP_VPP_ENVIRONMENT: JSON.stringify({ LD_PRELOAD: shim }) }),
    },
    hostPath: there,
    emptyDir: (name) => there(`/empty/${name}`),
    files: vhost.shim ? { [shim]: vhost.shim } : {},
    log_directory: there('/log'),
  });
  const ids = cri.run(configs.pod, configs.container);
  const stateOf = (): { state: string; exitCode: number } =>
    JSON.parse(cri.crictl('inspect', ids.container)).status;
  const said = (): string => readFileSync(join(there('/log'), 'container.log'), 'utf8').slice(-3000);

  const { path, port, host: at } = pod.containers[0]!.readinessProbe!.httpGet!;
  const isReady = () =>
    topology.lab.succeeds('node', 'curl', '-sf', '-m', '2', '-o', '/dev/null', `http://${at}:${port}${path}`);
  const began = Date.now();
  while (!isReady()) {
    if (Date.now() - began > ready_ms || stateOf().state !== 'CONTAINER_RUNNING')
      throw new Error(`not ready: ${said()}`);
    await sleep(200);
  }
  t.comment(`ready after ${Date.now() - began} ms`);
  t.not((await ipStateIs(topology, 'node', before, 0)).length, 0, 'VPP has the uplink');
  const asked = cri.crictl('exec', '--sync', ids.container, 'calico-vpp-node', 'status');
  t.match(asked, /ready/i, 'a command in the container, as kubectl exec runs it');

  cri.crictl('stop', '--timeout', String(pod.terminationGracePeriodSeconds), ids.container);
  const { state, exitCode } = stateOf();
  t.equal(state, 'CONTAINER_EXITED');
  t.equal(exitCode, 0, exitCode === 0 ? 'it ends well' : said());
  t.strictSame(await ipStateIs(topology, 'node', before), [], 'the host is as it was');
});
