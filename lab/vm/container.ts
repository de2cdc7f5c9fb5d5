/**
 * The same host in a container: where emulation is too slow. It has systemd and all services of the machine, namespaces of its own, and
 * of the kernel what there is: no module of its own, no vhost-net, no disk that can lose what was written.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { errorCode } from '../../src/host/files.js';
import { findRealVpp } from '../real-vpp.js';
import { buildImage, type Image } from './image.js';
import { Machine, macOf, wires } from './machine.js';
import { inside, makePayload, type Payload, vhost_shim } from './payload.js';
import { payload_directory } from './recipe.js';

const console_bytes = 2000;

/** Of the control group that all of its processes are in. */
const control_groups = ['/sys/fs/cgroup/unified', '/sys/fs/cgroup'];

/** Files that are other than the machine's: no disk, another channel, and nothing that concerns the whole kernel. */
const files: Readonly<Record<string, string>> = {
  'etc/fstab': '',
  'etc/systemd/system/lab-agent.service': `[Unit]
Description=Runs what the machine is told

[Service]
ExecStart=${inside.node} ${inside.agent} /lab/channel.sock
Restart=always
RestartSec=1

[Install]
WantedBy=multi-user.target
`,
  // It leaves a veth alone unless it is told.
  'etc/NetworkManager/conf.d/20-lab.conf': `[device-lab]
match-device=interface-name:enp*
managed=1
`,
  'etc/systemd/system/systemd-udev-trigger.service.d/lab.conf': `[Service]
ExecStart=
ExecStart=udevadm trigger --action=add --subsystem-match=net
`,
};

const masked = [
  'systemd-sysctl.service',
  'systemd-modules-load.service',
  'systemd-remount-fs.service',
  'systemd-logind.service',
  'console-getty.service',
  'sys-kernel-debug.mount',
  'sys-kernel-tracing.mount',
  'sys-kernel-config.mount',
  'sys-fs-fuse-connections.mount',
  'dev-hugepages.mount',
  'dev-mqueue.mount',
];

export class Container extends Machine {
  readonly vpp_environment: Readonly<Record<string, string>>;
  protected gone: Promise<never> = new Promise(() => {});
  protected readonly boot_deadline_ms = 120_000;
  readonly silence_ms_max = 8000;
  readonly #image: Image;
  readonly #payload: Payload;
  readonly #directory: string;
  readonly #server: Server;
  #child: ChildProcess | undefined;
  /** Ended on purpose: the next end is none of those that are told. */
  #ending = false;
  #upper = '';
  /** What is left of the last life in the kernel is gone. */
  #removed: Promise<void> = Promise.resolve();

  private constructor(image: Image, payload: Payload, directory: string) {
    super();
    this.#image = image;
    this.#payload = payload;
    this.#directory = directory;
    const vpp = findRealVpp();
    const shim = vpp.usable && vpp.environment.LD_PRELOAD !== undefined;
    this.vpp_environment = {
      LD_LIBRARY_PATH: inside.vpp_libraries,
      ...(shim && { LD_PRELOAD: join(inside.program, vhost_shim) }),
    };
    mkdirSync(join(directory, 'lab'));
    this.#server = createServer((socket) => this.attach(socket)).listen(join(directory, 'lab/channel.sock'));
  }

