import t from 'tap';
import { type Asker, type Client, DisconnectedError, MalformedError, RetvalError } from 'vpp-binapi-ts';
import { desiredNode } from '../../src/desired/uplink.js';
import type { VppObject } from '../../src/objects/object.js';
import type { Transaction } from '../../src/reconcile/transaction.js';
import { Abandoned, NotDone } from '../../src/vpp-conn/execute.js';
import { UnknownHandle } from '../../src/vpp-conn/handles.js';
import { nodeOf } from '../desired/sample.js';
import { adds, ExecutorLab, removes, route, routes, sentRoute, tap, turn, up } from './executor-lab.js';

const window = 64;
const refill = 16;

t.test('only what needs a handle waits for its reply', async (t) => {
  const lab = new ExecutorLab();
  const operations = adds(
    route('10.1.0.0/16'),
    tap('a'),
    tap('b'),
    up('a'),
    route('10.2.0.0/16', 'b'),
    up('b'),
  );
  const result = lab.run(operations);
  t.same(lab.vpp.take(), ['ip_route_add_del_v2 10.1.0.0/16', 'tap_create_v3 a', 'tap_create_v3 b']);
  await lab.vpp.answer(2);
  t.same(lab.vpp.take(), ['sw_interface_set_flags 12'], 'what needs b still waits');
  await lab.vpp.answer(1);
  t.same(lab.vpp.take(), ['ip_route_add_del_v2 10.2.0.0/16', 'sw_interface_set_flags 13']);
  await lab.vpp.answerAll();
  const { outcomes, interfaces, error } = await result;
  t.same(
    [...interfaces],
    [
      ['a', 12],
      ['b', 13],
    ],
  );
  t.same(
    outcomes.map((outcome) => [outcome.operation, outcome.error]),
    operations.map((operation) => [operation, undefined]),
  );
  t.equal(error, undefined);
});

t.test('an error of whoever hears of an operation is not taken for one of the operation', async (t) => {
  const sent: string[] = [];
  const askers: Asker<object>[] = [];
  const ask = ({ name }: { readonly name: string }, _fields: object, asker: Asker<object>): void => {
    sent.push(name);
    askers.push(asker);
  };
  const lab = new ExecutorLab({ ask: ask as unknown as Client['ask'] });
  let told = 0;
  const interface_made = (): void => {
    told += 1;
    throw new TypeError('undefined is not a function');
  };
  lab.run(adds(tap('a')), { interface_made });
  t.throws(() => askers[0]!.answered({ retval: 0, sw_if_index: 5 }), /is not a function/);
  t.strictSame([told, sent], [1, ['tap_create_v3']], 'the interface is not removed for it');
});

t.test('a transaction that waits for a handle holds nobody else up', async (t) => {
  const lab = new ExecutorLab();
  lab.run(adds(tap('a'), up('a')), { owner: 'pod' });
  lab.run(adds({ kind: 'redirect_table', family: 4 }, { kind: 'redirect_acl', interface: 'a', family: 4 }));
  lab.run(adds(...routes(2)), { owner: 'other' });
  t.same(lab.vpp.take(), ['tap_create_v3 a', 'classify_add_del_table', sentRoute(0), sentRoute(1)]);
  await lab.vpp.answer(1);
  t.same(lab.vpp.take(), ['sw_interface_set_flags 11']);
  await lab.vpp.answer(1);
  t.same(
    lab.vpp.take(),
    ['-input_acl_set_interface 11', 'input_acl_set_interface 11'],
    'the redirect table has its index',
  );
  await lab.vpp.answerAll();
  t.match(lab.executor.gauges(), { transactions: 0, in_flight: 0 });
});

t.test('64 messages are in flight, and sixteen are sent when as many are answered', async (t) => {
  const lab = new ExecutorLab();
  const result = lab.run(adds(...routes(1000)));
  t.equal(lab.vpp.inFlight('prompt').length, window);
  for (let answered = 1; answered <= 800; answered += 1) {
    const { length } = lab.vpp.log;
    await lab.vpp.answer(1);
    t.equal(lab.vpp.log.length - length, answered % refill === 0 ? refill : 0);
  }
  await lab.vpp.answerAll();
  t.equal(lab.vpp.most.prompt, window);
  t.same(
    lab.vpp.log,
    routes(1000).map((_, n) => sentRoute(n)),
    'in order',
  );
  t.equal((await result).error, undefined);
});

