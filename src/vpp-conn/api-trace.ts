/**
 * What VPP records of what it is asked, and writes into a post-mortem, which anybody may be given. A secret is sent with that switched off; to switch it on
 * again loses what was recorded (`vl_msg_api_trace_configure`).
 */
import { type Client, type Message, RetvalError } from 'vpp-binapi-ts';
import { ikev2_profile_set_auth } from 'vpp-binapi-ts/ikev2';
import { cli_inband } from 'vpp-binapi-ts/vlib';
import { wireguard_interface_create } from 'vpp-binapi-ts/wireguard';
import { type Call, call } from './call.js';
import type { Handles } from './handles.js';
import { api_trace_items } from './startup-config.js';

/** As it was found: `items`, of how many messages; 0: nothing is recorded. Undefined: VPP has no message that a secret could be sent with. */
export type ApiTrace = { readonly items: number } | undefined;

/** As our own start-up configuration has it. */
export const api_trace_default: ApiTrace = { items: api_trace_items };

const secret_messages: readonly Message<unknown, never>[] = [
  wireguard_interface_create,
  ikev2_profile_set_auth,
];

/** How this VPP was started, or told by its command line, is the user's matter. */
export async function openApiTrace(
  vpp: Pick<Client, 'request' | 'compatible'>,
  handles: Pick<Handles, 'api_trace'>,
): Promise<void> {
  const has_secrets = secret_messages.some((message) => vpp.compatible([message]).compatible);
  handles.api_trace = has_secrets ? await found(vpp) : undefined;
}

async function found(vpp: Pick<Client, 'request'>): Promise<ApiTrace> {
  try {
    return apiTrace((await vpp.request(cli_inband, { cmd: 'api trace status' })).reply);
  } catch (error) {
    if (!(error instanceof RetvalError)) throw error;
    return api_trace_default;
  }
}

/** Of what VPP answers to `api trace status`. What is not understood is taken for ours. */
export function apiTrace(status: string): ApiTrace {
  if (/not yet configured|is not enabled/.test(status)) return { items: 0 };
  const items = /used \d+ of (\d+) items/.exec(status)?.[1];
  return items === undefined ? api_trace_default : { items: Number(items) };
}

/** Sends it unrecorded, also where somebody has switched recording on meanwhile. VPP does what one connection asks in its order. */
export function unrecorded(secret: Call, trace: ApiTrace): readonly Call[] {
  if (trace === undefined) return [secret];
  const off = call(cli_inband, { cmd: 'api trace off' });
  if (trace.items === 0) return [off, secret];
  return [off, secret, call(cli_inband, { cmd: `api trace on nitems ${trace.items}` })];
}
