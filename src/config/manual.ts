/**
 * What docs/configuration.md says of each variable and key, beside what the schemas say of them: type and default are theirs, unless a word
 * here stands in their place. A variable or key without words does not compile. `npm run generate:configuration` makes the manual's tables.
 */
import type * as v from 'valibot';
import type * as documents from './documents.js';
import type { interface_spec_document } from './interface-spec.js';
import type { variables } from './variables.js';

export interface Words {
  readonly says: string;
  /** In place of the schema's. */
  readonly type?: string;
  /** In place of the schema's; `none`, or that of something else. */
  readonly fallback?: string;
}

/** Keys of the row before it. */
export interface SameRow {
  readonly row_of: string;
}

/** Its keys have a table of their own, or, of `vpp_environment`, none. */
type Documents = 'interfaces' | 'initial_config' | 'debug' | 'feature_gates' | 'ipsec' | 'srv6';
type Plain = Exclude<keyof typeof variables, Documents>;
type Keys<S> = S extends v.ObjectSchema<infer Entries, undefined> ? keyof Entries : never;
type Table<K extends PropertyKey> = Readonly<Record<K, Words | SameRow>>;

/** Those that the Go implementation, Calico or Kubernetes have, in the order of the manual. */
const of_others = {
  node_name: {
    says: 'Name of the node in Kubernetes and Calico. Without Kubernetes: any name',
  },
  namespace: { says: 'Namespace of the secrets that hold BGP passwords' },
  service_prefixes: {
    says: 'Service prefixes of the cluster, of both families. For what no service has in them ServiceCIDRs of the API go before it',
  },
  config_template: { says: `Template of VPP's start-up file, see [below](#templates)`, fallback: 'built in' },
  exec_template: { says: 'Template of the CLI script that VPP runs at start' },
  log_level: { says: '`panic` and `warning` are taken as well' },
  bgp_log_level: {
    says: 'Level of the BGP speaker, where no BGPConfiguration says another',
    type: 'the same words',
  },
  log_format: { says: '`text` has the field order of the Go implementation' },
  bgp_server_mode: { says: 'Families of the BGP listener' },
  ikev2_psk: {
    says: 'The key that nodes share, see [IPsec](ipsec.md). From the secret `calicovpp-ipsec-secret`, key `psk`. Taken out of the environment before anything is started',
    type: 'text',
    fallback: 'empty',
  },
  graceful_shutdown_timeout_ms: { says: '†' },
  stats_socket: { says: `Socket of VPP's stats segment`, fallback: '`stats.sock` in the run directory' },
  tap_address: { says: 'Address on the VPP side of every host tap' },
  built_in_hooks: { says: 'See [hooks](#hooks)' },
  hook_before_if_read: { says: '〃', type: 'script' },
  hook_before_vpp_run: { says: '〃', type: 'script' },
  hook_vpp_running: { says: '〃', type: 'script' },
  hook_vpp_done_ok: { says: '〃', type: 'script' },
  hook_vpp_errored: { says: '〃', type: 'script' },
  interface: {
    says: 'Deprecated. Name of an uplink, placed before those of `CALICOVPP_INTERFACES`',
  },
  native_driver: { says: 'Deprecated. Its `vppDriver`' },
  swap_driver: { says: 'Deprecated. Its `newDriver`' },
  kubernetes_host: {
    says: 'Set by Kubernetes, with `KUBERNETES_SERVICE_PORT`; its presence tells that there is one. The API server is asked as the service account of the pod',
    type: 'address',
  },
  kubeconfig: {
    says: 'Likewise, and names the API server in place of the service account. Reading it takes 80 MB of memory more',
    type: 'path',
  },
  networking_backend: {
    says: "As Calico's own: with the last two there is no BGP, and `CALICOVPP_ROUTE_SOURCE` is `ipam` unless it says otherwise",
  },
  router_id: {
    says: "Identifier of the BGP speaker. `hash`, and a node without IPv4: made of the node's name",
    type: 'IPv4 address, or `hash`',
    fallback: `the node's IPv4 address`,
  },
  calico_version: {
    says: `The one version of Calico's objects to read`,
    fallback: 'whatever is served, the first of these where both are',
  },
} as const;

