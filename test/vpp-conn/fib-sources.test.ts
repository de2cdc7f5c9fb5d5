import t from 'tap';
import { type Client, connect } from 'vpp-binapi-ts';
import { fib_source_add, fib_source_dump } from 'vpp-binapi-ts/fib';
import { TurnedClock } from '../../lab/turned-clock.js';
import { startStandInVpp } from '../../lab/vpp/stand-in.js';
import {
  findFibSources,
  oddFibSources,
  openFibSources,
  route_sources,
} from '../../src/vpp-conn/fib-sources.js';
import { Handles, UnknownHandle } from '../../src/vpp-conn/handles.js';

// A connection in memory keeps no process alive.
const alive = setInterval(() => {}, 60_000);
t.teardown(() => clearInterval(alive));

async function connected(t: { teardown(run: () => void): unknown }): Promise<Client> {
  const vpp = await startStandInVpp();
  t.teardown(() => vpp.close());
  const client = await connect({ transport: vpp.transport(), name: 'test', timers: new TurnedClock() });
  t.teardown(() => client.close());
  return client;
}

const numbers = (handles: Handles): number[] => route_sources.map((source) => handles.fibSource(source));
const dumped = async (vpp: Client): Promise<number> => (await vpp.dump(fib_source_dump, {})).length;

t.test('a VPP gets our sources once: the next session finds them', async (t) => {
  const vpp = await connected(t);
  const first = new Handles();
  t.equal(await openFibSources(vpp, first), 'never');
  const known = await dumped(vpp);
  const second = new Handles();
  t.equal(await openFibSources(vpp, second), 'before');
  t.equal(await dumped(vpp), known);
  t.same(numbers(second), numbers(first));
  t.equal(new Set(numbers(first)).size, route_sources.length);
  t.same(await oddFibSources(vpp), []);
});

t.test('of a name that is there twice the first one counts', async (t) => {
  const vpp = await connected(t);
  const first = await vpp.request(fib_source_add, { src: { name: 'calico-pods', priority: 0x70, id: 0 } });
  await vpp.request(fib_source_add, { src: { name: 'calico-pods', priority: 0x70, id: 0 } });
  const handles = new Handles();
  t.equal(await openFibSources(vpp, handles), 'before');
  t.equal(handles.fibSource('pods'), first.id);
});

t.test('one that an earlier release has made with another priority is named', async (t) => {
  const vpp = await connected(t);
  await vpp.request(fib_source_add, { src: { name: 'calico-services', priority: 0x71, id: 0 } });
  await openFibSources(vpp, new Handles());
  t.match(await oddFibSources(vpp), [/^FIB source calico-services: ours has priority 132, VPP's 113: /]);
});

t.test('where VPP has no number left, an owner has no source', async (t) => {
  const vpp = await connected(t);
  const add = () => vpp.request(fib_source_add, { src: { name: 'other', priority: 0x90, id: 0 } });
  while ((await add()).id !== 0);
  const handles = new Handles();
  await openFibSources(vpp, handles);
  t.throws(() => handles.fibSource('connectivity'), UnknownHandle);
});

t.test('to look for them changes nothing', async (t) => {
  const vpp = await connected(t);
  const before = await dumped(vpp);
  const handles = new Handles();
  const lacking = await findFibSources(vpp, handles);
  t.same(lacking.map(({ source }) => source).sort(), ['connectivity', 'pods', 'services']);
  t.equal(await dumped(vpp), before);
  t.throws(() => handles.fibSource('pods'), UnknownHandle);
  t.equal(handles.fibSource('node'), 8);
});
