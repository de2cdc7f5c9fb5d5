/** Requests of the CNI plugin, checked: an ADD becomes a PodSpec, or one sentence that says what is wrong with it. */

import { canonicalAddress, canonicalPrefix, isUnicast, isUnspecified, splitPrefix } from '../ip/spelling.js';
import { isSocketName } from '../pod/names.js';
import {
  type HostPort,
  type HostPortProtocol,
  name_length_max,
  type PerFamily,
  type PodKey,
  type PodSpec,
  podKey,
  podName,
} from '../pod/spec.js';
import {
  allowedSourcePrefixesOf,
  annotation,
  interfaceSpecOf,
  memifOf,
  type PodLimits,
  vclOf,
} from './annotations.js';
import type { AddRequest, DelRequest, IPConfig, Port } from './generated/cni_pb.js';
import { InvalidRequest, refusalOf } from './invalid-request.js';

export type ParsedAdd =
  | { readonly ok: PodSpec; readonly warnings: readonly string[] }
  /** One sentence for the plugin's log: pod, field, value and the step to take. */
  | { readonly error: string };

export type ParsedDel =
  | { readonly ok: { readonly key: PodKey; readonly interface_name: string; readonly netns: string } }
  /** No interface can exist for this request, so that there is nothing to delete; says why. */
  | { readonly nothing: string };

/** IFNAMSIZ less the terminator: Linux would cut a longer name without a word. */
const interface_name_bytes_max = 15;
/** VPP's `host_namespace` is a string of 64 bytes with its terminator. */
const netns_bytes_max = 63;
const mtu_max = 9216;
/** The least that Linux (IPv4) and RFC 8200 (IPv6) let an interface have. */
const mtu_min: PerFamily<number> = { ip4: 68, ip6: 1280 };
const addresses_max = 16;
const routes_max = 256;
const host_ports_max = 256;

type Warn = (text: string) => void;

/** Reads an ADD. Never throws: what is wrong with the request is the answer to it. */
export function parseAddRequest(request: AddRequest, limits: PodLimits): ParsedAdd {
  const warnings: string[] = [];
  const { namespace = '', pod = '' } = request.workload ?? {};
  const name = podName({ namespace, pod }, request.interfaceName);
  try {
    return { ok: readAdd(request, limits, (text) => warnings.push(`${name}: ${text}`)), warnings };
  } catch (error) {
    return { error: `${name}: ${refusalOf(error)}` };
  }
}

/** Reads a DEL. Never throws. The runtime may call it for an interface that no ADD could have made, and wants success. */
export function parseDelRequest(request: Pick<DelRequest, 'netns' | 'interfaceName'>): ParsedDel {
  const { netns, interfaceName: interface_name } = request;
  try {
    checkInterfaceName(interface_name);
    checkNetns(netns);
  } catch (error) {
    return { nothing: refusalOf(error) };
  }
  return { ok: { key: podKey(netns, interface_name), interface_name, netns } };
}

function readAdd(request: AddRequest, limits: PodLimits, warn: Warn): PodSpec {
  const { interfaceName: interface_name, netns } = request;
  checkInterfaceName(interface_name);
  checkNetns(netns);
  const network_name = request.dataplaneOptions.network_name ?? '';
  checkNetwork(network_name, interface_name, limits);

  const annotations = request.workload?.annotations ?? {};
  const vcl = network_name === '' && vclOf(annotations, limits, warn);
  const is_memif = network_name !== '' && isMemifName(interface_name);
  const asked = interfaceSpecOf(annotations, interface_name, limits, warn, !is_memif);
  // The device is there for Linux, whatever the memif speaks.
  const interface_spec = is_memif ? { ...asked, is_l3: true } : asked;
  const memif = is_memif
    ? ({ is_l3: asked.is_l3, ports: [], alone: true } as const)
    : network_name === ''
      ? memifOf(annotations, limits, warn)
      : undefined;
  if (memif !== undefined) checkSocketName(netns, interface_name, 'memif');
  if (vcl) checkSocketName(netns, interface_name, 'VCL');
  if (memif !== undefined && vcl) {
    throw new InvalidRequest(
      `annotation ${annotation.vcl}`,
      annotations[annotation.vcl],
      `stands beside ${annotation.extra_memif_ports}, and a pod has one of both: remove the other`,
    );
  }
  const addresses = readAddresses(request.containerIps, warn);
  const has = (address_or_prefix: string): boolean => addresses[familyKey(address_or_prefix)].length > 0;

  return {
    key: podKey(netns, interface_name),
    interface_name,
    netns,
    workload: readWorkload(request.workload),
    addresses,
    // The plugin always sends the default routes of both families.
    routes: readRoutes(request.containerRoutes).filter(has),
    mtu: readMtu(request.settings?.mtu ?? 0, addresses, warn),
    allow_ip_forwarding: request.settings?.allowIpForwarding ?? false,
    // They are the pod's, and lead to its interface in the default network.
    host_ports: network_name === '' ? readHostPorts(request.workload?.ports ?? [], has, warn) : [],
    allowed_source_prefixes: allowedSourcePrefixesOf(annotations, limits.source_spoofing, warn).filter(
      (prefix) => {
        if (!has(prefix))
          warn(`allowed source prefix ${prefix} is ignored: the pod has no address of its family`);
        return has(prefix);
      },
    ),
    network_name,
    interface_spec,
    interface_type: interface_spec.is_l3 ? 'tun' : 'tap',
    ...(memif !== undefined && { memif }),
    ...(vcl && { vcl: true as const }),
  };
}