/** Those of this product alone. */
const of_this_product = {
  kubernetes: {
    says: '`off`: no API server is asked, the environment is the whole configuration. `auto`: on where Kubernetes or a kubeconfig is seen. `on` where neither is seen is an error. An API server that does not answer keeps nothing from starting: [what is read and written](../ARCHITECTURE.md#the-kubernetes-api)',
  },
  encryption: {
    says: 'What pods send to pods of other nodes: `auto` encrypts it where FelixConfiguration asks for WireGuard and the other node has a key, and else sends it in clear; with `required` it is encrypted or not sent, but for what [WireGuard between nodes](wireguard.md) names',
    type: '`auto` or `required`',
  },
  route_source: {
    says: "Where routes to other nodes come from. `bgp`: what peers announce. `ipam`: the blocks that Calico has given to nodes, and the nodes' addresses, as the API server has them. `auto`: `bgp` where there is a `CALICOVPP_GOBGPD_BINARY`, unless `CALICO_NETWORKING_BACKEND` is `vxlan` or `none`, or there is no API server; else `ipam`",
  },
  felix: {
    says: 'Whether [policies](policies.md) are enforced. `on`: a pod is closed until Felix has spoken of it. `off`: no Felix is heard, and pods have `CALICOVPP_POD_DEFAULT_VERDICT`. `auto`: `on` where `CALICOVPP_KUBERNETES` is',
  },
  ikev2_psk_file: {
    says: 'File with that key in place of the variable, as a secret is mounted. Read every few seconds: another key needs no restart',
    type: 'path',
    fallback: 'none',
  },
  run_dir: { says: `VPP's sockets and pid file, the info file, pod records` },
  state_dir: {
    says: 'Undo journal, the uplinks as Linux had them. Must outlive the container, and a restart of the machine. Its name is also that of the lock that keeps a second node from running',
  },
  config_dir: { says: 'Where `startup.conf` and `startup.exec` are written' },
  host_root: {
    says: "Where the host's file system is mounted. Where nobody has set it and nothing is there, a process that runs on the host itself takes `/`; elsewhere that is an error of `check` and a warning of `run`: the host's services are not told of the tap",
  },
  netns_dir: { says: 'Where named network namespaces are' },
  vpp_netns: {
    says: 'Name of the namespace that VPP runs in: below `CALICOVPP_NETNS_DIR`, or, where all uplinks are physical, below `netns` in the run directory, seen by this container alone and gone with it',
  },
  cni_socket: { says: `Where Calico's CNI plugin connects` },
  felix_socket: {
    says: 'Where Felix connects, by `felix-api-proxy`, which knows this path alone',
  },
  felix_plugins_dir: {
    says: 'Where `felix-api-proxy` is put for Felix: the directory of the host that calico-node has at `/usr/local/bin/felix-plugins`. It has to be there: one that were made in this container nobody would see',
  },
  endpoint_status_dir: {
    says: "Where the CNI plugin waits for a file of a pod's until its policies are in force (`policy_setup_timeout_seconds` of its configuration)",
  },
  vpp_binary: { says: '' },
  cnat: {
    says: "Whether this VPP's cnat has the changes of [vpp-notes.md](vpp-notes.md#source-nat): with them pods reach themselves by a service with several uplinks, too, and what only passes the node keeps its source. `/debug/actor/root/uplink/state` says under `source_nat` what is lacking. VPP does not tell which it is: `repaired` with a stock VPP loses IPv6 neighbours",
    type: '`stock`, `repaired`',
  },
  vpp_environment: {
    says: 'Variables for VPP alone, such as `LD_PRELOAD`: this process and its other children do not get them',
    type: 'JSON object of texts',
    fallback: '`{}`',
  },
  vpp_connect_timeout_ms: {
    says: 'From the spawn of VPP to its API. One that begins anew with devices of `dpdk` has 10 s more, and 30 s at least, before Linux gets them back',
  },
  vpp_probe_interval_ms: { says: 'Between two liveness probes of VPP' },
  vpp_probe_timeout_ms: {
    says: `For the answer to one, and for that of a VPP that is adopted: by VPP's own time, in which it does not wait for a CPU that others have, but at most 15 times as long. While the uplinks are programmed VPP is not probed: a device that is attached may hold its main thread for seconds; then five times as long as the failures take, but at most a minute longer than these, and 15 s at least, are its limit`,
  },
  vpp_probe_failures: { says: 'In a row, after which VPP is killed' },
  vpp_restarts_max: {
    says: 'Deaths of VPP within the window that are answered by a new VPP. One more: Linux gets its network back and the process exits with code 1',
  },
  vpp_restart_window_ms: { says: '' },
  source_spoofing: {
    says: "Whether a pod may send from addresses beside its own, which its annotation names. As Calico's `workloadSourceSpoofing`: with `Any` both `cni.projectcalico.org/allowedSourcePrefixes` and the Go implementation's `AllowedSourcePrefixes` act, with `Disabled` neither. `Legacy`: the latter alone, as with the Go implementation. Where the FelixConfiguration says something (`node.<name>` before `default`), that counts, for each ADD from then on; a pod that runs keeps what its ADD found, where Calico's Felix applies it to these, too: replace the pod. Whoever may write a pod may write its annotations",
  },
  ip_options: {
    says: 'What becomes of IPv4 packets with options that VPP would hand to the host past every policy ([policies-limits.md](policies-limits.md)): with `pass` anybody reaches every port of the host by them',
  },
  other_protocols: {
    says: 'With `drop` pods get TCP, UDP, SCTP and ICMP, and no other protocol, nor IPv6 behind extension headers or in fragments: what VPP cannot judge by policies ([policies-limits.md](policies-limits.md#other-protocols)). For all pods of the node, isolated or not, also for those that run',
  },
  pod_default_verdict: {
    says: "What VPP decides of a pod's flows, both ways, where policies are not enforced (`CALICOVPP_FELIX`): with `deny` nothing passes to or from a pod (seen)",
  },
  pods_max: {
    says: "Sizes heap and buffers of the built-in template. Set it to the kubelet's `maxPods`. It is no limit by itself: an ADD is refused when VPP's buffers do not suffice for the rings of one more pod",
  },
  hook_timeout_ms: {
    says: 'A hook script that runs longer is killed with all that it started',
  },
  gobgpd_binary: { says: 'gobgpd, 3.10 or later; see [docs/bgp.md](bgp.md)' },
  gobgpd_socket: {
    says: `Its API; the directory is made with mode 0700. Who opens the socket can read BGP's passwords`,
    fallback: '`gobgpd/api.sock` in the run directory',
  },
  health_address: { says: 'Where `healthCheckPort` is bound', type: 'address', fallback: 'all' },
  healthz_bind_address: {
    says: "Where load balancers ask whether this node serves (`/healthz`, `/livez`), as kube-proxy's `healthzBindAddress`. Where a kube-proxy of this node has the port it answers, and `/debug/sync` says so. Port 0 is `off`, too",
    type: 'host:port, or `off`',
    fallback: '`:10256`',
  },
  debug_socket: { says: 'The debug endpoint', fallback: '`debug.sock` in the run directory' },
  debug_port: {
    says: 'TCP port of the debug endpoint, on the loopback address alone',
    fallback: '`0` (off)',
  },
} as const;

