import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import t from 'tap';
import { canUseNetns, NetnsLab } from '../lab/netns.js';
import { captureLink, restoreSteps } from '../src/host/capture.js';
import { systemClock } from '../src/host/clock.js';
import { runCommand } from '../src/host/command.js';
import { inNamespace } from '../src/host/netns.js';
import { watchExit } from '../src/host/process-exit.js';
import type { HostNetwork, NetworkEvent } from '../src/host/types.js';
import { undo } from '../src/host/undo.js';

/** With a real kernel, inside namespaces that are made and removed here. `ip -j` is the second opinion. */

const reason = canUseNetns();

function withLab(test: Tap.Test): NetnsLab {
  const lab = new NetnsLab();
  test.teardown(() => lab.close());
  return lab;
}

/** The machine as this process would see it if it lived in the namespace called `name`. */
function hostInside(lab: NetnsLab, name: string): HostNetwork {
  const own = lab.namespace(name);
  return {
    open: (path) => lab.host.open(path ?? own),
    inNamespace: (path, run) => lab.host.inNamespace(path, run),
    exists: (path) => lab.host.exists(path),
    createNamed: (other) => lab.host.createNamed(other),
    removeNamed: (other) => lab.host.removeNamed(other),
  };
}
