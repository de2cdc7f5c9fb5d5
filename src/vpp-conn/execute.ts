/**
 * Carries transactions out. Operations are pulled, one after the other, while few messages are in flight: VPP handles one connection's
 * messages in order, so that only an operation which needs a handle that an earlier one makes has to wait for a reply. Owners take turns.
 * What somebody waits for and what comes by the thousand go by connections of their own (`Urgency`).
 *
 *   transactions ──▶ [urgent][prompt] ──▶ window ──▶ connection `prompt`
 *                └─▶ [bulk] ──────────▶ window ──▶ connection `bulk`
 */
import { type Client, RetvalError } from 'vpp-binapi-ts';
import type { Clock } from '../clock.js';
import { type Family, familyOf } from '../ip/text.js';
import { interfaceMade, interfacesUsed, keyOf, type VppObject } from '../objects/object.js';
import type { Operation, Outcome } from '../reconcile/operation.js';
import { removal } from '../reconcile/reconcile.js';
import type { Subject, Transaction, TransactionResult, Urgency } from '../reconcile/transaction.js';
import type { Call } from './call.js';
import { type Handles, UnknownHandle } from './handles.js';
import { Life } from './life.js';
import { refusal } from './poison.js';
import { programAdd, programFollow, programRemove } from './program.js';
import { type Quarantine, QuarantinedError, type Suspect } from './quarantine.js';
import type { Registry } from './registry.js';

/** What VPP answers to the removal of something that is not there: no such interface, table, entry or address. */
const not_there: readonly number[] = [-2, -3, -6, -60];
/** Messages in flight on a connection: more make VPP no faster and whoever comes behind them wait (seen: 64 to 2,048 alike). */
const window = 64;
/** Operations of one transaction before the next one has its turn. */
const turn_operations = 16;
/** How long a suspect stays alone after its answer. A crash in a handler leaves no answer; one by a packet comes when it comes. */
const probation_ms = { suspect: 20, 'slow suspect': 1000 } as const;
/** What VPP answered this short before it died is suspect when nothing was on its way. */
const recent_ms = 1000;
const recent_max = 32;

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

export type Requester = Pick<Client, 'request'>;

export interface ExecutorParts {
  readonly connections: { readonly prompt: Requester; readonly bulk: Requester };
  readonly handles: Handles;
  readonly registry: Registry;
  readonly quarantine: Quarantine;
  readonly clock: Clock;
  /** Absent: of a VPP that others have programmed before. */
  readonly life?: Life;
}

/** A transaction that is being carried out, or waits for its turn. */
class Run {
  readonly outcomes: Outcome[] = [];
  readonly made = new Map<string, number>();
  /** Handles that operations on their way will make. */
  readonly making = new Set<string>();
  /** Made, and not yet announced. */
  readonly news: string[] = [];
  next = 0;
  in_flight = 0;
  first_error: Error | undefined;
  undoing = false;

  constructor(
    readonly transaction: Transaction,
    readonly abandoned: () => boolean,
    readonly lane: Lane,
    readonly resolve: (result: TransactionResult) => void,
    readonly reject: (error: Error) => void,
  ) {}

  /** The operation whose turn it is; undefined when there is none, or it has to wait for a handle. */
  get due(): Operation | undefined {
    const operation = this.transaction.operations[this.next];
    if (operation === undefined || this.undoing) return undefined;
    if (this.making.size > 0 && needs(operation.object).some((name) => this.making.has(name)))
      return undefined;
    return operation;
  }
}

/** One connection and the transactions that go by it. */
class Lane {
  /** Those that have something to send, in the order of their turns. */
  readonly ready: { readonly urgent: Run[]; readonly other: Run[] } = { urgent: [], other: [] };
  in_flight = 0;

  constructor(readonly vpp: Requester) {}

  enqueue(run: Run): void {
    (run.transaction.urgency === 'urgent' ? this.ready.urgent : this.ready.other).push(run);
  }

  shift(): Run | undefined {
    return this.ready.urgent.shift() ?? this.ready.other.shift();
  }

  unshift(run: Run): void {
    (run.transaction.urgency === 'urgent' ? this.ready.urgent : this.ready.other).unshift(run);
  }
}

interface Flight {
  readonly run: Run;
  readonly operation: Operation;
}

export class Executor {
  readonly #parts: ExecutorParts;
  readonly #life: Life;
  readonly #lanes: Readonly<Record<Urgency, Lane>>;
  /** By owner: the transaction under way first, then those that wait for it. */
  readonly #owners = new Map<string, Run[]>();
  readonly #flights = new Set<Flight>();
  /** Answered last. */
  readonly #recent: { readonly flight: Flight; readonly at_ms: number }[] = [];
  /** A suspect that is, or waits to be, the only one. */
  #alone: { readonly run: Run; readonly subject: Subject; answered: boolean } | undefined;
  #failure: Error | undefined;

