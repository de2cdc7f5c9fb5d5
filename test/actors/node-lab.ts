/**
 * The node without its uplinks, on a clock turned by hand: the actors of VPP and of the pods as they are, and one more owner that has
 * routes by the thousand, over stand-in VPPs in memory that die of what they are told to.
 */
import { DevicesInMemory } from '../../lab/devices-in-memory.js';
import { memoryFile } from '../../lab/memory-file.js';
import type { Fault } from '../../lab/vpp/faults.js';
import { type StandInVpp, startStandInVpp } from '../../lab/vpp/stand-in.js';
import type { Actor, ActorContext, ActorRef, ChildSpec } from '../../src/actor-system.js';
import { cniActor } from '../../src/actors/cni.js';
import { vppConnection } from '../../src/actors/vpp-connection.js';
import { vppProcess } from '../../src/actors/vpp-process.js';
import type { Clock } from '../../src/clock.js';
import { desiredNode } from '../../src/desired/uplink.js';
import { hostNamespacePath } from '../../src/host/host-namespace.js';
import type { EarlyNodeStatus, InPlace, NodeReady, SubscribeEarly } from '../../src/messages/node.js';
import type { VppConnectionMessage, VppStatus } from '../../src/messages/vpp.js';
import type { VppObject } from '../../src/objects/object.js';
import type { CniDeps } from '../../src/pods/cni-deps.js';
import { Model } from '../../src/reconcile/model.js';
import { reconcile } from '../../src/reconcile/reconcile.js';
import type { TransactionResult } from '../../src/reconcile/transaction.js';
import { NotDone } from '../../src/vpp-conn/execute.js';
import type { Launcher, VppExit, VppRun } from '../../src/vpp-conn/launcher.js';
import { sessionOpener } from '../../src/vpp-conn/open-session.js';
import { Quarantine } from '../../src/vpp-conn/quarantine.js';
import { nodeOf } from '../desired/sample.js';
import { actorKit, type KitBase, supervision, type Teardown } from '../kit/actor-kit.js';
import { PodLab } from './pod-lab.js';

/** Lives of the stand-in, numbered in place of process ids. */
class LivesInMemory implements Launcher {
  /** What each new life suffers from. */
  faults: readonly Fault[] = [];
  lives = 0;
  vpp: StandInVpp | undefined;
  readonly #starting = new Map<number, Promise<StandInVpp>>();

  constructor(
    readonly clock: () => Clock,
    readonly devices: DevicesInMemory,
  ) {}

  isRunning = () => false;
  adopt = () => undefined;

  start(): VppRun {
    this.lives += 1;
    const pid = this.lives;
    const starting = startStandInVpp({
      clock: this.clock(),
      devices: this.devices,
      buffers: 1 << 20,
      faults: this.faults,
      pid,
    });
    this.#starting.set(pid, starting);
    const exited = starting.then(async (vpp): Promise<VppExit> => {
      this.vpp = vpp;
      const { how, reason } = await vpp.ended;
      return { pid, reason, ...(how === 'died' ? { signal: 'SIGSEGV' } : { signal: 'SIGKILL' }) };
    });
    return { pid, identity: `${pid}`, api_socket: '', adopted: false, exited };
  }

  signal({ pid }: VppRun): void {
    void this.#starting.get(pid)?.then((vpp) => vpp.kill());
  }

  keepClock(): void {}

  forget(): void {}
}

type UplinkMessage =
  | VppStatus
  | SubscribeEarly
  | InPlace
  /** From itself: VPP has the node's own objects. */
  | { readonly type: 'Programmed'; readonly ready: NodeReady };

