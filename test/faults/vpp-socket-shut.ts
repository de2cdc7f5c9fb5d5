import { strict as assert } from 'node:assert';
import { shutAccepted } from '../../lab/foreign-socket.js';
import type { Fault } from './fault-lab.js';

/** For what somebody waits for, for what comes by the thousand, for the probe. */
const connections = 3;

export const fault: Fault = {
  name: 'vpp-socket-shut',
  what: 'the API connections end while VPP lives: connected again, VPP kept, no packet lost',
  async run(lab) {
    const { node } = lab;
    const pid = node.vppPid()!;
    const gaps = await lab.watching(async () => {
      const { generation } = (await node.status())!.vpp;
      const shut = shutAccepted(pid, node.pid, node.config.paths.api_socket);
      assert.equal(shut, connections, 'all connections of a session were shut');
      await node.untilStatus(
        (status) => status.ready && status.vpp.generation > generation,
        'is not connected again',
      );
    });
    assert.equal(node.vppPid(), pid, 'the same VPP');
    assert.equal(gaps.lost, 0, 'no packet is lost');
    return gaps;
  },
};
