import t from 'tap';
import { TurnedClock } from '../../lab/turned-clock.js';
import type { Log } from '../../src/log.js';
import { endGobgpd } from '../../src/node/end-gobgpd.js';
import { lastWord } from '../../src/node/last-word.js';
import type { RestoreParts } from '../../src/node/parts.js';
import { exitCode } from '../../src/node/run.js';
import { uplinkOf } from '../../src/uplink/uplink-of.js';
import type { VppRun } from '../../src/vpp-conn/launcher.js';
import { specOf, UplinkLab, vpp_netns } from '../uplink/uplink-lab.js';

/** A node at its end, with the uplink in VPP's hands. */
async function ending(exited: VppRun['exited'] | undefined) {
  const clock = new TurnedClock();
  const lab = new UplinkLab(clock);
  const before = lab.state();
  await lab.host.take(lab.host.capture([specOf()]));
  const said: string[] = [];
  const signals: string[] = [];
  const tell = (_: object, text: string): void => void said.push(text);
  const log: Log = { debug: tell, info: tell, warn: tell, error: tell, fatal: tell, child: () => log };
  const run = { pid: 42, identity: '42', api_socket: '', adopted: true };
  const parts = {
    vpp_netns: { name: 'calico-vpp-ns', remove: () => lab.network.removeNamed('calico-vpp-ns') },
    clock,
    log,
    host: lab.network,
    launcher: {
      adopt: () => exited && { ...run, exited },
      signal: (_: VppRun, signal: string) => signals.push(signal),
      forget: () => signals.push('forgotten'),
    },
    gobgpd: { adopt: async () => undefined, forget: () => undefined },
    uplinkHost: lab.host,
    removeHostTables: async () => [],
    core_journal: { pending: () => [], undone: () => undefined },
  } as unknown as RestoreParts;
  return { parts, lab, clock, before, said, signals };
}

t.test('VPP ends, the host gets its network, the namespace goes', async (t) => {
  const { parts, lab, before, signals } = await ending(Promise.resolve({ pid: 42, reason: 'exit code 0' }));
  const word = await lastWord(parts);
  t.same(word, { vpp_ended: true, restored: true });
  t.equal(exitCode(0, word), 0);
  t.equal(exitCode(1, word), 1);
  t.same(signals, ['SIGINT', 'forgotten']);
  t.same(lab.state(), before);
  t.notOk(lab.network.exists(vpp_netns));
});

t.test(
  'a VPP that nothing ends is told and no good end; the host gets its network all the same',
  async (t) => {
    const { parts, lab, before, clock, said, signals } = await ending(new Promise(() => undefined));
    const word = lastWord(parts);
    await clock.advance(60_000);
    t.same(await word, { vpp_ended: false, restored: true });
    t.equal(exitCode(0, await word), 1);
    t.same(signals, ['SIGINT', 'SIGKILL'], 'and it keeps its record');
    t.match(said.join(), /SIGKILL has not ended VPP 42: restart the machine/);
    t.same(lab.state(), before);
  },
);

t.test('a host that is not what it was is no good end', async (t) => {
  const { parts, lab, clock } = await ending(undefined);
  lab.network.failChange(1);
  const word = lastWord(parts);
  await clock.advance(60_000);
  t.match(await word, { restored: false });
  t.equal(exitCode(0, await word), 3);
  t.equal(exitCode(1, await word), 3);
});

t.test('a journal that cannot be read is left for whoever can, and that is no good end', async (t) => {
  const { parts, lab, before, said } = await ending(undefined);
  lab.journal.record([{ kind: 'write_file', path: '/nowhere/rules', content: null, mode: 0o644 }]);
  const files = new Map(lab.files.contents);
  lab.files.read = () => {
    throw new Error('EIO');
  };
  const uplinkHost = lab.restarted();
  t.same(uplinkHost.recoverJournal(), ['eth0']);
  const word = await lastWord({ ...parts, uplinkHost });
  t.same(word, { vpp_ended: true, restored: false });
  t.same(lab.state(), before, 'the captured uplinks tell of the network');
  t.same(lab.files.contents, files);
  t.match(said.join(), /cannot read undo journal .*EIO.* is not undone; make it readable/);
  t.equal((await lastWord({ ...parts, uplinkHost })).restored, false, 'nor with nothing of the network left');
});

t.test('what routers had told, and was flushed while nobody was there, comes back', async (t) => {
  const { parts, lab } = await ending(undefined);
  await lab.host.restore();
  const own = lab.network.open();
  const link = own.link('eth0')!.index;
  const address = { link, family: 6, prefix: 'fd77::2/64' } as const;
  own.apply({ do: 'add_address', address: { ...address, valid_s: 86_400, preferred_s: 14_400 } });
  const before = lab.state();
  const captured = lab.host.capture([specOf()]);
  await lab.host.take(captured);
  lab.makeTap();
  const uplinks = captured.map((each) => uplinkOf(each, true, 'main-eth0'));
  t.same(lab.host.taps.dress(uplinks, captured, { prefixes: [], tap_address: '169.254.0.1/32' }), []);
  lab.host.complete(captured);
  own.apply({ do: 'delete_address', address: { ...address, link: own.link('eth0')!.index } });
  t.same(await lastWord(parts), { vpp_ended: true, restored: true });
  t.same(lab.state(), before, 'its connected route too');
});

t.test('a link in the namespace of VPP that nobody knows of comes back, and is no good end', async (t) => {
  const { parts, lab, said } = await ending(undefined);
  await lab.host.restore();
  lab.network.addVirtual({ name: 'eth7', mac: '02:00:00:00:00:77', kind: 'veth' }, vpp_netns);
  t.same(await lastWord(parts), { vpp_ended: true, restored: false });
  t.match(lab.network.open().link('eth7'), { up: true });
  t.match(said.join(), /eth7 was left in calico-vpp-ns and is back/);
});

t.test('the gobgpd of an earlier life is ended where nobody looks after it, and forgotten', async (t) => {
  const clock = new TurnedClock();
  const done: string[] = [];
  const gobgpd = (exited: Promise<unknown> | undefined) =>
    ({
      adopt: async () => exited && { pid: 7, exited },
      end: ({ pid }: { pid: number }) => done.push(`end ${pid}`),
      forget: () => done.push('forget'),
    }) as unknown as RestoreParts['gobgpd'];
  t.equal(await endGobgpd({ clock, gobgpd: gobgpd(Promise.resolve()) }), true);
  t.same(done.splice(0), ['end 7', 'forget']);
  t.equal(await endGobgpd({ clock, gobgpd: gobgpd(undefined) }), false);
  t.same(done.splice(0), ['forget']);
  const stuck = endGobgpd({ clock, gobgpd: gobgpd(new Promise(() => undefined)) });
  await clock.advance(10_000);
  t.equal(await stuck, true, 'one that hangs is not waited for');
});
