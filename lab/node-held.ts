/** What VPP holds of a node that runs, beside what it should hold: computed from what the node has on its disk, by the functions that the node uses. */
import { join } from 'node:path';
import type { Client } from 'vpp-binapi-ts';
import { cli_inband } from 'vpp-binapi-ts/vlib';
import type { Config } from '../src/config.js';
import { recordedSlot } from '../src/desired/admission.js';
import { type NetworkHere, networkOf, networksUsed } from '../src/desired/networks.js';
import { hostTapTag, type NodeInputs, uplinkTag } from '../src/desired/node-inputs.js';
import { desiredPod, mtuOfNetwork, podMtu } from '../src/desired/pod.js';
import { isNatFlag } from '../src/desired/pod-settings.js';
import { srv6_headers_bytes } from '../src/desired/srv6.js';
import { networkOfTable, podTables } from '../src/desired/tables.js';
import { desiredNode, underlays } from '../src/desired/uplink.js';
import { nodeAddress } from '../src/desired/uplink-addresses.js';
import { bootId } from '../src/host/devices/sysfs.js';
import { readIfExists } from '../src/host/files.js';
import { keyOf, type VppObject } from '../src/objects/object.js';
import type { Path } from '../src/objects/routing.js';
import { listsText } from '../src/objects/srv6.js';
import type { IpipTunnel, VxlanTunnel } from '../src/objects/tunnels.js';
import type { WireguardInterface } from '../src/objects/wireguard.js';
import { PodState } from '../src/pods/pod-state.js';
import { reconcile } from '../src/reconcile/reconcile.js';
import { advertisementIn } from '../src/uplink/advertised.js';
import { CapturedStore } from '../src/uplink/captured.js';
import { largeSegments } from '../src/uplink/drivers.js';
import { entryIn, excludedIn } from '../src/uplink/node-in-vpp.js';
import { uplinkOf } from '../src/uplink/uplink-of.js';
import type { Registry } from '../src/vpp-conn/registry.js';
import { readRunRecord, runIdentity } from '../src/vpp-conn/run-record.js';
import { everything, lookAt, registryOf } from './vpp-view.js';

/** How VPP leads to other nodes: prefixes, each with the way out, by table; and the tunnels that there are. */
export interface Ways {
  readonly routes: Readonly<Record<string, string>>;
  readonly tunnels: readonly string[];
}

/**
 * Objects that VPP has and should not have, or should have and has not. What no dump shows is as the node's registry says. What leads to
 * other nodes depends on these: `waysOf` shows it.
 */
export async function differencesOf(vpp: Client, config: Config, in_cluster: boolean): Promise<string[]> {
  const scopes = in_cluster ? everything.filter((scope) => scope !== 'connectivity') : everything;
  const snapshot = await lookAt(vpp, registryIn(config), scopes);
  const untagged = snapshot.interfaces
    .filter(({ tag, name }) => tag === '' && name !== 'local0')
    .map(({ name }) => `remove interface ${name}`);
  // What services have depends on the cluster, too; a host port is a pod's.
  const desired = desiredOf(config, snapshot.objects);
  const wanted = new Set(desired.map(keyOf));
  const objects = in_cluster
    ? snapshot.objects.filter((object) => wanted.has(keyOf(object)) || !isOfServices(object))
    : snapshot.objects;
  const operations = reconcile(desired, objects, snapshot.unsure).map(
    ({ action, object }) => `${action} ${JSON.stringify(object)}`,
  );
  return [...untagged, ...operations];
}

export async function waysOf(vpp: Client): Promise<Ways> {
  const { objects } = await lookAt(vpp, undefined, ['connectivity']);
  const routes = objects.flatMap((object): [string, string][] => {
    if (object.kind !== 'route') return [];
    const prefix = object.table_id === 0 ? object.prefix : `${object.prefix} of table ${object.table_id}`;
    return [[prefix, object.paths.map(wayOut).join(' + ')]];
  });
  const tunnels = objects.flatMap((object) => (isTunnel(object) ? [object.tag] : []));
  return { routes: Object.fromEntries(routes.sort()), tunnels: tunnels.sort() };
}

