import { strict as assert } from 'node:assert';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { patience } from '../../lab/patience.js';
import { waitFor } from '../../lab/running-node.js';
import { ipStateIs } from '../../lab/traffic.js';
import type { Fault } from './fault-lab.js';

/** The node waits for the end of a VPP for 10 s after its SIGKILL; then it restores the host. */
const given_up_ms_max = 25_000;

export const fault: Fault = {
  name: 'vpp-does-not-end',
  what: 'SIGKILL does not end VPP, as one that hangs in the kernel: Linux has its network back, the node exits with 1, a new life works when it is gone',
  by_itself: true,
  ...(spawnSync('strace', ['-V']).error && { skip: 'needs strace' }),
  async run(lab) {
    const { node } = lab;
    await lab.begin();
    const pid = node.vppPid()!;
    const tracer = await holdExit(pid);
    const began_ms = performance.now();
    try {
      process.kill(pid, 'SIGKILL');
      assert.deepEqual(await node.exited, { code: 1, signal: null }, 'the node exits with 1');
      assert.ok(performance.now() - began_ms < given_up_ms_max, 'it does not wait for ever');
      assert.match(node.lastWords(1000), new RegExp(`SIGKILL has not ended VPP ${pid}`), 'it says why');
      assert.deepEqual(await ipStateIs(lab.topology, 'node', lab.before), [], 'Linux has its network back');
    } finally {
      tracer.kill('SIGKILL');
    }
    await waitFor(
      async () => node.vppPid() === undefined,
      10_000 * patience,
      () => `VPP ${pid} has not ended without its tracer`,
    );
    await node.restart();
    await lab.settled();
    await lab.end();
    return undefined;
  },
};

/** A process that is traced ends when its tracer lets it, and this one stands still: SIGKILL does nothing that anybody could see. */
async function holdExit(pid: number): Promise<ChildProcess> {
  const tracer = spawn('strace', ['-f', '-e', 'trace=none', '-o', '/dev/null', '-p', String(pid)], {
    stdio: 'ignore',
  });
  const threads = (): string[] => readdirSync(`/proc/${pid}/task`);
  const isTraced = (thread: string): boolean =>
    new RegExp(`^TracerPid:\\t${tracer.pid}$`, 'm').test(
      readFileSync(`/proc/${pid}/task/${thread}/status`, 'utf8'),
    );
  await waitFor(
    async () => threads().every(isTraced),
    5000 * patience,
    () => `strace does not trace all threads of ${pid}`,
  );
  tracer.kill('SIGSTOP');
  return tracer;
}
