/**
 * A real API server for custom resources, k8s.io/apiextensions-apiserver, on an etcd of its own: no other part of Kubernetes. It is built
 * from a Go module, outside of the repository (scripts/test-apiserver.ts).
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, createWriteStream, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { request } from 'node:https';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort } from '../free-port.js';
import { type CalicoVersion, calicoCrds } from './calico-crds.js';
import type { Json } from './store.js';

const sources = fileURLToPath(new URL('../../../lab/k8s/apiserver', import.meta.url));
const build_directory = join(
  process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'),
  'calico-vpp-node',
  'apiserver',
);
const start_ms_max = 180_000;

export interface RealApiServerPrograms {
  readonly server: string;
  readonly etcd: string;
}

/**
 * Where the programs are: `API_SERVER_BIN`, and `ETCD_BIN` or the path's. The text says what is missing. What was built is not looked for: the tests of it
 * run alone, by `npm run test:apiserver`, and not beside all others.
 */
export function findRealApiServer(): RealApiServerPrograms | string {
  const server = process.env.API_SERVER_BIN;
  const etcd = process.env.ETCD_BIN ?? 'etcd';
  if (server === undefined) return 'needs API_SERVER_BIN: npm run test:apiserver builds one, and sets it';
  if (!existsSync(server)) return `API_SERVER_BIN: there is no ${server}`;
  if (spawnSync(etcd, ['--version'], { stdio: 'ignore' }).status !== 0) return 'needs etcd (ETCD_BIN)';
  return { server, etcd };
}

/** Builds the server, some minutes the first time, and answers its path. Throws what Go says. */
export function buildRealApiServer(): string {
  mkdirSync(build_directory, { recursive: true });
  cpSync(sources, build_directory, { recursive: true });
  const go = (...args: readonly string[]): void => {
    execFileSync('go', args, { cwd: build_directory, stdio: 'inherit' });
  };
  go('mod', 'tidy');
  go('build', '-ldflags=-s -w', '-o', 'apiserver', '.');
  return join(build_directory, 'apiserver');
}