/** Programs the node's own objects, and needs nothing of the host for them. */
function nodeItself(vpp: ActorRef<VppConnectionMessage>): ChildSpec<UplinkMessage> {
  return {
    name: 'uplink',
    restart: 'permanent',
    shutdown_ms: 1000,
    mailbox_max: 64,
    handler_ms_max: 1000,
    start: (ctx) => {
      const subscribers = new Set<ActorRef<EarlyNodeStatus>>();
      let generation = 0;
      let ready: NodeReady | undefined;
      vpp.tell({ type: 'Subscribe', subscriber: ctx.self as ActorRef<VppStatus> });
      const program = ({
        generation,
        vpp: identity,
        workers,
      }: Extract<VppStatus, { type: 'VppUp' }>): void => {
        const operations = reconcile(desiredNode(nodeOf({ host_namespace: hostNamespacePath() }), true), []);
        const transaction = {
          generation,
          owner: 'node',
          operations,
          on_error: 'continue',
          urgency: 'prompt',
          essential: true,
        } as const;
        const node = { ip4: '192.0.2.1', ip6: '2001:db8::1' };
        const ready = {
          type: 'NodeReady',
          generation,
          vpp: identity,
          workers,
          mtu: 1500,
          node,
          main_uplink: 'main-eth0',
          subnets: { ip4: '192.0.2.0/24', ip6: '2001:db8::/64' },
          redirects: [],
          buffers_taken: 0,
        } as const;
        ctx
          .ask<VppConnectionMessage, TransactionResult>(
            vpp,
            (reply) => ({ type: 'Transact', transaction, reply }),
            20_000,
          )
          .then(
            ({ error }) => {
              if (error !== undefined) throw error;
              ctx.self.tell({ type: 'Programmed', ready });
            },
            // That VPP is lost, and the next one is on its way.
            () => undefined,
          );
      };
      return {
        receive(message) {
          switch (message.type) {
            case 'InPlace':
              return;
            case 'SubscribeEarly':
              subscribers.add(message.subscriber);
              if (ready !== undefined) message.subscriber.tellUrgent(ready);
              return;
            case 'VppUp':
              generation = message.generation;
              return program(message);
            case 'Programmed':
              if (message.ready.generation !== generation) return;
              ready = message.ready;
              for (const subscriber of subscribers) subscriber.tellUrgent(ready);
              return;
            case 'VppDown':
            case 'VppExited': {
              generation = 0;
              if (ready === undefined) return;
              const lost = {
                type: 'NodeLost',
                generation: ready.generation,
                reason: message.reason,
              } as const;
              ready = undefined;
              for (const subscriber of subscribers) subscriber.tellUrgent(lost);
            }
          }
        },
      };
    },
  };
}

type RoutesMessage =
  | VppStatus
  /** The routes that are wanted from now on. */
  | { readonly type: 'Want'; readonly routes: readonly VppObject[] }
  /** From itself. */
  | { readonly type: 'Done'; readonly generation: number; readonly result: TransactionResult | Error };

/** The most operations of one transaction. */
const batch_max = 10_000;

/** An owner with a keyed model, as those of routes, services and policies are. */
class Routes implements Actor<RoutesMessage> {
  private generation: number | undefined;
  private under_way = false;

  constructor(
    private readonly ctx: ActorContext<RoutesMessage>,
    private readonly vpp: ActorRef<VppConnectionMessage>,
    private readonly model: Model,
  ) {
    vpp.tell({ type: 'Subscribe', subscriber: ctx.self as ActorRef<VppStatus> });
  }

  receive(message: RoutesMessage): void {
    switch (message.type) {
      case 'VppUp':
        this.generation = message.generation;
        this.under_way = false;
        this.model.forget();
        return this.next();
      case 'VppDown':
      case 'VppExited':
        this.generation = undefined;
        return;
      case 'Want':
        this.model.wantOnly(message.routes);
        return this.next();
      case 'Done': {
        const { generation, result } = message;
        if (generation !== this.generation) return;
        this.under_way = false;
        // Of a connection that is lost, another VppUp tells.
        if (result instanceof Error) return;
        this.model.settle(result.outcomes, (error) => error instanceof NotDone);
        return this.next();
      }
    }
  }

