/** What a VPP holds, read in one go: the `actual` that reconcile compares with. Immutable. */
import type { VppObject } from '../desired/objects.js';

export interface SnapshotInterface {
  readonly sw_if_index: number;
  /** Empty for an interface that nobody tagged. */
  readonly tag: string;
  readonly name: string;
  readonly dev_type: string;
}

export interface Snapshot {
  readonly objects: readonly VppObject[];
  readonly interfaces: readonly SnapshotInterface[];
  /** Worker threads, without the main thread. */
  readonly workers: number;
  /** Packet buffers of all pools, taken ones included. Absent where VPP does not tell. */
  readonly buffers?: number;
}
