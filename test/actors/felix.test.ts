import t from 'tap';
import type { LifeRef } from '../../src/actor-system.js';
import { type FelixDeps, type FelixReport, felixActor } from '../../src/actors/felix.js';
import { FrameReader, frame } from '../../src/felix/frames.js';
import type { FelixMessage, WorkloadEndpoint } from '../../src/felix/messages.js';
import type { FelixSocket, SocketEvents } from '../../src/felix/stream.js';
import type { FelixKeysTold } from '../../src/messages/connectivity.js';
import type { EndpointStatus, FelixActorMessage, FelixStream } from '../../src/messages/felix.js';
import { bytesOf, fixture } from '../felix/stream.js';
import { type ActorKit, actorKit, type KitMailbox, type Teardown } from '../kit/actor-kit.js';

/** Felix' end of a connection: what it sends waits here until it is read. */
class FakeSocket implements FelixSocket {
  readonly sent: Uint8Array[] = [];
  readonly written: Uint8Array[] = [];
  closed = false;
  /** How often it was read: a stream that nobody takes in is not. */
  reads = 0;
  full = false;
  events!: SocketEvents;

  read(): Uint8Array | null {
    this.reads += 1;
    return this.sent.shift() ?? null;
  }

  write(bytes: Uint8Array): boolean {
    this.written.push(bytes);
    return !this.full;
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    queueMicrotask(() => this.events.closed());
  }

  send(...chunks: readonly Uint8Array[]): void {
    this.sent.push(...chunks);
    this.events.readable();
  }

  /** Numbers of the union's members that Felix was told. */
  answers(): number[] {
    const { messages } = new FrameReader().read(Buffer.concat(this.written.splice(0)));
    // Behind the sequence number, if there is one.
    return messages.map((bytes) => (bytes[0] === 0x40 ? bytes[2]! : bytes[0]!) >> 3);
  }
}

class Lab {
  kit!: ActorKit<FelixActorMessage>;
  policies!: KitMailbox<FelixStream>;
  connectivity!: KitMailbox<FelixKeysTold>;
  /** The mailbox of connectivity is full. */
  full = false;
  /** The incarnation of policies that subscribes, by number. */
  life = 1;
  taking = true;
  accept: ((socket: FelixSocket) => SocketEvents) | undefined;
  listening: (() => Promise<void>) | undefined;
  installs: (() => Promise<string>)[] = [];
  installed = 0;
  report!: () => FelixReport;
  readonly files = new Map<string, string>();
  swept = 0;

  async start(t: Teardown): Promise<this> {
    const deps: Omit<FelixDeps, 'connectivity'> = {
      listen: async (accept) => {
        await this.listening?.();
        this.accept = accept;
        return { close: () => undefined };
      },
      install: async () => {
        this.installed += 1;
        return (await this.installs.shift()?.()) ?? 'is there';
      },
      files: {
        set: (name, text) => void (text === undefined ? this.files.delete(name) : this.files.set(name, text)),
        sweep: () => {
          this.swept += 1;
        },
        retry: () => undefined,
        faults: new Map(),
        count: 0,
      },
      report: (report) => {
        this.report = report;
      },
    };
    this.kit = await actorKit(t, (kit) => {
      this.policies = kit.mailbox<FelixStream>('policies');
      this.connectivity = kit.mailbox<FelixKeysTold>('connectivity');
      const { ref } = this.connectivity;
      const connectivity = {
        ...ref,
        path: ref.path,
        tell: (told: FelixKeysTold) => !this.full && ref.tell(told),
      };
      return felixActor({ ...deps, connectivity }, { socket_path: '/run/felix.sock' });
    });
    return this;
  }

  subscriber(): LifeRef<FelixStream> {
    const { policies } = this;
    return {
      path: policies.ref.path,
      incarnation: this.life,
      tell: (message) => this.taking && policies.ref.tell(message),
      tellUrgent: (message) => policies.ref.tellUrgent(message),
    };
  }

  subscribe(): Promise<void> {
    return this.kit.tell({ type: 'SubscribeFelix', subscriber: this.subscriber() });
  }

  async connect(...chunks: readonly Uint8Array[]): Promise<FakeSocket> {
    const socket = new FakeSocket();
    socket.sent.push(...chunks);
    socket.events = this.accept!(socket);
    if (chunks.length > 0) socket.events.readable();
    await this.kit.settle();
    return socket;
  }

  async send(socket: FakeSocket, ...chunks: readonly Uint8Array[]): Promise<void> {
    socket.send(...chunks);
    await this.kit.settle();
  }

