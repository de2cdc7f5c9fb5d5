import { execFile } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { V1ConfigMap, V1DaemonSet, V1PodSpec } from '@kubernetes/client-node';
import t from 'tap';
import { StandInApiServer } from '../../lab/k8s/server.js';
import { pathOf } from '../../lab/programs.js';
import { loadConfig } from '../../src/config.js';
import { probes, STUCK_MS } from '../../src/debug/health.js';
import { defaultTemplate } from '../../src/vpp-conn/startup-config.js';
import { needs } from '../kit/needs.js';
import { loadAll, schemaFaults } from './kubernetes-schema.js';

const deploy = fileURLToPath(new URL('../../../deploy', import.meta.url));
// kubectl takes its time where others have the machine.
const readme = readFileSync(join(deploy, 'README.md'), 'utf8');

type Manifest = Record<string, unknown> & {
  readonly kind: string;
  readonly metadata: { readonly name: string };
};

const overlays = readdirSync(join(deploy, 'overlays')).map((name) => `overlays/${name}`);
const kubectl = needs(pathOf('kubectl') ? undefined : 'needs kubectl');

/** The base as kubectl would make it: it is its files. */
const base = ['calico-vpp-node.yaml', 'rbac.yaml'].map((name) =>
  readFileSync(join(deploy, 'kubernetes', name), 'utf8'),
);

/** What `kubectl apply -k` would send, as text by directory; nothing where there is no kubectl. */
const rendered = new Map<string, Promise<string>>(
  'skip' in kubectl
    ? []
    : ['kubernetes', ...overlays].map((directory) => [
        directory,
        promisify(execFile)('kubectl', ['kustomize', join(deploy, directory)]).then(({ stdout }) => stdout),
      ]),
);

const parse = (text: string): Manifest[] => loadAll(text) as Manifest[];
const base_manifests = parse(base.join('\n---\n'));

const only = <T extends Manifest['kind']>(manifests: readonly Manifest[], kind: T): unknown => {
  const found = manifests.filter((manifest) => manifest.kind === kind);
  if (found.length !== 1) throw new Error(`${found.length} of ${kind}`);
  return found[0];
};
const daemonSet = (manifests: readonly Manifest[]) => only(manifests, 'DaemonSet') as V1DaemonSet;
const podOf = (manifests: readonly Manifest[]) => daemonSet(manifests).spec!.template.spec!;
const configMap = (manifests: readonly Manifest[]) => only(manifests, 'ConfigMap') as V1ConfigMap;

/** Fields of a pod and of its container that give it nothing of the node: all others are told as privileges. */
const harmless = {
  pod: [
    ...[
      'containers',
      'serviceAccountName',
      'enableServiceLinks',
      'nodeSelector',
      'terminationGracePeriodSeconds',
    ],
  ],
  container: [
    ...['name', 'image', 'imagePullPolicy', 'env', 'envFrom', 'resources'],
    ...['startupProbe', 'readinessProbe', 'livenessProbe'],
  ],
};

/** All that this pod has beyond a pod that nobody has given anything, a line each. What is not known here is told, too. */
function privilegesOf(pod: V1PodSpec): string[] {
  const told: string[] = [];
  const tell = (kind: string, value: object | undefined, known: readonly string[]) => {
    for (const [key, each] of Object.entries(value ?? {}))
      if (!known.includes(key)) told.push(`${kind}${key}: ${JSON.stringify(each)}`);
  };
  tell('', pod, [...harmless.pod, 'volumes']);
  for (const { name, ...source } of pod.volumes ?? [])
    told.push(
      source.hostPath
        ? `volume ${name}: ${source.hostPath.path} of the host`
        : `volume ${name}: ${Object.keys(source)}`,
    );
  for (const container of pod.containers) {
    tell('container ', container, [...harmless.container, 'securityContext', 'volumeMounts']);
    const { capabilities, ...security } = container.securityContext ?? {};
    tell('', security, []);
    told.push(...(capabilities?.add ?? []).map((each) => `capability ${each}`));
    if (capabilities !== undefined && capabilities.drop?.join() !== 'ALL')
      told.push('capabilities of the runtime');
    for (const { name, mountPath, mountPropagation, ...more } of container.volumeMounts ?? []) {
      told.push(`mount ${name} at ${mountPath}${mountPropagation ? ` ${mountPropagation}` : ''}`);
      tell(`mount ${name} `, more, []);
    }
  }
  return told.sort();
}

