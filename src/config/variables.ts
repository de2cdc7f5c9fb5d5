import { isIPv4 } from 'node:net';
import { type LogFormat, type LogLevel, parseLogLevel } from '../log.js';
import * as documents from './documents.js';
import { json, read as readDocument } from './json-document.js';
import { nearest } from './nearest.js';
import { old_names } from './old-names.js';
import { BadValue, type Problem } from './problem.js';
import { pskOf } from './psk.js';
import { Secret } from './secret.js';
import {
  absolute_path,
  boolean,
  duration_ms,
  type ListenAddress,
  list,
  listen_address,
  netns_name,
  one_of,
  type Parse,
  prefix,
  text,
  typed,
  whole_number,
} from './values.js';

/** Every environment variable that is read, as data. An empty one counts as unset. */

export type Origin = 'default' | 'environment' | 'deprecated';

export interface Variable<T> {
  readonly name: string;
  readonly parse: Parse<T>;
  readonly fallback: T;
  readonly required?: boolean;
  /** What to use in its place. */
  readonly deprecated?: string;
}

function variable<T>(
  name: string,
  parse: Parse<T>,
  fallback: T,
  more: Pick<Variable<T>, 'required' | 'deprecated'> = {},
): Variable<T> {
  return { name, parse, fallback, ...more };
}

function document<S extends Parameters<typeof json>[0]>(name: string, schema: S) {
  return variable(
    name,
    json(schema),
    readDocument(schema, {}, () => {}),
  );
}

/** The words of the Go implementation. */
const log_level: Parse<LogLevel> = typed('`fatal` `error` `warn` `info` `debug` `trace`', (value) => {
  const level = parseLogLevel(value);
  if (level) return level;
  throw new BadValue({
    cause: `${JSON.stringify(value)} is not a log level`,
    step: 'use one of fatal, error, warn, info, debug, trace',
  });
});

/** BGP knows a router by 32 bits, of which some are nobody's. */
const router_id: Parse<string> = (value) => {
  const trimmed = value.trim();
  if (trimmed === 'hash') return trimmed;
  const first = isIPv4(trimmed) ? Number(trimmed.split('.')[0]) : 0;
  if (first > 0 && first !== 127 && first < 224) return trimmed;
  throw new BadValue({
    cause: `${JSON.stringify(value)} is no identifier of a router`,
    step: 'use an IPv4 address of a host, or hash',
  });
};

const auto_on_off = one_of<'auto' | 'on' | 'off'>({ auto: 'auto', on: 'on', off: 'off' });
const port = whole_number(0, 65535);
/** Absent: nowhere. As kube-proxy's `healthzBindAddress`, whose empty value and port 0 mean that, too. */
const optional_listen_address: Parse<ListenAddress | undefined> = (value, warn) => {
  if (value.trim() === 'off') return undefined;
  const address = listen_address(value, warn);
  return address.port === 0 ? undefined : address;
};
const optional_text = text as Parse<string | undefined>;

/**
 * Whether pods may have source addresses beside their own: `Any` and `Disabled` as Calico's FelixConfiguration has them. `Legacy`: by
 * the annotation of the Go implementation alone, as with that.
 */
export type SourceSpoofing = 'Any' | 'Disabled' | 'Legacy';

/** As Calico's own programs name them. */
const calico_api_versions = ['crd.projectcalico.org/v1', 'projectcalico.org/v3'];

