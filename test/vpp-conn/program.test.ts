import t from 'tap';
import { desiredPod } from '../../src/desired/pod.js';
import { desiredNode } from '../../src/desired/uplink.js';
import { type ObjectKind, same, type VppObject } from '../../src/objects/object.js';
import { ipipTag } from '../../src/objects/tunnels.js';
import { reconcile, removal } from '../../src/reconcile/reconcile.js';
import { programAdd, programFollow, programRemove } from '../../src/vpp-conn/program.js';
import { nodeOf, podInputsOf, podOf, uplinkOf } from '../desired/sample.js';
import { callsOf, knownHandles } from './recorded-calls.js';

t.test('of a dual-stack node with redirect rules only what needs an index waits for an answer', async (t) => {
  const redirects = [
    { protocol: 'udp', port: 53, address: '10.96.0.10' },
    { protocol: 'tcp', port: 5353, address: 'fd00::53' },
  ] as const;
  t.same(await callsOf(reconcile(desiredNode(nodeOf({ redirects }), true), [])), [
    'cnat_set_snat_addresses_v2 snat_ip4=10.0.0.2 snat_ip6=fd00::2 flags=6',
    'create_loopback_instance',
    '|',
    'sw_interface_tag_add_del is_add sw_if_index=1 tag=node-snat',
    '|',
    'cli_inband cmd=set cnat snat-policy if-pfx fib 1',
    'cnat_snat_policy_add_del_if sw_if_index=1 is_add=1 table=CNAT_POLICY_INCLUDE_V4',
    'cli_inband cmd=set cnat snat-policy prefix 10.0.0.2/32 fib 1',
    'cli_inband cmd=set cnat snat-policy prefix fd00::2/128 fib 1',
    'cli_inband cmd=set cnat snat-policy prefix fe80::/10 fib 1',
    'cli_inband cmd=set cnat snat-policy prefix ff00::/8 fib 1',
    'cli_inband cmd=set cnat snat-policy prefix 10.96.0.0/16 fib 1',
    'cli_inband cmd=set cnat snat-policy prefix fd00:96::/112 fib 1',
    'ip_neighbor_config max_number=50000 max_age=30',
    'ip_neighbor_config af=ADDRESS_IP6 max_number=50000 max_age=30',
    'ip_table_add_del_v2 is_add create_mfib table_id=1 name=punt-table-ip4',
    'ip_table_add_del_v2 is_add create_mfib table_id=2 name=calico-pods-ip4',
    'ip_table_add_del_v2 is_add create_mfib table_id=1 is_ip6 name=punt-table-ip6',
    'ip_table_add_del_v2 is_add create_mfib table_id=2 is_ip6 name=calico-pods-ip6',
    'ip_table_add_del_v2 is_add create_mfib table_id=1048576 name=host-tap-eth0-ip4',
    'ip_table_add_del_v2 is_add create_mfib table_id=1048576 is_ip6 name=host-tap-eth0-ip6',
    'af_packet_create_v3 mode=AF_PACKET_API_MODE_ETHERNET hw_addr=02:00:00:00:00:01 host_if_name=eth0 rx_frame_size=65536 tx_frame_size=65536 rx_frames_per_block=1024 tx_frames_per_block=1024 num_rx_queues=1 num_tx_queues=1 flags=10',
    'tap_create_v3 mac_address=02:ca:11:c0:fd:00 num_rx_queues=1 num_tx_queues=1 rx_ring_sz=1024 tx_ring_sz=1024 host_mtu_size=1500 host_mac_addr_set host_mac_addr=02:00:00:00:00:01 host_ip4_prefix=0.0.0.0/0 host_ip6_prefix=::/0 tap_flags=33 host_namespace=pid:1 host_if_name=eth0 tag=host-eth0<NUL>',
    'sw_interface_tag_add_del is_add sw_if_index=2 tag=main-eth0',
    'sw_interface_set_table sw_if_index=3 vrf_id=1048576',
    'sw_interface_set_table sw_if_index=3 is_ipv6 vrf_id=1048576',
    'sw_interface_set_mtu sw_if_index=2 mtu=1500',
    'sw_interface_set_mtu sw_if_index=3 mtu=9216 mtu=1500',
    'sw_interface_set_rx_mode sw_if_index=2 mode=RX_MODE_API_INTERRUPT',
    'sw_interface_set_rx_mode sw_if_index=3 mode=RX_MODE_API_ADAPTIVE',
    'sw_interface_set_rx_placement sw_if_index=3',
    'feature_gso_enable_disable sw_if_index=2 enable_disable',
    'sw_interface_ip6_enable_disable sw_if_index=2 enable',
    'sw_interface_ip6nd_ra_config sw_if_index=2 suppress=1',
    'feature_cnat_enable_disable sw_if_index=2 enable_disable',
    'sw_interface_ip6_enable_disable sw_if_index=3 enable',
    'sw_interface_ip6nd_ra_config sw_if_index=3 suppress=1',
    'feature_cnat_enable_disable sw_if_index=3 enable_disable',
    'cnat_snat_policy_add_del_if sw_if_index=3 is_add=1 table=CNAT_POLICY_POD',
    'cnat_snat_policy_add_del_if sw_if_index=3 is_add=1 table=CNAT_POLICY_HOST',
    'proxy_arp_intfc_enable_disable sw_if_index=3',
    'proxy_arp_intfc_enable_disable sw_if_index=3 enable',
    'feature_gso_enable_disable sw_if_index=3 enable_disable',
    'sw_interface_set_flags sw_if_index=2 flags=1',
    'sw_interface_set_flags sw_if_index=3 flags=1',
    'sw_interface_add_del_address sw_if_index=2 is_add prefix=10.0.0.2/24',
    'sw_interface_add_del_address sw_if_index=2 is_add prefix=fd00::2/64',
    'sw_interface_add_del_address sw_if_index=3 is_add prefix=169.254.0.1/32',
    'sw_interface_ip6_set_link_local_address sw_if_index=2 ip=fe80::1:2',
    'ip_neighbor_add_del is_add sw_if_index=3 flags=1 mac_address=02:00:00:00:00:01 ip_address=10.0.0.2',
    'ip_neighbor_add_del is_add sw_if_index=3 flags=1 mac_address=02:00:00:00:00:01 ip_address=fd00::2',
    'ip_neighbor_add_del is_add sw_if_index=3 flags=1 mac_address=02:00:00:00:00:01 ip_address=fe80::1:2',
    'ip_route_add_del_v2 is_add table_id=2 prefix=0.0.0.0/0 src=20',
    'ip_route_add_del_v2 is_add table_id=2 prefix=240.0.0.0/5 src=20',
    'ip_route_add_del_v2 is_add table_id=2 prefix=248.0.0.0/5 src=20',
    'ip_route_add_del_v2 is_add table_id=2 prefix=::/0 src=20 proto=FIB_API_PATH_NH_PROTO_IP6',
    'ip_route_add_del_v2 is_add table_id=1048576 prefix=0.0.0.0/0 src=20',
    'ip_route_add_del_v2 is_add table_id=1048576 prefix=240.0.0.0/5 src=20',
    'ip_route_add_del_v2 is_add table_id=1048576 prefix=248.0.0.0/5 src=20',
    'ip_route_add_del_v2 is_add table_id=1048576 prefix=::/0 src=20 proto=FIB_API_PATH_NH_PROTO_IP6',
    'ip_route_add_del_v2 is_add table_id=1048576 prefix=255.255.255.255/32 src=20 sw_if_index=2 proto=FIB_API_PATH_NH_PROTO_IP6 address=ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff',
    'ip_mroute_add_del is_add table_id=1048576 af=ADDRESS_IP6 grp_address_length=128 grp_address=ff02::1:2 itf_flags=6 sw_if_index=2 proto=FIB_API_PATH_NH_PROTO_IP6 itf_flags=2 sw_if_index=3 proto=FIB_API_PATH_NH_PROTO_IP6',
    'ip_route_add_del_v2 is_add table_id=1048576 prefix=10.0.0.2/32 src=20 sw_if_index=3 address=10.0.0.2',
    'ip_route_add_del_v2 is_add table_id=1048576 prefix=fd00::2/128 src=20 sw_if_index=3 proto=FIB_API_PATH_NH_PROTO_IP6 address=fd00::2',
    'ip_route_add_del_v2 is_add table_id=1048576 prefix=fe80::1:2/128 src=20 sw_if_index=3 proto=FIB_API_PATH_NH_PROTO_IP6 address=fe80::1:2',
    'ip_route_add_del_v2 is_add prefix=0.0.0.0/0 src=20 sw_if_index=2 address=10.0.0.1',
    'ip_route_add_del_v2 is_add prefix=::/0 src=20 sw_if_index=2 proto=FIB_API_PATH_NH_PROTO_IP6 address=fe80::1',
    'ip_route_add_del_v2 is_add table_id=1 prefix=10.0.0.2/32 src=20 sw_if_index=3 address=10.0.0.2',
    'ip_route_add_del_v2 is_add table_id=1 prefix=fd00::2/128 src=20 sw_if_index=3 proto=FIB_API_PATH_NH_PROTO_IP6 address=fd00::2',
    'ip_route_add_del_v2 is_add table_id=1 prefix=fe80::1:2/128 src=20 sw_if_index=3 proto=FIB_API_PATH_NH_PROTO_IP6 address=fe80::1:2',
    'ip_route_add_del_v2 is_add table_id=1 prefix=10.0.0.0/24 src=20 sw_if_index=3 address=10.0.0.2',
    'ip_route_add_del_v2 is_add table_id=1 prefix=fd00::/64 src=20 sw_if_index=3 proto=FIB_API_PATH_NH_PROTO_IP6 address=fd00::2',
    'proxy_arp_add_del is_add table_id=1048576 hi=255.255.255.255',
    'ip_ttl_fixup_configure src_sw_if_index=3 dst_sw_if_index=2 enable',
    'add_del_ip_punt_redirect_v2 is_add table_id=1',
    'add_del_ip_punt_redirect_v2 is_add af=ADDRESS_IP6 table_id=1 proto=FIB_API_PATH_NH_PROTO_IP6',
    'set_punt is_add type=PUNT_API_TYPE_L4 protocol=IP_API_PROTO_TCP port=65535',
    'set_punt is_add type=PUNT_API_TYPE_L4 protocol=IP_API_PROTO_UDP port=65535',
    'set_punt is_add type=PUNT_API_TYPE_L4 af=ADDRESS_IP6 protocol=IP_API_PROTO_TCP port=65535',
    'set_punt is_add type=PUNT_API_TYPE_L4 af=ADDRESS_IP6 protocol=IP_API_PROTO_UDP port=65535',
    'classify_add_del_table is_add nbuckets=64 memory_size=1048576 match_n_vectors=2 current_data_flag=1 mask=..ff000000000000ffffffff0000ffff..',
    'classify_add_del_table is_add nbuckets=64 memory_size=1048576 match_n_vectors=3 current_data_flag=1 mask=000000000000ff..ffffffffffffffffffffffffffffffff0000ffff00000000',
    'ip_session_redirect_add_v2 table_index=4 match_len=32 match=..110000000000000a60000a00000035.. sw_if_index=3 address=10.0.0.2',
    'ip_session_redirect_add_v2 table_index=5 proto=FIB_API_PATH_NH_PROTO_IP6 match_len=48 match=00000000000006..fd..53000014e9.. sw_if_index=3 proto=FIB_API_PATH_NH_PROTO_IP6 address=fd00::2',
  ]);
});

