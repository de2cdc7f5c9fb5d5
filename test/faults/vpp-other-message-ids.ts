import { strict as assert } from 'node:assert';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { RunningNode } from '../../lab/running-node.js';
import type { Fault } from './fault-lab.js';

/** Whichever of these are installed: none is needed here, and their messages come before those of the others. */
const without = ['abf', 'acl', 'adl', 'arping']
  .map((name) => `plugin ${name}_plugin.so { disable }`)
  .join(' ');

export const fault: Fault = {
  name: 'vpp-other-message-ids',
  what: 'the next VPP has other plugins, and so other message ids: they are resolved anew',
  async run(lab) {
    const { node } = lab;
    const old = node.vppPid()!;
    // In the same place as the file that VPP is started with: what the node writes there is edited on the way.
    const { binary } = node.config.vpp;
    const wrapper = join(node.directory, 'vpp-with-less');
    const conf = join(node.directory, 'less.conf');
    writeFileSync(
      wrapper,
      `#!/bin/sh
sed 's/plugin default { enable }/& ${without}/' "$2" > ${conf}
exec ${binary} -c ${conf}
`,
    );
    chmodSync(wrapper, 0o755);
    const id = await idOf(node);
    node.setEnvironment({ CALICOVPP_VPP_BINARY: wrapper });
    await node.kill('SIGKILL');
    process.kill(old, 'SIGKILL');
    await node.restart();
    assert.notEqual(await idOf(node), id, 'the ids are others');
    return undefined;
  },
};

/** Of a message of a plugin that both have. */
async function idOf(node: RunningNode): Promise<string> {
  const line = /^.*\bcnat_translation_update\b.*$/m.exec(await node.cli('show api message-table'))?.[0];
  assert.ok(line, 'VPP shows its message table');
  return line.trim();
}
