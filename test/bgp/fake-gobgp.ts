/** A gobgpd in memory, behind the client's interface: keeps what it is told, and tells what a test says. */
import {
  type BriefPath,
  families,
  type Gobgp,
  type GobgpError,
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
  over_limit: boolean;
}

interface FakeStatement {
  readonly name: string;
  readonly [field: string]: unknown;
}

interface FakePolicy {
  readonly name: string;
  readonly statements: readonly FakeStatement[];
}

interface FakeGlobal {
  readonly asn: number;
  readonly listen_port?: number;
  readonly listen_addresses: readonly string[];
}

interface FakePath {
  readonly nlri: FakeNlri;
  readonly [field: string]: unknown;
}

interface FakeNlri {
  readonly prefix: string;
  readonly prefix_len: number;
}

function destinationOf(prefix: string) {
  const [address = '', length = ''] = prefix.split('/');
  const family = prefix.includes(':') ? families.ipv6_unicast : families.ipv4_unicast;
  return {
    destination: {
      paths: [{ family, nlri: { type: 'prefix', prefix: address, prefix_len: Number(length) }, pattrs: [] }],
    },
  };
}

export class FakeGobgp {
  /** Calls that change something, in order: `addPeer 10.0.0.2`. */
  readonly calls: string[] = [];
  /** Readings of what it has: `bgp`, `peers`, `policies`. */
  readonly reads: string[] = [];
  peers = new Map<string, Kept>();
  readonly added: FakePeer[] = [];
  asn = 0;
  /** What the next calls of this name answer with. */
  readonly errors = new Map<string, Error[]>();
  /** Addresses that cannot be listened on. */
  readonly absent = new Set<string>();
  #listening = new Set<string>();
  #global: object = { asn: 0, router_id: '', listen_port: 0, listen_addresses: [] };
  #policies: FakePolicy[] = [];
  #sets: { name: string; defined_type: string }[] = [];
  /** Own paths, by prefix. */
  own = new Map<string, FakePath>();
  /** Prefixes to which others have told a path. */
  readonly learned = new Set<string>();
  /** What a peer was told, before and after the policies were set. */
  readonly told = new Map<string, string[][]>();
  readonly #assigned = new Map<string, { policies: readonly { name: string }[]; default_action: string }>();
  readonly #events: WatchEvent<BriefPath>[] = [];
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
    next.#sets = this.#sets;
    next.own = this.own;
    next.#listening = this.#listening;
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

  tell(...events: readonly WatchEvent<BriefPath>[]): void {
    this.#events.push(...events);
    this.#wake();
  }

