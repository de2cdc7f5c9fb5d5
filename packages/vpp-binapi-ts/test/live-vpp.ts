import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** A VPP of its own: no devices, no huge pages, every socket and file in one directory that goes with it. */
export interface LiveVpp {
  readonly socket: string;
  readonly process: ChildProcess;
  stop(): Promise<void>;
}

/** @param binary VPP's executable; its plugins are found beside it. Needs root. */
export async function startVpp(binary: string): Promise<LiveVpp> {
  const directory = mkdtempSync(join(tmpdir(), 'vpp-'));
  const socket = join(directory, 'api.sock');
  const log = join(directory, 'vpp.log');
  const config = join(directory, 'startup.conf');
  // The prefix names the shared memory of the API, which two VPPs must not share; polling without a pause takes a whole core.
  writeFileSync(
    config,
    `unix { nodaemon log ${log} runtime-dir ${directory} cli-listen ${join(directory, 'cli.sock')} poll-sleep-usec 100 }
     socksvr { socket-name ${socket} }
     statseg { socket-name ${join(directory, 'stats.sock')} }
     api-segment { prefix ${directory.split('/').at(-1)} }
     buffers { buffers-per-numa 4096 page-size 4K }
    `,
  );
  const vpp = spawn(binary, ['-c', config], { stdio: 'ignore' });
  const exited = once(vpp, 'exit');
  const stop = async () => {
    if (vpp.exitCode === null && vpp.signalCode === null) vpp.kill('SIGKILL');
    await exited;
    rmSync(directory, { recursive: true, force: true });
  };
  for (let waited_ms = 0; !existsSync(socket); waited_ms += 50) {
    if (waited_ms >= 20_000 || vpp.exitCode !== null) {
      const text = existsSync(log) ? readFileSync(log, 'utf8').slice(-2000) : 'no log';
      await stop();
      throw new Error(`${binary} opens no API socket: ${text}`);
    }
    await sleep(50);
  }
  return { socket, process: vpp, stop };
}
