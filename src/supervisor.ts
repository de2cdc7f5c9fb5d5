/**
 * The supervision tree of the node. Start order is dependency order; what crashes takes along what was started after it.
 *
 *   root                 rest_for_one, 3 restarts in 10 min; then the host is restored and the process exits
 *   ├─ vpp               a crash in it restarts everything: all others hold what they were told of its VPP
 *   │  ├─ vpp-process
 *   │  └─ vpp-connection
 *   ├─ uplink
 *   ├─ cluster
 *   ├─ connectivity
 *   ├─ services          where Services are load-balanced here
 *   ├─ bgp               rest_for_one, where routes come from BGP
 *   │  ├─ bgp-process
 *   │  └─ bgp-session
 *   ├─ felix             where policies are enforced
 *   ├─ policies          where policies are enforced
 *   └─ cni
 *      └─ <pod>          one_for_one
 */
import type { ActorRef, ActorSystem, ChildSpec, Supervision } from './actor-system.js';
import type { BgpMessage, BgpProcessMessage } from './messages/bgp.js';
import type { ClusterMessage } from './messages/cluster.js';
import type { CniMessage } from './messages/cni.js';
import type { ConnectivityMessage } from './messages/connectivity.js';
import type { FelixActorMessage } from './messages/felix.js';
import type { PoliciesMessage } from './messages/policies.js';
import type { ServicesMessage } from './messages/services.js';
import type { UplinkMessage } from './messages/uplink.js';
import type { VppConnectionMessage, VppProcessMessage } from './messages/vpp.js';

/** The last budget: when it is spent, the node is given back to Linux. */
export const root_supervision: Supervision = {
  strategy: 'rest_for_one',
  intensity: { restarts_max: 3, window_ms: 600_000 },
  backoff: { first_ms: 100, max_ms: 5000, jitter: 0.2 },
};

const vpp_supervision: Supervision = {
  strategy: 'rest_for_one',
  intensity: { restarts_max: 0, window_ms: 60_000 },
  backoff: { first_ms: 100, max_ms: 5000, jitter: 0.2 },
};

/** Routes that are not learned anew cost no packet, let alone the node its network: with this back-off the budget is never spent. */
const bgp_supervision: Supervision = {
  strategy: 'rest_for_one',
  intensity: { restarts_max: 100, window_ms: 600_000 },
  backoff: { first_ms: 100, max_ms: 30_000, jitter: 0.2 },
};

/** The actors of the tree, each as a function of those that it talks to. */
export interface Actors {
  readonly vppProcess: ChildSpec<VppProcessMessage>;
  readonly vppConnection: (process: ActorRef<VppProcessMessage>) => ChildSpec<VppConnectionMessage>;
  readonly uplink: (
    process: ActorRef<VppProcessMessage>,
    vpp: ActorRef<VppConnectionMessage>,
  ) => ChildSpec<UplinkMessage>;
  readonly cluster: (uplink: ActorRef<UplinkMessage>) => ChildSpec<ClusterMessage>;
  readonly connectivity: (
    vpp: ActorRef<VppConnectionMessage>,
    uplink: ActorRef<UplinkMessage>,
    cluster: ActorRef<ClusterMessage>,
  ) => ChildSpec<ConnectivityMessage>;
  /** Undefined: routes come from elsewhere. */
  readonly bgp?: {
    readonly process: ChildSpec<BgpProcessMessage>;
    readonly session: (
      process: ActorRef<BgpProcessMessage>,
      uplink: ActorRef<UplinkMessage>,
      cluster: ActorRef<ClusterMessage>,
      connectivity: ActorRef<ConnectivityMessage>,
    ) => ChildSpec<BgpMessage>;
  };
  /** Undefined: Services are somebody else's. */
  readonly services?: (
    vpp: ActorRef<VppConnectionMessage>,
    uplink: ActorRef<UplinkMessage>,
    cluster: ActorRef<ClusterMessage>,
  ) => ChildSpec<ServicesMessage>;
  /** Undefined: nobody enforces policies. */
  readonly felix?: ChildSpec<FelixActorMessage>;
  readonly policies?: (
    vpp: ActorRef<VppConnectionMessage>,
    uplink: ActorRef<UplinkMessage>,
    felix: ActorRef<FelixActorMessage>,
  ) => ChildSpec<PoliciesMessage>;
  readonly cni: (
    vpp: ActorRef<VppConnectionMessage>,
    uplink: ActorRef<UplinkMessage>,
  ) => ChildSpec<CniMessage>;
}

/** Of the services actor, whether there is one or not. */
export function servicesRef(system: ActorSystem): ActorRef<ServicesMessage> {
  return system.ref<ServicesMessage>(`${system.root.path}/services`);
}

/** Of the connectivity actor. */
export function connectivityRef(system: ActorSystem): ActorRef<ConnectivityMessage> {
  return system.ref<ConnectivityMessage>(`${system.root.path}/connectivity`);
}

/** Of the policies actor, whether there is one or not. */
export function policiesRef(system: ActorSystem): ActorRef<PoliciesMessage> {
  return system.ref<PoliciesMessage>(`${system.root.path}/policies`);
}

export interface Tree {
  readonly process: ActorRef<VppProcessMessage>;
  readonly vpp: ActorRef<VppConnectionMessage>;
  readonly uplink: ActorRef<UplinkMessage>;
  readonly cluster: ActorRef<ClusterMessage>;
  readonly connectivity: ActorRef<ConnectivityMessage>;
  readonly cni: ActorRef<CniMessage>;
}

/** Starts all actors, in order. Rejects when one cannot be started; those before it run on and are the caller's to stop. */
export async function startTree(system: ActorSystem, actors: Actors): Promise<Tree> {
  const process = system.ref<VppProcessMessage>(`${system.root.path}/vpp/vpp-process`);
  const vpp = system.ref<VppConnectionMessage>(`${system.root.path}/vpp/vpp-connection`);
  await system.spawn(group('vpp', vpp_supervision, [actors.vppProcess, actors.vppConnection(process)]));
  const uplink = await system.spawn(actors.uplink(process, vpp));
  const cluster = await system.spawn(actors.cluster(uplink));
  const connectivity = await system.spawn(actors.connectivity(vpp, uplink, cluster));
  if (actors.services !== undefined) await system.spawn(actors.services(vpp, uplink, cluster));
  if (actors.bgp !== undefined) {
    const gobgpd = system.ref<BgpProcessMessage>(`${system.root.path}/bgp/bgp-process`);
    const session = actors.bgp.session(gobgpd, uplink, cluster, connectivity);
    await system.spawn(group('bgp', bgp_supervision, [actors.bgp.process, session]));
  }
  // Behind bgp, which has nothing of it: who loses Felix's stream has no peer of the node withdraw its routes.
  if (actors.felix !== undefined) await system.spawn(actors.felix);
  if (actors.policies !== undefined) {
    const felix = system.ref<FelixActorMessage>(`${system.root.path}/felix`);
    await system.spawn(actors.policies(vpp, uplink, felix));
  }
  const cni = await system.spawn(actors.cni(vpp, uplink));
  return { process, vpp, uplink, cluster, connectivity, cni };
}

/** A supervisor and nothing else: it starts its children in order and takes no messages. */
function group(
  name: string,
  supervision: Supervision,
  children: readonly ChildSpec<never>[],
): ChildSpec<never> {
  return {
    name,
    supervision,
    restart: 'permanent',
    shutdown_ms: 1000,
    mailbox_max: 1,
    handler_ms_max: 1000,
    async start(ctx) {
      for (const child of children) await ctx.spawn(child);
      return { receive: () => undefined };
    },
  };
}