const pod = desiredPod(
  podOf({ interface_type: 'tap', allowed_source_prefixes: ['10.9.0.0/24'] }),
  podInputsOf({ redirects: [4], workers: 2 }),
);

t.test('a dual-stack pod is programmed in two waves and removed in one', async (t) => {
  const handles = knownHandles();
  handles.made({ kind: 'redirect_table', family: 4 }, 7);
  t.same(await callsOf(reconcile(pod, []), handles), [
    'ip_table_add_del_v2 is_add create_mfib table_id=16777216 name=3yGQeEBZ-4-eth0-cni-1',
    'ip_table_add_del_v2 is_add create_mfib table_id=16777216 is_ip6 name=1C3ti1zG-6-eth0-cni-1',
    'ip_table_add_del_v2 is_add table_id=16777217 name=DFMf6I9i-4-eth0RPF-cni-1',
    'tap_create_v3 mac_address=02:ca:11:c0:fe:01 num_rx_queues=1 num_tx_queues=1 rx_ring_sz=1024 tx_ring_sz=1024 host_mtu_size=1440 host_mac_addr_set host_mac_addr=02:00:00:00:00:01 host_ip4_prefix=0.0.0.0/0 host_ip6_prefix=::/0 tap_flags=45 host_namespace=/var/run/netns/cni-1 host_if_name=eth0 tag=vbNH4k0a-eth0-cni-1<NUL>',
    '|',
    'sw_interface_set_table sw_if_index=1 vrf_id=16777216',
    'sw_interface_set_table sw_if_index=1 is_ipv6 vrf_id=16777216',
    'sw_interface_set_mtu sw_if_index=1 mtu=9216',
    'sw_interface_set_rx_mode sw_if_index=1 mode=RX_MODE_API_ADAPTIVE',
    'sw_interface_set_rx_placement sw_if_index=1 worker_id=1',
    'cnat_snat_policy_add_del_if sw_if_index=1 is_add=1 table=CNAT_POLICY_POD',
    'feature_cnat_enable_disable sw_if_index=1 enable_disable',
    'sw_interface_ip6_enable_disable sw_if_index=1 enable',
    'sw_interface_set_promisc sw_if_index=1 promisc_on',
    'npol_configure_policies sw_if_index=1 policy_default_rx=NPOL_DEFAULT_ALLOW policy_default_tx=NPOL_DEFAULT_ALLOW profile_default_rx=NPOL_DEFAULT_ALLOW profile_default_tx=NPOL_DEFAULT_ALLOW',
    'sw_interface_set_flags sw_if_index=1 flags=1',
    'sw_interface_add_del_address sw_if_index=1 is_add prefix=169.254.1.1/32',
    'sw_interface_add_del_address sw_if_index=1 is_add prefix=fdca:11c0::1/128',
    'ip_neighbor_add_del is_add sw_if_index=1 flags=1 mac_address=02:00:00:00:00:01 ip_address=10.1.0.5',
    'ip_neighbor_add_del is_add sw_if_index=1 flags=1 mac_address=02:00:00:00:00:01 ip_address=fd01::5',
    'ip_route_add_del_v2 is_add table_id=16777216 prefix=0.0.0.0/0 src=21 table_id=2',
    'ip_route_add_del_v2 is_add table_id=16777216 prefix=240.0.0.0/5 src=21 table_id=2',
    'ip_route_add_del_v2 is_add table_id=16777216 prefix=248.0.0.0/5 src=21 table_id=2',
    'ip_mroute_add_del is_add table_id=16777216 entry_flags=8 grp_address_length=4 grp_address=224.0.0.0 itf_flags=4 table_id=2 rpf_id=16777216',
    'ip_route_add_del_v2 is_add table_id=16777216 prefix=::/0 src=21 table_id=2 proto=FIB_API_PATH_NH_PROTO_IP6',
    'ip_mroute_add_del is_add table_id=16777216 entry_flags=8 af=ADDRESS_IP6 grp_address_length=8 grp_address=ff00:: itf_flags=4 table_id=2 rpf_id=16777216 proto=FIB_API_PATH_NH_PROTO_IP6',
    'ip_route_add_del_v2 is_add prefix=10.1.0.5/32 src=21 sw_if_index=1 address=10.1.0.5',
    'ip_route_add_del_v2 is_add prefix=fd01::5/128 src=21 sw_if_index=1 proto=FIB_API_PATH_NH_PROTO_IP6 address=fd01::5',
    'ip_route_add_del_v2 is_add table_id=16777217 prefix=10.1.0.5/32 src=21 sw_if_index=1 address=10.1.0.5',
    'ip_route_add_del_v2 is_add table_id=16777217 prefix=10.9.0.0/24 src=21 sw_if_index=1 address=10.1.0.5',
    'urpf_update_v2 is_input mode=URPF_API_MODE_OFF sw_if_index=1 table_id=16777217',
    'urpf_update_v2 is_input mode=URPF_API_MODE_LOOSE sw_if_index=1 table_id=16777217',
    'urpf_update_v2 is_input mode=URPF_API_MODE_OFF af=ADDRESS_IP6 sw_if_index=1',
    'urpf_update_v2 is_input mode=URPF_API_MODE_STRICT af=ADDRESS_IP6 sw_if_index=1',
    'input_acl_set_interface sw_if_index=1 ip4_table_index=7',
    'input_acl_set_interface sw_if_index=1 ip4_table_index=7 is_add',
    'cnat_translation_update addr=10.0.0.2 port=8080 ip_proto=IP_API_PROTO_TCP flags=9 lb_type=CNAT_LB_TYPE_DEFAULT addr=10.1.0.5 port=80 if_af=ADDRESS_IP6',
    'cnat_translation_update addr=fd00::2 if_af=ADDRESS_IP6 port=8080 ip_proto=IP_API_PROTO_TCP flags=9 lb_type=CNAT_LB_TYPE_DEFAULT addr=fd01::5 if_af=ADDRESS_IP6 port=80 if_af=ADDRESS_IP6',
  ]);
  t.same(await callsOf(removal(pod), handles), [
    'ip_neighbor_add_del sw_if_index=1 flags=1 mac_address=02:00:00:00:00:01 ip_address=10.1.0.5',
    'ip_neighbor_add_del sw_if_index=1 flags=1 mac_address=02:00:00:00:00:01 ip_address=fd01::5',
    'ip_route_add_del_v2 prefix=10.1.0.5/32 src=21',
    'ip_route_add_del_v2 prefix=fd01::5/128 src=21 proto=FIB_API_PATH_NH_PROTO_IP6',
    'input_acl_set_interface sw_if_index=1 ip4_table_index=7',
    'ip_route_add_del_v2 table_id=16777217 prefix=10.1.0.5/32 src=21',
    'ip_route_add_del_v2 table_id=16777217 prefix=10.9.0.0/24 src=21',
    'cnat_translation_del id=2',
    'cnat_translation_del id=3',
    'sw_interface_set_flags sw_if_index=1',
    'cnat_snat_policy_add_del_if sw_if_index=1 table=CNAT_POLICY_POD',
    'feature_cnat_enable_disable sw_if_index=1',
    'sw_interface_ip6_enable_disable sw_if_index=1',
    'sw_interface_set_promisc sw_if_index=1',
    'urpf_update_v2 is_input mode=URPF_API_MODE_OFF sw_if_index=1 table_id=16777217',
    'urpf_update_v2 is_input mode=URPF_API_MODE_OFF af=ADDRESS_IP6 sw_if_index=1',
    'cnat_snat_policy_add_del_if sw_if_index=1 table=CNAT_POLICY_HOST',
    'cnat_snat_policy_add_del_if sw_if_index=1 table=CNAT_POLICY_INCLUDE_V4',
    'cnat_snat_policy_add_del_if sw_if_index=1 table=CNAT_POLICY_INCLUDE_V6',
    '|',
    'tap_delete_v2 sw_if_index=1',
    'ip_route_add_del_v2 table_id=16777216 prefix=0.0.0.0/0 src=21',
    'ip_route_add_del_v2 table_id=16777216 prefix=240.0.0.0/5 src=21',
    'ip_route_add_del_v2 table_id=16777216 prefix=248.0.0.0/5 src=21',
    'ip_mroute_add_del table_id=16777216 entry_flags=8 grp_address_length=4 grp_address=224.0.0.0 itf_flags=4 table_id=2 rpf_id=16777216',
    'ip_route_add_del_v2 table_id=16777216 prefix=::/0 src=21 proto=FIB_API_PATH_NH_PROTO_IP6',
    'ip_mroute_add_del table_id=16777216 entry_flags=8 af=ADDRESS_IP6 grp_address_length=8 grp_address=ff00:: itf_flags=4 table_id=2 rpf_id=16777216 proto=FIB_API_PATH_NH_PROTO_IP6',
    'ip_table_add_del_v2 create_mfib table_id=16777216 name=3yGQeEBZ-4-eth0-cni-1',
    'ip_table_add_del_v2 create_mfib table_id=16777216 is_ip6 name=1C3ti1zG-6-eth0-cni-1',
    'ip_table_add_del_v2 table_id=16777217 name=DFMf6I9i-4-eth0RPF-cni-1',
  ]);
});

