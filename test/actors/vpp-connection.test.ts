import t from 'tap';
import { DisconnectedError } from 'vpp-binapi-ts';
import { memoryFile } from '../../lab/memory-file.js';
import { vppConnection } from '../../src/actors/vpp-connection.js';
import type { RouterAdvertisement } from '../../src/ip/advertisement.js';
import type {
  RouterSaid,
  VppConnectionMessage,
  VppProcessMessage,
  VppStatus,
} from '../../src/messages/vpp.js';
import type { KnownNeighbour } from '../../src/objects/routing.js';
import type { Operation } from '../../src/reconcile/operation.js';
import type { Scope, Snapshot, Take } from '../../src/reconcile/snapshot.js';
import type { Transaction, TransactionResult } from '../../src/reconcile/transaction.js';
import { Abandoned } from '../../src/vpp-conn/execute.js';
import type { VppExit, VppRun } from '../../src/vpp-conn/launcher.js';
import { Quarantine, type Suspect } from '../../src/vpp-conn/quarantine.js';
import type { Session, SessionOpener } from '../../src/vpp-conn/session.js';
import type { ClockFault } from '../../src/vpp-conn/vpp-clock.js';
import { type ActorKit, actorKit, type Teardown } from '../kit/actor-kit.js';

const empty_snapshot: Snapshot = { objects: [], unsure: new Set(), interfaces: [] };

const settings = { open_ms: 30_000, probe_interval_ms: 1000, probe_deadline_ms: 3000, transactions_max: 4 };

interface Open<T> {
  readonly promise: Promise<T>;
  resolve(value: T): void;
  reject(error: Error): void;
}

function open<T>(): Open<T> {
  let resolve!: (value: T) => void;
  let reject!: (error: Error) => void;
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}

/** A session whose answers the test gives. */
class FakeSession implements Session {
  readonly version = '26.10';
  readonly incompatible: string[] = [];
  readonly workers = 2;
  readonly numa = [0, 0, 1];
  had_interfaces = false;
  /** What `read` answers. */
  read: (scopes: readonly Scope[], take?: Take) => Promise<Snapshot> = async () => empty_snapshot;
  /** What VPP may be dying of. */
  dying_of: readonly Suspect[] = [];
  closes = 0;
  /** Transactions sent and not answered yet, oldest first. */
  readonly sent: {
    readonly owner: string;
    readonly abandoned: () => boolean;
    readonly outcome: Open<TransactionResult>;
  }[] = [];
  readonly pings: Open<void>[] = [];
  private readonly end = open<string>();
  readonly closed = this.end.promise;

  constructor(
    readonly run: VppRun,
    readonly clock_fault: ClockFault | undefined = undefined,
  ) {}

  execute(transaction: Transaction, abandoned: () => boolean): Promise<TransactionResult> {
    const outcome = open<TransactionResult>();
    this.sent.push({ owner: transaction.owner, abandoned, outcome });
    return outcome.promise;
  }

  suspects(): readonly Suspect[] {
    return this.dying_of;
  }

  async neighbours(tag: string) {
    return [...this.introduced, { address: '10.0.0.1', mac: `a neighbour of ${tag}` }];
  }

  readonly introduced: KnownNeighbour[] = [];

  async introduce(_tag: string, neighbours: readonly KnownNeighbour[]): Promise<void> {
    this.introduced.push(...neighbours);
  }

  async peers(): Promise<readonly []> {
    return [];
  }

  async ikeTunnels(): Promise<readonly []> {
    return [];
  }

  async rekey(): Promise<void> {}

  async takeDown(): Promise<void> {}

  /** Who hears routers. */
  said: (tag: string, advertisement: RouterAdvertisement) => void = () => undefined;
  readonly solicited: string[] = [];

  hearRouters(said: (tag: string, advertisement: RouterAdvertisement) => void): void {
    this.said = said;
  }

  async solicit(tag: string): Promise<void> {
    this.solicited.push(tag);
  }

  async cli(command: string): Promise<string> {
    if (command === 'wrong') throw new Error('unknown input');
    return `did ${command}`;
  }

  ping(deadline_ms: number): Promise<void> {
    if (deadline_ms !== settings.probe_deadline_ms) throw new Error(`deadline ${deadline_ms}`);
    const answer = open<void>();
    this.pings.push(answer);
    return answer.promise;
  }

  close(): void {
    this.closes += 1;
  }

  stats(): unknown {
    return {};
  }

  get owners(): string[] {
    return this.sent.map(({ owner }) => owner);
  }

