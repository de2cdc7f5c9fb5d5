import fc from 'fast-check';
import t from 'tap';
import { type Client, connect, MalformedError, RetvalError } from 'vpp-binapi-ts';
import { startStandInVpp } from '../../lab/vpp/stand-in.js';
import { desiredPod } from '../../src/desired/pod.js';
import { desiredNode } from '../../src/desired/uplink.js';
import type { VppObject } from '../../src/objects/object.js';
import { keyOf } from '../../src/objects/object.js';
import type { Operation } from '../../src/reconcile/operation.js';
import { reconcile, removal } from '../../src/reconcile/reconcile.js';
import type { Transaction } from '../../src/reconcile/transaction.js';
import { execute, NotSent, waves } from '../../src/vpp-conn/execute.js';
import { Handles, UnknownHandle } from '../../src/vpp-conn/handles.js';
import { observe } from '../../src/vpp-conn/observe.js';
import { nodeOf, podInputsOf, podOf } from '../desired/sample.js';

type Requester = Pick<Client, 'request'>;

/** Answers every request, in order and later, as VPP does; remembers what it was asked. */
class RecordedVpp {
  /** Names of the messages in the order in which they came, `|` where the sender waited for all answers. */
  readonly log: string[] = [];
  /** What VPP answers to a message instead of 0; an error is thrown as it is. */
  readonly refuses = new Map<string, number | Error>();
  private unanswered = 0;
  private last = 10;

  readonly request = (async (message: { readonly name: string }) => {
    const { name } = message;
    if (this.unanswered === 0 && this.log.length > 0) this.log.push('|');
    this.unanswered += 1;
    this.log.push(name);
    await new Promise((resolve) => setImmediate(resolve));
    this.unanswered -= 1;
    const refusal = this.refuses.get(name);
    if (refusal instanceof Error) throw refusal;
    if (refusal !== undefined) throw new RetvalError(name, refusal, {});
    this.last += 1;
    return { retval: 0, sw_if_index: this.last, id: this.last, new_table_index: this.last };
  }) as unknown as Client['request'];
}

function transaction(
  operations: readonly Operation[],
  on_error: Transaction['on_error'] = 'continue',
): Transaction {
  return { generation: 1, owner: 'test', operations, on_error };
}

const adds = (...objects: VppObject[]): Operation[] => objects.map((object) => ({ action: 'add', object }));
const removes = (...objects: VppObject[]): Operation[] =>
  objects.map((object) => ({ action: 'remove', object }));

const tap = (tag: string): VppObject => ({
  kind: 'tap',
  tag,
  host_namespace: 'pid:1',
  host_if_name: tag,
  host_mtu: 1500,
  rx_queues: 1,
  tx_queues: 1,
  rx_ring_size: 1024,
  tx_ring_size: 1024,
  type: 'tun',
  gso: false,
  persistent: true,
});
const up = (tag: string): VppObject => ({ kind: 'interface_flag', interface: tag, flag: 'admin_up' });
const route = (prefix: string, tag?: string): VppObject => ({
  kind: 'route',
  source: 'node',
  table_id: 0,
  prefix,
  paths: [tag === undefined ? { via: 'drop' } : { via: 'interface', interface: tag, next_hop: '10.0.0.9' }],
});
const rule: VppObject = {
  kind: 'redirect_rule',
  protocol: 'udp',
  port: 53,
  address: '10.0.0.10',
  interface: 'a',
  next_hop: '10.0.0.2',
};

const pool: readonly Operation[] = [
  ...adds(tap('a'), tap('b'), up('a'), up('b'), route('10.1.0.0/16'), route('10.2.0.0/16', 'a')),
  ...adds({ kind: 'redirect_table', family: 4 }, { kind: 'redirect_table', family: 6 }, rule),
  ...adds(
    { kind: 'redirect_acl', interface: 'b', family: 6 },
    { kind: 'ttl_fixup', interface: 'a', towards: 'b' },
  ),
  ...removes(tap('a'), up('b'), rule),
];