export const variables = {
  node_name: variable('NODENAME', text, '', { required: true }),
  namespace: variable('NAMESPACE', text, 'calico-vpp-dataplane'),
  service_prefixes: variable('SERVICE_PREFIX', list(prefix), []),

  config_template: variable('CALICOVPP_CONFIG_TEMPLATE', optional_text, undefined),
  exec_template: variable('CALICOVPP_CONFIG_EXEC_TEMPLATE', text, ''),
  log_level: variable('CALICOVPP_LOG_LEVEL', log_level, 'info' as LogLevel),
  bgp_log_level: variable('CALICOVPP_BGP_LOG_LEVEL', log_level, 'info' as LogLevel),
  log_format: variable(
    'CALICOVPP_LOG_FORMAT',
    one_of<LogFormat>({ json: 'json', text: 'text', pretty: 'pretty' }),
    'json' as LogFormat,
  ),
  bgp_server_mode: variable(
    'CALICOVPP_BGP_SERVER_MODE',
    one_of<'dualStack' | 'v4Only'>({ dualstack: 'dualStack', v4only: 'v4Only' }),
    'dualStack' as const,
  ),
  ikev2_psk: variable('CALICOVPP_IPSEC_IKEV2_PSK', pskOf, new Secret('')),
  graceful_shutdown_timeout_ms: variable('CALICOVPP_GRACEFUL_SHUTDOWN_TIMEOUT', duration_ms, 10_000),
  stats_socket: variable('CALICOVPP_STATS_SOCKET', absolute_path as Parse<string | undefined>, undefined),
  tap_address: variable('CALICOVPP_TAP0_ADDR', prefix, '169.254.0.1/32'),
  built_in_hooks: variable('CALICOVPP_ENABLE_NETWORK_MANAGER_HOOK', boolean, true),
  hook_before_if_read: variable('CALICOVPP_HOOK_BEFORE_IF_READ', text, ''),
  hook_before_vpp_run: variable('CALICOVPP_HOOK_BEFORE_VPP_RUN', text, ''),
  hook_vpp_running: variable('CALICOVPP_HOOK_VPP_RUNNING', text, ''),
  hook_vpp_done_ok: variable('CALICOVPP_HOOK_VPP_DONE_OK', text, ''),
  hook_vpp_errored: variable('CALICOVPP_HOOK_VPP_ERRORED', text, ''),

  interfaces: document('CALICOVPP_INTERFACES', documents.interfaces_document),
  initial_config: document('CALICOVPP_INITIAL_CONFIG', documents.initial_config_document),
  debug: document('CALICOVPP_DEBUG', documents.debug_document),
  feature_gates: document('CALICOVPP_FEATURE_GATES', documents.feature_gates_document),
  ipsec: document('CALICOVPP_IPSEC', documents.ipsec_document),
  srv6: document('CALICOVPP_SRV6', documents.srv6_document),

  interface: variable('CALICOVPP_INTERFACE', text, '', {
    deprecated: 'uplinkInterfaces in CALICOVPP_INTERFACES',
  }),
  native_driver: variable('CALICOVPP_NATIVE_DRIVER', text, '', {
    deprecated: 'vppDriver in CALICOVPP_INTERFACES',
  }),
  swap_driver: variable('CALICOVPP_SWAP_DRIVER', text, '', {
    deprecated: 'newDriver in CALICOVPP_INTERFACES',
  }),

  // Below: variables of this product alone.
  ikev2_psk_file: variable(
    'CALICOVPP_IPSEC_IKEV2_PSK_FILE',
    absolute_path as Parse<string | undefined>,
    undefined,
  ),
  run_dir: variable('CALICOVPP_RUN_DIR', absolute_path, '/var/run/vpp'),
  state_dir: variable('CALICOVPP_STATE_DIR', absolute_path, '/var/lib/vpp/calico-vpp-node'),
  config_dir: variable('CALICOVPP_CONFIG_DIR', absolute_path, '/etc/vpp'),
  host_root: variable('CALICOVPP_HOST_ROOT', absolute_path, '/host'),
  netns_dir: variable('CALICOVPP_NETNS_DIR', absolute_path, '/var/run/netns'),
  vpp_netns: variable('CALICOVPP_VPP_NETNS', netns_name, 'calico-vpp-ns'),
  cni_socket: variable('CALICOVPP_CNI_SOCKET', absolute_path, '/var/run/calico/cni-server.sock'),
  felix_socket: variable('CALICOVPP_FELIX_SOCKET', absolute_path, '/var/run/calico/felix-dataplane.sock'),
  felix_plugins_dir: variable('CALICOVPP_FELIX_PLUGINS_DIR', absolute_path, '/var/lib/calico/felix-plugins'),
  endpoint_status_dir: variable(
    'CALICOVPP_ENDPOINT_STATUS_DIR',
    absolute_path,
    '/var/run/calico/endpoint-status',
  ),
  felix: variable('CALICOVPP_FELIX', auto_on_off, 'auto' as const),
  kubernetes: variable('CALICOVPP_KUBERNETES', auto_on_off, 'auto' as const),
  kubernetes_host: variable('KUBERNETES_SERVICE_HOST', text, ''),
  kubeconfig: variable('KUBECONFIG', optional_text, undefined),
  calico_version: variable(
    'CALICO_API_GROUP',
    one_of(Object.fromEntries(calico_api_versions.map((version) => [version, version]))) as Parse<
      string | undefined
    >,
    undefined,
  ),
  networking_backend: variable(
    'CALICO_NETWORKING_BACKEND',
    one_of<'bird' | 'vxlan' | 'none'>({ bird: 'bird', vxlan: 'vxlan', none: 'none' }),
    'bird' as const,
  ),
  router_id: variable('CALICO_ROUTER_ID', router_id as Parse<string | undefined>, undefined),
  route_source: variable(
    'CALICOVPP_ROUTE_SOURCE',
    one_of<'auto' | 'bgp' | 'ipam'>({ auto: 'auto', bgp: 'bgp', ipam: 'ipam' }),
    'auto' as const,
  ),
  encryption: variable(
    'CALICOVPP_ENCRYPTION',
    one_of<'auto' | 'required'>({ auto: 'auto', required: 'required' }),
    'auto' as const,
  ),
  vpp_binary: variable('CALICOVPP_VPP_BINARY', absolute_path, '/usr/bin/vpp'),
  cnat: variable(
    'CALICOVPP_CNAT',
    one_of<'stock' | 'repaired'>({ stock: 'stock', repaired: 'repaired' }),
    'stock' as const,
  ),
  vpp_environment: variable('CALICOVPP_VPP_ENVIRONMENT', json(documents.environment_document), {}),
  vpp_probe_interval_ms: variable('CALICOVPP_VPP_PROBE_INTERVAL', duration_ms, 500),
  vpp_probe_timeout_ms: variable('CALICOVPP_VPP_PROBE_TIMEOUT', duration_ms, 2000),
  vpp_probe_failures: variable('CALICOVPP_VPP_PROBE_FAILURES', whole_number(1, 100), 1),
  vpp_connect_timeout_ms: variable('CALICOVPP_VPP_CONNECT_TIMEOUT', duration_ms, 20_000),
  vpp_restarts_max: variable('CALICOVPP_VPP_RESTARTS', whole_number(0, 100), 5),
  vpp_restart_window_ms: variable('CALICOVPP_VPP_RESTART_WINDOW', duration_ms, 120_000),
  source_spoofing: variable(
    'CALICOVPP_WORKLOAD_SOURCE_SPOOFING',
    one_of<SourceSpoofing>({ any: 'Any', disabled: 'Disabled', legacy: 'Legacy' }),
    'Legacy' as SourceSpoofing,
  ),
  ip_options: variable(
    'CALICOVPP_IP_OPTIONS',
    one_of<'drop' | 'pass'>({ drop: 'drop', pass: 'pass' }),
    'drop' as const,
  ),
  other_protocols: variable(
    'CALICOVPP_OTHER_PROTOCOLS',
    one_of<'drop' | 'pass'>({ drop: 'drop', pass: 'pass' }),
    'pass' as const,
  ),
  pod_default_verdict: variable(
    'CALICOVPP_POD_DEFAULT_VERDICT',
    one_of<'allow' | 'deny'>({ allow: 'allow', deny: 'deny' }),
    'allow',
  ),
  pods_max: variable('CALICOVPP_MAX_PODS', whole_number(1, 10_000), 110),
  hook_timeout_ms: variable('CALICOVPP_HOOK_TIMEOUT', duration_ms, 30_000),
  gobgpd_binary: variable('CALICOVPP_GOBGPD_BINARY', absolute_path, '/usr/bin/gobgpd'),
  gobgpd_socket: variable('CALICOVPP_GOBGPD_SOCKET', absolute_path as Parse<string | undefined>, undefined),
  health_address: variable('CALICOVPP_HEALTH_ADDRESS', optional_text, undefined),
  healthz_bind_address: variable('CALICOVPP_HEALTHZ_BIND_ADDRESS', optional_listen_address, { port: 10256 }),
  debug_socket: variable('CALICOVPP_DEBUG_SOCKET', absolute_path as Parse<string | undefined>, undefined),
  debug_port: variable('CALICOVPP_DEBUG_PORT', port, 0),
};

