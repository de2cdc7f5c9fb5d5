import t from 'tap';
import { keyOf, type VppObject } from '../../src/objects/object.js';
import { Quarantine, QuarantinedError } from '../../src/vpp-conn/quarantine.js';
import { adds, ExecutorLab, removes, route, routes, sentRoute, tap, turn, up } from './executor-lab.js';

const window = 64;
const probation_ms = 20;
const slow_probation_ms = 250;

/** Answers until VPP gets what kills it; true if it did. The clock is turned whenever nothing else is to be done. */
async function live(lab: ExecutorLab, deadly: string, until: () => boolean): Promise<boolean> {
  for (let idle = 0; !until(); ) {
    for (const way of ['prompt', 'bulk'] as const) {
      const asked = lab.vpp.inFlight(way);
      const fatal = asked.indexOf(deadly);
      if (fatal === 0) return true;
      await lab.vpp.answer(fatal === -1 ? asked.length : fatal, way);
    }
    if (lab.vpp.inFlight('prompt').length + lab.vpp.inFlight('bulk').length > 0) continue;
    await lab.clock.advance(probation_ms);
    idle += 1;
    if (idle > 1000) throw new Error('nothing moves');
  }
  return false;
}

t.test(
  'one poison object in a batch of ten thousand is found in two deaths, and the rest is done',
  async (t) => {
    const lab = new ExecutorLab();
    const batch = routes(10_000);
    const poison = 5000;
    const run = (changes = {}) => lab.run(adds(...batch), { urgency: 'bulk', owner: 'bgp', ...changes });

    run();
    t.ok(await live(lab, sentRoute(poison), () => false));
    const accused = lab.dies();
    t.ok(accused.length <= window, `${accused.length} were in flight`);
    t.ok(accused.includes(keyOf(batch[poison]!)));

    const others: string[] = [];
    run();
    for (const n of [1, 2, 3])
      lab.run(adds(...routes(100, 20 + n)), { owner: `other ${n}` }).then(() => others.push(`other ${n}`));
    t.ok(await live(lab, sentRoute(poison), () => false));
    t.same(lab.vpp.inFlight('bulk'), [sentRoute(poison)], 'it is alone');
    t.same(lab.vpp.inFlight('prompt'), []);
    t.same(others, ['other 1', 'other 2', 'other 3'], 'others went on meanwhile');
    t.same(lab.dies(), [keyOf(batch[poison]!)]);
    t.same(lab.quarantine.list(), [keyOf(batch[poison]!)]);

    let ended = false;
    const third = run();
    third.then(() => {
      ended = true;
    });
    t.notOk(await live(lab, sentRoute(poison), () => ended));
    const { outcomes, error } = await third;
    const refused = outcomes.filter((outcome) => outcome.error !== undefined);
    t.equal(refused.length, 1);
    t.match(refused[0], { operation: { object: batch[poison] }, error: QuarantinedError });
    t.match(error?.message, /route:node\/0\/10\.0\.19\.136\/32: VPP died twice/);
  },
);

t.test('a suspect is alone: nothing of its own transaction is on its way either', async (t) => {
  const lab = new ExecutorLab();
  lab.quarantine.accuse([
    { name: keyOf(route('10.0.0.5/32')), content: content('add', route('10.0.0.5/32')), answered: false },
  ]);
  lab.run(adds(...routes(10)));
  t.equal(lab.vpp.inFlight('prompt').length, 5);
  await lab.vpp.answer(4);
  t.equal(lab.vpp.inFlight('prompt').length, 1, 'one is still on its way');
  await lab.vpp.answer(1);
  t.same(lab.vpp.inFlight('prompt'), [sentRoute(5)]);
  t.same(
    lab.executor.suspects().map(({ name }) => name),
    [keyOf(route('10.0.0.5/32'))],
  );
  lab.run(adds(route('11.0.0.0/8')), { owner: 'other', urgency: 'bulk' });
  await lab.vpp.answer(1);
  t.same(lab.vpp.inFlight('prompt').concat(lab.vpp.inFlight('bulk')), [], 'and for a while after its answer');
  t.match(lab.executor.suspects(), [{ name: keyOf(route('10.0.0.5/32')), answered: true }]);
  await lab.clock.advance(probation_ms - 1);
  t.same(lab.vpp.inFlight('bulk'), []);
  await lab.clock.advance(1);
  t.equal(lab.vpp.inFlight('prompt').length, 4);
  t.equal(lab.vpp.inFlight('bulk').length, 1);
  t.ok(lab.quarantine.empty, 'VPP lives: it is acquitted');
});

