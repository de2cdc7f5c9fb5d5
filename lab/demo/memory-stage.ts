/** The demo without root: the real actors and sockets in this process, over a Linux network and a VPP that are in memory. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { GobgpdLauncher } from '../../src/bgp/launcher.js';
import { systemClock } from '../../src/clock.js';
import { loadConfig } from '../../src/config.js';
import { LogRing } from '../../src/debug/log-ring.js';
import type { CommandResult } from '../../src/host/command.js';
import { makeDirectory } from '../../src/host/files.js';
import { openJournal } from '../../src/host/undo/undo-journal.js';
import { without_cluster } from '../../src/k8s/cluster.js';
import { createLog } from '../../src/log.js';
import type { NodeParts } from '../../src/node/parts.js';
import { runNode } from '../../src/node/run.js';
import { CapturedStore } from '../../src/uplink/captured.js';
import { UplinkHost } from '../../src/uplink/uplink-host.js';
import type { Launcher, VppExit, VppRun } from '../../src/vpp-conn/launcher.js';
import { Quarantine } from '../../src/vpp-conn/quarantine.js';
import { DevicesInMemory } from '../devices-in-memory.js';
import { FakeHostNetwork } from '../fake-host-network.js';
import { freePort } from '../free-port.js';
import { memoryFile } from '../memory-file.js';
import type { Pod } from '../topology.js';
import type { Devices } from '../vpp/devices.js';
import { type StandInVpp, startStandInVpp } from '../vpp/stand-in.js';
import type { Stage } from './stage.js';

const opening = (why: string): string =>
  `The demo cannot use network namespaces here (${why}), so nothing of this machine is touched but a temporary ` +
  'directory. The Linux network below is kept in memory. So is VPP: a stand-in that speaks its API and remembers what ' +
  'it is told; NO PACKETS pass. Real are the supervision tree with its actors, what they decide, and the sockets ' +
  'through which they talk to VPP, to the CNI plugin and to you.';

/** Nothing here outlives the process, so there is only one. */
const boot_id = 'in-memory';

/** `why`: what is missing for more. */
/** No device of the machine that this runs on. */
const no_machine = { sys: '/nowhere', proc: '/nowhere', dev: '/nowhere' };

