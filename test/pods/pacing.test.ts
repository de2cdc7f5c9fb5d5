import t from 'tap';
import { done_within_ms, gap_ms_max, nextRemoval, patience_ms, removal_ms } from '../../src/pods/pacing.js';
import { type Call, type PodLab, podLab } from '../actors/pod-lab.js';

/** VPP does its work in the time that it was seen to need: a removal of a tap takes 20 ms of the main thread. */
function slowVpp(lab: PodLab, add_ms = 2): void {
  const take = lab.vpp.take.bind(lab.vpp);
  let free_at_ms = 0;
  lab.vpp.take = (message) => {
    const { clock } = lab.kit;
    const taps =
      message.type !== 'Transact'
        ? 0
        : message.transaction.operations.filter(
            ({ action, object }) => action === 'remove' && object.kind === 'tap',
          ).length;
    free_at_ms = Math.max(free_at_ms, clock.now_ms()) + (taps === 0 ? add_ms : 20);
    clock.after(free_at_ms - clock.now_ms(), () => take(message));
  };
}

t.test('when the next removal may go', async (t) => {
  const rows: [
    protects: string,
    lane: Partial<Parameters<typeof nextRemoval>[0]>,
    wait_ms: number | undefined,
  ][] = [
    ['nothing waits', {}, undefined],
    ['one at a time', { busy: true, waiting: [0] }, undefined],
    ['the first one goes at once', { waiting: [1000] }, 0],
    ['a pause after the last one', { waiting: [1000], ended_ms: 990 }, gap_ms_max - 10],
    ['the pause is over', { waiting: [1000], ended_ms: 900 }, 0],
    ['ADDs go first', { waiting: [1000], adds: 1 }, patience_ms],
    ['ADDs go first for a while', { waiting: [0], adds: 1 }, patience_ms - 1000],
    ['patience ends', { now_ms: 5000, waiting: [5000 - patience_ms], adds: 3 }, 0],
    ['what is urgent does not wait', { waiting: [-Infinity, 0], adds: 3, ended_ms: 1000 }, 0],
    ['nobody waits for it: when there are no ADDs', { waiting: [Infinity], adds: 1 }, Infinity],
    ['nobody waits for it: after the pause', { waiting: [Infinity], ended_ms: 1000 }, gap_ms_max],
    [
      'a long queue has short pauses',
      { waiting: Array(100).fill(1000), ended_ms: 1000 },
      done_within_ms / 100 - removal_ms,
    ],
    ['a queue that is late has none', { now_ms: 4000, waiting: Array(100).fill(0), ended_ms: 4000 }, 0],
    [
      'one that is late in the queue shortens the pause of all',
      { now_ms: 3900, waiting: [0, 3900], ended_ms: 3900 },
      gap_ms_max + 25 - removal_ms,
    ],
  ];
  for (const [protects, lane, wait_ms] of rows) {
    const found = nextRemoval({ now_ms: 1000, busy: false, ended_ms: 0, adds: 0, waiting: [], ...lane });
    t.equal(found, wait_ms, protects);
  }
});

t.test('110 ADDs at once are all answered, each with its own tables and interface', async (t) => {
  const lab = await podLab(t);
  await lab.population(110);
  t.equal(lab.vpp.kinds().tap, 110);
  const ids = lab.vpp.objects.flatMap((object) => (object.kind === 'table' ? object.table_id : []));
  t.equal(new Set(ids).size, 110);
  t.equal(lab.vpp.transactions.length, 110);
  t.match(lab.kit.node().gauges, { pods: 110, adds: 0, ready: true });
});

t.test('110 DELs at once are done within their deadline, one at a time', async (t) => {
  const lab = await podLab(t);
  await lab.population(110);
  slowVpp(lab);
  const calls = Array.from({ length: 110 }, (_, n) => lab.beginDel(`p${n}`));
  await lab.kit.clock.advance(5000);
  t.ok(calls.every(({ answer }) => answer?.successful));
  const last_ms = Math.max(...calls.map(({ at_ms }) => at_ms!));
  t.ok(last_ms > 3000 && last_ms <= 4500, `spread over the time there is: ${last_ms} ms`);
  const starts = lab.removals().map(({ at_ms }) => at_ms);
  t.equal(starts.length, 110);
  t.ok(
    starts.every((at, n) => n === 0 || at - starts[n - 1]! >= 20),
    'each begins when the one before has ended',
  );
  t.strictSame(lab.vpp.objects, []);
  t.strictSame(lab.kit.children, []);
});

t.test('removals do not hold ADDs up, nor ADDs removals for ever', async (t) => {
  const lab = await podLab(t);
  await lab.population(20);
  slowVpp(lab, 20);
  const dels = Array.from({ length: 20 }, (_, n) => lab.beginDel(`p${n}`));
  const adds: Call[] = [];
  // ADDs keep coming, so that one is always under way.
  for (let ms = 0; ms < 2000; ms += 10) {
    while (adds.filter(({ answer }) => answer === undefined).length < 2) {
      adds.push(lab.begin(`q${adds.length}`, { ips: [`10.1.0.${adds.length + 1}/24`] }));
    }
    await lab.kit.clock.advance(10);
  }
  await lab.kit.clock.advance(3000);
  t.ok(dels.every(({ answer }) => answer?.successful));
  const starts = lab.removals().map(({ at_ms }) => at_ms);
  t.ok(starts[1]! >= patience_ms, `after the first, ADDs go first: ${starts[1]} ms`);
  t.ok(Math.max(...dels.map(({ at_ms }) => at_ms!)) < 4750, 'in time');
  t.ok(adds.length > 50 && adds.every(({ answer }) => answer?.successful));
});