  /** VPP's socket is closed: as a real session does, what is under way rejects before anybody is told of the end. */
  breaks(reason: string): void {
    for (const { outcome } of this.sent.splice(0)) outcome.reject(new Error(`disconnected: ${reason}`));
    this.end.resolve(reason);
  }
}

const done: TransactionResult = { outcomes: [], interfaces: new Map() };

function add(...prefixes: string[]): Operation[] {
  return prefixes.map((prefix) => ({
    action: 'add',
    object: { kind: 'route', source: 'node', table_id: 0, prefix, paths: [{ via: 'drop' }] },
  }));
}

function inWords(message: VppStatus): string {
  switch (message.type) {
    case 'VppUp':
      t.match(message.vpp, / 1 boot$/, 'the VPP is named, whatever connection this is');
      return `VppUp ${message.generation}${message.adopted ? ' adopted' : ''}`;
    case 'VppDown':
      return `VppDown ${message.generation}: ${message.reason}`;
    case 'VppExited':
      return `VppExited: ${message.reason}`;
  }
}

class Lab {
  readonly opens: {
    readonly run: VppRun;
    readonly within_ms: number;
    readonly signal: AbortSignal;
    readonly answer: Open<Session>;
  }[] = [];
  readonly board: string[] = [];
  /** Transactions' answers: `pod ok`, `pod stale_generation`. */
  readonly answers: string[] = [];
  readonly quarantine = new Quarantine(memoryFile(), () => undefined);
  readonly kit!: ActorKit<VppConnectionMessage>;

  static async start(t: Teardown): Promise<Lab> {
    const lab = new Lab();
    const opener: SessionOpener = {
      open(run, within_ms, signal) {
        const answer = open<Session>();
        lab.opens.push({ run, within_ms, signal, answer });
        return answer.promise;
      },
    };
    const board = {
      set: (name: string, ok: boolean, reason: string) => void lab.board.push(`${name} ${ok} ${reason}`),
    };
    const kit = await actorKit(t, (base) => {
      const process = base.mailbox<VppProcessMessage>('process');
      return vppConnection(process.ref, opener, lab.quarantine, settings, board);
    });
    Object.assign(lab, { kit });
    await lab.process.message('Attach');
    return lab;
  }

  get process() {
    return this.kit.mailbox<VppProcessMessage>('process');
  }

  get state() {
    return this.kit.node().gauges.state;
  }

  run(pid: number, adopted = false): VppRun {
    const identity = `${pid} 1 boot`;
    return { pid, identity, api_socket: '/run/vpp/api.sock', adopted, exited: new Promise(() => {}) };
  }

  /** VPP runs and answers. */
  async up(
    pid: number,
    changes: { adopted?: boolean; had_interfaces?: boolean } = {},
    clock_fault?: ClockFault,
  ): Promise<FakeSession> {
    await this.kit.tell({ type: 'Started', run: this.run(pid, changes.adopted) });
    return this.answer(changes.had_interfaces, clock_fault);
  }

  /** The open that was asked for last succeeds. */
  async answer(had_interfaces = false, clock_fault?: ClockFault): Promise<FakeSession> {
    const { run, answer } = this.opens.at(-1)!;
    const session = new FakeSession(run, clock_fault);
    session.had_interfaces = had_interfaces;
    answer.resolve(session);
    await this.kit.settle();
    return session;
  }

  gone(pid: number, reason = 'SIGSEGV', exit: Partial<VppExit> = {}): Promise<void> {
    return this.kit.tell({ type: 'Gone', exit: { pid, reason, ...exit } });
  }

  async transact(owner: string, changes: Partial<Transaction> = {}, within_ms = 60_000): Promise<void> {
    const generation = Number(this.kit.node().gauges.generation);
    const transaction: Transaction = {
      generation,
      owner,
      operations: add(`10.0.0.0/24`),
      on_error: 'continue',
      urgency: 'prompt',
      ...changes,
    };
    this.kit
      .ask<TransactionResult>((reply) => ({ type: 'Transact', transaction, reply }), within_ms)
      .then(
        () => this.answers.push(`${owner} ok`),
        (error: Error & { code?: string }) => this.answers.push(`${owner} ${error.code}`),
      );
    await this.kit.settle();
  }

  /** VPP has done the oldest transaction that was sent. */
  async does(session: FakeSession, result = done): Promise<void> {
    session.sent.shift()!.outcome.resolve(result);
    await this.kit.settle();
  }

  async subscribe(name: string): Promise<() => Promise<string[]>> {
    const mailbox = this.kit.mailbox<VppStatus>(name);
    await this.kit.tell({ type: 'Subscribe', subscriber: mailbox.ref });
    return async () => (await mailbox.messages()).map(inWords);
  }

