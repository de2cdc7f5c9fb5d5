import { isIP } from 'node:net';
import { join } from 'node:path';
import {
  capped,
  excess,
  fillIn,
  type InterfaceLimits,
  type InterfaceSpec,
  interface_spec_default,
  limits,
  ringFaults,
} from './config/interface-spec.js';
import { BadValue, ConfigError, type Fault } from './config/problem.js';
import { pskFault } from './config/psk.js';
import type { Secret } from './config/secret.js';
import { assembleUplinks, type UplinkSpec } from './config/uplinks.js';
import { ip_address, type ListenAddress, list, type Parse, prefix } from './config/values.js';
import { Environment, type Origin, type SourceSpoofing, variables } from './config/variables.js';
import type { LogFormat, LogLevel } from './log.js';

export { type InterfaceLimits, type InterfaceSpec, readInterfaceSpec } from './config/interface-spec.js';
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

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const inner of Object.values(value)) deepFreeze(inner);
  }
  return value;
}

/** Runs a parser on a text inside a document; a fault is noted under `path`. */
function inside<T>(parse: Parse<T>, text: string, fallback: T, path: string, faults: Fault[]): T {
  if (text === '') return fallback;
  try {
    return parse(text, () => {});
  } catch (error) {
    if (!(error instanceof BadValue)) throw error;
    faults.push(...error.faults.map((fault) => ({ ...fault, path })));
    return fallback;
  }
}

const redirect_protocols: readonly string[] = [
  'tcp',
  'udp',
  'sctp',
  'icmp',
  'icmp6',
] satisfies RedirectToHostRule['protocol'][];

type InitialConfig = (typeof variables.initial_config)['fallback'];

function redirectRules(document: InitialConfig, faults: Fault[]): RedirectToHostRule[] {
  return document.redirectToHostRules.map(({ proto, port, ip }, i) => {
    const protocol = proto.toLowerCase();
    const path = `redirectToHostRules[${i}]`;
    if (!redirect_protocols.includes(protocol)) {
      faults.push({
        path: `${path}.proto`,
        cause: `${JSON.stringify(proto)} is not a protocol that can be redirected`,
        step: `use one of ${redirect_protocols.join(', ')}`,
      });
    } else if ((protocol === 'icmp' && isIP(ip) === 6) || (protocol === 'icmp6' && isIP(ip) === 4)) {
      faults.push({
        path,
        cause: `${protocol} does not go with ${ip}`,
        step: 'use icmp with IPv4 and icmp6 with IPv6',
      });
    }
    return { protocol: protocol as RedirectToHostRule['protocol'], port, ip };
  });
}

type Interfaces = (typeof variables.interfaces)['fallback'];

/** A default that nobody asked for bows to the limits; one that is written down must keep them. */
function podSpecs(document: Interfaces, faults: Fault[], warn: (text: string) => void) {
  const most = limits(document.maxPodIfSpec ?? {});
  const base: InterfaceSpec = { ...capped(interface_spec_default, most), is_l3: true };
  const spec = fillIn(document.defaultPodIfSpec ?? {}, base, (text) => warn(`defaultPodIfSpec.${text}`));
  faults.push(...ringFaults(spec, 'defaultPodIfSpec.'));
  for (const { key, asked, max } of excess(spec, most)) {
    faults.push({
      path: `defaultPodIfSpec.${key}`,
      cause: `${asked} is more than the ${max} of maxPodIfSpec`,
      step: `lower it to ${max}, or raise maxPodIfSpec.${key}`,
    });
  }
  return { spec, limits: most };
}

function hostTap(document: Interfaces, faults: Fault[], warn: (text: string) => void): InterfaceSpec {
  const spec = fillIn(document.vppHostTapSpec, interface_spec_default, (text) =>
    warn(`vppHostTapSpec.${text}`),
  );
  faults.push(...ringFaults(spec, 'vppHostTapSpec.'));
  if (document.vppHostTapSpec.isl3)
    warn('vppHostTapSpec.isl3 has no effect: the host tap stands in for an Ethernet device');
  const { is_l3: _, ...tap } = spec;
  return tap;
}

/**
 * Reads the whole configuration from environment variables. Nothing else is read and nothing is touched.
 * Warnings are sentences for the log. Throws ConfigError with every problem found.
 */
