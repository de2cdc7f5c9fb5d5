/** What a VPP holds, read in one go: the `actual` that reconcile compares with. Immutable. */
import type { Family, InterfaceTag, VppObject } from '../desired/objects.js';

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

export const empty_snapshot: Snapshot = { objects: [], interfaces: [], workers: 0 };

/** The id of the table of that name, if VPP has it. */
export function tableNamed(snapshot: Snapshot, family: Family, name: string): number | undefined {
  for (const object of snapshot.objects) {
    if (object.kind === 'table' && object.family === family && object.name === name) return object.table_id;
  }
  return undefined;
}

export function hasInterface(snapshot: Snapshot, tag: InterfaceTag): boolean {
  return snapshot.interfaces.some((known) => known.tag === tag);
}
