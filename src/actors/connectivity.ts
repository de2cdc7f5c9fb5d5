/**
 * Leads pods to pods of other nodes: from routes, which BGP or Calico's IPAM tells, pools and the own node to routes and tunnels in VPP.
 * State is what was told; what follows from a change is planned and sent in pieces, a moment later, so that a burst is one change.
 */
import type { Actor, ActorContext, ActorRef, ChildSpec } from '../actor-system.js';
import type { Timer } from '../clock.js';
import { Connectivity } from '../desired/connectivity.js';
import { IpamRoutes } from '../desired/ipam-routes.js';
import { type LocalPrefix, LocalPrefixes, localPrefixKinds } from '../desired/local-prefixes.js';
import { isNetworkRouteKey, NetworkRoutes } from '../desired/network-routes.js';
import { NodeAddresses } from '../desired/node-addresses.js';
import type { Drop } from '../desired/remote-entry.js';
import { Outlook, type TunnelSettings } from '../desired/remote-route.js';
import { isSrPolicyKey } from '../desired/sr-policy.js';
import type { Srv6Pools } from '../desired/srv6.js';
import type { AnyChange, ClusterMessage, KindName } from '../messages/cluster.js';
import type { ConnectivityMessage, RemoteRoutes } from '../messages/connectivity.js';
import type { InPlace, NodeReady, SubscribeEarly, SubscribeNode } from '../messages/node.js';
import type { VppConnectionMessage } from '../messages/vpp.js';
import { wireguard_tag } from '../objects/wireguard.js';
import {
  type ConnectivityReport,
  connectivityReport,
  faultyCount,
  type ReportParts,
} from '../routes/connectivity-report.js';
import { Encryption, type EncryptionParts } from '../routes/encryption.js';
import { IkeTunnels, type IpsecParts } from '../routes/ike-tunnels.js';
import { OwnSidsTold } from '../routes/own-sids.js';
import { PeerLooks } from '../routes/peer-looks.js';
import { PoolGuard, type PoolsFile } from '../routes/pool-guard.js';
import { RemoteSource } from '../routes/remote-source.js';
import { type Policed, RouteWriter, type RouteWriterSettings } from '../routes/route-writer.js';
import { ToldNodes } from '../routes/told-nodes.js';
import { Inputs } from '../writer/inputs.js';
import { inPieces, Turns } from '../writer/turns.js';

export interface ConnectivityDeps {
  readonly vpp: ActorRef<VppConnectionMessage>;
  readonly uplink: ActorRef<SubscribeNode | SubscribeEarly | InPlace>;
  readonly cluster: ActorRef<ClusterMessage>;
  /** Shared with who enforces policies; absent: nobody does. */
  readonly policed?: Policed;
  readonly wireguard: Omit<EncryptionParts, 'node_name' | 'required'>;
  /** Absent: IPsec is off. */
  readonly ipsec?: IpsecParts;
  readonly pools_file: PoolsFile;
  /** What pods and the host send is encrypted: who sends it computes the checksums. Told at each look, harmless if it was told before. */
  readonly checksums: (in_software: boolean) => void;
  /** Told once in each life how to ask for the report of it. */
  readonly report: (ask: () => ConnectivityReport) => void;
}

export interface ConnectivitySettings {
  readonly node_name: string;
  /** Who tells where prefixes are: the bgp actor, or what IPAM has written down. */
  readonly route_source: 'bgp' | 'ipam';
  /** Segments larger than a packet go through tunnels. */
  readonly gso: boolean;
  /** What pods send to pods of other nodes is encrypted, or is not sent. */
  readonly encryption_required: boolean;
  /** Absent: no SRv6. */
  readonly srv6?: Srv6Pools;
  /** There are networks beside the default one. */
  readonly networks?: true;
  /** From the first of a burst of changes to what follows from it. */
  readonly coalesce_ms: number;
  readonly writer: RouteWriterSettings;
}

/** Without these, all told, nothing is known of any route: whether it goes by a tunnel, and by which. */
const needed: readonly KindName[] = ['IPPool', 'FelixConfiguration', 'Node'];
/** Whether anything is encrypted follows from these. */
const told_of_encryption: readonly KindName[] = ['FelixConfiguration', 'Node'];
/** And what is dropped before anything is. */
const told_of_drops: readonly KindName[] = ['IPPool', 'Node'];
/** Nor without these, where IPAM tells the routes. */
const needed_of_ipam: readonly KindName[] = [...needed, 'BlockAffinity', 'IPAMBlock'];