  taken(stream: number): Promise<void> {
    return this.kit.tell({ type: 'FelixTaken', stream });
  }

  /** What connectivity was told. */
  async keys(): Promise<unknown[]> {
    const messages = await this.connectivity.messages();
    return messages.map(({ whole, changed }) => [whole ? 'whole' : 'changed', Object.fromEntries(changed)]);
  }

  /** What policies was told, in short. */
  async heard(): Promise<string[]> {
    const messages = await this.policies.messages();
    return messages.map((message) => {
      const name = message.type.replace('Felix', '').toLowerCase();
      return message.type === 'FelixTold'
        ? `${name} ${message.stream}: ${message.messages.map(({ kind }) => kind).join(' ')}`
        : `${name} ${message.stream}`;
    });
  }
}

const config = frame(
  bytesOf({ payload: { case: 'configUpdate', value: { config: { ReportingIntervalSecs: '30' } } } }),
);
const in_sync = frame(bytesOf({ payload: { case: 'inSync', value: {} } }));
const removal = (id: string) => frame(bytesOf({ payload: { case: 'ipsetRemove', value: { id } } }));
const unknown_message = frame(Uint8Array.from([0xa2, 0x1f, 0x00]));
const no_message = frame(Uint8Array.from([0xff, 0xff, 0xff]));
const empty_message = frame(new Uint8Array());

function endpoint(workload: string): WorkloadEndpoint {
  return {
    active: true,
    profiles: [],
    nets: ['10.0.0.1/32', 'fd00::1/128'],
    tiers: [],
    id: { orchestrator: 'k8s', workload, endpoint: 'eth0' },
    name: 'cali1',
  };
}

const up = (workload: string): EndpointStatus => ({
  kind: 'workload',
  endpoint: endpoint(workload),
  state: 'up',
});

/** Members of FromDataplane's union. */
const says = { life: 3, host: 4, workload: 6, workload_removed: 7 };

t.test('what Felix says goes on in its order, and no faster than it is taken in', async (t) => {
  const lab = await new Lab().start(t);
  const socket = await lab.connect(config);
  t.equal(socket.reads, 0, 'nobody listens yet: Felix is not read');
  await lab.subscribe();
  t.same(await lab.heard(), ['began 1', 'told 1: config']);
  const { reads } = socket;
  await lab.send(socket, removal('a'));
  await lab.send(socket, removal('b'), in_sync);
  t.equal(socket.reads, reads, 'not read while what came before is not taken in');
  t.same(await lab.heard(), []);
  await lab.taken(7);
  t.same(await lab.heard(), [], 'what is taken in of another stream says nothing');
  await lab.taken(1);
  t.same(await lab.heard(), ['told 1: set_removed set_removed in_sync'], 'what has come meanwhile is one');
  await lab.taken(1);
  await lab.taken(1);
  await lab.send(socket, removal('c').subarray(0, 9));
  t.same(await lab.heard(), [], 'half of a message is none');
  await lab.send(socket, removal('c').subarray(9));
  t.same(await lab.heard(), ['told 1: set_removed']);
  t.equal(socket.closed, false);
});

t.test('much is handed on in pieces', async (t) => {
  const lab = await new Lab().start(t);
  await lab.subscribe();
  const chunk = Buffer.concat(Array.from({ length: 600 }, (_, at) => removal(`set-${at}`)));
  const socket = await lab.connect(config, ...Array.from({ length: 10 }, () => chunk));
  let count = 0;
  let pieces = 0;
  for (;;) {
    const told = (await lab.policies.messages()).find((message) => message.type === 'FelixTold');
    if (told === undefined) break;
    count += told.messages.length;
    pieces += 1;
    t.ok(told.messages.length < 2000, `${told.messages.length}`);
    await lab.taken(1);
  }
  t.same([count, pieces, socket.sent.length], [6001, 5, 0]);
});

t.test('a recording, byte by byte', async (t) => {
  const lab = await new Lab().start(t);
  await lab.subscribe();
  const stream = fixture('config.bin');
  const at_once: FelixMessage[] = [];
  const bit_by_bit: FelixMessage[] = [];
  const take = async (of: number, into: FelixMessage[]) => {
    for (const message of await lab.policies.messages())
      if (message.type === 'FelixTold') {
        into.push(...message.messages);
        await lab.taken(of);
      }
  };
  await lab.connect(stream);
  await take(1, at_once);
  const socket = await lab.connect();
  for (let at = 0; at < stream.length; at += 701) socket.send(stream.subarray(at, at + 701));
  await lab.kit.settle();
  await take(2, bit_by_bit);
  await take(2, bit_by_bit);
  t.ok(at_once.length > 3);
  t.strictSame(bit_by_bit, at_once);
});

