/** What the commands say of a node with traffic, on a real VPP: flows with what becomes of their addresses, traces, captures, and the bundle. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import t, { type Test } from 'tap';
import { canUseNetns } from '../../lab/netns.js';
import { pathOf } from '../../lab/programs.js';
import { findRealVpp } from '../../lab/real-vpp.js';
import { RunningNode } from '../../lab/running-node.js';
import { type Pod, Topology } from '../../lab/topology.js';
import { Traffic } from '../../lab/traffic.js';
import type { Flow } from '../../src/cli/flows.js';
import { link_types, packetsOf } from '../../src/cli/pcap-file.js';
import { fetchDebug } from '../../src/debug/client.js';
import type { Why } from '../../src/debug/why.js';
import { type Ran, run } from '../cli/run-cli.js';
import { needs } from '../kit/needs.js';

const vpp = findRealVpp();
const reason = vpp.usable ? canUseNetns() : vpp.why;
const real = needs(reason);

/** With room for a machine that has much else to do. */
const ready_ms = 240_000;
const add_ms = 60_000;

/** In the environment of the node: it is in nothing that leaves it. */
const planted = 'planted-secret-of-the-test';

const command = (node: RunningNode, ...argv: readonly string[]): Promise<Ran> =>
  run(argv, { CALICOVPP_RUN_DIR: node.config.paths.run_dir, CALICOVPP_IPSEC_IKEV2_PSK: planted });

async function started(t: Test) {
  if (!vpp.usable) throw new Error(vpp.why);
  const topology = new Topology({ pods: 2 });
  const traffic = new Traffic(topology);
  let node: RunningNode | undefined;
  const directory = mkdtempSync(join(tmpdir(), 'looking-'));
  t.teardown(async () => {
    await node?.close();
    traffic.close();
    topology.close();
    rmSync(directory, { recursive: true, force: true });
  });
  node = new RunningNode(topology, { vpp, environment: { CALICOVPP_IPSEC_IKEV2_PSK: planted } });
  node.launch();
  await node.untilReady(ready_ms);
  const [server, client] = topology.pods as [Pod, Pod];
  await node.add(server, { ports: [{ port: 80, host_port: 8080 }], deadline_ms: add_ms });
  await node.add(client, { deadline_ms: add_ms });
  return { topology, traffic, node, server, client, directory };
}

/** Source and destination of an IPv4 packet. */
function waysOf(bytes: Uint8Array): string {
  if (bytes[0]! >> 4 !== 4) return '';
  return `${bytes.subarray(12, 16).join('.')} -> ${bytes.subarray(16, 20).join('.')}`;
}

