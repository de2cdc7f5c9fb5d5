import t, { type Test } from 'tap';
import { isNatFlag } from '../../src/desired/pod-settings.js';
import { isRecorded, keyOf, type VppObject } from '../../src/objects/object.js';
import { type PodRecord, recordFileName } from '../../src/pod/record.js';
import { judged_ms } from '../../src/pods/pod-policies.js';
import { policies_ms } from '../../src/pods/policy-gate.js';
import type { Teardown } from '../kit/actor-kit.js';
import { FakeStore, podAddress as ip, PodLab, podLab } from './pod-lab.js';

t.test('an address that another pod has', async (t) => {
  await t.test('is refused, with the name of that pod', async (t) => {
    const lab = await podLab(t);
    await lab.add('a', { ips: ['10.0.0.1/24', 'fd00::1/64'] });
    const answer = await lab.add('b', { ips: ['10.0.0.2/24', 'fd00::1/64'] });
    t.match(answer, {
      successful: false,
      errorMessage: /pod default\/b eth0: fd00::1 is that of pod default\/a eth0/,
    });
    t.strictSame(lab.pods, ['a']);
  });
  await t.test('is taken over when the namespace of that pod has gone', async (t) => {
    const lab = await podLab(t);
    await lab.add('a');
    lab.dropNetns('a');
    t.match(await lab.add('b'), { successful: true });
    t.strictSame(lab.pods, ['b']);
    t.equal(lab.vpp.kinds().tap, 1);
  });
  await t.test('is waited for while that pod is deleted', async (t) => {
    const lab = await podLab(t);
    await lab.add('a');
    lab.vpp.holding = true;
    const del = lab.beginDel('a');
    const add = lab.begin('b');
    await lab.kit.settle();
    t.equal(add.answer, undefined);
    lab.vpp.answer();
    await lab.kit.settle();
    t.match([del.answer, add.answer], [{ successful: true }, { successful: true }]);
  });
  await t.test('is not waited for beyond the deadline', async (t) => {
    const lab = await podLab(t);
    await lab.add('a');
    lab.vpp.holding = true;
    lab.beginDel('a');
    const add = lab.begin('b');
    await lab.kit.clock.advance(4700);
    t.match(add.answer, { successful: false, errorMessage: /is not removed yet: retry/ });
    lab.vpp.answer();
    await lab.kit.settle();
    t.strictSame(lab.pods, []);
  });
  await t.test('does not matter on another network', async (t) => {
    const lab = await podLab(t);
    await lab.add('a');
    t.match(await lab.add('b', { network: 'red' }), { successful: true });
  });
  await t.test(
    'is the one it has: not what it has asked for in vain, nor only what it asks for',
    async (t) => {
      const lab = await podLab(t);
      await lab.add('a', { ips: [ip(1)] });
      const taken = async (address: number): Promise<boolean> => {
        const { errorMessage = '' } = (await lab.add('b', { ips: [ip(address)] })) ?? {};
        if (errorMessage === '') await lab.del('b');
        return errorMessage.includes('is that of pod default/a');
      };
      lab.store.full = true;
      t.match(await lab.add('a', { ips: [ip(9)] }), { successful: false });
      lab.store.full = false;
      t.strictSame([await taken(1), await taken(9)], [true, false]);
      lab.vpp.holding = true;
      const add = lab.begin('a', { ips: [ip(9)] });
      await lab.kit.settle();
      t.strictSame([await taken(1), await taken(9)], [true, true], 'it may end as either');
      lab.vpp.answer();
      await lab.kit.settle();
      t.match(add.answer, { successful: true });
      t.strictSame([await taken(1), await taken(9)], [false, true]);
    },
  );
  await t.test('is given up by a DEL of the one that waits', async (t) => {
    const lab = await podLab(t);
    await lab.add('a');
    lab.vpp.holding = true;
    lab.beginDel('a');
    const add = lab.begin('b');
    await lab.kit.settle();
    t.match(await lab.del('b'), { successful: true });
    t.match(add.answer, { successful: false, errorMessage: /deleted/ });
    lab.vpp.answer();
    await lab.kit.settle();
    t.strictSame(lab.pods, []);
  });
});

t.test('a pod whose namespace has gone', async (t) => {
  await t.test('is deleted after a minute, not at first sight', async (t) => {
    const lab = await podLab(t);
    await lab.population(3);
    await lab.kit.clock.advance(50_000);
    lab.dropNetns('p1');
    await lab.kit.clock.advance(60_000);
    t.strictSame(lab.pods, ['p0', 'p1', 'p2'], 'seen missing once');
    await lab.kit.clock.advance(60_000);
    t.strictSame(lab.pods, ['p0', 'p2']);
    t.equal(lab.vpp.kinds().tap, 2);
    t.equal(lab.phase('p1'), 'none');
    t.ok(lab.kit.node().events.some(({ kind }) => kind === 'collected'));
  });
  await t.test('is let alone when it comes back', async (t) => {
    const lab = await podLab(t);
    await lab.add('p');
    await lab.kit.clock.advance(60_000);
    const id = lab.host.identify(lab.netns('p'))!;
    lab.dropNetns('p');
    await lab.kit.clock.advance(60_000);
    lab.makeNetns('p');
    lab.host.renumber(lab.netns('p'), id);
    await lab.kit.clock.advance(120_000);
    t.strictSame(lab.pods, ['p']);
  });
  await t.test('is deleted when another namespace stands at its path', async (t) => {
    const lab = await podLab(t);
    await lab.add('p');
    lab.dropNetns('p');
    lab.makeNetns('p');
    await lab.kit.clock.advance(130_000);
    t.strictSame(lab.pods, []);
    t.strictSame(lab.vpp.objects, []);
  });
  await t.test('makes room at once for an ADD at the same path', async (t) => {
    const lab = await podLab(t);
    await lab.add('p');
    lab.dropNetns('p');
    t.match(await lab.add('p', { ips: ['10.0.0.2/24'] }), {
      successful: true,
      hostInterfaceName: 'vpp-tun-2',
    });
    t.equal(lab.vpp.kinds().tap, 1);
    t.ok(lab.host.open(lab.netns('p')).link('eth0'));
  });
});

