/**
 * Carries transactions out. Operations are pulled, one after the other, while few messages are in flight: VPP handles one connection's
 * messages in order, so that only an operation which needs a handle that an earlier one makes has to wait for a reply. Owners take turns.
 * What somebody waits for and what comes by the thousand go by connections of their own (`Urgency`).
 *
 *   transactions ──▶ [urgent][prompt] ──▶ window ──▶ connection `prompt`
 *                └─▶ [bulk] ──────────▶ window ──▶ connection `bulk`
 */
import { type Client, RetvalError } from 'vpp-binapi-ts';
import type { Clock, Timer } from '../clock.js';
import { type Family, familyOf } from '../ip/text.js';
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
const none_tolerated: readonly number[] = [];
/** Messages in flight on a connection: more make VPP no faster and whoever comes behind them wait (seen: 64 to 2,048 alike). */
const window = 64;
/** Operations of one transaction before the next one has its turn. */
const turn_operations = 16;
/** Operations that end without a message to VPP before whatever else waits in this process has its turn. */
const unsent_max = 256;
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
  /** In the order of the operations, each in its place once it is known. */
  readonly outcomes: Outcome[] = [];
  readonly made = new Map<string, number>();
  /** Handles that operations on their way will make. */
  readonly making = new Set<string>();
  /** Interfaces that are made, and not yet announced. */
  readonly news: string[] = [];
  /** What it asks for; after a failure, where it is rolled back, what takes it back. */
  plan: readonly Operation[];
  next = 0;
  in_flight = 0;
  begun = false;
  queued = false;
  over = false;
  first_error: Error | undefined;
  /** While it is rolled back: keys of what VPP refused to remove. */
  refused_undo: Set<ObjectKey> | undefined;

  constructor(
    readonly transaction: Transaction,
    readonly abandoned: () => boolean,
    readonly lane: Lane,
    readonly resolve: (result: TransactionResult) => void,
    readonly reject: (error: Error) => void,
  ) {
    this.plan = transaction.operations;
  }

  /** Nothing more of it is sent; what is on its way is waited for, and then taken back. */
  get failed(): boolean {
    const { on_error } = this.transaction;
    return this.first_error !== undefined && on_error === 'rollback' && this.refused_undo === undefined;
  }

  get all_sent(): boolean {
    return this.next >= this.plan.length;
  }

  /** The operation whose turn it is; undefined when there is none, or it has to wait for a handle. */
  get due(): Operation | undefined {
    const operation = this.plan[this.next];
    if (operation === undefined || this.failed) return undefined;
    if (this.making.size > 0 && needs(operation.object).some((name) => this.making.has(name)))
      return undefined;
    return operation;
  }
}

/** One connection and the transactions that go by it. */
class Lane {
  /** Those that have something to send, in the order of their turns. */
  readonly #urgent: Run[] = [];
  readonly #other: Run[] = [];
  /** Messages that VPP has not answered. */
  messages = 0;
  /** Operations of which not all is answered: some need no message. */
  operations = 0;

  constructor(readonly vpp: Requester) {}

  get full(): boolean {
    return this.messages >= window || this.operations >= window;
  }

  enqueue(run: Run): void {
    if (run.queued) return;
    run.queued = true;
    this.#queue(run).push(run);
  }

  /** It keeps its turn. */
  putBack(run: Run): void {
    run.queued = true;
    this.#queue(run).unshift(run);
  }

  shift(): Run | undefined {
    const run = this.#urgent.shift() ?? this.#other.shift();
    if (run !== undefined) run.queued = false;
    return run;
  }

  /** Takes this one out of its turn. */
  take(run: Run): Run | undefined {
    if (!run.queued) return undefined;
    const queue = this.#queue(run);
    queue.splice(queue.indexOf(run), 1);
    run.queued = false;
    return run;
  }

  #queue(run: Run): Run[] {
    return run.transaction.urgency === 'urgent' ? this.#urgent : this.#other;
  }
}

interface Flight {
  readonly run: Run;
  readonly operation: Operation;
  /** Its place in the plan. */
  readonly at: number;
  /** Of the handle that it makes. */
  readonly name: string | undefined;
}

