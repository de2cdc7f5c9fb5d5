/** How the handling of a message can end other than with a plain answer. */

/** Answered with this retval. */
export class Refusal extends Error {
  override readonly name = 'Refusal';

  constructor(
    readonly retval: number,
    /** Fields of the reply that VPP fills in although it refuses. */
    readonly fields: object = {},
  ) {
    super(`retval ${retval}`);
  }
}

/** A sequence of messages that kills VPP: it ends without an answer. `sequence` says which one. */
export class Death extends Error {
  override readonly name = 'Death';

  constructor(readonly sequence: string) {
    super(`a real VPP dies here: ${sequence}`);
  }
}

/** VPP's main thread spins for ever: nothing is answered any more, and only SIGKILL ends it. */
export class Spin extends Error {
  override readonly name = 'Spin';

  constructor(readonly sequence: string) {
    super(`a real VPP spins here for ever: ${sequence}`);
  }
}

export function refuse(retval: number, fields?: object): never {
  throw new Refusal(retval, fields);
}

/** The retvals that the handlers use; names as in VPP's vnet/error.h. */
export const retval = {
  UNSPECIFIED: -1,
  INVALID_SW_IF_INDEX: -2,
  NO_SUCH_FIB: -3,
  NO_SUCH_ENTRY: -6,
  INVALID_VALUE: -7,
  UNIMPLEMENTED: -9,
  INVALID_SW_IF_INDEX_2: -10,
  SYSCALL_ERROR_1: -11,
  SYSCALL_ERROR_2: -12,
  SYSCALL_ERROR_3: -13,
  FEATURE_DISABLED: -30,
  INVALID_REGISTRATION: -31,
  NO_PATHS_IN_ROUTE: -52,
  NO_MATCHING_INTERFACE: -54,
  ADDRESS_LENGTH_MISMATCH: -59,
  ADDRESS_NOT_FOUND_FOR_INTERFACE: -60,
  ADDRESS_NOT_DELETABLE: -61,
  IP6_NOT_ENABLED: -62,
  NO_SUCH_NODE: -63,
  NO_SUCH_NODE2: -64,
  NO_SUCH_TABLE: -65,
  SUBIF_ALREADY_EXISTS: -68,
  INVALID_INTERFACE: -71,
  INVALID_ARGUMENT: -73,
  UNEXPECTED_INTF_STATE: -74,
  TUNNEL_EXIST: -75,
  INVALID_DECAP_NEXT: -76,
  IF_ALREADY_EXISTS: -79,
  VALUE_EXIST: -81,
  SAME_SRC_DST: -82,
  IP_PREFIX_INVALID: -88,
  CLASSIFY_TABLE_NOT_FOUND: -91,
  ADDRESS_IN_USE: -105,
  ADDRESS_FOUND_FOR_INTERFACE: -114,
  ENTRY_ALREADY_EXISTS: -116,
  UNSUPPORTED: -126,
  DUPLICATE_IF_ADDRESS: -127,
  INIT_FAILED: -144,
  NETLINK_ERROR: -145,
  INSTANCE_IN_USE: -147,
  INVALID_PROTOCOL: -153,
} as const;