t.test('a path that leads to another namespace', async (t) => {
  /** The process whose /proc path it was has gone, and its number is now that of a process in `to`. */
  async function led(t: Test, to?: string): Promise<PodLab> {
    const lab = await podLab(t);
    await lab.add('p');
    if (to !== undefined) lab.makeNetns(to);
    lab.host.lead(lab.netns('p'), to === undefined ? undefined : lab.netns(to));
    lab.host.addVirtual({ name: 'eth0', mac: '02:00:00:00:00:09', kind: 'tun' }, lab.netns('p'));
    lab.host.mutations.length = 0;
    return lab;
  }
  for (const to of [undefined, 'stranger']) {
    const whose = to ?? 'the node';
    await t.test(`of ${whose}: DEL removes nothing in it`, async (t) => {
      const lab = await led(t, to);
      t.match(await lab.del('p'), { successful: true });
      t.strictSame([lab.host.removals, lab.host.mutations, lab.vpp.objects], [[], [], []]);
    });
    await t.test(`of ${whose}: nothing is removed when the pod is collected`, async (t) => {
      const lab = await led(t, to);
      await lab.kit.clock.advance(130_000);
      t.strictSame([lab.pods, lab.host.removals, lab.host.mutations, lab.vpp.objects], [[], [], [], []]);
    });
    await t.test(`of ${whose}: nothing is done in it for a new VPP, nor by a new life`, async (t) => {
      const lab = await led(t, to);
      lab.vpp.die();
      await lab.ready();
      t.strictSame([lab.host.mutations, lab.vpp.objects], [[], []]);
      t.match(lab.settledness, { reason: /p eth0: \/var\/run\/netns\/p has gone/ });
      await lab.kit.crash(new Error('boom'));
      await lab.kit.clock.advance(200);
      await lab.ready();
      t.strictSame([lab.host.mutations, lab.vpp.objects], [[], []]);
    });
    await t.test(`of ${whose}: a record of an earlier release that does not know which it was`, async (t) => {
      const lab = await led(t, to);
      const key = 'netns:/var/run/netns/p,if:eth0';
      const { namespace: _, ...record } = lab.store.records.get(key)!;
      await lab.kit.crash(new Error('boom'));
      lab.store.records.set(key, record);
      lab.vpp.die();
      await lab.kit.clock.advance(200);
      await lab.ready();
      t.equal(lab.record('p')?.namespace, undefined);
      t.match(await lab.del('p'), { successful: true });
      t.strictSame([lab.host.removals, lab.host.mutations, lab.vpp.objects], [[], [], []]);
    });
  }
  await t.test('of the node: an ADD is refused, whatever its interface is called', async (t) => {
    const lab = await podLab(t);
    lab.host.lead(lab.netns('p'));
    for (const ifname of ['eth0', 'net1']) {
      t.match(await lab.add('p', { ifname }), {
        successful: false,
        errorMessage: /is the network namespace of the node itself/,
      });
    }
    t.strictSame([lab.host.mutations, lab.vpp.objects, lab.store.writes], [[], [], []]);
  });
  await t.test('in the middle of an ADD', async (t) => {
    const lab = await podLab(t);
    lab.vpp.holding = true;
    const add = lab.begin('p');
    await lab.kit.settle();
    lab.makeNetns('stranger');
    lab.host.lead(lab.netns('p'), lab.netns('stranger'));
    lab.vpp.answer();
    await lab.kit.settle();
    t.match(add.answer, { successful: false, errorMessage: /another network namespace stands at/ });
    t.strictSame(lab.host.open(lab.netns('stranger')).addresses(), [], 'it got no address');
    t.strictSame([lab.vpp.objects, lab.pods], [[], []]);
  });
});

t.test('a record of an earlier release learns in which namespace its pod is', async (t) => {
  const lab = await podLab(t);
  await lab.add('p');
  const key = 'netns:/var/run/netns/p,if:eth0';
  const whole = lab.store.records.get(key)!;
  const { namespace: _, device: __, ...record } = whole;
  await lab.kit.crash(new Error('boom'));
  lab.store.records.set(key, record);
  lab.host.mutations.length = 0;
  await lab.kit.clock.advance(200);
  t.strictSame(lab.record('p')?.namespace, lab.host.identify(lab.netns('p')));
  await lab.ready();
  t.strictSame(lab.record('p'), whole, 'and what its device was given');
  t.strictSame(lab.host.mutations, [], 'which is not given again');
});

t.test('records that vanish from the disk are written again', async (t) => {
  const lab = await podLab(t);
  await lab.population(3);
  const before = [...lab.store.records.values()];
  lab.store.records.clear();
  await lab.kit.clock.advance(61_000);
  t.strictSame([...lab.store.records.values()], before);
  t.ok(
    lab.kit
      .node()
      .events.some(({ text }) => text === '3 records were missing from the disk and are written again'),
  );
});

t.test('a pod whose collection met a full disk is collected when there is space again', async (t) => {
  const lab = await podLab(t);
  await lab.add('p');
  lab.dropNetns('p');
  lab.store.full = true;
  await lab.kit.clock.advance(300_000);
  t.strictSame(lab.pods, ['p']);
  lab.store.full = false;
  await lab.kit.clock.advance(61_000);
  t.strictSame([lab.pods, lab.vpp.objects], [[], []]);
});

t.test('a DEL also forgets a record that is for a later release', async (t) => {
  const lab = new PodLab();
  const key = 'netns:/var/run/netns/p,if:eth0';
  const file = recordFileName(key);
  lab.store.problems = [{ file, fault: 'newer', text: 'has version 2' }];
  const removed: string[] = [];
  lab.store.remove = (of) => void removed.push(of);
  await lab.start(t);
  await lab.ready();
  t.match(await lab.del('q'), { successful: true });
  t.strictSame(removed, []);
  t.match(await lab.del('p'), { successful: true });
  t.strictSame(removed, [key]);
});

t.test('packet buffers', async (t) => {
  /** For two pods beside what the node takes. */
  const few = { buffers: 2048 + 512 + 2 * 1024, buffers_taken: 512 };
  const told = /1024 are missing for one more pod: raise buffers-per-numa/;
  await t.test('refuse the pod that would have none', async (t) => {
    const lab = await podLab(t);
    await lab.kit.clock.advance(10);
    await lab.ready(few);
    await lab.population(2);
    t.match(await lab.add('c', { ips: [ip(9)] }), { successful: false, errorMessage: told });
    await lab.kit.clock.advance(10);
    await lab.ready({ ...few, buffers_taken: 0, buffers: few.buffers - 511 });
    t.match(await lab.add('c', { ips: [ip(9)] }), { errorMessage: /1023 are missing/ });
  });
  await t.test('also those that have come before VPP', async (t) => {
    const lab = await new PodLab().start(t);
    const calls = [1, 2, 3].map((n) => lab.begin(`p${n}`, { ips: [ip(n)] }));
    await lab.kit.settle();
    await lab.ready(few);
    t.strictSame(
      calls.map(({ answer }) => answer?.successful),
      [true, true, false],
    );
    t.match(calls[2]?.answer?.errorMessage, told);
    t.equal(lab.vpp.kinds().tap, 2);
  });
  await t.test(
    'of a new VPP that has fewer go to those who were first, and the others are told',
    async (t) => {
      const lab = await podLab(t);
      await lab.population(3);
      lab.vpp.die();
      await lab.lost();
      await lab.ready(few);
      t.equal(lab.vpp.kinds().tap, 2);
      t.match(lab.settledness, {
        settled: true,
        reason: /not pod default\/p2 eth0: of VPP's 4608 packet buffers/,
      });
      await lab.kit.clock.advance(10);
      await lab.del('p0');
      t.equal(lab.vpp.kinds().tap, 2, 'p2 has its own as soon as there are some');
      t.equal(lab.settledness?.reason, 'pods are settled');
    },
  );
  await t.test('that have become free are an ADD’s before VPP is read again', async (t) => {
    const lab = await podLab(t);
    await lab.population(3);
    lab.vpp.die();
    await lab.lost();
    await lab.ready(few);
    const again = { ips: [ip(3)] };
    t.match(await lab.add('p2', again), { successful: false, errorMessage: told });
    lab.vpp.holdsBack = ({ type }) => type === 'Read';
    await lab.del('p0');
    t.match(await lab.add('p2', again), { successful: true });
  });
  await t.test('of a pod on its way out are waited for', async (t) => {
    const lab = await podLab(t);
    await lab.kit.clock.advance(10);
    await lab.ready(few);
    await lab.population(2);
    lab.vpp.holding = true;
    lab.beginDel('p0');
    const add = lab.begin('c', { ips: [ip(9)] });
    await lab.kit.settle();
    t.equal(add.answer, undefined);
    lab.vpp.answer();
    await lab.kit.settle();
    t.match(add.answer, { successful: true });
  });
});