t.test('operations that need several messages exceed the window by less than one of them', async (t) => {
  const lab = new ExecutorLab();
  lab.handles.made(tap('a'), 1);
  const urpf = (n: number): VppObject => ({
    kind: 'urpf',
    interface: 'a',
    family: 4,
    mode: 'strict',
    table_id: n,
  });
  const result = lab.run(adds(...routes(1), ...Array.from({ length: 100 }, (_, n) => urpf(n))));
  await lab.vpp.answerAll();
  t.ok(lab.vpp.most.prompt <= window + 1, `${lab.vpp.most.prompt}`);
  t.equal((await result).outcomes.length, 101);
});

t.test('operations that need no message are over at once, and under suspicion of nothing', async (t) => {
  const lab = new ExecutorLab();
  const result = lab.run([...adds(...routes(5).map((o) => ({ ...o, paths: [] }) as VppObject), tap('a'))]);
  t.equal(lab.vpp.log.length, 6);
  const lost = lab.run(adds(...Array.from({ length: 1000 }, (_, n) => route(`10.9.${n}.0/32`, 'gone'))), {
    owner: 'lost',
  });
  t.equal(lab.executor.suspects().length, 6);
  await lab.vpp.answerAll();
  await result;
  t.equal(lab.executor.suspects().length, 6, 'they do not push out of memory what was answered last');
  const { outcomes } = await lost;
  t.equal(outcomes.filter(({ error }) => error instanceof UnknownHandle).length, 1000);
});

t.test('owners with much to do take turns', async (t) => {
  const lab = new ExecutorLab();
  let done = '';
  for (const net of [10, 11])
    lab.run(adds(...routes(10_000, net)), { owner: `net ${net}`, urgency: 'bulk' }).then(() => {
      done += `${net} `;
    });
  for (let answered = 0; answered < 10_000; answered += window) {
    await lab.vpp.answer(window, 'bulk');
    const count = (net: number) => lab.vpp.log.filter((text) => text.includes(` ${net}.`)).length;
    if (answered % 1024 === 0)
      t.ok(Math.abs(count(10) - count(11)) <= window + 16, `${count(10)} ${count(11)}`);
  }
  await lab.vpp.answerAll();
  t.equal(done, '10 11 ');
  t.equal(lab.vpp.most.bulk, window);
});

t.test('a pod that is made goes before whoever else waits on its connection', async (t) => {
  const lab = new ExecutorLab();
  lab.run(adds(...routes(200)), { owner: 'audit' });
  lab.run(adds(...routes(200, 11)), { owner: 'node' });
  lab.vpp.take();
  lab.run(adds(...routes(20, 12)), { owner: 'pod', urgency: 'urgent' });
  await lab.vpp.answer(2 * refill);
  t.same(
    lab.vpp.take().slice(0, 20),
    routes(20).map((_, n) => sentRoute(n, 12)),
  );
  await lab.vpp.answerAll();
});

t.test('bulk goes by a connection of its own and delays nobody', async (t) => {
  const lab = new ExecutorLab();
  lab.run(adds(...routes(1000)), { owner: 'bgp', urgency: 'bulk' });
  t.equal(lab.vpp.inFlight('bulk').length, window);
  lab.run(adds(...routes(3, 11)), { owner: 'node' });
  t.same(lab.vpp.inFlight('prompt'), [sentRoute(0, 11), sentRoute(1, 11), sentRoute(2, 11)]);
  await lab.vpp.answerAll();
});