/** Prefixes that are taken in in one turn of the event loop. */
const told_piece = 256;
/** Prefixes that are planned before the clock is looked at. */
const piece = 64;
/** Likewise, peers of WireGuard's. */
const peers_piece = 8;
/** From a change of a peer's prefixes to the peer that has them: a peer that is changed loses its session for a moment, and more may come. */
const fuller_ms = 250;
/** From a route's going another way than by a peer to the peer that is sent it no more: by then routes have moved at both ends (`answer_ms`, `linger_ms`). */
const narrower_ms = 45_000;

export function connectivityActor(
  deps: ConnectivityDeps,
  settings: ConnectivitySettings,
): ChildSpec<ConnectivityMessage> {
  return {
    name: 'connectivity',
    restart: 'permanent',
    shutdown_ms: 1000,
    mailbox_max: 1024,
    handler_ms_max: 10_000,
    start: (ctx) => new ConnectivityActor(ctx, deps, settings),
  };
}

function dropOf(local: LocalPrefix | undefined): Drop | undefined {
  if (local?.dropped !== true) return undefined;
  return { source: local.source === 'service' ? 'service' : 'block', by: local.by };
}

class ConnectivityActor implements Actor<ConnectivityMessage> {
  private readonly plan = new Connectivity();
  private readonly networks = new NetworkRoutes();
  private readonly writer: RouteWriter;
  private readonly is_policed: boolean;
  private readonly ipam: IpamRoutes | undefined;
  private readonly local: LocalPrefixes;
  private readonly nodes = new NodeAddresses();
  private readonly bgp: RemoteSource;
  /** When what waits in it is looked at. */
  private source_due_ms: number | undefined;
  private readonly needed: readonly KindName[];
  private readonly inputs: Inputs;
  private readonly turns: Turns;
  private readonly told: ToldNodes;
  private readonly parts: ReportParts;
  private readonly encryption: Encryption;
  private readonly ike: IkeTunnels;
  private readonly looks: PeerLooks;
  private readonly guard: PoolGuard;
  private fuller: Timer | undefined;
  private narrower: Timer | undefined;
  private readonly sids: OwnSidsTold;

  constructor(
    private readonly ctx: ActorContext<ConnectivityMessage>,
    private readonly deps: ConnectivityDeps,
    private readonly settings: ConnectivitySettings,
  ) {
    const { node_name, route_source } = settings;
    const is_bgp = route_source === 'bgp';
    this.is_policed = deps.policed !== undefined;
    this.writer = new RouteWriter(
      ctx,
      deps.vpp,
      settings.writer,
      {
        tunnel: (tunnel, refused) => {
          if (this.plan.setRefused(tunnel, refused)) this.turns.news();
          if (tunnel.kind !== 'wireguard_interface' || !this.encryption.setRefused(refused)) return;
          this.look();
          this.turns.news();
        },
        policy: (bsid, error, taken) => {
          if (taken) this.plan.setPolicyRefused(bsid);
          else this.plan.givePolicyUp(bsid, error.message);
          this.turns.news();
        },
        renounced: () => this.plan.forgetPolicyRefusals(),
      },
      deps.policed,
    );
    this.bgp = new RemoteSource(
      {
        prefixes: () => [
          ...this.plan.remotePrefixes(),
          ...this.plan.policies.keys(),
          ...this.networks.keys(),
        ],
        nextHops: (prefix) => {
          if (isNetworkRouteKey(prefix)) return this.networks.nextHops(prefix);
          return isSrPolicyKey(prefix) ? [this.plan.policies.told(prefix)!] : this.plan.nextHops(prefix);
        },
        set: (prefix, next_hops) => {
          // Of what several say otherwise the first counts.
          if (isNetworkRouteKey(prefix)) this.networks.setRoute(prefix, next_hops);
          else if (isSrPolicyKey(prefix)) this.plan.setPolicy(prefix, next_hops[0]);
          else this.plan.setRoute(prefix, next_hops);
        },
      },
      settings.writer.narrow_ms,
    );
    this.ipam = is_bgp ? undefined : new IpamRoutes(node_name);
    this.local = new LocalPrefixes({ node_name, services: is_bgp });
    this.needed = is_bgp ? needed : needed_of_ipam;
    this.encryption = new Encryption({
      ...deps.wireguard,
      node_name,
      required: settings.encryption_required,
    });
    this.ike = new IkeTunnels(deps.ipsec);
    this.writer.encrypts_only = settings.encryption_required;
    this.sids = new OwnSidsTold({
      node_name,
      pools: settings.srv6,
      has_bgp: is_bgp,
      encryption_required: settings.encryption_required,
      drop: (prefix, drop) => this.plan.setDropped(prefix, drop),
    });
    this.turns = new Turns(ctx, settings.coalesce_ms);
    const { plan, networks, nodes, ipam, sids, writer, encryption, ike } = this;
    const told = { node_name, plan, nodes, ipam, sids, encryption, ike };
    this.told = new ToldNodes({ ...told, look: () => this.look() });
    this.parts = {
      ...told,
      clock: ctx.clock,
      networks,
      writer,
      felix: () => this.told.felix(),
      unsynced: () => this.unsynced(),
    };
    const hasKeys = (): void => {
      this.look();
      this.turns.news();
    };
    this.guard = new PoolGuard({
      ctx,
      vpp: deps.vpp,
      uplink: deps.uplink,
      file: deps.pools_file,
      drops: () => (this.inputs.unsynced(told_of_drops).length > 0 ? undefined : [...plan.poolDrops()]),
    });
    this.looks = new PeerLooks({ ctx, vpp: deps.vpp, plan, writer, encryption, ike, hasKeys });
    const kinds = [...new Set([...this.needed, ...localPrefixKinds({ services: is_bgp })])];
    this.inputs = new Inputs(ctx, deps, kinds);
    const type = settings.encryption_required ? 'SubscribeEarly' : 'SubscribeNode';
    deps.uplink.tell({ type, subscriber: ctx.self });
    deps.report(() => connectivityReport(this.parts));
  }