/** Pairs (maker, user) of the pool that must not be in one wave. */
const needs: readonly (readonly [number, number])[] = (
  [
    [0, [2, 5, 8, 10, 13]],
    [1, [3, 9, 10, 12]],
    [6, [8, 13]],
    [7, [9]],
  ] as const
).flatMap(([maker, users]) => users.map((user) => [maker, user] as const));

t.test('waves keep the order, wait for every handle that is needed, and are as few as can be', async () => {
  fc.assert(
    fc.property(fc.array(fc.nat(pool.length - 1), { maxLength: 14 }), (picks) => {
      const list = picks.map((pick) => ({ ...pool[pick]! }));
      const split = waves(list);
      const clash = (from: number, to: number): boolean =>
        needs.some(([maker, user]) => {
          const made = picks.slice(from, to).indexOf(maker);
          return made !== -1 && picks.slice(from + made, to).includes(user);
        });
      const fewest = [0];
      for (let to = 1; to <= picks.length; to++) {
        const starts = [...Array(to).keys()].filter((from) => !clash(from, to));
        fewest.push(1 + Math.min(...starts.map((from) => fewest[from]!)));
      }
      let at = 0;
      return (
        split.flat().every((operation, i) => operation === list[i]) &&
        split.flat().length === list.length &&
        split.length === fewest[picks.length] &&
        split.every((wave) => {
          const from = at;
          at += wave.length;
          return wave.length > 0 && !clash(from, at);
        })
      );
    }),
    { numRuns: 1000, seed: 1 },
  );
});

t.test('only what needs a handle waits for its reply', async (t) => {
  const vpp = new RecordedVpp();
  const handles = new Handles();
  const operations = adds(
    route('10.1.0.0/16'),
    tap('a'),
    tap('b'),
    up('a'),
    route('10.2.0.0/16', 'b'),
    up('b'),
  );
  const result = await execute(vpp, handles, transaction(operations));
  t.same(vpp.log, [
    ...['ip_route_add_del', 'tap_create_v3', 'tap_create_v3', '|'],
    ...['sw_interface_set_flags', 'ip_route_add_del', 'sw_interface_set_flags'],
  ]);
  t.same(
    [...result.interfaces],
    [
      ['a', 12],
      ['b', 13],
    ],
  );
  t.same(
    result.outcomes.map(({ operation, error }) => [operation, error]),
    operations.map((operation) => [operation, undefined]),
  );
  t.equal(result.error, undefined);
});

t.test('an interface is announced when what needs it has been sent and is not answered yet', async (t) => {
  const vpp = new RecordedVpp();
  const announce = (tag: string): void => {
    vpp.log.push(`made ${tag}`);
  };
  const told = {
    ...transaction(adds(tap('a'), up('a'), route('10.1.0.0/16'))),
    interface_made: announce,
  };
  await execute(vpp, new Handles(), told);
  t.strictSame(vpp.log, ['tap_create_v3', '|', 'sw_interface_set_flags', 'ip_route_add_del', 'made a']);

  vpp.log.length = 0;
  vpp.refuses.set('tap_create_v3', -12);
  await execute(vpp, new Handles(), told);
  t.notOk(vpp.log.includes('made a'), 'one that was not made is not');
});

t.test('an interface that is made anew in one transaction is the new one from then on', async (t) => {
  const vpp = new RecordedVpp();
  const handles = new Handles();
  handles.setInterface('a', 5);
  const { outcomes } = await execute(
    vpp,
    handles,
    transaction([...removes(up('a'), tap('a')), ...adds(tap('a'), up('a'))]),
  );
  t.ok(outcomes.every(({ error }) => error === undefined));
  t.equal(handles.interface('a'), 13);
});