/** Ends early where the program that is to answer has ended. */
async function within(what: string, holds: () => Promise<boolean>, program?: ChildProcess): Promise<void> {
  const end = performance.now() + start_ms_max;
  while (!(await holds().catch(() => false))) {
    const { exitCode = null, signalCode = null } = program ?? {};
    if (exitCode !== null || signalCode !== null)
      throw new Error(`${what} has ended: ${exitCode ?? signalCode}; its log says why`);
    if (performance.now() > end) throw new Error(`${what}: not within ${start_ms_max / 1000} s`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGCONT');
  child.kill(signal);
  await once(child, 'exit');
}

const socket_path_bytes_max = 107;

/** A wire to a server that can be cut, and made slow. */
export class Wire {
  readonly #target: number;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  /** Connections are closed at once. */
  is_cut = false;
  /** Bytes of the server that pass in a turn of the event loop. */
  bytes_a_turn = Number.POSITIVE_INFINITY;

  constructor(target: number) {
    this.#target = target;
    this.#server = createServer((near) => this.#join(near));
  }

  async open(): Promise<number> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return (this.#server.address() as AddressInfo).port;
  }

  /** By a Unix socket, which is there for all network namespaces. */
  async openAt(path: string): Promise<void> {
    // Of a longer one the beginning would be bound, which nobody removes.
    if (Buffer.byteLength(path) > socket_path_bytes_max) throw new Error(`${path} is too long for a socket`);
    this.#server.listen(path);
    await once(this.#server, 'listening');
  }

  cut(): void {
    this.is_cut = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  async close(): Promise<void> {
    this.cut();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #join(near: Socket): void {
    if (this.is_cut) {
      near.destroy();
      return;
    }
    const far = connect(this.#target, '127.0.0.1');
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      this.#sockets.add(one);
      one.on('error', () => {});
      one.on('close', () => {
        this.#sockets.delete(one);
        other.destroy();
      });
    }
    near.pipe(far);
    void this.#carry(far, near);
  }

  async #carry(from: Socket, to: Socket): Promise<void> {
    try {
      for await (const chunk of from as AsyncIterable<Buffer>) {
        for (let at = 0; at < chunk.length; at += this.bytes_a_turn) {
          to.write(chunk.subarray(at, at + this.bytes_a_turn));
          if (this.bytes_a_turn < chunk.length) await new Promise((resolve) => setImmediate(resolve));
        }
        if (to.writableNeedDrain) await Promise.race([once(to, 'drain'), once(to, 'close')]);
      }
    } catch {
      // One of the two is gone: both are.
    }
    to.end();
  }
}

export class RealApiServer {
  readonly #programs: RealApiServerPrograms;
  readonly #directory: string;
  #etcd_port = 0;
  #etcd: ChildProcess | undefined;
  #server: ChildProcess | undefined;
  port = 0;

  /** Everything that is written goes below the directory. */
  constructor(programs: RealApiServerPrograms, directory: string) {
    this.#programs = programs;
    this.#directory = directory;
  }

  /** Its certificate, and the CA that signed it. */
  get ca(): string {
    return readFileSync(join(this.#directory, 'certs', 'apiserver.crt'), 'utf8');
  }

  async start(): Promise<void> {
    this.#etcd_port = await freePort();
    this.port = await freePort();
    const client = `http://127.0.0.1:${this.#etcd_port}`;
    this.#etcd = this.#run('etcd', this.#programs.etcd, [
      `--data-dir=${join(this.#directory, 'etcd')}`,
      `--listen-client-urls=${client}`,
      `--advertise-client-urls=${client}`,
      `--listen-peer-urls=http://127.0.0.1:${await freePort()}`,
    ]);
    await within('etcd', async () => (await fetch(`${client}/health`)).ok, this.#etcd);
    await this.startServer();
  }

  async startServer(): Promise<void> {
    this.#server = this.#run('apiserver', this.#programs.server, [
      `--etcd-servers=http://127.0.0.1:${this.#etcd_port}`,
      `--secure-port=${this.port}`,
      '--bind-address=127.0.0.1',
      `--cert-dir=${join(this.#directory, 'certs')}`,
      // Compaction is the test's.
      '--etcd-compaction-interval=0',
    ]);
    const isReady = async () => (await this.#ask('GET', '/readyz')).status === 200;
    await within('API server', isReady, this.#server);
  }

  async killServer(): Promise<void> {
    if (this.#server) await end(this.#server, 'SIGKILL');
  }

  signal(signal: 'SIGSTOP' | 'SIGCONT'): void {
    this.#server?.kill(signal);
  }

  async stop(): Promise<void> {
    await this.killServer();
    if (this.#etcd) await end(this.#etcd, 'SIGKILL');
  }

  async installCalico(version: CalicoVersion): Promise<void> {
    for (const definition of calicoCrds(version)) await this.create(definition);
    for (const definition of calicoCrds(version)) {
      const { plural } = (definition.spec as { names: { plural: string } }).names;
      await within(plural, async () => (await this.#ask('GET', `/apis/${version}/${plural}`)).status === 200);
    }
  }

  async create(object: Json): Promise<Json> {
    return this.#done('POST', collectionOf(object), object);
  }

  async patch(object: Json): Promise<Json> {
    return this.#done('PATCH', pathOf(object), object);
  }

  async remove(object: Json): Promise<void> {
    await this.#done('DELETE', pathOf(object));
  }

  /** Makes etcd forget all versions before this one. */
  async compact(version: string): Promise<void> {
    const response = await fetch(`http://127.0.0.1:${this.#etcd_port}/v3/kv/compaction`, {
      method: 'POST',
      body: JSON.stringify({ revision: version, physical: true }),
    });
    if (!response.ok) throw new Error(`etcd: ${await response.text()}`);
  }

  #run(name: string, program: string, args: readonly string[]): ChildProcess {
    mkdirSync(this.#directory, { recursive: true });
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    const log = createWriteStream(join(this.#directory, `${name}.log`), { flags: 'a' });
    child.stdout?.pipe(log, { end: false });
    child.stderr?.pipe(log, { end: false });
    child.on('error', () => {});
    return child;
  }

  async #done(method: string, path: string, body?: Json): Promise<Json> {
    const { status, text } = await this.#ask(method, path, body);
    if (status >= 300) throw new Error(`${method} ${path}: ${status} ${text}`);
    return JSON.parse(text) as Json;
  }

  #ask(
    method: string,
    path: string,
    body?: Json,
  ): Promise<{ readonly status: number; readonly text: string }> {
    return new Promise((resolve, reject) => {
      const type = method === 'PATCH' ? 'application/merge-patch+json' : 'application/json';
      const asked = request(
        {
          host: '127.0.0.1',
          port: this.port,
          path,
          method,
          rejectUnauthorized: false,
          agent: false,
          headers: { 'content-type': type },
        },
        (response) => {
          let text = '';
          response.setEncoding('utf8');
          response.on('data', (part: string) => {
            text += part;
          });
          response.on('error', reject);
          response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
        },
      );
      asked.on('error', reject);
      asked.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }
}

const plurals: ReadonlyMap<unknown, string> = new Map(
  calicoCrds('crd.projectcalico.org/v1').map((definition) => {
    const { kind, plural } = (definition.spec as { names: { kind: string; plural: string } }).names;
    return [kind, plural];
  }),
);

const collectionOf = (object: Json): string =>
  `/apis/${object.apiVersion}/${plurals.get(object.kind) ?? 'customresourcedefinitions'}`;

const pathOf = (object: Json): string =>
  `${collectionOf(object)}/${(object.metadata as { name: string }).name}`;
