/** The commands that look at a pod, a service, flows, packets, the log and all together; here, and on another node by a kubectl that is none. */
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createNetServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import t, { type Test } from 'tap';
import { interfaceName } from '../../src/cli/captures.js';
import { command_names } from '../../src/cli/commands.js';
import { bundle_parts } from '../../src/cli/export.js';
import { distinct, flowsIn, flowsText } from '../../src/cli/flows.js';
import type { Streams } from '../../src/cli/invocation.js';
import { flows } from '../../src/cli/objects.js';
import { tarOf } from '../../src/cli/tar.js';
import { parseWanted, type Why, whyText } from '../../src/debug/why.js';
import { sampleTree } from '../debug/sample.js';
import { run } from './run-cli.js';

t.setTimeout(120_000);

const root = fileURLToPath(new URL('../../..', import.meta.url));
const planted = 'planted-secret-of-the-test';

/** As a VPP of 26.10 writes it: a host port led to a pod, seen by both directions; a flow that is denied; one of which only answers are known. */
const sessions = `CNat Sessions: now:145.230916
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

t.test('flows are read from what VPP writes: before, after, verdict and age', async (t) => {
  const flows = flowsIn(sessions);
  t.strictSame(flows, [
    {
      before: { protocol: 'TCP', source: '10.0.0.9 40112', destination: '10.0.0.1 8080' },
      after: { protocol: 'TCP', source: '10.0.0.9 40112', destination: '10.0.1.2 80' },
      verdict: 'passed',
      directions: 'both',
      idle_s: 3,
      left_s: 3597,
    },
    {
      before: { protocol: 'UDP', source: 'fd00::3 5000', destination: 'fd00::2 53' },
      after: { protocol: 'UDP', source: 'fd00::3 5000', destination: 'fd00::2 53' },
      verdict: 'denied',
      directions: 'there',
      idle_s: 5,
      left_s: 25,
    },
    {
      before: { protocol: 'TCP', source: '10.0.0.8 40000', destination: '10.96.0.10 80' },
      after: { protocol: 'TCP', source: '10.0.0.8 40000', destination: '10.0.1.2 80' },
      verdict: 'passed',
      directions: 'back',
      idle_s: 45,
      left_s: 0,
    },
  ]);
  t.equal(distinct([...flows, ...flows]).length, 3, 'found by two of its addresses, and told once');
  t.match(
    flowsText(flows.slice(0, 1), true),
    /TCP +10\.0\.0\.9 40112 +10\.0\.0\.1 8080 += +10\.0\.1\.2 80 +passed +both +3s +3597s\nthere are more/,
  );
  t.equal(flowsText([], false), 'no flows\n');
  t.throws(
    () => flowsIn("unknown input `verbose'"),
    /does not show its sessions as it is expected to \(unknown input/,
  );
  // Whatever VPP writes is an answer.
  for (const cut of [10, 120, 150, 260, 300, 420]) t.doesNotThrow(() => flowsIn(sessions.slice(0, 30 + cut)));
});

t.test('objects are named as people name them', async (t) => {
  t.strictSame(parseWanted('default/web-0'), { kinds: ['pod', 'service'], name: 'default/web-0' });
  t.strictSame(parseWanted('pod/default/web-0'), { kinds: ['pod'], name: 'default/web-0' });
  t.strictSame(parseWanted('svc/default/web'), { kinds: ['service'], name: 'default/web' });
  t.strictSame(parseWanted('node'), { kinds: ['node'], name: '' });
  for (const bad of ['', 'web', 'a/b/c', 'constructor/a/b', 'a /b', '/a', `${'a'.repeat(300)}/b`])
    t.equal(parseWanted(bad), undefined, bad);
});