  /** `directory`: an empty one of the caller. */
  static async start(vpp: string, directory: string, say: (text: string) => void): Promise<Container> {
    const container = new Container(await buildImage(say), await makePayload(vpp), directory);
    await once(container.#server, 'listening');
    await container.fresh();
    return container;
  }

  async fresh(): Promise<void> {
    await this.#end();
    this.#upper = mkdtempSync(join(this.#directory, 'upper-'));
    for (const [path, content] of Object.entries(files)) this.#write(path, content);
    await this.#boot();
  }

  async cutPower(): Promise<void> {
    await this.#end();
    await this.#boot();
  }

  console(): string {
    return readFileSync(join(this.#directory, 'console.log'), 'latin1').slice(-console_bytes);
  }

  async close(): Promise<void> {
    await this.#end();
    await this.#removed;
    this.#server.close();
  }

  #write(path: string, content: string): void {
    const there = join(this.#upper, 'files', path);
    mkdirSync(join(there, '..'), { recursive: true });
    writeFileSync(there, content);
  }

  async #boot(): Promise<void> {
    const booted = this.booted();
    this.#spawn();
    await booted;
  }

  #spawn(): void {
    const log = openSync(join(this.#directory, 'console.log'), 'a');
    const group = controlGroup();
    const child = spawn(
      'setpriv',
      [
        ...['--pdeathsig', 'KILL', 'bash', '-c', `echo $$ > ${group}/cgroup.procs; exec "$@"`, 'bash'],
        ...['unshare', '--mount', '--pid', '--net', '--ipc', '--uts', '--cgroup', '--fork', '--kill-child'],
        ...['bash', '-c', this.#firstProgram()],
      ],
      { stdio: ['ignore', log, log] },
    );
    this.#child = child;
    this.#ending = false;
    this.#removed = once(child, 'exit').then(() => removeControlGroup(group));
    this.gone = once(child, 'exit').then(([code, signal]) => {
      if (this.#ending) return new Promise<never>(() => {});
      // As a machine does after `reboot`: systemd ended, and what was on the disk is there.
      if (signal === 'SIGHUP' || code === 129) {
        this.#spawn();
        return this.gone;
      }
      throw new Error(`the container ended with ${signal ?? `status ${code}`}: ${this.console()}`);
    });
    this.gone.catch(() => {});
  }

  async #end(): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    this.#ending = true;
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  }

  /** Makes what a kernel has ready when it starts systemd. All of it is gone with the namespaces. */
  #firstProgram(): string {
    const root = '/run/lab-root';
    const upper = this.#upper;
    return `set -e
mount --make-rprivate /
mount -t tmpfs tmpfs /run
mkdir -p ${root} ${upper}/files ${upper}/work
mount -t overlay overlay -o lowerdir=${this.#image.root},upperdir=${upper}/files,workdir=${upper}/work ${root}
cd ${root}
mkdir -p lab ${payload_directory.slice(1)} old
for unit in ${masked.join(' ')}; do ln -sf /dev/null etc/systemd/system/$unit; done
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount --bind proc/sys/net proc/sys/net
mount -o remount,bind,ro proc/sys
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=755 tmpfs dev
mkdir dev/net dev/pts dev/shm
mknod dev/null c 1 3; mknod dev/zero c 1 5; mknod dev/full c 1 7; mknod dev/random c 1 8; mknod dev/urandom c 1 9
mknod dev/tty c 5 0; mknod dev/console c 1 3; mknod dev/kmsg c 1 3; mknod dev/net/tun c 10 200
chmod 666 dev/* dev/net/tun; chmod 755 dev/net dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts; ln -s pts/ptmx dev/ptmx
mount -t tmpfs tmpfs dev/shm
mount --bind ${join(this.#directory, 'lab')} lab
mount --bind ${this.#payload.tree} ${payload_directory.slice(1)}
hostname lab
${wires
  .map(
    ({ uplink, other_end }) =>
      `ip link add ${uplink} address ${macOf(uplink)} type veth peer name ${other_end} address ${macOf(other_end)}`,
  )
  .join('\n')}
pivot_root . old
umount -l old
exec env -i container=lab PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd
`;
  }
}

function controlGroup(): string {
  const parent = control_groups.find((path) => {
    try {
      return readFileSync(join(path, 'cgroup.procs')).length >= 0;
    } catch {
      return false;
    }
  });
  if (parent === undefined) throw new Error('needs control groups of version 2');
  return mkdtempSync(join(parent, 'cvn-'));
}

/** Its processes are ended by the kernel, one after the other, once their first one is gone. */
async function removeControlGroup(group: string): Promise<void> {
  for (let tries = 0; tries < 100 && existsSync(group); tries++) {
    removeEmpty(group);
    await sleep(50);
  }
}

/** Those within it first, which systemd made. */
function removeEmpty(group: string): void {
  for (const entry of readdirSync(group, { withFileTypes: true }))
    if (entry.isDirectory()) removeEmpty(join(group, entry.name));
  try {
    rmdirSync(group);
  } catch (error) {
    if (errorCode(error) !== 'EBUSY') throw error;
  }
}