/** By VNI, what VPP has of networks, and in them. */
export async function networksIn(vpp: Client): Promise<ReadonlyMap<number, readonly string[]>> {
  const { objects } = await lookAt(vpp, undefined, ['node', 'pods', 'connectivity']);
  const all = new Map<number, string[]>();
  for (const object of objects)
    for (const vni of new Set([networkOf(object) ?? [], ...networksUsed(object)].flat()))
      all.set(vni, [...(all.get(vni) ?? []), JSON.stringify(object)]);
  return all;
}

/** What VPP has of SRv6: own SIDs, policies by their binding SIDs, and what is steered into which. */
export interface Segments {
  readonly sids: Readonly<Record<string, string>>;
  readonly policies: Readonly<Record<string, string>>;
  readonly steered: Readonly<Record<string, string>>;
}

export async function segmentsOf(vpp: Client): Promise<Segments> {
  const { objects } = await lookAt(vpp, undefined, ['connectivity']);
  const sids: Record<string, string> = {};
  const policies: Record<string, string> = {};
  const steered: Record<string, string> = {};
  for (const object of objects) {
    if (object.kind === 'srv6_local_sid') sids[object.sid] = object.behavior;
    if (object.kind === 'srv6_policy') policies[object.bsid] = listsText(object.lists);
    if (object.kind === 'srv6_steering') steered[object.prefix] = object.bsid;
  }
  return { sids, policies, steered };
}

/** Translations and routes of services as VPP has them: addresses with back ends, prefixes with the way out. */
export async function servicesOf(vpp: Client, config: Config): Promise<Readonly<Record<string, string>>> {
  const { objects } = await lookAt(vpp, registryIn(config), ['services']);
  const shown = objects.flatMap((object): [string, string][] => {
    if (object.kind === 'route') return [[object.prefix, object.paths.map(wayOut).join(' + ')]];
    if (object.kind !== 'translation') return [];
    const { protocol, address, port, backends, lb = '', hash = '' } = object;
    const ends = backends.map((each) => `${each.address} ${each.port}${each.no_nat ? ' as it is' : ''}`);
    return [[`${protocol} ${address} ${port}`, [`${lb}${hash}`, ...ends].filter(Boolean).join(', ')]];
  });
  return Object.fromEntries(shown.sort());
}

/** What the node has written down of the present VPP. */
function registryIn({ paths: { run_dir } }: Config): Registry {
  const record = readRunRecord(join(run_dir, 'vpp-run.json'));
  const text = readIfExists(join(run_dir, 'vpp-objects.jsonl'));
  return registryOf(text, record === undefined ? '' : runIdentity(record));
}

/**
 * All objects of the node and its pods, computed from what is on disk by the functions that the node uses. What routers have said only VPP
 * knows: it is taken from these objects of it.
 */
