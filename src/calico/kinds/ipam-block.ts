import { addressBits, formatAddress, parsePrefix } from '../../ip/text.js';
import { type Fields, isRecord } from '../fields.js';
import { deletion, expected_deletion } from './block-affinity.js';
import { calico_versions, type Kind, pickFields, present } from './kind.js';

/** An address of a block that another node than the block's uses. */
export interface BorrowedAddress {
  readonly address: string;
  readonly node: string;
}

/** Of the addresses of a block only those are kept that need a route of their own. */
export interface IpamBlock {
  readonly prefix: string;
  /** The node whose block it is. */
  readonly node?: string;
  readonly borrowed: readonly BorrowedAddress[];
  readonly deleted: boolean;
}

/** Address number `index` of the prefix. Index below 2^32; undefined when the prefix has no so many. */
function addressAt(prefix: string, index: number): string | undefined {
  const { bytes, family, length } = parsePrefix(prefix);
  if (index >= 2 ** (addressBits(family) - length)) return undefined;
  const address = Buffer.from(bytes);
  const low = address.length - 4;
  // A block is aligned: no bit of its last 32 that an index sets is taken.
  address.writeUInt32BE((address.readUInt32BE(low) | index) >>> 0, low);
  return formatAddress(address);
}

/** The node that each entry of `attributes` names; an entry without one is no pod's. */
function nodesOf(spec: Fields): readonly (string | undefined)[] {
  return spec
    .plain('attributes', 'an object', (value) =>
      isRecord(value) ? { node: isRecord(value.secondary) ? value.secondary.node : undefined } : undefined,
    )
    .map(({ node }) => (typeof node === 'string' && node !== '' ? node : undefined));
}

function borrowed(spec: Fields, prefix: string, owner: string | undefined): readonly BorrowedAddress[] {
  const nodes = nodesOf(spec);
  const indexes = spec.plain('allocations', 'a number or null', (value) =>
    value === null ? -1 : Number.isInteger(value) ? (value as number) : undefined,
  );
  return indexes.flatMap((attribute, index) => {
    const node = nodes[attribute];
    if (node === undefined || node === owner) return [];
    const address = addressAt(prefix, index);
    return address === undefined ? [] : { address, node };
  });
}

export const ipam_block_kind: Kind<IpamBlock> = {
  name: 'IPAMBlock',
  plural: 'ipamblocks',
  versions: calico_versions,
  absence: 'wait',
  // One with 64 addresses in use has 10 to 20 kB.
  page: 100,
  objects_max: 200_000,
  pick: (_name, object) =>
    pickFields(object, (fields, faults) => {
      const spec = fields.object('spec');
      const prefix = spec.prefix('cidr');
      if (prefix === undefined) return spec.fault('cidr', 'is missing: the block has no addresses');
      const affinity = spec.text('affinity');
      const node = affinity?.startsWith('host:') ? affinity.slice('host:'.length) : undefined;
      const block = present<IpamBlock>({
        prefix,
        node,
        borrowed: borrowed(spec, prefix, node),
        deleted: spec.read('deleted', expected_deletion, deletion) ?? false,
      });
      // An index that is wrong moves the addresses of others.
      return faults.concern('spec') ? undefined : block;
    }),
};