t.test('an audit', async (t) => {
  const isRoute = (object: VppObject): boolean => object.kind === 'route' && object.table_id === 0;
  const isUrpf = (object: VppObject): boolean => object.kind === 'urpf';
  await t.test('puts back what has gone', async (t) => {
    const lab = await podLab(t);
    await lab.population(3);
    const before = [...lab.vpp.objects];
    lab.vpp.objects = before.filter((object) => !isUrpf(object));
    await lab.kit.clock.advance(61_000);
    t.equal(lab.vpp.objects.filter(isUrpf).length, 3);
    t.equal(lab.vpp.objects.length, before.length);
  });
  await t.test('looks into the tables that others fill every tenth time', async (t) => {
    const lab = await podLab(t);
    await lab.population(3);
    const before = [...lab.vpp.objects];
    await lab.kit.clock.advance(61_000);
    lab.vpp.objects = before.filter((object) => !isRoute(object));
    await lab.kit.clock.advance(480_000);
    t.equal(lab.vpp.objects.filter(isRoute).length, 0, 'for nine minutes it is taken for there');
    await lab.kit.clock.advance(120_000);
    t.equal(lab.vpp.objects.filter(isRoute).length, 3);
    t.equal(lab.vpp.objects.length, before.length);
  });
  await t.test('asks nothing of VPP but to be read when all is well', async (t) => {
    const lab = await podLab(t);
    await lab.population(3);
    const { length } = lab.vpp.transactions;
    await lab.kit.clock.advance(300_000);
    t.equal(lab.vpp.transactions.length, length);
  });
  await t.test('leaves a pod alone that changed while VPP was read', async (t) => {
    const lab = await podLab(t);
    await lab.add('a', { ips: [ip(1)] });
    await lab.kit.clock.advance(59_990);
    const reads: Parameters<typeof lab.vpp.take>[0][] = [];
    const take = lab.vpp.take.bind(lab.vpp);
    lab.vpp.take = (message) => (message.type === 'Read' ? void reads.push(message) : take(message));
    const seen = lab.vpp.snapshot();
    await lab.kit.clock.advance(15);
    t.equal(reads.length, 1);
    t.match(await lab.add('b', { ips: [ip(2)] }), { successful: true });
    const { length } = lab.vpp.transactions;
    for (const message of reads) if (message.type === 'Read') message.reply.resolve(seen);
    await lab.kit.settle();
    t.equal(lab.vpp.transactions.length, length, 'the dump says that b has nothing: it is too old');
    t.equal(reads.length, 1, 'nor is VPP read again for it');
    t.equal(lab.vpp.kinds().tap, 2);
  });
  await t.test('removes what belongs to nobody when it has seen it twice', async (t) => {
    const lab = await podLab(t);
    await lab.population(2);
    const stray = lab.vpp.objects.filter((object) => JSON.stringify(object).includes('-eth0-p1'));
    await lab.del('p1');
    lab.dropNetns('p1');
    await lab.kit.clock.advance(1000);
    const { length } = lab.vpp.objects;
    lab.vpp.objects.push(...stray);
    await lab.kit.clock.advance(60_000);
    t.equal(lab.vpp.objects.length, length + stray.length, 'once');
    await lab.kit.clock.advance(60_000);
    t.equal(lab.vpp.objects.length, length, 'twice');
  });
  await t.test('removes all of it, of which most audits see a part', async (t) => {
    const lab = await podLab(t);
    await lab.population(2);
    const stray = lab.vpp.objects.filter((object) => JSON.stringify(object).includes('-eth0-p1'));
    await lab.del('p1');
    lab.dropNetns('p1');
    const { length } = lab.vpp.objects;
    const before = lab.vpp.transactions.length;
    // After a whole look, so that light ones would see it first.
    await lab.kit.clock.advance(700_000);
    lab.vpp.objects.push(...stray);
    // One of them shows even less.
    const { snapshot } = lab.vpp;
    let looks = 0;
    lab.vpp.snapshot = (scopes) => {
      const all = snapshot.call(lab.vpp, scopes);
      if (!scopes?.includes('pod_routes') || looks++ > 0) return all;
      return { ...all, objects: all.objects.filter((object) => !isRoute(object) || !stray.includes(object)) };
    };
    await lab.kit.clock.advance(60_000);
    t.equal(lab.vpp.objects.length, length + stray.length, 'once');
    await lab.kit.clock.advance(60_000);
    t.equal(lab.vpp.objects.length, length, 'twice');
    t.equal(lab.vpp.transactions.length, before + 1, 'in one transaction: a route is not left to dangle');
  });
  await t.test(
    'still looks into those tables every tenth time with an interface that is left alone',
    async (t) => {
      const lab = await podLab(t);
      await lab.population(2);
      await lab.kit.crash(new Error('boom'));
      lab.store.records.delete('netns:/var/run/netns/p1,if:eth0');
      await lab.kit.clock.advance(200);
      await lab.ready();
      let whole = 0;
      const take = lab.vpp.take.bind(lab.vpp);
      lab.vpp.take = (message) => {
        if (message.type === 'Read' && message.scopes.includes('pod_routes')) whole += 1;
        take(message);
      };
      await lab.kit.clock.advance(1_201_000);
      t.equal(whole, 2);
    },
  );
  await t.test('never takes away the route to an address that a pod has', async (t) => {
    const lab = await podLab(t);
    await lab.add('a');
    const at = lab.vpp.objects.findIndex(isRoute);
    const route = lab.vpp.objects[at]! as Extract<VppObject, { kind: 'route' }>;
    lab.vpp.objects[at] = { ...route, paths: [{ via: 'interface', interface: '#77', next_hop: '10.0.0.1' }] };
    await lab.kit.clock.advance(800_000);
    t.same(lab.vpp.objects.filter(isRoute), [route], 'it is made right');
  });
});