/** The messages for one object on interface `main-eth0`, whose index is 1. */
async function messages(action: 'add' | 'remove', object: VppObject): Promise<string[]> {
  const handles = knownHandles();
  handles.made({ kind: 'existing_interface', tag: 'main-eth0' }, 1);
  return callsOf([{ action, object }], handles);
}

t.test('a tun has no MAC', async (t) => {
  const tap = pod.find(({ kind }) => kind === 'tap') as Extract<VppObject, { kind: 'tap' }>;
  const { mac: _, host_mac: __, ...tun } = { ...tap, type: 'tun', gso: false, persistent: false } as const;
  const [line] = await messages('add', tun);
  t.match(line, /^tap_create_v3 use_random_mac /);
  t.match(line, / tap_flags=16 /, 'TAP_API_FLAG_TUN alone');
  t.notMatch(line, /host_mac/);
  const [offloaded] = await messages('add', { ...tun, gso: true, persistent: true });
  t.match(offloaded, / tap_flags=61 /, 'with GSO, PERSIST, ATTACH and GRO_COALESCE');
});

t.test('the rings of a packet socket', async (t) => {
  const { device } = uplinkOf();
  const flags = async (changes: object) =>
    (await messages('add', { ...device, ...changes } as VppObject))[0]?.replace(/.* flags=/, '');
  t.equal(await flags({}), '10', 'TPACKET_V2 with offload');
  t.equal(await flags({ gso: false }), '8');
  t.equal(await flags({ version_3: true }), '2');
  t.equal(await flags({ qdisc_bypass: true }), '11');
  t.same(await messages('remove', device), ['af_packet_delete host_if_name=eth0']);
});

