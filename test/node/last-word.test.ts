import t, { type Test } from 'tap';
import { TurnedClock } from '../../lab/turned-clock.js';
import type { Log } from '../../src/log.js';
import { lastWord } from '../../src/node/last-word.js';
import type { RestoreParts } from '../../src/node/parts.js';
import { exitCode } from '../../src/node/run.js';
import type { VppRun } from '../../src/vpp-conn/launcher.js';
import { specOf, UplinkLab, vpp_netns } from '../uplink/uplink-lab.js';

/** A node at its end, with the uplink in VPP's hands. */
function ending(t: Test, exited: VppRun['exited'] | undefined) {
  const clock = new TurnedClock();
  const lab = new UplinkLab(t.testdir(), clock);
  const before = lab.state();
  lab.host.take(lab.host.capture([specOf()]));
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
    gobgpd: { adopt: () => undefined, forget: () => undefined },
    uplinkHost: lab.host,
    core_journal: { pending: () => [], replace: () => undefined },
  } as unknown as RestoreParts;
  return { parts, lab, clock, before, said, signals };
}

t.test('VPP ends, the host gets its network, the namespace goes', async (t) => {
  const { parts, lab, before, signals } = ending(t, Promise.resolve({ pid: 42, reason: 'exit code 0' }));
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
    const { parts, lab, before, clock, said, signals } = ending(t, new Promise(() => undefined));
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
  const { parts, lab, clock } = ending(t, undefined);
  lab.network.failChange(1);
  const word = lastWord(parts);
  await clock.advance(60_000);
  t.match(await word, { restored: false });
  t.equal(exitCode(0, await word), 3);
  t.equal(exitCode(1, await word), 3);
});

t.test('a link in the namespace of VPP that nobody knows of comes back, and is no good end', async (t) => {
  const { parts, lab, said } = ending(t, undefined);
  await lab.host.restore();
  lab.network.addVirtual({ name: 'eth7', mac: '02:00:00:00:00:77', kind: 'veth' }, vpp_netns);
  t.same(await lastWord(parts), { vpp_ended: true, restored: false });
  t.match(lab.network.open().link('eth7'), { up: true });
  t.match(said.join(), /eth7 was left in calico-vpp-ns and is back/);
});
