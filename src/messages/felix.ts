/** The mailbox of the felix actor, which has the socket, and what it tells the policies actor of Felix's stream. */
import type { LifeRef } from '../actor-system.js';
import type { FelixMessage } from '../felix/messages.js';
import type { FelixSocket } from '../felix/stream.js';
import type { EndpointStatus } from '../policies/endpoint-statuses.js';

/**
 * A new Felix, which tells everything anew; the one before is over, whether its end was told or not. Ordered with the others, not answered,
 * not idempotent: of each `stream` once. Numbers rise, in one life of the felix actor.
 */
export interface FelixBegan {
  readonly type: 'FelixBegan';
  readonly stream: number;
}

/**
 * What Felix has said, in its order, bounded by number and bytes. Answered by FelixTaken when it is taken in: the next comes only after that, and
 * meanwhile the socket is not read.
 */
export interface FelixTold {
  readonly type: 'FelixTold';
  readonly stream: number;
  readonly messages: readonly FelixMessage[];
}

/** Its connection has ended; what it said stays in force. Ordered, not answered. May come in the middle of a snapshot. */
export interface FelixEnded {
  readonly type: 'FelixEnded';
  readonly stream: number;
}

export type FelixStream = FelixBegan | FelixTold | FelixEnded;

/** What became of an endpoint, by Felix's own id. */
export type { EndpointStatus };

export type FelixActorMessage =
  /**
   * Told FelixStream from now on; one at a time: the last who has asked. By `ctx.this_life`. A stream that another incarnation was told of is
   * ended, since only its Felix can tell it from the beginning: Felix starts anew, 3 s later.
   */
  | { readonly type: 'SubscribeFelix'; readonly subscriber: LifeRef<FelixStream> }
  /** The last FelixTold of this stream is taken in. Of another stream it says nothing. */
  | { readonly type: 'FelixTaken'; readonly stream: number }
  /**
   * From policies: what has changed; goes to Felix, and into the status files that the CNI plugin waits for. A pod's is `up` once its
   * policies are in VPP. `whole`: what is not named has no status any more; first of all so, after the first InSync. Idempotent, ordered, not answered.
   */
  | {
      readonly type: 'EndpointStatuses';
      readonly whole: boolean;
      readonly statuses: readonly EndpointStatus[];
    }
  /** From itself: a connection has said its first; it has more to read, takes something to write, is over. */
  | { readonly type: 'Accepted'; readonly connection: number; readonly socket: FelixSocket }
  | { readonly type: 'Readable'; readonly connection: number }
  | { readonly type: 'Drained'; readonly connection: number }
  | { readonly type: 'Closed'; readonly connection: number; readonly reason: string | undefined }
  /** From itself: time to try again what has failed. */
  | { readonly type: 'ListenAgain' }
  | { readonly type: 'InstallAgain' }
  | { readonly type: 'TellAgain' }
  | { readonly type: 'WriteAgain' }
  /** From itself: Felix is to hear that the dataplane lives. */
  | { readonly type: 'ReportLife' };
