/** One operation on its way: its messages, from the first one to the last answer. Without a promise: there are a hundred thousand. */
import { type Asker, RetvalError } from 'vpp-binapi-ts';
import { hidesPart, interfaceMade, keyOf, type VppObject } from '../objects/object.js';
import type { Operation } from '../reconcile/operation.js';
import type { Call } from './call.js';
import { type Handles, UnknownHandle } from './handles.js';
import { handleMade, type Run } from './lane.js';
import type { Life, Sent } from './life.js';
import { refusal } from './poison.js';
import { programAdd, programFollow, programRemove } from './program.js';
import type { Registry, Started } from './registry.js';

/** What VPP answers to the removal of something that is not there: no such interface, table, entry or address. */
const not_there: readonly number[] = [-2, -3, -6, -60];
const none_tolerated: readonly number[] = [];

/** An interface that every VPP has: `rdma_create_v4` answers 0, and this one, where it finds no device of RDMA (read in `rdma_create_if`, seen). */
const local0 = 0;

type Reply = { readonly retval: number };

export interface FlightParts {
  readonly handles: Handles;
  readonly registry: Registry;
  readonly life: Life;
  /** All of it is answered. Not called where that is so when `begin` returns. */
  landed(flight: Flight): void;
  /** The connection has ended: nobody knows what VPP has done of it. */
  lost(error: Error): void;
}

/** `make`, then what `completes` it; what cannot be completed is removed again. */
type Step = 'make' | 'complete' | 'unmake' | 'remove';

export class Flight {
  /** The name of the handle that it makes. */
  readonly name: string | undefined;
  /** VPP's number of what it has made, once that is known. */
  handle: number | undefined;
  /** Set where it was refused. */
  error: Error | undefined;
  /** When it was over, in whole milliseconds. */
  answered_ms = 0;
  before: Flight | undefined;
  behind: Flight | undefined;
  #step: Step;
  /** Messages of this step that are not answered; one more while they are being sent. */
  #waits = 0;
  #began = false;
  #over = false;
  #refused: Error | undefined;
  #started: Started | undefined;
  /** The registry is told what comes of it. */
  #records = false;
  /** By what VPP has answered to its making until now. */
  #known: number | undefined;
  readonly #parts: FlightParts;

  constructor(
    readonly run: Run,
    readonly operation: Operation,
    /** Its place in the plan. */
    readonly at: number,
    parts: FlightParts,
  ) {
    this.#parts = parts;
    this.#step = operation.action === 'add' ? 'make' : 'remove';
    this.name = operation.action === 'add' ? handleMade(operation.object) : undefined;
  }

  /** Sends what can be sent at once. True: nothing of it is on its way, it is over. */
  begin(): boolean {
    this.#next();
    this.#began = true;
    return this.#over;
  }

  /** A message of this step is answered. */
  heard(handle: number | undefined, error: Error | undefined): void {
    this.handle ??= handle;
    if (error !== undefined) this.#refused ??= error;
    this.#waits -= 1;
    if (this.#waits === 0) this.#answered();
  }

  get tolerated(): readonly number[] {
    return this.#step === 'remove' || this.#step === 'unmake' ? not_there : none_tolerated;
  }

  /** Only what is asked can be at fault here: what comes of it has its end in nobody's catch. */
  #next(): void {
    let calls: readonly Call[];
    try {
      calls = this.#calls();
    } catch (error) {
      if (!isOwnFault(error)) return this.lost(error as Error);
      this.#refused = error;
      return this.#answered();
    }
    this.#send(calls);
  }