t.test('a refused operation is an outcome, and the others are carried out', async (t) => {
  const vpp = new RecordedVpp();
  vpp.refuses.set('tap_create_v3', -12);
  const { outcomes, error } = await execute(
    vpp,
    new Handles(),
    transaction(adds(route('10.1.0.0/16'), tap('a'), up('a'), route('10.2.0.0/16'))),
  );
  t.match(
    outcomes.map((outcome) => outcome.error),
    [undefined, { retval: -12 }, UnknownHandle, undefined],
    'what hangs on the refused interface fails with it',
  );
  t.match(error, { retval: -12 });
});

t.test('a value that no message can hold is an error of its object alone', async (t) => {
  const vpp = new RecordedVpp();
  vpp.refuses.set('ip_neighbor_add_del', new MalformedError('ip_neighbor.mac_address'));
  const handles = new Handles();
  handles.setInterface('a', 1);
  const neighbour: VppObject = { kind: 'neighbour', interface: 'a', address: '10.0.0.1', mac: 'nonsense' };
  const { outcomes } = await execute(vpp, handles, transaction(adds(neighbour, route('10.1.0.0/16'))));
  t.match(
    outcomes.map(({ error }) => error),
    [{ code: 'malformed' }, undefined],
  );
});

t.test('after a refusal a transaction that is rolled back sends nothing more', async (t) => {
  const vpp = new RecordedVpp();
  vpp.refuses.set('tap_create_v3', -12);
  const { outcomes } = await execute(
    vpp,
    new Handles(),
    transaction(adds(route('10.1.0.0/16'), tap('a'), up('a'), route('10.2.0.0/16')), 'rollback'),
  );
  t.match(
    outcomes.map(({ error }) => error),
    [undefined, RetvalError, NotSent, NotSent],
  );
  t.same(vpp.log, ['ip_route_add_del', 'tap_create_v3', '|', 'ip_route_add_del']);
});

t.test('to remove what is not there is a success', async (t) => {
  for (const retval of [-2, -3, -6, -60]) {
    const vpp = new RecordedVpp();
    vpp.refuses.set('tap_delete_v2', retval);
    const handles = new Handles();
    handles.setInterface('a', 5);
    const { outcomes } = await execute(vpp, handles, transaction(removes(tap('a'), tap('b'), up('b'))));
    t.same(
      outcomes.map(({ error }) => error),
      [undefined, undefined, undefined],
      `retval ${retval}`,
    );
  }
});

t.test('an interface that VPP refuses to delete keeps its name', async (t) => {
  const vpp = new RecordedVpp();
  vpp.refuses.set('tap_delete_v2', -1);
  const handles = new Handles();
  handles.setInterface('a', 5);
  const { outcomes } = await execute(vpp, handles, transaction(removes(tap('a'))));
  t.match(outcomes[0]?.error, { retval: -1 });
  t.equal(handles.interface('a'), 5);
});

t.test('an address that is there already is as it should be', async (t) => {
  const vpp = new RecordedVpp();
  vpp.refuses.set('sw_interface_add_del_address', -105);
  const handles = new Handles();
  handles.setInterface('a', 5);
  const address: VppObject = { kind: 'interface_address', interface: 'a', prefix: '10.0.0.2/24' };
  t.equal((await execute(vpp, handles, transaction(adds(address)))).error, undefined);
  vpp.refuses.set('sw_interface_add_del_address', -114);
  t.match((await execute(vpp, handles, transaction(adds(address)))).error, { retval: -114 });
});

t.test('an interface that cannot be given its tag is deleted again', async (t) => {
  const vpp = new RecordedVpp();
  vpp.refuses.set('sw_interface_tag_add_del', -2);
  const handles = new Handles();
  const device = desiredNode(nodeOf(), true).find(({ kind }) => kind === 'af_packet')!;
  const { error } = await execute(vpp, handles, transaction(adds(device)));
  t.match(error, { message_name: 'sw_interface_tag_add_del' });
  t.same(vpp.log, ['af_packet_create_v3', '|', 'sw_interface_tag_add_del', '|', 'af_packet_delete']);
  t.throws(() => handles.interface('main-eth0'), UnknownHandle);
});

