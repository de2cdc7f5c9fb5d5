/**
 * What a session has to remember of its VPP to tell which requests would kill it: a few numbers for each interface, a bit for
 * each npol object, of routes those that lead by a tunnel, never a translation. Fed with every request on its way out and with its answer; a request counts
 * from when it is sent, since what follows it finds it done. Of a VPP that was programmed before the session nothing is
 * known, and what is not known is not held against a request.
 */
import type { Request } from 'vpp-binapi-ts';
import { af_packet_create_v3, af_packet_delete } from 'vpp-binapi-ts/af_packet';
import { af_xdp_create_v3, af_xdp_delete } from 'vpp-binapi-ts/af_xdp';
import {
  cnat_set_snat_addresses_v2,
  cnat_translation_update,
  feature_cnat_enable_disable,
} from 'vpp-binapi-ts/cnat';
import { dev_attach, dev_create_port_if, dev_remove_port_if } from 'vpp-binapi-ts/dev';
import { ikev2_profile_add_del, ikev2_set_tunnel_interface } from 'vpp-binapi-ts/ikev2';
import {
  create_loopback_instance,
  delete_loopback,
  sw_interface_add_del_address,
  sw_interface_set_table,
} from 'vpp-binapi-ts/interface';
import { ip_route_add_del_v2, ip_table_add_del_v2 } from 'vpp-binapi-ts/ip';
import { ipip_add_tunnel, ipip_del_tunnel } from 'vpp-binapi-ts/ipip';
import { memif_create_v2, memif_delete } from 'vpp-binapi-ts/memif';
import {
  npol_ipset_add_del_members,
  npol_ipset_create,
  npol_ipset_delete,
  type npol_ipset_member,
  type npol_ipset_type,
  npol_policy_create,
  npol_policy_delete,
  npol_rule_create,
  npol_rule_delete,
} from 'vpp-binapi-ts/npol';
import { rdma_create_v2, rdma_create_v4, rdma_delete } from 'vpp-binapi-ts/rdma';
import { app_namespace_add_del_v4 } from 'vpp-binapi-ts/session';
import { tap_create_v3, tap_delete_v2 } from 'vpp-binapi-ts/tapv2';
import { urpf_update_v2, type urpf_update_v2_in } from 'vpp-binapi-ts/urpf';
import { virtio_pci_create_v2, virtio_pci_delete } from 'vpp-binapi-ts/virtio';
import { vmxnet3_create, vmxnet3_delete } from 'vpp-binapi-ts/vmxnet3';
import { vxlan_add_del_tunnel_v3, type vxlan_add_del_tunnel_v3_in } from 'vpp-binapi-ts/vxlan';
import { wireguard_interface_create, wireguard_interface_delete } from 'vpp-binapi-ts/wireguard';
import { default_table, ipsec_table } from '../desired/tables.js';
import type { Family } from '../ip/text.js';
import type { NpolPool } from '../objects/policy.js';
import type { Call } from './call.js';
import { isRecursive, no_interface } from './paths.js';
import { TunnelRoutes } from './tunnel-routes.js';

type Reply = { readonly retval: number };

/** What becomes of a request that was sent: exactly one of the two is called. */
export interface Sent {
  /** VPP did it. */
  done(reply: Reply): void;
  /** VPP refused it. */
  refused(): void;
}

export interface KnownInterface {
  /** The table it is bound to, by family. */
  readonly tables: Record<Family, number>;
  /** Addresses with their masks. */
  readonly addresses: Set<string>;
  /** Of one that carries IP without Ethernet by VXLAN: its ends, as VPP tells them apart. */
  readonly vxlan?: string;
}

type VxlanEnds = Pick<vxlan_add_del_tunnel_v3_in, 'src_address' | 'dst_address' | 'dst_port' | 'vni'>;

/** As VPP tells them apart. */
const endsOf = ({ src_address, dst_address, dst_port, vni }: VxlanEnds): string =>
  `${src_address} ${dst_address} ${dst_port} ${vni}`;

/** VPP gives out the lowest numbers: beyond these nothing is known. */
const npol_ids_max = 1 << 20;
const gone = 1;
const there = 2;

/** Which numbers of a pool are taken, a byte for each. */
class Ids {
  #states = new Uint8Array(256);

  /** `else_gone`: a number that was never heard of is free. */
  constructor(readonly else_gone: boolean) {}