t.test('one transaction of an owner is under way at a time', async (t) => {
  const lab = new ExecutorLab();
  const ends: string[] = [];
  lab.run(adds(...routes(2))).then(() => ends.push('first'));
  lab.run(adds(route('10.9.0.0/16')), { urgency: 'bulk' }).then(() => ends.push('second'));
  lab.run(adds(route('10.8.0.0/16'))).then(() => ends.push('third'));
  t.match(lab.executor.gauges(), { transactions: 1, transactions_waiting: 2 });
  await lab.vpp.answer(1);
  t.equal(lab.vpp.log.length, 2, 'the second waits for all answers to the first');
  await lab.vpp.answer(1);
  t.same(lab.vpp.inFlight('bulk'), ['ip_route_add_del_v2 10.9.0.0/16']);
  t.same(lab.vpp.inFlight('prompt'), []);
  await lab.vpp.answerAll();
  t.same(ends, ['first', 'second', 'third']);
});

t.test('a transaction that nobody waits for any more when its turn comes is not sent', async (t) => {
  const lab = new ExecutorLab();
  let given_up = false;
  lab.run(adds(...routes(100)));
  const next = lab.run(adds(route('10.9.0.0/16')), {}, () => given_up);
  const full = lab.run(adds(route('10.8.0.0/16')), { owner: 'other' }, () => given_up);
  const after = lab.run(adds(route('10.7.0.0/16')));
  given_up = true;
  await lab.vpp.answerAll();
  await t.rejects(next, Abandoned);
  await t.rejects(full, Abandoned, 'also one whose turn comes late because the window was full');
  t.equal((await after).error, undefined);
  t.notOk(lab.vpp.log.some((text) => / 10\.[98]\.0\.0/.test(text)));
});

t.test('what was begun is carried out, whether somebody waits or not', async (t) => {
  const lab = new ExecutorLab();
  let given_up = false;
  const result = lab.run(adds(...routes(100)), {}, () => given_up);
  given_up = true;
  await lab.vpp.answerAll();
  t.equal((await result).outcomes.length, 100);
});

t.test('what is on its way for nobody any more is over before a reading begins', async (t) => {
  const lab = new ExecutorLab();
  const given_up = new Set<string>();
  const begun = (owner: string, changes: Partial<Transaction> = {}) =>
    lab.run(adds(...routes(3)), { owner, ...changes }, () => given_up.has(owner));
  let over = false;
  const look = async (): Promise<boolean> => {
    over = false;
    void lab.executor.nobodysIsOver().then(() => {
      over = true;
    });
    await turn();
    return over;
  };
  begun('pod');
  begun('routes', { urgency: 'bulk' });
  t.ok(await look(), 'somebody waits for all that is under way');
  given_up.add('pod').add('waits');
  lab.run(adds(...routes(64, 11)), { owner: 'long' }, () => given_up.has('long'));
  begun('waits');
  t.notOk(await look());
  await lab.vpp.answer(2);
  t.notOk(over, 'a half of it is there');
  await lab.vpp.answer(1);
  await turn();
  t.ok(over, 'what has not been begun will not be, and others are still at work');
  given_up.add('long');
  t.notOk(await look());
  lab.executor.fail(new Error('closed'));
  await turn();
  t.ok(over, 'the end of the session ends it');
});

t.test(
  'an interface is announced once, when what needs it has been sent and is not answered yet',
  async (t) => {
    const lab = new ExecutorLab();
    const announced = { interface_made: (tag: string) => void lab.vpp.log.push(`made ${tag}`) };
    lab.run(adds(tap('a'), up('a'), route('10.1.0.0/16')), announced);
    await lab.vpp.answerAll();
    t.same(lab.vpp.take(), [
      'tap_create_v3 a',
      'sw_interface_set_flags 11',
      'ip_route_add_del_v2 10.1.0.0/16',
      'made a',
    ]);
    await lab.does(adds(tap('b')), announced);
    t.same(lab.vpp.take(), ['tap_create_v3 b', 'made b'], 'also one that nothing needs');

    lab.vpp.refuses = (text) => (text.startsWith('tap_create') ? -12 : undefined);
    await lab.does(adds(tap('c'), up('c')), announced);
    t.notOk(lab.vpp.log.includes('made c'), 'one that was not made is not');

    lab.vpp.refuses = (text) => (text.startsWith('sw_interface_set_flags') ? -1 : undefined);
    lab.vpp.take();
    await lab.does(adds(up('a'), tap('d')), { ...announced, on_error: 'rollback' });
    t.notOk(lab.vpp.log.includes('made d'), 'nor one that is undone');
  },
);