const pod_why: Extract<Why, { kind: 'pod' }> = {
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

t.test('why says what is programmed, by which input, and what is refused', async (t) => {
  const text = whyText(pod_why);
  for (const part of [
    /^pod default\/web-0\n/,
    /asked for by +CNI ADD for \/run\/netns\/cni-5d1f, host ports 8080\/tcp to 80/,
    /policies +enforced, by endpoint k8s default\/web-0 eth0 of Felix\n +default\/knp\.default\.web/,
    /not enforced: rule 3/,
    /route:10\.0\.1\.2\/32 +refused: +\[31mno room/,
    /default\/web +tcp\/10\.96\.0\.10\/80/,
  ])
    t.match(text, part);
  t.notMatch(text, '\u001b', 'a terminal obeys nothing of it');
});

t.test('interfaces by their index', async (t) => {
  const text =
    '              Name               Idx    State  MTU (L3/IP4/IP6/MPLS)     Counter          Count     \nlocal0                            0     down          0/0/0/0       \ntun1                              4      up          1500/0/0/0     rx packets 3\n';
  t.equal(interfaceName(text, 4), 'tun1');
  t.equal(interfaceName(text, 5), undefined);
});

t.test('an archive is one that tar reads', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'tar-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const big = Buffer.alloc(1025, 'x');
  writeFileSync(
    join(directory, 'a.tar'),
    tarOf(
      new Map([
        ['a/b.txt', Buffer.from('hello')],
        ['a/c', big],
        ['a/empty', Buffer.alloc(0)],
      ]),
      1_000_000_000,
    ),
  );
  const { execFileSync } = await import('node:child_process');
  execFileSync('tar', ['-xf', 'a.tar'], { cwd: directory });
  t.equal(readFileSync(join(directory, 'a/b.txt'), 'utf8'), 'hello');
  t.strictSame(readFileSync(join(directory, 'a/c')), big);
  t.equal(statSync(join(directory, 'a/empty')).size, 0);
});

/** A node of which both sockets answer. */
async function fakeNode(t: Test) {
  const directory = mkdtempSync(join(tmpdir(), 'node-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const told: string[] = [];
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
    const answers: Readonly<Record<string, object>> = {
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
        JSON.stringify(pathname === '/debug/why' ? { why } : (answers[pathname] ?? { note: planted })),
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
    if (line.startsWith('show cnat session')) return sessions;
    if (line.startsWith('show trace')) return 'Packet 1\n\n00:00:01:000000: virtio-input\n';
    if (line === 'show interface') return 'tun1                              4      up          1500/0/0/0\n';
    if (line === 'pcap trace off') {
      const file = capture();
      if (file !== undefined) writeFileSync(`/tmp/${file}`, 'packets');
      return 'Write 1 packets';
    }
    if (line.startsWith('trace add nowhere')) return "unknown input `nowhere'";
    return line.startsWith('show') ? `${line} ${planted}` : '';
  }
  const env = { CALICOVPP_RUN_DIR: directory, CALICOVPP_IPSEC_IKEV2_PSK: planted, PATH: process.env.PATH };
  return { directory, env, told };
}

t.test('flows asks VPP for each address, and says what cannot be had', async (t) => {
  const { env, told } = await fakeNode(t);
  const one = await run(['flows', 'default/web-0', '--max', '2'], env);
  t.equal(one.code, 0, one.stderr);
  t.match(one.stdout, /10\.0\.0\.9 40112/);
  t.match(one.stdout, /there are more/, 'at most two are shown');
  t.strictSame(told, ['show cnat session verbose 1 ip 10.0.1.2 max 4']);
  t.match(await run(['flows', 'default/nobody'], env), { code: 1, stderr: /its pods: default\/web-0/ });
  t.match(await run(['flows', 'nobody'], env), { code: 2, stderr: /one object is needed/ });
  t.match(await run(['flows', 'default/web-0', '--max', '0'], env), {
    code: 2,
    stderr: /--max takes a number from 1 to 10000/,
  });
  t.match(
    await run(['why', 'default/web-0'], env),
    { code: 1, stdout: /refused/ },
    'not all is as it should be',
  );
});

t.test('flows are looked at as long as somebody reads them', async (t) => {
  const { env } = await fakeNode(t);
  const stdout = new Writable({
    write: (_chunk, _encoding, written) => written(new Error('EPIPE')),
    autoDestroy: false,
  });
  const streams = { stdout, stderr: stdout } as unknown as Streams;
  const options = { watch: true, every: '0.1' };
  t.equal(await flows({ env, options, operands: ['default/web-0'] }, streams), 0);
});

t.test('traces and captures: what VPP is told, and that it is taken back', async (t) => {
  const { env, told, directory } = await fakeNode(t);
  const traced = await run(['trace', 'default/web-0', '--seconds', '0.1', '--filter', 'tcp port 80'], env);
  t.equal(traced.code, 0, traced.stderr);
  t.match(traced.stdout, /^Packet 1/);
  t.strictSame(told, [
    'set bpf trace filter {tcp port 80}',
    'set trace filter function bpf_trace_filter',
    'clear trace',
    'trace add virtio-input 50 filter',
    'show trace max 50',
    'clear trace',
    'set trace filter function vnet_is_packet_traced',
    'set bpf trace filter del',
  ]);
  told.length = 0;
  t.match(await run(['trace', '--input-node', 'nowhere'], env), {
    code: 1,
    stderr: /VPP refuses `trace add nowhere 50`: unknown input/,
  });
  t.equal(told.at(-1), 'clear trace');
  t.match(await run(['trace', '--input-node', 'a b'], env), { code: 2, stderr: /is no graph node/ });
  t.match(await run(['trace', '--filter', 'tcp}\nquit'], env), {
    code: 2,
    stderr: /--filter takes an expression/,
  });
  told.length = 0;
  const file = join(directory, 'a.pcap');
  const captured = await run(['pcap', 'default/web-0', '--seconds', '0.1', '--output', file], env);
  t.equal(captured.code, 0, captured.stderr);
  t.match(
    told[1],
    /^pcap trace rx tx max 50 intfc tun1 file calico-vpp-node-[0-9a-f]{16}\.pcap max-bytes-per-pkt 512$/,
  );
  t.equal(told.at(-1), 'pcap trace off');
  t.equal(readFileSync(file, 'utf8'), 'packets');
  t.equal(statSync(file).mode & 0o777, 0o600, 'its owner’s alone');
  t.notOk(existsSync(`/tmp/${/file (\S+)/.exec(told[1]!)![1]}`), 'and nowhere else');
});

t.test('a bundle has every part, no secret, and says what is missing', async (t) => {
  const { env, directory } = await fakeNode(t);
  const file = join(directory, 'bundle.tar.gz');
  const { code, stderr } = await run(['export', '--output', file], env);
  t.equal(code, 0, stderr);
  t.match(stderr, new RegExp(`export: 1 of ${bundle_parts.length}: status.json`));
  t.equal(statSync(file).mode & 0o777, 0o600);
  const content = gunzipSync(readFileSync(file)).toString('latin1');
  for (const part of bundle_parts) t.match(content, `calico-vpp-node/${part.file}`);
  t.match(content, '[redacted]');
  t.notMatch(content, planted);
  const nobody = { ...env, CALICOVPP_RUN_DIR: join(directory, 'nobody') };
  const empty = await run(['export', '--output', '-'], nobody);
  t.equal(empty.code, 3);
  t.match(
    gunzipSync(empty.bytes).toString('latin1'),
    /not there: .*there is no such socket[\s\S]*left out: VPP does not answer/,
  );
  t.match(await run(['export', '--output', join(directory, 'no/such')], env), {
    code: 1,
    stderr: /cannot be written.*--output/,
  });
});

/** Notes what it was told, answers like one that knows two nodes, and runs nothing. */
function fakeKubectl(directory: string): { readonly path: string; told(): string } {
  const path = join(directory, 'kubectl');
  const log = join(directory, 'kubectl.log');
  writeFileSync(
    path,
    `#!/bin/sh
echo "$@" >> '${log}'
case "$1" in
get) printf 'worker-1 calico-vpp-node-aaaaa Running\\nworker-2 calico-vpp-node-bbbbb Running\\n' ;;
exec) case "$*" in *" services"*) echo refused >&2; exit 1 ;; esac; printf 'from the pod' ;;
logs) echo 'a line of kubectl' ;;
esac
`,
  );
  chmodSync(path, 0o755);
  writeFileSync(log, '');
  return { path, told: () => readFileSync(log, 'utf8').trim().split('\n').at(-1)! };
}

t.test('on another node: by kubectl, in its pod, with the exit code of there', async (t) => {
  const { directory } = await fakeNode(t);
  const { path, told } = fakeKubectl(directory);
  const env = { KUBECTL: path, PATH: process.env.PATH };
  const exec = 'exec --namespace calico-vpp-dataplane calico-vpp-node-bbbbb --container vpp';
  t.match(await run(['why', 'default/web-0', '--node', 'worker-2', '--json'], env), {
    code: 0,
    stdout: 'from the pod',
  });
  t.equal(told(), `${exec} -- calico-vpp-node why default/web-0 --json`);
  t.match(await run(['services', '--node=worker-2', '--namespace', 'calico-vpp-dataplane'], env), {
    code: 1,
    stderr: 'refused\n',
  });
  t.equal(told(), `${exec} -- calico-vpp-node services`);
  await run(['vppctl', '--node', 'worker-2', 'show', 'int'], env);
  t.equal(told(), `${exec} -- calico-vpp-node vppctl show int`);
  t.match(await run(['log', '--node', 'worker-2', '--last', '5', '--follow'], env), {
    code: 0,
    stdout: 'a line of kubectl\n',
  });
  t.equal(
    told(),
    'logs --namespace calico-vpp-dataplane calico-vpp-node-bbbbb --container vpp --tail 5 --follow',
  );
  const file = join(directory, 'bundle.tar.gz');
  t.match(await run(['export', '--node', 'worker-2', '--output', file], env), {
    code: 0,
    stderr: /written to/,
  });
  t.equal(told(), `${exec} -- calico-vpp-node export --output -`);
  t.equal(readFileSync(file, 'utf8'), 'from the pod');
  t.equal(statSync(file).mode & 0o777, 0o600);

  t.match(await run(['status', '--node', 'worker-3'], env), {
    code: 1,
    stderr: /is on node worker-3; they are on worker-1, worker-2/,
  });
  t.match(await run(['status', '--node', '--all'], env), { code: 2 });
  t.match(await run(['status', '--node', 'a b'], env), { code: 2, stderr: /"a b" is no node/ });
  t.match(await run(['status', '--node', 'worker-1'], { KUBECTL: join(directory, 'nothing') }), {
    code: 1,
    stderr: /install kubectl/,
  });
});

t.test('every command of the manual is one, and each that looks has an example there', async (t) => {
  const { env, directory } = await fakeNode(t);
  const kubectl = fakeKubectl(directory).path;
  const manual = readFileSync(join(root, 'docs/commands.md'), 'utf8');
  const lines = [...manual.matchAll(/^calico-vpp-node (.*)$/gm)].map(([, line = '']) => line);
  t.ok(lines.length > 15);
  const seen = new Set<string>();
  for (const line of lines) {
    const argv = [...line.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain ?? '');
    seen.add(argv[0]!);
    const here = argv
      .map((word, n) => (argv[n - 1] === '--output' ? join(directory, word) : word))
      // What people wait for.
      .map((word, n) => (['--seconds', '--every'].includes(argv[n - 1] ?? '') ? '0.1' : word));
    const { code, stderr } = await run(here, { ...env, KUBECTL: kubectl });
    t.ok(
      code === 0 || (code === 1 && argv[0] === 'why'),
      `${line}: exit code ${code}: ${stderr.slice(-200)}`,
    );
  }
  const looking = command_names.filter(
    (name) => !['run', 'check', 'restore', 'demo', 'services'].includes(name),
  );
  t.strictSame(
    looking.filter((name) => !seen.has(name)),
    [],
  );
  for (const name of command_names) t.match(await run([name, '--help']), { code: 0, stdout: /Usage: / });
});
