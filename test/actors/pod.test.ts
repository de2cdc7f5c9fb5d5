import t, { type Test } from 'tap';
import { within } from '../../src/linux/within.js';
import type { PodMessage, PodNode } from '../../src/messages/pod.js';
import type { Subject } from '../../src/reconcile/transaction.js';
import { type Call, PodLab, podLab } from './pod-lab.js';

/**
 * Stories of one pod, as rows of words. `A1`, `D2`: an ADD or DEL begins. `A1:ok`, `A1:wait`, `A1:/text/`: what has become
 * of it. Everything else is in `word`.
 */
type Story = readonly [protects: string, story: string];

const stories: readonly Story[] = [
  // ADD
  ['an ADD connects the pod', 'ready A1 A1:ok phase:done vpp:some link'],
  ['an ADD is repeated: verified, and a success', 'ready A1 A2 A1:ok A2:ok phase:done taps:1'],
  [
    'an ADD with another address makes the pod as it asks',
    'ready A1 A2=10.0.0.9 A2:ok address:10.0.0.9 taps:1',
  ],
  ['two ADDs at once with one spec are one', 'ready hold A1 A2 answer A1:ok A2:ok taps:1'],
  [
    'of two ADDs at once the later one counts',
    'ready hold A1 A2=10.0.0.9 answer A1:/superseded/ A2:ok address:10.0.0.9',
  ],
  ['an ADD waits for the node', 'A1 A1:wait phase:none ready A1:ok phase:done'],
  [
    'an ADD for which the node comes too late is refused, with nothing left',
    'A1 wait:4700 A1:/not_ready/ phase:none ready vpp:none pods:0',
  ],
  ['an ADD waits through a loss of the node', 'ready lost A1 A1:wait ready A1:ok'],
  [
    'an ADD without namespace is refused',
    'ready A1-netns A1:/no_network_namespace/ phase:none vpp:none pods:0',
  ],
  [
    'an ADD on a name that another plugin holds is refused',
    'ready veth A1:none A2 A2:/already_in/ phase:none vpp:none',
  ],
  ['an ADD attaches to the device of a dead VPP', 'ready A1 A1:ok die ready vpp:some link phase:done'],
  [
    'an ADD that cannot be recorded touches nothing',
    'ready full A1 A1:/free_space/ space vpp:none phase:none',
  ],
  [
    'an ADD that VPP refuses is rolled back',
    'ready refuse:urpf A1 A1:/refused/ vpp:none phase:none nolink pods:0',
  ],
  ['an ADD that Linux refuses is rolled back', 'ready linux A1 A1:/EPERM/ wait:1 vpp:none phase:none pods:0'],
  [
    'an ADD answered too late by VPP is undone',
    'ready hold A1 wait:4700 A1:/busy/ answer wait:1 vpp:none phase:none pods:0',
  ],
  ['an ADD whose caller goes is undone', 'ready hold A1 cancel:A1 answer wait:1 vpp:none phase:none pods:0'],
  ['an ADD whose caller went before it began does nothing', 'A1 cancel:A1 ready vpp:none pods:0'],
  ['an ADD that one of two callers gives up goes on', 'ready hold A1 A2 cancel:A1 answer A2:ok phase:done'],
  ['an ADD survives the loss of VPP in its middle', 'ready hold A1 die lost ready A1:ok phase:done taps:1'],
  [
    'an ADD survives the loss of the connection in its middle',
    'ready hold A1 fail:stale_generation lost A1:wait ready A1:ok taps:1',
  ],
  [
    'an ADD does not wait for an answer of before the loss of the node',
    'ready hold A1 lost forget ready A1:ok phase:done taps:1',
  ],
  [
    'an ADD fails when the answer of VPP is lost, and is undone',
    'ready hold A1 lose wait:10100 A1:/busy/ wait:1 vpp:none phase:none',
  ],
  [
    'an ADD that waits for VPP too long after its loss is undone by the next',
    'ready hold A1 die lost wait:4700 A1:/not_ready/ phase:intended ready vpp:none phase:none pods:0',
  ],
  [
    'an ADD refused by the quarantine leaves nothing',
    'ready hold A1 fail:quarantined A1:/quarantined/ vpp:none phase:none pods:0',
  ],
  // DEL
  ['a DEL removes everything', 'ready A1 D1 D1:ok vpp:none phase:none nolink pods:0'],
  ['a DEL of an unknown pod is a success', 'ready D1 D1:ok'],
  ['a DEL of an unknown pod is a success without a node', 'D1 D1:ok'],
  ['a DEL is repeated', 'ready A1 D1 D2 D1:ok D2:ok vpp:none'],
  ['a DEL works without the namespace', 'ready A1 netns- D1 D1:ok vpp:none phase:none'],
  ['a DEL overtakes an ADD that waits for the node', 'A1 D1 D1:ok A1:/deleted/ phase:none ready vpp:none'],
  [
    'a DEL overtakes an ADD under way',
    'ready hold A1 D1 A1:/deleted/ D1:wait answer wait:1 D1:ok vpp:none phase:none',
  ],
  ['an ADD behind a DEL comes after it', 'ready A1 hold D1 A2 answer D1:ok A2:ok phase:done taps:1'],
  [
    'a DEL behind an ADD behind a DEL',
    'ready A1 hold D1 A2 D2 answer D1:ok D2:ok A2:/deleted/ vpp:none phase:none',
  ],
  [
    'a DEL without VPP is remembered, refused, and done when VPP is back',
    'ready A1 lost D1 D1:wait phase:deleting wait:4700 D1:/repeat/ ready wait:1 vpp:none phase:none D2 D2:ok',
  ],
  [
    'a DEL that waits is answered when VPP comes back',
    'ready A1 lost D1 wait:1000 ready wait:1 D1:ok vpp:none',
  ],
  [
    'a DEL after the death of VPP has nothing to remove',
    'ready A1 die lost D1 D1:wait ready D1:ok vpp:none nolink',
  ],
  [
    'a DEL that VPP refuses in part is refused, and tried again',
    'ready A1 refuse:tap D1 D1:/refused/ phase:deleting accept wait:1000 vpp:none phase:none',
  ],
  [
    'a DEL for which there was no room among the transactions is tried again',
    'ready A1 hold D1 fail:overflow D1:/repeat/ wait:1100 vpp:none phase:none pods:0',
  ],
  [
    'a DEL repeated after a refusal does not wait for the next try',
    'ready A1 refuse:tap D1 accept D2 wait:100 D2:ok vpp:none',
  ],
  [
    'a DEL that cannot be recorded is refused',
    'ready A1 full D1 D1:/free_space/ vpp:some space D2 D2:ok vpp:none',
  ],
  [
    'a DEL whose answer is lost is refused and found done',
    'ready A1 hold D1 lose wait:10100 D1:/repeat/ wait:1100 vpp:none phase:none',
  ],
  [
    'a DEL and its answer survive the death of VPP',
    'ready A1 hold D1 die lost D1:wait ready D1:ok vpp:none phase:none',
  ],
  [
    'a DEL whose caller has gone is carried out',
    'ready A1 lost D1 wait:4700 ready wait:1 vpp:none phase:none',
  ],
  // lives
  ['the death of VPP is repaired', 'ready A1 die lost ready vpp:some taps:1 phase:done link'],
  ['a repair that fails is tried again', 'ready A1 die lost refuse:route ready accept wait:1000 vpp:same'],
  ['a crash of the pod keeps the pod', 'ready A1 crash wait:200 vpp:same phase:done D1 D1:ok vpp:none'],
  [
    'a crash in the middle of an ADD answers its caller and leaves nothing',
    'ready hold A1 crash A1:/down/ answer wait:200 vpp:none phase:none pods:0',
  ],
  [
    'a crash in the middle of a DEL answers its caller and finishes it',
    'ready A1 hold D1 crash D1:/down/ answer wait:200 vpp:none phase:none',
  ],
  ['a restart of everything keeps the pod', 'ready A1 restart wait:200 ready vpp:same phase:done'],
  [
    'an ADD of an earlier life that was never answered is undone',
    'ready hold A1 answer-vpp restart wait:200 ready wait:1 vpp:none phase:none pods:0',
  ],
  [
    'a DEL of an earlier life is finished',
    'ready A1 lost D1 restart wait:200 phase:deleting ready wait:1 vpp:none phase:none',
  ],
];