const shared = [
  'automountServiceAccountToken: true',
  'hostNetwork: true',
  'hostPID: true',
  'mount etc-vpp at /etc/vpp',
  'mount felix-plugins at /var/lib/calico/felix-plugins',
  'mount host-root at /host HostToContainer',
  'mount run-calico at /var/run/calico',
  'mount run-vpp at /var/run/vpp',
  'mount state at /var/lib/vpp',
  'mount tmp at /tmp',
  'priorityClassName: "system-node-critical"',
  'readOnlyRootFilesystem: true',
  'tolerations: [{"operator":"Exists"}]',
  'volume etc-vpp: emptyDir',
  'volume felix-plugins: /var/lib/calico/felix-plugins of the host',
  'volume host-root: / of the host',
  'volume netns: /var/run/netns of the host',
  'volume run-calico: /var/run/calico of the host',
  'volume run-vpp: /var/run/vpp of the host',
  'volume state: /var/lib/vpp of the host',
  'volume tmp: emptyDir',
];
const privileged = [...shared, 'mount netns at /var/run/netns Bidirectional', 'privileged: true'];
const capabilities = [
  'IPC_LOCK',
  'NET_ADMIN',
  'NET_BIND_SERVICE',
  'NET_RAW',
  'SYS_ADMIN',
  'SYS_CHROOT',
  'SYS_PTRACE',
];
const unprivileged = [
  ...shared,
  'appArmorProfile: {"type":"Unconfined"}',
  ...capabilities.map((name) => `capability ${name}`),
  'mount netns at /var/run/netns HostToContainer',
  'privileged: false',
];

/** What each directory gives its pod. A privilege more is to be added here, and to the reasons in deploy/README.md. */
const given: Readonly<Record<string, readonly string[]>> = {
  kubernetes: privileged,
  'overlays/aws': privileged,
  'overlays/hugepages': privileged,
  'overlays/kind': privileged,
  'overlays/selinux': [...unprivileged, 'seLinuxOptions: {"type":"spc_t"}'],
  'overlays/unprivileged': unprivileged,
};

t.test('every directory is looked at here', async (t) => {
  t.strictSame(['kubernetes', ...overlays], Object.keys(given));
});

for (const directory of Object.keys(given))
  t.test(`${directory}`, directory === 'kubernetes' ? {} : kubectl, async (t) => {
    const text = await rendered.get(directory);
    const manifests = text === undefined ? base_manifests : parse(text);
    const pod = podOf(manifests);
    const [container, ...more] = pod.containers;

    t.strictSame(
      manifests.flatMap(schemaFaults),
      [],
      'every field is one that Kubernetes knows, of its type',
    );
    t.strictSame(privilegesOf(pod), [...given[directory]!].sort(), 'no privilege more, and none less');
    t.strictSame(
      manifests.map(({ kind }) => kind).sort(),
      [
        ...['ClusterRole', 'ClusterRoleBinding', 'ConfigMap', 'DaemonSet', 'Namespace'],
        ...['Role', 'RoleBinding', 'ServiceAccount'],
      ],
      'no other object, a NetworkPolicy least of all',
    );

    t.same(more, [], 'one container');
    t.equal(container!.name, 'vpp', 'as tools of the Go implementation look for it');
    t.equal(daemonSet(manifests).spec!.updateStrategy!.rollingUpdate!.maxUnavailable, 1);
    t.notOk(container!.resources?.limits?.memory, 'nobody kills it for its memory');

    const environment = { ...configMap(manifests).data, NODENAME: 'a' };
    const { config, warnings } = loadConfig(environment);
    t.strictSame(warnings, [], 'the ConfigMap has no key that is unknown, deprecated or of no use');
    t.equal(config.health.address, '127.0.0.1', 'probes are asked where they are answered');

    const hugepages = container!.resources?.limits?.['hugepages-2Mi'];
    if (hugepages !== undefined) {
      t.match(hugepages, /^\d+Mi$/);
      const template = defaultTemplate({
        cpus: 8,
        hugepages_bytes: Number.parseInt(hugepages, 10) * 2 ** 20,
        memory_bytes: 2 ** 34,
        pods_max: config.pods.count_max,
        pod_rx_buffers: 1024,
        core_dumps: false,
        has_exec: true,
        vcl: false,
        paths: { ...config.paths, startup_exec: config.paths.startup_exec },
      });
      t.notMatch(template, /page-size 4K/, 'the hugepages hold the buffers of all pods');
    }
  });

