/**
 * A node that nobody here wrote: a plain namespace of Linux in which wireguard-go is WireGuard, and of which the cluster's API server says what it
 * says of nodes. WIREGUARD_GO names the executable, or it is on the PATH as `wireguard-go`.
 */
import type { ChildProcess } from 'node:child_process';
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { once } from 'node:events';
import { accessSync, constants } from 'node:fs';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { node_annotation } from '../src/calico/kinds/node.js';
import type { Json } from './k8s/store.js';
import { type Nodes, pools } from './nodes.js';
import { patience } from './patience.js';
import { PlainNode } from './plain-node.js';
import { pathOf } from './programs.js';

export type FoundWireguardGo =
  | { readonly usable: true; readonly binary: string }
  | { readonly usable: false; readonly why: string };

export function findWireguardGo(env: NodeJS.ProcessEnv = process.env): FoundWireguardGo {
  const binary = env.WIREGUARD_GO ?? pathOf('wireguard-go');
  if (binary === undefined)
    return { usable: false, why: 'needs wireguard-go: on the PATH, or named by WIREGUARD_GO' };
  try {
    accessSync(binary, constants.X_OK);
    accessSync('/dev/net/tun', constants.R_OK | constants.W_OK);
    return { usable: true, binary };
  } catch (error) {
    return { usable: false, why: `wireguard-go: ${(error as Error).message}` };
  }
}

/** As raw bytes. */
export interface WireguardPair {
  readonly private_key: Buffer;
  readonly public_key: Buffer;
}

export function wireguardPair(): WireguardPair {
  const { privateKey, publicKey } = generateKeyPairSync('x25519');
  const raw = (key: KeyObject, field: 'd' | 'x'): Buffer =>
    Buffer.from(key.export({ format: 'jwk' })[field]!, 'base64url');
  return { private_key: raw(privateKey, 'd'), public_key: raw(publicKey, 'x') };
}

/** What it says of its one peer. */
export interface PeerSeen {
  /** Undefined: none yet. */
  readonly handshake_ms: number | undefined;
  readonly endpoint: string;
}

const port = 51_820;
const link = 'wg0';

export class WireguardGoNode extends PlainNode {
  keys = wireguardPair();
  readonly #binary: string;
  #child: ChildProcess | undefined;

  constructor(nodes: Nodes, binary: string) {
    super(nodes);
    this.#binary = binary;
  }

  /** Base64. */
  get public_key(): string {
    return this.keys.public_key.toString('base64');
  }

  /** As the others are told of it; null: it has no key. */
  object(key: string | null = this.public_key): Json {
    if (key === null) return this.told();
    return this.told({ [node_annotation.wireguard_key]: key, [node_annotation.wireguard_key6]: key });
  }

  /** Its program runs, with its key and no peer. */
  async begin(): Promise<void> {
    // What it is told by is a socket below /run: of its own, as others may run there.
    const script = 'mount -t tmpfs none /run && exec "$@"';
    const argv = ['unshare', '--mount', '--propagation', 'slave', 'sh', '-c', script, 'sh'];
    this.#child = this.nodes.spawn(this.name, [...argv, this.#binary, '-f', link], { stdio: 'ignore' });
    const deadline = performance.now() + 10_000 * patience;
    while (!this.nodes.lab.succeeds(this.name, 'ip', 'link', 'show', link) || !(await this.#answers())) {
      if (performance.now() > deadline || this.#child.exitCode !== null)
        throw new Error('wireguard-go does not begin');
      await sleep(50);
    }
    await this.setKeys(this.keys);
    this.ip('link', 'set', link, 'mtu', '1420', 'up');
    for (const family of ['ip4', 'ip6'] as const)
      this.ip('route', 'add', pools[family], 'dev', link, 'src', this.pod[family]);
  }

  async end(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  }

  async setKeys(keys: WireguardPair): Promise<void> {
    this.keys = keys;
    await this.#tell(`private_key=${keys.private_key.toString('hex')}`, `listen_port=${port}`);
  }

  /** `public_key`: base64. Without an endpoint it knows not where that is before it is heard. */
  async setPeer(public_key: string, endpoint: string | undefined, allowed: readonly string[]): Promise<void> {
    await this.#tell(
      'replace_peers=true',
      `public_key=${Buffer.from(public_key, 'base64').toString('hex')}`,
      ...(endpoint === undefined ? [] : [`endpoint=${endpoint}:${port}`]),
      ...allowed.map((prefix) => `allowed_ip=${prefix}`),
    );
  }

  async peer(): Promise<PeerSeen> {
    const text = await this.#ask('get=1');
    const value = (name: string): string => new RegExp(`^${name}=(.*)$`, 'm').exec(text)?.[1] ?? '';
    const ms =
      Number(value('last_handshake_time_sec')) * 1000 + Number(value('last_handshake_time_nsec')) / 1e6;
    return { handshake_ms: ms === 0 ? undefined : ms, endpoint: value('endpoint') };
  }

  async #tell(...lines: readonly string[]): Promise<void> {
    const answer = await this.#ask('set=1', ...lines);
    if (!/^errno=0$/m.test(answer)) throw new Error(`wireguard-go: ${answer.trim()}`);
  }

  #answers(): Promise<boolean> {
    return this.#ask('get=1').then(
      () => true,
      () => false,
    );
  }

  async #ask(...lines: readonly string[]): Promise<string> {
    const socket = connect(`/proc/${this.#child!.pid}/root/run/wireguard/${link}.sock`);
    let text = '';
    try {
      await once(socket, 'connect');
      socket.write(`${lines.join('\n')}\n\n`);
      for await (const chunk of socket.setEncoding('utf8')) {
        text += chunk;
        if (text.endsWith('\n\n')) break;
      }
      return text;
    } finally {
      socket.destroy();
    }
  }
}