  take(): string[] {
    return this.answers.splice(0);
  }
}

const tagged: Snapshot = {
  objects: [],
  unsure: new Set(),
  interfaces: [{ sw_if_index: 1, tag: 'main-eth0', name: 'host-eth0', dev_type: 'af-packet' }],
};

t.test('it asks to be told of VPP, connects, and numbers the connections', async (t) => {
  const lab = await Lab.start(t);
  t.match(lab.kit.node().gauges, { state: 'Disconnected', generation: 0 });
  const heard = await lab.subscribe('uplink');
  await lab.kit.tell({ type: 'Started', run: lab.run(1) });
  t.equal(lab.state, 'Connecting');
  t.same(await heard(), []);
  await lab.answer();
  t.match(lab.kit.node().gauges, { state: 'Connected', generation: 1, version: '26.10' });
  await lab.gone(1);
  t.match(lab.kit.node().gauges, { state: 'Disconnected', generation: 1 });
  await lab.up(2);
  t.match(lab.kit.node().gauges, { state: 'Connected', generation: 2 });
  t.same(await heard(), ['VppUp 1', 'VppDown 1: SIGSEGV', 'VppExited: SIGSEGV', 'VppUp 2']);
  t.same(lab.board, ['vpp true VPP 1 answers', 'vpp false SIGSEGV', 'vpp true VPP 2 answers']);
});

t.test('a VPP that dies before it answered is told as exited, without a VppDown', async (t) => {
  const lab = await Lab.start(t);
  const heard = await lab.subscribe('uplink');
  await lab.kit.tell({ type: 'Started', run: lab.run(1) });
  await lab.gone(1, 'exit code 1');
  t.same(await heard(), ['VppExited: exit code 1']);
  t.ok(lab.opens[0]!.signal.aborted, 'and the attempt to connect to it is given up');
});

t.test('the death of an older VPP changes nothing', async (t) => {
  const lab = await Lab.start(t);
  await lab.up(2);
  const heard = await lab.subscribe('uplink');
  await heard();
  await lab.gone(1);
  t.same(await heard(), []);
  t.equal(lab.state, 'Connected');
});

t.test('VppUp says whether VPP held anything before this connection', async (t) => {
  const cases = [
    { name: 'started by us, empty', adopted: false, had_interfaces: false, says: 'VppUp 1' },
    { name: 'adopted', adopted: true, had_interfaces: false, says: 'VppUp 1 adopted' },
    {
      name: 'started by us, and reconnected to',
      adopted: false,
      had_interfaces: true,
      says: 'VppUp 1 adopted',
    },
  ];
  for (const { name, adopted, had_interfaces, says } of cases) {
    const lab = await Lab.start(t);
    const heard = await lab.subscribe('uplink');
    await lab.up(1, { adopted, had_interfaces });
    t.same(await heard(), [says], name);
  }
});

t.test('VppUp says where the threads of VPP are', async (t) => {
  const lab = await Lab.start(t);
  const uplink = lab.kit.mailbox<VppStatus>('uplink');
  await lab.kit.tell({ type: 'Subscribe', subscriber: uplink.ref });
  await lab.up(1);
  const [up] = await uplink.messages();
  t.match(up, { type: 'VppUp', workers: 2, numa: [0, 0, 1] });
});

t.test('whoever subscribes twice is told once, and beginning with the present state', async (t) => {
  const lab = await Lab.start(t);
  const session = await lab.up(1);
  const heard = await lab.subscribe('uplink');
  await lab.subscribe('uplink');
  const other = await lab.subscribe('cni');
  t.same(await heard(), ['VppUp 1 adopted', 'VppUp 1 adopted']);
  session.breaks('EOF');
  await lab.kit.settle();
  t.same(await heard(), ['VppDown 1: EOF']);
  t.same(await other(), ['VppUp 1 adopted', 'VppDown 1: EOF']);
});

t.test('whoever subscribes late finds a VPP that others have programmed meanwhile', async (t) => {
  const lab = await Lab.start(t);
  const first = await lab.subscribe('uplink');
  const session = await lab.up(1);
  const heard = await lab.subscribe('cni');
  t.same(await first(), ['VppUp 1']);
  t.same(await heard(), ['VppUp 1 adopted']);
  t.equal(session.closes, 0);
});

