import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { TurnedClock } from '../../lab/turned-clock.js';
import type { UplinkSpec } from '../../src/config.js';
import { isClusterRoute, own_route_protocol, type PodPrefixes } from '../../src/desired/host-tap.js';
import { uplinkTag } from '../../src/desired/node-inputs.js';
import type { UndoStep } from '../../src/host/undo/undo-step.js';
import { hostAddresses } from '../../src/uplink/capture-uplink.js';
import { UplinkError } from '../../src/uplink/uplink-error.js';
import { uplinkOf } from '../../src/uplink/uplink-of.js';
import { macs, second_spec, specOf, UplinkLab, vpp_netns } from './uplink-lab.js';

const cluster = { prefixes: ['10.96.0.0/16'], tap_address: '169.254.0.1/32' };
const drivers: Record<string, Partial<UplinkSpec>> = {
  af_packet: { driver: 'af_packet' },
  af_xdp: { driver: 'af_xdp', rx_queues: 4 },
  none: { driver: 'none' },
};

/** Everything that a take-over does to the host. */
async function takeOver(lab: UplinkLab, specs: readonly UplinkSpec[]): Promise<void> {
  const captured = lab.host.capture(specs);
  await lab.host.take(captured);
  for (const { interface_name, index } of specs) lab.makeTap(interface_name, macs[index]!);
  const uplinks = captured.map((each) => uplinkOf(each, true, uplinkTag(each.spec.interface_name)));
  const refused = lab.host.taps.dress(uplinks, captured, cluster);
  if (refused.length === 0) lab.host.complete(captured);
}

t.test('addresses that the host has elsewhere; services’ own where somebody else serves them', async (t) => {
  const network = new UplinkLab().network.open();
  const [lo] = network.links();
  const links = [lo!, { ...lo!, index: 8, type: 1, kind: 'dummy', name: 'kube-ipvs0' }];
  const address = (link: number, prefix: string) =>
    ({ link, family: 4, prefix, scope: 0, flags: 0 }) as const;
  const addresses = [address(lo!.index, '198.51.100.7/32'), address(8, '10.96.0.10/32')];
  const namespace = { ...network, links: () => links, addresses: () => addresses };
  const found = (serves: boolean) => hostAddresses(namespace, [], serves);
  t.strictSame(found(false), ['10.96.0.10', '198.51.100.7']);
  t.strictSame(found(true), ['198.51.100.7'], 'what a kube-proxy has left behind is VPP’s');
});

t.test('what is captured', async (t) => {
  const lab = new UplinkLab();
  const [captured] = lab.host.capture([specOf()]);
  t.match(captured, {
    link: { name: 'eth0', mac: macs[0], mtu: 9000, up: true },
    // The other one has answered long ago.
    answering_gateways: ['10.0.0.1'],
    channels: { combined: 1 },
  });
  t.same(
    captured?.addresses.map(({ prefix }) => prefix),
    ['fe80::ff:fe00:1/64', '10.0.0.2/24', '10.0.0.100/32', 'fd00::2/64'],
  );
  t.same(
    captured?.routes.flatMap(({ prefix, table, next_hops }) =>
      next_hops[0]?.gateway ? [`${prefix} ${table}`] : [],
    ),
    ['0.0.0.0/0 254', '10.50.0.0/16 254', '10.60.0.0/16 100', '::/0 254'],
    'of all tables',
  );
  t.same(
    captured?.neighbours.map((neighbour) => neighbour.address),
    ['10.0.0.50'],
    'permanent ones',
  );
  t.same(lab.network.mutations, [], 'nothing is changed by it');
  lab.host.probe([captured!]);
  const asked = lab.network
    .open()
    .neighbours()
    .filter(({ state }) => state === 0x10);
  t.same(
    asked.map(({ address }) => address),
    ['fd00::1'],
    'that one alone is asked',
  );
});

t.test('an uplink that cannot be taken over is named, with what is wrong', async (t) => {
  const lab = new UplinkLab();
  const capture = (changes: Partial<UplinkSpec>) => () => lab.host.capture([specOf(changes)]);
  t.throws(capture({ interface_name: 'eth9' }), { message: /eth9.*it has lo, eth0.*correct interfaceName/ });
});

