/**
 * Policies, from what Felix says to VPP's npol: the policies actor as it is, the connection as it is, a VPP.
 *
 * - One policy of a pod that changes: from Felix's message to VPP's last answer, what went included.
 * - 2,000 policies and the pod that has them, and a set of 100,000 members: from the first message to the last answer; beside a bare client that
 *   sends the same sets, rules, policies and members to the same VPP.
 * - 1,000 endpoint updates a second: how far behind, and what it keeps in memory.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { BinaryWriter } from '@bufbuild/protobuf/wire';
import { type Client, connect, unixTransport } from 'vpp-binapi-ts';
import {
  npol_ipset_add_del_members,
  npol_ipset_create,
  npol_ipset_delete,
  npol_policy_create,
  npol_policy_delete,
  type npol_rule,
  npol_rule_create,
  npol_rule_delete,
} from 'vpp-binapi-ts/npol';
import { findRealVpp, startRealVpp } from '../lab/real-vpp.js';
import type { ActorRef, ActorSystem, ChildSpec } from '../src/actor-system.js';
import { policiesActor } from '../src/actors/policies.js';
import { readSetHead } from '../src/felix/members.js';
import type { FelixMessage, Policy, Rule, Side, WorkloadEndpoint } from '../src/felix/messages.js';
import type { FelixActorMessage } from '../src/messages/felix.js';
import type { InPlace, SubscribeEarly } from '../src/messages/node.js';
import type { PoliciesMessage } from '../src/messages/policies.js';
import { PolicedInterfaces } from '../src/policies/policed-interfaces.js';
import { atMost, type BenchOptions, CannotRun, median, quantile, type Report } from './figures.js';
import { type Cost, costOf, heapMegabytes } from './loop-meter.js';
import { Connection } from './owner.js';

const policies_count = 2000;
const members_count = 100_000;
const members_of_message = 1000;
const in_flight = 64;
const pods_count = 100;
/** As the stream is handed on. */
const told_at_once = 1024;
const updates_a_second = 1000;
const updates_of_tick = 20;
const seconds_of = { quick: 10, whole: 60 } as const;
const changes_of = { quick: 200, whole: 1000 } as const;
const rounds_of = { quick: 1, whole: 3 } as const;

const change_ms_max = 20;
const sync_ms_max = 2000;
const ratio_max = 2;
const behind_ms_max = 1000;
const growth_mb_max = 5;
/** What comes in meanwhile waits for so long at most. */
const block_ms_max = 20;

const no_side: Side = { nets: [], sets: [], ports: [], named_ports: [] };

function rule(port: number, sets: readonly string[] = []): Rule {
  return {
    action: 'allow',
    ip_version: 0,
    protocol: 'tcp',
    not_protocol: undefined,
    icmp: undefined,
    not_icmp: undefined,
    src: { ...no_side, sets },
    dst: { ...no_side, ports: [{ first: port, last: port }] },
    not_src: no_side,
    not_dst: no_side,
    services: [],
    unknown: [],
  };
}

const policyOf = (inbound: readonly Rule[]): Policy => ({
  inbound,
  outbound: [],
  untracked: false,
  pre_dnat: false,
});
const keyOf = (n: number): string => `NetworkPolicy bench/p${n}`;
const podKey = (n: number): string => `k8s bench/pod-${n} eth0`;

function endpoint(n: number, policies: readonly string[]): WorkloadEndpoint {
  const ingress = policies.map((key) => ({ key, staged: false }));
  return {
    active: true,
    profiles: [],
    nets: [`10.1.${n >> 8}.${n & 255}/32`],
    tiers: [{ name: 'default', ingress, egress: [], end: 'deny' }],
    id: { orchestrator: 'k8s', workload: `bench/pod-${n}`, endpoint: 'eth0' },
    name: `cali${n}`,
  };
}

const pod = (n: number, policies: readonly string[]): FelixMessage => ({
  kind: 'workload',
  key: podKey(n),
  endpoint: endpoint(n, policies),
});
const policy = (n: number, value: Policy): FelixMessage => ({ kind: 'policy', key: keyOf(n), policy: value });
const memberOf = (n: number): string => `10.${64 + (n >> 16)}.${(n >> 8) & 255}.${n & 255}/32`;

function set(id: string, count: number): FelixMessage {
  const writer = new BinaryWriter().tag(1, 2).string(id);
  for (let n = 0; n < count; n += 1) writer.tag(2, 2).string(memberOf(n));
  return { kind: 'set', update: readSetHead(writer.tag(3, 0).int32(2).finish()) };
}

