/** What a take-over needs of its surroundings, and how it is set. */
import type { Clock } from '../clock.js';
import type { HookPoint, UplinkSpec } from '../config.js';
import type { NodeInputs } from '../desired/node-inputs.js';
import type { Log } from '../log.js';
import type { KnownNeighbours } from './known-neighbours.js';
import type { VppPort } from './node-in-vpp.js';
import type { Prepared } from './preparation.js';
import type { Routers } from './routers.js';
import type { Taken } from './taken.js';
import type { UplinkHost } from './uplink-host.js';

/** A connection to one VPP. */
export interface VppLife {
  readonly generation: number;
  /** It was running before this connection: it holds state, and packets flow. */
  readonly adopted: boolean;
}

export interface TakeOverSettings {
  readonly specs: readonly UplinkSpec[];
  readonly inputs: Omit<NodeInputs, 'uplinks'>;
  /** How long the gateways have to answer through VPP. */
  readonly verify_ms: number;
  /** How long the host's services have to configure the tap, and to be done with the uplink. */
  readonly services_ms: number;
  /** How long they are given to answer Linux before, so that those which do are known. */
  readonly survey_ms: number;
}

export interface TakeOverDeps {
  readonly host: UplinkHost;
  readonly vpp: VppPort;
  readonly hooks: { run(point: HookPoint, signal?: AbortSignal): Promise<void> };
  /** What the routers behind the uplinks have said. */
  readonly routers: Routers;
  readonly known: Pick<KnownNeighbours, 'of' | 'introduce'>;
  /** Has a gateway resolved: sends one datagram that leaves through it. Never throws. */
  readonly nudge: (gateway: string) => void;
  readonly others: Others;
  readonly clock: Clock;
  readonly log: Log;
  /** Shows what is being waited for. */
  readonly waitsFor: (what: string | undefined) => void;
}

/** Those whose objects are to be in VPP before the first packet comes. All reject when `signal` aborts. */
export interface Others {
  /** A VPP is to be prepared. */
  begin(): void;
  /** They are told of the node, and waited for. */
  prepare(generation: number, taken: Taken, signal: AbortSignal): Promise<Prepared>;
  /** They are told that the uplinks' interfaces are there, and waited for. */
  made(generation: number, signal: AbortSignal): Promise<void>;
}
