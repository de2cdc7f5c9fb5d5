import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect, DisconnectedError, type Gobgp, parseVersion } from '../src/index.js';
import type { Dialect } from '../src/version.js';

/** A gobgpd's executable, and what it says of its version. */
export interface Binary {
  readonly path: string;
  readonly version: string;
}

/** GOBGPD_3 or GOBGPD_4; with BGP_TESTS=1 the gobgpd of the PATH if it is of that dialect: its minute is none of the other tests'. */
export function findGobgpd(dialect: Dialect): Binary | undefined {
  const { BGP_TESTS, [`GOBGPD_${dialect}`]: named } = process.env;
  for (const path of [named, BGP_TESTS === '1' ? 'gobgpd' : undefined]) {
    if (path === undefined) continue;
    const { stdout } = spawnSync(path, ['--version'], { encoding: 'utf8' });
    if (stdout && parseVersion(stdout)?.major === dialect) return { path, version: stdout.trim() };
  }
  return undefined;
}

/** A gobgpd of its own, with its API on a unix socket in a directory that goes with it. */
export class Daemon {
  gobgp!: Gobgp;
  readonly #directory = mkdtempSync(join(tmpdir(), 'gobgpd-'));
  #end: () => Promise<void> = async () => undefined;

  constructor(readonly binary: Binary) {}

  get socket(): string {
    return join(this.#directory, 'api.sock');
  }

  get log(): string {
    return join(this.#directory, 'log');
  }

  /** Starts it, and connects. */
  async start(): Promise<Gobgp> {
    rmSync(this.socket, { force: true });
    const child = spawn(
      'sh',
      [
        '-c',
        `exec "$0" --api-hosts "unix://${this.socket}" --pprof-disable -p -l debug >>"${this.log}" 2>&1`,
        this.binary.path,
      ],
      { stdio: 'ignore' },
    );
    const exited = once(child, 'exit');
    this.#end = async () => {
      this.gobgp?.close();
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
      await exited;
    };
    for (let tries = 0; ; tries++) {
      try {
        this.gobgp = await connect({ target: this.socket, version: this.binary.version });
        return this.gobgp;
      } catch (error) {
        if (!(error instanceof DisconnectedError) || tries === 400 || child.exitCode !== null) throw error;
        await sleep(50);
      }
    }
  }

  /** SIGKILL. */
  async kill(): Promise<void> {
    await this.#end();
    this.#end = async () => undefined;
  }

  async remove(): Promise<void> {
    await this.kill();
    rmSync(this.#directory, { recursive: true, force: true });
  }

  /** The end of its log, for a test that fails. */
  tail(): string {
    return readFileSync(this.log, 'utf8').slice(-3000);
  }
}

/** Asks until there is an answer, and returns it. */
export async function until<T>(
  what: string,
  ask: () => Promise<T>,
  limit_ms = 60_000,
): Promise<Exclude<T, false | undefined>> {
  for (const start = Date.now(); ; await sleep(50)) {
    const answer = await ask();
    if (answer) return answer as Exclude<T, false | undefined>;
    if (Date.now() - start > limit_ms) throw new Error(`not within ${limit_ms} ms: ${what}`);
  }
}

/** A TCP port that nobody has on this address, out of the range that the kernel takes ports of connections from: there it would not stay free. */
export async function freePort(host: string): Promise<number> {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 20_000);
    const server = createServer().listen(port, host);
    try {
      await once(server, 'listening');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EADDRINUSE') continue;
      throw error;
    }
    server.close();
    await once(server, 'close');
    return port;
  }
}
