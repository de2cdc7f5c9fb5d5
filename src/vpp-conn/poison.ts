/**
 * Requests of which VPP dies, or which it accepts and gets wrong for good. They are refused here, before they are sent, whoever
 * asks and for whatever reason.
 */
import type { Call } from './call.js';

/** VPP would not survive this. */
export class DeadlyRequest extends Error {
  override readonly name = 'DeadlyRequest';
  readonly code = 'deadly';
}

/** Why this request is not sent; undefined: it is. */
export function refusal(_call: Call): DeadlyRequest | undefined {
  return undefined;
}
