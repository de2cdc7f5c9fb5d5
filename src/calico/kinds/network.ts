import { type Kind, pickFields, present, time_ms } from './kind.js';

/** A network that pods have a second interface in, beside the default one. */
export interface Network {
  readonly name: string;
  /** Tells it from others between nodes. */
  readonly vni: number;
  /** What pods of it reach by their interface in it. Absent: what the routes of the interface say. */
  readonly range?: string;
  /** Of the uplinks that its packets go by; empty: that of the node itself. */
  readonly physical_network: string;
  /** Of two that exclude each other the older one holds. Milliseconds since 1970. */
  readonly created_ms?: number;
}

/** VXLAN has 24 bits for it. */
export const vni_max = 2 ** 24 - 1;

export const network_kind: Kind<Network> = {
  name: 'Network',
  plural: 'networks',
  versions: ['projectcalico.org/v3'],
  absence: 'empty',
  page: 500,
  objects_max: 10_000,
  pick: (name, object) =>
    pickFields(object, (fields, faults) => {
      const spec = fields.object('spec');
      const created_ms = time_ms(fields.object('metadata').raw('creationTimestamp'));
      const vni = spec.whole('vni', 1, vni_max);
      const range = spec.prefix('range');
      const physical_network = spec.text('physicalNetworkName') ?? '';
      if (vni === undefined && !faults.concern('spec.vni'))
        spec.fault('vni', 'is missing: other nodes would not know the network by anything');
      // Without what was meant its pods would reach others, or not be separated.
      if (vni === undefined || faults.concern('spec.range') || faults.concern('spec.physicalNetworkName'))
        return undefined;
      return present<Network>({ name, vni, range, physical_network, created_ms });
    }),
};
