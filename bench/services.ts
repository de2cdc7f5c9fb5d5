/**
 * Services, from what the API server tells to VPP's translations: the services actor as it is, the connection as it is, a VPP.
 *
 * - The first sync: from the first piece told to the last translation that VPP has; beside a bare client that sends the same messages to the same VPP.
 * - One change of one endpoint: from the watch's event to VPP's answer; beside one update of the bare client.
 * - What is kept in memory, and what one change costs in messages.
 */
import { type Client, connect, unixTransport } from 'vpp-binapi-ts';
import { cnat_translation_del, cnat_translation_update } from 'vpp-binapi-ts/cnat';
import { findRealVpp, startRealVpp } from '../lab/real-vpp.js';
import type { ActorRef, ActorSystem, ChildSpec, Reply } from '../src/actor-system.js';
import { services_settings_default, servicesActor } from '../src/actors/services.js';
import type { EndpointSlice } from '../src/calico/kinds/endpoint-slice.js';
import type { Service } from '../src/calico/kinds/service.js';
import { service_plan_kinds } from '../src/desired/services/plan.js';
import type { AnyChange, ClusterMessage, KindName } from '../src/messages/cluster.js';
import type { InPlace, SubscribeEarly } from '../src/messages/node.js';
import type { ServicesMessage } from '../src/messages/services.js';
import { TranslationOwners } from '../src/reconcile/translation-owners.js';
import { atMost, type BenchOptions, CannotRun, median, type Report } from './figures.js';
import { costOf, heapMegabytes } from './loop-meter.js';
import { Connection } from './owner.js';

const backends = 10;
const in_flight = 64;
const told_at_once = 1000;
const look_ms = 2;
const answer_ms = 120_000;
const ratio_max = 1.5;
const change_ratio_max = 3;
const change_ms_max = 20;
const block_ms_max = 20;
const changes_of = { quick: 200, whole: 1000 } as const;
const rounds_of = { quick: 1, whole: 3 } as const;
/** Beside the translations: two sinks. */
const routes = 2;

const vip = (n: number): string => `10.96.${n >> 8}.${n & 255}`;
const backendsOf = (n: number, more = 0) =>
  Array.from({ length: backends + more }, (_, at) => {
    const number = n * (backends + 1) + at;
    return { address: `10.${128 + (number >> 16)}.${(number >> 8) & 255}.${number & 255}`, port: 8080 };
  });
const keyOf = (n: number): string => `default/s${n}`;

function service(n: number): Service {
  return {
    type: 'ClusterIP',
    cluster_ips: [vip(n)],
    external_ips: [],
    load_balancer_ips: [],
    ports: [{ name: '', protocol: 'TCP', port: 80 }],
    external_policy: 'Cluster',
    internal_policy: 'Cluster',
    source_prefixes: [],
    hash: [],
  };
}

function slice(n: number, more = 0): EndpointSlice {
  return {
    service: keyOf(n),
    family: 4,
    endpoints: backendsOf(n, more).map(({ address }) => ({ address })),
    ports: [{ name: '', protocol: 'TCP', port: 8080 }],
  };
}

function idle<M extends { readonly type: string }>(name: string): ChildSpec<M> {
  return {
    name,
    restart: 'permanent',
    shutdown_ms: 100,
    mailbox_max: 64,
    handler_ms_max: 1000,
    start: () => ({ receive: () => undefined }),
  };
}

const nothing = (): void => undefined;
class Actor {
  /** Called when VPP has all that is wanted: who asked again and again would take the cores from VPP. */
  #settled: () => void = nothing;

  private constructor(
    readonly system: ActorSystem,
    readonly ref: ActorRef<ServicesMessage>,
  ) {}

