/** VPP's process and the connection to it, with their settings. */
import type { ActorRef } from '../actor-system.js';
import { vppConnection } from '../actors/vpp-connection.js';
import { type VppDoesNotEnd, type VppKeepsDying, vppProcess } from '../actors/vpp-process.js';
import type { Config } from '../config.js';
import { waitedForCpuMs } from '../host/devices/sysfs.js';
import type { VppProcessMessage } from '../messages/vpp.js';
import { sessionOpener } from '../vpp-conn/open-session.js';
import type { Wiring } from './wiring.js';

/**
 * Deadline of one request to VPP: longer than any device is known to hold its main thread while it is attached, and longer than the probe waits, which
 * knows better: of a connection that is lost for want of an answer nobody knows what VPP has done. Not much longer: while a device is attached the host is
 * without its network, and nothing else ends the wait.
 */
export function requestMs({ probe }: Pick<Config['vpp'], 'probe'>): number {
  const waits_ms = probe.timeout_ms * probe.failures;
  return Math.max(15_000, Math.min(5 * waits_ms, waits_ms + 60_000));
}

/** VPP starts in a second or two, with DPDK and many hugepages in ten; whoever gives it longer to answer means this start as well. */
export const newVppMs = ({ connect_timeout_ms }: Pick<Config['vpp'], 'connect_timeout_ms'>): number =>
  Math.max(30_000, connect_timeout_ms + 10_000);

export function processOf(
  { parts: { launcher, config } }: Wiring,
  giveUp: (reason: VppDoesNotEnd | VppKeepsDying) => void,
) {
  const { restarts } = config.vpp;
  return vppProcess(
    launcher,
    {
      deaths_max: restarts.count,
      deaths_window_ms: restarts.within_ms,
      backoff_first_ms: 250,
      backoff_max_ms: 10_000,
      interrupt_ms: 2000,
      kill_ms: 10_000,
    },
    giveUp,
  );
}

export function connectionOf({ parts, board, serviceNames }: Wiring, process: ActorRef<VppProcessMessage>) {
  const { config, registry, quarantine, clock, log } = parts;
  const { connect_timeout_ms, probe } = config.vpp;
  return vppConnection(
    process,
    sessionOpener({
      request_ms: requestMs(config.vpp),
      registry,
      quarantine,
      waited_ms: waitedForCpuMs,
      translations: (pid, ids) => serviceNames.opened(pid, ids),
      clock,
      log,
      host_stack: config.gates.vcl,
    }),
    quarantine,
    {
      open_ms: connect_timeout_ms,
      probe_interval_ms: probe.interval_ms,
      probe_deadline_ms: probe.timeout_ms * probe.failures,
      transactions_max: 4096,
    },
    board,
  );
}