const all_words: Table<Plain> = { ...of_others, ...of_this_product };
/** By table of the manual, the variables in its order. */
export const variable_tables = {
  'variables of others': Object.keys(of_others) as (keyof typeof of_others)[],
  'variables of this product': Object.keys(of_this_product) as (keyof typeof of_this_product)[],
} as const;
export const variable_words = all_words;

export const interfaces_words: Table<Keys<typeof documents.interfaces_document>> = {
  uplinkInterfaces: {
    says: 'Devices that VPP takes over, at most 256',
    type: 'array of uplinks',
    fallback: 'required',
  },
  defaultPodIfSpec: {
    says: 'Interface of a pod that asks for nothing else',
    type: 'interface',
    fallback: 'one queue each way, 1024 descriptors, layer 3',
  },
  maxPodIfSpec: {
    says: 'The most that a pod may ask for. A field that is absent or 0 limits nothing',
    type: 'interface',
    fallback: 'no limit',
  },
  vppHostTapSpec: {
    says: 'The tap that stands in for the uplink in Linux. `rx` and `tx` †: it has one queue each way',
    type: 'interface',
    fallback: '1024 descriptors',
  },
};

export const interface_words: Table<Keys<typeof interface_spec_document>> = {
  rx: { says: 'Number of queues', type: '1 to 256', fallback: '1' },
  tx: { row_of: 'rx' },
  rxqsz: {
    says: 'Descriptors of one ring. `af_xdp` and `rdma` need at least 256',
    type: 'power of two up to 32768',
    fallback: '1024',
  },
  txqsz: { row_of: 'rxqsz' },
  isl3: {
    says: 'Of the annotation of a pod alone; † elsewhere',
    fallback: 'true for a tun, false for a memif',
  },
  rxMode: {
    says: 'Any other word counts as absent, with a warning',
    type: '`polling` `interrupt` `adaptive` `default`',
    fallback: 'that of the driver',
  },
};

