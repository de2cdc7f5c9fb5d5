import fc from 'fast-check';
import t from 'tap';
import { verdict } from '../../lab/vpp/npol-verdict.js';
import type { Teardown } from '../kit/actor-kit.js';
import type { Packet } from '../kit/policy-evaluator.js';
import {
  flowOf,
  messagesOf,
  packet,
  places,
  pod_key,
  type Scene,
  scene,
  smallest,
} from '../policies/scenes.js';
import { isolated, PoliciesLab, tcp, watched } from './policies-lab.js';

async function started(t: Teardown): Promise<PoliciesLab> {
  const lab = await PoliciesLab.start(t);
  await lab.newVpp();
  await lab.nodeReady();
  lab.putPod();
  return lab;
}

t.test('from a stream of Felix to a verdict', async (t) => {
  const lab = await started(t);
  t.equal(lab.npol.interfaces.size, 0, 'before the first InSync nothing is written');
  const messages = messagesOf(isolated);
  await lab.felix(messages.slice(0, -1));
  t.equal(lab.npol.interfaces.size, 0);
  await lab.tell(messages.slice(-1));
  t.equal(lab.npol.interfaces.size, 3);
  const into = (packet: Packet) => verdict(lab.npol, 1, false, flowOf(packet));
  t.equal(into(tcp('10.0.0.3', '10.0.0.2', 80)), 'allow');
  t.equal(into(tcp('fd00::3', 'fd00::2', 80)), 'allow');
  t.equal(into(tcp('10.0.0.4', '10.0.0.2', 80)), 'deny', 'not in the set');
  t.equal(into(tcp('10.0.0.3', '10.0.0.2', 81)), 'deny', 'another port');
  t.equal(into(tcp('10.0.0.6', '10.0.0.2', 81)), 'allow', 'the node itself');
  t.equal(verdict(lab.npol, 1, true, flowOf(tcp('10.0.0.2', '10.0.0.4', 9))), 'allow', 'out of the pod');
  t.same(
    lab.statuses.map((status) => ({ ...status, endpoint: undefined })),
    [{ kind: 'workload', endpoint: undefined, state: 'up' }],
  );
  t.equal(lab.taken, 2, 'Felix may go on');
  const { interfaces } = await lab.show();
  t.same(interfaces.pod, { endpoint: pod_key, state: 'enforced', refusals: [] });
});

t.test('whatever Felix wants, npol says what Calico says', async (t) => {
  const lab = await started(t);
  await fc.assert(
    fc.asyncProperty(scene, fc.array(packet, { minLength: 1, maxLength: 20 }), async (scene, packets) => {
      await lab.felix(messagesOf(scene));
      const refused = Object.keys(lab.report().refusals).length > 0;
      for (const packet of packets)
        for (const { where, calico, npol } of places(scene, lab.npol, packet))
          if (npol !== calico && !(refused && npol === 'deny'))
            throw new Error(`${where}: Calico ${calico}, VPP ${npol}: ${JSON.stringify(packet)}`);
    }),
    { numRuns: Number(process.env.POLICY_RUNS ?? 40), asyncReporter: async (details) => smallest(details) },
  );
});

t.test('on the way from one state to the next no verdict is neither the one nor the other', async (t) => {
  const lab = await started(t);
  let compared = 0;
  await fc.assert(
    fc.asyncProperty(
      scene,
      scene,
      fc.array(packet, { minLength: 10, maxLength: 30 }),
      async (before, after, packets) => {
        await lab.felix(messagesOf(before));
        const verdicts = (of: Scene) =>
          packets.flatMap((packet) => places(of, lab.npol, packet).map(({ npol }) => npol));
        const from = verdicts(before);
        const seen: string[][] = [];
        const end = watched(lab, () => seen.push(verdicts(before)));
        await lab.felix(messagesOf(after));
        end();
        const to = verdicts(after);
        for (const [step, now] of seen.entries())
          for (const [i, verdict] of now.entries()) {
            if (from[i] !== to[i]) continue;
            compared += 1;
            if (verdict !== from[i])
              throw new Error(
                `step ${step} of ${seen.length}: ${verdict} instead of ${from[i]} for ${JSON.stringify(packets[Math.floor(i / 6)])} at ${i % 6}`,
              );
          }
      },
    ),
    { numRuns: Number(process.env.POLICY_RUNS ?? 20), asyncReporter: async (details) => smallest(details) },
  );
  t.ok(compared > 1000);
});

t.test('a new VPP is settled when it has all that pods need, or refuses it', async (t) => {
  const lab = await PoliciesLab.start(t);
  lab.putPod();
  const settles: number[] = [];
  let sent = 0;
  const asks = (generation: number): boolean =>
    lab.interfaces.whenSettled(generation, () => {
      settles.push(generation);
      sent = lab.transactions.length;
    });
  const begins = async (): Promise<void> => {
    await lab.kit.tell({ type: 'NodeLost', generation: lab.generation, reason: 'VPP died' });
    await lab.newVpp();
  };
  t.notOk(asks(1), 'nobody knows what VPP is to have');
  await lab.newVpp();
  await lab.nodeReady();
  const messages = messagesOf(isolated);
  await lab.felix(messages.slice(0, -1));
  t.notOk(asks(1), 'Felix has not told everything');
  await lab.tell(messages.slice(-1));
  t.notOk(asks(1), 'it is settled by now');

  await begins();
  t.ok(asks(2));
  // The pod's interface comes after them.
  await lab.own([{ action: 'remove', object: { kind: 'loopback', tag: 'pod' } }]);
  await lab.nodeReady();
  t.same(settles, [2]);
  t.ok(sent > 0 && sent === lab.transactions.length, 'nothing is sent after that');
  await lab.make(['pod']);
  await lab.own([{ action: 'add', object: { kind: 'default_verdict', interface: 'pod', verdict: 'deny' } }]);
  const pod = [...lab.npol.interfaces.keys()].at(-1)!;
  t.equal(verdict(lab.npol, pod, false, flowOf(tcp('10.0.0.3', '10.0.0.2', 80))), 'allow', 'at once');
  t.equal(verdict(lab.npol, pod, false, flowOf(tcp('10.0.0.4', '10.0.0.2', 80))), 'deny');

  await begins();
  t.ok(asks(3));
  lab.before = () => new Error('no answer');
  await lab.nodeReady();
  t.same(settles, [2], 'a VPP that does not answer is not');
  lab.before = () => undefined;
  await lab.kit.clock.advance(1000);
  await lab.rest();
  t.same(settles, [2, 3]);

  await begins();
  t.ok(asks(4));
  await lab.kit.tell({ type: 'NodeLost', generation: lab.generation, reason: 'VPP died' });
  await lab.rest();
  await lab.newVpp();
  await lab.nodeReady();
  t.same(settles, [2, 3], 'nor one that is no more');
});
