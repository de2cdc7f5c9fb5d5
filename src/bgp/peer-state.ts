/** A wanted peer as GoBGP's message, and what gobgpd tells of one. Pure. */
import { createHash } from 'node:crypto';
import { families, type Peer, type PeerInput } from 'gobgp-grpc-stubs';
import { Secret } from '../config/secret.js';
import { familyOf } from '../ip/text.js';
import { vpn_family } from './network-paths.js';
import type { WantedPeer } from './peers.js';

/** A peer that gobgpd has. */
export interface ActualPeer {
  readonly address: string;
  /** Of what cannot change without a new session; see sessionMark. Empty or foreign: not made by this program. */
  readonly mark: string;
  readonly password: Secret;
  readonly timers: string;
  readonly reach: string;
  readonly as_number: number;
  readonly session: string;
  /** It has told more prefixes than it may: gobgpd has ended the session, and opens none again by itself. */
  readonly over_limit: boolean;
  /** It has told all it has since the session came up, of each family of which it says when that is so, as far as gobgpd remembers. */
  readonly end_of_rib: boolean;
  readonly received: number;
  readonly established_ms?: number;
}

const mark_of = 'calico-vpp-node';

/**
 * Of all that a session is made of; kept as the peer's description, for gobgpd does not show every field as it was given. The password is not part of
 * it, nor is what can change while the session lasts.
 */
function sessionMark(peer: WantedPeer): string {
  const {
    address,
    port,
    as_number,
    local_as,
    local_address,
    passive,
    restart_s,
    allowed_local_as,
    cluster_id,
    sr_policies,
    networks,
  } = peer;
  const content = [
    address,
    port,
    as_number,
    local_as,
    local_address,
    passive,
    restart_s,
    allowed_local_as,
    cluster_id,
    // Absent where it is not so: what was told before goes on.
    ...(sr_policies ? ['sr_policies'] : []),
    ...(networks ? ['networks'] : []),
  ];
  return `${mark_of} ${createHash('sha256').update(JSON.stringify(content)).digest('hex').slice(0, 16)}`;
}

const timersOf = (hold_s: number, keepalive_s: number): string => `${hold_s}/${keepalive_s}`;

/** How far away the peer may be. */
function reachMessage({ ttl_security_hops, as_number, local_as }: WantedPeer) {
  if (ttl_security_hops !== undefined)
    return { ttl_security: { enabled: true, ttl_min: 255 - ttl_security_hops } };
  // A packet of the host has a hop through VPP before it: with the TTL 1 of plain eBGP it would get no further.
  if (as_number !== local_as) return { ebgp_multihop: { enabled: true, multihop_ttl: 255 } };
  return {};
}

function reachOf({ ttl_security, ebgp_multihop }: Pick<PeerInput, 'ttl_security' | 'ebgp_multihop'>): string {
  if (ttl_security?.enabled) return `security ${ttl_security.ttl_min}`;
  return ebgp_multihop?.enabled ? `multihop ${ebgp_multihop.multihop_ttl}` : 'plain';
}

/**
 * Seconds between attempts to open a session, each of which may take one less: the first one often comes before the other end has its peer. gobgpd 3.10
 * takes no less than 5 to 9.
 */
const connect_retry_s = 3;
/** From one peer: the internet's table, leaked by a router, is more. */
export const prefixes_max = 200_000;
/** SR policies of one peer: two of each node of a large cluster, by a reflector. */
const sr_policies_max = 20_000;
/** For how long a peer that restarts waits for others to have told all, before it chooses and tells paths itself. */
export const deferral_s = 10;

/**
 * `restarting`: the gobgpd is new, VPP still forwards by what the one before knew, and peers are to keep the routes that they have from it.
 */
