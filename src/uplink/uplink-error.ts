/** The uplink cannot be taken over as it is. Nothing of it was changed. */
export class UplinkError extends Error {
  override readonly name = 'UplinkError';
}