class Stage {
  readonly calls = new Map<string, Call>();
  readonly aborts = new Map<string, AbortController>();
  ofPod: readonly object[] = [];

  constructor(
    readonly lab: PodLab,
    readonly t: Test,
  ) {}

  async word(word: string): Promise<void> {
    const { lab, t } = this;
    const [head = '', ...rest] = word.split(':');
    const value = rest.join(':');
    const begin = /^([AD])\d(?:=([\d.]+))?(-netns)?$/.exec(word);
    if (begin !== null) {
      const [, kind, address = '10.0.0.1', without] = begin;
      const name = word.slice(0, 2);
      const abort = new AbortController();
      this.aborts.set(name, abort);
      const ask = {
        ips: [`${address}/24`],
        signal: abort.signal,
        ...(without !== undefined && { without_netns: true as const }),
      };
      this.calls.set(name, kind === 'A' ? lab.begin('p', ask) : lab.beginDel('p', ask));
    } else if (/^[AD]\d$/.test(head)) this.expectCall(head, value, word);
    else await this.act(head, value, word);
    await lab.kit.settle();
    if (/^[AD]\d/.test(word) && lab.programmed > 0) this.ofPod = [...lab.vpp.objects];
    t.notOk(lab.kit.escalated, word);
  }

  expectCall(name: string, value: string, word: string): void {
    const { t } = this;
    const answer = this.calls.get(name)?.answer;
    if (value === 'ok') t.equal(answer?.successful, true, `${word}: ${answer?.errorMessage}`);
    else if (value === 'wait') t.equal(answer, undefined, word);
    else if (value !== 'none') {
      t.equal(answer?.successful, false, word);
      t.match(answer?.errorMessage, new RegExp(value.slice(1, -1).replaceAll('_', ' ')), word);
    }
  }

