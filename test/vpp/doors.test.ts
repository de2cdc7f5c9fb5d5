/** What a real VPP lets through whatever policies say, by packets: the same as `doors` says of it. */
import { spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { connect, unixTransport } from 'vpp-binapi-ts';
import { sw_interface_dump } from 'vpp-binapi-ts/interface';
import { npol_configure_policies } from 'vpp-binapi-ts/npol';
import { cli_inband } from 'vpp-binapi-ts/vlib';
import { canUseNetns } from '../../lab/netns.js';
import { findRealVpp } from '../../lab/real-vpp.js';
import { type RunningNode, startNode } from '../../lab/running-node.js';
import { type Pod, Topology } from '../../lab/topology.js';
import { Traffic } from '../../lab/traffic.js';
import { ownTrialPrefix } from '../../src/check/trial-leftovers.js';
import { tryDoorsOf } from '../../src/check/trial-vpp.js';
import { systemClock } from '../../src/clock.js';
import { processRunningAs } from '../../src/host/devices/sysfs.js';
import { parseAddress } from '../../src/ip/text.js';
import { type Door, doors, doors_seen_on } from '../../src/policies/doors.js';
import { needs } from '../kit/needs.js';

const vpp = findRealVpp();
const reason = vpp.usable ? canUseNetns() : vpp.why;
const real = needs(reason);

const settings = { drop_ip_options: true, drop_other_protocols: false };

/** A node with two pods, the second of which nothing may reach. */
class Lab {
  readonly topology = new Topology({ pods: 2 });
  readonly traffic = new Traffic(this.topology);
  node!: RunningNode;
  readonly open: Pod;
  readonly isolated: Pod;

  constructor() {
    const [open, isolated] = this.topology.pods;
    this.open = open!;
    this.isolated = isolated!;
  }

  async start(t: Test): Promise<this> {
    if (!vpp.usable) throw new Error(vpp.why);
    t.teardown(async () => {
      await this.node?.close();
      this.traffic.close();
      this.topology.close();
    });
    await this.traffic.ping('node', this.topology.outside.ip4!, { count: 1 });
    this.node = await startNode(this.topology, { vpp });
    await this.node.add(this.open);
    await this.node.add(this.isolated);
    await this.isolate(this.isolated);
    return this;
  }

  /** npol's words for a pod whose ingress is denied: what VPP sends to it. */
  async isolate(pod: Pod): Promise<void> {
    const client = await connect({
      transport: unixTransport(this.node.config.paths.api_socket),
      name: 'doors',
    });
    const interfaces = await client.dump(sw_interface_dump, { name_filter_valid: false, name_filter: '' });
    const { sw_if_index } = interfaces.find(({ tag }) => tag.includes(pod.name))!;
    await client.request(npol_configure_policies, {
      sw_if_index,
      num_rx_policies: 0,
      num_tx_policies: 0,
      invert_rx_tx: 0,
      policy_default_rx: 'NPOL_DEFAULT_ALLOW',
      policy_default_tx: 'NPOL_DEFAULT_DENY',
      profile_default_rx: 'NPOL_DEFAULT_ALLOW',
      profile_default_tx: 'NPOL_DEFAULT_DENY',
      policy_ids: [],
    });
    client.close();
  }

  /** How many of three echo requests are answered, with these words for ping. */
  async ping(from: string, target: string, ...words: readonly string[]): Promise<number> {
    const text = await this.run(from, 'ping', '-n', '-c', '3', '-i', '0.05', '-W', '1', ...words, target);
    return [...text.matchAll(/icmp_seq=\d+ .*time=/g)].length;
  }

  /** How many of three echo requests with options the host has received: its answers have the options, too, and are lost. */
  async pingWithOptions(from: string, host: string): Promise<number> {
    const before = await this.echoRequests();
    await this.ping(from, host, '-R');
    return (await this.echoRequests()) - before;
  }

  async echoRequests(at = 'node'): Promise<number> {
    const text = await this.run(at, 'cat', '/proc/net/snmp');
    const [names = [], values = []] = text
      .split('\n')
      .flatMap((line) => (line.startsWith('Icmp: ') ? [line.split(' ')] : []));
    return Number(values[names.indexOf('InEchos')]);
  }

  /** VPP's name for a pod's interface. */
  async interfaceOf(pod: Pod): Promise<string> {
    const client = await connect({
      transport: unixTransport(this.node.config.paths.api_socket),
      name: 'doors',
    });
    const interfaces = await client.dump(sw_interface_dump, { name_filter_valid: false, name_filter: '' });
    client.close();
    return interfaces.find(({ tag }) => tag.includes(pod.name))!.interface_name;
  }

  async cli(command: string): Promise<string> {
    const client = await connect({
      transport: unixTransport(this.node.config.paths.api_socket),
      name: 'doors',
    });
    const { reply } = await client.request(cli_inband, { cmd: command });
    client.close();
    return reply;
  }

  /** Packets that a pod's device has received, echo requests left out. */
  async received({ name }: Pod): Promise<number> {
    const [link] = JSON.parse(await this.run(name, 'ip', '-j', '-s', 'link', 'show', 'dev', 'eth0'));
    const text = await this.run(name, 'cat', '/proc/net/snmp6');
    const echoes = Number(/Icmp6InEchos\s+(\d+)/.exec(text)![1]) + (await this.echoRequests(name));
    return link.stats64.rx.packets - echoes;
  }

  #packets = 0;

  /** Of these protocols those of which a packet reaches the other pod: they are sent as if they came from a pod's interface. */
  async reaches(from: Pod, to: Pod, family: 4 | 6, protocols: readonly number[]): Promise<number[]> {
    const [source, input] = [await this.interfaceOf(from), `ip${family}-input`];
    const reached: number[] = [];
    for (const protocol of protocols) {
      const packet =
        family === 4 ? ip4Packet(from.ip4, to.ip4, protocol) : ip6Packet(from.ip6, to.ip6, protocol);
      this.#packets += 1;
      const name = `p${this.#packets}`;
      const size = `${packet.length}-${packet.length}`;
      await this.cli(
        `packet-generator new { name ${name} limit 1 interface ${source} node ${input} size ${size} data { hex 0x${packet.toString('hex')} } }`,
      );
      const before = await this.received(to);
      await this.cli(`packet-generator enable-stream ${name}`);
      // What is judged passes between these two, and comes behind it.
      if ((await this.ping(from.name, family === 4 ? to.ip4 : to.ip6)) === 0) throw new Error('no echo');
      if ((await this.received(to)) > before) reached.push(protocol);
      await this.cli(`packet-generator delete ${name}`);
    }
    return reached;
  }

  /** What a program writes, in a namespace. */
  async run(from: string, ...argv: readonly string[]): Promise<string> {
    const child = this.topology.spawn(from, argv, { stdio: ['ignore', 'pipe', 'ignore'] });
    let text = '';
    child.stdout!.on('data', (chunk) => {
      text += chunk;
    });
    await new Promise((resolve) => child.once('close', resolve));
    return text;
  }
}

t.test('IPv4 packets with options: kept from the host, or told as a door', real(), async (t) => {
  const lab = await new Lab().start(t);
  const host = lab.topology.node.ip4!;
  const shows = async (setting: 'drop' | 'pass', received: number) => {
    t.equal(await lab.ping('p1', host), 3, `${setting}: without options`);
    t.equal(await lab.pingWithOptions('p1', host), received, `${setting}: with them, from a pod`);
    t.equal(await lab.pingWithOptions('outside', host), received, `${setting}: from outside`);
    t.equal(await lab.ping('node', lab.open.ip4), 3, 'the host reaches pods');
    t.equal(
      doors({ ...settings, drop_ip_options: setting === 'drop' }).ip_options!.is_open,
      received > 0,
      'which is what is said of it',
    );
    t.strictSame(await lab.node.differences(), [], 'VPP has what it is to have');
  };
  await shows('drop', 0);
  const next = async (setting: 'drop' | 'pass') => {
    await lab.node.kill('SIGKILL');
    lab.node.setEnvironment({ CALICOVPP_IP_OPTIONS: setting });
    await lab.node.restart();
  };
  await next('drop');
  t.strictSame(await lab.node.changesSent(), [], 'the next process finds it');
  await next('pass');
  await shows('pass', 3);
  await next('drop');
  await shows('drop', 0);
});

function ip4Packet(source: string, destination: string, protocol: number): Buffer {
  const packet = Buffer.alloc(20 + payload.length);
  packet.set([0x45, 0, 0, packet.length, 0, 1, 0, 0, 64, protocol, 0, 0]);
  packet.set(parseAddress(source, 4), 12);
  packet.set(parseAddress(destination, 4), 16);
  let sum = 0;
  for (let at = 0; at < 20; at += 2) sum += packet.readUInt16BE(at);
  packet.writeUInt16BE(0xffff - ((sum & 0xffff) + (sum >> 16)), 10);
  packet.set(payload, 20);
  return packet;
}

function ip6Packet(source: string, destination: string, protocol: number): Buffer {
  const packet = Buffer.alloc(40 + payload.length);
  packet.set([0x60, 0, 0, 0, 0, payload.length, protocol, 64]);
  packet.set(parseAddress(source, 6), 8);
  packet.set(parseAddress(destination, 6), 24);
  packet.set(payload, 40);
  return packet;
}

/** As header of an echo request, of UDP or TCP it has ports; as extension of IPv6 it says that UDP follows. */
const payload = Buffer.from('1100000000010002'.padEnd(80, '0'), 'hex');

t.test('protocols that VPP does not judge: kept from pods, or told as a door', real(), async (t) => {
  const lab = await new Lab().start(t);
  const judged = { 4: [6, 17, 132], 6: [6, 17, 58, 132] } as const;
  const others = { 4: [2, 4, 47, 50, 51, 136, 253], 6: [0, 4, 41, 43, 44, 47, 50, 60, 136, 253] } as const;
  const shows = async (setting: 'drop' | 'pass') => {
    const is_open = doors({ ...settings, drop_other_protocols: setting === 'drop' }).other_protocols!.is_open;
    t.equal(is_open, setting === 'pass');
    for (const family of [4, 6] as const) {
      const all = [...judged[family], ...others[family]];
      t.same(
        await lab.reaches(lab.isolated, lab.open, family, all),
        is_open ? all : judged[family],
        `${setting}: IPv${family}`,
      );
    }
    t.equal((await lab.ping('p1', lab.isolated.ip6, '-s', '4000')) > 0, is_open, 'fragments of IPv6');
    t.equal(await lab.ping('p2', lab.open.ip4, '-s', '4000'), 3, 'fragments of IPv4 are of their protocol');
    // Segments that VPP cuts only behind the classifier.
    for (const address of [lab.open.ip4, lab.open.ip6])
      t.match(await lab.traffic.tcp('p2', 'p1', address, { bytes: 5_000_000 }), { whole: true });
    // The packet generator has made itself an interface; the tables stay, for those who may still look them up.
    const differences = (await lab.node.differences()).filter((text) => !/pg-|protocol_table/.test(text));
    t.strictSame(differences, [], 'VPP has what it is to have');
  };
  const next = async (setting: 'drop' | 'pass') => {
    await lab.node.kill('SIGKILL');
    lab.node.setEnvironment({ CALICOVPP_OTHER_PROTOCOLS: setting });
    await lab.node.restart();
  };
  await shows('pass');
  await next('drop');
  await shows('drop');
  await next('drop');
  t.strictSame(await lab.node.changesSent(), [], 'the next process finds it');
  await next('pass');
  await shows('pass');
});

t.test(
  'a VPP of its own tells of its doors what packets between pods tell, and is gone',
  real(),
  async (t) => {
    if (!vpp.usable) throw new Error(vpp.why);
    // A client of another VPP finds that one's segments by these names.
    const segments = () => readdirSync('/dev/shm').filter((name) => /global_vm|vpe-api/.test(name));
    const before = segments();
    const trial = await tryDoorsOf(vpp, systemClock);
    t.same(segments(), before);
    t.comment(JSON.stringify(trial));
    t.match(trial.vpp, /^vpp v\d/);
    const said: Readonly<Record<string, Door>> = doors(settings);
    for (const [name, is_open] of Object.entries(trial.is_open)) t.equal(is_open, said[name]!.is_open, name);
    const left = readdirSync(tmpdir()).filter((name) => name.startsWith(ownTrialPrefix()));
    t.same(left, []);
    const stopped = new AbortController();
    const broken = tryDoorsOf(vpp, systemClock, stopped.signal);
    stopped.abort(new Error('the node stops'));
    await t.rejects(broken, /the node stops/);
    await t.rejects(
      tryDoorsOf({ binary: '/bin/true', environment: {} }, systemClock),
      /it has ended: exit code 0/,
    );
    await t.rejects(
      tryDoorsOf({ ...vpp, config_template: 'plugins { path /nowhere }' }, systemClock),
      /it has ended: exit code 1: .*unknown input `cnat/,
      "plugins are those of the node's template, and VPP's own words are told",
    );
  },
);

t.test('what a killed trial has left, the next one removes', real(), async (t) => {
  if (!vpp.usable) throw new Error(vpp.why);
  const module = new URL('../../src/check/trial-vpp.js', import.meta.url).href;
  const clock = new URL('../../src/clock.js', import.meta.url).href;
  const { binary, environment } = vpp;
  const script = `
    const [{ tryDoorsOf }, { systemClock }] = await Promise.all([import('${module}'), import('${clock}')]);
    await tryDoorsOf(${JSON.stringify({ binary, environment })}, systemClock);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: 'ignore' });
  const ended = new Promise((resolve) => child.once('close', resolve));
  const prefix = ownTrialPrefix(undefined, child.pid);
  const own = () =>
    [...readdirSync(tmpdir()), ...readdirSync('/dev/shm')].filter((name) => name.startsWith(prefix));
  // Its VPP has a directory and both segments.
  while (own().length < 3) await setImmediate();
  child.kill('SIGKILL');
  await ended;
  const [left] = own();
  t.ok(left);
  while (processRunningAs(['-c', join(tmpdir(), left!, 'startup.conf')]) !== undefined) await setImmediate();
  await tryDoorsOf(vpp, systemClock);
  t.same(own(), []);
});

