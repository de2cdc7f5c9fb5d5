import { calico_versions, type Kind, pickFields } from './kind.js';

/** A block of addresses is, or is to become, a node's own. */
export interface BlockAffinity {
  readonly prefix: string;
  /** A node (`host`), or a name that belongs to none. */
  readonly node: string;
  readonly type: 'host' | 'virtual';
  /** The only state in which the block is the node's. */
  readonly confirmed: boolean;
  readonly deleted: boolean;
}

/** The older API has a text where the newer one has a flag. */
export const deletion = (value: unknown): boolean | undefined =>
  typeof value === 'boolean' ? value : { true: true, false: false, '': false }[String(value)];

export const expected_deletion = 'true or false';

export const block_affinity_kind: Kind<BlockAffinity> = {
  name: 'BlockAffinity',
  plural: 'blockaffinities',
  versions: calico_versions,
  absence: 'wait',
  page: 500,
  objects_max: 200_000,
  pick: (_name, object) =>
    pickFields(object, (fields, faults) => {
      const spec = fields.object('spec');
      const prefix = spec.prefix('cidr');
      const node = spec.text('node');
      const type = spec.word('type', ['host', 'virtual']) ?? 'host';
      const state = spec.word('state', ['confirmed', 'pending', 'pendingDeletion']);
      const deleted = spec.read('deleted', expected_deletion, deletion) ?? false;
      if (prefix === undefined) return spec.fault('cidr', 'is missing: the block has no addresses');
      if (node === undefined) return spec.fault('node', 'is missing: the block is nobody’s');
      if (faults.concern('spec')) return undefined;
      return { prefix, node, type, confirmed: state === 'confirmed', deleted };
    }),
};
