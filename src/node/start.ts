/** A node on this machine, from its configuration to its exit code. */
import type { Config } from '../config.js';
import { within } from '../linux/within.js';
import { byOwnNames } from '../uplink/own-names.js';
import { endSignals } from './end-signals.js';
import { lastWord, restoreHost } from './last-word.js';
import { linuxParts, openMachine, restoreParts } from './parts.js';
import { exit_code, exitCode, runNode } from './run.js';

/** Gives the host what an earlier life has left undone, then runs. Resolves as `runNode` does. */
export async function startNode(asked: Config, warnings: readonly string[]): Promise<number> {
  const ending = endSignals();
  const machine = openMachine(asked);
  const before = restoreParts(asked, machine);
  if (!before.launcher.isRunning()) await restoreHost(before, 'an earlier life left the host changed');
  if (ending.aborted) return exitCode(exit_code.stopped, await lastWord(before));
  const config = within(machine.host.open(), (own) => byOwnNames(asked, own));
  const parts = await linuxParts(config, machine);
  return runNode(parts, warnings, ending);
}