export function peerMessage(peer: WantedPeer, restarting: boolean): PeerInput {
  const { address, cluster_id, local_address, password } = peer;
  const family = familyOf(address) === 4 ? families.ipv4_unicast : families.ipv6_unicast;
  return {
    conf: {
      neighbor_address: address,
      peer_asn: peer.as_number,
      local_asn: peer.local_as,
      allow_own_asn: peer.allowed_local_as,
      description: sessionMark(peer),
      ...(password && { auth_password: password.reveal() }),
    },
    transport: {
      remote_port: peer.port,
      passive_mode: peer.passive,
      ...(local_address !== undefined && { local_address }),
    },
    timers: {
      config: {
        hold_time: peer.hold_s,
        keepalive_interval: peer.keepalive_s,
        connect_retry: connect_retry_s,
        idle_hold_time_after_reset: connect_retry_s,
      },
    },
    ...reachMessage(peer),
    ...(cluster_id !== undefined && {
      route_reflector: { route_reflector_client: true, route_reflector_cluster_id: cluster_id },
    }),
    graceful_restart: {
      enabled: true,
      restart_time: peer.restart_s,
      deferral_time: deferral_s,
      notification_enabled: true,
      local_restarting: restarting,
    },
    afi_safis: [
      {
        config: { family, enabled: true },
        mp_graceful_restart: { config: { enabled: true } },
        prefix_limits: { family, max_prefixes: prefixes_max, shutdown_threshold_pct: 100 },
      },
      ...(peer.sr_policies
        ? [
            {
              config: { family: families.ipv6_sr_policy, enabled: true },
              mp_graceful_restart: { config: { enabled: true } },
              prefix_limits: {
                family: families.ipv6_sr_policy,
                max_prefixes: sr_policies_max,
                shutdown_threshold_pct: 100,
              },
            },
          ]
        : []),
      // Of its own family: what both sessions of two nodes told would be two paths to one pod.
      ...(peer.networks ? [vpn_family(familyOf(peer.address))] : []).map((vpn) => ({
        config: { family: vpn, enabled: true },
        mp_graceful_restart: { config: { enabled: true } },
        prefix_limits: { family: vpn, max_prefixes: prefixes_max, shutdown_threshold_pct: 100 },
      })),
    ],
  };
}

export function actualPeer(peer: Peer): ActualPeer | undefined {
  const { conf, timers, state } = peer;
  if (conf === undefined || conf.neighbor_address === '') return undefined;
  const uptime_ms = timers?.state?.uptime ?? 0;
  const session = state?.session_state ?? 'unknown';
  return {
    address: conf.neighbor_address,
    mark: conf.description,
    password: new Secret(conf.auth_password),
    timers: timersOf(timers?.config?.hold_time ?? 0, timers?.config?.keepalive_interval ?? 0),
    reach: reachOf(peer as PeerInput),
    as_number: conf.peer_asn,
    session,
    over_limit: state?.admin_state === 'pfx_ct',
    end_of_rib: hasToldAll(peer),
    received: peer.afi_safis.reduce((sum, { state: each }) => sum + (each?.received ?? 0), 0),
    ...(session === 'established' && uptime_ms > 0 && { established_ms: uptime_ms }),
  };
}

/** Of each family that it restarts gracefully with (`received`) it ends what it tells; one that names none, of any. */
function hasToldAll({ afi_safis }: Pick<Peer, 'afi_safis'>): boolean {
  const states = afi_safis.flatMap(({ mp_graceful_restart }) => mp_graceful_restart?.state ?? []);
  const graceful = states.filter(({ received }) => received === true);
  const isEnded = ({ end_of_rib_received }: (typeof states)[number]): boolean => end_of_rib_received === true;
  return graceful.length > 0 ? graceful.every(isEnded) : states.some(isEnded);
}

/** A peer as gobgpd has it once it was told: what is compared. */
export function toldPeer(peer: WantedPeer): ActualPeer {
  return {
    address: peer.address,
    mark: sessionMark(peer),
    password: peer.password ?? new Secret(''),
    timers: timersOf(peer.hold_s, peer.keepalive_s),
    reach: reachOf(reachMessage(peer)),
    as_number: peer.as_number,
    session: 'unknown',
    over_limit: false,
    end_of_rib: false,
    received: 0,
  };
}

export type PeerChange = 'none' | 'in_place' | 'new_session';

/** What `actual` lacks of `wanted`, and whether the session can go on meanwhile. */
export function peerChange(wanted: WantedPeer, actual: ActualPeer): PeerChange {
  const password = wanted.password?.reveal() ?? '';
  if (actual.mark !== sessionMark(wanted) || actual.password.reveal() !== password) return 'new_session';
  const same =
    actual.timers === timersOf(wanted.hold_s, wanted.keepalive_s) &&
    actual.reach === reachOf(reachMessage(wanted));
  return same ? 'none' : 'in_place';
}