t.test('an XDP socket takes on the MAC of its device', async (t) => {
  const device: VppObject = {
    kind: 'af_xdp',
    tag: 'main-eth0',
    host_if_name: 'eth0',
    mac: '02:00:00:00:00:01',
    rx_queues: 2,
    rx_queue_size: 1024,
    tx_queue_size: 2048,
  };
  t.same(await messages('add', device), [
    'af_xdp_create_v3 host_if=eth0 rxq_num=2 rxq_size=1024 txq_size=2048',
    '|',
    'sw_interface_tag_add_del is_add sw_if_index=1 tag=main-eth0',
    'sw_interface_set_mac_address sw_if_index=1 mac_address=02:00:00:00:00:01',
  ]);
  t.same(await messages('remove', device), ['af_xdp_delete sw_if_index=1']);
});

t.test('a pod that gets nothing but what is judged has that before it is up', async (t) => {
  const handles = knownHandles();
  for (const family of [4, 6] as const) handles.made({ kind: 'protocol_table', family }, family);
  const calls = await callsOf(
    reconcile(desiredPod(podOf(), podInputsOf({ drop_other_protocols: true })), []),
    handles,
  );
  const of = (word: string) => calls.findIndex((call) => call.includes(word));
  t.same(
    calls.filter((call) => call.startsWith('output_acl')),
    [
      // What VPP remembers of an earlier interface with this number goes first.
      'output_acl_set_interface sw_if_index=1 ip4_table_index=4',
      'output_acl_set_interface sw_if_index=1 ip4_table_index=4 is_add',
      'output_acl_set_interface sw_if_index=1 ip6_table_index=6',
      'output_acl_set_interface sw_if_index=1 ip6_table_index=6 is_add',
    ],
  );
  t.ok(of('output_acl') > 0 && of('output_acl') < of('sw_interface_set_flags'));
});

