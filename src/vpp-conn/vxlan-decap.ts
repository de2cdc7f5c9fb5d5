/** What VPP does with what a VXLAN tunnel without Ethernet brings: nothing, until its graph has an arc from there to IP. */
import { type Client, type Message, RetvalError } from 'vpp-binapi-ts';
import { add_node_next } from 'vpp-binapi-ts/vlib';
import type { Family } from '../ip/text.js';
import type { Handles } from './handles.js';

/**
 * Makes the arcs, or finds those that are there: VPP answers with the same number each time. Where VPP has no VXLAN nothing is learned,
 * and a tunnel is refused for it. Rejects with the connection.
 */
export async function openVxlan(
  vpp: Pick<Client, 'request' | 'compatible'>,
  handles: Handles,
): Promise<void> {
  if (!vpp.compatible([add_node_next as Message<unknown, never>]).compatible) return;
  await Promise.all(
    ([4, 6] as const).map(async (family: Family) => {
      try {
        const { next_index } = await vpp.request(add_node_next, {
          node_name: `vxlan${family}-input`,
          next_name: `ip${family}-input`,
        });
        handles.setVxlanDecap(family, next_index);
      } catch (error) {
        if (!(error instanceof RetvalError)) throw error;
      }
    }),
  );
}
