import { status } from '@grpc/grpc-js';

/** One class per cause. Each names the call it concerns; `code` is stable and meant for programs. */
export type GobgpErrorCode =
  | 'refused'
  | 'deadline'
  | 'cancelled'
  | 'disconnected'
  | 'too_large'
  | 'incompatible'
  | 'malformed';

/** No text of an error holds a password, neither ours nor gobgpd's. */
export abstract class GobgpError extends Error {
  abstract readonly code: GobgpErrorCode;
  /** gRPC's number of the outcome, `status` of @grpc/grpc-js: what gobgpd said, or what fits what we found ourselves. */
  abstract readonly grpc_code: number;
  /** Its name, e.g. `INVALID_ARGUMENT`. */
  get grpc_name(): string {
    return statusName(this.grpc_code);
  }
}

/** gRPC's name of a status code. */
export function statusName(code: number): string {
  return status[code] ?? `status ${code}`;
}

/** gobgpd answered, and the answer is no. Nothing is wrong with the connection. Most refusals of gobgpd are UNKNOWN (2). */
export class RefusedError extends GobgpError {
  readonly code = 'refused';
  override readonly name = 'RefusedError';

  constructor(
    readonly rpc: string,
    readonly grpc_code: number,
    /** gobgpd's words. */
    readonly details: string,
  ) {
    super(
      `${rpc}: gobgpd refuses (${statusName(grpc_code)}): ${details === '' ? 'it gives no reason' : details}`,
    );
  }
}

/** No answer in time. gobgpd may have done what was asked, or may yet do it. */
export class DeadlineError extends GobgpError {
  readonly code = 'deadline';
  readonly grpc_code = status.DEADLINE_EXCEEDED;
  override readonly name = 'DeadlineError';

  constructor(
    readonly rpc: string,
    readonly deadline_ms: number,
  ) {
    super(`${rpc}: no answer within ${deadline_ms} ms`);
  }
}

/** The caller's AbortSignal ended it; `cause` is the signal's reason. gobgpd may have done what was asked. */
export class CancelledError extends GobgpError {
  readonly code = 'cancelled';
  readonly grpc_code = status.CANCELLED;
  override readonly name = 'CancelledError';

  constructor(
    readonly rpc: string,
    options?: ErrorOptions,
  ) {
    super(`${rpc}: ended by its AbortSignal`, options);
  }
}

/** There is no connection, or it is gone. It does not come back: connect again, to what may be another gobgpd. */
export class DisconnectedError extends GobgpError {
  readonly code = 'disconnected';
  readonly grpc_code = status.UNAVAILABLE;
  override readonly name = 'DisconnectedError';

  constructor(
    readonly target: string,
    readonly reason: string,
    /** The call that this error answers; absent where it describes the connection as a whole. */
    readonly rpc?: string,
  ) {
    super(`${rpc === undefined ? '' : `${rpc}: `}${target}: ${reason}`);
  }
}

/** A message is larger than the connection's `message_bytes_max`. */
export class TooLargeError extends GobgpError {
  readonly code = 'too_large';
  readonly grpc_code = status.RESOURCE_EXHAUSTED;
  override readonly name = 'TooLargeError';

  constructor(
    readonly rpc: string,
    readonly message_bytes_max: number,
    details: string,
  ) {
    super(`${rpc}: a message exceeds message_bytes_max, ${message_bytes_max} bytes (${details})`);
  }
}

/** What answers is no gobgpd of a dialect that is spoken here, or one that lacks what was asked for. */
export class IncompatibleError extends GobgpError {
  readonly code = 'incompatible';
  readonly grpc_code = status.UNIMPLEMENTED;
  override readonly name = 'IncompatibleError';
}

/** A value that a message cannot hold, or bytes that are not the message they claim to be. */
export class MalformedError extends GobgpError {
  readonly code = 'malformed';
  readonly grpc_code = status.INVALID_ARGUMENT;
  override readonly name = 'MalformedError';
}