  /** The messages of this step. Throws where there are none to be sent. */
  #calls(): readonly Call[] {
    const { object } = this.operation;
    const { handles, life } = this.#parts;
    let calls: readonly Call[];
    switch (this.#step) {
      case 'make':
        calls = this.#making(object);
        break;
      case 'complete':
        calls = programFollow(object, handles);
        break;
      default:
        calls = this.#removal(object);
    }
    for (const call of calls) {
      const fatal = refusal(call, life, calls);
      if (fatal !== undefined) throw fatal;
    }
    return calls;
  }

  /**
   * An update is answered with the id that is known. One that is to be another in what VPP does not change goes first, by the message right
   * before; that it is gone already is no fault.
   */
  #making(object: VppObject): readonly Call[] {
    const { handles, registry } = this.#parts;
    const calls = programAdd(object, handles);
    const known = handles.find(object);
    const anew = this.operation.anew === true;
    if (anew || known === undefined || !hidesPart(object)) {
      this.#started = registry.begins(object);
      this.#records = true;
    }
    if (!anew) {
      this.#known = known;
      return calls;
    }
    // What is called by a name that VPP has given it, and is not known, cannot be removed.
    if (known === undefined && calls.some(({ made }) => made !== undefined)) return calls;
    const removals = programRemove(object, handles).map((call) => ({
      ...call,
      tolerated: [...not_there, ...(call.tolerated ?? [])],
    }));
    handles.forget(object);
    return [...removals, ...calls];
  }

  /** The handle is forgotten when the request is sent, not when it is answered: what follows may make the object anew. */
  #removal(object: VppObject): readonly Call[] {
    const { handles, registry } = this.#parts;
    let calls: readonly Call[];
    try {
      calls = programRemove(object, handles);
    } catch (error) {
      // What VPP is not known to have need not be removed.
      if (!(error instanceof UnknownHandle)) throw error;
      this.handle = undefined;
      this.#started = undefined;
      return [];
    }
    this.handle = handles.forget(object);
    this.#started = registry.begins(object);
    return calls;
  }

  #send(calls: readonly Call[]): void {
    const { life } = this.#parts;
    const { lane } = this.run;
    this.#waits = calls.length + 1;
    for (const call of calls) {
      const message = new Message(this, call, life.sent(call));
      try {
        lane.vpp.ask(call.message, call.fields, message);
        lane.sends();
      } catch (error) {
        message.fails(error);
      }
    }
    this.heard(undefined, undefined);
  }

  /** All messages of the step. */
  #answered(): void {
    let error = this.#refused;
    const { handles, registry } = this.#parts;
    const { object } = this.operation;
    this.#refused = undefined;
    switch (this.#step) {
      case 'make':
        if (this.handle === local0 && interfaceMade(object) !== undefined) {
          this.handle = undefined;
          error ??= new Refused('VPP says that it is made, and has made nothing: see its log');
        }
        if (this.handle !== undefined && (error === undefined || this.operation.anew)) {
          handles.made(object, this.handle);
        }
        if (error !== undefined) {
          registry.refused(object, this.#started);
          return this.#end(error);
        }
        if (this.#known !== undefined && this.handle !== undefined && this.handle !== this.#known) {
          this.run.lost_state = true;
        }
        this.#step = 'complete';
        return this.#next();
      case 'complete':
        if (error === undefined) {
          if (this.#records) registry.done('add', object, this.#started);
          return this.#end(undefined);
        }
        // Half made, it has no tag: nobody would ever find it again.
        this.error = error;
        this.#step = 'unmake';
        return this.#next();
      case 'unmake':
      case 'remove':
        if (error === undefined) {
          if (this.handle !== undefined) handles.gone(object, this.handle);
          registry.done('remove', object, this.#started);
        } else {
          if (this.handle !== undefined) handles.made(object, this.handle);
          registry.refused(object, this.#started);
        }
        this.handle = undefined;
        return this.#end(this.error ?? error);
    }
  }

  #end(error: Error | undefined): void {
    if (this.#over) throw new Error(`${keyOf(this.operation.object)} was over already`);
    this.error = error;
    this.#over = true;
    if (this.#began) this.#parts.landed(this);
  }

  /** See FlightParts.lost. */
  lost(error: Error): void {
    this.#parts.lost(error);
  }
}

class Message implements Asker<Reply> {
  constructor(
    readonly flight: Flight,
    readonly call: Call,
    readonly effect: Sent,
  ) {}

  answered(reply: Reply): void {
    const { flight, call } = this;
    flight.run.lane.answered();
    this.effect.done(reply);
    flight.heard(call.made?.(reply), undefined);
  }

  refused(error: unknown): void {
    this.flight.run.lane.answered();
    this.fails(error);
  }

  /** Also where it was not sent at all. */
  fails(error: unknown): void {
    const { flight, call } = this;
    this.effect.refused();
    if (!isOwnFault(error)) return flight.lost(error as Error);
    const answered = error instanceof RetvalError ? error.retval : undefined;
    const tolerated =
      answered !== undefined && (flight.tolerated.includes(answered) || call.tolerated?.includes(answered));
    flight.heard(undefined, tolerated ? undefined : inItsWords(error, call));
  }
}

/** As VPP says it, where its number means nothing to others. */
function inItsWords(error: Error, { why }: Call): Error {
  const words = error instanceof RetvalError ? why?.(error.reply) : undefined;
  if (words === undefined) return error;
  const { message_name } = error as RetvalError;
  return new Refused(`${message_name}: ${words.slice(0, 200)}`, { cause: error });
}

/** VPP refused it, and said why. */
class Refused extends Error {
  override readonly name = 'Refused';
}

/**
 * An error of this object, not of the connection: VPP refuses it, no request can be made of it (RangeError, TypeError), a field is none
 * that a message holds, a message is not there.
 */
function isOwnFault(error: unknown): error is Error {
  if (error instanceof RetvalError || error instanceof UnknownHandle) return true;
  if (error instanceof RangeError || error instanceof TypeError) return true;
  return (
    error instanceof Error &&
    'code' in error &&
    ['malformed', 'incompatible', 'deadly'].includes(error.code as string)
  );
}

/** Those on their way, in the order in which they were sent. */
export class Flights {
  #first: Flight | undefined;
  #last: Flight | undefined;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  add(flight: Flight): void {
    flight.before = this.#last;
    if (this.#last === undefined) this.#first = flight;
    else this.#last.behind = flight;
    this.#last = flight;
    this.#size += 1;
  }

  delete(flight: Flight): void {
    const { before, behind } = flight;
    if (before === undefined) this.#first = behind;
    else before.behind = behind;
    if (behind === undefined) this.#last = before;
    else behind.before = before;
    // What is remembered of it must not keep those beside it.
    flight.before = undefined;
    flight.behind = undefined;
    this.#size -= 1;
  }

  *[Symbol.iterator](): Iterator<Flight> {
    for (let flight = this.#first; flight !== undefined; flight = flight.behind) yield flight;
  }
}
