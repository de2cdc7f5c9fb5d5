/** Networks beside the default one, as the Kubernetes API has them: who programs their tables is told which there are, and people what is wrong with the others. */
import { isDeepStrictEqual } from 'node:util';
import type { Learner } from '../actors/cluster.js';
import type { FelixConfiguration } from '../calico/kinds/felix-configuration.js';
import type { Network } from '../calico/kinds/network.js';
import type { NetworkAttachmentDefinition } from '../calico/kinds/network-attachment-definition.js';
import { type UsableNetworks, usableNetworks } from '../desired/networks.js';
import { tunnel_settings_default } from '../desired/remote-route.js';
import { learner } from './learner.js';

export interface NetworksOptions {
  readonly node_name: string;
  /** Of the uplinks. */
  readonly physical_networks: ReadonlySet<string>;
  readonly tell: (networks: UsableNetworks['networks']) => void;
}

/** Faults that are shown. */
const shown_max = 100;

export class KnownNetworks {
  #networks: ReadonlyMap<string, Network> | undefined;
  #attachments: ReadonlyMap<string, NetworkAttachmentDefinition> | undefined;
  #vxlan_vni: number | undefined;
  #usable: UsableNetworks | undefined;

  constructor(private readonly options: NetworksOptions) {}

  /** Of this incarnation of the cluster actor: what one before has told holds until all is told again. */
  learners(): readonly Learner[] {
    const known = new KnownNetworks(this.options);
    const learn = (): void => {
      // Told at least once by each: who programs them may have begun anew, too.
      known.#tell();
      this.#usable = known.#usable ?? this.#usable;
    };
    return [
      learner<Network>('Network', (all) => {
        known.#networks = all;
        learn();
      }),
      learner<NetworkAttachmentDefinition>('NetworkAttachmentDefinition', (all) => {
        known.#attachments = all;
        learn();
      }),
      learner<FelixConfiguration>('FelixConfiguration', (all) => {
        known.#vxlan_vni = vxlanVni(this.options.node_name, all);
        learn();
      }),
    ];
  }

  /** Nobody will tell of any. */
  none(): void {
    this.#networks = new Map();
    this.#attachments = new Map();
    this.#vxlan_vni = tunnel_settings_default.vxlan_vni;
    this.#tell();
  }

  /** By object, what is wrong with it and what to do. Bounded. */
  faults(): Readonly<Record<string, string>> {
    return Object.fromEntries(Object.entries(this.#usable?.faults ?? {}).slice(0, shown_max));
  }

  #tell(): void {
    const before = this.#usable;
    const networks = this.#networks;
    const attachments = this.#attachments;
    const vxlan_vni = this.#vxlan_vni;
    if (networks === undefined || attachments === undefined || vxlan_vni === undefined) return;
    const { physical_networks, tell } = this.options;
    this.#usable = usableNetworks({ networks, attachments, physical_networks, vxlan_vni });
    if (!isDeepStrictEqual(before?.networks, this.#usable.networks)) tell(this.#usable.networks);
  }
}

/** What is said of this node alone comes before what is said of all. */
function vxlanVni(node_name: string, all: ReadonlyMap<string, FelixConfiguration>): number {
  return (
    all.get(`node.${node_name}`)?.vxlan_vni ??
    all.get('default')?.vxlan_vni ??
    tunnel_settings_default.vxlan_vni
  );
}
