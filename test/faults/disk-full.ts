import { strict as assert } from 'node:assert';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { ipStateIs } from '../../lab/traffic.js';
import { fill } from './disk.js';
import type { Fault } from './fault-lab.js';

export const fault: Fault = {
  name: 'disk-full',
  what: 'the disk of the journal is full: nothing is taken from Linux; once there is room the node takes over',
  by_itself: true,
  node: { file_systems: { state: 1 << 16 } },
  async run(lab) {
    const { node, topology } = lab;
    const full = fill(join(node.directory, 'state'));
    node.launch();
    await node.untilStatus(({ message }) => message.includes('ENOSPC'), 'does not say that the disk is full');
    assert.deepEqual(await ipStateIs(topology, 'node', lab.before), [], 'Linux keeps its network');
    rmSync(full);
    await node.untilReady();
    const old = node.vppPid()!;
    for (const pod of lab.pods) await node.add(pod);

    const again = fill(join(node.directory, 'state'));
    process.kill(old, 'SIGKILL');
    // What the journal of the first take-over had may be enough for that of the next one.
    await node.untilOtherVpp(old);
    await node.untilStatus(
      ({ ready, message }) => ready || message.includes('ENOSPC'),
      'neither works nor says that the disk is full',
    );
    rmSync(again);
    await node.untilReady();
    await node.untilConverged();
    await lab.connected();
    await lab.end();
    return undefined;
  },
};