export function desiredOf(config: Config, seen: readonly VppObject[] = []): VppObject[] {
  const gso = largeSegments(config.gates.gso, config.uplinks);
  const store = new CapturedStore(join(config.paths.state_dir, 'uplinks.json'), bootId() ?? '');
  const uplinks = (store.load()?.uplinks ?? []).map((captured) =>
    uplinkOf(captured, gso, uplinkTag(captured.spec.interface_name)),
  );
  const repeated = new Map(
    uplinks.flatMap(({ name }) => {
      const found = advertisementIn(seen, hostTapTag(name));
      return found === undefined ? [] : [[name, found] as const];
    }),
  );
  const not_natted = excludedIn(seen);
  const inputs: NodeInputs = {
    uplinks,
    repeated,
    tap_address: config.tap_address,
    tap: {
      rx_ring_size: config.host_tap.rx_ring_size,
      tx_ring_size: config.host_tap.tx_ring_size,
      rx_mode: config.host_tap.rx_mode ?? 'adaptive',
    },
    host_namespace: '',
    gso,
    neighbours: config.neighbours,
    service_prefixes: config.service_prefixes,
    cnat: config.vpp.cnat,
    drop_ip_options: config.drop_ip_options,
    does_ike: config.gates.ipsec,
    drop_other_protocols: config.drop_other_protocols,
    default_gateways: config.default_gateways,
    redirects: [],
    uplink_128_to_64: config.gates.uplink_128_to_64,
    // What the cluster has said of pools is on no disk.
    ...(not_natted !== undefined && { not_natted }),
    uplink_entry: entryIn(seen),
    // Likewise of networks.
    network_vnis: [...new Set(seen.flatMap((object) => networkOf(object) ?? []))],
  };
  const address = (family: 4 | 6) => nodeAddress(inputs, family)?.split('/')[0];
  const [ip4, ip6] = [address(4), address(6)];
  const headers = config.gates.srv6 ? srv6_headers_bytes : 0;
  const node_mtu = Math.min(...uplinks.map(({ mtu }) => mtu)) - headers;
  const { records } = new PodState(join(config.paths.run_dir, 'pods')).load();
  const underlay = underlays(inputs).get('')!;
  /** The network of a pod by what its table leads to. */
  const networksOf = (name: string, table_id: number): NetworkHere[] =>
    seen.flatMap((object) => {
      const [path] = object.kind === 'route' && object.table_id === table_id ? object.paths : [];
      const vni = path?.via === 'lookup' ? networkOfTable(path.table_id) : undefined;
      return vni === undefined ? [] : [{ name, vni, physical_network: '', attached_by: [], underlay }];
    });
  return [
    ...desiredNode(inputs, true),
    ...records.flatMap(({ spec, tables }) => {
      const own_tables = podTables(recordedSlot(tables)!);
      const networks = networksOf(spec.network_name, own_tables.pod);
      return desiredPod(spec, {
        tables: own_tables,
        networks,
        mtu: podMtu(spec, mtuOfNetwork(spec, { mtu: node_mtu, networks })),
        gso,
        node: { ...(ip4 && { ip4 }), ...(ip6 && { ip6 }) },
        redirects: [],
        workers: 0,
        held: false,
        default_verdict: 'allow',
        drop_other_protocols: config.drop_other_protocols,
      });
    }),
    ...seen.filter(isNatFlag),
  ];
}

/**
 * What VPP's own command line says of features, address translation, tables and interfaces, with the names of interfaces
 * replaced by their tags: two VPPs that are programmed alike say the same.
 */
export async function fingerprintOf(vpp: Client): Promise<Readonly<Record<string, string>>> {
  const ask = async (cmd: string): Promise<string> => (await vpp.request(cli_inband, { cmd })).reply;
  const { interfaces } = await lookAt(vpp);
  const tagged = interfaces.filter(({ tag }) => tag !== '');
  const named = (text: string): string =>
    [...tagged]
      .sort((a, b) => b.name.length - a.name.length)
      .reduce((whole, { name, tag }) => whole.replaceAll(new RegExp(`\\b${name}\\b`, 'g'), tag), text);
  const said: Record<string, string> = {};
  for (const { name, tag } of tagged)
    said[`features of ${tag}`] = named(await ask(`show interface features ${name}`));
  said.addresses = inBlocks(named(await ask('show interface addr')));
  said['source NAT'] = inOrder(named(await ask('show cnat snat-policy')));
  for (const family of ['ip', 'ip6']) {
    // Its counts are also those of neighbours that VPP has learned.
    const summary = await ask(`show ${family} fib summary`);
    said[`${family} tables`] = inOrder(summary.replaceAll(/^(?!.*flow hash).*$/gm, ''));
  }
  return said;
}

/** VPP's own numbers. */
const numbers = /fib[-_](?:idx |index:)\d+|heap offset \d+|locks:\[.*\]/g;

function inOrder(text: string): string {
  return text.replaceAll(numbers, '').split(/ *\n/).sort().join('\n').trim();
}

/** Each line that is not indented with those that follow it. */
function inBlocks(text: string): string {
  return text
    .replaceAll(numbers, '')
    .trim()
    .split(/ *\n(?!\s)/)
    .sort()
    .join('\n');
}

function isOfServices(object: VppObject): boolean {
  return object.kind === 'translation' || (object.kind === 'route' && object.source === 'services');
}

function wayOut(path: Path): string {
  switch (path.via) {
    case 'interface':
      return path.interface;
    case 'next_hop':
      return path.next_hop;
    case 'lookup':
      return `table ${path.table_id}`;
    case 'drop':
    case 'unreachable':
      return path.via;
  }
}

function isTunnel(object: VppObject): object is IpipTunnel | VxlanTunnel | WireguardInterface {
  return ['ipip_tunnel', 'vxlan_tunnel', 'wireguard_interface'].includes(object.kind);
}
