/** Scenes for tests of policies: what Felix wants at one pod, one uplink and the host behind it; at random, or put together by hand. */
import fc from 'fast-check';
import type { Npol } from '../../lab/vpp/npol.js';
import { type Flow, verdict } from '../../lab/vpp/npol-verdict.js';
import { AddressSet } from '../../src/felix/address-set.js';
import { parsePrefixText } from '../../src/felix/members.js';
import type {
  FelixMessage,
  HostEndpoint,
  Policy,
  Rule,
  Rules,
  Side,
  Tier,
  WorkloadEndpoint,
} from '../../src/felix/messages.js';
import type { FelixModel } from '../../src/felix/model.js';
import { local_pods } from '../../src/objects/npol.js';
import { type Attachment, PolicyCompiler } from '../../src/policies/compiler.js';
import { modelOf, setMessage } from '../felix/stream.js';
import { loaded } from '../kit/npol-load.js';
import {
  type Direction,
  judgeForwarded,
  judgeHost,
  judgeWorkload,
  type Packet,
  type World,
} from '../kit/policy-evaluator.js';

export const no_side: Side = { nets: [], sets: [], ports: [], named_ports: [] };

export const no_rule: Rule = {
  action: 'allow',
  ip_version: 0,
  protocol: undefined,
  not_protocol: undefined,
  icmp: undefined,
  not_icmp: undefined,
  src: no_side,
  dst: no_side,
  not_src: no_side,
  not_dst: no_side,
  services: [],
  unknown: [],
};

export function ruleOf(action: string, criteria: Partial<Rule> = {}): Rule {
  return { ...no_rule, action, ...criteria };
}

export function side(criteria: Partial<Side>): Side {
  return { ...no_side, ...criteria };
}

export function policyOf(inbound: readonly Rule[], outbound: readonly Rule[] = []): Policy {
  return { inbound, outbound, untracked: false, pre_dnat: false };
}

export const pod_id = { orchestrator: 'k8s', workload: 'shop/web', endpoint: 'eth0' };
export const pod_key = 'k8s shop/web eth0';

export function podOf(tiers: readonly Tier[], profiles: readonly string[]): WorkloadEndpoint {
  return { active: true, profiles, nets: [], tiers, id: pod_id, name: 'cali0' };
}

export function hostOf(criteria: Partial<HostEndpoint>): HostEndpoint {
  const none = { addresses: [], profiles: [], tiers: [], untracked: [], pre_dnat: [], forward: [] };
  return { name: '*', ...none, ...criteria };
}

export function tierOf(
  name: string,
  end: 'deny' | 'pass',
  ingress: readonly string[],
  egress = ingress,
): Tier {
  const ref = (key: string) => ({ key, staged: key.startsWith('Staged') });
  return { name, end, ingress: ingress.map(ref), egress: egress.map(ref) };
}

export const eth0 = { name: 'eth0', addresses: ['10.0.0.6/24', 'fd00::6/64'] };

/** What stands at each point of the node, in the order of its number. */
export const points: readonly (readonly [string, Attachment])[] = [
  ['pod', { kind: 'workload', endpoint: pod_key }],
  ['host-eth0', { kind: 'tap', host: eth0 }],
  ['main-eth0', { kind: 'uplink', host: eth0 }],
];

export const node_addresses = ['10.0.0.6', 'fd00::6'];
export const pods = ['10.0.0.2', 'fd00::2'];

export interface Scene {
  readonly policies: Readonly<Record<string, Policy>>;
  readonly profiles: Readonly<Record<string, Rules>>;
  readonly sets: Readonly<Record<string, readonly string[]>>;
  readonly pod?: WorkloadEndpoint;
  readonly host?: HostEndpoint;
  readonly config?: Readonly<Record<string, string>>;
}

export function messagesOf({ policies, profiles, sets, pod, host, config = {} }: Scene): FelixMessage[] {
  return [
    { kind: 'config', config: new Map(Object.entries(config)) },
    ...Object.entries(sets).map(([id, members]) =>
      setMessage(id, members, /^(n|svc):/.test(id) ? 'address_and_port' : 'prefix'),
    ),
    ...Object.entries(policies).map(([key, policy]) => ({ kind: 'policy', key, policy }) as const),
    ...Object.entries(profiles).map(([name, profile]) => ({ kind: 'profile', name, profile }) as const),
    ...(pod === undefined ? [] : [{ kind: 'workload', key: pod_key, endpoint: pod } as const]),
    ...(host === undefined ? [] : [{ kind: 'host', id: 'node-eth0', endpoint: host } as const]),
    { kind: 'in_sync' },
  ];
}

