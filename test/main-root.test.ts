/** `restore` as an operator calls it, after a node and its VPP are gone, in what state ever the rest is. */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, existsSync, openSync, readFileSync, rmSync, watch, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { hostInside } from '../lab/host-inside.js';
import { canUseNetns } from '../lab/netns.js';
import { Topology } from '../lab/topology.js';
import { systemClock } from '../src/clock.js';
import { loadConfig } from '../src/config.js';
import { runCommand } from '../src/host/command.js';
import { bootId, processStartTime } from '../src/host/devices/sysfs.js';
import { openJournal } from '../src/host/undo/undo-journal.js';
import { CapturedStore } from '../src/uplink/captured.js';
import { UplinkHost } from '../src/uplink/uplink-host.js';
import { writeRunRecord } from '../src/vpp-conn/run-record.js';
import { needs } from './kit/needs.js';

const reason = canUseNetns();
const root = needs(reason);
const program = fileURLToPath(new URL('../src/main.js', import.meta.url));
const boot_id = bootId() ?? 'unknown';

interface Restore {
  readonly environment?: Readonly<Record<string, string>>;
  readonly stdio?: 'full' | 'closed';
}

/** Resolves when somebody writes this file. */
function appears(directory: string, file: string): Promise<void> {
  return new Promise((resolve) => {
    const watcher = watch(directory, (_, name) => {
      if (name !== file) return;
      watcher.close();
      resolve();
    });
  });
}

/** A host in a namespace, whose uplink is in the hands of a VPP that is no more. */
class Host {
  readonly topology = new Topology({ pods: 0 });
  readonly journal: string;
  readonly captured: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly #record: string;
  readonly #before: object;

  constructor(t: Test) {
    const directory = t.testdir({ run: {}, state: {}, etc: {} });
    t.teardown(() => this.topology.close());
    this.journal = join(directory, 'state', 'undo.journal');
    this.captured = join(directory, 'state', 'uplinks.json');
    this.#record = join(directory, 'run', 'vpp-run.json');
    this.environment = {
      PATH: process.env.PATH ?? '',
      NODENAME: 'node',
      CALICOVPP_RUN_DIR: join(directory, 'run'),
      CALICOVPP_STATE_DIR: join(directory, 'state'),
      CALICOVPP_CONFIG_DIR: join(directory, 'etc'),
      CALICOVPP_HOST_ROOT: join(directory, 'host'),
      CALICOVPP_NETNS_DIR: this.topology.lab.directory,
      CALICOVPP_VPP_NETNS: 'vpp',
      CALICOVPP_INTERFACES: '{"uplinkInterfaces": [{"interfaceName": "eth0", "vppDriver": "af_packet"}]}',
    };
    this.#before = this.told();
  }

  /** As `ip` tells it. */
  told(): object {
    const { lab } = this.topology;
    const ip = (...argv: string[]): object[] => JSON.parse(lab.run('node', 'ip', '-d', '-j', ...argv));
    const routes = ['-4', '-6'].flatMap((family) => ip(family, 'route', 'show', 'table', 'all'));
    const links = ip('addr').map((link) => ({ ...link, link_index: 0, link_netnsid: 0 }));
    return { links, routes: routes.map((route) => JSON.stringify(route)).sort() };
  }

