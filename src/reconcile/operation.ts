/** One step that makes VPP hold what is desired, and what came of it. */
import type { VppObject } from '../objects/object.js';

export interface Operation {
  readonly action: 'add' | 'remove';
  readonly object: VppObject;
  /** What VPP has of it is removed by the same operation, right before: VPP would ignore the change. */
  readonly anew?: true;
}

export interface Outcome {
  readonly operation: Operation;
  /** Absent: VPP did it. */
  readonly error?: Error;
}