function readWorkload(workload: AddRequest['workload']): PodSpec['workload'] {
  const { orchestrator = '', namespace = '', pod = '', endpoint = '' } = workload ?? {};
  const names = { orchestrator, namespace, pod, endpoint };
  for (const [field, name] of Object.entries(names)) {
    if (name.length > name_length_max) {
      throw new InvalidRequest(
        `workload.${field}`,
        name,
        `is longer than ${name_length_max} characters: no name in Kubernetes is`,
      );
    }
  }
  return names;
}

function familyKey(address_or_prefix: string): keyof PerFamily<unknown> {
  return address_or_prefix.includes(':') ? 'ip6' : 'ip4';
}

function checkInterfaceName(name: string): void {
  const fail = (problem: string): never => {
    throw new InvalidRequest(
      'interface_name',
      name,
      `${problem}: correct it in the CNI configuration or the network annotation`,
    );
  };
  if (name === '') fail('is empty');
  if (name.length > interface_name_bytes_max) fail(`is longer than ${interface_name_bytes_max} characters`);
  // Linux refuses blanks, slashes and colons, and reads % as a request to number the device.
  if (!/^[!-~]+$/.test(name) || /[/:%]/.test(name) || name === '.' || name === '..')
    fail('is no name for a Linux device');
}

function checkNetns(netns: string): void {
  const fail = (problem: string): never => {
    throw new InvalidRequest(
      'netns',
      netns,
      `${problem}: the container runtime has to pass the path of the pod's network namespace`,
    );
  };
  if (netns === '') fail('is empty');
  if (!/^\/[!-~]+$/.test(netns)) fail('is not an absolute path of printable ASCII characters');
  if (netns.length > netns_bytes_max) fail(`is longer than the ${netns_bytes_max} bytes that VPP takes`);
}

/** VPP would listen at another place than where the pod looks. */
function checkSocketName(netns: string, interface_name: string, of: string): void {
  for (const [field, name] of Object.entries({ netns, interface_name })) {
    if (isSocketName(name)) continue;
    throw new InvalidRequest(
      field,
      name,
      `has a character that VPP cannot have in the name of a ${of} socket (letters, digits, _ / - and . are possible): remove the ${of} annotation, or correct it`,
    );
  }
}

/** As the Go implementation has it: the name of an interface in a network beside the default one says what it is. */
const isMemifName = (interface_name: string): boolean => interface_name.startsWith('memif');

function checkNetwork(network_name: string, interface_name: string, { gates }: PodLimits): void {
  if (network_name === '') return;
  if (!gates.multinet) {
    throw new InvalidRequest(
      'dataplane_options.network_name',
      network_name,
      'names a secondary network: set multinetEnabled in CALICOVPP_FEATURE_GATES (docs/networks.md), or take the interface off the pod',
    );
  }
  if (isMemifName(interface_name) && !gates.memif) {
    throw new InvalidRequest(
      'interface_name',
      interface_name,
      'asks for a memif in a network beside the default one: set memifEnabled in CALICOVPP_FEATURE_GATES, and read docs/fast-paths.md before, or name the interface otherwise to get a tun',
    );
  }
}

