import { address, bool, fixed, many, message, optional, required, shifted, text, u32 } from '../schema.js';
import { TableEvent } from './path.js';
import { Peer } from './peer.js';

/** What WatchEvent is asked for, and what it says. `Gobgp.watch` makes one sequence of it. */

export const WatchEventRequest = message('WatchEventRequest', {
  peer: optional(1, message('WatchEventRequest.Peer', {})),
  table: optional(
    2,
    message('WatchEventRequest.Table', {
      filters: many(
        1,
        message('WatchEventRequest.Table.Filter', {
          /** 3.x before 3.24 knows no `eor`, and is silent. */
          type: required(1, shifted('best', 'adjin', 'post_policy', 'eor')),
          init: optional(2, bool),
          peer_address: optional(3, address, '3.19'),
          peer_group: optional(4, text, '3.19'),
        }),
      ),
    }),
  ),
  /** How many paths a message has: one more, and the last of several fewer. */
  batch_size: optional(3, u32, '3.27'),
});

/** One of both. */
export const WatchEventResponse = message('WatchEventResponse', {
  peer: optional(
    2,
    message('PeerEvent', {
      type: required(1, fixed({ unspecified: 0, init: 1, end_of_init: 2, state: 3 })),
      peer: optional(2, Peer),
    }),
  ),
  table: optional(3, TableEvent),
});
