import { strict as assert } from 'node:assert';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Pod } from '../../lab/topology.js';
import type { Fault, FaultLab } from './fault-lab.js';
import { untilLink } from './milestones.js';

/** As Calico's plugin knows the pod in each of its sandboxes. */
const workload = { pod: 'poison' } as const;
/** For the node to send the pod to a VPP that stands still; far below the deadline of a probe. */
const sending_ms = 300;
/** A signal from outside may come after VPP has answered, and then accuses for longer, but does not convict. */
const deaths_max = 3;
/** A VPP that the pod had killed once more would be dead by then. */
const aftermath_ms = 1500;

export const fault: Fault = {
  name: 'poison-pod',
  what: 'VPP dies (SIGSEGV) of a pod, in a new sandbox each time: soon the pod is refused, the others come back',
  async run(lab) {
    const { node } = lab;
    const quarantined = async (): Promise<readonly string[]> => (await node.vppApi()).vpp.quarantined;

    // It dies while the ADD is on its way, and of the node's second try with the next VPP.
    let pod = sandbox(lab, 1);
    const stopped = node.vppPid()!;
    process.kill(stopped, 'SIGSTOP');
    let adding = node.add(pod, workload).catch(() => undefined);
    await sleep(sending_ms);
    for (const signal of ['SIGSEGV', 'SIGCONT'] as const) process.kill(stopped, signal);

    for (let deaths = 2; ; deaths += 1) {
      assert.ok(deaths <= deaths_max, `it is convicted by VPP's ${deaths_max} deaths`);
      await untilLink(lab.topology, pod.name, 'the device is in the sandbox', (found) => found !== undefined);
      const pid = node.vppPid()!;
      assert.notEqual(pid, stopped, 'another VPP');
      process.kill(pid, 'SIGSEGV');
      await adding;
      await node.untilOtherVpp(pid);
      await node.untilReady();
      await lab.connected();
      await node.del(pod);
      if ((await quarantined()).length > 0) break;
      pod = sandbox(lab, deaths);
      adding = node.add(pod, workload).catch(() => undefined);
    }

    const pid = node.vppPid()!;
    const refused = node.add(sandbox(lab, deaths_max), workload);
    await assert.rejects(refused, /VPP died twice/, 'the pod is refused, and told why');
    await sleep(aftermath_ms);
    assert.equal(node.vppPid(), pid, 'VPP lives on');
    assert.deepEqual(await quarantined(), ['pod default/poison eth0'], 'nobody innocent is convicted');
    return undefined;
  },
};

/** The namespace and addresses that the runtime and IPAM give it the n-th time. */
function sandbox({ topology }: FaultLab, n: number): Pod {
  const name = `poison${n}`;
  return {
    name,
    netns: topology.lab.namespace(name),
    ip4: `10.44.0.${100 + n}`,
    ip6: `fd44::${(0xb0 + n).toString(16)}`,
  };
}