  set(id: number, is_there: boolean): void {
    if (id >= npol_ids_max) return;
    if (id >= this.#states.length) {
      const grown = new Uint8Array(Math.min(npol_ids_max, 2 * (id + 1)));
      grown.set(this.#states);
      this.#states = grown;
    }
    this.#states[id] = is_there ? there : gone;
  }

  /** Certainly free. */
  isGone(id: number): boolean {
    const state = this.#states[id] ?? 0;
    return state === gone || (state === 0 && this.else_gone);
  }
}

export class Life {
  /** It has refused to attach a device. */
  dev_refused = false;
  /** Application namespaces that VPP was asked for. `half`: it has refused one, and may have a part of it. */
  readonly app_namespaces = new Map<string, 'asked' | 'half'>();
  /** cnat has set itself up, as far as is known: it does with the first request of its own. */
  cnat_begun: boolean;
  /** Likewise IKE: it does with the first profile that it is to add, or to remove. */
  ike_begun: boolean;
  /** Those that this session has made or bound. */
  readonly interfaces = new Map<number, KnownInterface>();
  readonly #af_packets = new Map<string, number>();
  readonly #vxlans = new Map<string, number>();
  readonly tunnel_routes = new TunnelRoutes();
  /** By IKE profile, the tunnel that is encrypted, and that IKE alone brings up. */
  readonly #ike_tunnels = new Map<string, number>();
  readonly #npol: Readonly<Record<NpolPool, Ids>>;
  /** By set id. */
  readonly #set_types = new Map<number, npol_ipset_type>();
  /** By id of a set of addresses with ports, the one protocol and port that all of its members have; undefined: they have several. */
  readonly #set_ports = new Map<number, string | undefined>();
  /** `family/id` of those that this session has added, and of the default ones. */
  readonly #tables = new Set(['4/0', '6/0']);
  /** Tables that uRPF looks up, by `interface/direction/family`. */
  readonly #urpf = new Map<string, number>();
  /** The first source whose routes have had a next hop without an interface; routes are counted that VPP has not refused. */
  recursive_source: number | undefined;
  #recursive_routes = 0;

  /** `known`: by nobody before this session; or by others, whom nobody can ask. */
  constructor(readonly programmed: 'never' | 'before') {
    const fresh = programmed === 'never';
    this.cnat_begun = !fresh;
    this.ike_begun = !fresh;
    this.#npol = { rules: new Ids(fresh), policies: new Ids(fresh), sets: new Ids(fresh) };
  }

  /** The request leaves now. */
  sent(call: Call): Sent {
    return effects.get(call.message)?.(this, call.fields) ?? without_effect;
  }

  /** Answers what takes it back. */
  setTable(family: Family, table_id: number, is_there: boolean): () => void {
    const key = `${family}/${table_id}`;
    const was_there = this.#tables.has(key);
    if (is_there) this.#tables.add(key);
    else if (table_id !== 0) this.#tables.delete(key);
    return () => {
      if (was_there) this.#tables.add(key);
      else this.#tables.delete(key);
    };
  }

  // --- what the rules ask

  /** Certainly not there. */
  lacksTable(family: Family, table_id: number): boolean {
    return this.programmed === 'never' && !this.#tables.has(`${family}/${table_id}`);
  }

  /** Interfaces that are known to be bound to another table than the default one. */
  get bound(): number[] {
    return [...this.interfaces].flatMap(([index, { tables }]) =>
      tables[4] !== 0 || tables[6] !== 0 ? [index] : [],
    );
  }

