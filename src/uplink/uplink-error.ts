/** The uplink cannot be taken over as it is. Nothing of it was changed. */
export class UplinkError extends Error {
  override readonly name = 'UplinkError';
}

/** A take-over failed; the message says why, for the operator. */
export class TakeOverFailed extends Error {
  override readonly name = 'TakeOverFailed';
}

/** VPP has to begin anew with the devices that it has been given: it finds them when it starts. The host is not to get them back. */
export class NeedsNewVpp extends Error {
  override readonly name = 'NeedsNewVpp';
}
