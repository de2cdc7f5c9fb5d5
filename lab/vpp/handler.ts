/** How a message is answered: a table of handlers, one per message, typed by the message's own descriptor. */
import type { Dump, Message, Request, Stream } from 'vpp-binapi-ts';
import { Refusal } from './outcome.js';
import type { VppState } from './state.js';

/** The client that asks. */
export interface Caller {
  readonly client_index: number;
  /** Sends an event to this client now. */
  send<Event>(event: Message<Event>, fields: Event): void;
  /** Called when the client is gone. */
  onGone(run: () => void): void;
}

export interface Handler {
  readonly request: Message<unknown>;
  /** Everything that answers it, for the message table. */
  readonly answers: readonly Message<unknown>[];
  run(vpp: VppState, fields: unknown, caller: Caller, reply: ReplySink): void;
  /** What a refused request's reply holds beside the retval; absent where there is nothing to refuse with. */
  readonly refused?: object;
}

/** Takes the answers to one message, in order. */
export type ReplySink = (message: Message<unknown>, fields: unknown) => void;

type WithoutRetval<Reply> = Omit<Reply, 'retval'>;

/**
 * A request. `refused` holds what its reply has beside the retval when VPP refuses. `run` returns what it has otherwise, and
 * throws a Refusal, a Death or a Spin.
 */
export function on<In, Reply extends { readonly retval: number }, Self>(
  request: Request<In, Reply, Self>,
  refused: WithoutRetval<Reply>,
  run: (vpp: VppState, fields: Self, caller: Caller) => WithoutRetval<Reply>,
): Handler {
  return {
    request: request as Message<unknown>,
    answers: [request.reply as Message<unknown>],
    refused,
    run(vpp, fields, caller, reply) {
      let answer: object;
      try {
        answer = { retval: 0, ...run(vpp, fields as Self, caller) };
      } catch (error) {
        if (!(error instanceof Refusal)) throw error;
        answer = { retval: error.retval, ...refused, ...error.fields };
      }
      reply(request.reply as Message<unknown>, answer);
    },
  };
}

/** A request whose reply is a retval alone. */
export function onPlain<In, Self>(
  request: Request<In, { readonly retval: number }, Self>,
  run: (vpp: VppState, fields: Self, caller: Caller) => void,
): Handler {
  return on(request, {}, (vpp, fields, caller) => {
    run(vpp, fields, caller);
    return {};
  });
}

/** A reply without retval, or one that VPP fills in otherwise when it refuses. */
export function onRaw<In, Reply extends object, Self>(
  request: Request<In, Reply, Self>,
  run: (vpp: VppState, fields: Self, caller: Caller) => Reply,
): Handler {
  return {
    request: request as Message<unknown>,
    answers: [request.reply as Message<unknown>],
    run: (vpp, fields, caller, reply) =>
      reply(request.reply as Message<unknown>, run(vpp, fields as Self, caller)),
  };
}

export function onDump<In, Details, Self>(
  request: Dump<In, Details, Self>,
  run: (vpp: VppState, fields: Self) => Iterable<Details>,
): Handler {
  return {
    request: request as Message<unknown>,
    answers: [request.details as Message<unknown>],
    run(vpp, fields, _caller, reply) {
      for (const details of run(vpp, fields as Self)) reply(request.details as Message<unknown>, details);
    },
  };
}

export function onStream<In, Details, Reply, Self>(
  request: Stream<In, Details, Reply, Self>,
  run: (vpp: VppState, fields: Self) => { readonly details: Iterable<Details>; readonly reply: Reply },
): Handler {
  return {
    request: request as Message<unknown>,
    answers: [request.details as Message<unknown>, request.reply as Message<unknown>],
    run(vpp, fields, _caller, reply) {
      const answer = run(vpp, fields as Self);
      for (const details of answer.details) reply(request.details as Message<unknown>, details);
      reply(request.reply as Message<unknown>, answer.reply);
    },
  };
}
