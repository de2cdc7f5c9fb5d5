/**
 * Kubernetes' network policies in the cases of its conformance tests: peers, ports, protocols, directions, families, one with the other. Each policy is told
 * as Felix tells it; what comes of each flow is what Kubernetes' documentation says, by an evaluator of Calico's semantics, the stand-in's npol
 * and, where there is one, a real VPP's.
 */
import t from 'tap';
import { connect, unixTransport } from 'vpp-binapi-ts';
import { create_loopback } from 'vpp-binapi-ts/interface';
import { findRealVpp, startRealVpp } from '../../lab/real-vpp.js';
import { verdict } from '../../lab/vpp/npol-verdict.js';
import type { Policy, Rule, Side } from '../../src/felix/messages.js';
import { judgeWorkload, type Packet } from '../kit/policy-evaluator.js';
import { program, said } from '../policies/real-npol.js';
import {
  built,
  flowOf,
  podOf,
  points,
  ruleOf,
  type Scene,
  side,
  tierOf,
  worldOf,
} from '../policies/scenes.js';

// ---- the cluster: three namespaces of three pods each, and somebody outside

type Family = 4 | 6;
const protocols = { TCP: 6, UDP: 17, SCTP: 132 } as const;
type Protocol = keyof typeof protocols;
type Direction = 'ingress' | 'egress';

interface Party {
  readonly name: string;
  readonly addresses: Readonly<Record<Family, string>>;
  /** Undefined: outside of the cluster. */
  readonly labels?: { readonly ns: string; readonly pod: string };
}

const pods: readonly Party[] = ['x', 'y', 'z'].flatMap((ns, i) =>
  ['a', 'b', 'c'].map((pod, j) => ({
    name: `${ns}/${pod}`,
    labels: { ns, pod },
    addresses: { 4: `10.1.${i + 1}.${j + 1}`, 6: `fd00:1::${i + 1}:${j + 1}` },
  })),
);
const outside: readonly Party[] = [
  { name: 'outside', addresses: { 4: '192.0.2.1', 6: '2001:db8::1' } },
  { name: 'excepted', addresses: { 4: '192.0.2.129', 6: '2001:db8::8001' } },
];
const parties = [...pods, ...outside];
const pod = (name: string): Party => pods.find((one) => one.name === name)!;

/** A name means another port in the last namespace. */
function namedPort({ labels }: Party, name: string): { protocol: Protocol; port: number } | undefined {
  if (labels === undefined) return undefined;
  if (name === 'web') return { protocol: 'TCP', port: labels.ns === 'z' ? 81 : 80 };
  return name === 'dns' ? { protocol: 'UDP', port: 80 } : undefined;
}

// ---- policies as Kubernetes has them

/** Of one label; empty: everything. */
interface Selector {
  readonly in?: readonly string[];
  readonly not_in?: readonly string[];
}

interface Peer {
  readonly pods?: Selector;
  readonly namespaces?: Selector;
  readonly block?: { readonly cidr: string; readonly except?: readonly string[] };
}

interface Port {
  readonly protocol?: Protocol;
  readonly port?: number | string;
  readonly end?: number;
}

/** Without peers, or without ports: all of them. */
interface NetworkRule {
  readonly peers?: readonly Peer[];
  readonly ports?: readonly Port[];
}

interface NetworkPolicy {
  readonly ns: string;
  readonly pods: Selector;
  /** A direction that is not there is not policed. */
  readonly ingress?: readonly NetworkRule[];
  readonly egress?: readonly NetworkRule[];
}

function meets({ in: within, not_in }: Selector, label: string): boolean {
  return (within === undefined || within.includes(label)) && not_in?.includes(label) !== true;
}