t.test('the newest Felix is heard: the one before is over', async (t) => {
  const lab = await new Lab().start(t);
  await lab.subscribe();
  const first = await lab.connect(config);
  await lab.send(first, removal('old'));
  await lab.connect();
  t.equal(first.closed, false, 'who says nothing takes no place');
  const second = await lab.connect(config, in_sync);
  t.equal(first.closed, true);
  t.same(await lab.heard(), ['began 1', 'told 1: config']);
  await lab.taken(1);
  t.same(await lab.heard(), ['began 2', 'told 2: config in_sync'], 'behind what was not taken in');
  first.events.readable();
  await lab.taken(2);
  t.same(await lab.heard(), [], 'what the old one had not said is not heard');
  t.equal(second.closed, false);
  t.notMatch(lab.report().faults, [/two run/]);
  for (let at = 0; at < 3; at += 1) await lab.connect(config);
  t.match(lab.kit.node().gauges, { streams: 5, connected: true });
  t.match(lab.report().faults, [/two run on this node/]);
  await lab.kit.clock.advance(120_000);
  t.notMatch(lab.report().faults.join(), /two run/);
});

t.test('the end of a stream is told behind what it said', async (t) => {
  const lab = await new Lab().start(t);
  await lab.subscribe();
  const socket = await lab.connect(config);
  await lab.send(socket, removal('last'), removal('cut').subarray(0, 12));
  socket.events.closed('ECONNRESET');
  await lab.kit.settle();
  t.same(await lab.heard(), ['began 1', 'told 1: config']);
  await lab.taken(1);
  t.same(await lab.heard(), ['told 1: set_removed']);
  await lab.taken(1);
  t.same(await lab.heard(), ['ended 1']);
  t.match(lab.report().state, /no Felix is connected/);
  await lab.taken(1);
  t.same(await lab.heard(), []);
});

t.test('a policies actor that begins anew has everything told again, by a new Felix', async (t) => {
  const lab = await new Lab().start(t);
  await lab.subscribe();
  const first = await lab.connect(config);
  t.same(await lab.heard(), ['began 1', 'told 1: config']);
  lab.life += 1;
  await lab.subscribe();
  t.equal(first.closed, true);
  t.same(await lab.heard(), [], 'nothing of a stream that began before its time');
  const second = await lab.connect(config, in_sync);
  t.same(await lab.heard(), ['began 2', 'told 2: config in_sync'], 'and is not waited for any more');
  t.equal(second.closed, false);
});

t.test('a mailbox that is full loses nothing', async (t) => {
  const lab = await new Lab().start(t);
  await lab.subscribe();
  lab.taking = false;
  const socket = await lab.connect(config, removal('a'));
  await lab.kit.clock.advance(1000);
  lab.taking = true;
  await lab.kit.clock.advance(1000);
  t.same(await lab.heard(), ['began 1', 'told 1: config set_removed']);
  lab.taking = false;
  socket.send(in_sync);
  await lab.taken(1);
  lab.taking = true;
  await lab.kit.clock.advance(1000);
  t.same(await lab.heard(), ['told 1: in_sync']);
});

t.test('bad input: the stream lives on, and is reported', async (t) => {
  const lab = await new Lab().start(t);
  await lab.subscribe();
  const socket = await lab.connect(config, unknown_message, no_message, empty_message, in_sync, config);
  t.same(await lab.heard(), ['began 1', 'told 1: config unknown unreadable unknown in_sync config']);
  t.equal(socket.closed, false);
  t.match(lab.report(), {
    state: /tells what changes/,
    faults: [/^3 messages of Felix were of no use; the last: a message of kind none/],
    messages: { unknown: 2, unreadable: 1, config: 2, in_sync: 1 },
  });
  await lab.taken(1);
  await lab.send(socket, removal('half').subarray(0, 11));
  await lab.kit.clock.advance(20_000);
  t.notMatch(lab.report().faults.join(), /in the middle of a message/);
  await lab.kit.clock.advance(20_000);
  t.match(lab.report().faults.join(), /stood still in the middle of a message for 40 s/);
  t.equal(socket.closed, false, 'it may go on');
  await lab.send(socket, removal('half').subarray(11));
  t.notMatch(lab.report().faults.join(), /in the middle of a message/);
  t.same(await lab.heard(), ['told 1: set_removed']);
});

