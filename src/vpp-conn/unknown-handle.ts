/** An object refers to an interface, or has to be removed by an id, that this VPP does not have. */
export class UnknownHandle extends Error {
  override readonly name = 'UnknownHandle';
  readonly code = 'unknown_handle';
}