/** Set by older manifests, read by nothing. */
const leftovers: readonly string[] = ['CALICOVPP_INIT_SCRIPT_TEMPLATE', 'DEBUG'];

const variable_names: readonly string[] = Object.values(variables).map(({ name }) => name);

function hintFor(name: string): string {
  const instead = Object.hasOwn(old_names, name) ? old_names[name] : undefined;
  if (instead === '') return ': remove it';
  if (instead !== undefined) return `: use ${instead}`;
  const [meant] = nearest(name, variable_names);
  return meant === undefined ? '' : `; did you mean ${meant}?`;
}

/** Reads variables and gathers all that is wrong or doubtful with them. */
export class Environment {
  readonly problems: Problem[] = [];
  readonly warnings: string[] = [];
  readonly origins = new Map<string, { readonly origin: Origin; readonly value: unknown }>();
  readonly #env: NodeJS.ProcessEnv;

  constructor(env: NodeJS.ProcessEnv) {
    this.#env = env;
    for (const name of Object.keys(env).sort()) {
      if (leftovers.includes(name)) this.warnings.push(`${name} has no effect: remove it`);
      else if (name.includes('CALICOVPP_') && !variable_names.includes(name)) {
        this.warnings.push(`${name} is unknown and has no effect${hintFor(name)}`);
      }
    }
  }

  isSet(variable: Variable<unknown>): boolean {
    return (this.#env[variable.name] ?? '') !== '';
  }

  /** The fallback where the variable is unset, or wrong (then with a problem noted). */
  read<T>(variable: Variable<T>): T {
    const { name, fallback } = variable;
    const raw = this.#env[name] ?? '';
    if (raw === '') {
      if (variable.required)
        this.problems.push({ variable: name, cause: 'it is required and not set', step: requiredStep(name) });
      this.origins.set(name, { origin: 'default', value: fallback });
      return fallback;
    }
    if (variable.deprecated) this.warnings.push(`${name} is deprecated: use ${variable.deprecated}`);
    try {
      const value = variable.parse(raw, (text) => this.warnings.push(`${name}: ${text}`));
      this.origins.set(name, { origin: variable.deprecated ? 'deprecated' : 'environment', value });
      return value;
    } catch (error) {
      if (!(error instanceof BadValue)) throw error;
      for (const fault of error.faults) this.problems.push({ variable: name, ...fault });
      return fallback;
    }
  }
}

const requiredStep = (name: string): string =>
  `set ${name} to the name of the Kubernetes node (fieldRef spec.nodeName), or to a name of your own without Kubernetes`;
