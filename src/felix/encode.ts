/** What goes back to Felix. It dies of bytes that it cannot read, and of an endpoint's status that lacks status or endpoint. */
import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { frame } from './frames.js';
import { FromDataplaneSchema } from './generated/felix_pb.js';
import type { WorkloadEndpoint } from './messages.js';

export type EndpointState = 'up' | 'down' | 'error';

export type FelixAnswer =
  /** Life, for reports of Felix; `uptime` in seconds. */
  | { readonly kind: 'process'; readonly now: Date; readonly uptime: number }
  | { readonly kind: 'workload'; readonly endpoint: WorkloadEndpoint; readonly state: EndpointState }
  | { readonly kind: 'workload_removed'; readonly id: WorkloadEndpoint['id'] }
  | { readonly kind: 'host'; readonly id: string; readonly state: EndpointState }
  | { readonly kind: 'host_removed'; readonly id: string }
  | { readonly kind: 'wireguard'; readonly public_key: string; readonly ip_version: 4 | 6 };

/** Each in a frame of its own, numbered as Felix numbers its own: from 0 in each connection. */
export class AnswerEncoder {
  #next = 0n;

  encode(answer: FelixAnswer): Buffer {
    const message = create(FromDataplaneSchema, messageOf(this.#next, answer));
    this.#next += 1n;
    return frame(toBinary(FromDataplaneSchema, message));
  }
}

function messageOf(
  sequenceNumber: bigint,
  answer: FelixAnswer,
): MessageInitShape<typeof FromDataplaneSchema> {
  switch (answer.kind) {
    case 'process':
      return {
        sequenceNumber,
        payload: {
          case: 'processStatusUpdate',
          value: { isoTimestamp: answer.now.toISOString(), uptime: answer.uptime },
        },
      };
    case 'workload':
      return {
        sequenceNumber,
        payload: {
          case: 'workloadEndpointStatusUpdate',
          value: {
            id: idOf(answer.endpoint.id),
            status: { status: answer.state },
            endpoint: endpointOf(answer.endpoint),
          },
        },
      };
    case 'workload_removed':
      return {
        sequenceNumber,
        payload: { case: 'workloadEndpointStatusRemove', value: { id: idOf(answer.id) } },
      };
    case 'host':
      return {
        sequenceNumber,
        payload: {
          case: 'hostEndpointStatusUpdate',
          value: { id: { endpointId: answer.id }, status: { status: answer.state } },
        },
      };
    case 'host_removed':
      return {
        sequenceNumber,
        payload: { case: 'hostEndpointStatusRemove', value: { id: { endpointId: answer.id } } },
      };
    case 'wireguard':
      return {
        sequenceNumber,
        payload: {
          case: 'wireguardStatusUpdate',
          value: { publicKey: answer.public_key, ipVersion: answer.ip_version },
        },
      };
  }
}

function idOf({ orchestrator, workload, endpoint }: WorkloadEndpoint['id']) {
  return { orchestratorId: orchestrator, workloadId: workload, endpointId: endpoint };
}

/** What Felix's reporters read of the endpoint: who it is, and its addresses. */
function endpointOf({ active, name, nets, profiles }: WorkloadEndpoint) {
  return {
    state: active ? 'active' : 'inactive',
    name,
    profileIds: [...profiles],
    ipv4Nets: nets.filter((net) => !net.includes(':')),
    ipv6Nets: nets.filter((net) => net.includes(':')),
  };
}
