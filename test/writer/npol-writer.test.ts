/** What becomes of policies where VPP refuses something, where somebody else has an interface now, and where the writer begins anew. */
import t from 'tap';
import { verdict } from '../../lab/vpp/npol-verdict.js';
import { refuse } from '../../lab/vpp/outcome.js';
import type { Rule } from '../../src/felix/messages.js';
import { PolicedInterfaces } from '../../src/policies/policed-interfaces.js';
import { PoliciesLab } from '../actors/policies-lab.js';
import type { Teardown } from '../kit/actor-kit.js';
import { flowOf, messagesOf, podOf, policyOf, ruleOf, type Scene, side, tierOf } from '../policies/scenes.js';

const web: Scene = {
  policies: {
    'NetworkPolicy a/1': policyOf([ruleOf('allow', { protocol: 'tcp', src: side({ sets: ['s:a'] }) })]),
  },
  profiles: { kns: { inbound: [ruleOf('allow')], outbound: [ruleOf('allow')] } },
  sets: { 's:a': ['10.0.0.3'] },
  pod: podOf([tierOf('default', 'deny', ['NetworkPolicy a/1'], [])], ['kns']),
};

const tcp = (source: string) =>
  flowOf({
    family: 4,
    source,
    destination: '10.0.0.2',
    protocol: 6,
    source_port: 30_000,
    destination_port: 80,
  });

async function started(t: Teardown): Promise<PoliciesLab> {
  const lab = await PoliciesLab.start(t);
  await lab.newVpp();
  await lab.nodeReady();
  lab.putPod();
  return lab;
}

const into = (lab: PoliciesLab, source: string) => verdict(lab.npol, 1, false, tcp(source));

type Npol = PoliciesLab['npol'];
type Change = 'setRule' | 'setPolicy' | 'change' | 'configure';

/** Answers how often VPP has refused by now, and an end to that. More than `most` is more than a test has patience for. */
function refusing<M extends Change>(
  { npol }: PoliciesLab,
  method: M,
  is_refused: (...fields: Parameters<Npol[M]>) => boolean,
  most = 20,
) {
  const as_it_was = (npol[method] as (...fields: Parameters<Npol[M]>) => unknown).bind(npol);
  const state = { count: 0, end: () => void delete (npol as Partial<Npol>)[method] };
  (npol as unknown as Record<string, unknown>)[method] = (...fields: Parameters<Npol[M]>) => {
    if (state.count < most && is_refused(...fields)) {
      state.count += 1;
      refuse(-1);
    }
    return as_it_was(...fields);
  };
  return state;
}

t.test('a policy that VPP refuses is closed, and tried again only after a while', async (t) => {
  const lab = await started(t);
  const refused = refusing(lab, 'setPolicy', (_id, items) =>
    items.some(({ rule_id }) =>
      lab.npol.rules.get(rule_id)?.value.matches.some(({ data }) => {
        if (!('set_id' in data)) return false;
        return lab.npol.sets.get(data.set_id.set_id)?.members.includes('10.0.0.3/32') === true;
      }),
    ),
  );
  await lab.felix(messagesOf(web));
  t.equal(refused.count, 1, 'once');
  t.equal(into(lab, '10.0.0.3'), 'deny');
  t.equal(into(lab, '10.0.0.6'), 'allow', 'what else there is goes on');
  t.match(Object.keys(lab.report().refused), ['npol_policy:NetworkPolicy a/1']);
  const { interfaces } = await lab.show();
  t.match(interfaces.pod?.state, /^refused: /);
  t.match(lab.statuses.at(-1), { kind: 'workload', state: 'error' });
  for (const [ms, count] of [
    [1000, 2],
    [2000, 3],
    [4000, 4],
  ] as const) {
    await lab.kit.clock.advance(ms);
    await lab.rest();
    t.equal(refused.count, count, `again after ${ms} ms, and no more than once`);
  }
  refused.end();
  await lab.kit.clock.advance(60_000);
  await lab.rest();
  t.equal(into(lab, '10.0.0.3'), 'allow', 'healed');
  t.same(lab.report().refused, {});
  t.match(lab.statuses.at(-1), { kind: 'workload', state: 'up' });
});

