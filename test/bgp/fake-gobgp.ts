/** A gobgpd in memory, behind the client's interface: keeps what it is told, and tells what a test says. */
import {
  type Gobgp,
  type GobgpError,
  type Path,
  parseVersion,
  RefusedError,
  type WatchEvent,
} from 'gobgp-grpc-stubs';

/** What the fake looks at of a peer; the rest is kept as it came. */
export interface FakePeer {
  readonly conf: { readonly neighbor_address: string; readonly auth_password?: string };
  readonly [field: string]: unknown;
}

interface Kept {
  readonly peer: FakePeer;
  session: string;
  told_all: boolean;
  up_since_ms: number;
}

interface FakeNlri {
  readonly prefix: string;
  readonly prefix_len: number;
}

export class FakeGobgp {
  /** Calls that change something, in order: `addPeer 10.0.0.2`. */
  readonly calls: string[] = [];
  peers = new Map<string, Kept>();
  readonly added: FakePeer[] = [];
  asn = 0;
  /** What the next calls of this name answer with. */
  readonly errors = new Map<string, Error[]>();
  #global: object = { asn: 0, router_id: '', listen_port: 0, listen_addresses: [] };
  #policies: { name: string; statements: readonly { name: string }[] }[] = [];
  readonly #assigned = new Map<string, { policies: readonly { name: string }[]; default_action: string }>();
  readonly #events: WatchEvent[] = [];
  #wake: () => void = () => undefined;
  #over = false;
  /** Events that were handed over. */
  taken = 0;
  #closed!: (error: GobgpError | undefined) => void;
  readonly closed = new Promise<GobgpError | undefined>((resolve) => {
    this.#closed = resolve;
  });

  constructor(readonly version_text = 'gobgpd version 4.8.0') {}

  /** The same gobgpd, for another connection. */
  again(): FakeGobgp {
    const next = new FakeGobgp(this.version_text);
    next.peers = this.peers;
    next.#global = this.#global;
    next.#policies = this.#policies;
    for (const [direction, assignment] of this.#assigned) next.#assigned.set(direction, assignment);
    return next;
  }

  get gobgp(): Gobgp {
    return this as unknown as Gobgp;
  }

  get version() {
    return parseVersion(this.version_text)!;
  }

  get dialect() {
    return this.version.major;
  }

  take(): string[] {
    return this.calls.splice(0);
  }

  refuse(call: string, error: Error = new RefusedError(call, 2, 'no')): void {
    this.errors.set(call, [...(this.errors.get(call) ?? []), error]);
  }

  /** The peer is up; `told_all`: it has sent End-of-RIB. */
  up(address: string, told_all: boolean, up_since_ms: number): void {
    const peer = this.peers.get(address)!;
    peer.session = 'established';
    peer.told_all = told_all;
    peer.up_since_ms = up_since_ms;
  }

  tell(...events: readonly WatchEvent[]): void {
    this.#events.push(...events);
    this.#wake();
  }

  paths(...paths: readonly Path[]): void {
    this.tell({ type: 'paths', paths, initial: false });
  }

  lose(error: GobgpError): void {
    this.#over = true;
    this.#wake();
    this.#closed(error);
  }

  close(): void {
    this.#over = true;
    this.#wake();
    this.#closed(undefined);
  }

  async getBgp() {
    this.#fail('getBgp');
    return { global: this.#global };
  }

  async startBgp({ global }: { global: { asn: number } }) {
    this.calls.push(`startBgp ${global.asn}`);
    this.#fail('startBgp');
    this.#global = global;
    this.asn = global.asn;
    this.tell({ type: 'peers_complete' }, { type: 'paths_complete' });
  }

  async setLogLevel({ level }: { level: string }) {
    this.calls.push(`setLogLevel ${level}`);
  }

  async *listPeer() {
    this.#fail('listPeer');
    for (const { session, told_all, up_since_ms, peer } of [...this.peers.values()])
      yield {
        peer: {
          ...peer,
          conf: { auth_password: '', ...peer.conf },
          state: { session_state: session },
          timers: { ...(peer.timers as object), state: { uptime: up_since_ms } },
          afi_safis: [{ mp_graceful_restart: { state: { end_of_rib_received: told_all } } }],
        },
      };
  }

  async *listPolicy() {
    for (const policy of this.#policies) yield { policy };
  }

  async *listPolicyAssignment({ direction }: { direction: string }) {
    const assignment = this.#assigned.get(direction) ?? { policies: [], default_action: 'accept' };
    yield { assignment: { direction, ...assignment } };
  }

  async setPolicies({ policies }: { policies: { name: string; statements: readonly { name: string }[] }[] }) {
    this.calls.push('setPolicies');
    this.#fail('setPolicies');
    this.#policies = policies;
  }

  async setPolicyAssignment({
    assignment,
  }: {
    assignment: { direction: string; policies: readonly { name: string }[]; default_action: string };
  }) {
    this.calls.push(`assign ${assignment.direction} ${assignment.default_action}`);
    this.#assigned.set(assignment.direction, assignment);
  }

  async addPathStream(paths: Iterable<{ nlri: FakeNlri }>) {
    const all = [...paths].map(({ nlri }) => `${nlri.prefix}/${nlri.prefix_len}`);
    this.calls.push(`addPathStream ${all.join(' ')}`);
    this.#fail('addPathStream');
  }

  async addPath({ path }: { path: { nlri: FakeNlri } }) {
    this.calls.push(`addPath ${path.nlri.prefix}`);
    this.#fail('addPath');
  }

  async deletePath({ path }: { path: { nlri: FakeNlri } }) {
    this.calls.push(`deletePath ${path.nlri.prefix}`);
  }

  async addPeer({ peer }: { peer: FakePeer }) {
    const address = peer.conf.neighbor_address;
    this.calls.push(`addPeer ${address}`);
    this.added.push(peer);
    this.#fail('addPeer');
    this.peers.set(address, { peer, session: 'active', told_all: false, up_since_ms: 0 });
  }

  async updatePeer({ peer }: { peer: FakePeer }) {
    const address = peer.conf.neighbor_address;
    this.calls.push(`updatePeer ${address}`);
    this.peers.set(address, { ...this.peers.get(address)!, peer });
  }

  async deletePeer({ address }: { address: string }) {
    this.calls.push(`deletePeer ${address}`);
    this.peers.delete(address);
  }

  async resetPeer({ address, direction }: { address: string; direction: string }) {
    this.calls.push(`resetPeer ${address} ${direction}`);
  }

  async *watch(): AsyncGenerator<WatchEvent> {
    for (;;) {
      const event = this.#events.shift();
      if (event !== undefined) {
        this.taken += 1;
        yield event;
      } else if (this.#over) return;
      else
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
    }
  }

  #fail(call: string): void {
    const error = this.errors.get(call)?.shift();
    if (error !== undefined) throw error;
  }
}
