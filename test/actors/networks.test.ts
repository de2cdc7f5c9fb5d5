/** Pods in networks beside the default one: what their actors do when networks come, go and change. */
import t from 'tap';
import type { NetworkHere } from '../../src/desired/networks.js';
import { networksUsed } from '../../src/desired/networks.js';
import { type PodLab, podLab } from './pod-lab.js';

const networkHere = (name: string, vni: number): NetworkHere => ({
  name,
  vni,
  range: '172.16.0.0/12',
  physical_network: '',
  underlay: { table_id: 0, ip4: '192.0.2.1', mtu: 1500 },
});
const red = networkHere('red', 4097);
const ask = { ips: ['172.16.0.1/24'], ifname: 'net1', network: 'red' };
const vnis = (lab: PodLab): number[] => [...new Set(lab.vpp.objects.flatMap(networksUsed))];
const told = (lab: PodLab): string[] =>
  [...lab.addresses.all()].map(({ vni, prefix, next_hop }) => `${vni} ${prefix} ${next_hop}`);
const announced = ['4097 172.16.0.1/32 192.0.2.1'];

t.test('a pod comes and goes', async (t) => {
  const lab = await podLab(t);
  lab.policed.hear(() => undefined);
  await lab.ready({ networks: [red] });
  t.match(await lab.add('p', ask), { successful: true });
  t.match(
    [...lab.policed.take().values()],
    [{ attachment: { kind: 'workload', network: 'red' }, addresses: [] }],
    'it is judged by what is for the network, and no pod of the default one has its address',
  );
  t.strictSame(vnis(lab), [4097]);
  t.strictSame(told(lab), announced, 'others are told');
  const namespace = lab.host.open(lab.netns('p'));
  t.ok(
    namespace.routes({ table: 254 }).some(({ prefix }) => prefix === '172.16.0.0/12'),
    'it is led to the range',
  );
  t.match(await lab.add('p', ask), { successful: true }, 'again');
  t.match(await lab.del('p', ask), { successful: true });
  t.strictSame([lab.vpp.objects, told(lab), lab.store.records.size], [[], [], 0], 'nothing is left');
});

t.test('a network that is not there', async (t) => {
  const lab = await podLab(t);
  await lab.ready({ networks: [] });
  t.match(await lab.add('p', ask), {
    successful: false,
    errorMessage: /the network red is not there: create Network red/,
  });
  t.strictSame([lab.vpp.objects, told(lab), lab.store.records.size], [[], [], 0], 'nothing is left');
});

t.test('which networks there are is not known', async (t) => {
  const lab = await podLab(t);
  await lab.ready({ networks: undefined as unknown as readonly NetworkHere[] });
  const call = lab.begin('p', ask);
  const other = lab.begin('q', { ips: ['10.0.0.9/24'] });
  await lab.kit.settle();
  t.match(other.answer, { successful: true }, 'others do not wait');
  t.equal(call.answer, undefined, 'it waits');
  await lab.ready({ networks: [red] });
  await lab.kit.settle();
  t.match(call.answer, { successful: true });

  await lab.ready({ networks: undefined as unknown as readonly NetworkHere[] });
  await lab.kit.settle();
  t.strictSame(vnis(lab), [4097], 'what a pod has stays');
  const late = lab.begin('r', { ...ask, ips: ['172.16.0.2/24'] });
  await lab.kit.clock.advance(5000);
  t.match(late.answer, { successful: false, errorMessage: /the network red is not known yet/ });
});

t.test('a network goes under its pod, and comes back', async (t) => {
  const lab = await podLab(t);
  await lab.ready({ networks: [red] });
  await lab.add('p', ask);
  await lab.ready({ networks: [] });
  await lab.kit.settle();
  t.strictSame([vnis(lab), told(lab)], [[], []], 'no way is left, and nobody is told of it');
  t.equal(lab.vpp.kinds().tap, 1, 'it keeps its interface');
  t.match(lab.settledness, { reason: /the network red is not there/ });
  await lab.ready({ networks: [{ ...red, vni: 5000 }] });
  await lab.kit.settle();
  t.strictSame([vnis(lab), told(lab)], [[5000], ['5000 172.16.0.1/32 192.0.2.1']]);
  lab.vpp.die();
  await lab.ready({ networks: [red] });
  await lab.kit.settle();
  t.strictSame([vnis(lab), told(lab)], [[4097], announced], 'another VPP');
  t.match(await lab.del('p', ask), { successful: true });
  t.strictSame([lab.vpp.objects, told(lab)], [[], []]);
});

t.test('what becomes of other networks is nothing to a pod, until it asks for one of them', async (t) => {
  const lab = await podLab(t);
  const blue = networkHere('blue', 4098);
  await lab.ready({ networks: [red] });
  t.match(await lab.add('p', ask), { successful: true });
  const before = lab.vpp.transactions.length;
  await lab.ready({ networks: [red, blue] });
  await lab.kit.settle();
  t.equal(lab.vpp.transactions.length, before);
  t.match(await lab.add('p', { ...ask, network: 'blue' }), { successful: true });
  t.strictSame(vnis(lab), [4098]);
  await lab.ready({ networks: [red] });
  await lab.kit.settle();
  t.strictSame(vnis(lab), [], 'it goes under the pod');
  t.match(await lab.del('p', ask), { successful: true });
});

t.test('a network goes during an ADD', async (t) => {
  const lab = await podLab(t);
  await lab.ready({ networks: [red] });
  lab.vpp.holding = true;
  const call = lab.begin('p', ask);
  await lab.kit.settle();
  await lab.ready({ networks: [] });
  lab.vpp.answer();
  await lab.kit.settle();
  t.match(call.answer, { successful: false, errorMessage: /the network red is not there/ });
  t.strictSame([lab.vpp.objects, told(lab), lab.store.records.size], [[], [], 0], 'nothing is left');
});

t.test('host ports are those of the first interface', async (t) => {
  const lab = await podLab(t);
  await lab.ready({ networks: [red] });
  const ports = [{ protocol: 'TCP', port: 80, hostPort: 8080 }];
  t.match(await lab.add('p', { ...ask, ports }), { successful: true });
  t.equal(lab.vpp.kinds().translation, undefined);
});

t.test('all addresses are told when all pods of records are dealt with', async (t) => {
  const lab = await podLab(t);
  await lab.ready({ networks: [red] });
  await lab.kit.settle();
  t.ok(lab.addresses.isComplete);
  t.match(await lab.add('p', ask), { successful: true });
  t.match(await lab.del('p', ask), { successful: true });
  t.strictSame([told(lab), lab.addresses.isComplete], [[], true]);
});
