import type { SubscribeNode } from './node.js';
import type { VppStatus } from './vpp.js';

export type UplinkMessage =
  | VppStatus
  | SubscribeNode
  /** From itself: try the take-over again. Nothing happens if it is done, or if VPP is another one by now. */
  | { readonly type: 'Retry'; readonly generation: number }
  /** From itself: Linux says that the tap's link has changed. */
  | { readonly type: 'TapChanged'; readonly name: string };
