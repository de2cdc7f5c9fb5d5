/** Says which doors VPP leaves open whatever policies say: what is known of VPP, and a moment later what was tried with the one of this node. */

import type { DoorTrial } from '../policies/door-trial.js';
import { doors, doors_seen_on, openDoors } from '../policies/doors.js';
import type { Wiring } from './wiring.js';

/** The node is busy with its own at first. */
const begin_ms = 60_000;

/** Answers how to end it: what is under way is broken off. */
export function watchDoors({ parts, sync }: Pick<Wiring, 'parts' | 'sync'>): () => void {
  const { clock, config, log, tryDoors } = parts;
  let tried = tryDoors === undefined ? 'not tried' : 'not tried yet';
  let trial: DoorTrial | undefined;
  sync.set('doors', () => ({ seen_on: `VPP ${doors_seen_on}`, tried, ...doors(config, trial) }));
  if (tryDoors === undefined) return () => undefined;
  const end = new AbortController();
  const timer = clock.after(begin_ms, () => {
    tryDoors(end.signal).then(
      (found) => {
        trial = found;
        tried = found.vpp;
        const open = openDoors(found);
        if (open.length === 0)
          log.info({ vpp: found.vpp }, 'policies(doors) none of those that can be tried is open');
        else
          log.warn(
            { vpp: found.vpp, open },
            `policies(doors) this VPP lets through what policies deny: ${open.join(', ')}; see /debug/policies for what that is`,
          );
      },
      (error: Error) => {
        if (end.signal.aborted) return;
        tried = `failed: ${error.message}`;
        log.warn({ err: error }, `policies(doors) not tried, taken for open: ${error.message}`);
      },
    );
  });
  return () => {
    timer.cancel();
    end.abort(new Error('the node stops'));
  };
}
