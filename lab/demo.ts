/** `calico-vpp-node demo`: shows the life of a node with the most real parts that this machine allows, and proves what it shows. */
import { existsSync } from 'node:fs';
import { machineStage } from './demo/machine-stage.js';
import { memoryStage } from './demo/memory-stage.js';
import type { Stage } from './demo/stage.js';
import { Story } from './demo/story.js';
import { Teller } from './demo/teller.js';
import { canUseNetns } from './netns.js';
import { findRealVpp, type RealVpp } from './real-vpp.js';

export interface DemoOptions {
  /** Leaves the node running after the pods have been shown, until SIGINT or SIGTERM. */
  readonly stay: boolean;
}

const exit_code = { proved: 0, not_proved: 1, interrupted: 130 } as const;
const usual_vpp = '/usr/bin/vpp';

/** Resolves with the exit code: 0 only when everything that was to be proved held, and all was removed again. */
export async function runDemo({ stay }: DemoOptions): Promise<number> {
  const teller = new Teller(process.stdout);
  // Before anything is made: a signal must find somebody who removes it.
  const interrupted = firstSignal();
  const stage = await chooseStage();
  teller.title('calico-vpp-node: the life of a node');
  teller.say(stage.opening);
  const story = new Story(stage, teller);
  try {
    const told = tell(story, stay, interrupted);
    const ended = await Promise.race([told, stay ? told : interrupted]);
    if (ended !== undefined) {
      teller.hush();
      told.catch(() => undefined);
      process.stdout.write('\nInterrupted: everything is being removed.\n');
      return exit_code.interrupted;
    }
  } catch (error) {
    teller.prove(`the story could be told to its end: ${(error as Error).message}`, false);
    teller.show(stage.lastWords(log_lines_shown), "the node's log, its last lines");
  } finally {
    await stage.close();
  }
  return conclude(teller, story);
}

const log_lines_shown = 15;

async function tell(story: Story, stay: boolean, interrupted: Promise<NodeJS.Signals>): Promise<undefined> {
  await story.begin();
  if (stay) {
    story.invite();
    await interrupted;
  } else await story.faults();
  await story.stop();
  if (!stay) await story.twoNodes();
}

function conclude(teller: Teller, story: Story): number {
  const { broken, proofs } = teller;
  teller.title('In short');
  if (broken.length > 0) {
    teller.say(`${broken.length} of ${proofs} proofs did not hold:`);
    for (const text of broken) teller.say(`- ${text}`);
    return exit_code.not_proved;
  }
  teller.say(`All ${proofs} proofs held: ${story.summary}. Nothing of the demo is left on this machine.`);
  teller.say('To have the node to yourself, with the commands to look into it:');
  teller.offer(['npm run demo -- --stay']);
  return exit_code.proved;
}

async function chooseStage(): Promise<Stage> {
  const no_namespaces = canUseNetns();
  if (no_namespaces !== undefined) return memoryStage(no_namespaces);
  return machineStage(chooseVpp());
}

function chooseVpp(): RealVpp {
  const { env } = process;
  if (env.VPP_BIN) return findRealVpp(env);
  if (existsSync(usual_vpp)) return findRealVpp({ ...env, VPP_BIN: usual_vpp });
  return { usable: false, why: `VPP_BIN is not set and there is no ${usual_vpp}` };
}

/** From now on these signals do not end the process. */
function firstSignal(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, resolve);
  });
}
