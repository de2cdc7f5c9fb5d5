import t from 'tap';
import type { PodMessage } from '../../src/messages/pod.js';
import type { PodRecord } from '../../src/pod/record.js';
import { DeviceRemoval } from '../../src/pods/device-removal.js';
import { collected_max } from '../../src/pods/whereabouts.js';
import { podAddress as ip, podLab } from './pod-lab.js';

/** The kernel removes no device until the function is called. */
function holdDevices(lab: { host: { removable: Promise<void> } }): () => Promise<void> {
  let release!: () => void;
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  lab.host.removable = held;
  return () => {
    release();
    lab.host.removable = Promise.resolve();
    return held;
  };
}

t.test('110 ADDs at once are all answered, each with its own tables and interface', async (t) => {
  const lab = await podLab(t);
  await lab.population(110);
  t.equal(lab.vpp.kinds().tap, 110);
  const ids = lab.vpp.objects.flatMap((object) => (object.kind === 'table' ? object.table_id : []));
  t.equal(new Set(ids).size, 110);
  t.equal(lab.vpp.transactions.length, 110);
  t.match(lab.kit.node().gauges, { pods: 110, adds: 0, ready: true });
});

t.test('110 DELs at once wait for nothing but their devices and VPP', async (t) => {
  const lab = await podLab(t);
  await lab.population(110);
  const calls = Array.from({ length: 110 }, (_, n) => lab.beginDel(`p${n}`));
  await lab.kit.settle();
  t.ok(calls.every(({ answer }) => answer?.successful));
  t.equal(lab.removals().length, 110);
  t.equal(lab.host.removals.length, 110);
  t.strictSame(lab.vpp.objects, []);
  t.strictSame(lab.kit.children, []);
});

t.test('VPP is asked when the device has gone', async (t) => {
  const lab = await podLab(t);
  await lab.add('p');
  const release = holdDevices(lab);
  const del = lab.beginDel('p');
  await lab.kit.settle();
  t.equal(lab.removals().length, 0);
  t.equal(lab.phase('p'), 'deleting', 'whatever happens now, it goes');
  t.match(lab.kit.node().gauges, { deleting: 1 });
  await release();
  await lab.kit.settle();
  t.match(del.answer, { successful: true });
  t.equal(lab.removals().length, 1);
});

t.test('a device that cannot be removed is left to VPP', async (t) => {
  const lab = await podLab(t);
  await lab.add('p');
  lab.host.failChange(1, 'EPERM');
  t.match(await lab.del('p'), { successful: true });
  t.strictSame(lab.vpp.objects, []);
  t.equal(lab.host.open(lab.netns('p')).link('eth0'), undefined);
});

t.test('an ADD behind a removal makes it urgent, and has a device of its own', async (t) => {
  const lab = await podLab(t);
  await lab.add('p');
  const release = holdDevices(lab);
  const del = lab.beginDel('p');
  await lab.kit.settle();
  const add = lab.begin('p');
  await lab.kit.settle();
  t.strictSame(
    lab.host.removals.map(({ urgent }) => urgent),
    [false, true],
  );
  await release();
  await lab.kit.settle();
  t.match(del.answer, { successful: true });
  t.match(add.answer, { successful: true, hostInterfaceName: 'vpp-tun-2' });
  t.match(lab.host.open(lab.netns('p')).link('eth0'), { kind: 'tun', up: true });
});

t.test('what was made urgent and comes too late does not take the next device', async (t) => {
  const lab = await podLab(t);
  await lab.add('p');
  const first = holdDevices(lab);
  lab.beginDel('p');
  await lab.kit.settle();
  const second = holdDevices(lab);
  const add = lab.begin('p');
  await lab.kit.settle();
  await first();
  await lab.kit.settle();
  t.match(add.answer, { successful: true });
  await second();
  await lab.kit.settle();
  t.match(lab.host.open(lab.netns('p')).link('eth0'), { kind: 'tun', up: true });
  t.ok(lab.record('p')?.device);
  await lab.kit.clock.advance(700_000);
  t.match(lab.settledness, { reason: 'pods are settled' });
});

t.test('an ADD that waits for the address of another pod makes its removal urgent', async (t) => {
  const lab = await podLab(t);
  await lab.add('a', { ips: [ip(1)] });
  const release = holdDevices(lab);
  lab.beginDel('a');
  await lab.kit.settle();
  const add = lab.begin('b', { ips: [ip(1)] });
  await lab.kit.settle();
  t.match(lab.host.removals.at(-1), { path: lab.netns('a'), urgent: true });
  await release();
  await lab.kit.settle();
  t.match(add.answer, { successful: true });
});

t.test('a removal for which somebody waits before it begins is urgent from its beginning', async (t) => {
  const dropped: boolean[] = [];
  const told: PodMessage[] = [];
  const removal = new DeviceRemoval(
    { tellSelf: (message) => told.push(message) },
    {
      drop: async (_record, urgent) => {
        dropped.push(urgent);
      },
    },
  );
  const record = {} as PodRecord;
  removal.insist(record);
  t.same(
    [removal.isDue, removal.underWay, dropped],
    [true, false, []],
    'nothing is hurried that has not begun',
  );
  removal.begin(record, false);
  removal.hurry(record);
  t.same([removal.isDue, removal.underWay, dropped], [false, true, [true, true]]);
  await Promise.resolve();
  t.same(told, [{ type: 'DeviceGone' }]);
  removal.gone();
  t.same([removal.isDue, removal.underWay], [false, false]);
  removal.end();
  removal.begin(record, false);
  t.equal(dropped.at(-1), false, 'of the next pod nobody waits for');
});

t.test('what was urgent once is not the next time', async (t) => {
  const lab = await podLab(t);
  await lab.add('p');
  await Promise.all([lab.del('p'), lab.add('p')]);
  await lab.del('p');
  t.equal(lab.host.removals.at(-1)?.urgent, false);
});

t.test('the death of VPP in the middle of a removal does not bring the pod back', async (t) => {
  const lab = await podLab(t);
  await lab.add('p');
  const release = holdDevices(lab);
  const del = lab.beginDel('p');
  await lab.kit.settle();
  lab.vpp.die();
  await lab.lost();
  await lab.ready();
  t.equal(lab.vpp.transactions.length, 1);
  await release();
  await lab.kit.settle();
  t.match(del.answer, { successful: true });
  t.equal(lab.phase('p'), 'none');
});

t.test('namespaces that have gone without a DEL do not stop VPP for long', async (t) => {
  const lab = await podLab(t);
  await lab.population(collected_max + 4);
  for (let n = 0; n < collected_max + 4; n += 1) lab.dropNetns(`p${n}`);
  await lab.kit.clock.advance(125_000);
  t.equal(lab.vpp.kinds().tap, 4);
  await lab.kit.clock.advance(60_000);
  t.strictSame(lab.vpp.objects, []);
});

t.test('what nobody knows is removed by VPP alone, one at a time', async (t) => {
  const lab = await podLab(t);
  await lab.population(2);
  await lab.kit.crash(new Error('boom'));
  lab.store.records.clear();
  for (const name of ['p0', 'p1']) lab.dropNetns(name);
  await lab.kit.clock.advance(200);
  lab.vpp.holdsBack = ({ type }) => type === 'Transact';
  await lab.ready();
  t.equal(lab.removals().length, 1);
  lab.vpp.answer();
  await lab.kit.settle();
  t.strictSame(lab.vpp.objects, []);
  t.equal(lab.removals().length, 2);
  t.strictSame(lab.host.removals, [], 'which namespace it was made in is not known');
});