t.test('what VPP holds at the start', async (t) => {
  /** A VPP with the pods of an earlier life. */
  async function after(t: Parameters<typeof podLab>[0], change: (lab: PodLab) => void): Promise<PodLab> {
    const lab = await podLab(t);
    await lab.population(3);
    await lab.kit.crash(new Error('boom'));
    change(lab);
    await lab.kit.clock.advance(200);
    return lab;
  }

  await t.test('is kept where a record says so, without a word to VPP', async (t) => {
    const lab = await after(t, () => {});
    const { length } = lab.vpp.transactions;
    await lab.ready();
    t.equal(lab.vpp.transactions.length, length);
    t.match(await lab.add('p0', { ips: [ip(1)] }), { successful: true, hostInterfaceName: 'vpp-tun-1' });
  });
  await t.test('is told to VPP again where no dump shows it and its registry is not sure', async (t) => {
    const lab = await after(t, ({ vpp }) => {
      vpp.unsure = new Set(vpp.objects.filter(isRecorded).map(keyOf));
    });
    const { length } = lab.vpp.transactions;
    await lab.ready();
    const added = lab.vpp.transactions.slice(length).flatMap(({ message }) => message.transaction.operations);
    t.strictSame(
      [
        ...new Set(
          added.map(
            ({ action, object }) =>
              `${action} ${object.kind === 'interface_flag' ? object.flag : object.kind}`,
          ),
        ),
      ],
      ['add snat_pod', 'add default_verdict'],
    );
    t.match(await lab.add('p0', { ips: [ip(1)] }), { successful: true, hostInterfaceName: 'vpp-tun-1' });
  });
  await t.test('is removed where there is neither record nor namespace', async (t) => {
    const lab = await after(t, ({ store }) => store.records.delete('netns:/var/run/netns/p1,if:eth0'));
    lab.dropNetns('p1');
    await lab.ready();
    await lab.kit.clock.advance(200);
    t.equal(lab.vpp.kinds().tap, 2);
    t.equal(lab.vpp.kinds().table, 2);
  });
  await t.test('is removed where the namespace without record has become the node’s own', async (t) => {
    const lab = await after(t, ({ store }) => store.records.delete('netns:/var/run/netns/p1,if:eth0'));
    lab.host.lead(lab.netns('p1'));
    lab.host.addVirtual({ name: 'eth0', mac: '02:00:00:00:00:09', kind: 'tun' });
    await lab.ready();
    await lab.kit.clock.advance(200);
    t.equal(lab.vpp.kinds().tap, 2);
    t.strictSame(lab.host.removals, [], 'nothing is removed in Linux of what nobody knows');
  });
  await t.test(
    'is left alone in a living namespace when records were lost, and said, until it is added or deleted',
    async (t) => {
      let are_all_policed = false;
      const lab = await after(t, ({ store, policed }) => {
        store.records.clear();
        policed.complete = () => {
          are_all_policed = true;
        };
      });
      lab.dropNetns('p2');
      await lab.ready();
      await lab.kit.clock.advance(200);
      t.equal(lab.vpp.kinds().tap, 2, 'that of p2 had no namespace');
      t.match(lab.settledness, {
        settled: true,
        reason: /2 interfaces in living namespaces have no record, and are left alone/,
      });
      await lab.kit.clock.advance(600_000);
      t.equal(lab.vpp.kinds().tap, 2, 'for as long as it takes');
      t.notOk(are_all_policed, 'what an earlier life has told VPP of them is not for the sweep');
      t.match(await lab.del('p0'), { successful: true });
      await lab.kit.clock.advance(200);
      t.equal(lab.vpp.kinds().tap, 1);
      t.match(await lab.add('p1', { ips: [ip(2)] }), { successful: true, hostInterfaceName: 'vpp-tun-2' });
      t.equal(lab.vpp.kinds().tap, 1, 'the ADD takes over what is there');
      t.equal(lab.vpp.kinds().table, 1);
      t.ok(are_all_policed);
      lab.dropNetns('p1');
      await lab.kit.clock.advance(200_000);
      t.strictSame(lab.vpp.objects, []);
    },
  );
  await t.test('is taken over by an ADD that comes before it is removed', async (t) => {
    const lab = await after(t, ({ store }) => store.records.clear());
    const add = lab.begin('p1', { ips: [ip(2)] });
    await lab.kit.settle();
    await lab.ready();
    t.match(add.answer, { successful: true, hostInterfaceName: 'vpp-tun-2' });
    await lab.kit.clock.advance(1000);
    t.match(lab.settledness, { reason: /2 interfaces/ });
    t.equal(lab.vpp.kinds().tap, 3);
  });
  await t.test('is nobody’s again when the ADD that came for it ends without a record', async (t) => {
    const tables = (lab: PodLab) => [
      ...new Set(lab.vpp.objects.flatMap((object) => (object.kind === 'table' ? object.table_id : []))),
    ];
    const told = /interfaces in living namespaces have no record/;
    const ends: Record<string, (lab: PodLab) => Promise<unknown>> = {
      'refused by the pod': async (lab) => {
        lab.store.full = true;
        await lab.ready();
        return lab.add('p1', { ips: [ip(2)] });
      },
      'refused when it had come before VPP': async (lab) => {
        lab.store.full = true;
        const add = lab.begin('p1', { ips: [ip(2)] });
        await lab.kit.settle();
        await lab.ready();
        return add.answer;
      },
      'given up while VPP says what it holds': async (lab) => {
        lab.vpp.holding = true;
        const abort = new AbortController();
        await lab.ready();
        const add = lab.begin('p1', { ips: [ip(2)], signal: abort.signal });
        await lab.kit.settle();
        lab.vpp.answer();
        abort.abort(new Error('cancelled'));
        await lab.kit.settle();
        return add.answer;
      },
      'crashed with the pod': async (lab) => {
        await lab.ready();
        const { crashes } = lab.kit.system.counters();
        lab.store.put = () => {
          lab.store.put = FakeStore.prototype.put;
          throw null;
        };
        const answer = await lab.add('p1', { ips: [ip(2)] });
        if (lab.kit.system.counters().crashes === crashes) throw new Error('it has not crashed');
        return answer;
      },
    };
    for (const [how, end] of Object.entries(ends)) {
      await t.test(how, async (t) => {
        const lab = await after(t, ({ store }) => store.records.clear());
        t.match(await end(lab), { successful: false });
        await lab.kit.clock.advance(200);
        lab.store.full = false;
        t.strictSame(lab.pods, []);
        t.equal(lab.vpp.kinds().tap, 3, 'it is left alone');
        t.match(lab.settledness, { reason: told });
        t.match(await lab.add('q', { ips: [ip(9)] }), { successful: true });
        t.equal(tables(lab).length, 4, 'its tables are nobody else’s');
        t.match(await lab.del('p1'), { successful: true });
        await lab.kit.clock.advance(1);
        t.equal(lab.vpp.kinds().tap, 3, 'a DEL removes it');
        t.equal(tables(lab).length, 3);
        t.match(await lab.add('p0', { ips: [ip(1)] }), { successful: true, hostInterfaceName: 'vpp-tun-1' });
      });
    }
    await t.test('removed where a DEL has ended it', async (t) => {
      const lab = await after(t, ({ store }) => store.records.clear());
      const add = lab.begin('p1', { ips: [ip(2)] });
      await lab.kit.settle();
      lab.vpp.holding = true;
      await lab.ready();
      const del = lab.beginDel('p1');
      lab.vpp.answer();
      await lab.kit.clock.advance(1);
      t.match([add.answer, del.answer], [{ successful: false }, { successful: true }]);
      t.equal(lab.vpp.kinds().tap, 2);
    });
  });
  await t.test('loses routes to interfaces that are gone before anything else happens', async (t) => {
    const lab = await after(t, ({ vpp }) => {
      vpp.die();
      vpp.objects = [
        {
          kind: 'route',
          source: 'pods',
          table_id: 0,
          prefix: '10.0.0.1/32',
          paths: [{ via: 'interface', interface: '#1', next_hop: '10.0.0.1' }],
        },
      ];
    });
    const { length } = lab.vpp.transactions;
    await lab.ready();
    const first = lab.vpp.transactions[length]!.message.transaction;
    t.match(first.operations, [{ action: 'remove', object: { prefix: '10.0.0.1/32' } }]);
    t.equal(lab.vpp.objects.filter(({ kind }) => kind === 'tap').length, 3);
  });
  await t.test('is waited for by an ADD of that pod while it is removed', async (t) => {
    const lab = await after(t, ({ store }) => store.records.clear());
    for (const name of ['p0', 'p1', 'p2']) lab.dropNetns(name);
    lab.vpp.holdsBack = ({ type }) => type === 'Transact';
    await lab.ready();
    const tag = lab.removals().at(-1)!.tags[0]!;
    const name = tag.slice(tag.lastIndexOf('-') + 1);
    const add = lab.begin(name, { ips: [ip(9)] });
    await lab.kit.settle();
    t.equal(add.answer, undefined);
    lab.vpp.answer();
    await lab.kit.settle();
    t.match(add.answer, { successful: true });
  });
  await t.test('is asked for again when VPP does not answer', async (t) => {
    const lab = await new PodLab().start(t);
    lab.vpp.holding = true;
    await lab.ready();
    const add = lab.begin('p');
    await lab.kit.settle();
    lab.vpp.fail('ASK_DEADLINE');
    await lab.kit.clock.advance(1100);
    t.match(add.answer, { successful: true });
  });
});