  receive(message: ConnectivityMessage): void | Promise<void> {
    switch (message.type) {
      case 'NodeReady':
        return this.nodeReady(message);
      case 'NodePrepared':
        return this.guard.prepared(message);
      case 'UplinksMade':
        return;
      case 'NodeLost':
        this.guard.over();
        if (this.inputs.nodeLost(message.generation)) this.writer.lost();
        return;
      case 'ClusterChange':
        this.clusterChange(message.change);
        message.reply.resolve();
        if (this.settings.encryption_required) this.guard.news();
        return this.turns.news();
      case 'RemoteRoutes':
        return this.remoteRoutes(message);
      case 'FelixKeysTold':
        this.told.takeKeys(message);
        return this.turns.news();
      case 'SubscribeSids':
        this.sids.subscribe(message.subscriber);
        return this.turns.news();
      case 'Work':
        this.turns.heard();
        return this.work();
      case 'Due':
        this.bgp.due(this.ctx.clock.now_ms());
        this.writer.due();
        return this.work();
      case 'LookAtPeers':
        return this.looks.look();
      case 'PeersSeen':
        this.looks.peersSeen(message.states);
        return this.work();
      case 'TunnelsSeen':
        this.looks.tunnelsSeen(message.states);
        return this.work();
      case 'PeersFuller':
        this.fuller = inPieces(this.ctx.clock, () => this.plan.planPeers(peers_piece, this.writer))
          ? undefined
          : this.ctx.after(0, { type: 'PeersFuller' });
        return this.work();
      case 'PeersNarrower':
        this.narrower = undefined;
        this.plan.releasePeers();
        return this.work();
      case 'Read':
      case 'Transacted':
      case 'Retry':
        this.writer.hear(message);
        return this.work();
    }
  }

  stop(): void {
    this.encryption.stop();
  }

  gauges() {
    const { routes, tunnels } = this.plan.counts;
    const { desired, in_vpp, waiting, refused } = this.writer.gauges();
    return { routes, tunnels, desired, in_vpp, waiting, refused, faulty: faultyCount(this.parts) };
  }

  describe() {
    return {
      generation: this.writer.generation,
      ...this.plan.counts,
      writer: this.writer.gauges(),
      ...connectivityReport(this.parts),
    };
  }

  // --- what is told

  private nodeReady(ready: NodeReady): void {
    if (!this.inputs.nodeReady(ready)) return;
    this.guard.over();
    this.look();
    if (this.writer.generation !== ready.generation) {
      this.ike.forget();
      this.writer.begin(ready);
    }
    this.turns.news();
  }

