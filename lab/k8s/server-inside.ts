/** A stand-in API server in a namespace of a lab, for nodes that are in others. */
import type { ChildProcess } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Inside } from '../site.js';
import type { ServerRequest } from './server-agent.js';
import type { Json, Resource } from './store.js';

const program = fileURLToPath(new URL('server-agent.js', import.meta.url));
const answer_ms = 20_000;
const port = 6443;

type Told = { readonly id: number; readonly answer?: unknown; readonly error?: string };

export class ServerInside {
  readonly #child: ChildProcess;
  readonly #url: string;
  readonly #waiting = new Map<number, (told: Told) => void>();
  #last = 0;

  private constructor(child: ChildProcess, url: string) {
    this.#child = child;
    this.#url = url;
    child.on('message', (told: Told) => {
      this.#waiting.get(told.id)?.(told);
      this.#waiting.delete(told.id);
    });
  }

  /** Resolves when it listens; `address` is one of the namespace. */
  static async start(lab: Inside, namespace: string, address: string): Promise<ServerInside> {
    const argv = [process.execPath, program, address, `${port}`];
    const child = lab.spawn(namespace, argv, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    const server = new ServerInside(child, `http://${address}:${port}`);
    await server.#answer(0);
    return server;
  }

  /** Objects are there, new or not. */
  async put(...objects: readonly Json[]): Promise<void> {
    await this.#ask({ do: 'put', objects });
  }

  async remove(...objects: readonly Json[]): Promise<void> {
    await this.#ask({ do: 'remove', objects });
  }

  get(resource: Pick<Resource, 'group' | 'plural'>, name: string): Promise<Json | undefined> {
    return this.#ask({ do: 'get', resource, name }) as Promise<Json | undefined>;
  }

  async serve(on: boolean): Promise<void> {
    await this.#ask({ do: 'serve', on });
  }

  /** A kubeconfig for it in this directory; answers its path. */
  kubeconfig(directory: string): string {
    const path = join(directory, 'kubeconfig.json');
    const name = 'lab';
    writeFileSync(
      path,
      JSON.stringify({
        apiVersion: 'v1',
        kind: 'Config',
        // Without TLS: the client library wants to be told that this is meant.
        clusters: [{ name, cluster: { server: this.#url, 'insecure-skip-tls-verify': true } }],
        users: [{ name, user: {} }],
        contexts: [{ name, context: { cluster: name, user: name } }],
        'current-context': name,
      }),
    );
    return path;
  }

  close(): void {
    this.#child.kill('SIGKILL');
  }

  async #ask(request: ServerRequest): Promise<unknown> {
    this.#last += 1;
    const answer = this.#answer(this.#last);
    this.#child.send({ id: this.#last, request });
    return answer;
  }

  #answer(id: number): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => {
        this.#waiting.delete(id);
        reject(new Error(`the API server of the lab has not answered within ${answer_ms} ms`));
      }, answer_ms);
      this.#waiting.set(id, ({ answer, error }) => {
        clearTimeout(late);
        if (error === undefined) resolve(answer);
        else reject(new Error(error));
      });
    });
  }
}