/** Calls back after each message that changes what npol has. */
function watched({ npol }: PoliciesLab, changed: () => void): () => void {
  const names = ['setRule', 'setPolicy', 'remove', 'change', 'configure'] as const;
  const own = npol as unknown as Record<string, (...all: unknown[]) => unknown>;
  const before = names.map((name) => [name, own[name]!, Object.hasOwn(own, name)] as const);
  for (const [name, as_it_was] of before)
    own[name] = (...all) => {
      const result = as_it_was.apply(npol, all);
      changed();
      return result;
    };
  return () => {
    for (const [name, as_it_was, is_own] of before)
      if (is_own) own[name] = as_it_was;
      else delete own[name];
  };
}

const key = 'NetworkPolicy a/1';
const blocked: Scene = {
  ...web,
  policies: { [key]: policyOf([ruleOf('deny', { src: side({ sets: ['s:b'] }) }), ruleOf('allow')]) },
  sets: { 's:a': ['10.0.0.3'], 's:b': ['10.0.0.9'] },
};

for (const [what, method, is_refused] of [
  ['members', 'change', (_set: unknown, is_add: boolean) => is_add],
  ['a rule', 'setRule', (_id: unknown, { action }: { action: string }) => action === 'NPOL_DENY'],
] as const)
  t.test(`where VPP refuses ${what}, what needs it is closed from the first moment on`, async (t) => {
    const lab = await started(t);
    // Denies all, so that the rule which closes is there.
    await lab.felix(messagesOf({ ...web, policies: { [key]: policyOf([ruleOf('deny')]) } }));
    const refused = refusing(lab, method as Change, is_refused as never, 1);
    const seen = new Set<string>();
    const end = watched(lab, () => seen.add(into(lab, '10.0.0.9')));
    await lab.felix(messagesOf(blocked));
    end();
    t.equal(refused.count, 1);
    t.same([...seen], ['deny'], 'never open for whom it is to deny');
    t.equal(into(lab, '10.0.0.4'), 'deny', 'closed');
    t.match(lab.statuses.at(-1), { kind: 'workload', state: 'error' });
    await lab.kit.clock.advance(1000);
    await lab.rest();
    t.equal(into(lab, '10.0.0.4'), 'allow', 'healed');
    t.equal(into(lab, '10.0.0.9'), 'deny');
    t.match(lab.statuses.at(-1), { kind: 'workload', state: 'up' });
    t.same(lab.report().refused, {});
  });

