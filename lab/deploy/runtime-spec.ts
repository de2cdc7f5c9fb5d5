/**
 * What a kubelet and containerd make of a container in a manifest, as a configuration of the OCI runtime: of its security context, its
 * volumes and its environment. Pure. The node whose network and processes it shares is one of the caller's.
 */
import type { V1Container, V1PodSpec, V1Volume, V1VolumeMount } from '@kubernetes/client-node';

/** The part of an image's configuration that is used here. */
export interface ImageConfig {
  readonly Env?: readonly string[];
  readonly Entrypoint?: readonly string[];
  readonly Cmd?: readonly string[];
  readonly WorkingDir?: string;
}

export interface Placed {
  /** Of the image's file system. */
  readonly root: string;
  readonly image: ImageConfig;
  /** Data of the ConfigMaps and fields that the manifest names, and what the test adds. */
  readonly environment: Readonly<Record<string, string>>;
  /** Where the host's directories are, by their path: `/var/run/vpp` is a directory of the test. */
  readonly hostPath: (path: string) => string;
  /** A directory of this pod's for each emptyDir. */
  readonly emptyDir: (name: string) => string;
  /** Of the host. */
  readonly namespaces: { readonly network: string; readonly pid: string };
  /** Beside the manifest's: read only, path in the container by path here. */
  readonly files: Readonly<Record<string, string>>;
  readonly devices: readonly { readonly path: string; readonly major: number; readonly minor: number }[];
  readonly cgroups_path: string;
  /** All that the kernel has: `CAP_…`. */
  readonly all_capabilities: readonly string[];
}

interface Mount {
  readonly destination: string;
  readonly type: string;
  readonly source: string;
  readonly options: readonly string[];
}

/** As containerd has them for a container that is not privileged. */
const masked_paths = [
  ...['/proc/acpi', '/proc/asound', '/proc/kcore', '/proc/keys', '/proc/latency_stats', '/proc/timer_list'],
  ...['/proc/timer_stats', '/proc/sched_debug', '/sys/firmware', '/proc/scsi'],
];
const readonly_paths = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'];

/** Of Docker and containerd, before anything is dropped or added. */
const runtime_capabilities = [
  ...['AUDIT_WRITE', 'CHOWN', 'DAC_OVERRIDE', 'FOWNER', 'FSETID', 'KILL', 'MKNOD', 'NET_BIND_SERVICE'],
  ...['NET_RAW', 'SETFCAP', 'SETGID', 'SETPCAP', 'SETUID', 'SYS_CHROOT'],
];

export function capabilitiesOf(
  { privileged, capabilities }: NonNullable<V1Container['securityContext']>,
  all: readonly string[],
): readonly string[] {
  if (privileged) return all;
  const dropped = capabilities?.drop ?? [];
  const kept = dropped.includes('ALL') ? [] : runtime_capabilities.filter((name) => !dropped.includes(name));
  return [...new Set([...kept, ...(capabilities?.add ?? [])])].map((name) => `CAP_${name}`);
}

const propagations: Readonly<Record<string, string>> = {
  Bidirectional: 'rshared',
  HostToContainer: 'rslave',
  None: 'rprivate',
};

function volumeMount(mount: V1VolumeMount, volume: V1Volume | undefined, placed: Placed): Mount {
  const source = volume?.hostPath
    ? placed.hostPath(volume.hostPath.path)
    : volume?.emptyDir
      ? placed.emptyDir(volume.name)
      : undefined;
  if (source === undefined) throw new Error(`volume ${mount.name} is neither hostPath nor emptyDir`);
  const propagation = propagations[mount.mountPropagation ?? 'None']!;
  return {
    destination: mount.mountPath,
    type: 'bind',
    source,
    options: ['rbind', propagation, mount.readOnly ? 'ro' : 'rw'],
  };
}

function kernelMounts(privileged: boolean): readonly Mount[] {
  const nosuid = ['nosuid', 'noexec', 'nodev'];
  return [
    { destination: '/proc', type: 'proc', source: 'proc', options: nosuid },
    { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'strictatime', 'mode=755'] },
    {
      destination: '/dev/pts',
      type: 'devpts',
      source: 'devpts',
      options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'],
    },
    {
      destination: '/dev/shm',
      type: 'tmpfs',
      source: 'shm',
      options: [...nosuid, 'mode=1777', 'size=65536k'],
    },
    { destination: '/sys', type: 'sysfs', source: 'sysfs', options: [...nosuid, privileged ? 'rw' : 'ro'] },
  ];
}

/** Throws where the manifest has what is not understood here: a container that gets less than it asks for would show nothing. */
export function runtimeSpec(pod: V1PodSpec, placed: Placed): object {
  const [container, ...more] = pod.containers;
  if (container === undefined || more.length > 0) throw new Error('one container');
  if (!pod.hostNetwork || !pod.hostPID) throw new Error('a pod with the host’s network and processes');
  const security = container.securityContext ?? {};
  const privileged = security.privileged ?? false;
  const volumes = new Map((pod.volumes ?? []).map((volume) => [volume.name, volume]));
  const mounts = (container.volumeMounts ?? []).map((mount) =>
    volumeMount(mount, volumes.get(mount.name), placed),
  );
  const capabilities = capabilitiesOf(security, placed.all_capabilities);
  const shared = mounts.some(({ options }) => options.includes('rshared'));
  return {
    ociVersion: '1.0.2',
    process: {
      user: { uid: 0, gid: 0 },
      args: [...(placed.image.Entrypoint ?? []), ...(placed.image.Cmd ?? [])],
      env: [
        ...(placed.image.Env ?? []),
        ...Object.entries(placed.environment).map(([name, value]) => `${name}=${value}`),
      ],
      cwd: placed.image.WorkingDir || '/',
      capabilities: { bounding: capabilities, effective: capabilities, permitted: capabilities },
      noNewPrivileges: security.allowPrivilegeEscalation === false,
    },
    root: { path: placed.root, readonly: security.readOnlyRootFilesystem ?? false },
    hostname: 'node',
    mounts: [
      ...kernelMounts(privileged),
      ...mounts,
      ...Object.entries(placed.files).map(([destination, source]) => ({
        destination,
        type: 'bind',
        source,
        options: ['rbind', 'rprivate', 'ro'],
      })),
    ],
    linux: {
      namespaces: [
        { type: 'network', path: placed.namespaces.network },
        { type: 'pid', path: placed.namespaces.pid },
        ...['mount', 'ipc', 'uts'].map((type) => ({ type })),
      ],
      rootfsPropagation: shared ? 'rshared' : 'rslave',
      devices: placed.devices.map((device) => ({ ...device, type: 'c', fileMode: 0o666, uid: 0, gid: 0 })),
      cgroupsPath: placed.cgroups_path,
      resources: {
        devices: privileged
          ? [{ allow: true, access: 'rwm' }]
          : [
              { allow: false, access: 'rwm' },
              ...placed.devices.map(({ major, minor }) => ({
                allow: true,
                type: 'c',
                major,
                minor,
                access: 'rwm',
              })),
            ],
      },
      ...(!privileged && { maskedPaths: masked_paths, readonlyPaths: readonly_paths }),
    },
  };
}
