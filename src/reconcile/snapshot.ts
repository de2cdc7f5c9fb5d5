/** What a VPP holds, read in one go: the `actual` that is compared with. Immutable. */
import type { VppObject } from '../objects/object.js';
import type { OwnerName } from '../objects/owner.js';

/**
 * What is read: an owner's objects, so that nobody pays for another one's. A translation is the services', also that of a pod's host
 * port.
 *
 * `pod_routes`: of the pods, their routes in the default table, too, for which VPP walks all that are in it.
 * `hidden`: prefixes to which connectivity, or services, if it is asked for too, may have a route that VPP does not show, since another owner's
 * comes before it. As routes without paths.
 * `nobody`: what refers to an interface that VPP has no more, whosever it is, for which it does so for each owner.
 */
export type Scope = OwnerName | 'pod_routes' | 'hidden' | 'nobody';

export interface SnapshotInterface {
  readonly sw_if_index: number;
  /** Empty for an interface that nobody tagged. */
  readonly tag: string;
  readonly name: string;
  readonly dev_type: string;
}

/**
 * Takes the objects of which there may be many as VPP shows them, so that nobody keeps a list of a hundred thousand. Called between the
 * question and its answer, and only as long as somebody waits for that; must not throw.
 */
export type Take = (object: VppObject) => void;

export interface Snapshot {
  /** All of them; where the asker takes routes and translations as they come, the others. */
  readonly objects: readonly VppObject[];
  /** The registry does not know whether VPP has them: they are to be added again, or removed. Keys. */
  readonly unsure: ReadonlySet<string>;
  /** All that there are, whoever has them. */
  readonly interfaces: readonly SnapshotInterface[];
  /**
   * Packet buffers of VPP's smallest pool, taken ones included. Each NUMA node has one, and an interface takes its buffers from that of
   * the thread that VPP happens to give its queue to. Absent where VPP does not tell.
   */
  readonly buffers?: number;
}
