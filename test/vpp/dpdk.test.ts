import { execFile, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { patience } from '../../lab/patience.js';
import { findRealVpp } from '../../lab/real-vpp.js';
import { type StartupFacts, startupConfig } from '../../src/vpp-conn/startup-config.js';

const run = promisify(execFile);
const vpp = findRealVpp();
const plugin = process.env.VPP_DPDK_PLUGIN ?? '';
const skip = !vpp.usable
  ? vpp.why
  : existsSync(plugin)
    ? false
    : 'needs VPP_DPDK_PLUGIN, the path of a dpdk_plugin.so that was built for this VPP';

/** No machine has these: DPDK looks for them, and finds nothing. */
const devices = ['0000:fe:1e.0', '0000:fe:1f.5'];

function pluginPath(binary: string): string {
  const prefix = dirname(dirname(realpathSync(binary)));
  const own = ['lib/x86_64-linux-gnu', 'lib', 'lib64']
    .map((path) => join(prefix, path, 'vpp_plugins'))
    .find((path) => existsSync(path));
  return `${own}:${dirname(plugin)}`;
}

/** The start-up file of a node with these devices, for a VPP whose files lie in `directory`. */
function startup(directory: string, hugepages_bytes: number, pci: readonly string[] = devices): string {
  const facts: StartupFacts = {
    cpus: 2,
    hugepages_bytes,
    memory_bytes: 2 ** 31,
    pods_max: 16,
    pod_rx_buffers: 256,
    core_dumps: false,
    has_exec: false,
    vcl: false,
    paths: {
      run_dir: directory,
      startup_exec: join(directory, 'startup.exec'),
      api_socket: join(directory, 'api.sock'),
      cli_socket: join(directory, 'cli.sock'),
      stats_socket: join(directory, 'stats.sock'),
      vpp_pid_file: join(directory, 'vpp.pid'),
    },
  };
  const uplinks = pci.map((pci_address, at) => ({
    interface_name: `eth${at}`,
    driver: 'dpdk',
    pci_address,
    rx_queues: 1,
    tx_queues: 2,
    rx_ring_size: 512,
    tx_ring_size: 1024,
  }));
  const none = { uplinks: [], pci_addresses: [], first_cpu: '0', node_annotations: {} };
  const { text, warnings } = startupConfig(undefined, none, uplinks, facts);
  t.same(warnings, []);
  return text.replace('plugins {', `plugins {\n  path ${pluginPath(vpp.usable ? vpp.binary : '')}`);
}

/** The path of a socket has 107 bytes at most. */
const shortDirectory = (): string => mkdtempSync(join(tmpdir(), 'vpp-dpdk-'));

/** Ends when the test does. `ended`: what it said, once it has. */
function start(directory: string, text: string): { readonly ended: Promise<string> } {
  const conf = join(directory, 'startup.conf');
  writeFileSync(conf, text);
  // In a network namespace of its own, with no device of the machine.
  const child = spawn('unshare', ['--net', vpp.usable ? vpp.binary : '', '-c', conf], { cwd: directory });
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (chunk: string) => {
      said += chunk;
    });
  const ended = new Promise<string>((resolve) => child.once('close', () => resolve(said)));
  t.teardown(async () => {
    child.kill('SIGKILL');
    await ended;
    rmSync(directory, { recursive: true, force: true });
  });
  return { ended };
}

/** What VPP's command line answers, once it does; or what VPP said as it ended. */
async function ask(directory: string, command: string, ended: Promise<string>): Promise<string> {
  const vppctl = join(dirname(vpp.usable ? vpp.binary : ''), 'vppctl');
  let gone: string | undefined;
  void ended.then((said) => {
    gone = said;
  });
  const deadline = Date.now() + 15_000 * patience;
  while (gone === undefined && Date.now() < deadline) {
    try {
      const { stdout } = await run(vppctl, ['-s', join(directory, 'cli.sock'), ...command.split(' ')], {
        timeout: 10_000,
      });
      if (stdout.trim() !== '') return stdout;
    } catch {
      // It does not listen yet.
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return gone ?? 'no answer';
}

t.test('VPP takes the section of its start-up file that dpdk uplinks are given', { skip }, async (t) => {
  const directory = shortDirectory();
  const { ended } = start(directory, startup(directory, 0));
  const version = await ask(directory, 'show dpdk version', ended);
  t.match(version, /EAL init args: .*--iova-mode va --no-huge/);
  t.match(version, new RegExp(devices.map((pci) => `-a ${pci}`).join(' ')));
  t.match(await ask(directory, 'show interface', ended), /^local0/m, 'it lives without the devices');
});

t.test('it reads it word by word', { skip }, async (t) => {
  const directory = shortDirectory();
  const text = startup(directory, 0).replace('num-rx-desc 512', 'num-rx-description 512');
  t.match(await start(directory, text).ended, /dpdk_device_config: unknown input `num-rx-description 512/);
});

t.test(
  'without an uplink of dpdk its plugin, which takes devices by itself, is not there',
  { skip },
  async (t) => {
    const directory = shortDirectory();
    const { ended } = start(directory, startup(directory, 0, []));
    const plugins = await ask(directory, 'show plugins', ended);
    t.match(plugins, /af_packet_plugin\.so/);
    t.notMatch(plugins, /dpdk_plugin\.so/);
  },
);
