/** The commands that look at a pod, a service, flows, packets, the log and all together; here, and on another node by a kubectl that is none. */
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import t from 'tap';
import { command_names } from '../../src/cli/commands.js';
import { bundle_parts } from '../../src/cli/export.js';
import { distinct, flowsIn, flowsText } from '../../src/cli/flows.js';
import type { Streams } from '../../src/cli/invocation.js';
import { flows } from '../../src/cli/objects.js';
import { tarOf } from '../../src/cli/tar.js';
import { parseWanted, whyText } from '../../src/debug/why.js';
import { fakeNode, planted, pod_why, sessions } from './fake-node.js';
import { run } from './run-cli.js';

const root = fileURLToPath(new URL('../../..', import.meta.url));

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
    // The pod of the answers has no namespace.
    const is_nowhere = argv[0] === 'pcap' && /device eth0 of pod .* is not in/.test(stderr);
    t.ok(
      code === 0 || (code === 1 && (argv[0] === 'why' || is_nowhere)),
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
