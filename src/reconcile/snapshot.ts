/** What a VPP holds, read in one go: the `actual` that is compared with. Immutable. */
import type { VppObject } from '../objects/object.js';
import type { OwnerName } from '../objects/owner.js';

/**
 * What is read: an owner's objects, so that nobody pays for another one's; `nobody`: those that no owner has, see `Ownership`. A
 * translation is the services', also that of a pod's host port.
 */
export type Scope = OwnerName | 'nobody';

export interface SnapshotInterface {
  readonly sw_if_index: number;
  /** Empty for an interface that nobody tagged. */
  readonly tag: string;
  readonly name: string;
  readonly dev_type: string;
}

export interface Snapshot {
  readonly objects: readonly VppObject[];
  /** The registry does not know whether VPP has them: they are to be added again, or removed. Keys. */
  readonly unsure: ReadonlySet<string>;
  /** All that there are, whoever has them. */
  readonly interfaces: readonly SnapshotInterface[];
  /** Packet buffers of all pools, taken ones included. Absent where VPP does not tell. */
  readonly buffers?: number;
}
