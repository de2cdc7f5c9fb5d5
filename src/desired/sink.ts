/** Who is told what follows from a change, as a Model is told. */
import type { VppObject } from '../objects/object.js';

export interface Sink {
  /** It is wanted, in this version. */
  want(object: VppObject): void;
  /** It is wanted no more; it was, in this version. */
  unwant(object: VppObject): void;
  /** VPP has another one by the same name, or may: it is on its way there, or away. Absent: it has nothing but what is wanted. */
  hasOther?(object: VppObject): boolean;
}