  isRestored(t: Test, what: string): void {
    t.strictSame(this.told(), this.#before, what);
  }

  /** A node has taken the uplink over, and is gone. */
  async take(): Promise<void> {
    const { lab } = this.topology;
    const host = hostInside(lab, 'node');
    const { config } = loadConfig(this.environment);
    const uplinkHost = new UplinkHost(
      host,
      openJournal(this.journal, boot_id, 0).journal,
      new CapturedStore(this.captured, boot_id),
      { host, clock: systemClock, run: runCommand },
      lab.namespace('vpp'),
    );
    const captured = uplinkHost.capture(config.uplinks);
    await uplinkHost.take(captured);
    uplinkHost.complete(captured);
  }

  /** A VPP that lives on. It ends as every process does. */
  startVpp(): ChildProcess {
    const vpp = spawn('sleep', ['1000'], { stdio: 'ignore' });
    const pid = vpp.pid!;
    const start_time = processStartTime(pid)!.toString();
    writeRunRecord(this.#record, { version: 1, pid, start_time, boot_id, api_socket: '', config_hash: '' });
    return vpp;
  }

  /** Something more to undo: a service of the host that takes its time. Answers when that has begun, once. */
  slowService(): Promise<void> {
    const begun = join(this.journal, '..', 'begun');
    const command = `echo begun > ${begun}; sleep 0.5`;
    const { journal } = openJournal(this.journal, boot_id, 0);
    journal.record([
      { kind: 'run_command', argv: ['sh', '-c', command], timeout_ms: 5000, after_boot: false },
    ]);
    return appears(join(begun, '..'), 'begun');
  }

  /** Answers the exit code. */
  async restore(how: Restore = {}): Promise<number | null> {
    return (await this.run('restore', how)).ended;
  }

  /** A subcommand, and its exit code; null: a signal has ended it. */
  run(
    command: 'run' | 'restore',
    { environment, stdio }: Restore = {},
  ): { readonly child: ChildProcess; readonly ended: Promise<number | null> } {
    const full = stdio === 'full' ? openSync('/dev/full', 'w') : 'pipe';
    const child = this.topology.spawn('node', [process.execPath, program, command], {
      env: { ...this.environment, ...environment },
      stdio: ['ignore', full, full],
    });
    if (typeof full === 'number') closeSync(full);
    if (stdio === 'closed') for (const stream of [child.stdout, child.stderr]) stream?.destroy();
    else for (const stream of [child.stdout, child.stderr]) stream?.resume();
    return { child, ended: new Promise((resolve) => child.once('exit', resolve)) };
  }
}

t.test(
  'nothing but the paths is needed, and a log that cannot be written keeps nobody from the network',
  root(),
  async (t) => {
    const host = new Host(t);
    await host.take();
    const silent = [
      'net/ipv6/conf/eth0/disable_ipv6',
      'net/ipv4/conf/eth0/arp_ignore',
      'net/ipv4/ip_forward',
    ];
    t.same(
      host.topology.within('vpp', (vpp) => silent.map((path) => vpp.readSysctl(path))),
      ['1', '8', '0'],
      "the kernel of VPP's namespace does not speak for the host there",
    );
    const environment = {
      NODENAME: '',
      CALICOVPP_INTERFACES: '{',
      CALICOVPP_LOG_LEVEL: 'loud',
      CALICOVPP_MAX_PODS: 'many',
    };
    const wrong = { ...environment, CALICOVPP_STATE_DIR: 'here' };
    t.equal(await host.restore({ environment: wrong }), 1, 'a path that is none is refused');
    t.equal(await host.restore({ environment, stdio: 'full' }), 0);
    host.isRestored(t, 'nothing else is in order, and the disk is full');

    await host.take();
    // Its end is waited for.
    const vpp = host.startVpp();
    const ended = new Promise((resolve) => vpp.once('exit', (_, signal) => resolve(signal)));
    // As Node itself does when it warns, in the midst of it.
    const words = `
    import fs from 'node:fs';
    import { syncBuiltinESMExports } from 'node:module';
    const { readFileSync } = fs;
    fs.readFileSync = (path, ...more) => {
      if (String(path).endsWith('undo.journal')) for (const out of [process.stdout, process.stderr]) out.write('x');
      return readFileSync(path, ...more);
    };
    syncBuiltinESMExports();`;
    const NODE_OPTIONS = `--import data:text/javascript,${encodeURIComponent(words)}`;
    t.equal(await host.restore({ stdio: 'closed', environment: { NODE_OPTIONS } }), 0);
    host.isRestored(t, 'a reader that has gone');
    t.equal(await ended, 'SIGINT');
  },
);

t.test(
  'a lost journal, and a damaged one, cost nothing that the captured uplinks tell',
  root(),
  async (t) => {
    const host = new Host(t);
    const damages: Record<string, () => void> = {
      lost: () => rmSync(host.journal),
      'a byte of the header, and one of a record': () => {
        const text = readFileSync(host.journal, 'utf8');
        writeFileSync(host.journal, text.replace('undo', 'Undo').replace('link_to_netns', 'link_to_netnz'));
      },
    };
    for (const [what, damage] of Object.entries(damages)) {
      await host.take();
      damage();
      t.equal(await host.restore(), 0, what);
      host.isRestored(t, what);
    }
  },
);

t.test(
  'an uplink of which nothing is known any more comes back, and that is no success',
  root(),
  async (t) => {
    const host = new Host(t);
    await host.take();
    for (const path of [host.journal, host.captured]) rmSync(path);
    t.equal(await host.restore(), 1);
    t.match(
      host.topology.within('node', (node) => node.link('eth0')),
      { kind: 'veth', up: true, promisc: false },
    );
  },
);

t.test('an end that is asked for in the middle of an undo waits for it', root(), async (t) => {
  const host = new Host(t);
  for (const [command, signal] of [
    ['restore', 'SIGHUP'],
    ['run', 'SIGTERM'],
  ] as const) {
    await host.take();
    const hasBegun = host.slowService();
    const { child, ended } = host.run(command);
    await hasBegun;
    child.kill(signal);
    t.equal(await ended, 0, `${command}: ${signal}`);
    host.isRestored(t, command);
    t.notOk(existsSync(host.journal), 'nothing is left to undo');
  }
});

t.test('an uplink that has to be given back first is known by its own name', root(), async (t) => {
  const host = new Host(t);
  host.topology.lab.run('node', 'ip', 'link', 'property', 'add', 'dev', 'eth0', 'altname', 'lan0');
  await host.take();
  const directory = host.environment.CALICOVPP_CONFIG_DIR!;
  const { child, ended } = host.run('run', {
    environment: {
      CALICOVPP_INTERFACES: host.environment.CALICOVPP_INTERFACES!.replace('eth0', 'lan0'),
      CALICOVPP_CONFIG_TEMPLATE: '# the uplink is __VPP_DATAPLANE_IF__',
      CALICOVPP_VPP_BINARY: '/bin/false',
    },
  });
  await appears(directory, 'startup.conf');
  child.kill('SIGTERM');
  t.equal(await ended, 0);
  t.match(readFileSync(join(directory, 'startup.conf'), 'utf8'), /the uplink is eth0/);
});