t.test('an absurd length ends its stream, and no other', async (t) => {
  const lab = await new Lab().start(t);
  await lab.subscribe();
  const absurd = Buffer.alloc(8);
  absurd.writeBigUInt64LE(2n ** 40n);
  const socket = await lab.connect(config, removal('before'), absurd, removal('behind'));
  t.equal(socket.closed, true);
  t.same(await lab.heard(), ['began 1', 'told 1: config set_removed']);
  await lab.taken(1);
  t.same(await lab.heard(), ['ended 1']);
  const next = await lab.connect(config);
  t.same(await lab.heard(), ['began 2', 'told 2: config']);
  t.equal(next.closed, false);
  t.match(await lab.kit.system.describe('root/felix', 100), {
    last_end: /stream 1 has ended: a frame of 1099511627776 bytes/,
  });
});

t.test('what is missing is said, with the step to take', async (t) => {
  const lab = await new Lab().start(t);
  t.same(lab.report().faults, []);
  await lab.kit.clock.advance(61_000);
  t.match(lab.report().faults, [
    /no Felix has been connected to \/run\/felix.sock for 61 s: .*FELIX_DATAPLANEDRIVER/,
  ]);
  await lab.subscribe();
  const socket = await lab.connect(config.subarray(0, 9));
  await lab.kit.clock.advance(11_000);
  t.match(lab.report(), { state: /not begun/, faults: [/not told a configuration for 11 s/] });
  await lab.send(socket, config.subarray(9));
  await lab.kit.clock.advance(60_000);
  t.match(lab.report().faults, [/has not told everything within 71 s: .*Typha/]);
  await lab.taken(1);
  await lab.send(socket, in_sync);
  t.same(lab.report().faults, []);
});

t.test('Felix hears that the dataplane lives, as often as it wants to', async (t) => {
  const lab = await new Lab().start(t);
  await lab.subscribe();
  const socket = await lab.connect(config);
  await lab.kit.clock.advance(9_000);
  t.same(socket.answers(), []);
  await lab.kit.clock.advance(1_000);
  t.same(socket.answers(), [says.life]);
  await lab.kit.clock.advance(60_000);
  t.same(socket.answers(), [says.life, says.life]);
  socket.full = true;
  await lab.kit.clock.advance(30_000);
  await lab.kit.clock.advance(300_000);
  t.same(socket.answers(), [says.life], 'one that does not listen is told no more than it can hold');
  const silent = frame(
    bytesOf({ payload: { case: 'configUpdate', value: { config: { ReportingIntervalSecs: '0' } } } }),
  );
  const next = await lab.connect(silent);
  await lab.taken(1);
  await lab.kit.clock.advance(300_000);
  t.same(next.answers(), []);
});

t.test('statuses go to a Felix that knows its endpoints, and into files', async (t) => {
  const lab = await new Lab().start(t);
  await lab.subscribe();
  await lab.kit.tell({ type: 'EndpointStatuses', whole: false, statuses: [up('shop/web-0')] });
  t.same(
    [...lab.files],
    [
      [
        'k8s shop%2Fweb-0 eth0',
        '{"ifaceName":"cali1","ipv4Nets":["10.0.0.1/32"],"ipv6Nets":["fd00::1/128"]}',
      ],
    ],
  );
  t.equal(lab.swept, 0, 'of what is there nothing is removed before all is known');
  const socket = await lab.connect(config);
  await lab.taken(1);
  await lab.kit.tell({ type: 'EndpointStatuses', whole: false, statuses: [up('shop/web-0')] });
  t.same(socket.answers(), [], 'not before it has told everything');
  await lab.send(socket, in_sync);
  t.same(socket.answers(), [says.workload]);
  const host: EndpointStatus = { kind: 'host', id: 'node-eth0', state: 'up' };
  await lab.kit.tell({ type: 'EndpointStatuses', whole: true, statuses: [up('shop/web-1'), host] });
  t.same(socket.answers().sort(), [says.host, says.workload, says.workload_removed]);
  t.same([...lab.files.keys()], ['k8s shop%2Fweb-1 eth0']);
  t.equal(lab.swept, 1);
  await lab.kit.tell({
    type: 'EndpointStatuses',
    whole: false,
    statuses: [{ kind: 'workload', endpoint: endpoint('shop/web-1'), state: 'error' }],
  });
  t.same([...lab.files], [], 'its policies are not in force');
  socket.full = true;
  socket.answers();
  for (const state of ['up', 'down', 'up', 'error'] as const)
    await lab.kit.tell({
      type: 'EndpointStatuses',
      whole: false,
      statuses: [{ kind: 'workload', endpoint: endpoint('shop/web-1'), state }],
    });
  t.same(socket.answers(), [says.workload], 'what it cannot take');
  socket.full = false;
  socket.events.drained();
  await lab.kit.settle();
  t.same(socket.answers(), [says.workload], 'is the last word, once');
});

