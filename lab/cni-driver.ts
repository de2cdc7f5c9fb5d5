/**
 * Calls the CNI service as Calico's plugin does: a new connection for each call, a deadline of 5 seconds, no waiting for
 * the server to come up, no retry.
 */

import type { MessageShape } from '@bufbuild/protobuf';
import { Client, credentials } from '@grpc/grpc-js';
import { type AddReplySchema, CniDataplane, type DelReplySchema } from '../src/cni/generated/cni_pb.js';
import { clientOf, type UnaryClient } from '../src/cni/grpc.js';

export interface CniTarget {
  /** Path of the server's socket. */
  readonly socket: string;
  readonly netns: string;
  /** `eth0` when absent. */
  readonly ifname?: string;
  /** The plugin's own when absent. */
  readonly deadline_ms?: number;
  /** Gives the call up, as a killed plugin does. */
  readonly signal?: AbortSignal;
}

export interface CniAdd extends CniTarget {
  /** `address/length`. */
  readonly ips: readonly string[];
  /** The default routes of both families when absent, as the plugin sends them. */
  readonly routes?: readonly string[];
  readonly ports?: readonly CniPort[];
  readonly annotations?: Readonly<Record<string, string>>;
  /** 0, automatic, when absent. */
  readonly mtu?: number;
  readonly allow_ip_forwarding?: boolean;
  readonly namespace?: string;
  readonly pod?: string;
  readonly network_name?: string;
}

export interface CniPort {
  readonly protocol?: 'TCP' | 'UDP' | 'SCTP';
  readonly port: number;
  readonly host_port: number;
  readonly host_ip?: string;
}

export type AddReply = MessageShape<typeof AddReplySchema>;
export type DelReply = MessageShape<typeof DelReplySchema>;

const plugin_deadline_ms = 5000;

/** Rejects with a gRPC ServiceError when there was no reply. */
export function cniAdd(add: CniAdd): Promise<AddReply> {
  const { ifname = 'eth0', namespace = 'default', pod = 'pod', network_name } = add;
  return withClient(add, (client, options) =>
    client.add(
      {
        interfaceName: ifname,
        netns: add.netns,
        desiredHostInterfaceName: 'cali12345678901',
        settings: { mtu: add.mtu ?? 0, allowIpForwarding: add.allow_ip_forwarding ?? false },
        containerIps: add.ips.map((address) => ({ address, gateway: '<nil>' })),
        containerRoutes: [...(add.routes ?? ['0.0.0.0/0', '::/0'])],
        dataplaneOptions: {
          type: 'grpc',
          socket: `unix://${add.socket}`,
          ...(network_name && { network_name }),
        },
        workload: {
          name: `node-k8s-${pod}-eth0`,
          namespace,
          pod,
          endpoint: 'eth0',
          orchestrator: 'k8s',
          node: 'node',
          labels: {},
          annotations: { ...add.annotations },
          ports: (add.ports ?? []).map(({ protocol = 'TCP', port, host_port, host_ip = '' }, index) => ({
            name: `port-${index}`,
            protocol,
            port,
            hostPort: host_port,
            hostIp: host_ip,
          })),
        },
      },
      options,
    ),
  );
}

/** Rejects with a gRPC ServiceError when there was no reply. */
export function cniDel(del: CniTarget): Promise<DelReply> {
  return withClient(del, (client, options) =>
    client.del(
      {
        interfaceName: del.ifname ?? 'eth0',
        netns: del.netns,
        dataplaneOptions: { type: 'grpc', socket: `unix://${del.socket}` },
      },
      options,
    ),
  );
}

interface Options {
  readonly deadline: number;
  readonly signal?: AbortSignal;
}

async function withClient<R>(
  { socket, deadline_ms = plugin_deadline_ms, signal }: CniTarget,
  call: (client: UnaryClient<typeof CniDataplane>, options: Options) => Promise<R>,
): Promise<R> {
  // grpc-js shares connections between clients of one target unless each has a pool of its own.
  const client = new Client(`unix:${socket}`, credentials.createInsecure(), {
    'grpc.use_local_subchannel_pool': 1,
  });
  try {
    // grpc-js counts deadlines with Date.now.
    return await call(clientOf(CniDataplane, client), {
      deadline: Date.now() + deadline_ms,
      ...(signal && { signal }),
    });
  } finally {
    client.close();
  }
}
