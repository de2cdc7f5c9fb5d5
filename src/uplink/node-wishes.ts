/** What VPP is to hold of the node: by its configuration, what was told of the cluster, what routers have said, and what this VPP was given before. */
import type { Clock } from '../clock.js';
import type { ClusterPrefixes, Speakers } from '../desired/host-tap.js';
import { type NodeInputs, type Uplink, uplinkTag } from '../desired/node-inputs.js';
import {
  isKnown,
  type NeverNatted,
  neverNatted,
  type PodPools,
  type UplinkEntry,
} from '../desired/source-nat.js';
import { desiredNode, nodeUplinkEntry } from '../desired/uplink.js';
import { ownAddresses } from '../desired/uplink-addresses.js';
import type { VppObject } from '../objects/object.js';
import type { CapturedUplink } from './captured.js';
import { speakersOf } from './dressing.js';
import { NetworksInVpp } from './networks-in-vpp.js';
import { entryIn } from './node-in-vpp.js';
import type { Taken } from './taken.js';
import { uplinkOf } from './uplink-of.js';

export class NodeWishes {
  /** Undefined until they are known. */
  pods: PodPools | undefined;
  /** Of ServiceCIDRs; likewise. */
  services: readonly string[] | undefined;
  /** What VPP tells the host of what routers say, by uplink. */
  repeated: NonNullable<NodeInputs['repeated']> = new Map();
  /** Of pods and nodes, as VPP has been told: until they are known, by an earlier life. */
  not_natted: NeverNatted | undefined;
  /** The entry for uplinks of this VPP's source NAT. */
  uplink_entry: UplinkEntry | undefined;

  readonly networks: NetworksInVpp;

  constructor(
    private readonly inputs: Omit<NodeInputs, 'uplinks'>,
    clock: Clock,
  ) {
    this.networks = new NetworksInVpp(clock);
  }

  /** `network_vnis`: of which networks. Where VPP holds what it was told, those that stay as they are can be left out of both sides. */
  objects(
    uplinks: readonly Uplink[],
    taps_up: boolean,
    uplinks_up = true,
    network_vnis = this.networks.vnis,
  ): VppObject[] {
    const { inputs, repeated, not_natted, uplink_entry } = this;
    return desiredNode(
      {
        ...inputs,
        uplinks,
        repeated,
        uplink_entry,
        network_vnis,
        ...(not_natted !== undefined && { not_natted }),
      },
      taps_up,
      uplinks_up,
    );
  }

  taken(captured: readonly CapturedUplink[]): Taken {
    const { gso } = this.inputs;
    return {
      captured,
      uplinks: captured.map((each) => uplinkOf(each, gso, uplinkTag(each.link.name))),
      uplink_entry: this.uplink_entry,
    };
  }

  /** That of this VPP, if it has its source NAT already; else the one that it is to have. */
  entryFor(kept: readonly VppObject[], uplinks: readonly Uplink[]): UplinkEntry | undefined {
    if (kept.some(({ kind }) => kind === 'snat_addresses')) return entryIn(kept);
    return nodeUplinkEntry({ ...this.inputs, uplinks });
  }

  /** Undefined while pods and nodes are not known. While the blocks are not, what VPP was told of uplinks holds: it was told by these. */
  neverNatted(uplinks: readonly Uplink[]): NeverNatted | undefined {
    if (!isKnown(this.pods)) return undefined;
    const now = neverNatted(this.pods, ownAddresses({ uplinks }), this.inputs.does_ike);
    return this.pods.own === undefined && this.not_natted !== undefined
      ? { ...now, uplinks: this.not_natted.uplinks }
      : now;
  }

  cluster(): ClusterPrefixes {
    const { service_prefixes, tap_address } = this.inputs;
    const { pods, services } = this;
    return { prefixes: service_prefixes, tap_address, ...(pods && { pods }), ...(services && { services }) };
  }

  speakers(): Speakers {
    return speakersOf(this.repeated);
  }

  /** Routers have not been heard behind it: VPP says nothing on its tap, and what is lost there does not come again by itself. */
  readonly isDeaf = ({ link }: CapturedUplink): boolean => !this.repeated.has(link.name);

  marked(captured: readonly CapturedUplink[]): CapturedUplink[] {
    return captured.map((uplink) => (this.isDeaf(uplink) ? uplink : { ...uplink, heard: true }));
  }
}