function content(action: 'add' | 'remove', object: VppObject): string {
  return `${action} ${JSON.stringify(object)}`;
}

t.test('a pod that kills VPP is convicted as a whole, whoever is beside it', async (t) => {
  const lab = new ExecutorLab();
  const pod = (name: string, ...objects: VppObject[]) =>
    lab.run(adds(...objects), {
      owner: name,
      urgency: 'urgent',
      on_error: 'rollback',
      subject: { name, content: 'asks' },
    });
  const all = () => {
    pod('a', tap('a'), up('a'), route('10.0.0.1/32', 'a'));
    pod('b', tap('b'), up('b'), route('10.0.0.2/32', 'b'));
  };
  all();
  await lab.vpp.answer(2);
  t.same(lab.dies(), ['a', 'b']);
  all();
  t.same(lab.vpp.take(), ['tap_create_v3 a']);
  await lab.vpp.answer(1);
  t.same(lab.vpp.take(), ['sw_interface_set_flags 11', 'ip_route_add_del_v2 10.0.0.1/32'], 'all of it');
  await lab.vpp.answer(2);
  await lab.clock.advance(probation_ms);
  t.same(lab.vpp.take(), ['tap_create_v3 b']);
  t.same(lab.dies(), ['b']);
  all();
  t.same(lab.vpp.take(), ['tap_create_v3 a'], 'b is refused, a was acquitted');
  t.same(lab.quarantine.list(), ['b']);
  await lab.vpp.answerAll();
  await t.resolveMatch(pod('b', tap('b'), up('b')), {
    error: { code: 'quarantined', message: /^b: VPP died twice/ },
    outcomes: [{ error: QuarantinedError }, { error: { code: 'not_done' } }],
  });
  t.notOk(lab.vpp.log.some((text) => text.endsWith(' b')));
});

t.test('a death with nothing on its way accuses what was answered in the last second', async (t) => {
  const lab = new ExecutorLab();
  await lab.does(adds(route('10.0.0.1/32')));
  await lab.clock.advance(1001);
  await lab.does(adds(route('10.0.0.2/32'), route('10.0.0.3/32')));
  await lab.clock.advance(900);
  const [second, third] = ['10.0.0.2/32', '10.0.0.3/32'].map((prefix) => keyOf(route(prefix)));
  t.same(lab.dies(), [second, third]);

  let ended = false;
  lab.run(adds(route('10.0.0.2/32'), route('10.0.0.3/32'))).then(() => {
    ended = true;
  });
  t.same(lab.vpp.inFlight('prompt'), ['ip_route_add_del_v2 10.0.0.2/32']);
  await lab.vpp.answer(1);
  await lab.clock.advance(slow_probation_ms - 1);
  t.same(lab.vpp.inFlight('prompt'), [], 'it has its probation for itself');
  await lab.clock.advance(1);
  t.same(lab.vpp.inFlight('prompt'), ['ip_route_add_del_v2 10.0.0.3/32']);
  await lab.vpp.answer(1);
  t.ok(ended, 'who asks is answered at once');
  await lab.clock.advance(slow_probation_ms / 2);
  t.same(lab.dies(), [third]);
  t.same(lab.quarantine.list(), [third]);
});

t.test('a VPP that hangs has died when it was heard last, not when it was found out', async (t) => {
  const lab = new ExecutorLab();
  await lab.does(adds(route('10.0.0.1/32')));
  await lab.clock.advance(1500);
  await lab.does(adds(route('10.0.0.2/32')));
  lab.heard_ms = lab.clock.now_ms() + 400;
  await lab.clock.advance(3000);
  t.same(lab.dies(), [keyOf(route('10.0.0.2/32'))]);
});

