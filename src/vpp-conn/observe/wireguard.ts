/** WireGuard's interfaces and peers, back from VPP. Private keys are not asked for. */
import {
  wireguard_interface_dump,
  wireguard_peer_flags,
  type wireguard_peer_v2,
  wireguard_peers_v2_dump,
} from 'vpp-binapi-ts/wireguard';
import type { InterfaceTag } from '../../objects/interfaces.js';
import type { VppObject } from '../../objects/object.js';
import { type WireguardInterface, type WireguardPeer, wireguard_tag } from '../../objects/wireguard.js';
import { no_interface } from '../paths.js';
import type { Reader, TagOf } from './reader.js';

const base64 = (key: Uint8Array): string => Buffer.from(key).toString('base64');

/** By sw_if_index, each with the tag that it has when it is ours. */
export async function observeWireguard(
  reader: Reader,
): Promise<readonly (readonly [number, WireguardInterface])[]> {
  const dumped = await reader.dump(wireguard_interface_dump, {
    show_private_key: false,
    sw_if_index: no_interface,
  });
  return dumped.map(({ interface: { sw_if_index, src_ip: src, port, public_key } }) => [
    sw_if_index,
    { kind: 'wireguard_interface', tag: wireguard_tag, src, port, public_key: base64(public_key) },
  ]);
}

/** Peers with VPP's numbers of them; those of interfaces that VPP has no more are named so. */
export async function observePeers(
  reader: Reader,
  tagOf: TagOf,
): Promise<readonly (readonly [WireguardPeer, number])[]> {
  return (await dumpPeers(reader)).map((peer) => [peerOf(peer, tagOf(peer.sw_if_index)), peer.peer_index]);
}

async function dumpPeers(reader: Reader): Promise<readonly wireguard_peer_v2[]> {
  const dumped = await reader.dump(wireguard_peers_v2_dump, { peer_index: no_interface });
  return dumped.map(({ peer }) => peer);
}

function peerOf(peer: wireguard_peer_v2, tag: InterfaceTag): WireguardPeer {
  return {
    kind: 'wireguard_peer',
    interface: tag,
    public_key: base64(peer.public_key),
    endpoint: peer.endpoint,
    port: peer.port,
    keepalive_s: peer.persistent_keepalive,
    allowed: peer.allowed_ips,
  } satisfies VppObject;
}

/** What VPP says of a peer. It stays `established` for 150 s without a word of it. */
export interface PeerState {
  /** Base64. */
  readonly public_key: string;
  readonly endpoint: string;
  readonly port: number;
  readonly established: boolean;
  readonly dead: boolean;
}

export async function observePeerStates(reader: Reader): Promise<readonly PeerState[]> {
  return (await dumpPeers(reader)).map(({ public_key, endpoint, port, flags }) => ({
    public_key: base64(public_key),
    endpoint,
    port,
    established: (flags & wireguard_peer_flags.WIREGUARD_PEER_ESTABLISHED) !== 0,
    dead: (flags & wireguard_peer_flags.WIREGUARD_PEER_STATUS_DEAD) !== 0,
  }));
}