t.test('a reading that fails is an answer to who asked, and costs nobody the connection', async (t) => {
  const lab = await Lab.start(t);
  const heard = await lab.subscribe('uplink');
  const session = await lab.up(1);
  session.read = () => Promise.reject(new Error('VPP refuses'));
  await t.rejects(
    lab.kit.ask((reply) => ({ type: 'Read', scopes: ['pods'], reply })),
    { message: 'VPP refuses' },
  );
  const late = await lab.subscribe('cni');
  t.same(await late(), ['VppUp 1 adopted']);
  t.same(await heard(), ['VppUp 1']);
  t.equal(lab.state, 'Connected');
  t.equal(session.closes, 0);
});

t.test('a subscriber with a full mailbox hears of VPP all the same, and of its end last', async (t) => {
  const lab = await Lab.start(t);
  const busy = open<void>();
  const heard: string[] = [];
  await lab.kit.system.spawn<VppStatus | { readonly type: 'Work' }>({
    name: 'busy',
    restart: 'permanent',
    shutdown_ms: 1000,
    mailbox_max: 1,
    handler_ms_max: 60_000,
    start: () => ({
      receive: (message) => {
        if (message.type === 'Work') return busy.promise;
        heard.push(inWords(message));
        return undefined;
      },
    }),
  });
  const subscriber = lab.kit.system.ref<VppStatus | { readonly type: 'Work' }>('root/busy');
  await lab.kit.tell({ type: 'Subscribe', subscriber });
  subscriber.tell({ type: 'Work' });
  await lab.kit.settle();
  t.ok(subscriber.tell({ type: 'Work' }));
  t.notOk(subscriber.tell({ type: 'Work' }), 'its mailbox is full');
  await lab.up(1);
  await lab.gone(1);
  await lab.up(2);
  await lab.gone(2, 'SIGABRT');
  busy.resolve();
  await lab.kit.settle();
  t.same(heard, ['VppUp 2', 'VppDown 2: SIGABRT', 'VppExited: SIGABRT']);
});

t.test('a connection actor with a full mailbox hears of VPP, too', async (t) => {
  const lab = await Lab.start(t);
  const heard = await lab.subscribe('uplink');
  const session = await lab.up(1);
  await heard();
  const status = { type: 'Cli', command: 'x', reply: { resolve: () => {}, reject: () => {} } } as never;
  while (lab.kit.ref.tell(status));
  t.ok(lab.kit.ref.tellUrgent({ type: 'Gone', exit: { pid: 1, reason: 'SIGSEGV' } }));
  t.ok(lab.kit.ref.tellUrgent({ type: 'Started', run: lab.run(2) }));
  t.ok(lab.kit.ref.tellUrgent({ type: 'Gone', exit: { pid: 2, reason: 'SIGABRT' } }));
  t.ok(lab.kit.ref.tellUrgent({ type: 'Started', run: lab.run(3) }));
  await lab.kit.settle();
  t.same(await heard(), ['VppDown 1: VPP 3 has taken its place'], 'also when the first end was superseded');
  t.equal(session.closes, 1);
  await lab.answer();
  t.same(await heard(), ['VppUp 2']);
});

t.test('a transaction computed for another generation is refused', async (t) => {
  const lab = await Lab.start(t);
  await lab.transact('early');
  const session = await lab.up(1);
  await lab.transact('late', { generation: 0 });
  await lab.transact('early bird', { generation: 2 });
  t.same(lab.take(), ['early stale_generation', 'late stale_generation', 'early bird stale_generation']);
  t.same(session.owners, []);
});

t.test('transactions are sent at once and in order, and each is answered with its own outcome', async (t) => {
  const lab = await Lab.start(t);
  const session = await lab.up(1);
  for (const owner of ['a', 'b', 'c']) await lab.transact(owner);
  t.same(session.owners, ['a', 'b', 'c']);
  t.match(lab.kit.node().gauges, { transactions: 3 });
  session.sent.splice(1, 1)[0]!.outcome.resolve(done);
  await lab.kit.settle();
  t.same(lab.take(), ['b ok']);
});

t.test('one transaction more than the bound is refused', async (t) => {
  const lab = await Lab.start(t);
  const session = await lab.up(1);
  for (let i = 0; i < settings.transactions_max; i++) await lab.transact(`pod ${i}`);
  await lab.transact('one more');
  t.same(lab.take(), ['one more overflow']);
  await lab.does(session);
  await lab.transact('again');
  t.same(lab.take(), ['pod 0 ok']);
  t.equal(session.sent.length, settings.transactions_max);
});

