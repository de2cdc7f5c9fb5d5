/** What the parts of the tree are made of beside their own settings. */
import type { ConditionBoard } from '../debug/conditions.js';
import type { TranslationOwners } from '../reconcile/translation-owners.js';
import type { NodeParts } from './parts.js';

export interface Wiring {
  readonly parts: NodeParts;
  /** Conditions of readiness. */
  readonly board: ConditionBoard;
  /** Large segments pass between VPP and Linux: no uplink's driver stands against it. */
  readonly gso: boolean;
  readonly translations: TranslationOwners;
}
