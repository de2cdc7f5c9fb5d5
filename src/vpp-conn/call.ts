/** One request to VPP as data, so that a batch can be built, sent and logged without knowing its messages. */
import type { Request } from 'vpp-binapi-ts';

export interface Call {
  readonly message: Request<unknown, { readonly retval: number }>;
  readonly fields: unknown;
  /** Reads the handle (an index or id of VPP's) from the reply, where the request makes something that has one. */
  readonly made?: (reply: { readonly retval: number }) => number;
  /** Answers that mean "it is so already": the request is then a success. */
  readonly tolerated?: readonly number[];
  /** Why VPP has refused, where its reply says so in words. */
  readonly why?: (reply: unknown) => string | undefined;
}

interface Options<Reply> {
  readonly made?: (reply: Reply) => number;
  readonly tolerated?: readonly number[];
  readonly why?: (reply: unknown) => string | undefined;
}

const no_options = {};

export function call<In, Reply extends { readonly retval: number }>(
  message: Request<In, Reply>,
  fields: In,
  { made, tolerated, why }: Options<Reply> = no_options,
): Call {
  return { message, fields, made, tolerated, why } as unknown as Call;
}