t.test('an uplink that lacks an address of a family that it must have is not taken over', async (t) => {
  const lab = new UplinkLab();
  t.doesNotThrow(() => lab.host.capture([specOf({ families: [4, 6] })]));
  const own = lab.network.open();
  const link = own.link('eth0')!.index;
  own.apply({ do: 'delete_address', address: { link, family: 6, prefix: 'fd00::2/64' } });
  t.throws(() => lab.host.capture([specOf({ families: [4, 6] })]), {
    name: 'UplinkError',
    message: /no IPv6 address yet/,
  });
  t.doesNotThrow(() => lab.host.capture([specOf()]), 'any one address will do when none is demanded');
  for (const prefix of ['10.0.0.2/24', '10.0.0.100/32'])
    own.apply({ do: 'delete_address', address: { link, family: 4, prefix } });
  t.throws(() => lab.host.capture([specOf()]), /no IP address yet/, 'a link-local one is none');
});

t.test('the device moves into the namespace of VPP, and is up and promiscuous there', async (t) => {
  for (const [name, changes] of Object.entries(drivers)) {
    const lab = new UplinkLab();
    await lab.host.take(lab.host.capture([specOf(changes)]));
    t.equal(lab.network.open().link('eth0'), undefined, name);
    const moved = lab.network.open(vpp_netns).link('eth0');
    t.match(moved, { up: true, promisc: true, mtu: name === 'af_xdp' ? 3072 : 9000 }, name);
  }
});

t.test(
  'where VPP takes packets as they are the kernel joins none of them, until Linux has the device back',
  async (t) => {
    const joining = ['rx-gro', 'rx-lro', 'rx-gro-hw'];
    const lab = new UplinkLab();
    const own = lab.network.open();
    const cases = [
      [{ offloads: true, on: joining }, joining],
      [{ offloads: false, on: joining }, []],
      [{ offloads: false, on: ['rx-lro'] }, []],
      [{ offloads: false, on: [] }, []],
    ] as const;
    for (const [{ offloads, on }, while_given] of cases) {
      own.setFeatures('eth0', joining, false);
      own.setFeatures('eth0', [...on, 'rx-checksum'], true);
      own.setChecksums('eth0', offloads);
      const before = [...own.featuresOn('eth0')].sort();
      await takeOver(lab, [specOf()]);
      const given = lab.network.open(vpp_netns).featuresOn('eth0');
      t.same(
        given.filter((name) => name !== 'rx-checksum'),
        while_given,
      );
      t.ok(given.includes('rx-checksum'));
      t.same((await lab.restarted().restore()).remaining, []);
      t.same([...own.featuresOn('eth0')].sort(), before);
    }
  },
);

t.test('the tap becomes what the uplink was', async (t) => {
  const lab = new UplinkLab();
  await takeOver(lab, [specOf()]);
  const own = lab.network.open();
  const tap = own.link('eth0')!;
  t.match(tap, { kind: 'tun', up: true });
  t.same(
    own
      .addresses(tap.index)
      .map(({ prefix }) => prefix)
      .sort(),
    ['10.0.0.100/32', '10.0.0.2/24', 'fd00::2/64', 'fe80::ff:fe00:1/64'],
  );
  const routes = own.routes({ table: 254, link: tap.index });
  for (const prefix of ['0.0.0.0/0', '10.50.0.0/16', '::/0', '10.96.0.0/16'])
    t.ok(
      routes.some((route) => route.prefix === prefix),
      prefix,
    );
  const before = lab.network.snapshot();
  const [taken] = lab.host.taken()!.uplinks;
  t.same(lab.host.taps.dress([uplinkOf(taken!, true, 'main-eth0')], [taken!], cluster), []);
  t.same(lab.network.snapshot(), before, 'and can be dressed again');
});

t.test('without a tap there is nothing to dress: the device itself is left alone', async (t) => {
  const lab = new UplinkLab();
  const [captured] = lab.host.capture([specOf()]);
  t.throws(
    () => lab.host.taps.dress([uplinkOf(captured!, true, 'main-eth0')], [captured!], cluster),
    UplinkError,
  );
  t.same(lab.network.mutations, []);
});

t.test('the MTU of the tap is mended, that of the device is not touched', async (t) => {
  const lab = new UplinkLab();
  const [captured] = lab.host.capture([specOf({ mtu: 1400 })]);
  const uplink = uplinkOf(captured!, true, 'main-eth0');
  t.notOk(lab.host.taps.mendMtu(uplink), 'it is the device');
  await lab.host.take([captured!]);
  t.notOk(lab.host.taps.mendMtu(uplink), 'there is no tap');
  lab.makeTap();
  t.ok(lab.host.taps.mendMtu(uplink));
  t.equal(lab.network.open().link('eth0')?.mtu, 1400);
  t.notOk(lab.host.taps.mendMtu(uplink));
});

