import { strict as assert } from 'node:assert';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { fill } from './disk.js';
import type { Fault } from './fault-lab.js';

export const fault: Fault = {
  name: 'run-directory-full',
  what: 'there is no room for the record of a pod: its ADD is refused and leaves nothing, other pods go on',
  node: { file_systems: { run: 1 << 20 } },
  async run(lab) {
    const { node } = lab;
    const [p1, p2] = lab.pods;
    await node.del(p1);
    const full = fill(join(node.directory, 'run'));
    await assert.rejects(node.add(p1), /no space left|ENOSPC/i);
    await node.untilConverged();
    await lab.traffic.untilReachable('outside', p2.ip6, 2000);
    rmSync(full);
    await node.add(p1);
    return undefined;
  },
};
