import {
  address,
  bool,
  bytes,
  fixed,
  type Input,
  ipv4,
  many,
  message,
  type Output,
  optional,
  required,
  secret,
  shifted,
  text,
  timestamp,
  u32,
  u64,
  union,
} from '../schema.js';
import { Family } from './family.js';
import { PolicyAssignment } from './policy.js';

/** Peers: what is configured of them, and what became of it. Times are in seconds where nothing else is said. */

export const PeerType = shifted('internal', 'external');
export const RemovePrivate = fixed({ none: 0, all: 1, replace: 2 });
export const SessionState = fixed({
  unspecified: 0,
  idle: 1,
  connect: 2,
  active: 3,
  opensent: 4,
  openconfirm: 5,
  established: 6,
});
export const AdminState = shifted('up', 'down', 'pfx_ct');

export const PeerConf = message('PeerConf', {
  /** TCP-MD5. No error repeats it, but ListPeer does. */
  auth_password: optional(1, secret),
  description: optional(2, text),
  local_asn: optional(3, u32),
  neighbor_address: optional(4, address),
  peer_asn: optional(5, u32),
  peer_group: optional(6, text),
  type: optional(7, PeerType),
  remove_private: optional(8, RemovePrivate),
  route_flap_damping: optional(9, bool),
  send_community: optional(10, u32),
  neighbor_interface: optional(11, text),
  vrf: optional(12, text),
  allow_own_asn: optional(13, u32),
  replace_peer_asn: optional(14, bool),
  admin_down: optional(15, bool),
  send_software_version: optional(16, bool, '3.11'),
  allow_aspath_loop_local: optional(17, bool, '3.35'),
});

const FamilyFlags = message('GracefulRestartCapabilityTuple', {
  family: required(1, Family),
  flags: required(2, u32),
});

/** What a peer said in its OPEN. */
export const Capability = union('Capability', {
  /** One that GoBGP itself does not know. */
  unrecognized: [
    1,
    'UnknownCapability',
    message('UnknownCapability', { code: required(1, u32), value: required(2, bytes) }),
  ],
  multi_protocol: [
    2,
    'MultiProtocolCapability',
    message('MultiProtocolCapability', { family: required(1, Family) }),
  ],
  route_refresh: [3, 'RouteRefreshCapability', message('RouteRefreshCapability', {})],
  carrying_label_info: [4, 'CarryingLabelInfoCapability', message('CarryingLabelInfoCapability', {})],
  extended_nexthop: [
    5,
    'ExtendedNexthopCapability',
    message('ExtendedNexthopCapability', {
      tuples: many(
        1,
        message('ExtendedNexthopCapabilityTuple', {
          nlri_family: required(1, Family),
          nexthop_family: required(2, Family),
        }),
      ),
    }),
  ],
  /** `flags` 8: restarting; 4: survives a NOTIFICATION. Of a family 0x80: its forwarding went on. */
  graceful_restart: [
    6,
    'GracefulRestartCapability',
    message('GracefulRestartCapability', {
      flags: required(1, u32),
      time: required(2, u32),
      tuples: many(3, FamilyFlags),
    }),
  ],
  four_octet_asn: [7, 'FourOctetASNCapability', message('FourOctetASNCapability', { asn: required(1, u32) })],
  add_path: [
    8,
    'AddPathCapability',
    message('AddPathCapability', {
      tuples: many(
        1,
        message('AddPathCapabilityTuple', {
          family: required(1, Family),
          mode: required(2, fixed({ none: 0, receive: 1, send: 2, both: 3 })),
        }),
      ),
    }),
  ],
  enhanced_route_refresh: [
    9,
    'EnhancedRouteRefreshCapability',
    message('EnhancedRouteRefreshCapability', {}),
  ],
  long_lived_graceful_restart: [
    10,
    'LongLivedGracefulRestartCapability',
    message('LongLivedGracefulRestartCapability', {
      tuples: many(
        1,
        message('LongLivedGracefulRestartCapabilityTuple', {
          family: required(1, Family),
          flags: required(2, u32),
          time: required(3, u32),
        }),
      ),
    }),
  ],
  route_refresh_cisco: [11, 'RouteRefreshCiscoCapability', message('RouteRefreshCiscoCapability', {})],
  fqdn: [
    12,
    'FqdnCapability',
    message('FqdnCapability', { host_name: required(1, text), domain_name: required(2, text) }),
  ],
  software_version: [
    13,
    'SoftwareVersionCapability',
    message('SoftwareVersionCapability', { software_version: required(1, text) }),
  ],
  extended_message: [14, 'ExtendedMessageCapability', message('ExtendedMessageCapability', {})],
});
export type Capability = Output<typeof Capability>;