  /** With what has become of the own node and of the tunnels' settings, everything may go another way. */
  private look(): void {
    if (this.inputs.node === undefined) return;
    const { node, subnets, main_uplink, mtu } = this.inputs.node;
    const settings = this.tunnelSettings();
    // Before any route leads into it; and nothing is taken for told that an API server has not said yet: an earlier life may have encrypted.
    if (settings.srv6 !== undefined) this.deps.checksums(true);
    else if (this.inputs.unsynced(told_of_encryption).length === 0)
      this.deps.checksums(this.encryption.is_used);
    this.plan.setOutlook(new Outlook({ node, subnets, main_uplink, mtu }, settings));
    this.networks.setNetworks(this.inputs.node.networks);
    const { vxlan_port, vxlan_mtu, vxlan_mtu6, gso, policed = false, encryption_required = false } = settings;
    this.networks.setSettings({ vxlan_port, vxlan_mtu, vxlan_mtu6, gso, policed, encryption_required });
  }

  private tunnelSettings(): TunnelSettings {
    const { gso, encryption_required } = this.settings;
    return {
      ...this.told.tunnelSettings(),
      gso,
      policed: this.is_policed,
      ...(encryption_required && { encryption_required }),
      ...this.sids.settings(this.inputs.node?.node.ip6),
    };
  }

  private clusterChange(change: AnyChange): void {
    const is_first = change.synced && this.inputs.unsynced([change.kind]).length > 0;
    this.inputs.clusterChange(change);
    this.local.take(change);
    this.told.take(change, is_first);
  }

  private async remoteRoutes(message: RemoteRoutes): Promise<void> {
    const { clock } = this.ctx;
    if (this.ipam === undefined) {
      const pieces = this.bgp.take(message, told_piece, clock.now_ms());
      for (const _ of pieces) await new Promise<void>((resolve) => clock.afterPoll(resolve));
      this.wakeSource();
    }
    message.reply.resolve();
    this.turns.news();
  }

  /** A life of the source has one such time. */
  private wakeSource(): void {
    const { due_ms } = this.bgp;
    if (due_ms === undefined || due_ms === this.source_due_ms) return;
    this.source_due_ms = due_ms;
    this.ctx.after(due_ms - this.ctx.clock.now_ms(), { type: 'Due' });
  }

  // --- what follows

  /** A piece of the work, if there is any. */
  private work(): void {
    const { plan, writer, inputs, turns } = this;
    turns.begun();
    let is_done = true;
    let is_planned = false;
    if (inputs.unsynced(this.needed).length === 0 && inputs.node !== undefined) {
      for (const [prefix, next_hop] of this.ipam?.changes() ?? []) {
        plan.setRoute(prefix, next_hop === undefined ? [] : [next_hop]);
        if (this.settings.networks === true) this.networks.setBlock(prefix, next_hop);
      }
      for (const [prefix, local] of this.local.changes()) plan.setDropped(prefix, dropOf(local));
      is_done = inPieces(this.ctx.clock, () => plan.plan(piece, writer) && this.networks.plan(piece, writer));
      is_planned = is_done;
      this.encryption.publish(writer.isUp(wireguard_tag));
      this.sids.tell((object) => writer.has(object));
      if (plan.peers_wait) this.fuller ??= this.ctx.after(fuller_ms, { type: 'PeersFuller' });
      if (plan.peers_hold) this.narrower ??= this.ctx.after(narrower_ms, { type: 'PeersNarrower' });
      writer.allTold(is_done && this.unsynced().length === 0);
    }
    is_done = writer.step() && is_done;
    if (is_planned && this.settings.encryption_required)
      is_done = !writer.dropKept((prefix) => plan.isOfPool(prefix)) && is_done;
    this.looks.later();
    if (!is_done) turns.next();
  }

  /** What has not told all that there is yet: until then nothing goes that an earlier life has left. */
  private unsynced(): readonly string[] {
    const lacks_networks = this.settings.networks === true && this.inputs.node?.networks === undefined;
    const kinds = [...this.inputs.unsynced(), ...(lacks_networks ? ['Network'] : [])];
    return this.ipam === undefined && !this.bgp.synced ? [...kinds, 'BGP'] : kinds;
  }
}
