import t from 'tap';
import { canUseNetns } from '../../lab/netns.js';
import { needs } from '../kit/needs.js';
import { type Outcome, ofAll, restored, type Stage, step_names, stepsOf } from './odd-stage.js';

/** The node is killed in the middle of taking odd hosts over: the next one gives them back. */

const reason = canUseNetns();
const root = needs(reason);

/** The node is killed behind each step, and with it VPP behind every second one. */
async function killedEverywhere(stage: Stage): Promise<Outcome> {
  if (stage.odd.refused !== undefined) return [];
  const before = stage.show();
  const outcome: Outcome[number][] = [];
  for (const [at, last] of step_names.entries()) {
    const steps = stepsOf(stage, stage.capture());
    for (const name of step_names.slice(0, at + 1)) await steps[name]();
    const vpp_dies = at % 2 === 0;
    if (vpp_dies) stage.removeTaps();
    outcome.push(...(await restored(stage, before, `killed when ${last}${vpp_dies ? ', VPP too' : ''}`)));
    stage.removeTaps();
  }
  return outcome;
}

t.test('a host is what it was wherever the node is killed', root(), (t) => ofAll(t, killedEverywhere));
