/**
 * The image as the pod runs it: by containerd and runc, with the manifest's security context, volumes, environment and probes, on a host that is a
 * network and a process namespace. IMAGE names an archive in OCI's layout (`buildah push … oci-archive:FILE`), IMAGE_NEXT one of another build.
 */
import { execFile, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { V1ConfigMap, V1DaemonSet, V1PodSpec } from '@kubernetes/client-node';
import t, { type Test } from 'tap';
import { cniAdd } from '../../lab/cni-driver.js';
import { Containerd, type ImportedImage, whyNoContainerd } from '../../lab/deploy/containerd.js';
import { capabilitiesOf, runtimeSpec } from '../../lab/deploy/runtime-spec.js';
import { canUseNetns } from '../../lab/netns.js';
import { pathOf } from '../../lab/programs.js';
import { vhostNet } from '../../lab/real-vpp.js';
import { type Pod, Topology } from '../../lab/topology.js';
import { ipState, ipStateIs, Traffic } from '../../lab/traffic.js';
import { link_types, packetsOf } from '../../src/cli/pcap-file.js';
import type { Status } from '../../src/debug/status.js';
import { needs } from '../kit/needs.js';
import { loadAll } from './kubernetes-schema.js';

const deploy = fileURLToPath(new URL('../../../deploy', import.meta.url));
const { IMAGE: image = '', IMAGE_NEXT: next = '' } = process.env;
const whyNoTaps = (): string | undefined => {
  const vhost = vhostNet();
  return 'why' in vhost ? `needs /dev/vhost-net: ${vhost.why}` : undefined;
};
const why =
  image === ''
    ? 'needs IMAGE, an archive of the image in OCI’s layout'
    : (whyNoContainerd() ?? canUseNetns() ?? whyNoTaps());
const run = needs(why);

/** With room for a machine that has much else to do. */
const ready_ms = 240_000;
const end_ms = 90_000;

/** In the kernel's order. */
const capability_names = [
  ...['CHOWN', 'DAC_OVERRIDE', 'DAC_READ_SEARCH', 'FOWNER', 'FSETID', 'KILL', 'SETGID', 'SETUID', 'SETPCAP'],
  ...[
    'LINUX_IMMUTABLE',
    'NET_BIND_SERVICE',
    'NET_BROADCAST',
    'NET_ADMIN',
    'NET_RAW',
    'IPC_LOCK',
    'IPC_OWNER',
  ],
  ...[
    'SYS_MODULE',
    'SYS_RAWIO',
    'SYS_CHROOT',
    'SYS_PTRACE',
    'SYS_PACCT',
    'SYS_ADMIN',
    'SYS_BOOT',
    'SYS_NICE',
  ],
  ...[
    'SYS_RESOURCE',
    'SYS_TIME',
    'SYS_TTY_CONFIG',
    'MKNOD',
    'LEASE',
    'AUDIT_WRITE',
    'AUDIT_CONTROL',
    'SETFCAP',
  ],
  ...['MAC_OVERRIDE', 'MAC_ADMIN', 'SYSLOG', 'WAKE_ALARM', 'BLOCK_SUSPEND', 'AUDIT_READ', 'PERFMON', 'BPF'],
  'CHECKPOINT_RESTORE',
].map((name) => `CAP_${name}`);

/** Those that can be given: who has less than the kernel knows, as in a container, cannot give the rest. */
function allCapabilities(): readonly string[] {
  const [, bounding = '0'] = /^CapBnd:\s*(\w+)$/m.exec(readFileSync('/proc/self/status', 'utf8')) ?? [];
  return capability_names.filter((_, bit) => ((BigInt(`0x${bounding}`) >> BigInt(bit)) & 1n) === 1n);
}

t.test('what a security context gives', async (t) => {
  t.strictSame(capabilitiesOf({ privileged: true }, ['CAP_A']), ['CAP_A']);
  t.strictSame(capabilitiesOf({ capabilities: { drop: ['ALL'], add: ['NET_ADMIN'] } }, []), [
    'CAP_NET_ADMIN',
  ]);
  t.ok(capabilitiesOf({}, []).includes('CAP_CHOWN'), 'those of the runtime');
  t.throws(() =>
    runtimeSpec({ containers: [{ name: 'a' }], hostNetwork: true, hostPID: false }, {} as never),
  );
});

interface Manifests {
  readonly pod: V1PodSpec;
  readonly data: Readonly<Record<string, string>>;
}

async function manifests(directory: string): Promise<Manifests> {
  const text =
    directory === 'kubernetes'
      ? readFileSync(join(deploy, directory, 'calico-vpp-node.yaml'), 'utf8')
      : (await promisify(execFile)('kubectl', ['kustomize', join(deploy, directory)])).stdout;
  const all = loadAll(text) as (V1DaemonSet | V1ConfigMap)[];
  const set = all.find(({ kind }) => kind === 'DaemonSet') as V1DaemonSet;
  const map = all.find(({ kind }) => kind === 'ConfigMap') as V1ConfigMap;
  return { pod: set.spec!.template.spec!, data: map.data! };
}

/** A host: namespaces, and directories where the manifest wants some of it. Its first process ends with this one. */
async function host(t: Test, made: Manifests) {
  const directory = mkdtempSync(join(tmpdir(), 'pod-'));
  const topology = new Topology({ pods: 1 });
  const traffic = new Traffic(topology);
  const first = spawn(
    'nsenter',
    [
      `--net=${topology.lab.namespace('node')}`,
      ...['--', 'unshare', '--pid', '--fork', '--kill-child', '--mount-proc', 'sh', '-c'],
      // Reaps, as process 1 does.
      'echo up; while :; do sleep 1; done',
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  await createInterface({ input: first.stdout })[Symbol.asyncIterator]().next();
  const children = readFileSync(`/proc/${first.pid}/task/${first.pid}/children`, 'utf8').trim();
  // nsenter becomes unshare, whose child is process 1.
  const pid = Number(children.split(' ')[0]);
  const containerd = await Containerd.start(directory);
  const running = new Set<string>();
  t.teardown(async () => {
    for (const id of running) containerd.signal(id, 'SIGKILL');
    first.kill('SIGKILL');
    await sleep(1000);
    await containerd.close();
    traffic.close();
    if (existsSync(join(topology.lab.directory, 'calico-vpp-ns')))
      topology.lab.host.removeNamed('calico-vpp-ns');
    topology.close();
    rmSync(directory, { recursive: true, force: true });
  });

  const there = (path: string): string => {
    if (path === '/var/run/netns') return topology.lab.directory;
    const at = join(directory, 'host', path);
    mkdirSync(at, { recursive: true });
    return at;
  };
  const vhost = vhostNet();
  if ('why' in vhost) throw new Error(vhost.why);
  const shim = '/opt/vhost-shim.so';
  const environment = {
    ...made.data,
    NODENAME: 'node',
    // Fewer buffers: VPP touches all of them when it starts.
    CALICOVPP_MAX_PODS: '16',
    ...(vhost.shim && { CALICOVPP_VPP_ENVIRONMENT: JSON.stringify({ LD_PRELOAD: shim }) }),
  };
  const start = (id: string, of: ImportedImage) => {
    const container = containerd.run(
      id,
      runtimeSpec(made.pod, {
        root: containerd.root(id, of),
        image: of.config,
        environment,
        hostPath: there,
        emptyDir: (name) => there(`/empty/${id}/${name}`),
        namespaces: { network: topology.lab.namespace('node'), pid: `/proc/${pid}/ns/pid` },
        files: vhost.shim ? { [shim]: vhost.shim } : {},
        devices: [
          { path: '/dev/net/tun', major: 10, minor: 200 },
          ...(vhost.shim ? [] : [{ path: '/dev/vhost-net', major: 10, minor: 238 }]),
        ],
        cgroups_path: `/pod-${process.pid}/${id}`,
        all_capabilities: allCapabilities(),
      }),
    );
    running.add(id);
    void container.ended.then(() => running.delete(id));
    return {
      ...container,
      isRunning: () => running.has(id),
      async stop() {
        containerd.signal(id, 'SIGTERM');
        const late = sleep(end_ms, undefined, { ref: false }).then(() => {
          throw new Error(`${id} has not ended: ${container.said()}`);
        });
        return Promise.race([container.ended, late]);
      },
    };
  };

  /** By a probe of the manifest: its status, 0 when nobody answers. */
  const probe = (which: 'startupProbe' | 'readinessProbe' | 'livenessProbe'): number => {
    const { path, port, host: at } = made.pod.containers[0]![which]!.httpGet!;
    const argv = [
      'curl',
      '-s',
      '-m',
      '2',
      '-o',
      '/dev/null',
      '-w',
      '%{http_code}',
      `http://${at}:${port}${path}`,
    ];
    try {
      return Number(topology.lab.run('node', ...argv));
    } catch {
      return 0;
    }
  };
  const status = (): Status =>
    JSON.parse(topology.lab.run('node', 'curl', '-s', '-m', '2', `http://127.0.0.1:9090/status`)) as Status;
  async function untilReady(container: { said(): string; isRunning(): boolean }): Promise<number> {
    const began = Date.now();
    while (probe('readinessProbe') !== 200) {
      if (Date.now() - began > ready_ms || !container.isRunning())
        throw new Error(`not ready: ${container.said().slice(-4000)}`);
      await sleep(100);
    }
    return Date.now() - began;
  }
  /** Of this host, whose command line has these words: pids as they are here. */
  const processes = (pattern: RegExp): number[] => {
    const own = readlinkSync(`/proc/${pid}/ns/pid`);
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .filter((name) => {
        try {
          const argv = readFileSync(`/proc/${name}/cmdline`, 'utf8').replaceAll('\0', ' ');
          return pattern.test(argv) && readlinkSync(`/proc/${name}/ns/pid`) === own;
        } catch {
          return false;
        }
      })
      .map(Number);
  };
  return { topology, traffic, containerd, directory, there, start, probe, status, untilReady, processes };
}

const node_process = /^\S*node \S*calico-vpp-node run/;
const vpp_process = /^\S*vpp -c /;

t.test('a life of the pod: ready, killed, started anew, upgraded and back, deleted', run(), async (t) => {
  const made = await manifests('kubernetes');
  const { topology, traffic, containerd, there, start, probe, status, untilReady, processes } = await host(
    t,
    made,
  );
  const own = containerd.image(image);
  const before = ipState(topology, 'node');
  const [pod] = topology.pods as [Pod];

  let container = start('first', own);
  t.comment(`ready after ${await untilReady(container)} ms`);
  t.equal(probe('startupProbe'), 200);
  t.equal(probe('livenessProbe'), 200);
  t.not((await ipStateIs(topology, 'node', before, 0)).length, 0, 'VPP has the uplink');
  t.strictSame(
    processes(vpp_process).map((pid) => readFileSync(`/proc/${pid}/comm`, 'utf8').trim()),
    ['vpp_main'],
  );
  await cniAdd({
    socket: join(there('/var/run/calico'), 'cni-server.sock'),
    netns: `/var/run/netns/${pod.name}`,
    ips: [`${pod.ip4}/32`, `${pod.ip6}/128`],
    pod: pod.name,
    deadline_ms: 60_000,
  });
  const prober = traffic.probe('outside', pod.ip4);
  await prober.untilAnswered(30_000);

  const file = containerd.exec(
    'first',
    ...['calico-vpp-node', 'pcap', `default/${pod.name}`, '--packets', '4', '--filter', `host ${pod.ip4}`],
  );
  const captured = packetsOf(file) ?? [];
  t.equal(file.readUInt32LE(20), link_types.raw);
  t.equal(captured.length, 4, 'the image has what a capture of a pod takes, with a filter');
  t.equal(
    new Set(captured.map(({ bytes }) => bytes.subarray(12, 16).join('.'))).size,
    2,
    'what it sends and what it receives',
  );

  const vpp = status().vpp.pid;
  const [killed] = processes(node_process);
  process.kill(killed!, 'SIGKILL');
  // Readiness of the last life is no more, and that of the next not yet.
  while (processes(node_process).includes(killed!) || processes(node_process).length === 0) await sleep(20);
  await untilReady(container);
  t.equal(status().vpp.pid, vpp, 'another process has adopted VPP');
  await sleep(500);
  const { lost, sent, longest_gap_ms } = await prober.stop();
  t.comment(`process killed: ${lost} of ${sent} pings lost, longest gap ${longest_gap_ms} ms`);
  t.equal(lost, 0, 'no packet of the pod was lost');

  if (next === '') t.pass('another build in its place, and back', { skip: 'needs IMAGE_NEXT' });
  for (const [id, of] of next === ''
    ? ([['anew', own]] as const)
    : ([
        ['upgraded', containerd.image(next)],
        ['back', own],
      ] as const)) {
    const { code, said } = await container.stop();
    t.equal(code, 0, `SIGTERM ends it well: ${code === 0 ? '' : said.slice(-3000)}`);
    t.strictSame(await ipStateIs(topology, 'node', before), [], 'the host has its network');
    t.ok(await traffic.ping('outside', topology.node.ip4!, { count: 2 }), 'and answers');
    t.strictSame(processes(vpp_process), [], 'VPP has ended');
    container = start(id, of);
    t.comment(`${id}: ready after ${await untilReady(container)} ms`);
    t.comment(`its pod answers after ${await traffic.untilReachable('outside', pod.ip4, 30_000)} ms more`);
  }

  const { code } = await container.stop();
  t.equal(code, 0);
  t.strictSame(await ipStateIs(topology, 'node', before), [], 'deleted: the host is as it was');
  t.notOk(existsSync(join(topology.lab.directory, 'calico-vpp-ns')), 'no namespace is left');
  t.strictSame(processes(node_process), []);
});

const kubectl = pathOf('kubectl') === undefined ? needs('needs kubectl') : run;

t.test('with capabilities in place of privileges', kubectl(), async (t) => {
  const made = await manifests('overlays/unprivileged');
  const { topology, containerd, start, untilReady } = await host(t, made);
  const before = ipState(topology, 'node');
  const container = start('only', containerd.image(image));
  t.comment(`ready after ${await untilReady(container)} ms`);
  const { code, said } = await container.stop();
  t.equal(code, 0, code === 0 ? '' : said.slice(-3000));
  t.strictSame(await ipStateIs(topology, 'node', before), [], 'the host is as it was');
});