t.test('an interface that is made anew in one transaction is the new one from then on', async (t) => {
  const lab = new ExecutorLab();
  lab.handles.made(tap('a'), 5);
  const { outcomes } = await lab.does([...removes(up('a'), tap('a')), ...adds(tap('a'), up('a'))]);
  t.ok(outcomes.every(({ error }) => error === undefined));
  t.equal(lab.handles.interface('a'), 13);
  t.same(lab.vpp.log.at(-1), 'sw_interface_set_flags 13');
});

t.test('a refused operation is an outcome, and the others are carried out', async (t) => {
  const lab = new ExecutorLab();
  lab.vpp.refuses = (text) => (text.startsWith('tap_create') ? -12 : undefined);
  const { outcomes, error } = await lab.does(
    adds(route('10.1.0.0/16'), tap('a'), up('a'), route('10.2.0.0/16')),
  );
  t.match(
    outcomes.map((outcome) => outcome.error),
    [undefined, { retval: -12 }, UnknownHandle, undefined],
    'what hangs on the refused interface fails with it',
  );
  t.match(error, { retval: -12 });
});

t.test('a value that no message can hold is an error of its object alone', async (t) => {
  const lab = new ExecutorLab();
  lab.vpp.refuses = (text) =>
    /ip_neighbor_add_del/.test(text) ? new MalformedError('ip_neighbor.mac_address') : undefined;
  lab.handles.made(tap('a'), 1);
  const neighbour: VppObject = { kind: 'neighbour', interface: 'a', address: '10.0.0.1', mac: 'nonsense' };
  const { outcomes } = await lab.does(adds(neighbour, route('10.1.0.0/16')));
  t.match(
    outcomes.map(({ error }) => error),
    [{ code: 'malformed' }, undefined],
  );
});

t.test(
  'what VPP sent and nobody can read is the end of the session, and no error of an object',
  async (t) => {
    const lab = new ExecutorLab();
    const cause = new MalformedError('message id 12345 is not in the message table');
    const lost = new DisconnectedError(cause.message, 'ip_route_add_del_v2', true, { cause });
    lab.vpp.refuses = () => lost;
    const result = lab.run(adds(...routes(3)));
    await lab.vpp.answer(3);
    await t.rejects(result, lost);
  },
);

t.test('nor does an object of which no request can be made cost anybody else', async (t) => {
  const lab = new ExecutorLab();
  lab.handles.made({ kind: 'redirect_table', family: 4 }, 3);
  lab.handles.made(tap('a'), 1);
  const rule = {
    kind: 'redirect_rule',
    protocol: 'udp',
    port: 53,
    address: 'nonsense',
    interface: 'a',
    next_hop: '10.0.0.1',
  } as const;
  for (const operations of [adds(rule), removes(rule)]) {
    const { outcomes } = await lab.does([...operations, ...adds(route('10.1.0.0/16'))]);
    t.match(
      outcomes.map(({ error }) => error),
      [RangeError, undefined],
    );
  }
});

t.test('after a refusal a transaction that is rolled back sends nothing more, and is undone', async (t) => {
  const lab = new ExecutorLab();
  lab.vpp.refuses = (text) => (text.startsWith('tap_create') ? -12 : undefined);
  const { outcomes, error } = await lab.does(
    adds(route('10.1.0.0/16'), tap('a'), up('a'), route('10.2.0.0/16')),
    { on_error: 'rollback' },
  );
  t.match(
    outcomes.map((outcome) => outcome.error),
    [NotDone, RetvalError, NotDone, NotDone],
  );
  t.match(outcomes[0]?.error?.message, /^undone: /);
  t.match(outcomes[2]?.error?.message, /^not sent: /);
  t.match(error, { retval: -12 });
  t.same(lab.vpp.log, [
    'ip_route_add_del_v2 10.1.0.0/16',
    'tap_create_v3 a',
    '-ip_route_add_del_v2 10.1.0.0/16',
  ]);
});

