/**
 * Programs that use VPP's host stack instead of Linux's, by `libvcl_ldpreload.so`, which VCL_LDPRELOAD names. And
 * iperf3 and nginx, which are started with it or without.
 */
import { type ChildProcess, execFile } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { patience } from './patience.js';
import { pathOf } from './programs.js';
import { waitFor } from './running-node.js';
import type { Site } from './site.js';

const library = 'libvcl_ldpreload.so';

/** Where the library is, or why it is not. */
export function findVcl(
  env: NodeJS.ProcessEnv = process.env,
): { readonly path: string } | { readonly why: string } {
  const named = env.VCL_LDPRELOAD ?? '';
  if (named === '') return { why: `needs VCL_LDPRELOAD, the path of VPP's ${library}` };
  return existsSync(named) ? { path: named } : { why: `VCL_LDPRELOAD: there is no ${named}` };
}

/** What iperf3 says of a run, as far as it is needed. */
export interface IperfRun {
  /** That arrived. */
  readonly bytes: number;
  readonly bits_per_second: number;
  /** Of datagrams that were sent. */
  readonly lost_percent: number;
}

interface IperfReport {
  readonly error?: string;
  readonly end?: {
    readonly sum_received?: { readonly bytes: number; readonly bits_per_second: number };
    readonly sum?: {
      readonly bytes: number;
      readonly bits_per_second: number;
      readonly lost_percent?: number;
    };
  };
}

export interface IperfOptions {
  readonly port: number;
  readonly udp?: boolean;
  /** The server sends. */
  readonly reverse?: boolean;
  readonly seconds?: number;
  /** Of UDP, in bits per second. */
  readonly rate?: string;
}

/** In which namespace, and whether it uses the host stack. */
export interface Place {
  readonly name: string;
  readonly vcl: boolean;
}

const start_ms = 20_000 * patience;

export class VclLab {
  readonly #directory = mkdtempSync(join(tmpdir(), 'vcl-'));
  readonly #topology: Pick<Site, 'inside' | 'spawn'>;
  readonly #path: string;
  readonly #children: ChildProcess[] = [];

  constructor(topology: Pick<Site, 'inside' | 'spawn'>, path: string) {
    this.#topology = topology;
    this.#path = path;
    writeFileSync(
      this.#conf,
      'vcl {\n  heapsize 64M\n  segment-size 134217728\n  add-segment-size 134217728\n  rx-fifo-size 1000000\n  tx-fifo-size 1000000\n' +
        '  app-scope-global\n  app-socket-api abstract:vpp/session\n}\n',
    );
  }

  get #conf(): string {
    return join(this.#directory, 'vcl.conf');
  }

