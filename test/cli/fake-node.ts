/** A node for the commands: both of its sockets answer as a real one's do. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createNetServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import type { Why } from '../../src/debug/why.js';
import { sampleTree } from '../debug/sample.js';

export const planted = 'planted-secret-of-the-test';

/** As a VPP of 26.10 writes it: a host port led to a pod, seen by both directions; a flow that is denied; one of which only answers are known. */
export const sessions = `CNat Sessions: now:145.230916
Hash table 'CNat Session DB'
    4 active elements 4 active buckets

TCP [10.0.0.9;40112 -> 10.0.0.1;8080] => []
  index:1 fib:0
  last_seen:142 lifetime:3600 ref:2
    [ in ] TCP [10.0.0.9;40112 -> 10.0.1.2;80] node:3 lbi:7 fl:0 fib:0
    [ fib] TCP [10.0.0.9;40112 -> 10.0.1.2;80] node:65535 lbi:-1 fl:0 fib:0
    [rout] TCP [10.0.0.1;8080 -> 10.0.0.9;40112] node:65535 lbi:-1 fl:0 fib:0

TCP [10.0.1.2;80 -> 10.0.0.9;40112] => [return]
  index:1 fib:4
  last_seen:142 lifetime:3600 ref:2
    [ in ] TCP [10.0.0.9;40112 -> 10.0.1.2;80] node:3 lbi:7 fl:0 fib:0
    [rout] TCP [10.0.0.1;8080 -> 10.0.0.9;40112] node:65535 lbi:-1 fl:0 fib:0

UDP [fd00::3;5000 -> fd00::2;53] => []
  index:2 fib:5
  last_seen:140 lifetime:30 ref:1
    [ out] UDP [fd00::3;5000 -> fd00::2;53] node:0 lbi:-1 fl:0 fib:5

TCP [10.0.1.2;80 -> 10.0.0.8;40000] => [return]
  index:3 fib:4
  last_seen:100 lifetime:30 ref:1
    [rout] TCP [10.96.0.10;80 -> 10.0.0.8;40000] node:65535 lbi:-1 fl:0 fib:0

`;

export const pod_why: Extract<Why, { kind: 'pod' }> = {
  kind: 'pod',
  name: 'default/web-0',
  addresses: ['10.0.1.2'],
  interfaces: [
    {
      interface: 'eth0',
      netns: '/run/netns/cni-5d1f',
      actor: 'root/cni/default/web-0 eth0',
      state: 'running',
      phase: 'done',
      fault: '',
      sw_if_index: 4,
      addresses: ['10.0.1.2'],
      host_ports: ['8080/tcp to 80'],
      objects: { 'tap:x-eth0-cni-5d1f': 'programmed', 'route:10.0.1.2/32': 'refused: \u001b[31mno room' },
      policies: {
        kind: 'workload',
        endpoint: 'k8s default/web-0 eth0',
        state: 'enforced',
        refusals: ['rule 3: VPP has no such match: open'],
        policies: ['default/knp.default.web', 'profile kns.default'],
      },
    },
  ],
  services: { 'default/web': ['tcp/10.96.0.10/80'] },
};

/** Of a VPP with two workers: a node is not named again where its queues go on under the next thread. */
export const placement = `Thread 1 (vpp_wk_0):
 node af-packet-input:
    host-eth0 queue 0 (interrupt)
 node tap-input:
    tap0 queue 0 (adaptive)
Thread 2 (vpp_wk_1):
    tun1 queue 0 (adaptive)
 node memif-input:
    memif1/0 queue 0 (interrupt)
`;