t.test('a rollback waits for what is on its way, and undoes it in the safe order', async (t) => {
  const lab = new ExecutorLab();
  lab.vpp.refuses = (text) => (text.endsWith(' 10.5.0.0/16') ? -1 : undefined);
  const pod = adds(tap('a'), up('a'), route('10.5.0.0/16'), route('10.1.0.0/16', 'a'));
  const result = lab.run(pod, { on_error: 'rollback' });
  await lab.vpp.answer(1);
  lab.vpp.take();
  await lab.vpp.answer(2);
  t.same(lab.vpp.take(), [], 'the route is not answered yet');
  await lab.vpp.answerAll();
  t.same(
    lab.vpp.take().filter((text) => !text.includes('snat')),
    ['-ip_route_add_del_v2 10.1.0.0/16', 'sw_interface_set_flags 11', 'tap_delete_v2 11'],
  );
  t.match(
    (await result).outcomes.map(({ error }) => error),
    [NotDone, NotDone, RetvalError, NotDone],
  );
});

t.test('what VPP refuses to remove of a rolled back transaction is still there', async (t) => {
  const lab = new ExecutorLab();
  lab.vpp.refuses = (text) =>
    text.endsWith(' 10.5.0.0/16') || text.startsWith('tap_delete') ? -1 : undefined;
  const mtu: VppObject = { kind: 'interface_mtu', interface: 'a', mtu: 1500 };
  const result = await lab.does(adds(tap('a'), mtu, up('a'), route('10.5.0.0/16')), { on_error: 'rollback' });
  t.match(
    result.outcomes.map(({ error }) => error),
    [undefined, undefined, NotDone, RetvalError],
    'and so is what only goes with it',
  );
  t.equal(lab.handles.interface('a'), 11);
});

t.test('an interface is not made anew beside the one that VPP would not let go', async (t) => {
  const by_tap = route('10.5.0.0/16', 'a');
  for (const refused of ['-ip_route_add_del_v2', 'tap_delete_v2']) {
    const lab = new ExecutorLab();
    await lab.does(adds(tap('a'), by_tap));
    lab.vpp.refuses = (text) => (text.startsWith(refused) ? -1 : undefined);
    lab.vpp.take();
    const result = lab.run([...removes(by_tap, tap('a')), ...adds(tap('a'), by_tap, tap('b'))]);
    await lab.vpp.answerAll();
    const { outcomes } = await result;
    t.notOk(lab.vpp.log.includes('tap_create_v3 a'), refused);
    t.match(outcomes[2]?.error, { code: 'not_done', message: /^not sent: tap:a is still there$/ });
    t.equal(outcomes[3]?.error, undefined, 'what led by it leads by it again');
    t.equal(outcomes[4]?.error, undefined, 'others are made');
    t.equal(lab.handles.interface('a'), 11);
  }
});

t.test('an interface is made anew when VPP has let the one of before go', async (t) => {
  const lab = new ExecutorLab();
  await lab.does(adds(tap('a'), up('a')));
  lab.vpp.take();
  const result = lab.run([...removes(tap('a')), ...adds(tap('a'), up('a'))]);
  await lab.vpp.answer(0);
  t.same(lab.vpp.take(), ['tap_delete_v2 11']);
  await lab.vpp.answerAll();
  t.equal((await result).error, undefined);
  t.equal(lab.vpp.take()[0], 'tap_create_v3 a');
  t.not(lab.handles.interface('a'), 11);
});

t.test('a rollback keeps to the window, and others go on beside it', async (t) => {
  const lab = new ExecutorLab();
  lab.vpp.refuses = (text) => (text.endsWith(' 10.5.0.0/16') ? -1 : undefined);
  const result = lab.run(adds(...routes(500), route('10.5.0.0/16')), { on_error: 'rollback' });
  while (!lab.vpp.log.some((text) => text.startsWith('-'))) await lab.vpp.answer(window);
  lab.vpp.take();
  lab.run(adds(route('11.0.0.0/8')), { owner: 'other' });
  await lab.vpp.answer(window);
  t.ok(lab.vpp.take().includes('ip_route_add_del_v2 11.0.0.0/8'));
  await lab.vpp.answerAll();
  t.equal(lab.vpp.most.prompt, window);
  const { outcomes } = await result;
  t.equal(outcomes.filter(({ error }) => error instanceof NotDone).length, 500);
});

