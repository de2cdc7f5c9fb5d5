/** How long things of BGP may take, and how many of them there may be at once. */

export interface BgpPace {
  /** Changes that come together are taken together. */
  readonly debounce_ms: number;
  readonly retry_first_ms: number;
  readonly retry_max_ms: number;
  /** How often peers are looked at: while some are waited for, and otherwise. */
  readonly poll_ms: number;
  readonly poll_idle_ms: number;
  /** From a gobgpd's start to its first answer. */
  readonly connect_ms: number;
  /** A peer is waited for at least so long, however little time it has to restart: a session takes up to half a minute to come up. */
  readonly wait_min_ms: number;
  /**
   * A peer that has said so has told what it has, if it is up for so long: gobgpd 3 says it for one that restarts before it has told anything. And one
   * that is up for longer has, though it has not said so.
   */
  readonly told_min_ms: number;
  readonly told_ms: number;
  /** No path has come for so long: what a peer has told to the end has arrived. */
  readonly quiet_ms: number;
  /** Routes told to connectivity at once, and how long it may take to take them in. */
  readonly routes_max: number;
  /** With so many that are still to be told gobgpd is not read on, once its table was read. */
  readonly unsent_max: number;
  readonly tell_ms: number;
  /** How often all that gobgpd has is read, beside what this process has told it. */
  readonly reread_ms: number;
  /** A peer that has told too much has no session for so long. */
  readonly limit_pause_ms: number;
  /** When a gobgpd that listens on IPv4 alone is looked at: first, and at last. */
  readonly look6_first_ms: number;
  readonly look6_max_ms: number;
  /** This node's own Node is waited for so long, once: without its AS and labels all sessions would be others. */
  readonly own_node_ms: number;
}

export const bgp_pace: BgpPace = {
  debounce_ms: 50,
  retry_first_ms: 100,
  retry_max_ms: 30_000,
  poll_ms: 1000,
  poll_idle_ms: 10_000,
  connect_ms: 15_000,
  wait_min_ms: 60_000,
  told_min_ms: 5000,
  told_ms: 15_000,
  quiet_ms: 1000,
  routes_max: 1000,
  unsent_max: 2000,
  tell_ms: 60_000,
  reread_ms: 300_000,
  limit_pause_ms: 600_000,
  look6_first_ms: 30_000,
  look6_max_ms: 3_600_000,
  own_node_ms: 120_000,
};
