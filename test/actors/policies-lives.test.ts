/** Whoever dies in the middle of a change of policies: VPP, this process, the actor, an answer. No flow notices, and nothing is left over. */
import t, { type Test } from 'tap';
import type { Npol } from '../../lab/vpp/npol.js';
import { verdict } from '../../lab/vpp/npol-verdict.js';
import type { FelixMessage } from '../../src/felix/messages.js';
import { modelOf } from '../felix/stream.js';
import type { Teardown } from '../kit/actor-kit.js';
import type { Packet } from '../kit/policy-evaluator.js';
import {
  compiled,
  flowOf,
  messagesOf,
  npolOf,
  pod_key,
  podOf,
  pods,
  points,
  policyOf,
  ruleOf,
  type Scene,
  side,
  tierOf,
} from '../policies/scenes.js';
import { contentOf, isolated, PoliciesLab, same, tcp, watched } from './policies-lab.js';

const other_key = 'k8s shop/other eth0';
const lives = ['pod', 'host-eth0', 'main-eth0', 'other'];

const web = { ports: [{ first: 80, last: 80 }] };
/** Another set, policy and rules: a round of several messages, in which something comes and something goes. */
const later: Scene = {
  ...isolated,
  policies: {
    'NetworkPolicy a/1': policyOf([
      ruleOf('deny', { src: side({ sets: ['s:b'] }) }),
      ruleOf('allow', { protocol: 'tcp', src: side({ sets: ['s:a'] }), dst: side(web) }),
    ]),
    'NetworkPolicy a/2': policyOf([ruleOf('allow', { protocol: 'udp', dst: side(web) })]),
  },
  sets: { 's:a': ['10.0.0.3', '10.0.0.5', 'fd00::3'], 's:b': ['10.0.0.4', '10.0.0.5'] },
  pod: podOf([tierOf('default', 'deny', ['NetworkPolicy a/1', 'NetworkPolicy a/2'], [])], ['kns']),
};

/** The same with a second pod, which has one policy of its own in both. */
function withOther(scene: Scene): FelixMessage[] {
  const key = 'NetworkPolicy b/4';
  const policy = policyOf([ruleOf('allow', { src: side({ nets: ['10.0.0.4/32'] }) })]);
  const endpoint = podOf([tierOf('default', 'deny', [key], [])], ['kns']);
  const id = { ...endpoint.id, workload: 'shop/other' };
  return [
    ...messagesOf(scene).slice(0, -1),
    { kind: 'policy', key, policy },
    { kind: 'workload', key: other_key, endpoint: { ...endpoint, id } },
    { kind: 'in_sync' },
  ];
}

const life_points: typeof points = [...points, ['other', { kind: 'workload', endpoint: other_key }]];

function npolFor(messages: readonly FelixMessage[]): Npol {
  const model = modelOf(messages);
  return npolOf(compiled(model, undefined, life_points), model, life_points);
}

const [first, second] = [withOther(isolated), withOther(later)];
const [of_first, of_second] = [npolFor(first), npolFor(second)];

async function living(t: Teardown): Promise<PoliciesLab> {
  const lab = await PoliciesLab.start(t);
  lab.names = lives;
  lab.operations_max = 2;
  await lab.begin(t);
  await lab.newVpp();
  await again(lab);
  await lab.felix(first);
  return lab;
}

async function again(lab: PoliciesLab): Promise<void> {
  await lab.nodeReady();
  lab.putPods({ pod: pod_key, other: other_key });
}

const flows: readonly Packet[] = [
  ...[3, 4, 5, 6, 7].flatMap((last) => [
    tcp(`10.0.0.${last}`, '10.0.0.2', 80),
    tcp(`10.0.0.${last}`, '10.0.0.2', 81),
    { ...tcp(`10.0.0.${last}`, '10.0.0.2', 80), protocol: 17 },
  ]),
  tcp('fd00::3', 'fd00::2', 80),
];