t.test('flows, traces, captures and a bundle of a node with traffic', real(), async (t) => {
  const { topology, traffic, node, server, client, directory } = await started(t);
  const flowsOf = async (object: string): Promise<readonly Flow[]> => {
    const { code, stdout, stderr } = await command(node, 'flows', object, '--json');
    t.equal(code, 0, `${object}: ${stderr}`);
    return JSON.parse(stdout.toString()).flows;
  };
  const name = `default/${server.name}`;

  const why = await command(node, 'why', name, '--json');
  t.equal(why.code, 0, why.stderr);
  const { addresses, interfaces } = JSON.parse(why.stdout) as Extract<Why, { kind: 'pod' }>;
  t.strictSame(addresses, [server.ip4, server.ip6]);
  t.match(interfaces[0]?.actor, new RegExp(`^root/cni/${name} eth0$`), 'an actor has the name of its pod');
  t.match(interfaces[0]?.host_ports, ['8080/tcp to 80']);
  t.strictSame([...new Set(Object.values(interfaces[0]?.objects ?? {}))], ['programmed']);
  t.match((await command(node, 'why', 'default/nobody')).stderr, new RegExp(`its pods: .*${name}`));

  await traffic.serve(server.name, 80);
  const node_ip4 = topology.node.ip4!;
  const { receipt, error } = await traffic.connect('outside', node_ip4, 8080);
  t.equal(receipt?.bytes, 10, `the host port answers: ${error}`);
  if (process.env.SHOW_FLOWS)
    console.error((await command(node, 'vppctl', 'show cnat session verbose 1 max 40')).stdout);
  const outside = topology.outside.ip4!;
  const translated = (await flowsOf(name)).find(({ before }) => before.destination === `${node_ip4} 8080`);
  t.match(translated, {
    before: { protocol: 'TCP', destination: `${node_ip4} 8080` },
    after: { destination: `${server.ip4} 80` },
    verdict: 'passed',
  });
  t.ok(translated?.before.source.startsWith(`${outside} `), 'under the client’s address');
  t.equal(translated?.after.source, translated?.before.source);
  const of_node = (await flowsOf('node')).map(({ before }) => before.destination);
  t.ok(of_node.includes(`${node_ip4} 8080`), `it is one of the node’s, too: ${of_node}`);
  await traffic.ping(client.name, server.ip4, { count: 2 });
  t.ok(
    (await flowsOf(`pod/default/${client.name}`)).some(
      ({ before, after }) => before.source.startsWith(client.ip4) && after.destination.startsWith(server.ip4),
    ),
    'what is not translated has a session, too',
  );
  const watched = await command(node, 'flows', name, '--watch', '--every', '1', '--times', '2', '--max', '1');
  t.equal(watched.stdout.match(/PROTOCOL/g)?.length, 2, 'looked at twice');

  const prober = traffic.probe(client.name, server.ip4);
  t.teardown(() => prober.stop());
  await prober.untilAnswered(30_000);
  const traced = await command(node, 'trace', name, '--seconds', '3', '--packets', '5');
  t.equal(traced.code, 0, traced.stderr);
  t.match(traced.stderr, /trace: up to 5 packets of tap-input, 3 s left/);
  t.match(traced.stdout, /Packet 1\n[\s\S]*: tap-input\n/, 'by what packets of pods come in');
  t.match(traced.stdout, `${client.ip4} -> ${server.ip4}`, 'they are the pings');
  t.match(traced.stdout, /: tun\d+-tx\n/, 'which reach the other pod');
  t.notMatch(traced.stdout, /Packet 6\n/, 'as many as were asked for');
  t.notMatch((await command(node, 'vppctl', 'show', 'trace')).stdout, /Packet 1/, 'nothing is left of it');

  const uplink = traffic.probe('outside', node_ip4);
  t.teardown(() => uplink.stop());
  await uplink.untilAnswered(30_000);
  const come = await command(node, 'trace', '--seconds', '3', '--packets', '5');
  t.match(come.stdout, /: af-packet-input\n/, 'and of the uplink');
  uplink.stop();

  const { stdout: plugins } = await command(node, 'vppctl', 'show', 'plugins');
  const chosen = await command(node, 'trace', name, '--seconds', '3', '--filter', `dst host ${server.ip4}`);
  if (plugins.includes('bpf_trace_filter_plugin')) {
    t.match(chosen.stdout, `${client.ip4} -> ${server.ip4}`);
    t.notMatch(chosen.stdout, `${server.ip4} -> ${client.ip4}`, 'what the filter lets through, alone');
    t.match(await command(node, 'trace', '--filter', 'no such thing'), {
      code: 1,
      stderr: /VPP refuses the filter/,
    });
  } else t.match(chosen, { code: 1, stderr: /has no bpf_trace_filter plugin/ });

  const file = join(directory, 'pod.pcap');
  const captured = await command(node, 'pcap', name, '--seconds', '3', '--output', file);
  t.equal(captured.code, 0, captured.stderr);
  const pcap = readFileSync(file);
  t.equal(pcap.readUInt32LE(20), link_types.raw, 'of a device without Ethernet headers');
  t.strictSame(
    new Set(
      packetsOf(pcap)
        ?.map(({ bytes }) => waysOf(bytes))
        .filter((ways) => ways.includes(server.ip4)),
    ),
    new Set([`${client.ip4} -> ${server.ip4}`, `${server.ip4} -> ${client.ip4}`]),
    'what it receives and what it sends',
  );
  if (pathOf('tcpdump')) {
    const { stdout } = spawnSync('tcpdump', ['-nr', file], { encoding: 'utf8' });
    t.match(stdout, `IP ${server.ip4} > ${client.ip4}: ICMP echo reply`, 'as others read it');
  }
  const one_way = await command(
    node,
    'pcap',
    name,
    '--seconds',
    '2',
    '--output',
    file,
    '--filter',
    `src ${server.ip4}`,
  );
  t.equal(one_way.code, 0, one_way.stderr);
  t.strictSame(
    [...new Set(packetsOf(readFileSync(file))?.map(({ bytes }) => waysOf(bytes)))],
    [`${server.ip4} -> ${client.ip4}`],
    'what the filter lets through',
  );
  const all = await command(node, 'pcap', '--seconds', '2', '--output', file);
  t.match(all.stderr, /what pods send is not in it/);
  const frames = packetsOf(readFileSync(file)) ?? [];
  t.ok(frames.length > 0);
  t.strictSame(
    frames.filter(({ bytes }) => ![0x0800, 0x0806, 0x86dd].includes(Buffer.from(bytes).readUInt16BE(12))),
    [],
    'each has an Ethernet header',
  );
  t.ok(
    frames.some(({ bytes }) => waysOf(bytes.subarray(14)) === `${client.ip4} -> ${server.ip4}`),
    'also what goes to a pod',
  );
  const [first, second] = await Promise.all([
    command(node, 'trace', '--seconds', '4'),
    new Promise((resolve) => setTimeout(resolve, 2000)).then(() => command(node, 'pcap', '--output', file)),
  ]);
  t.equal(first.code, 0);
  t.match(second, { code: 1, stderr: /another trace or capture of this node is under way/ });

  await command(node, 'vppctl', 'trace', 'add', 'tap-input', '2');
  const others = () => command(node, 'vppctl', 'show', 'trace');
  while (!/Packet 2/.test((await others()).stdout)) await new Promise((resolve) => setTimeout(resolve, 100));
  t.match(await command(node, 'trace', '--seconds', '1'), { code: 1, stderr: /of somebody else.*--clear/ });
  t.match((await others()).stdout, /Packet 2/, 'what others have traced is left to them');
  t.equal((await command(node, 'trace', '--seconds', '1', '--clear')).code, 0);

  for (const words of [
    ['trace', name],
    ['pcap', '--output', join(directory, 'ended.pcap')],
    ['pcap', name, '--output', join(directory, 'ended.pcap')],
  ]) {
    const main = fileURLToPath(new URL('../../src/main.js', import.meta.url));
    const child = spawn(process.execPath, [main, ...words, '--seconds', '300'], {
      env: { ...process.env, CALICOVPP_RUN_DIR: node.config.paths.run_dir },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    // For so long that there is something to be noted: a capture of nothing says so, and is no success.
    let said = '';
    for await (const piece of child.stderr.setEncoding('utf8')) {
      const before = said;
      said += piece;
      // Once: behind its end a signal ends it as any other process.
      if (!before.includes(' 299 s left') && said.includes(' 299 s left')) child.kill('SIGTERM');
    }
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    t.strictSame(
      [child.exitCode, child.signalCode],
      [0, null],
      `${words.join(' ')}: ended by a signal; ${said}`,
    );
    t.notMatch((await others()).stdout, /Packet/, 'nothing is traced');
    t.match((await command(node, 'vppctl', 'pcap', 'trace', 'status')).stdout, /capture disabled/);
  }

  const figures = await fetchDebug(node.config.paths.debug_socket, '/debug/vpp/stats?match=/if/names');
  t.match(
    JSON.parse(figures.body).entries['/if/names'].names.includes('tun1'),
    true,
    'figures of VPP, without a question to it',
  );

  const bundle = join(directory, 'bundle.tar.gz');
  const exported = await command(node, 'export', '--output', bundle);
  t.equal(exported.code, 0, exported.stderr);
  const content = gunzipSync(readFileSync(bundle)).toString('latin1');
  for (const part of ['status.json', 'tree.txt', 'log.txt', 'vpp/cnat-session.txt'])
    t.match(content, `calico-vpp-node/${part}`);
  t.match(content, /CNat Sessions: now:/, 'VPP’s own words');
  t.notMatch(content, planted, 'and no secret');
  t.match((await command(node, 'log', '--last', '5')).stdout.split('\n').length, 6);
});
