/**
 * The bgp group of a node with a real gobgpd in a namespace of its own. The API server, the uplink and connectivity are not there: a test says what the
 * first two tell, and reads what the last one was told.
 */

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect, DisconnectedError, type Gobgp, type Peer } from 'gobgp-grpc-stubs';
import { patience } from '../../lab/patience.js';
import {
  type ActorRef,
  type ActorSystem,
  type ChildSpec,
  createActorSystem,
  type Reply,
} from '../../src/actor-system.js';
import { bgp } from '../../src/actors/bgp.js';
import { bgpProcess } from '../../src/actors/bgp-process.js';
import { createGobgpdLauncher, type GobgpdLauncher, versionOf } from '../../src/bgp/launcher.js';
import { type BgpPace, bgp_pace } from '../../src/bgp/pace.js';
import { type KindName, type Kinds, kinds, type ListedKind } from '../../src/calico/kinds/kinds.js';
import { systemClock } from '../../src/clock.js';
import { Secret } from '../../src/config/secret.js';
import type { OwnSids } from '../../src/desired/srv6.js';
import { bootId, listensAt, processRunningAs, processStartTime } from '../../src/host/devices/sysfs.js';
import { watchExit } from '../../src/host/process-exit.js';
import type { BgpMessage, BgpProcessMessage } from '../../src/messages/bgp.js';
import type { AnyChange, ClusterChange, ClusterMessage } from '../../src/messages/cluster.js';
import type { RemoteRoutes, SidsProgrammed, SubscribeSids } from '../../src/messages/connectivity.js';
import type { NodeReady, NodeStatus, SubscribeNode } from '../../src/messages/node.js';
import { KeptLog } from '../kit/actor-kit.js';

/** gobgpds to test with, by what they say of themselves: those of the variables, of the PATH, and of /opt. */
export async function gobgpds(): Promise<
  readonly {
    readonly binary: string;
    readonly version: string;
    readonly major: string;
  }[]
> {
  const paths = [process.env.GOBGPD_3 ?? '/usr/bin/gobgpd', process.env.GOBGPD_4 ?? '/opt/gobgp4/gobgpd'];
  const all = await Promise.all(paths.map(async (binary) => ({ binary, found: await versionOf(binary) })));
  return all.flatMap(({ binary, found }) => {
    if ('reason' in found) return [];
    return [{ binary, version: found.version, major: /(\d+)\./.exec(found.version)?.[1] ?? '' }];
  });
}

export interface BgpNodeOptions {
  readonly name: string;
  /** The namespace. */
  readonly within: string;
  readonly ip4?: string;
  readonly ip6?: string;
  readonly binary: string;
  /** It does SRv6: `sids`. */
  readonly srv6?: true;
  /** Where a test is to wait less. */
  readonly pace?: Partial<BgpPace>;
}

/** What the session says of itself, as far as tests look at it. */
export interface Described {
  readonly trouble?: string;
  readonly routes: { readonly peers_waited_for: number };
  readonly objects: Readonly<Record<string, readonly string[]>>;
}

/** The spec of an object as YAML has it. */
export type Manifest = Readonly<Record<string, unknown>>;

export class BgpNode {
  readonly directory = mkdtempSync(join(tmpdir(), 'bgp-node-'));
  readonly log = new KeptLog();
  /** Routes that connectivity has taken in. */
  readonly routes = new Map<string, string>();
  /** In order: `+10.1.0.0/24 10.0.0.2`, `-10.1.0.0/24`, `synced`. */
  readonly told: string[] = [];
  synced = false;
  readonly launcher: GobgpdLauncher;
  #system!: ActorSystem;
  #subscriber: ActorRef<ClusterChange> | undefined;
  readonly #objects = new Map<KindName, Map<string, unknown>>();
  readonly #secrets = new Map<string, Kinds['Secret']>();
  #wanted: readonly string[] = [];
  #sids: OwnSids | undefined;
  #sids_subscriber: ActorRef<SidsProgrammed> | undefined;
  readonly #options: BgpNodeOptions;

