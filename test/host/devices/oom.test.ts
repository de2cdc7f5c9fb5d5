import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import t from 'tap';
import { oomCounter } from '../../../src/host/devices/oom.js';

/** A machine as files: `cgroup` is that of process 7. */
function machine(t: { testdir(): string }, cgroup: string, files: Readonly<Record<string, string>>) {
  const root = t.testdir();
  const roots = { sys: join(root, 'sys'), proc: join(root, 'proc'), dev: join(root, 'dev') };
  const write = (path: string, text: string): void => {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  };
  write('proc/7/cgroup', cgroup);
  for (const [path, text] of Object.entries(files)) write(path, text);
  return { roots, write, root };
}

const events = (kills: number) => `low 0\nhigh 0\nmax 9\noom 5\noom_kill ${kills}\noom_group_kill 0\n`;
const vmstat = (kills: number) => `nr_free_pages 1\noom_kill ${kills}\ndrop_pagecache 0\n`;

t.test('kills for want of memory are counted where the process lives', async (t) => {
  const v1 = '9:name=systemd:/x\n4:cpu,memory:/pods/7\n0::/\n';
  const v1_file = (kills: number) => `oom_kill_disable 0\nunder_oom 0\noom_kill ${kills}\n`;
  const cases = {
    'cgroup v2': ['0::/pods/7\n', 'sys/fs/cgroup/pods/7/memory.events', events],
    'cgroup v2, seen from within the container': ['0::/../7\n', 'sys/fs/cgroup/memory.events', events],
    'cgroup v1': [v1, 'sys/fs/cgroup/memory/pods/7/memory.oom_control', v1_file],
    'cgroup v1, seen from within the container': [v1, 'sys/fs/cgroup/memory/memory.oom_control', v1_file],
    'no memory controller': ['0::/pods/7\n', 'proc/vmstat', vmstat],
  } as const;
  for (const [name, [cgroup, path, text]] of Object.entries(cases)) {
    await t.test(name, async (t) => {
      const { roots, write } = machine(t, cgroup, { 'proc/vmstat': vmstat(90), [path]: text(3) });
      const count = oomCounter(7, roots);
      t.equal(count(), 3);
      write(path, text(4));
      if (path !== 'proc/vmstat') write('proc/vmstat', vmstat(91));
      t.equal(count(), 4);
    });
  }
});

t.test('a process or a cgroup that has gone costs no counter', async (t) => {
  const path = 'sys/fs/cgroup/pods/7/memory.events';
  const { roots, root } = machine(t, '0::/pods/7\n', { [path]: events(1) });
  const count = oomCounter(7, roots);
  rmSync(join(root, 'proc'), { recursive: true });
  t.equal(count(), 1, 'it is read after the end of the process');
  rmSync(join(root, 'sys'), { recursive: true });
  t.equal(count(), undefined);
  t.equal(oomCounter(8, roots)(), undefined);
});