  async act(head: string, value: string, word: string): Promise<void> {
    const { lab, t } = this;
    const { vpp, host, store } = lab;
    const link = (): unknown => host.exists(lab.netns('p')) && host.open(lab.netns('p')).link('eth0');
    switch (head) {
      case 'ready':
        return lab.ready();
      case 'lost':
        return lab.lost();
      case 'die':
        return vpp.die();
      case 'hold':
        vpp.holding = true;
        return;
      case 'answer':
        return vpp.answer();
      case 'answer-vpp':
      case 'lose':
        return vpp.loseAnswers();
      case 'forget':
        return vpp.forget();
      case 'fail':
        return vpp.fail(value);
      case 'refuse':
        vpp.refuses = ({ object }) => (object.kind === value ? `${value} refused` : undefined);
        return;
      case 'accept':
        vpp.refuses = () => undefined;
        return;
      case 'linux':
        return host.failChange(2, 'EPERM');
      case 'full':
        store.full = true;
        return;
      case 'space':
        store.full = false;
        return;
      case 'netns-':
        return lab.dropNetns('p');
      case 'veth':
        lab.makeNetns('p');
        host.open(lab.netns('p')).apply({ do: 'add_link', link: { kind: 'dummy', name: 'eth0' } });
        return;
      case 'wait':
        return lab.kit.clock.advance(Number(value));
      case 'cancel':
        this.aborts.get(value)!.abort(new Error('cancelled by the caller'));
        return;
      case 'crash':
        return lab.kit.crash(new Error('boom'), lab.podPath('p'));
      case 'restart':
        return lab.kit.crash(new Error('boom'));
      case 'phase':
        t.equal(lab.phase('p'), value, word);
        return;
      case 'pods':
        t.equal(lab.pods.length, Number(value), word);
        return;
      case 'taps':
        t.equal(vpp.kinds().tap, Number(value), word);
        return;
      case 'vpp':
        if (value === 'none') t.strictSame(vpp.objects, [], word);
        else if (value === 'same') t.same(sorted(vpp.objects), sorted(this.ofPod), word);
        else t.not(lab.programmed, 0, word);
        return;
      case 'link':
        t.ok(link(), word);
        return;
      case 'nolink':
        t.notOk(link(), word);
        return;
      case 'address': {
        const namespace = host.open(lab.netns('p'));
        const addresses = namespace.addresses().filter(({ family }) => family === 4);
        t.strictSame(
          addresses.map(({ prefix }) => prefix),
          [`${value}/32`],
          word,
        );
        const routes = vpp.objects.flatMap((object) =>
          object.kind === 'route' && object.table_id === 0 ? object.prefix : [],
        );
        t.strictSame(routes, [`${value}/32`], word);
        return;
      }
      default:
        throw new Error(`the story has an unknown word: ${word}`);
    }
  }
}