/** By Kubernetes' words, without a thought of Calico. */
function kubernetes(
  policies: readonly NetworkPolicy[],
  direction: Direction,
  subject: Party,
  other: Party,
  { family, protocol, port }: Probe,
): boolean {
  const applying = policies.filter(
    (policy) =>
      policy[direction] !== undefined &&
      policy.ns === subject.labels?.ns &&
      meets(policy.pods, subject.labels.pod),
  );
  if (applying.length === 0) return true;
  const destination = direction === 'ingress' ? subject : other;
  const isPeer = (ns: string, peer: Peer): boolean => {
    if (peer.block !== undefined) {
      const { cidr, except = [] } = peer.block;
      const is = (block: string) => blocks[block]!.includes(`${other.name} ${family}`);
      return is(cidr) && !except.some(is);
    }
    if (other.labels === undefined) return false;
    const namespaces = peer.namespaces ?? { in: [ns] };
    return meets(namespaces, other.labels.ns) && meets(peer.pods ?? {}, other.labels.pod);
  };
  const isPort = (wanted: Port): boolean => {
    if (typeof wanted.port === 'string') {
      const named = namedPort(destination, wanted.port);
      return named?.port === port && named.protocol === protocol && protocol === (wanted.protocol ?? 'TCP');
    }
    if (protocol !== (wanted.protocol ?? 'TCP')) return false;
    return wanted.port === undefined || (wanted.port <= port && port <= (wanted.end ?? wanted.port));
  };
  return applying.some((policy) =>
    policy[direction]!.some(
      ({ peers = [], ports = [] }) =>
        (peers.length === 0 || peers.some((peer) => isPeer(policy.ns, peer))) &&
        (ports.length === 0 || ports.some(isPort)),
    ),
  );
}

/** Who is in each block, written out. */
const blocks: Readonly<Record<string, readonly string[]>> = {
  '192.0.2.0/24': ['outside 4', 'excepted 4'],
  '192.0.2.128/25': ['excepted 4'],
  '2001:db8::/32': ['outside 6', 'excepted 6'],
  '2001:db8::8000/113': ['excepted 6'],
  '10.1.0.0/16': pods.map(({ name }) => `${name} 4`),
  '10.1.1.0/24': ['x/a 4', 'x/b 4', 'x/c 4'],
  '10.1.2.1/32': ['y/a 4'],
  '0.0.0.0/0': parties.map(({ name }) => `${name} 4`),
  '::/0': parties.map(({ name }) => `${name} 6`),
};

// ---- the same as Felix tells it

function addressesOf(some: readonly Party[]): string[] {
  return some.flatMap(({ addresses }) => [addresses[4], addresses[6]]);
}

class Told {
  readonly policies: Record<string, Policy> = {};
  readonly sets: Record<string, readonly string[]> = {};

  constructor(readonly of: readonly NetworkPolicy[]) {
    for (const [i, policy] of of.entries())
      this.policies[this.#key(policy, i)] = {
        inbound: this.#rules(policy, 'ingress'),
        outbound: this.#rules(policy, 'egress'),
        untracked: false,
        pre_dnat: false,
      };
  }