t.test('to remove what is not there is a success', async (t) => {
  for (const retval of [-2, -3, -6, -60]) {
    const lab = new ExecutorLab();
    lab.vpp.refuses = (text) => (text.startsWith('tap_delete') ? retval : undefined);
    lab.handles.made(tap('a'), 5);
    const { outcomes } = await lab.does(removes(tap('a'), tap('b'), up('b')));
    t.same(
      outcomes.map(({ error }) => error),
      [undefined, undefined, undefined],
      `retval ${retval}`,
    );
  }
});

t.test('an interface goes when all that refers to it has gone', async (t) => {
  const table = { kind: 'table', family: 4, table_id: 7, name: 'a', multicast: true } as const;
  const there = [tap('a'), table, route('10.1.0.0/16', 'a'), up('a')] as const;
  const plan = removes(route('10.1.0.0/16', 'a'), tap('a'), table);
  await t.test('not before that is answered', async (t) => {
    const lab = new ExecutorLab();
    await lab.does(adds(...there));
    lab.vpp.take();
    const result = lab.run(plan);
    t.same(lab.vpp.take(), ['-ip_route_add_del_v2 10.1.0.0/16']);
    await lab.vpp.answerAll();
    t.match(lab.vpp.take()[0], /tap_delete_v2/);
    t.equal((await result).error, undefined);
  });
  await t.test('and not while VPP refuses to remove it, nor its table', async (t) => {
    const lab = new ExecutorLab();
    await lab.does(adds(...there));
    lab.vpp.take();
    lab.vpp.refuses = (text) => (text.startsWith('-ip_route') ? -1 : undefined);
    const result = lab.run(plan);
    await lab.vpp.answerAll();
    t.same(lab.vpp.take(), ['-ip_route_add_del_v2 10.1.0.0/16']);
    const { outcomes } = await result;
    t.match(
      outcomes.map(({ error }) => error),
      [RetvalError, NotDone, NotDone],
    );
  });
  await t.test('also where a transaction is rolled back', async (t) => {
    const lab = new ExecutorLab();
    lab.vpp.refuses = (text) =>
      text.startsWith('-ip_route') || text.startsWith('sw_interface_set_flags') ? -1 : undefined;
    const result = lab.run(adds(table, tap('a'), route('10.1.0.0/16', 'a'), up('a')), {
      on_error: 'rollback',
    });
    await lab.vpp.answerAll();
    t.notOk(lab.vpp.take().some((text) => /tap_delete|-ip_table/.test(text)));
    t.match(
      (await result).outcomes.map(({ error }) => error),
      [undefined, undefined, undefined, RetvalError],
      'what is there is told',
    );
  });
});

t.test('an interface that VPP refuses to delete keeps its name', async (t) => {
  const lab = new ExecutorLab();
  lab.vpp.refuses = (text) => (text.startsWith('tap_delete') ? -1 : undefined);
  lab.handles.made(tap('a'), 5);
  const { outcomes } = await lab.does(removes(tap('a')));
  t.match(outcomes[0]?.error, { retval: -1 });
  t.equal(lab.handles.interface('a'), 5);
});

t.test('an address that is there already is as it should be', async (t) => {
  const lab = new ExecutorLab();
  lab.vpp.refuses = () => -105;
  lab.handles.made(tap('a'), 5);
  const address: VppObject = { kind: 'interface_address', interface: 'a', prefix: '10.0.0.2/24' };
  t.equal((await lab.does(adds(address))).error, undefined);
  lab.vpp.refuses = () => -114;
  t.match((await lab.does(adds(address))).error, { retval: -114 });
});