t.test(`doors that were seen open on VPP ${doors_seen_on}`, real(), async (t) => {
  const lab = await new Lab().start(t);
  const said: Readonly<Record<string, Door>> = doors(settings);
  const { ip4, ip6 } = lab.isolated;
  t.equal(await lab.ping('p1', ip4), 0, 'the pod is isolated');
  t.equal(await lab.ping('p1', ip6), 0, 'and by IPv6');
  t.equal(await lab.ping('p2', lab.open.ip4), 3, 'and may speak itself');

  t.equal(await lab.ping('p1', ip4, '-e', '7001'), 0, 'a flow that was judged');
  await lab.ping('p1', ip4, '-e', '7002', '-t', '1', '-c', '1');
  t.equal(
    (await lab.ping('p1', ip4, '-e', '7002')) > 0,
    said.dead_first_packet!.is_open,
    'one whose first packet has ended within VPP',
  );
  t.equal((await lab.ping('p1', ip6, '-s', '4000')) > 0, said.other_protocols!.is_open, 'fragments of IPv6');

  const error_of_vpp = async () => {
    const text = await lab.run(
      'p1',
      'ping',
      '-n',
      '-c',
      '1',
      '-W',
      '1',
      '-t',
      '1',
      lab.topology.outside.ip4!,
    );
    return /Time to live exceeded/.test(text);
  };
  t.equal(await error_of_vpp(), true, 'a pod hears of a TTL that has ended');
  await lab.ping('p2', lab.topology.outside.ip4!, '-t', '1', '-c', '1');
  t.equal(await error_of_vpp(), !said.poisoned_errors!.is_open, 'after an isolated pod should have');
});