function idle<M extends { readonly type: string }>(
  name: string,
  receive: (message: M) => void = () => undefined,
): ChildSpec<M> {
  const limits = { shutdown_ms: 100, mailbox_max: 4096, handler_ms_max: 1000 };
  return { name, restart: 'permanent', ...limits, start: () => ({ receive }) };
}

/** Felix, its socket and the policies actor. */
class Node {
  readonly #queue: FelixMessage[] = [];
  #is_told = false;
  #told_ms = 0;
  /** Transactions of others. */
  #others = 0;
  /** How long each piece took to be taken in. */
  readonly taken_ms: number[] = [];
  readonly interfaces = new PolicedInterfaces();
  #policies!: ActorRef<PoliciesMessage>;

  private constructor(
    readonly system: ActorSystem,
    readonly vpp: Connection['ref'],
  ) {}

  static async start({ system, ref }: Connection): Promise<Node> {
    const node = new Node(system, ref);
    node.#others = node.transactions;
    const felix = await system.spawn(
      idle<FelixActorMessage>('felix', ({ type }) => {
        if (type === 'FelixTaken') node.#taken();
      }),
    );
    const uplink = await system.spawn(idle<SubscribeEarly | InPlace>('uplink'));
    const { interfaces } = node;
    node.#policies = await system.spawn(
      policiesActor({ vpp: ref, uplink, felix, interfaces, report: () => undefined }),
    );
    node.#policies.tell({
      type: 'NodeReady',
      generation: 1,
      vpp: 'bench',
      workers: 0,
      mtu: 1500,
      node: { ip4: '172.16.0.1' },
      main_uplink: 'main-bench',
      subnets: { ip4: '172.16.0.0/16' },
      redirects: [],
      buffers_taken: 0,
    });
    for (let n = 0; n < pods_count; n += 1)
      interfaces.put(`bench-${n}`, { attachment: { kind: 'workload', endpoint: podKey(n) }, addresses: [] });
    interfaces.complete('cni');
    interfaces.complete('connectivity');
    node.#policies.tell({ type: 'FelixBegan', stream: 1 });
    return node;
  }

  async stop(): Promise<void> {
    for (const name of ['policies', 'uplink', 'felix']) await this.system.stopChild(name);
  }

  /** As by the socket: the next piece when the last one is taken in. */
  say(...messages: readonly FelixMessage[]): void {
    this.#queue.push(...messages);
    this.#tell();
  }

  get left(): number {
    return this.#queue.length;
  }

  #tell(): void {
    if (this.#is_told || this.#queue.length === 0) return;
    this.#is_told = true;
    this.#told_ms = performance.now();
    this.#policies.tell({ type: 'FelixTold', stream: 1, messages: this.#queue.splice(0, told_at_once) });
  }

  #taken(): void {
    this.#is_told = false;
    this.taken_ms.push(performance.now() - this.#told_ms);
    this.#tell();
  }

  #count(path: string, type: string): number {
    return this.system.node(path)?.processed.byType[type] ?? 0;
  }

  get transactions(): number {
    return this.#count(this.vpp.path, 'Transact') - this.#others;
  }

  /** Until VPP has answered all that followed, at least one transaction, and has so many policies. */
  async done(since: number, policies?: number): Promise<void> {
    for (;;) {
      const { gauges } = this.system.node(this.#policies.path)!;
      const sent = this.transactions;
      const is_quiet =
        !this.#is_told &&
        this.#queue.length === 0 &&
        gauges.waiting === 0 &&
        sent > since &&
        sent === this.#count(this.#policies.path, 'Transacted');
      if (is_quiet && (policies === undefined || Number(gauges.policies) >= policies)) {
        if (gauges.refused !== 0) throw new Error(`${gauges.refused} objects were refused`);
        return;
      }
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** What follows from these messages; milliseconds. */
  async took(messages: readonly FelixMessage[], policies?: number): Promise<number> {
    const since = this.transactions;
    const began = performance.now();
    this.say(...messages);
    await this.done(since, policies);
    return performance.now() - began;
  }
}

/** The same objects without the product. */
class Bare {
  constructor(readonly client: Client) {}

  async policies(): Promise<number> {
    const began = performance.now();
    const made: [number, number][] = [];
    await this.#each(policies_count, async (n) => {
      const { rule_id } = await this.client.request(npol_rule_create, { rule: ruleMessageOf(1000 + n) });
      const rules = [{ is_inbound: false, rule_id }];
      made.push([rule_id, (await this.client.request(npol_policy_create, { rules })).policy_id]);
    });
    const took = performance.now() - began;
    await this.#each(made.length, (n) => this.client.request(npol_policy_delete, { policy_id: made[n]![1] }));
    await this.#each(made.length, (n) => this.client.request(npol_rule_delete, { rule_id: made[n]![0] }));
    return took;
  }

  async members(): Promise<number> {
    const began = performance.now();
    const { set_id } = await this.client.request(npol_ipset_create, { type: 'NPOL_NET' });
    await this.#each(members_count / members_of_message, (at) =>
      this.client.request(npol_ipset_add_del_members, {
        set_id,
        is_add: true,
        members: Array.from({ length: members_of_message }, (_, n) => ({
          val: { prefix: memberOf(at * members_of_message + n) },
        })),
      }),
    );
    const took = performance.now() - began;
    await this.client.request(npol_ipset_delete, { set_id });
    return took;
  }

  async #each(count: number, one: (n: number) => Promise<unknown>): Promise<void> {
    let next = 0;
    const run = async (): Promise<void> => {
      while (next < count) await one(next++);
    };
    await Promise.all(Array.from({ length: in_flight }, run));
  }
}

