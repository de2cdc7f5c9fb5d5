/**
 * The stand-in answers as a real VPP. `contract.recorded.txt` holds what a real one answered: the stand-in is held against
 * it everywhere, and a real VPP where there is one. CONTRACT_RECORD=1 writes it anew, from a real VPP.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { unixTransport } from 'vpp-binapi-ts';
import { canUseNetns, NetnsLab } from '../../lab/netns.js';
import { findRealVpp, startRealVpp } from '../../lab/real-vpp.js';
import { type Devices, RecordedDevices } from '../../lab/vpp/devices.js';
import { startStandInVpp } from '../../lab/vpp/stand-in.js';
import { TunDevices } from '../../lab/vpp/tun-devices.js';
import { answers } from './contract/answers.js';
import { sequences } from './contract/index.js';

const recorded_file = fileURLToPath(new URL('../../../test/vpp/contract.recorded.txt', import.meta.url));
const recording = process.env.CONTRACT_RECORD === '1';

/** By name of the sequence. */
type Recorded = ReadonlyMap<string, readonly string[]>;

const title = '= ';

function readRecorded(): Recorded {
  const recorded = new Map<string, string[]>();
  let lines: string[] = [];
  for (const line of readFileSync(recorded_file, 'utf8').trimEnd().split('\n')) {
    if (line.startsWith(title)) {
      lines = [];
      recorded.set(line.slice(title.length), lines);
    } else lines.push(line);
  }
  return recorded;
}

function writeRecorded(recorded: Recorded): void {
  const text = [...recorded].map(([name, lines]) => `${title}${name}\n${lines.join('\n')}\n`);
  writeFileSync(recorded_file, text.join(''));
}

const netns = canUseNetns();

t.test('the stand-in answers as a real VPP has answered', { skip: recording && 'records' }, async (t) => {
  const recorded = readRecorded();
  for (const sequence of sequences) {
    const skip = sequence.devices && netns !== undefined ? netns : false;
    t.test(sequence.name, { skip }, async (t) => {
      const lab = sequence.devices ? labWithUplink() : undefined;
      const namespace = lab?.namespace('pod') ?? '/pod';
      const devices: Devices = lab ? tunDevicesOf(lab) : new RecordedDevices();
      const vpp = await startStandInVpp({ devices });
      vpp.state.has_punt_socket = sequence.punt_socket === true;
      t.teardown(() => {
        vpp.close();
        lab?.close();
      });
      const place = { transport: vpp.transport(), namespace, sendPackets: () => undefined };
      const said = await answers(place, sequence);
      t.same(said, recorded.get(sequence.name));
      if (sequence.dies) t.match(await vpp.ended, { how: 'died' });
      if (sequence.spins) t.match(vpp.hung, /spins/);
    });
  }
});

const rdma_plugin = process.env.VPP_RDMA_PLUGIN ?? '';
const real = findRealVpp();
/** Each sequence has a VPP of its own, which takes half a second to start. */
const real_timeout_ms = 300_000;
if (real.usable) t.setTimeout(real_timeout_ms);
const skip = real.usable ? (netns ?? false) : real.why;

t.test('a real VPP answers as it was recorded', { skip, timeout: real_timeout_ms }, async (t) => {
  if (!real.usable) return;
  const recorded = new Map<string, string[]>();
  for (const sequence of sequences) {
    const skip =
      sequence.plugin !== undefined && !existsSync(rdma_plugin) && 'needs VPP_RDMA_PLUGIN, its path';
    if (skip && recording) recorded.set(sequence.name, [...(readRecorded().get(sequence.name) ?? [])]);
    await t.test(sequence.name, { skip }, async (t) => {
      const lab = labWithUplink();
      const directory = mkdtempSync(join(tmpdir(), 'contract-'));
      const sections = [
        ...(sequence.plugin ? [`plugins { add-path ${dirname(rdma_plugin)} }`] : []),
        ...(sequence.punt_socket ? [`punt { socket ${join(directory, 'punt.sock')} }`] : []),
      ].join('\n');
      const vpp = await startRealVpp(real, { netns: lab.namespace('vpp'), sections });
      t.teardown(async () => {
        await vpp.stop();
        lab.close();
        rmSync(directory, { recursive: true, force: true });
      });
      const transport = unixTransport(vpp.api_socket);
      const namespace = lab.namespace('pod');
      const said = await answers({ transport, namespace, sendPackets: () => sendFromPod(lab) }, sequence);
      recorded.set(sequence.name, said);
      if (sequence.dies) t.equal(said.at(-1), '< VPP is gone');
      if (sequence.spins) t.equal(said.at(-1), '< no answer');
      if (!recording) t.same(said, readRecorded().get(sequence.name));
    });
  }
  if (recording) writeRecorded(recorded);
});

function labWithUplink(): NetnsLab {
  const lab = new NetnsLab();
  lab.veth({ namespace: 'vpp', name: 'up0' }, { namespace: 'outside', name: 'eth0' });
  return lab;
}

/** A few datagrams to nobody in particular, from an address that the pod's device gets for it. */
function sendFromPod(lab: NetnsLab): void {
  const pod = lab.open('pod');
  const link = pod.link('eth0')!.index;
  pod.apply({ do: 'set_link', link, up: true });
  pod.apply({ do: 'add_address', address: { link, family: 4, prefix: '10.1.0.5/32' } });
  const next_hops = [{ oif: link }];
  pod.apply({ do: 'add_route', route: { family: 4, prefix: '0.0.0.0/0', next_hops } });
  const send = 'for port in 1001 1002 1003; do echo > /dev/udp/10.1.0.9/$port; sleep 0.1; done';
  lab.run('pod', 'bash', '-c', send);
}

/** af_packet looks for its device in VPP's namespace; the stand-in is in this process's. */
function tunDevicesOf(lab: NetnsLab): Devices {
  const devices = new TunDevices();
  const inside = lab.open('vpp');
  return {
    openTap: (device) => devices.openTap(device),
    hasLink: (name) => inside.link(name) !== undefined,
  };
}
