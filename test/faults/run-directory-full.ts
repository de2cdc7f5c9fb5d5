import { strict as assert } from 'node:assert';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fill } from './disk.js';
import type { Fault } from './fault-lab.js';

export const fault: Fault = {
  name: 'run-directory-full',
  what: 'no room for the record of a pod: its ADD is refused and leaves nothing, others go on, and so does a node started anew',
  node: { file_systems: { run: 1 << 20 } },
  async run(lab) {
    const { node } = lab;
    const [p1, p2] = lab.pods;
    await node.del(p1);
    const full = fill(join(node.directory, 'run'));
    await assert.rejects(node.add(p1), /no space left|ENOSPC/i);
    await node.untilConverged();
    await lab.traffic.untilReachable('outside', p2.ip6, 2000);

    const registry = join(node.directory, 'run', 'vpp-objects.jsonl');
    const [vpp, recorded] = [node.vppPid(), readFileSync(registry, 'utf8')];
    await node.kill('SIGKILL');
    await node.restart();
    await node.untilConverged();
    assert.equal(node.vppPid(), vpp, 'VPP is adopted');
    assert.equal(
      readFileSync(registry, 'utf8'),
      recorded,
      'what no dump shows is known, and not added again',
    );
    await lab.traffic.untilReachable('outside', p2.ip6, 2000);
    rmSync(full);
    await node.add(p1);
    return undefined;
  },
};