const MessageCounts = message('Message', {
  notification: optional(1, u64),
  update: optional(2, u64),
  open: optional(3, u64),
  keepalive: optional(4, u64),
  refresh: optional(5, u64),
  discarded: optional(6, u64),
  total: optional(7, u64),
  withdraw_update: optional(8, u64),
  withdraw_prefix: optional(9, u64),
});

/** Why a session ended last; 4.x alone says so. */
export const DisconnectReason = fixed({
  unspecified: 0,
  admin_down: 1,
  hold_timer_expired: 2,
  notification_sent: 3,
  notification_received: 4,
  read_failed: 5,
  write_failed: 6,
  idle_timer_expired: 7,
  restart_timer_expired: 8,
  graceful_restart: 9,
  invalid_msg: 10,
  hard_reset: 11,
  deconfigured: 12,
  bad_peer_as: 13,
});

export const PeerState = message('PeerState', {
  description: optional(2, text),
  local_asn: optional(3, u32),
  messages: optional(
    4,
    message('Messages', { received: optional(1, MessageCounts), sent: optional(2, MessageCounts) }),
  ),
  neighbor_address: optional(5, address),
  peer_asn: optional(6, u32),
  peer_group: optional(7, text),
  type: optional(8, PeerType),
  session_state: optional(13, SessionState),
  admin_state: optional(15, AdminState),
  out_q: optional(16, u32),
  /** How often the session was lost. */
  flops: optional(17, u32),
  remote_cap: many(18, Capability),
  local_cap: many(19, Capability),
  router_id: optional(20, ipv4),
  disconnect_reason: optional({ v4: 21 }, DisconnectReason),
  disconnect_message: optional({ v4: 22 }, text),
});
export type PeerState = Output<typeof PeerState>;

export const Timers = message('Timers', {
  config: optional(
    1,
    message('TimersConfig', {
      connect_retry: optional(1, u64),
      hold_time: optional(2, u64),
      keepalive_interval: optional(3, u64),
      minimum_advertisement_interval: optional(4, u64),
      idle_hold_time_after_reset: optional(5, u64),
    }),
  ),
  state: optional(
    2,
    message('TimersState', {
      connect_retry: optional(1, u64),
      hold_time: optional(2, u64),
      keepalive_interval: optional(3, u64),
      minimum_advertisement_interval: optional(4, u64),
      negotiated_hold_time: optional(5, u64),
      /** Since when, in milliseconds since the epoch. */
      uptime: optional(6, timestamp),
      downtime: optional(7, timestamp),
    }),
  ),
});

export const Transport = message('Transport', {
  local_address: optional(1, address),
  local_port: optional(2, u32),
  mtu_discovery: optional(3, bool),
  passive_mode: optional(4, bool),
  remote_address: optional(5, address),
  remote_port: optional(6, u32),
  tcp_mss: optional(7, u32),
  bind_interface: optional(8, text),
  ip_tos: optional(9, u32, '4.3'),
});

