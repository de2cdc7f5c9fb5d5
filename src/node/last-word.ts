/** What is done when the tree is gone, and by `restore`: VPP ends and the host gets its network back. Needs no actor. */
import { runCommand } from '../host/command.js';
import { undo } from '../host/undo/undo.js';
import type { NodeParts } from './parts.js';

/** From SIGINT to SIGKILL, and from there to the end of the wait: a process in the kernel's hands may not die. */
const interrupt_ms = 2000;
const kill_ms = 3000;

/** False when something could not be undone; it stays in the journal and is told. Never rejects. */
export async function lastWord(parts: NodeParts): Promise<boolean> {
  await attempt(parts, 'uplink(read)', async () => rememberTaps(parts));
  await attempt(parts, 'vpp(end)', () => endVpp(parts));
  const restored =
    (await attempt(parts, 'host(restore)', () => restoreHost(parts, 'VPP has ended'))) ?? false;
  await attempt(parts, 'node(tidy)', () => tidy(parts, restored));
  return restored;
}

/** Undoes what the journal holds. */
export async function restoreHost({ uplinkHost, log }: NodeParts, why: string): Promise<boolean> {
  if (!uplinkHost.isChanged()) return true;
  const { results, remaining } = await uplinkHost.restore();
  log.info({ steps: results.length, failed: remaining.length }, `host(restore) ${why}`);
  for (const result of results) {
    if (result.outcome === 'failed') log.error({}, `host(restore) ${result.reason}`);
  }
  return remaining.length === 0;
}

/** While VPP lives the host may have changed its taps unseen, for nobody was there to follow: what it has by now it gets. */
function rememberTaps({ uplinkHost }: NodeParts): void {
  const found = uplinkHost.taken();
  if (found?.phase !== 'taken') return;
  const current = uplinkHost.current(found.uplinks);
  if (current !== undefined) uplinkHost.remember(current);
}

async function endVpp({ launcher, clock }: NodeParts): Promise<void> {
  const run = launcher.adopt();
  if (run === undefined) return;
  launcher.signal(run, 'SIGINT');
  const killed = clock.after(interrupt_ms, () => launcher.signal(run, 'SIGKILL'));
  const waiting = new AbortController();
  const given_up = clock.sleep(interrupt_ms + kill_ms, waiting.signal).catch(() => undefined);
  const exit = await Promise.race([run.exited, given_up]);
  killed.cancel();
  waiting.abort();
  // One that hangs in the kernel keeps its record: a later life must not start another beside it.
  if (exit === undefined) throw new Error(`SIGKILL has not ended VPP ${run.pid}: restart the machine`);
  launcher.forget();
}

/** A namespace that still holds a link is kept: a virtual link would die with it. */
async function tidy(
  { host, clock, core_journal, uplinkHost, config, log }: NodeParts,
  restored: boolean,
): Promise<void> {
  const { remaining } = await undo(core_journal.pending(), { host, clock, run: runCommand });
  core_journal.replace(remaining);
  const strays = uplinkHost.strays();
  if (strays.length > 0)
    log.error({ strays }, `node(tidy) links are left in ${config.vpp.netns}: it is kept`);
  else if (restored) host.removeNamed(config.vpp.netns);
}

async function attempt<T>({ log }: NodeParts, what: string, run: () => Promise<T>): Promise<T | undefined> {
  try {
    return await run();
  } catch (error) {
    log.error({ err: error }, `${what} ${(error as Error).message}`);
    return undefined;
  }
}
