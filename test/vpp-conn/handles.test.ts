import t from 'tap';
import { keyOf, type VppObject } from '../../src/objects/object.js';
import { Handles, UnknownHandle } from '../../src/vpp-conn/handles.js';
import { MemifSockets } from '../../src/vpp-conn/memif-sockets.js';
import { adds, ExecutorLab, removes, tap } from './executor-lab.js';

const table: VppObject = { kind: 'redirect_table', family: 4 };
const host_port: VppObject = {
  kind: 'translation',
  address: '10.0.0.2',
  port: 80,
  protocol: 'tcp',
  backends: [{ address: '10.1.0.5', port: 80 }],
};

t.test('a reading teaches what it has seen', async (t) => {
  const handles = new Handles();
  const begun = handles.reading();
  handles.learn(begun, [
    [tap('a'), 1],
    [table, 3],
  ]);
  t.equal(handles.interface('a'), 1);
  t.equal(handles.of(table), 3);
  t.throws(() => handles.interface('b'), UnknownHandle);
  t.throws(() => handles.of(host_port), UnknownHandle);
});

t.test('translations are known by their ids, too', async (t) => {
  const handles = new Handles();
  const known = ({ translations }: Handles) =>
    [...translations.vips.entries()].filter(([, vip]) => vip !== undefined);
  const vip = keyOf(host_port).replace('translation:', '');
  handles.made(table, 3);
  t.strictSame(known(handles), [], 'and nothing else is');
  handles.made(host_port, 7);
  t.strictSame(known(handles), [[7, vip]]);
  handles.made(host_port, 8);
  t.strictSame(known(handles), [[8, vip]], 'by the last one');
  handles.forget(host_port);
  t.strictSame(known(handles), []);
  handles.learn(handles.reading(), [[host_port, 9]]);
  t.strictSame(known(handles), [[9, vip]], 'by a reading');
  handles.gone(host_port, 9);
  t.strictSame(known(handles), []);
  handles.made(host_port, 7);
  const next = new Handles(handles.translations);
  t.strictSame(known(next), [[7, vip]], 'the next session begins with them');
});

t.test('a reading that began before a removal does not teach the freed number again', async (t) => {
  const handles = new Handles();
  handles.made(host_port, 7);
  const begun = handles.reading();
  t.equal(handles.forget(host_port), 7);
  handles.learn(begun, [[host_port, 7]]);
  t.equal(handles.find(host_port), undefined);
});

t.test('nor does one that began before it was made anew', async (t) => {
  const handles = new Handles();
  handles.made(tap('a'), 1);
  const begun = handles.reading();
  handles.forget(tap('a'));
  handles.made(tap('a'), 2);
  handles.learn(begun, [[tap('a'), 1]]);
  t.equal(handles.interface('a'), 2);
});

t.test(
  'a reading that began since then teaches, whatever another one still under way remembers',
  async (t) => {
    const handles = new Handles();
    handles.made(tap('a'), 1);
    const first = handles.reading();
    handles.forget(tap('a'));
    const second = handles.reading();
    handles.learn(second, [[tap('a'), 2]]);
    handles.learn(first, [[tap('a'), 1]]);
    t.equal(handles.interface('a'), 2);
  },
);

t.test('changes are remembered while a reading is under way that they concern, and no longer', async (t) => {
  const handles = new Handles();
  const first = handles.reading();
  handles.made(tap('a'), 1);
  handles.unread(first);
  handles.forget(tap('a'));
  handles.learn(handles.reading(), [[tap('a'), 5]]);
  t.equal(handles.interface('a'), 5);
});

t.test(
  'what goes by another connection may be seen although it was removed before the reading began',
  async (t) => {
    const lab = new ExecutorLab();
    await lab.does(adds(host_port));
    lab.run(removes(host_port), { urgency: 'bulk' });
    const begun = lab.handles.reading();
    await lab.vpp.answerAll();
    lab.handles.learn(begun, [[host_port, 11]]);
    t.equal(lab.handles.find(host_port), undefined, 'VPP had not come to the removal yet');
  },
);

t.test('nor is it known again when that reading has ended before the removal was answered', async (t) => {
  const lab = new ExecutorLab();
  await lab.does(adds(host_port));
  lab.run(removes(host_port), { urgency: 'bulk' });
  lab.handles.learn(lab.handles.reading(), [[host_port, 11]]);
  await lab.vpp.answerAll();
  t.equal(lab.handles.find(host_port), undefined, 'the next removal would be that of somebody else');
});

t.test('what was made anew meanwhile is known', async (t) => {
  const lab = new ExecutorLab();
  await lab.does(adds(host_port));
  await lab.does([...removes(host_port), ...adds(host_port)]);
  t.not(lab.handles.find(host_port), undefined);
});

t.test('an interface that VPP has by itself is not forgotten, a dangling one is its number', async (t) => {
  const handles = new Handles();
  const own: VppObject = { kind: 'existing_interface', tag: 'main-eth0' };
  handles.made(own, 3);
  t.equal(handles.forget(own), undefined);
  t.equal(handles.interface('main-eth0'), 3);
  t.equal(handles.interface('#12'), 12);
});

t.test('a memif socket that VPP fails at again and again', async (t) => {
  const sockets = new MemifSockets();
  const [first, ...more] = Array.from({ length: 8 }, () => sockets.next('memif'));
  t.equal(new Set([first, ...more]).size, 8, 'none is tried twice');
  t.throws(() => sockets.next('memif'), /has failed 8 times at a socket for memif.*before VPP begins anew/);
  t.equal(sockets.of('memif'), more.at(-1));
  sockets.knows(more.at(-1)! + 100);
  t.equal(sockets.next('other'), more.at(-1)! + 101, 'others are not concerned, and get none that VPP has');
  for (let time = 0; time < 20; time += 1) {
    sockets.next('other');
    sockets.made('other');
  }
  t.throws(() => sockets.of('nobody'), /id of the socket of nobody is not known/);
});

t.test('what is known of memif sockets does not grow with the pods that come and go', async (t) => {
  const handles = new Handles();
  const { memif_sockets: sockets } = handles;
  const memifOf = (tag: string): VppObject => ({
    kind: 'memif',
    tag,
    netns: '/pod',
    interface_name: 'eth0',
    mode: 'ip',
  });
  const make = (tag: string, sw_if_index: number) => {
    const socket_id = sockets.next(tag);
    sockets.made(tag);
    handles.made(memifOf(tag), sw_if_index);
    return socket_id;
  };
  make('stays', 1);
  for (let pod = 0; pod < 100; pod += 1) {
    make(`pod ${pod}`, 2);
    handles.gone(memifOf(`pod ${pod}`), handles.forget(memifOf(`pod ${pod}`))!);
  }
  t.equal(sockets.size, 1, 'they have gone with their memifs');
  for (let time = 0; time < 8; time += 1) sockets.next('fails');
  for (let pod = 0; pod < 1023; pod += 1) sockets.next(`fails ${pod}`);
  t.throws(() => sockets.next('fails'), /failed 8 times/);
  for (let pod = 0; pod < 5000; pod += 1) sockets.next(`fails ${pod}`);
  t.equal(sockets.size, 1025, 'of those that VPP has failed at the last are known');
  t.ok(sockets.of('stays') > 0);

  make('again', 3);
  const before = handles.forget(memifOf('again'))!;
  const next = sockets.next('again');
  handles.gone(memifOf('again'), before);
  sockets.made('again');
  t.equal(sockets.of('again'), next, 'one that is made anew before VPP has answered that the other is gone');
});