function sorted(objects: readonly object[]): string[] {
  return objects.map((object) => JSON.stringify(object)).sort();
}

t.test('stories of one pod', async (t) => {
  for (const [protects, story] of stories) {
    await t.test(protects, async (t) => {
      const stage = new Stage(await new PodLab().start(t), t);
      for (const word of story.split(' ')) await stage.word(word);
    });
  }
});

t.test('what VPP and Linux hold of a pod', async (t) => {
  const lab = await podLab(t);
  await lab.add('p', { ips: ['10.0.0.1/24', 'fd00::1/64'], mtu: 9000 });
  const namespace = lab.host.open(lab.netns('p'));
  t.equal(namespace.link('eth0')?.mtu, 1500, 'never above the MTU of the node');
  t.equal(namespace.link('eth0')?.up, true);
  t.strictSame(
    namespace.routes({ table: 254 }).flatMap(({ protocol, prefix }) => (protocol === 3 ? prefix : [])),
    ['0.0.0.0/0', '::/0'],
  );
  t.equal(namespace.readSysctl('net/ipv6/conf/all/disable_ipv6'), '0');
  t.same(lab.vpp.transactions.length, 1, 'one transaction');
  t.strictSame(lab.store.writes, ['intended', 'done']);
  await lab.add('p', { ips: ['10.0.0.1/24', 'fd00::1/64'], mtu: 9000 });
  t.same(lab.vpp.transactions.length, 1, 'a repeated ADD asks nothing of VPP');
  t.strictSame(lab.store.writes, ['intended', 'done'], 'nor of the disk');
});

t.test('what a pod has changed of its own is left to it', async (t) => {
  const lab = await podLab(t);
  await lab.add('p', { ips: ['10.0.0.1/24', 'fd00::1/64'] });
  const namespace = lab.host.open(lab.netns('p'));
  const link = namespace.link('eth0')!.index;
  namespace.writeSysctl('net/ipv4/ip_forward', '1');
  namespace.writeSysctl('net/ipv6/conf/all/disable_ipv6', '1');
  namespace.apply({ do: 'set_link', link, mtu: 1400 });
  namespace.apply({
    do: 'delete_route',
    route: { family: 4, prefix: '0.0.0.0/0', next_hops: [{ oif: link }] },
  });
  namespace.apply({ do: 'set_link', link, up: false });
  const state = () => lab.host.snapshot(lab.netns('p'));
  const own = state();
  await t.test('by audits', async (t) => {
    await lab.kit.clock.advance(700_000);
    t.same(state(), own);
  });
  await t.test('by a new life', async (t) => {
    await lab.kit.crash(new Error('boom'));
    await lab.kit.clock.advance(200);
    await lab.ready();
    t.same(state(), own);
  });
  await t.test('when a new VPP takes up the device', async (t) => {
    lab.vpp.die();
    await lab.lost();
    await lab.ready();
    t.equal(lab.vpp.kinds().tap, 1);
    t.same(state(), own);
  });
  await t.test('also when the MTU of the node falls, but not below its own', async (t) => {
    await lab.kit.clock.advance(10);
    await lab.ready({ mtu: 1450 });
    t.equal(namespace.link('eth0')?.mtu, 1400);
    await lab.kit.clock.advance(10);
    await lab.ready({ mtu: 1300 });
    t.equal(namespace.link('eth0')?.mtu, 1300);
  });
  await t.test('until an ADD asks for it', async (t) => {
    await lab.add('p', { ips: ['10.0.0.1/24', 'fd00::1/64'] });
    t.equal(namespace.readSysctl('net/ipv4/ip_forward'), '0');
    t.match(namespace.link('eth0'), { up: true });
    t.equal(namespace.routes({ table: 254 }).filter(({ prefix }) => prefix === '0.0.0.0/0').length, 1);
  });
});