t.test('an interface that VPP made by itself is neither made nor forgotten', async (t) => {
  const vpp = new RecordedVpp();
  const handles = new Handles();
  const device: VppObject = { kind: 'existing_interface', tag: 'main-eth0' };
  t.match((await execute(vpp, handles, transaction(adds(device)))).error, UnknownHandle);
  handles.setInterface('main-eth0', 3);
  const { error } = await execute(
    vpp,
    handles,
    transaction([...removes(device), ...adds(device, up('main-eth0'))]),
  );
  t.equal(error, undefined);
  t.same(vpp.log, ['sw_interface_set_flags']);
});

t.test('what a later dump shows is learned, but never over what has been made meanwhile', async (t) => {
  const handles = new Handles();
  const table: VppObject = { kind: 'redirect_table', family: 4 };
  const seen = new Handles();
  for (const [tag, index] of [
    ['a', 1],
    ['b', 2],
  ] as const)
    seen.setInterface(tag, index);
  seen.made(table, 3);
  handles.setInterface('a', 11);
  handles.learn(seen);
  t.same([handles.interface('a'), handles.interface('b'), handles.of(table)], [11, 2, 3]);
});

t.test('the end of the connection rejects the transaction', async (t) => {
  const vpp = new RecordedVpp();
  vpp.refuses.set('sw_interface_set_flags', new Error('disconnected'));
  for (const on_error of ['continue', 'rollback'] as const) {
    await t.rejects(execute(vpp, new Handles(), transaction(adds(tap('a'), up('a')), on_error)), {
      message: 'disconnected',
    });
  }
});

/** Passes requests on to a stand-in, but for the n-th, which is refused. */
async function refusing(t: { teardown(run: () => void): void }) {
  const vpp = await startStandInVpp();
  const client = await connect({ transport: vpp.transport(), name: 'test' });
  t.teardown(() => {
    client.close();
    vpp.close();
  });
  let left = Number.POSITIVE_INFINITY;
  const request = (async (...[message, fields]: Parameters<Client['request']>) => {
    left -= 1;
    if (left === 0) throw new RetvalError(message.name, -1, {});
    return client.request(message, fields);
  }) as Client['request'];
  return {
    vpp: { request } satisfies Requester,
    handles: (await observe(client)).handles,
    /** Refuses the n-th request from now on. True if it has come to that. */
    refuse: (n: number) => {
      left = n;
    },
    refused: () => left <= 0,
    held: async () => (await observe(client)).snapshot.objects.map((object) => JSON.stringify(object)).sort(),
  };
}

t.test('whatever VPP refuses, a pod that is rolled back leaves nothing behind', async (t) => {
  const { vpp, handles, refuse, refused, held } = await refusing(t);
  const node = reconcile(desiredNode(nodeOf(), true), []);
  t.equal((await execute(vpp, handles, transaction(node))).error, undefined);
  const spec = podOf({ allowed_source_prefixes: ['10.9.0.0/24', 'fd09::/64'], interface_type: 'tap' });
  const pod = reconcile(desiredPod(spec, podInputsOf()), []);
  const before = await held();
  let requests = 0;
  for (let n = 1; ; n++) {
    refuse(n);
    const { error, outcomes } = await execute(vpp, handles, transaction(pod, 'rollback'));
    const was_refused = refused();
    refuse(0);
    if (!was_refused) break;
    requests = n;
    t.match(error, RetvalError);
    t.equal(outcomes.length, pod.length);
    t.same(await held(), before, `request ${n}, ${keyOf(outcomes.find((o) => o.error)!.operation.object)}`);
  }
  t.ok(requests > 30, `${requests} requests were refused, each in turn`);
  const undo = removal(pod.map(({ object }) => object));
  t.equal((await execute(vpp, handles, transaction(undo))).error, undefined);
  t.same(await held(), before, 'and so does one that was made and is removed');
});
