import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { command_names } from '../../src/cli/commands.js';
import { systemClock } from '../../src/clock.js';
import { sampleTree } from '../debug/sample.js';
import { run } from './run-cli.js';

function directory(t: Test): string {
  const path = mkdtempSync(join(tmpdir(), 'cli-'));
  t.teardown(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

async function listening(t: Test, server: Server, path: string): Promise<void> {
  server.listen(path);
  await once(server, 'listening');
  t.teardown(() => new Promise((resolve) => server.close(resolve)));
}

t.test('subcommands reach their handlers with their options, and give their exit code', async (t) => {
  t.match(await run(['run']), { code: 7, calls: [['run', { operands: [] }]] });
  t.match(await run(['restore']), { code: 7, calls: [['restore', { options: {} }]] });
  t.match(await run(['check'], { A: 'b' }), { calls: [['check', { env: { A: 'b' } }]] });
  t.match(await run(['demo', '--stay']), { calls: [['demo', { options: { stay: true } }]] });
});

t.test('wrong usage is exit code 2, with what was probably meant', async (t) => {
  const table: [string[], RegExp][] = [
    [[], /a command is needed\nTry: calico-vpp-node --help\n/],
    [['stauts'], /"stauts" is not a command; did you mean status\?/],
    [['xyzzyx'], /"xyzzyx" is not a command\n/],
    [['tree', '--deep'], /Unknown option '--deep'[\s\S]*Try: calico-vpp-node tree --help\n/],
    [['tree', 'extra'], /Unexpected argument 'extra'/],
    [['vppctl', '--timeout', 'soon', 'show', 'int'], /--timeout takes a number of seconds/],
    [['vppctl'], /no command was given/],
  ];
  for (const [argv, message] of table) {
    const { code, stderr, stdout } = await run(argv);
    t.equal(code, 2, argv.join(' '));
    t.match(stderr, message);
    t.equal(stdout, '');
  }
  const env = { CALICOVPP_DEBUG_SOCKET: 'not/absolute' };
  t.match(await run(['tree'], env), { code: 2, stderr: /CALICOVPP_DEBUG_SOCKET/ });
});

t.test('every command explains itself', async (t) => {
  const general = await run(['--help']);
  t.equal(general.code, 0);
  for (const name of command_names) {
    t.match(general.stdout, `  ${name}`);
    const { code, stdout, calls } = await run([name, '--help']);
    t.equal(code, 0);
    t.match(stdout, `Usage: calico-vpp-node ${name} [options]`);
    t.strictSame(calls, []);
    t.equal((await run(['help', name])).stdout, stdout);
  }
  t.match((await run(['--version'])).stdout, /^calico-vpp-node \d+\.\d+\.\d+ \(node /);
});

t.test('nobody at the socket is exit code 3 and says what to look for', async (t) => {
  const dir = directory(t);
  for (const command of ['tree', 'status', 'services']) {
    const { code, stderr } = await run([command], { CALICOVPP_RUN_DIR: dir });
    t.equal(code, 3);
    t.match(stderr, `${dir}/debug.sock: there is no such socket`);
  }
  const { code, stderr } = await run(['vppctl', 'show', 'int'], { CALICOVPP_RUN_DIR: dir });
  t.equal(code, 3);
  t.match(stderr, `${dir}/cli.sock: there is no such socket: is VPP running here?`);
  writeFileSync(join(dir, 'file'), '');
  t.match(await run(['status', '--socket', join(dir, 'file')]), { code: 3, stderr: /nobody listens/ });
});

/** A node that answers with what the test wants, and notes what it was asked. */
async function fakeNode(t: Test, status: number, value: object) {
  const socket = join(directory(t), 'other.sock');
  const asked: string[] = [];
  const server = createHttpServer((request, response) => {
    asked.push(request.url!);
    response.writeHead(status).end(JSON.stringify(value));
  });
  await listening(t, server, socket);
  return { socket, asked, env: { CALICOVPP_DEBUG_SOCKET: socket } };
}

t.test('tree draws what the node answers', async (t) => {
  const answer = { as_of: '2030-01-01T00:00:00.000Z', main_loop: { blocked_ms: 0 }, tree: sampleTree };
  const { socket, asked, env } = await fakeNode(t, 200, answer);
  const drawn = await run(['tree'], env);
  t.equal(drawn.code, 0);
  t.match(drawn.stdout, /^node .*up 3d2h.*\n├─ vpp /);
  t.match((await run(['tree', '--ascii', '--socket', socket])).stdout, '\n|- vpp ');
  t.strictSame(JSON.parse((await run(['tree', '--json'], env)).stdout).tree.path, 'node');
  await run(['tree', '--depth=1', '--state', 'failed,backoff', '--min-mailbox', '3'], env);
  t.equal(asked.at(-1), '/debug/tree?depth=1&state=failed%2Cbackoff&min_mailbox=3');
});

t.test('services are a line each, one of them a line for each of its addresses', async (t) => {
  const plan = { service: 'shop/web', vips_unshown: 0, faults: [] };
  const cluster = { vip: 'tcp/10.96.0.1/80', kind: 'cluster', outcome: 'served', backends: 2 };
  const node_port = { vip: 'tcp/192.0.2.1/30080', kind: 'node_port', outcome: 'served', backends: 2 };
  const web = {
    vips: [
      {
        key: 'translation:tcp/10.96.0.1/80',
        state: 'programmed',
        desired: ['10.0.0.1 8080', '10.0.0.2 8080'],
        dumped: ['10.0.0.1 8080'],
      },
      { key: 'translation:tcp/192.0.2.1/30080', state: 'blocked: it is the host port of pod a/b' },
    ],
    conflicts: ['tcp 192.0.2.1 30080 is the host port of pod a/b'],
    plan: { ...plan, vips: [cluster, node_port], faults: ['annotation\u0007 dice'] },
  };
  const none = {
    vips: [{ key: 'translation:tcp/10.96.0.2/80', state: 'unserved: it has no endpoint' }],
    plan: { ...plan, vips: [{ ...cluster, outcome: 'refused', backends: 0 }] },
  };
  const all = await fakeNode(t, 200, {
    services: { 'shop/web': web, 'shop/none': none },
    service_count: 5,
    strays: ['translation:udp/10.96.0.9/53'],
    objects: { 'Service shop/odd': ['spec.ports[0].port: 0', 'and so on'] },
  });
  const lines = await run(['services'], all.env);
  t.equal(lines.code, 1, 'something is wrong');
  t.equal(
    lines.stdout,
    `\
SERVICE    STATE                    ADDRESSES  BACK ENDS  REASON
shop/web   1 programmed, 1 blocked  2          2          annotation  dice (and 1 more)
shop/none  unserved                 1          0          it has no endpoint
and 3 more; one of them is shown by its name
Service shop/odd: spec.ports[0].port: 0; and so on
translation:udp/10.96.0.9/53: VPP has it, and no service wants it
`,
  );
  t.equal(all.asked.at(-1), '/debug/services?');
  const one = await fakeNode(t, 200, { services: { 'shop/web': web }, service_count: 5 });
  const shown = await run(['services', '--dump', 'shop/web'], one.env);
  t.equal(one.asked.at(-1), '/debug/services?service=shop%2Fweb&dump=');
  t.equal(
    shown.stdout,
    `\
ADDRESS              KIND       BACK ENDS                     OF VPP         STATE
tcp/10.96.0.1/80     cluster    10.0.0.1 8080, 10.0.0.2 8080  10.0.0.1 8080  programmed
tcp/192.0.2.1/30080  node_port  -                             -              blocked: it is the host port of pod a/b
fault: annotation  dice
fault: tcp 192.0.2.1 30080 is the host port of pod a/b
`,
  );
  const well = await fakeNode(t, 200, { services: { 'shop/none': none }, service_count: 1 });
  t.equal((await run(['services'], well.env)).code, 0, 'that it has no endpoint is no fault of the node');
  t.match((await run(['services', '--json'], well.env)).stdout, '"service_count":1');
  for (const wrong of [
    { services: { 'shop/none': { ...none, plan: { ...none.plan, faults: ['dice'] } } } },
    { services: { 'shop/none': { vips: [{ key: 'k', state: 'waiting' }], plan: none.plan } } },
    { services: {}, strays: ['translation:udp/10.96.0.9/53'] },
    { services: {}, objects: { 'Service shop/odd': ['no port'] } },
  ])
    t.equal((await run(['services'], (await fakeNode(t, 200, { ...wrong, service_count: 1 })).env)).code, 1);
  const gone = await fakeNode(t, 200, { services: { 'shop/gone': { vips: [] } }, service_count: 1 });
  t.match(await run(['services', 'shop/gone'], gone.env), {
    code: 1,
    stdout: /shop\/gone: there is no such/,
  });
  t.match(await run(['services', 'shop'], well.env), { code: 2, stderr: /"shop" is no service/ });
  t.match(await run(['services', 'a/b', 'c/d'], well.env), { code: 2 });
  const without = await fakeNode(t, 503, { error: 'there is no actor services' });
  t.match(await run(['services'], without.env), { code: 1, stderr: /there is no actor services/ });
});

t.test('what the node refuses is said in its words', async (t) => {
  const { env } = await fakeNode(t, 400, { error: 'dead is not a state of an actor' });
  t.match(await run(['tree', '--state=dead'], env), { code: 2, stderr: /dead is not a state of an actor/ });
  const broken = await fakeNode(t, 503, { error: 'tree cannot be read' });
  t.match(await run(['tree'], broken.env), { code: 1, stderr: /tree cannot be read/ });
});

t.test('status is the node at a glance, and its exit code readiness', async (t) => {
  const status = {
    healthy: true,
    ready: false,
    components: {},
    message: 'policies: Felix is silent',
    lastUpdate: '2030-01-01T00:00:00.000Z',
    node: 'node1',
    version: '1.2.3',
    uptime_ms: 266_400_000,
    main_loop: { blocked_ms: 0 },
    conditions: [
      { name: 'vpp', ok: true, since_ms: Date.UTC(2029, 11, 31), reason: '' },
      {
        name: 'policies',
        ok: false,
        since_ms: Date.UTC(2029, 11, 31, 23, 59, 48),
        reason: 'Felix is silent',
      },
    ],
    vpp: { pid: 412, version: 'v26.10', generation: 2, files: { open: 41, max: 1024 } },
    uplinks: [{ name: 'eth0', driver: 'dpdk' }],
    pods: { count: 14, max: 110 },
    actors: { running: 23, backoff: 1 },
    troubled: [{ path: 'node/policies', state: 'backoff', detail: 'starts again\u0007soon' }],
  };
  const { env } = await fakeNode(t, 503, status);
  const { code, stdout } = await run(['status'], env);
  t.equal(code, 1);
  t.equal(
    stdout,
    `\
node     node1
ready    no: policies: Felix is silent
up       3d2h
version  1.2.3
vpp      v26.10  pid 412  generation 2  41 of 1024 files open
uplinks  eth0 (dpdk)
pods     14 of 110
actors   23 running, 1 backoff

CONDITION  OK   SINCE  REASON
vpp        yes  1d
policies   no   12s    Felix is silent

TROUBLED       STATE    WHY
node/policies  backoff  starts again soon
`,
  );
  const ready = await fakeNode(t, 200, {
    ...status,
    ready: true,
    vpp: { pid: 0, version: '', generation: 0 },
    services: { count: 3, in_vpp: 12, refused: 1 },
  });
  const good = await run(['status'], ready.env);
  t.equal(good.code, 0);
  t.match(good.stdout, 'ready     yes\n');
  t.match(good.stdout, 'vpp       not running\n');
  t.match(good.stdout, 'services  3  12 objects in VPP  1 refused\n');
});

/** Time for the other side of a local socket to answer, if it wants to. */
async function turns(): Promise<void> {
  for (let i = 0; i < 50; i += 1) await new Promise((resolve) => setImmediate(resolve));
}

/** VPP's side of the command line socket, as it was seen on a real one. */
async function fakeVpp(t: Test, answer: (line: string, socket: Socket) => string | undefined) {
  const dir = directory(t);
  const received: string[] = [];
  const server = createServer((socket) => {
    socket.write(Buffer.from('fffd18fffa1801fff0', 'hex'));
    let greeted = false;
    let busy = false;
    socket.on('data', async (chunk) => {
      t.notOk(busy, 'nothing is sent before the NUL that ends an answer');
      let text = chunk.toString('latin1');
      if (!greeted) {
        t.ok(text.startsWith('\xff\xfa\x18\0vppctl\xff\xf0'), 'the terminal type comes first');
        text = text.slice(12);
        greeted = true;
      }
      // As VPP does it: all lines of one read are words of one command.
      const line = text.trim();
      if (line === '') return;
      received.push(line);
      if (line === 'quit') socket.end();
      else {
        const output = answer(line, socket);
        if (output === undefined) return;
        busy = true;
        socket.write(output);
        await turns();
        busy = false;
        socket.write('\0');
      }
    });
  });
  await listening(t, server, join(dir, 'cli.sock'));
  return { env: { CALICOVPP_RUN_DIR: dir }, received };
}

t.test('vppctl runs one command and prints its output alone', async (t) => {
  const { env, received } = await fakeVpp(t, (line) => (line.startsWith('show') ? 'a\r\nb\r\n' : ''));
  const { code, stdout } = await run(['vppctl', 'show', 'int', '--verbose', '-s'], env);
  t.equal(code, 0);
  t.equal(stdout, 'a\r\nb\r\n');
  t.strictSame(received, ['show int --verbose -s', 'quit'], "options after the first word are VPP's");
  t.match(await run(['vppctl', 'set', 'x'], env), { code: 0, stdout: '' });
});

t.test('vppctl runs the lines of standard input one after the other', async (t) => {
  const { env, received } = await fakeVpp(t, (line) => `${line}!\n`);
  const { stdout } = await run(['vppctl', '--timeout', '5'], env, 'show a\n\n show b\nshow c');
  t.equal(stdout, 'show a!\nshow b!\nshow c!\n');
  t.strictSame(received, ['show a', 'show b', 'show c', 'quit']);
});

t.test('a VPP that is silent, or goes away, is an error that says so', async (t) => {
  const silent = await fakeVpp(t, () => undefined);
  t.match(await run(['vppctl', '--timeout=0.05', 'show', 'x'], silent.env), {
    code: 3,
    stderr: /VPP has been silent for 50 ms/,
  });
  const dying = await fakeVpp(t, (_line, socket) => {
    socket.end();
    return undefined;
  });
  t.match(await run(['vppctl', 'show', 'x'], dying.env), {
    code: 3,
    stderr: /closed the connection before it had answered/,
  });
});

const { VPP_BIN } = process.env;

async function startVpp(t: Test, dir: string): Promise<void> {
  const config = join(dir, 'startup.conf');
  writeFileSync(
    config,
    `unix { nodaemon cli-listen ${dir}/cli.sock poll-sleep-usec 100 runtime-dir ${dir} }
     socksvr { socket-name ${dir}/api.sock } statseg { socket-name ${dir}/stats.sock }
     cpu { workers 0 } buffers { buffers-per-numa 16384 page-size 4K }
     plugins { plugin default { disable } }`,
  );
  const vpp: ChildProcess = spawn(VPP_BIN!, ['-c', config], { stdio: 'ignore' });
  t.teardown(async () => {
    vpp.kill('SIGKILL');
    await once(vpp, 'exit');
  });
  while (!existsSync(join(dir, 'cli.sock'))) {
    if (vpp.exitCode !== null) throw new Error(`VPP ended with ${vpp.exitCode}`);
    await systemClock.sleep(50);
  }
}

t.test(
  'vppctl talks to a real VPP as to the one that is simulated here',
  { skip: VPP_BIN === undefined && 'needs VPP_BIN' },
  async (t) => {
    const dir = directory(t);
    await startVpp(t, dir);
    const env = { CALICOVPP_RUN_DIR: dir };
    const version = await run(['vppctl', 'show', 'version'], env);
    t.equal(version.code, 0);
    t.match(version.stdout, /^vpp v\d/);
    t.match(await run(['vppctl', 'create', 'loopback', 'interface'], env), { code: 0, stdout: /^loop0/ });
    t.match(await run(['vppctl', 'set', 'interface', 'state', 'loop0', 'up'], env), { code: 0, stdout: '' });
    const script = await run(['vppctl'], env, 'show version\nbogus\nshow interface\n');
    t.match(script.stdout, /^vpp v\d[\s\S]*unknown input `bogus'[\s\S]*loop0 +1 +up/);
  },
);