t.test('what cannot be taken back, or goes with its interface, is removed by no message', async (t) => {
  const on = { interface: 'main-eth0' };
  const kept: VppObject[] = [
    { kind: 'snat_uplinks', ip6: 'fd00::2' },
    { kind: 'snat_addresses', ip4: '10.0.0.2' },
    { kind: 'snat_policy', policy: 'if_pfx', keeper: 'node-snat' },
    { kind: 'neighbour_limits', family: 4, max_number: 1, max_age_s: 1 },
    { kind: 'redirect_table', family: 4 },
    { kind: 'protocol_table', family: 4 },
    { kind: 'existing_interface', tag: 'main-eth0' },
    { kind: 'interface_mtu', ...on, mtu: 1500 },
    { kind: 'interface_rx_mode', ...on, mode: 'polling' },
    { kind: 'rx_placement', ...on, queue_id: 0, worker_id: 0 },
    { kind: 'link_local', ...on, address: 'fe80::1' },
    { kind: 'ra_config', ...on, lifetime_s: 0, managed: false, other: false },
  ];
  for (const object of kept) t.same(await messages('remove', object), [], object.kind);
});

t.test(
  'VPP advertises with the flags that are wanted alone, at intervals that fit the lifetime',
  async (t) => {
    const config = { kind: 'ra_config', interface: 'main-eth0', managed: true, other: false } as const;
    const last = async (lifetime_s: number) => (await messages('add', { ...config, lifetime_s })).at(-1);
    t.same(await messages('add', { ...config, lifetime_s: 1800 }), [
      'sw_interface_ip6nd_ra_config sw_if_index=1 suppress=1 other=1 is_no',
      'sw_interface_ip6nd_ra_config sw_if_index=1 managed=1 default_router=1 max_interval=200 lifetime=1800',
    ]);
    t.match(await last(0), /default_router=1 max_interval=200$/, 'VPP takes no router for one that is none');
    t.match(await last(30), /max_interval=10 lifetime=30$/);
    t.match(await last(1), /max_interval=4 lifetime=5$/, 'the shortest that VPP takes');
    const prefix = { kind: 'ra_prefix', interface: 'main-eth0', prefix: 'fd00::/64' } as const;
    t.same(
      await messages('add', {
        ...prefix,
        on_link: false,
        autonomous: false,
        valid_s: 9,
        preferred_s: 7,
        said: 3,
      }),
      [
        'sw_interface_ip6nd_ra_prefix sw_if_index=1 prefix=fd00::/64 no_autoconfig no_onlink val_lifetime=9 pref_lifetime=7',
      ],
    );
  },
);

