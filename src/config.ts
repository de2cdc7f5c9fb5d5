import type { InterfaceLimits, InterfaceSpec } from './config/interface-spec.js';
import type { Secret } from './config/secret.js';
import type { UplinkSpec } from './config/uplinks.js';
import type { ListenAddress } from './config/values.js';
import type { Origin, SourceSpoofing } from './config/variables.js';
import type { LogFormat, LogLevel } from './log.js';

export { type InterfaceLimits, type InterfaceSpec, readInterfaceSpec } from './config/interface-spec.js';
export { loadConfig, loadRestoreConfig } from './config/load.js';
export { BadValue, ConfigError, type Problem, problemText } from './config/problem.js';
export { Secret } from './config/secret.js';
export { afPacketRingBytes, type Driver, drivers, type UplinkSpec } from './config/uplinks.js';
export type { ListenAddress } from './config/values.js';
export type { Origin } from './config/variables.js';

/** Life cycle points at which a hook runs, in order; one of the last two ends every life of VPP. */
export const hook_points = [
  'BEFORE_IF_READ',
  'BEFORE_VPP_RUN',
  'VPP_RUNNING',
  'VPP_DONE_OK',
  'VPP_ERRORED',
] as const;
export type HookPoint = (typeof hook_points)[number];

/** Traffic of pods to `ip` that is given to the host instead of being routed. */
export interface RedirectToHostRule {
  readonly protocol: 'tcp' | 'udp' | 'sctp' | 'icmp' | 'icmp6';
  readonly port: number;
  readonly ip: string;
}

export interface NeighbourLimits {
  readonly max_number: number;
  /** 0: never aged. */
  readonly max_age_s: number;
}

/** All that the environment says, complete and frozen. Times are milliseconds where a name ends in `_ms`. */
export interface Config {
  readonly node_name: string;
  /** Of the secrets that hold BGP passwords. */
  readonly namespace: string;
  readonly service_prefixes: readonly string[];
  readonly graceful_shutdown_timeout_ms: number;
  readonly log: { readonly level: LogLevel; readonly format: LogFormat };

  readonly uplinks: readonly UplinkSpec[];
  /** The one of `uplinks` that is main. */
  readonly main_uplink: UplinkSpec;
  readonly host_tap: InterfaceSpec;
  /** Address with length on the VPP side of every host tap. */
  readonly tap_address: string;
  readonly pods: {
    readonly spec: InterfaceSpec;
    readonly limits: InterfaceLimits;
    /** Of flows for which no policy is configured yet. */
    readonly default_verdict: 'allow' | 'deny';
    readonly source_spoofing: SourceSpoofing;
    readonly count_max: number;
  };
  /** Each gives a default route in VPP through the main uplink. */
  readonly default_gateways: readonly string[];
  readonly redirect_to_host: readonly RedirectToHostRule[];
  readonly neighbours: { readonly ip4: NeighbourLimits; readonly ip6: NeighbourLimits };

  readonly gates: {
    readonly memif: boolean;
    readonly vcl: boolean;
    readonly multinet: boolean;
    readonly srv6: boolean;
    readonly ipsec: boolean;
    readonly prometheus: boolean;
    readonly services: boolean;
    readonly gso: boolean;
    readonly spread_tx_queues: boolean;
    readonly udev_net_name_rules: boolean;
    /** A non-link-local IPv6 /128 of an uplink is given to VPP as /64. */
    readonly uplink_128_to_64: boolean;
  };
  /** How often, once a second, the kernel is asked for the tap's own IPv6 link-local address. */
  readonly link_local_tries: number;

  readonly vpp: {
    readonly binary: string;
    /** Absent: the template of this product. */
    readonly config_template?: string;
    readonly exec_template: string;
    /** Whether its cnat has the changes that source NAT for services of both families needs. */
    readonly cnat: 'stock' | 'repaired';
    readonly environment: Readonly<Record<string, string>>;
    /** Pause between the spawn and the first attempt to connect. */
    readonly startup_sleep_ms: number;
    readonly connect_timeout_ms: number;
    /** Empty: the kernel's core pattern is left alone. */
    readonly core_pattern: string;
    readonly probe: { readonly interval_ms: number; readonly timeout_ms: number; readonly failures: number };
    /** More than `count` deaths within `within_ms`: Linux gets its network back and the process exits. */
    readonly restarts: { readonly count: number; readonly within_ms: number };
    readonly netns: string;
  };