t.test('an interface that cannot be given its tag is deleted again', async (t) => {
  const lab = new ExecutorLab();
  lab.vpp.refuses = (text) => (text.startsWith('sw_interface_tag_add_del') ? -2 : undefined);
  const device = desiredNode(nodeOf(), true).find(({ kind }) => kind === 'af_packet')!;
  const { error } = await lab.does(adds(device));
  t.match(error, { message_name: 'sw_interface_tag_add_del' });
  t.same(lab.vpp.log, ['af_packet_create_v3 eth0', 'sw_interface_tag_add_del 11', 'af_packet_delete eth0']);
  t.throws(() => lab.handles.interface('main-eth0'), UnknownHandle);
});

t.test('an interface that VPP made by itself is neither made nor forgotten', async (t) => {
  const lab = new ExecutorLab();
  const device: VppObject = { kind: 'existing_interface', tag: 'main-eth0' };
  t.match((await lab.does(adds(device))).error, UnknownHandle);
  lab.handles.made(device, 3);
  const { error } = await lab.does([...removes(device), ...adds(device, up('main-eth0'))]);
  t.equal(error, undefined);
  t.same(lab.vpp.log, ['sw_interface_set_flags 3']);
});

t.test('an operation of several messages ends with its last answer', async (t) => {
  const lab = new ExecutorLab();
  lab.handles.made(tap('node-snat'), 1);
  lab.vpp.refuses = (text) => (text.startsWith('cli_inband') ? -1 : undefined);
  let ended = false;
  const result = lab.run(adds({ kind: 'snat_policy', policy: 'if_pfx', keeper: 'node-snat' }));
  result.then(() => {
    ended = true;
  });
  await lab.vpp.answer(1);
  t.notOk(ended, 'the first one was refused, the second is on its way');
  await lab.vpp.answer(1);
  t.match((await result).error, { retval: -1 });
});

t.test('the end of the connection rejects all that waits, and whatever comes later', async (t) => {
  for (const on_error of ['continue', 'rollback'] as const) {
    const lab = new ExecutorLab();
    const under_way = lab.run(adds(...routes(100)), { on_error });
    const waits = lab.run(adds(tap('a')));
    const bulk = lab.run(adds(...routes(100, 11)), { owner: 'bulk', urgency: 'bulk' });
    await lab.vpp.answer(3);
    lab.vpp.die();
    await turn();
    for (const each of [under_way, waits, bulk, lab.run(adds(tap('b')))])
      await t.rejects(each, { message: 'disconnected' });
  }
});

t.test('what VPP answers after the end of a session moves nothing more', async (t) => {
  const lab = new ExecutorLab();
  const under_way = lab.run(adds(...routes(100)));
  lab.executor.fail(new Error('closed'));
  await lab.vpp.answer(64);
  t.equal(lab.vpp.log.length, 64);
  await t.rejects(under_way, { message: 'closed' });
});

t.test('twenty thousand operations: what is in flight stays small', async (t) => {
  const lab = new ExecutorLab();
  const result = lab.run(adds(...routes(20_000)), { urgency: 'bulk' });
  let suspects = 0;
  while (lab.vpp.inFlight('bulk').length > 0) {
    suspects = Math.max(suspects, lab.executor.suspects().length);
    await lab.vpp.answer(window, 'bulk');
    lab.vpp.take();
  }
  const { outcomes, error } = await result;
  t.equal(error, undefined);
  t.equal(outcomes.length, 20_000);
  t.equal(suspects, window);
  t.equal(lab.vpp.most.bulk, window);
  t.match(lab.executor.gauges(), { transactions: 0, in_flight: 0 });
});

t.test('operations that are all refused before they are sent leave others their turns', async (t) => {
  const lab = new ExecutorLab();
  let turns = 0;
  let ended = false;
  const others = (): void => {
    turns += 1;
    if (!ended) setImmediate(others);
  };
  setImmediate(others);
  const all = Array.from({ length: 20_000 }, (_, n) => route(`10.${n >> 8}.${n & 255}.0/24`, 'nowhere'));
  const { outcomes } = await lab.run(adds(...all), { urgency: 'bulk' });
  ended = true;
  t.equal(outcomes.length, 20_000);
  t.ok(
    outcomes.every(({ error }) => error instanceof UnknownHandle),
    'VPP has no such interface',
  );
  t.ok(turns >= 70, `the event loop has turned ${turns} times`);
  t.strictSame(lab.vpp.log, []);
});
