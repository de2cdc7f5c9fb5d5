import { existsSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { ownTrialPrefix, sweepTrials, type TrialRoots } from '../../src/check/trial-leftovers.js';

/** A machine with processes 7, since tick 100, and 8, since tick 200. */
function machine(t: Test): TrialRoots {
  const root = t.testdir({ directories: {}, segments: {}, proc: { self: { ns: {} } }, other: { file: '' } });
  const roots = {
    directories: join(root, 'directories'),
    segments: join(root, 'segments'),
    proc: join(root, 'proc'),
  };
  symlinkSync('pid:[4026531836]', join(roots.proc, 'self/ns/pid'));
  run(roots, 7, 100);
  run(roots, 8, 200);
  return roots;
}

function run({ proc }: TrialRoots, pid: number, start_time: number, ...words: readonly string[]): void {
  mkdirSync(join(proc, String(pid)));
  const between = Array.from({ length: 18 }, () => '0').join(' ');
  writeFileSync(join(proc, String(pid), 'stat'), `${pid} (a b) S ${between} ${start_time} 0\n`);
  writeFileSync(join(proc, String(pid), 'cmdline'), words.map((word) => `${word}\0`).join(''));
}

function leave({ directories, segments }: TrialRoots, name: string): void {
  mkdirSync(join(directories, name));
  writeFileSync(join(directories, name, 'startup.conf'), '');
  for (const segment of ['global_vm', 'vpe-api']) writeFileSync(join(segments, `${name}-${segment}`), '');
}

const named = (pid: number, start_time: number, namespace = 4026531836) =>
  `calico-vpp-doors-${namespace}-${pid}-${start_time}-aB3dEf`;
const left = ({ directories, segments }: TrialRoots) => [
  ...readdirSync(directories),
  ...readdirSync(segments),
];

t.test('what trials of dead processes have left is swept, directories and segments', async (t) => {
  const roots = machine(t);
  const [dead, reused] = [named(9, 300), named(7, 99)];
  leave(roots, dead);
  leave(roots, reused);
  t.same(new Set(sweepTrials(roots)), new Set([dead, reused]));
  t.same(left(roots), []);
  t.same(sweepTrials(roots), [], 'and nothing is left to sweep');
});

t.test('segments whose directory is gone, too', async (t) => {
  const roots = machine(t);
  writeFileSync(join(roots.segments, `${named(9, 300)}-global_vm`), '');
  t.same(sweepTrials(roots), [named(9, 300)]);
  t.same(left(roots), []);
});

t.test('nothing else is touched', async (t) => {
  const roots = machine(t);
  const living = `${ownTrialPrefix(roots, 8)}aB3dEf`;
  t.equal(living, named(8, 200));
  const ending = named(9, 300);
  run(roots, 10, 400, '/usr/bin/vpp', '-c', join(roots.directories, ending, 'startup.conf'));
  for (const name of [living, ending, named(9, 300, 4026532000), 'calico-vpp-doors-aB3dEf', 'calico-vpp'])
    leave(roots, name);
  writeFileSync(join(roots.segments, 'global_vm'), '');
  const before = left(roots);
  t.same(
    sweepTrials(roots),
    [],
    'a living trial, a VPP that still ends, what nobody here can judge, or has no owner',
  );
  t.same(left(roots), before);
});

t.test('what stands behind a link stays', async (t) => {
  const roots = machine(t);
  const other = join(roots.directories, '../other');
  symlinkSync(other, join(roots.directories, named(9, 300)));
  t.same(sweepTrials(roots), [named(9, 300)]);
  t.ok(existsSync(join(other, 'file')));
});

t.test('places that cannot be read are no reason not to try', async (t) => {
  const roots = machine(t);
  t.same(sweepTrials({ ...roots, directories: '/nowhere', segments: '/nowhere' }), []);
});
