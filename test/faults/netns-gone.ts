import type { Fault } from './fault-lab.js';

export const fault: Fault = {
  name: 'netns-gone',
  what: 'the namespace of a pod goes before its DEL, or without one: nothing is left in VPP, its address is free again',
  async run(lab) {
    const { node, topology } = lab;
    const [p1] = lab.pods;
    topology.removePod(p1);
    await node.del(p1);
    await node.untilConverged();
    topology.renewPod(p1);
    await node.add(p1);
    await lab.connected();
    // The runtime has forgotten the DEL, and another pod gets the addresses.
    topology.removePod(p1);
    const heir = { ...p1, name: 'heir', netns: topology.lab.namespace('heir') };
    await node.add(heir);
    await lab.traffic.untilReachable('outside', p1.ip4, 2000);
    await node.untilConverged();
    await node.del(heir);
    topology.renewPod(p1);
    await node.add(p1);
    return undefined;
  },
};