t.test('the node is not ready before every pod of the records is dealt with', async (t) => {
  async function again(t: Test, change: (lab: PodLab) => void): Promise<PodLab> {
    const lab = await podLab(t);
    await lab.population(3);
    t.match(lab.settledness, { settled: true });
    await lab.kit.crash(new Error('boom'));
    change(lab);
    await lab.kit.clock.advance(200);
    t.match(lab.settledness, { settled: false, reason: 'VPP is not ready yet' });
    return lab;
  }

  await t.test('not before VPP has said what it holds', async (t) => {
    const lab = await again(t, () => {});
    lab.vpp.holding = true;
    await lab.ready();
    t.match(lab.settledness, { settled: false, reason: 'VPP is asked what it holds' });
    lab.vpp.answer();
    await lab.kit.settle();
    t.match(lab.settledness, { settled: true, reason: 'pods are settled' });
  });
  await t.test('not before half of a pod is removed', async (t) => {
    const lab = await again(t, ({ store, vpp }) => {
      const key = 'netns:/var/run/netns/p1,if:eth0';
      store.records.set(key, { ...store.records.get(key)!, phase: 'intended' });
      vpp.holdsBack = ({ type }) => type === 'Transact';
    });
    await lab.ready();
    await lab.kit.clock.advance(100);
    t.match(lab.settledness, { settled: false, reason: '1 of 3 pods are being dealt with' });
    lab.vpp.answer();
    await lab.kit.settle();
    t.match(lab.settledness, { settled: true });
    t.equal(lab.vpp.kinds().tap, 2);
  });
  await t.test('not before what is nobody’s is removed', async (t) => {
    const lab = await again(t, (lab) => {
      const { store, vpp } = lab;
      lab.dropNetns('p1');
      store.records.delete('netns:/var/run/netns/p1,if:eth0');
      vpp.holdsBack = ({ type }) => type === 'Transact';
    });
    await lab.ready();
    await lab.kit.clock.advance(100);
    t.match(lab.settledness, { settled: false, reason: /unknown pods/ });
    lab.vpp.answer();
    await lab.kit.settle();
    t.match(lab.settledness, { settled: true });
  });
  await t.test('a pod whose namespace has gone is told, and waited for no longer', async (t) => {
    const lab = await again(t, (lab) => {
      lab.dropNetns('p1');
      lab.vpp.die();
    });
    await lab.ready();
    t.match(lab.settledness, {
      settled: true,
      reason: 'pods are settled, but not pod default/p1 eth0: /var/run/netns/p1 has gone',
    });
    await lab.kit.clock.advance(130_000);
    t.match(lab.settledness, { settled: true, reason: 'pods are settled' });
  });
  await t.test('a pod that VPP never answers for is waited for half a minute', async (t) => {
    const lab = await again(t, ({ vpp }) => {
      vpp.die();
      vpp.holdsBack = (message) =>
        message.type === 'Transact' && message.transaction.owner.includes('default/p1');
    });
    await lab.ready();
    await lab.kit.clock.advance(9000);
    t.match(lab.settledness, { settled: false });
    await lab.kit.clock.advance(21_000);
    t.match(lab.settledness, { settled: true, reason: /p1/ });
  });
  await t.test('it is not when VPP is lost', async (t) => {
    const lab = await again(t, () => {});
    await lab.ready();
    t.match(lab.settledness, { settled: true });
    await lab.lost();
    t.match(lab.settledness, { settled: false, reason: 'the node: the connection to VPP is lost' });
  });
});

t.test('a VPP that has no uplinks yet', async (t) => {
  /** Another VPP than that of three pods. */
  async function another(t: Test, change: (lab: PodLab) => void = () => {}): Promise<PodLab> {
    const lab = await podLab(t);
    await lab.population(3);
    await lab.lost();
    lab.vpp.die();
    change(lab);
    return lab;
  }
  await t.test('is given its pods, and the uplink is told when it has them', async (t) => {
    const lab = await another(t);
    lab.vpp.holding = true;
    await lab.prepared(1);
    t.strictSame(lab.in_place, []);
    t.equal(lab.vpp.kinds().tap, undefined);
    lab.vpp.answer();
    await lab.kit.settle();
    t.equal(lab.vpp.kinds().tap, 3);
    t.strictSame(lab.in_place, [1]);
    t.match(lab.settledness, { settled: true });
    const modes = () => lab.vpp.objects.flatMap((object) => (object.kind === 'urpf' ? object.table_id : []));
    t.strictSame(modes(), [2, 2, 2], 'which may not send');
    const { transactions } = lab.vpp;
    const before = transactions.length;
    await lab.ready();
    t.strictSame(modes(), [0, 0, 0], 'until there are uplinks');
    const since = transactions.slice(before).flatMap(({ message }) => message.transaction.operations);
    t.strictSame(
      [...new Set(since.map(({ object }) => object.kind))],
      ['urpf'],
      'which is all that has changed',
    );
    t.strictSame(lab.in_place, [1], 'of which the uplink need not be told');
  });
  await t.test('is given them again when the take-over is tried again', async (t) => {
    const lab = await another(t);
    await lab.prepared(1);
    lab.vpp.holding = true;
    await lab.prepared(2);
    t.strictSame(lab.in_place, [1], 'not before it was read');
    lab.vpp.answer();
    await lab.kit.settle();
    t.strictSame(lab.in_place, [1, 2]);
  });
  await t.test('is not waited with for what is nobody’s', async (t) => {
    const lab = await podLab(t);
    await lab.population(3);
    await lab.kit.crash(new Error('boom'));
    lab.dropNetns('p1');
    lab.store.records.delete('netns:/var/run/netns/p1,if:eth0');
    lab.vpp.holdsBack = (message) =>
      message.type === 'Transact' && message.transaction.owner.startsWith('left over');
    await lab.kit.clock.advance(200);
    await lab.prepared(1);
    await lab.kit.clock.advance(100);
    t.match(lab.settledness, { settled: false, reason: /unknown pods/ });
    t.strictSame(lab.in_place, [1]);
  });
  await t.test('is waited with for a pod that VPP does not answer for, for half a minute', async (t) => {
    const lab = await another(t, ({ vpp }) => {
      vpp.holdsBack = (message) =>
        message.type === 'Transact' && message.transaction.owner.includes('default/p1');
    });
    await lab.prepared(1);
    await lab.kit.clock.advance(9000);
    t.strictSame(lab.in_place, []);
    await lab.kit.clock.advance(21_000);
    t.strictSame(lab.in_place, [1]);
  });
  await t.test('connects no new pod: that would have no way to the outside', async (t) => {
    const lab = await another(t);
    await lab.prepared(1);
    const add = lab.begin('p9', { ips: [ip(9)] });
    await lab.kit.clock.advance(1000);
    t.equal(add.answer, undefined);
    t.strictSame(lab.in_place, [1], 'nor is it waited with for it');
    await lab.ready();
    t.match(add.answer, { successful: true });
    t.equal(lab.vpp.kinds().tap, 4);
  });
  await t.test(
    'and refuses a part of a pod lets it send at once all the same, when it has them',
    async (t) => {
      const lab = await another(t, ({ vpp }) => {
        vpp.refuses = ({ object }) => (object.kind === 'interface_mtu' ? 'refused' : undefined);
      });
      await lab.prepared(1);
      await lab.kit.clock.advance(20_000);
      t.strictSame(lab.in_place, [1]);
      await lab.ready();
      const tables = lab.vpp.objects.flatMap((object) => (object.kind === 'urpf' ? object.table_id : []));
      t.strictSame(tables, [0, 0, 0]);
    },
  );
  await t.test('that stays so has the ADD refused in time, by name', async (t) => {
    const lab = await another(t);
    await lab.prepared(1);
    const add = lab.begin('p9', { ips: [ip(9)] });
    await lab.kit.clock.advance(10_000);
    t.match(add.answer, { successful: false, errorMessage: /p9.*not given the uplinks.*retry/ });
    const late = lab.begin('p8', { ips: [ip(8)] });
    await lab.lost();
    lab.vpp.die();
    await lab.ready();
    t.match(late.answer, { successful: true }, 'one that waits is connected to the next VPP');
  });
});

t.test('tables of an orphan are nobody else’s until they are gone', async (t) => {
  const lab = await podLab(t);
  await lab.add('a', { ips: [ip(1)] });
  await lab.kit.crash(new Error('boom'));
  lab.store.records.clear();
  await lab.kit.clock.advance(200);
  lab.vpp.refuses = ({ action }) => (action === 'remove' ? 'refused' : undefined);
  const add = lab.begin('b', { ips: [ip(2)] });
  await lab.ready();
  t.match(add.answer, { successful: true });
  const ids = lab.vpp.objects.flatMap((object) => (object.kind === 'table' ? object.table_id : []));
  t.equal(new Set(ids).size, 2);
});

