/** The uplink cannot be taken over as it is. Nothing of it was changed. */
export class UplinkError extends Error {
  override readonly name = 'UplinkError';
}

/** A take-over failed; the message says why, for the operator. */
export class TakeOverFailed extends Error {
  override readonly name = 'TakeOverFailed';
}