  /** The IKE profile that this interface is encrypted by. */
  ikeProfileOf(sw_if_index: number): string | undefined {
    for (const [name, tunnel] of this.#ike_tunnels) if (tunnel === sw_if_index) return name;
    return undefined;
  }

  isGone(pool: NpolPool, id: number): boolean {
    return this.#npol[pool].isGone(id);
  }

  typeOfSet(id: number): npol_ipset_type | undefined {
    return this.#set_types.get(id);
  }

  /** Whether all that was ever put into this set has one protocol and port, and these have it, too. */
  isOfOnePort(id: number, members: readonly npol_ipset_member[]): boolean {
    const known = this.#set_ports.get(id);
    return known !== undefined && portOfAll(members) === known;
  }

  filled(id: number, members: readonly npol_ipset_member[]): void {
    if (this.#set_types.get(id) !== 'NPOL_IP_AND_PORT') return;
    const port = portOfAll(members);
    const is_first = !this.#set_ports.has(id);
    this.#set_ports.set(id, is_first || this.#set_ports.get(id) === port ? port : undefined);
  }

  /** The interface whose uRPF looks up this table. */
  urpfOf(family: Family, table_id: number): number | undefined {
    for (const [key, table] of this.#urpf) {
      if (table === table_id && key.endsWith(`/${family}`)) return Number(key.slice(0, key.indexOf('/')));
    }
    return undefined;
  }

  // --- what the effects tell

  /** Answers what takes it back. `sw_if_index` absent: the profile goes. */
  encrypts(name: string, sw_if_index: number | undefined): () => void {
    const before = this.#ike_tunnels.get(name);
    const put = (tunnel: number | undefined): void => {
      if (tunnel === undefined) this.#ike_tunnels.delete(name);
      else this.#ike_tunnels.set(name, tunnel);
    };
    put(sw_if_index);
    return () => put(before);
  }

  /** Answers what becomes of it. */
  recursive(source: number): Sent {
    this.recursive_source ??= source;
    this.#recursive_routes += 1;
    return this.#recursive;
  }

  /** One for all: of a hundred thousand routes none has its own. */
  readonly #recursive: Sent = {
    done: nothing,
    refused: () => {
      this.#recursive_routes -= 1;
      if (this.#recursive_routes === 0) this.recursive_source = undefined;
    },
  };

  setNpol(pool: NpolPool, id: number, is_there: boolean, type?: npol_ipset_type): void {
    this.#npol[pool].set(id, is_there);
    if (pool !== 'sets') return;
    this.#set_ports.delete(id);
    if (type === undefined) this.#set_types.delete(id);
    else this.#set_types.set(id, type);
  }

  made(sw_if_index: number, host_if_name?: string): void {
    this.#reused(sw_if_index);
    this.interfaces.set(sw_if_index, { tables: { 4: 0, 6: 0 }, addresses: new Set() });
    if (host_if_name !== undefined) this.#af_packets.set(host_if_name, sw_if_index);
  }

  /** `dst`: its far end, where that is reached by the default table. */
  madeTunnel(sw_if_index: number, dst: string | undefined, vxlan?: VxlanEnds): void {
    this.#reused(sw_if_index);
    const fresh = { tables: { 4: 0, 6: 0 }, addresses: new Set<string>() };
    this.interfaces.set(sw_if_index, { ...fresh, ...(vxlan && { vxlan: endsOf(vxlan) }) });
    this.tunnel_routes.made(sw_if_index, dst);
    if (vxlan !== undefined) this.#vxlans.set(endsOf(vxlan), sw_if_index);
  }

  /** VPP has taken away the tunnel that had this index, as IKE does where the other end has another key. */
  #reused(sw_if_index: number): void {
    for (const [name, tunnel] of this.#ike_tunnels)
      if (tunnel === sw_if_index) this.#ike_tunnels.delete(name);
  }

  /** Answers what brings it back. */
  deleted(sw_if_index: number): () => void {
    const known = this.interfaces.get(sw_if_index);
    const restoreRoutes = this.tunnel_routes.deleted(sw_if_index);
    const ends = known?.vxlan;
    if (ends !== undefined) this.#vxlans.delete(ends);
    const looked_up = [...this.#urpf].filter(([key]) => key.startsWith(`${sw_if_index}/`));
    this.interfaces.delete(sw_if_index);
    for (const [key] of looked_up) this.#urpf.delete(key);
    return () => {
      restoreRoutes();
      if (ends !== undefined) this.#vxlans.set(ends, sw_if_index);
      if (known !== undefined) this.interfaces.set(sw_if_index, known);
      for (const [key, table] of looked_up) this.#urpf.set(key, table);
    };
  }

  afPacket(host_if_name: string): number {
    return this.#af_packets.get(host_if_name) ?? no_interface;
  }

  vxlan(ends: VxlanEnds): number {
    return this.#vxlans.get(endsOf(ends)) ?? no_interface;
  }

  bind(sw_if_index: number, family: Family, table_id: number): () => void {
    const before = this.interfaces.get(sw_if_index);
    const tables = { 4: 0, 6: 0, ...before?.tables, [family]: table_id };
    this.interfaces.set(sw_if_index, { addresses: new Set(), ...before, tables });
    return () => {
      if (before !== undefined) this.interfaces.set(sw_if_index, before);
      else this.interfaces.delete(sw_if_index);
    };
  }

  setUrpf(key: string, table_id: number | undefined): () => void {
    const before = this.#urpf.get(key);
    const put = (table: number | undefined): void => {
      if (table === undefined) this.#urpf.delete(key);
      else this.#urpf.set(key, table);
    };
    put(table_id);
    return () => put(before);
  }
}

/** Undefined: not all have the same. */
function portOfAll(members: readonly npol_ipset_member[]): string | undefined {
  let port: string | undefined;
  for (const { val } of members) {
    const own = 'tuple' in val ? `${val.tuple.l4_proto}:${val.tuple.port}` : undefined;
    if (own === undefined || (port !== undefined && own !== port)) return undefined;
    port = own;
  }
  return port;
}

const nothing = (): void => undefined;
const without_effect: Sent = { done: nothing, refused: nothing };

type Effect = (life: Life, fields: unknown) => Sent | undefined;

function effect<In, R extends Reply>(
  message: Request<In, R>,
  run: (life: Life, fields: NoInfer<In>) => { done?(reply: NoInfer<R>): void; refused?(): void } | undefined,
): readonly [unknown, Effect] {
  return [
    message,
    (life, fields) => {
      const changes = run(life, fields as In);
      if (changes === undefined || isWhole(changes)) return changes as unknown as Sent | undefined;
      return { ...without_effect, ...changes } as unknown as Sent;
    },
  ];
}

const isWhole = (changes: object): boolean => 'done' in changes && 'refused' in changes;

/** Counts from when it is sent, and no more when it is refused. */
const unless = (undo: () => void): { refused(): void } => ({ refused: undo });

function urpf(life: Life, { is_input = true, mode, af, sw_if_index, table_id }: urpf_update_v2_in) {
  const family: Family = af === 'ADDRESS_IP6' ? 6 : 4;
  const own = life.interfaces.get(sw_if_index)?.tables[family];
  const table = table_id === undefined || table_id === no_interface ? own : table_id;
  const key = `${sw_if_index}/${is_input ? 'in' : 'out'}/${family}`;
  return unless(life.setUrpf(key, mode === 'URPF_API_MODE_OFF' ? undefined : table));
}

function begins(life: Life): Pick<Sent, 'refused'> & { done(): void } {
  const before = life.cnat_begun;
  life.cnat_begun = true;
  return {
    done: () => {
      life.cnat_begun = true;
    },
    refused: () => {
      life.cnat_begun = before;
    },
  };
}

const deleted = (life: Life, { sw_if_index }: { readonly sw_if_index: number }): { refused(): void } =>
  unless(life.deleted(sw_if_index));
const made = (life: Life): { done(reply: { readonly sw_if_index: number }): void } => ({
  done: ({ sw_if_index }) => life.made(sw_if_index),
});
const freed = (pool: NpolPool) => (life: Life, id: number) => {
  const type = life.typeOfSet(id);
  life.setNpol(pool, id, false);
  return unless(() => life.setNpol(pool, id, true, type));
};

/** By message: what it changes. */
const effects: ReadonlyMap<unknown, Effect> = new Map([
  effect(tap_create_v3, made),
  effect(af_xdp_create_v3, made),
  effect(virtio_pci_create_v2, made),
  effect(vmxnet3_create, made),
  effect(rdma_create_v2, made),
  effect(rdma_create_v4, made),
  effect(dev_create_port_if, made),
  effect(dev_attach, (life) =>
    unless(() => {
      life.dev_refused = true;
    }),
  ),
  effect(app_namespace_add_del_v4, (life, { is_add = true, namespace_id }) => {
    if (!is_add) return { done: () => life.app_namespaces.delete(namespace_id) };
    life.app_namespaces.set(namespace_id, 'asked');
    return unless(() => {
      life.app_namespaces.set(namespace_id, 'half');
    });
  }),
  effect(create_loopback_instance, made),
  effect(memif_create_v2, made),
  effect(af_packet_create_v3, (life, { host_if_name }) => ({
    done: ({ sw_if_index }) => life.made(sw_if_index, host_if_name),
  })),
  effect(tap_delete_v2, deleted),
  effect(af_xdp_delete, deleted),
  effect(virtio_pci_delete, deleted),
  effect(vmxnet3_delete, deleted),
  effect(rdma_delete, deleted),
  effect(dev_remove_port_if, deleted),
  effect(delete_loopback, deleted),
  effect(memif_delete, deleted),
  effect(af_packet_delete, (life, { host_if_name }) => unless(life.deleted(life.afPacket(host_if_name)))),
  effect(sw_interface_set_table, (life, { sw_if_index, is_ipv6, vrf_id }) =>
    unless(life.bind(sw_if_index, is_ipv6 ? 6 : 4, vrf_id)),
  ),
  effect(sw_interface_add_del_address, (life, { sw_if_index, is_add = true, del_all, prefix }) => {
    const addresses = life.interfaces.get(sw_if_index)?.addresses;
    if (addresses === undefined) return undefined;
    if (del_all) addresses.clear();
    else if (!is_add) addresses.delete(prefix);
    else return { done: () => addresses.add(prefix) };
    return undefined;
  }),
  effect(cnat_set_snat_addresses_v2, begins),
  effect(cnat_translation_update, begins),
  effect(feature_cnat_enable_disable, begins),
  effect(ip_route_add_del_v2, (life, { is_add = true, route }) => {
    const by_tunnel = life.tunnel_routes.sent(is_add, route);
    // VPP refuses to remove what is not there.
    if (!is_add) return undefined;
    const recursive = route.paths.some(isRecursive) ? life.recursive(route.src) : undefined;
    if (by_tunnel === undefined) return recursive;
    return unless(() => {
      by_tunnel();
      recursive?.refused();
    });
  }),
  effect(ipip_add_tunnel, (life, { tunnel: { dst, table_id } }) => ({
    done: ({ sw_if_index }) =>
      life.madeTunnel(sw_if_index, [default_table, ipsec_table].includes(table_id) ? dst : undefined),
  })),
  effect(ipip_del_tunnel, deleted),
  effect(vxlan_add_del_tunnel_v3, (life, fields) =>
    (fields.is_add ?? true)
      ? {
          done: ({ sw_if_index }) =>
            life.madeTunnel(sw_if_index, fields.encap_vrf_id === 0 ? fields.dst_address : undefined, fields),
        }
      : unless(life.deleted(life.vxlan(fields))),
  ),
  // Its peers' own addresses are reached by the default table; routes there to them by it are never wanted (`desired/connectivity.ts`).
  effect(wireguard_interface_create, (life) => ({
    done: ({ sw_if_index }) => life.madeTunnel(sw_if_index, undefined),
  })),
  effect(wireguard_interface_delete, deleted),
  effect(ikev2_set_tunnel_interface, (life, { name, sw_if_index }) =>
    unless(life.encrypts(name, sw_if_index)),
  ),
  effect(ikev2_profile_add_del, (life, { name, is_add }) => {
    life.ike_begun = true;
    return is_add ? undefined : unless(life.encrypts(name, undefined));
  }),
  effect(ip_table_add_del_v2, (life, { is_add = true, table: { is_ip6, table_id } }) =>
    unless(life.setTable(is_ip6 ? 6 : 4, table_id, is_add)),
  ),
  effect(urpf_update_v2, urpf),
  effect(npol_rule_create, (life) => ({ done: ({ rule_id }) => life.setNpol('rules', rule_id, true) })),
  effect(npol_rule_delete, (life, { rule_id }) => freed('rules')(life, rule_id)),
  effect(npol_policy_create, (life) => ({
    done: ({ policy_id }) => life.setNpol('policies', policy_id, true),
  })),
  effect(npol_policy_delete, (life, { policy_id }) => freed('policies')(life, policy_id)),
  effect(npol_ipset_create, (life, { type }) => ({
    done: ({ set_id }) => life.setNpol('sets', set_id, true, type),
  })),
  // Not taken back where it is refused: members before the one that VPP refuses stay.
  effect(npol_ipset_add_del_members, (life, { set_id, is_add, members }) => {
    if (is_add && members.length > 0) life.filled(set_id, members);
    return undefined;
  }),
  effect(npol_ipset_delete, (life, { set_id }) => freed('sets')(life, set_id)),
]);
