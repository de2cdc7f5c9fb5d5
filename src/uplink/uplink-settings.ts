/** How the uplink actor is set, and what it tells the outside. */
import type { Uplink } from '../desired/node-inputs.js';
import type { Pauses } from './attempts.js';
import type { Preparer } from './preparation.js';
import type { TakeOverSettings } from './take-over-deps.js';

export interface UplinkReport {
  readonly state: 'linux' | 'vpp' | 'failed';
  readonly reason: string;
  readonly uplinks: readonly Uplink[];
}

export interface UplinkSettings extends TakeOverSettings, Pauses {
  readonly node_name: string;
  /** Whether the configuration asks for segments larger than a packet: `inputs.gso` is what came of it. */
  readonly asked_gso: boolean;
  /** For one transaction: af_packet rings of a large node take a second. */
  readonly transaction_ms: number;
  /** For a VPP that begins anew with devices that it finds at its start: the host is without its network. */
  readonly new_vpp_ms: number;
  readonly shutdown_ms: number;
  /** Whose objects a VPP is to have before its uplinks. */
  readonly prepared_by: readonly Preparer[];
  /** For so long the uplinks stay with Linux until it has them. */
  readonly prepare_ms: number;
  /** Whose objects its uplinks are to have before they are up, and for how long these are kept down for that: the host is without its network. */
  readonly policed_by: readonly Preparer[];
  readonly police_ms: number;
}