  readonly hooks: {
    /** False: the built-in work for the first uplink only, as the shell script of the Go implementation did it. */
    readonly built_in: boolean;
    /** Not empty: runs in place of the built-in work. */
    readonly scripts: Readonly<Record<HookPoint, string>>;
    readonly timeout_ms: number;
  };

  readonly bgp: {
    readonly log_level: LogLevel;
    readonly server_mode: 'dualStack' | 'v4Only';
    readonly binary: string;
    /** What Calico uses of BGP: with `none` and `vxlan` nothing. */
    readonly networking: 'bird' | 'vxlan' | 'none';
    /** An IPv4 address, or `hash`: made of the node's name. Absent: the node's address where it has an IPv4 one, else `hash`. */
    readonly router_id?: string;
  };
  readonly ipsec: {
    readonly psk: Secret;
    /** Has the key in place of `psk`, and is read again and again. */
    readonly psk_file?: string;
    readonly cross_tunnels: boolean;
    readonly async_crypto_threads: number;
    readonly extra_addresses: number;
  };
  /** Both empty unless the gate is on. */
  readonly srv6: { readonly localsid_pool: string; readonly policy_pool: string };
  readonly prometheus: {
    readonly listen: ListenAddress;
    readonly interval_ms: number;
    /** Of the names of the Go implementation. */
    readonly prefix: string;
    /** Those names are served, too. */
    readonly legacy: boolean;
    /** Counters of interfaces by thread of VPP. */
    readonly per_worker: boolean;
  };
  /** Without address: every one. */
  readonly health: { readonly port: number; readonly address?: string };
  /** Where load balancers ask whether the node serves; absent: nowhere. */
  readonly healthz?: ListenAddress;
  /** TCP port on the loopback address; 0: only the socket. */
  readonly debug: { readonly port: number };
  /** False: nothing is read from or written to an API server. */
  readonly kubernetes: boolean;
  /** Names the API server in place of the pod's service account. */
  readonly kubeconfig?: string;
  /** The one version of Calico's API to use. Absent: whatever is served. */
  readonly calico_version?: string;
  /** Where routes to other nodes come from. `auto`: from BGP where there is a BGP speaker and Calico does not do without. */
  readonly route_source: 'auto' | 'bgp' | 'ipam';
  /** `required`: what pods send to pods of other nodes is encrypted, or is not sent. */
  readonly encryption: 'auto' | 'required';
  /** IPv4 packets with options are kept from the host, which no policy of VPP's would do. */
  readonly drop_ip_options: boolean;
  /** Pods get nothing of protocols that VPP does not judge. */
  readonly drop_other_protocols: boolean;
  /** False: no policy is waited for, all traffic of pods is allowed. */
  readonly felix: boolean;

  readonly paths: {
    readonly run_dir: string;
    readonly state_dir: string;
    readonly startup_config: string;
    readonly startup_exec: string;
    readonly api_socket: string;
    readonly cli_socket: string;
    readonly stats_socket: string;
    readonly vpp_pid_file: string;
    readonly info_file: string;
    readonly gobgpd_socket: string;
    readonly debug_socket: string;
    readonly cni_socket: string;
    readonly felix_socket: string;
    readonly netns_dir: string;
    /** Where Felix's container finds the drivers that it may start. */
    readonly felix_plugins_dir: string;
    /** Where the CNI plugin looks whether a pod's policies are in force. */
    readonly endpoint_status_dir: string;
    /** Where the host's file system is mounted, if it is there. */
    readonly host_root: string;
    /** Where the captured Linux configuration is kept beside the journal. Empty: nowhere. */
    readonly if_config_save: string;
  };

  /** By variable: where its value comes from and what it is. */
  readonly origins: Readonly<Record<string, { readonly origin: Origin; readonly value: unknown }>>;
}

/** What an end needs of the configuration: where things are. */
export interface RestoreConfig {
  readonly log: Config['log'];
  readonly vpp: Pick<Config['vpp'], 'binary' | 'netns'>;
  readonly bgp: Pick<Config['bgp'], 'binary' | 'log_level'>;
  readonly paths: Omit<
    Config['paths'],
    'felix_plugins_dir' | 'endpoint_status_dir' | 'host_root' | 'if_config_save'
  >;
}

/** The configuration as plain JSON values for the debug endpoint and the log; secrets show as `[redacted]`. */
export function describeConfig(config: Config): Record<string, unknown> {
  return JSON.parse(JSON.stringify(config));
}