t.test('whichever change of a take-over fails, restoring gives the host back exactly', async (t) => {
  for (const [name, changes] of Object.entries(drivers)) {
    for (const kind of name === 'af_packet' ? (['physical', 'veth'] as const) : (['physical'] as const)) {
      const specs = [specOf(changes), { ...second_spec, ...changes }];
      const whole = new UplinkLab(undefined, kind, true);
      await takeOver(whole, specs);
      const changes_made = whole.network.mutations.length;
      t.ok(changes_made > 20, `${changes_made} changes`);
      for (let n = 1; n <= changes_made; n++) {
        const lab = new UplinkLab(undefined, kind, true);
        const before = lab.state();
        lab.network.failChange(n);
        try {
          await takeOver(lab, specs);
        } catch (error) {
          t.match(error, { code: 'EIO' });
        }
        t.same((await lab.host.restore()).remaining, []);
        t.same(lab.state(), before, `${kind} ${name}: change ${n} failed`);
        t.notOk(lab.host.isChanged());
        t.equal(lab.host.taken(), undefined);
      }
    }
  }
});

t.test(
  'a process that dies after any change of a take-over leaves what the next one needs to give the host back',
  async (t) => {
    class Dies extends Error {}
    let deaths = 0;
    for (let n = 0; n < 200; n++) {
      const lab = new UplinkLab(undefined, 'physical', true);
      const before = lab.state();
      let died = false;
      const push = lab.network.mutations.push.bind(lab.network.mutations);
      let left = n;
      lab.network.mutations.push = (...made) => {
        const length = push(...made);
        if (left-- === 0) throw new Dies();
        return length;
      };
      try {
        await takeOver(lab, [specOf({ driver: 'af_xdp', rx_queues: 4 }), second_spec]);
      } catch (error) {
        died = error instanceof Dies;
      }
      lab.network.mutations.push = push;
      const host = lab.restarted();
      t.ok(host.isChanged(), 'the undo was on the disk before the change');
      await host.restore();
      t.same(lab.state(), before, `died after change ${n + 1}`);
      const made = lab.network.mutations.length;
      await host.restore();
      t.equal(lab.network.mutations.length, made, 'and a second time changes nothing');
      if (!died) break;
      deaths = n + 1;
    }
    t.ok(deaths > 20, `${deaths} changes`);
  },
);

t.test('a full disk changes nothing on the host', async (t) => {
  const lab = new UplinkLab();
  const before = lab.network.snapshot();
  lab.files.full = true;
  await t.rejects(takeOver(lab, [specOf()]), { name: 'JournalError' });
  t.same(lab.network.snapshot(), before);
  t.same(lab.network.mutations, []);
  t.notOk(lab.host.isChanged());
});

t.test('what the host is to be like cannot be kept: nothing is changed', async (t) => {
  const lab = new UplinkLab();
  lab.captured_files.full = true;
  await t.rejects(takeOver(lab, [specOf()]), { code: 'ENOSPC' });
  t.same(lab.network.mutations, []);
  t.notOk(lab.host.isChanged());
});

t.test('a disk that is full when the host is restored keeps all steps for the next attempt', async (t) => {
  const clock = new TurnedClock();
  const lab = new UplinkLab(clock);
  const before = lab.state();
  await takeOver(lab, [specOf()]);
  const pending = lab.journal.pending().length;
  lab.files.full = true;
  // Of the second change that undoing makes: the first removes the tap.
  lab.network.failChange(2);
  const restored = lab.host.restore();
  await clock.advance(60_000);
  t.ok((await restored).remaining.length > 0);
  t.equal(lab.journal.pending().length, pending);
  t.ok(lab.host.taken());
  lab.files.full = false;
  t.same((await lab.host.restore()).remaining, []);
  t.same(lab.state(), before);
});

t.test('a take-over is told as broken off until it is complete', async (t) => {
  const lab = new UplinkLab();
  const captured = lab.host.capture([specOf()]);
  t.equal(lab.host.taken(), undefined);
  await lab.host.take(captured);
  t.equal(lab.restarted().taken()?.phase, 'taking');
  lab.host.complete(captured);
  t.equal(lab.restarted().taken()?.phase, 'taken');
});

