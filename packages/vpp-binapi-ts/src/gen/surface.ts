/** What the definitions do not say, or say in another way than a program wants it: the tables behind the typed surface. */

/** Types that are text at the surface: bytes on the wire, the definition this holds for, and the functions of address.ts. */
export interface TextType {
  readonly size: number;
  readonly definition: string;
  /** `write_<codec>` and `read_<codec>` */
  readonly codec: string;
}

export const text_types: Readonly<Record<string, TextType>> = {
  ip4_address: { size: 4, definition: 'u8[4]', codec: 'ip4_address' },
  ip6_address: { size: 16, definition: 'u8[16]', codec: 'ip6_address' },
  mac_address: { size: 6, definition: 'u8[6]', codec: 'mac_address' },
  address: { size: 17, definition: 'address_family af, address_union un', codec: 'address' },
  prefix: { size: 18, definition: 'address address, u8 len', codec: 'prefix' },
  ip4_prefix: { size: 5, definition: 'ip4_address address, u8 len', codec: 'ip4_prefix' },
  ip6_prefix: { size: 17, definition: 'ip6_address address, u8 len', codec: 'ip6_prefix' },
  address_with_prefix: { size: 18, definition: 'prefix', codec: 'prefix' },
  ip4_address_with_prefix: { size: 5, definition: 'ip4_prefix', codec: 'ip4_prefix' },
  ip6_address_with_prefix: { size: 17, definition: 'ip6_prefix', codec: 'ip6_prefix' },
};

/** The union of an IPv4 and an IPv6 address, which is text wherever a discriminator is known. */
export const address_union = 'address_union';

/** The field that tells the family of a bare address_union, by the type that holds it. */
export const address_union_discriminators: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  mprefix: { grp_address: 'af', src_address: 'af' },
  fib_path_nh: { address: 'proto' },
};

/** Types whose discriminator stands in the type around them, and of which type it is. */
export const outer_discriminators: Readonly<
  Record<string, { readonly field: string; readonly type: string }>
> = {
  fib_path_nh: { field: 'proto', type: 'fib_path_nh_proto' },
};

/** The values of a discriminator that mean IPv4 and IPv6. */
export const family_values: Readonly<Record<string, { readonly ip4: string; readonly ip6: string }>> = {
  address_family: { ip4: 'ADDRESS_IP4', ip6: 'ADDRESS_IP6' },
  fib_path_nh_proto: { ip4: 'FIB_API_PATH_NH_PROTO_IP4', ip6: 'FIB_API_PATH_NH_PROTO_IP6' },
};

/** Discriminator values that share an arm with the one the definition names: an npol set of either kind is meant by its id. */
export const extra_cases: Readonly<Record<string, Readonly<Record<string, readonly string[]>>>> = {
  npol_entry_data: { set_id: ['NPOL_IP_SET'] },
};

/** Arrays of fixed length of which another field tells how many are in use: at the surface, just those. */
export const filled_arrays: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  fib_path: { label_stack: 'n_labels' },
  srv6_sid_list: { sids: 'num_sids' },
  srv6_sid_list_with_sl_index: { sids: 'num_sids' },
  key: { data: 'length' },
};

/** Enums that are sets of bits though neither `enumflag` nor a name ending in `_flags` says so. */
const bit_sets: ReadonlySet<string> = new Set([
  'virtio_net_features_first_32',
  'virtio_net_features_last_32',
]);

export function is_bit_set(name: string, flag: boolean): boolean {
  return flag || name.endsWith('_flags') || bit_sets.has(name);
}

/** Arrays up to this length are tuples. */
export const tuple_length_max = 4;