  private next(): void {
    const { ctx, generation } = this;
    if (generation === undefined || this.under_way) return;
    const operations = this.model.take(batch_max);
    if (operations.length === 0) return;
    this.under_way = true;
    const done = (result: TransactionResult | Error): void => {
      if (!ctx.signal.aborted) ctx.self.tell({ type: 'Done', generation, result });
    };
    const transaction = {
      generation,
      owner: 'routes',
      operations,
      on_error: 'continue',
      urgency: 'bulk',
    } as const;
    ctx
      .ask<VppConnectionMessage, TransactionResult>(
        this.vpp,
        (reply) => ({ type: 'Transact', transaction, reply }),
        120_000,
      )
      .then(done, done);
  }
}

function routes(vpp: ActorRef<VppConnectionMessage>, model: Model): ChildSpec<RoutesMessage> {
  return {
    name: 'routes',
    restart: 'permanent',
    shutdown_ms: 1000,
    mailbox_max: 64,
    handler_ms_max: 1000,
    start: (ctx) => new Routes(ctx, vpp, model),
  };
}

const step_ms = 5;
/** Turns of the event loop in which what is in memory comes to an end, whoever works on it. */
const step_turns = 30;

export class NodeLab {
  readonly pods = new PodLab();
  readonly model = new Model();
  readonly vpps: LivesInMemory;
  readonly quarantine = new Quarantine(memoryFile(), () => undefined);
  gaveUp: Error | undefined;

  private constructor() {
    this.vpps = new LivesInMemory(() => this.pods.kit.clock, new DevicesInMemory(this.pods.host));
  }

  static async start(t: Teardown): Promise<NodeLab> {
    const lab = new NodeLab();
    await actorKit<never>(t, (kit) => {
      lab.pods.kit = kit as never;
      return lab.#tree(kit);
    });
    return lab;
  }

  #tree(kit: KitBase): ChildSpec<never> {
    return {
      name: 'node',
      restart: 'permanent',
      shutdown_ms: 1000,
      mailbox_max: 1,
      handler_ms_max: 1000,
      supervision: supervision(),
      start: async (ctx) => {
        const { clock, log } = kit;
        const process_settings = {
          deaths_max: 5,
          deaths_window_ms: 120_000,
          backoff_first_ms: 250,
          backoff_max_ms: 10_000,
          interrupt_ms: 2000,
          kill_ms: 10_000,
        };
        const process = await ctx.spawn(
          vppProcess(this.vpps, process_settings, (reason) => {
            this.gaveUp = reason;
          }),
        );
        const opener = sessionOpener({
          request_ms: 15_000,
          registry: memoryFile(),
          quarantine: this.quarantine,
          waited_ms: () => 0,
          clock,
          log,
          transport: () => this.vpps.vpp!.transport(),
        });
        const settings = {
          open_ms: 20_000,
          probe_interval_ms: 500,
          probe_deadline_ms: 2000,
          transactions_max: 4096,
        };
        const vpp = await ctx.spawn(
          vppConnection(process, opener, this.quarantine, settings, { set: () => undefined }),
        );
        const uplink = await ctx.spawn(nodeItself(vpp));
        await ctx.spawn(cniActor({ ...this.pods.deps(kit), vpp, uplink: uplink as CniDeps['uplink'] }));
        await ctx.spawn(routes(vpp, this.model));
        return { receive: () => undefined };
      },
    };
  }

  get clock() {
    return this.pods.kit.clock;
  }

  want(wanted: readonly VppObject[]): void {
    this.pods.kit.system.ref<RoutesMessage>('root/node/routes').tell({ type: 'Want', routes: wanted });
  }

  /** Lets time pass, a little at a time. */
  async pass(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += step_ms) {
      for (let turn = 0; turn < step_turns; turn += 1) await new Promise((resolve) => setImmediate(resolve));
      await this.clock.advance(step_ms);
    }
  }

  /** Lets time pass until it holds; answers how long that took, Infinity when it never did. */
  async until(holds: () => boolean, within_ms: number): Promise<number> {
    const from_ms = this.clock.now_ms();
    while (!holds()) {
      if (this.clock.now_ms() - from_ms > within_ms) return Number.POSITIVE_INFINITY;
      await this.pass(step_ms);
    }
    return this.clock.now_ms() - from_ms;
  }
}