function ruleMessageOf(port: number): npol_rule {
  const none = { type: 'NPOL_RULE_FILTER_NONE_TYPE', value: 0, should_match: 0 } as const;
  return {
    action: 'NPOL_ALLOW',
    filters: [{ type: 'NPOL_RULE_FILTER_L4_PROTO', value: 6, should_match: 1 }, none, none],
    matches: [
      {
        is_src: false,
        is_not: false,
        type: 'NPOL_PORT_RANGE',
        data: { port_range: { start: port, end: port } },
      },
    ],
  };
}

const perPod = policies_count / pods_count;
const ofPod = (n: number): string[] => Array.from({ length: perPod }, (_, i) => keyOf(n * perPod + i));
const numbers = (count: number): number[] => Array.from({ length: count }, (_, n) => n);

async function first(node: Node, bare: Bare, report: Report, quick: boolean): Promise<void> {
  await node.took([{ kind: 'config', config: new Map() }, { kind: 'in_sync' }]);
  const rounds = quick ? rounds_of.quick : rounds_of.whole;
  const [alone, ours, members_alone, members_ours]: number[][] = [[], [], [], []];
  const blocks: Cost[] = [];
  const members_blocks: Cost[] = [];
  // The first round warms up both.
  for (let round = 0; round <= rounds; round += 1) {
    const [bare_ms, bare_members_ms] = [await bare.policies(), await bare.members()];
    const all = numbers(policies_count).map((n) => policy(n, policyOf([rule(1000 + n)])));
    const pods = numbers(pods_count).map((n) => pod(n, ofPod(n)));
    let took_ms = 0;
    const cost = await costOf(async () => {
      took_ms = await node.took([...all, ...pods], policies_count);
    });
    const uses = policy(0, policyOf([rule(1000, ['s:large'])]));
    const large = set('s:large', members_count);
    let members_ms = 0;
    const members_cost = await costOf(async () => {
      members_ms = await node.took([large, uses]);
    });
    if (round > 0) {
      alone!.push(bare_ms);
      ours!.push(took_ms);
      members_alone!.push(bare_members_ms);
      members_ours!.push(members_ms);
      blocks.push(cost);
      members_blocks.push(members_cost);
    }
    if (round === rounds) break;
    await node.took(numbers(pods_count).map((n) => pod(n, [])));
    node.say(...numbers(policies_count).map((n) => ({ kind: 'policy_removed', key: keyOf(n) }) as const), {
      kind: 'set_removed',
      id: 's:large',
    });
  }
  const name = `${policies_count.toLocaleString('en-US')} policies of ${pods_count} pods`;
  report({ name: `${name}, bare client`, value: median(alone!), unit: 'ms' });
  report(atMost(name, median(ours!), 'ms', sync_ms_max));
  report(atMost(`${name}, to bare client`, median(ours!) / median(alone!), 'ratio', ratio_max));
  reportBlocks(report, name, blocks);
  const large = `a set of ${members_count.toLocaleString('en-US')} members`;
  report({ name: `${large}, bare client`, value: median(members_alone!), unit: 'ms' });
  report(atMost(large, median(members_ours!), 'ms', sync_ms_max));
  report(
    atMost(`${large}, to bare client`, median(members_ours!) / median(members_alone!), 'ratio', ratio_max),
  );
  reportBlocks(report, large, members_blocks);
}