export async function memoryStage(why: string): Promise<Stage> {
  const directory = mkdtempSync(join(tmpdir(), 'calico-vpp-demo-'));
  const host = hostInMemory();
  const pods = ['p1', 'p2'].map(
    (name, at): Pod => ({
      name,
      netns: host.createNamed(name),
      ip4: `10.44.0.${11 + at}`,
      ip6: `fd44::a${1 + at}`,
    }),
  );
  const log: string[] = [];
  const vpp = new StandInLauncher(join(directory, 'run', 'vpp-api.sock'), new DevicesInMemory(host));
  // Probes of the health endpoint are a part of the node, and the usual port may be taken.
  const parts = partsInMemory(directory, await freePort(), host, vpp, log);
  let node: Promise<number> | undefined;
  const stopNode = async (): Promise<number> => {
    if (node === undefined) return 0;
    // Nobody but the node listens to this one.
    process.kill(process.pid, 'SIGQUIT');
    return node;
  };
  return {
    opening: opening(why),
    paths: parts.config.paths,
    pods,
    lastWords: (lines) => log.slice(-lines).join('\n'),
    openHost: () => host.open(),
    openPod: ({ netns }) => host.open(netns),
    hostState: () => visibleState(host),
    launchNode() {
      node = runNode(parts, []);
    },
    killVpp: () => vpp.kill(),
    stopNode,
    async close() {
      await stopNode();
      vpp.kill();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** Linux forgets the settings of a device with the device; the network in memory does not. */
function visibleState(host: FakeHostNetwork): Readonly<Record<string, readonly string[]>> {
  const { sysctls = [], ...state } = host.snapshot() as Readonly<Record<string, readonly string[]>>;
  return { ...state, sysctls: sysctls.filter((text) => !text.includes('/conf/eth0/')) };
}

function hostInMemory(): FakeHostNetwork {
  const host = new FakeHostNetwork();
  const link = host.addPhysical({ name: 'eth0', mac: '02:00:00:00:00:02' });
  const own = host.open();
  own.apply({ do: 'set_link', link, up: true });
  for (const [family, prefix, gateway, all] of [
    [4, '10.0.0.2/24', '10.0.0.1', '0.0.0.0/0'],
    [6, 'fd00::2/64', 'fd00::1', '::/0'],
  ] as const) {
    own.apply({ do: 'add_address', address: { link, family, prefix } });
    own.apply({ do: 'add_route', route: { family, prefix: all, next_hops: [{ oif: link, gateway }] } });
  }
  return host;
}

const no_program: CommandResult = { code: 127, stdout: '', stderr: 'no program is run in the demo' };

function partsInMemory(
  directory: string,
  health_port: number,
  host: FakeHostNetwork,
  launcher: Launcher,
  lines: string[],
): NodeParts {
  const inside = (name: string): string => join(directory, name);
  const { config } = loadConfig({
    NODENAME: 'node',
    CALICOVPP_RUN_DIR: inside('run'),
    CALICOVPP_STATE_DIR: inside('state'),
    CALICOVPP_CONFIG_DIR: inside('etc'),
    CALICOVPP_HOST_ROOT: inside('host'),
    CALICOVPP_CNI_SOCKET: inside('run/cni.sock'),
    CALICOVPP_KUBERNETES: 'off',
    CALICOVPP_INTERFACES: JSON.stringify({ uplinkInterfaces: [{ interfaceName: 'eth0', isMain: true }] }),
    CALICOVPP_HEALTH_ADDRESS: '127.0.0.1',
    CALICOVPP_INITIAL_CONFIG: JSON.stringify({ healthCheckPort: health_port }),
  });
  makeDirectory(config.paths.run_dir);
  makeDirectory(config.paths.state_dir, 0o700);
  const clock = systemClock;
  const log = createLog({
    level: 'info',
    format: 'text',
    clock,
    write: (line) => lines.push(line.trimEnd()) > 0,
  });
  const journal = (name: string) => openJournal(inside(`state/${name}`), boot_id, clock.wall_ms()).journal;
  return {
    config,
    clock,
    log,
    logRing: new LogRing(),
    host,
    launcher,
    gobgpd: no_gobgpd,
    registry: memoryFile(),
    quarantine: new Quarantine(memoryFile(), () => undefined),
    uplinkHost: new UplinkHost(
      host,
      journal('undo.journal'),
      new CapturedStore(inside('state/uplinks.json'), boot_id),
      { host, clock, run: async () => no_program, roots: no_machine },
      host.createNamed(config.vpp.netns),
    ),
    vpp_netns: {
      name: config.vpp.netns,
      path: host.createNamed(config.vpp.netns),
      create: () => void host.createNamed(config.vpp.netns),
      remove: () => host.removeNamed(config.vpp.netns),
    },
    hooks: { run: async () => undefined },
    hostServices: {
      set: async () => undefined,
      serve: async () => undefined,
      status: () => ({ vips: 0, took_ms: 0, faults: new Map() }),
      close: async () => undefined,
    },
    hostSilence: {
      set: () => undefined,
      serve: () => undefined,
      fault: undefined,
      close: async () => undefined,
    },
    removeHostTables: async () => [],
    nudge: () => undefined,
    cluster: without_cluster,
    core_journal: journal('core-pattern.journal'),
  };
}

/** Routes of the demo come from IPAM. */
const no_gobgpd: GobgpdLauncher = {
  adopt: async () => undefined,
  start: async () => {
    throw new Error('the demo has no gobgpd');
  },
  end: () => undefined,
  buried: () => undefined,
  forget: () => undefined,
  trimOutput: () => undefined,
};

interface Life {
  readonly run: VppRun;
  readonly vpp: Promise<StandInVpp>;
}

/** Lives of the stand-in in this process, numbered in place of process ids. */
class StandInLauncher implements Launcher {
  readonly #socket: string;
  readonly #devices: Devices;
  #lives = 0;
  #life: Life | undefined;

  constructor(socket: string, devices: Devices) {
    this.#socket = socket;
    this.#devices = devices;
  }

  isRunning(): boolean {
    return this.#life !== undefined;
  }

  adopt(): VppRun | undefined {
    return this.#life === undefined ? undefined : { ...this.#life.run, adopted: true };
  }

  start(): VppRun {
    this.#lives += 1;
    const pid = this.#lives;
    const vpp = startStandInVpp({ socket: this.#socket, devices: this.#devices, pid });
    const exited = vpp
      .then(async ({ ended }): Promise<VppExit> => ({ pid, reason: (await ended).reason }))
      .catch(({ message }: Error) => ({ pid, reason: message }));
    const run: VppRun = { pid, identity: `${pid}`, api_socket: this.#socket, adopted: false, exited };
    this.#life = { run, vpp };
    return run;
  }

  signal({ pid }: VppRun, signal: 'SIGINT' | 'SIGKILL'): void {
    if (this.#life?.run.pid !== pid) return;
    void this.#life.vpp.then((vpp) => (signal === 'SIGINT' ? vpp.close() : vpp.kill()));
  }

  keepClock(): void {}

  forget(): void {
    this.#life = undefined;
  }

  kill(): void {
    if (this.#life !== undefined) this.signal(this.#life.run, 'SIGKILL');
  }
}