t.test(
  'what is to be tried again waits for a round under way, which closes what VPP has refused',
  async (t) => {
    const lab = await PoliciesLab.start(t);
    lab.operations_max = 1;
    await lab.begin(t);
    await lab.newVpp();
    await lab.nodeReady();
    lab.putPod();
    // Something is refused, and its time comes in the middle of the next round.
    const policy = refusing(lab, 'setPolicy', (_id, items) => items.length > 1, 1);
    await lab.felix(messagesOf({ ...web, policies: { [key]: policyOf([ruleOf('deny'), ruleOf('allow')]) } }));
    t.equal(policy.count, 1);
    policy.end();
    const members = refusing(
      lab,
      'change',
      (_set, is_add, prefixes) => is_add && `${prefixes}` === '10.0.0.9/32',
      1,
    );
    const session = lab.session!;
    const execute = session.execute.bind(session);
    let release = () => {};
    const released = new Promise<void>((resolve) => {
      release = resolve;
    });
    let is_held = false;
    session.execute = async (transaction, expired) => {
      const [first] = transaction.operations;
      if (first?.object.kind === 'npol_members' && first.object.prefixes.includes('10.0.0.8/32')) {
        is_held = true;
        await released;
      }
      return execute(transaction, expired);
    };
    const seen = new Set<string>();
    const end = watched(lab, () => seen.add(into(lab, '10.0.0.9')));
    await lab.kit.tell({ type: 'FelixBegan', stream: 2 });
    const messages = messagesOf({
      ...blocked,
      policies: {
        [key]: policyOf([
          ruleOf('deny', { src: side({ sets: ['s:b'] }) }),
          ruleOf('deny', { src: side({ sets: ['s:c'] }) }),
          ruleOf('allow'),
        ]),
      },
      sets: { 's:b': ['10.0.0.9'], 's:c': ['10.0.0.8'] },
    });
    await lab.kit.tell({ type: 'FelixTold', stream: 2, messages });
    const turns = async (): Promise<void> => {
      for (let turn = 0; turn < 50; turn += 1) {
        await lab.kit.settle();
        await new Promise((resolve) => setImmediate(resolve));
      }
    };
    await turns();
    t.equal(members.count, 1, 'one set is refused');
    t.equal(is_held, true, 'of another VPP has not answered yet');
    await lab.kit.clock.advance(1000);
    await turns();
    release();
    await lab.rest();
    end();
    t.same([...seen], ['deny'], 'never open for whom it is to deny');
    t.equal(into(lab, '10.0.0.4'), 'deny', 'closed');
    await lab.kit.clock.advance(60_000);
    await lab.rest();
    t.equal(into(lab, '10.0.0.4'), 'allow', 'healed');
    t.same([into(lab, '10.0.0.9'), into(lab, '10.0.0.8')], ['deny', 'deny']);
    t.same(lab.report().refused, {});
  },
);

t.test('an interface that is made under the name of another pod is not judged by its policies', async (t) => {
  const lab = await started(t);
  const open = podOf([], ['kns']);
  await lab.felix(messagesOf({ ...web, pod: open }));
  t.equal(into(lab, '10.0.0.9'), 'allow');
  const made = (endpoint: string) => [
    { action: 'add', object: { kind: 'loopback', tag: 'pod' } } as const,
    {
      action: 'add',
      object: { kind: 'default_verdict', interface: 'pod', endpoint, verdict: 'deny' },
    } as const,
  ];
  const gone = { action: 'remove', object: { kind: 'loopback', tag: 'pod' } } as const;
  // The actor has not heard of it yet.
  await lab.own([gone, ...made('k8s shop/other eth0')]);
  t.equal(into(lab, '10.0.0.9'), 'deny', 'of another pod nothing is known');
  await lab.felix(messagesOf({ ...web, pod: podOf([], ['kns', 'kns']) }));
  t.equal(into(lab, '10.0.0.9'), 'deny', 'what is told of the pod of before is not for this one');
  await lab.own([gone, ...made('k8s shop/web eth0')]);
  t.equal(into(lab, '10.0.0.9'), 'allow', 'the same pod has its policies at once');
});

t.test('an actor that begins anew over the same connection makes all beside what is in force', async (t) => {
  const lab = await started(t);
  const two = ['NetworkPolicy a/1', 'NetworkPolicy a/2'] as const;
  const scene = (...[first, second]: readonly (readonly [string, Partial<Rule>])[]): Scene => ({
    ...web,
    policies: { [two[0]]: policyOf([ruleOf(...first!)]), [two[1]]: policyOf([ruleOf(...second!)]) },
    pod: podOf([tierOf('default', 'deny', two, [])], ['kns']),
  });
  const client = { src: side({ sets: ['s:a'] }) };
  const sizes = () => {
    const { rules, policies, sets } = lab.npol;
    return [rules, policies, sets].map((pool) => [...pool].length);
  };
  await lab.felix(messagesOf(scene(['allow', client], ['deny', client])));
  const before = sizes();
  await lab.kit.crash(new Error('defect'));
  await lab.kit.clock.advance(1000);
  await lab.nodeReady();
  const seen = new Set<string>();
  const end = watched(lab, () => seen.add(into(lab, '10.0.0.3')));
  // Of one policy before and the other after it would be denied.
  await lab.felix(messagesOf(scene(['allow', { protocol: 'udp' }], ['allow', client])));
  end();
  t.same([...seen], ['allow']);
  t.equal(verdict(lab.npol, 1, false, { ...tcp('10.0.0.9'), protocol: 17 }), 'allow', 'the new one');
  t.same(sizes(), before, 'nothing is left behind');
});