export function compiled(
  model: FelixModel,
  compiler = new PolicyCompiler(),
  at: typeof points = points,
): PolicyCompiler {
  for (const [tag, attachment] of at) compiler.attach(tag, attachment);
  compiler.node(node_addresses);
  compiler.felix(model.live!, model.take());
  compiler.compile(Number.POSITIVE_INFINITY);
  return compiler;
}

export function localPods(): AddressSet {
  const set = new AddressSet();
  for (const pod of pods) set.add(parsePrefixText(pod)!);
  return set;
}

export function npolOf(compiler: PolicyCompiler, model: FelixModel, at: typeof points = points): Npol {
  const sets = new Map<string, { members(port: number): AddressSet | undefined }>(model.live!.sets);
  sets.set(local_pods, { members: () => localPods() });
  return loaded(
    at.map(([tag]) => compiler.objects.interface(tag)!),
    sets,
  );
}

export function built(scene: Scene): {
  readonly compiler: PolicyCompiler;
  readonly npol: Npol;
  readonly model: FelixModel;
} {
  const model = modelOf(messagesOf(scene));
  const compiler = compiled(model);
  return { compiler, model, npol: npolOf(compiler, model) };
}

export function worldOf({ policies, profiles, sets, config = {} }: Scene): World {
  return {
    policies: new Map(Object.entries(policies)),
    profiles: new Map(Object.entries(profiles)),
    sets: new Map(Object.entries(sets)),
    local_pods: pods,
    node_addresses,
    endpoint_to_host: config.DefaultEndpointToHostAction === 'ACCEPT' ? 'allow' : 'deny',
    failsafe_inbound: ['6:81'],
    failsafe_outbound: ['17:81'],
    vxlan_port: 82,
  };
}

export const config = {
  FailsafeInboundHostPorts: '81',
  FailsafeOutboundHostPorts: 'udp:81',
  VXLANPort: '82',
};

/** Cnat has the identifier of an echo in both ports. */
export function flowOf(
  { source, destination, protocol, source_port, destination_port, icmp }: Packet,
  id = 80,
): Flow {
  const ports =
    icmp === undefined ? { source_port, destination_port } : { source_port: id, destination_port: id };
  return { source, destination, protocol, ...ports };
}

/** Where a packet is judged, and what is said of it there: by Calico, and by npol. */
export function places(
  scene: Scene,
  npol: Npol,
  packet: Packet,
): { where: string; index: number; inbound: boolean; calico: string; npol: string }[] {
  const world = worldOf(scene);
  const flow = flowOf(packet);
  const place = (where: string, calico: string, index: number, inbound: boolean) => ({
    where,
    index,
    inbound,
    calico,
    npol: verdict(npol, index, inbound, flow),
  });
  const both = (of: (direction: Direction) => string): [string, string] => [of('ingress'), of('egress')];
  const [pod_in, pod_out] = both((direction) => judgeWorkload(world, scene.pod, direction, packet));
  const [host_in, host_out] = both((direction) => judgeHost(world, scene.host, direction, packet));
  const [through_in, through_out] = both((direction) => judgeForwarded(world, scene.host, direction, packet));
  return [
    place('into the pod', pod_in, 1, false),
    place('out of the pod', pod_out, 1, true),
    place('into the host', host_in, 2, false),
    place('out of the host', host_out, 2, true),
    place('from outside, through the node', through_in, 3, true),
    place('to outside, through the node', through_out, 3, false),
  ];
}

/** The same pod's interface in a network, and a tunnel of that network, behind the others. */
export const network_points: typeof points = [
  ...points,
  ['pod-red', { kind: 'workload', endpoint: pod_key, network: 'red' }],
  ['vxlan-7-10.0.0.9', { kind: 'tunnel', host: eth0, network: 'red' }],
];