t.test(
  'a closed socket refuses what waits, and is no death: the same VPP is connected to again',
  async (t) => {
    const lab = await Lab.start(t);
    const heard = await lab.subscribe('uplink');
    const first = await lab.up(1);
    await lab.transact('pod a');
    await lab.transact('pod b');
    first.breaks('EOF');
    await lab.kit.settle();
    t.same(lab.take(), ['pod a stale_generation', 'pod b stale_generation']);
    t.equal(lab.state, 'Connecting');
    t.equal(first.closes, 1);
    t.equal(lab.opens.length, 2);
    const second = await lab.answer(true);
    t.same(await heard(), ['VppUp 1', 'VppDown 1: disconnected: EOF', 'VppUp 2 adopted']);
    for (const owner of ['pod a', 'pod b']) await lab.transact(owner);
    t.same(second.owners, ['pod a', 'pod b'], 'nobody is a suspect: both run at once');
    await lab.gone(7);
    t.equal(lab.state, 'Connected');
  },
);

t.test(
  'a transaction whose outcome nobody knows ends the session: all begin anew with the next one',
  async (t) => {
    const lab = await Lab.start(t);
    const heard = await lab.subscribe('uplink');
    const session = await lab.up(1);
    await lab.transact('pod a');
    await lab.transact('pod b');
    session.sent[1]!.outcome.reject(new Error('no answer within 15 s'));
    await lab.kit.settle();
    t.same(lab.take(), ['pod a stale_generation', 'pod b stale_generation']);
    await lab.answer();
    t.same(await heard(), ['VppUp 1', 'VppDown 1: no answer within 15 s', 'VppUp 2']);
  },
);

/** VPP dies; the connection learns of it by the socket first, or by the process first. */
async function dies(lab: Lab, session: FakeSession, first: 'socket' | 'process'): Promise<void> {
  const { pid } = session.run;
  if (first === 'process') await lab.gone(pid);
  session.breaks('EOF');
  await lab.kit.settle();
  if (first === 'socket') await lab.gone(pid);
}

const suspect: Suspect = { name: 'pod a', content: 'asks', answered: false };

t.test(
  'what VPP was dying of is accused when it has died by itself, whoever tells of it first',
  async (t) => {
    for (const first of ['socket', 'process'] as const) {
      const lab = await Lab.start(t);
      for (const verdict of ['suspect', 'convicted'] as const) {
        const session = await lab.up(1);
        session.dying_of = [suspect];
        await lab.transact('pod a');
        await dies(lab, session, first);
        t.equal(lab.quarantine.judge(suspect), verdict, first);
      }
      t.match(lab.kit.node().gauges, { quarantined: 'pod a' });
      t.same(lab.take(), Array(2).fill('pod a stale_generation'));
    }
  },
);

t.test('a closed socket alone accuses nobody, nor does the end of a later session of that VPP', async (t) => {
  const lab = await Lab.start(t);
  const session = await lab.up(1);
  session.dying_of = [suspect];
  session.breaks('EOF');
  await lab.kit.settle();
  t.ok(lab.quarantine.empty);
  const second = await lab.answer(true);
  await dies(lab, second, 'socket');
  t.ok(lab.quarantine.empty, 'nothing was under way by then');
});

t.test(
  'a VPP that somebody ends, be it a program at a memif, accuses nobody, one that is killed because it hangs does',
  async (t) => {
    const ends: Partial<VppExit>[] = [
      { signal: 'SIGKILL' },
      { signal: 'SIGTERM' },
      { signal: 'SIGINT' },
      { code: 0 },
      { signal: 'SIGSEGV', by_memif_peer: true },
    ];
    const lab = await Lab.start(t);
    for (const [at, exit] of ends.entries()) {
      const session = await lab.up(at + 1);
      session.dying_of = [suspect];
      session.breaks('EOF');
      await lab.kit.settle();
      await lab.gone(at + 1, String(exit.signal), exit);
      t.ok(lab.quarantine.empty, JSON.stringify(exit));
    }
    const session = await lab.up(9);
    session.dying_of = [suspect];
    await lab.kit.clock.advance(settings.probe_interval_ms);
    session.pings[0]!.reject(new Error('no answer within 3000 ms'));
    await lab.kit.settle();
    await lab.gone(9, 'SIGKILL', { signal: 'SIGKILL' });
    t.equal(lab.quarantine.judge(suspect), 'suspect');
  },
);