  constructor(options: BgpNodeOptions) {
    this.#options = options;
    this.launcher = createGobgpdLauncher(
      {
        binary: options.binary,
        api_socket: this.socket,
        log_level: 'debug',
        record: join(this.directory, 'gobgpd-run.json'),
        output: this.output,
        within: ['ip', 'netns', 'exec', options.within],
      },
      {
        boot_id: bootId() ?? 'unknown',
        startTime: (pid) => processStartTime(pid)?.toString(),
        runningAs: (words) => processRunningAs(words),
        watchExit: (pid, ended) => void watchExit(pid, ended),
        isListening: listensAt,
      },
      this.log,
    );
  }

  get socket(): string {
    return join(this.directory, 'api', 'gobgp.sock');
  }

  get output(): string {
    return join(this.directory, 'gobgpd.log');
  }

  get address(): string {
    return this.#options.ip4 ?? this.#options.ip6 ?? '';
  }

  /** A life of the process. Its gobgpd is adopted where there is one. */
  async start(): Promise<this> {
    const { name, ip4, ip6 } = this.#options;
    this.#system = createActorSystem({
      name: 'root',
      clock: systemClock,
      log: this.log,
      escalated: (error) => this.log.fatal({ err: error }, 'escalated'),
    });
    const ready: NodeReady = {
      type: 'NodeReady',
      generation: 1,
      vpp: 'vpp',
      mtu: 1500,
      node: { ...(ip4 && { ip4 }), ...(ip6 && { ip6 }) },
      main_uplink: 'main-eth0',
      subnets: {},
      redirects: [],
      buffers_taken: 0,
      workers: 0,
    };
    const uplink = await this.#standIn<SubscribeNode>('uplink', ({ subscriber }) => {
      (subscriber as ActorRef<NodeStatus>).tellUrgent(ready);
    });
    const cluster = await this.#standIn<ClusterMessage>('cluster', (message) => {
      if (message.type === 'WantSecrets') {
        this.#wanted = message.names;
        this.#tellSecrets();
      } else {
        this.#subscriber = message.subscriber;
        for (const kind of message.kinds)
          if (kind !== 'Secret') this.#tell(kind, new Map(this.#objects.get(kind) ?? []));
      }
    });
    const connectivity = await this.#standIn<RemoteRoutes | SubscribeSids>('connectivity', (message) => {
      if (message.type === 'SubscribeSids') {
        this.#sids_subscriber = message.subscriber as unknown as ActorRef<SidsProgrammed>;
        return this.sids(this.#sids);
      }
      const { changed, synced, reply } = message;
      for (const [prefix, route] of changed) {
        this.told.push(route === undefined ? `-${prefix}` : `+${prefix} ${route.next_hops.join(' ')}`);
        if (route === undefined) this.routes.delete(prefix);
        else this.routes.set(prefix, route.next_hops.join(' '));
      }
      if (synced && !this.synced) this.told.push('synced');
      this.synced = synced;
      reply.resolve();
    });
    const daemon = this.#system.ref<BgpProcessMessage>('root/bgp-process');
    await this.#system.spawn(bgpProcess(this.launcher));
    await this.#system.spawn<BgpMessage>(
      bgp(
        {
          process: daemon,
          uplink,
          cluster,
          connectivity,
          ...(this.#options.srv6 && { sids: connectivity }),
          connect: ({ api_socket, version }, signal) => connect({ target: api_socket, version, signal }),
          waited_ms: () => 0,
          canListenOn6: async () => false,
          report: () => undefined,
        },
        {
          ...bgp_pace,
          node_name: name,
          ip4_only: false,
          log_level: 'debug',
          ...this.#options.pace,
        },
      ),
    );
    return this;
  }

  /** The process ends, its gobgpd lives on. */
  async stop(): Promise<void> {
    this.synced = false;
    await this.#system.stop();
  }

  async close(): Promise<void> {
    await this.stop();
    const run = await this.launcher.adopt();
    if (run !== undefined) {
      this.launcher.end(run);
      await run.exited;
    }
    rmSync(this.directory, { recursive: true, force: true });
  }

  /** pid of the gobgpd. */
  get pid(): number {
    return (JSON.parse(readFileSync(join(this.directory, 'gobgpd-run.json'), 'utf8')) as { pid: number }).pid;
  }

  /** An object as it is from now on; undefined: gone. What the reader of its kind finds wrong is an error of the test. */
  set(kind: ListedKind, name: string, manifest: Manifest | undefined): this {
    const objects = this.#objects.get(kind) ?? new Map<string, unknown>();
    this.#objects.set(kind, objects);
    const picked =
      manifest === undefined
        ? { value: undefined, faults: [] }
        : kinds[kind].pick(name, { metadata: { name }, ...manifest });
    if (picked.faults.length > 0) throw new Error(`${kind} ${name}: ${picked.faults.join('; ')}`);
    if (picked.value === undefined) objects.delete(name);
    else objects.set(name, picked.value);
    this.#tell(kind, new Map([[name, picked.value]]));
    return this;
  }

  secret(name: string, values: Readonly<Record<string, string>> | undefined): this {
    if (values === undefined) this.#secrets.delete(name);
    else
      this.#secrets.set(
        name,
        new Map(Object.entries(values).map(([key, value]) => [key, new Secret(value)])),
      );
    this.#tellSecrets();
    return this;
  }

  /** Those that its VPP has, from now on. */
  sids(own: OwnSids | undefined): void {
    this.#sids = own;
    this.#sids_subscriber?.tell({ type: 'SidsProgrammed', own });
  }

  describe(): Promise<Described> {
    return this.#system.describe('root/bgp-session', 5000 * patience) as Promise<Described>;
  }

  /** Calls its gobgpd as a client beside the session. */
  async ask<T>(question: (gobgp: Gobgp) => Promise<T>): Promise<T> {
    const gobgp = await connect({ target: this.socket });
    try {
      return await question(gobgp);
    } finally {
      gobgp.close();
    }
  }

  async peer(address: string): Promise<Peer | undefined> {
    return this.ask(async (gobgp) => {
      for await (const { peer } of gobgp.listPeer({ address })) return peer;
      return undefined;
    });
  }

  /** Not while its gobgpd is on its way to come back. */
  async established(address: string): Promise<boolean> {
    try {
      return (await this.peer(address))?.state?.session_state === 'established';
    } catch (error) {
      if (error instanceof DisconnectedError) return false;
      throw error;
    }
  }

  #tell(kind: ListedKind, changed: ReadonlyMap<string, unknown>): void {
    this.#send({ kind, synced: true, changed } as AnyChange);
  }

  #tellSecrets(): void {
    const changed = new Map(this.#wanted.map((name) => [name, this.#secrets.get(name)]));
    this.#send({ kind: 'Secret', synced: true, changed });
  }

  #send(change: AnyChange): void {
    const reply: Reply<void> = {
      resolve: () => {},
      reject: () => {},
      deadline_ms: Infinity,
      expired: () => false,
    };
    this.#subscriber?.tell({ type: 'ClusterChange', change, reply });
  }

  #standIn<M extends { readonly type: string }>(
    name: string,
    receive: (message: M) => void,
  ): Promise<ActorRef<M>> {
    const spec: ChildSpec<M> = {
      name,
      restart: 'permanent',
      shutdown_ms: 1000,
      mailbox_max: 10_000,
      handler_ms_max: 1000,
      start: () => ({ receive }),
    };
    return this.#system.spawn(spec);
  }
}

/** Asks until there is an answer. */
export async function until<T>(
  what: string,
  ask: () => T | Promise<T>,
  limit_ms = 30_000 * patience,
): Promise<Exclude<T, false | undefined>> {
  for (const start = Date.now(); ; await sleep(100)) {
    const answer = await ask();
    if (answer) return answer as Exclude<T, false | undefined>;
    if (Date.now() - start > limit_ms) throw new Error(`not within ${limit_ms} ms: ${what}`);
  }
}
