/** What a real VPP lets through whatever policies say, by packets: the same as `doors` says of it. */
import t, { type Test } from 'tap';
import { connect, unixTransport } from 'vpp-binapi-ts';
import { sw_interface_dump } from 'vpp-binapi-ts/interface';
import { npol_configure_policies } from 'vpp-binapi-ts/npol';
import { canUseNetns } from '../../lab/netns.js';
import { findRealVpp } from '../../lab/real-vpp.js';
import { type RunningNode, startNode } from '../../lab/running-node.js';
import { type Pod, Topology } from '../../lab/topology.js';
import { Traffic } from '../../lab/traffic.js';
import { type Door, doors, doors_seen_on } from '../../src/policies/doors.js';

const vpp = findRealVpp();
const reason = vpp.usable ? canUseNetns() : vpp.why;
const real = reason === undefined ? {} : { skip: reason };

t.setTimeout(240_000);

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

  async echoRequests(): Promise<number> {
    const text = await this.run('node', 'cat', '/proc/net/snmp');
    const [names = [], values = []] = text
      .split('\n')
      .flatMap((line) => (line.startsWith('Icmp: ') ? [line.split(' ')] : []));
    return Number(values[names.indexOf('InEchos')]);
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

t.test('IPv4 packets with options: kept from the host, or told as a door', real, async (t) => {
  const lab = await new Lab().start(t);
  const host = lab.topology.node.ip4!;
  const shows = async (setting: 'drop' | 'pass', received: number) => {
    t.equal(await lab.ping('p1', host), 3, `${setting}: without options`);
    t.equal(await lab.pingWithOptions('p1', host), received, `${setting}: with them, from a pod`);
    t.equal(await lab.pingWithOptions('outside', host), received, `${setting}: from outside`);
    t.equal(await lab.ping('node', lab.open.ip4), 3, 'the host reaches pods');
    t.equal(
      doors({ drop_ip_options: setting === 'drop' }).ip_options!.is_open,
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

t.test(`doors that were seen open on VPP ${doors_seen_on}`, real, async (t) => {
  const lab = await new Lab().start(t);
  const said: Readonly<Record<string, Door>> = doors({ drop_ip_options: true });
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