t.test('what a Felix that does not listen is to hear does not grow with what comes and goes', async (t) => {
  const lab = await new Lab().start(t);
  await lab.subscribe();
  const socket = await lab.connect(config, in_sync);
  socket.full = true;
  const due = () => Number(lab.kit.node().gauges.due);
  for (let round = 0; round < 12; round += 1) {
    const names = Array.from({ length: 1000 }, (_, at) => `shop/web-${round}-${at}`);
    await lab.kit.tell({ type: 'EndpointStatuses', whole: false, statuses: names.map(up) });
    const gone = names.map((name) => ({ kind: 'workload_removed', id: endpoint(name).id }) as const);
    await lab.kit.tell({ type: 'EndpointStatuses', whole: false, statuses: gone });
  }
  t.ok(due() > 9000 && due() <= 11_000, `${due()}`);
  await lab.kit.tell({ type: 'EndpointStatuses', whole: false, statuses: [up('shop/last')] });
  socket.full = false;
  socket.events.drained();
  await lab.kit.settle();
  t.equal(due(), 0);
  t.equal(
    socket.answers().filter((kind) => kind === says.workload).length > 0,
    true,
    'what is there is told',
  );
});

t.test('what fails is tried again, and keeps nothing from starting', async (t) => {
  const lab = new Lab();
  let refused = 2;
  lab.listening = async () => {
    refused -= 1;
    if (refused >= 0) throw new Error('/run/felix.sock is not a socket: remove it');
  };
  lab.installs = [() => Promise.reject(new Error('/plugins: make it writable'))];
  await lab.start(t);
  t.match(lab.report(), {
    state: 'not listening',
    proxy: 'is not installed',
    faults: ['/run/felix.sock is not a socket: remove it', '/plugins: make it writable'],
  });
  await lab.kit.clock.advance(10_000);
  t.match(lab.report(), { state: /no Felix/, faults: ['/plugins: make it writable'] });
  await lab.kit.clock.advance(50_000);
  t.match(lab.report(), { proxy: 'is there' });
  await lab.kit.clock.advance(200_000);
  t.equal(lab.installed, 2);
  t.equal(lab.kit.log.lines.filter(({ level }) => level === 'warn').length, 2, 'each told once');
});

t.test(
  'keys of nodes go to who leads there, when Felix has told everything, and never to policies',
  async (t) => {
    const keyOf = (byte: number) => Buffer.alloc(32, byte).toString('base64');
    const key = (hostname: string, byte: number) =>
      frame(
        bytesOf({
          payload: { case: 'wireguardEndpointUpdate', value: { hostname, publicKey: keyOf(byte) } },
        }),
      );
    const key6 = (hostname: string, byte: number) =>
      frame(
        bytesOf({
          payload: { case: 'wireguardEndpointV6Update', value: { hostname, publicKeyV6: keyOf(byte) } },
        }),
      );
    const gone = (hostname: string) =>
      frame(bytesOf({ payload: { case: 'wireguardEndpointRemove', value: { hostname } } }));
    const lab = await new Lab().start(t);
    await lab.subscribe();
    const socket = await lab.connect(config, key('n2', 2), key6('n2', 3), key('n3', 4));
    t.same(await lab.heard(), ['began 1', 'told 1: config']);
    t.strictSame(await lab.keys(), [], 'half of it says nothing of the others');
    await lab.taken(1);
    await lab.send(socket, in_sync);
    t.same(await lab.heard(), ['told 1: in_sync']);
    t.strictSame(await lab.keys(), [
      ['whole', { n2: { key: keyOf(2), key6: keyOf(3) }, n3: { key: keyOf(4) } }],
    ]);
    await lab.taken(1);
    await lab.send(socket, gone('n2'), gone('n3'), gone('n4'));
    t.strictSame(await lab.keys(), [['changed', { n2: { key6: keyOf(3) }, n3: {}, n4: {} }]]);
    t.same(await lab.heard(), [], 'there is nothing in it for policies');

    lab.full = true;
    await lab.send(socket, key('n3', 5));
    t.strictSame(await lab.keys(), []);
    lab.full = false;
    await lab.kit.clock.advance(200);
    await lab.kit.settle();
    t.strictSame(await lab.keys(), [['changed', { n3: { key: keyOf(5) } }]], 'it was told again');

    await lab.connect(config, in_sync);
    t.strictSame(await lab.keys(), [['whole', {}]], 'a new Felix says it all');
  },
);
