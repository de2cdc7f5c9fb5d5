import type { Fault } from './fault-lab.js';
import { untilLink } from './milestones.js';

export const fault: Fault = {
  name: 'vpp-killed-in-resync',
  what: 'VPP is killed, and the next one as soon as it has the host tap: the third one serves',
  run: (lab) =>
    lab.watching(async () => {
      const { node, topology } = lab;
      const first = node.vppPid()!;
      process.kill(first, 'SIGKILL');
      await untilLink(topology, 'node', 'Linux has the uplink', (found) => found?.kind === 'veth');
      await untilLink(
        topology,
        'node',
        'the next VPP has made the host tap',
        (found) => found?.kind === 'tun',
      );
      const second = node.vppPid()!;
      process.kill(second, 'SIGKILL');
      await node.untilOtherVpp(second);
      await node.untilReady();
    }),
};
