import { calico_versions, type Kind, pickFields, present } from './kind.js';

const modes = ['Never', 'CrossSubnet', 'Always'] as const;
export type EncapsulationMode = (typeof modes)[number];

const uses = ['Workload', 'Tunnel', 'LoadBalancer'] as const;

export interface IpPool {
  readonly name: string;
  readonly prefix: string;
  readonly ipip: EncapsulationMode;
  readonly vxlan: EncapsulationMode;
  /** What pods of it send out of the pools gets the node's address. */
  readonly nat_outgoing: boolean;
  /** No new addresses; what is in use stays. */
  readonly disabled: boolean;
  /** Not to be announced. */
  readonly disable_bgp_export: boolean;
  /** Prefix length of its blocks. */
  readonly block_size?: number;
  readonly allowed_uses: readonly (typeof uses)[number][];
  /** How its packets go cannot be read: no route goes by it, and it says no more than what is not to be announced. */
  readonly faulty?: true;
}

export const ip_pool_kind: Kind<IpPool> = {
  name: 'IPPool',
  plural: 'ippools',
  versions: calico_versions,
  absence: 'wait',
  page: 500,
  objects_max: 10_000,
  pick: (name, object) =>
    pickFields(object, (fields, faults) => {
      const spec = fields.object('spec');
      const prefix = spec.prefix('cidr');
      const ipip = spec.word('ipipMode', modes) ?? 'Never';
      const vxlan = spec.word('vxlanMode', modes) ?? 'Never';
      if (prefix === undefined) spec.fault('cidr', 'is missing: the pool has no addresses');
      if (ipip !== 'Never' && vxlan !== 'Never')
        spec.fault('vxlanMode', 'excludes ipipMode: set one of them to Never');
      if (prefix === undefined) return undefined;
      const disable_bgp_export = spec.flag('disableBGPExport') ?? false;
      // Packets without the encapsulation that was meant may be lost, or seen.
      const faulty = faults.concern('spec.ipipMode') || faults.concern('spec.vxlanMode');
      return present<IpPool>({
        name,
        prefix,
        ipip,
        vxlan,
        nat_outgoing: spec.flag('natOutgoing') ?? false,
        disabled: spec.flag('disabled') ?? false,
        // What cannot be read may forbid it.
        disable_bgp_export: disable_bgp_export || faults.concern('spec.disableBGPExport'),
        block_size: spec.whole('blockSize', 20, 128),
        allowed_uses: spec.plain('allowedUses', `one of ${uses.join(', ')}`, (value) =>
          uses.find((use) => use === value),
        ),
        faulty: faulty || undefined,
      });
    }),
};