  paths(...paths: readonly BriefPath[]): void {
    this.tell({ type: 'paths', paths, initial: false, whole: true });
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
    this.reads.push('bgp');
    this.#fail('getBgp');
    return { global: this.#global };
  }

  /** As gobgpd: in order, and what is open by then stays open where one fails. */
  async startBgp({ global }: { global: FakeGlobal }) {
    this.calls.push(`startBgp ${global.asn}`);
    this.#fail('startBgp');
    for (const address of global.listen_addresses) {
      if (this.absent.has(address))
        throw new RefusedError('StartBgp', 2, `${address}: cannot assign address`);
      if (this.#listening.has(address)) throw new RefusedError('StartBgp', 2, `${address}: already in use`);
      this.#listening.add(address);
    }
    this.#global = global;
    this.asn = global.asn;
    this.tell({ type: 'peers_complete' }, { type: 'paths_complete' });
  }

  async setLogLevel({ level }: { level: string }) {
    this.calls.push(`setLogLevel ${level}`);
    this.#fail('setLogLevel');
  }

  async *listPeer() {
    this.reads.push('peers');
    this.#fail('listPeer');
    for (const { session, told_all, up_since_ms, over_limit, peer } of [...this.peers.values()])
      yield {
        peer: {
          ...peer,
          conf: { auth_password: '', ...peer.conf },
          state: { session_state: session, ...(over_limit && { admin_state: 'pfx_ct' }) },
          timers: { ...(peer.timers as object), state: { uptime: up_since_ms } },
          afi_safis: [{ mp_graceful_restart: { state: { end_of_rib_received: told_all } } }],
        },
      };
  }

  async *listDefinedSet({ defined_type }: { defined_type: string }) {
    for (const defined_set of this.#sets)
      if (defined_set.defined_type === defined_type) yield { defined_set };
  }

  async *listPath({
    family,
    table_type,
    name,
    prefixes,
  }: {
    family: object;
    table_type?: string;
    name?: string;
    prefixes?: readonly { readonly prefix: string }[];
  }) {
    if (table_type === 'adj_out') {
      if (!this.peers.has(name ?? ''))
        throw new RefusedError('ListPath', 2, `neighbor ${name} doesn't exist`);
      for (const prefix of this.told.get(name ?? '')?.shift() ?? [])
        if (prefix.includes(':') === (family === families.ipv6_unicast)) yield destinationOf(prefix);
      return;
    }
    if (prefixes !== undefined) {
      this.reads.push('table');
      for (const { prefix } of prefixes)
        if (this.own.has(prefix) || this.learned.has(prefix)) yield destinationOf(prefix);
      return;
    }
    for (const path of this.own.values())
      if (path.family === family) yield { destination: { paths: [{ ...path, neighbor_ip: '' }] } };
  }

  async *listPolicy() {
    this.reads.push('policies');
    for (const policy of this.#policies) yield { policy };
  }

  async *listPolicyAssignment({ direction }: { direction: string }) {
    const assignment = this.#assigned.get(direction) ?? { policies: [], default_action: 'accept' };
    yield { assignment: { direction, ...assignment } };
  }

  /** As gobgpd: all there was goes; a policy that is not among these is in force no more. */
  async setPolicies({
    policies,
    defined_sets,
  }: {
    policies: FakePolicy[];
    defined_sets: { name: string; defined_type: string }[];
  }) {
    this.calls.push('setPolicies');
    this.#fail('setPolicies');
    this.#policies = policies;
    this.#sets = defined_sets;
    const named = new Set(policies.map(({ name }) => name));
    for (const [direction, { policies: assigned, ...rest }] of this.#assigned)
      this.#assigned.set(direction, { ...rest, policies: assigned.filter(({ name }) => named.has(name)) });
  }

  /** Names of the sets of which no statement is made. */
  get owed(): readonly string[] {
    return this.#sets.map(({ name }) => name).filter((name) => name.startsWith('owed'));
  }

  /** Something is owed to a peer, which may have gone. */
  owe(address: string, prefixes: readonly string[]): void {
    const set = { name: `owed ${address} 4`, prefixes: prefixes.map((ip_prefix) => ({ ip_prefix })) };
    this.#sets.push({ ...set, defined_type: 'prefix' });
  }

  /** Names of the statements that are set. */
  statements(policy: string): readonly string[] {
    return this.#policies.find(({ name }) => name === policy)?.statements.map(({ name }) => name) ?? [];
  }

  async setPolicyAssignment({
    assignment,
  }: {
    assignment: { direction: string; policies: readonly { name: string }[]; default_action: string };
  }) {
    this.calls.push(`assign ${assignment.direction} ${assignment.default_action}`);
    this.#fail('setPolicyAssignment');
    for (const { name } of assignment.policies)
      if (!this.#policies.some((policy) => policy.name === name))
        throw new RefusedError('SetPolicyAssignment', 2, `not found policy ${name}`);
    this.#assigned.set(assignment.direction, assignment);
  }

  async addPathStream(paths: Iterable<FakePath>) {
    const all = [...paths];
    this.calls.push(`addPathStream ${all.map(({ nlri }) => `${nlri.prefix}/${nlri.prefix_len}`).join(' ')}`);
    this.#fail('addPathStream');
    for (const path of all) this.own.set(`${path.nlri.prefix}/${path.nlri.prefix_len}`, path);
  }

  async addPath({ path }: { path: FakePath }) {
    this.calls.push(`addPath ${path.nlri.prefix}`);
    this.#fail('addPath');
    this.own.set(`${path.nlri.prefix}/${path.nlri.prefix_len}`, path);
  }

  async deletePath({ path }: { path: FakePath }) {
    this.calls.push(`deletePath ${path.nlri.prefix}`);
    this.own.delete(`${path.nlri.prefix}/${path.nlri.prefix_len}`);
  }

  async addPeer({ peer }: { peer: FakePeer }) {
    const address = peer.conf.neighbor_address;
    this.calls.push(`addPeer ${address}`);
    this.added.push(peer);
    this.#fail('addPeer');
    if (this.peers.has(address)) throw new RefusedError('AddPeer', 2, `can't overwrite the existing peer`);
    this.peers.set(address, { peer, session: 'active', told_all: false, up_since_ms: 0, over_limit: false });
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
    this.#fail('resetPeer');
  }

  async *watch(_: object, { signal }: { signal?: AbortSignal } = {}): AsyncGenerator<WatchEvent<BriefPath>> {
    signal?.addEventListener('abort', () => this.#wake());
    for (;;) {
      if (signal?.aborted) throw signal.reason;
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