t.test('of pods that were made together none is too large for another one to be remembered', async (t) => {
  const lab = new ExecutorLab();
  const names = Array.from({ length: 16 }, (_, n) => `pod ${n}`);
  for (const name of names) {
    const subject = { name, content: name };
    await lab.does(adds(tap(name), up(name), ...routes(3)), { owner: name, subject });
  }
  t.same(lab.dies(), names);
});

t.test('what VPP answered before is no suspect while something is on its way', async (t) => {
  const lab = new ExecutorLab();
  await lab.does(adds(route('10.0.0.1/32')));
  lab.run(adds(route('10.0.0.2/32')));
  t.same(lab.dies(), [keyOf(route('10.0.0.2/32'))]);
});

t.test('what the node cannot be without is never suspected, nor held up by its own name', async (t) => {
  const lab = new ExecutorLab();
  for (let life = 0; life < 3; life += 1) {
    lab.run(adds(...routes(5)), { owner: 'node', essential: true });
    t.equal(lab.vpp.inFlight('prompt').length, 5);
    t.same(lab.dies(), []);
  }
});

t.test('what the node cannot be without hides nobody: on its way, or answered since', async (t) => {
  const lab = new ExecutorLab();
  const pod = { owner: 'a', subject: { name: 'a', content: 'asks' } };
  await lab.does(adds(route('10.0.0.1/32')), pod);
  lab.run(adds(...routes(5)), { owner: 'node', essential: true });
  t.same(lab.dies(), ['a']);
  lab.quarantine.acquit({ name: 'a', content: 'asks' });
  await lab.does(adds(route('10.0.0.1/32')), pod);
  await lab.does(adds(...routes(20)), { owner: 'node', essential: true });
  t.same(lab.dies(), ['a']);
});

t.test('silence after its probation acquits no suspect: VPP may be writing its core file', async (t) => {
  const lab = new ExecutorLab();
  const suspect = route('10.0.0.1/32');
  const accuse = () =>
    lab.quarantine.accuse([{ name: keyOf(suspect), content: content('add', suspect), answered: true }]);
  accuse();
  const asked: { answer(): void; fail(): void }[] = [];
  lab.answers = () =>
    new Promise((answer, reject) =>
      asked.push({ answer: () => answer(null), fail: () => reject(new Error()) }),
    );
  const begin = async () => {
    lab.run(adds(suspect));
    lab.run(adds(route('11.0.0.0/8')), { owner: 'other' });
    await lab.vpp.answer(1);
    await lab.clock.advance(slow_probation_ms - 1);
    t.equal(asked.length, 0);
    await lab.clock.advance(1);
    t.equal(asked.length, 1);
    await lab.clock.advance(10_000);
    t.same(lab.vpp.inFlight('prompt'), [], 'everybody waits');
  };
  await begin();
  t.same(lab.dies(), [keyOf(suspect)]);
  asked.pop()!.answer();
  await turn();
  t.same(lab.quarantine.list(), [keyOf(suspect)], 'what is heard later is of no use');

  lab.quarantine = new Quarantine({ read: () => undefined, write: () => undefined }, () => undefined);
  accuse();
  lab.begin();
  await begin();
  asked.pop()!.fail();
  await turn();
  await lab.clock.advance(slow_probation_ms);
  t.same([lab.vpp.inFlight('prompt'), asked.length], [[], 1], 'it is asked again');
  asked.pop()!.answer();
  await turn();
  t.same(lab.vpp.inFlight('prompt'), ['ip_route_add_del_v2 11.0.0.0/8']);
  t.ok(lab.quarantine.empty);
});

