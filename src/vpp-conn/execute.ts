/**
 * Carries transactions out. Operations are pulled, one after the other, while few messages are in flight: VPP handles one connection's
 * messages in order, so that only an operation which needs a handle that an earlier one makes has to wait for a reply. Owners take turns.
 * What somebody waits for and what comes by the thousand go by connections of their own (`Urgency`).
 *
 *   transactions ──▶ [urgent][prompt] ──▶ window ──▶ connection `prompt`
 *                └─▶ [bulk] ──────────▶ window ──▶ connection `bulk`
 *
 * `lane.ts` has the queues and the window, `flight.ts` one operation on its way, `suspicion.ts` who has to be alone.
 */
import {
  diesWithInterface,
  interfaceMade,
  interfacesUsed,
  keyOf,
  type ObjectKey,
  type VppObject,
} from '../objects/object.js';
import type { Operation, Outcome } from '../reconcile/operation.js';
import { removal } from '../reconcile/reconcile.js';
import type { Transaction, TransactionResult, Urgency } from '../reconcile/transaction.js';
import { Flight, type FlightParts, Flights } from './flight.js';
import type { Handles } from './handles.js';
import { Lane, type Requester, Run } from './lane.js';
import { Life } from './life.js';
import type { Suspect } from './quarantine.js';
import type { Registry } from './registry.js';
import { Suspicion, type SuspicionParts } from './suspicion.js';

/** Operations of one transaction before the next one has its turn. */
const turn_operations = 16;
/** Operations that end without a message to VPP before whatever else waits in this process has its turn. */
const unsent_max = 256;

/** An operation that was not sent because one before it failed, or that was undone because of it. */
export class NotDone extends Error {
  override readonly name = 'NotDone';
  readonly code = 'not_done';
}

/** Nobody waited for the transaction any more when its turn came: nothing of it was sent. */
export class Abandoned extends Error {
  override readonly name = 'Abandoned';
  readonly code = 'abandoned';
}

export interface ExecutorParts extends SuspicionParts {
  readonly connections: { readonly prompt: Requester; readonly bulk: Requester };
  readonly handles: Handles;
  readonly registry: Registry;
  /** Absent: of a VPP that others have programmed before. */
  readonly life?: Life;
}

export class Executor {
  readonly #parts: ExecutorParts;
  readonly #lanes: Readonly<Record<Urgency, Lane>>;
  /** By owner: the transaction under way first, then those that wait for it. */
  readonly #owners = new Map<string, Run[]>();
  readonly #flights = new Flights();
  readonly #suspicion: Suspicion;
  readonly #of_flights: FlightParts;
  #failure: Error | undefined;
  /** Operations that have ended without a message since the event loop has turned last. */
  #unsent = 0;

