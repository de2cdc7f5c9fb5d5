/**
 * A node that nobody here wrote: a plain namespace of Linux in which strongSwan does IKEv2, and of which the cluster's API server says what it says of
 * nodes. Debian's packages charon-systemd and strongswan-swanctl.
 */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Json } from './k8s/store.js';
import type { Nodes } from './nodes.js';
import { patience } from './patience.js';
import { PlainNode } from './plain-node.js';
import { pathOf } from './programs.js';
import type { Ends } from './topology.js';

const charon = '/usr/sbin/charon-systemd';

export type FoundStrongswan =
  | { readonly usable: true; readonly swanctl: string; readonly libipsec: boolean }
  | { readonly usable: false; readonly why: string };

export function findStrongswan(): FoundStrongswan {
  const swanctl = pathOf('swanctl', '/usr/sbin');
  if (swanctl === undefined || !existsSync(charon))
    return {
      usable: false,
      why: "needs strongSwan (Debian's packages charon-systemd and strongswan-swanctl)",
    };
  // ESP of its own, for a kernel that has none (libcharon-extra-plugins).
  const libipsec = existsSync('/usr/lib/ipsec/plugins/libstrongswan-kernel-libipsec.so');
  return { usable: true, swanctl, libipsec };
}

export interface Connection {
  readonly own: Required<Ends>;
  readonly other: Required<Ends>;
  readonly key: string;
  readonly ike?: string;
  readonly esp?: string;
  /** What is between these alone. */
  readonly selectors?: { readonly ip4: string; readonly ip6: string };
}

/** What the product proposes. */
const ike_default = 'aes256-sha1-prfsha256-modp2048';
const esp_default = 'aes256gcm16';

export class StrongswanNode extends PlainNode {
  readonly #found: Extract<FoundStrongswan, { usable: true }>;
  readonly #directory = mkdtempSync(join(tmpdir(), `cvn-${process.pid}-swan-`));
  #child: ChildProcess | undefined;

  constructor(nodes: Nodes, found: Extract<FoundStrongswan, { usable: true }>) {
    super(nodes);
    this.#found = found;
  }

  object(): Json {
    return this.told();
  }

  /** Its program runs, and knows nobody. `userspace`: it does ESP itself, in UDP. */
  async begin({ userspace = false } = {}): Promise<void> {
    const vici = this.#path('charon.vici');
    writeFileSync(
      this.#path('strongswan.conf'),
      `charon-systemd {
  install_routes = no
  retransmit_tries = 2
  retransmit_timeout = 1.0
  filelog { all { path = ${this.#path('log')} \n default = 1 \n ike = 2 \n cfg = 2 \n flush_line = yes } }
  journal { default = -1 }
  plugins {
    include /etc/strongswan.d/charon/*.conf
    vici { socket = unix://${vici} }
    kernel-libipsec { load = ${userspace ? 'yes' : 'no'} }
  }
}
swanctl { }\n`,
    );
    // What it listens by besides is below /run: of its own, as others may run there.
    const script = 'mount -t tmpfs none /run && exec "$@"';
    const argv = ['unshare', '--mount', '--propagation', 'slave', 'sh', '-c', script, 'sh', charon];
    this.#child = this.nodes.spawn(this.name, argv, {
      env: { ...process.env, STRONGSWAN_CONF: this.#path('strongswan.conf') },
      stdio: 'ignore',
    });
    const deadline = performance.now() + 10_000 * patience;
    while (!existsSync(vici)) {
      if (performance.now() > deadline || this.#child.exitCode !== null)
        throw new Error(`strongSwan does not begin: ${this.log().slice(-500)}`);
      await sleep(50);
    }
  }

  /** In the namespace of the node. */
  get pid(): number {
    return this.#child!.pid!;
  }

  /** Without a word to anybody. */
  async halt(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
    rmSync(this.#path('charon.vici'), { force: true });
  }

  async end(): Promise<void> {
    await this.halt();
    rmSync(this.#directory, { recursive: true, force: true });
  }

  /** One connection for each family, `ip4` and `ip6`, by which either end may begin. */
  async load({
    own,
    other,
    key,
    ike = ike_default,
    esp = esp_default,
    selectors,
  }: Connection): Promise<void> {
    const connections = (['ip4', 'ip6'] as const).map((family) => {
      const all = selectors?.[family] ?? (family === 'ip4' ? '0.0.0.0/0' : '::/0');
      return `${family} {
    version = 2
    mobike = no
    local_addrs = ${own[family]}
    remote_addrs = ${other[family]}
    proposals = ${ike}
    local { auth = psk \n id = ${own[family]} }
    remote { auth = psk \n id = ${other[family]} }
    children { ${family} { local_ts = ${all} \n remote_ts = ${all} \n esp_proposals = ${esp} } }
  }`;
    });
    const secrets = `ike-nodes { secret = "${key}" }`;
    const file = this.#path('swanctl.conf');
    writeFileSync(file, `connections {\n${connections.join('\n')}\n}\nsecrets { ${secrets} }\n`, {
      mode: 0o600,
    });
    const said = await this.swanctl('--load-all', '--noprompt', '--clear', '--file', file);
    if (!/successfully loaded 2 connections/.test(said)) throw new Error(said);
  }

  /** It begins, and answers what it says when that has come to something, or to nothing. */
  initiate(name: 'ip4' | 'ip6'): Promise<string> {
    return this.swanctl('--initiate', '--child', name, '--timeout', '10');
  }

  /** As `swanctl --list-sas` has them. */
  sas(): Promise<string> {
    return this.swanctl('--list-sas');
  }

  /** What it has written. */
  log(): string {
    const path = this.#path('log');
    return existsSync(path) ? readFileSync(path, 'utf8') : '';
  }

  async swanctl(command: string, ...argv: readonly string[]): Promise<string> {
    const words = [this.#found.swanctl, command, ...argv, '--uri', `unix://${this.#path('charon.vici')}`];
    const child = this.nodes.spawn(this.name, words, {
      env: { ...process.env, STRONGSWAN_CONF: this.#path('strongswan.conf') },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let said = '';
    for (const stream of [child.stdout!, child.stderr!])
      stream.setEncoding('utf8').on('data', (text: string) => {
        said += text;
      });
    await once(child, 'close');
    return said;
  }

  #path(name: string): string {
    return join(this.#directory, name);
  }
}