t.test('what a DHCP client has changed on the tap is what a restore gives back', async (t) => {
  const lab = new UplinkLab();
  await takeOver(lab, [specOf()]);
  const { uplinks } = lab.host.taken()!;
  t.match(lab.host.taps.current(uplinks), [{ link: { name: 'eth0' } }], 'the tap is dressed');
  const own = lab.network.open();
  const link = own.link('eth0')!.index;
  own.apply({ do: 'add_address', address: { link, family: 4, prefix: '10.0.0.77/24' } });
  own.apply({
    do: 'add_route',
    route: { family: 4, prefix: '10.88.0.0/16', next_hops: [{ oif: link, gateway: '10.0.0.1' }] },
  });
  const now = lab.host.taps.current(uplinks)!;
  lab.host.remember(now);
  const next = lab.restarted();
  t.ok(next.taken()?.uplinks[0]?.addresses.some(({ prefix }) => prefix === '10.0.0.77/24'));
  t.same((await next.restore()).remaining, []);
  const back = lab.network.open().link('eth0')!;
  t.equal(back.kind, undefined, 'it is the device');
  const addresses = lab.network
    .open()
    .addresses(back.index)
    .map(({ prefix }) => prefix);
  for (const prefix of ['10.0.0.2/24', '10.0.0.77/24', '10.0.0.100/32', 'fd00::2/64'])
    t.ok(addresses.includes(prefix), prefix);
  const routes = lab.network
    .open()
    .routes({ link: back.index })
    .map(({ prefix }) => prefix);
  for (const prefix of ['10.88.0.0/16', '10.50.0.0/16', '10.60.0.0/16', '0.0.0.0/0', '::/0'])
    t.ok(routes.includes(prefix), prefix);
  t.notOk(routes.includes('10.96.0.0/16'), 'what was ours alone is gone');
});

t.test('what routers have taken back while nobody looked is not given back', async (t) => {
  const ra = { family: 6, prefix: '::/0', protocol: 9, metric: 1024, expires_s: 1800 } as const;
  for (const heard of [true, false]) {
    const lab = new UplinkLab();
    const own = lab.network.open();
    const link = own.link('eth0')!.index;
    const [by_hand] = own.routes({ link }).filter(({ prefix }) => prefix === '::/0');
    own.apply({ do: 'delete_route', route: by_hand! });
    own.apply({ do: 'add_route', route: { ...ra, next_hops: [{ oif: link, gateway: 'fe80::a' }] } });
    await takeOver(lab, [specOf()]);
    const { host } = lab;
    if (heard) host.rememberHeard(new Set(['eth0']));
    const tap = own.link('eth0')!.index;
    const defaults = (index: number) => own.routes({ link: index }).filter(({ prefix }) => prefix === '::/0');
    for (const route of defaults(tap)) own.apply({ do: 'delete_route', route });

    const next = lab.restarted();
    const found = next.taken()!.uplinks;
    const now = next.taps.atOnce(found, (uplink) => uplink.heard !== true);
    if (now !== undefined) next.remember(now);
    t.same((await next.restore()).remaining, []);
    t.equal(defaults(own.link('eth0')!.index).length, heard ? 0 : 1, heard ? 'heard' : 'never heard');
  }
});

t.test('a bare tap tells nothing of what the host wants', async (t) => {
  const lab = new UplinkLab();
  const captured = lab.host.capture([specOf()]);
  t.equal(lab.host.taps.current(captured), undefined, 'it is the device');
  await lab.host.take(captured);
  t.equal(lab.host.taps.current(captured), undefined, 'there is no tap');
  lab.makeTap();
  t.equal(lab.host.taps.current(captured), undefined);
});

t.test('what VPP would take along when its namespace goes is named', async (t) => {
  const lab = new UplinkLab();
  t.same(lab.host.strays(), []);
  await lab.host.take(lab.host.capture([specOf()]));
  t.same(lab.host.strays(), ['eth0']);
  await lab.host.restore();
  t.same(lab.host.strays(), []);
});