/** As `places`, of these two. */
export function networkPlaces(
  scene: Scene,
  npol: Npol,
  packet: Packet,
): { where: string; calico: string; npol: string }[] {
  const world = worldOf(scene);
  const place = (where: string, calico: string, index: number, inbound: boolean) => ({
    where,
    calico,
    npol: verdict(npol, index, inbound, flowOf(packet)),
  });
  return [
    place('into the pod by red', judgeWorkload(world, scene.pod, 'ingress', packet, red), 4, false),
    place('out of the pod by red', judgeWorkload(world, scene.pod, 'egress', packet, red), 4, true),
    place('from nodes by red', judgeForwarded(world, scene.host, 'ingress', packet, red), 5, true),
    place('to nodes by red', judgeForwarded(world, scene.host, 'egress', packet, red), 5, false),
  ];
}

// ---- random scenes: few addresses, ports and sets, so that criteria meet

export const v4 = fc.nat(7).map((last) => `10.0.0.${last}`);
export const v6 = fc.nat(7).map((last) => `fd00::${last}`);
export const net = fc.constantFrom(
  ...['10.0.0.0/30', '10.0.0.4/30', '10.0.0.0/29', '10.0.0.1/32', '10.0.0.2', '10.0.0.5/30', '0.0.0.0/0'],
  ...['fd00::/126', 'fd00::4/126', 'fd00::/125', 'fd00::1/128', 'fd00::2', '::/0'],
);
export const port = fc.integer({ min: 79, max: 83 });
export const member_net = fc.oneof(
  { weight: 3, arbitrary: v4 },
  { weight: 2, arbitrary: v6 },
  { weight: 1, arbitrary: net },
);
export const member_port = fc
  .tuple(fc.oneof(v4, v6), fc.constantFrom('tcp', 'udp', 'sctp'), port)
  .map(([address, protocol, number]) => `${address},${protocol}:${number}`);
export const net_sets = ['s:a', 's:b', 's:c', 'svcnoport:d'] as const;
export const port_sets = ['n:a', 'n:b', 'svc:c'] as const;
export const sets = fc
  .tuple(
    fc.tuple(...net_sets.map(() => fc.uniqueArray(member_net, { maxLength: 5 }))),
    fc.tuple(...port_sets.map(() => fc.uniqueArray(member_port, { maxLength: 8 }))),
  )
  .map(
    ([nets, ports]) =>
      Object.fromEntries([
        ...net_sets.map((id, i) => [id, nets[i]!]),
        ...port_sets.map((id, i) => [id, ports[i]!]),
      ]) as Record<string, string[]>,
  );

/** Mostly nothing, so that rules match now and then. */
export function seldom<T>(arbitrary: fc.Arbitrary<T>, none: T, weight = 1): fc.Arbitrary<T> {
  return fc.oneof({ weight: 5, arbitrary: fc.constant(none) }, { weight, arbitrary });
}

export const range = fc.tuple(port, fc.nat(2)).map(([first, more]) => ({ first, last: first + more }));
export const some_side: fc.Arbitrary<Side> = fc.record({
  nets: seldom(fc.array(net, { minLength: 1, maxLength: 3 }), [] as string[], 2),
  sets: seldom(
    fc.array(fc.constantFrom(...net_sets), { minLength: 1, maxLength: 2 }),
    [] as (typeof net_sets)[number][],
  ),
  ports: seldom(fc.array(range, { minLength: 1, maxLength: 2 }), [] as { first: number; last: number }[]),
  named_ports: seldom(
    fc.array(fc.constantFrom(...port_sets), { minLength: 1, maxLength: 2 }),
    [] as (typeof port_sets)[number][],
  ),
});
export const few_side = seldom(some_side, no_side, 2);
export const protocol = seldom<number | string | undefined>(
  fc.constantFrom<number | string>('tcp', 'UDP', 'sctp', 'icmp', 'ICMPv6', 'udplite', 1, 6, 17),
  undefined,
  4,
);
export const icmp = seldom<Rule['icmp']>(
  fc.record({ type: fc.constantFrom(8, 128, 3), code: fc.constantFrom(undefined, 0, 3) }),
  undefined,
);
const any_network: fc.Arbitrary<Rule> = fc.record({
  action: fc.constantFrom('allow', 'deny', 'pass', 'log', 'next-tier', '', 'reject', 'allow', 'deny'),
  ip_version: seldom(fc.constantFrom(4, 6), 0),
  protocol,
  not_protocol: seldom(protocol, undefined),
  icmp,
  not_icmp: icmp,
  src: some_side,
  dst: some_side,
  not_src: few_side,
  not_dst: few_side,
  services: seldom(
    fc.array(fc.constantFrom(...port_sets), { minLength: 1, maxLength: 2 }),
    [] as (typeof port_sets)[number][],
  ),
  unknown: fc.constant([]),
});
/** The network beside the default one that some rules are for. */
export const red = 'red';
export const rule: fc.Arbitrary<Rule> = fc
  .tuple(any_network, seldom<string | undefined>(fc.constantFrom(red, 'blue'), undefined, 2))
  .map(([rule, network]) => (network === undefined ? rule : { ...rule, network }));
