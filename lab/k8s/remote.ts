import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface, type Interface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Fault } from './faults.js';
import type { RemoteWord } from './serve.js';
import type { Json } from './store.js';

const program = fileURLToPath(new URL('serve.js', import.meta.url));

/** Begins a process; where it lives is the caller's affair, its end too. */
export type Spawn = (argv: readonly string[]) => ChildProcess;

const here: Spawn = ([command = '', ...argv]) => spawn(command, argv, { stdio: ['pipe', 'pipe', 'inherit'] });

/** A stand-in API server in a process of its own, which may live in another network namespace, and be killed. */
export class RemoteApiServer {
  readonly #child: ChildProcess;
  readonly #lines: Interface;
  readonly #waiting: ((line: string) => void)[] = [];
  readonly #exit: Promise<unknown>;

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.#exit = once(child, 'exit');
    this.#lines = createInterface({ input: child.stdout! });
    this.#lines.on('line', (line) => this.#waiting.shift()?.(line));
  }

  /** Resolves when it serves. `account`: with TLS; a directory that gets the files of a service account. */
  static async start(
    address: string,
    port: number,
    spawned: Spawn = here,
    account?: string,
  ): Promise<RemoteApiServer> {
    const argv = [process.execPath, program, address, String(port)];
    const server = new RemoteApiServer(spawned(account === undefined ? argv : [...argv, account]));
    await server.#say({ do: 'ready' });
    return server;
  }

  async put(...objects: readonly Json[]): Promise<void> {
    for (const object of objects) await this.#say({ do: 'put', object });
  }

  async remove(...objects: readonly Json[]): Promise<void> {
    for (const object of objects) await this.#say({ do: 'remove', object });
  }

  async fault(fault: Fault): Promise<void> {
    await this.#say({ do: 'fault', fault });
  }

  /**
   * Does nothing wrong from now on; `cut`: all connections end; `stop`, `start`: and none are taken, with what it holds kept; `compact`: versions
   * so far are forgotten.
   */
  async does(what: 'mend' | 'cut' | 'stop' | 'start' | 'compact'): Promise<void> {
    await this.#say({ do: what });
  }

  /** By group and plural, and key. */
  async get(bucket: string, key: string): Promise<Json | undefined> {
    return ((await this.#say({ do: 'get', bucket, key })) as Json | null) ?? undefined;
  }

  /** Verbs and paths of the last thousand requests. */
  async requests(): Promise<readonly string[]> {
    return (await this.#say({ do: 'requests' })) as string[];
  }

  /** Its end without a word, as by a machine that is gone. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#exit;
    this.#lines.close();
  }

  #say(word: RemoteWord): Promise<unknown> {
    return new Promise((resolve) => {
      this.#waiting.push((line) => resolve(JSON.parse(line)));
      this.#child.stdin!.write(`${JSON.stringify(word)}\n`);
    });
  }
}