export const uplink_words: Table<
  Exclude<Keys<typeof documents.uplink_document>, Keys<typeof interface_spec_document>>
> = {
  interfaceName: {
    says: 'Name of the Linux device, or one of its alternative names',
    fallback: 'required',
  },
  vppDriver: {
    says: 'Only the main uplink may leave it open. What each needs: [drivers.md](drivers.md)',
    type: '`af_packet` `af_xdp` `virtio` `dpdk` `rdma` `vmxnet3` `iavf` (also `avf`) `ige` `none`',
    fallback: 'found out',
  },
  newDriver: {
    says: 'Kernel driver by which VPP gets the PCI device: `vfio-pci`, `uio_pci_generic` or `igb_uio`',
    fallback: '`vfio-pci`, where the driver needs one',
  },
  isMain: { says: 'Exactly one uplink is main', fallback: 'the first uplink' },
  physicalNetworkName: {
    says: 'For several networks: the one behind this device',
    fallback: 'the default network',
  },
  mtu: {
    says: 'Of the uplink in VPP and of the host tap',
    type: '68 to 65535',
    fallback: '0: that of the device',
  },
  ipFamilies: {
    says: 'Families that must have an address before the uplink is taken over. Until then it is looked at again, every 2 to 30 s, for as long as it takes',
    type: '`IPv4`, `IPv6` or `IPv4,IPv6`',
    fallback: 'any',
  },
  annotations: {
    says: '`AfPacketUseV3`, `AfPacketQdiscBypass`: booleans as text',
    fallback: 'none',
  },
};