  static async start({ system, ref: vpp }: Connection): Promise<Actor> {
    let started: Actor | undefined;
    const uplink = await system.spawn(idle<SubscribeEarly | InPlace>('uplink'));
    const cluster = await system.spawn(idle<ClusterMessage>('cluster'));
    const spec = servicesActor(
      {
        vpp,
        uplink,
        cluster,
        translations: new TranslationOwners(),
        // Linux of the node is not there.
        host: {
          translate: nothing,
          serveHealth: nothing,
          programs: nothing,
          programming: (is_pending) => {
            if (!is_pending && started !== undefined) started.#settled();
          },
          eligible: nothing,
        },
        probe: () => Promise.resolve(),
        ready: () => undefined,
        report: () => undefined,
        names: () => undefined,
      },
      { ...services_settings_default, node_name: 'own', service_prefixes: [] },
    );
    const actor = new Actor(system, await system.spawn(spec));
    started = actor;
    actor.ref.tell({
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
    for (const kind of service_plan_kinds) await actor.told(kind);
    await actor.reached(0);
    return actor;
  }

  async stop(): Promise<void> {
    for (const name of ['services', 'uplink', 'cluster']) await this.system.stopChild(name);
  }

  told(kind: KindName, changed: Iterable<readonly [string, unknown]> = []): Promise<void> {
    const change = { kind, synced: true, changed: new Map(changed) } as unknown as AnyChange;
    const question = (reply: Reply<void>): ServicesMessage => ({ type: 'ClusterChange', change, reply });
    return this.system.ask(this.ref, question, answer_ms);
  }

  /** A thousand at a time, slices before services, as after a start. */
  async toldAll(count: number): Promise<void> {
    for (const [kind, make] of [
      ['EndpointSlice', slice],
      ['Service', service],
    ] as const) {
      for (let at = 0; at < count; at += told_at_once)
        await this.told(
          kind,
          Array.from({ length: Math.min(told_at_once, count - at) }, (_, n) => [keyOf(at + n), make(at + n)]),
        );
    }
  }

  async forgetAll(count: number): Promise<void> {
    for (const kind of ['Service', 'EndpointSlice'] as const)
      await this.told(
        kind,
        Array.from({ length: count }, (_, n) => [keyOf(n), undefined]),
      );
    await this.reached(0);
  }

  async reached(count: number): Promise<void> {
    for (;;) {
      const { gauges } = this.system.node(this.ref.path)!;
      if (gauges.waiting === 0 && gauges.in_vpp === count + routes) {
        if (gauges.refused !== 0) throw new Error(`${gauges.refused} objects were refused`);
        return;
      }
      await new Promise((resolve) => setTimeout(resolve, look_ms));
    }
  }

  /** One change of one endpoint, until VPP has answered. */
  async changed(n: number, more: number): Promise<number> {
    const change = [[keyOf(n), slice(n, more)]] as const;
    const settled = new Promise<void>((resolve) => {
      this.#settled = resolve;
    });
    const began = performance.now();
    await this.told('EndpointSlice', change);
    await settled;
    return performance.now() - began;
  }
}

class Bare {
  readonly #ids = new Map<number, number>();

  constructor(readonly client: Client) {}

  async all(count: number): Promise<void> {
    await this.#each(count, (n) => this.update(n, 0));
  }

  async none(): Promise<void> {
    const ids = [...this.#ids.values()];
    await this.#each(ids.length, (at) => this.client.request(cnat_translation_del, { id: ids[at]! }));
    this.#ids.clear();
  }

  async update(n: number, more: number): Promise<void> {
    const endpoint = (addr: string, port: number) =>
      ({
        addr,
        sw_if_index: 0xffff_ffff,
        if_af: addr.includes(':') ? 'ADDRESS_IP6' : 'ADDRESS_IP4',
        port,
      }) as const;
    const { id } = await this.client.request(cnat_translation_update, {
      translation: {
        vip: endpoint(vip(n), 80),
        id: 0xffff_ffff,
        ip_proto: 'IP_API_PROTO_TCP',
        is_real_ip: 0,
        flags: 9,
        lb_type: 'CNAT_LB_TYPE_DEFAULT',
        flow_hash_config: 0,
        paths: backendsOf(n, more).map(({ address, port }) => ({
          dst_ep: endpoint(address, port),
          src_ep: endpoint('::', 0),
          flags: 0,
        })),
      },
    });
    this.#ids.set(n, id);
  }

  async #each(count: number, one: (n: number) => Promise<unknown>): Promise<void> {
    let next = 0;
    const run = async (): Promise<void> => {
      while (next < count) await one(next++);
    };
    await Promise.all(Array.from({ length: in_flight }, run));
  }
}

function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]!;
}

async function ofCount(
  connection: Connection,
  bare: Bare,
  count: number,
  report: Report,
  quick: boolean,
): Promise<void> {
  const name = `${count.toLocaleString('en-US')} services of ${backends} back ends`;
  const actor = await Actor.start(connection);
  const rounds = quick ? rounds_of.quick : rounds_of.whole;
  const alone: number[] = [];
  const ours: number[] = [];
  const blocks: number[] = [];
  // The first round warms up both.
  for (let round = 0; round <= rounds; round += 1) {
    const cost_alone = await costOf(() => bare.all(count));
    await bare.none();
    const cost = await costOf(async () => {
      await actor.toldAll(count);
      await actor.reached(count);
    });
    if (round > 0) {
      alone.push(cost_alone.took_ms);
      ours.push(cost.took_ms);
      blocks.push(cost.block_ms);
    }
    if (round < rounds) await actor.forgetAll(count);
  }
  report({ name: `${name}, bare client`, value: median(alone), unit: 'ms' });
  report({ name: `${name}, first sync`, value: median(ours), unit: 'ms' });
  report(atMost(`${name}, first sync, to bare client`, median(ours) / median(alone), 'ratio', ratio_max));
  report(atMost(`${name}, longest block`, median(blocks), 'ms', block_ms_max));

  const sent = (): number => connection.system.node(connection.ref.path)?.processed.byType.Transact ?? 0;
  const before = sent();
  const took: number[] = [];
  const bare_took: number[] = [];
  const changes = quick ? changes_of.quick : changes_of.whole;
  for (let n = 0; n < changes; n += 1) took.push(await actor.changed((n * 7) % count, 1));
  const transactions = sent() - before;
  await actor.forgetAll(count);
  await bare.all(count);
  for (let n = 0; n < changes; n += 1) {
    const began = performance.now();
    await bare.update((n * 7) % count, 1);
    bare_took.push(performance.now() - began);
  }
  await bare.none();
  report({ name: `${name}, a change, bare client, p50`, value: quantile(bare_took, 0.5), unit: 'ms' });
  report({ name: `${name}, a change, p50`, value: quantile(took, 0.5), unit: 'ms' });
  report(
    atMost(
      `${name}, a change, p50, to bare client`,
      quantile(took, 0.5) / quantile(bare_took, 0.5),
      'ratio',
      change_ratio_max,
    ),
  );
  report(atMost(`${name}, a change, p99`, quantile(took, 0.99), 'ms', change_ms_max));
  report(atMost(`${name}, transactions of a change`, transactions / changes, 'transactions', 1));

  const heap_mb = heapMegabytes();
  await actor.toldAll(count);
  await actor.reached(count);
  report({ name: `${name}, heap of all that is kept`, value: heapMegabytes() - heap_mb, unit: 'MB' });
  await actor.forgetAll(count);
  await actor.stop();
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
    const bare = new Bare(client);
    for (const count of [1000, 10_000]) await ofCount(connection, bare, count, report, quick);
    client.close();
    await connection.close();
  } finally {
    await vpp.stop();
  }
}
