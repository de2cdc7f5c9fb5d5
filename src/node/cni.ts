/** The CNI actor, with its settings. */
import { join } from 'node:path';
import type { ActorRef } from '../actor-system.js';
import { cniActor } from '../actors/cni.js';
import { goStateFiles } from '../cni/go-state.js';
import { startCniServer } from '../cni/server.js';
import { srv6_headers_bytes } from '../desired/srv6.js';
import { readIfExists } from '../host/files.js';
import { OWN_NAMESPACE_PATH } from '../linux/network.js';
import type { UplinkMessage } from '../messages/uplink.js';
import type { VppConnectionMessage } from '../messages/vpp.js';
import { cni_settings_default } from '../pods/cni-deps.js';
import { PodState } from '../pods/pod-state.js';
import { buffersWanted } from '../vpp-conn/startup-buffers.js';
import { vclObstacle } from '../vpp-conn/vcl-obstacle.js';
import type { Wiring } from './wiring.js';

export function cniOf(
  { parts, board, gso, translations, policed, checksums, networkAddresses, cniCounts }: Wiring,
  vpp: ActorRef<VppConnectionMessage>,
  uplink: ActorRef<UplinkMessage>,
) {
  const { config, log, clock, host, cluster } = parts;
  const { paths, pods, gates } = config;
  const obstacle = gates.vcl ? vclObstacle(config) : undefined;
  if (obstacle !== undefined)
    log.warn({}, `pods(vcl) vclEnabled has no effect: ${obstacle.why}: ${obstacle.step}`);
  return cniActor({
    vpp,
    uplink,
    host,
    translations,
    policed,
    checksums,
    addresses: networkAddresses,
    // Pods do not outlive a restart of the machine, nor does the run directory.
    store: new PodState(join(paths.run_dir, 'pods')),
    startServer: (handlers) =>
      startCniServer({ path: paths.cni_socket, handlers: cniCounts.counted(handlers), log, clock }),
    report: ({ settled, reason }) => board.set('cni', settled, reason),
    readGoState: () => firstContent(goStateFiles(paths.run_dir)),
    node_namespaces: [OWN_NAMESPACE_PATH, join(paths.netns_dir, config.vpp.netns)],
    limits: () => ({
      default_spec: pods.spec,
      max_spec: pods.limits,
      gates,
      ...(obstacle && { vcl_obstacle: `${obstacle.why}: ${obstacle.step}` }),
      source_spoofing: cluster.workloadSourceSpoofing() ?? pods.source_spoofing,
    }),
    settings: {
      ...cni_settings_default,
      gso,
      buffers_wanted: buffersWanted({
        pods_max: pods.count_max,
        pod_rx_buffers: pods.spec.rx_queues * pods.spec.rx_ring_size,
      }),
      // Felix speaks of a pod after its ADD: until then nothing passes.
      default_verdict: config.felix ? 'deny' : pods.default_verdict,
      drop_other_protocols: config.drop_other_protocols,
      ...(gates.srv6 && { headers_bytes: srv6_headers_bytes }),
    },
  });
}

function firstContent(paths: readonly string[]): string | undefined {
  for (const path of paths) {
    const text = readIfExists(path);
    if (text !== undefined) return text;
  }
  return undefined;
}
