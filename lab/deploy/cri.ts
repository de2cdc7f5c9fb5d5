/**
 * A containerd that is asked as the kubelet asks it, by CRI, with `crictl`. It lives in the namespaces of a host that is not the machine: what a
 * pod has of the host's network and processes is that host's.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { V1PodSpec } from '@kubernetes/client-node';
import { pathOf } from '../programs.js';

const start_ms = 60_000;
const pause_image = 'test.invalid/pause:1';

/** `CRICTL`, or that on the PATH. */
const crictl = process.env.CRICTL ?? 'crictl';

/** Why no pod can be run by CRI here; undefined: it can. */
export function whyNoCri(): string | undefined {
  if (pathOf(crictl) === undefined && !existsSync(crictl))
    return 'needs crictl, or CRICTL: `go install sigs.k8s.io/cri-tools/cmd/crictl@v1.34.0`';
  const lacking = ['buildah', 'cc'].find((name) => pathOf(name) === undefined);
  return lacking && `needs the program ${lacking}`;
}

export class Cri {
  readonly #directory: string;
  readonly #child: ChildProcess;

  private constructor(directory: string, pid: number) {
    this.#directory = directory;
    const at = (name: string): string => join(directory, name);
    mkdirSync(at('cni'));
    writeFileSync(
      at('config.toml'),
      `version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${pause_image}"
  disable_apparmor = true
  disable_tcp_service = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    conf_dir = "${at('cni')}"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
`,
    );
    const log = openSync(at('containerd.log'), 'a');
    const root = process.env.CONTAINERD_ROOT ?? at('root');
    // A mount of which a container is to be made aware, or others by it, has to be shared. It is so in this host alone.
    const script = `mount --make-rshared / && exec containerd --config ${at('config.toml')} --root ${root} --state ${at('state')} --address ${at('sock')}`;
    this.#child = spawn(
      'nsenter',
      ['--target', String(pid), '--net', '--pid', '--mount', '--', 'sh', '-c', script],
      { stdio: ['ignore', log, log] },
    );
  }

  /**
   * `directory`: an empty one of the caller, with a short path. `pid`: the host's first process, whose namespaces of network, processes and mounts
   * are the host's.
   */
  static async start(directory: string, pid: number): Promise<Cri> {
    const cri = new Cri(directory, pid);
    const until = Date.now() + start_ms;
    for (;;) {
      try {
        cri.crictl('version');
        return cri;
      } catch {
        if (Date.now() > until || cri.#child.exitCode !== null)
          throw new Error(`containerd does not answer by CRI: ${cri.log().slice(-2000)}`);
        await sleep(200);
      }
    }
  }

  log(): string {
    return readFileSync(join(this.#directory, 'containerd.log'), 'utf8');
  }

  crictl(...argv: readonly string[]): string {
    const endpoint = `unix://${join(this.#directory, 'sock')}`;
    const words = [
      '--runtime-endpoint',
      endpoint,
      '--image-endpoint',
      endpoint,
      '--timeout',
      '120s',
      ...argv,
    ];
    return execFileSync(crictl, words, {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
      maxBuffer: 2 ** 26,
    });
  }

  /** Of an archive in OCI's layout, under this name. */
  import(archive: string, reference: string): void {
    const address = join(this.#directory, 'sock');
    execFileSync(
      'ctr',
      ['--address', address, '--namespace', 'k8s.io', 'images', 'import', '--index-name', reference, archive],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
  }

  /** The image of the container that holds a pod's namespaces: a program that waits. */
  importPause(): void {
    const at = (name: string): string => join(this.#directory, name);
    writeFileSync(at('pause.c'), '#include <unistd.h>\nint main(void) { for (;;) pause(); }\n');
    execFileSync('cc', ['-Os', '-static', '-s', '-o', at('pause'), at('pause.c')]);
    const buildah = (...argv: readonly string[]): string =>
      execFileSync('buildah', argv, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).trim();
    const container = buildah('from', 'scratch');
    try {
      buildah('copy', container, at('pause'), '/pause');
      buildah('config', '--entrypoint', '["/pause"]', container);
      buildah('commit', container, `oci-archive:${at('pause.tar')}`);
    } finally {
      buildah('rm', container);
    }
    this.import(at('pause.tar'), pause_image);
  }

  /** Runs the pod; answers its id and that of its container. */
  run(pod: object, container: object): { readonly pod: string; readonly container: string } {
    const [pod_file, container_file] = [
      join(this.#directory, 'pod.json'),
      join(this.#directory, 'container.json'),
    ];
    writeFileSync(pod_file, JSON.stringify(pod));
    writeFileSync(container_file, JSON.stringify(container));
    const id = this.crictl('runp', pod_file).trim();
    const of = this.crictl('create', id, container_file, pod_file).trim();
    this.crictl('start', of);
    return { pod: id, container: of };
  }

  /** Pods that run are to be ended before. */
  async close(): Promise<void> {
    if (this.#child.exitCode !== null) return;
    const exited = once(this.#child, 'exit');
    this.#child.kill('SIGTERM');
    await exited;
  }
}

const of_the_node = 2;
const propagations: Readonly<Record<string, number>> = { None: 0, HostToContainer: 1, Bidirectional: 2 };

export interface CriPlaced {
  readonly image: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly hostPath: (path: string) => string;
  readonly emptyDir: (name: string) => string;
  /** Beside the manifest's: read only, path in the container by path here. */
  readonly files: Readonly<Record<string, string>>;
  readonly log_directory: string;
}

/** What the kubelet makes of a manifest for CRI: the pod's configuration, and its container's. Throws where there is more than is understood here. */
export function criConfigs(
  spec: V1PodSpec,
  placed: CriPlaced,
): { readonly pod: object; readonly container: object } {
  const [container, ...more] = spec.containers;
  if (container === undefined || more.length > 0) throw new Error('one container');
  if (!spec.hostNetwork || !spec.hostPID) throw new Error('a pod with the host’s network and processes');
  const security = container.securityContext ?? {};
  const privileged = security.privileged ?? false;
  const namespace_options = { network: of_the_node, pid: of_the_node };
  const mounts = (container.volumeMounts ?? []).map(({ name, mountPath, mountPropagation, readOnly }) => {
    const volume = spec.volumes?.find((each) => each.name === name);
    const host_path = volume?.hostPath
      ? placed.hostPath(volume.hostPath.path)
      : volume?.emptyDir
        ? placed.emptyDir(name)
        : undefined;
    if (host_path === undefined) throw new Error(`volume ${name} is neither hostPath nor emptyDir`);
    const propagation = propagations[mountPropagation ?? 'None']!;
    return { container_path: mountPath, host_path, readonly: readOnly ?? false, propagation };
  });
  return {
    pod: {
      metadata: {
        name: 'calico-vpp-node',
        namespace: 'calico-vpp-dataplane',
        uid: 'of-the-test',
        attempt: 0,
      },
      log_directory: placed.log_directory,
      linux: {
        cgroup_parent: `/pod-${process.pid}`,
        security_context: { privileged, namespace_options },
      },
    },
    container: {
      metadata: { name: container.name, attempt: 0 },
      image: { image: placed.image },
      log_path: 'container.log',
      envs: Object.entries(placed.environment).map(([key, value]) => ({ key, value })),
      mounts: [
        ...mounts,
        ...Object.entries(placed.files).map(([container_path, host_path]) => ({
          container_path,
          host_path,
          readonly: true,
        })),
      ],
      linux: {
        security_context: {
          privileged,
          namespace_options,
          readonly_rootfs: security.readOnlyRootFilesystem ?? false,
          no_new_privs: security.allowPrivilegeEscalation === false,
          ...(security.capabilities && {
            capabilities: {
              add_capabilities: security.capabilities.add ?? [],
              drop_capabilities: security.capabilities.drop ?? [],
            },
          }),
        },
      },
    },
  };
}