  #key({ ns }: NetworkPolicy, i: number): string {
    return `KubernetesNetworkPolicy ${ns}/${i}`;
  }

  #rules({ ns, ...policy }: NetworkPolicy, direction: Direction): Rule[] {
    return (policy[direction] ?? []).flatMap(({ peers, ports }) =>
      (peers ?? [undefined]).flatMap((peer) => {
        const [is, is_not] = peer === undefined ? [{}, {}] : this.#peer(ns, peer);
        const ends: Partial<Rule> =
          direction === 'ingress'
            ? { src: side(is), not_src: side(is_not) }
            : { dst: side(is), not_dst: side(is_not) };
        return this.#ports(ports).map(({ protocol, dst }) =>
          ruleOf('allow', { ...ends, protocol, dst: side({ ...ends.dst, ...dst }) }),
        );
      }),
    );
  }

  #peer(ns: string, { pods: of_pods, namespaces, block }: Peer): [Partial<Side>, Partial<Side>] {
    if (block !== undefined) return [{ nets: [block.cidr] }, { nets: block.except ?? [] }];
    const id = `s:${JSON.stringify([namespaces ?? ns, of_pods])}`;
    this.sets[id] = addressesOf(
      pods.filter(
        ({ labels }) => meets(namespaces ?? { in: [ns] }, labels!.ns) && meets(of_pods ?? {}, labels!.pod),
      ),
    );
    return [{ sets: [id] }, {}];
  }

  /** A rule for each protocol. */
  #ports(ports: readonly Port[] = []): { protocol?: string; dst: Partial<Side> }[] {
    if (ports.length === 0) return [{ dst: {} }];
    return (Object.keys(protocols) as Protocol[]).flatMap((name) => {
      const of = ports.filter(({ protocol = 'TCP' }) => protocol === name);
      if (of.length === 0) return [];
      const protocol = name.toLowerCase();
      if (of.some(({ port }) => port === undefined)) return [{ protocol, dst: {} }];
      const numbers = of.flatMap(({ port, end }) =>
        typeof port === 'number' ? [{ first: port, last: end ?? port }] : [],
      );
      const named = of.flatMap(({ port }) => (typeof port === 'string' ? [this.#named(port, name)] : []));
      return [{ protocol, dst: { ports: numbers, named_ports: named } }];
    });
  }

  #named(name: string, protocol: Protocol): string {
    const id = `n:${protocol},${name}`;
    this.sets[id] = pods.flatMap((one) => {
      const named = namedPort(one, name);
      if (named?.protocol !== protocol) return [];
      return addressesOf([one]).map((address) => `${address},${protocol.toLowerCase()}:${named.port}`);
    });
    return id;
  }

  /** At this pod. */
  scene({ labels }: Party): Scene {
    const keys = (direction: Direction) =>
      this.of.flatMap((policy, i) =>
        policy.ns === labels!.ns && meets(policy.pods, labels!.pod) && policy[direction] !== undefined
          ? [this.#key(policy, i)]
          : [],
      );
    const all = [ruleOf('allow')];
    return {
      policies: this.policies,
      profiles: { kns: { inbound: all, outbound: all } },
      sets: this.sets,
      pod: podOf([tierOf('default', 'deny', keys('ingress'), keys('egress'))], ['kns']),
    };
  }
}

interface Probe {
  readonly family: Family;
  readonly protocol: Protocol;
  readonly port: number;
}

const probes: readonly Probe[] = ([4, 6] as const).flatMap((family) =>
  (Object.keys(protocols) as Protocol[]).flatMap((protocol) =>
    [79, 80, 81, 83].map((port) => ({ family, protocol, port })),
  ),
);

function packetOf(from: Party, to: Party, { family, protocol, port }: Probe): Packet {
  return {
    family,
    source: from.addresses[family],
    destination: to.addresses[family],
    protocol: protocols[protocol],
    source_port: 30_000,
    destination_port: port,
  };
}

/** Asks of every flow at this pod; what differs, and whom it lets in by TCP to port 80. */
interface Judged {
  readonly differences: readonly string[];
  readonly compared: number;
  readonly lets_in: string;
}

type Ask = (inbound: boolean, packet: Packet) => Promise<string> | string;

async function judged(
  told: Told,
  at: Party,
  ask: (scene: Scene) => Promise<[Ask, () => unknown]>,
): Promise<Judged> {
  const scene = told.scene(at);
  const world = worldOf(scene);
  const [asked, end] = await ask(scene);
  const differences: string[] = [];
  const lets_in = new Set<string>();
  let compared = 0;
  for (const other of parties)
    for (const probe of probes)
      for (const direction of ['ingress', 'egress'] as const) {
        const [from, to] = direction === 'ingress' ? [other, at] : [at, other];
        const packet = packetOf(from, to, probe);
        const wanted = kubernetes(told.of, direction, at, other, probe) ? 'allow' : 'deny';
        const calico = judgeWorkload(world, scene.pod, direction, packet);
        const is = await asked(direction === 'egress', packet);
        compared += 1;
        if (direction === 'ingress' && is === 'allow' && probe.protocol === 'TCP' && probe.port === 80)
          lets_in.add(other.name);
        if (calico !== wanted || is !== wanted)
          differences.push(
            `${direction} of ${at.name}, ${other.name}, ${JSON.stringify(probe)}: Kubernetes ${wanted}, Calico ${calico}, npol ${is}`,
          );
      }
  await end();
  return { differences, compared, lets_in: [...lets_in].join(' ') };
}

async function standIn(scene: Scene): Promise<[Ask, () => unknown]> {
  const { npol, compiler } = built(scene);
  if (compiler.refusals('pod').length > 0)
    throw new Error(`refused: ${JSON.stringify(compiler.refusals('pod'))}`);
  return [(inbound, packet) => verdict(npol, 1, inbound, flowOf(packet)), () => undefined];
}

// ---- the cases

const at_a: Selector = { in: ['a'] };

/** Whom x/a lets in by TCP to port 80, by either family: written down by hand. */
const all_names = parties.map(({ name }) => name).join(' ');
const named: Readonly<Record<string, readonly [readonly NetworkPolicy[], string]>> = {
  'no policy': [[], all_names],
  'deny all ingress': [[{ ns: 'x', pods: {}, ingress: [] }], ''],
  'deny all egress': [[{ ns: 'x', pods: {}, egress: [] }], all_names],
  'deny all in both directions': [[{ ns: 'x', pods: {}, ingress: [], egress: [] }], ''],
  'allow all ingress': [[{ ns: 'x', pods: {}, ingress: [{}] }], all_names],
  'allow all wins over deny all': [
    [
      { ns: 'x', pods: {}, ingress: [] },
      { ns: 'x', pods: at_a, ingress: [{}] },
    ],
    all_names,
  ],
  'a policy of another namespace': [[{ ns: 'y', pods: {}, ingress: [] }], all_names],
  'a policy for another pod': [[{ ns: 'x', pods: { in: ['b'] }, ingress: [] }], all_names],
  'pods of its own namespace': [
    [{ ns: 'x', pods: at_a, ingress: [{ peers: [{ pods: {} }] }] }],
    'x/a x/b x/c',
  ],
  'one pod of its own namespace': [
    [{ ns: 'x', pods: at_a, ingress: [{ peers: [{ pods: { in: ['b'] } }] }] }],
    'x/b',
  ],
  'a namespace': [
    [{ ns: 'x', pods: at_a, ingress: [{ peers: [{ namespaces: { in: ['y'] } }] }] }],
    'y/a y/b y/c',
  ],
  'all namespaces': [
    [{ ns: 'x', pods: at_a, ingress: [{ peers: [{ namespaces: {} }] }] }],
    'x/a x/b x/c y/a y/b y/c z/a z/b z/c',
  ],
  'pods in namespaces, both at once': [
    [
      {
        ns: 'x',
        pods: at_a,
        ingress: [{ peers: [{ namespaces: { in: ['y', 'z'] }, pods: { in: ['a'] } }] }],
      },
    ],
    'y/a z/a',
  ],
  'pods or namespaces, one of them': [
    [
      {
        ns: 'x',
        pods: at_a,
        ingress: [{ peers: [{ namespaces: { in: ['y'] } }, { pods: { in: ['b'] } }] }],
      },
    ],
    'x/b y/a y/b y/c',
  ],
  'expressions that exclude': [
    [
      {
        ns: 'x',
        pods: at_a,
        ingress: [{ peers: [{ namespaces: { not_in: ['x'] }, pods: { not_in: ['a', 'c'] } }] }],
      },
    ],
    'y/b z/b',
  ],
  'nobody matches': [[{ ns: 'x', pods: at_a, ingress: [{ peers: [{ pods: { in: ['nobody'] } }] }] }], ''],
  'a block': [
    [{ ns: 'x', pods: at_a, ingress: [{ peers: [{ block: { cidr: '192.0.2.0/24' } }] }] }],
    'outside excepted',
  ],
  'a block with an exception': [
    [
      {
        ns: 'x',
        pods: at_a,
        ingress: [{ peers: [{ block: { cidr: '192.0.2.0/24', except: ['192.0.2.128/25'] } }] }],
      },
    ],
    'outside',
  ],
  'an exception that another rule allows': [
    [
      {
        ns: 'x',
        pods: at_a,
        ingress: [
          { peers: [{ block: { cidr: '192.0.2.0/24', except: ['192.0.2.128/25'] } }] },
          { peers: [{ block: { cidr: '192.0.2.128/25' } }] },
        ],
      },
    ],
    'outside excepted',
  ],
  'a block of pods without some': [
    [
      {
        ns: 'x',
        pods: at_a,
        ingress: [{ peers: [{ block: { cidr: '10.1.0.0/16', except: ['10.1.1.0/24', '10.1.2.1/32'] } }] }],
      },
    ],
    'y/b y/c z/a z/b z/c',
  ],
  'another port': [[{ ns: 'x', pods: at_a, ingress: [{ ports: [{ port: 81 }] }] }], ''],
  'two rules, each with peers and ports of its own': [
    [
      {
        ns: 'x',
        pods: at_a,
        ingress: [
          { peers: [{ pods: { in: ['b'] } }], ports: [{ port: 80 }] },
          { peers: [{ namespaces: { in: ['z'] } }], ports: [{ port: 81 }] },
        ],
      },
    ],
    'x/b',
  ],
  'two policies add up': [
    [
      { ns: 'x', pods: at_a, ingress: [{ peers: [{ pods: { in: ['b'] } }] }] },
      { ns: 'x', pods: {}, ingress: [{ peers: [{ namespaces: { in: ['z'] } }], ports: [{ port: 'web' }] }] },
    ],
    'x/b z/a z/b z/c',
  ],
  'ingress and egress are apart': [
    [
      {
        ns: 'x',
        pods: at_a,
        ingress: [{ peers: [{ pods: { in: ['b'] } }] }],
        egress: [{ peers: [{ namespaces: { in: ['y'] } }], ports: [{ protocol: 'UDP', port: 'dns' }] }],
      },
    ],
    'x/b',
  ],
};

const peer_dimension: Readonly<Record<string, readonly Peer[] | undefined>> = {
  anybody: undefined,
  'pods of its namespace': [{ pods: { in: ['b', 'c'] } }],
  namespaces: [{ namespaces: { in: ['y', 'z'] } }],
  'pods in namespaces': [{ namespaces: { not_in: ['y'] }, pods: { in: ['a'] } }],
  'blocks with exceptions': [
    { block: { cidr: '192.0.2.0/24', except: ['192.0.2.128/25'] } },
    { block: { cidr: '2001:db8::/32', except: ['2001:db8::8000/113'] } },
  ],
  'all of one family': [{ block: { cidr: '::/0' } }],
  'pods or a block': [{ pods: { in: ['b'] } }, { block: { cidr: '0.0.0.0/0', except: ['10.1.0.0/16'] } }],
};
const port_dimension: Readonly<Record<string, readonly Port[] | undefined>> = {
  'any port': undefined,
  'a TCP port': [{ port: 80 }],
  'a UDP port': [{ protocol: 'UDP', port: 80 }],
  'an SCTP port': [{ protocol: 'SCTP', port: 81 }],
  'a range': [{ port: 80, end: 81 }],
  'a named port': [{ port: 'web' }],
  'named and numbered, of two protocols': [{ port: 'web' }, { port: 83 }, { protocol: 'UDP', port: 'dns' }],
  'a protocol': [{ protocol: 'SCTP' }],
  'a name of another protocol': [{ protocol: 'UDP', port: 'web' }],
};

function* matrix(): Generator<[string, NetworkPolicy]> {
  for (const [peer, peers] of Object.entries(peer_dimension))
    for (const [port, ports] of Object.entries(port_dimension))
      for (const directions of [['ingress'], ['egress'], ['ingress', 'egress']] as const) {
        const rules = [{ ...(peers !== undefined && { peers }), ...(ports !== undefined && { ports }) }];
        const policy = Object.fromEntries(directions.map((direction) => [direction, rules]));
        yield [`${directions.join(' and ')}: ${peer}, ${port}`, { ns: 'x', pods: at_a, ...policy }];
      }
}

t.test('each case of the conformance tests, at every pod', async (t) => {
  for (const [name, [policies, lets_in]] of Object.entries(named)) {
    const told = new Told(policies);
    for (const at of pods) {
      const { differences, lets_in: is } = await judged(told, at, standIn);
      if (differences.length > 0) t.fail(name, { differences: differences.slice(0, 5) });
      if (at.name === 'x/a') t.equal(is, lets_in, name);
    }
  }
});

t.test('peers by ports by directions: the matrix', async (t) => {
  let compared = 0;
  let count = 0;
  for (const [name, policy] of matrix()) {
    const { differences, compared: of } = await judged(new Told([policy]), pod('x/a'), standIn);
    if (differences.length > 0) t.fail(name, { differences: differences.slice(0, 5) });
    compared += of;
    count += 1;
  }
  t.equal(count, 7 * 9 * 3);
  t.equal(compared, count * parties.length * probes.length * 2);
});

const found = findRealVpp();

t.test('the same of a real VPP', { skip: found.usable ? false : found.why }, async (t) => {
  if (!found.usable) return;
  const running = await startRealVpp(found);
  t.teardown(() => running.stop());
  const vpp = await connect({
    transport: unixTransport(running.api_socket),
    name: 'cases',
    deadline_ms: 10_000,
  });
  t.teardown(() => vpp.close());
  const indexes: number[] = [];
  for (const _ of points)
    indexes.push((await vpp.request(create_loopback, { mac_address: '00:00:00:00:00:00' })).sw_if_index);
  const real = async (scene: Scene): Promise<[Ask, () => unknown]> => {
    const undo = await program(vpp, built(scene), indexes);
    return [(inbound, packet) => said(vpp, indexes[0]!, inbound, flowOf(packet)), undo];
  };
  let compared = 0;
  const cases: (readonly [string, readonly NetworkPolicy[]])[] = Object.entries(named).map(
    ([name, [policies]]) => [name, policies],
  );
  for (const [name, policy] of matrix()) cases.push([name, [policy]]);
  for (const [name, policies] of cases) {
    const { differences, compared: of } = await judged(new Told(policies), pod('x/a'), real);
    if (differences.length > 0) t.fail(name, { differences: differences.slice(0, 5) });
    compared += of;
  }
  t.ok(compared > 50_000, `${compared} verdicts`);
});
