/** From a call of the CNI plugin to a question to the CNI actor, and from its answer to the reply. */
import type { ActorContext } from '../actor-system.js';
import type { CniCall, CniHandlers } from '../cni/server.js';
import type { CniMessage } from '../messages/cni.js';
import type { AddAnswer, DeleteAnswer } from '../messages/pod.js';

export function cniHandlers(ctx: ActorContext<CniMessage>): CniHandlers {
  const left_ms = ({ deadline_ms }: CniCall): number => Math.max(1, deadline_ms - ctx.clock.now_ms());
  return {
    add: async (request, call) => {
      const answer = await ctx.ask<CniMessage, AddAnswer>(
        ctx.self,
        (reply) => ({ type: 'Add', request, signal: call.signal, reply }),
        left_ms(call),
      );
      if ('error' in answer) return { successful: false, errorMessage: answer.error };
      const { host_interface_name, container_mac } = answer;
      return {
        successful: true,
        hostInterfaceName: host_interface_name,
        ...(container_mac !== undefined && { containerMac: container_mac }),
      };
    },
    del: async (request, call) => {
      const answer = await ctx.ask<CniMessage, DeleteAnswer>(
        ctx.self,
        (reply) => ({ type: 'Del', request, reply }),
        left_ms(call),
      );
      return 'error' in answer ? { successful: false, errorMessage: answer.error } : { successful: true };
    },
  };
}
