/** The connectivity actor, with its settings. */
import { join } from 'node:path';
import type { ActorRef } from '../actor-system.js';
import { connectivityActor } from '../actors/connectivity.js';
import type { Config } from '../config.js';
import { readIfExists, writeAtomic } from '../host/files.js';
import { pskIn } from '../host/psk-file.js';
import { wireguardKeys } from '../host/wireguard-key.js';
import type { ClusterMessage } from '../messages/cluster.js';
import type { UplinkMessage } from '../messages/uplink.js';
import type { VppConnectionMessage } from '../messages/vpp.js';
import type { IpsecParts } from '../routes/ike-tunnels.js';
import type { PoolsFile } from '../routes/pool-guard.js';
import { route_writer_settings_default } from '../routes/route-writer.js';
import { TapChecksums } from '../uplink/tap-checksums.js';
import type { Wiring } from './wiring.js';

export function connectivityOf(
  { parts, sync, gso, route_source, policed, checksums }: Wiring,
  vpp: ActorRef<VppConnectionMessage>,
  uplink: ActorRef<UplinkMessage>,
  cluster: ActorRef<ClusterMessage>,
) {
  const taps = new TapChecksums(
    parts.host,
    parts.config.uplinks.map(({ interface_name }) => interface_name),
    parts.log,
  );
  return connectivityActor(
    {
      vpp,
      uplink,
      cluster,
      ...(parts.config.felix && { policed }),
      wireguard: {
        keys: () => wireguardKeys(join(parts.config.paths.state_dir, 'wireguard.key')),
        publish: (keys, signal, failing) => parts.cluster.publishWireguardKeys(keys, signal, failing),
      },
      ...ipsecOf(parts.config),
      pools_file: poolsFile(join(parts.config.paths.state_dir, 'pools.json')),
      checksums: (in_software) => {
        checksums.set(in_software);
        taps.set(in_software);
      },
      report: (ask) => sync.set('connectivity', ask),
    },
    {
      node_name: parts.config.node_name,
      route_source,
      gso,
      ...(parts.config.gates.srv6 && { srv6: parts.config.srv6 }),
      ...(parts.config.gates.multinet && { networks: true }),
      encryption_required: parts.config.encryption === 'required',
      coalesce_ms: 20,
      writer: route_writer_settings_default,
    },
  );
}

/** On the disk: the machine may begin anew without an API server. */
const poolsFile = (path: string): PoolsFile => ({
  read: () => readIfExists(path),
  write: (text) => writeAtomic(path, text, 0o600),
});

function ipsecOf({ gates, ipsec }: Config): { readonly ipsec?: IpsecParts } {
  if (!gates.ipsec) return {};
  const { psk, psk_file, extra_addresses, cross_tunnels, async_crypto_threads } = ipsec;
  const refused = [
    ...(extra_addresses > 0 || cross_tunnels ? [more_tunnels_fault] : []),
    ...(async_crypto_threads > 0 ? [async_crypto_fault] : []),
  ];
  return {
    ipsec: {
      key: () => (psk_file === undefined ? psk : pskIn(psk_file)),
      ...(refused.length > 0 && { not_done: refused.join('; ') }),
    },
  };
}

/** `ikev2_initiate_sa_init` of VPP's ikev2.c takes the first address of the interface, whatever the profile says of its end. */
const more_tunnels_fault =
  'extraAddresses and crossIPSecTunnels are refused: VPP begins IKE from the first address of its uplink alone, so that several tunnels could not be told apart, and there is one to each address of a node: take both out';

/** Keys that are replaced, as they are every hour, are freed at once, whatever packets other threads still have for them (docs/vpp-notes.md). */
const async_crypto_fault =
  'nbAsyncCryptoThreads is refused: VPP dies of new keys while its workers encrypt for each other, and each thread encrypts what it forwards: take it out';
