/** From the environment to one object. */
import { join } from 'node:path';
import type { Config, RestoreConfig } from '../config.js';
import { hostTap, inside, podSpecs, redirectRules } from './interface-documents.js';
import { ConfigError, type Fault } from './problem.js';
import { pskFault } from './psk.js';
import { assembleUplinks } from './uplinks.js';
import { ip_address, list, prefix } from './values.js';
import { Environment, variables } from './variables.js';

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const inner of Object.values(value)) deepFreeze(inner);
  }
  return value;
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
