import t from 'tap';
import { TurnedClock } from '../../lab/turned-clock.js';
import { SyncReports } from '../../src/debug/sync-reports.js';
import { watchDoors } from '../../src/node/doors.js';
import type { Wiring } from '../../src/node/wiring.js';
import type { DoorTrial } from '../../src/policies/door-trial.js';
import { KeptLog } from '../kit/actor-kit.js';

const trial: DoorTrial = {
  vpp: 'vpp v26',
  is_open: { dead_first_packet: false, quoted_flow: true, other_protocols: false, poisoned_errors: false },
};

function watched(tryDoors: ((signal: AbortSignal) => Promise<DoorTrial>) | undefined) {
  const clock = new TurnedClock();
  const sync = new SyncReports();
  const log = new KeptLog();
  const config = { drop_ip_options: true, drop_other_protocols: false };
  const wiring = { parts: { clock, log, config, tryDoors }, sync } as unknown as Wiring;
  const end = watchDoors(wiring);
  return { clock, log, end, said: () => sync.all().doors };
}

t.test('doors are tried a minute after the beginning, told once, and shown', async (t) => {
  const lab = watched(async () => trial);
  t.match(lab.said(), { tried: 'not tried yet', dead_first_packet: { is_open: true, from: 'known' } });
  await lab.clock.advance(60_000);
  t.match(lab.said(), {
    tried: 'vpp v26',
    dead_first_packet: { is_open: false, from: 'trial' },
    quoted_flow: { is_open: true, from: 'trial' },
  });
  t.match(
    lab.log.lines.filter(({ text }) => text.includes('doors')),
    [{ level: 'warn', text: /lets through what policies deny: quoted_flow;/ }],
  );
});

t.test('what cannot be tried is taken for open; an end breaks it off', async (t) => {
  const failing = watched(async () => {
    throw new Error('it has ended');
  });
  await failing.clock.advance(60_000);
  t.match(failing.said(), { tried: 'failed: it has ended', quoted_flow: { is_open: true, from: 'known' } });
  t.match(watched(undefined).said(), { tried: 'not tried' });

  let signal: AbortSignal | undefined;
  const hanging = watched(
    (given) =>
      new Promise((_resolve, reject) => {
        signal = given;
        given.addEventListener('abort', () => reject(given.reason));
      }),
  );
  await hanging.clock.advance(60_000);
  hanging.end();
  await hanging.clock.advance(0);
  t.equal(signal?.aborted, true);
  t.same(hanging.log.lines, [], 'which is nothing to tell');
  const early = watched(async () => t.fail('the node has ended before') as never);
  early.end();
  await early.clock.advance(60_000);
});
