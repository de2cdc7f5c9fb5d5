import * as v from 'valibot';
import { interface_spec_document, interface_spec_entries } from './interface-spec.js';
import { flag, parsed, whole, word, words } from './json-document.js';
import { duration_ms, ip_address, listen_address } from './values.js';

/** The JSON documents of the ConfigMap, key by key as the Go implementation names them. */

const u32_max = 2 ** 32 - 1;
const u16_max = 2 ** 16 - 1;

export const uplink_document = v.object({
  ...interface_spec_entries,
  interfaceName: v.optional(word(), ''),
  vppDriver: v.optional(word(), ''),
  newDriver: v.optional(word(), ''),
  isMain: v.optional(flag(), false),
  physicalNetworkName: v.optional(word(), ''),
  mtu: v.optional(whole(0, u16_max), 0),
  ipFamilies: v.optional(word(), ''),
  annotations: v.optional(words(), {}),
});
export type UplinkDocument = v.InferOutput<typeof uplink_document>;

export const interfaces_document = v.object({
  maxPodIfSpec: v.optional(interface_spec_document),
  defaultPodIfSpec: v.optional(interface_spec_document),
  vppHostTapSpec: v.optional(interface_spec_document, {}),
  uplinkInterfaces: v.optional(v.array(uplink_document, 'an array'), []),
});
export type InterfacesDocument = v.InferOutput<typeof interfaces_document>;

/** Nanoseconds as the Go implementation takes them, or a duration such as `5s`. */
const interval_ms = v.union(
  [
    v.pipe(
      whole(1, Number.MAX_SAFE_INTEGER),
      v.transform((ns) => ns / 1e6),
    ),
    parsed(duration_ms, 'a duration'),
  ],
  'a number of nanoseconds or a duration such as 5s',
);

export const initial_config_document = v.object({
  vppStartupSleepSeconds: v.optional(whole(0, 3600), 0),
  corePattern: v.optional(word(), ''),
  ifConfigSavePath: v.optional(word(), ''),
  defaultGWs: v.optional(word(), ''),
  redirectToHostRules: v.optional(
    v.array(
      v.object({
        proto: word(),
        port: v.optional(whole(0, u16_max), 0),
        ip: parsed(ip_address, 'an IP address'),
      }),
      'an array',
    ),
    [],
  ),
  prometheusListenEndpoint: v.optional(parsed(listen_address, 'host:port, e.g. :8888'), '127.0.0.1:8888'),
  prometheusRecordMetricInterval: v.optional(interval_ms, 5e9),
  prometheusStatsPrefix: v.optional(word(), 'cni.projectcalico.vpp.'),
  legacyMetrics: v.optional(flag(), true),
  workerMetrics: v.optional(flag(), false),
  ip4NeighborsMaxNumber: v.optional(whole(0, u32_max), 50_000),
  ip6NeighborsMaxNumber: v.optional(whole(0, u32_max), 50_000),
  ip4NeighborsMaxAge: v.optional(whole(0, u32_max), 30),
  ip6NeighborsMaxAge: v.optional(whole(0, u32_max), 30),
  healthCheckPort: v.optional(whole(1, u16_max), 9090),
});

export const debug_document = v.object({
  servicesEnabled: v.optional(flag(), true),
  gsoEnabled: v.optional(flag(), true),
  spreadTxQueuesOnWorkers: v.optional(flag(), false),
  enableUdevNetNameRules: v.optional(flag(), true),
  fetchV6LLntries: v.optional(whole(0, 3600), 5),
  translateUplinkAddrMaskTo64: v.optional(flag(), true),
});

export const feature_gates_document = v.object({
  memifEnabled: v.optional(flag(), false),
  vclEnabled: v.optional(flag(), false),
  multinetEnabled: v.optional(flag(), false),
  srv6Enabled: v.optional(flag(), false),
  ipsecEnabled: v.optional(flag(), false),
  prometheusEnabled: v.optional(flag(), false),
});

export const ipsec_document = v.object({
  crossIPSecTunnels: v.optional(flag(), false),
  nbAsyncCryptoThreads: v.optional(whole(0, 1024), 0),
  extraAddresses: v.optional(whole(0, 255), 0),
});

export const srv6_document = v.object({
  localsidPool: v.optional(word(), ''),
  policyPool: v.optional(word(), ''),
});

/** Variables for VPP's process alone, e.g. LD_PRELOAD, so that this process and its other children do not get them. */
export const environment_document = words();
