/** What is done when the tree is gone, and by `restore`: VPP ends and the host gets its network back. Needs no actor. */
import { runCommand } from '../host/command.js';
import { undo } from '../host/undo/undo.js';
import type { Due } from '../uplink/uplink-host.js';
import { endGobgpd } from './end-gobgpd.js';
import type { RestoreParts } from './parts.js';

/** From SIGINT to SIGKILL, and from there to the end of the wait: a process in the kernel's hands may not die. */
const interrupt_ms = 2000;
const kill_ms = 3000;

export interface LastWord {
  /** No VPP is left: neither running, nor with an uplink in its hands. */
  readonly vpp_ended: boolean;
  /** The host is as it was. What could not be undone stays in the journal and is told. */
  readonly restored: boolean;
}

/** Never rejects. */
export async function lastWord(parts: RestoreParts): Promise<LastWord> {
  await attempt(parts, 'uplink(read)', async () => rememberTaps(parts));
  await attempt(parts, 'bgp(end)', () => endGobgpd(parts));
  const vpp_ended = (await attempt(parts, 'vpp(end)', () => endVpp(parts))) ?? false;
  const undone =
    (await attempt(parts, 'host(restore)', () => restoreHost(parts, 'VPP has ended', 'in time'))) ?? false;
  const rescued = (await attempt(parts, 'host(rescue)', () => rescueStrays(parts))) ?? false;
  const restored = undone && rescued;
  await attempt(parts, 'node(tidy)', () => tidy(parts, restored));
  await attempt(parts, 'services(host)', () => removeTables(parts));
  return { vpp_ended, restored };
}

/** What no journal tells of any more. */
async function removeTables({ removeHostTables, log }: RestoreParts): Promise<void> {
  for (const table of await removeHostTables()) log.info({ table }, 'services(host) a table is removed');
}

/** Undoes what the journal holds. False: something of the host is not what it was, or may not be. */
export async function restoreHost(
  { uplinkHost, log }: RestoreParts,
  why: string,
  due: Due = 'all',
): Promise<boolean> {
  const unknown = uplinkHost.unknown();
  if (unknown !== undefined) {
    log.error(
      {},
      `host(restore) ${unknown}: what it tells of files and services of the host is not undone; make it readable, then run calico-vpp-node restore`,
    );
  }
  if (!uplinkHost.isChanged()) return unknown === undefined;
  const { results, remaining } = await uplinkHost.restore(due);
  log.info({ steps: results.length, failed: remaining.length }, `host(restore) ${why}`);
  for (const result of results) {
    if (result.outcome === 'failed') log.error({}, `host(restore) ${result.reason}`);
  }
  return remaining.length === 0 && unknown === undefined;
}

/** While VPP lives the host may have changed its taps unseen, for nobody was there to follow: what it has by now it gets. */
function rememberTaps({ uplinkHost }: RestoreParts): void {
  const found = uplinkHost.taken();
  if (found?.phase !== 'taken') return;
  const current = uplinkHost.taps.atOnce(found.uplinks, ({ heard }) => heard !== true);
  if (current !== undefined) uplinkHost.remember(current);
}

async function endVpp({ launcher, clock }: RestoreParts): Promise<boolean> {
  const run = launcher.adopt();
  if (run === undefined) return true;
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
  return true;
}

/** An uplink of which neither journal nor record tells comes back without addresses: better than not at all, and told. */
async function rescueStrays({ uplinkHost, vpp_netns, log }: RestoreParts): Promise<boolean> {
  const left = uplinkHost.strays();
  if (left.length === 0) return true;
  for (const name of await uplinkHost.rescue()) {
    log.error(
      { link: name },
      `host(rescue) ${name} was left in ${vpp_netns.name} and is back, without the addresses and routes that nobody knows any more: start the host's network service again`,
    );
  }
  return false;
}

/** A namespace that still holds a link is kept: a virtual link would die with it. */
async function tidy(
  { host, clock, core_journal, uplinkHost, vpp_netns, log }: RestoreParts,
  restored: boolean,
): Promise<void> {
  const steps = core_journal.pending();
  const failed = new Set((await undo(steps, { host, clock, run: runCommand })).remaining);
  core_journal.undone(new Set(steps.filter((step) => !failed.has(step))));
  const strays = uplinkHost.strays();
  if (strays.length > 0) log.error({ strays }, `node(tidy) links are left in ${vpp_netns.name}: it is kept`);
  else if (restored) vpp_netns.remove();
}

async function attempt<T>(
  { log }: RestoreParts,
  what: string,
  run: () => Promise<T>,
): Promise<T | undefined> {
  try {
    return await run();
  } catch (error) {
    log.error({ err: error }, `${what} ${(error as Error).message}`);
    return undefined;
  }
}
