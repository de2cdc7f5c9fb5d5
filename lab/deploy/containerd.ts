/**
 * A containerd of the test's own: images from archives, containers by a configuration of the runtime. All of it is in one directory, but for the images where
 * CONTAINERD_ROOT names a directory that is kept: to unpack one takes minutes on a slow disk.
 */

import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { patience } from '../patience.js';
import { pathOf } from '../programs.js';
import type { ImageConfig } from './runtime-spec.js';

const start_ms = 30_000 * patience;

/** Debian's packages, by program. */
const programs: Readonly<Record<string, string>> = {
  containerd: 'containerd',
  ctr: 'containerd',
  runc: 'runc',
  unshare: 'util-linux',
  curl: 'curl',
};

/** Why no container can be run here; undefined: it can. */
export function whyNoContainerd(): string | undefined {
  if (process.getuid?.() !== 0) return 'needs root to run containers';
  const name = Object.keys(programs).find((program) => pathOf(program) === undefined);
  return name && `needs the program ${name} (Debian's package ${programs[name]})`;
}

export interface ImportedImage {
  readonly reference: string;
  readonly config: ImageConfig;
}

export interface ContainerEnd {
  readonly code: number | null;
  readonly said: string;
}

export class Containerd {
  readonly #directory: string;
  readonly #child: ChildProcess;
  readonly #mounted = new Set<string>();

  private constructor(directory: string) {
    this.#directory = directory;
    writeFileSync(
      join(directory, 'config.toml'),
      'version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n',
    );
    const log = openSync(join(directory, 'containerd.log'), 'a');
    const at = (name: string): string => join(directory, name);
    this.#child = spawn(
      'containerd',
      [
        '--config',
        at('config.toml'),
        '--root',
        process.env.CONTAINERD_ROOT ?? at('root'),
        '--state',
        at('state'),
        '--address',
        at('sock'),
      ],
      { stdio: ['ignore', log, log] },
    );
  }

  /** `directory`: an empty one of the caller, with a short path. */
  static async start(directory: string): Promise<Containerd> {
    const containerd = new Containerd(directory);
    const until = Date.now() + start_ms;
    while (!existsSync(join(directory, 'sock'))) {
      if (Date.now() > until || containerd.#child.exitCode !== null)
        throw new Error(
          `containerd does not start: ${readFileSync(join(directory, 'containerd.log'), 'utf8').slice(-2000)}`,
        );
      await sleep(50);
    }
    return containerd;
  }

  #ctr(...argv: readonly string[]): string {
    return execFileSync('ctr', ['--address', join(this.#directory, 'sock'), ...argv], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
      maxBuffer: 2 ** 26,
    });
  }

  /** `archive`: in OCI's layout. */
  image(archive: string): ImportedImage {
    const { digest, config } = imageIn(archive);
    const reference = `test.invalid/image:${digest.slice('sha256:'.length)}`;
    if (!this.#ctr('images', 'list', '--quiet').split('\n').includes(reference))
      this.#ctr('images', 'import', '--index-name', reference, archive);
    return { reference, config };
  }

  /** A file system for one container, with the image below: the runtime makes places for mounts in it before it is read only. */
  root(id: string, { reference }: ImportedImage): string {
    const root = join(this.#directory, `root-${id}`);
    mkdirSync(root);
    this.#ctr('images', 'mount', '--rw', reference, root);
    this.#mounted.add(root);
    return root;
  }

  /** Starts a container; its end has the exit code of its first process. */
  run(id: string, spec: object): { readonly ended: Promise<ContainerEnd>; said(): string } {
    const file = join(this.#directory, `${id}.json`);
    writeFileSync(file, JSON.stringify(spec));
    const argv = ['--address', join(this.#directory, 'sock'), 'run', '--rm', '--config', file, id];
    const child = spawn('ctr', argv, { stdio: ['ignore', 'pipe', 'pipe'] });
    let text = '';
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk: Buffer) => {
        text = (text + chunk.toString()).slice(-20_000);
      });
    const ended = once(child, 'close').then(([code]) => ({ code: code as number | null, said: text }));
    return { ended, said: () => text };
  }

  /** What a command prints that is run in a container, as \`kubectl exec\` runs it. Throws when it fails. */
  exec(id: string, ...argv: readonly string[]): Buffer {
    const words = ['tasks', 'exec', '--exec-id', `exec-${randomBytes(4).toString('hex')}`, id, ...argv];
    return execFileSync('ctr', ['--address', join(this.#directory, 'sock'), ...words], {
      stdio: ['ignore', 'pipe', 'pipe'],
      maxBuffer: 2 ** 26,
    });
  }

  /** As the kubelet stops a container: its first process gets the signal. */
  signal(id: string, name: 'SIGTERM' | 'SIGKILL'): void {
    this.#ctr('tasks', 'kill', '--signal', name, id);
  }

  /** Containers that run are to be ended before. */
  async close(): Promise<void> {
    for (const root of this.#mounted) this.#ctr('images', 'unmount', '--rm', root);
    if (this.#child.exitCode !== null) return;
    const exited = once(this.#child, 'exit');
    this.#child.kill('SIGTERM');
    await exited;
  }
}

interface Descriptor {
  readonly digest: string;
}

/** The one image in an archive. */
function imageIn(archive: string): { readonly digest: string; readonly config: ImageConfig } {
  const read = <T>(path: string): T =>
    JSON.parse(execFileSync('tar', ['-xOf', archive, path], { encoding: 'utf8', maxBuffer: 2 ** 26 })) as T;
  const blob = <T>({ digest }: Descriptor): T => read<T>(`blobs/${digest.replace(':', '/')}`);
  const [manifest] = read<{ manifests: Descriptor[] }>('index.json').manifests;
  const { config } = blob<{ config: ImageConfig }>(blob<{ config: Descriptor }>(manifest!).config);
  return { digest: manifest!.digest, config };
}