export const initial_config_words: Table<Keys<typeof documents.initial_config_document>> = {
  vppStartupSleepSeconds: {
    says: '† Pause between the spawn of VPP and the first attempt to connect',
    type: 'seconds',
  },
  corePattern: {
    says: `The kernel's core pattern while VPP runs`,
    type: 'path',
    fallback: 'empty: left alone',
  },
  ifConfigSavePath: {
    says: '† File that keeps the captured Linux configuration',
    type: 'path',
  },
  defaultGWs: { says: 'Each gives a default route in VPP', type: 'addresses', fallback: 'none' },
  redirectToHostRules: {
    says: 'Traffic of pods that goes to the host; `proto` is `tcp`, `udp`, `sctp`, `icmp` or `icmp6`',
    type: 'array of `{proto, port, ip}`',
  },
  prometheusListenEndpoint: {
    says: 'Where [metrics](metrics.md) are served, with `prometheusEnabled`. `:8888`: on every address of the node, as the Go implementation has it',
    type: 'host:port',
  },
  prometheusRecordMetricInterval: { says: '†', type: 'nanoseconds, or a duration as text', fallback: '5 s' },
  prometheusStatsPrefix: {
    says: 'Of the names of the Go implementation',
  },
  legacyMetrics: { says: 'Those names are served, too' },
  workerMetrics: {
    says: 'Counters of interfaces have a series for each thread of VPP',
  },
  ip4NeighborsMaxNumber: { says: '' },
  ip6NeighborsMaxNumber: { row_of: 'ip4NeighborsMaxNumber' },
  ip4NeighborsMaxAge: { says: '0: never aged', type: 'seconds' },
  ip6NeighborsMaxAge: { row_of: 'ip4NeighborsMaxAge' },
  healthCheckPort: { says: '', type: 'port' },
};

export const debug_words: Table<Keys<typeof documents.debug_document>> = {
  servicesEnabled: {
    says: '[Services](services.md) are load-balanced by VPP. `false`: by somebody else; nothing of them is programmed',
  },
  gsoEnabled: {
    says: 'Large segments between Linux and VPP. Off by itself with an `af_xdp` uplink',
  },
  spreadTxQueuesOnWorkers: { says: '†' },
  enableUdevNetNameRules: {
    says: 'The host tap gets the udev names of the device, from which systemd-networkd derives DHCP identities',
  },
  fetchV6LLntries: {
    says: '† Seconds to wait for the IPv6 link-local address of the host tap',
  },
  translateUplinkAddrMaskTo64: {
    says: 'An IPv6 /128 of an uplink is given to VPP as /64, unless another address of the uplink says what is on the link',
  },
};

export const ipsec_words: Table<Keys<typeof documents.ipsec_document>> = {
  crossIPSecTunnels: { says: 'Tunnels between all pairs of the addresses below' },
  nbAsyncCryptoThreads: { says: 'Workers that only encrypt' },
  extraAddresses: { says: 'Addresses of the node beside the first' },
};

export const feature_gates_words: Table<Keys<typeof documents.feature_gates_document>> = {
  memifEnabled: {
    says: 'A pod gets a memif where its annotation asks for one, and is as good as root on the node by it ([fast paths](fast-paths.md)). `false`: the wish is ignored, also of pods that had one',
  },
  vclEnabled: {
    says: 'VPP has a host stack, and a pod the use of it where its annotation asks for it, and can pose as the node by it ([fast paths](fast-paths.md#what-a-program-of-the-host-stack-can-do)). `false`: the wish is ignored, also of pods that had it',
  },
  multinetEnabled: {
    says: 'Pods may have interfaces in [networks](networks.md) beside the default one: `Network` and NetworkAttachmentDefinitions are read. `false`: an ADD that asks for one is refused, and a pod that has one has no way in or out by it',
  },
  srv6Enabled: {
    says: 'Pods of other nodes are reached by [SRv6](srv6.md). Asks for the pools [below](#calicovpp_srv6)',
  },
  ipsecEnabled: {
    says: 'What goes by IPIP is encrypted, see [IPsec](ipsec.md). Asks for `CALICOVPP_IPSEC_IKEV2_PSK`, or its file',
  },
  prometheusEnabled: { says: '[Metrics](metrics.md) are served' },
};

export const srv6_words: Table<Keys<typeof documents.srv6_document>> = {
  localsidPool: {
    says: 'An IPv6 prefix, required with `srv6Enabled`: SIDs of nodes are in it. /64 or shorter, or each node has an IPPool `sr-localsids-pool-<node>`',
  },
  policyPool: { says: 'Likewise, of binding SIDs; any length' },
};
