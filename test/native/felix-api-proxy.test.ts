/** Felix's driver as Felix starts it: pipes 3 and 4, and a socket that may not be there yet. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { createActorSystem } from '../../src/actor-system.js';
import { type FelixReport, felixActor } from '../../src/actors/felix.js';
import { systemClock } from '../../src/clock.js';
import { frame } from '../../src/felix/frames.js';
import { isStatusFileName } from '../../src/felix/status-file.js';
import { installProgram } from '../../src/host/install-program.js';
import { StatusFiles } from '../../src/host/status-files.js';
import type { FelixStream } from '../../src/messages/felix.js';
import { listenFelix } from '../../src/node/felix.js';
import { fixture, recorded } from '../felix/stream.js';
import { KeptLog, supervision, takes_all } from '../kit/actor-kit.js';
import { needs } from '../kit/needs.js';

const build_script = fileURLToPath(new URL('../../../native/build.sh', import.meta.url));
const no_compiler = needs(spawnSync('cc', ['--version']).status === 0 ? undefined : 'no C compiler (cc)');

const directory = mkdtempSync(join(tmpdir(), 'felix-api-proxy-'));
t.teardown(() => rmSync(directory, { recursive: true, force: true }));
const program = join(directory, 'felix-api-proxy');

function build(): string {
  const { status, stderr } = spawnSync('sh', [build_script, program], { encoding: 'utf8' });
  return status === 0 ? '' : stderr;
}

interface Driver {
  readonly process: ChildProcess;
  readonly from_felix: Writable;
  readonly to_felix: Readable;
  readonly said: () => string;
}

function start(t: Test, socket: string, path = program): Driver {
  const process = spawn(path, [socket], { stdio: ['ignore', 'ignore', 'pipe', 'pipe', 'pipe'] });
  t.teardown(() => process.kill('SIGKILL'));
  let said = '';
  process.stderr!.on('data', (chunk) => {
    said += chunk;
  });
  const from_felix = process.stdio[3] as Writable;
  from_felix.on('error', () => {});
  return { process, from_felix, to_felix: process.stdio[4] as Readable, said: () => said };
}

async function listen(t: Test, path: string): Promise<Server> {
  const server = createServer({ pauseOnConnect: true });
  server.listen(path);
  await once(server, 'listening');
  t.teardown(() => server.close());
  return server;
}

async function received(stream: Readable, bytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let count = 0;
  for await (const chunk of stream.iterator({ destroyOnReturn: false })) {
    chunks.push(chunk);
    count += chunk.length;
    if (count >= bytes) break;
  }
  return Buffer.concat(chunks);
}

t.test('felix-api-proxy', no_compiler(), async (t) => {
  t.equal(build(), '', 'it compiles without a warning');
  t.ok(statSync(program).size < 2 ** 20, 'and is small');

  t.test('is static: it runs beside whatever libc', async (t) => {
    // ELF64: program headers of e_phnum at e_phoff; one of type PT_INTERP would name a loader.
    const elf = readFileSync(program);
    t.equal(elf.toString('latin1', 1, 4), 'ELF');
    const types = Array.from({ length: elf.readUInt16LE(56) }, (_, at) =>
      elf.readUInt32LE(Number(elf.readBigUInt64LE(32)) + at * elf.readUInt16LE(54)),
    );
    t.ok(types.includes(1), 'PT_LOAD');
    t.notOk(types.includes(3), 'PT_INTERP');
  });

  t.test('is replaced while it runs', async (t) => {
    const plugins = join(directory, 'plugins');
    mkdirSync(plugins);
    const path = join(plugins, 'felix-api-proxy');
    t.equal(await installProgram(program, path), 'installed');
    const socket = join(directory, 'replaced.sock');
    const server = await listen(t, socket);
    const running = start(t, socket, path);
    const [node] = (await once(server, 'connection')) as [Socket];
    const next = join(directory, 'next');
    writeFileSync(next, Buffer.concat([readFileSync(program), Buffer.from('a later release')]));
    t.equal(await installProgram(next, path), 'replaced');
    const stream = fixture('config.bin');
    running.from_felix.write(stream);
    t.ok((await received(node.resume(), stream.length)).equals(stream), 'the one that runs goes on');
    const after = start(t, socket, path);
    await once(server, 'connection');
    t.equal(after.process.exitCode, null, 'and the next start finds the next one');
  });

  t.test('moves a recording of Felix to the node, and the node’s answers back, byte by byte', async (t) => {
    const path = join(directory, 'moves.sock');
    const server = await listen(t, path);
    const driver = start(t, path);
    const [node] = (await once(server, 'connection')) as [Socket];
    // Many times what pipes and sockets hold, both ways at once, and the node reads late.
    const stream = Buffer.concat(Array.from({ length: 60 }, () => fixture('tiers.bin')));
    const answers = Buffer.concat(Array.from({ length: 600 }, () => fixture('status.from.bin')));
    driver.from_felix.write(stream);
    node.write(answers);
    const back = await received(driver.to_felix, answers.length);
    node.resume();
    const there = await received(node, stream.length);
    t.ok(there.equals(stream), `${there.length} of ${stream.length} bytes`);
    t.ok(back.equals(answers), `${back.length} of ${answers.length} bytes`);
    const ended = once(driver.process, 'exit');
    driver.from_felix.end();
    t.strictSame(await ended, [0, null], 'it ends with Felix');
  });

  t.test('waits for a node that does not listen yet, and has lost nothing', async (t) => {
    const path = join(directory, 'later', 'node.sock');
    const driver = start(t, path);
    const stream = fixture('config.bin');
    driver.from_felix.write(stream);
    await once(driver.process.stderr!, 'data');
    t.match(driver.said(), /node\.sock: .*waiting for calico-vpp-node/);
    mkdirSync(join(directory, 'later'));
    const server = await listen(t, path);
    const [node] = (await once(server, 'connection')) as [Socket];
    t.ok((await received(node.resume(), stream.length)).equals(stream));
    t.equal(driver.said().split('\n').length, 2, 'said once');
  });

  t.test('ends when Felix ends, whether the node listens, reads, or neither', async (t) => {
    const nobody = start(t, join(directory, 'nobody.sock'));
    await once(nobody.process.stderr!, 'data');
    const ended = once(nobody.process, 'exit');
    nobody.from_felix.destroy();
    t.strictSame(await ended, [0, null]);
    const path = join(directory, 'deaf.sock');
    const server = await listen(t, path);
    const deaf = start(t, path);
    await once(server, 'connection');
    // More than socket, buffer and pipe hold: it is held up by the node when Felix dies.
    deaf.from_felix.write(Buffer.alloc(2 ** 21));
    const gone = once(deaf.process, 'exit');
    deaf.from_felix.destroy();
    t.strictSame(await gone, [0, null]);
  });

  t.test('ends when the node closes: what it had read is lost to the next', async (t) => {
    const path = join(directory, 'closes.sock');
    const server = await listen(t, path);
    const driver = start(t, path);
    const [node] = (await once(server, 'connection')) as [Socket];
    const ended = once(driver.process, 'exit');
    node.destroy();
    t.strictSame(await ended, [0, null]);
  });

  t.test(
    'with the node behind it: whatever Felix says comes to policies, and nothing of it ends the node',
    async (t) => {
      const path = join(directory, 'node.sock');
      const told: FelixStream[] = [];
      let heard = () => {};
      const system = createActorSystem({
        name: 'root',
        clock: systemClock,
        log: new KeptLog(),
        supervision: supervision({ intensity: { restarts_max: 0, window_ms: 1000 } }),
        escalated: (reason) => t.error(reason),
      });
      t.teardown(() => system.stop());
      let report: (() => FelixReport) | undefined;
      const felix = await system.spawn(
        felixActor(
          {
            listen: (accept, failed) => listenFelix(path, accept, failed),
            install: async () => 'is not of interest',
            files: new StatusFiles(join(directory, 'status'), isStatusFileName),
            connectivity: takes_all,
            report: (made) => {
              report = made;
            },
          },
          { socket_path: path },
        ),
      );
      await system.spawn<FelixStream>({
        name: 'policies',
        restart: 'permanent',
        shutdown_ms: 1000,
        mailbox_max: 8,
        handler_ms_max: 1000,
        start: (ctx) => {
          felix.tell({ type: 'SubscribeFelix', subscriber: ctx.this_life });
          return {
            receive: (message) => {
              told.push(message);
              if (message.type === 'FelixTold') felix.tell({ type: 'FelixTaken', stream: message.stream });
              heard();
            },
          };
        },
      });
      const until = async (is_so: () => boolean): Promise<void> => {
        while (!is_so())
          await new Promise<void>((resolve) => {
            heard = resolve;
          });
      };
      const messages = () => told.flatMap((each) => (each.type === 'FelixTold' ? each.messages : []));
      const kinds = () =>
        told.map(({ type, stream }) => `${type} ${stream}`).filter((text) => !/Told/.test(text));

      const recording = fixture('tiers.bin');
      const expected = recorded('tiers').filter(({ kind }) => kind !== 'ignored');
      const first = start(t, path);
      first.from_felix.write(recording);
      await until(() => messages().length >= expected.length);
      t.strictSame(messages(), expected, `${expected.length} messages, by the driver as by the file`);
      t.match(report!().state, /tells what changes/);

      told.length = 0;
      const second = start(t, path);
      const ended = once(first.process, 'exit');
      second.from_felix.write(fixture('config.bin'));
      await until(() => kinds().length > 0);
      t.strictSame(kinds(), ['FelixBegan 2'], 'of two Felixes the newer one');
      t.strictSame(await ended, [0, null], 'the driver of the other has ended, and Felix with it');

      second.from_felix.write(recording.subarray(0, 1003));
      second.from_felix.end();
      await until(() => kinds().length > 1);
      t.strictSame(kinds(), ['FelixBegan 2', 'FelixEnded 2'], 'one that stops in the middle of a message');

      const third = start(t, path);
      const closed = once(third.process, 'exit');
      third.from_felix.write(
        Buffer.concat([frame(Uint8Array.of(0xff)), frame(new Uint8Array()), Buffer.alloc(64, 0x7f)]),
      );
      await until(() => kinds().length > 3);
      t.strictSame(kinds().slice(2), ['FelixBegan 3', 'FelixEnded 3'], 'an absurd length');
      t.strictSame(await closed, [0, null]);

      told.length = 0;
      const fourth = start(t, path);
      fourth.from_felix.write(recording);
      await until(() => messages().length >= expected.length);
      t.strictSame(messages(), expected, 'the next one is heard as the first was');
      felix.tell({
        type: 'EndpointStatuses',
        whole: true,
        statuses: [{ kind: 'host', id: 'node-eth0', state: 'up' }],
      });
      const answer = await received(fourth.to_felix, 8);
      t.ok(answer.toString('latin1').includes('node-eth0'), 'and is answered');
    },
  );
});
