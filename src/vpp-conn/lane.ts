/** One connection to VPP, and the transactions that go by it, in the order of their turns. */
import type { Client } from 'vpp-binapi-ts';
import { type Family, familyOf } from '../ip/text.js';
import {
  carries,
  hangsOn,
  interfaceMade,
  interfacesUsed,
  keyOf,
  type ObjectKey,
  type ObjectKind,
  type VppObject,
} from '../objects/object.js';
import type { Operation, Outcome } from '../reconcile/operation.js';
import type { Transaction, TransactionResult } from '../reconcile/transaction.js';

/** Messages in flight on a connection: more make VPP no faster and whoever comes behind them wait (seen: 64 to 2,048 alike). */
const window = 64;
/**
 * When so many are left, a full lane is filled again: one write of sixteen messages costs both sides less than sixteen of one, and VPP has
 * work for half a millisecond meanwhile.
 */
const refill = 48;

export type Requester = Pick<Client, 'ask'>;

/** A transaction that is being carried out, or waits for its turn. */
export class Run {
  readonly result: Promise<TransactionResult>;
  resolve!: (result: TransactionResult) => void;
  reject!: (error: Error) => void;
  /** In the order of the operations, each in its place once it is known. */
  readonly outcomes: Outcome[] = [];
  readonly made = new Map<string, number>();
  /** Handles that operations on their way will make. */
  readonly making = new Set<string>();
  /** Interfaces whose removal was sent, each by its place in the plan. */
  readonly leaving = new Map<ObjectKey, number>();
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
  /** VPP has answered an update as if it had not had the object. */
  lost_state = false;
  /** While it is rolled back: keys of what VPP refused to remove. */
  refused_undo: Set<ObjectKey> | undefined;

  constructor(
    readonly transaction: Transaction,
    readonly abandoned: () => boolean,
    readonly lane: Lane,
  ) {
    this.plan = transaction.operations;
    this.result = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
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
    // Whether all that refers to an interface has gone is known when it is answered.
    if (operation.action === 'remove' && this.in_flight > 0 && interfaceMade(operation.object) !== undefined)
      return undefined;
    // Nor, until then, whether one that is made anew is gone.
    if (this.in_flight > 0 && this.#before(operation) !== undefined) return undefined;
    return operation;
  }

  /** Of an interface that is made anew, the place where the one of before is removed. */
  #before({ action, object }: Operation): number | undefined {
    if (action !== 'add' || this.leaving.size === 0 || interfaceMade(object) === undefined) return undefined;
    return this.leaving.get(keyOf(object));
  }

  /**
   * What still hangs on this interface or table, since VPP would not let go of it: a route without its interface drops the packets of the
   * next one for ever. Of one that is made anew, the one of before: VPP would have both.
   */
  holds(operation: Operation): VppObject | undefined {
    const { action, object } = operation;
    const before = this.#before(operation);
    if (before !== undefined && this.outcomes[before]?.error !== undefined) return object;
    if (action !== 'remove' || !(this.first_error !== undefined || this.refused_undo?.size)) return undefined;
    if (!carries(object)) return undefined;
    for (let at = 0; at < this.next; at += 1) {
      const { action: earlier, object: other } = this.plan[at]!;
      const refused = this.refused_undo?.has(keyOf(other)) ?? this.outcomes[at]?.error !== undefined;
      if (earlier === 'remove' && refused && hangsOn(other, object)) return other;
    }
    return undefined;
  }

  /** The transaction stands for itself, not each of its objects. */
  get is_whole(): boolean {
    return this.transaction.subject !== undefined;
  }

  /** What came of the operation at this place of the plan. */
  settle(at: number, operation: Operation, error: Error | undefined): void {
    if (this.refused_undo !== undefined) {
      if (error !== undefined) this.refused_undo.add(keyOf(operation.object));
      return;
    }
    this.outcomes[at] = error === undefined ? { operation } : { operation, error };
    if (error !== undefined) this.first_error ??= error;
  }
}

export class Lane {
  /** Those that have something to send, in the order of their turns. */
  readonly #urgent: Run[] = [];
  readonly #other: Run[] = [];
  #messages = 0;
  #operations = 0;
  #full = false;

  constructor(readonly vpp: Requester) {}

  /** Messages that VPP has not answered. */
  get messages(): number {
    return this.#messages;
  }

  /** Operations of which not all is answered: some need no message. */
  get operations(): number {
    return this.#operations;
  }

  /** Nothing more is sent for now. */
  get full(): boolean {
    return this.#full;
  }

  begins(): void {
    this.#operations += 1;
    if (this.#operations >= window) this.#full = true;
  }

  ends(): void {
    this.#operations -= 1;
    if (this.#full) this.#look();
  }

  sends(): void {
    this.#messages += 1;
    if (this.#messages >= window) this.#full = true;
  }

  answered(): void {
    this.#messages -= 1;
    if (this.#full) this.#look();
  }

  #look(): void {
    this.#full = this.#messages > refill || this.#operations > refill;
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

const redirectTable = (family: Family): string => keyOf({ kind: 'redirect_table', family });
const protocolTable = (family: Family): string => keyOf({ kind: 'protocol_table', family });

/** The name of the handle that adding this makes, as a `Run` has it in `making`. */
export function handleMade(object: VppObject): string | undefined {
  return interfaceMade(object) ?? (kinds_with_handle.has(object.kind) ? keyOf(object) : undefined);
}

/** Of these others need to know the number. */
const kinds_with_handle: ReadonlySet<ObjectKind> = new Set([
  'dev',
  'redirect_table',
  'protocol_table',
  'npol_set',
  'npol_rule',
  'npol_policy',
]);

function needs(object: VppObject): readonly string[] {
  const used = interfacesUsed(object);
  if (object.kind === 'dev_port') return [keyOf({ kind: 'dev', pci: object.pci, driver: object.driver })];
  if (object.kind === 'redirect_acl') return [...used, redirectTable(object.family)];
  if (object.kind === 'protocol_acl') return [...used, protocolTable(object.family)];
  if (object.kind === 'redirect_rule') return [...used, redirectTable(familyOf(object.address))];
  return usesOfNpol(object) ?? used;
}

/** What of npol this object refers to by number; undefined: it is none of npol's. */
function usesOfNpol(object: VppObject): readonly ObjectKey[] | undefined {
  switch (object.kind) {
    case 'npol_members':
      return [`npol_set:${object.set}`];
    case 'npol_rule':
      return Object.values(object.sets).map((key) => `npol_set:${key}`);
    case 'npol_policy':
      return [...object.rx, ...object.tx].map((name) => `npol_rule:${name}`);
    case 'npol_interface':
      return [...object.rx.policies, ...object.tx.policies, ...object.profiles].map(
        (name) => `npol_policy:${name}`,
      );
    default:
      return undefined;
  }
}