t.test('the captured uplinks survive the process and no restart of the machine', async (t) => {
  const { CapturedStore } = await import('../../src/uplink/captured.js');
  const directory = t.testdir();
  const path = join(directory, 'uplinks.json');
  const lab = new UplinkLab();
  const captured = lab.host.capture([specOf()]);
  const store = new CapturedStore(path, 'boot 1');
  t.equal(store.load(), undefined);
  for (const phase of ['taking', 'taken'] as const) {
    store.save(phase, captured);
    t.same(new CapturedStore(path, 'boot 1').load(), { phase, uplinks: captured });
  }
  t.equal(new CapturedStore(path, 'boot 2').load(), undefined);
  for (const text of [
    '',
    '{',
    'null',
    '{"version":2,"boot_id":"boot 1","uplinks":[1]}',
    '{"version":1,"boot_id":"boot 1","uplinks":[]}',
  ]) {
    writeFileSync(path, text);
    t.equal(store.load(), undefined, text);
  }
  store.clear();
  store.clear();
  mkdirSync(path);
  t.throws(() => store.load(), { code: 'EISDIR' });
});

t.test('a command that ran out of time is not asked again in the same end', async (t) => {
  const lab = new UplinkLab();
  const asked: string[] = [];
  lab.run = async (argv) => {
    if (argv[0] !== 'systemctl') asked.push(argv.join(' '));
    return { code: argv[0] === 'slow' ? 124 : 1, stdout: '', stderr: '' };
  };
  const steps = ['slow', 'broken'].map((word): UndoStep => {
    return { kind: 'run_command', argv: [word], timeout_ms: 20_000, after_boot: false };
  });
  lab.journal.record(steps);
  t.match((await lab.host.restore()).results, [{}, { outcome: 'failed', timed_out: true }]);
  t.same(asked.splice(0), ['broken', 'slow']);
  t.same((await lab.host.restore('in time')).remaining, steps, 'both are still to be done');
  t.same(asked.splice(0), ['broken']);
  t.same(lab.journal.pending(), steps);
  await lab.host.restore('hopeful');
  t.same(asked.splice(0), [], 'and nothing where there is no hope');
  await lab.host.restore();
  t.same(asked.splice(0), ['broken', 'slow'], 'but when something else has happened since');
});

t.test('one undo at a time, and nothing is taken over or remembered meanwhile', async (t) => {
  const lab = new UplinkLab();
  const before = lab.state();
  await takeOver(lab, [specOf()]);
  const { uplinks } = lab.host.taken()!;
  const slow: UndoStep = { kind: 'run_command', argv: ['slow'], timeout_ms: 20_000, after_boot: false };
  const later: UndoStep = { ...slow, argv: ['later'] };
  const asked: string[] = [];
  let end = (): void => undefined;
  lab.run = async ([program = '']) => {
    if (program !== 'systemctl') asked.push(program);
    if (program === 'slow') await new Promise<void>((resolve) => (end = resolve));
    return { code: program === 'slow' ? 124 : 0, stdout: '', stderr: '' };
  };
  lab.journal.record([slow]);
  const first = lab.host.restore();
  while (asked.length === 0) await Promise.resolve();
  lab.journal.record([later]);
  const second = lab.host.restore();
  t.equal(lab.host.taps.current(uplinks), undefined);
  const refusal = { name: 'UplinkError', message: /still being given back/ };
  await t.rejects(lab.host.take(uplinks), refusal);
  for (const change of ['complete', 'remember'] as const) t.throws(() => lab.host[change](uplinks), refusal);
  let is_quiet = false;
  const quiet = lab.host.quiet().then(() => (is_quiet = true));
  end();
  t.same((await first).remaining, [slow, later], 'what was recorded meanwhile is pending');
  t.equal(is_quiet, false);
  t.same((await second).remaining, [slow]);
  await quiet;
  t.same(asked, ['slow', 'later'], 'what has just run out of time is not asked again');
  t.same(lab.state(), before);
  t.same(lab.restarted().isChanged(), true);
  t.same(lab.journal.pending(), [slow]);
});

t.test('with its journal lost an uplink is given back as it was captured', async (t) => {
  const lab = new UplinkLab(undefined, 'physical', true);
  const before = lab.state();
  const specs = [specOf({ driver: 'af_xdp', rx_queues: 4 }), second_spec];
  await takeOver(lab, specs);
  const whole = lab.journal.pending();
  t.same(lab.host.recoverJournal(), [], 'nothing is lost');
  t.same(lab.journal.pending(), whole);
  // Of two records one is lost.
  const [header, first] = lab.files.contents.get('/state/undo.journal')!.split('\n');
  for (const [text, names] of [
    [undefined, ['eth0', 'eth1']],
    [`${header}\n${first}\n`, ['eth1']],
  ] as const) {
    if (text === undefined) lab.files.contents.clear();
    else lab.files.contents.set('/state/undo.journal', text);
    t.same(lab.restarted().recoverJournal(), names);
    t.equal(lab.restarted().isChanged(), true, 'and it is on the disk again');
    t.equal(lab.journal.pending().length, whole.length);
  }
  t.same((await lab.host.restore()).remaining, []);
  t.same(lab.state(), before);
  t.same(lab.restarted().recoverJournal(), [], 'once');
});

