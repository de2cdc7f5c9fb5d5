/** The socket that Felix' driver connects to, the driver where Felix starts it, and the files of endpoints: on this machine. */
import { once } from 'node:events';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { isStatusFileName, statusFileName } from '../../src/felix/status-file.js';
import type { FelixSocket } from '../../src/felix/stream.js';
import { installProgram } from '../../src/host/install-program.js';
import { StatusFiles } from '../../src/host/status-files.js';
import { listenFelix } from '../../src/node/felix.js';

function directory(t: Test): string {
  const made = mkdtempSync(join(tmpdir(), 'node-felix-'));
  t.teardown(() => rmSync(made, { recursive: true, force: true }));
  return made;
}

interface Heard {
  readonly socket: FelixSocket;
  readonly events: string[];
}

class Node {
  readonly connections: Heard[] = [];
  #wake: () => void = () => undefined;

  readonly accept = (socket: FelixSocket) => {
    const events: string[] = [];
    this.connections.push({ socket, events });
    const note = (event: string) => {
      events.push(event);
      this.#wake();
    };
    return {
      readable: () => note('readable'),
      drained: () => note('drained'),
      closed: (reason?: string) => note(`closed ${reason ?? ''}`.trim()),
    };
  };

  async until(is_true: () => boolean): Promise<void> {
    while (!is_true())
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
  }
}

t.test('the socket: an old one goes, a file does not, what listens is left alone', async (t) => {
  const path = join(directory(t), 'below', 'felix.sock');
  const node = new Node();
  const listen = () => listenFelix(path, node.accept, (error) => t.error(error));
  const first = await listen();
  t.equal(statSync(path).mode & 0o777, 0o600);
  await t.rejects(listen(), /is served by another process: stop it first/);
  await new Promise((resolve) => setImmediate(resolve));
  t.same(
    node.connections.map(({ events }) => events.filter((event) => event === 'readable')),
    [[]],
    'who looks whether somebody listens says nothing',
  );
  first.close();
  rmSync(path, { force: true });
  // As one that was killed leaves it.
  const killed = createServer().listen(`${path}.old`);
  await once(killed, 'listening');
  symlinkSync('/nowhere', path);
  await t.rejects(listen(), /is not a socket: remove it/);
  rmSync(path);
  writeFileSync(path, 'a file');
  await t.rejects(listen(), /is not a socket: remove it/);
  t.equal(readFileSync(path, 'utf8'), 'a file');
  killed.close();
  await t.rejects(
    listenFelix(join(directory(t), 'x'.repeat(120)), node.accept, () => undefined),
    /longer than the 107 bytes/,
  );
});