/** Of several runs the median: one stands for what the machine does besides. */
function reportBlocks(report: Report, name: string, costs: readonly Cost[]): void {
  report(atMost(`${name}, longest block`, median(costs.map(({ block_ms }) => block_ms)), 'ms', block_ms_max));
  const cpu_ms = median(costs.map(({ block_cpu_ms }) => block_cpu_ms));
  report(atMost(`${name}, CPU of the longest block`, cpu_ms, 'ms', block_ms_max));
}

async function changes(node: Node, report: Report, quick: boolean): Promise<void> {
  const took: number[] = [];
  for (const n of numbers(quick ? changes_of.quick : changes_of.whole)) {
    const at = 1 + ((n * 7) % (policies_count - 1));
    took.push(await node.took([policy(at, policyOf([rule(10_000 + n)]))]));
  }
  report({ name: 'one policy changes, p50', value: median(took), unit: 'ms' });
  report(atMost('one policy changes, p99', quantile(took, 0.99), 'ms', change_ms_max));
}

/** As where policies are for all pods of a cluster. */
async function onePodWithAll(node: Node, report: Report): Promise<void> {
  const all = numbers(policies_count).map(keyOf);
  let took_ms = 0;
  const cost = await costOf(async () => {
    took_ms = await node.took([pod(0, all)]);
  });
  await node.took([pod(0, ofPod(0))]);
  const name = `a pod that gets all ${policies_count.toLocaleString('en-US')} policies`;
  report({ name, value: took_ms, unit: 'ms' });
  reportBlocks(report, name, [cost]);
}

async function updates(node: Node, report: Report, quick: boolean): Promise<void> {
  const seconds = quick ? seconds_of.quick : seconds_of.whole;
  const name = `${updates_a_second} endpoint updates a second for ${seconds} s`;
  let n = 0;
  const tick = (): void => {
    for (let i = 0; i < updates_of_tick; i += 1, n += 1) {
      const at = n % pods_count;
      node.say(pod(at, ofPod(at).slice(Math.floor(n / pods_count) % 2)));
    }
  };
  const run = async (run_seconds: number): Promise<number> => {
    const began = performance.now();
    const since = node.transactions;
    let left_max = 0;
    for (let ticks = 0; ticks < (run_seconds * updates_a_second) / updates_of_tick; ticks += 1) {
      tick();
      left_max = Math.max(left_max, node.left);
      const next_ms = began + ((ticks + 1) * 1000 * updates_of_tick) / updates_a_second;
      await sleep(Math.max(0, next_ms - performance.now()));
    }
    await node.done(since);
    return left_max;
  };
  await run(2);
  const heap_mb = heapMegabytes();
  node.taken_ms.length = 0;
  const began = performance.now();
  let left_max = 0;
  const cost = await costOf(async () => {
    left_max = await run(seconds);
  });
  const late_ms = performance.now() - began - seconds * 1000;
  report(atMost(`${name}, done so much later`, late_ms, 'ms', behind_ms_max));
  report(atMost(`${name}, taken in, p99`, quantile(node.taken_ms, 0.99), 'ms', behind_ms_max));
  report(atMost(`${name}, most that waited`, left_max, 'messages', updates_a_second));
  reportBlocks(report, name, [cost]);
  node.taken_ms.length = 0;
  report(atMost(`${name}, growth of the heap`, heapMegabytes() - heap_mb, 'MB', growth_mb_max));
}

export async function bench(report: Report, { quick }: BenchOptions): Promise<void> {
  const found = findRealVpp();
  if (!found.usable) throw new CannotRun(found.why);
  const vpp = await startRealVpp(found);
  try {
    const connection = await Connection.open(vpp.api_socket);
    const client = await connect({
      transport: unixTransport(vpp.api_socket),
      name: 'bench-bare',
      window: in_flight,
    });
    const { error } = await connection.transact(
      'node',
      numbers(pods_count).map((n) => ({ action: 'add', object: { kind: 'loopback', tag: `bench-${n}` } })),
    );
    if (error !== undefined) throw error;
    const node = await Node.start(connection);
    await first(node, new Bare(client), report, quick);
    await changes(node, report, quick);
    await onePodWithAll(node, report);
    await updates(node, report, quick);
    await node.stop();
    client.close();
    await connection.close();
  } finally {
    await vpp.stop();
  }
}