t.test('a device that was made anew gets what the pod asks for, but sysctls', async (t) => {
  const lab = await podLab(t);
  await lab.add('p');
  const namespace = lab.host.open(lab.netns('p'));
  namespace.writeSysctl('net/ipv4/ip_forward', '1');
  namespace.apply({ do: 'delete_link', link: namespace.link('eth0')!.index });
  lab.vpp.die();
  await lab.lost();
  await lab.ready();
  t.strictSame(
    namespace.addresses().flatMap(({ family, prefix }) => (family === 4 ? prefix : [])),
    ['10.0.0.1/32'],
  );
  t.equal(namespace.routes({ table: 254 }).filter(({ prefix }) => prefix === '0.0.0.0/0').length, 1);
  t.equal(namespace.readSysctl('net/ipv4/ip_forward'), '1');
  t.equal(lab.record('p')?.device?.index, namespace.link('eth0')?.index);
});

t.test('a device of that name that VPP did not make gets nothing', async (t) => {
  /** `with` the address, or with none but that which Linux gives to each. */
  const stranger = (lab: PodLab, kind: string, address?: string): (() => object) => {
    lab.makeNetns('p');
    const namespace = lab.host.open(lab.netns('p'));
    const old = namespace.link('eth0')?.index;
    if (old !== undefined) namespace.apply({ do: 'delete_link', link: old });
    const link = lab.host.addVirtual({ name: 'eth0', mac: '02:00:00:00:00:09', kind }, lab.netns('p'));
    namespace.apply({ do: 'set_link', link, up: true });
    if (address !== undefined)
      namespace.apply({ do: 'add_address', address: { link, family: 4, prefix: address } });
    const before = JSON.stringify(lab.host.snapshot(lab.netns('p')));
    return () => ({ changed: before !== JSON.stringify(lab.host.snapshot(lab.netns('p'))) });
  };
  const untouched = { changed: false };
  await t.test('by an ADD: a tunnel of somebody else', async (t) => {
    const lab = await podLab(t);
    const state = stranger(lab, 'tun', '192.168.77.1/24');
    t.match(await lab.add('p'), { errorMessage: /eth0 is already in .* \(a tun device\): remove/ });
    t.strictSame([state(), lab.vpp.objects, lab.pods], [untouched, [], []]);
  });
  await t.test('by an ADD: one that an ADD of before has left is taken', async (t) => {
    for (const address of [undefined, '10.0.0.1/32']) {
      const lab = await podLab(t);
      stranger(lab, 'tun', address);
      t.match(await lab.add('p'), { successful: true }, address ?? 'none');
    }
  });
  for (const [kind, address] of [
    ['dummy', undefined],
    ['tun', '192.168.77.1/24'],
  ] as const) {
    await t.test(`by a repeated ADD, an audit, and a new VPP: a ${kind}`, async (t) => {
      const lab = await podLab(t);
      await lab.add('p');
      const state = stranger(lab, kind, address);
      t.match(await lab.add('p'), { errorMessage: /eth0 is already in/ });
      t.match(await lab.add('p', { ips: ['10.0.0.9/24'] }), { errorMessage: /eth0 is already in/ });
      t.strictSame(state(), untouched);
      await lab.kit.crash(new Error('boom'), lab.podPath('p'));
      await lab.kit.clock.advance(130_000);
      t.strictSame(state(), untouched);
      lab.vpp.die();
      await lab.lost();
      await lab.ready();
      t.strictSame([state(), lab.vpp.objects], [untouched, []]);
      t.match(lab.settledness, { reason: /eth0 is already in/ });
      t.match(await lab.del('p'), { successful: true });
      t.strictSame([state(), lab.pods], [untouched, []], 'nor does a DEL remove it');
    });
  }
});

