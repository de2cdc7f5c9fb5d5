import { strict as assert } from 'node:assert';
import type { Fault } from './fault-lab.js';

export const fault: Fault = {
  name: 'carrier-lost',
  what: 'the cable of the uplink is cut and mended, also while VPP is killed: pods reach each other meanwhile, then all is back',
  async run(lab) {
    const { node, topology, traffic } = lab;
    const [, p2] = lab.pods;
    const vpp = node.vppPid()!;
    topology.setCarrier(false);
    await traffic.untilReachable('p1', p2.ip4, 2000);
    topology.setCarrier(true);
    await lab.connected();
    assert.equal(node.vppPid(), vpp, 'the same VPP');

    topology.setCarrier(false);
    process.kill(vpp, 'SIGKILL');
    await node.untilOtherVpp(vpp);
    await node.untilReady();
    await traffic.untilReachable('p1', p2.ip6, 5000);
    topology.setCarrier(true);
    return undefined;
  },
};