t.test('whether somebody waits for it still is asked when its turn comes', async (t) => {
  const lab = await Lab.start(t);
  const session = await lab.up(1);
  await lab.transact('pod', {}, 1000);
  t.notOk(session.sent[0]!.abandoned());
  await lab.kit.clock.advance(1000);
  t.ok(session.sent[0]!.abandoned());
  t.same(lab.take(), ['pod ASK_DEADLINE']);
  session.sent.shift()!.outcome.reject(new Abandoned('pod: nobody waits for it any more'));
  await lab.kit.settle();
  t.equal(lab.state, 'Connected', 'and that it was not sent concerns nobody');
  t.match(lab.kit.node().gauges, { transactions: 0 });
});

t.test('a VPP that does not answer the probe in time is reported to be killed', async (t) => {
  const lab = await Lab.start(t);
  const session = await lab.up(7);
  await lab.kit.clock.advance(settings.probe_interval_ms - 1);
  t.equal(session.pings.length, 0);
  await lab.kit.clock.advance(1);
  t.equal(session.pings.length, 1);
  session.pings[0]!.resolve();
  await lab.kit.clock.advance(settings.probe_interval_ms);
  t.equal(session.pings.length, 2, 'the next probe comes an interval after the answer');
  await lab.kit.clock.advance(60_000);
  t.equal(session.pings.length, 2, 'and not before');
  await lab.process.none();
  session.pings[1]!.reject(new Error('no answer within 3000 ms'));
  await lab.kit.settle();
  t.equal(lab.state, 'NotResponding');
  t.match(await lab.process.messages(), [
    { type: 'Unresponsive', pid: 7, reason: 'no answer within 3000 ms' },
  ]);
  await lab.gone(7, 'SIGKILL');
  t.equal(lab.state, 'Disconnected');
});