t.test('an ADD with another address that fails leaves the old one nowhere', async (t) => {
  for (const how of ['VPP', 'Linux'] as const) {
    const lab = await podLab(t);
    await lab.add('p');
    if (how === 'VPP') lab.vpp.refuses = ({ object }) => (object.kind === 'route' ? 'refused' : undefined);
    else lab.host.failChange(4, 'EPERM');
    t.match(await lab.add('p', { ips: ['10.0.0.9/24'] }), { successful: false }, how);
    const namespace = lab.host.open(lab.netns('p'));
    const addresses = () =>
      namespace.addresses().flatMap(({ family, prefix }) => (family === 4 ? prefix : []));
    t.notOk(addresses().includes('10.0.0.1/32'), how);
    lab.vpp.refuses = () => undefined;
    await lab.kit.clock.advance(2000);
    t.strictSame(addresses(), ['10.0.0.9/32'], how);
  }
});

t.test('a pod that is restarted in a transaction believes no reading that had begun before', async (t) => {
  const lab = await podLab(t);
  const asked: string[] = [];
  const { vpp } = lab;
  const take = vpp.take.bind(vpp);
  vpp.take = (message) => {
    asked.push(message.type);
    take(message);
  };
  vpp.holding = true;
  await lab.kit.clock.advance(60_000);
  lab.begin('p');
  await lab.kit.settle();
  t.same(asked.splice(0), ['Read', 'Transact'], 'an audit is under way, and half of the pod may be there');
  await lab.kit.crash(new Error('boom'), lab.podPath('p'));
  await lab.kit.clock.advance(200);
  await lab.kit.settle();
  t.same(asked, []);
  vpp.answer();
  await lab.kit.settle();
  t.equal(asked[0], 'Read', 'VPP is read anew before anything is done');
  t.same(vpp.objects, []);
});

t.test('a look that passes over routes tells nothing to a pod that knows nothing', async (t) => {
  const lab = await podLab(t);
  const { vpp } = lab;
  await lab.add('q', { ips: ['10.0.0.2/24'] });
  const of_q = [...vpp.objects];
  await lab.add('p');
  await lab.kit.clock.advance(50_000);
  vpp.holding = true;
  lab.beginDel('p');
  await lab.kit.settle();
  t.equal(vpp.heldBack, 1);
  vpp.forget();
  const { length } = vpp.transactions;
  const scopes: string[] = [];
  const take = vpp.take.bind(vpp);
  vpp.take = (message) => {
    if (message.type === 'Read') scopes.push(message.scopes.join());
    take(message);
  };
  // The answer is missed in the moment of a light audit, which is asked first.
  vpp.holdsBack = ({ type }) => type === 'Read';
  await lab.kit.clock.advance(10_000);
  t.strictSame(scopes, ['pods']);
  vpp.answer();
  await lab.kit.clock.advance(1100);
  t.same(vpp.objects, of_q);
  t.match(
    vpp.transactions.slice(length).map(({ message }) => message.transaction.operations[0]?.object),
    [{ kind: 'route' }],
    'the route goes before the interface',
  );
  t.equal(lab.phase('p'), 'none');
});

t.test('a secondary interface leaves the default route of the first one alone', async (t) => {
  const lab = await podLab(t);
  await lab.add('p');
  const answer = await lab.add('p', { ips: ['172.16.0.1/24'], ifname: 'eth1', network: 'red' });
  t.match(answer, { successful: true });
  const namespace = lab.host.open(lab.netns('p'));
  const routes = namespace.routes({ table: 254 }).filter(({ prefix }) => prefix === '0.0.0.0/0');
  t.strictSame(
    routes.map(({ next_hops }) => namespace.link(next_hops[0]!.oif!)?.name),
    ['eth0'],
  );
});

