import { KernelBusy } from '../devices/locked-files.js';
import { inOrder } from './undo-order.js';
import { CommandTimedOut, UndoSession, type UndoTools } from './undo-session.js';
import { describeStep, type UndoStep } from './undo-step.js';
import { isAbout, linksOf } from './undo-waiting.js';

/** `already`: it was so before. A failed step says why, in words for the operator. */
export type StepResult =
  | { readonly step: UndoStep; readonly outcome: 'done' | 'already' }
  | {
      readonly step: UndoStep;
      readonly outcome: 'failed';
      readonly reason: string;
      /** A command that did not end within its limit. */
      readonly timed_out?: true;
    };

export interface UndoReport {
  /** In the order in which the steps were taken: the newest first. */
  readonly results: readonly StepResult[];
  /** The failed ones, oldest first, as the journal wants them for the next attempt. */
  readonly remaining: readonly UndoStep[];
}

/** A physical device comes back from a dying namespace, or from another driver, some time after the cause. */
const LINK_WAIT_MS = 10_000;
const SERVICES_MS = 5000;
const SERVICES_POLL_MS = 500;

/**
 * Takes the steps (oldest first, as the journal has them): the network of all links first, services of the host last, and of each sort the
 * newest first. Never throws, and no failure stops the steps behind it. Bounded: waits at most `link_wait_ms` in all for
 * physical links, 3 s for the IPv6 addresses to be of use, for each command its own limit, and 5 s for what a service of the host has to give back
 * before a route can be. Costs what the steps do, whatever
 * else the host has.
 */
export async function undo(
  steps: readonly UndoStep[],
  tools: UndoTools,
  link_wait_ms = LINK_WAIT_MS,
): Promise<UndoReport> {
  const results = new Map<UndoStep, StepResult>();
  const failed = (step: UndoStep, error: unknown) => {
    const reason = `${describeStep(step)}: ${error instanceof Error ? error.message : error}`;
    const timed_out = error instanceof CommandTimedOut;
    results.set(step, { step, outcome: 'failed', reason, ...(timed_out && { timed_out }) });
  };
  const session = new UndoSession(tools, link_wait_ms, steps);
  const [before, after] = inOrder(steps);
  // Links that may go yet, and come back without what they are given now.
  const waiting = new Set<string>();
  const take = async (some: readonly UndoStep[]) => {
    for (const step of some) {
      if (isAbout(step, waiting)) {
        failed(step, 'the kernel is not done with its device');
        continue;
      }
      try {
        results.set(step, { step, outcome: (await session.take(step)) ? 'done' : 'already' });
      } catch (error) {
        failed(step, error);
        if (step.kind === 'bind_driver' && error instanceof KernelBusy)
          for (const name of linksOf(step.pci, steps)) waiting.add(name);
      }
    }
  };
  try {
    await take(before);
    for (const [step, error] of await session.settle()) failed(step, error);
    await take(after);
    // A service that finds the link back in the middle of this may have taken off what others lean on, and gives it back a moment later.
    const deadline = tools.clock.now_ms() + SERVICES_MS;
    while (steps.some(isOfService) && tools.clock.now_ms() < deadline) {
      const again = [...before, ...after].filter((step) => isOfNetwork(step) && isFailed(results.get(step)));
      if (again.length === 0 || !(await session.lacksAddresses(steps))) break;
      await tools.clock.sleep(SERVICES_POLL_MS);
      await take(again);
    }
  } finally {
    session.close();
  }
  const taken = [...results.values()];
  return { results: taken, remaining: steps.filter((step) => results.get(step)?.outcome === 'failed') };
}

const isOfService = ({ kind }: UndoStep): boolean => kind === 'run_command';
const isOfNetwork = ({ kind }: UndoStep): boolean => kind === 'add_route' || kind === 'set_neighbour';
const isFailed = (result: StepResult | undefined): boolean => result?.outcome === 'failed';
