import t from 'tap';
import { canUseNetns } from '../../lab/netns.js';
import { needs } from '../kit/needs.js';
import { type Outcome, ofAll, restored, type Stage, stepsOf } from './odd-stage.js';
import { asTheUplink, differences } from './shown.js';

/**
 * Odd hosts are taken over and given back with a real kernel. `ip -d -j` and /proc/sys say what a host is: the same before and
 * after, and the tap is what the uplink was.
 */

const reason = canUseNetns();
const root = needs(reason);

/** From what the host was over the tap to what it was. */
async function thereAndBack(stage: Stage): Promise<Outcome> {
  const before = stage.show();
  const { refused } = stage.odd;
  if (refused !== undefined) {
    return [
      ['refused', refusalOf(stage, refused)],
      ['nothing was touched', await stage.differs(before)],
    ];
  }
  const said = stage.odd.lost === undefined ? [] : await stage.warnings();
  const unsaid = Object.entries(stage.odd.lost ?? {}).filter(
    ([, text]) => !said.some((each) => text.test(each)),
  );
  const captured = stage.capture();
  const view = asTheUplink(new Set(captured.map(({ link }) => link.name)));
  const outcome: Outcome[number][] = [];
  for (const [name, step] of Object.entries(stepsOf(stage, captured))) {
    outcome.push([name, await step()]);
    if (name === 'complete' || name === 'followed')
      outcome.push([`${name}: the tap is what the uplink was`, await stage.differs(before, view)]);
  }
  outcome.push(...(await restored(stage, before, 'at the end')));
  const told = captured.flatMap(({ leftovers }) => leftovers.map(({ prefix }) => prefix));
  const left = stage.namespace.routes().filter(({ prefix }) => told.includes(prefix));
  return [
    ...outcome,
    ['check says what is lost', unsaid.map(([what]) => what)],
    ['leftovers are told', differences([...(stage.odd.leftovers ?? [])].sort(), told.sort())],
    ['leftovers are gone', left.map(({ prefix }) => prefix)],
  ];
}

function refusalOf(stage: Stage, wanted: RegExp): string[] {
  try {
    stage.capture();
    return ['it is not refused'];
  } catch (error) {
    const { name, message } = error as Error;
    return name === 'UplinkError' && wanted.test(message) ? [] : [`${name}: ${message}`];
  }
}

t.test('what a host was it is again, and its tap was it meanwhile', root(), (t) => ofAll(t, thereAndBack));