function verdictsOf(npol: Npol): string[] {
  return lives.flatMap((_, i) =>
    [false, true].flatMap((inbound) => flows.map((packet) => verdict(npol, i + 1, inbound, flowOf(packet)))),
  );
}

/** What npol said of any flow on the way that neither of the two says. */
function strange(from: readonly string[], to: readonly string[], seen: readonly string[][]): string[] {
  return seen.flatMap((now, step) =>
    now.flatMap((said, i) =>
      said === from[i] || said === to[i] ? [] : [`step ${step}, flow ${i}: ${said} instead of ${from[i]}`],
    ),
  );
}

const [said_first, said_second] = [verdictsOf(of_first), verdictsOf(of_second)];

/** Has something happen at each transaction of the way from the first to the second, one after the other, until there is none left. */
async function atEach(
  t: Test,
  strike: (lab: PoliciesLab) => Error | undefined,
  at: 'before' | 'after',
  then: (lab: PoliciesLab, t: Test) => Promise<void>,
): Promise<void> {
  t.notSame(said_first, said_second);
  for (let nth = 1; ; nth += 1) {
    const lab = await living(t);
    same(t, lab, of_first, 'the first');
    let count = 0;
    let struck = false;
    lab[at] = () => {
      count += 1;
      if (count !== nth) return undefined;
      struck = true;
      return strike(lab);
    };
    const seen: string[][] = [];
    const end = watched(lab, () => seen.push(verdictsOf(lab.npol)));
    await lab.felix(second);
    if (struck) await then(lab, t);
    end();
    t.strictSame(strange(said_first, said_second, seen), [], `at ${nth}`);
    same(t, lab, of_second, `at ${nth}`);
    if (struck) continue;
    t.ok(nth > 7, `${nth} transactions`);
    return;
  }
}

t.test('VPP dies at each transaction: the next one gets all of it', async (t) => {
  await atEach(
    t,
    (lab) => {
      lab.vpp.kill();
      return new Error('VPP has ended');
    },
    'before',
    async (lab) => {
      await lab.nodeLost();
      await lab.kit.clock.advance(60_000);
      await lab.newVpp();
      await lab.nodeReady();
    },
  );
});

t.test('an answer of each transaction is lost: all is told anew, and no flow notices', async (t) => {
  await atEach(
    t,
    () => new Error('no answer within 15 s'),
    'after',
    async (lab) => {
      await lab.kit.clock.advance(1000);
      await lab.rest();
    },
  );
});

t.test('the process ends at each transaction: the next one adopts, and sweeps what was left', async (t) => {
  await atEach(
    t,
    () => new Error('nobody hears it'),
    'after',
    async (lab, t) => {
      const before = lab.content();
      await lab.begin(t);
      lab.before = () => undefined;
      await lab.connect();
      await lab.nodeReady();
      lab.putPods({ pod: pod_key, other: other_key });
      await lab.felix(second.slice(0, -1));
      t.strictSame(lab.content(), before, 'nothing before the first InSync');
      await lab.tell(second.slice(-1));
    },
  );
});

t.test(
  'the actor begins anew: what VPP has stays in force, and is then replaced without a gap',
  async (t) => {
    const lab = await living(t);
    for (const [messages, wanted] of [
      [first, of_first],
      [second, of_second],
      [first, of_first],
    ] as const) {
      const before = lab.content();
      const from = verdictsOf(lab.npol);
      const seen: string[][] = [];
      const end = watched(lab, () => seen.push(verdictsOf(lab.npol)));
      await lab.kit.crash(new Error('by hand'));
      await lab.kit.clock.advance(1000);
      await lab.nodeReady();
      t.strictSame(lab.content(), before);
      await lab.felix(messages);
      end();
      t.ok(seen.length > 10);
      t.strictSame(strange(from, verdictsOf(wanted), seen), []);
      same(t, lab, wanted, 'after a crash');
    }
  },
);

