/** The uplinks in VPP's hands, and what that means for others. Pure. */
import type { Uplink } from '../desired/node-inputs.js';
import type { UplinkEntry } from '../desired/source-nat.js';
import type { CapturedUplink } from './captured.js';

export interface Taken {
  readonly captured: readonly CapturedUplink[];
  readonly uplinks: readonly Uplink[];
  /** What the host itself had on the taps when they were looked at last (`fingerprint`). */
  readonly seen?: string | undefined;
  readonly uplink_entry?: UplinkEntry | undefined;
  /** As Snapshot has it. */
  readonly buffers?: number | undefined;
}

/** Buffers that the receive rings of uplinks and host taps keep. An af_packet has its rings in the kernel, and takes a buffer per packet. */
export function buffersTaken({ captured, uplinks }: Taken, tap: { readonly rx_ring_size: number }): number {
  const of_uplinks = captured.map(({ spec }, at) =>
    uplinks[at]?.device.kind === 'af_packet' ? 0 : spec.rx_queues * spec.rx_ring_size,
  );
  return of_uplinks.reduce((sum, buffers) => sum + buffers + tap.rx_ring_size, 0);
}