/** `restart_time` is at most 4095. */
export const GracefulRestart = message('GracefulRestart', {
  enabled: optional(1, bool),
  restart_time: optional(2, u32),
  helper_only: optional(3, bool),
  deferral_time: optional(4, u32),
  notification_enabled: optional(5, bool),
  longlived_enabled: optional(6, bool),
  stale_routes_time: optional(7, u32),
  peer_restart_time: optional(8, u32),
  peer_restarting: optional(9, bool),
  local_restarting: optional(10, bool),
  mode: optional(11, text),
});

/** 3.x has an in_policy (1) before these two, which moves their numbers. */
export const ApplyPolicy = message('ApplyPolicy', {
  export_policy: optional({ v3: 2, v4: 1 }, PolicyAssignment),
  import_policy: optional({ v3: 3, v4: 2 }, PolicyAssignment),
});

export const AfiSafi = message('AfiSafi', {
  mp_graceful_restart: optional(
    1,
    message('MpGracefulRestart', {
      config: optional(1, message('MpGracefulRestartConfig', { enabled: required(1, bool) })),
      state: optional(
        2,
        message('MpGracefulRestartState', {
          enabled: optional(1, bool),
          received: optional(2, bool),
          advertised: optional(3, bool),
          end_of_rib_received: optional(4, bool),
          end_of_rib_sent: optional(5, bool),
          running: optional(6, bool),
        }),
      ),
    }),
  ),
  config: optional(2, message('AfiSafiConfig', { family: required(1, Family), enabled: required(2, bool) })),
  state: optional(
    3,
    message('AfiSafiState', {
      family: required(1, Family),
      enabled: optional(2, bool),
      received: optional(3, u64),
      accepted: optional(4, u64),
      advertised: optional(5, u64),
    }),
  ),
  apply_policy: optional(4, ApplyPolicy),
  prefix_limits: optional(
    7,
    message('PrefixLimit', {
      family: required(1, Family),
      max_prefixes: required(2, u32),
      shutdown_threshold_pct: optional(3, u32),
    }),
  ),
  long_lived_graceful_restart: optional(
    9,
    message('LongLivedGracefulRestart', {
      config: optional(
        1,
        message('LongLivedGracefulRestartConfig', {
          enabled: required(1, bool),
          restart_time: optional(2, u32),
        }),
      ),
      state: optional(
        2,
        message('LongLivedGracefulRestartState', {
          enabled: optional(1, bool),
          received: optional(2, bool),
          advertised: optional(3, bool),
          peer_restart_time: optional(4, u32),
          peer_restart_timer_expired: optional(5, bool),
          running: optional(6, bool),
        }),
      ),
    }),
  ),
  add_paths: optional(
    10,
    message('AddPaths', {
      config: optional(
        1,
        message('AddPathsConfig', { receive: optional(1, bool), send_max: optional(2, u32) }),
      ),
    }),
  ),
});

export const Peer = message('Peer', {
  apply_policy: optional(1, ApplyPolicy),
  conf: optional(2, PeerConf),
  ebgp_multihop: optional(
    3,
    message('EbgpMultihop', { enabled: required(1, bool), multihop_ttl: optional(2, u32) }),
  ),
  route_reflector: optional(
    4,
    message('RouteReflector', {
      route_reflector_client: required(1, bool),
      route_reflector_cluster_id: optional(2, ipv4),
    }),
  ),
  /** Of ListPeer and WatchEvent. */
  state: optional(5, PeerState),
  timers: optional(6, Timers),
  transport: optional(7, Transport),
  route_server: optional(
    8,
    message('RouteServer', { route_server_client: required(1, bool), secondary_route: optional(2, bool) }),
  ),
  graceful_restart: optional(9, GracefulRestart),
  afi_safis: many(10, AfiSafi),
  ttl_security: optional(
    11,
    message('TtlSecurity', { enabled: required(1, bool), ttl_min: optional(2, u32) }),
  ),
});
export type Peer = Output<typeof Peer>;
export type PeerInput = Input<typeof Peer>;
