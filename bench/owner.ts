/**
 * The product's own way to a VPP that is there: the actor of the connection, and an owner that keeps its objects in a model and sends what
 * has changed in transactions, one after the other, as the owners of routes, services and policies do.
 */
import { setImmediate as turn } from 'node:timers/promises';
import { pino } from 'pino';
import { memoryFile } from '../lab/memory-file.js';
import { type ActorRef, type ActorSystem, createActorSystem, type Reply } from '../src/actor-system.js';
import { vppConnection } from '../src/actors/vpp-connection.js';
import { systemClock } from '../src/clock.js';
import type { VppConnectionMessage, VppProcessMessage } from '../src/messages/vpp.js';
import { keyOf, type VppObject } from '../src/objects/object.js';
import type { Model } from '../src/reconcile/model.js';
import type { Operation } from '../src/reconcile/operation.js';
import type { Scope, Snapshot, Take } from '../src/reconcile/snapshot.js';
import type { TransactionResult } from '../src/reconcile/transaction.js';
import { sessionOpener } from '../src/vpp-conn/open-session.js';
import { Quarantine } from '../src/vpp-conn/quarantine.js';

const transaction_operations = 1024;
const answer_ms = 120_000;
const generation = 1;

/** The actor of a connection to one VPP. */
export class Connection {
  private constructor(
    readonly system: ActorSystem,
    readonly ref: ActorRef<VppConnectionMessage>,
  ) {}

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
        sessionOpener({
          request_ms: answer_ms,
          registry: memoryFile(),
          quarantine,
          waited_ms: () => 0,
          clock,
          log,
        }),
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

  /** As an owner of many objects reads: it takes them as they come. */
  read(scopes: readonly Scope[], take: Take = () => undefined): Promise<Snapshot> {
    return this.#ask((reply) => ({ type: 'Read', scopes, take, reply }));
  }

  /** A command of the debug CLI: what somebody waits for at a screen. */
  cli(command: string): Promise<string> {
    return this.#ask((reply) => ({ type: 'Cli', command, reply }));
  }

  #ask<R>(question: (reply: Reply<R>) => VppConnectionMessage): Promise<R> {
    return this.system.ask(this.ref, question, answer_ms);
  }

  close(): Promise<void> {
    return this.system.stop();
  }
}

/** Objects that an owner takes over before others have their turn. */
export const piece = 128;

/** So many objects by their numbers, as they come: a piece, and then others have their turn. */
export async function eachOf<T>(
  count: number,
  at: (n: number) => T,
  take: (object: T) => void,
): Promise<void> {
  for (let n = 0; n < count; n += 1) {
    take(at(n));
    if (n % piece === piece - 1) await turn();
  }
}

export function wantAll(model: Model, count: number, at: (n: number) => VppObject): Promise<void> {
  return eachOf(count, at, (object) => model.want(object));
}

export function unwantAll(model: Model, count: number, at: (n: number) => VppObject): Promise<void> {
  return eachOf(count, at, (object) => model.unwant(keyOf(object)));
}

/** Reads what VPP has of an owner and compares it with what is wanted. */
export async function adopt(connection: Connection, scope: Scope, model: Model): Promise<void> {
  model.beginReading();
  const { objects } = await connection.read([scope], (object) => model.seen(object));
  for (const object of objects) model.seen(object);
  model.endReading();
  while (!model.scan(piece)) await turn();
}

/** Has VPP hold what the model wants; throws the first refusal. */
export async function programAll(
  connection: Connection,
  owner: string,
  model: Model,
  done: (operations: number) => void = () => undefined,
): Promise<void> {
  const send = (): Promise<TransactionResult> | undefined => {
    const operations = model.take(transaction_operations);
    return operations.length === 0 ? undefined : connection.transact(owner, operations);
  };
  // The next one waits for its turn in the connection: VPP goes on while the outcomes of the last one are taken in.
  for (let under_way = send(); under_way !== undefined; ) {
    const following = send();
    const { outcomes, error } = await under_way;
    if (error !== undefined) throw error;
    model.settle(outcomes);
    done(outcomes.length);
    under_way = following ?? send();
  }
}