t.test('a tap has its MAC in the answer, a tun has none', async (t) => {
  const lab = await podLab(t);
  const annotations = { 'cni.projectcalico.org/vppInterfacesSpec': '{"eth0":{"isl3":false}}' };
  t.match(await lab.add('p', { annotations }), { successful: true, containerMac: '02:00:00:00:00:01' });
  t.equal((await lab.add('q', { ips: ['10.0.0.2/24'] }))?.containerMac, undefined);
});

t.test('a VPP that shows it has lost what it had is read at once, and given all of it again', async (t) => {
  const lab = await podLab(t);
  const port = (hostPort: number) => ({ ports: [{ protocol: 'TCP', port: 80, hostPort }] });
  await lab.add('p', { ips: ['10.0.0.1/24'], ...port(80) });
  await lab.add('q', { ips: ['10.0.0.2/24'], ...port(81) });
  t.equal(lab.vpp.kinds().translation, 2);
  lab.vpp.objects = lab.vpp.objects.filter(({ kind }) => kind !== 'translation');
  lab.vpp.lost_state = true;
  await lab.kit.clock.advance(10);
  t.match(await lab.add('r', { ips: ['10.0.0.3/24'], ...port(82) }), { successful: true });
  t.equal(lab.vpp.kinds().translation, 3, 'without an audit, and those of other pods with it');
});

t.test('an ADD with other queues makes the interface anew', async (t) => {
  const lab = await podLab(t);
  await lab.add('p');
  const annotations = { 'cni.projectcalico.org/vppInterfacesSpec': '{"eth0":{"rx":2}}' };
  t.match(await lab.add('p', { annotations }), { successful: true, hostInterfaceName: 'vpp-tun-2' });
  t.equal(lab.vpp.kinds().tap, 1);
});

t.test('the node is lost at any moment of an ADD, and comes back', async (t) => {
  /** Turns of the event loop within which an undisturbed ADD is done. */
  const turns = 9;
  for (const how of ['the connection', 'VPP'] as const) {
    for (let after = 0; after <= turns; after += 1) {
      const lab = await podLab(t);
      const call = lab.begin('p', { ips: ['10.0.0.1/24', 'fd00::1/64'] });
      for (let turn = 0; turn < after; turn += 1) await new Promise((resolve) => setImmediate(resolve));
      if (how === 'VPP') lab.vpp.die();
      else lab.vpp.generation += 1;
      await lab.lost();
      await lab.ready();
      const what = `${how} after ${after} turns`;
      if (!call.answer?.successful) t.fail(`${what}: ${call.answer?.errorMessage}`);
      const { tap, table, urpf } = lab.vpp.kinds();
      t.strictSame([tap, table, urpf, lab.phase('p')], [1, 2, 2, 'done'], what);
      t.match(await lab.del('p'), { successful: true }, what);
      t.strictSame([lab.vpp.objects, lab.pods], [[], []], what);
    }
  }
});

t.test('what a pod was told of VPP is void once it has heard of the end of that VPP', async (t) => {
  const lab = await podLab(t);
  await lab.add('p');
  const pod = lab.kit.system.ref<PodMessage>(lab.podPath('p'));
  const node: PodNode = {
    mtu: 1500,
    node: {},
    redirects: [],
    workers: 0,
    gso: true,
    held: false,
    default_verdict: 'allow',
  };
  const generation = lab.vpp.generation + 1;
  const part = {
    type: 'Part',
    generation,
    asked_ms: 0,
    node,
    slot: 0,
    holdings: { objects: [], whole: true },
  } as const;
  lab.vpp.die();
  pod.tell(part);
  pod.tellUrgent({ type: 'NodeLost', generation, reason: 'VPP died' });
  await lab.kit.settle();
  t.match(lab.kit.node(lab.podPath('p')), { state: 'blocked', detail: 'VPP is not ready: VPP died' });
  t.same(lab.vpp.objects, []);
  lab.vpp.generation += 1;
  pod.tell({ ...part, generation: lab.vpp.generation });
  await lab.kit.settle();
  t.equal(lab.kit.node(lab.podPath('p')).state, 'running');
});