t.test('a VPP with a wrong clock is replaced before anybody has it, and nobody is a suspect', async (t) => {
  const lab = await Lab.start(t);
  const heard = await lab.subscribe('uplink');
  const fault = { reason: "VPP's clock is wrong", verdict: 'replace' } as const;
  const session = await lab.up(7, {}, fault);
  t.match(await lab.process.messages(), [{ type: 'Replace', vpp: '7 1 boot', reason: fault.reason }]);
  t.equal(session.closes, 1);
  t.same(await heard(), []);
  t.match(lab.board.at(-1), /^vpp false VPP's clock is wrong$/);
  await lab.kit.clock.advance(60_000);
  t.equal(session.pings.length, 0);
  await lab.gone(7, 'SIGINT', { code: 0 });
  await lab.up(8, {}, { ...fault, verdict: 'keep' });
  t.match(await lab.process.messages(), [{ type: 'KeepClock', vpp: '8 1 boot' }]);
  t.same(await heard(), ['VppExited: SIGINT', 'VppUp 1']);
  t.match(lab.board.at(-1), /^vpp true VPP 8 answers\. VPP's clock is wrong; others before it .* it is kept/);
  t.match(lab.kit.log.lines.at(-1), { level: 'error', text: /^vpp\(clock\) VPP's clock is wrong/ });
});

t.test('a probe of an older session that fails late is ignored', async (t) => {
  const lab = await Lab.start(t);
  const session = await lab.up(1);
  await lab.kit.clock.advance(settings.probe_interval_ms);
  session.breaks('EOF');
  await lab.kit.settle();
  await lab.answer();
  session.pings[0]!.reject(new Error('disconnected'));
  await lab.kit.settle();
  await lab.process.none();
  t.equal(lab.state, 'Connected');
});

t.test('a VPP that cannot be connected to is reported to be killed, an older one is not', async (t) => {
  const lab = await Lab.start(t);
  await lab.kit.tell({ type: 'Started', run: lab.run(1) });
  await lab.gone(1);
  await lab.kit.tell({ type: 'Started', run: lab.run(2) });
  lab.opens[0]!.answer.reject(new Error('given up'));
  await lab.kit.settle();
  await lab.process.none();
  lab.opens[1]!.answer.reject(new Error('ECONNREFUSED'));
  await lab.kit.settle();
  t.match(await lab.process.messages(), [
    { type: 'Unresponsive', pid: 2, reason: 'no API session: ECONNREFUSED' },
  ]);
});

t.test('a starting VPP has its time to answer, one that was up already has that of a probe', async (t) => {
  const lab = await Lab.start(t);
  const session = await lab.up(1);
  session.breaks('EOF');
  await lab.kit.settle();
  await lab.gone(1);
  await lab.up(2, { adopted: true });
  t.same(
    lab.opens.map(({ within_ms }) => within_ms),
    [settings.open_ms, settings.probe_deadline_ms, settings.probe_deadline_ms],
  );
});

t.test(
  'a connection that is lost again and again is made anew with pauses, and that of another VPP at once',
  async (t) => {
    const lab = await Lab.start(t);
    let session = await lab.up(1);
    const pauses: number[] = [];
    for (let n = 0; n < 12; n += 1) {
      session.breaks('it makes no sense');
      await lab.kit.settle();
      const opens = lab.opens.length;
      let pause_ms = 0;
      // The first is under way already.
      for (; n > 0 && lab.opens.length === opens && pause_ms < 6000; pause_ms += 100)
        await lab.kit.clock.advance(100);
      pauses.push(pause_ms);
      session = await lab.answer();
    }
    t.same(pauses.slice(0, 8), [0, 100, 200, 400, 800, 1600, 3200, 5000]);
    t.ok(Math.min(...pauses.slice(8)) >= 1600, String(pauses));
    session.breaks('EOF');
    await lab.kit.settle();
    const opens = lab.opens.length;
    await lab.gone(1);
    await lab.kit.clock.advance(60_000);
    t.equal(lab.opens.length, opens, 'none is made to one that is dead');
    session = await lab.up(2);
    session.breaks('EOF');
    await lab.kit.settle();
    t.equal(lab.opens.length, opens + 2);
  },
);

t.test('one probe at a time, however often the connection is made anew', async (t) => {
  const lab = await Lab.start(t);
  let session = await lab.up(1);
  for (let i = 0; i < 5; i++) {
    await lab.kit.clock.advance(100);
    session.breaks('EOF');
    await lab.kit.clock.advance(800);
    session = await lab.answer();
  }
  await lab.kit.clock.advance(settings.probe_interval_ms);
  t.equal(session.pings.length, 1);
  for (let n = 1; n <= 3; n++) {
    session.pings.at(-1)!.resolve();
    await lab.kit.clock.advance(settings.probe_interval_ms);
    t.equal(session.pings.length, n + 1);
  }
});

t.test(
  'VPP is not probed while it attaches devices: those transactions have a deadline of their own',
  async (t) => {
    const lab = await Lab.start(t);
    const session = await lab.up(1);
    await lab.transact('node', { essential: true });
    await lab.kit.clock.advance(10_000);
    t.equal(session.pings.length, 0);
    await lab.does(session);
    await lab.transact('pod');
    await lab.kit.clock.advance(settings.probe_interval_ms);
    t.equal(session.pings.length, 1);
    await lab.transact('node', { essential: true });
    session.pings[0]!.reject(new Error('no answer within 3000 ms'));
    await lab.kit.settle();
    t.equal(lab.state, 'Connected', 'nor is a probe held against it that was on its way before');
    await lab.process.none();
    await lab.does(session);
    await lab.does(session);
    await lab.kit.clock.advance(settings.probe_interval_ms);
    t.equal(session.pings.length, 2);
  },
);

t.test('generations go on counting over a restart of the actor', async (t) => {
  const lab = await Lab.start(t);
  await lab.up(1);
  await lab.kit.crash(new Error('defect'));
  await lab.kit.clock.advance(100);
  await lab.process.message('Attach');
  const heard = await lab.subscribe('uplink');
  await lab.up(1, { adopted: true });
  t.same(await heard(), ['VppUp 2 adopted']);
});

t.test('a session to an older VPP that comes late is closed', async (t) => {
  const lab = await Lab.start(t);
  const heard = await lab.subscribe('uplink');
  await lab.kit.tell({ type: 'Started', run: lab.run(1) });
  await lab.gone(1);
  await lab.kit.tell({ type: 'Started', run: lab.run(2) });
  const late = new FakeSession(lab.run(1));
  lab.opens[0]!.answer.resolve(late);
  await lab.kit.settle();
  t.equal(late.closes, 1);
  t.equal(lab.state, 'Connecting');
  t.same(await heard(), ['VppExited: SIGSEGV']);
});

t.test('what routers say is told to who listens, of whichever VPP hears it', async (t) => {
  const lab = await Lab.start(t);
  const advertisement = { router: 'fe80::1', lifetime_s: 9, managed: false, other: false, prefixes: [] };
  const first = await lab.up(1);
  first.said('main-eth0', advertisement);
  const listener = lab.kit.mailbox<RouterSaid>('listener');
  await lab.kit.tell({ type: 'HearRouters', listener: listener.ref });
  for (let n = 0; n < 1000; n += 1) first.said('main-eth0', { ...advertisement, lifetime_s: n });
  first.said('main-eth0', advertisement);
  t.same(await listener.messages(), []);
  await lab.kit.clock.advance(100);
  const said = { type: 'RouterSaid', interface: 'main-eth0', advertisement };
  t.same(await listener.messages(), [{ ...said, generation: 1 }], 'the last word alone');
  for (let n = 0; n < 1000; n += 1) first.said('main-eth0', { ...advertisement, router: `fe80::${n}` });
  await lab.kit.clock.advance(100);
  t.equal((await listener.messages()).length, 32, 'what anybody makes up fills no mailbox');
  await lab.gone(1);
  const second = await lab.up(2);
  second.said('main-eth0', advertisement);
  await lab.kit.clock.advance(100);
  t.same(await listener.messages(), [{ ...said, generation: 2 }]);
  await lab.kit.ask((reply) => ({ type: 'Solicit', interface: 'main-eth0', reply }));
  t.same(second.solicited, ['main-eth0']);
});

t.test('questions are passed to the session, with its answers and refusals', async (t) => {
  const lab = await Lab.start(t);
  const cli = (command: string) => lab.kit.ask<string>((reply) => ({ type: 'Cli', command, reply }));
  await t.rejects(cli('show version'), { code: 'stale_generation' });
  const session = await lab.up(1);
  session.read = async (scopes) => ({ ...tagged, objects: scopes.map((tag) => ({ kind: 'loopback', tag })) });
  t.equal(await cli('show version'), 'did show version');
  await t.rejects(cli('wrong'), { message: 'unknown input' });
  const neighbours = [{ address: '10.0.0.9', mac: '02:00:00:00:00:09' }];
  await lab.kit.ask((reply) => ({ type: 'Introduce', interface: 'main-eth0', neighbours, reply }));
  t.same(await lab.kit.ask((reply) => ({ type: 'ReadNeighbours', interface: 'main-eth0', reply })), [
    ...neighbours,
    { address: '10.0.0.1', mac: 'a neighbour of main-eth0' },
  ]);
  t.match(await lab.kit.ask((reply) => ({ type: 'Read', scopes: ['node', 'pods'], reply })), {
    interfaces: tagged.interfaces,
    objects: [{ tag: 'node' }, { tag: 'pods' }],
  });
});

t.test('a question that was under way as the connection ended is refused like a transaction', async (t) => {
  const lab = await Lab.start(t);
  const session = await lab.up(1);
  const shown = open<Snapshot>();
  session.read = () => shown.promise;
  const read = lab.kit.ask((reply) => ({ type: 'Read', scopes: ['node'], reply }));
  await lab.kit.settle();
  // As the client does, before it says that it has ended.
  shown.reject(new DisconnectedError('the peer has closed the connection', 'sw_interface_dump', true));
  await t.rejects(read, { code: 'stale_generation', message: /the peer has closed/ });
  session.read = async () => {
    throw new Error('no such table');
  };
  await t.rejects(
    lab.kit.ask((reply) => ({ type: 'Read', scopes: ['node'], reply })),
    { message: 'no such table' },
  );
});

t.test('who has given up a reading takes no more of it', async (t) => {
  const lab = await Lab.start(t);
  const session = await lab.up(1);
  const shown = open<Snapshot>();
  let show: Take = () => undefined;
  session.read = (_scopes, take = () => undefined) => {
    show = take;
    return shown.promise;
  };
  const taken: string[] = [];
  const asked = lab.kit.ask((reply) => ({
    type: 'Read',
    scopes: ['services'],
    take: (object) => void taken.push(object.kind),
    reply,
  }));
  asked.catch(() => undefined);
  await lab.kit.settle();
  show({ kind: 'loopback', tag: 'a' });
  await lab.kit.clock.advance(3_600_000);
  show({ kind: 'loopback', tag: 'b' });
  t.same(taken, ['loopback']);
  await t.rejects(asked);
});

t.test('stopping refuses all that waits, closes the session and connects no more', async (t) => {
  const lab = await Lab.start(t);
  const session = await lab.up(1);
  for (const owner of ['a', 'b']) await lab.transact(owner);
  const opens = lab.opens.length;
  await lab.kit.system.stopChild('vpp-connection');
  session.breaks('closed by us');
  await lab.kit.settle();
  t.same(lab.take(), ['a ACTOR_DOWN', 'b ACTOR_DOWN']);
  t.equal(session.closes, 1);
  t.equal(lab.opens.length, opens);
});

t.test('stopping gives up an attempt to connect', async (t) => {
  const lab = await Lab.start(t);
  await lab.kit.tell({ type: 'Started', run: lab.run(1) });
  await lab.kit.system.stopChild('vpp-connection');
  t.ok(lab.opens[0]!.signal.aborted);
});
