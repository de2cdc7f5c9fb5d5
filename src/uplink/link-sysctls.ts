/** Sysctls of one link, which Linux forgets when the link changes its namespace. */
import type { NetworkNamespace } from '../linux/network.js';

const names: Readonly<Record<'ipv4' | 'ipv6', readonly string[]>> = {
  ipv4: [
    ...[
      'accept_local',
      'accept_redirects',
      'accept_source_route',
      'arp_accept',
      'arp_announce',
      'arp_filter',
    ],
    ...[
      'arp_ignore',
      'arp_notify',
      'disable_policy',
      'forwarding',
      'log_martians',
      'promote_secondaries',
      'proxy_arp',
      'proxy_arp_pvlan',
    ],
    ...[
      'route_localnet',
      'rp_filter',
      'secure_redirects',
      'send_redirects',
      'shared_media',
      'src_valid_mark',
    ],
  ],
  ipv6: [
    ...[
      'accept_dad',
      'accept_ra',
      'accept_ra_defrtr',
      'accept_ra_pinfo',
      'accept_ra_rt_info_max_plen',
      'accept_redirects',
    ],
    ...[
      'accept_source_route',
      'autoconf',
      'dad_transmits',
      'forwarding',
      'hop_limit',
      'keep_addr_on_down',
      'ndisc_notify',
    ],
    ...['optimistic_dad', 'proxy_ndp', 'router_solicitations', 'use_tempaddr', 'disable_policy'],
    'disable_ipv6',
  ],
};

/** Those that are not as they are for a new link. */
export function linkSysctls(namespace: NetworkNamespace, link: string): { path: string; value: string }[] {
  return (['ipv4', 'ipv6'] as const).flatMap((family) =>
    names[family].flatMap((name) => {
      const path = `net/${family}/conf/${link}/${name}`;
      const value = namespace.readSysctl(path)?.trim();
      const usual = namespace.readSysctl(`net/${family}/conf/default/${name}`)?.trim();
      return value === undefined || value === usual ? [] : [{ path, value }];
    }),
  );
}
