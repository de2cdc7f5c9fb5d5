import t from 'tap';
import type { PodMessage } from '../../src/messages/pod.js';
import { podInterfaceTags } from '../../src/pod/names.js';
import { PodPolicies } from '../../src/pods/pod-policies.js';
import { PolicedInterfaces } from '../../src/policies/policed-interfaces.js';
import { podSpec } from '../reconcile/pods.js';

/** With policies that are known, and a VPP that does not have them. */
function begun() {
  const policed = new PolicedInterfaces();
  policed.hear(() => undefined);
  policed.promise();
  const told: PodMessage[] = [];
  const late: PodMessage[] = [];
  const policies = new PodPolicies(
    {
      tellSelf: (message) => told.push(message),
      after: (_ms, message) => {
        late.push(message);
        return { cancel: () => undefined } as never;
      },
    },
    policed,
  );
  return { policed, policies, told, late };
}

const spec = podSpec(1, { memif: { is_l3: true, ports: [] } });
const [tun, memif] = podInterfaceTags(spec) as [string, string];

t.test('an ADD waits for the policies of both of a pod’s interfaces', async (t) => {
  const { policed, policies, told } = begun();
  t.ok(policies.awaits(spec));
  const taken = policed.take();
  t.same([...taken.keys()], [tun, memif]);
  t.same(taken.get(tun), taken.get(memif), 'of one endpoint, with the same addresses');
  policed.judged([tun]);
  t.same(told, [], 'one is not enough');
  policed.judged([memif]);
  t.equal(told.length, 1);
  t.ok(policies.hear(told[0] as Extract<PodMessage, { type: 'Policed' }>));
  t.notOk(policies.awaits(spec), 'once is enough');
});

t.test('both are taken back, also where the pod has no memif any more', async (t) => {
  const { policed, policies } = begun();
  policies.put(spec);
  policies.put(podSpec(1));
  policed.take();
  policies.remove();
  t.same(
    [...policed.take()],
    [
      [tun, undefined],
      [memif, undefined],
    ],
  );
});
