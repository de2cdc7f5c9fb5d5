/**
 * From a call of the CNI plugin to a question to the CNI actor, and from its answer to the reply. Requests are read here, so that
 * what is thrown over one is that call's answer and no actor's end.
 */
import type { ActorContext } from '../actor-system.js';
import type { PodLimits } from '../cni/annotations.js';
import { parseAddRequest, parseDelRequest } from '../cni/request.js';
import type { CniCall, CniHandlers } from '../cni/server.js';
import type { CniMessage } from '../messages/cni.js';
import type { AddAnswer, DeleteAnswer } from '../messages/pod.js';
import { podName } from '../pod/spec.js';

export function cniHandlers(ctx: ActorContext<CniMessage>, limits: () => PodLimits): CniHandlers {
  const left_ms = ({ deadline_ms }: CniCall): number => Math.max(1, deadline_ms - ctx.clock.now_ms());
  return {
    add: async (request, call) => {
      const parsed = parseAddRequest(request, limits());
      if ('error' in parsed) {
        ctx.event('refused', parsed.error);
        return { successful: false, errorMessage: parsed.error };
      }
      const { ok: spec, warnings } = parsed;
      if (warnings.length > 0) {
        const pod = podName(spec.workload, spec.interface_name);
        ctx.log.warn({ pod, warnings }, 'pod(add) parts of the request are ignored');
      }
      const answer = await ctx.ask<CniMessage, AddAnswer>(
        ctx.self,
        (reply) => ({ type: 'Add', spec, signal: call.signal, reply }),
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
      const parsed = parseDelRequest(request);
      if ('nothing' in parsed) return { successful: true };
      const answer = await ctx.ask<CniMessage, DeleteAnswer>(
        ctx.self,
        (reply) => ({ type: 'Del', pod: parsed.ok, reply }),
        left_ms(call),
      );
      return 'error' in answer ? { successful: false, errorMessage: answer.error } : { successful: true };
    },
  };
}
