import { retvalName, retvalText } from './retval.js';

/** One class per cause. Each names the message it concerns; `code` is stable and meant for programs. */
export type BinapiErrorCode =
  | 'retval'
  | 'deadline'
  | 'disconnected'
  | 'incompatible'
  | 'malformed'
  | 'overflow';

export abstract class BinapiError extends Error {
  abstract readonly code: BinapiErrorCode;
}

/** VPP answered, and the answer is no. Nothing is wrong with the connection. */
export class RetvalError extends BinapiError {
  readonly code = 'retval';
  override readonly name = 'RetvalError';
  /** VPP's name of the number, e.g. `VNET_API_ERROR_NO_SUCH_FIB`. */
  readonly retval_name: string;

  /** @param retval any number but 0: some messages refuse with a positive one. */
  constructor(
    readonly message_name: string,
    readonly retval: number,
    /** The decoded reply: a few carry more than the retval. */
    readonly reply: unknown,
  ) {
    super(`${message_name}: ${retvalName(retval)} (${retval}): ${retvalText(retval)}`);
    this.retval_name = retvalName(retval);
  }
}

/** No answer in time. When it was sent, VPP may have done what was asked, or may yet do it. */
export class DeadlineError extends BinapiError {
  readonly code = 'deadline';
  override readonly name = 'DeadlineError';

  constructor(
    readonly message_name: string,
    readonly deadline_ms: number,
    /** False: still waiting for the window, VPP never saw it. */
    readonly sent: boolean,
  ) {
    super(
      `${message_name}: no answer within ${deadline_ms} ms${sent ? '' : ', not sent: the window was full'}`,
    );
  }
}

/** The connection is gone. When it was sent, VPP may have done what was asked. */
export class DisconnectedError extends BinapiError {
  readonly code = 'disconnected';
  override readonly name = 'DisconnectedError';

  constructor(
    readonly reason: string,
    /** The request that this error answers; absent where it describes the connection as a whole. */
    readonly message_name?: string,
    readonly sent = false,
    options?: ErrorOptions,
  ) {
    super(message_name === undefined ? reason : `${message_name}: ${reason}`, options);
  }
}

/** VPP does not know the message, or knows another layout of it. */
export class IncompatibleError extends BinapiError {
  readonly code = 'incompatible';
  override readonly name = 'IncompatibleError';

  constructor(
    readonly message_name: string,
    /** The CRC that these bindings were generated from. */
    readonly crc: string,
    /** The CRC in VPP's message table; undefined where VPP has no message of this name. */
    readonly vpp_crc: string | undefined,
  ) {
    super(
      vpp_crc === undefined
        ? `${message_name}: VPP has no such message (bindings have CRC ${crc}): load the plugin that defines it`
        : `${message_name}: bindings have CRC ${crc}, VPP has ${vpp_crc}: generate the bindings from this VPP's .api.json files`,
    );
  }
}

/** A value that a message cannot hold, or bytes that are not the message they claim to be. */
export class MalformedError extends BinapiError {
  readonly code = 'malformed';
  override readonly name = 'MalformedError';
}

/** More requests are waiting for the window than `queue_max` allows. */
export class OverflowError extends BinapiError {
  readonly code = 'overflow';
  override readonly name = 'OverflowError';

  constructor(
    readonly message_name: string,
    readonly queue_max: number,
  ) {
    super(`${message_name}: ${queue_max} requests are already waiting: ask again when some are answered`);
  }
}