/** A suspect that is, or waits to be, the only one. */
interface Alone {
  readonly run: Run;
  readonly subject: Subject;
  phase: 'waiting' | 'sent' | 'answered';
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
  #alone: Alone | undefined;
  #probation: Timer | undefined;
  #failure: Error | undefined;
  /** Operations that have ended without a message since the event loop has turned last. */
  #unsent = 0;

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
      if (waiting !== undefined) {
        waiting.push(run);
        return;
      }
      this.#owners.set(transaction.owner, [run]);
      run.lane.enqueue(run);
      this.#pump();
    });
  }

  /** What VPP may be dying of: what is on its way, or what it answered last. */
  suspects(): Suspect[] {
    if (this.#alone?.phase === 'answered') return [{ ...this.#alone.subject, answered: true }];
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
    this.#probation?.cancel();
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
      moved = false;
      for (const lane of [this.#lanes.prompt, this.#lanes.bulk]) {
        const run = lane.full ? undefined : this.#whoseTurn(lane);
        if (run === undefined) continue;
        this.#turn(run);
        moved = true;
      }
    }
  }

  /** A suspect waits until nothing else is on its way, on either connection, and everybody else waits for it. */
  #whoseTurn(lane: Lane): Run | undefined {
    const alone = this.#alone;
    if (alone === undefined) return lane.shift();
    if (alone.run.lane !== lane) return undefined;
    const may_send = alone.phase === 'sent' ? isWhole(alone.run) : alone.phase === 'waiting';
    if (!may_send || (alone.phase === 'waiting' && this.#flights.size > 0)) return undefined;
    return lane.take(alone.run);
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
      if (!this.#admits(run, operation)) {
        lane.putBack(run);
        return this.#announce(run);
      }
      this.#send(run, operation);
      if (this.#alone?.run === run && !isWhole(run)) break;
    }
    this.#announce(run);
    this.#goOn(run);
  }

  /** False: it is a suspect, and not its turn before it is alone. */
  #admits(run: Run, operation: Operation): boolean {
    const { quarantine } = this.#parts;
    if (quarantine.empty || run.transaction.essential === true || run.refused_undo !== undefined) return true;
    if (this.#alone !== undefined) {
      if (this.#alone.phase === 'waiting') this.#alone.phase = 'sent';
      return true;
    }
    const subject = subjectOf(run.transaction, operation);
    const verdict = quarantine.judge(subject);
    if (verdict !== 'suspect' && verdict !== 'slow suspect') return true;
    this.#alone = { run, subject, phase: 'waiting' };
    return false;
  }

  /** What needs them has been sent. */
  #announce(run: Run): void {
    if (run.failed || run.refused_undo !== undefined) return;
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
    this.#waitNoMore(run);
    const { owner } = run.transaction;
    const waiting = this.#owners.get(owner);
    waiting?.shift();
    const next = waiting?.[0];
    if (next !== undefined) next.lane.enqueue(next);
    else this.#owners.delete(owner);
  }

  /** What it is a suspect for will not be sent. */
  #waitNoMore(run: Run): void {
    if (this.#alone?.run === run && this.#alone.phase === 'waiting') this.#alone = undefined;
  }

  /** The suspect is alone for a while longer; whoever then has not killed VPP is acquitted. */
  #aloneAnswered(run: Run): void {
    const alone = this.#alone;
    if (alone?.run !== run || alone.phase !== 'sent' || run.in_flight > 0) return;
    if (isWhole(run) && !run.over) return;
    alone.phase = 'answered';
    const { quarantine, clock } = this.#parts;
    const verdict = quarantine.judge(alone.subject);
    const wait_ms = verdict === 'slow suspect' ? probation_ms['slow suspect'] : probation_ms.suspect;
    this.#probation = clock.after(wait_ms, () => {
      quarantine.acquit(alone.subject);
      this.#alone = undefined;
      this.#pump();
    });
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
    const { lane, next: at } = run;
    run.begun = true;
    run.next += 1;
    const convicted = this.#convicted(run, operation);
    if (convicted !== undefined) {
      this.#endedUnsent();
      return this.#settle(run, at, operation, convicted);
    }
    const name = operation.action === 'add' ? handleMade(operation.object) : undefined;
    if (name !== undefined) run.making.add(name);
    const flight: Flight = { run, operation, at, name };
    this.#flights.add(flight);
    run.in_flight += 1;
    lane.operations += 1;
    const { messages } = lane;
    const { action, object } = operation;
    const answer = action === 'add' ? this.#add(lane, object) : this.#remove(lane, object);
    answer.then(
      (handle) => this.#landed(flight, handle, undefined),
      (error: Error) => (isOwnFault(error) ? this.#landed(flight, undefined, error) : this.fail(error)),
    );
    if (lane.messages === messages) this.#endedUnsent();
  }

  /** All of an operation is answered, or it was refused before it was sent. */
  #landed(flight: Flight, handle: number | undefined, error: Error | undefined): void {
    const { run, operation, at, name } = flight;
    this.#flights.delete(flight);
    run.in_flight -= 1;
    run.lane.operations -= 1;
    this.#recent.push({ flight, at_ms: this.#parts.clock.now_ms() });
    if (this.#recent.length > recent_max) this.#recent.shift();
    if (name !== undefined) run.making.delete(name);
    const tag = handle === undefined ? undefined : interfaceMade(operation.object);
    if (tag !== undefined) {
      run.made.set(tag, handle!);
      run.news.push(tag);
    }
    this.#settle(run, at, operation, error);
    if (run.all_sent) this.#announce(run);
    this.#goOn(run);
    this.#aloneAnswered(run);
    this.#pump();
  }

  #convicted({ transaction, refused_undo }: Run, operation: Operation): Error | undefined {
    const { quarantine } = this.#parts;
    if (quarantine.empty || transaction.essential === true || refused_undo !== undefined) return undefined;
    const subject = subjectOf(transaction, operation);
    if (quarantine.judge(subject) !== 'convicted') return undefined;
    return new QuarantinedError(
      `${subject.name}: VPP died twice while it was programmed; change or delete it`,
    );
  }

  #settle(run: Run, at: number, operation: Operation, error: Error | undefined): void {
    if (run.refused_undo !== undefined) {
      if (error !== undefined) run.refused_undo.add(keyOf(operation.object));
      return;
    }
    run.outcomes[at] = error === undefined ? { operation } : { operation, error };
    if (error !== undefined) run.first_error ??= error;
  }

  #finish(run: Run): void {
    const { first_error: error } = run;
    const outcomes = run.refused_undo === undefined ? run.outcomes : undone(run, run.refused_undo);
    run.resolve({ outcomes, interfaces: run.made, ...(error && { error }) });
    this.#end(run);
  }

  /** Removes what the transaction added, in the safe order; what VPP refuses to remove stays, and its outcome says so. */
  #rollback(run: Run): void {
    for (const operation of run.plan.slice(run.next)) {
      run.outcomes.push({ operation, error: new NotDone(`not sent: ${run.first_error!.message}`) });
    }
    const added = run.outcomes.filter(({ operation, error }) => operation.action === 'add' && !error);
    this.#waitNoMore(run);
    run.refused_undo = new Set();
    run.plan = removal(added.map(({ operation }) => operation.object));
    run.next = 0;
    this.#goOn(run);
  }

  /** Answers the handle that it made, if it has one. */
  async #add(lane: Lane, object: VppObject): Promise<number | undefined> {
    const { handles, registry } = this.#parts;
    const calls = programAdd(object, handles);
    const started = registry.begins(object);
    let handle: number | undefined;
    try {
      handle = await this.#calls(lane, calls, none_tolerated);
    } catch (error) {
      if (isOwnFault(error)) registry.refused(object, started);
      throw error;
    }
    if (handle !== undefined) handles.made(object, handle);
    try {
      const follow = programFollow(object, handles);
      if (follow.length > 0) await this.#calls(lane, follow, none_tolerated);
    } catch (error) {
      // Half made, it has no tag: nobody would ever find it again.
      await this.#remove(lane, object);
      throw error;
    }
    registry.done('add', object, started);
    return handle;
  }

  /** The handle is forgotten when the request is sent, not when it is answered: what follows may make the object anew. */
  async #remove(lane: Lane, object: VppObject): Promise<undefined> {
    const { handles, registry } = this.#parts;
    let calls: readonly Call[];
    try {
      calls = programRemove(object, handles);
    } catch (error) {
      // What VPP is not known to have need not be removed.
      if (!(error instanceof UnknownHandle)) throw error;
      registry.done('remove', object);
      return;
    }
    const handle = handles.forget(object);
    const started = registry.begins(object);
    try {
      await this.#calls(lane, calls, not_there);
    } catch (error) {
      if (handle !== undefined) handles.made(object, handle);
      if (isOwnFault(error)) registry.refused(object, started);
      throw error;
    }
    if (handle !== undefined) handles.gone(object);
    registry.done('remove', object, started);
  }

  /** Rejects when all are answered: nothing of the operation is on its way then. Throws what is not sent at all. */
  #calls(lane: Lane, calls: readonly Call[], tolerated: readonly number[]): Promise<number | undefined> {
    for (const call of calls) {
      const fatal = refusal(call, this.#life);
      if (fatal !== undefined) throw fatal;
    }
    return calls.length === 1 ? this.#call(lane, calls[0]!, tolerated) : this.#each(lane, calls, tolerated);
  }

  async #each(lane: Lane, calls: readonly Call[], tolerated: readonly number[]): Promise<number | undefined> {
    const answers = await Promise.allSettled(calls.map((call) => this.#call(lane, call, tolerated)));
    const rejected = answers.flatMap((answer) => (answer.status === 'rejected' ? [answer.reason] : []));
    if (rejected.length > 0) throw rejected.find((error) => !isOwnFault(error)) ?? rejected[0];
    return answers.flatMap((answer) =>
      answer.status === 'fulfilled' && answer.value !== undefined ? [answer.value] : [],
    )[0];
  }

  async #call(lane: Lane, call: Call, tolerated: readonly number[]): Promise<number | undefined> {
    lane.messages += 1;
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
      lane.messages -= 1;
    }
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

/** The transaction stands for itself, not each of its objects. */
function isWhole({ transaction }: Run): boolean {
  return transaction.subject !== undefined;
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