t.test('what is looked for after a life does not grow with the lives', async (t) => {
  const lab = await living(t);
  const marked = (): string | undefined =>
    [...(lab.registry.read() ?? '').matchAll(/"below":\{[^}]*\}/g)].at(-1)?.[0];
  const marks: unknown[] = [];
  for (let life = 0; life < 5; life += 1) {
    await lab.kit.crash(new Error('by hand'));
    await lab.kit.clock.advance(1000);
    await lab.nodeReady();
    await lab.felix(life % 2 === 0 ? second : first);
    marks.push(marked());
  }
  t.ok(marks[1] !== undefined);
  t.equal(marks[4], marks[1], 'two lives beside each other are the most there is');
});

t.test('a VPP that has no uplinks yet is given the policies of pods', async (t) => {
  const lab = await living(t);
  await lab.nodeLost();
  const [pods_alone, all] = [
    ['pod', 'other'],
    ['pod', 'other', 'host-eth0', 'main-eth0'],
  ];
  lab.names = pods_alone;
  await lab.newVpp();
  let settled = false;
  t.ok(lab.interfaces.whenSettled(lab.generation, () => (settled = true)));
  await lab.nodePrepared();
  const { pod, other, ...node } = contentOf(of_first, lives);
  t.strictSame(lab.content(), { pod, other });
  t.ok(settled, 'for which pods are waited with');
  t.equal(lab.gauges().refused, 0, 'of interfaces that are not there nothing is said');
  await lab.make(all.slice(2));
  await lab.uplinksMade();
  t.strictSame(lab.content(all), { pod, other, ...node }, 'and those of uplinks before these are up');
  t.strictSame(lab.in_place, [2]);
  const { length } = lab.transactions;
  await lab.nodeReady();
  t.strictSame(lab.content(all), { pod, other, ...node });
  t.equal(lab.transactions.length, length);
});

t.test('uplinks that are made again have policies again, whatever was told of those before', async (t) => {
  const lab = await living(t);
  await lab.nodeLost();
  lab.names = ['pod', 'other'];
  const all = ['pod', 'other', 'host-eth0', 'main-eth0'] as const;
  await lab.newVpp();
  await lab.nodePrepared();
  await lab.make(all.slice(2));
  await lab.uplinksMade();
  const { pod, other, ...node } = contentOf(of_first, lives);
  t.strictSame(lab.content(all), { pod, other, ...node });
  // VPP gives the number that was freed last first.
  for (const tag of all.slice(2).reverse())
    await lab.own([{ action: 'remove', object: { kind: 'loopback', tag } }]);
  t.strictSame(lab.content(all), { pod, other, 'host-eth0': undefined, 'main-eth0': undefined });
  await lab.make(all.slice(2));
  // Nothing is taken in between the two: what is wanted seems to be what it was.
  await lab.uplinksAgain();
  t.strictSame(lab.content(all), { pod, other, ...node });
});

t.test('without a Felix nobody waits with the uplinks for policies', async (t) => {
  const lab = await PoliciesLab.start(t);
  await lab.newVpp();
  await lab.nodePrepared();
  await lab.uplinksMade();
  t.strictSame(lab.in_place, [2]);
});

t.test('what is left of an earlier life is not swept before all pods are known', async (t) => {
  const lab = await living(t);
  await lab.begin(t);
  await lab.connect();
  await lab.nodeReady();
  const attachment = { kind: 'workload', endpoint: pod_key } as const;
  lab.interfaces.put('pod', { attachment, addresses: pods });
  const { other } = lab.content();
  await lab.felix(second);
  t.strictSame(lab.content().other, other, 'of which nobody has spoken yet');
  t.strictSame(lab.content().pod, contentOf(of_second, lives).pod);
  lab.putPods({ pod: pod_key, other: other_key });
  await lab.rest();
  same(t, lab, of_second, 'all are known');
});