t.test('a pod with a full mailbox hears that the node is lost', async (t) => {
  const lab = await podLab(t);
  await lab.add('p');
  const pod = lab.kit.system.ref<PodMessage>(lab.podPath('p'));
  while (pod.tell({ type: 'StillThere' }));
  lab.kit.ref.tellUrgent({ type: 'NodeLost', generation: lab.vpp.generation, reason: 'VPP died' });
  await lab.kit.settle();
  t.match(lab.kit.node(lab.podPath('p')), { state: 'blocked', detail: 'VPP is not ready: VPP died' });
});

t.test(
  'what kills VPP is told by the workload and what it asks for, whatever sandbox it is in',
  async (t) => {
    const lab = await podLab(t);
    const subjects = (): (Subject | undefined)[] =>
      lab.vpp.transactions.splice(0).map(({ message }) => message.transaction.subject);
    await lab.add('p', { ips: ['10.0.0.1/24'] });
    const [first] = subjects();
    t.equal(first?.name, 'pod default/p eth0');

    await lab.add('p', { sandbox: 'next', ips: ['10.0.0.2/24'] });
    t.same(subjects(), [first], 'another namespace and another address are no change');

    await lab.add('p', { sandbox: 'both', ips: ['10.0.0.3/24', 'fd00::3/64'] });
    t.not(subjects()[0]?.content, first?.content, 'another family is one');
    await lab.add('p', {
      sandbox: 'port',
      ips: ['10.0.0.4/24'],
      ports: [{ protocol: 'TCP', port: 80, hostPort: 80 }],
    });
    t.not(subjects()[0]?.content, first?.content, 'and so is a host port');
    await lab.add('q', { ips: ['10.0.0.5/24'] });
    t.not(subjects()[0]?.name, first?.name);

    await lab.del('p');
    await lab.kit.clock.advance(1000);
    const removed = subjects().filter((subject) => subject?.name === first?.name);
    t.equal(removed.length, 1);
    t.not(removed[0]?.content, first?.content, 'nor is its removal what it was held for');
  },
);

t.test('a pod computes its checksums as long as that is asked for, and has them back', async (t) => {
  const lab = await podLab(t);
  await lab.add('p');
  const byDevice = (name: string): boolean =>
    within(lab.host.open(lab.netns(name)), (namespace) => namespace.offloads('eth0'));
  t.ok(byDevice('p'));
  lab.checksums.set(true);
  await lab.kit.settle();
  t.notOk(byDevice('p'), 'one that is there');
  t.match(await lab.add('q', { ips: ['10.0.0.99/24'] }), { successful: true });
  t.notOk(byDevice('q'), 'one that comes');
  lab.vpp.die();
  await lab.kit.settle();
  await lab.ready();
  await lab.kit.settle();
  t.notOk(byDevice('p'), 'over the death of VPP');
  lab.checksums.set(false);
  await lab.kit.settle();
  t.ok(byDevice('p'));
  t.ok(byDevice('q'));
  // What the pod itself has taken is the pod's matter.
  const namespace = lab.host.open(lab.netns('q'));
  namespace.setChecksums('eth0', false);
  namespace.close();
  lab.vpp.die();
  await lab.ready();
  await lab.kit.settle();
  t.notOk(byDevice('q'));
});

t.test('a pod of an earlier life computes its checksums until it is known whether it has to', async (t) => {
  const before = await podLab(t);
  await before.add('p');
  await before.add('q', { ips: ['10.0.0.99/24'] });
  before.checksums.set(true);
  await before.kit.settle();
  const byDevice = (name: string): boolean =>
    within(before.host.open(before.netns(name)), (namespace) => namespace.offloads('eth0'));
  t.notOk(byDevice('p'));
  const { host, store, vpp } = before;
  const lab = await Object.assign(new PodLab(), { host, store, vpp }).start(t);
  await lab.ready();
  await lab.kit.settle();
  t.notOk(byDevice('p'), 'nobody has said anything yet');
  lab.vpp.die();
  await lab.ready();
  await lab.kit.settle();
  t.notOk(byDevice('p'), 'nor with a new VPP');
  lab.checksums.set(false);
  await lab.kit.settle();
  t.ok(byDevice('p'));
  t.ok(byDevice('q'));
});
