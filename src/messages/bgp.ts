/** Mailboxes of the bgp group: gobgpd's process, and what this node tells and learns through it. */
import type { Gobgp } from 'gobgp-grpc-stubs';
import type { ActorRef } from '../actor-system.js';
import type { GobgpdExit, GobgpdRun } from '../bgp/launcher.js';
import type { ClusterChange } from './cluster.js';
import type { SidsProgrammed } from './connectivity.js';
import type { NodeStatus } from './node.js';
import type { ServicesProgrammed } from './services.js';

export type BgpProcessMessage =
  /** Sent by the session when it is ready to be told of gobgpd's life. Answered by `Started` or `Gone` to it. Idempotent. */
  | { readonly type: 'Attach'; readonly session: ActorRef<BgpMessage> }
  /** A gobgpd is wanted that begins anew: this one has what cannot be changed, or does not answer. Idempotent, concerns this pid only. */
  | { readonly type: 'Renew'; readonly pid: number; readonly reason: string }
  /** From itself: gobgpd has ended. */
  | { readonly type: 'Exited'; readonly exit: GobgpdExit }
  /** From itself: a gobgpd was adopted or started; or why it was not. */
  | { readonly type: 'Launched'; readonly run: GobgpdRun }
  | { readonly type: 'Launched'; readonly reason: string }
  /** From itself: the back-off after a death is over. */
  | { readonly type: 'StartAgain' }
  /** From itself: its output is looked at. */
  | { readonly type: 'Trim' };

export type BgpMessage =
  | NodeStatus
  | ClusterChange
  | ServicesProgrammed
  | SidsProgrammed
  /** From the process actor: a gobgpd runs. */
  | { readonly type: 'Started'; readonly run: GobgpdRun }
  /** From the process actor: it is gone. What it had told goes on to hold for the time of a graceful restart. */
  | { readonly type: 'Gone'; readonly exit: GobgpdExit }
  /** From itself: gobgpd answers; or not any more. */
  | { readonly type: 'Connected'; readonly run: GobgpdRun; readonly gobgp: Gobgp; readonly as_number: number }
  | { readonly type: 'Lost'; readonly gobgp: Gobgp; readonly reason: string }
  | { readonly type: 'ConnectAgain'; readonly run: GobgpdRun }
  /** From itself: this node's pods have other addresses in networks beside the default one. */
  | { readonly type: 'NetworkAddressesChanged' }
  /** From itself: what gobgpd has is compared with what it is to have. */
  | { readonly type: 'Converge' }
  | { readonly type: 'Converged'; readonly retry: boolean }
  /** From itself: it is time to look at the peers. */
  | { readonly type: 'Poll' }
  | { readonly type: 'Polled' };
