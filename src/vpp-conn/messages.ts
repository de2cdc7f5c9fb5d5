/** The messages that this product sends: what a VPP has to know. Compared with its message table at each connect. */
import type { Message } from 'vpp-binapi-ts';
import { messages as all } from 'vpp-binapi-ts/all';

const names: ReadonlySet<string> = new Set([
  ...[
    'add_del_ip_punt_redirect_v2',
    'af_packet_create_v3',
    'af_packet_delete',
    'af_packet_dump',
    'af_xdp_create_v3',
    'af_xdp_delete',
  ],
  ...[
    'classify_add_del_table',
    'classify_session_dump',
    'classify_table_by_interface',
    'classify_table_ids',
    'classify_table_info',
  ],
  ...['cli_inband', 'cnat_set_snat_addresses_v2', 'cnat_set_snat_policy', 'cnat_snat_addresses_dump'],
  ...[
    'cnat_snat_policy_add_del_exclude_pfx',
    'cnat_snat_policy_add_del_if',
    'cnat_translation_del',
    'cnat_translation_dump',
  ],
  ...[
    'cnat_translation_update',
    'control_ping',
    'feature_cnat_enable_disable',
    'feature_gso_enable_disable',
    'feature_is_enabled',
  ],
  ...[
    'input_acl_set_interface',
    'ip_address_dump',
    'ip_mroute_add_del',
    'ip_mroute_dump',
    'ip_neighbor_add_del',
  ],
  ...[
    'ip_neighbor_config',
    'ip_neighbor_config_get',
    'ip_neighbor_dump',
    'ip_punt_redirect_v2_dump',
    'ip_route_add_del',
  ],
  ...[
    'ip_route_v2_dump',
    'ip_session_redirect_add_v2',
    'ip_session_redirect_del',
    'ip_table_add_del_v2',
    'ip_table_dump',
  ],
  ...[
    'ip_ttl_fixup_configure',
    'proxy_arp_add_del',
    'proxy_arp_dump',
    'proxy_arp_intfc_dump',
    'proxy_arp_intfc_enable_disable',
  ],
  ...[
    'npol_configure_policies',
    'set_punt',
    'show_threads',
    'show_version',
    'sw_interface_add_del_address',
    'sw_interface_dump',
    'sw_interface_get_table',
  ],
  ...[
    'sw_interface_ip6_enable_disable',
    'sw_interface_ip6_get_link_local_address',
    'sw_interface_ip6_set_link_local_address',
  ],
  ...[
    'sw_interface_ip6nd_ra_config',
    'sw_interface_ip6nd_ra_dump',
    'sw_interface_rx_placement_dump',
    'sw_interface_set_flags',
  ],
  ...[
    'sw_interface_set_mac_address',
    'sw_interface_set_mtu',
    'sw_interface_set_promisc',
    'sw_interface_set_rx_mode',
  ],
  ...[
    'sw_interface_set_rx_placement',
    'sw_interface_set_table',
    'sw_interface_tag_add_del',
    'sw_interface_tap_v2_dump',
  ],
  ...['tap_create_v3', 'tap_delete_v2', 'urpf_interface_dump', 'urpf_update_v2'],
]);

export const messages_used: readonly Message<unknown, never>[] = all.filter(({ name }) => names.has(name));