t.test(
  'one family alone is SNATed to one address, and of the other one VPP forgets what it had',
  async (t) => {
    t.same(await messages('add', { kind: 'snat_addresses', ip6: 'fd00::2' }), [
      'cnat_set_snat_addresses_v2 snat_ip4=192.0.0.8 snat_ip6=fd00::2 flags=6',
    ]);
  },
);

t.test(
  'uplinks that are judged apart come before all others, of which requests without a table speak',
  async (t) => {
    t.same(await messages('add', { kind: 'snat_uplinks', ip6: 'fd00::2' }), [
      'cnat_set_snat_addresses_v2 snat_ip6=fd00::2 flags=2',
      'cli_inband cmd=set cnat snat-policy if-pfx fib 0',
    ]);
    t.same(await messages('add', { kind: 'snat_addresses', ip6: 'fd00::2', beside: true }), [
      'cnat_set_snat_addresses_v2 fwd_fib_index=1 snat_ip4=192.0.0.8 snat_ip6=fd00::2 flags=6',
    ]);
    const exclude = { kind: 'snat_exclude', prefix: 'fd01::/48', of: 'uplinks' } as const;
    t.same(await messages('add', exclude), ['cli_inband cmd=set cnat snat-policy prefix fd01::/48 fib 0']);
    t.same(await messages('remove', exclude), [
      'cli_inband cmd=set cnat snat-policy prefix del fd01::/48 fib 0',
    ]);
  },
);

t.test('switches are turned on and off by the same message', async (t) => {
  const flags = {
    admin_up: ['sw_interface_set_flags sw_if_index=1 flags=1', 'sw_interface_set_flags sw_if_index=1'],
    promisc: ['sw_interface_set_promisc sw_if_index=1 promisc_on', 'sw_interface_set_promisc sw_if_index=1'],
    ra_suppressed: [
      'sw_interface_ip6nd_ra_config sw_if_index=1 suppress=1',
      'sw_interface_ip6nd_ra_config sw_if_index=1 suppress=1 is_no',
    ],
    snat_include_ip6: [
      'cnat_snat_policy_add_del_if sw_if_index=1 is_add=1 table=CNAT_POLICY_INCLUDE_V6',
      'cnat_snat_policy_add_del_if sw_if_index=1 table=CNAT_POLICY_INCLUDE_V6',
    ],
  } as const;
  for (const [flag, [on, off]] of Object.entries(flags)) {
    const object = { kind: 'interface_flag', interface: 'main-eth0', flag } as VppObject;
    t.same(await messages('add', object), [on]);
    t.same(await messages('remove', object), [off]);
  }
});

t.test('what VPP counts is turned off before it is turned on', async (t) => {
  const object = { kind: 'interface_flag', interface: 'main-eth0', flag: 'dhcp_client_detect' } as const;
  const names = 'arc_name=ip4-unicast feature_name=ip4-dhcp-client-detect';
  t.same(await messages('add', object), [
    `feature_enable_disable sw_if_index=1 ${names}`,
    `feature_enable_disable sw_if_index=1 enable ${names}`,
  ]);
  t.same(await messages('remove', object), [`feature_enable_disable sw_if_index=1 ${names}`]);
});