  constructor(parts: ExecutorParts) {
    this.#parts = parts;
    const prompt = new Lane(parts.connections.prompt);
    this.#lanes = { urgent: prompt, prompt, bulk: new Lane(parts.connections.bulk) };
    this.#suspicion = new Suspicion(parts, this.#flights, () => this.#pump());
    const { handles, registry, life = new Life('before') } = parts;
    this.#of_flights = {
      handles,
      registry,
      life,
      landed: (flight) => this.#landed(flight),
      lost: (error) => this.fail(error),
    };
  }

  /** See Session.execute. */
  run(transaction: Transaction, abandoned: () => boolean): Promise<TransactionResult> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    const run = new Run(transaction, abandoned, this.#lanes[transaction.urgency]);
    const waiting = this.#owners.get(transaction.owner);
    if (waiting === undefined) {
      this.#owners.set(transaction.owner, [run]);
      run.lane.enqueue(run);
      this.#pump();
    } else waiting.push(run);
    return run.result;
  }

  /**
   * Resolves when nothing is on its way for which nobody waits any more. What has been begun by now is carried out all the same, and
   * whoever has given up, or has been restarted, would read half of it.
   */
  async nobodysIsOver(): Promise<void> {
    const runs = [...this.#owners.values()].flatMap(([run]) => (run?.begun && run.abandoned() ? run : []));
    await Promise.allSettled(runs.map(({ result }) => result));
  }

  /** What VPP may be dying of: what is on its way, or what it answered last. */
  suspects(): Suspect[] {
    return this.#suspicion.suspects();
  }

  /** The connection has ended: how much of what was under way VPP has done nobody knows. */
  fail(error: Error): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    this.#suspicion.end();
    for (const runs of this.#owners.values()) for (const run of runs) run.reject(error);
    this.#owners.clear();
  }

  gauges() {
    const runs = [...this.#owners.values()];
    return {
      transactions: runs.length,
      transactions_waiting: runs.reduce((sum, { length }) => sum + length - 1, 0),
      in_flight: this.#lanes.prompt.messages + this.#lanes.bulk.messages,
    };
  }

  // --- turns

  /** Gives turns, on either connection, as long as something can be sent. */
  #pump(): void {
    for (let moved = true; moved && this.#failure === undefined && this.#unsent < unsent_max; ) {
      const prompt = this.#turnOn(this.#lanes.prompt);
      moved = this.#turnOn(this.#lanes.bulk) || prompt;
    }
  }

  #turnOn(lane: Lane): boolean {
    if (lane.full) return false;
    const run = this.#suspicion.isAlone ? this.#suspicion.turnOn(lane) : lane.shift();
    if (run !== undefined) this.#turn(run);
    return run !== undefined;
  }

  /** Sends the next operations of a transaction, until its turn is over, the window full, or it has to wait for an answer. */
  #turn(run: Run): void {
    const { lane, transaction } = run;
    if (!run.begun && run.abandoned()) {
      run.reject(new Abandoned(`${transaction.owner}: nobody waits for it any more`));
      return this.#end(run);
    }
    for (let sent = 0; sent < turn_operations && !lane.full; sent += 1) {
      const operation = run.due;
      if (operation === undefined) break;
      if (!this.#suspicion.admits(run, operation)) {
        lane.putBack(run);
        return this.#announce(run);
      }
      this.#send(run, operation);
      if (this.#suspicion.hasSentIts(run)) break;
    }
    this.#announce(run);
    this.#goOn(run);
    this.#suspicion.landed(run);
  }

  /** What needs them has been sent. */
  #announce(run: Run): void {
    if (run.news.length === 0 || run.failed || run.refused_undo !== undefined) return;
    for (const tag of run.news.splice(0)) run.transaction.interface_made?.(tag);
  }

  /** It waits for its next turn, or for answers, or is through. */
  #goOn(run: Run): void {
    if (run.due !== undefined) return run.lane.enqueue(run);
    if (run.in_flight > 0) return;
    if (run.failed) return this.#rollback(run);
    if (run.all_sent) this.#finish(run);
  }

  #end(run: Run): void {
    run.over = true;
    run.lane.take(run);
    this.#suspicion.waitNoMore(run);
    const { owner } = run.transaction;
    const waiting = this.#owners.get(owner);
    waiting?.shift();
    const next = waiting?.[0];
    if (next !== undefined) next.lane.enqueue(next);
    else this.#owners.delete(owner);
  }

  /** What is refused here answers at once, by the thousand: a transaction of nothing else would keep the event loop for itself. */
  #endedUnsent(): void {
    this.#unsent += 1;
    if (this.#unsent !== unsent_max) return;
    this.#parts.clock.afterPoll(() => {
      this.#unsent = 0;
      this.#pump();
    });
  }

  // --- operations

  #send(run: Run, operation: Operation): void {
    const { next: at } = run;
    const { object } = operation;
    run.begun = true;
    run.next += 1;
    if (operation.action === 'remove' && interfaceMade(object) !== undefined)
      run.leaving.set(keyOf(object), at);
    const convicted = this.#suspicion.convicted(run, operation);
    if (convicted !== undefined) {
      this.#endedUnsent();
      return run.settle(at, operation, convicted);
    }
    const holder = run.holds(operation);
    if (holder !== undefined) {
      this.#endedUnsent();
      return run.settle(at, operation, new NotDone(`not sent: ${keyOf(holder)} is still there`));
    }
    const flight = new Flight(run, operation, at, this.#of_flights);
    if (flight.name !== undefined) run.making.add(flight.name);
    this.#flights.add(flight);
    run.in_flight += 1;
    run.lane.begins();
    if (!flight.begin()) return;
    this.#endedUnsent();
    this.#taken(flight);
  }

  /** The last answer of an operation has come. */
  #landed(flight: Flight): void {
    const { run } = flight;
    this.#suspicion.remember(flight);
    this.#taken(flight);
    if (run.all_sent) this.#announce(run);
    this.#goOn(run);
    this.#suspicion.landed(run);
    this.#pump();
  }

  /** All of an operation is answered, or it was refused before it was sent. */
  #taken(flight: Flight): void {
    const { run, operation, at, name, handle } = flight;
    this.#flights.delete(flight);
    run.in_flight -= 1;
    run.lane.ends();
    if (name !== undefined) run.making.delete(name);
    const tag = handle === undefined ? undefined : interfaceMade(operation.object);
    if (tag !== undefined) {
      run.made.set(tag, handle!);
      run.news.push(tag);
    }
    run.settle(at, operation, flight.error);
  }

  #finish(run: Run): void {
    const { first_error: error } = run;
    const outcomes = run.refused_undo === undefined ? run.outcomes : undone(run, run.refused_undo);
    run.resolve({
      outcomes,
      interfaces: run.made,
      ...(run.lost_state && { lost_state: true }),
      ...(error && { error }),
    });
    this.#end(run);
  }

  /** Removes what the transaction added, in the safe order; what VPP refuses to remove stays, and its outcome says so. */
  #rollback(run: Run): void {
    for (const operation of run.plan.slice(run.next)) {
      run.outcomes.push({ operation, error: new NotDone(`not sent: ${run.first_error!.message}`) });
    }
    const added = run.outcomes.filter(({ operation, error }) => operation.action === 'add' && !error);
    this.#suspicion.waitNoMore(run);
    run.refused_undo = new Set();
    run.plan = removal(added.map(({ operation }) => operation.object));
    run.next = 0;
    this.#goOn(run);
  }
}

/** The outcomes of a transaction that was rolled back. What goes with an interface stays where VPP has kept that. */
function undone(run: Run, refused: ReadonlySet<ObjectKey>): Outcome[] {
  const cause = new NotDone(`undone: ${run.first_error!.message}`);
  const removed = new Set(run.plan.map(({ object }) => keyOf(object)));
  const kept = new Set(
    run.plan.flatMap(({ object }) => (refused.has(keyOf(object)) ? (interfaceMade(object) ?? []) : [])),
  );
  const isLeft = (object: VppObject): boolean => {
    const key = keyOf(object);
    if (removed.has(key)) return refused.has(key);
    return diesWithInterface(object) && interfacesUsed(object).some((tag) => kept.has(tag));
  };
  return run.outcomes.map((outcome) => {
    const { operation, error } = outcome;
    if (operation.action === 'remove' || error !== undefined || isLeft(operation.object)) return outcome;
    return { operation, error: cause };
  });
}