t.test('what VPP would not give up of an orphan', async (t) => {
  const taps = ({ message }: PodLab['vpp']['transactions'][number]) =>
    message.transaction.operations.filter(({ action, object }) => action === 'add' && object.kind === 'tap');
  const left = async (t: Teardown): Promise<PodLab> => {
    const lab = await podLab(t);
    await lab.add('a', { ips: [ip(1)] });
    await lab.kit.crash(new Error('boom'));
    lab.store.records.clear();
    lab.dropNetns('a');
    await lab.kit.clock.advance(200);
    lab.vpp.refuses = ({ action, object }) =>
      action === 'remove' && ['tap', 'table'].includes(object.kind) ? 'refused' : undefined;
    await lab.ready();
    return lab;
  };
  await t.test('keeps its tables to itself, and goes when VPP lets it', async (t) => {
    const lab = await left(t);
    t.match(await lab.add('b', { ips: [ip(2)] }), { successful: true });
    const ids = lab.vpp.objects.flatMap((object) => (object.kind === 'table' ? object.table_id : []));
    t.equal(new Set(ids).size, 2);
    lab.vpp.refuses = () => undefined;
    await lab.kit.clock.advance(61_000);
    t.equal(lab.vpp.kinds().table, 1);
    t.equal(lab.vpp.kinds().tap, 1);
  });
  await t.test('is not made a second time by an ADD of that pod, which waits until it is gone', async (t) => {
    const lab = await left(t);
    t.match(await lab.add('a', { ips: [ip(1)] }), { errorMessage: /VPP: refused/ });
    t.equal(lab.vpp.transactions.flatMap(taps).length, 1);
    lab.vpp.refuses = () => undefined;
    const add = lab.begin('a', { ips: [ip(1)] });
    await lab.kit.clock.advance(1100);
    t.match(add.answer, { successful: true });
    t.match(lab.vpp.kinds(), { tap: 1, table: 1 });
  });
});

t.test('the node comes back with other inputs: every pod follows', async (t) => {
  const lab = await podLab(t);
  await lab.add('p', { ports: [{ protocol: 'TCP', port: 80, hostPort: 8080 }] });
  t.match(
    lab.vpp.objects.find(({ kind }) => kind === 'translation'),
    { address: '192.0.2.1' },
  );
  await lab.kit.clock.advance(10);
  await lab.ready({ node: { ip4: '192.0.2.9' }, mtu: 1400 });
  t.match(
    lab.vpp.objects.filter(({ kind }) => kind === 'translation'),
    [{ address: '192.0.2.9' }],
  );
  t.equal(lab.host.open(lab.netns('p')).link('eth0')?.mtu, 1400);
});

t.test('host ports are told as a whole in each life, and before that not at all', async (t) => {
  for (const what of ['adopted', 'new'] as const) {
    const lab = await podLab(t);
    await lab.add('p', { ports: [{ protocol: 'TCP', port: 80, hostPort: 8080 }] });
    const told: string[] = [];
    const all = () => lab.translations.keysOf('pods')?.join() ?? 'not known';
    const whole = 'translation:tcp/192.0.2.1/8080';
    t.equal(all(), whole);
    lab.translations.watch('pods', () => told.push(all()));
    await lab.kit.crash(new Error('boom'));
    if (what === 'new') lab.vpp.die();
    await lab.kit.clock.advance(200);
    await lab.ready();
    await lab.kit.settle();
    t.strictSame(new Set(told), new Set(['not known', whole]), `${what} VPP`);
    t.equal(told.at(-1), whole);
  }
});

t.test('a host port', async (t) => {
  const http = { ports: [{ protocol: 'TCP', port: 80, hostPort: 8080 }] };
  const led = (lab: PodLab) =>
    lab.vpp.objects.flatMap((object) =>
      object.kind === 'translation' ? `${object.port} ${object.backends[0]!.address}` : [],
    );
  await t.test('is that of the first pod, and the second is told whose', async (t) => {
    const lab = await podLab(t);
    await lab.add('a', { ...http, ips: [ip(1)] });
    t.match(await lab.add('b', { ...http, ips: [ip(2)] }), {
      successful: false,
      errorMessage: /b eth0: host port tcp 192\.0\.2\.1 8080 is that of pod default\/a eth0: delete that one/,
    });
    t.strictSame([lab.pods, led(lab)], [['a'], ['8080 10.0.0.1']]);
    await lab.del('a');
    t.match(await lab.add('b', { ...http, ips: [ip(2)] }), { successful: true });
    t.strictSame(led(lab), ['8080 10.0.0.2']);
  });
  await t.test('leads to the first interface of a pod, whatever audits see', async (t) => {
    const lab = await podLab(t);
    await lab.add('a', { ...http, ips: [ip(1)] });
    t.match(await lab.add('a', { ...http, ips: [ip(2)], ifname: 'net1' }), { successful: true });
    const { length } = lab.vpp.transactions;
    await lab.kit.clock.advance(700_000);
    t.strictSame([led(lab), lab.vpp.transactions.length], [['8080 10.0.0.1'], length]);
    t.match(lab.settledness, { reason: 'pods are settled' });
    await lab.del('a');
    await lab.kit.clock.advance(61_000);
    t.strictSame(led(lab), ['8080 10.0.0.2'], 'the other one has it when that has gone');
  });
  await t.test('stays where it is in a new life and with a new VPP', async (t) => {
    const lab = await podLab(t);
    const specs = ['a', 'b'].map((name) => `netns:/var/run/netns/${name},if:eth0`);
    await lab.add('b', { ...http, ips: [ip(2)] });
    await lab.add('a', { ips: [ip(1)] });
    await lab.kit.crash(new Error('boom'));
    // Before there was an order, both could have it.
    const [a, b] = specs.map((key) => lab.store.records.get(key)!) as [PodRecord, PodRecord];
    lab.store.records.clear();
    lab.store.records.set(specs[0]!, { ...a, spec: { ...a.spec, host_ports: b.spec.host_ports } });
    lab.store.records.set(specs[1]!, b);
    await lab.kit.clock.advance(200);
    await lab.ready();
    t.strictSame(led(lab), ['8080 10.0.0.2']);
    t.match(lab.settledness, {
      reason: /not pod default\/a eth0: host port .* is that of pod default\/b eth0/,
    });
    lab.vpp.die();
    await lab.lost();
    await lab.ready();
    t.strictSame(led(lab), ['8080 10.0.0.2']);
  });
  await t.test('of another owner is refused', async (t) => {
    const lab = await podLab(t);
    const service = { by: 'services', id: 's', name: 'service default/s' } as const;
    lab.translations.claim(service, 'translation:tcp/192.0.2.1/8080');
    t.match(await lab.add('a', http), { errorMessage: /is that of service default\/s/ });
  });
  await t.test('of a service is the pod’s when that has let it go', async (t) => {
    const lab = await podLab(t);
    await lab.add('a', http);
    const service = { by: 'services', id: '', name: 'Service default/s' } as const;
    await lab.kit.crash(new Error('boom'));
    lab.vpp.objects.splice(
      lab.vpp.objects.findIndex(({ kind }) => kind === 'translation'),
      1,
    );
    await lab.kit.clock.advance(200);
    t.equal(lab.translations.claim(service, 'translation:tcp/192.0.2.1/8080'), undefined);
    await lab.ready();
    t.strictSame(led(lab), []);
    lab.translations.releaseOne(service, 'translation:tcp/192.0.2.1/8080');
    await lab.kit.clock.advance(120_000);
    t.equal(led(lab).length, 1, 'with one of the next audits');
  });
  await t.test('that was left behind does not lead to the next pod with that address', async (t) => {
    const lab = await podLab(t);
    await lab.add('a', http);
    const stray = lab.vpp.objects.filter(({ kind }) => kind === 'translation');
    await lab.del('a');
    await lab.kit.crash(new Error('boom'));
    lab.vpp.objects.push(...stray);
    await lab.kit.clock.advance(200);
    await lab.ready();
    t.equal(led(lab).length, 1, 'it is not known whose it is');
    t.match(await lab.add('b'), { successful: true });
    t.strictSame(led(lab), []);
  });
  await t.test('under an earlier address of the node goes', async (t) => {
    const lab = await podLab(t);
    await lab.add('a', http);
    await lab.kit.crash(new Error('boom'));
    await lab.kit.clock.advance(200);
    await lab.ready({ node: { ip4: '192.0.2.9' } });
    t.match(
      lab.vpp.objects.filter(({ kind }) => kind === 'translation'),
      [{ address: '192.0.2.9' }],
    );
  });
});