t.test('what VPP refuses for good keeps nothing of earlier lives in it', async (t) => {
  const lab = await started(t);
  const refused = refusing(lab, 'setPolicy', (_id, items) => items.length === 3, Number.POSITIVE_INFINITY);
  const scene: Scene = {
    ...web,
    policies: {
      ...web.policies,
      'NetworkPolicy a/2': policyOf([
        ruleOf('allow', { protocol: 'udp' }),
        ruleOf('deny', { protocol: 'tcp' }),
        ruleOf('allow'),
      ]),
    },
    pod: podOf([tierOf('default', 'deny', ['NetworkPolicy a/1', 'NetworkPolicy a/2'], [])], ['kns']),
  };
  const sizes = () => {
    const { rules, policies, sets } = lab.npol;
    return [rules, policies, sets].map((pool) => [...pool].length);
  };
  await lab.felix(messagesOf(scene));
  t.ok(refused.count > 0);
  const before = sizes();
  for (let life = 0; life < 3; life += 1) {
    await lab.kit.crash(new Error('defect'));
    await lab.kit.clock.advance(1000);
    await lab.nodeReady();
    await lab.felix(messagesOf(scene));
  }
  t.same(sizes(), before);
  t.equal(into(lab, '10.0.0.3'), 'allow', 'by the first policy');
  t.equal(
    verdict(lab.npol, 1, false, { ...tcp('10.0.0.9'), protocol: 17 }),
    'deny',
    'in place of the second',
  );
});

t.test('while VPP refuses an interface, what it may be judged by stays', async (t) => {
  const lab = await started(t);
  await lab.felix(messagesOf(web));
  t.equal(into(lab, '10.0.0.3'), 'allow');
  await lab.kit.crash(new Error('defect'));
  await lab.kit.clock.advance(1000);
  const refused = refusing(lab, 'configure', (sw_if_index) => sw_if_index === 1, Number.POSITIVE_INFINITY);
  await lab.nodeReady();
  await lab.felix(messagesOf(web));
  t.ok(refused.count > 0);
  t.equal(into(lab, '10.0.0.3'), 'allow');
  t.equal(into(lab, '10.0.0.9'), 'deny', 'no rule of its policy has become one that matches everything');
});

t.test('pods that come and go before Felix has spoken leave nothing behind', async (t) => {
  const lab = await PoliciesLab.start(t);
  const attachment = { kind: 'workload', endpoint: 'k8s shop/web eth0' } as const;
  const churn = (prefix: string) => {
    for (let i = 0; i < 100; i += 1) {
      lab.interfaces.put(`${prefix}${i}`, { attachment, addresses: ['10.0.0.2'] });
      lab.interfaces.remove(`${prefix}${i}`);
    }
  };
  churn('a');
  await lab.rest();
  t.equal(lab.interfaces.take().size, 0, 'taken in, although nothing is known of policies');
  const unheard = new PolicedInterfaces();
  lab.interfaces = unheard;
  churn('b');
  unheard.put('there', { attachment, addresses: [] });
  let heard = 0;
  unheard.hear(() => {
    heard += 1;
  });
  t.same([heard, [...unheard.take().keys()]], [1, ['there']], 'where nobody hears of them');
});
