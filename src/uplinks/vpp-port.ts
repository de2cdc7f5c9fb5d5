/** VPP as the take-over sees it, by way of the actor that speaks to it. */
import type { Reply } from '../actor-system.js';
import { uplinkTag } from '../desired/node-inputs.js';
import type { VppConnectionMessage } from '../messages/vpp.js';
import type { VppPort } from '../uplink/node-in-vpp.js';

const how = { owner: 'node', on_error: 'continue', urgency: 'prompt', essential: true } as const;

/** `ask` has a deadline, by which it rejects. */
export function vppPort(ask: <T>(message: (reply: Reply<T>) => VppConnectionMessage) => Promise<T>): VppPort {
  return {
    transact: (generation, operations) =>
      ask((reply) => ({ type: 'Transact', transaction: { generation, operations, ...how }, reply })),
    read: (scopes) => ask((reply) => ({ type: 'Read', scopes, reply })),
    neighbours: (name) => ask((reply) => ({ type: 'ReadNeighbours', interface: uplinkTag(name), reply })),
    introduce: (name, neighbours) =>
      ask((reply) => ({ type: 'Introduce', interface: uplinkTag(name), neighbours, reply })),
    solicit: (name) => ask((reply) => ({ type: 'Solicit', interface: uplinkTag(name), reply })),
  };
}