t.test('a suspect that is refused, given up or changed holds nobody up', async (t) => {
  const suspect = route('10.0.0.2/32');
  const accused = () => {
    const lab = new ExecutorLab();
    lab.quarantine.accuse([{ name: keyOf(suspect), content: content('add', suspect), answered: false }]);
    return lab;
  };

  const refused = accused();
  refused.vpp.refuses = (text) => (text.endsWith('10.0.0.2/32') ? -1 : undefined);
  refused.run(adds(suspect));
  refused.run(adds(route('11.0.0.0/8')), { owner: 'other' });
  await refused.vpp.answer(1);
  await refused.clock.advance(probation_ms);
  t.same(refused.vpp.inFlight('prompt'), ['ip_route_add_del_v2 11.0.0.0/8'], 'refused');

  const failed = accused();
  failed.vpp.refuses = (text) => (text.endsWith('10.0.0.1/32') ? -1 : undefined);
  const result = failed.run(adds(route('10.0.0.0/32'), route('10.0.0.1/32'), suspect), {
    on_error: 'rollback',
  });
  failed.run(adds(route('11.0.0.0/8')), { owner: 'other', urgency: 'bulk' });
  await failed.vpp.answerAll();
  t.match((await result).outcomes[2], { error: { code: 'not_done' } });
  t.ok(failed.vpp.log.includes('ip_route_add_del_v2 11.0.0.0/8'), 'its transaction has failed before');
  t.notOk(failed.quarantine.empty, 'and it is a suspect still');

  const given_up = accused();
  let gone = false;
  given_up.run(adds(route('11.0.0.0/8')), { owner: 'first' });
  const late = given_up.run(adds(suspect), {}, () => gone);
  given_up.run(adds(route('12.0.0.0/8')), { owner: 'other' });
  t.equal(given_up.vpp.inFlight('prompt').length, 1);
  gone = true;
  await given_up.vpp.answer(1);
  await t.rejects(late, { code: 'abandoned' });
  t.same(given_up.vpp.inFlight('prompt'), ['ip_route_add_del_v2 12.0.0.0/8'], 'given up');

  const changed = accused();
  changed.run(adds({ ...suspect, table_id: 0, paths: [{ via: 'lookup', table_id: 1 }] } as VppObject));
  changed.run(adds(route('11.0.0.0/8')), { owner: 'other' });
  t.equal(changed.vpp.inFlight('prompt').length, 2, 'what asks for something else is no suspect');
});

t.test('to take a transaction back needs no verdict', async (t) => {
  const lab = new ExecutorLab();
  const kept = route('10.0.0.1/32');
  for (let deaths = 0; deaths < 2; deaths += 1)
    lab.quarantine.accuse([{ name: keyOf(kept), content: content('remove', kept), answered: false }]);
  lab.vpp.refuses = (text) => (text.endsWith(' 10.0.0.2/32') ? -1 : undefined);
  await lab.does(adds(kept, route('10.0.0.2/32')), { on_error: 'rollback' });
  t.ok(lab.vpp.log.includes('-ip_route_add_del_v2 10.0.0.1/32'));
  t.match(await lab.does(removes(kept)), { error: { code: 'quarantined' } });
});

t.test('the end of the session ends a probation', async (t) => {
  const lab = new ExecutorLab();
  const suspect = route('10.0.0.1/32');
  lab.quarantine.accuse([{ name: keyOf(suspect), content: content('add', suspect), answered: false }]);
  lab.run(adds(suspect));
  await lab.vpp.answer(1);
  t.equal(lab.clock.pending, 1);
  lab.executor.fail(new Error('closed'));
  await turn();
  t.equal(lab.clock.pending, 0);
  t.notOk(lab.quarantine.empty);
});

t.test('a conviction holds over a restart of this process', async (t) => {
  const lab = new ExecutorLab();
  const poison = route('10.0.0.1/32');
  for (let life = 0; life < 2; life += 1) {
    lab.run(adds(poison));
    lab.dies();
  }
  lab.quarantine = new Quarantine(lab.quarantine_file, () => undefined);
  lab.begin();
  t.match(await lab.does(adds(poison)), { error: { code: 'quarantined' } });
  t.same(lab.vpp.log, []);
});

t.test('when a suspect has had its time, nobody fills the window alone', async (t) => {
  const lab = new ExecutorLab();
  const suspect = route('10.0.0.1/32');
  lab.quarantine.accuse([{ name: keyOf(suspect), content: content('add', suspect), answered: false }]);
  lab.run(adds(suspect));
  lab.run(adds(...routes(1000, 11)), { owner: 'many' });
  lab.run(adds(...routes(3, 12)), { owner: 'few' });
  await lab.vpp.answer(1);
  t.same(lab.vpp.inFlight('prompt'), []);
  await lab.clock.advance(probation_ms);
  const sent = lab.vpp.inFlight('prompt');
  t.equal(sent.length, window);
  t.same(
    sent.filter((text) => text.includes(' 12.')),
    [0, 1, 2].map((n) => sentRoute(n, 12)),
  );
});