/** Some rules ask nothing. */
export const any_rule = fc.oneof(
  { weight: 4, arbitrary: rule },
  {
    weight: 1,
    arbitrary: rule.map(({ action, network }) => ruleOf(action, network === undefined ? {} : { network })),
  },
);
export const rules = fc.record({
  inbound: fc.array(any_rule, { maxLength: 3 }),
  outbound: fc.array(any_rule, { maxLength: 3 }),
});
export const keys = [
  'NetworkPolicy a/1',
  'NetworkPolicy a/2',
  'GlobalNetworkPolicy 3',
  'NetworkPolicy b/4',
  'default|5',
  'StagedNetworkPolicy a/6',
];
export const policies = fc
  .tuple(...keys.map(() => rules))
  .map((all) =>
    Object.fromEntries(keys.map((key, i) => [key, { ...all[i]!, untracked: false, pre_dnat: false }])),
  );
export const profiles = fc
  .tuple(fc.oneof(rules, fc.constant({ inbound: [ruleOf('allow')], outbound: [ruleOf('allow')] })), rules)
  .map(([first, second]) => ({ kns: first, ksa: second }));
export const tier: fc.Arbitrary<Tier> = fc
  .record({
    name: fc.constantFrom('security', 'platform', 'default'),
    end: fc.constantFrom('deny' as const, 'pass' as const, 'pass' as const),
    ingress: fc.uniqueArray(fc.constantFrom(...keys), { maxLength: 3 }),
    egress: fc.uniqueArray(fc.constantFrom(...keys), { maxLength: 3 }),
  })
  .map(({ name, end, ingress, egress }) => tierOf(name, end, ingress, egress));
export const tiers = fc.array(tier, { maxLength: 4 });
export const with_profiles = fc.subarray(['kns', 'ksa']);
export const scene: fc.Arbitrary<Scene> = fc.record({
  policies,
  profiles,
  sets,
  pod: fc.record({ tiers, profiles: with_profiles }).map((of) => podOf(of.tiers, of.profiles)),
  host: fc
    .record({ tiers, forward: tiers, profiles: with_profiles })
    .map((of) => hostOf({ tiers: of.tiers, forward: of.forward, profiles: of.profiles })),
  config: fc.constantFrom(config, { ...config, DefaultEndpointToHostAction: 'ACCEPT' }),
});
export const packet: fc.Arbitrary<Packet> = fc
  .tuple(
    fc.constantFrom(4 as const, 6 as const),
    fc.nat(7),
    fc.nat(7),
    fc.constantFrom(6, 17, 132, 1),
    port,
    port,
  )
  .map(([family, from, to, number, source_port, destination_port]) => {
    const address = (last: number) => (family === 4 ? `10.0.0.${last}` : `fd00::${last || ''}`);
    const ends = { family, source: address(from), destination: address(to) };
    if (number !== 1) return { ...ends, protocol: number, source_port, destination_port };
    const echo = { type: family === 4 ? 8 : 128, code: 0 };
    return { ...ends, protocol: family === 4 ? 1 : 58, source_port: 0, destination_port: 0, icmp: echo };
  });

/** The smallest difference, without all that is empty in it. */
export function smallest<T>({ failed, counterexample, errorInstance, seed }: fc.RunDetails<T>): void {
  if (!failed) return;
  const said = JSON.stringify(counterexample, (_, value) => {
    if (typeof value !== 'object' || value === null) return value;
    const kept = Object.entries(value).filter(([, part]) => !isNothing(part));
    return Array.isArray(value) ? kept.map(([, part]) => part) : Object.fromEntries(kept);
  });
  throw new Error(
    `seed ${seed}: ${errorInstance instanceof Error ? errorInstance.message : errorInstance}\n${said}`,
  );
}

export function isNothing(value: unknown): boolean {
  if (typeof value === 'object' && value !== null) return Object.values(value).every(isNothing);
  return value === undefined || value === false || value === 0 || value === '';
}