/** A node of which both sockets answer. */
export async function fakeNode(t: Test) {
  const directory = mkdtempSync(join(tmpdir(), 'node-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const told: string[] = [];
  /** What VPP says in place of what it would, by command. */
  const answers = new Map<string, string>();
  /** What happens before VPP answers a command that has this in it. */
  const at = new Map<string, () => void>();
  const as_of = '2030-01-01T00:00:00.000Z';
  const main_loop = { blocked_ms: 0 };
  const service = { vips: [], plan: { service: 'default/web', vips: [], vips_unshown: 0, faults: [] } };
  const http = createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url!, 'http://node');
    const object = searchParams.get('object') ?? '';
    const why: Why | undefined =
      object === 'node'
        ? { kind: 'node', name: 'worker-1', addresses: ['10.0.0.1'], uplinks: ['eth0'] }
        : object.startsWith('service/')
          ? { kind: 'service', name: 'default/web', addresses: ['10.96.0.10'], service, objects: {} }
          : object.endsWith('default/web-0')
            ? pod_why
            : undefined;
    const bodies: Readonly<Record<string, object>> = {
      '/debug/tree': { as_of, main_loop, tree: sampleTree },
      '/debug/services': { services: { 'default/web': service }, service_count: 1 },
      '/status': {
        ready: true,
        message: 'Ready',
        lastUpdate: as_of,
        node: 'worker-1',
        version: '1',
        uptime_ms: 0,
        main_loop,
        conditions: [],
        vpp: { pid: 1, version: '26.10', generation: 1 },
        uplinks: [{ name: 'eth0', driver: 'af_packet' }],
        pods: { count: 1, max: 110 },
        actors: {},
        troubled: [],
      },
    };
    if (pathname === '/debug/log') response.end('a line of the log\n');
    else if (pathname === '/debug/why' && why === undefined) {
      const error = `there is no pod or service ${object} on this node; its pods: default/web-0`;
      response.writeHead(404).end(JSON.stringify({ error }));
    } else
      response.end(
        JSON.stringify(pathname === '/debug/why' ? { why } : (bodies[pathname] ?? { note: planted })),
      );
  });
  http.listen(join(directory, 'debug.sock'));
  const vpp = createNetServer((socket) => {
    let greeted = false;
    socket.on('error', () => undefined);
    socket.write(Buffer.from([255, 253, 24, 255, 250, 24, 1, 255, 240]));
    socket.on('data', (chunk) => {
      const text = chunk.toString('latin1').slice(greeted ? 0 : 12);
      greeted = true;
      for (const line of text
        .split('\n')
        .map((each) => each.trim())
        .filter((each) => each !== '')) {
        if (line === 'quit') socket.end();
        else {
          told.push(line);
          for (const [part, happens] of at) if (line.includes(part)) happens();
          socket.write(`${vppSays(line)}\0`);
        }
      }
    });
  });
  vpp.listen(join(directory, 'cli.sock'));
  t.teardown(() => {
    http.close();
    http.closeAllConnections();
    vpp.close();
  });
  /** The path of the capture under way. */
  const capture = (): string | undefined =>
    told.map((each) => /file (\S+\.pcap)/.exec(each)?.[1]).findLast((file) => file !== undefined);
  function vppSays(line: string): string {
    const answer = answers.get(line);
    if (answer !== undefined) return answer;
    if (line.startsWith('show cnat session')) return sessions;
    if (line === 'show trace max 1') return 'No packets in trace buffer\n';
    if (/^show (trace|pcap) filter function$/.test(line))
      return 'name:vnet_is_packet_traced description: a priority: 50\n(*) name:of_before description: b priority: 10\n';
    if (line.startsWith('show trace')) return 'Packet 1\n\n00:00:01:000000: tap-input\n';
    if (line === 'show interface rx-placement') return placement;
    if (line.startsWith('set bpf trace filter {{broken')) return 'Failed pcap_compile of broken';
    if (line === 'show bpf trace filter')
      return told.includes('no plugin')
        ? "show: unknown input `bpf trace filter'"
        : 'bpf trace filter is not set\n';
    if (line === 'show interface') return 'tun1                              4      up          1500/0/0/0\n';
    if (line === 'pcap trace off') {
      const file = capture();
      if (file !== undefined) writeFileSync(`/tmp/${file}`, 'packets');
      return 'Write 1 packets';
    }
    if (/^pcap trace rx .* intfc busy /.test(line)) return 'pcap trace: dispatch trace already enabled...';
    if (line.startsWith('trace add nowhere')) return "unknown input `nowhere'";
    return line.startsWith('show') ? `${line} ${planted}` : '';
  }
  const env = {
    CALICOVPP_RUN_DIR: directory,
    CALICOVPP_IPSEC_IKEV2_PSK: `${planted}\n`,
    PATH: process.env.PATH,
  };
  return { directory, env, told, answers, at };
}