  constructor(parts: ExecutorParts) {
    this.#parts = parts;
    this.#life = parts.life ?? new Life('before');
    const prompt = new Lane(parts.connections.prompt);
    this.#lanes = { urgent: prompt, prompt, bulk: new Lane(parts.connections.bulk) };
  }

  /** See Session.execute. */
  run(transaction: Transaction, abandoned: () => boolean): Promise<TransactionResult> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== undefined) return reject(this.#failure);
      const run = new Run(transaction, abandoned, this.#lanes[transaction.urgency], resolve, reject);
      const waiting = this.#owners.get(transaction.owner);
      if (waiting === undefined) {
        this.#owners.set(transaction.owner, [run]);
        this.#begin(run);
      } else waiting.push(run);
    });
  }

  /** What VPP may be dying of: what is on its way, or what it answered last. */
  suspects(): Suspect[] {
    if (this.#alone?.answered === true) return [{ ...this.#alone.subject, answered: true }];
    const since_ms = this.#parts.clock.now_ms() - recent_ms;
    const [flights, answered] =
      this.#flights.size > 0
        ? [[...this.#flights], false]
        : [this.#recent.filter(({ at_ms }) => at_ms >= since_ms).map(({ flight }) => flight), true];
    const suspects = new Map<string, Suspect>();
    for (const { run, operation } of flights) {
      if (run.transaction.essential === true) continue;
      const subject = subjectOf(run.transaction, operation);
      suspects.set(subject.name, { ...subject, answered });
    }
    return [...suspects.values()];
  }

  /** The connection has ended: how much of what was under way VPP has done nobody knows. */
  fail(error: Error): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    for (const runs of this.#owners.values()) for (const run of runs) run.reject(error);
    this.#owners.clear();
  }

  gauges() {
    const runs = [...this.#owners.values()];
    return {
      transactions: runs.length,
      transactions_waiting: runs.reduce((sum, { length }) => sum + length - 1, 0),
      in_flight: this.#lanes.prompt.in_flight + this.#lanes.bulk.in_flight,
    };
  }

  // --- turns

  #begin(run: Run): void {
    if (run.abandoned()) {
      run.reject(new Abandoned(`${run.transaction.owner}: nobody waits for it any more`));
      return this.#ended(run);
    }
    run.lane.enqueue(run);
    this.#pump(run.lane);
  }

  #ended(run: Run): void {
    const { owner } = run.transaction;
    const waiting = this.#owners.get(owner);
    waiting?.shift();
    const next = waiting?.[0];
    if (next !== undefined) this.#begin(next);
    else this.#owners.delete(owner);
  }

  #pumpAll(): void {
    this.#pump(this.#lanes.prompt);
    this.#pump(this.#lanes.bulk);
  }

  #pump(lane: Lane): void {
    while (this.#failure === undefined && lane.in_flight < window) {
      if (this.#alone !== undefined && !this.#mayGoAlone(this.#alone.run, lane)) return;
      const run = this.#alone === undefined ? lane.shift() : this.#takeAlone(lane);
      if (run === undefined) return;
      this.#turn(run);
    }
  }

  /** A suspect waits until nothing else is on its way, on either connection. */
  #mayGoAlone(run: Run, lane: Lane): boolean {
    const others = [...this.#flights].some((flight) => flight.run !== run);
    return run.lane === lane && !others && this.#alone?.answered === false;
  }

  #takeAlone(lane: Lane): Run | undefined {
    const { run } = this.#alone!;
    for (const queue of [lane.ready.urgent, lane.ready.other]) {
      const at = queue.indexOf(run);
      if (at !== -1) return queue.splice(at, 1)[0];
    }
    return undefined;
  }

  /** Sends the next operations of a transaction, until its turn is over, the window full, or it has to wait for an answer. */
  #turn(run: Run): void {
    const { lane, transaction } = run;
    for (let sent = 0; sent < turn_operations && lane.in_flight < window; sent += 1) {
      const operation = run.due;
      if (operation === undefined) break;
      if (run.first_error !== undefined && transaction.on_error === 'rollback') break;
      if (!this.#admits(run, operation)) return this.#announce(run);
      this.#send(run, operation);
      if (this.#alone?.run === run && transaction.subject === undefined) break;
    }
    this.#announce(run);
    if (run.due !== undefined && !(run.first_error !== undefined && transaction.on_error === 'rollback')) {
      lane.enqueue(run);
    } else this.#finishIfDone(run);
  }

  /** False: it is not its turn after all, and it is put back. */
  #admits(run: Run, operation: Operation): boolean {
    const { quarantine } = this.#parts;
    if (quarantine.empty || run.transaction.essential === true || this.#alone?.run === run) return true;
    const subject = subjectOf(run.transaction, operation);
    const verdict = quarantine.judge(subject);
    if (verdict !== 'suspect' && verdict !== 'slow suspect') return true;
    run.lane.unshift(run);
    this.#alone ??= { run, subject, answered: false };
    return false;
  }

  #announce(run: Run): void {
    for (const tag of run.news.splice(0)) run.transaction.interface_made?.(tag);
  }

  // --- operations

  #send(run: Run, operation: Operation): void {
    run.next += 1;
    const { transaction } = run;
    const convicted = this.#convicted(transaction, operation);
    if (convicted !== undefined) return this.#settle(run, operation, convicted);
    const name = operation.action === 'add' ? handleMade(operation.object) : undefined;
    if (name !== undefined) run.making.add(name);
    const flight: Flight = { run, operation };
    this.#flights.add(flight);
    run.in_flight += 1;
    this.#perform(run.lane, operation).then(
      (outcome) => {
        this.#landed(flight);
        if (name !== undefined) run.making.delete(name);
        const tag = interfaceMade(operation.object);
        if (typeof outcome === 'number' && tag !== undefined) {
          run.made.set(tag, outcome);
          run.news.push(tag);
        }
        this.#settle(run, operation, outcome instanceof Error ? outcome : undefined);
        if (!run.undoing && run.due !== undefined && !this.#isReady(run)) run.lane.enqueue(run);
        this.#finishIfDone(run);
        this.#aloneAnswered(run);
        if (this.#alone === undefined) this.#pump(run.lane);
        else this.#pumpAll();
      },
      (error: Error) => this.fail(error),
    );
  }

  #isReady(run: Run): boolean {
    const { urgent, other } = run.lane.ready;
    return (run.transaction.urgency === 'urgent' ? urgent : other).includes(run);
  }

  #convicted(transaction: Transaction, operation: Operation): Error | undefined {
    const { quarantine } = this.#parts;
    if (quarantine.empty || transaction.essential === true) return undefined;
    const subject = subjectOf(transaction, operation);
    if (quarantine.judge(subject) !== 'convicted') return undefined;
    return new QuarantinedError(
      `${subject.name}: VPP died twice while it was programmed; change or delete it`,
    );
  }

  #landed(flight: Flight): void {
    this.#flights.delete(flight);
    flight.run.in_flight -= 1;
    this.#recent.push({ flight, at_ms: this.#parts.clock.now_ms() });
    if (this.#recent.length > recent_max) this.#recent.shift();
  }

  #settle(run: Run, operation: Operation, error: Error | undefined): void {
    run.outcomes.push(error === undefined ? { operation } : { operation, error });
    if (error !== undefined) run.first_error ??= error;
  }

  /** The suspect is alone for a while longer; whoever then has not killed VPP is acquitted. */
  #aloneAnswered(run: Run): void {
    const alone = this.#alone;
    if (alone?.run !== run || run.in_flight > 0 || alone.answered) return;
    const whole = run.transaction.subject !== undefined;
    if (whole && this.#owners.get(run.transaction.owner)?.[0] === run) return;
    alone.answered = true;
    const { quarantine, clock } = this.#parts;
    const verdict = quarantine.judge(alone.subject);
    const wait_ms = verdict === 'slow suspect' ? probation_ms['slow suspect'] : probation_ms.suspect;
    clock.after(wait_ms, () => {
      if (this.#failure !== undefined || this.#alone !== alone) return;
      quarantine.acquit(alone.subject);
      this.#alone = undefined;
      this.#pumpAll();
    });
  }

  #finishIfDone(run: Run): void {
    if (run.in_flight > 0 || run.undoing) return;
    const { operations, on_error } = run.transaction;
    const failed = run.first_error !== undefined && on_error === 'rollback';
    if (!failed && run.next < operations.length) return;
    if (failed) return this.#rollback(run);
    this.#finish(run);
  }

  #finish(run: Run): void {
    const order = new Map(run.transaction.operations.map((operation, at) => [operation, at]));
    const outcomes = run.outcomes.sort((a, b) => order.get(a.operation)! - order.get(b.operation)!);
    const { first_error: error } = run;
    run.resolve({ outcomes, interfaces: run.made, ...(error && { error }) });
    this.#ended(run);
  }

  /** Removes what the transaction added, in the safe order; what VPP refuses to remove stays, and its outcome says so. */
  #rollback(run: Run): void {
    run.undoing = true;
    const { operations } = run.transaction;
    for (const operation of operations.slice(run.next)) {
      run.outcomes.push({ operation, error: new NotDone(`not sent: ${run.first_error!.message}`) });
    }
    run.next = operations.length;
    const added = run.outcomes.filter(({ operation, error }) => operation.action === 'add' && !error);
    const undo = removal(added.map(({ operation }) => operation.object));
    Promise.all(undo.map(async (operation) => [operation, await this.#perform(run.lane, operation)] as const))
      .then((results) => {
        const left = new Set(
          results.flatMap(([{ object }, result]) => (result instanceof Error ? [keyOf(object)] : [])),
        );
        const undone = new NotDone(`undone: ${run.first_error!.message}`);
        for (const outcome of added) {
          if (left.has(keyOf(outcome.operation.object))) continue;
          run.outcomes[run.outcomes.indexOf(outcome)] = { operation: outcome.operation, error: undone };
        }
        this.#finish(run);
        this.#aloneAnswered(run);
        this.#pump(run.lane);
      })
      .catch((error: Error) => this.fail(error));
  }

  /** The handle that the operation made, nothing, or why it failed. Rejects only with the connection. */
  async #perform(lane: Lane, { action, object }: Operation): Promise<number | undefined | Error> {
    const { handles, registry } = this.#parts;
    try {
      if (action === 'remove') {
        await this.#remove(lane, object);
        return undefined;
      }
      const calls = programAdd(object, handles);
      registry.begins(object);
      const handle = await this.#calls(lane, calls, []);
      if (handle !== undefined) handles.made(object, handle);
      try {
        const follow = programFollow(object, handles);
        if (follow.length > 0) await this.#calls(lane, follow, []);
      } catch (error) {
        // Half made, it has no tag: nobody would ever find it again.
        await this.#remove(lane, object);
        throw error;
      }
      registry.done('add', object);
      return handle;
    } catch (error) {
      if (error instanceof UnknownHandle && action === 'remove') return undefined;
      if (isOwnFault(error)) return error;
      throw error;
    }
  }

  /** The handle is forgotten when the request is sent, not when it is answered: what follows may make the object anew. */
  async #remove(lane: Lane, object: VppObject): Promise<void> {
    const { handles, registry } = this.#parts;
    const calls = programRemove(object, handles);
    const handle = handles.forget(object);
    registry.begins(object);
    try {
      await this.#calls(lane, calls, not_there);
    } catch (error) {
      if (handle !== undefined) handles.made(object, handle);
      throw error;
    }
    registry.done('remove', object);
  }

  async #calls(
    lane: Lane,
    calls: readonly Call[],
    tolerated: readonly number[],
  ): Promise<number | undefined> {
    for (const call of calls) {
      const fatal = refusal(call, this.#life);
      if (fatal !== undefined) throw fatal;
    }
    if (calls.length === 1) return this.#call(lane, calls[0]!, tolerated);
    let handle: number | undefined;
    await Promise.all(
      calls.map(async (call) => {
        const made = await this.#call(lane, call, tolerated);
        if (made !== undefined) handle = made;
      }),
    );
    return handle;
  }

  async #call(lane: Lane, call: Call, tolerated: readonly number[]): Promise<number | undefined> {
    lane.in_flight += 1;
    const sent = this.#life.sent(call);
    try {
      const reply = await lane.vpp.request(call.message, call.fields);
      sent.done(reply);
      return call.made?.(reply);
    } catch (error) {
      sent.refused();
      const answered = error instanceof RetvalError ? error.retval : undefined;
      if (answered !== undefined && (tolerated.includes(answered) || call.tolerated?.includes(answered)))
        return undefined;
      throw error;
    } finally {
      lane.in_flight -= 1;
    }
  }
}

const redirectTable = (family: Family): string => keyOf({ kind: 'redirect_table', family });

/** The name of the handle that adding this makes, as `needs` has it. */
function handleMade(object: VppObject): string | undefined {
  return interfaceMade(object) ?? (object.kind === 'redirect_table' ? keyOf(object) : undefined);
}

function needs(object: VppObject): readonly string[] {
  const used = interfacesUsed(object);
  if (object.kind === 'redirect_acl') return [...used, redirectTable(object.family)];
  if (object.kind === 'redirect_rule') return [...used, redirectTable(familyOf(object.address))];
  return used;
}

function subjectOf({ subject }: Transaction, { action, object }: Operation): Subject {
  return subject ?? { name: keyOf(object), content: `${action} ${JSON.stringify(object)}` };
}

/** An error of this object, not of the connection: VPP refuses it, a field is none that a message holds, a message is not there. */
function isOwnFault(error: unknown): error is Error {
  if (error instanceof RetvalError || error instanceof UnknownHandle) return true;
  return (
    error instanceof Error &&
    'code' in error &&
    ['malformed', 'incompatible', 'deadly'].includes(error.code as string)
  );
}