t.test('a multipath route is sent whole, and removed without naming its interfaces', async (t) => {
  const route: VppObject = {
    kind: 'route',
    source: 'node',
    table_id: 0,
    prefix: '0.0.0.0/0',
    paths: [
      { via: 'interface', interface: 'main-eth0', next_hop: '10.0.0.1' },
      { via: 'interface', interface: '#9', next_hop: 'fe80::1' },
      { via: 'drop' },
    ],
  };
  t.same(await messages('add', route), [
    'ip_route_add_del_v2 is_add prefix=0.0.0.0/0 src=20 sw_if_index=1 address=10.0.0.1' +
      ' sw_if_index=9 proto=FIB_API_PATH_NH_PROTO_IP6 address=fe80::1 type=FIB_API_PATH_TYPE_DROP',
  ]);
  t.same(await messages('remove', route), ['ip_route_add_del_v2 prefix=0.0.0.0/0 src=20']);
});

t.test(
  'every message that is sent is one that is compared with the message table of VPP at connect',
  async (t) => {
    const { messages_used } = await import('../../src/vpp-conn/messages.js');
    const known = new Set(messages_used.map(({ name }) => name));
    const redirects = [{ protocol: 'udp', port: 53, address: '10.96.0.10' }] as const;
    const objects = [...desiredNode(nodeOf({ redirects }), true), ...pod];
    const handles = knownHandles();
    for (const tag of ['main-eth0', 'host-eth0']) handles.made({ kind: 'existing_interface', tag }, 1);
    const kinds = new Set<ObjectKind>();
    for (const object of objects) {
      kinds.add(object.kind);
      if ('tag' in object) handles.made(object, 2);
      handles.made({ kind: 'redirect_table', family: 4 }, 3);
      if (object.kind === 'translation') handles.made(object, 4);
      for (const program of [programAdd, programFollow, programRemove])
        for (const { message } of program(object, handles)) t.ok(known.has(message.name), message.name);
    }
    t.ok(kinds.size >= 26, `${kinds.size} kinds of objects`);
  },
);

t.test(
  'a tunnel is tagged when its index is known, then set up, and up last; its routes wait for nothing more',
  async (t) => {
    const handles = knownHandles();
    handles.setFibSource('connectivity', 22);
    handles.setVxlanDecap(4, 2);
    handles.made({ kind: 'existing_interface', tag: 'main-eth0' }, 9);
    const dst = '10.0.0.3';
    const to = (tag: string): VppObject[] => [
      { kind: 'unnumbered', interface: tag, of: 'main-eth0' },
      { kind: 'interface_flag', interface: tag, flag: 'gso_feature' },
      { kind: 'interface_flag', interface: tag, flag: 'cnat_feature' },
      { kind: 'interface_mtu', interface: tag, mtu: 1440 },
      { kind: 'interface_flag', interface: tag, flag: 'admin_up' },
      {
        kind: 'route',
        source: 'connectivity',
        table_id: 0,
        prefix: '10.1.0.0/26',
        paths: [{ via: 'interface', interface: tag, next_hop: dst }],
      },
    ];
    const ipip = [
      { kind: 'ipip_tunnel', tag: ipipTag(dst), src: '10.0.0.2', dst } as const,
      ...to(ipipTag(dst)),
    ];
    const vxlan = [
      { kind: 'vxlan_tunnel', tag: `vxlan-7-${dst}`, src: '10.0.0.2', dst, vni: 7, port: 4789 } as const,
      ...to(`vxlan-7-${dst}`),
    ];
    t.same(await callsOf(reconcile(ipip, []), handles), [
      'ipip_add_tunnel src=10.0.0.2 dst=10.0.0.3 mode=TUNNEL_API_MODE_P2P dscp=IP_API_DSCP_CS0',
      '|',
      'sw_interface_tag_add_del is_add sw_if_index=1 tag=ipip-10.0.0.3',
      '|',
      'sw_interface_set_mtu sw_if_index=1 mtu=1440',
      'sw_interface_set_unnumbered sw_if_index=9 unnumbered_sw_if_index=1 is_add',
      'feature_gso_enable_disable sw_if_index=1 enable_disable',
      'feature_cnat_enable_disable sw_if_index=1 enable_disable',
      'sw_interface_set_flags sw_if_index=1 flags=1',
      'ip_route_add_del_v2 is_add prefix=10.1.0.0/26 src=22 sw_if_index=1 address=10.0.0.3',
    ]);
    handles.made(ipip[0]!, 5);
    t.same(await callsOf(reconcile(vxlan, ipip), handles), [
      'vxlan_add_del_tunnel_v3 src_address=10.0.0.2 dst_address=10.0.0.3 src_port=4789 dst_port=4789 decap_next_index=2 vni=7 is_l3 is_add',
      '|',
      'sw_interface_tag_add_del is_add sw_if_index=1 tag=vxlan-7-10.0.0.3',
      '|',
      'sw_interface_set_mtu sw_if_index=1 mtu=1440',
      'sw_interface_set_unnumbered sw_if_index=9 unnumbered_sw_if_index=1 is_add',
      'feature_gso_enable_disable sw_if_index=1 enable_disable',
      'feature_cnat_enable_disable sw_if_index=1 enable_disable',
      'sw_interface_set_flags sw_if_index=1 flags=1',
      'ip_route_add_del_v2 is_add prefix=10.1.0.0/26 src=22 sw_if_index=1 address=10.0.0.3',
      'sw_interface_set_flags sw_if_index=5',
      'feature_gso_enable_disable sw_if_index=5',
      'feature_cnat_enable_disable sw_if_index=5',
      'sw_interface_set_unnumbered sw_if_index=9 unnumbered_sw_if_index=5',
      '|',
      'ipip_del_tunnel sw_if_index=5',
    ]);
    t.same(await callsOf(removal(vxlan), handles), [
      'ip_route_add_del_v2 prefix=10.1.0.0/26 src=22',
      'sw_interface_set_flags sw_if_index=1',
      'feature_gso_enable_disable sw_if_index=1',
      'feature_cnat_enable_disable sw_if_index=1',
      'sw_interface_set_unnumbered sw_if_index=9 unnumbered_sw_if_index=1',
      '|',
      'vxlan_add_del_tunnel_v3 src_address=10.0.0.2 dst_address=10.0.0.3 src_port=4789 dst_port=4789 decap_next_index=2 vni=7 is_l3',
    ]);
    const flat: VppObject = {
      kind: 'route',
      source: 'connectivity',
      table_id: 0,
      prefix: '10.1.0.0/26',
      paths: [{ via: 'next_hop', next_hop: dst }],
    };
    t.same(await callsOf(reconcile([flat], []), handles), [
      'ip_route_add_del_v2 is_add prefix=10.1.0.0/26 src=22 address=10.0.0.3',
    ]);
  },
);