t.test('pods of the Go implementation', async (t) => {
  const entry = (name: string, address: string) => ({
    interfaceName: 'eth0',
    netnsName: `/var/run/netns/${name}`,
    allowIpForwarding: false,
    routes: [{ IP: '0.0.0.0', Mask: 'AAAAAA==' }],
    containerIps: [address],
    mtu: 0,
    orchestratorID: 'k8s',
    workloadID: `default/${name}`,
    endpointID: 'eth0',
    hostPorts: [],
    networkName: '',
    podAnnotations: {
      allowedSpoofingPrefixes: [],
      ifSpec: { rx: 1, tx: 1, rxqsz: 1024, txqsz: 1024, isl3: true },
    },
  });
  const state = JSON.stringify({
    version: 11,
    podSpecs: {
      'netns:/var/run/netns/a,if:eth0': entry('a', '10.0.0.1'),
      'netns:/var/run/netns/gone,if:eth0': entry('gone', '10.0.0.2'),
    },
  });
  /** As the Go implementation has left it. */
  const left = (lab: PodLab, name: string, address: string): void => {
    lab.makeNetns(name);
    const namespace = lab.host.open(lab.netns(name));
    lab.host.addVirtual({ name: 'eth0', mac: '02:00:00:00:00:01', kind: 'tun' }, lab.netns(name));
    const link = namespace.link('eth0')!.index;
    namespace.apply({ do: 'add_address', address: { link, family: 4, prefix: `${address}/32` } });
  };
  await t.test('are connected again if they are still there', async (t) => {
    const lab = new PodLab();
    lab.goState = state;
    left(lab, 'a', '10.0.0.1');
    await lab.start(t);
    t.strictSame(lab.pods, ['a']);
    await lab.ready();
    t.equal(lab.vpp.kinds().tap, 1);
    t.equal(lab.phase('a'), 'done');
  });
  await t.test('are taken over also when there are records, and once', async (t) => {
    const lab = new PodLab();
    await lab.start(t);
    await lab.ready();
    await lab.add('p', { ips: [ip(7)] });
    lab.goState = state;
    left(lab, 'a', '10.0.0.1');
    await lab.kit.crash(new Error('boom'));
    await lab.kit.clock.advance(200);
    t.strictSame(lab.pods.sort(), ['a', 'p']);
    await lab.ready();
    t.equal(lab.vpp.kinds().tap, 2);
    t.equal(lab.vpp.kinds().table, 2);
    await lab.del('a');
    await lab.kit.crash(new Error('boom'));
    await lab.kit.clock.advance(200);
    t.strictSame(lab.pods, ['p'], 'one that was deleted does not come back');
  });
  await t.test('are no stranger’s who has their path now', async (t) => {
    const lab = new PodLab();
    lab.goState = state;
    left(lab, 'a', '10.0.0.5');
    await lab.start(t);
    t.strictSame(lab.pods, []);
  });
  await t.test('are taken over when the disk has space again', async (t) => {
    const lab = new PodLab();
    lab.goState = state;
    left(lab, 'a', '10.0.0.1');
    lab.store.full = true;
    await lab.start(t);
    await lab.ready();
    t.strictSame(lab.pods, []);
    lab.store.full = false;
    await lab.kit.clock.advance(61_000);
    t.strictSame([lab.pods, lab.vpp.kinds().tap], [['a'], 1]);
  });
  /** `name` is an interface without record when `a` can be taken over at last. */
  const late = async (t: Test, name: string): Promise<PodLab> => {
    const lab = await podLab(t);
    await lab.add(name);
    await lab.kit.crash(new Error('boom'));
    lab.store.records.clear();
    lab.goState = state;
    if (name !== 'a') left(lab, 'a', '10.0.0.1');
    lab.store.full = true;
    await lab.kit.clock.advance(200);
    await lab.ready();
    t.match(lab.settledness, { reason: /1 interfaces in living namespaces have no record/ });
    lab.store.full = false;
    await lab.kit.clock.advance(61_000);
    t.equal(lab.phase('a'), 'done');
    return lab;
  };
  await t.test('that are taken over late get tables that nobody has', async (t) => {
    const lab = await late(t, 'p');
    const ids = lab.vpp.objects.flatMap((object) => (object.kind === 'table' ? object.table_id : []));
    t.strictSame([ids.length, new Set(ids).size], [2, 2]);
  });
  await t.test('that are taken over late have what VPP holds of them', async (t) => {
    const lab = await late(t, 'a');
    t.match(lab.vpp.kinds(), { tap: 1, table: 1 });
    t.equal(lab.settledness?.reason, 'pods are settled');
  });
  await t.test('whose state cannot be read are told, and the server serves', async (t) => {
    const lab = new PodLab();
    Object.defineProperty(lab, 'goState', {
      get() {
        throw new Error('EISDIR: illegal operation on a directory');
      },
    });
    await lab.start(t);
    await lab.ready();
    t.match(await lab.add('p'), { successful: true });
    t.ok(lab.kit.node().events.some(({ kind, text }) => kind === 'import' && text.includes('EISDIR')));
  });
});

t.test('records that cannot be read at all are told, and the server serves', async (t) => {
  const lab = new PodLab();
  lab.store.load = () => {
    throw new Error('EACCES: permission denied');
  };
  await lab.start(t);
  await lab.ready();
  t.match(await lab.add('p'), { successful: true });
  t.ok(lab.kit.node().events.some(({ kind, text }) => kind === 'records' && text.includes('EACCES')));
});

t.test('requests that nobody can carry out are answered, and crash nothing', async (t) => {
  const lab = await podLab(t);
  t.match(await lab.add('p', { ips: ['no address'] }), { successful: false, errorMessage: /container_ips/ });
  t.match(await lab.add('p', { ifname: 'much-too-long-for-linux' }), { successful: false });
  t.match(await lab.del('p', { ifname: '' }), { successful: true }, 'there is nothing to delete');
  const annotations = { 'cni.projectcalico.org/vppInterfacesSpec': `${'['.repeat(4000)}${']'.repeat(4000)}` };
  t.match(await lab.add('p', { annotations }), { successful: false, errorMessage: /nested deeper than 8/ });
  t.strictSame(lab.kit.children, []);
  t.equal(lab.kit.node().incarnation, 1);
  t.ok(lab.kit.node().events.some(({ kind }) => kind === 'refused'));
  t.match(await lab.kit.system.describe('root/cni', 1000), { pods: [], orphans: [] });
});

t.test('the uplink starts anew: pods wait for the node and go on', async (t) => {
  const lab = await podLab(t);
  await lab.add('a', { ips: [ip(1)] });
  await lab.kit.crash(new Error('boom'), 'root/uplink');
  await lab.kit.clock.advance(200);
  t.equal(lab.subscriptions, 2);
  const add = lab.begin('b', { ips: [ip(2)] });
  await lab.kit.settle();
  t.equal(add.answer, undefined);
  const { length } = lab.vpp.objects;
  await lab.ready();
  t.match(add.answer, { successful: true });
  t.equal(lab.vpp.kinds().tap, 2, 'what VPP holds counts, not the old snapshot');
  t.equal(lab.vpp.objects.length, 2 * length);
});