t.test(
  'what is ours on the tap comes back when the host has rebuilt it, and only that is sent',
  async (t) => {
    const lab = new UplinkLab();
    await takeOver(lab, [specOf()]);
    const uplinks = lab.host.taken()!.uplinks.map((each) => uplinkOf(each, true, 'main-eth0'));
    const own = lab.network.open();
    const tap = own.link('eth0')!.index;
    const dressed = lab.network.snapshot();
    lab.network.mutations.length = 0;
    t.same(lab.host.taps.redress(uplinks, cluster), []);
    t.same(lab.network.mutations, [], 'all is there');

    const routes = own.routes({ link: tap }).filter(({ protocol }) => protocol === own_route_protocol);
    for (const route of routes) own.apply({ do: 'delete_route', route });
    const neighbours = own.neighbours(tap);
    for (const neighbour of neighbours) own.apply({ do: 'delete_neighbour', neighbour });
    lab.network.mutations.length = 0;
    t.same(lab.host.taps.redress(uplinks, cluster), []);
    t.same(lab.network.snapshot(), dressed);
    t.equal(lab.network.mutations.length, routes.length + neighbours.length);

    own.apply({ do: 'set_link', link: tap, up: false });
    lab.network.mutations.length = 0;
    t.same(
      [lab.host.taps.redress(uplinks, cluster), lab.network.mutations],
      [[], []],
      'a tap that is down takes nothing',
    );
  },
);

t.test(
  'routes to pods come and go with the pools; what of them is there stays until the pools are known',
  async (t) => {
    const lab = new UplinkLab();
    await takeOver(lab, [specOf()]);
    const uplinks = lab.host.taken()!.uplinks.map((each) => uplinkOf(each, true, 'main-eth0'));
    const own = lab.network.open();
    const tap = own.link('eth0')!.index;
    const dressed = lab.network.snapshot();
    const shown = () =>
      own
        .routes({ link: tap })
        .filter(isClusterRoute)
        .map(({ prefix, metrics }) => `${prefix} ${metrics?.mtu}`)
        .sort();
    const services = shown();
    const redress = (pods?: PodPrefixes) => {
      lab.network.mutations.length = 0;
      t.same(lab.host.taps.redress(uplinks, { ...cluster, services: [], ...(pods && { pods }) }), []);
      return lab.network.mutations.length;
    };
    const prefixes = ['10.1.0.0/16', 'fd01::/48'];
    t.equal(redress({ prefixes, encapsulated: false }), 2);
    t.same(shown(), ['10.1.0.0/16 9000', ...services, 'fd01::/48 9000'].sort());
    t.equal(redress({ prefixes, encapsulated: false }), 0, 'nothing twice');
    t.equal(redress(), 0, 'a fresh process does not know them yet');
    redress({ prefixes, encapsulated: true });
    t.same(
      shown(),
      ['10.1.0.0/16 8940', ...services, 'fd01::/48 8940'].sort(),
      'no route with the old MTU is left',
    );
    t.equal(redress({ prefixes: [], encapsulated: false }), 2);
    t.same(lab.network.snapshot(), dressed);
  },
);

t.test('the kernel of the namespace of VPP is silent before the uplink comes there', async (t) => {
  const lab = new UplinkLab();
  const inside = lab.network.open(vpp_netns);
  const usual = {
    'net/ipv4/ip_forward': '1',
    'net/ipv6/conf/all/disable_ipv6': '0',
    'net/ipv6/conf/default/disable_ipv6': '0',
    'net/ipv4/conf/default/arp_ignore': '0',
  };
  for (const [path, value] of Object.entries(usual)) inside.writeSysctl(path, value);
  const seen: (string | undefined)[] = [];
  const { push } = lab.network.mutations;
  lab.network.mutations.push = (...made) => {
    if (seen.length === 0) seen.push(...Object.keys(usual).map((path) => inside.readSysctl(path)));
    return push.apply(lab.network.mutations, made);
  };
  await lab.host.take(lab.host.capture([specOf()]));
  t.same(seen, ['0', '1', '1', '8']);
});