  environment(vcl: boolean): NodeJS.ProcessEnv {
    return vcl ? { ...process.env, LD_PRELOAD: this.#path, VCL_CONFIG: this.#conf } : process.env;
  }

  spawn({ name, vcl }: Place, argv: readonly string[]): ChildProcess {
    // Not by way of a program that would use the host stack itself.
    const words = vcl ? ['env', `LD_PRELOAD=${this.#path}`, `VCL_CONFIG=${this.#conf}`, ...argv] : [...argv];
    const child = this.#topology.spawn(name, words, { stdio: ['ignore', 'ignore', 'ignore'] });
    this.#children.push(child);
    return child;
  }

  async run({ name, vcl }: Place, argv: readonly string[], timeout_ms: number): Promise<string> {
    const words = vcl ? ['env', `LD_PRELOAD=${this.#path}`, `VCL_CONFIG=${this.#conf}`, ...argv] : [...argv];
    const [command, args] = this.#topology.inside(name, words);
    return new Promise((resolve) => {
      execFile(
        command,
        args,
        { timeout: timeout_ms, killSignal: 'SIGKILL', maxBuffer: 1 << 24 },
        (_, stdout) => resolve(stdout),
      );
    });
  }

  /** A server that goes on, until `stop`. Of one family: what listens at :: in the host stack does not get IPv4. */
  async iperfServer(at: Place, port: number, family: 4 | 6): Promise<() => Promise<void>> {
    const child = this.spawn(at, ['iperf3', '-s', `-${family}`, '-p', String(port)]);
    return () => end(child);
  }

  /** Tried until the server listens. Throws what iperf3 says when it does not come about in time. */
  async iperf(from: Place, target: string, options: IperfOptions): Promise<IperfRun> {
    const { port, udp = false, reverse = false, seconds = 1, rate = '50M' } = options;
    const argv = ['iperf3', '-c', target, '-p', String(port), '-t', String(seconds), '-J'];
    argv.push('--connect-timeout', String(3000 * patience));
    if (udp) argv.push('-u', '-b', rate, '-l', '1200');
    if (reverse) argv.push('-R');
    let said = '';
    let run: IperfRun | undefined;
    await waitFor(
      async () => {
        const text = await this.run(from, argv, (seconds + 20) * 1000 * patience);
        said = text.slice(-400);
        run = iperfRun(text);
        return run !== undefined;
      },
      60_000 * patience,
      () => `iperf3 from ${from.name} to ${target} port ${port}: ${said}`,
    );
    return run!;
  }

  /** Asked once: whether a server answers. How much of so little it has read is chance. `source`: the address to ask from. */
  async isReached(from: Place, target: string, port: number, source?: string): Promise<boolean> {
    const argv = [
      'iperf3',
      '-c',
      target,
      '-p',
      String(port),
      '-n',
      '1000',
      '-J',
      '--connect-timeout',
      '2000',
    ];
    if (source !== undefined) argv.push('-B', source);
    const report = reportIn(await this.run(from, argv, 8000 * patience));
    return report !== undefined && report.error === undefined;
  }

  /** Answers who it is, and under which address it sees who asks, at these addresses; until `stop`. */
  nginx(at: Place, addresses: readonly string[], port: number): () => Promise<void> {
    const nginx = pathOf('nginx', '/usr/sbin') ?? 'nginx';
    const directory = mkdtempSync(join(this.#directory, 'nginx-'));
    const listen = addresses.map((address) =>
      address.includes(':') ? `listen [${address}]:${port};` : `listen ${address}:${port};`,
    );
    const conf = join(directory, 'nginx.conf');
    const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
      (each) => `${each}_temp_path ${directory}/${each};`,
    );
    writeFileSync(
      conf,
      `user root; daemon off; master_process off; worker_processes 1; pid ${directory}/pid; error_log ${directory}/error.log;\n` +
        `events { use epoll; accept_mutex off; multi_accept off; }\nhttp { access_log off; ${temporary.join(' ')}\nserver { ${listen.join(' ')} location / { return 200 "${at.name} to $remote_addr"; } } }\n`,
    );
    const child = this.spawn(at, [nginx, '-p', directory, '-c', conf]);
    return () => end(child);
  }

  /** Tried until it is answered. */
  async get(from: Place, address: string, port: number): Promise<string> {
    const host = address.includes(':') ? `[${address}]` : address;
    let text = '';
    await waitFor(
      async () => {
        text = await this.run(
          from,
          ['curl', '-s', '-g', '-m', String(5 * patience), `http://${host}:${port}/`],
          20_000 * patience,
        );
        return text !== '';
      },
      start_ms,
      () => `nobody answers at ${host}:${port}`,
    );
    return text.trim();
  }

  close(): void {
    for (const child of this.#children) child.kill('SIGKILL');
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

function iperfRun(text: string): IperfRun | undefined {
  const { error, end: ended } = reportIn(text) ?? {};
  const sum = ended?.sum_received ?? ended?.sum;
  if (error !== undefined || sum === undefined || sum.bytes === 0) return undefined;
  return {
    bytes: sum.bytes,
    bits_per_second: sum.bits_per_second,
    lost_percent: ended?.sum?.lost_percent ?? 0,
  };
}

function reportIn(text: string): IperfReport | undefined {
  try {
    return JSON.parse(text) as IperfReport;
  } catch {
    return undefined;
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'exit');
  child.kill('SIGKILL');
  await gone;
}
