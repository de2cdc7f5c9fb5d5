/**
 * Sends a transaction in as few round trips as it has data dependencies: VPP handles one connection's messages in order, so
 * only an operation that needs a handle which an earlier one makes has to wait for a reply.
 */
import { type Client, RetvalError } from 'vpp-binapi-ts';
import type { VppObject } from '../desired/objects.js';
import { type Family, familyOf } from '../ip/text.js';
import type { Outcome, Transaction, TransactionResult } from '../messages/vpp.js';
import { interfaceMade, interfacesUsed, keyOf } from '../reconcile/order.js';
import { type Operation, removal } from '../reconcile/reconcile.js';
import type { Call } from './call.js';
import { type Handles, UnknownHandle } from './handles.js';
import { programAdd, programFollow, programRemove } from './program.js';

/** What VPP answers to the removal of something that is not there: no such interface, table, entry or address. */
const not_there: readonly number[] = [-2, -3, -6, -60];

/** An operation that was not sent because one before it failed. */
export class NotSent extends Error {
  override readonly name = 'NotSent';
  readonly code = 'not_sent';
}

type Requester = Pick<Client, 'request'>;

/** Rejects only when the connection ends. A refused operation is an outcome. */
export async function execute(
  vpp: Requester,
  handles: Handles,
  transaction: Transaction,
): Promise<TransactionResult> {
  const { operations, on_error } = transaction;
  const made = new Map<string, number>();
  const errors = new Map<Operation, Error>();
  const done: Operation[] = [];
  let first: Error | undefined;
  let announced = 0;

  for (const wave of waves(operations)) {
    if (first !== undefined && on_error === 'rollback') {
      for (const operation of wave) errors.set(operation, new NotSent(`not sent: ${first.message}`));
      continue;
    }
    const settled = wave.map((operation) => perform(vpp, handles, operation));
    for (const tag of [...made.keys()].slice(announced)) transaction.interface_made?.(tag);
    announced = made.size;
    for (const [at, outcome] of (await Promise.all(settled)).entries()) {
      const operation = wave[at]!;
      if (outcome instanceof Error) {
        errors.set(operation, outcome);
        first ??= outcome;
        continue;
      }
      done.push(operation);
      const tag = interfaceMade(operation.object);
      if (tag !== undefined && outcome !== undefined) made.set(tag, outcome);
    }
  }
  if (first !== undefined && on_error === 'rollback') await rollback(vpp, handles, done);
  const outcomes = operations.map((operation): Outcome => {
    const error = errors.get(operation);
    return error === undefined ? { operation } : { operation, error };
  });
  return { outcomes, interfaces: made, ...(first && { error: first }) };
}

/** Splits the list where an operation needs what one of the same wave makes. Order is kept. */
export function waves(operations: readonly Operation[]): Operation[][] {
  const result: Operation[][] = [];
  let wave: Operation[] = [];
  let making = new Set<string>();
  for (const operation of operations) {
    if (needs(operation.object).some((name) => making.has(name))) {
      result.push(wave);
      wave = [];
      making = new Set();
    }
    wave.push(operation);
    if (operation.action === 'add') {
      const tag = interfaceMade(operation.object);
      if (tag !== undefined) making.add(tag);
      else if (operation.object.kind === 'redirect_table') making.add(keyOf(operation.object));
    }
  }
  if (wave.length > 0) result.push(wave);
  return result;
}

const redirectTable = (family: Family): string => keyOf({ kind: 'redirect_table', family });

function needs(object: VppObject): readonly string[] {
  const used = interfacesUsed(object);
  if (object.kind === 'redirect_acl') return [...used, redirectTable(object.family)];
  if (object.kind === 'redirect_rule') return [...used, redirectTable(familyOf(object.address))];
  return used;
}

/** The handle that the operation made, nothing, or why it failed. */
async function perform(
  vpp: Requester,
  handles: Handles,
  { action, object }: Operation,
): Promise<number | undefined | Error> {
  try {
    if (action === 'remove') {
      await remove(vpp, handles, object);
      return undefined;
    }
    const handle = await send(vpp, programAdd(object, handles), []);
    if (handle !== undefined) handles.made(object, handle);
    try {
      await send(vpp, programFollow(object, handles), []);
    } catch (error) {
      // Half made, it has no tag: nobody would ever find it again.
      await remove(vpp, handles, object);
      throw error;
    }
    return handle;
  } catch (error) {
    if (error instanceof UnknownHandle && action === 'remove') return undefined;
    if (error instanceof RetvalError || error instanceof UnknownHandle || isMalformed(error))
      return error as Error;
    throw error;
  }
}

/** The handle is forgotten when the request is sent, not when it is answered: the same wave may make the object anew. */
async function remove(vpp: Requester, handles: Handles, object: VppObject): Promise<void> {
  const calls = programRemove(object, handles);
  const handle = handles.forget(object);
  try {
    await send(vpp, calls, not_there);
  } catch (error) {
    if (handle !== undefined) handles.made(object, handle);
    throw error;
  }
}

/** A field that no message can hold is this object's error, not the connection's. */
function isMalformed(error: unknown): boolean {
  return (
    error instanceof Error && 'code' in error && (error.code === 'malformed' || error.code === 'incompatible')
  );
}

async function send(
  vpp: Requester,
  calls: readonly Call[],
  tolerated: readonly number[],
): Promise<number | undefined> {
  let handle: number | undefined;
  await Promise.all(
    calls.map(async (call) => {
      try {
        const reply = await vpp.request(call.message, call.fields);
        if (call.made !== undefined) handle = call.made(reply);
      } catch (error) {
        const answered = error instanceof RetvalError ? error.retval : undefined;
        if (answered === undefined || !(tolerated.includes(answered) || call.tolerated?.includes(answered)))
          throw error;
      }
    }),
  );
  return handle;
}

/** Removes what the transaction added, in the safe order; what VPP refuses to remove is left to the next reconcile. */
async function rollback(vpp: Requester, handles: Handles, done: readonly Operation[]): Promise<void> {
  const added = done.flatMap(({ action, object }) => (action === 'add' ? [object] : []));
  const undo = removal(added);
  await Promise.all(undo.map((operation) => perform(vpp, handles, operation)));
}