export function loadConfig(env: NodeJS.ProcessEnv): {
  readonly config: Config;
  readonly warnings: readonly string[];
} {
  const environment = new Environment(env);
  const read = Object.fromEntries(
    Object.entries(variables).map(([key, variable]) => [key, environment.read<unknown>(variable)]),
  ) as { [K in keyof typeof variables]: (typeof variables)[K]['fallback'] };

  const noting = <T>(
    variable: { readonly name: string },
    run: (faults: Fault[], warn: (text: string) => void) => T,
  ): T => {
    const faults: Fault[] = [];
    const result = run(faults, (text) => environment.warnings.push(`${variable.name}: ${text}`));
    environment.problems.push(...faults.map((fault) => ({ variable: variable.name, ...fault })));
    return result;
  };

  const { interfaces, initial_config: initial, debug, feature_gates: gates } = read;
  const interfaces_readable = !environment.problems.some(
    ({ variable }) => variable === variables.interfaces.name,
  );
  const uplinks = noting(variables.interfaces, (faults, warn) =>
    interfaces_readable ? assembleUplinks(interfaces, read, faults, warn) : [],
  );
  const pods = noting(variables.interfaces, (faults, warn) => podSpecs(interfaces, faults, warn));
  const host_tap = noting(variables.interfaces, (faults, warn) => hostTap(interfaces, faults, warn));
  const redirect_to_host = noting(variables.initial_config, (faults) => redirectRules(initial, faults));
  const default_gateways = noting(variables.initial_config, (faults) =>
    inside(list(ip_address), initial.defaultGWs, [], 'defaultGWs', faults),
  );
  const srv6 = noting(variables.srv6, (faults) => {
    const pool = (key: 'localsidPool' | 'policyPool'): string => {
      const text = read.srv6[key];
      if (text === '' && gates.srv6Enabled) {
        faults.push({
          path: key,
          cause: 'it is empty while srv6Enabled is true',
          step: 'give a prefix, e.g. fd00:10::/112',
        });
      }
      return inside(prefix, text, '', key, faults);
    };
    return { localsid_pool: pool('localsidPool'), policy_pool: pool('policyPool') };
  });
  if (gates.ipsecEnabled && read.ikev2_psk_file === undefined) {
    const fault = pskFault(read.ikev2_psk);
    if (fault !== undefined)
      environment.problems.push({
        variable: variables.ikev2_psk.name,
        cause: `${fault.cause}, while ipsecEnabled is true`,
        step: `${fault.step} (the key psk of the secret calicovpp-ipsec-secret), or turn ipsecEnabled off`,
      });
  }
  if (read.interface === '' && (read.native_driver !== '' || read.swap_driver !== '')) {
    environment.warnings.push(
      'CALICOVPP_NATIVE_DRIVER and CALICOVPP_SWAP_DRIVER have no effect without CALICOVPP_INTERFACE',
    );
  }

  if (read.kubernetes === 'on' && read.kubernetes_host === '' && read.kubeconfig === undefined) {
    environment.problems.push({
      variable: variables.kubernetes.name,
      cause: 'it is on where no API server is known',
      step: 'run in a pod, or set KUBECONFIG to a file',
    });
  }

  const main_uplink = uplinks.find(({ is_main }) => is_main);
  if (environment.problems.length > 0 || !main_uplink) throw new ConfigError(environment.problems);

  const kubernetes =
    read.kubernetes === 'auto'
      ? read.kubernetes_host !== '' || read.kubeconfig !== undefined
      : read.kubernetes === 'on';

  const config: Config = {
    node_name: read.node_name,
    namespace: read.namespace,
    service_prefixes: read.service_prefixes,
    graceful_shutdown_timeout_ms: read.graceful_shutdown_timeout_ms,
    log: { level: read.log_level, format: read.log_format },
    uplinks,
    main_uplink,
    host_tap,
    tap_address: read.tap_address,
    pods: {
      ...pods,
      count_max: read.pods_max,
      default_verdict: read.pod_default_verdict,
      source_spoofing: read.source_spoofing,
    },
    default_gateways,
    redirect_to_host,
    neighbours: {
      ip4: { max_number: initial.ip4NeighborsMaxNumber, max_age_s: initial.ip4NeighborsMaxAge },
      ip6: { max_number: initial.ip6NeighborsMaxNumber, max_age_s: initial.ip6NeighborsMaxAge },
    },
    gates: {
      memif: gates.memifEnabled,
      vcl: gates.vclEnabled,
      multinet: gates.multinetEnabled,
      srv6: gates.srv6Enabled,
      ipsec: gates.ipsecEnabled,
      prometheus: gates.prometheusEnabled,
      services: debug.servicesEnabled,
      gso: debug.gsoEnabled,
      spread_tx_queues: debug.spreadTxQueuesOnWorkers,
      udev_net_name_rules: debug.enableUdevNetNameRules,
      uplink_128_to_64: debug.translateUplinkAddrMaskTo64,
    },
    link_local_tries: debug.fetchV6LLntries,
    vpp: {
      binary: read.vpp_binary,
      ...(read.config_template !== undefined && { config_template: read.config_template }),
      exec_template: read.exec_template,
      cnat: read.cnat,
      environment: read.vpp_environment,
      startup_sleep_ms: initial.vppStartupSleepSeconds * 1000,
      connect_timeout_ms: read.vpp_connect_timeout_ms,
      core_pattern: initial.corePattern,
      probe: {
        interval_ms: read.vpp_probe_interval_ms,
        timeout_ms: read.vpp_probe_timeout_ms,
        failures: read.vpp_probe_failures,
      },
      restarts: { count: read.vpp_restarts_max, within_ms: read.vpp_restart_window_ms },
      netns: read.vpp_netns,
    },
    hooks: {
      built_in: read.built_in_hooks,
      scripts: {
        BEFORE_IF_READ: read.hook_before_if_read,
        BEFORE_VPP_RUN: read.hook_before_vpp_run,
        VPP_RUNNING: read.hook_vpp_running,
        VPP_DONE_OK: read.hook_vpp_done_ok,
        VPP_ERRORED: read.hook_vpp_errored,
      },
      timeout_ms: read.hook_timeout_ms,
    },
    bgp: {
      log_level: read.bgp_log_level,
      server_mode: read.bgp_server_mode,
      binary: read.gobgpd_binary,
      networking: read.networking_backend,
      ...(read.router_id !== undefined && { router_id: read.router_id }),
    },
    ipsec: {
      psk: read.ikev2_psk,
      ...(read.ikev2_psk_file !== undefined && { psk_file: read.ikev2_psk_file }),
      cross_tunnels: read.ipsec.crossIPSecTunnels,
      async_crypto_threads: read.ipsec.nbAsyncCryptoThreads,
      extra_addresses: read.ipsec.extraAddresses,
    },
    srv6,
    prometheus: {
      listen: initial.prometheusListenEndpoint,
      interval_ms: initial.prometheusRecordMetricInterval,
      prefix: initial.prometheusStatsPrefix,
      legacy: initial.legacyMetrics,
      per_worker: initial.workerMetrics,
    },
    health: {
      port: initial.healthCheckPort,
      ...(read.health_address !== undefined && { address: read.health_address }),
    },
    ...(read.healthz_bind_address !== undefined && { healthz: read.healthz_bind_address }),
    debug: { port: read.debug_port },
    kubernetes,
    ...(read.kubeconfig !== undefined && { kubeconfig: read.kubeconfig }),
    ...(read.calico_version !== undefined && { calico_version: read.calico_version }),
    route_source: read.route_source,
    encryption: read.encryption,
    drop_ip_options: read.ip_options === 'drop',
    drop_other_protocols: read.other_protocols === 'drop',
    felix: read.felix === 'auto' ? kubernetes : read.felix === 'on',
    paths: {
      ...pathsOf(read),
      felix_plugins_dir: read.felix_plugins_dir,
      endpoint_status_dir: read.endpoint_status_dir,
      host_root: read.host_root,
      if_config_save: initial.ifConfigSavePath,
    },
    origins: Object.fromEntries(environment.origins),
  };
  return { config: deepFreeze(config), warnings: environment.warnings };
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

/** Reads that alone: whatever else is wrong, a host is given back. Throws ConfigError where one of the paths is wrong. */
export function loadRestoreConfig(env: NodeJS.ProcessEnv): RestoreConfig {
  const paths = new Environment(env);
  const config: Omit<RestoreConfig, 'log' | 'bgp'> = {
    vpp: { binary: paths.read(variables.vpp_binary), netns: paths.read(variables.vpp_netns) },
    paths: pathsOf({
      run_dir: paths.read(variables.run_dir),
      state_dir: paths.read(variables.state_dir),
      config_dir: paths.read(variables.config_dir),
      stats_socket: paths.read(variables.stats_socket),
      gobgpd_socket: paths.read(variables.gobgpd_socket),
      debug_socket: paths.read(variables.debug_socket),
      cni_socket: paths.read(variables.cni_socket),
      felix_socket: paths.read(variables.felix_socket),
      netns_dir: paths.read(variables.netns_dir),
    }),
  };
  if (paths.problems.length > 0) throw new ConfigError(paths.problems);
  const other = new Environment(env);
  const log = { level: other.read(variables.log_level), format: other.read(variables.log_format) };
  const bgp = { binary: other.read(variables.gobgpd_binary), log_level: other.read(variables.bgp_log_level) };
  return { ...config, log, bgp };
}

type PathVariables = { readonly [K in PathVariable]: (typeof variables)[K]['fallback'] };
type PathVariable =
  | 'run_dir'
  | 'state_dir'
  | 'config_dir'
  | 'stats_socket'
  | 'gobgpd_socket'
  | 'debug_socket'
  | 'cni_socket'
  | 'felix_socket'
  | 'netns_dir';

function pathsOf(read: PathVariables): RestoreConfig['paths'] {
  const { run_dir, config_dir } = read;
  return {
    run_dir,
    state_dir: read.state_dir,
    startup_config: join(config_dir, 'startup.conf'),
    startup_exec: join(config_dir, 'startup.exec'),
    api_socket: join(run_dir, 'vpp-api.sock'),
    cli_socket: join(run_dir, 'cli.sock'),
    stats_socket: read.stats_socket ?? join(run_dir, 'stats.sock'),
    vpp_pid_file: join(run_dir, 'vpp.pid'),
    info_file: join(run_dir, 'vppmanagerinfofile'),
    gobgpd_socket: read.gobgpd_socket ?? join(run_dir, 'gobgpd', 'api.sock'),
    debug_socket: read.debug_socket ?? join(run_dir, 'debug.sock'),
    cni_socket: read.cni_socket,
    felix_socket: read.felix_socket,
    netns_dir: read.netns_dir,
  };
}

/** The configuration as plain JSON values for the debug endpoint and the log; secrets show as `[redacted]`. */
export function describeConfig(config: Config): Record<string, unknown> {
  return JSON.parse(JSON.stringify(config));
}
