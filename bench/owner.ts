/**
 * The product's own way to a VPP that is there: the actor of the connection, and an owner that keeps its objects in a model and sends what
 * has changed in transactions, one at a time, as the owners of routes, services and policies do.
 */
import { pino } from 'pino';
import type { VppConnectionMessage, VppProcessMessage } from '../src/messages/vpp.js';
import { type ActorSystem, type ActorRef, createActorSystem, type Reply } from '../src/actor-system.js';
import { vppConnection } from '../src/actors/vpp-connection.js';
import { systemClock } from '../src/clock.js';
import { memoryFile } from '../lab/memory-file.js';
import type { Operation } from '../src/reconcile/operation.js';
import { Model } from '../src/reconcile/model.js';
import type { Scope, Snapshot } from '../src/reconcile/snapshot.js';
import type { TransactionResult } from '../src/reconcile/transaction.js';
import { sessionOpener } from '../src/vpp-conn/open-session.js';
import { Quarantine } from '../src/vpp-conn/quarantine.js';

const transaction_operations = 1024;
const answer_ms = 120_000;
const generation = 1;

/** The actor of a connection to one VPP. */
export class Connection {
  readonly #system: ActorSystem;
  readonly #ref: ActorRef<VppConnectionMessage>;

  private constructor(system: ActorSystem, ref: ActorRef<VppConnectionMessage>) {
    this.#system = system;
    this.#ref = ref;
  }

  static async open(api_socket: string): Promise<Connection> {
    const clock = systemClock;
    const log = pino({ level: 'error' }, pino.destination(2));
    const ended = (reason: Error): void => {
      throw reason;
    };
    const system = createActorSystem({ name: 'bench', clock, log, escalated: ended });
    const process = await system.spawn<VppProcessMessage>({
      name: 'vpp-process',
      restart: 'temporary',
      shutdown_ms: 0,
      mailbox_max: 16,
      handler_ms_max: 1000,
      start: () => ({ receive: () => undefined }),
    });
    const quarantine = new Quarantine(memoryFile(), ended);
    let answers = (): void => undefined;
    const up = new Promise<void>((resolve) => {
      answers = resolve;
    });
    const ref = await system.spawn(
      vppConnection(
        process,
        sessionOpener({ request_ms: answer_ms, registry: memoryFile(), quarantine, clock, log }),
        quarantine,
        { open_ms: 10_000, probe_interval_ms: 1000, probe_deadline_ms: 10_000, transactions_max: 4096 },
        { set: (_name, ok) => ok && answers() },
      ),
    );
    const exited = new Promise<never>(() => undefined);
    ref.tell({ type: 'Started', run: { pid: 1, identity: 'bench', api_socket, adopted: true, exited } });
    await up;
    return new Connection(system, ref);
  }

  transact(owner: string, operations: readonly Operation[]): Promise<TransactionResult> {
    const transaction = { generation, owner, operations, on_error: 'continue', urgency: 'bulk' } as const;
    return this.#ask((reply) => ({ type: 'Transact', transaction, reply }));
  }

  read(scopes: readonly Scope[]): Promise<Snapshot> {
    return this.#ask((reply) => ({ type: 'Read', scopes, reply }));
  }

  /** A command of the debug CLI: what somebody waits for at a screen. */
  cli(command: string): Promise<string> {
    return this.#ask((reply) => ({ type: 'Cli', command, reply }));
  }

  #ask<R>(question: (reply: Reply<R>) => VppConnectionMessage): Promise<R> {
    return this.#system.ask(this.#ref, question, answer_ms);
  }

  close(): Promise<void> {
    return this.#system.stop();
  }
}

/** Has VPP hold what the model wants; throws the first refusal. */
export async function programAll(
  connection: Connection,
  owner: string,
  model: Model,
  done: (operations: number) => void = () => undefined,
): Promise<void> {
  for (;;) {
    const operations = model.take(transaction_operations);
    if (operations.length === 0) return;
    const { outcomes, error } = await connection.transact(owner, operations);
    if (error !== undefined) throw error;
    model.settle(outcomes);
    done(operations.length);
  }
}