function readAddresses(configs: readonly IPConfig[], warn: Warn): PodSpec['addresses'] {
  checkCount('container_ips', configs, addresses_max);
  if (configs.length === 0) {
    throw new InvalidRequest(
      'container_ips',
      [],
      'has no address: check the IPAM section of the CNI configuration',
    );
  }
  const addresses = { ip4: [] as string[], ip6: [] as string[] };
  for (const [index, { address: text }] of configs.entries()) {
    const field = `container_ips[${index}].address`;
    const address = splitPrefix(text)?.address;
    if (address === undefined) {
      throw new InvalidRequest(
        field,
        text,
        'is not address/length: check the IPAM section of the CNI configuration',
      );
    }
    if (!isUnicast(address)) {
      throw new InvalidRequest(field, text, 'cannot be an address of a pod: check the IP pools');
    }
    const same_family = addresses[familyKey(address)];
    if (same_family.includes(address)) warn(`${field} ${address} stands there twice: taken once`);
    else same_family.push(address);
  }
  return addresses;
}

function readRoutes(texts: readonly string[]): readonly string[] {
  checkCount('container_routes', texts, routes_max);
  const prefixes = texts.map((text, index) => {
    const prefix = text.includes('/') ? canonicalPrefix(text) : undefined;
    if (prefix === undefined) {
      throw new InvalidRequest(
        `container_routes[${index}]`,
        text,
        'is not a prefix: write address/length in the IPAM routes',
      );
    }
    return prefix;
  });
  return [...new Set(prefixes)];
}

function readMtu(mtu: number, addresses: PodSpec['addresses'], warn: Warn): number {
  if (mtu === 0) return 0;
  const min = addresses.ip6.length > 0 ? mtu_min.ip6 : mtu_min.ip4;
  if (mtu < min) {
    throw new InvalidRequest(
      'settings.mtu',
      mtu,
      `is below ${min}: set mtu in the CNI configuration to 0 (automatic) or higher`,
    );
  }
  if (mtu > mtu_max) warn(`settings.mtu ${mtu} is above ${mtu_max}: ${mtu_max} is used`);
  return Math.min(mtu, mtu_max);
}

function readHostPorts(
  ports: readonly Port[],
  has: (address: string) => boolean,
  warn: Warn,
): readonly HostPort[] {
  checkCount(
    'workload.ports with a host port',
    ports.filter(({ hostPort }) => hostPort !== 0),
    host_ports_max,
  );
  const host_ports = new Map<string, HostPort>();
  for (const [index, port] of ports.entries()) {
    if (port.hostPort === 0) continue;
    const field = `workload.ports[${index}]`;
    const host_port = readHostPort(field, port);
    if (host_port.host_ip !== undefined && !has(host_port.host_ip)) {
      warn(`${field} with host_ip ${host_port.host_ip} is ignored: the pod has no address of its family`);
      continue;
    }
    const identity = `${host_port.protocol} ${host_port.host_ip ?? ''} ${host_port.host_port}`;
    const earlier = host_ports.get(identity);
    if (earlier === undefined) host_ports.set(identity, host_port);
    else if (earlier.container_port !== host_port.container_port) {
      warn(
        `${field} is ignored: ${earlier.protocol} host port ${earlier.host_port} already leads to container port ${earlier.container_port}`,
      );
    }
  }
  return [...host_ports.values()];
}

function readHostPort(field: string, port: Port): HostPort {
  const fail = (name: string, value: unknown, problem: string): never => {
    throw new InvalidRequest(`${field}.${name}`, value, `${problem}: correct the pod's ports`);
  };
  // Calico writes it in upper case. Kubernetes' default is TCP.
  const protocol = (port.protocol || 'tcp').toLowerCase();
  if (!isHostPortProtocol(protocol)) return fail('protocol', port.protocol, 'is not TCP, UDP or SCTP');
  if (port.hostPort > 0xffff) fail('host_port', port.hostPort, 'is not a port');
  if (port.port === 0 || port.port > 0xffff) fail('port', port.port, 'is not a port');
  const host_port: HostPort = { protocol, host_port: port.hostPort, container_port: port.port };
  if (port.hostIp === '') return host_port;
  const host_ip = canonicalAddress(port.hostIp);
  if (host_ip === undefined) return fail('host_ip', port.hostIp, 'is not an IP address');
  return isUnspecified(host_ip) ? host_port : { ...host_port, host_ip };
}

function isHostPortProtocol(text: string): text is HostPortProtocol {
  return text === 'tcp' || text === 'udp' || text === 'sctp';
}

function checkCount(field: string, list: readonly unknown[], max: number): void {
  if (list.length > max)
    throw new InvalidRequest(field, list.length, `entries are more than ${max}: shorten the list`);
}