t.test('a connection: read when it is asked for, held up otherwise, and its end told', async (t) => {
  const path = join(directory(t), 'felix.sock');
  const node = new Node();
  const listener = await listenFelix(path, node.accept, (error) => t.error(error));
  t.teardown(() => listener.close());
  const felix = connect(path);
  felix.on('error', () => undefined);
  await once(felix, 'connect');
  const bytes = 8 * 2 ** 20;
  let drained = false;
  felix.write(Buffer.alloc(bytes, 7), () => {
    drained = true;
  });
  await node.until(() => node.connections[0]?.events.includes('readable') === true);
  for (let turn = 0; turn < 50; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  t.equal(drained, false, 'what is not read stays with Felix');
  t.same(node.connections[0]!.events, ['readable'], 'told once');
  const { socket, events } = node.connections[0]!;
  let count = 0;
  let told = 0;
  while (count < bytes) {
    const chunk = socket.read();
    if (chunk !== null) count += chunk.length;
    else {
      told = events.length;
      await node.until(() => events.length > told);
    }
  }
  t.equal(count, bytes);
  felix.end();
  socket.read();
  await node.until(() => events.includes('closed'));
  socket.close();
  t.equal(socket.write(Buffer.from('x')), false, 'a word to nobody is no error');
});

t.test('those that say nothing take no place of one that speaks, and are bounded', async (t) => {
  const path = join(directory(t), 'felix.sock');
  const node = new Node();
  const listener = await listenFelix(path, node.accept, (error) => t.error(error));
  t.teardown(() => listener.close());
  const felix = connect(path);
  felix.write('a word');
  await node.until(() => node.connections[0]?.events.includes('readable') === true);
  const silent = Array.from({ length: 40 }, () => connect(path));
  t.teardown(() => {
    for (const socket of silent) socket.destroy();
  });
  for (const socket of silent) socket.on('error', () => undefined);
  const closed = () => node.connections.filter(({ events }) => events.includes('closed')).length;
  await node.until(() => node.connections.length === 41 && closed() === 8);
  t.notOk(node.connections[0]!.events.includes('closed'));
  t.ok(node.connections[1]!.events.includes('closed'), 'the oldest of those that said nothing');
  felix.destroy();
});

t.test('the driver is where Felix starts it, whole, or not at all', async (t) => {
  const place = directory(t);
  const source = join(place, 'built');
  writeFileSync(source, 'program 1');
  const plugins = join(place, 'plugins');
  const path = join(plugins, 'felix-api-proxy');
  await t.rejects(installProgram(source, path), new RegExp(`${plugins} at it`));
  t.throws(() => statSync(plugins), 'a directory that nobody has mounted is not made');
  mkdirSync(plugins);
  t.equal(await installProgram(source, path), 'installed');
  t.match([readFileSync(path, 'utf8'), statSync(path).mode & 0o777], ['program 1', 0o755]);
  const { ino } = statSync(path);
  chmodSync(path, 0o600);
  t.equal(await installProgram(source, path), 'identical');
  t.match([statSync(path).ino, statSync(path).mode & 0o777], [ino, 0o755]);
  writeFileSync(source, 'program 2');
  // Of a life that was killed in the middle of it.
  writeFileSync(join(plugins, '.felix-api-proxy.tmp'), 'prog');
  t.equal(await installProgram(source, path), 'replaced');
  t.equal(readFileSync(path, 'utf8'), 'program 2');
  t.not(statSync(path).ino, ino, 'one that runs keeps its file');
  t.same(readdirSync(plugins), ['felix-api-proxy']);
  await t.rejects(
    installProgram(join(place, 'none'), path),
    /none cannot be read \(ENOENT\): it is a part of the image/,
  );
  t.equal(readFileSync(path, 'utf8'), 'program 2');
  mkdirSync(join(plugins, 'taken'));
  await t.rejects(installProgram(source, join(plugins, 'taken')), /taken cannot be written \(EISDIR\)/);
});

t.test(
  'files of endpoints follow what is wanted; what an earlier life left goes once all is known',
  async (t) => {
    const place = join(directory(t), 'run', 'endpoint-status');
    mkdirSync(place, { recursive: true });
    for (const name of [
      'k8s a%2Fold eth0',
      'k8s a%2Fkept eth0',
      'k8s a%2Fhalf eth0.tmp',
      'README',
      'k8s a eth0 more',
    ])
      writeFileSync(join(place, name), 'old');
    const files = new StatusFiles(place, isStatusFileName);
    const id = (workload: string) => statusFileName({ orchestrator: 'k8s', workload, endpoint: 'eth0' });
    files.set(id('a/kept'), '{"a":1}');
    files.set(id('a/gone'), '{}');
    files.set(id('a/gone'), undefined);
    await files.idle();
    t.same(readdirSync(place).sort(), [
      'README',
      'k8s a eth0 more',
      'k8s a%2Fhalf eth0.tmp',
      'k8s a%2Fkept eth0',
      'k8s a%2Fold eth0',
    ]);
    t.equal(readFileSync(join(place, 'k8s a%2Fkept eth0'), 'utf8'), '{"a":1}');
    files.sweep();
    await files.idle();
    t.same(readdirSync(place).sort(), ['README', 'k8s a eth0 more', 'k8s a%2Fkept eth0']);
    files.set(id(`a/${'x'.repeat(300)}`), '{}');
    files.set(id('a/next'), '{}');
    await files.idle();
    t.match([...files.faults.values()], [/ENAMETOOLONG.*waits for this pod in vain/]);
    t.ok(readdirSync(place).includes('k8s a%2Fnext eth0'), 'one that cannot be written costs no other');
    rmSync(place, { recursive: true });
    writeFileSync(place, 'a file in the way');
    files.set(id('a/later'), '{}');
    await files.idle();
    t.match([...files.faults.keys()], [/^k8s a%2Fx+ eth0$/, place]);
    rmSync(place);
    files.retry();
    await files.idle();
    t.ok(readdirSync(place).includes('k8s a%2Flater eth0'));
    t.notOk(files.faults.has(place));
  },
);

t.test('names are those of Go', (t) => {
  const of = (workload: string) => statusFileName({ orchestrator: 'k8s', workload, endpoint: 'eth0' });
  t.equal(of('default/web-0'), 'k8s default%2Fweb-0 eth0');
  t.equal(of("a b!'()*%$&+=:@~é;?,"), 'k8s a%20b%21%27%28%29%2A%25$&+=:@~%C3%A9%3B%3F%2C eth0');
  t.end();
});