t.test('an encrypted IPIP tunnel is of the table by which nothing comes in clear', async (t) => {
  const tunnel = { kind: 'ipip_tunnel', tag: 'ipip-10.0.0.2', src: '10.0.0.5', dst: '10.0.0.2' } as const;
  const tableOf = async (ike: boolean) => {
    const object = ike ? ({ ...tunnel, ike } as const) : tunnel;
    const [made] = await callsOf([{ action: 'add', object: object as typeof tunnel }], knownHandles());
    return /table_id=(\d+)/.exec(made!)?.[1];
  };
  t.equal(await tableOf(true), '5');
  t.equal(await tableOf(false), undefined);
  const there = { ...tunnel, ike: true } as const;
  t.notOk(same(tunnel, there));
  t.notOk(same(there, tunnel), 'one that an earlier release has made is made anew');
});

t.test('a profile of IKE names both ends, proposes where it begins, and shows no key', async (t) => {
  const handles = knownHandles();
  handles.made({ kind: 'existing_interface', tag: 'main-eth0' }, 1);
  handles.made({ kind: 'ipip_tunnel', tag: 'ipip-fd00::2', src: 'fd00::5', dst: 'fd00::2' }, 7);
  const profile = {
    kind: 'ike_profile',
    name: 'node-fd00::2',
    interface: 'ipip-fd00::2',
    src: 'fd00::5',
    dst: 'fd00::2',
  } as const;
  const answers = await callsOf([{ action: 'add', object: profile }], handles);
  t.match(answers, [
    /^ikev2_profile_add_del name=node-fd00::2 is_add/,
    /^ikev2_set_tunnel_interface name=node-fd00::2 sw_if_index=7/,
    /^ikev2_profile_set_id .*is_local id_type=5/,
    /^ikev2_profile_set_id .*id_type=5/,
    /^ikev2_profile_set_ts .*is_local .*end_port=65535/,
    /^ikev2_profile_set_ts /,
    /^ikev2_profile_set_liveness period=2 max_retries=3/,
  ]);
  t.equal(answers.length, 7);
  const begins = await callsOf([{ action: 'add', object: { ...profile, begins_by: 'main-eth0' } }], handles);
  t.match(begins.slice(7), [
    /^ikev2_set_responder .*sw_if_index=1 addr=fd00::2/,
    /^ikev2_set_ike_transforms .*crypto_key_size=256 crypto_alg=12 integ_alg=2 prf_alg=5 dh_group=14/,
    /^ikev2_set_esp_transforms .*crypto_key_size=256 crypto_alg=20/,
  ]);
  const initiation = { kind: 'ike_initiation', name: 'node-fd00::2', interface: 'ipip-fd00::2' } as const;
  t.match(await callsOf([{ action: 'add', object: initiation }], handles), [/^ikev2_initiate_sa_init name=/]);
  t.strictSame(await callsOf([{ action: 'remove', object: initiation }], handles), []);
});

t.test(
  'of a half of cnat what a reading asks after is taken off last: who dies before has the whole',
  async (t) => {
    const last = async (flag: 'cnat_in' | 'cnat_out') => {
      const calls = await callsOf([
        { action: 'add', object: { kind: 'loopback', tag: 'vcl-out-x' } },
        { action: 'add', object: { kind: 'interface_flag', interface: 'vcl-out-x', flag } },
      ]);
      return calls.findLast((text) => text.startsWith('feature_enable_disable'));
    };
    t.match(await last('cnat_in'), 'arc_name=ip4-output feature_name=cnat-output-ip4');
    t.match(await last('cnat_out'), 'arc_name=ip4-unicast feature_name=cnat-input-ip4');
  },
);