t.test('the uplink starts anew in the middle of an ADD: what VPP is at is waited for', async (t) => {
  for (const answered of ['before the node is ready', 'after it', 'between the reading and its answer']) {
    const lab = await podLab(t);
    lab.vpp.holdsBack = ({ type }) => type === 'Transact';
    const add = lab.begin('a', { ips: [ip(1)] });
    await lab.kit.settle();
    t.equal(lab.vpp.heldBack, 1);
    await lab.kit.crash(new Error('boom'), 'root/uplink');
    await lab.kit.clock.advance(200);
    if (answered === 'before the node is ready') lab.vpp.answer();
    await lab.kit.settle();
    if (answered === 'between the reading and its answer') {
      const empty = lab.vpp.snapshot();
      lab.vpp.snapshot = () => {
        delete (lab.vpp as { snapshot?: unknown }).snapshot;
        return empty;
      };
    }
    await lab.ready();
    await lab.kit.clock.advance(1);
    lab.vpp.answer();
    await lab.kit.settle();
    t.match(add.answer, { successful: true }, answered);
    const taps = lab.vpp.transactions.flatMap(({ message }) =>
      message.transaction.operations.filter(({ object }) => object.kind === 'tap'),
    );
    t.equal(taps.length, 1, answered);
    t.match(lab.vpp.kinds(), { tap: 1, table: 1 });
  }
});

t.test('a pod that crashes again and again takes nobody along', async (t) => {
  const lab = await podLab(t);
  await lab.population(3);
  for (let n = 0; n < 5; n += 1) {
    await lab.kit.crash(new Error('boom'), lab.podPath('p1'));
    await lab.kit.clock.advance(5000);
  }
  t.equal(lab.kit.node().incarnation, 1);
  t.equal(lab.vpp.kinds().tap, 3);
  t.match(await lab.del('p1'), { successful: true });
});

t.test('the server ends with the actor', async (t) => {
  const lab = await podLab(t);
  await lab.kit.system.stopChild('cni');
  t.equal(lab.serverStops, 1);
});

t.test('pools that become known in the middle of an ADD are those of that pod, too', async (t) => {
  const lab = await podLab(t);
  await lab.ready();
  await lab.add('before', { ips: ['10.0.0.2/24'] });
  const natted = () => lab.vpp.objects.filter(isNatFlag).length;
  lab.vpp.holdsBack = ({ type }) => type === 'Transact';
  const call = lab.begin('pod');
  await lab.kit.settle();
  const pools = { prefixes: ['10.0.0.0/16'], nat_outgoing: ['10.0.0.0/16'] };
  await lab.ready({ pools });
  await lab.kit.settle();
  lab.vpp.answer();
  await lab.kit.settle();
  t.ok(call.answer?.successful);
  t.equal(natted(), 2);
  await lab.ready({ pools: { ...pools, nat_outgoing: [] } });
  await lab.kit.settle();
  t.equal(natted(), 0, 'and no more when the pool says so');
});

t.test('a new VPP has policies before pods', async (t) => {
  const settled = async (lab: PodLab, generation = lab.vpp.generation): Promise<void> => {
    lab.policed.take();
    lab.policed.settled(generation);
    await lab.kit.settle();
  };
  /** A pod, and somebody who enforces policies and knows them all. */
  const policed = async (t: Teardown): Promise<PodLab> => {
    const lab = await podLab(t);
    lab.policed.hear(() => undefined);
    lab.policed.promise();
    const add = lab.begin('a', { ips: [ip(1)] });
    await lab.kit.settle();
    await settled(lab);
    if (add.answer?.successful !== true) throw new Error('a pod is not connected');
    return lab;
  };
  const replaced = async (lab: PodLab): Promise<void> => {
    lab.vpp.die();
    await lab.lost();
    await lab.ready();
  };
  const taps = (lab: PodLab) => lab.vpp.kinds().tap ?? 0;
  const isLate = (lab: PodLab) => lab.kit.node().events.some(({ kind }) => kind === 'policies');

  await t.test(
    'an ADD that comes meanwhile is one of them, its policies are written with the others',
    async (t) => {
      const lab = await policed(t);
      await replaced(lab);
      const add = lab.begin('b', { ips: [ip(2)] });
      await lab.kit.clock.advance(policies_ms - 1);
      // Others have theirs read, too: the node told anew, an audit, a pod that asks.
      await lab.ready({ mtu: 1400 });
      t.equal(taps(lab), 0);
      t.match(lab.settledness, { settled: false, reason: 'VPP is given policies first' });
      lab.policed.settled(lab.vpp.generation);
      await lab.kit.settle();
      t.equal(taps(lab), 0, 'what is not taken is not settled');
      t.equal(lab.policed.take().size, 2, 'of both pods');
      await settled(lab);
      t.equal(taps(lab), 2);
      t.match(add.answer, { successful: true });
      t.match(lab.settledness, { settled: true });
      await lab.kit.clock.advance(policies_ms);
      t.notOk(isLate(lab), 'the limit is void');
    },
  );
  await t.test('not for long', async (t) => {
    const lab = await policed(t);
    await replaced(lab);
    await lab.kit.clock.advance(policies_ms - 1);
    t.equal(taps(lab), 0);
    await lab.kit.clock.advance(1);
    t.equal(taps(lab), 1);
    t.ok(isLate(lab), 'and that is told');
    const reads = lab.vpp.transactions.length;
    await settled(lab);
    t.equal(lab.vpp.transactions.length, reads, 'later it is nobody’s business here');
  });
  await t.test('what is said of a VPP that has died meanwhile counts for none', async (t) => {
    const lab = await policed(t);
    await replaced(lab);
    const before = lab.vpp.generation;
    await lab.kit.clock.advance(policies_ms - 1);
    await replaced(lab);
    await settled(lab, before);
    await lab.kit.clock.advance(policies_ms - 1);
    t.equal(taps(lab), 0, 'nor does its limit');
    await settled(lab);
    t.equal(taps(lab), 1);
  });
  await t.test('a VPP that has them already is not waited for', async (t) => {
    const lab = await policed(t);
    lab.vpp.die();
    await settled(lab);
    await lab.lost();
    await lab.ready();
    t.equal(taps(lab), 1);
  });
  await t.test('an ADD waits for its policies at any time, and not for long', async (t) => {
    const lab = await policed(t);
    const late = lab.begin('b', { ips: [ip(2)] });
    await lab.kit.settle();
    t.equal(taps(lab), 1);
    t.same(
      [...lab.policed.take().values()].map((of) => of?.is_closed),
      [true, true],
    );
    await lab.kit.clock.advance(judged_ms - 1);
    t.equal(taps(lab), 1);
    await lab.kit.clock.advance(1);
    t.match(late.answer, { successful: true }, 'it comes closed');
    t.equal(taps(lab), 2);
    const soon = lab.begin('c', { ips: [ip(3)] });
    await lab.kit.settle();
    const tags = [...lab.policed.take().keys()];
    t.equal(taps(lab), 2);
    lab.policed.judged(tags);
    await lab.kit.settle();
    t.match(soon.answer, { successful: true });
    const gone = lab.begin('d', { ips: [ip(4)] });
    await lab.kit.settle();
    await lab.del('d');
    t.match(gone.answer, { successful: false });
    await lab.kit.clock.advance(judged_ms);
    t.equal(taps(lab), 3, 'one that is deleted meanwhile');
    const orphaned = lab.begin('e', { ips: [ip(5)] });
    await lab.kit.settle();
    lab.policed.hear(() => undefined);
    await lab.kit.settle();
    t.match(orphaned.answer, { successful: true }, 'nobody is about to give them any more');
  });
  await t.test('where nobody has promised them nobody waits', async (t) => {
    const lab = await podLab(t);
    await lab.add('a', { ips: [ip(1)] });
    await replaced(lab);
    t.equal(taps(lab), 1, 'policies are off');
    lab.policed.hear(() => undefined);
    lab.policed.promise();
    lab.policed.hear(() => undefined);
    await replaced(lab);
    t.equal(taps(lab), 1, 'who has promised them has begun anew, without Felix');
  });
});