/** What Kubernetes' own types, by kubectl's, make of an object: a field that they do not know is gone, and one of a wrong type an error. */
async function asKubectlReads(text: string): Promise<{ readonly code: number; readonly said: string }> {
  const reading = promisify(execFile)('kubectl', [
    ...['set', 'image', '--local', '--filename', '-', '--output', 'json', 'vpp=image-of-the-test'],
  ]);
  reading.child.stdin!.end(text);
  return reading.then(
    ({ stdout }) => ({ code: 0, said: stdout }),
    (error: { stderr?: string }) => ({ code: 1, said: error.stderr ?? '' }),
  );
}

/** Without what an encoder adds: empty maps, nulls. */
const withoutNothing = (value: unknown): unknown =>
  Array.isArray(value)
    ? value.map(withoutNothing)
    : typeof value === 'object' && value !== null
      ? Object.fromEntries(
          Object.entries(value)
            .map(([key, each]) => [key, withoutNothing(each)] as const)
            .filter(([, each]) => each !== null && JSON.stringify(each) !== '{}'),
        )
      : value;

t.test('Kubernetes’ own types lose nothing of the DaemonSet', kubectl(), async (t) => {
  for (const [directory, text] of rendered) {
    const set = daemonSet(parse(await text));
    const { said } = await asKubectlReads(JSON.stringify(set));
    set.spec!.template.spec!.containers[0]!.image = 'image-of-the-test';
    const { status: _, ...read } = JSON.parse(said);
    t.strictSame(withoutNothing(read), withoutNothing(set), directory);
  }
  const misspelled = JSON.parse(JSON.stringify(daemonSet(base_manifests)));
  misspelled.spec.template.spec.hostNetwork = 'yes';
  t.match(await asKubectlReads(JSON.stringify(misspelled)), { code: 1, said: /hostNetwork/ });
});

t.test('kubectl applies each directory, once and again, and takes it back', kubectl(), async (t) => {
  const home = t.testdir({});
  for (const [directory, text] of rendered) {
    const server = new StandInApiServer();
    await server.start();
    const run = async (...argv: string[]): Promise<readonly string[]> => {
      const called = promisify(execFile)(
        'kubectl',
        ['--server', server.url, '--cache-dir', join(home, 'cache'), ...argv, '-k', join(deploy, directory)],
        { env: { PATH: process.env.PATH, HOME: home } },
      );
      return (await called).stdout.trim().split('\n');
    };
    const count = parse(await text).length;
    const all = (said: readonly string[], pattern: RegExp) => {
      t.equal(said.length, count);
      t.strictSame(
        said.filter((line) => !pattern.test(line)),
        [],
        directory,
      );
    };
    all(await run('apply', '--dry-run=server'), / created \(server dry run\)$/);
    all(await run('apply'), / created$/);
    all(await run('apply'), / unchanged$/);
    all(await run('delete', '--wait=false'), / deleted( from .*)?$/);
    await server.stop();
  }
});

t.test('each privilege has its sentence', async (t) => {
  for (const name of capabilities) t.match(readme, new RegExp(`^\\| \`${name}\` \\|`, 'm'), name);
  for (const line of privileged) {
    const [, path] = /^volume .*: (\/.*) of the host$/.exec(line) ?? [];
    if (path) t.match(readme, new RegExp(`^\\| \`${path}\`( at \`/host\`)? \\|`, 'm'), path);
  }
  for (const directory of Object.keys(given)) t.ok(readme.includes(`\`${directory}/\``), directory);
});

/** From the first failure of a probe until the kubelet acts on it, at least. */
const patience_ms = ({ periodSeconds = 10, failureThreshold = 3 }): number =>
  (failureThreshold - 1) * periodSeconds * 1000;

t.test('probes ask what the node answers, where it answers, and wait for what it may take', async (t) => {
  const { config } = loadConfig({ ...configMap(base_manifests).data, NODENAME: 'a' });
  const [container] = podOf(base_manifests).containers;
  const asked = {
    startupz: container!.startupProbe!,
    readyz: container!.readinessProbe!,
    livez: container!.livenessProbe!,
  };
  for (const [path, { httpGet }] of Object.entries(asked)) {
    t.ok(path in probes, path);
    t.match(httpGet, { path: `/${path}`, port: config.health.port, host: config.health.address });
  }
  t.ok(patience_ms(asked.startupz) > 4 * 60_000, 'an end of another life of a minute, three take-overs');
  t.ok(asked.readyz.failureThreshold === 1, 'no pod is sent where the last answer said no');
  t.ok(patience_ms(asked.livez) >= STUCK_MS, 'a loop that stands still may come back');
});
